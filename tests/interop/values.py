"""Arguments that one of the two languages might write, read or escape differently."""

from __future__ import annotations

import random
from typing import Any

from sidekiq_lua.strict import MAX_DEPTH

_random = random.Random(8)

DEEP: list[Any] = []  # as deep as it may be
for _ in range(MAX_DEPTH - 1):
    DEEP = [DEEP]

# Of others Ruby's own text depends on its json library: beyond 1e-4 to 1e15, and from 2.11 on for about
# one in a thousand of those with many digits, such as 95.961627.
FLOATS = [
    0.0, -0.0, 0.1, 0.1 + 0.2, 1.0, 1.5, 100.0, 1234567.891, 0.0001, 123456789012345.0,
    *(round(_random.uniform(-1, 1) * 10 ** _random.randrange(13), 2) for _ in range(200)),
]  # fmt: skip

ARGS = [
    1, -1, 0, 1234567890123456789, True, False, None, 1.5, 0.1, 100.0, 1234567.891,
    "", "plain", "é ✓ 😀", "</script>", 'a"b\\c\n\t\x7f\u2028', [], {}, [[]],
    {"a": [1, {"b": None}], "é": {}},
]  # fmt: skip
