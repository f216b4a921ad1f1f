"""What every call of the command pays."""

from __future__ import annotations

import subprocess
import sys


class Startup:
    """A new interpreter."""

    timeout = 60

    def time_import(self) -> None:
        """Import the package."""
        subprocess.run([sys.executable, "-c", "import hgobench"], check=True)

    def time_help(self) -> None:
        """Ask the command for help."""
        command = [sys.executable, "-m", "hgobench", "--help"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
