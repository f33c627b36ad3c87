"""What the present job or request adds to each log line, and the short name of who logs."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from inspect import isbuiltin

_EMPTY: dict[str, object] = {}

# The mapping held is replaced, never changed: a copied context shares it with its origin.
_current: ContextVar[Mapping[str, object]] = ContextVar("sidekiq_context", default=_EMPTY)


class Context:
    """Keys and values added to the log lines of the running thread, task or job (contextvars)."""

    @staticmethod
    def current() -> dict[str, object]:
        """A copy of the current keys and values."""
        return dict(_current.get())

    @staticmethod
    @contextmanager
    def use(**values: object) -> Iterator[None]:
        """Add `values` within the block; afterwards the context is as it was before."""
        before = _current.get()
        _current.set({**before, **values})
        try:
            yield
        finally:
            # Not a token: leaving in another contextvars context, as async generators may, would raise.
            _current.set(before)

    @staticmethod
    def add(key: str, value: object) -> None:
        """Add one value until the enclosing `use` block or the job ends."""
        _current.set({**_current.get(), key: value})

    @staticmethod
    def peek() -> Mapping[str, object]:
        """The current mapping itself, not a copy: for reading only (internal)."""
        return _current.get()

    @staticmethod
    def replace(mapping: Mapping[str, object]) -> Token[Mapping[str, object]]:
        """Make `mapping` the whole context; it must not be changed afterwards (internal)."""
        return _current.set(mapping)

    @staticmethod
    def reset(token: Token[Mapping[str, object]]) -> None:
        """Undo the `replace` that returned `token` (internal)."""
        _current.reset(token)


# -- who logs ---------------------------------------------------------------------------

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_tid_override: ContextVar[str | None] = ContextVar("sidekiq_tid", default=None)
_threads = threading.local()
_tasks = itertools.count(1)


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"


def tid() -> str:
    """Short base36 name of the running thread, unique among this process's live threads.

    Within `use_tid` it is the name given there, in all code of that contextvars context.
    """
    override = _tid_override.get()
    if override is not None:
        return override
    ident = threading.get_ident()
    try:
        whose, text = _threads.named
        # Greenlets share even a threading.local that was made before gevent's patch.
        if whose == ident:
            return text  # type: ignore[no-any-return]
    except AttributeError:
        pass
    text = tid_of(threading.get_native_id(), ident)
    _threads.named = ident, text
    return text


def tid_of(native_id: int, ident: int) -> str:
    """The name of the thread that the kernel knows by this number, and Python by this ident."""
    # The kernel's number is short and not soon used again, unlike the ident's address. Both steps
    # are one-to-one, so names stay unique; times 8 because the main thread's number is the pid.
    # Greenlets in place of threads all have the kernel's number of one; who made them such has
    # replaced `get_ident`.
    return _base36(((native_id if isbuiltin(threading.get_ident) else ident) * 8) ^ os.getpid())


def set_tid(name: str) -> None:
    """Let `tid()` answer `name` in this contextvars context from now on: one that ends with its job."""
    _tid_override.set(name)


def task_tid() -> str:
    """A name for one async job on this thread, unique in this process: the thread's, '-', a number."""
    return f"{tid()}-{_base36(next(_tasks))}"


@contextmanager
def use_tid(name: str) -> Iterator[None]:
    """Let `tid()` answer `name` in the current contextvars context within the block."""
    before = _tid_override.get()
    _tid_override.set(name)
    try:
        yield
    finally:
        _tid_override.set(before)


def _forget_threads() -> None:
    global _threads
    _threads = threading.local()


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
