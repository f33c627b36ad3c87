"""`sidekiq-lua quiet` and `stop`: what a worker process is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .ask import be_sure, json_option, must_be_answered, yes_option
from .boot import CONTEXT, boot, shared_options
from .report import Session, complain, describe, printable

if TYPE_CHECKING:
    from ..api.processes import Process
    from ..instance import Sidekiq

F = TypeVar("F", bound=Callable[..., Any])

_CHOICE: list[Callable[[Any], Any]] = [
    click.argument("identities", nargs=-1, metavar="[IDENTITY...]"),
    click.option("--all", "everything", is_flag=True, help="All processes."),
    yes_option,
    json_option,
    shared_options,
    click.pass_obj,
]


def choosing(command: F) -> F:
    """The arguments and options by which processes are chosen."""
    for decorate in reversed(_CHOICE):
        command = decorate(command)
    return command


@click.command("quiet", context_settings=CONTEXT)
@choosing
def quiet(session: Session, /, **choice: Any) -> int:
    """Tell worker processes to take no more jobs; those that run go on. Asks first.

    IDENTITY is HOST:PID:NONCE, as `sidekiq-lua monitor processes` lists them. A process obeys at its next
    heartbeat, within 10 seconds. There is no way back but a restart.

    \b
    Examples:
      sidekiq-lua quiet web-1:4242:1893b7a6b794
      sidekiq-lua quiet --all --yes
      sidekiq-lua quiet --all --yes --json
    """
    return _tell(session, "quiet", "take no more jobs", **choice)


@click.command("stop", context_settings=CONTEXT)
@choosing
def stop(session: Session, /, **choice: Any) -> int:
    """Tell worker processes to end. Asks first.

    Jobs that run have the setting `timeout` (25 seconds) to finish; those that do not, go back to their
    queues. IDENTITY is HOST:PID:NONCE, as `sidekiq-lua monitor processes` lists them. A process obeys at its
    next heartbeat, within 10 seconds. What supervises it may start it again.

    \b
    Examples:
      sidekiq-lua stop web-1:4242:1893b7a6b794
      sidekiq-lua stop --all --yes
      sidekiq-lua stop --all --yes --json
    """
    return _tell(session, "stop", "end", **choice)


def _tell(
    session: Session, verb: str, what: str, identities: tuple[str, ...], everything: bool, yes: bool,
    as_json: bool, verbose: bool, **options: Any,
) -> int:  # fmt: skip
    session.command = f"sidekiq-lua {verb}"
    session.verbose = verbose
    if bool(identities) == everything:
        raise click.UsageError("name processes, or take --all" + (": not both" if identities else ""))
    must_be_answered(yes)
    app = boot(**options, settings={}, server=False)
    found = _processes(app, tuple(dict.fromkeys(identities)))
    if found:
        names = ", ".join(process.identity for process in found)
        be_sure(yes, f"Tell {len(found)} processes to {what}: {names}?" if len(found) > 1
                else f"Tell {names} to {what}?")  # fmt: skip
    results = [{"identity": process.identity, "told": _send(process, verb)} for process in found]
    if as_json:
        click.echo(json.dumps(results, ensure_ascii=False))
    elif not found:
        click.echo("No process runs.")
    else:
        for result in results:
            if result["told"]:
                click.echo(printable(f"Told {result['identity']} to {what}."))
    return 0 if all(result["told"] for result in results) else 1


def _processes(app: Sidekiq, identities: tuple[str, ...]) -> list[Process]:
    """Those of these names, or all. Raises SidekiqError for one that is not listed."""
    from ..errors import SidekiqError
    from ..instance import ProcessSet

    every = {process.identity: process for process in ProcessSet(app, clean=False)}
    for identity in identities:
        if identity not in every:
            hint = f", but there are: {', '.join(list(every)[:10])}" if every else ": no process runs"
            raise SidekiqError(f"there is no process {identity!r}{hint}")
    return [every[identity] for identity in identities] if identities else list(every.values())


def _send(process: Process, verb: str) -> bool:
    from ..errors import RedisError, SidekiqError

    try:
        if verb == "quiet":
            process.quiet()
        else:
            process.stop()
    except RedisError:
        raise
    except SidekiqError as error:  # it is embedded; the others are told
        complain(describe(f"sidekiq-lua {verb}", str(error)))
        return False
    return True
