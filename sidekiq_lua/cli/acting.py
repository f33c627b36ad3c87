"""`sidekiq-lua retry`, `kill` and `delete`: named jobs, chosen ones, or all of a set."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from .ask import ProgressLine, be_sure, json_option, must_be_answered, yes_option
from .boot import CONTEXT, boot, shared_options
from .places import SETS, Filters, Found, checked, every, find_each, job_set, place_of
from .report import Session, complain, describe, printable
from .text import jobs

if TYPE_CHECKING:
    from ..api.bulk import Progress
    from ..instance import Sidekiq

F = TypeVar("F", bound=Callable[..., Any])

_CHOICE: list[Callable[[Any], Any]] = [
    click.argument("jids", nargs=-1, metavar="[JID...]"),
    click.option("--all", "everything", is_flag=True, help="All of the place."),
    click.option("--class", "job_class", metavar="CLASS", help="Those of a class; also an ActiveJob's."),
    click.option("--tag", metavar="TAG", help="Those with a tag."),
    click.option("--text", metavar="TEXT", help="Those with a text in their JSON; a * stands for anything."),
    yes_option,
    json_option,
    shared_options,
    click.pass_obj,
]


class Choice(NamedTuple):
    """Which jobs are meant: named ones, or those of a place for which filters hold."""

    jids: tuple[str, ...]
    place: str | None
    filters: Filters

    def __str__(self) -> str:
        if self.jids:
            return f"{len(self.jids)} jobs" if len(self.jids) > 1 else f"the job {self.jids[0]}"
        if self.filters.given:
            return f"the jobs of {self.place} with {self.filters}"
        return f"all jobs of {self.place}"


def choosing(command: F) -> F:
    """The arguments and options by which jobs are chosen."""
    for decorate in reversed(_CHOICE):
        command = decorate(command)
    return command


def _choice(
    place: str | None, jids: tuple[str, ...], everything: bool, job_class: str | None, tag: str | None,
    text: str | None,
) -> Choice:  # fmt: skip
    filters = Filters(job_class, tag, text)
    if bool(jids) == (everything or filters.given):
        what = "name jobs, or choose them with --all, --class, --tag or --text"
        raise click.UsageError(f"{what}: not both" if jids else what)
    if not jids and place is None:
        raise click.UsageError("--from is needed with --all and filters: whose jobs are meant?")
    return Choice(tuple(dict.fromkeys(jids)), place, filters)


@click.command("retry", context_settings=CONTEXT)
@click.option(
    "--from", "place", metavar="PLACE", callback=place_of(*SETS),
    help="retry, dead or scheduled. Default: retry, and for a named job dead too.",
)  # fmt: skip
@choosing
def retry(
    session: Session, /, place: str | None, verbose: bool, as_json: bool, yes: bool, **rest: Any
) -> int:
    """Push jobs to their queues now, out of the retry set, the dead set or the schedule.

    This try does not count against the limit of retries. Client middleware runs, if -r names what adds it.
    Asks first if more than one job is meant.

    \b
    Examples:
      sidekiq-lua retry 2bfbbd5a2b2bca6f5b76a7ad
      sidekiq-lua retry --all --yes
      sidekiq-lua retry --from dead --class ChargeJob --text 'timed out'
      sidekiq-lua retry --from scheduled --tag import --yes --json
    """
    choice, app = _begin(session, "retry", place or (None if rest["jids"] else "retry"), verbose, yes, rest)

    def one(found: Found) -> bool:
        entry: Any = found.record
        return bool(entry.add_to_queue() if found.place == "scheduled" else entry.retry())

    def many(place: str, **filters: Any) -> Progress:
        found = job_set(app, place)
        return (found.enqueue_all if place == "scheduled" else found.retry_all)(**filters)

    return _act(app, "retried", choice, ("retry", "dead"), one, many, yes, as_json)


@click.command("kill", context_settings=CONTEXT)
@click.option(
    "--from",
    "place",
    metavar="PLACE",
    callback=place_of("retry", "scheduled"),
    help="retry (default) or scheduled.",
)
@choosing
def kill(session: Session, /, place: str | None, verbose: bool, as_json: bool, yes: bool, **rest: Any) -> int:
    """Move jobs of the retry set or the schedule to the dead set, where nothing tries them. Asks first.

    `sidekiq-lua retry --from dead` brings them back, as long as the settings dead_max_jobs and
    dead_timeout_in_seconds let the dead set keep them. Death handlers run, if -r names what adds them.

    \b
    Examples:
      sidekiq-lua kill 2bfbbd5a2b2bca6f5b76a7ad
      sidekiq-lua kill --class ChargeJob --yes
      sidekiq-lua kill --from scheduled --all
      sidekiq-lua kill --tag import --yes --json
    """
    choice, app = _begin(session, "kill", place or (None if rest["jids"] else "retry"), verbose, yes, rest)

    def one(found: Found) -> bool:
        entry: Any = found.record
        return bool(entry.kill())

    def many(place: str, **filters: Any) -> Progress:
        return job_set(app, place).kill_all(notify_failure=True, **filters)

    return _act(app, "killed", choice, ("retry", "scheduled"), one, many, yes, as_json)


@click.command("delete", context_settings=CONTEXT)
@click.option(
    "--from", "place", metavar="PLACE", callback=place_of("queue:", *SETS, "held:"),
    help="queue:NAME, scheduled, retry, dead or held:CLASS. Default for a named job: wherever it is.",
)  # fmt: skip
@choosing
def delete(
    session: Session, /, place: str | None, verbose: bool, as_json: bool, yes: bool, **rest: Any
) -> int:
    """Delete jobs for good. Asks first. Jobs that run are not touched.

    \b
    Examples:
      sidekiq-lua delete 2bfbbd5a2b2bca6f5b76a7ad
      sidekiq-lua delete --from dead --all --yes
      sidekiq-lua delete --from queue:mail --class NewsletterJob
      sidekiq-lua delete --from retry --text 'card_*declined' --yes --json
    """
    choice, app = _begin(session, "delete", place, verbose, yes, rest)

    def one(found: Found) -> bool:
        job: Any = found.record
        return bool(job.delete())

    def many(place: str, **filters: Any) -> Progress:
        if place in SETS:
            return job_set(app, place).delete_all(**filters)
        from .deleting import delete_each

        return delete_each(app, place, **filters)

    return _act(app, "deleted", choice, None, one, many, yes, as_json)


def _begin(
    session: Session, verb: str, place: str | None, verbose: bool, yes: bool, rest: dict[str, Any]
) -> tuple[Choice, Sidekiq]:
    """What is meant, and the instance; refuses what cannot be meant or asked before Redis is looked at."""
    session.command = f"sidekiq-lua {verb}"
    session.verbose = verbose
    names = ("jids", "everything", "job_class", "tag", "text")
    choice = _choice(place, **{name: rest.pop(name) for name in names})
    if verb != "retry" or len(choice.jids) != 1:
        must_be_answered(yes)
    app = boot(**rest, settings={}, server=False)
    from ..log import SidekiqLogger

    if app.config.logger is None:
        # What is logged of a job that stays where it is must not stand amid the JSON.
        app.config.logger = SidekiqLogger(sys.stderr, level=app.config.log_level)
    return choice, app


def _act(
    app: Sidekiq, done: str, choice: Choice, usual: Sequence[str] | None, one: Callable[[Found], bool],
    many: Callable[..., Progress], yes: bool, as_json: bool,
) -> int:  # fmt: skip
    """Ask, act, and tell; `done` is the verb's participle. Answers the exit code."""
    places = checked(app, choice.place) if choice.place else list(usual or every(app))
    verb = {"retried": "Retry", "killed": "Kill", "deleted": "Delete"}[done]
    if choice.jids:
        found = find_each(app, choice.jids, places)
        if done != "retried" or len(found) > 1:
            be_sure(yes, f"{verb} {choice}?")
        return _one_by_one(found, done, one, as_json)
    be_sure(yes, f"{verb} {choice}?")
    assert choice.place
    with ProgressLine() as line:
        result = many(choice.place, progress=line, **choice.filters._asdict())
    if as_json:
        click.echo(json.dumps({"place": choice.place, done: result.done, "left": result.left,
                               "seen": result.seen, "total": result.total}))  # fmt: skip
    else:
        click.echo(printable(f"{done.capitalize()} {jobs(result.done)} of {choice.place}."))
    if result.left:
        complain(f"{jobs(result.left)} could not be {done} and stayed in place.")
    return 1 if result.left else 0


def _one_by_one(found: list[Found], done: str, one: Callable[[Found], bool], as_json: bool) -> int:
    from ..errors import RedisError
    from .place import sentence

    results = []
    for each in found:
        jid = each.record.jid
        try:
            acted, why = one(each), "it was taken, moved or rescheduled meanwhile"
        except RedisError:
            raise
        except Exception as error:  # of middleware or a death handler; the others have their turn
            acted, why = False, sentence(error)
        results.append({"jid": jid, "place": each.place, done: acted})
        if not acted:
            complain(describe(f"job {jid}", f"not {done}: {why}"))
        elif not as_json:
            click.echo(printable(f"{done.capitalize()} {jid} of {each.place}."))
    if as_json:
        click.echo(json.dumps(results, ensure_ascii=False))
    return 0 if all(result[done] for result in results) else 1
