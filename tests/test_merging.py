"""Folders of results merged into one: what it holds does not depend on who merges in which order."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hgobench
from hgobench import Scenario, merge, open_store, run_suite
from hgobench.errors import InputError
from hgobench.evaluation import evaluate, members
from hgobench.evaluation.evaluate import reported, selected
from hgobench.evaluation.members import Member
from hgobench.results import Result, Store, StoreError
from hgobench.writing import UNFINISHED
from tests.conftest import ROOT
from tests.stores import stored
from tests.test_cli import TINY
from tests.test_cli import hgobench as command

CELLS = [
    Scenario(workers=8, f=1, rounds=2, rule=rule, attack=attack, seed=seed)
    for rule in ("krum", "median")
    for attack in ("none", "foe")
    for seed in (0, 1)
]
POOL = [(one, stored(one, accuracy=0.1 + i / 100)) for i, one in enumerate(CELLS)]


def fill(folder: Path, results: Iterable[Result], ruleset: str = "r-1") -> str:
    """Write a folder of results; a cell's address is its place among all."""
    with open_store(folder) as store:
        store.add_all(
            (result, ruleset, f"{ruleset} {CELLS.index(result.scenario)}") for result in results
        )
    return str(folder)


def content(folder: str | Path) -> list[Any]:
    """Everything that a folder holds, as it can be compared."""
    with open_store(folder, create=False) as store:
        results = [
            (key, ruleset, result.scenario, repr(dict(result.rounds)), result.status,
             result.reason, result.right, dict(result.provenance), result.seconds)
            for key, ruleset, result in store.entries()
        ]  # fmt: skip
        return [*results, *store.measured()]


def problems(*folders: str, out: Path) -> list[str]:
    """Return what is said when folders contradict each other, and that nothing is written."""
    with pytest.raises(InputError) as caught:
        merge(*folders, out=out)
    assert not out.exists()
    return caught.value.problems


SOME = st.sets(st.sampled_from(range(len(CELLS))), min_size=1)


@pytest.mark.long
@settings(max_examples=6, deadline=None)
@given(st.tuples(SOME, SOME, SOME), st.data())
def test_merging_is_a_union_in_any_order(several: Sequence[set[int]], data: st.DataObject) -> None:
    """Idempotent, commutative, associative; what was computed elsewhere stays what it was."""
    with TemporaryDirectory() as name:
        home = Path(name)
        folders = []
        for number, chosen in enumerate(several):
            told = {"device": "cpu", "data": "of digits", "processor": f"p{number}", "code": "old"}
            results = [replace(POOL[i][1], provenance=told, seconds=1.0) for i in sorted(chosen)]
            folders.append(fill(home / str(number), results))
        order = data.draw(st.permutations(range(3)))
        a, b, c = (folders[i] for i in order)
        whole = merge(*folders, out=home / "whole")
        merge(a, b, out=home / "ab")
        merge(str(home / "ab"), c, out=home / "ab-c")
        merge(a, str(home / "whole"), str(home / "whole"), out=home / "again")
        every = content(home / "whole")
        assert content(home / "ab-c") == content(home / "again") == every
        union = set.union(*several)
        assert whole.kept == len(every) == len(union)
        assert whole.cells == [len(chosen) for chosen in several]
        assert whole.shared == sum(sum(i in chosen for chosen in several) > 1 for i in union)
        for key, ruleset, scenario, *_, provenance, _ in every:
            place = int(key.removeprefix("r-1 "))
            assert (ruleset, scenario) == ("r-1", CELLS[place])
            holders = {f"p{n}" for n, chosen in enumerate(several) if place in chosen}
            assert provenance["processor"] in holders
            assert provenance["code"] == "old"
        merge(folders[0], folders[0], out=home / "twice")
        assert content(home / "twice") == content(folders[0])


