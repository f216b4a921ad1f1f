"""A Dask cluster of real processes on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.conftest import ROOT


class Cluster:
    """A scheduler, and workers of one thread each.

    Args:
        folder: for what they write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []

    def _start(self, *command: str, folder: Path = ROOT, path: str = "") -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": path} if path else dict(os.environ)
        environment["DASK_TEMPORARY_DIRECTORY"] = str(self.folder)
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *command], cwd=folder, env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> Cluster:
        file = self.folder / "scheduler.json"
        self.scheduler = self._start(
            "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
            "--scheduler-file", str(file),
        )  # fmt: skip
        for _ in range(1200):
            with suppress(OSError, ValueError):
                self.address: str = json.loads(file.read_text())["address"]
                return self
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def add_worker(self, *more: str, **place: Any) -> subprocess.Popen[bytes]:
        """Start a worker; it joins when it is ready."""
        worker = self._start(
            "distributed.cli.dask_worker", self.address, "--host", "127.0.0.1", "--nthreads", "1",
            "--no-dashboard", "--no-nanny", *more, **place,
        )  # fmt: skip
        self.workers.append(worker)
        return worker

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process and what it has started, as a machine that fails does."""
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def __exit__(self, *_: object) -> None:
        for process in [*self.workers, self.scheduler]:
            self.kill(process)
