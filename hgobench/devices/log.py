"""What a server heard, round by round, and the model after each: arrays in files, no pickle."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench.errors import InputError
from hgobench.results.rows import scenario_of
from hgobench.scenario import Scenario

FOLDER = "replies"  # beside the store's file, a folder for each run in it
FORMAT = 1
RUN = "run.json"


@dataclass(frozen=True)
class Heard:
    """What came of a round, as the server takes it.

    Attributes:
        rows: (m,) int64, which of the q sampled workers answered, ascending.
        lengths: (m,) int64, how many places each sent, 1 or more.
        updates: (m,) int64, how many gradients each says that it took.
        values: (Σ coordinates,) float32, what they sent, one behind the other.
        asked: how many were sent the parameters.
        malformed: how many replies were dropped.
        seconds: that the round took.
        joules: (m,) float64, what each says that it spent; NaN: it does not say.
    """

    rows: NDArray[np.int64]
    lengths: NDArray[np.int64]
    updates: NDArray[np.int64]
    values: NDArray[np.float32]
    asked: int
    malformed: int
    seconds: float
    joules: NDArray[np.float64]

    def problem(self, sampled: int, dimension: int) -> str:
        """Say what is wrong with it for q workers and d coordinates; empty: nothing."""
        m = len(self.rows)
        whole = (self.rows, self.lengths, self.updates)
        if any(a.shape != (m,) or a.dtype != np.int64 for a in whole) or m > sampled:
            return "rows, lengths and updates are not those of sampled workers"
        if m and not (self.rows.min() >= 0 and self.rows.max() < sampled):
            return f"rows outside 0 .. {sampled - 1}"
        if (np.diff(self.rows) <= 0).any():
            return "a worker answers twice"
        if m and not (self.lengths.min() >= 1 and self.lengths.max() <= dimension):
            return f"lengths outside 1 .. {dimension}"
        if m and self.updates.min() < 1:
            return "updates below 1"
        if self.values.dtype != np.float32 or self.values.shape != (int(self.lengths.sum()),):
            return "not as many values as were sent"
        if not (0 <= self.asked <= sampled and self.malformed >= 0):
            return "counts that can't be"
        told = self.joules[~np.isnan(self.joules)] if self.joules.dtype == np.float64 else None
        if self.joules.shape != (m,) or told is None or not ((told >= 0) & (told < np.inf)).all():
            return "joules that can't be"
        return "" if 0 <= self.seconds < math.inf else "seconds below 0"


class Log:
    """The rounds of one run, in a folder of its own: ``round-000001.npz`` and so on.

    A round is there whole or not at all, and once it is written it is safe.

    Args:
        folder: of the run; made if it does not exist.

    Raises:
        InputError: the folder is of something else.

    >>> import tempfile
    >>> one = np.ones(1, np.int64)
    >>> sent, joules = np.ones(1, np.float32), np.array([2.5])
    >>> heard = Heard(one, one, one, sent, asked=3, malformed=0, seconds=5.0, joules=joules)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = Log(Path(folder) / "a")
    ...     log.begin(Scenario(), "real-1")
    ...     log.write(1, heard, np.zeros(2, np.float32))
    ...     [(k, record.seconds, params) for k, record, params in log.rounds()]
    [(1, 5.0, array([0., 0.], dtype=float32))]
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, results: Path, ruleset: str, scenario: Scenario) -> Log:
        """Return that of a scenario in a folder of results."""
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in ruleset)
        return cls(results / FOLDER / f"{name}-{scenario.digest[:16]}")

    @classmethod
    def all(cls, results: Path) -> list[Log]:
        """Return those in a folder of results, by name."""
        return [cls(path.parent) for path in sorted((results / FOLDER).glob(f"*/{RUN}"))]

    def begin(self, scenario: Scenario, ruleset: str) -> None:
        """Write whose run it is; where it is there already, check that it is the same.

        Raises:
            InputError: it is another's.
        """
        if (self.folder / RUN).exists():
            if self.run() != (scenario, ruleset):
                raise InputError(f"{self.folder}: holds the replies of another scenario")
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        told = {"format": FORMAT, "ruleset": ruleset, "scenario": scenario.to_dict()}
        self._write(RUN, json.dumps(told, indent=1).encode())

    def run(self) -> tuple[Scenario, str]:
        """Return the scenario, and the ruleset under which its result is kept.

        Raises:
            InputError: the file says something else.
        """
        path = self.folder / RUN
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            if told["format"] != FORMAT:
                raise ValueError(f"format {told['format']}; expected {FORMAT}")
            if not isinstance(told["ruleset"], str) or not isinstance(told["scenario"], dict):
                raise ValueError("expected a ruleset and a scenario")
            return scenario_of(told["scenario"]), told["ruleset"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path}: {error}") from error

    def write(self, k: int, heard: Heard, params: NDArray[np.float32]) -> None:
        """Write round k: what was heard, and the parameters after it."""
        file = io.BytesIO()
        counts = np.array([heard.asked, heard.malformed], np.int64)
        np.savez(
            file, rows=heard.rows, lengths=heard.lengths, updates=heard.updates, counts=counts,
            values=heard.values, seconds=np.array(heard.seconds), joules=heard.joules,
            params=params,
        )  # fmt: skip
        self._write(_name(k), file.getvalue())

    def _write(self, name: str, data: bytes) -> None:
        unfinished = self.folder / f".unfinished-{name}"
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, self.folder / name)

    def count(self) -> int:
        """Return how many rounds there are, without reading them."""
        k = 0
        while (self.folder / _name(k + 1)).exists():
            k += 1
        return k

    def rounds(self) -> Iterator[tuple[int, Heard, NDArray[np.float32]]]:
        """Yield (k, what was heard, the parameters after it), from round 1, as far as there are.

        Raises:
            InputError: a file is no such round.
        """
        k = 1
        while (path := self.folder / _name(k)).exists():
            yield k, *_read(path)
            k += 1


def _name(k: int) -> str:
    return f"round-{k:06d}.npz"


def _read(path: Path) -> tuple[Heard, NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
        asked, malformed = arrays["counts"].tolist()
        heard = Heard(
            arrays["rows"], arrays["lengths"], arrays["updates"], arrays["values"],
            int(asked), int(malformed), float(arrays["seconds"]),
            arrays.get("joules", np.full(len(arrays["rows"]), np.nan)),  # older logs have none
        )  # fmt: skip
        params = arrays["params"]
        if params.ndim != 1 or params.dtype != np.float32:
            raise ValueError("params are no vector of float32")
    except Exception as error:  # whatever NumPy makes of a file
        raise InputError(f"{path}: not the replies of a round: {error}") from error
    return heard, params
