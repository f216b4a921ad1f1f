"""A project of git's, and the rules that it registers."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from hgobench import reading
from hgobench.errors import InputError

LARGEST = 2**22  # bytes of a pyproject.toml
BEHIND = "trimmed_mean"  # what a pre-rule is measured before


@dataclass(frozen=True)
class Project:
    """A project whose commits are measured.

    Attributes:
        root: the folder of its repository.
        folder: in it, the folder that is built, or whose modules are imported as they are.
        name: what it is installed as.
        rules: those that are measured; empty: hgobench's own.
    """

    root: Path
    folder: Path
    name: str
    rules: Sequence[str]

    def commit(self, name: str, asked: str = "BASE") -> str:
        """Return the whole hash of a commit.

        Args:
            name: as git takes it.
            asked: what a refusal calls it.

        Raises:
            InputError: there is no such commit.
        """
        done = _git(self.root, "rev-parse", "--verify", "--quiet", "--end-of-options",
                    f"{name}^{{commit}}")  # fmt: skip
        if done.returncode:
            raise InputError(
                f"{asked}: {name!r}; expected a commit, branch or tag of {str(self.root)!r}, as "
                "main or HEAD~1"
            )
        return done.stdout.strip()

    def title(self, commit: str) -> str:
        """Return a commit as people read it: the start of its hash, and its first line."""
        return _git(self.root, "log", "-1", "--format=%h %s", commit).stdout.strip()

    def changed(self) -> list[str]:
        """Return the files that git knows and whose changes are not committed."""
        return _git(self.root, "diff", "--name-only", "HEAD").stdout.splitlines()


def project(rules: Sequence[str] = (), start: Path | None = None) -> Project:
    """Return the project that a folder is in.

    It is built where the nearest ``pyproject.toml`` or ``setup.py`` is; without one, modules are
    imported from the top folder of the repository.

    Args:
        rules: those to measure; empty: the rules and pre-rules that its pyproject.toml registers
            as entry points.
        start: the folder; None: the working folder.

    Raises:
        InputError: the folder is in no repository, there is no rule to measure, or what builds the
            project is not installed.
    """
    start = (start or Path.cwd()).resolve()
    done = _git(start, "rev-parse", "--show-toplevel")
    if done.returncode:
        raise InputError(
            f"project: {str(start)!r}: {done.stderr.strip() or 'no repository'}; expected a folder "
            "of a git repository: commits are compared"
        )
    root = Path(done.stdout.strip())
    within = [path for path in (start, *start.parents) if path.is_relative_to(root)]
    folder = next((path for path in within if is_package(path)), root)
    declared = _declared(folder / "pyproject.toml")
    name = _table(declared, "project").get("name")
    name = name if isinstance(name, str) and name else folder.name
    if is_package(folder):
        _check_backend(_table(declared, "build-system").get("requires", ["setuptools"]))
    if name != "hgobench":
        rules = rules or _registered(_table(_table(declared, "project"), "entry-points"))
        if not rules:
            raise InputError(
                f"--rule: none, and {name!r} registers none as an entry point of hgobench.rules; "
                "name those to measure: --rule pkg.mod:Class"
            )
    return Project(root, folder, name, tuple(dict.fromkeys(rules)))


def is_package(folder: Path) -> bool:
    """Return whether pip can build a folder; a pyproject.toml may be there for linters alone."""
    declared = folder / "pyproject.toml"
    if (folder / "setup.py").is_file():
        return True
    return declared.is_file() and bool({"project", "build-system"} & _declared(declared).keys())


def _declared(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    with reading.refusing(f"project: {str(path)!r}", "TOML"):
        return tomllib.loads(reading.content("project", path, LARGEST).decode())


def _table(declared: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = declared.get(name)
    return table if isinstance(table, dict) else {}


def _registered(groups: Mapping[str, Any]) -> list[str]:
    rules, pre_rules = (_table(groups, f"hgobench.{kind}") for kind in ("rules", "pre_rules"))
    return [*rules, *(f"{name}+{BEHIND}" for name in pre_rules)]


def _check_backend(required: Any) -> None:
    """Refuse a project whose build needs what is not installed: nothing is fetched."""
    problems = []
    for text in required if isinstance(required, list) else []:
        try:
            needed = Requirement(str(text))
            if needed.marker is not None and not needed.marker.evaluate():
                continue
            there = needed.specifier.contains(metadata.version(needed.name), prereleases=True)
        except (InvalidRequirement, metadata.PackageNotFoundError):
            there = False
        if not there:
            problems.append(f"project: to build it needs {text!r}, which is not installed here: "
                            f"pip install {str(text)!r}")  # fmt: skip
    if problems:
        raise InputError(problems)


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise InputError("git: not found; commits are compared by it") from error
