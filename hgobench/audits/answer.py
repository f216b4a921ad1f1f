"""The answer of `hgobench plan` as a page, as text for a terminal and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hgobench import algorithms
from hgobench.report.page import Block, Chart, Facts, Finding, Line, Page, Table, Text, study
from hgobench.report.render import cell
from hgobench.scenario import RISK

from .comparison import described
from .plan import EVALUATIONS, SEARCHED, Plan, Row, Score

WIDTH = 80  # columns, where there is no terminal
YES_NO = {True: "Yes", False: "No"}
SETTING = ("rule", "γ", "q", "v", "τ", "s", "rounds")
MEGA = 1e6


def numbers(score: Score) -> str:
    """Write a mean accuracy with its interval."""
    mean, low, high = score.accuracy
    seeds = len(score.accuracies)
    if seeds == 1:
        return f"{mean:.3f} (one seed)"
    return f"{mean:.3f} ({low:.3f} to {high:.3f}, {seeds} seeds)"


def threat(plan: Plan) -> str:
    """Describe the Byzantine workers and their attack."""
    cell = plan.rows[plan.best].cell
    if not cell.byzantine:
        return "no Byzantine workers (f = 0)"
    f = f"f = {cell.byzantine} of {cell.workers} workers Byzantine"
    if len(plan.attacks) == 1:
        return f"{f}, attack {plan.attacks[0]}"
    return f"{f}, the worst of {len(plan.attacks)} attacks"


def sentence(plan: Plan) -> str:
    """Answer the question in one sentence; if it is no, name another setting that would do."""
    row, target = plan.rows[plan.best], plan.question.target
    reached, sure = row.checked.reached(target), row.checked.sure(target)
    best = f"the best of {plan.size} settings" if plan.size > 1 else "the only setting"
    subject = devices_of(row) if plan.shares else best
    doubt = "" if sure or len(plan.fresh) == 1 else ", though the interval leaves it open"
    text = (
        f"{YES_NO[reached]}{doubt}: {subject} {'reach' if plan.shares else 'reaches'} "
        f"{numbers(row.checked)} within {plan.question.span(plan.question.budget)}; the target is "
        f"{target:g} (rule {row.cell.rule}, {threat(plan)})."
    )
    alternatives = [r for r in plan.rows if r is not row and r.checked.reached(target)]
    if not reached and alternatives:
        alternative = alternatives[0]
        description = devices_of(alternative) if plan.shares else "another setting of the frontier"
        text += f" Yes with {description}: {numbers(alternative.checked)}."
    return text


def devices_of(row: Row) -> str:
    """Describe a row's share of powerful devices."""
    share = row.candidate.share
    if share in (0.0, 1.0):
        return f"{'powerful' if share else 'weak'} devices alone"
    return f"{share:.0%} powerful devices"


def _whole_fleet(row: Row) -> str:
    mixed = 0.0 < row.candidate.share < 1.0
    return devices_of(row) + (", the others weak" if mixed else "")


