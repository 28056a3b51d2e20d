"""`send_many`: every message is sent, each in order, at the same time, and with the same content in every run."""

from __future__ import annotations

import asyncio
import socketserver
import threading
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import EngageLab, Journal, Receiver, Run, SystemClock, UsageError, decode
from engagelab_mock.server.loopback import LoopbackServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
from tests.patience import PATIENCE
from tests.service.bulk import MANY, AsyncGate, Gate


def content(runs: list[Run]) -> list[tuple[str, str, list[str]]]:
    return [(run.message_id, run.to, run.statuses) for run in runs]


def consistent(journal: Journal, runs: list[Run]) -> bool:
    """Tell whether the journal has every delivery of every run once, each message's in order, none half done."""
    by_message: dict[str, list[str]] = {}
    for delivery in journal.deliveries:
        by_message.setdefault(delivery.message_id, []).extend(delivery.statuses)
    assert by_message == {run.message_id: run.statuses for run in runs}
    assert Counter(map(id, journal.deliveries)) == Counter(id(each) for run in runs for each in run.deliveries)
    return all(attempt.response is not None and attempt.acknowledged for attempt in journal.attempts)


@pytest.mark.parametrize("concurrency", [1, 3, 16, 200])
def test_the_runs_are_the_same_at_any_concurrency(concurrency: int) -> None:
    with EngageLab(seed="many") as engagelab, EngageLab(seed="many") as other:
        runs = engagelab.send_many(50, scenario="fallback", concurrency=concurrency)
        assert content(runs) == content(other.send_many(50, scenario="fallback", concurrency=2))
        assert consistent(engagelab.journal, runs)
        assert len({run.message_id for run in runs}) == 50
        assert {run.message.business_id for run in runs} == {engagelab.account.business_id}
        recorder = engagelab.receiver.recorder
        assert recorder is not None
        assert all(received.verdict for received in recorder.received)
        assert len({received.headers["X-CALLBACK-ID"].split(";")[1] for received in recorder.received}) == 300


def test_each_call_sends_new_messages_and_changes_no_others() -> None:
    with EngageLab(seed=1) as engagelab, EngageLab(seed=1) as other:
        first, second = engagelab.send_many(5, concurrency=2), engagelab.send_many(5, concurrency=2)
        assert not {run.message_id for run in first} & {run.message_id for run in second}
        assert engagelab.send().message_id == other.send().message_id


def test_threads_call_a_wsgi_app_concurrently() -> None:
    gate = Gate(4)
    with EngageLab(Receiver.wsgi(gate, limit=PATIENCE)) as engagelab:
        runs = engagelab.send_many(8, scenario=["plan", "sent"], concurrency=4)
        assert consistent(engagelab.journal, runs)
    assert gate.most == 4


def test_concurrency_is_the_limit() -> None:
    gate = Gate(2)
    with EngageLab(Receiver.wsgi(gate, limit=PATIENCE)) as engagelab:
        engagelab.send_many(6, scenario=["plan"], concurrency=2)
    assert gate.most == 2


def test_an_asgi_app_is_called_concurrently_in_its_own_loop() -> None:
    gate = AsyncGate(8)
    with EngageLab(Receiver.asgi(gate, limit=PATIENCE)) as engagelab:
        runs = engagelab.send_many(16, scenario=["plan", "sent"], concurrency=8)
        assert consistent(engagelab.journal, runs)
        assert gate.lifespan == ["startup"]
    assert gate.most == 8
    assert gate.lifespan == ["startup", "shutdown"]


def test_threads_reach_an_http_receiver_at_once() -> None:
    gate = Gate(MANY)
    with LoopbackServer(gate) as server, EngageLab(Receiver.http(server.url, limit=PATIENCE)) as engagelab:
        assert consistent(engagelab.journal, engagelab.send_many(MANY, scenario=["plan"], concurrency=MANY))
    assert gate.most == MANY


@pytest.mark.asyncio
async def test_an_event_loop_reaches_an_http_receiver_at_once() -> None:
    gate = Gate(MANY)
    with LoopbackServer(gate) as server, EngageLab(Receiver.http(server.url, limit=PATIENCE)) as engagelab:
        runs = await engagelab.asend_many(MANY, scenario=["plan"], concurrency=MANY)
        assert consistent(engagelab.journal, runs)
    assert gate.most == MANY


