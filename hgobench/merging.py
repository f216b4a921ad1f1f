"""Stores of the same rulesets merged into one, if nothing in them contradicts another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from hgobench.arguments import check_arguments, folder
from hgobench.comparison import stated
from hgobench.errors import InputError
from hgobench.evaluation import evaluate
from hgobench.evaluation.selection import Selection
from hgobench.leaderboard import BOARD
from hgobench.results import Result, Store, StoreError, open_store
from hgobench.results.store import as_data
from hgobench.scenario import ATTACK, Scenario
from hgobench.writing import whole

LISTED = 20  # conflicts
AT_ONCE = 200  # results per transaction


@dataclass(frozen=True)
class Merged:
    """What was merged.

    Attributes:
        out: the folder.
        folders: those that were merged.
        cells: how many results each of them held.
        kept: how many results the new folder holds.
        shared: how many of them more than one folder held.
        measurements: how many measurements the new folder holds.
        notes: what differs between the folders.
    """

    out: Path
    folders: Sequence[str]
    cells: Sequence[int]
    kept: int
    shared: int
    measurements: int
    notes: Sequence[str]

    def __str__(self) -> str:
        counts = zip(self.folders, self.cells, strict=True)
        lines = [f"{where}: {count} cells" for where, count in counts]
        lines.append(
            f"{self.out}: {self.kept} cells, {self.shared} of them in several folders, and "
            f"{self.measurements} measurements"
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class _Record:
    """A result without its table of rounds.

    Attributes:
        source: the number of the folder.
        key: its address.
        ruleset, scenario: the cell.
        numbers: a hash of all that it says but for its provenance and measures.
        measures: a hash of these; empty: it has none, as those of older versions.
        accuracy: for messages.
        priority: of records of one cell the one that sorts first is kept.
    """

    source: int
    key: str
    ruleset: str
    scenario: Scenario
    numbers: str
    measures: str
    accuracy: float
    priority: tuple[Any, ...]

    @property
    def failed(self) -> bool:
        """Whether a run would compute the cell again."""
        return bool(self.priority[0])


@dataclass
class _Held:
    """What a folder says of a ruleset.

    Attributes:
        values: the values of each field that makes a board.
        digests: of each data set.
        facts: of provenance, the values of each.
    """

    values: dict[str, set[Any]] = field(default_factory=dict)
    digests: dict[str, set[str]] = field(default_factory=dict)
    facts: dict[str, set[str]] = field(default_factory=dict)


def merge(*folders: str | Path, out: str | Path) -> Merged:
    """Merge folders of results into a new one.

    Cells are joined by ruleset and scenario. What several folders hold must have the same numbers;
    of records that differ in nothing but what they were computed with, one is kept, the same
    whatever the order of the folders. A cell that failed in one folder and ended in another is
    taken from the other. What was chosen for the rows of an evaluation is joined row by row.

    Args:
        folders: two or more, as ``hgobench run`` makes them.
        out: the new folder; it may exist, but hold no results.

    Raises:
        InputError: a folder holds no results, `out` does, or folders contradict each other; with
            all contradictions. Nothing is written then.
        StoreError: `out` can't be written; nothing is left of it.

    Example:
        >>> import tempfile
        >>> from hgobench import run
        >>> with tempfile.TemporaryDirectory() as name:
        ...     for seed in (0, 1):
        ...         with open_store(f"{name}/{seed}") as store:
        ...             store.add(run(Scenario(workers=20, rounds=1, seed=seed)), "mine-1")
        ...     merge(f"{name}/0", f"{name}/1", out=f"{name}/both").kept
        2
    """
    given = {f"folder {i}": (folder, one) for i, one in enumerate(folders, 1)}
    check_arguments(out=(folder, out), **given)
    target = Path(out)
    if len(folders) < 2:
        raise InputError(f"merge: {len(folders)} folders; expected two or more")
    if (target / "results.sqlite").exists():
        raise InputError(f"out: {str(target)!r} holds results; name a new folder")
    names = [str(one) for one in folders]
    merging = _Merging(names)
    for number, name in enumerate(names):
        with open_store(name, create=False) as store:
            merging.read(number, store)
    merging.check()
    with whole(target) as unfinished, open_store(unfinished) as store:
        merging.write(store)
    return merging.merged(target)


class _Merging:
    """Folders that are being merged."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.counts = [0] * len(names)
        self.shared = set[tuple[str, str]]()
        self._records: dict[tuple[str, str], _Record] = {}
        self._addresses: dict[str, tuple[str, str]] = {}
        self._held: dict[str, dict[int, _Held]] = {}
        self._selections: dict[str, dict[int, list[Selection]]] = {}
        self._measured: dict[str, tuple[str, Any, int]] = {}
        self._problems: list[str] = []

    def read(self, number: int, store: Store) -> None:
        """Read a folder, and hold it against those before."""
        for key, ruleset, result in store.entries():
            self.counts[number] += 1
            self._see(number, ruleset, result)
            self._add(_record(number, key, ruleset, result))
        if not self.counts[number]:
            raise InputError(f"store: {self.names[number]!r}: holds no results")
        for key, what, value in store.measured():
            ruleset = what.removeprefix(f"{evaluate.WHAT} ")
            if key == evaluate.address(ruleset):
                found = [Selection.restore(one) for one in value]
                if found:
                    self._selections.setdefault(ruleset, {})[number] = found
            else:
                self._measure(number, key, what, value)

    def _see(self, number: int, ruleset: str, result: Result) -> None:
        held = self._held.setdefault(ruleset, {}).setdefault(number, _Held())
        scenario, facts = result.scenario, result.provenance
        for name in scenario.of_role(*BOARD):
            if name not in ATTACK:
                held.values.setdefault(name, set()).add(getattr(scenario, name))
        if facts.get("data"):
            held.digests.setdefault(scenario.data, set()).add(facts["data"])
        for name, value in facts.items():
            if name not in ("data", "needs"):
                held.facts.setdefault(name, set()).add(stated(value))

    def _add(self, record: _Record) -> None:
        cell = record.ruleset, record.scenario.digest
        if self._addresses.setdefault(record.key, cell) != cell:
            self._problems.append(
                f"address {record.key} is of two cells; in {self.names[record.source]!r} of "
                f"{record.ruleset!r}, {record.scenario!r}"
            )
            return
        other = self._records.setdefault(cell, record)
        if other is record:
            return
        self.shared.add(cell)
        ended = not (other.failed or record.failed)
        same = other.numbers == record.numbers
        measured = other.measures and record.measures
        if ended and not (same and (not measured or other.measures == record.measures)):
            what = "measures of its end" if same else "numbers of its rounds"
            self._problems.append(
                f"{record.ruleset!r}, {record.scenario!r}: accuracy {other.accuracy:.4f} in "
                f"{self.names[other.source]!r}, {record.accuracy:.4f} in "
                f"{self.names[record.source]!r}"
                + f" ({what} differ)"
                * (other.accuracy == record.accuracy)
            )
        elif record.priority < other.priority:
            self._records[cell] = record

    def _measure(self, number: int, key: str, what: str, value: Any) -> None:
        known = self._measured.setdefault(what, (key, value, number))
        if known[1] != value:
            self._problems.append(
                f"measurement {what}: one value in {self.names[known[2]]!r}, another in "
                f"{self.names[number]!r}"
            )
        elif key < known[0]:
            self._measured[what] = key, value, number

    def check(self) -> None:
        """Raise InputError if folders contradict each other, with all contradictions."""
        for ruleset, held in sorted(self._held.items()):
            self._check_data(ruleset, held)
            self._check_selections(ruleset, held)
        if self._problems:
            more = len(self._problems) - LISTED
            tail = [f"and {more} more"] if more > 0 else []
            raise InputError(
                [
                    f"merge: {len(self._problems)} contradictions; hgobench compare shows what the "
                    "folders have in common:",
                    *self._problems[:LISTED],
                    *tail,
                ]
            )

    def _check_data(self, ruleset: str, held: Mapping[int, _Held]) -> None:
        for name in sorted({name for one in held.values() for name in one.digests}):
            known = {n: one.digests[name] for n, one in held.items() if name in one.digests}
            if len({frozenset(digests) for digests in known.values()}) > 1:
                where = " and ".join(repr(self.names[number]) for number in known)
                self._problems.append(
                    f"{ruleset!r}: {where} are of different data under the name {name!r}"
                )

    def _check_selections(self, ruleset: str, held: Mapping[int, _Held]) -> None:
        chosen = self._selections.get(ruleset, {})
        if not chosen:
            return
        for number in held.keys() - chosen.keys():
            self._problems.append(
                f"{ruleset!r}: different rulesets under one name: attacks are chosen for each row "
                f"in {self.names[min(chosen)]!r}, and not in {self.names[number]!r}"
            )
        by_row: dict[Scenario, tuple[int, Selection]] = {}
        first = min(chosen)
        for number, selections in sorted(chosen.items()):
            if any(one.plan != chosen[first][0].plan for one in selections):
                self._problems.append(
                    f"{ruleset!r}: different rulesets under one name: rows are evaluated in "
                    f"another way in {self.names[number]!r} than in {self.names[first]!r}"
                )
                continue
            for one in selections:
                source, other = by_row.setdefault(one.given, (number, one))
                if other.to_dict() != one.to_dict():
                    self._problems.append(
                        f"{ruleset!r}: for {one.given!r} other attacks or parameters are chosen in "
                        f"{self.names[number]!r} than in {self.names[source]!r}"
                    )

    def write(self, store: Store) -> None:
        """Write everything to a new store.

        Raises:
            StoreError: a folder has changed since it was read.
        """
        for number, name in enumerate(self.names):
            keys = [r.key for r in self._records.values() if r.source == number]
            numbers = {r.key: r.numbers for r in self._records.values() if r.source == number}
            with open_store(name, create=False, say=lambda text: None) as source:
                written = 0
                for some in _batches(source.entries(keys)):
                    if any(_numbers(result) != numbers[key] for key, _, result in some):
                        break
                    store.add_all((result, ruleset, key) for key, ruleset, result in some)
                    written += len(some)
            if written != len(keys):
                raise StoreError(f"{name!r} has changed while it was merged; merge again")
        for what, (key, value, _) in sorted(self._measured.items()):
            store.keep(key, what, value)
        for ruleset, chosen in sorted(self._selections.items()):
            rows = {one.given: one for some in chosen.values() for one in some}
            evaluate.keep(store, ruleset, [rows[given] for given in sorted(rows, key=_order)])

    def merged(self, out: Path) -> Merged:
        """Say what was merged."""
        return Merged(
            out,
            self.names,
            self.counts,
            len(self._records),
            len(self.shared),
            len(self._measured) + len(self._selections),
            [*self._notes()],
        )

    def _notes(self) -> Iterator[str]:
        for ruleset, held in sorted(self._held.items()):
            if evaluate.chooses(ruleset):
                continue
            lacking = [self.names[n] for n in range(len(self.names)) if n not in held]
            if lacking:
                yield f"{ruleset!r} is not in {', '.join(map(repr, lacking))}"
            for name in sorted({name for one in held.values() for name in one.values}):
                values = {n: one.values[name] for n, one in held.items()}
                if len(values) > 1 and not set.intersection(*values.values()):
                    yield f"{ruleset!r}: {name}: {self._listed(values)}"
        facts: dict[str, dict[int, set[str]]] = {}
        for held in self._held.values():
            for number, one in held.items():
                for name, known in one.facts.items():
                    facts.setdefault(name, {}).setdefault(number, set()).update(known)
        for name, by_folder in sorted(facts.items()):
            if len({frozenset(known) for known in by_folder.values()}) > 1:
                yield f"computed with another {name}: {self._listed(by_folder)}"

    def _listed(self, values: Mapping[int, set[Any]]) -> str:
        return "; ".join(
            f"{', '.join(sorted(map(str, some)))} in {self.names[number]!r}"
            for number, some in sorted(values.items())
        )


def _record(number: int, key: str, ruleset: str, result: Result) -> _Record:
    facts = json.dumps(result.provenance, sort_keys=True)
    failed, unknown = result.status == "failed", not result.provenance.get("data")
    numbers, measures = _numbers(result), ""
    if result.measures:
        measures = _hash(dict(result.measures))
    # What a run would compute again gives way to what it would not, and who knows less to who knows
    # more.
    priority = failed, not measures, unknown, facts, result.seconds, numbers, key
    accuracy = result.summary["test_accuracy"]
    return _Record(number, key, ruleset, result.scenario, numbers, measures, accuracy, priority)


def _numbers(result: Result) -> str:
    """Return a hash of how a cell ended, its rounds, and which test examples were right."""
    told = {name: v for name, v in as_data("", result).items() if name in ("rounds", "right")}
    return _hash([told, result.status, result.reason])


def _hash(content: object) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _order(row: Scenario) -> str:
    return json.dumps(row.to_dict())


def _batches(
    entries: Iterable[tuple[str, str, Result]],
) -> Iterator[list[tuple[str, str, Result]]]:
    entries = iter(entries)
    while some := list(islice(entries, AT_ONCE)):
        yield some
