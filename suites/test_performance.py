"""The kernels of ``suites/perf`` under pytest-benchmark: local A/B, without asv's environments.

    pytest suites/test_performance.py --benchmark-autosave
    pytest suites/test_performance.py --benchmark-compare --benchmark-compare-fail=median:50%

The second fails if a median has grown by half since the first. Without pytest-benchmark, or under
xdist, each kernel is called once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hgobench.suite import benchmarks

rules, attacks, rounds = (benchmarks(name) for name in ("rules", "attacks", "rounds"))
KERNELS = (rules.Rules, rules.LargeRules, attacks.Attacks, rounds.Rounds, rounds.Models)


def kernels() -> Iterator[Any]:
    """Yield each timed method of each class with each of its parameters."""
    for owner in KERNELS:
        for parameters in itertools.product(*owner.params):
            for name in (name for name in vars(owner) if name.startswith("time_")):
                text = "-".join([owner.__name__, *map(str, parameters)])
                yield pytest.param(owner, name, parameters, id=text)


@pytest.fixture
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return pytest-benchmark's fixture, or a plain call without it."""
    asked = ("test_performance", "--benchmark")
    if not any(
        word in str(text) for text in request.config.invocation_params.args for word in asked
    ):
        pytest.skip("takes minutes; asked for by name: pytest suites/test_performance.py")
    if request.config.pluginmanager.hasplugin("benchmark"):
        return request.getfixturevalue("benchmark")  # type: ignore[no-any-return]
    return lambda function, *arguments: function(*arguments)


@pytest.mark.parametrize(("owner", "name", "parameters"), list(kernels()))
def test_time(
    owner: type, name: str, parameters: tuple[Any, ...], call: Callable[..., Any]
) -> None:
    made = owner()
    made.setup(*parameters)
    call(getattr(made, name), *parameters)
