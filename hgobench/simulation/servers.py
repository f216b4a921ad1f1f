"""What the servers of a round's cells do: rules and steps, for several cells at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hgobench.aggregators import Answer, Columns, ServerView
from hgobench.aggregators.columns import Sent
from hgobench.kernels.arrays import all_finite
from hgobench.kernels.sorting_network import not_compiled
from hgobench.lazy import Tensor, torch
from hgobench.metrics.influence import Used, used_beside
from hgobench.protocol import Reception
from hgobench.scenario import Scenario

from .answers import Answers, index_of
from .cell import Attempt
from .turns import JointCall, ServerTime, Turn, groups
from .world import Draw, World


@dataclass(frozen=True)
class Step:
    """What the server of one cell is about to do.

    Attributes:
        scenario: the cell's.
        round: k, from 1.
        params: (d,) w_k; it changes in place afterwards.
        block: (b,) int64, the coordinates that are updated; None: all.
        aggregate: (b,) AG(w_k) on them; empty if the round stalls.
    """

    scenario: Scenario
    round: int
    params: Tensor
    block: Tensor | None
    aggregate: Tensor


class Answered(NamedTuple):
    """What a cell's rule answered.

    Attributes:
        turn: the cell's.
        reception: what has an answer of what its server took; None: the round stalls.
        values: (b,) what the server steps by: the answer, or if that is of differences, what it
            makes of its last aggregate.
    """

    turn: Turn
    reception: Reception | None
    values: Tensor


class Beside(NamedTuple):
    """What servers took of several cells, the coordinates side by side.

    Attributes:
        values: (m, G·b) the answers.
        sent: who sent what of them; None: all.
        view: what the servers know. All that a rule that treats each coordinate by itself may know
            of the model is how large it is.
        columns: the values sorted; None: they are not.
    """

    values: Tensor
    sent: Sent | None
    view: ServerView
    columns: Columns | None = None


class Servers:
    """The servers of the cells of a round.

    Args:
        k: the round, from 1.
        world: the cells'.
        draw: the round's workers.
        params: (R, d), a row per cell; updated in place.
        answers: what workers send.
        observe: called with every `Step` before it is taken.

    Attributes:
        receptions: what the server of each row's cell aggregated; None: the round stalled.
    """

    def __init__(
        self,
        k: int,
        world: World,
        draw: Draw,
        params: Tensor,
        answers: Answers,
        observe: Callable[[Step], None] | None,
    ) -> None:
        self.k, self.world, self.draw = k, world, draw
        self.params, self.answers, self.observe = params, answers, observe
        self.receptions: dict[int, Reception | None] = {}
        self._turns: Sequence[Turn] = ()

    def aggregate(self, turns: Sequence[Turn]) -> None:
        """Let servers aggregate and step; each cell is charged its share of the time."""
        self._turns = turns
        answered: list[Answered] = []
        for alike in groups(turns, self._receiving):
            answered += self._answers(alike)
        for together in groups(answered, lambda one: (id(one.reception), one.turn.cell.stepping)):
            cells = [one.turn for one in together]
            with ServerTime(cells), Attempt(self.k, *(turn.cell for turn in cells)):
                self._step(together)

    def _receiving(self, turn: Turn) -> Hashable:
        return turn.cell.answering, turn.cell.receiving, id(turn.lengths), id(turn.examples)

    def _defence(self, turn: Turn) -> Hashable:
        return turn.cell.answering, turn.cell.defence, id(turn.lengths), id(turn.examples)

    def _reception(self, turn: Turn) -> Reception | None:
        """Return what a cell's server aggregates; None: it stalls."""
        cell = turn.cell
        assert turn.order is not None
        if cell.keeps:
            values, workers = self.answers.values[turn.r], self.draw.workers
            came = workers, values, turn.lengths, turn.order, turn.examples
            return cell.recall(self.k, *came, keep=True)
        return cell.server.receive(turn.lengths, turn.order, self.world.device, turn.examples)

    def _answers(self, alike: Sequence[Turn]) -> list[Answered]:
        """Aggregate what servers took alike: for cells of one rule at once, if it allows that."""
        reception = None
        with ServerTime(alike), Attempt(self.k, *(turn.cell for turn in alike)):
            reception = self._reception(alike[0])
        if not alike[0].under_way:
            return []
        self.receptions.update((turn.r, reception) for turn in alike)
        if reception is None:  # the round stalls
            return [Answered(turn, None, self.params.new_zeros(0)) for turn in alike]
        found = list[Answered]()
        for batch in self._batches(alike):
            for group, taken in zip(batch, self._sorted(batch, reception), strict=True):
                with ServerTime(group):
                    found += self._answers_of(group, reception, taken)
        return found

    def _batches(self, alike: Sequence[Turn]) -> Iterator[list[Sequence[Turn]]]:
        """Yield groups of cells of one rule: together those whose rules may share sorted columns.

        As many cells are together as fit side by side.
        """
        batch, cells, room = list[Sequence[Turn]](), 0, self.answers.at_once()
        for group in groups(alike, self._defence):
            for start in range(0, len(group), room):
                some = group[start : start + room]
                if not some[0].cell.sorts:
                    yield [some]
                    continue
                if batch and cells + len(some) > room:
                    yield batch
                    batch, cells = [], 0
                batch.append(some)
                cells += len(some)
        if batch:
            yield batch

    def _answers_of(
        self, group: Sequence[Turn], reception: Reception, taken: Beside | None
    ) -> Iterator[Answered]:
        """Aggregate: for all cells of a group at once, else for each by itself."""
        for turn, values in zip(group, self._at_once(group, reception, taken), strict=True):
            if values is not None:
                yield self._answered(turn, reception, values)
                continue
            with Attempt(self.k, turn.cell):
                answer = self._alone(turn, reception)
                yield self._answered(turn, *reception.answered(answer))

    def _sorted(self, batch: Sequence[Sequence[Turn]], reception: Reception) -> list[Beside | None]:
        """Sort what servers took in several groups in one call; None: each group sorts its own.

        Each cell is charged its share of the time.
        """
        found: list[Beside | None] = [None] * len(batch)
        turns, start = [turn for group in batch for turn in group], 0
        if len(batch) > 1:
            with ServerTime(turns), JointCall(turns), turns[0].cell.rules("call", self.k):
                values, sent, view, _ = self._beside(turns, reception)
                columns = Columns.sort(values, sent, view)
                for place, group in enumerate(batch):
                    part = slice(start, start + len(group) * reception.size)
                    found[place] = Beside(values[:, part], None, view, columns.part(part))
                    start = part.stop
        return found

    def _answered(self, turn: Turn, reception: Reception | None, answer: Tensor) -> Answered:
        """Return what a cell's server steps by, given its rule's answer, and let it remember it."""
        cell = turn.cell
        if cell.differences and reception is not None:
            answer = cell.since(answer, reception.block)
            cell.note_aggregate(self.params[turn.r], reception.block, answer)
        return Answered(turn, reception, answer)

    def _at_once(
        self, group: Sequence[Turn], reception: Reception, taken: Beside | None
    ) -> Sequence[Tensor | None]:
        """Return the answers of several cells' rule; None of a cell whose rule is called alone."""
        answers: Sequence[Tensor | None] | None = None
        if group[0].cell.joins:
            answers = self._joined(group, taken or self._beside(group, reception))
        elif group[0].cell.stacks and reception.unweighted_vectors:
            answers = self._stacked(group, reception)
        return [None] * len(group) if answers is None else answers

    def _stacked(
        self, group: Sequence[Turn], reception: Reception
    ) -> Sequence[Tensor | None] | None:
        """Return what several cells' rule makes of whole vectors; None: not so."""
        rows = self.world.to_device(reception.rows)
        stack = self.answers.stacked([turn.r for turn in group], rows, reception.block)
        cell, answers = group[0].cell, None
        with JointCall(group), cell.rules("call", self.k):
            answers = cell.rule.stacked(stack)
        return answers

    def influences(self, rows: Collection[int]) -> dict[int, Used]:
        """Return how far the rules of some cells follow each worker, as `used` does, by row.

        Cells whose rules sort columns and tell it are asked together; of others there is none.
        """
        found = dict[int, Used]()
        if self.world.device.type != "cpu":
            return found
        ended = [turn for turn in self._turns if turn.r in rows and turn.cell.sorts]
        for alike in groups(ended, self._receiving):
            reception = self.receptions.get(alike[0].r)
            if reception is None or reception.weights is not None:
                continue
            for batch in self._batches(alike):
                turns = [turn for group in batch for turn in group]
                asked = [(group[0].cell.rule, len(group)) for group in batch]
                with JointCall(turns), turns[0].cell.rules("call", self.k), not_compiled():
                    values, sent, view, _ = self._beside(turns, reception)
                    told = used_beside(asked, values, sent, view)
                    for turn, one in zip(turns, told, strict=True):
                        if one is not None:
                            found[turn.r] = one
        return found

    def _beside(self, group: Sequence[Turn], reception: Reception) -> Beside:
        """Return what servers took in several cells, the coordinates side by side."""
        rows = self.world.to_device(reception.rows)
        values = self.answers.beside([turn.r for turn in group], rows, reception.block)
        sent = None if reception.sent is None else reception.sent.beside(len(group))
        size, weights = self.params.shape[1], reception.weights
        return Beside(values, sent, ServerView(round=self.k, dimension=size, weights=weights))

    def _joined(self, group: Sequence[Turn], taken: Beside) -> Sequence[Tensor | None] | None:
        """Return what several cells' rule makes of coordinates side by side; None: not so."""
        cell, answer = group[0].cell, None
        with JointCall(group), cell.rules("call", self.k):
            answer = cell.rule.beside(*taken)
        return None if answer is None else list(answer.view(len(group), -1))

    def _alone(self, turn: Turn, reception: Reception) -> Answer:
        """Return the answer of one cell's rule on the block."""
        cell, r = turn.cell, turn.r
        with cell.rules("call", self.k):
            view = cell.view(self.k, self.draw, self.params[r], reception)
            return cell.server.aggregate(self.answers.values[r], reception, view)

    def _step(self, group: Sequence[Answered]) -> None:
        """Update the parameters of cells by their answers on the same block."""
        params, k, turns = self.params, self.k, [one.turn for one in group]
        reception = group[0].reception
        block = None if reception is None else reception.block
        if self.observe is not None:
            for turn, _, answer in group:
                self.observe(Step(turn.cell.scenario, k, params[turn.r], block, answer))
        finite = [False] * len(group)
        if reception is not None and len(group) > 1:
            rows = index_of([turn.r for turn in turns], params.device)
            answers = torch.stack([one.values for one in group])
            rate = turns[0].cell.solver.rate(answers.shape[1], params.shape[1])
            scaled = answers * -rate
            if block is None:
                params.index_add_(0, rows, scaled)
            else:
                index = (rows[:, None] * params.shape[1] + block).view(-1)
                params.view(-1).index_add_(0, index, scaled.view(-1))
            finite = np.isfinite(params.index_select(0, rows).sum(dim=1).cpu().numpy()).tolist()
        elif reception is not None:
            (turn,) = turns
            with turn.cell.solvers("step", k):
                turn.cell.server.step(params[turn.r], reception, group[0].values)
        for turn, good in zip(turns, finite, strict=True):
            turn.updated = len(group[0].values)
            if not good and not all_finite(params[turn.r]):
                turn.cell.end("diverged", f"round {k}: the parameters are not finite")
