"""Context variables and the locale travel with jobs, in the form of Sidekiq 8.1."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from waiting import hurry, wait_until

from sidekiq_lua import RetrySet, Sidekiq
from sidekiq_lua.current import attributes, dump, load, persist, persist_locale
from sidekiq_lua.errors import ConfigurationError, InvalidJob, UnserializableArguments

SYMBOL = "ActiveJob::Serializers::SymbolSerializer"

tenant: ContextVar[Any] = ContextVar("tenant")
user: ContextVar[Any] = ContextVar("user", default="nobody")
zone: ContextVar[Any] = ContextVar("zone", default="UTC")


def symbol(name: str) -> dict[str, str]:
    return {"_aj_serialized": SYMBOL, "value": name}


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    tokens = [(variable, variable.set(None)) for variable in (tenant, user, zone)]
    for variable, token in reversed(tokens):
        variable.reset(token)
    assert user.get() == "nobody"
    yield
    assert (tenant.get("unset"), user.get(), zone.get()) == ("unset", "nobody", "UTC"), "a test left values"


@contextmanager
def holding(**values: Any) -> Iterator[None]:
    variables = {"tenant": tenant, "user": user, "zone": zone}
    tokens = [(variables[name], variables[name].set(value)) for name, value in values.items()]
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)


@pytest.fixture
def app(url: str) -> Iterator[Sidekiq]:
    made = Sidekiq(redis=url, poll_interval_average=0.05, log_level="fatal", heartbeat_interval=0.2)
    persist(made.config, [tenant, user], {"tz": zone})
    yield made
    made.close()


def pushed(redis: Any) -> dict[str, Any]:
    (raw,) = redis.lrange("queue:default", 0, -1)
    return json.loads(raw)


def test_what_is_set_is_written_as_8_1_does(app: Sidekiq, redis: Any) -> None:
    with holding(tenant=5, zone="Europe/Berlin"):
        app.client.push({"class": "J", "args": []})

    payload = pushed(redis)
    assert payload["cattr"] == [[symbol("tenant"), 5]]
    assert payload["cattr_1"] == [[symbol("tz"), "Europe/Berlin"]]


def test_nothing_set_writes_nothing(app: Sidekiq, redis: Any) -> None:
    app.client.push({"class": "J", "args": []})
    assert not {"cattr", "cattr_1"} & pushed(redis).keys()


def test_a_job_that_has_the_field_keeps_it(app: Sidekiq, redis: Any) -> None:
    with holding(tenant=5):
        app.client.push({"class": "J", "args": [], "cattr": [[symbol("tenant"), 6]]})
    assert pushed(redis)["cattr"] == [[symbol("tenant"), 6]]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_it_holds_while_the_job_runs_in_its_retry_too_and_is_gone_in_the_next(
    app: Sidekiq, redis: Any, kind: str
) -> None:
    seen: list[Any] = []

    def look(n: int) -> None:
        seen.append((n, tenant.get("unset"), user.get(), zone.get()))
        tenant.set("spoiled")
        user.set("spoiled")
        if n == 1 and len([one for one in seen if one[0] == 1]) == 1:
            raise ZeroDivisionError

    if kind == "sync":

        class SomeJob(app.Job):
            def perform(self, n: int) -> None:
                look(n)
    else:

        class SomeJob(app.Job):  # type: ignore[no-redef]
            async def perform(self, n: int) -> None:
                look(n)

    app.config.concurrency = 1
    with holding(tenant={"id": 7}, user="ada", zone="Mars"):
        SomeJob.perform_async(1)
    with holding(user=None):
        SomeJob.perform_async(2)
    SomeJob.perform_async(3)
    runner = app.run()
    try:
        wait_until(lambda: hurry(redis) or len(seen) == 4, 30)
    finally:
        runner.stop()

    assert sorted(seen, key=lambda one: one[0]) == [
        (1, {"id": 7}, "ada", "Mars"),
        (1, {"id": 7}, "ada", "Mars"),
        (2, "unset", None, "UTC"),
        (3, "unset", "nobody", "UTC"),
    ]


def test_an_inline_job_leaves_the_callers_values_alone(app: Sidekiq) -> None:
    seen = []

    class SomeJob(app.Job):
        def perform(self) -> None:
            seen.append(tenant.get())
            tenant.set(2)

    with holding(tenant=1):
        SomeJob.perform_inline()
        assert tenant.get() == 1
    assert seen == [1]


def test_a_job_that_fails_leaves_the_callers_values_alone(app: Sidekiq) -> None:
    class SomeJob(app.Job):
        def perform(self) -> None:
            tenant.set(2)
            raise ZeroDivisionError

    with holding(tenant=1):
        with pytest.raises(ZeroDivisionError):
            SomeJob.perform_inline()
        assert tenant.get() == 1


def test_other_client_middleware_sees_the_jobs_values_when_it_is_pushed_again(app: Sidekiq) -> None:
    seen = []

    class Look:
        def call(self, job_class: Any, payload: Any, queue: Any, redis: Any, next: Any) -> Any:
            seen.append(tenant.get("unset"))
            return next()

    app.config.client_middleware.add(Look)
    app.client.push({"class": "J", "args": [], "cattr": [[symbol("tenant"), 6]]})
    assert seen == [6]


def test_a_due_job_with_what_only_ruby_reads_goes_to_its_queue(app: Sidekiq, redis: Any) -> None:
    """It fails when it runs, or a Ruby worker runs it; it must not lie in the set for ever."""
    record = [[symbol("tenant"), {"_aj_globalid": "gid://app/Tenant/1"}]]
    raw = json.dumps({"class": "J", "args": [], "jid": "j", "cattr": record})
    redis.zadd("retry", {raw: 1})

    assert RetrySet(app).retry_all().done == 1

    assert pushed(redis)["cattr"] == record
    assert redis.exists("retry") == 0


def test_a_value_that_cannot_travel_is_refused_at_the_push(app: Sidekiq, redis: Any) -> None:
    with holding(tenant={"since": (1, 2)}), pytest.raises(UnserializableArguments) as caught:
        app.client.push({"class": "J", "args": []})
    assert str(caught.value).startswith(
        "J: the context variable 'tenant' cannot travel: its value['since'] is"
    )
    assert not redis.keys("queue:*")


@pytest.mark.parametrize("groups", [[], [5], [[5]], [{"a": 5}], [tenant], ["tenant"], [{1: tenant}]])
def test_what_is_no_group_is_refused(groups: list[Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"group"):
        persist(Sidekiq().config, *groups)


VALUES = [None, True, 0, -1.5, "", "ü", [], [1, [2]], {}, {"a": {"b": [None, {}]}}, 2**63]


@pytest.mark.parametrize("value", VALUES)
def test_values_come_back_as_they_were(value: Any) -> None:
    assert load(json.loads(json.dumps(dump({"x": value}))), ["x"]) == {"x": value}


def test_a_dict_is_written_as_active_job_writes_one_with_string_keys() -> None:
    assert dump({"x": {"a": {}}}) == [[symbol("x"), {"a": {"_aj_symbol_keys": []}, "_aj_symbol_keys": []}]]


def test_keys_that_active_job_keeps_to_itself_are_refused() -> None:
    with pytest.raises(UnserializableArguments, match="_aj_globalid"):
        dump({"x": {"_aj_globalid": "gid://app/User/1"}})


def test_what_ruby_writes_is_read() -> None:
    hashes = {"a": symbol("b"), "_aj_symbol_keys": ["a"]}
    field = [[symbol("x"), hashes], ["y", {"c": 1, "_aj_hash_with_indifferent_access": True}]]
    assert load(field, ["x", "y"]) == {"x": {"a": "b"}, "y": {"c": 1}}
    # 7.x
    assert load({"x": 1, "other": 2, "_aj_symbol_keys": ["x"]}, ["x", "z"]) == {"x": 1}


@pytest.mark.parametrize(
    "field",
    [
        5,
        [1],
        [["x"]],
        [["x", {"_aj_serialized": "ActiveJob::Serializers::DurationSerializer", "value": 1}]],
        [["x", [{"_aj_globalid": "gid://app/User/1"}]]],
    ],
)
def test_what_python_does_not_have_is_an_error_of_the_job(field: Any) -> None:
    with pytest.raises(InvalidJob, match="cattr"):
        load(field, ["x"])
    if field != 5 and field != [1] and field != [["x"]]:
        assert load(field, ["y"]) == {}, "nobody asked for it"


# -- locale ---------------------------------------------------------------------------------

speech: ContextVar[str] = ContextVar("speech", default="en")


@contextmanager
def speaking(language: str) -> Iterator[None]:
    token = speech.set(language)
    try:
        yield
    finally:
        speech.reset(token)


@pytest.fixture
def polyglot(url: str) -> Iterator[Sidekiq]:
    made = Sidekiq(redis=url)
    persist_locale(made.config, get=speech.get, use=speaking, default="la")
    yield made
    made.close()


def test_the_locale_travels(polyglot: Sidekiq, redis: Any) -> None:
    with speaking("de"):
        polyglot.client.push({"class": "J", "args": []})
    assert pushed(redis)["locale"] == "de"


def test_a_locale_that_is_there_stays_and_an_empty_one_does_not(polyglot: Sidekiq, redis: Any) -> None:
    for given in ("fr", ""):
        redis.delete("queue:default")
        polyglot.client.push({"class": "J", "args": [], "locale": given})
        assert pushed(redis)["locale"] == (given or "en")


def test_a_job_runs_in_its_locale_or_in_the_default(polyglot: Sidekiq, redis: Any) -> None:
    chain, heard = polyglot.config.server_middleware, []
    for payload in ({"locale": "fr"}, {}):
        copy_context().run(chain.invoke, None, payload, "default", lambda: heard.append(speech.get()))
    assert heard == ["fr", "la"]
    assert speech.get() == "en"


def test_all_attributes_of_a_payload_to_be_shown() -> None:
    payload = {
        "class": "J",
        "cattr": dump({"tenant": "acme", "list": [{"a": 1}]}),
        "cattr_1": {"zone": "UTC", "_aj_symbol_keys": []},
        "cattr_2": [*dump({"good": 1}), ["bad", {"_aj_globalid": "gid://app/User/1"}]],
        "cattr_3": "nonsense",
    }
    assert attributes(payload) == {"tenant": "acme", "list": [{"a": 1}], "zone": "UTC", "good": 1}
