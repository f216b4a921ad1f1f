"""Rules and attacks of a user's own, good and bad, as ``tests.plugins:Name``."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hgobench.aggregators import Columns, Memory, PreRule, Rule, Scope, Vectors
from hgobench.aggregators.trimmed_mean import TrimmedMean
from hgobench.algorithms import Algorithm, Order, Work
from hgobench.attacks import Attack, HeterogeneityAttack, Message, View
from hgobench.data.base import Dataset, Source, Split
from hgobench.metrics import End, Metric
from hgobench.models import Softmax


class MyMedian:
    """A rule that knows nothing of hgobench."""

    def __call__(self, values: Tensor) -> Tensor:
        return values.median(dim=0).values


class SubclassedMean(Rule):
    """A rule as the documentation shows it."""

    def of_rows(self, rows: Tensor) -> Tensor:
        return rows[self.f : len(rows) - self.f].mean(dim=0) if self.f else rows.mean(dim=0)


class Ragged:
    """Takes what was sent and what was not, as a rule may."""

    def __call__(self, values: Tensor, present: Tensor | None = None) -> Tensor:
        sent = torch.ones_like(values, dtype=torch.bool) if present is None else present
        total = values.masked_fill(~sent, 0.0).sum(dim=0)
        return total / sent.sum(dim=0).clamp_min(1)


def ragged_function(values: Tensor, *, present: Tensor) -> Tensor:
    """The same as a function."""
    return Ragged()(values, present)


class Forgetful(Rule):
    def __init__(self, f: int = 0) -> None:
        self.mine = f


class Greedy:
    def __init__(self, n: int, f: int) -> None:
        self.n = n


def plain(values: Tensor) -> np.ndarray:
    """A function, and one that answers in NumPy."""
    return np.asarray(np.median(values.numpy(), axis=0))


class Curious(Rule):
    """Looks at what it is told beside values."""

    seen: ClassVar[list[bool]] = []

    def of_vectors(self, vectors: Vectors) -> Tensor:
        view = vectors.view
        type(self).seen[:] = [view.honest is not None, view.root is not None]
        return vectors.rows.mean(dim=0)


class CuriousAndOpen(Curious):
    needs = frozenset({"honest", "root"})
    seen: ClassVar[list[bool]] = []


class Halving(PreRule):
    """A pre-rule of one's own."""

    exempt = {"finite_within_honest_range": "halves", "translation_equivariant": "halves"}

    def of_vectors(self, vectors: Vectors) -> Vectors:
        return vectors.scaled(torch.full((len(vectors),), 0.5, dtype=torch.float64))


class Dropping(PreRule):
    """Makes fewer vectors than it says."""

    def of_vectors(self, vectors: Vectors) -> Vectors:
        half = len(vectors) // 2
        return vectors.mixed(torch.eye(len(vectors), dtype=torch.float64)[:half])


class WrongKind(PreRule):
    def of_vectors(self, vectors: Vectors) -> Vectors:
        return vectors.rows  # type: ignore[return-value]


class ColumnsOnly(PreRule):
    def of_columns(self, columns: Columns) -> Columns:
        return columns


class Guessing(PreRule):
    """Takes a global random number."""

    def of_vectors(self, vectors: Vectors) -> Vectors:
        return vectors.scaled(torch.rand(len(vectors), dtype=torch.float64))


made = SubclassedMean(f=0)


class Empty(Rule):
    pass


class Wishful(SubclassedMean):
    needs = "honest"  # type: ignore[assignment]


class Listing(SubclassedMean):
    exempt = ["x"]  # type: ignore[assignment]


class NoProperty(SubclassedMean):
    def minimum(self) -> int:  # type: ignore[override]
        return 3


class Ducking(MyMedian):
    needs = frozenset({"honest"})


class DrawingView(Rule):
    """Remembers what the view draws, round by round."""

    drawn: ClassVar[list[float]] = []

    def of_vectors(self, vectors: Vectors) -> Tensor:
        self.drawn.append(vectors.view.rng.random())
        return vectors.rows.median(dim=0).values


