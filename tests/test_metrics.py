"""Metrics of a run's end, against their definitions; who is heard; energy; one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgobench import Scenario, aggregators, open_store, run
from hgobench.data import datasets
from hgobench.errors import InputError
from hgobench.hardware import Fleet, Population
from hgobench.hardware import registry as hardware
from hgobench.hardware.fleet import wrong_fleet
from hgobench.lazy import torch
from hgobench.metrics import End, Influence, Metric, Weights, registry
from hgobench.metrics.influence import fitted, moved
from hgobench.results import Result
from hgobench.results.measures import checked
from hgobench.simulation import simulate
from hgobench.simulation.world import World

SMALL: dict[str, Any] = {"workers": 20, "byzantine": 3, "rounds": 4}


# --- whose values a rule uses


def sample(m: int, d: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(m, d, generator=generator, dtype=torch.float64)


WEIGH = ["average", "krum", "multi_krum", "mda", "faba", "cge", "nnm+average", "bulyan", "caf"]


@pytest.mark.parametrize(
    "name", [name for name in WEIGH if name.split("+")[-1] in aggregators.registry.names()]
)
def test_of_rules_that_weigh_vectors_the_fit_is_what_moving_each_worker_shows(name: str) -> None:
    rule, values = aggregators.build(name, f=2), sample(11, 300)
    exact = moved(rule, values)
    weights, linear = fitted(rule, values)
    if name == "bulyan":  # it trims coordinates in the end
        assert not linear
        return
    assert linear
    np.testing.assert_allclose(weights, exact, atol=1e-4)


@pytest.mark.parametrize("name", ["median", "trimmed_mean", "meamed", "phocas"])
@pytest.mark.parametrize("ragged", [False, True])
def test_of_rules_by_coordinate_the_fit_is_near(name: str, ragged: bool) -> None:
    """Within five of its standard errors, below 1/√500 each, however few a worker sent."""
    rule, values = aggregators.build(name, f=2, scope="coordinate"), sample(11, 2000)
    present = None
    if ragged:
        lengths = torch.tensor([30, 60, 100, 300, 700] + [2000] * 6)
        present = torch.arange(2000) < lengths[:, None]
    exact = moved(rule, values, present)
    weights, linear = fitted(rule, values, present)
    assert not linear
    assert (np.abs(weights - exact) < 5 / np.sqrt(480)).all()
    many = np.mean([fitted(rule, values, present, seed=seed)[0] for seed in range(30)], axis=0)
    assert (np.abs(many - exact) < 5 / np.sqrt(30 * 480) + 2e-3).all()


RAGGED = {
    "three classes": [39] * 10 + [300] * 5 + [650] * 9,
    "each its own": [20 + 12 * i for i in range(15)] + [650] * 9,
}


NEAR = {  # of the fit with three classes, and with lengths of their own
    "krum": (1e-3, 0.5),
    "centered_clipping": (0.02, 0.03),
    "nnm+geometric_median": (0.03, 0.05),
    "geometric_median": (0.15, 0.12),
    "clipped_clustering": (0.1, 0.1),
    "caf": (0.12, 1e-3),
    "filter_l2": (0.12, 1e-3),
}


@pytest.mark.parametrize("name", NEAR)
@pytest.mark.parametrize("lengths", RAGGED)
def test_of_answers_that_end_where_time_is_over_the_fit_is_near(name: str, lengths: str) -> None:
    """In units of the average's weight; of who sends little as of who sends all."""
    values = sample(24, 650) + torch.linspace(0.0, 3.0, 24, dtype=torch.float64)[:, None]
    present = torch.arange(650) < torch.tensor(RAGGED[lengths])[:, None]
    rule = aggregators.build(name, f=3, scope=aggregators.build(name).scope_on_parts)
    exact = moved(rule, values, present)
    off = 24 * np.array([fitted(rule, values, present, seed=seed)[0] - exact for seed in range(5)])
    assert np.sqrt((off**2).mean()) < NEAR[name][list(RAGGED).index(lengths)]


