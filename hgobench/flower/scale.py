"""How far one server goes: what a round took, fitted, and what that says of more nodes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hgobench import aggregators
from hgobench.determinism import one_thread, stream
from hgobench.errors import InputError
from hgobench.lazy import torch
from hgobench.report.page import Chart, Line, Page, Shown, Table, study
from hgobench.timing import least_seconds

from .load import Load, Point, Unmeasured

POLL, BEAT = 3.0, 20.0  # seconds between two looks of a SuperNode for orders, and two heartbeats
REQUESTS = 1 / POLL + 1 / BEAT  # of a node a second
GIGABIT = 125e6  # bytes a second
LEAST = 0.05  # CPU seconds: what is less is known to no percent, as a clock tick is 0.01
DEADLINES = (30.0, 60.0, 300.0)


class Term(NamedTuple):
    """What one unit costs.

    Attributes:
        value: as fitted, 0 or more.
        low, high: the 95 % confidence interval; both nan for a value of 0, and without a spread.
    """

    value: float
    low: float
    high: float


class Fit(NamedTuple):
    """A quantity as the sum of what its parts cost.

    Attributes:
        terms: the cost of a unit, by its name.
        errors: (m,) by how much each measured value exceeds the fit, in shares of the value.
    """

    terms: Mapping[str, Term]
    errors: NDArray[np.float64]

    def predicted(self, amounts: Mapping[str, float]) -> float:
        """Return what amounts of the units come to; units that it does not know cost nothing."""
        return sum(term.value * amounts[name] for name, term in self.terms.items())


def fitted(
    amounts: Sequence[Mapping[str, float]],
    measured: Sequence[float] | NDArray[np.float64],
    units: Sequence[str],
    least: float = 0.0,
) -> Fit:
    """Fit costs c >= 0 of units to measured sums, by least squares of relative errors.

    Minimises Σ_i ((y_i - Σ_j c_j·a_ij) / max(y_i, least))². The intervals are Student's, for the
    costs that are not 0, as if the errors were independent.

    Args:
        amounts: how many units there were of each kind, m times.
        measured: y, (m,).
        units: the kinds.
        least: below which a value counts as much as if it were that.

    Raises:
        InputError: there are fewer measured values than kinds.

    Example:
        >>> rows = [{"round": 1.0, "order": n} for n in (2.0, 4.0, 8.0)]
        >>> fit = fitted(rows, [1.4, 1.8, 2.6], ["round", "order"])
        >>> [round(term.value, 6) for term in fit.terms.values()]
        [1.0, 0.2]
    """
    from scipy.optimize import nnls
    from scipy.stats import t

    y = np.asarray(measured, np.float64)
    a = np.array([[row[name] for name in units] for row in amounts], np.float64)
    if len(y) < len(units):
        raise InputError(f"{len(y)} measured values; expected at least {len(units)}, one a cost")
    weight = 1.0 / np.maximum(np.maximum(y, least), np.finfo(float).tiny)
    scale = np.maximum(np.abs(a).max(axis=0), np.finfo(float).tiny)
    scaled = a / scale * weight[:, None]
    cost, _ = nnls(scaled, y * weight)
    errors = y * weight - scaled @ cost
    used = cost > 0
    freedom = len(y) - int(used.sum())
    half = np.full(len(units), np.nan)
    if freedom > 0 and used.any():
        spread = float(errors @ errors) / freedom
        inverse = np.linalg.pinv(scaled[:, used].T @ scaled[:, used])
        half[used] = t.ppf(0.975, freedom) * np.sqrt(spread * np.diag(inverse))
    terms = {
        name: Term(float(c / s), float(max(c - h, 0.0) / s), float((c + h) / s))
        if math.isfinite(h)
        else Term(float(c / s), math.nan, math.nan)
        for name, c, h, s in zip(units, cost, half, scale, strict=True)
    }
    return Fit(terms, errors)


def amounts_of(load: Load) -> dict[str, float]:
    """Return what there was of everything that costs something.

    A heartbeat counts as a request: Flower's library sends them by itself, every `BEAT` seconds.
    """
    return {
        "round": 1.0,
        "second": load.seconds,
        "request": load.polls + load.nodes * load.seconds / BEAT,
        "order": float(load.orders),
        "byte down": 4.0 * load.orders * load.dimension,
        "byte up": 4.0 * load.orders * load.length,
        "model": 4.0 * load.dimension,
    }


class Server(NamedTuple):
    """What a server costs: CPU seconds and bytes on the wire in a time, MiB at most.

    Attributes:
        link: CPU seconds of the SuperLink.
        app: CPU seconds of the ServerApp, in a round.
        up, down: bytes.
        link_memory, app_memory: MiB.
    """

    link: Fit
    app: Fit
    up: Fit
    down: Fit
    link_memory: Fit
    app_memory: Fit


UNITS: dict[str, tuple[str, ...]] = {
    "link": ("second", "request", "order", "byte down", "byte up"),
    "app": ("round", "order", "model", "byte down", "byte up"),
    "up": ("request", "order", "byte up"),
    "down": ("request", "order", "byte down"),
    "link_memory": ("round", "model", "byte up"),
    "app_memory": ("round", "model", "byte down", "byte up"),
}


def measures(load: Load) -> dict[str, float]:
    """Return what is fitted of a load, by the names of `Server`; without a run, what there is."""
    idle = {"link": load.link_seconds, "up": float(load.up), "down": float(load.down)}
    if not load.dimension:
        return idle
    return {**idle, "app": load.app_seconds, "link_memory": load.link_memory,
            "app_memory": load.app_memory}  # fmt: skip


def server_of(loads: Sequence[Load]) -> Server:
    """Return the costs of a server that did as measured."""
    fits = {}
    for name, units in UNITS.items():
        known = [load for load in loads if name in measures(load)]
        fits[name] = fitted(
            [amounts_of(load) for load in known], [measures(load)[name] for load in known], units,
            LEAST if name in ("link", "app") else 0.0,
        )  # fmt: skip
    return Server(**fits)


class Round(NamedTuple):
    """What a round of q orders costs a server, as fitted.

    Attributes:
        sampled: q.
        dimension: d.
        length: b.
        up, down: bytes on the wire.
        numbers_up, numbers_down: 4·q·b and 4·q·d, those of them that are coordinates.
        link, app: CPU seconds.
        link_memory, app_memory: MiB.
    """

    sampled: int
    dimension: int
    length: int
    up: float
    down: float
    numbers_up: float
    numbers_down: float
    link: float
    app: float
    link_memory: float
    app_memory: float


def round_of(server: Server, sampled: int, dimension: int, length: int) -> Round:
    """Return what a round costs by its messages alone: without waiting, and without idle nodes."""
    amounts = {
        "round": 1.0, "second": 0.0, "request": 0.0, "order": float(sampled),
        "byte down": 4.0 * sampled * dimension, "byte up": 4.0 * sampled * length,
        "model": 4.0 * dimension,
    }  # fmt: skip
    return Round(
        sampled=sampled,
        dimension=dimension,
        length=length,
        up=server.up.predicted(amounts),
        down=server.down.predicted(amounts),
        numbers_up=amounts["byte up"],
        numbers_down=amounts["byte down"],
        link=server.link.predicted(amounts),
        app=server.app.predicted(amounts),
        link_memory=server.link_memory.predicted(amounts),
        app_memory=server.app_memory.predicted(amounts),
    )


def free(server: Server) -> float:
    """Return the share of a core that a SuperLink without nodes leaves free."""
    return max(1.0 - server.link.terms["second"].value, 0.0)


def most_idle(server: Server) -> float:
    """Return how many nodes without orders fill a SuperLink, which computes on one core."""
    each = REQUESTS * server.link.terms["request"].value
    return free(server) / each if each else math.inf


def most_asked(server: Server, deadline: float, dimension: int, length: int) -> int:
    """Return how many nodes a SuperLink serves that are all asked once in every `deadline` seconds.

    >>> none = Fit({}, np.zeros(0))
    >>> costs = {"second": 0.0, "request": 0.0, "order": 0.1, "byte down": 0.0, "byte up": 0.0}
    >>> link = Fit({name: Term(c, c, c) for name, c in costs.items()}, np.zeros(0))
    >>> most_asked(Server(link, none, none, none, none, none), 60.0, 650, 650)
    600
    """
    one = round_of(server, 1, dimension, length).link
    waiting = REQUESTS * server.link.terms["request"].value * deadline
    each = one + waiting
    return int(free(server) * deadline / each + 1e-9) if each else 0


def links(server: Server, population: int, one: Round, deadline: float) -> float:
    """Return how many SuperLinks a population fills of which q are asked in every deadline."""
    waiting = REQUESTS * server.link.terms["request"].value * population
    return (waiting + one.link / deadline) / free(server) if free(server) else math.inf


def rule_seconds(rule: str, sampled: int, dimension: int) -> float:
    """Return the CPU seconds of a rule on q vectors of noise, on one thread, once it is warm."""
    f = max(sampled // 10, 1)
    made = aggregators.build(rule, f=f)
    noise = stream(0, "scale", sampled).standard_normal((sampled, dimension), dtype=np.float32)
    with one_thread():
        made(torch.from_numpy(noise[:, : min(dimension, 1000)].copy()))
    values = torch.from_numpy(noise)
    return least_seconds(lambda: made(values), calls=1)


def design(
    nodes: Sequence[int], models: Sequence[str], shares: Sequence[float]
) -> tuple[list[Point], list[Point]]:
    """Return what is measured for the fit, and what the fit is tried on.

    All numbers of nodes with the first model and share; all models and shares with a middle number
    of nodes; the last model with fewer, so that what a model costs differs from what its copies
    do. Held out are the next models and shares with more nodes.

    Raises:
        InputError: there are too few of something to tell costs apart.

    >>> fit, held_out = design([2, 4, 8, 16], ["softmax", "feed_forward"], [1.0, 0.25])
    >>> len(fit), [(point.nodes, point.model, point.share) for point in held_out]
    (8, [(16, 'feed_forward', 1.0), (16, 'feed_forward', 0.25)])
    """
    problems = []
    if len(nodes) < 3 or sorted({*nodes}) != list(nodes) or nodes[0] < 2:
        problems.append(
            f"nodes: {_listed(nodes)}; expected three or more numbers from 2, ascending"
        )
    if len({*models}) < 2 or len({*models}) != len(models):
        problems.append(f"models: {_listed(models)}; expected two or more different ones")
    if len({*shares}) < 2 or not all(0 < share <= 1 for share in shares):
        problems.append(f"shares: {_listed(shares)}; expected two or more, above 0 and at most 1")
    if problems:
        raise InputError(problems)
    middle = len(nodes) // 2
    points = [Point(n, models[0], shares[0]) for n in nodes]
    points += [Point(nodes[middle], model, share) for model in models for share in shares]
    points += [Point(nodes[middle - 1], models[-1], shares[0])]
    held_out = [
        Point(nodes[middle + 1], models[-2] if len(models) > 2 else models[-1], shares[0]),
        Point(nodes[max(middle + 1, len(nodes) - 2)], models[-1], shares[-1]),
    ]
    return list(dict.fromkeys(points)), list(dict.fromkeys(held_out))


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values)) or "none"


class Kept:
    """Loads in a file, a line of JSON for each point, so that a run that was cut off goes on.

    Args:
        path: of the file.
        said: what else loads depend on: rounds, versions, the processor; other lines are not read.
    """

    def __init__(self, path: Path, said: Mapping[str, str | int]) -> None:
        self._path, self._said = path, dict(said)

    def loads(self) -> dict[Point, list[Load]]:
        """Return what was measured, by point.

        Raises:
            InputError: a line is none.
        """
        found = {}
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                told = json.loads(line)
                point = Point(*told["point"])
                loads = [Load(**load) for load in told["loads"]]
            except (ValueError, TypeError, KeyError) as error:
                raise InputError(f"{self._path}: line {number}: {error}") from error
            if told["said"] == self._said:
                found[point] = loads
        return found

    def add(self, point: Point, loads: Sequence[Load]) -> None:
        """Write a line."""
        told = {"point": list(point), "said": self._said, "loads": [x._asdict() for x in loads]}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")


class Scale(NamedTuple):
    """What was measured and fitted, and what is asked of it.

    Attributes:
        loads: by point, those of the fit.
        held_out: by point, those that the fit is tried on.
        server: the fit.
        population: N, how many nodes there are in the calculation.
        sampled: q, how many of them are asked in a round of it.
        deadline: τ of it, in seconds.
        rules: CPU seconds of rules on q vectors, by name and d.
    """

    loads: Mapping[Point, Sequence[Load]]
    held_out: Mapping[Point, Sequence[Load]]
    server: Server
    population: int
    sampled: int
    deadline: float
    rules: Mapping[tuple[str, int], float]


def collected(
    folder: Path,
    kept: Kept,
    points: Sequence[Point],
    rounds: int,
    say: Callable[[str], None],
) -> dict[Point, list[Load]]:
    """Return the loads of points: those that are kept, and the others measured now.

    A point that can't be measured is left out with a word; the same command tries it again.
    """
    from .load import measured

    there = kept.loads()
    for number, point in enumerate(points, 1):
        if point not in there:
            say(f"{number} of {len(points)}: {point.nodes} nodes, {point.model}, "
                f"share {point.share:g}")  # fmt: skip
            try:
                loads = measured(folder, point, rounds)
            except Unmeasured as error:
                say(f"left out: {error}")
                continue
            kept.add(point, loads)
            there[point] = loads
    return {point: there[point] for point in points if point in there}


def _rounds(loads: Sequence[Load]) -> list[Load]:
    return [load for load in loads if load.dimension]


def _number(value: float) -> Shown:
    """Return a number as tables show it: three digits that count."""
    if not math.isfinite(value):
        return Shown("", None)
    if value == 0 or abs(value) >= 1000:
        return Shown(f"{value:,.0f}", value)
    digits = max(2 - math.floor(math.log10(abs(value))), 0)
    return Shown(f"{value:.{min(digits, 9)}f}", value)


def _measured(scale: Scale) -> Table:
    rows: list[list[Any]] = []
    for point, loads in sorted({**scale.loads, **scale.held_out}.items()):
        these = _rounds(loads)
        middle = {
            name: float(np.median([measures(load)[name] for load in these])) for name in UNITS
        }
        rows.append(
            [point.nodes, these[0].dimension, these[0].length, len(these),
             *(_number(middle[name]) for name in ("link", "app")),
             _number(float(np.median([load.seconds for load in these]))),
             *(_number(middle[name] / 1e6) for name in ("up", "down")),
             *(_number(middle[name]) for name in ("link_memory", "app_memory"))]
        )  # fmt: skip
    header = ["nodes", "d", "b", "rounds", "SuperLink, CPU s", "ServerApp, CPU s", "s", "MB up",
              "MB down", "SuperLink, MiB", "ServerApp, MiB"]  # fmt: skip
    return Table("measured", "A round, measured (medians)", header, rows, keep=6)


# What a page calls a quantity and a unit, and by how much it multiplies the cost of the unit.
QUANTITIES = {
    "link": "SuperLink, CPU s", "app": "ServerApp, CPU s", "up": "bytes up", "down": "bytes down",
    "link_memory": "SuperLink, MiB", "app_memory": "ServerApp, MiB",
}  # fmt: skip
PER = {
    "round": ("round", 1.0), "second": ("second", 1.0), "order": ("order", 1.0),
    "request": ("poll or heartbeat", 1.0), "byte down": ("MB of parameters down", 1e6),
    "byte up": ("MB of answers up", 1e6), "model": ("MB of the model", 1e6),
}  # fmt: skip


def _costs(server: Server) -> Table:
    rows: list[list[Any]] = []
    for name, what in QUANTITIES.items():
        fit: Fit = getattr(server, name)
        for unit, term in fit.terms.items():
            per, many = PER[unit]
            if name.endswith("memory") and unit == "round":
                per = "process"
            rows.append([what, per, *(_number(many * value) for value in term)])
    header = ["what", "for each", "cost", "low", "high"]
    return Table("costs", "What was fitted", header, rows)


def _tried(scale: Scale) -> Table:
    rows: list[list[Any]] = []
    for point, loads in sorted(scale.held_out.items()):
        these = _rounds(loads)
        for name, what in QUANTITIES.items():
            fit: Fit = getattr(scale.server, name)
            found = float(np.median([measures(load)[name] for load in these]))
            told = float(np.median([fit.predicted(amounts_of(load)) for load in these]))
            rows.append(
                [point.nodes, these[0].dimension, these[0].length, what, _number(found),
                 _number(told), _number(told / found)]
            )  # fmt: skip
    header = ["nodes", "d", "b", "what", "measured", "fitted", "ratio"]
    return Table("tried", "The fit at points that it has not seen", header, rows)


def dimensions(loads: Mapping[Point, Sequence[Load]]) -> list[int]:
    """Return each d that was measured, ascending."""
    return sorted({load.dimension for them in loads.values() for load in _rounds(them)})


def _ends(scale: Scale) -> Table:
    rows = [
        [d, *(most_asked(scale.server, deadline, d, d) for deadline in DEADLINES)]
        for d in dimensions(scale.loads)
    ]
    header = ["d", *(f"{deadline:g} s" for deadline in DEADLINES)]
    return Table(
        "ends", "How many nodes fill one SuperLink, if all are asked once every", header, rows
    )


def _population(scale: Scale) -> Table:
    rows: list[list[Any]] = []
    for d in dimensions(scale.loads):
        for b in (d, -(-d // 4)):
            one = round_of(scale.server, scale.sampled, d, b)
            rows.append(
                [d, b, *(_number(value / 1e6) for value in (one.numbers_down, one.numbers_up)),
                 *(_number(value / 1e6) for value in (one.down, one.up)),
                 _number(one.link), _number(one.app), _number(one.app_memory),
                 _number((one.down + one.up) / GIGABIT),
                 _number(links(scale.server, 0, one, scale.deadline))]
            )  # fmt: skip
    header = ["d", "b", "q·d·4, MB", "q·b·4, MB", "MB down", "MB up", "SuperLink, CPU s",
              "ServerApp, CPU s", "ServerApp, MiB", "s at 1 Gbit/s", "SuperLinks"]  # fmt: skip
    title = f"A round of {scale.sampled:,} orders, worked out"
    return Table("population", title, header, rows, keep=2)


def _rules(scale: Scale) -> Table:
    columns = sorted({d for _, d in scale.rules})
    rows: list[list[Any]] = [
        [rule, *(_number(scale.rules[rule, d]) for _, d in by)]
        for rule, by in groupby(sorted(scale.rules), key=lambda one: one[0])
    ]
    header = ["rule", *(f"d = {d:,}" for d in columns)]
    return Table("rules", f"CPU seconds of a rule on {scale.sampled:,} answers", header, rows)


def _chart(scale: Scale) -> Chart:
    """Return what messages cost a SuperLink over nodes: measured without waiting, and fitted."""
    lines = list[Line]()
    server, points = scale.server, {**scale.loads, **scale.held_out}
    waiting = {name: server.link.terms[name].value for name in ("second", "request")}
    for d in dimensions(scale.loads):
        x, y = list[float](), list[float]()
        for point, loads in sorted(points.items()):
            for load in _rounds(loads):
                if load.dimension == load.length == d:
                    there = amounts_of(load)
                    x.append(point.nodes)
                    y.append(
                        load.link_seconds - sum(c * there[name] for name, c in waiting.items())
                    )
        nodes = [2.0, 1000.0]
        fit = [round_of(server, int(n), d, d).link for n in nodes]
        lines += [
            Line(f"d = {d:,}", x, y, style="points"),
            Line(f"d = {d:,}, fitted", nodes, fit, style="dashed", like=f"d = {d:,}"),
        ]
    return Chart("scale", "What a round's messages cost a SuperLink", "nodes", "CPU seconds", lines,
                 log="xy")  # fmt: skip


def page(scale: Scale, command: str) -> Page:
    """Return what one server takes, where it ends, and what a population means."""
    server, n, q = scale.server, scale.population, scale.sampled
    idle = most_idle(server)
    requests = n * REQUESTS
    one = server.link.terms["request"]
    about = [
        "Light nodes, many in a process, speak to a SuperLink of Flower's as its SuperNodes do, "
        "and answer with noise at once: what is measured is the server. CPU seconds are the two "
        "processes' own, from the system; bytes were counted by a relay in front of the "
        "SuperLink, with HTTP's headers and without TCP's; memory is the most that was resident. "
        "A round goes from when all have answered to when all have answered again; the first is "
        "left out, in which nodes fetch the app. The rule is the average; others are timed by "
        "themselves.",
        "Fitted: the sum of the costs of its parts, by least squares of relative errors; none is "
        "below 0. A cost of 0 has no interval: its part shows in nothing that was measured.",
        f"A node looks for orders every {POLL:g} s and sends a heartbeat every {BEAT:g} s. A "
        f"request takes {1000 * one.value:.2g} ms of the SuperLink's core, of which it uses one; "
        f"so {idle:,.0f} nodes that only wait fill it. {n:,} nodes send {requests:,.0f} requests "
        f"a second, which fill {requests * one.value:,.0f} cores. Of these nodes {q:,} orders in "
        f"{scale.deadline:g} s fill the SuperLinks of the last column besides.",
    ]
    tables = [_measured(scale), _costs(server), _tried(scale), _ends(scale), _population(scale)]
    tables += [_rules(scale)] if scale.rules else []
    content = {
        "loads": [
            {"nodes": point.nodes, "model": point.model, "share": point.share,
             "held_out": point in scale.held_out, "loads": [load._asdict() for load in loads]}
            for point, loads in {**scale.loads, **scale.held_out}.items()
        ],
        "costs": {name: {unit: term.value for unit, term in getattr(server, name).terms.items()}
                  for name in QUANTITIES},
        "most_idle": idle,
        "requests": requests,
        "rules": {f"{rule}, d = {d}": seconds for (rule, d), seconds in scale.rules.items()},
    }  # fmt: skip
    return study("scale", "How far one server goes", about, command, charts=[_chart(scale)],
                 tables=tables, content=content)  # fmt: skip


def rules_timed(
    rules: Sequence[str], sampled: int, dimensions: Sequence[int], say: Callable[[str], None]
) -> dict[tuple[str, int], float]:
    """Return the CPU seconds of rules on q vectors, by name and d, where they fit into memory."""
    from hgobench import machine

    found = {}
    for d in dimensions:
        if 4 * 4 * sampled * d > machine.memory() / 2:
            say(f"rules: {sampled:,} vectors of {d:,} are left out, for want of memory")
            continue
        for rule in rules:
            say(f"rules: {rule} on {sampled:,} vectors of {d:,}")
            found[rule, d] = rule_seconds(rule, sampled, d)
    return found
