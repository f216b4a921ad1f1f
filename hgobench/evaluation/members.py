"""Ensembles of attacks: versioned tables of members, by stage, that evaluations refer to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Stage = Literal["fault", "fixed", "optimised", "heterogeneity", "adaptive", "black_box"]
STRONGEST = "*"  # in a member's attack: the value attack that is the worst of the stages before


@dataclass(frozen=True)
class Member:
    """An attack of the ensemble; of its variants each row meets the one that is worst for it.

    Attributes:
        name: what boards call it.
        stage: ``"fault"``: what breaks by itself; ``"fixed"``: of a fixed strength;
            ``"optimised"``: whose strength is chosen anew in every round; ``"heterogeneity"``:
            lies about speed before the strongest value attack so far; ``"adaptive"``: fitted to
            the row, by looking at its model and its rule or by whole runs; ``"black_box"``: a
            search that knows nothing of attacks, to see whether the others are weak.
        attacks: the variants; ``*`` is the strongest fixed or optimised attack so far.
        strongest: how many of the strongest ``*`` stands for, one after the other.
        scheduled: whether it also looks for the rounds in which to attack.
        seeds: on how many selection seeds it runs; None: all. One that runs on fewer is compared,
            and never reported.
    """

    name: str
    stage: Stage
    attacks: tuple[str, ...]
    strongest: int = 1
    scheduled: bool = False
    seeds: int | None = None

    @property
    def follows(self) -> bool:
        """Whether its attacks are known only when other members have run."""
        return any(STRONGEST in attack for attack in self.attacks)

    def permitted(self, permits: Callable[[Iterable[str]], list[str]]) -> tuple[str, ...]:
        """Return the variants that `permits` keeps; what follows a value attack needs no more."""
        return self.attacks if self.follows else tuple(permits(self.attacks))

    def variants(self, strongest: Iterable[str]) -> list[str]:
        """Return its attacks, with each of the strongest so far in the place of ``*``.

        >>> Member("tail", "heterogeneity", ("tail+*",)).variants(["fang", "foe"])
        ['tail+fang']
        """
        if not self.follows:
            return list(self.attacks)
        first = list(strongest)[: self.strongest]
        return [attack.replace(STRONGEST, known) for known in first for attack in self.attacks]


def _one(stage: Stage, *attacks: str) -> list[Member]:
    """Return a member for each attack that has no variants."""
    return [Member(attack.partition("[")[0], stage, (attack,)) for attack in attacks]


def _alie(signs: str) -> Member:
    more = [] if signs == "minus" else [f"signs={signs}"]
    # z=20 is so far that rules of bounded influence are pulled as far as they can be.
    given = [
        ",".join([*strength, *more]) for strength in ([], ["z=1"], ["z=1.5"], ["z=3"], ["z=20"])
    ]
    return Member(
        f"alie {signs}", "fixed", tuple(f"alie[{text}]" if text else "alie" for text in given)
    )


AUTO_1: tuple[Member, ...] = (
    *_one("fault", "crash"),
    Member("zeros", "fault", ("crash[send=zeros]",)),
    *_one("fault", "nan", "inf", "huge", "bit_flip", "wrong_length"),
    *_one("fixed", "sign_flip", "label_flip", "random_noise"),
    *(
        Member(f"foe {e:g}", "fixed", (f"foe[epsilon={e:g}]",))
        for e in (0.1, 0.5, 1, 2, 3, 10, 100)
    ),
    _alie("minus"),
    _alie("plus"),
    _alie("random"),
    *_one("fixed", "mimic", "stale", "hidden_coordinate", "sign_guard_aware", "clustering_aware"),
    *(
        Member(
            name, "optimised", tuple(f"{name}[perturbation={p}]" for p in ("unit", "std", "sign"))
        )
        for name in ("min_max", "min_sum")
    ),
    Member("fang", "optimised", ("fang", "fang[rule=krum]")),
    Member(
        "agr_tailored",
        "optimised",
        tuple(
            f"agr_tailored[rule={rule},perturbation={p}]"
            for rule in ("krum", "trimmed_mean")
            for p in ("unit", "sign")
        ),
    ),
    *(
        Member(
            name,
            "optimised",
            tuple(f"{name}[calls=6,start=last{more}]" for more in ("", ",signs=random")),
        )
        for name in ("optimal_alie", "optimal_foe")
    ),
    *(
        Member(step, "heterogeneity", (f"{step}+*",))
        for step in ("tail", "starve", "flood", "late", "lookalike")
    ),
    *_one("heterogeneity", "tail_only"),
    Member("own_lengths", "heterogeneity", ("own_lengths+*",), strongest=3),
    Member("greedy", "adaptive", ("greedy",)),
    Member("schedule", "adaptive", ("*",), scheduled=True),
    Member("black_box", "black_box", ("black_box",), seeds=1),
)

ENSEMBLES: Mapping[str, tuple[Member, ...]] = {"auto-1": AUTO_1}
