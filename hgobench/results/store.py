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
from hgobench.results.rows import Damage, plain
from hgobench.scenario import Scenario

T = TypeVar("T")

SCHEMA = 1
_TABLES = {
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
}
SAID_AFTER = 1.0  # seconds that another process may hold the file without a word
LONGEST_WAIT = 600.0  # seconds


class Store:
    """Results of a folder, in ``FOLDER/results.sqlite``.

    The file may be anybody's: of its schema only what hgobench creates is accepted, and every row
    is checked when it is read. A row that is damaged is left out and said; `damaged` lists them.
    While another process writes, reading and writing wait for it, and say so.

    Args:
        folder: made if it does not exist, if `create`.
        create: False opens an existing store for reading only.
        say: what to do with a line that a user should see; None: print it on standard error.

    Raises:
        InputError: no store there, or one that this version can't read.

    Example:
        >>> with Store("hgobench-results/quick", create=False) as store:  # doctest: +SKIP
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
            elif schema != SCHEMA:
                raise InputError(f"store: {str(self.path)!r}: empty")
            else:
                self._connection.execute("PRAGMA query_only = ON")
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
        if schema not in (0, SCHEMA):
            raise InputError(f"{where}: schema {schema}; expected {SCHEMA}")
        problems = []
        for entry in entries:
            kind, name, table, sql = (_decoded(value) for value in entry)
            own = _TABLES.get(name) if kind == "table" else None
            if own is not None and " ".join(sql.split()) == " ".join(own.split()):
                continue
            if kind == "index" and not sql and table in _TABLES:
                continue  # SQLite's own, of a key or a UNIQUE
            what = f"table {name!r} has other columns" if own else f"{kind} {name!r} is foreign"
            problems.append(f"{where}: no store of hgobench: {what}; nothing in it was run")
        if schema == SCHEMA and not any(_decoded(name) == "results" for _, name, *_ in entries):
            problems.append(f"{where}: no store of hgobench: table 'results' is missing")
        if problems:
            raise InputError(problems)
        return int(schema)

    def _create(self) -> None:
        """Create what is missing, and find out now whether the file can be written."""
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            if self._check_schema() != SCHEMA:
                self._connection.execute(_TABLES["results"])
            self._connection.execute(f"PRAGMA user_version = {SCHEMA}")  # BEGIN tells nothing

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

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield what a query finds.

        Raises:
            InputError: the file can't be read.
        """
        try:
            with closing(self._patiently(lambda: self._connection.execute(query))) as cursor:
                yield from cursor
        except sqlite3.Error as error:
            raise InputError(
                f"store: {str(self.path)!r}: can't be read: {_explained(error)}"
            ) from error

    def _write(self, *statements: tuple[str, Sequence[Any]]) -> None:
        def write() -> None:
            with self._connection:
                for statement, values in statements:
                    self._connection.execute(statement, values)

        self._patiently(write)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        ((count,),) = self._rows("SELECT COUNT(*) FROM results")
        return int(count)

    def _checked(self, keys: Iterable[str] | None) -> Iterator[tuple[str, str, Result] | Damage]:
        """Yield every row, ordered by key, as a result or as what is wrong with it."""
        wanted = None if keys is None else {key.encode() for key in keys}
        query = f"SELECT {', '.join(rows.FIELDS)} FROM results ORDER BY key"
        for row in self._rows(query):
            if wanted is None or row[0] in wanted:
                yield rows.read(row)

    def keys(self, among: Iterable[str] | Mapping[str, Scenario] | None = None) -> set[str]:
        """Return the addresses of the results that stand.

        Failed and damaged ones do not, nor those that do not say which data they are of: they are
        to be computed again.

        Args:
            among: only these addresses are looked at; None: all. If they come with their scenarios,
                a row that holds another one is damaged.
        """
        standing, damaged = set(), 0
        expected = among if isinstance(among, Mapping) else {}
        for row in self._checked(among):
            if isinstance(row, Damage) or row[2].scenario != expected.get(row[0], row[2].scenario):
                damaged += 1
            elif row[2].status != "failed" and row[2].provenance.get("data"):
                standing.add(row[0])
        if damaged:
            self._say(f"{_counted(damaged)} in {self.path} to be computed anew")
        return standing

    def damaged(self) -> list[Damage]:
        """Return the rows that can't be results, and what is wrong with each."""
        return [row for row in self._checked(None) if isinstance(row, Damage)]

    def add(self, result: Result, ruleset: str, key: str | None = None) -> None:
        """Keep a result, in a transaction of its own, under its address (`result_key`).

        It replaces what an older code computed for the same scenario and ruleset.
        """
        made = result.provenance
        key = key or result_key(
            result.scenario, ruleset, made["width"], made["device"], made.get("data")
        )
        row = (*rows.written(result, ruleset, key, code_digest()[:12]), time.time())
        self._write(("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row))

    def measurements(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return those kept measurements that have some addresses (`measurement_key`).

        A damaged one is said, and left out: it is to be measured again.
        """
        ((there,),) = self._rows("SELECT COUNT(*) FROM sqlite_master WHERE name = 'measurements'")
        wanted = {key.encode() for key in keys} if there else set()
        found, damaged = {}, 0
        for key, value in self._rows("SELECT key, value FROM measurements") if wanted else ():
            if key in wanted:
                try:
                    found[key.decode()] = json.loads(_decoded(value))
                except (ValueError, RecursionError):
                    damaged += 1
        if damaged:
            self._say(f"{_counted(damaged)} in {self.path} to be measured anew")
        return found

    def keep(self, key: str, what: str, value: Any) -> None:
        """Keep a measurement, anything that JSON knows, in a transaction of its own.

        It replaces what an older code measured of the same.
        """
        create = _TABLES["measurements"].replace("TABLE", "TABLE IF NOT EXISTS", 1)
        row = (key, what, json.dumps(value))
        insert = "INSERT OR REPLACE INTO measurements VALUES (?, ?, ?)"
        self._write((create, ()), (insert, row))

    def results(self, keys: set[str] | None = None) -> Iterator[tuple[str, Result]]:
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
                f"{_counted(damaged)} in {self.path} left out; to list: "
                f"hgobench show {self.path.parent} --damaged"
            )

    def export(self) -> list[dict[str, Any]]:
        """Return everything as plain data, ready for `json.dump`; NaN becomes None."""
        return [
            {
                "ruleset": ruleset,
                "scenario": result.scenario.to_dict(),
                "summary": {name: plain(v) for name, v in result.summary.items()},
                "rounds": {n: [plain(v) for v in c] for n, c in result.rounds.items()},
                "provenance": dict(result.provenance),
            }
            for ruleset, result in self.results()
        ]


def _print(text: str) -> None:
    print(text, file=sys.stderr)


def _counted(number: int) -> str:
    return f"{number} damaged row{'s' * (number != 1)}"


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
