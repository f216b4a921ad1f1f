from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from hgobench import Scenario, World, hardware, run
from hgobench.algorithms import workloads
from hgobench.errors import InputError
from hgobench.hardware import Fleet, Population
from hgobench.results import COLUMNS, Result
from tests.algorithm_1 import split

PROFILES = [name for name in hardware.registry.builtins if name not in ("devices", "real")]


def fleet(
    profile: str,
    workers: int = 100,
    dimension: int = 7850,
    seed: int = 0,
    labels: np.ndarray | None = None,
) -> Fleet:
    labels = np.ones((workers, 2), dtype=np.int64) if labels is None else labels
    made = hardware.registry.build(profile)
    return made.fleet(Population(workers, dimension, seed, labels))


def rates(profile: str, workers: int = 100, dimension: int = 7850, seed: int = 0) -> np.ndarray:
    return fleet(profile, workers, dimension, seed).rates


@pytest.mark.parametrize("profile", PROFILES)
def test_rates_are_positive_and_repeat(profile: str) -> None:
    assert (rates(profile, 5000) > 0).all()
    assert np.array_equal(rates(profile), rates(profile))
    assert not np.array_equal(rates(profile), rates(profile, seed=1))


def test_weak_rates_follow_the_truncated_normal() -> None:
    """500 ± 250, truncated at 0: a Kolmogorov-Smirnov test with a fixed seed."""
    law = stats.truncnorm(-2, np.inf, loc=500, scale=250)
    assert stats.kstest(rates("weak", 20_000), law.cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("profile", "shares"),
    [
        ("standard", (30, 40, 30)),
        ("weak", (100, 0, 0)),
        ("min", (90, 0, 10)),
        ("c1", (90, 10, 0)),
        ("c2", (70, 30, 0)),
        ("c3", (50, 50, 0)),
        ("powerful", (0, 0, 100)),
        ("mix[weak=0.2,average=0.2,powerful=0.6]", (20, 20, 60)),
    ],
)
def test_presets_have_their_categories(profile: str, shares: tuple[int, ...]) -> None:
    found = rates(profile)
    weak, powerful = int((found < 2000).sum()), int((found > 17_500).sum())
    assert (weak, 100 - weak - powerful, powerful) == shares


def test_capable_workers_of_one_profile_are_capable_in_a_stronger_one() -> None:
    capable = [set(np.flatnonzero(rates(profile) > 2000)) for profile in ("c1", "c2", "c3")]
    assert capable[0] < capable[1] < capable[2]


def test_rates_scale_with_the_model() -> None:
    np.testing.assert_allclose(rates("standard", dimension=650) / 650, rates("standard") / 7850)


def test_a_category_s_parameters_can_be_set() -> None:
    assert set(rates("weak[weak_mean=100,weak_std=0]")) == {100.0}


def test_lognormal_and_pareto_rates_have_their_distributions() -> None:
    lognormal = stats.lognorm(s=0.7, scale=3000)
    assert (
        stats.kstest(rates("lognormal[median=3000,sigma=0.7]", 5000), lognormal.cdf).pvalue > 0.01
    )
    pareto = stats.pareto(1.5, scale=200)
    assert stats.kstest(rates("pareto[minimum=200,shape=1.5]", 5000), pareto.cdf).pvalue > 0.01


def test_who_is_strong_in_one_fleet_is_strong_in_another() -> None:
    order = [list(np.argsort(rates(name, 30))) for name in ("lognormal", "pareto")]
    assert order[0] == order[1]
    strong = set(np.flatnonzero(rates("c2") > 2000))
    assert strong == set(np.argsort(rates("pareto"))[-30:])


DEVICES = """class,count,rate_mean,rate_std,uplink,downlink,latency,availability
phone,6,300,50,100,500,0.5,0.5
laptop,3,9000,0,,1000,,
server,1,50000,,inf,,0,1
"""


