"""`sidekiq-lua acl`: the least that a role needs, as a line for Redis."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from ..errors import ConfigurationError
from .boot import CONTEXT
from .report import Session

ROLES = ("enqueuer", "worker", "scheduler", "dashboard", "admin")


@click.command("acl", context_settings=CONTEXT)
@click.argument("role", type=click.Choice(ROLES), metavar=f"[{'|'.join(ROLES)}]")
@click.option("--name", metavar="USER", help="The user's name. Default: sidekiq-ROLE.")
@click.option(
    "--password-file", metavar="FILE",
    help="Its first line is the password, which is printed as a hash. Default: the placeholder >PASSWORD.",
)  # fmt: skip
@click.option("--prefix", default="", metavar="TEXT", help="What all keys begin with. Default: nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: also the scripts, keys and commands.")
@click.pass_obj
def command(
    session: Session, /, role: str, name: str | None, password_file: str | None, prefix: str, as_json: bool
) -> None:
    """Print the ACL SETUSER line with the least that a role needs. Asks no server.

    \b
    enqueuer   pushes jobs; cannot take or see any
    worker     runs jobs; what the jobs themselves ask of Redis comes on top
    scheduler  moves what is due into its queue
    dashboard  reads
    admin      reads and deletes, moves, retries and pauses

    \b
    Examples:
      sidekiq-lua acl worker
      sidekiq-lua acl enqueuer --name shop --password-file shop.pw | redis-cli
      sidekiq-lua acl dashboard --json
    """
    session.command = "sidekiq-lua acl"
    from ..store.access import grant, hashed

    name = name or f"sidekiq-{role}"
    for option, text in (("--name", name), ("--prefix", prefix)):
        if re.search(r"[\s\"'()]", text):
            raise ConfigurationError(f"{option} {text!r}: leave out spaces, quotes and parentheses")
    granted = grant(role, prefix)
    line = granted.line(name, hashed(_password(password_file)) if password_file else ">PASSWORD")
    if not as_json:
        click.echo(line)
        return
    found = {
        "role": role, "name": name, "line": line, "scripts": granted.scripts,
        "keys": granted.keys, "commands": granted.commands,
    }  # fmt: skip
    click.echo(json.dumps(found, ensure_ascii=False))


def _password(path: str) -> str:
    text = Path(path).read_text("utf-8").partition("\n")[0].rstrip("\r")
    if not text:
        raise ConfigurationError(f"--password-file {path}: its first line is empty, write the password there")
    return text
