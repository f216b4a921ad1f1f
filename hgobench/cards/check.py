"""Checks of cards: what is wrong in one, by JSON path, and what is suspicious."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hgobench import catalogue
from hgobench.arguments import check_arguments, instance, optional
from hgobench.boundary import own
from hgobench.errors import InputError
from hgobench.evaluation.recheck import contradictions
from hgobench.evaluation.verdict import MARGIN, Verdict, flags
from hgobench.leaderboard import Row, Score, known_examples, row_hash
from hgobench.reading import refusing
from hgobench.results.address import code_stated
from hgobench.results.rows import scenario_of
from hgobench.suite import Suite

from .card import Card, collapsed, cost, load, parameters, schema, threat_model, values
from .outside import not_lowering
from .plugins import modules_of, source
from .rules import Rules

SAME = 1e-9  # numbers that are closer differ by rounding
LEARNT = 0.5  # below this mean accuracy seeds may agree by what they got wrong alike
UNLIKELY = 1e-4  # a spread that is smaller with a lower probability is suspicious
LONGEST = 160  # characters of a message of the schema
MOST = 100  # problems of the schema that are named


class Problem(NamedTuple):
    """What is wrong, or suspicious, in a card.

    Attributes:
        path: where, as JSONPath writes it: ``$.values.worst.mean``.
        text: what.
    """

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


@dataclass(frozen=True)
class Checked:
    """A card that was checked.

    Attributes:
        card: the card; None: the schema refuses it.
        problems: what is wrong.
        suspicions: what need not be wrong, and is seldom right.
        notes: what could not be checked.
    """

    card: Card | None
    problems: Sequence[Problem]
    suspicions: Sequence[Problem] = ()
    notes: Sequence[str] = ()


def check(path: str | Path, suite: str | Suite | None = None) -> Checked:
    """Check a card: against the schema, its own cells, and the suite that its ruleset names.

    Whatever its cells determine is worked out again: hash, means, intervals, the worst case, cost.
    Nothing that it names is imported, and nothing is computed: `hgobench.verify` runs cells again.

    Args:
        path: the file.
        suite: the suite of its ruleset, if it does not come with hgobench.

    Raises:
        InputError: the file can't be read, or is no JSON.
    """
    check_arguments(
        path=(instance("a file", str, Path), path),
        suite=(optional(instance("a suite", str, Suite)), suite),
    )
    return checked(path, Suite.load(suite) if isinstance(suite, str) else suite)


def checked(path: str | Path, suite: Suite | None = None) -> Checked:
    """Do what `check` does, with a suite that is read."""
    return examined(Card(str(path), load(path)), suite)


def examined(card: Card, suite: Suite | None = None) -> Checked:
    """Check a card that is read."""
    if problems := list(_against_schema(card.content)):
        return Checked(None, problems)
    problems = list(_cells(card))
    if problems:
        return Checked(None, problems)
    problems = list(_right(card))
    try:
        row = card.row
    except InputError as error:
        return Checked(card, [*problems, *(Problem("$.cells", one) for one in error.problems)])
    problems += _recomputed(card, row)
    problems += _sources(card)
    if not (contradicted := list(_chosen(card))):
        problems += _flags(card)
    problems += contradicted
    notes = []
    rules = Rules.of(card.ruleset, suite)
    if suite is not None and rules is None:
        problems.append(Problem("$.ruleset", f"{card.ruleset!r}; the suite is {suite.ruleset!r}"))
    elif card.lowers is not None:
        pass  # an attack from outside has a ruleset that says so; its row is the suite's
    elif rules is None:
        notes.append(
            f"ruleset {card.ruleset!r} is no suite of hgobench's: whether the cells are those of "
            "its suite is not checked (--suite FILE)"
        )
    else:
        problems += _of_suite(card, rules)
    suspicions = list(_suspicions(card, row))
    if card.lowers is not None:
        found, note = _lowering(card)
        problems += found
        notes += note
    return Checked(card, problems, suspicions, notes)


def _against_schema(content: Any) -> Iterator[Problem]:
    from jsonschema import Draft202012Validator

    every = Draft202012Validator(schema()).iter_errors(content)
    errors = list(islice(every, MOST))
    for error in sorted(errors, key=lambda one: [str(part) for part in one.absolute_path]):
        text = error.message
        yield Problem(error.json_path, text if len(text) <= LONGEST else f"{text[:LONGEST]} ..")
    if next(every, None) is not None:
        yield Problem("$", f"and more: no more than {MOST} are named")


def _cells(card: Card) -> Iterator[Problem]:
    """Yield what prevents cells from being read."""
    content = card.content
    shared, environments = content["scenario"], len(content["environments"])
    for i, cell in enumerate(content["cells"]):
        where = f"$.cells[{i}]"
        if twice := sorted(shared.keys() & cell["scenario"].keys()):
            yield Problem(f"{where}.scenario.{twice[0]}", "is in $.scenario too; expected once")
        try:
            scenario = scenario_of({**shared, **cell["scenario"]})
        except (ValueError, RecursionError) as error:
            yield Problem(f"{where}.scenario", str(error))
            continue
        if scenario.data not in content["data"]:
            yield Problem(f"{where}.scenario.data", f"{scenario.data!r} is not in $.data")
        if cell["environment"] >= environments:
            yield Problem(
                f"{where}.environment", f"{cell['environment']}; there are {environments}"
            )
    if content["selection"] is not None:
        try:
            with refusing("no selection of an evaluation"):
                if (selection := card.selection) is not None:
                    contradictions(selection)
                    _ = selection.fresh, selection.free
        except InputError as error:
            for problem in error.problems:
                yield Problem("$.selection", problem)


def _right(card: Card) -> Iterator[Problem]:
    """Yield cells whose accuracy is not the share of the test examples that were right."""
    done = [s for s in card.scores if s.status == "done" and s.accuracy > 0 and s.right]
    counts = [round(_count(score) / score.accuracy) for score in done]
    examples = max(set(counts), key=counts.count) if counts else 0
    addresses: dict[str, int] = {}
    known = sum(score.right is not None for score in card.scores if score.status == "done")
    for i, score in enumerate(card.scores):
        where = f"$.cells[{i}]"
        if score.status != "done" and score.accuracy != 0:
            yield Problem(
                f"{where}.accuracy",
                f"{score.accuracy:g}, though the cell {score.status}: expected 0",
            )
        elif score.success is not None:
            if score.right is not None or score.accuracy > 1 - score.success:
                yield Problem(
                    f"{where}.accuracy",
                    f"{score.accuracy:.4f}; expected {1 - score.success:.4f} or less, which is 1 - "
                    "success, and no examples that are right",
                )
        elif score.right is not None and score.status == "done" and examples:
            share = _count(score) / examples
            if abs(share - score.accuracy) > 0.5 / examples:
                yield Problem(
                    f"{where}.accuracy",
                    f"{score.accuracy:.4f}; {_count(score)} of {examples} test examples were "
                    f"right, which is {share:.4f}",
                )
        elif score.right is None and score.status == "done" and known:
            yield Problem(
                f"$.cells[{i}].right", f"null; {known} other cells say which examples were right"
            )
        first = addresses.setdefault(score.address, i)
        other = card.scores[first]
        members = other.scenario == score.scenario and other.attack != score.attack
        if first != i and not members:  # two members may come to one attack
            yield Problem(f"{where}.address", f"that of $.cells[{first}], too")


def _count(score: Score) -> int:
    return int.from_bytes(score.right or b"").bit_count()


def _recomputed(card: Card, row: Row) -> Iterator[Problem]:
    """Yield what is not what the cells come to."""
    content, board = card.content, card.content["board"]
    expected: dict[str, Any] = {
        "hash": row_hash(card.scores),
        "seeds": sorted({score.scenario.seed for score in card.scores}),
        "values": values(row),
        "cost": cost(row),
        "parameters": parameters(row, card.selection),
    }
    for name, value in expected.items():
        yield from _differences(f"$.{name}", content[name], value)
    for name in ("algorithm", "rule", "origin"):
        yield from _differences(f"$.row.{name}", content["row"][name], getattr(row, name))
    yield from _differences("$.row.needs", content["row"]["needs"], list(row.needs))
    yield from _differences(
        "$.board.collapsed", board["collapsed"], collapsed(row, board["collapse"])
    )
    first = row.scores[0].scenario
    model = threat_model(row, card.selection) if not foreign(card, "attack") else None
    if model is None:  # what an attack needs is known by building it, which imports it
        names = ("byzantine", "workers", "sampled", "tolerated", "lies_about_speed")
        model = {name: getattr(first, name) for name in names}
        model |= {name: content["threat_model"][name] for name in ("name", "ensemble")}
    yield from _differences("$.threat_model", content["threat_model"], model)
    yield from _labelled(content["row"]["label"], row)
    least = 0.5 * row.clean.mean if row.clean is not None else 0.0
    if board["collapse"] < least - SAME:
        yield Problem(
            "$.board.collapse",
            f"{board['collapse']:g}; expected {least:.6g} or more: half of the best accuracy "
            "without attack on the board, and half of this row's is as much",
        )
    if board["rank"] is not None and not 1 <= board["rank"][0] <= board["rank"][1] <= board["rows"]:
        yield Problem("$.board.rank", f"{board['rank']}, of {board['rows']} rows")


def foreign(card: Card, *fields: str) -> bool:
    """Say whether cells name code that is not hgobench's in some fields; nothing is imported."""
    stated = [cell.to_dict() for cell in card.scenarios]
    return any(catalogue.foreign({name: one[name] for name in fields}) for one in stated)


