"""Boards: columns of any field and on demand, several folders, hashes, and what journals take."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgobench import Scenario, merge, run
from hgobench.columns import COLUMNS, check, chosen, values
from hgobench.errors import InputError
from hgobench.folders import read
from hgobench.leaderboard import Score, boards
from hgobench.report.boards import render
from hgobench.results import Result, address, open_store
from hgobench.statistics import Outcomes, estimates
from tests.stores import stored
from tests.test_cli import hgobench

SEEDS = range(6)
BASE: dict[str, Any] = {"workers": 20, "byzantine": 4, "rounds": 4}


def accuracy(cell: Scenario) -> float:
    """An accuracy that differs between any two cells here."""
    drop = {"none": 0.0, "foe": 0.3, "alie": 0.2}[cell.attack]
    of_rule = {"krum": 0.1, "median": 0.05, "trimmed_mean": 0.0}[cell.rule]
    return 0.9 - drop - of_rule - cell.seed / 100 + cell.learning_rate / 50


def cells(**axes: Any) -> list[Scenario]:
    """The grid of some axes, each with two attacks and all seeds."""
    made: list[dict[str, Any]] = [
        {**BASE, "attack": attack, "seed": s} for attack in ("none", "foe", "alie") for s in SEEDS
    ]
    for name, several in axes.items():
        made = [{**fields, name: value} for fields in made for value in several]
    return [Scenario(**fields) for fields in made]


def scores(**axes: Any) -> list[Score]:
    return [Score(cell, "done", accuracy(cell)) for cell in cells(**axes)]


def low(some: list[Score]) -> float:
    """The lowest, over attacks, of the mean over seeds."""
    attacked = [score for score in some if score.attack != "none"]
    names = sorted({score.attack for score in attacked})
    table = [[s.accuracy for s in attacked if s.attack == name] for name in names]
    return estimates(Outcomes(np.array(table)))[1].mean


@pytest.mark.parametrize("by", ["rule", "learning_rate", "algorithm"])
def test_each_value_of_a_defence_is_a_column_with_its_worst_case(by: str) -> None:
    axes: dict[str, list[Any]] = {
        "rule": ["krum", "median"],
        "learning_rate": [0.1, 0.4],
        "algorithm": ["hgo", "sgd"],
    }
    every = scores(**axes)
    (board,) = boards(every, by=by)
    assert list(board.columns) == [str(value) for value in axes[by]]
    assert len(board.rows) == 4, "scope and quorum follow from rule and algorithm"
    for row in board.rows:
        for column, found in row.cells.items():
            mine = [s for s in row.scores if str(getattr(s.scenario, by)) == column]
            assert found.mean == pytest.approx(low(mine), abs=1e-12)
        assert row.worst.mean == min(found.mean for found in row.cells.values())
        assert not row.missing
        assert row.rank is not None
    note = f"Columns: values of {by}, which a defender chooses. Rows are ranked by the lowest over "
    assert note in render("r", [board])


def test_fields_that_follow_from_the_columns_field_do_not_tell_rows_apart() -> None:
    """f̂ and v follow from f; where one was given, it tells rows apart as ever."""
    (board,) = boards(scores(byzantine=[2, 4]), by="byzantine")
    (row,) = board.rows
    assert [*row.cells] == ["2", "4"]
    (given,) = boards(scores(byzantine=[2, 4], quorum=[9, 11]), by="byzantine")
    assert sorted(r.label for r in given.rows) == ["hgo trimmed_mean v=11", "hgo trimmed_mean v=9"]
    (sampled,) = boards(scores(workers=[20, 30]), by="workers")
    assert len(sampled.rows) == 1


def test_each_seed_is_a_column_and_ranks_stay_those_over_all_seeds() -> None:
    every = scores(rule=["krum", "median"])
    (board,), (usual,) = boards(every, by="seed"), boards(every)
    assert list(board.columns) == [str(seed) for seed in SEEDS]
    for row, same in zip(board.rows, usual.rows, strict=True):
        assert (row.rank, row.worst, row.label) == (same.rank, same.worst, same.label)
        for seed in SEEDS:
            mine = [s.accuracy for s in row.scores if s.scenario.seed == seed]
            assert row.cells[str(seed)].mean == pytest.approx(min(mine))
    text = render("r", [board])
    assert "Columns: values of seed, each by itself: the lowest over attacks." in text


def of(cell: Scenario, **more: Any) -> Result:
    return stored(cell, accuracy(cell), **more)


def kept(folder: Path, some: list[Scenario], ruleset: str = "mine-1", **more: Any) -> Path:
    with open_store(folder) as store:
        store.add_all((of(cell, **more), ruleset, None) for cell in some)
    return folder


def test_columns_are_means_over_seeds_under_the_worst_attack() -> None:
    """Runs under FOE, the worst, take twice the time of others and stall in half of the rounds."""

    def result(cell: Scenario) -> Result:
        foe = cell.attack == "foe"
        made = of(cell, time=7.0 * (1 + foe), bytes_up=cell.seed, bytes_down=3, coordinates=5)
        stalled = [foe and k % 2 for k in range(cell.rounds)]
        return replace(made, rounds={**made.rounds, "stalled": stalled}, seconds=2.0 + cell.seed)

    results = [result(cell) for cell in cells()]
    (board,) = boards(map(Score.of, results))
    (row,) = board.rows
    asked = chosen(["time", "bytes_up", "bytes_down", "coordinates", "stalled", "cpu_seconds"])
    assert values(row, asked) == {
        "time": 14.0, "bytes_up": 4 * 2.5, "bytes_down": 12.0, "coordinates": 20.0, "stalled": 0.5,
        "cpu_seconds": 4.5,
    }  # fmt: skip
    text = render("r", [board], columns=list(asked))
    header, line = (text.splitlines()[i].split() for i in (4, 6))
    assert " ".join(header).startswith(
        "# algorithm and rule worst 95 % by clean time bytes up bytes down coordinates stalled CPU s"
    )
    shown = ["14", "10", "12", "20", "0.50", "4.5"]
    assert line[line.index("14") :][:6] == shown
    note = (
        "time: how long a run took, in time units; bytes up: what workers sent in a run; bytes "
        "down: what the server sent in a run; coordinates: gradient coordinates that all workers "
        "computed in a run; stalled: the share of rounds in which too few answered to update the "
        "model; CPU s: CPU seconds that a cell took to compute, side by side with others, on what "
        "computed it. Numbers of a run are means over seeds under the attack that is worst."
    )
    assert note in text
    (data,) = json.loads(render("r", [board], "json", columns=["time"]))["boards"]
    assert data["rows"][0]["columns"] == {"time": 14.0}
    lines = list(csv.DictReader(io.StringIO(render("r", [board], "csv", columns=["time"]))))
    assert {line["time"] for line in lines} == {"14.0"}
    assert "time" not in render("r", [board], "csv").splitlines()[0].split(",")


def test_the_sampling_risk_is_that_of_the_scenario() -> None:
    every = [replace(s, scenario=s.scenario.replace(q=10)) for s in scores(rule=["median"])]
    (board,) = boards(every)
    cell = every[0].scenario
    asked = chosen(["sampling_risk", "run_risk"])
    assert values(board.rows[0], asked) == {
        "sampling_risk": cell.sampling_risk, "run_risk": cell.run_risk
    }  # fmt: skip


def test_columns_of_measures_are_means_over_seeds_by_group() -> None:
    """Two seeds; of one the fleet has no powerful device."""
    measures: list[dict[str, float]] = [
        {"class_accuracy/0": 0.5, "class_accuracy/1": 0.8, "device_accuracy/weak": 0.5,
         "device_accuracy/powerful": 0.9, "worst_worker": 0.25, "energy": 7.0, "energy/weak": 2000.0,
         "f1": 0.5, "f1/macro": 0.25},
        {"class_accuracy/0": 0.7, "class_accuracy/1": 0.4, "device_accuracy/weak": 0.6,
         "worst_worker": 0.75, "energy": 8.0, "energy/weak": 4000.0, "f1": 1.0, "f1/macro": 0.5},
    ]  # fmt: skip
    cells = [Scenario(workers=20, seed=seed) for seed in (0, 1)]
    each = [
        Score(cell, "done", 0.5, measures=told, server_ms=1.0 + cell.seed)
        for cell, told in zip(cells, measures, strict=True)
    ]
    ((row,),) = (board.rows for board in boards(each))
    names = ["worst_class", "slow_devices", "device_accuracy", "worst_worker", "energy",
             "device_energy", "server_ms", "caught", "measures.f1", "measures.f1/macro",
             "measures.class_accuracy"]  # fmt: skip
    assert values(row, chosen(names)) == {
        "worst_class": pytest.approx(0.6),
        "slow_devices": pytest.approx(0.55),
        "device_accuracy": "weak 0.55, powerful -",
        "worst_worker": 0.5,
        "energy": 7.5,
        "device_energy": "weak 3,000",
        "server_ms": 1.5,
        "caught": None,
        "measures.f1": 0.75,
        "measures.f1/macro": 0.375,
        "measures.class_accuracy": "0 0.6, 1 0.6",
    }
    failed = replace(each[1], status="failed", accuracy=0.0, measures={}, server_ms=None)
    ((row,),) = (board.rows for board in boards([each[0], failed]))
    assert values(row, chosen(["slow_devices", "worst_worker", "energy", "server_ms"])) == {
        "slow_devices": 0.25, "worst_worker": 0.125, "energy": None, "server_ms": None
    }  # fmt: skip
    every = [replace(one, status="failed", accuracy=0.0, measures={}) for one in each]
    ((row,),) = (board.rows for board in boards(every))
    assert values(row, chosen(["slow_devices", "worst_class", "worst_worker", "caught"])) == {
        "slow_devices": 0.0, "worst_class": 0.0, "worst_worker": 0.0, "caught": None
    }  # fmt: skip
    text = render("r", boards(each), columns=["device_accuracy", "server_ms"])
    assert "weak 0.55" in text
    assert "server ms: CPU milliseconds per round that the server took" in text


def test_a_seed_whose_slowest_honest_devices_are_others_hides_the_slowest() -> None:
    """In the first seed all slow devices are Byzantine: the next class does not take their place."""
    told: list[dict[str, float]] = [
        {"device_accuracy/fast": 0.9}, {"device_accuracy/slow": 0.2, "device_accuracy/fast": 0.7}
    ]  # fmt: skip
    each = [
        Score(Scenario(workers=20, seed=seed), "done", 0.5, measures=measures)
        for seed, measures in enumerate(told)
    ]
    asked = chosen(["slow_devices", "device_accuracy"])
    ((row,),) = (board.rows for board in boards(each))
    assert values(row, asked) == {"slow_devices": None, "device_accuracy": "fast 0.8, slow -"}
    with pytest.raises(InputError, match="it needs honest workers with a device of the slowest"):
        check(boards(each), chosen(["slow_devices"]))


def test_measures_of_a_real_run_are_columns() -> None:
    real = run(Scenario(workers=20, byzantine=2, attack="foe", rounds=2, rule="krum",
                        algorithm="sgd", deadline="inf"))  # fmt: skip
    ((row,),) = (board.rows for board in boards([Score.of(real)]))
    told = values(row, chosen(list(COLUMNS)))
    assert told["caught"] == 1.0
    assert told["dropped"] == pytest.approx(17 / 18)
    assert 0 < told["worst_worker"] <= told["slow_devices"] <= 1  # type: ignore[operator]
    assert str(told["used"]).startswith("weak ")
    assert 0 < told["server_ms"] < 1000 * real.seconds  # type: ignore[operator]


def test_columns_that_no_row_holds_are_refused_by_name(tmp_path: Path) -> None:
    folder = str(kept(tmp_path / "a", cells()[:2]))
    done = hgobench("leaderboard", folder, "--columns", "server_ms,slow_devices,tiem")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "hgobench: refused, nothing was computed:",
        "  --columns: unknown 'tiem'; did you mean 'time'? (or measures.NAME, of a metric of one's "
        "own)",
    ]
    for name, needed in {
        "hash": "results of a store",
        "time": "totals of a run",
        "folder": "results of several folders",
        "server_ms": "results with metrics=standard of this version; the command that computed",
        "worst_class": "results with metrics=standard of this version",
        "energy": "a fleet that says watts or joules_per_byte",
        "caught": "attackers that answered, and a rule that gives each worker one weight",
        "measures.f1": "results whose scenarios name a metric that measures it",
    }.items():
        said = re.escape(f"columns: {name}: no row holds it; it needs {needed}")
        with pytest.raises(InputError, match=said):
            render("r", boards(scores()), columns=[name])
    listed = hgobench("leaderboard", "--help").stdout
    assert all(name in listed for name in COLUMNS)


def test_rows_of_several_folders_are_joined_and_a_column_says_from_where(tmp_path: Path) -> None:
    """Seeds 0 to 3 here, 2 to 5 there: each cell counts once; krum is only there."""
    every = cells()
    a = kept(tmp_path / "a", [cell for cell in every if cell.seed < 4])
    b = kept(tmp_path / "b", [cell for cell in every if cell.seed >= 2])
    kept(b, cells(rule=["krum"]))
    (board,) = read([a, b]).boards()
    mean, krum = board.rows
    assert (mean.rule, mean.folders, mean.worst.seeds) == ("trimmed_mean", [str(a), str(b)], 6)
    assert (krum.rule, krum.folders) == ("krum", [str(b)])
    (alone,) = boards(map(Score.of, map(of, [*every, *cells(rule=["krum"])])))
    assert [replace(r, hash="", folders=[]) for r in board.rows] == list(alone.rows)
    done = hgobench("leaderboard", "a", "b", "--wide", cwd=tmp_path)
    assert done.returncode == 0
    header, _, first, second = done.stdout.splitlines()[4:8]
    assert "clean  folder  known seed" in header.replace("   ", "  ")
    assert " a, b " in first
    assert " b " in second
    (data,) = json.loads(
        hgobench("leaderboard", "a", "b", "--format", "json", cwd=tmp_path).stdout
    )["boards"]
    assert [row["folders"] for row in data["rows"]] == [["a", "b"], ["b"]]


def test_folders_that_contradict_each_other_are_named_and_not_joined(tmp_path: Path) -> None:
    every = [*cells(), *cells(rule=["krum"])]
    a, b = kept(tmp_path / "a", every), tmp_path / "b"
    with open_store(b) as store:
        for cell in every:
            off = 0.25 if (cell.rule, cell.attack, cell.seed) == ("krum", "foe", 1) else 0.0
            store.add(stored(cell, accuracy(cell) - off), "mine-1")
    (board,) = read([a, b]).boards()
    assert [(row.label, row.folders) for row in board.rows] == [
        ("hgo trimmed_mean v=9", [str(a), str(b)]),
        (f"hgo krum staircase v=11 in {a}", [str(a)]),
        (f"hgo krum staircase v=11 in {b}", [str(b)]),
    ]
    _, first, second = board.rows
    assert first.worst.mean - second.worst.mean == pytest.approx(0.25 / 6)
    assert first.rank is not None
    assert second.rank is not None
    odd = next(c for c in every if (c.rule, c.attack, c.seed) == ("krum", "foe", 1))
    assert board.notes[0] == (
        "1 cell has other numbers in one folder than in another, so that 1 row is shown as each "
        f"folder has it: {odd!r}: {accuracy(odd):.4f} in {str(a)!r}, {accuracy(odd) - 0.25:.4f} in "
        f"{str(b)!r}"
    )
    assert board.notes[0] in render("mine-1", [board])
    (reverse,) = read([b, a]).boards()
    assert {row.label for row in reverse.rows} == {row.label for row in board.rows}


def test_several_folders_must_hold_the_ruleset(tmp_path: Path) -> None:
    a = kept(tmp_path / "a", cells()[:1])
    b = kept(tmp_path / "b", cells()[:1], "mine-2")
    with pytest.raises(InputError) as refused:
        read([a, b])
    assert refused.value.problems == [
        f"store: {str(a)!r} and {str(b)!r}: hold several rulesets; use --ruleset 'mine-1', 'mine-2'"
    ]
    with pytest.raises(InputError) as refused:
        read([a, b], "mine-2")
    assert refused.value.problems == [
        f"--ruleset: 'mine-2' is not in {str(a)!r}, which holds 'mine-1'"
    ]
    with pytest.raises(InputError) as refused:
        read([a, tmp_path / "." / "a"])
    assert refused.value.problems == [f"leaderboard: {str(tmp_path / 'a')!r} is named twice"]


def hashes(folder: Path, by: str = "attack") -> list[str]:
    return sorted(row.hash for board in read([folder]).boards(by) for row in board.rows)


def test_a_hash_changes_with_what_numbers_depend_on_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = cells(rule=["krum", "median"])
    first = hashes(kept(tmp_path / "first", every))
    assert len(set(first)) == 2
    assert all(re.fullmatch("[0-9a-f]{12}", one) for one in first)
    facts = {"device": "cpu", "data": "of digits", "needs": [], "processor": "another"}
    again = kept(tmp_path / "again", every[::-1], provenance=facts)
    assert hashes(again) == first, "another processor, another order"
    split = [kept(tmp_path / name, every[i::2]) for i, name in enumerate(["one", "two"])]
    merge(*split, out=tmp_path / "merged")
    assert hashes(tmp_path / "merged") == first
    alone = hashes(kept(tmp_path / "alone", cells(rule=["krum"])))
    assert set(alone) < set(first), "other rows do not matter"

    seen = {*first}
    for name, some, ruleset in (
        ("ruleset", every, "mine-2"),
        ("field", cells(rule=["krum", "median"], learning_rate=[0.5]), "mine-1"),
        ("seeds", [cell for cell in every if cell.seed], "mine-1"),
        ("attacks", [cell for cell in every if cell.attack != "alie"], "mine-1"),
    ):
        now = hashes(kept(tmp_path / name, some, ruleset))
        assert seen.isdisjoint(now), name
        seen |= {*now}
    with monkeypatch.context() as patch:
        patch.setattr(address, "code_digest", lambda *extra: "other code")
        assert seen.isdisjoint(hashes(kept(tmp_path / "code", every)))
    facts = {**facts, "data": "other"}
    assert seen.isdisjoint(hashes(kept(tmp_path / "data", every, provenance=facts)))


def test_a_hash_is_in_every_file_and_a_column_on_demand(tmp_path: Path) -> None:
    folder = str(kept(tmp_path / "a", cells()))
    (expected,) = hashes(tmp_path / "a")
    assert expected not in hgobench("leaderboard", folder).stdout
    asked = hgobench("leaderboard", folder, "--columns", "hash").stdout
    assert expected in asked.splitlines()[6]
    assert "hash: of the row's cells, to cite it: hgobench cite HASH." in asked
    content = json.loads(hgobench("leaderboard", folder, "--format", "json").stdout)
    assert content["boards"][0]["rows"][0]["hash"] == expected
    lines = csv.DictReader(io.StringIO(hgobench("leaderboard", folder, "--format", "csv").stdout))
    assert {line["hash"] for line in lines} == {expected}


def compared() -> str:
    """A board in LaTeX: one row is the best, one ties with it, one is worse."""
    made = scores(rule=["krum", "median", "trimmed_mean"])
    near = [
        replace(s, accuracy=s.accuracy - 0.3 * (s.scenario.rule == "krum") * (s.attack != "none"))
        for s in made
    ]
    tie = [
        replace(s, accuracy=s.accuracy + 0.05 + (s.scenario.seed % 2 - 0.6) / 50)
        if s.scenario.rule == "median"
        else s
        for s in near
    ]
    return render("mine_1 & co", boards(tie), "latex")


def test_latex_is_a_float_with_caption_label_and_the_best_in_bold() -> None:
    text = compared()
    body = [line for line in text.splitlines() if line and not line.startswith("%")]
    assert body[:4] == [r"\begin{table*}", r"\centering", r"\small", body[3]]
    assert body[3] == (
        r"\caption{Test accuracy; ruleset mine\_1 \& co, partition iid, hardware standard. Bold: the "
        r"best worst case; $\dagger$: may have the first place too, by a test of all pairs of rows "
        r"with an error of 5 \%; 6 seeds. $\pm$: to the farther end of the 95 \% interval.}"
    )
    assert body[4] == r"\label{tab:mine-1-co-partition-iid-hardware-standard}"
    assert body[-2:] == [r"\end{tabular}", r"\end{table*}"]
    (columns,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)
    rules = [body.index(rf"\{name}rule") for name in ("top", "mid", "bottom")]
    lines = [line for line in body[rules[0] : rules[2]] if not line.endswith("rule")]
    assert {len(re.split(r"(?<!\\)&", line)) for line in lines} == {len(columns)}
    worst = [re.split(r"(?<!\\)&", line)[2].strip() for line in lines[1:]]
    assert re.fullmatch(r"\$\\mathbf\{0\.\d{3}\} \\pm 0\.\d{3}\$", worst[0]), worst
    assert re.fullmatch(r"\$0\.\d{3} \\pm 0\.\d{3}\^\{\\dagger\}\$", worst[1]), worst
    assert re.fullmatch(r"\$0\.\d{3} \\pm 0\.\d{3}\$", worst[2]), worst
    assert text.count(r"\mathbf") == 1
    for open_, close in ("{}", "[]"):
        unescaped = re.sub(r"\\[{}]", "", "\n".join(body))
        assert unescaped.count(open_) == unescaped.count(close)
    assert "\n".join(body).count("$") % 2 == 0


def test_markdown_has_the_best_in_bold_and_marks_ties() -> None:
    made = scores(rule=["krum", "median"])
    text = render("r", boards(made), "markdown")
    assert text.count("**") == 2
    assert "Bold: the best worst case; 6 seeds." in text
    few = [score for score in made if score.scenario.seed < 2]
    tied = render("r", boards(few), "markdown")
    assert " † " in tied
    assert "†: may have the first place too" in tied


@pytest.mark.long
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs")
def test_a_real_tex_takes_it(tmp_path: Path) -> None:
    text = compared()
    (tmp_path / "a.tex").write_text(
        "\\documentclass[twocolumn]{article}\\usepackage{booktabs}\\begin{document}\n"
        f"{text}\nSee \\ref{{tab:mine-1-co-partition-iid-hardware-standard}}.\n\\end{{document}}\n",
        encoding="utf-8",
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "a.pdf").stat().st_size > 5000
