"""What the documentation shows works."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hgobench
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULES = [
    module.name
    for module in pkgutil.walk_packages(hgobench.__path__, "hgobench.")
    if not module.name.startswith(("hgobench.__main__", "hgobench.suites"))
]


@pytest.mark.parametrize("name", ["hgobench", *MODULES])
def test_examples_in_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples_in_docstrings() -> None:
    found = [
        example
        for name in ("hgobench", *MODULES)
        for test in doctest.DocTestFinder().find(importlib.import_module(name))
        for example in test.examples
    ]
    assert len(found) > 8


def test_the_readme_s_own_rule_obeys_the_laws_and_gets_on_a_board(tmp_path: Path) -> None:
    (source,) = re.findall(r"cat > mine.py <<'EOF'\n(.*?)EOF\n", README, re.DOTALL)
    (tmp_path / "mine.py").write_text(source)
    (law,) = re.findall(r'`(python -c "from hgobench.testing.*?)`', README)
    assert law.startswith("python -c ")
    for arguments in (
        ["-c", law.removeprefix("python -c ").strip('"')],
        ["-m", "hgobench", "run", "smoke", "--rule", "mine:MyRule", "--set", "rounds=2", "--quiet"],
    ):
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "hgo mine:MyRule *" in done.stdout


def test_the_readme_s_python_runs() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(source.replace("f=10)", "f=10, rounds=3)"), names)
    assert names["result"].summary["status"] == "done"  # type: ignore[attr-defined]


def test_files_that_the_readme_points_to_exist() -> None:
    for target in re.findall(r"\]\(((?!https?:)[^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_house_is_as_it_is_drawn() -> None:
    drawn = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for path in (ROOT / "hgobench").glob("*"):
        if path.name not in ("__init__.py", "__main__.py", "py.typed", "__pycache__"):
            assert path.name in drawn or f"{path.name}/" in drawn, path.name
