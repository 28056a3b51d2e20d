"""`check` as a user runs it: which checks run, and the exit code."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flask
import msgspec
import pytest

from engagelab_mock import CHECKS
from engagelab_mock.server.loopback import LoopbackServer
from tests.checks.receivers.certificates import Authority
from tests.checks.receivers.correct import (
    AUTHORIZATION,
    PATH,
    SECRET,
    USERNAME,
    CorrectReceiver,
    observe,
)
from tests.checks.receivers.frameworks import on_flask
from tests.checks.receivers.store import Store
from tests.cli.checked import FULLY, SIGNED, Served
from tests.cli.conftest import PATIENCE, Command, Spawn

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


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


def test_ctrl_c_ends_the_run_with_a_summary_and_reports(spawn: Spawn, correct: Served, tmp_path: Path) -> None:
    told, looked, go_on = threading.Event(), threading.Event(), threading.Event()
    store = Store(correct.database)
    reports = [f"--report={kind}={tmp_path / kind}" for kind in ("junit", "html", "sarif")]

    def state(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # Once the first finding is out, a look at the state takes until the command has ended.
        if told.is_set():
            looked.set()
            go_on.wait()
        start_response("200 OK", [])
        return [json.dumps(observe(store, environ["PATH_INFO"][1:])).encode()]

    with LoopbackServer(state) as server:
        look = ("--observe", f"{server.url}/{{message_id}}", "--patience", "0.1")
        process = spawn("check", correct.url, *FULLY, *look, "--only", "A01,B0*", "--format", "json", *reports)
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
    for kind in ("junit", "html", "sarif"):
        text = (tmp_path / kind).read_text()
        assert "A01" in text
        assert "the run ended early: it was interrupted" in text
