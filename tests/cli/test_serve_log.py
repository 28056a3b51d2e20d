"""The log of `serve`: what somebody who watches the terminal reads."""

from __future__ import annotations

import re
from pathlib import Path

import flask
import pytest

from engagelab_mock import Outcome, Receiver, Recorder
from engagelab_mock.cli.entries import Tried
from tests.cli.conftest import Command, Serving, Spawn, Watch, end, wait_for_lines
from tests.cli.serving import MESSAGE

ESCAPE = "\x1b["


def test_a_message_has_its_channel_recipient_code_and_id(watch: Watch) -> None:
    watched = watch(Receiver.recording())
    sent = watched.send()
    code = watched.code(sent["message_id"])
    watched.advance(60)
    assert watched.lines() == [
        "✓ POST /v1/messages                200",
        f"            SMS → +6591234567  code {code}  message {sent['message_id']}",
        "✓ plan              +6591234567    200  #1",
        "✓ sent              +6591234567    200  #1",
        "✓ delivered         +6591234567    200  #1",
    ]


def test_the_log_in_the_guide_is_like_this(watch: Watch) -> None:
    answers = iter([200, 200, 500, 200])
    app = flask.Flask("receiver")
    app.add_url_rule("/", "receive", lambda: ("", next(answers)), methods=["POST"])
    watched = watch(Receiver.wsgi(app, path="/"))
    watched.send()
    watched.advance(0)
    watched.send("12")
    page = (Path(__file__).parents[2] / "docs" / "howto" / "serve.md").read_text(encoding="utf-8")
    shown = page.partition("## Read the log\n\n```text\n")[2].partition("```")[0]
    assert steady(watched.err()) == steady(shown)


def steady(log: str) -> list[str]:
    """Return the lines without what differs each time."""
    return re.sub(r"^\d\d:\d\d:\d\d| +\d+\.\d ms|\d{19}|code \d{6}", "…", log, flags=re.MULTILINE).splitlines()


def test_each_call_that_sends_has_the_code(watch: Watch) -> None:
    watched = watch()
    watched.call("POST", "/v1/codes", {**MESSAGE, "to": "+6591234568", "code": "31337"})
    custom = {"to": ["user@example.com", "+6591234569"], "template": {"id": "t", "params": {"code": "4711"}}}
    watched.call("POST", "/v1/custom-messages", custom)
    watched.call("POST", "/v1/custom-messages", {**custom, "template": {"id": "news"}})
    watched.call("POST", "/_mock/send", {"to": "+6591234570", "scenario": "fallback"})
    said = [line.strip().partition("  message ") for line in watched.lines() if line.startswith(" ")]
    assert [(before, re.sub(r"\d{10,}", "ID", after)) for before, _, after in said][:3] == [
        ("SMS → +6591234568  code 31337", "ID"),
        ("Email → user@example.com  code 4711", "ID, and to 1 other"),
        ("Email → user@example.com  template news", "ID, and to 1 other"),
    ]
    assert re.fullmatch(r"WhatsApp → \+6591234570  code \d{6}", said[3][0])


def test_calls_that_only_read_say_nothing_about_messages(watch: Watch) -> None:
    watched = watch(Receiver.recording())
    watched.send()
    watched.lines()
    for path in ("/_mock/messages", "/_mock/journal", "/_mock/inbox/+6591234567", "/openapi.json"):
        watched.call("GET", path)
    assert [line for line in watched.lines() if line.startswith(" ")] == []


def test_a_code_that_is_entered_is_right_or_wrong(watch: Watch) -> None:
    watched = watch()
    id = watched.send()["message_id"]
    code = watched.code(id)
    watched.lines()
    for given in ("000000", code):
        watched.call("POST", "/v1/verifications", {"message_id": id, "verify_code": given})
    wrong, right = (line for line in watched.lines() if line.startswith(" "))
    assert wrong == f"            code 000000 is wrong  message {id}"
    assert right == f"            code {code} is right  message {id}"


