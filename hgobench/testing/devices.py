"""The laws of hardware, and of conditions, which are written before it.

A law is a function of a `Devices`: hardware or a condition, with workers to give devices to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hgobench.hardware import Condition, Fleet, Hardware, Population
from hgobench.hardware.fleet import wrong_fleet, wrong_presence

from .laws import (
    SEEDS,
    Law,
    Trial,
    Verdict,
    equal,
    global_state_is_left_alone,
    table,
    taken,
    try_trial,
)

WORKERS = (1, 6, 20)
DIMENSIONS = (650, 7850)
ROUNDS = 4
_ARRAYS = ("rates", "uplink", "downlink", "latency")


def population(workers: int, dimension: int = DIMENSIONS[0], seed: int = SEEDS[0]) -> Population:
    """Return workers with up to nine examples of each of three classes, and at least one."""
    rng = np.random.default_rng([workers, seed])
    labels = rng.integers(0, 10, (workers, 3))
    labels[:, 0] += 1
    return Population(workers, dimension, seed, labels)


@dataclass(kw_only=True)
class Devices(Trial[Any]):
    """Hardware, or a condition, under trial.

    Attributes:
        sizes: the numbers of workers, of `WORKERS`, that it has devices for.
    """

    sizes: tuple[int, ...] = WORKERS

    def fleet(self, component: Hardware | Condition, who: Population, links: bool = False) -> Fleet:
        """Return the fleet that hardware makes; of a condition, one that it has changed.

        Args:
            component: the hardware or condition.
            who: the workers.
            links: whether the fleet that a condition changes has links and comes and goes.
        """
        with self.calling(component, "fleet", seed=who.seed):
            if isinstance(component, Condition):
                return component(given(who.workers, links), who)
            return component.fleet(who)

    def present(self, component: object, fleet: Fleet, k: int, seed: int = SEEDS[0]) -> Any:
        """Return who is available in round k."""
        with self.calling(component, "presence", k, seed):
            return fleet.available(k)

    def populations(self) -> Iterator[Population]:
        """Yield few workers and many, by two seeds."""
        for workers in self.sizes:
            for seed in SEEDS:
                yield population(workers, seed=seed)


def given(workers: int, links: bool) -> Fleet:
    """Return a fleet for a condition to change, with devices that differ in their rates."""
    fleet = Fleet.of(1000.0 * np.arange(1.0, workers + 1))
    if not links:
        return fleet

    def present(round_: int) -> np.ndarray:
        return (np.arange(workers) + round_) % 3 > 0

    rates, few = fleet.rates, np.linspace(1e4, 1e5, workers)
    return Fleet(rates, few, few[::-1].copy(), np.full(workers, 0.25), True, (present,))


def _told(who: Population) -> str:
    return f"n = {who.workers}, d = {who.dimension}, seed {who.seed}"


def fleet_is_valid(trial: Devices) -> None:
    """Rates are finite and > 0, bandwidths > 0, latencies finite and >= 0; n of each.

    In every round it is known who is available, (n,) bool.
    """
    for who in trial.populations():
        component = trial.make()
        fleet = trial.fleet(component, who, links=True)
        problem = wrong_fleet(fleet, who.workers)
        for k in range(1, ROUNDS + 1):
            present = None if problem else trial.present(component, fleet, k, who.seed)
            problem = problem or ("" if present is None else wrong_presence(present, who.workers))
        if problem:
            raise AssertionError(f"{_told(who)}: {problem}")


def seed_determines_the_fleet(trial: Devices) -> None:
    """The same workers and seed have the same devices, whatever was asked before."""
    for who in trial.populations():
        first, other = trial.make(), trial.make()
        fleet = trial.fleet(first, who)
        trial.fleet(first, population(who.workers, who.dimension, seed=who.seed + 7))
        for instance, again in (("the same", first), ("another", other)):
            found = trial.fleet(again, who)
            for name in _ARRAYS:
                if not equal(getattr(found, name), getattr(fleet, name)):
                    raise AssertionError(
                        f"{_told(who)}: {instance} instance gives other {name} by the same seed: "
                        "draw by population.strength(), or from "
                        'hgobench.determinism.stream(population.seed, "..")'
                    )


def rounds_come_in_any_order(trial: Devices) -> None:
    """Who is available in a round depends on the seed and the round, not on what was asked."""
    for who in trial.populations():
        one, other = trial.make(), trial.make()
        fleet, again = trial.fleet(one, who, links=True), trial.fleet(other, who, links=True)
        forwards = [trial.present(one, fleet, k, who.seed) for k in range(1, ROUNDS + 1)]
        backwards = [trial.present(other, again, k, who.seed) for k in range(ROUNDS, 0, -1)]
        for k, (first, second) in enumerate(zip(forwards, backwards[::-1], strict=True), 1):
            if not equal(first, second):
                raise AssertionError(f"{_told(who)}: others are available in round {k}, if asked "
                                     "for the rounds from the last to the first")  # fmt: skip


def order_of_strength_is_that_of_every_model(trial: Devices) -> None:
    """Which of two workers is faster does not depend on the model's dimension d."""
    for workers in trial.sizes:
        rates = [trial.fleet(trial.make(), population(workers, d)).rates for d in DIMENSIONS]
        orders = [np.sign(rate[:, None] - rate) for rate in rates]
        if not equal(*orders):
            i, j = np.argwhere(orders[0] != orders[1])[0]
            raise AssertionError(
                f"n = {workers}: rates of workers {i} and {j}: {rates[0][i]:g} and "
                f"{rates[0][j]:g} with d = {DIMENSIONS[0]}, {rates[1][i]:g} and {rates[1][j]:g} "
                f"with d = {DIMENSIONS[1]}"
            )


