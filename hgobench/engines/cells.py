"""A grid of cells, from the store or computed.

Plug-in code is never called in this process: if it ends its process, the run goes on. With several
jobs this process holds no data either: another loads them, returns their digest, and keeps them for
the cells that it computes.
"""

from __future__ import annotations

import math
import platform
import signal
import sys
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple, TypeVar

from hgobench import boundary, catalogue
from hgobench.algorithms import Places
from hgobench.boundary import OUT_OF_MEMORY, OUT_OF_TIME, PluginError, limited
from hgobench.data import datasets
from hgobench.data.datasets import Description
from hgobench.errors import InputError, Unavailable
from hgobench.grid import Grid, Listed
from hgobench.provenance import device_name, usable
from hgobench.results import Result, Store, StoreError
from hgobench.results.address import Addresses
from hgobench.scenario import Scenario
from hgobench.simulation import lost, simulate
from hgobench.simulation.footprint import check_fits
from hgobench.simulation.world import World

from .base import Engine, EngineError, Failure, Limits, Observable, tried_twice
from .local import local
from .progress import Advance, OnProgress, ignore, tell
from .signals import Ended

T = TypeVar("T")
OnResult = Callable[[str, Result], None]
_CHECKED: set[tuple[str, str]] = set()  # files of this machine that are equal to the driver's
# hgobench's own code has no CPU limit, as a large model takes long; plug-in code has one.
COMPUTING = Limits(idle=600.0)
LOOKED_UP = 32  # cohorts at a time
CHECKED_WORLDS = 1_000  # constructed before anything is computed
LOADING = Limits(idle=3600.0)  # a slow disk, or a download


class _Cohort(NamedTuple):
    """A cohort that was computed.

    Attributes:
        results: of its cells.
        crowded: whether threads that plug-in code had left behind were there, whose CPU seconds
            count as those of any component.
    """

    results: list[Result]
    crowded: bool


@dataclass
class Outcome:
    """How the execution of a grid went.

    Attributes:
        keys: the addresses of all its cells.
        computed, reused: numbers of cells that were computed, and that were found in the store.
        failed: the results of cells that failed, with the reason.
        interrupted: what ended it early: Ctrl-C, a store that can't be written, an engine that was
            lost; empty: nothing.
        signal: the number of the signal that ended it; 0: none did.

    Example:
        >>> Outcome(set(), computed=3).status
        0
        >>> Outcome(set(), interrupted="ended by SIGTERM", signal=15).status
        143
    """

    keys: set[str]
    computed: int = 0
    reused: int = 0
    failed: list[Result] = field(default_factory=list)
    interrupted: str = ""
    signal: int = 0

    @property
    def status(self) -> int:
        """The exit status of a command: 128 + the signal's number; 1: incomplete or failed; 0."""
        return 128 + self.signal if self.signal else int(bool(self.interrupted or self.failed))

    def add(self, more: Outcome) -> None:
        """Add how other cells went, that were executed after these."""
        self.keys |= more.keys
        self.computed += more.computed
        self.reused += more.reused
        self.failed += more.failed
        if more.interrupted:
            self.interrupted, self.signal = more.interrupted, more.signal

    def end(self, error: BaseException) -> None:
        """Record the exception that ended it early."""
        if isinstance(error, KeyboardInterrupt):
            self.signal = error.number if isinstance(error, Ended) else signal.SIGINT
            self.interrupted = str(error) or "interrupted"
        elif isinstance(error, EngineError):
            self.interrupted = str(error)
        else:
            self.interrupted = f"the store can't be written: {error}"


