"""Code of others: whatever it does, its cell says so, and nothing else changes."""

from __future__ import annotations

import gc
import itertools
import locale
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hgobench import Scenario, aggregators, attacks, boundary, hardware
from hgobench.aggregators import NonFiniteError
from hgobench.boundary import (
    Boundary,
    Clock,
    OutOfTime,
    PluginError,
    error_text,
    kept_alarm,
    plain,
)
from hgobench.data import datasets
from hgobench.errors import InputError
from hgobench.leaderboard import Score, boards
from hgobench.report.boards import render
from hgobench.results import Result
from hgobench.results.result import COLUMNS
from hgobench.simulation import run, simulate, world
from tests import misbehaving
from tests.misbehaving import CHANGING, RAISING

HERE = "tests.misbehaving:"
PLACE = r" \(tests/misbehaving\.py:\d+\)"
BASE: dict[str, Any] = {
    "workers": 10, "byzantine": 2, "batch_size": 4, "rounds": 2, "attack": "foe", "rule": "median",
    "quorum": 5, "deadline": 16.0,
}  # fmt: skip
GOOD = Scenario(**BASE)
FIELD = {
    "Rule": "rule", "Init": "rule", "Attack": "attack", "Poison": "attack", "Model": "model",
    "Solver": "solver", "Algorithm": "algorithm", "Workload": "workload",
}  # fmt: skip
SOME = ("Error", "Exit", "Speechless", "Interrupt", "Surrogate")
OTHERS = ("Attack", "Poison", "Model", "Solver", "Algorithm", "Workload")


def state() -> dict[str, Any]:
    """Return what must be as it was, read without the room that puts it back."""
    here = Path.cwd()
    return {
        "errors": np.geterr(),
        "callback": np.geterrcall(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "denormal": float(torch.tensor([1e-310], dtype=torch.float64) * 0.5),
        "folder": here,
        "environment": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        "filters": list(warnings.filters),
        "locale": locale.setlocale(locale.LC_ALL),
        "recursion": sys.getrecursionlimit(),
        "garbage": gc.isenabled(),
        "trace": sys.gettrace(),
        "streams": [sys.stdin, sys.stdout, sys.stderr],
        "descriptors": [(os.fstat(n).st_dev, os.fstat(n).st_ino) for n in (1, 2)],
        "handlers": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGALRM)],
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[index] # noqa: NPY002
        "python": random.getstate(),
        "torch": torch.get_rng_state().tolist(),
    }


@pytest.fixture(autouse=True)
def nothing_changes() -> Iterator[None]:
    """Every test leaves the process as it was."""
    before = state()
    yield
    after = state()
    assert {name for name in before if after[name] != before[name]} == set()


@pytest.fixture(scope="module")
def alone() -> Result:
    return simulate([GOOD])[0]


def same(found: Result, expected: Result) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(found.rounds[name], expected.rounds[name], err_msg=name)


def beside(scenario: Scenario, alone: Result) -> Result:
    """Run a cell between two good ones, which must not notice; of another world, before one."""
    if scenario.world_key != GOOD.world_key:
        (found,) = simulate([scenario])
        same(simulate([GOOD])[0], alone)
        return found
    left, found, right = simulate([GOOD, scenario, GOOD.replace(rule="krum", quorum=None)])
    same(left, alone)
    assert right.status == "done"
    return found


@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("Rule", name) for name in RAISING), *((kind, name) for kind in OTHERS for name in SOME)],
)
def test_what_raises_fails_its_cell_alone(kind: str, name: str, alone: Result) -> None:
    field, value = FIELD[kind], f"{HERE}{kind}{name}"
    found = beside(GOOD.replace(**{field: value}), alone)  # type: ignore[arg-type]
    assert found.status == "failed"
    assert found.reason.startswith(f"round 1: {field} '{value}': ")
    assert RAISING[name][1] in found.reason
    assert re.search(f"{PLACE}$", found.reason)
    assert len(found.reason) < 1200
    found.reason.encode()
    assert found.summary["test_accuracy"] == found.rounds["test_accuracy"][-1] == 0.0
    assert {len(column) for column in found.rounds.values()} == {1}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("Rule", name) for name in CHANGING if name != "Deterministic"),
        pytest.param("Rule", "Deterministic", marks=pytest.mark.long),  # it imports a lot
        *((kind, name) for kind in OTHERS for name in ("Seterr", "Dtype", "Out", "Chatter")),
    ],
)
def test_what_was_changed_is_put_back_and_said(
    kind: str, name: str, alone: Result, capfd: pytest.CaptureFixture[str]
) -> None:
    field, value = FIELD[kind], f"{HERE}{kind}{name}"
    found = beside(GOOD.replace(**{field: value}), alone)  # type: ignore[arg-type]
    assert found.status == "done", found.reason
    assert len(found.rounds["round"]) == 2
    what = CHANGING[name][1]
    if what:  # torch's deterministic mode imports more of torch, which changes more
        assert found.reason.startswith(f"{field} '{value}' changed {what}")
        assert found.reason.endswith(": put back")
    else:
        assert found.reason == ""
    out, err = capfd.readouterr()
    assert out == ""
    if name == "Chatter":
        for text in ("a print", "a write", "behind the stream", "to the descriptor"):
            assert text in err


