"""The command `sidekiq-lua`. Its parts are loaded when they are run, so that help costs next to nothing."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from ..version import __version__
from .report import Session, complain, describe

_COMMANDS = {
    "worker": "Run jobs.",
    "monitor": "Show what there is to do, who does it, and the queues.",
    "queues": "List the queues; clear, pause or unpause some.",
    "jobs": "List the jobs of queues and sets, or show one whole.",
    "retry": "Push failed, dead or scheduled jobs to their queues now.",
    "kill": "Move jobs to the dead set.",
    "delete": "Delete jobs.",
    "pause": "Let no worker start jobs of a queue or a class.",
    "unpause": "Let workers start them again.",
    "quiet": "Tell worker processes to take no more jobs.",
    "stop": "Tell worker processes to end.",
    "metrics": "Show what ran, by class; or serve figures to Prometheus.",
    "acl": "Print what a user of Redis must be allowed, by role.",
    "deploy": "Mark a deploy in the graphs of the metrics.",
    "profiles": "List and export the profiles of jobs.",
    "doctor": "Say what is wrong with the data in Redis, and what to do.",
    "scripts": "Show which Lua scripts Redis has, and their calls.",
    "slowlog": "Show what took Redis long, with scripts by name.",
    "trace": "Show what Redis is asked, live, with scripts by name.",
    "server": "Start, stop or look at this machine's bundled server.",
}

_MODULES = {"retry": "acting", "kill": "acting", "delete": "acting", "unpause": "pause", "quiet": "processes",
            "stop": "processes"}  # fmt: skip
"""Of commands that share a module; another's has its name."""


class LazyGroup(click.Group):
    """A group whose commands are named here, and imported only to be run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f".{_MODULES.get(cmd_name, cmd_name)}", __package__)
        # A module of one command calls it `command`; one of several calls each by its name.
        command: click.Command = getattr(module, "command", None) or getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="sidekiq-lua %(version)s")
def cli() -> None:
    """Background jobs on Redis that speak Ruby Sidekiq's language."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; answers the exit code: 0, 1 where something failed, 2 where it was misused.

    Whatever goes wrong is one line on standard error; `worker -v` adds the traceback.
    """
    session = Session()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        answer = cli.main(args=argv, prog_name="sidekiq-lua", standalone_mode=False, obj=session)
        code = answer if isinstance(answer, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        complain(error.format_message())
        code = 2
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "sidekiq-lua"
        complain(describe(path, f"{error.format_message().rstrip('.')} (see {path} --help)"))
        code = 2
    except click.Abort:
        complain("sidekiq-lua: interrupted")
        code = 130
    except Exception as error:
        session.fail(error)
        code = 1
    return code if _flushed() or not session.prints_answers else code or 1


def _flushed() -> bool:
    """Whether the output could be flushed; Python's own last flush would fail with a traceback."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except ValueError:
        return True  # a job has closed it
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return False
    return True
