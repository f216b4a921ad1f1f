from __future__ import annotations

import copy
import importlib
import inspect
import json
import math
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgobench import Scenario, catalogue
from hgobench.errors import InputError
from hgobench.resolution import Resolved, Resolver
from hgobench.scenario import Examples, Given
from tests.plugins import without_lines

SMALL: dict[str, Any] = {"workers": 20, "byzantine": 4}


def problems(**fields: Any) -> list[str]:
    with pytest.raises(InputError) as error:
        Scenario(**fields)
    return error.value.problems


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": "digit"}, "data: unknown 'digit'; did you mean 'digits'? (hgobench list datasets)"),
        ({"data": "digits[validation=7]"}, "data: 'digits[validation=7]': validation: 7.0; expected a share in [0, 1)"),
        ({"partition": "iidd"}, "partition: unknown 'iidd'; did you mean 'iid'? (hgobench list partitions)"),
        ({"partition": "by_class[k=0]"}, "partition: 'by_class[k=0]': k: 0; expected an integer >= 1"),
        ({"partition": "dirichlet[alpha=0]"}, "partition: 'dirichlet[alpha=0]': alpha: 0.0; expected a finite number > 0"),
        ({"augment": "flpi"}, "augment: unknown 'flpi'; did you mean 'flip'? (hgobench list augmentations)"),
        ({"augment": "flip+none"}, "augment: 'none' stands alone; expected augmentations at both sides of +"),
        ({"augment": "crop[pad=0]"}, "augment: 'crop[pad=0]': pad: 0; expected an integer >= 1"),
        ({"model": "sofmax"}, "model: unknown 'sofmax'; did you mean 'softmax'? (hgobench list models)"),
        ({"workload": "hybird"}, "workload: unknown 'hybird'; did you mean 'hybrid'? (hgobench list workloads)"),
        ({"workload": "hybrid[rho=1]"}, "workload: 'hybrid[rho=1]': rho: 1.0; expected a number in (0, 1)"),
        ({"hardware": "bernouli+c1"}, "condition: unknown 'bernouli'; did you mean 'bernoulli'? (hgobench list conditions)"),
        ({"hardware": "network[uplink=0]+c1"}, "condition: 'network[uplink=0]': uplink: 0.0; expected a number > 0 or inf"),
        ({"attack": "tail+fo", **SMALL}, "attack: unknown 'fo'; did you mean 'foe'? (hgobench list attacks)"),
        ({"hardware": "week"}, "hardware: unknown 'week'; did you mean 'weak'? (hgobench list hardware)"),
        ({"hardware": "mix[weak=0.5]"}, "hardware: 'mix[weak=0.5]': shares: (0.5, 0.4, 0.3); expected numbers >= 0 that sum to 1"),
        ({"algorithm": "sdg"}, "algorithm: unknown 'sdg'; did you mean 'sgd'? (hgobench list algorithms)"),
        ({"granularity": "scaler"}, "granularity: unknown 'scaler'; did you mean 'scalar'?"),
        ({"cost": "units"}, "cost: unknown 'units'; did you mean 'unit'?"),
        ({"rule": "krumm"}, "rule: unknown 'krumm'; did you mean 'krum'? (hgobench list rules)"),
        ({"rule": 3}, "rule: 3; expected a name"),
        ({"rule": "smea", "workers": 40, "f": 5}, "rule: 'smea' aggregates at most 24 answers at tolerated=5; sampled is 40"),
        ({"rule": "bucketing+krum", **SMALL, "workers": 15}, "rule: 'bucketing+krum' needs 21 answers for tolerated=4; quorum is 15 of sampled=15"),
        ({"rule": "nnm+bulyan", "scope": "coordinate", **SMALL}, "rule: 'nnm+bulyan': scope: 'coordinate'; expected 'block' or 'staircase', as Nnm+Bulyan can't treat each coordinate by itself"),
        ({"algorithm": "hgo[momentum=1]"}, "algorithm: 'hgo[momentum=1]': momentum: 1.0; expected a number in [0, 1)"),
        ({"rule": "tests.plugins:Unmakable"}, "rule: 'tests.plugins:Unmakable': RuntimeError: no"),
        ({"model": "feed_forward[hidden=0]"}, "model: 'feed_forward[hidden=0]': hidden: 0; expected an integer >= 1"),
        ({"hardware": "mix[weak=nan]"}, "hardware: 'mix[weak=nan]': shares, means, stds: (nan, 0.4, 0.3, 500.0, 10000.0, 25000.0, 250.0, 2500.0, 2500.0); expected finite numbers"),
        ({"scope": "blocks"}, "scope: unknown 'blocks'; did you mean 'block'?"),
        ({"attack": "sing_flip"}, "attack: unknown 'sing_flip'; did you mean 'sign_flip'? (hgobench list attacks)"),
        ({"attack_start": -1}, "attack_start: -1; expected an integer >= 0"),
        ({"attack": "foe", "attack_start": 150, **SMALL}, "attack_start: 150; expected less than rounds=150"),
        ({"attack_stop": 0}, "attack_stop: 0; expected an integer >= 1 or inf"),
        ({"attack_stop": 10**30}, f"attack_stop: {10**30}; expected at most 10000000"),
        ({"attack_stop": 4, "attack_start": 4}, "attack_stop: 4; expected more than attack_start=4, or no round is attacked"),
        ({"attack_period": 2.5}, "attack_period: 2.5; expected an integer >= 1 or inf"),
        ({"attack_period": 10**30}, f"attack_period: {10**30}; expected at most 10000000"),
        ({"lies_about_speed": "maybe"}, "lies_about_speed: unknown 'maybe'; expected one of no, yes"),
        ({"attack": "foe"}, "attack: 'foe'; expected byzantine >= 1, or it attacks nobody"),
        ({"workers": 0}, "workers: 0; expected an integer >= 1"),
        ({"workers": 20, "byzantine": 10}, "byzantine: 10; expected less than half of workers=20"),
        ({"workers": 20, "f": 10}, "byzantine: 10; expected less than half of workers=20"),
        ({"byzantine": True}, "byzantine: True; expected an integer >= 0"),
        ({"tolerated": -1}, "tolerated: -1; expected an integer >= 0"),
        ({"workers": 20, "tolerated": 10}, "tolerated: 10; expected at most 9, less than half of sampled=20"),
        ({"workers": 20, "sampled": 21}, "sampled: 21; expected at most workers=20"),
        ({"workers": 20, "q": 0}, "sampled: 0; expected an integer >= 1"),
        ({"workers": 20, "quorum": 21}, "quorum: 21; expected at most sampled=20"),
        ({"v": 8, "tolerated": 4, **SMALL}, "quorum: 8; expected at least 9, more than 2 * tolerated = 8"),
        ({"workload": "hybrid", "algorithm": "sgd"}, "workload: 'hybrid' never computes a whole gradient, and 'sgd' takes no other"),
        ({"hardware": "trace+c1"}, "condition: 'trace': path missing; write trace[path=..]"),
        ({"hardware": "bernoulli+bernoulli[p=0.5]+c1"}, "hardware: Bernoulli is written twice"),
        ({"hardware": "network[counts=yes]+c1"}, "condition: 'network[counts=yes]': counts: 'yes'; expected true or false"),
        ({"rule": "krum", "v": 9, **SMALL}, "rule: 'krum' needs 11 answers for tolerated=4; quorum is 9 of sampled=20"),
        ({"rule": "krum", "workers": 10, "f": 4}, "rule: 'krum' needs 11 answers for tolerated=4; quorum is 10 of sampled=10"),
        ({"deadline": 0}, "deadline: 0; expected a number > 0 or inf"),
        ({"time_budget": 0}, "time_budget: 0; expected a number > 0 or inf"),
        ({"coordinate_budget": -5}, "coordinate_budget: -5; expected a number > 0 or inf"),
        ({"byte_budget": "all"}, "byte_budget: 'all'; expected a number > 0 or inf"),
        ({"tau": math.nan}, "deadline: nan; expected a number > 0 or inf"),
        ({"batch_size": 2.5}, "batch_size: 2.5; expected an integer >= 1"),
        ({"rounds": 0}, "rounds: 0; expected an integer >= 1"),
        ({"learning_rate": "big"}, "learning_rate: 'big'; expected a number > 0"),
        ({"learning_rate": math.inf}, "learning_rate: inf; expected a number > 0"),
        ({"schedule": "constant2"}, "schedule: unknown 'constant2'; did you mean 'constant'?"),
        ({"solver": "adams"}, "solver: unknown 'adams'; did you mean 'adam'? (hgobench list solvers)"),
        ({"weights": "sample"}, "weights: unknown 'sample'; did you mean 'examples'?"),
        ({"weights": "examples", "rule": "krum", **SMALL}, "weights: 'examples'; expected 'none', as the rule 'krum' counts every answer alike (hgobench list rules says which take weights)"),
        ({"weights": "examples", "rule": "nnm+median", **SMALL}, "weights: 'examples'; expected 'none', as the rule 'nnm+median' counts every answer alike (hgobench list rules says which take weights)"),
        ({"weights": "claimed", "rule": "median", **SMALL}, "weights: 'claimed'; expected 'examples': without a bound one worker may claim most of all examples, and 'median' tolerates 4 with less than half"),
        ({"evaluation_interval": 0}, "evaluation_interval: 0; expected an integer >= 1"),
        ({"metrics": "enrgy"}, "metrics: unknown 'enrgy'; did you mean 'energy'? (hgobench list metrics)"),
        ({"seed": -1}, "seed: -1; expected an integer >= 0"),
        ({"workers": 10**30}, f"workers: {10**30}; expected at most 1000000"),
        ({"byzantine": 10**30}, f"byzantine: {10**30}; expected at most 1000000"),
        ({"tolerated": 10**30}, f"tolerated: {10**30}; expected at most 1000000"),
        ({"sampled": 10**30}, f"sampled: {10**30}; expected at most 1000000"),
        ({"quorum": 10**30}, f"quorum: {10**30}; expected at most 1000000"),
        ({"batch_size": 10**30}, f"batch_size: {10**30}; expected at most 1000000"),
        ({"rounds": 10**12}, "rounds: 1000000000000; expected at most 10000000"),
        ({"attack_start": 10**30}, f"attack_start: {10**30}; expected at most 10000000"),
        ({"evaluation_interval": 10**30}, f"evaluation_interval: {10**30}; expected at most 10000000"),
        ({"seed": 2**63}, f"seed: {2**63}; expected at most {2**63 - 1}"),
        ({"seed": 16**5000}, "seed: int too large to write; expected at most 9223372036854775807"),
        ({"learning_rate": 10**400}, f"learning_rate: 1{'0' * 57} .. {'0' * 58}; expected a number > 0"),
        ({"deadline": 10**400}, f"deadline: 1{'0' * 57} .. {'0' * 58}; expected a number > 0 or inf"),
        ({"scope": ["block"]}, "scope: ['block']; expected one of block, coordinate, masked, staircase"),
        ({"schedule": 16**5000}, "schedule: int too large to write; expected one of constant, inverse_sqrt_block"),
        ({"atack": "foe"}, "scenario: field: unknown 'atack'; did you mean 'attack'?"),
        ({"f": 1, "byzantine": 2}, "byzantine: given twice, as 'byzantine' and as 'f'"),
    ],
)  # fmt: skip
def test_every_wrong_value_has_its_message(fields: dict[str, Any], message: str) -> None:
    assert list(map(without_lines, problems(**fields))) == [message]


