"""The tests themselves: which tier they are in, and that they need nothing from elsewhere."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import conftest

MARKED = """
import pytest

def test_plain():
    pass

@pytest.mark.long
def test_long():
    pass

@pytest.mark.deep
@pytest.mark.long
def test_deep():
    pass

@pytest.mark.long
@pytest.mark.parametrize("x", [0, pytest.param(1, marks=pytest.mark.deep)])
def test_either(x):
    pass

@pytest.mark.data
def test_marked():
    pass

def test_asking(images):
    pass
"""


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 443)])
def test_no_test_reaches_beyond_this_machine(address: tuple[str, int]) -> None:
    with pytest.raises(OSError, match=f"a test reached for {address[0]}; tests use no network"):
        socket.create_connection(address, timeout=0.1)


def test_this_machine_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


@pytest.mark.long
def test_tiers_are_counted_and_data_is_asked_for(tmp_path: Path) -> None:
    """A test is in one tier, the deepest of its marks; without data, what needs it is skipped."""
    (tmp_path / "pyproject.toml").write_text((conftest.ROOT / "pyproject.toml").read_text())
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "conftest.py").write_text(Path(conftest.__file__).read_text())
    (tmp_path / "tests" / "test_marked.py").write_text(MARKED)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "HGOBENCH"))}

    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
            capture_output=True, text=True, cwd=tmp_path, check=False, env=environment,
        ).stdout  # fmt: skip

    default = run()
    assert "tiers: default 3, long 2, deep 2\n" in default
    assert "1 passed, 2 skipped, 4 deselected" in default
    assert "set HGOBENCH_DATA" in default
    chosen = run("-m", "long and not deep", "-n", "1")
    assert "tiers: default 3, long 2, deep 2\n" in chosen
    assert "2 passed" in chosen
    assert "2 skipped, 5 deselected" in run("-m", "data")
