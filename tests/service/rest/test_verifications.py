"""Codes: right, wrong, used, expired, and the callbacks about them."""

from __future__ import annotations

import pytest

from engagelab_mock import EngageLab
from tests.service.rest.client import TO, Client

SENT = ["plan", "sent", "delivered"]


def test_the_right_code_is_verified_once(client: Client) -> None:
    message_id = client.sent()
    code = client.engagelab.inbox(TO).code
    answer = client.verify(message_id, code)
    assert answer.content == {"message_id": message_id, "verify_code": code, "verified": True}
    assert client.verify(message_id, code).code == 3003
    client.engagelab.clock.advance(hours=1)
    assert client.engagelab.journal.statuses == [*SENT, "verified"]


def test_a_wrong_code_can_be_tried_again(client: Client) -> None:
    message_id = client.sent()
    code = client.engagelab.inbox(TO).code
    assert client.verify(message_id, "wrong").content["verified"] is False
    assert client.verify(message_id, code + "0").content["verified"] is False
    assert client.verify(message_id, code).content["verified"] is True
    assert client.engagelab.journal.statuses == [*SENT, "verified_failed", "verified_failed", "verified"]


def test_silence_until_the_code_expires_is_a_timeout(client: Client) -> None:
    message_id = client.sent()
    code = client.engagelab.inbox(TO).code
    client.engagelab.clock.advance(minutes=4)
    assert client.engagelab.journal.statuses == SENT
    client.engagelab.clock.advance(minutes=1)
    assert client.engagelab.journal.statuses == [*SENT, "verified_timeout"]
    assert client.verify(message_id, code).code == 3003


@pytest.mark.parametrize("minutes", [1, 5, 10])
def test_a_code_expires_when_its_template_says(client: Client, minutes: int) -> None:
    client.create(verify_code_config={"verify_code_type": 1, "verify_code_len": 4, "verify_code_ttl": minutes})
    client.sent()
    client.engagelab.settle()
    accepted = client.engagelab.accepted.latest("login", TO)
    assert accepted is not None
    client.engagelab.clock.advance_to(accepted.message.accepted + 60 * minutes - 1)
    assert client.engagelab.journal.statuses == SENT
    client.engagelab.clock.advance(1)
    assert client.engagelab.journal.statuses[-1] == "verified_timeout"


def test_a_code_that_never_expires_never_does() -> None:
    with EngageLab(code_ttl=None) as engagelab:
        client = Client(engagelab)
        message_id = client.sent()
        engagelab.clock.advance(days=365)
        assert engagelab.journal.statuses == SENT
        assert client.verify(message_id, engagelab.inbox(TO).code).content["verified"] is True


def test_a_verification_is_told_of_after_the_delivery_even_before_anybody_settles(client: Client) -> None:
    message_id = client.sent("+10000000005")
    assert client.verify(message_id, "123456").content["verified"] is True
    assert client.engagelab.journal.statuses == [*SENT, "verified"]
    times = [event.itime for event in client.engagelab.journal.events]  # type: ignore[attr-defined]
    assert times == sorted(times)


def test_a_message_that_did_not_arrive_does_not_time_out(client: Client) -> None:
    client.engagelab.rule(scenario="delivered_failed")
    client.sent()
    client.engagelab.clock.advance(hours=1)
    assert client.engagelab.journal.statuses == ["plan", "sent", "delivered_failed"]


def test_the_code_of_a_message_by_send_can_be_verified_too(client: Client) -> None:
    engagelab = client.engagelab
    run = engagelab.send(TO, scenario="delivered")
    assert client.verify(run.message_id, "wrong").content["verified"] is False
    assert client.verify(run.message_id, engagelab.inbox(TO).code).content["verified"] is True
    engagelab.clock.advance(hours=1)
    assert engagelab.journal.statuses == [*SENT, "verified_failed", "verified"]
    assert run.statuses == engagelab.journal.statuses
    verified = engagelab.send(TO)
    assert client.verify(verified.message_id, engagelab.inbox(TO).code).code == 3003


def test_the_channel_is_the_one_that_delivered(client: Client) -> None:
    message_id = client.sent("+10000000004", "sandbox-otp-tpl")
    client.verify(message_id, client.engagelab.inbox("+10000000004").code)
    event = client.engagelab.journal.events[-1]
    assert (event.name, event.status.status_data.current_send_channel) == ("verified", "sms")  # type: ignore[attr-defined]


def test_a_rule_about_a_recipient_holds_for_the_verification_of_their_code(client: Client) -> None:
    message_id = client.sent()
    code = client.engagelab.inbox(TO).code
    client.engagelab.rule(TO, call="verifications", error=1000, times=1)
    assert client.verify(message_id, code).code == 1000
    assert client.verify(message_id, code).content["verified"] is True


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"message_id": "1"},
        {"verify_code": "1"},
        {"message_id": 1, "verify_code": "1"},
        {"message_id": "1", "verify_code": 123456},
        {"message_id": "", "verify_code": "1"},
    ],
)
def test_an_invalid_verification_is_3002(client: Client, body: dict[str, object]) -> None:
    assert client.post("/v1/verifications", body).code == 3002
