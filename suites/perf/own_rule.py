"""The speed of a rule of one's own, as a ratio to a yardstick, which another machine shares.

    hgobench bench rule mine:MyRule --save main.json
    hgobench bench rule mine:MyRule --against main.json --allow 1.2

Both rules are called in turn on identical float32 tensors. What is compared is the ratio of their
medians: a slower machine, or a busy one, slows both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hgobench import __version__, aggregators
from hgobench.errors import InputError, unknown
from hgobench.kernels import sorting_network

from .peers import values_of
from .turns import limited, timed

SHAPES = ("80x7850", "80x23860")
SECONDS = 1.0  # spent on each rule at each shape, unless seven timings take more
LEAST, SHORTEST = 7, 0.005  # timings of each, and the seconds that one lasts
HEADERS = ["rule", "n x d", "ms", "yardstick", "yardstick's ms", "ratio", "saved ratio", "growth"]
KEYS = ("hgobench", "rule", "yardstick", "ratios")


@dataclass(frozen=True)
class Row:
    """What was measured at one shape (n, d).

    Attributes:
        milliseconds, yardstick: medians per call, of the rule and of the yardstick.
        saved: the ratio that an earlier measurement saved; None: none is compared with.
    """

    shape: tuple[int, int]
    milliseconds: float
    yardstick: float
    saved: float | None = None

    @property
    def label(self) -> str:
        """The shape as --shape takes it."""
        return f"{self.shape[0]}x{self.shape[1]}"

    @property
    def ratio(self) -> float:
        """How many times the yardstick's time the rule takes."""
        return self.milliseconds / self.yardstick

    @property
    def growth(self) -> float | None:
        """The ratio over the saved one."""
        return None if self.saved is None else self.ratio / self.saved


def measure(
    rule: str,
    yardstick: str,
    shape: tuple[int, int],
    saved: float | None = None,
    *,
    seconds: float = SECONDS,
) -> Row:
    """Time a rule beside the yardstick, each told of a fifth of the vectors as Byzantine.

    Raises:
        InputError: one of them can't be made, or raises on such vectors.
    """
    m, d = shape
    values = values_of(m, d)
    made = {name: aggregators.build(name, f=m // 5) for name in dict.fromkeys((rule, yardstick))}
    with limited(1):
        sorting_network.prepare(m)
        for name, built in made.items():
            try:
                built(values)
            except Exception as error:
                raise InputError(
                    f"rule: {name!r}: on {m} x {d} values: {type(error).__name__}: {error}"
                ) from error
        calls = {
            "rule": lambda: made[rule](values),
            "yardstick": lambda: made[yardstick](values),
        }
        taken = timed(calls, threads=1, seconds=seconds, least=LEAST, shortest=SHORTEST)
    medians = {who: 1e3 * float(np.median(times)) for who, times in taken.items()}
    return Row(shape, medians["rule"], medians["yardstick"], saved)


def compared(
    rule: str, yardstick: str, shape: tuple[int, int], saved: float | None, allowed: float
) -> Row:
    """Measure; what seems slower than allowed is measured again, and the better one counts."""
    row = measure(rule, yardstick, shape, saved)
    if row.growth is not None and row.growth > allowed:
        again = measure(rule, yardstick, shape, saved)
        return min(row, again, key=lambda one: one.ratio)
    return row


def save(path: Path, rule: str, yardstick: str, rows: Sequence[Row]) -> None:
    """Write the ratios to a file, for a later `saved`.

    Raises:
        InputError: the file can't be written.
    """
    content = {
        "hgobench": __version__,
        "rule": rule,
        "yardstick": yardstick,
        "ratios": {row.label: round(row.ratio, 4) for row in rows},
    }
    try:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--save: {str(path)!r}: {error.strerror}") from error


def saved(
    path: Path, rule: str, yardstick: str, shapes: Sequence[tuple[int, int]]
) -> Mapping[str, float]:
    """Read the ratios that a file holds, by shape: ``{"80x7850": 1.31}``.

    Raises:
        InputError: there is no such file, it is none of `save`'s, it is another rule's or was
            measured beside another yardstick, or it lacks one of the shapes.
    """
    about = f"--against: {str(path)!r}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{about}: {error.strerror}; write it with --save {path}, where the rule is as fast "
            "as it should be"
        ) from error
    except ValueError as error:
        raise InputError(f"{about}: not JSON: {error}") from error
    if not isinstance(content, dict) or any(key not in content for key in KEYS):
        raise InputError(f"{about}: expected what --save writes: {', '.join(KEYS)}")
    if content["rule"] != rule:
        raise InputError(f"{about}: measured of {content['rule']!r}; expected {rule!r}")
    if content["yardstick"] != yardstick:
        raise InputError(
            f"{about}: measured beside {content['yardstick']!r}; expected {yardstick!r}: "
            f"use --yardstick {content['yardstick']}"
        )
    ratios = content["ratios"]
    sound = isinstance(ratios, dict) and all(
        isinstance(ratio, int | float) and not isinstance(ratio, bool) and 0 < ratio < np.inf
        for ratio in ratios.values()
    )
    if not sound:
        raise InputError(f"{about}: ratios: {ratios!r}; expected finite numbers > 0")
    if missing := [f"{m}x{d}" for m, d in shapes if f"{m}x{d}" not in ratios]:
        raise InputError(f"{about}: {unknown('shape', name, list(ratios))}" for name in missing)
    return {name: float(ratio) for name, ratio in ratios.items()}


def cells(rule: str, yardstick: str, row: Row) -> list[object]:
    """Return what stands in a row of the table under `HEADERS`."""
    times = [row.milliseconds, yardstick, row.yardstick, row.ratio, row.saved, row.growth]
    return [rule, f"{row.shape[0]} x {row.shape[1]:,}", *times]
