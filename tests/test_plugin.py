"""The pytest plug-in in real pytest processes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from hgobench import open_store, run_suite
from hgobench.data import files
from hgobench.plugin import is_observed
from tests import plugins
from tests.conftest import ROOT
from tests.test_cli import TINY

CELLS = str(ROOT / "suites" / "test_cells.py")
CONTRACT = '\n[contract]\ntolerance = 0.1\n[[contract.breaks]]\nrule = "average"\nattack = "foe"\nbelow = 0.5\n'


def process(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run pytest as a user does."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments],
        capture_output=True, text=True, cwd=cwd, timeout=240, check=False, env=environment,
    )  # fmt: skip


def here(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run pytest in this process: the same code without seconds for importing torch."""
    out, err = io.StringIO(), io.StringIO()
    path = list(sys.path)
    environment = {k: os.environ.pop(k) for k in list(os.environ) if k.startswith("PYTEST_")}
    try:
        with redirect_stdout(out), redirect_stderr(err), chdir(cwd):
            status = pytest.main(["-p", "no:cacheprovider", "-q", *arguments])
    finally:
        os.environ.update(environment)
        sys.path[:] = path
    return subprocess.CompletedProcess(arguments, int(status), out.getvalue(), err.getvalue())


def cells(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return here(CELLS, *arguments, cwd=cwd)


def board(output: str) -> list[str]:
    lines = output.splitlines()
    start = next(i for i, line in enumerate(lines) if "= leaderboard =" in line)
    end = next(i for i, line in enumerate(lines) if i > start and line.startswith("Test accuracy"))
    return lines[start + 1 : end + 1]


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY + CONTRACT)
    return path


@pytest.mark.long
def test_the_table_is_the_same_with_and_without_xdist(suite: Path, tmp_path: Path) -> None:
    asked = (CELLS, "--suite", str(suite), "--rule", "tests.plugins:Raising")
    out = str(tmp_path / "out")
    plain, parallel = process(*asked), process(*asked, "-n", "2", "--results", out)
    with open_store(out, create=False) as store:  # two processes have written to it
        assert len(store) == 12
    for done in (plain, parallel):
        assert done.returncode == 1, done.stdout
        assert "4 failed, 8 passed" in done.stdout
    assert board(plain.stdout) == board(parallel.stdout)


def test_a_cell_that_fails_fails_its_test_and_is_marked_on_the_board(suite: Path) -> None:
    done = cells("--suite", str(suite), "--rule", "tests.plugins:Raising")
    assert done.returncode == 1, done.stdout
    assert "4 failed, 8 passed" in done.stdout
    assert "out of ideas" in done.stdout
    assert "tests.plugins:Raising staircase * !" in done.stdout
    assert "No reference values for tiny" in done.stdout


