"""Family B, what goes with the signature: Authorization, the order of looking, and nothing given away."""

from __future__ import annotations

import hmac
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from engagelab_mock.checks.check import Check, Fix
from engagelab_mock.checks.stimulus import authorization, body, header
from engagelab_mock.checks.trial import Trial
from engagelab_mock.checks.verdict import Severity
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.protocol.signature import HEADER, Signature, Signer, parse

#: One of the addresses that EngageLab names as its own [D].
_VENDORS_ADDRESS = "119.8.170.74"


def _authorization(trial: Trial) -> None:
    configured = trial.receiver.settings.authorization
    if not configured:
        trial.skip("no Authorization is configured")
    scheme, blank, credentials = configured.partition(" ")
    for what, value in (
        ("a callback without its Authorization", None),
        ("a callback with another Authorization", f"{scheme}{blank}not-the-credentials"),
    ):
        message = trial.message()
        trial.refused(trial.send(message, authorization(value)), message, what)
    # Schemes have no case, and EngageLab sends the header verbatim: both ways to take this are right.
    swapped = trial.send(trial.message(), authorization(f"{scheme.swapcase()}{blank}{credentials}"))
    trial.survived(swapped, "a callback whose Authorization has its scheme in another case")
    message = trial.message()
    trial.accepted(trial.send(message), "a valid callback with the configured Authorization")
    trial.applied(message, "a valid callback with the configured Authorization")


def _before_parsing(trial: Trial) -> None:
    what = "an unsigned callback whose body is no JSON"
    attempt = trial.send(trial.message(), "missing_signature", body(b'{"total":1,"rows":[{'))
    trial.survived(attempt, what)
    if attempt.response is not None and attempt.response.status in {400, 422}:
        trial.fail(f"{what} was answered {attempt.response.status}: it was parsed before anybody asked who sent it")


def _no_oracle(trial: Trial) -> None:
    settings = trial.receiver.settings
    with _logged() as records:
        attempt = trial.send(trial.message(), "wrong_secret")
    told = []
    if attempt.response is not None:
        headers = "\n".join(f"{name}: {value}" for name, value in attempt.response.headers.pairs)
        told.append(("answer", f"{headers}\n{attempt.response.text}"))
    if trial.transport != "http":
        told.append(("log", "\n".join(records)))
    for where, text in told:
        if _expected(trial, attempt) in text:
            trial.fail(f"the {where} to a forged signature tells the one that was expected")
        if settings.secret in text:
            trial.fail(f"the {where} to a forged signature tells the secret")


def _constant_time(trial: Trial) -> None:
    with _compared() as arguments:
        attempt = trial.send(trial.message(), "wrong_secret")
    trial.survived(attempt, "a callback signed with another secret")
    digest = _expected(trial, attempt)
    wanted = {digest.encode(), bytes.fromhex(digest)}
    if not any(_bytes(argument) in wanted for argument in arguments):
        trial.fail("the signature was refused, and no `compare_digest` was called with the one that was expected")


def _spoofed_address(trial: Trial) -> None:
    message = trial.message()
    forwarded = (header("X-Forwarded-For", _VENDORS_ADDRESS), header("X-Real-IP", _VENDORS_ADDRESS))
    attempt = trial.send(message, "wrong_secret", *forwarded)
    trial.refused(attempt, message, "a forged callback that claims to come from EngageLab's address")


def _expected(trial: Trial, attempt: Attempt) -> str:
    """Return the signature that the receiver had to expect of a forged attempt."""
    settings = trial.receiver.settings
    sent = parse(attempt.callback.headers[HEADER])
    assert isinstance(sent, Signature), "it was signed in good form, if with another secret"
    return Signer(settings.username, settings.secret).digest(sent.timestamp, sent.nonce)


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Collect what is logged in this process meanwhile."""
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
    """Collect what `compare_digest` is called with meanwhile, under whatever name a module has imported it."""
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
        why="The Authorization that the console holds is sent with every callback. A receiver that was given one and "
        "does not look at it has a lock that is open.",
        stimulus="Callbacks, validly signed, without Authorization and with another one; and one with the scheme's "
        "letters in another case, which is only to be survived.",
        expected="Refused, and the configured one accepted.",
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
        title="The signature is looked at before the body is parsed",
        why="Whoever is not EngageLab should reach as little code as possible: a parser is a lot of code, and its "
        "complaints tell a stranger what the receiver expects.",
        stimulus="A callback without a signature whose body is no JSON.",
        expected="401 or 403, and not 400, 422 or 5xx.",
        severity=Severity.MINOR,
        fix=Fix("Verify first, and parse what is verified.", "verify($header)\nenvelope = json.loads($body)\n$ok"),
        work=_before_parsing,
        needs_signature=True,
    ),
    _check(
        id="B20",
        name="no-oracle",
        title="A refusal does not tell what was expected",
        why="A receiver that answers, or logs, the signature that it expected signs whatever a stranger asks it to.",
        stimulus="A callback signed with another secret.",
        expected="Neither the answer nor, in process, the log holds the expected signature or the secret.",
        severity=Severity.MAJOR,
        fix=Fix("Say that the signature is wrong, and no more.", "$refuse_401"),
        work=_no_oracle,
        needs_signature=True,
    ),
    _check(
        id="B21",
        name="constant-time",
        title="The signature is compared in constant time",
        why="`==` stops at the first character that differs, and how long it took tells how far the guess was right.",
        stimulus="A callback signed with another secret, while `hmac.compare_digest` is watched.",
        expected="It is called with the expected signature.",
        severity=Severity.MINOR,
        source="K",
        fix=Fix(
            "Compare with `hmac.compare_digest`, as bytes.",
            "if not hmac.compare_digest(expected.encode(), given.encode()):\n    $refuse_401",
        ),
        work=_constant_time,
        transports=("wsgi", "asgi"),
        unless="what it calls can be watched in process alone, which takes a test in pytest",
        needs_signature=True,
    ),
    _check(
        id="B22",
        name="ip-spoof",
        title="A forged address of origin opens nothing",
        why="EngageLab names the addresses that its callbacks come from. A header that claims one can be written by "
        "anybody: it may add to the signature, and never stand for it.",
        stimulus=f"A callback signed with another secret and `X-Forwarded-For: {_VENDORS_ADDRESS}`.",
        expected="Refused: no effect, no 5xx, no hang.",
        severity=Severity.MAJOR,
        source="D",
        fix=Fix("Verify the signature whatever address a header names.", "verify($header)\n$ok"),
        work=_spoofed_address,
        needs_signature=True,
    ),
)
