"""Boards: algorithms and rules ranked under one threat model and budget.

What is ranked is the worst case: the lowest, over attacks, of the mean accuracy over seeds. The
attacker chooses the attack and does not know the seed. Rows are sorted by it, and a rank is a
range: the places that a row may have, by a test of all pairs of rows (`hgobench.statistics`). A
cell that diverged or failed has an accuracy of 0: a rule must not gain by giving no answer. The
oracle, which is told who is honest, has no rank: the gap to it is what not knowing costs. Nor has a
row that seldom updates the model even when nobody attacks.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from hgobench import catalogue
from hgobench.errors import InputError, unknown
from hgobench.notation import format_value
from hgobench.resolution import Resolved
from hgobench.results import Result
from hgobench.results.result import TARGETED, data_notes
from hgobench.results.tables import Kind, Line, cell_kinds, frame
from hgobench.scenario import ATTACK, Role, Scenario
from hgobench.statistics import (
    LEVEL,
    Estimate,
    Outcomes,
    Paired,
    Rank,
    Share,
    certain,
    estimates,
    ranges,
    share,
    step_down,
)

if TYPE_CHECKING:
    import pandas

    from hgobench.plots import Picture

Split = Literal["test", "validation"]
ESTIMAND = "the lowest, over attacks, of the mean over seeds"
GOAL = 0.8  # of the oracle's worst case: the accuracy that rows are timed to
LIVE = 0.5  # a row that updates in a smaller share of its rounds without attack is not live

# The roles of the fields that make a board, but for the attack; a row is one defence.
BOARD: tuple[Role, ...] = ("world", "threat", "measurement")


class Place(NamedTuple):
    """The place of a cell in a row: no two cells of a row have the same place.

    Attributes:
        column: the value of the field that the columns are.
        attack: what it was attacked with.
        repetition: which of the runs that differ in nothing else.
    """

    column: Any
    attack: str
    repetition: tuple[Any, ...]


def columns() -> tuple[str, ...]:
    """Return the fields that can be a board's columns: all fields of a scenario."""
    return tuple(Scenario.declarations())


NAMED = 3  # cells that folders contradict each other about
DIGITS = 12  # of a row's hash: of a million rows, two have the same in 1 case of 600
MISTAKEN = "an attack failed, and not the rule"  # a flag
_TOLD = ("data", "processor")  # of provenance, what boards say


class Spent(NamedTuple):
    """What a cell's run took, in all its rounds.

    Attributes:
        time: simulated, in time units.
        coordinates: gradient coordinates that all workers computed.
        bytes_up, bytes_down: what workers and what the server sent.
    """

    time: float
    coordinates: int
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True)
class Score:
    """What a board needs of a cell.

    Attributes:
        scenario: the cell.
        status: how it ended.
        accuracy: what counts: 0 if it did not end well, and `Result.worth` on test examples.
        live: the share of its rounds that updated the model.
        needs: what the rule was told besides the workers' values.
        late: whether it ran out of time.
        data: what the result says of its data and the processor; None: the score is of no
            result.
        right: which examples of the split were right (`Result.right`); None: it is not known.
        path: simulated time, bytes sent and accuracy at each evaluation; empty: not known.
        given: the row as the suite has it, if its parameters were chosen; None: the scenario.
        member: what boards call the attack, if it was chosen for the row; empty: its own name.
        free: the fields that were chosen for the row.
        exceeded: the share of rounds in which more Byzantine workers answered than f̂.
        outvoted: the share of rounds in which most that answered were Byzantine.
        spent: what its run took; None: it is not known.
        seconds: CPU seconds that it took to compute.
        server_ms: CPU milliseconds per round that the server took of these; None: not known.
        measures: what its metrics say of its end (`Result.measures`); empty: not known.
        address: of the result in its store; empty: it is of none.
        folder: where it was found, if there are several places.
        outside: of an attack that is none of its suite's, the hash of the card that brought it.
        mistaken: whether it failed by its attack's mistake, so that it says nothing of the rule.
        success: what a targeted attack has of what it wants, which the accuracy counts; None: the
            attack has no target, or the accuracy is not on test examples.
    """

    scenario: Scenario
    status: str
    accuracy: float
    live: float = 1.0
    needs: tuple[str, ...] = ()
    late: bool = False
    data: Mapping[str, Any] | None = None
    right: bytes | None = None
    path: tuple[tuple[float, float, float], ...] = ()
    given: Scenario | None = None
    member: str = ""
    free: tuple[str, ...] = ()
    exceeded: float = 0.0
    outvoted: float = 0.0
    spent: Spent | None = None
    seconds: float = field(default=0.0, compare=False)
    server_ms: float | None = field(default=None, compare=False)
    measures: Mapping[str, float] = field(default_factory=dict, compare=False)
    address: str = field(default="", compare=False)
    folder: str = field(default="", compare=False)
    outside: str = ""
    mistaken: bool = False
    success: float | None = None

    @property
    def row(self) -> Scenario:
        """The scenario by which it belongs to a row and a board."""
        return self.given or self.scenario

    @property
    def attack(self) -> str:
        """What boards call the attack."""
        return self.member or self.scenario.attack

    @property
    def numbers(self) -> tuple[Any, ...]:
        """What boards show of it, whatever it was computed with: two of one cell agree in it."""
        return (
            self.status, self.accuracy, self.live, self.late, self.right, self.path, self.exceeded,
            self.outvoted, self.spent,
        )  # fmt: skip

    @classmethod
    def of(cls, result: Result, split: Split = "test", address: str = "") -> Score:
        """Read the score off a result; choices are made on the split ``"validation"``.

        Args:
            result: the result.
            split: the examples that the accuracy is on.
            address: of the result in its store.

        Raises:
            InputError: there were no examples of that split.
        """
        accuracy = accuracy_of(result, split)
        success = result.attack_success if split == "test" else None
        rounds, stalled = result.summary["rounds"], result.summary["stalled"]
        live = 1 - stalled / rounds if rounds else 1.0
        needs = tuple(result.provenance.get("needs", ()))
        data = {name: v for name, v in result.provenance.items() if name.startswith(_TOLD)}
        right = result.right if split == "test" and success is None else None
        path = _path(result, split)
        heard, hostile = result.rounds["heard"], result.rounds["byzantine_heard"]
        exceeded = sum(byzantine > result.scenario.tolerated for byzantine in hostile)
        outvoted = sum(2 * b > every for b, every in zip(hostile, heard, strict=True))
        spent = Spent(*(result.summary[name] for name in Spent._fields))
        return cls(
            result.scenario, result.status, accuracy, live, needs, result.late, data, right, path,
            exceeded=exceeded / max(rounds, 1), outvoted=outvoted / max(rounds, 1), spent=spent,
            seconds=result.seconds, server_ms=1000 * result.server_seconds / max(rounds, 1) or None,
            measures=result.measures, address=address, mistaken=result.at_fault == "attack",
            success=success,
        )  # fmt: skip


