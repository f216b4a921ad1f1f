"""What the documentation shows works."""

from __future__ import annotations

import csv
import doctest
import importlib
import importlib.util
import inspect
import json
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

import hgobench
from hgobench import aggregators, attacks, audits, catalogue, suite
from hgobench.cli import app
from hgobench.cli.list import Kind
from hgobench.data import partitions
from hgobench.errors import InputError
from hgobench.evaluation.members import ENSEMBLES
from hgobench.evaluation.plan import Plan
from hgobench.paper import CITATION, figures
from hgobench.registry import home
from hgobench.report import listing, worlds
from hgobench.report.render import markdown
from hgobench.scenario import check_field
from hgobench.settings import parse_names, parse_setting
from hgobench.testing import KINDS
from tests.conftest import ROOT
from tests.test_cli import hgobench as hgobench_here

README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "your-project.md").read_text(encoding="utf-8")
MODULES = [
    module.name
    for module in pkgutil.walk_packages(hgobench.__path__, "hgobench.")
    if not module.name.startswith(("hgobench.__main__", "hgobench.suites"))
]
RULES = list(aggregators.registry.builtins)
PRE_RULES = list(aggregators.pre_rules.builtins)
ATTACKS = list(attacks.registry.builtins)
HETEROGENEITY = list(attacks.heterogeneity_attacks.builtins)


@pytest.mark.parametrize("name", ["hgobench", *MODULES])
def test_examples_in_docstrings(name: str) -> None:
    if name in tuple(
        f"hgobench.flower.{name}"
        for name in ("client_app", "grid", "hgo", "light", "server_app", "strategy")
    ):
        pytest.importorskip("flwr", reason="needs hgobench[flower]")
    assert doctest.testmod(importlib.import_module(name)).failed == 0


# Every public class and function of these modules has an example that runs, and so has every
# component that they register.
WITH_EXAMPLES = (
    "algorithms", "algorithms.momentum", "algorithms.solvers", "algorithms.workloads", "audits",
    "data.augmentations", "data.base", "data.partitions", "engines", "hardware", "models", "registry", "report.page",
    "results", "session", "theory",
)  # fmt: skip
REGISTERED = (
    "algorithm", "augment", "condition", "data", "hardware", "model", "partition", "solver", "workload",
)  # fmt: skip
WITHOUT_EXAMPLE = {
    "algorithms.momentum.WithMomentum": "abstract: Hgo and Sgd have examples",
    "algorithms.solvers.Optimizer": "abstract: its subclasses have examples",
    "data.base.Published": "abstract: its subclasses have examples",
    "data.base.splitting": "a context that words an error",
    "engines.base.EngineError": "an exception",
    "results.store.StoreError": "an exception",
    "session.Incomplete": "an exception",
    "session.Interrupted": "an exception",
    "session.SuiteOutcome": "the example of run_suite shows one",
    "session.check": "raises for an outcome that run_suite returns",
    "session.default_jobs": "depends on this machine",
}


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}".removeprefix("hgobench.")


def _public(module: Any) -> Iterator[Any]:
    """Yield the classes and functions that a module exports, or, if it says nothing, defines."""
    exported = getattr(module, "__all__", None)
    for name in exported or [name for name in vars(module) if not name.startswith("_")]:
        thing = getattr(module, name)
        named = inspect.isclass(thing) or inspect.isfunction(thing)
        if named and (exported or thing.__module__ == module.__name__):
            yield thing


def _has_example(thing: Any) -> bool:
    """Whether its own docstring has an example that is not skipped."""
    examples = doctest.DocTestParser().get_examples(thing.__doc__ or "")
    return any(doctest.SKIP not in example.options for example in examples)


