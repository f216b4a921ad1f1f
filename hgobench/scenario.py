"""One cell of a grid: everything that determines a training run, checked at the border."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cache
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Protocol, Self, TypedDict, Unpack, get_type_hints

from hgobench import catalogue
from hgobench.errors import InputError, shown, unknown
from hgobench.resolution import Resolved, Resolver

RISK = 0.01  # over a run; more is worth a warning

Role = Literal["world", "threat", "defence", "repetition", "measurement"]
Check = Callable[[str, Any], Any]
# The fields of a threat that say what an attack is and when it acts.
ATTACK = ("attack", "attack_start", "attack_stop", "attack_period")
SHARED: tuple[Role, ...] = ("world", "repetition", "measurement")  # by the cells of a world


@dataclass(frozen=True)
class Declaration:
    """What a field of a `Scenario` is; all that treats fields differently reads it here.

    Attributes:
        role: ``"world"``: what is learned, from what, by whom, within which budget; ``"threat"``:
            what the Byzantine workers are and do; ``"defence"``: what the server and the honest
            workers do; ``"repetition"``: cells that differ in nothing else are repetitions;
            ``"measurement"``: how a run is looked at.
        check: takes the field's name and a value; returns the canonical value or raises.
        letter: the HGO paper's, another name of the field.
        headline: whether boards always name it, also where it is the same everywhere.
        follows: the field that its default is worked out from, if that is its purpose.
        related: whether other fields limit it, or it them: what `Resolver` looks at.
        before: of a field that results of older versions lack, what their cells did. A cell with
            this value is theirs: it has their digest. None: the field was always there.
        shared: given a scenario, whether cells must agree in the field to share a world; None:
            always, if its role lets draws depend on it.
    """

    role: Role
    check: Check
    letter: str = ""
    headline: bool = False
    follows: str = ""
    related: bool = False
    before: str | int | float | None = None
    shared: Callable[[Scenario], bool] | None = None


def declare(default: Any, check: Check, role: Role, **more: Any) -> Any:
    """Return a dataclass field with its default and its `Declaration`."""
    return field(default=default, metadata={"declaration": Declaration(role, check, **more)})


def integer(least: int, most: int, optional: bool = False, infinite: bool = False) -> Check:
    """Return the check of a whole number in [least, most].

    Args:
        least, most: the bounds.
        optional: whether None will do, too.
        infinite: whether it may be infinite.
    """

    def check(name: str, value: Any) -> int | float | None:
        if value is None and optional:
            return None
        if infinite and value in (math.inf, "inf"):
            return math.inf
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        number = int(value) if whole else least - 1
        if number < least:
            tail = " or inf" if infinite else ""
            raise InputError(f"{name}: {shown(value)}; expected an integer >= {least}{tail}")
        if number > most:
            raise InputError(f"{name}: {shown(value)}; expected at most {most}")
        return number

    return check


def positive(infinite: bool = False) -> Check:
    """Return the check of a number > 0, finite unless it may be `infinite`."""

    def check(name: str, value: Any) -> float:
        if infinite and isinstance(value, str) and value == "inf":
            value = math.inf
        tail = " or inf" if infinite else ""
        refusal = InputError(f"{name}: {shown(value)}; expected a number > 0{tail}")
        if isinstance(value, bool) or not isinstance(value, Real):
            raise refusal
        try:
            number = float(value)
        except OverflowError:  # an integer beyond all floats
            raise refusal from None
        if not number > 0 or (math.isinf(number) and not infinite):
            raise refusal
        return number

    return check


def word(*known: str, optional: bool = False) -> Check:
    """Return the check of one of a few words; None too, if it is `optional`."""

    def check(name: str, value: Any) -> str | None:
        if value is None and optional:
            return None
        if value is None and "none" in known:  # as settings are read
            return "none"
        if not isinstance(value, str):
            raise InputError(f"{name}: {shown(value)}; expected one of {', '.join(sorted(known))}")
        if value not in known:
            raise InputError(unknown(name, value, known))
        return value

    return check


def named(kind: str, build: bool = True, **context: Any) -> Check:
    """Return the check of a name with its parameters.

    Args:
        kind: the field whose registry knows the names.
        build: whether to try the parameters too.
        context: what to build it in.
    """

    @cache
    def canonical(value: str) -> str:
        registry = catalogue.registry(kind)
        if build:
            registry.build(value, **context)
        return str(registry.canonical(value))

    def check(name: str, value: Any) -> str:
        examples = kind == "data" and hasattr(type(value), "__getitem__")
        if callable(value) or (examples and not isinstance(value, str | bytes | list | dict)):
            value = catalogue.registry(kind).name_of(value)
        if not isinstance(value, str):
            raise InputError(f"{name}: {shown(value)}; expected a name")
        return canonical(value)

    return check


PEOPLE = 10**6  # the most workers: each has a device and examples of its own
EXAMPLES = 10**6  # the largest minibatch
ROUNDS = 10**7  # a result has a line per round
SEEDS = 2**63 - 1


class Examples(Protocol):
    """Data that a module holds: a torch Dataset, or a tuple of arrays."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...