def test_every_field_has_a_wrong_value_above() -> None:
    marks = test_every_wrong_value_has_its_message.pytestmark
    tried = {message.split(":")[0] for _, message in marks[0].args[1]}
    assert set(Scenario().to_dict()) <= tried


@pytest.mark.parametrize(
    "name", [n for n, v in Scenario().to_dict().items() if isinstance(v, int) and n != "seed"]
)
def test_every_whole_number_has_a_bound(name: str) -> None:
    for value in (10**8, 16**5000):
        assert problems(**{name: value})[0].startswith(f"{name}: ")


def test_all_problems_come_at_once() -> None:
    found = problems(rounds=0, atack="foe", rule="krumm", workers=4, byzantine=2)
    assert len(found) == 4


def test_what_is_left_open_is_worked_out() -> None:
    plain = Scenario(workers=20, byzantine=4)
    assert (plain.sampled, plain.tolerated, plain.quorum, plain.scope) == (20, 4, 9, "coordinate")
    assert Scenario(workers=20, f=4, rule="krum").quorum == 11
    assert Scenario(workers=20, f=4, rule="krum", algorithm="sgd").scope == "block"
    assert Scenario(workers=20, f=4, rule="average", algorithm="sgd").quorum == 1
    assert Scenario(workers=20, f=4, sampled=5).tolerated == 2
    assert Scenario(workers=20, f=4, tolerated=2).quorum == 5
    assert Scenario(workers=20, f=4, quorum=6).tolerated == 2  # what a quorum of 6 stands


