"""Words for systemd (Type=notify): ready, reloading, stopping, a status line, and the watchdog's pings."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, MutableMapping

from ..clock import monotonic

_LEAST_S = 1.0
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """Speaks to the socket that `environ` names, or to nobody.

    The variables are taken out of `environ`, since the programs that jobs start are not the service.
    """

    def __init__(self, environ: MutableMapping[str, str], log: logging.Logger) -> None:
        self._log = log
        self._complained = False
        self.given = {name: environ.pop(name) for name in VARIABLES if name in environ}
        """What to put back for a program that takes this process's place."""
        self._address = self.given.get("NOTIFY_SOCKET", "")
        self.watchdog_s = self._watchdog() if self._address else 0.0
        """Seconds between two pings; 0: none are wanted."""

    @property
    def wanted(self) -> bool:
        """Whether there is a socket to speak to."""
        return bool(self._address)

    def _watchdog(self) -> float:
        usec, pid = self.given.get("WATCHDOG_USEC", ""), self.given.get("WATCHDOG_PID", "")
        if not usec.isdecimal() or not int(usec) or (pid and pid != str(os.getpid())):
            return 0.0
        if int(usec) < _LEAST_S * 1e6:
            self._log.error(
                "WatchdogSec=%.3f is too short: 1 s is the least. No pings are sent", int(usec) / 1e6
            )
            return 0.0
        return int(usec) / 2e6

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self, status: str) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic() * 1e6)}\nSTATUS={status}")

    def stopping(self, status: str) -> None:
        self._send(f"STOPPING=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        self._send(f"STATUS={status}")

    def ping(self) -> None:
        """The service lives. Whoever calls this has made sure of it."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the zero byte of an abstract socket's name.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
                to.settimeout(1.0)
                to.sendto(text.encode(), address)
        except OSError as error:
            if not self._complained:
                self._complained = True
                self._log.warning("systemd was not notified at %s: %s", self._address, error)


class Watchdog:
    """Pings systemd for as long as `lives` answers true, from a thread of its own."""

    def __init__(self, notifier: Notifier, lives: Callable[[], bool], status: Callable[[], str]) -> None:
        self._notifier = notifier
        self._lives = lives
        self._status = status
        self._end = threading.Event()

    def start(self) -> None:
        """Begin, if anybody listens: to make the status costs a question to Redis."""
        if self._notifier.wanted:
            threading.Thread(target=self._run, name="sidekiq.watchdog", daemon=True).start()

    def stop(self) -> None:
        self._end.set()

    def _run(self) -> None:
        pause = self._notifier.watchdog_s or 10.0
        shown = ""
        while not self._end.wait(pause):
            if self._notifier.watchdog_s and self._lives():
                self._notifier.ping()
            status = self._status()
            if status != shown:
                self._notifier.status(status)
                shown = status
