"""How fast this machine computes gradients: what ties simulated time units to seconds."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from hgobench import models
from hgobench.data import datasets
from hgobench.determinism import stream
from hgobench.engines.measured import Task
from hgobench.errors import InputError
from hgobench.hardware import Mix
from hgobench.hardware.fleet import REFERENCE_DIMENSION
from hgobench.lazy import Tensor, torch
from hgobench.models.base import Model, residual
from hgobench.models.linear import OneScore, Softmax
from hgobench.scenario import Scenario

from .base import Work
from .cost import cpu_times, machine

RUNS = 15
BLOCK = 0.1  # of the coordinates
CATEGORIES = ("weak", "average", "powerful")
SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
WIDTH = 80  # columns of a terminal


@dataclass(frozen=True)
class Calibration:
    """What was measured, on one thread, in CPU time.

    Attributes:
        model, data: of which gradient.
        dimension: d.
        batch_size: s.
        seconds: of a minibatch's whole gradient, one per run.
        block: how long `BLOCK` of its coordinates, drawn, take in relation to all of them.
        partial: whether the model can compute less than the whole; if not, `block` is 1.
        processor: which.
    """

    model: str
    data: str
    dimension: int
    batch_size: int
    seconds: tuple[float, ...]
    block: float
    partial: bool
    processor: str

    @property
    def rates(self) -> NDArray[np.float64]:
        """Return λ = s·d/seconds, (runs,): coordinates of one example's gradient per second."""
        rates: NDArray[np.float64] = self.batch_size * self.dimension / np.array(self.seconds)
        return rates

    @property
    def rate(self) -> float:
        """Return the median λ."""
        return float(np.median(self.rates))

    @property
    def spread(self) -> float:
        """Return the standard deviation of λ over runs."""
        return float(self.rates.std(ddof=1))

    def unit(self, category: str) -> float:
        """Return the seconds of a time unit if this machine is the mean of a category of `Mix`."""
        means = dict(zip(CATEGORIES, Mix().means, strict=True))
        return means[category] * self.dimension / REFERENCE_DIMENSION / self.rate

    def csv(self, unit: float) -> str:
        """Return lines of a file for `Devices`, in which a time unit lasts `unit` seconds."""
        rates = f"{self.rate * unit:.6g},{self.spread * unit:.6g}"
        return f"class,count,rate_mean,rate_std\nthis,1,{rates}"

    def as_data(self, unit: float) -> dict[str, Any]:
        """Return all of it as JSON knows it."""
        return {
            "model": self.model,
            "data": self.data,
            "dimension": self.dimension,
            "batch_size": self.batch_size,
            "processor": self.processor,
            "threads": 1,
            "coordinates_per_second": {
                "median": self.rate,
                "low": float(self.rates.min()),
                "high": float(self.rates.max()),
                "std": self.spread,
                "runs": len(self.seconds),
            },
            "gradient_seconds": float(np.median(self.seconds)),
            "block": {"share": BLOCK, "relative_time": self.block, "partial": self.partial},
            "time_unit_seconds": {name: self.unit(name) for name in CATEGORIES},
            "devices_csv": {"time_unit_seconds": unit, "lines": self.csv(unit)},
        }

    def text(self, unit: float) -> str:
        """Return all of it for a terminal of 80 columns."""
        rates = self.rates
        less = (
            f"A block of {BLOCK:.0%} of the coordinates takes {self.block:.0%} of that. The "
            "simulated clock charges a block in proportion to its size."
            if self.partial else
            "A block of some coordinates takes as long: this model computes the whole gradient. "
            "The simulated clock charges a block in proportion to its size."
        )  # fmt: skip
        scale = self.dimension / REFERENCE_DIMENSION
        rows = [
            [f"{name} device", f"{mean * scale:.4g}", f"{self.unit(name):.4g} s"]
            for name, mean in zip(CATEGORIES, Mix().means, strict=True)
        ]
        parts = [
            fill(
                f"λ = {self.rate:.4g} coordinates of one example's gradient per CPU second "
                f"({rates.min():.4g} to {rates.max():.4g} in {len(rates)} runs, standard deviation "
                f"{self.spread:.2g}).",
                WIDTH,
            ),
            fill(
                f"{self.model} on {self.data}, d = {self.dimension}, s = {self.batch_size}, one "
                f"thread of {self.processor}: a minibatch's gradient takes "
                f"{np.median(self.seconds) * 1e3:.4g} ms. {less}",
                WIDTH,
            ),
            tabulate(
                rows,
                ["if this machine is a", "λ per time unit", "a time unit (τ = 1) is"],
                disable_numparse=True,
                colalign=("left", "right", "right"),
            ),
            f"For hgobench plan --time-unit {self.unit('average'):.4g} (an average device).",
            f"As a line of hardware=devices[path=..] with a time unit of {unit:g} s:\n\n"
            + self.csv(unit),
        ]
        return "\n\n".join(parts)


