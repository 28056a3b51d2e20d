"""`send_many` together with earlier messages, several receivers, retries, and handlers that call the API."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count

import pytest

from engagelab_mock import EngageLab, Journal, NotAcknowledged, Receiver, UsageError, VirtualClock
from tests.eventloops import answering
from tests.service.app import SENT, App, in_threads
from tests.service.rest.client import TO, Client


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def engagelab(app: App) -> Iterator[EngageLab]:
    with EngageLab(Receiver.wsgi(app), clock=VirtualClock(0), code_ttl=None) as engagelab:
        yield engagelab


def test_earlier_messages_are_sent_first(app: App, engagelab: EngageLab) -> None:
    message_id = Client(engagelab).sent()
    runs = engagelab.send_many(3, scenario="delivered", concurrency=1)
    assert [row[0] for row in app.rows[:3]] == [message_id] * 3
    assert [app.of(run.message_id) for run in runs] == [SENT] * 3


def test_the_failure_of_an_earlier_message_is_raised_before_anything_is_sent(app: App, engagelab: EngageLab) -> None:
    app.status = "500 Oops"
    Client(engagelab).sent()
    with pytest.raises(NotAcknowledged):
        engagelab.send_many(3)
    assert app.statuses == ["plan"]
    app.status = "200 OK"
    assert len(engagelab.send_many(3, scenario="delivered")) == 3


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_handler_may_call_the_api_meanwhile(app: App, engagelab: EngageLab, concurrency: int) -> None:
    client, number, lock = Client(engagelab), count(), threading.Lock()
    ids: list[str] = []

    def handle(status: str) -> None:
        with lock:
            more = status == "plan" and len(ids) < 10
            if more:
                ids.append(client.sent(f"+6592{next(number):06d}"))

    app.handle = handle
    runs = engagelab.send_many(8, scenario="delivered", concurrency=concurrency)
    engagelab.settle()
    assert [app.of(run.message_id) for run in runs] == [SENT] * 8
    assert [app.of(message_id) for message_id in ids] == [SENT] * len(ids)
    assert len(ids) >= 8


def test_each_receiver_gets_every_message_in_order() -> None:
    apps = [App(), App()]
    with EngageLab([Receiver.wsgi(app) for app in apps], code_ttl=None) as engagelab:
        runs = engagelab.send_many(10, scenario="delivered", concurrency=4)
        for app in apps:
            assert [app.of(run.message_id) for run in runs] == [SENT] * 10
        assert [len(run.deliveries) for run in runs] == [6] * 10


def test_each_message_has_its_own_retries_at_its_own_times(app: App, engagelab: EngageLab) -> None:
    app.status = "503 Busy"
    runs = engagelab.send_many(6, scenario=["plan"], retry=[10, 20], check=False, concurrency=3)
    for run in runs:
        [delivery] = run.deliveries
        assert [attempt.at for attempt in delivery.attempts] == [0, 10, 30]
        assert delivery.given_up
    assert engagelab.clock.time() == 30


def test_a_batch_has_the_events_of_one_message(app: App, engagelab: EngageLab) -> None:
    runs = engagelab.send_many(5, batch="all", concurrency=2)
    for run in runs:
        assert [delivery.statuses for delivery in run.deliveries] == [["plan", "sent", "delivered", "verified"]]


def test_after_a_refusal_nothing_is_pending(engagelab: EngageLab) -> None:
    with pytest.raises(UsageError):
        engagelab.send_many(3, scenario="verfied")
    with pytest.raises(UsageError):
        engagelab.send_many(3, to=[TO, "nobody"])
    assert engagelab.pending == []
    assert engagelab.journal.deliveries == []
    assert len(engagelab.send_many(2, scenario="delivered")) == 2


@pytest.mark.parametrize(
    "code_ttl",
    [
        300,
        None,
    ],
)
def test_the_code_of_each_message_can_be_entered(app: App, code_ttl: float | None) -> None:
    with EngageLab(Receiver.wsgi(app), code_ttl=code_ttl) as engagelab:
        runs = engagelab.send_many(5, scenario="delivered", concurrency=3)
        assert {message.message_id for message in engagelab.inbox()} == {run.message_id for run in runs}
        client = Client(engagelab)
        for message in engagelab.inbox():
            assert client.verify(message.message_id, message.code).content["verified"] is True
        engagelab.settle()
        engagelab.clock.advance(days=1)
        assert [app.of(run.message_id) for run in runs] == [[*SENT, "verified"]] * 5


def test_a_journal_with_a_limit_keeps_the_latest_entries(app: App) -> None:
    with EngageLab(Receiver.wsgi(app), journal=Journal(limit=4), code_ttl=None) as engagelab:
        runs = engagelab.send_many(20, scenario="delivered", concurrency=4)
        assert [(run.statuses, run.acknowledged) for run in runs] == [(SENT, True)] * 20
        assert len(engagelab.journal) == 4


def test_two_threads_may_send_many_at_once(app: App, engagelab: EngageLab) -> None:
    engagelab.begin_send(scenario="lost")
    engagelab.settle()
    ids: list[str] = []

    def work() -> None:
        ids.extend(run.message_id for run in engagelab.send_many(10, scenario="delivered", concurrency=3))

    in_threads(work, work)
    assert {tuple(app.of(message_id)) for message_id in ids} == {tuple(SENT)}
    assert len(ids) == 20


@pytest.mark.anyio
async def test_an_event_loop_settles_before_too() -> None:
    with EngageLab(Receiver.asgi(answering()), code_ttl=None) as engagelab:
        message_id = Client(engagelab).sent()
        runs = await engagelab.asend_many(4, scenario="delivered", concurrency=2)
        assert [delivery.message_id for delivery in engagelab.journal.deliveries][:3] == [message_id] * 3
        assert [run.statuses for run in runs] == [SENT] * 4
