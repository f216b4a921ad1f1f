"""What a field of a scenario is stands in one place, and everything follows from it."""

from __future__ import annotations

import ast
import csv
import io
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

import hgobench
from hgobench import Scenario, catalogue, run
from hgobench.errors import InputError
from hgobench.leaderboard import BOARD, Score, boards, columns
from hgobench.report.boards import render
from hgobench.scenario import Role, declare, integer, positive, word
from hgobench.suite import Suite

SMALL: dict[str, Any] = {"workers": 12, "byzantine": 2, "sampled": 9, "tolerated": 1, "quorum": 5}

# Every field with two values that a small scenario can have.
TWO: dict[str, tuple[Any, Any]] = {
    "data": ("digits", "breast_cancer"),
    "partition": ("iid", "by_class[k=3]"),
    "model": ("softmax", "feed_forward[hidden=3]"),
    "hardware": ("standard", "c2"),
    "augment": ("none", "noise"),
    "workload": ("fixed", "data_first"),
    "algorithm": ("hgo", "sgd[momentum=0.9]"),
    "granularity": ("scalar", "feature"),
    "cost": ("scalar", "unit"),
    "rule": ("trimmed_mean", "nnm+median"),
    "scope": ("coordinate", "block"),
    "attack": ("foe", "alie"),
    "attack_start": (0, 2),
    "attack_stop": (math.inf, 3),
    "attack_period": (math.inf, 2),
    "lies_about_speed": ("yes", "no"),
    "workers": (12, 14),
    "byzantine": (2, 3),
    "tolerated": (1, 2),
    "sampled": (9, 11),
    "quorum": (5, 6),
    "deadline": (32.0, math.inf),
    "batch_size": (32, 8),
    "rounds": (4, 10),
    "time_budget": (math.inf, 20.0),
    "coordinate_budget": (math.inf, 1e5),
    "byte_budget": (math.inf, 1e6),
    "learning_rate": (0.32, 1.0),
    "schedule": ("constant", "inverse_sqrt_block"),
    "solver": ("gradient_descent", "adam"),
    "weights": ("none", "examples"),
    "evaluation_interval": (1, 3),
    "metrics": ("standard", "none"),
    "seed": (0, 1),
}


def pair(name: str, **more: Any) -> list[Scenario]:
    """Two scenarios that differ in the field alone."""
    fields = {**SMALL, "rounds": 4, "attack": "foe", **more}
    made = [Scenario(**{**fields, name: value}) for value in TWO[name]]
    differing = {key for key, value in vars(made[0]).items() if getattr(made[1], key) != value}
    assert differing >= {name}
    # what is worked out from it may differ too
    assert all(Scenario.declarations()[other].follows for other in differing - {name})
    return made


def test_every_field_has_two_values_here() -> None:
    assert list(TWO) == list(Scenario().to_dict())


def shown(cells: list[Scenario], by: str) -> dict[float, set[str]]:
    """Where each accuracy is: title, label and column. The cells' accuracies are 0.25 and 0.75."""
    scores = [Score(c, "done", a) for c, a in zip(cells, (0.25, 0.75), strict=True)]
    found: dict[float, set[str]] = {}
    for board in boards(scores, by=by):
        for row in board.rows:
            for column, value in row.cells.items():
                place = f"{board.title} | {row.label} | {column}"
                found.setdefault(value.mean, set()).add(place)
    return found


@pytest.mark.parametrize("name", [name for name in TWO if name not in ("seed", "attack")])
def test_two_values_of_any_field_are_both_on_the_boards_and_told_apart(name: str) -> None:
    cells = pair(name)
    for by in columns():
        found = shown(cells, by)
        assert {0.25, 0.75} == set(found)
        assert found[0.25].isdisjoint(found[0.75])
        for accuracy, cell in zip((0.25, 0.75), cells, strict=True):
            assert all(str(cell.to_dict()[name]) in place for place in found[accuracy])


def test_attacks_are_columns_or_the_worst_counts() -> None:
    places = shown(pair("attack"), "attack")
    assert [{p.rpartition(" ")[2] for p in places[a]} for a in (0.25, 0.75)] == [{"foe"}, {"alie"}]
    assert set(shown(pair("attack"), "hardware")) == {0.25}


