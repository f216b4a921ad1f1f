"""Simulated against real: processes on this machine, and what the simulation says of them."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hgobench.devices.folder import new
from hgobench.devices.log import Log
from hgobench.errors import InputError
from hgobench.hardware import Population
from hgobench.notation import format_value
from hgobench.protocol import NUMBER_BYTES
from hgobench.report.page import Chart, Line, Page, Table, study
from hgobench.results import open_store
from hgobench.results.result import Result
from hgobench.scenario import Scenario
from hgobench.statistics.means import interval

from .links import Link
from .processes import Fleet, fleet

MOST = 6  # nodes: a message takes two seconds of processor time
EACH = 60.0  # seconds for a round besides τ, before it is given up
START = 240.0
CALIBRATION = 4  # rounds
RULESET = "study-1"
PASSED = "links.json"  # the bytes that went over each node's link
MEASURED = "calibration.json"


class Device(NamedTuple):
    """A device, as it was measured before anything is predicted; a time unit is a second.

    Attributes:
        rate: λ, coordinates of one example's gradient per second.
        way: seconds that a message takes there and back, without the bytes of model and answer.
        off: seconds that the device takes off a deadline, without those bytes.
        up, down: bytes per second of its link; inf: it is not bounded.
    """

    rate: float
    way: float
    off: float
    up: float
    down: float


class Pair(NamedTuple):
    """A run and its prediction.

    Attributes:
        name: what it is called.
        seed: of its draws.
        real: as it was measured.
        predicted: as simulated, with devices as they were measured before, and the same draws.
        passed: bytes that each node sent and received over its link; empty: it has none.
    """

    name: str
    seed: int
    real: Result
    predicted: Result
    passed: list[tuple[int, int]]


class Declared(NamedTuple):
    """What the processes of a study act.

    Attributes:
        rates: λ by worker.
        links: by worker; None: all are on loopback.
        there: (rounds, n) bool, which workers are there in each round.
    """

    rates: list[float]
    links: list[Link] | None
    there: NDArray[np.bool_]


def rates(scenario: Scenario, dimension: int) -> list[float]:
    """Return rates by worker: the slowest has time for half a gradient in τ, the fastest for eight.

    >>> [round(rate) for rate in rates(Scenario(n=3, tau=10, batch_size=10), dimension=100)]
    [50, 200, 800]
    """
    whole = scenario.batch_size * dimension / scenario.deadline
    return [float(rate) for rate in whole * np.geomspace(0.5, 8.0, scenario.workers)]


def declared(scenario: Scenario, given: Sequence[float] | None) -> Declared:
    """Return what a scenario's processes are to act: speeds, links and absence.

    Links and absence are those of the conditions in its hardware, ``trace[..]+network[..]+real``.

    Args:
        scenario: what runs.
        given: λ by worker; None: see `rates`.

    Raises:
        InputError: there are more or fewer rates than workers, or a latency.
    """
    from hgobench.simulation.world import World

    world = World(scenario, real=True)
    known = list(given or rates(scenario, world.model.dimension))
    if len(known) != scenario.workers:
        raise InputError(f"rates: {len(known)}; expected {scenario.workers}, one for each worker")
    devices = world.fleet
    if devices.latency.any():
        raise InputError(
            "hardware: network[latency=..]: the kernel's filter bounds bytes per second alone; "
            "messages by Flower take seconds anyway"
        )
    links = list(map(Link, devices.uplink.tolist(), devices.downlink.tolist()))
    bounded = any(np.isfinite(link).any() for link in links)
    all_ = np.ones(scenario.workers, np.bool_)
    found = [devices.available(k) for k in range(1, scenario.rounds + 1)]
    there = np.array([all_ if row is None else row for row in found])
    return Declared(known, links if bounded else None, there)


def measured(
    folder: Path, scenario: Scenario, acted: Declared, say: Callable[[str], None],
    before: Callable[[Fleet], None] = lambda it: None,
) -> Result:  # fmt: skip
    """Run a scenario by processes on this machine.

    A worker that is away in a round is stopped (SIGSTOP) from the end of the round before until
    it is there again.

    Args:
        folder: of the app, the results and the logs; made anew, but for the results: a run that
            was cut off goes on.
        scenario: what runs.
        acted: what its processes act.
        say: called with each line of the run's log that tells of a round.
        before: called when the SuperLink runs.

    Raises:
        InputError: it does not end with a result.
    """
    if (there := _kept(folder, scenario)) is not None:
        return there
    for name in ("app", "logs"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    settings = new(folder / "app", scenario, RULESET, folder, folder / "attackers")
    kept = Log.of(folder, RULESET, scenario)
    stopped = np.zeros(scenario.workers, np.bool_)
    said = 0

    def over(it: Fleet) -> bool:
        nonlocal said
        lines = [line for line in it.log("run").splitlines() if " round " in line]
        for line in lines[said:]:
            say(line[line.index(" round ") + 1 :])
        said = len(lines)
        k = min(kept.count(), scenario.rounds - 1)  # of the rounds, from 0
        for worker in np.flatnonzero(stopped == acted.there[k]):
            stopped[worker] = not stopped[worker]
            number = signal.SIGSTOP if stopped[worker] else signal.SIGCONT
            it.signal(f"node-{worker}", number)
            say(f"worker {worker} {'leaves' if stopped[worker] else 'is back'}")
        return it.processes["run"].poll() is not None

    with fleet(folder / "logs", acted.links) as it:
        before(it)
        for worker, (text, rate) in enumerate(zip(settings, acted.rates, strict=True)):
            it.node(f"node-{worker}", f"{text} rate={rate!r}", worker)
        it.start("run", "flwr", "run", str(folder / "app"), "here", "--stream")
        tau = min(scenario.deadline, 600.0)
        it.wait(lambda: over(it), START + scenario.rounds * (tau + EACH))
        log = it.log("run")
        if it.links is not None:
            (folder / PASSED).write_text(json.dumps(it.links.passed()), encoding="utf-8")
    if (there := _kept(folder, scenario)) is None:
        raise InputError(f"{folder}: no result; the log ends: {log[-500:]}")
    return there


def _kept(folder: Path, scenario: Scenario) -> Result | None:
    """Return the result of a scenario in a folder; None: there is none."""
    if not any(folder.glob("*.sqlite")):
        return None
    with open_store(folder, create=False) as store:
        found = [result for _, result in store.results() if result.scenario == scenario]
    return found[0] if found else None


def passed(folder: Path) -> list[tuple[int, int]]:
    """Return the bytes that each node of a measured run sent and received; empty: no links."""
    path = folder / PASSED
    if not path.exists():
        return []
    return [(int(up), int(down)) for up, down in json.loads(path.read_text(encoding="utf-8"))]


def calibrated(
    folder: Path, scenario: Scenario, acted: Declared, say: Callable[[str], None]
) -> list[Device]:
    """Measure the devices in a short run of their own, without absence and without attackers.

    Of what messages took on their way, the bytes of model and answer are subtracted, at the rates
    that were measured of the links: the simulation adds those of the run that it predicts.

    Args:
        folder: where the run is kept, and what it found.
        scenario: whose devices; its seed is that of the run.
        acted: what the processes act.
        say: as for `measured`.
    """
    one = scenario.replace(byzantine=0, attack="none", rounds=CALIBRATION)
    all_ = acted._replace(there=np.ones((CALIBRATION, scenario.workers), np.bool_))
    path = folder / MEASURED

    def before(it: Fleet) -> None:
        links = [] if it.links is None else it.links.measured()
        path.write_text(json.dumps(links), encoding="utf-8")
        for node, link in enumerate(links):
            say(f"worker {node}: {link.up:,.0f} bytes/s up, {link.down:,.0f} down")

    real = measured(folder, one, all_, say, before)
    links = [Link(*map(float, pair)) for pair in json.loads(path.read_text(encoding="utf-8"))]
    links = links or [Link(float("inf"), float("inf"))] * scenario.workers
    return devices_of(real, acted.rates, links)


def devices_of(real: Result, rates_: Sequence[float], links: Sequence[Link]) -> list[Device]:
    """Return what a run says of its devices; where one says nothing, the others' median.

    Args:
        real: a measured run, with a deadline.
        rates_: λ by worker.
        links: as measured, by worker.
    """
    scenario, facts = real.scenario, real.provenance["fleet"]
    d = len(_parameters(scenario))
    found: dict[int, Device] = {}
    for worker, (rate, link) in enumerate(zip(rates_, links, strict=True)):
        told = facts.get(str(worker), {})
        if not {"left", "way"} <= {*told}:
            continue
        length = min(max(told["left"], 0.0) * rate / scenario.batch_size, d)
        bytes_ = NUMBER_BYTES * (d / link.down + length / link.up)
        way, off = (max(t - bytes_, 0.0) for t in (told["way"], scenario.deadline - told["left"]))
        found[worker] = Device(rate, way, off, *link)
    if not found:
        raise InputError("calibration: no device answered twice; expected a longer deadline")
    way, off = np.median([(one.way, one.off) for one in found.values()], axis=0).tolist()
    return [
        found.get(worker, Device(rate, way, off, *link))
        for worker, (rate, link) in enumerate(zip(rates_, links, strict=True))
    ]


def _parameters(scenario: Scenario) -> NDArray[np.float32]:
    from hgobench.simulation.world import World

    vector: NDArray[np.float32] = World(scenario, real=True).initial().numpy()
    return vector


def predicted(
    folder: Path, scenario: Scenario, devices: Sequence[Device], there: NDArray[np.bool_]
) -> Result:
    """Simulate a scenario of real devices: the same draws, and devices as they were measured.

    What a device takes off τ, or, without a deadline, what messages take, is its latency, half each
    way; bytes take their time on top.

    Args:
        folder: where the fleet is written, as files that `hgobench run` takes too.
        scenario: what ran, or is to run.
        devices: by worker.
        there: (rounds, n) bool, which workers are there in each round.
    """
    from hgobench.simulation import run

    n, waits = scenario.workers, scenario.deadline == float("inf")
    strength, _ = Population(n, 1, scenario.seed, np.ones((n, 1), np.int64)).strength()
    lines = [""] * n
    for worker, one in enumerate(devices):
        latency = (one.way if waits else one.off) / 2.0
        lines[strength[worker]] = (
            f"worker {worker},1,{one.rate!r},{one.up!r},{one.down!r},{latency!r}"
        )
    text = "class,count,rate_mean,uplink,downlink,latency\n" + "\n".join(lines) + "\n"
    (folder / "devices.csv").write_text(text, encoding="utf-8")
    hardware = f"devices[path={format_value(str(folder / 'devices.csv'))},counts=true]"
    if not there.all():
        before = np.vstack([np.ones((1, n), np.bool_), there[:-1]])
        events = [
            f"{worker},{k + 1},{'on' if there[k, worker] else 'off'}"
            for k, worker in np.argwhere(there != before).tolist()
        ]
        text = "worker,round,state\n" + "\n".join(events) + "\n"
        (folder / "away.csv").write_text(text, encoding="utf-8")
        hardware = f"trace[path={format_value(str(folder / 'away.csv'))}]+{hardware}"
    return run(scenario.replace(hardware=hardware))


def variants(scenario: Scenario) -> dict[str, Scenario]:
    """Return what is compared: HGO, SGD with the same deadline, and SGD that waits for all."""
    return {
        f"{scenario.algorithm}, τ = {scenario.deadline:g} s": scenario,
        f"sgd, τ = {scenario.deadline:g} s": scenario.replace(algorithm="sgd"),
        "sgd, waits for all": scenario.replace(algorithm="sgd", deadline=float("inf")),
    }


COLUMNS = {"seconds": "time", "heard": "mean_heard", "block": "mean_block_size",
           "stalled": "stalled", "bytes up": "bytes_up", "bytes down": "bytes_down",
           "accuracy": "test_accuracy"}  # fmt: skip
DIGITS = {"seconds": 0, "heard": 2, "block": 0, "stalled": 1, "bytes up": 0, "bytes down": 0,
          "accuracy": 3}  # fmt: skip


def _shown(values: NDArray[np.float64], digits: int) -> str:
    """Return a mean and half its interval as text.

    >>> _shown(np.array([1.0, 2.0, 3.0]), 1)
    '2.0 ± 2.5'
    """
    low, high = interval(values)
    half = float(high - low) / 2
    mean = f"{values.mean():,.{digits}f}"
    return f"{mean} ± {half:,.{digits}f}" if len(values) > 1 else mean


def page(pairs: Sequence[Pair], command: str) -> Page:
    """Return both curves of each run in one figure, and the numbers behind the gap."""
    names = list(dict.fromkeys(pair.name for pair in pairs))
    seeds = len({pair.seed for pair in pairs})
    lines, rows, content = list[Line](), list[list[Any]](), list[dict[str, Any]]()
    for name in names:
        mine = [pair for pair in pairs if pair.name == name]
        numbers = {}
        for how in ("real", "predicted"):
            results: list[Result] = [getattr(pair, how) for pair in mine]
            lines.append(_curve(name, how, results))
            numbers[how] = {
                column: np.array([result.summary[key] for result in results], np.float64)
                for column, key in COLUMNS.items()
            }
        numbers["gap"] = {c: numbers["real"][c] - numbers["predicted"][c] for c in COLUMNS}
        rows += [
            [name, how, *(_shown(values, DIGITS[c]) for c, values in told.items())]
            for how, told in numbers.items()
        ]
        content += [
            {"run": name, "seed": pair.seed, "what": how}
            | {column: values[i].item() for column, values in told.items()}
            | ({"passed": pair.passed} if how == "real" and pair.passed else {})
            for i, pair in enumerate(mine)
            for how, told in numbers.items()
        ]
    header = ["run", "", *COLUMNS]
    about = [
        "Processes on one machine, by Flower: a SuperLink and a node per device, with declared "
        "rates, as a message alone takes seconds. Predicted: the simulation, with the same data, "
        "minibatches, orders, attackers and absence, and with devices as a calibration run "
        "measured them before: the time that they take off the deadline for the way of messages, "
        "and the bytes per second of their links.",
        f"Means of {seeds} seeds and their 95 % intervals; gap: real less predicted, by seed."
        if seeds > 1
        else "One seed: no intervals. Gap: real less predicted.",
        "Why the two differ: a real round ends when all that were asked have answered, a simulated "
        "one lasts for the deadline; how long a message takes varies from one to the next, so that "
        "blocks do, and an answer may be late; a real server that waits for all waits for a device "
        "that has left until Flower no longer lists it; an attacker that in the simulation sees "
        "honest messages has its group's own to look at.",
    ]
    chart = Chart("accuracy", "Accuracy", "seconds", "test accuracy", lines)
    tables = [Table("runs", "Runs", header, rows, keep=2, right=range(2, len(header)))]
    links = _links(pairs, names)
    return study(
        "devices", "Simulated against real", about, command,
        charts=[chart], tables=tables + links, content=content,
    )  # fmt: skip


def _curve(name: str, how: str, results: Sequence[Result]) -> Line:
    """Return the mean of a run's curves over seeds, by round, with its interval."""
    most = min(len(result.rounds["round"]) for result in results)
    time = np.array([result.rounds["time"][:most] for result in results], np.float64)
    right = np.array([result.rounds["test_accuracy"][:most] for result in results], np.float64)
    low, high = interval(right)
    real = how == "real"
    band = (low.clip(0).tolist(), high.clip(max=1).tolist()) if len(results) > 1 and real else None
    return Line(
        f"{name}, {how}", time.mean(axis=0).tolist(), right.mean(axis=0).tolist(),
        low=None if band is None else band[0], high=None if band is None else band[1],
        style="line" if real else "dashed", like="" if real else f"{name}, real",
    )  # fmt: skip


