from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

from hgobench.errors import InputError
from hgobench.leaderboard import BOARD
from hgobench.scenario import check_field
from hgobench.settings import parse_setting
from hgobench.statistics import FEWEST
from hgobench.suite import Suite, cohorts, names
from tests.conftest import ROOT
from tests.test_cli import hgobench

WITH_REFERENCE = ["quick", "rules", "smoke", "standard"]

GOOD = """
ruleset = "mine-1"
[scenario]
workers = 20
byzantine = 4
rounds = 2
[grid]
rule = ["median", "krum"]
attack = ["none", "foe"]
seed = [0, 1]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def load(folder: Path, text: str = GOOD) -> Suite:
    named = text if "ruleset" in text else f'ruleset = "mine-1"\n{text}'
    return Suite.load(write(folder, named))


@pytest.mark.parametrize("name", names())
def test_every_suite_that_comes_with_hgobench_expands_without_leaving_anything_out(
    name: str,
) -> None:
    suite = Suite.load(name)
    if "seed" in suite.grid:  # no seed makes a cell right or wrong
        suite = suite.changed([("seed", [0])])
    scenarios, left = suite.expand()
    assert len(scenarios) > 1
    reasons = {entry.reason for entry in left}
    assert {entry.reason for entry in suite.leave_out} <= reasons
    # Rules differ in the scopes they have. And with more attackers a rule may need more answers than
    # there are: then other cells have it.
    kind = r"rule: '[^']+' (needs|aggregates)"
    if "scope" in suite.grid:
        kind += r"|(rule: '[^']+': )?scope: '\w+'; expected "
    if "weights" in suite.grid:  # and some count every answer alike
        kind += r"|weights: '\w+'; expected "
    needs = [reason for reason in reasons if re.match(kind, reason)]
    assert len(needs) == len(reasons) - len({entry.reason for entry in suite.leave_out})
    left_out = {entry.where.get("rule") for entry in suite.leave_out}
    assert {scenario.rule for scenario in scenarios} == {
        check_field("rule", rule) for rule in suite._values("rule") if rule not in left_out
    }
    assert suite.description
    assert len({suite.label(scenario) for scenario in scenarios}) == len(scenarios)


def test_quick_is_the_grid_it_promises() -> None:
    scenarios, _ = Suite.load("quick").expand()
    assert len(scenarios) == 600
    names = ("byzantine", "algorithm", "rule", "attack", "seed")
    axes = {name: {getattr(s, name) for s in scenarios} for name in names}
    assert [len(values) for values in axes.values()] == [2, 2, 5, 5, 6]
    assert axes["byzantine"] == {3, 8}
    assert len(axes["seed"]) >= FEWEST  # else no row can be told from another


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_every_cell_has_a_reference(name: str) -> None:
    suite = Suite.load(name)
    labels = {suite.label(scenario) for scenario in suite.expand()[0]}
    assert labels == (suite.reference() or {}).keys()


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_the_reference_breaks_where_the_contract_says(name: str) -> None:
    suite = Suite.load(name)
    reference = suite.reference() or {}
    broken = [
        (below, scenario) for scenario in suite.expand()[0] for below in suite.broken_by(scenario)
    ]
    assert broken
    assert all(reference[suite.label(scenario)] < below for below, scenario in broken)


def test_the_rows_of_board_1_for_a_small_machine() -> None:
    """Of the leading rules the best row with each algorithm; the first two with momentum too."""
    loader = SourceFileLoader("board", str(ROOT / "tools" / "board"))
    spec = spec_from_loader("board", loader)
    assert spec is not None
    board = module_from_spec(spec)
    loader.exec_module(board)
    every = {name: board.rows(name) for name in board.SETTINGS}
    for rows in every.values():  # each is one board
        assert (
            len({tuple(getattr(row, field) for field in row.of_role(*BOARD)) for row in rows}) == 1
        )
    cells = board.in_screen("dirichlet")
    assert len(cells) == 146 * len(board.ATTACKS) * len(board.SEEDS)
    worst = {"krum": 0.5, "median": 0.4, "oracle": 0.9}
    told = {
        row: {"clean": 0.9, "worst": worst[row[2]] + 0.1 * (row[1] == "masked"), "live": 1.0}
        for row, _ in cells.values()
        if row[2] in worst
    }
    told |= {("hgo", "block", "average"): {"clean": 0.9, "worst": 0.1, "live": 1.0}}
    told |= {("sgd", "block", "average"): {"clean": 0.9, "worst": 0.1, "live": 0.4}}
    assert board.leading(told, few=1) == [
        ("hgo", "masked", "krum"), ("sgd", "coordinate", "krum"),
        ("hgo", "block", "average"), ("sgd", "block", "average"),
        ("hgo[momentum=0.9]", "masked", "krum"), ("sgd[momentum=0.9]", "coordinate", "krum"),
    ]  # fmt: skip


@pytest.mark.long
def test_the_regime_of_the_suites_can_be_shown(tmp_path: Path) -> None:
    tool, store, picture = ROOT / "tools" / "regime", tmp_path / "store", tmp_path / "regime.svg"
    short = "--set", "rounds=2", "--set", "evaluation_interval=1", "--set", "seed=0"
    done = hgobench("run", f"{tool}.toml", "--quiet", "--out", str(store), "--jobs", "1", *short)
    assert done.returncode == 0, done.stderr
    shown = subprocess.run(
        [sys.executable, str(tool), str(store), str(picture)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    settings, rows = shown.strip().split("\n\n")
    assert [line.split("|")[1].strip() for line in settings.splitlines()[2:]] == [
        "2", "2", "8", "8", "32", "32",
    ]  # fmt: skip
    assert len(rows.splitlines()) == 2 + 12
    assert picture.read_text().count("<path") > 20


def test_a_grid_is_the_product_of_its_axes(tmp_path: Path) -> None:
    scenarios, left = load(tmp_path).expand()
    assert len(scenarios) == 8
    assert left == []
    assert {s.workers for s in scenarios} == {20}


def test_impossible_combinations_are_left_out_with_the_reason(tmp_path: Path) -> None:
    suite = load(tmp_path).changed([("byzantine", [0, 4])])
    scenarios, left = suite.expand()
    assert len(scenarios) == 12
    assert {entry.reason for entry in left} == {
        "attack: 'foe'; expected byzantine >= 1, or it attacks nobody"
    }


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([("rule", ["median", "krumm"])], ["rule: unknown 'krumm'; did you mean 'krum'? (hgobench list rules)"]),
        ([("byzantine", [10])], ["byzantine: 10; expected less than half of workers=20"]),
        ([("sampled", [10])], ["rule: 'krum' needs 11 answers for tolerated=4; quorum is 10 of sampled=10"]),
        ([("rounds", [0]), ("atack", ["foe"])], ["scenario: field: unknown 'atack'; did you mean 'attack'?", "rounds: 0; expected an integer >= 1"]),
    ],
)  # fmt: skip
def test_what_no_cell_can_be_is_refused_all_at_once(
    tmp_path: Path, settings: list[tuple[str, list[Any]]], expected: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        load(tmp_path).changed(settings).expand()
    assert error.value.problems == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = [", "not TOML"),
        ("grids = 1", "suite: key: unknown 'grids'; did you mean 'grid'?"),
        (
            "[contract]\ntolerence = 0.1",
            "suite: contract: unknown 'tolerence'; did you mean 'tolerance'?",
        ),
        (
            "[contract]\ntolerance = 2",
            r"suite: contract.tolerance: 2; expected a number in \[0, 1\]",
        ),
        ("[[contract.breaks]]\nbelow = 0.5", "expected fields, and below as a number"),
        (
            "[[contract.breaks]]\nrule = 'krum'\nbelow = 'x'",
            "expected fields, and below as a number",
        ),
        ("[grid]\nrule = 'median'", "suite: grid.rule: 'median'; expected a list of values"),
        ("scenario = 3", r"suite: scenario: expected a table \[scenario\]"),
        ("ruleset = 3", "suite: ruleset: 3; expected a name with a version: 'mine-1'"),
        ("ruleset = ''", "suite: ruleset: ''; expected a name"),
        ("[contract]\nbreaks = 3", r"suite: contract.breaks: 3; expected \[\[contract.breaks\]\]"),
        ("width = 0", "suite: width: 0; expected an integer >= 1"),
        ("width = true", "suite: width: True; expected an integer >= 1"),
        ("width = 1000000000", "suite: width: 1000000000; expected at most 1000"),
        ("time_limit = -1", "suite: time_limit: -1; expected seconds > 0, at most 1000000"),
        ("time_limit = inf", "suite: time_limit: inf; expected seconds > 0"),
        ("time_limit = nan", "suite: time_limit: nan; expected seconds > 0"),
        ("time_limit = 1e7", "suite: time_limit: 10000000.0; expected seconds > 0"),
        ("description = 3", "suite: description: 3; expected text"),
        ("[contract]\ntolerance = true", "suite: contract.tolerance: True; expected a number"),
        ("[contract]\ntolerance = nan", "suite: contract.tolerance: nan; expected a number"),
        *(
            (
                f"[[contract.breaks]]\nrule = 'krum'\nbelow = {below}",
                rf"^suite: contract.breaks: below: {below}; expected an accuracy in \(0, 1\]$",
            )
            for below in ("nan", "inf", "-inf", "0", "1.5")
        ),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 50_000 + "]" * 50_000, r"mine.toml': not TOML: nested too deeply$"),
        (
            "a = " + "{b=" * 50_000 + "1" + "}" * 50_000,
            r"mine.toml': not TOML: nested too deeply$",
        ),
        ("width = " + "9" * 5_000, r"mine.toml': not TOML: Exceeds the limit \(4300 digits\)"),
        (
            "[grid]\nseed = [0x" + "f" * 5_000 + "]",
            "^seed: int too large to write; expected at most ",
        ),
        ("[grid]\nattack = [" + "[" * 300 + "]" * 300 + "]", r"^attack: .*; expected a name$"),
        (
            "width = 0x" + "f" * 5_000,
            "^suite: width: int too large to write; expected at most 1000$",
        ),
        ("[grid]\nrule" + ".a" * 999 + " = 1", r"suite: grid.rule: .*; expected a list of values$"),
        ("[grid]\n" + "a." * 50_000 + "a = 1", r"mine.toml': line 3: more than 1,000 dots"),
        ("#" * 300_000, r"mine.toml': larger than 262,144 bytes; expected a suite$"),
    ],
    ids=["lists", "tables", "digits", "seed", "attack", "hexadecimal", "nested", "dots", "large"],
)
def test_files_beyond_all_bounds_are_refused_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path, text).expand()
    (problem,) = error.value.problems
    assert len(problem) < 500


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert Suite.load(path) == load(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(InputError, match=r"mine.toml': not TOML: 'utf-8' codec can't decode"):
        Suite.load(path)


def test_all_problems_of_a_file_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load(tmp_path, "grids = 1\nwidth = 0\n[contract]\ntolerance = 2")
    assert len(error.value.problems) == 3


def test_unknown_suites_and_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="suite: unknown 'quik'; did you mean 'quick'"):
        Suite.load("quik")
    with pytest.raises(InputError, match="No such file"):
        Suite.load(tmp_path / "no.toml")


def test_the_same_field_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"byzantine: in both \[scenario\] and \[grid\]"):
        load(tmp_path, "[scenario]\nworkers = 20\nf = 1\n[grid]\nbyzantine = [1]").expand()


def test_settings_fix_fields_or_make_axes(tmp_path: Path) -> None:
    suite = load(tmp_path)
    changed = suite.changed([parse_setting("rounds=5"), parse_setting("f=2,3")])
    assert changed.ruleset == "mine-1 with byzantine=2,3 rounds=5"
    assert {(s.rounds, s.byzantine) for s in changed.expand()[0]} == {(5, 2), (5, 3)}


def test_choosing_among_an_axis_keeps_the_ruleset(tmp_path: Path) -> None:
    chosen = load(tmp_path).changed([parse_setting("attack=foe")])
    assert (chosen.ruleset, chosen.title) == ("mine-1", "mine-1 (attack=foe)")
    assert {s.attack for s in chosen.expand()[0]} == {"foe"}


def test_a_rule_of_one_s_own_joins_the_suite_s(tmp_path: Path) -> None:
    mine = load(tmp_path).with_rules(["tests.plugins:MyMedian"])
    assert mine.ruleset == "mine-1"
    assert [mine.own(s) for s in mine.expand()[0]].count(False) == 4
    assert {s.rule for s in mine.expand()[0]} == {"median", "krum", "tests.plugins:MyMedian"}


@pytest.mark.parametrize("text", ["rounds", "rounds=", "=3"])
def test_bad_settings_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        load(tmp_path).changed([parse_setting(text)]).expand()


def test_cohorts_share_a_world_and_have_a_width(tmp_path: Path) -> None:
    scenarios, _ = load(tmp_path).expand()
    batches = cohorts(scenarios, 3)
    assert [len(batch) for batch in batches] == [3, 1, 3, 1]
    assert all(len({s.world_key for s in batch}) == 1 for batch in batches)
    assert sorted(s.digest for batch in batches for s in batch) == sorted(
        s.digest for s in scenarios
    )


def test_setting_what_is_set_already_is_no_change(tmp_path: Path) -> None:
    suite = load(tmp_path).changed([("rounds", [2]), ("attack", ["none", "foe"])])
    assert suite.changes == ()
    assert suite.ruleset == "mine-1"


def test_none_is_a_name_and_a_value_left_open() -> None:
    assert parse_setting("attack=none,foe") == ("attack", ["none", "foe"])
    assert parse_setting("quorum=none") == ("quorum", [None])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "rul = 'average'",
            "suite: contract.breaks: scenario: field: unknown 'rul'; did you mean 'rule'?",
        ),
        (
            "rule = 'averge'",
            "suite: contract.breaks: rule: unknown 'averge'; did you mean 'average'?",
        ),
        ("rule = 'average'", r"suite: contract.breaks: \{'rule': 'average'\}: no such cell"),
    ],
)
def test_a_contract_that_matches_nothing_is_refused(
    tmp_path: Path, entry: str, message: str
) -> None:
    suite = load(tmp_path, GOOD + f"[[contract.breaks]]\n{entry}\nbelow = 0.5\n")
    with pytest.raises(InputError, match=message):
        suite.expand()


def test_contracts_are_read_in_any_spelling(tmp_path: Path) -> None:
    text = GOOD + "[[contract.breaks]]\nrule = 'median'\nattack = 'foe[epsilon=10]'\nbelow = 0.5\n"
    suite = load(tmp_path, text)
    assert sum(bool(suite.broken_by(scenario)) for scenario in suite.expand()[0]) == 2


def test_a_reference_belongs_to_its_suite_s_folder_and_ruleset(tmp_path: Path) -> None:
    suite = load(tmp_path)
    assert suite.reference() is None
    (tmp_path / "reference").mkdir()
    suite.reference_path.write_text('{"ruleset": "mine-1", "accuracy": {"median-foe-0": 0.5}}')
    assert suite.changed([("attack", ["foe"])]).reference() == {"median-foe-0": 0.5}
    assert suite.with_rules(["tests.plugins:MyMedian"]).reference() == {"median-foe-0": 0.5}
    assert suite.changed([("rounds", [9])]).reference() is None
    suite.reference_path.write_text('{"ruleset": "mine-0", "accuracy": {}}')
    with pytest.raises(InputError, match="of ruleset 'mine-0'; expected 'mine-1'; rewrite it"):
        suite.reference()
    for damaged in ("{", "[]", "[" * 100_000, '{"ruleset": "mine-1", "accuracy": {"a": NaN}}'):
        suite.reference_path.write_text(damaged)
        with pytest.raises(InputError, match=r"mine.json': .*; rewrite it: hgobench run "):
            suite.reference()


def test_two_cells_with_one_label_have_no_reference() -> None:
    rules = ["tests.plugins:MyMedian", "median"]
    suite = Suite("s", "s-1", grid={"rule": rules, "seed": [1, 2]})
    cells = list(suite.expand()[0])
    assert list(suite.labelled(cells)) == [f"{rule}-{seed}" for seed in (1, 2) for rule in rules]
    unseen = Suite("s", "s-1", grid={"rule": rules})
    with pytest.raises(InputError, match=r"suite: 'median': the label of two cells, Scenario\("):
        unseen.labelled(cells[1::2])


def test_one_setting_has_one_ruleset_however_it_is_spelled(tmp_path: Path) -> None:
    suite = load(tmp_path)
    names = {suite.changed([("partition", [p])]).ruleset for p in ("by_class(3)", "by_class[k=3]")}
    assert names == {"mine-1 with partition=by_class[k=3]"}


def test_a_field_set_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="settings: byzantine: given twice"):
        load(tmp_path).changed([("f", [1]), ("byzantine", [2])])


def test_a_built_in_rule_beside_the_suite_s_is_no_cell_of_its_own(tmp_path: Path) -> None:
    wider = load(tmp_path).with_rules(["phocas", "krum"])
    assert wider.added == ("phocas",)
    assert {s.rule for s in wider.expand()[0] if not wider.own(s)} == {"phocas"}


def test_a_default_set_explicitly_is_no_change(tmp_path: Path) -> None:
    assert load(tmp_path).changed([("batch_size", [32])]).ruleset == "mine-1"


def test_each_value_of_an_axis_is_checked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set, narrowed or the suite's own: whoever expands the suite does not check it again."""
    checked: Counter[tuple[str, Any]] = Counter()

    def check(field: str, value: Any) -> Any:
        checked[field, value] += 1
        return check_field(field, value)

    monkeypatch.setattr("hgobench.grid.check_field", check)
    changed = load(tmp_path).changed([("partition", ["iid", "by_class(2)"]), ("seed", [0, 1, 2])])
    grid, _ = changed.expand()
    assert len(grid) == 2 * 3 * 2 * 2
    axes = {"rule": 2, "attack": 2, "partition": 2, "seed": 2 + 3}  # its own, and those set
    assert {field: sum(n for (f, _), n in checked.items() if f == field) for field in axes} == axes


