"""This project against others: the same rule on the same values, one after the other.

    hgobench bench peers                                    # all rules, two shapes: some minutes
    hgobench bench peers --rule krum --shape 100x100000 --threads 2

Each rule and attack is called on identical float32 tensors by this project and by every peer that
is installed (``pip install 'hgobench[peers]'``; ``pip install --no-deps byzpy``), in turn, so that
a slow moment of the machine hits all of them: twice in a row, of which the second call counts. One
thread is measured in CPU time, more in wall time. A ratio is the fastest peer's median over ours.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hgobench import aggregators, attacks
from hgobench.errors import InputError
from hgobench.kernels import sorting_network
from hgobench.testing import view

from .turns import limited, timed

Call = Callable[[], object]
SECONDS = 4.0  # spent on a contender, unless it takes more in three calls
LARGEST = 2e9  # bytes that ByzFL's NNM may take; it has (n, n - f, d) of them


def alone(package: str, module: str) -> ModuleType | None:
    """Import a module without what its package's own __init__ imports; None: not installed.

    All of ByzFL needs torchvision, and takes seconds.
    """
    if package not in sys.modules:
        found = importlib.util.find_spec(package)
        if found is None:
            return None
        sys.modules[package] = importlib.util.module_from_spec(found)
    return importlib.import_module(f"{package}.{module}")


INSTALL = {
    "byzfl": "pip install 'hgobench[peers]'",
    "byzpy": "pip install --no-deps byzpy",
}


def missing() -> dict[str, str]:
    """Return the other libraries that can't be imported here, with how to install them."""
    return {name: how for name, how in INSTALL.items() if peer(name, "aggregators") is None}


@cache
def peer(package: str, module: str) -> ModuleType | None:
    """Import a module of another library; None if it is missing, or does not work here."""
    try:
        return alone(package, module)
    except ImportError:
        return None


def byzfl(name: str, *arguments: Any) -> Callable[[Any], Any] | None:
    """Return a rule of ByzFL, for a tensor or an array (m, d)."""
    module = peer("byzfl", "aggregators")
    return None if module is None else getattr(module, name)(*arguments)


def byzpy(path: str, method: str = "aggregate", **arguments: Any) -> Callable[[Any], Any] | None:
    """Return a rule of ByzPy, for a sequence of rows."""
    module, _, name = path.rpartition(".")
    found = peer("byzpy", module)
    if found is None:
        return None
    return getattr(getattr(found, name)(**arguments), method)  # type: ignore[no-any-return]


