"""The contract of stores of results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from hgobench.results.result import Result
from hgobench.results.rows import Damage, plain
from hgobench.scenario import Scenario


class StoreError(RuntimeError):
    """The store can't be written: the disk is full, or another process holds it too long."""


@runtime_checkable
class Store(Protocol):
    """Results and measurements under their addresses (`hgobench.results.address`).

    One process writes, others may read at the same time. Once `add` or `keep` has returned, the
    data is safe, however the process ends. Whatever is read may come from any source: it is
    checked, nothing that it names is imported, and damaged rows are left out with a message and
    listed by `damaged`.

    `hgobench.results.open_store` opens one; tests/test_store.py is the contract as tests.

    Example:
        >>> import tempfile
        >>> from hgobench import Scenario, open_store, run
        >>> with tempfile.TemporaryDirectory() as folder, open_store(folder) as store:
        ...     store.add(run(Scenario(workers=20, rounds=1)), "mine-1")
        ...     len(store), [ruleset for ruleset, result in store.results()]
        (1, ['mine-1'])
    """

    @property
    def where(self) -> str:
        """Where it is, for messages."""

    def add(self, result: Result, ruleset: str, key: str | None = None) -> None:
        """Keep a result under its address; None: it is worked out (`result_key`).

        It replaces the result of the same ruleset and cell (`Scenario.digest`), and the result at
        the same address. A result that a store kept before keeps the digest of the sources that it
        was computed with.

        Raises:
            StoreError: it can't be written; nothing was replaced.
        """

    def add_all(self, several: Iterable[tuple[Result, str, str | None]]) -> None:
        """Keep results with their rulesets and addresses, all of them or none; see `add`.

        Raises:
            StoreError: they can't be written; nothing was replaced.
        """

    def reusable(
        self, among: Iterable[str] | Mapping[str, Scenario] | None = None
    ) -> Iterator[tuple[str, Result]]:
        """Yield (address, result) of the results that need not be computed again, by address.

        Failed and damaged results are left out, and results that do not say which data they are of.
        Each is read once, so that a run which continues takes its results from here.

        Args:
            among: addresses to look up, with or without their scenarios; None: all. A result of
                another scenario than the given one is damaged.

        Raises:
            InputError: the store can't be read.
        """

    def keys(self, among: Iterable[str] | Mapping[str, Scenario] | None = None) -> set[str]:
        """Return the addresses of the `reusable` results."""

    def results(self, keys: Iterable[str] | None = None) -> Iterator[tuple[str, Result]]:
        """Yield (ruleset, result) of all results that are not damaged, ordered by address.

        Args:
            keys: only these addresses; None: all.

        Raises:
            InputError: the store can't be read.
        """

    def entries(self, keys: Iterable[str] | None = None) -> Iterator[tuple[str, str, Result]]:
        """Yield (address, ruleset, result): the `results` with their addresses.

        Raises:
            InputError: the store can't be read.
        """

    def damaged(self) -> list[Damage]:
        """Return the rows that can't be results, with the problem of each."""

    def __len__(self) -> int:
        """Count results, damaged ones too."""

    def keep(self, key: str, what: str, value: Any) -> None:
        """Keep a measurement under its address (`measurement_key`); it replaces an older one.

        Args:
            key: the address.
            what: the function that measured, and its arguments.
            value: the measured value, which JSON can hold.

        Raises:
            StoreError: it can't be written; nothing was replaced.
        """

    def measurements(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of measurements by their addresses; damaged ones are left out.

        Raises:
            InputError: the store can't be read.
        """

    def measured(self) -> Iterator[tuple[str, str, Any]]:
        """Yield (address, what, value) of all measurements that are not damaged, by address.

        Raises:
            InputError: the store can't be read.
        """

    def claim(self, needed: Callable[[], bool]) -> AbstractContextManager[None]:
        """Let no other process compute for the store while the body does.

        Args:
            needed: called if another does: whether to wait for it, which is said. If not, the body
                runs beside it.
        """

    def close(self) -> None:
        """Close the store; it can't be used any more."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""


def export(store: Store) -> list[dict[str, Any]]:
    """Return all results as plain data, ready for `json.dump`; NaN becomes None, bits hexadecimal.

    A result's `right` is `numpy.unpackbits(numpy.frombuffer(bytes.fromhex(text), "u1"))`.

    >>> import tempfile
    >>> from hgobench import Scenario, open_store, run
    >>> with tempfile.TemporaryDirectory() as folder, open_store(folder) as store:
    ...     store.add(run(Scenario(workers=20, rounds=1)), "mine-1")
    ...     (cell,) = export(store)
    >>> cell["ruleset"], cell["scenario"]["workers"], cell["rounds"]["round"]
    ('mine-1', 20, [1])
    """
    return [as_data(ruleset, result) for ruleset, result in store.results()]


def as_data(ruleset: str, result: Result) -> dict[str, Any]:
    """Return a result as `export` does."""
    return {
        "ruleset": ruleset,
        "scenario": result.scenario.to_dict(),
        "summary": {name: plain(v) for name, v in result.summary.items()},
        "rounds": {n: [plain(v) for v in c] for n, c in result.rounds.items()},
        "right": None if result.right is None else result.right.hex(),
        "provenance": dict(result.provenance),
    }