def test_whoever_sent_something_is_moved() -> None:
    """Also where there are many more workers than coordinates with the same senders."""
    rule = aggregators.build("geometric_median", f=1, scope="masked")
    scattered = torch.rand(20, 200, generator=torch.Generator().manual_seed(0)) < 0.4
    few = torch.arange(200) < torch.tensor([1, 2, 3, 4, 5] * 3 + [200] * 5)[:, None]
    for present in (scattered, few):
        values = sample(20, 200)
        values[:5] *= 6.0
        weights, _ = fitted(rule, values, present)
        off = 20 * (weights - moved(rule, values, present))
        assert np.isfinite(off).sum() >= 17
        assert np.sqrt(np.nanmean(off[np.isfinite(off)] ** 2)) < 0.8
    many = Scenario(workers=60, byzantine=4, tolerated=2, rounds=3, rule="geometric_median",
                    deadline=1.0, partition="dirichlet", batch_size=4)  # fmt: skip
    assert set(run(many).measures) >= {"used/weak", "used/average", "used/powerful"}


@pytest.mark.parametrize("scope", ["block", "staircase"])
def test_coordinates_that_nobody_sent_do_not_count(scope: aggregators.Scope) -> None:
    rule, values = aggregators.build("centered_clipping", f=1, scope=scope), sample(6, 50)
    present = torch.ones(6, 50, dtype=torch.bool)
    present[:, 20:30], present[5, 40] = False, False
    weights, _ = fitted(rule, values, present)
    np.testing.assert_allclose(weights, moved(rule, values, present), atol=0.02)
    assert fitted(rule, values, torch.zeros_like(present))[0].tolist() == [0.0] * 6
    assert fitted(rule, values[:, :0])[0].tolist() == [0.0] * 6


class Meddling(Metric):
    """Overwrites what it is lent."""

    measures = {"nothing": "nothing"}

    def __call__(self, end: End) -> dict[str, float]:
        assert end.influence is not None
        end.influence.used[:], end.influence.sent[:] = 7.0, 7.0
        return {"nothing": 0.0}


@pytest.mark.parametrize("rule", ["median", "geometric_median"])
def test_what_a_metric_of_ones_own_overwrites_no_other_sees(rule: str) -> None:
    alone = run(Scenario(**SMALL, rule=rule)).measures
    own = f"{Meddling.__module__}:{Meddling.__qualname__}"
    cell = Scenario(**SMALL, rule=rule, metrics=f"{own}+accuracies+weights")
    with_it = run(cell).measures
    assert with_it["nothing"] == 0.0
    assert {name: with_it[name] for name in alone if name in with_it} == {
        name: alone[name] for name in alone if name in with_it
    }
    assert "used/weak" in with_it


def test_values_that_are_not_finite_or_huge_are_not_followed() -> None:
    values = sample(9, 400)
    values[0], values[1, ::2], values[2] = torch.nan, torch.inf, 1e30
    weights, _ = fitted(aggregators.build("krum", f=3), values)
    np.testing.assert_allclose(weights[:3], 0.0, atol=1e-9)
    assert weights.max() == pytest.approx(1.0)
    weights, _ = fitted(aggregators.build("average"), values[3:] * 1e12)
    np.testing.assert_allclose(weights, 1 / 6, rtol=1e-5)


@pytest.mark.parametrize("name", ["rlr+average", "median", "geometric_median", "flame"])
@pytest.mark.parametrize("case", ["one far away", "two alike", "a few places"])
def test_distances_between_workers_of_any_size_do_not_spoil_the_fit(name: str, case: str) -> None:
    """Within seven standard errors of 300 values, in units of the average's weight."""
    values, present = sample(11, 300) + 1.0, None
    if case == "one far away":
        values[-1] *= 1e8
    elif case == "two alike":
        values[-1] = values[-2] + 1e-5
    else:
        present = torch.arange(300) < torch.tensor([2, 5, 9] + [300] * 8)[:, None]
    rule = aggregators.build(name, f=2)
    share = 1.0 if present is None else present.double().mean(dim=1).numpy()
    exact = moved(rule, values, present)
    weights, _ = fitted(rule, values, present)
    assert (11 * np.abs(weights - exact) * share < 7 * np.sqrt(11 / 300)).all()


