from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hgobench import Scenario, Store, run
from hgobench.errors import InputError
from hgobench.leaderboard import Score, boards
from hgobench.report.tables import render
from hgobench.results import Result, store
from hgobench.results.store import result_key

SMALL = Scenario(workers=8, rounds=3, evaluation_interval=2, sampled=5)


@pytest.fixture(scope="module")
def result() -> Result:
    return run(SMALL)


def test_what_is_kept_comes_back(tmp_path: Path, result: Result) -> None:
    with Store(tmp_path) as kept:
        kept.add(result, "r-1")
        assert len(kept) == 1
    with Store(tmp_path, create=False) as kept:
        ((ruleset, again),) = kept.results()
    assert ruleset == "r-1"
    assert again.scenario == result.scenario
    assert again.summary == result.summary
    assert again.provenance["code"] == store.code_digest()[:12]
    for name, column in result.rounds.items():
        for a, b in zip(column, again.rounds[name], strict=True):
            assert a == b or (math.isnan(a) and math.isnan(b))


def test_export_is_plain_json(tmp_path: Path, result: Result) -> None:
    with Store(tmp_path) as kept:
        kept.add(result, "r-1")
        (cell,) = json.loads(json.dumps(kept.export(), allow_nan=False))
    assert cell["rounds"]["test_accuracy"][0] is None
    assert cell["summary"]["rounds"] == 3
    assert Scenario.restore(cell["scenario"]) == SMALL


def test_the_address_depends_on_scenario_ruleset_and_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = result_key(SMALL, "r-1", 8)
    assert result_key(SMALL, "r-1", 8) == first
    assert result_key(SMALL.replace(seed=1), "r-1", 8) != first
    assert result_key(SMALL, "r-2", 8) != first
    assert result_key(SMALL, "r-1", 4) != first
    monkeypatch.setattr(store, "code_digest", lambda: "other code")
    assert result_key(SMALL, "r-1", 8) != first


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("class R:\n    def __call__(self, values):\n        return values[0]\n", "{}:R"),
        (
            "from hgobench.aggregators import PreRule\n"
            "class P(PreRule):\n    def of_vectors(self, vectors):\n        return vectors\n",
            "nnm+{}:P+median",
        ),
    ],
    ids=["edited_rule", "edited_pre_rule"],
)
def test_the_address_depends_on_a_plugin_s_source(
    source: str,
    rule: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = request.node.callspec.id
    (tmp_path / f"{module}.py").write_text(source)
    scenario = SMALL.replace(rule=rule.format(module))
    first = result_key(scenario, "r-1", 8)
    (tmp_path / f"{module}.py").write_text(source + "# edited\n")
    assert result_key(scenario, "r-1", 8) != first


def test_a_plugin_s_source_is_found_where_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`package:R` may be imported there from elsewhere."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "front.py").write_text("from back import R\n")
    source = tmp_path / "back.py"
    source.write_text("class R:\n    def __call__(self, values):\n        return values[0]\n")
    scenario = SMALL.replace(rule="front:R")
    first = result_key(scenario, "r-1", 8)
    source.write_text(source.read_text().replace("[0]", "[1]"))
    assert result_key(scenario, "r-1", 8) != first


def test_opening_somebody_s_results_runs_nothing_that_they_name(
    tmp_path: Path, result: Result
) -> None:
    with Store(tmp_path) as kept:
        kept.add(result, "r-1")
        stated = {**result.scenario.to_dict(), "attack": f"os:system[command=touch {tmp_path}/ran]"}
        kept._connection.execute("UPDATE results SET scenario = ?", (json.dumps(stated),))
        ((_, read),) = kept.results()
    render("r-1", boards([Score.of(read)]))
    assert not (tmp_path / "ran").exists()


def test_newer_code_replaces_an_older_result(
    tmp_path: Path, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(tmp_path) as kept:
        kept.add(result, "r-1")
        monkeypatch.setattr(store, "code_digest", lambda: "newer code")
        kept.add(result, "r-1")
        kept.add(result, "r-2")
        assert [ruleset for ruleset, _ in kept.results()].count("r-1") == 1
        assert len(kept) == 2


def test_every_source_that_numbers_depend_on_counts() -> None:
    package = Path(store.__file__).parent.parent
    indifferent = {"cli.py", "plugin.py", "leaderboard.py", "suite.py", "testing.py", "errors.py",
                   "registry.py", "scenario.py", "__init__.py", "__main__.py", "report",
                   "results", "execution", "paper", "theory", "audits", "statistics.py",
                   "py.typed", "catalogue.py", "__pycache__"}  # fmt: skip
    assert {path.name for path in package.iterdir()} - indifferent == set(store._SOURCES)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE results (a int)")


def test_a_store_that_can_t_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"store: '.*file.*': (File exists|Not a directory)"):
            Store(folder)


def test_reading_changes_nothing(tmp_path: Path, result: Result) -> None:
    with Store(tmp_path) as kept:
        kept.add(result, "r-1")
    before = (tmp_path / "results.sqlite").read_bytes()
    with Store(tmp_path, create=False) as kept:
        assert len(list(kept.results())) == 1
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            kept.add(result, "r-1")
    assert (tmp_path / "results.sqlite").read_bytes() == before


def test_a_plugin_s_helpers_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    helper = tmp_path / "a_helper.py"
    helper.write_text("def agg(values):\n    return values[0]\n")
    (tmp_path / "with_helper.py").write_text(
        "from a_helper import agg\nclass R:\n    def __call__(self, values):\n        return agg(values)\n"
    )
    scenario = SMALL.replace(rule="with_helper:R")
    first = result_key(scenario, "r-1", 8)
    assert result_key(scenario, "r-1", 8) == first
    helper.write_text(helper.read_text().replace("[0]", "[1]"))
    assert result_key(scenario, "r-1", 8) != first


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: None, "no results.sqlite there"),
        (lambda path: path.mkdir(), "unable to open database file|disk I/O error"),
        (lambda path: foreign(path), "another program's database"),
        (lambda path: path.write_text("nonsense" * 200), "no store of hgobench: file is not a"),
        (
            lambda path: (
                sqlite3.connect(path).execute("PRAGMA user_version = 99").connection.close()
            ),
            "schema 99; expected 1",
        ),
    ],
)
def test_unreadable_stores_are_refused(tmp_path: Path, prepare: object, message: str) -> None:
    prepare(tmp_path / "results.sqlite")  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        Store(tmp_path, create=False)


def test_a_store_that_is_refused_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def remembered(*arguments: Any, **keywords: Any) -> sqlite3.Connection:
        opened.append(connect(*arguments, **keywords))
        return opened[-1]

    foreign(tmp_path / "results.sqlite")
    monkeypatch.setattr(sqlite3, "connect", remembered)
    with pytest.raises(InputError, match="another program's database"):
        Store(tmp_path)
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        opened[0].execute("SELECT 1")


def test_a_changed_file_makes_another_result(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("worker,round,state\n0,1,off\n")
    scenario = Scenario(hardware=f"bernoulli+trace[path={path}]+c1")
    before = result_key(scenario, "mine-1", 1)
    assert before == result_key(scenario, "mine-1", 1)
    path.write_text("worker,round,state\n1,1,off\n")
    assert before != result_key(scenario, "mine-1", 1)
