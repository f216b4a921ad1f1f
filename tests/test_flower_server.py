"""What a Flower server reads of a reply, and what it decides: without Flower."""

from __future__ import annotations

import re
import subprocess
import sys
import tracemalloc
from collections.abc import Mapping
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hgobench import aggregators
from hgobench.aggregators import Rule, ServerView
from hgobench.algorithms import GradientDescent, Hgo, Order, Places
from hgobench.determinism import one_thread, stream
from hgobench.errors import InputError
from hgobench.flower import Layout, Reply, ReplyError, RuleServer
from hgobench.flower.server import lower_median
from hgobench.models import Quadratic
from hgobench.protocol import Server, receive_sets
from tests import oracles
from tests.conftest import ROOT

Arrays = dict[str, NDArray[Any]]


class Serialised(NamedTuple):
    data: Any
    stype: str = "numpy.ndarray"


def saved(array: NDArray[Any]) -> Serialised:
    stream = BytesIO()
    np.save(stream, array)
    return Serialised(stream.getvalue())


def sent(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Serialised]:
    return {name: saved(array) for name, array in arrays.items()}


MODEL: Arrays = {
    "w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "count": np.array(7),
    "b": np.array([0.5, -0.5], np.float32),
}
LAYOUT = Layout(MODEL)


# -- arrays ----------------------------------------------------------------------------------------


@given(st.data())
def test_arrays_come_back_as_they_were(data: st.DataObject) -> None:
    types = st.sampled_from(["float16", "float32", "float64", "int8", "int64", "uint8", "bool"])
    shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
    draw = np.random.default_rng(data.draw(st.integers(0, 99)))
    arrays: Arrays = {"first": np.ones(2, np.float16)}
    for place, kind in enumerate(data.draw(st.lists(types, max_size=4))):
        size = data.draw(shapes)
        arrays[f"{place}"] = draw.integers(0, 2, size).astype(kind)
    layout = Layout(arrays)
    counters = {name: array for name, array in arrays.items() if array.dtype.kind != "f"}
    again = layout.arrays(layout.vector(arrays), counters)
    assert list(again) == list(arrays)
    reply = layout.reply(sent(arrays))
    assert reply.sent is None
    for name, array in arrays.items():
        assert (again[name].dtype, again[name].shape) == (array.dtype, array.shape)
        assert np.array_equal(again[name], array)
    assert np.array_equal(reply.values, layout.vector(arrays))
    assert {name: a.tolist() for name, a in reply.counters.items()} == {
        name: a.tolist() for name, a in counters.items()
    }


def test_arrays_of_another_order_in_memory_are_read_as_they_are() -> None:
    arrays = {**MODEL, "w": np.asfortranarray(MODEL["w"])}
    assert b"'fortran_order': True" in saved(arrays["w"]).data
    assert LAYOUT.reply(sent(arrays)).values.tolist() == [0, 1, 2, 3, 4, 5, 0.5, -0.5]


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"w": np.zeros(2, complex)}, "arrays: 'w' is of type <c16; expected numbers of this"),
        ({"w": np.array(["a"])}, "arrays: 'w' is of type <U1; expected"),
        ({"w": np.zeros(2, ">f4")}, "arrays: 'w' is of type >f4; expected"),
        ({"w": np.array([1.0, np.nan])}, "arrays: 'w' has NaN or infinite values"),
        ({"n": np.zeros(2, int)}, "arrays: none of them has floating-point numbers to aggregate"),
    ],
)
def test_arrays_that_can_t_be_aggregated_are_refused(arrays: Arrays, problem: str) -> None:
    with pytest.raises(InputError) as refused:
        Layout(arrays)
    assert problem in str(refused.value)


