"""Code of others is imported and made in another process first.

So one that ends its process, or never comes to an end, leaves the process that drives a run
standing, which then says what is wrong with it. What goes well there, this process may do.
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

TIME_LIMIT = 60.0  # CPU seconds; also of waiting


@contextmanager
def children_first(time_limit: float = TIME_LIMIT) -> Iterator[None]:
    """Try in another process what the body imports and makes of others' code, each once.

    Within another such body nothing is tried twice.

    Args:
        time_limit: CPU seconds that each may take; also how long it may wait.
    """

    if boundary.is_tried_first():
        yield
        return

    @cache
    def tried(kind: str, name: str) -> str:
        # Longer than the limit within, which names what took too long.
        limits = Limits(cpu=2.0 * time_limit + 10.0, idle=2.0 * time_limit + 10.0)
        function = partial(_try, time_limit)
        ((_, answer),) = Local(1).map(function, [(kind, name)], limits=limits)
        if not isinstance(answer, Failure):
            return answer
        if answer.kind == "died":
            did = "imported" if kind == "import" else "made"
            return f"the process that {did} it died ({answer.how})"
        if answer.kind == "raised":
            return answer.how
        return f"{OUT_OF_TIME if answer.kind == 'time' else OUT_OF_MEMORY}: {answer.how}"

    before = boundary.tried_first(tried)
    try:
        with boundary.limited(time_limit):
            yield
    finally:
        boundary.tried_first(before)


def _try(time_limit: float, what: tuple[str, str]) -> str:
    """Import or make something; return why it took too long, empty: it did not.

    What else is wrong is found again, and told, by who asked.
    """
    kind, name = what
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
        said = str(error)
        return said[said.index(OUT_OF_TIME) :] if OUT_OF_TIME in said else ""
    except Exception:
        return ""
    return ""
