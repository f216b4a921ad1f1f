"""A store that forgets: what a `Store` is, in as few lines as may be."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from hgobench import Scenario
from hgobench.results import Result
from hgobench.results.address import code_stated, result_key
from hgobench.results.rows import Damage

Key = tuple[str, str]


class MemoryStore:
    """Keeps everything in dictionaries, which another `MemoryStore` may share.

    Args:
        kept: what an earlier one kept.
    """

    where = "memory"

    def __init__(self, kept: MemoryStore | None = None) -> None:
        self.cells: dict[str, tuple[str, Result]] = {} if kept is None else kept.cells
        self.values: dict[str, tuple[str, str]] = {} if kept is None else kept.values

    def add(self, result: Result, ruleset: str, key: str | None = None) -> None:
        made = result.provenance
        key = key or result_key(result.scenario, ruleset, made["device"], made.get("data"))
        for other, (name, old) in list(self.cells.items()):
            if (name, old.scenario.digest) == (ruleset, result.scenario.digest):
                del self.cells[other]
        told = {**made, "code": made.get("code", code_stated())}
        self.cells[key] = ruleset, replace(copy.deepcopy(result), provenance=told)

    def add_all(self, several: Iterable[tuple[Result, str, str | None]]) -> None:
        for result, ruleset, key in list(several):  # all of them or none
            self.add(result, ruleset, key)

    def reusable(
        self, among: Iterable[str] | Mapping[str, Scenario] | None = None
    ) -> Iterator[tuple[str, Result]]:
        expected = among if isinstance(among, Mapping) else {}
        wanted = set(self.cells if among is None else among)
        for key in sorted(wanted & self.cells.keys()):
            result = self.cells[key][1]
            same = result.scenario == expected.get(key, result.scenario)
            if same and result.status != "failed" and result.provenance.get("data"):
                yield key, result

    def keys(self, among: Iterable[str] | Mapping[str, Scenario] | None = None) -> set[str]:
        return {key for key, _ in self.reusable(among)}

    def results(self, keys: Iterable[str] | None = None) -> Iterator[tuple[str, Result]]:
        yield from ((ruleset, result) for _, ruleset, result in self.entries(keys))

    def entries(self, keys: Iterable[str] | None = None) -> Iterator[tuple[str, str, Result]]:
        wanted = set(self.cells if keys is None else keys)
        yield from ((key, *self.cells[key]) for key in sorted(wanted & self.cells.keys()))

    def damaged(self) -> list[Damage]:
        return []

    def __len__(self) -> int:
        return len(self.cells)

    def keep(self, key: str, what: str, value: Any) -> None:
        same = {other for other, (name, _) in self.values.items() if name == what}
        for other in same:
            del self.values[other]
        self.values[key] = what, json.dumps(value)

    def measurements(self, keys: Iterable[str]) -> dict[str, Any]:
        return {key: json.loads(self.values[key][1]) for key in keys if key in self.values}

    def measured(self) -> Iterator[tuple[str, str, Any]]:
        for key, (what, value) in sorted(self.values.items()):
            yield key, what, json.loads(value)

    def claim(self, needed: Callable[[], bool]) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
