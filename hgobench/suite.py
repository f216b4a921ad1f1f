"""A suite: a grid of scenarios in a TOML file, with the reason for every cell left out."""

from __future__ import annotations

import importlib.util
import json
import sys
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hgobench.arguments import instance
from hgobench.errors import InputError, shown, unknown
from hgobench.evaluation.plan import CHOSEN, Plan
from hgobench.grid import Axis, Grid, LeaveOut, Left, Listed, Where, check_size
from hgobench.scenario import ALIASES, Scenario, check_field, integer
from hgobench.settings import check_once, write_setting

if TYPE_CHECKING:
    from hgobench.results import Result

_TABLES = (
    "ruleset", "description", "width", "time_limit", "scenario", "grid", "contract", "leave_out",
    "evaluation",
)  # fmt: skip


WIDTH = 1_000  # the most cells per cohort; their gradients are in memory at once
SECONDS = 10**6  # the longest time limit
SIZE = 2**18  # of a suite's file, in bytes
DOTS = 1_000  # in one of its lines

BENCHMARKS = "hgobench_perf"  # the package that suites/perf is imported as


def home() -> Path:
    """Return the folder of the suites that come with hgobench."""
    installed = Path(__file__).parent / "suites"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "suites"


def benchmarks(name: str) -> ModuleType:
    """Import one of the benchmarks' modules, which stand beside the suites."""
    folder = home() / "perf"
    if BENCHMARKS not in sys.modules:
        found = importlib.util.spec_from_file_location(
            BENCHMARKS, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if found is None or found.loader is None or not folder.is_dir():
            raise InputError(f"{folder}: not found; it comes with hgobench")
        sys.modules[BENCHMARKS] = importlib.util.module_from_spec(found)
    return importlib.import_module(f"{BENCHMARKS}.{name}")


def names() -> list[str]:
    """Return the names of the suites that come with hgobench."""
    return sorted(path.stem for path in home().glob("*.toml"))


@dataclass(frozen=True)
class Break(Where):
    """Cells that match must end below an accuracy, or the attack has stopped working."""

    below: float
    table = "contract.breaks"


@dataclass(frozen=True)
class Suite:
    """A grid of scenarios under one ruleset.

    Attributes:
        name: of the file, without its ending.
        ruleset: the version under which scores compare; it changes when the grid's meaning does.
        scenario: fields that all cells share.
        grid: field to its values; every combination is a cell.
        tolerance: how much lower than its reference a cell's accuracy may be.
        breaks: what must break.
        leave_out: what the suite leaves out of its grid.
        width: the most cells that are computed side by side; None: `stack_size`. Numbers do not
            depend on it.
        time_limit: seconds that a cell's rule and attack may take.
        evaluation: how rows are evaluated, if the attacks are chosen for each; the grid's cells
            are then its rows. None: the attacks are an axis of the grid.
        path: the file.
        altered: changes of what cells are, as ``field=value``; they make another ruleset.
        narrowed: choices among an axis's values; the cells that are left are the suite's own.
        added: rules of one's own.
    """

    name: str
    ruleset: str
    description: str = ""
    scenario: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    tolerance: float = 0.1
    breaks: Sequence[Break] = ()
    leave_out: Sequence[LeaveOut] = ()
    width: int | None = None
    time_limit: float = 60.0
    evaluation: Plan | None = None
    path: Path = Path()
    altered: tuple[str, ...] = ()
    narrowed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    @classmethod
    def load(cls, name: str | Path) -> Suite:
        """Read a suite by its name or its file.

        Raises:
            InputError: no such suite, not TOML, or unknown keys; all problems at once.
        """
        instance("a suite's name or TOML file", str, Path)("suite", name)
        path = Path(name)
        if path.suffix != ".toml":
            if str(name) not in names():
                raise InputError(unknown("suite", str(name), names(), hint="or a file NAME.toml"))
            path = home() / f"{name}.toml"
        return cls._read(path, _toml(path))

    @classmethod
    def _read(cls, path: Path, content: Mapping[str, Any]) -> Suite:
        problems = [unknown("suite: key", key, _TABLES) for key in content if key not in _TABLES]
        tables: dict[str, Mapping[str, Any]] = {}
        for key in ("scenario", "grid", "contract"):
            table = content.get(key, {})
            if not isinstance(table, dict):
                problems.append(f"suite: {key}: expected a table [{key}]")
                table = {}
            tables[key] = table
        contract = tables["contract"]
        problems += [
            unknown("suite: contract", key, ("tolerance", "breaks"))
            for key in contract
            if key not in ("tolerance", "breaks")
        ]
        for key, values in tables["grid"].items():
            if not isinstance(values, list) or not values:
                problems.append(f"suite: grid.{key}: {shown(values)}; expected a list of values")
        ruleset = content.get("ruleset", "")
        if not isinstance(ruleset, str) or not ruleset:
            problems.append(
                f"suite: ruleset: {shown(ruleset)}; expected a name with a version: 'mine-1'"
            )
        description = content.get("description", "")
        if not isinstance(description, str):
            problems.append(f"suite: description: {shown(description)}; expected text")
        width, limit = content.get("width"), content.get("time_limit", 60.0)
        try:
            integer(1, WIDTH, optional=True)("suite: width", width)
        except InputError as error:
            problems += error.problems
        if not _within(limit, 0, SECONDS) or limit == 0:
            problems.append(
                f"suite: time_limit: {shown(limit)}; expected seconds > 0, at most {SECONDS}"
            )
        tolerance = contract.get("tolerance", 0.1)
        if not _within(tolerance, 0, 1):
            problems.append(
                f"suite: contract.tolerance: {shown(tolerance)}; expected a number in [0, 1]"
            )
        breaks = []
        for entry in _entries(contract.get("breaks", []), "contract.breaks", problems):
            where = {key: value for key, value in entry.items() if key != "below"}
            below = entry.get("below")
            if isinstance(below, bool) or not isinstance(below, int | float) or not where:
                problems.append(
                    f"suite: contract.breaks: {shown(entry)}; expected fields, and below as a "
                    "number"
                )
            elif not _within(below, 0, 1) or below == 0:  # no accuracy is below 0, all below inf
                problems.append(
                    f"suite: contract.breaks: below: {shown(below)}; expected an accuracy in (0, 1]"
                )
            else:
                breaks.append(Break(where, below))
        leave_out = []
        for entry in _entries(content.get("leave_out", []), "leave_out", problems):
            where = {key: value for key, value in entry.items() if key != "reason"}
            reason = entry.get("reason")
            if not isinstance(reason, str) or not reason or not where:
                problems.append(f"suite: leave_out: {shown(entry)}; expected fields, and a reason")
            else:
                leave_out.append(LeaveOut(where, reason))
        plan, table = None, content.get("evaluation")
        if table is not None:
            try:
                plan = _plan(table, {*tables["scenario"], *tables["grid"]}, contract)
            except InputError as error:
                problems += [f"suite: {problem}" for problem in error.problems]
        if problems:
            raise InputError(problems)
        return cls(
            name=path.stem,
            ruleset=ruleset,
            description=description,
            scenario=tables["scenario"],
            grid=tables["grid"],
            tolerance=float(tolerance),
            breaks=tuple(breaks),
            leave_out=tuple(leave_out),
            width=width,
            time_limit=float(limit),
            evaluation=plan,
            path=path,
        )

    def changed(self, settings: Sequence[tuple[str, Sequence[Any]]]) -> Suite:
        """Return the suite with fields set: one value fixes a field, several make it an axis.

        Choosing among an axis's own values leaves each cell what it was, and the ruleset too; any
        other change names another ruleset, so that its scores are not mistaken for the suite's.
        """
        scenario, grid = dict(self.scenario), dict[str, Sequence[Any]](self._axes)
        chosen, other = [], []
        targets = [ALIASES.get(name, name) for name, _ in settings]
        if self.evaluation is not None and (taken := [t for t in targets if t in CHOSEN]):
            raise InputError(f"settings: {name}: the evaluation chooses it" for name in taken)
        check_once(targets, "settings")
        axes = [Axis.of(name, given) for name, given in settings]
        _refuse_repeated(axes, "settings")
        for axis in axes:
            target, values = axis.field, list(axis.values)
            before = self._values(target)
            if values == before:
                continue
            text = write_setting(target, *values)
            if all(value in before for value in values):
                chosen.append(text)
                grid = {k: axis if ALIASES.get(k, k) == target else v for k, v in grid.items()}
                continue
            other.append(text)
            scenario = {k: v for k, v in scenario.items() if ALIASES.get(k, k) != target}
            grid = {k: v for k, v in grid.items() if ALIASES.get(k, k) != target}
            if len(values) == 1:
                scenario[axis.name] = values[0]
            else:
                grid[axis.name] = axis
        ruleset = f"{self.ruleset} with {' '.join(sorted(other))}" if other else self.ruleset
        return replace(
            self,
            scenario=scenario,
            grid=grid,
            ruleset=ruleset,
            altered=(*self.altered, *other),
            narrowed=(*self.narrowed, *chosen),
        )

    def _values(self, target: str) -> list[Any]:
        """Return the values that the suite has of a field; empty if there is no such field."""
        known = Scenario.__dataclass_fields__
        default = [known[target].default] if target in known else []
        fixed = [value for key, value in self.scenario.items() if ALIASES.get(key, key) == target]
        for axis in self._axes.values():
            if axis.field == target:
                return list(axis.values)
        return [_spelled(target, value) for value in fixed or default]

    @cached_property
    def _axes(self) -> dict[str, Axis]:
        """The grid's axes, their values checked."""
        check_size(self.grid, self.scenario.get("rounds"))
        return {name: Axis.of(name, values) for name, values in self.grid.items()}

    def with_rules(self, rules: Sequence[str]) -> Suite:
        """Return the suite with rules of one's own beside its own ones; scores stay comparable."""
        if not rules:
            return self
        own = self._values("rule")
        axis = replace(Axis.of("rule", [*own, *rules]), repeated=())
        added = [rule for rule in axis.values if rule not in own]
        grid = {**self._axes, "rule": axis}
        scenario = {k: v for k, v in self.scenario.items() if k != "rule"}
        return replace(self, scenario=scenario, grid=grid, added=(*self.added, *added))

    @property
    def changes(self) -> tuple[str, ...]:
        """All that was changed since the suite was read; empty: nothing."""
        return (*self.altered, *self.narrowed, *(f"rule={rule}" for rule in self.added))

    @property
    def title(self) -> str:
        """The ruleset, with what the suite was narrowed to."""
        return f"{self.ruleset} ({', '.join(self.narrowed)})" if self.narrowed else self.ruleset

    def own(self, scenario: Scenario) -> bool:
        """Say whether a cell is the suite's own: then it has a reference value."""
        return not self.altered and scenario.rule not in self.added

    def expand(self) -> tuple[Grid, list[Left]]:
        """Return the grid's scenarios, and the combinations left out with the reason.

        Raises:
            InputError: a value is wrong by itself, or one of an axis is left out in every
                combination, all problems at once; or there are too many.
        """
        twice = {ALIASES.get(n, n) for n in self.grid} & {ALIASES.get(n, n) for n in self.scenario}
        if twice:
            raise InputError([f"suite: {name}: in both [scenario] and [grid]" for name in twice])
        _refuse_repeated(self._axes.values(), "suite: grid")
        grid = Grid(self.scenario, self._axes, self.leave_out)
        contract = self._contract  # refuses what it can't read, whatever was changed
        dead = [entry for entry in contract if not self.changes and not grid.has(entry)]
        if dead:
            raise InputError(f"suite: contract.breaks: {dict(b.where)}: no such cell" for b in dead)
        return grid, grid.left

    def broken_by(self, scenario: Scenario) -> list[float]:
        """Return the accuracies below which the contract wants the cell to end."""
        return [b.below for b in self._contract if b.matches(scenario)]

    @cached_property
    def _contract(self) -> list[Break]:
        return [entry.canonical() for entry in self.breaks]

    @property
    def reference_path(self) -> Path:
        """Where the accuracies that `pytest suites/` compares with are kept."""
        return self.path.parent / "reference" / f"{self.name}.json"

    def reference(self) -> dict[str, float] | None:
        """Return the committed accuracies by cell label; None if the suite has no reference.

        Raises:
            InputError: they are another ruleset's, or can't be read.
        """
        if self.altered or not self.reference_path.exists():
            return None
        about = f"suite: {str(self.reference_path)!r}"
        rewrite = f"rewrite it: hgobench run {self.path} --update-reference"
        try:
            content = json.loads(self.reference_path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{about}: can't be read: {error}; {rewrite}") from error
        accuracy = content.get("accuracy") if isinstance(content, dict) else None
        if not isinstance(accuracy, dict) or not all(_within(a, 0, 1) for a in accuracy.values()):
            raise InputError(f"{about}: expected a ruleset and accuracies by label; {rewrite}")
        if content.get("ruleset") != self.ruleset:
            raise InputError(
                f"{about}: of ruleset {shown(content.get('ruleset'))}; expected {self.ruleset!r}; "
                f"{rewrite}"
            )
        return dict(accuracy)

    def write_reference(self, results: Iterable[Result]) -> Path:
        """Rewrite the reference with the test accuracies of `results`, as boards count them."""
        found = {result.scenario: result.worth for result in results}
        accuracy = {
            label: round(found[scenario], 4) for label, scenario in self.labelled(found).items()
        }
        content = {"ruleset": self.ruleset, "accuracy": dict(sorted(accuracy.items()))}
        self.reference_path.parent.mkdir(exist_ok=True)
        self.reference_path.write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")
        return self.reference_path

    def labelled(self, scenarios: Iterable[Scenario]) -> dict[str, Scenario]:
        """Return cells by their labels.

        Raises:
            InputError: two of them have the same.
        """
        labelled: dict[str, Scenario] = {}
        for scenario in scenarios:
            label = self.label(scenario)
            if labelled.setdefault(label, scenario) != scenario:
                raise InputError(
                    f"suite: {label!r}: the label of two cells, {labelled[label]!r} and "
                    f"{scenario!r}; expected axes whose values tell them apart"
                )
        return labelled

    def label(self, scenario: Scenario) -> str:
        """Name a cell of this suite by the values of its axes: ``hgo-krum-foe-iid-weak-0``."""
        return "-".join(str(getattr(scenario, ALIASES.get(axis, axis))) for axis in self.grid)


def _toml(path: Path) -> dict[str, Any]:
    """Read a TOML file, with or without a byte order mark.

    Raises:
        InputError: it can't be read, is too large, or is not TOML.
    """
    about = f"suite: {str(path)!r}: "
    try:
        with path.open("rb") as file:
            content = file.read(SIZE + 1)
    except OSError as error:
        raise InputError(about + (error.strerror or str(error))) from error
    except ValueError as error:  # a path that no file can have
        raise InputError(f"{about}{error}") from error
    if len(content) > SIZE:
        raise InputError(f"{about}larger than {SIZE:,} bytes; expected a suite")
    try:
        text = content.decode("utf-8-sig")  # some editors begin a file with a mark
        for number, line in enumerate(text.splitlines(), 1):
            if line.count(".") > DOTS:  # the reader's time grows with the square of a key's parts
                raise InputError(f"{about}line {number}: more than {DOTS:,} dots; expected a suite")
        return tomllib.loads(text)
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{about}not TOML: nested too deeply") from None
    except ValueError as error:  # not UTF-8, not TOML, or a number of too many digits
        raise InputError(f"{about}not TOML: {error}") from error


def _plan(table: Any, given: Collection[str], contract: Mapping[str, Any]) -> Plan:
    """Return how a suite's rows are evaluated.

    Args:
        table: ``[evaluation]``.
        given: the fields that the suite gives values to.
        contract: ``[contract]``.

    Raises:
        InputError: all that is wrong with it.
    """
    if not isinstance(table, dict):
        raise InputError("evaluation: expected a table [evaluation]")
    problems = [
        f"{name}: the evaluation chooses it; expected none in [scenario] and [grid]"
        for name in given
        if ALIASES.get(name, name) in CHOSEN
    ]
    if contract:
        problems.append("contract: it compares cells, and an evaluation chooses its own")
    try:
        plan = Plan.read(table)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    return plan


def _within(value: Any, least: float, most: float) -> bool:
    """Say whether a value is a number in [least, most]; NaN is in no interval."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _spelled(field: str, value: Any) -> Any:
    """Return a value's canonical spelling; a wrong one is left for `Suite.expand` to refuse."""
    try:
        return check_field(field, value)
    except InputError:
        return value


def _refuse_repeated(axes: Iterable[Axis], where: str) -> None:
    """Refuse values that an axis has twice: nothing is run twice, nor under two names.

    Raises:
        InputError: naming all of them.
    """
    problems = [
        f"{where}: {axis.name}: {shown(value)} is given twice"
        for axis in axes
        for value in dict.fromkeys(axis.repeated)
    ]
    if problems:
        raise InputError(problems)


def cohorts(scenarios: Iterable[Scenario], width: int | None = None) -> list[list[Scenario]]:
    """Group scenarios that share a world into cohorts of at most `width`; None: `stack_size`."""
    return list(Listed(scenarios).cohorts(width))


def _entries(value: Any, name: str, problems: list[str]) -> list[dict[str, Any]]:
    """Return the [[name]] tables of a suite; none, and a problem more, if they are none."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        problems.append(f"suite: {name}: {shown(value)}; expected [[{name}]]")
        return []
    return value
