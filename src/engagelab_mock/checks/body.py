"""Family D, the body: its text, its content type, its kinds of events, sums of money, and broken JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

import msgspec

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.orderings import StateBaseline
from engagelab_mock.checks.profile import accepted
from engagelab_mock.checks.stimulus import body, content_type, row_of
from engagelab_mock.checks.trial import Trial
from engagelab_mock.explore.state import state_of, values
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.event_table import names_of
from engagelab_mock.protocol.events import Event
from engagelab_mock.protocol.status import Status

#: The spellings of NaN in apps, in lower case.
_NANS = {"nan", "decimal('nan')"}
_CONTENT_TYPES = {
    "application/json; charset=UTF-8": "the content type application/json; charset=UTF-8",
    None: "no content type",
    "text/plain": "the content type text/plain",
}


def _content_types(trial: Trial) -> None:
    sent = []
    for value, what in _CONTENT_TYPES.items():
        message = trial.message()
        sent.append((trial.send(message, content_type(value)), message, f"a valid callback with {what}"))
    for attempt, message, what in sent:
        trial.expect_not_lost(attempt, message, what)


def _byte_order_mark(trial: Trial) -> None:
    message = trial.message()
    trial.expect_not_lost(trial.send(message, "bom"), message, "a valid callback behind a byte order mark")


def _uplinks(trial: Trial) -> None:
    # In the document's example, an uplink message has the id 0.
    if not trial.sees_kind("response"):
        trial.not_applicable("`observe` shows no effect of users' replies, which have the message id 0")
    places = trial.places("response")
    for text in ("STOP", "HELP", "START"):
        for place in places:
            trial.look(place)
        trial.expect_accepted(trial.send(trial.context.new_event("response", places[-1], text)), "a user's reply")
    if not any(trial.effects(*places)):
        trial.fail("a user's reply was lost after others: all have the message id 0")


def _event_kinds(trial: Trial) -> None:
    events = [*(trial.event(trial.message(), status) for status in Status), *_account_events(trial)]
    for event in events:
        if trial.receiver.settings.wants(event):
            trial.expect_accepted(trial.send(event), f"the {event.kind} {event.name}")


def _account_events(trial: Trial) -> Iterator[Event]:
    account, at = trial.engagelab.account, trial.engagelab.clock.time()
    for name in names_of("notification"):
        yield account.notification(name, at=at)
    yield account.uplink(trial.context.new_recipient(), body="STOP", at=at)
    for name in names_of("system_event"):
        yield account.system_event(name, at=at)


def _edges(trial: Trial) -> None:
    message = trial.message()
    whole = msgspec.json.encode({"total": 1, "rows": [row_of(trial.event(message))]})
    attempt = trial.send(message, body(whole[: len(whole) // 2]))
    trial.expect_no_effect(attempt, message, "half a body")
    trial.expect_answer(attempt, "half a body")
    _not_a_number(trial)
    # Parsers may take the first or the last of two equal keys, and may accept any depth.
    trial.expect_answer(trial.send(trial.message(), "duplicate_keys"), "a body with the same key twice")
    trial.expect_answer(trial.send(trial.message(), "deep_body"), "a body with 100,000 lists inside each other")


def _not_a_number(trial: Trial) -> None:
    message = trial.message()
    row = row_of(trial.event(message))
    row["status"]["billing"] = {"cost": math.nan, "currency": "USD"}
    attempt = trial.send(message, body(json.dumps({"total": 1, "rows": [row]}).encode()))
    trial.expect_answer(attempt, "NaN as a cost")
    if not accepted(attempt) or not any(trial.effects(message)):
        return
    if any(str(each).lower() in _NANS for each in values(state_of(trial.look(message), message))):
        trial.fail("NaN was stored as a cost: any sum with it is NaN")
    trial.warn("a callback with NaN, which is not JSON, had an effect; json.loads can refuse it with parse_constant")


COST = Decimal("0.005")
#: Another cost, to distinguish a rounded cost from other numbers.
OTHER_COST = Decimal("0.0137")
#: A cost that needs four decimal places.
TINY_COST = Decimal("0.0004")
BALANCE = -0.005
#: The costs of two channels of one message. As floating-point numbers, their sum is 0.30000000000000004.
_PARTS = {"whatsapp": Decimal("0.1"), "sms": Decimal("0.2")}
#: The largest relative difference at which a number is still recognised as the exact one.
_NEAR = Decimal("1e-6")


def money(trial: Trial) -> None:
    """Fail if a negative balance is not accepted, or if a cost is rounded or has a binary rounding error."""
    _send_balance(trial)
    costs: list[Mapping[str, Decimal | None]] = [
        {"sms": None},
        *({"sms": cost} for cost in (COST, OTHER_COST, TINY_COST)),
        _PARTS,
    ]
    free = StateBaseline(trial, *(partial(_send_costs, trial, each) for each in costs))
    one, other, tiny, both = free.others
    shown, others = (
        {path: _numbers(found) for path, found in free.new_values(state).items()} for state in (one, other)
    )
    numbers = [number for found in shown.values() for number in found]
    sums = _numbers(values(both))
    for exact in (COST, *_PARTS.values(), sum(_PARTS.values(), Decimal())):
        for number in (*numbers, *sums):
            if number != exact and abs(number - exact) <= _NEAR * exact:
                trial.fail(f"a cost of {exact} became {number}")
    exact_at = [path for path, found in shown.items() if any(_is_scaled(number, COST) for number in found)]
    for path in exact_at:
        kept = _numbers(values(tiny, [path]))
        is_cost = any(_is_scaled(each, OTHER_COST) or _is_rounded(each, OTHER_COST) for each in others.get(path, []))
        if is_cost and kept and not any(_is_scaled(number, TINY_COST) for number in kept):
            trial.fail(f"a cost of {TINY_COST} became {min(kept, key=lambda number: abs(number - TINY_COST))}")
    if exact_at:
        return
    for path, found in shown.items():
        rounded = next((number for number in found if _is_rounded(number, COST)), None)
        # A margin or another currency is not the cost. A number was rounded only if it is near two different costs.
        if rounded is not None and any(_is_rounded(number, OTHER_COST) for number in others.get(path, [])):
            trial.fail(f"a cost of {COST} became {rounded}")
    trial.not_applicable("`observe` does not return the cost of a message")


def _send_balance(trial: Trial) -> None:
    at = trial.engagelab.clock.time()
    event = trial.engagelab.account.notification("insufficient_balance", at=at, remain_balance=BALANCE)
    if trial.receiver.settings.wants(event):
        trial.expect_accepted(trial.send(event), f"a balance of {BALANCE}")


def _send_costs(trial: Trial, costs: Mapping[str, Decimal | None], message: Message) -> None:
    for channel, cost in costs.items():
        event = trial.event(message, Status.SENT, channel=channel, cost=None if cost is None else float(cost))
        trial.expect_accepted(trial.send(event), "a valid callback" if cost is None else f"a cost of {cost}")


def _numbers(found: list[Any]) -> list[Decimal]:
    return [number for value in found if (number := _number(value)) is not None]


def _number(value: Any) -> Decimal | None:
    """Return the number in a value: a number, a text, or the repr of a Decimal."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    text = str(value).removeprefix("Decimal('").removesuffix("')")
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _is_scaled(number: Decimal, exact: Decimal) -> bool:
    """Tell whether a number is the exact one, perhaps in another unit, such as thousandths.

    >>> _is_scaled(Decimal(5000), Decimal("0.005")), _is_scaled(Decimal("0.01"), Decimal("0.005"))
    (True, False)
    """
    return number.normalize().as_tuple().digits == exact.normalize().as_tuple().digits


