"""Aggregation rules and pre-rules: one module each, imported as ``hgobench.aggregators``.

>>> import torch
>>> rule = build("trimmed_mean", f=1)
>>> rule(torch.tensor([[1.0], [2.0], [3.0], [1e30]]))
tensor([2.5000])
"""

if __name__ == "aggregators":
    raise ImportError("import hgobench.aggregators, not aggregators")

from collections.abc import Mapping, Set
from typing import NamedTuple

from hgobench.boundary import Boundary, PluginError
from hgobench.errors import InputError
from hgobench.registry import Registry

from .aksel import Aksel
from .arc import Arc
from .average import Average
from .base import SCOPES, Answer, Function, Need, Rule, Scope
from .bucketing import Bucketing
from .bulyan import Bulyan
from .caf import Caf
from .centered_clipping import CenteredClipping
from .cge import Cge
from .clipped_clustering import ClippedClustering
from .clipping import Clipping
from .columns import Columns
from .ctma import Ctma
from .dnc import Dnc
from .errors import NonFiniteError, RuleError
from .faba import Faba
from .filter_l2 import FilterL2
from .flame import Flame
from .fltrust import FlTrust
from .foolsgold import FoolsGold
from .foundation_fl import FoundationFl
from .gas import Gas
from .geometric_median import GeometricMedian
from .krum import Krum
from .mda import Mda
from .meamed import Meamed
from .median import Median
from .monna import Monna
from .multi_krum import MultiKrum
from .nnm import Nnm
from .oracle import Oracle
from .phocas import Phocas
from .pre_rule import Chain, PreRule
from .ragged import MaskedVectors
from .rlr import Rlr
from .sign_guard import SignGuard
from .sign_sgd_majority import SignSgdMajority
from .smea import Smea
from .step_clipping import StepClipping
from .trace import AnswerTrace
from .trimmed_mean import TrimmedMean
from .vectors import Vectors
from .view import Memory, Root, ServerView
from .weak_dp import WeakDp
from .zeno import Zeno

pre_rules: Registry[PreRule] = Registry(
    "pre_rule",
    "pre_rules",
    {
        "nnm": Nnm,
        "bucketing": Bucketing,
        "clipping": Clipping,
        "arc": Arc,
        "ctma": Ctma,
        "gas": Gas,
        "rlr": Rlr,
        "step_clipping": StepClipping,
        "foundation_fl": FoundationFl,
    },
    context=frozenset({"f"}),
)

registry: Registry[Rule] = Registry(
    "rule",
    "rules",
    {
        "average": Average,
        "median": Median,
        "trimmed_mean": TrimmedMean,
        "meamed": Meamed,
        "phocas": Phocas,
        "krum": Krum,
        "multi_krum": MultiKrum,
        "bulyan": Bulyan,
        "aksel": Aksel,
        "geometric_median": GeometricMedian,
        "centered_clipping": CenteredClipping,
        "mda": Mda,
        "smea": Smea,
        "caf": Caf,
        "monna": Monna,
        "cge": Cge,
        "dnc": Dnc,
        "sign_sgd_majority": SignSgdMajority,
        "fltrust": FlTrust,
        "zeno": Zeno,
        "foolsgold": FoolsGold,
        "sign_guard": SignGuard,
        "clipped_clustering": ClippedClustering,
        "flame": Flame,
        "filter_l2": FilterL2,
        "faba": Faba,
        "weak_dp": WeakDp,
        "oracle": Oracle,
    },
    context=frozenset({"f", "scope"}),
    prefixes=pre_rules,
)

METHODS = ("of_vectors", "of_rows", "of_columns")

__all__ = [
    "SCOPES",
    "Aksel",
    "Answer",
    "AnswerTrace",
    "Arc",
    "Average",
    "Bucketing",
    "Bulyan",
    "Caf",
    "CenteredClipping",
    "Cge",
    "Chain",
    "ClippedClustering",
    "Clipping",
    "Columns",
    "Ctma",
    "Dnc",
    "Faba",
    "FilterL2",
    "FlTrust",
    "Flame",
    "FoolsGold",
    "FoundationFl",
    "Function",
    "Gas",
    "GeometricMedian",
    "Krum",
    "MaskedVectors",
    "Mda",
    "Meamed",
    "Median",
    "Memory",
    "Monna",
    "MultiKrum",
    "Need",
    "Nnm",
    "NonFiniteError",
    "Oracle",
    "Phocas",
    "PreRule",
    "Rlr",
    "Root",
    "Rule",
    "RuleError",
    "Scope",
    "ServerView",
    "SignGuard",
    "SignSgdMajority",
    "Smea",
    "StepClipping",
    "TrimmedMean",
    "Vectors",
    "WeakDp",
    "Zeno",
    "build",
    "pre_rules",
    "registry",
]


