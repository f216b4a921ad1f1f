"""What every pre-rule is, and chains such as ``nnm+krum``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from hgobench.lazy import Tensor

from .base import Part, Rule, Scope
from .columns import Columns
from .errors import RuleError
from .vectors import Vectors


class PreRule(Part):
    """A transformation of what the workers sent, before a rule aggregates it.

    A subclass writes `of_vectors`, and `of_columns` if it can treat each coordinate by itself.

    Args:
        f: how many Byzantine workers it is told to tolerate.

    Attributes:
        paper, formula, validity, breakdown, cost, ragged, stateful, exempt: as for a `Part`.
        keeps_workers: whether each vector that it makes still is a worker's.
    """

    keeps_workers: bool = True

    def inputs(self, outputs: float) -> float:
        """Return how many answers it needs to make so many vectors."""
        return outputs

    def of_vectors(self, vectors: Vectors) -> Vectors:
        """Transform m complete vectors."""
        raise NotImplementedError(f"{self.name} has no form for vectors")

    def of_columns(self, columns: Columns) -> Columns:
        """Transform each coordinate by itself."""
        raise NotImplementedError(f"{self.name} has no coordinate-wise form")


class Chain(Rule):
    """Pre-rules one after the other, then a rule: ``nnm+krum``.

    Args:
        steps: the pre-rules.
        rule: the rule behind them; the chain has its f.
        scope: as for a `Rule`; ``"coordinate"`` if every part has that form.

    Raises:
        ValueError: a part has no form for the scope, or the rule must know who sent which vector
            and a step makes vectors that are nobody's.
    """

    def __init__(self, steps: Sequence[PreRule], rule: Rule, *, scope: Scope = "block") -> None:
        self.steps, self.rule = tuple(steps), rule
        super().__init__(f=rule.f, scope=scope)
        if scope == "block":
            for step in self.steps:
                if type(step).of_vectors is PreRule.of_vectors:
                    raise ValueError(f"{step.name} has no of_vectors, for scope 'block'")
        if rule.by_worker and not all(step.keeps_workers for step in self.steps):
            raise ValueError(
                f"{rule.name} must know who sent which vector, and buckets are nobody's"
            )
        self.needs = rule.needs
        parts: tuple[Part, ...] = (*self.steps, rule)
        self.made_of = parts
        self.stateful = any(part.stateful for part in parts)
        self.exempt = {law: reason for part in parts for law, reason in part.exempt.items()}

    @property
    def name(self) -> str:
        """What messages call the chain."""
        return "+".join([*(step.name for step in self.steps), self.rule.name])

    def __repr__(self) -> str:
        return " + ".join(map(repr, (*self.steps, self.rule)))

    def has_columns(self) -> bool:
        """Say whether every part can treat each coordinate by itself."""
        return self.rule.has_columns() and all(
            type(step).of_columns is not PreRule.of_columns for step in self.steps
        )

    @property
    def columnwise(self) -> bool:
        """As for a `Rule`; what draws at random does so by the number of columns."""
        return super().columnwise and not any(part.randomised for part in self.made_of)

    @property
    def minimum(self) -> int:
        """The fewest answers from which each part gets as many as it needs."""
        needed: float = self.rule.minimum
        for step in reversed(self.steps):
            needed = max(step.inputs(needed), step.minimum)
        return math.ceil(needed)

    @property
    def maximum(self) -> float:
        """The most answers of which the rule gets no more than it can take."""
        allowed = self.rule.maximum
        for step in reversed(self.steps):
            if allowed < math.inf:
                # inputs(k + 1) - 1 is the most that still gives k.
                allowed = step.inputs(allowed + 1) - 1
        return allowed

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Transform, then aggregate."""
        for step in self.steps:
            vectors = _checked(step, step.of_vectors(vectors), Vectors)
        self.rule.enough(len(vectors), len(vectors))
        return self.rule.of_vectors(vectors)

    def of_columns(self, columns: Columns) -> Tensor:
        """Transform and aggregate each coordinate by itself."""
        for step in self.steps:
            columns = _checked(step, step.of_columns(columns), Columns)
        self.rule.enough(columns.fewest, columns.most)
        return self.rule.of_columns(columns)


T = TypeVar("T")


def _checked(step: PreRule, made: object, wanted: type[T]) -> T:
    if not isinstance(made, wanted):
        raise RuleError(
            f"{step.name}: returned {type(made).__name__}; expected "
            f"hgobench.aggregators.{wanted.__name__}"
        )
    return made
