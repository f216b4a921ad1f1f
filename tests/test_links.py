"""Links of a stated bandwidth between processes, by network namespaces. Without Flower."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hgobench.errors import InputError
from hgobench.flower.links import Link
from hgobench.flower.processes import MARK, Fleet

INF = float("inf")


def namespaces() -> str:
    """Say why there are none here; empty: there are."""
    if sys.platform != "linux" or not all(map(shutil.which, ("unshare", "nsenter", "ip", "tc"))):
        return "needs Linux, util-linux and iproute2"
    root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(["unshare", *root, "--net", "true"], check=False, capture_output=True)
    return "no right to make network namespaces" if done.returncode else ""


here = pytest.mark.skipif(bool(namespaces()), reason=namespaces() or "none")


def spaces() -> set[str]:
    """Return the network namespaces of this machine."""
    found = set()
    for process in psutil.process_iter():
        try:
            found.add(os.readlink(f"/proc/{process.pid}/ns/net"))
        except OSError:
            continue
    return found


@here
@pytest.mark.long
def test_links_let_no_more_through_than_is_stated_and_nothing_of_them_is_left(
    tmp_path: Path,
) -> None:
    before = spaces()
    it = Fleet(tmp_path, [Link(20_000.0, 40_000.0), Link(INF, INF)])
    try:
        assert it.links is not None
        assert len(spaces() - before) == 3
        slow, fast = it.links.measured(seconds=1.0)
        assert 0 < slow.up <= 20_000 * 1.02
        assert slow.up < slow.down <= 40_000 * 1.02
        assert min(fast) > 10 * 40_000
        (up, down), (more, further) = it.links.passed()
        assert 20_000 < up < 60_000 > down > 40_000
        assert min(more, further) > 1_000_000
        assert not it.links.listens(it.port)
    finally:
        it.end()
    assert not it.left()
    assert not spaces() - before


KILLED = """
import pathlib, sys, time
from hgobench.flower.links import Link
from hgobench.flower.processes import Fleet
it = Fleet(pathlib.Path(sys.argv[1]), [Link(9e3, 9e3)])
print(it.mark, flush=True)
time.sleep(600)
"""


@here
@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_a_driver_that_was_killed(tmp_path: Path, number: int) -> None:
    before = spaces()
    driver = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with driver:
        assert driver.stdout is not None
        mark = driver.stdout.readline().strip()
        assert len(spaces() - before) == 2
        driver.send_signal(number)
    for _ in range(300):
        if not spaces() - before:
            break
        time.sleep(0.1)
    assert not spaces() - before
    found = []
    for process in psutil.process_iter():
        try:
            found += [process] if process.environ().get(MARK) == mark else []
        except psutil.Error:
            continue
    assert not found


def test_where_the_system_has_no_links_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hgobench.flower.links.shutil.which", lambda _: None)
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match=r"^links: needs (Linux|unshare, nsenter, ip, tc)"):
        Fleet(tmp_path / "a", [Link(9e3, 9e3)])
    if sys.platform != "linux":
        return
    monkeypatch.setattr("hgobench.flower.links.shutil.which", lambda name: name)
    (tmp_path / "unshare").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    (tmp_path / "b").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(InputError, match="lets us make no network namespace"):
        Fleet(tmp_path / "b", [Link(9e3, 9e3)])
