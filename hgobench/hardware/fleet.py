"""A fleet of devices, hardware that yields a fleet, and conditions that change it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.determinism import stream

REFERENCE_DIMENSION = 7850
CLASSES = ("weak", "average", "powerful")

Floats = NDArray[np.float64]
Presence = Callable[[int], NDArray[np.bool_]]  # a round (from 1) -> who is available, (n,)


@dataclass(frozen=True)
class Population:
    """The workers that need devices.

    Attributes:
        workers: n.
        dimension: d of their model.
        seed: the scenario's.
        labels: (n, classes) how many examples of each class each worker holds.

    Example:
        >>> population = Population(3, 7850, seed=0, labels=np.ones((3, 10), np.int64))
        >>> population.strength()[0]  # worker 1 is the strongest
        array([0, 2, 1])
    """

    workers: int
    dimension: int
    seed: int
    labels: NDArray[np.int64]

    def strength(self) -> tuple[NDArray[np.int64], Floats]:
        """Return each worker's rank by strength (0: weakest) and a uniform number, (n,) each.

        Both depend on the seed alone: who is strong in one fleet is strong in all of them.
        """
        rng = stream(self.seed, "devices")
        return rng.permutation(self.workers), rng.random(self.workers)


@dataclass(frozen=True)
class Fleet:
    """The n workers' devices: their rates, links and availability.

    Attributes:
        rates: (n,) λ_i, coordinates of one example's gradient per time unit, > 0.
        uplink, downlink: (n,) bytes per time unit, > 0; inf: transfer takes no time.
        latency: (n,) time units that a message takes each way, besides the time for its bytes.
        transfer_counts_towards_deadline: whether transfer uses up time until the deadline. If
            not, a round with a deadline ends when the last answer has arrived.
        presence: predicates for availability; a worker is available if all of them say so.
        watts: (n,) joules per time unit of computing; None: it is not known.
        joules_per_byte: (n,) of sending and receiving; None: it is not known.
        classes: (n,) each one's class of device, an index into `class_names`; None: there are none.
        class_names: the slowest first.

    Example:
        >>> fleet = Fleet.of(np.array([2.0, 5.0]))
        >>> fleet.dealt(np.array([1, 0])).rates
        array([5., 2.])
    """

    rates: Floats
    uplink: Floats
    downlink: Floats
    latency: Floats
    transfer_counts_towards_deadline: bool = False
    presence: tuple[Presence, ...] = ()
    watts: Floats | None = None
    joules_per_byte: Floats | None = None
    classes: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, rates: Floats) -> Fleet:
        """Return devices of these rates that are always available and transfer in no time.

        >>> Fleet.of(np.array([2.0, 5.0])).available(1) is None  # all, in every round
        True
        """
        free = np.full(len(rates), np.inf)
        return cls(rates, free, free, np.zeros(len(rates)))

    def copy(self) -> Fleet:
        """Return the same devices, in arrays of their own."""
        return replace(
            self,
            rates=np.array(self.rates, float),
            uplink=np.array(self.uplink, float),
            downlink=np.array(self.downlink, float),
            latency=np.array(self.latency, float),
            watts=None if self.watts is None else np.array(self.watts, float),
            joules_per_byte=(
                None if self.joules_per_byte is None else np.array(self.joules_per_byte, float)
            ),
            classes=None if self.classes is None else np.array(self.classes, np.int64),
        )

    def available(self, round_: int) -> NDArray[np.bool_] | None:
        """Return which workers are available in a round, (n,); None: all."""
        answers = [presence(round_) for presence in self.presence]
        return np.logical_and.reduce(answers) if answers else None

    def classed(self) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Return each worker's class of device, (n,), and their names, the slowest first.

        Of a fleet without classes they are thirds by rate: weak, average, powerful; where all rates
        are equal, there is one.

        >>> Fleet.of(np.array([2.0, 5.0, 9.0])).classed()[0]
        array([0, 1, 2])
        """
        if self.classes is not None:
            return self.classes, self.class_names
        if (self.rates == self.rates[0]).all():
            return np.zeros(len(self.rates), dtype=np.int64), ("all",)
        classes = np.empty(len(self.rates), dtype=np.int64)
        thirds = np.array_split(np.argsort(self.rates, kind="stable"), len(CLASSES))
        for which, third in enumerate(thirds):
            classes[third] = which
        return classes, CLASSES

    def dealt(self, device: NDArray[np.int64]) -> Fleet:
        """Return the fleet in which worker i has the device that worker device[i] had."""

        def move(presence: Presence) -> Presence:
            return lambda round_: presence(round_)[device]

        return replace(
            self,
            rates=self.rates[device],
            uplink=self.uplink[device],
            downlink=self.downlink[device],
            latency=self.latency[device],
            presence=tuple(map(move, self.presence)),
            watts=None if self.watts is None else self.watts[device],
            joules_per_byte=None if self.joules_per_byte is None else self.joules_per_byte[device],
            classes=None if self.classes is None else self.classes[device],
        )


