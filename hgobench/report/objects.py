"""Standard error for other programs: a JSON object per line, whatever is written to it.

What is printed as text becomes an object too, ``{"event": "message", "text": ..}``. Only what
plug-in code prints in a process of its own is passed on as it is.
"""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO


class Objects(io.TextIOBase):
    """A stream that writes each line of text as an object.

    Args:
        raw: the underlying stream.

    Example:
        >>> out = Objects(sys.stdout)
        >>> print("left out 3 cells", file=out)
        {"event": "message", "text": "left out 3 cells"}
        >>> out.emit({"event": "end", "exit": 0})
        {"event": "end", "exit": 0}
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw
        self._line = ""
        self._lock = threading.RLock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Return the encoding of what is written."""
        return getattr(self.raw, "encoding", None) or "utf-8"

    def fileno(self) -> int:
        """Return the number of the file."""
        return self.raw.fileno()

    def writable(self) -> bool:
        """Say that it is for writing."""
        return True

    def write(self, text: str, /) -> int:
        """Write a text; each whole line of it is an object."""
        with self._lock:
            *lines, self._line = (self._line + text).split("\n")
            for line in lines:
                self._say(line)
        return len(text)

    def flush(self) -> None:
        """Write the buffered text; a line that has no end yet waits for it."""
        self.raw.flush()

    def end(self) -> None:
        """Write a line that has no end."""
        with self._lock:
            line, self._line = self._line, ""
            self._say(line)

    def _say(self, line: str) -> None:
        if line.strip():
            self.emit({"event": "message", "text": line})

    def emit(self, content: Mapping[str, Any]) -> None:
        """Write an object."""
        with self._lock:
            emit(self.raw, content)


def emit(out: TextIO, content: Mapping[str, Any]) -> None:
    """Write an object to a stream, in a line."""
    if isinstance(out, Objects):
        out.emit(content)
        return
    out.write(json.dumps(content, allow_nan=False) + "\n")
    out.flush()


@contextmanager
def objects() -> Iterator[Objects]:
    """Use `Objects` as standard error in the body."""
    before, out = sys.stderr, Objects(sys.stderr)
    sys.stderr = out
    try:
        yield out
    finally:
        out.end()
        sys.stderr = before