def test_seeds_are_averaged() -> None:
    by_others = [by for by in columns() if by != "seed"]
    assert {tuple(shown(pair("seed"), by)) for by in by_others} == {(0.5,)}
    assert {
        a: {p.rpartition(" ")[2] for p in places}
        for a, places in shown(pair("seed"), "seed").items()
    } == {0.25: {"0"}, 0.75: {"1"}}


@pytest.mark.parametrize("name", [name for name in TWO if name not in ("seed", "attack")])
def test_boards_as_files_tell_two_values_of_any_field_apart(name: str) -> None:
    cells = pair(name)
    made = boards([Score(c, "done", a) for c, a in zip(cells, (0.25, 0.75), strict=True)])
    values = {str(cell.to_dict()[name]) for cell in cells}
    content = json.loads(render("r", made, "json"))["boards"]
    rows = [{**board, **row} for board in content for row in board["rows"]]
    said = {str(row[name]) if name in row else row["label"] for row in rows}
    assert len(said) == 2
    assert all(any(value in text for text in said) for value in values)
    lines = csv.DictReader(io.StringIO(render("r", made, "csv")))
    stated = {(line.get(name), line["label"]) for line in lines}
    assert len(stated) == 2
    assert all(any(value in f"{field} {label}" for field, label in stated) for value in values)


def test_real_cells_of_two_workloads_are_not_mixed() -> None:
    cells = pair("workload", rounds=2, workers=6, byzantine=1, sampled=6, quorum=3)
    results = [run(cell) for cell in cells]
    made = boards(map(Score.of, results))
    assert [board.title for board in made] == [
        "partition iid, hardware standard, workload data_first",
        "partition iid, hardware standard, workload fixed",
    ]
    shown = {board.setting["workload"]: board.rows[0].worst.mean for board in made}
    assert shown == {r.scenario.workload: r.summary["test_accuracy"] for r in results}


def test_boards_are_in_the_order_of_numbers() -> None:
    made = boards(Score(cell, "done", 0.5) for cell in pair("rounds"))
    assert [board.setting["rounds"] for board in made] == [4, 10]


def test_two_scores_for_one_cell_are_refused() -> None:
    (cell, _) = pair("seed")
    with pytest.raises(InputError) as error:
        boards([Score(cell, "done", 0.5), Score(cell, "failed", 0.0)])
    (problem,) = error.value.problems
    assert problem == (
        f"boards: two scores for one cell: {cell!r} (done, accuracy 0.5) and {cell!r} (failed, "
        "accuracy 0); expected one: rank the results of one ruleset, each once"
    )


def test_what_can_t_be_columns_is_refused() -> None:
    with pytest.raises(InputError, match="by: unknown 'partitions'; did you mean 'partition'"):
        boards([], by="partitions")
    with pytest.raises(InputError, match="by: unknown 'accuracy'; expected one of algorithm, "):
        boards([], by="accuracy")
    assert boards([], by="rule") == []


@dataclass(frozen=True, kw_only=True, init=False, repr=False)
class Wider(Scenario):
    """A scenario with a new field of every role."""

    climate: str = declare("mild", word("mild", "harsh"), "world")
    bribes: int = declare(0, integer(0, 9), "threat", letter="beta")
    patience: float = declare(1.0, positive(infinite=True), "defence")
    site: int = declare(0, integer(0, 9), "repetition")
    probes: int = declare(1, integer(1, 9), "measurement")


NEW: dict[str, tuple[Any, Any]] = {
    "climate": ("mild", "harsh"),
    "bribes": (0, 3),
    "patience": (1.0, math.inf),
    "site": (0, 1),
    "probes": (1, 2),
}


