"""What each answer counts: the examples behind it, as claimed, as far as a server can believe it.

Nobody can check how many examples a worker has. What a server can do is to let no f workers weigh
so much, by what they claim, that the rule no longer tolerates them.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hgobench.kernels.arrays import count_columns
from hgobench.lazy import Tensor, torch

Weighting = Literal["none", "examples", "claimed"]
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)
MOST_EXAMPLES = 2**32 - 1  # a claim travels in 4 bytes

Floats = NDArray[np.float64]


def cannot_weigh(weighting: str, rule: str, weighted: bool, minimum: int, f: int) -> str:
    """Say why a rule can't weigh answers as is asked; empty: it can.

    Args:
        weighting: ``"none"``, ``"examples"`` or ``"claimed"``.
        rule: what it is called.
        weighted: whether it takes weights.
        minimum: how many answers it needs.
        f: how many Byzantine workers it is told to tolerate.
    """
    if weighting == "none":
        return ""
    if not weighted:
        return (
            f"weights: {weighting!r}; expected 'none', as the rule {rule!r} counts every answer "
            "alike (hgobench list rules says which take weights)"
        )
    if weighting == "claimed" and f > 0 and minimum > 2 * f:
        return (
            "weights: 'claimed'; expected 'examples': without a bound one worker may claim most "
            f"of all examples, and {rule!r} tolerates {f} with less than half"
        )
    return ""


def share(f: int, senders: int) -> float:
    """Return the most of the weight that any f of m senders are to have, f/m + (1/2 - f/m)/4.

    It is a quarter of the way from what they have where all count the same to what no rule
    tolerates. Further on, a lie about examples costs more than true ones gain (docs/weights.md).

    >>> share(2, 10)
    0.275
    """
    return f / senders + (0.5 - f / senders) / 4.0


def most(claims: Floats, f: int) -> float:
    """Return U, the largest bound with which any f of some claims have at most their `share`.

    Σ of the f largest min(n_i, U) <= share(f, m) · Σ_i min(n_i, U). The share of the f largest
    grows with U. With 2f >= m it is too large for every U; then U is the least claim, and all
    count the same. It is inf where no bound is needed, as where all claim the same.

    Args:
        claims: (m,) > 0.
        f: of how many.

    Example:
        >>> claims = np.array([10.0, 10.0, 10.0, 10.0, 1000.0])
        >>> limit = most(claims, 1)
        >>> round(limit, 2), round(limit / (40 + limit), 3), share(1, 5)
        (15.17, 0.275, 0.275)
    """
    n, m, s = np.sort(claims), len(claims), share(f, len(claims))
    if f == 0 or n[0] == n[-1]:
        return math.inf
    if 2 * f >= m:
        return float(n[0])
    below = np.cumsum(n)
    rank, first = np.arange(m), m - f  # the f largest are those from `first` on
    total = below + (m - 1 - rank) * n  # Σ min(n_i, n_k), of each k
    inside = np.where(rank >= first, below - below[first - 1], 0.0)
    of_any = inside + (m - 1 - np.maximum(rank, first - 1)) * n
    k = int(np.flatnonzero(of_any <= s * total)[-1])
    if k == m - 1:
        return math.inf
    above = m - 1 - k  # that many are cut down to U, n_k <= U < n_(k+1)
    if above >= f:  # f·U <= s·(below + above·U)
        return float(s * below[k] / (f - s * above))
    fixed = below[first - 1]  # (below - fixed) + above·U <= s·(below + above·U)
    return float((fixed - (1.0 - s) * below[k]) / ((1.0 - s) * above))


def bounded(claims: Floats, f: int, present: Tensor | None = None) -> Floats:
    """Return min(n_i, U) of claims, (m,): among no coordinate's senders f have more than a share.

    U is the least of the bounds (`most`) of all answers and of each set Q_j of workers that are the
    senders of some coordinate. So a rule tolerates f workers in every coordinate, whatever they
    claim; where few send, all count nearly the same.

    Source: Portnoy, Tirosh, Hendler, "Towards Federated Learning with Byzantine-Robust Client
    Weighting", Applied Sciences 12(17), 2022, where the share is the user's, and all workers send
    everything.

    Args:
        claims: (m,) > 0.
        f: how many Byzantine workers the rule tolerates.
        present: (m, b) bool, who sent which coordinate; None: all did.

    Example:
        >>> bounded(np.array([10.0, 10.0, 10.0, 10.0, 1e9]), 1).round(1).tolist()
        [10.0, 10.0, 10.0, 10.0, 15.2]
    """
    limit = most(claims, f)
    if present is not None:
        limit = min([limit, *(most(claims[who], f) for who in _sets(present) if who.any())])
    return np.minimum(claims, limit)


def _sets(present: Tensor) -> NDArray[np.bool_]:
    """Return the sets of workers that are the senders of some coordinate, a row each."""
    counts = count_columns(present)
    order = present.sum(dim=1).argsort(descending=True, stable=True)
    rank = torch.arange(len(present), device=present.device)[:, None]
    if bool((present[order] == (rank < counts)).all()):  # prefixes of one order: sets are nested
        place = np.empty(len(order), dtype=np.int64)
        place[order.cpu().numpy()] = np.arange(len(order))
        sizes = torch.unique(counts).cpu().numpy()
        return np.asarray(place < sizes[:, None])
    sets = torch.unique(present.to(torch.uint8), dim=1).T
    return np.asarray(sets.cpu().numpy() > 0)
