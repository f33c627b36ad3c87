"""`sidekiq-lua server`: the bundled server of this user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from ..clock import Clock
from .boot import CONTEXT
from .report import Session
from .text import since

if TYPE_CHECKING:
    from ..bundled import BundledServer


@click.group("server", context_settings=CONTEXT)
@click.pass_obj
def command(session: Session, /) -> None:
    """Start, stop or look at this machine's bundled server.

    It serves the workers, clients and monitors of one user, where no other Redis is named. Its data lies in
    ~/.sidekiq-lua, or in SIDEKIQ_LUA_HOME.
    """
    session.command = "sidekiq-lua server"


def _server() -> BundledServer:
    from ..bundled import BundledServer

    return BundledServer()


@command.command(context_settings=CONTEXT)
def status() -> int:
    """Say whether it runs; the exit code is 1 if it does not."""
    from ..urls import mask

    found = _server().status()
    if found.url is None or found.started_at is None:
        click.echo(f"The bundled server does not run. Its data: {found.data}")
        return 1
    click.echo(f"The bundled server runs: {mask(found.url)}")
    click.echo(f"  Version: {found.version}")
    click.echo(f"      Pid: {found.pid}")
    click.echo(f"  Started: {since(found.started_at, Clock().now())}")
    click.echo(f"  Clients: {found.clients}")
    click.echo(f"     Data: {found.data}")
    click.echo(f"      Log: {found.log}")
    return 0


@command.command(context_settings=CONTEXT)
@click.option("-e", "--environment", metavar="NAME", help="Default: SIDEKIQ_ENV, APP_ENV, else development.")
def start(environment: str | None) -> None:
    """Start it if it does not run; it is refused in production."""
    from ..bundled import refuse_in_production
    from ..config.surroundings import environment_name
    from ..urls import mask

    refuse_in_production(environment or environment_name(os.environ))
    server = _server()
    url = server.start()
    click.echo(f"The bundled server runs: {mask(url)}")
    click.echo(f"     Data: {server.data}")


@command.command(context_settings=CONTEXT)
def stop() -> None:
    """End it in order; its data stay."""
    click.echo("The bundled server has stopped." if _server().stop() else "No bundled server ran.")
