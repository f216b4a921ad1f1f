"""A store's results as files for other programs: four tidy tables (`hgobench.results.tables`)."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

from hgobench import __version__
from hgobench.arguments import check_arguments, folder, function, instance, optional
from hgobench.errors import InputError
from hgobench.results import Result, Store, open_store, tables
from hgobench.results.tables import Kind, Line, Provenance
from hgobench.scenario import Scenario, word
from hgobench.writing import whole

from .writers import csv_text

Format = Literal["parquet", "csv", "json"]
AT_ONCE = 20_000  # lines in memory


class _File(ABC):
    """A table's file, which lines are appended to."""

    def __init__(self, path: Path, kinds: Mapping[str, Kind]) -> None:
        self.kinds, self.lines = kinds, 0
        self._waiting: list[Line] = []
        self._wholes = [i for i, kind in enumerate(kinds.values()) if kind == "whole"]
        self._names = list(kinds)

    def add(self, lines: Iterable[Line]) -> None:
        """Append lines."""
        for line in lines:
            checked = list(line)
            for i in self._wholes:
                checked[i] = tables.whole(checked[i], self._names[i])
            self._waiting.append(checked)
            self.lines += 1
            if len(self._waiting) >= AT_ONCE:
                self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._write(self._waiting)
            self._waiting = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._flush()
        self._close()

    @abstractmethod
    def _write(self, lines: Sequence[Line]) -> None:
        """Write lines behind those that are there."""

    @abstractmethod
    def _close(self) -> None:
        """Finish the file."""


class _Csv(_File):
    """A number that is none is an empty field, as what is not there; infinity is ``inf``."""

    def __init__(self, path: Path, kinds: Mapping[str, Kind]) -> None:
        super().__init__(path, kinds)
        self._file = path.open("w", encoding="utf-8", newline="")
        self._file.write(csv_text([list(kinds)]))

    def _write(self, lines: Sequence[Line]) -> None:
        self._file.write(csv_text([[_unless_nan(value) for value in line] for line in lines]))

    def _close(self) -> None:
        self._file.close()


class _Json(_File):
    """A list of objects, one per line; NaN is null, infinity the text ``inf``, as scenarios say."""

    def __init__(self, path: Path, kinds: Mapping[str, Kind]) -> None:
        super().__init__(path, kinds)
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._between = "[\n"

    def _write(self, lines: Sequence[Line]) -> None:
        for line in lines:
            values = dict(zip(self._names, map(_json_value, line), strict=True))
            self._file.write(self._between + json.dumps(values, allow_nan=False))
            self._between = ",\n"

    def _close(self) -> None:
        self._file.write("\n]\n" if self._between == ",\n" else "[]\n")
        self._file.close()


class _Parquet(_File):
    def __init__(self, path: Path, kinds: Mapping[str, Kind]) -> None:
        super().__init__(path, kinds)
        import pyarrow
        from pyarrow import parquet

        types = {
            "text": pyarrow.string(), "whole": pyarrow.int64(), "number": pyarrow.float64()
        }  # fmt: skip
        fields = [pyarrow.field(name, types[kind]) for name, kind in kinds.items()]
        self._schema = pyarrow.schema(fields, metadata={"hgobench": __version__})
        self._file = parquet.ParquetWriter(path, self._schema)

    def _write(self, lines: Sequence[Line]) -> None:
        import pyarrow

        arrays = [
            pyarrow.array(values, field.type)
            for values, field in zip(zip(*lines, strict=True), self._schema, strict=True)
        ]
        self._file.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))

    def _close(self) -> None:
        self._file.close()


_FILES: Mapping[str, type[_File]] = {"parquet": _Parquet, "csv": _Csv, "json": _Json}


def _unless_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return _unless_nan(value)


def check_format(form: str) -> None:
    """Refuse a format that can't be written here.

    Raises:
        InputError: pyarrow is not installed.
    """
    if form == "parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise InputError(
                "form: parquet: pyarrow is not installed: pip install 'hgobench[parquet]'; or "
                "use csv or json"
            ) from None


def export_tables(
    results: str | Path | Store,
    out: str | Path,
    form: Format = "parquet",
    *,
    where: Callable[[str, Scenario], bool] | None = None,
) -> dict[Path, int]:
    """Write a store's results as four files: ``cells``, ``rounds``, ``measures``, ``provenance``.

    They are tidy: a line is a cell, a round of a cell, or a measure of its end, and all four have
    its address in the column ``cell``. Files of the same names are replaced once all four are
    written; if that fails, none is.

    Args:
        results: a folder, or an open store.
        out: the folder to write to; made if it does not exist.
        form: ``"parquet"`` (needs pyarrow), ``"csv"`` or ``"json"`` (a list of objects).
        where: which cells are meant, by ruleset and scenario; None: all.

    Returns:
        The files, and how many lines each has.

    Raises:
        InputError: there are no results, no such cells, or pyarrow is not installed.

    Example:
        >>> import tempfile
        >>> from hgobench import Scenario, run
        >>> with tempfile.TemporaryDirectory() as folder, open_store(folder) as store:
        ...     store.add(run(Scenario(workers=20, rounds=2)), "mine-1")
        ...     files = export_tables(store, folder, "csv")
        ...     [(path.name, lines) for path, lines in files.items()]
        [('cells.csv', 1), ('rounds.csv', 2), ('measures.csv', 23), ('provenance.csv', 1)]
    """
    check_arguments(
        results=(instance("a folder, or an open store", str, Path, Store), results),
        out=(folder, out),
        form=(word(*get_args(Format)), form),
        where=(optional(function), where),
    )
    check_format(form)
    if not isinstance(results, Store):
        with open_store(results, create=False) as store:
            return export_tables(store, out, form, where=where)
    entries = (
        (key, ruleset, result)
        for key, ruleset, result in results.entries()
        if where is None or where(ruleset, result.scenario)
    )
    with whole(Path(out)) as unfinished:
        lines = _written(entries, unfinished, form)
        if not lines["cells"]:
            what = "results" if where is None else "such cells"
            raise InputError(f"store: {results.where!r}: holds no {what}")
    return {Path(out) / f"{name}.{form}": count for name, count in lines.items()}


def _written(
    entries: Iterable[tuple[str, str, Result]], folder: Path, form: Format
) -> dict[str, int]:
    """Write the four files, and return how many lines each has."""
    kind = _FILES[form]
    provenance = Provenance()
    with ExitStack() as stack:
        cells = stack.enter_context(kind(folder / f"cells.{form}", tables.cell_kinds()))
        of_rounds: dict[str, Kind] = {"cell": "text", **tables.ROUNDS}
        rounds = stack.enter_context(kind(folder / f"rounds.{form}", of_rounds))
        of_ends: dict[str, Kind] = {"cell": "text", **tables.MEASURES}
        measures = stack.enter_context(kind(folder / f"measures.{form}", of_ends))
        for key, ruleset, result in entries:
            try:
                cells.add([tables.cell_line(key, ruleset, result)])
                rounds.add((key, *line) for line in tables.round_lines(result))
                measures.add((key, *line) for line in tables.measure_lines(result))
            except InputError as error:
                raise InputError(f"cell {key}: {problem}" for problem in error.problems) from None
            provenance.add(key, result.provenance)
    with kind(folder / f"provenance.{form}", provenance.kinds) as last:
        last.add(provenance.lines())
    return {
        "cells": cells.lines,
        "rounds": rounds.lines,
        "measures": measures.lines,
        "provenance": last.lines,
    }
