"""An open question of the paper: what is the impact of bandwidth?"""

from __future__ import annotations

import math
from typing import Any

from hgobench.report.page import Chart, Finding, Line, Page, Table, study

from .base import Options, Work, classified, settled, uses
from .comparison import compare, described

BASE: dict[str, Any] = {
    "data": "digits",
    "model": "softmax",
    "partition": "dirichlet[alpha=0.3]",
    "workers": 30,
    "sampled": 24,
    "rule": "average",
    "batch_size": 32,
    "deadline": 32.0,
    "rounds": 100,
    "learning_rate": 1.0,
    "evaluation_interval": 5,
}
# A gradient's bytes per time unit: at 1 it takes one unit to send, of a deadline of 32.
SPEEDS = (1 / 128, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0, math.inf)
SEEDS = 5
LEVEL = 0.8


def check(options: Options) -> None:
    """Refuse what can't be heeded."""
    uses(options, "algorithm", "seed", rules=1)
    classified(options.settings)


def run(options: Options, work: Work) -> Page:
    """Vary the links of all devices, up and down, with transfer inside the deadline."""
    from hgobench.data import datasets
    from hgobench.models import registry
    from hgobench.protocol import NUMBER_BYTES

    check(options)
    settings = {"hardware": "standard", **settled(BASE, options.settings)}
    if options.rules:
        settings["rule"] = options.rules[0]
    seeds = options.seeds or SEEDS
    data = datasets.load(settings["data"])
    dimension = registry.build(
        settings["model"], features=data.features, classes=data.classes
    ).dimension
    whole = NUMBER_BYTES * dimension
    variants: dict[str, dict[str, Any]] = {}
    for direction in ("uplink", "downlink"):
        for speed in SPEEDS:
            link = "inf" if math.isinf(speed) else f"{whole * speed:g}"
            condition = f"network[{direction}={link},counts=true]"
            for algorithm in ("hgo", "sgd"):
                variants[f"{algorithm} {direction} {speed:g}"] = {
                    **settings,
                    "algorithm": algorithm,
                    "hardware": f"{condition}+{settings['hardware']}",
                }
    runs = compare(variants, seeds, work)

    def lines(direction: str, values: str) -> list[Line]:
        at = [speed for speed in SPEEDS if math.isfinite(speed)]
        found = []
        for algorithm in ("hgo", "sgd"):
            each = [runs[f"{algorithm} {direction} {speed:g}"] for speed in at]
            if values == "accuracy":
                curves = [float(run.final.mean()) for run in each]
                low = [float(run.final.min()) for run in each]
                high = [float(run.final.max()) for run in each]
                found.append(Line(algorithm, at, curves, low, high))
            else:
                found.append(Line(algorithm, at, [run.mean(values) for run in each]))
        return found

    findings = []
    slowest = {}
    for direction in ("uplink", "downlink"):
        for algorithm in ("hgo", "sgd"):
            best = float(runs[f"{algorithm} {direction} inf"].final.mean())
            enough = [
                speed
                for speed in SPEEDS
                if float(runs[f"{algorithm} {direction} {speed:g}"].final.mean()) >= best - 0.02
            ]
            slowest[algorithm, direction] = min(enough)
            findings.append(
                Finding(
                    f"{algorithm}: a slow {direction} costs accuracy",
                    min(enough) > SPEEDS[0],
                    f"within 2 points of unbounded links ({best:.3f}) down to "
                    f"{_fraction(min(enough))} of a gradient per time unit; at "
                    f"{_fraction(SPEEDS[0])} it ends at "
                    f"{float(runs[f'{algorithm} {direction} {SPEEDS[0]:g}'].final.mean()):.3f}",
                )
            )
    for direction in ("uplink", "downlink"):
        needed = {name: slowest[name, direction] for name in ("hgo", "sgd")}
        findings.append(
            Finding(
                f"HGO copes with a slower {direction} than SGD",
                needed["hgo"] < needed["sgd"],
                f"{_fraction(needed['hgo'])} against {_fraction(needed['sgd'])} of a gradient per "
                "time unit for the last 2 points",
            )
        )
    rows: list[list[str | float | int]] = []
    for label, run in runs.items():
        algorithm, direction, fraction = label.split()
        rows.append(
            [algorithm, direction, float(fraction), *run.last, run.mean("mean_heard"),
             run.mean("mean_block_size"), run.mean("bytes_up") / 1e6,
             run.reach(LEVEL)]
        )  # fmt: skip
    charts = [
        Chart(f"{values}-{direction}", f"{title} over the {direction}'s speed",
              "gradients per time unit", title, lines(direction, column), "x")
        for direction in ("uplink", "downlink")
        for values, title, column in (
            ("accuracy", "Last accuracy", "accuracy"),
            ("block", "Mean block (coordinates)", "mean_block_size"),
        )
    ]  # fmt: skip
    return study(
        "bandwidth",
        "The impact of bandwidth",
        [
            f"All devices (profile {settings['hardware']}) have the same link, and its transfer "
            f"counts against the deadline τ = {settings['deadline']:g}: a worker gets the model, "
            "computes and sends the most coordinates that arrive in time. Speeds are in whole "
            f"gradients ({whole:,} bytes) per time unit; {seeds} seeds. "
            + described(settings, "algorithm", "hardware", "scope", "quorum"),
        ],
        options.command("audit bandwidth"),
        findings,
        charts,
        [
            Table("speeds", "After the last round",
                  ["algorithm", "link", "speed", "last accuracy", "least", "largest", "answers",
                   "block", "MB up", f"time to {LEVEL:g}"], rows)
        ],
    )  # fmt: skip


def _fraction(speed: float) -> str:
    if math.isinf(speed):
        return "inf"
    return f"{speed:g}" if speed >= 1 else f"1/{round(1 / speed)}"
