"""Data sets of Hugging Face's `datasets` as it saves them: Arrow files, read by pyarrow."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench import reading
from hgobench.errors import InputError, shown
from hgobench.parameters import boolean, whole

from . import arrays
from .arrays import TEST
from .base import Dataset
from .own import EXPECTED, MOST_NUMBERS, SIDE, Own, Picture, expect_no_index, home, pixels, stacked

MOST_JSON = 1 << 24  # bytes
FORMAT = "a folder that save_to_disk of Hugging Face's datasets wrote"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class _Table:
    """A split: its place for messages, its columns (Arrow), and what `datasets` says of each."""

    where: str
    folder: Path
    columns: Mapping[str, Any]
    features: Mapping[str, Mapping[str, Any]]
    rows: int

    def kind(self, name: str) -> str:
        """Return the type of a column as `datasets` calls it: ``ClassLabel``, ``Image`` .."""
        return str(self.features.get(name, {}).get("_type", ""))


class HuggingFace(Own):
    """A data set, or a dictionary of some, that ``save_to_disk`` of Hugging Face's library wrote.

    Features are a column of images; one of lists of numbers of one length, or of arrays of one
    shape; or several columns of numbers: these are a table, and standardised as a `Csv`. The label
    is a ClassLabel, which keeps its numbers, or integers or text. A dictionary's ``train``,
    ``test`` and ``validation`` are the splits; another one is named by its folder,
    ``FOLDER/unsupervised``.

    It needs pyarrow, and not ``datasets``: ``pip install 'hgobench[huggingface]'``.

    Args:
        path: the folder.
        label: the column with the class.
        group: the column that says who produced an example (for the partition ``natural``); None:
            there is none.
        target: the column with the number that a regression is to tell, in place of a label; None:
            there are classes.
        features: the column of the features; None: all others.
        size: as for `Pictures`.
        grey: as for `Pictures`.
        test: as for `Csv`, unless there is a split ``test``.
        validation: as for a `Source`, unless there is a split ``validation``.

    Example:
        >>> HuggingFace("faces", features="image", label="mood", size=32).size
        32
    """

    validity = "a folder as datasets.save_to_disk writes it; needs hgobench[huggingface]"

    def __init__(
        self,
        path: str,
        label: str = "label",
        group: str | None = None,
        target: str | None = None,
        features: str | None = None,
        size: int | None = None,
        grey: bool = False,
        test: float = TEST,
        validation: float = 0.15,
    ) -> None:
        super().__init__(path, test, validation)
        self.label, self.group, self.target, self.features = str(label), group, target, features
        if target is not None and label != "label":
            raise ValueError(
                f"label and target: {label!r} and {target!r}; expected a label (classes) or a "
                "target (a regression)"
            )
        self.size = None if size is None else whole("size", size, least=1, most=SIDE)
        self.grey = boolean("grey", grey)

    @property
    def _answer(self) -> str:
        return self.label if self.target is None else self.target

    def files(self) -> list[Path]:
        """Return the folder's files, and those that hold images outside of it."""
        found = sorted(path for path in home(self.path).rglob("*") if path.is_file())
        with suppress(Exception):  # what can't be read is refused when it is loaded
            for table in self._tables(full=False).values():
                for name, column in table.columns.items():
                    if table.kind(name) == "Image":
                        found += [path for path in _outside(table, column) if path is not None]
        return found

    def load(self) -> Dataset:
        """Read the columns."""
        location = f"data: {self.path!r}"
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise InputError(
                f"{location}: pyarrow is not installed: pip install 'hgobench[huggingface]'"
            ) from None
        with reading.refusing(location, FORMAT):
            tables = self._tables()
            names = self._names(tables)
            parts, kinds = {}, set()
            for split, table in tables.items():
                columns = [(name, *self._feature(table, name)) for name in names]
                kinds |= {kind for _, kind, _ in columns}
                if kinds != {"number"} and len(columns) > 1:
                    told = ", ".join(f"{name!r} ({kind})" for name, kind, _ in columns)
                    raise InputError(
                        f"{table.where}: features {told}; expected columns of numbers, or one of "
                        "images or lists; name one by features=COLUMN"
                    )
                x = columns[0][2]
                if kinds == {"number"}:
                    x = np.stack([values.astype(np.float64) for *_, values in columns], axis=1)
                group = None if self.group is None else _names_of(table, self.group)
                parts[split] = arrays.Part(x, self._labels(table, split), group)
                if kinds == {"number"} and self.target is None:
                    y = np.unique(parts[split].labels, return_inverse=True)[1]
                    expect_no_index(self.path, names, x, y)
            return arrays.assembled(parts, self, self.test, table=kinds == {"number"})

    def _tables(self, full: bool = True) -> dict[str, _Table]:
        """Return the splits by name; a data set without splits under ``""``.

        Args:
            full: whether all values are checked.
        """
        location, root = f"data: {self.path!r}", home(self.path)
        about = root / "dataset_dict.json"
        if not about.exists():
            return {"": _table(root, location, full)}
        splits = _json(about, location).get("splits")
        if not isinstance(splits, list) or not splits or not all(map(_is_name, splits)):
            raise InputError(f"{location}: splits {shown(splits)}; expected a list of names")
        if len(set(splits)) < len(splits):
            raise InputError(f"{location}: splits {', '.join(splits)}; expected each once")
        if len(splits) == 1:
            return {"": _table(root / splits[0], f"{location}: {splits[0]}", full)}
        if not {"train", "test"} <= set(splits) <= set(SPLITS):
            raise InputError(
                f"{location}: splits {', '.join(splits)}; expected train and test, and perhaps "
                f"validation; one alone is path={self.path}/{splits[0]}"
            )
        found = {
            name: _table(root / name, f"{location}: {name}", full)
            for name in SPLITS
            if name in splits
        }
        first = found["train"]
        for table in found.values():
            if list(table.columns) != list(first.columns):
                raise InputError(
                    f"{table.where}: columns {', '.join(table.columns)}; train has "
                    f"{', '.join(first.columns)}"
                )
        return found

    def _names(self, tables: Mapping[str, _Table]) -> list[str]:
        """Return the columns of the features; check that all that are asked for are there."""
        table = next(iter(tables.values()))
        asked = [self._answer, *([self.group] if self.group is not None else [])]
        wanted = [*asked, *([self.features] if self.features is not None else [])]
        there = ", ".join(map(repr, table.columns))
        problems = [
            f"{table.where}: column {name!r} is missing; there are {there}"
            for name in wanted
            if name not in table.columns
        ]
        if len(set(wanted)) < len(wanted):
            problems.append(
                f"{table.where}: {', '.join(map(repr, wanted))}: a column is named twice"
            )
        names = [name for name in table.columns if name not in asked]
        names = names if self.features is None else [self.features]
        if not names:
            problems.append(f"{table.where}: no columns besides {', '.join(map(repr, asked))}")
        if problems:
            raise InputError(problems)
        return names

    def _feature(self, table: _Table, name: str) -> tuple[str, NDArray[Any]]:
        """Return a column's values and their kind: ``number``, ``list`` or ``image``."""
        column, where = table.columns[name], f"{table.where}: column {name!r}"
        _expect_whole(column, where)
        if table.kind(name) == "Image":
            return "image", self._images(table, name)
        chunks = [_nested(chunk, where) for chunk in column.chunks]
        shapes = {chunk.shape[1:] for chunk in chunks}
        if len(shapes) > 1:
            raise InputError(f"{where}: lists of several lengths; expected one length")
        values = np.concatenate(chunks)
        return ("number" if values.ndim == 1 else "list"), values

    def _images(self, table: _Table, name: str) -> NDArray[np.uint8]:
        column, where = table.columns[name], f"{table.where}: column {name!r}"
        fields = [field.name for field in column.type] if _is_struct(column.type) else []
        if set(fields) != {"bytes", "path"}:
            raise InputError(f"{where}: {column.type}; expected images as bytes or paths")
        outside = _outside(table, column)
        mode = "L" if self.grey else "RGB"

        def images() -> Iterator[Picture]:
            rows = (value for chunk in column.chunks for value in chunk.field("bytes"))
            for i, (held, path) in enumerate(zip(rows, outside, strict=True)):
                place = f"{where}, row {i}"
                with reading.refusing(place, EXPECTED):
                    if path is None:
                        file = io.BytesIO(held.as_py())
                        yield Picture(place, "row 0", pixels(file, place, self.size, mode))
                    else:
                        with reading.opened(path) as opened:
                            yield Picture(place, "row 0", pixels(opened, place, self.size, mode))

        return stacked(images(), table.rows, where)

    def _labels(self, table: _Table, split: str) -> NDArray[Any]:
        """Return classes as integers or text, or targets as real numbers."""
        name = self._answer
        column, where = table.columns[name], f"{table.where}: column {name!r}"
        if self.target is not None:
            _expect_whole(column, where)
            values = np.concatenate([_nested(chunk, where) for chunk in column.chunks])
            if values.ndim > 1:
                raise InputError(f"{where}: {column.type}; expected numbers")
            return values.astype(np.float64)
        labels = _names_of(table, name)
        if table.kind(name) != "ClassLabel":
            return labels
        classes = table.features[name].get("names")
        if not isinstance(classes, list) or labels.dtype.kind not in "iu":
            raise InputError(f"{where}: a ClassLabel without names or numbers; expected both")
        for row in np.flatnonzero((labels < 0) | (labels >= len(classes)))[:1]:
            raise InputError(
                f"{where}, row {row}: {labels[row]}; expected a class, 0 .. {len(classes) - 1}"
            )
        if split in ("validation", "test"):
            return labels
        for missing in np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)[:1]:
            raise InputError(
                f"{where}: no example of class {shown(classes[missing])}; expected some of each of "
                f"the {len(classes)} classes"
            )
        return labels


