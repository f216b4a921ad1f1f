from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import pickle
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets._openml
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LinearRegression

from hgobench import Scenario, World, run
from hgobench.data import cifar, datasets, files, partitions, tables
from hgobench.data.base import Split
from hgobench.data.datasets import IDX_FILES, digests, download, load, locate, read_idx
from hgobench.errors import InputError


@pytest.mark.parametrize(("name", "examples", "features", "classes"), [
    ("digits", 1797, 64, 10), ("breast_cancer", 569, 30, 2),
])  # fmt: skip
def test_embedded_data(name: str, examples: int, features: int, classes: int) -> None:
    data = load(name)
    parts = (data.train, data.validation, data.test)
    assert sum(map(len, parts)) == examples
    assert data.features == features
    assert data.classes == classes
    for part in parts:
        assert part.features.dtype == np.float32
        assert set(part.labels) == set(range(classes))
    rows = {row.tobytes() for part in parts for row in part.features}
    assert len(rows) == len(np.unique(np.concatenate([p.features for p in parts]), axis=0))


def test_digits_are_scaled_and_breast_cancer_is_standardised_on_training_examples() -> None:
    assert load("digits").train.features.max() == 1.0
    train = load("breast_cancer").train.features
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(axis=0), 1, atol=1e-5)


def test_validation_comes_out_of_training_and_never_out_of_test() -> None:
    whole, held = load("digits[validation=0]"), load("digits")
    assert len(whole.validation) == 0
    assert len(whole.train) == len(held.train) + len(held.validation)
    assert np.array_equal(whole.test.features, held.test.features)


def test_bad_share_is_refused() -> None:
    with pytest.raises(InputError, match=r"validation: 1.5; expected a share in \[0, 1\)"):
        load("digits[validation=1.5]")


@pytest.mark.parametrize("kind", [datasets.Mnist, datasets.FashionMnist])
def test_checksums_of_the_four_files(kind: type[datasets.Images], images: Path) -> None:
    assert digests(images / kind.name) == kind.md5


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_images(name: str, images: Path) -> None:
    data = load(f"{name}[validation=0]")
    assert data.train.features.shape == (60_000, 784)
    assert data.test.features.shape == (10_000, 784)
    assert (data.train.features.min(), data.train.features.max()) == (0.0, 1.0)
    if name == "mnist":
        assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]


