"""Whether Krum would choose a crafted vector, for many candidates at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 256
HALVINGS = 40


class KrumChoice:
    """Krum among h honest vectors x_i and b copies of one crafted vector, told f = b.

    The crafted vector is c(γ) = o + γ·p. All distances follow from inner products, so that a
    candidate γ costs h² and not h²·d. With so few honest workers that Krum counts no honest
    neighbour of a copy (h <= b + 1), the copies always win.

    Args:
        apart: (h, d) float64, x_i - μ.
        byzantine: b >= 1.
        start: (d,) float64, o - μ.
        p: (d,) float64, the direction.
    """

    def __init__(self, apart: Tensor, byzantine: int, start: Tensor, p: Tensor) -> None:
        self.b = byzantine
        self.near = len(apart) - byzantine - 1  # honest neighbours that a copy's score counts
        gram = (apart @ apart.T).cpu()
        square = gram.diagonal()
        between = (square[:, None] + square - 2.0 * gram).clamp_min(0.0)
        between.fill_diagonal_(torch.inf)  # nobody is its own neighbour
        self.between = between
        away = start - apart
        self.constant = away.square().sum(dim=1).cpu()
        self.linear = 2.0 * (away @ p).cpu()
        self.quadratic = float(p.square().sum())

    def selects(self, gamma: Tensor, at_least: int) -> Tensor:
        """Say for each γ (g,) whether the copies are among the best, (g,) bool.

        Args:
            gamma: candidates.
            at_least: how many of the honest vectors must score no better than the copies:
                h: Krum selects a copy; less: Multi-Krum selects them all, beside some honest.
        """
        if self.near <= 0:
            return torch.ones_like(gamma, dtype=torch.bool)
        g, h = gamma[:, None], len(self.between)
        distance = (self.constant + self.linear * g + self.quadratic * g * g).clamp_min(0.0)
        crafted = distance.sort(dim=1).values[:, : self.near].sum(dim=1)
        copies = distance[:, :, None].expand(-1, -1, self.b)
        others = torch.cat((self.between.expand(len(gamma), h, h), copies), dim=2)
        scores = others.sort(dim=2).values[:, :, : h - 2].sum(dim=2)
        return (scores >= crafted[:, None]).sum(dim=1) >= at_least

    def largest(self, at_least: int) -> float:
        """Return the largest γ >= 0 that `selects`, 0 if none does.

        Of 256 steps the last that is selected is refined; what is selected in between two steps
        only is not seen. Beyond γ‖p‖ = ‖o - x‖ + D·(1 + √(h / near)) a copy's score exceeds all
        honest ones, so that a grid up to there brackets it.
        """
        if self.quadratic == 0.0 or self.near <= 0:
            return 0.0
        finite = self.between[self.between < torch.inf]
        widest = math.sqrt(float(finite.max())) if len(finite) else 0.0
        reach = math.sqrt(float(self.constant.max()))
        reach += widest * (1.0 + math.sqrt(len(self.between) / self.near))
        top = reach / math.sqrt(self.quadratic)
        return last_true(lambda gamma: self.selects(gamma, at_least), top)


def last_true(holds: Callable[[Tensor], Tensor], top: float) -> float:
    """Return the largest x in [0, top] on a grid for which `holds`, refined by halving; 0: none."""
    grid = torch.linspace(0.0, top, STEPS + 1, dtype=torch.float64)
    true = holds(grid).nonzero()[:, 0]
    if len(true) == 0:
        return 0.0
    low = float(grid[true[-1]])
    high = min(low + top / STEPS, top)
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        if bool(holds(torch.tensor([middle], dtype=torch.float64))[0]):
            low = middle
        else:
            high = middle
    return low
