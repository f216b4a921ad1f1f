"""What is fuzzed: every place where text, bytes or values of a user enter.

A target takes a case; it may raise `InputError`, and nothing else.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import pickle
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from sklearn.datasets import dump_svmlight_file

from hgobench import Scenario, aggregators, catalogue, hardware
from hgobench.aggregators import RuleError
from hgobench.data import cifar, datasets, tables
from hgobench.errors import InputError
from hgobench.leaderboard import Score, boards
from hgobench.report import kept
from hgobench.report.boards import render
from hgobench.report.page import (
    Chart,
    Facts,
    Finding,
    Findings,
    Items,
    Line,
    Link,
    Page,
    Shown,
    Table,
    Text,
)
from hgobench.report.render import chart_csv
from hgobench.report.render import render as written
from hgobench.results import export, open_store
from hgobench.scenario import ALIASES, check_field
from hgobench.settings import parse_setting
from hgobench.simulation import run
from hgobench.suite import Suite
from tests.saved import save_to_disk
from tests.test_data import idx

from .mutation import contents, texts, values

FLOATS = (torch.float32, torch.float32, torch.float64, torch.bfloat16, torch.int64)
KINDS = (*catalogue.FIELDS, "pre_rule", "heterogeneity_attack", "condition")
Case = Any


@dataclass(frozen=True)
class Target:
    """Something that reads.

    Attributes:
        name: of the target.
        cases: what it is given.
        read: reads a case in an empty folder; False: something of it was left out, and said so.
        weight: its share of the cases.
    """

    name: str
    cases: st.SearchStrategy[Case]
    read: Callable[[Case, Path], bool | None]
    weight: int = 1


def specifications(kind: str) -> list[str]:
    """Return every name of a kind, with and without its parameters."""
    registry = catalogue.registry(kind)
    valid = []
    for name in registry.names():
        entry = registry.entry(name)
        given = [
            f"{key}={parameter.default}"
            for key, parameter in entry.signature.items()
            if key not in registry.context and parameter.default is not parameter.empty
        ]
        valid += [name, f"{name}[{','.join(given)}]"]
    before = {"rule": "nnm+", "attack": "tail+", "hardware": "bernoulli[p=0.5]+"}.get(kind, "")
    return [*valid, *(before + name for name in valid if before)]


def _specification(case: tuple[str, str], _: Path) -> None:
    kind, text = case
    if kind in catalogue.FIELDS:
        check_field(kind, text)
    else:
        registry = catalogue.registry(kind)
        registry.build(registry.canonical(text))


def _setting(text: str, _: Path) -> None:
    Suite.load("smoke").changed([parse_setting(text)])


SUITE = b"""ruleset = "mine-1"
description = "some cells"
width = 4
time_limit = 2.5

[scenario]
data = "digits"
workers = 20
byzantine = 3
deadline = 32.0

[grid]
algorithm = ["hgo", "sgd"]
rule = ["average", "nnm+krum", "trimmed_mean"]
attack = ["none", "foe[epsilon=2.0]"]
seed = [0, 1]

[contract]
tolerance = 0.05

[[contract.breaks]]
rule = "average"
attack = "foe[epsilon=2.0]"
below = 0.5

