"""Proposition 1: what a round costs the server and a worker, over q, b, d and τ."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench import aggregators, hardware
from hgobench.determinism import stream
from hgobench.engines.measured import Task
from hgobench.errors import InputError
from hgobench.hardware import Population
from hgobench.lazy import torch
from hgobench.report.page import Chart, Finding, Line, Page, Table, study
from hgobench.timing import REPEATS, cpu_seconds

from .base import Options, Work, reject_unused_options

Floats = NDArray[np.float64]

SAMPLED = (10, 20, 40, 80, 160, 320)
BLOCKS = (1_000, 3_000, 10_000, 30_000, 100_000)
ORDERS = ("random", "sorted", "reversed", "equal", "organ pipe")
DEADLINES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
CLASSES, BATCH = 10, 32
DIMENSIONS = (1_000, 3_000, 10_000, 30_000, 100_000)
SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
SORTING = ("trimmed_mean", "median", "meamed", "phocas")
RULE = "trimmed_mean"
MIDDLE, LARGE = 3_000, 30_000  # coordinates, where the order of the values and the share are varied


def server(rule: str, q: int, b: int, order: str) -> float:
    """Return the seconds that a rule takes for q values of each of b coordinates."""
    values = stream(0, "cost", q, b).standard_normal((q, b), dtype=np.float32)
    if order != "random":
        values.sort(axis=0)
    if order == "reversed":
        values = values[::-1].copy()
    elif order == "equal":
        values[:] = 1.0
    elif order == "organ pipe":
        values = np.concatenate((values[::2], values[1::2][::-1]))
    aggregate, tensor = aggregators.build(rule, f=q // 10), torch.from_numpy(values)
    return cpu_seconds(lambda: aggregate(tensor))


@dataclass(frozen=True)
class Round:
    """A measured round with devices of profile ``standard`` and a deadline.

    Attributes:
        block: number of coordinates that are aggregated.
        expected: τ·λ̄/s, at most d: the block of a device of the mean rate.
        seconds: CPU time of the server.
    """

    block: float
    expected: float
    seconds: float


def by_deadline(rule: str, deadline: float, q: int, dimension: int) -> Round:
    """Measure a round of q answers with devices of profile ``standard``."""
    labels = np.ones((q, CLASSES), dtype=np.int64)
    population = Population(q, dimension, 0, labels)
    rates = hardware.registry.build("standard").fleet(population).rates
    lengths = np.minimum(deadline * rates / BATCH, dimension).astype(np.int64)
    f = q // 10
    quorum = 2 * f + 1
    block = int(np.sort(lengths)[-quorum])
    values = torch.from_numpy(
        stream(0, "cost", q, dimension).standard_normal((q, block), dtype=np.float32)
    )
    present = torch.arange(block) < torch.from_numpy(lengths)[:, None]
    aggregate = aggregators.build(rule, f=f)
    if aggregate.has_columns():
        aggregate = aggregators.build(rule, f=f, scope="coordinate")
    expected = min(deadline * float(rates.mean()) / BATCH, dimension)
    return Round(float(block), expected, cpu_seconds(lambda: aggregate(values, present)))


def worker(dimension: int, share: float) -> float:
    """Return the seconds that a worker takes for a share of a minibatch's softmax gradient.

    It needs all scores first (a forward pass over all coordinates), then one inner product over the
    minibatch for each coordinate of its block.
    """
    inputs = dimension // CLASSES
    rng = stream(0, "cost", dimension)
    x = torch.from_numpy(rng.standard_normal((BATCH, inputs), dtype=np.float32))
    weights = torch.from_numpy(0.01 * rng.standard_normal((CLASSES, inputs), dtype=np.float32))
    targets = torch.eye(CLASSES)[torch.from_numpy(rng.integers(CLASSES, size=BATCH))]
    places = rng.permutation(CLASSES * inputs)[: max(int(share * CLASSES * inputs), 1)]
    output, feature = (torch.from_numpy(index) for index in np.divmod(places, inputs))
    columns = x.T.contiguous()

    def gradient() -> torch.Tensor:
        error = ((x @ weights.T).softmax(dim=1) - targets).T.contiguous() / BATCH
        return (error[output] * columns[feature]).sum(dim=1)

    return cpu_seconds(gradient)


def timed(role: str, machine: str, arguments: Mapping[str, Any]) -> Any:
    """Measure `server`, `by_deadline` or `worker`; return data for JSON.

    Args:
        role: the name of the function.
        machine: part of the measurement's address, as times depend on it.
        arguments: the function's.
    """
    functions: dict[str, Callable[..., Any]] = {
        "server": server, "by_deadline": by_deadline, "worker": worker,
    }  # fmt: skip
    value = functions[role](**arguments)
    return asdict(value) if isinstance(value, Round) else value


@dataclass(frozen=True)
class Slope:
    """The exponent of a power law, fitted on logarithms, and its standard error."""

    value: float
    error: float


def exponent(x: Sequence[float], y: Sequence[float]) -> Slope:
    """Return the slope of log y over log x; 0 for a single point.

    >>> exponent([1.0, 2.0, 4.0], [3.0, 12.0, 48.0]).value
    2.0
    """
    from scipy.stats import linregress

    if len(x) < 2:
        return Slope(0.0, 0.0)
    fit = linregress(np.log(x), np.log(y))
    return Slope(float(fit.slope), float(fit.stderr))


@dataclass(frozen=True)
class Fit:
    """seconds = call + b·(constant + slope·q·log₂ q), and the largest relative error of it."""

    call: float
    constant: float
    slope: float
    worst: float

    def seconds(self, q: float, b: float) -> float:
        """Return the fitted seconds for q values of each of b coordinates."""
        return float(self.call + b * (self.constant + self.slope * q * np.log2(q)))


def fitted(q: Floats, b: Floats, seconds: Floats) -> Fit:
    """Fit times of q values of each of b coordinates, by least squares of relative errors, >= 0."""
    from scipy.optimize import nnls

    design = np.stack((np.ones(len(b)), b, b * q * np.log2(q)), axis=1) / seconds[:, None]
    coefficients, _ = nnls(design, np.ones(len(seconds)))
    call, constant, slope = map(float, coefficients)
    return Fit(call, constant, slope, float(np.abs(design @ coefficients - 1.0).max()))


def machine() -> str:
    """Return what times depend on: the processor and the version of torch."""
    model = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(
            (line.partition(": ")[2] for line in lines if line.startswith("model name")), model
        )
    return f"{model}, torch {torch.__version__}"


def check(options: Options) -> None:
    """Raise InputError for options that this audit does not use."""
    reject_unused_options(options, *options.settings, rules=1, seeds=False)
    for q in SAMPLED:
        rule = aggregators.build(options.rules[0] if options.rules else RULE, f=q // 10)
        if not rule.minimum <= q <= rule.maximum or rule.needs:
            raise InputError(f"rule: {rule.name} can't aggregate {q} values at f={q // 10}")


@dataclass(frozen=True)
class Costs:
    """The costs of server and workers in a round, in CPU seconds on one thread.

    Attributes:
        rule: the server's.
        machine: where they were measured.
        servers: (q, b, order of the values) to the server's seconds.
        rounds: deadline to a round of q = 80, d = 7,850.
        workers: (d, share of the coordinates) to the worker's seconds.
    """

    rule: str
    machine: str
    servers: Mapping[tuple[int, int, str], float]
    rounds: Mapping[float, Round]
    workers: Mapping[tuple[int, float], float]

    def server(self, q: int, b: int, order: str = "random") -> float:
        """Return the server's seconds for q values of each of b coordinates."""
        return self.servers[q, b, order]

    @property
    def whole_gradients(self) -> list[float]:
        """A worker's seconds for a whole gradient, over d."""
        return [self.workers[d, 1.0] for d in DIMENSIONS]

    @property
    def shares(self) -> list[float]:
        """A worker's seconds for some coordinates of the gradient, over their share."""
        return [self.workers[LARGE, share] for share in SHARES]


