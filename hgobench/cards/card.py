"""A card: all that a row of a board says, and of what cells, in one JSON file.

Whatever can be worked out from the cells' values is worked out from them again when a card is
checked (`hgobench.cards.check`), so that a number that was raised contradicts the cells; these are
run again by `hgobench.verification`.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from hgobench import catalogue
from hgobench.attacks.threat_models import THREAT_MODELS
from hgobench.boundary import PluginError
from hgobench.citation import Citation
from hgobench.comparison import Cell
from hgobench.errors import InputError
from hgobench.evaluation.selection import Selection
from hgobench.leaderboard import Row, Score, Spent, boards
from hgobench.reading import content
from hgobench.results.address import Addresses, code_stated
from hgobench.results.result import at_fault
from hgobench.results.rows import scenario_of
from hgobench.scenario import Scenario
from hgobench.statistics import Estimate, share

FORMAT = "hgobench-card-1"
SCHEMA = Path(__file__).with_name("card-1.schema.json")
LARGEST = 16 * 2**20  # bytes of a card that are read; 100 cells on 10,000 examples have 0.4 MB
DIGITS = 20  # of an integer: more than any count or seed has
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}  # control, direction, halves of pairs, line ends
APART = ("code", "data", "data_differs", "needs")  # of provenance, what has a place of its own


@dataclass(frozen=True)
class Card:
    """A row of a board, read from its card.

    Attributes:
        where: the file; empty: it is in none yet.
        content: what the file holds, as the schema has it.

    Example:
        >>> Card("", {"ruleset": "quick-3", "hash": "53c4ae750600"}).ruleset
        'quick-3'
    """

    where: str
    content: Mapping[str, Any] = field(repr=False)

    @property
    def hash(self) -> str:
        """The row's hash."""
        return str(self.content["hash"])

    @property
    def ruleset(self) -> str:
        """The name under which scores compare."""
        return str(self.content["ruleset"])

    @property
    def lowers(self) -> Mapping[str, Any] | None:
        """The row that its attack lowers: hash and worst case; None: it is a row's own card."""
        found: Mapping[str, Any] | None = self.content["lowers"]
        return found

    @cached_property
    def selection(self) -> Selection | None:
        """What was chosen for the row; None: its attacks are an axis of the grid.

        Raises:
            Exception: of many kinds, where the content is no selection.
        """
        kept = self.content["selection"]
        if kept is None:
            return None
        for fields in (kept["given"], kept["row"], *(choice for choice, _ in kept["choices"])):
            scenario_of(fields)
        return Selection.restore(kept)

    @cached_property
    def scenarios(self) -> list[Scenario]:
        """The scenario of each cell.

        Raises:
            ValueError: a field is wrong.
        """
        shared = self.content["scenario"]
        return [scenario_of({**shared, **cell["scenario"]}) for cell in self.content["cells"]]

    @cached_property
    def provenance(self) -> list[dict[str, Any]]:
        """What each cell's numbers were computed with, as results have it."""
        content = self.content
        told = []
        for cell, scenario in zip(content["cells"], self.scenarios, strict=True):
            data = content["data"][scenario.data]
            facts = {**content["environments"][cell["environment"]], "needs": cell["needs"]}
            facts |= {"code": content["sources"]["code"], "data": data["digest"]}
            told.append(facts | ({"data_differs": data["differs"]} if "differs" in data else {}))
        return told

    @cached_property
    def scores(self) -> list[Score]:
        """The cells as boards take them."""
        chosen = self.selection
        return [
            Score(
                scenario,
                cell["status"],
                cell["accuracy"],
                cell["live"],
                tuple(cell["needs"]),
                cell["late"],
                {name: facts[name] for name in ("data", "processor") if name in facts},
                None if cell["right"] is None else bytes.fromhex(cell["right"]),
                given=chosen.given if chosen else None,
                member=cell["attack"] if chosen and cell["attack"] != "none" else "",
                free=chosen.free if chosen else (),
                exceeded=cell["exceeded"],
                outvoted=cell["outvoted"],
                spent=Spent(**cell["spent"]),
                success=cell.get("success"),
                seconds=cell["seconds"],
                address=cell["address"],
                mistaken=at_fault(cell["status"], cell["reason"]) == "attack",
            )
            for cell, scenario, facts in zip(
                self.content["cells"], self.scenarios, self.provenance, strict=True
            )
        ]

    @cached_property
    def cells(self) -> list[Cell]:
        """The cells as comparisons take them; all columns have one print."""
        return [
            Cell(
                self.ruleset,
                score,
                (cell["status"], cell["reason"]),
                {"rounds": bytes.fromhex(cell["rounds"])},
                None if score.right is None else Cell.print_of(score.right),
                facts,
            )
            for cell, score, facts in zip(
                self.content["cells"], self.scores, self.provenance, strict=True
            )
        ]

    @cached_property
    def row(self) -> Row:
        """The row that its cells make, on a board of its own.

        Raises:
            InputError: they make several, or a cell is there twice.
        """
        rows = [row for board in boards(self.scores) for row in board.rows]
        if len(rows) != 1:
            raise InputError(f"cells: of {len(rows)} rows; expected those of one")
        return rows[0]

    def text(self) -> str:
        """Return the file's content."""
        return json.dumps(self.content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


@cache
def schema() -> Mapping[str, Any]:
    """Return the JSON schema of cards.

    >>> schema()["properties"]["format"]["const"]
    'hgobench-card-1'
    """
    read: Mapping[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return read


def load(path: str | Path) -> Any:
    """Return the content of a file of JSON, which need not be a card.

    Raises:
        InputError: it can't be read, or is no JSON; or readers might take it for different things:
            a name is there twice, a number has no double, or text has characters that are not seen.
    """
    try:
        return json.loads(
            content("card", path, LARGEST).decode(),
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_integer,
            object_pairs_hook=_named_once,
        )
    except RecursionError:
        raise InputError(f"card: {str(path)!r}: nested too deep") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        told = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"no JSON: {error}"
        raise InputError(f"card: {str(path)!r}: {told}") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{_short(text)}; expected a finite number")
    return number


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"{_short(text)}: {len(text)} digits; expected at most {DIGITS}")
    return int(text)


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"{_short(name)!a} is twice in one object; expected once")
        _readable(name)
        _readable(value)
        made[name] = value
    return made


