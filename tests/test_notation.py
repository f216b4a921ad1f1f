"""What is written is read back: values, parameters, chains, lists, settings; and what can't be."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hgobench import Scenario, catalogue
from hgobench.data import datasets
from hgobench.errors import InputError
from hgobench.notation import (
    Value,
    format_value,
    parse_value,
    pieces,
    quoted,
    specification,
    split_list,
)
from hgobench.registry import Registry
from hgobench.settings import parse_setting, write_setting
from hgobench.suite import Suite


class Reader:
    """Takes text that is told to be text, text or none, and anything."""

    def __init__(self, path: str = "", label: str | None = None, *, any_: Value = 0) -> None:
        self.path, self.label, self.any_ = path, label, any_


PREFIXES: Registry[Any] = Registry("before", "befores", {"pre": Reader})
READERS: Registry[Any] = Registry(
    "reader", "readers", {"reader": Reader}, prefixes=PREFIXES, assemble=lambda steps, last: last
)

# Text made of what has a meaning in the notation, and any other.
AWKWARD = st.one_of(
    st.text(alphabet=' ,[]()=+"\\ab1.', max_size=12),
    st.text(max_size=12),
    st.sampled_from(["none", "true", "inf", "nan", "1e5", "007", "", " a ", "a\nb", "~/d,e.csv"]),
)
VALUES = st.one_of(AWKWARD, st.integers(), st.floats(allow_nan=False), st.booleans(), st.none())


@settings(deadline=None)  # the first example imports torch
@given(AWKWARD, AWKWARD, VALUES)
@example('a"b', "[", "3")
@example("a\\", '"', " ")
@example("a", "b", False)
@example("a", "b", 0.0)
def test_any_text_can_be_a_parameter(path: str, label: str, any_: Value) -> None:
    written = f"reader[path={quoted(path)}, label={quoted(label)}, any_={format_value(any_)}]"
    made = READERS.build(written)
    assert (made.path, made.label, made.any_) == (path, label, any_)
    assert type(made.any_) is type(any_)
    spelled = READERS.canonical(written)
    again = READERS.build(spelled)
    assert vars(again) == vars(made)
    # 0.0 is left out, as it is the default.
    assert type(again.any_) is type(any_) or (any_ == 0.0 and isinstance(any_, float))
    assert READERS.canonical(spelled) == spelled
    assert READERS.files(written) == [path]


class Defaults:
    """Has defaults that can and can't be written."""

    def __init__(
        self, flag: bool = True, share: float = 1, table: object = np.zeros(2), count: int = 0
    ) -> None:
        self.flag, self.share, self.table, self.count = flag, share, table, count


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("it[flag=1]", "it[flag=1]"),  # the value is used as it is written, and true is not 1
        ("it[flag=true, share=1, count=0]", "it"),
        ("it[count=false]", "it[count=false]"),
        ("it[table=1]", "it[table=1]"),
        ("it[share=-0.0]", "it[share=0.0]"),
        ("it[share=-0]", "it[share=0.0]"),
    ],
)
def test_a_parameter_is_left_out_only_where_it_is_the_default(written: str, spelled: str) -> None:
    registry: Registry[Any] = Registry("it", "its", {"it": Defaults})
    assert registry.canonical(written) == spelled
    made, again = (vars(registry.build(text)) for text in (written, spelled))
    assert {name: (type(v), str(v)) for name, v in made.items()} == {
        name: (type(v), str(v)) for name, v in again.items()
    } or spelled == "it"


@pytest.mark.parametrize("text", ["1e-400", "-0.5e-999", "1e400"])
def test_no_number_becomes_0_or_inf(text: str) -> None:
    with pytest.raises(InputError, match=rf"'{text}'; expected "):
        parse_value(text)


@given(AWKWARD, AWKWARD)
def test_any_text_can_stand_in_chains_lists_and_settings(first: str, second: str) -> None:
    chain = READERS.canonical(f"pre[{quoted(first)}]+reader[{quoted(second)}]")
    assert READERS.files(chain) == [text for text in (first, second) if text]
    other = READERS.canonical(f"reader(label={quoted(second)})")
    assert split_list(f"{chain},{other}") == [chain, other]
    setting = write_setting("data", chain, other)
    assert setting == f"data={chain},{other}"
    assert parse_setting(setting) == ("data", [chain, other])


@given(st.lists(VALUES, min_size=1, max_size=3))
def test_values_of_settings_are_read_back(values: list[Value]) -> None:
    written = write_setting("schedule", *[v if v != "" else "x" for v in values])
    assert parse_setting(written) == ("schedule", [v if v != "" else "x" for v in values])


