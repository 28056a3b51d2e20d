"""Family A: is a callback, and the ping before it, acknowledged as EngageLab wants it?"""

from __future__ import annotations

from engagelab_mock.checks.check import Check, Fix
from engagelab_mock.checks.context import describe
from engagelab_mock.checks.trial import Trial
from engagelab_mock.checks.verdict import Severity

_PING = Fix(
    "Answer 200 to a body that carries no rows, before the signature is looked at: nothing happens on a ping, so "
    "nothing needs proof of who sent it.",
    'content = $body\nif content in (b"", b"{}") and not $header:\n    $ok',
)
_PING_WHY = (
    "When a callback's address is saved, or refreshed, EngageLab sends a message to it and wants 200 within 3 seconds; "
    "else the address does not become usable and no callback is ever sent. The request that the document prints "
    "carries no signature."
)


def _ping_empty(trial: Trial) -> None:
    attempt = trial.ping("empty")
    if not attempt.acknowledged:
        trial.fail(f"the empty, unsigned ping: {describe(attempt)}")


def _ping_json(trial: Trial) -> None:
    attempt = trial.ping("json")
    if not attempt.acknowledged:
        trial.fail(f"the unsigned ping of newer pages, {{}}: {describe(attempt)}")


ACKNOWLEDGEMENT = (
    Check(
        id="A01",
        name="ping-empty",
        title="The empty, unsigned ping is acknowledged",
        why=_PING_WHY,
        stimulus="An unsigned POST with an empty body and `Content-Length: 0`, as `curl -d ''` sends it.",
        expected="200 within 3 s.",
        severity=Severity.BLOCKER,
        need="http",
        source="S",
        fix=_PING,
        work=_ping_empty,
        needs_valid=False,
    ),
    Check(
        id="A02",
        name="ping-json",
        title="The ping with the body `{}` is acknowledged",
        why=_PING_WHY,
        stimulus="An unsigned POST with the body `{}`.",
        expected="200 within 3 s.",
        severity=Severity.BLOCKER,
        need="http",
        source="D",
        fix=_PING,
        work=_ping_json,
        needs_valid=False,
    ),
)
