"""Partitions and scenarios, shown before anything runs."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench.data import datasets, partitions
from hgobench.errors import InputError
from hgobench.scenario import Scenario

from . import writers
from .writers import EVERYTHING, Layout

KINDS = ("png", "svg", "pdf")


@dataclass(frozen=True)
class Dealt:
    """A partition of a data set.

    Attributes:
        partition, data, seed: what was dealt, and by which draw.
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
        """What it is."""
        n, total = len(self.counts), int(self.counts.sum())
        return f"{self.partition}: {self.data}, {total:,} training examples, {n} workers"

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        known = {"partition": self.partition, "data": self.data, "seed": self.seed}
        if self.targets is None:
            return {**known, "counts": self.counts.tolist()}
        return {**known, "sizes": self.counts[:, 0].tolist(), "targets": self.targets.tolist()}

    def table(self, layout: Layout = EVERYTHING) -> str:
        """Return the counts as text, a line per worker, and what sums them up."""
        sizes, held = self.counts.sum(axis=1), (self.counts > 0).sum(axis=1)
        summary = (
            f"examples per worker: {sizes.min()} to {sizes.max()}, median {np.median(sizes):g}"
        )
        if self.targets is not None:
            header = ["worker", "examples", "mean target", "deviation"]
            each = zip(sizes.tolist(), self.targets.tolist(), strict=True)
            values = [
                [i, n, f"{mean:.4g}", f"{dev:.4g}"] for i, (n, (mean, dev)) in enumerate(each)
            ]
            mean = self.targets[:, 0]
            above = f"{self.title} (seed {self.seed}); a regression"
            below = f"{summary}; mean target per worker: {mean.min():.4g} to {mean.max():.4g}"
            text = writers.table(header, values, right=range(4), layout=replace(layout, keep=1))
            return "\n\n".join([layout.text(above), text, layout.text(below)])
        rows = [
            [worker, *(count or "." for count in counts), int(size)]
            for worker, (counts, size) in enumerate(zip(self.counts.tolist(), sizes, strict=True))
        ]
        header = ["worker", *range(self.counts.shape[1]), "all"]
        right = range(len(header))
        text = writers.table(header, rows, right=right, layout=replace(layout, keep=1))
        above = f"{self.title} (seed {self.seed}); columns are classes"
        below = (
            f"{summary}; classes per worker: {held.min()} to {held.max()}, mean {held.mean():.1f}"
        )
        return "\n\n".join([layout.text(above), text, layout.text(below)])

    def draw(self, path: Path) -> None:
        """Draw a bar per worker, divided by class.

        Raises:
            InputError: the file's ending is not one of `KINDS`, or it can't be written.
        """
        from matplotlib import colormaps
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        check_picture(path)
        n, classes = self.counts.shape
        figure = Figure(figsize=(8, min(max(0.22 * n, 2.4), 16)), layout="constrained")
        axes = figure.add_subplot()
        workers, left = np.arange(n), np.zeros(n)
        colours = colormaps["tab10" if classes <= 10 else "turbo"]
        for c in range(classes):
            colour = colours(c if classes <= 10 else c / (classes - 1))
            count = self.counts[:, c]
            axes.barh(workers, count, left=left, height=0.85, color=colour, label=str(c))
            left += count
        axes.set(xlabel="training examples", ylabel="worker", title=writers.drawn(self.title))
        axes.title.set_fontsize(10)
        axes.set_ylim(n - 0.5, -0.5)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        if classes <= 20 and self.targets is None:
            axes.legend(title="class", loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
        try:
            figure.savefig(path, dpi=150)
        except OSError as error:
            raise InputError(f"--out: {str(path)!r}: {error.strerror}") from error


def check_picture(path: Path) -> None:
    """Raise InputError if the file's ending names no kind of picture."""
    if path.suffix[1:].lower() not in KINDS:
        raise InputError(f"--out: {str(path)!r}; expected a file .{', .'.join(KINDS)}")


def deal(partition: str, data: str, workers: int, seed: int) -> Dealt:
    """Deal a data set's training examples out.

    Raises:
        InputError: no such partition or data set, or it can't be done.
    """
    registry = partitions.registry
    made, found = registry.build(partition), datasets.load(data)
    shards, labels = made(found.train, workers, seed), found.train.labels
    targets = None
    if found.classes:
        counts = [np.bincount(labels[shard], minlength=found.classes) for shard in shards]
    else:
        counts = [np.array([len(shard)]) for shard in shards]
        each = [labels[shard].astype(np.float64) for shard in shards]
        targets = np.array([(values.mean(), values.std()) for values in each])
    return Dealt(registry.canonical(partition), data, seed, np.array(counts), targets)


def describe(scenario: Scenario, layout: Layout = EVERYTHING) -> str:
    """Return all fields of a scenario, a line each, and its sampling risk."""
    most = (scenario.quorum - 1) // 2
    lines = [
        *(f"{name}: {value}" for name, value in scenario.to_dict().items()),
        "",
        f"sampling risk: more than {most} of {scenario.sampled} sampled workers are "
        f"Byzantine (a quorum of v={scenario.quorum} tolerates {most})",
        f"  per round: {scenario.sampling_risk:.4g}",
        f"  over {scenario.rounds} rounds: {scenario.run_risk:.4g}",
    ]
    return "\n".join(map(layout.text, lines))
