"""A SuperLink and SuperNodes on loopback, as processes that leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psutil

import hgobench

MARK = "HGOBENCH_FLOWER_FLEET"  # in the environment of all that is started here
BIN = Path(sys.executable).parent
HERE = Path(hgobench.__file__).parents[1]  # from where it is imported, in a checkout


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

    Args:
        folder: of their logs, and of Flower's own files; it must be there.
    """

    def __init__(self, folder: Path) -> None:
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

    def start(self, name: str, *words: str) -> None:
        """Start a command of Flower's; its output goes to a file of that name."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [BIN / words[0], *words[1:]], stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, env=self.environment, start_new_session=True,
                cwd=self.folder,
            )  # fmt: skip

    def node(self, name: str, settings: str) -> None:
        """Start a node, given its ``--node-config``."""
        self.start(
            name, "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{self.port}",
            "--port", str(free_port()), "--node-config", settings,
        )  # fmt: skip

    def log(self, name: str) -> str:
        """Return what a process has written."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def wait(self, what: Callable[[], object], seconds: float) -> None:
        """Wait until something is so.

        Raises:
            TimeoutError: it is not within some seconds; with the ends of all logs.
        """
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                logs = "\n".join(f"== {name}\n{self.log(name)[-3000:]}" for name in self.processes)
                raise TimeoutError(f"not within {seconds} s\n{logs}")
            time.sleep(0.2)

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
def fleet(folder: Path) -> Iterator[Fleet]:
    """Start a SuperLink, and end everything at the end."""
    it = Fleet(folder)
    try:
        it.start(
            "superlink", "flower-superlink", "--insecure", "--port", str(it.port),
            "--disable-runtime-dependency-installation",
        )  # fmt: skip

        it.wait(lambda: listens(it.port), 60)
        yield it
    finally:
        it.end()