def accuracy_of(result: Result, split: Split) -> float:
    """Return the final accuracy on a split; 0 if the run did not end well.

    On test examples it is `Result.worth`, which counts what a targeted attack achieved too.

    Raises:
        InputError: there were no examples of that split.
    """
    accuracy: float = result.worth if split == "test" else result.summary[f"{split}_accuracy"]
    if math.isnan(accuracy):
        raise InputError(f"split: {split!r}; {result.scenario.data!r} has no such examples")
    return accuracy


def _path(result: Result, split: Split) -> tuple[tuple[float, float, float], ...]:
    """Return (time, bytes, accuracy) at each evaluation of a run, as `accuracy_of` counts it."""
    rounds, sent, path = result.rounds, 0.0, []
    accuracies = rounds[f"{split}_accuracy"]
    if split == "test" and TARGETED in rounds:
        pairs = zip(accuracies, rounds[TARGETED], strict=True)
        accuracies = [min(a, 1.0 - s) if s == s else a for a, s in pairs]
    bytes_ = zip(rounds["bytes_up"], rounds["bytes_down"], strict=True)
    for time, (up, down), accuracy in zip(rounds["time"], bytes_, accuracies, strict=True):
        sent += up + down
        if not math.isnan(accuracy):
            path.append((time, sent, accuracy))
    return tuple(path)


@dataclass(frozen=True)
class Reach:
    """What it takes until a row is as accurate as a goal, under its worst attack.

    Attributes:
        goal: the accuracy.
        reached: how many seeds reach it, at an evaluation and at all later ones.
        of: how many seeds there are.
        time: the median over seeds of the simulated time until then; inf: half of the seeds, or
            more, do not reach it.
        bytes: the same of the bytes sent, up and down.
    """

    goal: float
    reached: int
    of: int
    time: float
    bytes: float

    @classmethod
    def by(cls, goal: float, cells: Iterable[Score]) -> Reach | None:
        """Return what some seeds' cells take to reach a goal; None: their paths are not known."""
        ends, known = [], list(cells)
        for cell in known:
            if not cell.path:
                return None
            below = [i for i, (_, _, accuracy) in enumerate(cell.path) if accuracy < goal]
            first = below[-1] + 1 if below else 0
            ended = cell.status != "done" or first == len(cell.path)
            ends.append((math.inf, math.inf) if ended else cell.path[first][:2])
        if not ends:
            return None
        times, sent = (sorted(column) for column in zip(*ends, strict=True))
        middle = len(ends) // 2  # of an even number the later of the two in the middle
        reached = sum(end < math.inf for end in times)
        return cls(goal, reached, len(ends), times[middle], sent[middle])


