"""Family D, several rows in one callback: is each row applied, even if another row is bad?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.duplicates import Once
from engagelab_mock.checks.orderings import StateBaseline
from engagelab_mock.checks.profile import accepted, describe
from engagelab_mock.checks.stimulus import body, row_of, rows
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.status import Status

#: How many rows a big callback has, and its smallest number of bytes.
MANY = 1000
BIG = 1_000_000
#: A crash counts as a refusal if the work before it is rolled back.
_REFUSALS = {Outcome.NOT_200, Outcome.APP_RAISED}
_ORDINALS = ("first", "second", "last")
#: Broken rows to put among good rows, by their description.
_BAD_ROWS: dict[str, Any] = {
    "a row whose section is null": {"server": "otp", "itime": 1712458844, "notification": None},
    "a string instead of a row": "row",
    "null instead of a row": None,
}
#: Status rows that a handler cannot use; many handlers raise an exception for one.
_UNUSABLE_ROWS: dict[str, Any] = {
    "a status row whose fields are null": {"message_id": None, "status": {"message_status": None, "status_data": None}},
    "a status row whose fields have other types": {
        "message_id": {"id": 1},
        "to": 6591234567,
        "itime": "now",
        "status": {"message_status": ["sent"], "status_data": "sms"},
    },
    "a status row without fields": {"status": {}},
}


def _several_messages(trial: Trial) -> None:
    status = trial.context.profile.status
    others = range(2, len(_ORDINALS) + 1)
    labels = [status, *(f"{status}#{number}" for number in others)]
    scenario = trial.context.profile.scenario
    schedule = Schedule.of(scenario, labels, others=[scenario for _ in others])
    messages = [trial.message() for _ in _ORDINALS]
    _expect_all_accepted(trial, schedule, *messages, what="a callback about three messages")
    trial.expect_own_state()
    for ordinal, message in zip(_ORDINALS, messages, strict=True):
        trial.expect_effect(message, f"the {ordinal} of three messages in one callback", schedule)


def _partitions(trial: Trial) -> None:
    statuses = [Status.SENT, Status.DELIVERED, Status.VERIFIED]
    one_by_one = Schedule.of("verified", *statuses)
    treats, whats = [], []
    for parts in ([statuses], [statuses[:1], statuses[1:]], [statuses[:2], statuses[2:]]):
        schedule = Schedule.of("verified", *parts)
        treats.append(partial(_expect_all_accepted, trial, schedule))
        came = ", then ".join(" and ".join(part) for part in parts)
        whats.append((f"a message whose statuses came as {came}", schedule))
    baseline = StateBaseline(trial, partial(_expect_all_accepted, trial, one_by_one), *treats)
    baseline.expect_visible(", ".join(statuses))
    baseline.check(*whats)


def _same_row_twice(trial: Trial) -> None:
    once = Once.of_all(trial)
    messages = {status: trial.message() for status in once.visible}
    for status, message in messages.items():
        event = once.event(message, status)
        trial.expect_accepted(trial.send([event, event]), f"a callback with the row {status} twice")
    trial.context.settle()
    for status, message in messages.items():
        schedule = once.schedule(status=status, rows=2)
        once.check(message, f"{status} twice in one callback", status=status, schedule=schedule, settled=True)


def _same_row_with_others(trial: Trial) -> None:
    once = Once.of_all(trial)
    first, second, third = ({status: trial.message() for status in once.visible} for _ in range(3))
    for together in ([first], [first, second], [second, third], [third]):
        events = [once.event(each[status], status) for status in once.visible for each in together]
        for sent in [events] if len(together) > 1 else [[event] for event in events]:
            trial.expect_accepted(trial.send(sent), f"a callback with {len(sent)} rows")
    trial.context.settle()
    for messages, what in (
        (first, "alone, and then together with other rows"),
        (second, "together with other rows, and then with others again"),
        (third, "together with other rows, and then alone"),
    ):
        for status, message in messages.items():
            once.check(message, f"{status} {what}", status=status, settled=True)


def _expect_all_accepted(trial: Trial, schedule: Schedule, *messages: Message, what: str = "") -> None:
    """Play a schedule about these messages, and fail unless each of its callbacks is accepted."""
    for number, attempt in enumerate(trial.play(schedule, *messages)):
        rows = schedule.steps[number].events
        trial.expect_accepted(attempt, what or f"a callback with the rows {', '.join(rows)}", schedule)


def _bad_row(trial: Trial) -> None:
    _send_between_good_rows(trial, _BAD_ROWS)


def _unusable_row(trial: Trial) -> None:
    _send_between_good_rows(trial, _UNUSABLE_ROWS)


def _send_between_good_rows(trial: Trial, bad_rows: Mapping[str, Any]) -> None:
    applied = []
    for what, bad in bad_rows.items():
        first, last = trial.message(), trial.message()
        mixed = rows([row_of(trial.event(first)), bad, row_of(trial.event(last))])
        attempt = trial.send(first, mixed)
        if accepted(attempt):
            applied += [(first, f"a good row before {what}"), (last, f"a good row after {what}")]
        else:
            _expect_all_or_nothing(trial, attempt, mixed, [first, last], what)
    # Only now: if the app works after its answer, the check then waits for it once.
    if applied:
        trial.expect_own_state()
    for message, what in applied:
        trial.expect_effect(message, what)


def _expect_all_or_nothing(trial: Trial, attempt: Attempt, mixed: Fault, messages: list[Message], what: str) -> None:
    """Fail if the good rows of a refused callback are applied each time it is sent."""
    if attempt.outcome not in _REFUSALS:
        trial.expect_answer(attempt, what)
    at_first = trial.effects(*messages)
    trial.send(messages[0], mixed)
    again = trial.effects(*messages)
    if any(before and after for before, after in zip(at_first, again, strict=True)):
        trial.fail(
            f"a callback with {what} was {describe(attempt)}, but its good rows are applied each time it is sent"
        )
    trial.warn(f"a callback with {what} was {describe(attempt)}: its good rows are lost, however often it is sent")


def _wrong_total(trial: Trial) -> None:
    sent = []
    for what, total in (
        ("a total of 5 over one row", 5),
        ("a total of 0 over one row", 0),
        ("one row and no total", None),
    ):
        message = trial.message()
        envelope = {"total": total, "rows": [row_of(trial.event(message))]}
        if total is None:
            del envelope["total"]
        attempt = trial.send(message, body(msgspec.json.encode(envelope)))
        trial.expect_answer(attempt, what)
        sent.append((attempt, message, what))
        if not accepted(attempt):
            trial.warn(f"{what} was {describe(attempt)}: only the rows count")
    for attempt, message, what in sent:
        trial.expect_not_lost(attempt, message, what)


def _no_rows(trial: Trial) -> None:
    message = trial.message()
    row = row_of(trial.event(message))
    envelopes: dict[str, Any] = {
        "rows that are null": {"total": 1, "rows": None},
        "no rows": {"total": 1},
        "rows that are an object": {"total": 1, "rows": {}},
        "a list instead of an object": [row],
    }
    for what, envelope in envelopes.items():
        attempt = trial.send(message, body(msgspec.json.encode(envelope)))
        trial.expect_no_effect(attempt, message, what)
        trial.expect_answer(attempt, what)


def _big(trial: Trial) -> None:
    statuses = [Status.PLAN, Status.SENT, Status.DELIVERED, Status.VERIFIED]
    between = [trial.context.new_message() for _ in range(MANY // len(statuses))]
    first, last = trial.message(), trial.message()
    # The first and the last message have only one row, because an app may remove a message after its last row.
    events = [
        trial.event(first),
        *[trial.event(message, status) for message in between for status in statuses][: MANY - 2],
        trial.event(last),
    ]
    padding = {"note": "x" * (BIG // MANY)}
    what = f"a callback of {MANY} rows and a megabyte"
    attempt = trial.send(first, rows([{**row_of(event), "custom_args": padding} for event in events]))
    trial.expect_answer(attempt, what)
    if accepted(attempt):
        trial.expect_own_state()
        trial.expect_effect(first, f"the first row of {what}")
        trial.expect_effect(last, f"the last row of {what}")
    elif attempt.response is not None and attempt.response.status != 413:
        trial.warn(f"{what} was {describe(attempt)}; 413 would give the reason")


_ROWS = "One request can contain several rows: about several messages, or several statuses of one message."
_LOOP = Fix(
    "Apply each row.",
    """\
