"""A scenario on real devices, without a network: devices answer in this process.

What they send is held against the simulation of the same devices: the same draws, hence the same
rounds, up to the last bits of gradients that NumPy takes here and torch there.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hgobench import Scenario, World, attacks, open_store
from hgobench.cli import app as command
from hgobench.devices.byzantine import Attacker, Group, Own, byzantine, sampled
from hgobench.devices.folder import commands, new
from hgobench.devices.log import Heard, Log
from hgobench.devices.meter import Meter
from hgobench.devices.replay import replayed
from hgobench.devices.server import Reply, Run
from hgobench.devices.worker import (
    MARGIN,
    UNKNOWN,
    Ask,
    Pace,
    Shard,
    answer,
    calibrate,
    shard,
    shard_bytes,
    softmax_gradient,
)
from hgobench.errors import InputError
from hgobench.flower.links import Link
from hgobench.flower.study import (
    Device,
    Pair,
    compared,
    declared,
    devices_of,
    page,
    predicted,
    rates,
    variants,
)
from hgobench.models import Softmax
from hgobench.results.result import Result
from hgobench.simulation import simulate

BASE: dict[str, Any] = {
    "workers": 9, "sampled": 7, "rule": "median", "rounds": 5, "evaluation_interval": 2,
    "learning_rate": 0.5, "deadline": 32.0,
}  # fmt: skip
# Of the same devices these depend on the clock, or on what workers computed in vain.
ELSEWHERE = ("time", "coordinates", "malformed")


class Here:
    """Devices in this process, as fast as the simulation's."""

    def __init__(
        self,
        folder: Path,
        scenario: Scenario,
        hardware: str = "standard",
        rates: Sequence[float] | None = None,
        overhead: float = 0.0,
    ) -> None:
        self.scenario = scenario
        self.world = World(scenario.replace(hardware=hardware))
        features, labels = self.world.features.numpy(), self.world.labels.numpy()
        self.shards = [Shard(features[rows], labels[rows]) for rows in self.world.shards]
        self.hostile = byzantine(scenario)
        self.rates = self.world.rates.tolist() if rates is None else list(rates)
        self.overhead = overhead
        self.group = Group(folder / "group", "run")

    def replies(self, run: Run) -> dict[int, Reply]:
        """Return what those that are asked answer in time, all at once, as attackers wait."""
        params, found, errors = run.params, dict[int, Reply](), list[BaseException]()

        def act(worker: int) -> None:
            try:
                ask = Ask.of(json.loads(json.dumps(run.ask(worker).told())))
                pace = Pace(self.rates[worker], False, [self.overhead])
                if self.hostile[worker] and self.scenario.attack != "none":
                    attacker = Attacker(self.scenario.attack, self.scenario, self.group)
                    sent = attacker.sent(ask, params, self.shards[worker], pace)
                    values, updates = sent.values, sent.updates
                    if sent.delay:
                        return
                else:
                    values, updates = answer(ask, params, self.shards[worker], pace)
                if len(values):
                    found[worker] = Reply(values, updates)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=act, args=(worker,)) for worker in run.workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return found

    def play(self, run: Run, rounds: int = 10**6) -> list[np.ndarray]:
        """Play rounds; return the parameters before each."""
        seen = []
        while not run.over and rounds:
            seen.append(run.params)
            replies = self.replies(run)
            run.hear(replies, asked=len(run.workers), malformed=0, seconds=32.0)
            rounds -= 1
        return seen


def both(tmp_path: Path, **fields: Any) -> tuple[Result, Result, float]:
    """Return a run on devices, its simulation, and by how much their parameters differ at most."""
    scenario = Scenario(**{**BASE, "hardware": "real", **fields})
    run = Run.resumed(scenario, tmp_path, "real-1")
    seen = Here(tmp_path, scenario).play(run)
    steps: list[np.ndarray] = []
    (simulated,) = simulate(
        [scenario.replace(hardware="standard")],
        observe=lambda step: steps.append(step.params.clone().numpy()),
    )
    assert len(seen) == len(steps)
    apart = max(float(np.abs(a - b).max()) for a, b in zip(seen, steps, strict=True))
    return run.result(), simulated, apart


def same_rounds(real: Result, simulated: Result, *but: str) -> None:
    for name, column in simulated.rounds.items():
        if name not in (*ELSEWHERE, *but):
            assert list(real.rounds[name]) == pytest.approx(list(column), nan_ok=True, abs=1e-5)


@pytest.mark.parametrize(
    "fields",
    [
        {"algorithm": "hgo"},
        {"algorithm": "hgo[steps=3]", "rule": "nnm+trimmed_mean", "tolerated": 1},
        {"algorithm": "sgd", "deadline": 50.0},
        {"algorithm": "fedavg[steps=3,rate=0.2]"},
        {"algorithm": "fedprox[mu=0.5,steps=3]"},
        {"model": "softmax[ridge=0.1]", "partition": "dirichlet[alpha=0.2]", "batch_size": 200},
        {"model": "linear", "learning_rate": 0.001},
        {"algorithm": "hgo[memory=last]"},
        {"rule": "centered_clipping", "solver": "adam", "learning_rate": 0.01},
    ],
    ids=lambda fields: " ".join(map(str, fields.values())),
)
def test_devices_do_what_the_simulation_says(tmp_path: Path, fields: dict[str, Any]) -> None:
    real, simulated, apart = both(tmp_path, **fields)
    assert apart < 1e-5
    same_rounds(real, simulated)
    assert (real.status, real.summary["time"]) == ("done", 5 * 32.0)
    assert real.summary["mean_heard"] > 0