def _table(folder: Path, where: str, full: bool) -> _Table:
    """Read a data set's columns, mapped, and check them."""
    import pyarrow

    state = _json(folder / "state.json", where)
    features = _json(folder / "dataset_info.json", where).get("features")
    if features is not None and not (
        isinstance(features, dict) and all(isinstance(f, dict | list) for f in features.values())
    ):
        raise InputError(f"{where}: dataset_info.json: features are no object; expected {FORMAT}")
    if state.get("_indices_data_files"):
        raise InputError(
            f"{where}: its rows are chosen by a file of indices; load and save it with a newer "
            "version of datasets"
        )
    files = state.get("_data_files")
    if not isinstance(files, list) or not files:
        raise InputError(f"{where}: state.json names no files; expected {FORMAT}")
    names = [file.get("filename") if isinstance(file, dict) else None for file in files]
    if not all(map(_is_name, names)):
        raise InputError(f"{where}: files {shown(names)}; expected names of files in the folder")
    tables = []
    for name in names:
        path = folder / str(name)
        with reading.opened(path):  # what is no regular file is refused
            pass
        with reading.refusing(f"{where}: {name}", "an Arrow file"):
            with pyarrow.memory_map(str(path)) as file, pyarrow.ipc.open_stream(file) as stream:
                table = stream.read_all()
            table.validate(full=full)
            tables.append(table)
    first = tables[0]
    if any(table.schema.remove_metadata() != first.schema.remove_metadata() for table in tables):
        raise InputError(f"{where}: its files have different columns; expected the same in all")
    whole = pyarrow.concat_tables(table.replace_schema_metadata(None) for table in tables)
    if len(set(whole.column_names)) < len(whole.column_names):
        raise InputError(f"{where}: columns of the same name; expected one of each")
    if not 0 < whole.num_rows * whole.num_columns <= MOST_NUMBERS:
        raise InputError(
            f"{where}: {whole.num_rows:,} rows of {whole.num_columns:,} columns; expected 1 to "
            f"{MOST_NUMBERS:,} values"
        )
    columns = {name: _plain(whole.column(i)) for i, name in enumerate(whole.column_names)}
    about = {k: f for k, f in (features or {}).items() if isinstance(f, dict)}
    return _Table(where, folder, columns, about, whole.num_rows)


