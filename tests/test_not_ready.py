"""A server that is there and takes no writes for now, as in a failover or with a failing disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from both_clients import KINDS, client_of
from proxy import Proxy
from servers import Server
from waiting import wait_until

from sidekiq_lua import Sidekiq
from sidekiq_lua.errors import RedisNotReady
from sidekiq_lua.store import fault

AtTheThirdTry = Callable[[Callable[[], Any]], list[str]]


class Trouble(NamedTuple):
    begin: Callable[[], Any]
    end: Callable[[], Any]
    says: str


@pytest.fixture
def server(make_server: Any) -> Server:
    return make_server(save="3600 1")  # type: ignore[no-any-return]


@pytest.fixture
def redis(server: Server) -> Iterator[Any]:
    with server.client() as client:
        yield client


@pytest.fixture(params=["replica", "too few replicas", "disk", "script"])
def trouble(request: pytest.FixtureRequest, server: Server, redis: Any) -> Trouble:
    target = server.directory / "dump.rdb"
    threads: list[threading.Thread] = []

    def save(status: str) -> None:
        redis.set("written", "since the last one")
        redis.bgsave()
        wait_until(lambda: redis.info("persistence")["rdb_last_bgsave_status"] == status)

    def break_disk() -> None:
        (target / "x").mkdir(parents=True)
        save("err")

    def mend_disk() -> None:
        (target / "x").rmdir()
        target.rmdir()
        redis.config_set("stop-writes-on-bgsave-error", "no")
        save("ok")

    def hang() -> None:
        with server.client(socket_timeout=30) as foreign, pytest.raises(Exception, match="killed by user"):
            foreign.eval("while true do end", 0)

    def begin_to_hang() -> None:
        redis.config_set("busy-reply-threshold", 10)
        threads.append(threading.Thread(target=hang))
        threads[0].start()
        wait_until(is_busy)

    def is_busy() -> bool:
        try:
            redis.get("x")
        except Exception as error:
            return "BUSY" in str(error)
        return False

    def stop_hanging() -> None:
        redis.script_kill()
        threads[0].join()

    troubles = {
        "replica": Trouble(
            lambda: redis.replicaof("127.0.0.1", 1),
            lambda: redis.replicaof("NO", "ONE"),
            r"push\w*\.lua: this server is a replica, which takes no writes: ",
        ),
        "too few replicas": Trouble(
            lambda: redis.config_set("min-replicas-to-write", 1),
            lambda: redis.config_set("min-replicas-to-write", 0),
            r"push\w*\.lua: NOREPLICAS Not enough good replicas",
        ),
        "disk": Trouble(break_disk, mend_disk, r"push\w*\.lua: MISCONF "),
        "script": Trouble(begin_to_hang, stop_hanging, r"push\w*\.lua: BUSY "),
    }
    return troubles[request.param]


@pytest.fixture
def make_app(server: Server) -> Iterator[Callable[..., Sidekiq]]:
    made: list[Sidekiq] = []

    def make(**settings: Any) -> Sidekiq:
        made.append(Sidekiq(**{"redis": server.url, **settings}))
        return made[-1]

    yield make
    for app in made:
        app.close()


@pytest.fixture
def at_the_third_try(monkeypatch: pytest.MonkeyPatch) -> AtTheThirdTry:
    """Calls a function before a push is sent for the third time; answers the list of the tries."""

    def arrange(then: Callable[[], Any]) -> list[str]:
        tries: list[str] = []

        def at(stage: str, name: str) -> None:
            if stage == "before" and "push" in name:
                tries.append(name)
                if len(tries) == 3:
                    then()

        monkeypatch.setattr(fault, "at", at)
        return tries

    return arrange


@pytest.mark.parametrize("kind", KINDS)
def test_a_push_says_so(make_app: Any, redis: Any, trouble: Trouble, kind: str) -> None:
    with client_of(make_app(), kind) as sender:
        sender.enqueue("Warm")
        trouble.begin()
        try:
            with pytest.raises(RedisNotReady, match=trouble.says):
                sender.enqueue("A")
        finally:
            trouble.end()
        assert redis.llen("queue:default") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_reliable_push_waits_for_it(
    make_app: Any, redis: Any, trouble: Trouble, kind: str, at_the_third_try: AtTheThirdTry
) -> None:
    with client_of(make_app(reliable_push=True), kind) as sender:
        sender.enqueue("Warm")
        trouble.begin()
        tries = at_the_third_try(trouble.end)
        sender.enqueue("A")
        assert len(tries) >= 3
        assert redis.llen("queue:default") == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_reliable_push_of_several_calls_waits_for_it(
    make_app: Any, redis: Any, kind: str, at_the_third_try: AtTheThirdTry
) -> None:
    """Refused are all or none; were some done, the others still have to come."""

    class Spread:
        def call(self, job_class: Any, payload: Any, queue: str, redis: Any, next: Callable[[], Any]) -> Any:
            payload["queue"] = payload["args"][0]
            return next()

    app = make_app(reliable_push=True)
    app.config.client_middleware.add(Spread)
    with client_of(app, kind) as sender:
        sender.enqueue("Warm", "a")
        redis.config_set("min-replicas-to-write", 1)
        at_the_third_try(lambda: redis.config_set("min-replicas-to-write", 0))
        sender.push_bulk({"class": "A", "args": [["a"], ["b"]]})
        assert [redis.llen(f"queue:{name}") for name in "ab"] == [2, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_so_does_one_of_several_calls_that_is_not_even_told_whether_its_scripts_are_known(
    make_app: Any, redis: Any, trouble: Trouble, kind: str
) -> None:
    with client_of(make_app(reliable_push=True), kind) as sender:
        sender.enqueue("Warm")
        trouble.begin()
        timer = threading.Timer(0.5, trouble.end)
        timer.start()
        sender.push_bulk({"class": "A", "args": [["x" * 5_000_000]] * 2})
        timer.join()
        assert redis.llen("queue:default") == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_buffer_keeps_it(make_app: Any, redis: Any, trouble: Trouble, kind: str) -> None:
    app = make_app(reliable_push=True, push_buffer=10)
    with client_of(app, kind) as sender:
        sender.enqueue("Warm")
        trouble.begin()
        try:
            sender.enqueue("A")
            sender.enqueue("A")
            assert app.outbox().kept == 2
        finally:
            trouble.end()
        wait_until(lambda: app.outbox().kept == 0)
        assert redis.llen("queue:default") == 3


@pytest.mark.parametrize("kind", KINDS)
def test_it_does_not_wait_for_longer_than_it_may(make_app: Any, redis: Any, kind: str) -> None:
    with client_of(make_app(reliable_push=0.2), kind) as sender:
        redis.config_set("min-replicas-to-write", 1)
        with pytest.raises(RedisNotReady, match=r"^push_once\.lua: NOREPLICAS"):
            sender.enqueue("A")
        redis.config_set("min-replicas-to-write", 0)
        assert not redis.exists("queue:default")


@pytest.mark.parametrize("kind", KINDS)
def test_behind_the_address_is_another_server_by_now(
    make_app: Any, make_server: Any, redis: Any, server: Server, kind: str
) -> None:
    """The one that is connected lacks replicas: a new connection finds the one that took over."""
    old = make_server(**{"min-replicas-to-write": 1})
    with Proxy(old.port, server.port) as proxy, client_of(make_app(redis=proxy.url), kind) as sender:
        sender.enqueue("A")
    assert redis.llen("queue:default") == 1
