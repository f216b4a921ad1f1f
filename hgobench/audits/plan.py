"""Which devices, and which settings, reach a target accuracy within a time budget?

An open question of the paper, answered by successive halving over a grid.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hgobench.data import datasets
from hgobench.errors import InputError
from hgobench.results import Result
from hgobench.scenario import Scenario

from .base import Options, Work, classified, uses
from .comparison import described
from .study import Chart, Finding, Line, Study, Table

BASE: dict[str, Any] = {"data": "digits", "learning_rate": 1.0, "workers": 100}
SHARES = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0)  # of powerful devices; the others are weak
SAMPLED = (0.2, 0.8)  # of the workers
QUORUMS = (0.0, 0.25, 0.5)  # of the sampled; at least what the rule needs
DEADLINES = (1.0, 2.0, 4.0, 8.0, 16.0)
BATCHES = (4, 8, 16)
RUNGS = (1 / 9, 1 / 3, 1.0)  # of the budget
KEPT = 3  # one in so many goes on
LOOKS = 20  # evaluations of a run
SEARCHED = (
    "sampled", "quorum", "deadline", "batch_size", "hardware", "rounds", "evaluation_interval",
)  # fmt: skip
SEEDS = 3
MOST = 1_000_000  # rounds


@dataclass(frozen=True)
class Candidate:
    """Settings that are tried.

    Attributes:
        share: of powerful devices.
        fields: of the scenario, but for rounds and seed.
    """

    share: float
    fields: Mapping[str, Any] = field(compare=False)

    def cell(self, budget: float, seed: int) -> Scenario | None:
        """Return the run that fits into a time budget; None: not one round does."""
        rounds = math.floor(budget / self.fields["deadline"] + 1e-9)
        if rounds < 1:
            return None
        interval = max(rounds // LOOKS, 1)
        return Scenario(
            **{**self.fields, "rounds": rounds, "evaluation_interval": interval, "seed": seed}
        )


def candidates(settings: Mapping[str, Any]) -> list[Candidate]:
    """Return the grid; fields that are set are not varied, cells that are refused are left out."""
    workers = int(settings.get("workers", 100))

    def values(name: str, otherwise: Sequence[Any]) -> Sequence[Any]:
        return [settings[name]] if name in settings else otherwise

    sampled = values("sampled", [max(round(share * workers), 1) for share in SAMPLED])
    shares = [math.nan] if "hardware" in settings else SHARES
    found, seen = [], set()
    for share, q, part, deadline, batch in itertools.product(
        shares,
        sampled,
        [None] if "quorum" in settings else QUORUMS,
        values("deadline", DEADLINES),
        values("batch_size", BATCHES),
    ):
        fields = {**settings, "sampled": q, "deadline": deadline, "batch_size": batch}
        if not math.isnan(share):
            fields["hardware"] = f"mix[weak={1 - share:g},average=0.0,powerful={share:g}]"
        try:
            plain = Scenario(**fields)
            if part is not None:
                fields["quorum"] = max(int(plain.quorum or 1), round(part * q))
            cell = Scenario(**fields)
        except InputError:
            continue
        if cell not in seen:
            seen.add(cell)
            found.append(Candidate(share, fields))
    return found


@dataclass(frozen=True)
class Score:
    """How a candidate did, on validation examples; the best is the largest.

    Attributes:
        time: from when on its evaluations are at the target or above, averaged over seeds; inf: of
            some seed the last one is not.
        accuracy: the last one on validation examples, averaged over seeds.
        test: the same on test examples.
        results: one per seed.
    """

    time: float
    accuracy: float
    test: float
    results: Sequence[Result]

    @property
    def rank(self) -> tuple[float, float]:
        """Return what candidates are sorted by: early, then accurate."""
        return -self.time, self.accuracy

    @classmethod
    def of(cls, results: Sequence[Result], target: float) -> Score:
        """Score a candidate's runs."""
        times = []
        for result in results:
            looks = [
                (t, a)
                for t, a in zip(
                    result.rounds["time"], result.rounds["validation_accuracy"], strict=True
                )
                if not math.isnan(a)
            ]
            kept = math.inf
            for t, accuracy in reversed(looks if result.status == "done" else []):
                if accuracy < target:
                    break
                kept = t
            times.append(kept)
        last = [result.summary["validation_accuracy"] for result in results]
        test = [result.summary["test_accuracy"] for result in results]
        return cls(float(np.mean(times)), float(np.mean(last)), float(np.mean(test)), results)


