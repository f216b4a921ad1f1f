"""The figures of the paper: what each draws, in two accountings, and what was published.

A figure is a TOML file in ``suites/paper/``: a problem (``problems.toml``) and curves, each given
by itself or by axes, every combination of which is a curve; or the name of a figure that it is
like, and the differences. Every curve is run in two variants: "published", as the authors' code
computes it, and "specified", as Algorithm 1 states it. A control is an additional curve that
differs from one of the paper's in a single thing, to show its effect.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hgobench.errors import InputError, unknown
from hgobench.scenario import Scenario
from hgobench.suite import home

Variant = Literal["published", "specified"]
VARIANTS: tuple[Variant, ...] = ("published", "specified")
RULESET = "paper-1"
KEYS = (
    "like", "caption", "problem", "published", "updates", "clock", "y", "bars", "note", "variants",
    "scenario", "axes", "curve", "control",
)  # fmt: skip
KINDS = ("fig", "short", "tradeoff", "remark", "rate")
LABELS = {
    "sgd": "SGD", "hgo": "HgO", "weak": "Cweak", "min": "Cmin", "c1": "C1", "c2": "C2", "c3": "C3",
    "powerful": "Cpowerful",
}  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """A curve of a figure.

    Attributes:
        label: as the paper labels it.
        fields: the fields of a `Scenario` in which it differs from the others.
        published: further fields in the authors' accounting.
        control_of: the label of the curve that it is a control of; empty: it is one of the paper's.
        variants: the variants in which it is run.
    """

    label: str
    fields: Mapping[str, Any]
    published: Mapping[str, Any] = field(default_factory=dict)
    control_of: str = ""
    variants: Sequence[Variant] = VARIANTS


@dataclass(frozen=True)
class Figure:
    """A figure: its curves, and how the paper draws them.

    Attributes:
        name: of its file: ``fig4b``.
        caption: of the figure.
        problem: a table of ``problems.toml``.
        curves: its lines, the paper's own first, then controls.
        scenario: fields that they share, besides the problem's.
        published: the figure of the extended paper with its published curves; empty: none.
        updates: the number of updates of the published point at x: ``"exact"``: x;
            ``"after"``: x + 1; ``"shifted"``: x - 4, and 0 for 0; ``"time"``: x is a time.
        clock: the rounds that the authors' clock counts: ``"every_round"`` or ``"evaluated"``;
            empty: it is drawn by round.
        y: the column that is drawn.
        bars: number of rounds per bar of received gradients; 0: no bars.
        note: for the reader.
        variants: its variants.
    """

    name: str
    caption: str
    problem: str
    curves: Sequence[Curve]
    scenario: Mapping[str, Any] = field(default_factory=dict)
    published: str = ""
    updates: str = "after"
    clock: str = ""
    y: str = "test_accuracy"
    bars: int = 0
    note: str = ""
    variants: Sequence[Variant] = VARIANTS

    def cell(self, curve: Curve, variant: Variant, seed: int) -> Scenario:
        """Return the scenario that a curve's seed runs."""
        problem = problems()[self.problem]
        accounting = problem.get(variant, {})
        fields = {
            **problem["scenario"],
            **{key: value for key, value in accounting.items() if key != "names"},
            **self.scenario,
            **curve.fields,
        }
        names = accounting.get("names", {})
        if variant == "published":
            fields.update(curve.published)
            if fields.get("byzantine"):
                fields["tolerated"] = 0  # its rules are told the true number
            else:
                names = {key: value for key, value in names.items() if key != "rule"}
        for key, renamed in names.items():
            if key in fields:
                fields[key] = renamed.get(fields[key], fields[key])
        return Scenario(**fields, seed=seed)

    def cells(self, seeds: Sequence[int]) -> list[Scenario]:
        """Return all scenarios of the figure; some may occur twice."""
        return [
            self.cell(curve, variant, seed)
            for seed in seeds
            for variant in self.variants
            for curve in self.of(variant)
        ]

    def of(self, variant: Variant) -> list[Curve]:
        """Return the curves that a variant has."""
        return [curve for curve in self.curves if variant in curve.variants]

    def points(self, curve: Curve) -> NDArray[np.float64] | None:
        """Return the published points, (n, 2): updates or time, and value; None: not published."""
        values = published().get(self.published, {}).get(curve.label)
        if values is None:
            return None
        points = np.array(values)
        if self.updates == "after":
            points[:, 0] += 1
        elif self.updates == "shifted":
            points[:, 0] = np.maximum(points[:, 0] - 4, 0)
        return points


