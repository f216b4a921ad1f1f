"""The cards in boards/, and what checks those that pull requests bring."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from hgobench import verify
from hgobench.cards import check
from hgobench.cards.collection import collected
from tests.conftest import ROOT

CARDS = sorted([*ROOT.glob("boards/*/*.json"), *ROOT.glob("boards/*/attacks/*.json")])
FOLDERS = sorted({path.parent for path in ROOT.glob("boards/*/*.json")})
GITHUB = ROOT / ".github"
in_a_clone = pytest.mark.skipif(not GITHUB.is_dir(), reason="the sdist has no .github")


def read(path: Path) -> Any:
    return import_module("yaml").safe_load(path.read_text(encoding="utf-8"))


def test_collected_cards_are_sound_and_their_board_can_be_shown() -> None:
    assert FOLDERS
    for folder in FOLDERS:
        held = collected(folder)
        assert held.boards()
        assert not held.notes()
        for path in [*folder.glob("*.json"), *folder.glob("attacks/*.json")]:
            found = check(path)
            assert (found.problems, found.suspicions, found.notes) == ([], [], [])
            assert found.card is not None
            assert path.stem == found.card.hash


def test_a_row_that_an_attack_from_outside_lowers_is_marked() -> None:
    (board,) = collected(ROOT / "boards" / "quick-3").boards()
    lowered = {row.rule: row.worst_attack for row in board.rows if row.outside}
    assert lowered == {"average": "nan from outside"}


@pytest.mark.long
@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_a_sample_of_each_card_is_confirmed(path: Path) -> None:
    found = verify(path, sample=6, jobs=1)
    assert found.confirmed, found.problems


@in_a_clone
def test_what_a_pull_request_brings_runs_approved_without_secrets_and_network() -> None:
    path = GITHUB / "workflows" / "boards.yml"
    text, flow = path.read_text(encoding="utf-8"), read(path)
    assert flow[True].keys() == {"pull_request"}, "`on`, which YAML takes for a truth"
    assert "secrets" not in re.sub(r"#.*", "", text)
    assert flow["permissions"] == {}
    jobs = flow["jobs"]
    assert jobs.keys() == {"check", "verify"}
    for job in jobs.values():
        assert job["permissions"] == {"contents": "read"}
        assert job["timeout-minutes"] <= 60
        checkouts = [step for step in job["steps"] if "checkout" in step.get("uses", "")]
        assert [step["with"]["path"] for step in checkouts] == ["base", "pr"]
        assert all(step["with"]["persist-credentials"] is False for step in checkouts)
        assert "base.sha" in checkouts[0]["with"]["ref"]
        # What is interpolated into a shell could be written by anybody: it comes in variables.
        assert not any("${{" in step.get("run", "") for step in job["steps"])
    assert "environment" not in jobs["check"]
    assert jobs["verify"]["environment"] == "boards"
    assert jobs["verify"]["needs"] == "check"
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    with_theirs = [run for run in runs if re.search(r"\bpr\b", run)]
    names, told, container = with_theirs
    assert names.startswith("python base/tools/changed_cards pr ")
    assert told.rstrip().endswith('xargs hgobench check --wide < "$RUNNER_TEMP/paths.txt"')
    assert 'cd "$RUNNER_TEMP/empty"' in told, "no module of theirs is in the working folder"
    (command,) = re.findall(r"docker run (.*?)\|\|", container.replace("\\\n", " "), re.DOTALL)
    for option in (
        "--network none", "--read-only", "--cap-drop ALL", "--security-opt no-new-privileges",
        "--user 65534:65534", '--volume "$PWD/pr/boards:/boards:ro"',
    ):  # fmt: skip
        assert option in command
    assert command.count("--volume") == 1
    assert 'hgobench verify "/$card" --sample 20' in command


def changed(clone: Path, commit: str) -> subprocess.CompletedProcess[str]:
    tool = [sys.executable, str(ROOT / "tools" / "changed_cards"), str(clone), commit]
    return subprocess.run(tool, capture_output=True, text=True, check=False)


def test_changed_cards_are_told_and_other_names_refused(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
            cwd=tmp_path, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        git("add", "-A")
        git("commit", "-qm", name)

    git("init", "-q")
    write("boards/quick-3/000000000000.json", "{}")
    base = git("rev-parse", "HEAD")
    assert changed(tmp_path, base).stdout == ""
    write("boards/quick-3/0123456789ab.json", "{}")
    write("boards/quick-3/attacks/ba9876543210.json", "{}")
    write("boards/sources/mine.py", "")
    write("docs/other.json", "{}")
    done = changed(tmp_path, base)
    assert done.stdout.split() == [
        "boards/quick-3/0123456789ab.json", "boards/quick-3/attacks/ba9876543210.json",
    ]  # fmt: skip
    for name, to in (("boards/quick-3/aaaaaaaaaaaa.json", "/etc/hosts"), ("boards/sources/s", "/")):
        (tmp_path / name).symlink_to(to)
        git("add", "-A")
        git("commit", "-qm", name)
        done = changed(tmp_path, base)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"{name!r}: a link, or another repository; expected a plain file\n"
        git("rm", "-q", name)
        git("commit", "-qm", "without")
    write("boards/quick-3/x;rm -rf ~.json", "{}")
    done = changed(tmp_path, base)
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected boards/RULESET/HASH.json" in done.stderr


@in_a_clone
def test_what_workflows_use_can_t_be_moved_by_others() -> None:
    for path in (GITHUB / "workflows").glob("*.yml"):
        used = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
        assert used
        for one in used:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[0-9.]+", one), (path.name, one)


@in_a_clone
def test_templates_ask_for_what_decides() -> None:
    forms = {p.stem: read(p) for p in GITHUB.glob("ISSUE_TEMPLATE/*.yml") if p.stem != "config"}
    assert {form["name"] for form in forms.values()} == {
        "New rule", "Attack that lowers a row", "Wrong number",
    }  # fmt: skip
    for form in forms.values():
        assert form["description"]
        ids = [part["id"] for part in form["body"]]
        assert len({*ids}) == len(ids)
        assert any(part.get("validations", {}).get("required") for part in form["body"])
    pulls = {path.stem for path in GITHUB.glob("PULL_REQUEST_TEMPLATE/*.md")}
    assert pulls == forms.keys()
