"""Whose values a rule uses: how far its answer follows each worker's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hgobench.aggregators import Answer, Columns, Rule, ServerView
from hgobench.aggregators.columns import Sent
from hgobench.kernels.arrays import all_finite, count_columns, zero_where_false
from hgobench.lazy import Tensor, torch

from .base import Floats

Used = tuple[Floats, bool]  # w of each worker, and whether one weight explains all coordinates
STEP = 1e-6  # of the distance to the nearest worker: too little to change who is chosen
ROUNDING = 1e4  # steps are at least so many times what rounding adds to an answer
VALUES = 2**24  # the most values that all workers are moved by at once
MOVES = 4  # per worker on average, at least
CALLS = 8  # of a rule, at most, until each worker has been moved once
LEAST = 500  # coordinates that each worker sent, with copies, of a rule that treats them singly
COPIES = 16  # of a coordinate, at most, for that
OWN = 3  # degrees of freedom, for a worker's slopes to have a variance of their own
UNKNOWN = 2.0  # times 1/m, the standard error from which on a weight is not known
JUMP = 10.0  # a change that is so many times all steps together is a jump, of no derivative
AGREE = 10.0  # roundings per term, by which two sums of the same may differ
LINEAR = 1e-3  # of the slopes, by which they may differ of a rule that weighs vectors


def influences(
    rule: Rule,
    values: Tensor,
    present: Tensor | None = None,
    view: ServerView | None = None,
    seed: int = 0,
) -> Floats:
    """Return how far the answer follows each worker's values, w_i = mean over j of ∂AR_j/∂x_ij.

    The mean is over what worker i sent. The average has w_i = 1/m, or 1/|Q_j| where only Q_j sent;
    a rule that chooses one vector has w_i = 1 for it and 0 for others. Weights that depend on the
    values, as the geometric median's, add what they change. Of rules that can tell w it is exact
    (see `used`); of others each worker's values are `moved`.

    Left out are coordinates without an answer, and those in which several sent the same and nobody
    anything else, as nothing shows whose value it is; no finite answer follows what is not finite.

    Args:
        rule: the rule; a stateful one is asked as it is now, and keeps its memory.
        values: (m, d).
        present: (m, d) bool, which entries were sent; None: all.
        view: what the server knows.
        seed: of the signs by which values are moved.

    Returns:
        w, (m,); 0 of a worker that sent nothing, NaN of one all of whose coordinates are left out.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [2.0, 3.0], [9.0, 1.0]])
        >>> from hgobench import aggregators
        >>> influences(aggregators.build("median"), rows).round(2).tolist()
        [0.0, 0.5, 0.5]
    """
    told = _told(rule, values, present, view)
    if told is not None and told.weights is not None:
        return told.weights
    return moved(rule, values, present, view, seed)


def moved(
    rule: Rule,
    values: Tensor,
    present: Tensor | None = None,
    view: ServerView | None = None,
    seed: int = 0,
) -> Floats:
    """Return `influences` by moving each worker's values in turn: m + 1 answers of any rule.

    x_i is moved by δ_i, of random signs, along what i sent, and
    w_i = ⟨AR(x + δ_i) - AR(x), δ_i⟩ / ‖δ_i‖². ‖δ_i‖ is a millionth of the distance to the nearest
    other worker's values, so that no distance between two workers changes by more than a millionth
    of itself, wherever the others are. An answer that jumps all the same, as that of a rule which
    takes all values within a radius may, is not seen to.

    Args are those of `influences`.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [2.0, 3.0], [9.0, 1.0]])
        >>> from hgobench import aggregators
        >>> moved(aggregators.build("median"), rows).round(2).tolist()
        [0.0, 0.5, 0.5]
    """
    values = values.detach().double()
    m, d = values.shape
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], d)
    directions = torch.from_numpy(signs).to(values)
    known, moving = _known(values, present)
    before, served = _whole(_asked(rule, values, present, view, rule.stateful))
    counted = moving & served & _telling(known, moving)
    followed = np.zeros(m)
    for i in range(m):
        if not moving[i].any():
            continue
        if not counted[i].any():
            followed[i] = np.nan
            continue
        # What is far from 0 can't be moved by less than its rounding, nor can such an answer.
        largest = max(float(known[i].abs().max()), float(before.abs().max()))
        least = ROUNDING * torch.finfo(values.dtype).eps * largest
        length = max(STEP * _nearest(known, moving, i), least) or STEP
        shifted = values.clone()
        shifted[i] = torch.where(counted[i], known[i] + length * directions, values[i])
        # What was added is not quite the step, once it is rounded.
        delta = torch.where(counted[i], shifted[i] - known[i], 0.0)
        change = _whole(_asked(rule, shifted, present, view, rule.stateful))[0] - before
        followed[i] = float((change @ delta) / (delta @ delta))
    return followed


def used(
    rule: Rule,
    values: Tensor,
    present: Tensor | None = None,
    view: ServerView | None = None,
    seed: int | Callable[[], int] = 0,
    remembers: bool = False,
) -> Used:
    """Return `influences` without m + 1 answers of the rule, in one if it can tell them.

    It can if its answer is Σ_i w_ij x_ij with weights that no small change of the values changes,
    as the mean of values or vectors that it chose, and if it remembers nothing. `Columns` and
    `Vectors` then tell w_ij (see `hgobench.aggregators.AnswerTrace`), and w_i is their mean over
    what worker i sent, without error. For all other rules `fitted` estimates it. Both leave out
    coordinates in which several sent the same and nobody anything else. Values equal to the least
    or the largest in a mean share what it takes of them, as if their order were drawn at random. On
    another device than the CPU w is fitted for every rule, so that no values leave it.

    Args, returns and errors are those of `fitted`.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0, 2.0], [2.0, 3.0, 2.0], [9.0, 1.0, 4.0]])
        >>> from hgobench import aggregators
        >>> used(aggregators.build("median"), rows)[0].round(3).tolist()
        [0.167, 0.5, 0.333]
    """
    told = None if remembers else _told(rule, values, present, view)
    if told is not None and told.weights is not None:
        return told.weights, told.linear
    first = told.answer if told is not None and told.wide else None
    return fitted(rule, values, present, view, seed, remembers, first)


def used_beside(
    rules: Sequence[tuple[Rule, int]], values: Tensor, sent: Sent | None, view: ServerView
) -> list[Used | None]:
    """Return what `used` does of several runs side by side, whose rules sort columns.

    Args:
        rules: each rule with the number of its runs, which are neighbours.
        values: (m, runs·b), b coordinates of each run.
        sent: who sent what of them; None: all.
        view: what the servers know of the round.

    Returns:
        Of each run w and whether one weight per worker explains its answer; None: its rule does
        not tell.

    Raises:
        RuleError, NonFiniteError: a rule has no answer.
    """
    m, width = values.shape
    b = width // sum(count for _, count in rules)
    columns, start = Columns.sort(values, sent, view.traced(values)), 0
    there, counted = _counted(columns)
    found = list[Used | None]()
    for rule, count in rules:
        part = slice(start, start + count * b)
        start, some = part.stop, columns.part(part)
        rule.beside(values[:, part], None, some.view, some)
        assert some.view.trace is not None
        by_value = some.view.trace.weights(m, count * b)
        found += _averaged(by_value, there[:, part], counted[part], count)
    return found


def _counted(columns: Columns) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which values can be moved, (m, b), and which coordinates are not left out, (b,)."""
    assert columns.traced is not None
    values, present = columns.traced
    least, most = columns.values[0], columns.take_rows(columns.count - 1)
    if all_finite(least) and all_finite(most):
        there = torch.ones_like(values, dtype=torch.bool) if present is None else present
        return there.numpy(), ((least < most) | (columns.count == 1)).numpy()
    known, moving = _known(values, present)
    return moving.numpy(), _telling(known, moving).numpy()


