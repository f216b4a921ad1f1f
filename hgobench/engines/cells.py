"""A grid of cells, from the store or computed.

Code of others is never called in this process: one that dies is another, and takes nothing along.
With several jobs it holds no data either: another reads it, says what it is, and has it at hand for
the cells that it computes.
"""

from __future__ import annotations

import math
import platform
import signal
import sys
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

from hgobench import catalogue
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
from hgobench.simulation.world import World

from .base import Engine, EngineError, Failure, Limits, Telling, tried_twice
from .local import local
from .progress import Advance, OnProgress, nobody, tell
from .signals import Ended

T = TypeVar("T")
OnResult = Callable[[str, Result], None]
# hgobench's own code is not limited: a large model takes its time. What it calls of others is.
_CHECKED: set[tuple[str, str]] = set()  # files of this machine that are the driver's
COMPUTING = Limits(idle=600.0)
LOOKED_UP = 32  # cohorts at a time
TRIED = 1_000  # worlds that are made before anything is computed
LOADING = Limits(idle=3600.0)  # a slow disk, or a download


@dataclass
class Outcome:
    """How the execution of a grid went.

    Attributes:
        keys: the addresses of all its cells.
        computed, reused: how many cells were computed now, and found in the store.
        failed: those that failed, with the reason.
        interrupted: what ended it early: Ctrl-C, a store that can't be written, an engine that was
            lost; empty: nothing.
        signal: the number of the signal that ended it; 0: none did.
    """

    keys: set[str]
    computed: int = 0
    reused: int = 0
    failed: list[Result] = field(default_factory=list)
    interrupted: str = ""
    signal: int = 0

    @property
    def status(self) -> int:
        """The exit status of a command that did nothing else: 128 and the signal's number, 1, 0."""
        return 128 + self.signal if self.signal else int(bool(self.interrupted or self.failed))

    def end(self, error: BaseException) -> None:
        """Say why it ended early."""
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
    on_progress: OnProgress = nobody,
    on_result: OnResult = lambda key, result: None,
) -> Outcome:
    """Compute what the store does not have yet; keep each cell as soon as it is finished.

    Args:
        scenarios: the grid.
        store: where results are looked up and kept.
        ruleset: the name under which they compare.
        width: the most cells side by side; None: as suits them (`hgobench.grid.stack_size`).
        time_limit: CPU seconds that a cell's rule and attack may take.
        jobs: local processes; with 1 all is computed in this one, but what names code of others.
        device: where tensors are, as torch names it.
        engine: where cells are computed, if not in local processes (`hgobench.engines.registry`);
            the caller closes it.
        on_progress: told of what was found, of the beginning, and of all that is finished.
        on_result: given each result with its address, whether it was found or computed: who takes
            them here need not read them again.

    Raises:
        InputError: some data can't be had or some world not be made, or there is no such device;
            nothing is computed then. Of more than 1,000 worlds that differ in more than their seed
            the first are tried; cells of others that can't be made fail.
    """
    outcome = Outcome(set())
    grid = scenarios if isinstance(scenarios, Grid) else Listed(scenarios)
    jobs = max(min(jobs, sum(1 for _ in islice(grid.cohorts(width), jobs))), 1)
    named = [{name: value} for name in catalogue.FIELDS for value in grid.values(name)]
    where = engine or local(jobs, named)
    try:
        device_is = _named_device(device, where)
        data = digests(grid.values("data"), where, time_limit)
        addresses = Addresses(ruleset, device_is, data)
        for fields in named:  # as they are now, before anything runs: it may import more
            for name, value in fields.items():
                addresses.read(name, value)
        under_way: dict[Scenario, str] = {}
        told = on_progress, on_result
        missing = _missing(grid, width, store, addresses, under_way, outcome, *told)
        # Of a grid that was computed before, all is looked up here.
        batches, worlds = _begun(grid, missing)
    except (KeyboardInterrupt, EngineError) as error:
        outcome.end(error)
        return outcome
    files = {file: digest for fields in named for file, digest in catalogue.digests(fields).items()}
    function = partial(_cohort, time_limit, device, files if where.elsewhere else None)
    results = _compute(batches, function, where, partial(lost, device=device))
    try:
        # What can't be made is refused before anything is computed, as far as it can be tried.
        _check_worlds(list(islice(worlds, TRIED)), device, where, time_limit)
        knows = where.under_way if isinstance(where, Telling) else None
        on_progress(Advance(jobs=where.jobs, under_way=knows))
        for finished in results:
            kept: list[tuple[Result, str, str]] = []
            for result in finished:
                name = result.scenario.data
                made = {"data": data[name], **result.provenance}
                if made["data"] != data[name]:
                    outcome.interrupted = f"data: {name!r} has changed since the run began"
                    return outcome
                result = replace(result, provenance=made)
                kept.append((result, ruleset, under_way.pop(result.scenario)))
            store.add_all(kept)
            for result, _, key in kept:
                on_result(key, result)
            outcome.computed += len(kept)
            outcome.failed += [result for result, *_ in kept if result.status == "failed"]
            on_progress(Advance(computed=len(finished)))
    except (KeyboardInterrupt, StoreError, EngineError) as error:
        outcome.end(error)
    finally:
        results.close()
    return outcome