def fleet_that_is_given_is_left_alone(trial: Devices) -> None:
    """A condition returns a fleet of its own, and leaves the one that it was given."""
    for who in trial.populations():
        component, before = trial.make(), given(who.workers, links=True)
        with trial.calling(component, "fleet", seed=who.seed):
            component(before, who)
        for name in _ARRAYS:
            if not equal(getattr(before, name), getattr(given(who.workers, True), name)):
                raise AssertionError(f"{_told(who)}: it changed the {name} that it was given")


def who_is_away_stays_away(trial: Devices) -> None:
    """Under a condition no more workers are available in a round than without it."""
    for who in trial.populations():
        component = trial.make()
        fleet, before = trial.fleet(component, who, links=True), given(who.workers, links=True)
        for k in range(1, ROUNDS + 1):
            present, earlier = trial.present(component, fleet, k, who.seed), before.available(k)
            count = who.workers if present is None else int(present.sum())
            if earlier is not None and count > earlier.sum():
                raise AssertionError(
                    f"{_told(who)}: {count} workers are available in round {k}, {earlier.sum()} "
                    "without the condition: keep fleet.presence, as dataclasses.replace does"
                )


HARDWARE_LAWS: dict[str, Law] = table(
    fleet_is_valid,
    seed_determines_the_fleet,
    rounds_come_in_any_order,
    order_of_strength_is_that_of_every_model,
    global_state_is_left_alone,
)

CONDITION_LAWS: dict[str, Law] = table(
    fleet_is_valid,
    seed_determines_the_fleet,
    rounds_come_in_any_order,
    fleet_that_is_given_is_left_alone,
    who_is_away_stays_away,
    global_state_is_left_alone,
)


def try_hardware(specification: str) -> Iterator[Verdict]:
    """Check all laws of hardware.

    Raises:
        InputError: there is none of this name, or it has no devices for so many workers.
    """
    return try_trial(_trial("hardware", specification), HARDWARE_LAWS)


def try_condition(specification: str) -> Iterator[Verdict]:
    """Check all laws of a condition.

    Raises:
        InputError: there is none of this name, or it refuses so many workers.
    """
    return try_trial(_trial("condition", specification), CONDITION_LAWS)


def _trial(kind: str, specification: str) -> Devices:
    """Return a trial with the numbers of workers that are not refused."""
    trial = Devices(kind=kind, name=specification)
    trial.sizes = taken(lambda n: trial.fleet(trial.make(), population(n)), WORKERS)
    trial.changed.clear()
    return trial
