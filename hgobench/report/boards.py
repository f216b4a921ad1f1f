"""Boards as a page, for every format."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from hgobench import columns as on_demand
from hgobench.aggregators import SCOPES
from hgobench.columns import Column
from hgobench.leaderboard import ESTIMAND, GOAL, Board, Row, Split, as_data, tidy
from hgobench.scenario import Scenario
from hgobench.statistics import FEWEST, Estimate

from .cells import varying_fields
from .page import Block, Cell, Heading, Link, Measured, Page, Table, Text
from .render import Format
from .render import render as written
from .writers import WIDE, Layout

KEPT = 3  # columns that are never left out: rank, name, worst
NAMES = ("algorithm and rule", "by", "attack")  # columns of text
Address = Callable[[Row], str]
ALL = f"{WIDE}, and so do --format html and csv"


def render(
    ruleset: str,
    boards: Sequence[Board],
    form: Format = "table",
    *,
    split: Split = "test",
    width: int | None = None,
    hint: str = ALL,
    columns: Sequence[str] = (),
) -> str:
    """Write boards of one ruleset in a format; the text ends without a newline.

    Args:
        ruleset: the name under which the scores compare.
        boards: of the ruleset.
        form: the format.
        split: which examples the accuracies are on.
        width: how many columns a table may take; None: any number. Of one that is wider, columns
            are left out from the right, but never rank, name and worst case; its interval, the
            attack and the accuracy without attack only if wrapping names does not help.
        hint: how to see all; it follows the names of columns that are left out.
        columns: further ones (`hgobench.columns.COLUMNS`).

    Raises:
        InputError: the results hold no such columns.
    """
    made = page(ruleset, boards, split, columns)
    return written(made, form, Layout(width, hint=hint))


def page(
    ruleset: str,
    boards: Sequence[Board],
    split: Split = "test",
    columns: Sequence[str] = (),
    to: Address | None = None,
) -> Page:
    """Return boards of one ruleset as a page.

    Args:
        ruleset: the name under which the scores compare.
        boards: of the ruleset.
        split: which examples the accuracies are on.
        columns: further ones (`hgobench.columns.COLUMNS`).
        to: given a row, the address of its own page; None: it has none.

    Raises:
        InputError: the results hold no such columns.
    """
    blocks: list[Block] = []
    flagged = _codes(boards)
    asked = on_demand.chosen(columns)
    on_demand.check(boards, asked)
    if any(len(row.folders) for board in boards for row in board.rows):
        asked = {"folder": on_demand.COLUMNS["folder"], **asked}
    for board in boards:
        table = _table(ruleset, board, flagged, asked, split, to)
        blocks += [Heading(board.title or "all results"), table]
        blocks += [_chosen(board)] if any(row.attacks for row in board.rows) else []
    blocks += [Text(note, "note") for note in _notes(boards, split, asked)]
    return Page(
        "boards",
        f"ruleset {ruleset}",
        blocks,
        long=_long(ruleset, boards, split, asked),
        content=as_data(ruleset, boards, split, lambda row: on_demand.values(row, asked)),
    )


def attacked(board: Board) -> bool:
    """Say whether any cell of a board was attacked."""
    return any(row.worst_attack for row in board.rows)


def _table(
    ruleset: str,
    board: Board,
    flagged: Mapping[str, str],
    asked: Mapping[str, Column],
    split: Split,
    to: Address | None,
) -> Table:
    """Return a board as a table; `flagged` are the letters of flags, `asked` further columns.

    Without any attack, the worst case is the one there is, and has no column of its own.
    """
    under_attack = attacked(board)
    columns = [name for name in board.columns if name != "none"]
    reached = any(row.reach for row in board.rows)
    gap = any(row.gap is not None for row in board.rows)
    clean = under_attack and any(row.clean for row in board.rows)
    header = ["#", "algorithm and rule", "worst" if under_attack else "clean", "95 %"]
    header += ["by"] * under_attack + ["clean"] * clean
    header += [column.header for column in asked.values()]
    wrapped = len(header)
    texts = {column.header for column in asked.values() if column.kind == "text"} | {*NAMES}
    best = _best(board)
    header += ["known seed"] * under_attack + ["collapsed", "live"]
    header += ["gap"] * gap + [f"time to {_goal([board])}"] * reached + columns
    rows = []
    for row in board.rows:
        label = row.label + _marks(row) + "".join(f" {flagged[name]}" for name in row.flags)
        line: list[Cell] = [
            "-" if row.rank is None else str(row.rank),
            label if to is None else Link(label, to(row)),
            _measured(row.worst, best=row.worst.mean == best, tied=_tied(row, best)),
            interval(row.worst),
        ]
        if under_attack:
            line.append(row.worst_attack or "-")
        if clean:
            line.append(_measured(row.clean))
        line += [column.shown(row) for column in asked.values()]
        if under_attack:
            line.append(_mean(row.known_seed))
        line += [_collapsed(row), _live(row)]
        if gap:
            line.append("-" if row.gap is None else f"{row.gap:.3f}")
        if reached:
            line.append(_reach(row))
        rows.append([*line, *(_mean(row.cells.get(name)) for name in columns)])
    right = [i for i, name in enumerate(header) if name not in texts]
    title = f", {board.title}" if board.title else ""
    measured = any(row.worst.seeds >= FEWEST for row in board.rows)
    return Table(
        "",
        "",
        header,
        rows,
        right,
        KEPT,
        wrapped,
        caption=f"{split.capitalize()} accuracy; ruleset {ruleset}{title}. "
        f"{_compared(board, best)}",
        label=f"tab:{_slug(f'{ruleset} {board.title}')}",
        spread="±: to the farther end of the 95 % interval." * measured,
        spreads=[header.index("95 %")] if measured else [],
        factors=factors(board.rows),
    )


def factors(rows: Sequence[Row], *further: str) -> dict[str, list[tuple[str, ...]]]:
    """Return what rows can be chosen by, with each row's values, where these are not all the same.

    Args:
        rows: of one board or several.
        further: fields besides those of a defence, of rows of several boards.
    """
    if not all(row.scores for row in rows):
        return {}
    stated = [row.scores[0].row.to_dict() for row in rows]
    names = varying_fields(stated) if stated else []
    wanted = {*Scenario.of_role("defence"), *further}
    found: dict[str, list[tuple[str, ...]]] = {
        name: [(str(fields[name]),) for fields in stated] for name in names if name in wanted
    }
    found["worst attack"] = [(row.worst_attack,) if row.worst_attack else () for row in rows]
    found["flag"] = [tuple(row.flags) for row in rows]
    found["ranked"] = [("no" if row.rank is None else "yes",) for row in rows]
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def _best(board: Board) -> float | None:
    """Return the highest worst case of the rows that have a rank; None: there is none."""
    return max((row.worst.mean for row in board.rows if row.rank), default=None)


def _tied(row: Row, best: float | None) -> bool:
    """Say whether a row has not the best worst case, and is not told apart from the best place."""
    return row.rank is not None and row.rank.first == 1 and row.worst.mean != best


def _compared(board: Board, best: float | None) -> str:
    """Say what bold and daggers are."""
    what = "worst case" if attacked(board) else "accuracy"
    if best is None:
        return "No row has a rank."
    told = f"Bold: the best {what}"
    if any(_tied(row, best) for row in board.rows):
        told += (
            "; †: may have the first place too, by a test of all pairs of rows with an error of 5 %"
        )
    return f"{told}; {board.seeds} seed{'s' * (board.seeds != 1)}."


def _slug(text: str) -> str:
    """Return a text as a label of LaTeX: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _chosen(board: Board) -> Table:
    """Return what was chosen for each row of a board: parameters, and the attacks it met."""
    fields = list(dict.fromkeys(name for row in board.rows for name in row.chosen))
    header = ["algorithm and rule", *fields, "attack", "accuracy", "95 %"]
    lines: list[Sequence[Cell]] = []
    for row in board.rows:
        about: list[Cell] = [row.label, *(_value(row.chosen.get(name)) for name in fields)]
        for name in sorted(row.attacks, key=lambda name: row.cells[name].mean):
            value = row.cells[name]
            lines.append([*about, row.attacks[name], _mean(value), interval(value)])
            about = [""] * len(about)
    right = [i for i, name in enumerate(header) if name not in (*NAMES, "rule")]
    return Table("", "What was chosen for each row", header, lines, right, len(header) - 1)


