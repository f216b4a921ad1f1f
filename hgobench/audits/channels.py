"""An open question of the paper: HGO on convolutional networks, a sub-network by channels."""

from __future__ import annotations

from typing import Any

from hgobench.report.page import Chart, Finding, Page, Table, study

from .base import Options, Work, classified, settled, uses
from .comparison import Runs, compare, described

BASE: dict[str, Any] = {
    "model": "convolutional",
    "partition": "dirichlet[alpha=0.3]",
    "workers": 20,
    "rule": "average",
    "batch_size": 8,
    "deadline": 8.0,
    "rounds": 150,
    "learning_rate": 0.2,
    "evaluation_interval": 50,
}
DATA = ("mnist[validation=0]", "fashion_mnist[validation=0]")
PROFILES = ("weak", "c1")
GRANULARITIES = ("subnetwork", "scalar", "feature")
SEEDS = 3


def check(options: Options) -> None:
    """Refuse what can't be heeded."""
    uses(options, "algorithm", "granularity", "seed", rules=1)
    classified(options.settings)


def run(options: Options, work: Work) -> Page:
    """Compare what slow workers may compute of a convolutional network, at the same budget."""
    check(options)
    settings = settled(BASE, options.settings)
    if options.rules:
        settings["rule"] = options.rules[0]
    data = [settings["data"]] if "data" in options.settings else list(DATA)
    profiles = [settings["hardware"]] if "hardware" in options.settings else list(PROFILES)
    seeds = options.seeds or SEEDS
    variants: dict[str, dict[str, Any]] = {}
    for source in data:
        for profile in profiles:
            fields = {**settings, "data": source, "hardware": profile}
            name = f"{source.partition('[')[0]}, {profile}"
            for granularity in GRANULARITIES:
                label = f"{name}: hgo {granularity}"
                variants[label] = {**fields, "algorithm": "hgo", "granularity": granularity}
            variants[f"{name}: sgd"] = {**fields, "algorithm": "sgd"}
        if "hardware" not in options.settings:
            label = f"{source.partition('[')[0]}, powerful: sgd"
            variants[label] = {
                **settings, "data": source, "algorithm": "sgd", "hardware": "powerful",
            }  # fmt: skip
    runs = compare(variants, seeds, work)
    findings = []
    for label, mine in runs.items():
        place, _, what = label.partition(": ")
        if what != "hgo subnetwork":
            continue
        for other, claim in (
            ("sgd", "HGO by sub-networks beats SGD on the same devices"),
            ("hgo scalar", "a sub-network beats single scalars at the same budget"),
            ("hgo feature", "a sub-network beats all weights of some units at the same budget"),
        ):
            gain = mine.final - runs[f"{place}: {other}"].final
            findings.append(
                Finding(
                    f"{place}: {claim}",
                    None if gain.min() <= 0 < gain.max() else bool(gain.min() > 0),
                    f"{float(gain.mean()):+.3f} (seeds {gain.min():+.3f} to {gain.max():+.3f})",
                )
            )
    charts = []
    for source in data:
        name = source.partition("[")[0]
        shown = [each for label, each in runs.items() if label.startswith(f"{name}, ")]
        charts.append(
            Chart(f"accuracy-{name}", f"Accuracy on test examples: {name}", "round", "accuracy",
                  [each.line() for each in shown])
        )  # fmt: skip
    return study(
        "channels",
        "Convolutional networks: sub-networks by channels"
        if settings["model"] == BASE["model"]
        else f"Sub-networks of {settings['model']}",
        [
            "The paper leaves convolutional networks open. A place of the round's order is a unit: "
            "a channel, or a unit of a dense layer; a weight belongs to a block if both units "
            "that it joins do, and the first units that a worker's budget τ·λ_i/s_i pays for (one "
            "unit of budget per scalar, as everywhere) are its sub-network. Beside it the same "
            "budget spent on single scalars, on all weights that leave a unit, and SGD, which "
            "hears whole gradients only.",
            "Only the sub-network saves a device work: a few scalars of a deep gradient need the "
            "whole forward pass and most of the backward pass, which the budget does not charge.",
            f"{seeds} seeds (bands: least to largest), evaluated on all test examples. "
            + described(
                settings, "data", "hardware", "algorithm", "granularity", "scope", "quorum"
            ),
        ],
        options.command("audit channels"),
        findings,
        charts,
        [_table(runs)],
    )


def _table(runs: dict[str, Runs]) -> Table:
    rows: list[list[str | float | int]] = [
        [label, *run.last, run.mean("mean_block_size"), run.mean("mean_heard"), run.mean("stalled"),
         run.mean("bytes_up") / 1e6]
        for label, run in runs.items()
    ]  # fmt: skip
    header = [
        "variant",
        "last accuracy",
        "least",
        "largest",
        "block",
        "answers",
        "stalled rounds",
        "MB up",
    ]
    return Table("last", "After the last round", header, rows)
