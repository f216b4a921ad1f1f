"""Results of one or several folders as boards have them: of one ruleset, without contradictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from hgobench.errors import InputError
from hgobench.evaluation.evaluate import Reported, chooses, reported
from hgobench.evaluation.verdict import ranked
from hgobench.leaderboard import Boards, Score, Split, boards
from hgobench.results import Result, open_store


@dataclass(frozen=True)
class Holdings:
    """What folders hold under one ruleset.

    Attributes:
        ruleset: its name.
        split: the examples that accuracies are on.
        of_folder: what the results of each folder come to.
        results: all of that ruleset, by the address of each.
    """

    ruleset: str
    split: Split
    of_folder: Sequence[Reported]
    results: Sequence[tuple[str, Result]]

    @property
    def chosen(self) -> bool:
        """Whether the attacks were chosen for each row."""
        return any(one.selections for one in self.of_folder)

    @property
    def scores(self) -> list[Score]:
        """The scores that boards rank."""
        return [score for one in self.of_folder for score in one.scores]

    def boards(self, by: str = "attack") -> Boards:
        """Return them ranked, as `hgobench.leaderboard.boards` does.

        Raises:
            InputError: there are no such columns.
        """
        if self.chosen:
            return ranked([verdict for one in self.of_folder for verdict in one.verdicts], by)
        return boards(self.scores, by=by)

    def notes(self) -> list[str]:
        """Return what a reader must know before trusting the boards."""
        notes = []
        codes = {result.provenance["code"] for _, result in self.results}
        if len(codes) > 1:
            notes.append(f"note: these results come from {len(codes)} versions of the code")
        rows = sum(len(one.selections) for one in self.of_folder)
        if lacking := rows - sum(len(one.verdicts) for one in self.of_folder):
            notes.append(f"{lacking} of {rows} rows lack cells; run it again")
        return notes


def read(folders: Sequence[Path], ruleset: str | None = None, split: Split = "test") -> Holdings:
    """Read what folders hold under a ruleset.

    Args:
        folders: one or more, as ``hgobench run`` makes them.
        ruleset: which; None: the only one that they hold.
        split: the examples that scores are on.

    Raises:
        InputError: a folder is named twice or holds no results, they hold several rulesets or not
            the one that is asked for, their rows are evaluated in different ways, or there are no
            examples of the split.

    Example:
        >>> import tempfile
        >>> from hgobench import Scenario, run
        >>> with tempfile.TemporaryDirectory() as name, open_store(name) as store:
        ...     store.add(run(Scenario(workers=20, rounds=1)), "mine-1")
        ...     (board,) = read([Path(name)]).boards()
        >>> board.rows[0].label, len(board.rows[0].hash)
        ('hgo trimmed_mean', 12)
    """
    several = len(folders) > 1
    if twice := [one for i, one in enumerate(folders) if one.resolve() in _resolved(folders[:i])]:
        raise InputError(f"leaderboard: {str(one)!r} is named twice" for one in twice)
    with ExitStack() as stack:
        stores = [stack.enter_context(open_store(one, create=False)) for one in folders]
        kept = [list(store.entries()) for store in stores]
        chosen = _chosen(folders, [{name for _, name, _ in one} for one in kept], ruleset)
        results: list[tuple[str, Result]] = []
        of_folder = []
        for folder, store, entries in zip(folders, stores, kept, strict=True):
            mine = [(key, result) for key, name, result in entries if name == chosen]
            addresses = {result.scenario: key for key, result in mine}
            found = reported(store, chosen, [one for _, one in mine], split, addresses)
            of_folder.append(_placed(found, str(folder)) if several else found)
            results += mine
    if any(one.selections for one in of_folder) and split != "test":
        raise InputError("--split: validation examples have chosen the attacks; expected test")
    _check_plans(chosen, folders, of_folder)
    return Holdings(chosen, split, of_folder, results)


def _chosen(folders: Sequence[Path], known: Sequence[set[str]], ruleset: str | None) -> str:
    """Return the ruleset that is read, of those that each folder holds."""
    empty = [folder for folder, names in zip(folders, known, strict=True) if not names]
    if empty:
        raise InputError(f"store: {str(folder)!r}: holds no results" for folder in empty)
    ranked_by = [{name for name in names if not chooses(name)} for names in known]
    every = sorted(set().union(*ranked_by))
    where = " and ".join(repr(str(folder)) for folder in folders)
    several = len(folders) > 1
    if ruleset is None and len(every) > 1:
        listed = ", ".join(map(repr, every))
        raise InputError(
            f"store: {where}: hold{'s' * (not several)} several rulesets; use --ruleset {listed}"
        )
    if not every:
        raise InputError(f"store: {where}: no row is chosen for yet; run it again")
    chosen = ruleset or every[0]
    if chosen not in every and not several:
        raise InputError(f"--ruleset: unknown {chosen!r}; the folder holds {every}")
    lacking = [
        f"--ruleset: {chosen!r} is not in {str(folder)!r}, which holds "
        f"{', '.join(map(repr, sorted(names))) or 'no row that is chosen for'}"
        for folder, names in zip(folders, ranked_by, strict=True)
        if chosen not in names
    ]
    if lacking:
        raise InputError(lacking)
    return chosen


def each(folder: Path) -> Iterator[Holdings]:
    """Yield what a folder holds under each ruleset that boards rank.

    Raises:
        InputError: it holds no results.
    """
    with open_store(folder, create=False) as store:
        by_ruleset: dict[str, list[tuple[str, Result]]] = {}
        for key, name, result in store.entries():
            by_ruleset.setdefault(name, []).append((key, result))
        if not by_ruleset:
            raise InputError(f"store: {str(folder)!r}: holds no results")
        for name, mine in sorted(by_ruleset.items()):
            if not chooses(name):
                addresses = {result.scenario: key for key, result in mine}
                found = reported(store, name, [one for _, one in mine], "test", addresses)
                yield Holdings(name, "test", [found], mine)


def _resolved(folders: Sequence[Path]) -> set[Path]:
    return {folder.resolve() for folder in folders}


def _placed(found: Reported, folder: str) -> Reported:
    """Return what results come to, with the folder in each score."""
    every = {cell: replace(score, folder=folder) for cell, score in found.every.items()}
    verdicts = [
        replace(
            verdict,
            scores={
                name: [replace(score, folder=folder) for score in scores]
                for name, scores in verdict.scores.items()
            },
        )
        for verdict in found.verdicts
    ]
    return Reported(every, found.selections, verdicts)


def _check_plans(ruleset: str, folders: Sequence[Path], of_folder: Sequence[Reported]) -> None:
    """Refuse folders whose rows are evaluated in different ways under one name."""
    plans = [one.selections[0].plan if one.selections else None for one in of_folder]
    for folder, plan in zip(folders, plans, strict=True):
        if plan != plans[0]:
            raise InputError(
                f"{ruleset!r}: different rulesets under one name: rows are evaluated in another "
                f"way in {str(folder)!r} than in {str(folders[0])!r}"
            )
