"""`push_buffer`: pushes are kept while Redis is away, and sent in order; none is dropped silently."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from both_clients import KINDS, client_of
from proxy import Fate, Proxy
from servers import Server
from waiting import wait_until

from sidekiq_lua import Formatters, Sidekiq, SidekiqLogger, push_buffer
from sidekiq_lua.errors import ConfigurationError, PushBufferFull, PushUnknown, RedisFull, RedisUnavailable


class Setup:
    """An instance with a buffer of 10 on a server of its own, which is killed."""

    def __init__(self, server: Server, **settings: Any) -> None:
        self.server = server
        self.log = io.StringIO()
        logger = SidekiqLogger(self.log, Formatters.Plain())
        self.app = Sidekiq(
            **{"redis": server.url, "reliable_push": True, "push_buffer": 10, "logger": logger, **settings}
        )

    @property
    def kept(self) -> int:
        outbox = self.app.outbox()
        assert outbox is not None
        return outbox.kept

    def push(self, sender: Any, *names: str, **more: Any) -> None:
        for name in names:
            assert sender.push({"class": "A", "args": [], "jid": name, **more}) == name

    def jids(self, queue: str = "default") -> list[str]:
        """What is in a queue, oldest first."""
        with self.server.client() as client:
            return [json.loads(raw)["jid"] for raw in reversed(client.lrange(f"queue:{queue}", 0, -1))]

    def come_back(self) -> None:
        self.server.restart()
        wait_until(lambda: self.kept == 0, 10, self.log.getvalue())


@pytest.fixture
def setup(make_server: Any) -> Iterator[Callable[..., Setup]]:
    made: list[Setup] = []

    def make(server: Server | None = None, **settings: Any) -> Setup:
        made.append(Setup(server or make_server(), **settings))
        return made[-1]

    yield make
    for one in made:
        one.app.close()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_pushed_while_redis_is_away_is_there_when_it_is_back_in_order(setup: Any, kind: str) -> None:
    at = setup()
    with client_of(at.app, kind) as sender:
        at.server.kill()
        at.push(sender, "1", "2", "3")
        pushed = sender.push_bulk({"class": "A", "args": [[n] for n in range(4)]})
        at.push(sender, "late", at=4_000_000_000)
        assert at.kept == 8
        assert "pushes are kept in memory until Redis is back" in at.log.getvalue()
        at.come_back()
        assert at.jids() == ["1", "2", "3", *pushed]
        with at.server.client() as client:
            assert client.zcard("schedule") == 1
        at.push(sender, "4")
        assert at.jids()[-1] == "4"
    assert "8 jobs that were kept in memory are in Redis now" in at.log.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_an_overflow_is_the_callers_to_see(setup: Any, kind: str) -> None:
    at = setup()
    with client_of(at.app, kind) as sender:
        at.server.kill()
        sender.push_bulk({"class": "A", "args": [[n] for n in range(8)]})
        with pytest.raises(
            PushBufferFull, match=r"8 jobs are kept of the 10 .* 3 more are refused"
        ) as caught:
            sender.push_bulk({"class": "A", "args": [[n] for n in range(3)]})
        assert isinstance(caught.value, RedisUnavailable)
        at.push(sender, "9", "10")
        with pytest.raises(PushBufferFull):
            sender.enqueue("A")
        assert at.kept == 10
        at.come_back()
        assert len(at.jids()) == 10
        assert at.jids()[-2:] == ["9", "10"]


def test_nothing_overtakes_what_is_kept(setup: Any) -> None:
    """Also when the server is back and the buffer is not empty yet."""
    at = setup(push_buffer=100_000)
    client = at.app.client
    at.server.kill()
    at.push(client, *(f"a{n}" for n in range(200)))
    with at.app.outbox()._buffer._turn:  # else it might be empty before the first of these
        at.server.restart()
        at.push(client, "b0")
    n = 1
    while at.kept:
        at.push(client, f"b{n}")
        n += 1
    at.push(client, "last")
    assert at.jids() == [*(f"a{k}" for k in range(200)), *(f"b{k}" for k in range(n)), "last"]


def test_a_reply_that_is_lost_while_it_is_emptied(setup: Any, server: Server, redis: Any) -> None:
    with Proxy(server.port) as proxy:
        at = setup(server, redis=proxy.url)
        client = at.app.client
        client.enqueue("Warm")
        redis.delete("queue:default")
        proxy.on(b"", Fate.CUT_REQUEST, 2)  # the connection, and a new one
        at.app.transport().close()
        at.app._transports.clear()
        proxy.on(b"EVALSHA", Fate.CUT_REPLY, 1)
        at.push(client, "1", "2", "3")
        wait_until(lambda: at.kept == 0)
        assert proxy.met
        assert at.jids() == ["1", "2", "3"]
        at.app.close()


@pytest.mark.parametrize("kind", KINDS)
def test_what_may_have_been_done_is_not_kept(setup: Any, server: Server, redis: Any, kind: str) -> None:
    """Its caller waits for the answer, or hears that there is none."""
    with Proxy(server.port) as proxy:
        at = setup(server, redis=proxy.url, reliable_push=0.3)
        with client_of(at.app, kind) as sender:
            sender.enqueue("Warm")
            proxy.on(b"mine", Fate.CUT_REPLY, 100)
            with pytest.raises(PushUnknown):
                at.push(sender, "mine")
            proxy.heal()
            assert at.kept == 0
        at.app.close()


def test_a_queue_that_refuses_its_jobs_keeps_no_others(setup: Any) -> None:
    at = setup()
    client = at.app.client
    at.server.kill()
    at.push(client, "bad1", queue="bad")
    at.push(client, "1")
    at.push(client, "bad2", queue="bad")
    at.push(client, "2")
    # No connection until the queue is broken.
    with at.app.outbox()._buffer._turn:
        at.server.restart()
        with at.server.client() as redis:
            redis.set("queue:bad", "x")
    wait_until(lambda: at.kept == 2)
    assert at.jids() == ["1", "2"]
    wait_until(lambda: at.log.getvalue().count("they stay there: push_once.lua") == 1)
    with at.server.client() as redis:
        redis.delete("queue:bad")
    wait_until(lambda: at.kept == 0)
    assert at.jids("bad") == ["bad1", "bad2"]


def test_a_full_server_is_waited_for(setup: Any) -> None:
    at = setup()
    client = at.app.client
    at.server.kill()
    at.push(client, "1", "2")
    with at.app.outbox()._buffer._turn:
        at.server.restart()
        redis = at.server.client()
        redis.config_set("maxmemory", "1")
    with redis:
        at.app.outbox()._buffer.drain()
        assert at.kept == 2
        redis.config_set("maxmemory", "0")
        wait_until(lambda: at.kept == 0)
        assert at.jids() == ["1", "2"]
        redis.config_set("maxmemory", "1")
        with pytest.raises(RedisFull):
            client.enqueue("A")
        redis.config_set("maxmemory", "0")


def test_what_got_no_answer_for_too_long_is_not_sent_again(
    setup: Any, server: Server, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis would no longer know that it was done."""
    monkeypatch.setattr(push_buffer, "LONGEST_PUSH_S", 0.2)
    with Proxy(server.port) as proxy:
        at = setup(server, redis=proxy.url)
        client = at.app.client
        client.enqueue("Warm")
        redis.delete("queue:default")
        at.app.transport().close()
        at.app._transports.clear()
        proxy.on(b"", Fate.CUT_REQUEST, 1)
        proxy.on(b'"mine"', Fate.CUT_REPLY, 100)
        at.push(client, "mine", "next")
        wait_until(lambda: at.kept == 0)
        assert at.jids() == ["mine", "next"]
        log = at.log.getvalue()
        assert "1 jobs of the push buffer may be in Redis or not: no answer came in time: mine" in log
        assert '"jid":"mine"' in log
        at.app.close()