def test_results_are_kept_where_a_run_keeps_them(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = (CELLS, "--suite", str(suite), "--results", "out")
    done = here(*asked, cwd=tmp_path)
    assert "8 passed" in done.stdout
    assert f"results: {tmp_path}/out; hgobench site {tmp_path}/out shows them" in done.stdout
    outcome = run_suite(suite, out=tmp_path / "out", jobs=1)
    assert (outcome.computed, outcome.reused) == (0, 8)

    def computed(*arguments: Any, **more: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("hgobench.engines.cells.simulate", computed)
    again = here(*asked, cwd=tmp_path)
    assert "8 passed" in again.stdout
    assert board(again.stdout) == board(done.stdout)
    assert "computed again" in here(*asked[:3], "-k", "median and foe", cwd=tmp_path).stdout


def test_a_folder_that_keeps_no_results_is_refused(suite: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    asked = (CELLS, "--suite", str(suite), "--results")
    for name, message in (("", "--results: ''; expected a folder"), ("file", "--results: ")):
        done = here(*asked, name, cwd=tmp_path)
        assert done.returncode == 4
        assert message in done.stderr
    (tmp_path / "test_it.py").write_text("def test_it():\n    pass\n")
    done = here("test_it.py", "--results", "out", cwd=tmp_path)
    assert done.returncode == 4
    assert "--results: no cells are run" in done.stderr
    assert not (tmp_path / "out").exists()


def test_cells_are_chosen_by_k_and_attack(suite: Path) -> None:
    """`--attack` leaves 4 of 8, of which -k takes 2."""
    chosen = cells("--suite", str(suite), "--attack", "foe", "-k", "median")
    assert "2 passed, 2 deselected" in chosen.stdout
    assert "foe" in "\n".join(board(chosen.stdout))


def test_a_suite_that_chooses_its_attacks_is_refused(suite: Path) -> None:
    suite.write_text(TINY.partition("[grid]")[0] + '[grid]\nrule = ["median"]\n[evaluation]\n')
    run = here(CELLS, "--suite", str(suite))
    assert run.returncode == 4
    assert (
        f"--suite: {suite.stem!r} chooses attacks for each row, so that its cells are not known "
        f"before; run it: hgobench run {suite}" in run.stderr
    )


def test_a_rule_of_one_s_own(suite: Path) -> None:
    done = cells("--suite", str(suite), "--rule", "tests.plugins:MyMedian")
    assert "12 passed" in done.stdout
    assert "tests.plugins:MyMedian staircase *" in done.stdout


def test_the_board_knows_what_rules_are_told_and_what_is_risky(suite: Path) -> None:
    text = suite.read_text().replace("byzantine = 2", "byzantine = 3\nsampled = 8\ntolerated = 1")
    suite.write_text(text)
    done = cells("--suite", str(suite), "--rule", "oracle,fltrust")
    shown = "\n".join(board(done.stdout))
    assert "hgo oracle tolerated=1 =" in shown
    assert "hgo fltrust staircase tolerated=1 ^" in shown
    assert " gap " in shown
    assert (
        "warning: sampling risk: of n=10 workers f=3 are Byzantine; more than 1 of" in done.stdout
    )


def reference(suite: Path, accuracy: dict[str, float], ruleset: str = "tiny-1") -> None:
    folder = suite.parent / "reference"
    folder.mkdir(exist_ok=True)
    (folder / "tiny.json").write_text(json.dumps({"ruleset": ruleset, "accuracy": accuracy}))


def test_a_robustness_regression_fails_the_build(suite: Path) -> None:
    labels = [
        f"{r}-{a}-{s}" for r in ("average", "median") for a in ("none", "foe") for s in (0, 1)
    ]
    reference(suite, {**dict.fromkeys(labels, 0.0), "median-foe-0": 1.0})
    done = cells("--suite", str(suite), "--rule", "tests.plugins:MyMedian")
    assert done.returncode == 1
    assert "1 failed, 11 passed" in done.stdout
    assert "reference 1.000: a robustness" in done.stdout
    assert f"hgobench run {suite} --update-reference" in done.stdout


def test_a_reference_that_does_not_fit_fails(suite: Path) -> None:
    reference(suite, {"median-foe-0": 0.0})
    incomplete = cells("--suite", str(suite))
    assert "7 failed, 1 passed" in incomplete.stdout
    assert "median-foe-1: no reference value; write it with: hgobench run" in incomplete.stdout
    reference(suite, {}, ruleset="tiny-0")
    assert "of ruleset 'tiny-0'; expected 'tiny-1'" in cells("--suite", str(suite)).stdout


def test_an_attack_that_stopped_working_fails_the_build(suite: Path) -> None:
    suite.write_text((TINY + CONTRACT).replace("below = 0.5", "below = 0.01"))
    done = cells("--suite", str(suite))
    assert "2 failed, 6 passed" in done.stdout
    assert "an attack that must break this cell no longer does" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--suite", "quik"), "suite: unknown 'quik'; did you mean 'quick'?"),
        (("--suite", "smoke", "--attack", "fo"), "attack: unknown 'fo'; did you mean 'foe'?"),
        (("--suite", "smoke", "--rule", "nope:R"), "rule: 'nope:R' does not import"),
    ],
)
def test_bad_options_are_refused(arguments: tuple[str, ...], message: str) -> None:
    done = cells(*arguments)
    assert done.returncode == 4
    assert "Traceback" not in done.stdout + done.stderr
    assert message in done.stdout + done.stderr


OTHER = """
import pytest
@pytest.mark.parametrize('cell', [1])
def test_it(cell, request):
    assert 'result' not in request.fixturenames
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of somebody's, with a test and a suite of its own."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / f"{tmp_path.name}.py").write_text(OTHER)  # a name that no other has here
    (tmp_path / "ci.toml").write_text(TINY + CONTRACT)
    return tmp_path


def test_the_plugin_is_silent_in_other_people_s_tests(project: Path) -> None:
    done = here(cwd=project)
    assert "1 passed" in done.stdout
    assert "leaderboard" not in done.stdout


def test_a_suite_s_cells_are_tests_of_any_project(project: Path) -> None:
    """`--suite` adds them to whatever is collected anyway."""
    done = here("--suite", "ci.toml", cwd=project)
    assert "9 passed" in done.stdout, done.stdout + done.stderr
    assert "hgo median" in "\n".join(board(done.stdout))
    beside = here(
        f"{project.name}.py", "--suite", "ci.toml", "-k", "median-foe or test_it", cwd=project
    )
    assert "3 passed, 6 deselected" in beside.stdout


@pytest.mark.long
def test_a_suite_s_cells_are_tests_of_any_project_under_xdist_too(project: Path) -> None:
    done = process("--suite", "ci.toml", "-n", "2", cwd=project)
    assert "9 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ci.toml",), "ci.toml: the cells of a suite become tests by: pytest --suite ci.toml"),
        (("--rule", "mine:R"), "--rule: no cells are run; name their suite: --suite quick"),
        (("--attack", "foe"), "--attack: no cells are run; name their suite: --suite quick"),
    ],
)
def test_what_would_run_no_cells_is_refused(
    project: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = here(*arguments, cwd=project)
    assert done.returncode == 4
    assert message in done.stderr


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data set of OpenML's is here, and the client that downloads them warns and raises."""

    def offline(*_: Any, **__: Any) -> Any:
        warnings.warn("Invalid cache, redownloading file", RuntimeWarning, stacklevel=2)
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", offline)
    monkeypatch.setattr(files, "user_cache_path", lambda _: tmp_path / "cache")
    monkeypatch.delenv("HGOBENCH_DATA", raising=False)
    monkeypatch.delenv("HGOBENCH_OFFLINE")


@pytest.mark.usefixtures("unreachable")
def test_cells_without_their_data_are_skipped_for_one_plain_reason(suite: Path) -> None:
    text = suite.read_text().replace("[grid]", '[grid]\ndata = ["digits", "mnist"]')
    suite.write_text(text)
    done = cells("--suite", str(suite), "-k", "median")
    assert done.returncode == 0, done.stdout
    assert "4 passed, 4 skipped, 8 deselected" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "were not computed" in line]
    assert line.startswith("4 cells were not computed: data: 'mnist' is not in ")
    assert "Temporary failure in name resolution" in line
    assert "Traceback" not in done.stdout


