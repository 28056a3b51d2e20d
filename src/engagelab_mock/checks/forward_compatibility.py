"""Forward compatibility: statuses, kinds of rows, fields, ids and messages that the receiver has never seen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.finding import Change
from engagelab_mock.checks.orderings import Orderings, StateBaseline
from engagelab_mock.checks.profile import accepted, as_float, describe
from engagelab_mock.checks.stimulus import body, each_row, row_of, rows
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.errors import ProbeFailed
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.explore.state import MISSING, State, differing, dotted, names, single, state_of, values
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.status import Status

UNKNOWN, NEW_FIELD = "queued_x", "new_field"
_OPTIONAL = ("custom_args", "billing", "error_detail")
_NEW_KIND = {"server": "otp", "survey": {"event": "unheard_of", "survey_data": {}}}


def _unknown_status(trial: Trial) -> None:
    alone = trial.message()
    for status in (Status.READ, UNKNOWN):
        attempt = trial.send(alone, _with_status(status))
        trial.expect_answer(attempt, f"the status {status}")
        trial.expect_accepted(attempt, f"the status {status}")
    _expect_unharmed(trial)


def _expect_unharmed(trial: Trial) -> None:
    """Fail if an unknown status replaces a known one."""
    message, other = trial.message(), trial.message()
    known = trial.event(message)
    trial.expect_accepted(trial.send(known))
    trial.expect_effect(message)
    trial.expect_own_state()
    before = state_of(trial.glance(message), message)
    trial.send(known, _with_status(UNKNOWN))
    trial.send(other, _with_status(UNKNOWN))
    trial.context.settle()
    after = state_of(trial.glance(message), message)
    shared = trial.context.profile.shared
    if differing(before, after) <= shared:
        return
    # An app may store an unknown status, but the status that it knew before must still be there.
    replaced = differing(after, state_of(trial.glance(other), other)) <= shared
    if replaced or _mentions(after, known.name) < _mentions(before, known.name):
        shown = f"{trial.glance(message)!s:.120}"
        trial.fail(f"the unknown status {UNKNOWN} replaced {known.name}, which came before it: {shown}")


def _with_status(status: str) -> Any:
    return each_row(lambda row: row["status"].update(message_status=str(status)))


def _mentions(state: State, status: str) -> int:
    return sum(names(value, status) for value in values(state))


def _alias(trial: Trial) -> None:
    def send(message: Message, *, status: str) -> None:
        event = trial.event(message, Status.SENT_FAILED, error_code=5001)
        trial.expect_accepted(trial.send(event, _with_status(status)), f"the status {status}")

    baseline = StateBaseline(trial, partial(send, status="sent_failed"), partial(send, status="sent_fail"))
    baseline.expect_visible("sent_failed")
    baseline.check(("sent_fail", None))


def _unknown_kind(trial: Trial) -> None:
    first, last = trial.message(), trial.message()
    # Of now, because a receiver may refuse old events: see C23.
    unknown = {**_NEW_KIND, "itime": int(trial.engagelab.clock.time())}
    attempt = trial.send(first, rows([row_of(trial.event(first)), unknown, row_of(trial.event(last))]))
    trial.expect_accepted(attempt, "a callback with a row of an unknown kind")
    trial.expect_own_state()
    trial.expect_effect(first, "a row before one of an unknown kind")
    trial.expect_effect(last, "a row after one of an unknown kind")


def _unknown_fields(trial: Trial) -> None:
    message, what = trial.message(), "a valid callback with new fields"
    places = [*_objects({"total": 1, "rows": [row_of(trial.event(message))]})]
    attempt = _send_new_fields(trial, message, *places)
    for place in () if accepted(attempt) else places:
        one = _send_new_fields(trial, trial.message(), place)
        trial.expect_accepted(one, f"{what}, even with a single one {place}")
    trial.expect_accepted(attempt, what)
    trial.expect_effect(message, what)


def _send_new_fields(trial: Trial, message: Message, *places: str) -> Attempt:
    envelope = {"total": 1, "rows": [row_of(trial.event(message))]}
    for place, found in _objects(envelope).items():
        if place in places:
            found[NEW_FIELD] = "unheard of"
    return trial.send(message, body(msgspec.json.encode(envelope)))


def _objects(envelope: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the objects of a body with one row, by their places."""
    found, todo = {"next to `rows`": envelope}, {"a row": envelope["rows"][0]}
    while todo:
        place, each = todo.popitem()
        found[f"in {place}"] = each
        todo |= {f"{name} of {place}": value for name, value in each.items() if isinstance(value, dict)}
    return found


def _null_optional(trial: Trial) -> None:
    messages = {}
    for what, null in (("without", False), ("with null for", True)):
        said = f"a valid callback {what} its optional fields"
        messages[said] = message = trial.message()
        attempt = trial.send(message, each_row(partial(_without, _OPTIONAL, null=null)))
        for name in () if accepted(attempt) else _OPTIONAL:
            row = each_row(partial(_without, (name,), null=null))
            trial.expect_accepted(trial.send(trial.message(), row), f"a valid callback {what} {name}")
        trial.expect_accepted(attempt, said)
    for said, message in messages.items():
        trial.expect_effect(message, said)


