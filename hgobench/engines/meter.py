"""What a child process reports while it computes: a page of memory that its supervisor reads.

C code that holds the interpreter's lock can't answer, but what was written before it began can be
read.
"""

from __future__ import annotations

import mmap
from pathlib import Path

SIZE = 4096
# float64, so that each is written at once
_CALLS, _DEADLINE, _LIMIT, _LENGTH, _PROGRESS = range(5)
_TEXT = 40
_LONGEST = SIZE - _TEXT


class Meter:
    """The page, which both processes map.

    Args:
        path: its file.
        create: whether to create the file, as the supervisor does.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            path.write_bytes(bytes(SIZE))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), SIZE)
        self._view = memoryview(self._page)
        self._numbers = self._view.cast("d")
        if create:
            self._numbers[_DEADLINE] = float("inf")

    @property
    def calls(self) -> int:
        """Number of calls that the child has begun."""
        return int(self._numbers[_CALLS])

    @calls.setter
    def calls(self, number: int) -> None:
        self._numbers[_CALLS] = float(number)

    @property
    def deadline(self) -> float:
        """The child's CPU seconds at which the running component is out of time; inf: none runs."""
        return self._numbers[_DEADLINE]

    @property
    def limit(self) -> float:
        """The running component's limit, seconds."""
        return self._numbers[_LIMIT]

    @property
    def component(self) -> str:
        """The running component, as ``rule 'krum'``."""
        length = int(self._numbers[_LENGTH])
        return self._page[_TEXT : _TEXT + length].decode(errors="replace")

    @property
    def done(self) -> float:
        """How much of the call is done, in its own unit."""
        return self._numbers[_PROGRESS]

    @done.setter
    def done(self, number: float) -> None:
        self._numbers[_PROGRESS] = number

    def show(self, deadline: float, limit: float, component: str) -> None:
        """Report the component that runs from now on, its deadline and its limit."""
        text = component.encode()[:_LONGEST]
        self._page[_TEXT : _TEXT + len(text)] = text
        self._numbers[_LENGTH] = float(len(text))
        self._numbers[_LIMIT] = limit
        self._numbers[_DEADLINE] = deadline

    def close(self) -> None:
        """Unmap the page."""
        self._numbers.release()
        self._view.release()
        self._page.close()
