"""Context that travels with jobs: context variables and the locale, as Ruby's middleware carries them.

::

    tenant: ContextVar[str] = ContextVar("tenant")
    persist(config, [tenant, user_id])          # the field cattr
    persist(config, [tenant], {"tz": zone})     # two groups: cattr and cattr_1

Call it in configure_client and in configure_server. What the variables hold where a job is enqueued, they
hold while it runs, and again in its retries; afterwards they are as they were. Fields: `cattr`, `cattr_1`, …,
`locale`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from .errors import ConfigurationError, InvalidJob, UnserializableArguments
from .strict import unsafe

Variables = Iterable[ContextVar[Any]] | Mapping[str, ContextVar[Any]]
Group = Mapping[str, ContextVar[Any]]

_TAG = "_aj_serialized"
_SYMBOL = "ActiveJob::Serializers::SymbolSerializer"
_SYMBOL_KEYS = "_aj_symbol_keys"
_UNSET = object()


def persist(config: Any, *groups: Variables) -> None:
    """Let variables travel with jobs: a group is an iterable of ContextVars, or a mapping from names to them.

    The first group's field is `cattr`, the next ones' are `cattr_1`, …: give them in Ruby's order.
    Only variables that are set travel. Raises ConfigurationError.
    """
    fields = {f"cattr_{n}" if n else "cattr": _group(given) for n, given in enumerate(groups)}
    if not fields:
        raise ConfigurationError("persist needs a group of context variables: persist(config, [tenant])")
    config.client_middleware.prepend(LoadForPush, fields)
    config.client_middleware.add(Save, fields)
    config.server_middleware.prepend(Load, fields)


def persist_locale(
    config: Any,
    *,
    get: Callable[[], str | None],
    use: Callable[[str], AbstractContextManager[Any]],
    default: str | None = None,
) -> None:
    """Let the locale travel with jobs: `get()` answers the present one, `with use(locale):` makes it another.

    `default` is that of jobs without one.
    """
    config.client_middleware.add(SaveLocale, get)
    config.server_middleware.add(UseLocale, use, default)


def _group(given: Variables) -> Group:
    if isinstance(given, Mapping):
        group = dict(given)
    elif isinstance(given, Iterable) and not isinstance(given, str):
        group = {getattr(variable, "name", ""): variable for variable in given}
    else:
        group = {"": given}
    for name, variable in group.items():
        if not isinstance(variable, ContextVar) or not isinstance(name, str) or not name:
            raise ConfigurationError(
                f"a group is a list of ContextVars, or a mapping from names to them; {variable!r} is none"
            )
    return group


# -- middleware ---------------------------------------------------------------------------


class Save:
    """Client middleware: writes the variables that are set into a new job. Raises UnserializableArguments."""

    def __init__(self, fields: Mapping[str, Group]) -> None:
        self._fields = fields

    def call(
        self, job_class: Any, payload: dict[str, Any], queue: str, redis: Any, next: Callable[[], Any]
    ) -> Any:
        for field, group in self._fields.items():
            # A retry is pushed again, in another context than the job's.
            if field not in payload:
                values = {name: variable.get(_UNSET) for name, variable in group.items()}
                found = {name: value for name, value in values.items() if value is not _UNSET}
                if found:
                    payload[field] = dump(found, payload.get("class"))
        return next()


class _Loader:
    def __init__(self, fields: Mapping[str, Group]) -> None:
        self._fields = fields

    @contextmanager
    def _loaded(self, payload: Mapping[str, Any], *unread: type[Exception]) -> Iterator[None]:
        """`unread`: errors for which a field is passed over."""
        tokens = []
        try:
            for field, group in self._fields.items():
                if field in payload:
                    with suppress(*unread):
                        for name, value in load(payload[field], group).items():
                            tokens.append((group[name], group[name].set(value)))
            yield
        finally:
            for variable, token in reversed(tokens):
                variable.reset(token)


class Load(_Loader):
    """Server middleware: sets the variables while the job runs. Raises InvalidJob for what cannot be read."""

    def call(self, job: Any, payload: dict[str, Any], queue: str, next: Callable[[], Any]) -> Any:
        with self._loaded(payload):
            return next()


class LoadForPush(_Loader):
    """Client middleware: when a job that has the field is pushed again, what runs within sees its values.

    What cannot be read is no reason to let a job lie that is due: its run will say so, or Ruby can read it.
    """

    def call(
        self, job_class: Any, payload: dict[str, Any], queue: str, redis: Any, next: Callable[[], Any]
    ) -> Any:
        with self._loaded(payload, InvalidJob):
            return next()


class SaveLocale:
    """Client middleware: writes the present locale into a job that has none."""

    def __init__(self, get: Callable[[], str | None]) -> None:
        self._get = get

    def call(
        self, job_class: Any, payload: dict[str, Any], queue: str, redis: Any, next: Callable[[], Any]
    ) -> Any:
        locale = payload.get("locale") or self._get()
        if locale:
            payload["locale"] = str(locale)
        return next()


class UseLocale:
    """Server middleware: runs a job in its locale."""

    def __init__(self, use: Callable[[str], AbstractContextManager[Any]], default: str | None = None) -> None:
        self._use = use
        self._default = default

    def call(self, job: Any, payload: dict[str, Any], queue: str, next: Callable[[], Any]) -> Any:
        locale = payload.get("locale") or self._default
        if not locale:
            return next()
        with self._use(locale):
            return next()


# -- the form of 8.1 ----------------------------------------------------------------------


def dump(values: Mapping[str, Any], job: Any = "") -> list[Any]:
    """Attributes as ActiveJob writes them for Sidekiq 8.1: pairs of a tagged symbol and a value."""
    for name, value in values.items():
        problem = unsafe([value])
        if problem:
            raise UnserializableArguments(
                f"{job}: the context variable {name!r} cannot travel: "
                f"{problem.replace('argument 0', 'its value')}"
            )
    return [[{_TAG: _SYMBOL, "value": name}, _dumped(value)] for name, value in values.items()]


def _dumped(value: Any) -> Any:
    if isinstance(value, list):
        return [_dumped(item) for item in value]
    if isinstance(value, dict):
        reserved = [key for key in value if key.startswith("_aj_")]
        if reserved:
            raise UnserializableArguments(f"the key {reserved[0]!r} is reserved by ActiveJob")
        return {**{key: _dumped(item) for key, item in value.items()}, _SYMBOL_KEYS: []}
    return value


def load(field: Any, names: Iterable[str]) -> dict[str, Any]:
    """The attributes of these names in a field of the form of 8.1, or of 7 (a plain object).

    Raises InvalidJob for a value of a kind that Python does not have.
    """
    wanted = set(names)
    return {name: _loaded(value) for name, value in _pairs(field) if type(name) is str and name in wanted}


def attributes(payload: Mapping[str, Any]) -> dict[str, Any]:
    """All attributes of a payload, to be shown; those that Python cannot read are left out."""
    found = {}
    for field in [name for name in payload if name == "cattr" or name.startswith("cattr_")]:
        with suppress(InvalidJob):
            for name, value in _pairs(payload[field]):
                with suppress(InvalidJob):
                    found[str(name)] = _loaded(value)
    return found


def _pairs(field: Any) -> list[tuple[Any, Any]]:
    if isinstance(field, Mapping):
        return [(name, value) for name, value in field.items() if not name.startswith("_aj_")]
    if isinstance(field, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in field):
        return [(_loaded(name), value) for name, value in field]
    raise InvalidJob(f"cattr is neither a list of pairs nor an object: {field!r:.200}")


def _loaded(value: Any) -> Any:
    if isinstance(value, list):
        return [_loaded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _TAG in value:
        if value[_TAG] == _SYMBOL:
            return value.get("value")
        raise InvalidJob(f"cattr has a value that only Ruby can read: {value[_TAG]!r:.200}")
    if "_aj_globalid" in value:
        raise InvalidJob("cattr has a record (GlobalID), which only Ruby can read")
    return {key: _loaded(item) for key, item in value.items() if not key.startswith("_aj_")}
