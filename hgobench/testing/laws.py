"""What the laws of all kinds have in common: a component under trial, verdicts, exemptions.

A law is a function of what is under trial, with a docstring that states it. A broken law raises
AssertionError with what was seen; one that does not apply raises NotApplicable with the reason; a
text that it returns is shown with its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from hgobench import catalogue
from hgobench.boundary import Boundary, PluginError, error_text, keyed
from hgobench.determinism import one_thread
from hgobench.errors import InputError, Unavailable, shown
from hgobench.lazy import torch

T = TypeVar("T")
Law = Callable[[Any], str | None]
SEEDS = (0, 1)


class NotApplicable(Exception):
    """A law does not apply, for this reason."""


@dataclass(frozen=True)
class Verdict:
    """The result of checking a law.

    Attributes:
        law: its name.
        scope: of the rule; empty for other kinds.
        outcome: pass, fail or not applicable.
        detail: the smallest failing example, or why the law does not apply.
    """

    law: str
    scope: str
    outcome: Literal["pass", "fail", "not applicable"]
    detail: str = ""


def said(error: Exception) -> str:
    """Return what an exception says: of a law its message, else with its type in front."""
    if isinstance(error, AssertionError | InputError | NotApplicable | PluginError):
        return str(error)
    return error_text(error)


def judged(law: str, check: Callable[[], str | None], scope: str = "") -> Verdict:
    """Check a law, and say how that went."""
    try:
        with one_thread():
            detail = check()
    except NotApplicable as error:
        return Verdict(law, scope, "not applicable", str(error))
    except Unavailable:
        raise
    except Exception as error:
        return Verdict(law, scope, "fail", said(error))
    return Verdict(law, scope, "pass", detail or "")


def table(*laws: Law) -> dict[str, Law]:
    """Return laws by name.

    >>> def holds(trial):
    ...     "It holds."
    >>> list(table(holds))
    ['holds']
    """
    return {law.__name__: law for law in laws}


def exemptions(
    kind: str, specification: str, component: object, laws: Mapping[str, object]
) -> dict[str, str]:
    """Return the laws that a component's definition rules out, by its `exempt`, with the reasons.

    Raises:
        InputError: it is no mapping from laws to reasons.
    """
    exempt: object = getattr(component, "exempt", {})
    if not isinstance(exempt, Mapping):
        raise InputError(
            f"{kind}: {specification!r}: exempt: {shown(exempt)}; expected a mapping from laws to "
            "reasons"
        )
    if unknown_laws := set(exempt) - set(laws):
        raise InputError(
            f"{kind}: {specification!r}: exempt: no such law {name!r}; expected one of "
            f"{', '.join(laws)}"
            for name in sorted(unknown_laws)
        )
    return dict(exempt)


@dataclass(kw_only=True)
class Trial(Generic[T]):
    """A component under trial, made by its name as often as a law asks for it.

    Attributes:
        kind: what it is: ``"partition"``, a name that `catalogue.registry` knows.
        name: its specification.
        told: what its constructor is told besides.
        changed: what it changed of the global state, so far.
    """

    kind: str
    name: str
    told: Mapping[str, Any] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)

    def make(self, **told: Any) -> T:
        """Make a new one.

        Raises:
            InputError: it can't be made.
        """
        with keyed(SEEDS[0]):
            made: T = catalogue.registry(self.kind).build(self.name, **{**self.told, **told})
        return made

    def calling(
        self, component: object, purpose: str = "call", k: int = 0, seed: int = SEEDS[0]
    ) -> AbstractContextManager[None]:
        """Return a context in which it is called as in a run: global generators are keyed."""
        boundary = Boundary(
            self.kind, self.name, component, seed=seed, passes=(InputError,), notes=self.changed
        )
        return boundary(purpose, k)


def taken(attempt: Callable[[int], object], sizes: Iterable[int]) -> tuple[int, ...]:
    """Return the numbers of workers that are not refused; what else goes wrong its laws say.

    Raises:
        InputError: all are; the first refusal.
    """
    refusal: InputError | None = None
    found = []
    for size in sizes:
        try:
            attempt(size)
        except InputError as error:
            refusal = refusal or error
            continue
        except Exception:  # its laws say so
            pass
        found.append(size)
    if not found and refusal is not None:
        raise refusal
    return tuple(found)


def global_state_is_left_alone(trial: Trial[Any]) -> None:
    """It changes nothing that others see: NumPy's error handling, torch's defaults, threads, .."""
    if trial.changed:
        raise AssertionError("; ".join(dict.fromkeys(trial.changed)))


def try_laws(
    kind: str, specification: str, component: object, laws: Mapping[str, Law], trial: object
) -> Iterator[Verdict]:
    """Check all laws of a component, but for those that its `exempt` names.

    Args:
        kind, specification: what it is, and its name.
        component: the component.
        laws: by name.
        trial: what they are given.

    Raises:
        InputError: its `exempt` is no mapping from laws to reasons.
        Unavailable: it needs data that are not here.
    """
    exempt = exemptions(kind, specification, component, laws)
    for name, law in laws.items():
        if name in exempt:
            yield Verdict(name, "", "not applicable", exempt[name])
        else:
            yield judged(name, lambda law=law: law(trial))  # type: ignore[misc]


def try_trial(trial: Trial[Any], laws: Mapping[str, Law]) -> Iterator[Verdict]:
    """Check all laws of the component of a trial, as `try_laws` does.

    Raises:
        InputError: it can't be made.
    """
    return try_laws(trial.kind, trial.name, trial.make(), laws, trial)


def equal(first: Any, second: Any) -> bool:
    """Say whether two arrays, tensors, or lists and tuples of them are equal, NaN to NaN.

    >>> equal([np.array([1.0, np.nan])], [np.array([1.0, np.nan])]), equal(None, np.zeros(1))
    (True, False)
    """
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        alike = zip(first, second, strict=False)
        return len(first) == len(second) and all(equal(a, b) for a, b in alike)
    if first is None or second is None:
        return first is second
    one, other = (
        np.asarray(v.cpu() if isinstance(v, torch.Tensor) else v) for v in (first, second)
    )
    return one.shape == other.shape and bool(
        np.array_equal(one, other, equal_nan=one.dtype.kind == "f" and other.dtype.kind == "f")
    )
