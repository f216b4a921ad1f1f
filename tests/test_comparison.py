"""Two sets of results compared: what changed, by how much, and whether a row differs."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hgobench
from hgobench import Scenario, compare, merge, open_store, run_suite
from hgobench.comparison import Comparison, Line
from hgobench.errors import InputError
from hgobench.evaluation import members
from hgobench.evaluation.evaluate import reported
from hgobench.results import Result, address
from hgobench.statistics import FEWEST, Outcomes, holm
from hgobench.statistics import compare as compare_rows
from tests.conftest import ROOT
from tests.memory_store import MemoryStore
from tests.stores import stored
from tests.test_cli import hgobench as command
from tests.test_merging import EVALUATED, SMALL

ATTACKS = ("none", "foe", "alie")
MANY = 8  # seeds
BITS = 80  # test examples


def cell(rule: str = "krum", attack: str = "foe", seed: int = 0, **more: Any) -> Scenario:
    fields = {"workers": 12, "f": 2, "rounds": 2, "quorum": 7, **more}
    return Scenario(rule=rule, attack=attack, seed=seed, **fields)


def store(*results: Result, ruleset: str = "r-1") -> MemoryStore:
    """A store in memory of some results."""
    made = MemoryStore()
    for result in results:
        made.add(result, ruleset, f"{ruleset} {result.scenario.digest}")
    return made


def grid(
    accuracy: Callable[[str, str, int], float] = lambda rule, attack, seed: 0.5,
    rules: Sequence[str] = ("krum", "median"),
    seeds: Iterable[int] = range(MANY),
    **more: Any,
) -> list[Result]:
    """A result per rule, attack and seed."""
    return [
        stored(cell(rule, attack, seed, **more), accuracy(rule, attack, seed))
        for rule in rules
        for attack in ATTACKS
        for seed in seeds
    ]


def refusal(*results: Any, **more: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        compare(*results, **more)
    return caught.value.problems


def test_the_same_numbers_are_identical_whatever_else_differs() -> None:
    """Seconds and provenance are no numbers of a cell."""
    told = {"device": "cpu", "data": "of digits", "processor": "other"}
    again = [replace(one, seconds=9.0, provenance=told) for one in grid()]
    made = compare(store(*grid()), store(*again))
    assert (len(made.pairs), made.identical, made.changed) == (48, 48, [])
    assert made.above(0.0) == []
    assert made.largest == 0.0
    assert {line.verdict for line in (*made.rows, *made.attacks, made.overall)} == {"identical"}
    assert [(fact.name, fact.pairs) for fact in made.provenance] == [
        ("needs", 48),
        ("processor", 48),
    ]
    assert made.provenance[1].a == {"not stated": 48}
    assert made.provenance[1].b == {"other": 48}


@pytest.mark.parametrize("column", ["test_loss", "bytes_up", "heard"])
def test_a_last_bit_is_a_change_and_no_difference(column: str) -> None:
    moved = grid()
    moved[5].rounds[column][-1] = np.nextafter(moved[5].rounds[column][-1], 2)  # type: ignore[index]
    made = compare(store(*grid()), store(*moved))
    (pair,) = made.changed
    assert pair.a.score.scenario == moved[5].scenario
    assert (pair.changed, pair.difference) == ((column,), 0.0)
    assert made.above(0.0) == []
    (line,) = [line for line in made.attacks if not line.same]
    assert (line.changed, line.cells, line.verdict) == (1, MANY, "not told apart")


def test_measures_are_numbers_of_a_cell_where_both_sides_have_them() -> None:
    one, other = ({"used/weak": 0.5, "worst_worker": worst} for worst in (0.25, 0.75))
    sides = [[replace(cell, measures=told) for cell in grid()] for told in (one, other, {})]
    made = compare(store(*sides[0]), store(*sides[1]))
    assert made.identical == 0
    assert {pair.changed for pair in made.changed} == {("measures",)}
    assert made.largest == 0.0
    assert compare(store(*sides[0]), store(*sides[2])).changed == []


def test_what_changed_is_named_and_the_largest_is_first() -> None:
    a, b = grid(), grid()
    b[0] = replace(b[0], status="diverged", reason="round 2: inf")
    b[20] = stored(b[20].scenario, 0.52)
    right = [np.packbits(np.arange(BITS) % 2 == i).tobytes() for i in (0, 1)]
    a[30], b[30] = (replace(a[30], right=one) for one in right)
    a[31], b[31] = replace(a[31], right=right[0]), b[31]  # not known of one: no change
    made = compare(store(*a), store(*b))
    assert [(pair.b.score.scenario, pair.changed) for pair in made.changed] == [
        (b[0].scenario, ("ending",)),
        (b[20].scenario, ("test_accuracy", "test_loss", "validation_accuracy")),
        (b[30].scenario, ("right",)),
    ]
    assert [round(pair.difference, 12) for pair in made.changed] == [-0.5, 0.02, 0.0]
    assert made.identical == 45


ACCURACIES = st.floats(0, 1, width=16)


@settings(max_examples=12, deadline=None)
@given(st.data(), st.sampled_from([3, FEWEST, MANY]), st.booleans())
def test_it_is_what_the_definitions_say(data: st.DataObject, seeds: int, known: bool) -> None:
    """Worst cases, means and tests from arrays; B against A is A against B with other signs."""
    draw = st.lists(ACCURACIES, min_size=seeds, max_size=seeds)
    tables = [
        {(r, a): data.draw(draw) for r in ("krum", "median") for a in ATTACKS} for _ in range(2)
    ]
    if data.draw(st.booleans()):
        tables[1]["krum", "foe"] = tables[0]["krum", "foe"]
    sides, bits = [], []
    for table in tables:
        if known:  # accuracies are shares of the examples that are right
            table.update(
                {k: [round(v * BITS) / BITS for v in values] for k, values in table.items()}
            )
        marks = {
            (*place, seed): np.arange(BITS) < round(value * BITS)
            for place, values in table.items()
            for seed, value in enumerate(values)
        }
        bits.append(marks)
        sides.append(
            store(*(
                stored(cell(rule, attack, seed), table[rule, attack][seed],
                       np.packbits(marks[rule, attack, seed]).tobytes() if known else None)
                for rule, attack, seed in marks
            ))
        )  # fmt: skip
    made, back = compare(*sides), compare(*sides[::-1])

    def outcomes(side: int, rule: str, attacks: Sequence[str]) -> Outcomes:
        accuracy = np.array([tables[side][rule, attack] for attack in attacks])
        if not known or not accuracy.any():
            return Outcomes(accuracy)
        right = [[np.packbits(bits[side][rule, a, s]) for s in range(seeds)] for a in attacks]
        return Outcomes(accuracy, np.array(right), BITS)

    def check(lines: Sequence[Line], attacks_of: Callable[[Line], Sequence[str]]) -> None:
        p = []
        for line in lines:
            one, other = (outcomes(i, line.row.rule, attacks_of(line)) for i in (0, 1))
            assert (line.a, line.b) == pytest.approx((one.value, other.value))
            assert line.difference == pytest.approx(other.value - one.value)
            if line.same or one.examples != other.examples:
                continue
            expected = compare_rows(other, one)
            assert (line.estimate.low, line.estimate.high) == pytest.approx(
                (expected.low, expected.high)
            )
            p += [(line, expected.p)] if seeds >= FEWEST else []
        if len(p) == sum(not line.same for line in lines):
            assert [line.p for line, _ in p] == holm([value for _, value in p])
        sizes = [round(abs(line.difference), 12) for line in lines]
        assert sizes == sorted(sizes, reverse=True)

    check(made.rows, lambda line: ["alie", "foe"])
    check(made.attacks, lambda line: [line.attack])
    assert len(made.rows) == 2
    assert len(made.attacks) == 6
    assert made.overall.difference == pytest.approx(
        np.mean(list(tables[1].values())) - np.mean(list(tables[0].values()))
    )
    swap = {"A": "B", "B": "A"}
    for forth, other in ((made.rows, back.rows), (made.attacks, back.attacks)):
        by = {(line.row, line.attack): line for line in other}
        for line in forth:
            mirrored = by[line.row, line.attack]
            assert mirrored.difference == pytest.approx(-line.difference)
            assert mirrored.p == pytest.approx(line.p)
            assert mirrored.verdict == swap.get(line.verdict, line.verdict)
    assert back.identical == made.identical
    assert back.largest == pytest.approx(made.largest)
    limit = data.draw(ACCURACIES)
    assert {(line.row, line.attack) for line in made.above(limit)} == {
        (line.row, line.attack)
        for line in (*made.rows, *made.attacks)
        if abs(line.b - line.a) > limit + 1e-9
    }


def test_a_row_that_is_worse_on_every_seed_is_told_apart() -> None:
    def worse(rule: str, attack: str, seed: int) -> float:
        return 0.8 + seed / 100 - 0.1 * (rule == "krum" and attack == "foe")

    a = store(*grid(lambda rule, attack, seed: 0.8 + seed / 100))
    made = compare(a, store(*grid(worse)))
    line = made.rows[0]
    assert (line.row.rule, line.verdict, line.by[1]) == ("krum", "A", "foe")
    assert line.difference == pytest.approx(-0.1)
    assert line.estimate.low <= line.difference <= line.estimate.high < 0
    assert [(x.row.rule, x.attack) for x in made.attacks if not x.same] == [("krum", "foe")]
    few = compare(a, store(*grid(worse)), where={"seed": list(range(FEWEST - 1))})
    assert few.rows[0].verdict == "too few seeds"
    assert few.a.asked == ("seed=0,1,2,3,4",)


def test_rows_of_a_folder_are_paired_by_all_but_what_is_compared() -> None:
    """The quorum follows from the rule, and is said; a field that both sides have in common pairs."""
    both = [
        stored(
            cell(rule, attack, seed, quorum=None, f=f, rounds=2), 0.9 if rule == "median" else 0.6
        )
        for rule in ("krum", "median")
        for attack in ATTACKS
        for seed in range(MANY)
        for f in (1, 2)
    ]
    made = compare(store(*both), a={"rule": "krum"}, b={"rule": "median"})
    assert made.factor == {"rule": ("krum", "median")}
    assert made.follows == {
        "scope": (("staircase",), ("coordinate",)), "quorum": ((5, 7), (3, 5)),
    }  # fmt: skip
    assert len(made.pairs) == 48
    assert all(p.a.row.byzantine == p.b.row.byzantine for p in made.pairs)
    assert all(p.a.row.tolerated == p.b.row.tolerated for p in made.pairs)
    assert {line.row.byzantine for line in made.rows} == {1, 2}
    assert {line.verdict for line in made.rows} == {"B"}
    text = str(made)
    assert "compared: rule: krum in A, median in B\n" in text
    assert "follows: quorum: 5, 7 in A, 3, 5 in B\n" in text


def test_attacks_can_be_compared_too() -> None:
    results = grid(lambda rule, attack, seed: {"none": 0.9, "foe": 0.3, "alie": 0.6}[attack])
    made = compare(store(*results), a={"attack": "foe"}, b={"attack": "alie"})
    assert [line.difference for line in made.rows] == pytest.approx([0.3, 0.3])
    assert {line.by for line in made.rows} == {("", "")}
    assert [line.verdict for line in made.rows] == ["B", "B"]


def test_several_cells_for_one_are_refused() -> None:
    results = [*grid(quorum=7), *grid(quorum=9, rules=["krum"])]
    assert refusal(store(*results), a={"rule": "krum"}, b={"rule": "median"}) == [
        "compare: A has several cells for one of the other side; they differ in quorum (9 and 7): "
        "choose with `where`"
    ]
    made = compare(
        store(*results), a={"rule": "krum", "quorum": 9}, b={"rule": "median", "quorum": 7}
    )
    assert made.factor == {"rule": ("krum", "median"), "quorum": (9, 7)}


def test_rulesets_of_a_folder() -> None:
    one, other = grid(), grid(lambda rule, attack, seed: 0.6)
    both = store(*one)
    for result in other:
        both.add(result, "r-2", f"r-2 {result.scenario.digest}")
    made = compare(both, a={"ruleset": "r-1"}, b={"ruleset": "r-2"})
    assert (made.a.rulesets, made.b.rulesets, len(made.changed)) == (("r-1",), ("r-2",), 48)
    assert compare(both, store(*one)).b.only == 0
    assert compare(both, store(*one)).a.only == 48
    assert len(compare(store(*one), store(*other, ruleset="r-9")).pairs) == 48  # one of each
    lone = store(*one, ruleset="r-3")
    assert refusal(both, lone) == [
        "compare: A holds the rulesets ['r-1', 'r-2'], B ['r-3']; choose one of each: `a` and `b` "
        "with ruleset=.."
    ]
    assert refusal(both, lone, a={"ruleset": "r-4"}, b={"ruleset": "r-3"}) == [
        "A: ruleset: unknown 'r-4'; did you mean 'r-2'?"
    ]


def test_nothing_in_common_is_refused_with_what_would_compare_it() -> None:
    a, b = store(*grid(learning_rate=0.1)), store(*grid(learning_rate=0.2))
    assert refusal(a, b) == [
        "compare: no cell in common: A has 48, B 48; learning_rate is 0.1 in A, 0.2 in B",
        "compare: to compare these nevertheless: `a` learning_rate=0.1 `b` learning_rate=0.2",
    ]
    rates = compare(a, b, a={"learning_rate": 0.1}, b={"gamma": 0.2})
    assert (len(rates.pairs), rates.identical) == (48, 48)
    assert refusal(a, store(*grid(learning_rate=0.1, seeds=[8, 9]))) == [
        "compare: no cell in common: A has 48, B 12; seed is 0 or 1 or 2 in A, 8 or 9 in B"
    ]
    assert refusal(a, a, where={"rule": "average"}) == [
        "A: no cell of 'memory' is rule=average; its rule is 'krum' or 'median'"
    ]
    assert refusal(store(), a) == ["A: 'memory': holds no results that a board would rank"]


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({}, ["compare: one folder, with itself; name another, or say what is compared: `a` and "
              "`b`, for example rule=krum and rule=median"]),
        ({"a": {"rule": "krum"}}, ["`a`: rule: not given of `b`; say what is compared with it, or "
                                   "use `where` for both"]),
        ({"a": {"rule": ["krum", "median"]}, "b": {"rule": "median"}},
         ["`a`: rule: 2 values; expected one"]),
        ({"a": {"seed": 0}, "b": {"seed": 1}},
         ["`a`: seed: cells are paired by it; use `where`",
          "`b`: seed: cells are paired by it; use `where`"]),
        ({"a": {"rul": "krum"}, "b": {"rul": "median"}},
         ["scenario: field: unknown 'rul'; did you mean 'rule'?"]),
        ({"a": 3, "split": "training"},
         ["a: 3; expected a mapping of fields to values",
          "split: unknown 'training'; expected one of test, validation"]),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_refused(given: Mapping[str, Any], problems: list[str]) -> None:
    assert refusal(store(*grid()), **given) == problems
    assert hgobench.compare is compare


def test_a_growing_folder_is_compared_as_far_as_it_has_come() -> None:
    """A worst case is over the attacks, and on the seeds, that both sides have."""
    whole = grid(lambda rule, attack, seed: {"none": 0.9, "foe": 0.2, "alie": 0.6}[attack])
    there = [r for r in whole if r.scenario.attack != "foe" or r.scenario.rule == "median"]
    made = compare(store(*whole), store(*there[:-3]))
    assert (made.a.only, made.b.only) == (11, 0)
    assert made.identical == 37
    assert {line.row.rule: line.a for line in made.rows} == {"krum": 0.6, "median": 0.2}
    assert {line.row.rule: line.estimate.seeds for line in made.rows} == {"krum": 8, "median": 5}


def test_a_failed_cell_counts_as_0_and_an_r2_below_0_too() -> None:
    a, b = store(stored(cell(), 0.5)), store(stored(cell(), 0.5, status="failed", reason="no"))
    assert compare(a, b).overall.difference == -0.5
    assert compare(store(stored(cell(), -3.0)), a).overall.difference == 0.5


def test_accuracies_may_be_on_validation_examples() -> None:
    moved = [replace(r, rounds={**r.rounds, "validation_accuracy": [0.0, 0.7]}) for r in grid()]
    a, b = store(*grid()), store(*moved)
    assert compare(a, b).largest == 0.0
    assert compare(a, b, split="validation").largest == pytest.approx(0.2)


def test_a_store_of_an_older_schema_is_the_one_it_was_brought_to(tmp_path: Path) -> None:
    older = ROOT / "tests" / "schema_1"
    shutil.copytree(older, tmp_path / "migrated")
    with open_store(tmp_path / "migrated"):
        pass
    made = compare(older, tmp_path / "migrated")
    assert (made.identical, len(made.pairs), made.provenance) == (4, 4, [])


@pytest.fixture
def evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Evaluate a suite with some of its text changed."""
    monkeypatch.setitem(members.ENSEMBLES, "small", SMALL)

    def run(name: str, old: str = "", new: str = "") -> Path:
        path = tmp_path / "worst.toml"
        path.write_text(EVALUATED.replace(old, new))
        run_suite(path, out=tmp_path / name, jobs=1)
        return tmp_path / name

    return run


