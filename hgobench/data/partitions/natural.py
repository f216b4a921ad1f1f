"""Workers that hold whole groups of examples."""

from __future__ import annotations

import numpy as np

from hgobench.data.base import Split
from hgobench.determinism import stream
from hgobench.errors import InputError

from .base import Partition, ShardIndices


class Natural(Partition):
    """The examples of a group (a writer, a hospital, a device) stay together at one worker.

    Groups are dealt from the largest on, at random among equals, each to the worker that has
    fewest examples so far; with as many groups as workers each worker has one.

    The data set names the groups: ``csv[path=..,group=COLUMN]``.

    Example:
        >>> writers = np.array([7, 7, 7, 8, 8, 9])
        >>> train = Split(np.zeros((6, 1), np.float32), np.array([0, 1, 0, 1, 0, 1]), writers)
        >>> sorted(writers[shard].tolist() for shard in Natural()(train, workers=2, seed=0))
        [[7, 7, 7], [8, 8, 9]]

    Source: Caldas et al., "LEAF: A Benchmark for Federated Settings", 2018 (arXiv:1812.01097).
    """

    paper = "Caldas et al., 2018 (LEAF)"
    formula = "whole groups, each to the worker with fewest examples"
    validity = "data with at least n groups"

    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        """Deal groups, the largest first."""
        if train.groups is None:
            raise InputError(
                "partition: natural: the data names no groups; use csv[path=..,group=COLUMN]"
            )
        groups, member, size = np.unique(train.groups, return_inverse=True, return_counts=True)
        if len(groups) < workers:
            raise InputError(
                f"partition: natural: {len(groups)} groups for {workers} workers; expected at "
                "least one each"
            )
        rng = stream(seed, "partition")
        owner, load = np.empty(len(groups), dtype=int), np.zeros(workers, dtype=int)
        tie = rng.permutation(workers)
        for group in np.lexsort((rng.random(len(groups)), -size)):
            owner[group] = np.lexsort((tie, load))[0]
            load[owner[group]] += size[group]
        return [np.flatnonzero(owner[member] == worker) for worker in range(workers)]
