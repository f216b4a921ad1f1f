"""Parts of somebody's own that misbehave, each in one way: as ``tests.misbehaving:RuleNAME``.

`RAISING` raise something, `CHANGING` leave global state changed. Of each there are ``RuleNAME``,
``AttackNAME``, ``PoisonNAME``, ``ModelNAME``, ``SolverNAME``, ``AlgorithmNAME``, ``WorkloadNAME``
and ``InitNAME``, a rule whose constructor does it.
"""

from __future__ import annotations

import gc
import io
import locale
import os
import random
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, NoReturn

import numpy as np
import threadpoolctl
import torch
from numpy.typing import NDArray
from torch import Tensor

from hgobench.aggregators import Rule
from hgobench.algorithms import GradientDescent, Hgo
from hgobench.algorithms.workloads import Fixed
from hgobench.attacks import Attack, View
from hgobench.boundary import OutOfTime
from hgobench.data.base import Dataset, Source, Split
from hgobench.data.partitions import Iid, Partition
from hgobench.hardware import Condition, Fleet, Hardware, Population
from hgobench.models import Model, Network, Softmax


class Fatal(BaseException):
    """No Exception."""


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


class Metaclass(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class Nameless(Exception, metaclass=Metaclass):
    """Its class has no name that can be read."""


class Text(str):
    """Text that can't be told."""

    __slots__ = ()

    def __getitem__(self, at: object) -> str:
        raise RuntimeError("no characters")

    def __format__(self, how: str) -> str:
        raise RuntimeError("no format")


class Odd(Exception):
    def __str__(self) -> str:
        return Text("odd text")


def throw(error: BaseException) -> Callable[[], NoReturn]:
    def act() -> NoReturn:
        raise error

    return act


def recurse() -> None:
    recurse()


def deny() -> None:
    assert 1 > 2, "one is not more than two"


RAISING: dict[str, tuple[Callable[[], object], str]] = {
    "Error": (throw(RuntimeError("out of ideas")), "RuntimeError: out of ideas"),
    "Fatal": (throw(Fatal("the end")), "Fatal: the end"),
    "Interrupt": (throw(KeyboardInterrupt()), "KeyboardInterrupt"),
    "Exit": (throw(SystemExit(0)), "SystemExit: 0"),
    "ExitText": (lambda: sys.exit("bye"), "SystemExit: bye"),
    "Generator": (throw(GeneratorExit()), "GeneratorExit"),
    "Stop": (throw(StopIteration(3)), "StopIteration: 3"),
    "Speechless": (throw(Speechless()), "Speechless: its message can't be read, as __str__ raises"),
    "Nameless": (throw(Nameless("x")), "Nameless: x"),
    "Odd": (throw(Odd()), "Odd: odd text"),
    "Surrogate": (throw(ValueError("a\ud800b")), "ValueError: a\\ud800b"),
    "Control": (throw(ValueError("a\0b\x1b[31m")), "ValueError: a\\x00b\\x1b[31m"),
    "Megabytes": (throw(ValueError("x" * 5_000_000)), "x.. (5000000 characters)"),
    "Memory": (throw(MemoryError()), "MemoryError"),
    "Recursion": (recurse, "RecursionError: maximum recursion depth exceeded"),
    "Assertion": (deny, "AssertionError: one is not more than two"),
    "Group": (throw(ExceptionGroup("two", [ValueError("1")])), "ExceptionGroup: two"),
    "Clock": (throw(OutOfTime("long ago")), "OutOfTime: long ago"),
    "Unicode": (lambda: "\ud800".encode(), "UnicodeEncodeError: 'utf-8' codec can't encode"),
    "Tensor": (lambda: torch.ones(2) @ torch.ones(3), "RuntimeError: inconsistent tensor size"),
}


def away() -> None:
    os.chdir(tempfile.gettempdir())


def gone() -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def environment() -> None:
    os.environ["HGOBENCH_MISBEHAVING"] = "1"
    os.environ.pop("PATH", None)


def close(number: int) -> Callable[[], None]:
    def act() -> None:
        with suppress(OSError):
            os.close(number)

    return act


def blas() -> None:
    threads = threadpoolctl.threadpool_info()
    most = max(each["num_threads"] for each in threads if each["user_api"] == "blas")
    threadpoolctl.threadpool_limits(1 if most > 1 else 2, "blas")


def streams() -> None:
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()


def handlers() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    time.sleep(0.005)


def generators() -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)


