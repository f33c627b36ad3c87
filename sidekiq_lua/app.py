"""One Sidekiq instance: its settings, job classes, clients and connections. No global stands behind it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import new_class
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from .async_client import BaseAsyncClient
from .bundled.choose import choose_server
from .bundled.server import BundledServer
from .client import BaseClient
from .clock import Clock
from .config import Config
from .config.check import called_with
from .enqueue import Enqueuer
from .errors import ConfigurationError, RedisError
from .guard import Guard
from .iterable import IterableJobBase
from .job import JobBase, P
from .outbox import Outbox
from .payload import Codec, Stamp
from .registry import Registry
from .reporting import Reporting
from .store import AsyncTransport, Endpoint, Keys, Store, Transport
from .tally import Row, Tally, merged

J = TypeVar("J", bound=type[JobBase[...]])
Block = Callable[[Config], Any]


class App(Reporting):
    """What a client needs of an instance; :class:`sidekiq_lua.Sidekiq` adds the worker."""

    pool: str | None = None
    """The name of its Redis server; None: the default one. See `shard`."""
    client_class: type[BaseClient] = BaseClient
    async_client_class: type[BaseAsyncClient] = BaseAsyncClient

    def __init__(self, *, clock: Clock | None = None, **settings: Any) -> None:
        self._config = Config()
        self._config.update(settings)
        self.clock = clock or Clock()
        self.registry = Registry()
        self.tally = Tally()
        self.via: ContextVar[str | None] = ContextVar("via", default=None)
        self.home: ContextVar[str | None] = ContextVar("home", default=None)
        """The pool that the job which runs in this context came from, where it is not the default one."""
        self._shards: dict[str, Shard] = {}
        self.is_server = False
        self.is_embedded = False
        self.may_start_server = os.environ.get("SIDEKIQ_LUA_LOCAL") == "1"
        self.server_reason = ""
        self.redirect: Callable[[str | None], str] | None = None
        """The URL for each pool, in place of what the settings say; for tests on a throw-away server."""
        self._blocks: dict[str, list[Block]] = {"server": [], "client": []}
        self._lock = Guard()
        self._transports: dict[str | None, Transport] = {}
        self._outboxes: dict[str | None, Outbox] = {}
        self._parts: tuple[Codec, Stamp, Store] | None = None
        self._client: BaseClient | None = None
        # Weak, as `set(client_class=partial(…))` is another one each time.
        self._clients: WeakKeyDictionary[Any, BaseClient] = WeakKeyDictionary()
        self.enqueuer = Enqueuer(self)
        self.health_routes: dict[str, Callable[[], tuple[int, str, bytes]]] = {}
        """Paths that a worker's health endpoint answers (setting `health`): status, content type and body."""
        self._bases: dict[str, Any] = {}

    # -- settings -----------------------------------------------------------------------

    @property
    def config(self) -> Config:
        """The settings, after the configure blocks for this kind of process have run."""
        if self._blocks["server" if self.is_server else "client"]:
            self._configure()
        return self._config

    def _configure(self) -> None:
        with self._lock:
            if self._lock.configuring:
                return  # a block reads the settings
            self._lock.configuring = True
            try:
                blocks = self._blocks["server" if self.is_server else "client"]
                while blocks:
                    # Out of the list only when it is done: until then other threads wait for it, and one that
                    # fails lets nobody go on without it.
                    blocks[0](self._config)
                    del blocks[0]
            finally:
                self._lock.configuring = False

    def embed(self) -> None:
        """From here on this process enqueues, as it did, and runs jobs: the blocks for both are its own.

        Raises ConfigurationError within a configure block.
        """
        with self._lock:
            if self._lock.configuring:
                raise ConfigurationError("configure_embed: call it outside of configure blocks")
            if not self.is_embedded:
                both = self._blocks["client"] + self._blocks["server"]
                self._blocks = {"client": both, "server": both}
            self.is_server = self.is_embedded = True

    def grow_pools(self) -> None:
        """Let pools that were made before this process became a worker have the connections of one."""
        with self._lock:
            for pool, transport in self._transports.items():
                transport.grow(self.pool_limits(pool)[0])

    def preset(self, settings: Mapping[str, Any], source: str = "") -> None:
        """Set settings without running the configure blocks, so that these keep the last word, as in Sidekiq.

        Errors begin with `source`; see `Config.update`.
        """
        self._config.update(settings, source)

    def replace_config(self, config: Config) -> None:
        """Use other settings, before anything was made from the present ones."""
        if self._parts is not None or self._transports:
            raise ConfigurationError("the settings can be replaced only before the instance is used")
        self._config = config

    def configure_server(self, block: Block) -> Block:
        """Decorator: `block(config)` runs once, in a process that runs jobs."""
        self._blocks["server"].append(called_with("config")("configure_server", block))
        return block

    def configure_client(self, block: Block) -> Block:
        """Decorator: `block(config)` runs once, before first use, in a process that only enqueues."""
        self._blocks["client"].append(called_with("config")("configure_client", block))
        return block

    # -- job classes --------------------------------------------------------------------

    @property
    def Job(self) -> Any:
        """Base class for this instance's jobs: `class ChargeJob(app.Job)`.

        Type checkers cannot look into it; `class ChargeJob(Job[[int]], app=app)` is the same for them to see.
        """
        return self._base("Job", JobBase[P])  # type: ignore[valid-type]

    @property
    def IterableJob(self) -> Any:
        """Base class for this instance's iterable jobs: `class ImportJob(app.IterableJob)`; see `Job`."""
        return self._base("IterableJob", IterableJobBase[P])  # type: ignore[valid-type]

    def _base(self, name: str, base: Any) -> Any:
        if name not in self._bases:
            body = {"abstract": True, "_app": self, "__module__": __name__}
            self._bases[name] = new_class(name, (base,), exec_body=lambda names: names.update(body))
        return self._bases[name]

    def register_job(self, job_class: J) -> J:
        """Let this instance's worker run a class; needed only for classes defined for another instance.

        Raises DuplicateJobClass.
        """
        self.registry.add(job_class)
        return job_class

    # -- parts that depend on settings ----------------------------------------------------

    def _made(self) -> tuple[Codec, Stamp, Store]:
        if self._parts is None:
            with self._lock:
                config = self.config
                self._parts = (
                    Codec(config.dump_json, config.load_json, config.payload_limit),
                    Stamp(self.clock, config.payload_format),
                    Store(Keys()),
                )
        return self._parts

    @property
    def codec(self) -> Codec:
        return self._made()[0]

    @property
    def stamp(self) -> Stamp:
        return self._made()[1]

    @property
    def store(self) -> Store:
        return self._made()[2]

    # -- Redis --------------------------------------------------------------------------

    def endpoint(self, pool: str | None = None) -> Endpoint:
        """The server of a pool: None is the default one, else a name of the setting `pools` or a URL.

        Raises ConfigurationError, and RedisUnavailable when no server is named or found.
        """
        if self.redirect is not None and (pool is None or pool in self.config.pools or "://" in pool):
            return Endpoint(self.redirect(pool))
        if pool is None:
            options = dict(self.config.redis or {})
            url, self.server_reason = choose_server(
                options.get("url"),
                os.environ,
                self.config.environment,
                self.may_start_server,
                BundledServer(),
            )
            return Endpoint(url, options)
        if pool in self.config.pools:
            options = dict(self.config.pools[pool])
            return Endpoint(options["url"], options)
        if "://" in pool:
            return Endpoint(pool)
        known = ", ".join(sorted(self.config.pools)) or "none"
        raise ConfigurationError(f"no Redis pool is called {pool!r} (the setting `pools` has: {known})")

    def transport(self, pool: str | None = None) -> Transport:
        """The connections to a pool, made when first asked for."""
        transport = self._transports.get(pool)
        if transport is None:
            with self._lock:
                transport = self._transports.get(pool)
                if transport is None:
                    transport = Transport(self.endpoint(pool), *self.pool_limits(pool))
                    self._transports[pool] = transport
        return transport

    def pool_limits(self, pool: str | None = None) -> tuple[int, float]:
        """How many connections a pool may have, and how many seconds to wait for a free one."""
        named: Mapping[str, Any] | None = self.config.redis if pool is None else self.config.pools.get(pool)
        options = named or {}
        size = options.get("pool_size") or 10
        if self.is_server:
            # Every thread may settle a job or enqueue one at the same time as the actors work.
            jobs = self.config.total_concurrency + 10
            size = size + jobs if self.is_embedded else max(size, jobs)
        return size, options.get("pool_timeout") or 1.0

    def async_transport(self, pool: str | None = None) -> AsyncTransport:
        """New connections to a pool, for one event loop."""
        return AsyncTransport(self.endpoint(pool), *self.pool_limits(pool), self.transport(pool).counts)

    def outbox(self, pool: str | None = None) -> Outbox | None:
        """Through which pushes go to a pool where `reliable_push` or `wait_replicas` is set; else None."""
        config = self.config
        if not (config.reliable_push or config.wait_replicas):
            return None
        outbox = self._outboxes.get(pool)
        if outbox is None:
            with self._lock:
                outbox = self._outboxes.setdefault(pool, Outbox(self, pool))
        return outbox

    @property
    def keeps_pushes(self) -> bool:
        """Whether `push_buffer` keeps any job now."""
        return any(outbox.kept for outbox in self._outboxes.values())

    def send_kept(self) -> None:
        """Send what `push_buffer` keeps; what cannot be sent within 3 s is logged and given up."""
        for outbox in list(self._outboxes.values()):
            outbox.close()

    @property
    def redis_pool(self) -> Transport:
        """The connections to the default server."""
        return self.transport()

    def redis_info(self) -> dict[str, str]:
        """The server's INFO as a dict; where INFO is denied, a dict that says so and nothing more."""
        try:
            text = self.transport().command("INFO").decode("utf-8", "replace")
        except RedisError as error:
            if "NOPERM" not in str(error) and "unknown command" not in str(error):
                raise
            return {"info": "denied"}
        lines = (line.partition(":") for line in text.splitlines() if ":" in line and line[0] != "#")
        return {name: value for name, _, value in lines}

    # -- other servers ------------------------------------------------------------------

    def shard(self, pool: str) -> App:
        """This instance on another server: `Queue("low", app.shard("eu"))`, `app.shard("eu").client.push(…)`.

        `pool` is a name of the setting `pools`, a URL, or "default". Raises ConfigurationError.
        """
        if self.named(pool) is None:
            return self
        shard = self._shards.get(pool)
        if shard is None:
            self.endpoint(pool)
            shard = self._shards.setdefault(pool, Shard(self, pool))
        return shard

    def named(self, pool: str | None) -> str | None:
        """The name by which connections are kept: None where "default" means the setting `redis`."""
        return None if pool == "default" and pool not in self.config.pools else pool

    def here(self) -> App:
        """The shard of `via`, or of the job that runs here; this instance where there is none."""
        pool = self.via.get() or self.home.get()
        return self.shard(pool) if pool else self

    def totals(self) -> dict[str, Row]:
        """What this process ran, on all servers, by class."""
        return merged(one.tally.totals() for one in (self, *self._shards.values()))

    # -- clients ------------------------------------------------------------------------

    @property
    def client(self) -> BaseClient:
        """The instance's client; the setting `client_class` makes it another one than the ordinary."""
        if self._client is None:
            self._client = (self.config.client_class or self.client_class)(self)
        return self._client

    def client_of(self, make: Callable[[App], BaseClient] | None) -> BaseClient:
        """The client that the option `client_class` of a job class names; None: the instance's."""
        if make is None:
            return self.client
        client = self._clients.get(make)
        if client is None:
            client = self._clients.setdefault(make, make(self))
        return client

    def async_client(self, pool: str | None = None) -> BaseAsyncClient:
        """A client for the running event loop; close it with `await client.close()`."""
        return self.async_client_class(self, pool)

    def close(self) -> None:
        """Send what `push_buffer` keeps and close all connections; what is used next opens new ones."""
        self.send_kept()
        with self._lock:
            while self._transports:
                self._transports.popitem()[1].close()