def _json(path: Path, where: str) -> dict[str, Any]:
    with reading.refusing(f"{where}: {path.name}", FORMAT):
        if not path.exists():
            raise InputError(f"{where}: no {path.name} in {str(path.parent)!r}; expected {FORMAT}")
        value = json.loads(reading.content("data", path, MOST_JSON))
        if not isinstance(value, dict):
            raise InputError(f"{where}: {path.name}: {shown(value)}; expected an object")
        return value


def _is_name(value: object) -> bool:
    """Say whether a value is a name in a folder, and not a path to elsewhere."""
    return isinstance(value, str) and Path(value).name == value != ".." and "\0" not in value


def _plain(column: Any) -> Any:
    """Return a column without its dictionary or `datasets`' own type around what Arrow knows."""
    import pyarrow

    kind, chunks = column.type, [chunk for chunk in column.chunks if len(chunk)]
    if isinstance(kind, pyarrow.BaseExtensionType):
        chunks, kind = [chunk.storage for chunk in chunks], kind.storage_type
    column = pyarrow.chunked_array(chunks, kind)
    return column.cast(kind.value_type) if pyarrow.types.is_dictionary(kind) else column


def _is_struct(kind: Any) -> bool:
    import pyarrow

    return bool(pyarrow.types.is_struct(kind))


