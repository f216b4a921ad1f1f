"""Files that a user has: regular ones, of bounded size, and one refusal for whatever is wrong."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hgobench.errors import InputError


@contextmanager
def refusing(where: str, expected: str = "") -> Iterator[None]:
    """Turn whatever a reader raises in the body into one `InputError`.

    Args:
        where: what is read, as messages begin: ``"data: mine.csv"``.
        expected: what should be there.

    Raises:
        InputError: where, what is wrong, and what was expected.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        tail = "" if _of_the_system(error) or not expected else f"; expected {expected}"
        raise InputError(f"{where}: {_reason(error)}{tail}") from error


def _of_the_system(error: Exception) -> bool:
    """Say whether a file can't be read at all, whatever is in it."""
    return isinstance(error, OSError) and error.strerror is not None


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start}: not UTF-8 text"
    if isinstance(error, EOFError):
        return "it ends too early"
    if isinstance(error, zlib.error | gzip.BadGzipFile):
        return f"no gzip file, or a damaged one ({error})"
    if isinstance(error, MemoryError):
        return "too large for the memory"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading; unpack it if its name ends in ``.gz``.

    Raises:
        OSError: it can't be opened, or is a folder, a device or a pipe.
    """
    # A pipe that nobody writes to would be waited for.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(0, "not a regular file")
        if path.suffix == ".gz":
            with gzip.open(file) as unpacked:
                yield unpacked  # type: ignore[misc]
        else:
            yield file


def content(field: str, path: str | Path, most: int) -> bytes:
    """Read a file, unpacked if its name ends in ``.gz``, of `most` bytes at most.

    Args:
        field: what messages call it: ``"hardware"``.
        path: the file; ``~`` is the user's home.
        most: bytes; not more than these are taken, whatever the file claims or unpacks to.

    Raises:
        InputError: it is no regular file, can't be read or unpacked, or is larger.
    """
    where = f"{field}: {str(path)!r}"
    with refusing(where, "a whole file"):
        with opened(Path(path).expanduser()) as file:
            read = file.read(most + 1)
        if len(read) > most:
            raise InputError(f"{where}: more than {most:,} bytes; expected at most as many")
        return read