def _value(value: object) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _codes(boards: Sequence[Board]) -> dict[str, str]:
    """Return a letter for each flag that a row has: (a), (b), in the order of their names."""
    names = sorted({name for board in boards for row in board.rows for name in row.flags})
    return {name: f"({chr(ord('a') + i)})" for i, name in enumerate(names)}


def _goal(boards: Sequence[Board]) -> str:
    """Return the accuracies that rows are timed to."""
    goals = {f"{row.reach.goal:.3f}" for board in boards for row in board.rows if row.reach}
    return _spread(sorted(goals)) if goals else ""


def _reach(row: Row) -> str:
    """Return the median time, and how many seeds reach the goal if not all."""
    reach = row.reach
    if reach is None:
        return "-"
    some = "" if reach.reached == reach.of else f" ({reach.reached}/{reach.of})"
    return f"{reach.time:,.0f}{some}" if reach.time < float("inf") else f"never{some}"


def _marks(row: Row) -> str:
    marks = (
        ("*", row.origin != "hgobench"),
        ("^", "root" in row.needs),
        ("=", "honest" in row.needs),
        ("!", row.ended),
        ("~", row.idle),
        ("+", row.worst_attack in row.outside),
        ("(not live here)", not row.is_live),
    )
    return "".join(f" {mark}" for mark, holds in marks if holds)


