"""Zeno++: each answer is judged by a gradient of the server's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor
from hgobench.parameters import finite, whole

from .async_sgd import AsyncSgd
from .base import Waiting

if TYPE_CHECKING:
    from hgobench.data.base import Dataset


class ZenoPlusPlus(AsyncSgd):
    """Asynchronous SGD that drops answers which the server's own data say would not descend.

    v is the gradient of the server's clean examples at parameters of at most `refresh` steps ago.
    An answer g is made as long as it, u = ‖v‖·g/‖g‖, and the model moves by γ·u if

        γ·⟨v, u⟩ - ρ·‖u‖² >= -γ·ε.

    On ragged answers: there are none, an answer is whole. The rule gets one answer at a time.

    Source: Xie, Koyejo, Gupta, "Zeno++: Robust Fully Asynchronous SGD", ICML 2020.

    Args:
        rho: ρ >= 0.
        epsilon: ε, of any sign.
        refresh: after how many steps v is computed anew, >= 1.
        examples: how many clean training examples the server has.
        max_staleness: as for `AsyncSgd`.

    Example:
        >>> ZenoPlusPlus().needs
        frozenset({'root'})
    """

    paper: ClassVar[str] = "Xie et al., ICML 2020"
    validity: ClassVar[str] = "clean root data at the server; a rule that needs one answer"
    judges: ClassVar[bool] = True
    needs = frozenset({"root"})

    def __init__(
        self,
        rho: float = 0.002,
        epsilon: float = 0.0,
        refresh: int = 10,
        examples: int = 100,
        max_staleness: int | None = None,
    ) -> None:
        super().__init__("none", max_staleness)
        self.rho = finite("rho", rho, least=0.0)
        self.epsilon = finite("epsilon", epsilon)
        self.refresh = whole("refresh", refresh, least=1)
        self.examples = whole("examples", examples, least=1)
        self._own: Tensor | None = None  # v
        self._steps = 0  # since it was computed

    def fits(self, data: Dataset) -> None:
        """Refuse more root examples than the training set has."""
        whole("examples", self.examples, most=len(data.train))

    def weights(self, waiting: Waiting) -> NDArray[np.float64] | None:
        """Return ‖v‖/‖g‖ of answers that pass, 0 of others."""
        judged = waiting.judged
        assert judged is not None
        assert judged.root is not None
        weights = self.damping(waiting.staleness)
        if self._own is None or self._steps >= self.refresh:
            self._own, self._steps = judged.root.gradient(self.examples).double(), 0
        own, rate = self._own, judged.root.rate
        length = float(own.norm())
        for row in np.flatnonzero(weights).tolist():
            value = judged.values[row].double()
            size = float(value.norm())
            along = float(own @ value) * length / size if size > 0 else 0.0
            descends = rate * along - self.rho * length**2 >= -rate * self.epsilon
            good = 0 < size < np.inf and np.isfinite(along) and descends
            weights[row] = length / size if good else 0.0
        self._steps += int((weights > 0).any())
        return weights