W, B = MODEL["w"], MODEL["b"]
NPZ = BytesIO()
np.savez(NPZ, w=W)
HUGE = b"\x93NUMPY\x01\x00F\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }".ljust(
    69
) + b"\n"  # fmt: skip
HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "NaN": ({"w": saved(W * np.nan)}, "array 'w': NaN in 6 entries"),
    "infinite": (
        {"b": saved(np.array([1, -np.inf], np.float32))},
        "array 'b': infinite in 1 entries",
    ),
    "another name": ({"x": saved(W)}, "array 'x' is none of the server's"),
    "an unprintable name": ({"\x1b[2J\ud800": saved(W)}, r"array '\x1b[2J\ud800' is none of the"),
    "shape": ({"w": saved(W.T)}, "array 'w': shape (3, 2); expected (2, 3)"),
    "type": ({"w": saved(W.astype(float))}, "array 'w': type 'float64'; expected float32"),
    "byte order": ({"w": saved(W.astype(">f4"))}, "array 'w': type '>f4'; expected float32"),
    "no bytes": ({"w": Serialised(b"")}, "array 'w': bytes that are no array of NumPy's"),
    "garbage": ({"w": Serialised(b"\x00\xff" * 40)}, "array 'w': bytes that are no array of"),
    "an archive": ({"w": Serialised(NPZ.getvalue())}, "array 'w': bytes that are no array of"),
    "a pickle": (
        {"w": saved(np.zeros((2, 3), "V4"))},
        "array 'w': type '|V4'; expected float32",
    ),
    "cut off": ({"w": Serialised(saved(W).data[:-1])}, "array 'w': 23 bytes of numbers; expected 24"),
    "more behind": ({"w": Serialised(saved(W).data + b"!")}, "array 'w': 25 bytes of numbers"),
    "large": ({"w": Serialised(b"x" * 20_000)}, "array 'w': 20,000 bytes; expected about 24"),
    "claims to be large": ({"w": Serialised(HUGE)}, "array 'w': shape (99999999999,); expected"),
    "another format": ({"w": Serialised(b"", "torch")}, "array 'w': serialised as 'torch'"),
    "text": ({"w": Serialised("text")}, "array 'w': str; expected bytes"),
    "a counter's type": ({"count": saved(np.array(7.0))}, "array 'count': type 'float64'; expected int64"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("partial", [False, True])
def test_what_no_client_would_send_is_refused(what: str, partial: bool) -> None:
    changed, problem = HOSTILE[what]
    tracemalloc.start()
    with pytest.raises(ReplyError) as refused:
        LAYOUT.reply({**sent(MODEL), **changed}, partial=partial)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert problem in str(refused.value)
    assert str(refused.value).isprintable()
    assert peak < 300_000


@given(st.binary(max_size=300), st.integers(0, 200), st.integers(0, 3))
def test_of_anybody_s_bytes_nothing_but_a_refusal_is_raised(
    anything: bytes, place: int, how: int
) -> None:
    good = saved(W).data
    data = (anything, good[:place] + anything, good[:place] + anything + good[place:],
            good[:place] + anything + good[place + len(anything) :])[how]  # fmt: skip
    try:
        reply = LAYOUT.reply({**sent(MODEL), "w": Serialised(data)})
    except ReplyError:
        return
    assert reply.values.shape == (8,)
    assert np.isfinite(reply.values).all()


def test_a_part_of_the_arrays_is_an_answer_where_it_is_asked_for() -> None:
    arrays = sent({"w": np.where(W > 3, np.nan, W)})
    mask = {"w": saved(W <= 3)}
    with pytest.raises(ReplyError, match="array 'count' is missing"):
        LAYOUT.reply(arrays)
    with pytest.raises(ReplyError, match="says which entries it sent; expected all of them"):
        LAYOUT.reply(sent(MODEL), mask)
    with pytest.raises(ReplyError, match="array 'w': NaN in 2 entries"):
        LAYOUT.reply(arrays, partial=True)
    reply = LAYOUT.reply(arrays, mask, partial=True)
    assert reply.values.tolist() == [0, 1, 2, 3, 0, 0, 0, 0]
    assert reply.sent is not None
    assert reply.sent.tolist() == [True] * 4 + [False] * 4
    assert reply.counters == {}
    whole = LAYOUT.reply(sent(MODEL), {"w": saved(W < 99)}, partial=True)
    assert whole.sent is None
    for masks, problem in (
        ({"b": saved(B > 0)}, "mask 'b' is of no floating-point array that was sent"),
        ({"w": saved(W)}, "mask 'w': type 'float32'; expected bool"),
        ({"w": saved(W > 99)}, "sent nothing"),
        ({"w": Serialised(saved(W > 3).data[:-1] + b"\x02")}, "mask 'w': bytes that are neither"),
    ):
        with pytest.raises(ReplyError, match=problem):
            LAYOUT.reply(arrays, masks, partial=True)
    with pytest.raises(ReplyError, match="sent nothing"):
        LAYOUT.reply({}, partial=True)


def test_a_value_that_is_too_large_for_its_array_is_told() -> None:
    layout = Layout({"h": np.zeros(2, np.float16)})
    assert layout.arrays(np.array([1.0, 65504.0], np.float32), {})["h"].tolist() == [1, 65504]
    with pytest.raises(OverflowError, match="'h': too large for float16"):
        layout.arrays(np.array([1.0, 70000.0], np.float32), {})


def test_the_first_coordinates_of_an_order_are_an_answer() -> None:
    order = np.array([6, 2, 0, 1, 3, 4, 5, 7])
    reply = LAYOUT.first(saved(np.array([9, 8, 7], np.float32)), order)
    assert reply.values.tolist() == [7, 0, 8, 0, 0, 0, 9, 0]
    assert reply.sent is not None
    assert reply.sent.tolist() == [True, False, True, False, False, False, True, False]
    assert LAYOUT.first(saved(np.ones(8, np.float32)), order).sent is None
    for array, problem in (
        (np.ones(9, np.float32), r"array 'first': shape \(9,\); expected \(8,\)"),
        (np.ones(0, np.float32), r"array 'first': shape \(0,\); expected"),
        (np.ones((2, 2), np.float32), r"array 'first': shape \(2, 2\); expected"),
        (np.ones(3), "array 'first': type 'float64'; expected float32"),
        (np.full(3, np.inf, np.float32), "array 'first': not finite in 3 entries"),
    ):
        with pytest.raises(ReplyError, match=problem):
            LAYOUT.first(saved(array), order)
    with pytest.raises(ReplyError, match="array 'first': 11 bytes of numbers; expected 12"):
        LAYOUT.first(Serialised(saved(np.ones(3, np.float32)).data[:-1]), order)


# -- decisions -------------------------------------------------------------------------------------


class Home:
    """Clean data: the optimum is at 1."""

    def train(self, arrays: Arrays) -> Arrays:
        return {name: array + (1 - array) / 2 for name, array in arrays.items()}

    def loss(self, arrays: Arrays) -> float:
        return sum(float(np.square(array - 1).sum()) for array in arrays.values())


PLAIN = Layout({"w": np.zeros(5, np.float32), "b": np.zeros((2, 2), np.float32)})


def models(m: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(m, 9)).astype(np.float32)


def whole(values: NDArray[np.float32]) -> list[Reply]:
    return [Reply(row, None, {}) for row in values]


RULES = [
    *(name for name in aggregators.registry.builtins if name != "oracle"),
    "nnm+trimmed_mean", "bucketing[s=2]+median", "arc+krum", "tests.plugins:MyMedian",
    "tests.plugins:plain", "tests.plugins:SubclassedMean",
]  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_of_whole_models_the_server_steps_by_the_rule_on_their_changes(name: str) -> None:
    """By definition: w - AR(w - w_1, .., w - w_m), the rule told who sent what, in which round."""
    f, old, replies = 1, models(1, seed=3)[0], models(9)
    server = RuleServer(name, f=f, seed=5, data=Home())
    rule = aggregators.build(name, f=f)
    for k in (1, 2):
        step = server.step(k, PLAIN, old, {}, whole(replies), list(range(9)))
        home = 1 - old
        root = _Root(torch.from_numpy(old), torch.from_numpy(old - (old + home / 2)))
        view = ServerView(
            round=k, workers=np.arange(9), dimension=9, root=root,
            stream=lambda step, k=k: stream(5, "rule", k, step),  # type: ignore[misc]
        )  # fmt: skip
        with one_thread():
            aggregate = rule(torch.from_numpy(old - replies), None, view)
        expected = torch.from_numpy(old) + aggregate * -1.0
        assert (step.stalled, step.updated, step.heard.tolist()) == ("", 9, list(range(9)))
        assert np.array_equal(step.values, expected.numpy())
        assert step.values.dtype == np.float32
        old = step.values


class _Root:
    """What `Home` comes to, worked out by hand."""

    rate = 1.0

    def __init__(self, old: torch.Tensor, gradient: torch.Tensor) -> None:
        self.old, self._gradient = old, gradient

    def gradient(self, examples: int) -> torch.Tensor:
        return self._gradient

    def descent(self, updates: torch.Tensor, examples: int) -> torch.Tensor:
        before = (self.old - 1).double().square().sum()
        return before - (self.old - updates - 1).double().square().sum(dim=1)


def test_of_whole_models_a_rule_may_take_each_coordinate_by_itself() -> None:
    """Krum's choice then differs from one coordinate to the next."""
    old, replies = models(1, seed=3)[0], models(9)
    server = RuleServer("krum", f=1, scope="coordinate")
    step = server.step(1, PLAIN, old, {}, whole(replies), list(range(9)))
    rule = aggregators.build("krum", f=1, scope="coordinate")
    with one_thread():
        alone = [rule(torch.from_numpy(old - replies)[:, j : j + 1]) for j in range(9)]
    assert step.values == pytest.approx(old - torch.cat(alone).numpy(), abs=1e-6)
    assert not np.isclose(step.values, replies, atol=1e-6).all(axis=1).any()


def test_a_learning_rate_goes_a_part_of_the_way() -> None:
    old, replies = models(1)[0], models(3, seed=1)
    half = RuleServer("average", f=0, learning_rate=0.5)
    step = half.step(1, PLAIN, old, {}, whole(replies), [0, 1, 2])
    assert step.values == pytest.approx((old + replies.mean(axis=0)) / 2, abs=1e-6)


@given(st.data())
def test_of_parts_every_entry_is_the_rule_s_on_those_that_sent_it(data: st.DataObject) -> None:
    """Entry by entry, in a loop: the median of a quorum's, and without one the old value."""
    f = data.draw(st.integers(0, 2))
    m = data.draw(st.integers(1, 7))
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=9 * m, max_size=9 * m)))
    mask = mask.reshape(m, 9)
    old, replies = models(1, seed=3)[0], models(m)
    server = RuleServer("median", f=f, partial=True)
    assert (server.scope, server.quorum) == ("coordinate", 2 * f + 1)
    parts = [Reply(np.where(s, row, 0), s, {}) for row, s in zip(replies, mask, strict=True)]
    step = server.step(1, PLAIN, old, {}, parts, list(range(m)))
    expected = old.copy()
    for j in range(9):
        column = np.sort(replies[mask[:, j], j].astype(float))
        if len(column) >= 2 * f + 1:
            n = len(column)
            expected[j] = (column[(n - 1) // 2] + column[n // 2]) / 2
    assert step.values == pytest.approx(expected, abs=1e-6)
    untouched = mask.sum(axis=0) < 2 * f + 1
    assert np.array_equal(step.values[untouched], old[untouched])
    assert step.updated == (~untouched).sum()
    assert bool(step.stalled) == untouched.all()
    if not step.stalled:
        assert step.heard.tolist() == np.flatnonzero(mask[:, ~untouched].any(axis=1)).tolist()


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        (name, scope)
        for name in ("krum", "nnm+trimmed_mean", "geometric_median", "bulyan")
        for scope in aggregators.build(name, f=1).scopes()
    ],
)
def test_scopes_are_those_of_the_rule(name: str, scope: aggregators.Scope) -> None:
    old, replies = models(1, seed=3)[0], models(12)
    mask = np.arange(9) < np.array([9] * 8 + [4] * 4)[:, None]
    parts = [Reply(np.where(s, row, 0), s, {}) for row, s in zip(replies, mask, strict=True)]
    server = RuleServer(name, f=1, scope=scope, partial=True)
    step = server.step(1, PLAIN, old, {}, parts, list(range(12)))
    rule = aggregators.build(name, f=1, scope=scope)
    with one_thread():
        answer = rule.answer(torch.from_numpy(old - replies), torch.from_numpy(mask))
    served = np.ones(9, bool) if answer.served is None else answer.served.numpy()
    assert step.values == pytest.approx(
        np.where(served, old - answer.values.numpy(), old), abs=1e-6
    )
    assert step.updated == served.sum()