def test_the_paper_s_letters_are_aliases() -> None:
    scenario = Scenario(n=20, f=4, q=10, v=9, tau=math.inf)
    assert (scenario.n, scenario.f, scenario.q) == (20, 4, 10)
    assert (scenario.v, scenario.tau) == (9, math.inf)
    assert scenario == Scenario(workers=20, byzantine=4, sampled=10, quorum=9, deadline=math.inf)


def test_names_have_one_spelling_and_defaults_are_left_out() -> None:
    assert Scenario(partition="by_class(2)").partition == "by_class"
    assert Scenario(attack="alie[z=1.50]", **SMALL) == Scenario(attack="alie[1.5]", **SMALL)


def test_chains_have_one_spelling() -> None:
    spelled = Scenario(rule="bucketing[s=2] + multi_krum[m=none]", workers=20, f=2)
    assert spelled.rule == "bucketing+multi_krum"
    assert spelled.quorum == 13  # Krum needs 7 buckets of 2
    assert Scenario(rule="nnm+bucketing[s=3]+median", workers=20, f=2).quorum == 13
    assert Scenario(rule="nnm+krum", workers=20, f=2).scope == "staircase"
    assert Scenario(rule="nnm+median", workers=20, f=2).scope == "staircase"
    assert Scenario(rule="tests.plugins:ragged_function", workers=20, f=2).scope == "block"