class LawBreakers:
    """Rules that each break one law: named after it."""

    class answers_at_all(Rule):
        def of_rows(self, rows: Tensor) -> Tensor:
            return rows[:, None]

    class order_of_workers_is_irrelevant(Rule):
        def of_rows(self, rows: Tensor) -> Tensor:
            return rows[-1]

    class finite_within_honest_range(Rule):
        def of_rows(self, rows: Tensor) -> Tensor:
            return rows.nan_to_num().mean(dim=0)

    class translation_equivariant(Rule):
        def of_rows(self, rows: Tensor) -> Tensor:
            return rows.median(dim=0).values.square()

    class scaling_equivariant(translation_equivariant):
        pass

    class dense_equals_ragged(Rule):
        def __call__(self, values: Tensor, present: Tensor | None = None, view=None) -> Tensor:  # type: ignore[no-untyped-def]
            return super().__call__(values, present, view) + (present is None)

        def of_rows(self, rows: Tensor) -> Tensor:
            return rows.median(dim=0).values

    class ragged_is_the_rule_on_who_sent(Rule):
        def __call__(self, values: Tensor, present: Tensor | None = None, view=None) -> Tensor:  # type: ignore[no-untyped-def]
            return values.mean(dim=0)

        def of_rows(self, rows: Tensor) -> Tensor:
            return rows.median(dim=0).values

    class absent_entries_do_not_matter(ragged_is_the_rule_on_who_sent):
        pass

    class input_is_left_alone(Rule):
        def of_rows(self, rows: Tensor) -> Tensor:
            rows *= 2.0
            return rows.mean(dim=0)

    class answers_repeat_bit_for_bit(Rule):
        calls = 0

        def of_rows(self, rows: Tensor) -> Tensor:
            type(self).calls += 1
            return rows.median(dim=0).values + self.calls * 1e-4

    class too_few_are_refused(Rule):
        def __call__(self, values: Tensor, present: Tensor | None = None, view=None) -> Tensor:  # type: ignore[no-untyped-def]
            return values.float().reshape(len(values), -1)[:1].flatten() if len(values) else values

        def of_rows(self, rows: Tensor) -> Tensor:
            return rows[0]

    class never_silently_non_finite(too_few_are_refused):
        pass

    class remembers_only_if_it_says_so(Rule):
        seen = 0

        def of_rows(self, rows: Tensor) -> Tensor:
            self.seen += 1
            return rows.median(dim=0).values * self.seen

    class runs_share_nothing(Rule):
        stateful = True
        shared: ClassVar[list[int]] = []

        def of_rows(self, rows: Tensor) -> Tensor:
            self.shared.append(1)
            return rows.median(dim=0).values * len(self.shared)

    class rounds_may_differ(Rule):
        stateful = True
        kept: Tensor | float = 0.0

        def of_rows(self, rows: Tensor) -> Tensor:
            self.kept = 0.5 * self.kept + 0.5 * rows.median(dim=0).values
            return self.kept

    class poisoned_rounds_stay_bounded(finite_within_honest_range):
        pass


class Remembering(Rule):
    """Keeps something by worker, and does not say that it matters who sent what."""

    stateful = True

    def __init__(self, *, f: int = 0, scope: Scope = "block") -> None:
        super().__init__(f=f, scope=scope)
        self._sums = Memory()

    def of_vectors(self, vectors: Vectors) -> Tensor:
        sums = self._sums.read(vectors.view, vectors.rows) + vectors.rows
        self._sums.write(vectors.view, sums)
        return sums.mean(dim=0)


class NotFinite:
    def __call__(self, values: Tensor) -> Tensor:
        return torch.full(values.shape[1:], torch.nan)


