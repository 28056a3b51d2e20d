from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trustme
from werkzeug.serving import make_server

from engagelab_mock import Recorder
from engagelab_mock.protocol.event_table import EVENTS
from engagelab_mock.server.loopback import LoopbackServer
from tests.cli.conftest import Command, SdkApp
from tests.peers import Conversation, Peer

SIGNED = ("--username", "acme", "--secret", "s3cret")


def test_the_sdk_receiver_sees_every_status_in_order(program: Command, sdk_app: SdkApp) -> None:
    result = program("send", "verified", "--url", sdk_app.url, *SIGNED, "--to", "+6591234567", "--format", "json")

    assert (result.code, result.err) == (0, "")
    assert [event.status for event in sdk_app.events] == ["plan", "sent", "delivered", "verified"]
    assert {event.to for event in sdk_app.events} == {"+6591234567"}
    attempts, run = result.objects[:-1], result.objects[-1]
    assert [(one["type"], one["statuses"], one["http_status"], one["acknowledged"]) for one in attempts] == [
        ("attempt", [status], 200, True) for status in ("plan", "sent", "delivered", "verified")
    ]
    assert all(one["error"] is None and one["elapsed_ms"] > 0 for one in attempts)
    assert run["message_id"] == sdk_app.events[0].message_id
    assert (run["type"], run["scenario"], run["acknowledged"]) == ("run", "verified", True)
    assert run["statuses"] == ["plan", "sent", "delivered", "verified"]


def test_a_wrong_secret_is_reported(command: Command, sdk_app: SdkApp) -> None:
    result = command("send", "verified", "--url", sdk_app.url, "--username", "acme", "--secret", "wrong-s3cret")

    assert result.code == 1
    assert sdk_app.events == []
    assert "answered 401 UNAUTHORIZED; only 200 acknowledges" in result.out
    assert "hint: it was signed as 'acme': does the receiver use the same username and secret?" in result.out
    assert "✗ 0 of 4 callbacks acknowledged" in result.out
    assert "wrong-s3cret" not in result.out + result.err


def test_a_closed_port_is_unreachable(program: Command, closed_url: str) -> None:
    result = program("send", "verified", "--url", closed_url, "--format", "json")

    assert result.code == 3
    assert [one["http_status"] for one in result.objects[:-1]] == [None] * 4
    assert "connection refused" in result.objects[0]["error"]
    assert result.objects[0]["outcome"] == "refused"
    assert result.objects[-1]["acknowledged"] is False


def test_a_receiver_that_answers_500_falls_short(program: Command, failing_url: str) -> None:
    result = program("send", "delivered", "--url", failing_url, "--format", "json")

    assert result.code == 1
    assert [one["http_status"] for one in result.objects[:-1]] == [500, 500, 500]
    assert "the handler failed" in result.objects[0]["hint"]


def test_the_whole_scenario_is_sent_despite_any_answers(command: Command) -> None:
    answers = iter([500, 200, 200, 200])
    recorder = Recorder()
    recorder.on_received = lambda received: setattr(recorder, "answer", next(answers, 200))
    recorder.answer = 503
    with LoopbackServer(recorder) as server:
        result = command("send", "verified", "--url", server.url, "--format", "json")

    assert [one["http_status"] for one in result.objects[:-1]] == [503, 500, 200, 200]
    assert (result.code, result.objects[-1]["acknowledged"]) == (1, False)


def test_text_has_one_line_for_each_attempt(command: Command, sdk_app: SdkApp) -> None:
    result = command("send", "delivered", "--url", sdk_app.url, *SIGNED, "--seed", "7")

    lines = [line.split() for line in result.out.splitlines() if line]
    assert lines[0] == ["delivered", "→", sdk_app.url, "(signed", "as", "acme)"]
    assert [line[:-2] for line in lines[1:4]] == [
        ["✓", "+0", "s", "plan", "200"],
        ["✓", "+2", "s", "sent", "sms", "200"],
        ["✓", "+5", "s", "delivered", "sms", "200"],
    ]
    assert " ".join(lines[4]) == "✓ 3 of 3 callbacks acknowledged"
    assert lines[5][0] == "message"
    assert " ".join(lines[6]) == "the same data again: --seed 7"
    assert "s3cret" not in result.out + result.err


