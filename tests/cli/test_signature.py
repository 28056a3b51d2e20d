from __future__ import annotations

import re
import time

import pytest
from engagelab_otp import WebhookSignatureError, WebhookVerifier

from tests.cli.conftest import Command

SIGNED = ("--username", "test", "--secret", "s3cret")
AT = ("--timestamp", "1681991058", "--nonce", "123123123123")


def test_the_sdk_accepts_the_header(program: Command) -> None:
    result = program("sign", *SIGNED, *AT)

    header = result.out.removesuffix("\n")
    assert (result.code, result.err) == (0, "")
    assert header.startswith("timestamp=1681991058;nonce=123123123123;username=test;signature=")
    assert WebhookVerifier("test", "s3cret").verify(header, now=1681991058)
    with pytest.raises(WebhookSignatureError, match="signature mismatch"):
        WebhookVerifier("test", "another").verify(header, now=1681991058)


def test_the_defaults_are_now_and_a_random_nonce(command: Command) -> None:
    first, second = (command("sign", *SIGNED).out.strip() for _ in range(2))

    assert WebhookVerifier("test", "s3cret").verify(first, now=int(time.time()))
    assert re.search(r";nonce=\d{12};", first)
    assert first.split(";")[1] != second.split(";")[1]


def test_json_has_the_parts(command: Command) -> None:
    (told,) = command("sign", *SIGNED, *AT, "--format", "json").objects

    assert (told["name"], told["timestamp"], told["nonce"]) == ("X-CALLBACK-ID", 1681991058, "123123123123")
    assert told["header"].endswith(f"username={told['username']};signature={told['signature']}")


def test_a_secret_may_hold_any_character(command: Command) -> None:
    header = command("sign", "--username", "test", "--secret", "schlüssel-秘密", *AT).out.strip()

    assert WebhookVerifier("test", "schlüssel-秘密").verify(header, now=1681991058)


@pytest.fixture
def header(command: Command) -> str:
    return command("sign", *SIGNED, *AT).out.strip()


@pytest.mark.parametrize("prefix", ["", "X-CALLBACK-ID: ", "x-callback-id:", "  X-Callback-Id : "])
def test_a_genuine_header_is_valid_with_or_without_its_name(command: Command, header: str, prefix: str) -> None:
    result = command("verify", f"{prefix}{header}", *SIGNED, "--now", "1681991060")

    assert (result.code, result.out) == (0, "✓ valid: signed 2 s ago by test\n")


@pytest.mark.parametrize(
    ("change", "arguments", "reason"),
    [
        (("", ""), ["--now", "1681991359"], "stale: signed 301 s ago, 300 s are allowed"),
        (("", ""), ["--now", "1681990757"], "future: signed 301 s in the future"),
        (("nonce=123", "nonce=124"), ["--now", "1681991058"], "mismatch: the signature was not made with this secret"),
        (("username=test", "username=best"), ["--now", "1681991058"], "wrong_username: signed by 'best'"),
        (("nonce=", "once="), ["--now", "1681991058"], "malformed: no nonce"),
    ],
)
def test_any_other_header_is_not_valid_for_a_reason(
    command: Command, header: str, change: tuple[str, str], arguments: list[str], reason: str
) -> None:
    altered = header.replace(*change)
    text = command("verify", altered, *SIGNED, *arguments)
    json = command("verify", altered, *SIGNED, *arguments, "--format", "json")

    assert (text.code, json.code) == (1, 1)
    assert text.out.startswith(f"✗ {reason}")
    (told,) = json.objects
    assert (told["type"], told["valid"]) == ("verdict", False)
    assert f"{told['reason']}: {told['detail']}".startswith(reason)


def test_the_tolerance_is_a_setting(command: Command, header: str) -> None:
    late = ("--now", "1681991358.5")

    assert command("verify", header, *SIGNED, *late).code == 1
    assert command("verify", header, *SIGNED, *late, "--tolerance", "301").code == 0


def test_an_empty_header_is_missing(command: Command) -> None:
    assert "missing" in command("verify", "X-CALLBACK-ID:", *SIGNED).out
