"""Arrays, tensors and torch's data sets of one's own, to a `Dataset`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from hgobench.errors import InputError, shown

from .base import (
    MOST_WORDS,
    Dataset,
    Features,
    Labels,
    Source,
    Split,
    digest,
    divided_rows,
    standardised,
)

TEST = 0.2  # the share of the examples that is the test set, unless it is given
_CHANNELS = (1, 3, 4)
_KINDS = {"f": "real", "b": "integer", "i": "integer", "u": "integer"}
_EXPECTED = (
    "(features, labels) or (features, labels, groups), a torch Dataset, a pair (train, test) of "
    "either, or a hgobench.data.base.Dataset"
)


@dataclass(frozen=True)
class Part:
    """Examples as they were given.

    Attributes:
        features: (N, p), images (N, height, width) or (N, channels, height, width).
        labels: (N,) classes as integers or text, or targets as real numbers.
        groups: (N,) who produced each, as integers or text; None: unknown.
    """

    features: NDArray[Any]
    labels: NDArray[Any]
    groups: NDArray[Any] | None = None


def dataset(value: object, source: Source, test: float = TEST) -> Dataset:
    """Make a data set of what somebody's function returned.

    Features stay as they are, but for pixels: images of bytes are divided by 255. Integers,
    (N, L), that are not negative are sequences: the largest one tells the vocabulary. Labels are
    integers or text: classes; or real numbers: targets of a regression.

    Args:
        value: ``(features, labels)`` or ``(features, labels, groups)``, a torch Dataset of such
            pairs or triples, or a pair ``(train, test)`` of either.
        source: holds out validation examples.
        test: the share of the examples that is the test set, where none is given.

    Raises:
        InputError: it is none of these, or its arrays don't fit together.

    Example:
        >>> from hgobench.data.functions import Made
        >>> x, y = np.arange(40).reshape(20, 2), np.array(["no", "yes"] * 10)
        >>> data = dataset((x, y), Made(lambda: None, {}))
        >>> data.classes, data.vocabulary, len(data.train), len(data.validation), len(data.test)
        (2, 40, 13, 3, 4)
    """
    if isinstance(value, Dataset):
        return value
    if _is_pair(value):
        train, held = value
        parts = {"train": part(train, "train"), "test": part(held, "test")}
    else:
        parts = {"": part(value, "")}
    return assembled(parts, source, test)


def _is_pair(value: object) -> TypeGuard[tuple[object, object]]:
    """Say whether a value is (train, test), and not (features, labels)."""
    return isinstance(value, tuple) and len(value) == 2 and not any(map(_is_array, value))


def _is_array(value: object) -> bool:
    """Say whether a value is an array of numbers or text, and not a set of examples."""
    if hasattr(value, "__array__") or hasattr(value, "detach"):
        return True
    return isinstance(value, list) and (not value or not isinstance(value[0], tuple))


def part(value: object, name: str) -> Part:
    """Return examples as arrays.

    Args:
        value: ``(features, labels[, groups])`` or a torch Dataset.
        name: what messages call them: ``"train"``; may be empty.

    Raises:
        InputError: it is neither.
    """
    location = f"data: {name}: " if name else "data: "
    if isinstance(value, Split):
        return Part(_shaped(value), value.labels, value.groups)
    tensors = getattr(value, "tensors", None)  # torch's TensorDataset, without a call per example
    arrays = tensors if isinstance(tensors, tuple) else value
    if isinstance(arrays, tuple) and len(arrays) in (2, 3) and all(map(_is_array, arrays)):
        return Part(*map(array, arrays))
    if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__getitem__"):
        raise InputError(f"{location}{shown(value)}; expected {_EXPECTED}")
    try:
        count = len(value)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(
            f"{location}{type(value).__name__} has no length; expected a data set of map style, "
            "with __len__ and __getitem__"
        ) from None
    return _of_items([value[i] for i in range(count)], location)


def _of_items(items: Sequence[object], location: str) -> Part:
    """Stack examples that were given one by one."""
    if not items:
        raise InputError(f"{location}no examples; expected at least one")
    rows: list[Sequence[object]] = []
    for i, item in enumerate(items):
        if not isinstance(item, tuple | list) or len(item) not in (2, 3):
            raise InputError(
                f"{location}example {i}: {type(item).__name__}; expected (features, label) or "
                "(features, label, group)"
            )
        rows.append(item)
        if len(item) != len(rows[0]):
            raise InputError(
                f"{location}example {i}: {len(item)} values; example 0 has {len(rows[0])}"
            )
    columns = [list(map(array, column)) for column in zip(*rows, strict=True)]
    first = columns[0][0].shape
    for i, features in enumerate(columns[0]):
        if features.shape != first:
            raise InputError(
                f"{location}example {i}: features of shape {features.shape}; example 0 has {first}"
            )
    return Part(*map(np.stack, columns))


def array(value: Any) -> NDArray[Any]:
    """Return an array, tensor, image of Pillow or list as an array; channels come first."""
    if hasattr(value, "detach"):
        return np.asarray(value.detach().cpu().numpy())
    if hasattr(value, "getbands"):
        pixels = np.asarray(value)
        return pixels if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return np.asarray(value)


def _shaped(split: Split) -> NDArray[Any]:
    shape = split.image or split.features.shape[1:]
    return split.features.reshape(len(split), *shape)


def assembled(
    parts: Mapping[str, Part], source: Source, test: float = TEST, table: bool = False
) -> Dataset:
    """Make a data set of its training and test examples, or of all, of which some are for tests.

    Args:
        parts: those named ``"train"``, ``"test"``, perhaps ``"validation"``; or all under ``""``.
        source: holds out validation examples, where none are given.
        test: as for `dataset`.
        table: whether features are a table's columns, (N, p) float64, which are standardised with
            the training examples' mean and deviation.

    Raises:
        InputError: the arrays are no examples.
    """
    for name, given in parts.items():
        lengths = [len(a) if a.ndim else 0 for a in (given.features, given.labels)]
        if lengths[0] != lengths[1]:
            raise InputError(
                f"data: {name}{': ' * bool(name)}{lengths[0]} examples of features, {lengths[1]} "
                "labels; expected one label for each"
            )
    features: Mapping[str, NDArray[Any]] = {name: p.features for name, p in parts.items()}
    image, vocabulary = None, None
    if not table:
        features, image, vocabulary = _features(features)
    labels, classes = _labels({name: p.labels for name, p in parts.items()})
    groups = _groups({name: p.groups for name, p in parts.items()})
    splits = {name: Split(features[name], labels[name], groups.get(name), image) for name in parts}
    checksum = digest(
        {"image": np.array(image or ()), "classes": np.array(classes)}
        | {
            f"{name} {kind}": values
            for name, split in splits.items()
            for kind in ("features", "labels", "groups")
            if (values := getattr(split, kind)) is not None
        }
    )
    if "" in splits:
        whole = splits[""]
        rest, last = divided_rows(whole.labels, test)
        inner, outer = source.held_out(whole.labels[rest])  # examples are copied once
        train, validation, held = map(whole.take, (rest[inner], rest[outer], last))
    else:
        train, held = splits["train"], splits["test"]
        given_too = splits.get("validation")
        train, validation = source.hold_out(train) if given_too is None else (train, given_too)
    if table:
        train, validation, held = standardised(train, train, validation, held)
    return Dataset(train, validation, held, classes, checksum, vocabulary=vocabulary)


def _features(
    parts: Mapping[str, NDArray[Any]],
) -> tuple[dict[str, Features], tuple[int, ...] | None, int | None]:
    """Return features as float32, (N, p), the shape of an image, and the vocabulary's size."""
    first = next(iter(parts.values()))
    for name, values in parts.items():
        location = f"data: {name}{': ' * bool(name)}features: "
        if values.dtype.kind not in "biuf":
            raise InputError(f"{location}{values.dtype}; expected numbers")
        if not 2 <= values.ndim <= 4:
            raise InputError(
                f"{location}shape {values.shape}; expected (N, features), images (N, height, "
                "width) or (N, channels, height, width)"
            )
        if values.ndim == 4 and values.shape[3] in _CHANNELS and values.shape[1] not in _CHANNELS:
            raise InputError(
                f"{location}shape {values.shape}; channels come first, as in torch: "
                "(N, channels, height, width)"
            )
        if values.shape[1:] != first.shape[1:] or values.dtype.kind != first.dtype.kind:
            raise InputError(
                f"{location}{values.dtype} of shape {values.shape}; the training examples are "
                f"{first.dtype} of shape {first.shape}"
            )
    image = (
        None
        if first.ndim == 2
        else tuple(first.shape[-2:] if first.shape[1] == 1 else first.shape[1:])
    )
    vocabulary = None
    if first.ndim == 2 and first.dtype.kind in "iu" and first.size:
        least = min(int(values.min(initial=0)) for values in parts.values())
        most = max(int(values.max(initial=0)) for values in parts.values())
        if max(most, -least) >= MOST_WORDS:
            raise InputError(
                f"data: features: integers up to {max(most, -least):,}; expected less than "
                f"{MOST_WORDS:,}, which float32 holds exactly, or real numbers"
            )
        vocabulary = most + 1 if least >= 0 else None
    scale = np.float32(255 if first.ndim > 2 and first.dtype == np.uint8 else 1)
    flat = {}
    for name, values in parts.items():
        flattened = values.reshape(len(values), math.prod(values.shape[1:]))
        with np.errstate(over="ignore"):  # infinite numbers are refused
            numbers: Features = flattened.astype(np.float32, copy=False)
        flat[name] = numbers / scale if scale != 1 else numbers
    return flat, image, vocabulary


