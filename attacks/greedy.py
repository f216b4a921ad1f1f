"""Greedy: of several attacks the one that does most harm in this round."""

from __future__ import annotations

from hgobench.lazy import torch
from hgobench.notation import split_list
from hgobench.protocol.messages import Message

from .adaptive import Adaptive
from .base import View

ATTACKS = (
    "none",
    "crash",
    "sign_flip",
    *(f"foe[epsilon={epsilon}]" for epsilon in (0.5, 1.0, 2.0, 10.0)),
    "fang",
    "tail_only",
    *(f"min_max[perturbation={p}]" for p in ("unit", "std", "sign")),
    *(f"alie[z={z},signs=random]" for z in (1.5, 3.0)),
)


class Greedy(Adaptive):
    """Play each round the attack whose message leads the model to where the loss is largest.

        argmax_a L(w_k + share·(w_{k+1}(a) - w_k)),  a one of some attacks,

    w_{k+1}(a) the model that the server would step to, and L the loss on training examples that the
    Byzantine workers hold (see `Adaptive`). Among the attacks is good behaviour, so that none is
    played that does less harm in the round. Of equals the first is played.

    Args:
        attacks: specifications in a list, as in ``greedy[attacks="none,foe[epsilon=1]"]``: attacks
            of hgobench that do not poison data; None: `hgobench.attacks.greedy.ATTACKS`.
        share: of the server's step, > 0; 1: the loss of the model that it steps to.

    Raises:
        ValueError: a specification names no such attack, or the share is out of its range.

    What the attacker needs: what the attacks need, the server's rule, its state, its coins and its
    step, and training examples of its own.
    """

    paper = "hgobench"
    formula = "that of several attacks' messages with the largest L(w_k + share·(w_{k+1} - w_k))"
    validity = "1 <= f < n/2"

    def __init__(self, attacks: str | None = None, share: float = 0.1) -> None:
        from . import build, registry  # which knows this class

        super().__init__(share)
        names = ATTACKS if attacks is None else tuple(split_list(attacks))
        self.attacks = tuple(map(registry.canonical, names))
        for name in self.attacks:
            if registry.origin(name) != "hgobench":
                raise ValueError(f"attacks: {name!r}; expected attacks of hgobench")
        self.made_of = tuple(map(build, self.attacks))
        if not names:
            raise ValueError(f"attacks: {attacks!r}; expected one attack at least")
        for name, attack in zip(self.attacks, self.made_of, strict=True):
            if attack.poisons:
                raise ValueError(f"attacks: {name!r} poisons data, before it can be tried")
        self.stateful = any(attack.stateful for attack in self.made_of)
        self.exempt = {law: why for attack in self.made_of for law, why in attack.exempt.items()}
        self.exempt["search_reaches_the_dense_grid"] = "chooses among attacks of given strength"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(attacks={', '.join(self.attacks)!r}, share={self.share})"

    def rule_calls(self, rounds: int) -> int:
        """Return how often it calls the server's rule in so many rounds, at most."""
        return rounds * len(self.made_of) + sum(a.rule_calls(rounds) for a in self.made_of)

    def best(self, view: View) -> Message:
        """Try them all."""
        messages = [attack(view) for attack in self.made_of]
        return messages[int(torch.argmax(self.losses(view, messages)))]