@given(st.text(alphabet='ab1., =+\\/"', max_size=12))
def test_text_without_need_has_no_quotes(text: str) -> None:
    """Spellings of before there were quotes stay: results are found under them."""
    plain = text.strip() == text and "," not in text and '="' not in text and "= " not in text
    if plain and not text.startswith('"') and text:
        assert READERS.canonical(f"reader[path={text}]") == f"reader[path={text}]"


@given(st.one_of(st.text(max_size=20), st.text(alphabet='reader[]()="\\,+ pathny_1', max_size=30)))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    for read in (
        READERS.canonical,
        READERS.origin,
        split_list,
        parse_setting,
        parse_value,
        specification,
    ):
        with suppress(InputError):  # the one error that there may be
            read(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('csv[path="d,e.csv]', "the \" is never closed, after 'csv[path='"),
        ("csv[path=d]e.csv]", "the ] closes nothing, after 'csv[path=d]e.csv'"),
        ("csv[path=d[e.csv]", "the [ is never closed, after 'csv'"),
        ("csv[path=d)", ") found where ] is expected, after 'csv[path=d'"),
        ("]csv", "the ] closes nothing, at the beginning"),
    ],
)
def test_what_has_no_partner_is_shown(text: str, problem: str) -> None:
    hint = 'text with commas, brackets or quotes goes in quotes: path="d,e.csv"'
    for read, about in (
        (datasets.registry.canonical, "data: "),
        (split_list, ""),
        (lambda text: parse_setting(f"data={text}"), "settings: data: "),
    ):
        with pytest.raises(InputError) as error:
            read(text)
        assert error.value.problems == [f"{about}{text!r}: {problem}; {hint}"]


def test_nothing_may_follow_a_closing_quote() -> None:
    with pytest.raises(InputError) as error:
        datasets.registry.canonical('csv[path="d.csv"x]')
    assert error.value.problems == [
        "data: 'csv[path=\"d.csv\"x]': path: '\"d.csv\"x'; expected nothing after the closing quote"
    ]


@pytest.mark.parametrize("text", ["9" * 5000, "1e999", "-1" + "0" * 400 + ".5"])
def test_a_number_beyond_all_floats_is_not_inf(text: str) -> None:
    with pytest.raises(InputError, match=r"expected a number below 1.8e308, or inf"):
        parse_setting(f"deadline={text}")
    with pytest.raises(InputError, match=r"attack: 'foe.*: epsilon: .*expected a number below"):
        catalogue.registry("attack").canonical(f"foe[epsilon={text}]")


def test_pieces_of_chains_keep_their_quotes() -> None:
    assert pieces('a + b[x="+,]"] + c', "+") == ["a", 'b[x="+,]"]', "c"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file whose name holds all that has a meaning."""
    path = tmp_path_factory.mktemp("t") / 'd,e[1]+ "x"=(y).csv'
    lines = [f"{i / 40},{(i * 7 % 40) / 40},{i % 2}" for i in range(40)]
    path.write_text("\n".join(["a,b,label", *lines]) + "\n")
    return path


def test_a_file_may_have_any_name(table: Path, tmp_path: Path) -> None:
    """In code, on the command line, in TOML; and what is printed can be pasted back."""
    named = f"csv[path={quoted(str(table))}]"
    scenario = Scenario(data=named, workers=5)
    assert scenario.data == datasets.registry.canonical(named)
    assert catalogue.contents(vars(scenario))[0]  # the file's contents are hashed
    assert len(datasets.load(scenario.data).train.labels)
    suite = tmp_path / "mine.toml"
    suite.write_text(
        f"ruleset = 'mine-1'\n[scenario]\nworkers = 5\n[grid]\ndata = ['''{named}''', 'digits']\n"
    )
    loaded = Suite.load(suite)
    assert [s.data for s in loaded.expand()[0]] == [scenario.data, "digits"]
    setting = write_setting("data", scenario.data)
    assert [s.data for s in loaded.changed([parse_setting(setting)]).expand()[0]] == [scenario.data]


@pytest.mark.parametrize("field", catalogue.FIELDS)
def test_what_is_listed_can_be_pasted_back(field: str) -> None:
    """Every thing, with its parameters as ``hgobench list`` writes them."""
    registry = catalogue.registry(field)
    for name in registry.builtins:
        listed = [text for text in registry.parameters(name) if "=" in text]
        assert registry.canonical(f"{name}[{', '.join(listed)}]") == name
