"""What is read from files is what it claims to be, or it is refused in one line."""

from __future__ import annotations

import gzip
import os
import pickle
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hgobench import Scenario, catalogue, csv_file, reading, run
from hgobench.cli import main
from hgobench.data import cifar, files, tables
from hgobench.data.base import Dataset, Source, Split, digest
from hgobench.data.datasets import IDX_FILES, load, read_idx
from hgobench.data.own import Csv
from hgobench.errors import InputError
from hgobench.report import worlds
from tests.plugins import without_lines
from tests.test_data import idx

X = np.arange(12, dtype=np.float32).reshape(6, 2)
Y = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (X, Y[:5], "labels: 5 of them; expected 6, one for each row of the features"),
        (X, Y.astype(np.float64), "labels: float64 of shape (6,); expected int64 or float32 of 1"),
        (X, Y[:, None], "labels: int64 of shape (6, 1); expected int64 or float32 of 1 dimension"),
        (X, np.where(Y == 2, np.nan, Y).astype(np.float32), "labels: row 2: nan, the first of 2"),
        (X[:, 0], Y, "features: float32 of shape (6,); expected float32 or float64 of 2 dimension"),
        (X.astype(int), Y, "features: int64 of shape (6, 2); expected float32 or float64"),
        (X[:, :0], Y, "features: no columns; expected at least one"),
        (X.tolist(), Y, "features: list; expected a NumPy array of float32 or float64"),
        (
            np.where(X == 7, np.inf, X),
            Y,
            "features: row 3, column 1: inf, the first of 1; expected",
        ),
        (np.where(X > 7, np.nan, X), Y, "features: row 4, column 0: nan, the first of 4; expected"),
    ],
)
def test_a_split_refuses_what_can_t_be(features: Any, labels: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        Split(features, labels)
    (problem,) = error.value.problems
    assert problem.startswith(f"data: {message}")


def test_a_split_takes_numbers_whose_sum_is_not_finite() -> None:
    assert len(Split(np.full((6, 2), 3e38, dtype=np.float32), Y)) == 6


def test_groups_and_images_fit_the_features() -> None:
    with pytest.raises(InputError, match="groups: 3 of them; expected 6"):
        Split(X, Y, np.arange(3))
    with pytest.raises(InputError, match="image: 2 x 2; the features have 2 columns"):
        Split(X, Y, image=(2, 2))


GOOD = Split(X, Y)
NOTHING = GOOD.take(np.arange(0))


@pytest.mark.parametrize(
    ("parts", "classes", "message"),
    [
        ((GOOD, NOTHING, GOOD), 2, "train: labels: row 2: 2; expected 0 .. 1"),
        ((GOOD, NOTHING, GOOD), 4, "train: 1 of 4 classes have no example, the first is 3; expec"),
        ((GOOD, NOTHING, GOOD), 1, "classes: 1; expected an integer >= 2, or 0: a regression"),
        ((GOOD, NOTHING, GOOD), 2.5, "classes: 2.5; expected an integer >= 2, or 0: a regression"),
        ((GOOD, NOTHING, GOOD), 0, "train: labels of int64; expected float32 in a regression"),
        ((GOOD, NOTHING, NOTHING), 3, "test: no examples; expected at least one"),
        ((NOTHING, NOTHING, GOOD), 3, "train: no examples; expected at least one"),
        ((GOOD, NOTHING, Split(X[:, :1], Y)), 3, "test: 1 features; train has 2"),
        ((GOOD, X, GOOD), 3, "validation: ndarray; expected a Split"),
        (
            (GOOD, NOTHING, Split(X, 0 * Y + 2)),
            3,
            "test: all 6 examples are of class 2, which a constant answer names; expected at least",
        ),
        ((GOOD, NOTHING, Split(X, Y - 1)), 3, "test: labels: row 0: -1; expected 0 .. 2"),
        ((Split(X.astype(float), Y), NOTHING, GOOD), 3, "train: features of float64; expected fl"),
        ((Split(X, Y.astype(np.float32)),) * 3, 3, "train: labels of float32; expected int64 in"),
    ],
)
def test_a_data_set_refuses_what_can_t_be(parts: Any, classes: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        Dataset(parts[0], parts[1], parts[2], classes)
    (problem,) = error.value.problems
    assert problem.startswith(f"data: {message}")


class Mine(Source):
    """A source of somebody's."""

    def __init__(self, what: str = "good") -> None:
        super().__init__()
        self.what = what

    def load(self) -> Any:
        if self.what == "changed":
            data = Dataset(GOOD.take(np.arange(6)), NOTHING, GOOD, 3)
            data.train.labels[4] = 7
            return data
        if self.what == "raises":
            raise KeyError("gone")
        if self.what == "named":
            return Dataset(GOOD, NOTHING, GOOD, 3, digest="always")
        return {"good": Dataset(GOOD, NOTHING, GOOD, 3), "none": None}[self.what]


class NoSource:
    pass


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Mine[what=changed]", ": train: labels: row 4: 7; expected 0 .. 2"),
        ("Mine[what=raises]", ": KeyError: 'gone'"),
        ("Mine[what=none]", ": load() returned NoneType; expected a Dataset of hgobench.data.base"),
        (
            "NoSource",
            " is tests.test_readers.NoSource; expected a subclass of hgobench.data.base.Source, or a "
            "function that returns arrays",
        ),
    ],
)
def test_data_of_others_passes_the_same_border(name: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        load(f"tests.test_readers:{name}")
    (problem,) = error.value.problems
    assert without_lines(problem) == f"data: 'tests.test_readers:{name}'{message}"


def test_data_of_others_are_copied_under_a_digest_of_their_arrays() -> None:
    named, good = (load(f"tests.test_readers:Mine[what={what}]") for what in ("named", "good"))
    assert named.digest == good.digest != "always"
    assert not np.shares_memory(named.train.features, GOOD.features)
    assert not np.shares_memory(named.test.labels, GOOD.labels)


def test_the_digest_is_of_names_types_shapes_and_bytes() -> None:
    base = digest({"x": X, "y": Y})
    assert base == digest({"x": np.asfortranarray(X), "y": Y.astype(">i8")})
    others = [
        {"y": Y, "x": X}, {"x": X, "z": Y}, {"x": X.reshape(2, 6), "y": Y},
        {"x": X.astype(float), "y": Y}, {"x": X + 1e-6 * (X == 3), "y": Y}, {"x": X[:0], "y": Y},
    ]  # fmt: skip
    assert len({base, *(digest(other) for other in others)}) == len(others) + 1
    assert load("tests.test_readers:Mine").digest == load("tests.test_readers:Mine").digest


def small_images(
    folder: Path, labels: np.ndarray | None = None, seed: int = 0, **other: np.ndarray
) -> None:
    """Write the four files of a small MNIST: 40 and 20 images of 2 x 2."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "train-images-idx3-ubyte": rng.integers(0, 256, (40, 2, 2)),
        "train-labels-idx1-ubyte": np.arange(40) % 10 if labels is None else labels,
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (20, 2, 2)),
        "t10k-labels-idx1-ubyte": np.arange(20) % 10,
    } | other
    for name, array in made.items():
        (folder / name).write_bytes(idx(array))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of data, and no cache."""
    monkeypatch.setenv("HGOBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(files, "user_cache_path", lambda _: tmp_path / "cache")
    return tmp_path


def test_files_that_are_not_the_published_ones_are_refused(home: Path) -> None:
    small_images(home / "mnist")
    with pytest.raises(InputError) as error:
        load("mnist")
    first, *others = error.value.problems
    assert len(others) == 3
    assert f"data: '{home / 'mnist' / IDX_FILES[0]}': unpacked it has MD5 " in first
    assert "; expected 6bbc9ace898e44ae57da46a324031adb, that of mnist as published; put" in first
    assert first.endswith("or use this one by verify=false, which every result will state")


def test_the_user_s_word_runs_them_and_results_say_so(home: Path) -> None:
    small_images(home / "mnist")
    result = run(
        Scenario(data="mnist[validation=0,verify=false]", workers=4, rounds=1, rule="median")
    )
    assert result.status == "done"
    assert result.scenario.data == "mnist[validation=0.0,verify=false]"
    assert result.provenance["data"] == load("mnist[validation=0,verify=false]").digest
    assert "unpacked it has MD5" in result.provenance["data_differs"]
    plain = run(Scenario(workers=4, rounds=1, rule="median"))
    assert plain.provenance["data"] == load("digits").digest
    assert "data_differs" not in plain.provenance


def test_labels_of_other_images_are_refused(images: Path, home: Path) -> None:
    """The 10,000 test labels in the place of the 60,000 of the training images."""
    (home / "mnist").mkdir()
    for name in IDX_FILES:
        (home / "mnist" / f"{name}.gz").symlink_to(images / "mnist" / f"{name}.gz")
    train, test = (home / "mnist" / f"{IDX_FILES[i]}.gz" for i in (1, 3))
    train.unlink()
    train.symlink_to(test)
    expected = "has MD5 27ae3e4e09519cfbb04c329615203637; expected a25bea736e30d166cdddb491f175f624"
    with pytest.raises(InputError, match=f"train-labels-idx1-ubyte.gz': unpacked it {expected}"):
        load("mnist")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({IDX_FILES[1]: np.full(40, 200)}, "byte 8: label 200; expected 0 .. 9"),
        ({IDX_FILES[1]: np.append(np.arange(39) % 10, 11)}, "byte 47: label 11; expected 0 .. 9"),
        ({IDX_FILES[1]: np.arange(39) % 10}, "of shape (39,); expected a label for each of the 40"),
        ({IDX_FILES[0]: np.arange(40), IDX_FILES[1]: np.zeros((40, 2, 2))}, "of shape (40,); expec"),
        ({IDX_FILES[0]: np.zeros((40, 0, 2))}, "of shape (40, 0, 2); expected (images, rows, colu"),
        ({IDX_FILES[1]: np.arange(40) % 9}, "train: 1 of 10 classes have no example, the first i"),
        ({IDX_FILES[2]: np.zeros((20, 3, 3))}, "9 features; train has 4"),
    ],
)  # fmt: skip
def test_images_and_labels_must_fit(
    home: Path, changed: dict[str, np.ndarray], message: str
) -> None:
    small_images(home / "mnist", None, 0, **changed)
    with pytest.raises(InputError) as error:
        load("mnist[verify=false,validation=0]")
    assert message in str(error.value)


