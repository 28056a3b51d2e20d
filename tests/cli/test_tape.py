"""`tape` shows, scrubs and scans tapes; `send --replay` sends one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from engagelab_mock import EngageLab
from tests.cli.conftest import Command, SdkApp
from tests.docs.reference import check_fields
from tests.explore.tape.recorded import receiver, write

SIGNED = ("--username", "acme", "--secret", "s3cret")


@pytest.fixture
def taped() -> Path:
    """A tape with personal data: a message by SMS, an e-mail, a reply and a system event."""
    with EngageLab(receiver()) as engagelab:
        engagelab.send("+6591234567", custom_args={"name": "Ann Lee"})
        engagelab.send("ann.lee@acme.example", scenario="sent_failed")
        engagelab.uplink("+6591234567", body="call me on +65 9123 4567")
        return write(Path("day.jsonl"), engagelab, sanitise=False)


def test_a_tape_is_shown(command: Command, taped: Path) -> None:
    shown = command("tape", "show", "day.jsonl")
    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[0].split() == ["+0", "s", "plan", "+6591234567", "answered", "200"]
    assert lines[-1].startswith("7 requests in 21 s, recorded ")
    assert lines[-1].endswith(", with personal data and secrets")

    objects = command("tape", "show", "day.jsonl", "--format", "json").objects
    assert [each["statuses"] for each in objects[:4]] == [["plan"], ["sent"], ["delivered"], ["verified"]]
    assert (objects[-1]["type"], objects[-1]["requests"], objects[-1]["sanitised"]) == ("tape", 7, False)
    for each in (objects[0], objects[-1]):
        check_fields("tape", each)


def test_a_damaged_tape_is_shown_and_scrubbed_as_far_as_it_is_good(command: Command, taped: Path) -> None:
    taped.write_bytes(taped.read_bytes()[:-20])

    shown = command("tape", "show", "day.jsonl")
    assert shown.code == 1
    assert "line 8: the line is incomplete" in shown.out
    scrubbed = command("tape", "scrub", "day.jsonl", "--out", "clean.jsonl", "--format", "json")
    assert scrubbed.code == 1
    [result] = scrubbed.objects
    check_fields("tape", dict(result))
    assert (result["requests"], result["changed"], result["left_out"]) == (6, 6, 1)
    assert command("tape", "scan", "clean.jsonl").code == 0
    assert command("tape", "show", "clean.jsonl").code == 0


def test_a_scrubbed_tape_has_no_personal_data(command: Command, taped: Path) -> None:
    scanned = command("tape", "scan", "day.jsonl", "--format", "json")
    assert scanned.code == 1
    places = {(each["line"], each["place"]) for each in scanned.objects if each["type"] == "found"}
    assert (2, "body.rows[0].to: a phone number") in places
    assert (2, "body.rows[0].custom_args.name: a text that may be personal") in places
    assert (6, "body.rows[0].to: an e-mail address") in places
    assert {each[0] for each in places} == set(range(2, 9))
    for each in (scanned.objects[0], scanned.objects[-1]):
        check_fields("tape", each)

    assert command("tape", "scrub", "day.jsonl", "--out", "clean.jsonl").code == 0
    text = Path("clean.jsonl").read_text()
    assert not any(kept in text for kept in ("91234567", "Ann", "ann.lee", "9123 4567", "s3cret-token", "signature="))
    clean = command("tape", "scan", "clean.jsonl")
    assert (clean.code, clean.out.strip()) == (0, "✓ 1 tape, 0 places with personal data or secrets")


def test_what_is_found_is_not_shown(command: Command, taped: Path) -> None:
    said = command("tape", "scan", "day.jsonl").out
    assert "day.jsonl:2: body.rows[0].to: a phone number" in said
    assert "engagelab-mock tape scrub FILE --out CLEAN" in said
    assert not any(hidden in said for hidden in ("91234567", "Ann", "ann.lee", "s3cret-token"))


def test_the_same_key_gives_the_same_pseudonyms(command: Command, taped: Path) -> None:
    for name, key in (("one", "k"), ("two", "k"), ("three", "other")):
        command("tape", "scrub", "day.jsonl", "--out", f"{name}.jsonl", "--pseudonym-key", key)
    one, two, three = (Path(f"{name}.jsonl").read_text() for name in ("one", "two", "three"))
    assert one == two != three


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tape", "show", "gone.jsonl"), "the tape cannot be read"),
        (("tape", "show", "notes.jsonl"), "this is not a tape"),
        (("tape", "scan", "notes.jsonl"), "this is not a tape"),
        (("tape", "scrub", "day.jsonl"), "--out: no tape is named"),
        (("tape", "scrub", "day.jsonl", "--out", "notes.jsonl"), "the file exists"),
        (("tape", "shwo", "day.jsonl"), "did you mean 'show'?"),
        (("send", "--replay", "gone.jsonl", "--url", "http://127.0.0.1:1/"), "the tape cannot be read"),
        (("send", "--replay", "notes.jsonl", "--url", "http://127.0.0.1:1/"), "this is not a tape"),
        (("send", "--replay", "torn.jsonl", "--url", "http://127.0.0.1:1/"), "tape scrub torn.jsonl --out clean.jsonl"),
        (("send", "--replay", "empty.jsonl", "--url", "http://127.0.0.1:1/"), "the tape has no callbacks"),
        (("send", "--replay", "notes.jsonl", "--url", "http://127.0.0.1:1/"), "engagelab-mock record makes a tape"),
        (("send", "--replay", "day.jsonl", "--to", "+6512345678", "--url", "http://127.0.0.1:1/"), "leave --to out"),
        (("send", "--replay", "eg1:plan,sent", "--any-order", "--url", "http://127.0.0.1:1/"), "leave --any-order out"),
        (("send", "sent", "--replay", "day.jsonl", "--url", "http://127.0.0.1:1/"), "leave 'sent' out"),
    ],
)
def test_a_tape_that_cannot_be_used(command: Command, taped: Path, arguments: tuple[str, ...], said: str) -> None:
    Path("notes.jsonl").write_text('{"note": 1}\n')
    Path("torn.jsonl").write_bytes(taped.read_bytes()[:-20])
    Path("empty.jsonl").write_bytes(taped.read_bytes().partition(b"\n")[0] + b"\n")
    result = command(*arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert Path("notes.jsonl").read_text() == '{"note": 1}\n'


def test_files_that_are_not_tapes_can_be_left_out_but_are_not_a_pass(command: Command, taped: Path) -> None:
    Path("notes.jsonl").write_text('{"note": 1}\n')
    others = ("tape", "scan", "--skip-others", "notes.jsonl")
    result = command(*others, "--format", "json")
    # A hook gets only the files that changed, so the exit code is 0.
    assert (result.code, result.objects) == (
        0,
        [{"type": "summary", "files": 1, "tapes": 0, "found": 0, "ok": None}],
    )
    assert command(*others).out == "no tape among 1 file\n"
    assert command("tape", "scan", "notes.jsonl").code == 2
    assert command(*others, "day.jsonl").code == 1
    assert command("tape", "scrub", "day.jsonl", "--out", "clean.jsonl").code == 0
    assert "✓ 1 tape, 0 places" in command(*others, "clean.jsonl").out


def test_a_tape_is_sent_again(command: Command, taped: Path, sdk_app: SdkApp) -> None:
    result = command("send", "--replay", "day.jsonl", "--url", sdk_app.url, *SIGNED, "--format", "json")

    assert (result.code, result.err) == (0, "")
    assert [event.status for event in sdk_app.events[:4]] == ["plan", "sent", "delivered", "verified"]
    assert {event.to for event in sdk_app.events[:4]} == {"+6591234567"}
    run = result.objects[-1]
    assert (run["type"], run["scenario"], run["acknowledged"]) == ("run", "day.jsonl", True)
    assert run["statuses"][:4] == ["plan", "sent", "delivered", "verified"]


def test_a_refused_tape_exits_1_and_an_unreachable_receiver_3(
    command: Command, taped: Path, failing_url: str, closed_url: str
) -> None:
    assert command("send", "--replay", "day.jsonl", "--url", failing_url).code == 1
    assert command("send", "--replay", "day.jsonl", "--url", closed_url).code == 3


ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_hook_before_a_commit_refuses_a_tape_with_personal_data(command: Command, taped: Path) -> None:
    """Run the hook's command as pre-commit does: its entry and arguments, then the files that match."""
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    command("tape", "scrub", "day.jsonl", "--out", "clean.jsonl")
    Path("notes.json").write_text('{"note": 1}\n')
    Path("day.txt").write_text(taped.read_text())

    def commit(*files: str) -> Any:
        matching = [file for file in files if re.search(hook["files"], file)]
        program = [*hook["entry"].split(), *hook["args"], *matching]
        return subprocess.run(program, capture_output=True, text=True, timeout=60)

    refused = commit("notes.json", "day.jsonl", "clean.jsonl", "day.txt")
    assert refused.returncode == 1
    assert "day.jsonl:2: body.rows[0].to: a phone number" in refused.stdout
    assert "clean.jsonl" not in refused.stdout
    assert "day.txt" not in refused.stdout
    assert commit("notes.json", "clean.jsonl").returncode == 0
    assert json.loads(Path("notes.json").read_text()) == {"note": 1}


