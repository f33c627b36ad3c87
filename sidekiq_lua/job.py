"""Job classes: what a user writes, and how a job is put in a queue."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypedDict, TypeVar

from .errors import ConfigurationError, InvalidJob, SignatureMismatch
from .execution import run_inline
from .faked import Faked
from .payload import shorten
from .signatures import accepts, has_yield, is_async, signature
from .timing import When, due

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    from .app import App
    from .client import BaseClient

    P = ParamSpec("P", default=...)
else:
    from typing import ParamSpec

    P = ParamSpec("P")

RetryIn = TypeVar("RetryIn", bound=Callable[[int, Any, dict[str, Any]], Any])
Exhausted = TypeVar("Exhausted", bound=Callable[[dict[str, Any], Any], Any])


class JobOptions(TypedDict, total=False):
    """Options of a job class or of one job. Times are in seconds."""

    queue: str
    retry: bool | int
    """True: `max_retries` (25); a number: that many; 0: dead at the first error; False: forgotten then."""
    retry_for: int
    """Retry for so many seconds after the first failure instead of a number of times."""
    retry_queue: str
    backtrace: bool | int
    """Keep the traceback: all lines, or the first so many."""
    dead: bool
    """False: an exhausted job is forgotten instead of kept in the dead set."""
    tags: list[str]
    pool: str
    client_class: Callable[..., Any]
    """`f(app)` answers the client that pushes the job, in place of the instance's."""
    log_level: str
    profile: str
    profiler_options: dict[str, Any]
    wrapped: str
    display_class: str