def test_who_is_alone_is_followed_and_of_equals_nothing_is_known() -> None:
    average, values = aggregators.build("average"), sample(3, 40)
    np.testing.assert_allclose(fitted(average, values[:1])[0], 1.0, rtol=1e-6)
    present = torch.arange(40) < torch.tensor([40, 10, 10])[:, None]
    tail = aggregators.build("average", scope="coordinate")
    exact = moved(tail, values, present)
    assert exact[0] == pytest.approx((10 / 3 + 30) / 40)
    np.testing.assert_allclose(fitted(tail, values, present)[0], exact, atol=0.1)
    assert np.isnan(fitted(average, values[:1].repeat(3, 1))[0]).all()
    alone = run(Scenario(workers=1, rounds=2)).measures
    assert alone["used/average"] == pytest.approx(1.0)
    assert alone["dropped"] == 0.0


def test_who_can_t_be_told_from_equals_is_left_out() -> None:
    """Of workers 1 and 2, honest, and 3, Byzantine, nothing is known."""
    who = np.arange(4)
    used = np.array([0.25, np.nan, np.nan, np.nan])
    one = torch.zeros(1)
    end = End(
        one, 0, one, one, None, np.zeros((4, 0), np.int64), who == 3, np.array([0, 0, 1, 1]),
        ("weak", "average"), None, lambda x, y: 0.0,
        lambda: Influence(who, who, used, np.ones(4), True),
    )  # fmt: skip
    assert Weights()(end) == {"used/weak": 1.0, "weight/weak": 1.0, "dropped": 0.0}


def test_a_majority_of_signs_catches_and_drops_nobody() -> None:
    weights, linear = fitted(aggregators.build("sign_sgd_majority"), sample(7, 40))
    assert (weights.tolist(), linear) == ([0.0] * 7, False)


def test_few_coordinates_take_more_answers() -> None:
    weights, linear = fitted(aggregators.build("average"), sample(30, 2))
    assert linear
    np.testing.assert_allclose(weights, 1 / 30, rtol=1e-4)


def test_a_rule_that_remembers_keeps_its_memory() -> None:
    rule, values = aggregators.build("centered_clipping"), sample(9, 50).float()
    rule(values)
    again = rule(values + 1)
    other = aggregators.build("centered_clipping")
    other(values)
    fitted(other, values)
    torch.testing.assert_close(other(values + 1), again)


# --- accuracies


def test_accuracies_are_those_of_their_definition() -> None:
    """From which test examples were right, and loops."""
    scenario = Scenario(**SMALL, partition="dirichlet[alpha=0.2]", hardware="c3")
    result, world = run(scenario), World.of(scenario)
    assert result.right is not None
    labels = datasets.load("digits").test.labels
    right = np.unpackbits(np.frombuffer(result.right, np.uint8), count=len(labels))
    by_class = [right[labels == c].mean() for c in range(10)]
    for c in range(10):
        assert result.measures[f"class_accuracy/{c}"] == pytest.approx(by_class[c])
    train = world.data.train.labels
    met = [np.mean([by_class[c] for c in train[shard]]) for shard in world.shards]
    honest = np.flatnonzero(~world.byzantine(3))
    assert result.measures["worst_worker"] == pytest.approx(min(met[i] for i in honest))
    # c3: half of the workers are weak, the others average.
    slowest = set(np.argsort(world.rates)[:10])
    for name, several in (("weak", slowest), ("average", set(range(20)) - slowest)):
        expected = np.mean([met[i] for i in honest if i in several])
        assert result.measures[f"device_accuracy/{name}"] == pytest.approx(expected)
    assert "device_accuracy/powerful" not in result.measures


def test_attackers_are_caught_and_honest_workers_dropped() -> None:
    caught = run(Scenario(**SMALL, rule="krum", attack="huge", algorithm="sgd", deadline="inf"))
    assert caught.measures["caught"] == 1.0
    assert caught.measures["dropped"] == pytest.approx(16 / 17)
    fooled = run(Scenario(**SMALL, rule="average", attack="foe", algorithm="sgd", deadline="inf"))
    assert fooled.measures["caught"] == fooled.measures["dropped"] == 0.0
    assert all(
        value == pytest.approx(1.0)
        for name, value in fooled.measures.items()
        if name.startswith(("used", "weight"))
    )


