"""What is installed, and what an import costs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import hgobench
from tests.conftest import ROOT


def python(
    *arguments: str, cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, timeout=240,
        check=False, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    "statement",
    [
        "import hgobench",
        "import hgobench.plugin",
        "import hgobench.cli; hgobench.cli.main(['--help'])",
        "import hgobench.suite; hgobench.suite.Suite.load('quick')",
    ],
)
def test_torch_is_not_imported_before_it_is_needed(statement: str) -> None:
    script = f"""
import atexit, sys
atexit.register(lambda: print("torch" if "torch" in sys.modules else "free", file=sys.stderr))
{statement}
"""
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "free"


def test_pytest_itself_does_not_import_torch(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\ndef test_it():\n    assert 'torch' not in sys.modules\n"
    )
    assert python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("name", ["attacks", "aggregators"])
def test_the_short_names_are_not_importable(name: str) -> None:
    done = python("-c", f"import {name}")
    assert done.returncode == 1
    assert f"ImportError: import hgobench.{name}, not {name}" in done.stderr


@pytest.mark.parametrize("how", ["script", pytest.param("-c", marks=pytest.mark.long)])
def test_a_user_s_own_attacks_folder_breaks_nothing(tmp_path: Path, how: str) -> None:
    for name in ("attacks", "aggregators"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("MINE = True\n")
    script = (
        "import attacks, aggregators, hgobench.attacks, hgobench.aggregators\n"
        "assert attacks.MINE and aggregators.MINE\n"
        "print(hgobench.attacks.build('foe'), hgobench.aggregators.build('median'))\n"
    )
    (tmp_path / "script.py").write_text(script)
    done = python(*(("script.py",) if how == "script" else ("-c", script)), cwd=tmp_path)
    assert "Foe(epsilon=10.0) Median(f=0, scope='block')" in done.stdout, done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the sdist, the wheel, and a wheel built from the sdist."""
    folder = tmp_path_factory.mktemp("built")
    build = "from hatchling import build; import sys; print(build.{}(sys.argv[1]))"
    for kind in ("build_sdist", "build_wheel"):
        done = python("-c", build.format(kind), str(folder))
        assert done.returncode == 0, done.stderr
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    done = python("-c", build.format("build_wheel"), str(folder / "again"), cwd=source)
    assert done.returncode == 0, done.stderr
    return folder


def modules(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.startswith("hgobench-")}


def sources() -> set[str]:
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "hgobench").glob("**/*.py")}
    found = {name for name in found if "/attacks/" not in name and "/aggregators/" not in name}
    for name in ("attacks", "aggregators"):
        found |= {f"hgobench/{path.relative_to(ROOT)}" for path in (ROOT / name).glob("*.py")}
    return found


@pytest.mark.long
def test_wheel_and_sdist_hold_everything_once(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (again,) = (built / "again").glob("*.whl")
    assert modules(wheel) == modules(again)
    assert sources() <= modules(wheel)
    data = {path for path in (ROOT / "suites").glob("**/*") if path.suffix in (".toml", ".json")}
    data |= set((ROOT / "hgobench" / "report" / "templates").iterdir())
    assert len(data) > 50
    inside = {str(path.relative_to(ROOT)).removeprefix("hgobench/") for path in data}
    assert {f"hgobench/{name}" for name in inside} <= modules(wheel)
    assert {"hgobench/py.typed", "hgobench/suites/quick.toml", "hgobench/suites/test_cells.py",
            "hgobench/suites/reference/quick.json", "hgobench/suites/paper/fig4b.toml",
            "hgobench/paper/published.json", "hgobench/report/templates/page.html",
            "hgobench/report/templates/style.css", "hgobench/report/templates/site.js"} <= modules(wheel)  # fmt: skip
    assert not any(name.startswith(("attacks", "aggregators", "suites")) for name in modules(wheel))


@pytest.mark.long
def test_the_wheel_works_away_from_the_checkout(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = python(
        "-m", "hgobench", "run", "smoke", "--set", "rounds=2", "--set", "seed=0", "--quiet",
        "--format", "html",
        cwd=elsewhere, PYTHONPATH=str(tmp_path / "site"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "<td>hgo krum staircase v=9</td>" in done.stdout


def test_a_checkout_without_links_works(tmp_path: Path) -> None:
    for name in ("hgobench", "attacks", "aggregators", "suites"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True)
    for name in ("attacks", "aggregators"):
        (tmp_path / "hgobench" / name).unlink()
    script = "import hgobench; print(hgobench.attacks.build('foe'), hgobench.__file__)"
    done = python("-c", script, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert f"Foe(epsilon=10.0) {tmp_path}" in done.stdout, done.stderr


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def constraints(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(package): version for package, version in pairs}


def test_versions_agree() -> None:
    assert PROJECT["version"] == hgobench.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [hgobench.__version__]


def test_the_lowest_versions_are_those_that_are_allowed() -> None:
    extras = PROJECT["optional-dependencies"]
    texts = [*PROJECT["dependencies"], *(text for name in extras for text in extras[name])]
    lowest, tried = constraints("constraints-lowest.txt"), constraints("constraints.txt")
    bounded = [requirement for requirement in map(Requirement, texts) if ">=" in str(requirement)]
    assert len(bounded) > len(PROJECT["dependencies"])
    for requirement in bounded:
        (bound,) = requirement.specifier
        name = canonicalize_name(requirement.name)
        assert Version(lowest[name]) == Version(bound.version), name
        assert Version(tried[name]) >= Version(bound.version), name


def test_the_constraints_for_flower_are_the_others_but_for_what_it_holds_back() -> None:
    tried, held = constraints("constraints.txt"), constraints("constraints-flower.txt")
    lower = {name for name, version in tried.items() if Version(held[name]) < Version(version)}
    assert lower == {"click", "packaging", "rich", "typer", "virtualenv"}
    assert {name for name, version in tried.items() if held[name] != version} == lower
    (flower,) = map(Requirement, PROJECT["optional-dependencies"]["flower"])
    assert flower.specifier.contains(held["flwr"])
    texts = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, texts):
        assert requirement.specifier.contains(held[canonicalize_name(requirement.name)])


def test_the_shell_completes_verbs() -> None:
    script = "import sys; sys.argv[0] = 'hgobench'; from hgobench.cli import main; main()"
    done = python(
        "-c", script,
        _HGOBENCH_COMPLETE="complete_bash", COMP_WORDS="hgobench lea", COMP_CWORD="1",
    )  # fmt: skip
    assert done.stdout.split() == ["leaderboard"], done.stderr
