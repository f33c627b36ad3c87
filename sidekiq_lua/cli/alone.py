"""A worker without a supervisor."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .attend import Attendant, end_threads, log_booted
from .notify import Notifier, Watchdog
from .signals import Signals

if TYPE_CHECKING:
    from ..instance import Sidekiq
    from .report import Session
    from .service import Service


def work_alone(app: Sidekiq, session: Session, service: Service) -> int:
    """Run until a signal or a word through Redis ends it; answers the exit code."""
    notifier = Notifier(os.environ, app.logger)
    app.config.on("quiet", lambda: notifier.status("quiet"))
    app.config.on("shutdown", lambda: notifier.stopping("stopping"))
    signals = Signals("INT", "TERM", "TSTP", "TTIN", "USR1", "USR2")
    runner = app.run()
    log_booted(app, runner)
    app.logger.info("Starting processing, hit Ctrl-C to stop")

    def status() -> str:
        problems = runner.unwell() or runner.unready()
        return "; ".join([f"{runner.busy} of {runner.concurrency} busy", *problems])

    watchdog = Watchdog(notifier, lambda: not runner.unwell(), status)
    notifier.ready(status())
    service.booted()
    watchdog.start()
    Attendant(app.logger, runner, signals, service.reopen).run()
    watchdog.stop()
    app.close()
    end_threads(app.logger)
    return 0