def _labelled(label: str, row: Row) -> Iterator[Problem]:
    """Yield what a label says that the row is not; how much it says follows from other rows."""
    first = row.scores[0].row
    stated = first.to_dict()
    start = f"{first.algorithm} {first.rule}"
    rest = label.removeprefix(start).split()
    said = {f"{name}={stated[name]}" for name in stated}
    said |= {first.scope, f"v={first.quorum}", f"tolerated={first.tolerated}"}
    strange = [word for word in rest if word not in said]
    if not f"{label} ".startswith(f"{start} "):
        yield Problem("$.row.label", f"{label!r}; expected it to begin with {start!r}")
    elif strange:
        yield Problem("$.row.label", f"{label!r}; no cell has {' '.join(strange)!r}")


def _sources(card: Card) -> Iterator[Problem]:
    """Yield modules whose digest is missing or, of hgobench's own, not that of what is here."""
    sources = card.content["sources"]
    stated = sources["modules"]
    for module in modules_of(card.scenarios):
        if module not in stated:
            yield Problem(
                "$.sources.modules", f"lacks the digest of {module!r}, which the cells name"
            )
    if sources["code"] != code_stated():
        return
    for module, digest in stated.items():
        path = source(module) if own(module) else None
        here = None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
        if here not in (None, digest):
            yield Problem(
                f"$.sources.modules[{module!r}]",
                f"{digest[:12]}..; of the sources that $.sources.code names it is {here[:12]}..",
            )