def _without(fields: Sequence[str], row: dict[str, Any], *, null: bool) -> None:
    for name in fields:
        owner = row if name == "custom_args" else row["status"]
        owner[name] = None
        if not null:
            del owner[name]


def _big_id(trial: Trial) -> None:
    sent = []
    for what, change in (("an id of 19 digits", _same), ("an id of 19 digits as a JSON number", _id_as_number)):
        message = trial.message()
        nearest = as_float(message)
        # Read it even without a visible effect: an app that stores all ids as floats shows nothing for the right ids.
        steady = nearest.id != message.id and trial.glance(nearest) == trial.glance(nearest)
        attempt = trial.send(message, each_row(change))
        trial.expect_answer(attempt, what)
        sent.append((attempt, message, nearest, steady, what))
    trial.expect_own_state()
    wrong = trial.effects(*(nearest for _, _, nearest, _, _ in sent))
    for (attempt, message, nearest, steady, what), changed in zip(sent, wrong, strict=True):
        if steady and changed:
            trial.show(nearest)
            trial.show(message)
            trial.glance(message)
            trial.fail(f"{what}, {message.id}, was stored as {nearest.id}")
        trial.expect_not_lost(attempt, message, what)


def _same(row: dict[str, Any]) -> None:
    """Leave the row as it is."""


def _id_as_number(row: dict[str, Any]) -> None:
    row["message_id"] = row["status"]["status_data"]["message_id"] = int(row["message_id"])


_NEW = (
    "A provider adds statuses, fields and kinds of rows over the years, without asking its receivers. A receiver that "
    "refuses unknown data loses the data that it knows, from one day to the next."
)
_KNOWN_ALONE = Fix(
    "Apply known statuses, ignore unknown ones, and acknowledge both.",
    """\
for row in json.loads($body)["rows"]:
    status = row.get("status", {}).get("message_status")
    if status in KNOWN:
        apply(row)
    else:
        logging.warning("ignored: %r", row)
$ok""",
    section="Status",
)
_check = partial(Check, need="both")

FORWARD_COMPATIBILITY = (
    _check(
        id="D09",
        name="unknown-status",
        title="An unknown status is acknowledged and replaces nothing",
        why=f"{_NEW} The document's list of statuses ends in “etc.”. It does not say when `read` comes.",
        stimulus=f"Valid callbacks with the statuses `read` and `{UNKNOWN}`; `{UNKNOWN}` also after a known status.",
        expected="Acknowledged; the known status of the message is still there.",
        severity=Severity.BLOCKER,
        source="S",
        fix=_KNOWN_ALONE,
        work=_unknown_status,
    ),
    _check(
        id="D10",
        name="alias",
        title="`sent_fail` means `sent_failed`",
        why="A newer example has the status `sent_fail`, the tables have `sent_failed`; the SDK accepts both.",
        stimulus="The same failure of two messages, once with each spelling.",
        expected="The same state.",
        severity=Severity.MAJOR,
        need="probe",
        source="D",
        fix=Fix(
            "Replace one spelling by the other before you use the status.",
            """\
for row in json.loads($body)["rows"]:
    status = row["status"]["message_status"]
    status = {"sent_fail": "sent_failed"}.get(status, status)""",
            section="Status",
        ),
        work=_alias,
    ),
    _check(
        id="D11",
        name="unknown-kind",
        title="A row of an unknown kind does not lose the other rows",
        why=f"{_NEW} Four kinds of rows are documented, and each has its own section; the first document had two.",
        stimulus="A valid callback with a row without any known section between two good rows.",
        expected="Acknowledged, and the good rows are applied.",
        severity=Severity.MAJOR,
        source="?",
        fix=Fix(
            "Look for the sections that you know, and ignore a row that has none of them.",
            """\
for row in json.loads($body)["rows"]:
    if isinstance(row.get("status"), dict):
        apply(row)
$ok""",
            section="Status",
        ),
        work=_unknown_kind,
    ),
    _check(
        id="D12",
        name="unknown-field",
        title="Unknown fields are ignored",
        why=f"{_NEW} The newer documents show fields that the first one does not have.",
        stimulus="A valid callback with a new field in every object, including the envelope.",
        expected="Acknowledged and applied.",
        severity=Severity.BLOCKER,
        source="D",
        fix=Fix(
            "Allow unknown fields in every schema, at every level.",
            own_fastapi='class Row(pydantic.BaseModel, extra="ignore"):\n    message_id: str\n    status: dict',
            code="""\
class RowSchema(marshmallow.Schema):
    class Meta:
        unknown = marshmallow.EXCLUDE""",
            section="Status",
        ),
        work=_unknown_fields,
    ),
    _check(
        id="D13",
        name="null-optional",
        title="Optional fields can be missing or null",
        why="Only some rows have custom_args, billing and error_detail. In the other rows, a sender may leave them out "
        "or set them to null.",
        stimulus="Valid callbacks without custom_args, billing and error_detail, and with null for each.",
        expected="Acknowledged and applied.",
        severity=Severity.MAJOR,
        source="S",
        fix=Fix(
            "Read optional fields so that null is the same as missing.",
            """\
for row in json.loads($body)["rows"]:
    custom_args = row.get("custom_args") or {}
    billing = row["status"].get("billing") or {}""",
            section="Status",
        ),
        work=_null_optional,
    ),
    _check(
        id="D14",
        name="bigint",
        title="Message ids are kept to the last digit",
        why="Ids have 18 or 19 digits. A floating-point number has 15 exact digits, so JavaScript, spreadsheets and "
        "columns of the wrong type turn 1744569418236633089 into …088, another message's id. Ids are documented as "
        "strings of digits.",
        stimulus="Valid callbacks with an id of 19 digits, as a string and as a JSON number.",
        expected="Applied to that message.",
        severity=Severity.BLOCKER,
        source="S",
        fix=Fix(
            "Keep ids as text, from the body to the database column.",
            'for row in json.loads($body)["rows"]:\n    message_id = str(row["message_id"])  # a column of text, too',
            section="Body",
        ),
        work=_big_id,
    ),
)


