"""Rules: time over kinds of input, and over n and d; memory; calls and bytes, which are exact."""

from __future__ import annotations

import itertools
import time
from contextlib import suppress

import numpy as np
import torch

from . import inputs
from .counting import Counter

Counted = dict[tuple[str, str], tuple[float, float]]
MISSING = (float("nan"), float("nan"))  # of a rule that a commit does not have


def counted(rule: str, form: str) -> tuple[int, int]:
    """Count a rule's calls and bytes once it has been called before."""
    values, present = inputs.message(inputs.SOFTMAX, form)
    inputs.rule(rule, form)(values, present)
    with Counter() as counter:
        inputs.rule(rule, form)(values, present)
    return int(counter.calls), int(counter.bytes)


class Rules:
    """One call at q = 80 and the dimension of softmax regression on MNIST."""

    params = (inputs.RULES, inputs.FORMS)
    param_names = ("rule", "input")

    def setup(self, rule: str, form: str) -> None:
        """Make values, and lengths as weak and capable devices send them."""
        inputs.one_thread(inputs.SOFTMAX[0])
        self.values, self.present = inputs.message(inputs.SOFTMAX, form)
        self.rule = inputs.rule(rule, form)

    def time_call(self, rule: str, form: str) -> None:
        """Aggregate once."""
        self.rule(self.values, self.present)


class Counts:
    """ATen calls of one aggregation, and the bytes that they return: the same on every machine."""

    params = (inputs.RULES, inputs.FORMS)
    param_names = ("rule", "input")
    timeout = 300

    def setup_cache(self) -> Counted:
        """Count all in one process."""
        inputs.one_thread(inputs.SOFTMAX[0])
        found: Counted = {}
        for rule, form in itertools.product(inputs.RULES, inputs.FORMS):
            with suppress(NotImplementedError):
                found[rule, form] = counted(rule, form)
        return found

    def track_aten_calls(self, kept: Counted, rule: str, form: str) -> float:
        """Return how many they are."""
        return kept.get((rule, form), MISSING)[0]

    def track_aten_bytes(self, kept: Counted, rule: str, form: str) -> float:
        """Return the sum of the sizes of what they return."""
        return kept.get((rule, form), MISSING)[1]

    track_aten_calls.unit = "calls"  # type: ignore[attr-defined]
    track_aten_bytes.unit = "bytes"  # type: ignore[attr-defined]


class LargeRules:
    """One call on 100 vectors of 100,000 coordinates."""

    params = (inputs.FAST,)
    param_names = ("rule",)

    def setup(self, rule: str) -> None:
        """Make values."""
        inputs.one_thread(inputs.LARGE[0])
        self.values, _ = inputs.message(inputs.LARGE, "dense")
        self.rule = inputs.rule(rule, "dense", f=20)

    def time_call(self, rule: str) -> None:
        """Aggregate once."""
        self.rule(self.values)

    def peakmem_call(self, rule: str) -> None:
        """Aggregate once."""
        self.rule(self.values)


class Growth:
    """The exponent with which time grows over a decade of d, and over one of q; 1 is linear."""

    params = (["trimmed_mean", "meamed", "krum", "geometric_median"], ["d", "q"])
    param_names = ("rule", "over")
    timeout = 120

    def setup(self, rule: str, over: str) -> None:
        """Make values of four sizes."""
        sizes = [10_000, 21_500, 46_400, 100_000] if over == "d" else [10, 22, 46, 100]
        shapes = [(40, size) if over == "d" else (size, 40_000) for size in sizes]
        inputs.one_thread(*(q for q, _ in shapes))
        self.sizes = sizes
        self.values = [inputs.message(shape, "dense")[0] for shape in shapes]
        self.rules = [inputs.rule(rule, "dense", f=max(q // 5 - 1, 1)) for q, _ in shapes]

    def track_exponent(self, rule: str, over: str) -> float:
        """Fit log time to log size, rounded to a quarter: what is noise, and what is not."""
        times = [least_time(self.rules[i], self.values[i]) for i in range(len(self.sizes))]
        slope = np.polyfit(np.log(self.sizes), np.log(times), 1)[0]
        return max(1.0, round(4.0 * float(slope)) / 4.0)


def least_time(rule: object, values: torch.Tensor, calls: int = 7) -> float:
    """Return the shortest of some calls' CPU times, in seconds."""
    taken = []
    for _ in range(calls):
        started = time.process_time()
        rule(values)  # type: ignore[operator]
        taken.append(time.process_time() - started)
    return min(taken)
