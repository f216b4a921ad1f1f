"""A process that makes calls for a supervisor: ``python -P child.py PARENT PAGE``.

It reads frames from standard input and writes frames to standard output: eight bytes of length and
a pickle. The first frame is the supervisor's import path; until then only the standard library is
imported. Then each frame read is a `Request`, each frame written a `Reply`.

It ends with its parent, however that ends: on Linux by the kernel; elsewhere by a thread, which
notices that the pipe is closed as soon as C code lets it run.
"""

from __future__ import annotations

import ctypes
import gc
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
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_INSTALLED = tuple({sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")})


class Request(NamedTuple):
    """A call.

    Attributes:
        path, folder, environment: the supervisor's import path, working directory and environment.
        function, item: the function and its argument, pickled.
    """

    path: list[str]
    folder: str
    environment: dict[str, str]
    function: bytes
    item: bytes


class Reply(NamedTuple):
    """The outcome of a call.

    Attributes:
        answer: the value returned, pickled; empty: an exception was raised.
        error: the exception, pickled; empty: there is none, or it can't be pickled.
        message: the exception in one line; empty: there is none.
        sources: size and time of change of each file that was imported for the call, installed
            packages left out.
        crowded: whether threads that plug-in code left behind go on computing.
    """

    answer: bytes
    error: bytes
    message: str
    sources: dict[str, tuple[int, int]]
    crowded: bool


def read_frame(stream: IO[bytes]) -> bytes:
    """Return the next frame; empty: the stream has ended."""
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
    """Return a file's size and time of change in ns, zeros if there is none."""
    try:
        status = os.stat(file)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def main(parent: int, page: str) -> None:
    """Serve requests until the pipe is closed, or for `IDLE` seconds none arrives."""
    _end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor to act on
    # Copies of the pipes: prints then go to standard error, and no plug-in reads or writes frames.
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
    os.dup2(2, 1)
    frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(requests, frames), daemon=True).start()
    sys.path[:] = pickle.loads(frames.get())

    from hgobench import boundary
    from hgobench.engines.meter import Meter
    from hgobench.engines.progress import listen

    meter = Meter(Path(page))
    with suppress(OSError):  # where a file that is open can lose its name
        os.unlink(page)
    boundary.watched_by(meter.show)
    listen(partial(setattr, meter, "done"))
    served = 0
    while True:
        try:
            frame = frames.get(timeout=IDLE)
        except queue.Empty:
            return
        served += 1
        meter.done, meter.calls = 0.0, served
        write_frame(replies, pickle.dumps(tuple(_served(Request(*pickle.loads(frame))))))
        if served == 1:
            gc.freeze()  # what was imported stays: looking for garbage in it takes 0.1 s each time


def _receive(requests: IO[bytes], frames: queue.SimpleQueue[bytes]) -> None:
    """Queue the frames that arrive; end the process when the pipe is closed."""
    while frame := read_frame(requests):
        frames.put(frame)
    os._exit(0)


def _end_with(parent: int) -> None:
    """Have the kernel end this process with the thread that started it, where it can.

    What this process starts stays below it, also when the processes in between have ended, so that
    the supervisor finds it.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
        if os.getppid() != parent:  # the parent has already ended
            os._exit(0)


def _served(request: Request) -> Reply:
    """Make a call and return its outcome."""
    from hgobench.boundary import crowded, error_text

    answer, error, message = b"", b"", ""
    try:
        _settle(request)
        function: Callable[[Any], Any] = pickle.loads(request.function)
        answer = pickle.dumps(function(pickle.loads(request.item)), pickle.HIGHEST_PROTOCOL)
    except BaseException as raised:
        message = error_text(raised)
        with suppress(BaseException):  # pickling runs its code, which may raise anything
            raised.add_note("in the process that made the call:\n" + traceback.format_exc())
            pickled = pickle.dumps(raised.with_traceback(None))
            error = pickled if type(pickle.loads(pickled)) is type(raised) else b""
        if isinstance(raised, MemoryError):
            error = b""
    return Reply(answer, error, message, _sources(), crowded())


def _settle(request: Request) -> None:
    """Take over the supervisor's import path, environment and working directory.

    Modules of folders that are not on the path any more are forgotten, as those of the new folders
    may have the same names.
    """
    if dropped := tuple(f"{path}{os.sep}" for path in set(sys.path) - set(request.path) if path):
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(dropped):
                del sys.modules[name]
    sys.path[:] = request.path
    if dict(os.environ) != request.environment:
        for name in os.environ.keys() - request.environment.keys():
            del os.environ[name]
        os.environ.update(request.environment)
    with suppress(OSError):
        if os.getcwd() != request.folder:
            os.chdir(request.folder)


_REPORTED: set[str] = set()


def _sources() -> dict[str, tuple[int, int]]:
    """Return the files imported since the last call, installed packages left out."""
    sources = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file not in _REPORTED:
            _REPORTED.add(file)
            if not file.startswith(_INSTALLED):
                sources[file] = signature(file)
    return sources


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
