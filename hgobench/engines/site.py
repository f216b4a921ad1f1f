"""What other machines must have installed as this one has, and the plug-ins they are sent."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import sys
import sysconfig
import zipfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import hgobench
from hgobench import boundary
from hgobench.errors import InputError
from hgobench.results.address import SOURCES, code_digest

LIBRARIES = ("torch", "numpy", "scikit-learn", "llvmlite")  # numbers depend on their versions
LARGEST = 2**20  # bytes of plug-ins, sent with each task
_INSTALLED = tuple({sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")})


def installed(packages: Collection[str]) -> dict[str, str]:
    """Return the versions installed on this machine by name, and a hash of each package's sources.

    Args:
        packages: top-level packages that hold plug-ins.
    """
    versions = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = "missing"
    versions["hgobench"] = f"{hgobench.__version__}, sources {_own_hash()}"
    for name in packages:
        folders = _folders(name)
        versions[name] = f"sources {_hash(tuple(folders))}" if folders else "missing"
    return versions


def differences(expected: dict[str, str], remote: dict[str, str]) -> str:
    """Say in which versions another machine differs; empty: in none.

    >>> differences({"torch": "2.1"}, {"torch": "2.0", "numpy": "2.0"})
    'torch: 2.0; expected 2.1'
    """
    return ", ".join(
        f"{name}: {remote.get(name, 'missing')}; expected {version}"
        for name, version in expected.items()
        if remote.get(name) != version
    )


def plugins() -> tuple[list[str], list[Path]]:
    """Return the packages of plug-ins that this process has imported.

    Returns:
        The names of those that are installed, and the files of the others.
    """
    names: list[str] = []
    files: dict[Path, None] = {}
    for name in sorted({module.partition(".")[0] for module in boundary.IMPORTED}):
        folders = _folders(name)
        if any(folder.startswith(_INSTALLED) for folder in folders):
            names.append(name)
        else:
            files |= dict.fromkeys(
                path for folder in folders for path in _python_files(Path(folder))
            )
    return names, list(files)


def bundle(files: Collection[Path]) -> bytes:
    """Return files of plug-ins as a zip archive; the same files give the same bytes.

    Raises:
        InputError: it has more than `LARGEST` bytes.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            root = path.parent
            while (root / "__init__.py").exists():
                root = root.parent
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix())  # it holds no time
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    data = stream.getvalue()
    if len(data) > LARGEST:
        raise InputError(
            f"engine: the plug-ins' folder has {len(data):,} bytes of Python files, compressed; at "
            f"most {LARGEST:,} are sent along: install them as a package on every worker"
        )
    return data


def unpacked(data: bytes, folder: Path) -> Path:
    """Unpack a bundle in a folder and return its path; processes may do so at the same time."""
    home = folder / f"hgobench-{hashlib.sha256(data).hexdigest()[:16]}"
    if not home.exists():
        new = folder / f"{home.name}.{os.getpid()}.{id(data)}"
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(new)
        new.mkdir(exist_ok=True)
        with suppress(OSError):  # another process was faster
            new.rename(home)
    return home


def _folders(package: str) -> list[str]:
    """Return the folders of a package, or the file of a module; nothing is imported."""
    module = sys.modules.get(package)
    try:
        spec = getattr(module, "__spec__", None) or find_spec(package)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return list(spec.submodule_search_locations)
    return [spec.origin] if spec.origin and Path(spec.origin).exists() else []


def _python_files(path: Path) -> Iterator[Path]:
    """Yield the Python files of a package, or of a module's folder, as it may import them."""
    yield from sorted(path.rglob("*.py") if path.is_dir() else path.parent.glob("*.py"))


@cache
def _hash(folders: tuple[str, ...]) -> str:
    """Return a hash of the Python files of a package."""
    digest = hashlib.sha256()
    for folder in map(Path, folders):
        for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
            digest.update(path.relative_to(folder.parent).as_posix().encode() + b"\0")
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def _own_hash() -> str:
    """Return a hash of hgobench's sources, the same in a checkout and installed."""
    package = Path(hgobench.__file__).parent
    names = {path.name for path in package.iterdir() if path.is_dir() or path.suffix == ".py"}
    others = names - set(SOURCES) - {"__pycache__", "suites"}
    return code_digest(*sorted(others))[:12]
