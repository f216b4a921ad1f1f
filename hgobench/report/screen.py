"""Standard output and error as the command uses them: any encoding, closed pipes, full disks.

One place decides what reaches a terminal: control characters are shown instead of sent, what the
encoding lacks is spelt (± is +-), and a stream that can't be written to ends the command in a
line, or in silence if nobody reads it any more.
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
    """Return how many columns a table may take; None: any number.

    That is what ``COLUMNS`` says, else the terminal, if there is one.
    """
    if wide:
        return None
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return max(int(asked), NARROWEST)
    with suppress(OSError, ValueError, AttributeError):
        if sys.stdout.isatty():
            return max(os.get_terminal_size(sys.stdout.fileno()).columns, NARROWEST)
    return None


class Screen(io.TextIOBase):
    """A standard stream.

    Args:
        raw: where it goes; None: it is closed.
        name: what messages call it.
        vital: whether a failure ends the command; of what does not, nothing more is written.
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
        """Write a text, what a terminal would act on shown instead."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text and not self._given_up:
            with self._guarded():
                if self.raw is None:
                    raise OSError(errno.EBADF, "closed")
                shown = [
                    part if part.isprintable() else "\t".join(map(visible, part.split("\t")))
                    for part in text.split("\n")
                ]
                self.raw.write("\n".join(shown))
        return len(text)

    def flush(self) -> None:
        """Write what waits."""
        if self.raw is not None and not self._given_up:
            with self._guarded():
                self.raw.flush()

    def restore(self) -> None:
        """Write what is left, and leave the stream as it was."""
        self.flush()
        if isinstance(self.raw, io.TextIOWrapper) and self._errors:
            with suppress(OSError, ValueError):  # it may be given up
                self.raw.reconfigure(errors=self._errors)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: somebody closed it
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
        """Send what the stream still holds nowhere, or Python would complain at its end."""
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
        SystemExit: standard output can't be written: 1, said on standard error; or nobody reads it
            any more: 141, in silence.
    """
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _occupy()
    before: tuple[Any, Any] = sys.stdout, sys.stderr
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
        sys.stdout, sys.stderr = before


def _occupy() -> None:
    """Keep files that are opened later from becoming standard streams that were closed."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
