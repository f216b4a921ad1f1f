"""A rule from every side, and whose values rules use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hgobench import Scenario, aggregators
from hgobench.audits import Options, Work, rule, run
from hgobench.errors import InputError
from hgobench.evaluation import members
from hgobench.evaluation.members import Member
from hgobench.metrics.influence import influences, moved, unlike
from hgobench.report import files
from hgobench.results import open_store
from hgobench.session import Session
from tests.test_cli import hgobench

FEW = (
    Member("crash", "fault", ("crash",)),
    Member("sign_flip", "fixed", ("sign_flip",)),
    Member("foe", "fixed", ("foe",)),
    Member("min_max", "optimised", ("min_max",)),
)
SETTINGS = {"workers": 12, "byzantine": 2, "rounds": 6, "evaluation_interval": 6}


@pytest.mark.parametrize("scope", ["block", "coordinate"])
def test_the_average_follows_everybody_equally(scope: str) -> None:
    values = torch.from_numpy(np.random.default_rng(0).standard_normal((7, 40)))
    average = aggregators.build("average", scope=scope)  # type: ignore[arg-type]
    np.testing.assert_allclose(moved(average, values), 1 / 7, rtol=1e-6)


def test_who_is_chosen_is_followed_and_nobody_else() -> None:
    values = torch.from_numpy(np.random.default_rng(1).standard_normal((9, 40)))
    krum = aggregators.build("krum", f=2)
    chosen = int((values == krum(values)).all(dim=1).nonzero()[0, 0])
    np.testing.assert_allclose(moved(krum, values), np.eye(9)[chosen], atol=1e-6)
    many = aggregators.build("multi_krum", f=2)
    followed = moved(many, values)
    assert sorted(np.round(followed * 5, 6)) == [0] * 4 + [1] * 5


@pytest.mark.parametrize("far", [1e3, 1e9, 1e15, -1e30])
def test_one_vector_that_is_far_away_changes_no_other_s_share(far: float) -> None:
    """Against the closed forms; vectors of the middle lie 1e-3 and less apart."""
    values = torch.from_numpy(1e-3 * np.random.default_rng(6).standard_normal((7, 400)))
    values[3] = far
    ranks = values.argsort(dim=0).argsort(dim=0)
    median = moved(aggregators.build("median", f=1), values)
    np.testing.assert_allclose(median, (ranks == 3).double().mean(dim=1), atol=1e-6)
    average = aggregators.build("average")
    np.testing.assert_allclose(moved(average, values), 1 / 7, rtol=1e-3)
    krum = aggregators.build("krum", f=2)
    chosen = (values == krum(values)).all(dim=1).double()
    np.testing.assert_allclose(moved(krum, values), chosen, atol=1e-6)


@pytest.mark.parametrize("asked", [influences, moved])
@pytest.mark.parametrize("name", ["average", "median", "geometric_median", "krum"])
def test_of_what_all_sent_alike_nothing_shows_whose_it_is(asked: Any, name: str) -> None:
    """Columns in which all are equal count for nobody, alone or beside others."""
    rule_, values = aggregators.build(name, f=1), torch.full((5, 6), 3.0)
    assert np.isnan(asked(rule_, values)).all()
    other = torch.from_numpy(np.random.default_rng(8).standard_normal((5, 400)))
    both = torch.cat((other, torch.zeros(5, 100)), dim=1)
    np.testing.assert_allclose(asked(rule_, both), asked(rule_, other), atol=1e-6)


@pytest.mark.parametrize("asked", [influences, moved])
def test_no_answer_follows_what_is_not_finite(asked: Any) -> None:
    values = torch.tensor([[1.0, 2.0], [np.nan, 3.0], [4.0, 5.0], [2.0, 2.5]])
    followed = asked(aggregators.build("median"), values)
    np.testing.assert_allclose(followed, [0.0, 0.5, 0.25, 0.5], atol=1e-6)


@pytest.mark.parametrize("name", ["average", "geometric_median"])
def test_values_may_be_of_a_graph(name: str) -> None:
    values = torch.from_numpy(np.random.default_rng(8).standard_normal((5, 6)))
    expected = influences(aggregators.build(name), values)
    followed = influences(aggregators.build(name), values.clone().requires_grad_())
    np.testing.assert_array_equal(followed, expected)


def test_a_coordinate_wise_rule_follows_each_as_often_as_it_is_in_the_middle() -> None:
    values = torch.from_numpy(np.random.default_rng(2).standard_normal((5, 400)))
    followed = moved(aggregators.build("median"), values)
    ranks = values.argsort(dim=0).argsort(dim=0)
    np.testing.assert_allclose(followed, (ranks == 2).double().mean(dim=1), atol=1e-6)
    assert followed.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("asked", [influences, moved])
def test_on_ragged_input_it_is_the_mean_over_what_a_worker_sent(asked: Any) -> None:
    values = torch.from_numpy(np.random.default_rng(3).standard_normal((4, 6)))
    present = torch.ones(4, 6, dtype=torch.bool)
    present[0, 3:] = False
    present[3] = False
    average = aggregators.build("average", scope="coordinate")
    followed = asked(average, values, present)
    # Three send the first three coordinates, two the others.
    np.testing.assert_allclose(followed, [1 / 3, 5 / 12, 5 / 12, 0.0], rtol=1e-6)


def test_a_stateful_rule_keeps_its_memory() -> None:
    rule_ = aggregators.build("centered_clipping", f=1)
    values = torch.from_numpy(np.random.default_rng(4).standard_normal((5, 8)))
    first = aggregators.build("centered_clipping", f=1)
    moved(rule_, values)
    torch.testing.assert_close(rule_(values), first(values))


def test_how_unlike_labels_are_is_their_distance_in_total_variation() -> None:
    held = np.array([[6, 0], [0, 4], [3, 2]])
    np.testing.assert_allclose(unlike(held), [0.4, 0.6, 0.0], atol=1e-12)


@pytest.mark.long
def test_a_page_of_one_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(members.ENSEMBLES, "auto-1", FEW)
    monkeypatch.setattr(rule, "KAPPA_WORKERS", 5)
    monkeypatch.setattr(rule, "SHAPES", ((8, 100),))
    monkeypatch.setattr(rule, "RATES", (0.2, 0.5))
    monkeypatch.setattr(rule, "RECORDED", (2, 4))
    options = Options(seeds=2, settings=SETTINGS, rules=("median",))
    with open_store(tmp_path / "store") as store:
        work = Work(Session(store, jobs=1))
        run("rule", replace(options, seeds=1), work)  # other seeds, in the same folder
        page = run("rule", options, work)
    tables = {table.name: table for table in page.tables}
    assert {row[1] for row in tables["members"].rows} == {member.name for member in FEW}
    assert [row[0] for row in tables["told"].rows] == ["0", "1", "2", "4"]
    assert {row[2] for row in tables["laws"].rows} <= {"pass", "not applicable"}
    assert {chart.name for chart in page.charts} == {"breakdown", "kappa"}
    laws, faults, flags, kappa = page.findings
    assert laws.holds is True
    assert kappa.holds is True
    assert isinstance(faults.holds, bool)
    assert isinstance(flags.holds, bool)
    files.write(tmp_path, page)
    kept = json.loads((tmp_path / "rule.json").read_text())
    assert kept["rule"] == "median"
    assert [len(accuracies) for accuracies in kept["fresh"].values()] == [2] * 4
    shares = [share for share in kept["used"]["followed"] if share is not None]
    assert np.mean(shares) == pytest.approx(1.0, abs=0.35)


def test_whose_values_are_used_is_taken_where_nobody_attacks() -> None:
    fields = Scenario(**{**rule.BASE, **SETTINGS}, rule="average", algorithm="sgd").to_dict()
    used = rule.use({**fields, "hardware": "powerful"})
    heard = [share for share in used["followed"] if share is not None]
    np.testing.assert_allclose(heard, 1.0, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(), "rule: none; expected one: hgobench audit rule NAME"),
        (Options(rules=("median", "krum")), "rules: median, krum; this audit takes 1"),
        (
            Options(rules=("median",), settings={"attack": "foe"}),
            "settings: attack: the audit chooses it",
        ),
        (Options(rules=("medain",)), "rule: unknown 'medain'; did you mean 'median'?"),
    ],
)
def test_what_can_not_be_audited_is_refused(options: Options, message: str) -> None:
    with pytest.raises(InputError) as caught:
        rule.check(options)
    assert any(problem.startswith(message) for problem in caught.value.problems)


def test_the_command_takes_the_rule_after_its_name(tmp_path: Path) -> None:
    shown = hgobench("audit", "rule", "medain", "--out", str(tmp_path))
    assert shown.returncode == 2
    assert "did you mean 'median'?" in shown.stderr
