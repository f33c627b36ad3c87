"""The queues a worker serves: how they are written, their weights, and the mode that follows from these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ..errors import ConfigurationError
from .check import must_be

Mode = Literal["strict", "random", "weighted"]
QueueItem = str | tuple[str, int] | list[Any] | Mapping[str, int]
"""`"low"`, `"low,2"`, `("low", 2)`, `["low", 2]` or `{"low": 2}`."""

_FORMS = 'a list of "name", "name,weight", [name, weight] or {name: weight}'


def mode_of(weights: Mapping[str, int]) -> Mode:
    """Strict if no queue has a weight, random if all have the weight 1, else weighted, as in Ruby."""
    if not any(weights.values()):
        return "strict"
    return "random" if all(weight == 1 for weight in weights.values()) else "weighted"


def queues(name: str, value: Any) -> list[str]:
    """Queues in any of their forms, each as "name" or "name,weight"; of weight 0 the name alone.

    Raises ConfigurationError, also for an empty list.
    """
    items = [value] if isinstance(value, str | Mapping) else value
    if not isinstance(items, Iterable) or isinstance(items, bytes):
        raise must_be(name, _FORMS, value)
    pairs = [pair for item in items for pair in _pairs(name, item)]
    if not pairs:
        raise must_be(name, _FORMS, value)
    return [f"{queue},{weight}" if weight else queue for queue, weight in pairs]


def weights(written: Iterable[str]) -> dict[str, int]:
    """The weight of each queue, in order; where one is written twice, the last weight, as in Ruby."""
    pairs = (item.partition(",") for item in written)
    return {queue: int(weight or 0) for queue, _, weight in pairs}


def queue_name(name: str, value: Any) -> str:
    """A queue's name: a text without whitespace or commas."""
    if not isinstance(value, str) or not value or not value.isprintable() or set(value) & {" ", ","}:
        raise must_be(f"a queue in {name}", "a name without spaces or commas", value)
    return value


def _pairs(name: str, item: Any) -> list[tuple[str, int]]:
    match item:
        case str():
            queue, comma, weight = item.partition(",")
            return [(queue_name(name, queue), _weight(name, queue, weight) if comma else 0)]
        case Mapping():
            return [(queue_name(name, queue), _weight(name, queue, weight)) for queue, weight in item.items()]
        case [queue]:
            return [(queue_name(name, queue), 0)]
        case [queue, weight]:
            return [(queue_name(name, queue), _weight(name, queue, weight))]
    raise must_be(name, _FORMS, item)


def _weight(name: str, queue: Any, value: Any) -> int:
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 10_000:
        raise ConfigurationError(
            f"the weight of queue {queue!r} in {name} must be a whole number from 0 to 10000, not {value!r}"
        )
    return number
