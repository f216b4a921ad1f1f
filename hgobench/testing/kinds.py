"""The kinds of things that have laws, and which of them a name is.

A kind is a row of `KINDS`: its name, its laws and how they are tried, the classes of its
components, and what else may be one.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from hgobench import catalogue
from hgobench.aggregators import PreRule, Rule
from hgobench.algorithms import Algorithm, GradientDescent
from hgobench.algorithms.workloads import Workload
from hgobench.attacks import Attack, HeterogeneityAttack
from hgobench.boundary import Boundary
from hgobench.data.augmentations import Augmentation
from hgobench.data.base import Source
from hgobench.data.partitions import Partition
from hgobench.errors import InputError, unknown
from hgobench.hardware import Condition, Hardware
from hgobench.metrics import Metric, Several
from hgobench.models import Model
from hgobench.notation import pieces
from hgobench.notation import specification as parts_of
from hgobench.registry import Registry, home, imported

from .algorithms import ALGORITHM_LAWS, try_algorithm
from .attacks import ATTACK_LAWS, try_attack
from .augmentations import AUGMENTATION_LAWS, try_augmentation
from .data import DATA_LAWS, makes_data, try_data
from .devices import CONDITION_LAWS, HARDWARE_LAWS, try_condition, try_hardware
from .laws import Law, Verdict
from .metrics import METRIC_LAWS, try_metric, try_metrics
from .models import MODEL_LAWS, makes_modules, try_model
from .partitions import PARTITION_LAWS, try_partition
from .rules import RULE_LAWS, try_pre_rule, try_rule
from .solvers import SOLVER_LAWS, try_solver
from .workloads import WORKLOAD_LAWS, try_workload


@dataclass(frozen=True)
class Kind:
    """What all components of a registry are.

    Attributes:
        name: as `catalogue.registry` knows it: ``"pre_rule"``.
        base: the class of its components.
        laws: by name.
        attempt: checks them, given a specification; with `on_data` also ``data=None``, the name of
            the data that they are checked on.
        on_data: whether it is tried on data.
        or_: what else may be one, besides subclasses of the base; empty: nothing.
        may_be: says whether something of a user's own, that is of no kind by its class, is one,
            given the parameters in its name.
    """

    name: str
    base: type
    laws: Mapping[str, Law]
    attempt: Callable[..., Iterator[Verdict]]
    on_data: bool = False
    or_: str = ""
    may_be: Callable[[object, Collection[str]], bool] = lambda made, given: False

    @property
    def registry(self) -> Registry[Any]:
        """Its registry."""
        return catalogue.registry(self.name)

    @property
    def title(self) -> str:
        """What messages call it."""
        titles = {"pre_rule": "pre-rule", "augment": "augmentation"}
        return titles.get(self.name, self.name.replace("_", " "))

    @property
    def wanted(self) -> str:
        """What may be one."""
        return f"{self.title} (a subclass of {home(self.base)}{self.or_})"


def _callable(made: object, given: Collection[str]) -> bool:
    """Say whether it may be a rule: a function, or a class whose instances are callable."""
    if isinstance(made, type):
        return any("__call__" in vars(cls) for cls in made.__mro__)
    return inspect.isroutine(made)


def _draws(made: object, given: Collection[str]) -> bool:
    """Say whether it is a function that asks for random numbers, as of augmentations' alone."""
    return inspect.isroutine(made) and "rng" in inspect.signature(made).parameters


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        # Where a function or a class of no base may be of several kinds, the first is meant.
        Kind(
            "model", Model, MODEL_LAWS, try_model, on_data=True, or_=", or a torch module",
            may_be=makes_modules,
        ),
        Kind(
            "data", Source, DATA_LAWS, try_data, or_=", or a function or torch Dataset",
            may_be=makes_data,
        ),
        Kind(
            "augment", Augmentation, AUGMENTATION_LAWS, try_augmentation,
            or_=", or a function of x and rng", may_be=_draws,
        ),
        Kind("rule", Rule, RULE_LAWS, try_rule, or_=", or callable", may_be=_callable),
        Kind("pre_rule", PreRule, RULE_LAWS, try_pre_rule),
        Kind("attack", Attack, ATTACK_LAWS, try_attack),
        Kind("heterogeneity_attack", HeterogeneityAttack, ATTACK_LAWS, try_attack),
        Kind("algorithm", Algorithm, ALGORITHM_LAWS, try_algorithm),
        Kind("solver", GradientDescent, SOLVER_LAWS, try_solver),
        Kind("partition", Partition, PARTITION_LAWS, try_partition, on_data=True),
        Kind("hardware", Hardware, HARDWARE_LAWS, try_hardware),
        Kind("condition", Condition, CONDITION_LAWS, try_condition),
        Kind("workload", Workload, WORKLOAD_LAWS, try_workload),
        Kind("metric", Metric, METRIC_LAWS, try_metric),
        Kind("metrics", Several, METRIC_LAWS, try_metrics),
    )
}  # fmt: skip