def execute(
    scenarios: Collection[Scenario],
    store: Store,
    ruleset: str,
    *,
    width: int | None = None,
    time_limit: float = 60.0,
    jobs: int = 1,
    device: str = "cpu",
    engine: Engine | None = None,
    on_progress: OnProgress = ignore,
    on_result: OnResult = lambda key, result: None,
) -> Outcome:
    """Compute what the store does not have yet; keep each cell as soon as it is finished.

    Args:
        scenarios: the grid.
        store: where results are looked up and kept.
        ruleset: the name under which they compare.
        width: the most cells side by side; None: as suits them (`hgobench.grid.stack_size`).
        time_limit: CPU seconds that a cell's rule and attack may take.
        jobs: local processes; 1: this process, but for cells that name plug-in code.
        device: where tensors are, as torch names it.
        engine: where cells are computed, if not in local processes (`hgobench.engines.registry`);
            the caller closes it.
        on_progress: called when cells were looked up, when computing begins, and when cells are
            finished.
        on_result: called with each address and its result, found or computed, so that the caller
            need not read the results again.

    Raises:
        InputError: a data set can't be loaded, a world can't be constructed, or there is no such
            device; nothing is computed then. Of more than 1,000 worlds that differ in more than
            their seed only the first are tried; cells of other worlds that can't be constructed
            fail.
    """
    outcome = Outcome(set())
    grid = scenarios if isinstance(scenarios, Grid) else Listed(scenarios)
    jobs = max(min(jobs, sum(1 for _ in islice(grid.cohorts(width), jobs))), 1)
    named = [{name: value} for name in catalogue.FIELDS for value in grid.values(name)]
    engine = engine or local(jobs, named)
    with ExitStack() as claim:
        try:
            device_is = _named_device(device, engine)
            data = digests(grid.values("data"), engine, time_limit)
            addresses = Addresses(ruleset, device_is, data)
            for fields in named:  # now, as running plug-in code may import more of it
                for name, value in fields.items():
                    addresses.read(name, value)
            claim.enter_context(store.claim(partial(_lacks_any, store, grid, addresses)))
            under_way: dict[Scenario, str] = {}
            callbacks = on_progress, on_result
            missing = _missing(grid, width, store, addresses, under_way, outcome, *callbacks)
            # If nothing is missing, the whole grid is looked up here.
            batches, worlds = _first_and_worlds(grid, missing)
        except (KeyboardInterrupt, EngineError) as error:
            outcome.end(error)
            return outcome
        files = {
            file: digest for fields in named for file, digest in catalogue.digests(fields).items()
        }
        function = partial(_cohort, time_limit, device, files if engine.elsewhere else None)
        results = _compute(batches, function, engine, partial(lost, device=device))
        try:
            # Worlds that can't be constructed are refused before anything is computed.
            _check_worlds(list(islice(worlds, CHECKED_WORLDS)), device, engine, time_limit)
            measure_progress = engine.under_way if isinstance(engine, Observable) else None
            on_progress(Advance(jobs=engine.jobs, under_way=measure_progress))
            for finished in results:
                entries: list[tuple[Result, str, str]] = []
                for result in finished:
                    name = result.scenario.data
                    provenance = {"data": data[name], **result.provenance}
                    if provenance["data"] != data[name]:
                        outcome.interrupted = f"data: {name!r} has changed since the run began"
                        return outcome
                    result = replace(result, provenance=provenance)
                    entries.append((result, ruleset, under_way.pop(result.scenario)))
                store.add_all(entries)
                for result, _, key in entries:
                    on_result(key, result)
                outcome.computed += len(entries)
                failed = [result for result, *_ in entries if result.status == "failed"]
                outcome.failed += failed
                on_progress(Advance(computed=len(finished), failed=len(failed)))
        except (KeyboardInterrupt, StoreError, EngineError) as error:
            outcome.end(error)
        finally:
            results.close()
        return outcome


def _lacks_any(store: Store, grid: Grid | Listed, addresses: Addresses) -> bool:
    """Return whether the store lacks a cell of the grid."""
    for cells in grid.cohorts():
        keys = {addresses.of(cell): cell for cell in cells}
        if len(store.keys(keys)) < len(keys):
            return True
    return False


def _first_and_worlds(
    grid: Grid | Listed, missing: Iterator[list[Scenario]]
) -> tuple[Iterable[list[Scenario]], Iterable[Scenario]]:
    """Return the missing cohorts, and a cell of each world; in a grid one cohort is looked up."""
    if isinstance(grid, Grid):
        first = list(islice(missing, 1))
        return chain(first, missing), grid.worlds() if first else ()
    batches = list(missing)
    return batches, {batch[0].world_key: batch[0] for batch in batches}.values()


