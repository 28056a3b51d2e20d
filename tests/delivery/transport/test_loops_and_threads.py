"""Apps in process, called from threads, under running loops, after a fork, and from a check during a lifespan."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from engagelab_mock import EngageLab, Receiver, UsageError
from engagelab_mock.checks import catalogue  # noqa: F401  # pytest's imports must not meet in two threads
from tests.patience import PATIENCE


async def fine(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await anyio.sleep(0)
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})


class Shop:
    """An ASGI app with a lifespan, and a note of the loop of each request."""

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.loops: set[Any] = set()
        self.states: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            self.started.append(asyncio.get_running_loop())
            scope["state"]["pool"] = len(self.started)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.loops.add(asyncio.get_running_loop())
        self.states.append(scope["state"]["pool"])
        await fine(scope, receive, send)


@contextmanager
def loop_left_running() -> Iterator[None]:
    """Mark a loop as running in this thread, as a greenlet does that was switched away from inside of it."""
    loop = asyncio.new_event_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(None)
        loop.close()


# ---- WSGI and event loops ----


def runs_a_loop(environ: Any, start_response: Any) -> list[bytes]:
    """Answer as an asynchronous view of Flask or Django does under WSGI."""

    async def view() -> bytes:
        await asyncio.sleep(0)
        return b"fine"

    body = asyncio.run(view())
    start_response("200 OK", [])
    return [body]


@pytest.mark.anyio
@pytest.mark.parametrize("fault", [None, "duplicate", "reset"])
async def test_a_wsgi_app_runs_outside_the_running_loop(fault: str | None) -> None:
    with EngageLab(Receiver.wsgi(runs_a_loop)) as engagelab:
        await engagelab.asend(scenario=["plan"], fault=fault)
        engagelab.send(scenario=["plan"], fault=fault)
        for attempt in engagelab.journal.attempts:
            assert attempt.exception is None
            assert attempt.acknowledged == (fault != "reset")


def test_a_wsgi_app_keeps_the_thread_of_a_test_without_a_loop() -> None:
    threads: list[threading.Thread] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        threads.append(threading.current_thread())
        start_response("200 OK", [])
        return []

    with EngageLab(Receiver.wsgi(app)) as engagelab:
        engagelab.send()
        engagelab.send_many(2, concurrency=1)
    assert {*threads} == {threading.current_thread()}


# ---- ASGI from threads ----


def test_two_threads_call_an_asgi_app_at_once() -> None:
    arrived: list[str] = []
    both = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        arrived.append(scope["path"])
        if len(arrived) == 2:
            both.set()
        await both.wait()
        await fine(scope, receive, send)

    receiver = Receiver.asgi(app, lifespan=False)
    with ThreadPoolExecutor(2) as pool:
        sent = [pool.submit(EngageLab(receiver).send, scenario=["plan"]) for _ in range(2)]
        assert all(each.result(PATIENCE).acknowledged for each in sent)
    receiver.close()


def test_threads_share_one_lifespan() -> None:
    shop = Shop()
    receiver = Receiver.asgi(shop)
    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(EngageLab(receiver).send, scenario=["plan"]) for _ in range(8)]
        assert all(each.result(PATIENCE).acknowledged for each in sent)
    receiver.close()
    assert shop.states == [1] * 8


def test_one_engine_sends_from_threads() -> None:
    with EngageLab(Receiver.asgi(fine, lifespan=False)) as engagelab, ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(engagelab.send, scenario=["plan"]) for _ in range(8)]
        assert all(each.result(PATIENCE).acknowledged for each in sent)


# ---- ASGI and loops ----


def test_a_loop_that_is_left_running_does_not_disturb() -> None:
    shop = Shop()
    with loop_left_running(), EngageLab(Receiver.asgi(shop)) as engagelab:
        assert engagelab.send("+6591234567").acknowledged
        assert len(engagelab.send_many(2)) == 2
        assert engagelab.clock.advance(60)
    assert len(shop.started) == 1


def closing_ways() -> list[Callable[[EngageLab], None]]:
    def by_block(engagelab: EngageLab) -> None:
        with engagelab:
            pass

    return [by_block, EngageLab.close, lambda engagelab: engagelab.receivers[0].close()]


@pytest.mark.parametrize("close", closing_ways())
def test_an_app_that_was_called_synchronously_is_closed_in_a_loop(close: Callable[[EngageLab], None]) -> None:
    shop = Shop()
    engagelab = EngageLab(Receiver.asgi(shop))
    engagelab.send(scenario=["plan"])

    async def test() -> None:
        await engagelab.asend(scenario=["plan"], check=False)
        close(engagelab)

    asyncio.run(test())
    [loop] = shop.started
    assert loop.is_closed()


@pytest.mark.asyncio
async def test_a_check_during_a_lifespan_starts_no_second_one() -> None:
    shop = Shop()
    receiver = Receiver.asgi(shop)
    with EngageLab(receiver) as engagelab:
        async with receiver.lifespan():
            report = await engagelab.acheck(only=["A01", "D03"])
            await engagelab.asend()
    assert report.findings
    assert shop.started == [asyncio.get_running_loop()]
    assert shop.loops == {asyncio.get_running_loop()}


@pytest.mark.anyio
async def test_a_thread_calls_the_app_in_the_loop_of_its_lifespan() -> None:
    receiver = Receiver.asgi(fine)
    engagelab = EngageLab(receiver)
    async with receiver.lifespan():
        run = await anyio.to_thread.run_sync(engagelab.send, "+6591234567")
    assert run.acknowledged


@pytest.mark.asyncio
async def test_a_thread_that_blocks_the_loop_of_the_lifespan_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engagelab_mock.delivery.transport.asgi._PATIENCE", 0.05)
    receiver = Receiver.asgi(Shop())
    engagelab = EngageLab(receiver)
    async with receiver.lifespan():
        with ThreadPoolExecutor(1) as pool, pytest.raises(UsageError, match="did nothing for") as caught:
            pool.submit(engagelab.send).result(PATIENCE)
    assert "await engagelab.asend(…)" in caught.value.hint


# ---- after a fork ----

FORKING = """
import asyncio, os, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from engagelab_mock import EngageLab, Receiver

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *given): pass

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        return await receive()
    await asyncio.to_thread(int)  # in a thread of the loop, which a fork does not copy
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})

def plain(environ, start_response):
    start_response("200 OK", [])
    return []

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
receivers = [Receiver.http(f"http://127.0.0.1:{server.server_port}/"), Receiver.asgi(app), Receiver.wsgi(plain)]
engines = [EngageLab(receiver) for receiver in receivers]

def use():
    for engine in engines:
        assert engine.send(scenario=["plan"]).acknowledged
        assert asyncio.run(engine.asend(scenario=["plan"])).acknowledged

use()
child = os.fork()
use()
for engine in engines:
    engine.close()
if not child:
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system cannot fork")
def test_a_forked_process_sends_as_its_parent_does() -> None:
    # In a new process: this one has threads that a fork would not copy.
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("0\n", "")
