"""The store: one SQLite file per folder, one transaction per finished cell.

Results are data: nothing is ever unpickled, and nothing that a result names is imported.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from hgobench.errors import InputError
from hgobench.results import rows
from hgobench.results.address import code_digest, result_key
from hgobench.results.result import Result
from hgobench.results.rows import Damage
from hgobench.results.store import StoreError
from hgobench.scenario import Scenario

T = TypeVar("T")

SCHEMA = 2
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
        "measurements": """CREATE TABLE measurements (
                        key TEXT PRIMARY KEY,
                        what TEXT NOT NULL UNIQUE,
                        value TEXT NOT NULL,
                        checksum TEXT NOT NULL
                    ) WITHOUT ROWID""",
    },
}
_OPTIONAL = {1: {"measurements"}, 2: set[str]()}  # made when something was first measured
_LATER = {1: {"digest", "right", "checksum"}, 2: set[str]()}  # columns that it does not have
PAGE = 200  # rows that are read at once: between them others may write
SAID_AFTER = 1.0  # seconds that another process may hold the file without a word
LONGEST_WAIT = 600.0  # seconds


class SqliteStore:
    """Results of a folder, in ``FOLDER/results.sqlite``: a `hgobench.results.Store`.

    The file may be anybody's: of its schema only what hgobench creates is accepted, and every row
    is checked when it is read. A row that is damaged is left out and said; `damaged` lists them.
    While another process writes, reading and writing wait for it, and say so. A file that an older
    version wrote is read as it is; opened for writing, it is brought to the newest schema, and the
    rows keep their addresses.

    Args:
        folder: made if it does not exist, if `create`.
        create: False opens an existing store for reading only.
        say: what to do with a line that a user should see; None: print it on standard error.

    Raises:
        InputError: no store there, or one that this version can't read.

    Example:
        >>> with SqliteStore("hgobench-results/quick", create=False) as store:  # doctest: +SKIP
        ...     accuracies = [result.summary["test_accuracy"] for _, result in store.results()]
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        create: bool = True,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.path = Path(folder) / "results.sqlite"
        self._schema = SCHEMA
        self._say = say or _print
        if not create and not self.path.exists():
            raise InputError(f"store: {str(folder)!r}: no results.sqlite there")
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
            # A process was ended in the middle of a write: what it left must be rolled back.
            try:
                self._open("rw")
            except sqlite3.OperationalError as other:
                raise InputError(
                    f"store: {str(self.path)!r}: a write was cut off, and can't be undone here "
                    f"({other}); make the folder writable, or copy it with "
                    f"{self.path.name}-journal to where it can be written"
                ) from other

    def _open(self, mode: str) -> None:
        where = f"file:{quote(os.fsencode(self.path.resolve()))}?mode={mode}"
        with ExitStack() as stack:  # a file that is refused is closed at once
            self._connection = sqlite3.connect(where, uri=True, timeout=0.2)
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
        where = f"store: {str(self.path)!r}"
        if schema == 0 and entries:
            raise InputError(f"{where}: another program's database")
        if schema not in (0, *_TABLES):
            raise InputError(f"{where}: schema {schema}; expected {SCHEMA}")
        tables = _TABLES.get(schema, {})
        problems, there = [], set()
        for entry in entries:
            kind, name, table, sql = (_decoded(value) for value in entry)
            own = tables.get(name) if kind == "table" else None
            if own is not None and " ".join(sql.split()) == " ".join(own.split()):
                there.add(name)
                continue
            if kind == "index" and not sql and table in tables:
                continue  # SQLite's own, of a key or a UNIQUE
            there.add(name)
            what = f"table {name!r} has other columns" if own else f"{kind} {name!r} is foreign"
            problems.append(f"{where}: no store of hgobench: {what}; nothing in it was run")
        missing = tables.keys() - there - _OPTIONAL.get(schema, set())
        problems += [
            f"{where}: no store of hgobench: table {name!r} is missing" for name in sorted(missing)
        ]
        if problems:
            raise InputError(problems)
        return int(schema)

    def _create(self) -> None:
        """Create what is missing, and find out now whether the file can be written."""
        said = ""
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            schema = self._check_schema()
            if schema == 0:
                for table in _TABLES[SCHEMA].values():
                    self._connection.execute(table)
            elif schema != SCHEMA:
                said = self._migrate()
            self._connection.execute(f"PRAGMA user_version = {SCHEMA}")  # BEGIN tells nothing
        if said:
            self._say(said)

    def _migrate(self) -> str:
        """Bring a store from schema 1 to 2, in the transaction that is open; say what was done."""
        run = self._connection.execute
        old = [name for name in _TABLES[1] if self._has(name)]
        for name in old:
            run(f"ALTER TABLE {name} RENAME TO {name}_1")
        for table in _TABLES[SCHEMA].values():
            run(table)
        columns = [name for name in rows.FIELDS if name not in _LATER[1]]
        for row in self._paged(f"SELECT {', '.join(columns)} FROM results_1"):
            values: dict[str, Any] = dict(zip(columns, row, strict=True))
            values["digest"] = rows.identity(values["ruleset"], values["scenario"])
            values["right"] = None
            whole = [values[name] for name in rows.FIELDS[:-1]]
            self._insert("results", [*whole, rows.checksum(whole)])
        measured = "measurements" in old
        for row in self._paged("SELECT key, what, value FROM measurements_1") if measured else ():
            self._insert("measurements", [*row, rows.checksum(row)])
        ((before,),) = run("SELECT COUNT(*) FROM results_1")
        ((after,),) = run("SELECT COUNT(*) FROM results")
        for name in old:
            run(f"DROP TABLE {name}_1")
        twice = f"; {_rows(before - after)} left out, of cells that others hold" * (before > after)
        return (
            f"{self.path}: {_rows(after)} brought from schema 1 to {SCHEMA}{twice}; older versions "
            "of hgobench do not read it any more"
        )

    def _has(self, table: str) -> bool:
        query = "SELECT COUNT(*) FROM sqlite_master WHERE name = ?"
        ((count,),) = self._query(query, (table,))
        return bool(count)

    def _insert(self, table: str, row: Sequence[Any]) -> None:
        """Insert a row as it was read, whatever it holds: text came as bytes."""
        marks = ", ".join("CAST(? AS TEXT)" if isinstance(v, bytes) else "?" for v in row)
        self._connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)

    def _patiently(self, action: Callable[[], T]) -> T:
        """Do something in the file; while another process holds it, wait, and say so."""
        started, said = time.monotonic(), False
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
                if waited >= SAID_AFTER and not said:
                    said = True
                    self._say(
                        f"waiting for {self.path}: another process writes to it (Ctrl-C ends "
                        f"waiting, which lasts {LONGEST_WAIT:.0f} s at most)"
                    )
                time.sleep(0.02)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @property
    def where(self) -> str:
        """The file."""
        return str(self.path)

    def _query(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what a query answers, waiting for others that write.

        Raises:
            InputError: the file can't be read.
        """
        try:
            with closing(self._patiently(lambda: self._connection.execute(query, values))) as found:
                return found.fetchall()
        except sqlite3.Error as error:
            raise InputError(
                f"store: {str(self.path)!r}: can't be read: {_explained(error)}"
            ) from error

    def _paged(self, query: str, keys: Iterable[str] | None = None) -> Iterator[tuple[Any, ...]]:
        """Yield what a query without conditions answers, by key, some rows at a time.

        Args:
            query: its first column is the key.
            keys: only these; None: all.
        """
        if keys is not None:
            wanted = sorted(keys, key=str.encode)
            for start in range(0, len(wanted), PAGE):
                some = wanted[start : start + PAGE]
                marks = ", ".join("?" * len(some))
                yield from self._query(f"{query} WHERE key IN ({marks}) ORDER BY key", some)
            return
        page = self._query(f"{query} ORDER BY key LIMIT {PAGE}")
        behind = f"{query} WHERE key > CAST(? AS TEXT) ORDER BY key LIMIT {PAGE}"
        last = None
        while page:
            if last is not None and page[-1][0] <= last:  # it would never end
                raise InputError(
                    f"store: {str(self.path)!r}: can't be read: its keys are in no order"
                )
            yield from page
            last = page[-1][0]
            page = self._query(behind, (last,)) if len(page) == PAGE else []

    def _write(self, statement: str, *several: Sequence[Any]) -> None:
        def write() -> None:
            with self._connection:
                self._connection.executemany(statement, several)

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
        """Yield rows, ordered by key, as results or as what is wrong with them."""
        later = _LATER[self._schema]
        columns = ", ".join("NULL" if name in later else name for name in rows.FIELDS)
        for row in self._paged(f"SELECT {columns} FROM results", keys):
            yield rows.read(row)

    def standing(
        self, among: Iterable[str] | Mapping[str, Scenario] | None = None
    ) -> Iterator[tuple[str, Result]]:
        """Yield (address, result) of what need not be computed again; see `Store`."""
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
        """Return the addresses of what is `standing`."""
        return {key for key, _ in self.standing(among)}

    def damaged(self) -> list[Damage]:
        """Return the rows that can't be results, and what is wrong with each."""
        return [row for row in self._checked(None) if isinstance(row, Damage)]

    def add(self, result: Result, ruleset: str, key: str | None = None) -> None:
        """Keep a result, in a transaction of its own; see `Store`."""
        self.add_all([(result, ruleset, key)])

    def add_all(self, several: Iterable[tuple[Result, str, str | None]]) -> None:
        """Keep results, in one transaction; see `Store`."""
        written = []
        for result, ruleset, key in several:
            made = result.provenance
            key = key or result_key(result.scenario, ruleset, made["device"], made.get("data"))
            written.append(rows.written(result, ruleset, key, code_digest()[:12], time.time()))
        if written:
            marks = ", ".join("?" * len(written[0]))
            self._write(f"INSERT OR REPLACE INTO results VALUES ({marks})", *written)

    def measurements(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return those kept measurements that have some addresses (`measurement_key`).

        A damaged one is said, and left out: it is to be measured again.
        """
        if not self._has("measurements"):
            return {}
        found, damaged = {}, 0
        checked = "NULL" if self._schema == 1 else "checksum"
        query = f"SELECT key, what, value, {checked} FROM measurements"
        for *row, kept in self._paged(query, keys):
            try:
                if kept not in (None, rows.checksum(row).encode()):
                    raise ValueError
                found[row[0].decode()] = json.loads(_decoded(row[2]))
            except (ValueError, RecursionError):
                damaged += 1
        if damaged:
            self._say(f"{_damaged(damaged)} in {self.path} to be measured anew")
        return found

    def keep(self, key: str, what: str, value: Any) -> None:
        """Keep a measurement, in a transaction of its own; see `Store`."""
        row = (key, what, json.dumps(value))
        insert = "INSERT OR REPLACE INTO measurements VALUES (?, ?, ?, ?)"
        self._write(insert, (*row, rows.checksum(row)))

    def results(self, keys: Iterable[str] | None = None) -> Iterator[tuple[str, Result]]:
        """Yield (ruleset, result), ordered by key; only those of `keys`, if given.

        Damaged rows are left out, and said at the end.
        """
        damaged = 0
        for row in self._checked(keys):
            if isinstance(row, Damage):
                damaged += 1
            else:
                yield row[1:]
        if damaged:
            self._say(
                f"{_damaged(damaged)} in {self.path} left out; to list: "
                f"hgobench show {self.path.parent} --damaged"
            )


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
    """Say what is wrong with a file, and what helps."""
    if _code(error) == sqlite3.SQLITE_NOTADB:
        return f"no store of hgobench: {error}"
    if _code(error) == sqlite3.SQLITE_CORRUPT:
        return (
            f"the file is damaged ({error}); move it away: the same command computes its results "
            "anew"
        )
    return str(error)


def _distrust(connection: sqlite3.Connection) -> None:
    """Let nothing run that a file's schema brings with it."""
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
