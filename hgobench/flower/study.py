"""Simulated against real: processes on this machine, and what the simulation says of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hgobench.devices.folder import new
from hgobench.errors import InputError
from hgobench.hardware import Population
from hgobench.report.page import Chart, Line, Page, Table, study
from hgobench.results import open_store
from hgobench.results.result import Result
from hgobench.scenario import Scenario

from .processes import Fleet, fleet

MOST = 6  # nodes: a message takes two seconds of processor time
EACH = 60.0  # seconds for a round besides τ, before it is given up
START = 240.0


class Pair(NamedTuple):
    """A run and its prediction.

    Attributes:
        name: what it is called.
        real: as it was measured.
        predicted: as simulated, with devices as fast as measured, and the same draws.
    """

    name: str
    real: Result
    predicted: Result


def rates(scenario: Scenario, dimension: int) -> list[float]:
    """Return rates by worker: the slowest has time for half a gradient in τ, the fastest for eight.

    >>> [round(rate) for rate in rates(Scenario(n=3, tau=10, batch_size=10), dimension=100)]
    [50, 200, 800]
    """
    whole = scenario.batch_size * dimension / scenario.deadline
    return [float(rate) for rate in whole * np.geomspace(0.5, 8.0, scenario.workers)]


def measured(
    folder: Path, scenario: Scenario, declared: Sequence[float], say: Callable[[str], None]
) -> Result:
    """Run a scenario by processes on this machine, each as fast as declared.

    Args:
        folder: of the app, the results and the logs; made anew, but for the results: a run that
            was cut off goes on.
        scenario: what runs.
        declared: λ by worker.
        say: called with each line of the run's log that tells of a round.

    Raises:
        InputError: it does not end with a result.
    """
    if (there := _kept(folder, scenario)) is not None:
        return there
    for name in ("app", "logs"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    settings = new(folder / "app", scenario, "study-1", folder, folder / "attackers")
    said = 0

    def over(it: Fleet) -> bool:
        nonlocal said
        lines = [line for line in it.log("run").splitlines() if " round " in line]
        for line in lines[said:]:
            say(line[line.index(" round ") + 1 :])
        said = len(lines)
        return it.processes["run"].poll() is not None

    with fleet(folder / "logs") as it:
        for worker, (text, rate) in enumerate(zip(settings, declared, strict=True)):
            honest = "" if "attack=" in text else f" rate={rate!r}"
            it.node(f"node-{worker}", text + honest)
        it.start("run", "flwr", "run", str(folder / "app"), "here", "--stream")
        tau = min(scenario.deadline, 600.0)
        it.wait(lambda: over(it), START + scenario.rounds * (tau + EACH))
        log = it.log("run")
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


def predicted(folder: Path, real: Result) -> Result:
    """Simulate a measured run: the same draws, and devices as fast and as far as measured.

    A device's rate is the one that it had, and what it took off τ is its latency, half each way.
    """
    from hgobench.simulation import run

    scenario, facts = real.scenario, real.provenance["fleet"]
    n, tau = scenario.workers, scenario.deadline
    strength, _ = Population(n, 1, scenario.seed, np.ones((n, 1), np.int64)).strength()
    off = {
        worker: tau - told["left"] if "left" in told else told["way"]
        for worker, told in facts.items()
        if {"left", "way"} & {*told}
    }
    usual = float(np.median(list(off.values()))) if off else 0.0  # of those who say nothing
    lines = [""] * n
    for worker in range(n):
        told = facts.get(str(worker), {})
        latency = max(off.get(str(worker), usual), 0.0) / 2.0
        lines[strength[worker]] = f"worker {worker},1,{told.get('rate', 1.0)!r},{latency!r}"
    path = folder / "devices.csv"
    path.write_text("class,count,rate_mean,latency\n" + "\n".join(lines) + "\n", encoding="utf-8")
    hardware = f"devices[path={path},counts=true]"
    return run(scenario.replace(hardware=hardware))


def variants(scenario: Scenario) -> dict[str, Scenario]:
    """Return what is compared: HGO, SGD with the same deadline, and SGD that waits for all."""
    return {
        f"{scenario.algorithm}, τ = {scenario.deadline:g} s": scenario,
        f"sgd, τ = {scenario.deadline:g} s": scenario.replace(algorithm="sgd"),
        "sgd, waits for all": scenario.replace(algorithm="sgd", deadline=float("inf")),
    }


def page(pairs: Sequence[Pair], command: str) -> Page:
    """Return both curves of each run in one figure, and the numbers behind the gap."""
    lines, rows = list[Line](), list[list[Any]]()
    for pair in pairs:
        curves = {"real": pair.real, "predicted": pair.predicted}
        for how, result in curves.items():
            lines.append(
                Line(
                    f"{pair.name}, {how}", list(result.rounds["time"]),
                    list(result.rounds["test_accuracy"]),
                    style="line" if how == "real" else "dashed",
                    like="" if how == "real" else f"{pair.name}, real",
                )
            )  # fmt: skip
            table, summary = result.rounds, result.summary
            rows.append(
                [pair.name, how, len(table["round"]), round(summary["time"], 1),
                 round(summary["time"] / len(table["round"]), 1), round(summary["mean_heard"], 2),
                 round(summary["mean_block_size"], 1), summary["stalled"], summary["bytes_up"],
                 summary["bytes_down"], round(summary["test_accuracy"], 3)]
            )  # fmt: skip
    header = ["run", "", "rounds", "seconds", "seconds a round", "heard", "block", "stalled",
              "bytes up", "bytes down", "accuracy"]  # fmt: skip
    about = [
        "Processes on one machine, by Flower: a SuperLink and a node per device, with declared "
        "rates, as a message alone takes seconds. Predicted: the simulation, with the same data, "
        "minibatches, orders and attackers, with the devices' rates, and the time that they took "
        "off the deadline for the way of messages as their latency.",
        "Why the two differ: a real round ends when all that were asked have answered, a simulated "
        "one lasts for the deadline; how long a message takes varies from one to the next, so that "
        "blocks do, and an answer may be late; an attacker that in the simulation sees honest "
        "messages has its group's own to look at.",
    ]
    chart = Chart("accuracy", "Accuracy", "seconds", "test accuracy", lines)
    return study(
        "devices", "Simulated against real", about, command,
        charts=[chart], tables=[Table("runs", "Runs", header, rows, keep=2)],
        content=rows,
    )  # fmt: skip


def compared(
    folder: Path, scenario: Scenario, declared: Sequence[float] | None, say: Callable[[str], None]
) -> list[Pair]:
    """Run each variant, and predict it.

    Raises:
        InputError: there are too many nodes, or a deadline that no message meets.
    """
    from hgobench.simulation.world import World

    if scenario.workers > MOST:
        raise InputError(f"workers: {scenario.workers}; expected at most {MOST} on one machine")
    if not 10.0 <= scenario.deadline < float("inf"):
        raise InputError(
            f"deadline: {scenario.deadline:g}; expected at least 10 seconds, as a message alone "
            "takes five to six"
        )
    known = declared or rates(scenario, World(scenario, real=True).model.dimension)
    if len(known) != scenario.workers:
        raise InputError(f"rates: {len(known)}; expected {scenario.workers}, one for each worker")
    pairs = []
    for number, (name, one) in enumerate(variants(scenario).items()):
        say(f"{name}:")
        where = folder / f"run-{number}"
        real = measured(where, one, known, say)
        pairs.append(Pair(name, real, predicted(where, real)))
    return pairs
