"""The pytest plug-in: a suite's cells as tests, and the leaderboard at the end.

``pytest --suite ci.toml`` gives every cell a test, beside the tests that are there anyway; so does
``pytest suites/`` in hgobench's own folder. A cohort is computed once, by the first of its tests
that runs; under pytest-xdist all tests of a cohort go to one process. Results travel as report
properties, so that the table is the same with and without xdist.

This module does not import torch before a cell is computed.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hgobench.results import Result, Store
    from hgobench.scenario import Scenario
    from hgobench.suite import Suite

PROPERTY = "hgobench"
LACKING = "hgobench lacks"
CELLS = "test_cells.py"
MODULES = "hgobench.suites"  # of an installed hgobench, as pytest --pyargs takes it
DEFAULT = "quick"
SUITE = pytest.StashKey["Suite"]()
SPELLING = {"attacks": "--attack", "settings": "--attack", "rules": "--rule"}
COHORTS = pytest.StashKey["Cohorts"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of hgobench's suites."""
    group = parser.getgroup("hgobench", "Byzantine-robustness suites")
    group.addoption(
        "--suite",
        help=f"a suite's name or TOML file, whose cells become tests (for suites/: {DEFAULT})",
    )
    group.addoption(
        "--rule",
        action="append",
        default=[],
        help="a rule of your own beside the suite's: pkg.mod:Class",
    )
    group.addoption("--attack", help="only these attacks, separated by commas")
    group.addoption(
        "--results",
        metavar="FOLDER",
        help="where cells' results are kept, as hgobench run keeps them; what is there already is "
        "not computed again",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start with an empty board; collect a suite's cells; refuse bad options at once."""
    config.pluginmanager.register(Board(config), "hgobench-board")
    for path in _arguments(config):
        if path.suffix == ".toml":
            raise pytest.UsageError(
                f"{path.name}: the cells of a suite become tests by: pytest --suite {path.name}"
            )
    if config.getoption("--suite") is not None and not _collects_suites(config):
        from hgobench.suite import home

        config.args.append(str(home() / CELLS))
    if _runs_cells(config):
        from hgobench.errors import InputError
        from hgobench.registry import modules_of

        try:
            sys.path[:] = modules_of(config.invocation_params.dir)
        except InputError as error:
            raise pytest.UsageError("\n".join(error.problems)) from error
        suite_of(config)
        _check_results(config)
        return
    for option in ("--rule", "--attack", "--results"):
        if config.getoption(option):
            raise pytest.UsageError(f"{option}: no cells are run; name their suite: --suite quick")


def suite_of(config: pytest.Config) -> Suite:
    """Return the suite that the options name.

    Raises:
        pytest.UsageError: it is refused, and why.
    """
    from hgobench.errors import InputError, respelled
    from hgobench.settings import parse_names, parse_setting
    from hgobench.suite import Suite

    if SUITE not in config.stash:
        try:
            suite = Suite.load(config.getoption("--suite") or DEFAULT)
            if attacks := config.getoption("--attack"):
                suite = suite.changed([parse_setting(f"attack={attacks}", "attacks")])
            suite = suite.with_rules(parse_names(config.getoption("--rule"), "rules"))
            if suite.evaluation is not None:
                raise InputError(
                    f"--suite: {suite.name!r} chooses attacks for each row, so that its cells are "
                    f"not known before; run it: hgobench run {config.getoption('--suite')}"
                )
            suite.expand()
            config.stash[SUITE] = suite
        except InputError as error:
            problems = [respelled(problem, SPELLING) for problem in error.problems]
            raise pytest.UsageError("\n".join(problems)) from error
    return config.stash[SUITE]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each cell of the suite its own test."""
    if "hgobench_cell" not in metafunc.fixturenames:
        return
    from hgobench.suite import cohorts

    suite = suite_of(metafunc.config)
    scenarios, _ = suite.expand()
    grouped = cohorts(scenarios, suite.width)
    parameters = [
        pytest.param(scenario, id=f"{suite.label(scenario)}-cohort{number}")
        for number, cohort in enumerate(grouped)
        for scenario in cohort
    ]
    metafunc.parametrize("hgobench_cell", parameters)


class Cohorts:
    """Computes each cohort once per process, and only the cells that were selected.

    Cells that name plug-in code are computed in another process, as everywhere else, so that
    limits hold for C code too and a rule that ends its process ends no test but its own.

    Args:
        suite: whose cells.
        selected: those that have a test.
        store: where results are until all tests have run.
        here: compute these cells in this process too, without such limits.
        kept: where they stay, which other processes write to as well; what it has is not computed.
            None: nowhere.
    """

    def __init__(
        self,
        suite: Suite,
        selected: Sequence[Scenario],
        store: Store,
        here: bool,
        kept: Store | None = None,
    ) -> None:
        from hgobench.engines.local import Inline
        from hgobench.session import Session
        from hgobench.suite import cohorts

        self.suite, self.here = suite, here
        self.session = Session(store, jobs=1, engine=Inline() if here else None)
        self.batch_of = {
            scenario: batch for batch in cohorts(selected, suite.width) for scenario in batch
        }
        self.kept = kept
        if kept is not None:
            store.add_all(
                (result, ruleset, key)
                for key, ruleset, result in kept.entries()
                if ruleset == suite.ruleset and result.scenario in self.batch_of
            )
        self.found = store.keys()
        self.done: dict[Scenario, Result] = {}
        self.refused: dict[str, Exception | None] = {}

    def refusal(self, scenario: Scenario) -> Exception | None:
        """Return why the cell's data can't be had, whatever a client that downloads them raises."""
        from hgobench import catalogue
        from hgobench.data.datasets import load
        from hgobench.engines.cells import described

        name = scenario.data
        if name not in self.refused and not self.here and catalogue.foreign({"data": name}):
            about = described([name], time_limit=self.suite.time_limit)[name]
            self.refused[name] = about if isinstance(about, Exception) else None
        if name not in self.refused:
            self.refused[name] = None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    load(name)
                except Exception as error:
                    self.refused[name] = error.with_traceback(None)
        return self.refused[name]

    def result(self, scenario: Scenario) -> Result:
        """Return the cell's result, computing its cohort if need be."""
        from hgobench.session import check

        if scenario not in self.done:
            suite, batch = self.suite, self.batch_of[scenario]
            outcome = self.session.run(
                batch, suite.ruleset, width=suite.width, time_limit=suite.time_limit
            )
            check(outcome)
            entries = list(self.session.store.entries(outcome.keys))
            self.done.update((result.scenario, result) for *_, result in entries)
            if self.kept is not None:
                new = [entry for entry in entries if entry[0] not in self.found]
                self.kept.add_all((result, ruleset, key) for key, ruleset, result in new)
        return self.done[scenario]


def is_observed(config: pytest.Config) -> bool:
    """Return whether a debugger or a measurement of coverage is to see what runs here."""
    if config.getoption("usepdb", False) or config.getoption("trace", False):
        return True
    if sys.gettrace() is not None:
        return True
    monitoring: Any = getattr(sys, "monitoring", None)  # from Python 3.12
    if monitoring is None:
        return False
    tools = monitoring.DEBUGGER_ID, monitoring.COVERAGE_ID
    return any(monitoring.get_tool(tool) for tool in tools)


def reason(error: Exception) -> str:
    """Say in one line what an exception says."""
    text = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


@pytest.fixture
def hgobench_result(hgobench_cell: Scenario, request: pytest.FixtureRequest) -> Result:
    """Return the cell's `Result`, and put it on the board.

    A cell whose data are not to be had here is skipped; one whose data can't be read fails.
    """
    from hgobench.errors import Unavailable
    from hgobench.leaderboard import Score
    from hgobench.results import open_store

    stash = request.config.stash
    if COHORTS not in stash:
        tests = (item for item in request.session.items if isinstance(item, pytest.Function))
        parameters: list[Any] = [
            item.callspec.params.get("hgobench_cell") for item in tests if hasattr(item, "callspec")
        ]
        selected: list[Scenario] = [cell for cell in dict.fromkeys(parameters) if cell]
        kept = ExitStack()
        request.config.add_cleanup(kept.close)
        folder = kept.enter_context(TemporaryDirectory(prefix="hgobench-"))
        store = kept.enter_context(open_store(folder))
        here = is_observed(request.config)
        folder_kept = _results(request.config)
        own = None if folder_kept is None else kept.enter_context(open_store(folder_kept))
        stash[COHORTS] = Cohorts(suite_of(request.config), selected, store, here, own)
    refusal = stash[COHORTS].refusal(hgobench_cell)
    if isinstance(refusal, Unavailable):
        request.node.user_properties.append((LACKING, reason(refusal)))
        pytest.skip(reason(refusal))
    if refusal is not None:
        pytest.fail(reason(refusal), pytrace=False)
    computed = stash[COHORTS].result(hgobench_cell)
    score = Score.of(computed)
    row = {
        "scenario": hgobench_cell.to_dict(),
        "status": computed.status,
        "accuracy": score.accuracy,
        "live": score.live,
        "late": score.late,
        "needs": score.needs,
        "data": score.data,
        "right": None if score.right is None else score.right.hex(),
    }
    request.node.user_properties.append((PROPERTY, json.dumps(row)))
    return computed


@pytest.fixture
def hgobench_suite(request: pytest.FixtureRequest) -> Suite:
    """Return the suite that runs."""
    return suite_of(request.config)


@pytest.fixture(scope="session")
def hgobench_reference(request: pytest.FixtureRequest) -> dict[str, float] | None:
    """Return the accuracies committed with the suite, by cell label; None if it has none."""
    return suite_of(request.config).reference()


class Board:
    """Collects the rows of all tests, wherever they ran, and prints the leaderboard."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.rows: list[dict[str, Any]] = []
        self.lacking: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the row of a cell's test, or the reason why there is none."""
        if report.when == "setup":
            self.lacking.update(
                str(value) for name, value in report.user_properties if name == LACKING
            )
        if report.when == "call":
            self.rows += [
                json.loads(str(value)) for name, value in report.user_properties if name == PROPERTY
            ]

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """End with the leaderboard of the cells that ran, and say which could not."""
        for reason, count in self.lacking.items():
            terminalreporter.write_line(f"{count} cells were not computed: {reason}", yellow=True)
        if not self.rows:
            return
        from hgobench.leaderboard import Score, boards
        from hgobench.report import screen, writers
        from hgobench.report.boards import render
        from hgobench.scenario import Scenario, sampling_warnings

        last = {json.dumps(row["scenario"]): row for row in self.rows}  # of a test that ran again
        scores = []
        for _, row in sorted(last.items()):
            right = row.pop("right")
            row["right"] = None if right is None else bytes.fromhex(right)
            scores.append(Score(Scenario.restore(row.pop("scenario")), **row))
        terminalreporter.section("leaderboard")
        suite = suite_of(self.config)
        asked: Any = terminalreporter.isatty  # a bool in older pytest
        is_terminal = asked() if callable(asked) else asked
        terminal = terminalreporter._tw.fullwidth if is_terminal else None
        width = screen.width() or terminal
        board = render(suite.title, boards(scores), width=width, hint="a larger COLUMNS shows all")
        terminalreporter.write_line(board)
        for warning in sampling_warnings(score.scenario for score in scores):
            terminalreporter.write_line(writers.visible(f"warning: {warning}"))
        if (folder := _results(self.config)) is not None:
            terminalreporter.write_line(
                writers.visible(f"results: {folder}; hgobench site {folder} shows them")
            )
        if not suite.reference_path.exists():
            terminalreporter.write_line(
                f"No reference values for {writers.visible(suite.name)}: a robustness regression "
                "would not be seen; write them with: "
                f"hgobench run {writers.visible(suite.path)} --update-reference"
            )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a cohort on one process; other tests are dealt out one by one."""
    if config.getoption("dist") != "load" or not _runs_cells(config):
        return None
    from xdist.scheduler import LoadScopeScheduling

    class CohortScheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            _, found, number = nodeid.rpartition("-cohort")
            return f"cohort {number}" if found else nodeid

    return CohortScheduling(config, log)


def _arguments(config: pytest.Config) -> list[Path]:
    """Return the files and folders that pytest was called with."""
    return [config.invocation_params.dir / str(arg).split("::")[0] for arg in config.args]


def _results(config: pytest.Config) -> Path | None:
    """Return the folder where results are kept; None: none is asked for."""
    folder = config.getoption("--results")
    return None if folder is None else config.invocation_params.dir / folder


def _check_results(config: pytest.Config) -> None:
    """Make the store, once, before any process of pytest-xdist's opens it; refuse another's."""
    from hgobench.errors import InputError
    from hgobench.results import StoreError, open_store

    folder = _results(config)
    if folder is None or hasattr(config, "workerinput"):
        return
    if folder == config.invocation_params.dir:
        raise pytest.UsageError("--results: ''; expected a folder")
    try:
        with open_store(folder):
            pass
    except (InputError, StoreError, OSError) as error:
        raise pytest.UsageError(f"--results: {error}") from error


def _runs_cells(config: pytest.Config) -> bool:
    """Say whether the arguments name a folder with a suite's tests, or the file itself."""
    return any(
        path.name in (CELLS, MODULES, f"{MODULES}.test_cells") or (path / CELLS).exists()
        for path in _arguments(config)
    )


def _collects_suites(config: pytest.Config) -> bool:
    """Say whether the arguments name any tests of hgobench's suites, which know --suite."""
    from hgobench.suite import home

    tests = home()
    return _runs_cells(config) or any(
        path.parent == tests or path.name.startswith(f"{MODULES}.") for path in _arguments(config)
    )