def measured(rule: str, work: Work) -> Costs:
    """Measure server and workers, one call at a time, as other processes would disturb it."""
    machine_name = machine()
    servers = list(
        dict.fromkeys(
            [
                *((q, b, "random") for q in SAMPLED for b in BLOCKS),
                *((SAMPLED[-1], MIDDLE, order) for order in ORDERS),
                *((q, MIDDLE, "organ pipe") for q in SAMPLED),
            ]
        )
    )
    workers = list(
        dict.fromkeys([*((d, 1.0) for d in DIMENSIONS), *((LARGE, share) for share in SHARES)])
    )

    def task(role: str, fields: Sequence[Mapping[str, Any]], **arguments: Any) -> Task:
        return Task(timed, {"role": role, "machine": machine_name, "arguments": arguments}, fields)

    fields = [{"rule": rule}]
    values = iter(
        work.measure(
            [
                *(task("server", fields, rule=rule, q=q, b=b, order=o) for q, b, o in servers),
                *(
                    task("by_deadline", fields, rule=rule, deadline=t, q=80, dimension=7_850)
                    for t in DEADLINES
                ),
                *(task("worker", (), dimension=d, share=share) for d, share in workers),
            ],
            jobs=1,
        )
    )
    return Costs(
        rule,
        machine_name,
        {place: float(next(values)) for place in servers},
        {deadline: Round(**next(values)) for deadline in DEADLINES},
        {place: float(next(values)) for place in workers},
    )


