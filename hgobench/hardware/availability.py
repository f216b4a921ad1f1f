"""Devices that come and go.

An unavailable worker does not answer when it is asked, or stops in mid-round; the server can't tell
these apart. It asks as if all workers were available, so that nothing changes but what the worker
itself would have sent. Byzantine workers answer whenever they like.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hgobench import csv_file
from hgobench.determinism import stream
from hgobench.errors import InputError
from hgobench.parameters import share

from .fleet import Condition, Fleet, Population, Presence


def _with(fleet: Fleet, presence: Presence) -> Fleet:
    return replace(fleet, presence=(*fleet.presence, presence))


class Bernoulli(Condition):
    """Every worker is available with probability p, independently in each round.

    Args:
        p: 0..1.

    Example:
        >>> population = Population(4, 10, seed=0, labels=np.ones((4, 2), np.int64))
        >>> fleet = Bernoulli(p=0.5)(Fleet.of(np.ones(4)), population)
        >>> fleet.available(1), fleet.available(2)
        (array([ True,  True,  True, False]), array([False,  True,  True,  True]))
    """

    paper = "common model of drop-out"
    formula = "P(available) = p in each round"
    validity = "0 <= p <= 1"

    def __init__(self, p: float = 0.9) -> None:
        self.p = share("p", p)

    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        """Draw who is available, (n,), in each round."""

        def available(round_: int) -> NDArray[np.bool_]:
            draw = stream(population.seed, "bernoulli", round_).random(population.workers)
            return np.asarray(draw < self.p)

        return _with(fleet, available)


class Markov(Condition):
    """Workers disconnect and reconnect: a Markov chain with two states, on and off.

    It starts in its stationary distribution: on with probability join / (leave + join).

    Args:
        leave: P(off in the next round | on), 0..1.
        join: P(on in the next round | off), 0 < join <= 1.

    Example:
        >>> population = Population(4, 10, seed=0, labels=np.ones((4, 2), np.int64))
        >>> fleet = Markov(leave=0.0, join=1.0)(Fleet.of(np.ones(4)), population)
        >>> fleet.available(3)
        array([ True,  True,  True,  True])

    Source: Remark 2 of the HGO paper (a worker joins, disconnects, and reconnects later).
    """

    paper = "HGO, Remark 2"
    formula = "on -> off with probability leave, off -> on with join"
    validity = "0 <= leave <= 1, 0 < join <= 1"

    def __init__(self, leave: float = 0.05, join: float = 0.3) -> None:
        self.leave, self.join = share("leave", leave), share("join", join)
        if self.join == 0:
            raise ValueError(f"join: {join!r}; expected a number in (0, 1]")

    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        """Follow every worker's chain."""
        stationary = self.join / (self.leave + self.join)
        states: list[NDArray[np.bool_]] = []

        def available(round_: int) -> NDArray[np.bool_]:
            while len(states) < round_:
                k = len(states) + 1
                draw = stream(population.seed, "markov", k).random(population.workers)
                if not states:
                    states.append(np.asarray(draw < stationary))
                else:
                    stays = np.where(states[-1], 1.0 - self.leave, self.join)
                    states.append(np.asarray(draw < stays))
            return states[round_ - 1]

        return _with(fleet, available)


class Trace(Condition):
    """Which workers are available when, from a CSV file with the columns worker, round and state.

    All workers are on at first. A line says that a worker is ``on`` or ``off`` from a round on
    (the first is 1), until the worker's next line. Lines may come in any order.

    Args:
        path: the file.

    Raises:
        InputError: the file can't be read, or a line is wrong; with the number of each such line.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "trace.csv"
        ...     _ = path.write_text("worker,round,state\\n1,2,off\\n1,4,on\\n")
        ...     trace = Trace(str(path))
        >>> population = Population(2, 10, seed=0, labels=np.ones((2, 2), np.int64))
        >>> fleet = trace(Fleet.of(np.ones(2)), population)
        >>> [fleet.available(k).tolist() for k in (1, 2, 4)]
        [[True, True], [True, False], [True, True]]
    """

    paper = "your own"
    formula = "on or off from a round on, from a CSV file"
    validity = "columns worker, round, state; workers 0..n-1"

    def __init__(self, path: str) -> None:
        self.path = str(path)
        columns = {
            "worker": csv_file.integer(0),
            "round": csv_file.integer(1),
            "state": csv_file.word("on", "off"),
        }
        self.events = csv_file.read("condition", path, columns)
        line_of: dict[tuple[int, int], int] = {}
        problems = []
        for line, event in self.events:
            key = event["worker"], event["round"]
            if key in line_of:
                problems.append(
                    f"condition: {path}, line {line}: worker {key[0]}, round {key[1]} is in "
                    f"line {line_of[key]} already"
                )
            line_of.setdefault(key, line)
        if problems:
            raise InputError(problems)

    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        """Apply the events; those of workers that do not exist are refused."""
        problems = [
            f"condition: {self.path}, line {line}: worker: {event['worker']}; expected at most "
            f"{population.workers - 1}, as workers={population.workers}"
            for line, event in self.events
            if event["worker"] >= population.workers
        ]
        if problems:
            raise InputError(problems)
        events = sorted((e["round"], e["worker"], e["state"] == "on") for _, e in self.events)

        def available(round_: int) -> NDArray[np.bool_]:
            present = np.ones(population.workers, dtype=bool)
            for when, worker, state in events:
                if when > round_:
                    break
                present[worker] = state
            return present

        return _with(fleet, available)