def names() -> list[str]:
    """Return the names of all figures, in the paper's order."""
    stems = [path.stem for path in (home() / "paper").glob("*.toml") if path.stem != "problems"]

    def order(name: str) -> tuple[int, int, str]:
        kind, number = re.fullmatch(r"([a-z]+)(\d*)[a-z]?", name).groups()  # type: ignore[union-attr]
        return KINDS.index(kind), int(number or 0), name

    return sorted(stems, key=order)


@cache
def load(name: str) -> Figure:
    """Read a figure.

    Raises:
        InputError: there is none of this name, or its file is wrong.
    """
    if name not in names():
        raise InputError(unknown("figure", name, names(), hint="hgobench reproduce list"))
    return read(name, _content(name))


def _content(name: str) -> dict[str, Any]:
    """Return the content of a figure's file, completed by that of the figure that it is like."""
    content = tomllib.loads((home() / "paper" / f"{name}.toml").read_text(encoding="utf-8"))
    return _over(_content(content["like"]), content) if "like" in content else content


def read(name: str, content: Mapping[str, Any]) -> Figure:
    """Return the figure of a file's content.

    Raises:
        InputError: a key is unknown, there is no problem or no curve, or a control has no curve.
    """
    problems_ = [unknown(f"figure {name}: key", key, KEYS) for key in content if key not in KEYS]
    if problems_:
        raise InputError(problems_)
    if content.get("problem") not in problems():
        raise InputError(
            unknown(f"figure {name}: problem", str(content.get("problem")), list(problems()))
        )
    axes = content.get("axes", {})
    curves = []
    for values in itertools.product(*axes.values()) if axes else ():
        label = ", ".join(LABELS.get(value, str(value)) for value in values)
        curves.append(Curve(label, dict(zip(axes, values, strict=True))))
    for entry in content.get("curve", []):
        fields = {key: v for key, v in entry.items() if key not in ("label", "published")}
        curves.append(Curve(entry["label"], fields, entry.get("published", {})))
    if not curves:
        raise InputError(f"figure {name}: no curves; expected [axes] or [[curve]]")
    labels = [curve.label for curve in curves]
    for entry in content.get("control", []):
        if (curve_of := str(entry.get("of"))) not in labels:
            raise InputError(
                unknown(f"figure {name}: control {entry['label']!r}: of", curve_of, labels)
            )
        variants = tuple(entry.get("variants", content.get("variants", VARIANTS)))
        other_keys = ("label", "published", "of", "variants")
        fields = {key: v for key, v in entry.items() if key not in other_keys}
        published_fields = entry.get("published", {})
        curves.append(Curve(entry["label"], fields, published_fields, curve_of, variants))
    other_keys = ("like", "axes", "curve", "control")
    rest = {key: v for key, v in content.items() if key not in other_keys}
    return Figure(name=name, curves=tuple(curves), **rest)


@cache
def problems() -> dict[str, Any]:
    """Return the problems, completed by those that they are like."""
    content = tomllib.loads((home() / "paper" / "problems.toml").read_text(encoding="utf-8"))
    for problem in content.values():
        if "like" in problem:
            base = content[problem.pop("like")]
            for table in ("scenario", *VARIANTS):
                problem[table] = _over(base.get(table, {}), problem.get(table, {}))
    return content


def _over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return one table updated by another, recursively."""
    merged = dict(lower)
    for key, value in upper.items():
        tables = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _over(merged[key], value) if tables else value
    return merged


@cache
def published() -> dict[str, dict[str, list[list[float]]]]:
    """Return the published curves by figure and label, read off the paper's vector graphics."""
    path = Path(__file__).parent / "published.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))
