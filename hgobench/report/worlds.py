"""Partitions and scenarios as pages, before anything runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hgobench.boundary import Boundary, PluginError, keyed
from hgobench.data import datasets, partitions
from hgobench.data.partitions.base import dealt
from hgobench.errors import InputError
from hgobench.machine import duration, written
from hgobench.scenario import Scenario

from . import charts
from .page import Block, Cell, Chart, Facts, Line, Page, Shown, Table, Text

if TYPE_CHECKING:
    from hgobench.costs import Costs

KINDS = ("png", "svg", "pdf")


@dataclass(frozen=True)
class Deal:
    """A partition of a data set.

    Attributes:
        partition, data, seed: the names, and the seed of the draw.
        counts: (n, classes) how many examples of each class every worker holds; of a regression
            (n, 1), how many examples.
        targets: of a regression, (n, 2): mean and standard deviation of every worker's targets;
            else None.
    """

    partition: str
    data: str
    seed: int
    counts: NDArray[np.int64]
    targets: NDArray[np.float64] | None = None

    @property
    def slug(self) -> str:
        """The name of its files: ``dirichlet-alpha-0.1-mnist-20-workers``."""
        name = f"{self.partition}-{self.data}-{len(self.counts)}-workers"
        name += f"-seed-{self.seed}" if self.seed else ""
        return re.sub(r"[^a-zA-Z0-9_.]+", "-", name).strip("-")

    @property
    def title(self) -> str:
        """Partition, data set and sizes, in words."""
        n, total = len(self.counts), int(self.counts.sum())
        return f"{self.partition}: {self.data}, {total:,} training examples, {n} workers"

    def as_data(self) -> dict[str, Any]:
        """Return the counts as data for JSON."""
        names = {"partition": self.partition, "data": self.data, "seed": self.seed}
        if self.targets is None:
            return {**names, "counts": self.counts.tolist()}
        return {**names, "sizes": self.counts[:, 0].tolist(), "targets": self.targets.tolist()}

    @property
    def page(self) -> Page:
        """The counts, a row per worker, and a summary."""
        sizes, classes = self.counts.sum(axis=1), (self.counts > 0).sum(axis=1)
        summary = (
            f"examples per worker: {sizes.min()} to {sizes.max()}, median {np.median(sizes):g}"
        )
        if self.targets is not None:
            columns = "a regression"
            mean = self.targets[:, 0]
            summary += f"; mean target per worker: {mean.min():.4g} to {mean.max():.4g}"
        else:
            columns = "columns are classes"
            summary += f"; classes per worker: {classes.min()} to {classes.max()}"
            summary += f", mean {classes.mean():.1f}"
        title = f"{self.title} (seed {self.seed}); {columns}"
        return Page(
            "partition", title, [self._table(), Text(summary, "note")], content=self.as_data()
        )

    def _table(self) -> Table:
        rows: list[list[Cell]]
        sizes = self.counts.sum(axis=1).tolist()
        if self.targets is not None:
            header = ["worker", "examples", "mean target", "deviation"]
            rows_of = zip(sizes, self.targets.tolist(), strict=True)
            rows = [[i, size, mean, spread] for i, (size, (mean, spread)) in enumerate(rows_of)]
        else:
            header = ["worker", *map(str, range(self.counts.shape[1])), "all"]
            cells = [
                [Shown(str(count) if count else ".", count) for count in counts]
                for counts in self.counts.tolist()
            ]
            rows = [[i, *cells[i], size] for i, size in enumerate(sizes)]
        return Table("", "", header, rows, right=range(len(header)), keep=1)

    @property
    def chart(self) -> Chart:
        """A bar per worker, divided by class."""
        workers = list(range(len(self.counts)))
        classes = self.targets is None
        lines = [
            Line(f"class {c}" if classes else "examples", count.tolist(), workers, style="stack")
            for c, count in enumerate(self.counts.T)
        ]
        return Chart("partition", self.title, "training examples", "worker", lines)

    def draw(self, path: Path) -> None:
        """Draw the chart into a file.

        Raises:
            InputError: the file's ending is not one of `KINDS`, or it can't be written.
        """
        check_picture(path)
        try:
            charts.save(self.chart, path, dpi=150)
        except OSError as error:
            raise InputError(f"out: {str(path)!r}: {error.strerror}") from error


def check_picture(path: Path) -> None:
    """Raise InputError unless the file's ending is one of `KINDS`."""
    if path.suffix[1:].lower() not in KINDS:
        raise InputError(f"out: {str(path)!r}; expected a file .{', .'.join(KINDS)}")


