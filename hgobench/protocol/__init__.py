"""What a server and its workers say to each other and decide in a round.

Nothing here knows a clock, a world or a process: the simulation drives it, and so may a network.
"""

from .messages import NUMBER_BYTES, SEED_BYTES, Delivery, Message, Updates, deliver
from .server import Reception, Server, block_length, receive, receive_sets

__all__ = [
    "NUMBER_BYTES",
    "SEED_BYTES",
    "Delivery",
    "Message",
    "Reception",
    "Server",
    "Updates",
    "block_length",
    "deliver",
    "receive",
    "receive_sets",
]
