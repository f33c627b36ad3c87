"""The method `perform` of a job class: that it is one, and what it takes."""

# ruff: noqa: F401, F811 -- fixtures are imported

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from both_clients import app

from sidekiq_lua import Sidekiq
from sidekiq_lua.errors import ConfigurationError, SignatureMismatch


def test_a_class_without_perform(app: Sidekiq) -> None:
    with pytest.raises(ConfigurationError, match=r"IdleJob has no perform method \(or set abstract = True\)"):

        class IdleJob(app.Job): ...


def test_a_perform_with_yield_is_refused_and_not_a_job_that_seems_done(app: Sidekiq) -> None:
    """To call it runs none of it: such a job would be acknowledged and nothing would have happened."""

    def plain(self):
        yield 1

    async def awaited(self):
        yield 1

    for perform in (plain, awaited, staticmethod(plain)):
        with pytest.raises(ConfigurationError, match=r"OddJob\.perform must not contain `yield`"):
            type("OddJob", (app.Job,), {"perform": perform})
    assert len(app.registry) == 0


SIGNATURES: list[tuple[Callable[..., Any], range, str]] = [
    (lambda self: None, range(1), "()"),
    (lambda self, a, b: None, range(2, 3), "(a, b)"),
    (lambda self, a, b=2: None, range(1, 3), "(a, b=2)"),
    (lambda self, *args: None, range(9), "(*args)"),
    (lambda self, a, *args: None, range(1, 9), "(a, *args)"),
    (lambda self, a, /, b=1: None, range(1, 3), "(a, /, b=1)"),
    (lambda self, a, *, b=1: None, range(1, 2), "(a, *, b=1)"),
    (lambda self, a, **more: None, range(1, 2), "(a, **more)"),
    (staticmethod(lambda a: None), range(1, 2), "(a)"),
    (classmethod(lambda cls, a: None), range(1, 2), "(a)"),
    (functools.partialmethod(lambda self, a, b: None, 1), range(1, 2), "(b)"),
    (functools.wraps(lambda self, a: None)(lambda *args: None), range(1, 2), "(a)"),
    (lambda *args: None, range(9), "(*args)"),  # as what a decorator without wraps makes
    (lambda *args, **named: None, range(9), "(*args, **named)"),
]


@pytest.mark.parametrize(
    ("perform", "fits", "text"), SIGNATURES, ids=[f"{n} {s[2]}" for n, s in enumerate(SIGNATURES)]
)
def test_arguments_must_fit_perform(app: Sidekiq, perform: Any, fits: range, text: str, redis: Any) -> None:
    job: Any = type("AnyJob", (app.Job,), {"perform": perform})
    for n in range(9):
        if n in fits:
            job.perform_async(*range(n))
            continue
        with pytest.raises(SignatureMismatch) as caught:
            job.perform_async(*range(n))
        wanted = f"AnyJob.perform{text} cannot take {n} arguments: {list(range(n))}"
        assert str(caught.value) == wanted
    assert redis.llen("queue:default") == len(fits)


def test_a_keyword_only_parameter_needs_a_default(app: Sidekiq) -> None:
    with pytest.raises(
        ConfigurationError, match=r"OddJob\.perform: the keyword-only parameter 'b' needs a def"
    ):
        type("OddJob", (app.Job,), {"perform": lambda self, a, *, b: None})