def _is_rounded(number: Decimal, exact: Decimal) -> bool:
    """Tell whether a number is the exact one with fewer decimal places, rounded in any direction.

    >>> _is_rounded(Decimal("0.01"), Decimal("0.005")), _is_rounded(Decimal("0.0046"), Decimal("0.005"))
    (True, False)
    """
    places = -int(number.normalize().as_tuple().exponent)
    step = Decimal(1).scaleb(-max(places, 1))
    return abs(number) < 1 and number != exact and abs(number - exact) < step


_LOST = (
    "A callback that is acknowledged is not sent again. A receiver that answers 200 to a body that it could not read "
    "loses the callback without an error."
)
_RAW = Fix(
    "Read the body as bytes for every content type, and refuse a body that cannot be parsed.",
    """\
try:
    envelope = json.loads($body)  # detects the encoding of bytes, and a byte order mark
except (ValueError, RecursionError):
    $refuse_400""",
    section="Serve",
)
_check = partial(Check, need="http")

BODY = (
    _check(
        id="D15",
        name="uplink-id-0",
        title="Users' replies are not taken for duplicates",
        why="In the documented example, a user's reply has the message id 0. A receiver that recognises duplicates by "
        "the message id alone keeps the first STOP and loses all replies after it.",
        stimulus="Three different replies of one user, all with the message id 0.",
        expected="All are kept.",
        need="probe",
        severity=Severity.MAJOR,
        source="D",
        fix=Fix(
            "Identify users' replies by their `message_sid`.",
            """\
for row in json.loads($body)["rows"]:
    if isinstance(row.get("response"), dict):
        key = row["response"]["response_data"]["message_sid"]
    else:
        key = row["message_id"], row["status"]["message_status"]""",
        ),
        work=_uplinks,
    ),
    _check(
        id="D17",
        name="charset",
        title="A callback is not lost because of its content type",
        why=f"{_LOST} Frameworks return an empty form, or nothing, if they do not expect the content type. The real "
        "content type is not documented.",
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
        title="A callback is not lost because of a byte order mark",
        why=f"{_LOST} The official SDK does this with a byte order mark. Some proxies and editors put one before JSON.",
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
        why="There are more statuses than those of a message that succeeds, and in addition notifications, users' "
        "replies (uplink messages), and system events. An address that answers them with an error becomes abnormal in "
        "the console, and they are sent again and again.",
        stimulus="Each documented status, notification and system event, and an uplink message, if it is ticked.",
        expected="A success in time, even if the app does not use the event.",
        severity=Severity.MAJOR,
        source="D",
        fix=Fix(
            "Acknowledge statuses and events that you do not use.",
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
        why="A message can cost half a cent. Rounded to cents, it costs nothing or twice as much. Binary fractions are "
        "not exact: 0.1 + 0.2 is 0.30000000000000004. A balance can be negative.",
        stimulus=f"Valid callbacks with costs of {COST}, {TINY_COST}, 0.1 and 0.2, and a notification of a balance of "
        f"{BALANCE}.",
        expected="`observe` returns the costs as they were sent; the balance is accepted.",
        severity=Severity.MINOR,
        need="probe",
        source="S",
        fix=Fix(
            "Parse numbers as decimals, and store them in a decimal column with six places.",
            "envelope = json.loads($body, parse_float=decimal.Decimal)",
        ),
        work=money,
    ),
    _check(
        id="D21",
        name="json-edge",
        title="Broken or unusual JSON does not crash the receiver",
        why="Anyone who knows the address can send a body that a parser cannot handle. Python's parser raises "
        "RecursionError for deep nesting, which is not a ValueError, and accepts NaN as a number.",
        stimulus="Half a body; NaN as a cost; the same key twice; 100,000 lists inside each other.",
        expected="No 5xx, no hang; no effect of half a body; NaN is not stored.",
        severity=Severity.MINOR,
        source="?",
        fix=Fix(
            "Catch all exceptions of the parser, including RecursionError, and refuse NaN.",
            """\
def refuse(constant):
    raise ValueError(constant)

try:
    envelope = json.loads($body, parse_constant=refuse)
except (ValueError, RecursionError):
    $refuse_400""",
            section="Body",
        ),
        work=_edges,
    ),
)