def _readable(value: Any) -> None:
    """Refuse text that is not what it is shown as; objects within were looked at before."""
    if isinstance(value, list):
        for one in value:
            _readable(one)
    elif isinstance(value, str) and (unseen := UNSEEN & {*map(unicodedata.category, value)}):
        raise ValueError(
            f"{_short(value)!a}: has characters that are not seen (Unicode "
            f"{', '.join(sorted(unseen))}); expected text that is what it is shown as"
        )


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]} .."


def made(cited: Citation, lowers: Card | None = None) -> Card:
    """Return the card of a row.

    Args:
        cited: the row, as `hgobench.citation` finds it.
        lowers: the card of the row that its worst attack lowers; None: it is a row's own card.

    Raises:
        InputError: a plug-in's source is not here, or is not the one that computed the row; or the
            attack does not lower the other row, or not in the same setting.
    """
    row, results = cited.row, {result.scenario: result for result in cited.results}
    shared = cited.scenario
    environments: list[dict[str, Any]] = []
    cells = []
    for score in row.scores:
        result = results[score.scenario]
        facts = {name: v for name, v in sorted(result.provenance.items()) if name not in APART}
        if facts not in environments:
            environments.append(facts)
        spent = score.spent
        assert spent is not None, "scores of results say what they took"
        cells.append(
            {
                "attack": score.attack,
                "scenario": {
                    name: v for name, v in score.scenario.to_dict().items() if name not in shared
                },
                "address": score.address,
                "status": score.status,
                "reason": result.reason,
                "accuracy": score.accuracy,
                **({} if score.success is None else {"success": score.success}),
                "live": score.live,
                "exceeded": score.exceeded,
                "outvoted": score.outvoted,
                "late": score.late,
                "needs": list(score.needs),
                "spent": spent._asdict(),
                "seconds": score.seconds,
                "right": None if score.right is None else score.right.hex(),
                "rounds": printed(Cell.of(cited.holdings.ruleset, result, "test")).hex(),
                "environment": environments.index(facts),
            }
        )
    selection = cited.selection
    card = Card(
        "",
        {
            "format": FORMAT,
            "hash": row.hash,
            "ruleset": cited.holdings.ruleset,
            "row": {
                "label": row.label,
                "algorithm": row.algorithm,
                "rule": row.rule,
                "origin": row.origin,
                "needs": list(row.needs),
            },
            "scenario": shared,
            "parameters": parameters(row, selection),
            "threat_model": threat_model(row, selection),
            "values": {},
            "board": _board(cited),
            "flags": dict(row.flags),
            "seeds": cited.seeds,
            "cost": {},
            "data": _data(cited),
            "sources": _sources(cited),
            "environments": environments,
            "selection": None if selection is None else selection.to_dict(),
            "lowers": None,
            "cells": cells,
        },
    )
    card = Card("", {**card.content, "values": values(card.row), "cost": cost(card.row)})
    if lowers is None:
        return card
    from .outside import lowered

    return Card("", {**card.content, "lowers": lowered(card, lowers)})


