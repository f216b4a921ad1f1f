"""What is reported of a row: its worst attacks on fresh seeds, and how far that can be trusted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import fmean
from typing import Any

from hgobench import aggregators, algorithms
from hgobench.leaderboard import BOARD, Boards, Score, boards, known_examples, outcomes
from hgobench.statistics import compare

from .selection import REPORTED, Selection

MARGIN = 0.02  # of accuracy; smaller differences raise no flag


@dataclass(frozen=True)
class Verdict:
    """A row's cells on fresh seeds.

    Attributes:
        selection: what was chosen for the row.
        scores: member to its cells' scores, one per fresh seed, in the order of the seeds;
            ``"none"``: without attack.
    """

    selection: Selection
    scores: Mapping[str, Sequence[Score]]

    def mean(self, member: str) -> float:
        """Return the mean accuracy over fresh seeds under a member."""
        values = [score.accuracy for score in self.scores[member]]
        return sum(values) / len(values)

    @property
    def worst(self) -> str:
        """The reported member under which the mean is the lowest."""
        return min(self.selection.reported, key=self.mean)

    def named(self) -> list[Score]:
        """Return its scores as boards take them: by member, and of the row as it was given."""
        given, free = self.selection.given, self.selection.free
        return [
            replace(score, given=given, member="" if name == "none" else name, free=free)
            for name in ("none", *self.selection.reported)
            for score in self.scores[name]
        ]

    @property
    def regret(self) -> float | None:
        """By how much a member that was not reported is worse on fresh seeds; None: none ran."""
        others = self.scores.keys() - {"none"}
        if others <= {*self.selection.reported}:
            return None
        return self.mean(self.worst) - min(map(self.mean, others))


def ranked(verdicts: Sequence[Verdict], by: str = "attack") -> Boards:
    """Return the boards of evaluated rows, with their flags.

    Args:
        verdicts: of the rows.
        by: as for `hgobench.leaderboard.boards`.

    Raises:
        InputError: there are no such columns.
    """
    oracles: dict[tuple[Any, ...], float] = {}
    for verdict in verdicts:
        if any("honest" in score.needs for score in verdict.scores["none"]):
            setting = _setting(verdict)
            oracles[setting] = max(oracles.get(setting, 0.0), verdict.mean("none"))
    raised = {
        (verdict.scores["none"][0].folder, verdict.selection.given): flags(
            verdict, oracles.get(_setting(verdict))
        )
        for verdict in verdicts
    }
    scores = [score for verdict in verdicts for score in verdict.named()]
    selections = list({v.selection.given: v.selection for v in verdicts}.values())
    how = [_how, _cost, _same] if selections else []
    told = list(filter(None, (*(say(selections) for say in how), _missed(verdicts))))
    return Boards(
        replace(board, notes=[*told, *board.notes]) for board in boards(scores, by=by, flags=raised)
    )


def _how(selections: Sequence[Selection]) -> str:
    """Say how the attacks and the parameters of some rows were chosen."""
    plan = selections[0].plan
    seeds = len(plan.selection_seeds)
    runs = sorted({round(selection.cells / seeds) for selection in selections})
    spread = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    tuned = any(len(selection.choices) > 1 for selection in selections)
    return (
        f"{plan.ensemble}, threat model {plan.threat_model}: for each row "
        f"{'parameters and ' * tuned}attacks are chosen on {seeds} seed{'s' * (seeds > 1)}, by "
        f"accuracy on validation examples, in {spread} runs per seed; the {REPORTED} worst attacks "
        f"run on {len(plan.fresh_seeds)} fresh seeds."
    )


def _cost(selections: Sequence[Selection]) -> str:
    """Say how many runs per seed each member has first asked for, on average over rows."""
    counted = [selection for selection in selections if selection.runs]
    if not counted:
        return ""
    by_count: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for selection in counted for name in selection.runs):
        seeds = [_seeds(selection, name) for selection in counted]
        runs = fmean(one.runs.get(name, 0) / n for one, n in zip(counted, seeds, strict=True))
        by_count.setdefault(f"{runs:.3g}", []).append("no attack" if name == "none" else name)
    listed = "; ".join(
        f"{count} {', '.join(names)}"
        for count, names in sorted(by_count.items(), key=lambda pair: -float(pair[0]))
    )
    return f"Runs per seed: {listed}. What several ask for is counted once."


def _seeds(selection: Selection, member: str) -> int:
    """Return on how many selection seeds a member runs."""
    plan = selection.plan
    own = next((one.seeds for one in plan.members if one.name == member), None)
    return len(plan.selection_seeds[:own])


def _missed(verdicts: Sequence[Verdict]) -> str:
    """Say by how much members that were not reported are worse, where all of them ran."""
    by_row = {v.selection.row: v.regret for v in verdicts if v.regret is not None}
    if not by_row:
        return ""
    most = max(by_row, key=by_row.__getitem__)
    rows = f"{len(by_row)} row{'s' * (len(by_row) > 1)}"
    return (
        f"Every member ran on fresh seeds: the lowest of all is {fmean(by_row.values()):.3f} below "
        f"the lowest of the {REPORTED} reported, on average over {rows}; "
        f"{by_row[most]:.3f} for {most.algorithm} {most.rule}."
    )


def _same(selections: Sequence[Selection]) -> str:
    """Say which attacks came to the same runs, of which one is reported; empty: none did."""
    same = Counter(pair for selection in selections for pair in selection.same.items())
    alike: dict[tuple[str, int], list[str]] = {}  # of which one is reported, in so many rows
    for (name, other), count in sorted(same.items()):
        alike.setdefault((other, count), []).append(name)
    listed = "; ".join(
        f"{', '.join(names)} as {other}" + f" ({count} rows)" * (count > 1)
        for (other, count), names in sorted(alike.items())
    )
    return f"Attacks that come to the same runs are reported once: {listed}." * bool(same)


def _setting(verdict: Verdict) -> tuple[Any, ...]:
    """Return what the rows of one board have in common."""
    given = verdict.selection.given
    return tuple(getattr(given, name) for name in given.of_role(*BOARD))


def flags(verdict: Verdict, oracle: float | None = None) -> dict[str, str]:
    """Return what a reader must know before trusting a row: names of flags, with the reason.

    Args:
        verdict: the row's.
        oracle: the oracle's mean accuracy without attack, in the same setting; None: unknown.
    """
    raised = _of_search(verdict.selection)
    row = verdict.selection.row
    rule = aggregators.build(row.rule, f=row.tolerated, scope=row.scope)
    drawn = [
        part for part in (*getattr(rule, "made_of", ()), rule) if getattr(part, "randomised", "")
    ]
    if drawn:
        raised["randomised"] = f"draws at random: {', '.join(part.randomised for part in drawn)}"
    if believed := _believed(verdict.selection):
        raised["claims not searched"] = believed
    if row.quorum < rule.minimum:
        raised["outside validity"] = f"a quorum is {row.quorum} answers; it needs {rule.minimum}"
    scored = [score for scores in verdict.scores.values() for score in scores]
    attacked = [score for name in verdict.selection.reported for score in verdict.scores[name]]
    if (kappa := verdict.selection.kappa) is not None:
        if kappa.unsearched:
            raised["κ̂ not searched"] = kappa.unsearched
        elif kappa.exceeded:
            raised["κ̂ above what is proven"] = (
                f"{kappa.reached:.4g} of {kappa.n} vectors, f̂ = {row.tolerated}; κ = "
                f"{kappa.proven:.4g} is proven"
            )
    if any("root" in score.needs for score in scored):
        raised["root data"] = "the server has clean training examples of its own"
    if late := sum(score.late for score in scored):
        raised["out of time"] = f"{late} of {len(scored)} cells; each counts as 0"
    if exceeded := fmean(score.exceeded for score in attacked):
        outvoted = fmean(score.outvoted for score in attacked)
        raised["more attackers than f̂"] = (
            f"more than {row.tolerated} Byzantine workers answered in {exceeded:.2%} of rounds, a "
            f"majority of all that did in {outvoted:.2%}"
        )
    if above := _above_clean(verdict):
        raised["no member hurts it"] = above
    rates = sorted({choice.learning_rate for choice in verdict.selection.choices})
    if len(rates) > 1 and row.learning_rate in (rates[0], rates[-1]):
        raised["learning rate at an end"] = (
            f"{row.learning_rate:g}; the choices go from {rates[0]:g} to {rates[-1]:g}"
        )
    clean = verdict.mean("none")
    if oracle is not None and clean < oracle / 2:
        raised["weak without attack"] = f"{clean:.3f} without attack; the oracle has {oracle:.3f}"
    return raised


def _believed(selection: Selection) -> str:
    """Say what the row's server believes of workers, and no attack of the ensemble lies about."""
    row = selection.row
    tried = " ".join(str(worst.fields.get("attack")) for worst in selection.members.values())
    by_updates = algorithms.registry.build(row.algorithm).by_updates
    claims = {"claim_steps": by_updates, "claim_examples": row.weights != "none"}
    named = {"claim_steps": "updates", "claim_examples": "examples"}
    missing = [lie for lie, counts in claims.items() if counts and lie not in tried]
    if not missing:
        return ""
    return (
        f"answers count by the {' and '.join(named[lie] for lie in missing)} that workers claim, "
        f"and no member lies about that: run {', '.join(f'{lie}+..' for lie in missing)} against it"
    )