def facts(plan: Plan) -> list[tuple[str, str]]:
    """Return the facts of the recommended setting, each with its name."""
    row = plan.rows[plan.best]
    cell, score = row.cell, row.checked
    round_, run_risk = row.risks
    fewest, longest = score.rounds
    times = score.times
    reached = np.isfinite(times)
    when = (
        f"after {plan.question.span(float(times.mean()))}" if reached.all()
        else f"in {int(reached.sum())} of {len(times)} seeds"
    )  # fmt: skip
    attacks = ", ".join(plan.attacks)
    blocks = algorithms.registry.build(cell.algorithm).partial
    tolerates = f"v = {cell.quorum}" if blocks else f"f̂ = {cell.tolerated}"
    known = [
        ("setting", f"q {cell.sampled}, v {cell.quorum}, τ {cell.deadline:g}, s {cell.batch_size}, "
                    f"learning rate {cell.learning_rate:g}, {cell.algorithm}"),
        ("rule", f"{cell.rule}, scope {cell.scope}, told f̂ = {cell.tolerated}"),
        ("devices", _whole_fleet(row) if plan.shares else cell.hardware),
        ("f", f"{cell.byzantine} of {cell.workers} workers"),
        ("attack", attacks if not cell.byzantine or len(plan.attacks) == 1 else
                   f"the worst in each seed of {attacks}" + (" (the default)" * plan.default)
                   + f"; on average the worst is {score.worst}"),
        ("sampling risk", f"{round_:.3g} per round, {run_risk:.3g} over the run: that more are "
                          f"sampled than {tolerates} tolerates"
                          + ("; a warning: it is above 1 %" if run_risk > RISK else "")),
        ("clock", f"{fewest if fewest == longest else f'{fewest} to {longest}'} rounds; the last "
                  f"ends at {plan.question.span(score.end)}, one more would be too late"),
        ("target reached", when),
        ("validation", f"{numbers(score)}; chosen at {row.chosen.accuracy[0]:.3f} with "
                       f"{_range(plan.seeds)}, checked with {_range(plan.fresh)}"),
        ("test", f"{float(score.tests.mean()):.3f} (for information)"),
        ("sent", f"{_mega(score.up)} MB up, {_mega(score.down)} MB down "
                 + ("until the target is reached" if reached.all() else "on average")),
    ]  # fmt: skip
    early = [run for runs in score.results.values() for run in runs
             if run and run.status != "done"]  # fmt: skip
    if early:
        known.append(("ended early", f"{len(early)} runs, {early[0].status}: {early[0].reason}"))
    without = [seed for i, seed in enumerate(plan.fresh)
            if not all(runs[i] for runs in score.results.values())]  # fmt: skip
    if without:
        known.append(
            (
                "no round",
                f"ends in time with {len(without)} of {len(plan.fresh)} seeds: an accuracy of 0",
            )
        )
    if plan.refused:
        first, count = next(iter(plan.refused.items())), sum(plan.refused.values())
        known.append(("refused", f"{count} settings of the grid, {first[1]} of them: {first[0]}"))
    return known


def summary(plan: Plan) -> Page:
    """Return the answer for a terminal: first a sentence, then the facts."""
    blocks: list[Block] = [Text(sentence(plan), "answer"), Facts(facts(plan))]
    if len(plan.rows) > 1:
        blocks += _narrow(_table(plan))
    return Page("plan", title(plan), blocks, content=data(plan))


def _narrow(table: Table) -> list[Table]:
    """Return the frontier for a terminal as two tables, results and settings, by the first column.

    Settings that are the same in all rows are in the title.
    """
    alike = [
        i
        for i, name in enumerate(table.header)
        if name in (*SETTING, "risk") and len({row[i] for row in table.rows}) == 1
    ]
    shared = ", ".join(f"{table.header[i]} {cell(table.rows[0][i])}" for i in alike)
    varying = [i for i, name in enumerate(table.header) if i not in alike and name != "test"]
    results = [i for i in varying if table.header[i] not in SETTING]
    settings = [0, *(i for i in varying if table.header[i] in SETTING)]

    def columns_of(title: str, columns: Sequence[int], keep: int) -> Table:
        header = [table.header[i] for i in columns]
        return Table(
            "", title, header, [[row[i] for i in columns] for row in table.rows], keep=keep
        )

    tables = [columns_of(table.title + (f" (all: {shared})" if shared else ""), results, 4)]
    return [*tables, columns_of("Their settings", settings, 1)] if settings[1:] else tables


def data(plan: Plan) -> dict[str, Any]:
    """Return the answer as data for JSON; a time that is never reached is None."""
    question, row = plan.question, plan.rows[plan.best]
    return {
        "question": {
            "target": question.target,
            "budget": question.budget,
            "time_unit_seconds": question.unit,
        },
        "answer": sentence(plan),
        "reached": row.checked.reached(question.target),
        "sure": row.checked.sure(question.target),
        "attacks": list(plan.attacks),
        "attacks_are_default": plan.default,
        "chosen_with_seeds": list(plan.seeds),
        "checked_with_seeds": list(plan.fresh),
        "settings_tried": plan.size,
        "settings_refused": dict(plan.refused),
        "recommended": _row_data(plan, row),
        "frontier": [_row_data(plan, other) for other in plan.rows],
        "command": _command(plan),
    }


