"""Training runs: rounds over a stack of cells that share a world, on a simulated clock."""

from .clock import clock
from .runs import lost, run, simulate
from .servers import Step
from .world import Draw, World

__all__ = ["Draw", "Step", "World", "clock", "lost", "run", "simulate"]