def test_close_sends_what_is_kept(setup: Any) -> None:
    at = setup()
    at.server.kill()
    at.push(at.app.client, "1", "2")
    at.server.restart()
    at.app.close()
    assert at.jids() == ["1", "2"]
    assert at.kept == 0


@pytest.mark.parametrize("kind", KINDS)
def test_close_names_what_cannot_be_sent(setup: Any, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(push_buffer, "FLUSH_S", 0.2)
    at = setup()
    at.server.kill()
    with client_of(at.app, kind) as sender:
        at.push(sender, "one", "two")
    at.app.close()
    log = at.log.getvalue()
    assert "2 jobs of the push buffer were not sent and are lost: one, two" in log
    assert log.count("from the push buffer: {") == 2
    assert at.kept == 0


EXIT = """
    import sys
    from sidekiq_lua import Sidekiq, push_buffer
    push_buffer.FLUSH_S = float(sys.argv[2])
    app = Sidekiq(redis=sys.argv[1], reliable_push=True, push_buffer=10)
    for n in range(3):
        app.client.push({"class": "A", "args": [], "jid": f"j{n}"})
    print("pushed", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("back", [True, False])
def test_the_end_of_a_process(make_server: Any, back: bool) -> None:
    server = make_server()
    server.kill()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(EXIT), server.url, "20" if back else "0.2"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line == "pushed\n":
            break
    if back:
        server.restart()
    output, _ = process.communicate("\n", 30)
    assert process.returncode == 0
    # One may be under way at that moment, and then nobody knows.
    lost = re.findall(r"(?:were not sent and are lost|may be in Redis or not): (.*)", output)
    assert sorted(", ".join(lost).split(", ")) == ([""] if back else ["j0", "j1", "j2"])
    if back:
        with server.client() as redis:
            assert redis.llen("queue:default") == 3


def test_threads(setup: Any, make_server: Any) -> None:
    """Those whose push is under way when the server dies wait for it; what the others push is kept."""
    at = setup(make_server(appendonly="yes", appendfsync="always"), push_buffer=10_000)
    at.app.client.enqueue("Warm")
    pushed: list[list[str]] = [[] for _ in range(8)]

    def push(n: int, jobs: int) -> None:
        for k in range(jobs):
            at.push(at.app.client, f"{n}-{k}")
            pushed[n].append(f"{n}-{k}")

    threads = [threading.Thread(target=push, args=(n, 500 if n < 4 else 50)) for n in range(8)]
    for thread in threads[:4]:
        thread.start()
    wait_until(lambda: min(map(len, pushed[:4])) > 5)
    at.server.kill()
    for thread in threads[4:]:
        thread.start()
    wait_until(lambda: at.kept >= 200)
    at.server.restart()
    for thread in threads:
        thread.join()
    wait_until(lambda: at.kept == 0)
    found = at.jids()
    for n in range(8):
        assert [jid for jid in found if jid.startswith(f"{n}-")] == pushed[n]


def test_a_forked_child_begins_with_nothing(setup: Any) -> None:
    at = setup()
    at.server.kill()
    at.push(at.app.client, "parent")
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        kept = [at.kept]
        at.app.client.push({"class": "A", "args": [], "jid": "child"})
        kept.append(at.kept)
        os.write(writer, json.dumps(kept).encode())
        wait_until(lambda: at.kept == 0, 20)
        os._exit(0)
    assert json.loads(os.read(reader, 100)) == [0, 1]
    os.close(reader)
    os.close(writer)
    at.come_back()
    assert os.waitpid(child, 0)[1] == 0
    assert sorted(at.jids()) == ["child", "parent"]


def test_it_needs_reliable_push() -> None:
    with pytest.raises(ConfigurationError, match=r"^push_buffer needs reliable_push: "):
        Sidekiq(push_buffer=10)
    with pytest.raises(ConfigurationError, match=r"^push_buffer must be "):
        Sidekiq(push_buffer=-1, reliable_push=True)


@pytest.mark.parametrize("off", [0, None])
def test_off(setup: Any, off: int | None) -> None:
    at = setup(push_buffer=off, reliable_push=0.2)
    at.server.kill()
    with pytest.raises(RedisUnavailable):
        at.app.client.enqueue("A")
    assert at.kept == 0
