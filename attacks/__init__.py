"""Byzantine attacks: one module each, imported as ``hgobench.attacks``.

>>> build("alie[z=1.5]")
Alie(z=1.5)
"""

if __name__ == "attacks":
    raise ImportError("import hgobench.attacks, not attacks")

from hgobench.errors import InputError
from hgobench.registry import Registry

from .alie import Alie
from .base import KNOWLEDGE, Attack, Message, View
from .crash import Crash
from .foe import Foe
from .none import NoAttack
from .random_noise import RandomNoise
from .sign_flip import SignFlip

__all__ = [
    "Alie",
    "Attack",
    "Crash",
    "Foe",
    "Message",
    "NoAttack",
    "RandomNoise",
    "SignFlip",
    "View",
    "build",
    "registry",
]

registry: Registry[Attack] = Registry(
    "attack",
    "attacks",
    {
        "none": NoAttack,
        "crash": Crash,
        "sign_flip": SignFlip,
        "random_noise": RandomNoise,
        "alie": Alie,
        "foe": Foe,
    },
)


def build(specification: str) -> Attack:
    """Make an attack by name: ``"foe"``, ``"alie[z=1.5]"``, ``"mypkg.mymod:MyAttack"``.

    Raises:
        InputError: unknown name, parameters that the attack refuses, or not an `Attack`.
    """
    attack = registry.build(specification)
    if isinstance(attack, Attack) and attack.sees not in KNOWLEDGE:
        raise InputError(
            f"attack: {specification!r}: sees {attack.sees!r}; expected one of {KNOWLEDGE}"
        )
    if not isinstance(attack, Attack):
        raise InputError(
            f"attack: {specification!r}: expected a subclass of hgobench.attacks.Attack"
        )
    return attack
