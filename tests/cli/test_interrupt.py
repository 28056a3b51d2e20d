"""Ctrl-C and SIGTERM in the middle of a run: what is known is told."""

from __future__ import annotations

import json
import signal

import pytest

from tests.cli.conftest import SdkApp, Spawn


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_send_sums_up_what_was_sent(spawn: Spawn, sdk_app: SdkApp, number: int, code: int) -> None:
    signed = ("--username", "acme", "--secret", "s3cret")
    sender = spawn("send", "verified", "--url", sdk_app.url, *signed, "--speed", "0.01", "--format", "json")
    assert sender.stdout is not None
    first = json.loads(sender.stdout.readline())
    assert first["statuses"] == ["plan"]

    sender.send_signal(number)
    out, err = sender.communicate()

    run = json.loads(out)
    assert (sender.returncode, err.strip()) == (code, "")
    assert (run["type"], run["statuses"], run["acknowledged"]) == ("run", ["plan"], False)
    assert (run["message_id"], run["interrupted"]) == (sdk_app.events[0].message_id, True)


def test_demo_sums_up_what_was_played(spawn: Spawn) -> None:
    demo = spawn("demo", "--speed", "0.01", "--format", "json")
    assert demo.stdout is not None
    for _ in range(2):
        demo.stdout.readline()

    demo.send_signal(signal.SIGINT)
    out, _ = demo.communicate()

    summary = json.loads(out)
    assert demo.returncode == 130
    assert (summary["type"], summary["runs"], summary["interrupted"]) == ("summary", 0, True)


def test_text_says_interrupted(spawn: Spawn, sdk_app: SdkApp) -> None:
    sender = spawn("send", "verified", "--url", sdk_app.url, "--speed", "0.01")
    assert sender.stdout is not None
    while "plan" not in sender.stdout.readline():
        pass

    sender.send_signal(signal.SIGINT)
    out, _ = sender.communicate()

    assert sender.returncode == 130
    assert "Interrupted: so far 0 of 1 callbacks acknowledged" in out
