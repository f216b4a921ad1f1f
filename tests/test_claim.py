"""One run at a time computes for a store: with real processes, and ends of all kinds."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from hgobench import open_store
from hgobench.results.claim import claim
from hgobench.session import run_suite
from tests.conftest import ROOT
from tests.test_cli import TINY

HOLD = """
import sys, time
from pathlib import Path
from hgobench.results.claim import claim
with claim(Path(sys.argv[1]), lambda: True, lambda text: print(text, flush=True)):
    print("held", flush=True)
    time.sleep(60)
"""


def holding(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_claim_ends_with_its_process_however_that_ends(tmp_path: Path, how: int) -> None:
    path = tmp_path / "results.claim"
    first = holding(path)
    assert said(first) == "held"
    second = holding(path)
    try:
        told = said(second)
        assert re.fullmatch(
            rf"waiting for {re.escape(str(tmp_path))}: process {first.pid} on \S+, since "
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d, computes there, and what it has computed is not "
            r"computed again \(Ctrl-C ends waiting\)",
            told,
        ), told
        first.send_signal(how)
        assert said(second) == "held"
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    lines: list[str] = []
    with claim(path, lambda: True, lines.append):  # what was left behind claims nothing
        assert path.exists()
    assert (lines, path.exists()) == ([], False)


def test_only_one_of_many_holds_it(tmp_path: Path) -> None:
    """The file is removed and made again all the time; no two hold it at once."""
    path, inside, most = tmp_path / "results.claim", 0, 0

    def compete() -> None:
        nonlocal inside, most
        for _ in range(20):
            with claim(path, lambda: True, lambda text: None):
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("hgobench.results.claim.POLL", 0.0005)
        threads = [threading.Thread(target=compete) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (most, path.exists()) == (1, False)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"process": 1}', "[" * 900, '"\\ud800"'])
def test_whoever_wrote_a_claim(tmp_path: Path, text: str) -> None:
    path, lines = tmp_path / "results.claim", list[str]()
    released = threading.Event()

    def hold() -> None:
        with claim(path, lambda: False, lines.append):
            path.write_text(text)
            held.set()
            released.wait(20)

    held = threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)

    def say(line: str) -> None:
        lines.append(line)
        released.set()

    with claim(path, lambda: True, say):
        pass
    holder.join()
    assert len(lines) == 1
    assert "another process computes there" in lines[0]


def test_a_folder_without_locks_keeps_nobody_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr("hgobench.results.claim._lock", refuse)
    path, lines = tmp_path / "results.claim", list[str]()
    with claim(path, lambda: True, lines.append), claim(path, lambda: True, lines.append):
        pass
    assert lines == []


def test_two_runs_at_once_compute_each_cell_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second says that it waits; then it finds what the first has computed."""
    (suite := tmp_path / "tiny.toml").write_text(TINY)
    counts: list[tuple[int, int]] = []
    out = tmp_path / "out"
    lines: list[str] = []
    second = threading.Thread(target=lambda: counts.append(run()))

    def run() -> tuple[int, int]:
        outcome = run_suite(suite, out=out, jobs=1, on_progress=begin)
        return outcome.computed, outcome.reused

    def begin(progress: object) -> None:
        with suppress(RuntimeError):  # it has been started
            second.start()
            while "waiting for" not in "".join(lines):
                lines.append(capsys.readouterr().err)
                time.sleep(0.01)

    counts.append(run())
    second.join()
    assert sorted(counts) == [(0, 8), (8, 0)]
    with open_store(out) as store, store.claim(lambda: False):
        again = run_suite(suite, out=out, jobs=1)  # nothing is missing: it need not wait
    assert (again.computed, again.reused) == (0, 8)
    assert sorted(path.name for path in out.iterdir()) == ["results.sqlite"]
