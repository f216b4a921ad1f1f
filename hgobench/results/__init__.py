"""Results, and the stores that keep them."""

from collections.abc import Callable
from pathlib import Path

from hgobench.arguments import check_arguments, function, instance, optional
from hgobench.arguments import folder as check_folder

from .result import COLUMNS, Result
from .sqlite import SqliteStore
from .store import Store, StoreError, export

__all__ = ["COLUMNS", "Result", "Store", "StoreError", "export", "open_store"]


def open_store(
    folder: str | Path, *, create: bool = True, say: Callable[[str], None] | None = None
) -> Store:
    """Open the store of a folder.

    Args:
        folder: as ``hgobench run`` creates it; with `create` it is made if it does not exist.
        create: False opens an existing store for reading only.
        say: called with each line that a user should see; None: it is printed on standard error.

    Raises:
        InputError: no store there, or one that this version can't read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, open_store(folder) as store:
        ...     [result.summary["test_accuracy"] for _, result in store.results()]
        []
    """
    check_arguments(
        folder=(check_folder, folder),
        create=(instance("True or False", bool), create),
        say=(optional(function), say),
    )
    return SqliteStore(folder, create=create, say=say)
