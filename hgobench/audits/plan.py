"""Which devices, and which settings, reach a target accuracy within a time budget?

An open question of the paper, answered by successive halving over a grid. Candidates are compared
at equal simulated time, and the best are run again with seeds that were not used to choose them.
`hgobench.audits.answer` presents the answer.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench.data import datasets
from hgobench.errors import InputError
from hgobench.protocol import NUMBER_BYTES
from hgobench.results import Result
from hgobench.scenario import Scenario, check_field, risks
from hgobench.settings import Setting
from hgobench.simulation import clock
from hgobench.simulation.world import World
from hgobench.statistics import interval

from .base import Options, Work, reject_unused_options, require_classes

Floats = NDArray[np.float64]
Scores = list["Score | None"]

BASE: dict[str, Any] = {"data": "digits", "learning_rate": 1.0, "workers": 100}
SHARES = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0)  # of powerful devices; the others are weak
SAMPLED = (0.2, 0.8)  # of the workers
QUORUMS = (0.0, 0.25, 0.5)  # of the sampled; at least what the rule needs
DEADLINES = (1.0, 2.0, 4.0, 8.0, 16.0)
DEADLINE_SHARES = (
    1 / 8,
    1 / 4,
    1 / 2,
    1.0,
    2.0,
)  # τ for given devices, over the time of a gradient
BATCHES = (4, 8, 16)
ATTACKS = ("sign_flip", "foe", "foe[epsilon=1]", "fang", "min_max", "alie[z=1.5]")
SEARCHED = ("sampled", "quorum", "deadline", "batch_size", "learning_rate")
RUNGS = (1 / 9, 1 / 3)  # of the budget, before all of it
HALVING = 3  # one in three candidates goes on
EVALUATIONS = 20  # of a run
SEEDS, FRESH = 3, 5  # to choose with, and to check with
LONGEST = 1_000_000  # rounds of a run
AFFORDABLE = 1_000  # rounds of a run, if the grid's deadlines are chosen here
ROUNDING = 1e-9  # relative, of a time: ten times 0.1 is within 1


@dataclass(frozen=True)
class Question:
    """The question.

    Attributes:
        target: accuracy on validation examples.
        budget: simulated time, in time units.
        unit: seconds that a time unit lasts; None: unknown.
        among: fields of a scenario with the values to search among, instead of the grid's.
        words: the command's options that state it.
    """

    target: float
    budget: float
    unit: float | None = None
    among: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    words: str = ""

    def span(self, time: float) -> str:
        """Write a simulated time: in time units, and in seconds if the unit is known."""
        if math.isinf(time):
            return "never"
        seconds = "" if self.unit is None else f" ({time * self.unit:.4g} s)"
        return f"{time:.4g} time unit{'s' * (time != 1)}{seconds}"


@dataclass(frozen=True)
class Candidate:
    """A point of the grid.

    Attributes:
        share: of powerful devices; NaN: the devices are given.
        fields: of the scenario, without rounds, attack and seed.
    """

    share: float
    fields: Mapping[str, Any] = field(compare=False)

    def cell(self, rounds: int, attack: str, seed: int) -> Scenario:
        """Return the scenario of a run."""
        lengths = {"rounds": rounds, "evaluation_interval": max(rounds // EVALUATIONS, 1)}
        return Scenario(**{**self.fields, **lengths, "attack": attack, "seed": seed})

    @property
    def group(self) -> tuple[Any, ...]:
        """The group in which it is compared, so that each kind of answer keeps a candidate."""
        if math.isnan(self.share):
            return self.fields["sampled"], self.fields["rule"]
        return (self.share,)


@dataclass(frozen=True)
class Score:
    """A candidate's results at some simulated time, in every seed under its worst attack.

    Attributes:
        times: (seeds,) time from which on all evaluations reach the target; inf: the last does not.
        accuracies: (seeds,) the last accuracy on validation examples.
        tests: (seeds,) the last accuracy on test examples, under the same attack.
        up, down: (seeds,) bytes sent until the target is reached, else until the end.
        attacks: the mean of the last accuracy under each attack.
        rounds: the fewest and the most rounds of a run.
        end: the latest end of a last round.
        results: by attack, one per seed; None: not one round fits.
    """

    times: Floats
    accuracies: Floats
    tests: Floats
    up: Floats
    down: Floats
    attacks: Mapping[str, float]
    rounds: tuple[int, int]
    end: float
    results: Mapping[str, Sequence[Result | None]]

    @property
    def rank(self) -> tuple[float, float]:
        """The key that candidates are sorted by: early, then accurate; the best is the largest."""
        return -float(self.times.mean()), float(self.accuracies.mean())

    @property
    def worst(self) -> str:
        """The attack with the lowest mean accuracy."""
        return min(self.attacks, key=lambda name: self.attacks[name])

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """The mean accuracy and its 95 % interval over seeds (Student's t), in [0, 1]."""
        low, high = interval(self.accuracies)
        return float(self.accuracies.mean()), max(float(low), 0.0), min(float(high), 1.0)

    def reached(self, target: float) -> bool:
        """Return whether the mean accuracy reaches the target."""
        return self.accuracy[0] >= target

    def sure(self, target: float) -> bool:
        """Return whether the interval (of two or more seeds) lies on one side of the target."""
        _, low, high = self.accuracy
        return len(self.accuracies) > 1 and (low >= target or high < target)

    @classmethod
    def of(cls, results: Mapping[str, Sequence[Result | None]], target: float) -> Score:
        """Score a candidate's runs, by attack, one per seed."""
        numbers = {name: [_run(run, target) for run in runs] for name, runs in results.items()}
        table = np.array(list(numbers.values()))  # (attacks, seeds, 5)
        times, accuracies, tests, up, down = np.moveaxis(table, 2, 0)
        seeds = np.arange(table.shape[1])
        worst = accuracies.argmin(axis=0)
        lengths = [len(run.rounds["time"]) if run else 0 for s in results.values() for run in s]
        ends = [run.rounds["time"][-1] for s in results.values() for run in s if run]
        return cls(
            times.max(axis=0),
            accuracies[worst, seeds],
            tests[worst, seeds],
            up.max(axis=0),
            down.max(axis=0),
            {name: float(row.mean()) for name, row in zip(numbers, accuracies, strict=True)},
            (min(lengths), max(lengths)),
            max(ends, default=0.0),
            results,
        )


def _run(result: Result | None, target: float) -> tuple[float, float, float, float, float]:
    """Return one run's time to the target, accuracies and bytes up and down."""
    if result is None:
        return math.inf, 0.0, 0.0, 0.0, 0.0
    reached, time, length = math.inf, result.rounds["time"], len(result.rounds["time"])
    evaluations = [(i, a) for i, a in enumerate(result.rounds["validation_accuracy"]) if a == a]
    for i, accuracy in reversed(evaluations if result.status == "done" else []):
        if accuracy < target:
            break
        reached, length = time[i], i + 1
    up, down = (float(sum(result.rounds[name][:length])) for name in ("bytes_up", "bytes_down"))
    last = result.summary
    return reached, last["validation_accuracy"], last["test_accuracy"], up, down


@dataclass(frozen=True)
class Row:
    """A setting on the frontier.

    Attributes:
        candidate: the setting.
        chosen: its score with the seeds that chose it.
        checked: its score with fresh seeds.
    """

    candidate: Candidate
    chosen: Score
    checked: Score

    @cached_property
    def cell(self) -> Scenario:
        """The longest of the checking runs; if there is none, a run of one round."""
        runs = [run for results in self.checked.results.values() for run in results if run]
        if runs:
            return max((run.scenario for run in runs), key=lambda cell: cell.rounds)
        return self.candidate.cell(1, "none", 0)

    @property
    def risks(self) -> tuple[float, float]:
        """The sampling risk of a round and of the run (see `risks`)."""
        return risks(self.cell)


@dataclass(frozen=True)
class Plan:
    """The answer.

    Attributes:
        question: the question.
        options: the user's.
        settings: the fields that are not searched.
        attacks: the attacks, of which the worst counts.
        default: whether the attacks are the default set.
        size: number of settings in the grid.
        refused: numbers of refused settings, by reason.
        tried: of each rung its time, and the numbers of candidates with a round in it and in all.
        finalists: the candidates of the last rung and their scores.
        rows: the frontier.
        best: the position of the recommended row.
        seeds, fresh: the seeds to choose with and to check with.
    """

    question: Question
    options: Options
    settings: Mapping[str, Any]
    attacks: Sequence[str]
    default: bool
    size: int
    refused: Mapping[str, int]
    tried: Sequence[tuple[float, int, int]]
    finalists: Sequence[tuple[Candidate, Score]]
    rows: Sequence[Row]
    best: int
    seeds: range
    fresh: range

    @property
    def shares(self) -> bool:
        """Whether the share of powerful devices was searched."""
        return "hardware" not in self.settings


class Clocks:
    """Counts the rounds that end within a time, by the clock that needs no training."""

    def __init__(self) -> None:
        self._ends: dict[tuple[Any, ...], tuple[list[float], Iterator[float]]] = {}

    def _rounds_of(
        self, candidate: Candidate, attack: str, seed: int
    ) -> tuple[list[float], Iterator[float]]:
        silent = "none" if attack == "none" else "crash"
        fields = {**candidate.fields, "rule": "average", "attack": silent, "seed": seed}
        for name in ("quorum", "tolerated", "scope", "learning_rate", "solver", "schedule"):
            fields.pop(name, None)  # the clock does not depend on them
        start = fields.get("attack_start", 0)
        key = tuple(sorted(fields.items()))
        if key not in self._ends:
            one_round = {"rounds": start + 1, "evaluation_interval": 1}
            self._ends[key] = [], clock(Scenario(**{**fields, **one_round}))
        return self._ends[key]

    def rounds(self, candidate: Candidate, attack: str, seed: int, time: float) -> int:
        """Return the number of rounds that can end within a time.

        Raises:
            InputError: they are more than `LONGEST`.
        """
        ends, coming = self._rounds_of(candidate, attack, seed)
        while not ends or ends[-1] <= time * (1 + ROUNDING):
            if len(ends) >= LONGEST:
                raise InputError(
                    f"budget: {time:g} time units are more than {LONGEST:,} rounds of "
                    f"{ends[-1] / len(ends):g}"
                )
            ends.append(next(coming))
        return int(np.searchsorted(ends, time * (1 + ROUNDING), side="right"))

    def first(self, candidate: Candidate, attack: str, seed: int) -> float:
        """Return the time at which the first round ends."""
        ends, coming = self._rounds_of(candidate, attack, seed)
        if not ends:
            ends.append(next(coming))
        return ends[0]


def run_to(
    time: float,
    runs: Sequence[tuple[Candidate, str, int]],
    work: Work,
    clocks: Clocks,
) -> list[Result | None]:
    """Run candidates, each with an attack and a seed, for as many rounds as end within a time.

    The ledger's clock decides: all rounds end by `time`, and one more would not. If an attack
    delays the server beyond the clock that needs no training, the run is repeated with the rounds
    that fit.

    Returns:
        The results; None: not one round fits, or none under attack.
    """

    def cell(candidate: Candidate, attack: str, seed: int, rounds: int) -> Scenario | None:
        starts = candidate.fields.get("attack_start", 0) if attack != "none" else 0
        return candidate.cell(rounds, attack, seed) if rounds > starts else None

    cells = [cell(*run, clocks.rounds(*run, time)) for run in runs]
    results: dict[Scenario, Result] = {}
    while missing := [run for run in cells if run and run not in results]:
        results |= work.execute(missing)
        for i, run in enumerate(cells):
            ends = results[run].rounds["time"] if run else ()
            fit = sum(end <= time * (1 + ROUNDING) for end in ends)
            if fit < len(ends):
                cells[i] = cell(*runs[i], fit)
    return [results[run] if run else None for run in cells]


def scored(
    time: float,
    alive: Sequence[Candidate],
    attacks: Sequence[str],
    seeds: Sequence[int],
    target: float,
    work: Work,
    clocks: Clocks,
) -> list[Score | None]:
    """Run candidates to a time and score them; None: not one round fits, in any seed."""
    calls = [
        (candidate, attack, seed) for candidate in alive for attack in attacks for seed in seeds
    ]
    runs = iter(run_to(time, calls, work, clocks))
    scores: list[Score | None] = []
    for _ in alive:
        results = {attack: [next(runs) for _ in seeds] for attack in attacks}
        played = any(run for by_seed in results.values() for run in by_seed)
        scores.append(Score.of(results, target) if played else None)
    return scores


def halved(alive: Sequence[Candidate], scores: Sequence[Score | None]) -> list[Candidate]:
    """Return the best third of every group, and the candidates without a round so far.

    These can't be judged yet, and go on, which is cheap.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, candidate in enumerate(alive):
        groups.setdefault(candidate.group, []).append(i)
    survivors: list[int] = []
    for group in groups.values():
        judged = sorted(
            (score.rank, i) for i in group if (score := scores[i]) is not None
        )  # fmt: skip
        survivors += [i for i in group if scores[i] is None]
        survivors += [i for _, i in judged[-max(math.ceil(len(judged) / HALVING), 1) :]]
    return [alive[i] for i in sorted(survivors)]


def deadlines(settings: Mapping[str, Any], batch: int, budget: float) -> list[float]:
    """Return the grid's τ for given devices: multiples of the time of a whole gradient.

    The time is the median device's, for a minibatch of `batch`, with transfer if that counts.
    """
    world = World.of(Scenario(**settings))
    fleet, d = world.fleet, world.model.dimension
    gradient = batch * d / float(np.median(fleet.rates))
    transfer = 2 * fleet.latency + NUMBER_BYTES * d * (1 / fleet.downlink + 1 / fleet.uplink)
    inside = float(np.median(transfer)) if fleet.transfer_counts_towards_deadline else 0.0
    outside = 0.0 if fleet.transfer_counts_towards_deadline else float(np.median(2 * fleet.latency))
    shortest = budget / AFFORDABLE - outside
    times = [float(f"{inside + share * gradient:.2g}") for share in DEADLINE_SHARES]
    return sorted({min(max(deadline, shortest), budget) for deadline in times})


def candidates(
    settings: Mapping[str, Any],
    budget: float = math.inf,
    among: Mapping[str, Sequence[Any]] | None = None,
    rules: Sequence[str] = (),
) -> tuple[list[Candidate], Counter[str]]:
    """Return the grid, and the numbers of refused settings by reason.

    Args:
        settings: fields that are set, and not searched.
        budget: time units.
        among: values to search, by field, instead of the grid's.
        rules: the rules to search.
    """
    workers = int(settings.get("workers", 100))
    among = among or {}

    def values(name: str, otherwise: Sequence[Any]) -> Sequence[Any]:
        return among.get(name) or ([settings[name]] if name in settings else otherwise)

    batches = values("batch_size", BATCHES)
    times: Sequence[float] = DEADLINES
    if "hardware" in settings and not among.get("deadline") and "deadline" not in settings:
        times = deadlines(settings, batches[len(batches) // 2], budget)
    own_quorum = "quorum" in settings or "quorum" in among
    grid, seen = [], set()
    refused: Counter[str] = Counter()
    for share, q, v, deadline, batch, rate, rule in itertools.product(
        [math.nan] if "hardware" in settings else SHARES,
        values("sampled", [max(round(share * workers), 1) for share in SAMPLED]),
        values("quorum", [None]) if own_quorum else QUORUMS,
        values("deadline", times),
        batches,
        values("learning_rate", [BASE["learning_rate"]]),
        rules or values("rule", [Scenario.rule]),
    ):
        fields = {
            **settings, "sampled": q, "deadline": deadline, "batch_size": batch,
            "learning_rate": rate, "rule": rule,
        }  # fmt: skip
        if not math.isnan(share):
            fields["hardware"] = f"mix[weak={1 - share:g},average=0.0,powerful={share:g}]"
        try:
            if own_quorum:
                fields["quorum"] = v
            else:
                minimum = Scenario(**fields).quorum
                fields["quorum"] = max(int(minimum or 1), round(v * q))
            cell = Scenario(**fields)
        except InputError as error:
            refused[error.problems[0]] += 1
            continue
        if cell not in seen:
            seen.add(cell)
            grid.append(Candidate(share, fields))
    return grid, refused


def several(
    settings: Sequence[Setting],
) -> tuple[list[Setting], dict[str, tuple[Any, ...]]]:
    """Separate settings with one value from those with several, which are searched.

    >>> several([Setting("byzantine", [3]), Setting("sampled", [10, 20])])
    ([Setting(field='byzantine', values=[3])], {'sampled': (10, 20)})

    Raises:
        InputError: a field is given twice, or can't be searched.
    """
    single: list[Setting] = []
    among: dict[str, tuple[Any, ...]] = {}
    names: list[str] = []
    problems: list[str] = []
    for setting in settings:
        name, values = setting
        names.append(name)
        if len(values) == 1:
            single.append(setting)
        elif name in SEARCHED:
            among[name] = tuple(dict.fromkeys(check_field(name, value) for value in values))
        else:
            problems.append(
                f"settings: {name}: {len(values)} values; expected one value (several of "
                f"{', '.join(SEARCHED)} only)"
            )
    problems += [f"settings: {name}: given twice" for name in among if names.count(name) > 1]
    if problems:
        raise InputError(problems)
    return single, among


def checked_settings(
    options: Options, question: Question
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the fields that are not searched, and the attacks, of which the worst counts.

    Raises:
        InputError: an option is not used, or a value is refused.
    """
    reject_unused_options(
        options, "rounds", "seed", "evaluation_interval", rules=math.inf, attacks=math.inf
    )
    target, budget = question.target, question.budget
    settings = {**BASE, **options.settings}
    for name in question.among:
        settings.pop(name, None)
    if not 0 < target < 1:
        raise InputError(f"target: {target!r}; expected an accuracy in (0, 1)")
    if not 0 < budget < math.inf:
        raise InputError(f"budget: {budget!r}; expected a finite number of time units > 0")
    byzantine = settings.get("byzantine", 0)
    attacks = options.attacks or (ATTACKS if byzantine else ("none",))
    start = int(settings.get("attack_start", 0))
    rules = options.rules or (settings.get("rule", Scenario.rule),)
    for attack in attacks:  # raises InputError with all that is wrong
        Scenario(**{**settings, "rounds": start + 1, "attack": attack, "rule": rules[0]})
    if not len(datasets.load(settings["data"]).validation):
        raise InputError(f"data: {settings['data']!r} has no validation examples to choose on")
    require_classes(settings)
    return settings, attacks


def search(options: Options, question: Question, work: Work) -> Plan:
    """Search the grid, and check the best settings with fresh seeds.

    Args:
        options: the user's: settings are not searched; of the attacks the worst counts (with
            Byzantine workers and no attacks given, of `ATTACKS`); rules are searched.
        question: target and budget.
        work: where to compute.

    Raises:
        InputError: with all problems; nothing is computed then.
    """
    settings, attacks = checked_settings(options, question)
    target, budget = question.target, question.budget
    grid, refused = candidates(settings, budget, question.among, options.rules)
    if not grid:
        raise InputError(f"plan: every setting is refused: {reason}" for reason in refused)
    clocks = Clocks()
    affordable(question, grid, attacks[0], clocks)
    seeds = range(options.seeds or SEEDS)
    fresh = range(len(seeds), len(seeds) + (options.seeds or FRESH))

    def rung(time: float, alive: Sequence[Candidate], seeds: Sequence[int], kind: str) -> Scores:
        work.say(f"settings: {len(alive)}, time units: {time:.3g}, {kind}: {len(seeds)}")
        return scored(time, alive, attacks, seeds, target, work, clocks)

    alive, rungs = grid, []
    for share in RUNGS:
        if len({candidate.group for candidate in alive}) == len(alive):
            break  # nothing to halve
        scores = rung(share * budget, alive, seeds[:1], "seeds")
        rungs.append((share * budget, sum(score is not None for score in scores), len(alive)))
        alive = halved(alive, scores)
    scores = rung(budget, alive, seeds, "seeds")
    finalists = [
        (candidate, s) for candidate, s in zip(alive, scores, strict=True) if s is not None
    ]
    rungs.append((budget, len(finalists), len(alive)))
    if not finalists:
        raise InputError(
            f"budget: {budget!r}; no round under attack ends in time: attacks start after "
            f"attack_start={settings.get('attack_start', 0)} rounds"
        )
    best = frontier(finalists)
    checks = rung(budget, [candidate for candidate, _ in best], fresh, "fresh seeds")
    rows = [
        Row(
            candidate,
            chosen,
            checked or Score.of({a: [None] * len(fresh) for a in attacks}, target),
        )
        for (candidate, chosen), checked in zip(best, checks, strict=True)
    ]
    default = not options.attacks and len(attacks) > 1
    return Plan(
        question, options, settings, attacks, default, len(grid), refused, rungs, finalists,
        rows, recommended(rows), seeds, fresh,
    )  # fmt: skip


def affordable(question: Question, grid: Sequence[Candidate], attack: str, clocks: Clocks) -> None:
    """Check that a budget holds a round of some candidate, and no more than can be run.

    Raises:
        InputError: it does not; with the shortest round.
    """
    budget = question.budget
    soonest, first = min(
        (clocks.first(candidate, attack, 0), i) for i, candidate in enumerate(grid)
    )
    if budget * (1 + ROUNDING) < soonest:
        fields = grid[first].fields
        raise InputError(
            f"budget: {budget!r}; not one round fits: the shortest takes "
            f"{question.span(soonest)}, with q={fields['sampled']}, τ={fields['deadline']:g}, "
            f"s={fields['batch_size']}"
        )
    shortest = min(candidate.fields["deadline"] for candidate in grid)
    if budget / shortest > LONGEST:
        raise InputError(f"budget: {budget!r}; more than {LONGEST:,} rounds of {shortest:g}")


def recommended(rows: Sequence[Row]) -> int:
    """Return the position of the recommended row.

    It is the first that reached the target with the seeds that chose it, else the best.
    """
    reached = [i for i, row in enumerate(rows) if math.isfinite(row.chosen.rank[0])]
    return reached[0] if reached else max(range(len(rows)), key=lambda i: rows[i].chosen.rank)


def frontier(finalists: Sequence[tuple[Candidate, Score]]) -> list[tuple[Candidate, Score]]:
    """Return the settings that are checked, by the seeds that choose.

    If the share of powerful devices is searched: the best setting of each share, fewest first. Else
    the settings that reach the target and that no other dominates in time, bytes up, bytes down and
    risk, earliest first; if none reaches it, the best one.
    """
    best: dict[float, tuple[Candidate, Score]] = {}
    for candidate, score in finalists:
        if not math.isnan(candidate.share) and (
            candidate.share not in best or score.rank > best[candidate.share][1].rank
        ):
            best[candidate.share] = candidate, score
    if best:
        return [best[share] for share in sorted(best)]

    def costs(candidate: Candidate, score: Score) -> Floats:
        _, risk = risks(candidate.cell(max(score.rounds[1], 1), "none", 0))
        return np.array([-score.rank[0], score.up.mean(), score.down.mean(), risk])

    reached = [(pair, costs(*pair)) for pair in finalists if math.isfinite(pair[1].rank[0])]
    undominated = [
        pair
        for pair, own in reached
        if not any((others <= own).all() and (others < own).any() for _, others in reached)
    ]
    if not undominated:
        return [max(finalists, key=lambda pair: pair[1].rank)]
    return sorted(undominated, key=lambda pair: pair[1].rank, reverse=True)