# Messages that the app did not send, or has not sent yet.

#: Response statuses that say that the message is unknown, not that the sender is unknown.
_UNKNOWN_ID = frozenset({404, 410, 422})


def _unknown_id(trial: Trial) -> None:
    message = trial.message(prepared=False)
    attempt = trial.send(message)
    if accepted(attempt):
        return
    what = f"a callback about a message that the app did not send: {describe(attempt)}"
    status = attempt.response.status if attempt.response is not None else 0
    crashed = attempt.outcome is Outcome.APP_RAISED or status >= 500
    if trial.context.profile.refuses and not (crashed or status in _UNKNOWN_ID):
        # The refusal can have another reason than the id.
        trial.inconclusive(f"the receiver accepts no valid callback: {trial.context.profile.refuses}")
    # A schedule is always about messages that the app did not send.
    trial.fail(what, Schedule.of(trial.context.profile.scenario, trial.context.profile.status))


def _early_race(trial: Trial) -> None:
    probe = trial.context.probe
    if probe.prepare is None:
        trial.inconclusive("the app cannot be told about a message: give `prepare`, which needs a test in pytest")
    status = trial.context.profile.status
    orderings = Orderings(trial, trial.context.profile.scenario, status)
    order = orderings.in_order
    orderings.learn((), order, order)
    message = trial.message(prepared=False)
    before = trial.context.look(message)
    event = trial.events(orderings.schedule(order), message)[status]
    early = trial.send(event)
    trial.expect_answer(early, "a callback about a message that the app is about to send")
    trial.settled([message])
    try:
        run_sync(probe.prepare_message(SYNC, message))
    except ProbeFailed as error:
        trial.inconclusive(
            f"{error.what:.150}, after a callback about the same message: "
            "can your code send a message that is already stored?"
        )
    if not accepted(early):
        # A refused callback is not lost: EngageLab sends it again later.
        trial.expect_accepted(trial.send(event), "the retry of a callback that came early")

    def wrong() -> str:
        due, initial = orderings.state(order), orderings.state(())
        state = state_of(trial.context.look(message), message)
        effects = differing(initial, due) - orderings.noise()
        naming = {path for path in single(effects) if names(due.get(path), status)}
        misses = sorted(path for path in naming or effects if state.get(path, MISSING) != due.get(path, MISSING))
        if not misses or len(misses) < len(naming):
            return ""
        path = misses[0]
        return f"{dotted(path)} is {state.get(path, MISSING)!r:.60}, and should be {due.get(path, MISSING)!r:.60}"

    if orderings.persists(wrong, order):
        trial.show(message, Change(before, trial.context.look(message)))
        trial.fail(f"{status} came before the app knew the message, and is lost: {wrong()}")


_KNOWN = Fix(
    "Store the callback under its message id, known or not, and acknowledge. The code that sends adds to that row.",
    """\
with database.transaction():
    row = database.get_or_create_locked(message_id)  # both here and where the message is sent
    row.update(status)
$ok""",
    section="Status",
)
_check_id = partial(Check, severity=Severity.MAJOR, source="?", fix=_KNOWN)

UNKNOWN_MESSAGES = (
    _check_id(
        id="C12",
        name="unknown-id",
        title="A callback about an unknown message is acknowledged",
        why="One account can serve several apps, and staging as well as production, so callbacks come about messages "
        "that another system sent. A callback that is not acknowledged is sent again for days.",
        stimulus="A valid callback about a message id that was never issued.",
        expected="A success, no 5xx.",
        need="http",
        work=_unknown_id,
        needs_valid=False,
    ),
    _check_id(
        id="C13",
        name="early-race",
        title="A callback that is faster than the API's answer is not lost",
        why="EngageLab may report on a message before the app has stored the id that the API returned. An UPDATE by "
        "this id then changes nothing, the receiver acknowledges, and the event never comes again.",
        stimulus="A valid callback; then `prepare`, as the app enters a message; and a refused callback once more.",
        expected="The state as if the callback had come afterwards.",
        need="probe",
        work=_early_race,
    ),
)
