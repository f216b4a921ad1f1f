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
    from hgobench.evaluation.evaluate import chooses, selected, verdicts
    from hgobench.evaluation.verdict import ranked
    from hgobench.leaderboard import Score, boards
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
        selections = selected(store, chosen)
    results = [result for name, result in kept if name == chosen]
    if not results:
        raise InputError(f"--ruleset: unknown {chosen!r}; the folder holds {rulesets}")
    codes = {result.provenance["code"] for result in results}
    if len(codes) > 1:
        typer.echo(f"note: these results come from {len(codes)} versions of the code", err=True)
    scores = {result.scenario: Score.of(result, split.value) for result in results}
    if selections:
        if split is not Split.TEST:
            raise InputError("--split: validation examples have chosen the attacks; expected test")
        whole = verdicts(selections, scores)
        if lacking := len(selections) - len(whole):
            typer.echo(f"{lacking} of {len(selections)} rows lack cells; run it again", err=True)
        ranked_boards = ranked(whole, by)
    else:
        ranked_boards = boards(scores.values(), by=by)
    typer.echo(rendered_boards(chosen, ranked_boards, form, split, wide))