def kind_of(specification: str, kind: str | None = None) -> Kind:
    """Return what a name is the name of.

    Args:
        specification: ``"krum"``, ``"tail+alie"``, ``"mypkg.mymod:Net[width=4]"``.
        kind: which of `KINDS` it is meant to be; None: what is known by its name, or by the class
            of what the name is given to.

    Raises:
        InputError: it is the name of nothing, of something of no kind, or of several kinds.

    Example:
        >>> kind_of("nnm+krum").name, kind_of("bernoulli").name, kind_of("torch.nn:Linear").name
        ('rule', 'condition', 'model')
    """
    if kind is not None:
        if kind not in KINDS:
            raise InputError(unknown("kind", kind, KINDS))
        return KINDS[kind]
    links = pieces(specification, "+", "test: ")
    if any(Registry.bare(specification) in kind.registry.builtins for kind in KINDS.values()):
        links = [specification]  # zeno++
    *before, last = map(_meant, links)
    if before:  # nnm+krum, bernoulli+network: some kinds are written before others
        last = [_behind(kind) for kind in last]
        fitting = [
            kind
            for kind in last
            if any(one.registry is kind.registry.prefixes for one in before[0])
        ]
        if not fitting:
            raise InputError(
                f"test: {specification!r}: {Registry.bare(links[0])} is not written before "
                f"{_listed(last, 'or')}"
            )
        last = fitting
    if len(last) > 1:
        raise InputError(
            f"test: {specification!r} is of several kinds: {_listed(last)}; say which by --kind"
        )
    return last[0]


def _listed(kinds: Collection[Kind], word: str = "and") -> str:
    return f" {word} ".join(kind.name for kind in kinds)


def _behind(kind: Kind) -> Kind:
    """Return what a kind is written before: of a condition hardware, of hardware itself."""
    behind = kind.registry.behind or kind.registry
    return next(one for one in KINDS.values() if one.registry is behind)


def _meant(text: str) -> list[Kind]:
    """Return the kinds of which a name without a chain may be; at least one."""
    name = Registry.bare(text)
    if ":" not in name:
        meant = [k for k in KINDS.values() if name in {*k.registry.names(), *k.registry.aliases}]
        if not meant:
            known = [n for k in KINDS.values() for n in (*k.registry.names(), *k.registry.aliases)]
            raise InputError(unknown("test", name, known, hint="or module:Class of your own"))
        return [  # what may be written before metrics may be written for them, too
            kind
            for kind in meant
            if not any(one is not kind and one.registry is kind.registry.prefixes for one in meant)
        ]
    made = imported("test", name)
    meant = _by_class(made)
    if not meant:
        _, parameters = parts_of(text)
        given = {item.partition("=")[0].strip() for item in parameters}
        meant = [k for k in KINDS.values() if k.may_be(made, given)][:1]
    if not meant:
        what = made if isinstance(made, type) else type(made)
        wanted = "; ".join(k.wanted for k in KINDS.values())
        raise InputError(f"test: {name!r} is {home(what)}, of no kind; expected one of {wanted}")
    return meant


def _by_class(made: object) -> list[Kind]:
    """Return the kinds whose base something is a subclass of, or says that it returns one of."""
    if isinstance(made, partial):
        made = made.func
    if inspect.isfunction(made):
        try:
            with Boundary("test", made.__name__)("annotations"):
                made = typing.get_type_hints(made).get("return")
        except Exception:  # it names what is not there
            return []
    cls = made if isinstance(made, type) else type(made)
    kinds = [kind for kind in KINDS.values() if issubclass(cls, kind.base)]
    return [  # several metrics are a metric, too
        kind
        for kind in kinds
        if not any(one is not kind and issubclass(one.base, kind.base) for one in kinds)
    ]


def try_named(
    specification: str, kind: str | None = None, data: str | None = None
) -> tuple[Kind, Iterator[Verdict]]:
    """Check the laws of whatever a name names.

    Args:
        specification, kind: as for `kind_of`.
        data: the name of the data that a model or partition is tried on; None: examples that are
            made for it.

    Returns:
        Its kind, and the verdicts, as they come.

    Raises:
        InputError: there is nothing of this name, it can't be made, or is not tried on data.
    """
    what = kind_of(specification, kind)
    if data is not None and not what.on_data:
        on_data = " and ".join(k.title for k in KINDS.values() if k.on_data)
        raise InputError(
            f"data: {specification!r} is no {on_data.replace(' and ', ' or ')}; other kinds are "
            "tried without data"
        )
    what.registry.canonical(specification)
    return what, what.attempt(specification, **({"data": data} if what.on_data else {}))


def check(specification: str, kind: str | None = None, data: str | None = None) -> None:
    """Check the laws of whatever a name names (see `try_named`).

    Raises:
        AssertionError: a law is broken; the message begins with the law's name.
        InputError: as `try_named` does.

    Example:
        >>> check("median")
        >>> check("random_noise", kind="attack")
    """
    _, verdicts = try_named(specification, kind, data)
    for verdict in verdicts:
        if verdict.outcome == "fail":
            raise AssertionError(f"{verdict.law}: {verdict.detail}")
