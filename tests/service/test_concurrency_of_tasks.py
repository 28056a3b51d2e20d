"""Several tasks use one EngageLab at once: each callback goes out once and in order."""

from __future__ import annotations

import asyncio

import anyio
import anyio.to_thread
import pytest

from engagelab_mock import EngageLab, Receiver, Run, VirtualClock
from tests.eventloops import answering
from tests.patience import PATIENCE
from tests.service.app import SENT
from tests.service.at_once import complete, numbers
from tests.service.rest.client import Client

pytestmark = pytest.mark.usefixtures("switch_often")


@pytest.mark.anyio
async def test_tasks_that_send_settle_and_look_deliver_everything_once_and_in_order() -> None:
    to = numbers()
    with EngageLab(Receiver.asgi(answering(before=lambda: anyio.sleep(0))), code_ttl=None) as engagelab:
        client = Client(engagelab)
        runs: list[Run] = []

        async def work() -> None:
            mine = to()
            client.sent(mine)
            await engagelab.asettle()
            assert (await engagelab.ainbox(mine)).code
            run = await engagelab.asend(mine, scenario="delivered")
            complete(run)
            runs.append(run)

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                for _ in range(10):
                    group.start_soon(work)
        assert engagelab.journal.statuses.count("delivered") == 20
        assert len(engagelab.journal) == 60
        for run in runs:
            assert engagelab.journal.where(message_id=run.message_id).statuses == SENT


@pytest.mark.anyio
async def test_a_task_that_is_cancelled_while_it_settles_leaves_the_rest_to_the_next() -> None:
    reached, go_on = anyio.Event(), anyio.Event()

    async def before() -> None:
        reached.set()
        await go_on.wait()

    with EngageLab(Receiver.asgi(answering(before=before), limit=None), code_ttl=None) as engagelab:
        first, second = engagelab.begin_send(scenario="delivered"), engagelab.begin_send(scenario="delivered")
        scope = anyio.CancelScope()

        async def settle() -> None:
            with scope:
                await engagelab.asettle()

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(settle)
                await reached.wait()
                scope.cancel()
            go_on.set()
            await engagelab.asettle()
        complete(second)
        assert first.statuses == SENT
        assert [delivery.outcome for delivery in first.deliveries] == ["abandoned", "acknowledged", "acknowledged"]


@pytest.mark.anyio
async def test_a_thread_calls_the_api_while_a_task_settles() -> None:
    to = numbers()
    with EngageLab(Receiver.asgi(answering(before=lambda: anyio.sleep(0))), code_ttl=None) as engagelab:
        client = Client(engagelab)

        def call() -> None:
            for _ in range(20):
                client.sent(to())

        async def settle() -> None:
            for _ in range(20):
                await engagelab.asettle()

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.to_thread.run_sync, call)
                group.start_soon(settle)
            await engagelab.asettle()
        assert engagelab.journal.statuses.count("delivered") == 20


@pytest.mark.asyncio
async def test_many_sends_at_once_pass_time_once() -> None:
    with EngageLab(Receiver.asgi(answering(before=lambda: asyncio.sleep(0))), clock=VirtualClock(0)) as engagelab:
        runs = await asyncio.gather(*(engagelab.asend(scenario="delivered") for _ in range(50)))
        assert engagelab.clock.time() == 5
    for run in runs:
        complete(run)