@settings(max_examples=6, deadline=None)
@given(
    SOME, SOME, st.sets(st.sampled_from(range(len(CELLS)))), st.sampled_from(["accuracy", "heard"])
)
def test_a_contradiction_is_found_if_and_only_if_there_is_one(
    first: set[int], second: set[int], moved: set[int], how: str
) -> None:
    def other(i: int) -> Result:
        scenario, result = POOL[i]
        if i not in moved:
            return result
        if how == "accuracy":
            return stored(scenario, 0.9)
        return stored(scenario, 0.1 + i / 100, heard=3)

    with TemporaryDirectory() as name:
        home = Path(name)
        a = fill(home / "a", (POOL[i][1] for i in sorted(first)))
        b = fill(home / "b", (other(i) for i in sorted(second)))
        contradictory = first & second & moved
        for pair in ((a, b), (b, a)):
            if not contradictory:
                assert merge(*pair, out=home / pair[0][-1] / "out").kept == len(first | second)
                continue
            head, *listed = problems(*pair, out=home / "out")
            assert head.startswith(f"merge: {len(contradictory)} contradictions; hgobench compare")
            assert {repr(CELLS[i]) for i in contradictory} == {
                line.partition(", ")[2].partition(": accuracy")[0] for line in listed
            }


def test_what_a_contradiction_says(tmp_path: Path) -> None:
    cell, result = POOL[0]
    a = fill(tmp_path / "a", [result])
    b = fill(tmp_path / "b", [stored(cell, 0.5)])
    c = fill(tmp_path / "c", [stored(cell, 0.1, heard=3)])
    assert problems(a, b, out=tmp_path / "o") == [
        "merge: 1 contradictions; hgobench compare shows what the folders have in common:",
        f"'r-1', {cell!r}: accuracy 0.1000 in {a!r}, 0.5000 in {b!r}",
    ]
    assert problems(a, c, out=tmp_path / "o")[1] == (
        f"'r-1', {cell!r}: accuracy 0.1000 in {a!r}, 0.1000 in {c!r} (numbers of its rounds differ)"
    )
    refused = command("merge", a, b, "--out", str(tmp_path / "o"))
    assert refused.returncode == 2
    assert refused.stderr.startswith("hgobench: refused, nothing was computed:\n  merge: 1 contra")


def test_measures_contradict_and_who_has_them_is_kept(tmp_path: Path) -> None:
    """Whichever folder is named first."""
    told: dict[str, dict[str, float]] = {"a": {"worst_worker": 0.25}, "b": {"worst_worker": 0.75}}
    folders = {
        name: fill(tmp_path / name, [replace(POOL[0][1], measures=told.get(name, {}), seconds=at)])
        for at, name in enumerate("cab")
    }
    for first, second in (("a", "b"), ("b", "a")):
        said = problems(folders[first], folders["c"], folders[second], out=tmp_path / "out")
        assert said[1].endswith("(measures of its end differ)")
    for first, second in (("a", "c"), ("c", "a")):
        merged = merge(folders[first], folders[second], out=tmp_path / f"{first}{second}")
        with open_store(merged.out, create=False) as made:
            ((_, _, kept),) = made.entries()
        assert kept.measures == told["a"]


def test_many_contradictions_are_counted(tmp_path: Path) -> None:
    cells = [Scenario(workers=8, rounds=2, seed=seed) for seed in range(25)]
    for name, accuracy in (("a", 0.5), ("b", 0.6)):
        with open_store(tmp_path / name) as store:
            store.add_all((stored(one, accuracy), "r-1", str(one.seed)) for one in cells)
    head, *listed = problems(str(tmp_path / "a"), str(tmp_path / "b"), out=tmp_path / "o")
    assert head.startswith("merge: 25 contradictions;")
    assert len(listed) == 21
    assert listed[-1] == "and 5 more"


def test_one_address_of_two_cells_is_a_contradiction(tmp_path: Path) -> None:
    for name, place in (("a", 0), ("b", 1)):
        with open_store(tmp_path / name) as store:
            store.add(POOL[place][1], "r-1", "the same")
    said = problems(str(tmp_path / "a"), str(tmp_path / "b"), out=tmp_path / "o")
    assert said[1].startswith("address the same is of two cells; in ")


def test_a_cell_that_failed_gives_way_to_one_that_ended(tmp_path: Path) -> None:
    cell, result = POOL[0]
    failed = stored(cell, 0.0, status="failed", reason="round 1: out of memory")
    other = stored(cell, 0.0, status="failed", reason="round 2: out of memory")
    a, b, c = (
        fill(tmp_path / name, [one])
        for name, one in zip("abc", (failed, result, other), strict=True)
    )
    for order in ((a, b, c), (c, b, a), (b, a, c)):
        out = tmp_path / "".join(Path(one).name for one in order)
        merge(*order, out=out)
        assert content(out) == content(b)
    merge(a, c, out=tmp_path / "ac")
    merge(c, a, out=tmp_path / "ca")
    assert content(tmp_path / "ac") == content(tmp_path / "ca")