@dataclass(frozen=True)
class Row:
    """One algorithm and rule on a board.

    Attributes:
        rank: the places that it may have; None: rows that are not live, rows that lack cells, and
            the oracle come last, in this order, and have none.
        label: algorithm and rule, with what else a reader must know: the scope if the rule's name
            does not say it, the quorum v if rows differ in it, f̂ if they do or if it is not f, and
            what else tells rows of that name apart.
        origin: who brought the rule: ``"hgobench"``, a distribution, or ``module:Class``.
        needs: what the rule is told besides the workers' values: ``"root"``: clean data at the
            server; ``"honest"``: who is honest.
        clean: without attack; None if that was not run.
        worst: the lowest, over attacks, of the mean over seeds.
        known_seed: the mean over seeds of each seed's lowest accuracy: the worst case if attackers
            knew the seed.
        worst_attack: the attack with the lowest mean; None: it was not attacked, and its worst case
            is the clean one.
        collapsed: under that attack, the seeds that ended below the board's `collapse`.
        live: the share of rounds that updated the model: without attack, if that was run, else
            under the attack that lets most rounds update.
        live_attacked: the same under the attack that lets the fewest update.
        gap: by how much the mean of `worst` is below that of the oracle in the same setting; None:
            the board has no such oracle, or one of the two lacks cells.
        cells: column (an attack, or another field's value) to its estimate.
        ended: how many of its cells diverged or failed.
        late: how many of these ran out of time.
        idle: how many of its cells never updated the model.
        missing: how many cells others have and it has not; of attacks of its own, how many seeds.
        outcomes: its cells under attack, as `hgobench.statistics` takes them; a line per attack in
            the order of their names, a column per seed, which are the board's.
        chosen: the fields that were chosen for it, with what was chosen; empty where columns are
            not attacks, as each column has its own.
        attacks: of attacks that were chosen for it, the column to what they are: the attack's
            specification, and the rounds in which it acts if not in all; empty likewise.
        flags: what a reader must know before trusting it: names with the reason.
        reach: what it takes until it is as accurate as the board's goal; None: it is not known.
        hash: by which it is cited (`row_hash`); empty: its cells are of no store, or columns are
            neither attacks nor seeds, so that it is more than one row.
        folders: where its cells were found, if there are several places.
        scores: its cells, in the order of their places.
        under_worst: those under the attack with the lowest mean, in the order of the seeds.
    """

    rank: Rank | None
    algorithm: str
    rule: str
    label: str
    origin: str
    needs: Sequence[str]
    clean: Estimate | None
    worst: Estimate
    known_seed: Estimate
    worst_attack: str | None
    collapsed: Share
    live: float
    live_attacked: float
    gap: float | None
    cells: Mapping[str, Estimate]
    ended: int
    late: int
    idle: int
    missing: int
    outcomes: Outcomes = field(compare=False, repr=False)
    chosen: Mapping[str, Any] = field(default_factory=dict)
    attacks: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)
    reach: Reach | None = None
    hash: str = ""
    folders: Sequence[str] = ()
    scores: Sequence[Score] = field(default=(), compare=False, repr=False)
    under_worst: Sequence[Score] = field(default=(), compare=False, repr=False)

    @property
    def outside(self) -> dict[str, str]:
        """Attacks that are none of the suite's, with the hash of the card that brought each."""
        return {score.attack: score.outside for score in self.scores if score.outside}

    @property
    def is_live(self) -> bool:
        """Whether it updates the model in at least half of the rounds when nobody attacks."""
        return self.live >= LIVE


@dataclass(frozen=True)
class Board:
    """Rows ranked under one threat model and budget; `setting` is what defines it.

    Attributes:
        setting: the fields that define it.
        columns: attacks, or values of another field.
        rows: the best first.
        title: names what tells it from other boards.
        notes: what a reader must know of the data that its cells are of.
        examples: how many test examples intervals and ranks draw again; 0: they are over seeds
            alone, as it is not known which examples were right.
        seeds: how many seeds ranks compare rows on.
        collapse: an accuracy below this is a collapse: half of the best row's without attack; where
            that was not run, of the best mean.
        told: how many pairs of ranked rows are told apart, if no row collapses more often than its
            seeds show.
        certain: how many of them whatever seeds have not shown.
        by: the field whose values the columns are.
        scores: of its cells.
    """

    setting: Mapping[str, Any]
    columns: Sequence[str]
    rows: Sequence[Row]
    title: str
    notes: Sequence[str] = ()
    examples: int = 0
    seeds: int = 0
    collapse: float = 0.0
    told: int = 0
    certain: int = 0
    by: str = "attack"
    scores: Sequence[Score] = field(default=(), compare=False, repr=False)


class Boards(list[Board]):
    """Boards, in the order of what defines them.

    Example:
        >>> cells = [Scenario(rule=rule, seed=s) for rule in ("krum", "median") for s in range(6)]
        >>> frame = boards(Score(cell, "done", 0.5) for cell in cells).to_frame()
        >>> frame[frame["column"] == "worst"][["rule", "mean"]].to_numpy().tolist()
        [['krum', 0.5], ['median', 0.5]]
    """

    def to_frame(self) -> pandas.DataFrame:
        """Return them as a pandas data frame, as ``--format csv`` writes them (see `tidy`).

        Raises:
            InputError: pandas is not installed.
        """
        return frame(*tidy(self))

    def plot(self, kind: str, **asked: Any) -> Picture:
        """Draw them: `hgobench.plot` of these boards, with the same arguments.

        Kinds that need what happened in rounds are drawn from results.

        Raises:
            InputError: as `hgobench.plot`.

        Example:
            >>> rules, seeds = ("krum", "median"), range(6)
            >>> cells = [Scenario(rule=rule, seed=seed) for rule in rules for seed in seeds]
            >>> drawn = boards(Score(cell, "done", 0.5) for cell in cells).plot("ranks")
            >>> [row[2:4] for row in drawn.data.rows]
            [[1, 2], [1, 2]]
        """
        from hgobench.plots import plot

        return plot(self, kind, **asked)


def boards(
    scores: Iterable[Score],
    *,
    by: str = "attack",
    flags: Mapping[tuple[str, Scenario], Mapping[str, str]] | None = None,
) -> Boards:
    """Rank cells.

    A board is one combination of all fields of the roles world, threat and measurement, less the
    attack; a row is one defence; within a row, cells differ by attack and repetition. Titles and
    labels name every field that tells boards, and rows of one algorithm and rule, apart.

    What was found in several folders is one row, if the folders do not contradict each other; a
    cell that several hold with the same numbers counts once. If they do, the row is shown as each
    folder has it, and a note names the cells.

    Args:
        scores: of cells of one ruleset.
        by: the columns: each attack, or each value of another field (`columns`; then every column
            is the worst case over attacks, and so is a row's over all its columns). Fields that are
            worked out from that field do not tell boards and rows apart.
        flags: what a reader must know of rows (`Row.flags`), by their `Score.folder` and
            `Score.row`.

    Raises:
        InputError: there are no such columns, or two of the scores are of one cell.
    """
    if by not in columns():
        raise InputError(unknown("by", by, columns()))
    every = list(scores)
    kind = type(every[0].scenario) if every else Scenario
    own = ATTACK if _own(every) else ("attack",)
    without = {*own, by, *_following(by, every, own)}
    makes = [name for name in kind.of_role(*BOARD) if name not in without]
    tells = [name for name in kind.of_role("defence") if name not in without]
    groups: dict[tuple[Any, ...], list[Score]] = {}
    for score in every:
        groups.setdefault(_values(score.row, makes), []).append(score)
    titled = _telling(kind, makes, groups)
    return Boards(
        _board(groups[key], by, makes, tells, titled, flags or {})
        for key in sorted(groups, key=lambda key: [order(value) for value in key])
    )


