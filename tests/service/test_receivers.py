"""Several receivers: who gets what, whose address is usable, and whose failure it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from engagelab_mock import (
    CATALOGUE,
    EngageLab,
    InvalidSettings,
    NotAcknowledged,
    Receiver,
    Recorder,
    UnknownName,
    UsageError,
)
from engagelab_mock.protocol.event_table import EVENTS
from engagelab_mock.server.loopback import LoopbackServer


def listening(events: Sequence[str] = (), *, answer: int = 200, description: str = "") -> tuple[Receiver, Recorder]:
    recorder = Recorder(answer=answer)
    return Receiver.wsgi(recorder, events=events, description=description), recorder


def names(recorder: Recorder) -> list[str]:
    return [status for received in recorder.received for status in received.statuses]


def send_everything(engagelab: EngageLab) -> list[str]:
    """Send an event of every name; return the names in order."""
    for known in EVENTS.values():
        eval(known.call, {"engagelab": engagelab})
    return engagelab.journal.statuses


# --- Who gets what


def test_every_receiver_gets_everything_unless_told_otherwise() -> None:
    (one, ones), (two, twos) = listening(), listening()
    with EngageLab([one, two]) as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered")
    assert names(ones) == names(twos) == ["plan", "sent", "delivered"]
    assert [delivery.receiver for delivery in run.deliveries] == [one, two] * 3


def test_receivers_of_different_events_make_one_list_of_statuses() -> None:
    with EngageLab([listening(["sent", "plan"])[0], listening(["delivered"])[0]]) as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered")
    assert run.statuses == ["plan", "sent", "delivered"]
    assert len(run.deliveries) == 3


@pytest.mark.parametrize("scenario", ["delivered", "fallback"])
@pytest.mark.parametrize(("first", "batch"), [([], 1), ([], 2), ([], "all"), (["plan", "delivered"], 1)])
@pytest.mark.parametrize("dialect", ["2023-03", "newer"])
def test_two_receivers_double_the_deliveries_but_not_the_statuses(
    first: list[str], batch: Any, scenario: str, dialect: str
) -> None:
    with EngageLab([listening(first)[0], listening()[0]], dialect=dialect) as engagelab:
        run = engagelab.send("+6591234567", scenario=scenario, batch=batch)
        assert run.statuses == CATALOGUE[scenario].statuses
        assert [event.name for event in run.events] == run.statuses
        assert len(run.deliveries) == len(engagelab.journal.deliveries) > len({d.body for d in run.deliveries})


@pytest.mark.parametrize(
    "ticked",
    [
        ["status"],
        ["notification"],
        ["response"],
        ["system_event"],
        ["delivered"],
        ["sent_failed", "uplink_message"],
        ["plan", "notification", "key_manage"],
        [*EVENTS],
    ],
    ids=lambda ticked: f"{len(ticked)} of {ticked[0]}",
)
def test_an_event_goes_only_to_receivers_that_ticked_it(ticked: list[str]) -> None:
    (everything, all_of_it), (some, part) = listening(), listening(ticked)
    with EngageLab([some, everything]) as engagelab:
        send_everything(engagelab)
    sent = names(all_of_it)
    assert set(EVENTS) <= set(sent)
    assert names(part) == [name for name in sent if name in ticked or EVENTS[name].kind in ticked]
    assert part.received


def test_an_event_that_no_receiver_ticked_is_not_sent() -> None:
    receiver, recorder = listening(["delivered"])
    with EngageLab(receiver) as engagelab:
        assert engagelab.notify("insufficient_balance") == []
        run = engagelab.send("+6591234567", scenario="sent_failed")
        engagelab.journal.assert_nothing_sent()
    assert run.deliveries == []
    assert recorder.received == []


def test_in_a_batch_each_receiver_gets_its_own_rows_and_their_number() -> None:
    (one, ones), (two, twos), (three, threes) = listening(["sent", "notification"]), listening(), listening(["read"])
    with EngageLab([one, two, three]) as engagelab:
        with engagelab.batch():
            engagelab.send("+6591234567", scenario="delivered")
            engagelab.notify("insufficient_balance")
        engagelab.send("+6591234567", scenario="delivered", batch="all")
    assert [received.statuses for received in ones.received] == [["sent", "insufficient_balance"], ["sent"]]
    assert [received.statuses for received in twos.received] == [
        ["plan", "sent", "delivered", "insufficient_balance"],
        ["plan", "sent", "delivered"],
    ]
    assert threes.received == []
    for recorder in (ones, twos):
        for received in recorder.received:
            body = json.loads(received.body)
            assert body["total"] == len(body["rows"]) == len(received.statuses)


def test_a_tick_means_the_status_however_the_dialect_spells_it() -> None:
    (one, ones), (two, twos) = listening(["sent_failed"]), listening(["delivered"])
    with EngageLab([one, two], dialect="newer") as engagelab:
        engagelab.send("+6591234567", scenario="sent_failed")
    assert names(ones) == ["sent_fail"]
    assert twos.received == []


@pytest.mark.parametrize(
    ("events", "error", "told"),
    [
        (["deliverd"], UnknownName, "did you mean 'delivered'?"),
        (["sent_fail"], UnknownName, "did you mean 'sent_failed'?"),
        (["notifications"], UnknownName, "did you mean 'notification'?"),
        (["unknown"], UnknownName, "unknown callback event 'unknown'"),
        ([7], UnknownName, "unknown callback event 7"),
        ("delivered", InvalidSettings, "events is a list of names, not 'delivered'"),
        (None, InvalidSettings, "events is a list of names, not None"),
    ],
)
def test_events_that_cannot_be_ticked(events: Any, error: type[UsageError], told: str) -> None:
    with pytest.raises(error) as caught:
        Receiver.wsgi(Recorder(), events=events)
    assert told in str(caught.value)
    with pytest.raises(error):
        Receiver.recording(events=events)
    with pytest.raises(error):
        Receiver.recording().with_settings(events=events)
    with pytest.raises(error):
        Receiver.http("http://127.0.0.1:1/", events=events)


def test_each_has_its_own_settings_over_its_own_transport() -> None:
    ours, theirs = Recorder(username="acme", secret="s3cret"), Recorder(authorization="Bearer token")
    with LoopbackServer(theirs) as server:
        receivers = [
            Receiver.wsgi(ours, "/hooks", username="acme", secret="s3cret", events=["status"]),
            Receiver.http(f"{server.url}/engagelab", authorization="Bearer token", events=["delivered", "response"]),
        ]
        with EngageLab(receivers) as engagelab:
            engagelab.send("+6591234567", scenario="delivered")
            engagelab.uplink("+6591234567", body="STOP")
    assert names(ours) == ["plan", "sent", "delivered"]
    assert names(theirs) == ["delivered", "uplink_message"]
    for received in ours.received:
        assert "username=acme;" in received.headers["X-CALLBACK-ID"]
        assert "Authorization" not in received.headers
    for received in theirs.received:
        assert received.headers["Authorization"] == "Bearer token"
        assert "X-CALLBACK-ID" not in received.headers


@pytest.mark.asyncio
async def test_asend_goes_to_the_same() -> None:
    (one, ones), (two, twos) = listening(["sent"]), listening()
    with EngageLab([one, two]) as engagelab:
        await engagelab.asend("+6591234567", scenario="delivered")
    assert (names(ones), names(twos)) == (["sent"], ["plan", "sent", "delivered"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("http://127.0.0.1:1/", "'http://127.0.0.1:1/' is not a Receiver"),
        (["http://127.0.0.1:1/"], "'http://127.0.0.1:1/' is not a Receiver"),
        (7, "7 is not a Receiver"),
        ([Receiver.recording(), None], "None is not a Receiver"),
    ],
)
def test_a_value_that_is_not_a_receiver(given: Any, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        EngageLab(given)
    assert told in str(caught.value)
    assert "Receiver.wsgi(app" in caught.value.hint


# --- When one of them fails


def test_one_that_fails_does_not_keep_the_others_from_getting_theirs_when_not_checked() -> None:
    (bad, bads), (good, goods) = listening(answer=500), listening()
    with EngageLab([bad, good]) as engagelab:
        run = engagelab.send("+6591234567", scenario="delivered", check=False)
    assert names(goods) == names(bads) == ["plan", "sent", "delivered"]
    assert [delivery.acknowledged for delivery in run.deliveries] == [False, True] * 3
    assert not run.acknowledged


def test_checked_it_stops_everything_at_the_first_that_fails() -> None:
    (good, goods), (bad, _), (last, lasts) = listening(), listening(answer=500), listening()
    with EngageLab([good, bad, last]) as engagelab:
        with pytest.raises(NotAcknowledged) as caught:
            engagelab.send("+6591234567", scenario="delivered")
        assert caught.value.delivery.receiver is bad
        engagelab.clock.advance(days=1)
    assert names(goods) == ["plan"]
    assert lasts.received == []


def test_each_delivery_is_retried_by_itself() -> None:
    (bad, bads), (good, goods) = listening(answer=500), listening()
    with EngageLab([bad, good]) as engagelab:
        run = engagelab.send("+6591234567", scenario=["plan"], retry=[60, 60], check=False)
    assert [len(delivery.attempts) for delivery in run.deliveries] == [3, 1]
    assert (len(bads.received), len(goods.received)) == (3, 1)


def test_a_delivery_that_is_given_up_withdraws_the_retries_of_the_rest() -> None:
    (one, ones), (two, twos) = listening(answer=500), listening(answer=500)
    with EngageLab([one, two]) as engagelab:
        with pytest.raises(NotAcknowledged):
            engagelab.send("+6591234567", scenario="delivered", retry=[60])
        sent = len(ones.received) + len(twos.received)
        assert engagelab.pending == []
        engagelab.clock.advance(days=1)
    assert len(ones.received) + len(twos.received) == sent


def test_a_failure_names_whose_it_was() -> None:
    (good, _), (bad, _) = listening(description="billing"), listening(answer=500, description="audit log")
    with EngageLab([good, bad]) as engagelab:
        with pytest.raises(NotAcknowledged, match=r"^plan was not acknowledged by 'audit log': answered 500"):
            engagelab.send("+6591234567")
        head, first, second = str(engagelab.journal).splitlines()
        assert head.split()[:3] == ["#", "event", "receiver"]
        assert "billing" in first
        assert "audit log" in second
        assert "'billing'" in repr(engagelab)
        assert "'audit log'" in repr(bad)


def test_receivers_without_a_description_are_told_apart_by_their_addresses() -> None:
    one, two = Receiver.wsgi(Recorder(), "/one"), Receiver.wsgi(Recorder(answer=500), "/two")
    with EngageLab([one, two]) as engagelab:
        with pytest.raises(NotAcknowledged, match="request: POST http://testserver/two"):
            engagelab.send("+6591234567")
        assert "http://testserver/two" in str(engagelab.journal).splitlines()[2]
        assert "receiver" not in str(engagelab.journal.where(receiver=one)).splitlines()[0]


# --- Addresses


def test_saving_validates_only_the_new_address() -> None:
    (old, olds), (new, news) = listening(), listening()
    with EngageLab(old) as engagelab:
        delivery = engagelab.save_receiver(new)
        assert engagelab.receivers == [old, new]
        assert (delivery.receiver, delivery.acknowledged, delivery.events) == (new, True, ())
        assert (old.state, new.state) == ("unvalidated", "normal")
        assert [received.body for received in news.received] == [b""]
        assert olds.received == []
        engagelab.send("+6591234567", scenario=["plan"])
    assert names(olds) == names(news) == ["plan"]


def test_an_account_can_start_without_a_receiver() -> None:
    receiver, recorder = listening()
    with EngageLab([]) as engagelab:
        assert engagelab.send("+6591234567").deliveries == []
        with pytest.raises(UsageError, match="it has no receiver yet"):
            engagelab.validate_address()
        assert len(engagelab.journal.refusals) == 1
        engagelab.save_receiver(receiver)
        engagelab.send("+6591234567", scenario=["plan"])
    assert names(recorder) == ["plan"]


@pytest.mark.parametrize("answer", [204, 302, 401, 500])
def test_an_address_that_does_not_answer_200_is_saved_as_abnormal(answer: int) -> None:
    receiver, _ = listening(answer=answer)
    with EngageLab([]) as engagelab:
        assert not engagelab.save_receiver(receiver).acknowledged
        assert engagelab.receivers == [receiver]
    assert receiver.state == "abnormal"


def test_saving_again_validates_again_and_adds_nothing() -> None:
    receiver, recorder = listening(answer=500)
    with EngageLab(receiver) as engagelab:
        engagelab.save_receiver(receiver)
        recorder.answer = 200
        engagelab.save_receiver(receiver)
        assert engagelab.receivers == [receiver]
    assert receiver.state == "normal"


def test_refreshing_validates_every_address_again() -> None:
    (one, ones), (two, twos) = listening(), listening(answer=500)
    with EngageLab([one, two]) as engagelab:
        assert [delivery.acknowledged for delivery in engagelab.refresh()] == [True, False]
        assert (one.state, two.state) == ("normal", "abnormal")
        ones.answer, twos.answer = 500, 200
        engagelab.refresh()
        assert (one.state, two.state) == ("abnormal", "normal")
        assert len(engagelab.journal) == 4


def test_a_ping_is_signed_when_told_so() -> None:
    receiver = Receiver.recording()
    with EngageLab([]) as engagelab:
        engagelab.save_receiver(receiver, signed=True)
        engagelab.refresh(signed=True)
        engagelab.refresh()
    assert receiver.recorder is not None
    assert ["X-CALLBACK-ID" in received.headers for received in receiver.recorder.received] == [True, True, False]


@pytest.mark.asyncio
async def test_the_async_twins_do_the_same() -> None:
    (one, ones), (two, twos) = listening(), listening(answer=500)
    with EngageLab(one) as engagelab:
        delivery = await engagelab.asave_receiver(two)
        assert (delivery.acknowledged, two.state, one.state) == (False, "abnormal", "unvalidated")
        twos.answer = 200
        assert [each.receiver for each in await engagelab.arefresh()] == [one, two]
        assert (one.state, two.state) == ("normal", "normal")
        with pytest.raises(UsageError, match="is not a Receiver"):
            await engagelab.asave_receiver("http://127.0.0.1:1/")  # type: ignore[arg-type]
    assert len(ones.received) == 1


def test_only_a_receiver_can_be_saved() -> None:
    with EngageLab() as engagelab:
        with pytest.raises(UsageError, match="is not a Receiver") as caught:
            engagelab.save_receiver("http://127.0.0.1:1/")  # type: ignore[arg-type]
        assert [refusal.error for refusal in engagelab.journal.refusals] == [caught.value]
        assert len(engagelab.receivers) == 1


def test_an_abnormal_address_gets_callbacks_all_the_same_unless_it_is_skipped() -> None:
    for abnormal, expected in (("deliver", ["plan"]), ("skip", [])):
        receiver, recorder = listening(answer=500)
        with EngageLab([], abnormal=abnormal) as engagelab:  # type: ignore[arg-type]
            engagelab.save_receiver(receiver)
            recorder.answer = 200
            engagelab.send("+6591234567", scenario=["plan"])
            assert names(recorder) == expected
            engagelab.refresh()
            engagelab.send("+6591234567", scenario=["plan"])
            assert names(recorder) == [*expected, "plan"]


def test_skipping_leaves_out_the_abnormal_one_alone() -> None:
    (one, ones), (two, twos), (three, threes) = listening(), listening(answer=500), listening()
    with EngageLab([one, two], abnormal="skip") as engagelab:
        engagelab.refresh()
        engagelab.receivers.append(three)  # never validated, and so not known to be bad
        twos.answer = 200
        engagelab.send("+6591234567", scenario=["plan"])
    assert (names(ones), names(twos), names(threes)) == (["plan"], [], ["plan"])


def test_an_address_that_turns_abnormal_while_a_message_is_on_its_way_gets_no_more() -> None:
    receiver, recorder = listening()
    with EngageLab(receiver, abnormal="skip") as engagelab:

        def break_down() -> None:
            recorder.answer = 500
            engagelab.refresh()
            recorder.answer = 200

        engagelab.clock.call_at(engagelab.clock.time() + 1, break_down)
        engagelab.send("+6591234567", scenario="delivered")
    assert names(recorder) == ["plan"]


def test_a_misspelt_way_with_abnormal_addresses() -> None:
    with pytest.raises(UnknownName, match="did you mean 'skip'"):
        EngageLab(abnormal="skipp")  # type: ignore[arg-type]
