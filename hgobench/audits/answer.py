"""What `hgobench plan` answers, told: a page, text for a terminal, and JSON."""

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
from .plan import LOOKS, SEARCHED, Plan, Row, Score

WIDTH = 80  # columns, where there is no terminal
SAID = {True: "Yes", False: "No"}
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
    """Write who attacks and how."""
    cell = plan.rows[plan.best].cell
    if not cell.byzantine:
        return "no Byzantine workers (f = 0)"
    f = f"f = {cell.byzantine} of {cell.workers} workers Byzantine"
    if len(plan.attacks) == 1:
        return f"{f}, attack {plan.attacks[0]}"
    return f"{f}, the worst of {len(plan.attacks)} attacks"


def sentence(plan: Plan) -> str:
    """Answer the question in one sentence, and say who else would do."""
    row, target = plan.rows[plan.best], plan.question.target
    held, sure = row.checked.reached(target), row.checked.sure(target)
    best = f"the best of {plan.size} settings" if plan.size > 1 else "the only setting"
    who = devices_of(row) if plan.shares else best
    doubt = "" if sure or len(plan.fresh) == 1 else ", though the interval leaves it open"
    said = (
        f"{SAID[held]}{doubt}: {who} {'reach' if plan.shares else 'reaches'} "
        f"{numbers(row.checked)} within {plan.question.span(plan.question.budget)}; the target is "
        f"{target:g} (rule {row.cell.rule}, {threat(plan)})."
    )
    others = [r for r in plan.rows if r is not row and r.checked.reached(target)]
    if not held and others:
        other = others[0]
        named = devices_of(other) if plan.shares else "another setting of the frontier"
        said += f" Yes with {named}: {numbers(other.checked)}."
    return said


def devices_of(row: Row) -> str:
    """Write which of the searched devices a row has."""
    share = row.candidate.share
    if share in (0.0, 1.0):
        return f"{'powerful' if share else 'weak'} devices alone"
    return f"{share:.0%} powerful devices"


def _whole_fleet(row: Row) -> str:
    mixed = 0.0 < row.candidate.share < 1.0
    return devices_of(row) + (", the others weak" if mixed else "")


def facts(plan: Plan) -> list[tuple[str, str]]:
    """Return what is known of the recommended setting, by its name."""
    row = plan.rows[plan.best]
    cell, score = row.cell, row.checked
    round_, run = row.risks
    fewest, most = score.rounds
    times = score.times
    reached = np.isfinite(times)
    when = (
        f"after {plan.question.span(float(times.mean()))}" if reached.all()
        else f"in {int(reached.sum())} of {len(times)} seeds"
    )  # fmt: skip
    attacks = ", ".join(plan.attacks)
    blocks = algorithms.registry.build(cell.algorithm).partial
    tolerates = f"v = {cell.quorum}" if blocks else f"f̂ = {cell.tolerated}"
    told = [
        ("setting", f"q {cell.sampled}, v {cell.quorum}, τ {cell.deadline:g}, s {cell.batch_size}, "
                    f"learning rate {cell.learning_rate:g}, {cell.algorithm}"),
        ("rule", f"{cell.rule}, scope {cell.scope}, told f̂ = {cell.tolerated}"),
        ("devices", _whole_fleet(row) if plan.shares else cell.hardware),
        ("f", f"{cell.byzantine} of {cell.workers} workers"),
        ("attack", attacks if not cell.byzantine or len(plan.attacks) == 1 else
                   f"the worst in each seed of {attacks}" + (" (the default)" * plan.default)
                   + f"; on average the worst is {score.worst}"),
        ("sampling risk", f"{round_:.3g} per round, {run:.3g} over the run: that more are sampled "
                          f"than {tolerates} tolerates"
                          + ("; a warning: it is above 1 %" if run > RISK else "")),
        ("clock", f"{fewest if fewest == most else f'{fewest} to {most}'} rounds; the last ends at "
                  f"{plan.question.span(score.end)}, one more would be too late"),
        ("target reached", when),
        ("validation", f"{numbers(score)}; chosen at {row.chosen.accuracy[0]:.3f} with "
                       f"{_range(plan.seeds)}, checked with {_range(plan.fresh)}"),
        ("test", f"{float(score.tests.mean()):.3f} (for information)"),
        ("sent", f"{_mega(score.up)} MB up, {_mega(score.down)} MB down "
                 + ("until the target is reached" if reached.all() else "on average")),
    ]  # fmt: skip
    ended = [one for several in score.results.values() for one in several
             if one and one.status != "done"]  # fmt: skip
    if ended:
        told.append(("ended early", f"{len(ended)} runs, {ended[0].status}: {ended[0].reason}"))
    none = [seed for i, seed in enumerate(plan.fresh)
            if not all(several[i] for several in score.results.values())]  # fmt: skip
    if none:
        told.append(
            (
                "no round",
                f"ends in time with {len(none)} of {len(plan.fresh)} seeds: an accuracy of 0",
            )
        )
    if plan.refused:
        first, count = next(iter(plan.refused.items())), sum(plan.refused.values())
        told.append(("refused", f"{count} settings of the grid, {first[1]} of them: {first[0]}"))
    return told


