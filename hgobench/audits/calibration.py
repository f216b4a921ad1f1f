"""How fast this machine computes gradients, which relates simulated time units to seconds."""

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
from hgobench.models.factory import image_of
from hgobench.models.linear import OneScore, Softmax
from hgobench.scenario import Scenario
from hgobench.timing import cpu_times

from .base import Work
from .cost import machine

RUNS = 15
BLOCK = 0.1  # of the coordinates
CATEGORIES = ("weak", "average", "powerful")
SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
WIDTH = 80  # columns of a terminal


@dataclass(frozen=True)
class Calibration:
    """The measured speed of one thread, in CPU time.

    Attributes:
        model, data: whose gradient was computed.
        dimension: d.
        batch_size: s.
        seconds: of a minibatch's whole gradient, one per run.
        block: the time of `BLOCK` of its coordinates, drawn at random, over that of all of them.
        partial: whether the model can compute some coordinates only; if not, `block` is 1.
        processor: its name.
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
        """λ = s·d/seconds, (runs,): coordinates of one example's gradient per second."""
        rates: NDArray[np.float64] = self.batch_size * self.dimension / np.array(self.seconds)
        return rates

    @property
    def rate(self) -> float:
        """The median λ."""
        return float(np.median(self.rates))

    @property
    def spread(self) -> float:
        """The standard deviation of λ over runs."""
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
        """Return the measurement as data for JSON."""
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
        """Return the measurement as text for a terminal of 80 columns."""
        rates = self.rates
        block_note = (
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
        paragraphs = [
            fill(
                f"λ = {self.rate:.4g} coordinates of one example's gradient per CPU second "
                f"({rates.min():.4g} to {rates.max():.4g} in {len(rates)} runs, standard deviation "
                f"{self.spread:.2g}).",
                WIDTH,
            ),
            fill(
                f"{self.model} on {self.data}, d = {self.dimension}, s = {self.batch_size}, one "
                f"thread of {self.processor}: a minibatch's gradient takes "
                f"{np.median(self.seconds) * 1e3:.4g} ms. {block_note}",
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
        return "\n\n".join(paragraphs)


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
        InputError: there is no such model or data set, or they don't fit together.
    """
    names = Scenario(model=model, data=data)
    dataset = datasets.load(names.data)
    told = dataset.shape | {"image": image_of(dataset.train)}
    built: Model = models.registry.build(names.model, **told)
    if batch_size > len(dataset.train):
        raise InputError(
            f"--batch-size: {batch_size}; {names.data!r} has {len(dataset.train)} training examples"
        )
    x = torch.from_numpy(dataset.train.features[:batch_size])[None]
    y = torch.from_numpy(dataset.train.labels[:batch_size])[None]
    params = built.initial(stream(0, "initial"))[None]
    memory: list[Tensor | None] = [None]

    def gradient() -> None:
        memory[0] = built.gradients(params, x, y, None, memory[0])

    seconds = cpu_times(gradient, runs, clock)
    d = built.dimension
    places = stream(0, "calibrate").permutation(d)[: max(int(BLOCK * d), 1)]
    block_gradient = block(built, params, x[0], y[0], places)
    relative = 1.0
    if block_gradient is not None:
        relative = float(np.median(cpu_times(block_gradient, runs, clock)) / np.median(seconds))
    return Calibration(
        names.model, names.data, d, batch_size, tuple(seconds), relative,
        block_gradient is not None,
        machine(),
    )  # fmt: skip


def block(
    model: Model, params: Tensor, x: Tensor, y: Tensor, places: NDArray[np.int64]
) -> Callable[[], Tensor] | None:
    """Return a function for some coordinates of a linear model's minibatch gradient, (b,).

    It needs every example's scores, and then one inner product over the minibatch for each
    coordinate.

    Args:
        model: the model; None is returned if it can't compute some coordinates only.
        params: (1, d).
        x, y: (s, p) and (s,), the minibatch.
        places: (b,) the coordinates.
    """
    columns = torch.cat((x.T, torch.ones(1, len(x)))).contiguous()
    index = torch.from_numpy(places)
    if isinstance(model, Softmax):
        output, feature = (torch.from_numpy(half) for half in np.divmod(places, model.inputs))

        def of_classes() -> Tensor:
            error = residual(model.probabilities(model.logits(params, x), 1), y)[0] / len(x)
            values = (error[output] * columns[feature]).sum(dim=1)
            return values + model.ridge * params[0, index] if model.ridge else values

        return of_classes
    if isinstance(model, OneScore):

        def of_one_score() -> Tensor:
            error = model.slope(model.scores(params, x), y)[0] / len(x)
            values = columns[index] @ error
            return values + model.ridge * params[0, index] if model.ridge else values

        return of_one_score
    return None


def time_unit(text: str | None, settings: Mapping[str, Any], work: Work) -> float | None:
    """Return the seconds of a time unit that a user states; None: they did not.

    Args:
        text: a number; or ``calibrate``, ``calibrate[weak]``: as if this machine were an average
            (weak, powerful) device; None: not stated.
        settings: fields of a scenario, whose data, model and batch size are measured.
        work: keeps the measurement, so that the same command continues with the same unit.

    Raises:
        InputError: the text is none of these.
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
    """Return a time that a user states, in time units.

    >>> time_units("--budget", "2min", 0.5)
    240.0

    Args:
        option: its name in messages.
        text: a number of time units; or a number followed by ms, s, min or h.
        unit: the seconds of a time unit; None: unknown.

    Raises:
        InputError: the text is no time, or it is in seconds and the unit is unknown.
    """
    match = re.fullmatch(r"(.*?)\s*(ms|s|min|h)?", text.strip())
    value = number(match[1]) if match else None
    if match is None or value is None:
        raise InputError(
            f"{option}: {text!r}; expected a finite number of time units > 0, or of seconds, as "
            "60s, 5min, 2h, with --time-unit"
        )
    if not match[2]:
        return value
    if unit is None:
        raise InputError(
            f"{option}: {text!r}; how long a time unit lasts is not known: add --time-unit SECONDS "
            "(hgobench calibrate measures this machine's), or give time units"
        )
    return value * SECONDS[match[2]] / unit


def number(text: str) -> float | None:
    """Read a finite number > 0; None: the text is no such number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None