def test_the_error_of_an_event_is_not_that_of_the_receiver(command: Command, failing_url: str) -> None:
    lines = command("send", "delivered_failed", "--url", failing_url).out.splitlines()

    [failed] = [number for number, line in enumerate(lines) if " delivered_failed " in line]
    assert lines[failed + 1] == "            carries error 5012: unreachable"


@pytest.mark.parametrize("columns", [60, 80])
def test_it_fits(command: Command, failing_url: str, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = command("send", "fallback_exhausted", "--url", failing_url, "--seed", "7").out.splitlines()

    assert max(map(len, lines)) <= columns
    assert all(line == line.rstrip() for line in lines)


def test_a_repeated_error_is_shown_once(command: Command, closed_url: str) -> None:
    result = command("send", "verified", "--url", closed_url)

    assert result.out.count("refused  ") == 4
    assert result.out.count("nothing listens on") == 1
    assert result.out.count("start the receiver first") == 1


def test_statuses_can_be_given_instead_of_a_name(command: Command, sdk_app: SdkApp) -> None:
    result = command("send", "plan, sent,verified_failed", "--url", sdk_app.url, *SIGNED, "--format", "json")

    assert result.code == 0
    assert [event.status for event in sdk_app.events] == ["plan", "sent", "verified_failed"]


def test_a_status_alone_comes_after_those_before_it(command: Command, sdk_app: SdkApp) -> None:
    assert command("send", "sent", "--url", sdk_app.url, *SIGNED).code == 0
    assert command("send", "plan", "--url", sdk_app.url, *SIGNED).code == 0
    assert command("send", "sent", "--any-order", "--url", sdk_app.url, *SIGNED).code == 0

    assert [event.status for event in sdk_app.events] == ["plan", "sent", "plan", "sent"]


def test_a_second_channel_can_start_because_the_first_is_late(command: Command, sdk_app: SdkApp) -> None:
    statuses = "plan,sent:whatsapp,sent:sms,delivered"
    result = command("send", statuses, "--any-order", "--url", sdk_app.url, *SIGNED)

    assert result.code == 0
    assert [(event.status, event.current_send_channel) for event in sdk_app.events] == [
        ("plan", ""),
        ("sent", "whatsapp"),
        ("sent", "sms"),
        ("delivered", "sms"),
    ]


def test_a_fallback_names_its_channels(command: Command, sdk_app: SdkApp) -> None:
    statuses = "plan,sent:whatsapp,delivered_failed,sent:voice,delivered"
    assert command("send", statuses, "--url", sdk_app.url, *SIGNED).code == 0

    channels = ["", "whatsapp", "whatsapp", "voice", "voice"]
    assert [event.current_send_channel for event in sdk_app.events] == channels


# --- Events that are not about a message


def row(command: Command, *arguments: str) -> dict[str, Any]:
    """Send an event, and return its row."""
    recorder = Recorder(username="acme", secret="s3cret")
    with LoopbackServer(recorder) as server:
        result = command("send", *arguments, "--url", server.url, *SIGNED, "--format", "json")
    assert result.code == 0
    assert [one["type"] for one in result.objects] == ["attempt", "run"]
    [received] = recorder.received
    assert received.verdict
    [found] = json.loads(received.body)["rows"]
    return dict(found)


@pytest.mark.parametrize("name", [name for name, known in EVENTS.items() if known.kind != "status"])
def test_every_event_of_the_account_can_be_sent(command: Command, name: str) -> None:
    kind = EVENTS[name].kind
    assert row(command, name)[kind]["event"] == name


def test_an_event_has_the_fields_that_are_given(command: Command) -> None:
    fields = ("--field", "remain_balance=-0.5", "--field", "currency=5", "--field", 'more={"a": [1]}')
    data = row(command, "insufficient_balance", *fields)["notification"]["notification_data"]

    assert (data["remain_balance"], data["currency"], data["more"]) == (-0.5, "5", {"a": [1]})


def test_an_uplink_has_the_sender_and_the_text(command: Command) -> None:
    stop = row(command, "uplink_message", "--to", "+6591234567")["response"]["response_data"]
    fields = ("--field", "body=HELP me", "--field", "sender=+6591234568")
    help = row(command, "uplink_message", *fields)["response"]["response_data"]

    assert (stop["from"], stop["body"]) == ("+6591234567", "STOP")
    assert (help["from"], help["body"]) == ("+6591234568", "HELP me")


def test_an_event_that_is_refused_exits_1(command: Command, failing_url: str) -> None:
    result = command("send", "account_login", "--field", "action=login_failed", "--url", failing_url)

    assert result.code == 1
    assert "0 of 1 callback" in result.out


# --- Messages


def test_a_lost_message_has_no_callbacks(command: Command, sdk_app: SdkApp) -> None:
    text = command("send", "lost", "--url", sdk_app.url, *SIGNED)
    result = command("send", "lost", "--url", sdk_app.url, *SIGNED, "--format", "json")

    assert (text.code, result.code) == (0, 0)
    assert "this scenario sends no callbacks" in text.out
    assert [one["type"] for one in result.objects] == ["run"]


def test_the_options_arrive_in_the_callbacks(command: Command, sdk_app: SdkApp) -> None:
    options = ("--to", "someone@example.com", "--template", "tpl", "--channel", "voice", "--dialect", "newer")
    echoed = ("--custom-arg", "order=42", "--custom-arg", "note=a=b")
    command("send", "sent_failed", "--url", sdk_app.url, *SIGNED, *options, *echoed)

    event = sdk_app.events[-1]
    assert (event.to, event.template_key, event.current_send_channel) == ("someone@example.com", "tpl", "voice")
    assert event.custom_args == {"order": "42", "note": "a=b"}
    assert (event.status, event.server) == ("sent_fail", "sms")


def test_the_authorization_is_sent_verbatim(command: Command) -> None:
    recorder = Recorder(authorization="Bearer of-news")
    with LoopbackServer(recorder) as server:
        right = command("send", "delivered", "--url", server.url, "--authorization", "Bearer of-news")
        wrong = command("send", "delivered", "--url", server.url, "--authorization", "Bearer of-rumours")
        json = command(
            "send", "delivered", "--url", server.url, "--authorization", "Bearer of-news", "--format", "json"
        )

    assert (right.code, wrong.code, json.code) == (0, 1, 0)
    assert json.objects[0]["headers"]["Authorization"] == "(as configured)"
    assert "of-news" not in right.out + right.err + json.out + json.err


def test_a_secret_may_hold_any_character(command: Command) -> None:
    recorder = Recorder(username="acme", secret="schlüssel-秘密")
    with LoopbackServer(recorder) as server:
        result = command("send", "verified", "--url", server.url, "--username", "acme", "--secret", "schlüssel-秘密")

    assert (result.code, len(recorder.received)) == (0, 4)


def test_the_same_seed_makes_the_same_message(command: Command, sdk_app: SdkApp) -> None:
    def message_id(*seed: str) -> str:
        result = command("send", "lost", "--url", sdk_app.url, *seed, "--format", "json")
        return str(result.objects[-1]["message_id"])

    assert message_id("--seed", "7") == message_id("--seed", "7")
    assert message_id() != message_id()


def test_a_generated_seed_is_shown(command: Command, sdk_app: SdkApp) -> None:
    first = command("send", "lost", "--url", sdk_app.url, "--format", "json").objects[-1]
    again = command("send", "lost", "--url", sdk_app.url, "--seed", first["seed"], "--format", "json").objects[-1]

    assert again["message_id"] == first["message_id"]


def test_the_address_is_validated_first_when_asked(command: Command) -> None:
    recorder = Recorder(username="acme", secret="s3cret")
    with LoopbackServer(recorder) as server:
        result = command("send", "plan,sent", "--url", server.url, *SIGNED, "--validate", "--format", "json")
        text = command("send", "plan,sent", "--url", server.url, *SIGNED, "--validate", "--dialect", "newer")

    assert [one["type"] for one in result.objects] == ["validation", "attempt", "attempt", "run"]
    assert [received.body for received in recorder.received if received.ping] == [b"", b"{}"]
    assert "ping  body {}" in text.out


def test_a_refused_validation_exits_1(command: Command, sdk_app: SdkApp) -> None:
    # The SDK's view answers 401 to the unsigned ping of the vendor's own document.
    result = command("send", "delivered", "--url", sdk_app.url, *SIGNED, "--validate", "--format", "json")

    assert result.code == 1
    assert [one["acknowledged"] for one in result.objects] == [False, True, True, True, True]


def test_the_receiver_must_answer_within_the_timeout(command: Command) -> None:
    def never_answer(conversation: Conversation) -> None:
        conversation.request()
        conversation.await_departure()

    with Peer(never_answer) as peer:
        result = command("send", "plan,sent", "--url", peer.url, "--timeout", "0.2", "--format", "json")

    assert result.code == 1
    assert result.objects[0]["error"] == "no complete answer within 0.2 s"
    assert result.objects[0]["outcome"] == "timeout"


def test_delays_pass_in_real_time_when_asked(command: Command, sdk_app: SdkApp) -> None:
    result = command("send", "delivered", "--url", sdk_app.url, *SIGNED, "--speed", "100", "--format", "json")

    assert result.code == 0
    assert result.err == "", "no terminal, no progress display"
    plan, sent, delivered = (event.timestamp for event in sdk_app.events)
    assert (sent - plan >= 2, delivered - sent >= 3) == (True, True)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def test_certificates_are_verified_unless_told_otherwise(
    command: Command, authority: trustme.CA, tmp_path: Path
) -> None:
    import ssl
    import threading

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    server = make_server("127.0.0.1", 0, Recorder(), threaded=True, ssl_context=context)
    thread = threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    try:
        url = f"https://127.0.0.1:{server.port}/"
        unknown = command("send", "plan,sent", "--url", url)
        trusted = command("send", "plan,sent", "--url", url, "--ca", str(bundle))
        unverified = command("send", "plan,sent", "--url", url, "--insecure")
    finally:
        server.shutdown()
        thread.join(5)

    assert (unknown.code, trusted.code, unverified.code) == (3, 0, 0)
    assert "--insecure" in unknown.out


# --- `send --replay`: a token instead of a scenario


def test_a_token_is_sent_instead_of_a_scenario(program: Command, sdk_app: SdkApp) -> None:
    token = "eg1:sent,plan!ackloss,delivered*2@+3.1s"
    result = program(
        "send", "--replay", token, "--url", sdk_app.url, *SIGNED, "--to", "+6591234567", "--format", "json"
    )

    assert (result.code, result.err) == (0, "")
    assert [event.status for event in sdk_app.events] == ["sent", "plan", "delivered", "delivered", "plan"]
    assert {event.to for event in sdk_app.events} == {"+6591234567"}
    *attempts, run = result.objects
    assert [(one["statuses"], one["acknowledged"]) for one in attempts] == [
        (["sent"], True),
        (["plan"], False),
        (["delivered"], True),
        (["delivered"], True),
        (["plan"], True),
    ]
    assert run == {
        "type": "run",
        "scenario": token,
        "message_id": sdk_app.events[0].message_id,
        "statuses": ["sent", "plan", "delivered", "delivered"],
        "acknowledged": True,
        "to": "+6591234567",
        "seed": run["seed"],
        "interrupted": False,
    }


def test_a_token_is_shown_in_text(command: Command, sdk_app: SdkApp) -> None:
    result = command("send", "--replay", "eg1:sent,plan!5xx", "--url", sdk_app.url, *SIGNED)
    assert result.code == 0
    assert "eg1:sent,plan!5xx" in result.out
    assert "answered 502 in place of the receiver's 200; only 200 acknowledges" in result.out
    assert "✓ 2 of 2 callbacks acknowledged" in result.out


def test_the_exit_code_of_a_replay(command: Command, failing_url: str, closed_url: str) -> None:
    assert command("send", "--replay", "eg1:sent,plan", "--url", failing_url).code == 1
    assert command("send", "--replay", "eg1:sent,plan!lost", "--url", closed_url).code == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--replay", "eg1:plan,delivred"), "at character 10: unknown event 'delivred'"),
        (("verified", "--replay", "eg1:plan"), "leave 'verified' out"),
        (("--replay", "eg1:plan!wrong_secret", "--url", "http://127.0.0.1:1/"), "callbacks are not signed"),
    ],
)
def test_a_token_that_cannot_be_replayed(command: Command, arguments: tuple[str, ...], said: str) -> None:
    result = command("send", *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
