"""A suite's cells as tests: ``pytest suites/ --suite quick``; each test is one cell's contract."""

from __future__ import annotations

import math

from hgobench.results import Result
from hgobench.scenario import Scenario
from hgobench.suite import Suite


def test_cell(cell: Scenario, result: Result, suite: Suite, reference: dict[str, float]) -> None:
    """It completes with finite numbers, is no worse than its reference, and breaks if it must."""
    assert result.status == "done", result.reason
    accuracy = result.summary["test_accuracy"]
    assert 0 <= accuracy <= 1
    assert math.isfinite(result.summary["test_loss"])

    label = suite.label(cell)
    if label in reference:
        assert accuracy >= reference[label] - suite.tolerance, (
            f"{label}: accuracy {accuracy:.3f}, reference {reference[label]:.3f}: a robustness "
            f"regression of more than {suite.tolerance}. If it is meant, rewrite the reference: "
            f"hgobench run {suite.name} --update-reference"
        )
    for rule in suite.breaks:
        if rule.matches(cell):
            assert accuracy < rule.below, (
                f"{label}: accuracy {accuracy:.3f}; expected less than {rule.below}: an attack "
                "that must break this cell no longer does"
            )