class Hardware:
    """A distribution of devices. A subclass defines `rates`, or `fleet`.

    Attributes:
        paper, formula, validity: what tables say of it.
        exempt: laws of `hgobench.testing` that its definition rules out, with the reason.
        real: whether its devices exist, and are not to be simulated.

    Example:
        >>> class Equal(Hardware):
        ...     def rates(self, population):
        ...         return np.full(population.workers, 1000.0)
        >>> population = Population(3, 7850, seed=0, labels=np.ones((3, 10), np.int64))
        >>> Equal().fleet(population).rates
        array([1000., 1000., 1000.])
    """

    paper: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    validity: ClassVar[str] = ""
    exempt: Mapping[str, str] = {}
    real: bool = False

    def fleet(self, population: Population) -> Fleet:
        """Return one device per worker of the population."""
        return Fleet.of(self.rates(population))

    def rates(self, population: Population) -> Floats:
        """Return λ, (n,), in coordinates of one example's gradient per time unit."""
        raise NotImplementedError(f"{type(self).__name__} has neither rates nor a fleet")


class Condition(ABC):
    """A change of a fleet; it is written before the hardware, ``bernoulli[p=0.9]+c1``.

    Attributes:
        paper, formula, validity, exempt: as of `Hardware`.

    Example:
        >>> class Halved(Condition):
        ...     def __call__(self, fleet, population):
        ...         return replace(fleet, rates=fleet.rates / 2)
        >>> population = Population(2, 7850, seed=0, labels=np.ones((2, 10), np.int64))
        >>> Halved()(Fleet.of(np.array([2.0, 5.0])), population).rates
        array([1. , 2.5])
    """

    paper: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    validity: ClassVar[str] = ""
    exempt: Mapping[str, str] = {}

    @abstractmethod
    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        """Return the fleet under the condition."""


class Conditioned(Hardware):
    """Devices under conditions; the last condition is applied first."""

    def __init__(self, conditions: list[Condition], hardware: Hardware) -> None:
        self.conditions, self.hardware = conditions, hardware
        self.made_of = (*conditions, hardware)
        self.real = hardware.real

    def fleet(self, population: Population) -> Fleet:
        """Apply the conditions."""
        fleet = self.hardware.fleet(population)
        for condition in reversed(self.conditions):
            fleet = condition(fleet, population)
        return fleet


def wrong_fleet(fleet: object, workers: int) -> str:
    """Say what is wrong with a fleet for so many workers; empty: nothing.

    >>> wrong_fleet(Fleet.of(np.array([2.0, 0.0])), workers=2)
    'its rates: 0 of worker 1; expected numbers finite and > 0'
    """
    if not isinstance(fleet, Fleet):
        return f"its fleet is {type(fleet).__name__}; expected hgobench.hardware.Fleet"
    for name, above, expected in (
        ("rates", True, "finite and > 0"),
        ("uplink", True, "> 0 or inf"),
        ("downlink", True, "> 0 or inf"),
        ("latency", False, "finite and >= 0"),
        ("watts", False, "finite and >= 0"),
        ("joules_per_byte", False, "finite and >= 0"),
    ):
        given: object = getattr(fleet, name)
        if given is None and name in ("watts", "joules_per_byte"):
            continue
        numbers = isinstance(given, np.ndarray) and given.dtype.kind in "fiu"
        if not numbers or given.shape != (workers,):  # type: ignore[attr-defined]
            return f"its {name} are no array of {workers} numbers"
        values = np.array(given, dtype=np.float64)
        good = (values > 0) if above else (values >= 0)
        if "finite" in expected:
            good &= np.isfinite(values)
        if not good.all():
            worker = int(np.flatnonzero(~good)[0])
            return f"its {name}: {values[worker]:g} of worker {worker}; expected numbers {expected}"
    return (
        "" if fleet.classes is None else _wrong_classes(fleet.classes, fleet.class_names, workers)
    )


def _wrong_classes(classes: object, names: object, workers: int) -> str:
    """Say what is wrong with a fleet's classes of devices; empty: nothing."""
    if not isinstance(classes, np.ndarray) or classes.dtype.kind not in "iu":
        return f"its classes are {type(classes).__name__}; expected an array of whole numbers"
    if classes.shape != (workers,):
        return f"its classes are no array of {workers} numbers"
    text = isinstance(names, tuple) and all(isinstance(one, str) and one for one in names)
    if not text or len(set(names)) != len(names):  # type: ignore[arg-type, call-overload]
        return f"its class_names: {names!r:.200}; expected a tuple of unlike names"
    if ((classes < 0) | (classes >= len(names))).any():  # type: ignore[arg-type]
        return f"its classes leave 0 .. {len(names) - 1}, the places of its class_names"  # type: ignore[arg-type]
    return ""


def wrong_presence(present: object, workers: int) -> str:
    """Say what is wrong with who is available in a round; empty: nothing.

    >>> wrong_presence([True], workers=1)
    'presence: list; expected bool (1,)'
    """
    array = isinstance(present, np.ndarray)
    if not array or present.dtype != bool or present.shape != (workers,):  # type: ignore[attr-defined]
        return f"presence: {type(present).__name__}; expected bool ({workers},)"
    return ""