def _own(scores: Iterable[Score]) -> bool:
    """Say whether rows have attacks that were chosen for them."""
    return any(score.member and not score.outside for score in scores)


# From which fields those that may be left open are worked out (`hgobench.resolution`).
_DETERMINES: Mapping[str, tuple[str, ...]] = {
    "workers": ("sampled", "tolerated", "quorum"),
    "byzantine": ("tolerated", "quorum"),
    "sampled": ("tolerated", "quorum"),
    "tolerated": ("quorum",),
    "quorum": ("tolerated",),
    "rule": ("scope", "quorum"),
    "scope": ("quorum",),
    "algorithm": ("scope", "quorum"),
}


def _following(by: str, scores: Sequence[Score], own: Sequence[str]) -> list[str]:
    """Return the fields that are worked out from the columns' field and differ between columns.

    Where cells that agree in all else have several values of such a field, it was given, and tells
    them apart as any other.
    """
    candidates = [name for name in Resolved._fields if name in _DETERMINES.get(by, ())]
    if not candidates or not scores:
        return []
    left_out = {*candidates, by, *own, "attack"}
    names = [name for name in type(scores[0].row).declarations() if name not in left_out]
    alike: dict[tuple[Any, ...], dict[Any, set[tuple[Any, ...]]]] = {}
    for row in dict.fromkeys(score.row for score in scores):
        by_value = alike.setdefault(_values(row, names), {})
        by_value.setdefault(getattr(row, by), set()).add(_values(row, candidates))
    given = {
        name
        for by_value in alike.values()
        for several in by_value.values()
        for i, name in enumerate(candidates)
        if len({values[i] for values in several}) > 1
    }
    differs = {
        name
        for by_value in alike.values()
        for i, name in enumerate(candidates)
        if len({values[i] for several in by_value.values() for values in several}) > 1
    }
    return [name for name in candidates if name in differs - given]


def row_hash(scores: Iterable[Score]) -> str:
    """Return the hash by which a row is cited, 12 hexadecimal digits; empty: it has none.

    Formula: the beginning of SHA-256 over the sorted, different addresses of its cells. An address
    is made of the cell's scenario, the ruleset, the code with that of plug-ins, the data and, off
    the CPU, the device (`hgobench.results.address`). So the hash changes with any of these and with
    which attacks and seeds the row has, and not with the processor, the folder, the order, or what
    other rows there are.

    >>> cells = [Score(Scenario(seed=seed), "done", 0.5, address=f"a{seed}") for seed in (0, 1)]
    >>> row_hash(cells), row_hash(reversed(cells)) == row_hash(cells), row_hash(cells[:1])
    ('86035f27e91b', True, '4e1195df020d')
    """
    addresses = {score.address for score in scores}
    if not all(addresses):
        return ""
    return hashlib.sha256("\n".join(sorted(addresses)).encode()).hexdigest()[:DIGITS]