def printed(cell: Cell) -> bytes:
    """Return one print of all columns of a cell's table of rounds."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(cell.prints):
        digest.update(name.encode() + b"\0" + cell.prints[name])
    return digest.digest()


def values(row: Row) -> dict[str, Any]:
    """Return what a row's cells come to, by themselves."""
    return {
        "clean": None if row.clean is None else asdict(row.clean),
        "worst": asdict(row.worst),
        "worst_attack": row.worst_attack,
        "known_seed": asdict(row.known_seed),
        "attacks": {
            name: {"attack": row.attacks.get(name, name), **asdict(estimate)}
            for name, estimate in row.cells.items()
            if name != "none"
        },
        "live": row.live,
        "live_attacked": row.live_attacked,
        "ended": row.ended,
        "late": row.late,
        "idle": row.idle,
    }


def cost(row: Row) -> dict[str, float]:
    """Return what a run takes, the mean over seeds under the worst attack."""
    spent = [score.spent for score in row.under_worst if score.spent is not None]
    return {
        **{name: fmean(getattr(one, name) for one in spent) for name in Spent._fields},
        "cpu_seconds": fmean(score.seconds for score in row.under_worst),
    }


def collapsed(row: Row, below: float) -> dict[str, Any]:
    """Return how many seeds end below an accuracy under the worst attack."""
    under = row.outcomes.accuracy[row.outcomes.worst]
    return asdict(share(int((under < below).sum()), int((~np.isnan(under)).sum())))


def estimate(value: Mapping[str, Any]) -> Estimate:
    """Return an estimate of a card."""
    return Estimate(**{name: value[name] for name in ("mean", "low", "high", "seeds")})


def _board(cited: Citation) -> dict[str, Any]:
    """Return what follows from other rows, and can't be worked out from the card alone."""
    row, board = cited.row, cited.board
    return {
        "title": board.title,
        "rows": len(board.rows),
        "rank": None if row.rank is None else list(row.rank),
        "gap": row.gap,
        "missing": row.missing,
        "collapse": board.collapse,
        "collapsed": asdict(row.collapsed),
    }


def parameters(row: Row, selection: Selection | None) -> dict[str, Any]:
    """Return the defence's fields, and how they were chosen.

    A field that came later is left out where it is what was done before: cards of before are right.
    """
    first = row.scores[0].scenario
    stated, known = first.to_dict(), first.declarations()
    fields = {
        name: stated[name]
        for name in first.of_role("defence")
        if known[name].before is None or stated[name] != known[name].before
    }
    if selection is None or len(selection.choices) < 2:
        return {"values": fields, "chosen": "as the suite gives them", "choices": 1}
    seeds = ", ".join(map(str, selection.plan.selection_seeds))
    return {
        "values": fields,
        "chosen": f"by accuracy on validation examples, on seeds {seeds}: "
        f"{', '.join(selection.free)}",
        "choices": len(selection.choices),
    }