def test_other_data_under_one_name_are_a_contradiction(tmp_path: Path) -> None:
    told = {"device": "cpu", "data": "of other digits"}
    a = fill(tmp_path / "a", [POOL[0][1]])
    b = fill(tmp_path / "b", [replace(POOL[1][1], provenance=told)])
    assert problems(a, b, out=tmp_path / "o")[1:] == [
        f"'r-1': {a!r} and {b!r} are of different data under the name 'digits'"
    ]
    unknown = fill(tmp_path / "c", [replace(POOL[1][1], provenance={"device": "cpu"})])
    merge(a, unknown, out=tmp_path / "o")  # an older hgobench did not say
    with open_store(tmp_path / "d") as store:  # what one folder holds already, it may hold
        store.add(POOL[0][1], "r-1", "r-1 0")
        store.add(replace(POOL[1][1], provenance=told), "r-1", "r-1 1")
    assert merge(tmp_path / "d", tmp_path / "d", out=tmp_path / "dd").kept == 2


def test_what_differs_is_said(tmp_path: Path) -> None:
    told = {"device": "cpu", "data": "of digits", "needs": []}
    avx, sse = ({**told, "processor": name, "torch": "2.5"} for name in ("AVX2", "SSE"))
    a = fill(tmp_path / "a", [replace(POOL[0][1], provenance=avx)])
    longer = CELLS[1].replace(rounds=3)
    with open_store(tmp_path / "b") as store:
        store.add(stored(longer, provenance=sse), "r-1", "x")
        store.add(stored(longer, provenance=sse), "r-2", "y")
    b = str(tmp_path / "b")
    done = command("merge", a, b, "--out", str(tmp_path / "o"))
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"{a}: 1 cells",
        f"{b}: 2 cells",
        f"{tmp_path / 'o'}: 3 cells, 0 of them in several folders, and 0 measurements",
    ]
    assert done.stderr.splitlines() == [
        f"note: 'r-1': rounds: 2 in {a!r}; 3 in {b!r}",
        f"note: 'r-2' is not in {a!r}",
        f"note: computed with another processor: AVX2 in {a!r}; SSE in {b!r}",
    ]


