"""The async twins of settling: an ASGI receiver runs in the test's own loop."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable

import anyio
import pytest

from engagelab_mock import EngageLab, LiveClock, NotAcknowledged, Receiver, Scenario, UsageError
from engagelab_mock.service.inbox import Inbox
from tests.eventloops import answering
from tests.service.app import SENT, App
from tests.service.rest.client import TO, Client

MESSAGE = json.dumps({"to": TO, "template": {"id": "login"}}).encode()


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
async def test_a_call_that_would_block_the_loop_is_refused_and_loses_nothing() -> None:
    with EngageLab(Receiver.asgi(answering())) as engagelab:
        Client(engagelab).sent()
        with pytest.raises(UsageError, match="async twin"):
            engagelab.settle()
        await engagelab.asettle()
        assert engagelab.journal.statuses == SENT


# ---- readers that would find nothing because nothing could happen ----

READERS: dict[str, tuple[Callable[[EngageLab], object], str]] = {
    "journal": (lambda engagelab: engagelab.journal, "await engagelab.asettle()"),
    "inbox": (lambda engagelab: engagelab.inbox(), "await engagelab.ainbox(…)"),
    "inbox of one": (lambda engagelab: engagelab.inbox(TO), "await engagelab.ainbox(…)"),
    "pending": (lambda engagelab: engagelab.pending, "await engagelab.asettle()"),
}
ACCEPTING: dict[str, Callable[[EngageLab], object]] = {
    "begin_send": lambda engagelab: engagelab.begin_send(TO, scenario="delivered"),
    "api": lambda engagelab: Client(engagelab).sent(),
    "api, not yet answered": lambda engagelab: Client(engagelab).request("POST", "/v1/messages", MESSAGE),
}


@pytest.mark.anyio
@pytest.mark.parametrize("how", ACCEPTING)
@pytest.mark.parametrize("reader", READERS)
async def test_a_reader_that_would_miss_waiting_callbacks_names_the_call_to_await(reader: str, how: str) -> None:
    read, twin = READERS[reader]
    with EngageLab(Receiver.asgi(answering())) as engagelab:
        read(engagelab)
        ACCEPTING[how](engagelab)
        for _ in range(2):
            with pytest.raises(UsageError, match=re.escape(twin)) as caught:
                read(engagelab)
        assert caught.value.where == reader.split()[0]
        await engagelab.asettle()
        read(engagelab)
        assert engagelab.journal.statuses == SENT
        assert engagelab.journal.refusals == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "read",
    [len, lambda inbox: inbox.code, lambda inbox: inbox[-1], lambda inbox: inbox.wait()],
    ids=["len", "code", "item", "wait"],
)
async def test_an_inbox_from_before_does_not_miss_waiting_callbacks_either(read: Callable[[Inbox], object]) -> None:
    with EngageLab(Receiver.asgi(answering())) as engagelab:
        inbox = await engagelab.ainbox(TO)
        Client(engagelab).sent()
        with pytest.raises(UsageError, match=r"await engagelab\.ainbox"):
            read(inbox)
        await inbox.await_()
        read(inbox)


@pytest.mark.anyio
async def test_callbacks_due_later_are_pending() -> None:
    with EngageLab(Receiver.asgi(answering())) as engagelab:
        run = engagelab.begin_send(TO, scenario=Scenario("late").then("plan", after=5))
        assert [timer.label for timer in engagelab.pending] == [f"plan of {run.message_id}"]
        with pytest.raises(UsageError):
            _ = engagelab.journal
        await engagelab.clock.aadvance(5)
        assert run.statuses == ["plan"]
        await engagelab.asend(TO, scenario="delivered")
        assert [timer.label.split()[0] for timer in engagelab.pending] == ["verified_timeout"]


@pytest.mark.anyio
async def test_withdrawn_and_forgotten_callbacks_are_not_waiting() -> None:
    with EngageLab(Receiver.asgi(answering())) as engagelab:
        engagelab.begin_send(TO)
        for timer in engagelab.clock.pending:
            timer.cancel()
        assert (list(engagelab.inbox()), engagelab.pending) == ([], [])
        engagelab.begin_send(TO)
        for timer in engagelab.clock.pending:
            timer.cancel()
        assert engagelab.journal.statuses == []
        engagelab.begin_send(TO)
        engagelab.reset()
        assert engagelab.journal.statuses == []


@pytest.mark.anyio
async def test_a_handler_may_read_while_its_own_callback_is_delivered() -> None:
    seen: list[tuple[int, int, int]] = []

    async def before() -> None:
        seen.append((len(lab.journal), len(lab.inbox()), len(lab.pending)))

    with EngageLab(Receiver.asgi(answering(before=before)), code_ttl=None) as lab:
        lab.begin_send(TO, scenario="delivered")
        await lab.asettle()
        await lab.asend(TO, scenario="delivered")
        assert seen == [(1, 0, 2), (2, 0, 1), (3, 1, 0), (4, 1, 2), (5, 1, 1), (6, 2, 0)]


@pytest.mark.anyio
async def test_a_task_may_look_while_another_one_sends() -> None:
    under_way, go_on = anyio.Event(), anyio.Event()

    async def before() -> None:
        under_way.set()
        await go_on.wait()

    with EngageLab(Receiver.asgi(answering(before=before)), code_ttl=None) as engagelab:
        engagelab.begin_send(TO, scenario="delivered")
        engagelab.begin_send(TO, scenario=["plan"])
        async with anyio.create_task_group() as group:
            group.start_soon(engagelab.asettle)
            await under_way.wait()
            assert engagelab.journal.statuses == ["plan"]
            # The second message's plan is due, and will be sent.
            assert [timer.label.split()[0] for timer in engagelab.pending] == ["plan", "sent", "delivered"]
            # The inbox promises that everything was sent.
            with pytest.raises(UsageError, match="ainbox"):
                engagelab.inbox()
            go_on.set()
            await engagelab.journal.await_for(status="delivered")
        assert engagelab.inbox(TO).code


@pytest.mark.anyio
@pytest.mark.parametrize("reader", READERS)
async def test_receivers_that_are_called_synchronously_are_called_in_a_loop_too(reader: str) -> None:
    app = App()
    with EngageLab(Receiver.wsgi(app)) as engagelab:
        engagelab.begin_send(TO, scenario="delivered")
        READERS[reader][0](engagelab)
        assert app.statuses == ([] if reader == "pending" else SENT)
        assert engagelab.journal.statuses == SENT


@pytest.mark.anyio
async def test_on_a_clock_that_moves_by_itself_a_reader_only_looks() -> None:
    with EngageLab(Receiver.asgi(answering()), clock=LiveClock()) as engagelab:
        engagelab.begin_send(TO)
        assert engagelab.journal.statuses == []
        assert list(engagelab.inbox()) == []
        assert engagelab.pending


def test_without_a_loop_an_inbox_from_before_has_the_newer_messages() -> None:
    with EngageLab() as engagelab:
        inbox = engagelab.inbox(TO)
        Client(engagelab).sent()
        assert len(inbox) == 1
        assert inbox.code


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