@pytest.mark.parametrize("name", ["median", "krum", "nnm+trimmed_mean", "geometric_median"])
@pytest.mark.parametrize("seed", range(3))
def test_of_first_coordinates_it_decides_what_the_simulation_s_server_does(
    name: str, seed: int
) -> None:
    """To the last bit: the same block, aggregate and step from lengths in the round's order."""
    draw = np.random.default_rng(seed)
    lengths, permutation = draw.integers(0, 10, 9), draw.permutation(9)
    lengths[:5] = 9  # enough for every rule
    gradients, old = models(9, seed), models(1, seed=3)[0]
    server = RuleServer(name, f=1, partial=True, learning_rate=0.3, gradients=True)
    order = Order(Places(Quadratic(features=9, classes=0), "scalar", "scalar"), permutation)
    rule = aggregators.build(name, f=1, scope=server.scope)
    theirs = Server(Hgo(), rule, GradientDescent(0.3), server.quorum)
    reception = theirs.receive(theirs.accepted(lengths, order), order, torch.device("cpu"))
    assert reception is not None
    view = ServerView(round=4, workers=reception.rows, coordinates=reception.block, dimension=9)
    expected = torch.from_numpy(old.copy())
    with one_thread():
        answer = theirs.aggregate(torch.from_numpy(gradients), reception, view)
        left, aggregate = reception.answered(answer)
        assert left is not None
        theirs.step(expected, left, aggregate)
    sends = np.flatnonzero(lengths)
    replies = [
        PLAIN.first(saved(gradients[i, permutation[: lengths[i]]]), permutation) for i in sends
    ]
    step = server.step(4, PLAIN, old, {}, replies, sends.tolist())
    assert np.array_equal(step.values, expected.numpy())
    assert (step.stalled, sends[step.heard].tolist()) == ("", left.rows.tolist())
    assert step.updated == left.size


