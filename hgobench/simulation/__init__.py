"""Training runs: rounds over a stack of cells that share a world, on a simulated clock."""

from .clock import clock
from .rounds import Step
from .runs import lost, run, simulate
from .world import Draw, World

__all__ = ["Draw", "Step", "World", "clock", "lost", "run", "simulate"]