@dataclass(frozen=True)
class Laws:
    """The fitted laws.

    Attributes:
        fit: the server's time in q and b.
        in_q, in_b: its exponents.
        on_organ_pipes: its exponent in q on organ-pipe columns.
        in_deadline: its exponent in τ below saturation.
        in_dimension, in_share: a worker's exponents in d and in the share of the coordinates.
    """

    fit: Fit
    in_q: Slope
    in_b: Slope
    on_organ_pipes: Slope
    in_deadline: Slope
    in_dimension: Slope
    in_share: Slope


def laws(costs: Costs) -> Laws:
    """Fit the laws of Proposition 1."""
    pairs = [(q, b) for q in SAMPLED for b in BLOCKS]
    q, b = (np.array(values, dtype=float) for values in zip(*pairs, strict=True))
    below = [t for t in DEADLINES if costs.rounds[t].block < 7_850]
    return Laws(
        fitted(q, b, np.array([costs.server(*pair) for pair in pairs])),
        exponent(SAMPLED, [costs.server(q, BLOCKS[-1]) for q in SAMPLED]),
        exponent(BLOCKS, [costs.server(80, b) for b in BLOCKS]),
        exponent(SAMPLED, [costs.server(q, MIDDLE, "organ pipe") for q in SAMPLED]),
        exponent(below, [costs.rounds[t].seconds for t in below]),
        exponent(DIMENSIONS, costs.whole_gradients),
        exponent(SHARES, costs.shares),
    )


def run(options: Options, work: Work) -> Page:
    """Measure and fit, and return the page."""
    check(options)
    costs = measured(options.rules[0] if options.rules else RULE, work)
    fitted_laws = laws(costs)
    return study(
        "cost",
        "Proposition 1: the time of a round",
        [
            f"CPU time on one thread of {costs.machine}, medians of {REPEATS}. "
            f"The server applies {costs.rule} to q values of each of b coordinates, the tenth part "
            "of them tolerated; a worker computes a part "
            "of the gradient of softmax regression (10 classes, s = 32). Proposition 1 says "
            "O(b·(C_pd + q·log q)) on average, Ω(d·(q² + C_pd)) at worst.",
        ],
        options.command("audit cost"),
        _findings(costs, fitted_laws),
        _charts(costs, fitted_laws.fit),
        [_exponents(fitted_laws)],
    )


