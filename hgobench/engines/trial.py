"""Plug-in code is imported and constructed in another process first.

If it ends that process, or never returns, the process that drives the run survives and reports the
problem. Only what succeeded there is done here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from typing import Any

from hgobench import boundary, catalogue
from hgobench.boundary import OUT_OF_MEMORY, OUT_OF_TIME, PluginError
from hgobench.errors import InputError

from .base import Failure, Limits
from .local import Local

TIME_LIMIT = 60.0  # seconds of CPU time, and of waiting


@contextmanager
def children_first(time_limit: float = TIME_LIMIT) -> Iterator[None]:
    """Try plug-in code that the body imports or constructs in another process first, once each.

    Nested uses have no effect.

    Args:
        time_limit: CPU seconds that each import or construction may take, and seconds that it may
            wait.
    """

    if boundary.is_tried_first():
        yield
        return

    @cache
    def trial(kind: str, name: str) -> str:
        # Longer than the limit in the child, whose message names what took too long.
        limits = Limits(cpu=2.0 * time_limit + 10.0, idle=2.0 * time_limit + 10.0)
        function = partial(_try, time_limit)
        ((_, answer),) = Local(1).map(function, [(kind, name)], limits=limits)
        if not isinstance(answer, Failure):
            return answer
        if answer.kind == "died":
            verb = "imported" if kind == "import" else "made"
            return f"the process that {verb} it died ({answer.how})"
        if answer.kind == "raised":
            return answer.how
        return f"{OUT_OF_TIME if answer.kind == 'time' else OUT_OF_MEMORY}: {answer.how}"

    previous = boundary.tried_first(trial)
    try:
        with boundary.limited(time_limit):
            yield
    finally:
        boundary.tried_first(previous)


def _try(time_limit: float, component: tuple[str, str]) -> str:
    """Import or construct something; return why it took too long; empty: it did not.

    Other errors are ignored here: the driving process meets them again, and reports them.
    """
    kind, name = component
    try:
        with boundary.limited(time_limit):
            if kind == "import":
                with boundary.importing(name):
                    import_module(name)
            elif kind in catalogue.FIELDS:
                from hgobench.scenario import Scenario

                field: dict[str, Any] = {kind: name}
                Scenario(**field)
            else:
                catalogue.registry(kind).build(name)
    except (InputError, PluginError) as error:
        message = str(error)
        return message[message.index(OUT_OF_TIME) :] if OUT_OF_TIME in message else ""
    except Exception:
        return ""
    return ""
