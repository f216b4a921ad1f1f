"""A project's commits, measured: what is found of it, what asv is told, what the gate says."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hgobench.commits import asv, project
from hgobench.commits.project import Project
from hgobench.errors import InputError
from hgobench.report import kept
from hgobench.site import write_site
from hgobench.suite import benchmarks
from tests.test_cli import hgobench

pytest.importorskip("asv")
module: Any = sys.modules["hgobench.commits.gate"]
FORMS = benchmarks("inputs").FORMS

RULE = """
from hgobench.aggregators import Columns, Rule


class Mine(Rule):
    def __init__(self, *, f=0, scope="block"):
        super().__init__(f=f, scope=scope)

    def of_rows(self, rows):
        return Columns.sort(rows).median()
"""
DECLARED = """
[project]
name = "mine"
version = "0.1"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project.entry-points."hgobench.rules"]
mine = "mine:Mine"

[project.entry-points."hgobench.pre_rules"]
half = "mine:Half"
"""


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(folder: Path, message: str, **files: str) -> str:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without a build system, of one commit; one stands in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / ".gitignore").write_text("hgobench-results/\n__pycache__/\n")
    commit(folder, "A rule", mine=RULE)
    monkeypatch.chdir(folder)
    return folder


def test_a_project_is_found_from_any_of_its_folders(repository: Path) -> None:
    (repository / "part" / "deep").mkdir(parents=True)
    plain = project(["mine:Mine", "mine:Mine"], repository / "part" / "deep")
    assert plain == Project(repository, repository, "project", ("mine:Mine",))
    (repository / "part" / "pyproject.toml").write_text(DECLARED)
    built = project((), repository / "part" / "deep")
    assert built == Project(repository, repository / "part", "mine", ("mine", "half+trimmed_mean"))
    assert project(["mine:Mine"], repository / "part").rules == ("mine:Mine",)
    told = asv.configuration(built, repository / "out")
    assert (told["repo"], told["repo_subdir"]) == (str(repository), "part")
    assert asv.configuration(plain, repository / "out")["repo_subdir"] == ""
    assert Path(told["benchmark_dir"], "rules.py").is_file()
    assert json.loads(json.dumps(told)) == told
    (repository / "part" / "pyproject.toml").write_text("[tool.ruff]\nline-length = 80\n")
    assert project(["mine:Mine"], repository / "part").folder == repository


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            None,
            "--rule: none, and 'project' registers none as an entry point of hgobench.rules; name "
            "those to measure: --rule pkg.mod:Class",
        ),
        (
            DECLARED.replace('"hatchling"]', '"no-such-backend>=2"]'),
            "project: to build it needs 'no-such-backend>=2', which is not installed here: pip "
            "install 'no-such-backend>=2'",
        ),
        (
            DECLARED.replace('"hatchling"]', '"hatchling>=9999"]'),
            "project: to build it needs 'hatchling>=9999', which is not installed here: pip "
            "install 'hatchling>=9999'",
        ),
        ("[project", "expected TOML"),
    ],
)
def test_what_can_t_be_measured_is_refused(
    repository: Path, declared: str | None, message: str
) -> None:
    if declared is not None:
        (repository / "pyproject.toml").write_text(declared)
    refused = hgobench("bench", "gate", "HEAD~1")
    assert refused.returncode == 2
    assert message in " ".join(refused.stderr.split())


def test_arguments_are_checked(repository: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (["no-such"], f"BASE: 'no-such'; expected a commit, branch or tag of '{repository}'"),
        (["--", "--all"], "BASE: '--all'; expected a commit"),
        (["main", "--factor", "0.5"], "--factor: 0.5; expected a finite number >= 1"),
    ):
        refused = hgobench("bench", "gate", "--rule", "mine:Mine", *arguments)
        assert refused.returncode == 2
        assert message in refused.stderr
    same = hgobench("bench", "gate", "--rule", "mine:Mine", "main")
    assert same.returncode == 0
    assert same.stdout.startswith("BASE is HEAD, ")
    with pytest.raises(InputError, match="expected a folder of a git repository"):
        project(["mine:Mine"], tmp_path)


def test_asv_that_is_not_installed_is_named(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"asv: not installed.*pip install 'hgobench\[asv\]'"):
        asv.call(project(["mine:Mine"]), repository / "out", ["check"])


Measured = Mapping[str, float | None]


class FakeAsv:
    """Writes the results that asv would have written, and says what it would have said."""

    def __init__(self, base: Measured, head: Measured, statuses: Sequence[int]) -> None:
        self.values, self.statuses = (base, head), list(statuses)
        self.calls: list[Sequence[str]] = []

    def __call__(self, project: Project, out: Path, arguments: Sequence[str]) -> int:
        self.calls.append(arguments)
        folder = out / "results" / "here"
        folder.mkdir(parents=True, exist_ok=True)
        known = {
            name: {"name": name, "params": [["'mine'"]], "param_names": ["rule"], "unit": "calls",
                   "version": "1", "type": "track", "code": ""}
            for name in {*self.values[0], *self.values[1]}
        }  # fmt: skip
        (out / "results" / "benchmarks.json").write_text(json.dumps({**known, "version": 2}))
        for commit_, values in zip(arguments[-2:], self.values, strict=True):
            results = {
                name: [None if value is None else [value], [["'mine'"]], "1"]
                for name, value in values.items()
            }
            told = {
                "commit_hash": commit_, "env_name": "e", "date": 0, "params": {"machine": "here"},
                "python": "3.11", "requirements": {}, "env_vars": {}, "durations": {},
                "result_columns": ["result", "params", "version"], "results": results, "version": 2,
            }  # fmt: skip
            (folder / f"{commit_[:8]}-e.json").write_text(json.dumps(told))
        return self.statuses.pop(0)


@pytest.mark.parametrize(
    ("base", "head", "statuses", "status", "said"),
    [
        ({"a": 4.0}, {"a": 4.0}, [0, 0], 0, ""),
        ({"a": 4.0}, {"a": 5.0}, [1, 0], 1, ""),
        ({"a": 4.0}, {"a": 9.0}, [0, 1, 0], 0, ""),  # what seemed slower was not
        ({"a": 4.0}, {"a": 9.0}, [0, 1, 1], 1, ""),
        ({"a": 4.0, "b": math.nan}, {"a": 4.0, "b": 3.0}, [0, 0], 0,
         "BASE has no value, so that nothing is compared: b('mine')"),
        ({"a": 4.0}, {"a": None}, [1, 0], 2, "HEAD: nothing was measured"),
        ({"a": None, "b": 1.0}, {"a": None, "b": 1.0}, [0, 0], 2, "HEAD: not measured: a('mine')"),
        ({"a": 1.0, "b": 1.0}, {"a": math.nan, "b": 1.0}, [0, 0], 2,
         "HEAD: not measured: a('mine')"),
        ({"a": None}, {"a": 4.0}, [0, 0], 2, "BASE: nothing was measured"),
        ({}, {}, [1, 1, 1], 2, "HEAD: nothing was measured"),
    ],
)  # fmt: skip
def test_the_gate_tells_worse_from_not_measured(
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    base: Measured,
    head: Measured,
    statuses: list[int],
    status: int,
    said: str,
) -> None:
    commit(repository, "Another", other="")
    (repository / "mine.py").write_text(RULE + "# not committed\n")
    fake = FakeAsv(base, head, statuses)
    monkeypatch.setattr(module, "call", fake)
    done = hgobench("bench", "gate", "main~1", "--rule", "mine:Mine")
    assert done.returncode == status
    assert fake.statuses == []
    told = done.stderr.splitlines()
    assert told[0] == "not measured, as it is not committed: mine.py"
    assert told[1:] == ([said] if said else [])
    hashes = [git(repository, "rev-parse", name) for name in ("main~1", "main")]
    assert all(call[-2:] == hashes for call in fake.calls)
    out = repository / "hgobench-results" / "asv"
    if "HEAD: nothing" in said and not base.get("a"):
        assert not (out / "pages").exists()
        return
    (page,), problems = kept.read(out / "pages")
    assert not problems
    (table,) = page.tables
    names = [f"{name}('mine')" for name in sorted({*base, *head})]
    assert [row[0] for row in table.rows] == names
    if status == 1:
        assert page.blocks[0].text == "HEAD is worse than BASE."  # type: ignore[union-attr]
    if head.get("a") == 9.0:
        assert [getattr(cell, "value", cell) for cell in table.rows[0][1:]] == [
            "calls", 4.0, 9.0, 2.25,
        ]  # fmt: skip


def test_a_site_shows_the_gate_and_leads_to_asv_s_own_pages(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit(repository, "Another", other="")
    monkeypatch.setattr(module, "call", FakeAsv({"a": 4.0}, {"a": 4.0}, [0, 0]))
    assert hgobench("bench", "gate", "main~1", "--rule", "mine:Mine").returncode == 0
    out = repository / "hgobench-results" / "asv"
    without = write_site(out, out=tmp_path / "site")
    index = without.index.read_text(encoding="utf-8")
    assert '<a href="speed.html">Speed</a>' in index
    assert "asv" not in (tmp_path / "site" / "speed.html").read_text().replace(str(out), "")
    gated = (tmp_path / "site" / "speed-gate.html").read_text(encoding="utf-8")
    assert "neither slower nor larger nor less robust" in gated
    (out / "html").mkdir()
    (out / "html" / "index.html").write_text("asv")
    write_site(out, out=tmp_path / "site")
    page = (tmp_path / "site" / "speed-asv.html").read_text(encoding="utf-8")
    to = "../project/hgobench-results/asv/html/index.html"
    assert f'<a href="{to}">{to}</a>' in page
    assert (tmp_path / "site" / to).read_text() == "asv"


@pytest.mark.long
def test_benchmarks_measure_the_rules_that_are_asked_for(tmp_path: Path) -> None:
    """In a process of its own, as asv's: a rule that a commit lacks is left out, not failed."""
    (tmp_path / "mine.py").write_text(RULE)
    code = """
from hgobench.suite import benchmarks
rules, robustness = benchmarks("rules"), benchmarks("robustness")
print(rules.Counts.params[0], rules.LargeRules.params[0], robustness.Robustness.params[0])
rules.inputs.FORMS = ["dense"]
rules.inputs.SOFTMAX = (24, 30)
kept = rules.Counts().setup_cache()
print(kept["mine:Mine", "dense"][0] > 0, ("mine:Other", "dense") in kept)
print(rules.Counts().track_aten_calls(kept, "mine:Other", "dense"))
try:
    robustness.Robustness().setup("mine:Other")
except NotImplementedError as error:
    print(error)
"""
    rules = json.dumps(["mine:Mine", "mine:Other"])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, asv.RULES: rules},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == " ".join([str(["mine:Mine", "mine:Other"])] * 3)
    assert rest[:2] == ["True False", "nan"]
    assert "Other" in rest[2]


@pytest.mark.long
def test_commits_are_measured_as_they_were(repository: Path) -> None:
    """A real project that is no package: asv imports each commit's module; a rule asks for more."""
    commit(repository, "One call more", mine=RULE.replace("rows).median()", "rows + 0.0).median()"))
    found, out = project(["mine:Mine"]), repository / "out"
    base, head = found.commit("main~1"), found.commit("main")
    assert module._compared(found, out, base, head, [r"Counts\.track_aten_calls"], module.EXACT)
    measured = [dict(module._measured(out, name, 0.0, {})) for name in (base, head)]
    dense, ragged = (f"rules.Counts.track_aten_calls('mine:Mine', '{form}')" for form in FORMS)
    assert measured[1][dense] == measured[0][dense] + 1
    assert measured[1][ragged] > measured[0][ragged]


def test_hgobench_itself_is_measured_by_its_own_rules() -> None:
    inputs = benchmarks("inputs")
    assert inputs.ASKED == []
    assert "krum" in inputs.RULES
    found = project(start=Path(__file__).parent)
    assert (found.name, found.rules) == ("hgobench", ())
    assert (found.folder / "suites").is_dir()
