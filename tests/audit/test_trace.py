"""What scripts do on a real server agrees with their headers and docs/trace.md; planted faults are found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from _audit import checks, gate, monitor, suite, trace
from script_cases import Case
from servers import Server, binary, wait_until

from sidekiq_lua.store import Endpoint, Transport
from sidekiq_lua.store.contract import contract
from sidekiq_lua.store.scripts import library, read

PLANTED = """#!lua
-- Look at a list and add to a set.
--
-- KEYS  1   list    list  r   looked at
--       2   names   set   rw  added to
-- ARGV  1   n       how many
-- RETURNS   1
-- BOUND     n members
-- REPLAY    same
-- ROLES     worker
-- INVARIANT none

local list, names = KEYS[1], KEYS[2]
local n = ARGV[1]

redis.call("LLEN", list)
redis.call("SADD", names, n)
return 1
"""


KIND = os.environ.get("SIDEKIQ_LUA_TEST_SERVER") or None


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    with Server(KIND) as server:
        yield server


def test_the_published_trace_is_what_happens() -> None:
    """If this fails for a script that you changed, run `tools/audit trace` and read the difference."""
    kind, _ = binary(KIND)
    assert [str(finding) for finding in gate.traced(kind)] == []


def problems(server: Server, folder: Path, old: str, new: str) -> list[str]:
    """Of one call of the planted script, changed so."""
    assert old in PLANTED
    (folder / "planted.lua").write_text(PLANTED.replace(old, new), "utf-8")
    script = read("planted", folder)
    call = script.call(list="some:list", names="some:names", n=2)
    ((_, ran),) = trace.record(server, {"planted": Case(call, {"some:list": [b"a"]})})
    with server.client() as client:
        return checks.problems(ran, contract(script), monitor.KeyFlags(client))


def test_a_script_that_keeps_its_header_passes(own: Server, tmp_path: Path) -> None:
    assert problems(own, tmp_path, "return 1", "return 1") == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"LLEN", list', '"LLEN", "hidden"', "LLEN hidden: the key is not among the KEYS of this call"),
        (
            '"SADD", names',
            '"SADD", names .. n',
            "SADD some:names2: the key is not among the KEYS of this call",
        ),
        ('"LLEN", list', '"RPOP", list', "RPOP some:list: a write, and the header declares list r"),
        (
            '"LLEN", list)',
            '"COPY", names, list)',
            "COPY some:list: a write, and the header declares list r",
        ),
        ("names   set   rw", "names   set   r ", "SADD some:names: a write, and the header declares names r"),
        (
            "return 1\n",
            'for _ = 1, 50 do\n  redis.call("LLEN", list)\nend\nreturn 1\n',
            "52 commands, and BOUND allows 27: n members",
        ),
    ],
)
def test_a_planted_fault_is_found(own: Server, tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert problems(own, tmp_path, old, new) == [f"lua/planted.lua: {complaint}"]


def test_a_suite_s_log_is_read_call_by_call(
    own: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clients' lines lie between each other; what a script does inside follows its call at once."""
    folder = tmp_path / "logs"
    folder.mkdir()
    monkeypatch.setenv(suite.VARIABLE, str(folder))
    with Server(own.kind) as server, server.client() as other:
        transport = Transport(Endpoint(server.url))
        for _ in range(3):
            other.set("unrelated", 1)
            transport.run(library()["pause"].call(paused="paused", name='de"fault\n'))
        transport.close()
        other.echo("the end")
        (log,) = folder.iterdir()
        wait_until(lambda: b"the end" in log.read_bytes(), what="the last line")
    found, called = suite.read(list(folder.iterdir()))
    assert found == []
    assert called == {"pause": 4}, "the first of three calls was sent again: the server had no such script"


def test_a_suite_s_log_shows_a_fault(tmp_path: Path) -> None:
    sha = library()["pause"].sha
    log = tmp_path / "log"
    log.write_text(
        "+OK\r\n"
        f'+1.5 [0 unix:/s] "EVALSHA" "{sha}" "1" "paused" "default"\r\n'
        '+1.5 [0 lua] "SADD" "elsewhere" "default"\r\n'
        '+1.6 [0 unix:/s] "SADD" "of-a-client" "x"\r\n'
        f'+1.7 [0 unix:/s] "EVALSHA" "{sha}" "1" "paus'
    )
    found, _ = suite.read([log])
    assert [str(finding) for finding in found] == [
        "lua/pause.lua: [suite] SADD elsewhere: the key is not among the KEYS of this call"
    ]


def test_monitor_lines_are_taken_apart() -> None:
    assert monitor.words(b'1.5 [0 127.0.0.1:5] "evalsha" "a\\"b" "\\xff\\n" ""\r\n') == (
        "127.0.0.1:5",
        [b"EVALSHA", b'a"b', b"\xff\n", b""],
    )
    with pytest.raises(ValueError, match="MONITOR said"):
        monitor.words(b"-ERR no\r\n")


@pytest.mark.parametrize(
    ("name", "keys", "argv", "most"),
    [
        ("stats", 6, [], 3 + 6 * 6),
        ("fetch", 4, [b"me", b"50", b"1000000", b"default"], 3 + 6 * (4 + 50)),
        ("ack", 3, [b"60", *[b"1", b"x"] * 10], 3 + 6 * (3 + 21)),
        ("delete_job", 1, [b"x"], 3 + 6 * (1 + 1)),
    ],
)
def test_bound_is_read_as_a_number_of_commands(name: str, keys: int, argv: list[bytes], most: int) -> None:
    assert checks.limit(contract(library()[name]), [b"k"] * keys, argv) == most
