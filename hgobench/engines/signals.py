"""Signals that ask a run to end: as gentle as Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from .local import signal_all

# SIGHUP, of a terminal that is closed, does not exist on Windows.
ASKING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Ended(KeyboardInterrupt):
    """A signal asked this process to end.

    Args:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number


@contextmanager
def gentle() -> Iterator[list[int]]:
    """Let these signals raise `Ended` in the body, where Ctrl-C raises KeyboardInterrupt.

    Those that are ignored stay so: ``nohup hgobench run ..`` outlives its terminal. Ctrl-Z pauses
    the processes that compute too, which the terminal does not reach.

    Returns:
        The numbers of those that came.
    """
    asked: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        raise Ended(number)

    def pause(number: int, frame: FrameType | None) -> None:
        signal_all(signal.SIGSTOP)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # and here it stands until it is told to go on
        signal.signal(number, pause)
        signal_all(signal.SIGCONT)

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    actions = dict.fromkeys(ASKING, end)
    if hasattr(signal, "SIGTSTP"):
        actions[signal.SIGTSTP] = pause
    previous = {number: signal.getsignal(number) for number in actions}
    try:
        for number, handler in previous.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, actions[number])
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
