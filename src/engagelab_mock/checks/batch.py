"""Family D, several rows in one callback: is each of them applied, whatever the others are?"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from engagelab_mock.checks.check import Check, Fix
from engagelab_mock.checks.context import accepted, describe
from engagelab_mock.checks.course import Step, in_one_callback, schedule_of
from engagelab_mock.checks.likeness import Reference
from engagelab_mock.checks.stimulus import body, row_of, rows
from engagelab_mock.checks.trial import Trial
from engagelab_mock.checks.verdict import Severity
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.status import Status

#: How many rows a big callback has, and how many bytes at least.
MANY = 1000
BIG = 1_000_000
#: A crash is a refusal, too, if what was done until then is undone.
_REFUSALS = {Outcome.NOT_200, Outcome.APP_RAISED}
_ORDINALS = ("first", "second", "last")
#: What stands among good rows and is none, by what it is.
_BAD_ROWS: dict[str, Any] = {
    "a row whose section is null": {"server": "otp", "itime": 1712458844, "notification": None},
    "a string for a row": "row",
    "null for a row": None,
}
#: Status rows that a handler can make nothing of; many a handler raises over one.
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
    messages = [trial.message() for _ in _ORDINALS]
    attempt = trial.send([trial.event(message) for message in messages])
    schedule = in_one_callback(schedule_of([Step(trial.context.standing.status)], *[[0]] * len(messages)))
    trial.accepted(attempt, "a callback about three messages", schedule)
    for ordinal, message in zip(_ORDINALS, messages, strict=True):
        trial.applied(message, f"the {ordinal} of three messages in one callback", schedule)


def _partitions(trial: Trial) -> None:
    statuses = [Status.SENT, Status.DELIVERED, Status.VERIFIED]
    one_by_one = Reference(trial, partial(_send_parts, trial, [[status] for status in statuses]))
    for parts in ([statuses], [statuses[:1], statuses[1:]], [statuses[:2], statuses[2:]]):
        what = ", then ".join(" and ".join(part) for part in parts)
        schedule = _schedule_of_parts(parts)
        one_by_one.check(partial(_send_parts, trial, parts), f"a message whose statuses came as {what}", schedule)


def _send_parts(trial: Trial, parts: list[list[Status]], message: Message) -> None:
    schedule = _schedule_of_parts(parts)
    for part in parts:
        events = [trial.event(message, status) for status in part]
        trial.accepted(trial.send(events), f"a callback with {' and '.join(part)} of one message", schedule)


def _schedule_of_parts(parts: list[list[Status]]) -> Schedule:
    statuses = [status for part in parts for status in part]
    places = [[statuses.index(status) for status in part] for part in parts]
    return schedule_of([Step(status) for status in statuses], places)


def _same_row_twice(trial: Trial) -> None:
    step = Step(trial.context.standing.status)

    def send(message: Message, *, copies: int) -> None:
        what, schedule = f"a callback with the same row {copies} times", schedule_of([step], [[0] * copies])
        trial.accepted(trial.send([trial.event(message)] * copies), what, schedule)

    once = Reference(trial, partial(send, copies=1))
    twice = schedule_of([step], [[0, 0]])
    once.check(partial(send, copies=2), "the same row twice in one callback", twice)


def _bad_row(trial: Trial) -> None:
    for what, row in _BAD_ROWS.items():
        _send_between_good_rows(trial, row, what)


def _unusable_row(trial: Trial) -> None:
    for what, row in _UNUSABLE_ROWS.items():
        _send_between_good_rows(trial, row, what)


def _send_between_good_rows(trial: Trial, bad: Any, what: str) -> None:
    first, last = trial.message(), trial.message()
    mixed = rows([row_of(trial.event(first)), bad, row_of(trial.event(last))])
    attempt = trial.send(first, mixed)
    if accepted(attempt):
        trial.applied(first, f"a good row before {what}")
        trial.applied(last, f"a good row after {what}")
        return
    if attempt.outcome not in _REFUSALS:
        trial.survived(attempt, what)
    at_first = [trial.change(message).changed for message in (first, last)]
    trial.send(first, mixed)
    again = [trial.change(message).changed for message in (first, last)]
    if any(before and after for before, after in zip(at_first, again, strict=True)):
        trial.fail(f"a callback with {what} was {describe(attempt)}, and its good rows count anew each time it is sent")
    trial.warn(f"a callback with {what} was {describe(attempt)}: however often it is sent, its good rows never arrive")


def _wrong_total(trial: Trial) -> None:
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
        trial.not_lost(attempt, message, what)
        if not accepted(attempt):
            trial.warn(f"{what} was {describe(attempt)}: the rows are what counts")


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
        trial.no_effect(message, what)
        trial.survived(attempt, what)


def _big(trial: Trial) -> None:
    statuses = [Status.PLAN, Status.SENT, Status.DELIVERED, Status.VERIFIED]
    between = [trial.context.new_message() for _ in range(MANY // len(statuses) - 2)]
    first, last = trial.message(), trial.message()
    padding = {"note": "x" * (BIG // MANY)}
    given = [
        {**row_of(trial.event(message, status)), "custom_args": padding}
        for message in (first, *between, last)
        for status in statuses
    ]
    what = f"a callback with {MANY} rows, of a megabyte"
    attempt = trial.send(first, rows(given))
    trial.survived(attempt, what)
    if accepted(attempt):
        trial.applied(first, f"the first row of {what}")
        trial.applied(last, f"the last row of {what}")
    elif attempt.response is not None and attempt.response.status != 413:
        trial.warn(f"{what} was {describe(attempt)}; 413 would say why")


_ROWS = "One request can carry several rows: of several messages, and several statuses of one."
_LOOP = Fix(
    "Go through all rows, and apply each on its own.",
    """\
