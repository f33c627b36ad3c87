"""The bundled server: one real Redis or Valkey server of this user's own, where no other is named.

Names are loaded on first use, so that the supervising process, which imports this package too, stays small.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .binary import Binary, find_binary
    from .choose import choose_server
    from .server import BundledServer, Status, refuse_in_production

__all__ = [
    "Binary",
    "BundledServer",
    "Status",
    "choose_server",
    "find_binary",
    "refuse_in_production",
]

_HOMES = {
    "Binary": "binary",
    "find_binary": "binary",
    "choose_server": "choose",
    "BundledServer": "server",
    "Status": "server",
    "refuse_in_production": "server",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
