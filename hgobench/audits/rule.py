"""One rule from every side: laws, faults, κ̂, breakdown, its worst case, whom it leaves out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import Any

import numpy as np

from hgobench import aggregators
from hgobench.aggregators import Answer, Rule, ServerView
from hgobench.engines.measured import Task
from hgobench.errors import InputError
from hgobench.evaluation.evaluate import evaluate
from hgobench.evaluation.plan import Plan
from hgobench.evaluation.verdict import Verdict, ranked
from hgobench.lazy import Tensor, torch
from hgobench.leaderboard import Row
from hgobench.metrics.influence import influences, unlike
from hgobench.report.page import Cell, Chart, Finding, Line, Page, Table, study
from hgobench.report.paying import who_pays
from hgobench.scenario import Scenario
from hgobench.session import check as check_outcome
from hgobench.simulation.cell import Cell as Run
from hgobench.simulation.runs import stacks_of
from hgobench.simulation.world import World
from hgobench.statistics import Floats
from hgobench.testing.rules import try_rule
from hgobench.theory.kappa import proven_kappa, search_kappa
from hgobench.timing import cpu_seconds

from .base import RULESET, Options, Work, merge_settings, reject_unused_options, require_classes
from .breakdown import accuracy

BASE: dict[str, Any] = {
    "data": "digits",
    "model": "softmax",
    "partition": "dirichlet[alpha=0.3]",
    "workers": 20,
    "byzantine": 4,
    "batch_size": 8,
    "rounds": 100,
    "learning_rate": 0.5,
    "evaluation_interval": 20,
}
RATES = (0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0, 4.0)
SELECTION, FRESH = (0, 1), 8  # seeds that choose, and how many report
KAPPA_WORKERS = 15
RECORDED = (5, 20, 40, 60, 80)  # rounds in which influences are taken
SHAPES = ((20, 10_000), (20, 100_000), (80, 10_000))  # workers and coordinates
LOSS = 0.05  # of accuracy, that faults may cost
GROUPS = ("least", "middle", "most")


def check(options: Options) -> None:
    """Refuse what the audit does not use.

    Raises:
        InputError: with all problems.
    """
    reject_unused_options(options, "attack", "seed", rules=1)
    if len(options.rules) != 1:
        raise InputError("rule: none; expected one: hgobench audit rule NAME")
    require_classes(options.settings)
    Scenario(**merge_settings(BASE, options.settings), rule=options.rules[0])


def run(options: Options, work: Work) -> Page:
    """Look at one rule from every side."""
    check(options)
    (rule,) = options.rules
    row = Scenario(**merge_settings(BASE, options.settings), rule=rule)
    named = [{"rule": rule}, row.to_dict()]
    work.say("laws, κ̂, cost, and whom the rule leaves out")
    laws, kappas, prices, used = work.measure(
        [
            Task(lawful, {"rule": rule}, named),
            Task(kappa_curve, {"rule": rule, "workers": KAPPA_WORKERS}, named),
            Task(cost, {"rule": rule, "shapes": [list(shape) for shape in SHAPES]}, named),
            Task(use, {"scenario": row.replace(attack="none").to_dict()}, named),
        ]
    )
    verdict = _evaluated(row, options, work)
    cells = _cells(verdict)
    results = work.execute([*chain.from_iterable(cells.values())])
    trained = {key: [accuracy(results[cell]) for cell in some] for key, some in cells.items()}
    return page(Audited(rule, row, laws, kappas, prices, used, verdict, trained), options)


@dataclass(frozen=True)
class Audited:
    """The measurements.

    Attributes:
        rule: its name.
        row: the scenario that it was attacked in.
        laws: of each law in each scope [law, scope, outcome, detail].
        kappas: [f, κ̂ or None, proven κ or None]; or why κ is undefined.
        prices: [n, d, milliseconds, those of the average].
        used: of each worker, what `use` returns.
        verdict: of the evaluation.
        trained: ("tolerated", f̂) and (member, f) to the accuracies of its seeds.
    """

    rule: str
    row: Scenario
    laws: Sequence[Sequence[str]]
    kappas: Sequence[Sequence[float | None]] | str
    prices: Sequence[Sequence[float]]
    used: Mapping[str, Any]
    verdict: Verdict
    trained: Mapping[tuple[str, int], Sequence[float]]

    @cached_property
    def board_row(self) -> Row:
        """The rule's row on a board of its own."""
        ((row,),) = (board.rows for board in ranked([self.verdict]))
        return row


# Measurements


def lawful(rule: str) -> list[list[str]]:
    """Return the verdict of every law in every scope."""
    return [[v.law, v.scope, v.outcome, v.detail] for v in try_rule(rule)]


