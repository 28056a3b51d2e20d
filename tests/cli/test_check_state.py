"""The state that `check` reads: where from, what it means, and the restart of the app."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engagelab_mock import CHECKS
from engagelab_mock.server.loopback import LoopbackServer
from tests.checks.receivers.concurrent import AddsToATotal, let_them_meet
from tests.checks.receivers.correct import (
    PATH,
    CorrectReceiver,
    observe,
)
from tests.checks.receivers.frameworks import on_flask
from tests.checks.receivers.meaning import Accounts, CreditsAtDelivered, account
from tests.checks.receivers.store import Store
from tests.cli.checked import FULLY, Served, serve
from tests.cli.conftest import Command

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


@pytest.mark.parametrize("way", ["url", "command"])
def test_the_state_is_read_from_a_url_or_a_command(way: str, command: Command, correct: Served) -> None:
    query = "SELECT status FROM effects WHERE message_id = '{message_id}'"
    program = f"import sqlite3; print(sqlite3.connect({str(correct.database)!r}).execute({query!r}).fetchall())"
    look = {
        "url": ("--observe", correct.state),
        "command": ("--observe-command", shlex.join([sys.executable, "-S", "-c", program])),
    }[way]

    result = command("check", correct.url, *FULLY, *look, "--only", "B02,B16", "--format", "json")

    assert {f["id"]: f["verdict"] for f in result.objects[:-1] if f["id"] in {"B02", "B16"}} == {
        "B02": "pass",
        "B16": "pass",
    }


def test_the_account_is_read_from_a_url(command: Command, correct: Served) -> None:
    look = ("--observe", correct.state, "--only", "C21")
    seeing = command("check", correct.url, *FULLY, *look, "--observe-account", correct.account, "--format", "json")
    blind = command("check", correct.url, *FULLY, *look)

    [finding] = [each for each in seeing.objects[:-1] if each["id"] == "C21"]
    assert (seeing.code, finding["verdict"], finding["reason"]) == (0, "pass", "")
    assert blind.code == 2
    assert "the state of the account cannot be seen: give --observe-account\n" in blind.out


def test_a_lost_update_of_the_account_is_shown(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_them_meet(monkeypatch)
    for served in serve(AddsToATotal, tmp_path, account=AddsToATotal.observe_account):
        look = ("--observe", served.state, "--observe-account", served.account, "--only", "C21")
        out = " ".join(command("check", served.url, *FULLY, *look, "--patience", "0.1").out.split())
    assert "16 callbacks of sent at once: effects of the account changed by" in out
    assert f"--observe-account {served.account} --patience 0.1 --only C21 -v" in out


@pytest.mark.parametrize(
    ("status", "told"),
    [("404 Not Found", "answered 404 Not Found: gone"), ("500 Oops", "answered 500 Oops: gone")],
)
def test_an_account_that_cannot_be_read_ends_the_run(status: str, told: str, command: Command, correct: Served) -> None:
    for url in page(status, b"gone"):
        look = ("--observe", correct.state, "--observe-account", url, "--only", "A01,C06")
        [error] = command("check", correct.url, *FULLY, *look, "--format", "json").objects
    assert (error["error"], error["hint"]) == ("ProbeFailed", "it must answer 200 with the state")
    assert told in error["message"]
    assert error["message"].startswith("--observe-account: ")


def page(status: str, body: bytes = b"", content_type: str = "text/plain") -> Iterator[str]:
    """Serve a page that answers everything with the same, and return its address with a place for the message's id."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, [("Content-Type", content_type)])
        return [body]

    with LoopbackServer(app) as server:
        yield f"{server.url}/{{message_id}}"


def ended_before_the_first_check(command: Command, correct: Served, *look: str) -> str:
    """Return the error of a run that cannot see the state, after its output was checked."""
    result = command("check", correct.url, *FULLY, *look, "--patience", "0.05", "--only", "C*", "--format", "json")
    assert result.code == 2
    [error] = result.objects
    assert (error["type"], error["error"]) == ("error", "ProbeFailed")
    assert error["hint"]
    return str(error["message"])


@pytest.mark.parametrize(
    ("look", "told"),
    [
        (("--observe-command", "false {message_id}"), "'false' exited 1: without a message"),
        (("--observe-command", "sh -c 'echo no table >&2; exit 3' {message_id}"), "'sh' exited 3: no table"),
        (("--observe-command", "no-such-program {message_id}"), "'no-such-program' cannot be run"),
        (("--observe", "http://127.0.0.1:1/x/{message_id}"), "connection refused"),
    ],
)
def test_a_state_that_cannot_be_read_ends_the_run(
    look: tuple[str, str], told: str, command: Command, correct: Served
) -> None:
    assert told in ended_before_the_first_check(command, correct, *look)


