"""Loops that are written out for LLVM, and compiled for this processor."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

try:
    import llvmlite.binding as llvm
    from llvmlite import ir as ir
except ImportError:  # no wheel for this platform: NumPy is used instead
    llvm = ir = None

FASTEST, QUICKEST = 2, 1  # LLVM's optimisation levels: fastest code, quickest to compile

_engines: list[Any] = []


def available() -> bool:
    """Say whether anything can be compiled."""
    return llvm is not None


def register_bytes() -> int:
    """Return the size of a vector register in bytes."""
    features = _features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


def register_count() -> int:
    """Return how many vector registers there are."""
    features = _features()
    return 32 if features.get("avx512f") or features.get("neon") else 16


@cache
def _features() -> dict[str, bool]:
    return dict(llvm.get_host_cpu_features())


def function(module: ir.Module, name: str, *, level: int = FASTEST) -> Callable[..., None]:
    """Compile a module, and return its function of that name, which returns nothing.

    It takes addresses (0: null) for pointers, and whole numbers.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=level,
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    _engines.append(engine)  # the code lives as long as its engine
    arguments = module.get_global(name).function_type.args
    kinds = [ctypes.c_void_p if kind.is_pointer else ctypes.c_int64 for kind in arguments]
    return ctypes.CFUNCTYPE(None, *kinds)(engine.get_function_address(name))
