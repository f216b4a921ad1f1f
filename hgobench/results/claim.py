"""Claims: one run at a time computes for a store; others wait, and find its results.

A claim is a lock on a file next to the store. The system releases it with the process that holds
it, however that ends. The file names the process.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from hgobench.boundary import plain

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

POLL = 0.2  # seconds
LONGEST = 1_000  # characters of a claim that are read
LOCKED_BYTE = 1 << 20  # on Windows: beyond the text, which can then be read


@contextmanager
def claim(path: Path, needed: Callable[[], bool], say: Callable[[str], None]) -> Iterator[None]:
    """Hold a claim in the body.

    Args:
        path: the claim's file, which is removed afterwards.
        needed: called only if another process holds the claim; returns whether to wait for it,
            with a message. If not, the body runs without the claim.
        say: called with each line that a user should see.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "results.claim")
    ...     with claim(path, lambda: True, print), claim(path, lambda: False, print):
    ...         print(path.exists())
    ...     path.exists()
    True
    False
    """
    own_claim = _try(path)
    if own_claim is None and needed():
        say(
            f"waiting for {path.parent}: {_holder(path)} computes there, and what it has computed "
            "is not computed again (Ctrl-C ends waiting)"
        )
        while (own_claim := _try(path)) is None:
            time.sleep(POLL)
    try:
        yield
    finally:
        if own_claim is not None:
            own_claim.close()


class _Claim:
    """A claim, in a locked file; None: files can't be locked here, and no process is kept out."""

    def __init__(self, path: Path, file: IO[str] | None = None) -> None:
        self.path, self.file = path, file

    def close(self) -> None:
        """Release the claim."""
        if self.file is not None:
            with suppress(OSError):  # while it is locked, so that the next process creates another
                self.path.unlink()
            self.file.close()


def _try(path: Path) -> _Claim | None:
    """Return a claim; None: another process has it."""
    while True:
        try:
            file = path.open("a+", encoding="utf-8")
        except OSError:  # a folder that can't be written to, as the store will say
            return _Claim(path)
        try:
            _lock(file)
            if _is_at(path, file):
                _write_holder(file)
                return _Claim(path, file)
        except (BlockingIOError, PermissionError):
            file.close()
            return None
        except OSError:
            file.close()
            return _Claim(path)
        file.close()  # its former holder has removed it in the meantime


def _lock(file: IO[str]) -> None:
    """Lock a file, or raise OSError."""
    if sys.platform == "win32":
        file.seek(LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(path: Path, file: IO[str]) -> bool:
    """Return whether a path still names an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _write_holder(file: IO[str]) -> None:
    file.truncate(0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    json.dump({"process": os.getpid(), "host": platform.node(), "since": since}, file)
    file.flush()


def _holder(path: Path) -> str:
    """Return the process that holds a claim, in words; the file may contain anything."""
    try:
        holder = json.loads(path.read_text(encoding="utf-8")[:LONGEST])
        return plain(f"process {holder['process']} on {holder['host']}, since {holder['since']},")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
