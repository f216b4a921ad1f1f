"""CIFAR-10, as its users have it on their disks."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench.errors import InputError

from .base import Dataset, Source, Split
from .files import folders

BATCHES = [f"data_batch_{i}" for i in range(1, 6)]
PIXELS = 3 * 32 * 32
_HARMLESS = {  # all that the files of CIFAR-10 name
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class Cifar10(Source):
    """CIFAR-10: 50,000 + 10,000 colour images of 32 x 32 in 10 classes; pixels are divided by 255.

    Its folder is looked for in $HGOBENCH_DATA and the user's cache, as it is unpacked from its
    binary or its python version: ``cifar-10-batches-bin`` or ``cifar-10-batches-py``, in a folder
    ``cifar10`` or not. It is not downloaded.
    """

    paper = "Krizhevsky, 2009"
    validity = "the user's own copy in $HGOBENCH_DATA or the cache"

    def load(self) -> Dataset:
        """Return it."""
        folder = locate()
        train = _split([_batch(folder, name) for name in BATCHES])
        return Dataset(*self.hold_out(train), _split([_batch(folder, "test_batch")]), classes=10)


def locate() -> Path:
    """Return the folder with the batches.

    Raises:
        InputError: there is none.
    """
    places = [
        place / version
        for home in folders("cifar10")
        for place in (home, home.parent)
        for version in ("cifar-10-batches-bin", "cifar-10-batches-py")
    ]
    for place in places:
        if place.is_dir():
            return place
    listed = " or ".join(str(place) for place in places[::2])
    raise InputError(
        f"data: 'cifar10' is not in {listed} (or -py); unpack its binary version there "
        "(cifar-10-binary.tar.gz of its author's page); it is not downloaded"
    )


def _batch(folder: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (N, 3072), channel by channel, and labels (N,)."""
    binary = folder / f"{name}.bin"
    path = binary if binary.exists() else folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"data: {path}: {error.strerror}") from error
    if path == binary:
        if len(content) % (PIXELS + 1):
            raise InputError(f"data: {path}: {len(content)} bytes; not a multiple of {PIXELS + 1}")
        rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, PIXELS + 1)
        return rows[:, 1:], rows[:, 0].astype(np.int64)
    try:
        batch = _Arrays(io.BytesIO(content), encoding="bytes").load()
        images, labels = np.asarray(batch[b"data"], dtype=np.uint8), batch[b"labels"]
        return images.reshape(-1, PIXELS), np.array(labels, dtype=np.int64)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"data: {path}: no batch of CIFAR-10: {error}") from error


class _Arrays(pickle.Unpickler):
    """Reads arrays, and refuses whatever else a pickle may ask for."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a batch may name."""
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _split(batches: list[tuple[NDArray[np.uint8], NDArray[np.int64]]]) -> Split:
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    return Split(images.astype(np.float32) / np.float32(255), labels)