@pytest.mark.long
def test_evaluated_rows_are_compared_by_what_was_chosen_for_each(
    evaluated: Callable[..., Path],
) -> None:
    first = evaluated("first")
    other = evaluated("other", "learning_rates = [0.5, 1.0]", "learning_rates = [0.1, 0.2]")
    made = compare(first, other)
    assert {*made.a.rulesets} == {"worst-1"}, "cells that only choose are left out"
    values = []
    for folder in (first, other):
        with open_store(folder, create=False) as kept:
            results = [result for name, result in kept.results() if name == "worst-1"]
            (board,) = reported(kept, "worst-1", results).boards()
        values.append({row.rule: (row.worst.mean, row.worst_attack) for row in board.rows})
    assert {line.row.rule: (line.a, line.by[0]) for line in made.rows} == values[0]
    assert {line.row.rule: (line.b, line.by[1]) for line in made.rows} == values[1]
    assert all("learning_rate" in pair.changed for pair in made.pairs)
    assert (
        compare(first, first, a={"rule": "median"}, b={"rule": "average"}).rows[0].estimate.seeds
        == 2
    )
    assert {line.verdict for line in compare(first, first, where={"rule": "median"}).rows} == {
        "identical"
    }
    choosing = compare(first, first, where={"ruleset": "worst-1, choosing"})
    assert choosing.a.rulesets == ("worst-1, choosing",)
    assert choosing.identical == len(choosing.pairs) > 0
    assert refusal(first, other, split="validation") == [
        "split: validation examples have chosen the attacks; expected test"
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two folders: in the second the median is worse under one attack, in every seed."""
    home = tmp_path_factory.mktemp("compare")
    for name in "ab":
        drop = 0.1 if name == "b" else 0.0
        results = grid(
            lambda rule, attack, seed, drop=drop: (  # type: ignore[misc]
                0.8 + seed / 100 - drop * (rule == "median" and attack == "foe")
            )
        )
        told = {"device": "cpu", "data": "of digits", "needs": [], "torch": f"2.{name == 'b':d}"}
        with open_store(home / name) as kept:
            kept.add_all(
                (replace(r, provenance=told), "r-1", f"{name}{i}") for i, r in enumerate(results)
            )
    return str(home / "a"), str(home / "b")


def test_the_command_says_what_it_found(folders: tuple[str, str]) -> None:
    a, b = folders
    done = command("compare", a, b)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"""\
A: {a} (ruleset r-1; 48 cells)
B: {b} (ruleset r-1; 48 cells)

statement                               holds  evidence
--------------------------------------  -----  ------------------------------------------------------------
Every cell is the same to the last bit  no     40 of 48 cells
The mean over all cells differs         yes    0.8350 in A, 0.8183 in B, -0.0167, 95 % [-0.0167, -0.0167],
                                               p 0.008, 8 seeds

Worst case of each row, the largest difference first

rule        A      B    B - A  95 %                  p  better  seeds  changed  worst in A  worst in B
------  -----  -----  -------  ----------------  -----  ------  -----  -------  ----------  ----------
median  0.835  0.735  -0.1000  [-0.100, -0.100]  0.013  A           8     8/16  alie        foe

Each row under each attack, the largest difference first

rule    attack      A      B    B - A  95 %                  p  better  seeds  changed
------  ------  -----  -----  -------  ----------------  -----  ------  -----  -------
median  foe     0.835  0.735  -0.1000  [-0.100, -0.100]  0.008  A           8      8/8

Cells that are not the same, the largest difference first

rule    attack  seed      A      B    B - A  what differs
------  ------  ----  -----  -----  -------  ---------------------------------------------
median  foe     0     0.800  0.700  -0.1000  test_accuracy, test_loss, validation_accuracy
""")
    assert done.stdout.partition("where it differs\n\n")[2].startswith("""\
fact   A    B    cells
-----  ---  ---  -----
torch  2.0  2.1     48

Test accuracy; cells are paired by their seed and all else that is not compared. A failed or""")


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--fail-above", "0.02"], 1, "compare: 2 mean differences exceed 0.02; the largest is 0.1000\n"),
        (["--fail-above", "0.1"], 0, "compare: no mean difference exceeds 0.1; the largest is 0.1000\n"),
        (["--fail-above", "0", "--where", "rule=krum"], 0, "compare: no mean difference exceeds 0; the largest is 0.0000\n"),
        (["--identical"], 1, "compare: 8 of 48 cells are not identical\n"),
        (["--identical", "--where", "attack=none,alie"], 0, ""),
        (["--identical", "--fail-above", "0.5"], 1,
         "compare: no mean difference exceeds 0.5; the largest is 0.1000\ncompare: 8 of 48 cells are not identical\n"),
        (["--fail-above", "2"], 2,
         "hgobench: refused, nothing was computed:\n"
         "  --fail-above: 2.0; expected a number in [0, 1]\n"),
        (["--a", "rule=krum"], 2,
         "hgobench: refused, nothing was computed:\n"
         "  --a: rule: not given of --b; say what is compared with it, or use --where for both\n"),
    ],
)  # fmt: skip
def test_a_limit_decides_the_exit_status(
    folders: tuple[str, str], options: list[str], status: int, said: str
) -> None:
    done = command("compare", *folders, *options)
    assert (done.returncode, done.stderr) == (status, said)


def test_the_limit_is_on_the_page_too(folders: tuple[str, str]) -> None:
    done = command("compare", *folders, "--fail-above", "0.02", "--format", "markdown")
    assert "| No row's mean difference exceeds 0.02" in done.stdout
    assert "2 of 8 do; the largest is 0.1000" in done.stdout


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json", "html"])
def test_every_format_has_the_numbers(folders: tuple[str, str], form: str) -> None:
    done = command("compare", *folders, "--format", form)
    assert done.returncode == 0, done.stderr
    if form == "csv":
        lines = list(csv.DictReader(io.StringIO(done.stdout)))
        assert len(lines) == 48
        moved = [line for line in lines if line["changed"]]
        assert {(line["rule"], line["attack"]) for line in moved} == {("median", "foe")}
        assert all(float(line["difference"]) == pytest.approx(-0.1) for line in moved)
    elif form == "json":
        data = json.loads(done.stdout)
        assert (data["pairs"], data["identical"], len(data["changed"])) == (48, 40, 8)
        assert data["rows"][0]["difference"] == pytest.approx(-0.1)
        assert data["rows"][0]["scenario"]["rule"] == "median"
        assert data["provenance"] == [
            {"name": "torch", "a": {"2.0": 48}, "b": {"2.1": 48}, "pairs": 48}
        ]
    else:
        assert "median" in done.stdout or form == "table"
        assert re.search(r"-0\.1000", done.stdout)
        assert "torch" in done.stdout


def test_a_long_list_of_changes_is_cut_and_counted(tmp_path: Path) -> None:
    made = compare(store(*grid()), store(*grid(lambda rule, attack, seed: 0.1)))
    assert "Cells that are not the same, the largest difference first (20 of 48; JSON has" in str(
        made
    )
    assert len(made.as_data()["changed"]) == 48
    assert made._repr_markdown_().startswith("### A and B compared")


def test_other_data_are_a_warning() -> None:
    other = [replace(r, provenance={**r.provenance, "data": "of others"}) for r in grid()]
    assert "A and B are of different data under one name: don't compare." in str(
        compare(store(*grid()), store(*other))
    )


def test_what_was_merged_is_what_it_was(folders: tuple[str, str], tmp_path: Path) -> None:
    merge(folders[0], folders[0], out=tmp_path / "m")
    done = command("compare", folders[0], str(tmp_path / "m"), "--identical", "--fail-above", "0")
    assert done.returncode == 0
    with open_store(tmp_path / "m", create=False) as kept:
        codes = {result.provenance["code"] for _, result in kept.results()}
    assert codes == {address.code_digest()[:12]}


def test_commits_are_compared_by_the_folders_they_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another digest of the sources is said, as what moved the numbers may be there."""
    monkeypatch.setattr("hgobench.results.sqlite.code_stated", lambda: "f" * 12)
    for name in "ab":
        with open_store(tmp_path / name) as kept:
            kept.add_all((r, "r-1", str(i)) for i, r in enumerate(grid()))
        monkeypatch.setattr("hgobench.results.sqlite.code_stated", lambda: "e" * 12)
    made: Comparison = compare(tmp_path / "a", tmp_path / "b")
    assert [(fact.name, fact.a, fact.b) for fact in made.provenance] == [
        ("code", {"f" * 12: 48}, {"e" * 12: 48})
    ]
    assert "code: the digest of the sources that numbers depend on." in str(made)
