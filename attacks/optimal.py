"""Attacks whose strength is chosen anew in every round, against the server's own pipeline."""

from __future__ import annotations

from abc import abstractmethod
from copy import copy

from hgobench.lazy import Tensor
from hgobench.parameters import REPEATED, one_of, positive, whole
from hgobench.protocol.messages import Message

from .base import Attack, View
from .search import Found, follow, log_grid, maximise, most_calls

FIRST = 4  # times as many calls has the first search of those that start at the last best


class Optimal(Attack):
    """All Byzantine workers send μ + x·p with the x that moves the server's answer most from μ.

    The objective is ‖AG - μ‖₂ over the round's block, AG the answer of the server itself: its rule
    with pre-rules and memory, its quorum, and who sent which coordinate. It is looked for over all
    decades between `smallest` and `largest` and both signs, then closer (see `search.maximise`).
    A subclass says what is varied.

    Args:
        smallest, largest: the range of |x|, both > 0.
        signs: of p's coordinates: ``"free"``: as p has them, as x may be of either sign;
            ``"random"``: times random signs, drawn once, the same in every round of a run.
        calls: how often the rule may be called in a round, >= 4; None: as often as pays.
        start: where a round's search starts: ``"grid"``: anew, at all decades; ``"last"``: at the
            last round's best, with some looks elsewhere (see `search.follow`), which comes nearer
            with half of the calls; the first search starts anew, with four times as many.

    Raises:
        ValueError: a parameter is out of its range, or no such word, or start="last" without calls.
    """

    sees = "server"

    def __init__(
        self,
        smallest: float = 0.01,
        largest: float = 100.0,
        signs: str = "free",
        calls: int | None = None,
        start: str = "grid",
    ) -> None:
        self.smallest = positive("smallest", smallest)
        self.largest = positive("largest", largest)
        if not self.smallest < self.largest:
            raise ValueError(f"smallest: {smallest!r}; expected a number below largest={largest!r}")
        self.signs = one_of("signs", signs, "free", "random")
        self.calls = None if calls is None else whole("calls", calls, least=4, most=REPEATED)
        if calls is not None:
            self.exempt = {"search_reaches_the_dense_grid": "asks no more often than it is told"}
        self.start = one_of("start", start, "grid", "last")
        if start == "last" and calls is None:
            raise ValueError("start: 'last' without calls; say how often the rule may be called")
        self.stateful = start == "last"
        self._last: float | None = None
        self._turn = 0

    def rule_calls(self, rounds: int) -> int:
        """Return how often it calls the server's rule in so many rounds, at most."""
        in_a_round = most_calls(self.smallest, self.largest) if self.calls is None else self.calls
        return rounds * in_a_round + (FIRST - 1) * in_a_round * (self.start == "last")

    def signed(self, view: View, vector: Tensor) -> Tensor:
        """Return a vector (d,) with random signs, if they are to be random."""
        return vector * view.random_signs().to(vector) if self.signs == "random" else vector

    @abstractmethod
    def crafted(self, view: View, x: float) -> Tensor:
        """Return what all send with strength x, (d,)."""

    def objective(self, view: View, x: float) -> float:
        """Return ‖AG - μ‖₂ if all send with strength x."""
        values = self.crafted(view, x).expand(view.byzantine, -1)
        return view.deviation(Message(values, self.lengths(view)))

    def search(self, view: View) -> Found:
        """Return the best strength that was found; remember it if the next search starts there."""

        def objective(x: float) -> float:
            return self.objective(view, x)

        calls = self.calls
        if self.start == "grid" or calls is None:
            return maximise(objective, self.smallest, self.largest, calls=calls)
        if self._last is None:
            best = maximise(objective, self.smallest, self.largest, calls=FIRST * calls)
        else:
            best = follow(objective, self.smallest, self.largest, self._last, self._turn, calls)
        self._last, self._turn = best.argument, self._turn + 1
        return best

    def fraction(self, view: View, per_decade: int = 500) -> float:
        """Return what share of the best of a dense grid the search reaches (1 or more: all)."""
        grid = log_grid(self.smallest, self.largest, per_decade)
        best = max(self.objective(view, float(x)) for x in grid)
        return copy(self).search(view).value / best if best > 0 else 1.0

    def values(self, view: View) -> Tensor:
        """Search, and send the best."""
        return self.crafted(view, self.search(view).argument)
