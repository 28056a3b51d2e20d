from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flask
import msgspec
import pytest

from engagelab_mock import CHECKS
from engagelab_mock.checks import freshness
from engagelab_mock.server.loopback import LoopbackServer
from tests.checks.receivers.certificates import Authority
from tests.checks.receivers.concurrent import AddsToATotal, let_them_meet
from tests.checks.receivers.correct import (
    AUTHORIZATION,
    PATH,
    SECRET,
    USERNAME,
    CorrectReceiver,
    observe,
    observe_account,
)
from tests.checks.receivers.frameworks import on_flask
from tests.checks.receivers.meaning import Accounts, CreditsAtDelivered, account
from tests.checks.receivers.ordering import KeepsWhatCameLast
from tests.checks.receivers.store import Store
from tests.checks.receivers.verifying import ForgetsNonces
from tests.cli.conftest import PATIENCE, Command, SdkApp, Spawn

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SIGNED = ("--username", USERNAME, "--secret", SECRET)
FULLY = (*SIGNED, "--authorization", AUTHORIZATION)


@dataclass(frozen=True)
class Served:
    url: str
    state: str
    database: Path

    @property
    def account(self) -> str:
        """Return the address at which the totals of the account are seen."""
        return self.state.replace("{message_id}", "") + "totals"


def serve(
    kind: type[CorrectReceiver],
    directory: Path,
    observe: Callable[..., Any] = observe,
    account: Callable[..., Any] = observe_account,
) -> Iterator[Served]:
    """Serve a receiver together with addresses at which the states of a message and of the account are seen."""
    store = Store(directory / "receiver.sqlite")
    app = flask.Flask("state")
    app.add_url_rule("/state/<message_id>", "state", partial(observe, store))
    app.add_url_rule("/state/totals", "totals", partial(account, store))
    receiving = on_flask(kind(store))

    def both(environ, start_response):  # type: ignore[no-untyped-def]
        return (receiving if environ["PATH_INFO"] == PATH else app)(environ, start_response)

    with LoopbackServer(both) as server:
        yield Served(server.url + PATH, f"{server.url}/state/{{message_id}}", directory / "receiver.sqlite")


@pytest.fixture
def correct(tmp_path: Path) -> Iterator[Served]:
    yield from serve(CorrectReceiver, tmp_path)


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Served]:
    yield from serve(ForgetsNonces, tmp_path)


def test_a_correct_receiver_exits_0(program: Command, correct: Served) -> None:
    result = program("check", correct.url, *FULLY, "--observe", correct.state, "--only", "A*,B*", "--format", "json")

    assert (result.code, result.err) == (0, "")
    findings, summary = result.objects[:-1], result.objects[-1]
    # The check of whether the receiver still works comes last.
    assert [finding["id"] for finding in findings] == sorted(CHECKS, key=lambda id: (id == "E11", id))
    assert {finding["type"] for finding in findings} == {"finding"}
    assert {f["id"]: f["reason"] for f in findings if f["verdict"] == "fail"} == {}
    inconclusive = {finding["id"] for finding in findings if finding["verdict"] == "inconclusive"}
    assert inconclusive == {"A07"}
    assert (summary["type"], summary["ok"], summary["failed"], summary["observed"]) == ("summary", True, 0, True)
    assert summary["sent"]["callbacks"] > 50
    assert len(summary["sent"]["message_ids"]) == len(set(summary["sent"]["message_ids"]))


def test_a_failure_exits_1_and_is_shown_with_its_evidence(command: Command, forgetful: Served) -> None:
    result = command("check", forgetful.url, *FULLY, "--observe", forgetful.state, "--only", "B1*")

    assert (result.code, result.err) == (1, "")
    lines = result.out.splitlines()
    assert re.fullmatch(
        rf"✗ 1 failed, 9 passed, {len(CHECKS) - 10} not selected: 1 of severity major or worse", lines[1]
    )
    assert re.fullmatch(
        r"  sent in \d+\.\d s but not removed: \d+ callbacks about \d+ invented messages, and 1 ping", lines[3]
    )
    where = lines.index("  ✗ B17  A signature that was used before is refused with another body")
    assert lines[where + 1] == "      another body with a signature that was used before had an effect"
    assert lines[where + 2].startswith("      fix       Remember each nonce for 600 seconds")
    assert lines[where + 3] == "      more      --only B17 -v"
    assert "received" not in result.out
    assert "before:" not in result.out

    result = command("check", forgetful.url, *FULLY, "--observe", forgetful.state, "--only", "B17", "-v")
    assert "✗ B17 replay-swapped-body  A signature that was used before is refused with another body" in result.out
    assert "received  200 OK" in result.out
    assert "before: {'effects': [], 'status': None}" in result.out
    assert "after:  {'effects': [['delivered', 'sms']], 'status': 'delivered'}" in result.out
    assert "judged by the state" in result.out
    assert "Flask     digest = " in result.out
    assert AUTHORIZATION not in result.out