def run(options: Options, work: Work, target: float, budget: float) -> Study:
    """Search the grid, and return the frontier: the fewer powerful devices, the more time.

    Args:
        options: its settings are not varied.
        work: where to compute.
        target: accuracy on validation examples.
        budget: in time units, as a deadline τ.
    """
    uses(options, "rounds", "seed", "evaluation_interval", rules=1, attacks=1)
    settings = {**BASE, **options.settings}
    for name, given in (("rule", options.rules), ("attack", options.attacks)):
        if given:
            settings[name] = given[0]
    if not 0 < target < 1:
        raise InputError(f"--target: {target!r}; expected an accuracy in (0, 1)")
    if not 0 < budget < math.inf:
        raise InputError(f"--budget: {budget!r}; expected a finite number of time units > 0")
    Scenario(**settings)  # says all that is wrong with what was set
    if not len(datasets.load(settings["data"]).validation):
        raise InputError(f"data: {settings['data']!r} has no validation examples to choose on")
    classified(settings)
    grid = candidates(settings)
    shortest = min((one.fields["deadline"] for one in grid), default=math.inf)
    if not grid:
        raise InputError("plan: every setting of the grid is refused; set fewer fields")
    if budget < shortest:
        raise InputError(
            f"--budget: {budget!r}; not one round of the shortest deadline {shortest:g} fits"
        )
    if budget / shortest > MOST:
        raise InputError(f"--budget: {budget!r}; more than {MOST:,} rounds of {shortest:g}")
    seeds = options.seeds or SEEDS
    alive, tried = grid, []
    scores: dict[int, Score] = {}
    for rung, share in enumerate(RUNGS):
        last = rung == len(RUNGS) - 1
        cells = {
            i: [cell for seed in range(seeds if last else 1)
                if (cell := one.cell(share * budget, seed)) is not None]
            for i, one in enumerate(alive)
        }  # fmt: skip
        found = work.execute([cell for several in cells.values() for cell in several], width=4)
        scores = {
            i: Score.of([found[cell] for cell in several], target)
            for i, several in cells.items()
            if several
        }
        tried.append((share * budget, len(scores), len(alive)))
        if last:
            break
        by_share: dict[str, list[int]] = defaultdict(list)
        for i in cells:
            by_share[f"{alive[i].share:g}"].append(i)
        kept: list[int] = []
        for group in by_share.values():
            # What had no round yet can't be judged yet: it goes on as long as it is cheap.
            unheard = [i for i in group if i not in scores]
            judged = sorted((i for i in group if i in scores), key=lambda i: scores[i].rank)
            kept += unheard + judged[-max(math.ceil(len(judged) / KEPT), 1) :]
        alive = [alive[i] for i in sorted(kept)]
    finalists = [(alive[i], score) for i, score in scores.items()]
    return _study(finalists, tried, target, budget, settings, options, len(grid))


def frontier(finalists: Sequence[tuple[Candidate, Score]]) -> list[tuple[Candidate, Score]]:
    """Return the best of every share of powerful devices, fewest first."""
    best: dict[str, tuple[Candidate, Score]] = {}
    for one, score in finalists:
        key = f"{one.share:g}"
        if key not in best or score.rank > best[key][1].rank:
            best[key] = one, score
    return sorted(best.values(), key=lambda pair: pair[0].share)


