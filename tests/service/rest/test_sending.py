"""Messages, codes, custom messages: the answers, the callbacks, and the user's inbox."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engagelab_mock import ApiSettings, EngageLab, Journal, Receiver, Scenario, VirtualClock
from engagelab_mock.service.rest.exchange import ApiRequest
from tests.service.rest.client import TO, Client, custom_sms, email

BASIC = "Basic a2V5OnNlY3JldA=="
SENT = ["plan", "sent", "delivered"]


def channels(engagelab: EngageLab) -> list[tuple[str, str]]:
    """Return every status sent, with the channel it is of."""
    return [(e.name, e.status.status_data.current_send_channel) for e in engagelab.journal.events]  # type: ignore[attr-defined]


def test_a_message_is_answered_with_its_id_and_channel_and_then_delivered(client: Client) -> None:
    answer = client.send(custom_args={"order": 7})
    assert sorted(answer.content) == ["message_id", "send_channel"]
    assert answer.content["send_channel"] == "sms"
    deliveries = client.engagelab.journal.where(message_id=answer.content["message_id"]).deliveries
    assert [delivery.statuses for delivery in deliveries] == [["plan"], ["sent"], ["delivered"]]
    [event] = deliveries[1].events
    assert (event.to, event.custom_args, event.status.status_data.template_key) == (  # type: ignore[attr-defined]
        TO,
        {"order": 7},
        "login",
    )


def test_nothing_goes_out_before_the_answer_is_written(client: Client) -> None:
    engagelab = client.engagelab
    recorder = engagelab.receiver.recorder
    assert recorder is not None
    answer = client.request("POST", "/v1/messages", b'{"to": "+6591234567", "template": {"id": "login"}}')
    assert recorder.received == []
    answer.written()
    answer.written()
    assert recorder.received == []
    assert engagelab.journal.statuses == SENT


def test_an_app_that_asks_for_it_gets_callbacks_before_the_answer() -> None:
    journal = Journal()
    with EngageLab(api=ApiSettings(callback_before_response=True), journal=journal) as engagelab:
        Client(engagelab).request("POST", "/v1/messages", b'{"to": "+6591234567", "template": {"id": "login"}}')
        assert journal.statuses == SENT


def test_an_address_gets_an_email(client: Client) -> None:
    assert client.send("user@example.com").content["send_channel"] == "email"
    assert channels(client.engagelab) == [("plan", ""), ("sent", "email"), ("delivered", "email")]


@pytest.mark.parametrize("strict", [False, True])
def test_an_unknown_template_is_accepted_unless_they_are_strict(strict: bool) -> None:
    with EngageLab(api=ApiSettings(strict_templates=strict)) as engagelab:
        client = Client(engagelab)
        answers = [client.send(), client.send_code("1234", "+6591234568"), client.send_custom(code="1234")]
        assert [answer.status for answer in answers] == [400 if strict else 200] * 3
        if strict:
            assert answers[0].content == {"code": 4001, "message": "config not exist"}
            client.create()
            assert client.send().status == 200


BODY = b'{"to": "+6591234567", "template": {"id": "login"}}'
JSON = ["application/json", "Application/JSON;charset=UTF-8", " application/json ; x"]
OTHER = [
    None,
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/jsonp",
    "text/plain; application/json",
]


@pytest.mark.parametrize("given", [*JSON, *OTHER])
@pytest.mark.parametrize("strict", [False, True])
def test_the_content_type_matters_only_if_they_are_strict(strict: bool, given: str | None) -> None:
    with EngageLab(api=ApiSettings(strict_content_type=strict)) as engagelab:
        answer = engagelab.api.handle(ApiRequest("POST", "/v1/messages", BASIC, BODY, given))
        if given in JSON or not strict:
            assert answer.status == 200
        else:
            assert (answer.status, json.loads(answer.body)["code"]) == (400, 3001)
            assert b"Content-Type is" in answer.body
        # Without a body there is nothing to describe.
        assert engagelab.api.handle(ApiRequest("GET", "/v1/template-configs", BASIC)).status == 200


def test_the_first_channel_of_the_strategy_is_taken(client: Client) -> None:
    assert client.send(template="sandbox-otp-tpl").content["send_channel"] == "whatsapp"
    assert channels(client.engagelab)[-1] == ("delivered", "whatsapp")


def test_a_code_of_the_app_s_own_cannot_be_verified(client: Client) -> None:
    answer = client.send_code("2468")
    assert client.engagelab.inbox(TO).code == "2468"
    assert client.verify(answer.content["message_id"], "2468").code == 4001
    client.engagelab.clock.advance(hours=1)
    assert client.engagelab.journal.statuses == SENT


def test_a_custom_message_is_rendered_with_its_params(client: Client) -> None:
    client.create("note", sms_config=custom_sms("{{brand_name}}: hello {{name}}, {{what}}", "utility"),
                  verify_code_config=None)  # fmt: skip
    client.send_custom(template="note", name="Ann")
    message = client.engagelab.inbox(TO)[-1]
    assert (message.text, message.code) == ("Acme: hello Ann, {{what}}", "")


def test_a_custom_message_of_a_verification_template_needs_a_code(client: Client) -> None:
    client.create()
    assert client.send_custom().code == 3002
    assert client.send_custom(code="1357").status == 200
    assert client.engagelab.inbox(TO).code == "1357"


def test_a_custom_message_to_several_is_one_message_each_and_the_first_is_named(client: Client) -> None:
    answer = client.send_custom([TO, "user@example.com", TO], code="1")
    inbox = client.engagelab.inbox()
    assert [message.to for message in inbox] == [TO, "user@example.com", TO]
    assert answer.content == {"message_id": inbox[0].message_id, "send_channel": "sms"}
    assert len({message.message_id for message in inbox}) == 3
    assert client.engagelab.journal.statuses.count("delivered") == 3


def test_a_custom_message_goes_to_all_or_to_none(client: Client) -> None:
    client.engagelab.rule("user@example.com", error=5013)
    assert client.send_custom([TO, "user@example.com"]).code == 5013
    assert client.send_custom([TO, "nobody"]).code == 5011
    assert len(client.engagelab.inbox()) == 0
    assert client.engagelab.journal.statuses == []


@pytest.mark.parametrize("to", [[], [7], [""], [None], [[TO]], {}, 7, None, [TO] * 1001])
def test_invalid_recipients_are_3002(client: Client, to: Any) -> None:
    assert client.send_custom(to).code == 3002
    if not isinstance(to, list):
        assert client.send(to).code == 3002


def test_the_same_recipient_waits_for_the_code_to_be_used_or_to_expire(client: Client) -> None:
    engagelab = client.engagelab
    message_id = client.sent()
    assert client.send().code == 3004
    assert client.send_code("1111").code == 3004
    assert [client.send("+6591234568").status, client.send(template="other").status] == [200, 200]
    client.verify(message_id, engagelab.inbox(TO)[0].code)
    client.sent()
    engagelab.clock.advance(minutes=5)
    client.sent()
    assert client.send_custom(code="1").status == 200
    assert client.send().code == 3004


def test_without_a_rate_limit_a_second_code_is_sent_at_once() -> None:
    with EngageLab(api=ApiSettings(rate_limit=False)) as engagelab:
        client = Client(engagelab)
        first, second = client.sent(), client.sent()
        codes = [message.code for message in engagelab.inbox(TO)]
        assert client.verify(first, codes[0]).content["verified"] is True
        assert client.verify(second, codes[1]).content["verified"] is True


def test_the_defaults_of_the_test_hold_for_the_app_s_messages() -> None:
    receiver = Receiver.recording()
    assert receiver.recorder is not None
    receiver.recorder.answer = 500
    usual = {"scenario": "sent_failed", "check": False, "retry": [60], "batch": 2}
    with EngageLab(receiver, defaults=usual) as engagelab:
        Client(engagelab).sent()
        [delivery] = engagelab.journal.deliveries
        assert (delivery.statuses, len(delivery.attempts)) == (["plan", "sent_failed"], 2)


def test_ids_and_codes_are_the_seed_s() -> None:
    def code_of(seed: int) -> tuple[str, str]:
        with EngageLab(seed=seed, clock=VirtualClock(0)) as engagelab:
            return Client(engagelab).sent(), engagelab.inbox(TO).code

    assert code_of(1) == code_of(1) != code_of(2)


class TestRules:
    """What a test wants to happen to what its app sends."""

    def test_a_scenario_is_taken_by_whom_it_is_for(self, client: Client) -> None:
        client.engagelab.rule(TO, scenario="delivered_failed")
        client.engagelab.rule(template="reset", scenario="sent_failed")
        client.sent()
        client.sent("+6591234568", "reset")
        client.sent("+6591234569")
        assert client.engagelab.journal.where(to=TO).statuses == ["plan", "sent", "delivered_failed"]
        assert client.engagelab.journal.where(to="+6591234568").statuses == ["plan", "sent_failed"]
        assert client.engagelab.journal.where(to="+6591234569").statuses == SENT

    def test_the_newest_that_fits_wins_as_often_as_it_says(self, client: Client) -> None:
        client.engagelab.rule(error=5001)
        newest = client.engagelab.rule(call="messages", error=1000, times=2)
        assert [client.send().code for _ in range(3)] == [1000, 1000, 5001]
        assert newest.used == 2

    def test_a_fallback_follows_the_strategy_of_the_template(self, client: Client) -> None:
        client.create(send_channel_strategy="sms|voice", voice_config=client_default())
        client.engagelab.rule(scenario="fallback")
        assert client.send().content["send_channel"] == "sms"
        assert channels(client.engagelab) == [
            ("plan", ""),
            ("sent", "sms"),
            ("delivered_failed", "sms"),
            ("sent", "voice"),
            ("delivered", "voice"),
            ("verified", "voice"),
        ]
        assert client.engagelab.inbox(TO)[0].channel == "voice"

    def test_a_fallback_ends_with_the_strategy(self, client: Client) -> None:
        client.create()
        client.engagelab.rule(scenario="fallback_exhausted")
        client.sent()
        assert channels(client.engagelab)[1:] == [("sent", "sms"), ("delivered_failed", "sms")]

    def test_a_scenario_of_one_s_own_is_played_as_it_is(self, client: Client) -> None:
        client.create()
        own = Scenario("own").then("plan").then("sent", channel="voice").then("delivered", after=1)
        client.engagelab.rule(scenario=own)
        assert client.send().content["send_channel"] == "voice"
        assert channels(client.engagelab)[1:] == [("sent", "voice"), ("delivered", "voice")]

    def test_the_sandbox_s_recipients_go_before_any_rule(self, client: Client) -> None:
        client.engagelab.rule(error=5013)
        assert client.send("+10000000010").status == 200

    def test_rules_are_listed_until_they_are_cancelled(self, client: Client) -> None:
        first = client.engagelab.rule(error=5013)
        second = client.engagelab.rule(TO, scenario=["plan", "sent_failed"])
        assert [rule.id for rule in client.engagelab.rules] == [first.id, second.id]
        first.cancel()
        first.cancel()
        assert list(client.engagelab.rules) == [second]
        assert client.send("+6591234568").status == 200

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({}, "a scenario or an error"),
            ({"scenario": "verified", "error": 5013}, "not both"),
            ({"error": 5012, "call": "message"}, "did you mean 'messages'"),
            ({"error": 9999}, "unknown error code 9999"),
            ({"scenario": "verfied"}, "did you mean 'verified'"),
            ({"scenario": "verified", "call": "verifications"}, "sends no message"),
            ({"error": 5013, "to": "+65 9123 4567"}, "did you mean"),
            ({"error": 5013, "times": 0}, "from 1"),
            ({"error": 5013, "times": True}, "from 1"),
            ({"error": 5013, "template": ""}, "a template is an id"),
        ],
    )
    def test_an_invalid_rule_is_refused_and_entered(self, client: Client, given: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            client.engagelab.rule(**given)
        assert len(client.engagelab.journal.refusals) == 1
        assert len(client.engagelab.rules) == 0


def client_default() -> dict[str, Any]:
    return {"template_type": 1, "template_default_config": {"contain_security": True, "contain_expire": True}}


def test_a_language_has_its_own_content(client: Client) -> None:
    content = email(("default", "code {{code}}"), ("ja", "コード {{code}}"), pre_from_name="Acme")
    client.create("mail", send_channel_strategy="email", sms_config=None, email_config=content)
    for to, language in [("a@example.com", "ja"), ("b@example.com", "es")]:
        client.sent(to, "mail", language=language)
    first, second = client.engagelab.inbox()
    assert (first.text, second.text) == (f"コード {first.code}", f"code {second.code}")
    assert (first.subject, first.sender) == ("Your code", "Acme <noreply@acme.example>")


def test_reset_forgets_all_but_receivers_and_time(client: Client) -> None:
    engagelab = client.engagelab
    now, receiver = engagelab.clock.time(), engagelab.receiver
    client.create()
    message_id = client.sent()
    engagelab.rule(error=5013)
    engagelab.reset()
    assert (len(engagelab.journal), len(engagelab.inbox()), len(engagelab.rules)) == (0, 0, 0)
    assert engagelab.pending == []
    assert (engagelab.clock.time(), engagelab.receiver) == (now, receiver)
    assert client.verify(message_id, "1").code == 4001
    assert client.create().status == 200
    assert client.send().status == 200


def test_no_more_is_kept_than_is_wanted() -> None:
    with EngageLab(keep=3) as engagelab:
        client = Client(engagelab)
        ids = [client.sent(f"+659123456{number}") for number in range(5)]
        for _ in range(5):
            engagelab.send()
        assert len(engagelab.journal) == 3
        assert client.verify(ids[0], "1").code == 4001
        assert len(engagelab.inbox()) == 3
        assert len(engagelab.accepted) == 3
