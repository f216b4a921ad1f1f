"""The laws of models, torch modules too.

A law is a function of a `Problem`: a model, with minibatches to compute gradients of.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from hgobench import models
from hgobench.algorithms import Places
from hgobench.boundary import Boundary, error_text
from hgobench.data import datasets
from hgobench.errors import InputError
from hgobench.lazy import Tensor, torch
from hgobench.models import Model, Module
from hgobench.models.factory import image_of

from .laws import Law, NotApplicable, Verdict, table, try_laws

# Features, classes and image shape that a model is made for, if no data are named: the first that
# it takes.
PROBLEMS = (
    (64, 10, (1, 8, 8)),
    (784, 10, (1, 28, 28)),
    (3072, 10, (3, 32, 32)),
    (12, 2, None),
    (12, 0, None),
)
WORKERS, EXAMPLES = 4, 6
AMBIGUOUS = {"features", "n_features", "classes", "n_classes"}  # functions that make data have too
STEPS = (1e-2, 1e-3)  # of finite differences, relative to the parameters' length


@dataclass(frozen=True)
class Problem:
    """A model and minibatches.

    Attributes:
        name: of the model.
        model: the model.
        x, y: (q, s, p) and (q, s), the minibatches.
    """

    name: str
    model: Model
    x: Tensor
    y: Tensor

    def initial(self, seed: int = 0) -> Tensor:
        """Draw initial parameters, (d,)."""
        with self._boundary("initial"):
            return self.model.initial(np.random.default_rng(seed))

    def gradients(
        self,
        params: Tensor,
        x: Tensor | None = None,
        y: Tensor | None = None,
        weights: Tensor | None = None,
        purpose: str = "gradients",
    ) -> Tensor:
        """Compute gradients at (R, d); the problem's minibatches, if no others are given.

        What the model draws is keyed by the purpose.
        """
        x, y = self.x if x is None else x, self.y if y is None else y
        with self._boundary(purpose):
            return self.model.gradients(params, x, y, weights).detach().clone()

    def loss(self, params: Tensor) -> Tensor:
        """Return the mean loss of all examples in each cell, (R,)."""
        with self._boundary("evaluate"):
            return self.model.evaluate(params, self.x.flatten(0, 1), self.y.flatten())[0]

    def without_draws(self) -> None:
        """Switch dropout off.

        Raises:
            NotApplicable: gradients depend on draws nevertheless.
        """
        for module in self.model.net.modules() if isinstance(self.model, Module) else ():
            if isinstance(module, torch.nn.modules.dropout._DropoutNd):
                module.p = 0.0
            elif isinstance(getattr(module, "dropout", None), float):  # recurrent, attention
                module.__dict__["dropout"] = 0.0
        params = self.initial()[None]
        first, second = (self.gradients(params, purpose=purpose) for purpose in ("one", "two"))
        if not torch.equal(first, second):
            raise NotApplicable("it draws at random")

    def _boundary(self, purpose: str) -> AbstractContextManager[None]:
        return Boundary("model", self.name, self.model, seed=0)(purpose)


def initial_parameters_are_drawn(problem: Problem) -> None:
    """Initial parameters are finite, (d,), the same for the same generator."""
    first, again = problem.initial(), problem.initial()
    if first.shape != (problem.model.dimension,):
        raise AssertionError(f"{tuple(first.shape)}; expected ({problem.model.dimension},)")
    if not torch.isfinite(first).all():
        raise AssertionError("not finite")
    if not torch.equal(first, again):
        raise AssertionError("two draws from equal generators differ")


def gradients_are_slopes_of_the_loss(problem: Problem) -> None:
    """Along its own direction, the mean gradient is what the loss gains by a small step."""
    problem.without_draws()
    params = problem.initial()
    gradient = problem.gradients(params[None])[0].mean(dim=0)
    slope = float(gradient.norm())
    if not slope:
        raise NotApplicable("at its initial parameters the gradient is 0")
    direction, saw = gradient / gradient.norm(), []
    for relative in STEPS:
        step = relative * max(float(params.norm()), 1.0)
        ends = torch.stack((params + step * direction, params - step * direction))
        high, low = problem.loss(ends).tolist()
        saw.append((high - low) / (2.0 * step))
    if min(abs(difference - slope) for difference in saw) > 0.05 * slope:
        raise AssertionError(
            f"the gradient's length is {slope:.4g}; the loss gains {saw[-1]:.4g} per unit"
        )


def weights_weigh_examples(problem: Problem) -> None:
    """Gradients are the weighted sum of those of single examples; without weights their mean."""
    problem.without_draws()
    params = problem.initial()[None]
    q, s = problem.y.shape
    weights = torch.rand(q, s, generator=torch.Generator().manual_seed(1))
    weights /= weights.sum(dim=1, keepdim=True)
    examples = [(problem.x[:, j : j + 1], problem.y[:, j : j + 1]) for j in range(s)]
    single = [problem.gradients(params, x, y)[0] for x, y in examples]
    expected = sum(weights[:, j, None] * single[j] for j in range(s))
    _close(problem.gradients(params, weights=weights)[0], expected, "with weights")
    _close(problem.gradients(params)[0], sum(single) / s, "without weights")


def workers_do_not_depend_on_others(problem: Problem) -> None:
    """A worker's gradient is the same without the others."""
    problem.without_draws()
    params = problem.initial()[None]
    together = problem.gradients(params)[0]
    for i in range(len(problem.x)):
        alone = problem.gradients(params, problem.x[i : i + 1], problem.y[i : i + 1])[0]
        _close(alone[0], together[i], f"worker {i} alone")


