"""`--daemonize`: the command returns when the worker has booted, or with its error and exit code."""

from __future__ import annotations

import json
import os
import sys

from .report import complain


class Birth:
    """What a process in the background has to tell the command that started it, once."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def booted(self) -> None:
        self._tell("", 0)

    def failed(self, line: str, code: int) -> None:
        self._tell(line, code)

    def _tell(self, line: str, code: int) -> None:
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            os.write(fd, json.dumps([line, code]).encode() + b"\n")
        except BrokenPipeError:
            return  # the command was interrupted: nobody is left to tell
        finally:
            os.close(fd)


def daemonize(log: str) -> Birth:
    """Go on in the background, without a terminal; the calling process ends here, by SystemExit.

    `log` names where the output goes, for the error of a process that dies without a word. Call it before
    there are threads.
    """
    reader, writer = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    child = os.fork()
    if child:
        os.close(writer)
        os.waitpid(child, 0)
        raise SystemExit(_await(reader, log))
    os.close(reader)
    os.setsid()
    if os.fork():
        # Not the leader of its session, the worker can never get a terminal.
        os._exit(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return Birth(writer)


def _await(reader: int, log: str) -> int:
    heard = b""
    while not heard.endswith(b"\n"):
        more = os.read(reader, 65536)
        if not more:
            complain(f"sidekiq-lua worker: the worker died while it started; see {log}")
            return 1
        heard += more
    line, code = json.loads(heard)
    if line:
        complain(line)
    return int(code)