@pytest.mark.asyncio
async def test_an_asgi_app_is_called_in_the_running_event_loop() -> None:
    gate = AsyncGate(8)
    with EngageLab(Receiver.asgi(gate, limit=PATIENCE), seed=3) as engagelab, EngageLab(seed=3) as other:
        runs = await engagelab.asend_many(16, scenario=["plan"], concurrency=8)
        assert consistent(engagelab.journal, runs)
        assert content(runs) == content(other.send_many(16, scenario=["plan"]))
    assert gate.most == 8
    assert gate.lifespan == []  # it is the test's


def test_recipients_are_taken_in_turn() -> None:
    with EngageLab(defaults={"to": "+6590000000"}) as engagelab:
        runs = engagelab.send_many(5, to=["+6591234567", "user@example.com"], scenario=["plan"], concurrency=3)
        assert [run.to for run in runs] == ["+6591234567", "user@example.com"] * 2 + ["+6591234567"]
        assert {run.to for run in engagelab.send_many(2, scenario=["plan"])} == {"+6590000000"}


def test_a_count_of_zero_is_allowed() -> None:
    with EngageLab() as engagelab:
        before = engagelab.clock.time()
        assert engagelab.send_many(0) == []
        assert engagelab.clock.time() == before
        engagelab.journal.assert_nothing_sent()


@pytest.mark.parametrize("count", [0, 2])
def test_validating_the_options_leaves_no_message_behind(count: int) -> None:
    with EngageLab() as engagelab:
        with pytest.raises(UsageError):
            engagelab.send_many(count, scenario="delivered", total="3")  # type: ignore[arg-type]
        assert engagelab.send_many(0, scenario="delivered") == []
        assert list(engagelab.inbox()) == []
        assert len(engagelab.accepted) == 0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"count": -1}, "count is a number from 0, not -1"),
        ({"count": 2.0}, "count is a number from 0"),
        ({"count": True}, "count is a number from 0"),
        ({"count": 1, "concurrency": 0}, "concurrency is a number from 1, not 0"),
        ({"count": 1, "to": []}, "to is a list of recipients"),
        ({"count": 1, "to": "+6591234567"}, "to is a list of recipients"),
        ({"count": 1, "to": iter(["+6591234567"])}, "to is a list of recipients"),
        ({"count": 3, "to": ["+6591234567", "nobody"]}, r"send_many, to\[1\]: 'nobody' is not an E.164"),
        ({"count": 3, "scenario": "verfied"}, "did you mean 'verified'"),
        ({"count": 0, "scenaro": "verified"}, "did you mean 'scenario'"),
    ],
)
def test_wrong_arguments_are_refused_once_before_anything_is_sent(arguments: dict[str, Any], what: str) -> None:
    with EngageLab(seed=1) as engagelab, EngageLab(seed=1) as other:
        with pytest.raises(UsageError, match=what):
            engagelab.send_many(**arguments)
        assert len(engagelab.journal.refusals) == 1
        engagelab.journal.assert_nothing_sent()
        assert engagelab.pending == []
        assert content(engagelab.send_many(2)) == content(other.send_many(2))


def test_send_many_is_refused_in_a_batch() -> None:
    with EngageLab() as engagelab, engagelab.batch(), pytest.raises(UsageError, match="cannot be sent concurrently"):
        engagelab.send_many(2)


def test_two_asgi_apps_are_refused_if_they_cannot_share_a_loop() -> None:
    receivers = [Receiver.asgi(AsyncGate(1)), Receiver.asgi(AsyncGate(1))]
    with EngageLab(receivers) as engagelab:
        with pytest.raises(UsageError, match="asend_many"):
            engagelab.send_many(2, scenario=["plan"])
        runs = asyncio.run(engagelab.asend_many(2, scenario=["plan"], concurrency=1))
        assert [len(run.deliveries) for run in runs] == [2, 2]


