"""A grid on a Dask cluster: a real scheduler and real workers, which come, go and die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hgobench.engines import open_engine
from hgobench.engines.cells import execute
from hgobench.engines.measured import Task, measure
from hgobench.errors import InputError
from hgobench.results import open_store
from hgobench.suite import Suite
from tests import calls
from tests.cluster import Cluster
from tests.conftest import ROOT
from tests.test_grid import ROUNDS, content, wait_for_rows

pytestmark = pytest.mark.long
ALL = 36  # cells of the suite smoke


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with Cluster(folder) as started:
        yield started


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[object, ...]]:
    """What one process of this machine leaves."""
    folder = tmp_path_factory.mktemp("whole")
    suite = Suite.load("smoke").changed([("rounds", [ROUNDS])])
    with open_store(folder) as store:
        execute(suite.expand()[0], store, suite.ruleset, width=suite.width)
    return content(folder)


def start(cluster: Cluster, out: Path, *more: str, folder: Path = ROOT) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "hgobench", "run", "smoke", "--set", f"rounds={ROUNDS}", "--out", str(out),
        "--engine", "dask", "--address", cluster.address, *more,
    ]  # fmt: skip
    return subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def test_a_grid_is_the_same_to_the_byte(
    cluster: Cluster, tmp_path: Path, whole: list[tuple[object, ...]]
) -> None:
    cluster.add_worker()
    cluster.add_worker()
    _, errors = (driver := start(cluster, tmp_path / "out")).communicate(timeout=120)
    assert driver.returncode == 0, errors
    assert f"{ALL} cells computed, 0 reused" in errors
    assert content(tmp_path / "out") == whole


def test_a_worker_that_is_killed_loses_nothing(
    cluster: Cluster, tmp_path: Path, whole: list[tuple[object, ...]]
) -> None:
    """Also when it was the last, and another joins late."""
    first = cluster.add_worker()
    driver = start(cluster, tmp_path / "out")
    wait_for_rows(tmp_path / "out", driver, 8)
    cluster.kill(first)
    kept = len(content(tmp_path / "out"))
    assert kept < ALL
    cluster.add_worker()
    _, errors = driver.communicate(timeout=120)
    assert driver.returncode == 0, errors
    assert content(tmp_path / "out") == whole


def test_a_scheduler_that_goes_away_ends_the_run_and_the_same_command_goes_on(
    cluster: Cluster, tmp_path: Path, whole: list[tuple[object, ...]]
) -> None:
    cluster.add_worker()
    driver = start(cluster, tmp_path / "out")
    wait_for_rows(tmp_path / "out", driver, 8)
    cluster.kill(cluster.scheduler)
    _, errors = driver.communicate(timeout=120)
    kept = len(content(tmp_path / "out"))
    assert driver.returncode == 1, errors
    assert "Traceback" not in errors
    assert f"the scheduler at {cluster.address}" in errors
    assert f"goes on with the {ALL - kept} missing cells" in errors
    local = [sys.executable, "-m", "hgobench", "run", "smoke", "--set", f"rounds={ROUNDS}"]
    again = subprocess.run([*local, "--out", str(tmp_path / "out")], cwd=ROOT, capture_output=True)
    assert again.returncode == 0
    assert content(tmp_path / "out") == whole


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_is_done_and_frees_the_cluster(
    cluster: Cluster, tmp_path: Path, how: signal.Signals, whole: list[tuple[object, ...]]
) -> None:
    cluster.add_worker()
    driver = start(cluster, tmp_path / "out")
    wait_for_rows(tmp_path / "out", driver, 8)
    os.kill(driver.pid, how)
    _, errors = driver.communicate(timeout=60)
    kept = len(content(tmp_path / "out"))
    assert driver.returncode == 128 + how, errors
    assert "Traceback" not in errors
    assert 8 <= kept < ALL
    _, errors = (again := start(cluster, tmp_path / "out")).communicate(timeout=120)
    assert again.returncode == 0, errors
    assert f"{ALL - kept} cells computed, {kept} reused" in errors
    assert content(tmp_path / "out") == whole


MINE = """from helper_of_mine import middle

class Rule:
    def __call__(self, values):
        return middle(values)
"""


def test_plug_ins_of_the_driver_s_folder_are_sent_along(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_worker(folder=tmp_path / "cluster", path=str(ROOT))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "rule_of_mine.py").write_text(MINE)
    (mine / "helper_of_mine.py").write_text("def middle(values):\n    return values.median(0)[0]\n")
    rule = ("--set", "rule=rule_of_mine:Rule,median", "--set", "seed=0")
    _, errors = (driver := start(cluster, tmp_path / "out", *rule, folder=mine)).communicate(
        timeout=120
    )
    assert driver.returncode == 0, errors
    local = [sys.executable, "-m", "hgobench", "run", "smoke", "--set", f"rounds={ROUNDS}", *rule]
    ended = subprocess.run(
        [*local, "--out", str(tmp_path / "local")], cwd=mine, capture_output=True
    )
    assert ended.returncode == 0, ended.stderr
    assert content(tmp_path / "out") == content(tmp_path / "local")


def other_sources(folder: Path) -> str:
    """Return an import path on which hgobench is another than here."""
    for name in ("hgobench", "aggregators", "attacks", "suites"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(folder)], check=True)
    with (folder / "hgobench" / "errors.py").open("a") as file:
        file.write("# changed\n")
    return str(folder)


def test_workers_with_other_sources_are_refused_by_name(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    cluster.add_worker(folder=tmp_path / "cluster", path=other_sources(tmp_path / "other"))
    engine = open_engine("dask", address=cluster.address)
    with pytest.raises(InputError, match=r"worker tcp://\S+ is refused: hgobench: 0.1.0, sources"):
        list(engine.map(abs, [1]))
    cluster.add_worker()
    for _ in range(600):
        try:
            assert list(engine.map(abs, [-1])) == [(-1, 1)]
            break
        except InputError:
            time.sleep(0.1)
    engine.close()


def test_an_address_where_nobody_is_and_one_that_is_not_wanted() -> None:
    with pytest.raises(InputError, match=r"engine: 'dask': no scheduler at 'tcp://127\.0\.0\.1:1'"):
        open_engine("dask", address="tcp://127.0.0.1:1")
    with pytest.raises(
        InputError, match=r"^address: ''; expected the scheduler's: tcp://host:port$"
    ):
        open_engine("dask")
    with pytest.raises(InputError, match="engine 'local' has none"):
        open_engine("local", address="tcp://127.0.0.1:1")
    with pytest.raises(InputError, match="engine: unknown 'dusk'; did you mean 'dask'"):
        open_engine("dusk")


def test_measurements_are_made_there_too(cluster: Cluster, tmp_path: Path) -> None:
    cluster.add_worker()
    tasks = [Task(calls.added, {"a": a, "b": 1}) for a in range(3)]
    with (
        closing(open_engine("dask", address=cluster.address)) as engine,
        open_store(tmp_path / "out") as store,
    ):
        assert measure(tasks, store, engine=engine) == [1, 2, 3]
        assert measure(tasks, store) == [1, 2, 3]