class Smoothing:
    """Remembers its last answer, and does not say so."""

    def __init__(self) -> None:
        self.last: Tensor | None = None

    def __call__(self, values: Tensor) -> Tensor:
        answer = values.median(dim=0).values
        if self.last is not None and self.last.shape == answer.shape:
            answer = 0.5 * (answer + self.last)
        self.last = answer
        return answer


class SaysSo(Smoothing):
    """Remembers its last answer, and says so."""

    stateful = True


class Uncopied(Smoothing):
    """Can't be copied."""

    def __deepcopy__(self, memo: object) -> Any:
        raise TypeError("no copies")


def without_lines(text: str) -> str:
    """Return a message without the lines of tests from which plug-ins raised."""
    return re.sub(r" \(tests/\w+\.py:\d+\)", "", text)


class Raising(Rule):
    def of_rows(self, rows: Tensor) -> Tensor:
        raise RuntimeError("out of ideas")


class Unprovable(Raising):
    """It states a κ, and has none."""

    def proven_kappa(self, n: int) -> float | None:
        return 1.0


class Overproven(TrimmedMean):
    """The trimmed mean with a κ that it does not have."""

    def proven_kappa(self, n: int) -> float | None:
        return 0.001


class Lazy:
    """A rule that yields what it should return."""

    def __call__(self, values: Tensor) -> Any:
        """Aggregate."""
        yield values.mean(dim=0)


class WrongShape(Rule):
    def of_rows(self, rows: Tensor) -> Tensor:
        return rows[0, :1]


class Hanging(Rule):
    def of_rows(self, rows: Tensor) -> Tensor:
        while True:
            time.sleep(0.01)


class Killing(Rule):
    def of_rows(self, rows: Tensor) -> Tensor:
        os._exit(9)


class Exiting(Rule):
    """Ends its process as if all were well."""

    def of_rows(self, rows: Tensor) -> Tensor:
        os._exit(0)


class Unmakable(Rule):
    def __init__(self, f: int = 0) -> None:
        raise RuntimeError("no")


class Swallowing(Rule):
    """Catches whatever it can, for ever."""

    def of_rows(self, rows: Tensor) -> Tensor:
        while True:
            with suppress(Exception):
                time.sleep(0.01)


class Leaving(Rule):
    def of_rows(self, rows: Tensor) -> Tensor:
        raise SystemExit(3)


class Dying(Rule):
    """Ends its process."""

    def of_rows(self, rows: Tensor) -> Tensor:
        os._exit(7)


class Seen(Rule):
    """Remembers in which processes it was called."""

    processes: ClassVar[set[int]] = set()

    def of_rows(self, rows: Tensor) -> Tensor:
        self.processes.add(os.getpid())
        return rows.mean(dim=0)


class Gambling(Rule):
    """Chooses a worker at random, from every global generator."""

    def of_rows(self, rows: Tensor) -> Tensor:
        at = int(torch.randint(1000, ())) + np.random.randint(1000) + random.randrange(1000)  # noqa: NPY002
        return rows[at % len(rows)]


class NotANumber(Attack):
    sees = "nothing"

    def values(self, view: View) -> Tensor:
        return torch.full((view.dimension,), torch.nan)


class OwnValues(Attack):
    """Sends its own gradient; subclasses lie about lengths."""

    sees = "own"

    def values(self, view: View) -> Tensor:
        return view.require_own()

    def lengths(self, view: View) -> np.ndarray:
        return view.own_lengths


class TooLong(OwnValues):
    def lengths(self, view: View) -> np.ndarray:
        return np.full(view.byzantine, 10 * view.dimension)


class Negative(OwnValues):
    def lengths(self, view: View) -> np.ndarray:
        return np.full(view.byzantine, -5)


class NotLengths(OwnValues):
    def lengths(self, view: View) -> np.ndarray:
        return np.full(view.byzantine, np.nan)


class Short(OwnValues):
    def lengths(self, view: View) -> np.ndarray:
        return np.full(view.byzantine, 100)


