"""A card that was checked, and results of which a sample was run again, as pages."""

from __future__ import annotations

from hgobench.cards.check import Checked
from hgobench.statistics import FEWEST
from hgobench.verification import BEYOND, POWER, Verification

from .boards import stated
from .comparison import provenance
from .page import Block, Cell, Facts, Page, Table, Text


def page(found: Verification) -> Page:
    """Return what came of checking results as a page."""
    blocks: list[Block] = [Facts(_about(found))]
    for title, texts in (("Wrong", found.problems), ("Suspicious", found.suspicions)):
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
        for one in sorted(found.again, key=lambda one: (-abs(one.raised), one.claimed.address))
    ]
    header = ["ruleset", "rule", "attack", "seed", "there", "here", "difference"]
    blocks += [Table("cells", "Run again", header, lines, range(3, 7))] if lines else []
    blocks += [provenance(found.provenance, ("there", "here"))] if found.provenance else []
    blocks += [Text(note, "note") for note in [*_notes(found), *found.notes]]
    return Page("verify", f"Verification of {found.where}", blocks, content=found.as_data())


def _list(title: str, texts: object) -> Table:
    assert isinstance(texts, list | tuple)
    return Table(title.lower(), title, ["what"], [[text] for text in texts])


def _about(found: Verification) -> list[tuple[str, str]]:
    told = [
        ("results", found.where),
        ("verdict", _verdict(found)),
        ("cells", f"{found.claimed}; {len(found.again)} run again (--draw {found.draw})"),
    ]
    strict = [one for one in found.again if one.same_kind]
    if strict:
        same = sum(not one.pair.changed for one in strict)
        told.append(("same kind of processor", f"{same} of {len(strict)} the same to the last bit"))
    if (overall := found.overall) is not None:
        count = len(found.again) - len(strict)
        between = (
            f"95 %: {overall.low:+.4f} to {overall.high:+.4f}"
            if count >= FEWEST
            else f"fewer than {FEWEST} cells: no interval"
        )
        told.append(
            ("mean difference elsewhere", f"{overall.difference:+.4f} ({between}, {count} cells)")
        )
    return told


def _verdict(found: Verification) -> str:
    if found.problems:
        return "not confirmed"
    return "confirmed" if found.again else "nothing was run again"


def _notes(found: Verification) -> list[str]:
    if not found.again:
        return []
    loose = [one for one in found.again if not one.same_kind]
    how = f", by more than {BEYOND:g} if not on the same kind of processor" if loose else ""
    notes = [
        f"A forgery of {found.few} of the {found.usable} cells or more{how} is found by such a "
        f"sample with a probability of {POWER:.0%} or more."
    ]
    if loose:
        notes.append(
            "On other processors, or with other versions, last bits differ, and now and then a "
            "cell by several hundredths: difference is the accuracy there less the one here. "
            + (
                f"Too few cells to find a forgery by their mean: expected {FEWEST} or more."
                if found.least is None
                else "The smallest forgery of all cells alike that their mean finds with a "
                f"probability of {POWER:.0%}: {found.least:.4f}."
            )
        )
    return notes


def checked_page(where: str, found: Checked) -> Page:
    """Return what came of checking a card as a page."""
    blocks: list[Block] = []
    told = [("card", where)]
    if found.card is not None:
        row = found.card.content["row"]
        told += [("row", f"{row['label']} ({found.card.hash}), ruleset {found.card.ruleset}")]
        if not found.problems:
            told.append(("worst case", stated(found.card.row.worst)))
    told.append(("verdict", _sound(found)))
    blocks.append(Facts(told))
    for title, problems in (("Wrong", found.problems), ("Suspicious", found.suspicions)):
        if problems:
            blocks.append(Table(title.lower(), title, ["path", "what"], [[*p] for p in problems]))
    blocks += [Text(note, "note") for note in found.notes]
    content = {
        "card": where,
        "sound": not found.problems,
        "problems": [problem._asdict() for problem in found.problems],
        "suspicions": [problem._asdict() for problem in found.suspicions],
        "notes": list(found.notes),
    }
    return Page("check", f"Check of {where}", blocks, content=content)


def _sound(found: Checked) -> str:
    if found.problems:
        count = len(found.problems)
        return f"{count} problem{'s' * (count > 1)}"
    count = len(found.suspicions)
    return f"nothing is wrong{f'; {count} suspicious' * bool(count)}"