def _study(
    finalists: Sequence[tuple[Candidate, Score]],
    tried: Sequence[tuple[float, int, int]],
    target: float,
    budget: float,
    settings: Mapping[str, Any],
    options: Options,
    size: int,
) -> Study:
    best = frontier(finalists)
    reached = [(one, score) for one, score in best if math.isfinite(score.time)]
    rows: list[list[str | float | int]] = []
    ahead = math.inf
    for one, score in best:
        cell = score.results[0].scenario
        worth = score.time < ahead
        ahead = min(ahead, score.time)
        rows.append(
            [
                "" if math.isnan(one.share) else f"{one.share:.0%}",
                score.time, "*" if worth and math.isfinite(score.time) else "",
                score.accuracy, score.test,
                int(cell.sampled or 0), int(cell.quorum or 0), cell.deadline, cell.batch_size,
                cell.rounds, float(np.mean([r.summary["bytes_up"] for r in score.results])) / 1e6,
            ]
        )  # fmt: skip
    fewest = f"{reached[0][0].share:.0%}" if reached and not math.isnan(reached[0][0].share) else ""
    said = (
        f"{fewest + ' powerful devices suffice: ' if fewest else ''}"
        f"after {reached[0][1].time:.0f} time units"
        if reached else
        f"the best of {size} settings ends at {max(score.accuracy for _, score in best):.3f}"
    )  # fmt: skip
    charts = []
    if not any(math.isnan(one.share) for one, _ in best):
        every = [(one.share, score.time) for one, score in finalists if math.isfinite(score.time)]
        charts = [] if not every else [
            Chart("frontier", f"Time to an accuracy of {target:g}", "share of powerful devices",
                  "time units", [
                Line("settings of the last rung", [x for x, _ in every], [y for _, y in every],
                     style="points"),
                Line("the best of each share", [one.share for one, _ in reached],
                     [score.time for _, score in reached]),
            ]),
        ]  # fmt: skip
    charts.append(
        Chart("curves", "Accuracy of the best settings over time", "time units",
              "accuracy on validation examples", [_curve(one, score) for one, score in best])
    )  # fmt: skip
    return Study(
        "plan",
        f"Which devices reach {target:g} within {budget:g} time units?",
        [
            f"{settings['data']}: {size} settings of q, v, τ, s"
            + ("" if "hardware" in settings
               else " and the share of powerful devices (all others weak)")
            + ", by successive halving: of every share of powerful devices the best third goes on, "
            + ", ".join(
                f"{count} at a budget of {spent:.3g}"
                + (f" ({alive - count} more have no round in it, and go on)" if alive > count
                   else "")
                for spent, count, alive in tried
            ) + ". Best: the earliest to reach the target, else the most accurate, on validation "
            "examples (one seed, in the last rung all). Stars mark the frontier: no setting with "
            "fewer powerful devices is as early. The time is that from which on all evaluations "
            f"(every {LOOKS}th part of a run) reach the target. "
            + described(settings, *SEARCHED),
        ],
        options.command(
            f"plan --target {target!r} --budget {budget!r} --data {settings['data']}", "data"
        ),
        [Finding(f"an accuracy of {target:g} is reached within {budget:g} time units",
                 bool(reached), said)],
        charts,
        [
            Table("frontier", "The best settings of each share of powerful devices",
                  ["powerful", "time to target", "frontier", "validation", "test", "q", "v", "τ",
                   "s", "rounds", "MB up"], rows)
        ],
    )  # fmt: skip


def _curve(one: Candidate, score: Score) -> Line:
    first = score.results[0].rounds
    accuracy = np.array([list(r.rounds["validation_accuracy"])[: len(first["time"])]
                         for r in score.results if r.status == "done"])  # fmt: skip
    label = "your devices" if math.isnan(one.share) else f"{one.share:.0%} powerful"
    if not len(accuracy):
        return Line(label, [], [])
    mean = accuracy.mean(axis=0)
    kept = np.flatnonzero(np.isfinite(mean))
    times = np.asarray(first["time"], dtype=float)
    return Line(label, times[kept].tolist(), mean[kept].tolist())
