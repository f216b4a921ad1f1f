"""A plug-in of asv's: environments that share the packages of the interpreter that calls asv.

An environment is made without a network and holds nothing but the project, at the commit that is
measured. asv imports this module; nothing else does.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import Any

from asv.plugins.virtualenv import Virtualenv

import hgobench

from .asv import TOOL
from .project import is_package

HOST, CHECKOUT = "zz_host.pth", "zy_checkout.pth"  # read in the order of their names


class Shared(Virtualenv):  # type: ignore[misc]
    """A virtual environment whose packages come first, and then those of this interpreter.

    ``.pth`` files of the host are not read: what is installed there in editable mode does not leak.
    """

    tool_name = TOOL

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._executable = sys.executable

    def create(self) -> None:
        """Make it, unless it is there, and let it see the host's packages."""
        super().create()
        paths = sysconfig.get_paths()
        folders = [paths["purelib"], paths["platlib"]]
        if self._project != "hgobench":
            folders.append(str(Path(hgobench.__file__).resolve().parent.parent))
        self._write(HOST, dict.fromkeys(folders))

    def _install_requirements(self) -> None:
        """Install nothing: the host has it."""

    def _build_project(self, repo: Any, commit_hash: str, build_dir: str) -> None:
        if is_package(Path(build_dir)):
            super()._build_project(repo, commit_hash, build_dir)

    def _install_project(self, repo: Any, commit_hash: str, build_dir: str) -> None:
        if is_package(Path(build_dir)):
            self._write(CHECKOUT, ())
            super()._install_project(repo, commit_hash, build_dir)
        else:
            self._write(CHECKOUT, [build_dir])

    def _write(self, name: str, folders: Any) -> None:
        ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
        packages = self.run_executable("python", ["-c", ask]).strip()
        lines = "".join(f"{folder}\n" for folder in folders)
        Path(packages, name).write_text(lines, encoding="utf-8")
