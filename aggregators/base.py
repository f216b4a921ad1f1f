"""What every aggregation rule is, and what it shares with pre-rules."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np

from hgobench.boundary import foreign
from hgobench.determinism import one_blas_thread
from hgobench.kernels.arrays import all_finite, count_columns
from hgobench.kernels.tiles import map_tiles, scratch, threads_for_tiles, tiles
from hgobench.lazy import Tensor, torch
from hgobench.parameters import whole

from .columns import HALF, Columns, Sent, outweighed
from .errors import NonFiniteError, RuleError
from .ragged import MaskedVectors, steps
from .vectors import Vectors
from .view import ServerView

if TYPE_CHECKING:
    from hgobench.data.base import Dataset

Scope = Literal["block", "coordinate", "staircase", "masked"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
Need = Literal["root", "honest"]
NOTHING = ServerView()
LARGE = 1e30  # below this, sums of finite float32 values are finite


@dataclass(frozen=True)
class Answer:
    """What a rule makes of a round.

    Attributes:
        values: (d,); 0 for a coordinate without an answer.
        served: (d,) bool, which coordinates have one, and are to be updated; None: all.
    """

    values: Tensor
    served: Tensor | None = None


class Part:
    """What rules and pre-rules have in common.

    Args:
        f: how many Byzantine workers it is told to tolerate.

    Attributes:
        paper, formula, validity, breakdown, cost, ragged: what tables say of it; cost is that of m
            vectors of d coordinates.
        randomised: what it draws at random, and when; empty: nothing.
        stateful: whether it remembers earlier rounds; an instance then belongs to one run.
        weighted: whether it counts rows by `ServerView.weights`.
        exempt: laws of `hgobench.testing` that its definition rules out, with the reason.
    """

    paper: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    validity: ClassVar[str] = "n >= 2f + 1"
    breakdown: ClassVar[str] = ""
    cost: ClassVar[str] = ""
    ragged: ClassVar[str] = ""
    randomised: ClassVar[str] = ""
    stateful: bool = False
    weighted: bool = False
    exempt: Mapping[str, str] = {}

    def __init__(self, *, f: int = 0) -> None:
        self.f = whole("f", f, least=0)

    @property
    def name(self) -> str:
        """What messages call it."""
        return type(self).__name__

    @property
    def minimum(self) -> int:
        """The smallest number of answers with which it tolerates f Byzantine ones."""
        return 2 * self.f + 1

    def fits(self, data: Dataset) -> None:
        """Raise ValueError if it can't aggregate for these data: no run then begins."""
        return

    def __repr__(self) -> str:
        parameters = ", ".join(
            f"{name}={value!r}" for name, value in vars(self).items() if name[0] != "_"
        )
        return f"{type(self).__name__}({parameters})"


