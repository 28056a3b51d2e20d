"""`send --replay`: a token in the place of a scenario."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Command, SdkApp

SIGNED = ("--username", "acme", "--secret", "s3cret")


def test_a_token_is_delivered_as_it_says(program: Command, sdk_app: SdkApp) -> None:
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


def test_in_text(command: Command, sdk_app: SdkApp) -> None:
    result = command("send", "--replay", "eg1:sent,plan!5xx", "--url", sdk_app.url, *SIGNED)
    assert result.code == 0
    assert "eg1:sent,plan!5xx" in result.out
    assert "answered 502 in place of the receiver's 200; only 200 acknowledges" in result.out
    assert "✓ 2 of 2 callbacks acknowledged" in result.out


def test_who_falls_short_is_told(command: Command, failing_url: str, closed_url: str) -> None:
    assert command("send", "--replay", "eg1:sent,plan", "--url", failing_url).code == 1
    assert command("send", "--replay", "eg1:sent,plan!lost", "--url", closed_url).code == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--replay", "eg1:plan,delivred"), "at character 10: unknown event 'delivred'"),
        (("verified", "--replay", "eg1:plan"), "leave 'verified' out"),
        (("--replay", "eg1:plan!wrong_secret", "--url", "http://127.0.0.1:1/"), "this receiver gets none"),
    ],
)
def test_what_cannot_be_replayed(command: Command, arguments: tuple[str, ...], said: str) -> None:
    result = command("send", *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
