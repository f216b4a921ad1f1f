"""Every rule on every numeric fault: finite and right, or a clear error, within seconds."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import Tensor

from hgobench import aggregators
from hgobench.aggregators import NonFiniteError, RuleError, Scope, ServerView
from tests import oracles
from tests.test_rules import PLAIN, QUIET, QuadraticRoot, agree, defined_by_column, scopes

SECONDS = 5
RULES = [
    *(QUIET.get(rule, rule) for rule in aggregators.registry.builtins),
    *("ctma+median", "gas+krum", "foundation_fl+median"),
    *("nnm+trimmed_mean", "arc+median", "clipping+average", "nnm+krum", "arc+geometric_median"),
]
EVERY = [(rule, scope) for rule in RULES for scope in scopes(rule) if scope in PLAIN]
HUGE = 1e38


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    """A case that takes longer than `SECONDS` fails."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


def ask(rule: str, scope: Scope, f: int, values: Tensor) -> Tensor:
    n, d = values.shape
    view = ServerView(honest=np.arange(n) >= f, root=QuadraticRoot(d))
    return aggregators.build(rule, f=f, scope=scope)(values, None, view)


def right(rule: str, scope: Scope, f: int, values: Tensor) -> None:
    """Compare with the definition, in float64."""
    found = ask(rule, scope, f, values)
    assert torch.isfinite(found).all()
    exact = values.double().numpy()
    known = np.abs(exact[np.isfinite(exact) & (np.abs(exact) < 1e30)]).max()
    if scope == "coordinate":
        expected = defined_by_column(rule, exact, f)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * known)
    elif rule.endswith("geometric_median"):
        agree(rule, ask(rule, scope, f, values.double()), list(exact), f)
    else:
        agree(rule, found, list(exact), f, rtol=1e-5, atol=1e-6 * known)


def drawn(rule: str, f: int, more: int = 3, d: int = 5, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    n = max(aggregators.build(rule, f=f).minimum, 2 * f + 1) + more
    return torch.from_numpy(rng.standard_normal((n, d)).astype(np.float32))


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf, HUGE, -HUGE])
@pytest.mark.parametrize(("rule", "scope"), EVERY)
def test_f_poisoned_workers(rule: str, scope: Scope, poison: float) -> None:
    values = drawn(rule, f=2)
    values[:2] = poison
    helpless = rule in ("average", "monna", "clipping+average")
    if helpless and not np.isfinite(poison):
        with pytest.raises(NonFiniteError, match="no finite answer"):
            ask(rule, scope, 2, values)
    else:
        right(rule, scope, 2, values)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, HUGE])
@pytest.mark.parametrize(("rule", "scope"), EVERY)
def test_one_poisoned_entry(rule: str, scope: Scope, poison: float) -> None:
    values = drawn(rule, f=1, seed=1)
    values[0, 2] = poison
    helpless = rule in ("average", "monna", "clipping+average")
    if helpless and not np.isfinite(poison):
        with pytest.raises(NonFiniteError, match="no finite answer"):
            ask(rule, scope, 1, values)
    else:
        right(rule, scope, 1, values)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(("rule", "scope"), EVERY)
def test_more_than_f_poisoned_workers(rule: str, scope: Scope, poison: float) -> None:
    """Either no answer, or a finite one (a median of many has one)."""
    for bad in (3, 4, 6):
        values = drawn(rule, f=2)
        values[:bad] = poison
        with suppress(NonFiniteError):
            assert torch.isfinite(ask(rule, scope, 2, values)).all()


@pytest.mark.parametrize(("rule", "scope"), EVERY)
def test_denormal_values(rule: str, scope: Scope) -> None:
    values = drawn(rule, f=1) * 1e-41
    assert 0 < float(values.abs().max()) < 1e-38
    found = ask(rule, scope, 1, values)
    assert torch.isfinite(found).all()
    if "sign_sgd" in rule or rule == "fltrust":
        return
    assert float(found.abs().max()) <= float(values.abs().max()) * 3


@pytest.mark.parametrize("value", [0.0, 3.0, -1e-3, 1e20, 1e30])
@pytest.mark.parametrize(("rule", "scope"), EVERY)
def test_identical_vectors(rule: str, scope: Scope, value: float) -> None:
    values = torch.full((len(drawn(rule, f=2)), 4), value)
    found = ask(rule, scope, 2, values)
    expected = value
    if rule == "sign_sgd_majority":
        expected = float(np.sign(value))
    elif rule == "fltrust":
        expected = 0.5 if value > 0 else 0.0
    elif rule == "clipped_clustering":
        expected = min(value, 1e5 / 2)  # a length of 1e5 at most
    elif rule == "foolsgold":
        return  # they look like Sybils, all of them: any multiple up to the whole
    elif "clipping" in rule or "weak_dp" in rule:
        by_column = scope == "coordinate"
        bound = 1.0 if rule == "centered_clipping" else 2.0
        expected = float(np.clip(value, -bound / 2, bound / 2))
        if not by_column and value:
            expected = value * min(1.0, bound / (2 * abs(value)))
    np.testing.assert_allclose(found, np.full(4, expected), rtol=1e-6)