def _begun(
    grid: Grid | Listed, missing: Iterator[list[Scenario]]
) -> tuple[Iterable[list[Scenario]], Iterable[Scenario]]:
    """Return what is missing, and a cell of each of its worlds; a grid is not gone through yet."""
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
    """Yield the cohorts of what the store does not have, some looked up at a time.

    Args:
        grid, width, store, addresses, on_progress, on_result: as for `execute`.
        under_way: the addresses of what was yielded are put there.
        outcome: all addresses are put there, and what the store has is counted.
    """
    cohorts = grid.cohorts(width)
    while some := list(islice(cohorts, LOOKED_UP)):
        key_of = {cell: addresses.of(cell) for cohort in some for cell in cohort}
        outcome.keys |= set(key_of.values())
        known = set()
        for key, result in store.standing({key: cell for cell, key in key_of.items()}):
            known.add(key)
            on_result(key, result)
        outcome.reused += len(known)
        on_progress(Advance(found=len(known), lacking=len(key_of) - len(known)))
        for cohort in some:
            if missing := [cell for cell in cohort if key_of[cell] not in known]:
                under_way |= {cell: key_of[cell] for cell in missing}
                yield missing


def _named_device(device: str, engine: Engine) -> str:
    """Return what provenance calls a device, where cells are computed.

    Raises:
        InputError: torch can't compute there.
    """
    if not engine.elsewhere or device == "cpu":
        return _asked_device(device)
    ((_, answer),) = engine.map(_asked_device, [device], limits=LOADING)
    if isinstance(answer, Failure):
        raise InputError(f"device: {device!r}: {reason(answer)}")
    return answer


def _asked_device(device: str) -> str:
    usable(device)
    return device_name(device)


def described(
    names: Iterable[str], jobs: int = 1, engine: Engine | None = None, time_limit: float = math.inf
) -> dict[str, Description | InputError]:
    """Return what each of some data sets is, or why it can't be had.

    Args:
        names: specifications, each read once.
        jobs: local processes; 1: this one, but for code of others.
        engine: where they are read instead.
        time_limit: CPU seconds that a call of others' code may take.
    """
    fields = [{"data": name} for name in dict.fromkeys(names)]
    where = engine or local(max(min(jobs, len(fields)), 1), fields)
    found = _asked(datasets.describe, [(one["data"],) for one in fields], fields, where, time_limit)
    return {one["data"]: about for one, about in zip(fields, found, strict=True)}


def digests(names: Iterable[str], engine: Engine, time_limit: float = math.inf) -> dict[str, str]:
    """Return the digest of each of some data sets (`Dataset.digest`).

    Raises:
        InputError: some can't be had; all problems at once.
    """
    found = described(names, engine=engine, time_limit=time_limit)
    _refuse(found.values())
    return {name: data.digest for name, data in found.items() if isinstance(data, Description)}


def _check_worlds(
    scenarios: Sequence[Scenario], device: str, engine: Engine, time_limit: float
) -> None:
    """Make the world of each scenario.

    Raises:
        InputError: some can't be made; all problems at once.
    """
    calls = [(scenario, device) for scenario in scenarios]
    _refuse(_asked(_make, calls, list(map(vars, scenarios)), engine, time_limit))


def _make(scenario: Scenario, device: str) -> None:
    World.of(scenario, device)


