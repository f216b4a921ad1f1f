"""Data by user in LEAF's JSON files; FEMNIST, which LEAF makes on the user's machine."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench import reading
from hgobench.errors import InputError, Unavailable, shown
from hgobench.parameters import boolean

from . import arrays
from .arrays import TEST, numbered_names
from .base import Dataset
from .files import folders
from .own import MOST_NUMBERS, Own, home

MOST_BYTES = 1 << 31  # of a file
FORMAT = '{"users": [..], "num_samples": [..], "user_data": {USER: {"x": [..], "y": [..]}}}'


@dataclass(frozen=True)
class _Examples:
    """A part's examples: x as arrays (s, p) or lists of text, y as lists, who per user."""

    x: list[NDArray[Any]]
    text: list[str]
    y: list[Any]
    users: list[str]


class Leaf(Own):
    """Examples by user in JSON files as LEAF writes them: users are the groups.

    The folder holds ``train`` and ``test``, each with such files, or the files themselves:
    ``{"users": [..], "num_samples": [..], "user_data": {USER: {"x": [..], "y": [..]}}}``. An x is a
    list of numbers, or a text, all of one length: a sequence of characters, as of Shakespeare's
    plays. A y is a class as an integer or text, or a target as a real number. Features stay as
    they are.

    Args:
        path: the folder.
        image: whether an x is the pixels of a square grey image.
        test: as for `Csv`, unless there are folders ``train`` and ``test``.
        validation: as for a `Source`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ann = {"x": [[0.5, i] for i in range(20)], "y": [0, 1] * 10}
        ...     held = {"users": ["ann"], "num_samples": [20], "user_data": {"ann": ann}}
        ...     _ = (Path(folder) / "a.json").write_text(json.dumps(held))
        ...     data = Leaf(folder, validation=0).load()
        >>> len(data.train), data.train.groups.tolist() == [0] * 16
        (16, True)

    Source: Caldas et al., "LEAF: A Benchmark for Federated Settings", 2018 (arXiv:1812.01097).
    """

    paper = "Caldas et al., 2018 (LEAF)"
    validity = "a folder of LEAF's JSON files, perhaps in train and test; users are the groups"

    def __init__(
        self, path: str, image: bool = False, test: float = TEST, validation: float = 0.15
    ) -> None:
        super().__init__(path, test, validation)
        self.image = boolean("image", image)

    def files(self) -> list[Path]:
        """Return the JSON files."""
        root = home(self.path)
        return sorted(path for path in root.rglob("*.json") if path.is_file())

    def load(self) -> Dataset:
        """Read the files."""
        return self.read(home(self.path))

    def read(self, root: Path) -> Dataset:
        """Read the files of a folder."""
        location = f"data: {str(root)!r}"
        divided = (root / "train").is_dir() and (root / "test").is_dir()
        found = {
            name: _gathered(sorted((root / name).glob("*.json")), f"{location}: {name}")
            if name
            else _gathered(sorted(root.glob("*.json")), location)
            for name in (("train", "test") if divided else ("",))
        }
        with reading.refusing(location):
            texts = {bool(part.text) for part in found.values()}
            if len(texts) > 1:
                raise InputError(f"{location}: x is text in one part and numbers in the other")
            if texts == {True}:
                parts = self._written(found)
            else:
                parts = {
                    name: arrays.Part(
                        self._shaped(np.concatenate(part.x), location),
                        np.array(part.y),
                        np.array(part.users),
                    )
                    for name, part in found.items()
                }
            self.check(parts, location)
            return arrays.assembled(parts, self, self.test)

    def check(self, parts: dict[str, arrays.Part], location: str) -> None:
        """Raise InputError if these are not the data that they should be."""

    def _shaped(self, x: NDArray[Any], location: str) -> NDArray[Any]:
        if not self.image:
            return x
        side = math.isqrt(x.shape[1])
        if side * side != x.shape[1]:
            raise InputError(f"{location}: x of {x.shape[1]} numbers; expected a square image's")
        return x.reshape(len(x), side, side)

    def _written(self, found: dict[str, _Examples]) -> dict[str, arrays.Part]:
        """Return texts as positions in the alphabet of all of them; labels by their own."""
        letters = {
            name: np.array([list(text) for text in part.text]) for name, part in found.items()
        }
        _, numbers = numbered_names({name: a.ravel() for name, a in letters.items()})
        answers = {name: np.array(part.y) for name, part in found.items()}
        if all(a.dtype.kind == "U" for a in answers.values()):  # "a" is not "A" here
            answers = dict(numbered_names(answers)[1])
        return {
            name: arrays.Part(
                numbers[name].reshape(letters[name].shape), answers[name], np.array(part.users)
            )
            for name, part in found.items()
        }


