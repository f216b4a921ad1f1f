"""Running cells: for the command, the pytest plug-in, audits and Python.

A `Session` is an open store and the engine that computes for it. `run_suite` runs a suite: it
expands the grid, computes the cells that the store lacks, and ranks the boards.

torch is not imported before a cell is computed.
"""

from __future__ import annotations

import re
import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hgobench.arguments import (
    check_arguments,
    fields,
    folder,
    function,
    instance,
    names,
    optional,
)
from hgobench.engines.trial import children_first
from hgobench.errors import InputError, SamplingRisk
from hgobench.scenario import integer, positive, word
from hgobench.settings import Setting
from hgobench.suite import WIDTH, Suite

if TYPE_CHECKING:
    import pandas

    from hgobench.engines import Engine
    from hgobench.engines.cells import Outcome
    from hgobench.engines.measured import Task
    from hgobench.evaluation.verdict import Verdict
    from hgobench.grid import Grid
    from hgobench.leaderboard import Boards, Score, Split
    from hgobench.plots import Picture
    from hgobench.plots.cells import Cells
    from hgobench.report.progress import Progress, Watch
    from hgobench.results import Result, Store
    from hgobench.scenario import Scenario

SPLITS = ("test", "validation")
RESULTS = Path("hgobench-results")  # a suite's folder is in it, unless another is given


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or another signal, ended a run early; finished cells are kept.

    The same call continues with the others.

    Attributes:
        outcome: of the run so far.
    """

    def __init__(self, message: str, outcome: Any) -> None:
        super().__init__(message)
        self.outcome = outcome


class Incomplete(RuntimeError):
    """A run ended early, as its store can't be written or its data changed.

    Attributes:
        outcome: of the run so far.
    """

    def __init__(self, message: str, outcome: Any) -> None:
        super().__init__(message)
        self.outcome = outcome


class Session:
    """Runs cells and keeps their results.

    Args:
        store: where results are looked up and kept; the caller closes it.
        jobs: number of local processes; 0: one per core, or one if tensors are not on the CPU.
        engine: where cells are computed (`hgobench.engines.open_engine`), which the caller closes;
            None: in processes of this machine.
        device: where tensors are, as torch names it.
        progress: whether to show progress on standard error; ``"json"``: as an object for each
            change (docs/results.md).
        on_progress: called with the progress whenever cells are finished.

    Example:
        >>> import tempfile
        >>> from hgobench import Scenario, Session, open_store
        >>> cells = [Scenario(workers=20, rounds=1, seed=seed) for seed in range(2)]
        >>> with tempfile.TemporaryDirectory() as folder, open_store(folder) as store:
        ...     session = Session(store, jobs=1)
        ...     outcome = session.run(cells, "mine-1")
        ...     results = [result for _, result in store.results(outcome.keys)]
        >>> outcome.computed, [result.status for result in results]
        (2, ['done', 'done'])
    """

    def __init__(
        self,
        store: Store,
        *,
        jobs: int = 0,
        engine: Engine | None = None,
        device: str = "cpu",
        progress: bool | Literal["json"] = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        from hgobench.engines import JOBS, Engine
        from hgobench.results import Store

        check_arguments(
            store=(instance("an open store (hgobench.open_store)", Store), store),
            jobs=(integer(0, JOBS), jobs),
            engine=(optional(instance("an open engine", Engine)), engine),
            device=(instance("a device as torch names it", str), device),
            progress=(_shown, progress),
            on_progress=(optional(function), on_progress),
        )
        self.store, self.device = store, device
        self.engine = engine
        self.jobs = self.engine.jobs if self.engine else jobs or default_jobs(device)
        self._show_progress, self._on_progress = progress, on_progress
        self._watch: Watch | None = None

    def run(
        self,
        scenarios: Collection[Scenario],
        ruleset: str,
        *,
        width: int | None = None,
        time_limit: float = 60.0,
        on_result: Callable[[str, Result], None] = lambda key, result: None,
        what: str = "cells",
    ) -> Outcome:
        """Compute the cells that the store lacks; keep each as soon as it is finished.

        Args:
            scenarios: the cells, each once.
            ruleset: the name under which their scores compare.
            width: the most cells side by side; None: as suits them. Numbers do not depend on it.
            time_limit: CPU seconds that a cell's rule and attack may take.
            on_result: called with each address and its result, found or computed.
            what: their name in messages about progress.

        Returns:
            The outcome. Ctrl-C and a store that can't be written end the run early, which it says.

        Raises:
            InputError: an argument is wrong, some data can't be had, or there is no such device;
                nothing is computed.
        """
        from hgobench.scenario import Scenario

        every = instance("a list of scenarios", Collection)
        checked = check_arguments(
            scenarios=(every, scenarios),
            ruleset=(instance("a name", str), ruleset),
            width=(integer(1, WIDTH, optional=True), width),
            time_limit=(positive(infinite=True), time_limit),
            on_result=(function, on_result),
        )
        if isinstance(scenarios, Sequence):
            for number, cell in enumerate(scenarios):
                if not isinstance(cell, Scenario):
                    instance("a hgobench.Scenario")(f"scenarios[{number}]", cell)
        with self._progress(len(scenarios), what, _rounds(scenarios)) as advance:
            from hgobench.engines.cells import execute

            return execute(
                scenarios,
                self.store,
                ruleset,
                width=width,
                time_limit=checked["time_limit"],
                jobs=self.jobs,
                device=self.device,
                engine=self.engine,
                on_progress=advance,
                on_result=on_result,
            )

    def measure(self, tasks: Sequence[Task], *, jobs: int = 0) -> list[Any]:
        """Return the values of tasks, in order; those that the store has are not measured again.

        Args:
            tasks: the measurements.
            jobs: 1 if other processes would disturb them; 0: as many as the session has.

        Raises:
            InputError: the data they use can't be loaded.
            KeyboardInterrupt: Ctrl-C; finished measurements are kept.
            RuntimeError: a measurement raised, or its process died; the others are kept.
        """
        with self._progress(len({task.what for task in tasks}), "measurements") as advance:
            from hgobench.engines.measured import measure

            engine = None if jobs == 1 else self.engine  # on this machine, undisturbed
            return measure(tasks, self.store, jobs or self.jobs, advance, engine)

    @contextmanager
    def staged(self, stages: int, rounds: int = 0) -> Iterator[None]:
        """Show one progress in the body, of cells in several stages.

        Args:
            stages: how many there are; `stage` begins each.
            rounds: of each cell; 0: they differ.
        """
        with self._progress(0, "cells", rounds, stages) as watch:
            self._watch = watch
            try:
                yield
            finally:
                self._watch = None

    def stage(self, name: str, number: int, total: int) -> None:
        """Begin a stage, within `staged`.

        Args:
            name: what is computed in it.
            number: of the stage, from 1.
            total: how many cells all stages have, as far as is known now.
        """
        if self._watch is not None:
            self._watch.stage(name, number, total)

    def _progress(
        self, total: int, what: str, rounds: int = 0, stages: int = 0
    ) -> AbstractContextManager[Any]:
        """Return what shows progress; within `staged`, what is shown already."""
        if self._watch is not None:
            return nullcontext(self._watch if what == "cells" else self._watch.aside(total))
        from hgobench.report.progress import progress

        return progress(
            total,
            what=what,
            rounds=rounds,
            stages=stages,
            quiet=not self._show_progress,
            form="json" if self._show_progress == "json" else "text",
            on_progress=self._on_progress,
        )


def _shown(name: str, value: Any) -> Any:
    """Check whether, and how, progress is shown."""
    if value != "json":
        instance("True, False or 'json'", bool)(name, value)
    return value


def _rounds(scenarios: Collection[Scenario]) -> int:
    """Return the rounds that all cells have; 0: they differ."""
    from hgobench.grid import Grid

    named = scenarios.values("rounds") if isinstance(scenarios, Grid) else ()
    every = {*named} if named else {cell.rounds for cell in scenarios}
    return int(every.pop()) if len(every) == 1 else 0


def default_jobs(device: str = "cpu") -> int:
    """Return the default number of local processes: one per core, or one off the CPU."""
    from joblib import cpu_count

    return int(cpu_count()) if device == "cpu" else 1


def check(outcome: Outcome, whole: object = None) -> None:
    """Raise if a run ended early.

    Args:
        outcome: of the execution.
        whole: the `outcome` of the exception; None: the same.

    Raises:
        Interrupted: Ctrl-C or another signal ended it.
        Incomplete: it ended early for another reason.
    """
    if outcome.interrupted:
        kind = Interrupted if outcome.signal else Incomplete
        raise kind(outcome.interrupted, outcome if whole is None else whole)


@dataclass(frozen=True, repr=False)
class SuiteOutcome:
    """The outcome of a suite; ``print(outcome)`` shows its boards, as a notebook does.

    Attributes:
        suite: the suite that was run, with all changes.
        cells: the scenarios.
        left_out: numbers of combinations of the grid that are no cells, by reason.
        folder: where the results are kept.
        split: the examples that scores are on.
        seconds: duration of the run.
        grid: outcome of the execution: ``computed``, ``reused``, ``failed``, ``interrupted``.
        scores: the cells' scores on `split`, by their results' addresses.
        ended: labels of the cells that diverged or failed, or have a remark, by reason.
        verdicts: of a suite whose attacks are chosen for each row, what is reported of its rows;
            `cells` are then its rows, and `scores` those of the reported cells.
        choosing: of such a suite, the outcome of the cells that only choose; None: of others.
    """

    suite: Suite
    cells: Grid
    left_out: Mapping[str, int]
    folder: Path
    split: Split
    seconds: float
    grid: Outcome
    scores: Mapping[str, Score]
    ended: Mapping[str, list[str]]
    verdicts: Sequence[Verdict] = ()
    choosing: Outcome | None = None

    @property
    def computed(self) -> int:
        """Number of cells that were computed."""
        return self.grid.computed

    @property
    def reused(self) -> int:
        """Number of cells that were in the folder already."""
        return self.grid.reused

    @property
    def failed(self) -> list[Result]:
        """The results of cells that failed in this run; each counts as an accuracy of 0."""
        return self.grid.failed

    def failures(self) -> list[str]:
        """Return lines on how many cells failed: those that only choose apart from the others."""
        counts = [(len(self.failed), len(self.cells), "cells")]
        if self.choosing is not None:
            chosen, others = self.choosing, self.grid.keys - self.choosing.keys
            counts = [
                (len(chosen.failed), len(chosen.keys), "cells that choose attacks and parameters"),
                (len(self.failed) - len(chosen.failed), len(others), "reported cells"),
            ]
        lines = [f"{count} of {of} {what} failed" for count, of, what in counts if count]
        if by_attack := sum(result.at_fault == "attack" for result in self.failed):
            lines.append(
                f"{by_attack} of them failed by the attack's mistake, not the rule's: worst cases "
                "that rest on them say nothing of the rule; correct the attack (hgobench test)"
            )
        return lines

    @property
    def interrupted(self) -> str:
        """Why the run ended early; empty: it did not."""
        return self.grid.interrupted

    @property
    def missing(self) -> int:
        """How many cells (rows, if attacks are chosen) have no result, as the run ended early."""
        if self.suite.evaluation is not None:
            return len(self.cells) - len(self.verdicts)
        return len(self.cells) - self.computed - self.reused

    @property
    def unit(self) -> str:
        """What `cells` are called: rows, if their attacks are chosen."""
        return "cells" if self.suite.evaluation is None else "rows"

    def results(self) -> Iterator[Result]:
        """Yield the results of all cells, in no particular order."""
        from hgobench.results import open_store

        with open_store(self.folder, create=False) as store:
            for _, result in store.results(self.grid.keys):
                yield result

    def to_frame(self) -> pandas.DataFrame:
        """Return the cells as a pandas data frame: a line each, with its fields and its summary.

        Raises:
            InputError: pandas is not installed.
        """
        from hgobench.results import open_store
        from hgobench.results.tables import cell_kinds, cell_line, frame

        with open_store(self.folder, create=False) as store:
            entries = store.entries(self.grid.keys)
            return frame(cell_kinds(), (cell_line(*entry) for entry in entries))

    def plot(self, kind: str, **asked: Any) -> Picture:
        """Draw its results: `hgobench.plot` of its cells, with the same arguments.

        Raises:
            InputError: as `hgobench.plot`.
        """
        from hgobench.plots import plot

        return plot(self._cells(asked.get("split", self.split)), kind, **asked)

    def _cells(self, split: Split) -> Cells:
        """Return what is drawn of it."""
        from hgobench.leaderboard import Score
        from hgobench.plots.cells import Cells, reader
        from hgobench.results import open_store

        scores = list(self.scores.values())
        if self.suite.evaluation is not None:
            scores = [score for verdict in self.verdicts for score in verdict.named()]
        elif split != self.split:
            with open_store(self.folder, create=False) as store:
                entries = store.entries(self.grid.keys)
                scores = [Score.of(result, split, key) for key, _, result in entries]
        again = reader(lambda: open_store(self.folder, create=False))
        return Cells(scores, str(self.folder), split, self.suite.ruleset, again)

    def boards(self, by: str = "attack", split: Split | None = None) -> Boards:
        """Rank the cells.

        Args:
            by: the boards' columns: the attacks, or the values of another field
                (`hgobench.leaderboard.columns`).
            split: the examples that scores are on; None: `split`.

        Raises:
            InputError: there are no such columns, or the data have no such examples.
        """
        from hgobench.leaderboard import Score, boards

        if self.suite.evaluation is not None:
            from hgobench.evaluation.verdict import ranked

            return ranked(self.verdicts, by)
        if split is None or split == self.split:
            return boards(self.scores.values(), by=by)
        from hgobench.results import open_store

        with open_store(self.folder, create=False) as store:
            entries = list(store.entries(self.grid.keys))
        return boards((Score.of(result, split, key) for key, _, result in entries), by=by)

    def notes(self) -> list[str]:
        """Return lines on cells that did not end well, and on those that the boards lack."""
        notes = [
            f"{len(t)} cell{'s' * (len(t) > 1)} {how} (first: {t[0]})"
            for how, t in self.ended.items()
        ]
        if self.missing:
            notes.append(f"{self.missing} of {len(self.cells)} {self.unit} are missing")
        return [*notes, *(f"left out {n} cells: {why}" for why, n in self.left_out.items())]

    def __repr__(self) -> str:
        counts = f"{self.computed} computed, {self.reused} reused, {len(self.failed)} failed"
        location = f"{self.missing} missing; in {str(self.folder)!r}"
        return f"<{self.suite.title}: {len(self.cells)} {self.unit}, {counts}, {location}>"

    def __str__(self) -> str:
        from hgobench.report.writers import visible

        return "\n".join([*self._boards("table"), *map(visible, self.notes())])

    def _repr_markdown_(self) -> str:
        from hgobench.report.writers import paragraph

        return "\n\n".join([*self._boards("markdown"), *map(paragraph, self.notes())])

    def _boards(self, form: Literal["table", "markdown"]) -> list[str]:
        from hgobench.report.boards import render

        boards = self.boards()
        return [render(self.suite.title, boards, form, split=self.split)] if boards else []


@children_first()
def run_suite(
    suite: str | Path | Suite,
    *,
    out: str | Path | None = None,
    rules: str | Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    jobs: int = 0,
    engine: str | Engine = "local",
    address: str = "",
    device: str = "cpu",
    split: Split = "test",
    progress: bool | Literal["json"] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> SuiteOutcome:
    """Run a suite: compute the cells that the folder lacks, and rank them.

    It does what ``hgobench run`` does, and each finds the results that the other has computed.

    Args:
        suite: a suite's name (``hgobench list suites``) or TOML file, or a
            `hgobench.suite.Suite`.
        out: the folder that results are kept in; None: ``hgobench-results/SUITE``.
        rules: rules of your own, besides the suite's: ``"pkg.mod:Class"``.
        settings: field to its value, or to a list of values for an axis of the grid.
        jobs: local processes; 0: one per core.
        engine: where cells are computed: ``"local"``, processes of this machine; ``"dask"``, the
            workers of a scheduler; or an engine that is open (`hgobench.engines.open_engine`),
            which the caller closes.
        address: the scheduler's: ``"tcp://host:port"``.
        device: where tensors are, as torch names it: ``"cpu"``, ``"cuda"``; if not the CPU, one
            process computes.
        split: which examples boards are on; choose parameters on ``"validation"`` only.
        progress: whether to show progress on standard error, ``"json"``: as an object for each
            change (docs/results.md); None: in a terminal or a notebook, not in a script whose
            output goes elsewhere.
        on_progress: called with the progress whenever cells are finished.
        say: called, before anything is computed, with a line on each reason for which cells are
            left out, and on each risk; None: risks are warnings, and the outcome has the reasons.

    Raises:
        InputError: an argument is wrong; with all problems, and nothing is computed.
        Interrupted: Ctrl-C; finished cells are kept, and the same call continues. The exception's
            ``outcome`` is that of the run so far.
        Incomplete: the store can't be written, or the data have changed; ``outcome`` likewise.

    Warns:
        SamplingRisk: a round may well sample more Byzantine workers than its quorum tolerates.

    Example:
        >>> import tempfile
        >>> few = {"rule": ["krum", "average"], "attack": ["none", "foe"], "algorithm": "hgo"}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     outcome = run_suite("smoke", out=folder, settings=few, jobs=1)
        ...     (board,) = outcome.boards()
        >>> outcome.computed, [(str(row.rank), row.label) for row in board.rows]
        (8, [('1-2', 'hgo krum staircase v=9'), ('1-2', 'hgo average v=7')])
    """
    from hgobench.engines import JOBS, Engine, opened
    from hgobench.grid import reasons
    from hgobench.results import open_store
    from hgobench.scenario import RISKS, sampling_warnings

    check_arguments(
        suite=(instance("a suite's name, a TOML file, or a Suite", str, Path, Suite), suite),
        out=(optional(folder), out),
        rules=(names, rules),
        settings=(optional(fields), settings),
        jobs=(integer(0, JOBS), jobs),
        engine=(instance("an engine or its name", str, Engine), engine),
        address=(instance("a text", str), address),
        device=(instance("a device as torch names it", str), device),
        split=(word(*SPLITS), split),
        progress=(optional(_shown), progress),
        on_progress=(optional(function), on_progress),
        say=(optional(function), say),
    )
    chosen = suite if isinstance(suite, Suite) else Suite.load(suite)
    chosen = chosen.changed([_setting(name, value) for name, value in (settings or {}).items()])
    chosen = chosen.with_rules([rules] if isinstance(rules, str) else rules)
    cells, left = chosen.expand()
    for reason, count in reasons(left).items():
        if say is not None:
            say(f"left out {count} cells: {reason}")
    for warning in sampling_warnings(cells.kinds(*RISKS)):
        if say is None:
            warnings.warn(warning, SamplingRisk, stacklevel=2)
        else:
            say(f"warning: {warning}")
    where_to = (RESULTS / chosen.name if out is None else Path(out)).absolute()
    started = time.monotonic()
    shown = _watched() if progress is None else progress
    seen = _Scores(chosen, split)
    with opened(engine, address) as where:
        if split == "validation":
            _check_validation(cells.values("data"), jobs or default_jobs(), where)
        with open_store(where_to) as store:
            session = Session(
                store,
                jobs=jobs,
                engine=where,
                device=device,
                progress=shown,
                on_progress=on_progress,
            )
            grid, verdicts, choosing = _computed(session, chosen, cells, seen.take)
    for result in choosing.failed if choosing else ():
        seen.note(result.scenario.digest, result)
    seconds = time.monotonic() - started
    scores, ended = seen.scores(), seen.ended()
    outcome = SuiteOutcome(
        chosen, cells, reasons(left), where_to, split, seconds, grid, scores, ended, verdicts,
        choosing,
    )  # fmt: skip
    check(grid, outcome)
    return outcome


def _computed(
    session: Session, suite: Suite, cells: Grid, on_result: Callable[[str, Result], None]
) -> tuple[Outcome, Sequence[Verdict], Outcome | None]:
    """Compute a suite's cells, or evaluate its rows.

    Returns:
        The outcome, the verdicts of rows, and the outcome of the cells that only choose.
    """
    if suite.evaluation is None:
        grid = session.run(
            cells,
            suite.ruleset,
            width=suite.width,
            time_limit=suite.time_limit,
            on_result=on_result,
        )
        return grid, (), None
    from hgobench.evaluation.evaluate import evaluate

    done = evaluate(
        cells,
        suite.evaluation,
        session,
        suite.ruleset,
        width=suite.width,
        time_limit=suite.time_limit,
        on_result=on_result,
    )
    return done.outcome, done.verdicts, done.choosing


class _Scores:
    """Keeps the score of each result of a suite, and the reason if it did not end well."""

    def __init__(self, suite: Suite, split: Split) -> None:
        self.suite, self.split = suite, split
        self._scores: dict[str, Score] = {}
        self._ended: dict[str, tuple[str, str]] = {}

    def take(self, key: str, result: Result) -> None:
        from hgobench.leaderboard import Score

        self._scores[key] = Score.of(result, self.split, key)
        self.note(key, result)

    def note(self, key: str, result: Result) -> None:
        """Keep why a cell did not end well."""
        if result.status != "done" or result.reason:
            why = re.sub(r"^round \d+: ", "", result.reason)
            reason = " ".join(f"{result.status}: {why}".split())
            label, cell = self.suite.label(result.scenario), result.scenario
            if self.suite.evaluation is not None:  # its axes say neither
                label = f"{label}-{cell.attack}-{cell.seed}"
            self._ended[key] = reason, label

    def scores(self) -> dict[str, Score]:
        """Return the scores by address, sorted, as the order in which they arrive is random."""
        return dict(sorted(self._scores.items()))

    def ended(self) -> dict[str, list[str]]:
        """Return the labels of cells that did not end well, by reason."""
        ended: dict[str, list[str]] = {}
        for _, (reason, label) in sorted(self._ended.items()):
            ended.setdefault(reason, []).append(label)
        return ended


def _setting(name: str, value: Any) -> Setting:
    several = isinstance(value, Sequence) and not isinstance(value, str)
    values = list(value) if several else [value]
    if not values:
        raise InputError(f"settings: {name}: {value!r}; expected a value, or a list of some")
    return Setting(name, values)


def _check_validation(data: Sequence[str], jobs: int, engine: Engine | None) -> None:
    """Raise InputError for data without validation examples."""
    from hgobench.engines.cells import described

    for name, description in described(data, jobs, engine).items():
        if isinstance(description, InputError):
            raise description
        if not description.validation:
            raise InputError(f"split: 'validation'; {name!r} has no such examples")


def _watched() -> bool:
    """Return whether a user sees standard error: in a terminal or a notebook."""
    from rich.console import Console

    return sys.stderr.isatty() or Console(file=sys.stderr).is_jupyter