def threat_model(row: Row, selection: Selection | None) -> dict[str, Any]:
    """Return what attackers know and can do; its name is None if an attack is not here."""
    first = row.scores[0].scenario
    specifications = sorted({s.scenario.attack for s in row.scores} - {"none"})
    told = {
        "byzantine": first.byzantine,
        "workers": first.workers,
        "sampled": first.sampled,
        "tolerated": first.tolerated,
        "lies_about_speed": first.lies_about_speed,
    }
    if selection is not None:
        return {"name": selection.plan.threat_model, "ensemble": selection.plan.ensemble, **told}
    return {"name": _least(specifications, first.lies_about_speed), "ensemble": None, **told}


def _least(specifications: Sequence[str], lies: str) -> str | None:
    """Return the threat model that permits some attacks and no more than it must."""
    try:
        for name, model in THREAT_MODELS.items():
            permitted = model.permitted(specifications)
            if model.lies_about_speed == (lies == "yes") and len(permitted) == len(specifications):
                return name
    except (InputError, PluginError):
        pass
    return None


def _data(cited: Citation) -> dict[str, Any]:
    """Return the digest of each data set.

    Raises:
        InputError: a result does not say it, or two say different ones.
    """
    told: dict[str, Any] = {}
    for result in cited.results:
        name, facts = result.scenario.data, result.provenance
        if not facts.get("data"):
            raise InputError(
                f"card: row {cited.row.hash}: does not say which {name!r} it was computed on, as "
                "it is of an older hgobench; the command that computed it computes it anew"
            )
        one = {"digest": facts["data"]}
        one |= {"differs": str(facts["data_differs"])} if facts.get("data_differs") else {}
        if told.setdefault(name, one) != one:
            raise InputError(f"card: row {cited.row.hash}: is of two data sets called {name!r}")
    return told


def _sources(cited: Citation) -> dict[str, Any]:
    """Return digests of the code: all of it that decides numbers, the rule's, plug-ins', files'.

    Raises:
        InputError: a plug-in is not here, or is not what computed the row.
    """
    codes = {result.provenance["code"] for result in cited.results}
    if len(codes) > 1:
        raise InputError(
            f"card: row {cited.row.hash}: its cells come from {len(codes)} versions of the code; "
            "run it again into the same folder first"
        )
    (code,) = codes
    stated = [result.scenario.to_dict() for result in cited.results]
    names = {name: dict.fromkeys(fields[name] for fields in stated) for name in catalogue.FIELDS}
    foreign = list(
        dict.fromkeys(chain.from_iterable(catalogue.foreign(fields) for fields in stated))
    )
    told: dict[str, Any] = {"code": code, "modules": {}, "files": {}}
    if code != code_stated():
        if foreign:
            raise InputError(
                f"card: {', '.join(foreign)}: whether its source here is the one that computed the "
                "row can't be told, as the results are of another version of hgobench; run it again"
            )
        return told
    addresses = Addresses(
        cited.holdings.ruleset,
        str(cited.results[0].provenance.get("device", "cpu")),
        {r.scenario.data: str(r.provenance["data"]) for r in cited.results},
    )
    for name, specifications in names.items():
        for specification in specifications:
            modules, _ = addresses.read(name, specification)
            told["modules"] |= modules
            told["files"] |= catalogue.digests({name: specification})
    for specification in names["rule"]:
        for registry, name in catalogue.registry("rule").named(specification):
            told["modules"] |= _module(registry.entry(name).factory.__module__)
    known = {score.scenario: score.address for score in cited.row.scores}
    if any(addresses.of(cell) != address for cell, address in known.items()):
        raise InputError(
            f"card: row {cited.row.hash}: "
            + (
                f"the source of {', '.join(foreign)} here is not the one that computed it"
                if foreign
                else "its addresses are not those of its scenarios, ruleset and data"
            )
        )
    return told


def _module(name: str) -> dict[str, str]:
    """Return the hash of the source of an imported module, by its name."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return {name: hashlib.sha256(Path(file).read_bytes()).hexdigest()} if file else {}