def test_devices_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text(DEVICES)
    found = fleet(f"devices[path={path}]", 100, dimension=10)
    phone, laptop, server = found.rates < 1000, found.rates == 9000, found.rates == 50000
    assert (phone.sum(), laptop.sum(), server.sum()) == (60, 30, 10)
    assert set(found.uplink[phone]) == {100}
    assert set(found.uplink[~phone]) == {np.inf}
    assert set(found.downlink[laptop]) == {1000}
    assert set(found.latency[phone]) == {0.5}
    assert not found.transfer_counts_towards_deadline
    assert fleet(f"devices[path={path},counts=true]").transfer_counts_towards_deadline
    there = np.array([found.available(k) for k in range(1, 201)])
    assert there[:, ~phone].all()
    assert there[:, phone].mean() == pytest.approx(0.5, abs=0.02)
    exact = fleet(f"devices[path={path}]", 10)
    assert (exact.rates < 1000).sum() == 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "class,count,rate_mean\na,1,fast\nb,-1,5\nc,1,0\n",
            [
                "line 2: rate_mean: 'fast'; expected a number > 0",
                "line 3: count: '-1'; expected an integer >= 0",
                "line 4: rate_mean: '0'; expected a number > 0",
            ],
        ),
        (
            "class,count,rate_mean,availability\na,1,5,1.5\n",
            ["line 2: availability: '1.5'; expected a number >= 0 and <= 1"],
        ),
        (
            "class,cuont,rate_mean\na,1,5\n",
            [
                "line 1: column: unknown 'cuont'; did you mean 'count'?",
                "line 1: column 'count' is missing",
            ],
        ),
        ("class,count,rate_mean\na,1\n", ["line 2: 2 values; the header names 3"]),
        ("class,count,rate_mean\na,0,5\n", [": no devices; expected a count >= 1"]),
        (
            "class,count,rate_mean\na,1,inf\n",
            ["line 2: rate_mean: 'inf'; expected a number > 0 and <= 1e+30"],
        ),
        (
            "class,count,rate_mean,latency\na,1,10,inf\n",
            ["line 2: latency: 'inf'; expected a finite number >= 0"],
        ),
        ("class,count,rate_mean\n", ["no lines behind the header"]),
        (
            "class,count,rate_mean\n" + "a,x,1\n" * 30,
            [*[f"line {2 + i}: count: 'x'" for i in range(20)], "10 more"],
        ),
    ],
)
def test_wrong_devices_are_named_line_by_line(
    tmp_path: Path, content: str, message: list[str]
) -> None:
    path = tmp_path / "devices.csv"
    path.write_text(content)
    with pytest.raises(InputError) as error:
        hardware.registry.build(f"devices[path={path}]")
    assert len(error.value.problems) == len(message)
    for problem, part in zip(error.value.problems, message, strict=True):
        assert str(path) in problem
        assert part in problem


def test_a_file_that_is_not_there_is_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match=r"'no\.csv': No such file or directory"):
        Scenario(hardware="devices[path=no.csv]")


def test_bernoulli_devices_are_there_with_probability_p() -> None:
    found = fleet("bernoulli[p=0.7]+c1", 50)
    there = np.array([found.available(k) for k in range(1, 401)])
    assert stats.binomtest(int(there.sum()), there.size, 0.7).pvalue > 0.01
    lag = np.corrcoef(there[:-1].ravel(), there[1:].ravel())[0, 1]
    assert abs(lag) < 0.03
    assert fleet("c1").available(1) is None


def test_markov_devices_leave_and_come_back() -> None:
    found = fleet("markov[leave=0.1,join=0.3]+c1", 50)
    there = np.array([found.available(k) for k in range(1, 401)])
    left = there[:-1] & ~there[1:]
    joined = ~there[:-1] & there[1:]
    assert stats.binomtest(int(left.sum()), int(there[:-1].sum()), 0.1).pvalue > 0.01
    assert stats.binomtest(int(joined.sum()), int((~there[:-1]).sum()), 0.3).pvalue > 0.01
    assert there.mean() == pytest.approx(0.75, abs=0.02)
    # Whichever round is asked for first.
    again = fleet("markov[leave=0.1,join=0.3]+c1", 50)
    assert list(again.available(77)) == list(there[76])  # type: ignore[arg-type]


TRACE = "worker,round,state\n3,2,off\n3,4,on\n0,1,off\n"


def test_a_trace_says_who_is_there(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    found = fleet(f"trace[path={path}]+c1", 5)
    away = [set(np.flatnonzero(~found.available(k))) for k in range(1, 6)]  # type: ignore[operator]
    assert away == [{0}, {0, 3}, {0, 3}, {0}, {0}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("worker,round,state\n1,0,on\n", "line 2: round: '0'; expected an integer >= 1"),
        ("worker,round,state\n1,1,gone\n", "line 2: state: 'gone'; expected 'on' or 'off'"),
        (
            "worker,round,state\n1,2,on\n\n1,2,off\n",
            "line 4: worker 1, round 2 is in line 2 already",
        ),
        (
            "worker,round,state\n9,1,off\n",
            "line 2: worker: 9; expected at most 4, as workers=5",
        ),
    ],
)
def test_wrong_traces_are_named_line_by_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(content)
    with pytest.raises(InputError) as error:
        fleet(f"trace[path={path}]+c1", 5)
    assert message in error.value.problems[0]