def _findings(costs: Costs, fits: Laws) -> list[Finding]:
    fit = fits.fit
    per_value = [costs.server(q, BLOCKS[-1]) / (q * BLOCKS[-1]) * 1e9 for q in SAMPLED]
    in_theory = exponent(SAMPLED, [q * np.log2(q) for q in SAMPLED])
    slowest = max(ORDERS, key=lambda order: costs.server(SAMPLED[-1], MIDDLE, order))
    penalty = costs.server(SAMPLED[-1], MIDDLE, slowest) / costs.server(SAMPLED[-1], MIDDLE)
    ratios = [costs.rounds[t].block / costs.rounds[t].expected for t in DEADLINES]
    networks = "; columns of up to some 100 values go through compiled sorting networks"
    return [
        Finding(
            "the server's time is c0 + b·(c1 + c2·q·log q), to 50 %",
            fit.worst < 0.5,
            f"c0 = {fit.call * 1e6:.3g} µs, c1 = {fit.constant * 1e9:.3g} ns, "
            f"c2 = {fit.slope * 1e9:.3g} ns; "
            f"the worst of {len(SAMPLED) * len(BLOCKS)} measurements is {fit.worst:.0%} off; "
            f"exponents {fits.in_q.value:.2f} in q "
            f"(q·log q: {in_theory.value:.2f}), {fits.in_b.value:.2f} in b; a value takes "
            + ", ".join(f"{nanoseconds:.2f}" for nanoseconds in per_value)
            + f" ns at q = {', '.join(map(str, SAMPLED))}"
            + networks * (costs.rule in SORTING),
        ),
        Finding(
            "the worst case needs q² per coordinate",
            fits.on_organ_pipes.value > 1.7,
            f"exponent {fits.on_organ_pipes.value:.2f} in q on organ-pipe columns; the slowest of "
            f"{len(ORDERS)} inputs ({slowest}) takes {penalty:.2f} times a random one",
        ),
        Finding(
            "a worker's time is proportional to the coordinates that it computes",
            abs(fits.in_share.value - 1.0) < 0.1,
            f"1 % of the coordinates of softmax regression take "
            f"{costs.shares[0] / costs.shares[-1]:.0%} of the time of all "
            f"(exponent {fits.in_share.value:.2f} in their share): every partial derivative needs "
            f"the scores, a pass over all d; whole gradients: exponent "
            f"{fits.in_dimension.value:.2f} in d",
        ),
        Finding(
            "the block is min(τ·λ̄/s̄, d)",
            max(abs(ratio - 1) for ratio in ratios) < 0.1,
            f"it is the v-th largest τ·λ_i/s_i: {min(ratios):.2f} to {max(ratios):.2f} times that "
            "of the mean rate (profile standard, v = 17 of q = 80)",
        ),
    ]


def _charts(costs: Costs, fit: Fit) -> list[Chart]:
    def milliseconds(values: Iterable[float]) -> list[float]:
        return [1e3 * value for value in values]

    def over_q(b: int) -> list[float]:
        return milliseconds(costs.server(q, b) for q in SAMPLED)

    rounds = [costs.rounds[t] for t in DEADLINES]
    return [
        Chart("server-q", "Server: time over q", "q", "CPU ms", [
            *(Line(f"b = {b:,}", SAMPLED, over_q(b)) for b in BLOCKS),
            Line(f"fit, b = {BLOCKS[-1]:,}", SAMPLED,
                 milliseconds(fit.seconds(q, BLOCKS[-1]) for q in SAMPLED), style="dashed"),
        ], "xy"),
        Chart("server-b", "Server: time over b", "b", "CPU ms", [
            Line(f"q = {q}", BLOCKS, milliseconds(costs.server(q, b) for b in BLOCKS))
            for q in SAMPLED
        ], "xy"),
        Chart("server-deadline", "Server: a round's aggregation over τ (d = 7,850, q = 80)", "τ",
              "CPU ms",
              [Line(costs.rule, DEADLINES, milliseconds(run.seconds for run in rounds))], "xy"),
        Chart("block", "The block over τ (d = 7,850, q = 80, s = 32)", "τ", "coordinates", [
            Line("b: the v-th largest τ·λ_i/s", DEADLINES, [run.block for run in rounds]),
            Line("min(τ·λ̄/s, d)", DEADLINES, [run.expected for run in rounds], style="dashed"),
        ], "xy"),
        Chart("worker-d", "Worker: a whole gradient over d (s = 32)", "d", "CPU ms",
              [Line("measured", DIMENSIONS, milliseconds(costs.whole_gradients))], "xy"),
        Chart("worker-share", "Worker: a part of the gradient (d = 30,000, s = 32)",
              "share of the coordinates", "CPU ms", [
            Line("measured", SHARES, milliseconds(costs.shares)),
            Line("proportional", SHARES,
                 milliseconds(share * costs.shares[-1] for share in SHARES), style="dashed"),
        ], "xy"),
    ]  # fmt: skip


def _exponents(found: Laws) -> Table:
    fits = [
        ("server", "q", f"b = {BLOCKS[-1]:,}", found.in_q),
        ("server", "b", "q = 80", found.in_b),
        ("server", "q, organ-pipe columns", "b = 3,000", found.on_organ_pipes),
        ("server", "τ below saturation", "q = 80, d = 7,850", found.in_deadline),
        ("worker", "d", "whole gradient", found.in_dimension),
        ("worker", "share of the coordinates", "d = 30,000", found.in_share),
    ]
    return Table(
        "exponents", "Fitted exponents", ["who", "over", "at", "exponent", "standard error"],
        [[*names, slope.value, slope.error] for *names, slope in fits],
    )  # fmt: skip