def _above_clean(verdict: Verdict) -> str:
    """Say how far the worst case is above the accuracy without attack, if that is no noise."""
    attacked = [verdict.scores[name] for name in verdict.selection.reported]
    clean = [verdict.scores["none"]]
    examples = known_examples(chain(*attacked, *clean))
    apart = compare(outcomes(attacked, examples), outcomes(clean, examples))
    if apart.verdict != "first":
        return ""
    return (
        f"{verdict.mean(verdict.worst):.3f} under the worst attack, {verdict.mean('none'):.3f} "
        f"without, on the same {apart.seeds} seeds"
    )


def _of_search(selection: Selection) -> dict[str, str]:
    """Return the flags that the search raises: attacks that may be weak against this rule."""
    raised: dict[str, str] = {}
    stages, lowest = selection.plan.stages, selection.lowest
    if {"fixed", "optimised"} <= lowest.keys():
        fixed, optimised = lowest["fixed"], lowest["optimised"]
        if optimised > fixed + MARGIN:
            raised["optimised is weaker than fixed"] = (
                f"{optimised:.3f} under the worst optimised attack, {fixed:.3f} under a fixed one"
            )
    if "fixed" in lowest and lowest["fixed"] > selection.clean + MARGIN:
        raised["fixed is weaker than none"] = (
            f"{lowest['fixed']:.3f} under the worst fixed attack, {selection.clean:.3f} without"
        )
    for name, worst in selection.members.items():
        if stages[name] != "black_box":
            continue
        seeds = len(worst.accuracies)
        others = {
            other: math.fsum(known.accuracies[:seeds]) / seeds
            for other, known in selection.members.items()
            if other != name
        }
        if others and worst.accuracy < min(others.values()) - MARGIN:
            raised["black box is stronger"] = (
                f"{worst.accuracy:.3f} under a search that knows no attack, "
                f"{min(others.values()):.3f} under the worst member, on the same seeds"
            )
    return raised