@pytest.mark.parametrize(
    ("status", "body", "content_type", "told"),
    [
        ("404 Not Found", b"<h1>nothing here</h1>\n", "text/html", "answered 404 Not Found: <h1>nothing here</h1>"),
        ("302 Found", b"", "text/html", "answered 302 Found"),
        ("500 Oops", b"\n  no such table: otp\nmore", "text/plain", "answered 500 Oops: no such table: otp"),
        ("200 OK", b"<html>", "application/json", "a body that is not JSON, as its Content-Type says: <html>"),
    ],
)
def test_a_page_that_shows_no_state_ends_the_run(
    status: str, body: bytes, content_type: str, told: str, command: Command, correct: Served
) -> None:
    for url in page(status, body, content_type):
        assert told in ended_before_the_first_check(command, correct, "--observe", url)


def test_a_page_that_never_changes_ends_the_run(command: Command, correct: Served) -> None:
    for url in page("200 OK", b"please log in", "text/html"):
        look = ("--observe", url, "--patience", "0.05")
        result = command("check", correct.url, *FULLY, *look, "--only", "A*", "--format", "json")
        [error] = result.objects
        assert (result.code, error["error"]) == (2, "NothingObserved")
        assert "--observe still returned 'please log in'" in error["message"]
        assert "an app that answers 200 to everything hides its errors" in error["hint"]


