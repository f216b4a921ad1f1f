"""A folder from which Flower runs a scenario: the app's settings, and each device's examples."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from hgobench.errors import InputError
from hgobench.scenario import Scenario
from hgobench.simulation.world import World
from hgobench.writing import whole

from .byzantine import byzantine
from .server import refusals
from .worker import shard_bytes

PROJECT = "pyproject.toml"
DATA = "data"


def new(folder: Path, scenario: Scenario, ruleset: str, results: Path, group: Path) -> list[str]:
    """Write a folder for a scenario, and return the settings of each node, by worker.

    The examples of worker i are those that the scenario's world deals it: what its process learns
    from is what the simulation's learns from.

    Args:
        folder: made if it does not exist; there must be no project in it.
        scenario: what is to run; `hardware` is ``real``.
        ruleset: under which its result is kept.
        results: the folder of results.
        group: that those share who attack together, outside the folder.

    Raises:
        InputError: devices can't run it, or there is a project in the folder.
    """
    if problems := refusals(scenario):
        raise InputError(problems)
    if (folder / PROJECT).exists():
        raise InputError(f"{folder}: there is a {PROJECT}; expected an empty folder")
    world = World(scenario, real=True)
    features, labels = world.features.numpy(), world.labels.numpy()
    with whole(folder / DATA) as unfinished:
        for worker, rows in enumerate(world.shards):
            path = unfinished / f"worker-{worker}.npz"
            path.write_bytes(shard_bytes(features[rows].astype(np.float32), labels[rows]))
    with whole(folder) as unfinished:
        (unfinished / PROJECT).write_text(project(scenario, ruleset, results), encoding="utf-8")
        # Data stay with their devices: an app is what all nodes get.
        (unfinished / ".gitignore").write_text(f"{DATA}/\n", encoding="utf-8")
    hostile = byzantine(scenario)
    told = []
    for worker in range(scenario.workers):
        settings = [f"worker={worker}", f'data="{(folder / DATA).resolve()}/worker-{worker}.npz"']
        if hostile[worker] and scenario.attack != "none":
            settings += [f'attack="{scenario.attack}"', f'group="{group.resolve()}"']
        told.append(" ".join(settings))
    return told


def project(scenario: Scenario, ruleset: str, results: Path) -> str:
    """Return a Flower app's ``pyproject.toml`` that runs a scenario.

    >>> text = project(Scenario(hardware="real", rule="krum", f=1), "real-1", Path("/out"))
    >>> [line for line in text.splitlines() if line.startswith(("rule ", "results"))]
    ['results = "/out"', 'rule = "krum"']
    """
    fields = scenario.to_dict()
    lines = [f"{name} = {_toml(value)}" for name, value in fields.items()]
    return "\n".join(
        [
            "[project]",
            'name = "hgobench-devices"',
            'version = "1.0.0"',
            'description = "A scenario of hgobench on real devices"',
            'license = "MIT"',
            'dependencies = ["hgobench[flower]"]',
            "",
            "[tool.flwr.app]",
            'publisher = "hgobench"',
            "",
            "[tool.flwr.app.components]",
            'serverapp = "hgobench.flower.server_app:app"',
            'clientapp = "hgobench.flower.client_app:app"',
            "",
            "[tool.flwr.app.config]",
            f"results = {_toml(str(results.resolve()))}",
            f"ruleset = {_toml(ruleset)}",
            "wait = 120",
            "",
            "[tool.flwr.app.config.scenario]",
            *lines,
            "",
        ]
    )


def _toml(value: Any) -> str:
    if isinstance(value, str):
        plain = value.replace("\\", "\\\\").replace('"', '\\"')
        if any(ord(c) < 32 or ord(c) == 127 for c in plain):
            raise InputError(f"{value!r}: expected text without control characters")
        return f'"{plain}"'
    if isinstance(value, float) and math.isinf(value):
        return '"inf"'
    return repr(value)


def commands(folder: Path, settings: list[str], host: str = "127.0.0.1") -> list[str]:
    """Return the commands that run a folder on one machine, with a comment that says how."""
    lines = [
        "# each in a terminal of its own, and the last when the nodes are up",
        "flower-superlink --insecure --disable-runtime-dependency-installation",
    ]
    lines += [
        f"flower-supernode --insecure --superlink {host}:8000 --port {9100 + worker} "
        f"--node-config {shlex.quote(text)}"
        for worker, text in enumerate(settings)
    ]
    return [*lines, f"flwr run {shlex.quote(str(folder))} here --stream"]
