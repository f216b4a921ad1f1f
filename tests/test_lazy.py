"""torch is imported when something is computed, not when it is named."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import pytest
import torch

import hgobench
from hgobench import lazy
from hgobench.kernels import arrays
from hgobench.models import base
from tests.conftest import ROOT

REFUSE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise AssertionError("torch is imported")

sys.meta_path.insert(0, Refuse())
"""


def without_torch(code: str) -> str:
    """Run Python where torch can't be imported; return what it prints."""
    ran = subprocess.run(
        [sys.executable, "-c", REFUSE + textwrap.dedent(code)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_naming_anything_that_is_built_in_does_not_import_torch() -> None:
    said = without_torch("""
        from hgobench import Scenario, catalogue
        from hgobench.errors import InputError

        registries = [(field, catalogue.registry(field), "{}") for field in catalogue.FIELDS]
        registries += [
            ("rule", catalogue.registry("pre_rule"), "{}+median"),
            ("attack", catalogue.registry("heterogeneity_attack"), "{}+foe"),
        ]
        made = 0
        for field, registry, pattern in registries:
            for name in registry.builtins:
                # Some algorithms step on single answers, of which most rules can't judge.
                rule = {"rule": "average"} if field == "algorithm" else {}
                given = {"workers": 20, "f": 1, "q": 16, **rule, field: pattern.format(name)}
                try:
                    Scenario(**given)
                    made += 1
                except InputError as error:
                    print(error.problems)
        Scenario(rule="nnm+bucketing[s=3]+krum", attack="tail+alie[z=1.5]", workers=40, f=2)
        Scenario(model="feed_forward[hidden=5]", solver="adam[beta1=0.5]", algorithm="sgd[momentum=0.9]")
        print(made > 90)
    """)
    files = ("csv", "parquet", "libsvm", "npz", "images", "huggingface", "leaf")
    assert said.splitlines() == [
        *(f"[\"data: '{name}': path missing; write {name}[path=..]\"]" for name in files),
        "[\"hardware: 'devices': path missing; write devices[path=..]\"]",
        "True",
    ]


def test_what_is_wrong_is_said_without_torch() -> None:
    said = without_torch("""
        from hgobench import Scenario
        from hgobench.errors import InputError
        try:
            Scenario(data="digit", model="feed_forward[hidden=0]", rule="krumm", attack="alie[z=x]")
        except InputError as error:
            print("\\n".join(error.problems))
    """)
    assert said.splitlines() == [
        "data: unknown 'digit'; did you mean 'digits'? (hgobench list datasets)",
        "model: 'feed_forward[hidden=0]': hidden: 0; expected an integer >= 1",
        "rule: unknown 'krumm'; did you mean 'krum'? (hgobench list rules)",
        "attack: 'alie[z=x]': z: 'x'; expected a finite number >= 0",
    ]


def test_a_suite_starts_and_a_store_is_shown_without_torch(tmp_path: Path) -> None:
    said = without_torch(f"""
        import hgobench.engines, hgobench.simulation
        from hgobench.leaderboard import Score, boards
        from hgobench.results import open_store
        from hgobench.suite import Suite
        suite = Suite.load("standard")
        grid, left = suite.expand()
        print(len(grid), len(next(grid.cohorts(suite.width))))
        with open_store({str(ROOT / "tests" / "schema_1")!r}, create=False) as store:
            print(len(boards(Score.of(result) for _, result in store.results())))
    """)
    assert said.splitlines() == ["2580 66", "3"]


@pytest.mark.long
def test_who_drives_others_stays_small(tmp_path: Path) -> None:
    """The first cells of a grid of 1,000,000 by two processes: CPU seconds and memory of this one."""
    said = without_torch(f"""
        import time
        import psutil
        from hgobench.engines.cells import execute
        from hgobench.grid import Grid
        from hgobench.results import open_store

        def enough(finished):
            if finished.computed:
                raise KeyboardInterrupt

        axes = {{"rule": ["median", "krum"], "attack": ["none", "foe"], "seed": range(250_000)}}
        grid = Grid({{"workers": 10, "f": 1, "rounds": 2}}, axes)
        with open_store({str(tmp_path)!r}) as store:
            outcome = execute(grid, store, "r-1", jobs=2, on_progress=enough)
            kept = len(store)
        print(len(grid), outcome.interrupted, kept > 0)
        print(time.process_time() < 6.0, psutil.Process().memory_info().rss < 250e6)
    """)
    assert said.splitlines() == ["1000000 interrupted True", "True True"]


@cache
def modules() -> dict[str, ast.Module]:
    homes = Path(hgobench.__file__).parent, ROOT / "aggregators", ROOT / "attacks"
    return {
        str(path): ast.parse(path.read_text(encoding="utf-8"))
        for home in homes
        for path in sorted(home.glob("**/*.py"))
    }


@pytest.mark.long
def test_one_module_imports_torch() -> None:
    """Functions may import it: they are called when there is something to compute."""
    importing = {
        name
        for name, tree in modules().items()
        for node in tree.body
        if (isinstance(node, ast.Import) and any(a.name.startswith("torch") for a in node.names))
        or (isinstance(node, ast.ImportFrom) and str(node.module).startswith("torch"))
    }
    assert importing == set()


def test_the_name_for_annotations_is_asked_of_no_object() -> None:
    """At run time it is a text."""
    asked = [
        f"{name}:{node.lineno}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in ("isinstance", "issubclass", "cast")
        for argument in node.args
        for inner in ast.walk(argument)
        if isinstance(inner, ast.Name) and inner.id == "Tensor"
    ]
    assert asked == []


def test_what_stands_for_torch_gives_way_to_it() -> None:
    assert lazy.torch.float32 is torch.float32
    assert lazy.torch is arrays.torch is base.torch is torch  # type: ignore[attr-defined]


@pytest.mark.long
def test_torch_is_asked_for_its_version_first() -> None:
    """As `hgobench audit cost` does, which computes nothing in its own process."""
    asked = "from hgobench.audits.cost import machine; print(machine())"
    ran = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip().endswith(f"torch {torch.__version__}")
