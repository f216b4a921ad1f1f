"""Attacks that go from the honest mean along a direction, and the directions."""

from __future__ import annotations

from abc import ABC, abstractmethod

from hgobench.lazy import Tensor
from hgobench.parameters import one_of

from .base import Attack, View

DIRECTIONS = ("unit", "std", "sign")


def direction(name: str, view: View) -> Tensor:
    """Return p, (d,) float64: what an attack adds γ times to the honest mean μ.

    ``"unit"``: -μ/‖μ‖; ``"std"``: -σ; ``"sign"``: -sign(μ). 0 if μ (or σ) is.

    Source: Shejwalkar, Houmansadr, NDSS 2021.
    """
    mean = view.centre()
    if name == "std":
        return -view.std().double()
    if name == "sign":
        return -mean.sign()
    length = float(mean.norm())
    return -mean / length if length > 0 else mean


class Perturbed(Attack, ABC):
    """All Byzantine workers send μ + γ·p; a subclass says how far it goes.

    Args:
        perturbation: p, one of `DIRECTIONS`.
    """

    sees = "honest"

    def __init__(self, perturbation: str = "unit") -> None:
        self.perturbation = one_of("perturbation", perturbation, *DIRECTIONS)

    @abstractmethod
    def gamma(self, p: Tensor, view: View) -> float:
        """Return γ for the direction p, (d,) float64."""

    def values(self, view: View) -> Tensor:
        """Go as far as `gamma` lets."""
        p = direction(self.perturbation, view)
        gamma = self.gamma(p, view)
        return (view.centre() + gamma * p).to(view.require_honest())
