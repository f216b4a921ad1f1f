"""Directives of the documentation site: what is registered, what is exported, the commands."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from hgobench import catalogue
from hgobench.cli import app as command


def classes(field: str) -> dict[str, list[str]]:
    """Return the classes that the names of a field stand for, each with its names.

    >>> classes("condition")["hgobench.hardware.network.Network"]
    ['network']
    """
    made: dict[str, list[str]] = {}
    for name, entry in catalogue.registry(field).builtins.items():
        factory: Any = getattr(entry.factory, "func", entry.factory)
        made.setdefault(f"{factory.__module__}.{factory.__qualname__}", []).append(name)
    return made


class Written(SphinxDirective):
    """A directive that is reStructuredText, written when the page is read."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return what the text says."""
        text = "\n".join(self.lines(*self.arguments))
        return self.parse_text_to_nodes(text, allow_section_headings=True)

    def lines(self, *arguments: str) -> Iterator[str]:
        """Yield the text."""
        raise NotImplementedError


class Registered(Written):
    """``.. registered:: rule``: every class that a name of this field stands for."""

    def lines(self, *arguments: str) -> Iterator[str]:
        """Yield a section for each."""
        for path, names in classes(*arguments).items():
            title = ", ".join(f"``{name}``" for name in names)
            yield from (title, "." * len(title), "", f".. autoclass:: {path}", "")


class Exported(Written):
    """``.. exported:: hgobench``: the classes and functions in a module's ``__all__``."""

    def lines(self, *arguments: str) -> Iterator[str]:
        """Yield each where it is defined, so that it is known by one name."""
        module = importlib.import_module(*arguments)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing):
                yield from (f".. autoclass:: {thing.__module__}.{name}", "   :members:", "")
            elif inspect.isfunction(thing):
                yield from (f".. autofunction:: {thing.__module__}.{name}", "")


class Commands(Written):
    """``.. commands::``: what ``--help`` says of every verb."""

    required_arguments = 0

    def lines(self, *arguments: str) -> Iterator[str]:
        """Yield a section for each verb."""
        group: Any = typer.main.get_command(command)
        yield from self._verbs(group, group.make_context("hgobench", ["list", "rules"]))

    def _verbs(self, group: Any, context: Any) -> Iterator[str]:
        for verb in group.list_commands(context):
            found = group.get_command(context, verb)
            within = type(context)(found, info_name=verb, parent=context)
            if hasattr(found, "list_commands"):
                yield from self._verbs(found, within)
                continue
            title = within.command_path
            yield from (title, "-" * len(title), "", ".. code-block:: text", "")
            yield from (f"   {line}" for line in found.get_help(within).splitlines())
            yield ""


LITERAL = re.compile(r"(``.*?``)")
SPECIAL = re.compile(r"\||(?<=\w)_(?!\w)")


def plain(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Escape what is no markup outside code: |x| is an absolute value, and bool_ a type."""
    code = False
    for number, line in enumerate(lines):
        code = line.lstrip().startswith(">>>") or (code and line.strip() != "")
        if not code:
            pieces = LITERAL.split(line)
            pieces[::2] = [SPECIAL.sub(r"\\\g<0>", piece) for piece in pieces[::2]]
            lines[number] = "".join(pieces)


# Files of the repository that the site has as pages of its own.
PAGES = {"../CONTRIBUTING.md": "reference/contributing.md", "../README.md": "index.rst"}


def pages(app: Sphinx, name: str, text: list[str]) -> None:
    """Point links to these files to the pages."""
    for file, page in PAGES.items():
        text[0] = text[0].replace(f"]({file}", f"]({page}")


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx."""
    app.add_directive("registered", Registered)
    app.add_directive("exported", Exported)
    app.add_directive("commands", Commands)
    app.connect("autodoc-process-docstring", plain, priority=400)  # before napoleon
    app.connect("source-read", pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
