"""Workers that hold whole groups of examples."""

from __future__ import annotations

import numpy as np

from hgobench.data.base import Split
from hgobench.determinism import stream
from hgobench.errors import InputError

from .base import Partition, ShardIndices

# How data of one's own, and data that can be named, come to have groups.
WAYS = (
    "name a column of a table by group=COLUMN (csv, parquet, huggingface), write qid:GROUP in a "
    "LIBSVM file or an array groups in an .npz, put images into CLASS/GROUP/IMAGE, return "
    "(features, labels, groups) from a function, or use leaf, femnist, "
    "emnist[writers=true] or sentences"
)


class Natural(Partition):
    """The examples of a group (a writer, a hospital, a device) stay together at one worker.

    Groups are dealt from the largest on, at random among equals, each to the worker that has
    fewest examples so far; with as many groups as workers each worker has one.

    Groups come with the data: a column of a table (``csv[path=..,group=COLUMN]``), ``qid`` in a
    LIBSVM file, ``groups`` in an ``.npz``, a folder per group of images, LEAF's users, the third of
    what a function returns, the authors of ``sentences``.

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
            raise InputError(f"partition: natural: the data names no groups; {WAYS}")
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
