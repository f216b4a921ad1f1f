"""Robust error: what a faster rule must not lose. It is exact on one machine."""

from __future__ import annotations

from hgobench import Scenario
from hgobench.simulation import simulate

from . import inputs

ATTACKS = ["none", "sign_flip", "alie", "foe[0.5]", "mimic", "min_max"]


class Robustness:
    """Softmax regression on digits, 20 workers of which 4 lie, 40 rounds, two seeds."""

    params = (["median", "trimmed_mean", "meamed", "krum", "geometric_median", "nnm+trimmed_mean"],)
    param_names = ("rule",)
    timeout = 120

    def track_error(self, rule: str) -> float:
        """Return 1 - the mean over seeds of the lowest accuracy under an attack (less is better).

        Rounded to a hundredth, which is more than the last bits of another machine change.
        """
        inputs.one_thread()
        worst = []
        for seed in (0, 1):
            cells = [
                Scenario(
                    workers=20,
                    f=4,
                    rounds=40,
                    rule=rule,
                    attack=attack,
                    seed=seed,
                    partition="dirichlet[alpha=1.0]",
                    hardware="powerful",
                    learning_rate=0.2,
                    evaluation_interval=40,
                )
                for attack in ATTACKS
            ]
            results = simulate(cells)
            worst.append(min(result.summary["test_accuracy"] for result in results))
        return round(float(1.0 - sum(worst) / len(worst)), 2)

    track_error.unit = "1 - worst-case accuracy"  # type: ignore[attr-defined]