def _expect_whole(column: Any, where: str) -> None:
    if column.null_count:
        raise InputError(
            f"{where} lacks {column.null_count:,} of its values; expected one in every row"
        )


def _outside(table: _Table, column: Any) -> list[Path | None]:
    """Return the file of each image that is not in the column itself; None: it is."""
    paths: list[Path | None] = []
    for chunk in column.chunks:
        held, names = chunk.field("bytes"), chunk.field("path")
        if not held.null_count:
            paths += [None] * len(chunk)
            continue
        for value, name in zip(held, names, strict=True):
            if value.is_valid:
                paths.append(None)
            elif name.is_valid:
                paths.append(table.folder / Path(name.as_py()).expanduser())
            else:
                raise InputError(f"{table.where}: an image without bytes and path")
    return paths


def _names_of(table: _Table, name: str) -> NDArray[Any]:
    """Return a column of integers or text."""
    import pyarrow

    column, where = table.columns[name], f"{table.where}: column {name!r}"
    _expect_whole(column, where)
    kind = column.type
    if pyarrow.types.is_integer(kind) or pyarrow.types.is_boolean(kind):
        integers: NDArray[Any] = np.concatenate([_nested(chunk, where) for chunk in column.chunks])
        if integers.dtype.kind == "u" and integers.max(initial=0) > np.iinfo(np.int64).max:
            raise InputError(f"{where}: {integers.max()}; expected integers below 2^63")
        return integers.astype(np.int64)
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        return np.array(column.to_pylist(), dtype=np.str_)
    raise InputError(
        f"{where} holds {kind}; expected integers or text (of a regression write target={name})"
    )


def _nested(values: Any, where: str) -> NDArray[Any]:
    """Return an Arrow array of numbers, or of lists of one length that hold such, as an array."""
    import pyarrow

    types, shape = pyarrow.types, [len(values)]
    while (
        (fixed := types.is_fixed_size_list(values.type))
        or types.is_list(values.type)
        or types.is_large_list(values.type)
    ):
        lengths: list[int] = (
            [values.type.list_size]
            if fixed
            else np.unique(values.value_lengths().to_numpy(zero_copy_only=False)).tolist() or [0]
        )
        if len(lengths) > 1:
            raise InputError(
                f"{where}: lists of {lengths[0]} to {lengths[-1]} values; expected one length"
            )
        if values.null_count or int(np.prod([*shape, lengths[0]], dtype=float)) > MOST_NUMBERS:
            raise InputError(
                f"{where}: lists that are missing, or of more than {MOST_NUMBERS:,} values in all"
            )
        shape.append(lengths[0])
        values = values.flatten()
    kind = values.type
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise InputError(f"{where} holds {kind}; expected numbers, lists of numbers or images")
    if values.null_count:
        raise InputError(f"{where}: {values.null_count:,} numbers are missing in its lists")
    numbers: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return numbers.reshape(shape)