class Raises(Rule):
    def of_rows(self, rows: torch.Tensor) -> torch.Tensor:
        raise KeyError("\x1b[2J")


class Endless:
    """A rule that knows nothing of hgobench and answers what is no model."""

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        return torch.full_like(values[0], torch.inf)


BIG = np.full((3, 9), 3e38, np.float32)


@pytest.mark.parametrize(
    ("rule", "f", "replies", "reason"),
    [
        ("median", 1, models(2), "2 answers; the quorum is 3"),
        ("median", 1, models(0), "0 answers; the quorum is 3"),
        ("bulyan", 1, models(6), "6 answers; the quorum is 7"),
        ("average", 0, -BIG, "no finite answer; 3 of 3 workers sent NaN or infinite values"),
        (
            f"{__name__}:Raises",
            0,
            models(3),
            r"Raises': KeyError: '\x1b[2J' (tests/test_flower_server.py:",
        ),
        (
            f"{__name__}:Endless",
            0,
            models(3),
            "Endless: no finite answer; 3 of 3 workers sent values of",
        ),
    ],
)
def test_without_an_answer_the_model_stays(
    rule: str, f: int, replies: NDArray[np.float32], reason: str
) -> None:
    old = BIG[0].copy()
    server = RuleServer(rule, f=f)
    counters = {"count": np.array(3)}
    given = [Reply(row, None, {"count": np.array(9)}) for row in replies]
    step = server.step(1, PLAIN, old, counters, given, list(range(len(replies))))
    assert reason in step.stalled
    assert step.values is old
    assert (step.counters, step.updated, len(step.heard)) == (counters, 0, 0)
    assert np.array_equal(old, BIG[0])


