"""Threat models: what attackers are taken to know and to be able to do, named and ordered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hgobench.errors import InputError, unknown

from .base import KNOWLEDGE, Attack, Knowledge

AT_OWN_SPEED = "_at_own_speed"


@dataclass(frozen=True)
class ThreatModel:
    """What attackers know, whether they act together, and whether they can lie about their speed.

    A threat model is at most another (``a <= b``) if whatever it allows the other allows, too. So
    the other permits every attack that it permits. Not every two can be compared.

    Attributes:
        name: what settings and boards call it.
        knows: the most that an attack may see, as in `Attack.sees`.
        colludes: whether the Byzantine workers may act together, as in `Attack.colludes`.
        lies_about_speed: whether they may claim more than their own devices would finish.

    >>> THREAT_MODELS["omniscient"] <= THREAT_MODELS["adaptive"]
    True
    >>> THREAT_MODELS["omniscient"] <= THREAT_MODELS["adaptive_at_own_speed"]
    False
    """

    name: str
    knows: Knowledge
    colludes: bool
    lies_about_speed: bool

    def __le__(self, other: ThreatModel) -> bool:
        """Say whether the other allows whatever this one allows."""
        return (
            KNOWLEDGE.index(self.knows) <= KNOWLEDGE.index(other.knows)
            and self.colludes <= other.colludes
            and self.lies_about_speed <= other.lies_about_speed
        )

    def permits(self, attack: Attack) -> bool:
        """Say whether an attack needs no more than this.

        Lies about speed need no permission: where there are none, the world cuts claims off
        (`fields`), and attacks know how much they may claim.
        """
        knows = KNOWLEDGE.index(attack.sees) <= KNOWLEDGE.index(self.knows)
        return knows and attack.colludes <= self.colludes

    def permitted(self, specifications: Iterable[str]) -> list[str]:
        """Return those of some attacks that it permits, in their order.

        >>> THREAT_MODELS["independent"].permitted(["sign_flip", "foe", "fang[knowledge=partial]"])
        ['sign_flip']

        Raises:
            InputError: one is no attack.
        """
        from . import build  # which imports this module

        return [name for name in specifications if self.permits(build(name))]

    @property
    def fields(self) -> dict[str, str]:
        """Return the fields of a scenario that it sets."""
        return {"lies_about_speed": "yes" if self.lies_about_speed else "no"}


def _both(name: str, knows: Knowledge, colludes: bool) -> list[ThreatModel]:
    return [
        ThreatModel(name + AT_OWN_SPEED, knows, colludes, lies_about_speed=False),
        ThreatModel(name, knows, colludes, lies_about_speed=True),
    ]


# independent_at_own_speed is also what breaks by itself: devices, memory, labels. fake, workers
# that join without data, is last: the least that permits an attack of participants is independent.
THREAT_MODELS: Mapping[str, ThreatModel] = {
    model.name: model
    for model in (
        *_both("independent", "own", colludes=False),
        *_both("colluding", "own", colludes=True),
        *_both("omniscient", "honest", colludes=True),
        *_both("adaptive", "server", colludes=True),
        *_both("fake", "model", colludes=False),
    )
}
DEFAULT = "adaptive"


def threat_model(name: str) -> ThreatModel:
    """Return the threat model of a name.

    Raises:
        InputError: there is none.

    >>> threat_model("colluding").knows
    'own'
    """
    if name not in THREAT_MODELS:
        raise InputError(unknown("threat_model", name, THREAT_MODELS))
    return THREAT_MODELS[name]
