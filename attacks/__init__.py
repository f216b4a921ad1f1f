"""Byzantine attacks: one module each, imported as ``hgobench.attacks``.

>>> build("alie[z=1.5]")
Alie(z=1.5, signs='minus')
>>> build("starve+foe")
Starve(places=1) + Foe(epsilon=10.0)
"""

if __name__ == "attacks":
    raise ImportError("import hgobench.attacks, not attacks")

from hgobench.boundary import Boundary, PluginError
from hgobench.errors import InputError
from hgobench.protocol.messages import Message
from hgobench.registry import Registry

from .adaptive import Adaptive
from .agr_tailored import AgrTailored
from .alie import Alie
from .badnets import BadNets
from .base import ATTACKERS_EXAMPLES, KNOWLEDGE, Attack, Batch, Facts, Outcome, View
from .bit_flip import BitFlip
from .black_box import BlackBox
from .claim_examples import ClaimExamples
from .claim_steps import ClaimSteps
from .clustering_aware import ClusteringAware
from .crash import Crash
from .dba import Dba
from .edge_case import EdgeCase
from .fang import Fang
from .flood import Flood
from .foe import Foe
from .greedy import Greedy
from .hasty import Hasty
from .heterogeneity import Combined, HeterogeneityAttack
from .hidden_coordinate import HiddenCoordinate
from .huge import Huge
from .inf import Inf
from .label_flip import LabelFlip
from .late import Late
from .lookalike import Lookalike
from .mimic import Mimic
from .min_max import MinMax
from .min_sum import MinSum
from .model_replacement import ModelReplacement
from .mpaf import Mpaf
from .nan import Nan
from .neurotoxin import Neurotoxin
from .none import NoAttack
from .optimal import Optimal
from .optimal_alie import OptimalAlie
from .optimal_foe import OptimalFoe
from .own_lengths import OwnLengths
from .poisoned_fl import PoisonedFl
from .random_noise import RandomNoise
from .recall import Recall
from .sign_flip import SignFlip
from .sign_guard_aware import SignGuardAware
from .stale import Stale
from .starve import Starve
from .tail import Tail
from .tail_only import TailOnly
from .targeted_flip import TargetedFlip
from .threat_models import THREAT_MODELS, ThreatModel, threat_model
from .vanish import Vanish
from .wrong_length import WrongLength

__all__ = [
    "ATTACKERS_EXAMPLES",
    "THREAT_MODELS",
    "Adaptive",
    "AgrTailored",
    "Alie",
    "Attack",
    "BadNets",
    "Batch",
    "BitFlip",
    "BlackBox",
    "ClaimExamples",
    "ClaimSteps",
    "ClusteringAware",
    "Combined",
    "Crash",
    "Dba",
    "EdgeCase",
    "Facts",
    "Fang",
    "Flood",
    "Foe",
    "Greedy",
    "Hasty",
    "HeterogeneityAttack",
    "HiddenCoordinate",
    "Huge",
    "Inf",
    "LabelFlip",
    "Late",
    "Lookalike",
    "Message",
    "Mimic",
    "MinMax",
    "MinSum",
    "ModelReplacement",
    "Mpaf",
    "Nan",
    "Neurotoxin",
    "NoAttack",
    "Optimal",
    "OptimalAlie",
    "OptimalFoe",
    "Outcome",
    "OwnLengths",
    "PoisonedFl",
    "RandomNoise",
    "Recall",
    "SignFlip",
    "SignGuardAware",
    "Stale",
    "Starve",
    "Tail",
    "TailOnly",
    "TargetedFlip",
    "ThreatModel",
    "Vanish",
    "View",
    "WrongLength",
    "build",
    "heterogeneity_attacks",
    "registry",
    "threat_model",
]


def _combined(steps: list[HeterogeneityAttack], attack: object) -> Attack:
    for step in steps:
        _check_sees(step, type(step).__name__)
    assert isinstance(attack, Attack)
    return Combined(steps, attack)


def _check_sees(attack: Attack | HeterogeneityAttack, name: str) -> None:
    """Refuse an attack that does not say what it sees."""
    try:
        with Boundary("attack", name, attack)("attributes"):
            sees: object = getattr(attack, "sees", None)
            _ = attack.poisons if isinstance(attack, Attack) else None
            valid = isinstance(sees, str) and sees in KNOWLEDGE
    except PluginError as error:
        raise InputError(error.problem) from error
    if not valid:
        raise InputError(f"attack: {name}: sees {sees!r}; expected one of {KNOWLEDGE}")


def _checked(attack: object, text: str) -> Attack:
    """Return an attack, if it is one; an attack on heterogeneity alone is combined with none."""
    name = repr(text)
    if isinstance(attack, HeterogeneityAttack):  # module:Class of one's own
        return _combined([attack], NoAttack())
    if not isinstance(attack, Attack):
        raise InputError(f"attack: {name}: expected a subclass of hgobench.attacks.Attack")
    _check_sees(attack, name)
    cls = type(attack)
    written = cls.values is not Attack.values or cls.__call__ is not Attack.__call__
    if not written and not attack.poisons:
        raise InputError(f"attack: {name}: expected a method values, or poison")
    return attack


heterogeneity_attacks: Registry[HeterogeneityAttack] = Registry(
    "heterogeneity_attack",
    "heterogeneity_attacks",
    {
        "tail": Tail,
        "starve": Starve,
        "flood": Flood,
        "late": Late,
        "lookalike": Lookalike,
        "own_lengths": OwnLengths,
        "wrong_length": WrongLength,
        "claim_steps": ClaimSteps,
        "claim_examples": ClaimExamples,
        "model_replacement": ModelReplacement,
        "neurotoxin": Neurotoxin,
        "hasty": Hasty,
        "vanish": Vanish,
        "recall": Recall,
    },
    kind=HeterogeneityAttack,
)

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
        "mimic": Mimic,
        "min_max": MinMax,
        "min_sum": MinSum,
        "agr_tailored": AgrTailored,
        "fang": Fang,
        "label_flip": LabelFlip,
        "targeted_flip": TargetedFlip,
        "badnets": BadNets,
        "dba": Dba,
        "edge_case": EdgeCase,
        "bit_flip": BitFlip,
        "nan": Nan,
        "inf": Inf,
        "huge": Huge,
        "stale": Stale,
        "mpaf": Mpaf,
        "poisoned_fl": PoisonedFl,
        "hidden_coordinate": HiddenCoordinate,
        "tail_only": TailOnly,
        "sign_guard_aware": SignGuardAware,
        "clustering_aware": ClusteringAware,
        "optimal_alie": OptimalAlie,
        "optimal_foe": OptimalFoe,
        "greedy": Greedy,
        "black_box": BlackBox,
    },
    prefixes=heterogeneity_attacks,
    assemble=_combined,
    alone="none",
    aliases={"ipm": "foe"},
    check=_checked,
)


def build(specification: str) -> Attack:
    """Make an attack by name: ``"foe"``, ``"alie[z=1.5]"``, ``"mypkg.mymod:MyAttack"``.

    Attacks on heterogeneity are written before a value attack, ``"tail+alie"``; alone they are
    combined with none: ``"starve"`` is ``"starve+none"``.

    Raises:
        InputError: unknown name, parameters that the attack refuses, or not an `Attack`.
    """
    return registry.build(specification)
