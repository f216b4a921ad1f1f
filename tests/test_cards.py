"""Cards: what a row says is what its cells come to, or it is named by path."""

from __future__ import annotations

import copy
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from hgobench import Scenario, run
from hgobench.cards import Card, check, made
from hgobench.cards.card import schema
from hgobench.cards.check import Checked, examined
from hgobench.cards.collection import collected
from hgobench.citation import rows_of
from hgobench.errors import InputError
from hgobench.evaluation import members
from hgobench.evaluation.evaluate import keep
from hgobench.evaluation.members import Member
from hgobench.evaluation.plan import Plan
from hgobench.evaluation.recheck import chosen_otherwise, contradictions
from hgobench.evaluation.selection import At, Played, select
from hgobench.folders import read
from hgobench.report.boards import render
from hgobench.results import open_store
from hgobench.results.address import code_stated
from hgobench.suite import Suite
from tests.stores import stored
from tests.test_cli import hgobench
from tests.test_columns import cells

N = 200  # test examples


def right(cell: Scenario, wanted: float) -> bytes:
    """Which examples are right, a share of them."""
    marks = np.zeros(N, dtype=bool)
    marks[: round(wanted * N)] = True
    shuffled = np.random.default_rng([cell.seed, len(cell.attack)]).permutation(marks)
    return np.packbits(shuffled).tobytes()


def accuracy(cell: Scenario) -> float:
    drop = {"none": 0.0, "foe": 0.3, "alie": 0.2}.get(cell.attack, 0.5)
    steps = (5, -9, 0, 12, -4, 7)
    return 0.8 - drop / 2 + steps[cell.seed] / N


def folder(where: Path, some: list[Scenario], ruleset: str = "mine-1", by: float = 0.0) -> Path:
    """A store of results that know which examples were right."""
    with open_store(where) as store:
        store.add_all(
            (
                stored(cell, accuracy(cell) + by, right(cell, accuracy(cell) + by), time=1.0),
                ruleset,
                None,
            )
            for cell in some
        )
    return where


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    where = folder(tmp_path_factory.mktemp("cards") / "a", cells(rule=["krum"]))
    (cited,) = rows_of([where])
    return made(cited)


def test_a_card_says_what_the_board_says(card: Card, tmp_path: Path) -> None:
    (board,) = read([folder(tmp_path / "a", cells(rule=["krum"]))]).boards()
    (row,) = board.rows
    path = tmp_path / "card.json"
    path.write_text(card.text())
    found = check(path)
    assert not found.problems
    assert not found.suspicions
    assert found.card is not None
    assert found.card.row.outcomes.examples == N
    told = found.card.content
    assert (told["hash"], told["row"]["label"]) == (row.hash, row.label)
    assert told["values"]["worst"]["mean"] == row.worst.mean
    assert told["values"]["worst"]["low"] == row.worst.low
    assert told["values"]["worst_attack"] == row.worst_attack == "foe"
    assert told["threat_model"]["name"] == "omniscient"
    assert told["seeds"] == [0, 1, 2, 3, 4, 5]
    assert told["data"]["digits"]["digest"] == "of digits"
    assert found.notes == [
        "ruleset 'mine-1' is no suite of hgobench's: whether the cells are those of its suite is "
        "not checked (--suite FILE)"
    ]


def test_the_published_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())
    done = hgobench("check", "--schema")
    assert json.loads(done.stdout) == schema()


def changed(card: Card, change: Callable[[Any], object]) -> Checked:
    """Check a card in which something was changed."""
    content = copy.deepcopy(dict(card.content))
    change(content)
    return examined(Card("", content))


