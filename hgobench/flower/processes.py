"""A SuperLink and SuperNodes on loopback, as processes that leave nothing behind."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psutil

import hgobench

from .links import Link, Links

MARK = "HGOBENCH_FLOWER_FLEET"  # in the environment of all that is started here
BIN = Path(sys.executable).parent
HERE = Path(hgobench.__file__).parents[1]  # from where it is imported, in a checkout


PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """Have the kernel end this process with the thread that started it, where it can."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """Return a port of this machine at which nobody listens."""
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        return int(at.getsockname()[1])


def listens(port: int) -> bool:
    """Return whether somebody listens on a port of this machine."""
    with socket.socket() as at:
        return at.connect_ex(("127.0.0.1", port)) == 0


class Fleet:
    """What runs: start nodes and runs, end them, read what they log.

    What was started ends with the process that did, even if that is killed; what Flower starts in
    turn ends a few seconds after its parent.

    Args:
        folder: of their logs, and of Flower's own files; it must be there.
        links: of the nodes, by number; None: all are on loopback.

    Raises:
        InputError: there are links, and the system has none.
    """

    def __init__(self, folder: Path, links: Sequence[Link] | None = None) -> None:
        self.folder, self.mark, self.port = folder, uuid4().hex, free_port()
        kept = {name: value for name, value in os.environ.items() if name != "HGOBENCH_DATA"}
        self.environment = {
            **kept,
            MARK: self.mark,
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_HOME": str(folder / "home"),
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
            "HOME": str(folder / "home"),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(
                [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
        }
        (folder / "home").mkdir()
        (folder / "home" / "config.toml").write_text(
            '[superlink]\ndefault = "here"\n\n'
            f'[superlink.here]\naddress = "127.0.0.1:{self.port}"\ninsecure = true\n'
        )
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.links: Links | None = None
        if links is not None:
            try:
                self.links = Links(links, self._start)
            except BaseException:
                self.end()
                raise

    def _start(
        self, name: str, words: Sequence[str | Path], **more: str
    ) -> subprocess.Popen[bytes]:
        """Start a command, with further variables; its output goes to a file of that name."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                words, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env=self.environment | more, start_new_session=True, cwd=self.folder,
                preexec_fn=_end_with_parent,
            )  # fmt: skip
        return self.processes[name]

    def start(self, name: str, command: str, *words: str, **more: str) -> None:
        """Start a command of Flower's where the server is; see `log`.

        Args:
            name: of the process, and of the file that its output goes to.
            command, words: what is started.
            **more: variables of its environment.
        """
        where = [] if self.links is None else self.links.server
        self._start(name, [*where, BIN / command, *words], **more)

    def superlink(self, *words: str, **more: str) -> None:
        """Start the SuperLink, with further options, and wait until it listens."""
        self.start(
            "superlink", "flower-superlink", "--insecure",
            "--host", "127.0.0.1" if self.links is None else "0.0.0.0",
            "--port", str(self.port), "--disable-runtime-dependency-installation", *words, **more,
        )  # fmt: skip
        self.wait(lambda: self._listens(), 60)

    def _listens(self) -> bool:
        return listens(self.port) if self.links is None else self.links.listens(self.port)

    def node(self, name: str, settings: str, number: int = 0, /, **more: str) -> None:
        """Start a node, given its ``--node-config``, and which of the links it has, if any."""
        host = "127.0.0.1" if self.links is None else self.links.host
        where = [] if self.links is None else self.links.node(number)
        self._start(
            name,
            [*where, BIN / "flower-supernode", "--insecure", "--superlink", f"{host}:{self.port}",
             "--port", str(free_port()), "--node-config", settings],
            **more,
        )  # fmt: skip

    def signal(self, name: str, number: int) -> None:
        """Send a signal to what was started under a name, and to all that it has started."""
        root = psutil.Process(self.processes[name].pid)
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def log(self, name: str) -> str:
        """Return what a process has written."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def wait(self, what: Callable[[], object], seconds: float, look: float = 0.2) -> None:
        """Wait until something is so, and look every `look` seconds.

        Raises:
            TimeoutError: it is not within some seconds; with the ends of all logs.
        """
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                logs = "\n".join(f"== {name}\n{self.log(name)[-3000:]}" for name in self.processes)
                raise TimeoutError(f"not within {seconds} s\n{logs}")
            time.sleep(look)

    def left(self) -> list[psutil.Process]:
        """Return what runs of all that was started, and of what that has started."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark:
                    found.append(process)
        return found

    def end(self) -> None:
        """Kill all that was started, and what that has started."""
        while running := self.left():
            for process in running:
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGKILL)
            for started in self.processes.values():
                started.poll()
            psutil.wait_procs(running, timeout=5)
        for started in self.processes.values():
            started.wait()


@contextmanager
def fleet(folder: Path, links: Sequence[Link] | None = None) -> Iterator[Fleet]:
    """Start a SuperLink, and end everything at the end."""
    it = Fleet(folder, links)
    try:
        it.superlink()
        yield it
    finally:
        it.end()