def test_a_regression_a_stalled_round_and_none_say_less() -> None:
    none = run(Scenario(**SMALL, metrics="none"))
    assert none.measures == {}
    stalled = run(Scenario(**SMALL, quorum=19, hardware="bernoulli[p=0.2]+standard"))
    assert stalled.rounds["stalled"][-1]
    assert not any(name.startswith("used") for name in stalled.measures)
    assert "worst_worker" in stalled.measures
    first = run(Scenario(**SMALL))
    assert first.rounds == none.rounds
    assert 0 < first.server_seconds < first.seconds


def test_measures_depend_on_nothing_but_the_scenario() -> None:
    cells = [
        Scenario(**SMALL, rule=rule, attack=attack)
        for rule in ("median", "krum", "nnm+trimmed_mean", "centered_clipping")
        for attack in ("foe", "sign_flip")
    ]
    together = simulate(cells)
    assert [one.measures for one in together] == [run(cell).measures for cell in cells]
    assert [one.measures for one in simulate(cells[::-1])] == [
        one.measures for one in together[::-1]
    ]


# --- what workers with few examples get


def test_sizes_are_thirds_of_the_honest_workers_by_examples() -> None:
    """By loops, from what each worker holds and what each class's test examples came to."""
    scenario = Scenario(
        workers=14, byzantine=3, rounds=4, rule="krum", attack="sign_flip", metrics="sizes",
        partition="dirichlet[alpha=0.2]", algorithm="sgd", deadline="inf",
    )  # fmt: skip
    result, usual = run(scenario), run(scenario.replace(metrics="standard"))
    assert {**usual.measures, **result.measures} == result.measures
    assert result.rounds == usual.rounds
    world, told = World.of(scenario), result.measures
    labels = world.data.train.labels
    honest = [i for i in range(14) if not world.byzantine(3)[i]]
    honest.sort(key=lambda i: len(world.shards[i]))
    used = []
    for size, third in zip(("small", "middle", "large"), np.array_split(honest, 3), strict=True):
        own = [
            np.mean([told[f"class_accuracy/{c}"] for c in labels[world.shards[i]]]) for i in third
        ]
        assert told[f"size_accuracy/{size}"] == pytest.approx(np.mean(own))
        used.append(told[f"used_by_size/{size}"] * len(third))
    assert max(used) == pytest.approx(14) or max(used) == pytest.approx(0, abs=1e-6)
    assert sum(used) == pytest.approx(max(used), abs=1e-6)  # Krum follows one worker


def test_weights_by_examples_follow_the_large() -> None:
    """The average follows each worker as its share of the examples, over 1/m."""
    fields: dict[str, Any] = {
        "workers": 9, "rounds": 2, "rule": "average", "weights": "claimed", "metrics": "sizes",
        "partition": "quantity_skew", "algorithm": "sgd", "deadline": "inf",
    }  # fmt: skip
    told = run(Scenario(**fields)).measures
    sizes = np.sort([len(shard) for shard in World.of(Scenario(**fields)).shards])
    for name, third in zip(("small", "middle", "large"), np.split(sizes, 3), strict=True):
        expected = 9 * third.mean() / sizes.sum()
        assert told[f"used_by_size/{name}"] == pytest.approx(expected, rel=1e-3)


def test_of_two_honest_workers_there_are_no_thirds() -> None:
    told = run(Scenario(workers=3, byzantine=1, rounds=2, metrics="sizes+none")).measures
    assert told == {}


# --- devices and energy


def test_classes_of_devices_are_those_that_the_fleet_says() -> None:
    population = Population(20, 7850, seed=3, labels=np.ones((20, 2), np.int64))
    fleet = hardware.build("standard").fleet(population)
    classes, names = fleet.classed()
    assert names == ("weak", "average", "powerful")
    assert np.bincount(classes).tolist() == [6, 8, 6]
    assert (np.argsort(np.argsort(fleet.rates)) < 6).tolist() == (classes == 0).tolist()
    dealt = fleet.dealt(np.arange(20)[::-1])
    assert dealt.classed()[0].tolist() == classes[::-1].tolist()
    thirds, names = hardware.build("lognormal").fleet(population).classed()
    assert np.bincount(thirds).tolist() == [7, 7, 6]
    assert Fleet.of(np.ones(4)).classed()[1] == ("all",)