class JobBase(Faked, Generic[P]):
    """Base of job classes. `class HardJob(Job[[int, str]])` lets a type checker see what `perform` takes.

    Defining a class registers it with its instance under its `__name__`, or under `sidekiq_class`;
    `class HardJob(Job, app=app)` chooses the instance. `abstract = True` in the body: only a base class.
    """

    sidekiq_options: ClassVar[JobOptions] = {}
    sidekiq_class: ClassVar[str | None] = None
    _app: ClassVar[App]
    _own: ClassVar[dict[str, Any]] = {}
    _options: ClassVar[dict[str, Any]] = {}
    _retry_in: ClassVar[Callable[..., Any] | None] = None
    _exhausted: ClassVar[Callable[..., Any] | None] = None
    is_async: ClassVar[bool] = False
    is_iterable: ClassVar[bool] = False
    _entry: ClassVar[str] = "perform"
    """The method whose signature the arguments have to fit, but for the parameters in `_given`."""
    _given: ClassVar[tuple[str, ...]] = ()
    _arity: ClassVar[tuple[int, float, str]] = (0, float("inf"), "")

    jid: str = ""
    """The job's id."""
    _stopping: Callable[[], bool] | None = None

    if TYPE_CHECKING:

        def perform(self, *args: P.args, **kwargs: P.kwargs) -> Any:
            """What the job does; a subclass writes it as `def` or `async def`."""

    def __init_subclass__(cls, app: App | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if app is not None:
            cls._app = app
        cls._own = _checked(cls, cls.__dict__.get("sidekiq_options", {}))
        cls._options = _inherited(cls)
        for name, slot in (("retry_in", "_retry_in"), ("retries_exhausted", "_exhausted")):
            _take_hook(cls, name, slot)
        if cls.is_abstract():
            return
        perform = getattr(cls, "perform", None)
        if perform is None:
            raise ConfigurationError(f"{cls.__qualname__} has no perform method (or set abstract = True)")
        if inspect.isgeneratorfunction(perform) or inspect.isasyncgenfunction(perform):
            raise ConfigurationError(
                f"{cls.__qualname__}.perform must not contain `yield`: to call it would run nothing of it"
            )
        cls.is_async = inspect.iscoroutinefunction(perform)
        cls._arity = _arity(cls)
        if hasattr(cls, "_app"):
            cls._app.register_job(cls)

    # -- the class ----------------------------------------------------------------------

    @classmethod
    def sidekiq_name(cls) -> str:
        """The name that payloads carry as `class`."""
        return cls.__dict__.get("sidekiq_class") or cls.__name__

    @classmethod
    def is_abstract(cls) -> bool:
        """Whether it is a base class only."""
        return bool(cls.__dict__.get("abstract"))

    @classmethod
    def get_sidekiq_options(cls) -> dict[str, Any]:
        """The options of the class and its bases."""
        return cls._options

    @classmethod
    def set_sidekiq_options(cls, **options: Any) -> None:
        """Change some of the class's options."""
        checked = _checked(cls, options)
        cls._own, cls._options = {**cls._own, **checked}, {**cls._options, **checked}

    @classmethod
    def queue_as(cls, name: str) -> None:
        """Set the class's queue."""
        cls.set_sidekiq_options(queue=name)

    @classmethod
    def retry_in(cls, hook: RetryIn) -> RetryIn:
        """Decorator: `hook(count, error, payload)` says when to retry.

        Seconds (1 or more, of any kind of number) or a timedelta, "discard", "kill", or None for the default
        of count⁴ + 15 s; count is 0 for the first retry. Sidekiq's jitter is added to either.
        """
        cls._retry_in = _checked_hook(cls, "retry_in", hook)
        return hook

    @classmethod
    def retries_exhausted(cls, hook: Exhausted) -> Exhausted:
        """Decorator: `hook(payload, error)` runs when a job is out of retries; "discard" forgets it."""
        cls._exhausted = _checked_hook(cls, "retries_exhausted", hook)
        return hook

    @classmethod
    def check_args(cls, args: Sequence[Any]) -> None:
        """Raises SignatureMismatch if the job cannot take these arguments."""
        least, most, signature = cls._arity
        if not least <= len(args) <= most:
            raise SignatureMismatch(
                f"{cls.__qualname__}.{cls._entry}{signature} cannot take {len(args)} arguments: "
                f"{shorten(args)}"
            )

    # -- enqueueing ---------------------------------------------------------------------

    @classmethod
    def set(cls, **options: Any) -> Setter[P]:
        """Options for the next pushes: `HardJob.set(queue="low").perform_async(1)`.

        Also `wait` and `wait_until` (when they are due), `pool`, and `sync=True` (run at once instead).
        """
        return Setter(cls, options)

    @classmethod
    def perform_async(cls, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Put a job in its queue; answers its jid, or None if client middleware stopped it.

        Raises what `Client.push` raises. Keys: `queues`, `queue:NAME`.
        """
        _no_keywords(cls, kwargs)
        return _client(cls).push({"class": cls, "args": list(args)})

    @classmethod
    def perform_in(cls, when: When, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Put a job in `schedule` (seconds from now, a timedelta or a datetime); at once if that is past."""
        _no_keywords(cls, kwargs)
        at = due(when, cls._app.clock.now())
        item: dict[str, Any] = {"class": cls, "args": list(args)}
        return _client(cls).push(item if at is None else {**item, "at": at})

    @classmethod
    def perform_at(cls, when: When, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """The same as `perform_in`."""
        return cls.perform_in(when, *args, **kwargs)

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

        `at`, one time or one for each, follows the rule of `perform_in`: 60 means in 60 seconds. See
        `Client.push_bulk`.
        """
        setter = Setter(cls, {})
        return setter.perform_bulk(args, at=at, spread_interval=spread_interval, batch_size=batch_size)

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
    """A job class with options for the next pushes; it never changes, so it can be kept and shared."""

    def __init__(self, job_class: type[JobBase[P]], options: Mapping[str, Any]) -> None:
        self._class = job_class
        times = [options[name] for name in ("wait", "wait_until") if options.get(name) is not None]
        self._options = {
            k: v for k, v in _checked(job_class, options).items() if k not in ("wait", "wait_until")
        }
        for when in times:
            self._options = self._due(when)

    def set(self, **options: Any) -> Setter[P]:
        """The same with more options; see `Job.set`."""
        return Setter(self._class, {**self._options, **options})

    def _due(self, when: When) -> dict[str, Any]:
        options = {name: value for name, value in self._options.items() if name != "at"}
        at = due(when, self._class._app.clock.now())
        return options if at is None else {**options, "at": at}

    def _item(self, options: Mapping[str, Any], args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        _no_keywords(self._class, kwargs)
        return {**options, "class": self._class, "args": args}

    def _put(self, item: dict[str, Any]) -> str | bool | None:
        if item.get("sync") is True:
            return run_inline(self._class._app, self._class, item)
        return _client(self._class, item).push(item)

    def perform_async(self, *args: P.args, **kwargs: P.kwargs) -> str | bool | None:
        """See `Job.perform_async`; with `sync=True` see `Job.perform_inline`."""
        return self._put(self._item(self._options, list(args), kwargs))

    def perform_in(self, when: When, *args: P.args, **kwargs: P.kwargs) -> str | bool | None:
        """See `Job.perform_in`."""
        return self._put(self._item(self._due(when), list(args), kwargs))

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
        item = self._item(self._options, args, {})
        if isinstance(at, Sequence) and not isinstance(at, str | bytes):
            now = self._class._app.clock.now()
            item["at"] = [due(when, now) for when in at]
        elif at is not None:
            item = self._item(self._due(at), args, {})  # type: ignore[arg-type]  # text is refused there
        for name, value in (("spread_interval", spread_interval), ("batch_size", batch_size)):
            if value is not None:
                item[name] = value
        return _client(self._class, item).push_bulk(item)

    def perform_inline(self, *args: P.args, **kwargs: P.kwargs) -> bool | None:
        """See `Job.perform_inline`."""
        return run_inline(self._class._app, self._class, self._item(self._options, list(args), kwargs))


def _checked(job_class: type, options: Any) -> dict[str, Any]:
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise ConfigurationError(
            f"{job_class.__qualname__}: sidekiq_options must be a dict with text as keys"
        )
    return dict(options)


def _inherited(job_class: type[JobBase]) -> dict[str, Any]:
    """The options of all bases, also of those that are no jobs; the nearest base has the last word."""
    options: dict[str, Any] = {}
    for base in reversed(job_class.__mro__):
        said = vars(base)
        options.update(said["_own"] if "_own" in said else _checked(base, said.get("sidekiq_options", {})))
    return options


def _client(job_class: type[JobBase], item: Mapping[str, Any] | None = None) -> BaseClient:
    """Who pushes a job: the client of its option `client_class`, or the instance's."""
    make = (item or {}).get("client_class") or job_class._options.get("client_class")
    return job_class._app.client_of(make)


def _no_keywords(job_class: type, kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise InvalidJob(
            f"{job_class.__qualname__}: jobs take positional arguments only, not {', '.join(kwargs)}= "
            "(options go through .set(…))"
        )


_HOOKS = {"retry_in": ("count", "error", "payload"), "retries_exhausted": ("payload", "error")}


def _take_hook(job_class: type[JobBase], name: str, slot: str) -> None:
    """Take the hook that the class body has, or a base that is no job, where no nearer base has one."""
    for base in job_class.__mro__:
        said = vars(base)
        if base is JobBase:
            continue
        spelled = [said[spelling] for spelling in (f"sidekiq_{name}", name) if spelling in said]
        if spelled and (base is job_class or not issubclass(base, JobBase)):
            # A hook of that name covers the decorator.
            setattr(job_class, name, vars(JobBase)[name])
            return setattr(job_class, slot, _hook(job_class, spelled[-1], name))
        if slot in said:
            return


def _hook(job_class: type[JobBase], hook: Any, name: str) -> Any:
    """A hook, callable on the class."""
    if hook is None:
        return None
    if isinstance(hook, classmethod):
        _checked_hook(job_class, name, hook.__get__(None, job_class))
        return hook
    if isinstance(hook, staticmethod):
        hook = hook.__func__
    elif callable(hook) and next(iter(signature(hook).parameters), "") == "self":
        _checked_hook(job_class, name, hook.__get__(job_class))
        # Of the class that fails, which may be a subclass.
        return classmethod(lambda cls, *args: hook(cls(), *args))
    return _checked_hook(job_class, name, hook)


def _checked_hook(job_class: type, name: str, hook: Any) -> Any:
    taken = _HOOKS[name]
    if not callable(hook) or not accepts(hook, taken):
        raise ConfigurationError(
            f"{job_class.__qualname__}: {name} must be callable with ({', '.join(taken)})"
        )
    if has_yield(hook):
        raise ConfigurationError(
            f"{job_class.__qualname__}: {name} must not contain `yield`: nothing of it would run"
        )
    if is_async(hook):
        raise ConfigurationError(
            f"{job_class.__qualname__}: {name} must be a plain `def`, also of an async job: nothing awaits it"
        )
    return staticmethod(hook)


def _arity(job_class: type[JobBase]) -> tuple[int, float, str]:
    """The least and the most positional arguments that a job takes, and the signature as text."""
    entry = job_class._entry
    parameters = list(signature(getattr(job_class, entry)).parameters.values())
    if not isinstance(inspect.getattr_static(job_class, entry), staticmethod | classmethod):
        # Of `(*args)`, as of a decorator without functools.wraps, self is one.
        parameters = [p for p in parameters[:1] if p.kind is p.VAR_POSITIONAL] + parameters[1:]
    parameters = [parameter for parameter in parameters if parameter.name not in job_class._given]
    least, most = 0, 0.0
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = float("inf")
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            most += 1
            least += parameter.default is parameter.empty
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise ConfigurationError(
                f"{job_class.__qualname__}.{entry}: the keyword-only parameter {parameter.name!r} needs "
                "a default, since jobs take positional arguments only"
            )
    return least, most, str(inspect.Signature([p.replace(annotation=p.empty) for p in parameters]))
