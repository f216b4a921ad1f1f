"""``hgobench plan``."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hgobench.cli.auditing import audit_options, studied
from hgobench.cli.options import (
    AddressOption,
    DataForm,
    DataFormOption,
    EngineOption,
    Jobs,
    Quiet,
    Wide,
    folder_option,
)
from hgobench.cli.output import layout_for
from hgobench.cli.watching import ProgressOption, Watching, watched
from hgobench.errors import InputError

if TYPE_CHECKING:
    from hgobench.audits import Page, Work


def plan(
    target: Annotated[float, typer.Option(help="Accuracy to reach, on validation examples.")],
    budget: Annotated[
        str,
        typer.Option(help="Simulated time: 60 in time units (as a deadline τ); 60s, 5min, 2h."),
    ],
    data: Annotated[str, typer.Option(help="Data set.")] = "digits",
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, help="Seeds to choose with, and as many to check with [default: 3, 5]."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="field=value fixes a field of the scenario; field=value,value searches among "
            "these values: q, v, tau, s and gamma (learning rate).",
        ),
    ] = None,
    rule: Annotated[
        list[str] | None, typer.Option(help="Rules to search among [default: trimmed_mean].")
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(help="Attacks; the worst one counts [default with f > 0: a strong set]."),
    ] = None,
    time_unit: Annotated[
        str | None,
        typer.Option(
            help="Seconds that a time unit lasts; or calibrate: this machine is an average device."
        ),
    ] = None,
    jobs: Jobs = 0,
    engine: EngineOption = "local",
    address: AddressOption = "",
    out: Annotated[Path, folder_option("Where results and the page go.")] = Path(
        "hgobench-results/plan"
    ),
    form: DataFormOption = DataForm.TABLE,
    quiet: Quiet = False,
    progress: ProgressOption = Watching.TEXT,
    wide: Wide = False,
) -> None:
    """Find settings that reach an accuracy within a time budget.

    Searches q, v, τ, s and rules; without --set hardware=.. also the share of powerful devices.
    The best candidate is run again with fresh seeds, and the answer says whether it reaches the
    target.
    """
    with watched(progress) as told:
        from hgobench.audits import answer, calibration
        from hgobench.audits import plan as planning
        from hgobench.report.render import render
        from hgobench.settings import Setting, parse_setting, write_setting

        settings = [parse_setting(text) for text in set_ or ()]
        if any(setting.field == "data" for setting in settings):
            raise InputError("--set: data: use --data")
        single, among = planning.several(settings)
        options = audit_options(seeds, [Setting("data", [data]), *single], rule, attack)
        plans: list[planning.Plan] = []

        def searched(work: Work) -> Page:
            unit = calibration.time_unit(time_unit, options.settings, work)
            words = ["--target", repr(target), "--budget", budget, "--data", data]
            for field, values in among.items():
                words += ["--set", write_setting(field, *values)]
            words += [] if unit is None else ["--time-unit", repr(unit)]
            units = calibration.time_units("--budget", budget, unit)
            question = planning.Question(target, units, unit, among, shlex.join(words))
            plans.append(planning.search(options, question, work))
            return answer.page(plans[-1])

        def rendered(_: Page) -> str:
            layout = layout_for(wide)
            if not wide:
                layout = replace(layout, width=layout.width or answer.WIDTH)
            return render(answer.summary(plans[-1]), form.value, layout, title=False)

        studied(
            searched,
            out=out,
            jobs=jobs,
            quiet=quiet,
            wide=wide,
            render=rendered,
            engine=engine,
            address=address,
            progress=progress,
            told=told,
        )