def test_public_names_have_examples() -> None:
    things = {
        _name(thing): thing
        for room in WITH_EXAMPLES
        for thing in _public(importlib.import_module(f"hgobench.{room}"))
    }
    for field in REGISTERED:
        for entry in catalogue.registry(field).builtins.values():
            thing = getattr(entry.factory, "func", entry.factory)
            if thing.__module__.startswith("hgobench."):  # benchmarks name some of their own
                things[_name(thing)] = thing
    without = {name for name, thing in things.items() if not _has_example(thing)}
    assert without - WITHOUT_EXAMPLE.keys() == set(), "write an example, or say why there is none"
    assert WITHOUT_EXAMPLE.keys() - without == set(), "it has an example, or is not public"


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run the command in a folder of its own, whose modules nobody else has."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return hgobench_here(*arguments, cwd=tmp_path)

    yield run
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.long
def test_the_readme_s_own_rule_obeys_the_laws_and_gets_on_a_board(
    tmp_path: Path, run_here: Run
) -> None:
    (source,) = re.findall(r"cat > mine.py <<'EOF'\n(.*?)EOF\n", README, re.DOTALL)
    (tmp_path / "mine.py").write_text(source)
    laws = run_here("test", "mine:MyRule")
    assert laws.returncode == 0, laws.stdout + laws.stderr
    done = run_here("run", "smoke", "--rule", "mine:MyRule", "--set", "rounds=2", "--quiet")
    assert done.returncode == 0, done.stderr
    assert re.search(r"hgo mine:MyRule staircase v=\d+ \*", done.stdout)


@pytest.mark.long
def test_the_guide_to_a_new_rule(tmp_path: Path, run_here: Run) -> None:
    """Its rule has under 20 lines, obeys the laws, is found out without its guard, and ranks."""
    guide = (ROOT / "docs" / "add-a-rule.md").read_text(encoding="utf-8")
    source = re.findall(r"```python\n(# mine.py\n.*?)```", guide, re.DOTALL)[0]
    assert len(source.splitlines()) < 20
    (tmp_path / "mine.py").write_text(source)
    laws = run_here("test", "mine:NearMedian")
    assert laws.returncode == 0, laws.stdout
    assert laws.stdout.count("  pass ") >= len(KINDS["rule"].laws)
    assert "  fail" not in laws.stdout

    broken = source.replace("Columns.sort(rows).median()", "rows.double().mean(dim=0)")
    assert broken != source
    (tmp_path / "broken.py").write_text(broken)
    found = run_here("test", "broken:NearMedian")
    assert found.returncode == 1
    (shown,) = re.findall(r"```\n(  fail .*?)```", guide, re.DOTALL)
    assert shown in found.stdout

    (memory,) = re.findall(
        r"```python\n(from hgobench.aggregators import Memory.*?)```", guide, re.DOTALL
    )
    (tmp_path / "memory.py").write_text(memory)
    remembering = run_here("test", "memory:LongMemory")
    assert "  pass            rounds_may_differ" in remembering.stdout

    (command,) = re.findall(r"^hgobench (run smoke --rule .*)$", guide, re.MULTILINE)
    arguments = command.replace("'", "").split()
    done = run_here(*arguments, "--set", "rounds=2", "--quiet")
    assert done.returncode == 0, done.stderr
    for row in ("mine:NearMedian *", "mine:NearMedian[p=1.0] *", "nnm+mine:NearMedian *"):
        assert re.search(rf"hgo {re.escape(row[:-2])}( \w+)?( v=\d+)? \*", done.stdout)


