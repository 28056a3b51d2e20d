"""The async twins of settling: an ASGI receiver runs in the test's own loop."""

from __future__ import annotations

import asyncio

import pytest

from engagelab_mock import EngageLab, NotAcknowledged, Receiver, UsageError
from tests.eventloops import answering
from tests.service.app import SENT
from tests.service.rest.client import TO, Client


@pytest.mark.anyio
async def test_an_asgi_receiver_is_called_in_the_loop() -> None:
    app = answering()
    with EngageLab(Receiver.asgi(app)) as engagelab:
        client = Client(engagelab)
        message_id = client.sent()
        client.verify(message_id, (await engagelab.ainbox(TO)).code)
        await engagelab.asettle()
        client.sent("+6591234568")
        await engagelab.clock.aadvance(minutes=5)
        assert engagelab.journal.statuses == [*SENT, "verified", *SENT, "verified_timeout"]


@pytest.mark.anyio
async def test_what_would_block_the_loop_is_refused_and_loses_nothing() -> None:
    with EngageLab(Receiver.asgi(answering())) as engagelab:
        Client(engagelab).sent()
        assert engagelab.journal.statuses == []
        with pytest.raises(UsageError, match="async twin"):
            engagelab.settle()
        await engagelab.asettle()
        assert engagelab.journal.statuses == SENT


@pytest.mark.anyio
async def test_a_failure_is_raised_at_the_line_that_awaits() -> None:
    with EngageLab(Receiver.asgi(answering(500))) as engagelab:
        client = Client(engagelab)
        client.sent()
        with pytest.raises(NotAcknowledged):
            await engagelab.asettle()
        client.sent("+6591234568")
        with pytest.raises(NotAcknowledged):
            await engagelab.asend(TO)
        await engagelab.asettle()


@pytest.mark.asyncio
async def test_two_tasks_that_settle_at_once_deliver_everything_once() -> None:
    with EngageLab(Receiver.asgi(answering(before=lambda: asyncio.sleep(0.001)))) as engagelab:
        client = Client(engagelab)

        async def work(number: int) -> None:
            client.sent(f"+65912345{number:02d}")
            await engagelab.asettle()

        await asyncio.gather(*map(work, range(10)))
        assert engagelab.journal.statuses.count("delivered") == 10
        assert len(engagelab.journal) == 30