def _flags(card: Card) -> Iterator[Problem]:
    """Yield flags of an evaluated row that are not there; some follow from other rows."""
    selection, stated = card.selection, card.content["flags"]
    if selection is None or foreign(card, "rule"):
        return
    by_member: dict[str, list[Score]] = {}
    for score in card.scores:
        by_member.setdefault(score.attack, []).append(score)
    for name, reason in flags(Verdict(selection, by_member)).items():
        if name not in stated:
            yield Problem("$.flags", f"lacks {name!r}: {reason}")


def _differences(path: str, stated: Any, found: Any) -> Iterator[Problem]:
    """Yield where what a card states is not what its cells come to."""
    if isinstance(stated, Mapping) and isinstance(found, Mapping):
        for name in dict.fromkeys([*stated, *found]):
            where = f"{path}.{name}" if name.isidentifier() else f"{path}[{name!r}]"
            if name not in found:
                yield Problem(where, "follows from no cell")
            elif name not in stated:
                yield Problem(where, "is missing")
            else:
                yield from _differences(where, stated[name], found[name])
        return
    numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in (stated, found)]
    if all(numbers):
        same = math.isclose(stated, found, rel_tol=SAME, abs_tol=SAME)
    else:
        same = stated == found
    if not same:
        yield Problem(path, f"{_written(stated)}; its cells come to {_written(found)}")


