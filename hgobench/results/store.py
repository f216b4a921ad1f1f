"""What a store of results is, wherever it keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from hgobench.results.result import Result
from hgobench.results.rows import Damage, plain
from hgobench.scenario import Scenario


class StoreError(RuntimeError):
    """The store can't be written: the disk is full, or another process holds it too long."""


class Store(Protocol):
    """Results and measurements under their addresses (`hgobench.results.address`).

    One process writes, others may read meanwhile. What `add` and `keep` return from is kept,
    however the process then ends. What is read may be anybody's: it is checked, nothing that it
    names is imported, and what is damaged is left out, said, and listed by `damaged`.

    `hgobench.results.open_store` opens one. tests/test_store.py holds an implementation to this.
    """

    @property
    def where(self) -> str:
        """Say where it is, for messages."""

    def add(self, result: Result, ruleset: str, key: str | None = None) -> None:
        """Keep a result under its address; None: it is worked out (`result_key`).

        What it replaces: all that is there of the same ruleset and cell (`Scenario.digest`), and
        what is under the address.

        Raises:
            StoreError: it can't be written; what was there before still is.
        """

    def add_all(self, several: Iterable[tuple[Result, str, str | None]]) -> None:
        """Keep results with their rulesets and addresses, all of them or none; see `add`.

        Raises:
            StoreError: they can't be written; what was there before still is.
        """

    def standing(
        self, among: Iterable[str] | Mapping[str, Scenario] | None = None
    ) -> Iterator[tuple[str, Result]]:
        """Yield (address, result) of what need not be computed again, ordered by address.

        Failed and damaged results do not stand, nor those that do not say which data they are of.
        Each is read once: whoever goes on with a grid takes results from here.

        Args:
            among: only these addresses are looked at; None: all. If they come with their scenarios,
                a result of another one is damaged.

        Raises:
            InputError: the store can't be read.
        """

    def keys(self, among: Iterable[str] | Mapping[str, Scenario] | None = None) -> set[str]:
        """Return the addresses of what is `standing`."""

    def results(self, keys: Iterable[str] | None = None) -> Iterator[tuple[str, Result]]:
        """Yield (ruleset, result) of all that is not damaged, ordered by address.

        Args:
            keys: only these addresses; None: all.

        Raises:
            InputError: the store can't be read.
        """

    def damaged(self) -> list[Damage]:
        """Return what can't be a result, and what is wrong with it."""

    def __len__(self) -> int:
        """Count results, damaged ones too."""

    def keep(self, key: str, what: str, value: Any) -> None:
        """Keep a measurement, anything that JSON knows, under its address (`measurement_key`).

        It replaces what was measured of the same before.

        Args:
            key: the address.
            what: what is measured.
            value: what was found.

        Raises:
            StoreError: it can't be written; what was there before still is.
        """

    def measurements(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return those measurements that have some addresses; damaged ones are left out.

        Raises:
            InputError: the store can't be read.
        """

    def close(self) -> None:
        """End: nothing can be asked of it any more."""

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
    """
    return [
        {
            "ruleset": ruleset,
            "scenario": result.scenario.to_dict(),
            "summary": {name: plain(v) for name, v in result.summary.items()},
            "rounds": {n: [plain(v) for v in c] for n, c in result.rounds.items()},
            "right": None if result.right is None else result.right.hex(),
            "provenance": dict(result.provenance),
        }
        for ruleset, result in store.results()
    ]
