"""Flipped bits of IEEE floating-point numbers."""

from __future__ import annotations

import numpy as np

from hgobench import parameters
from hgobench.lazy import Tensor, torch
from hgobench.parameters import whole

from .base import Attack, View


class BitFlip(Attack):
    """Each Byzantine worker sends its own gradient with a bit of the float32 numbers flipped.

    Bits are numbered from 0, the least of the mantissa (22..0), over the exponent (30..23) to 31,
    the sign. Bit 30 turns the small numbers that gradients are into numbers up to 10^38, and some
    into NaN or infinity; the mantissa's change a number by half at most.

    Args:
        bit: which, 0..31; None: another, uniformly drawn, in every coordinate.
        share: of the coordinates that are hit, drawn independently, 0..1.

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: its own gradient. This is also what faulty memory or a noisy link does
    to a worker that means well.

    Source: the fault model of IEEE 754 binary32; other packages call a sign flip by this name.
    """

    sees = "own"
    colludes = False
    paper = "IEEE 754 fault model"
    formula = "g_own with a bit of each float32 flipped"
    exempt = {"values_are_finite": "flipped exponents may make NaN or infinity"}

    def __init__(self, bit: int | None = None, share: float = 1.0) -> None:
        self.bit = None if bit is None else whole("bit", bit, least=0)
        if self.bit is not None and self.bit > 31:
            raise ValueError(f"bit: {bit!r}; expected an integer in 0..31")
        self.share = parameters.share("share", share)

    def values(self, view: View) -> Tensor:
        """Flip."""
        own = view.require_own()
        bits = own.float().contiguous().cpu().numpy().view(np.uint32)
        drawn = view.rng.integers(32, size=bits.shape, dtype=np.uint32)
        hit = view.rng.random(bits.shape) < self.share
        which = drawn if self.bit is None else np.uint32(self.bit)
        flipped = bits ^ (hit.astype(np.uint32) << which)
        return torch.from_numpy(flipped.view(np.float32)).to(own)
