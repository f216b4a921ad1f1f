"""Whether Krum would choose a crafted vector, for many candidates at once."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from hgobench.lazy import Tensor, torch

STEPS = 256
DENSER = 20  # steps of a dense grid for one of a grid by decades
HALVINGS = 40
AT_ONCE = 5  # halvings


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
        between.fill_diagonal_(torch.inf)  # no vector is its own neighbour
        # Of each honest vector its neighbours, nearest first, and the sums of the nearest.
        self.sorted = between.sort(dim=1).values[:, : len(apart) - 1].contiguous()
        self.sums = torch.nn.functional.pad(self.sorted.cumsum(dim=1), (1, 0))
        away = start - apart
        self.constant = away.square().sum(dim=1).cpu()
        self.linear = 2.0 * (away @ p).cpu()
        self.quadratic = float(p.square().sum())

    def selects(self, gamma: Tensor, at_least: int) -> Tensor:
        """Say for each γ (g,) whether the copies are among the best, (g,) bool.

        Args:
            gamma: candidates.
            at_least: how many of the honest vectors must score no better than the copies:
                h: Krum selects a copy; less: Multi-Krum selects them all and some honest ones.
        """
        if self.near <= 0:
            return torch.ones_like(gamma, dtype=torch.bool)
        # NumPy: of so few numbers a call takes a third of the time of torch's.
        g, h = gamma.numpy(), len(self.sorted)
        distance = self.constant.numpy()[:, None] + self.linear.numpy()[:, None] * g
        distance += self.quadratic * g * g
        np.maximum(distance, 0.0, out=distance)
        crafted = (
            torch.from_numpy(np.sort(np.ascontiguousarray(distance.T), axis=1))[:, : self.near]
            .sum(dim=1)
            .numpy()
        )
        # A score sums the h - 2 nearest of h - 1 honest neighbours and b copies: first the honest
        # ones that are nearer than the copies, then copies, then honest ones again.
        nearer = torch.searchsorted(self.sorted, torch.from_numpy(distance)).numpy()
        honest = np.minimum(np.maximum(nearer, h - 2 - self.b), h - 2)
        scores = self.sums.numpy()[np.arange(h)[:, None], honest] + (h - 2 - honest) * distance
        chosen = np.add.reduce(scores >= crafted, axis=0, dtype=np.int64) >= at_least
        return torch.from_numpy(chosen)

    def largest(self, at_least: int, steps: int = STEPS) -> float:
        """Return the largest γ >= 0 that `selects`, 0 if none does.

        Of so many steps the last that is selected is refined; what is selected in between two steps
        only is not seen. Beyond γ‖p‖ = ‖o - x‖ + D·(1 + √(h / near)) a copy's score exceeds all
        honest ones, so that a grid up to there brackets it.
        """
        if self.quadratic == 0.0 or self.near <= 0:
            return 0.0
        widest = math.sqrt(float(self.sorted.max())) if self.sorted.numel() else 0.0
        reach = math.sqrt(float(self.constant.max()))
        reach += widest * (1.0 + math.sqrt(len(self.sorted) / self.near))
        top = reach / math.sqrt(self.quadratic)
        return last_true(lambda gamma: self.selects(gamma, at_least), top, steps)


def last_true(holds: Callable[[Tensor], Tensor], top: float, steps: int = STEPS) -> float:
    """Return the largest x in [0, top] on a grid for which `holds`, refined by halving; 0: none."""
    grid = torch.linspace(0.0, top, steps + 1, dtype=torch.float64)
    true = holds(grid).nonzero()[:, 0]
    if len(true) == 0:
        return 0.0
    low = float(grid[true[-1]])
    high = min(low + top / steps, top)
    for _ in range(HALVINGS // AT_ONCE):
        low, high = _halved(holds, low, high)
    return low


def _halved(holds: Callable[[Tensor], Tensor], low: float, high: float) -> tuple[float, float]:
    """Halve an interval several times: all points that may be asked are asked at once."""
    intervals = [(low, high)]
    middles: list[float] = []
    for _ in range(AT_ONCE):
        intervals = [half for a, b in intervals for half in ((a, (a + b) / 2), ((a + b) / 2, b))]
        middles += [b for _, b in intervals[::2]]
    true = holds(torch.tensor(middles, dtype=torch.float64)).tolist()
    level, place = 0, 0  # where the halvings so far have led
    for depth in range(AT_ONCE):
        right = true[level + place]
        middle = middles[level + place]
        low, high = (middle, high) if right else (low, middle)
        level, place = level + 2**depth, 2 * place + right
    return low, high
