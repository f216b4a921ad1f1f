"""What a server knows of a round besides what the workers sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch

from .errors import RuleError
from .trace import AnswerTrace


class Root(Protocol):
    """A clean data set of the server's own, for the rules that need one."""

    @property
    def rate(self) -> float:
        """Return γ, the learning rate of the round, with which `descent` steps."""

    def gradient(self, examples: int) -> Tensor:
        """Return the mean gradient of `examples` root examples at the current parameters, (b,)."""

    def descent(self, updates: Tensor, examples: int) -> Tensor:
        """Return L(w) - L(w - γ·u) on `examples` root examples for updates u, (m, b) -> (m,)."""


@dataclass(frozen=True)
class ServerView:
    """Which worker sent each row, and which coordinate each column holds: (m, b) values.

    A rule called without a view is told nothing: rows are workers 0..m-1 and columns all of the
    model's coordinates.

    Attributes:
        round: k, from 1.
        workers: (m,) int64, which worker sent each row; None: 0..m-1.
        coordinates: (b,) int64, which of the model's coordinates the columns are; None: all.
        dimension: d, how many coordinates the model has; None: b.
        honest: (m,) bool, who is honest. No real server knows it; for the oracle only.
        weights: (m,) float64 > 0, how much each row counts, as the examples behind it; None: all
            alike. Rules that are not `weighted` refuse them.
        staleness: (m,) int64, how many steps the server has taken since it sent each worker the
            parameters that its row is from, where it steps on answers whenever they come; None: all
            are from its parameters of now, or a row is of several workers.
        root: clean data at the server; None: it has none.
        served: (b,) bool, for which columns the answer is used, and may be remembered; None: all.
        step: how many pre-rules have drawn or made other vectors.
        anonymous: whether a pre-rule made vectors that no longer belong to single workers.
        stream: makes `rng` from the step; None: from round and step alone.
        trace: is told whose values the answer is a mean of; None: nobody asks (see `traced`).
    """

    round: int = 1
    workers: NDArray[np.int64] | None = None
    coordinates: Tensor | None = None
    dimension: int | None = None
    honest: NDArray[np.bool_] | None = None
    weights: NDArray[np.float64] | None = None
    staleness: NDArray[np.int64] | None = None
    root: Root | None = None
    served: Tensor | None = None
    step: int = 0
    anonymous: bool = False
    stream: Callable[[int], np.random.Generator] | None = None
    trace: AnswerTrace | None = None

    @property
    def rng(self) -> np.random.Generator:
        """Return the random generator of this round and step.

        It draws the same numbers for every rule of a world. Call it once: each call starts anew.
        """
        if self.stream is None:
            return np.random.default_rng([self.round, self.step])
        return self.stream(self.step)

    def noise(self, columns: int) -> Tensor:
        """Return standard normal numbers of this round and step, (b,) float64, for b columns.

        A coordinate has the same number whichever others are asked for beside it.

        Raises:
            RuleError: the view names coordinates without saying how many there are.
        """
        drawn = torch.from_numpy(self.rng.standard_normal(self.model_size(columns)))
        return drawn if self.coordinates is None else drawn[self.coordinates.cpu()]

    def model_size(self, columns: int) -> int:
        """Return d of a view of b columns: its `dimension`, or b.

        Raises:
            RuleError: the view names coordinates without saying how many there are.
        """
        dimension = self.dimension or columns
        if self.coordinates is not None and int(self.coordinates.max()) >= dimension:
            raise RuleError(
                f"view.coordinates: up to {int(self.coordinates.max())}; view.dimension must say "
                "how many there are"
            )
        return dimension

    def next_step(
        self, *, same_workers: bool, mixing: NDArray[np.float64] | None = None
    ) -> ServerView:
        """Return the view after a pre-rule.

        Args:
            same_workers: whether vector i is still worker i's; else they are anonymous.
            mixing: (k, m) the vectors that it made as combinations of those that it got, if no
                small change of these changes the weights; None: others.
        """
        trace = None
        if self.trace is not None and mixing is not None:
            trace = self.trace.mixed(self.workers, mixing)
        new = replace(self, step=self.step + 1, trace=trace)
        if same_workers:
            return new
        return replace(new, anonymous=True, workers=None, honest=None, staleness=None)

    def traced(self, values: Tensor) -> ServerView:
        """Return the view of (m, d) values with a new trace, their rows and columns numbered.

        A rule that remembers workers or coordinates is not to see it.
        """
        m, d = values.shape
        return replace(
            self,
            workers=np.arange(m),
            coordinates=torch.arange(d, device=values.device),
            dimension=self.dimension or d,
            trace=AnswerTrace(),
        )

    def tell(self, weights: Callable[[], NDArray[np.float64]], served: slice = slice(None)) -> None:
        """Tell the trace, if there is one, how far the answer follows the view's values.

        Args:
            weights: works out w, (m, b') float64, if it is asked for (see `AnswerTrace`).
            served: which b' of the columns the answer is of.
        """
        if self.trace is not None:
            assert self.coordinates is not None
            self.trace.tell(self.workers, self.coordinates[served].cpu().numpy(), weights)

    def of_server(self) -> ServerView:
        """Return the view with the server as the only worker: it remembers one vector."""
        return ServerView(
            workers=np.zeros(1, dtype=np.int64),
            coordinates=self.coordinates,
            dimension=self.dimension,
            served=self.served,
        )

    def of_workers(self, kept: Tensor) -> ServerView:
        """Return the view of some rows, (m,) bool."""
        rows = kept.cpu().numpy()
        workers = np.arange(len(rows)) if self.workers is None else self.workers
        return replace(self, workers=workers[rows], **self._of_rows(rows))

    def of_part(
        self, rows: NDArray[np.int64], indices: Tensor, columns: int, served: Tensor
    ) -> ServerView:
        """Return the view of some rows and columns, (k,) bool `served` says of which an answer."""
        workers = rows if self.workers is None else self.workers[rows]
        part = self.of_coordinates(indices, columns)
        return replace(part, workers=workers, served=served, **self._of_rows(rows))

    def _of_rows(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> dict[str, Any]:
        """Return what is known of some rows' workers."""
        known = {"honest": self.honest, "weights": self.weights, "staleness": self.staleness}
        return {name: None if of is None else of[rows] for name, of in known.items()}

    def of_coordinates(self, indices: Tensor, columns: int) -> ServerView:
        """Return the view of some of its columns, by (k,) int64 indices."""
        chosen = indices if self.coordinates is None else self.coordinates[indices]
        root = None if self.root is None else _Part(self.root, indices, columns)
        served = None if self.served is None else self.served[indices]
        dimension = self.dimension or columns
        return replace(self, coordinates=chosen, dimension=dimension, root=root, served=served)

    def mass(self, count: int) -> NDArray[np.float64]:
        """Return the rows' weights, (m,); of `count` rows without any 1 each."""
        return np.ones(count) if self.weights is None else self.weights

    def require_root(self, name: str) -> Root:
        """Return `root`.

        Raises:
            RuleError: the server has no data of its own.
        """
        if self.root is None:
            raise RuleError(f"{name}: needs root data at the server: rule(values, view=view)")
        return self.root

    def require_honest(self, name: str) -> Tensor:
        """Return `honest`.

        Raises:
            RuleError: it is not known who is honest.
        """
        if self.honest is None:
            raise RuleError(f"{name}: needs to be told who is honest: rule(values, view=view)")
        return torch.from_numpy(self.honest)


@dataclass(frozen=True)
class _Part:
    """Root data of which only some coordinates are used."""

    whole: Root
    indices: Tensor
    size: int

    @property
    def rate(self) -> float:
        return self.whole.rate

    def gradient(self, examples: int) -> Tensor:
        return self.whole.gradient(examples)[self.indices]

    def descent(self, updates: Tensor, examples: int) -> Tensor:
        full = updates.new_zeros(len(updates), self.size)
        full[:, self.indices] = updates
        return self.whole.descent(full, examples)


class Memory:
    """Rows of numbers, one per worker, that a rule keeps from round to round; they start at 0."""

    def __init__(self) -> None:
        self._table: Tensor | None = None

    def read(self, view: ServerView, like: Tensor) -> Tensor:
        """Return what is kept for the view's workers and coordinates, (m, b) float64.

        Args:
            view: names the workers and the coordinates.
            like: (m, b), for the shape and the device.

        Raises:
            RuleError: the vectors are anonymous; the number of coordinates changed and the view
                does not say which they are; or it names some without saying how many there are.
        """
        if view.anonymous:
            raise RuleError(
                "vectors after bucketing have no single sender, and can't be remembered by worker"
            )
        m, b = like.shape
        rows, columns = self._index(view, m, b, like.device)
        dimension = view.model_size(b)
        if self._table is None:
            self._table = torch.zeros(0, dimension, dtype=torch.float64)
        self._table = self._table.to(like.device)
        if self._table.shape[1] != dimension:
            raise RuleError(
                f"{b} coordinates after {self._table.shape[1]}; the view must say which they are"
            )
        if (missing := int(rows.max()) + 1 - len(self._table)) > 0:
            more = self._table.new_zeros(missing, dimension)
            self._table = torch.cat((self._table, more))
        return self._table[rows[:, None], columns]

    def write(self, view: ServerView, kept: Tensor) -> None:
        """Keep (m, b) values for the view's workers and served coordinates, after `read`."""
        assert self._table is not None
        rows, columns = self._index(view, len(kept), kept.shape[1], kept.device)
        if view.served is not None:
            columns, kept = columns[view.served], kept[:, view.served]
        self._table[rows[:, None], columns] = kept.to(self._table)

    @staticmethod
    def _index(view: ServerView, m: int, b: int, device: torch.device) -> tuple[Tensor, Tensor]:
        workers = np.arange(m) if view.workers is None else view.workers
        columns = torch.arange(b) if view.coordinates is None else view.coordinates
        return torch.from_numpy(workers).to(device), columns.to(device)
