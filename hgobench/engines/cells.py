"""A grid of cells, from the store or computed.

Code of others is never called in this process: one that dies is another, and takes nothing along.
With several jobs it holds no data either: another reads it, says what it is, and has it at hand for
the cells that it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from hgobench import catalogue
from hgobench.boundary import PluginError
from hgobench.data import datasets
from hgobench.data.datasets import About
from hgobench.errors import InputError
from hgobench.provenance import device_name, usable
from hgobench.results import Result, Store, StoreError
from hgobench.results.address import result_key
from hgobench.scenario import Scenario
from hgobench.simulation import lost, simulate
from hgobench.simulation.world import World
from hgobench.suite import cohorts

from .local import Died, spread

T = TypeVar("T")


@dataclass
class Outcome:
    """How the execution of a grid went.

    Attributes:
        keys: the addresses of all its cells.
        computed, reused: how many cells were computed now, and found in the store.
        failed: those that failed, with the reason.
        interrupted: what ended it early, Ctrl-C or a store that can't be written; empty: nothing.
    """

    keys: set[str]
    computed: int = 0
    reused: int = 0
    failed: list[Result] = field(default_factory=list)
    interrupted: str = ""


def execute(
    scenarios: Collection[Scenario],
    store: Store,
    ruleset: str,
    *,
    width: int = 8,
    time_limit: float = 60.0,
    jobs: int = 1,
    device: str = "cpu",
    on_progress: Callable[[int], None] = lambda finished: None,
) -> Outcome:
    """Compute what the store does not have yet; keep each cell as soon as it is finished.

    Args:
        scenarios: the grid.
        store: where results are looked up and kept.
        ruleset: the name under which they compare.
        width: cells per cohort.
        time_limit: CPU seconds that a cell's rule and attack may take.
        jobs: local processes; with 1 all is computed in this one, but what names code of others.
        device: where tensors are, as torch names it.
        on_progress: called with the number of cells that were just finished or found.

    Raises:
        InputError: some data can't be had or some world not be made, or there is no such device;
            nothing is computed then.
    """
    usable(device)
    name = device_name(device)
    outcome = Outcome(set())
    jobs = max(min(jobs, len(cohorts(scenarios, width))), 1)
    try:
        data = digests((scenario.data for scenario in scenarios), jobs)
    except KeyboardInterrupt as error:
        outcome.interrupted = _ended(error)
        return outcome
    # An address is worked out once: running a plug-in may import more of it.
    key_of = {
        scenario: result_key(scenario, ruleset, width, name, data[scenario.data])
        for scenario in scenarios
    }
    outcome.keys |= set(key_of.values())
    known = store.keys({key: scenario for scenario, key in key_of.items()})
    outcome.reused = len(known)
    if known:
        on_progress(len(known))
    missing = [scenario for scenario, key in key_of.items() if key not in known]
    batches = cohorts(missing, width)
    worlds = list({batch[0].world_key: batch[0] for batch in batches}.values())
    results = _compute(batches, width, time_limit, jobs, device)
    try:
        # What can't be made is refused before anything is computed.
        _check_worlds(worlds, device, jobs)
        for finished in results:
            for result in finished:
                name = result.scenario.data
                made = {"data": data[name], **result.provenance}
                if made["data"] != data[name]:
                    outcome.interrupted = f"data: {name!r} has changed since the run began"
                    return outcome
                result = replace(result, provenance=made)
                store.add(result, ruleset, key=key_of[result.scenario])
                outcome.computed += 1
                if result.status == "failed":
                    outcome.failed.append(result)
            on_progress(len(finished))
    except (KeyboardInterrupt, StoreError) as error:
        outcome.interrupted = _ended(error)
    finally:
        results.close()
    return outcome


def _ended(error: BaseException) -> str:
    """Say why a run ended early."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return f"the store can't be written: {error}"


def described(names: Iterable[str], jobs: int) -> dict[str, About | InputError]:
    """Return what each of some data sets is, or why it can't be had.

    Args:
        names: specifications, each read once.
        jobs: local processes; 1: this one, but for code of others.
    """
    fields = [{"data": name} for name in dict.fromkeys(names)]
    found = _asked(datasets.about, [(one["data"],) for one in fields], fields, jobs)
    return {one["data"]: about for one, about in zip(fields, found, strict=True)}


def digests(names: Iterable[str], jobs: int) -> dict[str, str]:
    """Return the digest of each of some data sets (`Dataset.digest`).

    Raises:
        InputError: some can't be had; all problems at once.
    """
    found = described(names, jobs)
    _refuse(found.values())
    return {name: about.digest for name, about in found.items() if isinstance(about, About)}


def _check_worlds(scenarios: Sequence[Scenario], device: str, jobs: int) -> None:
    """Make the world of each scenario.

    Raises:
        InputError: some can't be made; all problems at once.
    """
    calls = [(scenario, device) for scenario in scenarios]
    _refuse(_asked(_make, calls, list(map(vars, scenarios)), jobs))


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
    jobs: int,
) -> list[T | InputError]:
    """Return what some calls return, or why they can't, in their order.

    Args:
        ask: a function of a module.
        arguments: of each call.
        fields: of scenarios that name what each call is about.
        jobs: local processes.
    """
    calls = [partial(_answer, ask, each) for each in arguments]
    answers: list[Any] = [None] * len(calls)
    for number, answer in spread(calls, jobs, apart=any(map(catalogue.foreign, fields))):
        if isinstance(answer, Died):
            named = catalogue.foreign(fields[number]) or [f"data {fields[number]['data']!r}"]
            died = f"the process that read or made it died ({answer.how})"
            answer = InputError(f"{', '.join(named)}: {died}")
        answers[number] = answer
    return answers


def _answer(ask: Callable[..., T], arguments: tuple[Any, ...]) -> T | InputError:
    try:
        return ask(*arguments)
    except InputError as error:
        return error.with_traceback(None)
    except PluginError as error:
        return InputError(" ".join(str(error).split()))


def _compute(
    batches: Sequence[Sequence[Scenario]], width: int, time_limit: float, jobs: int, device: str
) -> Generator[list[Result]]:
    """Yield the results of all cohorts; of one whose process dies the cells are tried alone."""

    def calls(groups: Sequence[Sequence[Scenario]]) -> list[Callable[[], list[Result]]]:
        return [partial(_cohort, group, width, time_limit, device) for group in groups]

    apart = any(catalogue.foreign(vars(cell)) for batch in batches for cell in batch)
    again: list[list[Scenario]] = []
    for number, found in spread(calls(batches), jobs, apart=apart):
        if isinstance(found, Died):
            again += [[cell] for cell in batches[number]]
        else:
            yield found
    for number, found in spread(calls(again), 1, apart=True):
        if isinstance(found, Died):
            (cell,) = again[number]
            named = catalogue.foreign(vars(cell)) or [
                f"rule {cell.rule!r}",
                f"attack {cell.attack!r}",
            ]
            reason = f"the process that computed it died ({found.how}): {', '.join(named)}"
            yield [lost(cell, reason, width, device)]
        else:
            yield found


def _cohort(cells: Sequence[Scenario], width: int, time_limit: float, device: str) -> list[Result]:
    """Compute a cohort; a world that can be made in one process and not in another fails it."""
    try:
        return simulate(cells, width=width, time_limit=time_limit, device=device)
    except (InputError, PluginError) as error:
        reason = "; ".join(str(error).splitlines())
        return [lost(cell, reason, width, device) for cell in cells]