class Rule(Part):
    """An aggregation rule: from what m workers sent to one vector.

    Called as ``rule(values, present)`` it checks its input, decides which values count, and hands
    them to one of two methods (`answer` also says which coordinates have an answer):

    - `of_vectors` sees complete vectors and their inner products, m of them -> (b,);
    - `of_columns` sees each coordinate by itself, sent by its own set Q_j of workers.

    A coordinate-wise rule writes `of_columns` alone. A geometric rule (Krum, Aksel) writes
    `of_vectors`, or the plainer `of_rows` (m, b) -> (b,), and `of_columns` too if it can
    treat each coordinate by itself. All but the `stateful` rules are pure functions.

    Args:
        f: how many Byzantine workers the rule is told to tolerate.
        scope: what the rule is where workers sent different coordinates.
            ``"coordinate"``: coordinate j is the rule applied to the values that Q_j sent, by
            themselves (Definition 1 of the HGO paper). ``"block"``: the rule is applied to the
            vectors of those workers that sent every coordinate which anybody sent. For
            coordinate-wise rules the two differ on ragged input only; vector rules have two more.
            ``"staircase"``: coordinate j is that of the rule applied to the vectors of Q_j on all
            coordinates that all of Q_j sent (see `hgobench.aggregators.ragged.steps`); it has no
            answer where Q_j is too small, or too large. ``"masked"``: the rule weighs workers by
            distances estimated from what two of them both sent, and coordinate j is the weighted
            mean over Q_j (see `MaskedVectors`); it has no answer where Q_j is too small or has no
            weight.

    Attributes:
        paper, formula, validity, breakdown, cost, ragged, stateful, exempt: as for a `Part`.
        needs: what it must be told besides the workers' values: ``"root"``: gradients of clean data
            at the server; ``"honest"``: who is honest. Boards flag such a rule.
        by_worker: whether it matters who sent which vector; such a rule can't follow bucketing.
        by_weights: whether the answer is Σ w_i x_i, the weights from what `Vectors` tells without
            the vectors themselves (no `rows`): only then it has scope "masked".
        on_parts: the scope of a vector rule where workers send parts of gradients, if none is
            asked for: of those that it has the one with the best worst case (docs/rules.md).
        averaging: the κ of `proven_kappa` as a formula, h = n - f; empty: none is proven.

    Raises:
        ValueError: f is not an integer >= 0, or the scope is unknown or without a meaning here.
    """

    needs: frozenset[Need] = frozenset()
    by_worker: bool = False
    by_weights: bool = False
    on_parts: Scope = "staircase"
    averaging: ClassVar[str] = ""

    def __init__(self, *, f: int = 0, scope: Scope = "block") -> None:
        super().__init__(f=f)
        if scope not in SCOPES:
            raise ValueError(f"scope: {scope!r}; expected one of {', '.join(SCOPES)}")
        if reason := self.lacks(scope):
            *others, last = map(repr, self.scopes())
            known = f"{', '.join(others)} or {last}" if others else last
            raise ValueError(f"scope: {scope!r}; expected {known}, as {self.name} {reason}")
        self.scope = scope

    @property
    def columnwise(self) -> bool:
        """Whether a coordinate's answer follows from what is sent of it, and from nothing else.

        The coordinates of several runs may then be joined and aggregated in one call.
        """
        return self.sorts and not (self.stateful or self.randomised or self.needs)

    @property
    def sorts(self) -> bool:
        """Whether a `columnwise` rule looks at sorted columns, which others may look at, too."""
        return self.scope == "coordinate" or self.by_columns()

    @property
    def stackable(self) -> bool:
        """Whether `stacked` aggregates whole vectors of several runs in one call."""
        return self.scope == "block" and type(self).of_stack is not Rule.of_stack

    @property
    def takes_whole_answers(self) -> bool:
        """Whether it looks at nothing but the vectors of those that sent the whole block."""
        return self.scope == "block" and type(self).__call__ is Rule.__call__

    def proven_kappa(self, n: int) -> float | None:
        """Return a κ with which the rule in its scope is proven to be (f, κ)-robust averaging.

        It speaks of n complete vectors (see `aggregators/averaging.py`): on ragged input each
        coordinate, or each step, has its own n.

        Args:
            n: how many vectors, at least `minimum`, at most `maximum` and more than 2f.

        Returns:
            κ; inf: there is none; None: nothing is proven.
        """
        return None

    def has_columns(self) -> bool:
        """Say whether the rule can aggregate each coordinate by itself."""
        return type(self).of_columns is not Rule.of_columns

    def lacks(self, scope: Scope) -> str:
        """Say why the rule lacks a scope; empty: it has it."""
        if scope == "coordinate" and not self.has_columns():
            return "can't treat each coordinate by itself"
        if scope == "staircase" and self.by_columns():
            return "is coordinate-wise: scope 'staircase' would be scope 'coordinate'"
        if scope == "masked" and self.by_columns():
            return "is coordinate-wise and weighs no workers"
        if scope == "masked" and not self.by_weights:
            return "needs whole vectors, not their inner products alone"
        return ""

    def scopes(self) -> tuple[Scope, ...]:
        """Return the scopes that the rule can have.

        >>> from hgobench import aggregators
        >>> aggregators.build("median").scopes()
        ('block', 'coordinate')
        """
        return tuple(scope for scope in SCOPES if not self.lacks(scope))

    @property
    def scope_on_parts(self) -> Scope:
        """The scope under algorithms that take parts of gradients, if none is asked for.

        >>> from hgobench import aggregators
        >>> aggregators.build("median").scope_on_parts
        'coordinate'
        """
        had = self.scopes()
        return self.on_parts if self.on_parts in had else had[-1]

    @property
    def maximum(self) -> float:
        """The most answers that the rule can aggregate, inf if there is no such number."""
        return math.inf

    def answer(
        self, values: Tensor, present: Tensor | None = None, view: ServerView | None = None
    ) -> Answer:
        """Aggregate, and say which coordinates have an answer; arguments and errors as for a call.

        Of a class with a `__call__` of its own all have one.
        """
        if type(self).__call__ is not Rule.__call__:
            return Answer(self(values, present, view))
        return self._answered(values, present, view)

    def __call__(
        self, values: Tensor, present: Tensor | None = None, view: ServerView | None = None
    ) -> Tensor:
        """Aggregate.

        Args:
            values: (m, d) floating-point tensor, a row per worker; it is not changed. The next
                round may overwrite it: a rule that remembers keeps copies.
            present: (m, d) bool, which entries were sent; None: all. Absent entries may hold
                anything.
            view: what the server knows of the round; None: nothing but the values.

        Returns:
            (d,) tensor of the same dtype and device; 0 for a coordinate without an answer, as of
            one that no worker sent.

        Raises:
            RuleError: wrong shape or dtype, fewer than `minimum` answers where some arrived (in the
                scopes "staircase" and "masked": everywhere), or no view where one is needed.
            NonFiniteError: so many values are NaN or infinite that no finite answer exists.
        """
        return self._answered(values, present, view).values

    def _answered(self, values: Tensor, present: Tensor | None, view: ServerView | None) -> Answer:
        view = view or NOTHING
        _check(values, present, view)
        self._require_unweighted(view)
        if values.shape[1] == 0:
            return Answer(values.new_zeros(0))
        # The last bits must not depend on the layout.
        values = values.detach() if values.stride(1) == 1 else values.detach().contiguous()
        if not values.dtype.itemsize >= 4:
            wide = self._answered(values.float(), present, view)
            return Answer(self._checked(wide.values, values), wide.served)
        if present is None:
            return Answer(self._dense(values, view))
        counts = count_columns(present)
        heard = counts > 0
        if not heard.any():
            return Answer(torch.zeros_like(values[0]), heard)
        if heard.all():
            return self._ragged(values, Sent.of(present, counts), view)
        out = torch.zeros_like(values[0])
        asked = heard.nonzero()[:, 0]
        sent = Sent.of(present.index_select(1, asked), counts[asked])
        values = values.index_select(1, asked)
        found = self._ragged(values, sent, view.of_coordinates(asked, len(heard)))
        out[asked] = found.values
        if found.served is not None:
            heard[asked] = found.served
        return Answer(out, heard)

    def beside(
        self,
        values: Tensor,
        sent: Sent | None,
        view: ServerView,
        columns: Columns | None = None,
    ) -> Tensor:
        """Aggregate what a server took of several runs, side by side, as a `columnwise` rule may.

        Args:
            values: (m, b) as for a call, but not checked; contiguous, unless they are sorted.
            sent: who sent what of it, enough of each coordinate; None: all.
            view: what the servers know of the round.
            columns: the values sorted, for a rule that `sorts`; None: it sorts them.
        """
        self._require_unweighted(view)
        if columns is not None:
            self.check_answer_count(columns.fewest, columns.most)
            made = self.of_columns(self._lighter(columns))
            columns.tell(made)
            return self._checked(made, values)
        if not values.dtype.itemsize >= 4:
            return self._checked(self.beside(values.float(), sent, view), values)
        if sent is None:
            return self._dense(values, view)
        self.check_answer_count(sent.fewest, sent.most)
        return self._by_tiles(values, sent, view)

    def stacked(self, stack: Tensor) -> list[Tensor | None]:
        """Aggregate whole vectors of several runs, as a `stackable` rule may.

        Args:
            stack: (G, m, b) contiguous, what each run's server took.

        Returns:
            The answers, (b,), with the bits of calls one by one; None of a run that needs a call of
            its own, as its values are not finite or too much alike for quick sums.
        """
        self.check_answer_count(stack.shape[1], stack.shape[1])
        if stack.dtype != torch.float32 or not stack.shape[2]:
            return [None] * len(stack)
        with self._threads():
            answers = self.of_stack(stack)
        return [answer if answer is not None and all_finite(answer) else None for answer in answers]

    def _ragged(self, values: Tensor, sent: Sent, view: ServerView) -> Answer:
        """Aggregate coordinates that all have senders."""
        present, counts = sent.present, sent.count
        if sent.fewest == len(values):
            return Answer(self._dense(values, view))
        if self.scope == "block":
            complete = present.all(dim=1)
            return Answer(self._dense(values[complete], view.of_workers(complete)))
        if self.scope == "coordinate":
            return Answer(self.beside(values, sent, view))
        enough = (counts >= self.minimum) & (counts <= self.maximum)
        if self.scope == "masked":
            return self._masked(values, present, counts >= self.minimum, view)
        if not enough.any():
            self.check_answer_count(sent.most, sent.fewest)
        return self._by_steps(values, present, view)

    def _dense(self, values: Tensor, view: ServerView) -> Tensor:
        self.check_answer_count(len(values), len(values))
        if self.scope == "coordinate" or self.by_columns():
            return self._by_tiles(values, None, view)
        self._require_lighter(view)
        with self._threads():
            answer = self._checked(self.of_vectors(Vectors(values, view)), values)
        own = answer.untyped_storage().data_ptr() != values.untyped_storage().data_ptr()
        return answer if own else answer.clone()  # the caller's values are not to be changed

    def _threads(self) -> AbstractContextManager[None]:
        """Return a context in which BLAS keeps to one thread; a plug-in has torch's threads."""
        return one_blas_thread() if foreign(self) else threads_for_tiles()

    def _by_steps(self, values: Tensor, present: Tensor, view: ServerView) -> Answer:
        """Aggregate by steps; those of fewer or more workers than the rule takes have no answer."""
        out, served = torch.zeros_like(values[0]), torch.zeros_like(present[0])
        if view.weights is not None:
            self._require_lighter(view)
        with self._threads():
            for step in steps(values, present, view):
                if not self.minimum <= step.senders <= self.maximum:
                    continue
                vectors = step.vectors
                if self._share_of_any_f(vectors.view) >= HALF:
                    continue
                whole = values[:1, :1].expand(len(vectors), vectors.width)  # has its shape
                answer = self._shaped(self.of_vectors(vectors), whole)
                if not all_finite(answer):
                    self._finite(answer, vectors.sent)
                out[step.columns] = answer[step.served]
                served[step.columns] = True
        return Answer(out, None if served.all() else served)

    def _masked(self, values: Tensor, present: Tensor, enough: Tensor, view: ServerView) -> Answer:
        """Aggregate by one weight for each worker that sent anything."""
        heard = present.any(dim=1)
        if not heard.all():
            values, present, view = values[heard], present[heard], view.of_workers(heard)
        self.check_answer_count(len(values), len(values))
        if not enough.any():
            self.check_answer_count(int(present.sum(dim=0).max()), 0)
        self._require_lighter(view)
        with self._threads():
            vectors = MaskedVectors(values, present, view)
            out = self._checked(self.of_vectors(vectors), values)
        served = enough & ~vectors.stalled
        return Answer(out.masked_fill(~served, 0.0), None if served.all() else served)

    def _by_tiles(
        self,
        values: Tensor,
        sent: Sent | None,
        view: ServerView,
        mixed: Vectors | None = None,
    ) -> Tensor:
        """Aggregate each coordinate by itself, by tiles; a stateful rule sees all columns at once.

        Combinations of the values, `mixed`, are aggregated instead; the caller checks the answer.
        """
        if self.stateful:
            if mixed is not None:
                return self.of_columns(Columns.sort(mixed.rows, view=view))
            columns = self._lighter(Columns.sort(values, sent, view))
            return self._checked(self.of_columns(columns), values)
        parts, answer = tiles(values), torch.empty_like(values[0])

        def aggregate(part: slice) -> bool:
            tile = values[:, part] if mixed is None else mixed.columns(part)
            seen = view
            if len(parts) > 1:
                seen = view.of_coordinates(torch.arange(part.start, part.stop), len(answer))
            there = None if sent is None else sent.part(part)
            with scratch(tile) as memory:
                columns = self._lighter(Columns.sort(tile, there, seen, out=memory))
                made = self.of_columns(columns)
                columns.tell(made)
                answer[part] = self._shaped(made, tile)
            return all_finite(answer[part])

        finite = all(map_tiles(aggregate, parts))
        return answer if finite or mixed is not None else self._finite(answer, values)

    def _lighter(self, columns: Columns) -> Columns:
        """Return the columns; refuse weights of which any f may have half."""
        if columns.weights is not None and self.minimum > 2 * self.f:
            columns.outweighed(self.f)
        return columns

    def _share_of_any_f(self, view: ServerView) -> float:
        """Return the largest share of the rows' weight that f have; 0 if f is not tolerated."""
        if view.weights is None or self.minimum <= 2 * self.f:
            return 0.0
        return float(np.sort(view.weights)[::-1][: self.f].sum() / view.weights.sum())

    def _require_unweighted(self, view: ServerView) -> None:
        if view.weights is not None and not self.weighted:
            raise RuleError(
                f"{self.name}: takes no weights; leave view.weights out, or take a rule that does "
                "(hgobench list rules)"
            )

    def _require_lighter(self, view: ServerView) -> None:
        if (share := self._share_of_any_f(view)) >= HALF:
            raise outweighed(self.f, share)

    def check_answer_count(self, fewest: int, most: int) -> None:
        """Raise RuleError unless the rule can aggregate this many answers.

        Args:
            fewest, most: the smallest and the largest number of answers to a coordinate.
        """
        if fewest < self.minimum:
            raise RuleError(
                f"{self.name}: {fewest} answers; f={self.f} needs at least {self.minimum}"
            )
        if most > self.maximum:
            raise RuleError(
                f"{self.name}: {most} answers; f={self.f} allows at most {self.maximum}"
            )

    def _checked(self, result: object, values: Tensor) -> Tensor:
        """Return the answer to `values` in their dtype; raise RuleError if it is not valid."""
        return self._finite(self._shaped(result, values), values)

    def _shaped(self, result: object, values: Tensor) -> Tensor:
        """Return the answer in the dtype of `values`; raise RuleError if its shape is wrong."""
        if isinstance(result, np.ndarray):
            result = torch.from_numpy(np.ascontiguousarray(result))
        wanted = isinstance(result, torch.Tensor) and not result.is_complex()
        if not isinstance(result, torch.Tensor) or not wanted or result.shape != values.shape[1:]:
            tensor = isinstance(result, torch.Tensor)
            # For other objects name the type: their repr may differ from run to run.
            shape = (
                f"{result.dtype} {tuple(result.shape)}"  # type: ignore[attr-defined]
                if tensor
                else "None"
                if result is None
                else type(result).__name__
            )
            raise RuleError(
                f"{self.name}: returned {shape}; expected a real tensor of shape "
                f"{tuple(values.shape[1:])}"
            )
        return result.to(values)

    def _finite(self, result: Tensor, values: Tensor) -> Tensor:
        """Return the answer to `values`; raise an error that says why if it is not finite."""
        if not all_finite(result):
            odd = (~torch.isfinite(values)).any(dim=1)
            large = (values.abs() >= LARGE).any(dim=1) & ~odd
            if not odd.any() and not large.any():
                raise RuleError(f"{self.name}: returned NaN or infinite values for finite input")
            sent = {
                "NaN or infinite values": int(odd.sum()),
                f"values of {LARGE:g} or more, too large to add or square": int(large.sum()),
            }
            told = " and ".join(
                f"{count} of {len(values)} workers sent {what}"
                for what, count in sent.items()
                if count
            )
            raise NonFiniteError(f"{self.name}: no finite answer; {told}, and f={self.f}")
        return result

    def by_columns(self) -> bool:
        """Say whether the rule on vectors is the rule on each coordinate by itself."""
        cls = type(self)
        return cls.of_vectors is Rule.of_vectors and cls.of_rows is Rule.of_rows

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Aggregate m complete vectors -> (b,); m >= `minimum`, entries may be NaN."""
        if self.by_columns():
            return vectors.on_served(lambda some: self._by_tiles(some.sent, None, some.view, some))
        return self.of_rows(vectors.rows)

    def of_stack(self, stack: Tensor) -> list[Tensor | None]:
        """Aggregate (G, m, b) float32 vectors of G runs -> G times (b,), as `stacked` says."""
        return [None] * len(stack)

    def of_rows(self, rows: Tensor) -> Tensor:
        """Aggregate m complete vectors, (m, b) -> (b,); m >= `minimum`, entries may be NaN."""
        return self.of_vectors(Vectors(rows))

    def of_columns(self, columns: Columns) -> Tensor:
        """Aggregate each coordinate by itself, -> (b,); every count is >= `minimum`."""
        raise NotImplementedError(f"{self.name} can't treat each coordinate by itself")


class Function(Rule):
    """A user's own callable as a rule.

    ``function(values)`` is a rule on complete vectors, (m, d) -> (d,): in scope "staircase", the
    default under HGO, of the workers that sent as far as each step; in scope "block" of those that
    sent the whole block. If it names a parameter `present`, ``function(values, present=present)``
    sees everything that was sent, as `Rule` does, and it must return 0 for a coordinate that no
    worker sent.
    """

    sees_present = False

    def __init__(
        self, function: Callable[..., object], *, f: int = 0, scope: Scope = "block"
    ) -> None:
        self.function = function
        self.made_of = (function,)
        self.exempt = getattr(function, "exempt", {})
        self.stateful = bool(getattr(function, "stateful", False))
        with suppress(TypeError, ValueError):  # some builtins have no signature
            self.sees_present = "present" in inspect.signature(function).parameters
        super().__init__(f=f, scope=scope)

    def lacks(self, scope: Scope) -> str:
        """Say why the rule lacks a scope; what sees `present` decides for itself."""
        if self.sees_present and scope != "block":
            return "is told what was sent and decides by itself"
        return super().lacks(scope)

    @property
    def name(self) -> str:
        """What messages call the rule."""
        inner = self.function
        return getattr(inner, "__name__", type(inner).__name__)

    def __repr__(self) -> str:
        return f"{self.name}(f={self.f})"

    def _answered(self, values: Tensor, present: Tensor | None, view: ServerView | None) -> Answer:
        """Aggregate; the function gets copies, so that it can't change what others see."""
        if not self.sees_present:
            return super()._answered(values, present, view)
        _check(values, present, NOTHING)
        sent = torch.ones_like(values, dtype=torch.bool) if present is None else present.clone()
        answer = self.function(values.detach().clone(), present=sent)
        return Answer(self._checked(answer, values))

    def of_rows(self, rows: Tensor) -> Tensor:
        """Call the function on complete vectors."""
        all_sent = {"present": torch.ones_like(rows, dtype=torch.bool)} if self.sees_present else {}
        return self.function(rows.clone(), **all_sent)  # type: ignore[return-value]  # checked