def test_replace_works_out_anew() -> None:
    assert Scenario(workers=20, f=4).replace(f=2).quorum == 5
    assert Scenario(workers=20, f=4, v=15).replace(f=2).quorum == 15


def test_what_was_given_stays_even_if_it_would_have_been_worked_out() -> None:
    given, open_ = Scenario(workers=20, f=4, v=9), Scenario(workers=20, f=4)
    assert given == open_
    assert hash(given) == hash(open_)
    assert (given.replace(f=2).quorum, open_.replace(f=2).quorum) == (9, 5)
    assert given.replace(v=None).replace(f=2).quorum == 5
    assert given.replace(seed=1).replace(f=2).quorum == 9
    assert "quorum" in given.given
    assert {"scope", "tolerated", "sampled", "quorum"}.isdisjoint(open_.given)
    assert Scenario(**given.given) == given


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_copies_know_what_was_given(again: Callable[[Scenario], Scenario]) -> None:
    for scenario in (Scenario(workers=20, f=4, v=9), Scenario.restore(Scenario().to_dict())):
        assert again(scenario) == scenario
        assert again(scenario).given == scenario.given
        assert vars(again(scenario)) == vars(scenario)


def test_of_what_was_read_what_would_be_worked_out_is_worked_out_anew() -> None:
    for explicit in ({}, {"v": 15}, {"tolerated": 2}, {"q": 15, "v": 11}, {"scope": "block"}):
        fields: dict[str, Any] = {"workers": 20, "f": 4, **explicit}
        read = Scenario.restore(Scenario(**fields).to_dict())
        assert read.replace(f=3) == Scenario(**fields).replace(f=3)