def calibrate(
    model: str,
    data: str,
    batch_size: int,
    runs: int = RUNS,
    clock: Callable[[], float] = time.process_time,
) -> Calibration:
    """Measure how fast this machine computes a minibatch's gradient, on one thread.

    Args:
        model, data: by name.
        batch_size: s.
        runs: measurements, each long enough for the clock.
        clock: seconds.

    Raises:
        InputError: no such model or data, or they don't fit.
    """
    named = Scenario(model=model, data=data)
    found = datasets.load(named.data)
    built: Model = models.registry.build(
        named.model, features=found.features, classes=found.classes
    )
    if batch_size > len(found.train):
        raise InputError(
            f"--batch-size: {batch_size}; {named.data!r} has {len(found.train)} training examples"
        )
    x = torch.from_numpy(found.train.features[:batch_size])[None]
    y = torch.from_numpy(found.train.labels[:batch_size])[None]
    params = built.initial(stream(0, "initial"))[None]
    memory: list[Tensor | None] = [None]

    def whole() -> None:
        memory[0] = built.gradients(params, x, y, None, memory[0])

    seconds = cpu_times(whole, runs, clock)
    d = built.dimension
    places = stream(0, "calibrate").permutation(d)[: max(int(BLOCK * d), 1)]
    some = block(built, params, x[0], y[0], places)
    relative = 1.0
    if some is not None:
        relative = float(np.median(cpu_times(some, runs, clock)) / np.median(seconds))
    return Calibration(
        named.model, named.data, d, batch_size, tuple(seconds), relative, some is not None,
        machine(),
    )  # fmt: skip


def block(
    model: Model, params: Tensor, x: Tensor, y: Tensor, places: NDArray[np.int64]
) -> Callable[[], Tensor] | None:
    """Return what computes some coordinates of a linear model's minibatch gradient, (b,).

    It needs every example's scores, and then one inner product over the minibatch for each
    coordinate.

    Args:
        model: whose; None is returned if it can't compute less than the whole.
        params: (1, d).
        x, y: (s, p), (s,) the minibatch.
        places: (b,) which coordinates.
    """
    columns = torch.cat((x.T, torch.ones(1, len(x)))).contiguous()
    chosen = torch.from_numpy(places)
    if isinstance(model, Softmax):
        output, feature = (torch.from_numpy(part) for part in np.divmod(places, model.inputs))

        def of_classes() -> Tensor:
            error = residual(model.probabilities(model.logits(params, x), 1), y)[0] / len(x)
            sent = (error[output] * columns[feature]).sum(dim=1)
            return sent + model.ridge * params[0, chosen] if model.ridge else sent

        return of_classes
    if isinstance(model, OneScore):

        def of_one_score() -> Tensor:
            error = model.slope(model.scores(params, x), y)[0] / len(x)
            sent = columns[chosen] @ error
            return sent + model.ridge * params[0, chosen] if model.ridge else sent

        return of_one_score
    return None


def time_unit(text: str | None, settings: Mapping[str, Any], work: Work) -> float | None:
    """Return the seconds of a time unit that a user names; None: nobody did.

    Args:
        text: a number; or ``calibrate``, ``calibrate[weak]``: what it is if this machine is an
            average (weak, powerful) device.
        settings: fields of a scenario: data, model and batch size are measured.
        work: keeps what is measured, so that the same command goes on with the same unit.

    Raises:
        InputError: it is neither.
    """
    if text is None:
        return None
    match = re.fullmatch(r"calibrate(?:\[(\w+)\])?", text.strip())
    category = (match[1] or "average") if match else ""
    if category in CATEGORIES:
        fields = {
            name: settings.get(name, getattr(Scenario, name))
            for name in ("model", "data", "batch_size")
        }
        (unit,) = work.measure([Task(measured_unit, {
            **fields, "category": category, "machine": machine(),
        }, [fields])], jobs=1)  # fmt: skip
        article = "an" if category == "average" else "a"
        work.say(f"a time unit lasts {unit:.4g} s: this machine is {article} {category} device")
        return float(unit)
    seconds = number(text)
    if seconds is None:
        raise InputError(
            f"--time-unit: {text!r}; expected a number of seconds > 0, or calibrate, "
            f"calibrate[weak], calibrate[powerful]"
        )
    return seconds


def measured_unit(model: str, data: str, batch_size: int, category: str, machine: str) -> float:
    """Measure the seconds of a time unit on this machine (see `Calibration.unit`)."""
    return calibrate(model, data, batch_size).unit(category)


def time_units(option: str, text: str, unit: float | None) -> float:
    """Return a time that a user gives, in time units.

    >>> time_units("--budget", "2min", 0.5)
    240.0

    Args:
        option: what messages call it.
        text: a number of time units; or with ms, s, min, h behind it.
        unit: the seconds of a time unit; None: nobody knows.

    Raises:
        InputError: it is no time, or in seconds and nobody knows the unit.
    """
    match = re.fullmatch(r"(.*?)\s*(ms|s|min|h)?", text.strip())
    found = number(match[1]) if match else None
    if match is None or found is None:
        raise InputError(
            f"{option}: {text!r}; expected a finite number of time units > 0, or of seconds, as "
            "60s, 5min, 2h, with --time-unit"
        )
    if not match[2]:
        return found
    if unit is None:
        raise InputError(
            f"{option}: {text!r}; how long a time unit lasts is not known: add --time-unit SECONDS "
            "(hgobench calibrate measures this machine's), or give time units"
        )
    return found * SECONDS[match[2]] / unit


def number(text: str) -> float | None:
    """Read a finite number > 0; None: it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None
