"""Proposition 1: what a round costs the server and a worker, over q, b, d and τ."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hgobench import aggregators, hardware
from hgobench.determinism import one_thread, stream
from hgobench.engines.measured import Task
from hgobench.errors import InputError
from hgobench.hardware import Population
from hgobench.report.page import Chart, Finding, Line, Page, Table, study

from .base import Options, Work, uses

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
LONG_ENOUGH = 0.03  # CPU seconds
REPEATS = 7


def cpu_seconds(call: Callable[[], object]) -> float:
    """Return the median CPU time of a call on one thread, over several runs of many calls."""
    return float(np.median(cpu_times(call, REPEATS)))


def cpu_times(
    call: Callable[[], object], runs: int, clock: Callable[[], float] = time.process_time
) -> list[float]:
    """Return the time of a call on one thread, one per run of many calls.

    Args:
        call: what is timed.
        runs: each of at least `LONG_ENOUGH` seconds.
        clock: seconds.
    """
    with one_thread():
        call()
        count = 1
        while (taken := _timed(call, count, clock)) < LONG_ENOUGH:
            count = max(2 * count, int(1.2 * count * LONG_ENOUGH / max(taken, 1e-4)))
        return [_timed(call, count, clock) / count for _ in range(runs)]


def _timed(call: Callable[[], object], count: int, clock: Callable[[], float]) -> float:
    started = clock()
    for _ in range(count):
        call()
    return clock() - started


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
    made, sent = aggregators.build(rule, f=q // 10), torch.from_numpy(values)
    return cpu_seconds(lambda: made(sent))


def by_deadline(rule: str, deadline: float, q: int, dimension: int) -> dict[str, float]:
    """Return the block and the server's seconds in a round with devices of profile ``standard``."""
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
    made = aggregators.build(rule, f=f)
    if made.has_columns():
        made = aggregators.build(rule, f=f, scope="coordinate")
    return {
        "block": float(block),
        "expected": min(deadline * float(rates.mean()) / BATCH, dimension),
        "seconds": cpu_seconds(lambda: made(values, present)),
    }


def worker(dimension: int, share: float) -> float:
    """Return the seconds that a worker takes for a share of a minibatch's softmax gradient.

    It needs all scores first (a forward pass over all coordinates), then one inner product over the
    minibatch for each coordinate of its block.
    """
    inputs = dimension // CLASSES
    rng = stream(0, "cost", dimension)
    x = torch.from_numpy(rng.standard_normal((BATCH, inputs), dtype=np.float32))
    weights = torch.from_numpy(0.01 * rng.standard_normal((CLASSES, inputs), dtype=np.float32))
    wanted = torch.eye(CLASSES)[torch.from_numpy(rng.integers(CLASSES, size=BATCH))]
    places = rng.permutation(CLASSES * inputs)[: max(int(share * CLASSES * inputs), 1)]
    output, feature = (torch.from_numpy(part) for part in np.divmod(places, inputs))
    columns = x.T.contiguous()

    def gradient() -> torch.Tensor:
        error = ((x @ weights.T).softmax(dim=1) - wanted).T.contiguous() / BATCH
        return (error[output] * columns[feature]).sum(dim=1)

    return cpu_seconds(gradient)


def timed(who: str, machine: str, given: Mapping[str, Any]) -> Any:
    """Measure one of the above; times are those of a machine."""
    known: dict[str, Callable[..., Any]] = {
        "server": server, "by_deadline": by_deadline, "worker": worker,
    }  # fmt: skip
    return known[who](**given)