for row in json.loads($body)["rows"]:
    apply(row)
$ok""",
)
_ONE_BY_ONE = Fix(
    "Handle each row in a `try` of its own, in the database in a savepoint of its own, keep what cannot be handled "
    "for a person to look at, and acknowledge. What is refused as a whole is sent again as it is, until nobody sends "
    "it any more.",
    """\
for row in json.loads($body)["rows"]:
    try:
        apply(row)
    except Exception:
        logging.exception("a row that cannot be handled: %r", row)
$ok""",
)
_BODY = Fix(
    "Look at what the body is before you use it. The length of `rows` is what counts; `total` says nothing more.",
    """\
envelope = json.loads($body)
rows = envelope.get("rows") if isinstance(envelope, dict) else None
if not isinstance(rows, list):
    $refuse_400""",
)
_check = partial(Check, need="both", source="S")

BATCH = (
    _check(
        id="D01",
        name="batch-n",
        title="All rows of a callback are applied",
        why=f"{_ROWS} A receiver that looks at `rows[0]` works for as long as traffic is low.",
        stimulus="A valid callback with three rows, of three messages.",
        expected="All three are applied.",
        severity=Severity.BLOCKER,
        fix=_LOOP,
        work=_several_messages,
    ),
    _check(
        id="D02",
        name="batch-partition",
        title="It does not matter which statuses share a callback",
        why=f"{_ROWS} Which ones share a request is up to the sender, and to how busy it is.",
        stimulus="sent, delivered and verified of a message: one by one, then, for other messages, all in one "
        "callback, and in two callbacks, cut at either place.",
        expected="The same state for all of them.",
        severity=Severity.MAJOR,
        need="probe",
        fix=_LOOP,
        work=_partitions,
    ),
    _check(
        id="D03",
        name="batch-dup",
        title="The same row twice in one callback has one effect",
        why="Callbacks are sent at least once. A sender that collects what it has to send again can put the same row "
        "into a body twice, where a look into the database before the transaction ends does not find the first.",
        stimulus="A valid callback with the same row twice.",
        expected="The same state as after one row.",
        severity=Severity.MAJOR,
        need="probe",
        source="?",
        fix=Fix(
            "Let the database decide what is new, by a unique key over message, status and channel.",
            """\
for row in json.loads($body)["rows"]:
    status = row["status"]
    key = row["message_id"], status["message_status"], status["status_data"]["current_send_channel"]
    db.execute("INSERT INTO effects VALUES (?, ?, ?) ON CONFLICT DO NOTHING", key)
$ok""",
        ),
        work=_same_row_twice,
    ),
    _check(
        id="D04",
        name="bad-row",
        title="A row that is none does not take the others with it",
        why="Whatever is acknowledged is not sent again. Who answers 200 after a row has stopped the work has lost "
        "all the rows that stood beside it, and nobody is told. The official SDK does so.",
        stimulus=f"Valid callbacks with {', '.join(_BAD_ROWS)} between two good rows.",
        expected="The good rows are applied; or the callback is refused, and counts only once when it comes again.",
        severity=Severity.BLOCKER,
        source="K",
        fix=_ONE_BY_ONE,
        work=_bad_row,
    ),
    _check(
        id="D05",
        name="handler-error",
        title="A row that the handler raises over does not take the others with it",
        why="Handlers fail over the odd row: a field that is missing, a type that changed. What is acknowledged all "
        "the same must have been dealt with row by row, since it is not sent again.",
        stimulus=f"Valid callbacks with {', '.join(_UNUSABLE_ROWS)} between two good rows.",
        expected="The good rows are applied; or the callback is refused, and counts only once when it comes again.",
        severity=Severity.BLOCKER,
        source="K",
        fix=_ONE_BY_ONE,
        work=_unusable_row,
    ),
    _check(
        id="D06",
        name="total-mismatch",
        title="The rows count, whatever `total` says",
        why="`total` repeats the number of rows. Where the two differ the rows are what there is.",
        stimulus="Valid callbacks with one row and a `total` of 5, of 0, and none.",
        expected="The row is applied; at the least no 5xx, and nothing that is acknowledged and lost.",
        severity=Severity.MINOR,
        need="http",
        source="?",
        fix=_BODY,
        work=_wrong_total,
    ),
    _check(
        id="D07",
        name="rows-shape",
        title="A body of another shape is survived",
        why="A receiver that takes the shape of what it gets for granted crashes over the first body that differs: one "
        "of another kind of callback, of another sender, of a test somebody made by hand.",
        stimulus="Bodies whose rows are null, missing or an object, and one that is a list, under a valid signature.",
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
        why="How many rows a callback can have is not documented. A campaign may well fill one, and whoever does a "
        "query or a request per row is then too late.",
        stimulus=f"A valid callback with {MANY} rows, four of each message, a megabyte in all.",
        expected="Acknowledged in time and applied; or refused, with 413.",
        severity=Severity.MAJOR,
        need="http",
        source="?",
        fix=Fix(
            "Keep the body, acknowledge it, and work it off in the background; and look at what the server, the "
            "framework and the proxy allow for a body.",
            own_flask='app.config["MAX_CONTENT_LENGTH"] = 10_000_000\njobs.put(request.get_data())\nreturn "", 200',
            own_django="DATA_UPLOAD_MAX_MEMORY_SIZE = 10_000_000  # in the settings\n"
            "handle_callback.delay(request.body.decode())\nreturn HttpResponse()",
            own_fastapi="background_tasks.add_task(handle, await request.body())\nreturn Response()",
        ),
        work=_big,
    ),
)