def test_a_refused_call_says_why(watch: Watch) -> None:
    watched = watch()
    watched.engagelab.rule(error=5011, to="+6591234567")
    watched.send()
    watched.call("POST", "/v1/messages", {"to": "+6591234568"})
    watched.call("GET", "/_mock/jurnal")
    assert watched.lines() == [
        "✗ POST /v1/messages                400",
        "            5011 invalid number format",
        "✗ POST /v1/messages                400",
        "            3002 template is required",
        "✗ GET /_mock/jurnal                404",
        "            4001 there is no '/_mock/jurnal'; did you mean '/_mock/journal'?",
    ]


def test_a_callback_says_when_it_comes_again_and_an_error_once(watch: Watch) -> None:
    recorder = Recorder()
    recorder.answer = 503
    watched = watch(Receiver.wsgi(recorder), retry=[60, 600])
    watched.engagelab.send("+6591234567", scenario=["plan"], check=False, retry=[60, 600])
    assert watched.lines() == [
        "✗ plan              +6591234567    503  #1, again in 1 min",
        "            answered 503 Service Unavailable; only 200 acknowledges",
        "✗ plan              +6591234567    503  #2, again in 10 min",
        "✗ plan              +6591234567    503  #3, given up",
    ]
    recorder.answer = 500
    watched.engagelab.send("+6591234567", scenario=["plan"], check=False, retry=[])
    assert watched.lines()[1].startswith("            answered 500 ")


def test_a_callback_without_an_answer_says_so_in_the_same_column(watch: Watch, closed_url: str) -> None:
    watched = watch(Receiver.http(closed_url))
    watched.engagelab.send("+6591234567", scenario=["plan"], check=False, retry=[3600])
    first, error, second = watched.lines()
    assert first == "✗ plan              +6591234567          refused  #1, again in 1 h"
    assert error.startswith("            connection refused: nothing listens on ")
    assert second == "✗ plan              +6591234567          refused  #2, given up"


def test_a_ping_is_never_given_up(watch: Watch) -> None:
    watched = watch(Receiver.recording())
    watched.engagelab.validate_address(check=False)
    assert watched.lines() == ["✓ ping                             200"]
    assert watched.engagelab.receiver.recorder is not None
    watched.engagelab.receiver.recorder.answer = 500
    watched.engagelab.validate_address(check=False)
    assert watched.lines()[0] == "✗ ping                             500"


def test_an_attempt_that_the_end_of_the_server_cut_off_is_not_given_up(watch: Watch) -> None:
    watched = watch(Receiver.recording())
    [delivery] = watched.engagelab.send("+6591234567", scenario=["plan"], retry=[]).deliveries
    [attempt] = delivery.attempts
    attempt.outcome = Outcome.ABANDONED
    lost = Tried.of(watched.engagelab, delivery, attempt, "")
    assert (lost.given_up, lost.good) == (True, False)
    attempt.exception = SystemExit()
    stopped = Tried.of(watched.engagelab, delivery, attempt, "")
    assert (stopped.given_up, stopped.retry_in, stopped.good) == (False, None, False)


def test_a_message_that_goes_on_over_another_channel_says_so(watch: Watch) -> None:
    watched = watch(Receiver.recording())
    run = watched.engagelab.send("+6591234567", scenario="fallback")
    code = watched.code(run.message_id)
    assert watched.lines() == [
        "✓ plan              +6591234567    200  #1",
        "✓ sent              +6591234567    200  #1",
        "✓ delivered_failed  +6591234567    200  #1",
        "            carries error 5012: unreachable",
        "✓ sent              +6591234567    200  #1",
        f"            SMS → +6591234567  code {code}  message {run.message_id}",
        "✓ delivered         +6591234567    200  #1",
        "✓ verified          +6591234567    200  #1",
    ]


def test_several_receivers_are_named(watch: Watch) -> None:
    watched = watch(Receiver.recording(description="billing"), Receiver.recording())
    watched.engagelab.send("+6591234567", scenario=["plan"])
    assert watched.lines() == [
        "✓ plan              +6591234567    200  #1  → billing",
        "✓ plan              +6591234567    200  #1  → http://testserver/engagelab",
    ]


def test_an_account_event_has_no_recipient(watch: Watch) -> None:
    watched = watch(Receiver.recording())
    watched.engagelab.notify("insufficient_balance")
    assert watched.lines() == ["✓ insufficient_balance             200  #1"]