@pytest.mark.parametrize("name", RAISING)
def test_a_constructor_that_raises_is_refused_in_one_line(name: str) -> None:
    value = f"{HERE}Init{name}"
    with pytest.raises(InputError) as error:
        GOOD.replace(rule=value)
    (problem,) = error.value.problems
    assert problem.startswith(f"rule: '{value}': ")
    assert RAISING[name][1].partition(": ")[2] in problem
    assert re.search(PLACE, problem)


@pytest.mark.parametrize("name", [name for name in CHANGING if name != "Deterministic"])
def test_a_constructor_changes_nothing(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    GOOD.replace(rule=f"{HERE}Init{name}")
    out, err = capfd.readouterr()
    assert out == ""
    what = CHANGING[name][1]
    assert f"changed {what}: put back" in err or not what


@pytest.mark.parametrize(
    "fields",
    [
        {"rule": "InitRandom"},
        {"attack": "PoisonRandom"},
        {"attack": "AttackRandom"},
        {"attack": "tail+tests.misbehaving:AttackRandom"},
        {"model": "ModelRandom"},
        {"partition": "PartitionRandom"},
        {"hardware": "HardwareRandom"},
        {"hardware": "tests.misbehaving:ConditionRandom+c2"},
        {"data": "SourceRandom"},
    ],
)
def test_every_draw_is_keyed(fields: dict[str, str]) -> None:
    named = {k: v if ":" in v else HERE + v for k, v in fields.items()}
    scenario = GOOD.replace(**named)  # type: ignore[arg-type]

    def once(state: int, scenario: Scenario = scenario) -> Result:
        boundary_state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
        torch.manual_seed(state)
        np.random.seed(state)  # noqa: NPY002
        random.seed(state)
        try:
            world._CACHE.clear()
            if "data" in fields:
                datasets._load.cache_clear()
            return run(scenario)
        finally:
            torch.set_rng_state(boundary_state[0])
            np.random.set_state(boundary_state[1])  # noqa: NPY002
            random.setstate(boundary_state[2])

    first = once(1)
    assert first.status == "done", first.reason
    same(once(2), first)
    if "rule" in fields:
        other = once(1, scenario.replace(seed=1))
        plain_other = run(GOOD.replace(seed=1))
        ratio = [
            np.subtract(*(r.rounds["test_loss"][i] for r in pair))
            for i in (0,)
            for pair in ((first, run(GOOD)), (other, plain_other))
        ]
        assert ratio[0] != ratio[1]


def test_an_import_that_draws_is_keyed_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "drawsonimport.py").write_text(
        "import torch, numpy as np\n"
        "W = torch.rand(()).item(), np.random.rand()\n"
        "np.seterr(all='raise')\n"
        "print('hello')\n"
        "def rule(values): return values[0]\n"
    )
    drawn = []
    for _ in range(2):
        aggregators.build("drawsonimport:rule")
        drawn.append(sys.modules.pop("drawsonimport").W)
    assert drawn[0] == drawn[1]
    out, err = capfd.readouterr()
    assert out == ""
    assert "import of 'drawsonimport' changed NumPy's error handling: put back" in err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import sys; sys.exit(0)", "; what runs as a script belongs under if __name__"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise BaseException('x')", "BaseException: x"),
        ("x = (", "SyntaxError: "),
        ("raise ValueError('\\ud800')", "ValueError: \\ud800 ("),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_module_that_does_not_import_is_refused(
    source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"bad{abs(hash(source)) % 10**8}"
    (tmp_path / f"{name}.py").write_text(f"{source}\n")
    with pytest.raises(InputError) as error:
        GOOD.replace(rule=f"{name}:Rule")
    (problem,) = error.value.problems
    assert problem.startswith(f"rule: '{name}:Rule' does not import: ")
    assert said in problem
    assert f"({name}.py" in problem
    assert str(tmp_path) not in problem


def test_a_file_is_no_module() -> None:
    for written in ("./mine.py:Rule", "mine.py:Rule", "/home/me/mine.py:Rule", "dir/mine:Rule"):
        with pytest.raises(InputError) as error:
            GOOD.replace(rule=written)
        (problem,) = error.value.problems
        assert problem.startswith(
            f"rule: {written!r} names a file; write mine:Rule, from the folder"
        )


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("model", "Nothing", "expected a subclass of torch.nn.Module or hgobench.models.Model"),
        ("data", "Nothing", "expected a subclass of hgobench.data.base.Source"),
        ("partition", "Nothing", "expected a subclass of hgobench.data.partitions.Partition"),
        ("hardware", "Nothing", "expected a subclass of hgobench.hardware.Hardware"),
        ("workload", "Nothing", "expected a subclass of hgobench.algorithms.workloads.Workload"),
        ("solver", "Nothing", "expected a subclass of hgobench.algorithms.GradientDescent"),
        ("algorithm", "Nothing", "expected a subclass of hgobench.algorithms.Algorithm"),
        ("attack", "Nothing", "expected a subclass of hgobench.attacks.Attack"),
        ("rule", "Nothing", "its instances are not callable"),
    ],
)  # fmt: skip
def test_what_is_no_part_is_refused_in_one_line(field: str, value: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        GOOD.replace(**{field: HERE + value})  # type: ignore[arg-type]
    (problem,) = error.value.problems
    assert problem.startswith(f"{field}: '{HERE}{value}'")
    assert said in problem


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("model", "Unsized", "its dimension is None; expected a whole number >= 1"),
        ("partition", "Overlapping", "its shards are no partition of the 1221 training examples"),
        ("hardware", "NoFleet", "its fleet is NoneType; expected hgobench.hardware.Fleet"),
        (
            "hardware",
            "Impossible[field=latency,value=-5.0]",
            "its latency: -5 of worker 0; expected numbers finite and >= 0",
        ),
        (
            "hardware",
            "Impossible[field=uplink,value=nan]",
            "its uplink: nan of worker 0; expected numbers > 0 or inf",
        ),
        (
            "hardware",
            "Impossible[field=rates,value=inf]",
            "its rates: inf of worker 0; expected numbers finite and > 0",
        ),
        (
            "partition",
            "Blank",
            "its shift returned features that are not finite; expected finite numbers",
        ),
        (
            "data",
            "NoSource",
            "load() returned TensorDataset; expected a Dataset of hgobench.data.base",
        ),
    ],
)
def test_a_world_of_something_else_is_refused_in_one_line(
    field: str, value: str, said: str
) -> None:
    with pytest.raises(InputError) as error:
        run(GOOD.replace(**{field: HERE + value}))  # type: ignore[arg-type]
    assert error.value.problems == [f"{field}: '{HERE}{value}': {said}"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "BatchNorm"}, "RuntimeError: "),
        ({"model": "Dropout"}, "RuntimeError: vmap: "),
        ({"model": "Short"}, "gradients returned torch.float32 (R, 10, 649); expected a float"),
        ({"model": "Blunt"}, "RuntimeError: no score"),
        ({"workload": "Unsure"}, "split returned NaN; expected numbers of coordinates, or inf"),
        ({"algorithm": "Halving"}, "ValueError: output array is read-only"),
        (
            {"model": "Skipping", "granularity": "subnetwork"},
            "ValueError: no chain of layers: add joins several; granularity 'subnetwork' needs one",
        ),
    ],
)
def test_what_can_t_be_trained_fails(fields: dict[str, str], said: str, alone: Result) -> None:
    (field, name), *more = fields.items()
    found = beside(GOOD.replace(**{field: HERE + name}, **dict(more)), alone)  # type: ignore[arg-type]
    assert found.status == "failed"
    assert found.reason.startswith(f"round 1: {field} '{HERE}{name}': ")
    assert said in found.reason
    assert found.summary["test_accuracy"] == 0.0


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "Plain", "granularity": "subnetwork"},
        {"model": "Plain", "granularity": "feature"},
        {"model": "Skipping", "granularity": "feature"},
        {"model": "Skipping"},
    ],
)
def test_networks_of_one_s_own_are_trained(fields: dict[str, str]) -> None:
    """One that is no chain of layers needs none but for sub-networks."""
    found = run(GOOD.replace(**{**fields, "model": HERE + fields["model"]}))  # type: ignore[arg-type]
    assert found.status == "done", found.reason


