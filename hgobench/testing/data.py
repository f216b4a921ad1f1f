"""The laws of data sets.

A law is a function of the data's name.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator

import numpy as np

from hgobench import models
from hgobench.data import datasets
from hgobench.data.functions import is_held, makes_examples
from hgobench.engines.base import Failure
from hgobench.engines.local import Local
from hgobench.lazy import torch

from .laws import Law, Verdict, table, try_laws

EXAMPLES = 1000  # that gradients are tried on


def data_fits(specification: str) -> str:
    """It loads: shapes, types, labels and numbers are those of examples."""
    about = datasets.describe(specification)
    kind = f"{about.classes} classes" if about.classes else "a regression"
    data = datasets.load(specification)
    shape = "" if data.train.image is None else f", images of {data.train.image}"
    shape += "" if data.vocabulary is None else f", sequences of integers below {data.vocabulary}"
    groups = data.train.groups
    shape += "" if groups is None else f", {len(np.unique(groups))} groups"
    return (
        f"{about.train} training, {about.validation} validation and {about.test} test examples of "
        f"{about.features} features, {kind}{shape}"
    )


def data_are_alike_in_every_process(specification: str) -> None:
    """Another process loads the same numbers, whatever order its sets and files come in."""
    expected = datasets.describe(specification).digest
    for _, answer in Local(1).map(datasets.describe, [specification]):
        if isinstance(answer, Failure):
            raise AssertionError(f"another process fails: {answer.how}")
        if answer.digest != expected:
            raise AssertionError(
                f"digest {answer.digest[:12]} in another process, {expected[:12]} in this one: key "
                "what is drawn by a seed of its own, and sort what comes in no order"
            )


def no_training_examples_are_tested(specification: str) -> None:
    """Fewer than half of the test examples are among the training examples."""
    data = datasets.load(specification)
    known = {hash(row.tobytes()) for row in data.train.features}
    share = np.mean([hash(row.tobytes()) in known for row in data.test.features])
    if share >= 0.5:
        raise AssertionError(
            f"{share:.0%} of the test examples have the features of a training example"
        )


def data_can_be_learnt_from(specification: str) -> None:
    """Gradients of a linear model on it are finite numbers, and not all are 0."""
    data = datasets.load(specification)
    name = "softmax" if data.classes else "linear"
    model = models.registry.build(name, **data.shape)
    x, y = (torch.from_numpy(a[:EXAMPLES])[None] for a in (data.train.features, data.train.labels))
    gradient = model.gradients(torch.zeros(1, model.dimension), x, y)
    if not torch.isfinite(gradient).all() or not gradient.any():
        raise AssertionError(
            f"the gradient of {name} at 0 has a norm of {float(gradient.norm()):g}; scale features "
            "and targets to numbers of about 1"
        )


DATA_LAWS: dict[str, Law] = table(
    data_fits,
    data_are_alike_in_every_process,
    no_training_examples_are_tested,
    data_can_be_learnt_from,
)


def try_data(specification: str) -> Iterator[Verdict]:
    """Check all laws of a data set; if it does not load, no further one is checked.

    Raises:
        InputError: there is no such data set, or its files are not here.
    """
    specification = datasets.registry.canonical(specification)
    source = datasets.registry.build(specification)
    for verdict in try_laws("data", specification, source, DATA_LAWS, specification):
        yield verdict
        if verdict.law == data_fits.__name__ and verdict.outcome == "fail":
            return


def makes_data(component: object, given: Collection[str]) -> bool:
    """Say whether something of a user's own is data, a torch Dataset's class or a function of data.

    A function that can be called without further arguments is one, as rules and models are told
    something.

    Args:
        component: the class, function or value.
        given: the parameters that its name gives.

    >>> makes_data(lambda examples=100: ..., ()), makes_data(lambda values: ..., ())
    (True, False)
    """
    if isinstance(component, type) or not makes_examples(component):
        return is_held(component) or makes_examples(component)
    try:
        parameters = inspect.signature(component).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return all(
        p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.name in given
        for p in parameters
    )