def _row_data(plan: Plan, row: Row) -> dict[str, Any]:
    score, cell = row.checked, row.cell
    mean, low, high = score.accuracy
    time = float(score.times.mean())
    round_, run = row.risks
    varying = ("attack", "seed", "rounds", "evaluation_interval")
    return {
        "powerful": None if math.isnan(row.candidate.share) else row.candidate.share,
        "scenario": {n: value for n, value in cell.to_dict().items() if n not in varying},
        "rule": cell.rule,
        "byzantine": cell.byzantine,
        "worst_attack": score.worst,
        "accuracy_by_attack": dict(score.attacks),
        "sampling_risk": round_,
        "run_risk": run,
        "reached": score.reached(plan.question.target),
        "validation_accuracy": {
            "mean": mean, "low": low, "high": high, "seeds": score.accuracies.tolist(),
            "when_chosen": row.chosen.accuracy[0],
        },
        "test_accuracy": float(score.tests.mean()),
        "time_to_target": time if math.isfinite(time) else None,
        "rounds": list(score.rounds),
        "last_round_ends": score.end,
        "bytes_up": float(score.up.mean()),
        "bytes_down": float(score.down.mean()),
    }  # fmt: skip


def title(plan: Plan) -> str:
    """Return the question."""
    subject = "Which devices reach" if plan.shares else "Do these devices reach"
    return f"{subject} {plan.question.target:g} within {plan.question.span(plan.question.budget)}?"


def page(plan: Plan) -> Page:
    """Return the page."""
    question, row = plan.question, plan.rows[plan.best]
    reached = row.checked.reached(question.target)
    return study(
        "plan",
        title(plan),
        [_about(plan)],
        _command(plan),
        [Finding(f"an accuracy of {question.target:g} is reached within "
                 f"{question.span(question.budget)}",
                 reached if row.checked.sure(question.target) else None, sentence(plan))],
        _charts(plan),
        [
            Table("answer", "The recommended setting", ["what", "value"], facts(plan)),
            _table(plan),
            Table("attacks", "The recommended setting under each attack", ["attack", "validation"],
                  [[name, value] for name, value in row.checked.attacks.items()]),
        ],
        sentence(plan),
    )  # fmt: skip


def _table(plan: Plan) -> Table:
    unit = plan.question.unit
    rows: list[list[str | float | int]] = []
    for row in plan.rows:
        cell, score = row.cell, row.checked
        mean, low, high = score.accuracy
        time = float(score.times.mean())
        target = plan.question.target
        reached = YES_NO[score.reached(target)].lower() + "?" * (not score.sure(target))
        rows.append([
            f"{row.candidate.share:.0%}" if plan.shares else len(rows) + 1, reached,
            *([] if unit is None else [time * unit]), time,
            mean, f"{low:.3f}-{high:.3f}", float(score.tests.mean()),
            cell.sampled, cell.quorum, cell.deadline, cell.batch_size,
            cell.learning_rate, cell.rule, score.rounds[1],
            float(score.up.mean()) / MEGA, float(score.down.mean()) / MEGA, row.risks[1],
        ])  # fmt: skip
    title = (
        "The best setting of each share of powerful devices" if plan.shares
        else "Settings of which no other is better in time, MB or risk without being worse in "
        "another"
    )  # fmt: skip
    return Table(
        "frontier",
        f"{title}, with fresh seeds; ? where the interval leaves it open",
        [
            "powerful" if plan.shares else "setting", "reached",
            *([] if unit is None else ["time (s)"]), "time (units)", "accuracy", "95 %", "test",
            "q", "v", "τ", "s", "γ", "rule", "rounds", "MB up", "MB down", "risk",
        ],
        rows,
    )  # fmt: skip


