"""Large data that one process has read, mapped by the other processes of this machine.

Processes that are told a folder (the variable `FOLDER` in their environment) keep the arrays of a
large data set there, and map them: the system holds them in memory once, and may drop them from it.
Whoever names the folder removes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Dataset, Split

FOLDER = "HGOBENCH_SHARED"
LEAST = 1 << 27  # bytes of features; smaller data are not worth it
SPLITS = ("train", "validation", "test")


def key_of(specification: str, state: tuple[Any, ...]) -> str:
    """Return what determines the data of one of hgobench's sources.

    Args:
        specification: its name.
        state: of its files, which is another when they change.
    """
    return hashlib.sha256(f"{specification}\0{state!r}".encode()).hexdigest()


def find(key: str) -> Dataset | None:
    """Return the data that some process has kept under a key, mapped; None: there are none."""
    root = os.environ.get(FOLDER)
    return _mapped(Path(root) / key) if root and (Path(root) / key).is_dir() else None


def keep(key: str, data: Dataset, name: str) -> Dataset:
    """Keep a data set if it is large and processes share data; return it, mapped if so.

    Args:
        key: another data set has another.
        data: the data set.
        name: what a message calls it.
    """
    root = os.environ.get(FOLDER)
    size = sum(getattr(data, split).features.nbytes for split in SPLITS)
    if not root or size < LEAST or is_mapped(data.train.features):
        return data
    home = Path(root) / key
    if not home.is_dir():
        partial = home.with_name(f"{key}.{os.getpid()}")
        try:
            Path(root).mkdir(mode=0o700, exist_ok=True)
            _write(partial, data)
            try:
                partial.rename(home)
            except OSError:
                if not home.is_dir():  # else another process was faster
                    raise
        except OSError as error:
            reason = error.strerror or error
            print(
                f"hgobench: data {name!r}: each process holds a copy of its own: {root!r}: "
                f"{reason}",
                file=sys.stderr,
            )
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return _mapped(home) if home.is_dir() else data


def is_mapped(array: NDArray[Any]) -> bool:
    """Say whether an array lies in a file that is mapped.

    >>> is_mapped(np.zeros(3))
    False
    """
    base: object = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return type(base).__name__ == "mmap"


def _arrays(data: Dataset) -> dict[str, NDArray[Any]]:
    return {
        f"{split} {kind}": values
        for split in SPLITS
        for kind in ("features", "labels", "groups")
        if (values := getattr(getattr(data, split), kind)) is not None
    }


def _write(folder: Path, data: Dataset) -> None:
    folder.mkdir(mode=0o700)
    for name, values in _arrays(data).items():
        np.save(folder / f"{name}.npy", values, allow_pickle=False)
    about = {
        "classes": int(data.classes),
        "digest": data.digest,
        "differs": data.differs,
        "vocabulary": None if data.vocabulary is None else int(data.vocabulary),
        "image": None if data.train.image is None else [int(side) for side in data.train.image],
    }
    (folder / "about.json").write_text(json.dumps(about))


def _mapped(folder: Path) -> Dataset:
    about: Mapping[str, Any] = json.loads((folder / "about.json").read_text())
    image = None if about["image"] is None else tuple(about["image"])
    splits = []
    for split in SPLITS:
        held: dict[str, NDArray[Any] | None] = {"groups": None}
        for path in folder.glob(f"{split} *.npy"):
            kind = path.stem.rpartition(" ")[2]
            empty = kind == "features" and not len(np.load(folder / f"{split} labels.npy"))
            # Private: whoever writes to it, which nobody should, changes nobody else's.
            mode = "c" if kind == "features" and not empty else None
            held[kind] = np.asarray(np.load(path, mmap_mode=mode, allow_pickle=False))  # type: ignore[arg-type]
        splits.append(Split(held["features"], held["labels"], held["groups"], image))  # type: ignore[arg-type]
    train, validation, test = splits
    return Dataset(
        train, validation, test, about["classes"], about["digest"], about["differs"],
        about["vocabulary"],
    )  # fmt: skip