def _written(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _chosen(card: Card) -> Iterator[Problem]:
    """Yield what contradicts what was chosen for the row."""
    selection = card.selection
    if selection is None:
        return
    for text in contradictions(selection):
        yield Problem("$.selection", text)
    members = {"none", *selection.reported}
    cells = {(s.attack, s.scenario) for s in card.scores}
    fresh = {
        (name, cell)
        for name, several in selection.fresh.items()
        if name in members
        for cell in several
    }
    for i, score in enumerate(card.scores):
        if (score.attack, score.scenario) not in fresh:
            yield Problem(f"$.cells[{i}].scenario", f"is not what was chosen as {score.attack!r}")
    if lacking := len(fresh - cells):
        yield Problem("$.cells", f"lacks {lacking} of the {len(fresh)} cells that are reported")


def _of_suite(card: Card, rules: Rules) -> Iterator[Problem]:
    """Yield what is not the suite's."""
    selection = card.selection
    if selection is not None and rules.plan is not None:
        if selection.plan != rules.plan:
            yield Problem(
                "$.selection.plan", f"rows of {card.ruleset} are evaluated in another way"
            )
        if strange := rules.strange(selection.given):
            yield Problem("$.selection.given", strange)
        return
    if (selection is None) != (rules.plan is None):
        how = "are chosen for each row" if rules.plan else "are an axis of its grid"
        yield Problem("$.selection", f"the attacks of {card.ruleset} {how}")
        return
    for i, cell in enumerate(card.scenarios):
        if strange := rules.strange(cell):
            yield Problem(f"$.cells[{i}].scenario", strange)
    if lacking := rules.lacking(card.scenarios):
        attacks = ", ".join(dict.fromkeys(cell.attack for cell in lacking))
        seeds = ", ".join(map(str, sorted({cell.seed for cell in lacking})))
        yield Problem(
            "$.cells",
            f"lacks {len(lacking)} of the row's cells in {card.ruleset}: seeds {seeds}, attacks "
            f"{attacks}",
        )


def _suspicions(card: Card, row: Row) -> Iterator[Problem]:
    """Yield what need not be wrong, and is seldom right."""
    told = [score.scenario.to_dict() for score in card.scores]
    for name in dict.fromkeys(str(one[field]) for field in catalogue.FIELDS for one in told):
        if not name.isascii():
            others = ", ".join(f"U+{ord(c):04X}" for c in dict.fromkeys(name) if ord(c) > 127)
            yield Problem(
                "$.scenario", f"{name!a}: {others}, which may look like letters of another name"
            )
    gap = card.content["board"]["gap"]
    if gap is not None and gap < -MARGIN and "honest" not in row.needs:
        yield Problem(
            "$.values.worst.mean",
            f"{row.worst.mean:.3f} is better than the oracle, which is told who is honest, by "
            f"{-gap:.3f}",
        )
    if row.clean is not None and row.worst.mean > row.clean.mean + MARGIN:
        yield Problem(
            "$.values.worst.mean",
            f"{row.worst.mean:.3f} is above the accuracy without attack, {row.clean.mean:.3f}",
        )
    examples = known_examples(row.scores)
    prints: dict[str, int] = {}
    for i, cell in enumerate(card.content["cells"]):
        first = prints.setdefault(cell["rounds"], i)
        if first != i and cell["status"] == "done":
            one, other = (card.scenarios[n] for n in (first, i))
            if one.seed != other.seed:
                yield Problem(
                    f"$.cells[{i}].rounds",
                    f"seed {other.seed} came to the same run, to the last bit, as seed {one.seed} "
                    f"in $.cells[{first}]",
                )
    by_attack: dict[str, list[Score]] = {}
    for score in row.scores:
        by_attack.setdefault(score.attack, []).append(score)
    for name, scores in by_attack.items():
        if text := _too_close(scores, examples):
            where = "$.values.clean" if name == "none" else f"$.values.attacks[{name!r}]"
            yield Problem(where, text)


def _too_close(scores: Sequence[Score], examples: int) -> str:
    """Say whether seeds' accuracies are closer than chance makes them; empty: they are not.

    Two seeds get D examples right that the other gets wrong, or the other way round. If each went
    to either side by chance, their numbers of right examples would differ by √D (the variance is
    D), and what examples have in common only makes it more. So (S - 1) s² / (D̄ / 2), with s² the
    variance of the numbers and D̄ the mean over pairs, is as small as the quantile of χ² with S - 1
    degrees of freedom seldom. Models that have learnt little agree by what they get wrong alike,
    and are left out.
    """
    accuracies = [score.accuracy for score in scores]
    if len(scores) < 3 or sum(accuracies) / len(scores) < LEARNT:
        return ""
    if len(set(accuracies)) == 1 and accuracies[0] < 1:
        return f"all {len(scores)} seeds have the accuracy {accuracies[0]:.4f}"
    if not examples:
        return ""
    bits = np.array([np.frombuffer(score.right or b"", dtype=np.uint8) for score in scores])
    marks = np.unpackbits(bits, axis=1, count=examples)
    apart = float(np.mean([(marks[i] != marks[j]).sum() for i, j in _pairs(len(scores))]))
    if not apart:
        return ""
    from scipy.special import chdtr  # scipy.stats takes half a second to import

    freedom = len(scores) - 1
    spread = freedom * float(marks.sum(axis=1).var(ddof=1)) / (apart / 2)
    if (p := float(chdtr(freedom, spread))) >= UNLIKELY:
        return ""
    deviation = float(np.std(accuracies, ddof=1))
    expected = math.sqrt(apart / 2) / examples
    return (
        f"the spread over seeds is too small: a standard deviation of {deviation:.5f}, where "
        f"{apart:.0f} of {examples} test examples that two seeds answer differently make "
        f"{expected:.5f} or more (p = {p:.1g})"
    )


def _pairs(count: int) -> Iterable[tuple[int, int]]:
    return combinations(range(count), 2)


def _lowering(card: Card) -> tuple[list[Problem], list[str]]:
    """Say whether the attack lowers its row, whose card lies in its folder or the one above."""
    lowers = card.lowers
    assert lowers is not None
    here = Path(card.where).parent
    for path in (here / f"{lowers['hash']}.json", here.parent / f"{lowers['hash']}.json"):
        if card.where and path.is_file():
            read = checked(path)
            if read.problems or read.card is None:
                return [Problem("$.lowers.hash", f"{path}: {p}") for p in read.problems], []
            problems = [Problem("$.lowers", text) for text in not_lowering(card, read.card)]
            if read.card.hash != lowers["hash"]:
                problems.append(
                    Problem("$.lowers.hash", f"{path}: is the card of row {read.card.hash}")
                )
            problems += _differences("$.lowers.worst", lowers["worst"], read.card.row.worst.mean)
            problems += _differences("$.lowers.ruleset", lowers["ruleset"], read.card.ruleset)
            return problems, []
    return [], [
        f"the card of row {lowers['hash']}, which the attack is to lower, is neither in "
        f"{str(here)!r} nor above: whether it does is not checked"
    ]
