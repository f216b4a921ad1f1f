from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets._openml
from hypothesis import given, settings
from hypothesis import strategies as st

from hgobench.data import datasets, partitions
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
    monkeypatch.setattr(datasets, "user_cache_path", lambda _: tmp_path)
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
            "file_id": "1", "default_target_attribute": "class",
            "md5_checksum": hashlib.md5(content).hexdigest(),
            "url": f"{self.server.url}data/v1/download/1/tiny.arff",  # type: ignore[attr-defined]
        }  # fmt: skip
        features = [
            {"index": str(i), "name": f"p{i}", "data_type": "numeric", "is_target": "false",
             "is_ignore": "false", "is_row_identifier": "false", "number_of_missing_values": "0"}
            for i in range(4)
        ]  # fmt: skip
        features.append({**features[0], "index": "4", "name": "class", "data_type": "nominal",
                         "is_target": "true"})  # fmt: skip
        if "/list/" in self.path:
            answer: object = {"data": {"dataset": [{"did": 1, "name": "tiny", "status": "active"}]}}
        elif "/features/" in self.path:
            answer = {"data_features": {"feature": features}}
        elif "/qualities/" in self.path:
            answer = {"data_qualities": {"quality": [{"name": "NumberOfInstances", "value": "6"}]}}
        elif "/download/" in self.path:
            answer = None
        else:
            answer = {"data_set_description": description}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content if answer is None else json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def openml(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OpenML)
    url = f"http://127.0.0.1:{server.server_port}/"
    server.url = url  # type: ignore[attr-defined]
    client = sklearn.datasets._openml
    for name, value in list(vars(client).items()):
        if isinstance(value, str) and value.startswith("https://www.openml.org/"):
            monkeypatch.setattr(client, name, value.replace("https://www.openml.org/", url))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield url
    server.shutdown()
    thread.join()
    server.server_close()


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
    monkeypatch.setattr(datasets, "user_cache_path", lambda _: tmp_path)
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
    monkeypatch.setattr(datasets, "user_cache_path", lambda _: tmp_path)
    monkeypatch.setattr(datasets, "download", unreachable)
    with pytest.raises(InputError, match="failed: no route to host; set HGOBENCH_DATA"):
        locate("tiny", "tiny", ())


PARTITIONS = ["iid", "by_class[k=1]", "by_class[k=2]", "by_class[k=3]", "dirichlet[alpha=0.1]", "dirichlet[alpha=10]"]  # fmt: skip


@pytest.mark.parametrize("partition", PARTITIONS)
@settings(max_examples=25, deadline=None)
@given(workers=st.integers(10, 60), seed=st.integers(0, 1000))
def test_shards_are_disjoint_cover_all_and_repeat(partition: str, workers: int, seed: int) -> None:
    labels = np.random.default_rng(0).integers(0, 10, 2000)
    deal = partitions.registry.build(partition)
    if partition == "dirichlet[alpha=0.1]":
        labels = np.tile(labels, 10)  # with fewer examples a worker may well be left empty
    shards = deal(labels, workers, seed)
    assert len(shards) == workers
    assert sorted(np.concatenate(shards).tolist()) == list(range(len(labels)))
    again = deal(labels, workers, seed)
    assert all(np.array_equal(a, b) for a, b in zip(shards, again, strict=True))
    if partition.startswith("by_class"):
        k = int(partition[-2])
        assert all(len(np.unique(labels[shard])) == k for shard in shards)


def test_iid_parts_have_equal_sizes() -> None:
    sizes = {len(s) for s in partitions.registry.build("iid")(np.zeros(103, int), 10, 0)}
    assert sizes == {10, 11}


def test_by_class_shares_classes_evenly_among_workers() -> None:
    labels = np.repeat(np.arange(10), 100)
    shards = partitions.registry.build("by_class[k=2]")(labels, 50, 3)
    holders = [sum(c in labels[shard] for shard in shards) for c in range(10)]
    assert holders == [10] * 10
    pairs = {tuple(np.unique(labels[shard])) for shard in shards}
    assert len(pairs) > 15  # not always the same classes together


def test_dirichlet_concentration_has_its_meaning() -> None:
    """The spread of a class over workers falls with α: Σ p² has mean (α+1)/(nα+1)."""
    labels = np.repeat(np.arange(10), 1000)
    for alpha in (0.5, 5.0):
        shards = partitions.registry.build(f"dirichlet[alpha={alpha}]")(labels, 20, 0)
        counts = np.array([np.bincount(labels[shard], minlength=10) for shard in shards])
        concentration = ((counts / 1000) ** 2).sum(axis=0).mean()
        assert concentration == pytest.approx((alpha + 1) / (20 * alpha + 1), rel=0.25)


@pytest.mark.parametrize(
    ("partition", "examples", "workers", "message"),
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
    ],
)
def test_impossible_partitions_are_refused(
    partition: str, examples: int, workers: int, message: str
) -> None:
    labels = np.arange(examples) % 10
    with pytest.raises(InputError, match=message):
        partitions.registry.build(partition)(labels, workers, 0)