def chatter() -> None:
    print("a print")
    sys.stdout.write("a write\n")
    assert sys.__stdout__ is not None
    sys.__stdout__.write("behind the stream\n")
    os.write(1, b"to the descriptor\n")


CHANGING: dict[str, tuple[Callable[[], object], str]] = {
    "Seterr": (lambda: np.seterr(all="raise"), "NumPy's error handling"),
    "Seterrcall": (lambda: np.seterrcall(print), "NumPy's error callback"),
    "Dtype": (lambda: torch.set_default_dtype(torch.float64), "torch's default dtype"),
    "Device": (lambda: torch.set_default_device("meta"), "torch's default device"),
    "Threads": (lambda: torch.set_num_threads(3), "torch's number of threads"),
    "Grad": (
        lambda: torch.set_grad_enabled(not torch.is_grad_enabled()),
        "torch's gradient mode",
    ),
    "Precision": (
        lambda: torch.set_float32_matmul_precision("medium"),
        "torch's precision of products",
    ),
    "Deterministic": (
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        "torch's deterministic mode",
    ),
    "Denormal": (lambda: torch.set_flush_denormal(True), "what becomes of denormal numbers"),
    "Blas": (blas, "the threads of BLAS"),
    "Away": (away, "the working directory"),
    "Gone": (gone, "the working directory"),
    "Environment": (environment, "the environment"),
    "Filters": (lambda: warnings.simplefilter("error"), "the filters of warnings"),
    "Locale": (lambda: locale.setlocale(locale.LC_ALL, "C"), "the locale"),
    "Recursing": (lambda: sys.setrecursionlimit(400), "the recursion limit"),
    "Garbage": (gc.disable, "the garbage collector"),
    "Trace": (lambda: sys.settrace(lambda *_: None), "the trace function"),
    "Streams": (streams, "Python's standard streams"),
    "Out": (close(1), "standard output"),
    "Err": (close(2), "standard error"),
    "Handlers": (handlers, "the handlers of signals"),
    "Generators": (generators, ""),
    "Chatter": (chatter, ""),
}


class RuleOf(Rule):
    act: ClassVar[Callable[[], object]]

    def of_rows(self, rows: Tensor) -> Tensor:
        type(self).act()
        return rows.median(dim=0).values


class InitOf(RuleOf):
    def __init__(self, *, f: int = 0, scope: Any = "block") -> None:
        super().__init__(f=f, scope=scope)
        type(self).act()

    def of_rows(self, rows: Tensor) -> Tensor:
        return rows.median(dim=0).values


class AttackOf(Attack):
    sees = "own"
    act: ClassVar[Callable[[], object]]

    def values(self, view: View) -> Tensor:
        type(self).act()
        return -view.require_own()


