"""Sorting down the columns: what most of a robust rule's time goes into."""

from __future__ import annotations

import numpy as np

from hgobench.lazy import Tensor, torch

from . import sorting_network
from .arrays import nan_where_true


def sort_columns(
    values: Tensor, present: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """Sort each column of (m, b) ascending; NaN and absent entries come last, as NaN.

    On the CPU a compiled network takes over from NumPy as soon as so much was sorted in columns of
    this length that it pays; the answer is the same. (Either of 0.0 and -0.0 may come first.)

    Args:
        values: (m, b) float32 or float64; not changed.
        present: (m, b) bool; None: all.
        out: (m, b) contiguous memory that the answer may be written to.
    """
    values = values.detach()
    if values.device.type != "cpu":
        return (values if present is None else nan_where_true(values, ~present)).sort(dim=0).values
    array = values.numpy()
    sent = None if present is None else present.numpy()
    in_rows = sent is None or sent.strides[1] == 1
    if in_rows and sorting_network.fits(array) and sorting_network.pays(array, sent is not None):
        out = torch.empty_like(values) if out is None else out
        sorting_network.sort(array, sent, out.numpy())
        return out
    if present is not None:
        array = nan_where_true(values, ~present).numpy()
    return torch.from_numpy(np.sort(array, axis=0))


def sort_rows(values: Tensor) -> Tensor:
    """Sort each row of (m, k) ascending, NaN last."""
    if values.device.type != "cpu":
        return values.sort(dim=1).values
    return torch.from_numpy(np.sort(values.numpy(), axis=1))


def argsort_columns(values: Tensor) -> Tensor:
    """Return the order that sorts each column of (m, b), (m, b) int64; equal values keep theirs."""
    if values.device.type != "cpu":
        return values.argsort(dim=0, stable=True)
    return torch.from_numpy(np.argsort(values.numpy(), axis=0, kind="stable"))
