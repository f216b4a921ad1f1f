"""The laws of solvers: how the server steps by an aggregate.

A law is a function of a `Stepping`: a solver, with parameters to update.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hgobench.algorithms import GradientDescent
from hgobench.lazy import Tensor, torch

from .laws import Law, Trial, Verdict, equal, global_state_is_left_alone, table, try_trial

DIMENSION = 7
RATE = 0.05
BLOCKS = (None, (1, 2, 5), (0, 3), (1, 2, 5), (6,))
SCALES = (0.0, 1e-12, 1.0, 1e12)


@dataclass(kw_only=True)
class Stepping(Trial[GradientDescent]):
    """A solver under trial."""

    def solver(self, learning_rate: float = RATE, schedule: str = "constant") -> GradientDescent:
        """Make a new one."""
        return self.make(learning_rate=learning_rate, schedule=schedule)

    def step(
        self,
        solver: GradientDescent,
        params: Tensor,
        block: Sequence[int] | None,
        aggregate: Tensor,
        k: int = 1,
    ) -> Tensor:
        """Return the parameters after a step; those that are given stay."""
        after = params.clone()
        rows = None if block is None else torch.tensor(block)
        with self.calling(solver, "step", k):
            solver.step(after, rows, aggregate)
        return after

    def rounds(
        self, solver: GradientDescent, blocks: Sequence[Sequence[int] | None]
    ) -> Iterator[tuple[Tensor, Tensor, Sequence[int] | None]]:
        """Take steps; yield the parameters before and after each, and the block."""
        params = normal(0)
        for k, block in enumerate(blocks, 1):
            size = DIMENSION if block is None else len(block)
            after = self.step(solver, params, block, normal(k)[:size], k)
            yield params, after, block
            params = after


def normal(seed: int) -> Tensor:
    """Return standard normal numbers, (d,)."""
    draws = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return torch.from_numpy(draws)


def learning_rate_is_the_scenario_s(trial: Stepping) -> None:
    """Its `rate` is a finite number > 0, twice as large for twice the learning rate."""
    for schedule in ("constant", "inverse_sqrt_block"):
        rates = []
        for learning_rate in (RATE, 2.0 * RATE):
            solver = trial.solver(learning_rate, schedule)
            with trial.calling(solver, "rate"):
                rates.append(solver.rate(3, DIMENSION))
        if not all(np.isfinite(rates)) or min(rates) <= 0:
            raise AssertionError(f"{schedule}: rate(3, {DIMENSION}) = {rates[0]}")
        if abs(rates[1] - 2.0 * rates[0]) > 1e-9 * rates[1]:
            raise AssertionError(
                f"{schedule}: rate(3, {DIMENSION}) = {rates[0]:g} with learning_rate={RATE}, "
                f"{rates[1]:g} with {2.0 * RATE}: take learning_rate and schedule, and call "
                "super().__init__(learning_rate, schedule)"
            )


def other_coordinates_stay(trial: Stepping) -> None:
    """A step changes the coordinates of its block alone, in place."""
    for before, after, block in trial.rounds(trial.solver(), BLOCKS):
        outside = torch.ones(DIMENSION, dtype=torch.bool)
        outside[slice(None) if block is None else list(block)] = False
        if not torch.equal(after[outside], before[outside]):
            moved = torch.nonzero((after != before) & outside)[0]
            raise AssertionError(f"block {list(block or ())}: coordinate {int(moved)} moved")
        if torch.equal(after, before):
            raise AssertionError("a step changed nothing: params is to be updated in place")


def nothing_to_do_moves_nothing(trial: Stepping) -> None:
    """An aggregate of 0 moves nothing in the first step."""
    params = normal(0)
    after = trial.step(trial.solver(), params, None, torch.zeros(DIMENSION))
    if not torch.equal(after, params):
        raise AssertionError(f"moved by up to {float((after - params).abs().max()):.3g}")


def first_step_goes_down(trial: Stepping) -> None:
    """No coordinate's first step is up its aggregate: AG_j·(w_j' - w_j) <= 0."""
    params, aggregate = torch.zeros(DIMENSION), normal(1)
    moved = trial.step(trial.solver(), params, None, aggregate) - params
    wrong = (moved * aggregate > 0).nonzero()
    if len(wrong):
        j = int(wrong[0])
        raise AssertionError(
            f"coordinate {j}: moved by {float(moved[j]):.3g} with an aggregate of "
            f"{float(aggregate[j]):.3g}"
        )


def bowl_is_descended(trial: Stepping) -> None:
    """A hundred steps by the gradients of ‖w‖²/2 end lower than they began."""
    solver, params = trial.solver(), normal(0)
    start = float(params.norm())
    with trial.calling(solver, "step"):
        for _ in range(100):
            solver.step(params, None, params.clone())
    if not float(params.norm()) < start:
        raise AssertionError(f"‖w‖ from {start:.3g} to {float(params.norm()):.3g}")


def steps_are_finite(trial: Stepping) -> None:
    """Aggregates of 0, 1e-12, 1 and 1e12 lead to finite parameters, round after round."""
    for scale in SCALES:
        solver, params = trial.solver(), normal(0)
        for k in range(1, 6):
            params = trial.step(solver, params, None, normal(k) * scale, k)
        if not torch.isfinite(params).all():
            raise AssertionError(f"aggregates of about {scale:g}: not finite")


def state_is_kept_by_coordinate(trial: Stepping) -> None:
    """A round changes neither coordinates outside its block nor what is kept of them."""
    first, second = (1, 2, 5), (0, 3)
    solvers, params = [trial.solver(), trial.solver()], normal(0)
    ends = []
    for solver, between in zip(solvers, (False, True), strict=True):
        now, k = params, 1
        for step in range(3):
            now = trial.step(solver, now, first, normal(step)[:3], k)
            k += 1
            if between:
                now = trial.step(solver, now, second, normal(9)[:2], k)
                k += 1
        ends.append(now[list(first)])
    if not torch.equal(*ends):
        raise AssertionError(
            f"block {list(first)}: other parameters if rounds on {list(second)} come in between"
        )


def runs_share_nothing(trial: Stepping) -> None:
    """The same rounds give the same parameters, whatever another instance does meanwhile."""
    alone = [after for _, after, _ in trial.rounds(trial.solver(), BLOCKS)]
    other, observed = trial.solver(), trial.solver()
    beside = zip(trial.rounds(other, BLOCKS[::-1]), trial.rounds(observed, BLOCKS), strict=True)
    for k, (_, (_, after, _)) in enumerate(beside, 1):
        if not equal(after, alone[k - 1]):
            raise AssertionError(f"round {k}: other parameters than in an equal run")


def aggregate_is_left_alone(trial: Stepping) -> None:
    """A step does not change the aggregate, which others see."""
    for block in (None, (1, 2, 5)):
        aggregate = normal(1)[: DIMENSION if block is None else 3].clone()
        kept = aggregate.clone()
        trial.step(trial.solver(), normal(0), block, aggregate)
        if not torch.equal(aggregate, kept):
            raise AssertionError("it changed the aggregate")


SOLVER_LAWS: dict[str, Law] = table(
    learning_rate_is_the_scenario_s,
    other_coordinates_stay,
    nothing_to_do_moves_nothing,
    first_step_goes_down,
    bowl_is_descended,
    steps_are_finite,
    state_is_kept_by_coordinate,
    runs_share_nothing,
    aggregate_is_left_alone,
    global_state_is_left_alone,
)


def try_solver(specification: str) -> Iterator[Verdict]:
    """Check all laws of a solver.

    Raises:
        InputError: there is none of this name.
    """
    told = {"learning_rate": RATE, "schedule": "constant"}
    return try_trial(Stepping(kind="solver", name=specification, told=told), SOLVER_LAWS)
