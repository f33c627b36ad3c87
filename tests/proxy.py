"""A TCP proxy in front of a server, which cuts, swallows or holds what a test names."""

from __future__ import annotations

import asyncio
import ssl
import threading
from enum import Enum
from types import TracebackType
from typing import Self


class Fate(Enum):
    PASS = "forward the request and its reply"
    CUT_REQUEST = "close the connection before the request is forwarded"
    CUT_REPLY = "forward the request, wait for its reply, close the connection instead of passing it on"
    DESERT = "forward the request, close the client's connection at once and leave the server's open"
    SWALLOW = "forward nothing more and leave the connection open"
    HOLD = "keep the reply back until `release`"


class Proxy:
    """Forwards from a port of its own to `ports`: the n-th connection to the n-th, the others to the last.

    With `tls`, it speaks TLS to its clients. `requests` holds what was forwarded, one item per read.
    """

    def __init__(self, *ports: int, tls: ssl.SSLContext | None = None) -> None:
        self._ports = ports
        self._tls = tls
        self._plans: list[tuple[bytes, Fate]] = []
        self.connections = 0
        self.requests: list[bytes] = []
        self._loop = asyncio.new_event_loop()
        self._released = asyncio.Event()
        self._links: set[asyncio.Task[None]] = set()
        self._fates: list[_Link] = []
        self._ends: list[asyncio.StreamWriter] = []
        self._stop = asyncio.Event()
        started = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(started),))
        self._thread.start()
        started.wait(10)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def on(self, words: bytes, fate: Fate, times: int = 1) -> None:
        """Let requests that contain these bytes meet that fate, so many times; the first plan comes first."""
        self._plans += [(words, fate)] * times

    def silence(self) -> None:
        """Swallow everything both ways on every present connection and, until `heal`, on every new one."""
        self.on(b"", Fate.SWALLOW, times=10_000)
        for link in self._fates:
            link.fate = Fate.SWALLOW

    def heal(self) -> None:
        """Forget what was planned; connections that were swallowed stay so."""
        self._plans.clear()

    def redirect(self, port: int) -> None:
        """Forward the connections to come to this port; those that are there stay."""
        self._ports = (port,)

    @property
    def met(self) -> bool:
        """Whether every request that was planned for has come."""
        return not self._plans

    def release(self) -> None:
        """Pass on the replies that are held, and those to come."""
        self._loop.call_soon_threadsafe(self._released.set)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside -------------------------------------------------------------------------

    async def _run(self, started: threading.Event) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        # Who was accepted just now becomes a link within a few turns of the loop. A server that is closed
        # before refuses him by an assertion, and leaves his socket open: some later test would fail for it.
        for listener in server.sockets:
            self._loop.remove_reader(listener)
        for _ in range(5):
            await asyncio.sleep(0)
        server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)
        for end in self._ends:
            end.transport.abort()
        await asyncio.gather(*(end.wait_closed() for end in self._ends), return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.append(writer)
        link = asyncio.ensure_future(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self._ports[min(self.connections, len(self._ports) - 1)]
        self.connections += 1
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        self._ends.append(back)
        link = _Link()
        self._fates.append(link)
        ways = [
            asyncio.ensure_future(self._up(link, reader, back)),
            asyncio.ensure_future(self._down(link, there, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer,) if link.fate is Fate.DESERT else (writer, back):
                end.transport.abort()

    async def _up(self, link: _Link, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            plan = next((plan for plan in self._plans if plan[0] in data), None)
            if plan:
                self._plans.remove(plan)
                link.fate = plan[1]
            if link.fate is Fate.CUT_REQUEST:
                return
            if link.fate is not Fate.SWALLOW:
                self.requests.append(data)
                back.write(data)
                await back.drain()
            if link.fate is Fate.DESERT:
                return

    async def _down(self, link: _Link, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await there.read(1 << 16):
            if link.fate is Fate.CUT_REPLY:
                return
            if link.fate is Fate.SWALLOW:
                continue
            if link.fate is Fate.HOLD:
                await self._released.wait()
                link.fate = Fate.PASS
            writer.write(data)
            await writer.drain()


class _Link:
    fate = Fate.PASS
