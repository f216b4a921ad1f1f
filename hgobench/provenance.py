"""What numbers are computed with: versions, processor, device, threads."""

from __future__ import annotations

import platform
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from hgobench import __version__
from hgobench.boundary import error_text
from hgobench.errors import InputError, shown
from hgobench.lazy import torch

CPU = "cpu"  # always usable: no need to import torch to find out


def device_name(device: str) -> str:
    """Return a device's name in provenance: the hardware's name, without its number."""
    kind = device if device == CPU else torch.device(device).type
    return torch.cuda.get_device_name(device) if kind == "cuda" else kind


def usable(device: str) -> None:
    """Raise InputError unless torch can compute there."""
    if not isinstance(device, str):
        raise InputError(f"device: {shown(device)}; expected a device as torch names it")
    if device == CPU:
        return
    try:
        torch.ones(2, device=device).sum().item()
    except Exception as error:  # a backend that is not installed may raise anything
        reason = error_text(error).partition(": ")[2].partition("\n")[0]
        raise InputError(f"device: {device!r}; torch can't compute there: {reason}") from None


@cache
def processor() -> str:
    """Return the processor's name and its instruction set, by which libraries choose kernels.

    The last bits of a number may depend on the latter: two kinds need not add in the same order.
    """
    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line for line in lines if line.startswith("model name")).partition(": ")[2]
    return f"{' '.join(name.split())}, {torch.backends.cpu.get_cpu_capability()}"


@cache
def system() -> str:
    """Return the operating system and its C library, whose functions differ in last bits."""
    library = " ".join(filter(None, platform.libc_ver()))
    return f"{platform.system()}, {library or platform.release()}"


@cache
def blas() -> str:
    """Return NumPy's library of linear algebra, and the kernels that it chose for this processor.

    torch brings a library of its own, which goes with its version.
    """
    known = [one for one in threadpool_info() if one["user_api"] == "blas"]
    own = [one for one in known if "numpy" in one["filepath"]] or known
    told = {
        " ".join(
            str(one[key]) for key in ("internal_api", "version", "architecture") if one.get(key)
        )
        for one in own
    }
    return "; ".join(sorted(told)) or "unknown"


def environment(device: torch.device) -> dict[str, Any]:
    """Return the versions and the hardware that a result is computed with.

    Args:
        device: where tensors are.
    """
    return {
        "hgobench": __version__,
        "python": platform.python_version(),
        "torch": str(
            torch.__version__
        ),  # as a string, so that reading results does not import torch
        "numpy": np.__version__,
        "machine": platform.machine(),
        "processor": processor(),
        "system": system(),
        "blas": blas(),
        "device": device_name(str(device)),
        "threads": 1,
    }
