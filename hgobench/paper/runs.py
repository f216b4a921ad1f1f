"""Running figures, and the measured curves."""

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
        updates: (K,) numbers of updates.
        time: (seeds, K) the simulated time since the start, in the time that a device of rate λ
            takes for λ coordinates of a minibatch's gradient.
        values: (seeds, K) the values of the figure.
        heard: (seeds,) mean answers per round.
        answers: (seeds, rounds) answers in each round.
        totals: sums over a run, by column, (seeds,) each.
    """

    scenarios: Sequence[Scenario]
    updates: NDArray[np.int64]
    time: Floats
    values: Floats
    heard: Floats
    answers: Floats
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
        """Return the time at which each seed first reaches a level, (seeds,); inf: never.

        Args:
            level: a number, or one per seed, (seeds,).
        """
        reached = self.values >= np.reshape(level, (-1, 1))
        first: Floats = np.where(reached, self.time, np.inf).min(axis=1)
        return first

    def average(self) -> float:
        """Return the mean value over the whole run and all seeds: higher is faster."""
        return float(self.values.mean())


def compute(figures: Sequence[Figure], seeds: int, session: Session) -> Outcome:
    """Run the cells of some figures that the session's store lacks; figures share cells.

    Raises:
        InputError: some data set is missing, or a scenario is wrong; nothing is computed then.
    """
    return session.run(cells(figures, seeds), RULESET, time_limit=600.0)


def cells(figures: Sequence[Figure], seeds: int) -> list[Scenario]:
    """Return the cells of some figures, each once."""
    all_cells = (cell for figure in figures for cell in figure.cells(range(seeds)))
    return list(dict.fromkeys(all_cells))


def lacking(
    figures: Sequence[Figure], jobs: int = 1, engine: Engine | None = None
) -> dict[str, list[str]]:
    """Return the names of figures whose data can't be loaded, by reason.

    Args:
        figures: the figures.
        jobs: local processes that load the data.
        engine: where they are loaded instead.
    """
    reasons: dict[str, list[str]] = {}
    data_of = {figure.name: {cell.data for cell in figure.cells([0])} for figure in figures}
    for data, description in described(
        sorted(set().union(*data_of.values())), jobs, engine
    ).items():
        if isinstance(description, InputError):
            lacking = [name for name, several in data_of.items() if data in several]
            reasons.setdefault("; ".join(description.problems), []).extend(lacking)
    return {reason: list(dict.fromkeys(lacking)) for reason, lacking in reasons.items()}


def series(
    figure: Figure,
    curve: Curve,
    variant: Variant,
    seeds: int,
    results: Mapping[Scenario, Result],
) -> Series | None:
    """Return a measured curve; None: a seed is missing or failed."""
    scenarios = [figure.cell(curve, variant, seed) for seed in range(seeds)]
    stored = [results.get(scenario) for scenario in scenarios]
    runs = [result for result in stored if result is not None and result.status != "failed"]
    if len(runs) < seeds:
        return None
    rounds, length = [result.rounds for result in runs], scenarios[0].rounds

    def table(name: str) -> Floats:
        return np.array([padded(columns[name], length) for columns in rounds], dtype=np.float64)

    values, heard = table(figure.y), table("heard")
    if figure.y == "test_loss":  # a run that diverged has none after its end
        for row, result in zip(values, runs, strict=True):
            row[len(result.rounds["round"]) - (result.status == "diverged") :] = np.inf
    time = table("time") / scenarios[0].batch_size
    if figure.clock and variant == "published":
        time = np.array([seconds(columns, figure.clock == "evaluated") for columns in scenarios])
    evaluated = np.flatnonzero(np.isfinite(values).all(axis=0))
    return Series(
        scenarios,
        evaluated + 1,
        time[:, evaluated],
        values[:, evaluated],
        heard.mean(axis=1),
        heard,
        {
            name: np.array([float(sum(r[name])) for r in rounds])
            for name in ("coordinates", "bytes_up", "bytes_down", "stalled")
        },
    )


def seconds(scenario: Scenario, evaluated: bool) -> Floats:
    """Return the authors' clock after each round, (K,): a round lasts max b_i/λ_i.

    It ignores the size of minibatches, the forward pass, aggregation and the network. The draws are
    those of the run; no gradient is computed.

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

    As the published clock is the authors' own, our last value is taken in the specified variant.
    """
    points = figure.points(curve)
    if points is None:
        return float("nan"), measured.final
    at, value = points[-1]
    if figure.clock and variant == "specified":
        return float(value), measured.final
    axes = measured.time if figure.clock else [measured.updates] * len(measured.values)
    ours = [np.interp(at, axis, row) for axis, row in zip(axes, measured.values, strict=True)]
    return float(value), np.array(ours)


class Measurements:
    """The measured curves of some figures, by figure, variant and label.

    Args:
        results: of the store.
        seeds: number of seeds of each curve.
    """

    def __init__(self, results: Iterable[Result], seeds: int) -> None:
        self.seeds = seeds
        self._results = {result.scenario: result for result in results}
        self._series: dict[tuple[str, str, Variant], Series] = {}

    def series(self, figure: Figure, curve: Curve, variant: Variant) -> Series:
        """Return a measured curve.

        Raises:
            LookupError: a seed is missing or failed.
        """
        key = figure.name, curve.label, variant
        if key not in self._series:
            curve_series = series(figure, curve, variant, self.seeds, self._results)
            if curve_series is None:
                raise LookupError(f"{figure.name}: {curve.label}, as {variant}: cells are missing")
            self._series[key] = curve_series
        return self._series[key]

    def of(self, variant: Variant) -> Callable[[str, str], Series]:
        """Return a function from a figure's name and a label to the curve of one variant."""

        def measured(name: str, label: str) -> Series:
            figure = load(name)
            curve = next(curve for curve in figure.curves if curve.label == label)
            return self.series(figure, curve, variant)

        return measured

    def has(self, figure: Figure) -> bool:
        """Return whether all curves of a figure are complete."""
        try:
            for variant in figure.variants:
                for curve in figure.of(variant):
                    self.series(figure, curve, variant)
        except LookupError:
            return False
        return True
