"""Large data are held in memory once, whatever the number of processes."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hgobench.data import datasets, shared
from hgobench.data.base import Dataset, Split
from hgobench.data.datasets import load
from hgobench.engines import local

HERE = "tests.test_shared"
N = 400


def examples() -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, (N, 12)).astype(np.float32)
    y, who = np.arange(N) % 3, np.arange(N) % 7
    parts = [
        Split(x[s], y[s], who[s], (3, 2, 2)) for s in (slice(0, 300), slice(0, 0), slice(300, N))
    ]
    train, validation, test = parts
    return Dataset(train, validation, test, classes=3, vocabulary=9)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shared, "LEAST", 1)
    home = tmp_path / "shared"
    home.mkdir()
    monkeypatch.setenv(shared.FOLDER, str(home))
    datasets._load.cache_clear()
    return home


def same(a: Dataset, b: Dataset) -> None:
    assert (a.classes, a.digest, a.differs, a.vocabulary) == (
        b.classes,
        b.digest,
        b.differs,
        b.vocabulary,
    )
    for one, other in ((a.train, b.train), (a.validation, b.validation), (a.test, b.test)):
        assert one.image == other.image
        for kind in ("features", "labels", "groups"):
            mine, theirs = getattr(one, kind), getattr(other, kind)
            np.testing.assert_array_equal(mine, theirs)
            assert (mine is None) == (theirs is None)
            assert mine is None or (mine.dtype == theirs.dtype and mine.shape == theirs.shape)


@pytest.mark.parametrize("name", ["digits", "sentences[authors=2]", "breast_cancer[validation=0]", f"{HERE}:examples"])  # fmt: skip
def test_what_is_shared_is_what_was_read(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(name)
    assert shared.is_mapped(first.train.features)
    assert first.train.features.ctypes.data % 64 == 0
    datasets._load.cache_clear()
    again = load(name)
    same(first, again)
    assert len(list(folder.iterdir())) == 1
    monkeypatch.delenv(shared.FOLDER)
    datasets._load.cache_clear()
    alone = load(name)
    assert not shared.is_mapped(alone.train.features)
    same(first, alone)
    first.train.features[0, 0] += 1  # a mistake of somebody's stays in this process
    assert again.train.features[0, 0] == alone.train.features[0, 0]


def test_files_that_change_are_read_again(folder: Path, tmp_path: Path) -> None:
    digests = set()
    for scale in (1.0, 2.0):
        x = scale * np.random.default_rng(0).random((N, 2))
        np.savez(tmp_path / "a.npz", x=x, y=np.arange(N) % 2)
        digests.add(load(f"npz[path={tmp_path}/a.npz]").digest)
    assert len(digests) == len(list(folder.iterdir())) == 2


def test_a_folder_that_takes_nothing_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.rmdir()
    folder.write_text("no folder")
    assert not shared.is_mapped(load("digits").train.features)
    said = capsys.readouterr().err
    assert "data 'digits': each process holds a copy of its own: " in said
    assert "File exists" in said


def test_small_data_are_not_shared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "LEAST", 1 << 27)
    assert not shared.is_mapped(load("digits").train.features)
    assert not list(folder.iterdir())


def environment(number: int) -> str:
    return os.environ.get(shared.FOLDER, "")


@pytest.mark.long
@pytest.mark.parametrize("jobs", [1, 2])
def test_several_processes_are_told_a_folder_that_ends_with_this_one(jobs: int) -> None:
    engine = local.Local(jobs)
    told = {answer for _, answer in engine.map(environment, range(3))}
    engine.close()
    if jobs == 1:
        assert told == {""}
        return
    (name,) = told
    assert isinstance(name, str)
    assert f"hgobench-data-{os.getpid()}-" in name
    assert not Path(name).exists()  # the first that keeps something there creates it
    code = (
        "from hgobench.engines.local import Local; from tests.test_shared import kept\n"
        "print([answer for _, answer in Local(2).map(kept, ['digits', 'digits'])])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ((folder, first), (other, second)) = ast.literal_eval(done.stdout)
    assert folder == other
    assert first
    assert second
    assert not Path(folder).exists()


def kept(name: str) -> tuple[str, bool]:
    """Load data as if they were large; return the folder, and whether they are mapped."""
    shared.LEAST = 1
    data = load(name)
    return os.environ[shared.FOLDER], shared.is_mapped(data.train.features)


ROWS, COLUMNS = 500_000, 784  # 1.5 GB


def hold(case: tuple[str, str, int]) -> dict[str, int]:
    """Load data, wait until all others have, and say what this process holds, in MB."""
    name, meeting, others = case
    data = load(name)
    total = float(data.train.features.sum())  # every page is touched
    (Path(meeting) / str(os.getpid())).touch()
    until = time.monotonic() + 300
    while len(list(Path(meeting).iterdir())) < others:
        assert time.monotonic() < until
        time.sleep(0.05)
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    found = {line.split(":")[0]: int(line.split()[1]) >> 10 for line in lines}
    time.sleep(1.0)  # the others look, too
    return {"pss": found["Pss"], "own": found["Anonymous"], "sum": int(total)}


def measure(specification: str, meeting: str) -> None:
    """Print what each of two processes holds."""
    engine = local.Local(2)
    # One of them alone first, as a run asks for digests before it computes.
    list(engine.map(datasets.describe, [specification]))
    cases = [(specification, meeting, 2)] * 2
    print(json.dumps([answer for _, answer in engine.map(hold, cases)]))


@pytest.mark.deep
@pytest.mark.skipif(sys.platform != "linux", reason="the system's account of shared pages")
@pytest.mark.parametrize("kind", ["divided", "whole", "packed"])
def test_two_processes_hold_large_data_once(kind: str, tmp_path: Path) -> None:
    """1.5 GB of features; the rest of a process that computes is some 300 MB."""
    root = tmp_path / kind
    root.mkdir()
    name = "x_train" if kind == "divided" else "x"
    x = np.lib.format.open_memmap(root / f"{name}.npy", "w+", np.float32, (ROWS, COLUMNS))
    x[:: ROWS // 100] = 1.0
    y = np.arange(ROWS) % 2
    np.save(root / f"{name.replace('x', 'y')}.npy", y)
    options = ""
    if kind == "divided":
        np.save(root / "x_test.npy", x[:10])
        np.save(root / "y_test.npy", y[:10])
        options = ",validation=0"
    if kind == "packed":
        np.savez(root / "a.npz", x=x, y=y)
        root /= "a.npz"
    (tmp_path / "meeting").mkdir()
    specification = f"npz[path={root}{options}]"
    code = "import sys; from tests.test_shared import measure; measure(*sys.argv[1:])"
    command = [sys.executable, "-c", code, specification, str(tmp_path / "meeting")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout)
    size = x.nbytes >> 20
    assert len(answers) == 2
    total, most = sum(a["pss"] for a in answers), max(a["own"] for a in answers)
    print(f"{kind}: {size} MB of features; {answers}")
    assert total < 1.6 * size
    assert most < 0.4 * size
