"""Context variables in the field cattr, read and written by Sidekiq's own middleware of the checkout."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from interop.harness import RUBY, Ruby, RubyKind

from sidekiq_lua.current import dump, load

pytestmark = pytest.mark.interop

VALUES = {"tenant": "größe", "user_id": 5, "nested": {"a": [1, None, {"b": 1.5}], "e": {}}, "nothing": None}


@pytest.fixture
def kind(checkout: RubyKind) -> RubyKind:
    return checkout


def test_cattr_in_both_directions(ruby: Ruby) -> None:
    done = subprocess.run(
        ["ruby", str(RUBY / "cattr.rb")],
        env=ruby.environment(),
        input=json.dumps({"class": "J", "cattr": dump(VALUES)}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    if "missing" in answer:
        pytest.skip(
            f"Sidekiq's own middleware needs ActiveJob, {answer['missing']}: apt-get install ruby-activejob"
        )

    assert answer["seen"] == VALUES
    assert answer["saved"]["cattr"] == dump(VALUES)
    assert load(answer["saved"]["cattr"], VALUES) == VALUES
