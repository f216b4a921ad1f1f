"""A Byzantine device: what the attacks of the registry send, without a look at honest messages.

Devices of one group share a folder in which each puts, round by round, what it would honestly send.
All of them work out the whole group's message from it, with the same draws, and each sends its own
row. What an attack of the simulation takes from honest workers the group takes from its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hgobench import attacks
from hgobench.attacks import Attack, View
from hgobench.determinism import one_thread, stream
from hgobench.errors import InputError, shown
from hgobench.lazy import Tensor, torch
from hgobench.protocol import deliver
from hgobench.scenario import Scenario
from hgobench.simulation.cell import Cell
from hgobench.simulation.world import World

from .worker import Ask, Pace, Poison, Shard, Vector, gradient_of, moves

POLL = 0.05  # seconds between two looks for what others of the group have put there
HEAD = 32  # bytes of a file of the group before its vectors
SHARE = 0.5  # of the time that is left: how long the others are waited for


class Sent(NamedTuple):
    """What a Byzantine device does in a round.

    Attributes:
        values: (b,) float32, the first b coordinates of the order; b = 0: it does not answer.
        updates: how many gradients it says that it took.
        delay: seconds after the deadline at which it answers; 0: in time.
    """

    values: Vector
    updates: int
    delay: float


class Own(NamedTuple):
    """What a device of the group would honestly send in a round.

    Attributes:
        worker: who it is.
        values: (d,) its gradient, or what its own steps come to, computed in full.
        length: how many coordinates of the order it would send.
        updates: how many gradients it takes.
        model: (d,) the parameters that it was sent.
    """

    worker: int
    values: Vector
    length: int
    updates: int
    model: Vector


class Group:
    """The devices that attack together.

    Args:
        folder: that they share; None: the device is alone, and can't remember.
        run: what the run is called, so that two runs don't mix.
    """

    def __init__(self, folder: Path | None, run: str) -> None:
        self.folder = None if folder is None else folder / run

    def put(self, k: int, own: Own) -> None:
        """Show the others what the device would send in round k."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / f".unfinished-{k}-{own.worker}-{os.getpid()}"
        counts = np.array([own.worker, own.length, own.updates, len(own.values)], "<i8")
        vectors = (np.asarray(values, "<f4").tobytes() for values in (own.values, own.model))
        unfinished.write_bytes(b"".join((counts.tobytes(), *vectors)))
        os.replace(unfinished, self.folder / _name(k, own.worker))

    def get(self, k: int, workers: Sequence[int], seconds: float = 0.0) -> list[Own]:
        """Return what devices of the group would send in round k, of those that have said it.

        Args:
            k: the round.
            workers: who is waited for; they are returned in this order.
            seconds: for how long.
        """
        if self.folder is None:
            return []
        end = time.monotonic() + seconds
        paths = [self.folder / _name(k, worker) for worker in workers]
        while time.monotonic() < end and not all(path.exists() for path in paths):
            time.sleep(POLL)
        return [_read(path) for path in paths if path.exists()]


def _name(k: int, worker: int) -> str:
    return f"round-{k:06d}-worker-{worker}.own"


def _read(path: Path) -> Own:
    """Read what `Group.put` wrote: worker, length, updates and d, int64; two vectors, float32.

    No file of NumPy's: CPython 3.11's parser, which reads their headers, fails now and then in
    several threads at once.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"group: {path}: {error}") from error
    counts = np.frombuffer(data[:HEAD], "<i8") if len(data) >= HEAD else np.full(4, -1)
    worker, length, updates, d = counts.tolist()
    if d < 0 or len(data) != HEAD + 8 * d:
        raise InputError(f"group: {path}: {len(data)} bytes, which are not what a device puts here")
    values, model = np.frombuffer(data, "<f4", offset=HEAD).astype(np.float32).reshape(2, d)
    return Own(worker, values, length, updates, model)


def byzantine(scenario: Scenario) -> NDArray[np.bool_]:
    """Return which workers of a scenario are Byzantine, (n,), as its world says.

    >>> byzantine(Scenario(workers=5, f=2))
    array([False, False,  True,  True, False])
    """
    hostile = np.zeros(scenario.workers, np.bool_)
    order = stream(scenario.seed, "byzantine").permutation(scenario.workers)
    hostile[order[: scenario.byzantine]] = True
    return hostile


def sampled(scenario: Scenario, k: int) -> NDArray[np.int64]:
    """Return the workers that are asked in round k, (q,), as the scenario's world says."""
    asked: NDArray[np.int64] = stream(scenario.seed, "sample", k).permutation(scenario.workers)
    return asked[: scenario.sampled]


