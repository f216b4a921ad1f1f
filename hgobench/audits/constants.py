"""The constants of a problem: L_j, L, μ, δ, M_w, s', A_w, B_w, and the region W along a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench import theory
from hgobench.engines.measured import Task
from hgobench.errors import InputError
from hgobench.report.page import Chart, Finding, Line, Page, Table, study
from hgobench.scenario import Scenario
from hgobench.simulation import Step, simulate
from hgobench.simulation.world import World
from hgobench.theory import Objective

from . import bounds
from .base import Options, Work, merge_settings, reject_unused_options

Floats = NDArray[np.float64]

BASE: dict[str, Any] = {
    "workers": 20,
    "byzantine": 2,
    "quorum": 12,
    "batch_size": 16,
    "rounds": 60,
    "learning_rate": 0.05,
    "attack": "alie",
}
LOSSES: dict[str, dict[str, Any]] = {
    **bounds.PROBLEMS,
    "softmax": {"data": "digits", "model": "softmax[ridge=0.01]", "learning_rate": 1.0},
}
PROBLEMS: dict[str, dict[str, Any]] = {
    f"{name}, {partition.partition('[')[0]}": {**loss, "partition": partition}
    for name, loss in LOSSES.items()
    for partition in ("iid", "dirichlet[alpha=1.0]")
}
SEEDS = 3


@dataclass(frozen=True)
class Curvature:
    """The curvature of a loss.

    Attributes:
        least, largest: the least and the largest L_j.
        lipschitz: L.
        strong_convexity: μ.
        exact: whether these are exact; else they are bounds.
        steps: the learning rates 1/Σ L_j, 1/(√d·max L_j) and 1/L.
    """

    least: float
    largest: float
    lipschitz: float
    strong_convexity: float
    exact: bool
    steps: Sequence[float]


@dataclass(frozen=True)
class Trajectory:
    """The constants that depend on w, at the start of every round of a run.

    Attributes:
        gradient: ‖∇L(w_k)‖².
        bias: Σ_j δ_ij², its mean over correct workers.
        variance: M_w.
        error: A_w.
        limit: Δ·A_w.
        dissimilarity: the largest δ_ij.
        coordinate, block, whole: whether w is in the region W over blocks of one coordinate, of the
            size of the round's block, and the whole gradient.
    """

    gradient: list[float] = field(default_factory=list)
    bias: list[float] = field(default_factory=list)
    variance: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    limit: list[float] = field(default_factory=list)
    dissimilarity: list[float] = field(default_factory=list)
    coordinate: list[bool] = field(default_factory=list)
    block: list[bool] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)

    def add(self, moments: theory.Moments, factor: Floats, delta: float, block: int) -> None:
        """Add a round, before its step; `block` coordinates are updated."""
        error = moments.statistical_error(factor)
        self.gradient.append(float(np.square(moments.gradient).sum()))
        self.bias.append(float(np.square(moments.bias).sum(axis=1).mean()))
        self.variance.append(moments.variance_bound())
        self.error.append(error)
        self.limit.append(delta * error)
        self.dissimilarity.append(float(moments.bias.max()))
        sizes = ((self.coordinate, 1), (self.block, block), (self.whole, len(moments.gradient)))
        for inside, size in sizes:
            inside.append(moments.in_region(delta, error, 0.0, size) if size else False)


@dataclass(frozen=True)
class Constants:
    """The constants of a problem, and those that depend on w along a run.

    Attributes:
        dimension: d.
        delta: Δ(v, f).
        least_factor, largest_factor: the least and the largest s'_i.
        curvature: of the loss; None: unknown.
        along: the constants along the run.
        growth_limit: the Q_w below which ΔB < 1.
        constant, growth: the least G² and B² of (G, B)-dissimilarity along the run.
    """

    dimension: int
    delta: float
    least_factor: float
    largest_factor: float
    curvature: Curvature | None
    along: Trajectory
    growth_limit: float
    constant: float
    growth: float

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Constants:
        """Read what `asdict` wrote."""
        curved = Curvature(**data["curvature"]) if data["curvature"] else None
        return cls(**{**data, "curvature": curved, "along": Trajectory(**data["along"])})


def constants(scenario: Mapping[str, Any], delta: float) -> Constants:
    """Run a cell, and return its problem's constants, and those that depend on w along the run.

    Args:
        scenario: its fields.
        delta: Δ(v, f).
    """
    cell = Scenario(**scenario)
    problem = Objective(cell, World.of(cell))
    along, trajectory = Trajectory(), []

    def observe(step: Step) -> None:
        moments = problem.moments(step.params)
        trajectory.append(theory.spread(moments))
        along.add(moments, problem.factor, delta, len(step.aggregate))

    (result,) = simulate([cell], observe=observe)
    if result.status != "done":
        raise RuntimeError(f"{cell}: {result.reason}")
    bound = theory.dissimilarity(trajectory)
    growth = float(np.sqrt(problem.dimension) * (1.0 / problem.factor).mean())
    return Constants(
        problem.dimension,
        delta,
        float(problem.factor.min()),
        float(problem.factor.max()),
        _curved(problem),
        along,
        1.0 / (delta * growth) if growth else float("inf"),
        bound.constant,
        bound.growth,
    )


def _curved(problem: Objective) -> Curvature | None:
    try:
        curvature = problem.curvature
    except InputError:
        return None
    return Curvature(
        float(curvature.smoothness.min()),
        float(curvature.smoothness.max()),
        curvature.lipschitz,
        curvature.strong_convexity,
        curvature.exact,
        [curvature.block_step, curvature.dimension_step, 1.0 / curvature.lipschitz],
    )


def as_json(**arguments: Any) -> dict[str, Any]:
    """Return the value of `constants` as data for JSON."""
    return asdict(constants(**arguments))


def check(options: Options) -> None:
    """Raise InputError for options that this audit does not use."""
    reject_unused_options(options, "seed", rules=1, attacks=1)


def run(options: Options, work: Work) -> Page:
    """Compute the constants of every problem, and where runs of HGO leave the region W."""
    check(options)
    problems = {"yours": dict(options.settings)} if options.settings else PROBLEMS
    rule = options.rules[0] if options.rules else "trimmed_mean"
    attack = options.attacks[0] if options.attacks else "alie"
    seeds = options.seeds or SEEDS
    tasks = []
    for fields in problems.values():
        settings = {**merge_settings(BASE, fields), "rule": rule, "attack": attack}
        if not settings["byzantine"]:
            settings["attack"] = "none"
        delta = bounds.coefficients(Scenario(**settings), work)["published"]
        for seed in range(seeds):
            values = Scenario(**settings, seed=seed).to_dict()
            tasks.append(Task(as_json, {"scenario": values, "delta": delta}, [values]))
    results = [Constants.read(data) for data in work.measure(tasks)]
    by_problem = {name: results[i * seeds : (i + 1) * seeds] for i, name in enumerate(problems)}
    return study(
        "constants",
        "The constants of a problem",
        [
            "L_j, L and μ are exact for quadratic losses; for softmax regression they are upper "
            "bounds (μ is exact). M_w is the smallest that holds with Q_w = 0: the largest "
            "variance of any correct worker in any coordinate. δ² is Σ_j δ_ij², averaged over "
            "correct workers; A_w = d·M_w·mean 1/s'_i + that. All of these along a run of HGO "
            "(seed 0 in the charts); the tables show means over seeds.",
            "w is in the region W if (1 - ΔB_w)·‖∇L(w)‖²_B > Δ·A_w for every block B (in (5) of "
            "the paper the Δ before A_w is missing). Over all subsets B, as it is written, the "
            "smallest partial derivative alone would have to outweigh the error of all "
            "coordinates; the columns show the share of rounds in W over blocks of one "
            "coordinate, of the size of the round's block, and the whole gradient.",
        ],
        options.command("audit constants"),
        _findings(by_problem),
        [_chart(name, runs[0]) for name, runs in by_problem.items()],
        _tables(by_problem),
    )


Measured = Mapping[str, Sequence[Constants]]  # by problem, one per seed


def _findings(measured: Measured) -> list[Finding]:
    runs = [run.along for several in measured.values() for run in several]
    strict = [float(np.mean(along.coordinate)) for along in runs]
    whole_gradient = [float(np.mean(along.whole)) for along in runs]
    return [
        Finding(
            "runs pass through the region W of the paper's (5), with Δ before A_w",
            max(strict) > 0,
            f"in W in at most {max(strict):.0%} of a run's rounds; if only the whole gradient is a "
            f"block, in {min(whole_gradient):.0%} to {max(whole_gradient):.0%}",
        )
    ]


def _chart(name: str, constants: Constants) -> Chart:
    along = constants.along
    k = list(range(1, len(along.gradient) + 1))
    lines = [
        Line("‖∇L(w_k)‖²", k, along.gradient),
        Line("Δ·A_w: above it w is in W", k, along.limit, style="dashed"),
        Line("A_w", k, along.error),
        Line("Σ_j δ_ij², mean over i", k, along.bias),
        Line("M_w", k, along.variance),
    ]
    file = name.replace(", ", "-")
    return Chart(f"along-{file}", f"Along a run: {name}", "k", "", lines, "y")


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _tables(measured: Measured) -> list[Table]:
    curved = [
        (name, runs[0].dimension, curvatures)
        for name, runs in measured.items()
        if (curvatures := [run.curvature for run in runs if run.curvature])
    ]
    return [
        Table(
            "curvature", "Curvature of the loss, and the learning rates that it allows",
            ["problem", "d", "least L_j", "largest L_j", "L", "μ", "L_j and L", "1/Σ L_j",
             "1/(√d·max L_j)", "1/L"],
            [
                [
                    name, dimension,
                    _mean(constants.least for constants in curvatures),
                    _mean(constants.largest for constants in curvatures),
                    _mean(constants.lipschitz for constants in curvatures),
                    _mean(constants.strong_convexity for constants in curvatures),
                    "exact" if curvatures[0].exact else "upper bounds",
                    *(_mean(constants.steps[i] for constants in curvatures) for i in range(3)),
                ]
                for name, dimension, curvatures in curved
            ],
        ),
        Table(
            "noise", "Noise and heterogeneity at the end of the runs, and the region W",
            ["problem", "Δ", "least s'", "largest s'", "M_w", "largest δ_ij", "mean δ²", "A_w",
             "Q_w below which ΔB < 1", "G²", "B²", "in W: coordinate", "in W: block",
             "in W: whole"],
            [
                [
                    name, runs[0].delta,
                    _mean(constants.least_factor for constants in runs),
                    _mean(constants.largest_factor for constants in runs),
                    _mean(constants.along.variance[-1] for constants in runs),
                    _mean(constants.along.dissimilarity[-1] for constants in runs),
                    _mean(constants.along.bias[-1] for constants in runs),
                    _mean(constants.along.error[-1] for constants in runs),
                    _mean(constants.growth_limit for constants in runs),
                    _mean(constants.constant for constants in runs),
                    _mean(constants.growth for constants in runs),
                    _mean(_mean(constants.along.coordinate) for constants in runs),
                    _mean(_mean(constants.along.block) for constants in runs),
                    _mean(_mean(constants.along.whole) for constants in runs),
                ]
                for name, runs in measured.items()
            ],
        ),
    ]  # fmt: skip