ALIKE = ["sign_flip", "random_noise", "label_flip", "stale[age=2]", "stale", "crash", "nan", "huge",
         "late+sign_flip", "starve+sign_flip", "flood+sign_flip", "own_lengths+sign_flip",
         "wrong_length+bit_flip", "badnets", "targeted_flip", "mpaf", "claim_steps+sign_flip"]  # fmt: skip


# One that sends wrong values, data, an old answer, nothing, and a wrong length; the others take long.
SOON = ("sign_flip", "label_flip", "stale", "crash", "starve+sign_flip")


@pytest.mark.parametrize(
    "attack",
    [pytest.param(name, marks=() if name in SOON else pytest.mark.long) for name in ALIKE],
)
def test_attacks_without_a_look_at_honest_messages_are_the_simulation_s(
    tmp_path: Path, attack: str
) -> None:
    real, simulated, apart = both(
        tmp_path, attack=attack, byzantine=2, sampled=9, attack_start=1, learning_rate=0.2
    )  # one of them is as fast as the fastest, so that the group knows how long to claim
    assert apart < 1e-5
    same_rounds(real, simulated)
    alone = both(tmp_path / "alone", byzantine=2, sampled=9, learning_rate=0.2)[0]
    assert alone.rounds["test_accuracy"][1] != simulated.rounds["test_accuracy"][1]


@pytest.mark.parametrize("attack", ["alie", "foe", "tail+alie", "min_max", "mimic"])
def test_those_that_look_at_honest_messages_look_at_the_group_s_own(
    tmp_path: Path, attack: str
) -> None:
    """By definition: q - b times what the group would send, in turn, in the honest ones' place."""
    scenario = Scenario(**{**BASE, "hardware": "real", "attack": attack, "byzantine": 3,
                           "sampled": 9})  # fmt: skip
    run = Run.resumed(scenario, tmp_path, "real-1")
    here = Here(tmp_path, scenario)
    for _ in range(2):
        replies, k = here.replies(run), run.k + 1
        group = [int(worker) for worker in sampled(scenario, k) if here.hostile[worker]]
        own = here.group.get(k, group)
        assert [one.worker for one in own] == group
        sent = {worker: replies[worker].values for worker in group}
        assert all(np.isfinite(values).all() for values in sent.values())
        run.hear(replies, asked=9, malformed=0, seconds=1.0)
    assert run.result().rounds["byzantine_heard"] == [3, 3]
    if attack == "foe":  # -ε times the mean of six, of which three are each other's copies
        honest = np.zeros((6, 650), np.float32)
        for place, row in enumerate(honest):
            one = own[place % 3]
            first = Ask.of(run.ask(0).told() | {"round": 2}).order[: one.length]
            row[first] = one.values[first]
        order = Ask.of(run.ask(0).told() | {"round": 2}).order
        heard = np.array([own[place % 3].length for place in range(6)])
        position = np.argsort(order)
        count = (position < heard[:, None]).sum(axis=0)
        mean = honest.sum(axis=0) / np.maximum(count, 1)
        for worker in group:
            length = len(sent[worker])
            assert sent[worker] == pytest.approx(-10.0 * mean[order[:length]], abs=1e-4)


def test_those_who_are_alone_go_on_without_the_others(tmp_path: Path) -> None:
    scenario = Scenario(**{**BASE, "hardware": "real", "attack": "alie", "byzantine": 2,
                           "sampled": 9, "deadline": 0.2})  # fmt: skip
    here = Here(tmp_path, scenario)
    run = Run.resumed(scenario, tmp_path, "real-1")
    worker = int(np.flatnonzero(here.hostile)[0])
    attacker = Attacker("alie", scenario, here.group)
    pace = Pace(1e6, False, [0.0])
    sent = attacker.sent(run.ask(worker), run.params, here.shards[worker], pace)
    assert len(sent.values) > 0
    assert np.isfinite(sent.values).all()


@pytest.mark.parametrize(
    ("attack", "of", "folder", "problem"),
    [
        ("foe", "alie", True, "attack: 'foe' is this device's; the scenario says 'alie'"),
        ("stale", "stale", False, "attack: 'stale' remembers earlier rounds: it needs a folder"),
        ("alie", "alie", False, "attack: 'alie' looks at what others send: it needs a folder"),
        ("optimal_foe", "optimal_foe", True, "'optimal_foe' tries messages on the server"),
    ],
)
def test_an_attacker_that_can_t_do_it_says_so(
    tmp_path: Path, attack: str, of: str, folder: bool, problem: str
) -> None:
    scenario = Scenario(**{**BASE, "attack": of, "byzantine": 2})
    with pytest.raises(InputError, match=problem):
        Attacker(attack, scenario, Group(tmp_path if folder else None, "x"))


