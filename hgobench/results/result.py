"""The result of a cell: its table of rounds, its summary and how it ended."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from hgobench.boundary import OUT_OF_TIME
from hgobench.scenario import Scenario

if TYPE_CHECKING:
    import pandas

    from hgobench.plots import Picture

Status = Literal["done", "diverged", "failed"]
_AT_FAULT = re.compile(r"(?:round \d+: )?([a-z_]+):? ['\"]")

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
# A further column of runs under a targeted attack: the share of its inputs answered as it wants;
# NaN in rounds that were not evaluated.
TARGETED = "attack_success"
EVERY = (*COLUMNS, TARGETED)


def at_fault(status: str, reason: str) -> str:
    """Return which kind of component made a cell fail, as its reason says; empty: none.

    >>> at_fault("failed", "round 2: attack 'mine:Foe': KeyError: 'f' (mine.py:12)")
    'attack'
    >>> at_fault("failed", "round 2: out of time: attack 'mine:Foe' and what else the cell ..")
    ''
    """
    match = _AT_FAULT.match(reason) if status == "failed" else None
    return match[1] if match else ""


@dataclass(frozen=True)
class Result:
    """One cell: its scenario, its rounds, and how it ended.

    Attributes:
        scenario: the cell's.
        rounds: a table, column name to one value per round (see `COLUMNS`), and under a targeted
            attack also ``attack_success``.
        status: ``"done"``; ``"diverged"``: the aggregate or the model stopped being finite, and
            counts as an accuracy of 0 from then on; ``"failed"``: the rule, the attack or another
            component raised or ran out of time, and counts as 0 too.
        reason: why it is not done, and which global state plug-in code changed, which was put
            back; else empty.
        provenance: versions, device and threads that it was computed with; ``data``, the digest of
            the data set's arrays; ``data_differs``, how its files differ from the published ones.
        seconds: CPU seconds.
        right: which of the N test examples were classified correctly at the final evaluation, as
            ``numpy.packbits`` writes (N,) bool: one bit each, in the order of the test set, the
            last byte filled up with zeros. None: there was no final evaluation, the problem is no
            classification, or an older hgobench computed it.
        measures: what the scenario's metrics say of its end (`hgobench.metrics`): name, or
            name/group, to a number.
        server_seconds: CPU seconds of these that the server took: to sort out what came, aggregate
            and step. 0: not known.

    Example:
        >>> from hgobench import Scenario, run
        >>> result = run(Scenario(workers=20, rounds=2))
        >>> result.status, len(result.rounds["round"]), result.summary["rounds"]
        ('done', 2, 2)
    """

    scenario: Scenario
    rounds: Mapping[str, Sequence[Any]]
    status: Status = "done"
    reason: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    right: bytes | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    server_seconds: float = 0.0

    @property
    def late(self) -> bool:
        """Whether it failed because it ran out of time."""
        return self.status == "failed" and f": {OUT_OF_TIME}: " in self.reason

    @property
    def at_fault(self) -> str:
        """Which kind of component raised, if it failed by that: ``"rule"``, ``"attack"``, ..

        Empty: it did not fail, or by nobody's mistake alone.
        """
        return at_fault(self.status, self.reason)

    @property
    def attack_success(self) -> float | None:
        """What its targeted attack has in the end, as a share of what it wants.

        None: the attack has no target, or the run did not end well.
        """
        column = self.rounds.get(TARGETED)
        if self.status != "done" or not column or math.isnan(column[-1]):
            return None
        return float(column[-1])

    @property
    def worth(self) -> float:
        """What boards count: the final test accuracy, or what the attack failed to get, if less.

        Under an attack without a target it is the accuracy. A targeted attack leaves the accuracy
        alone: under it a model is worth min(accuracy, 1 - attack success).
        """
        accuracy: float = self.summary["test_accuracy"]
        success = self.attack_success
        return accuracy if success is None else min(accuracy, 1.0 - success)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The run in a few numbers: final accuracies and loss, and totals over rounds."""
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
            "server_seconds": self.server_seconds,
        }

    def to_frame(self) -> pandas.DataFrame:
        """Return its rounds as a pandas data frame, a line per round (`EVERY`).

        Raises:
            InputError: pandas is not installed.

        Example:
            >>> from hgobench import Scenario, run
            >>> frame = run(Scenario(workers=20, rounds=2)).to_frame()
            >>> frame[["round", "heard"]].to_numpy().tolist()
            [[1, 20], [2, 20]]
        """
        from hgobench.results.tables import ROUNDS, frame, round_lines

        return frame(ROUNDS, round_lines(self))

    def plot(self, kind: str = "curves", **asked: Any) -> Picture:
        """Draw it: `hgobench.plot` of this run, with the same arguments.

        Raises:
            InputError: as `hgobench.plot`.

        Example:
            >>> from hgobench import Scenario, run
            >>> drawn = run(Scenario(workers=20, rounds=2)).plot("curves", x="bytes")
            >>> drawn.data.header[3:5], len(drawn.data.rows)
            (['bytes', 'accuracy'], 2)
        """
        from hgobench.plots import plot

        return plot(self, kind, **asked)


def data_notes(cells: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return notes that a reader of some results needs on their data and processors.

    Args:
        cells: the data's specification and the provenance of each result.
    """
    pairs = list(cells)
    notes = []
    if unknown := sum(not provenance.get("data") for _, provenance in pairs):
        notes.append(
            f"{unknown} of {len(pairs)} cells do not say which data they were computed on, as they "
            "are of an older hgobench; the command that computed them computes them anew"
        )
    kinds = sorted(
        {str(provenance["processor"]) for _, provenance in pairs if provenance.get("processor")}
    )
    if len(kinds) > 1:
        notes.append(
            f"cells are of {len(kinds)} kinds of processor ({'; '.join(kinds)}): the last bits of "
            "those that are compared may differ"
        )
    for name in sorted({name for name, _ in pairs}):
        records = [facts for data, facts in pairs if data == name]
        if len(digests := {facts["data"] for facts in records if facts.get("data")}) > 1:
            notes.append(f"{len(digests)} different data sets under the name {name}: don't compare")
        differing = {str(facts["data_differs"]) for facts in records if "data_differs" in facts}
        notes += [f"{name} is not as published: {difference}" for difference in sorted(differing)]
    return notes


def padded(column: Sequence[Any], rounds: int) -> list[Any]:
    """Return a column of a table; if the run ended early, its last value is repeated.

    >>> padded([0.2, 0.4], rounds=4)
    [0.2, 0.4, 0.4, 0.4]
    """
    return [*column, *[column[-1]] * (rounds - len(column))]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
