"""The family of Remark 4: each member as a setting of HGO, against a plain loop of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hgobench import Scenario, World, run
from hgobench.errors import InputError

ALL = 10_000  # examples: more than there are
RATE = 0.2
ONE: dict[str, Any] = {
    "data": "breast_cancer",
    "model": "logistic",
    "partition": "iid",
    "rule": "average",
    "workers": 1,
    "deadline": float("inf"),
    "rounds": 45,
    "learning_rate": RATE,
}


class Plain:
    """Logistic regression in float64, by itself."""

    def __init__(self, scenario: Scenario) -> None:
        self.world, self.scenario = World(scenario), scenario
        x = self.world.data.train.features.astype(np.float64)
        self.x, self.y = np.hstack([x, np.ones((len(x), 1))]), self.world.data.train.labels
        self.w = self.world.initial().numpy().astype(np.float64)
        self.d = len(self.w)

    def partial(self, j: int, rows: np.ndarray) -> float:
        """Return the partial derivative of the mean loss of some examples by w_j."""
        chance = 1.0 / (1.0 + np.exp(-self.x[rows] @ self.w))
        return float(np.mean((chance - self.y[rows]) * self.x[rows, j]))

    def gradient(self, rows: np.ndarray) -> np.ndarray:
        return np.array([self.partial(j, rows) for j in range(self.d)])

    def loss(self) -> float:
        data = self.world.data.test
        x = np.hstack([data.features, np.ones((len(data.labels), 1))]).astype(np.float64)
        score = x @ self.w
        return float(np.mean(np.logaddexp(0.0, score) - score * data.labels))


def cyclic(plain: Plain, k: int) -> None:
    """CD: one coordinate after the other, all examples."""
    j = (k - 1) % plain.d
    plain.w[j] -= RATE * plain.partial(j, np.arange(len(plain.y)))


def random(plain: Plain, k: int) -> None:
    """RCD: a random coordinate, all examples."""
    j = int(plain.world.order(k, plain.d)[0])
    plain.w[j] -= RATE * plain.partial(j, np.arange(len(plain.y)))


def stochastic(plain: Plain, k: int) -> None:
    """SCD: a random coordinate, a random example."""
    j, row = int(plain.world.order(k, plain.d)[0]), plain.world.draw(k).batch[0, :1]
    plain.w[j] -= RATE * plain.partial(j, row)


def blocks(plain: Plain, k: int) -> None:
    """Block CD: seven coordinates, the next seven, and so on."""
    chosen = [(7 * (k - 1) + i) % plain.d for i in range(7)]
    move = [plain.partial(j, np.arange(len(plain.y))) for j in chosen]
    for j, g in zip(chosen, move, strict=True):
        plain.w[j] -= RATE * g


def random_blocks(plain: Plain, k: int) -> None:
    """Random block CD."""
    chosen = plain.world.order(k, plain.d)[:7]
    move = [plain.partial(j, np.arange(len(plain.y))) for j in chosen]
    plain.w[chosen] -= RATE * np.array(move)


def gradient(plain: Plain, k: int) -> None:
    """GD."""
    plain.w -= RATE * plain.gradient(np.arange(len(plain.y)))


def sgd(plain: Plain, k: int) -> None:
    """SGD with minibatches of 16."""
    plain.w -= RATE * plain.gradient(plain.world.draw(k).batch[0])


@pytest.mark.parametrize(
    ("member", "fields"),
    [
        (cyclic, {"algorithm": "hgo[block=1,order=cyclic]", "batch_size": ALL}),
        (random, {"algorithm": "hgo[block=1]", "batch_size": ALL}),
        (stochastic, {"algorithm": "hgo[block=1]", "batch_size": 1}),
        (blocks, {"algorithm": "hgo[block=7,order=cyclic]", "batch_size": ALL}),
        (random_blocks, {"algorithm": "hgo[block=7]", "batch_size": ALL}),
        (gradient, {"algorithm": "hgo", "batch_size": ALL}),
        (gradient, {"algorithm": "sgd", "batch_size": ALL}),
        (sgd, {"algorithm": "hgo", "batch_size": 16}),
        (sgd, {"algorithm": "sgd", "batch_size": 16}),
    ],
)
def test_a_member_of_the_family(member: Any, fields: dict[str, Any]) -> None:
    scenario = Scenario(**{**ONE, **fields})
    result, plain = run(scenario), Plain(scenario)
    for k, loss in enumerate(result.rounds["test_loss"], start=1):
        member(plain, k)
        assert loss == pytest.approx(plain.loss(), rel=1e-4), f"round {k}"
    assert result.rounds["test_loss"][-1] < result.rounds["test_loss"][0]


def test_no_worker_computes_more_than_the_block_and_no_attacker_extends_it() -> None:
    fields: dict[str, Any] = {"rounds": 5, "workers": 12, "byzantine": 2, "attack": "foe"}
    result = run(Scenario(algorithm="hgo[block=9]", hardware="powerful", **fields))
    assert set(result.rounds["block_size"]) == {9}
    assert set(result.rounds["coordinates"]) == {12 * 9}
    waited = run(Scenario(algorithm="hgo[block=9]", deadline=float("inf"), **fields))
    whole = run(Scenario(algorithm="hgo", deadline=float("inf"), **fields))
    ratio = waited.rounds["time"][-1] / whole.rounds["time"][-1]
    assert ratio == pytest.approx(9 / 650)


def test_a_cycle_goes_by_the_places_of_its_granularity() -> None:
    fields = {"algorithm": "hgo[block=5,order=cyclic]", "granularity": "feature", "rounds": 3}
    result = run(Scenario(**{**ONE, **fields, "data": "digits", "model": "softmax"}))
    assert result.rounds["block_size"] == [50, 50, 50]  # ten weights leave each feature


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        ("hgo[block=0]", "block: 0; expected an integer >= 1"),
        ("hgo[order=cyclic]", "order: 'cyclic'; expected a block to go on by"),
        ("hgo[order=sorted]", "order: 'sorted'; expected 'random' or 'cyclic'"),
        ("sgd[block=3]", "unknown"),
    ],
)
def test_bad_settings_are_refused(algorithm: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Scenario(algorithm=algorithm)
