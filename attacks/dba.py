"""DBA: a backdoor's pattern divided among the attackers."""

from __future__ import annotations

from hgobench.parameters import whole

from .badnets import BadNets, Pattern


class Dba(BadNets):
    """Distributed backdoor: each Byzantine worker stamps a part of the pattern only.

    Worker i of the f Byzantine ones stamps every `parts`-th pixel of `BadNets`'s pattern, from
    pixel i mod `parts` on, and relabels as `BadNets` does; with f < parts some parts are nobody's.
    It succeeds with the whole pattern, which no worker ever showed.

    On ragged input as `BadNets`.

    Args:
        target, size, share: as for `BadNets`.
        parts: how many parts the pattern has, >= 1; one without pixels, of a pattern with fewer, is
            refused.

    Raises:
        ValueError: a parameter is out of its range, or, in a run, the data have no such class, are
            smaller than the pattern, or are sequences.

    What the attacker needs: as `BadNets`, and to agree beforehand on who stamps what.

    Source: Xie, Huang, Chen, Li, "DBA: Distributed Backdoor Attacks against Federated Learning",
    ICLR 2020.

    Departs from its source: parts are interleaved pixels of one square instead of four bars, and
    all attackers take part in every round in which they are asked. Its scaling of what is sent is
    ``model_replacement+dba``.
    """

    colludes = True
    paper = "Xie et al., ICLR 2020"
    formula = "g_own of (x with part i of a pattern, target) for a share of (x, y)"

    def __init__(self, target: int = 0, size: int = 2, share: float = 0.5, parts: int = 4) -> None:
        super().__init__(target, size, share)
        self.parts = whole("parts", parts, least=1)
        if self.parts > self.size**2:
            raise ValueError(f"parts: {parts}; expected at most size² = {self.size**2}")

    def part(self, pattern: Pattern, worker: int) -> Pattern:
        """Return every `parts`-th pixel."""
        mine = slice(worker % self.parts, None, self.parts)
        return Pattern(pattern.where[mine], pattern.values[mine])
