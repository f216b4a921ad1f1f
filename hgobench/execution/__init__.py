"""Where cells run, and the contract that they are run by."""

from .local import Outcome, execute

__all__ = ["Outcome", "execute"]