def deal(partition: str, data: str, workers: int, seed: int) -> Deal:
    """Deal a data set's training examples out.

    Raises:
        InputError: there is no such partition or data set, or it can't be dealt.
    """
    registry = partitions.registry
    with keyed(seed):
        dealer, dataset = registry.build(partition), datasets.load(data)
    boundary = Boundary("partition", partition, dealer, seed=seed, passes=(InputError,))
    try:
        shards = dealt(dealer, dataset.train, workers, seed, boundary)
    except PluginError as error:
        raise InputError(error.problem) from error
    labels = dataset.train.labels
    targets = None
    if dataset.classes:
        counts = [np.bincount(labels[shard], minlength=dataset.classes) for shard in shards]
    else:
        counts = [np.array([len(shard)]) for shard in shards]
        targets_of = [labels[shard].astype(np.float64) for shard in shards]
        targets = np.array([(values.mean(), values.std()) for values in targets_of])
    return Deal(registry.canonical(partition), data, seed, np.array(counts), targets)


def describe(scenario: Scenario, taken: Costs | str) -> Page:
    """Return all fields of a scenario, its sampling risk, and what its cell takes.

    Args:
        scenario: the scenario.
        taken: what its cell takes, or why that is not known.
    """
    tolerated = (scenario.quorum - 1) // 2
    fields = [(name, str(value)) for name, value in scenario.to_dict().items()]
    risks = [
        ("per round", f"{scenario.sampling_risk:.4g}"),
        (f"over {scenario.rounds} rounds", f"{scenario.run_risk:.4g}"),
    ]
    title = (
        f"sampling risk: more than {tolerated} of {scenario.sampled} sampled workers are "
        f"Byzantine (a quorum of v={scenario.quorum} tolerates {tolerated})"
    )
    blocks: list[Block] = [Facts(fields), Facts(risks, title)]
    if isinstance(taken, str):
        blocks.append(Text(f"What it takes is not known: {taken}", "note"))
        return Page("scenario", "A scenario", blocks)
    if taken.module:
        blocks.append(Facts(list(taken.module.items()), f"The torch module {scenario.model}"))
    blocks += [
        Facts(_memory(taken), f"It takes, by itself, {_span(taken)} and {written(taken.peak)}"),
        Facts(_work(scenario, taken), "Of that, in CPU time of one thread"),
    ]
    return Page("scenario", "A scenario", blocks)


def _span(taken: Costs) -> str:
    if taken.time is None:
        return "a time that is not known"
    return f"{duration(taken.time.total)} of CPU time"


def _memory(taken: Costs) -> list[tuple[str, str]]:
    of, q, d = taken.footprint, taken.sampled, taken.dimension
    model = "not known" if of.model is None else written(of.model)
    together = f"{of.cells} cells" if of.cells > 1 else "one cell"
    facts = [
        ("parameters", f"d = {d:,}"),
        ("a cell's gradients", f"{written(of.gradients)} (q x d = {q} x {d:,})"),
        ("its parameters", f"{written(of.parameters)} (now, before and at the start)"),
        ("its attack and its rule", f"{written(of.round)} at most, while it is their turn"),
        ("its metrics", f"{written(of.ending)} at most, in the end"),
        ("its model besides", f"{model} (activations, scores)"),
        ("minibatches", f"{written(of.minibatches)}, once for all cells of its world"),
        ("data", f"{written(of.data)}, and {written(of.loading)} more while they are loaded"),
        ("the process besides", f"{written(taken.process)} (Python, torch; as this one)"),
        ("side by side", f"{together} at most: {written(taken.process + of.stack(of.cells))}"),
        ("this machine", f"{written(taken.memory)}"),
    ]
    return facts


def _work(scenario: Scenario, taken: Costs) -> list[tuple[str, str]]:
    flops = "not known" if taken.flops is None else _count(taken.flops, "FLOP")
    rule = "not declared"
    if taken.rule:
        rule = f"{taken.rule}, m = {taken.sampled} x d = {taken.dimension:,}"
        if taken.operations is not None:
            rule = f"some {_count(taken.operations, 'OP')}: {rule}"
    facts = [("gradients per round", flops), (f"{scenario.rule} per round", rule)]
    if taken.time is None:
        how = " (hgobench calibrate measures this machine; --measure plays a few rounds of it)"
        how = how if taken.footprint.least <= taken.memory else ""
        return [*facts, ("time", f"not known: {taken.why}{how}")]
    each = ", ".join(f"{name} {duration(part)}" for name, part in taken.time.parts.items())
    return [
        *facts,
        ("a round", duration(taken.time.round) + (f" ({each})" if each else "")),
        ("an evaluation", duration(taken.time.evaluation)),
        ("metrics in the end", duration(taken.time.ending)),
        ("to start", duration(taken.time.start) + " (Python, torch, data; as in this process)"),
        ("by", taken.time.source),
    ]


def _count(number: float, unit: str) -> str:
    """Write a large number with its unit.

    >>> _count(33_745_920_000, "FLOP"), _count(650, "FLOP")
    ('33.7 GFLOP', '650 FLOP')
    """
    for prefix, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {prefix}{unit}"
    return f"{number:.3g} {unit}"