@pytest.mark.slow
def test_pre_commit_itself_runs_the_hook(command: Command, taped: Path) -> None:
    program = shutil.which("pre-commit", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not (program and shutil.which("git")):
        pytest.skip("pre-commit or git is not here: python -m pip install pre-commit")
    command("tape", "scrub", "day.jsonl", "--out", "clean.jsonl")
    hooks = Path("hooks")
    hooks.mkdir()
    # The hook of this project, without the project: its environment has the command already.
    manifest = (ROOT / ".pre-commit-hooks.yaml").read_text()
    assert "language: python" in manifest
    (hooks / ".pre-commit-hooks.yaml").write_text(manifest.replace("language: python", "language: system"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    author = {f"GIT_{who}_{what}": "a@b.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    given = {**os.environ, **author, "PATH": path, "PRE_COMMIT_HOME": str(Path("cache").resolve())}

    def run(*words: str, cwd: Path = Path()) -> Any:
        return subprocess.run(words, cwd=cwd, env=given, capture_output=True, text=True, timeout=120)

    for words in (["init"], ["add", "."], ["commit", "-m", "hooks"]):
        assert run("git", *words, cwd=hooks).returncode == 0
    assert run("git", "init").returncode == 0
    run("git", "add", "day.jsonl", "clean.jsonl")
    refused = run(program, "try-repo", str(hooks), "engagelab-tapes", "--files", "day.jsonl", "clean.jsonl")
    assert refused.returncode == 1, refused.stdout + refused.stderr
    assert "day.jsonl:2: body.rows[0].to: a phone number" in refused.stdout
    passed = run(program, "try-repo", str(hooks), "engagelab-tapes", "--files", "clean.jsonl")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "Passed" in passed.stdout
