"""CIFAR-10 and CIFAR-100, from copies on the user's disk."""

from __future__ import annotations

import hashlib
import io
import pickle
import pickletools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

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
PARTS = {  # of CIFAR-100
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}
PIXELS = 3 * 32 * 32
MOST_BYTES = 1 << 28  # of a file
_HARMLESS = {  # all names that the files of CIFAR-10 import
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


@dataclass(frozen=True)
class _Batch:
    """A file: images (N, 3072), channel by channel, labels (N,); md5 is empty in the binary one."""

    path: Path
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    md5: str


class Cifar(Published):
    """Colour images of 32 x 32 in two versions, binary and python.

    Args:
        validation: as for a `Source`.
        verify: as for `Published`.
    """

    validity = "the user's own copy in $HGOBENCH_DATA or the cache"
    name: ClassVar[str]
    shown: ClassVar[str]
    classes: ClassVar[int]
    folders: ClassVar[tuple[str, str]]  # of the binary version and of the python version
    md5: ClassVar[Mapping[str, str]]  # of the python version's files; the last has the tests
    sizes: ClassVar[Mapping[str, int]]  # images of each file
    labels: ClassVar[str]  # as the python version calls them
    before: ClassVar[int] = 0  # bytes before the label in the binary version

    def files(self) -> list[Path]:
        """Return the paths at which its files are looked for."""
        names = [*self.md5, *(f"{name}.bin" for name in self.md5)]
        return [place / name for place in self.places() for name in names]

    def places(self) -> list[Path]:
        """Return the folders in which it is looked for."""
        return [
            place / version
            for home in folders(self.name)
            for place in (home, home.parent)
            for version in self.folders
        ]

    def load(self) -> Dataset:
        """Read the files; pixels are divided by 255."""
        folder = self.locate()
        batches = {name: self._batch(folder, name) for name in self.md5}
        differences = [
            difference
            for name, batch in batches.items()
            if (difference := self._difference(name, batch))
        ]
        *first, last = batches.values()
        train, test = _split(first), _split([last])
        if not differences and folder.name == self.folders[0]:
            each = [sum(list(self.sizes.values())[:-1]), list(self.sizes.values())[-1]]
            expected = [size // self.classes for size in each]
            counts = [
                np.bincount(split.labels, minlength=self.classes).tolist()
                for split in (train, test)
            ]
            if counts != [[number] * self.classes for number in expected]:
                differences = [
                    f"{str(folder)!r}: classes have {counts} images; expected {expected[0]} and "
                    f"{expected[1]}"
                ]
        differs = self.judge(differences)
        arrays = {
            f"{name} {kind}": getattr(batch, kind)
            for name, batch in batches.items()
            for kind in ("images", "labels")
        }
        train, validation = self.hold_out(train)
        return Dataset(
            train, validation, test, self.classes, digest=digest(arrays), differs=differs
        )

    def locate(self) -> Path:
        """Return the folder with the files.

        Raises:
            Unavailable: there is none.
        """
        places = self.places()
        for place in places:
            if place.is_dir():
                return place
        listed = " or ".join(str(place) for place in places[::2])
        _, python = self.folders
        archive = self.folders[0].replace("-batches-bin", "-binary")
        raise Unavailable(
            f"data: {self.name!r} is not in {listed} (or {python}); unpack its binary version "
            f"there ({archive}.tar.gz of its author's page), or have "
            f"torchvision.datasets.{self.shown.replace('-', '')}(FOLDER, download=True) fetch it; "
            "it is not downloaded"
        )

    def _difference(self, name: str, batch: _Batch) -> str:
        """Say how a file differs from the published one; empty: not at all."""
        if not batch.md5:
            count, expected = len(batch.labels), self.sizes[name]
            return (
                ""
                if count == expected
                else f"{str(batch.path)!r}: {count:,} images; expected {expected:,}"
            )
        if batch.md5 == self.md5[name]:
            return ""
        return (
            f"{str(batch.path)!r}: MD5 {batch.md5}; expected {self.md5[name]}, that of "
            f"{self.shown} as published"
        )

    def _batch(self, folder: Path, name: str) -> _Batch:
        binary = folder / f"{name}.bin"
        path = binary if binary.exists() else folder / name
        location = f"data: {str(path)!r}"
        content = reading.content("data", path, MOST_BYTES)
        if path == binary:
            step = self.before + 1 + PIXELS
            if not content or len(content) % step:
                raise InputError(
                    f"{location}: {len(content)} bytes; expected a multiple of {step}, "
                    "an image each"
                )
            rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, step)
            images, labels, md5 = rows[:, -PIXELS:], rows[:, self.before].astype(np.int64), ""
            place, start = "byte {}".format, self.before
        else:
            with reading.refusing(location, f"a batch of {self.shown}, in its python version"):
                _check_places(content)
                batch = _Arrays(io.BytesIO(content), encoding="bytes").load()
                images = np.asarray(batch[b"data"])
                if images.dtype != np.uint8:
                    raise ValueError(f"images of {images.dtype}")
                images = images.reshape(-1, PIXELS)
                labels = np.array(batch[self.labels.encode()])
                if labels.dtype.kind not in "iu":
                    raise ValueError(f"labels of {labels.dtype}")
                labels = labels.astype(np.int64)
            md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
            place, start, step = "label {}".format, 0, 1
        if labels.shape != (len(images),) or not len(images):
            raise InputError(
                f"{location}: {len(images)} images, labels of shape {labels.shape}; expected one "
                "for each"
            )
        for bad in np.flatnonzero((labels < 0) | (labels >= self.classes))[:1]:
            raise InputError(
                f"{location}: {place(start + bad * step)}: {labels[bad]}; expected a class, "
                f"0 .. {self.classes - 1}"
            )
        return _Batch(path, images, labels, md5)


class Cifar10(Cifar):
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
    name, shown, classes = "cifar10", "CIFAR-10", 10
    folders = ("cifar-10-batches-bin", "cifar-10-batches-py")
    md5 = BATCHES
    sizes, labels = dict.fromkeys(BATCHES, 10_000), "labels"


class Cifar100(Cifar):
    """CIFAR-100: 50,000 + 10,000 colour images of 32 x 32 in 100 classes; pixels divided by 255.

    Its folder, ``cifar-100-binary`` (binary version) or ``cifar-100-python`` (python version), is
    looked for as that of `Cifar10`. It is not downloaded. Classes are the fine ones.

    Args:
        validation: as for a `Source`.
        verify: as for `Cifar10`.

    Example:
        >>> Cifar100(verify=False).files()[0].name
        'train'
    """

    paper = "Krizhevsky, 2009"
    name, shown, classes = "cifar100", "CIFAR-100", 100
    folders = ("cifar-100-binary", "cifar-100-python")
    md5 = PARTS
    sizes, labels = {"train": 50_000, "test": 10_000}, "fine_labels"
    before = 1  # the coarse label


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
