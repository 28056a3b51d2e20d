"""Family D, the body itself: how its text is written, what it is called, and what is no JSON at all."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from engagelab_mock.checks.check import Check, Fix
from engagelab_mock.checks.context import accepted
from engagelab_mock.checks.money import BALANCE, COST, money
from engagelab_mock.checks.state import state_of, values
from engagelab_mock.checks.stimulus import body, content_type, row_of
from engagelab_mock.checks.trial import Trial
from engagelab_mock.checks.verdict import Severity
from engagelab_mock.protocol.event_table import names_of
from engagelab_mock.protocol.events import Event

_HALF_A_PAIR = "\ud83d"
#: Texts that a field can hold, by what they are.
_TEXTS = {
    "emoji": "code 🔑👩‍👩‍👧",
    "Chinese": "验证码",
    "right-to-left text": "رمز التحقق",
    "a null character": "a\u0000b",
    "half a surrogate pair": f"a{_HALF_A_PAIR}b",
}
#: How apps write what is no number.
_NANS = {"nan", "decimal('nan')"}
_CONTENT_TYPES = {
    "application/json; charset=UTF-8": "the content type application/json; charset=UTF-8",
    None: "no content type",
    "text/plain": "the content type text/plain",
}


def _texts(trial: Trial) -> None:
    for what, text in _TEXTS.items():
        for where, row in _rows_with(trial, text):
            # Half a pair cannot be written in UTF-8, only as an escape.
            content = json.dumps({"total": 1, "rows": [row]}, ensure_ascii=_HALF_A_PAIR in text).encode()
            attempt = trial.send(trial.message(), body(content))
            trial.survived(attempt, f"{what} in {where}")


def _rows_with(trial: Trial, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield rows that hold a text where users, operators and the app itself write what they like."""
    message = trial.message()
    row = row_of(trial.event(message))
    row["custom_args"] = {"note": text, text: "note"}
    row["status"]["status_data"]["template_key"] = text
    row["status"]["error_detail"] = {"message": text}
    yield "custom_args, template_key and error_detail", row
    uplink = row_of(trial.engagelab.account.uplink(message.to, body="text", at=trial.engagelab.clock.time()))
    uplink["response"]["response_data"]["body"] = text
    yield "what a user wrote back", uplink


def _content_types(trial: Trial) -> None:
    for value, what in _CONTENT_TYPES.items():
        message = trial.message()
        trial.not_lost(trial.send(message, content_type(value)), message, f"a valid callback with {what}")


def _byte_order_mark(trial: Trial) -> None:
    message = trial.message()
    trial.not_lost(trial.send(message, "bom"), message, "a valid callback behind a byte order mark")


def _event_kinds(trial: Trial) -> None:
    wanted = [event for event in _account_events(trial) if trial.receiver.settings.wants(event)]
    if not wanted:
        trial.skip("the receiver's settings tick message statuses alone")
    for event in wanted:
        trial.accepted(trial.send(event), f"the {event.kind} {event.name}")


def _account_events(trial: Trial) -> Iterator[Event]:
    account, at = trial.engagelab.account, trial.engagelab.clock.time()
    for name in names_of("notification"):
        yield account.notification(name, at=at)
    yield account.uplink(trial.engagelab.generate.recipient(), body="STOP", at=at)
    for name in names_of("system_event"):
        yield account.system_event(name, at=at)


