"""Middleware: code that runs around every job (server) or around every push (client).

A middleware is a class with one method `call`. The chain makes a new instance for each call, with the
arguments given when the class was added, so an instance may keep state for one job and needs no locks::

    class Timing:                                        # for config.server_middleware
        def call(self, job, payload, queue, next):
            return next()

    class Tenant:                                        # for config.client_middleware
        def call(self, job_class, payload, queue, redis, next):
            payload["tenant"] = current_tenant()
            return next()

`next()` runs the rest. Return its value: a client middleware that returns something falsy stops the push.
The middleware that was added first is the outermost.

A plain `def call` serves `def perform` and `async def perform` alike: around an async job its `next()` waits
for the job while the event loop goes on. `async def call` (with `await next()`) is for async jobs only.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from types import CoroutineType, FunctionType
from typing import Any, Literal, NamedTuple, TypeVar

from greenlet import getcurrent, greenlet

from .errors import ConfigurationError, FrozenConfig
from .signatures import accepts, annotated

M = TypeVar("M")
Kind = Literal["server", "client"]

_ARGUMENTS = {
    "server": ("job", "payload", "queue", "next"),
    "client": ("job_class", "payload", "queue", "redis", "next"),
}
_ABSENT = object()


class Entry(NamedTuple):
    """One middleware of a chain: how instances of `cls` are made, or the one `instance` to use."""

    cls: type
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    instance: Any = None

    @property
    def is_async(self) -> bool:
        """Whether its `call` is `async def`."""
        return inspect.iscoroutinefunction(getattr(self.cls, "call", None))


class Chain:
    """An ordered list of middleware.

    A class is in it once: adding it again moves it and takes the new arguments.

    `kind` ("server" or "client") lets `add` check that `call` takes the right arguments. `config` is given to
    instances of classes that declare an attribute or a setter `config`. An already-made instance may be added
    in place of a class; it is shared by all threads and used as it is.

    All methods that change the chain raise ConfigurationError for what cannot be a middleware, and
    FrozenConfig once `freeze` was called. They may run while other threads invoke the chain.
    """

    def __init__(self, config: Any = None, *, kind: Kind | None = None) -> None:
        self._config = config
        self._kind = kind
        self._frozen = False
        self._replace([])

    # -- changing it --------------------------------------------------------------------

    def add(self, middleware: M, *args: Any, **kwargs: Any) -> M:
        """Append a class, or an instance; answers it, so that it can be used as a decorator."""
        self._put(middleware, args, kwargs, lambda others: len(others))
        return middleware

    use = add

    def prepend(self, middleware: M, *args: Any, **kwargs: Any) -> M:
        """Make it the outermost."""
        self._put(middleware, args, kwargs, lambda others: 0)
        return middleware

    def insert_before(self, old: Any, new: M, *args: Any, **kwargs: Any) -> M:
        """Put `new` around `old`; outermost if `old` is absent."""
        self._put(new, args, kwargs, lambda others: max(_index(others, old), 0))
        return new

    def insert_after(self, old: Any, new: M, *args: Any, **kwargs: Any) -> M:
        """Put `new` just inside `old`; innermost if `old` is absent."""

        def place(others: list[Entry]) -> int:
            at = _index(others, old)
            return len(others) if at < 0 else at + 1

        self._put(new, args, kwargs, place)
        return new

    def remove(self, middleware: Any) -> None:
        """Take a class out; nothing happens if it is absent."""
        self._replace([entry for entry in self._entries if entry.cls is not _class_of(middleware)])

    def clear(self) -> None:
        """Take everything out."""
        self._replace([])

    def copy(self, config: Any = None) -> Chain:
        """A chain of the same entries that can be changed without changing this one."""
        twin = Chain(config if config is not None else self._config, kind=self._kind)
        twin._replace(list(self._entries))
        return twin

    def become(self, other: Chain) -> None:
        """Hold the entries of another chain instead of the present ones."""
        self._replace(list(other.entries))

    def freeze(self) -> None:
        """Refuse changes from now on."""
        self._frozen = True

    # -- looking ------------------------------------------------------------------------

    @property
    def entries(self) -> list[Entry]:
        """The middleware, outermost first."""
        return list(self._entries)

    def exists(self, middleware: Any) -> bool:
        """Whether this class, or the class of this instance, is in the chain."""
        return _index(self._entries, middleware) >= 0

    __contains__ = exists

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __repr__(self) -> str:
        return f"<Chain {self._kind or ''}: {self}>".replace(" :", ":")

    def __str__(self) -> str:
        return ", ".join(entry.cls.__qualname__ for entry in self._entries)

    # -- running ------------------------------------------------------------------------

    def check_sync(self) -> None:
        """Raises ConfigurationError if sync jobs cannot run through it, for an `async def call` in it."""
        if self._async:
            raise ConfigurationError(
                f"{self._async}.call is `async def`, which works for async jobs only: make it a plain `def`, "
                "which serves both kinds"
            )

    def invoke(self, job: Any, payload: Any, queue: str, final: Callable[[], Any]) -> Any:
        """Run `final` inside the server chain, for a `def` job. Raises ConfigurationError as `check_sync`."""
        if not self._steps:
            return final()
        if self._async:
            self.check_sync()
        for make, _ in self._steps:
            final = partial(make().call, job, payload, queue, final)
        result = final()
        if type(result) is CoroutineType:
            self._refuse_unawaited(result)
        return result

    def invoke_client(
        self, job_class: Any, payload: Any, queue: str, redis: Any, final: Callable[[], Any]
    ) -> Any:
        """Run `final` inside the client chain. Falsy: a middleware stopped the push. Raises as `invoke`."""
        if not self._steps:
            return final()
        if self._async:
            self.check_sync()
        for make, _ in self._steps:
            final = partial(make().call, job_class, payload, queue, redis, final)
        result = final()
        if type(result) is CoroutineType:
            self._refuse_unawaited(result)
        return result

    async def invoke_async(
        self, job: Any, payload: Any, queue: str, final: Callable[[], Awaitable[Any]]
    ) -> Any:
        """Await `final()` inside the server chain, for an `async def` job."""
        if not self._steps:
            return await final()
        inner: Callable[[], Any] = final
        blocks = False
        for make, is_async in self._steps:
            if is_async and blocks:
                inner = partial(_run_blocking, inner)
            elif not is_async and not blocks:
                inner = partial(wait_for, inner)
            inner = partial(make().call, job, payload, queue, inner)
            blocks = not is_async
        result = await (_run_blocking(inner) if blocks else inner())
        if type(result) is CoroutineType:
            self._refuse_unawaited(result)
        return result

    # -- inside -------------------------------------------------------------------------

    def _put(
        self, new: Any, args: tuple[Any, ...], kwargs: dict[str, Any], place: Callable[[list[Entry]], int]
    ) -> None:
        entry = self._entry(new, args, kwargs)
        others = [other for other in self._entries if other.cls is not entry.cls]
        others.insert(place(others), entry)
        self._replace(others)

    def _replace(self, entries: list[Entry]) -> None:
        if self._frozen:
            raise FrozenConfig(
                "the middleware cannot be changed once the worker has started: do it in a configure block"
            )
        self._entries = tuple(entries)
        # Innermost first, the order in which invoke wraps.
        self._steps = tuple((self._maker(entry), entry.is_async) for entry in reversed(entries))
        self._async = next((entry.cls.__qualname__ for entry in entries if entry.is_async), None)

    def _entry(self, new: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
        cls = _class_of(new)
        name = cls.__qualname__
        if cls is FunctionType:
            raise ConfigurationError(f"{new.__qualname__} is a function; middleware is a class with a `call`")
        if not callable(getattr(cls, "call", None)):
            raise ConfigurationError(f"{name} has no method `call`, so it cannot be a middleware")
        call = inspect.getattr_static(cls, "call")
        if _yields(call):
            raise ConfigurationError(
                f"{name}.call must not contain `yield`, or neither it nor the job runs: `next()` runs that"
            )
        if self._kind and isinstance(call, FunctionType):
            names = ("self", *_ARGUMENTS[self._kind])
            if not accepts(call, names):
                raise ConfigurationError(
                    f"{name}.call must take ({', '.join(names)}) to be a {self._kind} middleware"
                )
        if isinstance(new, type):
            if not accepts(new, args, kwargs):
                raise ConfigurationError(f"{name} cannot be made with the arguments it was added with")
            return Entry(cls, args, kwargs)
        if args or kwargs:
            raise ConfigurationError(f"{name}: an instance takes no arguments; add the class to pass some")
        return Entry(cls, (), {}, new)

    def _maker(self, entry: Entry) -> Callable[[], Any]:
        cls, args, kwargs, instance = entry
        if instance is not None:
            return lambda: instance
        make: Callable[[], Any] = partial(cls, *args, **kwargs) if args or kwargs else cls
        config = self._config
        if config is None or not _takes_config(cls):
            return make

        def make_with_config() -> Any:
            made = make()
            made.config = config
            return made

        return make_with_config

    def _refuse_unawaited(self, coroutine: CoroutineType[Any, Any, Any]) -> None:
        coroutine.close()
        raise ConfigurationError(
            f"a coroutine came out of the middleware chain ({self}), so something in it did not run: "
            "`async def call` must `await next()`, and what answers a coroutine must be `async def`"
        )


def _yields(call: Any) -> bool:
    """Whether to call it runs none of it, as `yield` in it does, also under `@contextmanager`."""
    call = getattr(call, "__func__", call)
    if getattr(call, "__globals__", None) is vars(contextlib):
        call = inspect.unwrap(call)
    return inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call)


def _class_of(middleware: Any) -> type:
    return middleware if isinstance(middleware, type) else type(middleware)


def _index(entries: list[Entry] | tuple[Entry, ...], middleware: Any) -> int:
    cls = _class_of(middleware)
    return next((at for at, entry in enumerate(entries) if entry.cls is cls), -1)


def _takes_config(cls: type) -> bool:
    declared = inspect.getattr_static(cls, "config", _ABSENT)
    if isinstance(declared, property):
        return declared.fset is not None
    if declared is not _ABSENT:
        return not isinstance(declared, FunctionType)
    return any("config" in annotated(base) for base in cls.__mro__)


# -- a sync middleware around an async job ------------------------------------------------


class _Blocking(greenlet):
    """A greenlet in which sync code runs that waits for awaitables by switching to its parent.

    It runs one function after another, because a new greenlet for each would cost three times as much.
    """

    busy = False
    failure: BaseException | None = None

    def run(self, function: Callable[[], Any]) -> None:
        while True:
            result = None
            try:
                result = function()
            except BaseException as error:
                self.failure = error
            self.busy = False
            del function
            assert self.parent is not None
            function = self.parent.switch(result)


class _Idle(threading.local):
    """This thread's greenlets that wait for work; one greenlet never changes its thread."""

    def __init__(self) -> None:
        self.greenlets: list[_Blocking] = []


_idle = _Idle()
_IDLE_LIMIT = 100


async def _run_blocking(function: Callable[[], Any]) -> Any:
    """Run sync code that may call `wait_for`, and await for it what it waits for.

    Errors and cancellation of an awaitable are raised where the code waits for it.
    """
    here = getcurrent()
    idle = _idle.greenlets
    code = idle.pop() if idle else _Blocking()
    code.parent = here
    # The same context, not a copy: what a middleware sets, the job sees, and the other way round.
    code.gr_context = here.gr_context
    code.busy = True
    result = code.switch(function)
    while code.busy:
        try:
            value = await result
        except BaseException:
            result = code.throw(*sys.exc_info())
        else:
            result = code.switch(value)
    error, code.failure, code.gr_context = code.failure, None, None
    if len(idle) < _IDLE_LIMIT:
        idle.append(code)
    if error is not None:
        try:
            raise error
        finally:
            del error
    return result


def wait_for(start: Callable[[], Awaitable[Any]]) -> Any:
    here = getcurrent()
    if not isinstance(here, _Blocking) or here.parent is None:
        raise ConfigurationError(
            "a middleware called `next()` of an async job from another thread or after it had returned: "
            "call it inside `call`, or make it `async def call`"
        )
    return here.parent.switch(start())
