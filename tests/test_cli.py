from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import chdir, closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgobench import cli
from hgobench.cli import main
from hgobench.registry import path_with
from tests.conftest import ROOT
from tests.plugins import without_lines

TINY = """
ruleset = "tiny-1"
description = "tiny"
[scenario]
workers = 10
byzantine = 2
rounds = 3
evaluation_interval = 3
[grid]
rule = ["average", "median"]
attack = ["none", "foe"]
seed = [0, 1]
"""


def process(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "hgobench", *arguments],
        capture_output=True, text=True, cwd=cwd, timeout=120, check=False,
    )  # fmt: skip


def hgobench(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in this process: the same code without a second for importing torch."""
    if arguments[0] == "run" and "--jobs" not in arguments:
        arguments = (*arguments, "--jobs", "1")
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with redirect_stdout(out), redirect_stderr(err), chdir(cwd or Path.cwd()):
        try:
            main(list(arguments))
        except SystemExit as exit_:
            status = int(exit_.code or 0)
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def test_a_file_of_a_verb_is_short() -> None:
    for file in Path(cli.__file__).parent.glob("*.py"):
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 150, file.name


def test_ctrl_c_is_answered_where_a_verb_has_nothing_to_keep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("hgobench.report.listing.page", interrupted)
    ended = hgobench("list", "rules")
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "interrupted\n")


def test_ctrl_c_is_answered_while_the_command_is_imported() -> None:
    code = (
        "import sys\n"
        "class Pressed:\n"
        "    def find_spec(name, *more):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Pressed)\n"
        "from hgobench.__main__ import main\n"
        "main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "interrupted\n")
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["scripts"]["hgobench"] == "hgobench.__main__:main"


@pytest.mark.parametrize("verb", [(), ("bench",), ("devices",)])
def test_no_summary_is_cut_at_80_columns(verb: tuple[str, ...], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    listed = hgobench(*verb, "--help").stdout.partition("Commands:")[2].splitlines()
    assert len(listed) >= 2
    assert not [line for line in listed if line.endswith("...") or len(line) > 80]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    (folder / "tiny.toml").write_text(TINY)
    done = hgobench("run", str(folder / "tiny.toml"), "--out", str(folder / "out"), "--quiet")
    assert done.returncode == 0, done.stderr
    return folder / "out"


def test_run_ends_with_the_board_and_says_what_it_did(tiny: Path) -> None:
    done = process("run", str(tiny), "--out", str(tiny.parent / "out"), "--jobs", "1")
    assert done.returncode == 0
    assert "partition iid, hardware standard" in done.stdout
    assert "hgo median" in done.stdout
    assert "cells 8/8" in done.stderr  # plain lines: this is no terminal
    assert "8 cells computed, 0 reused" in done.stderr
    again = hgobench("run", str(tiny), "--out", str(tiny.parent / "out"))
    assert "0 cells computed, 8 reused" in again.stderr
    assert again.stdout == done.stdout


def test_quiet_says_nothing_but_the_board(tiny: Path) -> None:
    done = hgobench("run", str(tiny), "--out", str(tiny.parent / "out"), "--quiet")
    assert done.stderr == ""
    assert "hgo median" in done.stdout


def test_results_go_below_the_current_folder_by_default(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.parent)
    hgobench("run", str(tiny), "--quiet")
    assert (tiny.parent / "hgobench-results" / "tiny" / "results.sqlite").exists()


@pytest.mark.long
def test_a_rule_of_one_s_own_from_the_folder_one_stands_in(tiny: Path) -> None:
    (tiny.parent / "mine.py").write_text(
        "class MyRule:\n    def __call__(self, values):\n        return values.median(0).values\n"
    )
    done = process(
        "run", "tiny.toml", "--rule", "mine:MyRule", "--quiet", "--jobs", "2", cwd=tiny.parent
    )
    assert done.returncode == 0, done.stderr
    assert "hgo mine:MyRule staircase *" in done.stdout
    assert "* not part of hgobench" in done.stdout


def test_set_changes_the_grid(tiny: Path) -> None:
    out = tiny.parent / "out"
    done = hgobench(
        "run", str(tiny), "--set", "rounds=2", "--set", "attack=foe,alie", "--out", str(out)
    )
    assert "ruleset tiny-1 with attack=foe,alie rounds=2" in done.stdout
    assert "alie" in done.stdout


def test_refusals_come_all_at_once_with_status_2(tiny: Path) -> None:
    done = hgobench("run", str(tiny), "--set", "rounds=0", "--set", "attack=sing_flip")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "hgobench: refused, nothing was computed:",
        "  attack: unknown 'sing_flip'; did you mean 'sign_flip'? (hgobench list attacks)",
        "  rounds: 0; expected an integer >= 1",
    ]
    assert not (ROOT / "hgobench-results" / "tiny").exists()


def test_a_module_that_ends_the_process_is_refused(tiny: Path) -> None:
    """A script without a main guard: nothing was computed, and that is said."""
    (tiny.parent / "scr.py").write_text("import sys\nprint('ran')\nsys.exit(0)\n")
    done = hgobench("run", str(tiny), "--rule", "scr:rule", cwd=tiny.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'scr:rule' does not import: SystemExit: 0 (scr.py:3); what runs as a" in done.stderr
    done = hgobench("run", str(tiny), "--rule", "tests.misbehaving:InitExit", cwd=tiny.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert "rule: 'tests.misbehaving:InitExit': SystemExit: 0" in done.stderr


def test_the_working_folder_s_modules_come_before_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr("hgobench.report.listing.suites", lambda: seen.append(list(sys.path)))
    monkeypatch.setattr("hgobench.cli.list.shown", lambda *_: "")
    before = list(sys.path)
    assert hgobench("list", "suites", cwd=tmp_path).returncode == 0
    assert sys.path == before
    with chdir(tmp_path):
        assert seen == [path_with(tmp_path)]


@pytest.mark.parametrize("name", ["random", "rich.table"])
def test_a_name_that_python_has_taken_is_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name.replace('.', '/')}.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text("class Rule:\n    pass\n")
    done = hgobench("test", f"{name}:Rule", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    taken = sys.modules[name].__file__
    assert (
        f"'{name}:Rule': {file.relative_to(tmp_path).as_posix()} here is not what Python imports "
        f"as {name}, but {taken!r}; rename the file here"
    ) in done.stderr


@pytest.mark.long
def test_what_a_rule_prints_is_not_in_the_boards(tiny: Path) -> None:
    out = str(tiny.parent / "out")
    rules = "tests.misbehaving:RuleChatter,tests.misbehaving:RuleOut"
    done = process("run", str(tiny), "--rule", rules, "--format", "json", "--out", out)
    assert done.returncode == 0
    assert {row["rule"] for row in json.loads(done.stdout)["boards"][0]["rows"]} == {
        "average", "median", *rules.split(","),
    }  # fmt: skip
    assert "a print" in done.stderr
    assert "rule 'tests.misbehaving:RuleOut' changed standard output: put back" in done.stderr


def test_failed_cells_give_status_1(tiny: Path) -> None:
    out = str(tiny.parent / "out")
    done = hgobench("run", str(tiny), "--rule", "tests.plugins:Raising", "--out", out)
    assert done.returncode == 1
    assert (
        "4 cells failed: rule 'tests.plugins:Raising': RuntimeError: out of ideas (first: "
        in without_lines(done.stderr)
    )
    assert "4 of 12 cells failed" in done.stderr
    assert "hgo tests.plugins:Raising staircase * !" in done.stdout


def test_left_out_cells_are_explained(tiny: Path) -> None:
    out = str(tiny.parent / "out")
    done = hgobench("run", str(tiny), "--set", "byzantine=0,2", "--out", out)
    assert done.returncode == 0
    assert "left out 4 cells: attack: 'foe'; expected byzantine >= 1" in done.stderr


def test_reference_is_rewritten_only_on_purpose(tiny: Path) -> None:
    out, reference = str(tiny.parent / "out"), tiny.parent / "reference" / "tiny.json"
    hgobench("run", str(tiny), "--out", out)
    assert not reference.exists()
    refused = hgobench("run", str(tiny), "--set", "rounds=2", "--update-reference")
    assert refused.returncode == 2
    assert "only for a suite as it is" in refused.stderr
    asked = ("run", "tiny.toml", "--out", out, "--update-reference", "--quiet")
    done = hgobench(*asked, cwd=tiny.parent)
    assert f"reference rewritten: {reference}" in done.stderr
    content = json.loads(reference.read_text())
    assert content["ruleset"] == "tiny-1"
    assert set(content["accuracy"]) == {
        f"{rule}-{attack}-{seed}"
        for rule in ("average", "median") for attack in ("none", "foe") for seed in (0, 1)
    }  # fmt: skip


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "csv", "json", "html"])
def test_leaderboard_in_every_format(kept: Path, form: str) -> None:
    done = hgobench("leaderboard", str(kept), "--format", form)
    assert done.returncode == 0, done.stderr
    if form == "json":
        (board,) = json.loads(done.stdout)["boards"]
        assert {row["rule"] for row in board["rows"]} == {"median", "average"}
    elif form == "csv":
        assert {line["column"] for line in csv.DictReader(io.StringIO(done.stdout))} == {
            "worst",
            "known_seed",
            "clean",
            "none",
            "foe",
        }
    elif form == "html":
        assert done.stdout.startswith("<!doctype html>")
        assert re.search(r"<td>hgo median( \S+)*</td>", done.stdout)
        sources = re.findall(r'(?:src|href)="([^"]*)"', done.stdout)
        assert all(source.startswith("data:") for source in sources), "nothing from elsewhere"
        assert not re.search(r"<(script|link|img|iframe)|url\(|@import", done.stdout)
    else:
        assert "median" in done.stdout


@pytest.mark.parametrize("by", ["attack", "partition", "hardware", "f", "workload", "rule", "seed"])
def test_leaderboard_by(kept: Path, by: str) -> None:
    done = hgobench("leaderboard", str(kept), "--by", by)
    column = {
        "attack": "foe", "partition": "iid", "hardware": "standard", "f": "2", "workload": "fixed",
        "rule": "median", "seed": "1",
    }[by]  # fmt: skip
    assert column in done.stdout.splitlines()[4].split()


def test_what_can_t_be_columns_is_refused_before_anything_is_computed(tiny: Path) -> None:
    done = hgobench("run", str(tiny), "--by", "accuracy", "--out", str(tiny.parent / "out"))
    assert done.returncode == 2
    assert "--by: unknown 'accuracy'; expected one of algorithm, attack, attack_p" in done.stderr
    assert not (tiny.parent / "out").exists()


def test_leaderboard_on_validation_examples(kept: Path) -> None:
    boards = [
        json.loads(hgobench("leaderboard", str(kept), "--format", "json", "--split", split).stdout)
        for split in ("test", "validation")
    ]
    assert boards[0] != boards[1]


def test_several_rulesets_must_be_told_apart(tiny: Path) -> None:
    out = str(tiny.parent / "out")
    for rounds in ("2", "4"):
        hgobench("run", str(tiny), "--set", f"rounds={rounds}", "--out", out, "--quiet")
    refused = hgobench("leaderboard", out)
    assert refused.returncode == 2
    assert "holds several rulesets; use --ruleset 'tiny-1 with rounds=2'" in refused.stderr
    done = hgobench("leaderboard", out, "--ruleset", "tiny-1 with rounds=2")
    assert "ruleset tiny-1 with rounds=2" in done.stdout


def test_show_cells_and_one_cell_s_rounds(kept: Path) -> None:
    every = hgobench("show", str(kept))
    assert every.stdout.count("median") == 4
    one = hgobench("show", str(kept), "rule=median", "attack=foe", "seed=1")
    assert "learning_rate: 0.32" in one.stdout
    assert "byzantine_heard" in one.stdout
    exported = json.loads(hgobench("show", str(kept), "--format", "json").stdout)
    assert len(exported) == 8
    assert "ruleset: tiny-1" in one.stdout
    assert "status: done" in one.stdout
    assert hgobench("show", str(kept), "f=2").stdout == every.stdout
    assert "did you mean 'rule'?" in hgobench("show", str(kept), "rulee=median").stderr
    assert "no cell of" in hgobench("show", str(kept), "attack=alie").stderr
    assert "show: 'attack'; expected field=value" in hgobench("show", str(kept), "attack").stderr


def test_damaged_rows_are_said_listed_and_computed_anew(tiny: Path) -> None:
    out = tiny.parent / "out"
    hgobench("run", str(tiny), "--out", str(out), "--quiet")
    board = hgobench("leaderboard", str(out))
    with closing(sqlite3.connect(out / "results.sqlite")) as connection, connection:
        connection.execute(
            "UPDATE results SET scenario = '{' || key WHERE scenario LIKE '%\"seed\": 1%'"
        )
    listed = hgobench("show", str(out), "--damaged")
    assert listed.returncode == 0
    assert listed.stdout.count("scenario: not JSON") == 4
    assert listed.stderr == "4 of 8 rows are damaged\n"
    found = json.loads(hgobench("show", str(out), "--damaged", "--format", "json").stdout)
    assert {row["ruleset"] for row in found} == {"tiny-1"}
    for command in (("leaderboard", str(out)), ("show", str(out))):
        done = hgobench(*command)
        assert done.returncode == 0
        assert done.stderr.startswith("4 damaged rows in ")
        assert f"to list: hgobench show {out} --damaged\n" in done.stderr
    again = hgobench("run", str(tiny), "--out", str(out))
    assert "4 damaged rows in " in again.stderr
    assert "4 cells computed, 4 reused" in again.stderr
    assert hgobench("leaderboard", str(out)).stdout == board.stdout
    assert hgobench("show", str(out), "--damaged").stdout == ""
    refused = hgobench("show", str(out), "--damaged", "rule=median")
    assert "--damaged: lists all damaged rows of a folder" in refused.stderr


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("attacks", ["alie", "z=none", "Baruch et al., NeurIPS 2019"]),
        (
            "rules",
            [
                "Take weights (docs/weights.md): average, median",
                "krum",
                "n >= 2f + 3",
                "Blanchard et al., NeurIPS 2017",
            ],
        ),
        ("pre_rules", ["nnm", "bucketing", "s=2", "Allouah et al., AISTATS 2023"]),
        ("algorithms", ["hgo", "sgd", "Algorithm 1"]),
        ("datasets", ["digits", "mnist", "validation=0.15"]),
        ("partitions", ["by_class", "k=2", "alpha=0.5"]),
        ("hardware", ["standard", "c2", "weak_mean=500.0"]),
        ("models", ["softmax", "feed_forward", "hidden=30"]),
        ("suites", ["quick", "quick-3", "smoke"]),
    ],
)
def test_list(kind: str, expected: list[str]) -> None:
    done = hgobench("list", kind)
    assert done.returncode == 0, done.stderr
    for text in expected:
        assert text in done.stdout


def test_list_as_markdown_tells_all() -> None:
    table = hgobench("list", "rules", "--format", "markdown").stdout
    (line,) = [line for line in table.splitlines() if line.startswith("| fltrust")]
    for text in ("examples=100", "TS_i", "on complete vectors", "clean data at the server", "NDSS"):
        assert text in line
    refused = hgobench("list", "rules", "--format", "json")
    assert refused.returncode == 2
    assert "'json' is not one of 'table', 'markdown'" in refused.stderr


@pytest.mark.parametrize(
    ("name", "status", "expected"),
    [
        ("krum", 0, ["rule krum", "scope block:", "scope masked:", "38 pass\n"]),
        pytest.param(
            "nnm",
            0,
            ["pre-rule nnm", "scope staircase:", "35 pass\n"],
            marks=pytest.mark.long,
        ),
        ("foe", 0, ["attack foe", "6 pass, 4 not applicable\n"]),
        ("ipm", 0, ["attack ipm"]),
        ("tail+alie", 0, ["attack tail+alie", "5 pass, 5 not applicable\n"]),
        pytest.param(
            "optimal_foe",
            0,
            ["of the grid's maximum: meamed ", "7 pass, 3 not applicable\n"],
            marks=pytest.mark.long,
        ),
        ("nan", 0, ["not applicable  values_are_finite", "sends NaN"]),
        (
            "average",
            0,
            ["not applicable  finite_within_honest_range", "tolerates no Byzantine worker"],
        ),
        pytest.param(
            "tests.plugins:MyMedian",
            1,
            [
                "fail            finite_within_honest_range",
                "With f rows of 1e30, NaN or ±Inf the answer is finite and within",
                "when the first 1 workers send nan: MyMedian: no finite answer; 1 of 3",
                "with f=1, 3 workers, 1 coordinates, values",
                "17 pass, 2 fail\n",
            ],
            marks=pytest.mark.long,
        ),
        (
            "tests.plugins:Raising",
            1,
            [
                "rule 'Raising': RuntimeError: out of ideas (tests/plugins.py:",
                "\n                    with f=0, 1 workers",
                "\n1 fail\n",
            ],
        ),
        pytest.param(
            "tests.plugins:Halving",
            0,
            ["pre-rule tests.plugins:Halving (tests/plugins.py)\n", "not applicable"],
            marks=pytest.mark.long,
        ),
        (
            "tests.plugins:NotANumber",
            1,
            ["attack tests.plugins:NotANumber (tests/plugins.py)\n", "1 fail"],
        ),
        ("krumm", 2, ["test: unknown 'krumm'; did you mean 'krum'? (or module:Class"]),
        ("tests.plugins:Krum", 2, ["test: 'tests.plugins:Krum': tests.plugins: unknown 'Krum'"]),
        pytest.param(
            "bucketing[s=1]+median",
            0,
            ["rule bucketing[s=1]+median", "not applicable"],
            marks=pytest.mark.long,
        ),
        pytest.param("multi_krum(m=1)", 0, ["38 pass\n"], marks=pytest.mark.long),
        ("krum[k=3]", 2, ["rule: 'krum[k=3]': krum takes no parameters"]),
    ],
)
def test_test(name: str, status: int, expected: list[str]) -> None:
    done = hgobench("test", name)
    assert done.returncode == status, done.stderr
    for text in expected:
        assert text in done.stdout + done.stderr


def test_usage_errors_have_status_2() -> None:
    assert hgobench("run").returncode == 2
    assert hgobench("list", "dogs").returncode == 2
    assert hgobench("run", "quik").stderr.splitlines()[1] == (
        "  suite: unknown 'quik'; did you mean 'quick'? (or a file NAME.toml)"
    )
    assert hgobench("leaderboard", "/nowhere").returncode == 2


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["run"], "Where results go [default: hgobench-results/SUITE]."),
        (["show"], "among how many [default: 100]."),
        (["show"], "--format <table|json>"),
        (["list"], "--format <table|markdown>"),
        (["plan"], "--format <table|json>"),
        (["bench", "peers"], "--format <table|markdown|csv|json>"),
        (["run"], "--format <table|markdown|latex|csv|json|html>"),
        (["bench", "peers"], "(pip install 'hgobench[peers]')"),
    ],
)
def test_help_keeps_what_stands_in_brackets(command: list[str], text: str) -> None:
    done = hgobench(*command, "--help")
    written = " ".join(done.stdout.split()).replace("- ", "-")
    # An older typer writes a choice in square brackets.
    assert text in written or text.replace("<", "[").replace(">", "]") in written


def test_version() -> None:
    assert hgobench("--version").stdout == "hgobench 0.1.0\n"


def test_show_partition_prints_counts_and_draws_them(tmp_path: Path) -> None:
    done = hgobench("show", "partition", "shards(1)", "-n", "10", "--data", "digits", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "shards[k=1]: digits, 1,221 training examples, 10 workers (seed 0)" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()[4:14]]
    assert [int(row[0]) for row in rows] == list(range(10))
    counts = np.array([[int(x.replace(".", "0")) for x in row[1:]] for row in rows])
    assert counts[:, :-1].sum() == counts[:, -1].sum() == 1221
    assert "examples per worker: 122 to 123" in done.stdout
    assert done.stderr == "".join(
        f"drawn: shards-k-1-digits-10-workers.{kind}\n" for kind in ("png", "svg")
    )
    assert (tmp_path / "shards-k-1-digits-10-workers.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    svg = (tmp_path / "shards-k-1-digits-10-workers.svg").read_text()
    assert "<svg" in svg
    assert svg.count("<path") > 20
    data = hgobench("show", "partition", "shards(1)", "-n", "10", "--format", "json")
    assert json.loads(data.stdout)["counts"] == counts[:, :-1].tolist()
    named = hgobench("show", "partition", "iid", "-n", "3", "--out", "mine.svg", cwd=tmp_path)
    assert named.stderr == "drawn: mine.svg\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("partition",), "show partition: ''; expected one name (hgobench list partitions)"),
        (("partition", "dirichle"), "partition: unknown 'dirichle'; did you mean 'dirichlet'?"),
        (("partition", "iid", "-n", "5000"), "partition: 1221 training examples for 5000 workers"),
        (
            ("partition", "iid", "--out", "a.gif"),
            "--out: 'a.gif'; expected a file .png, .svg, .pdf",
        ),
        (("partition", "iid", "--out", "no/a.svg"), "--out: 'no/a.svg': No such file or directory"),
        (("partition", "iid", "--data", "digit"), "data: unknown 'digit'; did you mean 'digits'?"),
        (
            ("partition", "iid", "-n", "1" + "0" * 30),
            f"workers: {10**30}; expected at most 1000000",
        ),
        (
            ("partition", "iid", "--seed", f"{2**63}"),
            f"seed: {2**63}; expected at most {2**63 - 1}",
        ),
        (("scenario", "f=1", "f=2"), "show scenario: byzantine: given twice"),
        (("scenario", "f=1,2"), "show scenario: byzantine: expected one value"),
        (("scenario", "rounds=0"), "rounds: 0; expected an integer >= 1"),
        (("scenario", "-n", "20"), "show scenario: --workers is for partitions"),
    ],
)
def test_what_can_t_be_shown(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = hgobench("show", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def test_show_scenario_says_how_likely_too_many_are_sampled() -> None:
    done = hgobench("show", "scenario", "n=100", "f=20", "q=20", "v=11")
    assert done.returncode == 0, done.stderr
    assert "quorum: 11\n" in done.stdout
    assert "more than 5 of 20 sampled workers are Byzantine" in done.stdout
    assert "  per round: 0.1727\n  over 150 rounds: 1\n" in done.stdout
    assert done.stderr.startswith("warning: sampling risk: of n=100 workers f=20 are Byzantine;")
    safe = hgobench("show", "scenario", "f=10", "--format", "json")
    assert safe.stderr == ""
    assert json.loads(safe.stdout)["sampling_risk"] == 0.0


def test_a_risky_run_warns(tmp_path: Path) -> None:
    suite = tmp_path / "risky.toml"
    suite.write_text(
        'ruleset = "risky-1"\n[scenario]\nworkers = 20\nbyzantine = 6\nsampled = 8\nrounds = 2\n'
        'tolerated = 1\n[grid]\nattack = ["foe", "alie"]\n'
    )
    done = hgobench("run", str(suite), "--out", str(tmp_path / "out"), "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: sampling risk: of n=20 workers f=6 are Byzantine") == 1


def test_what_plan_s_help_names_can_be_set() -> None:
    said = hgobench("plan", "--help").stdout
    assert "q, v, τ, s" in said
    done = hgobench("plan", "--target", "0.5", "--budget", "3", "--set", "s=0")
    assert done.returncode == 2
    assert "batch_size: 0; expected an integer >= 1" in done.stderr