class _Told(NamedTuple):
    """What a rule told of its answer, which is `wide` if it is that to values in float64.

    Without weights, if that is no mean of what it chose.
    """

    answer: Answer
    wide: bool
    weights: Floats | None = None
    linear: bool = False


def _told(
    rule: Rule, values: Tensor, present: Tensor | None, view: ServerView | None
) -> _Told | None:
    """Return what a rule tells of its answer; None: it was not asked."""
    if rule.stateful or values.device.type != "cpu":
        return None
    values = values.detach()
    if not rule.columnwise or values.dtype.itemsize < 4:
        values = values.double()  # as `fitted` asks, if need be
    wide = values.dtype == torch.float64
    traced = (view or ServerView()).traced(values)
    answer = rule.answer(values, present, traced)
    assert traced.trace is not None
    by_value = traced.trace.weights(*values.shape)
    known, moving = _known(values, present)
    x, sent, counted = known.double().numpy(), moving.numpy(), _telling(known, moving).numpy()
    agree = AGREE * len(x) * torch.finfo(values.dtype).eps
    off = np.abs(np.einsum("ij,ij->j", by_value, x) - answer.values.numpy())
    rounding = agree * np.einsum("ij,ij->j", by_value, np.abs(x))
    right = off <= rounding + torch.finfo(values.dtype).tiny  # below it no digits are kept
    if answer.served is not None:
        served = answer.served.numpy()
        right |= ~served
        counted &= served
    (told,) = _averaged(by_value, sent, counted) if right.all() else (None,)
    return _Told(answer, wide) if told is None else _Told(answer, wide, *told)


