"""Audits: the paper's theory against measurements, and the questions that it leaves open."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hgobench.errors import InputError, unknown
from hgobench.report.page import Page

from .base import Options, Work

__all__ = ["AUDITS", "GROUPS", "Options", "Page", "Work", "check", "chosen", "run"]

AUDITS = {
    "constants": "L_j, L, μ, δ, M_w, s', A_w, B_w and the region W of a problem",
    "robustness": "Δ(q, f) of every rule, coordinate by coordinate and on vectors, by a search",
    "kappa": "κ of every rule and scope: proven, and by a search of any inputs and gradients",
    "bounds": "Lemma 1 and Theorems 1 and 2 against runs under every attack",
    "cost": "Proposition 1: the time of a round over q, b, d and τ, measured and fitted",
    "breakdown": "the attackers that a rule tolerates, every number of them tried",
    "channels": "convolutional networks: a sub-network by channels at the same budget",
    "bandwidth": "the impact of bandwidth",
    "rule": "one rule from every side, also your own: audit rule mine:MyRule",
}
GROUPS = {
    "theory": ("constants", "robustness", "kappa", "bounds", "cost", "breakdown"),
    "questions": ("channels", "bandwidth"),
    "all": tuple(name for name in AUDITS if name != "rule"),
}


def chosen(names: list[str]) -> list[str]:
    """Return the audits that names of audits and groups refer to, without repetition.

    Raises:
        InputError: there is no such audit.

    >>> chosen(["questions", "cost", "bandwidth"])
    ['channels', 'bandwidth', 'cost']
    """
    strange = [name for name in names if name not in AUDITS and name not in GROUPS]
    if strange:
        raise InputError(unknown("audit", name, [*AUDITS, *GROUPS]) for name in strange)
    return list(dict.fromkeys(audit for name in names for audit in GROUPS.get(name, (name,))))


def run(name: str, options: Options, work: Work) -> Page:
    """Run an audit and return its page.

    >>> import tempfile
    >>> from hgobench import Session, open_store
    >>> options = Options(seeds=1, settings={"model": "quadratic", "rounds": 2})
    >>> with tempfile.TemporaryDirectory() as folder, open_store(folder) as store:
    ...     page = run("constants", options, Work(Session(store, jobs=1)))
    >>> [table.name for table in page.tables]
    ['curvature', 'noise']
    """
    page: Page = _module(name).run(options, work)
    return page


def check(names: list[str], options: Options) -> None:
    """Check that each of some audits uses all the options, before any of them runs.

    Raises:
        InputError: an option is not used; with all problems.

    >>> check(["cost"], Options(seeds=3))
    Traceback (most recent call last):
    ...
    hgobench.errors.InputError: audit cost: seeds: 3; this audit has none
    """
    problems: list[str] = []
    for name in names:
        try:
            _module(name).check(options)
        except InputError as error:
            problems += [f"audit {name}: {problem}" for problem in error.problems]
    if problems:
        raise InputError(problems)


def _module(name: str) -> Any:
    return import_module(f"{__name__}.{name}")