def test_a_page_can_answer_404_for_a_message_that_it_does_not_know(command: Command, tmp_path: Path) -> None:
    store = Store(tmp_path / "receiver.sqlite")
    receiving = on_flask(CorrectReceiver(store))

    def both(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == PATH:
            return receiving(environ, start_response)
        state = observe(store, environ["PATH_INFO"].rpartition("/")[2])
        start_response("200 OK" if state["status"] else "404 Not Found", [("Content-Type", "application/json")])
        return [json.dumps(state).encode() if state["status"] else b"{}"]

    with LoopbackServer(both) as server:
        look = ("--observe", f"{server.url}/state/{{message_id}}")
        result = command("check", server.url + PATH, *FULLY, *look, "--only", "B0*,C06", "--format", "json")
    assert result.code == 0
    assert {f["verdict"] for f in result.objects[:-1] if f["id"] in {"B01", "B02", "C06"}} == {"pass"}


def test_a_page_that_starts_failing_ends_the_run_with_what_was_judged(
    command: Command, correct: Served, tmp_path: Path
) -> None:
    store = Store(correct.database)
    asked = []

    def state(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked.append(1)
        if len(asked) > 20:
            start_response("503 Service Unavailable", [])
            return [b"restarting"]
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(observe(store, environ["PATH_INFO"][1:])).encode()]

    with LoopbackServer(state) as server:
        look = ("--observe", f"{server.url}/{{message_id}}", "--report", "junit=out.xml")
        result = command("check", correct.url, *FULLY, *look, "--skip", "A06", "--format", "json")
        asked.clear()
        text = command("check", correct.url, *FULLY, *look, "--skip", "A06")
    *findings, summary, error = result.objects
    assert (result.code, summary["ok"], error["error"]) == (2, False, "ProbeFailed")
    assert "answered 503 Service Unavailable: restarting" in error["message"]
    assert [finding["id"] for finding in findings][:3] == ["A01", "A02", "A03"]
    assert 3 < len(findings) < len(CHECKS)
    assert summary["passed"] >= 3
    assert summary["doubt"].startswith("the run ended early: --observe: ")
    assert f'tests="{len(findings) + 1}" failures="0" errors="1"' in (tmp_path / "out.xml").read_text()
    assert (text.code, "✓ 0 failed" in text.out, "✗ 0 failed" in text.out) == (2, False, True)
    assert "503 Service Unavailable: restarting" in text.err


_RESTART = """\
import contextlib, os, pathlib, signal, subprocess, sys
pid = pathlib.Path("pid")
with contextlib.suppress(FileNotFoundError, ProcessLookupError):
    os.kill(int(pid.read_text()), signal.SIGKILL)
pid.write_text(str(subprocess.Popen([sys.executable, "-m", "tests.checks.receivers.processes", *sys.argv[1:]]).pid))
"""


class Restarted:
    """An app in a separate process; `command` kills it and starts it again in the background."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.directory = directory
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}{PATH}"
        (directory / "restart.py").write_text(_RESTART)
        self.database = directory / "receiver.sqlite"
        self.command = shlex.join([sys.executable, "restart.py", str(port), str(self.database), kind])
        query = "SELECT status FROM effects WHERE message_id = '{message_id}'"
        program = f"import sqlite3; print(sqlite3.connect({str(self.database)!r}).execute({query!r}).fetchall())"
        self.observe = shlex.join([sys.executable, "-S", "-c", program])

    def run(self) -> None:
        subprocess.run(shlex.split(self.command), check=True)

    def kill(self) -> None:
        os.kill(int((self.directory / "pid").read_text()), signal.SIGKILL)


@pytest.fixture
def restarted(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Restarted]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    app = Restarted(request.param, tmp_path)
    app.run()
    yield app
    app.kill()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("restarted", "code", "verdict"),
    [("CorrectReceiver", 0, "pass"), ("KnowsEventsInMemory", 1, "fail")],
    indirect=["restarted"],
)
def test_a_command_restarts_the_app(restarted: Restarted, code: int, verdict: str, command: Command) -> None:
    look = ("--observe-command", restarted.observe, "--restart-command", restarted.command, "--wait", "20")

    result = command("check", restarted.url, *FULLY, *look, "--only", "B27", "--format", "json")

    assert result.code == code
    assert [each["verdict"] for each in result.objects[:-1] if each["id"] == "B27"] == [verdict]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("false", "'false' exited 1: without a message"),
        ("sh -c 'echo stopping; echo no such unit >&2; exit 5'", "'sh' exited 5: no such unit"),
        ("no-such-program", "'no-such-program' cannot be run"),
    ],
)
def test_a_restart_that_fails_ends_the_run(given: str, told: str, command: Command, correct: Served) -> None:
    look = ("--observe", correct.state, "--restart-command", given)

    result = command("check", correct.url, *FULLY, *look, "--only", "C25", "--format", "json")

    assert result.code == 2
    error = result.objects[-1]
    assert (error["type"], error["error"]) == ("error", "ProbeFailed")
    assert f"--restart-command: {told}" in error["message"]


# What the statuses mean.

MEANT = ("--effect", "credits=verified", "--effect", "refunds=sent_failed,target_invalid", "--terminal", "verified")


@pytest.mark.parametrize(("kind", "code"), [(Accounts, 0), (CreditsAtDelivered, 1)])
def test_effects_and_terminal_statuses_are_options(
    kind: type[CorrectReceiver], code: int, command: Command, tmp_path: Path
) -> None:
    for served in serve(kind, tmp_path, account):
        result = command("check", served.url, *FULLY, "--observe", served.state, "--only", "F*", *MEANT)
        assert result.code == code, result.out
        assert ("credits happened 1 time after delivered; expected 0: it belongs to verified" in result.out) is bool(
            code
        )


def test_the_projects_table_has_effects(command: Command, tmp_path: Path) -> None:
    lines = ["[tool.engagelab-mock.check]", 'effect = { credits = "verified", refunds = "sent_failed,target_invalid" }']
    (tmp_path / "pyproject.toml").write_text("\n".join([*lines, 'terminal = ["verified"]']), encoding="utf-8")
    for served in serve(Accounts, tmp_path, account):
        result = command("check", served.url, *FULLY, "--observe", served.state, "--only", "F*")
        assert result.code == 0, result.out
        assert re.search(r"F  Meaning: 5 passed", result.out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--effect", "credits"), "'credits' is not NAME=STATUSES"),
        (("--effect", "credits=verfied"), "did you mean 'verified'?"),
        (("--effect", "credits="), "it has no status"),
        (("--terminal", "verfied"), "did you mean 'verified'?"),
        (("--effect", "credts=verified", "--only", "F01"), "did you mean 'credits'?"),
    ],
)
def test_a_wrong_meaning_is_an_error(arguments: tuple[str, ...], says: str, command: Command, tmp_path: Path) -> None:
    for served in serve(Accounts, tmp_path, account):
        result = command("check", served.url, *FULLY, "--observe", served.state, *arguments)
        assert result.code == 2
        assert says in result.err


def test_a_meaning_needs_a_state(command: Command, correct: Served) -> None:
    result = command("check", correct.url, *FULLY, *MEANT)
    assert result.code == 2
    assert "has effects and terminal, but no observe" in result.err


def test_the_report_says_what_was_inferred(command: Command, correct: Served) -> None:
    result = command("check", correct.url, *FULLY, "--observe", correct.state, "--only", "C06")
    assert "no effects were given, so any change of the state was taken for an effect" in " ".join(result.out.split())
