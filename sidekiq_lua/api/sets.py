"""The sets of scheduled, failed and dead jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, RedisError, UnparsablePayload
from ..job import JobBase
from ..payload import Payload, new_jid, validate
from ..store.bulk import Return, States
from ..store.entries import Entry, SetName
from ..timing import When, absolute
from .bulk import Progress, Report, act_on_all, size_of
from .death import burial, tell_death_handlers
from .entry import SortedEntry
from .filters import Filter, in_any_json
from .returning import returning
from .walk import pages

if TYPE_CHECKING:
    from ..app import App

Kind = type[JobBase[...]] | str


class JobSet:
    """Jobs by time. Iterating gives `SortedEntry`s, the latest first.

    Each entry that nobody touches meanwhile comes exactly once, and at most a page (1000 entries or 1 MB)
    is in memory. Actions on all take filters (see Filter: `job_class`, `tag`, `text`) and `progress`, which
    is called with a Progress after each page; a crash in the middle, or a progress function that raises,
    leaves the rest as it was. Everything raises RedisError. Keys: the set, and as each method says.
    """

    name: SetName

    def __init__(self, app: App) -> None:
        self._app = app

    def __len__(self) -> int:
        """How many entries it has now."""
        return size_of(self._app, self.name)

    @property
    def size(self) -> int:
        """How many entries it has now."""
        return len(self)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[SortedEntry]:
        return self._entries(Filter())

    def scan(self, text: str) -> Iterator[SortedEntry]:
        """The entries whose JSON has this text in it, as it is stored; a `*` in it stands for anything."""
        return self._entries(Filter(text=text))

    def select(
        self, *, job_class: Kind | None = None, tag: str | None = None, text: str | None = None
    ) -> Iterator[SortedEntry]:
        """The entries for which all these conditions hold."""
        return self._entries(Filter(job_class, tag, text))

    def _entries(self, wanted: Filter) -> Iterator[SortedEntry]:
        for page in pages(self._app, self.name, upward=False, needle=wanted.needle):
            for entry in page.entries:
                record = SortedEntry(self._app, self.name, entry)
                if not wanted or wanted(record):
                    yield record

    def find_job(self, jid: str) -> SortedEntry | None:
        """The entry of this jid, or None. Redis looks through the set, in bounded calls."""
        for page in pages(self._app, self.name, upward=False, needle=in_any_json(jid)):
            for entry in page.entries:
                record = SortedEntry(self._app, self.name, entry)
                if record.jid == jid:
                    return record
        return None

    def fetch(self, score: When | tuple[When, When], jid: str | None = None) -> list[SortedEntry]:
        """The entries of one time, or of the times from one to another, and of this jid, if it is given."""
        now = self._app.clock.now()
        first, last = score if isinstance(score, tuple) else (score, score)
        low, high = absolute(first, now), absolute(last, now)
        found = []
        for page in pages(self._app, self.name, upward=True, after=Entry(b"", low)):
            records = (
                SortedEntry(self._app, self.name, entry) for entry in page.entries if entry.score <= high
            )
            found += [record for record in records if jid is None or record.jid == jid]
            if page.last.score > high:
                break
        return found

    def delete_by_jid(self, score: When, jid: str) -> bool:
        """Delete the entry of this time and jid. False: there is none."""
        found = self.fetch(score, jid)
        return bool(found) and found[0].delete()

    def schedule(self, when: When, job: Mapping[str, Any]) -> None:
        """Add a job that is due then. Raises InvalidJob for what is no job or no time.

        It goes in as it is, without client middleware, but for a jid if it has none: to enqueue one, use a
        Client.
        """
        validate(job)
        due = absolute(when, self._app.clock.now())
        self._app.transport().run(
            self._app.store.entries.add(self.name, due, self._app.codec.dump_new(_apart(job)))
        )

    def clear(self) -> int:
        """Delete all entries at once; answers how many."""
        return self._app.transport().run(self._app.store.entries.clear(self.name))

    def delete_all(
        self,
        *,
        job_class: Kind | None = None,
        tag: str | None = None,
        text: str | None = None,
        progress: Report | None = None,
    ) -> Progress:
        """Delete the entries for which all conditions hold, one by one."""

        def act(entries: list[Entry]) -> tuple[States, int]:
            return self._app.transport().run(self._app.store.bulk.delete(self.name, entries)), 0

        return self._act(Filter(job_class, tag, text), act, progress)

    def retry_all(
        self,
        *,
        job_class: Kind | None = None,
        tag: str | None = None,
        text: str | None = None,
        progress: Report | None = None,
    ) -> Progress:
        """Push jobs to their queues now, those that are due first in front; see `SortedEntry.retry`.

        What is no job, and what client middleware fails on, is left where it is, and the first of these is
        logged. Keys: `queues`, `queue:NAME`, and out of the dead set `lua:crashes:JID`.
        """
        return self._act(Filter(job_class, tag, text), self._pusher(uncount=True), progress)

    def enqueue_all(
        self,
        *,
        job_class: Kind | None = None,
        tag: str | None = None,
        text: str | None = None,
        progress: Report | None = None,
    ) -> Progress:
        """Like `retry_all`, but `retry_count` stays; see `SortedEntry.add_to_queue`."""
        return self._act(Filter(job_class, tag, text), self._pusher(uncount=False), progress)

    def kill_all(
        self,
        *,
        notify_failure: bool = False,
        ex: BaseException | None = None,
        job_class: Kind | None = None,
        tag: str | None = None,
        text: str | None = None,
        progress: Report | None = None,
    ) -> Progress:
        """Move jobs to the dead set as they are; with `notify_failure`, death handlers run for each.

        The dead set keeps no more than `dead_max_jobs` of them. Keys: `dead`.
        """
        name = self.name
        if name == "dead":
            raise ConfigurationError(
                "the jobs of the dead set are dead already: delete_all() or clear() them"
            )

        def act(entries: list[Entry]) -> tuple[States, int]:
            states = self._app.transport().run(self._app.store.bulk.bury(name, entries, burial(self._app)))
            for entry, state in zip(entries, states, strict=True):
                if state == 1 and notify_failure:
                    tell_death_handlers(self._app, entry.raw, ex)
            return states, 0

        return self._act(Filter(job_class, tag, text), act, progress)

    def _act(
        self, wanted: Filter, act: Callable[[list[Entry]], tuple[States, int]], progress: Report | None
    ) -> Progress:
        def choose(entries: Sequence[Entry]) -> list[Entry]:
            if not wanted:
                return list(entries)
            return [e for e in entries if wanted(SortedEntry(self._app, self.name, e))]

        return act_on_all(self._app, self.name, choose, wanted.needle, act, progress)

    def _pusher(self, *, uncount: bool) -> Callable[[list[Entry]], tuple[States, int]]:
        logged = False

        def make(entry: Entry) -> Return | None:
            nonlocal logged
            try:
                return returning(self._app, entry, uncount=uncount)
            except RedisError:
                raise
            except Exception as error:
                if not logged:
                    what = (
                        "it is no job" if isinstance(error, UnparsablePayload) else "it could not be pushed"
                    )
                    self._app.logger.warning("an entry of %s stays there, %s: %s", self.name, what, error)
                logged = True
                return None

        def act(entries: list[Entry]) -> tuple[States, int]:
            made = [one for entry in entries if (one := make(entry)) is not None]
            states = self._app.transport().run(self._app.store.bulk.enqueue(self.name, made)) if made else []
            return states, len(entries) - len(made)

        return act


class ScheduledSet(JobSet):
    """Jobs that are due later, those that are due last first. Key: `schedule`."""

    name = "schedule"


class RetrySet(JobSet):
    """Jobs that failed and are tried again. Key: `retry`."""

    name = "retry"


class DeadSet(JobSet):
    """Jobs that are tried no more, those that died last first. Key: `dead`."""

    name = "dead"

    def trim(self) -> int:
        """Drop what is older than `dead_timeout_in_seconds` or beyond `dead_max_jobs`; answers how many."""
        dropped = 0
        while now := self._app.transport().run(self._app.store.entries.trim(burial(self._app))):
            dropped += now
        return dropped

    def kill(
        self,
        job: Mapping[str, Any] | str | bytes,
        *,
        notify_failure: bool = True,
        trim: bool = True,
        ex: BaseException | None = None,
    ) -> None:
        """Add a job, which is in no other place, as one that died now; then death handlers run.

        To kill a job that is in a set, use `SortedEntry.kill`, which moves it.
        """
        if isinstance(job, Mapping):
            validate(job)
            raw = self._app.codec.dump_new(_apart(job))
        else:
            raw = job.encode() if isinstance(job, str) else job
        self._app.transport().run(self._app.store.entries.add(self.name, self._app.clock.now(), raw))
        if trim:
            self.trim()
        if notify_failure:
            tell_death_handlers(self._app, raw, ex)


def _apart(job: Mapping[str, Any]) -> Payload:
    """With an id, for a set holds equal texts once: equal jobs would become one."""
    return {**job, "jid": job.get("jid") or new_jid()}
