"""Nothing that a user can hand over ends in anything but an answer or an `InputError`, in time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from hgobench.errors import InputError

from .targets import Target, targets

SECONDS = 2.0  # of CPU, for any case
TARGETS = targets()
SHARES = sum(target.weight for target in TARGETS)
TIERS = {"default": 2_000, "deep": 100_000}


def said(problems: Sequence[str]) -> None:
    """Every refusal has a reason."""
    assert problems
    assert all(problem.strip() for problem in problems)


@pytest.mark.parametrize("tier", ["default", pytest.param("deep", marks=pytest.mark.deep)])
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_only_documented_errors(target: Target, tier: str) -> None:
    cases = -(-TIERS[tier] * target.weight // SHARES)
    counts = {"read": 0, "refused": 0}

    @settings(
        max_examples=cases,
        deadline=None,  # of wall time; CPU time is asserted below
        database=None,
        derandomize=tier == "default",
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(case=target.cases)
    def fuzz(case: object) -> None:
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time()
            try:
                whole = target.read(case, Path(folder)) is not False
            except InputError as refusal:
                whole = False
                said(refusal.problems)
            counts["read" if whole else "refused"] += 1
            assert time.process_time() - started < SECONDS

    fuzz()
    # Hypothesis may give up on a strategy early; a fuzz test that ran nothing proves nothing.
    assert sum(counts.values()) >= cases
    assert min(counts.values()) >= 0.01 * cases, counts