def test_conditions_add_up_and_apply_from_the_last_on(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("worker,round,state\n0,1,off\n")
    both = fleet(f"bernoulli[p=0.5]+trace[path={path}]+c1", 50)
    one = fleet("bernoulli[p=0.5]+c1", 50)
    for k in range(1, 20):
        there = one.available(k)
        assert there is not None
        there[0] = False
        assert list(both.available(k)) == list(there)  # type: ignore[arg-type]
    # Whom the trace names is whoever has the place, not the device, unless devices move after it.
    labels = np.array([[9, 0], [0, 1], [9, 0], [9, 0]])
    path.write_text("worker,round,state\n0,1,off\n")
    away = [
        np.flatnonzero(~fleet(spec, 4, labels=labels).available(1))  # type: ignore[operator]
        for spec in (
            f"trace[path={path}]+rare_labels+pareto",
            f"rare_labels+trace[path={path}]+pareto",
        )
    ]
    assert list(away[0]) == [0]
    slowest = int(np.argmin(fleet("pareto", 4).rates))
    assert (list(away[1]) == [1]) == (slowest == 0)


def test_draws_of_availability_depend_on_the_seed() -> None:
    for name in ("bernoulli[p=0.5]+c1", "markov[leave=0.5,join=0.5]+c1"):
        first, second = (fleet(name, 50, seed=seed).available(1) for seed in (0, 1))
        assert list(first) != list(second)  # type: ignore[arg-type]


def test_a_condition_alone_stands_before_standard_devices() -> None:
    assert Scenario(hardware="bernoulli").hardware == "bernoulli+standard"


def test_a_network_keeps_what_it_does_not_set(tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text("class,count,rate_mean,uplink\na,1,10,5\nb,1,900,7\n")
    found = fleet(f"network[latency=2]+devices[path={path},counts=true]", 10)
    assert set(found.uplink) == {5, 7}
    assert set(found.latency) == {2}
    assert found.transfer_counts_towards_deadline


def test_the_first_class_of_devices_is_the_weakest(tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text("class,count,rate_mean\na,3,900\nb,7,10\n")
    ranks = np.argsort(rates("pareto", 10))  # the weakest first
    assert set(np.flatnonzero(rates(f"devices[path={path}]", 10) == 900)) == set(ranks[:3])


def test_minibatches_pair_whatever_the_workload() -> None:
    """The first workers' examples do not depend on how many are asked."""
    fields = {**FIELDS, "workload": "coordinates_first", "deadline": 30.0}
    few, many = (World(Scenario(**fields, sampled=q)) for q in (3, 10))
    for k in range(1, 6):
        a, b = few.draw(k), many.draw(k)
        for i in range(3):
            size = a.size[i]
            assert list(a.batch[i, :size]) == list(b.batch[i, :size])


def test_rare_labels_are_held_by_the_slow() -> None:
    labels = np.zeros((40, 4), dtype=np.int64)
    labels[np.arange(40), np.repeat(np.arange(4), (20, 12, 6, 2))] = 100
    plain, tied = fleet("pareto", 40), fleet("rare_labels+pareto", 40, labels=labels)
    assert sorted(plain.rates) == sorted(tied.rates)  # the same devices
    rarity = labels.argmax(axis=1)
    order = np.argsort(tied.rates)  # the slowest first
    assert list(rarity[order]) == sorted(rarity, reverse=True)
    none = fleet("rare_labels[correlation=0]+pareto", 40, labels=labels)
    assert np.array_equal(none.rates, plain.rates)
    strengths = [
        stats.spearmanr(
            rarity, -fleet(f"rare_labels[correlation={c}]+pareto", 40, labels=labels).rates
        ).statistic
        for c in (0, 0.3, 0.7, 1)
    ]
    assert strengths == sorted(strengths)


def test_rare_labels_move_whole_devices(tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text("class,count,rate_mean,uplink,availability\nslow,1,10,5,0\nfast,1,900,7,1\n")
    labels = np.array([[9, 0], [0, 1], [9, 0], [9, 0]])
    found = fleet(f"rare_labels+devices[path={path}]", 4, labels=labels)
    assert found.rates[1] == 10
    assert found.uplink[1] == 5
    assert list(found.available(1)) == list(found.rates == 900)  # type: ignore[arg-type]


FIELDS: dict[str, Any] = {
    "workers": 10,
    "batch_size": 4,
    "deadline": 4.0,
    "rounds": 5,
    "hardware": "powerful",
    "rule": "average",
}


def rounds(**fields: object) -> Result:
    return run(Scenario(**{**FIELDS, **fields}))


def test_a_worker_that_is_away_changes_nothing_but_its_own_contribution(tmp_path: Path) -> None:
    """Worker 2 is away in rounds 3 and 4: as if it had stayed silent, before and after as ever."""
    path = tmp_path / "trace.csv"
    path.write_text("worker,round,state\n2,3,off\n2,5,on\n")
    away, always = rounds(hardware=f"trace[path={path}]+powerful"), rounds()
    assert list(away.rounds["heard"]) == [10, 10, 9, 9, 10]
    for name in COLUMNS:
        assert away.rounds[name][:2] == always.rounds[name][:2]
    assert away.rounds["test_loss"][2] != always.rounds["test_loss"][2]
    path.write_text("worker,round,state\n2,6,off\n")  # after the last round: nothing
    same = rounds(hardware=f"trace[path={path}]+powerful")
    for name in COLUMNS:
        assert np.array_equal(same.rounds[name], always.rounds[name]), name


def test_a_worker_that_never_answers_is_as_a_crashed_one(tmp_path: Path) -> None:
    crashed = rounds(byzantine=1, attack="crash", rule="median")
    scenario = Scenario(**{**FIELDS, "byzantine": 1, "attack": "crash", "rule": "median"})
    (who,) = np.flatnonzero(World(scenario).byzantine(1))
    path = tmp_path / "trace.csv"
    path.write_text(f"worker,round,state\n{who},1,off\n")
    absent = rounds(hardware=f"trace[path={path}]+powerful", tolerated=1, rule="median")
    for name in ("test_loss", "heard", "block_size", "time", "bytes_up"):
        assert absent.rounds[name] == crashed.rounds[name], name


def test_too_few_that_are_there_stall_the_round(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("worker,round,state\n" + "".join(f"{i},2,off\n{i},3,on\n" for i in range(8)))
    result = rounds(hardware=f"trace[path={path}]+powerful", quorum=5)
    assert list(result.rounds["stalled"]) == [False, True, False, False, False]


def test_upload_counts_against_the_deadline_only_if_asked() -> None:
    free = rounds(deadline=1.0, hardware="network[uplink=1000,latency=0.2]+powerful")
    counted = rounds(deadline=1.0, hardware="network[uplink=1000,latency=0.2,counts=true]+powerful")
    assert set(free.rounds["block_size"]) == set(rounds(deadline=1.0).rounds["block_size"])
    assert max(counted.rounds["block_size"]) < min(free.rounds["block_size"])
    assert counted.rounds["time"] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert free.rounds["time"][0] > 1.4


def test_attackers_are_there_whenever_they_like() -> None:
    """Availability is the devices'; Byzantine workers answer anyway."""
    fields = {"byzantine": 3, "hardware": "bernoulli[p=0]+powerful", "rule": "median"}
    assert set(rounds(**fields, attack="foe").rounds["byzantine_heard"]) == {0}  # nobody to look at
    full = rounds(**fields, attack="flood+random_noise")
    assert set(full.rounds["byzantine_heard"]) == {3}


@pytest.mark.parametrize("policy", ["fixed", "coordinates_first", "data_first", "hybrid[rho=0.3]"])
def test_workloads_spend_no_more_than_there_is(policy: str) -> None:
    """b·s <= λτ for all rates, but for the one coordinate of one example that a worker does."""
    work = np.geomspace(0.5, 1e8, 400)
    held = np.full(400, 60)
    b, s = workloads.registry.build(policy).split(work, held, 650, 32)
    b = np.minimum(b, np.floor(work / np.maximum(s, 1)))
    heard = (b >= 1) & (s >= 1)
    assert (b * s)[heard].max() > 1000
    assert ((b * s)[heard] <= work[heard] * (1 + 1e-12)).all()
    assert (b <= 650).all() or policy == "fixed"
    assert (s <= 60).all()


@pytest.mark.parametrize(
    "policy", ["fixed", "coordinates_first", "data_first", "hybrid", "hybrid[rho=0.05]"]
)
def test_workloads_are_the_definitions(policy: str) -> None:
    """On 2,000 random devices, with nothing to spend and with no end of it."""
    rng = np.random.default_rng(0)
    work = np.concatenate(([0.0, 0.5, 1.0, np.inf], 10.0 ** rng.uniform(-1, 9, 1996)))
    held = rng.integers(1, 700, 2000)
    for dimension in (1, 650, 7850):
        b, s = workloads.registry.build(policy).split(work, held, dimension, 32)
        for i in range(2000):
            expected = split(policy, float(work[i]), dimension, int(held[i]), 32)
            silent = min(expected) < 1
            assert (min(b[i], s[i]) < 1) == silent
            assert silent or (b[i], s[i]) == expected, (work[i], held[i], dimension)


def test_a_workload_s_deadline_is_the_world_s() -> None:
    worlds = {Scenario(deadline=tau, workload=w).world_key for tau in (2, 3) for w in ("fixed",)}
    assert len(worlds) == 1
    worlds = {Scenario(deadline=tau, workload="data_first").world_key for tau in (2, 3)}
    assert len(worlds) == 2
