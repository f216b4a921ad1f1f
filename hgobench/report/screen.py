"""Standard output and error as the command uses them: any encoding, closed pipes, full disks.

All output to a terminal goes through here: control characters are shown instead of sent, characters
that the encoding lacks are spelt (± is +-), and a stream that can't be written to ends the command
with a line, or in silence if it is a closed pipe.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from .writers import visible

CLOSED_PIPE = 128 + 13  # as the shell says of what SIGPIPE ended
NARROWEST = 20
_SPELT = {
    "±": "+-", "×": "x", "·": "*", "–": "-", "—": "-", "−": "-", "…": "..", "≤": "<=", "≥": ">=",
    "≠": "!=", "≈": "~", "∞": "inf", "√": "sqrt", "∑": "sum", "∈": "in", "∇": "grad", "‖": "||",
    "⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")", "→": "->", "←": "<-", "“": '"', "”": '"',
    "‘": "'", "’": "'",
}  # fmt: skip
_HANDLER = "hgobench.spelt"


def spelt(text: str) -> str:
    """Spell characters in ASCII: by a table, as the names of Greek letters, or escaped.

    >>> print(spelt("0.7 ±0.1, τ, é, 零"))
    0.7 +-0.1, tau, e, \\u96f6
    """
    return "".join(map(_spelt, text))


def _spelt(character: str) -> str:
    if character.isascii():
        return character
    if character in _SPELT:
        return _SPELT[character]
    name = unicodedata.name(character, "")
    for start in ("GREEK SMALL LETTER ", "GREEK CAPITAL LETTER "):
        if name.startswith(start) and " " not in (letter := name.removeprefix(start)):
            return letter.lower() if "SMALL" in start else letter.capitalize()
    bare = "".join(c for c in unicodedata.normalize("NFKD", character) if c.isascii())
    return bare or character.encode("unicode_escape").decode("ascii")


def _handler(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return spelt(error.object[error.start : error.end]), error.end


codecs.register_error(_HANDLER, _handler)


def width(wide: bool = False) -> int | None:
    """Return the width that a table may have, in columns; None: any.

    It is the value of ``COLUMNS``, else the terminal's width, if there is one.
    """
    if wide:
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return max(int(columns), NARROWEST)
    with suppress(OSError, ValueError, AttributeError):
        if sys.stdout.isatty():
            return max(os.get_terminal_size(sys.stdout.fileno()).columns, NARROWEST)
    return None


class Screen(io.TextIOBase):
    """A standard stream.

    Args:
        raw: the underlying stream; None: it is closed.
        name: its name in messages.
        vital: whether a failure to write ends the command; if not, later output is dropped.
    """

    def __init__(self, raw: TextIO | None, name: str, vital: bool) -> None:
        self.raw, self._name, self._vital = raw, name, vital
        self._given_up = False
        self._errors = getattr(raw, "errors", None)
        if isinstance(raw, io.TextIOWrapper):
            raw.reconfigure(errors=_HANDLER)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Return the encoding of what is written."""
        return getattr(self.raw, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Say whether it is a terminal."""
        return self.raw is not None and self.raw.isatty()

    def fileno(self) -> int:
        """Return the number of the file."""
        if self.raw is None:
            raise io.UnsupportedOperation("fileno")
        return self.raw.fileno()

    def writable(self) -> bool:
        """Say that it is for writing."""
        return True

    def write(self, text: str, /) -> int:
        """Write a text, with control characters shown instead of sent."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text and not self._given_up:
            with self._guarded():
                if self.raw is None:
                    raise OSError(errno.EBADF, "closed")
                lines = [
                    line if line.isprintable() else "\t".join(map(visible, line.split("\t")))
                    for line in text.split("\n")
                ]
                self.raw.write("\n".join(lines))
        return len(text)

    def flush(self) -> None:
        """Write the buffered text."""
        if self.raw is not None and not self._given_up:
            with self._guarded():
                self.raw.flush()

    def restore(self) -> None:
        """Flush, and restore the stream's error handling."""
        self.flush()
        if isinstance(self.raw, io.TextIOWrapper) and self._errors:
            with suppress(OSError, ValueError):  # it may be given up
                self.raw.reconfigure(errors=self._errors)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: it was closed
            self._given_up = True
            self._discard()
            if not self._vital:
                return
            if isinstance(error, BrokenPipeError):
                raise SystemExit(CLOSED_PIPE) from None
            reason = getattr(error, "strerror", None) or "closed"
            print(f"hgobench: {self._name} can't be written: {reason}", file=sys.stderr)
            raise SystemExit(1) from None

    def _discard(self) -> None:
        """Discard the buffered text; Python would report an error for it at exit."""
        if self.raw is None:
            return
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.raw.fileno())
            os.close(nowhere)


@contextmanager
def screens() -> Iterator[None]:
    """Use `Screen` as standard output and error in the body.

    Raises:
        SystemExit: standard output can't be written: 1, with a line on standard error; or it is a
            closed pipe: 141, in silence.
    """
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _occupy()
    streams: tuple[Any, Any] = sys.stdout, sys.stderr
    error = Screen(sys.stderr, "standard error", vital=False)
    output = Screen(sys.stdout, "standard output", vital=True)
    sys.stdout, sys.stderr = output, error
    try:
        try:
            yield
        finally:
            output.restore()
            error.restore()
    finally:
        sys.stdout, sys.stderr = streams


def _occupy() -> None:
    """Occupy the numbers of closed standard streams, which later files would get otherwise."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
