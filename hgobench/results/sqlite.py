"""A store in one SQLite file per folder, with one transaction per finished stack of cells.

Results are data: nothing is ever unpickled, and nothing that a result names is imported.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from hgobench.errors import InputError
from hgobench.results import rows
from hgobench.results.address import code_stated, result_key
from hgobench.results.claim import claim
from hgobench.results.result import Result
from hgobench.results.rows import Damage
from hgobench.results.store import StoreError
from hgobench.scenario import Scenario

T = TypeVar("T")

SCHEMA = 3
_MEASUREMENTS = """CREATE TABLE measurements (
                        key TEXT PRIMARY KEY,
                        what TEXT NOT NULL UNIQUE,
                        value TEXT NOT NULL,
                        checksum TEXT NOT NULL
                    ) WITHOUT ROWID"""  # since schema 2
_TABLES: dict[int, dict[str, str]] = {
    1: {
        "results": """CREATE TABLE results (
                        key TEXT PRIMARY KEY,
                        ruleset TEXT NOT NULL,
                        scenario TEXT NOT NULL,
                        status TEXT NOT NULL,
                        reason TEXT NOT NULL,
                        rounds TEXT NOT NULL,
                        provenance TEXT NOT NULL,
                        seconds REAL NOT NULL,
                        finished REAL NOT NULL,
                        UNIQUE (ruleset, scenario)
                    ) WITHOUT ROWID""",
        "measurements": "CREATE TABLE measurements (key TEXT PRIMARY KEY, "
        "what TEXT NOT NULL UNIQUE, value TEXT NOT NULL) WITHOUT ROWID",
    },
    2: {
        "results": """CREATE TABLE results (
                        key TEXT PRIMARY KEY,
                        ruleset TEXT NOT NULL,
                        digest TEXT NOT NULL,
                        scenario TEXT NOT NULL,
                        status TEXT NOT NULL,
                        reason TEXT NOT NULL,
                        rounds TEXT NOT NULL,
                        right BLOB,
                        provenance TEXT NOT NULL,
                        seconds REAL NOT NULL,
                        finished REAL NOT NULL,
                        checksum TEXT NOT NULL,
                        UNIQUE (ruleset, digest)
                    ) WITHOUT ROWID""",
        "measurements": _MEASUREMENTS,
    },
    3: {
        "results": """CREATE TABLE results (
                        key TEXT PRIMARY KEY,
                        ruleset TEXT NOT NULL,
                        digest TEXT NOT NULL,
                        scenario TEXT NOT NULL,
                        status TEXT NOT NULL,
                        reason TEXT NOT NULL,
                        rounds TEXT NOT NULL,
                        right BLOB,
                        measures TEXT NOT NULL,
                        provenance TEXT NOT NULL,
                        seconds REAL NOT NULL,
                        server_seconds REAL NOT NULL,
                        finished REAL NOT NULL,
                        checksum TEXT NOT NULL,
                        UNIQUE (ruleset, digest)
                    ) WITHOUT ROWID""",
        "measurements": _MEASUREMENTS,
    },
}
_OPTIONAL = {1: {"measurements"}}  # created with the first measurement
FILE = "results.sqlite"  # in a folder
PAGE = 200  # rows per query: between two queries other processes may write
QUIET_WAIT = 1.0  # seconds to wait for another process before a message
LONGEST_WAIT = 600.0  # seconds


class SqliteStore:
    """Results of a folder, in ``FOLDER/results.sqlite``: a `hgobench.results.Store`.

    The file may come from any source: only a schema that hgobench creates is accepted, and every
    row is checked when it is read. Damaged rows are left out with a message; `damaged` lists them.
    While another process writes, reading and writing wait for it, with a message. A file of an
    older schema is read as it is; opened for writing, it is migrated, and rows keep their
    addresses.

    Args:
        folder: of the file; with `create` it is made if it does not exist.
        create: False opens an existing store for reading only.
        say: called with each line that a user should see; None: it is printed on standard error.

    Raises:
        InputError: no store there, or one that this version can't read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, SqliteStore(folder) as store:
        ...     store.keep("address", "a measurement", 0.5)
        ...     store.measurements(["address"])
        {'address': 0.5}
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        create: bool = True,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.path = Path(folder) / FILE
        self._schema = SCHEMA
        self._say = say or _print
        if not create and not self.path.exists():
            raise InputError(f"store: {str(folder)!r}: no {FILE} there{_elsewhere(Path(folder))}")
        if self.path.exists() and not self.path.is_file():
            raise InputError(f"store: {str(self.path)!r}: no file")
        try:
            if create:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connect(create)
        except OSError as error:
            raise InputError(f"store: {str(folder)!r}: {error.strerror}") from error
        except sqlite3.Error as error:
            raise InputError(f"store: {str(self.path)!r}: {_explained(error)}") from error

    def _connect(self, create: bool) -> None:
        if create:
            self._open("rwc")
            return
        try:
            self._open("ro")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_READONLY:
                raise
            # A process was killed while it wrote: its transaction must be rolled back.
            try:
                self._open("rw")
            except sqlite3.OperationalError as second:
                raise InputError(
                    f"store: {str(self.path)!r}: a write was cut off, and can't be undone here "
                    f"({second}); make the folder writable, or copy it with "
                    f"{self.path.name}-journal to where it can be written"
                ) from second

    def _open(self, mode: str) -> None:
        uri = f"file:{quote(os.fsencode(self.path.resolve()))}?mode={mode}"
        with ExitStack() as stack:  # a file that is refused is closed at once
            self._connection = sqlite3.connect(uri, uri=True, timeout=0.2)
            stack.callback(self._connection.close)
            self._connection.text_factory = bytes
            _distrust(self._connection)
            schema = self._patiently(self._check_schema)
            if mode == "rwc":
                self._patiently(self._create)
            elif schema == 0:
                raise InputError(f"store: {str(self.path)!r}: empty")
            else:
                self._connection.execute("PRAGMA query_only = ON")
                self._schema = schema
            stack.pop_all()

    def _check_schema(self) -> int:
        """Return the schema's number, 0: an empty file.

        Raises:
            InputError: the file holds anything but what hgobench creates.
        """
        (schema,) = self._connection.execute("PRAGMA user_version").fetchone()
        entries = self._connection.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid"
        ).fetchall()
        location = f"store: {str(self.path)!r}"
        if schema == 0 and entries:
            raise InputError(f"{location}: another program's database")
        if schema not in (0, *_TABLES):
            raise InputError(f"{location}: schema {schema}; expected {SCHEMA}")
        tables = _TABLES.get(schema, {})
        problems, present = [], set()
        for entry in entries:
            kind, name, table, sql = (_decoded(value) for value in entry)
            expected = tables.get(name) if kind == "table" else None
            if expected is not None and " ".join(sql.split()) == " ".join(expected.split()):
                present.add(name)
                continue
            if kind == "index" and not sql and table in tables:
                continue  # SQLite's index for a key or UNIQUE
            present.add(name)
            problem = (
                f"table {name!r} has other columns" if expected else f"{kind} {name!r} is foreign"
            )
            problems.append(f"{location}: no store of hgobench: {problem}; nothing in it was run")
        missing = tables.keys() - present - _OPTIONAL.get(schema, set())
        problems += [
            f"{location}: no store of hgobench: table {name!r} is missing"
            for name in sorted(missing)
        ]
        if problems:
            raise InputError(problems)
        return int(schema)

    def _create(self) -> None:
        """Create or migrate the tables, which also shows whether the file can be written."""
        message = ""
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            schema = self._check_schema()
            if schema == 0:
                for table in _TABLES[SCHEMA].values():
                    self._connection.execute(table)
            elif schema != SCHEMA:
                message = self._migrate(schema)
            self._connection.execute(
                f"PRAGMA user_version = {SCHEMA}"
            )  # a write: BEGIN alone does not fail
        if message:
            self._say(message)

    def _migrate(self, schema: int) -> str:
        """Migrate from an older schema in the open transaction; return a message."""
        run = self._connection.execute
        old = [name for name in _TABLES[schema] if self._has(name)]
        for name in old:
            run(f"ALTER TABLE {name} RENAME TO {name}_{schema}")
        for table in _TABLES[SCHEMA].values():
            run(table)
        columns = [name for name in rows.FIELDS if name not in rows.LATER[schema]]
        for row in self._paged(f"SELECT {', '.join(columns)} FROM results_{schema}"):
            values = {**dict.fromkeys(rows.FIELDS), **dict(zip(columns, row, strict=True))}
            self._insert("results", rows.migrated(values))
        measured = f"SELECT * FROM measurements_{schema}"
        for row in self._paged(measured) if "measurements" in old else ():
            self._insert("measurements", row if len(row) == 4 else [*row, rows.checksum(row)])
        ((old_count,),) = run(f"SELECT COUNT(*) FROM results_{schema}")
        ((new_count,),) = run("SELECT COUNT(*) FROM results")
        for name in old:
            run(f"DROP TABLE {name}_{schema}")
        left_out = f"; {_rows(old_count - new_count)} left out, of cells that others hold" * (
            old_count > new_count
        )
        return (
            f"{self.path}: {_rows(new_count)} brought from schema {schema} to {SCHEMA}{left_out}; "
            "older versions of hgobench do not read it any more"
        )

    def _has(self, table: str) -> bool:
        query = "SELECT COUNT(*) FROM sqlite_master WHERE name = ?"
        ((count,),) = self._query(query, (table,))
        return bool(count)

    def _insert(self, table: str, row: Sequence[Any]) -> None:
        """Insert a row as it was read: text, which was read as bytes, as text."""
        marks = ", ".join("CAST(? AS TEXT)" if isinstance(v, bytes) else "?" for v in row)
        self._connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)

    def _patiently(self, action: Callable[[], T]) -> T:
        """Call `action`; while another process holds the file, wait, with a message."""
        started, reported = time.monotonic(), False
        while True:
            try:
                return action()
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - started
                if _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                if waited >= LONGEST_WAIT:
                    raise sqlite3.OperationalError(
                        f"another process has held it for {waited:.0f} s; end that one, or "
                        "try again later"
                    ) from error
                if waited >= QUIET_WAIT and not reported:
                    reported = True
                    self._say(
                        f"waiting for {self.path}: another process writes to it (Ctrl-C ends "
                        f"waiting, which lasts {LONGEST_WAIT:.0f} s at most)"
                    )
                time.sleep(0.02)

    def claim(self, needed: Callable[[], bool]) -> AbstractContextManager[None]:
        """Let no other process compute for the store while the body does; see `Store`."""
        return claim(self.path.with_suffix(".claim"), needed, self._say)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def where(self) -> str:
        """The file."""
        return str(self.path)

    def _query(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query; wait while another process writes.

        Raises:
            InputError: the file can't be read.
        """
        try:
            with closing(
                self._patiently(lambda: self._connection.execute(query, values))
            ) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise InputError(
                f"store: {str(self.path)!r}: can't be read: {_explained(error)}"
            ) from error

    def _paged(self, query: str, keys: Iterable[str] | None = None) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query without conditions, ordered by key, `PAGE` rows at a time.

        Args:
            query: its first column is the key.
            keys: of the rows; None: all.
        """
        if keys is not None:
            ordered = sorted(keys, key=str.encode)
            for start in range(0, len(ordered), PAGE):
                chunk = ordered[start : start + PAGE]
                marks = ", ".join("?" * len(chunk))
                yield from self._query(f"{query} WHERE key IN ({marks}) ORDER BY key", chunk)
            return
        page = self._query(f"{query} ORDER BY key LIMIT {PAGE}")
        next_page = f"{query} WHERE key > CAST(? AS TEXT) ORDER BY key LIMIT {PAGE}"
        last = None
        while page:
            if last is not None and page[-1][0] <= last:  # it would never end
                raise InputError(
                    f"store: {str(self.path)!r}: can't be read: its keys are in no order"
                )
            yield from page
            last = page[-1][0]
            page = self._query(next_page, (last,)) if len(page) == PAGE else []

    def _write(self, statement: str, *parameters: Sequence[Any]) -> None:
        def write() -> None:
            with self._connection:
                self._connection.executemany(statement, parameters)

        try:
            self._patiently(write)
        except sqlite3.Error as error:
            raise StoreError(_explained(error)) from error

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        ((count,),) = self._query("SELECT COUNT(*) FROM results")
        return int(count)

    def _checked(self, keys: Iterable[str] | None) -> Iterator[tuple[str, str, Result] | Damage]:
        """Yield rows, ordered by key, as results or as damage."""
        later = rows.LATER[self._schema]
        columns = ", ".join("NULL" if name in later else name for name in rows.FIELDS)
        for row in self._paged(f"SELECT {columns} FROM results", keys):
            yield rows.from_row(row)

    def reusable(
        self, among: Iterable[str] | Mapping[str, Scenario] | None = None
    ) -> Iterator[tuple[str, Result]]:
        """Yield (address, result) of the results that need not be computed again; see `Store`."""
        damaged = 0
        expected = among if isinstance(among, Mapping) else {}
        for row in self._checked(among):
            if isinstance(row, Damage) or row[2].scenario != expected.get(row[0], row[2].scenario):
                damaged += 1
            elif row[2].status != "failed" and row[2].provenance.get("data"):
                yield row[0], row[2]
        if damaged:
            self._say(f"{_damaged(damaged)} in {self.path} to be computed anew")

    def keys(self, among: Iterable[str] | Mapping[str, Scenario] | None = None) -> set[str]:
        """Return the addresses of the `reusable` results."""
        return {key for key, _ in self.reusable(among)}

    def damaged(self) -> list[Damage]:
        """Return the rows that can't be results, with the problem of each."""
        return [row for row in self._checked(None) if isinstance(row, Damage)]

    def add(self, result: Result, ruleset: str, key: str | None = None) -> None:
        """Keep a result, in a transaction of its own; see `Store`."""
        self.add_all([(result, ruleset, key)])

    def add_all(self, several: Iterable[tuple[Result, str, str | None]]) -> None:
        """Keep results, in one transaction; see `Store`."""
        rows_ = []
        for result, ruleset, key in several:
            provenance = result.provenance
            key = key or result_key(
                result.scenario, ruleset, provenance["device"], provenance.get("data")
            )
            rows_.append(rows.to_row(result, ruleset, key, code_stated(), time.time()))
        if rows_:
            marks = ", ".join("?" * len(rows_[0]))
            self._write(f"INSERT OR REPLACE INTO results VALUES ({marks})", *rows_)

    def measurements(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of measurements by their addresses (`measurement_key`).

        Damaged ones are left out, with a message: they are to be measured again.
        """
        return {key: value for key, _, value in self._measured(keys)}

    def measured(self) -> Iterator[tuple[str, str, Any]]:
        """Yield (address, what, value), ordered by address; damaged ones are left out, as above."""
        return self._measured(None)

    def _measured(self, keys: Iterable[str] | None) -> Iterator[tuple[str, str, Any]]:
        if not self._has("measurements"):
            return
        damaged = 0
        checked = "NULL" if self._schema == 1 else "checksum"
        query = f"SELECT key, what, value, {checked} FROM measurements"
        for *row, stored in self._paged(query, keys):
            try:
                if stored not in (None, rows.checksum(row).encode()):
                    raise ValueError
                entry = row[0].decode(), row[1].decode(), json.loads(_decoded(row[2]))
            except (ValueError, RecursionError):
                damaged += 1
            else:
                yield entry
        if damaged:
            self._say(f"{_damaged(damaged)} in {self.path} to be measured anew")

    def keep(self, key: str, what: str, value: Any) -> None:
        """Keep a measurement, in a transaction of its own; see `Store`."""
        row = (key, what, json.dumps(value))
        insert = "INSERT OR REPLACE INTO measurements VALUES (?, ?, ?, ?)"
        self._write(insert, (*row, rows.checksum(row)))

    def results(self, keys: Iterable[str] | None = None) -> Iterator[tuple[str, Result]]:
        """Yield (ruleset, result), ordered by key; with `keys` only those.

        Damaged rows are left out, with a message at the end.
        """
        return ((ruleset, result) for _, ruleset, result in self.entries(keys))

    def entries(self, keys: Iterable[str] | None = None) -> Iterator[tuple[str, str, Result]]:
        """Yield (address, ruleset, result), ordered by key; with `keys` only those.

        Damaged rows are left out, with a message at the end.
        """
        damaged = 0
        for row in self._checked(keys):
            if isinstance(row, Damage):
                damaged += 1
            else:
                yield row
        if damaged:
            self._say(
                f"{_damaged(damaged)} in {self.path} left out; to list: "
                f"hgobench show {self.path.parent} --damaged"
            )


def _elsewhere(folder: Path) -> str:
    """Say where results are that may be meant: in the folder, or where runs put theirs."""
    places = [folder, Path("hgobench-results"), folder / "hgobench-results"]
    stores = {file.parent for place in places for file in place.glob(f"*/{FILE}")}
    # The one of that name first: `hgobench run quick` writes to hgobench-results/quick.
    some = sorted(stores, key=lambda path: (path.name != folder.name, str(path)))[:3]
    if not some:
        return ""
    return f"; did you mean {' or '.join(repr(str(path)) for path in some)}?"


def _print(text: str) -> None:
    print(text, file=sys.stderr)


def _damaged(number: int) -> str:
    return f"{number} damaged row{'s' * (number != 1)}"


def _rows(number: int) -> str:
    return f"{number} row{'s' * (number != 1)}"


def _decoded(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value or ""


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary code of an error; 0: none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _explained(error: sqlite3.Error) -> str:
    """Return what is wrong with a file, and what helps."""
    if _code(error) == sqlite3.SQLITE_NOTADB:
        return f"no store of hgobench: {error}"
    if _code(error) == sqlite3.SQLITE_CORRUPT:
        return (
            f"the file is damaged ({error}); move it away: the same command computes its results "
            "anew"
        )
    return str(error)


def _distrust(connection: sqlite3.Connection) -> None:
    """Prevent code in a file's schema (triggers, views, functions) from running."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA mmap_size = 0")
    if sys.version_info >= (3, 12):
        for option, value in (
            (sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True),
            (sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False),
            (sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False),
        ):
            connection.setconfig(option, value)