def chained(*steps: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    """Call one after the other; None if one is missing."""

    def call(values: Any) -> Any:
        for step in steps:
            values = step(values)  # type: ignore[misc]
        return values

    return None if None in steps else call


@dataclass(frozen=True)
class Contest:
    """A rule, and who else has it.

    Attributes:
        byzfl, byzpy: make a peer's rule for f Byzantine workers, or None.
        f_of: makes our f of the number of vectors; a fifth of them, if not said.
        cost: bytes that ByzFL takes for (m, d) values, where that is a question.
    """

    byzfl: Callable[[int], Callable[[Any], Any] | None] = lambda f: None
    byzpy: Callable[[int], Callable[[Any], Any] | None] = lambda f: None
    f_of: Callable[[int], int] = lambda m: m // 5
    cost: Callable[[int, int], float] = lambda m, d: 0.0


COORDINATE, GEOMETRIC = "aggregators.coordinate_wise.", "aggregators.geometric_wise."
KRUM = "aggregators.geometric_wise.krum.Krum"
NNM = "pre_aggregators.nnm.NearestNeighborMixing"


def _nnm(m: int, d: int) -> float:
    return 4.0 * m * (m - m // 5) * d


CONTESTS: dict[str, Contest] = {
    "average": Contest(lambda f: byzfl("Average")),
    "median": Contest(
        lambda f: byzfl("Median"), lambda f: byzpy(COORDINATE + "median.CoordinateWiseMedian")
    ),
    "trimmed_mean": Contest(
        lambda f: byzfl("TrMean", f),
        lambda f: byzpy(COORDINATE + "trimmed_mean.CoordinateWiseTrimmedMean", f=f),
    ),
    "meamed": Contest(
        lambda f: byzfl("Meamed", f),
        lambda f: byzpy(COORDINATE + "mean_of_medians.MeanOfMedians", f=f),
    ),
    "phocas": Contest(),
    "krum": Contest(lambda f: byzfl("Krum", f), lambda f: byzpy(KRUM, f=f)),
    "multi_krum": Contest(
        lambda f: byzfl("MultiKrum", f),
        lambda f: byzpy(GEOMETRIC + "krum.MultiKrum", f=f, q=2 * f),
    ),
    "bulyan": Contest(f_of=lambda m: (m - 3) // 4),
    "geometric_median": Contest(
        lambda f: byzfl("GeometricMedian"),
        lambda f: byzpy(GEOMETRIC + "geometric_median.GeometricMedian"),
    ),
    "nnm+krum": Contest(
        lambda f: chained(byzfl("NNM", f), byzfl("Krum", f)),
        lambda f: chained(byzpy(NNM, "pre_aggregate", f=f), byzpy(KRUM, f=f)),
        cost=_nnm,
    ),
    "nnm+trimmed_mean": Contest(
        lambda f: chained(byzfl("NNM", f), byzfl("TrMean", f)),
        lambda f: chained(
            byzpy(NNM, "pre_aggregate", f=f),
            byzpy(COORDINATE + "trimmed_mean.CoordinateWiseTrimmedMean", f=f),
        ),
        cost=_nnm,
    ),
    "monna": Contest(lambda f: byzfl("MoNNA", f), lambda f: byzpy(GEOMETRIC + "monna.MoNNA", f=f)),
    "caf": Contest(
        lambda f: byzfl("CAF", f), lambda f: byzpy("aggregators.norm_wise.caf.CAF", f=f)
    ),
}
OPTIMAL = ("optimal_alie", "optimal_foe")
NAMES = (*CONTESTS, *OPTIMAL)


@dataclass
class Row:
    """What was measured of one rule or attack at one shape.

    Attributes:
        milliseconds: median per contender, ours first.
        calls: of each.
    """

    name: str
    shape: tuple[int, int]
    milliseconds: dict[str, float]
    calls: dict[str, int] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """The fastest peer's time on tensors over ours; NaN if there is none."""
        peers = [t for who, t in self.milliseconds.items() if who in ("byzfl", "byzpy")]
        return min(peers) / self.milliseconds["hgobench"] if peers else float("nan")


def values_of(m: int, d: int, seed: int = 0) -> Tensor:
    """Return honest values, and a fifth that hide among them as ALIE's do, (m, d) float32."""
    x = np.random.default_rng(seed).standard_normal((m, d), dtype=np.float32)
    honest = x[: m - m // 5]
    x[m - m // 5 :] = honest.mean(axis=0) + 1.5 * honest.std(axis=0)
    return torch.from_numpy(x)


def contenders(name: str, m: int, d: int) -> dict[str, Call]:
    """Return what to call: ours, the peers', and torch's own mean beside the average."""
    if name in OPTIMAL:
        return _attackers(name, m, d)
    contest, values = CONTESTS[name], values_of(m, d)
    f = contest.f_of(m)
    rule = aggregators.build(name, f=f)
    calls: dict[str, Call] = {"hgobench": lambda: rule(values)}
    affordable = contest.cost(m, d) <= LARGEST
    if affordable and (theirs := contest.byzfl(f)) is not None:
        calls["byzfl"] = lambda: theirs(values)
        calls["byzfl (numpy)"] = lambda: theirs(values.numpy())
    if (other := contest.byzpy(f)) is not None:
        calls["byzpy"] = lambda: other(list(values))
    if name == "average":
        calls["torch.mean"] = lambda: values.mean(dim=0)
    return calls


def _attackers(name: str, m: int, d: int) -> dict[str, Call]:
    """An attack that is tried on the trimmed mean, f = m // 5 among m."""
    f = m // 5
    seen = view(honest=m - f, byzantine=f, dimension=d, rule=aggregators.build("trimmed_mean", f=f))
    attack = attacks.build(name)
    calls: dict[str, Call] = {"hgobench": lambda: attack(seen)}
    module, rule = peer("byzfl", "attacks"), byzfl("TrMean", f)
    if module is not None and rule is not None:
        theirs = {
            "optimal_alie": "Optimal_ALittleIsEnough",
            "optimal_foe": "Optimal_InnerProductManipulation",
        }[name]
        made, honest = getattr(module, theirs)(rule, [], f), seen.require_honest()
        calls["byzfl"] = lambda: made(honest)
    return calls


def measure(name: str, shape: tuple[int, int], *, threads: int, seconds: float = SECONDS) -> Row:
    """Time the contenders of one rule in turn: CPU time of one thread, wall time of more."""
    m, d = shape
    with limited(threads):
        for rows in {m, m - 2 * ((m - 3) // 4)}:
            sorting_network.prepare(rows)
        taken = timed(contenders(name, m, d), threads=threads, seconds=seconds)
    medians = {who: 1e3 * float(np.median(t)) for who, t in taken.items()}
    return Row(name, shape, medians, {who: len(t) for who, t in taken.items()})


def contest(
    names: Sequence[str], shapes: Sequence[tuple[int, int]], *, threads: int = 1
) -> Iterator[Row]:
    """Measure each rule at each shape."""
    for shape in shapes:
        for name in names:
            yield measure(name, shape, threads=threads)


def parsed(text: str) -> tuple[int, int]:
    """Read a shape such as 80x7850."""
    n, _, d = text.partition("x")
    if not (n.isdecimal() and d.isdecimal() and int(n) >= 10 and int(d) >= 1):
        raise InputError(f"--shape: {text!r}; expected vectors x coordinates, as 80x7850, n >= 10")
    return int(n), int(d)


HEADERS = ["rule or attack", "n x d", "hgobench", "byzfl", "byzfl (numpy)", "byzpy", "ratio"]


def cells(row: Row) -> list[object]:
    """Return what stands in a row of the table under `HEADERS`: milliseconds, and the ratio."""
    times = [row.milliseconds.get(who) for who in HEADERS[2:-1]]
    ratio = None if np.isnan(row.ratio) else row.ratio
    return [row.name, f"{row.shape[0]} x {row.shape[1]:,}", *times, ratio]
