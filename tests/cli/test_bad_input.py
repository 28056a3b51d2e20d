"""Input that cannot be used: exit code 2, a message with a hint, and in JSON an object."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Command

URL = "--url http://127.0.0.1:9/"

#: Command lines, and the class of the error, a part of its message and a part of its hint.
BAD = {
    "send verified --url htps://example.com/": (
        "InvalidSettings",
        "--url: 'htps://example.com/' has the scheme 'htps', not http or https",
        "did you mean 'https'?",
    ),
    "send verified --url http:///engagelab": (
        "InvalidSettings",
        "url: 'http:///engagelab' has no host",
        "an address looks like",
    ),
    "send verified": ("UsageError", "--url: the address of the receiver is missing", "ENGAGELAB_MOCK_URL"),
    f"send verified {URL} --username acme": (
        "InvalidSettings",
        "username 'acme' has no secret",
        "give both or neither",
    ),
    f"send verified {URL} --to '+65 9123 4567'": (
        "InvalidRecipient",
        "'+65 9123 4567' is not an E.164 phone number",
        "did you mean '+6591234567'?",
    ),
    f"send verified {URL} --to someone@nowhere": (
        "InvalidRecipient",
        "'someone@nowhere' is not an e-mail address",
        "user@example.com",
    ),
    f"send verfied {URL}": ("UnknownName", "scenario: unknown scenario 'verfied'", "did you mean 'verified'?"),
    f"send plan,snet {URL}": ("UnknownName", "unknown status 'snet'", "did you mean 'sent'?"),
    f"send verified,plan {URL}": (
        "IllegalTransition",
        "'verified' cannot follow 'start'",
        "a scenario starts with plan",
    ),
    f"send verified {URL} --dialect newr": ("UnknownName", "unknown dialect 'newr'", "did you mean 'newer'?"),
    f"send verified {URL} --channel smss": ("UnknownName", "--channel: unknown channel 'smss'", "did you mean 'sms'?"),
    f"send verified {URL} --speed -1": (
        "InvalidDelay",
        "--speed: a clock cannot run -1.0 times as fast",
        "give a speed above 0",
    ),
    f"send verified {URL} --speed nan": (
        "InvalidDelay",
        "a clock cannot run nan times as fast",
        "give a speed above 0",
    ),
    f"send verified {URL} --timeout -3": (
        "InvalidDelay",
        "--timeout: -3 is not a number of seconds above 0",
        "such as --timeout 3",
    ),
    f"send plan,sent,sent,delivered {URL}": (
        "IllegalTransition",
        "'sent' cannot follow 'sent'",
        "--any-order on the command line",
    ),
    f"send plan,sent,delivered_failed,sent {URL}": (
        "IllegalTransition",
        "a fallback takes another channel",
        "sent:sms on the command line",
    ),
    f"send insufficient_balance {URL} --field remain_balance=low": (
        "UsageError",
        "--field: remain_balance is a number, not 'low'",
        "",
    ),
    f"send insufficient_balance {URL} --field remain_balanc=1": (
        "UnknownName",
        "--field: unknown field 'remain_balanc'",
        "did you mean 'remain_balance'?",
    ),
    f"send insufficient_balance {URL} --field check=1": (
        "UsageError",
        "--field: 'check' is not a field of an event",
        "",
    ),
    f"send insufficient_balance {URL} --field event=x": (
        "UsageError",
        "--field: it has no event",
        "its name and its time are not fields",
    ),
    f"send insufficient_balance {URL} --field remain_balance": (
        "UsageError",
        "--field: 'remain_balance' is not NAME=VALUE",
        "such as --field remain_balance=-0.5",
    ),
    f"send verified {URL} --field a=1": ("UsageError", "--field: 'verified' is not an event", "insufficient_balance"),
    f"send insuficient_balance {URL}": (
        "UnknownName",
        "unknown scenario 'insuficient_balance'",
        "did you mean 'insufficient_balance'?",
    ),
    f"send verified {URL} --custom-arg order": ("UsageError", "--custom-arg: 'order' is not KEY=VALUE", "order=42"),
    f"send verified {URL} --insecure --ca THIS_FILE": (
        "UsageError",
        "--insecure trusts any certificate",
        "give one of the two",
    ),
    "send verified --url https://127.0.0.1:9/ --ca THIS_FILE": ("InvalidSettings", "cannot be used", "PEM"),
    "send verified --ulr x": ("UsageError", "No such option", "see 'engagelab-mock send --help'"),
    "send": ("UsageError", "Missing argument 'SCENARIO'", "see 'engagelab-mock send --help'"),
    "demo --speed inf": ("InvalidDelay", "a clock cannot run inf times as fast", "give a speed above 0"),
    "check http://127.0.0.1:9/ --timeout 0": (
        "InvalidDelay",
        "--timeout: 0 is not a number of seconds above 0",
        "such as --timeout 3",
    ),
    "check http://127.0.0.1:9/ --total nan": (
        "InvalidDelay",
        "--total: nan is not a number of seconds above 0",
        "such as --total 3",
    ),
    "check http://127.0.0.1:9/ --patience inf": (
        "InvalidDelay",
        "--patience: inf is not a number of seconds from 0",
        "such as --patience 3",
    ),
    "check http://127.0.0.1:9/ --wait -1": (
        "InvalidDelay",
        "--wait: -1 is not a number of seconds from 0",
        "such as --wait 3",
    ),
    "check http://127.0.0.1:9/ --only A01 --skip A01": (
        "UsageError",
        "--only: no check is left: A01 is skipped by 'A01'",
        "select at least one check",
    ),
    "check http://127.0.0.1:9/ --only A07 --severity blocker": (
        "UsageError",
        "--only: no check is left: A07 is less severe than blocker",
        "select at least one check",
    ),
    "check http://127.0.0.1:9/ --skip '*'": (
        "UsageError",
        "--skip: no check is left: A01 is skipped by '*'",
        "select at least one check",
    ),
    "serve --speed 0": ("InvalidDelay", "--speed: a clock cannot run 0.0 times as fast", "give a speed above 0"),
    "serve --retry 5,-1": ("InvalidDelay", "--retry: a delay of -1.0 s cannot pass", "zero or more"),
    "serve --callback-url htp://x/": (
        "InvalidSettings",
        "--callback-url: 'htp://x/' has the scheme 'htp'",
        "did you mean 'http'?",
    ),
    "listen --secret s3cret": ("InvalidSettings", "the secret has no username", "give both or neither"),
    "listen --host 192.0.2.1": ("UsageError", "192.0.2.1 is not an address of this machine", "127.0.0.1"),
    "listen --port 65536": ("UsageError", "65536", "see 'engagelab-mock listen --help'"),
    "sign --username acme": ("InvalidSettings", "username 'acme' has no secret", "both"),
    "sign": ("InvalidSettings", "a username and a secret are needed", "ENGAGELAB_WEBHOOK_SECRET"),
    "sign --username acme --secret s3cret --nonce 'a;b'": (
        "UsageError",
        "nonce 'a;b' make no readable header",
        "without ';'",
    ),
    "sign --username acme --secret s3cret --timestamp -1": ("UsageError", "timestamp -1", "Unix seconds"),
    "verify timestamp=1 --username acme --secret s3cret --now nan": (
        "UsageError",
        "--now: nan is not a time",
        "1681991058",
    ),
    "verify timestamp=1 --username acme --secret s3cret --tolerance nan": (
        "InvalidDelay",
        "--tolerance: nan is not a number of seconds from 0",
        "such as --tolerance 3",
    ),
    "sned": ("UnknownName", "unknown command 'sned'", "did you mean 'send'?"),
    f"explore {URL} --scenario verfied": (
        "UnknownName",
        "--scenario: unknown scenario 'verfied'",
        "did you mean 'verified'?",
    ),
    f"explore {URL} --invariant convergs": (
        "UnknownName",
        "--invariant: unknown invariant 'convergs'",
        "did you mean 'converges'?",
    ),
    f"explore {URL} --invariant exactly_once": (
        "UsageError",
        "--invariant: exactly_once needs the name of an effect",
        "exactly_once=credits",
    ),
    f"explore {URL} --effect credits": ("UsageError", "--effect: 'credits' is not NAME=STATUSES", "credits=verified"),
    f"explore {URL} --prepare 'http://127.0.0.1/{{id}}'": (
        "UnknownName",
        "--prepare: unknown part in braces 'id'",
        "message_id",
    ),
    f"explore {URL} --prepare htp://127.0.0.1/": ("InvalidSettings", "--prepare: ", "did you mean 'http'?"),
    f"explore {URL} --reset http://a/ --reset-command true": (
        "UsageError",
        "--reset and --reset-command do the same",
        "give one of them",
    ),
    f"explore {URL} --reset-command ''\"'\"'true'": (
        "UsageError",
        '--reset-command: "\'true" is not a command line',
        "",
    ),
    f"explore {URL} --observe http://127.0.0.1/state": (
        "UsageError",
        "has no place for the message's id",
        "{message_id}",
    ),
    f"explore {URL} --concurrent 2 --duplicates 2": (
        "UsageError",
        "--duplicates makes schedules one delivery at a time",
        "explore twice",
    ),
    f"explore {URL} --report pdf=out.pdf": ("UnknownName", "--report: unknown kind of report 'pdf'", "junit"),
    f"explore {URL} --retry vendr": ("UsageError", "--retry: 'vendr' is not a policy", "did you mean 'vendor'?"),
}


@pytest.mark.parametrize(("line", "error", "message", "hint"), [(line, *said) for line, said in BAD.items()], ids=BAD)
def test_an_error_comes_with_a_hint(command: Command, line: str, error: str, message: str, hint: str) -> None:
    arguments = shlex.split(line.replace("THIS_FILE", __file__))
    text = command(*arguments)
    json = command(*arguments, "--format", "json")

    assert (text.code, json.code) == (2, 2)
    assert text.out == ""
    assert "Error: " in text.err
    assert message in text.err
    (told,) = json.objects
    assert (told["type"], told["error"]) == ("error", error)
    assert message in told["message"]
    assert hint in told["hint"]
    if error != "UsageError":
        assert f"hint: {told['hint']}" in text.err
    assert "s3cret" not in text.err + json.out + json.err


def test_a_misspelt_option_gets_a_suggestion(command: Command) -> None:
    said = command("send", "verified", "--ulr", "x").err

    assert "Did you mean" in said
    assert "--url" in said


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ("[tool.engagelab-mock]\nusrname = 'acme'", "unknown key 'usrname'", "did you mean 'username'?"),
        ("[tool.engagelab-mock\n", "this is not TOML", "correct the file"),
        ("[tool.engagelab-mock]\nspeed = 'fast'", "speed: the value is a string, not a number", ""),
        ("[tool]\nengagelab-mock = 1", "tool.engagelab-mock is not a table", "[tool.engagelab-mock]"),
    ],
    ids=["unknown key", "broken TOML", "wrong type", "no table"],
)
@pytest.mark.parametrize("arguments", [["send", "verified"], ["demo"], ["listen"], ["scenarios"], ["sign"]])
def test_a_project_file_that_cannot_be_used_is_named(
    command: Command, tmp_path: Path, arguments: list[str], content: str, message: str, hint: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(content)

    text = command(*arguments)
    (told,) = command(*arguments, "--format=json").objects

    assert text.code == 2
    assert text.err.startswith(f"Error: {tmp_path / 'pyproject.toml'}: ")
    assert message in text.err
    assert hint in text.err
    assert message in told["message"]


def test_help_needs_no_usable_project_file(command: Command, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.engagelab-mock\n")

    assert (command("--help").code, command("--version").code) == (0, 0)