def kappa_curve(rule: str, workers: int) -> list[list[float | None]] | str:
    """Return [f, κ̂, proven κ] for every f that the rule takes; or why there is none."""
    curve: list[list[float | None]] = []
    for f in range(1, (workers - 1) // 2 + 1):
        try:
            if aggregators.build(rule, f=f).minimum > workers:
                break
            ratio = search_kappa(rule, workers, f, generations=20).ratio
        except InputError as error:
            return "; ".join(error.problems)
        curve.append([f, ratio if math.isfinite(ratio) else None, proven_kappa(rule, workers, f)])
    return curve


def cost(rule: str, shapes: Sequence[Sequence[int]]) -> list[list[float]]:
    """Return [n, d, milliseconds of CPU time, those of the average], medians."""
    prices = []
    for n, d in shapes:
        values = torch.from_numpy(np.random.default_rng(0).standard_normal((n, d), np.float32))
        made = aggregators.build(rule, f=max((n - 3) // 5, 0))
        root = _Root(values) if "root" in made.needs else None
        view = ServerView(
            root=root, honest=np.ones(n, dtype=bool) if "honest" in made.needs else None
        )
        calls = partial(made, values, None, view), partial(aggregators.build("average"), values)
        prices.append([n, d, *(1e3 * cpu_seconds(call) for call in calls)])
    return prices


class _Root:
    """Clean data that know the mean of what was sent; only what they cost matters."""

    rate = 1.0

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def gradient(self, examples: int) -> Tensor:
        return self.values.mean(dim=0)

    def descent(self, updates: Tensor, examples: int) -> Tensor:
        return updates.sum(dim=1)


class _Listener:
    """A rule that also says whose values it used, in some rounds."""

    def __init__(self, rule: Rule, rounds: Sequence[int]) -> None:
        self.rule, self.rounds = rule, rounds
        self.heard: list[tuple[Any, Floats]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rule, name)

    def answer(
        self, values: Tensor, present: Tensor | None = None, view: ServerView | None = None
    ) -> Answer:
        assert view is not None
        if view.round in self.rounds:
            shares = influences(self.rule, values, present, view)
            self.heard.append((view.workers, shares * len(shares)))
        return self.rule.answer(values, present, view)


def use(scenario: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """Return, of each worker: its speed, how unlike its labels are, and how far it is followed.

    1: as far as by the average of those that answer; None: it never answered in those rounds.
    Nobody attacks.
    """
    row = Scenario(**scenario)
    world = World.of(row)
    cell = Run(row, world)
    if cell.status != "done":
        raise RuntimeError(cell.reason)
    listener = _Listener(cell.rule, [k for k in RECORDED if k <= row.rounds])
    cell.server = replace(cell.server, rule=listener)  # type: ignore[arg-type]  # it has `answer`
    cell.defence = (id(cell),)
    (stack,) = stacks_of([cell], world, None)
    for k in range(1, row.rounds + 1):
        stack.play(k)
    shares: list[list[float]] = [[] for _ in range(row.workers)]
    for workers, followed in listener.heard:
        for worker, share in zip(workers.tolist(), followed.tolist(), strict=True):
            if math.isfinite(share):  # else nothing shows whose values were used
                shares[worker].append(share)
    labels = unlike(world.held)
    return {
        "speed": world.rates.tolist(),
        "unlike": labels.tolist(),
        "followed": [math.fsum(some) / len(some) if some else None for some in shares],
    }


# Runs


def _evaluated(row: Scenario, options: Options, work: Work) -> Verdict:
    """Return what the strongest attacks do to the rule."""
    fresh = tuple(range(100, 100 + (options.seeds or FRESH)))
    plan = Plan(selection_seeds=SELECTION, fresh_seeds=fresh, learning_rates=RATES)
    done = evaluate([row], plan, work.session, RULESET, time_limit=600.0, for_boards=False)
    check_outcome(done.outcome)
    work.failed.extend(done.outcome.failed)
    (verdict,) = done.verdicts
    return verdict


def _tolerated(row: Scenario) -> list[int]:
    """Return the f̂ to try: none, too few, right, too many."""
    most = (row.sampled - 1) // 2
    return sorted({0, row.byzantine // 2, row.byzantine, min(2 * row.byzantine, most)})


def _attackers(row: Scenario) -> list[int]:
    """Return the f to try."""
    most = (row.workers - 1) // 2
    return sorted({round(share * most) for share in (0.25, 0.5, 0.75, 1.0)} - {0})


def _cells(verdict: Verdict) -> dict[tuple[str, int], list[Scenario]]:
    """Return the cells in which the server is told another f̂, and those with other f."""
    selection = verdict.selection
    seeds = selection.plan.fresh_seeds[:4]
    cells: dict[tuple[str, int], list[Scenario]] = {}
    wanted = [("tolerated", f) for f in _tolerated(selection.row)]
    wanted += [(name, f) for name in selection.reported for f in _attackers(selection.row)]
    for name, f in wanted:
        told = name == "tolerated"
        under = selection.under(verdict.worst if told else name, seeds)
        try:
            cells[name, f] = [
                cell.replace(tolerated=f) if told else cell.replace(byzantine=f) for cell in under
            ]
        except InputError:  # the rule or its quorum does not take as many
            continue
    return cells


# What is told


def page(audited: Audited, options: Options) -> Page:
    """Return the page of the results."""
    selection = audited.verdict.selection
    row = selection.row
    return study(
        "rule",
        f"{audited.rule}, from every side",
        [
            f"Trained on {row.data}, {row.partition}, profile {row.hardware}: {row.workers} "
            f"workers, {row.byzantine} of them Byzantine, {row.algorithm} in scope {row.scope}, "
            f"{row.rounds} rounds, minibatches of {row.batch_size}.",
            f"The strongest attack is looked for as docs/evaluation.md says, on "
            f"{len(selection.plan.selection_seeds)} seeds and validation examples; accuracies are "
            f"those on test examples of {len(selection.plan.fresh_seeds)} fresh seeds, with "
            f"learning rate {row.learning_rate:g}, the best of {len(RATES)} under attack.",
        ],
        options.command("audit rule"),
        _findings(audited),
        _charts(audited),
        _tables(audited),
        _answer(audited),
        _content(audited),
    )


def _findings(audited: Audited) -> list[Finding]:
    failed = [f"{law} ({scope})" for law, scope, outcome, _ in audited.laws if outcome == "fail"]
    flags, clean = audited.board_row.flags, audited.verdict.selection.clean
    low = audited.verdict.selection.lowest["fault"]
    findings = [
        Finding(
            "It obeys the laws of rules",
            not failed,
            f"{sum(law[2] == 'pass' for law in audited.laws)} hold"
            + (f"; broken: {', '.join(failed)}" if failed else ""),
        ),
        Finding(
            f"Faults (crash, zeros, NaN, huge values, flipped bits, ..) cost less than {LOSS:g}",
            low >= clean - LOSS,
            f"accuracy {low:.3f} under the worst of them, {clean:.3f} without, "
            "on validation examples",
        ),
        Finding(
            "No flag is raised",
            not flags,
            "; ".join(f"{name}: {why}" for name, why in flags.items()) or "none",
        ),
    ]
    if isinstance(audited.kappas, str):
        why = audited.kappas.removeprefix("rule: ")
        findings.append(Finding("κ̂ is below what is proven", None, why))
    else:
        proven = [(f, k, p) for f, k, p in audited.kappas if p is not None]
        if proven:
            over = [f for f, k, p in proven if k is None or k > p * (1 + 1e-9)]
            findings.append(
                Finding(
                    "κ̂ is below what is proven",
                    not over,
                    f"for every f up to {proven[-1][0]}" if not over else f"not for f = {over}",
                )
            )
    return findings


def _answer(audited: Audited) -> str:
    """Say what its worst case is."""
    row = audited.board_row
    clean = row.clean.mean if row.clean else math.nan
    return (
        f"Under the worst attack, {row.worst_attack}, the accuracy is {row.worst.mean:.3f} "
        f"({row.worst.low:.3f} to {row.worst.high:.3f}, 95 %), without attack {clean:.3f}; "
        f"{row.collapsed.count} of {row.collapsed.of} seeds collapse; without attack "
        f"{row.live:.0%} of the rounds update the model."
    )


def _content(audited: Audited) -> dict[str, Any]:
    """Return everything as data for JSON."""
    verdict = audited.verdict
    return {
        "rule": audited.rule,
        "scenario": audited.row.to_dict(),
        "laws": [
            dict(zip(("law", "scope", "outcome", "detail"), law, strict=True))
            for law in audited.laws
        ],
        "kappa": audited.kappas,
        "cost": audited.prices,
        "used": audited.used,
        "selection": verdict.selection.to_dict(),
        "fresh": {name: [s.accuracy for s in scores] for name, scores in verdict.scores.items()},
        "flags": dict(audited.board_row.flags),
        "trained": [[name, f, list(values)] for (name, f), values in audited.trained.items()],
    }


def _tables(audited: Audited) -> list[Table]:
    selection = audited.verdict.selection
    stages = selection.plan.stages
    laws = [
        [law, scope, outcome, detail.partition("\n")[0]]
        for law, scope, outcome, detail in audited.laws
    ]
    members: list[list[Cell]] = [
        [
            stages[name].replace("_", " "),
            name,
            " ".join(
                f"{key}={value}" if key != "attack" else str(value)
                for key, value in worst.fields.items()
            ),
            f"{worst.accuracy:.3f}",
            f"{audited.verdict.mean(name):.3f}" if name in selection.reported else "",
        ]
        for name, worst in sorted(selection.members.items(), key=lambda one: one[1].accuracy)
    ]
    told = [
        [str(f), *_spread(audited.trained["tolerated", f])]
        for name, f in audited.trained
        if name == "tolerated"
    ]
    pays = who_pays(
        {
            "without attack": audited.verdict.scores["none"],
            f"under {audited.verdict.worst}": audited.verdict.scores[audited.verdict.worst],
        },
        "Who pays: means over fresh seeds, at the end of a run (docs/metrics.md)",
    )
    prices = [
        [f"{n:.0f} x {d:,.0f}", f"{price:.3g}", f"{price / mean:.1f}" if mean else "-"]
        for n, d, price, mean in audited.prices
    ]
    return [
        Table(
            "members",
            "The ensemble, the worst first",
            ["stage", "member", "its worst variant", "validation", "fresh seeds"],
            members,
            {3, 4},
            most={2: 50},
        ),
        Table(
            "told",
            f"The server told another f̂ than f = {audited.row.byzantine}, under "
            f"{audited.verdict.worst}",
            ["f̂", "accuracy", "seeds"],
            told,
            {0, 1},
        ),
        Table(
            "used",
            "Whose values it uses, when nobody attacks: 1 is as much as the average does",
            ["group", "by speed", "by how unlike their labels are"],
            _used(audited),
            {1, 2},
        ),
        *([] if pays is None else [pays]),
        Table(
            "cost",
            "Cost of a call",
            ["n x d", "CPU milliseconds", "times the average"],
            prices,
            {1, 2},
        ),
        Table("laws", "Laws", ["law", "scope", "outcome", "detail"], laws, most={3: 60}),
    ]


def _spread(values: Sequence[float]) -> list[str]:
    return [f"{np.mean(values):.3f}", " ".join(f"{value:.3f}" for value in values)]


def _used(audited: Audited) -> list[list[Cell]]:
    """Return the mean share of thirds of the workers, by speed and by labels."""
    followed = np.array([math.nan if v is None else v for v in audited.used["followed"]])
    thirds = []
    for key in ("speed", "unlike"):
        order = np.argsort(np.array(audited.used[key]), kind="stable")
        thirds.append([followed[part] for part in np.array_split(order, 3)])
    rows: list[list[Cell]] = []
    for name, *parts in zip(GROUPS, *thirds, strict=True):
        rows.append([name, *(_share(part) for part in parts)])
    return rows


def _share(part: Floats) -> str:
    heard = part[~np.isnan(part)]
    silent = f" ({len(part) - len(heard)} never heard)" if len(heard) < len(part) else ""
    return f"{heard.mean():.2f}{silent}" if len(heard) else f"-{silent}"


def _charts(audited: Audited) -> list[Chart]:
    charts = []
    lines = []
    for name in audited.verdict.selection.reported:
        points = [(f, values) for (key, f), values in audited.trained.items() if key == name]
        if points:
            lines.append(
                Line(
                    name,
                    [f for f, _ in points],
                    [float(np.mean(values)) for _, values in points],
                    [min(values) for _, values in points],
                    [max(values) for _, values in points],
                )
            )
    if lines:
        charts.append(
            Chart("breakdown", "Accuracy over the number of attackers", "f", "accuracy", lines)
        )
    if not isinstance(audited.kappas, str) and audited.kappas:
        found = [(f, k) for f, k, _ in audited.kappas if f is not None and k is not None]
        proven = [(f, p) for f, _, p in audited.kappas if f is not None and p is not None]
        least = [(f, f / (KAPPA_WORKERS - 2 * f)) for f, *_ in audited.kappas if f is not None]
        curves = [("κ̂, found", found), ("proven", proven), ("f/(n - 2f), the least", least)]
        charts.append(
            Chart(
                "kappa",
                f"κ of {KAPPA_WORKERS} workers: the worst squared error over the honest variance",
                "f",
                "κ",
                [
                    Line(label, [f for f, _ in points], [k for _, k in points])
                    for label, points in curves
                    if points
                ],
                log="y",
            )
        )
    return charts