@pytest.mark.parametrize("fields", [{"model": "Greedy"}, {"partition": "Scribbling"}])
def test_what_is_lent_can_t_be_spoilt(fields: dict[str, str], alone: Result) -> None:
    ((field, name),) = fields.items()
    assert beside(GOOD.replace(**{field: HERE + name}), alone).status == "done"  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["Pressed", "Swallowed"])
def test_ctrl_c_is_no_mistake_of_a_rule_s(name: str) -> None:
    """Pressed while a rule works it ends the run, also if the rule swallows it."""
    with pytest.raises(KeyboardInterrupt):
        run(GOOD.replace(rule=HERE + name))


def test_time_is_cpu_time() -> None:
    found = run(GOOD.replace(rule=f"{HERE}Burning"), time_limit=0.2)
    assert (found.status, found.reason) == (
        "failed",
        f"round 1: out of time: rule '{HERE}Burning' and what else the cell names took longer than "
        "time_limit = 0.2 s",
    )
    assert found.seconds < 5
    text = render("r", boards([Score.of(found)]))
    assert "! 1 cell diverged or failed, 1 of them out of time; each counts as 0" in text
    failed = run(GOOD.replace(rule=f"{HERE}RuleError"))
    assert "out of time" not in render("r", boards([Score.of(failed)]))