CSV = """class,count,rate_mean,uplink,watts,joules_per_byte
laptop,2,5000,1e6,40,1e-6
phone,4,1000,2e4,3,5e-5
phone,2,1500,2e4,2,5e-5
"""


def test_energy_is_watts_times_seconds_and_bytes_on_the_radio(tmp_path: Path) -> None:
    """By loops over rounds and workers, from the definition of HGO."""
    (tmp_path / "fleet.csv").write_text(CSV)
    scenario = Scenario(
        workers=8, byzantine=1, rounds=3, deadline=10.0, rule="median", batch_size=16,
        hardware=f"devices[path={tmp_path}/fleet.csv]",
    )  # fmt: skip
    result, world = run(scenario), World.of(scenario)
    d, joules = world.model.dimension, np.zeros(8)
    for k in range(1, 4):
        draw = world.draw(k)
        for i, size in zip(draw.workers, draw.size, strict=True):
            rate = world.rates[i]
            watts = 40.0 if rate == 5000 else 3.0 if rate == 1000 else 2.0
            radio = 1e-6 if rate == 5000 else 5e-5
            sent = min(int(10.0 * rate / size), d)
            joules[i] += watts * sent * size / rate + radio * (4 * d + 8 + 4 * sent)
    honest = ~world.byzantine(1)
    assert result.measures["energy"] == pytest.approx(joules[honest].sum())
    laptop = world.rates == 5000
    for name, mine in (("laptop", laptop), ("phone", ~laptop)):
        assert result.measures[f"energy/{name}"] == pytest.approx(joules[mine & honest].mean())
    assert list(result.measures)[10:12] == ["device_accuracy/phone", "device_accuracy/laptop"]


def test_energies_beyond_all_numbers_are_not_measured(tmp_path: Path) -> None:
    """They are said, and the result can be read again."""
    fleet = "power[watts=1e308,joules_per_byte=1e308]+c1"
    result = run(Scenario(hardware=fleet, rounds=3, workers=6))
    assert "energy" not in {name.partition("/")[0] for name in result.measures}
    assert "larger than any number: not measured" in str(result.summary["reason"])
    with open_store(tmp_path) as store:
        store.add(result, "mine-1")
    with open_store(tmp_path) as store:
        ((_, kept),) = store.results()
        assert (kept.measures, store.damaged()) == (result.measures, [])


def test_power_gives_every_device_of_a_fleet_the_same_battery() -> None:
    """By loops over rounds and workers; what a model learns does not depend on it."""
    scenario = Scenario(workers=6, rounds=4, deadline=10.0, hardware="power[watts=2.5]+c1")
    result, world = run(scenario), World.of(scenario)
    d, joules = world.model.dimension, 0.0
    for k in range(1, 5):
        draw = world.draw(k)
        for i, size in zip(draw.workers, draw.size, strict=True):
            sent = min(int(10.0 * world.rates[i] / size), d)
            joules += 2.5 * sent * size / world.rates[i] + 5e-6 * (4 * d + 8 + 4 * sent)
    assert result.measures["energy"] == pytest.approx(joules)
    bare = run(scenario.replace(hardware="c1"))
    assert bare.rounds == result.rounds
    assert "energy" not in bare.measures
    with pytest.raises(InputError, match=r"watts: -1\.0; expected a finite number >= 0"):
        Scenario(hardware="power[watts=-1]+c1")


