"""A Little Is Enough."""

from __future__ import annotations

from scipy.special import ndtri

from hgobench.lazy import Tensor
from hgobench.parameters import finite, one_of

from .base import Attack, View


def z_max(sampled: int, byzantine: int) -> float:
    """Return the largest deviation, in σ, that still has a majority on its side.

    s = ⌊n/2 + 1⌋ - m honest workers are enough with the m Byzantine ones, and
    z_max = Φ⁻¹((n - m - s) / (n - m)), here with n the sampled workers. If m alone are a majority
    no honest worker is needed; s = 1 keeps z finite. With so few Byzantine workers that the
    quantile is negative no deviation is hidden, and z = 0.

    >>> [round(z_max(n, m), 4) for n, m in ((50, 24), (25, 11), (100, 30))]
    [1.4261, 1.0676, 0.5244]
    """
    honest = sampled - byzantine
    if honest <= 0:
        return 0.0
    supporters = max(sampled // 2 + 1 - byzantine, 1)
    return max(float(ndtri((honest - supporters) / honest)), 0.0)


class Alie(Attack):
    """All Byzantine workers send μ + z·s·σ, coordinate by coordinate: hidden in the honest spread.

    μ and σ are the mean and the population standard deviation of what honest workers send, and s
    are signs. The paper leaves them free, and -1 everywhere is what is in use. But that moves a
    model to which it means nothing: softmax regression, whose chances do not change when all
    classes' weights change alike, is blind to 4/5 of -σ. Random signs it sees.

    Args:
        z: how many σ, >= 0; None: z_max of this round's sample (see `z_max`), which is 0 for fewer
            than three Byzantine workers (two, if q is odd).
        signs: s: ``"minus"``: -1 everywhere; ``"plus"``: +1; ``"random"``: drawn once, and the same
            in every round of a run.

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: all honest messages; for z_max also how many attackers there are.

    Source: Baruch, Baruch, Goldberg, "A Little Is Enough: Circumventing Defenses For Distributed
    Learning", NeurIPS 2019. Implementations differ: Blades adds z·σ; ByzFL fixes z = 1.5; ByzPy
    and the HGO authors take Φ⁻¹((n - s)/n), a larger z: 1.75 instead of 1.43 for n = 50, m = 24.
    """

    sees = "honest"
    columnwise = True
    paper = "Baruch et al., NeurIPS 2019"
    formula = "μ + z·s·σ, s = ±1, z = z_max = Φ⁻¹((q-b-t)/(q-b)), t = ⌊q/2+1⌋ - b"
    validity = "b >= 3 (q odd: 2), or z_max = 0"

    def __init__(self, z: float | None = None, signs: str = "minus") -> None:
        self.z = None if z is None else finite("z", z, least=0.0)
        self.signs = one_of("signs", signs, "minus", "plus", "random")
        self.colludes = self.z is None

    def values(self, view: View) -> Tensor:
        """Deviate by z standard deviations."""
        z = z_max(view.sampled, view.byzantine) if self.z is None else self.z
        mean, apart = view.mean(), z * view.std()
        if self.signs == "random":
            apart *= view.random_signs().to(apart)
        return mean - apart if self.signs == "minus" else mean + apart