def cells_do_not_depend_on_others(problem: Problem) -> None:
    """A cell's gradients, loss and accuracy are the same without other cells, bit for bit."""
    problem.without_draws()
    params = torch.stack([problem.initial(seed) + 0.01 * seed for seed in range(3)])
    together, losses = problem.gradients(params), problem.loss(params)
    for r in range(3):
        if not torch.equal(problem.gradients(params[r : r + 1])[0], together[r]):
            raise AssertionError(f"gradients of cell {r} of 3 differ from those of it alone")
        if problem.loss(params[r : r + 1])[0] != losses[r]:
            raise AssertionError(f"the loss of cell {r} of 3 differs from that of it alone")


def calls_repeat_bit_for_bit(problem: Problem) -> None:
    """The same call, keyed alike, gives the same bits; the input is left alone."""
    params = problem.initial()[None]
    kept = [value.clone() for value in (params, problem.x, problem.y)]
    first = problem.gradients(params)
    if not torch.isfinite(first).all():
        raise AssertionError("gradients are not finite")
    problem.loss(params)
    if not torch.equal(problem.gradients(params), first):
        raise AssertionError("the same call gave other gradients the second time")
    for value, before in zip((params, problem.x, problem.y), kept, strict=True):
        if not torch.equal(value, before):
            raise AssertionError("it changed its input")


def places_cover_the_coordinates(problem: Problem, granularity: str) -> None:
    """Places of a granularity hold each coordinate once."""
    try:
        places = Places(problem.model, granularity, "scalar")
    except Exception as error:
        raise NotApplicable(
            str(error) if isinstance(error, ValueError) else error_text(error)
        ) from error
    if places.ends.shape[1] != problem.model.dimension or places.ends.min() < -1:
        raise AssertionError(f"places of shape {places.ends.shape}")
    used = np.unique(places.ends[places.ends >= 0])
    if len(used) != len(places):
        raise AssertionError(f"{len(places)} places, of which {len(used)} hold coordinates")


def feature_places_cover_the_coordinates(problem: Problem) -> None:
    """With granularity feature, each coordinate has one place and no place is empty."""
    places_cover_the_coordinates(problem, "feature")


def subnetwork_places_cover_the_coordinates(problem: Problem) -> None:
    """With granularity subnetwork, units are known, and what enters one needs what leaves it."""
    places_cover_the_coordinates(problem, "subnetwork")


def nested_places_cover_the_coordinates(problem: Problem) -> None:
    """With granularity nested, hidden units are in layers, each a place."""
    places_cover_the_coordinates(problem, "nested")