def exponent(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return the slope of log y over log x and its standard error."""
    from scipy.stats import linregress

    fit = linregress(np.log(x), np.log(y))
    return float(fit.slope), float(fit.stderr)


def fitted(q: Floats, b: Floats, seconds: Floats) -> tuple[Floats, float]:
    """Fit seconds = c0 + b·(c1 + c2·q·log₂ q), c >= 0, to the least relative error.

    Returns:
        c, and the largest relative error.
    """
    from scipy.optimize import nnls

    design = np.stack((np.ones(len(b)), b, b * q * np.log2(q)), axis=1) / seconds[:, None]
    found, _ = nnls(design, np.ones(len(seconds)))
    return found, float(np.abs(design @ found - 1.0).max())


def machine() -> str:
    """Return what the times are of: the processor and the version of torch."""
    model = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(
            (one.partition(": ")[2] for one in lines if one.startswith("model name")), model
        )
    return f"{model}, torch {torch.__version__}"


def check(options: Options) -> None:
    """Refuse what can't be heeded."""
    uses(options, *options.settings, rules=1, seeds=False)
    for q in SAMPLED:
        made = aggregators.build(options.rules[0] if options.rules else RULE, f=q // 10)
        if not made.minimum <= q <= made.maximum or made.needs:
            raise InputError(f"rule: {made.name} can't aggregate {q} values at f={q // 10}")


def run(options: Options, work: Work) -> Page:
    """Measure, one process at a time, and fit."""
    check(options)
    rule = options.rules[0] if options.rules else RULE
    named = [{"rule": rule}]
    calls: list[tuple[Callable[..., Any], dict[str, Any]]] = [
        *((server, {"q": q, "b": b, "order": "random"}) for q in SAMPLED for b in BLOCKS),
        *((server, {"q": SAMPLED[-1], "b": 3_000, "order": order}) for order in ORDERS),
        *((server, {"q": q, "b": 3_000, "order": "organ pipe"}) for q in SAMPLED),
        *((by_deadline, {"deadline": t, "q": 80, "dimension": 7_850}) for t in DEADLINES),
    ]
    where = machine()
    tasks = [
        Task(
            timed,
            {"who": function.__name__, "machine": where, "given": {"rule": rule, **given}},
            named,
        )
        for function, given in calls
    ]
    shares = [(d, 1.0) for d in DIMENSIONS] + [(30_000, share) for share in SHARES]
    tasks += [
        Task(timed, {"who": "worker", "machine": where, "given": {"dimension": d, "share": share}})
        for d, share in dict.fromkeys(shares)
    ]
    done = work.measure(tasks, jobs=1)
    found = {_name(task): value for task, value in zip(tasks, done, strict=True)}

    def spent(q: int, b: int, order: str = "random") -> float:
        return float(found[f"server {q} {b} {order}"])

    pairs = [(q, b) for q in SAMPLED for b in BLOCKS]
    q, b = (np.array(part, dtype=float) for part in zip(*pairs, strict=True))
    seconds = np.array([spent(*pair) for pair in pairs])
    (call, constant, slope), worst = fitted(q, b, seconds)
    each = {q: spent(q, BLOCKS[-1]) / (q * BLOCKS[-1]) * 1e9 for q in SAMPLED}
    in_theory = exponent(SAMPLED, [q * np.log2(q) for q in SAMPLED])
    in_q = exponent(SAMPLED, [spent(q, BLOCKS[-1]) for q in SAMPLED])
    in_b = exponent(BLOCKS, [spent(80, b) for b in BLOCKS])
    hard = exponent(SAMPLED, [spent(q, 3_000, "organ pipe") for q in SAMPLED])
    slowest = max(ORDERS, key=lambda order: spent(SAMPLED[-1], 3_000, order))
    penalty = spent(SAMPLED[-1], 3_000, slowest) / spent(SAMPLED[-1], 3_000)
    whole = [found[f"worker {d} 1.0"] for d in DIMENSIONS]
    parts = [found[f"worker 30000 {share}"] for share in SHARES]
    in_d, in_share = exponent(DIMENSIONS, whole), exponent(SHARES, parts)
    forward = parts[0] / parts[-1]
    rounds = {t: found[f"by_deadline {t}"] for t in DEADLINES}
    cut = [t for t in DEADLINES if rounds[t]["block"] < 7_850]
    in_time = exponent(cut, [rounds[t]["seconds"] for t in cut]) if len(cut) > 1 else (0.0, 0.0)
    ratios = [rounds[t]["block"] / rounds[t]["expected"] for t in DEADLINES]

    fits: list[list[str | float | int]] = [
        ["server", "q", f"b = {BLOCKS[-1]:,}", *in_q],
        ["server", "b", "q = 80", *in_b],
        ["server", "q, organ-pipe columns", "b = 3,000", *hard],
        ["server", "τ below saturation", "q = 80, d = 7,850", *in_time],
        ["worker", "d", "whole gradient", *in_d],
        ["worker", "share of the coordinates", "d = 30,000", *in_share],
    ]
    findings = [
        Finding(
            "the server's time is c0 + b·(c1 + c2·q·log q), to 50 %",
            worst < 0.5,
            f"c0 = {call * 1e6:.3g} µs, c1 = {constant * 1e9:.3g} ns, c2 = {slope * 1e9:.3g} ns; "
            f"the worst of {len(q)} measurements is {worst:.0%} off; exponents {in_q[0]:.2f} in q "
            f"(q·log q: {in_theory[0]:.2f}), {in_b[0]:.2f} in b; a value takes "
            + ", ".join(f"{each[q]:.2f}" for q in SAMPLED)
            + f" ns at q = {', '.join(map(str, SAMPLED))}"
            + (
                "; columns of up to some 100 values go through compiled sorting networks"
                if rule in SORTING
                else ""
            ),
        ),
        Finding(
            "the worst case needs q² per coordinate",
            hard[0] > 1.7,
            f"exponent {hard[0]:.2f} in q on organ-pipe columns; the slowest of {len(ORDERS)} "
            f"inputs ({slowest}) takes {penalty:.2f} times a random one",
        ),
        Finding(
            "a worker's time is proportional to the coordinates that it computes",
            abs(in_share[0] - 1.0) < 0.1,
            f"1 % of the coordinates of softmax regression take {forward:.0%} of the time of all "
            f"(exponent {in_share[0]:.2f} in their share): every partial derivative needs the "
            f"scores, a pass over all d; whole gradients: exponent {in_d[0]:.2f} in d",
        ),
        Finding(
            "the block is min(τ·λ̄/s̄, d)",
            max(abs(ratio - 1) for ratio in ratios) < 0.1,
            f"it is the v-th largest τ·λ_i/s_i: {min(ratios):.2f} to {max(ratios):.2f} times that "
            "of the mean rate (profile standard, v = 17 of q = 80)",
        ),
    ]
    milli = 1e3
    charts = [
        Chart("server-q", "Server: time over q", "q", "CPU ms", [
            *(Line(f"b = {b:,}", SAMPLED, [milli * spent(q, b) for q in SAMPLED]) for b in BLOCKS),
            Line(f"fit, b = {BLOCKS[-1]:,}", SAMPLED,
                 [milli * (call + BLOCKS[-1] * (constant + slope * q * np.log2(q)))
                  for q in SAMPLED],
                 style="dashed"),
        ], "xy"),
        Chart("server-b", "Server: time over b", "b", "CPU ms", [
            Line(f"q = {q}", BLOCKS, [milli * spent(q, b) for b in BLOCKS]) for q in SAMPLED
        ], "xy"),
        Chart("server-deadline", "Server: a round's aggregation over τ (d = 7,850, q = 80)", "τ",
              "CPU ms", [Line(rule, DEADLINES, [milli * rounds[t]["seconds"] for t in DEADLINES])],
              "xy"),
        Chart("block", "The block over τ (d = 7,850, q = 80, s = 32)", "τ", "coordinates", [
            Line("b: the v-th largest τ·λ_i/s", DEADLINES, [rounds[t]["block"] for t in DEADLINES]),
            Line("min(τ·λ̄/s, d)", DEADLINES, [rounds[t]["expected"] for t in DEADLINES],
                 style="dashed"),
        ], "xy"),
        Chart("worker-d", "Worker: a whole gradient over d (s = 32)", "d", "CPU ms",
              [Line("measured", DIMENSIONS, [milli * value for value in whole])], "xy"),
        Chart("worker-share", "Worker: a part of the gradient (d = 30,000, s = 32)",
              "share of the coordinates", "CPU ms", [
            Line("measured", SHARES, [milli * value for value in parts]),
            Line("proportional", SHARES, [milli * share * parts[-1] for share in SHARES],
                 style="dashed"),
        ], "xy"),
    ]  # fmt: skip
    return study(
        "cost",
        "Proposition 1: the time of a round",
        [
            f"CPU time on one thread of {where}, medians of {REPEATS}. "
            f"The server applies {rule} to q values of each of b coordinates, the tenth part of "
            "them tolerated; a worker computes a part "
            "of the gradient of softmax regression (10 classes, s = 32). Proposition 1 says "
            "O(b·(C_pd + q·log q)) on average, Ω(d·(q² + C_pd)) at worst.",
        ],
        options.command("audit cost"),
        findings,
        charts,
        [Table("exponents", "Fitted exponents",
               ["who", "over", "at", "exponent", "standard error"], fits)],
    )  # fmt: skip


def _name(task: Task) -> str:
    who, given = task.arguments["who"], task.arguments["given"]
    values = [str(value) for key, value in given.items() if key != "rule"]
    return " ".join([who, *values[: 1 if who == "by_deadline" else None]])
