"""Divide and conquer."""

from __future__ import annotations

import math

from hgobench.lazy import Tensor, torch
from hgobench.parameters import REPEATED, positive, whole

from .base import Rule, Scope
from .errors import RuleError
from .vectors import Vectors, about_mean


class Dnc(Rule):
    """Mean of the vectors that are never among the most outlying along the main direction.

    `iterations` times: choose r = min(⌈share·b⌉, coordinates) of the b coordinates at random,
    without replacement; centre the shortened vectors on their mean; v is their top right singular
    vector and s_i = ⟨x_i - mean, v⟩² the score of worker i; the m - ⌊c·f⌋ workers with the least
    scores are good. AR(x) is the mean of the vectors that were good every time. Of equal scores the
    first worker's counts as the smaller. A vector with NaN or infinite entries is never good.

    With the defaults nothing is drawn where b is at most 10,000: r is b, all iterations are the
    same one, and the rule is deterministic. To draw there, the point of the paper's rule, state a
    smaller `share` or fewer `coordinates`.

    Args:
        coordinates: the most that an iteration looks at.
        iterations: how often.
        c: the filtering fraction, how many are taken out per expected attacker.
        share: of the coordinates, 0 < share <= 1, that an iteration looks at.

    Validity: m >= 2f + 1 and c·f < m; RuleError if no worker was good every time. Attackers that
    act along one direction are found; of two that act along different ones at different scales the
    larger hides the smaller, however many iterations there are, unless the coordinates drawn part
    them.
    On ragged input: the rule on the vectors of those that sent the whole block; in scope
    "staircase" of those that sent as far as each step.

    Raises:
        RuleError: no worker was good every time.

    Source: Shejwalkar, Houmansadr, "Manipulating the Byzantine: Optimizing Model Poisoning Attacks
    and Defenses for Federated Learning", NDSS 2021.
    """

    paper = "Shejwalkar, Houmansadr, NDSS 2021"
    formula = "mean of those never among the ⌊c·f⌋ largest ⟨x_i - mean, v⟩² on r coordinates"
    validity = "n >= 2f + 1, c·f < n"
    breakdown = "1/2 along one direction; 0 along several"
    cost = "iterations times m²·r"
    randomised = "coordinates, where r < d: not by default up to d = 10,000"
    ragged = "on complete vectors"
    by_weights = True
    exempt = {"poisoned_rounds_stay_bounded": "a large attacker hides a smaller one"}

    def __init__(
        self,
        coordinates: int = 10_000,
        iterations: int = 5,
        c: float = 1.0,
        share: float = 1.0,
        *,
        f: int = 0,
        scope: Scope = "block",
    ) -> None:
        super().__init__(f=f, scope=scope)
        self.coordinates = whole("coordinates", coordinates, least=1)
        self.iterations = whole("iterations", iterations, least=1, most=REPEATED)
        self.c = positive("c", c)
        self.share = positive("share", share)
        if self.share > 1:
            raise ValueError(f"share: {self.share}; expected a share in (0, 1]")

    @property
    def minimum(self) -> int:
        """2f + 1, and so many that somebody is left."""
        return max(2 * self.f + 1, math.floor(self.c * self.f) + 1)

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Filter by spectra of random coordinates."""
        vectors.require(self.f, self.name)
        m, b = len(vectors), vectors.width
        good = vectors.finite.clone()
        keep = m - math.floor(self.c * self.f)
        drawn = min(math.ceil(round(self.share * b, 6)), self.coordinates)
        if drawn == b:
            good &= self._good(vectors, keep)
        else:
            rng = vectors.view.rng
            for _ in range(self.iterations):
                chosen = torch.from_numpy(rng.permutation(b)[:drawn])
                good &= self._good(vectors.sampled(chosen), keep)
        if not good.any():
            raise RuleError(f"{self.name}: every worker was filtered out in some iteration")
        return vectors.mean(good)

    @staticmethod
    def _good(vectors: Vectors, keep: int) -> Tensor:
        """Say who has one of the `keep` least scores, (m,) bool."""
        finite = vectors.finite
        gram = vectors.gram[finite][:, finite]
        # With XXᵀ about the mean and top eigenvector u of it, X v is a multiple of u.
        top = torch.linalg.eigh(about_mean(gram)).eigenvectors[:, -1]
        scores = torch.full((len(vectors),), torch.inf, dtype=gram.dtype)
        scores[finite] = top.square()
        good = torch.zeros_like(finite)
        good[scores.argsort(stable=True)[:keep]] = True
        return good
