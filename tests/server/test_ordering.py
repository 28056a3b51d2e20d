"""The callbacks of one message in another order: those still to come, and those sent before."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from engagelab_mock import EngageLab, LiveClock, Receiver, Recorder
from engagelab_mock.server import ApiServer
from engagelab_mock.server.loopback import LoopbackServer
from tests.patience import PATIENCE
from tests.server.conftest import Talk, message


@pytest.fixture
def engagelab(frozen_clock: LiveClock) -> Iterator[EngageLab]:
    with EngageLab(Receiver.recording(), clock=frozen_clock, defaults={"check": False}) as engagelab:
        yield engagelab


def planned(talk: Talk, engagelab: EngageLab) -> str:
    """Send a message and return its id, once its plan is sent; sent and delivered are still to come."""
    name: str = talk("POST", "/v1/messages", message()).json["message_id"]
    engagelab.journal.wait_for(status="plan")
    return name


def test_callbacks_to_come_change_places_and_keep_the_times(talk: Talk, engagelab: EngageLab) -> None:
    name = planned(talk, engagelab)
    before = talk("GET", f"/_mock/messages/{name}").json["due"]
    ordered = talk("POST", f"/_mock/messages/{name}/order", {"statuses": ["delivered", "sent"]}).json
    assert ordered["token"] == "eg1:plan,delivered,sent"
    assert [each["at"] for each in ordered["due"]] == [each["at"] for each in before]
    assert [each["statuses"] for each in ordered["due"]] == [["delivered"], ["sent"], ["verified_timeout"]]
    engagelab.clock.advance(seconds=60)
    engagelab.journal.wait_for(status="sent")
    assert engagelab.journal.statuses == ["plan", "delivered", "sent"]
    moments = {each.name: each.itime for delivery in engagelab.journal.deliveries for each in delivery.events}  # type: ignore[attr-defined]
    assert moments["sent"] < moments["delivered"]


def test_those_that_are_not_named_come_after_the_others(talk: Talk, engagelab: EngageLab) -> None:
    name = planned(talk, engagelab)
    ordered = talk("POST", f"/_mock/messages/{name}/order", {"statuses": ["delivered"]}).json
    assert [each["statuses"] for each in ordered["due"]][:2] == [["delivered"], ["sent"]]


@pytest.mark.parametrize("statuses", [["plan"], ["sent", "sent"], ["sent+delivered"]])
def test_a_callback_that_is_not_to_come_is_refused_and_nothing_moves(
    statuses: list[str], talk: Talk, engagelab: EngageLab
) -> None:
    name = planned(talk, engagelab)
    before = talk("GET", f"/_mock/messages/{name}").json["due"]
    assert talk("POST", f"/_mock/messages/{name}/order", {"statuses": statuses}).error == (409, 3003)
    assert talk("GET", f"/_mock/messages/{name}").json["due"] == before
    assert talk("POST", "/_mock/messages/7/order", {"statuses": statuses}).error == (404, 4001)


@pytest.mark.slow
def test_sent_callbacks_are_sent_again_one_after_the_other() -> None:
    finished = threading.Event()

    def count(_: object) -> None:
        if len(kept.received) == 6:
            finished.set()

    kept = Recorder(on_received=count)
    with (
        LoopbackServer(kept) as listening,
        EngageLab(Receiver.http(f"{listening.url}/engagelab"), clock=LiveClock()) as engagelab,
        ApiServer(engagelab) as server,
    ):
        talk = Talk(server)
        run = engagelab.send("+6591234567", scenario=["plan", "sent"])
        [plan, sent] = [each["id"] for each in talk("GET", f"/_mock/messages/{run.message_id}").json["callbacks"]]
        path = f"/_mock/messages/{run.message_id}/resend"
        again = talk("POST", path, {"callbacks": [sent, plan, plan, sent]}).json
        assert (again["token"], again["problem"]) == ("eg1:sent,plan*2,sent", None)
        assert finished.wait(PATIENCE)
        assert [each.statuses for each in kept.received][2:] == [["sent"], ["plan"], ["plan"], ["sent"]]
        assert kept.received[2].body == kept.received[1].body
        assert talk("POST", path, {"callbacks": ["0123456789abcdef"]}).error == (409, 3003)
        assert talk("POST", path, {"callbacks": []}).error == (400, 3002)
        assert talk("POST", path, {"callbacks": [plan] * 101}).error == (400, 3002)


def test_what_is_sent_again_has_a_right_signature(talk: Talk, engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario=["plan"], fault="wrong_secret")
    [plan] = [each["id"] for each in talk("GET", f"/_mock/messages/{run.message_id}").json["callbacks"]]
    talk("POST", f"/_mock/messages/{run.message_id}/resend", {"callbacks": [plan]})
    engagelab.journal.wait_for(message_id=run.message_id, status="plan", outcome="acknowledged")
