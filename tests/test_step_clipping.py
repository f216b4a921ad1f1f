"""Step clipping against its definition, round by round, on blocks that change."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from hgobench import Scenario, aggregators, run
from hgobench.aggregators import ServerView
from hgobench.simulation import simulate
from tests import oracles
from tests.test_local_steps import table

D = 9


def blocks(k: int, rng: np.random.Generator) -> list[int]:
    return list(range(D)) if k % 4 == 1 else sorted(rng.permutation(D)[: 3 + k % 3].tolist())


@pytest.mark.parametrize("strength", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("rule", ["trimmed_mean", "geometric_median", "krum"])
@pytest.mark.parametrize("whole", [True, False])
def test_vectors_are_clipped_by_the_path_since_their_coordinates_were_updated(
    strength: float, rule: str, whole: bool
) -> None:
    rng = np.random.default_rng(7)
    made = aggregators.build(f"step_clipping[strength={strength}]+{rule}", f=2)
    definition = oracles.StepClipping(strength, D)
    behind = aggregators.build(rule, f=2)
    cut = 0
    for k in range(1, 10):
        block = list(range(D)) if whole else blocks(k, rng)
        values = rng.standard_normal((7, len(block))) / k + 0.2
        values[0] *= 30.0
        view = ServerView(round=k, coordinates=torch.tensor(block), dimension=D)
        found = made(torch.from_numpy(values), view=view)
        clipped = definition.clipped(list(values), block)
        cut += sum(not np.allclose(a, b) for a, b in zip(clipped, values, strict=True))
        expected = behind(torch.from_numpy(np.stack(clipped)))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
        definition.answers.append(dict(zip(block, found.tolist(), strict=True)))
    assert cut > 5


@pytest.mark.parametrize("strength", [0.3, 2.0])
def test_values_are_clipped_each_by_its_own_path(strength: float) -> None:
    rng = np.random.default_rng(3)
    text = f"step_clipping[strength={strength}]+median"
    made = aggregators.build(text, f=2, scope="coordinate")
    definition = oracles.StepClipping(strength, D)
    for k in range(1, 10):
        block = blocks(k, rng)
        values, present = rng.standard_normal((7, len(block))), rng.random((7, len(block))) < 0.8
        present[:5] = True
        view = ServerView(round=k, coordinates=torch.tensor(block), dimension=D)
        found = made(torch.from_numpy(values), torch.from_numpy(present), view)
        for j, (place, answer) in enumerate(zip(block, found.tolist(), strict=True)):
            column = [values[i, j : j + 1] for i in range(7) if present[i, j]]
            clipped = definition.clipped(column, [place])
            assert answer == pytest.approx(float(np.median(np.concatenate(clipped))), rel=1e-6)
        definition.answers.append(dict(zip(block, found.tolist(), strict=True)))


def test_the_steps_of_a_staircase_are_one_round() -> None:
    """Each step's vectors are clipped by the path up to the round before, whatever its order."""
    rng = np.random.default_rng(5)
    made = aggregators.build("step_clipping[strength=0.5]+geometric_median", f=1, scope="staircase")
    definition = oracles.StepClipping(0.5, D)
    behind = aggregators.build("geometric_median", f=1)
    ends = (9, 9, 9, 5, 5, 9, 5)
    for k in range(1, 7):
        values = rng.standard_normal((7, D)) / k
        present = np.arange(D) < np.array(ends)[:, None]
        view = ServerView(round=k, dimension=D)
        found = made(torch.from_numpy(values), torch.from_numpy(present), view).numpy()
        for end, start in ((9, 5), (5, 0)):
            far = [i for i in range(7) if ends[i] >= end]
            clipped = definition.clipped([values[i, :end] for i in far], range(end))
            answer = behind(torch.from_numpy(np.stack(clipped))).numpy()
            np.testing.assert_allclose(found[start:end], answer[start:end], rtol=1e-5, atol=1e-9)
        definition.answers.append(dict(enumerate(found.tolist())))


def test_no_answer_is_further_from_the_last_than_its_length() -> None:
    """Even if all that are asked send 1e6, from the second round on."""
    rule = aggregators.build("step_clipping[strength=0.5]+average")
    rng = np.random.default_rng(0)
    last = rule(torch.from_numpy(rng.standard_normal((5, 4))), view=ServerView(round=1))
    for k in range(2, 6):
        found = rule(1e6 * torch.ones(5, 4), view=ServerView(round=k))
        assert math.isclose(float((found - last).norm()), 0.5 * float(last.norm()), rel_tol=1e-4)
        last = found


def test_a_sample_of_attackers_alone_moves_a_run_by_no_more() -> None:
    """Five of 30 workers are asked, 12 are Byzantine: some rounds have more than they stand."""
    fields: dict[str, Any] = {
        "data": "breast_cancer", "workers": 30, "byzantine": 12, "sampled": 5, "rounds": 40,
        "attack": "foe[epsilon=1000000.0]", "hardware": "powerful", "algorithm": "sgd",
        "deadline": math.inf, "evaluation_interval": 40, "learning_rate": 0.05,
    }  # fmt: skip
    found: list[float] = []
    for rule in ("median", "step_clipping+median"):
        largest = [0.0]
        simulate(
            [Scenario(**fields, rule=rule)],
            observe=lambda step, largest=largest: largest.append(float(step.aggregate.norm())),  # type: ignore[misc]
        )
        found.append(max(largest))
        growth = max(b / a for a, b in pairwise(largest[1:]))
        assert (growth <= 2.0 + 1e-4) == (rule != "median")
    assert found[0] > 1e4


def test_cells_with_it_do_not_depend_on_the_stack() -> None:
    base: dict[str, Any] = {
        "data": "breast_cancer", "workers": 7, "byzantine": 2, "rounds": 4,
        "hardware": "lognormal[sigma=1.0]", "deadline": 1.5, "evaluation_interval": 4,
    }  # fmt: skip
    cells = [
        Scenario(**base, rule=f"step_clipping+{rule}", attack=attack)
        for rule in ("trimmed_mean", "geometric_median")
        for attack in ("foe", "alie[z=1.5]", "none")
    ]
    together = [table(result) for result in simulate(cells)]
    assert [table(run(cell)) for cell in cells] == together


@pytest.mark.parametrize("strength", [0, -1.0, math.inf])
def test_what_is_no_strength_is_refused(strength: Any) -> None:
    with pytest.raises(ValueError, match=r"strength: .*; expected a finite number > 0"):
        aggregators.StepClipping(strength=strength)
