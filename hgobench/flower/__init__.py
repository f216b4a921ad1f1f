"""Robust rules on Flower: real clients, over a real network, and the rules of this benchmark.

`RobustStrategy` is a strategy for `flwr.serverapp`; what a round decides is `hgobench.protocol`'s.
It needs Flower (``pip install 'hgobench[flower]'``); naming this room does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .arrays import Layout, Reply, ReplyError
from .server import CleanData, Round, RuleServer

if TYPE_CHECKING:
    from .strategy import RobustStrategy

__all__ = [
    "CleanData",
    "Layout",
    "Reply",
    "ReplyError",
    "RobustStrategy",
    "Round",
    "RuleServer",
]


def __getattr__(name: str) -> Any:
    # Flower is imported by whoever asks for the strategy.
    if name != "RobustStrategy":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from .strategy import RobustStrategy
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("flwr", "httpx"):
            raise
        raise ImportError(
            "hgobench.flower: Flower is not installed: pip install 'hgobench[flower]'"
        ) from None
    return RobustStrategy
