"""A suite's cells as tests: ``pytest suites/ --suite quick``; each test is one cell's contract."""

from __future__ import annotations

import math

from hgobench.results import Result
from hgobench.scenario import Scenario
from hgobench.suite import Suite


def test_cell(
    hgobench_cell: Scenario,
    hgobench_result: Result,
    hgobench_suite: Suite,
    hgobench_reference: dict[str, float] | None,
) -> None:
    """It completes with finite numbers, is no worse than its reference, and breaks if it must."""
    cell, result, suite = hgobench_cell, hgobench_result, hgobench_suite
    assert result.status == "done", result.reason
    accuracy = result.worth
    assert 0 <= accuracy <= 1
    assert math.isfinite(result.summary["test_loss"])

    label = suite.label(cell)
    update = f"hgobench run {suite.path} --update-reference"
    if hgobench_reference is not None and suite.own(cell):
        assert label in hgobench_reference, f"{label}: no reference value; write it with: {update}"
        before = hgobench_reference[label]
        assert accuracy >= before - suite.tolerance, (
            f"{label}: accuracy {accuracy:.3f}, reference {before:.3f}: a robustness regression of "
            f"more than {suite.tolerance}. If it is meant, rewrite the reference: {update}"
        )
    for below in suite.broken_by(cell):
        assert accuracy < below, (
            f"{label}: accuracy {accuracy:.3f}; expected less than {below}: an attack that must "
            "break this cell no longer does"
        )
