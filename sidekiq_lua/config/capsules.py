"""The setting `capsules`: groups of queues that one worker serves side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConfigurationError, UnknownSetting
from ..middleware import Chain
from . import check
from .fields import CheckedList, Setting, chain_of, frozen
from .names import snake
from .queues import Mode, QueueItem, mode_of, queues, weights

if TYPE_CHECKING:
    from .settings import Config

DEFAULT = "default"
"""The capsule that every worker has; its queues and concurrency are the settings of these names."""


class CapsuleOption(NamedTuple):
    """One key of a capsule."""

    check: check.Check[Any]
    default: Any
    doc: str


class Capsule:
    """Queues that are served together, by at most `concurrency` jobs at the same time.

    `config.capsule(name)` makes it; its attributes are settings, checked when they are set. Raises as
    Config does: ConfigurationError, UnknownSetting, FrozenConfig.
    """

    def __init__(self, config: Config, name: str, options: Mapping[str, Any]) -> None:
        vars(self).update(_config=config, name=name, _given={}, _chain=None)
        self._take(options)

    name: str
    _config: Config
    _given: dict[str, Any]
    _chain: Chain | None

    def update(self, options: Mapping[str, Any]) -> None:
        """Set several at once, all or none."""
        if self._config.frozen:
            raise frozen(f"capsule {self.name!r}")
        self._take(checked(self.name, options))

    def _take(self, options: Mapping[str, Any]) -> None:
        for key, value in options.items():
            if key == "queues":
                self._given[key] = CheckedList(value, self._config, _named(self.name, key), queues)
            elif key == "server_middleware":
                vars(self)["_chain"] = value.copy(self._config)
            else:
                self._given[key] = value

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __repr__(self) -> str:
        return f"<Capsule {self.name}: concurrency={self.concurrency}, queues={list(self.queues)}>"

    # -- its settings -------------------------------------------------------------------
    # Assignments go through __setattr__; the setters tell type checkers what may be assigned.

    @property
    def concurrency(self) -> int:
        """How many of its jobs run at the same time, at most."""
        return self._given.get("concurrency") or self._config.concurrency

    @concurrency.setter
    def concurrency(self, value: int) -> None: ...

    @property
    def queues(self) -> list[str]:
        """Its queues as they were given, each "name" or "name,weight"."""
        if self.name == DEFAULT:
            return self._config.queues
        return self._given.get("queues") or []

    @queues.setter
    def queues(self, value: Iterable[QueueItem] | Mapping[str, int] | str) -> None: ...

    @property
    def pool(self) -> str | None:
        """The Redis server that its queues are on: a name of the setting `pools` or a URL; None: `redis`."""
        return self._given.get("pool")

    @pool.setter
    def pool(self, value: str) -> None: ...

    @property
    def server_middleware(self) -> Chain:
        """What runs around its jobs: a copy of the setting `server_middleware`, made when first asked for.

        What is added to the setting after that is not in it.
        """
        if self._chain is None:
            vars(self)["_chain"] = self._config.server_middleware.copy(self._config)
        return vars(self)["_chain"]  # type: ignore[no-any-return]

    @server_middleware.setter
    def server_middleware(self, value: Chain | Iterable[Any]) -> None: ...

    # -- what follows from them ---------------------------------------------------------

    @property
    def weights(self) -> Mapping[str, int]:
        """The weight of each queue, in the order given; 0 where none was."""
        return MappingProxyType(weights(self.queues))

    @property
    def mode(self) -> Mode:
        """Strict if no queue has a weight, random if all have the weight 1, else weighted, as in Ruby."""
        return mode_of(self.weights)

    def freeze(self) -> None:
        """Refuse changes to its middleware from now on."""
        self.server_middleware.freeze()

    def plain(self) -> dict[str, Any]:
        """What was given, in a form that another Config takes."""
        given = {key: list(value) if key == "queues" else value for key, value in self._given.items()}
        return given if self._chain is None else {**given, "server_middleware": self._chain.copy()}


def checked(name: Any, options: Any) -> dict[str, Any]:
    """A capsule's options, each checked. Raises ConfigurationError and UnknownSetting."""
    if not isinstance(options, Mapping):
        raise check.must_be(f"capsule {name!r}", "a mapping of options", options)
    for key in options:
        if key not in CAPSULE_OPTIONS:
            close = check.nearest(snake(str(key)), list(CAPSULE_OPTIONS))
            raise UnknownSetting(
                f"capsule {name!r}: unknown option {key!r}; the nearest known one is {close!r}"
            )
        if name == DEFAULT and key != "server_middleware":
            setting = "redis" if key == "pool" else key
            raise ConfigurationError(
                f"capsule 'default': its {key} is the setting `{setting}`, outside of any capsule"
            )
    given = {key: value for key, value in options.items() if value is not None}
    return {key: CAPSULE_OPTIONS[key].check(_named(name, key), value) for key, value in given.items()}


def capsule_name(name: Any) -> str:
    """A name of a capsule: one line of text."""
    return check.text("the name of a capsule", name)


def _named(name: Any, key: str) -> str:
    return f"{key} of capsule {name!r}"


def _chain(name: str, value: Any) -> Chain:
    return chain_of("server", name, value)


CAPSULE_OPTIONS: dict[str, CapsuleOption] = {
    "queues": CapsuleOption(queues, None, "what it serves, as the setting `queues`; must be given"),
    "concurrency": CapsuleOption(
        check.whole(1), None, "most of its jobs at the same time; none: as the setting"
    ),
    "pool": CapsuleOption(
        check.text, None, "name in the setting `pools` of the server that its queues are on; none: `redis`"
    ),
    "server_middleware": CapsuleOption(
        _chain,
        None,
        "runs around its jobs, in place of the setting `server_middleware`; none: as the setting",
    ),
}
"""The keys of each of the setting `capsules`."""


class CapsulesSetting(Setting[Mapping[str, Capsule], Mapping[str, Mapping[str, Any]]]):
    """Capsules by name, the default one first."""

    def __init__(self, doc: str) -> None:
        each: check.Check[Any] = self._check
        super().__init__(each, {}, doc)

    def hold(self, config: Config, checked: Any) -> Any:
        named = {DEFAULT: {}, **checked}
        return MappingProxyType({name: Capsule(config, name, options) for name, options in named.items()})

    def plain(self, held: Any) -> Any:
        plain = {name: capsule.plain() for name, capsule in held.items()}
        return {name: options for name, options in plain.items() if options or name != DEFAULT}

    def _check(self, name: str, value: Any) -> dict[str, dict[str, Any]]:
        if not isinstance(value, Mapping):
            raise check.must_be(name, "a mapping from a name to its options", value)
        made = {capsule_name(capsule): checked(capsule, options) for capsule, options in value.items()}
        for capsule, options in made.items():
            if capsule != DEFAULT and "queues" not in options:
                raise ConfigurationError(f"{name}: capsule {capsule!r} must have queues")
        return made
