"""Signals that ask a run to end: as gentle as Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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

    Those that are ignored stay so: ``nohup hgobench run ..`` outlives its terminal.

    Returns:
        The numbers of those that came.
    """
    asked: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        raise Ended(number)

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    previous = {number: signal.getsignal(number) for number in ASKING}
    try:
        for number, handler in previous.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, end)
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
