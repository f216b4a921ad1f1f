"""Which devices, and which settings, reach a target accuracy within a time budget?

An open question of the paper, answered by successive halving over a grid. Candidates are compared
at equal simulated time, and what is best is run again with seeds that had no part in choosing it.
`hgobench.audits.answer` tells what comes out.
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
from scipy.stats import hypergeom

from hgobench import algorithms
from hgobench.data import datasets
from hgobench.errors import InputError
from hgobench.protocol import NUMBER_BYTES
from hgobench.results import Result
from hgobench.scenario import Scenario, check_field
from hgobench.settings import Setting
from hgobench.simulation import clock
from hgobench.simulation.world import World
from hgobench.statistics import interval

from .base import Options, Work, classified, uses

Floats = NDArray[np.float64]
Scores = list["Score | None"]

BASE: dict[str, Any] = {"data": "digits", "learning_rate": 1.0, "workers": 100}
SHARES = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0)  # of powerful devices; the others are weak
SAMPLED = (0.2, 0.8)  # of the workers
QUORUMS = (0.0, 0.25, 0.5)  # of the sampled; at least what the rule needs
DEADLINES = (1.0, 2.0, 4.0, 8.0, 16.0)
WHOLE = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)  # of the time for a whole gradient: τ for given devices
BATCHES = (4, 8, 16)
ATTACKS = ("sign_flip", "foe", "foe[epsilon=1]", "fang", "min_max", "alie[z=1.5]")
SEARCHED = ("sampled", "quorum", "deadline", "batch_size", "learning_rate")
RUNGS = (1 / 9, 1 / 3)  # of the budget, before all of it
KEPT = 3  # one in so many goes on
LOOKS = 20  # evaluations of a run
SEEDS, FRESH = 3, 5  # to choose with, and to check with
MOST = 1_000_000  # rounds of a run
AFFORDABLE = 1_000  # rounds of a run, where the grid's deadlines are ours to choose
ROUNDING = 1e-9  # of a time: a sum of ten times 0.1 is within 1


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        target: accuracy on validation examples.
        budget: simulated time, in time units.
        unit: seconds that a time unit lasts; None: nobody said.
        among: fields of a scenario with the values to search among, instead of the grid's.
        said: the command's words for all this.
    """

    target: float
    budget: float
    unit: float | None = None
    among: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    said: str = ""

    def span(self, time: float) -> str:
        """Write a simulated time: in time units, and in seconds if it is known how long one is."""
        if math.isinf(time):
            return "never"
        seconds = "" if self.unit is None else f" ({time * self.unit:.4g} s)"
        return f"{time:.4g} time unit{'s' * (time != 1)}{seconds}"


