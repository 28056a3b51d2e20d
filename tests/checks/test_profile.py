"""The profile of a receiver: the callbacks that show how it works, and what its state holds."""

from __future__ import annotations

from collections import Counter
from typing import Any

from engagelab_mock import Receiver
from engagelab_mock.checks.context import Context
from engagelab_mock.checks.profile import ReceiverProfile
from tests.checks.observing import context_of
from tests.checks.receivers.correct import Refused
from tests.truth.receivers.in_memory import PlainStatus
from tests.truth.receivers.states import RemovedWhenDone, StatusAndTotals, TotalsOnly
from tests.truth.receivers.work import WorksInQueue


def test_one_callback_shows_how_a_receiver_works_that_works_before_it_answers() -> None:
    context = context_of(PlainStatus())
    assert (context.profile.status, context.profile.lag, context.profile.own) == ("delivered", 0.0, True)
    assert context.callbacks == 1
    context.settle()
    assert context.callbacks == 1


def test_after_settling_the_work_of_every_callback_in_a_queue_is_done() -> None:
    app = WorksInQueue()
    context = context_of(app)
    assert context.profile.lag > 0
    messages = [context.new_message() for _ in range(5)]
    for message in messages:
        context.send_valid(message, "sent")
    context.settle()
    assert [bool(app.observe(message.id)) for message in messages] == [True] * 5


class RefusesDelivered(PlainStatus):
    """Answer 409 to `delivered`, until `sent` has come."""

    status = 409

    def event(self, message_id: str, status: str, channel: str) -> None:
        if status == "delivered" and message_id not in self.statuses:
            self.known_events.discard((message_id, status, channel))
            raise Refused(self.status)
        super().event(message_id, status, channel)


def test_other_statuses_are_tried_if_the_first_is_refused() -> None:
    profile = context_of(RefusesDelivered()).profile
    assert (profile.refuses, profile.blind, profile.status) == ("", "", "verified")


def test_no_other_status_is_tried_if_the_sender_is_refused() -> None:
    context = context_of(PlainStatus(), secret="another")
    assert context.profile.refuses.startswith("answered 401 UNAUTHORIZED (it was signed as")
    assert context.callbacks == 1


def test_a_row_that_is_removed_when_the_message_is_done_is_seen_by_another_status() -> None:
    profile = context_of(RemovedWhenDone()).profile
    assert (profile.status, profile.lag, profile.blind) == ("sent", 0.0, "")


def test_what_all_messages_share_is_told_from_the_state_of_one() -> None:
    totals, beside = context_of(TotalsOnly()).profile, context_of(StatusAndTotals()).profile
    assert (totals.own, beside.own) == (False, True)
    assert beside.shared == {("known",)}


class ShowsItForAMoment(PlainStatus):
    """Return the state of each message once."""

    def observe(self, message_id: str) -> Any:
        return self.statuses.pop(message_id, None)


def test_an_effect_that_is_gone_at_the_second_look_is_not_judged() -> None:
    assert "for a short time only" in context_of(ShowsItForAMoment()).profile.blind


class ShowsItAtTheFourthLook(PlainStatus):
    """Work in the background, a little after the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: Counter[str] = Counter()

    def observe(self, message_id: str) -> Any:
        self.looks[message_id] += 1
        return super().observe(message_id) if self.looks[message_id] > 3 else None


def test_a_message_is_known_when_its_status_is_seen() -> None:
    context = context_of(ShowsItAtTheFourthLook())
    context._profile = ReceiverProfile()
    message = context.make_known(context.new_message())
    assert context.look(message).value == "delivered"


def test_every_message_has_another_recipient() -> None:
    context = Context(Receiver.recording())
    assert len({context.new_message().to for _ in range(500)}) == 500
