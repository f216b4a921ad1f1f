"""One cell of a grid: everything that determines a training run, checked at the border."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral, Real
from typing import Any

from hgobench import catalogue
from hgobench.errors import InputError, unknown

RISK = 0.01  # over a run; more is worth a warning
ALIASES = {"n": "workers", "f": "byzantine", "q": "sampled", "v": "quorum", "tau": "deadline"}
WORLD = (
    "data",
    "partition",
    "model",
    "hardware",
    "workload",
    "workers",
    "sampled",
    "batch_size",
    "rounds",
    "evaluation_interval",
    "seed",
)


@dataclass(frozen=True, kw_only=True, init=False, repr=False)
class Scenario:
    """A training run: a world, and an algorithm, a rule, an attack and a solver in it.

    Things are named as ``name`` or ``name[parameter=value,...]``; ``hgobench list`` shows them.
    Fields left out take the defaults below; those that default to None are then worked out, so
    that a scenario always states what it does.

    Args:
        data, partition, model, hardware: the world.
        workload: how a worker splits its time between coordinates and examples: ``"fixed"``
            (Algorithm 1), ``"coordinates_first"``, ``"data_first"``, ``"hybrid[rho=0.5]"``.
        algorithm: ``"hgo"`` or ``"sgd"``.
        granularity: what shares a place in a round's order: ``"scalar"``, ``"feature"`` or
            ``"subnetwork"``.
        cost: what a place costs a worker: ``"scalar"`` (its coordinates) or ``"unit"`` (one).
        rule, attack: what the server and the Byzantine workers do.
        scope: ``"coordinate"`` or ``"block"`` (see `hgobench.aggregators.Rule`); None: coordinate
            under HGO if the rule has that form, else block.
        attack_start: how many rounds the Byzantine workers behave first (10 in the HGO paper).
        workers (n): how many there are.
        byzantine (f): how many of the n are Byzantine, less than n/2.
        sampled (q): workers asked per round; None: all.
        tolerated: f̂, what the server and its rule believe f to be among the sampled;
            None: min(f, ⌊(q-1)/2⌋), or what a given quorum stands, ⌊(v-1)/2⌋, if that is less.
        quorum (v): how many must have sent a coordinate for it to be updated, more than
            2·tolerated; None: what the algorithm and the rule need.
        deadline (tau): τ in time units; inf: the server waits for the last answer.
        batch_size: s, examples per minibatch; a worker with fewer uses all it has.
        rounds: K.
        learning_rate: γ, on the mean gradient.
        schedule: ``"constant"``, or ``"inverse_sqrt_block"``: γ·√(d/|B_k|).
        solver: what the server does with the aggregate.
        evaluation_interval: evaluate every so many rounds, and after the last.
        seed: of every random draw.

    Raises:
        InputError: with all problems at once.
    """

    data: str = "digits"
    partition: str = "iid"
    model: str = "softmax"
    hardware: str = "standard"
    workload: str = "fixed"
    algorithm: str = "hgo"
    granularity: str = "scalar"
    cost: str = "scalar"
    rule: str = "trimmed_mean"
    scope: str | None = None
    attack: str = "none"
    attack_start: int = 0
    workers: int = 100
    byzantine: int = 0
    tolerated: int | None = None
    sampled: int | None = None
    quorum: int | None = None
    deadline: float = 32.0
    batch_size: int = 32
    rounds: int = 150
    learning_rate: float = 0.32
    schedule: str = "constant"
    solver: str = "gradient_descent"
    evaluation_interval: int = 1
    seed: int = 0

    def __init__(self, **given: Any) -> None:
        values, problems = _unalias(given)
        checked = dict(_defaults())
        broken: set[str] = set()
        for name in [name for name in checked if name in values]:
            try:
                checked[name] = _CHECKS[name](name, values[name])
            except InputError as error:
                problems += error.problems
                broken.add(name)
        problems += _resolve(checked, broken)
        if problems:
            raise InputError(problems)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    n = property(lambda self: self.workers)
    f = property(lambda self: self.byzantine)
    q = property(lambda self: self.sampled)
    v = property(lambda self: self.quorum)
    tau = property(lambda self: self.deadline)

    def __repr__(self) -> str:
        defaults = _defaults()
        parts = [
            f"{name}={value!r}" for name, value in vars(self).items() if value != defaults[name]
        ]
        return f"Scenario({', '.join(parts)})"

    def replace(self, **changes: Any) -> Scenario:
        """Return a scenario with some fields changed.

        Fields that are what would have been worked out anyway are worked out anew.
        """
        values, problems = _unalias(changes)
        if problems:
            raise InputError(problems)
        given = dict(vars(self))
        for name in ("quorum", "scope", "sampled", "tolerated"):
            without = {key: value for key, value in given.items() if key != name}
            with suppress(InputError):
                if Scenario(**without) == self:
                    given = without
        return Scenario(**{**given, **values})

    def to_dict(self) -> dict[str, str | int | float]:
        """Return all fields, resolved, as JSON knows them (an infinite deadline is ``"inf"``)."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if math.isinf(self.deadline):
            values["deadline"] = "inf"
        return values

    @classmethod
    def restore(cls, values: Mapping[str, Any]) -> Scenario:
        """Rebuild what `to_dict` wrote, without checks and without importing what it names.

        To run it, check it: ``Scenario(**values)``.
        """
        scenario = object.__new__(cls)
        for name, default in _defaults().items():
            value = values.get(name, default)
            infinite = name == "deadline" and value == "inf"  # elsewhere it is a name
            object.__setattr__(scenario, name, math.inf if infinite else value)
        return scenario

    @property
    def digest(self) -> str:
        """Return a hash of all resolved fields, 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    @property
    def world_key(self) -> tuple[Any, ...]:
        """Return what two cells must share to share a world.

        Where the workload sets the size of minibatches, the deadline is among it.
        """
        deadline = () if self.workload == "fixed" else (self.deadline,)
        return (*(getattr(self, name) for name in WORLD), *deadline)

    @property
    def sampling_risk(self) -> float:
        """Return P(more than ⌊(v-1)/2⌋ of a round's q workers are Byzantine): hypergeometric.

        With as many a quorum of v may hold a Byzantine majority.
        """
        from scipy.stats import hypergeom

        assert self.quorum is not None
        bound = (self.quorum - 1) // 2
        return float(hypergeom.sf(bound, self.workers, self.byzantine, self.sampled))

    @property
    def run_risk(self) -> float:
        """Return the probability that this happens in one of the K rounds, 1 - (1 - p)^K."""
        risk = self.sampling_risk
        return 1.0 if risk >= 1 else -math.expm1(self.rounds * math.log1p(-risk))

    @property
    def sampling_warning(self) -> str:
        """Return what to warn of if the risk over the run exceeds 1 %, else nothing.

        Of algorithms without blocks nothing: they wait for all that answer, not for v.
        """
        blocks = catalogue.registry("algorithm").build(self.algorithm).partial
        if not blocks or self.run_risk <= RISK:
            return ""
        half = (int(self.quorum or 1) - 1) // 2
        return (
            f"sampling risk: of n={self.workers} workers f={self.byzantine} are Byzantine; more "
            f"than {half} of q={self.sampled} sampled ones, all that a quorum of v={self.quorum} "
            f"can stand, are so with probability {self.sampling_risk:.3g} per round, "
            f"{self.run_risk:.3g} over {self.rounds} rounds"
        )


def sampling_warnings(scenarios: Iterable[Scenario]) -> list[str]:
    """Return the different warnings of scenarios, each worked out once."""
    alike: dict[tuple[Any, ...], Scenario] = {}
    for s in scenarios:
        alike.setdefault((s.workers, s.byzantine, s.sampled, s.quorum, s.rounds, s.algorithm), s)
    found = dict.fromkeys(scenario.sampling_warning for scenario in alike.values())
    return [warning for warning in found if warning]


def _defaults() -> dict[str, Any]:
    return {field.name: field.default for field in fields(Scenario)}


def _unalias(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    known, problems, values = _defaults(), [], {}
    for name, value in given.items():
        target = ALIASES.get(name, name)
        if target not in known:
            problems.append(unknown("scenario: field", name, [*known, *ALIASES]))
        elif target in values:
            short = next(alias for alias, field in ALIASES.items() if field == target)
            problems.append(f"{target}: given twice, as {target!r} and as {short!r}")
        else:
            values[target] = value
    return values, problems


Check = Callable[[str, Any], Any]


def _integer(least: int, optional: bool = False) -> Check:
    def check(name: str, value: Any) -> int | None:
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise InputError(f"{name}: {value!r}; expected an integer >= {least}")
        return int(value)

    return check


def _positive(infinite: bool = False) -> Check:
    def check(name: str, value: Any) -> float:
        if infinite and value == "inf":
            value = math.inf
        number = not isinstance(value, bool) and isinstance(value, Real)
        if not number or not value > 0 or (math.isinf(value) and not infinite):
            tail = " or inf" if infinite else ""
            raise InputError(f"{name}: {value!r}; expected a number > 0{tail}")
        return float(value)

    return check


def _word(*known: str, optional: bool = False) -> Check:
    def check(name: str, value: Any) -> str | None:
        if value is None and optional:
            return None
        if value not in known:
            raise InputError(unknown(name, str(value), known))
        return str(value)

    return check


def _named(field: str, build: bool = True, **context: Any) -> Check:
    """Check a name with its parameters; `build` also tries them, given a context to build in."""

    @cache
    def canonical(value: str) -> str:
        registry = catalogue.registry(field)
        if build:
            registry.build(value, **context)
        return str(registry.canonical(value))

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise InputError(f"{name}: {value!r}; expected a name")
        return canonical(value)

    return check


_CHECKS: dict[str, Check] = {
    "data": _named("data"),
    "partition": _named("partition"),
    "model": _named("model", features=784, classes=2),  # a problem that every model can have
    "hardware": _named("hardware"),
    "workload": _named("workload"),
    "algorithm": _named("algorithm"),
    "granularity": _word("scalar", "feature", "subnetwork"),
    "cost": _word("scalar", "unit"),
    "rule": _named("rule", build=False),  # its parameters are tried with f, in _resolve_rule
    "scope": _word("coordinate", "block", optional=True),
    "attack": _named("attack"),
    "attack_start": _integer(0),
    "workers": _integer(1),
    "byzantine": _integer(0),
    "tolerated": _integer(0, optional=True),
    "sampled": _integer(1, optional=True),
    "quorum": _integer(1, optional=True),
    "deadline": _positive(infinite=True),
    "batch_size": _integer(1),
    "rounds": _integer(1),
    "learning_rate": _positive(),
    "schedule": _word("constant", "inverse_sqrt_block"),
    "solver": _named("solver"),
    "evaluation_interval": _integer(1),
    "seed": _integer(0),
}


def check_field(name: str, value: Any) -> Any:
    """Return one field's value in its canonical spelling.

    Raises:
        InputError: there is no such field, or not with this value.
    """
    values, problems = _unalias({name: value})
    if problems:
        raise InputError(problems)
    ((field, value),) = values.items()
    return _CHECKS[field](field, value)


def _resolve(v: dict[str, Any], broken: set[str]) -> list[str]:
    """Check fields against each other and fill those left None, in place.

    A check whose fields are themselves broken is left out, so that nothing is said twice.
    """
    problems: list[str] = []

    def expect(holds: bool, message: str, *about: str) -> None:
        if not holds:
            problems.append(message)
            broken.update(about)

    if not broken & {"workers", "byzantine"}:
        expect(
            2 * v["byzantine"] < v["workers"],
            f"byzantine: {v['byzantine']}; expected less than half of workers={v['workers']}",
            "byzantine",
        )
    if v["sampled"] is None:
        v["sampled"] = v["workers"]
    elif not broken & {"workers", "sampled"}:
        expect(
            v["sampled"] <= v["workers"],
            f"sampled: {v['sampled']}; expected at most workers={v['workers']}",
            "sampled",
        )
    if not broken & {"attack", "byzantine", "attack_start", "rounds"} and v["attack"] != "none":
        expect(
            v["byzantine"] > 0,
            f"attack: {v['attack']!r}; expected byzantine >= 1, or it attacks nobody",
        )
        expect(
            v["attack_start"] < v["rounds"],
            f"attack_start: {v['attack_start']}; expected less than rounds={v['rounds']}",
        )
    if not broken & {"algorithm", "workload"}:
        partial = catalogue.registry("algorithm").build(v["algorithm"]).partial
        expect(
            partial or catalogue.registry("workload").build(v["workload"]).whole,
            f"workload: {v['workload']!r} never computes a whole gradient, and "
            f"{v['algorithm']!r} takes no other",
        )
    if broken & {"workers", "byzantine", "sampled", "tolerated", "quorum"}:
        return problems

    most = (v["sampled"] - 1) // 2
    if v["tolerated"] is None:
        stood = most if v["quorum"] is None else (v["quorum"] - 1) // 2
        v["tolerated"] = min(v["byzantine"], most, stood)
    elif v["tolerated"] > most:
        return [
            *problems,
            f"tolerated: {v['tolerated']}; expected at most {most}, less than half of "
            f"sampled={v['sampled']}",
        ]
    if v["quorum"] is not None:
        expect(
            v["quorum"] <= v["sampled"],
            f"quorum: {v['quorum']}; expected at most sampled={v['sampled']}",
            "quorum",
        )
    if not broken & {"rule", "algorithm", "scope", "quorum"}:
        problems += _resolve_rule(v)
    return problems


def _resolve_rule(v: dict[str, Any]) -> list[str]:
    from hgobench import aggregators

    algorithm = catalogue.registry("algorithm").build(v["algorithm"])
    try:
        rule = aggregators.build(v["rule"], f=v["tolerated"], scope=v["scope"])
    except InputError as error:
        return error.problems
    if v["scope"] is None:
        v["scope"] = "coordinate" if algorithm.partial and rule.has_columns() else "block"
    if v["quorum"] is None:
        v["quorum"] = min(algorithm.quorum(v["tolerated"], rule.minimum), v["sampled"])
    elif v["quorum"] < (least := algorithm.quorum(v["tolerated"], 1)):
        return [
            f"quorum: {v['quorum']}; expected at least {least}, more than 2 * tolerated = "
            f"{2 * v['tolerated']}"
        ]
    if rule.maximum < v["sampled"]:
        return [
            f"rule: {v['rule']!r} aggregates at most {rule.maximum:.0f} answers at tolerated="
            f"{v['tolerated']}; sampled is {v['sampled']}"
        ]
    if rule.minimum > v["quorum"]:
        return [
            f"rule: {v['rule']!r} needs {rule.minimum} answers to stand tolerated="
            f"{v['tolerated']}; quorum is {v['quorum']} of sampled={v['sampled']}"
        ]
    return []
