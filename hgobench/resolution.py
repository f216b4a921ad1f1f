"""What a user leaves open in a scenario is worked out here, and fields are held against each other.

The fields that this looks at are those declared `related`; nothing else about a scenario matters.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hgobench import catalogue
from hgobench.boundary import Boundary, PluginError
from hgobench.errors import InputError, shown


class Resolved(NamedTuple):
    """The fields that may be left open.

    Attributes:
        scope: what the rule is on ragged answers.
        tolerated, sampled, quorum: f̂, q and v.
    """

    scope: str
    tolerated: int
    sampled: int
    quorum: int


class _Rule(NamedTuple):
    on_parts: str
    columnwise: bool
    minimum: int
    maximum: float
    weighted: bool
    told_honest: bool


@dataclass(frozen=True)
class Resolver:
    """Works scenarios out; what rules and algorithms are is asked once of each.

    It forgets nothing: of code that may be another under the same name, a user's, a `Resolver` of
    one's own asks anew.
    """

    rules: dict[tuple[str, int, str | None], _Rule | InputError] = field(default_factory=dict)
    algorithms: dict[str, Any] = field(default_factory=dict)
    workloads: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Resolver:
        """Return the one for what some fields name."""
        named = {name: fields[name] for name in ("rule", "algorithm", "workload")}
        texts = {name: text for name, text in named.items() if isinstance(text, str)}
        return cls() if catalogue.foreign(texts) else _OWN

    def resolve(
        self, v: Mapping[str, Any], broken: Collection[str] = ()
    ) -> tuple[Resolved | None, list[str]]:
        """Return the fields that may be left open, and what is wrong between fields.

        Args:
            v: the related fields, each right by itself; None: to be worked out.
            broken: those that are wrong by themselves. What involves them is left out, so that
                nothing is said twice.

        Returns:
            None in place of the fields where they can't be worked out.
        """
        broken, problems = set(broken), list[str]()
        if not broken & {"workers", "byzantine"} and 2 * v["byzantine"] >= v["workers"]:
            problems.append(
                f"byzantine: {v['byzantine']}; expected less than half of workers={v['workers']}"
            )
            broken.add("byzantine")
        sampled = v["workers"] if v["sampled"] is None else v["sampled"]
        if not broken & {"workers", "sampled"} and sampled > v["workers"]:
            problems.append(f"sampled: {sampled}; expected at most workers={v['workers']}")
            broken.add("sampled")
        if v["attack"] != "none" and not broken & {"attack", "byzantine", "attack_start", "rounds"}:
            if v["byzantine"] == 0:
                problems.append(
                    f"attack: {v['attack']!r}; expected byzantine >= 1, or it attacks nobody"
                )
            if v["attack_start"] >= v["rounds"]:
                problems.append(
                    f"attack_start: {v['attack_start']}; expected less than rounds={v['rounds']}"
                )
        if not broken & {"attack_start", "attack_stop"} and v["attack_stop"] <= v["attack_start"]:
            problems.append(
                f"attack_stop: {v['attack_stop']}; expected more than attack_start="
                f"{v['attack_start']}, or no round is attacked"
            )
        if "algorithm" not in broken and (problem := self._asynchrony(v["algorithm"])):
            problems.append(problem)
            broken.add("algorithm")
        if not broken & {"algorithm", "workload"}:
            partial = self.algorithm(v["algorithm"]).partial
            if not partial and not self.whole(v["workload"]):
                problems.append(
                    f"workload: {v['workload']!r} never computes a whole gradient, and "
                    f"{v['algorithm']!r} takes no other"
                )
            if self.algorithm(v["algorithm"]).differences and v["workload"] != "fixed":
                problems.append(
                    f"workload: {v['workload']!r} gives workers time for one gradient on their "
                    f"examples; expected 'fixed', as {v['algorithm']!r} takes two on the same"
                )
        if broken & {"workers", "byzantine", "sampled", "tolerated", "quorum"}:
            return None, problems

        pool, problem = sampled, ""
        if "algorithm" not in broken:
            pool, problem = self.pool(v["algorithm"], sampled, v["workers"])
        if problem:
            return None, [*problems, problem]
        who = f"sampled={sampled}"
        if pool != sampled:
            keeps = "algorithm" not in broken and self.algorithm(v["algorithm"]).keeps
            who = f"{pool} workers that are {'remembered' if keeps else 'asked in whole rounds'}"
        most, quorum = (pool - 1) // 2, v["quorum"]
        tolerated = v["tolerated"]
        if "algorithm" not in broken and (answers := self.algorithm(v["algorithm"]).answers):
            if answers > sampled:
                problems.append(
                    f"algorithm: {v['algorithm']!r} steps on {answers} answers at once; sampled is "
                    f"{sampled}"
                )
                return None, problems
            if tolerated is None and not self.algorithm(v["algorithm"]).judges:
                most = (answers - 1) // 2  # of those that the rule gets
        if tolerated is None:
            tolerated = min(
                v["byzantine"], most if quorum is None else min(most, (quorum - 1) // 2)
            )
        elif tolerated > most:
            problems.append(
                f"tolerated: {tolerated}; expected at most {most}, less than half of {who}"
            )
            return None, problems
        if quorum is not None and quorum > pool:
            problems.append(f"quorum: {quorum}; expected at most {who}")
            broken.add("quorum")
        if broken & {"rule", "algorithm", "scope", "quorum"}:
            return None, problems
        try:
            found = self._with_rule({**v, "sampled": sampled}, tolerated, pool, broken)
        except InputError as error:
            return None, [*problems, *error.problems]
        return (None if problems else found._replace(sampled=sampled)), problems

    def _with_rule(
        self, v: Mapping[str, Any], tolerated: int, sampled: int, broken: Collection[str]
    ) -> Resolved:
        algorithm, rule = (
            self.algorithm(v["algorithm"]),
            self.rule(v["rule"], tolerated, v["scope"]),
        )
        if "weights" not in broken and v["weights"] != "none":
            from hgobench.protocol import cannot_weigh

            if algorithm.merges:
                raise InputError(
                    f"weights: {v['weights']!r}; expected 'none', as {v['algorithm']!r} averages "
                    "answers before the rule sees them"
                )
            told = rule.weighted, rule.minimum, tolerated
            if problem := cannot_weigh(v["weights"], v["rule"], *told):
                raise InputError(problem)
        if algorithm.merges and rule.told_honest:
            raise InputError(
                f"rule: {v['rule']!r} needs to know who is honest; {v['algorithm']!r} averages "
                "answers of several workers before the rule sees them"
            )
        scope, quorum = v["scope"], v["quorum"]
        if scope is None:
            scope = rule.on_parts if algorithm.partial else "block"
        elif scope in ("staircase", "masked") and not algorithm.partial:
            raise InputError(
                f"scope: {scope!r}; expected 'block', as {v['algorithm']!r} takes whole gradients "
                "alone, where the two are the same"
            )
        if quorum is None:
            quorum = min(self.quorum(v["algorithm"], tolerated, rule.minimum), sampled)
        elif quorum < (least := self.quorum(v["algorithm"], tolerated, 1)):
            raise InputError(
                f"quorum: {quorum}; expected at least {least}, more than 2 * tolerated = "
                f"{2 * tolerated}"
            )
        if rule.maximum < (answers := algorithm.answers or sampled):
            who = f"{v['algorithm']!r} steps on" if algorithm.answers else "sampled is"
            raise InputError(
                f"rule: {v['rule']!r} aggregates at most {rule.maximum:.0f} answers at tolerated="
                f"{tolerated}; {who} {answers}"
            )
        if algorithm.answers and rule.minimum > answers:
            raise InputError(
                f"rule: {v['rule']!r} needs {rule.minimum} answers for tolerated={tolerated}; "
                f"{v['algorithm']!r} steps on {answers}"
            )
        if algorithm.answers and quorum > answers:
            raise InputError(
                f"quorum: {quorum}; expected at most {answers}, as {v['algorithm']!r} steps on so "
                "many answers"
            )
        if rule.minimum > quorum:
            raise InputError(
                f"rule: {v['rule']!r} needs {rule.minimum} answers for tolerated="
                f"{tolerated}; quorum is {quorum} of sampled={sampled}"
            )
        if algorithm.differences:
            self.of_sample(v, tolerated, sampled)
        return Resolved(scope, tolerated, sampled, quorum)

    def of_sample(self, v: Mapping[str, Any], tolerated: int, pool: int) -> int:
        """Return the most Byzantine workers, up to f̂, that a rule tolerates with q answers.

        Args:
            v: the scenario's fields, with its q.
            tolerated: f̂, of the workers of a whole round.
            pool: how many these are.

        Raises:
            InputError: it is a smaller share of q than f̂ is of the pool, and not as many as can be
                less than half; or the answers are too many.
        """
        q = int(v["sampled"])
        fewest = min(-(-tolerated * q // pool), (q - 1) // 2)
        whose = f"sampled is {q}, of which {v['algorithm']!r} takes differences"
        for most in range(min(tolerated, (q - 1) // 2), fewest - 1, -1):
            rule = self.rule(v["rule"], most, v["scope"])
            if rule.minimum <= q <= rule.maximum:
                return most
        rule = self.rule(v["rule"], fewest, v["scope"])
        if rule.maximum < q:
            raise InputError(
                f"rule: {v['rule']!r} aggregates at most {rule.maximum:.0f} answers at tolerated="
                f"{fewest}; {whose}"
            )
        raise InputError(
            f"rule: {v['rule']!r} needs {rule.minimum} answers to tolerate {fewest}, as many of "
            f"them as tolerated={tolerated} are of {pool}; {whose}"
        )

    def stated_scope(self, v: Mapping[str, Any]) -> str:
        """Return the scope of a scenario where its rule's name does not say it; else empty.

        The name says it of a coordinate-wise rule that aggregates each coordinate by itself, and of
        a rule that gets whole vectors.

        Args:
            v: the scenario's fields, worked out.
        """
        scope = str(v["scope"])
        whole = not self.algorithm(v["algorithm"]).partial
        columnwise = self.rule(v["rule"], v["tolerated"], scope).columnwise
        known = "block" if whole else "coordinate" if columnwise else ""
        return "" if scope == known or (whole and columnwise) else scope

    def _asynchrony(self, specification: str) -> str:
        """Say what is wrong with an algorithm that goes on at once; empty: nothing."""
        algorithm = self.algorithm(specification)
        if algorithm.continuous and algorithm.partial:
            return (
                f"algorithm: {specification!r} is continuous and partial; expected one of the two, "
                "as parts of different orders can't be aggregated together"
            )
        if algorithm.keeps and not algorithm.by_rounds:
            return (
                f"algorithm: {specification!r} goes by events and keeps values; expected one "
                "of the two"
            )
        other = algorithm.partial or algorithm.keeps or not algorithm.by_rounds
        if algorithm.differences and other:
            return (
                f"algorithm: {specification!r} takes differences; expected it to take whole "
                "answers, to go by rounds, and to keep no values"
            )
        return ""

    def algorithm(self, specification: str) -> Any:
        """Return the algorithm that is called so."""
        if specification not in self.algorithms:
            self.algorithms[specification] = catalogue.registry("algorithm").build(specification)
        return self.algorithms[specification]

    def quorum(self, specification: str, tolerated: int, minimum: int) -> int:
        """Return an algorithm's default v (see `Algorithm.quorum`).

        Raises:
            InputError: the algorithm is a user's, and raises or returns something else.
        """
        algorithm = self.algorithm(specification)
        try:
            with Boundary("algorithm", specification, algorithm, seed=0)("quorum"):
                quorum: object = algorithm.quorum(tolerated, minimum)
        except PluginError as error:
            raise InputError(error.problem) from error
        if not isinstance(quorum, int) or quorum < minimum:
            raise InputError(
                f"algorithm: {specification!r}: its quorum: {shown(quorum)}; expected a whole "
                f"number, at least the rule's {minimum}"
            )
        return quorum

    def pool(self, specification: str, sampled: int, workers: int) -> tuple[int, str]:
        """Return of how many workers the rule may get values (`Algorithm.pool`), or what is wrong.

        Args:
            specification: of the algorithm.
            sampled, workers: q and n.
        """
        algorithm = self.algorithm(specification)
        if not algorithm.pools:
            return sampled, ""
        try:
            with Boundary("algorithm", specification, algorithm, seed=0)("pool"):
                pool: object = algorithm.pool(sampled, workers)
        except PluginError as error:
            return 0, error.problem
        if not isinstance(pool, int) or not sampled <= pool <= workers:
            what = f"its pool: {shown(pool)}; expected a whole number"
            if algorithm.differences:
                what = f"whole rounds ask {shown(pool)} workers; expected a whole number"
            return 0, (
                f"algorithm: {specification!r}: {what} from sampled={sampled} to workers={workers}"
            )
        return pool, ""

    def whole(self, workload: str) -> bool:
        """Say whether workers may compute whole gradients under a workload."""
        if workload not in self.workloads:
            self.workloads[workload] = catalogue.registry("workload").build(workload).whole
        return self.workloads[workload]

    def rule(self, specification: str, f: int, scope: str | None) -> _Rule:
        """Return what a rule that is told f takes.

        Raises:
            InputError: the rule can't be made.
        """
        key = specification, f, scope
        if key not in self.rules:
            self.rules[key] = _asked(*key)
        found = self.rules[key]
        if isinstance(found, InputError):
            raise found
        return found


def _asked(specification: str, f: int, scope: str | None) -> _Rule | InputError:
    from hgobench import aggregators

    try:
        rule = aggregators.build(specification, f=f, scope=scope)  # type: ignore[arg-type]
        columnwise = rule.scopes() == ("block", "coordinate")
        takes = rule.minimum, rule.maximum, bool(rule.weighted), "honest" in rule.needs
        return _Rule(rule.scope_on_parts, columnwise, *takes)
    except InputError as error:
        return error.with_traceback(None)


_OWN = Resolver()
