"""This engine beside others: the same work, in turns, each with the crash safety that it ships with."""

from __future__ import annotations

import click

from .machine import Server, enqueue, running, wait, worker
from .marks import Marks
from .peers import PEERS, Peer
from .rounds import Found, in_turns, medians, ratio

OURS = "sidekiq-lua"
JOBS = 50_000
"""Ours are more, or they would be gone in a blink."""


def peers(names: list[str], rounds: int, scale: float = 1.0, log: bool = False) -> Found:
    """No-op jobs a second of one process, and jobs a second enqueued one by one from one thread."""
    chosen = [PEERS[name] for name in names]
    for peer in chosen:
        click.echo(f"installing {peer.name}", err=True)
        peer.install()
    failed: dict[str, str] = {}

    def attempt(peer: Peer, measure: str) -> float | None:
        try:
            return _peer_drain(peer, scale, log) if measure == "drain" else _peer_push(peer, scale)
        except Exception as error:
            failed[f"{peer.name}, {measure}"] = str(error)
            return None

    drained = in_turns(
        rounds,
        {OURS: lambda: _drain(int(JOBS * scale), log)}
        | {peer.name: (lambda peer=peer: attempt(peer, "drain")) for peer in chosen},
    )
    pushed = in_turns(
        rounds,
        {OURS: lambda: _push(int(5_000 * scale))}
        | {peer.name: (lambda peer=peer: attempt(peer, "push")) for peer in chosen},
    )
    found: Found = {
        "no-op jobs/s": {name: round(rate) for name, rate in medians(drained).items()},
        "enqueued one by one/s": {name: round(rate) for name, rate in medians(pushed).items()},
        "times as fast": {},
        "rounds": {name: [round(rate) for rate in rates] for name, rates in drained.items()},
    }
    for peer in chosen:
        both = [len(rates.get(peer.name, [])) == rounds for rates in (drained, pushed)]
        if all(both):
            found["times as fast"][peer.name] = [
                ratio(drained, OURS, peer.name),
                ratio(pushed, OURS, peer.name),
            ]
    if failed:
        found["failed"] = failed
    return found


def _wait_for(marks: Marks, jobs: int, what: str) -> float:
    """Jobs a second between the first mark and the last."""
    wait(lambda: marks.count() >= jobs, 180, what, 0.01)
    return jobs / marks.span_s()


def _drain(jobs: int, log: bool) -> float:
    with Server(tcp=True) as server:
        marks = Marks(server.dir)
        enqueue(server, "bulk", "MarkJob", jobs)
        with running(worker(server, 10, server.dir / "job.log" if log else None)):
            return _wait_for(marks, jobs, "all our jobs have run")


def _push(jobs: int) -> float:
    with Server(tcp=True) as server:
        Marks(server.dir)
        return jobs / float(enqueue(server, "one", "MarkJob", jobs)["seconds"])


def _peer_drain(peer: Peer, scale: float, log: bool) -> float:
    jobs = int(peer.jobs * scale)
    with Server(tcp=True) as server:
        marks = Marks(server.dir)
        peer.push(server, "fill", jobs)
        process = peer.start(server, server.dir / "job.log" if log else None)
        with running(process):
            wait(lambda: marks.count() or not process.alive(), 30, f"{peer.name} starts a job")
            return _wait_for(marks, jobs, f"all jobs of {peer.name} have run")


def _peer_push(peer: Peer, scale: float) -> float:
    jobs = int(5_000 * scale)
    with Server(tcp=True) as server:
        Marks(server.dir)
        return jobs / peer.push(server, "one", jobs)


def known() -> list[str]:
    return list(PEERS)


def bulk(rounds: int, jobs: int = 100_000) -> Found:
    """Jobs a second in bulk, beside Ruby's push_bulk."""
    ruby = PEERS["sidekiq"]

    def ours() -> float:
        with Server(tcp=True) as server:
            Marks(server.dir)
            return jobs / float(enqueue(server, "bulk", "MarkJob", jobs)["seconds"])

    def theirs() -> float:
        with Server(tcp=True) as server:
            Marks(server.dir)
            return jobs / ruby.push(server, "fill", jobs)

    found = in_turns(rounds, {OURS: ours, "sidekiq": theirs})
    return {
        "jobs": jobs,
        "jobs/s": {name: round(rate) for name, rate in medians(found).items()},
        "times as fast": ratio(found, OURS, "sidekiq"),
    }
