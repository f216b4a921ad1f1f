"""CIFAR-10, from a copy on the user's disk."""

from __future__ import annotations

import hashlib
import io
import pickle
import pickletools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench import reading
from hgobench.errors import InputError, Unavailable

from .base import Dataset, Published, Split, digest
from .files import folders

BATCHES = {  # the last are the test examples; MD5 of the python version
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
PIXELS = 3 * 32 * 32
MOST_BYTES = 1 << 26  # of a batch
_HARMLESS = {  # all names that the files of CIFAR-10 import
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class Cifar10(Published):
    """CIFAR-10: 50,000 + 10,000 colour images of 32 x 32 in 10 classes; pixels are divided by 255.

    Its folder, ``cifar-10-batches-bin`` (binary version) or ``cifar-10-batches-py`` (python
    version), is looked for in $HGOBENCH_DATA and the user's cache, directly or in a folder
    ``cifar10``. It is not downloaded.

    Args:
        validation: as for a `Source`.
        verify: as for `Published`. The python version is verified by the MD5 of its files, the
            binary one by the number of images of each file and class.

    Example:
        >>> Cifar10(verify=False).files()[0].name
        'data_batch_1'
    """

    paper = "Krizhevsky, 2009"
    validity = "the user's own copy in $HGOBENCH_DATA or the cache"

    def files(self) -> list[Path]:
        """Return the paths at which its files are looked for."""
        names = [*BATCHES, *(f"{name}.bin" for name in BATCHES)]
        return [place / name for place in _places() for name in names]

    def load(self) -> Dataset:
        """Read the batches; pixels are divided by 255."""
        folder = locate()
        batches = {name: _batch(folder, name) for name in BATCHES}
        differences = [
            difference for name, batch in batches.items() if (difference := batch.differs(name))
        ]
        *first, last = batches.values()
        train, test = _split(first), _split([last])
        if not differences and folder.name.endswith("bin"):
            counts = [np.bincount(split.labels, minlength=10).tolist() for split in (train, test)]
            if counts != [[5000] * 10, [1000] * 10]:
                differences = [
                    f"{str(folder)!r}: classes have {counts} images; expected 5000 and 1000"
                ]
        differs = self.judge(differences)
        arrays = {
            f"{name} {kind}": getattr(batch, kind)
            for name, batch in batches.items()
            for kind in ("images", "labels")
        }
        train, validation = self.hold_out(train)
        return Dataset(train, validation, test, classes=10, digest=digest(arrays), differs=differs)


def _places() -> list[Path]:
    return [
        place / version
        for home in folders("cifar10")
        for place in (home, home.parent)
        for version in ("cifar-10-batches-bin", "cifar-10-batches-py")
    ]


def locate() -> Path:
    """Return the folder with the batches.

    Raises:
        Unavailable: there is none.
    """
    places = _places()
    for place in places:
        if place.is_dir():
            return place
    listed = " or ".join(str(place) for place in places[::2])
    raise Unavailable(
        f"data: 'cifar10' is not in {listed} (or -py); unpack its binary version there "
        "(cifar-10-binary.tar.gz of its author's page); it is not downloaded"
    )


@dataclass(frozen=True)
class _Batch:
    """A file: images (N, 3072), channel by channel, labels (N,); md5 is empty in the binary one."""

    path: Path
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    md5: str

    def differs(self, name: str) -> str:
        """Say how it differs from the published file; empty: not at all."""
        if not self.md5:
            count = len(self.labels)
            return (
                "" if count == 10_000 else f"{str(self.path)!r}: {count:,} images; expected 10,000"
            )
        if self.md5 == BATCHES[name]:
            return ""
        return (
            f"{str(self.path)!r}: MD5 {self.md5}; expected {BATCHES[name]}, that of CIFAR-10 as "
            "published"
        )


def _batch(folder: Path, name: str) -> _Batch:
    binary = folder / f"{name}.bin"
    path = binary if binary.exists() else folder / name
    location = f"data: {str(path)!r}"
    content = reading.content("data", path, MOST_BYTES)
    if path == binary:
        if not content or len(content) % (PIXELS + 1):
            raise InputError(
                f"{location}: {len(content)} bytes; expected a multiple of {PIXELS + 1}, "
                "an image each"
            )
        rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, PIXELS + 1)
        images, labels, md5 = rows[:, 1:], rows[:, 0].astype(np.int64), ""
        place = "byte {}".format
        step = PIXELS + 1
    else:
        with reading.refusing(location, "a batch of CIFAR-10, in its python version"):
            _check_places(content)
            batch = _Arrays(io.BytesIO(content), encoding="bytes").load()
            images = np.asarray(batch[b"data"])
            if images.dtype != np.uint8:
                raise ValueError(f"images of {images.dtype}")
            images = images.reshape(-1, PIXELS)
            labels = np.array(batch[b"labels"])
            if labels.dtype.kind not in "iu":
                raise ValueError(f"labels of {labels.dtype}")
            labels = labels.astype(np.int64)
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        place, step = "label {}".format, 1
    if labels.shape != (len(images),) or not len(images):
        raise InputError(
            f"{location}: {len(images)} images, labels of shape {labels.shape}; expected one "
            "for each"
        )
    for bad in np.flatnonzero((labels < 0) | (labels > 9))[:1]:
        raise InputError(
            f"{location}: {place(bad * step)}: {labels[bad]}; expected a class, 0 .. 9"
        )
    return _Batch(path, images, labels, md5)


def _check_places(content: bytes) -> None:
    """Refuse a place in the pickle's memo beyond its length: the memo is a table of that size."""
    for operation, argument, _ in pickletools.genops(content):
        if operation.name.endswith("PUT") and int(argument or 0) > len(content):
            raise pickle.UnpicklingError(f"{operation.name} {argument} in {len(content)} bytes")


class _Arrays(pickle.Unpickler):
    """Reads pickled arrays, and refuses to import anything else that a pickle names."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a name that reading arrays needs."""
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _split(batches: Sequence[_Batch]) -> Split:
    images = np.concatenate([batch.images for batch in batches])
    labels = np.concatenate([batch.labels for batch in batches])
    return Split(images.astype(np.float32) / np.float32(255), labels, image=(3, 32, 32))
