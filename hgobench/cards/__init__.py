"""Cards: a row of a board as one JSON file, which can be checked, run again and collected."""

from .card import Card, load, made
from .check import Checked, check, checked

__all__ = ["Card", "Checked", "check", "checked", "load", "made"]