class Shard(App):
    """An instance on another of its servers: one more App to whoever looks, pushes or works there.

    Settings, job classes and connections are the instance's; the clock, which follows the server's, and
    the count of what ran are its own.
    """

    def __init__(self, app: App, pool: str) -> None:
        self._whole = app
        self.pool = pool
        self.client_class, self.async_client_class = app.client_class, app.async_client_class
        self.clock = Clock() if type(app.clock) is Clock else app.clock
        self.tally = Tally()
        self.enqueuer = Enqueuer(self)
        self._parts = None
        self._client = None
        self._clients = WeakKeyDictionary()
        self._bases = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_whole"], name)

    @property
    def config(self) -> Config:
        return self._whole.config

    @property
    def logger(self) -> logging.Logger:
        return self._whole.logger

    def _made(self) -> tuple[Codec, Stamp, Store]:
        if self._parts is None:
            codec, _, store = self._whole._made()
            self._parts = codec, Stamp(self.clock, self.config.payload_format), store
        return self._parts

    def endpoint(self, pool: str | None = None) -> Endpoint:
        return self._whole.endpoint(pool or self.pool)

    def transport(self, pool: str | None = None) -> Transport:
        return self._whole.transport(pool or self.pool)

    def pool_limits(self, pool: str | None = None) -> tuple[int, float]:
        return self._whole.pool_limits(pool or self.pool)

    def async_transport(self, pool: str | None = None) -> AsyncTransport:
        return self._whole.async_transport(pool or self.pool)

    def outbox(self, pool: str | None = None) -> Outbox | None:
        return self._whole.outbox(pool or self.pool)

    def shard(self, pool: str) -> App:
        return self._whole.shard(pool)

    def here(self) -> App:
        return self

    def close(self) -> None:
        self._whole.close()
