"""`sidekiq-lua worker`: runs jobs until a signal ends it."""

from __future__ import annotations

import logging
import os
import platform
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from ..clock import monotonic
from ..version import SIDEKIQ_VERSION, __version__
from .boot import CONTEXT, boot, shared_options
from .report import Session
from .signals import Signals

if TYPE_CHECKING:
    from ..instance import Sidekiq
    from ..worker.runner import Runner

_SAME_SIGNAL_S = 0.1
"""`timeout` and others signal a process and then its group, so one signal comes twice, close together."""
_LAST_THREADS_S = 3.0


@click.command("worker", context_settings=CONTEXT, short_help="Run jobs.")
@click.option(
    "-c", "--concurrency", type=int, metavar="INT", help="Jobs at a time. Default: RAILS_MAX_THREADS, else 5."
)
@click.option(
    "-q", "--queue", "queues", multiple=True, metavar="NAME[,WEIGHT]", help="Repeatable. Default: default."
)
@click.option(
    "-t", "--timeout", type=float, metavar="SECONDS", help="For running jobs at a stop. Default: 25."
)
@click.option(
    "--health", metavar="HOST:PORT", help="Answer /livez and /readyz there; a port alone is 127.0.0.1's."
)
@click.option("-g", "--tag", metavar="TEXT", help="Name of the process in lists and in its title.")
@shared_options
@click.version_option(__version__, "-V", "--version", message="sidekiq-lua %(version)s")
@click.pass_obj
def command(
    session: Session,
    /,
    concurrency: int | None,
    queues: tuple[str, ...],
    timeout: float | None,
    tag: str | None,
    health: str | None,
    verbose: bool,
    **options: Any,
) -> int:
    """Run jobs.

    TERM and INT stop it: running jobs may end within the time-out, the others go back to their queues. A
    second one ends it at once. TSTP takes no more jobs, TTIN logs every thread's backtrace.
    """
    session.command = "sidekiq-lua worker"
    session.verbose = verbose
    session.prints_answers = False
    settings = {
        "concurrency": concurrency,
        "queues": list(queues) or None,
        "timeout": timeout,
        "tag": tag,
        "health": health,
    }
    if verbose or os.environ.get("DEBUG_INVOCATION") == "1":
        settings["log_level"] = "debug"
    given = {name: value for name, value in settings.items() if value is not None}
    app = boot(**options, settings=given, server=True)
    if "log_level" in given:
        app.logger.setLevel(logging.DEBUG)
    _check_classes(app, bool(app.config.require))
    _choose_server(app)
    signals = Signals("INT", "TERM", "TSTP", "TTIN")
    runner = _start(app)
    _attend(app.logger, runner, signals)
    app.close()
    _bound_the_end(app.logger)
    return 0


def _check_classes(app: Sidekiq, required: bool) -> None:
    from ..errors import ConfigurationError

    if len(app.registry):
        return
    if not required:
        raise ConfigurationError(
            "no job class is known here: name what defines your jobs, as in -r myapp.jobs, -r jobs.py or "
            "-r myapp/jobs/, or under `require` in the configuration file"
        )
    app.logger.warning(
        "%s: no job class of this instance is defined there, so every job will fail as unknown "
        "(-r DIRECTORY/ imports a package's modules too; --app names another instance)",
        ", ".join(app.config.require),
    )  # fmt: skip


def _choose_server(app: Sidekiq) -> None:
    """Say who runs and which server it has. Ctrl-C still ends it here: a server may have to be started."""
    app.logger.info(
        "sidekiq-lua %s, as Sidekiq %s, on Python %s with pid %d",
        __version__, SIDEKIQ_VERSION, platform.python_version(), os.getpid(),
    )  # fmt: skip
    app.transport()
    app.logger.info("Redis: %s", app.server_reason)


def _start(app: Sidekiq) -> Runner:
    log, config = app.logger, app.config
    runner = app.run()
    log.info(
        "Booted %s in %s; concurrency: %d, queues: %s (%s), job classes: %d",
        runner.identity, config.environment, config.concurrency, " ".join(config.queues), config.mode,
        len(app.registry),
    )  # fmt: skip
    log.info("Starting processing, hit Ctrl-C to stop")
    return runner


# -- signals ----------------------------------------------------------------------------


def _attend(log: logging.Logger, runner: Runner, signals: Signals) -> None:
    """Act on signals until the worker has stopped. Raises what stopping raised."""
    failures: list[BaseException] = []

    def stop() -> None:
        try:
            runner.stop()
        except BaseException as error:
            failures.append(error)
            signals.wake()

    def watch() -> None:
        runner.wait()
        signals.wake()

    actions = {"TSTP": runner.quiet, "TTIN": runner.dump_threads, "TERM": stop, "INT": stop}
    _in_thread("watch", watch)
    stopping_since: float | None = None
    while not runner.wait(0):
        for name in signals.read():
            if name in ("INT", "TERM"):
                if stopping_since is None:
                    stopping_since = monotonic()
                elif monotonic() - stopping_since < _SAME_SIGNAL_S:
                    continue
                else:
                    _leave_at_once(log, runner, name)
            log.info("Got %s", name)
            # A handler of the application that hangs must not keep the next signal from being heard.
            _in_thread(name.lower(), actions[name])
        if failures:
            raise failures[0]


def _in_thread(name: str, action: Any) -> None:
    threading.Thread(target=action, name=f"sidekiq.{name}", daemon=True).start()


def _leave_at_once(log: logging.Logger, runner: Runner, name: str) -> None:
    log.warning(
        "Got %s while stopping: forced exit, %d running jobs are left for another worker to recover",
        name, runner.busy,
    )  # fmt: skip
    _exit(1)


def _bound_the_end(log: logging.Logger) -> None:
    """See to it that threads which jobs have left behind cannot keep the process alive."""

    def end() -> None:
        threading.Event().wait(_LAST_THREADS_S)
        main = threading.main_thread()
        left = [thread.name for thread in threading.enumerate() if not thread.daemon and thread is not main]
        if left:
            log.warning("These threads do not end, and are cut off: %s", ", ".join(left))
            _exit(0)

    if any(not thread.daemon and thread is not threading.main_thread() for thread in threading.enumerate()):
        _in_thread("end", end)


def _exit(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            continue
    os._exit(code)
