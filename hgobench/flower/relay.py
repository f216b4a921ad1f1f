"""A relay that counts: a port of this machine in front of another, and the bytes both ways."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Self

AT_ONCE = 2**16  # bytes


class Relay:
    """Pass on what comes to a port, and count it, as long as the context lasts.

    Args:
        to: the port of this machine that answers.

    Attributes:
        port: at which it listens.
        up: bytes that have gone to the port that answers.
        down: bytes that have come from it. Both as the two programs read them, hence with the
            headers of HTTP (and what TLS adds), without those of TCP and IP.
    """

    def __init__(self, to: int) -> None:
        self.port, self.up, self.down = 0, 0, 0
        self._to, self._loop = to, asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        starting = asyncio.start_server(self._meet, "127.0.0.1", 0, limit=AT_ONCE)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to, limit=AT_ONCE)
        except (OSError, asyncio.CancelledError):
            writer.close()
            return
        with suppress(asyncio.CancelledError):  # the relay ends
            await asyncio.gather(
                self._pass_on(reader, back, up=True), self._pass_on(there, writer, up=False)
            )

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        try:
            with suppress(OSError):  # either side may break off
                while data := await reader.read(AT_ONCE):
                    if up:
                        self.up += len(data)
                    else:
                        self.down += len(data)
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()
