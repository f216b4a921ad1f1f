"""Everything that a scenario can name has a kind, and obeys the laws of its kind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import typer

from hgobench import Scenario, catalogue
from hgobench.cli.test import test as command
from hgobench.errors import InputError, Unavailable
from hgobench.report import worlds
from hgobench.results import Result
from hgobench.results.sqlite import SqliteStore
from hgobench.testing import KINDS, check, kind_of, try_named
from tests.cluster import Cluster
from tests.conftest import ROOT

HERE = "tests.broken"
# Their laws are checked rule by rule, scope by scope, in tests/test_rules.py and test_attacks.py.
ELSEWHERE = {"rule", "pre_rule", "attack", "heterogeneity_attack"}
MORE = {
    "algorithm": (
        "hgo[momentum=0.9]", "hgo[block=3]", "hgo[block=2,order=cyclic]", "sgd[momentum=0.5]",
        "hgobench.paper.quirks:Sgd", "hgo[steps=3]", "topk[fraction=0.5,memory=false]", "hgo[steps=3,whole=true]", "hgo[steps=2,narrow=true]", "fedprox[mu=0.1]",
    ),
    "solver": ("momentum[beta=0]", "nesterov[beta=0]", "adam[beta1=0]"),
    "partition": ("by_class[k=3]", "dirichlet[alpha=0.1]", "feature_shift[by=noise]", "natural"),
    "metrics": ("energy", "weights+none"),
    "augment": ("flip+crop", "crop[pad=1]+noise"),
    "workload": ("hybrid[rho=0.1]", "hybrid[rho=0.9]"),
    "condition": ("network[uplink=1e5,latency=0.1,counts=true]", "markov[leave=1]", "power[watts=0]"),
    "hardware": ("bernoulli[0.5]+markov+network[latency=1]+c1", "rare_labels+pareto", "markov"),
}  # fmt: skip
FILES = {
    "devices": "class,count,rate_mean\nphone,3,500\n",
    "trace": "worker,round,state\n0,2,off\n",
}


def named() -> Iterator[object]:
    """Yield every kind with each of its components, but for those that are held elsewhere."""
    for kind in KINDS.values():
        if kind.name in ELSEWHERE:
            continue
        for name in [*kind.registry.builtins, *MORE.get(kind.name, ())]:
            slow = kind.name in ("data", "model")
            marks = [pytest.mark.long] if slow else []
            yield pytest.param(kind.name, name, marks=marks, id=f"{kind.name}-{name}")


@pytest.mark.parametrize(("kind", "name"), list(named()))
def test_everything_obeys_the_laws_of_its_kind(kind: str, name: str, tmp_path: Path) -> None:
    told = {"logistic": "breast_cancer", "svm": "breast_cancer", "linear": "tests.plugins:Prices"}
    if name in FILES:
        (tmp_path / "file.csv").write_text(FILES[name])
        name += f"[path={tmp_path / 'file.csv'}]"
    if kind == "data" and "path" in "".join(KINDS[kind].registry.parameters(name)):
        pytest.skip("is a file of one's own")
    expected = {("hardware", "markov"): "condition", ("metrics", "energy"): "metric"}.get(
        (kind, name), kind
    )
    if name not in ("none", "standard"):  # of several kinds
        assert kind_of(name).name == expected
    try:
        check(name, expected, data=told.get(name) if kind == "model" else None)
    except Unavailable as error:
        pytest.skip(str(error))


def test_every_registry_has_a_kind() -> None:
    registries = {*catalogue.FIELDS, *catalogue._BEFORE}
    assert set(KINDS) == registries
    for kind in KINDS.values():
        assert kind.registry.field == kind.name
        assert all(law.__doc__ and law.__name__ == name for name, law in kind.laws.items())
        for entry in kind.registry.builtins.values():
            made = getattr(entry.factory, "func", entry.factory)
            assert isinstance(made, type)
            assert issubclass(made, kind.base), entry.name


BROKEN = [
    ("partition", "Doubling", "every_example_goes_to_one_worker",
     "n = 2, seed 0: its shards are no partition of the 240 training examples"),
    ("partition", "TwiceHeld", "every_example_goes_to_one_worker",
     "n = 2, seed 0: worker 0 has example 0 twice"),
    ("partition", "Unseeded", "seed_determines_the_shards",
     "n = 2: the same instance deals other shards by the same seed: draw from "
     'hgobench.determinism.stream(seed, "partition")'),
    ("partition", "Remembering", "seed_determines_the_shards",
     "n = 5: the same instance deals other shards by the same seed: draw from "
     'hgobench.determinism.stream(seed, "partition")'),
    ("partition", "Blinding", "shift_changes_features_alone",
     "n = 2: features that are not finite"),
    ("partition", "Meddling", "examples_are_left_alone", "n = 2: it changed the features"),
    ("partition", "LoudPartition", "global_state_is_left_alone",
     "partition 'tests.broken:LoudPartition' changed NumPy's error handling: put back"),
    ("hardware", "Stopped", "fleet_is_valid",
     "n = 1, d = 650, seed 0: its rates: 0 of worker 0; expected numbers finite and > 0"),
    ("hardware", "Unkeyed", "seed_determines_the_fleet",
     "n = 1, d = 650, seed 0: the same instance gives other rates by the same seed: draw by "
     'population.strength(), or from hgobench.determinism.stream(population.seed, "..")'),
    ("hardware", "Consecutive", "rounds_come_in_any_order",
     "n = 1, d = 650, seed 0: others are available in round 1, if asked for the rounds from the "
     "last to the first"),
    ("hardware", "Crossing", "order_of_strength_is_that_of_every_model",
     "n = 6: rates of workers 0 and 1: 100 and 200 with d = 650, 600 and 500 with d = 7850"),
    ("hardware", "LoudHardware", "global_state_is_left_alone",
     "hardware 'tests.broken:LoudHardware' changed NumPy's error handling: put back"),
    ("condition", "Unreachable", "fleet_is_valid",
     "n = 1, d = 650, seed 0: its latency: inf of worker 0; expected numbers finite and >= 0"),
    ("condition", "UnkeyedCondition", "seed_determines_the_fleet",
     "n = 6, d = 650, seed 0: the same instance gives other rates by the same seed: draw by "
     'population.strength(), or from hgobench.determinism.stream(population.seed, "..")'),
    ("condition", "ConsecutiveCondition", "rounds_come_in_any_order",
     "n = 1, d = 650, seed 0: others are available in round 1, if asked for the rounds from the "
     "last to the first"),
    ("condition", "Slowing", "fleet_that_is_given_is_left_alone",
     "n = 1, d = 650, seed 0: it changed the rates that it was given"),
    ("condition", "Reviving", "who_is_away_stays_away",
     "n = 1, d = 650, seed 0: 1 workers are available in round 3, 0 without the condition: keep "
     "fleet.presence, as dataclasses.replace does"),
    ("condition", "LoudCondition", "global_state_is_left_alone",
     "condition 'tests.broken:LoudCondition' changed NumPy's error handling: put back"),
    ("workload", "Overdrawing", "split_fits_the_worker",
     "d = 10: split returned 2 examples; expected no more than a worker holds, 1"),
    ("workload", "Optimistic", "time_is_enough",
     "λτ = 0.5, 1 examples, d = 10, batch_size = 8: b = 10, s = 1"),
    ("workload", "Tiring", "more_time_is_no_less",
     "λτ = 60, 1 examples, d = 10, batch_size = 8: 10 evaluations, 1 with four times the time"),
    ("workload", "Halfway", "enough_time_is_for_whole_gradients",
     "λτ = inf, 1 examples, d = 10, batch_size = 8: b = 5, s = 1; say whole = False"),
    ("workload", "Crowded", "workers_do_not_depend_on_others",
     "λτ = 60, 7 examples, d = 10, batch_size = 8: b = inf, s = 1 alone, inf and 7 beside others"),
    ("workload", "Moody", "splits_repeat",
     "the same workers got another split the second time"),
    ("workload", "LoudWorkload", "global_state_is_left_alone",
     "workload 'tests.broken:LoudWorkload' changed NumPy's error handling: put back"),
    ("solver", "Deaf", "learning_rate_is_the_scenario_s",
     "constant: rate(3, 7) = 0.1 with learning_rate=0.05, 0.1 with 0.1: take learning_rate and "
     "schedule, and call super().__init__(learning_rate, schedule)"),
    ("solver", "Spilling", "other_coordinates_stay", "block [1, 2, 5]: coordinate 4 moved"),
    ("solver", "Replacing", "other_coordinates_stay",
     "a step changed nothing: params is to be updated in place"),
    ("solver", "Decaying", "nothing_to_do_moves_nothing", "moved by up to 0.13"),
    ("solver", "StumblingFirst", "first_step_goes_down",
     "coordinate 0: moved by 0.0173 with an aggregate of 0.346"),
    ("solver", "Overshooting", "bowl_is_descended", "‖w‖ from 1.6 to nan"),
    ("solver", "Quartic", "steps_are_finite", "aggregates of about 1e+12: not finite"),
    ("solver", "Counting", "state_is_kept_by_coordinate",
     "block [1, 2, 5]: other parameters if rounds on [0, 3] come in between"),
    ("solver", "Sharing", "runs_share_nothing", "round 2: other parameters than in an equal run"),
    ("solver", "Consuming", "aggregate_is_left_alone", "it changed the aggregate"),
    ("solver", "LoudSolver", "global_state_is_left_alone",
     "solver 'tests.broken:LoudSolver' changed NumPy's error handling: put back"),
    ("augment", "Cropping", "examples_stay_examples",
     "returned torch.float32 (1, 1, 6, 5); expected torch.float32 (1, 1, 6, 6)"),
    ("augment", "Fading", "seed_determines_the_change",
     "x (1, 1, 6, 6): the same instance changes them otherwise by the same random numbers: draw "
     "from the rng that it is given"),
    ("augment", "LoudAugmentation", "global_state_is_left_alone",
     "augment 'tests.broken:LoudAugmentation' changed NumPy's error handling: put back"),
    ("metric", "Infinite", "measures_are_finite_numbers",
     "a regression of which little is known: measure loss: inf; expected a finite number"),
    ("metric", "Unnamed", "measures_are_those_it_names",
     "a classification: returns loss; its measures are none"),
    ("metric", "Tally", "same_end_same_measures",
     "a classification: the same instance measures something else"),
    ("metric", "Wiping", "end_is_left_alone", "a classification: it changed the params"),
    ("metric", "LoudMetric", "global_state_is_left_alone",
     "metric 'tests.broken:LoudMetric' changed NumPy's error handling: put back"),
    ("algorithm", "Hasty", "updates_are_at_most_its_gradients",
     "granularity scalar, cost scalar: its updates leave [1, 1]"),
    ("algorithm", "Weightless", "answers_are_numbers",
     f"granularity scalar, cost scalar: {[0] * 22} for lengths 0 .. 21"),
    ("algorithm", "Shrinking", "what_fits_stays",
     "values that were fitted change if they are fitted again"),
    ("algorithm", "Muting", "scales_are_finite", "[0.] for updates [1]"),
    ("algorithm", "TooLong", "lengths_lie_within_the_order",
     "granularity scalar, cost scalar: its lengths leave [0, 21]"),
    ("algorithm", "Impatient", "more_time_is_no_shorter",
     "granularity scalar, cost scalar: lengths [21, 21, 20, 18, 14, 1, 0, 0, 0, 0] for budgets "
     "[0.0, 0.5, 1.0, 3.7, 7.0, 20.9, 21.0, 50.0, 1000000000.0, inf]"),
    ("algorithm", "Generous", "server_takes_no_more_than_was_sent",
     "granularity scalar, cost scalar: accepts a length of 21; 1 was sent"),
    ("algorithm", "Lenient", "parts_are_answers_only_if_it_says_so",
     "granularity scalar, cost scalar: accepts 1 of 21 places; say partial = True"),
    ("algorithm", "Modest", "computed_counts_what_was_sent",
     "granularity scalar, cost scalar: 0; expected a whole number from 115 to 210"),
    ("algorithm", "Cheap", "full_cost_pays_for_all",
     "granularity scalar, cost scalar: 0 places for 10, 21 for any budget"),
    ("algorithm", "Trusting", "quorum_is_enough",
     "1 for f̂ = 0; expected a whole number, at least the rule's 3"),
    ("algorithm", "Greedy", "messages_fit",
     "algorithm 'tests.broken:Greedy': ValueError: more gradients are taken than `updates` says "
     "(tests/broken.py:LINE)"),
    ("algorithm", "Chatty", "messages_do_not_depend_on_others",
     "granularity scalar, cost scalar: if workers [3] are asked, and not [3, 11, 0, 7, 20, 5], "
     "messages differ by 1.97"),
    ("algorithm", "Gossiping", "runs_share_nothing",
     "round 1: other messages than in an equal run"),
    ("algorithm", "Restless", "what_is_held_is_a_function",
     "round 1: asked twice, it holds something else"),
    ("algorithm", "Overfull", "pool_is_of_its_workers",
     "20 of q=5, n=20; expected a whole number from 5 to 5"),
    ("algorithm", "Receding", "differences_are_clipped_by_the_step",
     "[1.0, 0.9999990000010001, 0.9090909090909091, 0.5, 0.0196078431372549] for steps of 0 to 50"),
    ("algorithm", "Hesitant", "weights_weigh_the_answers",
     "with 100 answers and none outstanding the server still waits"),
    ("algorithm", "Weighing", "weights_weigh_the_answers",
     "10 waiting answers: [ 1.  0. -1.  1.  0. -1.  1.  0. -1.  1.]; expected (10,) finite "
     "numbers >= 0"),
    ("algorithm", "Pretending", "rounds_are_as_it_says",
     "1 answers, 3 outstanding: weights [1.]; the simulation asks for none: leave by_rounds as it "
     "is"),
    ("algorithm", "Overflowing", "buffers_are_those_it_says", "its buffers leave [0, 4]"),
    ("algorithm", "LoudAlgorithm", "global_state_is_left_alone",
     "algorithm 'tests.broken:LoudAlgorithm' changed NumPy's error handling: put back"),
]  # fmt: skip
# These are broken in more ways than one.
TWICE = {"Unkeyed", "UnkeyedCondition", "Replacing", "Sharing", "TooLong",
         "Impatient", "Greedy", "Hasty", "Infinite"}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name", "law", "said"), BROKEN, ids=[name for _, name, *_ in BROKEN]
)
def test_what_is_broken_breaks_its_law(kind: str, name: str, law: str, said: str) -> None:
    what, verdicts = try_named(f"{HERE}:{name}")
    assert what.name == kind
    failed = {verdict.law: verdict.detail for verdict in verdicts if verdict.outcome == "fail"}
    line = failed[law].rpartition("broken.py:")[2].partition(")")[0]
    assert failed[law] == said.replace("LINE", line)
    assert (len(failed) > 1) == (name in TWICE)


def test_every_law_is_broken_by_something() -> None:
    broken = {(kind, law) for kind, _, law, _ in BROKEN}
    held = {
        (kind.name, law)
        for kind in KINDS.values()
        if kind.name not in {*ELSEWHERE, "data", "model", "metrics"}
        for law in kind.laws
    }
    assert held == broken


def test_what_is_no_component_is_refused_wherever_it_is_made() -> None:
    with pytest.raises(InputError, match="Doubling': its shards are no partition of the 1221 "):
        worlds.deal(f"{HERE}:Doubling", "digits", 10, 0)
    for field, name, problem in (
        ("partition", "Vague", "its exclusive: 'no'; expected True or False"),
        ("workload", "Doubtful", "its whole: None; expected True or False"),
    ):
        with pytest.raises(InputError, match=re.escape(f"{field}: '{HERE}:{name}': {problem}")):
            Scenario(**{field: f"{HERE}:{name}"})  # type: ignore[arg-type]


def test_who_says_why_is_exempt() -> None:
    for name, law, reason in (
        ("Lawful", "state_is_kept_by_coordinate", "γ falls by the round"),
        ("Excused", "weights_weigh_examples", "every example counts"),
        ("hybrid", "more_time_is_no_less", "ρ is raised where time is short, and not where it is not"),
    ):  # fmt: skip
        _, verdicts = try_named(f"{HERE}:{name}" if name[0].isupper() else name)
        (verdict,) = [verdict for verdict in verdicts if verdict.law == law]
        assert (verdict.outcome, verdict.detail) == ("not applicable", reason)
    check(f"{HERE}:Public")  # examples that several hold
    with pytest.raises(InputError, match=r"^solver: 'tests.broken:Misspelt': exempt: no such law"):
        check(f"{HERE}:Misspelt")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("krum", "rule"), ("nnm", "pre_rule"), ("nnm+krum", "rule"), ("ipm", "attack"),
        ("tail", "heterogeneity_attack"), ("tail+starve", "attack"), ("tail+alie", "attack"),
        ("bernoulli+network", "hardware"), ("bernoulli[p=0.5] + c1", "hardware"), ("markov", "condition"),
        ("dirichlet[alpha=0.1]", "partition"), ("adam", "solver"), ("hybrid", "workload"),
        ("hgo", "algorithm"), ("digits", "data"), ("flip+crop", "augment"), (f"{HERE}:brighter", "augment"), ("softmax", "model"), ("torch.nn:Linear", "model"),
        (f"{HERE}:halves", "partition"), (f"{HERE}:one_by_one", "rule"),
        ("tests.plugins:MyMedian", "rule"), ("nnm+tests.plugins:MyMedian", "rule"),
        (f"{HERE}:Slowing+{HERE}:Crossing", "hardware"), (f"{HERE}:Wiping", "metric"), ("tail+none", "attack"),
        ("weights", "metric"), (f"{HERE}:Wiping+none", "metrics"), ("energy+weights", "metrics"),
    ],
)  # fmt: skip
def test_a_name_has_a_kind(name: str, kind: str) -> None:
    assert kind_of(name).name == kind


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ((f"{HERE}:Nothing",), "test: 'tests.broken:Nothing' is tests.broken.Nothing, of no kind; "
         "expected one of model (a subclass of hgobench.models.Model, or a torch module); "),
        ((f"{HERE}:Both",), "test: 'tests.broken:Both' is of several kinds: partition and workload; "
         "say which by --kind"),
        ((f"{HERE}:Nothing", "partition"), "partition: 'tests.broken:Nothing' is "
         "tests.broken.Nothing; expected a subclass of hgobench.data.partitions.Partition"),
        (("iid", "partitio"), "kind: unknown 'partitio'; did you mean 'partition'?"),
        (("none",), "test: 'none' is of several kinds: augment and attack and metrics; say which by --kind"),
        (("iidd",), "test: unknown 'iidd'; did you mean 'iid'? (or module:Class of your own)"),
        (("nnm+iid",), "test: 'nnm+iid': nnm is not written before partition"),
        (("adam", None, "digits"), "data: 'adam' is no model or partition; other kinds are tried "
         "without data"),
        ((f"{HERE}:Misspelled",), "test: 'tests.broken:Misspelled': tests.broken: unknown "
         "'Misspelled'; did you mean 'Misspelt'?"),
        (("tests.nowhere:Net",), "test: 'tests.nowhere:Net' does not import: ModuleNotFoundError: "
         "No module named 'tests.nowhere'"),
        (("natural", None, "digits"), "partition: natural: the data names no groups; "),
        (("by_class[k=5]",), "partition: by_class[k=5] with 2 workers and 4 classes; expected "
         "k <= 4 and workers * k >= 4; name the data that it is for by --data"),
    ],
)  # fmt: skip
def test_what_has_no_kind_is_refused(asked: tuple[str, ...], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        list(try_named(*asked)[1])
    assert caught.value.problems[0].startswith(problem)


def test_a_kind_can_be_said() -> None:
    kind, verdicts = try_named(f"{HERE}:Both", "workload")
    assert kind.name == "workload"
    assert {verdict.outcome for verdict in verdicts} == {"pass"}
    assert try_named(f"{HERE}:Both", "partition")[0].name == "partition"


def test_the_command_says_what_it_saw_and_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        command(f"{HERE}:Doubling")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().out == (
        f"partition tests.broken:Doubling (tests{os.sep}broken.py)\n"
        "  fail            every_example_goes_to_one_worker\n"
        "                  Shards are disjoint, not empty, and cover 0 .. N-1; if not `exclusive`, "
        "they lie in it.\n"
        "                  n = 2, seed 0: its shards are no partition of the 240 training examples\n"
        "  pass            seed_determines_the_shards\n"
        "  pass            shift_changes_features_alone\n"
        "  pass            examples_are_left_alone\n"
        "  pass            global_state_is_left_alone\n"
        "4 pass, 1 fail\n"
    )
    with pytest.raises(InputError, match="rule: unknown 'iid'"):
        command("iid", kind="rule")


PICTURES = """
import numpy as np


