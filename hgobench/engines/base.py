"""What all engines do: map a function over items, unordered, and tell how a call ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, runtime_checkable

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class EngineError(RuntimeError):
    """The engine can't go on, and what was under way is lost: a cluster that went away."""


@dataclass(frozen=True)
class Limits:
    """What one call may take; a process that takes more is ended.

    Attributes:
        cpu: CPU seconds of its process, so that a busy machine ends nothing.
        idle: seconds that it may wait without computing, or stand stopped, against doing so for
            ever; those do not count in which its driver, or the machine, is stopped too.
        memory: bytes that its process may hold; 0: an equal share of this machine's memory.
    """

    cpu: float = math.inf
    idle: float = math.inf
    memory: int = 0


UNLIMITED = Limits()


@dataclass(frozen=True)
class Failure:
    """How a call ended that returned nothing.

    Attributes:
        kind: ``"died"``: its process did; ``"time"`` and ``"memory"``: it was ended past that
            limit; ``"raised"``: it raised something, or returned what can't be pickled.
        how: the exit status or signal, the limit, or ``Type: message``.
        part: what ran past the limit, as ``rule 'm:Rule'``; empty: not known.
        error: what it raised; None: nothing.
    """

    kind: Literal["died", "time", "memory", "raised"]
    how: str
    part: str = ""
    error: BaseException | None = None


class Engine(Protocol):
    """Where calls are made.

    Example:
        >>> from hgobench import engines
        >>> with engines.open_engine("local", jobs=2) as engine:  # doctest: +SKIP
        ...     for item, answer in engine.map(math.sqrt, range(4)):
        ...         print(item, answer)
    """

    @property
    def jobs(self) -> int:
        """How many calls are under way at a time."""

    @property
    def elsewhere(self) -> bool:
        """Whether calls are made on other machines, with files and devices of their own."""

    def map(
        self,
        function: Callable[[Item], Answer],
        items: Iterable[Item],
        *,
        limits: Limits = UNLIMITED,
        alone: bool = False,
    ) -> Generator[tuple[Item, Answer | Failure]]:
        """Yield each item with what the function returns of it, in the order in which calls end.

        Items are taken only when there is room for them, so that a million never wait. Closing
        the generator ends the calls that are under way.

        Args:
            function: of a module, or a `functools.partial` of one; pickled, as items and answers.
            items: an iterator is enough.
            limits: of each call.
            alone: one call at a time, which then may hold all of a machine's memory.

        Raises:
            EngineError: the engine is lost.
        """

    def close(self) -> None:
        """Let go of what the engine holds; no call may be under way."""


@runtime_checkable
class Telling(Protocol):
    """An engine that knows how far the calls are that it is making."""

    def under_way(self) -> float:
        """Return how much of them is done, in what they count (`hgobench.engines.progress.tell`).

        Any thread may ask.
        """


def tried_twice(
    engine: Engine,
    function: Callable[[Item], Answer],
    items: Iterable[Item],
    split: Callable[[Item], Iterable[Item]],
    limits: Limits = UNLIMITED,
    say: Callable[[Item, Failure], None] = lambda item, failure: None,
) -> Generator[tuple[Item, Answer | Failure]]:
    """Map as an engine does, and try again what ended with its process.

    Whatever a process did when it died may be a neighbour's fault, in the same call or beside it.
    What ran out of time shares nothing with other processes, as that is CPU time; what died or ran
    out of memory is alone on the machine the second time.

    Args:
        engine, function, items, limits: as for `Engine.map`.
        split: what to try again of an item.
        say: told of each item that is to be tried again.
    """
    late: list[Item] = []
    dead: list[Item] = []
    for item, answer in engine.map(function, items, limits=limits):
        if not isinstance(answer, Failure) or answer.kind == "raised":
            yield item, answer
            continue
        say(item, answer)
        if answer.kind == "time":
            late += split(item)
        else:
            dead += split(item)
    if late:
        yield from engine.map(function, late, limits=limits)
    if dead:
        yield from engine.map(function, dead, limits=limits, alone=True)
