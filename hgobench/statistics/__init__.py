"""Means, the worst case over attacks, and which rows differ."""

from hgobench.statistics.correlation import Correlation, rank_correlation
from hgobench.statistics.draws import Draws, draw
from hgobench.statistics.means import LEVEL, Floats, exceeds, holm, interval
from hgobench.statistics.ranks import Difference, Paired, Rank, certain, compare, ranges, step_down
from hgobench.statistics.worst_case import (
    FEWEST,
    Estimate,
    Outcomes,
    Share,
    estimate,
    estimates,
    share,
)

__all__ = [
    "FEWEST",
    "LEVEL",
    "Correlation",
    "Difference",
    "Draws",
    "Estimate",
    "Floats",
    "Outcomes",
    "Paired",
    "Rank",
    "Share",
    "certain",
    "compare",
    "draw",
    "estimate",
    "estimates",
    "exceeds",
    "holm",
    "interval",
    "ranges",
    "rank_correlation",
    "share",
    "step_down",
]
