"""A card that was checked, and results of which a sample was run again, as pages."""

from __future__ import annotations

from hgobench.cards.check import Checked
from hgobench.statistics import FEWEST
from hgobench.verification import BEYOND, POWER, Verification

from .boards import stated
from .comparison import provenance
from .page import Block, Cell, Facts, Page, Table, Text


def page(checked: Verification) -> Page:
    """Return what came of checking results as a page."""
    blocks: list[Block] = [Facts(_about(checked))]
    for title, texts in (("Wrong", checked.problems), ("Suspicious", checked.suspicions)):
        blocks += [_list(title, texts)] if texts else []
    lines: list[list[Cell]] = [
        [
            one.claimed.cell.ruleset,
            one.claimed.scenario.rule,
            one.claimed.scenario.attack,
            one.claimed.scenario.seed,
            f"{one.pair.a.accuracy:.4f}",
            f"{one.pair.b.accuracy:.4f}",
            f"{one.raised:+.4f}" if one.pair.changed else "same bits",
        ]
        for one in sorted(checked.again, key=lambda one: (-abs(one.raised), one.claimed.address))
    ]
    header = ["ruleset", "rule", "attack", "seed", "there", "here", "difference"]
    blocks += [Table("cells", "Run again", header, lines, range(3, 7))] if lines else []
    blocks += [provenance(checked.provenance, ("there", "here"))] if checked.provenance else []
    blocks += [Text(note, "note") for note in [*_notes(checked), *checked.notes]]
    return Page("verify", f"Verification of {checked.where}", blocks, content=checked.as_data())


def _list(title: str, texts: object) -> Table:
    assert isinstance(texts, list | tuple)
    return Table(title.lower(), title, ["what"], [[text] for text in texts])


def _about(checked: Verification) -> list[tuple[str, str]]:
    told = [
        ("results", checked.where),
        ("verdict", _verdict(checked)),
        ("cells", f"{checked.claimed}; {len(checked.again)} run again (--draw {checked.draw})"),
    ]
    strict = [one for one in checked.again if one.same_kind]
    if strict:
        same = sum(not one.pair.changed for one in strict)
        told.append(("same kind of processor", f"{same} of {len(strict)} the same to the last bit"))
    if (overall := checked.overall) is not None:
        count = len(checked.again) - len(strict)
        between = (
            f"95 %: {overall.low:+.4f} to {overall.high:+.4f}"
            if count >= FEWEST
            else f"fewer than {FEWEST} cells: no interval"
        )
        told.append(
            ("mean difference elsewhere", f"{overall.difference:+.4f} ({between}, {count} cells)")
        )
    return told


def _verdict(checked: Verification) -> str:
    if checked.problems:
        return "not confirmed"
    return "confirmed" if checked.again else "nothing was run again"


def _notes(checked: Verification) -> list[str]:
    if not checked.again:
        return []
    loose = [one for one in checked.again if not one.same_kind]
    how = f", by more than {BEYOND:g} if not on the same kind of processor" if loose else ""
    notes = [
        f"A forgery of {checked.few} of the {checked.usable} cells or more{how} is found by such "
        f"a sample with a probability of {POWER:.0%} or more."
    ]
    if loose:
        notes.append(
            "On other processors, or with other versions, last bits differ, and now and then a "
            "cell by several hundredths: difference is the accuracy there less the one here. "
            + (
                f"Too few cells to find a forgery by their mean: expected {FEWEST} or more."
                if checked.least is None
                else "The smallest forgery of all cells alike that their mean finds with a "
                f"probability of {POWER:.0%}: {checked.least:.4f}."
            )
        )
    return notes


def checked_page(where: str, checked: Checked) -> Page:
    """Return what came of checking a card as a page."""
    blocks: list[Block] = []
    told = [("card", where)]
    if checked.card is not None:
        row = checked.card.content["row"]
        told += [("row", f"{row['label']} ({checked.card.hash}), ruleset {checked.card.ruleset}")]
        if not checked.problems:
            told.append(("worst case", stated(checked.card.row.worst)))
    told.append(("verdict", _sound(checked)))
    blocks.append(Facts(told))
    for title, problems in (("Wrong", checked.problems), ("Suspicious", checked.suspicions)):
        if problems:
            blocks.append(Table(title.lower(), title, ["path", "what"], [[*p] for p in problems]))
    blocks += [Text(note, "note") for note in checked.notes]
    content = {
        "card": where,
        "sound": not checked.problems,
        "problems": [problem._asdict() for problem in checked.problems],
        "suspicions": [problem._asdict() for problem in checked.suspicions],
        "notes": list(checked.notes),
    }
    return Page("check", f"Check of {where}", blocks, content=content)


def _sound(checked: Checked) -> str:
    if checked.problems:
        count = len(checked.problems)
        return f"{count} problem{'s' * (count > 1)}"
    count = len(checked.suspicions)
    return f"nothing is wrong{f'; {count} suspicious' * bool(count)}"
