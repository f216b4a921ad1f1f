"""Results and where they are kept."""

from .result import COLUMNS, Result
from .store import Store

__all__ = ["COLUMNS", "Result", "Store"]
