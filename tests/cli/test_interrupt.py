"""Ctrl-C and SIGTERM in the middle of a run: the command sums up its work so far."""

from __future__ import annotations

import json
import signal
import threading

import pytest

from engagelab_mock import Recorder
from engagelab_mock.server.loopback import LoopbackServer
from tests.cli.conftest import PATIENCE, SdkApp, Spawn


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_send_sums_up_its_callbacks_so_far(spawn: Spawn, sdk_app: SdkApp, number: int, code: int) -> None:
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


def test_demo_sums_up_its_callbacks_so_far(spawn: Spawn) -> None:
    demo = spawn("demo", "--speed", "0.01", "--format", "json")
    assert demo.stdout is not None
    for _ in range(2):
        demo.stdout.readline()

    demo.send_signal(signal.SIGINT)
    out, _ = demo.communicate()

    summary = json.loads(out)
    assert demo.returncode == 130
    assert (summary["type"], summary["runs"], summary["interrupted"]) == ("summary", 0, True)


@pytest.mark.slow
def test_demo_counts_the_callbacks_of_the_scenario_that_was_interrupted(spawn: Spawn) -> None:
    demo = spawn("demo", "--speed", "0.5")
    assert demo.stdout is not None
    while " sent " not in (line := demo.stdout.readline()):
        assert line, "the demo ended before it sent anything"

    demo.send_signal(signal.SIGINT)
    out, _ = demo.communicate()

    assert demo.returncode == 130
    assert "Interrupted after 2 callbacks; 0 scenarios finished" in out


def test_text_says_interrupted(spawn: Spawn, sdk_app: SdkApp) -> None:
    sender = spawn("send", "verified", "--url", sdk_app.url, "--speed", "0.01")
    assert sender.stdout is not None
    while "plan" not in (line := sender.stdout.readline()):
        assert line, "the program ended before it sent anything"

    sender.send_signal(signal.SIGINT)
    out, _ = sender.communicate()

    assert sender.returncode == 130
    assert "Interrupted: so far 0 of 1 callback acknowledged" in out


def test_send_counts_only_callbacks_that_were_answered(spawn: Spawn) -> None:
    second_arrived, go_on = threading.Event(), threading.Event()
    recorder = Recorder()

    def hold_the_second(_: object) -> None:
        if len(recorder.received) == 2:
            second_arrived.set()
            go_on.wait()

    recorder.on_received = hold_the_second
    with LoopbackServer(recorder) as server:
        sender = spawn("send", "fallback", "--url", server.url, "--timeout", f"{PATIENCE}", "--to", "+6591234567")
        assert second_arrived.wait(PATIENCE)
        sender.send_signal(signal.SIGINT)
        out, _ = sender.communicate()
        go_on.set()

    assert sender.returncode == 130
    assert "Interrupted: so far 1 of 1 callback acknowledged" in out
    assert "to +6591234567" in out
