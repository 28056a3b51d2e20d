"""Several sends awaited in one loop, interruptions, and blocking verbs in a running loop, which are refused."""

from __future__ import annotations

import json
import threading
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.to_thread
import pytest

from engagelab_mock import (
    EngageLab,
    NotAcknowledged,
    Outcome,
    Receiver,
    UsageError,
    VirtualClock,
)
from engagelab_mock.errors import InvalidDelay
from tests.eventloops import START, answering, asgi
from tests.patience import PATIENCE
from tests.peers import Peer
from tests.real.conftest import SCENARIOS

# ---- several in one loop ----


class Moments:
    """An app that yields to its loop, and notes at which virtual time each status arrived."""

    def __init__(self, refused: str = "") -> None:
        self.engagelab: EngageLab | None = None
        self.seen: list[tuple[str, str, float]] = []
        self.refused = refused

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        [row] = json.loads((await receive())["body"])["rows"]
        assert self.engagelab is not None
        arrived = self.engagelab.clock.time() - START
        for _ in range(5):
            await anyio.sleep(0)
        assert self.engagelab.clock.time() - START == arrived  # time does not pass while an answer is awaited
        self.seen.append((row["to"], row["status"]["message_status"], arrived))
        status = 500 if row["to"] == self.refused else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.anyio
async def test_two_sends_at_once_share_time_and_both_complete() -> None:
    app = Moments()
    runs: dict[str, Any] = {}
    with EngageLab(asgi(app), clock=VirtualClock(START)) as engagelab:
        app.engagelab = engagelab

        async def send(to: str, scenario: str) -> None:
            runs[to] = await engagelab.asend(to, scenario=scenario)
            assert runs[to].statuses == SCENARIOS[scenario]  # complete when it returns

        async with anyio.create_task_group() as group:
            for number, scenario in enumerate(["verified", "delivered", "sent_failed", "verified"]):
                group.start_soon(send, f"+659123456{number}", scenario)
    assert all(run.acknowledged for run in runs.values())
    assert [at for *_, at in app.seen] == sorted(at for *_, at in app.seen)
    assert {at for _, status, at in app.seen if status == "plan"} == {0}
    assert {at for _, status, at in app.seen if status == "verified"} == {20}


_SENDER: ContextVar[str] = ContextVar("sender")


