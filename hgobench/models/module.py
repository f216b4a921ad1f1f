"""Any torch module as a model: every worker's gradient, checked when it is made."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench.boundary import PluginError, error_text, importing
from hgobench.kernels.arrays import product
from hgobench.lazy import Tensor, torch
from hgobench.parameters import boolean

from .base import EXAMPLES, Parameters, accuracy, cells, counted, kept_bytes, memory
from .units import check_units, places_of, units_of

MEMORY = 256 * 2**20  # bytes that activations of workers computed together may take
TRIED = 5  # examples of a trial
CLOSE = 1e-4  # relative difference of gradients that are computed in two ways
INPUTS = ("flat", "image", "tokens", "rows")
LOSSES = ("cross_entropy", "mse")


class Module(Parameters):
    """A torch module and a loss, on the examples of some data.

    Coordinates: the parameters that are trained, in the order of ``named_parameters()``; shared
    ones once.

    Args:
        make: makes the module; called again for every draw of initial parameters.
        features: p.
        classes: of the data; 0: a regression.
        image: channels, height and width, if the features are an image's pixels; else None.
        vocabulary: V, if an example is a sequence of integers in 0 .. V-1; else None.
        loss: ``"cross_entropy"``, ``"mse"`` or ``"module:function"``, of outputs (N, ...) and
            labels (N,): N losses, or their mean. None: cross-entropy, or of a regression the mean
            squared error.
        inputs: how the module takes N examples: ``"flat"`` (N, p), ``"image"`` (N, channels,
            height, width), ``"tokens"`` (N, p) as int64, ``"rows"`` (N, height, channels · width),
            a sequence of an image's rows. None: the first of them that it takes.
        output: which of the outputs is scored, if the module returns a tuple; None: it does not.
        freeze: keep statistics that a module collects (batch normalisation's) as they are made.

    Attributes:
        way: how gradients are computed: ``"products"`` (of all workers at once: one pass, and a
            matrix product per linear layer and worker), ``"mapped"`` (torch.func.vmap) or
            ``"loop"`` (worker by worker).
        reason: why they are not mapped; empty: they are, or better.
        random: whether gradients depend on draws, as with dropout.

    Example:
        >>> model = Module(lambda: torch.nn.Linear(4, 3), features=4, classes=3)
        >>> model.check()
        >>> model.dimension, model.way, model.inputs
        (15, 'products', 'flat')
    """

    paper = ""
    validity = "what the module takes"

    def __init__(
        self,
        make: Callable[[], Any],
        *,
        features: int,
        classes: int,
        image: tuple[int, int, int] | None = None,
        vocabulary: int | None = None,
        loss: str | None = None,
        inputs: str | None = None,
        output: int | None = None,
        freeze: bool = False,
    ) -> None:
        self._build, self.features, self.classes, self.image = make, features, classes, image
        self.vocabulary = vocabulary
        if inputs is not None and inputs not in INPUTS:
            raise ValueError(f"inputs: {inputs!r}; expected one of {', '.join(INPUTS)}")
        if loss is not None and loss not in LOSSES and ":" not in str(loss):
            raise ValueError(
                f"loss: {loss!r}; expected {', '.join(LOSSES)} or module:function of your own"
            )
        self.loss_name = loss or ("cross_entropy" if classes else "mse")
        if self.loss_name == "cross_entropy" and not classes:
            raise ValueError("loss: cross_entropy scores classes; the data's labels are numbers")
        if self.loss_name == "mse" and classes:
            raise ValueError(
                "loss: mse is of numbers; the data has classes: give module:function of your own"
            )
        self.inputs, self.output = inputs, output
        self.freeze = boolean("freeze", freeze)
        if ":" in self.loss_name:
            _ = self._loss_function  # what does not import is refused at once
        self.way, self.reason, self.random = "", "", False
        self._held: list[torch.nn.Module] = []
        self._per_example = True  # whether the loss is a number per example; else their mean
        self._bytes = 0  # of activations per example
        self._device: Any = None  # where the module is; None: where it was made

    # Making it

    @cached_property
    def first(self) -> Any:
        """What `make` returned."""
        return self._build()

    @property
    def made_of(self) -> tuple[object, ...]:
        """The module, whose code is called."""
        return (self.net,)

    @cached_property
    def net(self) -> torch.nn.Module:
        """A copy of the module, whose parameters are those of the cell that is computed."""
        return self._ready(copy.deepcopy(self.first))

    def _ready(self, net: Any) -> torch.nn.Module:
        """Return a module with all of its parameters, in float32."""
        if not isinstance(net, torch.nn.Module):
            raise ValueError(
                f"made {type(net).__module__}.{type(net).__qualname__}; expected a torch.nn.Module "
                "or a hgobench.models.Model"
            )
        lazy = torch.nn.parameter.UninitializedParameter
        if any(isinstance(p, lazy) for p in net.parameters()):
            with torch.no_grad():
                for inputs in [self.inputs] if self.inputs else INPUTS:
                    try:
                        net(self._as(inputs, torch.zeros(TRIED, self.features)))
                        break
                    except Exception:  # the check says why, if none of them is right
                        continue
        return net.float()

    @cached_property
    def _named(self) -> dict[str, torch.nn.Parameter]:
        return {name: p for name, p in self.net.named_parameters() if p.requires_grad}

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """The shape of each parameter that is trained, by its name."""
        return {name: tuple(p.shape) for name, p in self._named.items()}

    @cached_property
    def place_of(self) -> NDArray[np.int64]:  # type: ignore[override]
        """Return which unit's outgoing weights each coordinate belongs to, (d,).

        The module's own ``place_of``, or that of a chain of layers.

        Raises:
            ValueError: it can't be told.
        """
        return places_of(self.net, self.shapes)

    @cached_property
    def units(self) -> NDArray[np.int64]:  # type: ignore[override]
        """Return the units that each coordinate joins, (2, d).

        The module's own ``units``, or those of a chain of layers. Both are tried: without the
        weights that leave a unit, the loss may not depend on those that enter it.

        Raises:
            ValueError: they can't be told, or are wrong.
        """
        units = units_of(self.net, self.shapes)
        self._move(torch.device("cpu"))
        rng = torch.Generator().manual_seed(1)
        x, y = self._trial(rng)
        params = torch.randn(self.dimension, generator=rng) * 0.1
        with self._mode(train=False):
            check_units(units, lambda row: self._by_loop(row, x[None], y[None]), params)
        return units

    def initial(self, rng: np.random.Generator) -> Tensor:
        """Make the module anew, with torch's generator keyed, and return its parameters, (d,)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            net = self._ready(self._build())
        named = dict(net.named_parameters())
        found = {name: tuple(named[name].shape) for name in self.shapes if name in named}
        if found != self.shapes:
            raise ValueError("made twice, it has other parameters the second time")
        return torch.cat([named[name].detach().reshape(-1) for name in self.shapes]).float()

    # Checking it

    def check(self) -> None:
        """Find out how the module takes examples and how its gradients are computed.

        Raises:
            ValueError: it is none that workers can train; with the reason and the way out.
        """
        if self.way:
            return
        if not self.dimension:
            raise ValueError("has no parameters that are trained")
        self._check_statistics()
        rng = torch.Generator().manual_seed(0)
        self._choose_inputs(rng)
        x, y = self._trial(rng)
        self._check_loss(x, y)
        self._check_buffers(x)
        self._measure(x, y)
        self._choose_way(rng)

    def _check_statistics(self) -> None:
        batch = torch.nn.modules.batchnorm._BatchNorm
        for name, module in self.net.named_modules():
            kept = isinstance(module, batch) and module.running_mean is not None
            if isinstance(module, batch) and not (kept and self.freeze):
                frozen = ", or freeze=true to keep them as they are made" if kept else ""
                raise ValueError(
                    f"{name or 'it'} is {type(module).__name__}, which mixes a minibatch's "
                    "examples and collects statistics that no worker sends: use "
                    f"torch.nn.GroupNorm{frozen}"
                )
            if kept:
                self._held.append(module)

    def _check_tokens(self, x: Tensor) -> None:
        """Refuse examples that are no tokens, where the module takes tokens."""
        if self.inputs == "tokens" and not bool((x == x.floor()).all()):
            raise ValueError(
                "inputs=tokens: the data's features are no whole numbers, and can't be tokens"
            )

    def _as(self, inputs: str, x: Tensor) -> Tensor:
        """Return examples (..., p) as the module takes them."""
        if inputs == "flat":
            return x
        if inputs == "tokens":
            return x.long()
        if self.image is None:
            raise ValueError(f"inputs={inputs}: the data are no images")
        channels, height, width = self.image
        image = x.reshape(*x.shape[:-1], channels, height, width)
        if inputs == "image":
            return image
        return image.movedim(-3, -2).reshape(*x.shape[:-1], height, channels * width)

    def _trial(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return random examples (N, p) and labels (N,)."""
        shape = TRIED, self.features
        if self.inputs == "tokens":
            kinds = (
                [self.vocabulary]
                if self.vocabulary
                else [
                    m.num_embeddings
                    for m in self.net.modules()
                    if isinstance(m, torch.nn.Embedding | torch.nn.EmbeddingBag)
                ]
            )
            x = torch.randint(0, min(kinds, default=2), shape, generator=rng).float()
        else:
            x = torch.randn(shape, generator=rng)
        if self.classes:
            return x, torch.randint(0, self.classes, (TRIED,), generator=rng)
        return x, torch.randn(TRIED, generator=rng)

    def _choose_inputs(self, rng: torch.Generator) -> None:
        """Take the first way of taking examples that gives scores of each of them."""
        chosen = self.inputs
        possible = INPUTS if self.image is not None else ("flat", "tokens")
        if self.vocabulary is not None:
            possible = ("tokens", "flat")
        problems = []
        for inputs in [chosen] if chosen else possible:
            self.inputs = inputs
            try:
                self._check_answer(self._trial(rng)[0])
            except Exception as error:
                text = str(error) if isinstance(error, ValueError) else error_text(error)
                problems.append(f"inputs={inputs}: {text.splitlines()[0] if text else text}")
            else:
                return
        self.inputs = chosen
        shape = "x".join(map(str, self.image)) if self.image else str(self.features)
        raise ValueError(f"does not take examples of {shape}: {'; '.join(problems)}")

    def _check_answer(self, x: Tensor) -> None:
        with torch.no_grad(), self._mode(train=False):
            answer = self._scores(x)
            expected = f"({TRIED}, {self.classes})" if self.classes else f"({TRIED},)"
            if self.loss_name == "cross_entropy" and answer.shape != (TRIED, self.classes):
                raise ValueError(f"answers {tuple(answer.shape)}; expected scores {expected}")
            if self.loss_name == "mse" and answer.shape not in ((TRIED,), (TRIED, 1)):
                raise ValueError(f"answers {tuple(answer.shape)}; expected numbers {expected}")
            one_each = answer.dim() == 2 if self.classes else answer.numel() == TRIED
            if not one_each or len(answer) != TRIED:
                raise ValueError(f"answers {tuple(answer.shape)}; expected {expected}")
            alone = torch.cat([self._scores(x[i : i + 1]) for i in range(TRIED)])
            if not torch.allclose(alone, answer, rtol=1e-3, atol=1e-4, equal_nan=True):
                raise ValueError(
                    "its answer to an example depends on the others in the minibatch (is "
                    "batch_first=True missing?)"
                )

    def _check_loss(self, x: Tensor, y: Tensor) -> None:
        with torch.no_grad(), self._mode(train=False):
            scores = self._scores(x)
            value = self._function(scores, y)
            if not isinstance(value, torch.Tensor) or value.shape not in ((), (TRIED,)):
                saw = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value)
                raise ValueError(
                    f"loss: {self.loss_name} returned {saw}; expected {TRIED} losses, or their mean"
                )
            self._per_example = bool(value.shape)
            if not self._per_example and not torch.allclose(
                self._losses(scores, y).mean(), value, rtol=1e-3, atol=1e-5
            ):
                raise ValueError(
                    f"loss: {self.loss_name} of several examples is not the mean of its values of "
                    "each, which workers with fewer examples need"
                )

    def _check_buffers(self, x: Tensor) -> None:
        """Refuse a module that changes its buffers, or hold the parts of it that do."""
        before = {name: b.clone() for name, b in self.net.named_buffers()}
        for _ in range(2):
            with torch.no_grad(), torch.random.fork_rng(devices=[]), self._mode(train=True):
                self._scores(x)
            changed = []
            for name, buffer in self.net.named_buffers():
                if not torch.equal(buffer, before[name]):
                    changed.append(name)
                    buffer.copy_(before[name])
            if not changed:
                break
            if not self.freeze or self._held:
                raise ValueError(
                    f"it changes its buffers ({', '.join(changed)}) as it computes, which no "
                    "worker sends: do without them, or freeze=true to keep them as they are made"
                )
            owners = {name.rpartition(".")[0] for name in changed}
            self._held += [m for name, m in self.net.named_modules() if name in owners]

    def _measure(self, x: Tensor, y: Tensor) -> None:
        """Count the bytes that an example takes, and see whether gradients depend on draws."""
        with torch.random.fork_rng(devices=[]), self._mode(train=True), torch.enable_grad():
            torch.manual_seed(0)
            first = self._scores(x)
            self.random = not torch.equal(first, self._scores(x))
            kept = kept_bytes(lambda: self._losses(self._scores(x), y).sum(), self.net)
        self._bytes = kept // TRIED + 4 * self.features

    def _choose_way(self, rng: torch.Generator) -> None:
        """Take the fastest way that computes what autograd does, worker by worker."""
        batches = [self._trial(rng) for _ in range(3)]
        x, y = (torch.stack(arrays) for arrays in zip(*batches, strict=True))
        params = self._flat() + 0.01 * torch.randn(self.dimension, generator=rng)
        with self._mode(train=False):
            expected = self._by_loop(params, x, y)
        slow = {
            type(m).__name__
            for m in self.net.modules()
            if isinstance(m, torch.nn.modules.conv._ConvNd)
        }
        if slow:  # mapped, each worker's convolution is a group of a grouped one, which is slower
            self.way, self.reason = "loop", f"{min(slow)} is faster worker by worker"
            return
        for way in ("products", "mapped") if self._linear() is not None else ("mapped",):
            try:
                with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), _imports():
                    warnings.simplefilter("error")  # a rule that torch lacks is a warning
                    with self._mode(train=False):
                        found = getattr(self, f"_by_{way}")(params, x, y)
                    with self._mode(train=True):
                        getattr(self, f"_by_{way}")(params, x, y)
            except Exception as error:
                self.reason = f"torch.func.vmap: {error_text(error).splitlines()[0]}"
                continue
            scale = float(expected.abs().max()) or 1.0
            if bool(((found - expected).abs() <= CLOSE * scale).all()):
                self.way, self.reason = way, ""
                return
            self.reason = "torch.func.vmap gives other gradients"
        self.way = "loop"

    # Computing

    @contextmanager
    def _mode(self, train: bool) -> Iterator[None]:
        """Let the module compute as in training, but for what is held, or as in evaluation."""
        self.net.train(train)
        for module in self._held:
            module.eval()
        versions = [buffer._version for buffer in self.net.buffers()]
        yield
        if self.way and versions != [buffer._version for buffer in self.net.buffers()]:
            raise ValueError("it changed its buffers, which no worker sends")

    @cached_property
    def _loss_function(self) -> Callable[..., Any]:
        module, _, name = self.loss_name.partition(":")
        try:
            with importing(module):
                function = getattr(import_module(module), name, None)
        except (Exception, SystemExit) as error:
            text = error.message if isinstance(error, PluginError) else error_text(error)
            raise ValueError(f"loss: {self.loss_name} does not import: {text}") from error
        function = function() if isinstance(function, type) else function
        if not callable(function):
            raise ValueError(f"loss: {self.loss_name}: {module} has no function {name}")
        return function  # type: ignore[no-any-return]

    def _function(self, scores: Tensor, y: Tensor) -> Any:
        """Return the loss as it is defined: N losses, or their mean."""
        if self.loss_name == "cross_entropy":
            return torch.nn.functional.cross_entropy(scores, y, reduction="none")
        if self.loss_name == "mse":
            return (scores.reshape(y.shape) - y).square()
        return self._loss_function(scores, y)

    def _losses(self, scores: Tensor, y: Tensor) -> Tensor:
        """Return each example's loss, (N,)."""
        if self._per_example:
            return self._function(scores, y)  # type: ignore[no-any-return]
        single = [self._function(scores[i : i + 1], y[i : i + 1]) for i in range(len(y))]
        return torch.stack(single)

    def _scores(self, x: Tensor) -> Tensor:
        """Return the module's answer to examples (N, p)."""
        return self._picked(self.net(self._as(self.inputs or "flat", x)))

    def _picked(self, answer: Any) -> Tensor:
        if isinstance(answer, tuple | list) and self.output is not None:
            if not -len(answer) <= self.output < len(answer):
                raise ValueError(f"output={self.output}: it returns {len(answer)} values")
            answer = answer[self.output]
        if not isinstance(answer, torch.Tensor):
            several = isinstance(answer, tuple | list)
            what = f"{len(answer)} values" if several else type(answer).__name__
            hint = "; say which is scored, as output=0" if several else ""
            raise ValueError(f"returns {what}; expected a tensor{hint}")
        return answer

    def _move(self, device: torch.device) -> None:
        """Have the module's constants where the examples are."""
        if self._device != device:
            self.net.to(device)
            self._device = device

    def _flat(self) -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in self._named.values()])

    def _load(self, row: Tensor) -> None:
        """Make a cell's parameters (d,) the module's."""
        for parameter, value in zip(self._named.values(), self._split(row), strict=True):
            parameter.data = value.clone()  # libraries are slower where memory is not aligned

    def gradients(
        self,
        params: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return (R, q, d), cell by cell, as many workers together as `MEMORY` holds."""
        self.check()
        self._check_tokens(x)
        self._move(x.device)
        if weights is None:
            weights = x.new_full(y.shape, 1.0 / y.shape[1])
        out = memory(out, x, len(params), len(x), self.dimension)
        compute = getattr(self, f"_by_{self.way}")
        size = len(x) if self.way == "loop" else self.together(y.shape[1])
        with self._mode(train=True):
            for row, cell in zip(cells(params), out, strict=True):
                arrays = (torch.split(a, size) for a in (x, y, weights, cell))
                for group in zip(*arrays, strict=True):
                    compute(row, *group)
        return out

    def _of_worker(self, examples: int) -> int:
        """Return the bytes that a worker's gradient takes."""
        return examples * self._bytes + 8 * self.dimension * (self.way == "mapped")

    def together(self, examples: int) -> int:
        """Return how many workers with so many examples are computed at once."""
        return 1 if self.way == "loop" else max(MEMORY // self._of_worker(examples), 1)

    def working_bytes(self, workers: int, examples: int) -> int:
        """Return the bytes of activations and slopes of the workers that are computed at once."""
        self.check()
        if self.way != "loop":
            return min(workers, self.together(examples)) * self._of_worker(examples)
        piece = min(examples, max(MEMORY // self._bytes, 1))
        return piece * self._bytes + 8 * self.dimension

    @cached_property
    def _operations(self) -> float:
        """Return the operations of `TRIED` examples' gradient."""
        self.check()
        self._move(torch.device("cpu"))
        x, y = self._trial(torch.Generator().manual_seed(0))
        with torch.random.fork_rng(devices=[]), self._mode(train=True):
            return counted(lambda: self._losses(self._scores(x), y), self.net)[0]

    def flops(self, examples: int) -> float:
        """Return the operations of the module forwards and backwards, counted by torch."""
        return examples * self._operations / TRIED

    def _by_loop(
        self,
        row: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return (q, d) by autograd, worker by worker; large minibatches piece by piece."""
        self._load(row)
        parameters = list(self._named.values())
        weights = x.new_full(y.shape, 1.0 / y.shape[1]) if weights is None else weights
        out = x.new_empty(len(x), self.dimension) if out is None else out
        size = max(MEMORY // max(self._bytes, 1), 1)
        with torch.enable_grad():
            for i in range(len(x)):
                pieces = zip(*(torch.split(a[i], size) for a in (x, y, weights)), strict=True)
                for number, (examples, labels, shares) in enumerate(pieces):
                    loss = (shares * self._losses(self._scores(examples), labels)).sum()
                    slopes = torch.autograd.grad(
                        loss, parameters, allow_unused=True, materialize_grads=True
                    )
                    flat = torch.cat([slope.reshape(-1) for slope in slopes])
                    out[i] = flat if not number else out[i] + flat
        return out

    def _by_mapped(
        self,
        row: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return (q, d) by torch.func, mapped over workers."""
        weights = x.new_full(y.shape, 1.0 / y.shape[1]) if weights is None else weights
        out = x.new_empty(len(x), self.dimension) if out is None else out
        values = dict(zip(self.shapes, self._split(row), strict=True))

        def loss(values: dict[str, Tensor], x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
            answer = torch.func.functional_call(
                self.net, values, (self._as(self.inputs or "flat", x),)
            )
            return (weights * self._losses(self._picked(answer), y)).sum()

        gradient = torch.func.vmap(
            torch.func.grad(loss), in_dims=(None, 0, 0, 0), randomness="different"
        )
        slopes = gradient(values, x, y, weights)
        for name, piece in zip(self.shapes, self._split(out), strict=True):
            piece.copy_(slopes[name])
        return out

    def _linear(self) -> dict[str, torch.nn.Module] | None:
        """Return the linear layers by name if all that is trained is theirs; else None."""
        layers: dict[str, torch.nn.Module] = {
            name: m
            for name, m in self.net.named_modules(remove_duplicate=False)
            if type(m) is torch.nn.Linear
        }
        theirs = [f"{name}.{p}".removeprefix(".") for name in layers for p in ("weight", "bias")]
        return layers if set(self.shapes) <= set(theirs) else None

    def _by_products(
        self,
        row: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return (q, d): derivatives by the layers' outputs, then products with their inputs."""
        weights = x.new_full(y.shape, 1.0 / y.shape[1]) if weights is None else weights
        out = x.new_empty(len(x), self.dimension) if out is None else out
        q = len(y)
        calls: list[tuple[str, Tensor, Tensor]] = []

        def kept(name: str) -> Callable[..., None]:
            def keep(_: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                if not output.requires_grad:
                    output.requires_grad_()
                calls.append((name, inputs[0].detach(), output))

            return keep

        layers = self._linear()
        assert layers is not None
        self._load(row)
        hooks = [layer.register_forward_hook(kept(name)) for name, layer in layers.items()]
        try:
            for parameter in self._named.values():
                parameter.requires_grad_(False)
            with torch.enable_grad():
                losses = self._losses(self._scores(x.flatten(0, 1)), y.flatten())
                slopes = torch.autograd.grad(
                    (weights.flatten() * losses).sum(),
                    [output for _, _, output in calls],
                    allow_unused=True,
                    materialize_grads=True,
                )
        finally:
            for parameter in self._named.values():
                parameter.requires_grad_(True)
            for hook in hooks:
                hook.remove()
        if len({name for name, _, _ in calls}) != len(calls):
            raise ValueError("a linear layer is called twice")
        pieces = dict(zip(self.shapes, self._split(out), strict=True))
        for (name, inputs, _), slope in zip(calls, slopes, strict=True):
            slope = slope.reshape(q, -1, slope.shape[-1])
            weight, bias = (f"{name}.{p}".removeprefix(".") for p in ("weight", "bias"))
            if weight in pieces:
                inputs = inputs.reshape(q, -1, inputs.shape[-1])
                product(slope.transpose(1, 2), inputs, pieces.pop(weight))
            if bias in pieces:
                torch.sum(slope, dim=1, out=pieces.pop(bias))
        for unused in pieces.values():
            unused.zero_()
        return out

    # Evaluating

    def evaluate(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean loss and accuracy, (R,) each, in float64; of a regression loss and R²."""
        if self.classes:
            loss, right = self.marked(params, x, y)
            return loss, accuracy(right)
        losses, explained = [], []
        for scores, loss in self._answers(params, x, y):
            losses.append(loss)
            error = (scores.reshape(y.shape).double() - y).square().mean()
            spread = (y.double() - y.double().mean()).square().mean()
            explained.append((1.0 - error / spread).clamp(min=0.0))
        return torch.stack(losses), torch.stack(explained)

    def marked(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss, (R,) float64, and which examples are classified correctly, (R, N).

        Of tied classes the first is the answer.
        """
        losses, hits = [], []
        for scores, loss in self._answers(params, x, y):
            losses.append(loss)
            hits.append(scores.argmax(dim=1) == y)
        return torch.stack(losses), torch.stack(hits)

    def _answers(self, params: Tensor, x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each cell's scores of the examples, and its mean loss in float64."""
        self.check()
        self._check_tokens(x)
        self._move(x.device)
        size = min(max(MEMORY // self._bytes, 1), EXAMPLES)
        for row in cells(params):
            with torch.no_grad(), self._mode(train=False):
                self._load(row)
                scores, total = [], torch.zeros((), dtype=torch.float64, device=x.device)
                pieces = zip(torch.split(x, size), torch.split(y, size), strict=True)
                for examples, labels in pieces:
                    scores.append(self._scores(examples))
                    total += self._losses(scores[-1], labels).double().sum()
            yield torch.cat(scores), total / len(x)


@contextmanager
def _imports() -> Iterator[None]:
    """Undo what torch adds to the environment when it imports what its first vmap needs."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
