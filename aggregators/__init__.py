"""Aggregation rules: one module each, imported as ``hgobench.aggregators``.

>>> import torch
>>> rule = build("trimmed_mean", f=1)
>>> rule(torch.tensor([[1.0], [2.0], [3.0], [1e30]]))
tensor([2.5000])
"""

if __name__ == "aggregators":
    raise ImportError("import hgobench.aggregators, not aggregators")

from hgobench.errors import InputError
from hgobench.registry import Registry

from .aksel import Aksel
from .average import Average
from .base import Columns, Function, NonFiniteError, Rule, RuleError, Scope
from .krum import Krum
from .meamed import Meamed
from .median import Median
from .phocas import Phocas
from .trimmed_mean import TrimmedMean

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
        "aksel": Aksel,
    },
    context=frozenset({"f", "scope"}),
)

__all__ = [
    "Aksel",
    "Average",
    "Columns",
    "Function",
    "Krum",
    "Meamed",
    "Median",
    "NonFiniteError",
    "Phocas",
    "Rule",
    "RuleError",
    "Scope",
    "TrimmedMean",
    "build",
    "registry",
]


def build(specification: str, *, f: int = 0, scope: Scope | None = None) -> Rule:
    """Make a rule by name: ``"trimmed_mean"``, ``"mypkg.mymod:MyRule"``.

    Args:
        specification: a registered name, or ``module:Class`` of one's own. The class is a `Rule`,
            or anything whose instances are callable as ``rule(values)``, values (m, d) -> (d,), or
            ``rule(values, present)``; a plain function will do too.
        f: how many Byzantine workers the rule is told to stand.
        scope: ``"block"`` or ``"coordinate"`` (see `Rule`); None: the class's own default.

    Raises:
        InputError: unknown name, or parameters that the rule refuses.
    """
    context = {"f": f} if scope is None else {"f": f, "scope": scope}
    function = registry.function(specification)
    made: object = function or registry.build(specification, **context)
    if isinstance(made, Rule):
        if not (hasattr(made, "f") and hasattr(made, "scope")):
            raise InputError(
                f"rule: {specification!r}: its __init__ must take f and scope and call "
                "super().__init__(f=f, scope=scope)"
            )
        return made
    if scope == "coordinate":
        raise InputError(f"rule: {specification!r}: no coordinate-wise form, use scope 'block'")
    if not callable(made):
        raise InputError(f"rule: {specification!r}: its instances are not callable")
    return Function(made, f=f)