def test_nothing_is_left_open() -> None:
    hints = get_type_hints(Scenario)
    for name, value in vars(Scenario()).items():
        kinds = get_args(hints[name]) or (hints[name],)
        assert value in kinds if get_origin(hints[name]) is Literal else type(value) in kinds


def test_what_may_be_given_is_what_is_declared() -> None:
    """For the type checker it is written out; each field and letter with the field's type."""
    hints, given = get_type_hints(Scenario), get_type_hints(Given)
    letters = Scenario.letters()
    assert set(given) == {*Scenario.declarations(), *letters}
    for name, hint in given.items():
        field = letters.get(name, name)
        more = (type(None),) if Scenario.defaults()[field] is None else ()
        if field in ("deadline", "attack_stop", "attack_period") or field.endswith("_budget"):
            more = (Literal["inf"],)  # type: ignore[assignment]
        if field in catalogue.FIELDS:
            more = (Callable[..., Any],)  # type: ignore[assignment]
        if field == "data":
            more = (Callable[..., Any], Examples)  # type: ignore[assignment]
        assert hint == Union[(hints[field], *more)]


def test_the_signature_shows_fields_letters_and_defaults() -> None:
    parameters = inspect.signature(Scenario).parameters
    assert list(parameters)[:4] == ["data", "partition", "model", "hardware"]
    assert list(parameters)[-3:] == ["evaluation_interval", "metrics", "seed"]
    assert set(parameters) == {*Scenario.declarations(), *Scenario.letters()}
    assert parameters["rounds"].default == 150
    assert parameters["quorum"].default is None
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())


@settings(max_examples=200, deadline=None)
@given(
    v=st.fixed_dictionaries(
        {
            "workers": st.integers(1, 9),
            "byzantine": st.integers(0, 4),
            "sampled": st.none() | st.integers(1, 9),
            "tolerated": st.none() | st.integers(0, 4),
            "quorum": st.none() | st.integers(1, 9),
            "scope": st.sampled_from([None, "block", "coordinate"]),
            "rule": st.sampled_from(["median", "krum", "nnm+bulyan", "smea"]),
            "algorithm": st.sampled_from(["hgo", "sgd"]),
            "workload": st.sampled_from(["fixed", "hybrid"]),
            "attack": st.sampled_from(["none", "foe"]),
            "attack_start": st.integers(0, 2),
            "attack_stop": st.sampled_from([1, 2, math.inf]),
            "rounds": st.integers(1, 2),
            "weights": st.sampled_from(["none", "examples", "claimed"]),
        }
    )
)
def test_fields_that_limit_each_other_are_declared_so(v: dict[str, Any]) -> None:
    """Nothing else is looked at, and a grid may leave it out when it checks its combinations."""
    assert set(v) == {name for name, about in Scenario.declarations().items() if about.related}
    resolved, found = Resolver().resolve(v)
    if resolved is None:
        assert problems(**v) == found
    else:
        scenario = Scenario(**v)
        assert found == []
        assert resolved == tuple(getattr(scenario, name) for name in Resolved._fields)


@pytest.mark.parametrize("start", [0, 1, 4])
@pytest.mark.parametrize("stop", [1, 5, 12, math.inf])
@pytest.mark.parametrize("period", [1, 3, math.inf])
def test_bursts_of_attacks(start: int, stop: float, period: float) -> None:
    """By hand: so many rounds of attacks, as many of good behaviour, from the start to the stop."""
    if stop <= start:
        return
    scenario = Scenario(attack_start=start, attack_stop=stop, attack_period=period)
    attacks, left = False, 0.0
    for k in range(1, 20):
        if k > start:
            if left == 0:
                attacks, left = not attacks, period
            left -= 1
        assert scenario.attacked(k) == (attacks and k <= stop)


