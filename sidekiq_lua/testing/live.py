"""What the fixture `sidekiq_server` gives a test: instances that push to a throw-away server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .servers import TestServer

if TYPE_CHECKING:
    from ..app import App


class LiveServer:
    """A real, empty server for one test."""

    def __init__(self, server: TestServer) -> None:
        self._server = server
        self._apps: dict[App, None] = {}
        self._pools: dict[str | None, int] = {None: 0}

    @property
    def url(self) -> str:
        """Where it is: for `redis.Redis.from_url`, a worker's REDIS_URL, or an instance's setting `redis`."""
        return self.redirect(None)

    @property
    def about(self) -> str:
        """Which server it is, for people."""
        return self._server.about

    def clear(self) -> None:
        """Empty it."""
        self._server.clear()

    def connect(self, app: App) -> None:
        """Let an instance use it until the test ends, whatever its settings say; each pool has a database.

        An AsyncClient that has connections already keeps them.
        """
        app.close()  # first: what it still has to send is not for this server
        app.redirect = self.redirect
        self._apps[app] = None

    def redirect(self, pool: str | None) -> str:
        """Where the jobs of a pool go."""
        number = self._pools.setdefault(pool, len(self._pools))
        return self._server.url(number)

    def release(self) -> None:
        """Give the instances back what their settings say."""
        while self._apps:
            app, _ = self._apps.popitem()
            app.close()
            app.redirect = None
