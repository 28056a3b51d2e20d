"""What `check` reports: the evidence of a failure, how to send it again, the files, and the progress."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from engagelab_mock import CHECKS
from engagelab_mock.checks import freshness
from tests.checks.receivers.correct import (
    AUTHORIZATION,
    SECRET,
    observe,
)
from tests.checks.receivers.ordering import KeepsWhatCameLast
from tests.checks.receivers.store import Store
from tests.cli.checked import FULLY, SIGNED, Served, serve
from tests.cli.conftest import PATIENCE, Command, SdkApp


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
    said = "the fix as code for Flask, Django, FastAPI (--language has others: node, express, php, go, java, ruby):"
    assert said in " ".join(out.split())
    assert line == f"engagelab-mock check {forgetful.url} {shlex.join(look[:2])} --patience 3.0 --only B17 -v"
    assert "again     " in run_in_a_shell(line, check=False)


def test_a_receiver_with_another_secret_gets_a_hint(command: Command, forgetful: Served) -> None:
    result = command("check", forgetful.url, "--username", "acme", "--secret", "other", "--only", "B05,D01")
    assert result.code == 2
    assert "does the receiver use the same username and secret?" in " ".join(result.out.split())


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
