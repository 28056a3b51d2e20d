from __future__ import annotations

import json
import re
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import CATALOGUE, EngageLab, Receiver
from engagelab_mock.explore.tape.sanitise import Pseudonyms
from tests.cli.conftest import Command, Program, Result, SdkApp, Spawn
from tests.docs.reference import check_fields

SIGNED: Any = {"username": "acme", "secret": "s3cret", "authorization": "Bearer 5f3a-hush"}


@pytest.fixture
def recording(spawn: Spawn, sdk_app: SdkApp) -> Callable[..., tuple[Program, str]]:
    """Start `record` in front of the SDK's receiver, and wait for the line that says where."""

    def start(*arguments: str, forward: str = sdk_app.url) -> tuple[Program, str]:
        program = spawn("record", "--forward", forward, "--out", "day.jsonl", "--format", "json", *arguments)
        assert program.stdout is not None
        first = json.loads(program.stdout.readline())
        assert (first["type"], first["forward"], first["out"]) == ("listening", forward, "day.jsonl")
        url: str = first["url"]
        check_fields("record", first)
        return program, url

    return start


Recorded = Callable[..., tuple[Program, str]]


def end(program: Program, number: int = signal.SIGINT) -> Result:
    program.send_signal(number)
    out, err = program.communicate()
    return Result(program.returncode, out, err)


def everything(url: str) -> None:
    """Send the callbacks of the demo, and every event that may have personal data in it."""
    people = ["+6591234567", "+8613912345678", "ann.lee@acme-shop.sg"]
    with EngageLab(Receiver.http(url, **SIGNED)) as engagelab:
        for number, scenario in enumerate(CATALOGUE):
            args = {"name": "Ann Lee", "phone": "+65 9123 4567", "mail": people[2], "code": "482915"}
            engagelab.send(people[number % 3], scenario=scenario, custom_args=args)
        engagelab.uplink(people[0], body="STOP")
        engagelab.uplink(people[1], body="it is Ann Lee, +65 9123 4567, code 482915")
        engagelab.notify("insufficient_balance")
        for event in ("account_login", "template_manage", "api_call"):
            engagelab.system_event(event, email=people[2], ip_address="119.74.20.8")
        engagelab.system_event("key_manage", operator_api_key="5f3a9c1d77", ip_address="119.74.20.8")


def test_a_tape_has_no_personal_data_and_its_replay_satisfies_the_sdk(recording: Recorded, sdk_app: SdkApp) -> None:
    program, url = recording()
    everything(url)
    heard = end(program)

    assert (heard.code, heard.err.strip()) == (130, f"{len(heard.objects)} requests recorded in day.jsonl")
    assert len(heard.objects) == len(Path("day.jsonl").read_text().splitlines()) - 1
    assert all(each["recorded"] and each["answered"] == 200 for each in heard.objects)
    check_fields("record", heard.objects[0])
    for text in (Path("day.jsonl").read_text(), heard.out):
        scan(text)

    originals = [event.raw for event in sdk_app.events]
    sdk_app.events.clear()
    with EngageLab(Receiver.http(sdk_app.url, username="acme", secret="s3cret")) as engagelab:
        tape = engagelab.tape("day.jsonl")
        assert all(delivery.acknowledged for delivery in tape.replay())
    again = [event.raw for event in sdk_app.events]
    assert [shape(row) for row in again] == [shape(row) for row in originals]
    assert [row.get("message_id") for row in again] == [row.get("message_id") for row in originals]


#: All personal data and secrets in the callbacks of `everything`.
GIVEN = "91234567|9123 4567|13912345678|ann\\.lee|Ann Lee|482915|5f3a|hush|s3cret|acme"
#: Numbers that two regulators keep for fiction.
FICTION = re.compile(r"\+(33(19900|26191|35301|46571|53649|63998)[0-9]{4}|447700900[0-9]{3})")


