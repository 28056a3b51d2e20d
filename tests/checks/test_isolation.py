"""Messages with nothing but their second in common have their own states; totals of a recipient are not a mix-up."""

from __future__ import annotations

from typing import Any

import pytest

from engagelab_mock import EngageLab, Judgement
from tests.checks.receivers.correct import Refused
from tests.truth.receivers.in_memory import InMemory, PlainStatus, receiver_of


class KnowsEventsByTheirSecond(PlainStatus):
    """Take the same status in the same second for a duplicate, even of another message."""

    def keep(self, db: Any, message_id: str, status: str, detail: str) -> None:
        key = str(self.row.get("itime")), status
        if key not in self.known_events:
            self.known_events.add(key)
            self.event(message_id, status, detail)

    def observe(self, message_id: str) -> Any:
        return {"status": self.statuses.get(message_id, "")}


class CountsTheEventsOfASecond(KnowsEventsByTheirSecond):
    """Show a number instead of a status."""

    def observe(self, message_id: str) -> Any:
        return {"progress": len(self.statuses.get(message_id, ""))}


@pytest.mark.parametrize("kind", [KnowsEventsByTheirSecond, CountsTheEventsOfASecond])
def test_an_event_lost_to_another_message_of_the_same_second_is_found(kind: type[InMemory]) -> None:
    with EngageLab(receiver_of(kind())) as engagelab:
        # The checks before it send events, too.
        finding = engagelab.check(only=["C01", "C06", "C08", "C09", "C15", "C16"]).finding("C16")
    assert finding.verdict is Judgement.FAIL
    assert finding.reason.startswith("of two messages that had sent in the same second, the second has not its own")


class RefusesASecondMessage(PlainStatus):
    """Answer 401 to the callbacks of a second message to a recipient."""

    def __init__(self) -> None:
        super().__init__()
        self.first: dict[str, str] = {}

    def event(self, message_id: str, status: str, channel: str) -> None:
        if self.first.setdefault(self.row["to"], message_id) != message_id:
            raise Refused(401)
        super().event(message_id, status, channel)


def test_a_receiver_that_refuses_valid_callbacks_is_not_judged() -> None:
    with EngageLab(receiver_of(RefusesASecondMessage())) as engagelab:
        finding = engagelab.check(only=["C16"]).finding("C16")
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert finding.reason == "a valid callback: answered 401 UNAUTHORIZED"


def test_the_meaning_is_still_proved_if_messages_of_one_second_are_mixed_up() -> None:
    receiver = receiver_of(KnowsEventsByTheirSecond(), terminal="verified")
    with EngageLab(receiver) as engagelab:
        report = engagelab.check(only=["C16", "F04"])
    assert report.finding("C16").verdict is Judgement.FAIL
