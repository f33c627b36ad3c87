"""Reading lua/: text, header, flags, and where an error happened."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis as redis_py

from sidekiq_lua.store.scripts import library, read, script_dir

HEADER = """#!lua flags=allow-oom
-- Say something.
--
-- KEYS  1   first   list  a list
--       2.. others  list  more
-- ARGV  1   word    what to say
-- RETURNS   nothing
--           much
-- BOUND     1 job
-- REPLAY    same
-- ROLES     worker
-- INVARIANT none

local first = KEYS[1]
"""


@pytest.fixture
def write(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "fail.lua").write_text(
        '-- fail(): fail.\nlocal function fail(key)\n  redis.call("INCR", key)\nend\n', "utf-8"
    )
    return tmp_path


def test_the_library_has_every_file(redis: redis_py.Redis) -> None:
    scripts = library()

    assert sorted(scripts) == sorted(p.name[:-4] for p in script_dir().iterdir() if p.name.endswith(".lua"))
    assert library() is scripts
    for script in scripts.values():
        assert redis.script_load(script.text) == script.sha


def test_a_script_is_read_with_its_header(write: Path) -> None:
    (write / "say.lua").write_text(HEADER + "return ARGV[1]\n", "utf-8")

    script = read("say", write)

    assert (script.name, script.flags, script.reads_only) == ("say", {"allow-oom"}, False)
    assert (script.keys.names, script.keys.open_ended) == (("first", "others"), True)
    assert (script.argv.names, script.argv.open_ended) == (("word",), False)
    assert script.header == {
        "RETURNS": "nothing",
        "BOUND": "1 job",
        "REPLAY": "same",
        "ROLES": "worker",
        "INVARIANT": "none",
    }


def test_values_go_where_the_header_says(write: Path) -> None:
    (write / "say.lua").write_text(HEADER + "return ARGV[1]\n", "utf-8")

    call = read("say", write).call(word=b"hello", others=["b", "c"], first="a")

    assert (call.keys, call.argv) == (("a", "b", "c"), (b"hello",))


def test_a_script_without_parameters_can_be_called(write: Path) -> None:
    (write / "say.lua").write_text("#!lua\n-- RETURNS   1\nreturn 1\n", "utf-8")

    call = read("say", write).call()

    assert (call.keys, call.argv) == ((), ())


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("#!lua flags=allow-oom", "", "say.lua: line 1 is not #!lua"),
        ("flags=allow-oom", "flag=x", "say.lua: line 1 is not #!lua"),
        ("--       2.. others", "--       3.. others", "say.lua: parameter others is out of order"),
        ("1   first ", "1.. first ", "say.lua: parameter first is out of order"),
    ],
)
def test_a_header_that_breaks_the_form_is_refused(write: Path, old: str, new: str, complaint: str) -> None:
    assert old in HEADER
    (write / "say.lua").write_text(HEADER.replace(old, new), "utf-8")

    with pytest.raises(ValueError, match=complaint):
        read("say", write)


def test_an_error_s_line_leads_to_its_file(write: Path, redis: redis_py.Redis) -> None:
    """Redis counts the lines of the text it was sent; people read the files it was made of."""
    own = '\nif ARGV[1] == "own" then\n  redis.call("INCR", first)\nend\n'
    body = f"\n-- include lib/fail.lua\n{own}fail(first)\n"
    (write / "say.lua").write_text(HEADER + body, "utf-8")
    script = read("say", write)
    redis.set("text", "abc")

    def fail(word: str) -> str:
        with pytest.raises(redis_py.ResponseError) as caught:
            redis.eval(script.text, 1, "text", word)
        return script.where(str(caught.value))

    line = HEADER.count("\n") + body[: body.index("INCR")].count("\n") + 1
    assert fail("own") == f"say.lua:{line}"
    assert fail("lib") == "lib/fail.lua:3"
    assert script.where("an error without a line") == "say.lua"


def test_every_line_has_an_origin() -> None:
    for script in library().values():
        lines = script.text.splitlines()
        assert len(script.origins) == len(lines)
        for line, origin in zip(lines, script.origins, strict=True):
            file, _, number = origin.rpartition(":")
            assert (script_dir() / file).read_text("utf-8").splitlines()[int(number) - 1] == line
