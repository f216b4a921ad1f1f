"""What is proven of a row's rule, beside the largest κ that a search reaches; without training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hgobench import aggregators, theory
from hgobench.aggregators import Scope
from hgobench.engines.base import EngineError
from hgobench.engines.measured import Task
from hgobench.errors import InputError
from hgobench.lazy import torch
from hgobench.scenario import Scenario
from hgobench.timing import least_seconds

if TYPE_CHECKING:
    from hgobench.session import Session

SLOW, CALLS = 0.005, 5  # CPU seconds of a call; a search makes some 28,000


@dataclass(frozen=True)
class Proof:
    """What is proven of a rule, and how far a search came (`hgobench.theory.search_kappa`).

    Attributes:
        n: of how many vectors it speaks.
        proven: κ with which the rule is proven to be (f, κ)-robust averaging.
        reached: the largest ratio of the two sides of its definition that the search has reached.
        unsearched: why there was no search; empty: there was one.
    """

    n: int
    proven: float = math.nan
    reached: float = math.nan
    unsearched: str = ""

    @property
    def exceeded(self) -> bool:
        """Whether some input contradicts the proof."""
        return theory.contradicts(self.reached, self.proven)


def held_against_proof(rule: str, scope: Scope, n: int, f: int) -> dict[str, Any] | None:
    """Search κ of a rule on complete vectors; None: nothing is proven of it, or κ is undefined.

    JSON knows all that it returns.

    Args:
        rule: its name, with pre-rules before it.
        scope: ``"coordinate"``, or ``"block"`` for the rule on vectors.
        n: how many vectors.
        f: how many of them are the attackers'.
    """
    try:
        proven = theory.proven_kappa(rule, n, f, scope)
    except InputError:
        return None
    if proven is None or math.isinf(proven):
        return None
    built = aggregators.build(rule, f=f, scope=scope)
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(n, 8)))
    if (seconds := least_seconds(lambda: built(values), CALLS)) > SLOW:
        return {"n": n, "proven": proven, "unsearched": f"a call takes {1e3 * seconds:.0f} ms"}
    return {
        "n": n,
        "proven": proven,
        "reached": theory.search_kappa(rule, n, f, scope=scope).ratio,
    }


def proofs(rows: Sequence[Scenario], session: Session) -> list[Proof | None]:
    """Return what is proven of each row's rule at its quorum, searched once for rows alike.

    On complete vectors the scopes "staircase" and "masked" are the rule on vectors.

    Args:
        rows: with the parameters that were chosen.
        session: where it is searched, and kept.

    Raises:
        KeyboardInterrupt: Ctrl-C; finished searches are kept.
        EngineError: the engine is lost; finished searches are kept.
    """
    places = [_place(row) for row in rows]
    tasks = {
        tuple(place.values()): Task(held_against_proof, place, [{"rule": place["rule"]}])
        for place in places
    }
    try:
        values = session.measure(list(tasks.values()))
    except EngineError:
        raise
    except RuntimeError:  # the others are kept
        values = [_alone(task, session) for task in tasks.values()]
    answers = dict(zip(tasks, values, strict=True))
    reached = [answers[tuple(place.values())] for place in places]
    return [None if one is None else Proof(**one) for one in reached]


def _alone(task: Task, session: Session) -> dict[str, Any] | None:
    """Return what a search says, or why it failed."""
    try:
        answer: dict[str, Any] | None = session.measure([task])[0]
    except EngineError:
        raise
    except RuntimeError as error:
        return {"n": task.arguments["n"], "unsearched": str(error)}
    return answer


def _place(row: Scenario) -> dict[str, Any]:
    scope = row.scope if row.scope == "coordinate" else "block"
    return {"rule": row.rule, "scope": scope, "n": row.quorum, "f": row.tolerated}