def test_the_clock_ends_at_the_last_message_with_all_expiries_pending() -> None:
    with EngageLab() as engagelab:
        start = engagelab.clock.time()
        runs = engagelab.send_many(20, scenario="delivered", concurrency=5)
        assert engagelab.clock.time() == start + 5  # plan, 2 s, sent, 3 s, delivered
        assert [timer.at for timer in engagelab.pending] == [start + 300] * 20
        engagelab.clock.advance(minutes=5)
        assert engagelab.pending == []
        assert {run.statuses[-1] for run in runs} == {"verified_timeout"}
        late = engagelab.journal.where(status="verified_timeout")
        assert [delivery.message_id for delivery in late.deliveries] == [run.message_id for run in runs]
        assert {attempt.at for attempt in late.attempts} == {start + 300}


def test_pending_callbacks_of_a_message_move_to_the_engines_clock() -> None:
    answers = iter(["200 OK", "200 OK", "200 OK", "500 Broken", "500 Broken", "200 OK"])

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(next(answers), [])
        return []

    with EngageLab(Receiver.wsgi(app)) as engagelab:
        start = engagelab.clock.time()
        [run] = engagelab.send_many(1, scenario="delivered", retry=[60, 600])
        engagelab.clock.advance(hours=1)
        expiry = run.deliveries[-1]
        assert [attempt.at - start for attempt in expiry.attempts] == [300, 360, 960]
        assert expiry.acknowledged
        assert engagelab.pending == []


def test_callbacks_that_become_due_meanwhile_are_sent() -> None:
    with EngageLab(code_ttl=6) as engagelab:
        early = engagelab.send("+6591234567", scenario="delivered")
        engagelab.send_many(2, scenario="verified")
        assert early.statuses[-1] == "verified_timeout"


@pytest.mark.asyncio
async def test_callbacks_that_become_due_meanwhile_are_sent_in_the_event_loop() -> None:
    with EngageLab(Receiver.asgi(AsyncGate(1)), code_ttl=6) as engagelab:
        early = await engagelab.asend("+6591234567", scenario="delivered")
        await engagelab.asend_many(2, scenario="verified")
        assert early.statuses[-1] == "verified_timeout"


def test_messages_are_sent_concurrently_in_real_time() -> None:
    together = threading.Barrier(8)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        if b'"verified"' in environ["wsgi.input"].read():
            # Sent one after the other, no message would get past its last callback.
            together.wait(10)
        start_response("200 OK", [])
        return []

    with EngageLab(Receiver.wsgi(app, limit=None), clock=SystemClock(speed=1000)) as engagelab:
        before = engagelab.clock.time()
        runs = engagelab.send_many(8, concurrency=8)
        assert consistent(engagelab.journal, runs)
        assert all(run.message.accepted >= before for run in runs)


def test_connections_are_kept_alive_and_closed_at_the_end() -> None:
    opened, closed, together = threading.Semaphore(0), threading.Semaphore(0), threading.Barrier(6)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            opened.release()
            together.wait(PATIENCE)
            while self.rfile.readline():
                lines = [line.lower() for line in iter(self.rfile.readline, b"\r\n")]
                self.rfile.read(next(int(line[15:]) for line in lines if line.startswith(b"content-length:")))
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            closed.release()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        with EngageLab(Receiver.http(f"http://127.0.0.1:{server.server_address[1]}", limit=PATIENCE)) as engagelab:
            assert consistent(engagelab.journal, engagelab.send_many(30, concurrency=6))
        assert [closed.acquire(timeout=PATIENCE) for _ in range(6)] == [True] * 6
        assert [opened.acquire(blocking=False) for _ in range(7)] == [True] * 6 + [False]
        server.shutdown()
        serving.join(PATIENCE)


def test_the_bodies_are_those_of_the_runs() -> None:
    with EngageLab() as engagelab:
        runs = engagelab.send_many(10, concurrency=5, batch="all", custom_args={"flow": "signup"})
        recorder = engagelab.receiver.recorder
        assert recorder is not None
        sent = [list(decode(received.body).rows) for received in recorder.received]
        assert sorted(sent, key=str) == sorted((run.events for run in runs), key=str)
