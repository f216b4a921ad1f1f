"""Calls that end in each of the ways in which calls can end."""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from hgobench.engines.progress import tell


def squares(number: int) -> bytes:
    """Work whose last bits would tell one machine from another."""
    values = np.random.default_rng(number).normal(size=(50, 50))
    return (values @ values.T).tobytes() + bytes([number])


def start_a_large_one() -> None:
    """Wait for a process that holds 0.5 GiB."""
    code = "import time; kept = bytearray(2**29); kept[::4096] = bytes(2**17); time.sleep(60)"
    subprocess.run([sys.executable, "-c", code], check=True)


def fork_a_large_one() -> bool:
    """Hold 0.3 GiB together with two forks, which write to none of it."""
    kept = np.ones(40_000_000)
    others = [os.fork(), os.fork()] if hasattr(os, "fork") else []
    time.sleep(0.5)
    if 0 in others:
        os._exit(0)
    for other in others:
        os.waitpid(other, 0)
    return bool(kept[0] == 1.0)


class Unpicklable(Exception):
    """It is pickled, and can't be read back."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__("two arguments")


def leave() -> NoReturn:
    os._exit(7)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def crash() -> None:
    ctypes.string_at(8)


def compute_in_c() -> int:
    """Hold the interpreter's lock for hours, and never look at a signal."""
    return sum(range(10**12))


def backtrack() -> Any:
    return re.match(r"(a+)+$", "a" * 60 + "b")


def wait_in_c() -> None:
    ctypes.PyDLL(None).sleep(3600)


def grow() -> int:
    """Take memory, fast, and use it."""
    kept: list[Any] = []
    while len(kept) < 3000:
        kept.append(np.ones(10**6))
    return len(kept)


def no_memory() -> Any:
    return bytearray(2**62)


def unpicklable() -> Any:
    return threading.Lock()


def divide() -> float:
    return 1 / 0


def odd() -> NoReturn:
    raise Unpicklable(1, 2)


def leave_politely() -> NoReturn:
    sys.exit("bye")


def start_another() -> NoReturn:
    """Fork, and die: the other holds the pipe open."""
    if os.fork():
        os._exit(3)
    time.sleep(3600)
    os._exit(0)


def half(path: str) -> None:
    """Tell that two and a half cells are done, and wait until it is let go on."""
    tell(2.5)
    while not Path(path).exists():
        time.sleep(0.01)


def stop_itself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def start_session(folder: str) -> None:
    """Start a process in a session of its own, behind one that is gone; then end as asked."""
    code = f"import os, time; open({folder!r} + '/' + str(os.getpid()), 'w'); time.sleep(3600)"
    shell = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} &"
    subprocess.Popen(["/bin/sh", "-c", shell], start_new_session=True).wait()
    while not os.listdir(folder):
        time.sleep(0.01)


def start_session_without_environment(folder: str, *, seconds: float = 3600.0) -> None:
    """Start a process that nothing but its place below this one tells of, and wait."""
    code = f"import os, time; open({folder!r} + '/' + str(os.getpid()), 'w'); time.sleep(3600)"
    shell = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} &"
    subprocess.Popen(["/bin/sh", "-c", shell], start_new_session=True, env={}).wait()
    time.sleep(seconds)


def start_without_environment_and_die(folder: str) -> NoReturn:
    start_session_without_environment(folder, seconds=1.0)
    os._exit(3)


def start_session_and_die(folder: str) -> NoReturn:
    start_session(folder)
    os._exit(3)


def endless(folder: str) -> None:
    """Compute until the process is ended; say which it is. No folder: return at once."""
    if not folder:
        return
    (Path(folder) / str(os.getpid())).touch()
    sum(range(10**12))


def who(_: object) -> int:
    return os.getpid()


def place(_: object) -> tuple[str, str | None, str]:
    return os.getcwd(), os.environ.get("HGOBENCH_TEST"), sys.path[0]


def printed(text: str) -> str:
    """Print on what might be the pipe that answers go through, and read from where calls come."""
    print(text, flush=True)
    os.write(1, text.encode())
    return sys.stdin.read()


def call(name: Any) -> Any:
    """Make one of the calls above; a number is squared."""
    return squares(name) if isinstance(name, int) else globals()[name]()


def several(names: list[Any]) -> list[Any]:
    """Make several of them."""
    return [call(name) for name in names]


def text_of(module: str) -> str:
    return str(import_module(module).text)


def compute_in_python(folder: str) -> None:
    """Compute until the process is ended, in Python, which lets other threads run."""
    (Path(folder) / str(os.getpid())).touch()
    while True:
        pass


def added(a: int, b: int) -> int:
    """A measurement."""
    return a + b