def _mean(value: Estimate | None) -> str:
    return "-" if value is None else f"{value.mean:.3f}"


def _measured(value: Estimate | None, *, best: bool = False, tied: bool = False) -> Cell:
    """Return a mean with the distance to the farther end of its interval."""
    if value is None:
        return "-"
    farther = max(value.high - value.mean, value.mean - value.low)
    spread = f"{farther:.3f}" if value.seeds >= FEWEST else ""
    return Measured(_mean(value), value.mean, spread, best, tied)


def interval(value: Estimate) -> str:
    """Return the ends of an interval; of too few seeds it says so instead.

    >>> interval(Estimate(0.5, 0.41, 0.62, 8)), interval(Estimate(0.5, 0.0, 1.0, 2))
    ('0.410-0.620', 'too few seeds')
    """
    if value.seeds < FEWEST:
        return "too few seeds"
    return f"{value.low:.3f}-{value.high:.3f}"


def stated(value: Estimate) -> str:
    """Return an estimate in a line: its mean, its interval if there is one, and its seeds.

    >>> stated(Estimate(0.5, 0.41, 0.62, 8)), stated(Estimate(0.5, 0.0, 1.0, 1))
    ('0.500 (95 %: 0.410-0.620, 8 seeds)', '0.500 (1 seed)')
    """
    seeds = f"{value.seeds} seed{'s' * (value.seeds != 1)}"
    between = f"95 %: {interval(value)}, " if value.seeds >= FEWEST else ""
    return f"{value.mean:.3f} ({between}{seeds})"


def _collapsed(row: Row) -> str:
    share = row.collapsed
    return f"{share.count}/{share.of} ({share.low:.2f}-{share.high:.2f})"


def _live(row: Row) -> str:
    live, attacked = f"{row.live:.2f}", f"{row.live_attacked:.2f}"
    return live if live == attacked else f"{live} ({attacked})"


def _targeted(boards: Sequence[Board]) -> list[str]:
    """Say how cells under targeted attacks count, if there are any."""
    attacks = {
        score.attack: None
        for board in boards
        for score in board.scores
        if score.success is not None
    }
    if not attacks:
        return []
    return [
        f"Under {', '.join(sorted(attacks))} a cell counts as the lower of its accuracy and 1 - "
        "attack success, the share of inputs that the model answers as the attack wants "
        "(docs/backdoors.md)."
    ]


