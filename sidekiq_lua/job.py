"""Job classes: what a user writes, and how a job is put in a queue."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, Self, TypedDict, TypeVar

from .errors import ConfigurationError, InvalidJob, SignatureMismatch
from .execution import run_inline
from .timing import When, absolute, due

if TYPE_CHECKING:
    from .app import App

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])


class JobOptions(TypedDict, total=False):
    """Options of a job class or of one job. Times are in seconds."""

    queue: str
    retry: bool | int
    """True: `max_retries` tries (25); a number: that many retries; 0: dead at the first error; False: forgotten."""
    retry_for: int
    """Retry for so many seconds after the first failure instead of a number of times."""
    retry_queue: str
    backtrace: bool | int
    """Keep the traceback: all lines, or the first so many."""
    dead: bool
    """False: an exhausted job is forgotten instead of kept in the dead set."""
    tags: list[str]
    pool: str
    log_level: str
    profile: str
    profiler_options: dict[str, Any]
    wrapped: str
    display_class: str


class JobBase(Generic[P]):
    """Base of job classes. `class HardJob(Job[[int, str]])` lets a type checker see `perform_async`'s arguments.

    Defining a class registers it with its instance under its `__name__`, or under `sidekiq_class`.
    `abstract = True` in the body makes it a base class only.
    """

    sidekiq_options: ClassVar[JobOptions] = {}
    sidekiq_class: ClassVar[str | None] = None
    _app: ClassVar[App]
    _options: ClassVar[dict[str, Any]] = {}
    _retry_in: ClassVar[Callable[..., Any] | None] = None
    _exhausted: ClassVar[Callable[..., Any] | None] = None
    is_async: ClassVar[bool] = False
    _arity: ClassVar[tuple[int, float, str]] = (0, float("inf"), "")

    jid: str = ""
    """The job's id."""
    _stopping: Callable[[], bool] | None = None

    def __init_subclass__(cls, app: App | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if app is not None:
            cls._app = app
        body = cls.__dict__
        cls._options = {**cls._options, **_checked(cls, body.get("sidekiq_options", {}))}
        for name, slot in (("retry_in", "_retry_in"), ("retries_exhausted", "_exhausted")):
            for spelling in (f"sidekiq_{name}", name):
                if spelling in body:
                    setattr(cls, slot, _hook(cls, spelling))
        if body.get("abstract", False):
            return
        perform = getattr(cls, "perform", None)
        if perform is None:
            raise ConfigurationError(f"{cls.__qualname__} has no perform method (or set abstract = True)")
        cls.is_async = inspect.iscoroutinefunction(perform)
        cls._arity = _arity(perform)
        if hasattr(cls, "_app"):
            cls._app.register_job(cls)

    # -- the class ----------------------------------------------------------------------

    @classmethod
    def sidekiq_name(cls) -> str:
        """The name that payloads carry as `class`."""
        return cls.__dict__.get("sidekiq_class") or cls.__name__

    @classmethod
    def get_sidekiq_options(cls) -> dict[str, Any]:
        """The options of the class and its bases."""
        return cls._options

    @classmethod
    def set_sidekiq_options(cls, **options: Any) -> None:
        """Change some of the class's options."""
        cls._options = {**cls._options, **_checked(cls, options)}

    @classmethod
    def queue_as(cls, name: str) -> None:
        """Set the class's queue."""
        cls.set_sidekiq_options(queue=name)

    @classmethod
    def retry_in(cls, hook: F) -> F:
        """Decorator: `hook(count, error, payload)` says when to retry.

        Seconds (an int above 0), "discard", "kill", or None for the default of count⁴ + 15 s; count is
        0 for the first retry. Sidekiq's jitter is added to either.
        """
        cls._retry_in = staticmethod(hook)
        return hook

    @classmethod
    def retries_exhausted(cls, hook: F) -> F:
        """Decorator: `hook(payload, error)` runs when a job is out of retries; "discard" forgets it."""
        cls._exhausted = staticmethod(hook)
        return hook

    @classmethod
    def check_args(cls, args: Sequence[Any]) -> None:
        """Raises SignatureMismatch if `perform` cannot take these arguments."""
        least, most, signature = cls._arity
        if not least <= len(args) <= most:
            raise SignatureMismatch(f"{cls.__qualname__}.perform{signature} cannot take {len(args)} arguments: {args!r}")

    # -- enqueueing ---------------------------------------------------------------------

    @classmethod
    def set(cls, **options: Any) -> Setter[P]:
        """Options for one push: `HardJob.set(queue="low").perform_async(1)`; also wait, wait_until, pool, sync."""
        return Setter(cls, options)

    @classmethod
    def perform_async(cls, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Put a job in its queue; answers its jid, or None if client middleware stopped it.

        Raises what `Client.push` raises. Keys: `queues`, `queue:NAME`.
        """
        _no_keywords(cls, kwargs)
        return cls._app.client.push({"class": cls, "args": list(args)})

    @classmethod
    def perform_in(cls, when: When, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Put a job in `schedule` (seconds from now, a timedelta or a datetime); at once if that is past."""
        _no_keywords(cls, kwargs)
        at = due(when, cls._app.clock.now())
        item: dict[str, Any] = {"class": cls, "args": list(args)}
        return cls._app.client.push(item if at is None else {**item, "at": at})

    perform_at = perform_in

    @classmethod
    def perform_bulk(
        cls,
        args: Sequence[Sequence[Any]],
        *,
        at: When | Sequence[When] | None = None,
        spread_interval: float | None = None,
        batch_size: int | None = None,
    ) -> list[str | None]:
        """Put many jobs, one for each list of arguments; answers their jids.

        `at` follows the rule of `perform_in`: 60 means in 60 seconds. See `Client.push_bulk`.
        """
        return Setter(cls, {}).perform_bulk(args, at=at, spread_interval=spread_interval, batch_size=batch_size)

    @classmethod
    def perform_inline(cls, *args: P.args, **kwargs: P.kwargs) -> bool | None:
        """Run the job now, in this thread, with both middleware chains; True, or None if one stopped it."""
        _no_keywords(cls, kwargs)
        return run_inline(cls._app, cls, {"class": cls, "args": list(args)})

    # -- the instance -------------------------------------------------------------------

    @property
    def logger(self) -> logging.Logger:
        """The instance's logger; its lines carry the job's context."""
        return self._app.logger

    def interrupted(self) -> bool:
        """Whether the worker is stopping: a long job should then end soon."""
        return self._stopping is not None and self._stopping()


class Setter(Generic[P]):
    """A job class with options for the next push."""

    def __init__(self, job_class: type[JobBase[P]], options: Mapping[str, Any]) -> None:
        self._class = job_class
        self._options: dict[str, Any] = {}
        self.set(**options)

    def set(self, **options: Any) -> Self:
        """Add options; `wait` and `wait_until` say when the job is due."""
        when = [options.pop(name, None) for name in ("wait", "wait_until")]
        self._options.update(_checked(self._class, options))
        for value in when:
            if value is not None:
                self._due(value)
        return self

    def _due(self, when: When) -> Self:
        at = due(when, self._class._app.clock.now())
        if at is not None:
            self._options["at"] = at
        return self

    def _item(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        _no_keywords(self._class, kwargs)
        return {**self._options, "class": self._class, "args": list(args)}

    def perform_async(self, *args: P.args, **kwargs: P.kwargs) -> str | bool | None:
        """See `Job.perform_async`; with `sync=True` the job runs at once and the answer is perform_inline's."""
        if self._options.get("sync") is True:
            return self.perform_inline(*args, **kwargs)
        return self._class._app.client.push(self._item(args, kwargs))

    def perform_in(self, when: When, *args: P.args, **kwargs: P.kwargs) -> str | bool | None:
        """See `Job.perform_in`."""
        return self._due(when).perform_async(*args, **kwargs)

    perform_at = perform_in

    def perform_bulk(
        self,
        args: Sequence[Sequence[Any]],
        *,
        at: When | Sequence[When] | None = None,
        spread_interval: float | None = None,
        batch_size: int | None = None,
    ) -> list[str | None]:
        """See `Job.perform_bulk`."""
        now = self._class._app.clock.now()
        times: Any = None
        if isinstance(at, list | tuple):
            times = [absolute(when, now) for when in at]
        elif at is not None:
            times = absolute(at, now)  # type: ignore[arg-type]  # a Sequence is no time: refused there
        item = {**self._options, "class": self._class, "args": args}
        for name, value in (("at", times), ("spread_interval", spread_interval), ("batch_size", batch_size)):
            if value is not None:
                item[name] = value
        return self._class._app.client.push_bulk(item)

    def perform_inline(self, *args: P.args, **kwargs: P.kwargs) -> bool | None:
        """See `Job.perform_inline`."""
        return run_inline(self._class._app, self._class, self._item(args, kwargs))


def _checked(job_class: type, options: Any) -> dict[str, Any]:
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise ConfigurationError(f"{job_class.__qualname__}: sidekiq_options must be a dict with text as keys")
    return dict(options)


def _no_keywords(job_class: type, kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise InvalidJob(
            f"{job_class.__qualname__}: jobs take positional arguments only, not {', '.join(kwargs)}= "
            "(options go through .set(…))"
        )


def _hook(job_class: type, name: str) -> Any:
    """A hook from the class body, as a function without self; the body's name is given back to the base."""
    hook = job_class.__dict__[name]
    if name in ("retry_in", "retries_exhausted"):
        delattr(job_class, name)
    if isinstance(hook, staticmethod):
        return hook
    if isinstance(hook, classmethod):
        return staticmethod(hook.__get__(None, job_class))
    if next(iter(inspect.signature(hook).parameters), "") == "self":
        return staticmethod(lambda *args: hook(job_class(), *args))
    return staticmethod(hook)


def _arity(perform: Callable[..., Any]) -> tuple[int, float, str]:
    """The least and the most positional arguments that perform takes, and its signature as text."""
    signature = inspect.signature(perform)
    least, most = 0, 0.0
    for name, parameter in list(signature.parameters.items())[1:]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = float("inf")
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            most += 1
            least += parameter.default is parameter.empty
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise ConfigurationError(
                f"{perform.__qualname__}: the keyword-only parameter {name!r} needs a default, "
                "since jobs take positional arguments only"
            )
    return least, most, str(signature).replace("(self, ", "(").replace("(self)", "()")
