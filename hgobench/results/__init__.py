"""Results and where they are kept."""

from collections.abc import Callable
from pathlib import Path

from .result import COLUMNS, Result
from .sqlite import SqliteStore
from .store import Store, StoreError, export

__all__ = ["COLUMNS", "Result", "Store", "StoreError", "export", "open_store"]


def open_store(
    folder: str | Path, *, create: bool = True, say: Callable[[str], None] | None = None
) -> Store:
    """Open the store of a folder.

    Args:
        folder: where ``hgobench run`` keeps results; made if it does not exist, if `create`.
        create: False opens an existing store for reading only.
        say: what to do with a line that a user should see; None: print it on standard error.

    Raises:
        InputError: no store there, or one that this version can't read.

    Example:
        >>> with open_store("hgobench-results/quick", create=False) as store:  # doctest: +SKIP
        ...     accuracies = [result.summary["test_accuracy"] for _, result in store.results()]
    """
    return SqliteStore(folder, create=create, say=say)
