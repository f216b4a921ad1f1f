"""Somebody's results are run again: what was changed in them is caught, what was not is confirmed."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgobench import Scenario, run, run_suite, verify
from hgobench.cards import Card, made
from hgobench.cards.card import collapsed, cost, values
from hgobench.cards.plugins import check_sources
from hgobench.cards.rules import Rules
from hgobench.citation import rows_of
from hgobench.cli import main
from hgobench.errors import InputError
from hgobench.evaluation import members
from hgobench.evaluation.evaluate import keep, selected
from hgobench.evaluation.members import Member
from hgobench.report.render import terminal
from hgobench.report.verification import page
from hgobench.results import open_store
from hgobench.statistics import LEVEL
from hgobench.statistics.power import detectable, found_by_chance, power
from hgobench.verification import Verification, mean_difference
from tests.stores import alter, forge

CELLS = [
    Scenario(workers=12, f=2, rounds=2, rule="median", attack=attack, seed=seed)
    for attack in ("none", "foe")
    for seed in range(4)
]
EVERY = len(CELLS)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "honest"
    with open_store(folder) as store:
        store.add_all((run(cell), "mine-1", None) for cell in CELLS)
    return folder


@pytest.fixture
def theirs(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "theirs"))


def again(results: Path, sample: int = EVERY, **more: Any) -> Verification:
    return verify(results, sample=sample, jobs=1, **more)


def provenance(**facts: Any) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **facts})


def raised(by: float, only: int | None = None) -> Callable[[str], str]:
    """Raise the final accuracy of every cell, or of the first so many."""
    left = [math.inf if only is None else only]

    def change(text: str) -> str:
        rounds = json.loads(text)
        if left[0] > 0:
            rounds["test_accuracy"][-1] += by
            left[0] -= 1
        return json.dumps(rounds)

    return change


def test_what_is_as_it_was_computed_is_confirmed_to_the_last_bit(honest: Path) -> None:
    found = again(honest, 3, draw=5)
    assert found.confirmed
    assert (found.claimed, len(found.again), found.identical) == (EVERY, 3, 3)
    assert all(one.same_kind for one in found.again)
    assert found.few == found_by_chance(EVERY, 3) == 3
    text = terminal(page(found))
    assert "cells: 8; 3 run again (--draw 5)" in text
    assert "same kind of processor: 3 of 3 the same to the last bit" in text
    assert "A forgery of 3 of the 8 cells or more is found by such a sample" in text
    other = again(honest, 3, draw=5)
    drawn = [[one.claimed.address for one in each.again] for each in (found, other)]
    assert drawn[0] == drawn[1]


def test_an_edited_row_is_damage(theirs: Path) -> None:
    alter(theirs, "UPDATE results SET seconds = 0.25 WHERE key = (SELECT min(key) FROM results)")
    found = again(theirs, 2)
    assert not found.confirmed
    (problem,) = found.problems
    assert problem.startswith("1 damaged rows: ")
    assert problem.endswith("of mine-1: checksum: the row has been changed since it was written")


def test_a_raised_number_is_caught_though_its_checksum_fits(theirs: Path) -> None:
    forge(theirs, rounds=raised(0.001, only=1))
    found = again(theirs)
    (problem,) = found.problems
    assert problem.startswith(
        "1 of 8 cells that were run again on the same kind of processor are not the same to the "
        "last bit: hgo median "
    )


def test_a_raised_measure_is_caught_though_its_checksum_fits(theirs: Path) -> None:
    forge(theirs, measures=lambda text: json.dumps({**json.loads(text), "worst_worker": 0.99}))
    found = again(theirs, 1)
    (problem,) = found.problems
    assert problem.startswith("1 of 1 cells that were run again on the same kind of processor")
    assert problem.endswith("(measures differ)")


def test_another_ruleset_is_caught(theirs: Path) -> None:
    forge(theirs, ruleset=lambda text: "smoke-2")
    told = again(theirs, 1).problems
    assert told[0].startswith("smoke-2: 8 cells that are none of its suite's: workers is 12, ")
    assert told[1].startswith(
        "8 addresses that are not those of their ruleset, scenario, data and sources: one of them "
        "was changed: "
    )


def test_a_suite_of_one_s_own_judges_its_cells(honest: Path, tmp_path: Path) -> None:
    suite = tmp_path / "own.toml"
    text = (
        'ruleset = "mine-1"\n[scenario]\nworkers = 12\nf = 2\nrounds = {}\nrule = "median"\n'
        '[grid]\nattack = ["none", "foe"]\nseed = [0, 1, 2, 3]\n'
    )
    suite.write_text(text.format(2))
    assert again(honest, 1, suite=str(suite)).confirmed
    suite.write_text(text.format(3))
    (problem,) = again(honest, 1, suite=str(suite)).problems
    assert problem == "mine-1: 8 cells that are none of its suite's: rounds is 2, mine-1 has 3"
    suite.write_text(text.format(2).replace("mine-1", "other-1"))
    (problem,) = again(honest, 1, suite=str(suite)).problems
    assert problem == "ruleset: 'mine-1'; the suite is 'other-1'"


def test_another_scenario_is_caught(theirs: Path) -> None:
    assert CELLS[0].learning_rate != 0.25
    forge(theirs, scenario=lambda t: json.dumps({**json.loads(t), "learning_rate": 0.25}))
    told = again(theirs, 1).problems
    assert told[0].startswith("8 addresses that are not those of their ruleset, scenario, ")


def test_other_data_are_caught_and_not_run(theirs: Path) -> None:
    forge(theirs, provenance=provenance(data="0" * 64))
    found = again(theirs)
    (problem,) = found.problems
    assert problem.startswith("data: 'digits' is not the same: 000000000000 there, ")
    assert problem.endswith(" here; 8 cells can't be run again")
    assert not found.again
    assert not found.confirmed
    assert "verdict: not confirmed" in terminal(page(found))


def test_data_that_are_not_here_are_named(theirs: Path) -> None:
    gone = "csv[path=gone.csv,label=y]"
    forge(theirs, scenario=lambda text: json.dumps({**json.loads(text), "data": gone}))
    assert again(theirs, 1).problems == [
        "data: 'gone.csv': No such file or directory; 8 cells can't be run again"
    ]


def test_elsewhere_rounding_is_forgiven_and_a_forgery_of_all_cells_is_not(theirs: Path) -> None:
    forge(theirs, provenance=provenance(processor="another, AVX"))
    found = again(theirs)
    assert found.confirmed
    assert found.overall is not None
    assert found.overall.difference == 0.0
    assert found.least == pytest.approx(0.011, abs=0.003), "other cells may move, though none did"
    assert [fact.name for fact in found.provenance] == ["processor"]
    assert "mean difference elsewhere: +0.0000 (95 %: +0.0000 to +0.0000, 8 cells)" in terminal(
        page(found)
    )
    forge(theirs, rounds=raised(0.03))
    found = again(theirs)
    (problem,) = found.problems
    assert problem.startswith(
        "the accuracies there are +0.0300 off those here, in the mean over 8 cells (95 %: +0.03"
    )
    forge(theirs, rounds=raised(0.1, only=1))
    told = again(theirs).problems
    assert told[0].startswith(
        "1 of 8 cells differ by more than 0.1, which rounding does not explain: hgo median "
    )


def test_elsewhere_what_a_run_took_must_be_the_same_but_for_rounding(theirs: Path) -> None:
    def cheaper(text: str) -> str:
        rounds = json.loads(text)
        return json.dumps({**rounds, "bytes_up": [value // 2 for value in rounds["bytes_up"]]})

    forge(theirs, provenance=provenance(processor="another, AVX"), rounds=cheaper)
    (problem,) = again(theirs, 2).problems
    assert problem.startswith(
        "2 of 2 cells differ in what else is told of them, by more than rounding explains: hgo med"
    )
    assert "bytes_up is " in problem


def test_seeds_that_were_left_out_are_named(theirs: Path, tmp_path: Path) -> None:
    suite = tmp_path / "own.toml"
    suite.write_text(
        'ruleset = "mine-1"\n[scenario]\nworkers = 12\nf = 2\nrounds = 2\nrule = "median"\n'
        '[grid]\nattack = ["none", "foe"]\nseed = [0, 1, 2, 3]\n'
    )
    alter(theirs, "DELETE FROM results WHERE json_extract(scenario, '$.seed') = 2")
    (problem,) = again(theirs, 1, suite=str(suite)).problems
    assert problem == (
        "mine-1: 2 cells of its rows are missing, and a worst case over fewer attacks or seeds is "
        "not the suite's; hgobench run adds them: hgo median none seed 2; hgo median foe seed 2"
    )


def test_rows_of_one_s_own_rule_are_of_the_suite_and_lack_what_it_has() -> None:
    rules = Rules.of("smoke-2 with rule=mine:Rule")
    assert rules is not None
    some = [cell for cell in rules.suite.expand()[0] if cell.rule == "krum"]
    mine = [Scenario.restore({**cell.to_dict(), "rule": "mine:Rule"}) for cell in some]
    assert not any(map(rules.strange, mine))
    assert not rules.lacking(mine)
    hgo = [cell for cell in mine if cell.algorithm == "hgo"]
    lacking = rules.lacking([cell for cell in hgo if cell.seed == 0])
    assert {(cell.rule, cell.algorithm, cell.seed) for cell in lacking} == {("mine:Rule", "hgo", 1)}


def test_a_cell_that_no_run_can_have_had_is_named(theirs: Path) -> None:
    forge(theirs, scenario=lambda text: json.dumps({**json.loads(text), "rule": "krum"}))
    found = again(theirs, 1)
    assert not found.again
    assert found.problems[-1].startswith("1 cells that no run can have had: hgo krum ")
    assert "'krum' needs " in found.problems[-1]


@pytest.fixture(scope="module")
def card(honest: Path) -> Card:
    (cited,) = rows_of([honest])
    return made(cited)


def test_a_card_is_run_again_and_a_raised_number_in_it_is_caught(
    card: Card, tmp_path: Path
) -> None:
    path = tmp_path / "card.json"
    path.write_text(card.text())
    found = again(path, 4)
    assert found.confirmed, found.problems
    assert found.identical == 4
    content = json.loads(card.text())
    content["values"]["worst"]["mean"] += 0.05
    path.write_text(json.dumps(content))
    (problem,) = again(path, 1).problems
    assert problem.startswith("$.values.worst.mean: ")
    # Everything made to fit: only running the cells tells.
    content = json.loads(card.text())
    for cell in content["cells"]:
        cell["accuracy"], cell["right"] = 0.9, None
    forged = Card("", content)
    content |= {"values": values(forged.row), "cost": cost(forged.row)}
    content["board"]["collapsed"] = collapsed(forged.row, content["board"]["collapse"])
    path.write_text(json.dumps(content))
    found = again(path)
    assert found.again
    assert all(one.pair.a.accuracy == 0.9 for one in found.again)
    assert any("not the same to the last bit" in problem for problem in found.problems)


EVALUATED = """
ruleset = "tiny-1"
[scenario]
workers = 10
byzantine = 2
batch_size = 8
rounds = 2
evaluation_interval = 2
[grid]
rule = ["median", "average"]
[evaluation]
ensemble = "few"
selection_seeds = [0, 1]
fresh_seeds = [10, 11]
learning_rates = [0.5, 1.0]
"""


@pytest.mark.long
def test_an_evaluation_is_verified_with_what_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = (
        Member("crash", "fault", ("crash",)),
        Member("foe", "fixed", ("foe", "foe[epsilon=1]")),
        Member("fang", "optimised", ("fang",)),
        Member("tail", "heterogeneity", ("tail+*",)),
    )
    monkeypatch.setitem(members.ENSEMBLES, "few", few)
    suite, folder = tmp_path / "tiny.toml", tmp_path / "theirs"
    suite.write_text(EVALUATED)
    run_suite(suite, out=folder, jobs=1)
    found = again(folder, 5, suite=str(suite))
    assert found.confirmed, found.problems
    assert not found.notes
    for cited in rows_of([folder]):
        card = made(cited)
        path = tmp_path / f"{card.hash}.json"
        path.write_text(card.text())
        assert card.content["selection"]["reported"]
        assert card.content["threat_model"]["name"] == "adaptive"
        own = again(path, 3, suite=str(suite))
        assert own.confirmed, own.problems
        assert own.notes[0].startswith("which attacks and parameters were chosen is checked by the")
    with open_store(folder) as store:
        first, *others = selected(store, "tiny-1")
        (cell, *_) = first.under(first.reported[0], [11])
    fewer = Path(shutil.copytree(folder, tmp_path / "fewer"))
    alter(fewer, "DELETE FROM results WHERE ruleset = 'tiny-1' AND digest = ?", cell.digest)
    told = again(fewer, 1, suite=str(suite)).problems
    assert told[0].startswith("tiny-1: 1 cells of its rows are missing, and a worst case over few")
    with open_store(folder) as store:
        weak = [name for name in first.members if name not in first.reported]
        kept = (*first.reported[1:], *weak)
        keep(store, "tiny-1", [replace(first, reported=kept), *others])
    problem, other, *_ = again(folder, 1, suite=str(suite)).problems
    assert problem.startswith("tiny-1: 2 cells of its rows are missing"), "of the weaker member"
    assert other.startswith("tiny-1: hgo median: the cells that choose come to another choice")
    suite.write_text(EVALUATED.replace("[10, 11]", "[10, 12]"))
    told = again(folder, 1, suite=str(suite)).problems
    assert "tiny-1: its rows are evaluated in another way" in told


NEAR = """
class Near:
    def __call__(self, values):
        return values.median(0).values{}
