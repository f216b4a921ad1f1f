"""``hgobench show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import DataForm, DataFormOption, Wide
from hgobench.cli.output import as_json, say, shown
from hgobench.cli.show_folder import show_damaged, show_results
from hgobench.errors import InputError


def show(
    what: Annotated[str, typer.Argument(help="partition, scenario, or a folder of results.")],
    which: Annotated[
        list[str] | None,
        typer.Argument(help="The partition's name; or field=value, repeatable."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value, as after `what`. Repeatable."),
    ] = None,
    form: DataFormOption = DataForm.TABLE,
    data: Annotated[
        str | None, typer.Option(help="partition: the data set [default: digits].")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-n", min=1, help="partition: among how many [default: 100]."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="partition: the seed of the draw [default: 0].")
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(help="partition: pictures to write [default: NAME.png and NAME.svg]."),
    ] = None,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="FOLDER: the rows that can't be read, and why.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="scenario: play a few of its rounds and time them.")
    ] = False,
    wide: Wide = False,
) -> None:
    """Show a partition, a scenario, or the cells of a folder.

    partition NAME: how many examples of each class every worker holds, and as pictures.

    scenario field=value ..: all its fields, how likely a round samples too many attackers, and what
    a run takes: parameters, memory, FLOPs and time, by hgobench calibrate or --measure.

    FOLDER field=value ..: one line per cell; with one cell left, its rounds; as JSON, everything.

    FOLDER --damaged: the rows that can't be read; the command that computed them replaces them.
    """
    if damaged and (which or set_ or what in ("partition", "scenario")):
        raise InputError("--damaged: lists all damaged rows of a folder: show FOLDER --damaged")
    if measure and what != "scenario":
        raise InputError(f"show {what}: --measure is for scenarios")
    if set_ and what == "partition":
        raise InputError("show partition: --set is for scenarios and folders")
    which = [*(which or ()), *(set_ or ())]
    if what == "partition":
        _show_partition(which, data or "digits", workers or 100, seed or 0, form, out, wide)
        return
    options = {"--data": data, "--workers": workers, "--seed": seed, "--out": out}
    if given := [name for name, value in options.items() if value is not None]:
        raise InputError(f"show {what}: {name} is for partitions" for name in given)
    if what == "scenario":
        _show_scenario(which, form, measure)
    elif damaged:
        show_damaged(Path(what), form, wide)
    else:
        show_results(Path(what), which, form, wide)


def _show_partition(
    names: list[str],
    data: str,
    workers: int,
    seed: int,
    form: DataForm,
    out: list[Path] | None,
    wide: bool,
) -> None:
    from hgobench.report import worlds
    from hgobench.scenario import check_field

    if len(names) != 1:
        raise InputError(
            f"show partition: {' '.join(names)!r}; expected one name (hgobench list partitions)"
        )
    for path in out or ():
        worlds.check_picture(path)
    check_field("workers", workers)
    check_field("seed", seed)
    dealt = worlds.deal(names[0], data, workers, seed)
    typer.echo(shown(dealt.page, form.value, wide, title=True))
    if out is None and form is DataForm.TABLE:
        out = [Path(f"{dealt.slug}.{kind}") for kind in ("png", "svg")]
    for path in out or ():
        dealt.draw(path)
        say(f"drawn: {path}", quiet=False)


def _show_scenario(settings: list[str], form: DataForm, measure: bool) -> None:
    from hgobench import costs
    from hgobench.report import worlds
    from hgobench.scenario import Scenario
    from hgobench.settings import one_value_each, parse_setting

    fields = [parse_setting(text, "show") for text in settings]
    scenario = Scenario(**one_value_each(fields, "show scenario"))
    taken = costs.known(scenario, measure=measure)
    if form is DataForm.JSON:
        risks = {"sampling_risk": scenario.sampling_risk, "run_risk": scenario.run_risk}
        takes = {"unknown": taken} if isinstance(taken, str) else taken.as_data()
        typer.echo(as_json({**scenario.to_dict(), **risks, "takes": takes}))
        return
    typer.echo(shown(worlds.describe(scenario, taken)))
    if scenario.sampling_warning:
        typer.echo(f"warning: {scenario.sampling_warning}", err=True)
