"""Signals that ask a run to end, handled as gently as Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .local import signal_all

# SIGHUP is sent when a terminal is closed; Windows has none.
ASKING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Ended(KeyboardInterrupt):
    """A signal asked this process to end.

    Args:
        number: of the signal.

    Example:
        >>> print(Ended(signal.SIGTERM))
        ended by SIGTERM
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number


@contextmanager
def gentle() -> Iterator[list[int]]:
    """Let these signals raise `Ended` in the body, as Ctrl-C raises KeyboardInterrupt.

    Signals that are ignored stay so: ``nohup hgobench run ..`` outlives its terminal. Ctrl-Z also
    pauses the processes that compute, which the terminal does not reach.

    Yields:
        A list to which the number of each signal is added that arrives.
    """
    arrived: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        arrived.append(number)
        raise Ended(number)

    def pause(number: int, frame: FrameType | None) -> None:
        signal_all(signal.SIGSTOP)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # returns after SIGCONT
        signal.signal(number, pause)
        signal_all(signal.SIGCONT)

    if threading.current_thread() is not threading.main_thread():
        yield arrived
        return
    actions = dict.fromkeys(ASKING, end)
    if hasattr(signal, "SIGTSTP"):
        actions[signal.SIGTSTP] = pause
    previous = {number: signal.getsignal(number) for number in actions}
    try:
        for number, handler in previous.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, actions[number])
        yield arrived
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
