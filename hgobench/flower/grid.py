"""A grid that fetches every reply by itself, so that a bad one costs no other."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpx
from flwr.app import Error, Message
from flwr.serverapp import Grid

from hgobench.boundary import error_text

log = logging.getLogger("flwr").log

UNREADABLE = 7001  # the code of an error in place of a reply that can't be used
PATIENCE = 2.0  # seconds for a reply to be fetched before others are
POLL = 1.0  # seconds between two looks for replies, or three times as long as was looked in vain


class OneByOne(Grid):
    """A grid that asks for the reply to each message by itself, and looks at what it takes.

    Flower's own grids fetch all replies in one call: what raises while one of them is put together
    ends the run, one whose sender goes on and on uploading it keeps the others waiting past the
    deadline, and all are held in memory, however large, until the last has come. Here a reply
    that can't be put together, or that holds more bytes than an answer needs, gives way to an
    error message as soon as it has arrived, and one that is not there after `PATIENCE` seconds is
    waited for on the side. Trouble with the SuperLink itself is raised as ever.

    Args:
        grid: the run's.
        largest: how many bytes the records of a reply may hold.
        aside: how many replies are waited for on the side, at most: f, so that f nodes keep nobody
            else waiting.
    """

    def __init__(self, grid: Grid, largest: int, aside: int = 0) -> None:
        self.grid, self.largest, self.aside = grid, largest, aside

    @property
    def run(self) -> Any:
        """The run that the grid belongs to."""
        return self.grid.run

    def set_run(self, run: Any) -> None:
        """Set the run."""
        self.grid.set_run(run)

    def create_message(self, *arguments: Any, **keywords: Any) -> Message:
        """Make a message as the grid does."""
        return self.grid.create_message(*arguments, **keywords)

    def get_node_ids(self) -> Any:
        """Return the ids of the nodes that are there."""
        return self.grid.get_node_ids()

    def get_nodes(self) -> Any:
        """Return the nodes that are there."""
        return self.grid.get_nodes()

    def push_messages(self, messages: Iterable[Message]) -> Any:
        """Send messages."""
        return self.grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Any:
        """Fetch the replies to some messages."""
        return self.grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and return the replies that come within `timeout` seconds; None: all."""
        sent = list(messages)
        known = set(self.grid.push_messages(sent)) - {None}
        waiting = {
            message.metadata.message_id: message
            for message in sent
            if message.metadata.message_id in known
        }
        if len(waiting) < len(sent):
            log(
                logging.WARNING,
                "%d of %d messages were not sent",
                len(sent) - len(waiting),
                len(sent),
            )
        end = time.monotonic() + (math.inf if timeout is None else timeout)
        replies: list[Message] = []
        under_way: dict[str, _Fetch] = {}
        while waiting:
            in_vain = 0.0  # seconds
            for name, message in list(waiting.items()):
                began = time.monotonic()
                fetch = under_way.pop(name, None) or _Fetch(self, message)
                # On the side there is place for some; the next is waited for, until the end.
                here = len(under_way) < self.aside
                left = end - time.monotonic()
                if not fetch.over(min(PATIENCE, left) if here else left):
                    under_way[name] = fetch
                elif came := fetch.replies():
                    replies += came
                    del waiting[name]
                else:
                    in_vain += time.monotonic() - began
            now = time.monotonic()
            if now >= end:
                break
            if waiting:
                time.sleep(min(max(POLL, 3.0 * in_vain), end - now))
        return replies

    def fetched(self, message: Message) -> list[Message]:
        """Return what has come in reply to a message, or an error in its place."""
        try:
            came = list(self.grid.pull_messages([message.metadata.message_id]))
            heavy = [size for size in map(held_bytes, came) if size > self.largest]
        except (httpx.HTTPError, OSError):  # the way to the SuperLink, not the reply
            raise
        except Exception as error:  # whatever Flower makes of anybody's bytes
            return [_instead(message, f"can't be read: {error_text(error)}")]
        if not heavy:
            return came
        what = f"{heavy[0]:,} bytes; expected at most {self.largest:,}"
        return [_instead(message, what)]


class _Fetch:
    """The reply to a message, fetched by a thread that may be left behind."""

    def __init__(self, grid: OneByOne, message: Message) -> None:
        self._grid, self._message = grid, message
        self._found: list[Message] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._fetch, daemon=True)
        self._thread.start()

    def _fetch(self) -> None:
        try:
            self._found = self._grid.fetched(self._message)
        except Exception as error:
            self._error = error

    def over(self, seconds: float) -> bool:
        """Wait for it; say whether it has ended."""
        self._thread.join(min(max(seconds, 0.0), threading.TIMEOUT_MAX))
        return not self._thread.is_alive()

    def replies(self) -> list[Message]:
        """Return what has come; raise what is no reply's fault."""
        if self._error is not None:
            raise self._error
        return self._found


def _instead(message: Message, reason: str) -> Message:
    return Message(Error(UNREADABLE, reason), reply_to=message)


def held_bytes(reply: Message) -> int:
    """Return how many bytes the records of a reply hold, about."""
    if not reply.has_content():
        return 0
    content: Any = reply.content
    arrays = sum(
        len(array.data) + len(name)
        for record in content.array_records.values()
        for name, array in record.items()
    )
    others = [*content.config_records.values(), *content.metric_records.values()]
    return arrays + sum(
        len(name) + _length(value) for record in others for name, value in record.items()
    )


def _length(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_length, value))
    return len(value) if isinstance(value, str | bytes) else 8
