"""What benchmarks work on."""

from __future__ import annotations

import json
import os

import numpy as np
import torch
from torch import Tensor

from hgobench import aggregators
from hgobench.errors import InputError

SOFTMAX = (80, 7850)  # q x d of softmax regression on MNIST
LARGE = (100, 100_000)
FORMS = ["dense", "ragged"]

# These need more than values, or (SMEA at f = 10 of 80) more time than there is.
NEEDY = ("fltrust", "zeno", "oracle", "smea")
# The rules of the project whose commits are measured (`hgobench bench gate`); empty: hgobench's.
ASKED: list[str] = json.loads(os.environ.get("HGOBENCH_RULES", "[]"))
RULES = ASKED or [
    *(name for name in aggregators.registry.names() if name not in NEEDY),
    "nnm+krum",
    "nnm+trimmed_mean",
    "arc+geometric_median",
]
FAST = ASKED or [
    "average",
    "median",
    "trimmed_mean",
    "meamed",
    "phocas",
    "krum",
    "geometric_median",
]


def message(shape: tuple[int, int], form: str) -> tuple[Tensor, Tensor | None]:
    """Return a round's values (q, d), and who sent what if ragged: 55 % whole gradients."""
    q, d = shape
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.standard_normal((q, d), dtype=np.float32))
    if form == "dense":
        return values, None
    lengths = np.where(np.arange(q) < 0.55 * q, d, rng.integers(d // 40, d, q))
    return values, torch.from_numpy(rng.permutation(d) < lengths[:, None])


def rule(name: str, form: str, f: int = 10) -> aggregators.Rule:
    """Return a rule for such values; on ragged ones, coordinate by coordinate if it can.

    Raises:
        NotImplementedError: the commit that is measured has no such rule: asv leaves it out.
    """
    try:
        made = aggregators.build(name, f=f)
    except InputError as error:
        raise NotImplementedError(str(error)) from error
    if form == "ragged" and made.has_columns():
        made = aggregators.build(name, f=f, scope="coordinate")
    return made


def one_thread(*rows: int) -> None:
    """Compute on one thread, with what is compiled for so many rows at hand."""
    torch.set_num_threads(1)
    try:
        from hgobench.kernels import sorting_network
    except ImportError:  # a commit that had none
        return
    for count in rows:
        sorting_network.prepare(count)