class Recording(Attack):
    """Remembers what it saw."""

    sees = "honest"
    seen: ClassVar[list[tuple[int, float, View]]] = []

    def values(self, view: View) -> Tensor:
        self.seen.append((view.round, view.rng.random(), view))
        return view.mean()


class Away(OwnValues):
    """Disconnects in rounds 3 to 5, then follows the protocol again."""

    def lengths(self, view: View) -> np.ndarray:
        return view.own_lengths * (not 3 <= view.round <= 5)


class Claiming(OwnValues):
    """Claims everything, whatever its devices can do."""

    def lengths(self, view: View) -> np.ndarray:
        return np.full(view.byzantine, view.places)


class BadShape(Attack):
    sees = "nothing"

    def values(self, view: View) -> Tensor:
        return torch.zeros(3, 3)


class BadLengths(OwnValues):
    def lengths(self, view: View) -> np.ndarray:
        return np.array([1, 2, 3, 4])


class Narrow(Attack):
    """Sends a vector that is too short."""

    sees = "nothing"

    def values(self, view: View) -> Tensor:
        return torch.zeros(view.dimension - 1)


class RecordingMedian(Rule):
    """Remembers its answers (not for itself)."""

    answers: ClassVar[list[Tensor]] = []

    def of_vectors(self, vectors: Vectors) -> Tensor:
        answer = vectors.rows.median(dim=0).values
        self.answers.append(answer)
        return answer


class RecordingMemory(Rule):
    """Adds up its own answers."""

    stateful = True
    answers: ClassVar[list[Tensor]] = []

    def __init__(self, *, f: int = 0, scope: Scope = "block") -> None:
        super().__init__(f=f, scope=scope)
        self.total = 0.0

    def of_vectors(self, vectors: Vectors) -> Tensor:
        self.total += 1.0
        answer = vectors.rows.median(dim=0).values + self.total
        self.answers.append(answer)
        return answer


class OwnModel(Attack):
    """Sends what the model looks like."""

    sees = "own"
    seen: ClassVar[list[tuple[Tensor, Tensor]]] = []

    def values(self, view: View) -> Tensor:
        self.seen.append((view.require_model(), view.require_last_step()))
        return view.require_model()


class Trying(Attack):
    """Tries what it sends on the server."""

    sees = "server"
    seen: ClassVar[list[tuple[View, Tensor, Tensor]]] = []  # with deviation and stepped model

    def values(self, view: View) -> Tensor:
        values = (-view.mean()).expand(view.byzantine, -1)
        outcome = view.outcome(Message(values, self.lengths(view)))
        self.seen.append((view, outcome.deviation, outcome.stepped()))
        return values


class Never(HeterogeneityAttack):
    """Answers after a time that is none."""

    def delays(self, view: View) -> np.ndarray:
        return np.full(view.byzantine, np.nan)


class BadDelay(HeterogeneityAttack):
    def delays(self, view: View) -> np.ndarray:
        return np.zeros(7)


class Blind(Attack):
    """Does not say what it sees."""

    def values(self, view: View) -> Tensor:
        return torch.zeros(view.dimension)


class Idle(Attack):
    sees = "nothing"


class Imaginary(Attack):
    """Sends complex numbers."""

    sees = "nothing"

    def values(self, view: View) -> Tensor:
        return torch.zeros(view.dimension, dtype=torch.complex64)


class Prices(Source):
    """A regression."""

    def load(self) -> Dataset:
        rng = np.random.default_rng(0)
        x = rng.random((60, 3), dtype=np.float32)
        train, test = (Split(part, part.sum(axis=1)) for part in (x[:40], x[40:]))
        return Dataset(*self.hold_out(train), test, classes=0)


class StoppingItself(Rule):
    """Stops its process, and does not tell it to go on."""

    def of_rows(self, rows: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGSTOP)
        return rows.mean(dim=0)


