"""Partitions and scenarios, shown before anything runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from hgobench.data import datasets, partitions
from hgobench.errors import InputError
from hgobench.scenario import Scenario

KINDS = ("png", "svg", "pdf")


@dataclass(frozen=True)
class Dealt:
    """A partition of a data set.

    Attributes:
        partition, data, seed: what was dealt, and by which draw.
        counts: (n, classes) how many examples of each class every worker holds.
    """

    partition: str
    data: str
    seed: int
    counts: NDArray[np.int64]

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
        return {
            "partition": self.partition,
            "data": self.data,
            "seed": self.seed,
            "counts": self.counts.tolist(),
        }

    def table(self) -> str:
        """Return the counts as text, a line per worker, and what sums them up."""
        sizes, held = self.counts.sum(axis=1), (self.counts > 0).sum(axis=1)
        rows = [
            [worker, *(count or "." for count in counts), int(size)]
            for worker, (counts, size) in enumerate(zip(self.counts.tolist(), sizes, strict=True))
        ]
        header = ["worker", *range(self.counts.shape[1]), "all"]
        text = tabulate(rows, header, colalign=["right"] * len(header), disable_numparse=True)
        return (
            f"{self.title} (seed {self.seed}); columns are classes\n\n{text}\n\n"
            f"examples per worker: {sizes.min()} to {sizes.max()}, median {np.median(sizes):g}; "
            f"classes per worker: {held.min()} to {held.max()}, mean {held.mean():.1f}"
        )

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
        axes.set(xlabel="training examples", ylabel="worker", title=self.title)
        axes.title.set_fontsize(10)
        axes.set_ylim(n - 0.5, -0.5)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        if classes <= 20:
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
    made, train = registry.build(partition), datasets.load(data)
    counts = [
        np.bincount(train.train.labels[shard], minlength=train.classes)
        for shard in made(train.train, workers, seed)
    ]
    return Dealt(registry.canonical(partition), data, seed, np.array(counts))


def describe(scenario: Scenario) -> str:
    """Return all fields of a scenario, a line each, and its sampling risk."""
    fields = "\n".join(f"{name}: {value}" for name, value in scenario.to_dict().items())
    stands = (int(scenario.quorum or 1) - 1) // 2
    return (
        f"{fields}\n\nsampling risk: more than {stands} of {scenario.sampled} sampled workers are "
        f"Byzantine (a quorum of v={scenario.quorum} stands {stands})\n"
        f"  per round: {scenario.sampling_risk:.4g}\n"
        f"  over {scenario.rounds} rounds: {scenario.run_risk:.4g}"
    )