[[leave_out]]
rule = "nnm+krum"
algorithm = "sgd"
reason = "too slow"
"""


def _suite(content: bytes, folder: Path) -> None:
    path = folder / "mine.toml"
    path.write_bytes(content)
    Suite.load(path).expand()


def _fields(given: dict[str, Any], _: Path) -> None:
    scenario = Scenario(**given)
    again = Scenario(**scenario.to_dict())
    assert again == scenario
    assert again.digest == scenario.digest
    assert Scenario.restore(json.loads(json.dumps(scenario.to_dict()))) == scenario
    assert scenario.sampling_warning or 0 <= scenario.run_risk <= 1


@contextmanager
def data_in(folder: Path) -> Iterator[None]:
    """Let data sets be looked for in a folder alone."""
    before = {name: os.environ.get(name) for name in ("HGOBENCH_DATA", "XDG_CACHE_HOME")}
    os.environ |= dict.fromkeys(before, str(folder))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


IMAGES = [
    idx(np.arange(200 * 4).reshape(200, 2, 2) % 256),
    idx(np.arange(200) % 10),
    idx(np.arange(20 * 4).reshape(20, 2, 2) % 256),
    idx(np.arange(20) % 10),
]


def _images(case: tuple[int, bytes, bool], folder: Path) -> None:
    which, content, packed = case
    home = folder / "mnist"
    home.mkdir()
    for i, (name, valid) in enumerate(zip(datasets.IDX_FILES, IMAGES, strict=True)):
        if i == which and packed:
            (home / f"{name}.gz").write_bytes(content)
        else:
            (home / name).write_bytes(content if i == which else valid)
    with data_in(folder):
        datasets.load("mnist[verify=false]")


def _phishing_file() -> bytes:
    out = io.BytesIO()
    rows = (np.arange(30 * 68).reshape(30, 68) % 7 == 0) / np.sqrt(30)
    dump_svmlight_file(rows, np.arange(30) % 2, out)
    return out.getvalue()


def _file(specification: str, name: str) -> Callable[[bytes, Path], None]:
    def read(content: bytes, folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        with data_in(folder):
            datasets.load(specification)

    return read


BOSTON = ",".join(f'"{name}"' for name in tables.BOSTON_COLUMNS) + "\n" + "".join(
    ",".join(f"{(i * 7 + j * 3) % 11 + 0.5}" for j in range(14)) + "\n" for i in range(30)
)  # fmt: skip
TABLE = "a,b,label\n" + "".join(f"{i}.5,{i % 3},{'xyz'[i % 3]}\n" for i in range(30))
DEVICES = "class,count,rate_mean,rate_std,uplink,latency,availability\nslow,20,500,250,64,0.1,0.9\nfast,10,25000,2500,inf,0,1\n"
TRACE = "worker,round,state\n0,2,off\n0,5,on\n3,1,off\n"
CIFAR_ROWS = (np.arange(20 * (cifar.PIXELS + 1)) % 251).astype(np.uint8).reshape(20, -1)
CIFAR_ROWS[:, 0] = np.arange(20) % 10
CIFAR = CIFAR_ROWS.tobytes()
CIFAR_PICKLE = pickle.dumps({b"data": CIFAR_ROWS[:, 1:], b"labels": CIFAR_ROWS[:, 0].tolist()})


def _cifar(case: tuple[bool, bytes], folder: Path) -> None:
    binary, content = case
    home = folder / ("cifar-10-batches-bin" if binary else "cifar-10-batches-py")
    home.mkdir()
    for name in (*cifar.BATCHES, "test_batch"):
        valid, end = (CIFAR, ".bin") if binary else (CIFAR_PICKLE, "")
        (home / f"{name}{end}").write_bytes(content if name == "data_batch_3" else valid)
    with data_in(folder):
        datasets.load("cifar10[verify=false]")


def _table(content: bytes, folder: Path) -> None:
    path = folder / "table.csv"
    path.write_bytes(content)
    datasets.load(f'csv[path="{path}"]')


def _examples(specification: str) -> np.ndarray:
    """Load data of one's own, and return all features; a refusal says at its beginning of what."""
    try:
        data = datasets.load(specification)
    except InputError as refusal:
        if not all(problem.startswith("data: ") for problem in refusal.problems):
            raise AssertionError(refusal.problems) from refusal
        raise
    splits = (data.train, data.validation, data.test)
    return np.concatenate([split.features for split in splits])


def _same_rows(found: np.ndarray, expected: np.ndarray) -> None:
    """What was read is what is there, in whatever order."""
    expected = expected.reshape(len(expected), -1).astype(np.float32)
    assert sorted(map(bytes, found)) == sorted(map(bytes, expected))


OWN = 30  # examples of data of one's own
OWN_X = np.random.default_rng(0).random((OWN, 2, 3)).astype(np.float32)


