"""Is this server fit for jobs, and may this user run the scripts?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..errors import NewerSchema, RedisNotReady, RedisRefused, UnsupportedServer
from ..version import SCHEMA_VERSION
from . import Store
from .calls import Value
from .scripts import library
from .transport import Transport

MINIMUM = (7, 0, 0)
_COMMAND = re.compile(r'redis\.p?call\("([A-Z]+)"')
_TYPES = ("string", "list", "set", "zset", "hash", "stream")


def check_server(transport: Transport, *, production: bool) -> list[str]:
    """Warnings about the server. Raises UnsupportedServer for one that is too old or would lose jobs.

    A server that denies INFO is taken as it is.
    """
    try:
        found = _info(transport)
    except RedisNotReady:
        raise
    except RedisRefused as error:
        return [f"the server's version and eviction policy cannot be checked: {error}"]
    wrong, remedy = unfit(found)
    if wrong:
        raise UnsupportedServer(f"{transport.endpoint} is {wrong}: {remedy}")
    policy = found.get("maxmemory_policy", "")
    if policy in ("", "noeviction"):
        return []
    sentence = (
        f"Redis at {transport.endpoint} has the eviction policy {policy!r}, which deletes jobs when memory "
        "is full: set maxmemory-policy noeviction"
    )
    if production:
        raise UnsupportedServer(sentence)
    return [sentence]


def unfit(info: Mapping[str, str]) -> tuple[str, str]:
    """What a server with this INFO is, if it cannot hold jobs, and what to do; or two empty texts."""
    version = info.get("redis_version", "")
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:3])
    if numbers and numbers < MINIMUM:
        return f"Redis {version}, which is too old", "use Redis 7.0, Valkey 7.2 or newer"
    if "cluster" in (info.get("redis_mode"), info.get("server_mode")):
        return (
            "a Redis Cluster, where Sidekiq's keys lie in different slots",
            "use a standalone server, or a primary with replicas",
        )
    return "", ""


def _info(transport: Transport) -> dict[str, str]:
    found: dict[str, str] = {}
    for section in ("server", "memory"):
        text = transport.command("INFO", section).decode("utf-8", "replace")
        found.update(line.split(":", 1) for line in text.splitlines() if ":" in line and line[0] != "#")
    return found


def check_access(transport: Transport, store: Store, identity: str, queues: Sequence[str]) -> None:
    """Raises RedisRefused, naming the key, for a command that is denied or a key of a wrong type.

    Keys: all that a worker uses are looked at, none is written.
    """
    running = store.running(identity, "0.0")
    keys = store.keys
    call = store.counters.preflight(
        identity, [key for queue in queues for key in (keys.queue(queue), running.list(queue))]
    )
    try:
        problems = transport.run(call)
    except RedisNotReady:
        raise  # it says nothing of what the user may do
    except RedisRefused:
        # What stops the script already, and Redis does not say which it was: a command that is not there,
        if unknown := _unknown_commands(transport):
            raise RedisRefused(
                f"this worker cannot do its work on {transport.endpoint}, which does not know "
                f"{', '.join(unknown)}: take rename-command out of its configuration"
            ) from None
        # or a key that the user may not even read.
        problems = [(str(key), "all access") for key in call.keys if not _readable(transport, key)]
        if not problems:
            raise
    if problems:
        listed = "; ".join(
            f"{key}: it is a {what}" if what in _TYPES else f"{key}: {what} is denied"
            for key, what in problems
        )
        raise RedisRefused(f"this worker cannot do its work on {transport.endpoint}: {listed}")


def _unknown_commands(transport: Transport) -> list[str]:
    """Those of the scripts' commands that this server does not have, or has under another name."""
    used = sorted({name for script in library().values() for name in _COMMAND.findall(script.text)})
    try:
        found = transport.command("COMMAND", "INFO", *used)
    except RedisRefused:
        return []
    return [name for name, known in zip(used, found, strict=True) if not known]


def _readable(transport: Transport, key: Value) -> bool:
    try:
        transport.command("TYPE", key)
    except RedisRefused:
        return False
    return True


def check_schema(transport: Transport, store: Store) -> None:
    """Write down this version's scripts in `lua:scripts`. Raises NewerSchema if a newer one was here."""
    found = transport.run(store.counters.announce())
    if found > SCHEMA_VERSION:
        raise NewerSchema(
            f"a newer sidekiq-lua (schema {found}, this one has {SCHEMA_VERSION}) works on "
            f"{transport.endpoint}: upgrade this process with pip install -U sidekiq-lua"
        )
