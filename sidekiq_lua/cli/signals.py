"""Signals as something to read: a handler interrupts any line of any code, so ours do nothing at all."""

from __future__ import annotations

import os
import signal
import socket
import threading
from types import FrameType
from typing import Any


class Signals:
    """From now until the process ends, each of the named signals leaves its number in a socket.

    For the main thread, once in a process. A process that is forked gets the former handlers back: it would
    else put its own signals into its parent's socket. What `keep_others` has kept is read first. Raises the
    KeyboardInterrupt that `keep_int` has kept.
    """

    def __init__(self, *names: str) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        numbers = [signal.Signals[f"SIG{name}"] for name in names]
        former = {number: signal.signal(number, _nothing) for number in numbers}
        self._former: dict[int, Any] = {
            number: signal.SIG_DFL if handler is _keep else handler for number, handler in former.items()
        }
        self._masks = threading.local()
        if _interrupted:
            raise KeyboardInterrupt
        self._writer.send(bytes(dict.fromkeys(_kept)) or b"\0")
        _kept.clear()  # a process that is forked has its own Signals, and was sent none of these
        os.register_at_fork(before=self._hold, after_in_parent=self._let, after_in_child=self._give_back)

    def fileno(self) -> int:
        """What to watch for something to read."""
        return self._reader.fileno()

    def wake(self) -> None:
        """Let `read` answer; from any thread."""
        try:
            self._writer.send(b"\0")
        except BlockingIOError:
            return  # it is full of news already

    def read(self) -> list[str]:
        """Wait for signals or for `wake`; the names without SIG, each once if several came at once."""
        numbers = dict.fromkeys(self._reader.recv(4096))
        return [signal.Signals(number).name[3:] for number in numbers if number in self._former]

    def close(self) -> None:
        """In a child, which has got the former handlers back: let go of its parent's socket."""
        self._reader.close()
        self._writer.close()

    # -- forks --------------------------------------------------------------------------

    def _hold(self) -> None:
        # A child may get a signal before its first line runs, with our handlers still in place.
        self._masks.former = signal.pthread_sigmask(signal.SIG_BLOCK, self._former)

    def _let(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masks.former)

    def _give_back(self) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._former.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._former = {}
        self._let()


_interrupted = False


def keep_int() -> None:
    """Until there are `Signals`, an INT is a KeyboardInterrupt that cannot be lost.

    Python drops one in a callback, as of its import locks, and the application may catch it in an import:
    the worker would begin jobs although it was told to end.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt


_kept: list[int] = []


def keep_others() -> None:
    """Until there are `Signals`, let those that ask for something else than the end wait for them.

    Without a handler TSTP and TTIN stop the process, so that not even TERM ends it, and USR1 and USR2 end it:
    a deploy or a rotation of the logs may come while the application is imported.
    """
    for name in ("TSTP", "TTIN", "USR1", "USR2"):
        number = signal.Signals[f"SIG{name}"]
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _keep)


def _keep(number: int, frame: FrameType | None) -> None:
    _kept.append(number)


def end_at_term() -> None:
    """Let TERM end the first process of a container as it ends any other, until there are `Signals`.

    The kernel keeps from it what has no handler: a TERM that comes while the application is imported would
    be lost, and the worker begin jobs, until it is killed.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Python has written the number into the socket before it calls this."""