def pictures():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    return rng.random((300, 8, 8)) + labels[:, None, None], labels
"""
OWN = {
    "data": "pictures", "partition": "Regions", "model": "Net[width=2]", "augment": "rotated",
    "hardware": "TwoRacks", "condition": "Nights", "workload": "AtLeast", "algorithm": "FedAvg",
    "solver": "Signum", "rule": "NearMedian", "attack": "Overshoot", "metrics": "Noisy",
}  # fmt: skip


def settings(own: Mapping[str, str]) -> list[str]:
    """Return what makes a suite's cells of one's own components of every kind."""
    fields = {
        **own,
        "hardware": f"{own['condition']}+{own['hardware']}",
        "rounds": "2",
        "seed": "0",
    }
    del fields["condition"]
    return [word for name, value in fields.items() for word in ("--set", f"{name}={value}")]


@pytest.mark.long
def test_everything_of_one_s_own_by_module_and_by_name_on_every_engine(tmp_path: Path) -> None:
    """The examples of all pages in one cell: from a folder, from a package, and on a cluster."""
    pages = [
        "add-a-rule", "add-an-attack", "add-a-model", "add-a-partition", "add-an-augmentation", "add-devices",
        "add-a-workload", "add-an-algorithm", "add-a-solver", "metrics",
    ]  # fmt: skip
    blocks = [PICTURES]
    for page in pages:
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        blocks += re.findall(r"```python\n(# mine.py\n.*?)```", text, re.DOTALL)
        blocks += re.findall(
            r"```python\n(from dataclasses import replace\n.*?)```", text, re.DOTALL
        )
    mine, site, other = (tmp_path / name for name in ("mine", "site", "other"))
    for folder in (mine, site, other):
        folder.mkdir()
    for folder, module in ((mine, "mine"), (site, "installed")):
        (folder / f"{module}.py").write_text("\n\n".join(blocks))
    about = site / "installed-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n")
    names = {kind: f"our_{kind}" for kind in OWN}
    (about / "entry_points.txt").write_text(
        "".join(
            f"[hgobench.{KINDS[kind].registry.plural}]\n{names[kind]} = installed:{name.partition('[')[0]}\n"
            for kind, name in OWN.items()
        )
    )

    def run(folder: Path, own: Mapping[str, str], out: str, *more: str) -> Result:
        words = ["run", "smoke", *settings(own), "--out", str(tmp_path / out), "--quiet", *more]
        done = subprocess.run(
            [sys.executable, "-m", "hgobench", *words], cwd=folder, text=True, capture_output=True, check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        with SqliteStore(tmp_path / out, create=False) as store:
            ((_, result),) = store.results()
        assert (result.status, result.reason) == ("done", "")
        return result

    by_module = {kind: f"mine:{name}" for kind, name in OWN.items()}
    local = run(mine, by_module, "local")
    named = run(other, {**names, "model": "our_model[width=2]"}, "named")
    assert (named.rounds, named.measures) == (local.rounds, local.measures)
    assert "noisy_accuracy" in local.measures
    pytest.importorskip("distributed")
    with Cluster(tmp_path) as cluster:
        cluster.add_worker(folder=other)
        there = run(mine, by_module, "dask", "--engine", "dask", "--address", cluster.address)
    assert (there.rounds, there.measures) == (local.rounds, local.measures)
