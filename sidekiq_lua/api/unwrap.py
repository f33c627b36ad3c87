"""What people want to see of a job that wraps another one, as ActiveJob and its mailers do."""

from __future__ import annotations

from typing import Any

from ..payload import Payload

_WRAPPERS = {"ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper", "Sidekiq::ActiveJob::Wrapper"}
_OLD_MAILER = "ActionMailer::DeliveryJob"
_MAILER = "ActionMailer::MailDeliveryJob"


def display_class(item: Payload) -> str | None:
    """The class that does the work; of a mailer, the mailer and its method, `UserMailer#welcome`."""
    shown = item.get("display_class")
    if isinstance(shown, str):
        return shown
    if not _wraps(item):
        return item["class"] if isinstance(item.get("class"), str) else None
    inner = _inner(item)
    if inner in (_OLD_MAILER, _MAILER):
        return "#".join(str(part) for part in _arguments(item)[:2]) or inner
    return inner


def display_args(item: Payload, args: list[Any]) -> list[Any]:
    """The arguments of that class."""
    if _wraps(item):
        plain = [_plain(argument) for argument in _arguments(item)] if item.get("wrapped") else []
        match _inner(item):
            case "ActionMailer::DeliveryJob":
                return plain[3:]
            case "ActionMailer::MailDeliveryJob":
                envelope = plain[3] if len(plain) > 3 else None
                return [envelope.get("params"), envelope.get("args")] if isinstance(envelope, dict) else []
        return plain
    if item.get("encrypt") and args:
        return [*args[:-1], "[encrypted data]"]
    return args


def _wraps(item: Payload) -> bool:
    name = item.get("class")
    return isinstance(name, str) and name in _WRAPPERS


def _inner(item: Payload) -> str | None:
    args = item.get("args")
    inner = item.get("wrapped") or (args[0] if isinstance(args, list) and args else None)
    return inner if isinstance(inner, str) else None


def _arguments(item: Payload) -> list[Any]:
    match item.get("args"):
        case [{"arguments": list(arguments)}, *_]:
            return arguments
    return []


def _plain(argument: Any) -> Any:
    """An argument without ActiveJob's own marks."""
    match argument:
        case list():
            return [_plain(part) for part in argument]
        case {"_aj_globalid": name} if len(argument) == 1:
            return name
        case dict():
            return {key: _plain(value) for key, value in argument.items() if not key.startswith("_aj_")}
    return argument
