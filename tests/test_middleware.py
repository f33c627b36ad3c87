"""Chains of middleware: their order, what they pass on, and what they refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sidekiq_lua.errors import ConfigurationError, FrozenConfig
from sidekiq_lua.middleware import Chain

SEEN: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    SEEN.clear()


class Noting:
    """Notes when it is entered and left, whatever happens inside."""

    def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Any]) -> Any:
        name = type(self).__name__
        SEEN.append(f"{name}>")
        try:
            return next()
        finally:
            SEEN.append(f"<{name}")


class A(Noting): ...


class B(Noting): ...


class C(Noting): ...


class Async:
    async def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Awaitable[Any]]) -> Any:
        SEEN.append("Async>")
        try:
            return await next()
        finally:
            SEEN.append("<Async")


def chain(*middleware: Any) -> Chain:
    made = Chain(kind="server")
    for each in middleware:
        made.add(each)
    return made


def run(made: Chain, final: Callable[[], Any] = lambda: "done") -> Any:
    return made.invoke("job", {"jid": "1"}, "default", final)


def noted_final() -> str:
    SEEN.append("job")
    return "done"


def names(made: Chain) -> str:
    return "".join(entry.cls.__name__ for entry in made)


# -- the list ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda chain: chain.add(C), "ABC"),
        (lambda chain: chain.use(C), "ABC"),
        (lambda chain: chain.add(A), "BA"),
        (lambda chain: chain.prepend(C), "CAB"),
        (lambda chain: chain.prepend(B), "BA"),
        (lambda chain: chain.insert_before(B, C), "ACB"),
        (lambda chain: chain.insert_before(C, B), "BA"),
        (lambda chain: chain.insert_after(A, C), "ACB"),
        (lambda chain: chain.insert_after(A, B), "AB"),
        (lambda chain: chain.insert_after(B, A), "BA"),
        (lambda chain: chain.insert_after(C, A), "BA"),
        (lambda chain: chain.remove(A), "B"),
        (lambda chain: chain.remove(C), "AB"),
        (lambda chain: chain.clear(), ""),
    ],
)
def test_each_change_leaves_this_order(change: Callable[[Chain], Any], expected: str) -> None:
    made = chain(A, B)
    change(made)
    assert names(made) == expected
    assert len(made) == len(expected)


def test_a_chain_tells_what_it_holds() -> None:
    made = chain(A, B)
    assert A in made
    assert made.exists(B)
    assert C not in made
    assert [entry.cls for entry in made.entries] == [A, B]
    assert str(made) == "A, B"
    assert repr(made) == "<Chain server: A, B>"
    assert not Chain()
    made.entries.clear()
    assert len(made) == 2


def test_add_is_a_decorator() -> None:
    made = Chain()

    @made.add
    class Decorated(Noting): ...

    assert Decorated in made


def test_a_copy_is_changed_apart() -> None:
    made = chain(A)
    twin = made.copy()
    twin.add(B)
    assert (names(made), names(twin)) == ("A", "AB")


def test_a_frozen_chain_refuses_every_change_and_still_runs() -> None:
    made = chain(A)
    made.freeze()
    for change in (
        lambda: made.add(B),
        lambda: made.prepend(B),
        lambda: made.insert_before(A, B),
        lambda: made.insert_after(A, B),
        lambda: made.remove(A),
        made.clear,
    ):
        with pytest.raises(FrozenConfig, match="configure block"):
            change()
    assert names(made) == "A"
    assert run(made) == "done"
    made.copy().add(B)


def test_a_chain_may_be_changed_while_it_runs() -> None:
    made = chain(A, B)

    def final() -> str:
        made.clear()
        return "done"

    assert run(made, final) == "done"
    assert SEEN == ["A>", "B>", "<B", "<A"]
    assert names(made) == ""


# -- what is refused --------------------------------------------------------------------


class NoCall: ...


class Short:
    def call(self, job: Any, next: Callable[[], Any]) -> Any: ...


class NeedsOne(Noting):
    def __init__(self, limit: int) -> None:
        self.limit = limit


def a_function(job: Any, payload: Any, queue: Any, next: Callable[[], Any]) -> Any: ...


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda chain: chain.add(NoCall), "NoCall has no method `call`"),
        (lambda chain: chain.add(NoCall()), "NoCall has no method `call`"),
        (lambda chain: chain.add(a_function), "a_function is a function; middleware is a class"),
        (lambda chain: chain.add(Short), r"Short.call must take \(self, job, payload, queue, next\)"),
        (lambda chain: chain.add(NeedsOne), "NeedsOne cannot be made with the arguments"),
        (lambda chain: chain.prepend(NeedsOne, 1, 2), "NeedsOne cannot be made with the arguments"),
        (lambda chain: chain.add(A(), 1), "A: an instance takes no arguments"),
        (lambda chain: chain.insert_after(A, NoCall), "NoCall has no method `call`"),
    ],
)
def test_what_cannot_be_a_middleware_is_refused_when_added(add: Callable[[Chain], Any], message: str) -> None:
    made = chain(A)
    with pytest.raises(ConfigurationError, match=message):
        add(made)
    assert names(made) == "A"


def test_a_client_middleware_takes_five_arguments() -> None:
    message = r"A.call must take \(self, job_class, payload, queue, redis, next\) to be a client middleware"
    with pytest.raises(ConfigurationError, match=message):
        Chain(kind="client").add(A)


# -- sync jobs --------------------------------------------------------------------------


def test_an_empty_chain_runs_the_job() -> None:
    assert run(Chain()) == "done"
    assert Chain().invoke_client("HardJob", {}, "default", None, lambda: {"jid": "1"}) == {"jid": "1"}


def test_the_first_added_is_the_outermost() -> None:
    assert run(chain(A, B, C), noted_final) == "done"
    assert SEEN == ["A>", "B>", "C>", "job", "<C", "<B", "<A"]


def test_a_middleware_sees_what_was_given_and_may_change_the_result() -> None:
    class Changing:
        def call(self, *given: Any) -> Any:
            SEEN.append(repr(given[:-1]))
            return f"{given[-1]()}!"

    assert run(chain(Changing)) == "done!"
    assert SEEN == ["('job', {'jid': '1'}, 'default')"]


def test_a_middleware_may_skip_the_job() -> None:
    class Skipping:
        def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Any]) -> None: ...

    assert run(chain(A, Skipping, B), noted_final) is None
    assert SEEN == ["A>", "<A"]


def test_an_error_passes_through_every_middleware() -> None:
    def final() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(chain(A, B), final)
    assert SEEN == ["A>", "B>", "<B", "<A"]


def test_every_call_has_new_instances_made_with_the_arguments_at_registration() -> None:
    instances = []

    class Made:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.given = (args, kwargs)
            instances.append(self)

        def call(self, job: Any, payload: Any, queue: Any, next: Callable[[], Any]) -> Any:
            SEEN.append(repr(self.given))
            return next()

    made = Chain(kind="server")
    made.add(Made, 1, limit=2)
    run(made)
    run(made)
    assert SEEN == ["((1,), {'limit': 2})"] * 2
    assert len(set(map(id, instances))) == 2
    made.add(Made, 3)
    run(made)
    assert SEEN[-1] == "((3,), {})"


def test_an_instance_is_used_as_it_is() -> None:
    class Counting:
        config = None
        count = 0

        def call(self, *given: Any) -> Any:
            self.count += 1
            return given[-1]()

    made = Chain(config="the config")
    one = made.add(Counting())
    assert run(made) == run(made) == "done"
    assert (one.count, one.config) == (2, None)


class Declared(Noting):
    config = None


class Annotated(Noting):
    config: Any


class Inherited(Annotated): ...


class Slotted(Noting):
    __slots__ = ("config",)


class WithSetter(Noting):
    @property
    def config(self) -> Any:
        return self.kept

    @config.setter
    def config(self, value: Any) -> None:
        self.kept = value


class ReadOnly(Noting):
    @property
    def config(self) -> str:
        return "its own"


class Method(Noting):
    def config(self) -> str:
        return "its own"


@pytest.mark.parametrize("cls", [Declared, Annotated, Inherited, Slotted, WithSetter])
def test_config_is_given_to_a_class_that_declares_it(cls: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Noting, "call", lambda self, *_: self.config)
    made = Chain(config="the config")
    made.add(cls)
    assert run(made) == "the config"
    assert run(made.copy("another")) == "another"


@pytest.mark.parametrize("cls", [A, ReadOnly, Method])
def test_config_is_not_forced_on_others(cls: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Noting, "call", lambda self, *_: vars(self))
    made = Chain(config="the config")
    made.add(cls)
    assert run(made) == {}


def test_an_async_middleware_is_refused_for_sync_jobs() -> None:
    made = chain(A, Async)
    message = "Async.call is `async def`, which works for async jobs only"
    with pytest.raises(ConfigurationError, match=message):
        made.check_sync()
    with pytest.raises(ConfigurationError, match=message):
        run(made, noted_final)
    assert SEEN == []
    made.remove(Async)
    made.check_sync()
    assert run(made, noted_final) == "done"


def test_an_async_client_middleware_is_refused() -> None:
    class AsyncClientSide:
        async def call(self, job_class: Any, payload: Any, queue: Any, redis: Any, next: Any) -> Any: ...

    made = Chain(kind="client")
    made.add(AsyncClientSide)
    with pytest.raises(ConfigurationError, match=r"AsyncClientSide\.call is `async def`"):
        made.invoke_client("HardJob", {}, "default", None, dict)


def test_a_hidden_coroutine_is_an_error_and_not_a_job_that_seems_done() -> None:
    class Hidden:
        def call(self, *given: Any) -> Any:
            return Async().call(*given)

    with pytest.raises(
        ConfigurationError, match=r"a coroutine came out of the middleware chain \(A, .*Hidden\)"
    ):
        run(chain(A, Hidden))


# -- client -----------------------------------------------------------------------------


class ClientSide:
    def call(self, job_class: Any, payload: Any, queue: Any, redis: Any, next: Callable[[], Any]) -> Any:
        SEEN.append(f"{job_class} {queue} {redis}")
        payload["tenant"] = "acme"
        return next()


def test_a_client_middleware_changes_the_payload() -> None:
    made = Chain(kind="client")
    made.add(ClientSide)
    payload: dict[str, Any] = {"jid": "1"}
    assert made.invoke_client("HardJob", payload, "low", "pool", lambda: payload) == {
        "jid": "1",
        "tenant": "acme",
    }
    assert SEEN == ["HardJob low pool"]


@pytest.mark.parametrize("falsy", [None, False, {}])
def test_a_client_middleware_stops_a_push_by_a_falsy_result(falsy: Any) -> None:
    class Stopping(ClientSide):
        def call(self, *given: Any) -> Any:
            return falsy

    made = Chain(kind="client")
    made.add(ClientSide)
    made.add(Stopping)
    assert made.invoke_client("HardJob", {}, "low", None, lambda: {"jid": "1"}) is falsy
