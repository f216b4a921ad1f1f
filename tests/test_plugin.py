"""The pytest plug-in in real pytest processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_cli import TINY

CONTRACT = '\n[contract]\ntolerance = 0.1\n[[contract.breaks]]\nrule = "average"\nattack = "foe"\nbelow = 0.5\n'


def run_pytest(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    suites = str(ROOT / "suites" / "test_cells.py")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", suites, "-p", "no:cacheprovider", "-q", *arguments],
        capture_output=True, text=True, cwd=cwd, timeout=240, check=False, env=environment,
    )  # fmt: skip


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


def test_the_table_is_the_same_with_and_without_xdist(suite: Path) -> None:
    """Also if cells fail: each fails its test, and the board marks their rule."""
    asked = ("--suite", str(suite), "--rule", "tests.plugins:Raising")
    plain, parallel = run_pytest(*asked), run_pytest(*asked, "-n", "2")
    for done in (plain, parallel):
        assert done.returncode == 1, done.stdout
        assert "4 failed, 8 passed" in done.stdout
        assert "out of ideas" in done.stdout
        assert "tests.plugins:Raising * !" in done.stdout
        assert "No reference values for tiny" in done.stdout
    assert board(plain.stdout) == board(parallel.stdout)


def test_cells_are_chosen_by_k_and_attack(suite: Path) -> None:
    """`--attack` leaves 4 of 8, of which -k takes 2."""
    chosen = run_pytest("--suite", str(suite), "--attack", "foe", "-k", "median")
    assert "2 passed, 2 deselected" in chosen.stdout
    assert "foe" in "\n".join(board(chosen.stdout))


def test_a_rule_of_one_s_own(suite: Path) -> None:
    done = run_pytest("--suite", str(suite), "--rule", "tests.plugins:MyMedian")
    assert "12 passed" in done.stdout
    assert "tests.plugins:MyMedian *" in done.stdout


def test_the_board_knows_what_rules_are_told_and_what_is_risky(suite: Path) -> None:
    text = suite.read_text().replace("byzantine = 2", "byzantine = 3\nsampled = 8\ntolerated = 1")
    suite.write_text(text)
    done = run_pytest("--suite", str(suite), "--rule", "oracle,fltrust")
    shown = "\n".join(board(done.stdout))
    assert "hgo oracle =" in shown
    assert "hgo fltrust ^" in shown
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
    done = run_pytest("--suite", str(suite), "--rule", "tests.plugins:MyMedian")
    assert done.returncode == 1
    assert "1 failed, 11 passed" in done.stdout
    assert "reference 1.000: a robustness" in done.stdout
    assert f"hgobench run {suite} --update-reference" in done.stdout


def test_a_reference_that_does_not_fit_fails(suite: Path) -> None:
    reference(suite, {"median-foe-0": 0.0})
    incomplete = run_pytest("--suite", str(suite))
    assert "7 failed, 1 passed" in incomplete.stdout
    assert "median-foe-1: no reference value; write it with: hgobench run" in incomplete.stdout
    reference(suite, {}, ruleset="tiny-0")
    assert "of ruleset 'tiny-0'; expected 'tiny-1'" in run_pytest("--suite", str(suite)).stdout


def test_an_attack_that_stopped_working_fails_the_build(suite: Path) -> None:
    suite.write_text((TINY + CONTRACT).replace("below = 0.5", "below = 0.01"))
    done = run_pytest("--suite", str(suite))
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
    done = run_pytest(*arguments)
    assert done.returncode == 4
    assert "Traceback" not in done.stdout + done.stderr
    assert message in done.stdout + done.stderr


def test_the_plugin_is_silent_in_other_people_s_tests(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('cell', [1])\n"
        "def test_it(cell, request):\n"
        "    assert 'result' not in request.fixturenames\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"],
        capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
    )  # fmt: skip
    assert "1 passed" in done.stdout
    assert "leaderboard" not in done.stdout
