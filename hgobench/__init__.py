"""Benchmark and adversarial-robustness suite for Byzantine-robust distributed learning.

>>> from hgobench import Scenario, run
>>> result = run(Scenario(data="digits", rule="median", attack="foe", workers=20, f=4, rounds=5))
>>> len(result.rounds["test_accuracy"])
5
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# A checkout without symbolic links (an unpacked archive, git on Windows) finds the folders
# attacks/ and aggregators/ beside this package.
if not (Path(__file__).parent / "attacks").is_dir():
    __path__.append(str(Path(__file__).parent.parent))

if TYPE_CHECKING:
    from hgobench import aggregators, attacks, leaderboard, theory
    from hgobench.comparison import compare
    from hgobench.merging import merge
    from hgobench.plots import plot
    from hgobench.report.export import export_tables
    from hgobench.results import Result, Store, open_store
    from hgobench.scenario import Scenario
    from hgobench.session import Session, run_suite
    from hgobench.simulation import World, run
    from hgobench.verification import verify

__all__ = [
    "Result",
    "Scenario",
    "Session",
    "Store",
    "World",
    "__version__",
    "aggregators",
    "attacks",
    "compare",
    "export_tables",
    "leaderboard",
    "merge",
    "open_store",
    "plot",
    "run",
    "run_suite",
    "theory",
    "verify",
]

_HOME = {
    "Result": "results",
    "Scenario": "scenario",
    "Store": "results",
    "World": "simulation",
    "compare": "comparison",
    "export_tables": "report.export",
    "merge": "merging",
    "open_store": "results",
    "plot": "plots",
    "Session": "session",
    "run": "simulation",
    "run_suite": "session",
    "verify": "verification",
}


def __getattr__(name: str) -> Any:
    # Public names are imported on first use, so that `import hgobench` does not import torch.
    if name in _HOME:
        return getattr(import_module(f"hgobench.{_HOME[name]}"), name)
    if name in __all__:
        return import_module(f"hgobench.{name}")
    raise AttributeError(f"module 'hgobench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
