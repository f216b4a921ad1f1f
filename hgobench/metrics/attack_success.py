"""How far a targeted attack got what it wants, and how long it keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

from .base import End, Metric

RAISED = 0.1  # by which an attack must have raised its success, for a half-life to be one


class AttackSuccess(Metric):
    """The attack success rate (ASR): the share of inputs that are answered as the attack wants.

    Which inputs these are the attack says (`hgobench.attacks.Attack.goal`): test examples of other
    classes with its pattern, or of the class that it flips. It is measured at every evaluation, on
    1,000 test examples at most, as the column ``attack_success`` of a run's rounds. In the end:

    - ``attack_success``: the last; ``main_accuracy``: the accuracy on all test examples beside it.
    - ``success_before``: the last before attackers begin, by mistakes of the model alone.
    - ``success_at_stop``: that in the round in which they stop, of a run that goes on without them.
    - ``half_life``: rounds from then until what they added, a - b, is half of that:
      success <= b + (a - b)/2, by straight lines between evaluations; a the success at the stop, b
      that before, or 0. ``outlived``, of a run in which that does not happen: the rounds until its
      end. Neither, if a - b < 0.1: there is nothing to outlive. The *lifespan* of Zhang et al. is
      the rounds until success is below a level that is the same for all attacks, as 0.5.

    The last three need an evaluation in the round `attack_stop`, as where it is a multiple of
    `evaluation_interval`: what happens between an earlier one and the stop would count as decay.

    Example:
        >>> from hgobench import Scenario, run
        >>> attacked = Scenario(workers=20, byzantine=4, rounds=20, evaluation_interval=5,
        ...                     attack="badnets", attack_start=5, attack_stop=10,
        ...                     algorithm="sgd", rule="average", learning_rate=1.0)
        >>> measures = run(attacked).measures
        >>> measures["success_at_stop"] > measures["success_before"]
        True
    """

    paper = "Gu et al., arXiv 2017; Zhang et al., ICML 2022"
    formula = "ASR = share of inputs answered as the attack wants"
    validity = "a targeted attack"
    measures: Mapping[str, str] = {
        "attack_success": "the share of the inputs of a targeted attack that are answered as it "
        "wants",
        "main_accuracy": "accuracy on all test examples under a targeted attack",
        "success_before": "attack success before attackers begin",
        "success_at_stop": "attack success when attackers stop",
        "half_life": "rounds from then until half of what they added is gone",
        "outlived": "rounds until the end of a run in which it is not",
    }

    def __call__(self, end: End) -> Mapping[str, float]:
        """Return what is known of a targeted attack."""
        if not end.success:
            return {}
        told = {"attack_success": end.success[-1][1]}
        if end.right is not None:
            told["main_accuracy"] = float(end.right.mean())
        start, stop = end.attacked
        before = [success for k, success in end.success if k <= start]
        if before:
            told["success_before"] = before[-1]
        path = [(k, success) for k, success in end.success if k >= stop]
        if len(path) < 2 or path[0][0] != stop:
            return told
        told["success_at_stop"] = path[0][1]
        lasted = half_life(path, before[-1] if before else 0.0)
        if lasted is not None:
            told |= (
                {"half_life": lasted}
                if lasted < math.inf
                else {"outlived": float(end.rounds - stop)}
            )
        return told


def half_life(path: list[tuple[int, float]], before: float) -> float | None:
    """Return rounds until success has lost half of what it is above that before.

    Args:
        path: rounds and success, from the stop on.
        before: the success without attack.

    Returns:
        inf: it never does; None: there is too little to lose.

    >>> half_life([(10, 0.9), (20, 0.7), (30, 0.3)], before=0.1)
    15.0
    """
    (start, first), *_ = path
    if first - before < RAISED:
        return None
    half = before + (first - before) / 2
    for (k, high), (later, low) in pairwise(path):
        if low <= half:
            return k - start + (later - k) * (high - half) / (high - low)
    return math.inf
