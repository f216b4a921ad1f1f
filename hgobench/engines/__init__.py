"""Engines: where calls are made, by one contract; `cells.py` computes a grid with them."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from hgobench.arguments import check_arguments, instance
from hgobench.errors import InputError, unknown
from hgobench.registry import Registry
from hgobench.scenario import integer

from .base import Engine, EngineError, Failure, Limits

__all__ = ["Engine", "EngineError", "Failure", "Limits", "open_engine", "opened", "registry"]


JOBS = 2**20  # the most local processes


def _local(jobs: int) -> Engine:
    """Return the engine of supervised processes on this machine."""
    from .local import Local

    return Local(jobs)


def _dask(address: str = "") -> Engine:
    """Return the engine of a Dask scheduler's workers, at ``tcp://host:port``."""
    from .dask import Dask

    return Dask(address)


registry: Registry[Engine] = Registry(
    "engine", "engines", {"local": _local, "dask": _dask}, context=frozenset({"jobs"})
)


def open_engine(specification: str, *, jobs: int = 1, address: str = "") -> Engine:
    """Return an engine; the caller closes it.

    Args:
        specification: ``"local"``, ``"dask"`` or a plug-in's.
        jobs: number of processes of the local engine.
        address: of the scheduler, for an engine that has one.

    Raises:
        InputError: there is no such engine, it is not installed, or there is no scheduler at the
            address.

    Example:
        >>> engine = open_engine("local", jobs=2)
        >>> sorted(answer for _, answer in engine.map(abs, [-1, -2]))
        [1, 2]
        >>> engine.close()
    """
    check_arguments(
        engine=(instance("an engine's name", str), specification),
        jobs=(integer(1, JOBS), jobs),
        address=(instance("a text", str), address),
    )
    name = Registry.bare(specification)
    if ":" not in name and name not in registry.names():
        raise InputError(unknown("engine", name, registry.names()))
    has_address = "address" in registry.entry(name).signature
    if address and not has_address:
        raise InputError(f"address: {address!r}; engine {specification!r} has none")
    if has_address and not address:
        raise InputError("address: ''; expected the scheduler's: tcp://host:port")
    context = {"address": address} if address else {}
    engine = registry.build(specification, jobs=jobs, **context)
    instance("an engine", Engine)(f"engine: {specification!r}", engine)
    return engine


@contextmanager
def opened(specification: str | Engine = "local", address: str = "") -> Iterator[Engine | None]:
    """Open an engine for the body; an open engine is yielded as it is, and not closed.

    Yields:
        The engine; None for ``"local"``, which `execute` and `measure` open themselves.

    Raises:
        InputError: as `open_engine`.

    Example:
        >>> with opened("local") as engine:
        ...     print(engine)
        None
    """
    if not isinstance(specification, str):
        yield specification
        return
    if specification == "local" and not address:
        yield None
        return
    with closing(open_engine(specification, address=address)) as engine:
        yield engine
