"""A small process beside each worker: keeps its heartbeat alive while a job holds the GIL, and sees it die.

It reads one line of JSON, then a byte for each beat of the worker. It speaks to Redis only when a beat is
late while the worker is alive (a stopped one does not count), and once when the worker has died without a
word: then it ends the heartbeat, so that the jobs are recovered at once, and notes which were running.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..bundled.resp import ErrorReply, Link
from ..clock import monotonic
from .marks import read_marks

BEAT, BYE = b".", b"q"
_TIMEOUT_S = 3.0
_RETRY_S = 1.0


class Line(Link):
    """A connection by the settings of an Endpoint, with login, database and TLS."""

    def __init__(self, spec: dict[str, Any]) -> None:
        if spec.get("path"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(_TIMEOUT_S)
            self._socket.connect(spec["path"])
        else:
            self._socket = socket.create_connection((spec["host"], spec["port"]), _TIMEOUT_S)
        if spec.get("tls") is not None:
            self._socket = _wrap(self._socket, spec["host"], spec["tls"])
        self._reader = self._socket.makefile("rb")
        if spec.get("password"):
            login = [spec["username"]] if spec.get("username") else []
            self.call("AUTH", *login, spec["password"])
        if spec.get("db"):
            self.call("SELECT", str(spec["db"]))


def _wrap(plain: socket.socket, host: str, tls: dict[str, Any]) -> socket.socket:
    import ssl

    context = ssl.create_default_context(cafile=tls.get("ca_certs"))
    if tls.get("certfile"):
        context.load_cert_chain(tls["certfile"], tls.get("keyfile"))
    context.check_hostname = bool(tls.get("check_hostname", True)) and tls.get("cert_reqs") != "none"
    if tls.get("cert_reqs") == "none":
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=host)


def run_script(spec: dict[str, Any], name: str, *argv: str) -> None:
    """EVALSHA, or EVAL where the server does not know the script. Raises OSError and ErrorReply."""
    script = spec["scripts"][name]
    keys: list[str] = script["keys"]
    with Line(spec["server"]) as line:
        try:
            line.call("EVALSHA", script["sha"], str(len(keys)), *keys, *argv)
        except ErrorReply as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            line.call("EVAL", script["text"], str(len(keys)), *keys, *argv)


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped (SIGSTOP, a debugger), so that it cannot do its jobs."""
    try:
        with Path(f"/proc/{pid}/stat").open("rb") as stat:
            state = stat.read().rpartition(b")")[2].split()[0].decode()
    except OSError:
        found = subprocess.run(
            ["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        state = found.stdout.strip()[:1]
    return state in ("T", "t", "Z", "")


def watch(spec: dict[str, Any], parent: int) -> bool:
    """Until the worker ends; whether it said goodbye."""
    patience = late = 1.5 * float(spec["interval"])
    while True:
        readable, _, _ = select.select([0], [], [], patience)
        if readable:
            heard = os.read(0, 4096)
            if not heard or BYE in heard:
                return bool(heard)
            patience = late
            continue
        if os.getppid() != parent:
            return False
        patience = float(spec["interval"])
        if not is_stopped(parent):
            try:
                run_script(spec, "keep_alive", str(spec["ttl"]))
            except (OSError, ErrorReply) as error:
                complain(f"the heartbeat could not be kept alive: {error}")


def report_death(spec: dict[str, Any], running: list[str]) -> None:
    """Tell Redis, for as long as the heartbeat would live otherwise."""
    until = monotonic() + float(spec["ttl"])
    while True:
        try:
            run_script(spec, "fall", str(spec["note_ttl"]), "", *running)
            return
        except (OSError, ErrorReply) as error:
            if monotonic() > until:
                complain(f"the death of {spec['identity']} could not be told: {error}")
                return
        select.select([], [], [], _RETRY_S)


def complain(sentence: str) -> None:
    sys.stderr.write(f"sidekiq-lua: {sentence}\n")
    sys.stderr.flush()


def main() -> None:
    # Ctrl-C and a service manager's TERM go to the whole group, and what is meant for the worker may come to
    # all that is called sidekiq; this process ends when the worker has.
    for name in ("SIGINT", "SIGTERM", "SIGTSTP", "SIGTTIN", "SIGUSR1", "SIGUSR2", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    parent = int(sys.argv[1])
    line = b""
    while not line.endswith(b"\n"):
        heard = os.read(0, 1)
        if not heard:
            return
        line += heard
    spec = json.loads(line)
    memory = mmap.mmap(int(sys.argv[2]), spec["marks"], prot=mmap.PROT_READ)
    if not watch(spec, parent):
        report_death(spec, read_marks(memory))


if __name__ == "__main__":
    main()