class PoisonOf(Attack):
    sees = "own"
    poisons = True
    act: ClassVar[Callable[[], object]]

    def poison(self, features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        type(self).act()
        return -features, labels


class ModelOf(Softmax):
    act: ClassVar[Callable[[], object]]

    def gradients(self, *arguments: Any, **more: Any) -> Tensor:
        type(self).act()
        return super().gradients(*arguments, **more)


class SolverOf(GradientDescent):
    act: ClassVar[Callable[[], object]]

    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        type(self).act()
        super().step(params, block, aggregate)


class AlgorithmOf(Hgo):
    act: ClassVar[Callable[[], object]]

    def lengths(self, *arguments: Any, **more: Any) -> NDArray[np.int64]:
        type(self).act()
        return super().lengths(*arguments, **more)


class WorkloadOf(Fixed):
    act: ClassVar[Callable[[], object]]

    def split(self, *arguments: Any) -> Any:
        type(self).act()
        return super().split(*arguments)


KINDS = {
    "Rule": RuleOf,
    "Init": InitOf,
    "Attack": AttackOf,
    "Poison": PoisonOf,
    "Model": ModelOf,
    "Solver": SolverOf,
    "Algorithm": AlgorithmOf,
    "Workload": WorkloadOf,
}
for _kind, _base in KINDS.items():
    for _name, (_act, _) in (*RAISING.items(), *CHANGING.items()):
        _members = {"act": staticmethod(_act), "__module__": __name__}
        globals()[f"{_kind}{_name}"] = type(f"{_kind}{_name}", (_base,), _members)


class InitRandom(Rule):
    """Draws once, when it is made."""

    def __init__(self, *, f: int = 0, scope: Any = "block") -> None:
        super().__init__(f=f, scope=scope)
        self.weight = torch.rand(()).item() + np.random.rand() + random.random()  # noqa: NPY002

    def of_rows(self, rows: Tensor) -> Tensor:
        return self.weight * rows.median(dim=0).values


class PoisonRandom(PoisonOf):
    def poison(self, features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        return features + torch.randn_like(features), labels


class AttackRandom(Attack):
    sees = "own"

    def values(self, view: View) -> Tensor:
        return torch.randn(view.dimension)


class ModelRandom(Softmax):
    def gradients(self, *arguments: Any, **more: Any) -> Tensor:
        found: Tensor = super().gradients(*arguments, **more)
        return found + 0.01 * torch.randn_like(found)

    def initial(self, rng: np.random.Generator) -> Tensor:
        return torch.randn(self.dimension)


class PartitionRandom(Partition):
    def deal(self, train: Split, workers: int, seed: int) -> list[NDArray[np.int64]]:
        return np.array_split(np.random.permutation(len(train)), workers)  # noqa: NPY002


class HardwareRandom(Hardware):
    def rates(self, population: Population) -> NDArray[np.float64]:
        return 1000.0 * (1.0 + np.random.rand(population.workers))  # noqa: NPY002


class ConditionRandom(Condition):
    """Workers come and go as the global generator says."""

    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        def there(round_: int) -> NDArray[np.bool_]:
            return np.random.rand(population.workers) < 0.9  # noqa: NPY002

        return Fleet(fleet.rates, fleet.uplink, fleet.downlink, fleet.latency, presence=(there,))


class SourceRandom(Source):
    def load(self) -> Dataset:
        x = np.random.rand(200, 3).astype(np.float32)  # noqa: NPY002
        y = (x[:, 0] > 0.5).astype(np.int64)
        train, held = self.hold_out(Split(x[:150], y[:150]))
        return Dataset(train, held, Split(x[150:], y[150:]), classes=2)


class Pressed(Rule):
    """Ctrl-C is pressed while it works."""

    swallows: ClassVar[bool] = False

    def of_rows(self, rows: Tensor) -> Tensor:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5.0)
        except BaseException:
            if not self.swallows:
                raise
        return rows.median(dim=0).values


class Swallowed(Pressed):
    swallows = True


class Burning(Rule):
    """Computes for ever, and catches what it can."""

    def of_rows(self, rows: Tensor) -> Tensor:
        while True:
            try:
                rows = rows + 0.0
            except Exception:
                continue


class Leaving(Rule):
    """Leaves four threads behind that compute for 0.5 s each."""

    left: ClassVar[bool] = False

    def of_rows(self, rows: Tensor) -> Tensor:
        def compute() -> None:
            while time.thread_time() < 0.5:
                pass

        for _ in range(0 if self.left else 4):
            threading.Thread(target=compute, daemon=True).start()
        type(self).left = True
        return rows.median(dim=0).values


class Working(Rule):
    """Computes for 50 ms."""

    def of_rows(self, rows: Tensor) -> Tensor:
        began = time.thread_time()
        while time.thread_time() - began < 0.05:
            rows = rows + 0.0
        return rows.median(dim=0).values


class Paused(Rule):
    """Computes for 20 ms, in a process that is stopped meanwhile."""

    pause: ClassVar[Callable[[], None]] = staticmethod(lambda: None)

    def of_rows(self, rows: Tensor) -> Tensor:
        type(self).pause()
        began = time.process_time()
        while time.process_time() - began < 0.02:
            rows = rows + 0.0
        return rows.median(dim=0).values


class Greedy(ModelOf):
    """Changes the examples that it is lent."""

    def gradients(self, params: Tensor, x: Tensor, *more: Any, **named: Any) -> Tensor:
        found = Softmax.gradients(self, params, x, *more, **named)
        x.zero_()
        return found

    def evaluate(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        found = super().evaluate(params, x, y)
        x.zero_()
        y.zero_()
        return found


class Scribbling(Partition):
    """Changes the examples that it deals out."""

    def deal(self, train: Split, workers: int, seed: int) -> list[NDArray[np.int64]]:
        train.features[:] = 0.0
        train.labels[:] = 0
        return np.array_split(np.arange(len(train)), workers)


class Halving(Hgo):
    """Changes the budgets that it is shown."""

    def lengths(self, budget: NDArray[np.float64], *more: Any) -> NDArray[np.int64]:
        budget *= 0.5
        return super().lengths(budget, *more)


def network(*layers: torch.nn.Module) -> type[Network]:
    class Made(Network):
        def __init__(self, features: int, classes: int) -> None:
            with torch.device("meta"):
                first = torch.nn.Linear(features, 6)
                net = torch.nn.Sequential(first, *layers, torch.nn.Linear(6, classes))
            super().__init__(net)

    return Made


class Residual(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.inner(x)
        return x + inner


with torch.device("meta"):
    BatchNorm = network(torch.nn.BatchNorm1d(6))
    Dropout = network(torch.nn.Dropout(0.5))
    Skipping = network(Residual())
    Plain = network(torch.nn.ReLU())


class NoModel(torch.nn.Module):
    """A network of torch's, and no `Model`."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(features, classes)


class Nothing:
    """No part at all."""


class Unsized(Model):
    """Does not say how many parameters it has."""

    def __init__(self, features: int, classes: int) -> None:
        pass

    def initial(self, rng: np.random.Generator) -> Tensor:
        return torch.zeros(3)

    def gradients(self, *arguments: Any, **more: Any) -> Tensor:
        return torch.zeros(3)

    def evaluate(self, *arguments: Any) -> Any:
        return None


class Short(Softmax):
    """Its gradients have another shape."""

    def gradients(self, *arguments: Any, **more: Any) -> Tensor:
        found: Tensor = super().gradients(*arguments, **more)
        return found[..., 1:]


class Blunt(Softmax):
    """Fails when it is evaluated."""

    def evaluate(self, *arguments: Any) -> Any:
        raise RuntimeError("no score")


class Overlapping(Partition):
    def deal(self, train: Split, workers: int, seed: int) -> list[NDArray[np.int64]]:
        return [np.arange(10)] * workers


class NoFleet(Hardware):
    def fleet(self, population: Population) -> Fleet:
        return None  # type: ignore[return-value]


class Impossible(Hardware):
    """Its devices have a number that none can have."""

    def __init__(self, field: str, value: float) -> None:
        self.field, self.value = field, value

    def fleet(self, population: Population) -> Fleet:
        fleet = Fleet.of(np.full(population.workers, 1000.0))
        changed: dict[str, Any] = {self.field: np.full(population.workers, self.value)}
        return replace(fleet, **changed)


class Blank(Iid):
    """Workers see nothing that is a number."""

    def shift(self, train: Split, shards: Any, seed: int) -> Any:
        return train.features * np.nan


class Unsure(Fixed):
    """Does not know how much to compute."""

    def split(self, *arguments: Any) -> Any:
        _, s = super().split(*arguments)
        return np.nan * s, s


class NoSource(Source):
    def load(self) -> Dataset:
        return torch.utils.data.TensorDataset(torch.ones(3))  # type: ignore[return-value]


instance = NoModel(2, 2)
