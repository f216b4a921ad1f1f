"""Fixtures for all tests: nothing is ever downloaded, and real data is used where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"

os.environ["HGOBENCH_OFFLINE"] = "1"
if "HGOBENCH_DATA" not in os.environ and SHARED.is_dir():
    os.environ["HGOBENCH_DATA"] = str(SHARED)


@pytest.fixture
def images() -> Path:
    """Return the folder with MNIST and Fashion-MNIST."""
    folder = Path(os.environ.get("HGOBENCH_DATA", "/nonexistent"))
    if not (folder / "mnist").is_dir():
        pytest.skip("MNIST is not at hand; set HGOBENCH_DATA to a folder that holds it")
    return folder
