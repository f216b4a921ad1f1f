"""Plans: that the clock decides, that equal times are compared, and what the answer says."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgobench import Scenario, run
from hgobench.audits import answer, plan
from hgobench.audits.base import Options, Work
from hgobench.errors import InputError
from hgobench.results import Result, open_store
from hgobench.results.sqlite import SqliteStore
from hgobench.scenario import risks
from hgobench.session import Session
from hgobench.simulation import clock
from tests.test_cli import hgobench

SLOW = "class,count,rate_mean,rate_std,latency\na,30,20000,100,10\n"
LINKS = """class,count,rate_mean,rate_std,uplink,downlink,latency
phone,6,2000,500,2000,9000,0.5
server,4,9000,0,,,0.1
"""


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    @contextmanager
    def progress(total: int) -> Iterator[Callable[[int], None]]:
        yield lambda finished: None

    with open_store(tmp_path / "work") as store:
        yield Work(Session(store, jobs=1))


@pytest.fixture
def links(tmp_path: Path) -> str:
    path = tmp_path / "links.csv"
    path.write_text(LINKS)
    return f"devices[path={path}]"


def asked(*words: str, out: Path) -> dict[str, Any]:
    found = hgobench(
        "plan", *words, "--jobs", "1", "--quiet", "--format", "json", "--out", str(out)
    )
    assert found.returncode == 0, found.stderr
    answered: dict[str, Any] = json.loads(found.stdout)
    return answered


# The clock

TINY: dict[str, Any] = {
    "workers": 8,
    "rounds": 5,
    "batch_size": 4,
    "evaluation_interval": 5,
    "seed": 3,
}


@pytest.mark.parametrize(
    "fields",
    [
        {"tau": 0.1},
        {"tau": 2, "hardware": "network[uplink=900,downlink=3000,latency=0.3]+c2"},
        {"tau": 4, "hardware": "network[uplink=900,latency=0.3,counts=true]+standard"},
        {"tau": math.inf, "hardware": "network[uplink=500]+bernoulli[p=0.7]+pareto", "q": 5},
        {"tau": 3, "hardware": "network[uplink=90]+standard", "algorithm": "sgd"},
        {"tau": 3, "hardware": "network[uplink=90]+c3", "workload": "data_first"},
        {"tau": math.inf, "granularity": "feature", "cost": "unit", "algorithm": "hgo[block=9]"},
    ],
)
def test_the_clock_is_the_ledgers_without_training(fields: dict[str, Any]) -> None:
    scenario = Scenario(**TINY, **fields, rule="average")
    assert list(islice(clock(scenario), 5)) == list(run(scenario).rounds["time"])


@pytest.mark.parametrize(
    "attack", ["crash", "foe", "late[delay=3]+none", "starve+foe", "label_flip"]
)
@pytest.mark.parametrize("tau", [2.0, math.inf])
def test_attackers_only_delay_the_clock(attack: str, tau: float) -> None:
    scenario = Scenario(
        **TINY, tau=tau, f=2, hardware="network[uplink=900,latency=0.3]+standard",
        attack=attack, attack_start=2,
    )  # fmt: skip
    soonest, ledger = (
        np.array(list(islice(clock(scenario), 5))),
        np.array(run(scenario).rounds["time"]),
    )
    assert (soonest <= ledger).all()
    assert (soonest[:2] == ledger[:2]).all(), "before the attack starts"
    if attack == "crash":
        assert (soonest == ledger).all()


@pytest.mark.parametrize("attack", ["none", "foe", "late[delay=9]+foe"])
@pytest.mark.parametrize("tau", [2.0, math.inf])
def test_a_run_ends_within_the_budget_and_would_not_with_one_more_round(
    attack: str, tau: float, links: str, work: Work
) -> None:
    fields = {"hardware": links, "workers": 10, "byzantine": 3, "batch_size": 4, "deadline": tau,
              "rule": "median"}  # fmt: skip
    one, budget = plan.Candidate(math.nan, fields), 40.0
    (result,) = plan.run_to(budget, [(one, attack, 1)], work, plan.Clocks())
    assert result is not None
    more = run(one.cell(result.scenario.rounds + 1, attack, 1))
    assert result.rounds["time"] == more.rounds["time"][:-1]
    assert result.rounds["time"][-1] <= budget < more.rounds["time"][-1]
    assert math.isfinite(result.rounds["validation_accuracy"][-1]), "the last round is evaluated"


def test_a_run_of_which_no_round_fits_is_none(links: str, work: Work) -> None:
    fields = {"hardware": links, "workers": 10, "byzantine": 3, "deadline": 4.0, "rule": "median"}
    one, clocks = plan.Candidate(math.nan, fields), plan.Clocks()
    assert plan.run_to(3.9, [(one, "none", 0)], work, clocks) == [None]
    late = plan.Candidate(math.nan, {**fields, "attack_start": 3})
    assert plan.run_to(13.0, [(late, "foe", 0)], work, clocks) == [None], "nobody has attacked yet"
    score = plan.Score.of({"foe": [None, None]}, 0.5)
    assert score.rank == (-math.inf, 0.0)


def test_tenths_add_up() -> None:
    one = plan.Candidate(math.nan, {"deadline": 0.1, "workers": 8, "rule": "average"})
    assert plan.Clocks().rounds(one, "none", 0, 0.3) == 3


# The search


def test_candidates_are_compared_at_equal_times(tmp_path: Path, work: Work) -> None:
    """Counting rounds by τ alone makes the short deadline win, which the clock never allows."""
    path = tmp_path / "slow.csv"
    path.write_text(SLOW.replace("20000", "700"))
    fields = {"hardware": f"devices[path={path}]", "workers": 8, "sampled": 8, "batch_size": 8,
              "data": "digits", "quorum": 3, "learning_rate": 1.0}  # fmt: skip
    question = plan.Question(0.99, 90.0, among={"deadline": (1.0, 10.0)})
    found = plan.search(Options(1, fields), question, work)
    assert found.rows[found.best].cell.deadline == 10.0

    def by_rounds(deadline: float) -> float:
        one = plan.Candidate(math.nan, {**fields, "deadline": deadline, "rule": "trimmed_mean"})
        ran = run(one.cell(math.floor(90.0 / deadline), "none", 0))
        return float(ran.summary["validation_accuracy"])

    assert by_rounds(1.0) > by_rounds(10.0), "by rounds the other one is better"


def test_devices_that_are_too_slow_are_told_no(tmp_path: Path) -> None:
    (tmp_path / "slow.csv").write_text(SLOW)
    words = ("--target", "0.85", "--budget", "60", "--set", f"hardware=devices[path={tmp_path}/slow.csv]",
             "--set", "workers=30", "--set", "f=3", "--set", "q=24", "--set", "v=12", "--set", "tau=2",
             "--set", "batch_size=32", "--seeds", "1")  # fmt: skip
    found = asked(*words, out=tmp_path / "out")
    assert found["reached"] is False
    assert found["answer"].startswith("No: the only setting reaches 0.")
    assert found["attacks"] == list(plan.ATTACKS)
    assert found["attacks_are_default"] is True
    best = found["recommended"]
    assert best["rounds"] == [2, 2]
    assert best["last_round_ends"] == 44.0
    assert best["time_to_target"] is None
    assert (best["rule"], best["byzantine"], best["sampling_risk"]) == ("trimmed_mean", 3, 0.0)
    assert best["validation_accuracy"]["mean"] == min(best["accuracy_by_attack"].values())
    again = hgobench("plan", *words, "--jobs", "1", "--quiet", "--out", str(tmp_path / "out"))
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("No: ")
    told = " ".join(again.stdout.split())
    for said in (
        "rule: trimmed_mean",
        "f: 3 of 30 workers",
        ", ".join(plan.ATTACKS),
        "sampling risk: 0 per",
    ):
        assert said in told
    assert max(map(len, again.stdout.splitlines())) <= 80
    page = (tmp_path / "out" / "pages" / "plan.html").read_text(encoding="utf-8")
    for said in (
        "trimmed_mean",
        "3 of 30 workers",
        "sign_flip, foe, foe[epsilon=1]",
        "sampling risk",
    ):
        assert said in page


SMALL = ("--set", "workers=10", "--set", "sampled=10", "--set", "batch_size=8", "--seeds", "2")


@pytest.mark.long
def test_a_plan_names_the_fewest_powerful_devices(tmp_path: Path) -> None:
    words = ("--target", "0.5", "--budget", "12", "--set", "tau=2,4", "--set", "v=3", *SMALL)
    found = asked(*words, out=tmp_path)
    shares = [row["powerful"] for row in found["frontier"]]
    assert shares == list(plan.SHARES)
    chosen = [row["validation_accuracy"]["when_chosen"] >= 0.5 for row in found["frontier"]]
    assert found["recommended"] == found["frontier"][chosen.index(True)]
    assert found["recommended"]["powerful"] < 1.0
    assert found["attacks"] == ["none"]
    assert set(found["chosen_with_seeds"]).isdisjoint(found["checked_with_seeds"])
    for row in found["frontier"]:
        assert row["last_round_ends"] <= 12
        if row["time_to_target"] is not None:
            assert row["time_to_target"] <= 12
    assert found["settings_tried"] == 2 * len(plan.SHARES)
    with open_store(tmp_path, create=False) as store:
        kept = [result.scenario.seed for _, result in store.results()]
    assert set(kept) == {0, 1, 2, 3}
    again = hgobench(
        *shlex.split(found["command"])[1:], "--jobs", "1", "--quiet", "--out", str(tmp_path)
    )
    assert again.stdout.startswith(found["answer"][:40])
    assert max(map(len, again.stdout.splitlines())) <= 80
    with open_store(tmp_path, create=False) as store:
        assert len(store) == len(kept), "the same command computes nothing again"


def test_a_fleet_of_ones_own_gets_a_frontier_of_time_bytes_and_risk(
    links: str, tmp_path: Path
) -> None:
    found = asked(
        "--target", "0.5", "--budget", "60", "--set", f"hardware={links}", "--set", "workers=10",
        "--set", "f=1", "--set", "q=6,10", "--set", "tau=2,8", "--set", "v=3", "--set", "batch_size=8",
        "--rule", "median,trimmed_mean", "--attack", "foe,crash", "--seeds", "1", "--data", "digits",
        "--time-unit", "0.5", out=tmp_path / "out",
    )  # fmt: skip
    assert found["settings_tried"] == 8
    assert found["attacks"] == ["foe", "crash"]
    assert found["attacks_are_default"] is False
    assert all(row["powerful"] is None for row in found["frontier"])
    assert {row["scenario"]["hardware"] for row in found["frontier"]} == {links}
    assert found["question"]["time_unit_seconds"] == 0.5
    for row in found["frontier"]:
        assert row["bytes_up"] > 0
        assert row["bytes_down"] > 0
        assert 0 <= row["run_risk"] <= 1
        assert row["last_round_ends"] <= 60
    limits = [share * 60 for share in (*plan.RUNGS, 1.0)]
    with open_store(tmp_path / "out", create=False) as store:
        silent = [result for _, result in store.results() if result.scenario.attack == "crash"]
    for result in silent:
        ends = result.rounds["time"]
        more = next(islice(clock(result.scenario), len(ends), None))
        assert any(ends[-1] <= limit < more for limit in limits), "all are run to the same times"
    page = (tmp_path / "out" / "pages" / "plan-frontier.csv").read_text(encoding="utf-8")
    header = page.splitlines()[0].split(",")
    assert {
        "time (units)",
        "time (s)",
        "q",
        "v",
        "τ",
        "s",
        "rule",
        "MB up",
        "MB down",
        "risk",
    } <= set(header)
    assert "powerful" not in header


def test_a_budget_in_seconds_is_that_in_time_units(tmp_path: Path) -> None:
    words = (
        "--target",
        "0.5",
        "--set",
        "hardware=powerful",
        "--set",
        "tau=2",
        "--set",
        "v=3",
        *SMALL,
    )
    units = asked("--budget", "8", *words, out=tmp_path)
    seconds = asked("--budget", "4s", "--time-unit", "0.5", *words, out=tmp_path)
    assert seconds["recommended"] == units["recommended"]
    assert "within 8 time units (4 s)" in seconds["answer"]


def test_what_is_not_computed_yet_is_computed_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("plan", "--target", "0.5", "--budget", "8", "--set", "hardware=powerful", "--set", "tau=2",
             "--set", "v=3,4", *SMALL, "--jobs", "1", "--quiet", "--out", str(tmp_path))  # fmt: skip
    add_all, left = SqliteStore.add_all, iter([True])

    def until_interrupted(self: SqliteStore, *args: Any, **named: Any) -> None:
        if not next(left, False):
            raise KeyboardInterrupt
        add_all(self, *args, **named)

    monkeypatch.setattr(SqliteStore, "add_all", until_interrupted)
    found = hgobench(*words)
    assert found.returncode == 130
    assert "interrupted; the same command goes on" in found.stderr
    with open_store(tmp_path, create=False) as store:
        assert len(store) > 0
    monkeypatch.setattr(SqliteStore, "add_all", add_all)
    assert hgobench(*words).returncode == 0


# Scores and halving


def ran(accuracies: list[float], seed: int = 0, status: Any = "done") -> Result:
    """Return a run that is evaluated every second round, each round one time unit long."""
    seen = [value for a in accuracies for value in (math.nan, a)]
    n = len(seen)
    rounds: dict[str, list[Any]] = {
        "round": list(range(1, n + 1)), "time": [float(k) for k in range(1, n + 1)],
        "validation_accuracy": seen, "test_accuracy": [a / 2 for a in seen],
        "test_loss": [0.0] * n, "bytes_up": [1] * n, "bytes_down": [10] * n,
        **{name: [0] * n for name in ("stalled", "block_size", "heard", "byzantine_heard", "malformed",
                                      "coordinates")},
    }  # fmt: skip
    return Result(Scenario(rounds=n, seed=seed), rounds, status)


def test_a_score_is_that_of_the_worst_attack_in_each_seed() -> None:
    score = plan.Score.of(
        {"foe": [ran([0.9, 0.7, 0.8]), ran([0.5, 0.9, 0.9])], "alie": [ran([0.8, 0.8, 0.9]), ran([0.5, 0.6, 0.8])]},
        target=0.75,
    )  # fmt: skip
    assert score.times.tolist() == [6.0, 6.0], "from when on all are at the target"
    assert score.accuracies.tolist() == [0.8, 0.8]
    assert score.tests.tolist() == [0.4, 0.4]
    assert score.up.tolist() == [6.0, 6.0]
    assert score.attacks == pytest.approx({"foe": 0.85, "alie": 0.85})
    assert (score.rounds, score.end) == ((6, 6), 6.0)
    assert score.reached(0.8)
    assert score.sure(0.8)
    early = plan.Score.of({"none": [ran([0.8, 0.9, 0.9])]}, target=0.75)
    assert (early.times.tolist(), early.up.tolist(), early.down.tolist()) == ([2.0], [2.0], [20.0])
    assert not early.sure(0.1), "one seed is never sure"
    died = plan.Score.of({"none": [ran([0.8, 0.9], status="diverged")]}, target=0.75)
    assert died.rank == (-math.inf, 0.0)


def test_an_interval_of_accuracies_lies_within_0_and_1() -> None:
    score = plan.Score.of({"none": [ran([0.5]), ran([1.0])]}, target=0.75)
    assert score.accuracy == (0.75, 0.0, 1.0)
    assert score.reached(0.75)
    assert not score.sure(0.75)


def test_what_is_first_and_sure_is_best() -> None:
    def rank(*accuracies: float) -> tuple[float, float]:
        return plan.Score.of({"none": [ran(list(accuracies))]}, 0.8).rank

    ranked = [rank(0.7, 0.9), rank(0.8, 0.8), rank(0.9, 0.79), rank(0.5, 0.5)]
    assert sorted(ranked, reverse=True) == [ranked[1], ranked[0], ranked[2], ranked[3]]


def test_halving_keeps_of_each_group_a_third_and_what_has_had_no_round_yet() -> None:
    settings = {**plan.BASE, "workers": 10, "batch_size": 8, "quorum": 2, "deadline": 1.0}
    grid, refused = plan.candidates(settings, among={"learning_rate": tuple(np.arange(1.0, 8.0))})
    assert len(grid) == len(plan.SHARES) * len(plan.SAMPLED) * 7
    assert not refused
    score = {rate: plan.Score.of({"none": [ran([rate / 10])]}, 0.99) for rate in range(1, 8)}
    scores = [
        None if one.fields["learning_rate"] == 1 else score[one.fields["learning_rate"]]
        for one in grid
    ]
    kept = plan.halved(grid, scores)
    for share in plan.SHARES:
        rates = sorted(one.fields["learning_rate"] for one in kept if one.share == share)
        assert rates == [1.0, 1.0, 6.0, 6.0, 7.0, 7.0], "4 of 12, and the two without a round"


def test_the_grid_leaves_out_what_is_set_and_says_what_is_refused(links: str) -> None:
    grid, _ = plan.candidates({**plan.BASE, "workers": 10, "sampled": 10, "batch_size": 8})
    assert len(grid) == len(plan.SHARES) * len(plan.QUORUMS) * len(plan.DEADLINES)
    assert {one.fields["quorum"] for one in grid} == {1, 2, 5}, "what the rule needs, 1/4, 1/2"
    settings = {**plan.BASE, "workers": 10, "byzantine": 2, "hardware": links, "sampled": 6}
    grid, refused = plan.candidates(settings, 100.0, rules=("median", "bulyan"))
    assert {one.fields["rule"] for one in grid} == {"median"}
    assert all(math.isnan(one.share) for one in grid)
    (reason,) = refused
    assert "bulyan" in reason
    deadlines = {one.fields["deadline"] for one in grid}
    assert len(deadlines) == len(plan.DEADLINE_SHARES), "in relation to what these devices need"
    assert max(deadlines) == pytest.approx(2 * 8 * 650 / 2100, rel=0.3)


def test_of_given_devices_what_another_beats_in_everything_is_left_out() -> None:
    def pair(time: int, bytes_: int, q: int) -> tuple[plan.Candidate, plan.Score]:
        one = plan.Candidate(math.nan, {"sampled": q, "rule": "median", "hardware": "c1"})
        score = plan.Score.of({"none": [ran([0.1] * (time // 2) + [0.9])]}, 0.5)
        object.__setattr__(score, "up", np.array([float(bytes_)]))
        object.__setattr__(score, "down", np.array([1.0]))
        return one, score

    fast, small, worse = pair(4, 9, 10), pair(8, 3, 20), pair(8, 9, 30)
    assert plan.frontier([worse, small, fast]) == [fast, small]
    never = plan.Candidate(math.nan, fast[0].fields), plan.Score.of({"none": [ran([0.3])]}, 0.5)
    assert plan.frontier([never]) == [never]


# What is said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--target", "0.5", "--budget", "0.5", "--set", "q=20", "--set", "v=3"),
         "--budget: 0.5; not one round fits: the shortest takes 1 time unit, with q=20, τ=1, s=4"),
        (("--target", "0.5", "--budget", "30s", "--time-unit", "40", "--set", "tau=3", "--set", "q=20", "--set", "v=3"),
         "--budget: 0.75; not one round fits: the shortest takes 3 time units (120 s)"),
        (("--target", "0.5", "--budget", "1e300", "--set", "q=20", "--set", "v=3"), "--budget: 1e+300; more than 1,000,000"),
        (("--target", "0.5", "--budget", "3", "--set", "data=mnist"), "--set: data: use --data"),
        (("--target", "1.5", "--budget", "3"), "--target: 1.5; expected an accuracy in (0, 1)"),
        (("--target", "0.5", "--budget", "-3"), "--budget: '-3'; expected a finite number of time"),
        (("--target", "0.5", "--budget", "inf"), "--budget: 'inf'; expected a finite number of time"),
        (("--target", "0.5", "--budget", "60s"),
         "--budget: '60s'; how long a time unit lasts is not known: add --time-unit SECONDS"),
        (("--target", "0.5", "--budget", "6", "--time-unit", "0"),
         "--time-unit: '0'; expected a number of seconds > 0, or calibrate"),
        (("--target", "0.5", "--budget", "3", "--data", "digits[validation=0]"),
         "data: 'digits[validation=0.0]' has no validation examples to choose on"),
        (("--target", "0.5", "--budget", "3", "--attack", "foe"), "attack: 'foe'; expected byzantine >= 1"),
        (("--target", "0.5", "--budget", "3", "--set", "f=1,2"), "--set: byzantine: 2 values; expected one"),
        (("--target", "0.5", "--budget", "3", "--set", "q=9,10", "--set", "sampled=8"),
         "--set: sampled: given twice"),
        (("--target", "0.5", "--budget", "3", "--set", "q=200"),
         "sampled: 200; expected at most workers=100"),
        (("--target", "0.5", "--budget", "3", "--set", "q=200,300"),
         "plan: every setting is refused: sampled: 200; expected at most workers=100"),
        (("--target", "0.5", "--budget", "3", "--set", "f=9", "--set", "attack_start=50", *SMALL[2:],
          "--set", "tau=1", "--set", "hardware=weak", "--attack", "foe"),
         "--budget: 3.0; no round under attack ends in time: attacks start after attack_start=50"),
        (("--target", "0.5", "--budget", "3", "--set", "rounds=3"), "--set: rounds: the audit chooses it"),
        (("--target", "0.5", "--budget", "3", "--format", "csv"), "'csv' is not one of 'table', 'json'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    found = hgobench("plan", *words, "--out", str(tmp_path / "out"))
    assert found.returncode == 2
    assert message in found.stderr


def test_the_default_attacks_are_for_byzantine_workers() -> None:
    question = plan.Question(0.5, 9.0)
    assert plan.checked_settings(Options(), question)[1] == ("none",)
    assert plan.checked_settings(Options(settings={"byzantine": 5}), question)[1] == plan.ATTACKS
    with pytest.raises(InputError, match="attack: 'foe'; expected byzantine"):
        plan.checked_settings(Options(attacks=("foe",)), question)


def planned(best: list[float], other: list[float], target: float = 0.8) -> plan.Plan:
    def row(share: float, accuracies: list[float]) -> plan.Row:
        one = plan.Candidate(share, {"sampled": 10, "quorum": 3, "rule": "median"})
        score = plan.Score.of(
            {"none": [ran([a], seed) for seed, a in enumerate(accuracies)]}, target
        )
        return plan.Row(one, score, score)

    rows = [row(0.1, best), row(0.4, other)]
    return plan.Plan(
        plan.Question(target, 2.0, 3.0), Options(), plan.BASE, ("none",), False, 2, {}, [], [], rows, 0,
        range(1), range(1, 1 + len(best)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("best", "other", "start", "end"),
    [
        ([0.9, 0.91], [0.1, 0.1], "Yes: 10% powerful devices reach 0.905 (0.841 to 0.969, 2 seeds) within "
         "2 time units (6 s); the target is 0.8 (rule trimmed_mean, no Byzantine workers (f = 0)).", "."),
        ([0.1, 0.1], [0.2, 0.2], "No: ", "."),
        ([0.1, 0.1], [0.9, 0.91], "No: ",
         "Yes with 40% powerful devices: 0.905 (0.841 to 0.969, 2 seeds)."),
        ([0.7, 0.95], [0.1, 0.1], "Yes, though the interval leaves it open: ", "."),
        ([0.6, 0.95], [0.1, 0.1], "No, though the interval leaves it open: ", "."),
        ([0.9], [0.1], "Yes: 10% powerful devices reach 0.900 (one seed) ", "."),
    ],
)  # fmt: skip
def test_the_answer_is_a_sentence(
    best: list[float], other: list[float], start: str, end: str
) -> None:
    said = answer.sentence(planned(best, other))
    assert said.startswith(start)
    assert said.endswith(end)


def test_the_command_that_asks_again_is_quoted() -> None:
    words = ["plan", "--data", "csv[path=my file.csv]", "--set", "sampled=6,10"]
    options = Options(2, {"hardware": "devices[path=a b.csv]"}, ("median",), ("foe",))
    assert shlex.split(options.command(shlex.join(words))) == [
        "hgobench", *words, "--seeds", "2", "--set", "hardware=devices[path=a b.csv]",
        "--rule", "median", "--attack", "foe",
    ]  # fmt: skip


def test_the_risk_is_of_what_is_tolerated() -> None:
    fields: dict[str, Any] = {
        "workers": 20,
        "byzantine": 6,
        "sampled": 10,
        "rule": "median",
        "rounds": 3,
    }
    hgo, sgd = Scenario(**fields, quorum=9), Scenario(**fields, algorithm="sgd", tolerated=4)
    assert risks(hgo) == (hgo.sampling_risk, hgo.run_risk)
    tail = sum(math.comb(6, k) * math.comb(14, 10 - k) for k in (5, 6)) / math.comb(20, 10)
    assert risks(sgd) == pytest.approx((tail, 1 - (1 - tail) ** 3))


def test_a_seed_without_a_round_is_said_to_count_as_0() -> None:
    found = planned([0.9, 0.9], [0.1, 0.1])
    row = found.rows[0]
    score = plan.Score.of({"none": [ran([0.9]), None]}, 0.8)
    object.__setattr__(row, "checked", score)
    assert score.accuracies.tolist() == [0.9, 0.0]
    assert (
        dict(answer.facts(found))["no round"] == "ends in time with 1 of 2 seeds: an accuracy of 0"
    )
    assert dict(answer.facts(found))["clock"].startswith("0 to 2 rounds; ")


@pytest.mark.parametrize(
    ("share", "named", "fleet"),
    [(0.0, "weak devices alone", "weak devices alone"),
     (0.2, "20% powerful devices", "20% powerful devices, the others weak"),
     (1.0, "powerful devices alone", "powerful devices alone")],
)  # fmt: skip
def test_devices_are_named(share: float, named: str, fleet: str) -> None:
    found = planned([0.9, 0.9], [0.1, 0.1])
    object.__setattr__(found.rows[0].candidate, "share", share)
    assert f"Yes: {named} reach 0.900" in answer.sentence(found)
    assert dict(answer.facts(found))["devices"] == fleet