"""


def test_a_plug_in_s_source_is_at_hand_or_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = tmp_path / "near_median_x.py"
    source.write_text(NEAR.format(""))
    cell = Scenario(workers=12, f=2, rounds=1, rule="near_median_x:Near", attack="foe")
    with open_store(tmp_path / "theirs") as store:
        store.add(run(cell), "mine-1")
    (cited,) = rows_of([tmp_path / "theirs"])
    path = tmp_path / "card.json"
    path.write_text(made(cited).text())
    (module,) = [m for m in made(cited).content["sources"]["modules"] if "near" in m]
    assert module == "near_median_x"
    source.write_text(NEAR.format(" + 1"))
    rule = "rule 'near_median_x:Near'"
    with pytest.raises(InputError) as refused:
        again(tmp_path / "theirs")
    assert str(refused.value) == (
        f"verify: {rule}: what is here under that name is not what computed the results, or their "
        "ruleset or scenario was changed; put the source that computed them beside"
    )
    with pytest.raises(InputError, match="near_median_x: another source than the one that comput"):
        again(path)
    with pytest.raises(InputError, match=f"card: row .*: the source of {rule} here is not the one"):
        made(cited)
    source.unlink()
    monkeypatch.delitem(sys.modules, "near_median_x")
    for results in (tmp_path / "theirs", path):
        with pytest.raises(
            InputError, match=f"verify: {rule}: its source is not here: module near"
        ):
            again(results)
    with pytest.raises(InputError, match=r"the package that registers 'own_rule' is not installed"):
        check_sources([Scenario.restore({"rule": "own_rule"})])


def test_the_command_says_it_and_its_exit_status_too(
    theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def status(*more: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["verify", str(theirs), "--quiet", "--jobs", "1", "--sample", "2", *more])
        return int(ended.value.code or 0)

    assert status("--format", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["confirmed"], told["sample"], told["identical"]) == (True, 2, 2)
    assert status("--where", "attack=foe", "--where", "seed=0") == 0
    assert "cells: 1; 1 run again" in capsys.readouterr().out
    alter(theirs, "UPDATE results SET seconds = 0.25")
    assert status() == 1
    assert "8 damaged rows" in capsys.readouterr().out
    assert status("--where", "attack=nan") == 2


def rounding(rng: np.random.Generator, cells: int) -> Any:
    """What another processor does: most cells are the same, some move by a few hundredths."""
    moved = rng.random(cells) < 0.3
    return np.where(moved, rng.normal(0, 0.02, cells), 0.0)


@pytest.mark.long
@pytest.mark.parametrize("cells", [6, 20])
def test_the_least_forgery_is_caught_as_often_as_is_said(cells: int) -> None:
    """By the spread of a sample, as a verification knows it, and not by that of all cells."""
    rng = np.random.default_rng(1)
    caught, honest, trials = 0, 0, 200
    for _ in range(trials):
        here = rng.uniform(0.3, 0.7, cells)
        moved = rounding(rng, cells)
        _, least = mean_difference(here + moved, here)
        assert least is not None
        fresh = rounding(rng, cells)
        caught += mean_difference(here + fresh + least, here)[0].p <= LEVEL
        honest += mean_difference(here + fresh, here)[0].p <= LEVEL
    assert caught / trials >= 0.8 - 0.08
    assert caught / trials <= 0.97, "it says no more than it must"
    assert honest / trials <= LEVEL + 0.04


def test_a_difference_that_is_found_has_the_power() -> None:
    for cells, spread in ((6, 1e-3), (20, 4e-4), (600, 1e-2)):
        least = detectable(cells, spread)
        assert least is not None
        assert power(cells, least, spread) == pytest.approx(0.8, abs=1e-6)
    with pytest.raises(InputError, match=r"power: 1; expected more than 0\.05 and less than 1"):
        detectable(20, 0.1, wanted=1)


def test_samples_hold_a_changed_cell_as_often_as_is_said() -> None:
    rng = np.random.default_rng(0)
    changed = found_by_chance(40, 10)
    shares = [
        np.mean([rng.choice(40, 10, replace=False).min() < k for _ in range(4000)])
        for k in (changed, changed - 1)
    ]
    assert shares[0] >= 0.8 - 0.02
    assert shares[1] < 0.8 + 0.02
    assert shares[1] < shares[0]
