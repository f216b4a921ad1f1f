"""The contract of engines: map a function over items, in no order, and say how each call ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, runtime_checkable

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class EngineError(RuntimeError):
    """The engine is lost, and with it all calls under way: a cluster went away."""


@dataclass(frozen=True)
class Limits:
    """Limits of a call; a process that exceeds one is ended.

    Attributes:
        cpu: CPU seconds of its process, so that a busy machine ends nothing.
        idle: seconds that it may wait without computing, or be stopped; seconds in which the driver
            or the machine is stopped, too, do not count.
        memory: bytes that its process may hold, on Linux together with what it has started; 0: an
            equal share of this machine's memory.

    Example:
        >>> Limits(cpu=60.0).idle
        inf
    """

    cpu: float = math.inf
    idle: float = math.inf
    memory: int = 0


UNLIMITED = Limits()


@dataclass(frozen=True)
class Failure:
    """How a call ended that did not return.

    Attributes:
        kind: ``"died"``: its process did; ``"time"`` or ``"memory"``: it exceeded that limit and
            was ended; ``"raised"``: it raised an exception, or its value can't be pickled.
        how: the exit status or signal, the limit, or ``Type: message``.
        component: what exceeded the limit, as ``rule 'm:Rule'``; empty: unknown.
        error: the exception; None: there is none, or it can't be pickled.

    Example:
        >>> Failure("died", "signal SIGSEGV").component
        ''
    """

    kind: Literal["died", "time", "memory", "raised"]
    how: str
    component: str = ""
    error: BaseException | None = None


@runtime_checkable
class Engine(Protocol):
    """A place where calls are made: this process, others, or other machines.

    One in this process pickles nothing and has no limits (`hgobench.engines.local.Inline`).

    Example:
        >>> from hgobench.engines import open_engine
        >>> engine = open_engine("local", jobs=1)
        >>> [answer for item, answer in engine.map(math.sqrt, [4, 9])]
        [2.0, 3.0]
        >>> engine.close()
    """

    @property
    def jobs(self) -> int:
        """Number of calls under way at a time."""

    @property
    def elsewhere(self) -> bool:
        """Whether calls are made on other machines, which have their own files and devices."""

    def map(
        self,
        function: Callable[[Item], Answer],
        items: Iterable[Item],
        *,
        limits: Limits = UNLIMITED,
        alone: bool = False,
    ) -> Generator[tuple[Item, Answer | Failure]]:
        """Yield each item with the function's value or a `Failure`, as the calls end.

        Items are taken from the iterable only when a call can begin soon, so that a million of
        them never wait in memory. Closing the generator ends the calls that are under way.

        Args:
            function: one defined in a module, or a `functools.partial` of it. Function, items and
                values are pickled.
            items: its arguments, one each; an iterator is enough.
            limits: of each call.
            alone: whether to make one call at a time, which may hold all of a machine's memory.

        Raises:
            EngineError: the engine is lost.
        """

    def close(self) -> None:
        """Free what the engine holds; no call may be under way."""


@runtime_checkable
class Observable(Protocol):
    """An engine that knows the progress of the calls under way."""

    def under_way(self) -> float:
        """Return how much of them is done, in their own unit (`hgobench.engines.progress.tell`).

        Any thread may call it.
        """


def tried_twice(
    engine: Engine,
    function: Callable[[Item], Answer],
    items: Iterable[Item],
    split: Callable[[Item], Iterable[Item]],
    limits: Limits = UNLIMITED,
    say: Callable[[Item, Failure], None] = lambda item, failure: None,
    sure: Callable[[Answer], tuple[Answer, Iterable[Item]]] = lambda answer: (answer, ()),
) -> Generator[tuple[Item, Answer | Failure]]:
    """Map as an engine does, and repeat once the calls whose process ended.

    A process may have died by the fault of another item of the same call, or of a neighbouring
    process. Calls that ran out of time are repeated beside others, as CPU time is not shared; calls
    that died or ran out of memory are repeated alone on the machine.

    Args:
        engine, function, items, limits: as for `Engine.map`.
        split: returns the items to try in place of one that failed.
        say: called with each item that is repeated, and its failure.
        sure: returns what is sure of a first answer, and the items to try in place of the rest.
    """
    out_of_time: list[Item] = []
    dead: list[Item] = []
    for item, answer in engine.map(function, items, limits=limits):
        if not isinstance(answer, Failure):
            answer, unsure = sure(answer)
            out_of_time += unsure
            yield item, answer
            continue
        if answer.kind == "raised":
            yield item, answer
            continue
        say(item, answer)
        if answer.kind == "time":
            out_of_time += split(item)
        else:
            dead += split(item)
    if out_of_time:
        yield from engine.map(function, out_of_time, limits=limits)
    if dead:
        yield from engine.map(function, dead, limits=limits, alone=True)
