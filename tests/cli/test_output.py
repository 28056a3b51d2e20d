"""Colour, marks, and the progress line."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from tests.cli.conftest import Command, Program, SdkApp, Spawn

ESCAPE = "\x1b["


def on_terminal(*arguments: str, **environment: str) -> str:
    """Run a command whose stdout and stderr are a terminal, and return the text that the terminal got."""
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "engagelab_mock", *arguments],
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    got = read_all(ours)
    program.wait()
    return got


def read_all(descriptor: int) -> str:
    got = b""
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # a terminal raises it when the last program has left it
            chunk = b""
        if not chunk:
            os.close(descriptor)
            return got.decode()
        got += chunk


def test_a_terminal_gets_colour() -> None:
    assert ESCAPE in on_terminal("demo")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_gets_no_colour_if_the_environment_says_so(environment: dict[str, str]) -> None:
    assert ESCAPE not in on_terminal("demo", **environment)


def test_an_empty_no_color_has_no_effect() -> None:
    assert ESCAPE in on_terminal("scenarios", NO_COLOR="")


def test_a_pipe_gets_no_colour(command: Command) -> None:
    assert ESCAPE not in command("demo").out


@pytest.mark.parametrize("arguments", [["demo"], ["scenarios"], ["send", "verfied"]])
def test_a_pipe_gets_colour_when_forced(
    command: Command, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    result = command(*arguments)

    assert ESCAPE in result.out + result.err


def test_json_is_never_coloured(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert ESCAPE not in command("demo", "--format", "json").out
    assert ESCAPE not in on_terminal("scenarios", "--format", "json")


def test_an_encoding_without_ticks_gets_words(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    out, err = spawn("demo", "-v").communicate()

    assert err == ""
    assert "  ok   +0 s  plan " in out


def test_an_encoding_without_arrows_gets_other_arrows(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    out, err = spawn("scenarios").communicate()

    assert err == ""
    assert "plan -> +2 sent" in out


@pytest.fixture
def shown(sdk_app: SdkApp, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, int]:
    """Send in real time with stderr alone on a terminal: what went to stdout, to the terminal, and the exit code."""
    monkeypatch.setenv("TERM", "xterm-256color")
    ours, theirs = pty.openpty()
    signed = ("--username", "acme", "--secret", "s3cret")
    program: Program = spawn(
        "send", "delivered", "--url", sdk_app.url, *signed, "--speed", "10", "--format", "json", stderr=theirs
    )
    os.close(theirs)
    out, _ = program.communicate()
    return out, read_all(ours), program.returncode


def test_in_real_time_progress_is_shown_only_on_the_terminal(shown: tuple[str, str, int]) -> None:
    out, terminal, code = shown

    assert code == 0
    assert "waiting for" in terminal
    assert "delivered" in terminal
    assert "of 5 s" in terminal
    assert [line.partition(",")[0] for line in out.splitlines()] == ['{"type":"attempt"'] * 3 + ['{"type":"run"']
    assert ESCAPE not in out


def test_progress_is_removed_before_each_result(sdk_app: SdkApp) -> None:
    terminal = on_terminal("send", "delivered", "--url", sdk_app.url, "--speed", "20", "--format", "json")

    before_results = terminal.split('{"type":')[:-1]
    assert len(before_results) == 4
    erased = "\x1b[2K"
    assert all(before.endswith((erased, "\n")) for before in before_results)
