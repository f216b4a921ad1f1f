"""Standard output and error: encodings, closed pipes, full disks, terminals."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hgobench.cli import main
from hgobench.engines.progress import Advance
from hgobench.report import screen
from hgobench.report.progress import progress
from tests.conftest import ROOT

LIST = ("list", "rules")


def said(arguments: tuple[str, ...], encoding: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Return what the command writes to an output of some encoding."""
    raw = io.BytesIO()
    output = io.TextIOWrapper(raw, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", output)
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert not ended.value.code
    assert sys.stdout is output
    assert output.errors == "strict"  # as it was
    return raw.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp932", "latin-1", "cp437", "utf-8"])
def test_output_in_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(LIST, encoding, monkeypatch).decode(encoding)
    assert "krum" in text
    sum_ = "Σ x_i / m" if encoding in ("utf-8", "cp932", "cp437") else "Sigma x_i / m"
    assert sum_ in text
    assert "?" not in text


def test_what_an_encoding_lacks_is_spelt() -> None:
    assert screen.spelt("0.7 ±0.1 … τ Δ f̂ é ₂ – “a” 零 \udcff 😀") == (
        '0.7 +-0.1 .. tau Delta f\\u0302 e 2 - "a" \\u96f6 \\udcff \\U0001f600'
    )


def test_control_characters_are_shown_wherever_they_come_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with screen.screens():
        print("a\x1b[31mb\x07\rc\td\ne\x9b\u202e")
        print("f\x1b]8;;x\x1b\\", file=sys.stderr)
    captured = capsys.readouterr()
    assert captured.out == "a\\x1b[31mb\\x07\\rc\td\ne\\x9b\\u202e\n"
    assert captured.err == "f\\x1b]8;;x\\x1b\\\n"
    with pytest.raises(SystemExit):
        main(["list", "\x1b[31mrules\x07"])
    assert "\x1b" not in capsys.readouterr().err


class Failing(io.StringIO):
    """A stream that can't be written to."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str, /) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (OSError(28, "No space left on device"), 1,
         "hgobench: standard output can't be written: No space left on device\n"),
    ],
)  # fmt: skip
def test_output_that_can_t_be_written(
    error: OSError,
    status: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdout", Failing(error))
    with pytest.raises(SystemExit) as ended:
        main(list(LIST))
    assert ended.value.code == status
    assert capsys.readouterr().err == message


def test_errors_that_can_t_be_written_end_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", Failing(BrokenPipeError(32, "Broken pipe")))
    with screen.screens():
        print("a", file=sys.stderr)
        print("b")
    assert capsys.readouterr().out == "b\n"


def shell(command: str) -> subprocess.CompletedProcess[str]:
    line = command.replace("hgobench", f"{sys.executable} -m hgobench")
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip


@pytest.mark.long
def test_real_pipes_disks_and_closed_streams() -> None:
    """One shell for all, as each process takes a second."""
    done = shell(
        "hgobench list suites | head -1; echo ${PIPESTATUS[0]}; "
        "hgobench list suites > /dev/full; echo $?; "
        "hgobench list suites >&-; echo $?; "
        "hgobench --version 2>&- <&-; echo $?"
    )
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["name", "ruleset"]
    assert lines[1] in ("0", "141")  # whether all of it was in the pipe before head ended
    assert lines[2:] == ["1", "1", "hgobench 0.1.0", "0"]
    assert done.stderr.splitlines() == [
        "hgobench: standard output can't be written: No space left on device",
        "hgobench: standard output can't be written: closed",
    ]


def test_a_folder_that_is_no_utf_8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = tmp_path / "tiny.toml"
    suite.write_text(
        'ruleset = "tiny-1"\n[scenario]\nworkers = 5\nrounds = 1\n[grid]\nrule = ["median"]\n'
    )
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/o\xff")
    with pytest.raises(SystemExit) as ended:
        main(["run", str(suite), "--out", folder, "--jobs", "1"])
    assert not ended.value.code
    captured = capsys.readouterr()
    assert "1 cells computed, 0 reused" in captured.err
    assert "/o\\udcff" in captured.err
    with pytest.raises(SystemExit) as ended:
        main(["leaderboard", folder])
    assert not ended.value.code
    assert "hgo median" in capsys.readouterr().out


def test_a_file_that_can_t_be_written_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device", "page.html")

    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr("hgobench.report.listing.page", lambda *_: Path("x").write_text("y"))
    with pytest.raises(SystemExit) as ended:
        main(list(LIST))
    assert ended.value.code == 1
    assert capsys.readouterr().err == "hgobench: 'page.html': No space left on device\n"


def test_the_width_is_that_of_columns_or_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert screen.width() is None  # no terminal
    for text, expected in (("72", 72), ("3", 20), ("0", None), ("-5", None), ("wide", None)):
        monkeypatch.setenv("COLUMNS", text)
        assert screen.width() == expected
        assert screen.width(wide=True) is None


@pytest.mark.parametrize("arguments", [LIST, ("list", "attacks"), ("list", "suites"),
                                       ("audit", "list"), ("show", "scenario", "f=10")])  # fmt: skip
def test_commands_heed_columns_and_wide(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    with pytest.raises(SystemExit):
        main(list(arguments))
    narrow = capsys.readouterr().out
    assert max(map(len, narrow.splitlines())) <= 50
    if arguments[0] == "list":
        with pytest.raises(SystemExit):
            main([*arguments, "--wide"])
        assert max(map(len, capsys.readouterr().out.splitlines())) > 50


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with screen.screens(), progress(2) as advance:
        advance(Advance(computed=2))
    assert "2/2" in terminal.getvalue()
    assert "\x1b[3" not in terminal.getvalue().replace("\x1b[3J", "")
    assert "\\x1b" not in terminal.getvalue()
