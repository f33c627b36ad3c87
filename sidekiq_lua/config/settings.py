"""Every setting, and the object that holds them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, TypeVar, overload

from ..errors import ConfigurationError, UnknownSetting
from ..reporting import log_error
from . import check
from .capsules import Capsule, CapsulesSetting, capsule_name, checked
from .fields import ChainSetting, EventsSetting, ListSetting, MappingSetting, Setting, event_name, frozen
from .names import keep_all, snake
from .queues import Mode, QueueItem, mode_of, queue_name, queues, weights
from .redis_options import RedisSettings, pools, redis_settings
from .surroundings import default_concurrency, environment_name, tag
from .together import check_capsules, check_together

F = TypeVar("F", bound=Callable[..., Any])
Seconds = float | timedelta
ErrorHandler = Callable[[BaseException, Mapping[str, Any], "Config"], Any]
LONGEST_PUSH_S = 240.0
"""For so long a push may be sent again: well below the 300 s for which Redis remembers it."""
DeathHandler = Callable[[Mapping[str, Any], BaseException], Any]


class Config:
    """The settings of one Sidekiq instance, as attributes; each is checked when it is set.

    Settings are given by keyword, in a mapping, or later by assignment or `update`. Raises
    ConfigurationError for a value that cannot work, UnknownSetting for a name that does not exist, and
    FrozenConfig for a change after `freeze`. Times are in seconds; a timedelta will do.

    A setting that is not given comes from `environ` (default: the process's environment) where a variable
    is named below, else it has its default.
    """

    # -- Redis --------------------------------------------------------------------------

    redis: Setting[RedisSettings, str | Mapping[str, Any] | None] = MappingSetting(
        redis_settings, {}, "URL of the Redis server, or a mapping of the options below"
    )
    pools: Setting[dict[str, RedisSettings], Mapping[str, Any]] = MappingSetting(
        pools, {}, "other Redis servers: a mapping from a name to its options, with a `url`"
    )
    redis_idle_timeout: Setting[float | None, Seconds | None] = Setting(
        check.optional(check.seconds), None, "seconds after which an unused connection is closed; none: never"
    )

    # -- pushing ------------------------------------------------------------------------

    reliable_push: Setting[bool | float, bool | Seconds] = Setting(
        check.flag_or_seconds(LONGEST_PUSH_S),
        False,
        "true: a push is sent again for 240 s, and done once; or for how many seconds, at most 240",
    )
    push_buffer: Setting[int | None, int | None] = Setting(
        check.optional(check.whole(0)),
        None,
        "most jobs kept in memory, for each server, while it is away; needs `reliable_push`; none or 0: none",
    )
    wait_replicas: Setting[int, int] = Setting(
        check.whole(0),
        0,
        "replicas that must have a job before its push returns, else it raises NotReplicated",
    )
    wait_timeout_ms: Setting[int, int] = Setting(
        check.whole(1), 1000, "milliseconds that these are waited for"
    )

    # -- what a worker does -------------------------------------------------------------

    concurrency: Setting[int, int] = Setting(
        check.whole(1),
        5,
        "most jobs at the same time, threads and async tasks together; or RAILS_MAX_THREADS",
    )
    queues: ListSetting[str, Iterable[QueueItem] | Mapping[str, int] | str] = ListSetting(
        queues, ["default"], 'list of `"name"`, `"name,weight"`, `[name, weight]` or `{name: weight}`'
    )
    capsules = CapsulesSetting(
        "more groups of queues, beside these: a mapping from a name to the options below"
    )
    require: ListSetting[str, Iterable[str | os.PathLike[str]] | str | os.PathLike[str]] = ListSetting(
        check.paths, [], "what the worker imports first: dotted modules, `.py` files or package directories"
    )
    timeout: Setting[float, Seconds] = Setting(
        check.seconds, 25, "seconds that running jobs are given to end when the worker stops"
    )
    max_iteration_runtime: Setting[float | None, Seconds | None] = Setting(
        check.optional(check.seconds), None, "seconds after which an iterable job makes room; none: never"
    )
    poll_interval_average: Setting[float | None, Seconds | None] = Setting(
        check.optional(check.seconds),
        None,
        "seconds between a process's looks at scheduled jobs and retries; none: scaled by the next setting",
    )
    average_scheduled_poll_interval: Setting[float, Seconds] = Setting(
        check.seconds, 5, "seconds between such looks by any process, on average"
    )

    # -- life and death of processes ----------------------------------------------------

    heartbeat_interval: Setting[float, Seconds] = Setting(check.seconds, 10, "seconds between heartbeats")
    heartbeat_ttl: Setting[int, Seconds] = Setting(
        check.whole_seconds,
        60,
        "whole seconds of silence after which a process counts as dead; more than 2 intervals",
    )
    recovery_interval: Setting[float, Seconds] = Setting(
        check.seconds, 15, "seconds between searches for the jobs of dead processes"
    )
    crash_limit: Setting[int, int] = Setting(
        check.whole(0), 3, "crashes of its process after which a job goes to the dead set; 0: never"
    )
    crash_window: Setting[int, Seconds] = Setting(
        check.whole_seconds, 259_200, "whole seconds in which these crashes are counted (72 hours)"
    )
    quarantine_queue: Setting[str | None, str | None] = Setting(
        check.optional(queue_name), None, "queue that such jobs go to instead of the dead set"
    )
    health: Setting[str | None, str | int | None] = Setting(
        check.optional(check.address),
        None,
        "HOST:PORT, or a port of 127.0.0.1, where the worker answers `/livez` and `/readyz`; none: nowhere",
    )

    # -- jobs ---------------------------------------------------------------------------

    max_retries: Setting[int, int] = Setting(check.whole(0), 25, "retries of a job with `retry: true`")
    dead_max_jobs: Setting[int, int] = Setting(
        check.whole(1), 10_000, "size to which the dead set is trimmed (one less is kept, as Sidekiq does)"
    )
    dead_timeout_in_seconds: Setting[float, Seconds] = Setting(
        check.seconds, 15_552_000, "seconds a job stays in the dead set (180 days)"
    )
    strict_args: Setting[str, str] = Setting(
        check.choice("raise", "warn", "none"), "raise", "what happens to arguments that JSON would change"
    )
    payload_format: Setting[str, str | float] = Setting(
        check.choice("8.1", "7"), "8.1", '`"7"` writes times as Sidekiq 6 and 7 read them'
    )
    payload_limit: Setting[int | None, int | None] = Setting(
        check.optional(check.whole(1)), None, "most bytes of a job's JSON when it is enqueued; none: no limit"
    )
    dump_json: Setting[Callable[[Any], Any] | None, Callable[[Any], Any] | None] = Setting(
        check.optional(check.called_with("value")), None, "`f(value)` answers JSON, in place of ujson"
    )
    load_json: Setting[Callable[[Any], Any] | None, Callable[[Any], Any] | None] = Setting(
        check.optional(check.called_with("text")), None, "`f(text)` answers the value, in place of ujson"
    )

    # -- several processes --------------------------------------------------------------

    processes: Setting[int | None, int | None] = Setting(
        check.optional(check.whole(1)),
        None,
        "worker processes under one supervisor; none: one, without a supervisor",
    )
    max_memory: Setting[int | None, int | str | None] = Setting(
        check.optional(check.size),
        None,
        'resident memory, as in `"512MB"`, over which a process is replaced; none: no limit',
    )
    max_jobs: Setting[int | None, int | None] = Setting(
        check.optional(check.whole(1)), None, "jobs after which a process is replaced; none: no limit"
    )
    client_class: Setting[Callable[..., Any] | None, Callable[..., Any] | None] = Setting(
        check.optional(check.called_with("app")),
        None,
        "`f(app)` answers the client that `app.client` and job classes use, in place of the ordinary one",
    )

    # -- names --------------------------------------------------------------------------

    environment: Setting[str, str] = Setting(
        check.text,
        "development",
        "name of the environment, which chooses a file's section; or SIDEKIQ_ENV, APP_ENV",
    )
    tag: Setting[str, str | None] = Setting(
        tag, None, "name of the process in titles and lists; none: the current directory's name"
    )
    labels: ListSetting[str, Iterable[str] | str] = ListSetting(
        check.texts, [], "labels of the process, shown in lists"
    )

    # -- what is measured ---------------------------------------------------------------

    metrics: Setting[bool, bool] = Setting(
        check.flag, True, "what ran is counted by class and minute, and written to Redis at each heartbeat"
    )

    # -- logging and hooks --------------------------------------------------------------

    logger: Setting[logging.Logger | None, logging.Logger | None] = Setting(
        check.optional(check.instance_of("a logging.Logger", logging.Logger)),
        None,
        "a `logging.Logger`; none: a SidekiqLogger on standard output",
    )
    log_level: Setting[str | int, str | int] = Setting(
        check.level, "info", "debug, info, warn, error, fatal, or a number of `logging`"
    )
    logged_job_attributes: ListSetting[str, Iterable[str] | str] = ListSetting(
        check.texts, ["bid", "tags"], "fields of a job that its log lines show"
    )
    skip_default_job_logging: Setting[bool, bool] = Setting(
        check.flag, False, "true: no start, done and fail lines"
    )
    backtrace_cleaner: Setting[Callable[[list[str]], list[str]], Callable[[list[str]], list[str]]] = Setting(
        check.called_with("lines"), keep_all, "`f(lines)` answers the lines of a backtrace to keep"
    )
    profiler: Setting[Callable[..., Any] | None, Callable[..., Any] | None] = Setting(
        check.optional(check.called_with("payload", "fn", may_await=True)),
        None,
        "`f(payload, fn)` runs `fn()` for jobs with `profile`, in place of the built-in profiler",
    )
    error_handlers: ListSetting[ErrorHandler, Iterable[ErrorHandler]] = ListSetting(
        check.each(check.called_with("error", "context", "config"), "a list of callables"),
        [log_error],
        "`f(error, context, config)` for each error; the first one logs it",
    )
    death_handlers: ListSetting[DeathHandler, Iterable[DeathHandler]] = ListSetting(
        check.each(check.called_with("job", "error"), "a list of callables"),
        [],
        "`f(job, error)` for each job that will not be tried again",
    )
    lifecycle_events = EventsSetting(
        "mapping from `startup`, `quiet`, `shutdown`, `exit`, `heartbeat` (a process appears), `beat` (every "
        "heartbeat) to lists of `f()`",
    )
    client_middleware = ChainSetting("client", "runs around every push, see `Chain`")
    server_middleware = ChainSetting("server", "runs around every job, see `Chain`")

    def __init__(
        self,
        settings: Mapping[str, Any] | None = None,
        /,
        *,
        environ: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        around = os.environ if environ is None else environ
        held = vars(self)
        held["frozen"] = held["concurrency_given"] = False
        for setting in SETTINGS.values():
            held[setting.name] = setting.hold(self, setting.check(setting.name, setting.default))
        self.environment = environment_name(around)
        given = {**(settings or {}), **more}
        if "concurrency" not in given:
            self.concurrency = default_concurrency(around, Config.concurrency.default)
            held["concurrency_given"] = False
        self.update(given)

    frozen: bool
    """Whether the settings can no longer be changed."""

    concurrency_given: bool
    """Whether somebody has set `concurrency`; else it is a default."""

    # -- all of them --------------------------------------------------------------------

    def update(self, settings: Mapping[str, Any], source: str = "") -> None:
        """Set several at once, all or none; errors begin with `source`, the name of a file for instance.

        Raises UnknownSetting, FrozenConfig and ConfigurationError.
        """
        try:
            held = {}
            for name, value in settings.items():
                setting = _find(name)
                if self.frozen:
                    raise frozen(name)
                held[name] = setting.hold(self, setting.check(name, value))
            check_together({**vars(self), **held})
        except ConfigurationError as error:
            if source:
                raise type(error)(f"{source}: {error}") from None
            raise
        vars(self).update(held, concurrency_given=self.concurrency_given or "concurrency" in held)

    def get(self, name: str) -> Any:
        """The value of a setting. Raises UnknownSetting."""
        return vars(self)[_find(name).name]

    def to_dict(self) -> dict[str, Any]:
        """A copy of all settings, passwords included, that `Config` and `update` take."""
        return {name: setting.plain(vars(self)[name]) for name, setting in SETTINGS.items()}

    def freeze(self) -> None:
        """Refuse changes from now on, also to lists and middleware chains; more calls do nothing.

        Raises ConfigurationError for a capsule without queues.
        """
        check_capsules(self)
        vars(self)["frozen"] = True
        for capsule in self.capsules.values():
            capsule.freeze()
        self.client_middleware.freeze()
        self.server_middleware.freeze()

    def __setattr__(self, name: str, value: Any) -> None:
        _find(name)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        raise _UnknownAttribute(_unknown(name))

    def __repr__(self) -> str:
        shown = ("environment", "concurrency", "queues", "redis")
        return f"<Config: {', '.join(f'{name}={vars(self)[name]!r}' for name in shown)}>"

    # -- hooks --------------------------------------------------------------------------

    @overload
    def on(self, event: str) -> Callable[[F], F]: ...
    @overload
    def on(self, event: str, handler: F) -> F: ...
    def on(self, event: str, handler: F | None = None) -> F | Callable[[F], F]:
        """Call `handler()` at an event; as a decorator: `@config.on("startup")`.

        Raises ConfigurationError for an event that does not exist.
        """
        handlers = self.lifecycle_events[event_name(event)]

        def register(function: F) -> F:
            handlers.append(function)
            return function

        return register if handler is None else register(handler)

    def error_handler(self, handler: F) -> F:
        """Decorator: `handler(error, context, config)` is called for each error."""
        self.error_handlers.append(handler)
        return handler

    def death_handler(self, handler: F) -> F:
        """Decorator: `handler(job, error)` is called for each job that will not be tried again."""
        self.death_handlers.append(handler)
        return handler

    def capsule(self, name: str, **options: Any) -> Capsule:
        """The capsule of this name, made if there is none; options are set on it.

        `config.capsule("serial", queues=["invoices"], concurrency=1)`. "default" is the one that every worker
        has. Raises ConfigurationError, UnknownSetting and FrozenConfig.
        """
        found = self.capsules.get(capsule_name(name))
        if found is None:
            if self.frozen:
                raise frozen("capsules")
            found = Capsule(self, name, checked(name, options))
            vars(self)["capsules"] = MappingProxyType({**self.capsules, name: found})
        elif options:
            found.update(options)
        return found

    # -- what follows from them ---------------------------------------------------------

    @property
    def weights(self) -> Mapping[str, int]:
        """The weight of each queue, in the order given; 0 where none was."""
        return MappingProxyType(weights(self.queues))

    @property
    def mode(self) -> Mode:
        """In which order the queues are looked at: "strict", "random" or "weighted"."""
        return mode_of(self.weights)

    @property
    def total_concurrency(self) -> int:
        """How many jobs of all capsules run at the same time, at most."""
        return sum(capsule.concurrency for capsule in self.capsules.values())


class _UnknownAttribute(UnknownSetting, AttributeError):
    """Lets `hasattr` answer False."""


SETTINGS: dict[str, Setting[Any, Any]] = {
    name: value for name, value in vars(Config).items() if isinstance(value, Setting)
}
"""Every setting by its name, in the order of the documentation."""


def _find(name: Any) -> Setting[Any, Any]:
    setting = SETTINGS.get(name) if isinstance(name, str) else None
    if setting is None:
        raise UnknownSetting(_unknown(name))
    return setting


def _unknown(name: Any) -> str:
    known: Sequence[str] = list(SETTINGS)
    return f"there is no setting {name!r}; the nearest is {check.nearest(snake(str(name)), known)!r}"
