"""Running figures, and what their curves measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hgobench import algorithms
from hgobench.algorithms import Order, Places
from hgobench.engines import Engine
from hgobench.engines.cells import Outcome, described
from hgobench.errors import InputError
from hgobench.results import Result
from hgobench.results.result import padded
from hgobench.scenario import Scenario
from hgobench.session import Session
from hgobench.simulation.world import World
from hgobench.statistics import interval

from .figures import RULESET, Curve, Figure, Variant, load

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """A curve of one variant: the evaluated rounds of every seed.

    Attributes:
        scenarios: one per seed.
        updates: (K,) after how many updates.
        time: (seeds, K) the simulated time since the start, in the time that a device of rate λ
            takes for λ coordinates of a minibatch's gradient.
        values: (seeds, K) what the figure draws.
        heard: (seeds,) answers per round on average.
        every: (seeds, rounds) answers in each round.
        totals: sums over a run, by column, (seeds,) each.
    """

    scenarios: Sequence[Scenario]
    updates: NDArray[np.int64]
    time: Floats
    values: Floats
    heard: Floats
    every: Floats
    totals: Mapping[str, Floats]

    @property
    def final(self) -> Floats:
        """The last value of every seed, (seeds,)."""
        return self.values[:, -1]

    @property
    def mean(self) -> Floats:
        """The mean over seeds, (K,)."""
        mean: Floats = self.values.mean(axis=0)
        return mean

    @property
    def band(self) -> tuple[Floats, Floats]:
        """The 95 % confidence interval of the mean (Student's t), (K,) each."""
        return interval(self.values)

    def reached(self, level: float | Floats) -> Floats:
        """When each seed first reaches a level on the clock, (seeds,); inf: never.

        Args:
            level: one, or one per seed.
        """
        there = self.values >= np.reshape(level, (-1, 1))
        first: Floats = np.where(there, self.time, np.inf).min(axis=1)
        return first

    def average(self) -> float:
        """The mean value over the whole run: higher is faster."""
        return float(self.values.mean())


def compute(figures: Sequence[Figure], seeds: int, session: Session) -> Outcome:
    """Run what the session's store does not have of some figures; figures share cells.

    Raises:
        InputError: some data set is missing, or a scenario is wrong; nothing is computed then.
    """
    return session.run(cells(figures, seeds), RULESET, time_limit=600.0)


def cells(figures: Sequence[Figure], seeds: int) -> list[Scenario]:
    """Return the different cells that some figures have."""
    every = (cell for figure in figures for cell in figure.cells(range(seeds)))
    return list(dict.fromkeys(every))


def lacking(
    figures: Sequence[Figure], jobs: int = 1, engine: Engine | None = None
) -> dict[str, list[str]]:
    """Return the figures whose data can't be had, by the reason.

    Args:
        figures: which.
        jobs: local processes that read the data.
        engine: where it is read instead.
    """
    found: dict[str, list[str]] = {}
    needed = {figure.name: {cell.data for cell in figure.cells([0])} for figure in figures}
    for data, about in described(sorted(set().union(*needed.values())), jobs, engine).items():
        if isinstance(about, InputError):
            lacking = [name for name, several in needed.items() if data in several]
            found.setdefault("; ".join(about.problems), []).extend(lacking)
    return {reason: list(dict.fromkeys(lacking)) for reason, lacking in found.items()}


def series(
    figure: Figure,
    curve: Curve,
    variant: Variant,
    seeds: int,
    results: Mapping[Scenario, Result],
) -> Series | None:
    """Return what a curve measured; None: some seed is missing or failed."""
    scenarios = [figure.cell(curve, variant, seed) for seed in range(seeds)]
    found = [results.get(scenario) for scenario in scenarios]
    runs = [result for result in found if result is not None and result.status != "failed"]
    if len(runs) < seeds:
        return None
    rounds, length = [result.rounds for result in runs], scenarios[0].rounds

    def table(name: str) -> Floats:
        return np.array([padded(each[name], length) for each in rounds], dtype=np.float64)

    values, heard = table(figure.y), table("heard")
    if figure.y == "test_loss":  # of a run that diverged there is none
        for row, result in zip(values, runs, strict=True):
            row[len(result.rounds["round"]) - (result.status == "diverged") :] = np.inf
    time = table("time") / scenarios[0].batch_size
    if figure.clock and variant == "published":
        time = np.array([seconds(each, figure.clock == "evaluated") for each in scenarios])
    kept = np.flatnonzero(np.isfinite(values).all(axis=0))
    return Series(
        scenarios,
        kept + 1,
        time[:, kept],
        values[:, kept],
        heard.mean(axis=1),
        heard,
        {
            name: np.array([float(sum(r[name])) for r in rounds])
            for name in ("coordinates", "bytes_up", "bytes_down", "stalled")
        },
    )


def seconds(scenario: Scenario, evaluated: bool) -> Floats:
    """Return the authors' clock after each round, (K,): as long as the slowest answer, b_i/λ_i.

    The size of minibatches, the forward pass, aggregation and the network are not counted. The
    draws are those of the run; no gradient is needed.

    Args:
        scenario: a cell of the published variant.
        evaluated: whether only evaluated rounds count, the first among them.
    """
    world = World.of(scenario)
    algorithm = algorithms.registry.build(scenario.algorithm)
    places = Places(world.model, scenario.granularity, scenario.cost)
    order = Order(places, np.arange(len(places)))
    clock = np.zeros(scenario.rounds)
    for k in range(1, scenario.rounds + 1):
        if evaluated and k > 1 and k % scenario.evaluation_interval:
            continue
        draw = world.draw(k)
        rates = world.rates[draw.workers]
        budget = scenario.deadline * rates / draw.size
        heard = algorithm.lengths(budget, order) > 0
        computed = np.minimum(np.floor(budget), order.dimension)
        clock[k - 1] = (computed[heard] / rates[heard]).max(initial=0.0)
    return np.cumsum(clock)


def final_pair(
    figure: Figure, curve: Curve, variant: Variant, measured: Series
) -> tuple[float, Floats]:
    """Return the last published value, NaN if there is none, and ours at that time, (seeds,).

    The published clock is the authors' own: as specified our last value stands beside theirs.
    """
    points = figure.points(curve)
    if points is None:
        return float("nan"), measured.final
    at, value = points[-1]
    if figure.clock and variant == "specified":
        return float(value), measured.final
    axes = measured.time if figure.clock else [measured.updates] * len(measured.values)
    each = [np.interp(at, axis, row) for axis, row in zip(axes, measured.values, strict=True)]
    return float(value), np.array(each)


class Measurements:
    """What the curves of some figures measured, looked up by figure, variant and label.

    Args:
        results: of the store.
        seeds: how many of each.
    """

    def __init__(self, results: Iterable[Result], seeds: int) -> None:
        self.seeds = seeds
        self._results = {result.scenario: result for result in results}
        self._known: dict[tuple[str, str, Variant], Series] = {}

    def series(self, figure: Figure, curve: Curve, variant: Variant) -> Series:
        """Return what a curve measured.

        Raises:
            LookupError: a seed of it is missing or failed.
        """
        key = figure.name, curve.label, variant
        if key not in self._known:
            found = series(figure, curve, variant, self.seeds, self._results)
            if found is None:
                raise LookupError(f"{figure.name}: {curve.label}, as {variant}: cells are missing")
            self._known[key] = found
        return self._known[key]

    def of(self, variant: Variant) -> Callable[[str, str], Series]:
        """Return a look-up by figure's name and label for one variant."""

        def measured(name: str, label: str) -> Series:
            figure = load(name)
            curve = next(curve for curve in figure.curves if curve.label == label)
            return self.series(figure, curve, variant)

        return measured

    def has(self, figure: Figure) -> bool:
        """Say whether all of a figure is there."""
        try:
            for variant in figure.variants:
                for curve in figure.of(variant):
                    self.series(figure, curve, variant)
        except LookupError:
            return False
        return True
