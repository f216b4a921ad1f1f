"""``hgobench audit``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.auditing import audit_options, studied
from hgobench.cli.options import AddressOption, EngineOption, Jobs, Quiet, Wide, folder_option
from hgobench.cli.output import layout_for, say
from hgobench.cli.watching import ProgressOption, Watching, watched
from hgobench.errors import InputError
from hgobench.report import writers

AuditSeeds = Annotated[
    int | None, typer.Option(min=1, help="Seeds [default: as many as each audit needs].")
]
AuditSettings = Annotated[
    list[str] | None,
    typer.Option("--set", help="field=value: a problem of your own instead of the built-in ones."),
]
AuditRules = Annotated[
    list[str] | None, typer.Option(help="A rule; your own: pkg.mod:Class. Repeatable.")
]
AuditAttacks = Annotated[list[str] | None, typer.Option(help="An attack. Repeatable.")]


def audit(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Names of audits, theory, questions or all; rule NAME; or list.", metavar="NAME.."
        ),
    ],
    seeds: AuditSeeds = None,
    set_: AuditSettings = None,
    rule: AuditRules = None,
    attack: AuditAttacks = None,
    jobs: Jobs = 0,
    engine: EngineOption = "local",
    address: AddressOption = "",
    out: Annotated[Path, folder_option("Where measurements and pages go.")] = Path(
        "hgobench-results/audits"
    ),
    document: Annotated[
        Path | None,
        typer.Option(
            help="A Markdown file for all results; if it holds other audits already, only these "
            "sections are replaced."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        folder_option("kappa: results of hgobench run with whose worst cases to compare κ̂."),
    ] = None,
    quiet: Quiet = False,
    progress: ProgressOption = Watching.TEXT,
    wide: Wide = False,
) -> None:
    """Audit the HGO paper's theory, or answer an open question.

    theory: constants, robustness, kappa, bounds, cost, breakdown. questions: channels, bandwidth.
    rule NAME: one rule, from its laws to its worst case; your own, too: audit rule mine:MyRule.

    Writes a page per audit with the data behind its plots. What is already in the folder is not
    computed again; Ctrl-C keeps what is done.
    """
    with watched(progress) as told:
        from hgobench import audits
        from hgobench.settings import parse_setting

        if "list" in names:
            header = ["audit", "what it looks at"]
            typer.echo(writers.table(header, audits.AUDITS.items(), layout=layout_for(wide)))
            return
        if names[0] == "rule":  # what follows is no audit, but the rule
            rule, names = [*(rule or ()), *names[1:]], names[:1]
        chosen = audits.chosen(names)
        settings = [parse_setting(text) for text in set_ or ()]
        options = audit_options(seeds, settings, rule, attack, against)
        if options.settings and len(chosen) > 1:
            raise InputError(f"--set: one audit at a time; {' '.join(names)} is {len(chosen)}")
        audits.check(chosen, options)
        if document is not None:
            try:
                document.parent.mkdir(parents=True, exist_ok=True)
                document.touch()
            except OSError as error:
                raise InputError(f"--document: {str(document)!r}: {error.strerror}") from error
        words = f"audit {' '.join(names)}"
        pages = [
            studied(
                partial(audits.run, name, options),
                out=out,
                jobs=jobs,
                quiet=quiet,
                wide=wide,
                engine=engine,
                address=address,
                progress=progress,
                told=told,
            )
            for name in chosen
        ]
        if document is not None:
            from hgobench.audits import document as audit_document

            title = "The theory, audited" if len(pages) > 1 else pages[0].title
            audit_document.write(document, pages, title, options.command(words))
            say(f"document: {document}", quiet)
