"""Is a project's newest commit slower, larger or less robust than another?"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hgobench.report import files
from hgobench.report.page import Cell, Facts, Page, Shown, Table, Text

from .asv import call
from .project import Project

COUNTED = (r"(Counts|Robustness)\.track_",)
TIMED = (r"LargeRules\.(time|peakmem)_",)
# Of the benchmarks' many rounds of training, two rules on slow devices stand for all.
OWN = (r"Startup\.(time|peakmem)_", r"Rounds\.time_five_rounds\('(trimmed_mean|krum)', 'standard'")
EXACT = 1.001  # what is counted may not grow at all
COMMAND = "hgobench bench gate"
PAGES = "pages"

Values = Mapping[str, float | None]


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a commit.

    Attributes:
        worse: whether something grew beyond what is allowed.
        problems: what was not measured, which leaves the question open.
        notes: what BASE has no value of, and what else a reader must know.
        page: all values.
        path: of the page's file; None: there is none, as nothing was measured.
    """

    worse: bool
    problems: list[str]
    notes: list[str]
    page: Page
    path: Path | None


def gate(project: Project, base: str, factor: float, out: Path) -> Verdict:
    """Measure HEAD and another commit, and compare them.

    What is counted (ATen calls, bytes, 1 - worst-case accuracy) may not grow at all. Times and
    memory may grow by the factor; a time that does so is measured again.

    Args:
        project: the project.
        base: the whole hash of the other commit.
        factor: by which times and memory may grow.
        out: the folder for what is measured.

    Raises:
        InputError: asv is not installed, or the folder can't be written to.
    """
    head = project.commit("HEAD")
    timed = (*TIMED, *(() if project.rules else OWN))
    units: dict[str, str] = {}
    values: dict[str, dict[str, float | None]] = {base: {}, head: {}}
    worse = False
    for patterns, allowed, tries in ((COUNTED, EXACT, 1), (timed, factor, 2)):
        for _ in range(tries):
            since = time.time()
            grown = _compared(project, out, base, head, patterns, allowed)
            for commit, found in values.items():
                found.update(_measured(out, commit, since, units))
            if not grown:
                break
        worse |= grown
    problems, notes = _missing(project, values[base], values[head])
    page = _page(project, base, head, factor, values, units, worse, [*problems, *notes])
    measured = any(_number(value) for found in values.values() for value in found.values())
    path = files.write(out / PAGES, page) if measured else None
    return Verdict(worse, problems, notes, page, path)


def _compared(
    project: Project, out: Path, base: str, head: str, patterns: Iterable[str], factor: float
) -> bool:
    """Measure both commits; return whether something grew by more than a factor, as asv says."""
    chosen = [word for pattern in patterns for word in ("-b", pattern)]
    words = ["continuous", "--launch-method", "forkserver", "--factor", str(factor), *chosen]
    return call(project, out, [*words, base, head]) != 0


def _measured(
    out: Path, commit: str, since: float, units: dict[str, str]
) -> Iterator[tuple[str, float | None]]:
    """Yield what asv has measured of a commit: a benchmark with its parameters, and its value.

    None: it failed; NaN: it was left out.
    """
    from asv.benchmarks import Benchmarks
    from asv.commands.compare import unroll_result
    from asv.config import Config
    from asv.results import Results

    if not (out / "results" / "benchmarks.json").exists():
        return  # asv has come to none
    known = Benchmarks.load(Config.from_json({"repo": ".", "results_dir": str(out / "results")}))
    for path in sorted((out / "results").glob(f"*/{commit[:8]}-*.json")):
        if path.stat().st_mtime < since - 2:  # of an earlier call; some disks round
            continue
        result = Results.load(str(path), path.parent.name)
        for name in result.get_all_result_keys():
            params = result.get_result_params(name)
            measured = result.get_result_value(name, params)
            for label, value in unroll_result(name, params, measured):
                units[label] = known[name].get("unit", "") if name in known else ""
                yield label, None if value is None else float(value)


def _number(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _missing(project: Project, base: Values, head: Values) -> tuple[list[str], list[str]]:
    """Return what was not measured of HEAD, and of BASE alone."""
    if not any(map(_number, head.values())):
        return ["HEAD: nothing was measured"], []
    problems = []
    lacking = [name for name, value in head.items() if value is None]
    if project.rules:  # what no commit but BASE has is no rule of the project
        lacking += [name for name, value in head.items() if value is not None and math.isnan(value)]
    if lacking:
        problems.append(f"HEAD: not measured: {_listed(lacking)}")
    if not base or all(value is None for value in base.values()):
        return [*problems, "BASE: nothing was measured"], []
    new = [name for name, value in base.items() if not _number(value) and _number(head.get(name))]
    notes = [f"BASE has no value, so that nothing is compared: {_listed(new)}"] if new else []
    return problems, notes


def _listed(names: list[str], most: int = 6) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _page(
    project: Project,
    base: str,
    head: str,
    factor: float,
    values: Mapping[str, Values],
    units: Mapping[str, str],
    worse: bool,
    notes: Iterable[str],
) -> Page:
    rows: list[list[Cell]] = []
    before, now = values[base], values[head]
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        ratio = new / old if old and new is not None else None
        ratio = None if ratio is None or math.isnan(ratio) else ratio
        rows.append([name, units.get(name, ""), _short(old), _short(new), _short(ratio)])
    header = ["benchmark", "unit", "BASE", "HEAD", "HEAD / BASE"]
    said = (
        "HEAD is worse than BASE."
        if worse
        else "HEAD is neither slower nor larger nor less robust than BASE."
    )
    about = (
        "Calls of ATen, the bytes that they return and 1 - worst-case accuracy are exact on one "
        f"machine, and may not grow at all; times and memory may grow by a factor of {factor:g}, "
        "unless asv takes the difference for noise, and a time that does so was measured again."
    )
    words = [COMMAND, base[:10], *(f"--rule {rule}" for rule in project.rules)]
    return Page(
        "gate",
        f"{project.name}: what {head[:8]} costs, against {base[:8]}",
        [
            Text(said, "answer"),
            Text(about),
            *(Text(note, "note") for note in notes),
            Facts([("BASE", project.title(base)), ("HEAD", project.title(head))]),
            Table("gate", "", header, rows, [2, 3, 4]),
        ],
        " ".join(words),
    )


def _short(value: float | None) -> Cell:
    if value is None or math.isnan(value):
        return None
    return Shown(f"{value:.4g}", value)