MODEL_LAWS: dict[str, Law] = table(
    initial_parameters_are_drawn,
    calls_repeat_bit_for_bit,
    gradients_are_slopes_of_the_loss,
    weights_weigh_examples,
    workers_do_not_depend_on_others,
    cells_do_not_depend_on_others,
    feature_places_cover_the_coordinates,
    subnetwork_places_cover_the_coordinates,
    nested_places_cover_the_coordinates,
)


def _close(actual: Tensor, expected: Tensor | float, context: str) -> None:
    expected = torch.as_tensor(expected)
    scale = max(float(expected.abs().max()), 1e-3)
    gap = float((actual - expected).abs().max())
    if not gap <= 1e-4 * scale:
        raise AssertionError(f"{context}: gradients differ by {gap:.3g} of {scale:.3g}")


def _examples(
    data: str | None,
) -> Iterator[tuple[dict[str, Any], Tensor, Tensor]]:
    """Yield problems: what a model is told of them, and minibatches."""
    size = WORKERS * EXAMPLES
    if data is not None:
        dataset = datasets.load(data)
        train = dataset.train.take(np.arange(size) % len(dataset.train))
        x, y = torch.from_numpy(train.features), torch.from_numpy(train.labels)
        told = dataset.shape | {"image": image_of(train)}
        yield told, x.view(WORKERS, EXAMPLES, -1), y.view(WORKERS, EXAMPLES)
        return
    rng = torch.Generator().manual_seed(0)
    for features, classes, image in PROBLEMS:
        x = torch.randn(WORKERS, EXAMPLES, features, generator=rng)
        y = torch.randn(WORKERS, EXAMPLES, generator=rng)
        if classes:
            y = torch.randint(0, classes, (WORKERS, EXAMPLES), generator=rng)
        yield {"features": features, "classes": classes, "image": image}, x, y


def problem_of(specification: str, data: str | None = None) -> Problem:
    """Make a model and minibatches for it.

    Args:
        specification: a name, or ``module:Name``.
        data: whose examples; None: random ones of the first shape that the model takes.

    Raises:
        InputError: there is no such model, or it takes none of the shapes.
    """
    refusal: InputError | None = None
    for told, x, y in _examples(data):
        try:
            model = models.registry.build(specification, **told)
        except InputError as error:
            refusal = refusal or error
            continue
        if getattr(model, "inputs", None) == "tokens":
            x = x.floor().abs() if data is not None else x.abs().floor().clamp(max=1)
        return Problem(specification, model, x, y)
    assert refusal is not None
    if data is not None or "does not take examples" not in str(refusal):
        raise refusal
    shapes = ", ".join("x".join(map(str, i or (p,))) for p, _, i in PROBLEMS[:4])
    raise InputError(
        f"{problem} (tried on examples of {shapes}, this is the first; name its data by --data)"
        for problem in refusal.problems
    )


def try_model(specification: str, data: str | None = None) -> Iterator[Verdict]:
    """Check all laws of a model; see `problem_of` for the arguments and errors."""
    problem = problem_of(specification, data)
    made = problem.model.net if isinstance(problem.model, Module) else problem.model
    yield from try_laws("model", specification, made, MODEL_LAWS, problem)


def makes_modules(component: object, given: Collection[str]) -> bool:
    """Say whether something of a user's own is a torch module, its class, or makes one.

    A function does if what it must be given is what a constructor is told of the data, and if it
    names something that only a module would, or says that it returns one.

    Args:
        component: what `Registry.adapt` gets.
        given: the parameters that its name gives.

    >>> makes_modules(torch.nn.Linear, ()), makes_modules(torch.nn.Flatten(), ())
    (True, True)
    >>> makes_modules(lambda values: values, ())
    False
    """
    if isinstance(component, torch.nn.Module):
        return True
    if isinstance(component, type):
        return issubclass(component, torch.nn.Module)
    if not inspect.isroutine(component):
        return False
    try:
        signature = inspect.signature(component)
    except (TypeError, ValueError):
        return False
    parameters = signature.parameters
    required = {
        p.name
        for p in parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    required -= set(given)
    says = "Module" in str(signature.return_annotation)
    return required <= set(models.TOLD) and bool(
        says or required or (set(models.TOLD) - AMBIGUOUS) & set(parameters)
    )
