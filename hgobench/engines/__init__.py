"""Where cells run, and the contract that they are run by."""

from .cells import Outcome, execute

__all__ = ["Outcome", "execute"]