def test_the_command_for_more_runs(command: Command, forgetful: Served) -> None:
    look = ("--observe", forgetful.state, "--patience", "3")
    out = command("check", forgetful.url, *FULLY, *look, "--only", "B1*", "--fail-on", "blocker").out

    export, line = [line.strip() for line in out.splitlines()[-2:]]
    variables = "ENGAGELAB_WEBHOOK_USERNAME=acme ENGAGELAB_WEBHOOK_SECRET=… ENGAGELAB_MOCK_AUTHORIZATION=…"
    assert export == f"export {variables}"
    assert line == f"engagelab-mock check {forgetful.url} {shlex.join(look[:2])} --patience 3.0 --only B17 -v"
    assert "again     " in run_in_a_shell(line, check=False)


def test_credentials_of_the_environment_need_no_export(
    command: Command, forgetful: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGAGELAB_MOCK_URL", forgetful.url)
    monkeypatch.setenv("ENGAGELAB_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("ENGAGELAB_MOCK_AUTHORIZATION", AUTHORIZATION)
    monkeypatch.setenv("ENGAGELAB_MOCK_CHECK_OBSERVE", forgetful.state)
    out = command("check", "--username", USERNAME, "--only", "B17").out
    assert out.splitlines()[-1] == f"  engagelab-mock check --username {USERNAME} --only B17 -v"
    assert "export" not in out


@pytest.mark.parametrize("look", [True, False])
def test_the_counts_add_up(command: Command, correct: Served, look: bool) -> None:
    also = ("--observe", correct.state) if look else ()
    out = command("check", correct.url, *FULLY, *also, "--only", "A*,B*,C*,E*", "--skip", "A06,C0*").out

    [summary] = [line for line in out.splitlines() if " not selected" in line]
    assert sum(map(int, re.findall(r"(\d+) (?:failed|passed|inconcl|not|skipped)", summary))) == len(CHECKS)
    families = [line for line in out.splitlines() if re.match(r"  . [A-E]  ", line)]
    of_families = sum(int(number) for line in families for number in re.findall(r"\d+", line))
    assert of_families == len(CHECKS) - int(re.findall(r"(\d+) not selected", summary)[0])


def test_without_observe_one_line_says_what_it_would_add(command: Command, correct: Served) -> None:
    blind = command("check", correct.url, *FULLY, "--only", "A01,B17,C01,C06").out
    seeing = command("check", correct.url, *FULLY, "--only", "A01,B17,C01", "--observe", correct.state).out
    every = command("check", correct.url, *FULLY, "--only", "A01,B17,C01,C06", "-v").out

    assert "  --observe would judge 3 more checks: duplicates, order, forged callbacks\n" in blind
    assert "INCONCLUSIVE" not in blind
    assert "would judge" not in seeing
    assert "INCONCLUSIVE  3\n  B17 C01 C06  the state of the app cannot be seen: give --observe\n" in every


@pytest.mark.parametrize("columns", [60, 80])
def test_the_report_fits(columns: int, command: Command, sdk_app: SdkApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = command("check", sdk_app.url, *SIGNED, "--only", "A*,B0*,C06").out

    prose = [line for line in out.splitlines() if not line.startswith(("  engagelab-mock", "  export"))]
    assert max(map(len, prose)) <= columns
    assert all(line == line.rstrip() for line in prose)


def test_the_summary_names_the_checks_that_the_depth_deep_adds(
    command: Command, forgetful: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "MESSAGES", 10)
    look = ("check", forgetful.url, *FULLY, "--observe", forgetful.state, "--only", "A01,many-*")

    assert "--depth deep adds C18 many-messages" in command(*look).out
    deep = command(*look, "--depth", "deep")
    assert "--depth deep adds" not in deep.out
    assert "2 passed" in deep.out
    messages = re.search(r"callbacks about (\d+) invented messages", deep.out)
    assert messages is not None
    assert int(messages[1]) > 10


def test_a_family_that_was_asked_for_and_not_judged_exits_2(command: Command, correct: Served) -> None:
    result = command("check", correct.url, *FULLY, "--only", "A01,C01")

    assert result.code == 2
    assert "✓ A  Acknowledgement: 1 passed\n" in result.out
    assert "· C  Duplicates and order: 1 inconclusive\n" in result.out
    rest = len(CHECKS) - 2
    assert f"✗ 0 failed, 1 passed, 1 inconclusive, {rest} not selected: nothing was judged of Dupl" in result.out
    assert "the state of the app cannot be seen: give --observe\n" in result.out


def test_a_family_that_needs_the_state_is_named_without_observe(command: Command, correct: Served) -> None:
    skip = ("--skip", "A06,B*,D*,E*,C12")
    result = command("check", correct.url, *FULLY, *skip)

    assert result.code == 0
    assert re.search(r"· C  Duplicates and order: \d+ inconclusive", result.out)
    assert "✓ 0 failed" in result.out


def test_nothing_judged_exits_2(command: Command, correct: Served) -> None:
    result = command("check", correct.url, *FULLY, "--only", "C06", "--format", "json")

    summary = result.objects[-1]
    assert (result.code, summary["ok"], summary["passed"], summary["failed"]) == (2, False, 0, 0)
    assert summary["doubt"] == "nothing was judged: the state of the app cannot be seen: give `observe`"
    assert summary["unjudged"] == ["C"]


def test_the_json_object_of_a_failure_has_everything(command: Command, forgetful: Served) -> None:
    result = command("check", forgetful.url, *FULLY, "--observe", forgetful.state, "--only", "B17", "--format", "json")

    [finding] = [each for each in result.objects[:-1] if each["verdict"] == "fail"]
    assert finding["id"] == "B17"
    first, second = finding["exchanges"]
    assert first["headers"] == second["headers"]
    assert first["body"] != second["body"]
    assert ["Authorization", "(as configured)"] in first["headers"]
    assert second["answer"]["status"] == 200
    state = finding["states"][-1]
    assert state["before"] == {"effects": [], "status": None}
    assert state["after"] == {"effects": [["delivered", "sms"]], "status": "delivered"}
    assert finding["basis"] == "state"
    assert all(finding["fix"][name] for name in ("text", "flask", "django", "fastapi"))
    assert "curl" in finding["repro"]
    assert AUTHORIZATION not in result.out
    assert SECRET not in json.dumps(finding)


def test_no_report_has_the_credentials(command: Command, forgetful: Served) -> None:
    credentials = AUTHORIZATION.partition(" ")[2]
    reports = [word for kind in ("junit", "html", "sarif") for word in ("--report", f"{kind}=check.{kind}")]
    look = ("--observe", forgetful.state, "--only", "B17,B18")
    result = command("check", forgetful.url, *FULLY, *look, *reports, "--format", "json")

    [finding] = [each for each in result.objects[:-1] if each["id"] == "B18"]
    values = [value for one in finding["exchanges"] for name, value in one["headers"] if name == "Authorization"]
    nearly = "Basic (as configured, but cut or in another case)"
    assert values == ["Basic not-the-credentials", nearly, nearly, "bASIC (as configured)", "(as configured)"]
    for text in (result.out, *(path.read_text() for path in Path.cwd().glob("check.*"))):
        assert credentials not in text
        assert credentials[::-1] not in text
        assert credentials.swapcase() not in text
        assert credentials[: len(credentials) // 2] not in text


def test_fail_on_and_suppress_decide_which_failures_count(command: Command, forgetful: Served) -> None:
    arguments = ("check", forgetful.url, *FULLY, "--observe", forgetful.state, "--only", "B17")

    assert command(*arguments, "--fail-on", "blocker").code == 0
    result = command(*arguments, "--suppress", "B17=reached over mutual TLS alone")
    assert result.code == 0
    assert "B17  reached over mutual TLS alone (another body with a signature" in result.out


def test_the_projects_table_is_read(command: Command, forgetful: Served, tmp_path: Path) -> None:
    lines = [
        "[tool.engagelab-mock]",
        f"url = {forgetful.url!r}",
        f"username = {USERNAME!r}",
        f"secret = {SECRET!r}",
        f"authorization = {AUTHORIZATION!r}",
        "[tool.engagelab-mock.check]",
        f"observe = {forgetful.state!r}",
        'only = ["B17", "A0*"]',
        'suppress = { B17 = "reached over mutual TLS alone" }',
    ]
    (tmp_path / "pyproject.toml").write_text("\n".join(lines))

    result = command("check", "--format", "json")

    assert result.code == 0
    assert result.objects[-1]["suppressed"] == 1
    assert result.objects[-1]["passed"] > 5


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
        assert "`observe` still returned 'please log in'" in error["message"]


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


def test_a_check_that_fails_itself_exits_2(command: Command, correct: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(trial: object) -> None:
        raise KeyError("learned")

    monkeypatch.setitem(CHECKS, "A04", msgspec.structs.replace(CHECKS["A04"], work=work))
    words = ("check", correct.url, *FULLY, "--only", "A01,A04")
    result = command(*words, "--format", "json")
    summary = result.objects[-1]
    assert (result.code, summary["ok"], summary["errors"], summary["passed"]) == (2, False, 1, 1)
    assert summary["doubt"] == "1 check ended with an error: A04"
    text = command(*words)
    assert (text.code, "✓ 0 failed" in text.out) == (2, False)
    assert "A04  KeyError: 'learned' (test_check.py, line" in text.out


def test_a_closed_port_exits_3(command: Command, closed_url: str) -> None:
    result = command("check", closed_url, *SIGNED, "--format", "json")

    assert result.code == 3
    assert result.objects == [
        {
            "type": "error",
            "error": "Unreachable",
            "message": result.objects[0]["message"],
            "hint": "start it, or give --wait 10 if it is about to come up",
        }
    ]
    assert "connection refused" in result.objects[0]["message"]


def test_a_bad_certificate_is_a_finding(command: Command, tmp_path: Path) -> None:
    authority = Authority()
    bundle = authority.write_bundle(tmp_path / "ca.pem")
    with authority.serving(CorrectReceiver(Store(tmp_path / "receiver.sqlite")), "127.0.0.1") as url:
        unknown = command("check", url + PATH, *FULLY, "--only", "E09", "--format", "json")
        known = command("check", url + PATH, *FULLY, "--only", "E09", "--ca", str(bundle), "--format", "json")

    assert (unknown.code, known.code) == (1, 0)
    assert [f["id"] for f in unknown.objects[:-1] if f["verdict"] == "fail"] == ["E09"]
    assert [f["id"] for f in known.objects[:-1] if f["verdict"] == "pass"] == ["E09"]


def test_wait_waits_until_the_receiver_is_up(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placeholder = LoopbackServer(flask.Flask("gone"))
    port = placeholder.port
    placeholder.stop()
    receiver = on_flask(CorrectReceiver(Store(tmp_path / "receiver.sqlite")))
    servers: list[LoopbackServer] = []
    connect = socket.socket.connect

    def come_up_once_refused(self: socket.socket, address: Any) -> None:
        try:
            connect(self, address)
        except ConnectionRefusedError:
            servers.append(LoopbackServer(receiver, port=port).start())
            raise

    monkeypatch.setattr(socket.socket, "connect", come_up_once_refused)
    result = command("check", f"http://127.0.0.1:{port}{PATH}", *FULLY, "--wait", f"{PATIENCE}", "--only", "A01")
    assert len(servers) == 1
    servers[0].stop()

    assert result.code == 0


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


BAD = [
    ((), "UsageError", "URL: the address of the receiver to check is missing"),
    (("http://127.0.0.1:9/", "--only", "B04,Z1"), "UnknownName", "only: unknown check 'Z1'"),
    (("http://127.0.0.1:9/", "--skip", "sig-misssing"), "UnknownName", "skip: unknown check 'sig-misssing'"),
    (("http://127.0.0.1:9/", "--suppress", "B17"), "UsageError", "'B17' comes without a reason"),
    (("http://127.0.0.1:9/", "--severity", "mayor"), "UsageError", "'mayor' is not one of"),
    (("http://127.0.0.1:9/", "--report", "pdf=x"), "UnknownName", "unknown kind of report 'pdf'"),
    (("http://127.0.0.1:9/", "--report", "html"), "UsageError", "'html' is not KIND=FILE"),
    (("http://127.0.0.1:9/", "--report", "html=no/such/x.html"), "UsageError", "directory not found"),
    (
        ("http://127.0.0.1:9/", "--observe", "http://127.0.0.1/state"),
        "UsageError",
        "has no place for the message's id",
    ),
    (("http://127.0.0.1:9/", "--observe", "{message_id}"), "InvalidSettings", "is not http"),
    (("http://127.0.0.1:9/", "--observe-command", "'{message_id}"), "UsageError", "is not a command line"),
    (
        ("http://127.0.0.1:9/", "--observe", "http://a/{message_id}", "--observe-command", "x {message_id}"),
        "UsageError",
        "do the same",
    ),
    (("http://127.0.0.1:9/", "--restart-command", "kill '"), "UsageError", "is not a command line"),
    (("http://127.0.0.1:9/", "--restart-command", " "), "UsageError", "the command is empty"),
    (("http://127.0.0.1:9/", "--observe-account", "totals"), "InvalidSettings", "is not http"),
    (("http://127.0.0.1:9/", "--wait", "-1"), "InvalidDelay", "wait"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
def test_bad_input_exits_2(arguments: tuple[str, ...], error: str, message: str, command: Command) -> None:
    result = command("check", *arguments, "--format", "json")

    assert result.code == 2
    [said] = result.objects
    assert (said["type"], said["error"]) == ("error", error)
    assert message in said["message"] or error == "InvalidSettings"
    assert message.split("'")[0].strip()[:10] in result.err or result.err


def test_every_report_is_written(command: Command, sdk_app: SdkApp, tmp_path: Path) -> None:
    reports = [word for kind in ("junit", "html", "sarif") for word in ("--report", f"{kind}=check.{kind}")]
    result = command("check", sdk_app.url, *SIGNED, "--only", "A*", *reports)

    assert result.code == 1
    assert {path.name for path in tmp_path.iterdir()} == {"check.junit", "check.html", "check.sarif"}


def test_a_curl_line_sends_the_same_again(command: Command, sdk_app: SdkApp) -> None:
    result = command("check", sdk_app.url, *SIGNED, "--only", "A01,B04", "--format", "json")
    repro = {finding["id"]: finding["repro"] for finding in result.objects[:-1] if finding["verdict"] == "fail"}

    assert answered(repro["A01"]) == "HTTP/1.1 401 UNAUTHORIZED"
    assert answered(repro["B04"]) == "HTTP/1.1 500 INTERNAL SERVER ERROR"


def test_a_curl_line_makes_a_new_genuine_signature(command: Command, sdk_app: SdkApp) -> None:
    result = command("check", sdk_app.url, *SIGNED, "--only", "A05", "--format", "json")
    [repro] = [finding["repro"] for finding in result.objects[:-1] if finding["id"] == "A05"]

    before = len(sdk_app.events)
    assert "$(engagelab-mock sign)" in repro
    assert answered(repro) == "HTTP/1.1 200 OK"
    assert len(sdk_app.events) == before + 1


def test_curl_lines_that_repeat_a_signature_make_it_once(command: Command, forgetful: Served) -> None:
    look = ("--observe", forgetful.state, "--only", "B17")
    result = command("check", forgetful.url, *FULLY, *look, "--format", "json")
    [repro] = [finding["repro"] for finding in result.objects[:-1] if finding["verdict"] == "fail"]

    assert repro.splitlines()[1] == 'signature="$(engagelab-mock sign)"'
    assert repro.count("$signature") == 2
    assert [line.strip() for line in re.findall("^HTTP/.*$", run_in_a_shell(repro), re.MULTILINE)] == [
        "HTTP/1.1 200 OK"
    ] * 2


def test_a_check_that_needs_a_hook_says_that_it_needs_a_test(command: Command, correct: Served) -> None:
    words = ("check", correct.url, *FULLY, "--observe", correct.state, "--only", "A07,B21,C05,C13")
    out = " ".join(command(*words).out.split())
    for reason in (
        "A07 the handler's downstream calls cannot be slowed down: give stall, which needs a test in pytest",
        "B21 not over http: its calls can only be watched in process, which needs a test in pytest",
        "C05 not over http: only an app in process can be made to fail after its work, which needs a test in pytest",
        "C13 the app cannot be told about a message: give prepare, which needs a test in pytest",
    ):
        assert reason in out


def test_a_wrong_order_is_sent_again_by_its_token(command: Command, tmp_path: Path) -> None:
    for served in serve(KeepsWhatCameLast, tmp_path):
        words = ("check", served.url, *FULLY, "--observe", served.state, "--only", "C06")
        finding = next(each for each in command(*words, "--format", "json").objects if each.get("id") == "C06")
        out = command(*words, "-v").out
        variables = "ENGAGELAB_WEBHOOK_USERNAME=acme ENGAGELAB_WEBHOOK_SECRET=… ENGAGELAB_MOCK_AUTHORIZATION=…"
        assert f"again     # first: export {variables}\n" in out
        assert f"    engagelab-mock send --replay {finding['token']} --url {served.url}\n" in out

        said = run_in_a_shell(finding["repro"])
        assert "2 of 2 callbacks acknowledged" in said
        [message_id] = re.findall(r"\b\d{18,19}\b", said)[:1]
        assert observe(Store(served.database), message_id)["status"] == "sent"


def answered(repro: str) -> str:
    """Run a curl line, and return the status line of the last answer."""
    lines: list[str] = re.findall(r"^HTTP/\S+ .*$", run_in_a_shell(repro), re.MULTILINE)
    return lines[-1].strip()


def run_in_a_shell(repro: str, *, check: bool = True) -> str:
    """Run the command that repeats it, as a reader would."""
    scripts = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-c", repro],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=check,
        env={
            **os.environ,
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "ENGAGELAB_WEBHOOK_USERNAME": "acme",
            "ENGAGELAB_WEBHOOK_SECRET": "s3cret",
            "ENGAGELAB_MOCK_AUTHORIZATION": AUTHORIZATION,
        },
    )
    return done.stdout


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_progress_is_shown_on_a_terminal_until_the_report(sdk_app: SdkApp) -> None:
    import pty

    ours, theirs = pty.openpty()
    arguments = [sys.executable, "-m", "engagelab_mock", "check", sdk_app.url, *SIGNED, "--only", "A*"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    done = subprocess.run(
        arguments, stdout=subprocess.PIPE, stderr=theirs, env=environment, timeout=PATIENCE, check=False
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux raises it at the end of a terminal to which no process writes any more
        while piece := os.read(ours, 65536):
            shown += piece
    os.close(ours)
    assert f"of {len(CHECKS)}".encode() in shown
    assert b"\x1b[2K" in shown
    assert b"\x1b" not in done.stdout
    assert "✗ A01  The empty, unsigned ping is acknowledged" in done.stdout.decode()


def test_ctrl_c_ends_the_run_with_a_summary(spawn: Spawn, correct: Served) -> None:
    told, looked, go_on = threading.Event(), threading.Event(), threading.Event()
    store = Store(correct.database)

    def state(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # Once the first finding is out, a look at the state takes until the command has ended.
        if told.is_set():
            looked.set()
            go_on.wait()
        start_response("200 OK", [])
        return [json.dumps(observe(store, environ["PATH_INFO"][1:])).encode()]

    with LoopbackServer(state) as server:
        look = ("--observe", f"{server.url}/{{message_id}}", "--patience", "0.1")
        process = spawn("check", correct.url, *FULLY, *look, "--only", "A01,B0*", "--format", "json")
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        told.set()
        assert looked.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        said = process.stdout.read().splitlines()
        assert process.wait(PATIENCE) == 130
        go_on.set()
    assert first["id"] == "A01"
    summary = json.loads(said[-1])
    assert (summary["type"], summary["interrupted"], summary["ok"]) == ("summary", True, False)
    assert summary["passed"] >= 1


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