@dataclass(frozen=True)
class Candidate:
    """Settings that are tried.

    Attributes:
        share: of powerful devices; NaN: the devices are given.
        fields: of the scenario, but for rounds, attack and seed.
    """

    share: float
    fields: Mapping[str, Any] = field(compare=False)

    def cell(self, rounds: int, attack: str, seed: int) -> Scenario:
        """Return a run of so many rounds."""
        looks = {"rounds": rounds, "evaluation_interval": max(rounds // LOOKS, 1)}
        return Scenario(**{**self.fields, **looks, "attack": attack, "seed": seed})

    @property
    def group(self) -> tuple[Any, ...]:
        """Return what it is compared within: so that each kind of answer keeps a candidate."""
        if math.isnan(self.share):
            return self.fields["sampled"], self.fields["rule"]
        return (self.share,)


@dataclass(frozen=True)
class Score:
    """How a candidate did by some simulated time, in every seed under the worst attack for it.

    Attributes:
        times: (seeds,) from when on all evaluations are at the target or above; inf: the last one
            is not.
        accuracies: (seeds,) the last one on validation examples.
        tests: (seeds,) on test examples, under the same attack.
        up, down: (seeds,) bytes sent until the target is reached, else until the end.
        attacks: the mean of the last accuracy under each attack.
        rounds: the fewest and the most of a run.
        end: when the last round ends at the latest.
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
        """Return what candidates are sorted by: early, then accurate; the best is the largest."""
        return -float(self.times.mean()), float(self.accuracies.mean())

    @property
    def worst(self) -> str:
        """Return the attack with the lowest mean accuracy."""
        return min(self.attacks, key=lambda name: self.attacks[name])

    @property
    def accuracy(self) -> tuple[float, float, float]:
        """Return the mean accuracy and its 95 % interval over seeds (Student's t), in [0, 1]."""
        low, high = interval(self.accuracies)
        return float(self.accuracies.mean()), max(float(low), 0.0), min(float(high), 1.0)

    def reached(self, target: float) -> bool:
        """Say whether the mean accuracy is at the target or above."""
        return self.accuracy[0] >= target

    def sure(self, target: float) -> bool:
        """Say whether the interval, of two seeds or more, lies on one side of the target."""
        _, low, high = self.accuracy
        return len(self.accuracies) > 1 and (low >= target or high < target)

    @classmethod
    def of(cls, results: Mapping[str, Sequence[Result | None]], target: float) -> Score:
        """Score a candidate's runs, by attack, one per seed."""
        each = {name: [_run(one, target) for one in several] for name, several in results.items()}
        table = np.array(list(each.values()))  # (attacks, seeds, 5)
        times, accuracies, tests, up, down = np.moveaxis(table, 2, 0)
        seeds = np.arange(table.shape[1])
        worst = accuracies.argmin(axis=0)
        lengths = [len(one.rounds["time"]) if one else 0 for s in results.values() for one in s]
        ends = [one.rounds["time"][-1] for s in results.values() for one in s if one]
        return cls(
            times.max(axis=0),
            accuracies[worst, seeds],
            tests[worst, seeds],
            up.max(axis=0),
            down.max(axis=0),
            {name: float(row.mean()) for name, row in zip(each, accuracies, strict=True)},
            (min(lengths), max(lengths)),
            max(ends, default=0.0),
            results,
        )


def _run(result: Result | None, target: float) -> tuple[float, float, float, float, float]:
    """Return one run's time to the target, accuracies and bytes up and down."""
    if result is None:
        return math.inf, 0.0, 0.0, 0.0, 0.0
    kept, time, spent = math.inf, result.rounds["time"], len(result.rounds["time"])
    looks = [(i, a) for i, a in enumerate(result.rounds["validation_accuracy"]) if a == a]
    for i, accuracy in reversed(looks if result.status == "done" else []):
        if accuracy < target:
            break
        kept, spent = time[i], i + 1
    up, down = (float(sum(result.rounds[name][:spent])) for name in ("bytes_up", "bytes_down"))
    last = result.summary
    return kept, last["validation_accuracy"], last["test_accuracy"], up, down


@dataclass(frozen=True)
class Row:
    """A setting on the frontier.

    Attributes:
        candidate: it.
        chosen: how it did with the seeds that chose it.
        checked: how it did with fresh ones.
    """

    candidate: Candidate
    chosen: Score
    checked: Score

    @cached_property
    def cell(self) -> Scenario:
        """Return the longest of the checking runs; of no round at all, one of one round."""
        runs = [one for several in self.checked.results.values() for one in several if one]
        if runs:
            return max((one.scenario for one in runs), key=lambda cell: cell.rounds)
        return self.candidate.cell(1, "none", 0)

    @property
    def risks(self) -> tuple[float, float]:
        """Return the sampling risk of a round and of the run (see `risks`)."""
        return risks(self.cell)


def risks(cell: Scenario) -> tuple[float, float]:
    """Return P(a round samples more Byzantine workers than it tolerates), and that of a run.

    With blocks those are `Scenario.sampling_risk` and `Scenario.run_risk`, of the quorum v; an
    algorithm without waits for all that answer, and tolerates the f̂ that its rule is told.
    """
    if algorithms.registry.build(cell.algorithm).partial:
        return cell.sampling_risk, cell.run_risk
    told = cell.tolerated
    risk = float(hypergeom.sf(told, cell.workers, cell.byzantine, cell.sampled))
    return risk, 1.0 if risk >= 1 else -math.expm1(cell.rounds * math.log1p(-risk))


@dataclass(frozen=True)
class Plan:
    """What came out.

    Attributes:
        question: what was asked.
        options: how.
        settings: the fields that are not searched.
        attacks: of which the worst counts.
        default: whether the attacks are the default set.
        size: of the grid.
        refused: why how many settings of it are refused.
        tried: per rung its time, how many candidates had a round in it, how many there were.
        finalists: the candidates of the last rung and how they did.
        rows: the frontier.
        best: which of its rows is recommended.
        seeds, fresh: those to choose with and to check with.
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
        """Say whether the share of powerful devices was searched."""
        return "hardware" not in self.settings


class Clocks:
    """How many rounds a time can hold, by the clock that needs no training."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], tuple[list[float], Iterator[float]]] = {}

    def _of(self, one: Candidate, attack: str, seed: int) -> tuple[list[float], Iterator[float]]:
        silent = "none" if attack == "none" else "crash"
        fields = {**one.fields, "rule": "average", "attack": silent, "seed": seed}
        for name in ("quorum", "tolerated", "scope", "learning_rate", "solver", "schedule"):
            fields.pop(name, None)  # the clock does not depend on them
        start = fields.get("attack_start", 0)
        key = tuple(sorted(fields.items()))
        if key not in self._known:
            one_round = {"rounds": start + 1, "evaluation_interval": 1}
            self._known[key] = [], clock(Scenario(**{**fields, **one_round}))
        return self._known[key]

    def rounds(self, one: Candidate, attack: str, seed: int, time: float) -> int:
        """Return the most rounds that can end within a time.

        Raises:
            InputError: they are too many to be run.
        """
        ends, coming = self._of(one, attack, seed)
        while not ends or ends[-1] <= time * (1 + ROUNDING):
            if len(ends) >= MOST:
                raise InputError(
                    f"budget: {time:g} time units are more than {MOST:,} rounds of "
                    f"{ends[-1] / len(ends):g}"
                )
            ends.append(next(coming))
        return int(np.searchsorted(ends, time * (1 + ROUNDING), side="right"))

    def first(self, one: Candidate, attack: str, seed: int) -> float:
        """Return when the first round ends."""
        ends, coming = self._of(one, attack, seed)
        if not ends:
            ends.append(next(coming))
        return ends[0]


def run_to(
    time: float,
    wanted: Sequence[tuple[Candidate, str, int]],
    work: Work,
    clocks: Clocks,
) -> list[Result | None]:
    """Run candidates, each with an attack and a seed, for as many rounds as end within a time.

    The ledger's clock decides: it has passed the last round's end and would be past `time` with one
    more. Where an attack delays the server beyond the clock that needs no training, the run is made
    again with the rounds that fit.

    Returns:
        The runs; None: not one round fits, or none under attack.
    """

    def cell(one: Candidate, attack: str, seed: int, rounds: int) -> Scenario | None:
        starts = one.fields.get("attack_start", 0) if attack != "none" else 0
        return one.cell(rounds, attack, seed) if rounds > starts else None

    cells = [cell(*each, clocks.rounds(*each, time)) for each in wanted]
    found: dict[Scenario, Result] = {}
    while missing := [one for one in cells if one and one not in found]:
        found |= work.execute(missing)
        for i, one in enumerate(cells):
            ends = found[one].rounds["time"] if one else ()
            fit = sum(end <= time * (1 + ROUNDING) for end in ends)
            if fit < len(ends):
                cells[i] = cell(*wanted[i], fit)
    return [found[one] if one else None for one in cells]


def scored(
    time: float,
    alive: Sequence[Candidate],
    attacks: Sequence[str],
    seeds: Sequence[int],
    target: float,
    work: Work,
    clocks: Clocks,
) -> list[Score | None]:
    """Run candidates to a time and score them; None: not one round fits, with no seed."""
    wanted = [(one, attack, seed) for one in alive for attack in attacks for seed in seeds]
    runs = iter(run_to(time, wanted, work, clocks))
    scores: list[Score | None] = []
    for _ in alive:
        results = {attack: [next(runs) for _ in seeds] for attack in attacks}
        heard = any(one for several in results.values() for one in several)
        scores.append(Score.of(results, target) if heard else None)
    return scores


def halved(alive: Sequence[Candidate], scores: Sequence[Score | None]) -> list[Candidate]:
    """Return the best third of every group, and what has had no round yet.

    That can't be judged yet, and goes on as long as it is cheap.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, one in enumerate(alive):
        groups.setdefault(one.group, []).append(i)
    kept: list[int] = []
    for group in groups.values():
        judged = sorted(
            (score.rank, i) for i in group if (score := scores[i]) is not None
        )  # fmt: skip
        kept += [i for i in group if scores[i] is None]
        kept += [i for _, i in judged[-max(math.ceil(len(judged) / KEPT), 1) :]]
    return [alive[i] for i in sorted(kept)]


def deadlines(settings: Mapping[str, Any], batch: int, budget: float) -> list[float]:
    """Return the grid's τ for given devices: shares of the time that a whole gradient takes.

    That of the median device, for a minibatch of `batch`, with its transfer where that counts.
    """
    world = World.of(Scenario(**settings))
    fleet, d = world.fleet, world.model.dimension
    whole = batch * d / float(np.median(fleet.rates))
    transfer = 2 * fleet.latency + NUMBER_BYTES * d * (1 / fleet.downlink + 1 / fleet.uplink)
    inside = float(np.median(transfer)) if fleet.transfer_counts_towards_deadline else 0.0
    beside = 0.0 if fleet.transfer_counts_towards_deadline else float(np.median(2 * fleet.latency))
    least = budget / AFFORDABLE - beside
    found = [float(f"{inside + share * whole:.2g}") for share in WHOLE]
    return sorted({min(max(one, least), budget) for one in found})


def candidates(
    settings: Mapping[str, Any],
    budget: float = math.inf,
    among: Mapping[str, Sequence[Any]] | None = None,
    rules: Sequence[str] = (),
) -> tuple[list[Candidate], Counter[str]]:
    """Return the grid, and why how many settings of it are refused.

    Args:
        settings: fields that are set, and not varied.
        budget: time units.
        among: values to search among, by field, instead of the grid's.
        rules: to search among.
    """
    workers = int(settings.get("workers", 100))
    among = among or {}

    def values(name: str, otherwise: Sequence[Any]) -> Sequence[Any]:
        return among.get(name) or ([settings[name]] if name in settings else otherwise)

    batches = values("batch_size", BATCHES)
    times: Sequence[float] = DEADLINES
    if "hardware" in settings and not among.get("deadline") and "deadline" not in settings:
        times = deadlines(settings, batches[len(batches) // 2], budget)
    given = "quorum" in settings or "quorum" in among
    found, seen = [], set()
    refused: Counter[str] = Counter()
    for share, q, v, deadline, batch, rate, rule in itertools.product(
        [math.nan] if "hardware" in settings else SHARES,
        values("sampled", [max(round(share * workers), 1) for share in SAMPLED]),
        values("quorum", [None]) if given else QUORUMS,
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
            if given:
                fields["quorum"] = v
            else:
                least = Scenario(**fields).quorum
                fields["quorum"] = max(int(least or 1), round(v * q))
            cell = Scenario(**fields)
        except InputError as error:
            refused[error.problems[0]] += 1
            continue
        if cell not in seen:
            seen.add(cell)
            found.append(Candidate(share, fields))
    return found, refused


def several(
    settings: Sequence[Setting],
) -> tuple[list[Setting], dict[str, tuple[Any, ...]]]:
    """Tell settings of one value from fields with several values, to search among.

    >>> several([Setting("byzantine", [3]), Setting("sampled", [10, 20])])
    ([Setting(field='byzantine', values=[3])], {'sampled': (10, 20)})

    Raises:
        InputError: a field is given twice, or can't be searched.
    """
    single: list[Setting] = []
    among: dict[str, tuple[Any, ...]] = {}
    named: list[str] = []
    problems: list[str] = []
    for setting in settings:
        name, values = setting
        named.append(name)
        if len(values) == 1:
            single.append(setting)
        elif name in SEARCHED:
            among[name] = tuple(dict.fromkeys(check_field(name, value) for value in values))
        else:
            problems.append(
                f"settings: {name}: {len(values)} values; expected one value (several of "
                f"{', '.join(SEARCHED)} only)"
            )
    problems += [f"settings: {name}: given twice" for name in among if named.count(name) > 1]
    if problems:
        raise InputError(problems)
    return single, among


def settled(options: Options, question: Question) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the fields that are not searched, and the attacks of which the worst counts.

    Raises:
        InputError: with all that can't be heeded.
    """
    uses(options, "rounds", "seed", "evaluation_interval", rules=math.inf, attacks=math.inf)
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
    for attack in attacks:  # says all that is wrong with what was set
        Scenario(**{**settings, "rounds": start + 1, "attack": attack, "rule": rules[0]})
    if not len(datasets.load(settings["data"]).validation):
        raise InputError(f"data: {settings['data']!r} has no validation examples to choose on")
    classified(settings)
    return settings, attacks


def search(options: Options, question: Question, work: Work) -> Plan:
    """Search the grid, and check what is best with fresh seeds.

    Args:
        options: its settings are not varied; of its attacks the worst counts (with Byzantine
            workers and none given: of `ATTACKS`); among its rules is searched.
        question: target and budget.
        work: where to compute.

    Raises:
        InputError: with all that is wrong; nothing is computed then.
    """
    settings, attacks = settled(options, question)
    target, budget = question.target, question.budget
    grid, refused = candidates(settings, budget, question.among, options.rules)
    if not grid:
        raise InputError(f"plan: every setting is refused: {reason}" for reason in refused)
    clocks = Clocks()
    affordable(question, grid, attacks[0], clocks)
    seeds = range(options.seeds or SEEDS)
    fresh = range(len(seeds), len(seeds) + (options.seeds or FRESH))

    def tried(time: float, alive: Sequence[Candidate], some: Sequence[int], what: str) -> Scores:
        work.say(f"settings: {len(alive)}, time units: {time:.3g}, {what}: {len(some)}")
        return scored(time, alive, attacks, some, target, work, clocks)

    alive, rungs = grid, []
    for share in RUNGS:
        if len({one.group for one in alive}) == len(alive):
            break  # nothing to halve
        scores = tried(share * budget, alive, seeds[:1], "seeds")
        rungs.append((share * budget, sum(score is not None for score in scores), len(alive)))
        alive = halved(alive, scores)
    scores = tried(budget, alive, seeds, "seeds")
    finalists = [(one, s) for one, s in zip(alive, scores, strict=True) if s is not None]
    rungs.append((budget, len(finalists), len(alive)))
    if not finalists:
        raise InputError(
            f"budget: {budget!r}; no round under attack ends in time: attacks start after "
            f"attack_start={settings.get('attack_start', 0)} rounds"
        )
    picked = frontier(finalists)
    checks = tried(budget, [one for one, _ in picked], fresh, "fresh seeds")
    rows = [
        Row(one, chosen, checked or Score.of({a: [None] * len(fresh) for a in attacks}, target))
        for (one, chosen), checked in zip(picked, checks, strict=True)
    ]
    default = not options.attacks and len(attacks) > 1
    return Plan(
        question, options, settings, attacks, default, len(grid), refused, rungs, finalists,
        rows, recommended(rows), seeds, fresh,
    )  # fmt: skip


def affordable(question: Question, grid: Sequence[Candidate], attack: str, clocks: Clocks) -> None:
    """Refuse a budget in which not one round of any candidate fits, or more than can be run.

    Raises:
        InputError: with the shortest round.
    """
    budget = question.budget
    soonest, first = min((clocks.first(one, attack, 0), i) for i, one in enumerate(grid))
    if budget * (1 + ROUNDING) < soonest:
        fields = grid[first].fields
        raise InputError(
            f"budget: {budget!r}; not one round fits: the shortest takes "
            f"{question.span(soonest)}, with q={fields['sampled']}, τ={fields['deadline']:g}, "
            f"s={fields['batch_size']}"
        )
    shortest = min(one.fields["deadline"] for one in grid)
    if budget / shortest > MOST:
        raise InputError(f"budget: {budget!r}; more than {MOST:,} rounds of {shortest:g}")


def recommended(rows: Sequence[Row]) -> int:
    """Return which row is recommended: the first that reached the target with the seeds that chose
    it, else the best."""
    reached = [i for i, row in enumerate(rows) if math.isfinite(row.chosen.rank[0])]
    return reached[0] if reached else max(range(len(rows)), key=lambda i: rows[i].chosen.rank)


def frontier(finalists: Sequence[tuple[Candidate, Score]]) -> list[tuple[Candidate, Score]]:
    """Return what is worth a look, by the seeds that choose.

    Of every share of powerful devices the best, fewest first. Of given devices, the settings that
    reach the target and of which no other is better in time, bytes up, bytes down or risk without
    being worse in another, earliest first; the best if none reaches it.
    """
    best: dict[float, tuple[Candidate, Score]] = {}
    for one, score in finalists:
        if not math.isnan(one.share) and (
            one.share not in best or score.rank > best[one.share][1].rank
        ):
            best[one.share] = one, score
    if best:
        return [best[share] for share in sorted(best)]

    def costs(one: Candidate, score: Score) -> Floats:
        _, risk = risks(one.cell(max(score.rounds[1], 1), "none", 0))
        return np.array([-score.rank[0], score.up.mean(), score.down.mean(), risk])

    reached = [(pair, costs(*pair)) for pair in finalists if math.isfinite(pair[1].rank[0])]
    kept = [
        pair
        for pair, mine in reached
        if not any((other <= mine).all() and (other < mine).any() for _, other in reached)
    ]
    if not kept:
        return [max(finalists, key=lambda pair: pair[1].rank)]
    return sorted(kept, key=lambda pair: pair[1].rank, reverse=True)
