"""The same scripts as another release would have them: other texts, so other hashes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from sidekiq_lua.store.calls import Call
from sidekiq_lua.store.scripts import Script


def other_release(script: Script) -> Script:
    text = script.text + "-- another release\n"
    return replace(script, text=text, sha=hashlib.sha1(text.encode()).hexdigest())


def by_other_release(call: Call[Any]) -> Call[Any]:
    return Call(other_release(call.script), call.keys, call.argv, call.read)
