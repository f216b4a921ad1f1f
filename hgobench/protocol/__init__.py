"""What a server and its workers say to each other and decide in a round.

Nothing here knows a clock, a world or a process: the simulation drives it, and so may a network.
"""

from .messages import NUMBER_BYTES, SEED_BYTES, Delivery, Message, Updates, deliver
from .server import Reception, Server, block_length, receive, receive_sets
from .weights import MOST_EXAMPLES, WEIGHTINGS, Weighting, bounded, cannot_weigh

__all__ = [
    "MOST_EXAMPLES",
    "NUMBER_BYTES",
    "SEED_BYTES",
    "WEIGHTINGS",
    "Delivery",
    "Message",
    "Reception",
    "Server",
    "Updates",
    "Weighting",
    "block_length",
    "bounded",
    "cannot_weigh",
    "deliver",
    "receive",
    "receive_sets",
]