def _links(pairs: Sequence[Pair], names: Sequence[str]) -> list[Table]:
    """Return what went over the links, beside what is counted as the protocol's."""
    rows: list[list[Any]] = []
    for name in names:
        mine = [pair for pair in pairs if pair.name == name and pair.passed]
        if mine:
            for place, what, key in ((0, "up", "bytes_up"), (1, "down", "bytes_down")):
                went = np.array([sum(one[place] for one in pair.passed) for pair in mine], float)
                told = np.array([pair.real.summary[key] for pair in mine], float)
                rows.append([name, what, _shown(told, 0), _shown(went, 0)])
    header = ["run", "", "counted bytes", "bytes over all links"]
    title = "Over the links, headers and Flower's own messages included"
    return [Table("links", title, header, rows, right=(2, 3))] if rows else []


def compared(
    folder: Path, scenario: Scenario, given: Sequence[float] | None, say: Callable[[str], None],
    seeds: int = 1,
) -> list[Pair]:  # fmt: skip
    """Calibrate the devices, predict every variant with each seed, and run it.

    Args:
        folder: where all is kept.
        scenario: whose devices, and the first seed.
        given: λ by worker; None: see `rates`.
        say: called with lines that tell how far it is.
        seeds: how many.

    Raises:
        InputError: there are too many nodes, a deadline that no message meets, or links that the
            system has not.
    """
    if scenario.workers > MOST:
        raise InputError(f"workers: {scenario.workers}; expected at most {MOST} on one machine")
    if not 10.0 <= scenario.deadline < float("inf"):
        raise InputError(
            f"deadline: {scenario.deadline:g}; expected at least 10 seconds, as a message alone "
            "takes five to six"
        )
    known = range(scenario.seed, scenario.seed + seeds)
    acted = {seed: declared(scenario.replace(seed=seed), given) for seed in known}
    say("calibration:")
    apart = scenario.replace(seed=known[-1] + 1)
    devices = calibrated(folder / "calibration", apart, acted[known[0]], say)
    for worker, (rate, way, off, *_) in enumerate(devices):
        say(f"worker {worker}: λ = {rate:.4g}, messages {way:.1f} s, off τ {off:.1f} s")
    pairs = []
    for seed in known:
        for number, (name, one) in enumerate(variants(scenario.replace(seed=seed)).items()):
            where = folder / f"seed-{seed}-run-{number}"
            where.mkdir(parents=True, exist_ok=True)
            foreseen = predicted(where, one, devices, acted[seed].there)
            say(f"{name}, seed {seed}: {foreseen.summary['test_accuracy']:.3f} after "
                f"{foreseen.summary['time']:.0f} s predicted")  # fmt: skip
            real = measured(where, one, acted[seed], say)
            pairs.append(Pair(name, seed, real, foreseen, passed(where)))
    return pairs