# By name, or what has one: a class, a function, a torch module that a module holds.
Named = str | Callable[..., Any]


class Given(TypedDict, total=False):
    """What a user may give of a `Scenario`, by the fields' names or by the paper's letters.

    None leaves a field open: it is worked out.
    """

    data: Named | Examples
    partition: Named
    model: Named
    hardware: Named
    augment: Named
    workload: Named
    algorithm: Named
    granularity: Literal["scalar", "feature", "subnetwork", "nested"]
    cost: Literal["scalar", "unit"]
    rule: Named
    scope: Literal["coordinate", "block", "staircase", "masked"] | None
    attack: Named
    attack_start: int
    attack_stop: int | float | Literal["inf"]
    attack_period: int | float | Literal["inf"]
    lies_about_speed: Literal["yes", "no"]
    workers: int
    n: int
    byzantine: int
    f: int
    tolerated: int | None
    sampled: int | None
    q: int | None
    quorum: int | None
    v: int | None
    deadline: float | Literal["inf"]
    tau: float | Literal["inf"]
    batch_size: int
    s: int
    rounds: int
    K: int
    time_budget: float | Literal["inf"]
    coordinate_budget: float | Literal["inf"]
    byte_budget: float | Literal["inf"]
    learning_rate: float
    gamma: float
    schedule: Literal["constant", "inverse_sqrt_block"]
    solver: Named
    weights: Literal["none", "examples", "claimed"]
    evaluation_interval: int
    metrics: Named
    seed: int


class _Signature:
    """The signature of a class of scenarios, as `help` and notebooks show it."""

    def __get__(self, scenario: object, cls: type[Scenario]) -> inspect.Signature:
        hints, known = get_type_hints(Given), cls.declarations()
        nothing, keyword = inspect.Parameter.empty, inspect.Parameter.KEYWORD_ONLY
        names = {name: (name, default) for name, default in cls.defaults().items()}
        names |= {letter: (name, nothing) for letter, name in cls.letters().items()}
        order = list(known)
        parameters = [
            inspect.Parameter(
                name, keyword, default=default, annotation=hints.get(name, type(default))
            )
            for name, (field, default) in sorted(
                names.items(), key=lambda item: (order.index(item[1][0]), len(item[0]) == 1)
            )
        ]
        return inspect.Signature(parameters)


