"""One entry of the retry, schedule or dead set, and what can be done to it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..store.entries import Entry, SetName
from ..timing import When, absolute
from .death import burial, tell_death_handlers
from .record import JobRecord, moment
from .returning import returning

if TYPE_CHECKING:
    from ..app import App


class SortedEntry(JobRecord):
    """An entry as it was read.

    Each action is one script, and finds the entry by its exact bytes and score: it answers False, and does
    nothing, if the entry is gone or was rescheduled since. All raise RedisError. Keys: the set, and as each
    action says.
    """

    def __init__(self, app: App, set_name: SetName, entry: Entry) -> None:
        super().__init__(app, entry.raw)
        self._set: SetName = set_name
        self.score = entry.score
        """Epoch seconds: when it is due or, in the dead set, when it died."""

    @property
    def parent(self) -> str:
        """The name of its set."""
        return self._set

    @property
    def id(self) -> str:
        """Score and jid, as Sidekiq's pages name it."""
        return f"{self.score!r}|{self.jid}"

    @property
    def at(self) -> datetime | None:
        """The score as UTC."""
        return moment(self.score)

    @property
    def is_error(self) -> bool:
        """Whether it has failed before."""
        return bool(self["error_class"])

    @property
    def _entry(self) -> Entry:
        return Entry(self.value, self.score)

    def delete(self) -> bool:
        """Delete it."""
        return self._app.transport().run(self._app.store.entries.delete(self._set, self._entry))

    def reschedule(self, when: When) -> bool:
        """Give it another time: seconds from now, epoch seconds, a timedelta, or an aware datetime.

        Raises InvalidJob for what is no time.
        """
        due = absolute(when, self._app.clock.now())
        moved = self._app.transport().run(self._app.store.entries.reschedule(self._set, self._entry, due))
        if moved:
            self.score = due
        return moved

    def add_to_queue(self) -> bool:
        """Push it to its queue now, through client middleware; one that this stops is deleted.

        Raises UnparsablePayload for what is no job, and what middleware raises. Keys: `queues`, `queue:NAME`,
        and out of the dead set `lua:crashes:JID`.
        """
        return self._push(uncount=False)

    def retry(self) -> bool:
        """Like `add_to_queue`, and this try does not count against the limit of retries."""
        return self._push(uncount=True)

    def _push(self, *, uncount: bool) -> bool:
        made = returning(self._app, self._entry, uncount=uncount)
        entries = self._app.store.entries
        call = (
            entries.enqueue(self._set, made.entry, made.queue, made.payload, made.crash_key)
            if made.queue
            else entries.delete(self._set, made.entry)
        )
        return self._app.transport().run(call)

    def kill(self, *, notify_failure: bool = True, ex: BaseException | None = None) -> bool:
        """Move it to the dead set as it is; then death handlers run, with `ex` or a JobKilled.

        One that is dead already has died now. Keys: `dead`.
        """
        limits = burial(self._app)
        if self._set == "dead":
            moved = self.reschedule(limits.now)
        else:
            call = self._app.store.entries.bury(self._set, self._entry, self.value, limits)
            moved = self._app.transport().run(call).moved
        if moved and notify_failure:
            tell_death_handlers(self._app, self.value, ex)
        return moved

    def edit_args(self, *args: Any) -> bool:
        """Give the job other arguments; its time stays.

        Raises InvalidJob for arguments that a push would refuse.
        """
        return self._replace(self._edited(args))

    def move_to(self, queue: str) -> bool:
        """Let it go to another queue when it is due. Raises InvalidJob for a name that is none."""
        return self._replace(self._requeued(queue))

    def _replace(self, value: bytes) -> bool:
        if value == self.value:
            return True
        moved = self._app.transport().run(self._app.store.entries.replace(self._set, self._entry, value))
        if moved:
            self._became(value)
        return moved