def test_a_fleet_says_watts_of_all_classes_or_of_none(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text("class,count,rate_mean,watts\na,1,5,2\nb,1,5,\n")
    with pytest.raises(InputError, match="watts of some classes only; expected that of all, or no"):
        hardware.build(f"devices[path={path}]")
    path.write_text("class,count,rate_mean,watts\na,1,5,-2\n")
    with pytest.raises(InputError, match="watts"):
        hardware.build(f"devices[path={path}]")


# --- one's own


def own(name: str, **fields: Any) -> Result:
    return run(Scenario(**SMALL, metrics=f"tests.plugins:{name}", **fields))


def test_a_metric_of_ones_own_is_measured_beside_the_others() -> None:
    usual, result = run(Scenario(**SMALL)), own("NoisyAccuracy")
    alone = own("NoisyAccuracy+none")
    assert result.rounds == usual.rounds
    noisy = result.measures["noisy_accuracy"]
    assert 0 < noisy < usual.summary["test_accuracy"]
    assert {**usual.measures, "noisy_accuracy": noisy} == result.measures
    assert own("NoisyAccuracy").measures == result.measures
    assert alone.measures == {"noisy_accuracy": noisy}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("RaisingMetric", "KeyError: 'no such thing'"),
        ("NanMetric", "measure loss: nan; expected a finite number"),
        ("ListMetric", "returned list; expected names with their numbers"),
        ("TextMetric", "measure loss: 'high'; expected a number"),
        ("TakenMetric", "measure device_accuracy: another metric's; expected a name of its own"),
        ("CapitalMetric", "measure 'Loss'; expected a name in lower case, with or without a /gr"),
    ],
)
def test_a_metric_that_fails_is_said_and_costs_nothing_else(name: str, message: str) -> None:
    usual, result = run(Scenario(**SMALL)), own(name)
    assert (result.status, result.rounds) == ("done", usual.rounds)
    assert result.measures == usual.measures
    assert result.reason.startswith(f"metric 'tests.plugins:{name}': ")
    assert message in result.reason
    assert result.reason.endswith(": nothing was measured")


def test_of_two_metrics_with_one_name_the_second_is_said() -> None:
    once, twice = own("NoisyAccuracy+none"), own("NoisyAccuracy+tests.plugins:NoisyAccuracy+none")
    assert twice.measures == once.measures
    assert "measure noisy_accuracy: another metric's; expected a name of its own" in twice.reason


def test_a_metric_can_t_change_the_run() -> None:
    usual, result = run(Scenario(**SMALL)), own("MeddlingMetric")
    assert result.rounds == usual.rounds
    assert result.right == usual.right
    again = run(Scenario(**SMALL, seed=0))  # in the same world
    assert again.measures == usual.measures


def test_metrics_are_named_like_everything_else() -> None:
    assert registry.canonical("tests.plugins:NoisyAccuracy") == "tests.plugins:NoisyAccuracy"
    assert registry.canonical("energy") == "energy+standard"
    assert Scenario(metrics="energy+none").metrics == "energy+none"
    assert set(registry.build("energy+none").measures) == {"energy"}
    with pytest.raises(InputError, match=r"metrics: unknown 'enrgy'; did you mean 'energy'\?"):
        Scenario(metrics="enrgy")
    assert (
        Scenario().digest == Scenario(metrics="standard").digest != Scenario(metrics="none").digest
    )


def test_measures_that_are_none_are_refused() -> None:
    assert checked({"a/b c": np.float32(0.5)}) == {"a/b c": 0.5}
    for wrong in ({"a": True}, {"a": "1"}, {"": 1.0}, {1: 1.0}, {"a/": 1.0}, {"a" * 2000: 1.0}):
        with pytest.raises(ValueError, match=r"measure .*; expected"):
            checked(wrong)
    with pytest.raises(ValueError, match="10001 measures; expected at most 10000"):
        checked({f"a/{i}": 0.0 for i in range(10001)})


def test_the_example_of_a_result_can_be_replaced() -> None:
    assert replace(run(Scenario(**SMALL)), measures={}).measures == {}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"watts": np.array([1.0, -1.0])}, "its watts: -1 of worker 1; expected numbers finite a"),
        ({"joules_per_byte": np.ones(3)}, "its joules_per_byte are no array of 2 numbers"),
        ({"classes": [0, 1]}, "its classes are list; expected an array of whole numbers"),
        ({"classes": np.zeros(3, int)}, "its classes are no array of 2 numbers"),
        ({"classes": np.zeros(2, int), "class_names": ["a"]}, "its class_names: ['a']; expected a"),
        ({"classes": np.zeros(2, int), "class_names": ("a", "a")}, "its class_names: ('a', 'a'); "),
        (
            {"classes": np.array([0, 2]), "class_names": ("a", "b")},
            "its classes leave 0 .. 1, the ",
        ),
    ],
)
def test_what_a_fleet_says_of_classes_and_energy_is_checked(
    fields: dict[str, Any], problem: str
) -> None:
    fleet = Fleet.of(np.array([2.0, 5.0]))
    assert wrong_fleet(fleet, 2) == ""
    assert wrong_fleet(replace(fleet, **fields), 2).startswith(problem)
