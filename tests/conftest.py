"""What all tests share: real data where it is at hand, no network, one thread, and three tiers.

Tests are of one of three tiers: those without a mark, which `pytest` runs; `long`; and `deep`.
Those marked `data` need real data and are skipped without: `pytest -m data` runs just them.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"
TIERS = ("default", "long", "deep")
LOOPBACK = {"localhost", "127.0.0.1", "::1", "", None}

os.environ["HGOBENCH_OFFLINE"] = "1"
os.environ.pop("COLUMNS", None)  # tables are as wide as they come
os.unsetenv("COLUMNS")  # readline, which pytest imports, sets it behind Python's back
# The many interpreters that tests start find hgobench compiled: pytest alone starts in a third.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
if "HGOBENCH_DATA" not in os.environ and SHARED.is_dir():
    os.environ["HGOBENCH_DATA"] = str(SHARED)
# Before NumPy, scikit-learn and torch are imported: threads for small problems wait for each other,
# on a busy machine for most of the time.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
# A shell that starts this in the background has it ignore Ctrl-C, which some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine fails no test: no example has a deadline of wall time.
settings.register_profile("hgobench", deadline=None)
settings.load_profile("hgobench")

counts = pytest.StashKey[Counter[str]]()


def data_folder() -> Path | None:
    """Return the folder with real data; None if none is at hand."""
    folder = Path(os.environ.get("HGOBENCH_DATA", "/nonexistent"))
    return folder if (folder / "mnist").is_dir() else None


@pytest.fixture
def images() -> Path:
    """Return the folder with MNIST and Fashion-MNIST."""
    folder = data_folder()
    if folder is None:
        pytest.skip("MNIST is not at hand; set HGOBENCH_DATA to a folder that holds it")
    return folder


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Any:
    """Let nothing but this machine be reached: what a test needs is in the repository."""
    patch = pytest.MonkeyPatch()
    resolve, connect = socket.getaddrinfo, socket.socket.connect

    def refuse(host: object) -> None:
        if host not in LOOPBACK:
            raise OSError(f"a test reached for {host}; tests use no network")

    def resolved(host: Any, *arguments: Any, **keywords: Any) -> Any:
        refuse(host)
        return resolve(host, *arguments, **keywords)

    def connected(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            refuse(address[0])
        connect(self, address)

    patch.setattr(socket, "getaddrinfo", resolved)
    patch.setattr(socket.socket, "connect", connected)
    yield
    patch.undo()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs data, skip it without, and count the tiers before any is deselected."""
    for item in items:
        if "images" in getattr(item, "fixturenames", ()):
            item.add_marker("data")
        elif item.get_closest_marker("data") and data_folder() is None:
            item.add_marker(pytest.mark.skip(reason="needs data; set HGOBENCH_DATA to its folder"))
    config.stash[counts] = Counter(tier_of(item) for item in items)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays until the end: thousands of tests, and torch.

    Each pytest that a test runs in this process collects five times when it ends.
    """
    gc.collect()
    gc.freeze()


def tier_of(item: pytest.Item) -> str:
    """Return the tier that a test is in: the deepest of its marks."""
    for tier in reversed(TIERS):
        if item.get_closest_marker(tier):
            return tier
    return TIERS[0]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that prints, where another collected."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["tiers"] = dict(session.config.stash.get(counts, None) or {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the counts of a process that collected."""
    if tiers := getattr(node, "workeroutput", {}).get("tiers"):
        node.config.stash[counts] = Counter(tiers)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests there are in each tier, whichever ran."""
    if found := terminalreporter.config.stash.get(counts, None):
        terminalreporter.write_line(
            "tiers: " + ", ".join(f"{tier} {found[tier]}" for tier in TIERS)
        )
