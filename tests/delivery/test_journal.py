"""The journal: opened before a request goes out, completed after it, in the order of the requests."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import (
    Attempt,
    Callback,
    Delivery,
    EngageLab,
    Headers,
    InvalidRecipient,
    Journal,
    Message,
    Outcome,
    Receiver,
    Refusal,
    UsageError,
)
from tests.receivers.refusing import refusing

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def test_an_entry_is_there_and_pending_while_the_receiver_works() -> None:
    journal = Journal()
    seen: list[tuple[int, Outcome]] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append((len(journal), journal.attempts[-1].outcome))
        start_response("200 OK", [])
        return []

    with EngageLab(Receiver.wsgi(app), journal=journal) as engagelab:
        engagelab.send(scenario=["plan", "sent"])
    assert seen == [(1, Outcome.PENDING), (2, Outcome.PENDING)]
    assert [attempt.outcome for attempt in journal.attempts] == [Outcome.ACKNOWLEDGED] * 2


def test_a_listener_is_told_of_each_completed_attempt() -> None:
    told: list[tuple[list[str], Outcome, int]] = []
    with EngageLab() as engagelab:

        def listen(delivery: Delivery, attempt: Attempt) -> None:
            told.append((delivery.statuses, attempt.outcome, len(engagelab.journal)))

        engagelab.journal.listeners.append(listen)
        engagelab.send(scenario=["plan", "sent"])
    assert told == [(["plan"], Outcome.ACKNOWLEDGED, 1), (["sent"], Outcome.ACKNOWLEDGED, 2)]


def test_deliveries_pings_and_refusals_stand_in_order() -> None:
    with EngageLab() as engagelab:
        engagelab.validate_address()
        with pytest.raises(InvalidRecipient):
            engagelab.send("nobody")
        engagelab.send("+6591234567", scenario=["plan", "sent"])
        journal = engagelab.journal
        assert [type(entry) for entry in journal] == [Delivery, Refusal, Delivery, Delivery]
        assert len(journal) == 4
        assert [delivery.statuses for delivery in journal.deliveries] == [[], ["plan"], ["sent"]]
        assert journal.statuses == ["plan", "sent"]
        assert [event.name for event in journal.events] == ["plan", "sent"]
        assert len(journal.attempts) == 3
        assert "'nobody' is not an E.164 phone number" in str(journal.refusals[0])
        journal.clear()
        assert list(journal) == []
        assert journal.statuses == []


def test_a_journal_can_be_shared() -> None:
    journal = Journal()
    for _ in range(2):
        with EngageLab(journal=journal) as engagelab:
            engagelab.send(scenario=["plan"])
    assert journal.statuses == ["plan", "plan"]


@pytest.mark.parametrize(
    ("filters", "statuses"),
    [
        ({"status": "sent"}, ["sent", "sent"]),
        ({"status": "insufficient_balance"}, ["insufficient_balance"]),
        ({"status": "sent_fail"}, []),
        ({"kind": "status"}, ["plan", "sent", "delivered"] * 2 + ["verified"]),
        ({"kind": "notification"}, ["insufficient_balance"]),
        ({"kind": "response"}, []),
        ({"to": "+6591234567"}, ["plan", "sent", "delivered"]),
        ({"to": "nobody@example.com"}, []),
        ({"outcome": "not_200"}, ["verified"]),
        ({"outcome": Outcome.ACKNOWLEDGED}, ["plan", "sent", "delivered"] * 2 + ["insufficient_balance"]),
        ({"status": "sent", "to": "user@example.com"}, ["sent"]),
        ({"status": "sent", "to": "user@example.com", "outcome": "not_200"}, []),
        ({"kind": "notification", "status": "sent"}, []),
    ],
)
def test_filters_choose_and_add_up(mixed: EngageLab, filters: Any, statuses: list[str]) -> None:
    assert mixed.journal.where(**filters).statuses == statuses


def test_without_filters_every_delivery_but_no_refusal_is_chosen(mixed: EngageLab) -> None:
    with pytest.raises(InvalidRecipient):
        mixed.send("nobody")
    assert list(mixed.journal.where()) == mixed.journal.deliveries
    assert len(mixed.journal) == len(mixed.journal.where()) + 1
    assert "not accepted: to: 'nobody' is not" in str(mixed.journal)
    assert "not accepted" not in str(mixed.journal.where())


def test_a_message_is_found_by_its_id(mixed: EngageLab) -> None:
    run = mixed.send("+6591234567", scenario="sent_failed")
    assert mixed.journal.where(message_id=run.message_id).deliveries == run.deliveries
    assert len(mixed.journal.where(message_id="0")) == 0


def test_receivers_are_told_apart() -> None:
    one, other = Receiver.recording(), Receiver.recording()
    with EngageLab([one, other]) as engagelab:
        engagelab.send(scenario=["plan"])
        engagelab.receiver = other
        engagelab.send(scenario=["plan"])
        assert [len(engagelab.journal.where(receiver=each)) for each in (one, other)] == [1, 2]
        assert len(engagelab.journal.where(receiver=Receiver.recording())) == 0


def test_a_callback_of_several_events_fits_by_any_of_them() -> None:
    with EngageLab() as engagelab:
        engagelab.send("+6591234567", batch="all")
        assert len(engagelab.journal.where(status="plan")) == 1
        assert len(engagelab.journal.where(status="verified")) == 1
        assert len(engagelab.journal.where(status="sent_failed")) == 0


@pytest.mark.parametrize(
    ("filters", "what"),
    [
        ({"statuss": "sent"}, r"unknown filter 'statuss'\n  hint: did you mean 'status'"),
        ({"status": "delivred"}, r"unknown status 'delivred'\n  hint: did you mean 'delivered'"),
        ({"kind": "notifications"}, r"unknown kind 'notifications'\n  hint: did you mean 'notification'"),
        ({"outcome": "timeot"}, r"unknown outcome 'timeot'\n  hint: did you mean 'timeout'"),
    ],
)
@pytest.mark.parametrize("method", ["where", "wait_for", "assert_delivered", "assert_nothing_sent"])
def test_a_misspelt_filter_is_refused(mixed: EngageLab, method: str, filters: dict[str, str], what: str) -> None:
    if method == "assert_delivered" and "outcome" in filters:
        what = "assert_delivered counts acknowledged deliveries only"
    with pytest.raises(UsageError, match=what):
        getattr(mixed.journal, method)(**filters)


def test_a_name_that_was_sent_can_be_asked_for() -> None:
    with EngageLab() as engagelab:
        event = Message(id="1", to="+6591234567").event("brand_new", at=0)
        engagelab.deliver([event])
        engagelab.journal.assert_delivered(status="brand_new", times=1)


def test_delivered_callbacks_are_returned_and_counted(mixed: EngageLab) -> None:
    journal = mixed.journal
    assert [each.statuses for each in journal.assert_delivered(to="+6591234567")] == [["plan"], ["sent"], ["delivered"]]
    assert len(journal.assert_delivered(status="sent", times=2)) == 2
    assert journal.assert_delivered(status="verified", times=0) == []
    assert journal.assert_delivered(status="sent_failed", times=0) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"status": "verified"},
            "no acknowledged delivery with status='verified'; the nearest is verified, whose outcome is not_200",
        ),
        (
            {"status": "sent", "to": "+6500000000"},
            "no acknowledged delivery with status='sent', to='+6500000000'; the nearest is sent, whose to is "
            "user@example.com",
        ),
        ({"status": "sent_failed", "to": "+6500000000"}, "no acknowledged delivery with status='sent_failed', to="),
        ({"status": "sent", "times": 1}, "2 times instead of 1: acknowledged delivery with status='sent'"),
        ({"status": "sent", "times": 0}, "2 times instead of 0"),
        ({"status": "verified", "times": 1}, "0 times instead of 1"),
        ({"status": "sent", "times": 3}, "2 times instead of 3"),
    ],
)
def test_a_missing_callback_fails_with_the_table_and_the_nearest_miss(
    mixed: EngageLab, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        mixed.journal.assert_delivered(**arguments)
    first, _, table = str(caught.value).partition("\n\n")
    assert first.startswith(message)
    assert table == str(mixed.journal)
    assert "answered 503 Busy" in table


@pytest.mark.parametrize("times", [-1, 1.0, True, "1"])
def test_a_number_of_times_is_one(mixed: EngageLab, times: Any) -> None:
    with pytest.raises(UsageError, match="times is a number from 0"):
        mixed.journal.assert_delivered(times=times)


class Watched(Delivery):
    """A delivery that counts how often its outcome is read."""

    looks: int = 0

    @property
    def outcome(self) -> Outcome:
        self.looks += 1
        return super().outcome


def watched(receiver: Receiver, message: Message, status: str) -> Watched:
    events = (message.event(status, at=0.0),)
    attempt = Attempt(1, 0.0, Callback(Headers(), b""), outcome=Outcome.ACKNOWLEDGED)
    return Watched(receiver, events, b"", message.id, attempts=[attempt])


@pytest.mark.parametrize("name", ["message_id", "to"])
def test_an_assertion_after_each_send_looks_at_the_deliveries_of_that_message_alone(name: str) -> None:
    journal, receiver = Journal(), Receiver.recording()
    sent: list[Watched] = []
    for number in range(100):
        message = Message(id=str(number), to=f"+65912345{number:02d}")
        for status in ("plan", "sent", "delivered"):
            sent.append(watched(receiver, message, status))
            journal.open(sent[-1])
        filters: Any = {name: message.id if name == "message_id" else message.to}
        assert journal.assert_delivered(status="delivered", times=1, **filters) == [sent[-1]]
        assert journal.where(**filters).statuses == ["plan", "sent", "delivered"]
    assert sum(delivery.looks for delivery in sent) <= len(sent)


def test_an_assertion_about_a_status_looks_at_the_deliveries_with_that_status_alone() -> None:
    journal, receiver, message = Journal(), Receiver.recording(), Message(id="1", to="+6591234567")
    others = [watched(receiver, message, "plan") for _ in range(100)]
    [delivered] = [watched(receiver, message, "delivered")]
    for delivery in [*others, delivered]:
        journal.open(delivery)
    assert journal.assert_delivered(status="delivered") == [delivered]
    assert sum(delivery.looks for delivery in others) == 0


def test_an_earlier_answer_does_not_outlive_a_cleared_journal() -> None:
    journal, receiver, message = Journal(), Receiver.recording(), Message(id="1", to="+6591234567")
    journal.open(watched(receiver, message, "plan"))
    journal.assert_delivered(status="plan", times=1)
    journal.clear()
    journal.assert_delivered(status="plan", times=0)
    for entries in range(1, 3):
        journal.open(watched(receiver, message, "plan"))
        journal.assert_delivered(status="plan", times=entries)
    del journal.entries[:]
    journal.assert_delivered(status="plan", times=0)


def test_an_outcome_that_comes_later_counts() -> None:
    journal = Journal()
    delivery = watched(Receiver.recording(), Message(id="1", to="+6591234567"), "plan")
    delivery.attempts[0].outcome = Outcome.PENDING
    journal.open(delivery)
    journal.assert_delivered(status="plan", times=0)
    delivery.attempts[0].outcome = Outcome.ACKNOWLEDGED
    journal.assert_delivered(status="plan", times=1)


def test_nothing_sent_holds_only_while_nothing_is() -> None:
    with EngageLab(Receiver.wsgi(refusing("plan"))) as engagelab:
        engagelab.journal.assert_nothing_sent()
        with pytest.raises(InvalidRecipient):
            engagelab.send("nobody")
        engagelab.journal.assert_nothing_sent()  # a refused message is not sent
        engagelab.send("+6591234567", scenario=["plan"], check=False)
        engagelab.journal.assert_nothing_sent(to="+6500000000")
        with pytest.raises(AssertionError, match=r"1 callback was sent, with to='\+6591234567'\n\n.*\n1  plan"):
            engagelab.journal.assert_nothing_sent(to="+6591234567")
        engagelab.validate_address()
        with pytest.raises(AssertionError, match="2 callbacks were sent\n"):
            engagelab.journal.assert_nothing_sent()


def test_an_exception_of_a_listener_reaches_the_sender_and_leaves_the_journal_whole() -> None:
    def object_to(delivery: Delivery, attempt: Attempt) -> None:
        if delivery.statuses == ["sent"]:
            raise LookupError("not that one")

    with EngageLab() as engagelab:
        engagelab.journal.listeners.append(object_to)
        with pytest.raises(LookupError, match="not that one"):
            engagelab.send()
        assert [attempt.outcome for attempt in engagelab.journal.attempts] == [Outcome.ACKNOWLEDGED] * 2


@pytest.mark.parametrize("limit", [None, 50])
def test_the_journal_is_read_while_others_write(limit: int | None) -> None:
    journal = Journal(limit)
    with EngageLab(journal=journal) as engagelab:
        sending = threading.Thread(target=lambda: engagelab.send_many(300, scenario="delivered", concurrency=4))
        sending.start()
        torn = 0
        while sending.is_alive():
            for delivery in journal.deliveries:
                torn += not delivery.attempts
                for attempt in delivery.attempts:
                    torn += attempt.outcome is not Outcome.PENDING and attempt.response is None
            assert len(list(journal)) <= (limit or 900)
            str(journal.where(status="sent", outcome="acknowledged"))
        sending.join()
    assert torn == 0
    assert len(journal) == (limit or 900)


def test_a_limit_forgets_the_oldest() -> None:
    with EngageLab(journal=Journal(limit=3)) as engagelab:
        first, last = engagelab.send(), engagelab.send()
        with pytest.raises(InvalidRecipient):
            engagelab.send("nobody")
        assert len(first.deliveries) == 4
        assert engagelab.journal.deliveries == last.deliveries[-2:]
        assert len(engagelab.journal.refusals) == 1


@pytest.mark.parametrize("limit", [0, -1, 2.5, "5", True, 10**20])
def test_a_limit_is_a_number_of_entries(limit: Any) -> None:
    with pytest.raises(UsageError, match="a limit is a number of entries from 1"):
        Journal(limit)


def test_a_long_table_keeps_the_end_and_the_failures() -> None:
    numbers = [f"+6591000{number:03d}" for number in range(300)]
    with EngageLab(Receiver.wsgi(refusing("delivered"))) as engagelab:
        for number in numbers:
            engagelab.send(
                number, scenario=["plan"] if number[-2:] != "07" else ["plan", "sent", "delivered"], check=False
            )
        with pytest.raises(AssertionError) as caught:
            engagelab.journal.assert_delivered(status="verified")
        lines = str(caught.value).splitlines()
        assert len(lines) < 120
        assert sum(" 503 " in line for line in lines) == 3
        assert "… 9 more" in lines
        assert lines[-1].split()[:3] == ["306", "plan", "+6591000299"]
        assert len(str(engagelab.journal).splitlines()) == 307
