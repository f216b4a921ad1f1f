"""Gradient splitting: workers are judged part by part."""

from __future__ import annotations

from collections.abc import Callable

from hgobench.lazy import Tensor, torch
from hgobench.parameters import REPEATED, whole

from .columns import Columns
from .ctma import nearest
from .pre_rule import PreRule, seen
from .vectors import Vectors


class Gas(PreRule):
    """Average the m - f vectors that are nearest to what a rule answers, part by part.

    The coordinates are split at random into p parts of equal size (but for one coordinate), anew in
    every round. On each part P what follows answers z_P, and worker i is ‖x_i - z_P‖ away; its
    score is the sum over the parts. AR(x) is the mean of the m - f vectors with the least scores,
    of equal ones the first. Norms of long vectors hide an attacker who is wrong by a little
    everywhere, or by much in a few coordinates; those of short ones hide less.

    With one part it is `Ctma`. A block of fewer than p coordinates has a part for each.

    Args:
        parts: p >= 1; the rule behind is asked so many times. The paper has 1,000, of networks with
            a hundred times the coordinates of hgobench's usual models.

    Validity: m >= 2f + 1.
    On ragged input: scope "block" splits the vectors of those that sent the whole block; scope
    "staircase" those of each step; scope "masked" splits the coordinates of the block, and on each
    part weighs workers by what they sent of it. In scope "coordinate" each coordinate is judged by
    itself, and the answer is that of `Ctma`.

    Source: Liu, Chen, Lyu, Wu, Wu, Chen, "Byzantine-Robust Learning on Heterogeneous Data via
    Gradient Splitting", ICML 2023.
    """

    paper = "Liu et al., ICML 2023"
    formula = "mean of the m - f vectors with the least Σ_P ‖x_i - z_P‖, z_P the rule's on part P"
    breakdown = "the rule's"
    cost = "m·d and p times the rule's on d/p coordinates"
    randomised = "parts"
    ragged = "block: on complete vectors; coordinate: values of Q_j"

    def __init__(self, parts: int = 10, *, f: int = 0) -> None:
        super().__init__(f=f)
        self.parts = whole("parts", parts, least=1, most=REPEATED)

    def around(self, vectors: Vectors, after: Callable[[Vectors], Tensor]) -> Tensor:
        """Sum the distances to the answers on the parts; average those that are nearest."""
        vectors.require(self.f, self.name)
        b, view = vectors.width, vectors.view.next_step(same_workers=True)
        drawn = torch.from_numpy(vectors.view.rng.permutation(b))
        scores = torch.zeros(len(vectors), dtype=torch.float64)
        for chosen in drawn.tensor_split(min(self.parts, b)):
            part = vectors.sampled(chosen)
            part.view = view.of_coordinates(chosen.to(vectors.sent.device), b)
            point = part.settled(seen(after(part), len(chosen), self.name))
            scores += part.distances_to(point).cpu()
        return vectors.mean(nearest(scores, len(vectors) - self.f))

    def around_columns(self, columns: Columns, after: Callable[[Columns], Tensor]) -> Tensor:
        """Average the values of each column that are nearest to its answer."""
        answer = seen(after(columns), len(columns.count), self.name)
        return columns.mean_around(answer, self.f)