@pytest.mark.parametrize(("rule", "scope"), EVERY)
def test_f_from_none_to_the_limit(rule: str, scope: Scope) -> None:
    for f in range(4):
        values = drawn(rule, f=f, more=0, seed=f)
        if f or "krum" not in rule:  # of three vectors the nearest two tie in Krum
            right(rule, scope, f, values)
        if len(values) > 1 and aggregators.build(rule, f=f).minimum == len(values):
            with pytest.raises(RuleError, match="answers; f="):
                ask(rule, scope, f, values[:-1])


@pytest.mark.parametrize(("rule", "scope"), EVERY)
def test_one_worker(rule: str, scope: Scope) -> None:
    values = torch.tensor([[0.5, -0.25]])
    if aggregators.build(rule).minimum > 1:
        with pytest.raises(RuleError, match="1 answers; f=0 needs at least"):
            ask(rule, scope, 0, values)
    else:
        right(rule, scope, 0, values)


@pytest.mark.parametrize(("rule", "scope"), EVERY)
def test_float64_and_layout(rule: str, scope: Scope) -> None:
    values = drawn(rule, f=1).double()
    found = ask(rule, scope, 1, values)
    assert found.dtype == torch.float64
    right(rule, scope, 1, values)
    strided = torch.stack((values, values), dim=2)[:, :, 1]
    transposed = values.T.contiguous().T
    for other in (strided, transposed):
        assert not other.is_contiguous()
        assert torch.equal(ask(rule, scope, 1, other), found)


@pytest.mark.parametrize(("rule", "scope"), EVERY)
def test_what_is_no_matrix_of_floats(rule: str, scope: Scope) -> None:
    view = ServerView(honest=np.ones(4, dtype=bool), root=QuadraticRoot(3))
    made = aggregators.build(rule, scope=scope)
    for wrong, message in (
        (torch.ones(4, 3, dtype=torch.int32), r"values: torch.int32; expected a floating-point"),
        (torch.ones(4, 3, dtype=torch.complex64), r"values: torch.complex64; expected a floating"),
        (torch.ones(4), r"values: shape \(4,\); expected \(m, d\)"),
        (torch.ones(4, 3, 2), r"values: shape \(4, 3, 2\); expected \(m, d\)"),
        (torch.ones(0, 3), r"values: shape \(0, 3\); expected \(m, d\) with m >= 1"),
        (np.ones((4, 3)), "values: ndarray; expected a torch.Tensor"),
    ):
        with pytest.raises(RuleError, match=message):
            made(wrong, None, view)  # type: ignore[arg-type]
    assert made(torch.ones(4, 0), None, view).shape == (0,)


def test_a_view_that_does_not_fit_is_refused() -> None:
    rule = aggregators.build("median")
    for view, message in (
        (ServerView(workers=np.arange(3)), "view.workers: 3 of them; expected 4"),
        (ServerView(honest=np.ones(5, dtype=bool)), "view.honest: 5 of them; expected 4"),
        (ServerView(coordinates=torch.arange(9)), "view.coordinates: 9 of them; expected 2"),
    ):
        with pytest.raises(RuleError, match=message):
            rule(torch.ones(4, 2), None, view)


@pytest.mark.parametrize("rule", ["fltrust", "zeno", "oracle"])
def test_what_needs_more_than_values_says_so(rule: str) -> None:
    with pytest.raises(RuleError, match=r"needs (root data at the server|to be told who)"):
        aggregators.build(rule, f=1)(torch.ones(4, 2))


def test_smea_and_mda_refuse_what_would_take_for_ever() -> None:
    with pytest.raises(RuleError, match="Smea: 30 answers; f=5 allows at most 24"):
        aggregators.build("smea", f=5)(torch.ones(30, 2))
    values = torch.from_numpy(np.random.default_rng(0).standard_normal((40, 30)))
    with pytest.raises(RuleError, match="Mda: f=10 of 40 takes more than subsets=5 sets"):
        aggregators.build("mda[subsets=5]", f=10)(values)


def test_caf_ends_where_peers_hang() -> None:
    """ByzFL's never returns at 1e7 and above, and returns None for identical vectors."""
    for size in (1e7, 1e12, 1e38):
        values = drawn("caf", f=2)
        values[:2] = size
        right("caf", "block", 2, values)
    assert oracles.length(ask("caf", "block", 2, torch.zeros(7, 3)).numpy()) == 0
