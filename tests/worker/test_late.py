"""A request that the network delivers when its sender has long given it up."""

import asyncio
import threading

from proxy import Proxy
from waiting import wait_until

from sidekiq_lua.store.scripts import library


class Late(Proxy):
    """Keeps one request with `words`, and all after it on its connection, back until `release`, as TCP does
    that sends again what was lost: also when the sender has closed."""

    words = b""

    async def _up(self, link, reader, back):
        while data := await reader.read(1 << 16):
            if self.words and self.words in data:
                self.words = b""
                await self._released.wait()
            back.write(data)
            await back.drain()

    async def _link(self, reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", self._ports[0])
        self._ends.append(back)
        down = asyncio.ensure_future(self._down_quietly(there, writer))
        await self._up(None, reader, back)
        await asyncio.sleep(0.2)
        down.cancel()
        back.close()

    async def _down_quietly(self, there, writer):
        while data := await there.read(1 << 16):
            writer.write(data)


def test_a_late_requeue_does_not_take_a_job_that_runs(make_app, run, server, redis):
    """It had no answer; reconciling finds the job in hand and begins it. Then the request arrives."""
    requeue = library()["requeue"]
    redis.script_load(requeue.text)
    begun, gates = [], [threading.Event(), threading.Event()]
    with Late(server.port) as proxy:
        app = make_app(
            redis={"url": proxy.url, "socket_timeout": 0.5}, concurrency=1, queues=["x", "y"],
            heartbeat_interval=10, heartbeat_ttl=60,
        )  # fmt: skip

        class WaitJob(app.Job):
            def perform(self, n):
                begun.append(n)
                gates[min(len(begun), 2) - 1].wait(10)

        run(app)
        wait_until(lambda: redis.info("clients")["blocked_clients"] == 2)
        proxy.words = requeue.sha.encode()
        with redis.pipeline() as pipe:  # both queues are waited for, and there is one slot
            for queue in "xy":
                pipe.lpush(f"queue:{queue}", f'{{"class":"WaitJob","args":["{queue}"],"jid":"{queue}"}}')
            pipe.execute()
        wait_until(lambda: proxy.words == b"")
        gates[0].set()
        wait_until(lambda: len(begun) == 2)
        proxy.release()
        threading.Event().wait(0.5)
        assert redis.llen("queue:x") + redis.llen("queue:y") == 0
        gates[1].set()
        wait_until(lambda: redis.get("stat:processed") == b"2")
        assert sorted(begun) == ["x", "y"]