@pytest.mark.parametrize("name", ["median", "krum", "nnm+trimmed_mean", "centered_clipping"])
@pytest.mark.parametrize("partial", [False, True])
def test_a_reply_that_can_t_be_used_stalls_nobody_and_is_one_of_the_f(
    name: str, partial: bool
) -> None:
    """It counts as a vector infinitely far away, where an answer is lacking."""
    old, replies, five = models(1, seed=3)[0], models(5), [1, 2, 3, 4, 5]
    server = RuleServer(name, f=1, quorum=6, partial=partial)
    step = server.step(1, PLAIN, old, {}, whole(replies), five, [0])
    rule = aggregators.build(name, f=1, scope=server.scope)
    values = torch.from_numpy(np.vstack((old - replies, np.full((1, 9), np.nan, np.float32))))
    view = ServerView(round=1, workers=np.array([*five, 0]), dimension=9)
    with one_thread():
        expected = rule(values, None, view)
    assert step.values == pytest.approx(old - expected.numpy(), abs=1e-6)
    assert (step.stalled, step.heard.tolist()) == ("", [0, 1, 2, 3, 4])
    again = RuleServer(name, f=1, quorum=6, partial=partial)
    few = again.step(1, PLAIN, old, {}, whole(replies[:4]), five[:4], [0])
    assert few.stalled == "4 answers, 1 that can't be used, f is 1; the quorum is 6"
    more = again.step(1, PLAIN, old, {}, whole(replies[:4]), five[:4], [5, 0])
    assert more.stalled == "4 answers, 2 that can't be used, f is 1; the quorum is 6"
    assert more.values is old
    enough = [RuleServer(name, f=1, quorum=5, partial=partial) for _ in range(2)]
    with_it = enough[0].step(1, PLAIN, old, {}, whole(replies), five, [0])
    without = enough[1].step(1, PLAIN, old, {}, whole(replies), five)
    assert np.array_equal(with_it.values, without.values)