def put(*path: Any, value: Any) -> Callable[[Any], object]:
    def change(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    return change


RAISED: list[tuple[tuple[Any, ...], Any, str]] = [
    (("values", "worst", "mean"), 0.9, "$.values.worst.mean: 0.9; its cells come to 0.659167"),
    (("values", "worst_attack"), "alie", "$.values.worst_attack: 'alie'; its cells come to 'foe'"),
    (("values", "attacks", "foe", "low"), 0.6, "$.values.attacks.foe.low: 0.6; its cells come to"),
    (("values", "clean", "high"), 1, "$.values.clean.high: 1; its cells come to 0."),
    (("values", "ended"), 2, "$.values.ended: 2; its cells come to 0"),
    (("hash",), "0123456789ab", "$.hash: '0123456789ab'; its cells come to '"),
    (("seeds",), [0, 1], "$.seeds: [0, 1]; its cells come to [0, 1, 2, 3, 4, 5]"),
    (("cost", "time"), 0.5, "$.cost.time: 0.5; its cells come to 1"),
    (("board", "collapsed", "count"), 3, "$.board.collapsed.count: 3; its cells come to 0"),
    (("board", "rank"), [2, 1], "$.board.rank: [2, 1], of 1 rows"),
    (("parameters", "values", "learning_rate"), 9, "$.parameters.values.learning_rate: 9; its"),
    (("row", "rule"), "median", "$.row.rule: 'median'; its cells come to 'krum'"),
    (("threat_model", "byzantine"), 9, "$.threat_model.byzantine: 9; its cells come to 4"),
    (("cells", 0, "accuracy"), 0.9, "$.cells[0].accuracy: 0.9000; 165 of 200 test examples were"),
    (("cells", 0, "scenario", "seed"), 99, "$.seeds: [0, 1, 2, 3, 4, 5]; its cells come to ["),
    (("cells", 1, "status"), "failed", "$.cells[1].accuracy: 0.755, though the cell failed"),
    (("cells", 1, "scenario", "rule"), "median", "$.cells[1].scenario.rule: is in $.scenario too"),
    (("cells", 1, "environment"), 4, "$.cells[1].environment: 4; there are 1"),
    (("cells", 1, "scenario", "colour"), 1, "$.cells[1].scenario: field: unknown 'colour'"),
    (("scenario", "data"), "mnist", "$.cells[0].scenario.data: 'mnist' is not in $.data"),
    (("cells", 2, "right"), "zz", "$.cells[2].right: 'zz' is not valid"),
    (("values", "worst", "mean"), 1.5, "$.values.worst.mean: 1.5 is greater than the maximum of"),
    (("row", "label"), "hgo median", "$.row.label: 'hgo median'; expected it to begin with 'hgo krum'"),
    (("row", "label"), "hgo krum the_best", "$.row.label: 'hgo krum the_best'; no cell has 'the_best'"),
    (("threat_model", "name"), "independent", "$.threat_model.name: 'independent'; its cells come to"),
    (("threat_model", "ensemble"), "auto-1", "$.threat_model.ensemble: 'auto-1'; its cells come to N"),
    (("board", "collapse"), 0, "$.board.collapse: 0; expected 0.4"),
    (("cells", 2, "right"), None, "$.cells[2].right: null; 17 other cells say which examples were r"),
    (("cells", 2, "spent", "time"), -1, "$.cells[2].spent.time: -1 is less than the minimum of 0"),
    (("mood",), "good", "$: Additional properties are not allowed ('mood' was unexpected)"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "expected"), RAISED, ids=lambda one: str(one)[:40])
def test_a_number_that_was_changed_is_named_by_its_path(
    card: Card, path: tuple[Any, ...], value: Any, expected: str
) -> None:
    told = [str(problem) for problem in changed(card, put(*path, value=value)).problems]
    assert any(text.startswith(expected) for text in told), told


def test_raising_a_cell_with_its_bits_raises_means_that_the_card_does_not_state(card: Card) -> None:
    def change(content: Any) -> None:
        content["cells"][7]["accuracy"] = 0.9
        content["cells"][7]["right"] = right(Scenario(), 0.9).hex()

    told = [problem.path for problem in changed(card, change).problems]
    assert told
    assert all(path.startswith("$.values.") for path in told)


def test_a_cell_twice_is_no_second_seed(card: Card) -> None:
    def change(content: Any) -> None:
        content["cells"].append(copy.deepcopy(content["cells"][0]))

    told = [str(problem) for problem in changed(card, change).problems]
    assert told[0] == "$.cells[18].address: that of $.cells[0], too"
    assert told[1].startswith("$.cells: boards: two scores for one cell")


def test_what_is_too_good_or_too_even_is_suspicious(card: Card, tmp_path: Path) -> None:
    gap = changed(card, put("board", "gap", value=-0.1))
    assert list(map(str, gap.suspicions)) == [
        "$.values.worst.mean: 0.659 is better than the oracle, which is told who is honest, by "
        "0.100"
    ]

    def copied(content: Any) -> None:
        content["cells"][1]["rounds"] = content["cells"][0]["rounds"]

    assert list(map(str, changed(card, copied).suspicions)) == [
        "$.cells[1].rounds: seed 1 came to the same run, to the last bit, as seed 0 in $.cells[0]"
    ]
    with open_store(tmp_path / "even") as store:
        for cell in cells(rule=["krum"]):
            level = 0.8 if cell.attack == "none" else 0.9
            wanted = level + (cell.seed % 2) / N
            store.add(stored(cell, wanted, right(cell, wanted)), "mine-1")
    (cited,) = rows_of([tmp_path / "even"])
    told = {one.path: one.text for one in examined(made(cited)).suspicions}
    told = {path: text for path, text in told.items() if not path.endswith(".rounds")}
    assert told.keys() == {"$.values.worst.mean", "$.values.clean"}
    assert told["$.values.worst.mean"] == "0.903 is above the accuracy without attack, 0.803"
    assert told["$.values.clean"].startswith(
        "the spread over seeds is too small: a standard deviation of 0.00274, where "
    )


def test_honest_spreads_are_seldom_suspicious() -> None:
    """Seeds whose examples are right independently, the least spread that training has."""
    from hgobench.cards.check import _too_close
    from hgobench.leaderboard import Score

    rng = np.random.default_rng(0)
    flagged = 0
    for _ in range(300):
        hard = rng.beta(4, 1, size=N)
        marks = rng.random((6, N)) < hard
        some = [
            Score(Scenario(seed=s), "done", float(one.mean()), right=np.packbits(one).tobytes())
            for s, one in enumerate(marks)
        ]
        flagged += bool(_too_close(some, N))
    assert flagged <= 1


def test_cells_that_are_none_of_the_suite_s_or_are_left_out_are_named(tmp_path: Path) -> None:
    every = [cell for cell in Suite.load("smoke").expand()[0] if cell.rule == "krum"]
    mine = [cell for cell in every if cell.algorithm == "hgo" and cell.attack != "foe"]
    where = kept_at_0_5(tmp_path / "a", mine, "smoke-2")
    (cited,) = rows_of([where])
    found = examined(made(cited))
    assert list(map(str, found.problems)) == [
        "$.cells: lacks 2 of the row's cells in smoke-2: seeds 0, 1, attacks foe"
    ]
    longer = [cell.replace(rounds=40) for cell in mine]
    (cited,) = rows_of([kept_at_0_5(tmp_path / "b", longer, "smoke-2")])
    told = list(map(str, examined(made(cited)).problems))
    assert told[0] == "$.cells[0].scenario: rounds is 40, smoke-2 has 20"


def kept_at_0_5(where: Path, some: list[Scenario], ruleset: str) -> Path:
    with open_store(where) as store:
        store.add_all((stored(cell, 0.5 + cell.seed / 100), ruleset, None) for cell in some)
    return where


def test_cards_on_a_board_are_ranked_as_their_results(tmp_path: Path) -> None:
    where = folder(tmp_path / "a", cells(rule=["krum", "median"], learning_rate=[0.1, 0.4]))
    done = hgobench("card", "a", "--out", "cards", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 4
    mine = collected(tmp_path / "cards").boards()
    theirs = read([where]).boards()
    for one, other in zip(mine, theirs, strict=True):
        pairs = [(r.label, r.rank, r.worst, r.hash, r.clean) for r in one.rows]
        assert pairs == [(r.label, r.rank, r.worst, r.hash, r.clean) for r in other.rows]
    shown = hgobench("leaderboard", "cards", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"hgo krum staircase v=11 learning_rate=0.1", shown.stdout)
    assert hgobench("check", *done.stdout.split(), cwd=tmp_path).returncode == 0
    (first, *_) = done.stdout.split()
    content = json.loads((tmp_path / first).read_text())
    content["values"]["worst"]["mean"] = 0.99
    (tmp_path / first).write_text(json.dumps(content))
    wrong = hgobench("check", first, cwd=tmp_path)
    assert wrong.returncode == 1
    assert "$.values.worst.mean" in wrong.stdout
    for more, expected in (
        (("--split", "validation"), "--split: cards have accuracies on test examples alone"),
        (("a",), "leaderboard: cards: holds cards; expected it alone"),
    ):
        asked = hgobench("leaderboard", "cards", *more, cwd=tmp_path)
        assert (asked.returncode, expected in asked.stderr) == (2, True), asked.stderr
    refused = hgobench("leaderboard", "cards", cwd=tmp_path)
    assert refused.returncode == 2
    assert f"{first}: $.values.worst.mean: 0.99; its cells come to" in refused.stderr


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Two rows, and an attack from outside that lowers one of them."""
    rows = folder(tmp_path / "rows", cells(rule=["krum", "median"]))
    out = tmp_path / "cards"
    (out / "attacks").mkdir(parents=True)
    for cited in rows_of([rows]):
        one = made(cited)
        (out / f"{one.hash}.json").write_text(one.text())
        if one.content["row"]["rule"] == "krum":
            target = one
    mine = [c.replace(attack="sign_flip") for c in cells(rule=["krum"]) if c.attack == "foe"]
    (cited,) = rows_of([folder(tmp_path / "mine", mine, "mine-1 with attack=sign_flip")])
    attack = made(cited, lowers=replace(target, where="row.json"))
    (out / "attacks" / f"{attack.hash}.json").write_text(attack.text())
    return out


def test_an_attack_from_outside_overrides_a_row_that_it_lowers(collection: Path) -> None:
    held = collected(collection)
    (board,) = held.boards()
    by_rule = {row.rule: row for row in board.rows}
    krum, median = by_rule["krum"], by_rule["median"]
    assert (krum.worst_attack, median.worst_attack) == ("sign_flip from outside", "foe")
    assert krum.worst.mean == pytest.approx(median.worst.mean - 0.1)
    assert krum.outside.keys() == {"sign_flip from outside"}
    assert krum.rank is not None, "the other row lacks nothing that the suite asks for"
    assert not median.missing
    assert list(board.columns) == ["none", "alie", "foe"]
    text = render(held.ruleset, [board])
    (card,) = held.attacks
    assert (
        f"+ hgo krum staircase v=11: 0.559 under sign_flip from outside (card {card.hash}), 0.659 under "
        "the suite's own attacks (foe)" in text
    )
    assert "hgo krum staircase v=11 +" in text
    (found,) = [check(path) for path in collection.glob("attacks/*.json")]
    assert not found.problems
    assert not found.notes


def test_an_attack_that_does_not_lower_is_refused_and_left_out(
    collection: Path, tmp_path: Path
) -> None:
    (path,) = collection.glob("attacks/*.json")
    target = next(p for p in collection.glob("*.json") if json.loads(path.read_text())["lowers"]["hash"] in p.name)  # fmt: skip
    row = check(target).card
    assert row is not None
    base = [c for c in cells(rule=["krum"]) if c.attack == "foe"]

    def refused(some: list[Scenario], by: float = 0.0) -> str:
        name = tmp_path / f"r{len(list(tmp_path.iterdir()))}"
        (cited,) = rows_of([folder(name, some, "mine-1 with more", by)])
        with pytest.raises(InputError) as error:
            made(cited, lowers=row)
        return str(error.value)

    weak = [cell.replace(attack="sign_flip") for cell in base]
    assert refused(weak, 0.15) == (
        f"card: --lowers: sign_flip comes to 0.7092; the worst case of row {row.hash} is 0.6592, "
        "which is as low"
    )
    assert "byzantine is 5 here and 4 there" in refused([c.replace(byzantine=5) for c in weak])
    assert f"on the seeds [0, 1, 2]; row {row.hash} has [0, 1, 2, 3, 4, 5]" in refused(weak[:3])
    for one in collection.glob("*.json"):
        if one != target:
            continue
        one.unlink()
    (note,) = collected(collection).notes()
    assert note == f"left out: {path}: the row {row.hash} is not here"


def test_what_is_no_card_is_refused_by_name(tmp_path: Path) -> None:
    for text, expected in (
        ("{", "no JSON: Expecting property name"),
        ('{"a": NaN}', "no JSON: NaN; expected a finite number"),
        ("[" * 100_000, "nested too deep"),
        ('{"a": 1e400}', "no JSON: 1e400; expected a finite number"),
        ('{"a": ' + "9" * 5000 + "}", "5000 digits; expected at most 20"),
        ('{"a": 1, "a": 2}', "no JSON: 'a' is twice in one object; expected once"),
        (
            '{"a": [["mine\\u202e"]]}',
            r"'mine\\u202e': has characters that are not seen \(Unicode Cf\)",
        ),
        ('{"a\\n::error::": 1}', r"has characters that are not seen \(Unicode Cc\)"),
    ):
        path = tmp_path / "card.json"
        path.write_text(text)
        with pytest.raises(InputError, match=expected):
            check(path)
    path.write_text("[]")
    assert str(check(path).problems[0]) == "$: [] is not of type 'object'"


def test_sources_that_a_card_names_have_digests_and_those_that_are_here_theirs(card: Card) -> None:
    def own_rule(content: Any) -> None:
        content["scenario"]["rule"] = content["row"]["rule"] = "their_code:Rule"

    told = [str(problem) for problem in changed(card, own_rule).problems]
    assert "$.sources.modules: lacks the digest of 'their_code', which the cells name" in told
    own = {"hgobench.aggregators.krum": "0" * 64}
    code = {"code": code_stated(), "modules": own, "files": {}}
    (problem,) = changed(card, put("sources", value=code)).problems
    assert str(problem).startswith(
        "$.sources.modules['hgobench.aggregators.krum']: 000000000000..; of the sources that"
    )


def test_letters_that_look_like_others_are_suspicious(card: Card) -> None:
    def alike(content: Any) -> None:
        content["scenario"]["rule"] = content["row"]["rule"] = "kr\u03c5m"

    (told, *_) = [str(problem) for problem in changed(card, alike).suspicions]
    assert told == (r"$.scenario: 'kr\u03c5m': U+03C5, which may look like letters of another name")


def test_a_flag_that_was_left_out_is_named() -> None:
    card = _evaluated()
    raised = dict(card.content["flags"])
    assert raised, "the numbers of this row are drawn at random, and some are strange"
    told = [str(problem) for problem in changed(card, put("flags", value={})).problems]
    name = next(name for name in raised if name != "weak without attack")
    assert f"$.flags: lacks {name!r}: {raised[name]}" in told


def test_an_attack_names_the_row_that_it_lowers(collection: Path) -> None:
    (path,) = collection.glob("attacks/*.json")
    target = collection / f"{json.loads(path.read_text())['lowers']['hash']}.json"
    (other,) = [one for one in collection.glob("*.json") if one != target]
    target.write_text(other.read_text())
    told = [str(problem) for problem in check(path).problems]
    assert f"$.lowers.hash: {target}: is the card of row {other.stem}" in told


def test_checking_imports_nothing_that_a_card_names(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "their_code.py").write_text("class Rule: ...\n")

    def change(content: Any) -> None:
        content["ruleset"] = "quick-3 with rule=their_code:Rule"
        content["scenario"]["rule"] = content["row"]["rule"] = "their_code:Rule"
        content["scenario"]["partition"] = "their_code:Partition"
        for cell in content["cells"]:
            cell["scenario"]["attack"] = "their_code:Attack"

    assert changed(card, change).problems
    assert "their_code" not in sys.modules


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    steps: Any = value.items() if isinstance(value, dict) else ()
    for step, inner in enumerate(value) if isinstance(value, list) else steps:
        yield from _paths(inner, (*path, step))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_is_in_a_card_is_accepted_or_named(data: st.DataObject) -> None:
    """Near what is valid: any value of a card is another one. Nothing but a refusal is raised."""
    content = copy.deepcopy(dict(_evaluated().content))
    *front, last = data.draw(st.sampled_from([p for p in _paths(content) if p]))
    value = data.draw(JSON | st.sampled_from([0, 1, "", "none", [], {}, -1, 10**30]))
    inner: Any = content
    for step in front:
        inner = inner[step]
    if data.draw(st.booleans()):
        inner[last] = value
    elif isinstance(inner, dict):
        del inner[last]
    else:
        inner.insert(last, value)
    with suppress(InputError):
        examined(Card("", content))


@cache
def _evaluated() -> Card:
    """A card of a row whose attacks were chosen, with as little in it as there can be."""
    plan = Plan("auto-1", selection_seeds=(0,), fresh_seeds=(10, 11), learning_rates=(0.1, 1.0))

    def run(some: list[Scenario], at: At) -> dict[Scenario, Played]:
        return {cell: Played(int(cell.digest[:6], 16) / 16**6) for cell in some}

    row = Scenario(workers=20, byzantine=3, rule="median", rounds=4)
    (chosen,) = select([row], plan, run)
    with tempfile.TemporaryDirectory() as name, open_store(name) as store:
        every = {cell for cells in chosen.fresh.values() for cell in cells}
        some = [stored(cell, 0.5 + cell.seed / 100) for cell in every]
        store.add_all((result, "mine-1", None) for result in some)
        keep(store, "mine-1", [chosen])
        (cited,) = rows_of([Path(name)])
        card = made(cited)
    assert not examined(card).problems
    return card


SMALL = (
    Member("crash", "fault", ("crash",)),
    Member("foe", "fixed", ("foe[epsilon=0.5]", "foe[epsilon=1.0]")),
    Member("fang", "optimised", ("fang",)),
    Member("min_max", "optimised", ("min_max",)),
    Member("tail", "heterogeneity", ("tail+*",)),
)


def test_what_was_chosen_is_chosen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(members.ENSEMBLES, "small", SMALL)
    played: dict[Scenario, Played] = {}

    def run(some: list[Scenario], at: At) -> dict[Scenario, Played]:
        for cell in some:
            drawn = np.random.default_rng(int(cell.digest[:8], 16)).random()
            played[cell] = Played(float(drawn), (float(drawn),))
        return {cell: played[cell] for cell in some}

    row = Scenario(workers=20, byzantine=3, rule="median", rounds=40)
    plan = Plan("small", learning_rates=(0.1, 0.5, 1.0))
    (chosen,) = select([row], plan, run)
    assert not chosen_otherwise([chosen], played)
    assert not contradictions(chosen)
    weaker = [name for name in chosen.members if name not in chosen.reported]
    forged = replace(chosen, reported=(*chosen.reported[1:], weaker[-1]))
    assert chosen_otherwise([forged], played) == [
        "hgo median: the cells that choose come to another choice than the one that is kept: "
        "reported"
    ]
    (text,) = contradictions(forged)
    start = f"reported: {', '.join(forged.reported)}; worse by accuracy on validation examples: "
    assert text.startswith(start)
    assert chosen.reported[0] in text.removeprefix(start).split(", ")
    worst = chosen.members[chosen.reported[0]]
    raised = replace(worst, accuracies=tuple(1.0 for _ in worst.accuracies))
    softened = replace(chosen, members={**chosen.members, chosen.reported[0]: raised})
    assert "members" in chosen_otherwise([softened], played)[0]
    other = min(chosen.choices, key=chosen.choices.__getitem__)
    assert "is not the best of the choices" in contradictions(replace(chosen, row=other))[0]
    lacking = dict(list(played.items())[5:])
    assert "what was chosen can't be chosen again" in chosen_otherwise([chosen], lacking)[0]


def test_a_card_says_what_a_targeted_attack_got(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"workers": 10, "byzantine": 2, "rounds": 2}
    fields |= {"rule": "average", "algorithm": "sgd"}
    with open_store(tmp_path) as store:
        for attack in ("none", "badnets"):
            for result in (run(Scenario(**fields, attack=attack, seed=s)) for s in range(6)):
                store.add(result, "mine-1")
    (cited,) = rows_of([tmp_path])
    card = made(cited)
    assert not examined(card).problems
    successes = {cell["attack"]: cell.get("success") for cell in card.content["cells"]}
    assert successes["none"] is None
    assert successes["badnets"] is not None
    assert [score.success for score in card.scores] == [s.success for s in cited.row.scores]
    last = len(card.content["cells"]) - 1
    told = [str(p) for p in changed(card, put("cells", last, "accuracy", value=0.999)).problems]
    assert told[0].startswith(f"$.cells[{last}].accuracy: "), told
    assert "or less, which is 1 - success, and no examples" in told[0]
