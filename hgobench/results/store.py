"""The store: one SQLite file per folder, one transaction per finished cell.

Results are data: nothing is ever unpickled, and nothing that a result names is imported.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

from hgobench import catalogue
from hgobench.errors import InputError
from hgobench.results.result import COLUMNS, Result
from hgobench.scenario import Scenario

SCHEMA = 1

# The code that numbers depend on; a change of anything else keeps results valid.
_SOURCES = (
    "aggregators",
    "algorithms",
    "attacks",
    "compiled.py",
    "csv_file.py",
    "data",
    "hardware",
    "arrays.py",
    "models",
    "parameters.py",
    "simulation.py",
    "streams.py",
    "world.py",
)


@cache
def code_digest(*more: str) -> str:
    """Return a hash of the sources that determine results, and of more folders of hgobench."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for name in _SOURCES + more:
        home = package / name if (package / name).exists() else package.parent / name
        for path in sorted(home.glob("**/*.py")) if home.is_dir() else [home]:
            digest.update(f"{name}/{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _plugin_sources(named: Mapping[str, Any]) -> list[str]:
    """Return a hash of every source file that plug-ins are made of, named by a scenario's field."""
    modules: dict[str, Path] = {}
    for field in named.keys() & set(catalogue.FIELDS):
        for registry, name in catalogue.registry(field).named(named[field]):
            if name in registry.builtins:
                continue
            home = registry.entry(name).factory.__module__
            for start in filter(None, (name.partition(":")[0] if ":" in name else "", home)):
                _reach(start, start.partition(".")[0], modules)
    return [hashlib.sha256(path.read_bytes()).hexdigest() for _, path in sorted(modules.items())]


def _reach(name: str, package: str, found: dict[str, Path]) -> None:
    """Add a module and those that it has things from.

    Of modules outside the plug-in's own top-level package only those count that are neither
    installed nor hgobench's: they are not likely to change, or in `_SOURCES`. The paper's parts
    are plug-ins.
    """
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    own = name.partition(".")[0] == "hgobench" and not name.startswith("hgobench.paper.")
    if module is None or file is None or name in found or own:
        return
    path = Path(file).resolve()
    library = path.is_relative_to(Path(sysconfig.get_path("stdlib")).resolve())
    installed = library or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
    if installed and name.partition(".")[0] != package:
        return
    found[name] = path
    for value in list(vars(module).values()):
        other = value.__name__ if isinstance(value, ModuleType) else _module_of(value)
        _reach(other, package, found)


def _module_of(value: object) -> str:
    name = getattr(value, "__module__", None)
    return name if isinstance(name, str) else ""


def result_key(scenario: Scenario, ruleset: str, width: int, device: str = "cpu") -> str:
    """Return the address of a result: its scenario, the ruleset and the code that computes it.

    The cohort's width and the device are part of it, as a cell's last bits depend on them, and so
    are the contents of files that the scenario names.
    """
    sources = _plugin_sources(vars(scenario))
    contents = catalogue.contents(vars(scenario))
    where = [] if device == "cpu" else [f"device {device}"]
    parts = [scenario.digest, ruleset, f"width {width}", *where, code_digest(), *sources, *contents]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def measurement_key(what: str, source: Path, named: Sequence[Mapping[str, Any]]) -> str:
    """Return the address of a measurement: what it is, and the code behind it.

    Args:
        what: the function that measures, and its arguments.
        source: the file of that function.
        named: fields of scenarios that are behind it, whose plug-ins' sources and files count.
    """
    parts = [what, code_digest("theory"), hashlib.sha256(source.read_bytes()).hexdigest()]
    for fields in named:
        parts += [*_plugin_sources(fields), *catalogue.contents(fields)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class Store:
    """Results of a folder, in ``FOLDER/results.sqlite``.

    Args:
        folder: made if it does not exist, if `create`.
        create: False opens an existing store for reading only.

    Raises:
        InputError: no store there, or one that this version can't read.
    """

    def __init__(self, folder: str | Path, *, create: bool = True) -> None:
        self.path = Path(folder) / "results.sqlite"
        if not create and not self.path.exists():
            raise InputError(f"store: {str(folder)!r}: no results.sqlite there")
        try:
            if create:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            mode = "rwc" if create else "ro"
            where = f"file:{quote(str(self.path.resolve()))}?mode={mode}"
            with ExitStack() as stack:  # a file that is refused is closed at once
                self._connection = sqlite3.connect(where, uri=True, timeout=60.0)
                stack.callback(self._connection.close)
                self._open(create)
                stack.pop_all()
        except OSError as error:
            raise InputError(f"store: {str(folder)!r}: {error.strerror}") from error
        except sqlite3.OperationalError as error:
            raise InputError(f"store: {str(self.path)!r}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"store: {str(self.path)!r}: no store of hgobench: {error}") from error

    def _open(self, create: bool) -> None:
        (schema,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if schema == 0 and tables:
            raise InputError(f"store: {str(self.path)!r}: another program's database")
        if schema != SCHEMA and not (schema == 0 and create):
            raise InputError(f"store: {str(self.path)!r}: schema {schema}; expected {SCHEMA}")
        if schema == SCHEMA:
            return
        self._connection.executescript(
            f"""BEGIN IMMEDIATE;
                CREATE TABLE IF NOT EXISTS results (
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
                ) WITHOUT ROWID;
                PRAGMA user_version = {SCHEMA};
                COMMIT;"""
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _read(self, query: str) -> sqlite3.Cursor:
        try:
            return self._connection.execute(query)
        except sqlite3.DatabaseError as error:
            raise InputError(f"store: {str(self.path)!r}: can't be read: {error}") from error

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        (count,) = self._read("SELECT COUNT(*) FROM results").fetchone()
        return int(count)

    def keys(self) -> set[str]:
        """Return the addresses of the results that stand; failed ones are to be tried again."""
        query = "SELECT key FROM results WHERE status != 'failed'"
        return {key for (key,) in self._read(query)}

    def add(self, result: Result, ruleset: str, key: str | None = None) -> None:
        """Keep a result, in a transaction of its own, under its address (`result_key`).

        It replaces what an older code computed for the same scenario and ruleset.
        """
        made = result.provenance
        row = (
            key or result_key(result.scenario, ruleset, made["width"], made["device"]),
            ruleset,
            json.dumps(result.scenario.to_dict()),
            result.status,
            result.reason,
            json.dumps({name: [_plain(v) for v in result.rounds[name]] for name in COLUMNS}),
            json.dumps({**result.provenance, "code": code_digest()[:12]}),
            result.seconds,
            time.time(),
        )
        with self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row
            )

    def measurements(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return those kept measurements that have some addresses (`measurement_key`)."""
        (there,) = self._read(
            "SELECT COUNT(*) FROM sqlite_master WHERE name = 'measurements'"
        ).fetchone()
        query = "SELECT value FROM measurements WHERE key = ?"
        found = {}
        for key in keys if there else ():
            for (value,) in self._connection.execute(query, (key,)):
                found[key] = json.loads(value)
        return found

    def keep(self, key: str, what: str, value: Any) -> None:
        """Keep a measurement, anything that JSON knows, in a transaction of its own.

        It replaces what an older code measured of the same.
        """
        with self._connection:
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS measurements (key TEXT PRIMARY KEY, "
                "what TEXT NOT NULL UNIQUE, value TEXT NOT NULL) WITHOUT ROWID"
            )
            self._connection.execute(
                "INSERT OR REPLACE INTO measurements VALUES (?, ?, ?)",
                (key, what, json.dumps(value)),
            )

    def results(self, keys: set[str] | None = None) -> Iterator[tuple[str, Result]]:
        """Yield (ruleset, result), ordered by key; only those of `keys`, if given."""
        query = """SELECT key, ruleset, scenario, status, reason, rounds, provenance, seconds
                   FROM results ORDER BY key"""
        with closing(self._read(query)) as cursor:
            for key, ruleset, scenario, status, reason, rounds, provenance, seconds in cursor:
                if keys is not None and key not in keys:
                    continue
                table = {
                    name: [math.nan if v is None else v for v in column]
                    for name, column in json.loads(rounds).items()
                }
                yield (
                    ruleset,
                    Result(
                        scenario=Scenario.restore(json.loads(scenario)),
                        rounds=table,
                        status=status,
                        reason=reason,
                        provenance=json.loads(provenance),
                        seconds=seconds,
                    ),
                )

    def export(self) -> list[dict[str, Any]]:
        """Return everything as plain data, ready for `json.dump`; NaN becomes None."""
        return [
            {
                "ruleset": ruleset,
                "scenario": result.scenario.to_dict(),
                "summary": {name: _plain(v) for name, v in result.summary.items()},
                "rounds": {n: [_plain(v) for v in c] for n, c in result.rounds.items()},
                "provenance": dict(result.provenance),
            }
            for ruleset, result in self.results()
        ]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