def test_lengths_are_bounded_where_attackers_can_t_lie_about_speed(tmp_path: Path) -> None:
    real, simulated, apart = both(
        tmp_path, attack="flood+sign_flip", byzantine=2, lies_about_speed="no"
    )
    assert apart < 1e-5
    same_rounds(real, simulated)


# -- the server's side -----------------------------------------------------------------------------


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "hardware": ({"hardware": "c1"}, "hardware: 'c1'; expected 'real' or 'real[name]'"),
    "momentum": ({"algorithm": "hgo[momentum=0.9]"}, "algorithm: 'hgo[momentum=0.9]'; devices know"),
    "fednova": ({"algorithm": "fednova"}, "algorithm: 'fednova'; devices know hgo"),
    "cyclic": ({"algorithm": "hgo[block=3,order=cyclic]"}, "algorithm: 'hgo[block=3,order=cyclic]'"),
    "places": ({"granularity": "feature"}, "granularity: 'feature'; devices know 'scalar' alone"),
    "cost": ({"cost": "unit"}, "cost: 'unit'; devices know 'scalar' alone"),
    "workload": ({"workload": "data_first"}, "workload: 'data_first'; devices know 'fixed' alone"),
    "weights": ({"weights": "examples"}, "weights: 'examples'; devices know 'none' alone"),
    "server": ({"attack": "optimal_foe", "byzantine": 2}, "attack: 'optimal_foe' tries messages"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_devices_can_t_do_is_refused(tmp_path: Path, what: str) -> None:
    fields, problem = REFUSED[what]
    with pytest.raises(InputError) as refused:
        Run.resumed(Scenario(**{**BASE, "hardware": "real", **fields}), tmp_path, "real-1")
    assert problem in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_devices_that_exist_are_not_simulated() -> None:
    for hardware in ("real", "real[five-phones]", "network[latency=1]+real"):
        with pytest.raises(InputError, match="these devices exist, and run on Flower"):
            World(hardware=hardware)
    assert Scenario(hardware="real").digest != Scenario().digest


def test_too_few_answers_stall_and_nobody_there_does_too(tmp_path: Path) -> None:
    scenario = Scenario(**{**BASE, "hardware": "real", "byzantine": 1})
    run = Run.resumed(scenario, tmp_path, "real-1")
    before = run.params
    some = Reply(np.ones(650, np.float32))
    row = run.hear({run.workers[0]: some}, asked=7, malformed=2, seconds=1.5)
    assert (row["stalled"], row["heard"], row["malformed"]) == (True, 1, 2)
    row = run.hear({}, asked=0, malformed=0, seconds=1.0)
    assert (row["stalled"], row["bytes_down"], row["time"]) == (True, 0, 2.5)
    assert np.array_equal(run.params, before)
    assert row["block_size"] == row["bytes_up"] == 0


def test_nan_reaches_the_rule_as_in_the_simulation(tmp_path: Path) -> None:
    """One row of it is ignored by the median; the average says that it can't, and the run ends."""
    for rule, status in (("median", "done"), ("average", "diverged")):
        scenario = Scenario(
            **{**BASE, "hardware": "real", "byzantine": 1, "rule": rule, "rounds": 1}
        )
        run = Run.resumed(scenario, tmp_path / rule, "real-1")
        replies = {w: Reply(np.full(650, i, np.float32)) for i, w in enumerate(run.workers)}
        replies[run.workers[0]] = Reply(np.full(650, np.nan, np.float32))
        run.hear(replies, asked=7, malformed=0, seconds=1.0)
        assert (run.result().status, run.over) == (status, True)
        assert np.isfinite(run.params).all()


# -- the log ---------------------------------------------------------------------------------------


LOGGED: dict[str, Any] = {
    **BASE, "hardware": "real", "rule": "centered_clipping", "solver": "adam", "byzantine": 2,
    "attack": "sign_flip", "learning_rate": 0.01,
}  # fmt: skip


def test_a_run_that_starts_again_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    """With a rule and a solver that remember: to the last bit, after every round."""
    scenario = Scenario(**LOGGED)
    whole = Run.resumed(scenario, tmp_path / "whole", "real-1")
    Here(tmp_path / "whole", scenario).play(whole)
    here = Here(tmp_path / "parts", scenario)
    for k in range(5):
        run = Run.resumed(scenario, tmp_path / "parts", "real-1")
        assert run.k == k
        here.play(run, rounds=1)
    run = Run.resumed(scenario, tmp_path / "parts", "real-1")
    assert run.over
    assert np.array_equal(run.params, whole.params)
    a, b = run.result(), whole.result()
    assert {name: str(column) for name, column in a.rounds.items()} == {
        name: str(column) for name, column in b.rounds.items()
    }
    assert (a.right, a.measures) == (b.right, b.measures)
    with pytest.raises(InputError, match="more rounds than the run has"):
        run.hear({}, asked=0, malformed=0, seconds=1.0)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return a folder with a run's replies and its result."""
    scenario = Scenario(**LOGGED)
    run = Run.resumed(scenario, tmp_path, "real-1")
    Here(tmp_path, scenario).play(run)
    with open_store(tmp_path) as store:
        store.add(run.result(engine="none"), "real-1")
    return tmp_path


def changed(kept: Path, k: int, **arrays: np.ndarray) -> None:
    (path,) = kept.glob(f"replies/*/round-{k:06d}.npz")
    with np.load(path) as file:
        held = {name: file[name] for name in file.files}
    np.savez(path, **{**held, **arrays})


def replay(folder: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(command, ["replay", str(folder), *options])
    if isinstance(done.exception, InputError):
        raise done.exception
    return done.exit_code, done.output


def test_a_replay_makes_the_same_model_and_the_same_result(kept: Path) -> None:
    (run,) = replayed(kept)
    assert (run.rounds, run.over, run.differs, run.stored, run.same) == (5, True, 0, True, True)
    code, said = replay(kept, "--format", "json")
    (told,) = json.loads(said)
    assert (code, told["rounds"], told["differs"], told["stored"]) == (0, 5, None, True)
    assert "the same, bit by bit" in replay(kept)[1]
    (path,) = kept.glob("replies/*/round-000005.npz")
    path.unlink()
    (run,) = replayed(kept)
    assert (run.rounds, run.over, run.differs, run.stored, run.same) == (4, False, 0, False, False)
    assert "unfinished" in replay(kept)[1]


def test_a_replay_finds_what_was_changed(kept: Path) -> None:
    (path,) = kept.glob("replies/*/round-000003.npz")
    with np.load(path) as file:
        values, params = file["values"].copy(), file["params"].copy()
    values[-1] += 1e-3
    changed(kept, 3, values=values)
    code, said = replay(kept)
    assert code == 1
    assert "another from round 3" in said
    with pytest.raises(InputError, match="rounds 1 to 3 make another model than they did"):
        Run.resumed(Scenario(**LOGGED), kept, "real-1")
    values[-1] -= 1e-3
    params[0] = np.nextafter(params[0], np.float32(9))
    with np.load(path) as file:
        original = file["values"]
    changed(kept, 3, params=params, values=original)
    assert replayed(kept)[0].differs == 3


DAMAGE: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "a row twice": ({"rows": np.array([1, 1])}, "rows, lengths and updates are not"),
    "values": ({"values": np.zeros(3, np.float32)}, "not as many values as were sent"),
    "float64": ({"values": np.zeros(3)}, "not as many values as were sent"),
    "time": ({"seconds": np.array(-1.0)}, "seconds below 0"),
    "counts": ({"counts": np.array([99, 0])}, "counts that can't be"),
    "params": ({"params": np.zeros(3, np.float32)}, "3 parameters, not 650"),
    "joules": ({"joules": np.array([-1.0])}, "joules that can't be"),
    "objects": ({"params": np.array([{}], dtype=object)}, "Object arrays cannot be loaded"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_log_may_be_anybody_s(kept: Path, what: str) -> None:
    arrays, problem = DAMAGE[what]
    changed(kept, 2, **arrays)
    with pytest.raises(InputError, match=problem):
        replayed(kept)


def test_what_is_no_log_is_refused(kept: Path, tmp_path: Path) -> None:
    (path,) = kept.glob("replies/*/round-000002.npz")
    path.write_bytes(b"\x80\x04rubbish")
    with pytest.raises(InputError, match="not the replies of a round"):
        replayed(kept)
    (run,) = kept.glob("replies/*/run.json")
    for text, problem in (
        ("{", "run.json"),
        ('{"format": 2}', "format 2; expected 1"),
        ('{"format": 1, "ruleset": 3, "scenario": {}}', "expected a ruleset and a scenario"),
        ('{"format": 1, "ruleset": "a", "scenario": {"rule": 3}}', "rule: 3; expected str"),
        ('{"format": 1, "ruleset": "a", "scenario": {"workers": 5}}', "hardware: 'standard'"),
    ):
        run.write_text(text)
        with pytest.raises(InputError, match=problem):
            replayed(kept)
    with pytest.raises(InputError, match="no replies of real devices"):
        replayed(tmp_path / "nowhere")


def test_a_round_that_can_t_be_kept_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: it raises, and what was kept before is whole."""
    scenario = Scenario(**LOGGED)
    run = Run.resumed(scenario, tmp_path, "real-1")
    here = Here(tmp_path, scenario)
    here.play(run, rounds=2)

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            here.play(run, rounds=1)
    again = Run.resumed(scenario, tmp_path, "real-1")
    assert again.k == 2
    here.play(again)
    assert replayed(tmp_path)[0].same


def test_two_runs_do_not_mix(tmp_path: Path) -> None:
    log = Log.of(tmp_path, "real-1", Scenario(**LOGGED))
    log.begin(Scenario(**LOGGED), "real-1")
    log.begin(Scenario(**LOGGED), "real-1")
    with pytest.raises(InputError, match="holds the replies of another scenario"):
        log.begin(Scenario(**LOGGED), "real-2")
    assert Log.of(tmp_path, "real-2", Scenario(**LOGGED)).folder != log.folder
    assert Log.of(tmp_path, "../..", Scenario()).folder.parent == log.folder.parent


def test_the_result_is_on_a_board_of_real_devices(kept: Path) -> None:
    done = CliRunner().invoke(command, ["leaderboard", str(kept), "--format", "json"])
    assert done.exit_code == 0
    (board,) = json.loads(done.output)["boards"]
    assert board["hardware"] == "real"
    with open_store(kept, create=False) as store:
        ((ruleset, result),) = store.results()
    assert (ruleset, result.provenance["engine"]) == ("real-1", "none")


# -- a device's side -------------------------------------------------------------------------------


def test_softmax_gradients_are_torch_s_by_numpy() -> None:
    import torch

    draw = np.random.default_rng(0)
    model = Softmax(features=7, classes=4, ridge=0.3)
    params = draw.normal(size=model.dimension).astype(np.float32)
    x = draw.normal(size=(11, 7)).astype(np.float32)
    y = draw.integers(0, 4, 11)
    found = softmax_gradient(params, x, y, 0.3)
    expected = model.gradients(
        torch.from_numpy(params)[None], torch.from_numpy(x)[None], torch.from_numpy(y)[None]
    )
    assert found == pytest.approx(expected[0, 0].numpy(), abs=1e-6)
    assert found.dtype == np.float32
    with np.errstate(all="raise"):
        assert softmax_gradient(params * np.float32(np.inf), x, y).shape == found.shape


def test_minibatches_and_orders_are_the_world_s(tmp_path: Path) -> None:
    fields = {**BASE, "hardware": "real", "partition": "dirichlet[alpha=0.1]", "batch_size": 150}
    scenario = Scenario(**fields)
    run = Run.resumed(scenario, tmp_path, "real-1")
    world, draw = run.world, run.world.draw(1)
    assert len({len(rows) for rows in world.shards}) > 1
    for row, worker in enumerate(run.workers):
        ask, held = run.ask(worker), world.shards[worker]
        assert np.array_equal(held[ask.minibatch(len(held))], draw.batch[row][: draw.size[row]])
        further = world.further(1, draw, 3)[row][: draw.size[row]]
        assert np.array_equal(held[ask.minibatch(len(held), 3)], further)
        assert np.array_equal(ask.order, world.order(1, 650))


def asked(**fields: Any) -> Ask:
    said: dict[str, Any] = {
        "round": 3, "worker": 0, "row": 0, "sampled": 1, "width": 4, "dimension": 100,
        "deadline": 30.0, "trip": 0.0, "answered": 0, "missed": 0, "seed": 0, "batch_size": 4,
        "steps": 1, "whole": False, "rate": 0.1, "pull": 0.0, "ridge": 0.0, "scenario": "{}",
    }  # fmt: skip
    return Ask.of({**said, **fields})


def test_a_device_sends_what_there_is_time_for() -> None:
    """b = ⌊t·λ/(K·s)⌋, at most d, with t = τ - 1.5 times the slowest way of the last ones."""
    pace = Pace(10.0, True, [2.0, 4.0, 3.0])
    assert pace.left(asked()) == 30.0 - MARGIN * 4.0 == 24.0
    assert pace.plan(asked(), examples=4) == (1, 60)
    assert pace.plan(asked(steps=3), examples=4) == (3, 20)
    assert pace.plan(asked(deadline=1e9), examples=4) == (1, 100)
    assert pace.plan(asked(deadline=float("inf")), examples=4) == (1, 100)
    assert pace.plan(asked(deadline=6.0), examples=4) == (1, 3)  # by the last one, in 1.5 s
    assert pace.plan(asked(deadline=4.0), examples=4) == (1, 0)
    assert pace.plan(asked(missed=2), examples=4) == (1, 45)  # a tenth of τ for each
    assert pace.plan(asked(whole=True, steps=5), examples=1) == (2, 100)
    assert pace.plan(asked(whole=True, steps=5), examples=4) == (1, 0)
    assert pace.plan(asked(whole=True, steps=5, deadline=float("inf")), examples=4) == (5, 100)
    assert Pace(10.0, True, []).left(asked()) == 30.0 - MARGIN * UNKNOWN
    # If the slowest leaves nothing, the last one counts.
    assert Pace(10.0, True, [40.0, 4.0]).left(asked()) == 24.0
    assert Pace(10.0, True, [4.0, 40.0]).left(asked()) == -30.0


def test_a_declared_device_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    data = Shard(np.zeros((4, 9), np.float32), np.zeros(4, np.int64))
    sent = answer(asked(), np.zeros(100, np.float32), data, Pace(10.0, True, [4.0]))
    assert len(sent.values) == 60
    assert 23.0 < slept[0] <= 24.0
    answer(asked(), np.zeros(100, np.float32), data, Pace(10.0, False, [4.0]))
    assert len(slept) == 1
    assert 1e3 < calibrate(lambda: sum(range(1000)), 1000, seconds=0.01) < 1e12


def test_what_the_server_says_is_checked() -> None:
    told = asked().told()
    with pytest.raises(InputError, match="in another version's words: tau"):
        Ask.of({**told, "tau": 3})
    with pytest.raises(InputError, match="round: '3'; expected int"):
        Ask.of({**told, "round": "3"})


SHARDS: dict[str, tuple[Callable[[], bytes], str]] = {
    "rubbish": (lambda: b"rubbish", "data: .*x.npz"),
    "nan": (
        lambda: shard_bytes(np.full((2, 3), np.nan, np.float32), np.zeros(2)),
        "expected finite numbers",
    ),
    "lengths": (lambda: shard_bytes(np.zeros((2, 3), np.float32), np.zeros(3)), "x is float32"),
    "float64": (lambda: shard_bytes(np.zeros((2, 3)), np.zeros(2)), "x is float64"),  # type: ignore[arg-type]
    "empty": (lambda: shard_bytes(np.zeros((0, 3), np.float32), np.zeros(0)), "x is float32"),
}


@pytest.mark.parametrize("what", SHARDS)
def test_examples_of_one_s_own_are_checked(tmp_path: Path, what: str) -> None:
    make, problem = SHARDS[what]
    (tmp_path / "x.npz").write_bytes(make())
    with pytest.raises(InputError, match=problem):
        shard(tmp_path / "x.npz")


def test_a_folder_for_flower_holds_what_the_world_deals(tmp_path: Path) -> None:
    scenario = Scenario(**{**BASE, "hardware": "real[three phones]", "attack": "alie", "byzantine": 2,
                           "deadline": "inf", "partition": "dirichlet[alpha=0.3]"})  # fmt: skip
    settings = new(tmp_path / "a b", scenario, "real-1", tmp_path / "out", tmp_path / "group")
    world = World(scenario.replace(hardware="standard"))
    for worker, rows in enumerate(world.shards):
        held = shard(tmp_path / "a b" / "data" / f"worker-{worker}.npz")
        assert np.array_equal(held.x, world.features[rows].numpy())
        assert np.array_equal(held.y, world.labels[rows].numpy())
    assert [f'attack="{attacks.registry.canonical("alie")}"' in text for text in settings] == (
        world.byzantine(2).tolist()
    )
    assert settings[3].startswith(f'worker=3 data="{tmp_path}/a b/data/worker-3.npz"')
    assert len(commands(tmp_path, settings)) == 12
    import tomllib

    with (tmp_path / "a b" / "pyproject.toml").open("rb") as file:
        config = tomllib.load(file)["tool"]["flwr"]["app"]["config"]
    assert Scenario(**config["scenario"]) == scenario
    assert config["results"] == str(tmp_path / "out")
    with pytest.raises(InputError, match=r"there is a pyproject.toml; expected an empty folder"):
        new(tmp_path / "a b", scenario, "real-1", tmp_path / "out", tmp_path / "group")


def test_rounds_of_a_log_are_as_they_were_heard(tmp_path: Path) -> None:
    log = Log(tmp_path)
    heard = Heard(
        np.array([0, 2]), np.array([1, 2]), np.array([1, 5]), np.array([1, np.nan, 3], np.float32),
        asked=3, malformed=1, seconds=2.5, joules=np.array([np.nan, 4.0]),
    )  # fmt: skip
    assert heard.problem(sampled=3, dimension=2) == ""
    assert heard.problem(sampled=2, dimension=2) == "rows outside 0 .. 1"
    assert heard.problem(sampled=3, dimension=1) == "lengths outside 1 .. 1"
    log.begin(Scenario(**LOGGED), "real-1")
    log.write(1, heard, np.zeros(2, np.float32))
    ((k, found, params),) = log.rounds()
    assert k == 1
    for name in ("rows", "lengths", "updates", "values", "joules"):
        assert np.array_equal(getattr(found, name), getattr(heard, name), equal_nan=True)
    assert (found.asked, found.malformed, found.seconds) == (3, 1, 2.5)
    assert params.tolist() == [0, 0]
    assert log.run() == (Scenario(**LOGGED), "real-1")


def test_joules_are_what_devices_say(tmp_path: Path) -> None:
    """Of honest workers, if all of them say it, summed over rounds and replayed; what a scenario says
    of power counts nothing.
    """
    scenario = Scenario(**{**BASE, "hardware": "power[watts=3]+real", "byzantine": 1})
    run = Run.resumed(scenario, tmp_path, "real-1")
    hostile = byzantine(scenario)
    here, spent = Here(tmp_path, scenario), np.zeros(9)
    while not run.over:
        replies = here.replies(run)
        told = {w: r._replace(joules=w + 1.0) for w, r in replies.items() if not hostile[w]}
        spent[list(told)] += np.array(list(told)) + 1.0
        run.hear({**replies, **told}, asked=7, malformed=0, seconds=32.0)
    result = run.result()
    assert result.measures["energy"] == pytest.approx(spent[~hostile].sum())
    assert Run.resumed(scenario, tmp_path, "real-1").result().measures == result.measures
    assert run.joules == pytest.approx(spent)
    silent = Run.resumed(scenario, tmp_path / "b", "real-1")
    replies = Here(tmp_path / "b", scenario).replies(silent)
    one = next(w for w in replies if not hostile[w])
    told = {w: r._replace(joules=5.0) for w, r in replies.items() if w != one}
    silent.hear({**replies, **told}, asked=7, malformed=0, seconds=1.0)
    assert silent.joules.sum() == 5.0 * (len(replies) - 1)
    Here(tmp_path / "b", scenario).play(silent)
    assert "energy" not in silent.result().measures


def test_a_meter_reads_counters_and_batteries(tmp_path: Path) -> None:
    def say(**numbers: int) -> None:
        for name, number in numbers.items():
            (tmp_path / name).write_text(f"{number}\n")

    say(current_now=-500_000, voltage_now=4_000_000)
    meter = Meter(energy=str(tmp_path))
    before = meter.read()
    say(current_now=-1_500_000)
    assert meter.joules(before, 10.0) == pytest.approx((2.0 + 6.0) / 2 * 10.0)
    say(power_now=7_000_000)
    assert meter.read() == 7.0
    say(energy_uj=90_000_000, max_energy_range_uj=100_000_000)
    meter = Meter(energy=str(tmp_path))
    before = meter.read()
    say(energy_uj=95_500_000)
    assert meter.joules(before, 10.0) == 5.5
    say(energy_uj=2_000_000)
    assert meter.joules(before, 10.0) == 12.0  # it began again at 100 J
    for wrong, problem in (
        ({"energy": str(tmp_path / "nowhere")}, "energy: .*nowhere"),
        ({"watts": -1.0}, "watts: -1.0; expected a number >= 0"),
        ({"watts": 1.0, "energy": "x"}, "expected one of them"),
    ):
        with pytest.raises(InputError, match=problem):
            Meter(**wrong)


# -- simulated against real ------------------------------------------------------------------------


ACTED: dict[str, Any] = {
    **BASE, "hardware": "real", "workers": 5, "sampled": 4, "deadline": 30.0, "byzantine": 1,
    "attack": "label_flip", "seed": 3,
}  # fmt: skip


def test_a_prediction_is_what_devices_of_these_rates_and_ways_do(tmp_path: Path) -> None:
    """The simulation of a measured run: the same blocks, answers and model, also while one is away."""
    scenario = Scenario(**ACTED)
    known = rates(scenario, 650)
    assert known[0] * 30.0 == pytest.approx(32 * 650 / 2)
    assert known[-1] * 30.0 == pytest.approx(32 * 650 * 8)
    there = np.ones((5, 5), np.bool_)
    there[1:3, 4] = False
    run = Run.resumed(scenario, tmp_path, "study-1")
    here = Here(tmp_path, scenario, rates=known, overhead=4.0)
    while not run.over:
        replies = {w: reply for w, reply in here.replies(run).items() if there[run.k, w]}
        run.hear(replies, asked=len(run.workers), malformed=0, seconds=30.0)
    left = 30.0 - MARGIN * 4.0
    facts = {str(i): {"rate": rate, "left": left, "way": 4.0} for i, rate in enumerate(known)}
    del facts["0"]  # it says nothing: the others' median
    real = run.result(fleet=facts)
    devices = devices_of(real, known, [Link(np.inf, np.inf)] * 5)
    assert devices[0] == pytest.approx((known[0], 4.0, 6.0, np.inf, np.inf))
    found = predicted(tmp_path, scenario, devices, there)
    same_rounds(real, found, "bytes_down")  # there, one that is away gets nothing
    assert len(set(real.rounds["block_size"])) > 1
    assert min(real.rounds["heard"]) < max(real.rounds["heard"])
    assert found.rounds["time"] == [30.0 * k for k in range(1, 6)]
    made = page([Pair("hgo", 3, real, found, [(9, 8)] * 5)], "hgobench devices study")
    (chart,) = made.charts
    assert [(line.label, len(line.x)) for line in chart.lines] == [
        ("hgo, real", 5), ("hgo, predicted", 5),
    ]  # fmt: skip
    runs, links = made.tables
    assert [row[1] for row in runs.rows] == ["real", "predicted", "gap"]
    assert runs.rows[0][3:5] == runs.rows[1][3:5]
    assert links.rows[0][2:] == [f"{real.summary['bytes_up']:,.0f}", "45"]


def test_bytes_take_their_time_off_what_a_device_may_compute(tmp_path: Path) -> None:
    """By definition: b·s/λ + 4b/up + 4d/down + off <= τ; without a deadline the slowest's time."""
    scenario = Scenario(**{**ACTED, "byzantine": 0, "attack": "none", "rule": "average",
                           "sampled": None, "quorum": 5, "rounds": 1})  # fmt: skip
    device = Device(rate=600.0, way=3.0, off=5.0, up=200.0, down=1000.0)
    there = np.ones((1, 5), np.bool_)
    found = predicted(tmp_path, scenario, [device] * 5, there)
    b = int((30.0 - 5.0 - 4 * 650 / 1000.0) / (32 / 600.0 + 4 / 200.0))
    assert found.rounds["block_size"] == [b]
    waits = scenario.replace(deadline=float("inf"), algorithm="sgd")
    found = predicted(tmp_path, waits, [device] * 5, there)
    whole = 32 * 650 / 600.0 + 3.0 + 4 * 650 / 1000.0 + 4 * 650 / 200.0
    assert found.rounds["time"] == pytest.approx([whole])


def test_means_of_seeds_have_intervals_and_gaps_are_paired(tmp_path: Path) -> None:
    pairs = []
    for seed, (real, foreseen) in enumerate([(0.5, 0.4), (0.6, 0.5), (0.7, 0.6)]):
        scenario = Scenario(**{**ACTED, "seed": seed, "rounds": 1})
        run = Run.resumed(scenario, tmp_path / str(seed), "study-1")
        Here(tmp_path / str(seed), scenario).play(run)
        made = run.result(fleet={})
        one, other = (
            replace(made, rounds={**made.rounds, "test_accuracy": [accuracy]})
            for accuracy in (real, foreseen)
        )
        pairs.append(Pair("hgo", seed, one, other, []))
    (runs,) = page(pairs, "hgobench devices study").tables
    assert [row[-1] for row in runs.rows] == ["0.600 ± 0.248", "0.500 ± 0.248", "0.100 ± 0.000"]


def test_links_and_absence_are_those_of_the_scenario(tmp_path: Path) -> None:
    away = tmp_path / "away.csv"
    away.write_text("worker,round,state\n3,3,off\n3,5,on\n")
    hardware = f"trace[path={away}]+network[uplink=2000,downlink=9000]+real[five]"
    acted = declared(Scenario(**{**ACTED, "hardware": hardware}), None)
    assert acted.links == [Link(2000.0, 9000.0)] * 5
    assert [np.flatnonzero(~row).tolist() for row in acted.there] == [[], [], [3], [3], []]
    plain = declared(Scenario(**ACTED), [1.0, 2.0, 3.0, 4.0, 5.0])
    assert (plain.links, plain.rates) == (None, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert plain.there.all()


@pytest.mark.parametrize(
    ("fields", "given", "problem"),
    [
        ({"workers": 7}, None, "workers: 7; expected at most 6 on one machine"),
        ({"workers": 4, "deadline": 5.0}, None, "deadline: 5; expected at least 10 seconds"),
        ({"workers": 4, "deadline": "inf"}, None, "deadline: inf; expected at least 10 seconds"),
        ({"workers": 4}, [1.0], "rates: 1; expected 4, one for each worker"),
        (
            {"workers": 4, "hardware": "network[latency=1]+real"},
            None,
            "bounds bytes per second alone",
        ),
    ],
)
def test_a_study_that_can_t_be_made_is_refused(
    tmp_path: Path, fields: dict[str, Any], given: list[float] | None, problem: str
) -> None:
    scenario = Scenario(**{**BASE, "hardware": "real", "sampled": None, **fields})
    with pytest.raises(InputError, match=problem):
        compared(tmp_path, scenario, given, print)
    assert list(variants(Scenario(hardware="real"))) == [
        "hgo, τ = 32 s", "sgd, τ = 32 s", "sgd, waits for all",
    ]  # fmt: skip


def test_the_command_writes_a_folder_and_says_how_to_run_it(tmp_path: Path) -> None:
    words = ["devices", "new", str(tmp_path / "fleet"), "--out", str(tmp_path / "out"), "--set", "n=3",
             "--set", "f=1", "--set", "attack=nan", "--set", "rule=median"]  # fmt: skip
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert [line.split()[0] for line in lines] == [
        "#", "flower-superlink", *["flower-supernode"] * 3, "flwr",
    ]  # fmt: skip
    assert sum('attack="nan"' in line for line in lines) == 1
    assert sorted(path.name for path in (tmp_path / "fleet").iterdir()) == [
        ".gitignore", "data", "pyproject.toml",
    ]  # fmt: skip
    again = CliRunner().invoke(command, words)
    assert isinstance(again.exception, InputError)
    for text, problem in (("algorithm=fednova", "devices know hgo"), ("rule=kru", "unknown 'kru'")):
        refused = CliRunner().invoke(
            command, ["devices", "new", str(tmp_path / "b"), "--set", text]
        )
        assert problem in str(refused.exception)
    assert not (tmp_path / "b").exists()


def test_devices_of_a_group_read_what_others_put_from_many_threads(tmp_path: Path) -> None:
    """Bit for bit; a file that is none of theirs is refused by its name."""
    group = Group(tmp_path, "run")
    draw = np.random.default_rng(0)
    owns = [
        Own(i, draw.normal(size=650).astype(np.float32), 7 + i, 2, np.full(650, np.nan, np.float32))
        for i in range(4)
    ]
    found: list[list[Own]] = []

    def act(own: Own) -> None:
        group.put(1, own)
        found.append(group.get(1, range(4), seconds=20.0))

    threads = [threading.Thread(target=act, args=(own,)) for own in owns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for seen in found:
        for got, put in zip(seen, owns, strict=True):
            assert (got.worker, got.length, got.updates) == (put.worker, put.length, put.updates)
            assert np.array_equal(got.values, put.values)
            assert np.array_equal(got.model, put.model, equal_nan=True)
    (path,) = tmp_path.glob("run/*-worker-3.own")
    for rubbish in (b"", b"\x93NUMPY", path.read_bytes()[:-1], b"\xff" * 40):
        path.write_bytes(rubbish)
        with pytest.raises(InputError, match=r"worker-3.own: \d+ bytes, which are not"):
            group.get(1, [3])
