"""Family B, secrecy: the Authorization, verification before parsing, answers and logs without secrets."""

from __future__ import annotations

import hmac
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.stimulus import authorization, body, header
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.protocol.signature import HEADER, Signature, Signer, parse

#: One of the addresses that EngageLab documents as its own [D].
_VENDORS_ADDRESS = "119.8.170.74"


def _authorization(trial: Trial) -> None:
    configured = trial.receiver.settings.authorization
    if not configured:
        trial.skip("no Authorization is configured")
    scheme, blank, credentials = configured.partition(" ") if " " in configured else ("", "", configured)
    forged = {
        "another Authorization": "not-the-credentials",
        "the first half of its Authorization": credentials[: len(credentials) // 2],
        "the credentials of its Authorization in another case": credentials.swapcase(),
    }
    message = trial.message()
    attempt = trial.send(message, authorization(None))
    trial.expect_refused(attempt, message, "a callback without its Authorization")
    for what, value in forged.items():
        if value in {"", credentials}:
            continue  # the credentials have no letters, or only one character
        message = trial.message()
        attempt = trial.send(message, authorization(f"{scheme}{blank}{value}"))
        trial.expect_refused(attempt, message, f"a callback with {what}")
    # Schemes are case-insensitive, but EngageLab sends the header verbatim. So accepting and refusing are both right.
    swapped = trial.send(trial.message(), authorization(f"{scheme.swapcase()}{blank}{credentials}"))
    trial.expect_answer(swapped, "a callback whose Authorization has its scheme in another case")
    message = trial.message()
    trial.expect_accepted(trial.send(message), "a valid callback with the configured Authorization")
    trial.expect_effect(message, "a valid callback with the configured Authorization")


def _before_parsing(trial: Trial) -> None:
    what = "an unsigned callback whose body is not JSON"
    attempt = trial.send(trial.message(), "missing_signature", body(b'{"total":1,"rows":[{'))
    trial.expect_answer(attempt, what)
    if attempt.response is not None and attempt.response.status in {400, 422}:
        trial.fail(
            f"{what} was answered {attempt.response.status}: the body was parsed before the signature was checked"
        )


def _no_oracle(trial: Trial) -> None:
    settings = trial.receiver.settings
    with _logged() as records:
        attempt = trial.send(trial.message(), "wrong_secret")
    texts = []
    if attempt.response is not None:
        headers = "\n".join(f"{name}: {value}" for name, value in attempt.response.headers.pairs)
        texts.append(("answer", f"{headers}\n{attempt.response.text}"))
    if trial.transport != "http":
        texts.append(("log", "\n".join(records)))
    for where, text in texts:
        if _expected(trial, attempt) in text:
            trial.fail(f"the {where} to a forged signature contains the expected signature")
        if settings.secret in text:
            trial.fail(f"the {where} to a forged signature contains the secret")


def _constant_time(trial: Trial) -> None:
    with _compared() as arguments:
        attempt = trial.send(trial.message(), "wrong_secret")
    trial.expect_answer(attempt, "a callback signed with another secret")
    digest = _expected(trial, attempt)
    wanted = {digest.encode(), bytes.fromhex(digest)}
    if not any(_bytes(argument) in wanted for argument in arguments):
        trial.fail("`compare_digest` was not called with the expected signature")


def _spoofed_address(trial: Trial) -> None:
    message = trial.message()
    forwarded = (header("X-Forwarded-For", _VENDORS_ADDRESS), header("X-Real-IP", _VENDORS_ADDRESS))
    attempt = trial.send(message, "wrong_secret", *forwarded)
    trial.expect_refused(attempt, message, "a forged callback that claims to come from EngageLab's address")


def _expected(trial: Trial, attempt: Attempt) -> str:
    """Return the signature that the receiver expected for a forged attempt."""
    settings = trial.receiver.settings
    sent = parse(attempt.callback.headers[HEADER])
    assert isinstance(sent, Signature), "it is well-formed, but signed with another secret"
    return Signer(settings.username, settings.secret).digest(sent.timestamp, sent.nonce)


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Collect the log messages of this process while the context is open."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    root, collector = logging.getLogger(), Collector()
    root.addHandler(collector)
    try:
        yield messages
    finally:
        root.removeHandler(collector)


@contextmanager
def _compared() -> Iterator[list[object]]:
    """Collect the arguments of `compare_digest` while the context is open, in every module that imported it."""
    genuine: Callable[..., Any] = hmac.compare_digest
    arguments: list[object] = []

    def spy(one: Any, other: Any) -> Any:
        arguments.extend((one, other))
        return genuine(one, other)

    places = [
        (vars(module), name)
        for module in list(sys.modules.values())
        if isinstance(getattr(module, "__dict__", None), dict)
        for name, value in list(vars(module).items())
        if value is genuine
    ]
    for namespace, name in places:
        namespace[name] = spy
    try:
        yield arguments
    finally:
        for namespace, name in places:
            namespace[name] = genuine


def _bytes(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value) if isinstance(value, (bytes, bytearray)) else b""


_check = partial(Check, need="http", source="?")

SECRECY = (
    _check(
        id="B18",
        name="auth-header",
        title="A callback without the configured Authorization is refused",
        why="EngageLab sends the Authorization from its console with every callback. If it is configured, but the "
        "receiver does not check it, it protects nothing.",
        stimulus="Validly signed callbacks without Authorization, with another one, with half of it, and with its "
        "credentials in another case; and with the scheme in another case, which may be accepted or refused.",
        expected="Refused; the configured one is accepted.",
        severity=Severity.MAJOR,
        source="S",
        fix=Fix(
            "Compare the header with the configured one, in constant time.",
            """\
given = $headers.get("Authorization", "")
if not hmac.compare_digest(given.encode("utf-8", "replace"), AUTHORIZATION.encode()):
    $refuse_401""",
        ),
        work=_authorization,
    ),
    _check(
        id="B19",
        name="auth-before-parse",
        title="The signature is checked before the body is parsed",
        why="Other senders than EngageLab should reach as little code as possible. A parser is a lot of code, and its "
        "errors tell an attacker which input it expects.",
        stimulus="A callback without a signature whose body is not JSON.",
        expected="401 or 403, not 400, 422 or 5xx.",
        severity=Severity.MINOR,
        fix=Fix(
            "Verify the signature first, then parse the body.",
            "verify($header)\nenvelope = json.loads($body)\n$ok",
            section="Receive",
        ),
        work=_before_parsing,
        needs_signature=True,
    ),
    _check(
        id="B20",
        name="no-oracle",
        title="A refusal does not reveal the expected signature",
        why="If a receiver puts the expected signature into its answer or its log, an attacker can use it to sign any "
        "callback.",
        stimulus="A callback signed with another secret.",
        expected="The answer, and in process the log, contain neither the expected signature nor the secret.",
        severity=Severity.MAJOR,
        fix=Fix("Say only that the signature is wrong.", "$refuse_401", section="Signature"),
        work=_no_oracle,
        needs_signature=True,
    ),
    _check(
        id="B21",
        name="constant-time",
        title="The signature is compared in constant time",
        why="`==` stops at the first different character, so its duration shows how many characters were guessed.",
        stimulus="A callback signed with another secret, while `hmac.compare_digest` is watched.",
        expected="`compare_digest` is called with the expected signature.",
        severity=Severity.MINOR,
        source="K",
        fix=Fix(
            "Compare with `hmac.compare_digest`, as bytes.",
            "if not hmac.compare_digest(expected.encode(), given.encode()):\n    $refuse_401",
            section="Signature",
        ),
        work=_constant_time,
        transports=("wsgi", "asgi"),
        unless="its calls can only be watched in process, which needs a test in pytest",
        needs_signature=True,
    ),
    _check(
        id="B22",
        name="ip-spoof",
        title="A forged source address is not trusted",
        why="EngageLab publishes the addresses that its callbacks come from. Anyone can send a header that claims such "
        "an address: it can be checked in addition to the signature, never instead of it.",
        stimulus=f"A callback signed with another secret and `X-Forwarded-For: {_VENDORS_ADDRESS}`.",
        expected="Refused: no effect, no 5xx, no hang.",
        severity=Severity.MAJOR,
        source="D",
        fix=Fix("Always verify the signature, for any claimed address.", "verify($header)\n$ok", section="Signature"),
        work=_spoofed_address,
        needs_signature=True,
    ),
)
