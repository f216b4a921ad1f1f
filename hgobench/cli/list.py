"""``hgobench list``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from hgobench.cli.options import ListForm, Wide
from hgobench.cli.output import shown


class Kind(StrEnum):
    """What ``hgobench list`` lists."""

    ATTACKS = "attacks"
    HETEROGENEITY_ATTACKS = "heterogeneity_attacks"
    RULES = "rules"
    PRE_RULES = "pre_rules"
    ALGORITHMS = "algorithms"
    SOLVERS = "solvers"
    DATASETS = "datasets"
    PARTITIONS = "partitions"
    AUGMENTATIONS = "augmentations"
    HARDWARE = "hardware"
    CONDITIONS = "conditions"
    WORKLOADS = "workloads"
    MODELS = "models"
    METRICS = "metrics"
    SUITES = "suites"
    THREAT_MODELS = "threat_models"
    ENSEMBLES = "ensembles"


def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    form: Annotated[
        ListForm, typer.Option("--format", help="markdown: all that is known about each.")
    ] = ListForm.TABLE,
    wide: Wide = False,
) -> None:
    """List rules, attacks, data and everything else with a name.

    Each with its parameters and defaults, when it is valid, and its source.
    """
    from hgobench.report import listing

    full = form is ListForm.MARKDOWN
    if kind is Kind.SUITES:
        page = listing.suites()
    elif kind is Kind.THREAT_MODELS:
        page = listing.threat_models()
    elif kind is Kind.ENSEMBLES:
        page = listing.ensembles()
    else:
        page = listing.page(kind.value, full)
    typer.echo(shown(page, form.value, wide))