def test_cells_whose_data_can_t_be_read_fail_for_one_plain_reason(
    suite: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.csv").write_text("a,label\n1,x\nnothing\n")
    path = str(tmp_path / "bad.csv")
    suite.write_text(suite.read_text().replace("[grid]", f'data = "csv[path={path}]"\n[grid]'))
    done = cells("--suite", str(suite), "-k", "median")
    assert done.returncode == 1
    assert "4 errors" in done.stdout
    assert "bad.csv" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.usefixtures("unreachable")
def test_the_claims_of_the_paper_are_skipped_without_their_data() -> None:
    done = here(str(ROOT / "suites" / "test_paper.py"), "--suite", "smoke", "-rs")
    assert done.returncode == 0, done.stdout
    assert "data: 'mnist' is not in" in done.stdout
    assert "Temporary failure in name resolution" in done.stdout
    assert "passed" not in done.stdout


def test_ctrl_c_in_a_cell_ends_pytest(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("hgobench.simulation.runs._simulate", interrupted)
    done = cells("--suite", str(suite), "-k", "median-foe")
    assert done.returncode == pytest.ExitCode.INTERRUPTED
    assert "Interrupted: interrupted" in done.stdout


@pytest.mark.parametrize("observed", [False, True])
def test_a_rule_of_one_s_own_is_computed_where_it_is_observed(
    suite: Path, observed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pytest's process for a debugger or a measurement of coverage, else in another."""
    plugins.Seen.processes.clear()
    monkeypatch.setattr("hgobench.plugin.is_observed", lambda config: observed)
    asked = "--rule", "tests.plugins:Seen", "-k", "Seen-foe-0"
    done = cells("--suite", str(suite), *asked)
    assert "1 passed" in done.stdout, done.stdout
    assert (os.getpid() in plugins.Seen.processes) == observed


def test_who_observes(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    options: dict[str, bool] = {}
    monkeypatch.setattr(
        pytestconfig, "getoption", lambda name, default=None: options.get(name, default)
    )
    tracing = sys.gettrace()
    try:
        sys.settrace(None)
        alone = is_observed(pytestconfig)
        sys.settrace(lambda *_: None)
        assert is_observed(pytestconfig)
    finally:
        sys.settrace(tracing)
    assert not alone
    options["usepdb"] = True
    assert is_observed(pytestconfig)


@pytest.mark.long
@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("ComputingInC", "out of time: rule 'tests.plugins:ComputingInC' computed longer than"),
        ("Dying", "the process that computed it died (exit status 7)"),
    ],
)
def test_a_rule_that_nothing_stops_fails_its_own_cells(suite: Path, rule: str, reason: str) -> None:
    suite.write_text(suite.read_text().replace("[scenario]", "time_limit = 0.5\n[scenario]", 1))
    asked = "--rule", f"tests.plugins:{rule}", "-k", f"median or {rule}-foe-0"
    done = process(CELLS, "--suite", str(suite), *asked)
    assert "1 failed, 4 passed" in done.stdout, done.stdout
    assert reason in done.stdout
