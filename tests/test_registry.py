from __future__ import annotations

import re
import sys
import sysconfig
import tomllib
from contextlib import chdir
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from hgobench import aggregators, catalogue
from hgobench import registry as module
from hgobench.errors import InputError
from hgobench.notation import parse_value, split_list
from hgobench.parameters import REPEATED
from hgobench.registry import NEEDED, Registry, modules_of, path_with, working_folder_first
from tests.conftest import ROOT


class Thing:
    def __init__(self, a: int = 1, b: float = 2.0, *, secret: int = 0) -> None:
        if a < 0:
            raise ValueError(f"a: {a}; expected an integer >= 0")
        self.a, self.b, self.secret = a, b, secret


class Distribution:
    def __init__(self, name: str) -> None:
        self.name = name


class Point:
    """An entry point as an installed distribution has it."""

    def __init__(self, name: str, owner: str, found: Any) -> None:
        self.name, self.dist, self.value, self._found = name, Distribution(owner), owner, found

    def load(self) -> Any:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


@pytest.fixture
def things() -> Registry[Thing]:
    return Registry("thing", "things", {"thing": Thing}, context=frozenset({"secret"}))


def install(monkeypatch: pytest.MonkeyPatch, *points: Point) -> None:
    def entry_points(group: str) -> list[Point]:
        assert group == "hgobench.things"
        return list(points)

    monkeypatch.setattr(module, "entry_points", entry_points)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("thing", "thing"),
        ("thing[]", "thing"),
        ("thing[a=1]", "thing"),
        ("thing[b=3,a=2]", "thing[a=2,b=3.0]"),
        ("thing[b=3.0]", "thing[b=3.0]"),
        ("thing[b=2]", "thing"),
        ("thing[2]", "thing[a=2]"),
        ("thing(2, b=0.5)", "thing[a=2,b=0.5]"),
        (" thing [ a = 2 ] ", "thing[a=2]"),
    ],
)
def test_one_canonical_spelling(things: Registry[Thing], text: str, canonical: str) -> None:
    assert things.canonical(text) == canonical
    again = things.build(things.canonical(text), secret=7)
    assert vars(again) == vars(things.build(text, secret=7))
    assert again.secret == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("thong", "thing: unknown 'thong'; did you mean 'thing'?"),
        ("zzz", "thing: unknown 'zzz'; expected one of thing"),
        ("thing[c=1]", "thing: 'thing[c=1]': parameter: unknown 'c'; expected one of a, b"),
        ("thing[secret=1]", "parameter: unknown 'secret'"),
        ("thing[a=1,a=2]", "a is given twice"),
        ("thing[1,2,3]", "too many parameters"),
        ("thing[a=1", "thing: 'thing[a=1': the [ is never closed, after 'thing'"),
        ("thing[a=1]b", "thing: 'thing[a=1]b'; expected name or name[parameter=value,...]"),
        ("thing[a=1][b=2]", "expected name or name[parameter=value,...]"),
        ("[a=1]", "expected name or name[parameter=value,...]"),
        ("thing[a=-1]", "thing: 'thing[a=-1]': a: -1; expected an integer >= 0"),
        ("no.such.module:X", "'no.such.module:X' does not import: ModuleNotFoundError"),
        (
            "collections:Nope",
            "thing: 'collections:Nope': collections: unknown 'Nope'; expected one of",
        ),
        ("math:pi", "expected a class"),
    ],
)
def test_refusals_name_what_was_expected(things: Registry[Thing], text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        things.build(text)
    assert message in str(error.value)


def needs_f(values: object, f: int) -> object:
    """Return its input, if it is told f."""
    return values


def needs_nothing() -> int:
    """Return 1."""
    return 1


def may_have_more(values: object, f: int = 0, *, present: object) -> object:
    """Return its input."""
    return values


def test_functions_are_called_with_the_vectors_alone(things: Registry[Thing]) -> None:
    """What can't be is refused when it is named, not in every cell."""
    here = "tests.test_registry"
    assert things.function(f"{here}:may_have_more") is may_have_more
    with pytest.raises(InputError) as error:
        things.function(f"{here}:needs_f")
    assert str(error.value) == (
        f"thing: '{here}:needs_f': called as needs_f(vectors): missing a required argument: 'f'; "
        "what else it needs, such as f, a class takes in its __init__"
    )
    with pytest.raises(InputError, match=r"needs_nothing\(vectors\): too many positional arg"):
        things.function(f"{here}:needs_nothing")


def test_module_and_class(things: Registry[Thing]) -> None:
    made = things.build("tests.test_registry:Thing[a=5]", secret=3)
    assert (made.a, made.secret) == (5, 3)
    assert things.origin("tests.test_registry:Thing") == "tests.test_registry:Thing"
    assert things.origin("thing") == "hgobench"


def test_plugins_are_found_by_name(
    things: Registry[Thing], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Point("other", "other-package", Thing))
    assert things.build("other[a=3]").a == 3
    assert things.origin("other") == "other-package"
    assert things.names() == ["thing", "other"]


def test_two_plugins_with_one_name_are_refused(
    things: Registry[Thing], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Point("other", "one", Thing), Point("other", "two", Thing))
    with pytest.raises(InputError, match="'other' is registered by one and by two"):
        things.build("other")


def test_a_broken_plugin_says_so_and_leaves_the_rest(
    things: Registry[Thing], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Point("bad", "one", ImportError("no x")), Point("good", "two", Thing))
    with pytest.raises(InputError, match="'bad' of one does not load: ImportError: no x"):
        things.build("bad")
    assert things.build("good").a == 1


def test_a_folder_comes_right_after_the_standard_library() -> None:
    library = sysconfig.get_path("stdlib")
    for folder in ("/somewhere", sys.path[-1]):
        path = path_with(folder)
        at = path.index(folder)
        assert all(p.startswith(library) and "-packages" not in p for p in path[:at])
        assert not any(p.startswith(library) and "-packages" not in p for p in path[at:])
        assert set(path) == {*sys.path, folder}
        assert path.count(folder) == 1


def test_the_working_folder_s_module_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another of the same name elsewhere is not imported, nor are its helpers."""
    here, other = tmp_path / "here", tmp_path / "other"
    for folder in (here, other):
        (folder / "their_package").mkdir(parents=True)
    rule = "class Rule:\n    def __call__(self, values):\n        return values[0]\n"
    (here / "their_module.py").write_text(f"import their_helper\n{rule}")
    (here / "their_helper.py").write_text("")
    (here / "their_package" / "__init__.py").write_text("")
    (here / "their_package" / "rules.py").write_text(rule)
    for name in ("their_module.py", "their_helper.py", "their_package/__init__.py"):
        (other / name).write_text("raise ImportError('of another folder')\n")
    monkeypatch.syspath_prepend(str(other))
    name = "nnm+their_package.rules:Rule"
    with chdir(here), working_folder_first():
        aggregators.build("their_module:Rule", f=1)
        aggregators.build(name, f=1)
        assert aggregators.registry.sources("their_module:Rule") == ["their_module.py"]
        assert aggregators.registry.sources(name) == [str(Path("their_package/rules.py"))]
        assert aggregators.registry.sources("nnm+median") == []
    assert aggregators.registry.sources(name) == [str(here / "their_package/rules.py")]


def test_a_file_that_would_be_imported_in_place_of_what_is_needed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("")
    assert modules_of(tmp_path) == path_with(tmp_path)  # it is imported already
    monkeypatch.delitem(sys.modules, "numpy")
    before = list(sys.path)
    with pytest.raises(InputError) as caught, chdir(tmp_path), working_folder_first():
        pass
    assert caught.value.problems == [
        "working folder: numpy.py would be imported in place of the package that hgobench needs; "
        "rename it, or call hgobench from another folder"
    ]
    assert sys.path == before


def test_all_that_is_needed_is_known() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[>=<\[]", entry)[0] for entry in project["dependencies"]}
    modules = {"scikit-learn": "sklearn", "pillow": "PIL"}
    assert {modules.get(name, name) for name in names} == set(NEEDED)


def test_real_entry_points_have_the_group_that_the_readers_are_told() -> None:
    point = EntryPoint("krum2", "tests.test_registry:Thing", "hgobench.rules")
    assert point.load() is Thing


def test_values_and_lists() -> None:
    assert parse_value("1e-3") == 0.001
    assert parse_value("True") is True
    assert split_list("a,b[c=1,d=2],") == ["a", "b[c=1,d=2]"]


ENDLESS = [
    (kind, name, parameter)
    for kind in (*catalogue.FIELDS, "pre_rule", "heterogeneity_attack", "condition", "metric")
    for name, entry in catalogue.registry(kind).builtins.items()
    for parameter, about in entry.signature.items()
    if parameter not in catalogue.registry(kind).context
    and str(about.annotation) in ("int", "int | None")
]


def test_every_whole_number_of_a_component_has_a_most() -> None:
    """A number beyond reason would compute, or wait, for ever, or take all memory."""
    assert len(ENDLESS) > 50
    context: dict[str, dict[str, Any]] = {
        "rule": {"f": 0, "scope": "block"}, "pre_rule": {"f": 0},
        "model": {"features": 4, "classes": 2, "image": None, "vocabulary": None},
    }  # fmt: skip
    for kind, name, parameter in ENDLESS:
        registry = catalogue.registry(kind)
        needed = [
            f"{one}=x" for one, about in registry.entry(name).signature.items()
            if about.default is about.empty and one not in registry.context
        ]  # fmt: skip
        specification = f"{name}[{','.join([*needed, f'{parameter}={10**12}'])}]"
        expected = rf"{parameter}: {10**12}; expected at most \d+$"
        with pytest.raises(InputError, match=expected):
            registry.build(specification, **context.get(kind, {}))


@pytest.mark.parametrize(
    "specification",
    [
        "fedavg[steps={}]", "fedprox[steps={}]", "fednova[steps={}]", "hgo[steps={}]",
        "fedbuff[steps={}]", "fedbuff[buffer={}]", "basgd[buffers={}]",
    ],
)  # fmt: skip
def test_what_a_round_repeats_has_one_most(specification: str) -> None:
    build = catalogue.registry("algorithm").build
    build(specification.format(REPEATED))
    with pytest.raises(InputError, match=f"{REPEATED + 1}; expected at most {REPEATED}"):
        build(specification.format(REPEATED + 1))