@dataclass(frozen=True, kw_only=True, init=False, repr=False)
class Scenario:
    """A training run: a world, and an algorithm, a rule, an attack and a solver in it.

    Things are named as ``name`` or ``name[parameter=value,...]``; ``hgobench list`` shows them.
    Fields left out take the defaults below; those that default to None are then worked out, so
    that a scenario always states what it does. What was `given` is remembered for `replace`; two
    scenarios that state the same are equal, however they came to it.

    Args:
        data, partition, model, hardware: the world.
        augment: how workers change the examples of each minibatch: ``"none"``, ``"flip+crop"``.
        workload: how a worker splits its time between coordinates and examples: ``"fixed"``
            (Algorithm 1), ``"coordinates_first"``, ``"data_first"``, ``"hybrid[rho=0.5]"``.
        algorithm: ``"hgo"``, ``"sgd"``, ``"fedavg[steps=5]"`` .. (``hgobench list algorithms``).
        granularity: what shares a place in a round's order: ``"scalar"``, ``"feature"``,
            ``"subnetwork"`` or ``"nested"``.
        cost: what a place costs a worker: ``"scalar"`` (its coordinates) or ``"unit"`` (one).
        rule, attack: what the server and the Byzantine workers do.
        scope: ``"coordinate"``, ``"block"``, ``"staircase"`` or ``"masked"`` (see
            `hgobench.aggregators.Rule`); None: under HGO coordinate of a coordinate-wise rule and
            of others the one that holds best (docs/rules.md), else block.
        attack_start: how many rounds the Byzantine workers behave first (10 in the HGO paper).
        attack_stop: the last round in which they attack; inf: they never stop.
        attack_period: how many rounds a burst of attacks lasts, and the pause after it; inf: there
            is no pause (see `attacked`).
        lies_about_speed: whether Byzantine workers may claim more places than their own devices
            would finish, ``"yes"`` or ``"no"``; with no their claims end there.
        workers (n): how many there are.
        byzantine (f): how many of the n are Byzantine, less than n/2.
        sampled (q): workers asked per round; None: all.
        tolerated: f̂, what the server and its rule believe f to be among the sampled;
            None: min(f, ⌊(q-1)/2⌋), or what a given quorum tolerates, ⌊(v-1)/2⌋, if that is less.
        quorum (v): how many must have sent a coordinate for it to be updated, more than
            2·tolerated; None: what the algorithm and the rule need.
        deadline (tau): τ in time units; inf: the server waits for the last answer.
        batch_size (s): examples per minibatch; a worker with fewer uses all it has.
        rounds (K): how many there are; at most, with a budget.
        time_budget: simulated time units; the run ends with the round in which they are over.
        coordinate_budget: likewise, gradient coordinates that all workers compute together.
        byte_budget: likewise, bytes that are sent, up and down.
        learning_rate (gamma): γ, on the mean gradient.
        schedule: ``"constant"``, or ``"inverse_sqrt_block"``: γ·√(d/|B_k|).
        solver: what the server does with the aggregate.
        weights: what an answer counts: ``"none"``: all the same; ``"examples"``: as many training
            examples as its worker claims to have, cut so that no f̂ of them have too much;
            ``"claimed"``: as many as it claims, whatever that is (docs/weights.md).
        evaluation_interval: evaluate every so many rounds, and after the last.
        metrics: what else is measured after the last round: ``"standard"``, ``"none"``, or
            ``"mypkg:MyMetric"``, one's own besides the standard ones.
        seed: of every random draw.

    Raises:
        InputError: with all problems at once.
    """

    # fmt: off
    data: str = declare("digits", named("data"), "world")
    partition: str = declare("iid", named("partition"), "world", headline=True)
    model: str = declare(  # tried on a problem that every model can have
        "softmax", named("model", features=784, classes=2), "world")
    hardware: str = declare("standard", named("hardware"), "world", headline=True)
    augment: str = declare("none", named("augment"), "world", before="none")
    workload: str = declare("fixed", named("workload"), "world", related=True)
    algorithm: str = declare("hgo", named("algorithm"), "defence", headline=True, related=True)
    granularity: Literal["scalar", "feature", "subnetwork", "nested"] = declare(
        "scalar", word("scalar", "feature", "subnetwork", "nested"), "defence")
    cost: Literal["scalar", "unit"] = declare("scalar", word("scalar", "unit"), "defence")
    rule: str = declare(  # its parameters are tried with f, by the Resolver
        "trimmed_mean", named("rule", build=False), "defence", headline=True, related=True)
    scope: Literal["coordinate", "block", "staircase", "masked"] = declare(
        None, word("coordinate", "block", "staircase", "masked", optional=True), "defence",
        follows="rule", related=True)
    attack: str = declare("none", named("attack"), "threat", related=True)
    attack_start: int = declare(0, integer(0, ROUNDS), "threat", related=True)
    attack_stop: int | float = declare(
        math.inf, integer(1, ROUNDS, infinite=True), "threat", related=True, before=math.inf)
    attack_period: int | float = declare(
        math.inf, integer(1, ROUNDS, infinite=True), "threat", before=math.inf)
    lies_about_speed: Literal["yes", "no"] = declare(
        "yes", word("yes", "no"), "threat", before="yes")
    workers: int = declare(100, integer(1, PEOPLE), "world", letter="n", related=True)
    byzantine: int = declare(0, integer(0, PEOPLE), "threat", letter="f", related=True)
    tolerated: int = declare(
        None, integer(0, PEOPLE, optional=True), "defence", follows="byzantine", related=True)
    sampled: int = declare(
        None, integer(1, PEOPLE, optional=True), "world", letter="q", follows="workers",
        related=True)
    quorum: int = declare(
        None, integer(1, PEOPLE, optional=True), "defence", letter="v", follows="rule",
        related=True)
    deadline: float = declare(  # on a fixed workload the draws do not depend on it
        32.0, positive(infinite=True), "world", letter="tau",
        shared=lambda scenario: scenario.workload != "fixed")
    batch_size: int = declare(32, integer(1, EXAMPLES), "world", letter="s")
    rounds: int = declare(150, integer(1, ROUNDS), "world", letter="K", related=True)
    time_budget: float = declare(
        math.inf, positive(infinite=True), "world", before=math.inf)
    coordinate_budget: float = declare(
        math.inf, positive(infinite=True), "world", before=math.inf)
    byte_budget: float = declare(
        math.inf, positive(infinite=True), "world", before=math.inf)
    learning_rate: float = declare(0.32, positive(), "defence", letter="gamma")
    schedule: Literal["constant", "inverse_sqrt_block"] = declare(
        "constant", word("constant", "inverse_sqrt_block"), "defence")
    solver: str = declare(
        "gradient_descent", named("solver", learning_rate=0.1, schedule="constant"), "defence")
    weights: Literal["none", "examples", "claimed"] = declare(
        "none", word("none", "examples", "claimed"), "defence", related=True, before="none")
    evaluation_interval: int = declare(1, integer(1, ROUNDS), "measurement")
    metrics: str = declare("standard", named("metrics"), "measurement", before="standard")
    seed: int = declare(0, integer(0, SEEDS), "repetition")
    # fmt: on

    __slots__ = ("__dict__", "__weakref__", "_derived")
    _derived: ClassVar[frozenset[str] | None]  # a slot: what was worked out; None: not known
    __signature__ = _Signature()

    def __init__(self, **given: Unpack[Given]) -> None:
        values, problems = self._unalias(given)
        checked, broken = self.defaults(), set[str]()
        for name, declaration in self.declarations().items():
            if name not in values:
                continue
            try:
                checked[name] = declaration.check(name, values[name])
            except InputError as error:
                problems += error.problems
                broken.add(name)
        resolved, more = Resolver.of(checked).resolve(checked, broken)
        problems += more
        if problems or resolved is None:
            raise InputError(problems)
        open_ = frozenset(name for name in Resolved._fields if checked[name] is None)
        self._state({**checked, **resolved._asdict()}, open_)

    def _state(self, values: Mapping[str, Any], derived: frozenset[str] | None) -> None:
        for name in self.declarations():  # in their order, so that all scenarios share it
            object.__setattr__(self, name, values[name])
        object.__setattr__(self, "_derived", derived)

    @classmethod
    def stated(cls, values: Mapping[str, Any], derived: frozenset[str] | None) -> Self:
        """Return a scenario of values that are known to be right, without checks.

        Args:
            values: all fields, worked out, in their canonical spelling.
            derived: the fields that were worked out; None: nobody knows.
        """
        scenario = object.__new__(cls)
        scenario._state(values, derived)
        return scenario

    def __getstate__(self) -> tuple[dict[str, Any], frozenset[str] | None]:
        return vars(self), self._derived

    def __setstate__(self, state: tuple[dict[str, Any], frozenset[str] | None]) -> None:
        self._state(*state)

    @classmethod
    @cache
    def declarations(cls) -> Mapping[str, Declaration]:
        """Return what each field is, in the order of the fields."""
        return {entry.name: entry.metadata["declaration"] for entry in fields(cls)}

    @classmethod
    def of_role(cls, *roles: Role) -> tuple[str, ...]:
        """Return the names of the fields that have some roles, in the order of the fields."""
        return tuple(name for name, about in cls.declarations().items() if about.role in roles)

    @classmethod
    def letters(cls) -> dict[str, str]:
        """Return the fields by the paper's letters: ``{"n": "workers", ...}``."""
        return {about.letter: name for name, about in cls.declarations().items() if about.letter}

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return the fields' defaults; None is then worked out."""
        return {entry.name: entry.default for entry in fields(cls)}

    @classmethod
    def _unalias(cls, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        known, letters = cls.declarations(), cls.letters()
        problems: list[str] = []
        values: dict[str, Any] = {}
        for name, value in given.items():
            target = letters.get(name, name)
            if target not in known:
                problems.append(unknown("scenario: field", name, [*known, *letters]))
            elif target in values:
                problems.append(
                    f"{target}: given twice, as {target!r} and as {known[target].letter!r}"
                )
            else:
                values[target] = value
        return values, problems

    n = property(lambda self: self.workers)
    f = property(lambda self: self.byzantine)
    q = property(lambda self: self.sampled)
    v = property(lambda self: self.quorum)
    tau = property(lambda self: self.deadline)
    s = property(lambda self: self.batch_size)
    K = property(lambda self: self.rounds)
    gamma = property(lambda self: self.learning_rate)

    def __repr__(self) -> str:
        defaults = self.defaults()
        parts = [
            f"{name}={value!r}" for name, value in vars(self).items() if value != defaults[name]
        ]
        return f"{type(self).__name__}({', '.join(parts)})"

    @property
    def stated_scope(self) -> str:
        """Return the scope where the rule's name does not say it; else an empty text.

        A vector rule under HGO has several; a rule that gets whole vectors under SGD, and a
        coordinate-wise one on coordinates, is what its name says.

        >>> Scenario(rule="krum").stated_scope, Scenario(rule="median").stated_scope
        ('staircase', '')
        >>> Scenario(rule="krum", algorithm="sgd").stated_scope
        ''
        """
        return Resolver.of(vars(self)).stated_scope(vars(self))

    @property
    def given(self) -> dict[str, Any]:
        """Return the fields that were not worked out: what the user gave, and defaults.

        Of a scenario that was read from results nobody knows; there what would have been worked out
        anyway counts as worked out.

        >>> scenario = Scenario(workers=20, f=4, rule="krum", q=15)
        >>> scenario.quorum, scenario.given.get("quorum"), scenario.given["sampled"]
        (11, None, 15)
        """
        derived = self._derived
        if derived is None:
            derived = self._derivable()
        return {name: value for name, value in vars(self).items() if name not in derived}

    def _derivable(self) -> frozenset[str]:
        values, open_ = dict(vars(self)), set[str]()
        resolver, stated = Resolver.of(values), [getattr(self, name) for name in Resolved._fields]
        # The last first: a quorum follows from what is tolerated, rather than the reverse.
        for name in reversed([name for name in values if name in Resolved._fields]):
            with suppress(InputError):
                resolved, problems = resolver.resolve({**values, name: None})
                if not problems and resolved is not None and [*resolved] == stated:
                    values[name] = None
                    open_.add(name)
        return frozenset(open_)

    def replace(self, **changes: Unpack[Given]) -> Self:
        """Return a scenario with some fields changed.

        What was given stays; what was worked out is worked out anew.

        >>> Scenario(workers=20, f=4).replace(f=2).quorum
        5
        >>> Scenario(workers=20, f=4, v=9).replace(f=2).quorum
        9

        Raises:
            InputError: with all problems at once.
        """
        values, problems = self._unalias(changes)
        if problems:
            raise InputError(problems)
        return type(self)(**{**self.given, **values})

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, resolved, as JSON knows them (an infinite deadline is ``"inf"``)."""
        values = {name: getattr(self, name) for name in self.declarations()}
        return {name: "inf" if value == math.inf else value for name, value in values.items()}

    @classmethod
    def restore(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild what `to_dict` wrote, without checks and without importing what it names.

        To run it, check it: ``Scenario(**values)``.
        """
        known, fields = cls.declarations(), dict[str, Any]()
        for name, default in cls.defaults().items():
            before = known[name].before
            value = values.get(name, default if before is None else before)
            infinite = isinstance(default, float) and value == "inf"  # elsewhere it is a name
            fields[name] = math.inf if infinite else value
        return cls.stated(fields, None)

    def attacked(self, k: int) -> bool:
        """Say whether the Byzantine workers attack in round k, from 1.

        They do where attack_start < k <= attack_stop and ⌊(k - attack_start - 1) / attack_period⌋
        is even: `attack_period` rounds of attacks, as many of good behaviour, and so on. In rounds
        without an attack they follow the protocol.

        >>> scenario = Scenario(attack_start=2, attack_stop=9, attack_period=2)
        >>> [k for k in range(1, 12) if scenario.attacked(k)]
        [3, 4, 7, 8]
        """
        since = k - self.attack_start - 1
        return since >= 0 and k <= self.attack_stop and since // self.attack_period % 2 == 0

    @property
    def digest(self) -> str:
        """Return a hash of all resolved fields, 64 hexadecimal digits.

        Fields that came later count where they differ from what was done before they came.
        """
        known = self.declarations()
        told = {
            name: value
            for name, value in self.to_dict().items()
            if known[name].before is None or getattr(self, name) != known[name].before
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @property
    def world_key(self) -> tuple[Any, ...]:
        """Return what two cells must share to share a world: draws, data, evaluations."""
        return tuple(
            getattr(self, name) if about.shared is None or about.shared(self) else None
            for name, about in self.declarations().items()
            if about.role in SHARED
        )

    @property
    def budgeted(self) -> bool:
        """Whether a budget may end the run before its rounds do."""
        budgets = self.time_budget, self.coordinate_budget, self.byte_budget
        return min(budgets) < math.inf

    @property
    def pool(self) -> int:
        """Return of how many workers the rule gets values at most: q, or all that are remembered.

        Or, of an algorithm with whole rounds, how many these ask.

        >>> [Scenario(q=20, algorithm=a).pool for a in ("hgo", "hgo[memory=last,age=0]")]
        [20, 20]
        """
        algorithm = catalogue.registry("algorithm").build(self.algorithm)
        return int(algorithm.pool(self.sampled, self.workers)) if algorithm.pools else self.sampled

    @property
    def sampling_risk(self) -> float:
        """Return P(more than ⌊(v-1)/2⌋ of a round's q workers are Byzantine): hypergeometric.

        Where the server remembers workers, it is that of all of whom it may hold something. Where
        answers count by examples, more than f̂: bounds hold for f̂, and a few more workers may have
        half of the weight.

        With as many, half of a quorum of v or more may be Byzantine: what Malinovsky et al.
        (arXiv:2311.14127) object to in analyses of sampled workers, the HGO paper's among them.
        """
        return _risk(self._outvoted_above, self.workers, self.byzantine, self.pool)

    @property
    def _outvoted_above(self) -> int:
        """Return how many Byzantine workers of a round are less than half of a quorum."""
        return (self.quorum - 1) // 2 if self.weights == "none" else self.tolerated

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
        if self.run_risk <= RISK:
            return ""
        if not catalogue.registry("algorithm").build(self.algorithm).partial:
            return ""
        all_, pool = f"all that a quorum of v={self.quorum} tolerates", self.pool
        if self.weights != "none":
            all_ = f"all that weights bounded for tolerated={self.tolerated} leave less than half"
        of = f"q={self.sampled} sampled" if pool == self.sampled else f"{pool} remembered"
        return (
            f"sampling risk: of n={self.workers} workers f={self.byzantine} are Byzantine; more "
            f"than {self._outvoted_above} of {of} ones, {all_}, are so with "
            f"probability {self.sampling_risk:.3g} per round, {self.run_risk:.3g} over "
            f"{self.rounds} rounds"
        )


RISKS = (
    "workers", "byzantine", "sampled", "quorum", "rounds", "algorithm", "weights", "tolerated",
)  # fmt: skip


def sampling_warnings(scenarios: Iterable[Scenario]) -> list[str]:
    """Return the different warnings of scenarios; they depend on the fields `RISKS` alone."""
    found = dict.fromkeys(scenario.sampling_warning for scenario in scenarios)
    return [warning for warning in found if warning]


def risks(cell: Scenario) -> tuple[float, float]:
    """Return P(a round samples more Byzantine workers than it tolerates), and that of a run.

    With blocks these are `Scenario.sampling_risk` and `Scenario.run_risk`, by the quorum v; an
    algorithm without blocks waits for all answers, and tolerates the f̂ that its rule is told. Where
    some rounds are whole they are those of the others, which sample fewer workers: what these can
    do then is limited by the clipping alone.

    >>> cell = Scenario(workers=20, f=4, q=10, rule="median", rounds=10)
    >>> [round(risk, 4) for risk in (*risks(cell), *risks(cell.replace(algorithm="sgd", v=10)))]
    [0.0, 0.0, 0.0, 0.0]
    """
    algorithm = catalogue.registry("algorithm").build(cell.algorithm)
    if algorithm.partial:
        return cell.sampling_risk, cell.run_risk
    tolerated, sampled = cell.tolerated, cell.pool
    if algorithm.differences:
        tolerated = Resolver.of(vars(cell)).of_sample(vars(cell), tolerated, sampled)
        sampled = cell.sampled
    risk = _risk(tolerated, cell.workers, cell.byzantine, sampled)
    return risk, 1.0 if risk >= 1 else -math.expm1(cell.rounds * math.log1p(-risk))


@cache
def _risk(bound: int, workers: int, byzantine: int, sampled: int) -> float:
    from scipy.stats import hypergeom

    return float(hypergeom.sf(bound, workers, byzantine, sampled))


ALIASES = Scenario.letters()


def check_field(name: str, value: Any) -> Any:
    """Return one field's value in its canonical spelling.

    Raises:
        InputError: there is no such field, or not with this value.
    """
    values, problems = Scenario._unalias({name: value})
    if problems:
        raise InputError(problems)
    ((target, value),) = values.items()
    return Scenario.declarations()[target].check(target, value)
