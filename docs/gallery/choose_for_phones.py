"""Choose a rule for 500 phones.

Their speeds are a file. A round asks 60 of them. How many Byzantine ones are among them is chance,
so first how many the rule must tolerate; then which rule, on validation examples; then, on seeds
that chose nothing, how good it is.
"""

from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from hgobench import Scenario, run

PHONES = """class,count,rate_mean,rate_std
old,150,500,150
usual,300,2500,500
new,50,10000,1000
"""
RULES = ("trimmed_mean", "median", "geometric_median")
ATTACKS = ("sign_flip", "alie", "foe[epsilon=1]")


def worst(cell: Scenario, rule: str, seeds: range, examples: str) -> float:
    """Return the lowest, over attacks, of the mean over seeds."""
    return min(
        mean(
            run(cell.replace(rule=rule, attack=attack, seed=seed)).summary[examples]
            for seed in seeds
        )
        for attack in ATTACKS
    )


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        file = Path(folder, "phones.csv")
        file.write_text(PHONES)
        base = Scenario(
            data="digits", hardware=f'devices[path="{file}"]', workers=500, byzantine=25,
            sampled=60, tolerated=3, rounds=30, batch_size=2, evaluation_interval=30,
        )  # fmt: skip
        tolerating = (base.replace(tolerated=f) for f in range(3, 25))
        cell = next(cell for cell in tolerating if cell.run_risk < 0.01)
        print(f"tolerate {cell.tolerated} of {cell.sampled}: too many in any of {cell.rounds} "
              f"rounds with probability {cell.run_risk:.4f}")  # fmt: skip
        found = {rule: worst(cell, rule, range(3), "validation_accuracy") for rule in RULES}
        for rule, share in found.items():
            print(f"{rule:18} {share:.3f} in the worst case, on validation examples")
        best = max(found, key=found.__getitem__)
        share = worst(cell, best, range(100, 105), "test_accuracy")
        print(f"choose {best}: {share:.3f} on test examples and fresh seeds")
