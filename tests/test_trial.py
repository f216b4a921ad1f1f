"""Code of others that ends its process, or never ends, before a cell of it is computed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hgobench import Scenario, boundary, run_suite
from hgobench.engines.trial import children_first
from hgobench.errors import InputError
from tests.conftest import ROOT

DEADLY = [
    ("rule", "tests.leaving:Rule", "does not import: the process that imported it died (exit status 4)"),
    ("rule", "tests.plugins:LeavingWhenMade", "the process that made it died (exit status 5)"),
    ("rule", "tests.plugins:Endless", "out of time: took longer than time_limit = 2 s"),
    ("model", "tests.plugins:EndlessInC",
     "out of time: computed longer than time_limit = 2 s"),
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("field", "name", "problem"), DEADLY)
def test_what_kills_or_never_ends_is_refused_by_name(field: str, name: str, problem: str) -> None:
    with children_first(2.0), pytest.raises(InputError) as error:
        Scenario(**{field: name})  # type: ignore[arg-type]
    assert error.value.problems[0].removeprefix(f"{field}: {name!r}").lstrip(": ") == problem


@pytest.mark.long
def test_what_is_well_is_made_here_too_and_nothing_is_tried_outside() -> None:
    with children_first():
        assert Scenario(rule="tests.plugins:MyMedian").rule == "tests.plugins:MyMedian"
    assert boundary.tried_first(None) is None


@pytest.mark.long
@pytest.mark.parametrize("name", ["tests.leaving:Rule", "tests.plugins:LeavingWhenMade"])
def test_the_command_outlives_them(name: str) -> None:
    command = [sys.executable, "-m", "hgobench", "run", "smoke", "--rule", name]
    ended = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert ended.returncode == 2
    assert "hgobench: refused, nothing was computed:" in ended.stderr
    assert "it died (exit status" in ended.stderr


@pytest.mark.long
def test_so_does_python(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the process that made it died \(exit status 5\)"):
        run_suite("smoke", rules="tests.plugins:LeavingWhenMade", out=tmp_path)
    assert not boundary.is_tried_first()