@pytest.mark.anyio
async def test_each_send_calls_the_app_from_its_own_task() -> None:
    """A task that is cancelled, or has context variables, must not carry the callbacks of another."""
    seen: list[tuple[str, str]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        [row] = json.loads((await receive())["body"])["rows"]
        seen.append((row["to"], _SENDER.get()))
        await anyio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with EngageLab(asgi(app), clock=VirtualClock(START)) as engagelab:

        async def send(to: str) -> None:
            _SENDER.set(to)
            await engagelab.asend(to)

        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(send, f"+659123456{number}")
    assert len(seen) == 16
    assert [(to, sender) for to, sender in seen if to != sender] == []


@pytest.mark.anyio
async def test_an_error_is_raised_in_the_send_whose_it_is() -> None:
    app = Moments(refused="+6591234561")
    raised: dict[str, BaseException | None] = {}
    with EngageLab(asgi(app), clock=VirtualClock(START)) as engagelab:
        app.engagelab = engagelab

        async def send(to: str) -> None:
            raised[to] = None
            try:
                run = await engagelab.asend(to)
                assert run.statuses == SCENARIOS["verified"]
            except NotAcknowledged as error:
                raised[to] = error

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(send, f"+659123456{number}")
        assert engagelab.pending == []
    assert [type(raised[f"+659123456{number}"]) for number in range(3)] == [type(None), NotAcknowledged, type(None)]


@pytest.mark.anyio
async def test_a_send_that_is_cancelled_does_not_hold_up_another() -> None:
    reached = anyio.Event()

    async def before() -> None:
        if not reached.is_set():
            reached.set()
            await anyio.sleep(3600)

    with EngageLab(asgi(answering(before=before), limit=None)) as engagelab:
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()

            async def cancelled() -> None:
                with scope:
                    await engagelab.asend("+6591234561")

            group.start_soon(cancelled)
            await reached.wait()
            runs: list[Any] = []

            async def other() -> None:
                runs.append(await engagelab.asend("+6591234562"))

            group.start_soon(other)
            await anyio.sleep(0)
            scope.cancel()
        assert runs[0].statuses == SCENARIOS["verified"]
        assert engagelab.journal.where(outcome="abandoned").statuses == ["plan"]
        assert engagelab.pending == []


@pytest.mark.anyio
async def test_a_receiver_may_send_while_it_is_being_delivered_to() -> None:
    nested: list[Any] = []

    async def before() -> None:
        if not nested:
            nested.append(None)
            await anyio.sleep(0)
            nested.append(await engagelab.asend("+6591234562", scenario="delivered"))

    with EngageLab(asgi(answering(before=before))) as engagelab:
        with anyio.fail_after(PATIENCE):
            run = await engagelab.asend("+6591234561", scenario="delivered")
    assert run.statuses == nested[1].statuses == SCENARIOS["delivered"]


# ---- interruptions ----


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["asgi", "http"])
async def test_a_send_that_is_cancelled_leaves_its_attempt_but_nothing_stuck(way: str) -> None:
    reached, over = threading.Event(), threading.Event()

    async def hang() -> None:
        reached.set()
        await anyio.sleep_forever()

    def listen(conversation: Any) -> None:
        conversation.request()
        reached.set()
        over.wait(PATIENCE)

    with Peer(listen) as peer:
        receiver = (
            asgi(answering(before=hang), limit=None) if way == "asgi" else Receiver.http(peer.url, limit=PATIENCE)
        )
        with EngageLab(receiver) as engagelab:
            scope = anyio.CancelScope()

            async def send() -> None:
                with scope:
                    await engagelab.asend("+6591234567", retry=[1])

            with anyio.fail_after(PATIENCE):
                async with anyio.create_task_group() as group:
                    group.start_soon(send)
                    assert await anyio.to_thread.run_sync(reached.wait, PATIENCE)
                    scope.cancel()
            assert scope.cancelled_caught
            [attempt] = engagelab.journal.attempts
            assert attempt.outcome is Outcome.ABANDONED
            assert attempt.error.startswith("the sender was stopped before it had the answer: Cancelled")
            assert engagelab.pending == []
            await engagelab.clock.aadvance(days=1)
            assert len(engagelab.journal.attempts) == 1
        over.set()
        if way == "asgi":  # the peer's script ends only after a connection
            import socket

            socket.create_connection(("127.0.0.1", peer.port)).close()


# ---- a blocking verb in a loop ----


@pytest.mark.anyio
@pytest.mark.parametrize(
    "verb", ["send", "notify", "uplink", "system_event", "deliver", "validate_address", "send_many"]
)
async def test_a_blocking_verb_in_a_loop_is_refused_before_anything_is_sent(verb: str) -> None:
    arguments: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "send": (["+6591234567"], {"retry": [5]}),
        "notify": (["insufficient_balance"], {}),
        "uplink": (["+6591234567"], {"body": "STOP"}),
        "system_event": (["account_login"], {}),
        "deliver": ([[]], {}),
        "validate_address": ([], {}),
        "send_many": ([3], {}),
    }
    args, options = arguments[verb]
    with EngageLab(asgi(answering())) as engagelab:
        if verb == "deliver":
            args = [[engagelab.account.notification("insufficient_balance", at=START)]]
        with pytest.raises(UsageError, match="inside a running event loop") as caught:
            getattr(engagelab, verb)(*args, **options)
        assert "`await engagelab.asend(...)`" in caught.value.hint
        assert engagelab.journal.deliveries == []
        assert engagelab.pending == []
        assert engagelab.receiver.state == "unvalidated"


@pytest.mark.anyio
async def test_advancing_in_a_loop_is_refused_before_anything_is_sent() -> None:
    with EngageLab(asgi(answering())) as engagelab:
        await engagelab.asend("+6591234567", scenario="delivered")
        with pytest.raises(UsageError, match=r"(?s)inside a running event loop.*clock\.aadvance"):
            engagelab.clock.advance(minutes=5)
        assert engagelab.journal.statuses == SCENARIOS["delivered"]
        assert len(engagelab.journal.refusals) == 1


@pytest.mark.anyio
async def test_time_passes_in_the_loop_and_cannot_go_back() -> None:
    with EngageLab(asgi(answering()), clock=VirtualClock(START)) as engagelab:
        await engagelab.asend("+6591234567", scenario="delivered")
        assert await engagelab.clock.aadvance_to(START + 300) == START + 300
        assert engagelab.journal.statuses[-1] == "verified_timeout"
        with pytest.raises(InvalidDelay, match="cannot go back"):
            await engagelab.clock.aadvance_to(START)
