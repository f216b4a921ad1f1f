"""Where the files of a data set are: the user's folder, the cache, or nowhere yet."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path

from hgobench.errors import InputError


def folders(name: str) -> list[Path]:
    """Return where a data set is looked for; the last is where it would be downloaded to."""
    cached = user_cache_path("hgobench") / name
    root = os.environ.get("HGOBENCH_DATA")
    return [Path(root) / name, cached] if root else [cached]


def find(name: str, holds: Callable[[Path], bool], download: Callable[[Path], None]) -> Path:
    """Find the folder of a data set; download it if nobody has it.

    Args:
        name: of the data set and its folder.
        holds: says whether a folder has it.
        download: brings it into a folder.

    Raises:
        InputError: it is nowhere and can't or must not be downloaded.
    """
    places = folders(name)
    for folder in places:
        if holds(folder):
            return folder
    looked = " or ".join(map(str, places))
    if os.environ.get("HGOBENCH_OFFLINE"):
        raise InputError(
            f"data: {name!r} is not in {looked}, and HGOBENCH_OFFLINE forbids to download it; "
            "set HGOBENCH_DATA to a folder that holds it"
        )
    try:
        download(places[-1])
    except OSError as error:
        raise InputError(
            f"data: {name!r} is not in {looked}, and downloading it from OpenML failed: {error}; "
            "set HGOBENCH_DATA to a folder that holds it"
        ) from error
    return places[-1]
