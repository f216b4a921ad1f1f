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
from .base import Options, Work, settled, uses

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
class Curved:
    """The curvature of a loss.

    Attributes:
        least, largest: of the L_j.
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
class Along:
    """What depends on w, at the start of every round of a run.

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
        """Look at a round before its step: `block` coordinates are updated."""
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
        least_factor, largest_factor: of the s'_i.
        curvature: of the loss; None: it is not known.
        along: the run.
        growth_limit: the Q_w below which ΔB < 1.
        constant, growth: the least G² and B² of (G, B)-dissimilarity along the run.
    """

    dimension: int
    delta: float
    least_factor: float
    largest_factor: float
    curvature: Curved | None
    along: Along
    growth_limit: float
    constant: float
    growth: float

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Constants:
        """Read what `asdict` wrote."""
        curved = Curved(**kept["curvature"]) if kept["curvature"] else None
        return cls(**{**kept, "curvature": curved, "along": Along(**kept["along"])})


def constants(scenario: Mapping[str, Any], delta: float) -> Constants:
    """Run a cell, and return its problem's constants, and those that depend on w along the run.

    Args:
        scenario: its fields.
        delta: Δ(v, f).
    """
    cell = Scenario(**scenario)
    problem = Objective(cell, World.of(cell))
    along, trajectory = Along(), []

    def observe(step: Step) -> None:
        moments = problem.moments(step.params)
        trajectory.append(theory.spread(moments))
        along.add(moments, problem.factor, delta, len(step.aggregate))

    (result,) = simulate([cell], observe=observe)
    if result.status != "done":
        raise RuntimeError(f"{cell}: {result.reason}")
    found = theory.dissimilarity(trajectory)
    growth = float(np.sqrt(problem.dimension) * (1.0 / problem.factor).mean())
    return Constants(
        problem.dimension,
        delta,
        float(problem.factor.min()),
        float(problem.factor.max()),
        _curved(problem),
        along,
        1.0 / (delta * growth) if growth else float("inf"),
        found.constant,
        found.growth,
    )


def _curved(problem: Objective) -> Curved | None:
    try:
        known = problem.curvature
    except InputError:
        return None
    return Curved(
        float(known.smoothness.min()),
        float(known.smoothness.max()),
        known.lipschitz,
        known.strong_convexity,
        known.exact,
        [known.block_step, known.dimension_step, 1.0 / known.lipschitz],
    )


def kept(**arguments: Any) -> dict[str, Any]:
    """Return what `constants` does, as JSON knows it."""
    return asdict(constants(**arguments))


def check(options: Options) -> None:
    """Refuse what can't be heeded."""
    uses(options, "seed", rules=1, attacks=1)


def run(options: Options, work: Work) -> Page:
    """Compute the constants of every problem, and where runs of HGO leave the region W."""
    check(options)
    problems = {"yours": dict(options.settings)} if options.settings else PROBLEMS
    rule = options.rules[0] if options.rules else "trimmed_mean"
    attack = options.attacks[0] if options.attacks else "alie"
    seeds = options.seeds or SEEDS
    tasks = []
    for fields in problems.values():
        given = {**settled(BASE, fields), "rule": rule, "attack": attack}
        if not given["byzantine"]:
            given["attack"] = "none"
        delta = bounds.coefficients(Scenario(**given), work)["published"]
        for seed in range(seeds):
            values = Scenario(**given, seed=seed).to_dict()
            tasks.append(Task(kept, {"scenario": values, "delta": delta}, [values]))
    done = [Constants.read(one) for one in work.measure(tasks)]
    found = {name: done[i * seeds : (i + 1) * seeds] for i, name in enumerate(problems)}
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
        _findings(found),
        [_chart(name, each[0]) for name, each in found.items()],
        _tables(found),
    )


Found = Mapping[str, Sequence[Constants]]  # by problem, one per seed


def _findings(found: Found) -> list[Finding]:
    runs = [run.along for several in found.values() for run in several]
    strict = [float(np.mean(along.coordinate)) for along in runs]
    whole = [float(np.mean(along.whole)) for along in runs]
    return [
        Finding(
            "runs pass through the region W of (5), with Δ before A_w",
            max(strict) > 0,
            f"at most {max(strict):.0%} of a run's rounds; with the whole gradient as the only "
            f"block {min(whole):.0%} to {max(whole):.0%}",
        )
    ]


def _chart(name: str, found: Constants) -> Chart:
    along = found.along
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


def _tables(found: Found) -> list[Table]:
    curved = [
        (name, runs[0].dimension, known)
        for name, runs in found.items()
        if (known := [run.curvature for run in runs if run.curvature])
    ]
    return [
        Table(
            "curvature", "Curvature of the loss, and the learning rates that it allows",
            ["problem", "d", "least L_j", "largest L_j", "L", "μ", "", "1/Σ L_j", "1/(√d·max L_j)",
             "1/L"],
            [
                [
                    name, dimension,
                    _mean(one.least for one in known), _mean(one.largest for one in known),
                    _mean(one.lipschitz for one in known),
                    _mean(one.strong_convexity for one in known),
                    "exact" if known[0].exact else "L bounds",
                    *(_mean(one.steps[i] for one in known) for i in range(3)),
                ]
                for name, dimension, known in curved
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
                    _mean(one.least_factor for one in runs),
                    _mean(one.largest_factor for one in runs),
                    _mean(one.along.variance[-1] for one in runs),
                    _mean(one.along.dissimilarity[-1] for one in runs),
                    _mean(one.along.bias[-1] for one in runs),
                    _mean(one.along.error[-1] for one in runs),
                    _mean(one.growth_limit for one in runs),
                    _mean(one.constant for one in runs),
                    _mean(one.growth for one in runs),
                    _mean(_mean(one.along.coordinate) for one in runs),
                    _mean(_mean(one.along.block) for one in runs),
                    _mean(_mean(one.along.whole) for one in runs),
                ]
                for name, runs in found.items()
            ],
        ),
    ]  # fmt: skip
