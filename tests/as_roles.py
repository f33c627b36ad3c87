"""Under SIDEKIQ_LUA_TEST_ROLES the code under test logs in as the users that `sidekiq-lua acl` prints.

Set-up and assertions stay with the default user. The workers of a test are `worker`; where scripts are called
one by one, each call goes out as one of the roles that may make it, in turn. `tools/audit suite` sets it.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import cycle
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import redis as redis_py

from sidekiq_lua.store import Endpoint, Transport, access
from sidekiq_lua.store.calls import Call, Wait

ON = bool(os.environ.get("SIDEKIQ_LUA_TEST_ROLES"))
_PASSWORD = "pw"
_SHORT = {"[0-9a-f]" * 24: "[0-9]*", "[0-9a-f]" * 12: "[a-z]*"}
"""Tests of single scripts have short identities and jids; tests/test_acl.py has the real patterns."""


@cache
def users() -> list[str]:
    """`worker` and so on, and `short-worker` for tests whose identities are short, as a server's settings."""
    found = []
    for role in access.PLAIN:
        line = access.grant(role).line(role, f">{_PASSWORD}").removeprefix("ACL SETUSER ")
        found.append(f"user {line}")
        for whole, short in _SHORT.items():
            line = line.replace(whole, short)
        found.append(f"user short-{line}")
    return found


def login(url: str, user: str) -> str:
    """The URL of a server with this user in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}:{_PASSWORD}@{parts.netloc}").geturl()


def denied(redis: redis_py.Redis) -> list[str]:
    """What ACL LOG has of these users; it is emptied."""
    found = []
    for entry in redis.execute_command("ACL", "LOG"):
        pairs = entry if isinstance(entry, dict) else dict(zip(entry[::2], entry[1::2], strict=True))
        fields = {_text(name): _text(value) for name, value in pairs.items()}
        if fields["username"].removeprefix("short-") in access.PLAIN:
            found.append(f"{fields['username']}: {fields['context']} {fields['reason']} {fields['object']}")
    redis.execute_command("ACL", "LOG", "RESET")
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@cache
def roles(script: str) -> tuple[str, ...]:
    """Who may call a script."""
    return tuple(role for role in access.PLAIN if script in access.grant(role).scripts)


@contextmanager
def tests_act_as_admin(url: str) -> Iterator[None]:
    """What the test itself asks of a worker's instance, and a worker may not, it asks as `admin`."""
    own, worker = Transport.run, str(Endpoint(url))
    admin = Transport(Endpoint(url.replace("worker:", "admin:", 1)))

    def run(self: Transport, call: Call[Any]) -> Any:
        mine = threading.current_thread() is threading.main_thread() and str(self.endpoint) == worker
        return own(admin if mine and "worker" not in roles(call.script.name) else self, call)

    with patch.object(Transport, "run", run):
        yield
    admin.close()


class RoleTransport(Transport):
    """One transport for each role behind the face of one."""

    def __init__(self, url: str, user: str = "{}", first: Sequence[str] = ()) -> None:
        """`first`: roles that go before all others where they may call a script at all."""
        super().__init__(Endpoint(url))
        self._first = first
        self._own = {role: Transport(Endpoint(login(url, user.format(role)))) for role in access.PLAIN}
        self._turns = defaultdict[str, Any](lambda: None)

    def _next(self, script: str) -> Transport:
        preferred = [role for role in roles(script) if role in self._first]
        turns = self._turns[script] = self._turns[script] or cycle(preferred or roles(script))
        return self._own[next(turns)]

    def run(self, call: Call[Any]) -> Any:
        return self._next(call.script.name).run(call)

    def run_many(self, calls: Sequence[Call[Any]], wait: Wait | None = None) -> list[Any]:
        may = [role for role in access.PLAIN if all(role in roles(call.script.name) for call in calls)]
        return self._own[may[0]].run_many(calls, wait) if may else super().run_many(calls, wait)

    def close(self) -> None:
        for transport in (*self._own.values(), super()):
            transport.close()
