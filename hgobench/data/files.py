"""Where the files of a data set are: in the user's folder, in the cache, or still to download."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from platformdirs import user_cache_path

from hgobench import reading
from hgobench.errors import InputError, Unavailable


def folders(name: str) -> list[Path]:
    """Return the folders in which a data set is looked for; it is downloaded to the last."""
    cached = user_cache_path("hgobench") / name
    root = os.environ.get("HGOBENCH_DATA")
    return [Path(root) / name, cached] if root else [cached]


def at_hand(path: Path) -> Path:
    """Return the path of a file that may be packed: with ``.gz`` added unless it is there plain."""
    return path if path.exists() else path.with_name(f"{path.name}.gz")


def content(path: Path, most: int) -> bytes:
    """Read a file, plain or packed (``.gz``), of `most` bytes at most when unpacked.

    Raises:
        InputError: it can't be read or unpacked, or is larger.
    """
    return reading.content("data", at_hand(path), most)


def state(path: Path) -> tuple[str, int, int, int]:
    """Return a value that changes when a file does: its path, size, time of change and inode."""
    source = at_hand(path)
    try:
        status = source.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(source), status.st_size, status.st_mtime_ns, status.st_ino


def find(name: str, files: Sequence[str], download: Callable[[Path], None]) -> Path:
    """Find the folder of a data set; download it if it is missing.

    Args:
        name: the data set's, which is its folder's, too.
        files: the files that the folder must hold, plain or packed.
        download: downloads them into a folder.

    Raises:
        Unavailable: it is not on this machine and can't or must not be downloaded.
    """
    places = folders(name)
    for folder in places:
        if all(at_hand(folder / file).exists() for file in files):
            return folder
    searched = " or ".join(map(str, places))
    if os.environ.get("HGOBENCH_OFFLINE"):
        raise Unavailable(
            f"data: {name!r} is not in {searched}, and HGOBENCH_OFFLINE forbids to download it; "
            "set HGOBENCH_DATA to a folder that holds it"
        )
    try:
        with warnings.catch_warnings():  # files are checked, whatever the client warns of
            warnings.simplefilter("ignore")
            download(places[-1])
    except InputError:
        raise
    except Exception as error:
        message = " ".join(f"{error}".split()) or type(error).__name__
        raise Unavailable(
            f"data: {name!r} is not in {searched}, and downloading it from OpenML failed: "
            f"{message}; set HGOBENCH_DATA to a folder that holds it"
        ) from error
    return places[-1]
