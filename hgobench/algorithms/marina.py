"""Byz-VR-MARINA-PP: differences of gradients, clipped by how far the model has moved."""

from __future__ import annotations

from typing import ClassVar

from hgobench.lazy import Tensor
from hgobench.parameters import positive, share, whole

from .base import Work
from .sgd import Sgd


class Marina(Sgd):
    """Byzantine-robust variance reduction with partial participation (Byz-VR-MARINA-PP).

    The server steps by -γ·g_k, where

    - g_k = AG{∇f_i(w_k)} in whole rounds: the first, and each other one with probability p. Ĉ
      workers are asked, each for the gradient on all its examples;
    - g_k = g_(k-1) + AG{clip_λ(∇f_i(w_k; B_i) - ∇f_i(w_(k-1); B_i))} in all others. The q workers
      of the round are asked, each for a difference on one minibatch B_i; clip_λ shortens it to
      λ_k = α·‖w_k - w_(k-1)‖ at most.

    If the loss on every minibatch is L-smooth, α >= L cuts no honest difference. A round in which
    all asked workers are Byzantine moves g by at most λ_k if the rule's answer is in the hull of
    the vectors, and by at most √2·λ_k if it is the median, the trimmed mean, MeaMed or Phocas. It
    tells on g until the next whole round.

    A difference takes two gradients on the same examples, and two models are sent for it, as a
    worker that is asked now need not have been asked before. A whole gradient takes |S_i|/s_i
    times as long as one on a minibatch. As in `Sgd` workers that do not finish by the deadline are
    not heard. A round in which too few are heard stalls; differences are then taken from the w and
    the g of the last one that did not, and until there is one all rounds are whole.

    The rule has a memory of its own for either kind of round. In whole rounds it is told f̂, of Ĉ
    workers; in the others the largest number, up to f̂, that it tolerates with q answers, which
    must be no smaller a share of q than f̂ is of Ĉ, and v is ⌈v·q/Ĉ⌉, or what the rule needs if
    that is more.

    On ragged answers: there are none, an answer is whole. Attackers see differences as they are
    sent, before the server clips them.

    Source: Malinovsky, Richtárik, Horváth, Gorbunov, "Byzantine Robustness and Partial
    Participation Can Be Achieved at Once: Just Clip Gradient Differences", NeurIPS 2024,
    Algorithm 1.

    Departs from its source: nothing is compressed (Q is the identity), α is the same in all rounds,
    and the first g, there an input, is the aggregate of a whole round. There all n workers are sent
    every g_k, here those that are asked get models. Clipping is left to the server, as the source
    allows. Slow workers, stalled rounds, and another f̂ for smaller samples are not its subject.

    Args:
        probability: p in (0, 1], of a whole round.
        multiplier: α > 0, in units of a gradient per distance in w; None: nothing is clipped, as in
            Byz-VR-MARINA (Gorbunov et al., ICLR 2023).
        clients: Ĉ >= q, how many workers a whole round asks; None: all n.

    Raises:
        ValueError: a parameter is out of its range.

    Example:
        >>> Marina(multiplier=2.0).longest(step=0.5)
        1.0
        >>> [Marina(clients=some).pool(sampled=5, workers=20) for some in (None, 12)]
        [20, 12]
    """

    paper: ClassVar[str] = "Malinovsky et al., NeurIPS 2024"
    validity: ClassVar[str] = (
        "0 < probability <= 1, multiplier > 0; heard workers >= what the rule needs"
    )

    def __init__(
        self,
        probability: float = 0.1,
        multiplier: float | None = 1.0,
        clients: int | None = None,
    ) -> None:
        super().__init__()
        self.probability = share("probability", probability)
        if self.probability == 0:
            raise ValueError(f"probability: {probability!r}; expected a number in (0, 1]")
        self.multiplier = None if multiplier is None else positive("multiplier", multiplier)
        self.clients = None if clients is None else whole("clients", clients, least=1)
        self.gradients, self.differences, self.remembers = 2, True, True

    def moves(self, work: Work) -> Tensor:
        """Return the difference of each worker's gradients, on one minibatch, (q, d)."""
        assert work.before is not None
        there = work.before.expand(work.gradients.shape)
        return work.gradients - work.gradients_at(there, minibatch=0)

    def longest(self, step: float) -> float | None:
        """Return λ = α·‖w_k - w_(k-1)‖."""
        return None if self.multiplier is None else self.multiplier * step

    def pool(self, sampled: int, workers: int) -> int:
        """Return Ĉ."""
        return workers if self.clients is None else self.clients
