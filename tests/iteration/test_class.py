"""Defining iterable job classes, and what is wrong with some; running them inline."""

from __future__ import annotations

import datetime
import decimal
from typing import ClassVar

import pytest

from sidekiq_lua import IterableJob, Sidekiq
from sidekiq_lua.enumerators import array_enumerator
from sidekiq_lua.errors import ConfigurationError, InvalidCursor, SignatureMismatch


@pytest.fixture
def app():
    made = Sidekiq(redis="redis://127.0.0.1:1")  # nobody is there
    yield made
    made.close()


def pairs(self, cursor):
    return array_enumerator(["abc"], cursor=cursor)


def test_it_belongs_to_the_default_instance_or_to_another(app):
    class HereJob(IterableJob, app=app):
        def build_enumerator(self, *, cursor):
            return []

        def each_iteration(self, item):
            pass

    class ThereJob(app.IterableJob):
        build_enumerator = HereJob.build_enumerator
        each_iteration = HereJob.each_iteration

    assert app.registry.get("HereJob") is HereJob
    assert app.registry.get("ThereJob") is ThereJob
    assert app.IterableJob is app.IterableJob
    assert not HereJob.is_async


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"each_iteration": lambda self, item: None}, "no build_enumerator method"),
        ({"build_enumerator": pairs}, "no each_iteration method"),
        (
            {
                "build_enumerator": pairs,
                "each_iteration": lambda self, item: None,
                "perform": lambda self: None,
            },
            "must not define perform, but each_iteration",
        ),
        (
            {"build_enumerator": lambda self, n: [], "each_iteration": lambda self, item: None},
            "must take `cursor`",
        ),
        (
            {
                "build_enumerator": lambda self, *, n, cursor: [],
                "each_iteration": lambda self, item: None,
            },
            "BadJob.build_enumerator: the keyword-only parameter 'n'",
        ),
    ],
)
def test_a_class_that_cannot_work_is_refused(app, body, message):
    with pytest.raises(ConfigurationError, match=message):
        type("BadJob", (app.IterableJob,), body)


def test_each_iteration_is_no_generator(app):
    def each_iteration(self, item):
        yield item

    with pytest.raises(ConfigurationError, match="must not contain `yield`"):
        type("BadJob", (app.IterableJob,), {"build_enumerator": pairs, "each_iteration": each_iteration})


def test_arguments_are_those_of_build_enumerator(app):
    class PairJob(app.IterableJob):
        def build_enumerator(self, one, two=2, *, cursor):
            return []

        def each_iteration(self, item, one, two=2):
            pass

    PairJob.check_args([1])
    PairJob.check_args([1, 2])
    with pytest.raises(
        SignatureMismatch,
        match=r"PairJob\.build_enumerator\(one, two=2\) cannot take 3 arguments: \[1, 2, 3\]",
    ):
        PairJob.perform_async(1, 2, 3)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_inline_it_runs_to_its_end_without_redis(app, kind):
    seen = []

    class Counting(app.IterableJob):
        abstract = True
        max_iteration_runtime: ClassVar[float] = 0.0
        state_flush_interval: ClassVar[float] = 0

        def build_enumerator(self, n, *, cursor):
            assert cursor is None
            return array_enumerator(range(n), cursor=cursor)

        def on_complete(self):
            seen.append("complete")

    if kind == "sync":

        class CountJob(Counting):
            def each_iteration(self, item, n):
                seen.append(item)
                self.interrupt()

    else:

        class CountJob(Counting):
            async def each_iteration(self, item, n):
                seen.append(item)
                self.interrupt()

    assert CountJob.is_async == (kind == "async")
    assert CountJob.perform_inline(4) is True
    assert seen == [0, 1, 2, 3, "complete"]


def test_inline_it_can_cancel_itself(app):
    seen = []

    class CancelJob(app.IterableJob):
        def build_enumerator(self, *, cursor):
            return array_enumerator(range(9), cursor=cursor)

        def each_iteration(self, item):
            seen.append(item)
            self.cancel()

        def on_cancel(self):
            seen.append("cancel")

    CancelJob.perform_inline()
    assert seen == [0, "cancel"]


def inline(app, enumerator):
    class InlineJob(app.IterableJob):
        def build_enumerator(self, *, cursor):
            return enumerator

        def each_iteration(self, item):
            raise AssertionError("it came to an item")

    InlineJob.perform_inline()


@pytest.mark.parametrize(
    "cursor", [object(), datetime.date(2026, 1, 1), decimal.Decimal(1), {1: 2}, float("nan"), b"x", {1}]
)
def test_a_cursor_that_json_would_change_is_refused_before_the_first_item(app, cursor):
    with pytest.raises(InvalidCursor, match="saved as JSON: the cursor"):
        inline(app, [(1, cursor)])


def test_a_cursor_is_a_place_and_no_protocol(app):
    with pytest.raises(InvalidCursor, match="65,538 bytes are over 65,536"):
        inline(app, [(1, "x" * 65_536)])


@pytest.mark.parametrize("enumerator", [7, "text", {"a": 1}])
def test_what_gives_no_items_is_refused(app, enumerator):
    with pytest.raises(ConfigurationError, match=r"must answer \(item, cursor\) pairs, not (int|str|dict)"):
        inline(app, enumerator)


@pytest.mark.parametrize("pair", [1, (1,), [1, 2], (1, 2, 3), None])
def test_what_is_no_pair_is_refused(app, pair):
    with pytest.raises(ConfigurationError, match=r"must give \(item, cursor\) pairs, not "):
        inline(app, [pair])


def test_a_sync_job_does_not_take_async_generators(app):
    async def generator():
        yield 1, 1

    with pytest.raises(ConfigurationError, match="takes `async def each_iteration`"):
        inline(app, generator())


@pytest.mark.parametrize("wrong", [-1, "5", float("nan"), True])
def test_limits_are_seconds(app, wrong):
    class LimitJob(app.IterableJob):
        max_iteration_runtime = wrong

        def build_enumerator(self, *, cursor):
            return []

        def each_iteration(self, item):
            pass

    with pytest.raises(ConfigurationError, match="max_iteration_runtime must be seconds or a timedelta"):
        LimitJob.perform_inline()


def test_nobody_waits_for_ever(app):
    """The job was in the schedule for good."""

    class WaitJob(app.IterableJob):
        def build_enumerator(self, *, cursor):
            return pairs(self, cursor=cursor)

        def each_iteration(self, item):
            self.interrupt(float("inf"))

    with pytest.raises(ConfigurationError, match="wait is for ever"):
        WaitJob.perform_inline()


def test_a_generator_is_closed_when_an_item_fails(app):
    closed = []

    def pairs():
        try:
            yield 1, 1
        finally:
            closed.append(True)

    with pytest.raises(AssertionError, match="it came to an item"):
        inline(app, pairs())
    assert closed == [True]