def test_measurements_are_joined_and_contradict(tmp_path: Path) -> None:
    folders = []
    for name, values in (("a", {"k1": 1.5, "k2": [1, None]}), ("b", {"k2": [1, None], "k3": "x"})):
        folders.append(fill(tmp_path / name, [POOL[0][1]]))
        with open_store(tmp_path / name) as store:
            for key, value in values.items():
                store.keep(key, f"measure {key}", value)
    assert merge(*folders, out=tmp_path / "o").measurements == 3
    with open_store(tmp_path / "o") as store:
        assert store.measurements(["k1", "k2", "k3"]) == {"k1": 1.5, "k2": [1, None], "k3": "x"}
    with open_store(tmp_path / "b") as store:
        store.keep("another", "measure k1", 1.6)
    assert problems(*folders, out=tmp_path / "p")[1] == (
        f"measurement measure k1: one value in {folders[0]!r}, another in {folders[1]!r}"
    )


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["a"], "merge: 1 folders; expected two or more"),
        (["a", "nowhere"], "store: 'nowhere': no results.sqlite there"),
        (["a", "empty"], "store: 'empty': holds no results"),
    ],
)
def test_what_can_t_be_merged(tmp_path: Path, folders: list[str], message: str) -> None:
    fill(tmp_path / "a", [POOL[0][1]])
    with open_store(tmp_path / "empty"):
        pass
    refused = command("merge", *folders, "--out", "o", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines()[1:] == [f"  {message}"]
    assert not (tmp_path / "o").exists()


def test_a_folder_with_results_is_not_written_to(tmp_path: Path) -> None:
    a = fill(tmp_path / "a", [POOL[0][1]])
    before = (tmp_path / "a" / "results.sqlite").read_bytes()
    refused = command("merge", a, a, "--out", a)
    assert f"  --out: {a!r} holds results; name a new folder" in refused.stderr
    assert (tmp_path / "a" / "results.sqlite").read_bytes() == before
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").write_text("mine")
    merge(a, a, out=tmp_path / "there")
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == [
        "notes.txt", "results.sqlite",
    ]  # fmt: skip
    with pytest.raises(InputError) as caught:
        merge(a, 3, out="")  # type: ignore[arg-type]
    assert caught.value.problems == ["out: ''; expected a folder", "folder 2: 3; expected a folder"]
    assert hgobench.merge is merge


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (fill(tmp_path / str(i), [POOL[i][1]]) for i in (0, 1))
    kept: list[Store] = []
    add_all = hgobench.results.sqlite.SqliteStore.add_all

    def interrupted(self: Any, several: Any) -> None:
        add_all(self, several)
        kept.append(self)
        if len(kept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(hgobench.results.sqlite.SqliteStore, "add_all", interrupted)
    done = command("merge", a, b, "--out", str(tmp_path / "deep" / "o"))
    assert (done.returncode, done.stdout) == (130, "")
    assert len(kept) == 2
    assert not (tmp_path / "deep").exists()


@pytest.mark.long
def test_a_merge_that_is_killed_looks_unfinished(tmp_path: Path) -> None:
    a, b = (fill(tmp_path / str(i), [POOL[i][1]]) for i in (0, 1))
    script = f"""
import os, signal
from hgobench import merge
from hgobench.results.sqlite import SqliteStore
add_all = SqliteStore.add_all
def killed(self, several):
    add_all(self, several)
    os.kill(os.getpid(), signal.SIGKILL)
SqliteStore.add_all = killed
merge({a!r}, {b!r}, out={str(tmp_path / "o")!r})
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert ended.returncode == -9
    (left,) = (tmp_path / "o").iterdir()
    assert left.name.startswith(UNFINISHED)
    with pytest.raises(InputError, match=r"no results\.sqlite there"):
        open_store(tmp_path / "o", create=False)
    assert merge(a, b, out=tmp_path / "o").kept == 2


def test_a_folder_that_changes_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More results are welcome, and left for the next time; another number is not."""
    a, b = (fill(tmp_path / str(i), [POOL[i][1]]) for i in (0, 1))
    more = [POOL[2][1]]
    check = hgobench.merging._Merging.check

    def meanwhile(self: Any) -> None:
        check(self)
        fill(tmp_path / "1", more)

    monkeypatch.setattr(hgobench.merging._Merging, "check", meanwhile)
    assert merge(a, b, out=tmp_path / "o").kept == 2
    more = [stored(CELLS[1], 0.9)]
    with pytest.raises(StoreError, match="has changed while it was merged; merge again"):
        merge(a, b, out=tmp_path / "p")
    assert not (tmp_path / "p").exists()
    more = [stored(CELLS[1], 0.8)]
    done = command("merge", a, b, "--out", str(tmp_path / "p"))
    assert done.returncode == 1
    assert f"merge: {b!r} has changed while it was merged; merge again; nothing was" in done.stderr


def test_a_store_of_an_older_schema_keeps_its_addresses(tmp_path: Path) -> None:
    older = ROOT / "tests" / "schema_1"
    shutil.copytree(older, tmp_path / "migrated")
    with open_store(tmp_path / "migrated"):
        pass
    new = fill(tmp_path / "new", [POOL[0][1]], "r-2")
    assert merge(older, tmp_path / "migrated", new, out=tmp_path / "o").kept == 5
    merge(tmp_path / "migrated", new, out=tmp_path / "p")
    assert content(tmp_path / "o") == content(tmp_path / "p")
    with open_store(older, create=False) as store, open_store(tmp_path / "o") as merged:
        keys = {key for key, *_ in store.entries()}
        assert keys < {key for key, *_ in merged.entries()}
        assert [*store.measured()] == [*merged.measured()]


def test_a_result_that_lacks_a_later_column_lacks_it_still(tmp_path: Path) -> None:
    a = fill(tmp_path / "a", [POOL[0][1]])
    with closing(sqlite3.connect(tmp_path / "a" / "results.sqlite")) as connection, connection:
        (text,) = connection.execute("SELECT rounds FROM results").fetchone()
    assert "malformed" in text
    lacking = {name: column for name, column in POOL[0][1].rounds.items() if name != "malformed"}
    b = fill(tmp_path / "b", [replace(POOL[0][1], rounds=lacking)])
    merge(b, b, out=tmp_path / "o")
    assert content(tmp_path / "o") == content(b) != content(a)


def test_damaged_rows_are_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (fill(tmp_path / str(i), [POOL[i][1], POOL[2][1]]) for i in (0, 1))
    with closing(sqlite3.connect(tmp_path / "0" / "results.sqlite")) as connection, connection:
        connection.execute("UPDATE results SET seconds = 5.0 WHERE key = 'r-1 0'")
    assert merge(a, b, out=tmp_path / "o").kept == 2
    assert f"1 damaged row in {tmp_path}/0/results.sqlite left out" in capsys.readouterr().err


def test_a_run_takes_a_merged_folder_for_its_own(tmp_path: Path) -> None:
    """Seeds that were run on two machines: nothing is left to compute."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    for seed in (0, 1):
        run_suite(path, out=tmp_path / str(seed), settings={"seed": seed}, jobs=1)
    merge(tmp_path / "0", tmp_path / "1", out=tmp_path / "both")
    again = run_suite(path, out=tmp_path / "both", jobs=1)
    assert (again.computed, again.reused, again.missing) == (0, 8, 0)


EVALUATED = """
ruleset = "worst-1"
[scenario]
workers = 10
byzantine = 2
batch_size = 8
rounds = 2
evaluation_interval = 2
[grid]
rule = ["median", "average"]
[evaluation]
ensemble = "small"
selection_seeds = [0]
fresh_seeds = [10, 11]
learning_rates = [0.5, 1.0]
"""
SMALL = tuple(Member(name, "fixed", (name,)) for name in ("foe", "sign_flip", "alie"))


@pytest.fixture
def evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Path]:
    """Folders of a suite's rows, evaluated each by itself."""
    monkeypatch.setitem(members.ENSEMBLES, "small", SMALL)
    path = tmp_path / "worst.toml"
    path.write_text(EVALUATED)
    for rule in ("median", "average"):
        run_suite(path, out=tmp_path / rule, settings={"rule": rule}, jobs=1)
    return {rule: tmp_path / rule for rule in ("median", "average")}


def test_rows_of_an_evaluation_are_joined(evaluated: Mapping[str, Path], tmp_path: Path) -> None:
    merge(*evaluated.values(), out=tmp_path / "both")
    outcome = run_suite(tmp_path / "worst.toml", out=tmp_path / "whole", jobs=1)
    with open_store(tmp_path / "both") as store:
        results = [result for name, result in store.results() if name == "worst-1"]
        told = reported(store, "worst-1", results)
    rows = {v.selection.given.rule: v.scores for v in outcome.verdicts}
    assert {v.selection.given.rule: v.scores for v in told.verdicts} == rows
    again = run_suite(tmp_path / "worst.toml", out=tmp_path / "both", jobs=1)
    assert again.computed == 0


def test_evaluations_that_contradict_each_other(
    evaluated: Mapping[str, Path], tmp_path: Path
) -> None:
    median, average = map(str, evaluated.values())

    def changed(name: str, **changes: Any) -> str:
        """A copy of the folder of the median whose choices are others."""
        shutil.copytree(median, tmp_path / name)
        with open_store(tmp_path / name) as store:
            kept = selected(store, "worst-1")
            evaluate.keep(store, "worst-1", [replace(one, **changes) for one in kept])
        return str(tmp_path / name)

    with open_store(median) as store:
        (chosen,) = selected(store, "worst-1")
    other = changed("other", reported=chosen.reported[::-1])
    assert problems(median, other, out=tmp_path / "o")[1:] == [
        f"'worst-1': for {chosen.given!r} other attacks or parameters are chosen in {other!r} than "
        f"in {median!r}"
    ]
    plan = changed("plan", plan=replace(chosen.plan, fresh_seeds=(10, 11, 12)))
    assert problems(average, plan, out=tmp_path / "o")[1:] == [
        "'worst-1': different rulesets under one name: rows are evaluated in another way in "
        f"{plan!r} than in {average!r}"
    ]
    grid = str(tmp_path / "grid")
    with open_store(grid) as store:
        unknown = {"device": "cpu"}
        store.add(stored(chosen.given.replace(seed=99), provenance=unknown), "worst-1", "k")
    assert problems(median, grid, out=tmp_path / "o")[1:] == [
        "'worst-1': different rulesets under one name: attacks are chosen for each row in "
        f"{median!r}, and not in {grid!r}"
    ]
