"""What a child says of itself while it computes: a page of memory that its supervisor reads.

C code that holds the interpreter's lock answers no question, but what was written before it began
is there to be read.
"""

from __future__ import annotations

import mmap
from pathlib import Path

SIZE = 4096
# float64 each, so that each is written at once
_CALLS, _DEADLINE, _LIMIT, _LENGTH, _DONE = range(5)
_TEXT = 40
_LONGEST = SIZE - _TEXT


class Meter:
    """The page, which both processes map.

    Args:
        path: its file.
        create: make the file; only the supervisor does.
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
        """How many calls the child has begun."""
        return int(self._numbers[_CALLS])

    @calls.setter
    def calls(self, number: int) -> None:
        self._numbers[_CALLS] = float(number)

    @property
    def deadline(self) -> float:
        """The CPU seconds of the child at which what runs now is out of time; inf: none."""
        return self._numbers[_DEADLINE]

    @property
    def limit(self) -> float:
        """The limit behind the deadline, seconds."""
        return self._numbers[_LIMIT]

    @property
    def part(self) -> str:
        """What runs now, as ``rule 'krum'``."""
        length = int(self._numbers[_LENGTH])
        return self._page[_TEXT : _TEXT + length].decode(errors="replace")

    @property
    def done(self) -> float:
        """How much of its call is done, in what the call counts."""
        return self._numbers[_DONE]

    @done.setter
    def done(self, number: float) -> None:
        self._numbers[_DONE] = number

    def show(self, deadline: float, limit: float, part: str) -> None:
        """Say what runs from now on, and until when it may."""
        text = part.encode()[:_LONGEST]
        self._page[_TEXT : _TEXT + len(text)] = text
        self._numbers[_LENGTH] = float(len(text))
        self._numbers[_LIMIT] = limit
        self._numbers[_DEADLINE] = deadline

    def close(self) -> None:
        """Let go of the page."""
        self._numbers.release()
        self._view.release()
        self._page.close()
