"""Texts, bytes and values near valid ones: what files and command lines hold by accident."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

# What breaks readers of text: numbers at the edge, other encodings, structure in the wrong place.
TOKENS = (
    "nan", "inf", "-inf", "-1", "0", "1e999", "1e-999", "9" * 30, "9" * 4400, "0x10", "1_000", "١",
    "None", "null", "true", "[", "]", "(", ")", "=", ",", ";", ":", "+", '"', "'", "\\", "#", "\n",
    "\r", "\t", " ", "\0", "\ufeff", "\ud800", "\x1b[2J", "é", "[[", "]]", "{}", "[a=1]", "name=",
    "..", "/", "~", "-", ".", "%s", "{0}", "<b>", "|",
)  # fmt: skip
CHUNKS = (
    *(token.encode("utf-8", "surrogatepass") for token in TOKENS),
    b"\xff\xfe", b"\x1f\x8b\x08", b"\0" * 8, b"\xff" * 8, b"\x7f\xff\xff\xff", b"SQLite format 3\0",
)  # fmt: skip


def _steps(pieces: Sequence[Any]) -> st.SearchStrategy[list[tuple[str, float, float, Any]]]:
    """Return some edits: what to do, where, how far (both as shares of the length), and with what.

    None is one of them: what is valid is read, whatever else Hypothesis comes upon.
    """
    share = st.floats(0, 1, exclude_max=True)
    kinds = st.sampled_from(["insert", "replace", "overwrite", "delete", "cut", "repeat", "swap"])
    return st.lists(st.tuples(kinds, share, share, st.sampled_from(pieces)), max_size=4)


def _edited(content: Any, steps: list[tuple[str, float, float, Any]]) -> Any:
    for kind, where, extent, piece in steps:
        start = int(where * (len(content) + 1))
        end = min(len(content), start + 1 + int(extent * extent * len(content)))
        if kind == "insert":
            content = content[:start] + piece + content[start:]
        elif kind == "replace":
            content = content[:start] + piece + content[end:]
        elif kind == "overwrite":
            content = content[:start] + piece + content[start + len(piece) :]
        elif kind == "delete":
            content = content[:start] + content[end:]
        elif kind == "cut":
            content = content[:start]
        elif kind == "repeat":
            content = content[:end] + content[start:]
        else:
            content = content[end:] + content[:start]
    return content


def texts(valid: Sequence[str]) -> st.SearchStrategy[str]:
    """Return texts that are a few edits away from a valid one."""
    return st.builds(_edited, st.sampled_from(valid), _steps(TOKENS))


def contents(valid: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return bytes that are a few edits away from those of a valid file."""
    single = tuple(bytes([value]) for value in (0, 1, 8, 9, 127, 128, 255))
    return st.builds(_edited, st.sampled_from(valid), _steps((*CHUNKS, *single)))


def values() -> st.SearchStrategy[Any]:
    """Return values of any type that a program may hand over, many of them nearly right."""
    numbers = st.sampled_from(
        [0, 1, 2, 3, 7, 30, -1, 10**9, 10**18, 10**30, 10**400, 10**5000, 0.0, 0.5, 1.0, 2.5, -0.5,
         1e-300, 1e300, float("inf"), float("-inf"), float("nan"), True, False]
    )  # fmt: skip
    foreign = st.sampled_from(
        [None, b"digits", [], [1], (), {}, {"a": 1}, set(), object, object(), np.int64(3), np.float32(0.5),
         np.array(3), np.array([1, 2]), np.bool_(True), 1j, range(3), "nan", "inf", ""]
    )  # fmt: skip
    return st.one_of(numbers, st.integers(-3, 40), foreign)