def idx(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, dtype=">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_plain_and_packed(tmp_path: Path, packed: bool) -> None:
    array = np.arange(24).reshape(2, 3, 4)
    if packed:
        (tmp_path / "a.gz").write_bytes(gzip.compress(idx(array)))
    else:
        (tmp_path / "a").write_bytes(idx(array))
    assert np.array_equal(read_idx(tmp_path / "a"), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not an IDX file"), (b"\0\0\x09\1", "not an IDX"), (idx(np.arange(4))[:-1], "3 bytes; its header says 4")],
)  # fmt: skip
def test_broken_idx_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_idx(tmp_path / "a")


def test_data_is_looked_for_in_the_cache_and_offline_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "user_cache_path", lambda _: tmp_path)
    monkeypatch.setenv("HGOBENCH_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(InputError, match="HGOBENCH_OFFLINE forbids to download it; set HGOBENCH_"):
        locate("tiny", "tiny", ())
    (tmp_path / "tiny").mkdir()
    for file in IDX_FILES:
        (tmp_path / "tiny" / file).write_bytes(idx(np.arange(3)))
    assert locate("tiny", "tiny", ()) == tmp_path / "tiny"


class OpenML(http.server.BaseHTTPRequestHandler):
    """As much of OpenML as scikit-learn's client asks for, with a data set of 6 images."""

    arff = "@relation tiny\n" + "".join(f"@attribute p{i} numeric\n" for i in range(4))
    arff += "@attribute class {0,1}\n@data\n"
    arff += "".join(f"{i},{i + 1},{i + 2},{i + 3},{i % 2}\n" for i in range(6))

    def do_GET(self) -> None:
        content = self.arff.encode()
        description = {
            "id": "1", "description": "tiny", "name": "tiny", "version": "1", "format": "ARFF", "status": "active",
            "file_id": "1", "default_target_attribute": self.arff.split("@attribute ")[-1].split()[0],
            "md5_checksum": hashlib.md5(content).hexdigest(),
            "url": f"{self.server.url}data/v1/download/1/tiny.arff",  # type: ignore[attr-defined]
        }  # fmt: skip
        rows = str(len(self.arff.partition("@data\n")[2].splitlines()))
        names = [line.split()[1] for line in self.arff.splitlines() if "@attribute" in line]
        features = [
            {"index": str(i), "name": name, "data_type": "nominal" if name == "class" else "numeric",
             "is_target": str(name == names[-1]).lower(),
             "is_ignore": "false", "is_row_identifier": "false", "number_of_missing_values": "0"}
            for i, name in enumerate(names)
        ]  # fmt: skip
        if "/list/" in self.path:
            answer: object = {"data": {"dataset": [{"did": 1, "name": "tiny", "status": "active"}]}}
        elif "/features/" in self.path:
            answer = {"data_features": {"feature": features}}
        elif "/qualities/" in self.path:
            answer = {"data_qualities": {"quality": [{"name": "NumberOfInstances", "value": rows}]}}
        elif "/download/" in self.path:
            answer = None
        else:
            answer = {"data_set_description": description}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content if answer is None else json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


ADDRESS = r"https://(www|api)\.openml\.org/"  # the second of older versions of scikit-learn


@pytest.fixture
def openml(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OpenML)
    url = f"http://127.0.0.1:{server.server_port}/"
    server.url = url  # type: ignore[attr-defined]
    client = sklearn.datasets._openml
    for name, value in list(vars(client).items()):
        if isinstance(value, str) and re.match(ADDRESS, value):
            monkeypatch.setattr(client, name, re.sub(ADDRESS, url, value))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield url
    server.shutdown()
    thread.join()
    server.server_close()


def table(names: list[str], rows: np.ndarray) -> str:
    head = "".join(f"@attribute {name} numeric\n" for name in names)
    lines = "".join(",".join(f"{v:g}" for v in row) + "\n" for row in rows)
    return f"@relation tiny\n{head}@data\n{lines}"


@pytest.mark.usefixtures("openml")
def test_tables_are_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the form that OpenML has them in, to the one of the files that others have."""
    monkeypatch.delenv("HGOBENCH_OFFLINE")
    monkeypatch.delenv("HGOBENCH_DATA", raising=False)
    monkeypatch.setattr(files, "user_cache_path", lambda _: tmp_path)
    rng = np.random.default_rng(0)
    homes = rng.random((40, 14)).round(3)
    monkeypatch.setattr(OpenML, "arff", table(tables.BOSTON_COLUMNS, homes))
    for _ in range(2):  # the second time there is nothing to ask for
        x, y, differs = tables.Boston(verify=False).table()
        np.testing.assert_allclose(np.column_stack((x, y)), homes, rtol=1e-6)
        assert differs.startswith("boston_house_prices.csv: its 40 x 14 numbers have SHA-256")
        monkeypatch.setattr(OpenML, "arff", "gone")
    # 22 properties of two values and 8 of three are 68 features.
    sites = np.array([[i % 2 if j < 22 else i % 3 for j in range(30)] for i in range(60)]) - 1
    label = np.where(np.arange(60) % 5 < 2, -1, 1)
    arff = table([f"p{j}" for j in range(30)] + ["Result"], np.column_stack((sites, label)))
    monkeypatch.setattr(OpenML, "arff", arff)
    shutil.rmtree(tmp_path / "openml", ignore_errors=True)
    data = tables.Phishing(validation=0, verify=False).load()
    assert "60 examples, 24 and 36 of the classes; expected MD5" in data.differs
    whole = np.concatenate([data.train.features, data.test.features])
    assert whole.shape == (60, 68)
    assert np.unique(whole.round(5)) == pytest.approx([0.0, 0.18257])
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.0, rtol=1e-5)
    labels = np.concatenate([data.train.labels, data.test.labels])
    assert np.bincount(labels).tolist() == [24, 36]
    monkeypatch.setattr(OpenML, "arff", table(["p", "Result"], np.ones((5, 2))))
    with pytest.raises(InputError, match="has 1 values of properties; expected 68"):
        tables.download_phishing(tmp_path / "other")


def test_the_tables_of_the_paper(images: Path) -> None:
    boston = load("boston[validation=0]")
    assert (len(boston.train), len(boston.test), boston.features) == (404, 102, 13)
    assert boston.classes == 0
    assert boston.train.labels.dtype == np.float32
    assert float(np.abs(boston.train.features.mean(axis=0)).max()) < 1e-4
    assert float(np.concatenate([boston.train.labels, boston.test.labels]).max()) == 50.0
    held = load("boston")
    assert len(held.train) + len(held.validation) == 404
    phishing = load("phishing[validation=0]")
    assert (phishing.features, phishing.classes) == (68, 2)
    assert len(phishing.train) + len(phishing.test) == 8405


def test_a_broken_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HGOBENCH_DATA", str(tmp_path))
    (tmp_path / "boston").mkdir()
    (tmp_path / "boston" / "boston_house_prices.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"line 1: column 'CRIM' is missing; there are 'a', 'b'"):
        tables.boston()


def test_pairs_of_digits(images: Path) -> None:
    data = load("mnist[validation=0,pair=1v2]")
    assert data.classes == 2
    assert (len(data.train), len(data.test)) == (6742 + 5958, 1135 + 1032)
    assert np.bincount(data.train.labels).tolist() == [6742, 5958]
    for bad in ("1", "1v1", "12v3"):
        with pytest.raises(InputError, match="expected two different classes, as in '1v2'"):
            load(f"mnist[pair={bad}]")


def batches(rng: np.random.Generator) -> dict[str, tuple[np.ndarray, list[int]]]:
    names = list(cifar.BATCHES)
    return {
        name: (
            rng.integers(0, 256, (4, 3072), dtype=np.uint8),
            [(4 * i + j) % 10 for j in range(4)],
        )
        for i, name in enumerate(names)
    }


@pytest.mark.parametrize("version", ["bin", "py"])
@pytest.mark.parametrize("inside", ["", "cifar10"])
def test_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, inside: str) -> None:
    monkeypatch.setenv("HGOBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(files, "user_cache_path", lambda _: tmp_path / "cache")
    with pytest.raises(InputError, match=r"'cifar10' is not in .*it is not downloaded"):
        load("cifar10[verify=false]")
    folder = tmp_path / inside / f"cifar-10-batches-{version}"
    folder.mkdir(parents=True)
    made = batches(np.random.default_rng(0))
    for name, (images, labels) in made.items():
        if version == "bin":
            rows = np.column_stack((np.array(labels, dtype=np.uint8), images))
            (folder / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            (folder / name).write_bytes(pickle.dumps({b"data": images, b"labels": labels}, 2))
    with pytest.raises(InputError, match=r"4 images; expected 10,000" if version == "bin" else
                       "MD5 .*; expected c99cafc152244af753f735de768cd75f, that of CIFAR-10"):  # fmt: skip
        load("cifar10")
    data = load("cifar10[validation=0,verify=false]")
    assert data.differs.count("expected") == 6
    assert (len(data.train), len(data.test), data.features, data.classes) == (20, 4, 3072, 10)
    first = made["data_batch_1"]
    np.testing.assert_allclose(data.train.features[:4], first[0] / 255, rtol=1e-6)
    assert data.train.labels[:4].tolist() == first[1]
    assert data.test.labels.tolist() == made["test_batch"][1]
    last = folder / ("test_batch.bin" if version == "bin" else "test_batch")
    last.write_bytes(b"\0" * 7 if version == "bin" else pickle.dumps(Path("x")))
    with pytest.raises(InputError, match="7 bytes" if version == "bin" else "it asks for pathlib"):
        load("cifar10[validation=0,verify=false]")


def test_a_regression_is_trained_and_its_accuracy_is_what_it_explains(images: Path) -> None:
    result = run(
        Scenario(data="boston[validation=0]", model="linear", partition="iid", workers=12,
                 sampled=9, rule="average", hardware="powerful", deadline=64.0, rounds=60,
                 learning_rate=0.1)
    )  # fmt: skip
    data = load("boston[validation=0]")
    ours = result.summary["test_accuracy"]
    theirs = LinearRegression().fit(data.train.features, data.train.labels)
    assert ours == pytest.approx(theirs.score(data.test.features, data.test.labels), abs=0.05)
    assert result.summary["test_loss"] == pytest.approx(
        0.5 * np.mean((theirs.predict(data.test.features) - data.test.labels) ** 2), rel=0.15
    )
    refused = run(
        Scenario(data="boston", model="linear", partition="iid", workers=12, byzantine=2,
                 attack="label_flip", rounds=2)
    )  # fmt: skip
    assert refused.status == "failed"
    assert refused.reason == "round 1: attack: 'label_flip': the data have no classes"


def expected_parts() -> list[bytes]:
    images = np.array([[i, i + 1, i + 2, i + 3] for i in range(6)]).reshape(6, 2, 2)
    labels = np.arange(6) % 2
    return [idx(images[:4]), idx(labels[:4]), idx(images[4:]), idx(labels[4:])]


@pytest.mark.usefixtures("openml")
def test_download_writes_idx_files_and_checks_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    md5 = tuple(hashlib.md5(part).hexdigest() for part in expected_parts())
    monkeypatch.delenv("HGOBENCH_OFFLINE")
    monkeypatch.delenv("HGOBENCH_DATA", raising=False)
    monkeypatch.setattr(files, "user_cache_path", lambda _: tmp_path)
    monkeypatch.setattr(datasets.download, "__defaults__", (2,))
    folder = locate("tiny", "tiny", md5)
    assert digests(folder) == md5
    assert [(folder / file).read_bytes() for file in IDX_FILES] == expected_parts()


@pytest.mark.usefixtures("openml")
def test_download_refuses_other_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="OpenML's 'tiny' has MD5"):
        download("tiny", tmp_path, ("0",) * 4, test=2)
    assert not any((tmp_path / file).exists() for file in IDX_FILES)


def test_no_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise OSError("no route to host")

    monkeypatch.delenv("HGOBENCH_OFFLINE")
    monkeypatch.delenv("HGOBENCH_DATA", raising=False)
    monkeypatch.setattr(files, "user_cache_path", lambda _: tmp_path)
    monkeypatch.setattr(datasets, "download", unreachable)
    with pytest.raises(InputError, match="failed: no route to host; set HGOBENCH_DATA"):
        locate("tiny", "tiny", ())


def examples(labels: np.ndarray, groups: np.ndarray | None = None) -> Split:
    return Split(np.zeros((len(labels), 4), dtype=np.float32), labels, groups, image=(2, 2))


PARTITIONS = [
    "iid",
    "by_class[k=1]",
    "by_class[k=2]",
    "by_class[k=3]",
    "dirichlet[alpha=0.1]",
    "dirichlet[alpha=10]",
    "label_dirichlet[alpha=0.1]",
    "label_dirichlet[alpha=10]",
    "shards",
    "shards[k=1,degree=0.3]",
    "shards[k=5,degree=0]",
    "gamma_similarity[gamma=0]",
    "gamma_similarity[gamma=0.7]",
    "quantity_skew",
    "quantity_skew[distribution=power_law,alpha=1]",
    "feature_shift",
    "natural",
]


@pytest.mark.parametrize("partition", PARTITIONS)
@settings(max_examples=25, deadline=None)
@given(workers=st.integers(10, 60), seed=st.integers(0, 1000))
def test_shards_are_disjoint_cover_all_and_repeat(partition: str, workers: int, seed: int) -> None:
    labels = np.random.default_rng(0).integers(0, 10, 2000)
    deal = partitions.registry.build(partition)
    if partition in ("dirichlet[alpha=0.1]", "quantity_skew"):
        labels = np.tile(labels, 10)  # with fewer examples a worker may well be left empty
    train = examples(labels, np.random.default_rng(1).integers(0, 300, len(labels)))
    shards = deal(train, workers, seed)
    assert len(shards) == workers
    assert sorted(np.concatenate(shards).tolist()) == list(range(len(labels)))
    again = deal(train, workers, seed)
    assert all(np.array_equal(a, b) for a, b in zip(shards, again, strict=True))
    other = deal(train, workers, seed + 1)
    if partition != "feature_shift":  # its draws are shown below
        assert any(not np.array_equal(a, b) for a, b in zip(shards, other, strict=True))
    if partition.startswith("by_class"):
        k = int(partition[-2])
        assert all(len(np.unique(labels[shard])) == k for shard in shards)
    if partition == "natural":
        owners = [set(train.groups[shard]) for shard in shards]  # type: ignore[index]
        assert sum(map(len, owners)) == len(set.union(*owners))


def test_iid_parts_have_equal_sizes() -> None:
    sizes = {len(s) for s in partitions.registry.build("iid")(examples(np.zeros(103, int)), 10, 0)}
    assert sizes == {10, 11}


def test_by_class_shares_classes_evenly_among_workers() -> None:
    labels = np.repeat(np.arange(10), 100)
    shards = partitions.registry.build("by_class[k=2]")(examples(labels), 50, 3)
    holders = [sum(c in labels[shard] for shard in shards) for c in range(10)]
    assert holders == [10] * 10
    pairs = {tuple(np.unique(labels[shard])) for shard in shards}
    assert len(pairs) > 15  # not always the same classes together


def test_dirichlet_concentration_has_its_meaning() -> None:
    """The spread of a class over workers falls with α: Σ p² has mean (α+1)/(nα+1)."""
    labels = np.repeat(np.arange(10), 1000)
    for alpha in (0.5, 5.0):
        shards = partitions.registry.build(f"dirichlet[alpha={alpha}]")(examples(labels), 20, 0)
        counts = np.array([np.bincount(labels[shard], minlength=10) for shard in shards])
        concentration = ((counts / 1000) ** 2).sum(axis=0).mean()
        assert concentration == pytest.approx((alpha + 1) / (20 * alpha + 1), rel=0.25)


@pytest.mark.parametrize(
    ("partition", "size", "workers", "message"),
    [
        ("iid", 5, 6, "5 training examples for 6 workers"),
        (
            "by_class[k=2]",
            100,
            4,
            r"by_class\[k=2\] with 4 workers and 10 classes; expected k <= 10",
        ),
        ("by_class[k=11]", 100, 20, "expected k <= 10"),
        ("by_class[k=10]", 50, 20, "class 0 has 5 examples for 20 workers"),
        ("dirichlet[alpha=0.001]", 100, 60, "leaves .* of 60 workers without examples"),
        ("shards[k=3]", 100, 40, "100 training examples for 40 workers of 3 pieces each; expected"),
        (
            "quantity_skew[alpha=0.001]",
            100,
            60,
            "QuantitySkew leaves .* of 60 workers without examples; use fewer workers",
        ),
        ("quantity_skew[distribution=power_law,alpha=4]", 100, 60, "workers without examples"),
        (
            "natural",
            100,
            10,
            "natural: the data names no groups; name a column of a table by group=COLUMN",
        ),
    ],
)
def test_impossible_partitions_are_refused(
    partition: str, size: int, workers: int, message: str
) -> None:
    labels = np.arange(size) % 10
    with pytest.raises(InputError, match=message):
        partitions.registry.build(partition)(examples(labels), workers, 0)


@pytest.mark.parametrize(
    ("partition", "message"),
    [
        ("shards[k=0]", "k: 0; expected an integer >= 1"),
        ("shards[degree=2]", r"degree: 2.0; expected a number in \[0, 1\]"),
        ("gamma_similarity[gamma=-1]", r"gamma: -1.0; expected a number in \[0, 1\]"),
        ("gamma_similarity[gamma=1.5]", r"gamma: 1.5; expected a number in \[0, 1\]"),
        (
            "quantity_skew[distribution=zipf]",
            "distribution: 'zipf'; expected 'dirichlet' or 'power",
        ),
        ("feature_shift[by=colour]", "by: 'colour'; expected 'rotation' or 'noise'"),
        ("feature_shift[strength=0]", "strength: 0.0; expected a finite number > 0"),
    ],
)
def test_bad_parameters_of_partitions_are_refused(partition: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        partitions.registry.build(partition)


def test_dirichlet_shares_are_beta_distributed() -> None:
    """A worker's share of a class is Beta(α, (n-1)α): a Kolmogorov test with a fixed seed."""
    labels = np.repeat(np.arange(40), 2000)
    shards = partitions.registry.build("dirichlet[alpha=0.7]")(examples(labels), 10, 1)
    shares = np.array([np.bincount(labels[shard], minlength=40) for shard in shards])[0] / 2000
    assert stats.kstest(shares, stats.beta(0.7, 6.3).cdf).pvalue > 0.01


def test_each_worker_has_a_class_distribution_of_its_own() -> None:
    """Of n workers a share of class c is Beta(α·p_c, α·(1 - p_c)) while no class runs out."""
    labels = np.repeat([0, 1], [5_000, 15_000])
    deal = partitions.registry.build("label_dirichlet[alpha=4]")
    shares = [np.mean(labels[deal(examples(labels), 100, seed)[0]] == 0) for seed in range(150)]
    assert stats.kstest(shares, stats.beta(1.0, 3.0).cdf).pvalue > 0.01


def test_the_largest_share_of_a_class_is_that_of_drawing_one_by_one() -> None:
    """About 0.83 at α = 0.3, thirty workers of digits: 0.85 as drawn, less as classes run out."""
    labels = load("digits").train.labels
    counts = np.bincount(labels)
    deal = partitions.registry.build("label_dirichlet[alpha=0.3]")

    def largest(shards: list[np.ndarray]) -> float:
        return float(np.mean([np.bincount(labels[s]).max() / len(s) for s in shards]))

    def one_by_one(seed: int) -> float:
        rng = np.random.default_rng(seed)
        stock, shares = counts.copy(), []
        for worker in range(30):
            q, mine = rng.dirichlet(0.3 * counts / counts.sum()), np.zeros(10, dtype=int)
            for _ in range(41 if worker < len(labels) % 30 else 40):
                left = q * (stock > 0)
                left = left / left.sum() if left.sum() > 0 else stock / stock.sum()
                drawn = rng.choice(10, p=left)
                mine[drawn] += 1
                stock[drawn] -= 1
            shares.append(mine.max() / mine.sum())
        return float(np.mean(shares))

    dealt = [deal(examples(labels), 30, seed) for seed in range(40)]
    assert all({len(shard) for shard in shards} == {40, 41} for shards in dealt)
    found = np.array([largest(shards) for shards in dealt])
    known = np.array([one_by_one(seed) for seed in range(10)])
    assert found.mean() == pytest.approx(0.83, abs=0.02)
    assert stats.ttest_ind(found, known).pvalue > 0.01
    by_shares = partitions.registry.build("dirichlet[alpha=0.3]")
    assert largest(by_shares(examples(labels), 30, 0)) < 0.55, "of the other kind"


def test_a_concentration_that_is_no_number_any_more_is_refused() -> None:
    deal = partitions.registry.build("label_dirichlet[alpha=5e-324]")
    with pytest.raises(
        InputError, match=r"alpha: 4\.94066e-324; expected a number whose product with"
    ):
        deal(examples(np.arange(40) % 4), 4, 0)


def test_no_class_distribution_of_a_regression() -> None:
    with pytest.raises(InputError, match="partition: label_dirichlet: the labels are real numbers"):
        partitions.registry.build("label_dirichlet")(
            examples(np.linspace(0, 1, 40, dtype=np.float32)), 4, 0
        )


@pytest.mark.parametrize(
    "partition", ["iid", "quantity_skew[alpha=5]", "gamma_similarity[gamma=1]"]
)
def test_labels_are_distributed_alike_where_they_should_be(partition: str) -> None:
    labels = np.random.default_rng(0).integers(0, 10, 20_000)
    shards = partitions.registry.build(partition)(examples(labels), 20, 0)
    table = np.array([np.bincount(labels[shard], minlength=10) for shard in shards])
    assert stats.chi2_contingency(table).pvalue > 0.01


def test_quantity_skew_has_its_sizes() -> None:
    """Power law: the sizes are N·r^-a/Σ; Dirichlet: a share is Beta(α, (n-1)α)."""
    train = examples(np.zeros(100_000, dtype=int))
    power = partitions.registry.build("quantity_skew[distribution=power_law,alpha=1.5]")
    sizes = sorted(map(len, power(train, 20, 3)), reverse=True)
    weights = np.arange(1, 21) ** -1.5
    np.testing.assert_allclose(sizes, 100_000 * weights / weights.sum(), atol=1)
    dirichlet = partitions.registry.build("quantity_skew[alpha=2]")
    first = [len(dirichlet(train, 10, seed)[0]) / 100_000 for seed in range(200)]
    assert stats.kstest(first, stats.beta(2, 18).cdf).pvalue > 0.01


def test_shards_are_pieces_in_the_order_of_labels() -> None:
    """The authors' 200 pieces of 300 for 100 workers: 600 each, mostly of two classes."""
    labels = np.random.default_rng(0).integers(0, 10, 60_000)
    shards = partitions.registry.build("shards")(examples(labels), 100, 0)
    assert {len(shard) for shard in shards} == {600}
    classes = np.array([len(np.unique(labels[shard])) for shard in shards])
    assert 70 <= (classes == 2).sum() <= 90
    assert set(classes) <= {1, 2, 3, 4}
    rank = np.empty(60_000, dtype=int)
    ordered = np.argsort(labels, kind="stable")
    rank[ordered] = np.arange(60_000)
    for shard in shards[:5]:  # each half is of neighbouring labels
        for piece in (shard[:300], shard[300:]):
            assert labels[piece].max() - labels[piece].min() <= 1


def test_degree_is_the_share_that_is_sorted() -> None:
    labels = np.repeat(np.arange(10), 1000)
    share = []
    for degree in (0.0, 0.5, 1.0):
        partition = partitions.registry.build(f"shards[k=1,degree={degree}]")
        counts = [np.bincount(labels[s], minlength=10) for s in partition(examples(labels), 10, 0)]
        share.append(np.mean([c.max() / c.sum() for c in counts]))
    np.testing.assert_allclose(share, [0.1, 0.55, 1.0], atol=0.03)


def test_gamma_similarity_is_shards_with_one_piece() -> None:
    train = examples(np.random.default_rng(0).integers(0, 10, 1000))
    mine = partitions.registry.build("gamma_similarity[gamma=0.25]")(train, 20, 4)
    same = partitions.registry.build("shards[k=1,degree=0.75]")(train, 20, 4)
    assert all(np.array_equal(a, b) for a, b in zip(mine, same, strict=True))


def test_feature_shift_turns_each_worker_s_images_by_its_angle() -> None:
    data = load("digits").train
    partition = partitions.registry.build("feature_shift[strength=90]")
    assert isinstance(partition, partitions.FeatureShift)
    shards = partition(data, 3, 0)
    angles = partition.levels(3, 0)
    assert sorted(angles) == [-90, 0, 90]
    shifted = partition.shift(data, shards, 0)
    for shard, angle in zip(shards, angles, strict=True):
        images = data.features[shard].reshape(-1, 8, 8)
        turned = np.rot90(images, int(angle) // 90, axes=(1, 2))
        np.testing.assert_allclose(shifted[shard].reshape(-1, 8, 8), turned, atol=1e-5)


def test_feature_shift_adds_each_worker_s_noise() -> None:
    data = load("breast_cancer").train
    partition = partitions.registry.build("feature_shift[by=noise,strength=2]")
    assert isinstance(partition, partitions.FeatureShift)
    shards = partition(data, 4, 0)
    shifted = partition.shift(data, shards, 0)
    assert sorted(partition.levels(4, 0)) == [0.5, 1, 1.5, 2]
    for shard, sigma in zip(shards, partition.levels(4, 0), strict=True):
        noise = (shifted[shard] - data.features[shard]).ravel()
        assert stats.kstest(noise, stats.norm(scale=sigma).cdf).pvalue > 0.001
    rotation = partitions.registry.build("feature_shift")
    with pytest.raises(InputError, match="the data are no square images; use by=noise"):
        rotation(data, 4, 0)
    assert list(partitions.FeatureShift().levels(1, 0)) == [0.0]


def test_only_workers_see_shifted_features() -> None:
    plain = World(data="digits", workers=10, partition="iid")
    turned = World(data="digits", workers=10, partition="feature_shift")
    assert not torch.equal(plain.features, turned.features)
    assert torch.equal(plain.root(50)[0], turned.root(50)[0])


TABLE = "x,who,y,label\n" + "".join(
    f"{i},{'abc'[i % 3]},{i * i},{'yes' if i % 2 else 'no'}\n" for i in range(60)
)


def test_a_table_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(TABLE)
    data = load(f"csv[path={path},group=who]")
    assert (data.features, data.classes) == (2, 2)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [40, 8, 12]
    np.testing.assert_allclose(data.train.features.std(axis=0), 1, atol=1e-5)
    shards = partitions.registry.build("natural")(data.train, 3, 0)
    assert data.train.groups is not None
    assert [len(set(data.train.groups[shard])) for shard in shards] == [1, 1, 1]
    with pytest.raises(InputError, match="3 groups for 4 workers; expected at least one each"):
        partitions.registry.build("natural")(data.train, 4, 0)
    scenario = Scenario(
        data=f"csv[path={path},group=who]", partition="natural", workers=3, rounds=2
    )
    assert run(scenario).status == "done"


def test_natural_groups_are_dealt_evenly() -> None:
    groups = np.repeat(np.arange(50), np.arange(1, 51))
    shards = partitions.registry.build("natural")(examples(groups % 3, groups), 5, 0)
    sizes = [len(shard) for shard in shards]
    assert max(sizes) - min(sizes) <= 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x,label\n1,a\ntwo,b\n", "line 3: x: 'two'; expected a finite number"),
        ("x,label\n1,a\n2\n", "line 3: 1 values; the header names 2"),
        ("x,y\n1,2\n", "line 1: column 'label' is missing"),
        ("x,label,x\n1,a,2\n", "line 1: column 'x' appears twice"),
        ("x,label\n", "no lines behind the header"),
        ("", "line 1: column 'label' is missing"),
        ("x,label\n1,a\n2,a\n", "1 features, 1 classes; expected at least one feature and two"),
        ("x,label\ninf,a\n2,b\n", "line 2: x: 'inf'; expected a finite number"),
        ("x,label\n1,a\n2,b\n3,a\n", "can't be split"),
        ("x,label\n1,a\n2,\n", "line 3: label: ''; expected some text"),
        ('x,label\n1,a\n2,"b\n', "line 3: unexpected end of data"),
        ("x,label\n1,a\n2,b\0\n", "line 3: a zero byte; expected a CSV file"),
        ("x,label\n" + "1,0\n2,1\n3,1.0\n" * 9, "label: '1' and '1.0' differ in their spelling al"),
        ("x,label\n" + "1,no\n2,Yes\n3,yes\n" * 9, "label: 'Yes' and 'yes' differ in their spell"),
        ("x,label\n" + "1,0\n2,1\n3,NA\n" * 9, "label: 'NA' looks as if the label were missing"),
        ("x,label\n" + "1,a\n2,b\n3,NaN\n" * 9, "label: 'NaN' looks as if the label were miss"),
        (
            "id,x,label\n" + "".join(f"{i},{i % 7},{i > 20}\n" for i in range(5, 40)),
            "column 'id' counts the lines, which are sorted by class: it gives the class away",
        ),
        ("x,label\n" + "1,a\n2,b\n" * 9 + "1e300,a\n-1e300,b\n" * 9, "too large to be standardi"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load(f"csv[path={path}]")


def test_large_values_keep_their_differences(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    rows = "".join(f"{1_700_000_000 + i},{'ab'[i % 2]}\n" for i in range(200))
    path.write_text("\n\ntime,label\n" + rows)
    data = load(f"csv[path={path}]")
    assert len(np.unique(data.train.features)) == len(data.train)


def test_a_column_may_have_a_number_for_a_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("x,7,true\n" + "".join(f"{i},{i % 3},{'ab'[i % 2]}\n" for i in range(60)))
    assert load(f"csv[path={path},label=true,group=7]").train.groups is not None


def test_natural_groups_and_angles_depend_on_the_seed() -> None:
    groups = np.repeat(np.arange(40), 5)
    deal = partitions.registry.build("natural")
    first, second = (deal(examples(groups % 3, groups), 10, seed) for seed in (0, 1))
    assert any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    shift = partitions.FeatureShift()
    assert list(shift.levels(10, 0)) != list(shift.levels(10, 1))


@pytest.mark.parametrize("gamma", [0.3, 0.5, 0.8])
def test_shards_leave_nobody_empty_if_there_is_one_for_each(gamma: float) -> None:
    partition = partitions.registry.build(f"gamma_similarity[gamma={gamma}]")
    shards = partition(examples(np.arange(120) % 10), 100, 0)
    assert min(map(len, shards)) >= 1


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"data: 'nowhere.csv': No such file or directory"):
        load("csv[path=nowhere.csv]")


def test_feature_shift_turns_all_channels_alike() -> None:
    pixels = np.random.default_rng(0).random((12, 3, 5, 5)).astype(np.float32)
    labels = np.arange(12) % 2
    partition = partitions.registry.build("feature_shift[strength=90]")
    colour = Split(pixels.reshape(12, 75), labels, image=(3, 5, 5))
    shards = partition(colour, 3, 0)
    together = partition.shift(colour, shards, 0).reshape(12, 3, 5, 5)
    for channel in range(3):
        grey = Split(pixels[:, channel].reshape(12, 25), labels, image=(5, 5))
        alone = partition.shift(grey, shards, 0).reshape(12, 5, 5)
        assert np.array_equal(together[:, channel], alone)
    flat = Split(pixels.reshape(12, 75), labels, image=(3, 25, 1))
    with pytest.raises(InputError, match="the data are no square images; use by=noise"):
        partition(flat, 3, 0)


def test_data_without_groups_are_told_all_ways_to_have_some() -> None:
    with pytest.raises(InputError, match="names no groups; name a column") as error:
        World(data="digits", partition="natural", workers=4)
    for way in ("group=COLUMN", "qid:GROUP", "groups in an .npz", "CLASS/GROUP/IMAGE", "function"):
        assert way in str(error.value)
