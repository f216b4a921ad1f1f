"""The constants of a problem: L_j, L, μ, δ, M_w, s', A_w, B_w, and the region W along a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

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
SERIES = ("gradient", "bias", "variance", "error", "limit", "dissimilarity")


def constants(scenario: Mapping[str, Any], delta: float) -> dict[str, Any]:
    """Run a cell, and return its problem's constants, and those that depend on w along the run.

    Args:
        scenario: its fields.
        delta: Δ(v, f).
    """
    cell = Scenario(**scenario)
    problem = Objective(cell, World.of(cell))
    rounds: dict[str, list[float]] = {name: [] for name in SERIES}
    regions: dict[str, list[bool]] = {"coordinate": [], "block": [], "whole": []}
    trajectory = []

    def observe(step: Step) -> None:
        moments = problem.moments(step.params)
        trajectory.append(theory.spread(moments))
        error = moments.statistical_error(problem.factor)
        norm = float(np.square(moments.gradient).sum())
        rounds["gradient"].append(norm)
        rounds["bias"].append(float(np.square(moments.bias).sum(axis=1).mean()))
        rounds["variance"].append(moments.variance_bound())
        rounds["error"].append(error)
        rounds["limit"].append(delta * error)
        rounds["dissimilarity"].append(float(moments.bias.max()))
        sizes = {
            "coordinate": 1, "block": len(step.aggregate), "whole": problem.dimension,
        }  # fmt: skip
        for name, size in sizes.items():
            inside = moments.in_region(delta, error, 0.0, size) if size else False
            regions[name].append(inside)

    (result,) = simulate([cell], width=1, observe=observe)
    if result.status != "done":
        raise RuntimeError(f"{cell}: {result.reason}")
    found = theory.dissimilarity(trajectory)
    growth = float(np.sqrt(problem.dimension) * (1.0 / problem.factor).mean())
    try:
        known = problem.curvature
        curvature: dict[str, Any] = {
            "smoothness": [float(known.smoothness.min()), float(known.smoothness.max())],
            "sum": float(known.smoothness.sum()),
            "lipschitz": known.lipschitz,
            "strong_convexity": known.strong_convexity,
            "exact": known.exact,
            "steps": [known.block_step, known.dimension_step, 1.0 / known.lipschitz],
        }
    except InputError:
        curvature = {}
    return {
        "dimension": problem.dimension,
        "delta": delta,
        "factor": [float(problem.factor.min()), float(problem.factor.max())],
        "curvature": curvature,
        "rounds": rounds,
        "regions": {name: float(np.mean(inside)) for name, inside in regions.items()},
        "growth_limit": 1.0 / (delta * growth) if growth else float("inf"),
        "constant": found.constant,
        "growth": found.growth,
    }


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
            tasks.append(Task(constants, {"scenario": values, "delta": delta}, [values]))
    done = work.measure(tasks)
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


def _findings(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Finding]:
    def share(region: str) -> list[float]:
        return [each["regions"][region] for runs in found.values() for each in runs]

    strict, whole = share("coordinate"), share("whole")
    return [
        Finding(
            "runs pass through the region W of (5), with Δ before A_w",
            max(strict) > 0,
            f"at most {max(strict):.0%} of a run's rounds; with the whole gradient as the only "
            f"block {min(whole):.0%} to {max(whole):.0%}",
        )
    ]


def _chart(name: str, found: Mapping[str, Any]) -> Chart:
    rounds = found["rounds"]
    k = list(range(1, len(rounds["gradient"]) + 1))
    lines = [
        Line("‖∇L(w_k)‖²", k, rounds["gradient"]),
        Line("Δ·A_w: above it w is in W", k, rounds["limit"], style="dashed"),
        Line("A_w", k, rounds["error"]),
        Line("Σ_j δ_ij², mean over i", k, rounds["bias"]),
        Line("M_w", k, rounds["variance"]),
    ]
    file = name.replace(", ", "-")
    return Chart(f"along-{file}", f"Along a run: {name}", "k", "", lines, "y")


def _tables(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Table]:
    curved: list[list[str | float | int]] = []
    noisy: list[list[str | float | int]] = []
    for name, runs in found.items():

        def mean(pick: Any, runs: Sequence[Mapping[str, Any]] = runs) -> float:
            return float(np.mean([pick(each) for each in runs]))

        if runs[0]["curvature"]:
            curved.append(
                [
                    name,
                    runs[0]["dimension"],
                    mean(lambda each: each["curvature"]["smoothness"][0]),
                    mean(lambda each: each["curvature"]["smoothness"][1]),
                    mean(lambda each: each["curvature"]["lipschitz"]),
                    mean(lambda each: each["curvature"]["strong_convexity"]),
                    "exact" if runs[0]["curvature"]["exact"] else "L bounds",
                    *(mean(lambda each, i=i: each["curvature"]["steps"][i]) for i in range(3)),
                ]
            )
        noisy.append(
            [
                name,
                runs[0]["delta"],
                mean(lambda each: each["factor"][0]),
                mean(lambda each: each["factor"][1]),
                mean(lambda each: each["rounds"]["variance"][-1]),
                mean(lambda each: each["rounds"]["dissimilarity"][-1]),
                mean(lambda each: each["rounds"]["bias"][-1]),
                mean(lambda each: each["rounds"]["error"][-1]),
                mean(lambda each: each["growth_limit"]),
                mean(lambda each: each["constant"]),
                mean(lambda each: each["growth"]),
                *(
                    mean(lambda each, name=region: each["regions"][name])
                    for region in ("coordinate", "block", "whole")
                ),
            ]
        )
    return [
        Table(
            "curvature", "Curvature of the loss, and the learning rates that it allows",
            ["problem", "d", "least L_j", "largest L_j", "L", "μ", "", "1/Σ L_j", "1/(√d·max L_j)",
             "1/L"],
            curved,
        ),
        Table(
            "noise", "Noise and heterogeneity at the end of the runs, and the region W",
            ["problem", "Δ", "least s'", "largest s'", "M_w", "largest δ_ij", "mean δ²", "A_w",
             "Q_w below which ΔB < 1", "G²", "B²", "in W: coordinate", "in W: block",
             "in W: whole"],
            noisy,
        ),
    ]  # fmt: skip
