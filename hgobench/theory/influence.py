"""Whose values a rule uses: how far its answer follows each worker's."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
from numpy.typing import NDArray

from hgobench.aggregators import Rule, ServerView
from hgobench.lazy import Tensor, torch
from hgobench.statistics import Floats

STEP = 1e-6  # of the distance to the nearest worker: too little to change who is chosen
ROUNDING = 1e4  # steps are at least so many times what rounding adds to an answer


def influences(
    rule: Rule,
    values: Tensor,
    present: Tensor | None = None,
    view: ServerView | None = None,
    seed: int = 0,
) -> Floats:
    """Return how far the answer follows each worker's values, (m,).

    Worker i's values x_i are moved by δ_i, of random signs, along what it sent, and
    w_i = ⟨AR(x + δ_i) - AR(x), δ_i⟩ / ‖δ_i‖². The average has w_i = 1/m, or 1/|Q_j| where only
    Q_j sent; a rule that chooses one vector has w_i = 1 for it and 0 for others; of a rule that
    treats each coordinate by itself it is the mean over what worker i sent. Weights that depend on
    the values, as the geometric median's, add what they change. ‖δ_i‖ is a millionth of the
    distance to the nearest other worker's values, so that no distance between two workers changes
    by more than a millionth of itself, wherever the others are.

    Args:
        rule: the rule; a stateful one is asked as it is now, and keeps its memory.
        values: (m, d), finite.
        present: (m, d) bool, which entries were sent; None: all.
        view: what the server knows.
        seed: of the signs.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [2.0, 3.0], [9.0, 1.0]])
        >>> from hgobench import aggregators
        >>> influences(aggregators.build("median"), rows).round(2).tolist()
        [0.0, 0.5, 0.5]
    """
    values = values.double()
    m, d = values.shape
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], d)
    directions = torch.from_numpy(signs).to(values)
    sent = torch.ones_like(values, dtype=torch.bool) if present is None else present
    before = _answer(rule, values, present, view)
    followed = np.zeros(m)
    for i in range(m):
        if not sent[i].any():
            continue
        # What is far from 0 can't be moved by less than its rounding, nor can such an answer.
        largest = max(float(values[i][sent[i]].abs().max()), float(before.abs().max()))
        least = ROUNDING * torch.finfo(values.dtype).eps * largest
        length = max(STEP * _nearest(values, sent, i), least) or STEP
        delta = torch.where(sent[i], length * directions, 0.0)
        moved = values.clone()
        moved[i] += delta
        # What was added is not quite delta, once it is rounded.
        delta = torch.where(sent[i], moved[i] - values[i], 0.0)
        change = _answer(rule, moved, present, view) - before
        followed[i] = float((change @ delta) / (delta @ delta))
    return followed


def _nearest(values: Tensor, sent: Tensor, i: int) -> float:
    """Return the least distance above 0 from worker i to another, per entry that both sent.

    It is ‖x_i - x_j‖ / √n over the n entries that i and j sent; 0 if there is no such worker.
    """
    both = sent & sent[i]
    squares = torch.where(both, values - values[i], 0.0).square().sum(dim=1)
    distances = (squares / both.sum(dim=1).clamp_min(1)).sqrt()
    return float(torch.where(distances > 0, distances, torch.inf).min().nan_to_num(posinf=0.0))


def _answer(rule: Rule, values: Tensor, present: Tensor | None, view: ServerView | None) -> Tensor:
    asked = deepcopy(rule) if rule.stateful else rule
    return asked(values, present, view)


def unlike(labels: NDArray[np.int64], shards: list[NDArray[np.int64]], classes: int) -> Floats:
    """Return how unlike all examples each worker's labels are: total variation, in [0, 1].

    Args:
        labels: of all training examples.
        shards: each worker's examples.
        classes: how many there are.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> unlike(labels, [np.array([0, 2]), np.array([0, 1])], 2).tolist()
        [0.0, 0.5]
    """
    every = np.bincount(labels, minlength=classes) / len(labels)
    return np.array(
        [
            0.5 * np.abs(np.bincount(labels[own], minlength=classes) / len(own) - every).sum()
            for own in shards
        ]
    )