@pytest.mark.parametrize("columns", ["80", None])
def test_it_stays_readable_in_80_columns(columns: str | None, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    recorder = Recorder()
    recorder.answer = 503
    watched = watch(Receiver.wsgi(recorder))
    for to in ("+8613800138000", "somebody.with.a.long.name@example.com"):
        watched.send(to)
        watched.advance(4 * 3600)
    watched.call("POST", "/v1/messages", {**MESSAGE, "to": "0" * 50})
    err = watched.err().splitlines()
    assert "again in 10 min" in "".join(err)
    told = [line for line in err if re.match(r"\d", line)]
    assert max(map(len, told)) <= 80
    # The columns begin at the same places, whatever is in them.
    assert {match.end() for line in told if (match := re.search(r" \d{3} +\d+\.\d ms", line))} == {58}
    assert {line.index("#") for line in told if "#" in line} == {60}
    details = [line for line in err if not re.match(r"\d", line)]
    assert all(line.startswith(" " * 12) for line in details)
    assert "5011 invalid number format" in "".join(details)
    if columns is not None:
        assert max(len(line) for line in details if "@" not in line) <= 80


def test_no_request_can_write_another_line(watch: Watch) -> None:
    watched = watch()
    watched.call("GET", "/v1/x%0A12:00:00  ✓ POST /v1/messages%1B[31m")
    watched.call("POST", "/v1/messages", {**MESSAGE, "to": "a\n12:00:00  ok\u202e"})
    lines = watched.lines()
    assert len(lines) == 4
    assert ESCAPE not in "".join(lines)
    assert "\u202e" not in "".join(lines)


def test_a_terminal_gets_colours_and_bold_codes(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    watched = watch()
    code = watched.code(watched.send()["message_id"])
    watched.call("GET", "/_mock/nothing")
    coloured = watched.err()
    assert f"code \x1b[1m{code}\x1b[0m" in coloured
    assert "\x1b[32m200\x1b[0m" in coloured
    assert "\x1b[1;31m404\x1b[0m" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    watched = watch()
    watched.send()
    assert ESCAPE not in watched.err().splitlines()[-2]


def test_quiet_logs_only_failures(watch: Watch) -> None:
    watched = watch(Receiver.recording(), quiet=True)
    watched.send()
    watched.advance(60)
    watched.engagelab.validate_address()
    watched.log.summarise()
    assert watched.lines() == []
    watched.call("POST", "/v1/messages", {})
    assert watched.engagelab.receiver.recorder is not None
    watched.engagelab.receiver.recorder.answer = 503
    watched.engagelab.send("+6591234567", scenario=["plan"], check=False, retry=[])
    watched.log.notice("the disk is full")
    assert watched.lines() == [
        "✗ POST /v1/messages                400",
        "            3002 to is required",
        "✗ plan              +6591234567    503  #1, given up",
        "            answered 503 Service Unavailable; only 200 acknowledges",
        "Notice: the disk is full",
    ]


@pytest.mark.slow
def test_quiet_prints_only_the_address(spawn: Spawn) -> None:
    program = spawn("serve", "--port", "0", "--quiet")
    assert program.stdout is not None
    assert program.stdout.readline().startswith("Serving on ")
    ended = end(program)
    assert (ended.out, ended.err.strip()) == ("", "")


@pytest.mark.slow
def test_the_command_logs_an_app_s_call(serving: Serving) -> None:
    program, client = serving("--verbose")
    client.send("+6591234567")
    wait_for_lines(program, r"^\d\d:\d\d:\d\d  ✓ POST /v1/messages {16}200 +\d+\.\d ms$", 1)
    wait_for_lines(program, r"^ {12}SMS → \+6591234567  code \d{6}  message \d+$", 1)
    wait_for_lines(program, r'^ {12}> \{"to": "\+6591234567"', 1)
    end(program)


def test_quiet_and_verbose_exclude_each_other(command: Command) -> None:
    result = command("serve", "--port", "0", "--quiet", "--verbose")
    assert result.code == 2
    assert "--quiet: --quiet logs less, and --verbose more" in result.err
