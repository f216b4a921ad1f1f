"""Directions away from the honest mean."""

from __future__ import annotations

from torch import Tensor

from .base import View

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