def build(specification: str, *, f: int = 0, scope: Scope | None = None) -> Rule:
    """Make a rule by name: ``"trimmed_mean"``, ``"nnm+krum"``, ``"mypkg.mymod:MyRule"``.

    Args:
        specification: a registered name, or ``module:Class`` of one's own, with pre-rules before
            it: ``"bucketing[s=2]+median"``. The class is a `Rule`, or anything whose instances are
            callable as ``rule(values)``, values (m, d) -> (d,), or ``rule(values, present)``; a
            plain function will do too.
        f: how many Byzantine workers the rule is told to tolerate.
        scope: ``"block"``, ``"coordinate"``, ``"staircase"`` or ``"masked"`` (see `Rule`); None:
            the class's own default.

    Raises:
        InputError: unknown name, or parameters that the rule refuses.
    """
    *before, last = registry.split(specification)
    if not before:
        return _rule(last, f, scope)
    # Whether there is a scope "coordinate" is for the whole chain to say.
    rule = _rule(last, f, None)
    if scope == "coordinate" and rule.has_columns():
        rule = _rule(last, f, scope)
    if "honest" in rule.needs:
        raise InputError(f"rule: {specification!r}: {last} takes no pre-rule")
    steps = [_pre_rule(name, f) for name in before]
    try:
        with Boundary("rule", specification, _Parts((*steps, rule)), passes=(ValueError,))("make"):
            return Chain(steps, rule, scope=scope or "block")
    except ValueError as error:
        raise InputError(f"rule: {specification!r}: {error}") from error
    except PluginError as error:
        raise InputError(error.problem) from error


class _Parts(NamedTuple):
    """What a chain is to be made of."""

    made_of: tuple[object, ...]


def _pre_rule(specification: str, f: int) -> PreRule:
    factory = pre_rules.entry(pre_rules.bare(specification)).factory
    if not (isinstance(factory, type) and issubclass(factory, PreRule)):
        raise InputError(
            f"pre_rule: {specification!r}; expected a subclass of hgobench.aggregators.PreRule"
        )
    made = pre_rules.build(specification, f=f)
    if not hasattr(made, "f"):
        raise InputError(
            f"pre_rule: {specification!r}: its __init__ must take f and call super().__init__(f=f)"
        )
    return made


def _rule(specification: str, f: int, scope: Scope | None) -> Rule:
    context = {"f": f} if scope is None else {"f": f, "scope": scope}
    function = registry.function(specification)
    factory = registry.entry(registry.bare(specification)).factory
    if isinstance(factory, type) and issubclass(factory, PreRule):
        raise InputError(
            f"rule: {specification!r} is a pre-rule; name the rule behind it: "
            f"{specification}+median"
        )
    if isinstance(factory, Rule):
        raise InputError(f"rule: {specification!r} is an instance; name its class")
    made: object = function or registry.build(specification, **context)
    if isinstance(made, Rule):
        try:
            with Boundary("rule", specification, made, passes=(InputError,))("attributes"):
                _check(specification, made)
        except PluginError as error:
            raise InputError(error.problem) from error
        return made
    if not callable(made):
        raise InputError(f"rule: {specification!r}: its instances are not callable")
    if getattr(made, "needs", None):
        raise InputError(
            f"rule: {specification!r}: needs is for subclasses of hgobench.aggregators.Rule"
        )
    try:
        return Function(made, f=f, scope=scope or "block")
    except ValueError as error:
        raise InputError(f"rule: {specification!r}: {error}") from error


def _check(specification: str, rule: Rule) -> None:
    """Refuse a user's rule that could only fail later.

    Raises:
        InputError: all that is wrong with it.
    """
    cls, problems = type(rule), []
    needs: object = rule.needs  # of a user's class: anything
    exempt: object = rule.exempt
    minimum: object = rule.minimum if hasattr(rule, "f") else 1
    maximum: object = rule.maximum if hasattr(rule, "f") else 1
    if not (hasattr(rule, "f") and hasattr(rule, "scope")):
        problems.append(
            "its __init__ must take f and scope and call super().__init__(f=f, scope=scope)"
        )
    if all(getattr(cls, name) is getattr(Rule, name) for name in METHODS):
        problems.append(f"expected one of the methods {', '.join(METHODS)}")
    if not (isinstance(needs, Set) and needs <= {"root", "honest"}):
        problems.append(f"needs: {needs!r}; expected a set of 'root' and 'honest'")
    if not isinstance(exempt, Mapping):
        problems.append(f"exempt: {exempt!r}; expected a mapping from laws to reasons")
    if not isinstance(minimum, int):
        problems.append("minimum: expected a property that is a whole number")
    if not isinstance(maximum, int | float):
        problems.append("maximum: expected a property that is a number")
    if not isinstance(rule.has_columns(), bool):
        problems.append("has_columns: expected True or False")
    if problems:
        raise InputError(f"rule: {specification!r}: {problem}" for problem in problems)
