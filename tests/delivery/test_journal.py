"""The journal: opened before a request goes out, completed after, in the order of what happened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from engagelab_mock import Attempt, Delivery, EngageLab, InvalidRecipient, Journal, Outcome, Receiver, Refusal

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