def _averaged(
    by_value: Floats, sent: NDArray[np.bool_], counted: NDArray[np.bool_], runs: int = 1
) -> list[Used | None]:
    """Return each worker's mean weight in each run, and whether it has the same everywhere.

    Args:
        by_value: (m, runs·b) w of each value, side by side; NaN where it was not told. It is
            overwritten.
        sent: (m, runs·b) which values were sent.
        counted: (runs·b,) which coordinates are not left out.
        runs: how many there are.

    Returns:
        None of a run in which it was not told.
    """

    def of_runs(matrix: NDArray[Any]) -> NDArray[Any]:
        """Sum over each run's coordinates, (m, runs·b) -> (m, runs)."""
        return matrix.reshape(len(matrix), runs, -1).sum(axis=2)  # type: ignore[no-any-return]

    numbers = anything = of_runs(sent)
    if not counted.all():
        by_value[:, ~counted] = 0.0
        numbers = of_runs(sent & counted)
    weights = of_runs(by_value) / np.maximum(numbers, 1)
    squares = of_runs(by_value * by_value).sum(axis=0)
    left = squares - (numbers * weights**2).sum(axis=0)
    linear = (squares > 0.0) & (left <= LINEAR**2 * squares)
    told = ~np.isnan(weights).any(axis=0)
    weights[(numbers == 0) & (anything > 0)] = np.nan
    weights = weights.round(12) + 0.0  # no -0.0
    return [(weights[:, r], bool(linear[r])) if told[r] else None for r in range(runs)]


