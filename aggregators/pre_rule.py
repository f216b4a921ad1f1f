"""What every pre-rule is, and chains such as ``nnm+krum``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, TypeVar

import numpy as np

from hgobench.lazy import Tensor, torch

from .base import Part, Rule, Scope
from .columns import Columns
from .errors import RuleError
from .vectors import Vectors


class PreRule(Part):
    """A transformation of what the workers sent, before a rule aggregates it.

    A subclass writes `of_vectors`, and `of_columns` if it can treat each coordinate by itself. One
    that needs to see what the rule answers (to judge workers by it, or to correct it) writes
    `around` instead, and `around_columns`.

    Args:
        f: how many Byzantine workers it is told to tolerate.

    Attributes:
        paper, formula, validity, breakdown, cost, ragged, stateful, exempt: as for a `Part`.
        keeps_workers: whether vector i of its output still belongs to worker i.
        by_weights: whether it looks at nothing but what `Vectors` tells without the vectors
            themselves, as `Rule.by_weights`: else the chain has no scope "masked".
        averaging: the κ of `proven_kappa` as a formula of that of what follows, κ; h = n - f.
        published: that of its paper, where it is another.
    """

    keeps_workers: bool = True
    by_weights: bool = True
    averaging: ClassVar[str] = ""
    published: ClassVar[str] = ""

    def inputs_needed(self, outputs: float) -> float:
        """Return the smallest number of input vectors that yields `outputs` vectors."""
        return outputs

    def proven_kappa(self, n: int, after: Callable[[int], float | None]) -> float | None:
        """Return the κ of a chain that begins here, as `Rule.proven_kappa` does.

        Args:
            n: how many vectors come.
            after: what is proven of what follows, for a number of vectors.
        """
        return None

    def of_vectors(self, vectors: Vectors) -> Vectors:
        """Transform m complete vectors."""
        raise NotImplementedError(f"{self.name} can't transform vectors")

    def of_columns(self, columns: Columns) -> Columns:
        """Transform each coordinate by itself."""
        raise NotImplementedError(f"{self.name} can't transform single coordinates")

    def around(self, vectors: Vectors, after: Callable[[Vectors], Tensor]) -> Tensor:
        """Aggregate m complete vectors -> (b,).

        Args:
            vectors: m of them.
            after: what follows, vectors -> (b,); it may be asked several times.
        """
        return after(_checked(self, self.of_vectors(vectors), Vectors))

    def around_columns(self, columns: Columns, after: Callable[[Columns], Tensor]) -> Tensor:
        """Aggregate each coordinate by itself -> (b,); `after` is what follows."""
        return after(_checked(self, self.of_columns(columns), Columns))

    def takes_vectors(self) -> bool:
        """Say whether it can treat complete vectors."""
        cls = type(self)
        return (cls.of_vectors, cls.around) != (PreRule.of_vectors, PreRule.around)

    def takes_columns(self) -> bool:
        """Say whether it can treat each coordinate by itself."""
        cls = type(self)
        whole = (PreRule.of_columns, PreRule.around_columns)
        return (cls.of_columns, cls.around_columns) != whole


class Chain(Rule):
    """Pre-rules one after the other, then a rule: ``nnm+krum``.

    Args:
        steps: the pre-rules.
        rule: the rule that follows them; the chain has its f.
        scope: as for a `Rule`; ``"coordinate"`` if every part has it, ``"masked"`` if the rule
            has it.

    Raises:
        ValueError: a part lacks the scope, or the rule must know who sent which vector and a
            step makes vectors that no longer belong to single workers.
    """

    def __init__(self, steps: Sequence[PreRule], rule: Rule, *, scope: Scope = "block") -> None:
        self.steps, self.rule = tuple(steps), rule
        self.by_weights = rule.by_weights and all(step.by_weights for step in self.steps)
        super().__init__(f=rule.f, scope=scope)
        if scope != "coordinate":
            for step in self.steps:
                if not step.takes_vectors():
                    raise ValueError(f"{step.name} has no of_vectors, for scope {scope!r}")
        if rule.by_worker and not all(step.keeps_workers for step in self.steps):
            raise ValueError(
                f"{rule.name} must know who sent which vector, but a bucket has no single sender"
            )
        self.needs = rule.needs
        parts: tuple[Part, ...] = (*self.steps, rule)
        self.made_of = parts
        self.stateful = any(part.stateful for part in parts)
        self.weighted = all(part.weighted for part in parts)
        self.exempt = {law: reason for part in parts for law, reason in part.exempt.items()}

    @property
    def name(self) -> str:
        """What messages call the chain."""
        return "+".join([*(step.name for step in self.steps), self.rule.name])

    def __repr__(self) -> str:
        return " + ".join(map(repr, (*self.steps, self.rule)))

    def has_columns(self) -> bool:
        """Say whether every part can treat each coordinate by itself."""
        return self.rule.has_columns() and all(step.takes_columns() for step in self.steps)

    @property
    def columnwise(self) -> bool:
        """As for a `Rule`, if no step draws at random: draws depend on the number of columns."""
        return super().columnwise and not any(part.randomised for part in self.made_of)

    @property
    def minimum(self) -> int:
        """The smallest number of answers with which every step and the rule have enough."""
        needed: float = self.rule.minimum
        for step in reversed(self.steps):
            needed = max(step.inputs_needed(needed), step.minimum)
        return math.ceil(needed)

    @property
    def maximum(self) -> float:
        """The largest number of answers with which the rule does not get too many."""
        allowed = self.rule.maximum
        for step in reversed(self.steps):
            if allowed < math.inf:
                # inputs_needed(k + 1) - 1 is the most that still gives k.
                allowed = step.inputs_needed(allowed + 1) - 1
        return allowed

    def proven_kappa(self, n: int) -> float | None:
        """Compose what is proven of the parts."""
        after: Callable[[int], float | None] = self.rule.proven_kappa
        for step in reversed(self.steps):
            after = partial(step.proven_kappa, after=after)
        return after(n)

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Transform, then aggregate."""
        after = self._rule_of_vectors
        for step in reversed(self.steps):
            after = partial(step.around, after=after)
        return after(vectors)

    def of_columns(self, columns: Columns) -> Tensor:
        """Transform and aggregate each coordinate by itself."""
        after = self._rule_of_columns
        for step in reversed(self.steps):
            after = partial(step.around_columns, after=after)
        return after(columns)

    def _rule_of_vectors(self, vectors: Vectors) -> Tensor:
        self.rule.check_answer_count(len(vectors), len(vectors))
        return self.rule.of_vectors(vectors)

    def _rule_of_columns(self, columns: Columns) -> Tensor:
        self.rule.check_answer_count(columns.fewest, columns.most)
        return self.rule.of_columns(columns)


def seen(answer: object, columns: int, name: str) -> Tensor:
    """Return what followed a pre-rule as a (b,) float64 tensor.

    Raises:
        RuleError: it is none.
    """
    if isinstance(answer, np.ndarray):
        answer = torch.from_numpy(np.ascontiguousarray(answer))
    if not isinstance(answer, torch.Tensor) or answer.is_complex() or answer.shape != (columns,):
        kind = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        raise RuleError(
            f"{name}: what follows returned {kind}; expected a real tensor of shape ({columns},)"
        )
    return answer.double()


T = TypeVar("T")


def _checked(step: PreRule, made: object, wanted: type[T]) -> T:
    if not isinstance(made, wanted):
        raise RuleError(
            f"{step.name}: returned {type(made).__name__}; expected "
            f"hgobench.aggregators.{wanted.__name__}"
        )
    return made
