from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from hgobench import Scenario, World
from hgobench.determinism import stream
from hgobench.errors import InputError


@pytest.fixture(scope="module")
def world() -> World:
    return World(workers=40, sampled=20, batch_size=24, partition="dirichlet[alpha=0.3]")


def test_streams_are_keyed() -> None:
    assert stream(1, "a", 2).random() == stream(1, "a", 2).random()
    draws = {stream(*key).random() for key in [(1, "a", 2), (2, "a", 2), (1, "b", 2), (1, "a", 3)]}
    assert len(draws) == 4


def test_rounds_do_not_depend_on_the_order_in_which_they_are_drawn(world: World) -> None:
    later = world.draw(7)
    for k in (1, 2, 7):
        again = world.draw(k)
    assert np.array_equal(later.workers, again.workers)
    assert np.array_equal(later.batch, again.batch)


def test_minibatches_are_distinct_examples_of_the_worker_s_own(world: World) -> None:
    for k in range(1, 20):
        draw = world.draw(k)
        assert len(set(draw.workers)) == 20
        for worker, row, size in zip(draw.workers, draw.batch, draw.size, strict=True):
            shard = set(world.shards[worker])
            assert size == min(24, len(shard))
            assert len(set(row[:size])) == size
            assert set(row[:size]) <= shard


def test_every_example_of_a_shard_is_drawn_equally_often() -> None:
    """A chi-square test of the minibatches, with a fixed seed."""
    world = World(workers=10, sampled=1, batch_size=5, partition="iid", data="breast_cancer")
    drawn = [draw for k in range(1, 6000) if (draw := world.draw(k)).workers[0] == 3]
    counts = np.bincount(np.concatenate([d.batch[0] for d in drawn]), minlength=len(world.labels))
    assert stats.chisquare(counts[world.shards[3]]).pvalue > 0.01


def test_weights_average_over_what_a_worker_has(world: World) -> None:
    draw = world.draw(1)
    assert draw.weights is not None
    np.testing.assert_allclose(draw.weights.sum(axis=1), 1, rtol=1e-6)
    assert ((draw.weights > 0).sum(axis=1) == draw.size).all()


def test_what_pairs_pairs() -> None:
    small, large = (World(workers=40, sampled=q) for q in (10, 20))
    assert np.array_equal(small.draw(3).workers, large.draw(3).workers[:10])
    assert np.array_equal(small.draw(3).batch, large.draw(3).batch[:10])
    few, many = small.byzantine(5), small.byzantine(10)
    assert few.sum() == 5
    assert many.sum() == 10
    assert (few <= many).all()
    assert torch.equal(small.initial(), large.initial())


def test_worlds_are_shared_by_cells_that_differ_only_in_the_rest() -> None:
    one, other = Scenario(rule="median"), Scenario(rule="krum", algorithm="sgd", workers=100)
    assert World.of(one) is World.of(other)
    assert World.of(one) is not World.of(Scenario(seed=1))


def test_every_worker_is_sampled_equally_often(world: World) -> None:
    counts = np.bincount(np.concatenate([world.draw(k).workers for k in range(1, 1001)]))
    assert abs(counts - 500).max() < 5 * np.sqrt(250)


def test_a_model_that_does_not_fit_the_data_is_refused() -> None:
    with pytest.raises(InputError, match="logistic regression has 2 classes; the data has 10"):
        World(model="logistic")
