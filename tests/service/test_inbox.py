"""What a phone or a mailbox received."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import anyio
import pytest

from engagelab_mock import ApiServer, EngageLab, InvalidRecipient, Journal, LiveClock, NothingReceived, UsageError
from tests.patience import PATIENCE
from tests.service.rest.client import TO, Client


@pytest.fixture
def engagelab() -> Iterator[EngageLab]:
    with EngageLab() as engagelab:
        yield engagelab


def test_delivered_messages_are_listed_oldest_first(engagelab: EngageLab) -> None:
    first = engagelab.send(TO, template="login")
    second = engagelab.send(TO, scenario="delivered")
    engagelab.send("user@example.com", scenario="delivered")
    inbox = engagelab.inbox(TO)
    assert [message.message_id for message in inbox] == [first.message_id, second.message_id]
    assert (inbox.code, inbox.text) == (inbox[-1].code, inbox[-1].text)
    assert (inbox[0].template, inbox[0].channel, inbox[0].to) == ("login", "sms", TO)
    assert int(inbox[0].at) == first.events[2].itime
    assert [message.channel for message in engagelab.inbox()] == ["sms", "sms", "email"]
    assert len(inbox[:1]) == 1
    assert inbox[0] in inbox


@pytest.mark.parametrize(
    "scenario", ["sent_failed", "delivered_failed", "target_invalid", "lost", "fallback_exhausted"]
)
def test_a_failed_message_is_not_in_the_inbox(engagelab: EngageLab, scenario: str) -> None:
    engagelab.send(TO, scenario=scenario)
    assert list(engagelab.inbox(TO)) == []


def test_the_channel_is_the_one_that_delivered(engagelab: EngageLab) -> None:
    engagelab.send(TO, scenario="fallback")
    assert engagelab.inbox(TO)[0].channel == "sms"


def test_codes_are_the_seed_s_and_each_message_s_own() -> None:
    def codes(seed: str) -> list[str]:
        with EngageLab(seed=seed) as engagelab:
            engagelab.send_many(5, concurrency=3)
            return sorted(message.code for message in engagelab.inbox())

    assert codes("a") == codes("a") != codes("b")
    assert len(set(codes("a"))) == 5


def test_a_batch_arrives_too(engagelab: EngageLab) -> None:
    with engagelab.batch():
        engagelab.send(TO)
    assert len(engagelab.inbox(TO)) == 1


def test_a_message_is_accepted_as_soon_as_it_is_sent(engagelab: EngageLab) -> None:
    run = engagelab.send(TO)
    assert [accepted.message.id for accepted in engagelab.accepted] == [run.message_id]
    begun = engagelab.begin_send(TO)
    engagelab.send_many(2, concurrency=2)
    assert len(engagelab.accepted) == 4
    assert begun.message_id in engagelab.accepted
    engagelab.reset()
    assert len(engagelab.accepted) == 0


def test_the_inbox_grows_when_messages_arrive(engagelab: EngageLab) -> None:
    inbox = engagelab.inbox(TO)
    assert len(inbox) == 0
    engagelab.send(TO)
    assert len(inbox) == 1


class TestNothing:
    """Errors name the messages that did arrive, their recipients, and the next step."""

    def test_nothing_at_all(self, engagelab: EngageLab) -> None:
        with pytest.raises(NothingReceived, match="nothing was sent to any recipient") as caught:
            _ = engagelab.inbox(TO).code
        assert ".wait()" in caught.value.hint

    def test_something_for_another_recipient(self, engagelab: EngageLab) -> None:
        engagelab.send("+6591234568")
        with pytest.raises(NothingReceived, match=r"messages went to \+6591234568") as caught:
            _ = engagelab.inbox(TO).text
        assert "in the same way" in caught.value.hint

    def test_something_that_failed(self, engagelab: EngageLab) -> None:
        engagelab.send(TO, scenario="delivered_failed")
        with pytest.raises(NothingReceived, match=r"accepted: \d+, delivered_failed \(5012\)"):
            _ = engagelab.inbox(TO).latest

    def test_something_that_is_due(self) -> None:
        with EngageLab(clock=LiveClock()) as engagelab:
            engagelab.begin_send(TO)
            with pytest.raises(NothingReceived, match=r"due in [0-9.]+ s"):
                _ = engagelab.inbox(TO).code

    def test_a_message_without_a_code(self, engagelab: EngageLab) -> None:
        Client(engagelab).send_custom(template="note")
        with pytest.raises(NothingReceived, match="has no code"):
            _ = engagelab.inbox(TO).code

    def test_too_few(self, engagelab: EngageLab) -> None:
        engagelab.send(TO)
        with pytest.raises(NothingReceived, match="1 of 2 messages have arrived within 0 s"):
            engagelab.inbox(TO).wait(timeout=0, count=2)

    def test_it_fails_the_test_like_an_assertion(self) -> None:
        assert issubclass(NothingReceived, AssertionError)

    def test_an_invalid_recipient_is_refused(self, engagelab: EngageLab) -> None:
        with pytest.raises(UsageError, match="did you mean '\\+6591234567'"):
            engagelab.inbox("+65 9123 4567")
        with pytest.raises(UsageError, match="from 1"):
            engagelab.inbox().wait(count=0)
        assert len(engagelab.journal.refusals) == 1


def test_wait_waits_for_an_app_in_another_thread(engagelab: EngageLab) -> None:
    waiting = threading.Event()

    def send() -> None:
        assert waiting.wait(PATIENCE)
        Client(engagelab).send()

    app = threading.Thread(target=send)
    app.start()
    inbox = engagelab.inbox(TO)
    waiting.set()
    assert inbox.wait(timeout=PATIENCE).to == TO
    app.join()


@pytest.mark.parametrize("to", ["91234567", "9123 4567", "6591234567", "065-91234567"])
def test_a_number_without_country_code_gets_the_recipient_that_it_is_of(engagelab: EngageLab, to: str) -> None:
    with pytest.raises(InvalidRecipient) as caught:
        engagelab.inbox(to)
    assert "did you mean" not in caught.value.hint
    engagelab.send("+6591234567")
    with pytest.raises(InvalidRecipient) as caught:
        engagelab.inbox(to)
    assert caught.value.hint == "did you mean '+6591234567'? A message went there"


@pytest.mark.parametrize("to", ["91234567", "4567", "", "user"])
def test_no_recipient_is_suggested_if_none_or_several_fit(engagelab: EngageLab, to: str) -> None:
    engagelab.send("+6591234567")
    engagelab.send("+4491234567")
    with pytest.raises(InvalidRecipient) as caught:
        engagelab.inbox(to)
    assert "did you mean" not in caught.value.hint


def test_wait_waits_for_a_live_clock() -> None:
    with EngageLab(clock=LiveClock(speed=50)) as engagelab, ApiServer(engagelab):
        Client(engagelab).sent()
        assert len(engagelab.inbox(TO)) == 0
        assert engagelab.inbox(TO).wait(timeout=PATIENCE).code


@pytest.mark.anyio
async def test_await_waits_in_an_event_loop(engagelab: EngageLab) -> None:
    async def send() -> None:
        Client(engagelab).send()

    inbox = await engagelab.ainbox(TO)
    async with anyio.create_task_group() as group:
        group.start_soon(send)  # it begins when this task first waits
        assert (await inbox.await_(timeout=PATIENCE)).to == TO
    with pytest.raises(NothingReceived, match="within 0 s"):
        await inbox.await_(timeout=0, count=2)


def test_each_recipient_keeps_its_messages_in_order_while_the_oldest_of_all_are_forgotten() -> None:
    recipients = [f"+65912345{number:02d}" for number in range(3)]
    with EngageLab(keep=5) as engagelab:
        sent = [(to, engagelab.send(to, scenario="delivered").message_id) for _ in range(4) for to in recipients]
        for to in recipients:
            expected = [message_id for each, message_id in sent[-5:] if each == to]
            assert [message.message_id for message in engagelab.inbox(to)] == expected
        engagelab.reset()
        assert [len(engagelab.inbox(to)) for to in recipients] == [0, 0, 0]


def test_keep_limits_the_inbox_too() -> None:
    with EngageLab(journal=Journal(limit=2)) as engagelab:
        sent = [engagelab.send(TO, scenario="delivered").message_id for _ in range(5)]
        assert [message.message_id for message in engagelab.inbox(TO)] == sent[-2:]