def _labels(parts: Mapping[str, NDArray[Any]]) -> tuple[dict[str, Labels], int]:
    """Return labels, and the number of classes; 0: a regression."""
    kinds = {
        "real" if a.dtype.kind == "f" else "integer" if a.dtype.kind in "biu" else "text"
        for a in parts.values()
    }
    if len(kinds) > 1:
        raise InputError(
            f"data: labels: of kinds {' and '.join(sorted(kinds))}; expected one kind in all parts"
        )
    for name, values in parts.items():
        if values.ndim != 1:
            raise InputError(
                f"data: {name}{': ' * bool(name)}labels: shape {values.shape}; expected (N,)"
            )
    if kinds == {"real"}:
        with np.errstate(over="ignore"):
            return {name: values.astype(np.float32) for name, values in parts.items()}, 0
    if kinds == {"integer"}:
        most = max(int(values.max(initial=0)) for values in parts.values())
        return {name: values.astype(np.int64) for name, values in parts.items()}, most + 1
    names, numbered = numbered_names({name: values.astype(str) for name, values in parts.items()})
    expect_labels("labels", names)
    return dict(numbered), len(names)


def numbered_names(
    parts: Mapping[str, NDArray[Any]],
) -> tuple[list[str], dict[str, NDArray[np.int64]]]:
    """Return all names in order, and the number of each one in place of it.

    >>> numbered_names({"train": np.array(["b", "a"]), "test": np.array(["b"])})
    (['a', 'b'], {'train': array([1, 0]), 'test': array([1])})
    """
    names, numbers = np.unique(np.concatenate(list(parts.values())), return_inverse=True)
    ends = np.cumsum([len(values) for values in parts.values()])[:-1]
    pieces = np.split(numbers.astype(np.int64), ends)
    return names.tolist(), dict(zip(parts, pieces, strict=True))