def _missing(
    grid: Grid | Listed,
    width: int | None,
    store: Store,
    addresses: Addresses,
    under_way: dict[Scenario, str],
    outcome: Outcome,
    on_progress: OnProgress,
    on_result: OnResult,
) -> Iterator[list[Scenario]]:
    """Yield the cohorts of cells that the store lacks; `LOOKED_UP` cohorts are looked up at a time.

    Args:
        grid, width, store, addresses, on_progress, on_result: as for `execute`.
        under_way: receives the addresses of the cells that are yielded.
        outcome: receives all addresses, and the number of cells that the store has.
    """
    cohorts = grid.cohorts(width)
    while several := list(islice(cohorts, LOOKED_UP)):
        key_of = {cell: addresses.of(cell) for cohort in several for cell in cohort}
        outcome.keys |= set(key_of.values())
        found = set()
        for key, result in store.reusable({key: cell for cell, key in key_of.items()}):
            found.add(key)
            on_result(key, result)
        outcome.reused += len(found)
        on_progress(Advance(reused=len(found), lacking=len(key_of) - len(found)))
        for cohort in several:
            if missing := [cell for cell in cohort if key_of[cell] not in found]:
                under_way |= {cell: key_of[cell] for cell in missing}
                yield missing


def _named_device(device: str, engine: Engine) -> str:
    """Return the name that provenance has for a device of the machine that computes.

    Raises:
        InputError: torch can't compute there.
    """
    if not engine.elsewhere or device == "cpu":
        return _device_name(device)
    ((_, answer),) = engine.map(_device_name, [device], limits=LOADING)
    if isinstance(answer, Failure):
        raise InputError(f"device: {device!r}: {reason(answer)}")
    return answer


def _device_name(device: str) -> str:
    usable(device)
    return device_name(device)


def described(
    names: Iterable[str], jobs: int = 1, engine: Engine | None = None, time_limit: float = math.inf
) -> dict[str, Description | InputError]:
    """Return digest and sizes of data sets, or why they can't be loaded, by specification.

    Args:
        names: specifications; each is loaded once.
        jobs: local processes; 1: this process, but for plug-in code.
        engine: where they are loaded instead.
        time_limit: CPU seconds that a call of plug-in code may take.
    """
    fields = [{"data": name} for name in dict.fromkeys(names)]
    engine = engine or local(max(min(jobs, len(fields)), 1), fields)
    answers = _answers(
        datasets.describe, [(field["data"],) for field in fields], fields, engine, time_limit
    )
    return {field["data"]: answer for field, answer in zip(fields, answers, strict=True)}


def digests(names: Iterable[str], engine: Engine, time_limit: float = math.inf) -> dict[str, str]:
    """Return the digest of each data set (`Dataset.digest`), by specification.

    Raises:
        InputError: some can't be loaded; all problems at once.
    """
    descriptions = described(names, engine=engine, time_limit=time_limit)
    _refuse(descriptions.values())
    return {
        name: data.digest for name, data in descriptions.items() if isinstance(data, Description)
    }


def _check_worlds(
    scenarios: Sequence[Scenario], device: str, engine: Engine, time_limit: float
) -> None:
    """Construct the world of each scenario, and forget it.

    Raises:
        InputError: some can't be constructed; all problems at once.
    """
    calls = [(scenario, device) for scenario in scenarios]
    _refuse(_answers(_make, calls, list(map(vars, scenarios)), engine, time_limit))


def _make(scenario: Scenario, device: str) -> None:
    world = World.of(scenario, device)
    check_fits(scenario, world)
    if world.models.foreign:  # it may not know its units
        try:
            with world.models("units"):
                Places(world.model, scenario.granularity, scenario.cost)
        except PluginError as error:
            raise InputError(error.problem) from error


def _refuse(answers: Iterable[object]) -> None:
    problems = [
        problem
        for answer in answers
        if isinstance(answer, InputError)
        for problem in answer.problems
    ]
    if problems:
        raise InputError(dict.fromkeys(problems))


def _answers(
    ask: Callable[..., T],
    arguments: Sequence[tuple[Any, ...]],
    fields: Sequence[Mapping[str, Any]],
    engine: Engine,
    time_limit: float,
) -> list[T | InputError]:
    """Return the values of some calls, or why they failed, in order.

    Args:
        ask: a function defined in a module.
        arguments: of each call.
        fields: of each call, the scenario's fields that name the components it uses.
        engine: where calls are made.
        time_limit: CPU seconds that a call of plug-in code may take.
    """
    answers: list[Any] = [None] * len(arguments)
    numbered = list(enumerate(arguments))
    function = partial(_answer, ask, time_limit)
    for (number, _), answer in tried_twice(
        engine, function, numbered, lambda call: [call], LOADING
    ):
        if isinstance(answer, Failure):
            names = catalogue.foreign(fields[number]) or [f"data {fields[number]['data']!r}"]
            answer = InputError(f"{', '.join(names)}: {reason(answer)}")
        answers[number] = answer
    return answers