def test_a_ruleset_may_be_called_anything(tmp_path: Path) -> None:
    suite = load(tmp_path, GOOD.replace("mine-1", "mine with care-1"))
    assert all(map(suite.own, suite.expand()[0]))


LEAVING = """
ruleset = "mine-1"
[scenario]
workers = 10
f = 2
[grid]
rule = ["median", "krum", "mda"]
attack = ["none", "foe", "ipm[epsilon=2]"]
[[leave_out]]
rule = "mda"
reason = "slow"
[[leave_out]]
rule = "krum"
attack = "ipm[2]"
reason = "known"
"""


def test_what_a_suite_leaves_out_is_left_out_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(LEAVING)
    scenarios, left = Suite.load(path).expand()
    assert [(s.rule, s.attack) for s in scenarios] == [
        ("median", "none"),
        ("median", "foe"),
        ("median", "foe[epsilon=2.0]"),
        ("krum", "none"),
        ("krum", "foe"),
    ]
    assert [entry.reason for entry in left] == ["known", "slow", "slow", "slow"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            '[[leave_out]]\nrule = "mda"',
            "leave_out: {'rule': 'mda'}; expected fields, and a reason",
        ),
        (
            '[[leave_out]]\nreason = "x"',
            "leave_out: {'reason': 'x'}; expected fields, and a reason",
        ),
        ("[leave_out]", r"suite: leave_out: \{\}; expected \[\[leave_out\]\]"),
    ],
)
def test_what_is_left_out_must_say_what_and_why(tmp_path: Path, entry: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(LEAVING[: LEAVING.index("[[leave_out]]")] + entry)
    with pytest.raises(InputError, match=message):
        Suite.load(path)


def test_what_is_left_out_must_exist(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(LEAVING.replace('rule = "krum"\nattack', 'rule = "krumm"\nattack'))
    with pytest.raises(InputError, match="suite: leave_out: rule: unknown 'krumm'; did you mean"):
        Suite.load(path).expand()
