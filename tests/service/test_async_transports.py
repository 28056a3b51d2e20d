"""Awaiting by each transport, and awaiting the journal."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from fastapi import FastAPI

from engagelab_mock import (
    EngageLab,
    NotAcknowledged,
    Outcome,
    Receiver,
    SystemClock,
    fault,
)
from tests.eventloops import answering, asgi
from tests.patience import PATIENCE
from tests.peers import Peer, answer

if TYPE_CHECKING:
    pass


# ---- by each transport ----


@pytest.mark.anyio
async def test_over_a_socket_the_loop_stays_free() -> None:
    answered: list[str] = []
    may_answer = threading.Event()

    def script(conversation: Any) -> None:
        conversation.request()
        assert may_answer.wait(PATIENCE)
        conversation.say(answer())

    with Peer(script) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        async with anyio.create_task_group() as group:

            async def send() -> None:
                assert (await engagelab.asend(scenario=["plan"])).acknowledged
                answered.append("plan")

            group.start_soon(send)
            while not peer.requests:
                await anyio.sleep(0)  # the loop runs while the receiver takes its time
            assert answered == []
            may_answer.set()
    assert answered == ["plan"]


@pytest.mark.anyio
async def test_over_a_socket_a_failure_is_raised_at_the_await() -> None:
    with EngageLab(Receiver.http("http://127.0.0.1:1/")) as engagelab:
        with pytest.raises(NotAcknowledged, match="connection refused"):
            await engagelab.asend("+6591234567")
        assert engagelab.pending == []


@pytest.mark.anyio
async def test_many_at_once() -> None:
    under_way, most = 0, 0

    async def before() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await anyio.sleep(0)
        under_way -= 1

    with EngageLab(asgi(answering(before=before))) as engagelab:
        runs = await engagelab.asend_many(20, scenario="delivered", concurrency=5)
    assert len(runs) == 20
    assert all(run.acknowledged for run in runs)
    assert 1 < most <= 5


@pytest.mark.anyio
async def test_duplicates_arrive_at_once() -> None:
    together = 0
    arrived = anyio.Event()

    async def before() -> None:
        nonlocal together
        together += 1
        if together == 3:
            arrived.set()
        await arrived.wait()

    with EngageLab(asgi(answering(before=before))) as engagelab:
        run = await engagelab.asend(scenario=["plan"], fault=fault("duplicate", copies=3))
    assert [attempt.acknowledged for attempt in run.deliveries[0].attempts] == [True] * 3


@pytest.mark.anyio
async def test_an_app_that_hangs_is_a_timeout_and_one_that_raises_is_seen() -> None:
    async def hang() -> None:
        await anyio.sleep(3600)

    async def fail() -> None:
        await anyio.sleep(0)
        raise LookupError("no such message")

    with EngageLab(asgi(answering(before=hang), limit=0.1)) as engagelab:
        with pytest.raises(NotAcknowledged, match=r"no complete answer within 0\.1 s") as caught:
            await engagelab.asend("+6591234567")
        assert caught.value.delivery.outcome is Outcome.TIMEOUT
    with (
        EngageLab(asgi(answering(before=fail))) as engagelab,
        pytest.raises(NotAcknowledged, match="the app raised LookupError: no such message"),
    ):
        await engagelab.asend("+6591234567")


@pytest.mark.anyio
async def test_an_apps_own_cancel_scopes_are_left_in_order() -> None:
    async def before() -> None:
        with anyio.move_on_after(0.01):
            await anyio.sleep(3600)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)

    with EngageLab(asgi(answering(before=before))) as engagelab:
        assert (await engagelab.asend("+6591234567")).acknowledged


@pytest.mark.anyio
async def test_a_sync_endpoint_runs_in_the_frameworks_threads() -> None:
    app = FastAPI()
    threads: list[threading.Thread] = []

    @app.post("/engagelab")
    def view() -> None:
        threads.append(threading.current_thread())

    with EngageLab(asgi(app)) as engagelab:
        assert (await engagelab.asend(scenario=["plan"])).acknowledged
    assert threads[0] is not threading.current_thread()


@pytest.mark.anyio
async def test_real_time_leaves_the_loop_free() -> None:
    ticks: list[int] = []
    with EngageLab(asgi(answering()), clock=SystemClock(speed=10)) as engagelab:
        async with anyio.create_task_group() as group:

            async def tick() -> None:
                while True:
                    ticks.append(1)
                    await anyio.sleep(0.001)

            group.start_soon(tick)
            run = await engagelab.asend("+6591234567", scenario="delivered")  # 5 s
            group.cancel_scope.cancel()
    assert run.acknowledged
    after = [delivery.attempts[0].at - run.message.accepted for delivery in run.deliveries]
    assert all(waited >= due for waited, due in zip(after, [0, 2, 5], strict=True))
    assert len(ticks) > 1


# ---- the journal ----


@pytest.mark.anyio
async def test_the_journal_is_awaited_while_another_task_sends() -> None:
    with EngageLab(asgi(answering())) as engagelab:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: engagelab.asend("+6591234567"))
            delivery = await engagelab.journal.await_for(status="verified", timeout=PATIENCE)
    assert delivery.statuses == ["verified"]
    assert engagelab.journal.listeners == []


@pytest.mark.anyio
async def test_the_journal_is_awaited_while_another_thread_sends() -> None:
    with EngageLab() as engagelab:
        journal, waiting = engagelab.journal, threading.Event()

        def send() -> None:
            assert waiting.wait(PATIENCE)
            engagelab.send()

        thread = threading.Thread(target=send)
        thread.start()
        waiting.set()
        await journal.await_for(status="verified", timeout=PATIENCE)
        thread.join()


@pytest.mark.anyio
async def test_a_callback_that_never_comes_fails_with_the_journal_s_table() -> None:
    with EngageLab() as engagelab:
        await engagelab.asend("+6591234567", scenario=["plan"])
        with pytest.raises(
            AssertionError, match=r"(?s)no acknowledged delivery with status='sent' within 0\.02 s.*plan"
        ):
            await engagelab.journal.await_for(status="sent", timeout=0.02)
        with anyio.move_on_after(0.02) as scope:
            await engagelab.journal.await_for(status="sent", timeout=3600)
        assert scope.cancelled_caught  # at once: nothing is left that waits for an hour
        assert engagelab.journal.listeners == []
