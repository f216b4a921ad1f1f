"""Where calls are made, by one contract; and a grid of cells, computed there (`cells.py`)."""

from .base import Engine, EngineError, Failure, Limits

__all__ = ["Engine", "EngineError", "Failure", "Limits"]
