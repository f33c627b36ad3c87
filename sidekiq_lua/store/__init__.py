"""The store: the only room that knows Redis, key names and Lua."""

from __future__ import annotations

from .bulk import Bulk
from .counters import Counters
from .endpoint import Endpoint
from .entries import Entries
from .holding import Holding
from .iterations import Iterations
from .keys import Keys
from .metrics import Metrics
from .owners import Owners
from .pages import Pages
from .processes import Processes
from .profiles import Profiles
from .queues import Queues
from .relays import Relays
from .running import Running
from .transport import Sent, Transport
from .transport_async import AsyncTransport

__all__ = ["AsyncTransport", "Endpoint", "Keys", "Running", "Sent", "Store", "Transport"]


class Store:
    """What can be asked of one Redis keyspace; every method makes a call, a transport runs it."""

    def __init__(self, keys: Keys | None = None) -> None:
        self.keys = keys or Keys()
        self.queues = Queues(self.keys)
        self.entries = Entries(self.keys)
        self.processes = Processes(self.keys)
        self.owners = Owners(self.keys)
        self.counters = Counters(self.keys)
        self.pages = Pages(self.keys)
        self.bulk = Bulk(self.keys)
        self.holding = Holding(self.keys)
        self.iterations = Iterations(self.keys)
        self.metrics = Metrics(self.keys)
        self.profiles = Profiles(self.keys)
        self.relays = Relays(self.keys)

    def running(self, identity: str, epoch: str) -> Running:
        """The running lists of one owner."""
        return Running(self.keys, identity, epoch)
