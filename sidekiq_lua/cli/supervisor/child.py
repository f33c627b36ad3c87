"""What a process under a supervisor does beside its work: reports, and takes orders."""

from __future__ import annotations

import atexit
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..attend import Attendant, end_threads, flush_streams, log_booted
from ..report import Session, complain, describe
from ..signals import Signals
from .figures import Teller
from .line import Line

if TYPE_CHECKING:
    from ...instance import Sidekiq
    from ...worker.runner import Runner

REPORT_S = 1.0
HEARD = ("INT", "TERM", "TSTP", "TTIN", "USR1", "USR2")


class ChildWorker:
    """Runs one worker in a process that was just forked, with the signals of HEARD blocked."""

    def __init__(self, app: Sidekiq, session: Session, reopen: Callable[[], None]) -> None:
        self._app = app
        self._session = session
        self._reopen = reopen

    def run(self, line: Line, number: int) -> int:
        """The exit code of the process: as of a worker without a supervisor."""
        try:
            code = self._run(line)
        except BaseException as error:
            line.say(failed=self._describe(error))
            code = 1
        atexit._run_exitfuncs()
        flush_streams()
        return code

    def _run(self, line: Line) -> int:
        app = self._app
        signals = Signals(*HEARD)
        signal.pthread_sigmask(
            signal.SIG_UNBLOCK, [signal.Signals[f"SIG{name}"] for name in (*HEARD, "CHLD")]
        )
        runner = app.run()
        log_booted(app, runner)
        attendant = Attendant(app.logger, runner, signals, self._reopen)
        line.say(booted=runner.identity, **state(runner))
        # What ran is of interest only where the supervisor has a page to show it on.
        say = Teller(app.totals, line).say if app.health_routes else line.say
        threading.Thread(
            target=self._obey, args=(line, runner, attendant), name="sidekiq.line", daemon=True
        ).start()
        threading.Thread(target=self._report, args=(say, runner), name="sidekiq.report", daemon=True).start()
        attendant.run()
        say()
        app.close()
        end_threads(app.logger)
        return 0

    def _describe(self, error: BaseException) -> str:
        from ..place import full, sentence

        if self._session.verbose:
            complain(full(error))
        return describe("", sentence(error)).removeprefix(": ")

    def _obey(self, line: Line, runner: Runner, attendant: Attendant) -> None:
        while not line.closed:
            for word in line.hear():
                attendant.tell(str(word.get("do", "")))
        if not runner.wait(0):
            self._app.logger.warning("The supervisor is gone, this process stops")
            attendant.tell("stop")

    def _report(self, say: Callable[..., bool], runner: Runner) -> None:
        while not runner.wait(REPORT_S):
            if not say(**state(runner)):
                return


def state(runner: Runner) -> dict[str, object]:
    """What the supervisor needs to know; memory in bytes."""
    from ...worker.identity import rss_kb

    return {
        "identity": runner.identity,
        "busy": runner.busy,
        "concurrency": runner.concurrency,
        "jobs": runner.runs,
        "rss": rss_kb() * 1024,
        "unwell": runner.unwell(),
        "unready": runner.unready(),
    }