class Femnist(Leaf):
    """FEMNIST: digits and letters of NIST's forms by writer, 28 x 28 in 62 classes.

    LEAF makes it on the user's machine (``preprocess.sh`` in its folder ``data/femnist``), with
    writers and examples as its options say, so that there are no published files to compare with:
    a result's address has the digest of what was read. Its folders ``train`` and ``test`` are
    looked for in $HGOBENCH_DATA/femnist and the user's cache, directly or in a folder ``data``; it
    is not downloaded. Writers are the groups (partition ``natural``). Ink is 0 and paper 1.

    Args:
        validation: as for a `Source`.

    Example:
        >>> Femnist(validation=0).image
        True
    """

    validity = "LEAF's JSON files in $HGOBENCH_DATA or the cache; writers are the groups"
    classes = 62

    def __init__(self, validation: float = 0.15) -> None:
        super().__init__("femnist", image=True, validation=validation)

    def places(self) -> list[Path]:
        """Return the folders in which its two folders are looked for."""
        return [place for root in folders("femnist") for place in (root, root / "data")]

    def files(self) -> list[Path]:
        """Return the JSON files."""
        return [
            path
            for place in self.places()
            for part in ("train", "test")
            for path in sorted((place / part).glob("*.json"))
        ]

    def load(self) -> Dataset:
        """Read the files."""
        for place in self.places():
            if (place / "train").is_dir() and (place / "test").is_dir():
                return self.read(place)
        raise Unavailable(
            "data: 'femnist': no folders train and test of JSON files in "
            f"{' or '.join(map(str, self.places()))}; have LEAF make them (preprocess.sh in its "
            "data/femnist); it is not downloaded"
        )

    def check(self, parts: dict[str, arrays.Part], location: str) -> None:
        """Refuse what are no images of 28 x 28 in [0, 1] in 62 classes."""
        for name, part in parts.items():
            x, y = part.features, part.labels
            if x.shape[1:] != (28, 28) or y.dtype.kind not in "iu":
                raise InputError(
                    f"{location}: {name}: images {x.shape[1:]}, labels {y.dtype}; expected 28 x 28 "
                    "and integers"
                )
            if not (x.min() >= 0 and x.max() <= 1):
                raise InputError(
                    f"{location}: {name}: pixels {x.min():g} .. {x.max():g}; expected 0 .. 1"
                )
            for row in np.flatnonzero((y < 0) | (y >= self.classes))[:1]:
                raise InputError(f"{location}: {name}: label {y[row]}; expected 0 .. 61")


def _gathered(files: Sequence[Path], location: str) -> _Examples:
    """Read the users of some files, in their order."""
    if not files:
        raise InputError(f"{location}: no JSON files; expected some of {FORMAT}")
    found = _Examples([], [], [], [])
    seen: set[str] = set()
    width: int | None = None
    size = 0
    for path in files:
        where = f"data: {str(path)!r}"
        for user, x, y in _users(path, where):
            if user in seen:
                raise InputError(f"{where}: user {user!r} is there twice; expected each once")
            seen.add(user)
            if not x:
                continue
            features = _features(x, f"{where}: user {user!r}")
            long = len(x[0]) if features is None else features.shape[1]
            width = long if width is None else width
            mixed = bool(found.text if features is not None else found.x)
            if long != width or mixed:
                unit = "characters" if features is None else "numbers"
                raise InputError(
                    f"{where}: user {user!r}: x of {long} {unit}; others have {width}"
                    f"{' of another kind' * mixed}"
                )
            size += len(x) * long
            if size > MOST_NUMBERS:
                raise InputError(
                    f"{where}: more than {MOST_NUMBERS:,} numbers; expected at most as many"
                )
            if features is None:
                found.text.extend(x)
            else:
                found.x.append(features)
            found.y.extend(y)
            found.users.extend([user] * len(x))
    if not found.users:
        raise InputError(f"{location}: no examples; expected at least one")
    kinds = {type(y) for y in found.y}
    if kinds not in ({int}, {str}, {float}, {int, float}):
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise InputError(
            f"{location}: y of {names}; expected integers, text or real numbers, all alike"
        )
    if kinds == {int} and any(abs(y) > 1 << 53 for y in found.y):
        raise InputError(f"{location}: y beyond 2^53; expected classes or targets")
    return found


def _users(path: Path, where: str) -> Iterator[tuple[str, list[Any], list[Any]]]:
    """Yield each user of a file with x and y."""
    content = reading.content("data", path, MOST_BYTES)
    with reading.refusing(where, FORMAT):
        held = json.loads(content)
    if not isinstance(held, dict):
        raise InputError(f"{where}: {shown(held)}; expected {FORMAT}")
    users, counts, data = (held.get(name) for name in ("users", "num_samples", "user_data"))
    if (
        not isinstance(users, list)
        or not isinstance(counts, list)
        or not isinstance(data, dict)
        or len(users) != len(counts)
        or not all(isinstance(user, str) for user in users)
    ):
        raise InputError(f"{where}: users, num_samples or user_data do not fit; expected {FORMAT}")
    if set(users) != set(data) or len(set(users)) < len(users):
        raise InputError(f"{where}: users are not those of user_data; expected each once in both")
    for user, count in zip(users, counts, strict=True):
        mine = data[user]
        x, y = (mine.get(k) for k in ("x", "y")) if isinstance(mine, dict) else (None, None)
        if not isinstance(x, list) or not isinstance(y, list) or not len(x) == len(y) == count:
            raise InputError(
                f"{where}: user {user!r}: x and y are no lists of num_samples = {shown(count)} "
                f"values; expected {FORMAT}"
            )
        yield user, x, y


def _features(x: list[Any], where: str) -> NDArray[Any] | None:
    """Return a user's x as an array, float32 or integers (s, p); None: they are texts."""
    if all(isinstance(value, str) for value in x):
        if len({len(value) for value in x}) > 1 or not x[0]:
            raise InputError(f"{where}: x are texts of several lengths, or empty; expected one")
        return None
    with reading.refusing(f"{where}: x", "lists of numbers of one length"):
        values = np.array(x)
    if values.ndim != 2 or values.dtype.kind not in "if" or not values.shape[1]:
        raise InputError(
            f"{where}: x: {values.dtype} of shape {values.shape}; expected lists of numbers of one "
            "length, or texts"
        )
    with np.errstate(over="ignore"):  # infinite numbers are refused
        return values if values.dtype.kind == "i" else values.astype(np.float32)
