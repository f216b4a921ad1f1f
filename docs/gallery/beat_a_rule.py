"""Write an attack that beats a rule.

Krum answers with the vector that is nearest to its neighbours. An attack that is far from all is
never chosen. Honest gradients of small minibatches are far from each other, too: what lies between
them is nearer to each than they are. So step back from the honest mean, as far as that stays true.
"""

from statistics import mean

from hgobench import Scenario, run
from hgobench.attacks import Attack
from hgobench.testing import check

BASE = Scenario(
    data="digits", partition="dirichlet[alpha=0.3]", workers=20, byzantine=3, sampled=20,
    deadline=8.0, batch_size=8, rounds=40, evaluation_interval=40, rule="krum",
)  # fmt: skip


class StepBack(Attack):
    """Send -c μ with the largest c at which it is nearer to most than they are to each other."""

    sees = "honest"

    def values(self, view):
        """Return what every Byzantine worker sends: (d,)."""
        away = view.deviations()  # (h, d): x_i - μ, 0 where nothing was sent
        usual = away.square().sum(dim=1).median() * 2  # E ‖x_i - x_j‖² = 2 E ‖x_i - μ‖²
        for c in (10.0, 5.0, 2.0, 1.0, 0.5, 0.2):
            distance = (away + (1 + c) * view.mean()).square().sum(dim=1).median()
            if distance < usual:
                break
        return -c * view.mean()


def accuracy(attack: str) -> float:
    """Return the mean over seeds: the attacker does not know which one it will be."""
    cells = [BASE.replace(attack=attack, seed=seed) for seed in range(3)]
    return mean(run(cell).summary["test_accuracy"] for cell in cells)


if __name__ == "__main__":
    mine = "beat_a_rule:StepBack"  # this file's name, from its folder
    check(mine)  # it looks at what it says, and no further
    found = {attack: accuracy(attack) for attack in ("none", "sign_flip", "foe", "alie", mine)}
    for attack, share in found.items():
        print(f"{attack:22} {share:.3f}")
    worst = min(found, key=found.__getitem__)
    print(f"Krum's worst case here is {found[worst]:.3f}, by {worst}")