@pytest.mark.parametrize("name", NEW)
def test_a_new_field_is_everywhere(name: str) -> None:
    """Its declaration is all that it takes: no list of fields is kept anywhere else."""
    first, second = (Wider(**SMALL, attack="foe", **{name: value}) for value in NEW[name])
    role = Wider.declarations()[name].role
    assert name in first.to_dict()
    assert Wider.restore(json.loads(json.dumps(second.to_dict()))) == second
    assert first.digest != second.digest
    assert f"{name}=" in repr(second)
    assert second.replace(rounds=3).to_dict()[name] == second.to_dict()[name]
    shares = role in ("threat", "defence")
    assert (first.world_key == second.world_key) is shares
    made = boards([Score(first, "done", 0.25), Score(second, "done", 0.75)])
    stated = [str(s.to_dict()[name]) for s in (first, second)]
    if role in BOARD:
        assert {board.title.rpartition(", ")[2] for board in made} == {
            f"{name} {value}" for value in stated
        }
        assert all(name in board.setting for board in made)
    elif role == "defence":
        (board,) = made
        assert {row.label for row in board.rows} == {
            f"hgo trimmed_mean tolerated=1 {name}={value}" for value in stated
        }
    else:
        (board,) = made
        assert board.rows[0].worst.seeds == 2
        assert board.rows[0].worst.mean == 0.5
    (value,) = Suite("s", "s-1", grid={name: [NEW[name][1]]}).grid[name]
    assert Suite("s", "s-1", grid={name: [value]}).label(second) == str(value)


WRONG: dict[str, Any] = {"climate": "hars", "beta": 10, "patience": 0, "site": -1, "probes": 1.5}


def test_a_new_field_is_checked_as_all_others() -> None:
    with pytest.raises(InputError) as error:
        Wider(**WRONG)
    assert error.value.problems == [
        "climate: unknown 'hars'; did you mean 'harsh'?",
        "bribes: 10; expected at most 9",
        "patience: 0; expected a number > 0 or inf",
        "site: -1; expected an integer >= 0",
        "probes: 1.5; expected an integer >= 1",
    ]
    assert Wider(beta=3).to_dict()["bribes"] == 3  # type: ignore[call-arg]


def test_names_with_a_registry_are_the_fields_that_take_names() -> None:
    text = {name for name, value in vars(Scenario()).items() if isinstance(value, str)}
    assert set(catalogue.FIELDS) == text - {
        "granularity", "cost", "scope", "schedule", "lies_about_speed", "weights"
    }  # fmt: skip


def test_every_letter_is_a_property() -> None:
    scenario = Scenario(**SMALL)
    assert Scenario.letters() == {
        "n": "workers", "f": "byzantine", "q": "sampled", "v": "quorum", "tau": "deadline",
        "s": "batch_size", "K": "rounds", "gamma": "learning_rate",
    }  # fmt: skip
    for letter, name in Scenario.letters().items():
        assert getattr(scenario, letter) == getattr(scenario, name)


def test_addresses_are_what_they_were() -> None:
    """A digest that changes would make every result in every store unknown."""
    assert Scenario().digest == "3d790df7c97301a3bb5c064c9101ceabb8123a0fab7650daab255e2e2f72c38b"
    chosen = Scenario(
        workers=20, f=4, q=15, rule="nnm+krum", attack="alie[z=1.50]", deadline=math.inf,
        partition="dirichlet[alpha=0.1]", scope="coordinate",
    )  # fmt: skip
    assert chosen.digest == "23fc9bb8e1715c10383f318c5d1750e0d74d65402ce9277787d4365fa3d99061"


def test_the_documented_roles_are_the_declared_ones() -> None:
    text = (Path(__file__).parent.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| (\w+) \| ([\w, ]+) \| (?:one|averaged)", text, re.MULTILINE))
    assert {role: set(names.split(", ")) for role, names in table.items()} == {
        role: set(Scenario.of_role(role)) for role in get_args(Role)
    }


def test_no_other_list_of_fields_is_kept() -> None:
    """What is written twice is forgotten once: a list of ten fields or more is a second one."""
    package = Path(hgobench.__file__).parent
    fields = set(Scenario.declarations())
    found = []
    for path in sorted(package.glob("**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                names = {item.value for item in node.elts if isinstance(item, ast.Constant)}
                if len(names & fields) >= 10:
                    found.append(f"{path.relative_to(package)}:{node.lineno}")
    assert found == []
