"""An open question of the paper: HGO on convolutional networks, with sub-networks of channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hgobench.report.page import Chart, Finding, Page, Table, study

from .base import Options, Work, merge_settings, reject_unused_options, require_classes
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
CLAIMS = {  # by the variant that a sub-network is compared with
    "sgd": "HGO by sub-networks beats SGD on the same devices",
    "hgo scalar": "a sub-network beats single scalars at the same budget",
    "hgo feature": "a sub-network beats all weights of some units at the same budget",
}


def check(options: Options) -> None:
    """Raise InputError for options that this audit does not use."""
    reject_unused_options(options, "algorithm", "granularity", "seed", rules=1)
    require_classes(options.settings)


@dataclass(frozen=True)
class Variant:
    """A variant that is compared.

    Attributes:
        data, profile: data set and hardware.
        method: ``"sgd"``, or ``"hgo"`` and its granularity.
    """

    data: str
    profile: str
    method: str

    @property
    def name(self) -> str:
        """The data set's name, without parameters."""
        return self.data.partition("[")[0]

    @property
    def place(self) -> str:
        """Data set and hardware, in words."""
        return f"{self.name}, {self.profile}"

    @property
    def label(self) -> str:
        """Data set, hardware and method, in words."""
        return f"{self.place}: {self.method}"


@dataclass(frozen=True)
class Compared:
    """The runs of every variant, all with the same seeds."""

    settings: Mapping[str, Any]
    seeds: int
    runs: Mapping[Variant, Runs]


def compared(options: Options, work: Work) -> Compared:
    """Run HGO by sub-networks, by scalars and by units, and SGD, at the same budget."""
    settings = merge_settings(BASE, options.settings)
    if options.rules:
        settings["rule"] = options.rules[0]
    data = [settings["data"]] if "data" in options.settings else list(DATA)
    own_hardware = "hardware" in options.settings
    profiles = [settings["hardware"]] if own_hardware else list(PROFILES)
    fields: dict[Variant, dict[str, Any]] = {}
    for source in data:
        for profile in profiles:
            place = {**settings, "data": source, "hardware": profile}
            for granularity in GRANULARITIES:
                fields[Variant(source, profile, f"hgo {granularity}")] = {
                    **place, "algorithm": "hgo", "granularity": granularity,
                }  # fmt: skip
            fields[Variant(source, profile, "sgd")] = {**place, "algorithm": "sgd"}
        if not own_hardware:
            fields[Variant(source, "powerful", "sgd")] = {
                **settings, "data": source, "algorithm": "sgd", "hardware": "powerful",
            }  # fmt: skip
    seeds = options.seeds or SEEDS
    runs = compare({variant.label: values for variant, values in fields.items()}, seeds, work)
    return Compared(settings, seeds, {variant: runs[variant.label] for variant in fields})


def run(options: Options, work: Work) -> Page:
    """Compare sub-networks, scalars and units for slow workers, at the same budget."""
    check(options)
    comparison = compared(options, work)
    settings = comparison.settings
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
            f"{comparison.seeds} seeds (bands: least to largest), evaluated on all test examples. "
            + described(
                settings, "data", "hardware", "algorithm", "granularity", "scope", "quorum"
            ),
        ],
        options.command("audit channels"),
        _findings(comparison.runs),
        _charts(comparison.runs),
        [_table(comparison.runs)],
    )


def _findings(runs: Mapping[Variant, Runs]) -> list[Finding]:
    findings = []
    for variant, own in runs.items():
        if variant.method != "hgo subnetwork":
            continue
        for method, claim in CLAIMS.items():
            gain = own.final - runs[replace(variant, method=method)].final
            findings.append(
                Finding(
                    f"{variant.place}: {claim}",
                    None if gain.min() <= 0 < gain.max() else bool(gain.min() > 0),
                    f"{float(gain.mean()):+.3f} (seeds {gain.min():+.3f} to {gain.max():+.3f})",
                )
            )
    return findings


def _charts(runs: Mapping[Variant, Runs]) -> list[Chart]:
    return [
        Chart(
            f"accuracy-{name}", f"Accuracy on test examples: {name}", "round", "accuracy",
            [run.line() for variant, run in runs.items() if variant.name == name],
        )
        for name in dict.fromkeys(variant.name for variant in runs)
    ]  # fmt: skip


def _table(runs: Mapping[Variant, Runs]) -> Table:
    rows: list[list[str | float | int]] = [
        [variant.label, *run.last, run.mean("mean_block_size"), run.mean("mean_heard"),
         run.mean("stalled"), run.mean("bytes_up") / 1e6]
        for variant, run in runs.items()
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
