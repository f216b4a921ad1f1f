"""Where the files of a data set are: the user's folder, the cache, or nowhere yet."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from platformdirs import user_cache_path

from hgobench import reading
from hgobench.errors import InputError, Unavailable


def folders(name: str) -> list[Path]:
    """Return where a data set is looked for; the last is where it would be downloaded to."""
    cached = user_cache_path("hgobench") / name
    root = os.environ.get("HGOBENCH_DATA")
    return [Path(root) / name, cached] if root else [cached]


def at_hand(path: Path) -> Path:
    """Return a file as it lies there: plain, or with ``.gz`` behind its name."""
    return path if path.exists() else path.with_name(f"{path.name}.gz")


def content(path: Path, most: int) -> bytes:
    """Read a file, plain or with ``.gz`` behind its name, of `most` bytes at most, unpacked.

    Raises:
        InputError: it can't be read or unpacked, or is larger.
    """
    return reading.content("data", at_hand(path), most)


def state(path: Path) -> tuple[str, int, int, int]:
    """Return what changes when a file does; of a file that is not there, its name."""
    there = at_hand(path)
    try:
        about = there.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(there), about.st_size, about.st_mtime_ns, about.st_ino


def find(name: str, files: Sequence[str], download: Callable[[Path], None]) -> Path:
    """Find the folder of a data set; download it if it is missing.

    Args:
        name: of the data set and its folder.
        files: what the folder holds, plain or packed.
        download: brings them into a folder.

    Raises:
        Unavailable: it is nowhere and can't or must not be downloaded.
    """
    places = folders(name)
    for folder in places:
        if all(at_hand(folder / file).exists() for file in files):
            return folder
    looked = " or ".join(map(str, places))
    if os.environ.get("HGOBENCH_OFFLINE"):
        raise Unavailable(
            f"data: {name!r} is not in {looked}, and HGOBENCH_OFFLINE forbids to download it; "
            "set HGOBENCH_DATA to a folder that holds it"
        )
    try:
        with warnings.catch_warnings():  # what was brought is checked, whatever the client says
            warnings.simplefilter("ignore")
            download(places[-1])
    except InputError:
        raise
    except Exception as error:
        said = " ".join(f"{error}".split()) or type(error).__name__
        raise Unavailable(
            f"data: {name!r} is not in {looked}, and downloading it from OpenML failed: {said}; "
            "set HGOBENCH_DATA to a folder that holds it"
        ) from error
    return places[-1]