def _notes(boards: Sequence[Board], split: Split, asked: Mapping[str, Column]) -> list[str]:
    rows: list[Row] = [row for board in boards for row in board.rows]
    seeds = sorted({cell.seeds for row in rows for cell in row.cells.values()})
    counted = _spread([str(number) for number in seeds])
    under_attack = [attacked(board) for board in boards]
    some = any(under_attack)
    notes = [f"{split.capitalize()} accuracy, mean over {counted} seed{'s' * (seeds != [1])}."]
    if some:
        notes.append(
            f"worst: {ESTIMAND}: the attacker chooses the attack and does not know the seed; by: "
            "that attack; known seed: the mean of each seed's lowest, as if attackers knew it."
        )
    notes += _targeted(boards)
    notes += _by(boards, some)
    if not all(under_attack):
        notes.append(
            f"{'Where there is no worst, no' if some else 'No'} attack was run: clean ranks."
        )
    if any(row.worst.seeds >= FEWEST for row in rows):
        drawn = "seeds and test examples"
        if _targeted(boards):
            drawn = "seeds alone"
        elif not all(board.examples for board in boards):
            drawn = "seeds alone, as it is not known of all cells which test examples were right"
        notes.append(
            f"95 %: the interval of {'worst' if some else 'clean'} over {drawn}; it allows for "
            "collapses that so few seeds may not have shown."
        )
    if any(row.worst.seeds < FEWEST for row in rows):
        notes.append(
            f"Too few seeds: with fewer than {FEWEST} intervals say little, and no row can be told "
            "from another."
        )
    if any(row.rank for row in rows):
        notes.append(
            "#: the places that a row may have: after those that are significantly better, before "
            "those significantly worse, on the same seeds, with an error of 5 % over all pairs if "
            f"no row collapses more often than its seeds show. {_told(boards)}"
        )
    words = {word for row in rows for word in row.label.split()}
    if any(word.startswith("v=") for word in words):
        notes.append(
            "v: the quorum: the model is updated as far as v of the sampled workers have sent."
        )
    if scopes := [scope for scope in SCOPES if scope in words]:
        notes.append(
            f"{', '.join(scopes)}: the scope of a rule, what it does with answers of different "
            "lengths (docs/rules.md)."
        )
    below = _spread(sorted({f"{board.collapse:.3f}" for board in boards}))
    notes.append(
        f"collapsed: the seeds that ended below {below}, half of the best clean accuracy"
        f"{', under that attack' * some}, and the exact 95 % interval of their share."
    )
    notes.append(
        "live: the share of rounds in which enough workers answered to update the model"
        f"{', without attack (under the attack that leaves the fewest)' * some}."
    )
    if any(not row.is_live for row in rows):
        notes.append(
            "(not live here): not ranked: updates the model in fewer than half of its rounds, "
            "though nobody attacks: its quorum is seldom met on this fleet"
        )
    if any(row.reach for row in rows):
        notes.append(
            f"time to {_goal(boards)} ({GOAL:.0%} of the oracle's worst case or, without oracle, "
            "of the best clean accuracy): time units until a row is, and stays, so accurate"
            f"{' under that attack' * some}: the median over seeds, and how many reach it if not "
            "all."
        )
    notes += on_demand.notes(asked, some)
    notes += [f"{code} {name}" for name, code in _codes(boards).items()]
    if any(row.origin != "hgobench" for row in rows):
        notes.append("* not part of hgobench")
    if any("root" in row.needs for row in rows):
        notes.append("^ the server has clean training examples of its own")
    if any("honest" in row.needs for row in rows):
        notes.append("= not ranked: is told who is honest; gap: how far worst is below its worst")
    if ended := sum(row.ended for row in rows):
        late = sum(row.late for row in rows)
        out = f", {late} of them out of time" if late else ""
        if mistaken := sum(score.mistaken for row in rows for score in row.scores):
            out += f", {mistaken} of them by the attack's mistake, which says nothing of the rule"
        notes.append(f"! {ended} cell{'s' * (ended > 1)} diverged or failed{out}; each counts as 0")
    if idle := sum(row.idle for row in rows):
        notes.append(f"~ in {idle} cells too few workers answered, in every round, to aggregate")
    notes += dict.fromkeys(note for board in boards for note in board.notes)
    if any(row.missing for row in rows):
        notes.append("- not ranked: lacks cells that other rows have")
    return notes


def _by(boards: Sequence[Board], some: bool) -> list[str]:
    """Return what columns are that are values of a field; of those of boards nothing is said.

    A defender chooses the values of a defence, and nobody those of a seed.
    """
    by = boards[0].by if boards else "attack"
    if by in Scenario.of_role("defence"):
        over = "attacks and columns" if some else "columns"
        return [
            f"Columns: values of {by}, which a defender chooses. Rows are ranked by the lowest "
            f"over {over}: what the worst choice comes to. Fields that are worked out from {by} "
            "may differ between columns."
        ]
    if by in Scenario.of_role("repetition"):
        return [f"Columns: values of {by}, each by itself: the lowest over attacks."]
    return []


def _told(boards: Sequence[Board]) -> str:
    """Return how many pairs are told apart, and how far that rests on what seeds have shown."""
    ranked = [(board, sum(row.rank is not None for row in board.rows)) for board in boards]
    pairs = sum(rows * (rows - 1) // 2 for _, rows in ranked)
    told, certain = sum(board.told for board in boards), sum(board.certain for board in boards)
    seeds = min(board.seeds for board, rows in ranked if rows)
    return (
        f"Told apart: {told} of {pairs} pairs, {certain} of them whatever seeds have not shown: "
        f"{seeds} miss a collapse in 1 run of 20 with a probability of {0.95**seeds:.0%} "
        "(docs/statistics.md)."
    )


def _spread(texts: Sequence[str]) -> str:
    """Return the first and the last of some sorted texts."""
    return texts[0] if len(texts) == 1 else f"{texts[0]}-{texts[-1]}"


def _long(
    ruleset: str, boards: Sequence[Board], split: Split, asked: Mapping[str, Column]
) -> Table:
    """Return a line per row and column: everything that boards round."""
    more = {name: column for name, column in asked.items() if name not in ("hash", "folder")}
    kinds, lines = tidy(
        boards,
        {name: column.kind for name, column in more.items()},
        lambda row: on_demand.values(row, more),
    )
    header = ("ruleset", "split", *kinds)
    return Table("boards", "", header, [(ruleset, split, *line) for line in lines])