def _edges(trial: Trial) -> None:
    message = trial.message()
    whole = msgspec.json.encode({"total": 1, "rows": [row_of(trial.event(message))]})
    attempt = trial.send(message, body(whole[: len(whole) // 2]))
    trial.no_effect(message, "half a body")
    trial.survived(attempt, "half a body")
    _not_a_number(trial)
    # Of a key that stands twice parsers take the last or the first, and some cope with any depth: either is fine.
    trial.survived(trial.send(trial.message(), "duplicate_keys"), "a body with a key that stands twice")
    trial.survived(trial.send(trial.message(), "deep_body"), "a body with 100,000 lists inside each other")


def _not_a_number(trial: Trial) -> None:
    message = trial.message()
    row = row_of(trial.event(message))
    row["status"]["billing"] = {"cost": math.nan, "currency": "USD"}
    attempt = trial.send(message, body(json.dumps({"total": 1, "rows": [row]}).encode()))
    trial.survived(attempt, "NaN for a cost")
    if not accepted(attempt) or not trial.change(message).changed:
        return
    if any(str(each).lower() in _NANS for each in values(state_of(trial.look(message), message))):
        trial.fail("NaN for a cost was taken for one: whatever it is added to is no number any more")
    trial.warn("a callback with NaN, which is no JSON, had an effect; json.loads refuses it with a parse_constant")


_LOST = (
    "What is acknowledged is not sent again. A receiver that answers 200 to a body it could not read, or did not look "
    "at, has lost it, and nobody is told."
)
_RAW = Fix(
    "Read the body as bytes, whatever the content type says it is, and refuse what cannot be parsed.",
    """\
try:
    envelope = json.loads($body)  # of bytes it finds the encoding out, a byte order mark included
except (ValueError, RecursionError):
    $refuse_400""",
)
_check = partial(Check, need="http")

BODY = (
    _check(
        id="D16",
        name="unicode",
        title="Any text is survived",
        why="Users write back what they like, and custom_args come back as they were given. Databases refuse null "
        "characters, and half a surrogate pair, which JSON can spell, cannot be written as UTF-8.",
        stimulus="Valid callbacks with " + ", ".join(_TEXTS) + " in their texts.",
        expected="No 5xx, no hang.",
        severity=Severity.MAJOR,
        source="?",
        fix=Fix(
            "Make text fit for the database and the log before either sees it.",
            'text = str(json.loads($body)).replace("\\0", "").encode("utf-8", "replace").decode()',
        ),
        work=_texts,
    ),
    _check(
        id="D17",
        name="charset",
        title="A callback is not lost over its content type",
        why=f"{_LOST} Frameworks hand out an empty form, or nothing, where the content type is not the one they "
        "expect. Which one is really sent is documented nowhere.",
        stimulus="Valid callbacks as `application/json; charset=UTF-8`, without a content type, and as `text/plain`.",
        expected="Applied, or refused: never acknowledged without an effect.",
        severity=Severity.MAJOR,
        need="both",
        source="?",
        fix=_RAW,
        work=_content_types,
    ),
    _check(
        id="D18",
        name="bom",
        title="A callback is not lost over a byte order mark",
        why=f"{_LOST} The official SDK does so with a byte order mark, which proxies and editors put before JSON.",
        stimulus="A valid callback with a UTF-8 byte order mark before its body.",
        expected="Applied, or refused: never acknowledged without an effect.",
        severity=Severity.MINOR,
        need="both",
        source="K",
        fix=_RAW,
        work=_byte_order_mark,
    ),
    _check(
        id="D19",
        name="event-kinds",
        title="Every documented event is acknowledged",
        why="Besides statuses there are notifications, what users write back, and system events. An address that "
        "answers them with an error looks abnormal in the console, and they are sent again and again.",
        stimulus="Each notification, an uplink message, and each system event of the documents that is ticked.",
        expected="A success in time, whether or not anything is done about it.",
        severity=Severity.MAJOR,
        source="D",
        fix=Fix(
            "Acknowledge what you have no use for.",
            """\
for row in json.loads($body)["rows"]:
    if isinstance(row.get("status"), dict):
        apply(row)
$ok""",
        ),
        work=_event_kinds,
    ),
    _check(
        id="D20",
        name="money",
        title="Sums of money are kept exactly",
        why="A message costs half a cent. Rounded to cents it costs nothing or twice as much, and binary fractions "
        "do not add up: 0.1 and 0.2 give 0.30000000000000004. A balance can be negative.",
        stimulus=f"Valid callbacks with costs of {COST}, 0.1 and 0.2, and a notification of a balance of {BALANCE}.",
        expected="The costs as they were sent, where `observe` shows them; the balance is accepted.",
        severity=Severity.MINOR,
        need="probe",
        source="S",
        fix=Fix(
            "Parse decimals as such, and keep them in a column of that type, with six places.",
            "envelope = json.loads($body, parse_float=decimal.Decimal)",
        ),
        work=money,
    ),
    _check(
        id="D21",
        name="json-edge",
        title="What is no JSON, or hardly any, is survived",
        why="Anybody who knows the address can send a body that brings a parser to its limits: Python's own raises "
        "RecursionError for deep nesting, which is no ValueError, and takes NaN for a number.",
        stimulus="Half a body; NaN for a cost; a key that stands twice; 100,000 lists inside each other.",
        expected="No 5xx, no hang; no effect of half a body, none of NaN that lasts.",
        severity=Severity.MINOR,
        source="?",
        fix=Fix(
            "Catch what the parser raises, RecursionError included, and refuse NaN.",
            """\
def refuse(constant):
    raise ValueError(constant)

try:
    envelope = json.loads($body, parse_constant=refuse)
except (ValueError, RecursionError):
    $refuse_400""",
        ),
        work=_edges,
    ),
)
