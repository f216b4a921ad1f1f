"""What a device does in a round of HGO: it sends the first coordinates of the round's order.

It needs NumPy and Flower's messages alone, so that the process that Flower starts for each message
starts fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEED, DEADLINE = "order-seed", "deadline"  # what the server says in a message's ConfigRecord
FIRST = "first"  # the ArrayRecord, and the array in it, that an answer holds


def order_of(seed: int, dimension: int) -> NDArray[np.int64]:
    """Return the order C_k that a seed means, (d,): the server sends 8 bytes for it.

    >>> order_of(7, 4)
    array([0, 2, 1, 3])
    """
    return np.random.default_rng(seed).permutation(dimension)


def block(rate: float, seconds: float, dimension: int) -> int:
    """Return b_i = min(⌊λ_i·t⌋, d), how many coordinates there is time for; 0: for none.

    Args:
        rate: λ_i, coordinates of its minibatch's gradient that the device computes in a second.
        seconds: t, what is left of the deadline τ without what a message takes on its way.
        dimension: d.

    >>> block(rate=100.0, seconds=2.5, dimension=1000), block(100.0, 60.0, dimension=1000)
    (250, 1000)
    >>> block(rate=100.0, seconds=-1.0, dimension=1000)
    0
    """
    return int(min(max(rate * seconds, 0.0), dimension))


class Task:
    """What a server of HGO asks of a device in a round.

    Args:
        message: as the ClientApp got it.

    Attributes:
        arrays: the server's arrays by name.
        order: (d,) the coordinates of all floating-point arrays, one behind the other, in the order
            in which they are to be computed.
        deadline: τ in seconds, from when the server sent the message.
    """

    def __init__(self, message: Any) -> None:
        self._message = message
        (config,) = message.content.config_records.values()
        (record,) = message.content.array_records.values()
        self.arrays: dict[str, NDArray[Any]] = {n: array.numpy() for n, array in record.items()}
        floats = [array for array in self.arrays.values() if array.dtype.kind == "f"]
        self._dtype = np.float64 if any(a.dtype.itemsize > 4 for a in floats) else np.float32
        self.order = order_of(int(config[SEED]), sum(array.size for array in floats))
        self.deadline = float(config[DEADLINE])

    def vector(self, gradient: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Return what a device computed by array as one vector, (d,), of which it sends a part."""
        floats = [name for name, array in self.arrays.items() if array.dtype.kind == "f"]
        return np.concatenate([np.ravel(gradient[name]) for name in floats])

    def answer(self, first: NDArray[Any], **metrics: float) -> Any:
        """Return the reply that holds the first coordinates of a gradient, and metrics.

        Args:
            first: (b,) the gradient at ``order[:b]``; if it is empty, the reply says that there was
                no time.
            **metrics: numbers to report.
        """
        from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict

        if len(first) == 0:
            return Message(Error(0, "had no time for a coordinate"), reply_to=self._message)
        values = Array(np.ascontiguousarray(first, self._dtype))
        told = MetricRecord(dict(metrics))
        content: dict[str, Any] = {FIRST: ArrayRecord({FIRST: values}), "metrics": told}
        return Message(RecordDict(content), reply_to=self._message)
