"""One scenario under way: the parts that it alone names, how it goes, its ledger."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from traceback import walk_tb
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hgobench import aggregators, algorithms, attacks, metrics
from hgobench.aggregators import NonFiniteError, RuleError, ServerView
from hgobench.algorithms import Arrived, Held, Order, Places, solvers
from hgobench.algorithms.base import wrong_held, wrong_longest, wrong_numbers
from hgobench.attacks import ATTACKERS_EXAMPLES, Attack, Combined, Facts, NoAttack
from hgobench.boundary import (
    Boundary,
    Clock,
    OutOfTime,
    PluginError,
    error_text,
    foreign,
    keyed,
    plain,
    raised_at,
)
from hgobench.determinism import stream
from hgobench.errors import InputError
from hgobench.lazy import Tensor, torch
from hgobench.metrics import Metric
from hgobench.protocol import Reception, Server
from hgobench.resolution import Resolver
from hgobench.results.result import Result, Status
from hgobench.scenario import Scenario

from .ledger import Ledger
from .world import Draw, World

SUCCESS_EXAMPLES = 1000  # the most test examples on which an attack's success is measured


class Plan(NamedTuple):
    """How far the workers of a round come if they are honest.

    Attributes:
        updates: (q,) how many gradients each takes, 1 or more.
        lengths: (q,) how many places each sends.
        budget: (q,) how many coordinates of each of its gradients each may compute.
    """

    updates: NDArray[np.int64]
    lengths: NDArray[np.int64]
    budget: NDArray[np.float64]

    def of(self, rows: slice | NDArray[np.bool_]) -> Plan:
        """Return the plan of some of them."""
        return Plan(self.updates[rows], self.lengths[rows], self.budget[rows])


class Last(NamedTuple):
    """What a server aggregated last.

    Attributes:
        params: (d,) at which parameters.
        aggregate: (d,) g, what it stepped by.
    """

    params: Tensor
    aggregate: Tensor


class Cell:
    """A run of one scenario.

    Args:
        scenario: what runs.
        world: what it shares with other cells.
        time_limit: CPU seconds that what the cell alone names may take.

    Attributes:
        byzantine: (n,) who is Byzantine.
        server: its `Server`.
        attack: its attackers.
        ledger: the table of its rounds.
        time: simulated, since the start.
        status, reason: how it goes.
        over: whether a budget is spent, so that no further round is played.
        right: which test examples it answers rightly in the end, as in a `Result`.
        measures: what its metrics say in the end.
        server_seconds: CPU seconds that its server has taken.
        joules: (n,) what its workers have spent; None: the fleet does not say it.
        answering: cells for which it is equal have the same workers: the same order and lengths.
        threat: those also have attackers that may act for all of them at once.
        targeted: whether its attack wants some inputs to be answered as it likes.
        aim: those whose attackers want the same.
        receiving: those whose servers take the same of equal answers.
        defence: those whose rule may aggregate for all of them at once.
        stepping: those whose solver may step for all of them at once.
        remembers: whether its workers send something else than their gradients.
        gradients: how many each of them takes in a round at most.
        by_updates: whether answers say how many each took, and are scaled by it.
        fits: whether answers have room for a part of what attackers would send.
        keeps: whether its server holds something of its workers from round to round.
        held: that, after the last round; None: nothing.
        differences: whether its workers send differences of gradients, but in whole rounds.
        differs: whether they do so in this round (see `begin`).
        last: what its server aggregated last, if they do; None: nothing yet.
        by_rounds, continuous, judges, merges: as of its algorithm.
    """

    def __init__(self, scenario: Scenario, world: World, time_limit: float = math.inf) -> None:
        self.scenario, self.world = scenario, world
        self.byzantine = world.byzantine(scenario.byzantine)
        self.ledger = Ledger()
        self.time = 0.0
        self.clock, self.notes = Clock(time_limit), list[str]()
        self.needs: list[str] = []
        self.status: Status = "done"
        self.reason = ""
        self.over = False
        self._spent = [0, 0]  # coordinates, bytes
        self.right: bytes | None = None
        self.measures: Mapping[str, float] = {}
        self.server_seconds = 0.0
        fleet = world.fleet
        known = fleet.watts is not None or fleet.joules_per_byte is not None
        self.joules = np.zeros(world.workers) if known else None
        self.held: Held | None = None
        self.last: Last | None = None
        self.differs = False
        self._claims = world.sizes  # (n,) of examples, the last of each worker that was heard
        try:
            with keyed(scenario.seed):
                self._make()
        except (InputError, PluginError, OutOfTime) as error:
            self.lose(1, "; ".join(str(error).splitlines()))

    def _make(self) -> None:
        """Make what the cell alone names, and the boundary of each."""
        scenario = self.scenario
        self.algorithm = algorithms.registry.build(scenario.algorithm)
        self.rule = aggregators.build(
            scenario.rule,
            f=scenario.tolerated,
            scope=scenario.scope,
        )
        self.attack: Attack = attacks.build(scenario.attack)
        self.solver = solvers.registry.build(
            scenario.solver, learning_rate=scenario.learning_rate, schedule=scenario.schedule
        )
        self.server = Server(
            self.algorithm, self.rule, self.solver, scenario.quorum, scenario.weights
        )
        with self.world.models("units"):
            self.places = Places(self.world.model, scenario.granularity, scenario.cost)
        self.algorithms = self._boundary("algorithm", scenario.algorithm, self.algorithm)
        self.rules = self._boundary("rule", scenario.rule, self.rule)
        self.attacks = self._boundary("attack", scenario.attack, self.attack)
        self.solvers = self._boundary("solver", scenario.solver, self.solver)
        self.metric = metrics.registry.build(scenario.metrics)
        self.trials = self._boundary("rule", scenario.rule, self.rule, clock=None)
        self.steps_tried = self._boundary("solver", scenario.solver, self.solver, clock=None)
        self._pool = scenario.pool
        for kind, part in (
            ("attack", self.attack), ("rule", self.rule), ("algorithm", self.algorithm)
        ):  # fmt: skip
            self.world.expect_suited(kind, getattr(scenario, kind), part)
        with self.algorithms("attributes"):
            self.gradients = self.algorithm.gradients
            self.by_updates, self.keeps = self.algorithm.by_updates, self.algorithm.keeps
            self.fits = type(self.algorithm).fitted is not algorithms.Algorithm.fitted
            self.by_rounds, self.continuous = self.algorithm.by_rounds, self.algorithm.continuous
            self.judges, self.merges = self.algorithm.judges, self.algorithm.merges
            self.differences = self.algorithm.differences
            needed = frozenset(self.algorithm.needs)
        with self.rules("attributes"):
            self.needs = sorted(self.rule.needs | needed)
            self.stateful = bool(self.rule.stateful)
            whole = bool(self.rule.takes_whole_answers)
            takes = scenario.quorum, whole, scenario.weights, scenario.tolerated
            self.receiving: tuple[Any, ...] = (id(self),) if self.keeps else takes
        with self.attacks("attributes"):
            self.poisons, self.sees = bool(self.attack.poisons), self.attack.sees
            self.targeted = bool(self.attack.targeted)
        if self.differences:
            self._make_kinds()
        self._note_what_it_shares()

    def _make_kinds(self) -> None:
        """Make what whole rounds and others have of their own: algorithm, rule and server."""
        scenario, pool = self.scenario, self._pool
        fields = vars(scenario)
        tolerated = Resolver.of(fields).of_sample(fields, scenario.tolerated, pool)
        rule = aggregators.build(scenario.rule, f=tolerated, scope=scenario.scope)
        quorum = max(-(-scenario.quorum * scenario.sampled // pool), rule.minimum)
        server = replace(self.server, rule=rule, quorum=quorum)
        plain = algorithms.Sgd()
        self._kinds = {
            True: (plain, self.rule, replace(self.server, algorithm=plain)),
            False: (self.algorithm, rule, server),
        }
        self._probability = self.algorithm.probability

    def _note_what_it_shares(self) -> None:
        """Say which steps of a round may be taken for several cells at once.

        Plug-in code and stateful parts are called for their own cell alone.
        """
        scenario, own = self.scenario, (id(self),)
        self.answering: tuple[Any, ...] = own
        if not self.algorithms.foreign:
            self.answering = (
                scenario.algorithm, scenario.granularity, scenario.cost, scenario.deadline,
                scenario.weights != "none",
            )  # fmt: skip
        self.remembers = self.algorithms.foreign or self.algorithm.remembers
        self.threat: tuple[Any, ...] = own
        alone = self.attacks.foreign or self.attack.stateful
        if not alone and (self.attack.columnwise or self.sees == "nothing"):
            self.threat = (
                scenario.attack, scenario.byzantine, scenario.lies_about_speed,
                scenario.learning_rate,
            )  # fmt: skip
            if isinstance(self.attack, Combined):  # attacks on heterogeneity look at the quorum
                self.threat += (scenario.quorum,)
        self.aim = own if self.attacks.foreign else (scenario.attack, scenario.byzantine)
        self.defence: tuple[Any, ...] = own
        at_once = not (self.rules.foreign or self.keeps or self.merges)
        if at_once and (self.rule.columnwise or self.rule.stackable):
            self.defence = (
                scenario.rule, scenario.tolerated, scenario.scope, scenario.quorum,
                scenario.weights,
            )  # fmt: skip
        self.stepping: tuple[Any, ...] = own
        if type(self.solver) is algorithms.GradientDescent:
            self.stepping = scenario.learning_rate, scenario.schedule

    def tossed(self, k: int) -> bool:
        """Say whether the coin of round k makes it a whole one."""
        return self.world.coin(k) < self._probability

    def begin(self, k: int, whole: bool | None = None) -> int | None:
        """Turn to the kind of round k; return how many a whole round asks, None if it is none.

        Args:
            k: the round.
            whole: its kind; None: as it comes. Only an algorithm of `differences` has whole ones.
        """
        if not self.differences:
            return None
        if whole is None:
            whole = self.last is None or self.tossed(k)
        self.algorithm, self.rule, self.server = self._kinds[whole]
        self.differs = not whole
        return self._pool if whole else None

    @property
    def models(self) -> int:
        """How many models its server sends to each worker in this round."""
        return 2 if self.differs else 1

    @property
    def joins(self) -> bool:
        """Whether its rule may aggregate the answers of several cells side by side."""
        return self.defence != (id(self),) and self.rule.columnwise

    @property
    def sorts(self) -> bool:
        """Whether its rule may look at columns that were sorted for several cells' rules."""
        return self.joins and self.rule.sorts

    @property
    def stacks(self) -> bool:
        """Whether its rule may aggregate the whole vectors of several cells in one call."""
        return self.defence != (id(self),) and self.rule.stackable

    @property
    def harmless(self) -> bool:
        """Whether its Byzantine workers follow the protocol."""
        return type(self.attack) is NoAttack

    def _boundary(self, kind: str, name: str, part: object, **more: Any) -> Boundary:
        # Of hgobench's own parts rules and attacks alone can take long.
        timed = kind in ("rule", "attack") or foreign(part)
        clock = self.clock if timed else None
        more = {"clock": clock, "seed": self.world.seed, "notes": self.notes, **more}
        return Boundary(kind, name, part, passes=(RuleError,), **more)

    def metrics_of(self, metric: Metric) -> Boundary:
        """Return the boundary of one of its metrics."""
        kind = type(metric)
        return self._boundary("metric", f"{kind.__module__}:{kind.__qualname__}", metric)

    def order(self, k: int) -> Order:
        """Return C_k."""
        places = len(self.places)
        if not self.algorithm.step and self.places.drawn:
            return Order(self.places, self.world.order(k, places))
        cyclic = np.roll(np.arange(places), -(k - 1) * self.algorithm.step)
        return Order(self.places, cyclic)

    def plan(
        self,
        budget: NDArray[np.float64],
        upload: NDArray[np.float64] | None,
        draw: Draw,
        order: Order,
    ) -> Plan:
        """Return how far each worker comes if it is honest.

        Args:
            budget, upload: (q,) what each may compute by the deadline, and what sending costs.
            draw: the round's workers.
            order: C_k.
        """
        algorithm = self.algorithm
        updates = algorithm.updates(budget, order, upload)
        self._check("updates", updates, len(draw.workers), 1, self.gradients)
        each, sending = budget, upload
        if self.gradients > 1:
            each, sending = budget / updates, None if upload is None else upload / updates
        lengths = np.minimum(
            algorithm.lengths(each, order, sending),
            algorithm.lengths(draw.coordinate_limit, order),
        )
        self._check("lengths", lengths, len(draw.workers), 0, len(order))
        return Plan(updates, lengths, np.minimum(each, draw.coordinate_limit))

    def computed(self, plan: Plan, order: Order) -> int:
        """Count the coordinates that the workers compute by a plan, sent or not."""
        total = 0
        for updates in np.unique(plan.updates).tolist():
            of = plan.of(plan.updates == updates)
            total += updates * self.algorithm.computed(of.budget, of.lengths, order)
        return total

    def accepted(self, k: int, lengths: NDArray[np.int64], order: Order) -> NDArray[np.int64]:
        """Return the lengths as the server takes them, (q,)."""
        with self.algorithms("accepted", k):
            taken = self.server.accepted(lengths, order)
            self._check("lengths", taken, len(lengths), 0, len(order))
        if self.algorithms.foreign and (taken > lengths).any():
            raise self.algorithms.error("its server accepts more places than were sent")
        return taken

    def scaled(
        self,
        k: int,
        values: Tensor,
        lengths: NDArray[np.int64],
        updates: NDArray[np.int64],
    ) -> Tensor:
        """Return answers as the server aggregates them in round k (see `Server.scaled`)."""
        with self.algorithms("scales", k):
            return self.server.scaled(values, lengths, updates)

    def clipped(self, k: int, values: Tensor, params: Tensor) -> Tensor:
        """Return differences as the server aggregates them in round k, (q, d), at w_k, (d,)."""
        assert self.last is not None
        step = float((params - self.last.params).double().square().sum().sqrt())
        with self.algorithms("longest", k):
            longest = self.algorithm.longest(step)
            if self.algorithms.foreign and (problem := wrong_longest(longest)):
                raise self.algorithms.error(problem)
        return values if longest is None else self.server.clipped(values, longest)

    def since(self, answer: Tensor, block: Tensor | None) -> Tensor:
        """Return what the server steps by, given the rule's answer on the block, both (b,).

        If that is of differences, it is added to what the server aggregated last.
        """
        if not self.differs:
            return answer
        assert self.last is not None
        last = self.last.aggregate if block is None else self.last.aggregate[block]
        return last + answer

    def note_aggregate(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        """Remember what the server steps by at w_k, (d,), if differences are to be taken from it.

        Coordinates outside the block keep their last aggregate, at first 0.
        """
        if not self.differences:
            return
        whole = torch.zeros_like(params) if self.last is None else self.last.aggregate.clone()
        whole[slice(None) if block is None else block] = aggregate.to(whole)
        self.last = Last(params.clone(), whole)

    def recall(
        self,
        k: int,
        workers: NDArray[np.int64],
        values: Tensor,
        lengths: NDArray[np.int64],
        order: Order,
        examples: NDArray[np.int64],
        *,
        keep: bool = False,
    ) -> Reception | None:
        """Return what its server aggregates of what it holds of workers; None: the round stalls.

        Args:
            k: the round.
            workers: (q,) who was asked.
            values, lengths: (q, d) and (q,), what arrived as the server takes it.
            order: C_k.
            examples: (q,) how many each claims to have.
            keep: whether that is what it holds from now on; else it is only tried.
        """
        with self.algorithms("held", k):
            share = -(-self.server.quorum * len(workers) // self._pool)
            arrived = Arrived(k, workers, values, lengths, order, share)
            held = self.algorithm.held(arrived, self.held)
            if self.algorithms.foreign and (problem := wrong_held(held, order.dimension)):
                raise self.algorithms.error(problem)
        claims = self._claims.copy()
        claims[workers[lengths > 0]] = examples[lengths > 0]
        if keep:
            self.held, self._claims = held, claims
        return self.server.recall(held, claims[held.workers])

    def _check(self, what: str, numbers: object, workers: int, least: int, most: int) -> None:
        """Raise unless an algorithm of others says such numbers of each worker."""
        if self.algorithms.foreign and (
            problem := wrong_numbers(what, numbers, workers, least, most)
        ):
            raise self.algorithms.error(problem)

    def view(self, k: int, draw: Draw, params: Tensor, reception: Reception) -> ServerView:
        """Return what the cell's server knows of the round; a rule is told what it says it needs.

        Boards say which rules need more than the workers' values.
        """
        needs, workers = self.rule.needs, reception.who(draw.workers)
        asked = draw.staleness if reception.held is None else None
        return ServerView(
            round=k,
            workers=workers,
            coordinates=reception.block,
            dimension=len(params),
            honest=~self.byzantine[workers] if "honest" in needs and not self.merges else None,
            weights=reception.weights,
            staleness=None if asked is None else asked[reception.rows],
            root=ServerData(self, k, params, reception.block) if "root" in needs else None,
            stream=lambda step: stream(self.world.seed, "rule", k, step),
        )

    @cached_property
    def _attackers_examples(self) -> tuple[Tensor, Tensor]:
        return self.world.examples_of(self.byzantine, ATTACKERS_EXAMPLES)

    @cached_property
    def facts(self) -> Facts:
        """What its attackers know of the data."""
        data = self.world.data
        return Facts(
            classes=data.classes,
            image=data.train.image,
            vocabulary=data.vocabulary,
            largest=self.world.largest.clone(),
            features=self._attackers_examples[0],
            labels=self._attackers_examples[1],
        )

    def goal(self, k: int) -> tuple[Tensor, Tensor] | None:
        """Return the inputs on which its attack's success is measured, and the classes wanted.

        Of the test examples it is offered `SUCCESS_EXAMPLES`, drawn once for all cells of a world.

        Args:
            k: the round.

        Returns:
            Inputs (M, p) and classes (M,); None: the attack has no target, or found no such input.
        """
        if not self.targeted:
            return None
        x, y = self.world.some_of_test(SUCCESS_EXAMPLES)
        with self.attacks("goal", k):
            goal = self.attack.goal(x, y, self.facts)
        if self.attacks.foreign and (problem := _wrong_goal(goal, x, self.world.data.classes)):
            raise self.attacks.error(f"goal returned {problem}")
        return goal if goal is not None and len(goal[1]) else None

    def attackers_loss(self, k: int, models: Tensor) -> Tensor:
        """Return, in round k, the loss of models (m, d) on what Byzantine workers hold, (m,)."""
        return self.world.evaluate(k, models, *self._attackers_examples)[0]

    def spend(self, coordinates: int, sent: int) -> None:
        """Take a round's coordinates and bytes off the budgets, after its time is counted."""
        self._spent[0] += coordinates
        self._spent[1] += sent
        scenario, (computed, bytes_) = self.scenario, self._spent
        self.over = (
            self.time >= scenario.time_budget
            or computed >= scenario.coordinate_budget
            or bytes_ >= scenario.byte_budget
        )

    def note(self, text: str) -> None:
        """Say something of the run that does not end it."""
        self.notes.append(plain(text))

    def end(self, status: Status, reason: str) -> None:
        """End; a later reason takes the place of an earlier one."""
        self.status, self.reason = status, reason

    def lose(self, k: int, reason: str) -> None:
        """End in round k as failed, whether or not the round has a row."""
        self.end("failed", f"round {k}: {plain(reason)}")
        self.ledger.fail(k, self.time)

    def result(self, seconds: float, provenance: dict[str, Any], notes: Sequence[str]) -> Result:
        """Close the books.

        Args:
            seconds: of CPU time.
            provenance: as in a `Result`.
            notes: what parts that it shares with others changed, and was put back.
        """
        provenance = {**provenance, "needs": self.needs}
        reason = "; ".join([self.reason] * bool(self.reason) + [*notes, *self.notes])
        return Result(
            self.scenario,
            self.ledger.table(),
            self.status,
            reason,
            provenance,
            seconds=seconds,
            right=self.right if self.status == "done" else None,
            measures=self.measures if self.status == "done" else {},
            server_seconds=self.server_seconds,
        )


class Attempt:
    """A step of round k that may end its cells: whatever it raises, others go on.

    Ctrl-C passes, and what is not an exception of the cells' parts.
    """

    def __init__(self, k: int, *cells: Cell) -> None:
        self.k, self.cells = k, cells

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, (Exception, OutOfTime, SystemExit)):
            return False
        for cell in self.cells:
            self._end(cell, error)
        return True

    def _end(self, cell: Cell, error: BaseException) -> None:
        where = f"round {self.k}"
        if isinstance(error, NonFiniteError):
            cell.end("diverged", f"{where}: {error_text(error).partition(': ')[2]}")
        elif isinstance(error, (PluginError, OutOfTime)):
            cell.end("failed", f"{where}: {error}")
        elif isinstance(error, RuleError):
            who = f"{cell.rules.who}: " if cell.rules.foreign else ""
            at = raised_at(error, cell.rules.packages) if cell.rules.foreign else ""
            cell.end("failed", f"{where}: {who}{error_text(error)}{at}")
        else:
            cell.end("failed", f"{where}: {_raised_by(error, cell)}{error_text(error)}")


def _homes(cell: Cell) -> dict[str, Boundary]:
    """Return where the code of a cell's parts is, and the boundary that knows each one's name."""
    return {
        "hgobench.attacks": cell.attacks,
        "hgobench.aggregators": cell.rules,
        "hgobench.algorithms.solvers": cell.solvers,
        "hgobench.algorithms": cell.algorithms,
        "hgobench.models": cell.world.models,
    }


def _raised_by(error: BaseException, cell: Cell) -> str:
    """Return which of a cell's parts an exception came from, as a prefix; empty: from none.

    Where one called another, as attacks try the server's rule, it is the innermost.
    """
    who, homes = "", _homes(cell)
    for frame, _ in walk_tb(error.__traceback__):
        module = f"{frame.f_globals.get('__name__')}."
        if home := next((home for home in homes if module.startswith(f"{home}.")), ""):
            who = f"{homes[home].who}: "
    return who


def _wrong_goal(goal: object, x: Tensor, classes: int) -> str:
    """Say what is wrong with what a plug-in attack wants; empty: nothing."""
    if goal is None:
        return ""
    pair = goal if isinstance(goal, tuple) and len(goal) == 2 else (None, None)
    inputs, wanted = pair
    if not isinstance(inputs, torch.Tensor) or not isinstance(wanted, torch.Tensor):
        return "no inputs and classes; expected tensors (M, p) and (M,), or None"
    shapes = tuple(inputs.shape), tuple(wanted.shape)
    if shapes != ((len(inputs), x.shape[1]), (len(inputs),)) or inputs.dtype != x.dtype:
        return f"inputs {shapes[0]} and classes {shapes[1]}; expected (M, {x.shape[1]}) and (M,)"
    if wanted.is_floating_point() or not ((wanted >= 0) & (wanted < classes)).all():
        return f"classes outside 0 .. {classes - 1}"
    return ""


class ServerData:
    """Clean training examples at a cell's server, for the rules that need them.

    Args:
        cell: whose.
        k: the round.
        params: (d,) its parameters w.
        block: (b,) int64, the coordinates that it updates; None: all.
    """

    def __init__(self, cell: Cell, k: int, params: Tensor, block: Tensor | None) -> None:
        self.cell, self.k, self.params, self.block = cell, k, params, block

    @property
    def rate(self) -> float:
        """Return the round's learning rate γ."""
        block = len(self.params) if self.block is None else len(self.block)
        with self.cell.solvers("rate", self.k):
            return self.cell.solver.rate(block, len(self.params))

    def gradient(self, examples: int) -> Tensor:
        """Return the mean gradient of so many examples on the block, (b,)."""
        world = self.cell.world
        x, y = world.root(examples)
        whole: Tensor = world.gradients(self.k, self.params[None], x[None], y[None])[0, 0]
        return whole if self.block is None else whole[self.block]

    def descent(self, updates: Tensor, examples: int) -> Tensor:
        """Return L(w) - L(w - γ·u) for each update u of the block, (m, b) -> (m,)."""
        x, y = self.cell.world.root(examples)
        stepped = self.params.repeat(1 + len(updates), 1)
        block = slice(None) if self.block is None else self.block
        stepped[1:, block] -= self.rate * updates.to(stepped)
        loss, _ = self.cell.world.evaluate(self.k, stepped, x, y)
        return loss[0] - loss[1:]