class ComputingInC(Rule):
    """Holds the interpreter's lock for hours."""

    def of_rows(self, rows: Tensor) -> Tensor:
        return rows[0] * sum(range(10**12))


class Growing(Rule):
    """Takes all memory that there is."""

    def of_rows(self, rows: Tensor) -> Tensor:
        kept: list[Tensor] = []
        while True:
            kept.append(torch.ones(10**6))


class Endless(Rule):
    """Is never made."""

    def __init__(self, f: int = 0) -> None:
        while True:
            pass


class LeavingWhenMade(Rule):
    def __init__(self, f: int = 0) -> None:
        os._exit(5)


class EndlessModel(Softmax):
    """Never computes a gradient."""

    def gradients(self, *arguments: Any, **keywords: Any) -> Tensor:
        return torch.ones(1) * sum(range(10**12))


class PoisoningForLong(Attack):
    """Takes far too long to change the data, in C code."""

    sees = "own"
    poisons = True

    def poison(self, features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        sum(range(10**12))
        return features, labels


class EndlessInC(Softmax):
    """Is never made, in C code."""

    def __init__(self, features: int, classes: int) -> None:
        sum(range(10**12))


class Signs(Algorithm):
    """Workers send the signs of as many coordinates as they have time for, one after the other."""

    step = 100
    remembers = True

    def lengths(self, budget: Any, order: Order, upload: Any = None) -> Any:
        return np.minimum(order.affordable(budget, upload), self.step)

    def accepted(self, lengths: Any, order: Order) -> Any:
        return np.minimum(lengths, self.step)

    def computed(self, budget: Any, lengths: Any, order: Order) -> int:
        return int(order.coordinates(lengths).sum())

    def full_cost(self, order: Order) -> int:
        return order.cost_of(self.step)

    def quorum(self, tolerated: int, minimum: int) -> int:
        return max(2 * tolerated + 1, minimum)

    def messages(self, work: Work) -> Tensor:
        return work.gradients.sign()


class Blurred(Softmax):
    """A model that draws at random while it computes gradients."""

    def gradients(self, *arguments: Any) -> Tensor:
        exact = super().gradients(*arguments)
        return exact + 0.1 * torch.randn(exact.shape)


class Unending(Signs):
    """It never says what all of its work costs."""

    def full_cost(self, order: Order) -> int:
        while True:
            pass


def smoothed(scores: Tensor, y: Tensor) -> Tensor:
    """A loss: cross-entropy with smoothed labels."""
    return torch.nn.functional.cross_entropy(scores, y, label_smoothing=0.2)


class NoisyAccuracy(Metric):
    """The accuracy on test examples with noise."""

    measures = {"noisy_accuracy": "accuracy on test examples with noise"}

    def __call__(self, end: End) -> dict[str, float]:
        noise = torch.randn(end.features.shape)
        return {"noisy_accuracy": end.accuracy(end.features + 0.5 * noise, end.labels)}


class RaisingMetric(Metric):
    def __call__(self, end: End) -> dict[str, float]:
        raise KeyError("no such thing")


class NanMetric(Metric):
    def __call__(self, end: End) -> dict[str, float]:
        return {"loss": float("nan")}


class ListMetric(Metric):
    def __call__(self, end: End) -> Any:
        return [1.0]


class TextMetric(Metric):
    def __call__(self, end: End) -> Any:
        return {"loss": "high"}


class TakenMetric(Metric):
    def __call__(self, end: End) -> dict[str, float]:
        return {"device_accuracy/mine": 7.0}


class CapitalMetric(Metric):
    def __call__(self, end: End) -> Any:
        return {"Loss": 1.0}


class MeddlingMetric(Metric):
    """Changes whatever it is given."""

    def __call__(self, end: End) -> dict[str, float]:
        end.params.zero_()
        end.features.zero_()
        end.labels.zero_()
        for array in (end.right, end.held, end.byzantine, end.devices):
            assert array is not None
            array[:] = 0
        return {"meddled": 1.0}
