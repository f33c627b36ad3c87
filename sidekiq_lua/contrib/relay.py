"""Takes an outbox's rows to Redis: read, push, delete, each row's job once.

Redis remembers which rows were pushed until their deletion is committed, in the script that pushes. Only
the relay that claimed last may push, and it claims before it reads. So neither a crash at any point, nor a
relay that was stopped for hours, nor a command that arrives late doubles a job, however long it takes.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from ..app import App
from ..errors import ConfigurationError, NotReplicated, RedisError, SidekiqError
from ..payload import Payload
from ..store.calls import Wait
from ..store.relays import FENCED, Row
from ..stored import load
from .databases import Database

_PART_BYTES = 1_000_000
_PART_ROWS = 100


class _Found(NamedTuple):
    """A row of the table. `name` is what Redis knows it by: ids may be given out anew, jids may be chosen."""

    id: int
    jid: str
    pool: str | None
    text: str | bytes

    @property
    def name(self) -> str:
        return f"{self.id}:{self.jid}"


class Relay:
    """Takes rows to Redis in the order of their ids: of each queue in that order, whoever relays.

    `run` works until `stop`, `start` does so in a thread, `run_once` makes one pass. As many relays as one
    likes may run: one works, the others wait until it stops or is silent for `claim` seconds. `interval`:
    seconds between passes; `batch`: rows a read. Rows that cannot be pushed stay, and those of the same queue
    behind them too; each new reason is logged, and told to the error handlers.

    Keys: `lua:relay:NAME`, `lua:relay_epoch:NAME`, `lua:relayed:NAME`, `queues`, `queue:*`, `schedule`.
    """

    def __init__(
        self, app: App, database: Database, name: str, table: str,
        *, batch: int = 500, interval: float = 1.0, claim: float = 15.0,
    ) -> None:  # fmt: skip
        if not (batch >= 1 and interval > 0 and claim > 0):
            raise ConfigurationError("batch, interval and claim of a relay must be above 0")
        self._app = app
        self._database = database
        self._name = name
        self._interval = interval
        self._claim_ms = int(claim * 1000)
        self._token = secrets.token_hex(6)
        self._select = f"SELECT id, jid, pool, payload FROM {table} WHERE id > ? ORDER BY id LIMIT {batch}"
        self._ids = f"SELECT id, jid FROM {table} WHERE id IN "
        self._delete = f"DELETE FROM {table} WHERE id IN "
        self._batch = batch
        self._claimed: set[str | None] = set()
        self._tidy: set[str | None] = set()
        self._told: dict[str, str] = {}
        self._stopping = False
        # A signal's handler that stops may interrupt who waits: that is no Event, whose lock would be held.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    # -- its life -------------------------------------------------------------------------

    def run(self) -> None:
        """Relay until `stop` is called. Errors of Redis and of the database are logged, and tried again."""
        try:
            while not self._stopping:
                try:
                    self._pass(lambda: self._stopping)
                except Exception as error:
                    self._tell("the outbox's table", error)
                else:
                    self._fine("the outbox's table")
                with suppress(Empty):
                    self._bell.get(timeout=self._interval)
        finally:
            self._stopping = False
            self.close()

    def start(self) -> Relay:
        """`run` in a thread; answers the relay."""
        if self._thread is None or not self._thread.is_alive():
            self._stopping = False  # of a stop() that found nothing running
            self._thread = threading.Thread(target=self.run, name=f"outbox {self._name}", daemon=True)
            self._thread.start()
        return self

    def stop(self, timeout: float | None = None) -> None:
        """Let `run` end after what it is doing; waits for `start`'s thread, at most `timeout` seconds.

        A signal's handler may call it.
        """
        self._stopping = True
        self._bell.put(None)
        if self._thread is not None:
            self._thread.join(timeout)

    def close(self) -> None:
        """Give the claim back, so that another relay need not wait, and close the database's connection."""
        for pool in self._claimed:
            try:
                self._run(pool, self._relays.settle(self._name, self._me, 0, [], leaves=True))
            except RedisError as error:
                self._tell(_pool(pool), error)
        self._claimed.clear()
        self._tidy.clear()
        self._database.close()

    # -- one pass ---------------------------------------------------------------------------

    def run_once(self) -> int:
        """Look at every row once; answers how many left the table. Raises what the database raises."""
        return self._pass(lambda: False)

    def _pass(self, stopped: Callable[[], bool]) -> int:
        try:
            return self._through(stopped)
        except BaseException:
            # Whether a deletion was committed is not known.
            self._tidy.clear()
            raise

    def _through(self, stopped: Callable[[], bool]) -> int:
        epochs: dict[str | None, int] = {}
        blocked: set[tuple[str | None, str]] = set()
        shut: set[str | None] = set()
        after = gone = 0
        while not stopped():
            rows = self._read(after)
            unclaimed = {row.pool for row in rows} - epochs.keys() - shut
            if unclaimed:
                # The rows are read again: what was read before the claim may have been pushed by another.
                for pool in unclaimed:
                    epoch = self._claim(pool)
                    if epoch:
                        epochs[pool] = epoch
                    else:
                        shut.add(pool)
                continue
            for part in self._parts(rows, shut):
                gone += self._push(part, epochs, shut, blocked)
            if len(rows) < self._batch:
                break
            after = rows[-1].id
        return gone

    def _read(self, after: int) -> list[_Found]:
        return [_Found(*row) for row in self._database.read(self._select, (after,))]

    def _claim(self, pool: str | None) -> int:
        try:
            epoch: int = self._run(pool, self._relays.claim(self._name, self._me, self._claim_ms))
            if epoch:
                self._claimed.add(pool)
            else:
                self._tidy.discard(pool)  # who works now may leave notes
            if epoch and pool not in self._tidy and self._forget_the_gone(pool, epoch):
                self._tidy.add(pool)
        except (RedisError, ConfigurationError) as error:
            self._tell(_pool(pool), error)
            return 0
        self._fine(_pool(pool))
        return epoch

    def _forget_the_gone(self, pool: str | None, epoch: int) -> bool:
        """Tidy up after a relay that died, or lost its claim, between the deletion and our knowing of it.

        Answers whether nothing is left: a row that is still there may be deleted by the relay before us.
        """
        cursor, tidy = "0", True
        while True:
            cursor, names = self._run(pool, self._relays.relayed(self._name, cursor))
            ids = [int(name.partition(":")[0]) for name in names]
            there = (
                {f"{id_}:{jid}" for id_, jid in self._database.read(*_among(self._ids, ids))} if ids else ()
            )
            missing = [name for name in names if name not in there]
            if missing:
                answer = self._run(pool, self._relays.settle(self._name, self._me, epoch, missing))
                tidy = tidy and answer != FENCED
            tidy = tidy and len(missing) == len(names)
            if cursor == "0":
                return tidy

    def _parts(self, rows: list[_Found], shut: set[str | None]) -> Iterator[_Part]:
        """The rows by where they go, in slices; those that cannot go are left out."""
        groups: dict[tuple[str | None, str], _Part] = {}
        for found in rows:
            if found.pool in shut:
                continue
            try:
                payload, queue = load(self._app, _bytes(found.text))
                row = self._row(found, payload)
            except (ValueError, TypeError, OverflowError) as error:
                # No job, numbers that cannot be written, or an `at` that is no time.
                self._tell(f"row {found.id} of the outbox", error)
                continue
            place = (found.pool, queue)
            part = groups.get(place)
            if part is not None and (
                len(part.rows) == _PART_ROWS or part.bytes + len(row.payload) > _PART_BYTES
            ):
                yield groups.pop(place)
                part = None
            if part is None:
                part = groups[place] = _Part(place)
            part.add(found, row)
        yield from groups.values()

    def _row(self, found: _Found, payload: Payload) -> Row:
        due = payload.pop("at", None)
        if due is None:
            payload["enqueued_at"] = self._app.stamp.now()
        else:
            payload.pop("enqueued_at", None)
        return Row(found.name, None if due is None else float(due), self._app.codec.dump(payload))

    def _push(
        self, part: _Part, epochs: dict[str | None, int], shut: set[str | None],
        blocked: set[tuple[str | None, str]],
    ) -> int:  # fmt: skip
        pool, queue = part.place
        if pool in shut or part.place in blocked:
            return 0
        where = f"the queue {queue}" if pool is None else f"the queue {queue} of {_pool(pool)}"
        relays = self._relays
        try:
            answer = self._run_safely(
                pool, relays.push(self._name, self._me, epochs[pool], self._claim_ms, queue, part.rows)
            )
        except RedisError as error:
            # Nothing is known to have been pushed. What is behind must wait, or it would overtake.
            blocked.add(part.place)
            self._tell(where, error)
            return 0
        if answer == FENCED:
            self._shut(pool, shut)
            return 0
        self._fine(where)
        self._database.write(*_among(self._delete, part.ids))
        names = [row.name for row in part.rows]
        try:
            answer = self._run(pool, relays.settle(self._name, self._me, epochs[pool], names))
            if answer == FENCED:
                # Who claimed may have read these rows before they were gone, and pushes what is not noted.
                self._shut(pool, shut)
        except RedisError as error:
            self._tidy.discard(pool)
            self._tell(_pool(pool), error)
        return len(part.ids)

    def _shut(self, pool: str | None, shut: set[str | None]) -> None:
        """Another relay has claimed: this pass is over there, and what that one leaves is to be tidied up."""
        shut.add(pool)
        self._tidy.discard(pool)

    # -- words ------------------------------------------------------------------------------

    @property
    def _me(self) -> str:
        """Its name, which is another one in each process that was forked after it was made."""
        return f"{socket.gethostname()}:{os.getpid()}:{self._token}"

    @property
    def _relays(self) -> Any:
        return self._app.store.relays

    def _run(self, pool: str | None, call: Any) -> Any:
        return self._app.transport(pool).run(call)

    def _run_safely(self, pool: str | None, call: Any) -> Any:
        """Run and, where the setting `wait_replicas` asks for it, wait: what is not there yet must not leave
        the table."""
        config = self._app.config
        if not config.wait_replicas:
            return self._run(pool, call)
        wait = Wait(config.wait_replicas, config.wait_timeout_ms)
        outcome, confirmed = self._app.transport(pool).run_many([call], wait)
        if isinstance(outcome, RedisError):
            raise outcome
        if isinstance(confirmed, RedisError):
            raise confirmed
        if confirmed < wait.replicas and outcome != FENCED:
            raise NotReplicated(f"{confirmed} of {wait.replicas} replicas have the jobs", [])
        return outcome

    def _tell(self, place: str, error: Exception) -> None:
        """Say why something does not go on, once for each reason."""
        text = f"{type(error).__name__}: {error}"
        if self._told.get(place) == text:
            return
        self._told[place] = text
        unexpected = not isinstance(error, SidekiqError)
        self._app.logger.error(
            "outbox %s: %s waits: %s", self._name, place, text, exc_info=error if unexpected else None
        )
        context = {"context": f"outbox {self._name}: {place}"}
        self._app.handle_exception(error, context, is_logged=True)

    def _fine(self, place: str) -> None:
        if self._told.pop(place, None):
            self._app.logger.info("outbox %s: %s goes on", self._name, place)


class _Part:
    """Rows of one queue of one Redis, for one call."""

    def __init__(self, place: tuple[str | None, str]) -> None:
        self.place = place
        self.ids: list[int] = []
        self.rows: list[Row] = []
        self.bytes = 0

    def add(self, found: _Found, row: Row) -> None:
        self.ids.append(found.id)
        self.rows.append(row)
        self.bytes += len(row.payload)


def _pool(pool: str | None) -> str:
    if pool is None:
        return "Redis"
    return f"the pool {pool}" if "://" not in pool else "the Redis of a URL"


def _among(sql: str, ids: list[int]) -> tuple[str, list[int]]:
    return f"{sql}({', '.join('?' * len(ids))})", ids


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)