def test_data_is_read_again_when_its_file_changes(home: Path) -> None:
    small_images(home / "mnist")
    first = load("mnist[verify=false,validation=0]")
    assert load("mnist[verify=false,validation=0]") is first
    small_images(home / "mnist", labels=np.arange(40)[::-1] % 10)
    os.utime(home / "mnist" / IDX_FILES[1], ns=(1, 1))
    assert load("mnist[verify=false,validation=0]").digest != first.digest


HEADER = b"\0\0\x08\x03"
BIG = np.array([4, 1 << 31, 1 << 31], dtype=">u4").tobytes()  # their product is 4 modulo 2^64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + BIG + bytes(4), r"its header says 4 x 2147483648 x 2147483648; expected 1 to 3"),
        (b"\0\0\x08\0" + bytes(1), "its header says nothing; expected 1 to 3 dimensions"),
        (HEADER + bytes(7), "it ends in its header, which has 3 dimensions"),
        (b"<!DOCTYPE html>", "not an IDX file of unsigned bytes: it begins with b'<!DO'"),
        (idx(np.arange(4)) + b"x", "more than 4 bytes; its header says 4"),
    ],
)
def test_headers_that_lie(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_idx(tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            gzip.compress(idx(np.arange(200)), mtime=0)[:-20],
            "it ends too early; expected an IDX file",
        ),
        (
            gzip.compress(idx(np.arange(200)), mtime=0)[:-8] + bytes(8),
            "no gzip file, or a damaged one",
        ),
        (b"<html>not found</html>", r"no gzip file, or a damaged one \(Not a gzipped file"),
        (gzip.compress(b"", mtime=0), "not an IDX file of unsigned bytes: it begins with b''"),
        (b"", "it begins with b''"),
    ],
)
def test_packed_files_that_are_damaged(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_idx(tmp_path / "a")


def test_a_damaged_download_is_no_ctrl_d(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """click takes an EOFError for one, and prints "Aborted!"."""
    (home / "phishing").mkdir()
    (home / "phishing" / "phishing.libsvm.gz").write_bytes(gzip.compress(b"1 1:1\n" * 99)[:-9])
    with pytest.raises(SystemExit) as ended:
        main(["show", "partition", "iid", "--data", "phishing"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "phishing.libsvm.gz': it ends too early; expected a whole file" in said
    assert "Aborted" not in said


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()


def test_a_bomb_is_not_unpacked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = bomb(1 << 26)
    (home / "a.gz").write_bytes(packed)
    taken: list[int] = []
    read = gzip.GzipFile.read

    def watched(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        taken.append(size or 0)
        return read(self, size)

    monkeypatch.setattr(gzip.GzipFile, "read", watched)
    with pytest.raises(InputError, match=r"more than 1,000 bytes; expected at most as many"):
        reading.content("data", home / "a.gz", 1000)
    assert taken == [1001]
    (home / "phishing").mkdir()
    (home / "phishing" / "phishing.libsvm.gz").write_bytes(packed)
    with pytest.raises(InputError, match=r"more than 33,554,432 bytes; expected at most as many"):
        load("phishing")


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "nothing", "no_home", "nul"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    paths = {
        "device": "/dev/zero",
        "pipe": str(tmp_path / "pipe"),
        "folder": str(tmp_path),
        "nothing": str(tmp_path / "no"),
        "no_home": "~nobody-of-that-name/x.csv",
        "nul": "a\0b",
    }
    if kind == "pipe":
        os.mkfifo(paths["pipe"])
    path = paths[kind]
    for parts in (f"csv[path={path}]", f"devices[path={path}]", f"trace[path={path}]+c1"):
        field = "data" if parts.startswith("csv") else "hardware"
        with pytest.raises(InputError):
            (load if field == "data" else catalogue.registry("hardware").build)(parts)
        assert len(catalogue.contents({field: parts})) == 1
    with pytest.raises(InputError):
        read_idx(Path(path))


def phishing_file(home: Path, text: str) -> None:
    (home / "phishing").mkdir(exist_ok=True)
    (home / "phishing" / "phishing.libsvm").write_text(text)


ROW = "1 1:0.18257 2:0.18257\n0 3:0.18257\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROW + "2 1:0.5\n", "line 3: label 2; expected a label 0 or 1 and features 1:value .. 68:"),
        (ROW * 3 + "1 3:1 2:1\n", "line 7: Feature indices in SVMlight/LibSVM data file should be s"),
        (ROW + "1 2:1 2:1\n", "line 3: Feature indices in SVMlight/LibSVM data file should be so"),
        (ROW + "1 69:1\n" + ROW, "line 3: n_features was set to 68, but input file contains 69"),
        (ROW + "0,1 3:1\n" + ROW, "line 3: could not convert string to float"),
        (ROW + "# no row\n\n1 1:nan\n", "line 5: a number that is not finite; expected a label"),
        (ROW + "nan 1:1\n", "line 3: label nan; expected a label 0 or 1"),
        (ROW + "1 1:x\n", "line 3: could not convert string to float"),
        (ROW + "1 x:1\n", "line 3: invalid literal for int"),
        (ROW + "1 99999999999999999999:1\n", "line 3: OverflowError: "),
        (ROW + "-1 1:1\n", "labels -1, 0, 1; expected two, 0 and 1 or -1 and 1"),
        ("1 1:1\n1 2:1\n", "labels 1; expected two, 0 and 1 or -1 and 1"),
        ("", "no lines; expected in each a label 0 or 1 and features 1:value .. 68:value in order"),
        ("\n" * (tables.MOST_LINES + 1), "more than 65,536 lines; expected at most as many"),
        (ROW * 9, "unpacked it has MD5 .* and 18 examples, 9 and 9 of the classes; expected MD5 2b"),
    ],
)  # fmt: skip
def test_bad_libsvm_files_are_refused_with_their_line(home: Path, text: str, message: str) -> None:
    phishing_file(home, text)
    with pytest.raises(InputError, match=message) as error:
        load("phishing")
    assert len(error.value.problems) == 1


def test_all_of_phishing_is_known_by_its_counts(home: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for label, count in enumerate(tables.PHISHING_COUNTS):
        line = " ".join(f"{j}:0.182574" for j in sorted(rng.permutation(68)[:30] + 1))
        rows += [f"{label} {line}\n"] * count
    phishing_file(home, "".join(rows))
    assert load("phishing").differs == ""
    phishing_file(home, "".join(rows[1:]))
    with pytest.raises(
        InputError, match=r"11,054 examples, 4,897 and 6,157 of the classes; expect"
    ):
        load("phishing")


def boston_file(home: Path, text: str) -> None:
    (home / "boston").mkdir(exist_ok=True)
    (home / "boston" / tables.BOSTON).write_text(text)


BOSTON_ROW = ",".join(["1.5"] * 14) + "\n"
BOSTON_TEXT = ",".join(f'"{name}"' for name in tables.BOSTON_COLUMNS) + "\n" + BOSTON_ROW * 30


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOSTON_TEXT + "NA" + BOSTON_ROW[3:], "line 32: CRIM: 'NA'; expected a number"),
        (BOSTON_TEXT + "nan" + BOSTON_ROW[3:], "line 32: CRIM: 'nan'; expected a number"),
        (BOSTON_TEXT + BOSTON_ROW[4:], "line 32: 13 values; the header names 14"),
        (BOSTON_TEXT.replace(",", ";"), "column 'CRIM' is missing; .* is separated by semicolons"),
        ("", "line 1: column 'CRIM' is missing; the file is empty"),
        (BOSTON_TEXT, "its 30 x 14 numbers have SHA-256 .*; expected 506 x 14, "),
    ],
)
def test_bad_boston_files_are_refused_with_their_line(home: Path, text: str, message: str) -> None:
    boston_file(home, text)
    with pytest.raises(InputError, match=message):
        load("boston")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (",a,b,label", "line 1, column 1: no name; an index that pandas wrote? Write the file with "
         "index=False; else give it a name, or remove the comma that is too much"),
        ("a,b,,label", "line 1, column 3: no name; an index that pandas wrote?"),
        ("Unnamed: 0,a,b,label", "line 1, column 1: 'Unnamed: 0' is what pandas calls a column "
         "without a name; leave it out, or give it a name"),
        ("a,b,c,Label", "column 'label' is missing; there are 'a', 'b', 'c', 'Label'; did you mean "
         "'Label'?"),
        ("a,b,c,y", "column 'label' is missing; there are 'a', 'b', 'c', 'y'"),
        ("a;b;c;label", "column 'label' is missing; 'a;b;c;label' is separated by semicolons; "
         "expected commas, in all lines"),
        ("a\tb\tlabel", "column 'label' is missing; 'a\\tb\\tlabel' is separated by tabs"),
    ],
)  # fmt: skip
def test_headers_of_tables(tmp_path: Path, header: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(header + "\n" + "".join(f"{i},{i},{i},{'xy'[i % 2]}\n" for i in range(40)))
    with pytest.raises(InputError) as error:
        load(f"csv[path={path}]")
    (problem,) = error.value.problems
    assert problem.startswith(f"data: {path}, line 1")
    assert message in problem


def test_a_column_that_is_called_so_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("x,Unnamed: 1\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(40)))
    assert load(f"csv[path={path},label=Unnamed: 1]").features == 1


def test_a_packed_table_and_one_that_is_no_text(tmp_path: Path) -> None:
    text = "x,label\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(40))
    (tmp_path / "mine.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert load(f"csv[path={tmp_path}/mine.csv.gz]").features == 1
    (tmp_path / "mine.csv").write_bytes(text.encode("utf-16"))
    with pytest.raises(InputError, match=r"byte 0: not UTF-8 text; expected a CSV file in UTF-8"):
        load(f"csv[path={tmp_path}/mine.csv]")
    with pytest.raises(ValueError, match="expected a number"):
        csv_file.number()("1_000")


@pytest.mark.parametrize("how", ["raises", "warns", "dies"])
def test_whatever_a_download_client_does_is_one_plain_message(
    home: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def fetch(*_: object, **__: object) -> Any:
        warnings.warn("Invalid cache, redownloading openml file", RuntimeWarning, stacklevel=1)
        if how == "warns":
            raise sklearn.datasets._openml.OpenMLError("Dataset not found")
        raise {"raises": KeyError("data_set_description"), "dies": MemoryError()}[how]

    monkeypatch.delenv("HGOBENCH_OFFLINE")
    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    for name in ("mnist", "fashion_mnist", "phishing", "boston"):
        with pytest.raises(InputError) as error:
            load(name)
        (problem,) = error.value.problems
        assert f"data: '{name}' is not in {home / name}" in problem
        assert "downloading it from OpenML failed: " in problem
        assert problem.endswith("; set HGOBENCH_DATA to a folder that holds it")


def only_refused(read: Callable[[], Any]) -> None:
    """Read; nothing but an InputError may come out, and soon."""
    started = time.process_time()
    problems: list[str] = []
    try:
        read()
    except InputError as error:
        problems = error.problems
    assert not any("\n" in problem for problem in problems)
    assert time.process_time() - started < 2


@st.composite
def mutated(draw: st.DrawFn, valid: bytes) -> bytes:
    """Bytes of a valid file, some of them changed, cut off, doubled or put in."""
    content = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        how = draw(st.sampled_from(["change", "cut", "double", "insert"]))
        if how == "change" and at < len(content):
            content[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del content[at : at + draw(st.sampled_from([1, 8, len(content)]))]
        elif how == "double":
            content[at:at] = content[max(at - 9, 0) : at + 9]
        else:
            content[at:at] = draw(st.sampled_from([b"\0", b"\xff", b"\n", b",", b"nan", b"1e999"]))
    return bytes(content)


IDX = idx(np.arange(40).reshape(10, 2, 2))
LIBSVM = "".join(f"{i % 2} {1 + i % 7}:0.5 {9 + i % 50}:1\n" for i in range(40)).encode()
TABLE = ("x,y,label\n" + "".join(f"{i},{i % 5}.5,{'ab'[i % 2]}\n" for i in range(40))).encode()
DEVICES = b"class,count,rate_mean,latency\nphone,3,300,0.1\nserver,1,5000,\n"
TRACE = b"worker,round,state\n0,3,off\n1,4,off\n0,9,on\n"
PICTURES = np.arange(2 * 3072).reshape(2, 3072).astype(np.uint8)
BATCH = pickle.dumps({b"data": PICTURES, b"labels": [1, 2]}, 2)
FUZZ = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(content=mutated(IDX))
@example(content=b"")
def test_mutated_idx_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    only_refused(lambda: read_idx(tmp_path / "a"))


@FUZZ
@given(content=mutated(gzip.compress(IDX, mtime=0)))
def test_mutated_gzip_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    only_refused(lambda: read_idx(tmp_path / "a"))


@FUZZ
@given(content=mutated(LIBSVM))
@example(content=b"1 1:\n0 2:1")
@example(content=b"1 0:1 68:1\n0 1:1")
def test_mutated_libsvm_files(home: Path, content: bytes) -> None:
    (home / "phishing").mkdir(exist_ok=True)
    (home / "phishing" / "phishing.libsvm").write_bytes(content)
    only_refused(lambda: tables.Phishing(verify=False).load())


@FUZZ
@given(content=mutated(BOSTON_TEXT.encode()))
def test_mutated_boston_files(home: Path, content: bytes) -> None:
    (home / "boston").mkdir(exist_ok=True)
    (home / "boston" / tables.BOSTON).write_bytes(content)
    only_refused(lambda: tables.Boston(verify=False).load())


@FUZZ
@given(content=mutated(BATCH))
@example(content=pickle.dumps({b"data": []}, 2)[:-1] + b"r\xff\xff\xff\x0a.")  # a place of 180 M
def test_mutated_batches(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "test_batch").write_bytes(content)
    only_refused(lambda: cifar.Cifar10()._batch(tmp_path, "test_batch"))


@FUZZ
@given(content=mutated(b"".join(bytes([i]) + PICTURES[i].tobytes() for i in (0, 1))))
def test_mutated_binary_batches(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "test_batch.bin").write_bytes(content)
    only_refused(lambda: cifar.Cifar10()._batch(tmp_path, "test_batch"))


@FUZZ
@given(
    read=st.sampled_from(
        [("data", "csv", TABLE), ("hardware", "devices", DEVICES), ("hardware", "trace", TRACE)]
    ),
    data=st.data(),
)
def test_mutated_csv_files(tmp_path: Path, read: tuple[str, str, bytes], data: Any) -> None:
    field, name, valid = read
    path = tmp_path / "mine.csv"
    path.write_bytes(data.draw(mutated(valid)))
    if field == "data":
        only_refused(lambda: Csv(str(path)).load())
    else:
        build = catalogue.registry(field).build
        only_refused(lambda: build(f"{name}[path={path}]" + "+c1" * (name == "trace")))


@pytest.mark.usefixtures("images")
def test_a_regression_s_partition_is_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    show = ["show", "partition", "shards", "--data", "boston", "-n", "4"]
    picture = tmp_path / "a.svg"
    main_ = [*show, "--out", str(picture)]
    with pytest.raises(SystemExit) as ended:
        main(main_)
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "shards: boston, 343 training examples, 4 workers (seed 0); a regression" in said
    assert "worker  examples  mean target  deviation" in said
    assert picture.exists()
    dealt = worlds.deal("shards", "boston", 4, 0)
    assert dealt.targets is not None
    labels = load("boston").train.labels
    assert dealt.counts.sum() == len(labels)
    mean = (dealt.counts[:, 0] * dealt.targets[:, 0]).sum() / len(labels)
    assert mean == pytest.approx(labels.mean(), rel=1e-6)
    assert dealt.as_data()["sizes"] == dealt.counts[:, 0].tolist()