class Attacker:
    """A Byzantine device.

    Args:
        specification: the attack by name; it must be the scenario's, so that results say the truth.
        scenario: what the server says that runs.
        group: those that it attacks with.

    Raises:
        InputError: it is another attack, or one that no device can carry out, or one that remembers
            or looks at others while there is no group.
    """

    def __init__(self, specification: str, scenario: Scenario, group: Group) -> None:
        self.scenario, self.group = scenario, group
        name = attacks.registry.canonical(specification)
        if name != scenario.attack:
            raise InputError(
                f"attack: {shown(name)} is this device's; the scenario says {scenario.attack!r}"
            )
        self.name = name
        made = self._made()
        if made.sees == "server":
            raise InputError(f"attack: {name!r} tries messages on the server, which no device can")
        if group.folder is None and (made.stateful or made.sees == "honest"):
            why = "remembers earlier rounds" if made.stateful else "looks at what others send"
            raise InputError(f"attack: {name!r} {why}: it needs a folder, group=..")
        self.attack = made

    @property
    def crashes(self) -> bool:
        """Whether the device breaks: its process is to be killed."""
        return isinstance(self.attack, attacks.Crash) and self.attack.send == "nothing"

    def _made(self) -> Attack:
        made: Attack = attacks.build(self.name)
        return made

    def sent(self, ask: Ask, params: Vector, data: Shard, pace: Pace) -> Sent:
        """Return what the device does in a round.

        Args:
            ask, params, data, pace: as for an honest device's `answer`.
        """
        scenario, k = self.scenario, ask.round
        hostile = byzantine(scenario)
        group = [int(worker) for worker in sampled(scenario, k) if hostile[worker]]
        poison = None
        if self.attack.poisons and scenario.attacked(k):
            poison = self._poison(ask)
        examples = min(ask.batch_size, len(data.x), ask.width)
        updates, length = pace.plan(ask, examples)
        gradient = gradient_of(ask, data, poison)
        mine = Own(
            ask.worker, moves(ask, params, gradient, updates, length), length, updates, params
        )
        self.group.put(k, mine)
        if not scenario.attacked(k):
            return Sent(mine.values[ask.order[:length]], updates, 0.0)
        wait = SHARE * pace.left(ask) if np.isfinite(ask.deadline) else 60.0
        known = self.group.get(k, group, max(wait, 0.0)) or [mine]
        attack = self.attack
        if attack.stateful:  # it is told the earlier rounds again
            attack = self._made()
            for earlier in range(scenario.attack_start + 1, k):
                there = self.group.get(earlier, self._group(earlier, hostile))
                if there and scenario.attacked(earlier):
                    self._message(attack, replace_round(ask, earlier), there)
        with one_thread():
            message = self._message(attack, ask, known)
        place = [own.worker for own in known].index(ask.worker)
        if message.values.shape != (len(known), ask.dimension):
            message = message._replace(
                values=torch.as_tensor(message.values).expand(len(known), -1)
            )
        limits = self._limits(ask, known)
        late = 0.0 if message.delay is None else float(message.delay[place])
        delivery = deliver(message._replace(delay=None), len(known), ask.dimension, limits, np.inf)
        assert delivery.values is not None
        values = delivery.values[place].numpy().astype(np.float32)
        return Sent(values[ask.order[: int(delivery.lengths[place])]], updates, late)

    def _group(self, k: int, hostile: NDArray[np.bool_]) -> list[int]:
        return [int(worker) for worker in sampled(self.scenario, k) if hostile[worker]]

    def _poison(self, ask: Ask) -> Poison:
        """Return what the attack makes of a minibatch of the round."""
        scenario = self.scenario
        facts = Cell(scenario, World(scenario, real=True)).facts
        number = np.cumsum(byzantine(scenario)) - 1  # among the run's Byzantine workers

        def poison(
            x: NDArray[Any], y: NDArray[Any], minibatch: int
        ) -> tuple[NDArray[Any], NDArray[Any]]:
            batch = attacks.Batch(
                features=torch.from_numpy(x)[None].clone(),
                labels=torch.from_numpy(y)[None].clone(),
                workers=number[[ask.worker]],
                facts=facts,
                stream=lambda: stream(scenario.seed, "poison", ask.round, minibatch),
            )
            features, labels = self.attack.poisoned(batch)
            return features[0].numpy(), labels[0].numpy()

        return poison

    def _limits(self, ask: Ask, known: Sequence[Own]) -> NDArray[np.int64]:
        if self.scenario.lies_about_speed == "no":
            return np.array([own.length for own in known])
        return np.full(len(known), ask.dimension)

    def _message(self, attack: Attack, ask: Ask, known: Sequence[Own]) -> attacks.Message:
        """Return what the attack makes of what the group knows.

        Where it looks at honest messages it gets q - b of the group's own, in turn.
        """
        scenario, k, b = self.scenario, ask.round, len(known)
        position = np.empty(ask.dimension, np.int64)
        position[ask.order] = np.arange(ask.dimension)
        own = torch.from_numpy(np.stack([one.values for one in known]))
        lengths = np.array([one.length for one in known], np.int64)
        omniscient = attack.sees == "honest"
        honest: Tensor | None = None
        there: Tensor | None = None
        turns = np.arange(max(ask.sampled - b, 1)) % b
        if omniscient:
            there = torch.from_numpy(position) < torch.from_numpy(lengths[turns, None])
            honest = torch.where(there, own[turns], 0.0)
            there = None if bool(there.all()) else there
        before = self.group.get(k - 1, [one.worker for one in known])
        model = torch.from_numpy(known[0].model)
        step = torch.zeros_like(model)
        if before:
            step = model - torch.from_numpy(before[0].model)
        view = View(
            round=k,
            rounds=scenario.rounds,
            sampled=ask.sampled,
            byzantine=b,
            dimension=ask.dimension,
            places=ask.dimension,
            quorum=scenario.quorum,
            position=position,
            longest=int(lengths.max(initial=0)),
            own_lengths=lengths,
            limits=self._limits(ask, known),
            workers=np.array([one.worker for one in known]),
            stream=lambda round_: stream(scenario.seed, "attack", round_),
            learning_rate=scenario.learning_rate,
            own=None if attack.sees in ("nothing", "model") else own,
            model=None if attack.sees == "nothing" else model,
            last_step=None if attack.sees == "nothing" else step,
            honest=honest,
            sent=there,
            honest_workers=np.array([known[int(i)].worker for i in turns]) if omniscient else None,
            honest_lengths=lengths[turns] if omniscient else None,
        )
        return attack(view)


def replace_round(ask: Ask, k: int) -> Ask:
    """Return what was said in another round, as far as attacks look at it."""
    return Ask.of(ask.told() | {"round": k})
