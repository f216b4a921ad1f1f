"""The end of a cell's run: what its metrics look at, and what they say."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from hgobench.aggregators import NonFiniteError, RuleError
from hgobench.boundary import OutOfTime, PluginError, error_text, foreign
from hgobench.determinism import stream
from hgobench.kernels.sorting_network import not_compiled
from hgobench.lazy import Tensor, torch
from hgobench.metrics import RESERVED, VALUES, End, Influence, Metric, Several
from hgobench.metrics.influence import Used, used
from hgobench.protocol import Reception
from hgobench.results.measures import checked, measures_of

from .cell import Cell
from .world import Draw


def measure(
    cell: Cell,
    k: int,
    params: Tensor,
    draw: Draw,
    reception: Reception | None,
    values: Tensor,
    before: Tensor,
    known: Callable[[], Used | None],
) -> None:
    """Let a cell's metrics measure the end of its run.

    What they can't say is left out, with a note: the run is over, and its accuracy stands.

    Args:
        cell: whose.
        k: the last round.
        params: (d,) the trained parameters.
        draw, reception: the last round's; None: too few had answered.
        values: (q, d) what was sent in it.
        before: (d,) the parameters at which that was computed.
        known: whose values its rule's answer followed, of a cell that was asked together with
            others; None: it was not.
    """
    world, test = cell.world, cell.world.data.test
    devices, names = world.fleet.classed()
    right = None
    if cell.right is not None:
        bits = np.frombuffer(cell.right, dtype=np.uint8)
        right = np.unpackbits(bits, count=len(test)).astype(bool)

    def accuracy(x: Tensor, y: Tensor) -> float:
        there = x.to(world.device), y.to(world.device)
        return float(world.evaluate(k, params[None], *there)[1][0])

    end = End(
        params=params,
        classes=world.data.classes,
        features=torch.from_numpy(test.features),
        labels=torch.from_numpy(test.labels),
        right=right,
        held=world.held,
        byzantine=cell.byzantine,
        devices=devices,
        device_names=names,
        joules=cell.joules,
        success=tuple(cell.ledger.success),
        attacked=(cell.scenario.attack_start, cell.scenario.attack_stop),
        rounds=k,
        accuracy=accuracy,
        followed=partial(_followed, cell, k, draw, reception, values, before, known),
    )
    told: dict[str, float] = {}
    taken = set(RESERVED)
    for metric in _each(cell.metric):
        if not foreign(metric):
            ours = metric(end)
            told |= {name: value for name, value in ours.items() if math.isfinite(value)}
            if beyond := [name for name in ours if name not in told]:
                cell.note(f"{', '.join(beyond)}: larger than any number: not measured")
            continue
        measures = _told(cell, k, metric, end, taken)
        told |= measures
        taken |= measures_of(measures)
    cell.measures = told


def _each(metric: Metric) -> Iterator[Metric]:
    """Yield a metric, or those that it consists of."""
    if isinstance(metric, Several):
        for inner in metric.made_of:
            yield from _each(inner)
    else:
        yield metric


def _told(
    cell: Cell, k: int, metric: Metric, end: End, taken: Collection[str]
) -> Mapping[str, float]:
    """Return what a metric of a user's own says; of one that fails nothing, with a note.

    Args:
        cell, k, metric, end: which, when, of what.
        taken: the measures of others, which one of a user's own may not have as well.
    """
    boundary = cell.metrics_of(metric)
    try:
        lent = _lent(end)
        with boundary("call", k):
            told = metric(lent)
        return checked(told, taken)
    except ValueError as error:
        cell.note(f"{boundary.who}: {error}: nothing was measured")
    except (PluginError, OutOfTime) as error:
        cell.note(f"{error}: nothing was measured")
    return {}


def _lent(end: End) -> End:
    """Return an end whose arrays are copies: plug-in code may change them."""
    tensors = {name: getattr(end, name).clone() for name in ("params", "features", "labels")}
    arrays: dict[str, Any] = {}
    for name in ("right", "held", "byzantine", "devices", "joules"):
        array = getattr(end, name)
        arrays[name] = None if array is None else array.copy()
    return replace(end, **tensors, **arrays)


def _followed(
    cell: Cell,
    k: int,
    draw: Draw,
    reception: Reception | None,
    values: Tensor,
    before: Tensor,
    known: Callable[[], Used | None],
) -> Influence | None:
    """Return whose values the rule's last answer followed, asking the rule again."""
    if reception is None or len(reception.rows) * reception.size > VALUES:
        return None
    if cell.merges:  # the rule sees no worker's values
        return None

    def seed() -> int:
        return int(stream(cell.world.seed, "influence", k).integers(2**32))

    if (told := known()) is None:
        view, sent = cell.view(k, draw, before, reception), reception.of(values)
        try:
            with cell.rules("call", k), not_compiled():
                told = used(
                    cell.rule, sent, reception.present, view, seed, remembers=cell.rules.foreign
                )
        except (PluginError, OutOfTime, RuleError, NonFiniteError) as error:
            text = str(error) if isinstance(error, (PluginError, OutOfTime)) else error_text(error)
            cell.note(f"whose values were used is not known: {text}")
            return None
    weights, linear = told
    who = reception.who(draw.workers)
    asked = draw.workers if reception.held is None else np.union1d(draw.workers, who)
    # Copies: plug-in metrics may change them.
    return _by_worker(Influence(asked, who, weights.copy(), reception.shares.copy(), linear))


def _by_worker(influence: Influence) -> Influence:
    """Return an influence in which who answered more than once is there once."""
    if len(set(influence.workers.tolist())) == len(influence.workers):
        return influence
    workers, row = np.unique(influence.workers, return_inverse=True)
    used = np.bincount(row, influence.used).astype(np.float64)
    sent = np.bincount(row, influence.sent) / np.bincount(row)
    return Influence(np.unique(influence.asked), workers, used, sent, influence.linear)