def _answer(
    ask: Callable[..., T], time_limit: float, numbered: tuple[int, tuple[Any, ...]]
) -> T | InputError:
    try:
        with limited(time_limit):
            return ask(*numbered[1])
    except InputError as error:
        return error.with_traceback(None)
    except PluginError as error:
        return InputError(" ".join(str(error).split()))


def reason(failure: Failure) -> str:
    """Return how a call ended, as a cell's reason.

    Raises:
        BaseException: the exception of the call: it is an error of hgobench, not of a cell.
    """
    if failure.kind == "raised":
        raise failure.error or EngineError(failure.how)
    if failure.kind == "died":
        return f"the process that computed it died ({failure.how})"
    kind = OUT_OF_TIME if failure.kind == "time" else OUT_OF_MEMORY
    return f"ended with its process: {kind}: {failure.component or 'it'} {failure.how}"


def _compute(
    batches: Iterable[Sequence[Scenario]],
    function: Callable[[Sequence[Scenario]], _Cohort],
    engine: Engine,
    lose: Callable[[Scenario, str], Result],
) -> Generator[list[Result]]:
    """Yield the results of all cohorts; a cohort whose process ended is repeated cell by cell.

    So are single cells that ran out of time beside threads that plug-in code had left behind.

    Args:
        batches: the cohorts.
        function: computes a cohort.
        engine: where cohorts are computed.
        lose: returns the result of a cell that could not be computed, given the reason.
    """
    reported: set[Failure] = set()

    def say(cells: Sequence[Scenario], failure: Failure) -> None:
        """Say that cells are computed again, once per kind of failure."""
        if failure not in reported:
            reported.add(failure)
            how = "each by itself" if failure.kind == "time" else "one at a time"
            cells_are = f"{len(cells)} cells are" if len(cells) > 1 else "a cell is"
            hint = "; with fewer jobs each process may hold more"
            hint = hint if failure.kind == "memory" and engine.jobs > 1 else ""
            why = reason(failure).removeprefix("ended with its process: ")
            print(f"hgobench: {cells_are} computed again, {how}: {why}{hint}", file=sys.stderr)

    def sure(cohort: _Cohort) -> tuple[_Cohort, list[list[Scenario]]]:
        """Return what can't be another cell's fault, and the cells of which it may be."""
        late = [r.scenario for r in cohort.results if cohort.crowded and r.late]
        if not late:
            return cohort, []
        failure = Failure("time", "holds threads that plug-in code left running")
        say(late, failure)
        kept = [result for result in cohort.results if result.scenario not in late]
        return cohort._replace(results=kept), _alone(late)

    for cells, answer in tried_twice(engine, function, batches, _alone, COMPUTING, say, sure):
        if isinstance(answer, Failure):
            why = reason(answer)
            if not answer.component:
                names = catalogue.foreign(vars(cells[0]))
                names = names or [f"rule {cells[0].rule!r}", f"attack {cells[0].attack!r}"]
                why += f": {', '.join(names)}"
            yield [lose(cell, why) for cell in cells]
        elif answer.results:
            yield answer.results


def _alone(cells: Sequence[Scenario]) -> list[list[Scenario]]:
    return [[cell] for cell in cells]


def _cohort(
    time_limit: float,
    device: str,
    files: Mapping[str, str] | None,
    cells: Sequence[Scenario],
) -> _Cohort:
    """Compute a cohort; if its world can't be constructed here, all its cells fail.

    Args:
        time_limit, device: as for `execute`.
        files: on another machine, the digest of each file that scenarios name; else None.
        cells: the cohort.

    Raises:
        EngineError: on another machine, data are missing or files differ from the driver's.
    """
    for file, digest in (files or {}).items():
        if (file, digest) not in _CHECKED and catalogue.digest(file) != digest:
            raise EngineError(f"{platform.node()}: {file!r} is missing, or not the driver's")
        _CHECKED.add((file, digest))
    try:
        with limited(time_limit):
            results = simulate(cells, time_limit=time_limit, device=device, on_round=tell)
    except (InputError, PluginError) as error:
        why = "; ".join(str(error).splitlines())
        if files is not None and isinstance(error, Unavailable):
            raise EngineError(f"{platform.node()}: {why}") from None
        results = [lost(cell, why, device) for cell in cells]
    return _Cohort(results, bool(boundary.LEFT))
