"""A server's arrays as one vector, and what a reply holds of them.

Nothing here needs Flower: its `Array` is anything with a `stype` and `data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hgobench.errors import InputError, shown

SERIALISED = "numpy.ndarray"  # Flower's name for the format of numpy.save
HEADER = 10_128  # bytes before an array's numbers, at most: NumPy reads no longer header
READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class ReplyError(ValueError):
    """A reply that no client could have sent that follows the protocol; the text says why."""


class Reply(NamedTuple):
    """What a reply says of the server's arrays.

    Attributes:
        values: (d,) the floating-point arrays as one vector; 0 where nothing was sent.
        sent: (d,) bool, which coordinates were sent; None: all.
        counters: the arrays of integers and of bools that were sent, by name.
        examples: of how many examples it claims to be, 1 or more; what does not say so is of 1.
    """

    values: NDArray[Any]
    sent: NDArray[np.bool_] | None
    counters: dict[str, NDArray[Any]]
    examples: int = 1


class Layout:
    """The names, shapes and types of a server's arrays, and where each is in one vector.

    Floating-point arrays are the d coordinates, as float64 if any of them is, else as float32.
    Arrays of integers and of bools, such as a count of batches, are no coordinates: distances
    between models don't see them.

    Args:
        arrays: the server's.

    Attributes:
        dimension: d.
        dtype: of the vector.

    Raises:
        InputError: naming each array that can't be aggregated, or if none can.

    Example:
        >>> layout = Layout({"w": np.zeros((2, 2), np.float32), "b": np.ones(1, np.float32)})
        >>> layout.vector({"w": np.zeros((2, 2), np.float32), "b": np.ones(1, np.float32)})
        array([0., 0., 0., 0., 1.], dtype=float32)
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        problems = []
        for name, array in arrays.items():
            kind, size = array.dtype.kind, array.dtype.itemsize
            if kind not in "fiub" or (kind == "f" and size > 8) or not array.dtype.isnative:
                problems.append(
                    f"arrays: {shown(name)} is of type {array.dtype.str}; expected numbers of this "
                    "machine's byte order: float16, float32, float64, integers or bool"
                )
            elif kind == "f" and not np.isfinite(array).all():
                problems.append(f"arrays: {shown(name)} has NaN or infinite values")
        self._like = {name: np.empty_like(array) for name, array in arrays.items()}
        self._floats = [name for name, array in arrays.items() if array.dtype.kind == "f"]
        self._place: dict[str, slice] = {}
        self.dimension = 0
        for name in self._floats:
            self._place[name] = slice(self.dimension, self.dimension + arrays[name].size)
            self.dimension += arrays[name].size
        if self.dimension == 0:
            problems.append("arrays: none of them has floating-point numbers to aggregate")
        if problems:
            raise InputError(problems)
        wide = any(arrays[name].dtype.itemsize > 4 for name in self._floats)
        self.dtype = np.dtype(np.float64 if wide else np.float32)

    def vector(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Return the floating-point arrays as one vector, (d,)."""
        values = np.empty(self.dimension, self.dtype)
        for name in self._floats:
            values[self._place[name]] = arrays[name].reshape(-1)
        return values

    def arrays(
        self, values: NDArray[Any], counters: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Return a vector as arrays of the server's names, shapes and types, in their order.

        Args:
            values: (d,).
            counters: all arrays of integers and of bools.

        Raises:
            OverflowError: a value is too large for its array's type.
        """
        arrays = {}
        for name, like in self._like.items():
            if name in self._place:
                with np.errstate(over="ignore"):
                    arrays[name] = values[self._place[name]].astype(like.dtype).reshape(like.shape)
                if not np.isfinite(arrays[name]).all():
                    raise OverflowError(f"{shown(name)}: too large for {like.dtype}")
            else:
                arrays[name] = counters[name]
        return arrays

    def reply(
        self,
        arrays: Mapping[str, Any],
        masks: Mapping[str, Any] | None = None,
        *,
        partial: bool = False,
    ) -> Reply:
        """Read what a client sent.

        Args:
            arrays: serialised arrays by name.
            masks: serialised arrays of bools: which entries of the array of that name were sent;
                where a name is missing, all of them.
            partial: whether a part of the arrays is an answer.

        Raises:
            ReplyError: other names, shapes or types than the server's, more bytes than they take,
                bytes that are no array, values that are not finite, or nothing at all.
        """
        masks = masks or {}
        if unknown := [name for name in arrays if name not in self._like]:
            raise ReplyError(f"array {shown(unknown[0])} is none of the server's")
        missing = [name for name in self._like if name not in arrays]
        if missing and not partial:
            raise ReplyError(f"array {shown(missing[0])} is missing")
        for name in masks:
            if not partial:
                raise ReplyError("says which entries it sent; expected all of them")
            if name not in arrays or name not in self._place:
                raise ReplyError(f"mask {shown(name)} is of no floating-point array that was sent")
        values = np.zeros(self.dimension, self.dtype)
        sent = np.zeros(self.dimension, np.bool_) if missing or masks else None
        counters = {}
        for name, array in arrays.items():
            like = self._like[name]
            data = decoded(f"array {shown(name)}", array, like)
            if name not in self._place:
                counters[name] = data
                continue
            if name in masks:
                mask = decoded(f"mask {shown(name)}", masks[name], np.empty(like.shape, np.bool_))
                data = np.where(mask, data, 0)
            finite = np.isfinite(data)
            if not finite.all():
                what = "NaN" if np.isnan(data).any() else "infinite"
                raise ReplyError(f"array {shown(name)}: {what} in {int((~finite).sum())} entries")
            values[self._place[name]] = data.reshape(-1)
            if sent is not None:
                sent[self._place[name]] = mask.reshape(-1) if name in masks else True
        if sent is not None and not sent.any():
            raise ReplyError("sent nothing")
        return Reply(values, None if sent is None or sent.all() else sent, counters)

    def first(self, array: Any, order: NDArray[np.int64]) -> Reply:
        """Read an answer that holds the first b coordinates of an order, and nothing else.

        Args:
            array: serialised, (b,) of the vector's type, 1 <= b <= d.
            order: (d,) a permutation of the coordinates.

        Raises:
            ReplyError: it is not such an array, or has values that are not finite.
        """
        data = decoded("array 'first'", array, np.empty(self.dimension, self.dtype), shorter=True)
        if not np.isfinite(data).all():
            raise ReplyError(
                f"array 'first': not finite in {int((~np.isfinite(data)).sum())} entries"
            )
        values, sent = np.zeros(self.dimension, self.dtype), np.zeros(self.dimension, np.bool_)
        values[order[: len(data)]] = data
        sent[order[: len(data)]] = True
        return Reply(values, None if len(data) == self.dimension else sent, {})


def decoded(what: str, array: Any, like: NDArray[Any], *, shorter: bool = False) -> NDArray[Any]:
    """Return a serialised array, which must be like another one; it shares the memory of the bytes.

    It may be `shorter` than a vector, by all but one of its numbers.

    Shape and type are read before anything is allocated for the numbers. Nothing is unpickled.
    """
    if array.stype != SERIALISED:
        raise ReplyError(f"{what}: serialised as {shown(array.stype)}; expected {SERIALISED!r}")
    data = array.data
    if not isinstance(data, bytes):
        raise ReplyError(f"{what}: {type(data).__name__}; expected bytes")
    if len(data) > like.nbytes + HEADER:
        raise ReplyError(f"{what}: {len(data):,} bytes; expected about {like.nbytes:,}")
    stream = BytesIO(data)
    try:
        version = npy.read_magic(stream)
        shape, fortran, dtype = READERS[version](stream)
    except Exception:  # whatever NumPy makes of anybody's bytes
        raise ReplyError(f"{what}: bytes that are no array of NumPy's") from None
    if shorter and len(shape) == 1 and 0 < shape[0] < len(like):
        like = like[: shape[0]]
    if shape != like.shape:
        raise ReplyError(f"{what}: shape {shown(shape)}; expected {like.shape}")
    if dtype != like.dtype:
        raise ReplyError(f"{what}: type {shown(str(dtype))}; expected {like.dtype}")
    if len(data) - stream.tell() != like.nbytes:
        raise ReplyError(
            f"{what}: {len(data) - stream.tell():,} bytes of numbers; expected {like.nbytes:,}"
        )
    if like.dtype == np.bool_ and len(data) > stream.tell():
        numbers = np.frombuffer(data, np.uint8, offset=stream.tell())
        if int(numbers.max()) > 1:
            raise ReplyError(f"{what}: bytes that are neither 0 nor 1")
    numbers = np.frombuffer(data, like.dtype, offset=stream.tell())
    return numbers.reshape(shape, order="F" if fortran else "C")