def _values(scenario: Scenario, names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(getattr(scenario, name) for name in names)


def order(value: Any) -> tuple[bool, float, str]:
    """Return what sorts a field's values: numbers by their size, before text."""
    number = isinstance(value, int | float)
    return (not number, value if number else 0.0, str(value))


def _telling(
    kind: type[Scenario], names: Sequence[str], keys: Iterable[tuple[Any, ...]]
) -> list[str]:
    """Return the fields that are always named, and those that tell some of the keys apart."""
    declared, known = kind.declarations(), list(keys)
    return [
        name
        for i, name in enumerate(names)
        if declared[name].headline or len({key[i] for key in known}) > 1
    ]


def _board(
    group: list[Score],
    by: str,
    makes: Sequence[str],
    tells: Sequence[str],
    titled: Sequence[str],
    flags: Mapping[tuple[str, Scenario], Mapping[str, str]],
) -> Board:
    first = group[0].row
    stated, kind = first.to_dict(), type(first)
    own = _own(group)
    rows, folders, contradictions = _by_row(group, tells, own)
    placed = {key: _placed(cells, by) for key, cells in rows.items()}
    expected = {
        place for cells in placed.values() for place, cell in cells.items() if not cell.outside
    }
    columns = sorted({place.column for place in expected}, key=lambda c: (c != "none", order(c)))
    if own and by == "attack":  # a row's are in its `attacks` and `cells`; few rows share one
        columns = [column for column in columns if column == "none"]
    axes = _Axes(sorted({place.repetition for place in expected}), known_examples(group))
    collapse = 0.5 * max(
        (axes.outcomes(clean).value for cells in placed.values() if (clean := _clean(cells))),
        default=max(axes.outcomes(cells).means.max() for cells in placed.values()),
    )
    if by in kind.of_role("repetition"):  # of each row the worst case, on one seed at a time
        seeds = {getattr(score.scenario, by) for score in group}
        columns = sorted(seeds, key=order)
    labels = _labels(kind, tells, rows)
    by_key = {
        key: replace(
            _row(cells, by, columns, axes, collapse),
            label=labels[key],
            flags={
                **flags.get((rows[key][0].folder, rows[key][0].row), {}),
                **_mistaken(cells.values()),
            },
            missing=_missing(expected, cells, own),
            folders=folders[key],
        )
        for key, cells in placed.items()
    }
    by_key = {
        key: replace(row, gap=_gap(kind, tells, key, row, by_key)) for key, row in by_key.items()
    }
    ranked = [
        key
        for key, row in by_key.items()
        if row.is_live and not row.missing and "honest" not in row.needs
    ]
    rows_ranked = paired([by_key[key] for key in ranked])
    better = np.ones((len(ranked), len(ranked)))
    if rows_ranked:
        better = step_down(rows_ranked)
    ranks = ranges(better)
    for key, rank in zip(ranked, ranks, strict=True):
        by_key[key] = replace(by_key[key], rank=rank)
    goal = GOAL * max(
        (row.worst.mean for row in by_key.values() if "honest" in row.needs), default=2 * collapse
    )
    made = sorted(
        (replace(row, reach=_reach(goal, row, placed[key])) for key, row in by_key.items()),
        key=lambda row: (
            "honest" in row.needs,
            row.missing > 0,
            not row.is_live,
            -row.worst.mean,
            -(row.clean.mean if row.clean else 0.0),
            row.label,
        ),
    )
    return Board(
        {name: stated[name] for name in makes},
        [str(column) for column in columns],
        made,
        title=", ".join(f"{name} {stated[name]}" for name in titled),
        notes=[
            *contradictions,
            *data_notes((one.scenario.data, one.data) for one in group if one.data is not None),
        ],
        examples=axes.examples,
        seeds=rows_ranked.seeds.shape[1] if rows_ranked else 0,
        collapse=collapse,
        told=int((better <= LEVEL).sum()),
        certain=int(certain(rows_ranked, better).sum()) if rows_ranked else 0,
        by=by,
        scores=group,
    )


class _Key(NamedTuple):
    """What tells a row of a board from the others: values of fields, and where it was found."""

    values: tuple[Any, ...]
    folder: str = ""


def _by_row(
    group: Iterable[Score], tells: Sequence[str], own: bool
) -> tuple[dict[_Key, list[Score]], dict[_Key, list[str]], list[str]]:
    """Return the cells of each row, the folders that hold them, and what contradicts what.

    Args:
        group: the cells of a board.
        tells: the fields that tell rows apart.
        own: whether rows have attacks that were chosen for them.
    """
    alike: dict[tuple[Any, ...], list[Score]] = {}
    for score in group:
        alike.setdefault(_values(score.row, tells), []).append(score)
    rows: dict[_Key, list[Score]] = {}
    folders: dict[_Key, list[str]] = {}
    differing: list[tuple[Score, Score]] = []
    apart = 0
    for values, scores in alike.items():
        of_folder: dict[str, dict[tuple[Scenario, str], Score]] = {}
        for score in scores:
            of_folder.setdefault(score.folder, {})[score.scenario, score.attack] = score
        names = list(of_folder)
        if len(names) == 1:
            rows[_Key(values)], folders[_Key(values)] = scores, names if names[0] else []
            continue
        joined: dict[tuple[Scenario, str], Score] = {}
        contradicting = [
            (other, score)
            for cells in of_folder.values()
            for cell, score in cells.items()
            if (other := joined.setdefault(cell, score)).numbers != score.numbers
        ]
        chosen = {frozenset(cells) for cells in of_folder.values()}
        if contradicting or (own and len(chosen) > 1):
            differing += contradicting
            apart += 1
            for name in names:
                key = _Key(values, name)
                rows[key] = [score for score in scores if score.folder == name]
                folders[key] = [name]
        else:
            rows[_Key(values)], folders[_Key(values)] = list(joined.values()), names
    return rows, folders, _contradictions(apart, differing)


def _contradictions(apart: int, differing: Sequence[tuple[Score, Score]]) -> list[str]:
    """Return notes on rows that folders contradict each other about."""
    if not apart:
        return []
    rows = "1 row is shown" if apart == 1 else f"{apart} rows are shown"
    if not differing:
        return [
            f"{rows} as each folder has it: other attacks or parameters were chosen in one than in "
            "another"
        ]
    cells = "1 cell has" if len(differing) == 1 else f"{len(differing)} cells have"
    told = [
        f"{one.scenario!r}: {one.accuracy:.4f} in {one.folder!r}, {other.accuracy:.4f} in "
        f"{other.folder!r}" + " (other numbers differ)" * (one.accuracy == other.accuracy)
        for one, other in differing
    ]
    more = f"; and {len(told) - NAMED} more" if len(told) > NAMED else ""
    return [
        f"{cells} other numbers in one folder than in another, so that {rows} as each folder has "
        f"it: {'; '.join(told[:NAMED])}{more}"
    ]


def _missing(expected: set[Place], cells: Mapping[Place, Score], own: bool) -> int:
    """Count the cells that others have and a row has not; if its attacks are its own, the seeds."""
    if own:
        attacks = {place.attack for place in cells}
        expected = {place._replace(attack=a, column=a) for place in expected for a in attacks}
        cells = {place._replace(column=place.attack): cell for place, cell in cells.items()}
    return len(expected - cells.keys())


def _reach(goal: float, row: Row, cells: Mapping[Place, Score]) -> Reach | None:
    """Return what a row takes to reach a goal under its worst attack."""
    worst = row.worst_attack or "none"
    return Reach.by(goal, (cell for place, cell in cells.items() if place.attack == worst))


def _labels(
    kind: type[Scenario], tells: Sequence[str], rows: Mapping[_Key, Sequence[Score]]
) -> dict[_Key, str]:
    """Return what rows are called: see `Row.label`."""
    declared = kind.declarations()
    headlines = [i for i, name in enumerate(tells) if declared[name].headline]
    alike: dict[tuple[Any, ...], list[_Key]] = {}
    for key in rows:
        alike.setdefault(tuple(key.values[i] for i in headlines), []).append(key)
    cells = [cell.row for row in rows.values() for cell in row]
    quorums = {cell.quorum for cell in cells}
    believed = {(cell.tolerated, cell.tolerated == cell.byzantine) for cell in cells}
    labels = {}
    for keys in alike.values():
        telling = set(_telling(kind, tells, [key.values for key in keys]))
        telling -= {"quorum", "tolerated"}
        for key in keys:
            first = rows[key][0].row
            stated = first.to_dict()
            parts = [str(key.values[i]) for i in headlines]
            if {"scope", "rule"} <= {*tells}:
                scope = first.scope if "scope" in telling else _stated_scope(first)
                parts += [scope] if scope else []
            if len(quorums) > 1 and "quorum" in tells:
                parts.append(f"v={first.quorum}")
            unlike = len(believed) > 1 or not all(right for _, right in believed)
            if unlike and "tolerated" in tells:
                parts.append(f"tolerated={first.tolerated}")
            parts += [
                f"{name}={stated[name]}"
                for name in tells
                if name in telling
                and not declared[name].headline
                and not (name == "scope" and "rule" in tells)
            ]
            parts += [f"in {key.folder}"] if key.folder else []
            labels[key] = " ".join(parts) or "all defences"
    return labels


def _stated_scope(scenario: Scenario) -> str:
    """Return the scope where the rule's name does not say it; no plug-in is imported for it."""
    named = {name: getattr(scenario, name) for name in ("rule", "algorithm", "workload")}
    try:
        known = not catalogue.foreign(named)
        return scenario.stated_scope if known else _unless_block(scenario.scope)
    except InputError:  # of an older hgobench
        return _unless_block(scenario.scope)


def _unless_block(scope: str) -> str:
    return "" if scope == "block" else scope


def known_examples(group: Iterable[Score]) -> int:
    """Return how many test examples there are if it is known of all cells which were right, else 0.

    The bits do not say where they end: the accuracy is the share of the examples that are right.
    """
    done = [score for score in group if score.status == "done" and score.accuracy > 0]
    bits = {len(score.right) for score in done if score.right is not None}
    if len(bits) != 1 or any(score.right is None for score in done):
        return 0
    counts = {
        round(int.from_bytes(score.right or b"").bit_count() / score.accuracy) for score in done
    }
    return counts.pop() if len(counts) == 1 and -(-max(counts) // 8) == bits.pop() else 0


def outcomes(lines: Sequence[Sequence[Score | None]], examples: int) -> Outcomes:
    """Return the arrays that `hgobench.statistics` works on, of one row.

    Args:
        lines: a line per attack, in it a score per seed; None: there is no such cell. Rows that are
            compared have the same seeds in the same order; their attacks may differ.
        examples: N, the same for all rows (`known_examples`); 0: over seeds alone.
    """
    accuracy = np.full((len(lines), len(lines[0])), math.nan)
    right = np.zeros((*accuracy.shape, -(-examples // 8)), dtype=np.uint8)
    for i, line in enumerate(lines):
        for j, score in enumerate(line):
            if score is None:
                continue
            accuracy[i, j] = min(max(score.accuracy, 0.0), 1.0)  # R² may be negative
            if examples and score.accuracy > 0 and score.right is not None:
                right[i, j] = np.frombuffer(score.right, dtype=np.uint8)
    return Outcomes(accuracy, right if examples else None, examples)


@dataclass(frozen=True)
class _Axes:
    """What the axes of a board's arrays are, the same for all rows, so that rows are paired.

    Attributes:
        seeds: the repetitions, in order.
        examples: how many test examples there are; 0: it is not known which were right.
    """

    seeds: Sequence[tuple[Any, ...]]
    examples: int

    def outcomes(self, cells: Mapping[Place, Score]) -> Outcomes:
        """Return what some of a row's cells did, a line for each of its `_members`."""
        lines: dict[tuple[Any, str], list[Score | None]]
        lines = {member: [None] * len(self.seeds) for member in _members(cells)}
        at = {seed: i for i, seed in enumerate(self.seeds)}
        for place, cell in cells.items():
            lines[place.column, place.attack][at[place.repetition]] = cell
        return outcomes(list(lines.values()), self.examples)


def _members(cells: Iterable[Place]) -> list[tuple[Any, str]]:
    """Return the different (column, attack) of some places, in order."""
    members = {(place.column, place.attack) for place in cells}
    return sorted(members, key=lambda member: (member[1], order(member[0])))


def _clean(cells: Mapping[Place, Score]) -> dict[Place, Score]:
    """Return the cells without attack."""
    return {place: cell for place, cell in cells.items() if place.attack == "none"}


def _attacked(cells: Mapping[Place, Score]) -> dict[Place, Score]:
    """Return the cells under attack; all, if there are none."""
    attacked = {place: cell for place, cell in cells.items() if place.attack != "none"}
    return attacked or dict(cells)


def paired(rows: Sequence[Row]) -> Paired | None:
    """Return rows of one board paired, on the seeds that none of their attacks lacks.

    None: there are no rows, or no such seeds.

    Example:
        >>> cells = [Scenario(rule=rule, seed=s) for rule in ("krum", "median") for s in range(6)]
        >>> (board,) = boards(Score(cell, "done", 0.5) for cell in cells)
        >>> paired(board.rows).seeds.shape  # rows and seeds
        (2, 6)
    """
    if not rows:
        return None
    common = np.logical_and.reduce([row.outcomes.there.all(axis=0) for row in rows])
    return Paired.of([row.outcomes.of_seeds(common) for row in rows]) if common.any() else None


def _place(score: Score, by: str) -> Place:
    scenario, again = score.scenario, score.scenario.of_role("repetition")
    column = score.attack if by in ("attack", *again) else getattr(scenario, by)
    return Place(column, score.attack, _values(scenario, again))


def _placed(cells: Sequence[Score], by: str) -> dict[Place, Score]:
    """Return a row's cells by their places.

    Raises:
        InputError: two of them have the same.
    """
    placed: dict[Place, Score] = {}
    for cell in cells:
        other = placed.setdefault(_place(cell, by), cell)
        if other is not cell:
            raise InputError(
                "boards: two scores for one cell: "
                + " and ".join(
                    f"{score.scenario!r} ({score.status}, accuracy {score.accuracy:g})"
                    for score in (other, cell)
                )
                + "; expected one: rank the results of one ruleset, each once"
            )
    return placed


def _row(
    cells: Mapping[Place, Score],
    by: str,
    columns: Sequence[Any],
    axes: _Axes,
    collapse: float,
) -> Row:
    """Return a row by itself; its label, rank, gap and what it lacks follow from the others."""
    cell = next(iter(cells.values()))
    first = cell.scenario
    clean, attacked = _clean(cells), _attacked(cells)
    lines, members = axes.outcomes(attacked), _members(attacked)
    each, worst = estimates(lines)
    without = estimates(axes.outcomes(clean))[1] if clean else None
    found: dict[Any, Estimate] = {}
    if by == "attack":
        found = {column: one for (column, _), one in zip(members, each, strict=True)}
        if without:
            found["none"] = without
    else:
        for column in columns:
            chosen = {p: one for p, one in attacked.items() if getattr(one.scenario, by) == column}
            if chosen:
                found[column] = estimates(axes.outcomes(chosen))[1]
    worst_column, worst_attack = members[lines.worst]
    places = sorted(cells, key=_place_order)
    scores = [cells[place] for place in places]
    rules = dict.fromkeys(one.scenario.rule for one in scores)
    origins = map(catalogue.registry("rule").origin, rules)
    needs = [{*one.needs} for one in scores]
    told = set.intersection(*needs) if by == "rule" else set.union(*needs)
    under_worst = lines.accuracy[lines.worst]
    live = _live(cells)
    return Row(
        rank=None,
        algorithm="" if by == "algorithm" else cell.row.algorithm,
        rule="" if by == "rule" else cell.row.rule,
        label="",
        origin=next((one for one in origins if one != "hgobench"), "hgobench"),
        needs=sorted(told),
        clean=without,
        worst=worst,
        known_seed=estimates(lines.known_seed())[1],
        worst_attack=None if worst_attack == "none" else worst_attack,
        collapsed=share(int((under_worst < collapse).sum()), int((~np.isnan(under_worst)).sum())),
        live=live.get("none", max(live.values())),
        live_attacked=min(live.values()),
        gap=None,
        cells={str(column): found[column] for column in (*columns, *found) if column in found},
        ended=sum(cell.status != "done" for cell in cells.values()),
        late=sum(cell.late for cell in cells.values()),
        idle=sum(cell.live == 0 for cell in cells.values()),
        missing=0,
        outcomes=lines,
        chosen={name: getattr(first, name) for name in cell.free if by == "attack"},
        attacks={
            one.member: _specification(one.scenario)
            for one in cells.values()
            if one.member and by == "attack" and _own(cells.values())
        },
        hash=row_hash(scores) if by in ("attack", *first.of_role("repetition")) else "",
        scores=scores,
        under_worst=[
            cells[place]
            for place in places
            if (place.column, place.attack) == (worst_column, worst_attack)
        ],
    )


def _mistaken(cells: Iterable[Score]) -> dict[str, str]:
    """Return the flag of a row some of whose attacks failed by mistakes of their own, if any."""
    by_attack = Counter(cell.attack for cell in cells if cell.mistaken)
    if not by_attack:
        return {}
    counts = ", ".join(f"{attack} in {count}" for attack, count in sorted(by_attack.items()))
    reason = "their accuracy of 0 says nothing of the rule; correct the attack (hgobench test)"
    return {MISTAKEN: f"{counts} of its cells: {reason}"}


def _place_order(place: Place) -> tuple[Any, ...]:
    column, repetition = order(place.column), [order(value) for value in place.repetition]
    return place.attack != "none", place.attack, column, repetition


def _specification(scenario: Scenario) -> str:
    """Return an attack, and the rounds in which it acts if not in all."""
    defaults = scenario.defaults()
    when = {name: getattr(scenario, name) for name in ATTACK if name != "attack"}
    told = [f"{name}={value}" for name, value in when.items() if value != defaults[name]]
    return " ".join([scenario.attack, *told])


def _live(cells: Mapping[Place, Score]) -> dict[str, float]:
    """Return the mean share of rounds that updated the model, by attack."""
    shares: dict[str, list[float]] = {}
    for place, cell in cells.items():
        shares.setdefault(place.attack, []).append(cell.live)
    return {attack: math.fsum(some) / len(some) for attack, some in shares.items()}


def _gap(
    kind: type[Scenario],
    tells: Sequence[str],
    key: _Key,
    row: Row,
    others: Mapping[_Key, Row],
) -> float | None:
    """Return how far a row is below the oracle that differs in nothing but the rule's own."""
    declared = kind.declarations()

    def setting(key: _Key) -> list[Any]:
        values = [
            value
            for name, value in zip(tells, key.values, strict=True)
            if name != "rule" and declared[name].follows != "rule"
        ]
        return [*values, key.folder]

    oracles = [
        other
        for other_key, other in others.items()
        if "honest" in other.needs and not other.missing and setting(other_key) == setting(key)
    ]
    if not oracles or row.missing:
        return None
    return max(other.worst.mean for other in oracles) - row.worst.mean


_ABOUT: Mapping[str, Kind] = {
    "algorithm": "text",
    "rule": "text",
    "label": "text",
    "needs": "text",
    "worst_attack": "text",
    "live": "number",
    "live_attacked": "number",
    "gap": "number",
    "ended": "whole",
    "late": "whole",
    "idle": "whole",
    "missing": "whole",
}
_FOUND: Mapping[str, Kind] = {"hash": "text", "folders": "text"}
_COUNTED: Mapping[str, Kind] = {
    "collapsed": "whole",
    "collapsed_low": "number",
    "collapsed_high": "number",
}
_ESTIMATED: Mapping[str, Kind] = {
    "chosen": "text",
    "column": "text",
    "attack": "text",
    "mean": "number",
    "low": "number",
    "high": "number",
    "seeds": "whole",
}


Told = Callable[[Row], Mapping[str, Any]]


def tidy(
    ranked: Sequence[Board],
    more: Mapping[str, Kind] = MappingProxyType({}),
    told: Told = lambda row: {},
) -> tuple[dict[str, Kind], list[Line]]:
    """Return boards as a tidy table: a line per row and estimate, with all that boards round.

    Args:
        ranked: boards with the same columns.
        more: further columns.
        told: returns their values, of a row.

    Returns:
        The table's columns, and its lines. ``column`` says what is estimated: ``worst``,
        ``known_seed``, ``clean``, and each of the boards' columns; ``attack`` what an attack that
        was chosen for the row is.
    """
    settings = list(ranked[0].setting) if ranked else []
    kinds: dict[str, Kind] = {name: cell_kinds()[name] for name in settings}
    kinds |= {"rank_first": "whole", "rank_last": "whole", **_ABOUT, **_COUNTED, **_ESTIMATED}
    kinds |= {**_FOUND, **more}
    lines: list[Line] = []
    for board in ranked:
        where = [board.setting[name] for name in settings]
        where = [
            math.inf if value == "inf" and kinds[name] == "number" else value
            for name, value in zip(settings, where, strict=True)
        ]
        for row in board.rows:
            named = {"worst": row.worst, "known_seed": row.known_seed}
            named |= ({"clean": row.clean} if row.clean else {}) | dict(row.cells)
            about = {name: getattr(row, name) for name in _ABOUT} | {"needs": " ".join(row.needs)}
            line = (*where, *(row.rank or (None, None)), *about.values())
            found = (row.hash or None, " ".join(row.folders) or None, *told(row).values())
            share = (row.collapsed.count, row.collapsed.low, row.collapsed.high)
            chosen = " ".join(f"{name}={format_value(v)}" for name, v in row.chosen.items())
            for name, cell in named.items():
                estimate = cell.mean, cell.low, cell.high, cell.seeds
                which = (chosen, name, row.attacks.get(name))
                lines.append((*line, *share, *which, *estimate, *found))
    return kinds, lines


def as_data(
    ruleset: str, ranked: Sequence[Board], split: Split = "test", told: Told = lambda row: {}
) -> dict[str, Any]:
    """Return boards as plain data for JSON; accuracies are in [0, 1].

    Args:
        ruleset: the name under which scores compare.
        ranked: the boards.
        split: the examples that accuracies are on.
        told: returns the values of further columns, of a row.
    """
    return {
        "ruleset": ruleset,
        "split": split,
        "estimand": ESTIMAND,
        "notes": list(dict.fromkeys(note for board in ranked for note in board.notes)),
        "boards": [
            {
                **board.setting,
                "by": board.by,
                "examples": board.examples,
                "seeds": board.seeds,
                "collapse": board.collapse,
                "told": board.told,
                "certain": board.certain,
                "rows": [{**row_data(row), "columns": dict(told(row))} for row in board.rows],
            }
            for board in ranked
        ],
    }


def row_data(row: Row) -> dict[str, Any]:
    """Return a row as plain data for JSON."""
    return {
        "rank": list(row.rank) if row.rank else None,
        "algorithm": row.algorithm,
        "rule": row.rule,
        "label": row.label,
        "origin": row.origin,
        "needs": list(row.needs),
        "clean": row.clean.mean if row.clean else None,
        "clean_interval": _interval(row.clean),
        "worst": row.worst.mean,
        "worst_interval": _interval(row.worst),
        "worst_attack": row.worst_attack,
        "known_seed": row.known_seed.mean,
        "known_seed_interval": _interval(row.known_seed),
        "collapsed": asdict(row.collapsed),
        "live": row.live,
        "live_attacked": row.live_attacked,
        "gap": row.gap,
        "ended": row.ended,
        "late": row.late,
        "idle": row.idle,
        "missing": row.missing,
        "chosen": dict(row.chosen),
        "attacks": dict(row.attacks),
        "flags": dict(row.flags),
        "reach": _reached(row.reach),
        "hash": row.hash or None,
        **({"outside": row.outside} if row.outside else {}),
        "folders": list(row.folders),
        "cells": {name: asdict(cell) for name, cell in row.cells.items()},
    }


def _interval(value: Estimate | None) -> list[float] | None:
    return [value.low, value.high] if value else None


def _reached(reach: Reach | None) -> dict[str, Any] | None:
    """Return it as JSON knows it: None for a time that is infinite."""
    if reach is None:
        return None
    return {name: None if v == math.inf else v for name, v in asdict(reach).items()}