def _about(plan: Plan) -> str:
    searched = ["q, v, τ, s"]
    if len(plan.options.rules) > 1:
        searched.append("rule")
    if "learning_rate" in plan.question.among:
        searched.append("learning rate")
    if plan.shares:
        searched.append("share of powerful devices, all others weak")
    groups = "share of powerful devices" if plan.shares else "q and rule"
    rungs = ", ".join(
        f"{count} to {time:.3g} time units"
        + (f" ({alive - count} more have no round in it yet)" if alive > count else "")
        for time, count, alive in plan.tried
    )
    refused = sum(plan.refused.values())
    why = "; ".join(f"{count}: {reason}" for reason, count in plan.refused.items())
    settings = plan.rows[plan.best].candidate.fields
    varied = ("rounds", "evaluation_interval", "rule", "attack", "hardware", *SEARCHED)
    return (
        f"{plan.settings['data']}: {plan.size} settings of {', '.join(searched)}, by successive "
        f"halving at equal simulated time, latency and transfer included: of every {groups} the "
        f"best third goes on, {rungs}. Best: the earliest to reach the target, else the most "
        f"accurate on validation examples, in every seed under the attack that is worst for it "
        f"(seed 0; in the last rung {_range(plan.seeds)}). The frontier is then run with "
        f"{_range(plan.fresh)}, from which all numbers here are. Times are in time units, those to "
        f"the target are those from which on all evaluations ({EVALUATIONS} in a run) are at or "
        "above it (inf: with some seed the last one is below); MB are sent until then, or until "
        "the end. Reached: by the mean over seeds, with its 95 % interval (Student's t). "
        "Risk: that a round of the run samples more Byzantine workers than v tolerates."
        + (f" Refused: {refused} settings ({why})." if refused else "")
        + (" " + described(settings, *varied))
    )


def _charts(plan: Plan) -> Sequence[Chart]:
    target = plan.question.target
    charts = []
    points = [(candidate.share, -score.rank[0]) for candidate, score in plan.finalists]
    points = [(x, y) for x, y in points if math.isfinite(y)]
    if plan.shares and points:
        best = [(r.candidate.share, float(r.checked.times.mean())) for r in plan.rows]
        charts.append(
            Chart("shares", f"Time to an accuracy of {target:g}", "share of powerful devices",
                  "time units", [
                Line("settings of the last rung", [x for x, _ in points], [y for _, y in points],
                     style="points"),
                Line("the best of each share, fresh seeds", [x for x, _ in best],
                     [y for _, y in best]),
            ])
        )  # fmt: skip
    charts.append(
        Chart("curves", "Accuracy over time, with fresh seeds", "time units",
              "accuracy on validation examples", [_curve(plan, row) for row in plan.rows])
    )  # fmt: skip
    return charts


def _curve(plan: Plan, row: Row) -> Line:
    """Return the line of the mean over seeds, under the attack that is worst on average."""
    cell = row.cell
    label = devices_of(row) if plan.shares else (
        f"{cell.rule}, q {cell.sampled}, v {cell.quorum}, τ {cell.deadline:g}, s {cell.batch_size}"
    )  # fmt: skip
    runs = [
        result
        for result in row.checked.results[row.checked.worst]
        if result and result.status == "done"
    ]
    if not runs:
        return Line(label, [], [])
    length = min(len(result.rounds["time"]) for result in runs)
    times = np.array([result.rounds["time"][:length] for result in runs], dtype=float).mean(axis=0)
    accuracies = np.array(
        [result.rounds["validation_accuracy"][:length] for result in runs], dtype=float
    )
    mean = accuracies.mean(axis=0)
    evaluated = np.flatnonzero(np.isfinite(mean))
    return Line(label, times[evaluated].tolist(), mean[evaluated].tolist())


def _command(plan: Plan) -> str:
    return plan.options.command(f"plan {plan.question.words}", "data")


def _range(seeds: range) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"


def _mega(count: Any) -> str:
    return f"{float(count.mean()) / MEGA:.3g}"
