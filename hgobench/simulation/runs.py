"""Training runs: cells of one world, from the first round to the results."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence

from hgobench.boundary import PluginError, kept_alarm, plain
from hgobench.determinism import one_thread
from hgobench.errors import InputError, SamplingRisk
from hgobench.lazy import torch
from hgobench.provenance import environment, usable
from hgobench.results.result import Result
from hgobench.scenario import Scenario, positive

from .cell import Cell
from .footprint import at_once, expect_room
from .ledger import Ledger
from .rounds import Stack
from .servers import Step
from .steps import EventStack
from .world import World


def run(scenario: Scenario, *, time_limit: float = math.inf, device: str = "cpu") -> Result:
    """Train one scenario.

    Args:
        scenario: what to run.
        time_limit: CPU seconds that the rule, the attack and what else the cell alone names may
            take together; also how long they may wait without computing.
        device: where, as torch names it: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Returns:
        The `Result`; one that diverged or failed says so in its status.

    Raises:
        InputError: the world can't be made, or there is no such device.

    Warns:
        SamplingRisk: with more than 1 % a round samples more Byzantine workers than v tolerates.
    """
    if not isinstance(scenario, Scenario):
        raise InputError(f"scenario: {scenario!r}; expected a hgobench.Scenario")
    time_limit = positive(infinite=True)("time_limit", time_limit)
    if scenario.sampling_warning:
        warnings.warn(scenario.sampling_warning, SamplingRisk, stacklevel=2)
    usable(device)
    return simulate([scenario], time_limit=time_limit, device=device)[0]


def simulate(
    scenarios: Sequence[Scenario],
    *,
    time_limit: float = math.inf,
    device: str = "cpu",
    observe: Callable[[Step], None] | None = None,
    on_round: Callable[[float], None] | None = None,
) -> list[Result]:
    """Train a stack: cells that share a world, side by side.

    A cell's numbers, to the last bit, depend neither on its neighbours nor on how many they are.

    Args:
        scenarios: cells with equal `world_key`.
        time_limit: as for `run`, of each cell.
        device: where their tensors are.
        observe: called with every `Step` before it is taken.
        on_round: called after every round with what is done, as a number of cells: of each, its
            rounds over all its rounds.
    """
    if len({scenario.world_key for scenario in scenarios}) != 1:
        raise ValueError("expected scenarios of one world")
    with one_thread(), kept_alarm():
        world = World.of(scenarios[0], device)
        expect_room(scenarios[0], world)
        width = at_once(world.sampled, world.model.dimension)
        results: list[Result] = []
        for start in range(0, len(scenarios), width):
            some = scenarios[start : start + width]
            cells = [Cell(scenario, world, time_limit) for scenario in some]
            results += _simulate(cells, world, observe, on_round, start)
        return results


def _simulate(
    cells: Sequence[Cell],
    world: World,
    observe: Callable[[Step], None] | None,
    on_round: Callable[[float], None] | None,
    done: int,
) -> list[Result]:
    started = time.process_time()
    notes = world.fresh_notes()
    k = 1
    try:
        stacks = stacks_of(cells, world, observe)
        rounds, interval = cells[0].scenario.rounds, cells[0].scenario.evaluation_interval
        for k in range(1, rounds + 1):
            playing = [stack for stack in stacks if stack.play(k)]
            if not playing:
                break
            due = k % interval == 0 or k == rounds
            for stack in playing:
                if due or any(cell.over for cell in stack.cells):
                    stack.evaluate(k, last=k == rounds, due=due)
            if on_round is not None:
                on_round(done + len(cells) * k / rounds)
    except PluginError as error:  # of what they share
        for cell in cells:
            if cell.status == "done":
                cell.lose(k, str(error))
    seconds = (time.process_time() - started) / len(cells)
    made = environment(world.device) | world.data.provenance
    return [cell.result(seconds, made, notes) for cell in cells]


def lost(scenario: Scenario, reason: str, device: str) -> Result:
    """Return the result of a cell that could not be computed."""
    ledger = Ledger()
    ledger.fail(1, 0.0)
    rounds = ledger.table()
    provenance = {**environment(torch.device(device)), "needs": []}
    return Result(scenario, rounds, "failed", plain(reason), provenance)


def stacks_of(
    cells: Sequence[Cell], world: World, observe: Callable[[Step], None] | None
) -> list[Stack]:
    """Return cells in stacks: those that go by rounds in one, each that goes by events in its own.

    Args:
        cells: of one world; those that have failed are left out.
        world: theirs.
        observe: as for `Stack`.
    """
    made = [cell for cell in cells if cell.status == "done"]
    rounds = [cell for cell in made if cell.by_rounds]
    stacks = [Stack(rounds, world, observe)] if rounds else []
    return stacks + [EventStack(cell, world, observe) for cell in made if not cell.by_rounds]