def fitted(
    rule: Rule,
    values: Tensor,
    present: Tensor | None = None,
    view: ServerView | None = None,
    seed: int | Callable[[], int] = 0,
    remembers: bool = False,
    first: Answer | None = None,
) -> Used:
    """Estimate `influences` with few answers of the rule instead of m + 1: mostly two.

    In each coordinate one of the workers that sent it is moved, by δ_j of random sign, a millionth
    of the least distance between any two workers: (AR_j(x + δ) - AR_j(x)) / δ_j is ∂AR_j/∂x_ij, but
    for what the moves in other coordinates do to AR_j. Coordinates that the same workers sent are a
    group, and are shared out among them, to those first that were moved least so far. w_i is the
    mean over the groups of what worker i sent, by their size, of its mean slope in each. In a group
    too small for all its workers, one that is not moved is taken to have the weight that it has
    elsewhere, or as much of the group's mean: whichever holds where several were moved. The rule is
    asked again, up to 8 times, until every worker was moved, and 4 times on average.

    That is exact of a rule that gives each worker one weight in a group, whatever small moves are
    made. Weights that depend on the values, as the geometric median's, change a little with moves
    elsewhere: an error of about 1/√d of each slope. If a rule takes some of a worker's values in a
    group and not others, w_i has a standard error of about √(w_i/n), n its values that are moved. A
    rule that treats every coordinate by itself is asked about the same coordinates several times at
    once, up to 16 times, so that each worker sent 500 of them or more, which it shares with the
    others that sent them. A w_i whose standard error, by how its slopes differ, is more than twice
    the average's weight is not known.

    Left out are coordinates in which several sent the same and nobody anything else, and those in
    which the answer jumps; values that are not finite are not moved, as no answer that is finite
    follows them.

    Args:
        rule, values, present, view: as for `influences`.
        seed: of the signs, or what draws it.
        remembers: whether the rule may remember although it does not say so.
        first: what it answers to the values, if that is known.

    Returns:
        w, (m,), NaN of a worker all of whose coordinates are left out or who was never moved, or of
        whom it is not known,
        and whether one weight per worker explains the change but for 0.1 %.

    Raises:
        RuleError, NonFiniteError: the rule has no answer.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [2.0, 3.0], [9.0, 1.0]]).repeat(1, 50)
        >>> from hgobench import aggregators
        >>> weights, linear = fitted(aggregators.build("krum", f=0), rows)
        >>> weights.round(6).tolist(), linear
        ([1.0, 0.0, 0.0], True)
    """
    values = values.double()
    m, d = values.shape
    if d == 0 or not (present is None or present.any()):
        return np.zeros(m), False
    if rule.scope == "block" and present is not None and not present.all():
        return _of_complete(rule, values, present, view or ServerView(), seed, remembers)
    known, moving = _known(values, present)
    remembers |= rule.stateful
    counts = values.new_ones(d)  # that a coordinate with copies counts once
    before, served = _whole(first or _asked(rule, values, present, view, remembers))
    if rule.columnwise and not remembers:
        copies = _copies(moving)
        columns = torch.arange(d, device=values.device).repeat_interleave(copies)
        counts = copies.double().reciprocal()[columns]
        values, moving, known = (part[:, columns] for part in (values, moving, known))
        present = None if present is None else present[:, columns]
        before, served = before[columns], served[columns]
        view = _of_columns(view or ServerView(), columns, d)
        d = len(columns)
    served &= _telling(known, moving)
    lengths = _steps(known, moving, before)
    rng = np.random.default_rng(seed() if callable(seed) else seed)
    shared = _Shared(moving.cpu().numpy(), served.cpu().numpy(), rng)
    moves, changes = list[NDArray[np.int64]](), list[Floats]()
    calls = max(-(-MOVES * m // d), 1)
    while calls > 0 or (shared.lacking and len(moves) < CALLS):
        calls -= 1
        who, where = shared.movers()
        place = torch.from_numpy(who).to(values.device), torch.from_numpy(where).to(values.device)
        signs = torch.from_numpy(rng.choice([-1.0, 1.0], len(who))).to(values.device)
        shifted = torch.where(moving, known, values)
        shifted[place] += lengths[place[0]] * signs
        after, there = _whole(_asked(rule, shifted, present, view, remembers))
        change = (after - before)[place[1]]
        smooth = there[place[1]] & (change.abs() <= JUMP * lengths.sum())
        # What was added is not quite the step, once it is rounded.
        along = change / (shifted - known)[place]
        moves.append(np.stack((who, where))[:, smooth.cpu().numpy()])
        changes.append(along[smooth].cpu().numpy())
    (who, where), slope = np.concatenate(moves, axis=1), np.concatenate(changes)
    weights = shared.weights(who, where, slope, counts.cpu().numpy())
    total, left = float((slope**2).sum()), float(((slope - weights[who]) ** 2).sum())
    # An answer that no value moves, as a majority of signs, gives nobody a weight.
    linear = total > 0.0 and left <= LINEAR**2 * total
    return weights.round(12) + 0.0, linear  # no -0.0


def _of_complete(
    rule: Rule,
    values: Tensor,
    present: Tensor,
    view: ServerView,
    seed: int | Callable[[], int],
    remembers: bool,
) -> Used:
    """Fit a rule that sees only who sent every coordinate that anybody sent."""
    heard = present.any(dim=0)
    complete, asked = (present | ~heard).all(dim=1), heard.nonzero()[:, 0]
    seen = view.of_workers(complete).of_coordinates(asked, len(heard))
    some, linear = fitted(rule, values[complete][:, asked], None, seen, seed, remembers)
    weights = np.zeros(len(values))
    weights[complete.cpu().numpy()] = some
    return weights, linear


def _steps(known: Tensor, moving: Tensor, before: Tensor) -> Tensor:
    """Return by how much each worker's values are moved, (m,).

    All by the same, if rounding allows it: what the moves of one that is moved far do to others'
    coordinates would else be taken for what follows those that are moved little.
    """
    largest = known.abs().amax(dim=1).clamp_min(float(before.abs().max()))
    least = ROUNDING * torch.finfo(known.dtype).eps * largest
    nearest = _nearest_of_all(known, moving)
    apart = nearest[nearest > 0]
    shortest = STEP * (float(apart.min()) if len(apart) else 0.0)
    lengths = least.clamp_min(shortest)
    return torch.where(lengths > 0, lengths, STEP)


class _Shared:
    """Coordinates shared out among the workers that sent them.

    Args:
        sent: (m, d) bool, who sent which.
        counted: (d,) bool, which count.
        rng: of the order of the coordinates.

    Attributes:
        group: (d,) coordinates with the same senders have the same number, below S.
        senders: (m, S) bool, who they are.
        columns: of each group the coordinates that count, in random order; the largest first.
        moved: (m,) how often each worker was moved.
    """

    def __init__(
        self, sent: NDArray[np.bool_], counted: NDArray[np.bool_], rng: np.random.Generator
    ) -> None:
        packed = np.ascontiguousarray(np.packbits(sent, axis=0).T)
        keys = packed.view([("", packed.dtype, packed.shape[1])])[:, 0]
        _, one, self.group = np.unique(keys, return_index=True, return_inverse=True)
        self.senders = sent[:, one]
        shuffled = rng.permutation(np.flatnonzero(counted))
        shuffled = shuffled[np.argsort(self.group[shuffled], kind="stable")]
        ends = np.cumsum(np.bincount(self.group[shuffled], minlength=len(one)))
        self.columns = [part for part in np.split(shuffled, ends[:-1]) if len(part)]
        self.columns.sort(key=len, reverse=True)
        self._least_first = np.argsort(sent.sum(axis=1), kind="stable")
        self._some = (sent & counted).any(axis=1)
        self.moved = np.zeros(len(sent), dtype=np.int64)

    @property
    def lacking(self) -> bool:
        """Whether a worker that could be moved has not been."""
        return bool((self._some & (self.moved == 0)).any())

    def movers(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return who is moved in which coordinates: those first that were moved least so far."""
        who, where = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64), *self.columns]
        for columns in self.columns:
            senders = self._least_first[self.senders[self._least_first, self.group[columns[0]]]]
            turn = senders[np.argsort(self.moved[senders], kind="stable")]
            who.append(np.resize(turn, len(columns)))
            self.moved += np.bincount(who[-1], minlength=len(self.moved))
        return np.concatenate(who), np.concatenate(where)

    def weights(
        self,
        who: NDArray[np.int64],
        where: NDArray[np.int64],
        slope: Floats,
        counts: Floats,
    ) -> Floats:
        """Return w, (m,), given how far the answer followed whom in which coordinates.

        NaN of one that was never moved, or whose slopes differ so much that their mean says
        nothing; 0 of one that sent nothing.

        Args:
            who, where, slope: of each move.
            counts: (d,) how much a coordinate counts.
        """
        shape, key = self.senders.shape, who * self.senders.shape[1] + self.group[where]
        weight = np.bincount(key, counts[where], self.senders.size).reshape(shape)
        total = np.bincount(key, counts[where] * slope, self.senders.size).reshape(shape)
        moved = weight > 0.0
        mean = np.divide(total, weight, out=np.zeros(shape), where=moved)
        size = np.zeros(shape[1])
        for columns in self.columns:
            size[self.group[columns[0]]] = counts[columns].sum()
        share = self.senders * size
        filled = np.where(moved, mean, _elsewhere(mean, moved, size))
        weights = (share * filled).sum(axis=1) / np.maximum(share.sum(axis=1), 1e-300)
        silent = ~self.senders.any(axis=1)
        weights = np.where(moved.any(axis=1), weights, np.where(silent, 0.0, np.nan))
        number = np.bincount(key, minlength=self.senders.size).reshape(shape)
        off = (slope - mean.reshape(-1)[key]) ** 2
        squares, freedom = np.bincount(who, off, shape[0]), (number - moved).sum(axis=1)
        pooled = squares.sum() / max(int(freedom.sum()), 1)
        variance = np.where(freedom >= OWN, squares / np.maximum(freedom, 1), pooled)
        parts = moved * share / np.maximum((moved * share).sum(axis=1, keepdims=True), 1e-300)
        error = np.sqrt(variance * (parts**2 / np.maximum(number, 1)).sum(axis=1))
        return np.where(shape[0] * error > UNKNOWN, np.nan, weights)


def _elsewhere(mean: Floats, moved: NDArray[np.bool_], size: Floats) -> Floats:
    """Return what workers' slopes in some groups say of their weights in all others, (m, S).

    Either a worker has the same weight in all groups, or as much of a group's mean as it has of
    others': whichever fits the groups better in which several were moved, each by the others.

    Args:
        mean: (m, S) mean slopes, of workers in groups in which they were `moved`.
        size: (S,) the groups'.
    """
    part = moved * size
    own = (part * mean).sum(axis=1) / np.maximum(part.sum(axis=1), 1e-300)
    number, total = moved.sum(axis=0), (moved * mean).sum(axis=0)
    of_group = total / np.maximum(number, 1)
    usual = (part * of_group).sum(axis=1) / np.maximum(part.sum(axis=1), 1e-300)
    ratio = np.divide(own, usual, out=np.ones(len(own)), where=usual != 0.0)
    others = (total - mean) / np.maximum(number - 1, 1)
    told = moved & (number > 1)
    same = np.broadcast_to(own[:, None], mean.shape)
    alike = float((told * (mean - same) ** 2).sum())
    scaled = float((told * (mean - ratio[:, None] * others) ** 2).sum())
    return ratio[:, None] * of_group if scaled < alike else same


def _copies(moving: Tensor) -> Tensor:
    """Return how many copies of each coordinate give every worker `LEAST` of its own, (d,).

    Of a coordinate that a worker sent which sent b_i there are ⌈LEAST/b_i⌉.
    """
    sizes = moving.sum(dim=1)
    fewest = torch.where(moving, sizes[:, None], moving.shape[1]).amin(dim=0).clamp_min(1)
    return (-(-LEAST // fewest)).clamp(1, COPIES)


def _of_columns(view: ServerView, columns: Tensor, d: int) -> ServerView:
    """Return what the server knows of some columns."""
    places = columns if view.coordinates is None else view.coordinates[columns]
    served = None if view.served is None else view.served[columns]
    return replace(view, coordinates=places, served=served, dimension=view.dimension or d)


def _nearest_of_all(known: Tensor, moving: Tensor) -> Tensor:
    """Return `_nearest` of every worker, (m,), by inner products: steps need few digits."""
    there = moving.double()
    squares = known.square() @ there.T
    squares = squares + squares.T - 2.0 * (known @ known.T)
    both = there @ there.T
    rounding = 1e-12 * (known.square().sum(dim=1)[:, None] + known.square().sum(dim=1))
    distances = (squares / both.clamp_min(1)).clamp_min(0.0).sqrt()
    apart = (squares > rounding) & (both > 0)
    nearest: Tensor = torch.where(apart, distances, torch.inf).amin(dim=1)
    return nearest.nan_to_num(nan=0.0, posinf=0.0)


def _known(values: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the finite values that were sent, 0 elsewhere, and where they are, (m, d).

    Others can't be moved: no finite answer follows them.
    """
    known = values if present is None else zero_where_false(values, present)
    if all_finite(known):
        return known, torch.ones_like(known, dtype=torch.bool) if present is None else present
    moving = values.isfinite() if present is None else values.isfinite() & present
    return zero_where_false(known, moving), moving


def _telling(known: Tensor, moving: Tensor) -> Tensor:
    """Return in which coordinates not all that several sent is the same, (d,) bool."""
    if len(known) > 1 and moving.all():
        return known.amax(dim=0) > known.amin(dim=0)
    high = torch.where(moving, known, -torch.inf).amax(dim=0)
    unlike_others = high > torch.where(moving, known, torch.inf).amin(dim=0)
    return unlike_others | (count_columns(moving) == 1)


def _asked(
    rule: Rule,
    values: Tensor,
    present: Tensor | None,
    view: ServerView | None,
    remembers: bool,
) -> Answer:
    return (deepcopy(rule) if remembers else rule).answer(values, present, view)


def _whole(answer: Answer) -> tuple[Tensor, Tensor]:
    """Return an answer, (d,), and where there is one; 0 elsewhere."""
    there = torch.isfinite(answer.values)
    if answer.served is not None:
        there &= answer.served
    return torch.where(there, answer.values, 0.0), there


def _nearest(values: Tensor, sent: Tensor, i: int) -> float:
    """Return the least distance above 0 from worker i to another, per entry that both sent.

    It is ‖x_i - x_j‖ / √n over the n entries that i and j sent; 0 if there is no such worker.
    """
    both = sent & sent[i]
    squares = torch.where(both, values - values[i], 0.0).square().sum(dim=1)
    distances = (squares / both.sum(dim=1).clamp_min(1)).sqrt()
    return float(torch.where(distances > 0, distances, torch.inf).min().nan_to_num(posinf=0.0))


def unlike(held: NDArray[np.int64]) -> Floats:
    """Return how unlike all examples each worker's labels are: total variation, in [0, 1].

    Args:
        held: (n, classes) how many examples of each class each worker holds.

    Example:
        >>> unlike(np.array([[1, 1], [2, 0]])).tolist()
        [0.25, 0.25]
    """
    every = held.sum(axis=0) / held.sum()
    own = held / np.maximum(held.sum(axis=1, keepdims=True), 1)
    return 0.5 * np.abs(own - every).sum(axis=1)  # type: ignore[no-any-return]