def test_one_reply_too_far_away_to_subtract_is_ignored_as_any_other() -> None:
    old = BIG[0]
    replies = np.concatenate((-BIG[:1], np.full((2, 9), 2.9e38, np.float32)))
    step = RuleServer("median", f=1).step(1, PLAIN, old, {}, whole(replies), [0, 1, 2])
    assert step.values == pytest.approx(replies[1])


def test_counters_are_voted_on_and_no_rule_s_distances_see_them() -> None:
    layout = Layout({"w": np.zeros(2), "count": np.array(3), "flags": np.zeros(2, bool)})
    far = {"count": np.array(2**62), "flags": np.ones(2, bool)}
    near = {"count": np.array(5), "flags": np.array([True, False])}
    replies = [Reply(np.full(2, x, float), None, c) for x, c in ((1, near), (2, far), (3, near))]
    old = {"count": np.array(3), "flags": np.zeros(2, bool)}
    step = RuleServer("krum", f=0).step(1, layout, np.zeros(2), old, replies, [0, 1, 2])
    alone = RuleServer("krum", f=0).step(
        1, layout, np.zeros(2), {}, [reply._replace(counters={}) for reply in replies], [0, 1, 2]
    )
    assert np.array_equal(step.values, alone.values)
    assert step.counters["count"].tolist() == 5
    assert step.counters["flags"].tolist() == [True, False]
    assert [step.counters[name].dtype.kind for name in ("count", "flags")] == ["i", "b"]
    step = RuleServer("median", f=1).step(
        1, layout, np.zeros(2), old, [replies[0], replies[2]], [0, 2], [1]
    )
    assert (step.stalled, step.counters["count"].tolist()) == ("", 5)
    few = [replies[0], *(reply._replace(counters={}) for reply in replies[1:])]
    step = RuleServer("median", f=1).step(1, layout, np.zeros(2), old, few, [0, 1, 2])
    assert (step.stalled, step.counters["count"].tolist()) == ("", 3)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=9))
def test_a_lower_median_is_a_value_that_somebody_sent(values: list[int]) -> None:
    found = lower_median(np.array(values, np.int64)).tolist()
    assert found == sorted(values)[(len(values) - 1) // 2]


def test_rules_remember_nodes_that_come_and_go() -> None:
    name = "centered_clipping"
    server, rule = RuleServer(name, f=0), aggregators.build(name)
    old = np.zeros(9, np.float32)
    for k, workers in ((1, [0, 1, 2]), (2, [0, 2]), (3, [1, 2, 3])):
        replies = models(len(workers), seed=k)
        step = server.step(k, PLAIN, old, {}, whole(replies), workers)
        view = ServerView(round=k, workers=np.array(workers), dimension=9)
        with one_thread():
            expected = rule(torch.from_numpy(old - replies), None, view)
        assert np.array_equal(step.values, (torch.from_numpy(old) - expected).numpy()), k
        old = step.values


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"rule": "kru"}, "rule: unknown 'kru'; did you mean 'krum'?"),
        ({"rule": 3}, "rule: 3; expected a rule's name"),
        ({"f": -1}, "f: -1; expected an integer >= 0"),
        ({"f": True}, "f: True; expected an integer >= 0"),
        ({"rule": "krum", "f": 2, "quorum": 6}, "quorum: 6; expected at least 7, as f is 2"),
        ({"rule": "average", "f": 2, "quorum": 4, "partial": True}, "quorum: 4; expected at least 5"),
        ({"quorum": 0}, "quorum: 0; expected an integer >= 1"),
        ({"rule": "krum", "scope": "masked"}, "scope: 'masked'; expected 'block', or partial=True"),
        ({"rule": "mda", "scope": "columns", "partial": True}, "scope: 'columns'; expected one of"),
        ({"scope": "masked", "partial": True}, "scope: 'masked'; expected 'block' or 'coordinate'"),
        ({"rule": "oracle"}, "rule: 'oracle' is told who is honest, which no server knows"),
        ({"rule": "fltrust"}, "rule: 'fltrust' needs clean data at the server: data=.."),
        ({"learning_rate": 0}, "learning_rate: 0; expected a finite number > 0"),
        ({"partial": 1}, "partial: 1; expected True or False"),
        ({"seed": -1}, "seed: -1; expected an integer >= 0"),
    ],
)  # fmt: skip
def test_what_can_only_fail_later_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as refused:
        RuleServer(**{"rule": "median", "f": 1, **given})
    assert problem in str(refused.value)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5), st.integers(1, 5))
