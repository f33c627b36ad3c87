"""The profiles of jobs that are kept in Redis."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import SidekiqError
from ..profiling import speedscope
from ..store.profiles import ProfileInfo
from ..store.queues import PAGE

if TYPE_CHECKING:
    from ..app import App


class ProfileRecord:
    """One profile. `started_at` is epoch seconds, `elapsed` seconds, `size` bytes of `data()`."""

    def __init__(self, app: App, info: ProfileInfo) -> None:
        self._app = app
        self.name = info.name
        """TOKEN-JID, the key in Redis."""
        self.token = info.token
        self.jid = info.jid
        self.type = info.type
        """The class."""
        self.started_at = info.started_at
        self.elapsed = info.elapsed
        self.size = info.size
        self.ends_at = info.ends_at
        """Epoch seconds until which it is kept."""

    def __repr__(self) -> str:
        return f"<ProfileRecord {self.name} {self.type}>"

    def data(self) -> bytes:
        """Gzipped JSON that https://profiler.firefox.com opens. Raises RedisError; SidekiqError if gone."""
        data = self._app.transport().run(self._app.store.profiles.data(self.name))
        if data is None:
            raise SidekiqError(f"the profile {self.name} is gone: profiles are kept for a day")
        return data

    def speedscope(self) -> dict[str, Any]:
        """The same as https://www.speedscope.app opens it, to be written as JSON.

        Raises SidekiqError for a profile that is gone, or that another program has written.
        """
        data = self.data()
        try:
            return speedscope(json.loads(gzip.decompress(data)), f"{self.type} {self.jid}")
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, IndexError) as error:
            raise SidekiqError(
                f"the profile {self.name} was not made by sidekiq-lua: export it as it is, for Firefox"
            ) from error


class ProfileSet:
    """The profiles that are kept, the newest first. All raises RedisError. Keys: `profiles`, TOKEN-JID."""

    def __init__(self, app: App) -> None:
        self._app = app

    def __iter__(self) -> Iterator[ProfileRecord]:
        profiles, now, offset = self._app.store.profiles, self._app.clock.now(), 0
        while entries := self._app.transport().run(profiles.page(now, offset)):
            for info in self._app.transport().run(profiles.infos(entries)):
                yield ProfileRecord(self._app, info)
            if len(entries) < PAGE:
                return
            offset += PAGE

    def find(self, name: str) -> list[ProfileRecord]:
        """Those whose token, jid or TOKEN-JID this is."""
        return [record for record in self if name in (record.name, record.token, record.jid)]
