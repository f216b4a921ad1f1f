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
EQUATIONS = 4  # of a fit, per worker, at least
LEAST = 500  # values of each worker that are moved, of a rule that treats coordinates singly
COPIES = 16  # of a coordinate, at most, for that
JUMP = 10.0  # a change that is so many times all steps together is a jump, of no derivative
AGREE = 10.0  # roundings per term, by which two sums of the same may differ
LINEAR = 1e-3  # of a change that a fit may leave over, of a rule that weighs vectors


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
    right = off <= agree * np.einsum("ij,ij->j", by_value, np.abs(x))
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
    """Estimate `influences` with two answers of the rule instead of m + 1.

    All workers are moved at once, by a millionth of the least distance between any two of them,
    each along signs of its own, and w solves least squares,
    min Σ_j (AR_j(x + δ) - AR_j(x) - Σ_i w_i·δ_ij)². That is exact of a rule that gives each worker
    one weight in all coordinates. Of others it is the mean over the coordinates that a worker sent,
    with an error. A rule that treats every coordinate by itself is asked about those that a worker
    sent several times at once, each with signs of its own, up to 16 times, so that every worker has
    about 500 moved values or more: the standard error of w_i is then below 1/√500, and that of
    the mean over many workers as much smaller as they are more. Left out are coordinates in which
    several sent the same and nobody anything else, and those in which the answer jumps; values that
    are not finite are not moved, as no answer that is finite follows them.

    Args:
        rule, values, present, view: as for `influences`.
        seed: of the signs, or what draws it.
        remembers: whether the rule may remember although it does not say so.
        first: what it answers to the values, if that is known.

    Returns:
        w, (m,), NaN of a worker all of whose coordinates are left out, and whether one weight per
        worker explains the change but for 0.1 %.

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
    known, moving = _known(values, present)
    remembers |= rule.stateful
    counts = values.new_ones(d)  # that a coordinate with copies counts once
    before, served = _whole(first or _asked(rule, values, present, view, remembers))
    if rule.columnwise and not remembers:
        copies = _copies(moving)
        columns = torch.arange(d, device=values.device).repeat_interleave(copies)
        counts = copies.double().rsqrt()[columns]
        values, moving, known = (part[:, columns] for part in (values, moving, known))
        present = None if present is None else present[:, columns]
        before, served = before[columns], served[columns]
        view = _of_columns(view or ServerView(), columns, d)
        d = len(columns)
    served &= _telling(known, moving)
    largest = known.abs().amax(dim=1).clamp_min(float(before.abs().max()))
    least = ROUNDING * torch.finfo(values.dtype).eps * largest
    # All by the shortest step that rounding allows: what a fit leaves over of those that are moved
    # far would else be taken for what follows those that are moved little.
    nearest = _nearest_of_all(known, moving)
    apart = nearest[nearest > 0]
    shortest = STEP * (float(apart.min()) if len(apart) else 0.0)
    lengths = least.clamp_min(shortest)
    lengths = torch.where(lengths > 0, lengths, STEP)
    rng = np.random.default_rng(seed() if callable(seed) else seed)
    normal, right, total = values.new_zeros(m, m), values.new_zeros(m), 0.0
    changes = []
    for _ in range(max(-(-EQUATIONS * m // d), 1)):
        signs = torch.from_numpy(rng.integers(0, 2, (m, d), dtype=np.int8)).to(values.device)
        shifted = torch.where(moving, known + lengths[:, None] * (2 * signs - 1), values)
        after, there = _whole(_asked(rule, shifted, present, view, remembers))
        smooth = served & there & ((after - before).abs() <= JUMP * lengths.sum())
        # What was added is not quite the step, once it is rounded; in units of each one's step.
        steps = counts * torch.where(moving & smooth, (shifted - known) / lengths[:, None], 0.0)
        change = counts * torch.where(smooth, after - before, 0.0)
        normal += steps @ steps.T
        right += steps @ change
        changes.append((steps, change))
        total += float(change.square().sum())
    solved = torch.linalg.lstsq(normal.cpu(), right[:, None].cpu(), driver="gelsd").solution
    weights = solved[:, 0].to(values)
    left = sum(float((change - weights @ steps).square().sum()) for steps, change in changes)
    # An answer that no value moves, as a majority of signs, gives nobody a weight.
    linear = total > 0.0 and left <= LINEAR**2 * total
    weights = (weights / lengths).round(decimals=12) + 0.0  # no -0.0
    unseen = moving.any(dim=1) & (normal.diagonal() == 0)
    return torch.where(unseen, torch.nan, weights).cpu().numpy(), linear


def _copies(moving: Tensor) -> Tensor:
    """Return how many copies of each coordinate give every worker `LEAST` moved values, (d,).

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
