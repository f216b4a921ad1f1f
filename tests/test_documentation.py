"""The documentation site: every page has a place, it builds without a warning, works offline."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import hgobench
from hgobench import catalogue
from tests.conftest import ROOT

DOCS = ROOT / "docs"
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\ssrc=["']?(?:https?:)?//[^>]*>"""
    r"""|<link\b(?![^>]*rel="(?:canonical|author)")[^>]*\shref=["']?(?:https?:)?//[^>]*>"""
    r"""|url\(\s*["']?(?:https?:)?//[^)]*\)|@import[^;]*//[^;]*;"""
)


def places() -> Iterator[str]:
    """Yield the pages that the navigation leads to, as often as it does."""
    for page in DOCS.rglob("*.rst"):
        for block in re.findall(r"^\.\. toctree::\n((?:   .*\n|\n)+)", page.read_text(), re.M):
            for line in filter(None, map(str.strip, block.splitlines())):
                if not line.startswith(":"):  # an option
                    yield str((page.parent / line).relative_to(DOCS))


def test_every_page_has_one_place_in_the_navigation() -> None:
    pages = {
        str(path.relative_to(DOCS).with_suffix(""))
        for kind in ("md", "rst")
        for path in DOCS.rglob(f"*.{kind}")
    }
    assert Counter(places()) == Counter(pages - {"index"}), "docs/index.rst"


def test_the_site_is_configured_without_being_built() -> None:
    configured = runpy.run_path(str(DOCS / "conf.py"))
    assert configured["version"] == hgobench.__version__
    assert "registered" in configured["extensions"]


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("furo", reason="needs hgobench[docs]")
    pytest.importorskip("myst_parser", reason="needs hgobench[docs]")
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(source), str(target)],
        capture_output=True, text=True, cwd=ROOT, timeout=600, check=False,
    )  # fmt: skip


@pytest.mark.long
def test_the_site_is_complete_and_works_offline(tmp_path: Path) -> None:
    done = build(DOCS, tmp_path)
    assert done.returncode == 0, done.stderr
    fetched = [
        f"{path.relative_to(tmp_path)}: {found}"
        for path in tmp_path.rglob("*")
        if path.suffix in (".html", ".css")
        for found in FETCHED.findall(path.read_text(encoding="utf-8"))
    ]
    assert not fetched, "a page fetches something from elsewhere"
    written = "".join(
        path.read_text(encoding="utf-8") for path in (tmp_path / "reference").glob("*.html")
    )
    for field in (*catalogue.FIELDS, "pre_rule", "heterogeneity_attack", "condition"):
        for name, entry in catalogue.registry(field).builtins.items():
            made = getattr(entry.factory, "func", entry.factory)
            assert f'id="{made.__module__}.{made.__qualname__}"' in written, name
    for name in hgobench.__all__:
        thing = getattr(hgobench, name)
        if hasattr(thing, "__qualname__"):
            assert f'id="{thing.__module__}.{name}"' in written, name
    assert "<h2>hgobench run<" in written


@pytest.mark.long
def test_what_is_wrong_with_a_page_is_found_out(tmp_path: Path) -> None:
    for name in ("conf.py", "registered.py"):
        shutil.copy(DOCS / name, tmp_path)
    (tmp_path / "index.md").write_text("# Start\n\n[a page](nowhere.md)\n")
    (tmp_path / "alone.md").write_text("# Alone\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "document isn't included in any toctree" in done.stderr


def test_what_a_page_fetches_is_seen() -> None:
    for text in (
        '<script src="https://cdn/x.js"></script>',
        '<link rel="stylesheet" href="//fonts/x.css">',
        "url(https://cdn/font.woff)",
        '@import "https://cdn/x.css";',
    ):
        assert FETCHED.search(text), text
    assert not FETCHED.search('<a href="https://example.org">elsewhere</a>')


SAID = {
    "compare_two_rules.py": r"better: geometric_median\n",
    "choose_for_phones.py": r"tolerate 9 of 60: .*\n(.*\n)+choose \w+: 0\.\d+ on test",
    "beat_a_rule.py": r"Krum's worst case here is 0\.\d+, by beat_a_rule:StepBack\n",
    "resnet_under_attack.py": r"sgd trimmed_mean v=5 +0\.9(.*\n)+.*sgd average v=1 +0\.[0-4]",
    "hospitals.py": r"hospital 11: .*\n(.*\n)+ +4  sgd average v=1 +0\.",
    "letters_on_phones.py": r"hgo trimmed_mean v=7 +0\.[1-4](.*\n)+.*sgd trimmed_mean v=7 ~ \(not live",
}
DRAWN = {"resnet_under_attack.py": "images", "hospitals.py": "hospitals",
         "letters_on_phones.py": "letters"}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", SAID)
def test_the_gallery_says_what_it_promises(name: str, tmp_path: Path) -> None:
    script = shutil.copy(DOCS / "gallery" / name, tmp_path)
    assert len(Path(script).read_text().splitlines()) < 60
    environment = {key: value for key, value in os.environ.items() if key != "HGOBENCH_DATA"}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=240,
        check=False, env={**environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(SAID[name], done.stdout), done.stdout
    if picture := DRAWN.get(name):
        assert (tmp_path / f"{picture}.png").stat().st_size > 10_000
        assert len((tmp_path / f"{picture}.csv").read_text().splitlines()) > 3


def test_the_gallery_is_tried() -> None:
    assert set(SAID) == {path.name for path in (DOCS / "gallery").glob("*.py")}


@pytest.mark.long
def test_the_tutorial_works_from_an_empty_folder(tmp_path: Path) -> None:
    page = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"^```python\n# mine.py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.py").write_text(source)
    environment = {key: value for key, value in os.environ.items() if key != "HGOBENCH_DATA"}
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    commands = re.findall(r"^hgobench .*$", blocks, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["run", "test", "run", "plot", "compare"]
    for command in commands:
        few = " --set rounds=2 --set seed=0,1 --quiet" if " run " in command else ""
        words = (command + few).split()[1:]
        done = subprocess.run(
            [sys.executable, "-m", "hgobench", *words], capture_output=True, text=True,
            cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT)}, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert (tmp_path / "heat.svg").stat().st_size > 1000