def _groups(parts: Mapping[str, NDArray[Any] | None]) -> dict[str, NDArray[np.int64]]:
    """Return the groups as integers, alike in all parts that have them."""
    given = {name: values for name, values in parts.items() if values is not None}
    for name, values in given.items():
        if values.ndim != 1:
            raise InputError(
                f"data: {name}{': ' * bool(name)}groups: shape {values.shape}; expected (N,)"
            )
    if not given:
        return {}
    return numbered_names(given)[1]


_MISSING = frozenset({"nan", "na", "n/a", "<na>", "null", "none", "missing", "?", "-", "."})


def expect_labels(location: str, names: Sequence[str]) -> None:
    """Refuse two spellings of one label, and labels that mean "missing".

    Args:
        location: of the labels, for messages: ``"flowers.csv: label"``.
        names: all labels that differ.

    Raises:
        InputError: naming them.
    """
    location = f"data: {location}: "
    spellings: dict[float | str, str] = {}
    numbers, missing = 0, ""
    for name in names:
        try:
            key: float | str = float(name)
        except ValueError:
            key = " ".join(name.split()).casefold()
        numbers += isinstance(key, float) and not math.isnan(key)
        missing = name if key != key or key in _MISSING else missing
        if (spelling := spellings.setdefault(key, name)) != name:
            raise InputError(
                f"{location}{spelling!r} and {name!r} differ in their spelling alone; expected one "
                "spelling for a class"
            )
    if missing and (missing.lower() == "nan" or numbers == len(names) - 1):
        raise InputError(
            f"{location}{missing!r} looks as if the label were missing; expected a class in "
            "every line"
        )
