"""Every exception this package raises, under one base class."""

from __future__ import annotations

from typing import Any


class SidekiqError(Exception):
    """Base of all errors raised by sidekiq-lua; catch this to catch them all."""


# -- settings ---------------------------------------------------------------------------


class ConfigurationError(SidekiqError, ValueError):
    """A setting has a value that cannot work; the message names the setting and the fix."""


class UnknownSetting(ConfigurationError):
    """A configuration names a key that does not exist; the message names the nearest known one."""


class FrozenConfig(ConfigurationError):
    """A setting was changed after the worker had started; set it in a configure block instead."""


class BundledServerError(SidekiqError):
    """The bundled server could not be found, started or stopped."""


# -- jobs -------------------------------------------------------------------------------


class InvalidJob(SidekiqError, ValueError):
    """A job was refused when it was enqueued; nothing was written."""


class UnserializableArguments(InvalidJob):
    """An argument would not survive JSON unchanged; the message names its path."""


class SignatureMismatch(InvalidJob, TypeError):
    """The arguments do not fit the signature of `perform`."""


class PayloadTooLarge(InvalidJob):
    """The job's JSON is larger than the setting `payload_limit` (bytes) allows."""


class DuplicateJobClass(ConfigurationError):
    """Two classes were registered under one name; give one of them a `sidekiq_class`."""


class InvalidCursor(SidekiqError, ValueError):
    """A cursor of an iterable job would not survive JSON unchanged, is too long, or cannot be read."""


class UnknownJobClass(SidekiqError):
    """A payload names a class that this process has not registered; the job is retried."""


class UnparsablePayload(SidekiqError, ValueError):
    """Text found in Redis is not a job; it goes to the dead set as it is."""


class EmptyQueueError(SidekiqError):
    """`perform_one` in a test found no job to run."""


class NoTestServer(SidekiqError):
    """There is no server for tests; the message says what was tried, and what to install."""


class JobKilled(SidekiqError):
    """What death handlers are told of a job that the Data API moved to the dead set; it did not run."""


# -- Redis ------------------------------------------------------------------------------


class RedisError(SidekiqError):
    """Redis did not do what was asked."""


class RedisUnavailable(RedisError):
    """No usable connection: no server, a refused login, a cut or a timed-out connection."""


class LoginRefused(RedisUnavailable):
    """The server is there and does not let us in: a wrong password or user, or no such database."""


class LostReply(RedisUnavailable):
    """The connection failed after the request was sent: it may or may not have been carried out."""


class PushUnknown(LostReply):
    """A push got no answer: the jobs in `jids` may be in Redis or not. Name it before RedisUnavailable."""

    def __init__(self, message: str, jids: list[str]) -> None:
        super().__init__(message)
        self.jids = jids


class PushBufferFull(RedisUnavailable):
    """Redis is away and the setting `push_buffer` leaves no room: nothing was sent and nothing is kept."""


class NotReplicated(RedisError):
    """A push was done, but fewer than `wait_replicas` replicas confirmed it in time.

    The jobs in `jids` are in Redis; a failover at this moment could lose them.
    """

    def __init__(self, message: str, jids: list[str]) -> None:
        super().__init__(message)
        self.jids = jids


class NotPushedAfterCommit(RedisError):
    """A transaction was committed, and jobs that waited for it were not pushed, or perhaps not.

    `payloads` has those jobs; each of them was logged and told to the error handlers.
    """

    def __init__(self, message: str, payloads: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.payloads = payloads


class RedisRefused(RedisError):
    """Redis answered with an error: no permission, a key of a wrong type, …"""


class RedisNotReady(RedisRefused):
    """Redis refuses for now: a replica, or too few of them (a failover?); its disk fails; a script hangs."""


class RedisFull(RedisRefused):
    """Redis is at `maxmemory`: new work is refused until there is room; running work still ends."""


class UnsupportedServer(RedisError):
    """The server is too old, or something about it makes it unfit for jobs."""


class NewerSchema(UnsupportedServer):
    """A newer sidekiq-lua wrote this database; upgrade this process before it starts."""


class ScriptError(RedisRefused):
    """A Lua script failed; the message begins with the `file:line` under `lua/`."""


# -- running jobs -----------------------------------------------------------------------


class AlreadyRunning(SidekiqError):
    """`run` of an embedded worker was called while it runs."""


class WrongProcess(SidekiqError):
    """`quiet` or `stop` was called in a process that was forked from the one in which the worker runs."""


class Shutdown(BaseException):
    """Raised inside a job at the hard deadline of a shutdown; the job was put back in its queue.

    It is not an `Exception`, so that a job's own `except Exception` lets it through.
    """


class Interrupted(BaseException):
    """Leaves `perform` when an iterable job makes room: the worker saves its state and puts it back.

    It is not an `Exception`, so that middleware which reports errors lets it through.
    """
