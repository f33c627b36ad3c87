"""How a setting is declared, kept and guarded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, SupportsIndex, TypeVar, overload

from ..errors import ConfigurationError, FrozenConfig
from ..middleware import Chain, Kind
from .check import Check, called_with, each, listed, must_be, nearest

if TYPE_CHECKING:
    from .settings import Config

T = TypeVar("T")
Got = TypeVar("Got")
Given = TypeVar("Given", contravariant=True)


class Setting(Generic[Got, Given]):
    """A setting of Config: what it takes (`check`), its `default` and its meaning (`doc`).

    It is a descriptor that has no `__get__` when the program runs, so that reading a setting costs what
    reading any attribute costs.
    """

    name: str

    def __init__(self, check: Check[Got], default: Any, doc: str) -> None:
        self.check = check
        self.default = default
        self.doc = self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    if TYPE_CHECKING:

        @overload
        def __get__(self, config: None, owner: type) -> Setting[Got, Given]: ...
        @overload
        def __get__(self, config: object, owner: type) -> Got: ...
        def __get__(self, config: object, owner: type) -> Any: ...

    def __set__(self, config: Config, value: Given) -> None:
        config.update({self.name: value})

    def __delete__(self, config: Config) -> None:
        raise ConfigurationError(f"{self.name} cannot be deleted; assign its default: {self.default!r}")

    def hold(self, config: Config, checked: Any) -> Any:
        """The form in which `config` keeps a checked value."""
        return checked

    def plain(self, held: Any) -> Any:
        """A copy of a held value in a form that can be assigned to another Config."""
        return held


class ListSetting(Setting[list[T], Given]):
    """A list, every change to which is checked."""

    def hold(self, config: Config, checked: Any) -> Any:
        return CheckedList(checked, config, self.name, self.check)

    def plain(self, held: Any) -> Any:
        return list(held)


class MappingSetting(Setting[Got, Given]):
    """A mapping that is replaced as a whole."""

    def plain(self, held: Any) -> Any:
        return {key: dict(value) if isinstance(value, Mapping) else value for key, value in held.items()}


EVENTS = ("startup", "quiet", "shutdown", "exit", "heartbeat", "beat")
Events = Mapping[str, list[Callable[[], Any]]]
GivenEvents = Mapping[str, Callable[[], Any] | Iterable[Callable[[], Any]]]


class EventsSetting(Setting[Events, GivenEvents]):
    """A list of handlers for each of the known events."""

    def __init__(self, doc: str) -> None:
        super().__init__(self._check, {event: [] for event in EVENTS}, doc)
        self._check_handlers: Check[list[Any]] = each(called_with(), "a list of callables")

    def hold(self, config: Config, checked: Any) -> Any:
        return MappingProxyType(
            {
                event: CheckedList(handlers, config, f"{self.name} {event}", self._check_handlers)
                for event, handlers in checked.items()
            }
        )

    def plain(self, held: Any) -> Any:
        return {event: list(handlers) for event, handlers in held.items()}

    def _check(self, name: str, value: Any) -> Events:
        if not isinstance(value, Mapping):
            raise must_be(name, "a mapping from an event to its handlers", value)
        given = {
            event_name(event): [handlers] if callable(handlers) else handlers
            for event, handlers in value.items()
        }
        return {event: self._check_handlers(f"{name} {event}", given.get(event, ())) for event in EVENTS}


def event_name(name: Any) -> str:
    """The name, if there is such an event. Raises ConfigurationError."""
    if name in EVENTS:
        return str(name)
    raise ConfigurationError(
        f"there is no event {name!r}; the nearest is {nearest(str(name), EVENTS)!r} (of {', '.join(EVENTS)})"
    )


class ChainSetting(Setting[Chain, Chain | Iterable[Any]]):
    """A middleware chain that belongs to one Config; what is assigned is copied."""

    def __init__(self, kind: Kind, doc: str) -> None:
        super().__init__(self._check, [], doc)
        self.kind = kind

    def hold(self, config: Config, checked: Any) -> Any:
        return checked.copy(config)

    def plain(self, held: Any) -> Any:
        return Chain(kind=self.kind) if not held else held.copy()

    def _check(self, name: str, value: Any) -> Chain:
        return chain_of(self.kind, name, value)


def chain_of(kind: Kind, name: str, value: Any) -> Chain:
    """A chain of what is given: another chain, or a list of middleware. Raises ConfigurationError."""
    chain = Chain(kind=kind)
    if isinstance(value, Chain):
        for entry in value:
            chain.add(entry.cls if entry.instance is None else entry.instance, *entry.args, **entry.kwargs)
    else:
        for middleware in listed(name, "a Chain or a list of middleware classes", value):
            chain.add(middleware)
    return chain


class CheckedList(list[T]):
    """A list of a setting. A change that the setting does not take raises, and changes nothing.

    Raises ConfigurationError, and FrozenConfig once the Config is frozen.
    """

    def __init__(self, items: Iterable[T], config: Config, name: str, check: Check[list[T]]) -> None:
        super().__init__(items)
        self._config = config
        self._name = name
        self._check = check

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return list, (list(self),)

    def _keep(self, draft: list[T]) -> None:
        if self._config.frozen:
            raise frozen(self._name)
        list.__setitem__(self, slice(None), self._check(self._name, draft))


def frozen(name: str) -> FrozenConfig:
    """The error for a change that comes too late."""
    return FrozenConfig(
        f"{name} cannot be changed once the worker has started: set it in a configure_server block"
    )


def _guarded(change: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(change)
    def guarded(self: CheckedList[Any], *args: Any, **kwargs: Any) -> Any:
        draft = list(self)
        answer = change(draft, *args, **kwargs)
        self._keep(draft)
        return self if answer is draft else answer

    return guarded


for _name in (
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"),
    *("__setitem__", "__delitem__", "__iadd__", "__imul__"),
):
    setattr(CheckedList, _name, _guarded(getattr(list, _name)))
