"""Kardam: each answer is judged by how fast the worker's gradients change."""

from __future__ import annotations

import math
from collections import deque
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor

from .async_sgd import AsyncSgd
from .base import Waiting


class Kardam(AsyncSgd):
    """Asynchronous SGD that drops answers whose worker's gradients change too fast, or too many.

    Let g be worker p's answer, computed at x, and g', x' its answer before. Its empirical Lipschitz
    coefficient is K_p = ‖g - g'‖/‖x - x'‖. An answer passes the *Lipschitz filter* if K_p is no
    more than the (m - f̂)-th smallest of the last coefficients of the m workers that have one: the
    (n - f)/n quantile, once all have. It passes the *frequency filter* if none of the 2f̂ answers
    that were taken last is p's. What passes both moves the model by γ·Λ(τ)·g.

    So any 2f̂ + 1 answers that were taken one after the other are of as many workers, f̂ + 1 or more
    of them honest: f̂ workers have f̂ at most, as the source asks. A fast worker is heard no more
    often than that, and if fewer than 2f̂ + 1 workers pass the Lipschitz filter, the server stalls.

    An answer without a coefficient, a worker's first or one at the same parameters as its last,
    passes if it is no longer than the (m - f̂)-th shortest of the m workers' last answers.

    On ragged answers: there are none, an answer is whole. The rule gets one answer at a time; f̂ is
    what the filters tolerate.

    Source: Damaskinos, El Mhamdi, Guerraoui, Patra, Taziki, "Asynchronous Byzantine Machine
    Learning (the case of SGD)", ICML 2018.

    Departs from its source: there answers without a coefficient pass. Λ is left open in it, but for
    that it falls; its authors' code has exp(-τ/5). That code also compares an answer with the last
    that was taken, of whatever worker, and takes one after as many rejections as there are workers.
    docs/asynchrony.md measures what damping costs: where devices differ much, ``"none"`` is best.

    Args:
        damping, max_staleness: as for `AsyncSgd`.

    Example:
        >>> Kardam().judges
        True
    """

    paper: ClassVar[str] = "Damaskinos et al., ICML 2018"
    validity: ClassVar[str] = "n >= 3f + 1; a rule that needs one answer, as average"
    judges: ClassVar[bool] = True

    def __init__(self, damping: str = "exponential", max_staleness: int | None = None) -> None:
        super().__init__(damping, max_staleness)
        self._last: dict[int, tuple[Tensor, Tensor]] = {}  # worker -> its last answer, and where
        self._sizes: dict[int, float] = {}  # worker -> ‖g‖ of it
        self._coefficients: dict[int, float] = {}  # worker -> its last K_p
        self._taken: deque[int] = deque()  # whose answers were taken, the last 2f̂

    def weights(self, waiting: Waiting) -> NDArray[np.float64] | None:
        """Return Λ(τ) of answers that pass both filters, 0 of others."""
        judged, f = waiting.judged, waiting.tolerated
        assert judged is not None
        weights = self.damping(waiting.staleness)
        for row, worker in enumerate(waiting.workers.tolist()):
            value, started = judged.values[row], judged.started[row]
            passes = self._is_smooth(worker, value, started, f)
            if weights[row] == 0 or not passes or not self._is_rare(worker):
                weights[row] = 0.0
                continue
            self._taken.append(worker)
            while len(self._taken) > 2 * f:
                self._taken.popleft()
        return weights

    def _is_smooth(self, worker: int, value: Tensor, started: Tensor, f: int) -> bool:
        """Say whether an answer passes the Lipschitz filter, and remember it."""
        size = float(value.double().norm())
        if not math.isfinite(size):
            return False
        last = self._last.get(worker)
        self._last[worker], self._sizes[worker] = (value.clone(), started), size
        moved = 0.0 if last is None else float((started.double() - last[1].double()).norm())
        if last is None or moved == 0.0:
            return _among_smallest(self._sizes, worker, f)
        apart = float((value.double() - last[0].double()).norm())
        self._coefficients[worker] = apart / moved
        return _among_smallest(self._coefficients, worker, f)

    def _is_rare(self, worker: int) -> bool:
        """Say whether an answer passes the frequency filter."""
        return worker not in self._taken


def _among_smallest(numbers: dict[int, float], worker: int, f: int) -> bool:
    """Say whether a worker's number is at most the (m - f)-th smallest of m.

    >>> _among_smallest({3: 1.0, 5: 2.0, 7: 9.0}, 5, f=1), _among_smallest({3: 1.0}, 3, f=1)
    (True, False)
    """
    ranked = sorted(numbers.values())
    return len(ranked) > f and numbers[worker] <= ranked[len(ranked) - f - 1]