def test_rounds_may_be_infinite_in_files_too() -> None:
    for infinite in ("inf", math.inf):
        scenario = Scenario(attack_stop=infinite, attack_period=infinite)
        assert scenario == Scenario()
    told = json.loads(json.dumps(Scenario(attack_stop=7).to_dict()))
    assert (told["attack_stop"], told["attack_period"]) == (7, "inf")
    assert Scenario.restore(told) == Scenario(**told) == Scenario(attack_stop=7)


def test_open_fields_are_those_that_default_to_none() -> None:
    assert set(Resolved._fields) == {n for n, v in Scenario.defaults().items() if v is None}


def test_a_rule_of_one_s_own_is_asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = "from hgobench.aggregators import Median\nclass R(Median):\n    minimum = property(lambda self: {})\n"
    quorums = []
    for least in (3, 7):
        (tmp_path / "asked_anew.py").write_text(source.format(least))
        sys.modules.pop("asked_anew", None)
        importlib.invalidate_caches()
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        quorums.append(Scenario(workers=8, rule="asked_anew:R").quorum)
    assert quorums == [3, 7]


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(),
        Scenario(workers=20, f=4, algorithm="sgd", rule="average", deadline=math.inf, attack="foe"),
        Scenario(workers=7, f=1, rule="aksel", partition="dirichlet[alpha=0.1]"),
        Scenario(workers=20, f=4, attack="inf", deadline="inf"),
        Scenario(workers=20, f=4, attack="tail+nan", hardware="bernoulli+pareto"),
    ],
)
def test_round_trip_and_hash(scenario: Scenario) -> None:
    plain = json.loads(json.dumps(scenario.to_dict(), allow_nan=False))
    again = Scenario.restore(plain)
    assert again == scenario == Scenario(**plain)
    assert again.replace(f=0, attack="none") == scenario.replace(f=0, attack="none")
    assert again.digest == scenario.digest
    assert hash(again) == hash(scenario)
    assert scenario.replace(seed=1).digest != scenario.digest


def test_a_scenario_does_not_change() -> None:
    with pytest.raises(AttributeError):
        Scenario().rounds = 3  # type: ignore[misc]


def test_repr_says_what_differs_from_the_defaults() -> None:
    assert repr(Scenario(rounds=3, seed=2)).startswith("Scenario(scope='coordinate', tolerated=0")


@pytest.mark.parametrize(
    ("f", "q", "v", "risk"), [(20, 20, 11, 0.173), (20, 20, 20, 0.0006), (30, 50, 26, 0.862)]
)
def test_sampling_risk(f: int, q: int, v: int, risk: float) -> None:
    """P(more than ⌊(v-1)/2⌋ of the q sampled are Byzantine), n = 100, by exact counting."""
    scenario = Scenario(f=f, q=q, v=v, tolerated=1)
    ways = sum(
        math.comb(f, b) * math.comb(100 - f, q - b) for b in range((v - 1) // 2 + 1, min(f, q) + 1)
    )
    assert scenario.sampling_risk == pytest.approx(ways / math.comb(100, q), rel=1e-9)
    assert scenario.sampling_risk == pytest.approx(risk, rel=0.1)


def test_whole_numbers_from_numpy_are_whole_numbers() -> None:
    assert Scenario(seed=np.int64(3)) == Scenario(seed=3)  # type: ignore[arg-type]


def test_restoring_imports_nothing() -> None:
    """What a results file names is not imported, let alone called."""
    stored = {**Scenario().to_dict(), "attack": "tests.plugins_never_imported:touch[x=1]"}
    assert Scenario.restore(stored).attack == "tests.plugins_never_imported:touch[x=1]"
