"""asv with hgobench's benchmarks, for any project: its configuration, and a call."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hgobench.errors import InputError
from hgobench.suite import home

from .project import Project

PLUGIN = "hgobench.commits.environment"
TOOL = "hgobench"  # what asv calls environments of that plug-in
RULES = "HGOBENCH_RULES"  # those that benchmarks measure, for `suites/perf/inputs.py`
CONFIGURATION = "asv.conf.json"
THREADS = {f"{library}_NUM_THREADS": ["1"] for library in ("OMP", "MKL", "OPENBLAS")}


def configuration(project: Project, out: Path) -> dict[str, Any]:
    """Return what asv is told.

    Both commits are measured with the packages of the environment that calls: torch and, for any
    project but hgobench itself, hgobench are not installed twice. Nothing is fetched.

    Args:
        project: the project.
        out: where environments, results and asv's pages go.
    """
    where = project.folder.relative_to(project.root).as_posix()
    return {
        "version": 1,
        "project": project.name,
        "repo": str(project.root),
        "repo_subdir": "" if where == "." else where,
        "dvcs": "git",
        "branches": ["HEAD"],
        "benchmark_dir": str(home().resolve() / "perf"),
        "plugins": [f".{PLUGIN}"],
        "environment_type": TOOL,
        "pythons": ["{}.{}".format(*sys.version_info[:2])],
        "build_command": [
            "python -m pip wheel --no-deps --no-build-isolation -w {build_cache_dir} {build_dir}"
        ],
        "install_command": [
            "in-dir={env_dir} python -m pip install --no-deps --no-index --force-reinstall "
            "{wheel_file}"
        ],
        "matrix": {"env_nobuild": THREADS},
        **{f"{name}_dir": str(out / name) for name in ("env", "results", "html")},
    }


def call(project: Project, out: Path, arguments: Sequence[str]) -> int:
    """Call asv; return its exit status.

    Args:
        project: whose commits are measured.
        out: the folder for all that asv writes, its configuration too; made if it does not exist.
        arguments: asv's own.

    Raises:
        InputError: asv is not installed, or the folder can't be written to.
    """
    if importlib.util.find_spec("asv") is None:
        raise InputError("asv: not installed; expected it: pip install 'hgobench[asv]'")
    out = out.resolve()
    try:
        out.mkdir(parents=True, exist_ok=True)
        told = json.dumps(configuration(project, out), indent=1)
        (out / CONFIGURATION).write_text(told + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out: {str(out)!r}: {error.strerror}") from error
    environment = {**os.environ, RULES: json.dumps(list(project.rules))}
    asv = [sys.executable, "-m", "asv", "--config", str(out / CONFIGURATION)]
    if not (Path.home() / ".asv-machine.json").exists():  # asv would ask what machine it is
        subprocess.run([*asv, "machine", "--yes"], stdout=subprocess.DEVNULL, check=False)
    return subprocess.run([*asv, *arguments], env=environment, check=False).returncode
