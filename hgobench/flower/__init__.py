"""Robust rules on Flower: real clients, over a real network, and the rules of this benchmark.

`RobustStrategy` and `HgoStrategy` are strategies for `flwr.serverapp`, `device` is what a ClientApp
needs for the second; what a round decides is `hgobench.protocol`'s. They need Flower
(``pip install 'hgobench[flower]'``); naming this room does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arrays import Layout, Reply, ReplyError
    from .hgo import HgoStrategy
    from .server import CleanData, Round, RuleServer
    from .strategy import RobustStrategy

__all__ = [
    "CleanData",
    "HgoStrategy",
    "Layout",
    "Reply",
    "ReplyError",
    "RobustStrategy",
    "Round",
    "RuleServer",
]

_HOME = {
    "Layout": "arrays",
    "Reply": "arrays",
    "ReplyError": "arrays",
    "CleanData": "server",
    "Round": "server",
    "RuleServer": "server",
    "HgoStrategy": "hgo",
    "RobustStrategy": "strategy",
}


def __getattr__(name: str) -> Any:
    # Whoever asks for a name imports what it needs: a device's process starts fast.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("flwr", "httpx"):
            raise
        raise ImportError(
            "hgobench.flower: Flower is not installed: pip install 'hgobench[flower]'"
        ) from None