@pytest.mark.long
def test_a_process_that_is_paused_is_not_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def pause() -> None:
        script = f"kill -STOP {os.getpid()}; sleep 0.6; kill -CONT {os.getpid()}"
        helpers.append(subprocess.Popen(["sh", "-c", script]))
        time.sleep(0.05)

    helpers: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(misbehaving.Paused, "pause", staticmethod(pause))
    started = time.monotonic()
    found = run(GOOD.replace(rule=f"{HERE}Paused", rounds=1), time_limit=0.5)
    for helper in helpers:
        helper.wait()
    assert time.monotonic() - started > 0.6
    assert found.status == "done", found.reason


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
@pytest.mark.parametrize("changed", ["signal", "setitimer"])
def test_a_clock_that_is_interrupted_while_it_starts_leaves_no_timer(
    monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """A timer that outlives its handler ends the process."""
    before, change = signal.getsignal(signal.SIGALRM), getattr(signal, changed)

    def interrupted(*arguments: Any) -> None:
        change(*arguments)
        monkeypatch.undo()
        raise KeyboardInterrupt

    clock = Clock(60.0)
    monkeypatch.setattr(signal, changed, interrupted)
    with pytest.raises(KeyboardInterrupt):
        clock.start("rule 'krum'")
    clock.stop()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_clocks_are_stopped_by_hand_where_there_are_no_signals() -> None:
    """In a thread there is no alarm; what took too long is out of time when it returns."""
    problems: list[BaseException] = []

    def work() -> None:
        clock = Clock(0.01)
        try:
            with Boundary("rule", "x", nullcontext(), clock=clock)():
                began = time.process_time()
                while time.process_time() - began < 0.05:
                    pass
        except OutOfTime as error:
            problems.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [str(problem) for problem in problems] == [
        "out of time: rule 'x' and what else the cell names took longer than time_limit = 0.01 s"
    ]


def test_hgobench_s_own_parts_do_not_pass_through() -> None:
    assert not boundary.foreign(aggregators.build("nnm+krum", f=1))
    assert not boundary.foreign(attacks.build("tail+alie"))
    assert not boundary.foreign(hardware.registry.build("bernoulli[p=0.9]+c2"))
    assert boundary.foreign(aggregators.build("tests.plugins:plain"))
    assert boundary.foreign(aggregators.build("nnm+tests.plugins:Raising", f=1))
    assert boundary.foreign(aggregators.build("tests.plugins:Halving+median", f=1))
    assert boundary.foreign(attacks.build(f"tail+{HERE}AttackRandom"))
    assert boundary.foreign(hardware.registry.build(f"{HERE}ConditionRandom+c2"))
    free = Boundary("rule", "median", aggregators.build("median"))
    assert free("call", 1) is free("call", 2)


def test_what_the_caller_knows_comes_out_as_it_is() -> None:
    guard = Boundary("rule", "x", passes=(NonFiniteError,))
    with pytest.raises(NonFiniteError, match=r"^no$"), guard():
        raise NonFiniteError("no")
    line = sys._getframe().f_lineno + 2
    with pytest.raises(PluginError) as caught, guard():
        raise ValueError("no")
    assert str(caught.value) == f"rule 'x': ValueError: no (tests/test_boundary.py:{line})"


@pytest.mark.parametrize("folder", ["project", "site-packages"])
def test_what_a_plug_in_raises_is_said_with_its_line(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The innermost of its own lines, not torch's, and no folder of this machine."""
    name = f"raising_{folder[:4]}"
    package = tmp_path / folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("def deep(f): f()\n")
    (package / "rules.py").write_text(
        "import json, torch\n"
        f"from {name} import deep\n"
        "@torch.no_grad()\n"
        "def product(values):\n"
        "    deep(lambda: torch.ones(2) @ values[:, :3])\n"
        "class Made:\n"
        "    def __init__(self, path='{'):\n"
        "        json.loads(path)\n"
        "    def __call__(self, values):\n"
        "        return values[0]\n"
        "class Typed(Made):\n"
        "    def __init__(self):\n"
        "        self.f = 1 + 'a'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / folder))
    found = run(GOOD.replace(rule=f"{name}.rules:product"))
    assert found.reason.endswith(f" ({name}/rules.py:5)")
    assert str(tmp_path) not in found.reason
    for specification, line in (("Made", 8), ("Typed", 13)):
        with pytest.raises(InputError) as error:
            GOOD.replace(rule=f"{name}.rules:{specification}")
        (problem,) = error.value.problems
        assert f" ({name}/rules.py:{line})" in problem
        assert str(tmp_path) not in problem


def test_what_hgobench_raises_by_itself_has_no_line() -> None:
    with pytest.raises(InputError, match=r"expected a number in \[0, 1\)$"):
        GOOD.replace(algorithm="hgo[momentum=1]")


def test_texts_are_made_plain() -> None:
    assert plain("é\n\ttext") == "é\n\ttext"
    assert plain("\u202e\x9b") == "\\u202e\\x9b"
    assert len(plain("x" * 10**6)) < 1100
    assert error_text(ValueError()) == "ValueError"


def test_a_kept_alarm_looks_at_no_clock_of_another_thread() -> None:
    mine, other = Clock(60.0), Clock(60.0)
    with kept_alarm():
        mine.start("rule 'mine'", trusted=True)
        thread = threading.Thread(target=other.start, args=("rule 'other'",))
        thread.start()
        thread.join()
        other.left = -1.0
        signal.raise_signal(signal.SIGALRM)  # it interrupts the main thread, whose time is not over
        mine.left = -1.0
        with pytest.raises(OutOfTime, match="rule 'mine'"):
            signal.raise_signal(signal.SIGALRM)
        for clock in (other, mine):
            with pytest.raises(OutOfTime):
                clock.stop()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_a_kept_alarm_ends_calls_that_compute_or_wait_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is set once, whatever is called, and what was there before is put back."""
    monkeypatch.setattr(boundary, "PERIOD", 0.02)
    before = signal.getsignal(signal.SIGALRM)

    def own(name: str) -> Boundary:
        return Boundary("rule", name, aggregators.build("median"), clock=Clock(0.3))

    with kept_alarm():
        kept = signal.getsignal(signal.SIGALRM)
        assert kept is not before
        text = "'computes' and what else the cell names took longer"
        with pytest.raises(OutOfTime, match=text), own("computes")():
            all(True for _ in itertools.count())  # in Python: what C computes ends first
        text = "rule 'waits' waited longer than time_limit = 0.3 s"
        with pytest.raises(OutOfTime, match=text), own("waits")():
            time.sleep(10.0)
        short, began = own("short"), time.monotonic()
        while time.monotonic() - began < 0.5:  # what is waited between calls is nobody's
            with short():
                assert signal.getsignal(signal.SIGALRM) is kept
            time.sleep(0.001)
        with Boundary("rule", "foreign", nullcontext(), clock=Clock(0.3))():
            assert signal.getsignal(signal.SIGALRM) is not kept  # it has one of its own
        assert signal.getsignal(signal.SIGALRM) is kept
        assert signal.getitimer(signal.ITIMER_REAL)[1] == pytest.approx(0.02)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_an_alarm_is_not_kept_where_somebody_elses_timer_runs() -> None:
    """As that of a test runner, which would ring late."""
    rang = list[int]()
    before = signal.signal(signal.SIGALRM, lambda number, frame: rang.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with kept_alarm():
            time.sleep(0.1)
        assert rang == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
