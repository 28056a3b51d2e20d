"""Acting on one message or callback, over HTTP."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import EngageLab, LiveClock, Receiver, Recorder
from engagelab_mock.server import ApiServer
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.service.rest.exchange import ApiSettings
from engagelab_mock.service.store.restore import restore
from engagelab_mock.service.store.sqlite import SqliteStore
from tests.patience import PATIENCE
from tests.server.conftest import Talk, message


def delivered(talk: Talk) -> str:
    name: str = talk("POST", "/v1/messages", message()).json["message_id"]
    return name


def last(talk: Talk) -> str:
    name: str = talk("GET", "/_mock/callbacks?limit=1").json["callbacks"][0]["id"]
    return name


def test_a_code_is_entered_right_or_wrong(talk: Talk, engagelab: EngageLab) -> None:
    name = delivered(talk)
    wrong = talk("POST", f"/_mock/messages/{name}/code", {"code": "nonsense"}).json
    assert wrong == {"message_id": name, "verify_code": "nonsense", "verified": False}
    assert talk("POST", f"/_mock/messages/{name}/code").json["verified"] is True
    assert engagelab.journal.statuses[-2:] == ["verified_failed", "verified"]
    again = talk("POST", f"/_mock/messages/{name}/code")
    assert again.error == (400, 3003)
    assert talk("GET", f"/_mock/messages/{name}").json["verified"] is True
    assert talk("POST", "/_mock/messages/7/code").error == (404, 4001)


def test_a_code_is_entered_also_where_the_app_needs_credentials() -> None:
    with EngageLab(api=ApiSettings(dev_key="k", dev_secret="s")) as engagelab, ApiServer(engagelab) as server:
        run = engagelab.send("+6591234567", scenario="delivered")
        assert Talk(server)("POST", f"/_mock/messages/{run.message_id}/code").json["verified"] is True


def test_the_next_status_is_sent_before_its_time(frozen_clock: LiveClock) -> None:
    with EngageLab(clock=frozen_clock) as engagelab, ApiServer(engagelab) as server:
        talk = Talk(server)
        name = delivered(talk)
        engagelab.journal.wait_for(status="plan")
        for status in ("sent", "delivered", "verified_timeout"):
            assert talk("POST", f"/_mock/messages/{name}/next").json["event"] == status
            shown = talk("GET", f"/_mock/messages/{name}").json
            assert shown["statuses"][-1] == status
            assert (shown["arrived"] is not None) == (status != "sent")
        assert engagelab.inbox("+6591234567").code
        assert talk("POST", f"/_mock/messages/{name}/next").error == (409, 3003)
        moments = {delivery.events[0].itime for delivery in engagelab.journal.deliveries}  # type: ignore[attr-defined]
        assert moments == {int(frozen_clock.time())}


def test_another_status_takes_the_place_of_what_was_to_come(frozen_clock: LiveClock) -> None:
    with EngageLab(clock=frozen_clock) as engagelab, ApiServer(engagelab) as server:
        talk = Talk(server)
        name = delivered(talk)
        engagelab.journal.wait_for(status="plan")
        failed = talk("POST", f"/_mock/messages/{name}/next", {"status": "sent_failed", "error": 5015}).json
        assert (failed["event"], failed["problem"]) == ("sent_failed", None)
        assert engagelab.journal.where(status="sent_failed").events[0].status.error_code == 5015  # type: ignore[attr-defined]
        assert talk("GET", f"/_mock/messages/{name}").json["due"] == []


def test_a_status_that_may_not_follow_is_refused_unless_any_order_is_asked_for(talk: Talk) -> None:
    name = delivered(talk)
    answer = talk("POST", f"/_mock/messages/{name}/next", {"status": "plan"})
    assert answer.error == (400, 3002)
    assert '"any_order": true' in answer.json["message"]
    assert talk("POST", f"/_mock/messages/{name}/next", {"status": "plan", "any_order": True}).json["event"] == "plan"


def test_what_is_to_come_is_delayed(frozen_clock: LiveClock) -> None:
    with EngageLab(clock=frozen_clock) as engagelab, ApiServer(engagelab) as server:
        talk = Talk(server)
        name = delivered(talk)
        engagelab.journal.wait_for(status="plan")
        before = [each["at"] for each in talk("GET", f"/_mock/messages/{name}").json["due"]]
        assert talk("POST", f"/_mock/messages/{name}/delay", {"seconds": 60}).json["pending"] == len(before)
        assert [each["at"] for each in talk("GET", f"/_mock/messages/{name}").json["due"]] == [at + 60 for at in before]
        frozen_clock.advance(30)
        assert engagelab.journal.statuses == ["plan"]
        assert talk("GET", f"/_mock/messages/{name}").json["arrived"] is None
        frozen_clock.advance(40)
        engagelab.journal.wait_for(status="delivered")
        assert engagelab.inbox("+6591234567").code


def test_a_callback_is_sent_again_with_a_new_signature(talk: Talk, engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", scenario=["plan"])
    sent = talk("POST", f"/_mock/callbacks/{last(talk)}/send").json
    assert sent["delivery"]["outcome"] == "acknowledged"
    first, second = engagelab.journal.where(message_id=run.message_id).deliveries
    assert first.callback.body == second.callback.body
    assert first.callback.headers["X-CALLBACK-ID"] != second.callback.headers["X-CALLBACK-ID"]
    assert sent["callback"] == last(talk)


@pytest.mark.parametrize(("name", "status"), [("wrong_secret", 401), ("duplicate", 200), ("tampered_body", 200)])
def test_a_callback_is_sent_again_with_a_fault(name: str, status: int, talk: Talk, engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario=["plan"])
    sent = talk("POST", f"/_mock/callbacks/{last(talk)}/send", {"fault": name}).json
    assert sent["delivery"]["http_status"] == status
    assert engagelab.journal.attempts[-1].faults[0].name == name


def test_an_edited_body_is_signed_and_sent(talk: Talk, engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario=["plan"])
    body = engagelab.journal.attempts[0].callback.body.decode().replace("plan", "sent")
    talk("POST", f"/_mock/callbacks/{last(talk)}/send", {"body": body})
    assert engagelab.journal.statuses == ["plan", "sent"]
    talk("POST", f"/_mock/callbacks/{last(talk)}/send", {"body": "{", "content_type": "text/plain", "signed": False})
    attempt = engagelab.journal.attempts[-1]
    assert attempt.callback.body == b"{"
    assert [name for name, _ in attempt.callback.headers.pairs] == ["Content-Type", "User-Agent"]
    refused = talk("POST", f"/_mock/callbacks/{last(talk)}/send", {"body": "{", "fault": "wrong_total"})
    assert refused.error == (400, 3002)


def test_a_callback_is_sent_again_later(frozen_clock: LiveClock) -> None:
    with EngageLab(clock=frozen_clock) as engagelab, ApiServer(engagelab) as server:
        talk = Talk(server)
        engagelab.send("+6591234567", scenario=["plan"])
        sent = talk("POST", f"/_mock/callbacks/{last(talk)}/send", {"after": 60}).json
        assert sent == {"callback": None, "delivery": None}
        assert len(engagelab.journal.attempts) == 1
        name = engagelab.journal.deliveries[0].message_id
        [due, *_] = talk("GET", f"/_mock/messages/{name}").json["due"]
        assert due["at"] == frozen_clock.time() + 60
        before = len(engagelab.journal)
        talk("POST", "/_mock/clock/advance", {"seconds": 60})
        engagelab.clock.condition.wait_for(lambda: len(engagelab.journal) > before, PATIENCE)
        assert len(engagelab.journal) == 2


def test_only_its_own_receiver_gets_it_again() -> None:
    receivers = [Receiver.recording(), Receiver.recording()]
    with EngageLab(receivers) as engagelab, ApiServer(engagelab) as server:
        engagelab.send("+6591234567", scenario=["plan"])
        Talk(server)("POST", f"/_mock/callbacks/{last(Talk(server))}/send")
        assert [len(each.recorder.received) for each in receivers if each.recorder] == [1, 2]


def test_the_clock_moves_to_the_next_event(talk: Talk, engagelab: EngageLab) -> None:
    engagelab.clock.call_at(engagelab.clock.time() + 90, lambda: None, label="a timer")
    before = engagelab.clock.time()
    assert talk("POST", "/_mock/clock/next").json["time"] == before + 90
    assert talk("POST", "/_mock/clock/next").json["time"] == before + 90


def test_a_fault_that_the_receiver_cannot_get_is_refused(talk: Talk, engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario=["plan"])
    answer = talk("POST", f"/_mock/callbacks/{last(talk)}/send", {"fault": "chunked"})
    assert answer.error == (400, 3002)
    answer = talk("POST", f"/_mock/callbacks/{last(talk)}/send", {"fault": "wrng_secret"})
    assert "did you mean 'wrong_secret'?" in answer.json["message"]


def test_every_fault_is_listed(talk: Talk) -> None:
    listed = talk("GET", "/_mock/faults").json
    assert {"name": "duplicate", "family": "exchange"}.items() <= {**listed[-1]}.items()
    assert json.dumps(listed).count('"signature"') > 5


def test_headers_are_replaced_added_and_removed_and_the_rest_is_signed_again(talk: Talk, engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario=["plan"])
    name = last(talk)
    given = {"headers": {"X-Request-Id": "7", "content-type": "text/plain", "User-Agent": None}}
    sent = talk("POST", f"/_mock/callbacks/{name}/send", given).json
    first, second = (dict(each.callback.headers.pairs) for each in engagelab.journal.attempts)
    assert {key: second[key] for key in ("X-Request-Id", "content-type")} == {
        "X-Request-Id": "7",
        "content-type": "text/plain",
    }
    assert not {"User-Agent", "Content-Type"} & second.keys()
    assert second["X-CALLBACK-ID"] != first["X-CALLBACK-ID"]
    assert sent["delivery"]["outcome"] == "acknowledged"
    # A callback that is sent once more keeps its headers.
    again = talk("POST", f"/_mock/callbacks/{sent['callback']}/send", {"headers": {"X-CALLBACK-ID": "mine"}}).json
    third = dict(engagelab.journal.attempts[-1].callback.headers.pairs)
    assert (third["X-Request-Id"], third["X-CALLBACK-ID"]) == ("7", "mine")
    assert again["delivery"]["http_status"] == 401


@pytest.mark.parametrize(
    "headers", [{"Host": "x"}, {"content-length": "9"}, {"X A": "1"}, {"X": "1\r\nY: 2"}, {"X": "\u20ac"}, {"X": " a"}]
)
def test_a_header_that_cannot_be_sent_is_refused(headers: dict[str, str], talk: Talk, engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario=["plan"])
    assert talk("POST", f"/_mock/callbacks/{last(talk)}/send", {"headers": headers}).error == (400, 3002)
    assert len(engagelab.journal.attempts) == 1


@pytest.mark.slow
def test_edited_headers_go_out_again_with_each_attempt_and_after_a_restart(tmp_path: Path) -> None:
    arrived = threading.Event()

    def count(_: object) -> None:
        if len(kept.received) == 3:
            arrived.set()

    kept = Recorder(on_received=count)
    options: dict[str, Any] = {"defaults": {"check": False}}
    with LoopbackServer(kept) as listening:
        receiver = Receiver.http(f"{listening.url}/engagelab")
        with (
            SqliteStore(tmp_path / "db") as store,
            EngageLab(receiver, clock=LiveClock(), store=store, **options) as engagelab,
            ApiServer(engagelab) as server,
        ):
            restore(engagelab, store)
            talk = Talk(server)
            engagelab.send("+6591234567", scenario=["plan"])
            kept.answer = 500
            talk("POST", f"/_mock/callbacks/{last(talk)}/send", {"headers": {"X-Request-Id": "7"}, "retry": [60]})
            engagelab.journal.wait_for(outcome="not_200")
        kept.answer = 200
        with (
            SqliteStore(tmp_path / "db") as store,
            EngageLab(receiver, clock=LiveClock(), store=store, **options) as engagelab,
            ApiServer(engagelab),
        ):
            restore(engagelab, store)
            engagelab.clock.advance(seconds=61)
            assert arrived.wait(PATIENCE)
    assert [each.headers.get("X-Request-Id") for each in kept.received] == [None, "7", "7"]
