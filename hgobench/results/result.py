"""What a cell's run leaves behind."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from hgobench.boundary import OUT_OF_TIME
from hgobench.scenario import Scenario

Status = Literal["done", "diverged", "failed"]

# The per-round table: one row per round, values after the round's update. Accuracy and loss are
# NaN in rounds that were not evaluated; time, coordinates and bytes are in time units, gradient
# coordinates and bytes of 4-byte numbers.
COLUMNS = (
    "round",
    "time",  # simulated, since the start
    "test_accuracy",
    "test_loss",  # mean cross-entropy in nats
    "validation_accuracy",
    "block_size",  # coordinates updated
    "heard",  # workers whose answer arrived
    "byzantine_heard",
    "malformed",  # Byzantine messages that no worker could have sent: bounded, or dropped
    "coordinates",  # computed by the sampled workers, sent or not
    "bytes_up",
    "bytes_down",
    "stalled",  # whether too few answered to update anything
)


@dataclass(frozen=True)
class Result:
    """One cell: its scenario, its rounds, and how it ended.

    Attributes:
        scenario: what ran.
        rounds: a table, column name to one value per round (see `COLUMNS`).
        status: ``"done"``; ``"diverged"``: the aggregate or the model stopped being finite, and
            counts as an accuracy of 0 from then on; ``"failed"``: the rule, the attack or another
            part raised or ran out of time, and counts as 0 too.
        reason: why it is not done, and what code of others changed and was put back; else empty.
        provenance: versions, device and threads that it was computed with; ``data``,
            the digest of its data's arrays, and ``data_differs``, how its data's files differ from
            the published ones.
        seconds: CPU seconds.
        right: which of the N test examples the model answered rightly at the final evaluation, as
            ``numpy.packbits`` writes (N,) bool: one bit each, in the order of the test set, the
            last byte filled up with zeros. None: there was no final evaluation, nothing is right
            or wrong in this problem, or an older hgobench computed it.
    """

    scenario: Scenario
    rounds: Mapping[str, Sequence[Any]]
    status: Status = "done"
    reason: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    right: bytes | None = None

    @property
    def late(self) -> bool:
        """Say whether it failed because it ran out of time."""
        return self.status == "failed" and f": {OUT_OF_TIME}: " in self.reason

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Return the run in a few numbers: final accuracies and loss, and totals over rounds."""
        done = self.status == "done"

        def final(column: str, otherwise: float) -> float:
            return self.rounds[column][-1] if done else otherwise

        return {
            "status": self.status,
            "reason": self.reason,
            "test_accuracy": final("test_accuracy", 0.0),
            "validation_accuracy": final("validation_accuracy", 0.0),
            "test_loss": final("test_loss", math.nan),
            "rounds": len(self.rounds["round"]),
            "stalled": sum(self.rounds["stalled"]),
            "time": self.rounds["time"][-1] if self.rounds["time"] else 0.0,
            "mean_block_size": _mean(self.rounds["block_size"]),
            "mean_heard": _mean(self.rounds["heard"]),
            "mean_byzantine_heard": _mean(self.rounds["byzantine_heard"]),
            "malformed": sum(self.rounds.get("malformed", ())),
            "coordinates": sum(self.rounds["coordinates"]),
            "bytes_up": sum(self.rounds["bytes_up"]),
            "bytes_down": sum(self.rounds["bytes_down"]),
            "seconds": self.seconds,
        }


def data_notes(cells: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return what a reader must know of the data that results are of.

    Args:
        cells: of each result the data's specification and its provenance.
    """
    every = list(cells)
    notes = []
    if unknown := sum(not made.get("data") for _, made in every):
        notes.append(
            f"{unknown} of {len(every)} cells do not say which data they were computed on, as they "
            "are of an older hgobench; the command that computed them computes them anew"
        )
    kinds = sorted({str(made["processor"]) for _, made in every if made.get("processor")})
    if len(kinds) > 1:
        notes.append(
            f"cells are of {len(kinds)} kinds of processor ({'; '.join(kinds)}): the last bits of "
            "those that are compared may differ"
        )
    for name in sorted({name for name, _ in every}):
        made = [facts for other, facts in every if other == name]
        if len(found := {facts["data"] for facts in made if facts.get("data")}) > 1:
            notes.append(f"{len(found)} different data sets under the name {name}: don't compare")
        differing = {str(facts["data_differs"]) for facts in made if "data_differs" in facts}
        notes += [f"{name} is not as published: {said}" for said in sorted(differing)]
    return notes


def padded(column: Sequence[Any], rounds: int) -> list[Any]:
    """Return a column of a table, its last value going on if the run ended early."""
    return [*column, *[column[-1]] * (rounds - len(column))]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
