"""A process that makes calls for a supervisor: ``python -P child.py PARENT PAGE``.

It reads frames from standard input and writes frames to standard output: eight bytes of length, and
a pickle. The first is the supervisor's import path, so that only Python's own library is imported
before. Then each request is the bytes of a `Request`, each reply the bytes of a `Reply`.

It ends with its parent, however that ends: on Linux the kernel sees to it; elsewhere a thread does,
which notices that the pipe is closed as soon as C code lets it run.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import queue
import signal
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

IDLE = 300  # seconds after which a process without work ends
PR_SET_PDEATHSIG = 1
_INSTALLED = tuple({sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")})


class Request(NamedTuple):
    """A call.

    Attributes:
        path, folder, environment: where it is made, as if in the supervisor.
        function, item: pickled.
    """

    path: list[str]
    folder: str
    environment: dict[str, str]
    function: bytes
    item: bytes


class Reply(NamedTuple):
    """What became of a call.

    Attributes:
        answer: what it returned, pickled; empty: it raised something.
        error: the exception, pickled; empty: nothing was raised, or it can't be pickled.
        said: the exception in one line.
        sources: the files of what was imported for it, but for what is installed: size and time of
            change of each.
    """

    answer: bytes
    error: bytes
    said: str
    sources: dict[str, tuple[int, int]]


def read_frame(stream: IO[bytes]) -> bytes:
    """Return the next frame; empty: there is none."""
    head = _exactly(stream, 8)
    return _exactly(stream, int.from_bytes(head, "little")) if head else b""


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    return data if len(data) == size else b""


def write_frame(stream: IO[bytes], data: bytes) -> None:
    """Write a frame."""
    stream.write(len(data).to_bytes(8, "little") + data)
    stream.flush()


def signature(file: str) -> tuple[int, int]:
    """Return what tells that a file was changed; zeros if there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def main(parent: int, page: str) -> None:
    """Serve until the pipe is closed, or nothing was asked for a while."""
    _end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor to act on
    # Pipes of its own: what is printed goes to standard error, and nobody reads what isn't theirs.
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, frames), daemon=True).start()
    sys.path[:] = pickle.loads(frames.get())

    from hgobench import boundary
    from hgobench.engines.meter import Meter
    from hgobench.engines.progress import told_to

    meter = Meter(Path(page))
    with suppress(OSError):  # where a file that is open can lose its name
        os.unlink(page)
    boundary.watched_by(meter.show)
    told_to(partial(setattr, meter, "done"))
    served = 0
    while True:
        try:
            frame = frames.get(timeout=IDLE)
        except queue.Empty:
            return
        served += 1
        meter.done, meter.calls = 0.0, served
        write_frame(replies, pickle.dumps(tuple(_served(Request(*pickle.loads(frame))))))


def _read(requests: IO[bytes], frames: queue.SimpleQueue[bytes]) -> None:
    """Hand on what is asked; end the process when nobody can ask any more."""
    while frame := read_frame(requests):
        frames.put(frame)
    os._exit(0)


def _end_with(parent: int) -> None:
    """Have the kernel end this process with the thread that started it, where it can."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended meanwhile
            os._exit(0)


def _served(request: Request) -> Reply:
    """Make a call."""
    from hgobench.boundary import told

    answer, error, said = b"", b"", ""
    try:
        _settle(request)
        function: Callable[[Any], Any] = pickle.loads(request.function)
        answer = pickle.dumps(function(pickle.loads(request.item)), pickle.HIGHEST_PROTOCOL)
    except BaseException as raised:
        said = told(raised)
        with suppress(BaseException):  # anything may be wrong with it
            raised.add_note("in the process that made the call:\n" + traceback.format_exc())
            pickled = pickle.dumps(raised.with_traceback(None))
            error = pickled if type(pickle.loads(pickled)) is type(raised) else b""
        if isinstance(raised, MemoryError):
            error = b""
    return Reply(answer, error, said, _sources())


def _settle(request: Request) -> None:
    """Be where the supervisor is.

    The process may have served another folder, whose modules may have the same names.
    """
    if gone := tuple(f"{one}{os.sep}" for one in set(sys.path) - set(request.path) if one):
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(gone):
                del sys.modules[name]
    sys.path[:] = request.path
    if dict(os.environ) != request.environment:
        for name in os.environ.keys() - request.environment.keys():
            del os.environ[name]
        os.environ.update(request.environment)
    with suppress(OSError):
        if os.getcwd() != request.folder:
            os.chdir(request.folder)


_SEEN: set[str] = set()


def _sources() -> dict[str, tuple[int, int]]:
    """Return the files of what was imported since the last call, but for what is installed."""
    sources = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file not in _SEEN:
            _SEEN.add(file)
            if not file.startswith(_INSTALLED):
                sources[file] = signature(file)
    return sources


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
