"""``hgobench leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import ByOption, Form, FormOption, Split, SplitOption, Wide
from hgobench.cli.output import rendered_boards
from hgobench.errors import InputError


def leaderboard(
    folder: Annotated[Path, typer.Argument(help="Where hgobench run kept its results.")],
    form: FormOption = Form.TABLE,
    by: ByOption = "attack",
    split: SplitOption = Split.TEST,
    ruleset: Annotated[
        str | None, typer.Option(help="Which one, if the folder holds several.")
    ] = None,
    wide: Wide = False,
) -> None:
    """Print the leaderboards of a folder's results."""
    from hgobench.evaluation.evaluate import chooses, reported
    from hgobench.results import open_store

    with open_store(folder, create=False) as store:
        kept = list(store.results())
        rulesets = sorted({name for name, _ in kept if not chooses(name)})
        if not kept:
            raise InputError(f"store: {str(folder)!r}: holds no results")
        if ruleset is None and len(rulesets) > 1:
            listed = ", ".join(map(repr, rulesets))
            raise InputError(
                f"store: {str(folder)!r}: holds several rulesets; use --ruleset {listed}"
            )
        if not rulesets:
            raise InputError(f"store: {str(folder)!r}: no row is chosen for yet; run it again")
        chosen = ruleset or rulesets[0]
        results = [result for name, result in kept if name == chosen]
        if not results:
            raise InputError(f"--ruleset: unknown {chosen!r}; the folder holds {rulesets}")
        found = reported(store, chosen, results, split.value)
    codes = {result.provenance["code"] for result in results}
    if len(codes) > 1:
        typer.echo(f"note: these results come from {len(codes)} versions of the code", err=True)
    if found.selections and split is not Split.TEST:
        raise InputError("--split: validation examples have chosen the attacks; expected test")
    if lacking := len(found.selections) - len(found.verdicts):
        typer.echo(f"{lacking} of {len(found.selections)} rows lack cells; run it again", err=True)
    typer.echo(rendered_boards(chosen, found.boards(by), form, split, wide))
