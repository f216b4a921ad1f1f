"""How many seeds are needed: against simulations of the test that they are for."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgobench.cli import main
from hgobench.errors import InputError
from hgobench.statistics import LEVEL, Outcomes, Paired, compare, draw, step_down
from hgobench.statistics.power import level_of_many, needed, needs, power

TINY = """
ruleset = "tiny-1"
description = "tiny"

[scenario]
workers = 10
byzantine = 2
rounds = 5
learning_rate = 2.0
evaluation_interval = 5

[grid]
rule = ["median", "average", "trimmed_mean"]
attack = ["none", "foe"]
seed = [0, 1, 2, 3, 4]
"""


def told_apart(rng: Any, seeds: int, gap: float, deviation: float, among: int = 0) -> bool:
    """Whether two rows are told apart whose differences have some standard deviation."""
    row = rng.normal(0.5, deviation / math.sqrt(2), (2 + among, seeds))
    row[1] -= gap
    row[2:] -= 0.1  # clearly different, so that the pair is decided among others like it
    rows = [Outcomes(one[None].clip(0, 1)) for one in row]
    draws = draw(seeds, 0, 1000)
    if among:
        return bool(step_down(Paired.of(rows, draws))[0, 1] <= LEVEL)
    return compare(rows[0], rows[1], draws).verdict == "first"


@pytest.mark.parametrize(("gap", "deviation"), [(0.05, 0.08), (0.03, 0.02), (0.03, 0.064)])
def test_with_as_many_seeds_as_are_needed_the_test_has_the_power(
    gap: float, deviation: float
) -> None:
    seeds = needed(gap, deviation**2)
    assert seeds is not None
    rng = np.random.default_rng(0)
    share = np.mean([told_apart(rng, seeds, gap, deviation) for _ in range(300)])
    assert share == pytest.approx(power(seeds, gap, deviation**2), abs=0.07)
    assert share >= 0.8 - 0.07


def test_power_grows_with_seeds_and_differences_and_falls_with_spread() -> None:
    known = [power(seeds, 0.03, 0.06**2) for seeds in (5, 6, 10, 40, 200, 2000)]
    assert known[0] == 0
    assert known == sorted(known)
    assert power(20, 0.0, 0.06**2) == pytest.approx(LEVEL, rel=1e-4)
    assert power(20, 0.1, 0.06**2) > power(20, 0.03, 0.06**2) > power(20, 0.03, 0.12**2)
    assert power(900, 0.008, 0.06**2) == pytest.approx(power(1100, 0.008, 0.06**2), abs=0.08)
    assert power(20, 0.1, 0.0) == 1
    assert power(20, 0.9, 1e-9) == pytest.approx(1)


def test_needed_is_the_least_number_that_is_enough() -> None:
    for deviation in (0.01, 0.05, 0.2):
        seeds = needed(0.03, deviation**2, 0.004**2)
        assert seeds is not None
        assert power(seeds, 0.03, deviation**2, 0.004**2) >= 0.8
        assert seeds == 6 or power(seeds - 1, 0.03, deviation**2, 0.004**2) < 0.8
    assert needed(0.03, 0.01**2, 0.011**2) is None  # 2.8 standard errors of the examples
    assert needed(0.031, 0.01**2, 0.011**2) is not None
    for difference, wanted, message in (
        (0.0, 0.8, r"difference: 0\.0; expected more than 0 and at most 1"),
        (0.1, 1.0, r"power: 1\.0; expected more than 0\.05 and less than 1"),
    ):
        with pytest.raises(InputError, match=message):
            needed(difference, 0.1, wanted=wanted)


def test_the_level_of_many_lies_between_one_comparison_s_and_bonferroni_s() -> None:
    rng = np.random.default_rng(1)
    one = rng.normal(0.5, 0.05, (2, 20))
    many = rng.normal(0.5, 0.05, (8, 20))

    def level(rows: Any) -> float:
        return level_of_many(Paired.of([Outcomes(row[None]) for row in rows]))

    assert level(one) == pytest.approx(LEVEL, abs=0.01)
    assert LEVEL / 28 * 0.7 < level(many) < LEVEL / 7
    assert level(one[:1]) == LEVEL


@pytest.mark.long
def test_among_many_rows_the_first_step_s_number_is_enough() -> None:
    rng = np.random.default_rng(2)
    pilot = Paired.of([Outcomes(row[None]) for row in rng.normal(0.5, 0.03, (6, 20))])
    (need,) = needs(pilot, 0.04, shares=(0.5,))
    assert need.among is not None
    assert need.alone is not None
    assert need.alone < need.among
    deviation = need.deviation
    share = np.mean([told_apart(rng, need.among, 0.04, deviation, among=4) for _ in range(200)])
    assert share >= 0.75


def test_needs_of_a_pilot() -> None:
    rng = np.random.default_rng(3)
    rows = [Outcomes(rng.normal(0.5, sd, (1, 12)).clip(0, 1)) for sd in (0.02, 0.02, 0.02, 0.2)]
    median, ninth = needs(Paired.of(rows), 0.03)
    assert (median.share, ninth.share) == (0.5, 0.9)
    assert median.deviation < ninth.deviation
    for need in (median, ninth):
        assert need.alone is not None
        assert need.among is not None
        assert need.cautious is not None
        assert need.alone < need.among < need.cautious
        assert need.least == 0
    with pytest.raises(InputError, match="pilot: 1 rows on 12 seeds; expected 2 or more rows on 4"):
        needs(Paired.of(rows[:1]), 0.03)
    with pytest.raises(InputError, match="pilot: 2 rows on 3 seeds"):
        needs(Paired.of([row.of_seeds(np.arange(12) < 3) for row in rows[:2]]), 0.03)


def asked(capsys: Any, *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*words])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_the_verb_tells_it_from_a_folder_or_says_which_pilot_to_run(
    tmp_path: Path, capsys: Any
) -> None:
    suite, out = tmp_path / "tiny.toml", str(tmp_path / "out")
    suite.write_text(TINY)
    words = ("power", str(suite), "--difference", "0.05", "--out", out)
    status, _, err = asked(capsys, *words)
    assert status == 2
    assert f"pilot: {out!r} has no board of 'tiny-1' with 2 or more ranked rows on 4 or more" in err
    assert f"run one with hgobench run {suite}, then" in err
    status, _, err = asked(capsys, *words, "--set", "seed=0,1", "--set", "rounds=4")
    assert f"hgobench run {suite} --set rounds=4 --set seed=0,1,2,3,4,5, then" in err
    asked(capsys, "run", str(suite), "--out", out, "--quiet", "--jobs", "1")
    status, text, _ = asked(capsys, *words)
    assert status == 0
    assert "pair" in text
    assert "told apart with a probability of 0.8" in " ".join(text.split())
    status, text, _ = asked(capsys, *words, "--format", "json", "--power", "0.9")
    content = json.loads(text)
    assert (content["power"], content["difference"]) == (0.9, 0.05)
    (board,) = content["boards"]
    assert (board["rows"], board["pilot_seeds"]) == (3, 5)
    assert [need["share"] for need in board["needs"]] == [0.5, 0.9]
    assert content["left_out"] == 0
    assert asked(capsys, *words[:3], "2", *words[4:])[0] == 2
    # Rows that the suite has no more, and cells that are not asked for, are no part of the pilot.
    suite.write_text(TINY.replace(', "trimmed_mean"]', "]"))
    for settings, left_out, title in (
        ((), 10, "tiny-1"),
        (("attack=foe",), 20, "tiny-1 (attack=foe)"),
        (("attack=foe", "seed=0,1,2,3"), 22, "tiny-1 (attack=foe, seed=0,1,2,3)"),
    ):
        narrowed = [word for setting in settings for word in ("--set", setting)]
        content = json.loads(asked(capsys, *words, *narrowed, "--format", "json")[1])
        (board,) = content["boards"]
        assert (content["ruleset"], content["left_out"]) == (title, left_out)
        assert (board["rows"], board["pilot_seeds"]) == (2, 4 if len(settings) == 2 else 5)
    told = " ".join(asked(capsys, *words)[1].split())
    assert "The pilot: results of tiny-1. Seeds with which two rows" in told
    assert "The folder's other 10 results of that ruleset are left out" in told
