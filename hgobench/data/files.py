"""Where the files of a data set are: the user's folder, the cache, or nowhere yet."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from platformdirs import user_cache_path

from hgobench.errors import Unavailable


def folders(name: str) -> list[Path]:
    """Return where a data set is looked for; the last is where it would be downloaded to."""
    cached = user_cache_path("hgobench") / name
    root = os.environ.get("HGOBENCH_DATA")
    return [Path(root) / name, cached] if root else [cached]


def content(path: Path) -> bytes:
    """Read a file, plain or with ``.gz`` behind its name."""
    if path.exists():
        return path.read_bytes()
    return gzip.decompress(_packed(path).read_bytes())


def _packed(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")


def find(name: str, files: Sequence[str], download: Callable[[Path], None]) -> Path:
    """Find the folder of a data set; download it if nobody has it.

    Args:
        name: of the data set and its folder.
        files: what the folder holds, plain or packed.
        download: brings them into a folder.

    Raises:
        Unavailable: it is nowhere and can't or must not be downloaded.
    """
    places = folders(name)
    for folder in places:
        paths = [folder / file for file in files]
        if all(path.exists() or _packed(path).exists() for path in paths):
            return folder
    looked = " or ".join(map(str, places))
    if os.environ.get("HGOBENCH_OFFLINE"):
        raise Unavailable(
            f"data: {name!r} is not in {looked}, and HGOBENCH_OFFLINE forbids to download it; "
            "set HGOBENCH_DATA to a folder that holds it"
        )
    try:
        download(places[-1])
    except OSError as error:
        raise Unavailable(
            f"data: {name!r} is not in {looked}, and downloading it from OpenML failed: {error}; "
            "set HGOBENCH_DATA to a folder that holds it"
        ) from error
    return places[-1]
