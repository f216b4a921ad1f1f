"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNFINISHED = ".unfinished-"


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """Yield an empty folder; what the body writes there is in `folder` once the body has ended.

    If the body raises, Ctrl-C included, nothing of it is left. A process that is killed leaves a
    folder ``.unfinished-..`` that nothing reads.

    Args:
        folder: made if it does not exist; files of the same name in it are replaced.

    >>> with tempfile.TemporaryDirectory() as name:
    ...     with whole(Path(name, "out")) as unfinished:
    ...         _ = (unfinished / "a.txt").write_text("a")
    ...         before = Path(name, "out", "a.txt").exists()
    ...     before, [path.name for path in Path(name, "out").iterdir()]
    (False, ['a.txt'])
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
    try:
        yield unfinished
        for path in sorted(unfinished.iterdir()):
            os.replace(path, folder / path.name)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        with suppress(OSError):  # somebody else's files are in it
            for path in missing:
                path.rmdir()
        raise
    unfinished.rmdir()