def summary(plan: Plan) -> Page:
    """Return the answer for a terminal: first in a sentence, then all that it is."""
    blocks: list[Block] = [Text(sentence(plan), "answer"), Facts(facts(plan))]
    if len(plan.rows) > 1:
        blocks += _narrow(_table(plan))
    return Page("plan", title(plan), blocks, content=data(plan))


def _narrow(table: Table) -> list[Table]:
    """Return the frontier for a terminal: results and settings, told together by the first column.

    Settings that all rows have stand in the title.
    """
    alike = [
        i
        for i, name in enumerate(table.header)
        if name in (*SETTING, "risk") and len({row[i] for row in table.rows}) == 1
    ]
    every = ", ".join(f"{table.header[i]} {cell(table.rows[0][i])}" for i in alike)
    kept = [i for i, name in enumerate(table.header) if i not in alike and name != "test"]
    results = [i for i in kept if table.header[i] not in SETTING]
    settings = [0, *(i for i in kept if table.header[i] in SETTING)]

    def part(title: str, columns: Sequence[int], keep: int) -> Table:
        header = [table.header[i] for i in columns]
        return Table(
            "", title, header, [[row[i] for i in columns] for row in table.rows], keep=keep
        )

    tables = [part(table.title + (f" (all: {every})" if every else ""), results, 4)]
    return [*tables, part("Their settings", settings, 1)] if settings[1:] else tables


def data(plan: Plan) -> dict[str, Any]:
    """Return the answer as JSON knows it; a time that never comes is None."""
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
        "frontier": [_row_data(plan, one) for one in plan.rows],
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
    who = "Which devices reach" if plan.shares else "Do these devices reach"
    return f"{who} {plan.question.target:g} within {plan.question.span(plan.question.budget)}?"


def page(plan: Plan) -> Page:
    """Return the page."""
    question, row = plan.question, plan.rows[plan.best]
    held = row.checked.reached(question.target)
    return study(
        "plan",
        title(plan),
        [_about(plan)],
        _command(plan),
        [Finding(f"an accuracy of {question.target:g} is reached within "
                 f"{question.span(question.budget)}",
                 held if row.checked.sure(question.target) else None, sentence(plan))],
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
    for one in plan.rows:
        cell, score = one.cell, one.checked
        mean, low, high = score.accuracy
        time = float(score.times.mean())
        target = plan.question.target
        held = SAID[score.reached(target)].lower() + "?" * (not score.sure(target))
        rows.append([
            f"{one.candidate.share:.0%}" if plan.shares else len(rows) + 1, held,
            *([] if unit is None else [time * unit]), time,
            mean, f"{low:.3f}-{high:.3f}", float(score.tests.mean()),
            cell.sampled, cell.quorum, cell.deadline, cell.batch_size,
            cell.learning_rate, cell.rule, score.rounds[1],
            float(score.up.mean()) / MEGA, float(score.down.mean()) / MEGA, one.risks[1],
        ])  # fmt: skip
    what = (
        "The best setting of each share of powerful devices" if plan.shares
        else "Settings of which no other is better in time, MB or risk without being worse in "
        "another"
    )  # fmt: skip
    return Table(
        "frontier",
        f"{what}, with fresh seeds; ? where the interval leaves it open",
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
    unheeded = sum(plan.refused.values())
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
        f"the target from when on all evaluations (one every {LOOKS}th part of a run) are at or "
        "above it (inf: with some seed the last one is below); MB are sent until then, or until "
        "the end. Reached: by the mean over seeds, with its 95 % interval (Student's t). "
        "Risk: that a round of the run samples more Byzantine workers than v tolerates."
        + (f" Refused: {unheeded} settings ({why})." if unheeded else "")
        + (" " + described(settings, *varied))
    )


def _charts(plan: Plan) -> Sequence[Chart]:
    target = plan.question.target
    charts = []
    every = [(one.share, -score.rank[0]) for one, score in plan.finalists]
    every = [(x, y) for x, y in every if math.isfinite(y)]
    if plan.shares and every:
        best = [(r.candidate.share, float(r.checked.times.mean())) for r in plan.rows]
        charts.append(
            Chart("shares", f"Time to an accuracy of {target:g}", "share of powerful devices",
                  "time units", [
                Line("settings of the last rung", [x for x, _ in every], [y for _, y in every],
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
    """Draw the mean over seeds under the attack that is worst on average."""
    cell = row.cell
    label = devices_of(row) if plan.shares else (
        f"{cell.rule}, q {cell.sampled}, v {cell.quorum}, τ {cell.deadline:g}, s {cell.batch_size}"
    )  # fmt: skip
    runs = [one for one in row.checked.results[row.checked.worst] if one and one.status == "done"]
    if not runs:
        return Line(label, [], [])
    length = min(len(one.rounds["time"]) for one in runs)
    times = np.array([one.rounds["time"][:length] for one in runs], dtype=float).mean(axis=0)
    seen = np.array([one.rounds["validation_accuracy"][:length] for one in runs], dtype=float)
    mean = seen.mean(axis=0)
    kept = np.flatnonzero(np.isfinite(mean))
    return Line(label, times[kept].tolist(), mean[kept].tolist())


def _command(plan: Plan) -> str:
    return plan.options.command(f"plan {plan.question.said}", "data")


def _range(seeds: range) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"


def _mega(sent: Any) -> str:
    return f"{float(sent.mean()) / MEGA:.3g}"
