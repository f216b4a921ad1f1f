"""Solvers: each coordinate's path is the one of torch's optimizer on its own sequence of answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hgobench import Scenario, run
from hgobench.algorithms import solvers
from hgobench.errors import InputError

OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "gradient_descent": (torch.optim.SGD, {}),
    "momentum[beta=0.8]": (torch.optim.SGD, {"momentum": 0.8}),
    "momentum[beta=0]": (torch.optim.SGD, {}),
    "nesterov[beta=0.8]": (torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "nesterov[beta=0]": (torch.optim.SGD, {}),
    "rmsprop[decay=0.9]": (torch.optim.RMSprop, {"alpha": 0.9}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adam[beta1=0.7,beta2=0.9]": (torch.optim.Adam, {"betas": (0.7, 0.9)}),
}
D = 6


def build(name: str, schedule: str = "constant") -> Any:
    return solvers.registry.build(name, learning_rate=0.1, schedule=schedule)


def test_every_solver_is_compared() -> None:
    assert {name.partition("[")[0] for name in OPTIMIZERS} == set(solvers.registry.names())


@pytest.mark.parametrize("schedule", ["constant", "inverse_sqrt_block"])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_coordinate_moves_as_if_it_were_alone(name: str, whole: bool, schedule: str) -> None:
    rng = np.random.default_rng(0)
    solver, (optimizer, options) = build(name, schedule), OPTIMIZERS[name]
    params = torch.from_numpy(rng.standard_normal(D).astype(np.float32))
    alone = [params[j : j + 1].clone() for j in range(D)]
    theirs = [optimizer([w], lr=0.1, **options) for w in alone]
    for _ in range(12):
        b = D if whole else int(rng.integers(1, D))
        block = rng.permutation(D)[:b]
        answer = torch.from_numpy(rng.standard_normal(b).astype(np.float32))
        before = params.clone()
        solver.step(params, None if whole else torch.from_numpy(block), answer[block.argsort()]
                    if whole else answer)  # fmt: skip
        for j, g in zip(block, answer, strict=True):
            alone[j].grad = g[None].clone()
            for group in theirs[j].param_groups:
                group["lr"] = 0.1 if schedule == "constant" else 0.1 * (D / b) ** 0.5
            theirs[j].step()
        rest = np.setdiff1d(np.arange(D), block)
        assert torch.equal(params[rest], before[rest])
        torch.testing.assert_close(params, torch.cat(alone), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("momentum[beta=1]", r"beta: 1\.0; expected a number in"),
        ("adam[beta2=-0.1]", "beta2: -0.1; expected a number in"),
        ("adam[epsilon=0]", r"epsilon: 0\.0; expected a finite number > 0"),
        ("rmsprop[decay=nan]", "decay: nan; expected a finite number"),
    ],
)
def test_bad_parameters_are_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(name)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_hgo_learns_with_every_solver(name: str) -> None:
    rate = 0.02 if name.startswith(("rmsprop", "adagrad", "adam")) else 0.5
    fields: dict[str, Any] = {"workers": 20, "rounds": 40, "learning_rate": rate, "solver": name}
    result = run(Scenario(hardware="weak", rule="median", evaluation_interval=10, **fields))
    assert result.summary["test_accuracy"] > 0.8
    again = run(Scenario(hardware="weak", rule="median", evaluation_interval=10, **fields))
    for name, column in result.rounds.items():
        np.testing.assert_array_equal(column, again.rounds[name])