def _refuse(found: Iterable[object]) -> None:
    problems = [p for one in found if isinstance(one, InputError) for p in one.problems]
    if problems:
        raise InputError(dict.fromkeys(problems))


def _asked(
    ask: Callable[..., T],
    arguments: Sequence[tuple[Any, ...]],
    fields: Sequence[Mapping[str, Any]],
    engine: Engine,
    time_limit: float,
) -> list[T | InputError]:
    """Return what some calls return, or why they can't, in their order.

    Args:
        ask: a function of a module.
        arguments: of each call.
        fields: of scenarios that name what each call is about.
        engine: where.
        time_limit: CPU seconds that a call of others' code may take in it.
    """
    answers: list[Any] = [None] * len(arguments)
    numbered = list(enumerate(arguments))
    function = partial(_answer, ask, time_limit)
    for (number, _), answer in tried_twice(engine, function, numbered, lambda one: [one], LOADING):
        if isinstance(answer, Failure):
            named = catalogue.foreign(fields[number]) or [f"data {fields[number]['data']!r}"]
            answer = InputError(f"{', '.join(named)}: {reason(answer)}")
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
    """Say how a call ended.

    Raises:
        BaseException: what it raised, which is no fault of a cell.
    """
    if failure.kind == "raised":
        raise failure.error or EngineError(failure.how)
    if failure.kind == "died":
        return f"the process that computed it died ({failure.how})"
    kind = OUT_OF_TIME if failure.kind == "time" else OUT_OF_MEMORY
    part = failure.part or "it"
    return f"ended with its process: {kind}: {part} {failure.how}"


def _compute(
    batches: Iterable[Sequence[Scenario]],
    function: Callable[[Sequence[Scenario]], list[Result]],
    engine: Engine,
    lose: Callable[[Scenario, str], Result],
) -> Generator[list[Result]]:
    """Yield the results of all cohorts; of one that ends with its process, cell by cell.

    Args:
        batches: cohorts.
        function: computes one.
        engine: where.
        lose: makes the result of a cell that could not be computed, given the reason.
    """
    said: set[Failure] = set()

    def say(cells: Sequence[Scenario], failure: Failure) -> None:
        """Say once of each kind of end that cells are computed again, which takes time."""
        if failure not in said:
            said.add(failure)
            how = "each by itself" if failure.kind == "time" else "one at a time"
            cells_are = f"{len(cells)} cells are" if len(cells) > 1 else "a cell is"
            hint = "; with fewer --jobs each process may hold more"
            hint = hint if failure.kind == "memory" and engine.jobs > 1 else ""
            why = reason(failure).removeprefix("ended with its process: ")
            print(f"hgobench: {cells_are} computed again, {how}: {why}{hint}", file=sys.stderr)

    for cells, answer in tried_twice(engine, function, batches, _alone, COMPUTING, say):
        if isinstance(answer, Failure):
            why = reason(answer)
            if not answer.part:
                named = catalogue.foreign(vars(cells[0]))
                named = named or [f"rule {cells[0].rule!r}", f"attack {cells[0].attack!r}"]
                why += f": {', '.join(named)}"
            yield [lose(cell, why) for cell in cells]
        else:
            yield answer


def _alone(cells: Sequence[Scenario]) -> list[list[Scenario]]:
    return [[cell] for cell in cells]


def _cohort(
    time_limit: float,
    device: str,
    files: Mapping[str, str] | None,
    cells: Sequence[Scenario],
) -> list[Result]:
    """Compute a cohort; a world that can be made in one process and not in another fails it.

    Args:
        time_limit, device: as for `execute`.
        files: on another machine: the digest of each file that scenarios name.
        cells: the cohort.

    Raises:
        EngineError: this other machine lacks data, or has other files.
    """
    for file, digest in (files or {}).items():
        if (file, digest) not in _CHECKED and catalogue.digest(file) != digest:
            raise EngineError(f"{platform.node()}: {file!r} is missing, or not the driver's")
        _CHECKED.add((file, digest))
    try:
        with limited(time_limit):
            return simulate(cells, time_limit=time_limit, device=device, on_round=tell)
    except (InputError, PluginError) as error:
        why = "; ".join(str(error).splitlines())
        if files is not None and isinstance(error, Unavailable):
            raise EngineError(f"{platform.node()}: {why}") from None
        return [lost(cell, why, device) for cell in cells]
