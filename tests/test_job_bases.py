"""Options and hooks that a job class has from several bases, also from those that are no jobs."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

from typing import Any

import pytest
from both_clients import app

from sidekiq_lua import Sidekiq
from sidekiq_lua.errors import ConfigurationError


def test_options_come_from_every_base(app: Sidekiq) -> None:
    """Also from one that is no job; the nearest base has the last word."""

    class Common(app.Job):
        abstract = True
        sidekiq_options = {"queue": "common", "dead": False}

    class Critical(Common):
        abstract = True
        sidekiq_options = {"queue": "critical"}

    class Patient(Common):
        abstract = True
        sidekiq_options = {"retry": 50}

    class Tagged:
        sidekiq_options = {"tags": ["mixin"], "retry": 1}

    class MixedJob(Critical, Patient, Tagged):
        def perform(self): ...

    class OtherJob(Tagged, Patient):
        def perform(self): ...

    assert MixedJob.get_sidekiq_options() == {
        "queue": "critical", "dead": False, "retry": 50, "tags": ["mixin"],
    }  # fmt: skip
    assert OtherJob.get_sidekiq_options()["retry"] == 1


def test_hooks_of_a_base_that_is_no_job(app: Sidekiq) -> None:
    class Hooks:
        delay = 5

        def retry_in(self, count, error, payload):
            return self.delay

        @staticmethod
        def sidekiq_retries_exhausted(payload, error):
            return "mixin"

    class MixedJob(Hooks, app.Job):
        delay = 6

        def perform(self): ...

    class HeirJob(MixedJob):
        def perform(self): ...

    class OwnJob(Hooks, app.Job):
        def sidekiq_retry_in(count, error, payload):
            return "own"

        def perform(self): ...

    assert MixedJob._retry_in(0, None, {}) == HeirJob._retry_in(0, None, {}) == 6
    assert {kind._exhausted({}, None) for kind in (MixedJob, HeirJob, OwnJob)} == {"mixin"}
    assert OwnJob._retry_in(0, None, {}) == "own"
    MixedJob.retry_in(lambda count, error, payload: "new")
    assert MixedJob._retry_in(0, None, {}) == "new"


@pytest.mark.parametrize("name", ["sidekiq_retry_in", "sidekiq_retries_exhausted"])
@pytest.mark.parametrize("how", [lambda hook: hook, staticmethod, classmethod])
def test_a_hook_that_nobody_would_await_is_refused(app: Sidekiq, name: str, how: Any) -> None:
    """Also one of an async job: to call it runs none of it."""

    async def never(*args):
        return 5

    async def perform(self): ...

    with pytest.raises(ConfigurationError, match="must be a plain `def`, also of an async job"):
        type("OddJob", (app.Job,), {name: how(never), "perform": perform})