@pytest.mark.long
def test_the_guide_to_a_new_model(tmp_path: Path, run_here: Run) -> None:
    """Its module has under 25 lines, obeys the laws, and is on a board, with its own loss too."""
    guide = (ROOT / "docs" / "add-a-model.md").read_text(encoding="utf-8")
    source = re.findall(r"```python\n(# mine.py\n.*?)```", guide, re.DOTALL)[0]
    assert len(source.splitlines()) < 25
    (tmp_path / "mine.py").write_text(source)
    laws = run_here("test", "mine:Net")
    assert laws.returncode == 0, laws.stdout + laws.stderr
    assert laws.stdout.startswith("model mine:Net (mine.py)")
    assert "  fail" not in laws.stdout
    (command,) = re.findall(r"^hgobench (run smoke --set .*)$", guide, re.MULTILINE)
    arguments = command.replace("'", "").replace("rounds=20", "rounds=2").split()
    done = run_here(*arguments, "--set", "seed=0", "--set", "attack=foe", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "model mine:Net[width=4,loss=mine:smoothed]" in done.stdout
    shown = run_here("show", "scenario", "model=mine:Net", "data=digits")
    assert "loop (Conv2d is faster worker by worker)" in shown.stdout


@pytest.mark.long
def test_the_guide_to_a_new_attack(tmp_path: Path, run_here: Run) -> None:
    """Its attacks obey the laws, are found out if they peek, and get on a board."""
    guide = (ROOT / "docs" / "add-an-attack.md").read_text(encoding="utf-8")
    source = re.findall(r"```python\n(# mine.py\n.*?)```", guide, re.DOTALL)[0]
    assert len(source.splitlines()) < 20
    (half,) = re.findall(
        r"```python\n(from hgobench.attacks import Heterogeneity.*?)```", guide, re.DOTALL
    )
    (tmp_path / "mine.py").write_text(source + half)
    for name in ("mine:Overshoot", "mine:Half", "mine:Half+foe"):
        laws = run_here("test", name)
        assert (laws.returncode, laws.stdout.count("  pass ")) == (0, 5), laws.stdout + laws.stderr

    (tmp_path / "peeking.py").write_text(source.replace('sees = "honest"', 'sees = "own"'))
    found = run_here("test", "peeking:Overshoot")
    assert found.returncode == 1
    (shown,) = re.findall(r"```\n(  fail .*?)```", guide, re.DOTALL)
    assert shown in found.stdout

    (poison,) = re.findall(r"(    def poison\(.*?)```", guide, re.DOTALL)
    (lengths,) = re.findall(r"(    def lengths\(self, view\):.*?)```", guide, re.DOTALL)
    more = f"{source}\n    poisons = True\n\n{lengths}\n{poison}"
    (tmp_path / "poisoning.py").write_text(more)
    (command,) = re.findall(r"^hgobench (run smoke --set .*)$", guide, re.MULTILINE)
    command = command.replace("'", "") + ",poisoning:Overshoot,mine:Half+mine:Overshoot"
    done = run_here(*command.split(), "--set", "rounds=2", "--quiet")
    assert done.returncode == 0, done.stderr
    for column in ("mine:Overshoot[c=5.0]", "starve+mine:Overshoot", "poisoning:Overshoot"):
        assert column in done.stdout


@pytest.mark.long
def test_the_guide_to_data(tmp_path: Path, run_here: Run) -> None:
    """Its function has under 25 lines, obeys the laws as shown, and gets on a board."""
    guide = (ROOT / "docs" / "add-data.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```python\n(# mine.py\n.*?)```", guide, re.DOTALL)
    assert len(source.splitlines()) < 25
    (tmp_path / "mine.py").write_text(source)
    (command,) = re.findall(r"^hgobench (test .*)$", guide, re.MULTILINE)
    laws = run_here(*command.replace("'", "").split())
    (shown,) = re.findall(r"```\n(data mine.*?)```", guide, re.DOTALL)
    assert laws.returncode == 0, laws.stdout
    assert laws.stdout.startswith(shown)
    assert laws.stdout.count("  pass ") == len(KINDS["data"].laws)
    (command,) = re.findall(r"^hgobench (run .*)$", guide, re.MULTILINE)
    done = run_here(*command.split(), "--set", "rounds=2", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "with data=mine:make partition=natural" in done.stdout


GUIDES = {
    "add-a-partition": ["partition mine:Regions[noise=0.5]"],
    "add-an-augmentation": ["augmentation mine:Rotated"],
    "add-devices": ["hardware mine:TwoRacks", "condition mine:Nights"],
    "add-a-workload": ["workload mine:AtLeast[least=8]"],
    "add-an-algorithm": ["algorithm mine:FedAvg"],
    "add-a-solver": ["solver mine:Signum[beta=0.5]"],
}


@pytest.mark.long
@pytest.mark.parametrize("page", GUIDES)
def test_a_guide_to_a_new_component(page: str, tmp_path: Path, run_here: Run) -> None:
    """From an empty folder: under 25 lines, obeys the laws as shown, gets on a board."""
    guide = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    first, *others = re.findall(r"```python\n((?! ).*?)```", guide, re.DOTALL)
    assert first.startswith("# mine.py\n")
    assert all(len(source.splitlines()) < 25 for source in (first, *others))
    (tmp_path / "mine.py").write_text("\n\n".join((first, *others)))

    tests = [shlex.split(c) for c in re.findall(r"^hgobench (test .*)$", guide, re.MULTILINE)]
    for command, seen in zip(tests, GUIDES[page], strict=True):
        laws = run_here(*command)
        assert laws.stdout.startswith(f"{seen} (mine.py)\n"), laws.stdout + laws.stderr
        assert laws.returncode == 0, laws.stdout
    for shown in re.findall(r"```\n(  fail .*?)```", guide, re.DOTALL):
        assert shown in run_here("test", "tests.broken:Counting").stdout
    for shown in re.findall(r"^hgobench (show .*)$", guide, re.MULTILINE):
        assert run_here(*shlex.split(shown)).returncode == 0
    runs = [shlex.split(c) for c in re.findall(r"^hgobench (run .*)$", guide, re.MULTILINE)]
    assert runs
    for number, command in enumerate(runs):
        few = "--set", "rounds=2", "--set", "seed=0", "--set", "attack=foe", "--rule", "median"
        done = run_here(*command, *few, "--quiet", "--format", "json", "--out", f"out-{number}")
        assert done.returncode == 0, done.stderr
        setting = parse_setting(command[command.index("--set") + 1])
        boards = json.loads(done.stdout)["boards"]
        text = json.dumps(boards, ensure_ascii=False)
        for value in setting.values:
            assert catalogue.registry(setting.field).bare(str(value)) in text
        assert not any(row["ended"] for board in boards for row in board["rows"]), text


def test_every_kind_has_a_page() -> None:
    text = (ROOT / "docs" / "components.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (.*?) \| `([\w.]+)` \| .*?\| `hgobench\.(\w+)` \| \[.*?\]\((.*?)\) \|$", text, re.M
    )
    kinds = {home(kind.base): kind for kind in KINDS.values()}
    assert {base for _, base, _, _ in rows} == set(kinds)
    navigation = (ROOT / "docs" / "index.rst").read_text(encoding="utf-8")
    for field, base, group, target in rows:
        kind, page = kinds[base], target.partition(".md")[0]
        assert group == kind.registry.plural
        before = kind.registry.behind
        behind = {"rule": "a rule", "attack": "an attack"}
        expected = (
            f"before {behind.get(before.field, before.field)}" if before else f"`{kind.name}`"
        )
        assert field == expected
        assert f"\n   {page}\n" in navigation
        guide = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        assert f'[project.entry-points."hgobench.{group}"]' in guide, page
        assert "hgobench test " in guide, page


@pytest.mark.long
def test_the_guide_to_metrics(tmp_path: Path, run_here: Run) -> None:
    """Its metric has under 25 lines, and its column is on the board; so are the others it names."""
    guide = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    assert len(source.splitlines()) < 25
    (tmp_path / "mine.py").write_text(source)
    large = guide[guide.index("## What it shows") : guide.index("## A metric of your own")]
    shown = re.findall(r"^hgobench (.*?)(?: +#.*)?$", guide.replace(large, ""), re.MULTILINE)
    few = "--set", "rounds=2", "--set", "rule=average", "--set", "seed=0"
    for command in shown:
        more = (*few, "--quiet") if command.startswith("run") else ()
        done = run_here(*command.replace("'", "").split(), *more)
        assert done.returncode == 0, done.stderr
    done = run_here(*shown[-1].split(), "--format", "json")
    for board in json.loads(done.stdout)["boards"]:
        for row in board["rows"]:
            assert 0 < row["columns"]["measures.noisy_accuracy"] < 1


@pytest.mark.long
def test_the_guide_to_a_project_of_one_s_own(tmp_path: Path) -> None:
    """All that it shows is tried, in its order, from an empty folder; then what it promises."""
    guide = (ROOT / "docs" / "your-project.md").read_text(encoding="utf-8")
    folder, site = tmp_path / "mine", tmp_path / "site"
    folder.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }

    def bash(command: str) -> subprocess.CompletedProcess[str]:
        # An editable installation would change this environment, and fetch hatchling.
        aside = f"pip install --quiet --no-build-isolation --no-deps --upgrade --target {site} ."
        command = command.replace("pip install -e .", aside)
        return subprocess.run(
            command, shell=True, executable="/bin/bash", cwd=folder, env=environment, text=True,
            capture_output=True, timeout=300, check=False,
        )  # fmt: skip

    said: dict[str, str] = {}
    for kind, block in re.findall(r"^```(\w+)\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL):
        if kind != "bash":
            name = block.splitlines()[0].removeprefix("# ")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(block, encoding="utf-8")
            continue
        for command in block.splitlines():
            if command.startswith("hgobench bench gate"):
                continue  # of commits, which tests/test_commits.py makes and measures
            # No test asserts a time; one process is enough.
            tried = command.replace("--allow 1.5", "--allow 1000")
            done = bash(tried.replace("run ci.toml", "run ci.toml --jobs 1"))
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            said[command] = done.stdout + done.stderr
    assert "near_median" in said["hgobench list rules"]
    assert "left out 6 cells: SGD is here" in said["hgobench run ci.toml"]
    assert "reference/ci.json" in said["hgobench run ci.toml --update-reference"]
    assert "19 passed" in said["pytest --suite ci.toml"]
    assert "test_cell[hgo-near_median-foe-0-cohort" in guide
    for command in re.findall(r"- run: (.*)", guide):
        assert command in said, "CI runs what the page shows"

    source = (folder / "mine.py").read_text()
    (folder / "mine.py").write_text(source.replace("self.f]].mean(dim=0)", "self.f]].mean(0) * -1"))
    weaker = bash("pip install -e . && pytest --suite ci.toml -k 'near_median-none'")
    assert weaker.returncode == 1
    assert "a robustness regression" in weaker.stdout
    saved = json.loads((folder / "main.json").read_text())
    saved["ratios"]["80x7850"] /= 1000
    (folder / "main.json").write_text(json.dumps(saved))
    slower = bash("hgobench bench rule near_median --shape 80x7850 --against main.json")
    assert slower.returncode == 1
    assert "slower: near_median at 80x7850" in slower.stderr


def test_every_key_of_a_suite_is_explained() -> None:
    guide = (ROOT / "docs" / "your-project.md").read_text(encoding="utf-8")
    (content,) = re.findall(r"```toml\n# ci.toml\n(.*?)```", guide, re.DOTALL)
    keys = tomllib.loads(content)
    (evaluated,) = re.findall(r"```toml\n# worst.toml\n(.*?)```", guide, re.DOTALL)
    evaluation = tomllib.loads(evaluated)["evaluation"]
    assert {*keys, "evaluation"} == set(suite._TABLES)
    assert set(evaluation) == {entry.name for entry in fields(Plan)}
    assert all(f"| `{key}` |" in guide for key in evaluation)
    assert set(keys["contract"]) == {"tolerance", "breaks"}
    table = guide[guide.index("| key | meaning") :]
    for key in (*keys, *keys["contract"]):
        assert key in table[: table.index("\n\n")], key
    groups = guide[guide.index("The groups are") : guide.index("behind `hgobench.`")]
    for kind in Kind:
        if kind not in (
            Kind.SUITES,
            Kind.THREAT_MODELS,
            Kind.ENSEMBLES,
        ):  # these have no entry points
            assert f"{kind.value}`" in groups, kind.value


TABLES = {
    "rules.md": ("rules", "pre_rules"),
    "attacks.md": ("attacks", "heterogeneity_attacks"),
    "worlds.md": ("partitions", "augmentations", "hardware", "conditions", "workloads"),
}


def test_tables_in_the_documentation_are_up_to_date() -> None:
    for name, kinds in TABLES.items():
        page = (ROOT / "docs" / name).read_text(encoding="utf-8")
        for kind in kinds:
            table = markdown(listing.page(kind, full=True), title=False)
            assert table in page, f"hgobench list {kind} --format markdown"
    page = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
    assert markdown(listing.threat_models(), title=False) in page
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert markdown(listing.ensembles(), title=False) in page
    specification = importlib.util.spec_from_file_location(
        "conformance", ROOT / "suites" / "test_conformance.py"
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["conformance"] = module  # for its dataclasses
    specification.loader.exec_module(module)
    page = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert page == module.markdown(), "python suites/test_conformance.py > docs/conformance.md"


@pytest.mark.parametrize("name", [*RULES, *PRE_RULES])
def test_every_rule_says_what_it_is(name: str) -> None:
    registry = aggregators.registry if name in RULES else aggregators.pre_rules
    made: Any = registry.builtins[name].factory
    for attribute in ("paper", "formula", "validity", "breakdown", "cost", "ragged"):
        assert getattr(made, attribute), attribute
    text = made.__doc__ or ""
    parts = ["Validity:", "On ragged input:"]
    parts += ["Source:"] if made.paper != "baseline" else []
    parts += ["Args:"] if set(registry.entry(name).signature) - {"f", "scope"} else []
    for part in parts:
        assert part in text, part


DEPARTURES = {
    "multi_krum": "n - f - 2", "cge": "the paper sums", "foolsgold": "κ", "zeno": "fresh minibatch",
    "mimic": "argmax_i ⟨x_i, z⟩", "random_noise": "200", "foe": "has no default",
    "min_max": '"unit" by default', "min_sum": '"unit" by default',
    "agr_tailored": '"unit" by default', "sign_guard_aware": "does not scale",
}  # fmt: skip


@pytest.mark.parametrize("name", DEPARTURES)
def test_what_departs_from_its_source_says_so(name: str) -> None:
    registry: Any = aggregators.registry if name in RULES else attacks.registry
    text = registry.builtins[name].factory.__doc__ or ""
    said = text.partition("Departs from its source:")[2].partition("Source:")[0]
    assert DEPARTURES[name] in said


def test_sources_are_those_of_what_is_computed() -> None:
    assert "Yurochkin" in partitions.Dirichlet.paper
    assert "Hsu" not in (partitions.Dirichlet.__doc__ or "")
    assert "Hsu, Qi, Brown" in (partitions.LabelDirichlet.__doc__ or "")
    for made in (aggregators.SignGuard, attacks.registry.builtins["sign_guard_aware"].factory):
        assert "Xu, Huang, Song, Lan" in (made.__doc__ or "")


@pytest.mark.parametrize("name", [*ATTACKS, *HETEROGENEITY])
def test_every_attack_says_what_it_is(name: str) -> None:
    registry = attacks.registry if name in ATTACKS else attacks.heterogeneity_attacks
    made: Any = registry.builtins[name].factory
    for attribute in ("paper", "formula", "control", "validity", "sees"):
        assert getattr(made, attribute), attribute
    text = made.__doc__ or ""
    parts = ["What the attacker needs:"]
    parts += [] if made.paper in ("baseline", "folklore", "hgobench") else ["Source:"]
    parts += ["Args:"] if registry.entry(name).signature else []
    for part in parts:
        assert part in text, part


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def _python(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def test_the_python_of_experiments_and_audits_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, suite = _python(_page("experiments.md"))
    (second,) = _python(_page("audits.md"))
    names: dict[str, Any] = {}
    with chdir(tmp_path):
        exec(suite.replace('"f": 4}', '"f": 4, "rounds": 2, "seed": 0}, jobs=1'), names)
    assert "ruleset smoke-2 with byzantine=4 rounds=2" in capsys.readouterr().out
    exec(first.replace("f=10)", "f=10, rounds=3)"), names)
    assert names["result"].summary["status"] == "done"
    exec(second, names)
    assert len(names["problem"].curvature.smoothness) == 65


def test_the_scopes_of_the_example_answer_what_the_page_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = _page("ragged.md")
    (source,) = _python(page)
    exec(source, {})
    assert f"```\n{capsys.readouterr().out}```" in page


def test_the_readme_says_of_a_board_what_was_found() -> None:
    """Its picture, and what is said of it, are those of the board of docs/findings.md."""
    again = "docs/plots.md says how to draw board-1.svg; then see what README.md says of it"
    found = json.loads((ROOT / "docs" / "data" / "board-1.json").read_text(encoding="utf-8"))
    rows = sorted(found["evaluated"]["dirichlet"], key=lambda row: row["worst"], reverse=True)
    with (ROOT / "docs" / "plots" / "board-1.csv").open(encoding="utf-8") as file:
        drawn = list(csv.DictReader(file))
    assert [float(row["worst"]) for row in drawn] == pytest.approx(
        [row["worst"] for row in rows], abs=1e-4
    ), again
    first, last = rows[0], rows[-1]
    assert (first["algorithm"], last["rule"], last["by"]) == ("hgo", "average", {"attack": "nan"})
    assert first["rule"].startswith("centered_clipping"), again
    assert "learning rate at an end" in first["flags"], again
    (same,) = [
        row for row in rows if row["rule"].partition("[")[0] == "centered_clipping"
        and row["algorithm"] == "sgd"
    ]  # fmt: skip
    dnc = next(row for row in rows if row["rule"] == "dnc" and row["algorithm"] == "hgo")
    text = " ".join(README.split())
    members = len(ENSEMBLES["auto-1"])
    for said in (
        f"keeps {first['worst']:.2f} under the worst of {members} attacks ({first['clean']:.2f} without",
        f"the same rule keeps {same['worst']:.2f}",
        f"at chance, {dnc['worst']:.2f}, when attackers flip bits, though it keeps {dnc['fixed']:.2f}",
        f"{len(set(RULES))} aggregation rules",
        f"{len(ATTACKS) - 1 + len(HETEROGENEITY)} attacks",
    ):
        assert said in text, again
    assert len([row for row in drawn if row["first"] == "1"]) == 3, again


PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
OWN = re.compile(r"[\w.]+:\w+|near_median")  # what a reader has written
PLACEHOLDER = re.compile(r"\.\.$|=\.\.|^[A-Z_]+$")


def _commands(page: str) -> Iterator[tuple[str, list[str], bool]]:
    """Yield commands of hgobench and pytest that a page shows: as written, split, and if whole.

    Those in running text may lack arguments, or have placeholders.
    """
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|sh|yaml)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shown = [(line, True) for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    shown += [(inline, False) for inline in re.findall(r"`(hgobench [^`]+|pytest [^`]+)`", text)]
    for line, whole in shown:
        lexer = shlex.shlex(line.removeprefix("      - run: "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if not set(word) <= set(";|&()<>"):
                words.append(word)
                continue
            while words and re.match(r"\w+=", words[0]):  # the environment
                words = words[1:]
            name = words[0].rpartition("/")[2] if words else ""
            if name in ("hgobench", "pytest"):
                yield line, [name, *words[1:]], whole
            words = [] if word != ">" else ["to a file"]


def _asked(words: list[str]) -> Any:
    """Return the context of a command; None if it is of the whole command. Wrong ones raise."""
    group = typer.main.get_command(app)
    context = group.make_context("hgobench", ["list", "rules"])
    while isinstance(group, typer.core.TyperGroup) and words and not words[0].startswith("-"):
        name, found, words = group.resolve_command(context, list(words))
        assert found is not None
        if not isinstance(found, typer.core.TyperGroup):
            return found.make_context(name, words, parent=context)
        group = found
    return None


def _names_what_exists(verb: str, asked: Any, toml: set[str]) -> None:
    """Raise InputError unless what a command names exists; what a reader writes does."""
    told = asked.params
    texts = [*(told.get("set_") or ())]
    if verb == "show" and told["what"] == "scenario":
        texts += told["which"]
    for setting in map(parse_setting, texts):
        for value in setting.values:
            if not OWN.search(str(value)) and "path=" not in str(value):
                check_field(setting.field, value)
    for field in ("rule", "attack"):
        for name in parse_names(told.get(field) or (), f"{field}s"):
            if not OWN.search(name) and verb != "bench":
                check_field(field, name)
    if verb in ("run", "power") and told["suite"] not in toml:
        suite.Suite.load(told["suite"] if "/" not in told["suite"] else str(ROOT / told["suite"]))
    if verb == "show" and told["what"] == "partition" and not OWN.search(told["which"][0]):
        check_field("partition", told["which"][0])
    if verb == "reproduce" and [*told["names"]] not in (["list"], ["all"]):
        for name in told["names"]:
            figures.load(name)
    if verb == "audit" and told["names"][0] not in ("list", "rule"):
        audits.chosen(told["names"])


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES)
def test_commands_that_a_page_shows_can_be_given(page: str) -> None:
    """Verbs, options, suites, settings and names are those that there are; nothing is run."""
    text = (ROOT / page).read_text(encoding="utf-8")
    toml = set(re.findall(r"^# (\S+\.toml)$", text, re.MULTILINE))
    toml |= set(re.findall(r"^# (\S+\.toml)$", GUIDE, re.MULTILINE))
    wrong = []
    for line, (name, *words), whole in _commands(page):
        whole = whole and not any(map(PLACEHOLDER.search, words))
        try:
            if name == "pytest":
                for option, value in pairwise(words):
                    if option == "--suite" and value not in toml:
                        suite.Suite.load(value)
                continue
            asked = _asked(words)
            if asked is not None and whole:
                _names_what_exists(words[0], asked, toml)
        except Exception as error:
            if type(error).__name__ == "MissingParameter" and not whole:
                continue
            wrong.append(f"{line.strip()}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


def test_a_command_that_can_t_be_given_is_found_out() -> None:
    for words, what in (
        (["run", "quick", "--nope"], "No such option"),
        (["nope"], "No such command"),
        (["list", "nope"], "nope"),
        (["run", "quick", "--by", "nope"], "nope"),
    ):
        with pytest.raises(Exception, match=what):
            _asked(words)
    for words in (
        ["run", "nope"],
        ["run", "quick", "--set", "attack=nope"],
        ["run", "quick", "--rule", "median,nope"],
        ["show", "partition", "nope"],
        ["audit", "nope"],
        ["reproduce", "nope"],
    ):
        with pytest.raises(InputError, match="nope"):
            _names_what_exists(words[0], _asked(words), set())
    assert any(words[1:3] == ["run", "quick"] for _, words, _ in _commands("README.md"))


def test_how_often_optimal_attacks_call_the_rule_is_what_they_say() -> None:
    page = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
    for name in ("optimal_alie", "optimal_foe"):
        assert f"`rule_calls` says {attacks.build(name).rule_calls(1)}, the most" in page


def test_what_is_written_where_people_try_things_is_no_part_of_the_clone() -> None:
    pages = README, *map(_page, ("experiments.md", "your-fleet.md", "performance.md"))
    text = "".join(pages)
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    written = {
        name
        for block in blocks
        for name in re.findall(r"(?:(?<!\S)> ?|--out |--save )([\w.]+)", block)
    }
    assert {"mine.py", "mine.csv", "board.html", "results", "main.json"} <= written
    (shown,) = re.findall(r"show partition '(.*?)'", text)
    slug = worlds.deal(shown, "digits", 20, 0).slug
    written |= {"hgobench-results/quick", f"{slug}.png", f"{slug}.svg"}
    ignored = subprocess.run(
        ["git", "check-ignore", *written, *(f"{name}/x" for name in ("results", "site"))],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ignored.returncode == 128:
        pytest.skip("this is no clone")
    assert written - {name.strip('"') for name in ignored.stdout.splitlines()} <= {
        "results",
        "site",
    }
    assert "results/x" in ignored.stdout
    assert "site/x" in ignored.stdout


def test_files_that_the_readme_points_to_exist() -> None:
    for target in re.findall(r"\]\(((?!https?:)[^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_house_is_as_it_is_drawn() -> None:
    drawn = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for path in [*(ROOT / "hgobench").glob("*"), *(ROOT / "hgobench").glob("*/*.py")]:
        if path.parent.name in ("attacks", "aggregators", "augmentations", "partitions", "suites"):
            continue
        if path.name not in ("__init__.py", "__main__.py", "py.typed", "__pycache__"):
            assert path.name in drawn or f"{path.name}/" in drawn, path.name


@pytest.mark.long
def test_the_guide_to_a_new_algorithm(tmp_path: Path, run_here: Run) -> None:
    """Its algorithm has under 25 lines and gets on a board; one step of it is SGD."""
    guide = (ROOT / "docs" / "add-an-algorithm.md").read_text(encoding="utf-8")
    source, *others = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    assert len(source.splitlines()) < 25
    (tmp_path / "mine.py").write_text("".join([source, *others]))
    tried = run_here("test", "mine:Halves")
    assert tried.returncode == 0, tried.stdout
    command, events = re.findall(r"^hgobench (run smoke --set .*)$", guide, re.MULTILINE)
    few = "--set", "rounds=2", "--set", "rule=average", "--set", "seed=0"
    done = run_here(*command.replace("'", "").split(), *few, "--quiet", "--format", "json")
    assert done.returncode == 0, done.stderr
    (board,) = json.loads(done.stdout)["boards"]
    rows = {row["algorithm"]: row for row in board["rows"]}
    sgd, one, five = (rows[name] for name in ("sgd", "mine:FedAvg[steps=1]", "mine:FedAvg"))
    scores = {"clean", "worst", "worst_attack", "idle", "cells"}
    assert {name: one[name] for name in scores} == {name: sgd[name] for name in scores}
    assert five["clean"] != sgd["clean"]
    done = run_here(*events.replace("'", "").split(), *few[:2], *few[4:], "--quiet")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "page", ["README.md", "CITATION.cff", "docs/architecture.md", "docs/theory.md"]
)
def test_the_paper_is_cited_where_it_is_named(page: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    for part in (
        "Boubouh", "Pinot", "(SRDS)", "2022", "94", "120",
        "Resilient Distributed Learning with Heterogeneous Participants",
    ):  # fmt: skip
        assert part in text, part


def test_the_papers_authors_are_the_same_everywhere() -> None:
    assert CITATION.startswith("K. Boubouh, A. Boussetta, N. Gupta, A. Maurer, R. Pinot, ")
    for page in ("docs/paper.md", "docs/theory.md"):
        assert CITATION in " ".join((ROOT / page).read_text(encoding="utf-8").split()), page
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    authors = re.findall(r'family-names: (\w+)\n +given-names: "(\w\.)"', cited)[:5]
    assert [f"{given} {family}" for family, given in authors] == CITATION.split(", ")[:5]