def _npz_file(pack: Callable[..., None]) -> bytes:
    out = io.BytesIO()
    pack(out, x=OWN_X, y=np.arange(OWN) % 3, groups=np.array(list("abc") * (OWN // 3)))
    return out.getvalue()


def _npz(content: bytes, folder: Path) -> None:
    path = folder / "a.npz"
    path.write_bytes(content)
    _same_rows(_examples(f'npz[path="{path}"]'), OWN_X)  # an archive has a checksum of each array


def _npy(case: tuple[str, bytes], folder: Path) -> None:
    which, content = case
    for name, array in NPY.items():
        np.save(folder / name, array)
    (folder / f"{which}.npy").write_bytes(content)
    found = _examples(f'npz[path="{folder}",validation=0]')
    parts = [np.load(folder / f"{name}.npy") for name in ("x_train", "x_test")]
    _same_rows(found, np.concatenate(parts))


NPY: dict[str, Any] = {"x_train": OWN_X[:20, 0], "y_train": np.arange(20) % 3, "x_test": OWN_X[20:, 0], "y_test": np.arange(10) % 3}  # fmt: skip


def _npy_file(name: str) -> bytes:
    out = io.BytesIO()
    np.save(out, NPY[name])
    return out.getvalue()


@cache
def _picture_file(kind: str, number: int = 0) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (5, 4, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def _pictures(case: tuple[str, bytes], folder: Path) -> None:
    name, content = case
    for i in range(8):
        path = folder / "photos" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_picture_file("PNG", i))
    try:
        (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "photos" / name).write_bytes(content)
    except (OSError, ValueError):  # no name of a file
        return
    found = _examples(f'images[path="{folder / "photos"}"]')
    assert found.min() >= 0
    assert found.max() <= 1


LIBSVM = "".join(f"{(-1) ** i} qid:{i % 4} 1:{i / 7!r} 3:{i % 5} # {i}\n" for i in range(OWN))


def _libsvm(content: bytes, folder: Path) -> None:
    path = folder / "a.libsvm"
    path.write_bytes(content)
    found = _examples(f'libsvm[path="{path}"]')
    text = content.decode("latin-1")
    lines = [line for line in text.split("\n") if line.partition("#")[0].strip()]
    assert len(found) == len(lines)


def _parquet_file() -> bytes:
    import pyarrow
    from pyarrow import parquet

    out = io.BytesIO()
    names = ["no", "yes"] * (OWN // 2)
    table = {"a": OWN_X[:, 0, 0], "b": np.arange(OWN) % 7, "label": names}
    parquet.write_table(pyarrow.table(table), out)
    return out.getvalue()


def _parquet(content: bytes, folder: Path) -> None:
    path = folder / "a.parquet"
    path.write_bytes(content)
    _examples(f'parquet[path="{path}"]')


def _hugging_face(case: tuple[str, bytes], folder: Path) -> None:
    which, content = case
    columns = {"v": OWN_X[:, 0].tolist(), "label": np.arange(OWN) % 3}
    about = {"label": {"_type": "ClassLabel", "names": list("abc")}}
    save_to_disk(folder, columns, about, files=1)
    (folder / which).write_bytes(content)
    _examples(f'huggingface[path="{folder}"]')


def _hugging_face_file(which: str) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        columns = {"v": OWN_X[:, 0].tolist(), "label": np.arange(OWN) % 3}
        about = {"label": {"_type": "ClassLabel", "names": list("abc")}}
        return (save_to_disk(Path(name), columns, about, files=1) / which).read_bytes()


LEAF = json.dumps({
    "users": ["ann", "bob"], "num_samples": [OWN // 2] * 2,
    "user_data": {
        who: {"x": OWN_X[i::2, 0].astype(float).round(3).tolist(), "y": (np.arange(OWN)[i::2] % 3).tolist()}
        for i, who in enumerate(("ann", "bob"))
    },
}).encode()  # fmt: skip
LEAF_TEXTS = json.dumps({
    "users": ["ann"], "num_samples": [OWN],
    "user_data": {"ann": {"x": [f"abc{i:02}"[::-1] for i in range(OWN)], "y": ["a", "b", "c"] * (OWN // 3)}},
}).encode()  # fmt: skip


def _leaf(content: bytes, folder: Path) -> None:
    (folder / "a.json").write_bytes(content)
    found = _examples(f'leaf[path="{folder}"]')
    users = json.loads(content)["user_data"].values()
    x = [row for user in users for row in user["x"]]
    assert len(found) == len(x)
    if not isinstance(x[0], str):
        _same_rows(found, np.array(x, dtype=np.float32))


def _fleet(case: tuple[str, bytes], folder: Path) -> None:
    kind, content = case
    path = folder / "fleet.csv"
    path.write_bytes(content)
    name = f'devices[path="{path}"]' if kind == "devices" else f'trace[path="{path}"]+standard'
    hardware.registry.build(name).fleet(
        hardware.Population(30, 650, 0, np.ones((30, 2), dtype=np.int64))
    ).available(1)


@cache
def _store_file() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        with open_store(name) as store:
            for rule in ("median", "krum"):
                scenario = Scenario(
                    data="breast_cancer", workers=6, byzantine=1, rounds=2, rule=rule, attack="foe"
                )
                store.add(run(scenario), "mine-1")
            store.keep("ab" * 32, "tests.fuzz", {"a": [1, 2.5, None]})
        return (Path(name) / "results.sqlite").read_bytes()


def _look(folder: Path) -> bool:
    """Read all of a store, as `leaderboard` and `show` do; say whether all its rows can be read."""
    with open_store(folder, create=False) as store:
        len(store)
        store.keys()
        export(store)
        store.measurements(["ab" * 32])
        scores = [Score.of(result) for _, result in store.results()]
        damaged = list(store.damaged())
    if scores:
        render("mine-1", boards(scores))
    return not damaged


def _store(content: bytes, folder: Path) -> bool:
    (folder / "results.sqlite").write_bytes(content)
    return _look(folder)


PAGE = kept.to_json(
    Page(
        "page", "A page",
        [Text("About.", "note"), Findings([Finding("it holds", None, "3 seeds")]),
         Table("t", "T", ["rule", "ms"], [["krum", 1.5], [Link("a", "a.html"), Shown("2", 2)]], [1]),
         Facts([("f", "4")], "Facts", True), Items("i", ["f=4"]),
         Chart("c", "C", "x", "y", [Line("a", [0, 1], [0.5, math.nan], [0.1, 0.2], [1.0, 2.0])], "y")],
        "hgobench audit cost", Table("long", "", ["a"], [[None]]),
    )
)  # fmt: skip


def _page(content: bytes, folder: Path) -> bool:
    (folder / "page.page.json").write_bytes(content)
    pages, problems = kept.read(folder)
    assert len(pages) + len(problems) == 1
    for page in pages:
        for form in ("table", "markdown", "latex", "csv"):
            written(page, form)
        for chart in page.charts:
            chart_csv(chart)
        without = [block for block in page.blocks if not isinstance(block, Chart)]
        written(replace(page, blocks=without), "html")
    return bool(pages)


def _rows(case: tuple[str, Any], folder: Path) -> bool:
    column, value = case
    path = folder / "results.sqlite"
    path.write_bytes(_store_file())
    connection = sqlite3.connect(path)
    with connection:
        if isinstance(value, str):
            (text,) = connection.execute(f"SELECT {column} FROM results LIMIT 1").fetchone()
            try:
                value = value.format_map({"old": text}) if value == "{old}" else value
                value.encode()
            except (UnicodeEncodeError, ValueError):
                value = value.encode("utf-8", "surrogatepass")
        rowid = "(SELECT key FROM results LIMIT 1)"
        connection.execute(
            f"UPDATE OR IGNORE results SET {column} = ? WHERE key = {rowid}", (value,)
        )
    connection.close()
    return _look(folder)


def _columns() -> st.SearchStrategy[tuple[str, Any]]:
    columns = ("key", "ruleset", "scenario", "status", "reason", "rounds", "provenance", "seconds")
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(_store_file())
        query = f"SELECT {', '.join(columns)} FROM results LIMIT 1"
        row = dict(zip(columns, connection.execute(query).fetchone(), strict=True))
    finally:
        connection.close()
    foreign = st.sampled_from([0, -1, 2.5, b"\xff", "", "{", "[]", "{}", "null", "1e999", "NaN"])
    return st.sampled_from(columns).flatmap(
        lambda column: st.tuples(st.just(column), st.one_of(texts([str(row[column])]), foreign))
    )


RULES = [
    aggregators.build(name, f=1, scope=scope)
    for name in (*aggregators.registry.builtins, "nnm+krum", "clipping+median", "arc+meamed")
    if not (rule := aggregators.build(name, f=1)).needs
    for scope in rule.scopes()
]
ENTRIES = st.sampled_from([0.0, -0.0, 1.0, -2.5, 3e-45, 1e38, 1e300, math.nan, math.inf, -math.inf])


@st.composite
def _sent(draw: st.DrawFn) -> tuple[int, Any, Any]:
    """Draw a rule, what workers sent and a mask of it: mostly valid, in every layout."""
    m, d = draw(st.integers(0, 9)), draw(st.integers(0, 7))
    numbers = draw(arrays("f8", (m, d), elements=ENTRIES))
    values = torch.from_numpy(numbers).to(draw(st.sampled_from(FLOATS)))
    bits = draw(arrays(bool, (m, d)))
    mask = torch.from_numpy(bits)
    other = [
        None, mask, mask, mask.t().contiguous().t(), mask.expand(2, m, d)[1], mask.repeat(2, 2)[::2, ::2],
        mask.to(torch.uint8).mul(3).view(torch.bool), mask.float(), mask[:1], mask[None], bits,
        bits.tolist(), torch.zeros(m, d + 1, dtype=torch.bool), "all",
    ]  # fmt: skip
    return draw(st.integers(0, len(RULES) - 1)), values, draw(st.sampled_from(other))


def _rule(case: tuple[int, Any, Any], _: Path) -> None:
    which, values, present = case
    rule = deepcopy(RULES[which])
    try:
        answer = rule(values, present)
    except RuleError as error:
        raise InputError(str(error)) from error
    assert (answer.shape, answer.dtype) == (values.shape[1:], values.dtype)
    assert answer.isfinite().all()
    if present is not None:
        assert not answer[~present.any(dim=0)].any()


def targets() -> list[Target]:
    """Return all targets."""
    named = st.sampled_from(KINDS).flatmap(
        lambda kind: st.tuples(st.just(kind), texts(specifications(kind)))
    )
    settings = [f"{kind}={name}" for kind in catalogue.FIELDS for name in specifications(kind)]
    settings += ["rounds=5,10", "tau=inf", "seed=0,1,2", "learning_rate=0.1,2", "scope=block"]
    fields = [*Scenario.__dataclass_fields__, *ALIASES, "nonsense"]
    given = st.dictionaries(
        st.sampled_from(fields), st.one_of(values(), texts(["krum", "digits", "c1"])), max_size=4
    )
    image = st.integers(0, 3).flatmap(
        lambda i: st.one_of(
            st.tuples(st.just(i), contents([IMAGES[i]]), st.just(False)),
            st.tuples(st.just(i), contents([gzip.compress(IMAGES[i], mtime=0)]), st.just(True)),
            st.tuples(st.just(i), contents([IMAGES[i]]).map(gzip.compress), st.just(True)),
        )
    )
    batch = st.one_of(
        st.tuples(st.just(True), contents([CIFAR])),
        st.tuples(st.just(False), contents([CIFAR_PICKLE])),
    )
    fleet = st.one_of(
        st.tuples(st.just("devices"), contents([DEVICES.encode()])),
        st.tuples(st.just("trace"), contents([TRACE.encode()])),
    )
    npy = st.sampled_from(sorted(NPY)).flatmap(
        lambda name: st.tuples(st.just(name), contents([_npy_file(name)]))
    )
    kinds = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
    picture = st.one_of(
        st.tuples(st.just("a/0.png"), contents([_picture_file(kind) for kind in kinds])),
        st.tuples(texts(["a/0.png", "b/ann/1.png"]), st.just(_picture_file("PNG"))),
    )
    with_arrow = []
    if find_spec("pyarrow") is not None:
        saved = ("state.json", "dataset_info.json", "data-00000-of-00001.arrow")
        face = st.sampled_from(saved).flatmap(
            lambda name: st.tuples(st.just(name), contents([_hugging_face_file(name)]))
        )
        with_arrow = [
            Target("parquet", contents([_parquet_file()]), _parquet),
            Target("huggingface", face, _hugging_face),
        ]
    phishing = _file("phishing[verify=false]", "phishing/phishing.libsvm")
    boston = _file("boston[verify=false]", f"boston/{tables.BOSTON}")
    return [
        Target("specification", named, _specification, 4),
        Target("setting", texts(settings), _setting, 2),
        Target("suite", contents([SUITE]), _suite, 2),
        Target("fields", given, _fields, 3),
        Target("rule", _sent(), _rule),
        Target("images", image, _images),
        Target("phishing", contents([_phishing_file()]), phishing),
        Target("boston", contents([BOSTON.encode()]), boston),
        Target("cifar10", batch, _cifar),
        Target("table", contents([TABLE.encode()]), _table),
        Target("fleet", fleet, _fleet),
        Target("store", contents([_store_file()]), _store),
        Target("rows", _columns(), _rows, 2),
        Target("npz", contents([_npz_file(np.savez), _npz_file(np.savez_compressed)]), _npz),
        Target("npy", npy, _npy),
        Target("pictures", picture, _pictures),
        Target("libsvm", contents([LIBSVM.encode()]), _libsvm),
        Target("leaf", contents([LEAF, LEAF_TEXTS]), _leaf),
        *with_arrow,
        Target("page", contents([PAGE.encode()]), _page),
    ]