def scan(text: str) -> None:
    """Look for people and secrets, knowing nothing of how they were taken out."""
    assert re.findall(GIVEN, text) == []
    assert [each for each in re.findall(r"\+[0-9]{7,15}", text) if not FICTION.fullmatch(each)] == []
    assert set(re.findall(r"@([\w.-]+)", text)) <= {"example.com"}
    addresses = set(re.findall(r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b", text)) - {"127.0.0.1"}
    assert all(each.startswith(("192.0.2.", "198.51.100.", "203.0.113.")) for each in addresses)
    # Digests and keys; ids of replies start with two letters.
    assert re.findall(r"\b[0-9a-f]{24,}\b|signature=|nonce=|(?i:bearer|basic) ", text) == []


def shape(value: Any) -> Any:
    """Return the structure of a value, without the texts and times in it."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value)


def test_a_tape_that_is_not_sanitised_has_everything_as_it_came(recording: Recorded) -> None:
    program, url = recording("--no-sanitise")
    everything(url)
    with EngageLab(Receiver.http(url, **SIGNED)) as engagelab:
        run = engagelab.send("+6591234567")
        heard = end(program)
        tape = engagelab.tape("day.jsonl")

    assert "Notice: the tape will hold phone numbers" in heard.err
    assert [entry.content for entry in tape.callbacks[-4:]] == [delivery.body for delivery in run.deliveries]
    assert set(run.deliveries[0].callback.headers.pairs) <= set(tape.callbacks[-4].headers)
    text = Path("day.jsonl").read_text()
    for kept in ("+6591234567", "ann.lee@acme-shop.sg", "Bearer 5f3a-hush", "signature=", "482915", "119.74.20.8"):
        assert kept in text
    with pytest.raises(AssertionError):
        scan(text)


def test_tapes_with_the_same_key_have_the_same_pseudonyms(recording: Recorded) -> None:
    program, url = recording("--pseudonym-key", "ours", "--count", "1")
    with EngageLab(Receiver.http(url, **SIGNED)) as engagelab:
        engagelab.send("+6591234567", scenario=["plan"])
        assert program.wait() == 0
        [entry] = engagelab.tape("day.jsonl").callbacks
    assert Pseudonyms(b"ours").phone("+6591234567") in (entry.body or "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_everything_on_the_tape(recording: Recorded, number: int, code: int) -> None:
    program, url = recording()
    with EngageLab(Receiver.http(url, **SIGNED)) as engagelab:
        engagelab.send_many(20, scenario="verified", concurrency=4)
        heard = end(program, number)
        assert heard.code == code
        assert len(engagelab.tape("day.jsonl").callbacks) == 80


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="no other program's limits can be set here")
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_request_that_cannot_be_recorded_is_passed_on(spawn: Spawn, sdk_app: SdkApp, form: str) -> None:
    program = spawn("record", "--forward", sdk_app.url, "--out", "day.jsonl", "--count", "4", "--format", form)
    assert program.stdout is not None
    first = program.stdout.readline()
    url = json.loads(first)["url"] if form == "json" else first.split()[-1]
    # From now on the tape cannot grow, as on a full disk.
    size = Path("day.jsonl").stat().st_size
    resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (size, size))
    with EngageLab(Receiver.http(url, **SIGNED)) as engagelab:
        assert engagelab.send(scenario="verified").acknowledged
    out, err = program.communicate()

    assert program.returncode == 1
    assert len(sdk_app.events) == 4
    assert err.count("a request was passed on and is not on the tape: OSError") == 4
    assert "0 requests recorded in day.jsonl" in err
    assert "Notice: 4 requests passed on and not on the tape" in err
    lines = out.splitlines()
    assert len(lines) == 4
    if form == "json":
        assert {json.loads(line)["recorded"] for line in lines} == {False}
    else:
        assert all(re.search(r"✗ \w+ +answered 200 in", line) for line in lines)


def test_a_request_too_long_for_the_tape_is_passed_on(recording: Recorded, sdk_app: SdkApp) -> None:
    program, url = recording("--count", "2")
    with EngageLab(Receiver.http(url, **SIGNED)) as engagelab:
        engagelab.send(scenario=["plan"], custom_args={"x": "y" * (9 << 20)})
        engagelab.send(scenario=["plan"])
        out, err = program.communicate()
        assert len(engagelab.tape("day.jsonl").callbacks) == 1
    assert program.returncode == 1
    assert len(sdk_app.events) == 2
    assert "a request was passed on and is not on the tape: its body is longer than 8 MiB" in err
    assert [json.loads(line)["recorded"] for line in out.splitlines()] == [False, True]


def test_an_unreachable_receiver_is_reported(recording: Recorded, closed_url: str) -> None:
    program, url = recording("--count", "1", forward=closed_url)
    with EngageLab(Receiver.http(url, **SIGNED)) as engagelab:
        engagelab.send(scenario=["plan"], check=False)
        out, _ = program.communicate()
        [entry] = engagelab.tape("day.jsonl").entries
    [told] = [json.loads(line) for line in out.splitlines()]
    assert (told["answered"], told["error"]) == (None, "connection refused: nothing listens there")
    assert (entry.answer, entry.note) == (None, "connection refused: nothing listens there")


def test_text_is_the_address_and_then_one_line_for_each_request(spawn: Spawn, sdk_app: SdkApp) -> None:
    program = spawn("record", "--forward", sdk_app.url, "--out", "day.jsonl", "--count", "1", "--host", "0.0.0.0")
    assert program.stdout is not None
    first = program.stdout.readline()
    url = first.removeprefix("Recording on ").strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/engagelab", url)
    with EngageLab(Receiver.http(url, **SIGNED)) as engagelab:
        engagelab.send("+6591234567", scenario=["plan"])
    out, err = program.communicate()

    assert re.search(r"✓ plan +answered 200 in [\d.]+ ms", out)
    assert "0.0.0.0 is not only this machine" in err
    assert "1 request recorded in day.jsonl" in err
    assert "+6591234567" not in out + err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--out", "day.jsonl"), "--forward: no receiver is named"),
        (("--forward", "http://127.0.0.1:1/"), "--out: no tape is named"),
        (("--forward", "127.0.0.1:1", "--out", "day.jsonl"), "--forward: "),
        (
            ("--forward", "http://127.0.0.1:1/", "--out", "nowhere/day.jsonl"),
            "nowhere/day.jsonl: the tape cannot be created",
        ),
        (("--forward", "http://127.0.0.1:1/", "--out", "."), "the file exists"),
        (
            ("--forward", "http://127.0.0.1:1/", "--out", "x", "--no-sanitise", "--pseudonym-key", "k"),
            "a tape that is not sanitised has no pseudonyms",
        ),
    ],
)
def test_bad_input_is_an_error(command: Command, arguments: tuple[str, ...], said: str) -> None:
    result = command("record", *arguments)
    assert result.code == 2
    assert said in result.err
