"""`sidekiq-lua worker`: runs jobs until a signal ends it."""

from __future__ import annotations

import gc
import logging
import os
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..version import SIDEKIQ_VERSION, __version__
from .boot import CONTEXT, boot, shared_options
from .logfile import fill_streams
from .report import Session
from .service import Service, service_options
from .signals import end_at_term, keep_int, keep_others

if TYPE_CHECKING:
    from ..instance import Sidekiq


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
@click.option("--processes", type=int, metavar="N", help="Worker processes under one supervisor.")
@click.option("--max-memory", metavar="SIZE", help="As 512MB: a process that uses more is replaced.")
@click.option("--max-jobs", type=int, metavar="N", help="A process that has run so many jobs is replaced.")
@service_options
@shared_options
@click.version_option(__version__, "-V", "--version", message="sidekiq-lua %(version)s")
@click.pass_obj
def command(
    session: Session,
    /,
    queues: tuple[str, ...],
    verbose: bool,
    pidfile: str | None,
    logfile: str | None,
    daemonize: bool,
    **options: Any,
) -> int:
    """Run jobs.

    TERM and INT stop it: running jobs may end within the time-out, the others go back to their queues. A
    second one ends it at once. TSTP takes no more jobs, TTIN logs every thread's backtrace, USR1 opens the
    log file again, USR2 replaces the processes of a supervisor one by one, with the code as it is then.
    """
    fill_streams()
    end_at_term()
    keep_int()
    keep_others()
    session.command = "sidekiq-lua worker"
    session.verbose = verbose
    session.prints_answers = False
    named = {name: options.pop(name) for name in _SETTINGS}
    settings: dict[str, Any] = {**named, "queues": list(queues) or None}
    if verbose or os.environ.get("DEBUG_INVOCATION") == "1":
        settings["log_level"] = "debug"
    given = {name: value for name, value in settings.items() if value is not None}
    collector = gc.get_threshold()
    with Service(session, pidfile, logfile, daemonize) as service:
        app = boot(**options, settings=given, server=True)
        if "log_level" in given:
            app.logger.setLevel(logging.DEBUG)
        _check_settings(app)
        _check_classes(app, bool(app.config.require))
        if gc.get_threshold() == collector:  # else the application knows better
            _collect_less(app)
        if service.is_trial:
            return 0
        _choose_server(app)
        return _way(app, service)(app, session, service)


_OBJECTS_A_JOB = 10
"""That the garbage collector has to look at; it is about twenty for a job that awaits something."""

_SETTINGS = ("concurrency", "timeout", "tag", "health", "processes", "max_memory", "max_jobs")


def _way(app: Sidekiq, service: Service) -> Callable[[Sidekiq, Session, Service], int]:
    """How to run: alone or under a supervisor, which one that has processes already stays."""
    from .supervisor.plan import wanted

    if service.left or wanted(app.config):
        from .supervisor.start import supervise

        return supervise
    from .alone import work_alone

    return work_alone


def _check_settings(app: Sidekiq) -> None:
    """Before any process is made that would find it out for itself."""
    from ..config.together import check_capsules

    check_capsules(app.config)


def _collect_less(app: Sidekiq) -> None:
    """Let the garbage collector look when the running jobs could all be new: hundreds of tasks have more
    objects alive than its usual threshold, and it would look at all of them for every few jobs.
    """
    first, *others = gc.get_threshold()
    at_once = sum(capsule.concurrency for capsule in app.config.capsules.values())
    if first:
        gc.set_threshold(max(first, _OBJECTS_A_JOB * at_once), *others)


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