for row in json.loads($body)["rows"]:
    apply(row)
$ok""",
    section="Status",
)
_ONE_BY_ONE = Fix(
    "Handle each row in its own `try`, and in its own savepoint in the database. Store rows that cannot be handled, so "
    "that a person can look at them, and acknowledge. A callback that is refused as a whole is sent again unchanged, "
    "until EngageLab gives it up.",
    """\
for row in json.loads($body)["rows"]:
    try:
        apply(row)
    except Exception:
        logging.exception("cannot handle row: %r", row)
$ok""",
    section="Status",
)
_BODY = Fix(
    "Check the type of the body before you use it. Use the length of `rows`, and ignore `total`.",
    """\
envelope = json.loads($body)
rows = envelope.get("rows") if isinstance(envelope, dict) else None
if not isinstance(rows, list):
    $refuse_400""",
    section="Body",
)
_UNIQUE = Fix(
    "Let the database decide which row is new, with a unique key over message, status and channel.",
    """\
for row in json.loads($body)["rows"]:
    status = row["status"]
    key = row["message_id"], status["message_status"], status["status_data"]["current_send_channel"]
    db.execute("INSERT INTO effects VALUES (?, ?, ?) ON CONFLICT DO NOTHING", key)
$ok""",
    section="Status",
)
_check = partial(Check, need="both", source="S")

BATCH = (
    _check(
        id="D01",
        name="batch-n",
        title="All rows of a callback are applied",
        why=f"{_ROWS} A receiver that only reads `rows[0]` works while traffic is low.",
        stimulus="A valid callback with three rows, about three messages.",
        expected="All three are applied.",
        severity=Severity.BLOCKER,
        fix=_LOOP,
        work=_several_messages,
    ),
    _check(
        id="D02",
        name="batch-partition",
        title="It does not matter which statuses share a callback",
        why=f"{_ROWS} Which rows share a request depends on the sender, and on how busy it is.",
        stimulus="sent, delivered and verified of a message: in three callbacks; and, for other messages, in one "
        "callback, and in two callbacks in both ways.",
        expected="The same state for all messages.",
        severity=Severity.MAJOR,
        need="probe",
        fix=_LOOP,
        work=_partitions,
    ),
    _check(
        id="D03",
        name="batch-dup",
        title="The same row twice in one callback has one effect",
        why="Callbacks are sent at least once. A sender that collects rows for a retry can put the same row into a "
        "body twice. A query before the transaction ends may then not find the first row.",
        stimulus="A valid callback with the same row twice, for each status that has an effect.",
        expected="The same state as after one row.",
        severity=Severity.MAJOR,
        need="probe",
        source="?",
        fix=_UNIQUE,
        work=_same_row_twice,
    ),
    _check(
        id="D04",
        name="bad-row",
        title="A malformed row does not lose the other rows",
        why="A callback that is acknowledged is not sent again. A receiver that stops at a bad row and answers 200 "
        "loses the other rows of the callback without an error. The official SDK does this.",
        stimulus=f"Valid callbacks with {', '.join(_BAD_ROWS)} between two good rows.",
        expected="The good rows are applied; or the callback is refused, and has one effect when it comes again.",
        severity=Severity.BLOCKER,
        source="K",
        fix=_ONE_BY_ONE,
        work=_bad_row,
    ),
    _check(
        id="D05",
        name="handler-error",
        title="A row that makes the handler fail does not lose the other rows",
        why="Handlers fail on unusual rows, with a missing field or another type. A receiver that acknowledges such a "
        "callback must have applied its other rows, because the callback is not sent again.",
        stimulus=f"Valid callbacks with {', '.join(_UNUSABLE_ROWS)} between two good rows.",
        expected="The good rows are applied; or the callback is refused, and has one effect when it comes again.",
        severity=Severity.BLOCKER,
        source="K",
        fix=_ONE_BY_ONE,
        work=_unusable_row,
    ),
    _check(
        id="D06",
        name="total-mismatch",
        title="The rows count, not `total`",
        why="`total` repeats the number of rows. If the two differ, the rows are right.",
        stimulus="Valid callbacks with one row and a `total` of 5, of 0, and without `total`.",
        expected="Applied, or refused without 5xx: never acknowledged without an effect.",
        severity=Severity.MINOR,
        need="http",
        source="?",
        fix=_BODY,
        work=_wrong_total,
    ),
    _check(
        id="D07",
        name="rows-shape",
        title="A body of another shape does not crash the receiver",
        why="A receiver that does not check the shape of a body crashes on the first unusual one: another kind of "
        "callback, another sender, or a test written by hand.",
        stimulus="Validly signed bodies whose rows are null, missing or an object, and a body that is a list.",
        expected="No effect, no 5xx, no hang.",
        severity=Severity.MINOR,
        need="http",
        source="?",
        fix=_BODY,
        work=_no_rows,
    ),
    _check(
        id="D08",
        name="big-batch",
        title=f"A callback with {MANY} rows is acknowledged in time, or refused as too large",
        why="The maximum number of rows is not documented. A campaign may lead to a large callback, and a receiver "
        "that makes a query or a request for each row is then too late.",
        stimulus=f"A valid callback with {MANY} rows, four for each message, and a megabyte in total.",
        expected="Acknowledged in time and applied; or refused, with 413.",
        severity=Severity.MAJOR,
        need="http",
        source="?",
        fix=Fix(
            "Store the body, acknowledge it, and handle it in the background. Check the limits of the server, the "
            "framework and the proxy for bodies.",
            own_flask='app.config["MAX_CONTENT_LENGTH"] = 10_000_000\njobs.put(request.get_data())\nreturn "", 200',
            own_django="DATA_UPLOAD_MAX_MEMORY_SIZE = 10_000_000  # in the settings\n"
            "handle_callback.delay(request.body.decode())\nreturn HttpResponse()",
            own_fastapi="background_tasks.add_task(handle, await request.body())\nreturn Response()",
            section="Serve",
        ),
        work=_big,
    ),
    _check(
        id="D28",
        name="batch-again",
        title="A row that comes again together with other rows has one effect",
        why="A sender that collects rows for a retry need not send them in the same callbacks as before. A receiver "
        "that recognises whole bodies instead of single rows takes the row for a new one.",
        stimulus="A row alone and then together with others; together with others and then with different ones; and "
        "together with others and then alone; for each status that has an effect.",
        expected="The same state as after one row.",
        severity=Severity.MAJOR,
        need="probe",
        source="?",
        fix=_UNIQUE,
        work=_same_row_with_others,
    ),
)