def test_of_sets_a_server_takes_the_block_that_a_quorum_sent(
    lengths: list[int], quorum: int
) -> None:
    """By definition; that prefixes of an order are no other case is in tests/test_ragged.py."""
    sent = torch.arange(5) < torch.tensor(lengths)[:, None]
    sent = sent.roll(2, dims=0)  # no worker is the longest for being the first
    reception = receive_sets(sent, quorum)
    block = [j for j in range(5) if int(sent[:, j].sum()) >= quorum]
    if not block:
        assert reception is None
        return
    assert reception is not None
    rows = [i for i in range(len(lengths)) if sent[i, block].any()]
    assert (reception.rows.tolist(), reception.size) == (rows, len(block))
    assert (reception.block is None) == (len(block) == 5)
    if reception.block is not None:
        assert reception.block.tolist() == block
    of_block = sent[rows][:, block]
    assert (reception.present is None) == bool(of_block.all())
    if reception.present is not None:
        assert reception.present.tolist() == of_block.tolist()


def test_without_flower_the_strategy_says_what_to_install_and_devices_load_little() -> None:
    script = (
        "import sys; sys.modules['flwr'] = None\n"
        "import hgobench.flower.device\n"
        "assert not {'torch', 'scipy', 'hgobench.aggregators'} & sys.modules.keys()\n"
        "from hgobench.flower import RobustStrategy"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    said = "ImportError: hgobench.flower: Flower is not installed: pip install 'hgobench[flower]'"
    assert done.stderr.splitlines()[-1] == said


# -- replies that count by examples ----------------------------------------------------------------


@pytest.mark.parametrize("rule", ["average", "median", "trimmed_mean", "geometric_median"])
def test_replies_weigh_what_they_claim_as_far_as_the_server_lets_them(rule: str) -> None:
    old, replies = models(1, seed=3)[0], models(7)
    claims = [5, 9, 10, 10, 40, 300, 10**15]
    said = [Reply(row, None, {}, n) for row, n in zip(replies, claims, strict=True)]
    step = RuleServer(rule, f=1, weights="examples").step(1, PLAIN, old, {}, said, list(range(7)))
    weights = oracles.bounded_claims(claims, 1, [range(7)])
    view = ServerView(weights=np.array(weights))
    with one_thread():
        answer = aggregators.build(rule, f=1)(torch.from_numpy(old - replies), None, view)
    assert step.values == pytest.approx(old - answer.numpy(), abs=1e-6)
    without = RuleServer(rule, f=1).step(1, PLAIN, old, {}, said, list(range(7)))
    assert not np.allclose(without.values, step.values, atol=1e-4)


def test_flower_s_own_weights_are_those_that_are_claimed() -> None:
    old, replies = models(1, seed=3)[0], models(3)
    said = [Reply(row, None, {}, n) for row, n in zip(replies, [1, 2, 5], strict=True)]
    step = RuleServer("average", f=0, weights="claimed").step(1, PLAIN, old, {}, said, [0, 1, 2])
    assert step.values == pytest.approx(np.average(replies, axis=0, weights=[1, 2, 5]), abs=1e-6)


@pytest.mark.parametrize(
    ("rule", "weights", "message"),
    [
        (
            "krum",
            "examples",
            "weights: 'examples'; expected 'none', as the rule 'krum' counts every",
        ),
        (
            "median",
            "claimed",
            "weights: 'claimed'; expected 'examples': without a bound one worker",
        ),
        ("median", "sizes", "weights: unknown 'sizes'; expected one of claimed, examples, none"),
    ],
)
def test_weights_that_a_server_can_t_heed_are_refused(
    rule: str, weights: Any, message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        RuleServer(rule, f=1, weights=weights)
