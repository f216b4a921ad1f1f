"""Rows that are cited: by hash, with BibTeX, and refused with candidates."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from hgobench import Scenario, run
from hgobench.citation import PAPER, cite, tool
from hgobench.cli import main
from hgobench.errors import InputError
from hgobench.folders import read
from hgobench.paper import CITATION
from hgobench.report.citation import bibtex
from hgobench.results import open_store
from tests.conftest import ROOT
from tests.stores import stored
from tests.test_cli import hgobench
from tests.test_columns import cells, hashes, kept

ENTRY = re.compile(r"@(\w+)\{([^,\s]+),\n((?:  [\w]+ += \{.*?\},?\n(?: {15}.*\n)*)+)\}", re.S)


def entries(text: str) -> dict[str, str]:
    """The BibTeX entries of a text, by key."""
    return {key: kind for kind, key, _ in ENTRY.findall(text)}


def test_a_row_is_cited_with_all_that_it_takes_to_find_it_again(tmp_path: Path) -> None:
    folder = kept(tmp_path / "a", cells(rule=["krum", "median"]))
    (board,) = read([folder]).boards()
    row = board.rows[1]
    done = hgobench("cite", row.hash, "a", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(entries(done.stdout)) == [
        f"hgobench-{row.hash}",
        "hgobench",
        "boubouh2022democratizing",
    ]
    interval = f"{row.worst.low:.3f}-{row.worst.high:.3f}"
    for line in (
        f"row: {row.label}",
        f"hash: {row.hash}",
        "ruleset: mine-1",
        "board: partition iid, hardware standard",
        "folder: a",
        "rank: 2 of 2 rows",
        f"worst case: {row.worst.mean:.3f} (95 %: {interval}, 6 seeds) under foe",
        "seeds: 0, 1, 2, 3, 4, 5",
        "  rule: krum",
        "  workers: 20",
        "  data: of digits",
        "  device: cpu",
    ):
        assert line in done.stdout.splitlines(), line
    assert re.search(rf"^foe +0\.\d{{4}} +{interval} +6$", done.stdout, re.M)
    data = json.loads(hgobench("cite", row.hash[:8], "a", "--format", "json", cwd=tmp_path).stdout)
    assert data["hash"] == row.hash
    assert data["row"]["worst"] == row.worst.mean
    assert data["scenario"]["rule"] == "krum"
    assert "attack" not in data["scenario"]
    assert len(data["cells"]) == 18
    assert data["attacks"] == {"foe": "foe", "alie": "alie"}
    only = hgobench("cite", row.hash.upper(), "a", "--bibtex", cwd=tmp_path).stdout
    assert only.rstrip() == data["bibtex"]
    assert only.count("@") == 3


@pytest.mark.long
def test_its_commands_compute_the_same_cells(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    some = [Scenario(workers=12, f=2, rounds=2, rule="median", attack=a) for a in ("none", "foe")]
    with open_store("a") as store:
        for cell in some:
            store.add(run(cell), "mine-1")
    (row,) = read([Path("a")]).boards()[0].rows
    (command,) = cite(row.hash, [Path("a")]).commands
    with pytest.raises(SystemExit) as ended:
        main([*shlex.split(command)[1:], "--out", "b", "--jobs", "1", "--quiet"])
    assert not ended.value.code
    (again,) = read([Path("b")]).boards()[0].rows
    assert (again.worst, again.clean) == (row.worst, row.clean)
    assert {s.scenario for s in again.scores} == {s.scenario for s in row.scores}


def test_unknown_and_ambiguous_hashes_are_refused_with_candidates(tmp_path: Path) -> None:
    a = kept(tmp_path / "a", cells(rule=["krum"]))
    b = kept(tmp_path / "b", cells(rule=["krum"]))
    (known,) = hashes(a)
    label = "hgo krum staircase; ruleset mine-1, partition iid, hardware standard"
    with pytest.raises(InputError) as refused:
        cite(known, [a, b])
    assert refused.value.problems == [
        f"cite: {known!r}: 2 rows; expected one: give more digits, or a folder",
        f"{known}: {label}; {a}",
        f"{known}: {label}; {b}",
    ]
    wrong = known[:-1] + ("0" if known[-1] != "0" else "1")
    with pytest.raises(InputError) as refused:
        cite(wrong, [a])
    assert refused.value.problems == [
        f"cite: {wrong!r}: none of the 1 rows in {str(a)!r}; the nearest:",
        f"{known}: {label}; {a}",
    ]
    for odd in ("abc", "0123456789abc", "nothex", ""):
        with pytest.raises(InputError, match="expected 4 to 12 of the digits that hgobench leader"):
            cite(odd, [a])
    nowhere = hgobench("cite", "abcd", cwd=tmp_path)
    assert nowhere.returncode == 2
    assert "cite: there are no results in 'hgobench-results'; name a folder" in nowhere.stderr
    (tmp_path / "hgobench-results").mkdir()
    (tmp_path / "a").rename(tmp_path / "hgobench-results" / "a")
    assert hgobench("cite", known, "--bibtex", cwd=tmp_path).returncode == 0


def test_rows_of_other_columns_have_no_hash_as_they_are_more_than_one_row(tmp_path: Path) -> None:
    a = kept(tmp_path / "a", cells(rule=["krum", "median"]))
    assert hashes(a, "seed") == hashes(a)
    assert hashes(a, "rule") == [""]
    refused = hgobench("leaderboard", str(a), "--by", "rule", "--columns", "hash")
    assert "columns: hash: no row holds it; it needs results of a store, and attacks" in (
        refused.stderr
    )


def test_names_are_inert_in_bibtex(tmp_path: Path) -> None:
    """Braces, percent signs and at signs of a ruleset neither end an entry nor begin one."""
    name = "mine}, @evil{x, 100 % \\input"
    folder = kept(tmp_path / "a", cells(), name)
    (known,) = hashes(folder)
    text = bibtex(cite(known, [folder]))
    assert list(entries(text)) == [f"hgobench-{known}", "hgobench", "boubouh2022democratizing"]
    assert text.count("@") == 3
    bare = re.sub(r"\\.", "", text)
    assert bare.count("{") == bare.count("}")


def test_bibtex_says_what_the_citation_file_and_the_paper_say() -> None:
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    for key, pattern in (("title", r"title += \{(.+)\}"), ("version", r"\{version (.+)\}")):
        (value,) = re.findall(pattern, tool())
        assert re.search(rf'^{key}: "?{re.escape(value)}"?$', cited, re.M), key
    (authors,) = re.findall(r"author += \{\{(.+)\}\}", tool())
    assert f'- name: "{authors}"' in cited
    assert authors in (ROOT / "LICENSE").read_text(encoding="utf-8")
    (year,) = re.findall(r"year += \{(\d+)\}", tool())
    assert f"(c) {year}" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    names = re.findall(r"(\w+), (\w\.)", PAPER)
    assert CITATION.startswith(", ".join(f"{given} {family}" for family, given in names))
    words = " ".join(re.sub(r"[{}]", "", PAPER).split())
    for part in ("Democratizing Machine Learning: Resilient Distributed Learning with Heterogeneous "
                 "Participants", "41st International Symposium on Reliable Distributed Systems (SRDS)",
                 "2022", "94--120"):  # fmt: skip
        assert part in words
        assert part.replace("--", "-") in CITATION


def test_stored_results_without_clean_cells_are_cited_too(tmp_path: Path) -> None:
    cell = Scenario(workers=20, rounds=1)
    with open_store(tmp_path / "a") as store:
        store.add(stored(cell, 0.5), "mine-1")
    (known,) = hashes(tmp_path / "a")
    cited = cite(known, [tmp_path / "a"])
    assert cited.seeds == [0]
    assert "accuracy 0.500 (1 seed)" in bibtex(cited)
