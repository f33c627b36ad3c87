"""From the command line to a running supervisor."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from ...errors import ConfigurationError
from ..attend import exit_now
from ..notify import Notifier
from ..signals import Signals
from . import health
from .child import ChildWorker
from .errands import Errands
from .line import Line
from .plan import Plan
from .probe import Probe
from .supervisor import HEARD, Supervisor
from .upgrade import Upgrade

if TYPE_CHECKING:
    from ...instance import Sidekiq
    from ..report import Session
    from ..service import Service


def supervise(app: Sidekiq, session: Session, service: Service) -> int:
    """Run processes until a signal ends them; answers the exit code.

    Raises ConfigurationError and BootFailed.
    """
    if not hasattr(os, "fork"):
        raise ConfigurationError("processes: this system cannot fork; start several workers instead")
    log, plan, left = app.logger, Plan.of(app.config), service.left
    notifier = Notifier(os.environ, log)
    upgrade = Upgrade()
    signals = Signals(*HEARD)
    # Those that a supervisor before this one has held back.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.Signals[f"SIG{name}"] for name in HEARD])
    worker = ChildWorker(app, session, service.reopen)
    supervisor: Supervisor

    def leave() -> None:
        """In a forked process: let go of what is the supervisor's."""
        if supervisor.probe:
            supervisor.probe.close()
        signals.close()

    def run_child(line: Line, number: int) -> int:
        leave()
        return worker.run(line, number)

    def leave_on_errand() -> None:
        supervisor.family.hang_up()
        leave()
        app.tally.include(supervisor.family.sum.totals)

    def upgrade_to() -> None:
        probe = supervisor.probe
        errands.end()
        try:
            upgrade.go(
                supervisor.family, service.pidfile.fd if service.pidfile else None,
                probe.leave_listening() if probe else None, address, notifier.given, HEARD,
            )  # fmt: skip
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.Signals[f"SIG{name}"] for name in HEARD])
            log.error("The supervisor could not start itself anew, no process is replaced: %s", error)

    address = app.config.health or ""
    # Each process would try to listen there.
    app.config.update({"health": None})
    if left and left.probe is not None and left.address != address:
        os.close(left.probe)  # nobody would answer there any more
    errands = Errands(app.health_routes, leave_on_errand, log, HEARD)
    probe = None
    if address:
        fd = left.probe if left and left.address == address else None
        routes = {
            "/livez": lambda: health.live(supervisor.family),
            "/readyz": lambda: health.ready(supervisor.family, plan.processes),
        }
        try:
            probe = Probe(address, routes, errands, fd)
        except ConfigurationError as error:
            if not left:
                raise
            # The processes of the supervisor before this one run, and would end with it.
            log.error("%s; the processes go on without probes", error)
        else:
            log.info("Health: %s%s", probe.url, " ".join(["/livez", "/readyz", *sorted(app.health_routes)]))
    supervisor = Supervisor(
        plan, log, signals, notifier, probe, run_child, service.booted, service.reopen, upgrade, upgrade_to
    )
    if left:
        supervisor.adopt(left.adopted())
    log.info("Starting %d processes, hit Ctrl-C to stop", plan.processes)
    code = supervisor.run()
    if code:
        # One more signal, as an impatient hand sends it, must not change the exit code.
        service.close()
        exit_now(code)
    return code