def _check_present(present: Tensor, values: Tensor) -> None:
    if not isinstance(present, torch.Tensor):
        raise RuleError(f"present: {type(present).__name__}; expected a torch.Tensor")
    if present.shape != values.shape or present.dtype != torch.bool:
        raise RuleError(
            f"present: {present.dtype} {tuple(present.shape)}; "
            f"expected torch.bool {tuple(values.shape)}"
        )
    # What counts and packs them takes them for numbers, and so does torch here and there.
    if present.numel() and int(present.view(torch.uint8).max()) > 1:
        raise RuleError(
            "present: holds bytes that are neither 0 nor 1, as of numbers that are viewed as bool; "
            "compare them with 0 instead"
        )


def _check(values: Tensor, present: Tensor | None, view: ServerView) -> None:
    if not isinstance(values, torch.Tensor):
        raise RuleError(f"values: {type(values).__name__}; expected a torch.Tensor")
    if values.ndim != 2 or len(values) == 0:
        raise RuleError(f"values: shape {tuple(values.shape)}; expected (m, d) with m >= 1")
    if not values.dtype.is_floating_point:
        raise RuleError(f"values: {values.dtype}; expected a floating-point tensor")
    if present is not None:
        _check_present(present, values)
    if view is NOTHING:
        return
    if view.weights is not None:
        _check_weights(view.weights, len(values))
    for name, length, expected in (
        ("workers", view.workers, len(values)),
        ("honest", view.honest, len(values)),
        ("coordinates", view.coordinates, values.shape[1]),
    ):
        if length is not None and len(length) != expected:
            raise RuleError(f"view.{name}: {len(length)} of them; expected {expected}")


def _check_weights(weights: object, rows: int) -> None:
    if not isinstance(weights, np.ndarray) or weights.shape != (rows,) or weights.dtype.kind != "f":
        kind = (
            f"{weights.dtype} {weights.shape}" if isinstance(weights, np.ndarray) else repr(weights)
        )
        raise RuleError(f"view.weights: {kind}; expected a NumPy array of floats, ({rows},)")
    if not (np.isfinite(weights) & (weights > 0)).all():
        wrong = weights[~(np.isfinite(weights) & (weights > 0))][0]
        raise RuleError(f"view.weights: {wrong}; expected finite numbers > 0")
