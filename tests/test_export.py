"""Results as tables for other programs: files and data frames that say the same."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pandas
import pytest
from packaging.version import Version

import hgobench
from hgobench import Scenario, export_tables, open_store, run_suite
from hgobench.errors import InputError
from hgobench.leaderboard import Score, boards
from hgobench.report import export
from hgobench.results import COLUMNS, Result
from hgobench.results.result import TARGETED
from hgobench.results.tables import cell_kinds
from hgobench.session import SuiteOutcome
from tests.stores import stored
from tests.test_cli import TINY
from tests.test_cli import hgobench as command

FORMATS = get_args(export.Format)
# By itself, pandas before 3 reads a decimal as a number next to it, at times.
EXACT: dict[str, Any] = (
    {"float_precision": "round_trip"} if Version(pandas.__version__) < Version("3") else {}
)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> SuiteOutcome:
    folder = tmp_path_factory.mktemp("export")
    (folder / "tiny.toml").write_text(TINY)
    return run_suite(folder / "tiny.toml", out=folder / "out", jobs=1)


def read(path: Path) -> pandas.DataFrame:
    """Read a file as its users would."""
    if path.suffix == ".csv":
        return pandas.read_csv(path, keep_default_na=False, na_values=[""], **EXACT)
    precise = {"precise_float": True, "dtype": False}
    return (
        pandas.read_json(path, **precise) if path.suffix == ".json" else pandas.read_parquet(path)
    )


def same(one: pandas.DataFrame, other: pandas.DataFrame) -> None:
    """Hold two tables to be the same; a file of text does not say of which type a column is."""

    def plain(table: pandas.DataFrame) -> list[list[Any]]:
        rows = table.astype(object).to_numpy().tolist()
        empty = [
            [None if v is None or v is pandas.NA or v == "" or v != v else v for v in row]
            for row in rows
        ]
        return [[math.inf if v == "inf" else v for v in row] for row in empty]

    assert list(one.columns) == list(other.columns)
    assert plain(one) == plain(other)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_holds_what_the_store_holds(
    outcome: SuiteOutcome, tmp_path: Path, form: export.Format
) -> None:
    done = command("export", str(outcome.folder), "--format", form, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{tmp_path}/cells.{form}: 8 lines",
        f"{tmp_path}/rounds.{form}: 24 lines",
        f"{tmp_path}/measures.{form}: 184 lines",
        f"{tmp_path}/provenance.{form}: 8 lines",
    ]
    cells, rounds, measures, provenance = (
        read(tmp_path / f"{name}.{form}") for name in ("cells", "rounds", "measures", "provenance")
    )
    same(cells.drop(columns="right"), outcome.to_frame().drop(columns="right"))
    assert list(cells.columns) == list(cell_kinds())
    with open_store(outcome.folder, create=False) as store:
        entries = list(store.entries())
    assert list(cells["cell"]) == [key for key, *_ in entries]
    for key, _, result in entries:
        of_cell = rounds[rounds["cell"] == key].drop(columns="cell").reset_index(drop=True)
        same(of_cell, result.to_frame())
        told = measures[measures["cell"] == key].fillna({"group": ""}).to_dict("records")
        named = {f"{one['measure']}/{one['group']}".removesuffix("/"): one["value"] for one in told}
        assert named == pytest.approx(result.measures, abs=0)
        facts = provenance[provenance["cell"] == key].iloc[0]
        assert facts["data"] == result.provenance["data"]
        assert facts["code"] == result.provenance["code"]
        assert facts["threads"] == 1
        (stated,) = cells[cells["cell"] == key].to_dict("records")
        assert stated["right"] == (result.right or b"").hex()
        assert stated["test_accuracy"] == result.summary["test_accuracy"]
        for name, value in result.scenario.to_dict().items():
            assert stated[name] in (value, math.inf), name


def test_a_frame_has_a_type_per_column(outcome: SuiteOutcome) -> None:
    frame = outcome.to_frame()
    assert frame["workers"].dtype == frame["stalled"].dtype == "int64"
    assert frame["attack_stop"].dtype == frame["seconds"].dtype == "float64"
    rounds = next(outcome.results()).to_frame()
    assert list(rounds.columns) == [*COLUMNS, TARGETED]
    assert rounds[TARGETED].isna().all()
    assert rounds["stalled"].dtype == "int64"
    assert rounds["test_accuracy"].isna().tolist() == [True, True, False]


def test_boards_as_a_frame_are_what_their_csv_says(outcome: SuiteOutcome) -> None:
    done = command("leaderboard", str(outcome.folder), "--format", "csv")
    read = pandas.read_csv(io.StringIO(done.stdout), keep_default_na=False, na_values=[""], **EXACT)
    same(read.drop(columns=["ruleset", "split"]), outcome.boards().to_frame())
    assert list(boards([]).to_frame().columns[:2]) == ["rank_first", "rank_last"]
    rows = outcome.boards().to_frame().query("column == 'worst'")
    assert dict(zip(rows["rule"], rows["mean"], strict=True)) == {
        row.rule: row.worst.mean for row in outcome.boards()[0].rows
    }


def test_only_the_cells_that_are_meant(outcome: SuiteOutcome, tmp_path: Path) -> None:
    folder, out = str(outcome.folder), str(tmp_path)
    done = command("export", folder, "rule=median", "seed=1", "--format", "csv", "--out", out)
    assert f"{tmp_path}/cells.csv: 2 lines" in done.stdout
    assert set(read(tmp_path / "rounds.csv")["cell"]) == set(read(tmp_path / "cells.csv")["cell"])
    for text, message in (
        ("rule=krum", f"export: no cell of '{folder}' is rule=krum; its rule is 'average' or"),
        ("rule=medain", "did you mean 'median'?"),
        ("ruleset=tiny-2", "export: ruleset: unknown 'tiny-2'; did you mean 'tiny-1'?"),
        ("rule", "export: 'rule'; expected field=value or field=value,value"),
    ):
        refused = command("export", folder, text, "--out", str(tmp_path / "other"))
        assert refused.returncode == 2
        assert message in refused.stderr
        assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_names_and_numbers_of_any_kind_come_back(tmp_path: Path, form: export.Format) -> None:
    odd = 'data: "ü", a\nline, and \x1b'
    cell = Scenario(workers=8, rounds=3, deadline=math.inf)
    with open_store(tmp_path / "in") as store:
        store.add(stored(cell, status="failed", reason=odd), "a, 'b' \"c\"", "k")
        assert export_tables(store, tmp_path / "out", form) == {
            tmp_path / "out" / f"{name}.{form}": lines
            for name, lines in (("cells", 1), ("rounds", 3), ("measures", 0), ("provenance", 1))
        }
    (line,) = read(tmp_path / "out" / f"cells.{form}").to_dict("records")
    assert line["ruleset"] == "a, 'b' \"c\""
    assert line["deadline"] in (math.inf, "inf")
    assert line["test_loss"] is None or math.isnan(line["test_loss"])
    shown = odd.replace("\n", "\\n").replace("\x1b", "\\x1b") if form == "csv" else odd
    assert line["reason"] == shown
    assert line["right"] is None or math.isnan(line["right"])


def test_provenance_has_a_column_for_every_fact(tmp_path: Path) -> None:
    cells = [Scenario(workers=8, rounds=3, seed=seed) for seed in (0, 1)]
    with open_store(tmp_path) as store:
        store.add(stored(cells[0], provenance={"device": "cpu", "threads": 1}), "r-1", "0")
        store.add(
            stored(cells[1], provenance={"device": "cpu", "needs": ["root", "b"]}), "r-1", "1"
        )
        export_tables(store, tmp_path, "json")
    lines = json.loads((tmp_path / "provenance.json").read_text())
    assert [(one["cell"], one["threads"], one["needs"]) for one in lines] == [
        ("0", 1, None), ("1", None, "root b"),
    ]  # fmt: skip


def test_a_count_that_is_none_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    cell = Scenario(workers=8, rounds=3)
    with open_store(tmp_path / "in") as store:
        store.add(stored(cell, heard=2.5), "r-1", "k")
        with pytest.raises(InputError, match=r"^cell k: heard: 2\.5; expected a whole number$"):
            export_tables(store, tmp_path / "out", "csv")
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_half_an_export_does_not_look_like_one(
    outcome: SuiteOutcome, tmp_path: Path, form: export.Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_tables(outcome.folder, tmp_path, form)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def interrupted(result: Result) -> Iterator[Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr("hgobench.results.tables.round_lines", interrupted)
    done = command("export", str(outcome.folder), "--format", form, "--out", str(tmp_path))
    assert (done.returncode, done.stdout) == (130, "")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_is_not_installed_is_said_with_the_command(
    outcome: SuiteOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    refused = command("export", str(outcome.folder), "--out", str(tmp_path / "out"))
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        "  --format: parquet: pyarrow is not installed: pip install 'hgobench[parquet]'; or use "
        "csv or json"
    )
    assert not (tmp_path / "out").exists()
    message = r"^to_frame: pandas is not installed: pip install 'hgobench\[pandas\]'$"
    for made in (outcome, next(outcome.results()), outcome.boards()):
        with pytest.raises(InputError, match=message):
            made.to_frame()
    done = command("export", str(outcome.folder), "--format", "csv", "--out", str(tmp_path / "out"))
    assert done.returncode == 0


def test_a_store_of_an_older_schema_and_an_empty_one(tmp_path: Path) -> None:
    older = Path(__file__).parent / "schema_1"
    files = export_tables(older, tmp_path, "parquet")
    assert next(iter(files.values())) == 4
    cells = pandas.read_parquet(tmp_path / "cells.parquet")
    assert cells["right"].isna().all()
    with open_store(tmp_path / "empty"):
        pass
    refused = command("export", str(tmp_path / "empty"))
    assert refused.returncode == 2
    assert f"store: '{tmp_path / 'empty'}': holds no results" in refused.stderr


def test_python_checks_what_it_is_given(outcome: SuiteOutcome, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        export_tables(3, "", "xls", where=1)  # type: ignore[arg-type]
    assert caught.value.problems == [
        "results: 3; expected a folder, or an open store",
        "out: ''; expected a folder",
        "form: unknown 'xls'; expected one of csv, json, parquet",
        "where: 1; expected a function",
    ]
    with pytest.raises(InputError, match="holds no such cells"):
        export_tables(outcome.folder, tmp_path / "o", "csv", where=lambda ruleset, cell: False)
    assert hgobench.export_tables is export_tables


def test_a_score_that_is_of_no_result_has_a_frame_too() -> None:
    made = boards([Score(Scenario(deadline=math.inf), "done", 0.5)])
    assert made.to_frame()["deadline"].tolist() == [math.inf] * 4  # worst, known seed, clean, none
