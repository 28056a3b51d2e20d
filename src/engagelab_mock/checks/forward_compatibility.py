"""Family D, forward compatibility: statuses, kinds of rows, fields and ids that the receiver has never seen."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.context import as_float
from engagelab_mock.checks.orderings import StateBaseline
from engagelab_mock.checks.stimulus import body, each_row, row_of, rows
from engagelab_mock.checks.trial import Trial
from engagelab_mock.explore.state import State, differing, names, state_of, values
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.status import Status

UNKNOWN = "queued_x"
NEW_FIELD = "new_field"
_OPTIONAL = ("custom_args", "billing", "error_detail")
_NEW_KIND = {"server": "otp", "itime": 1712458844, "survey": {"event": "unheard_of", "survey_data": {}}}


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

    baseline = StateBaseline(trial, partial(send, status="sent_failed"))
    baseline.expect_visible("sent_failed")
    baseline.check((partial(send, status="sent_fail"), "sent_fail", None))


def _unknown_kind(trial: Trial) -> None:
    first, last = trial.message(), trial.message()
    attempt = trial.send(first, rows([row_of(trial.event(first)), _NEW_KIND, row_of(trial.event(last))]))
    trial.expect_accepted(attempt, "a callback with a row of an unknown kind")
    trial.expect_own_state()
    trial.expect_effect(first, "a row before one of an unknown kind")
    trial.expect_effect(last, "a row after one of an unknown kind")


def _unknown_fields(trial: Trial) -> None:
    message = trial.message()
    envelope = _with_new_fields({"total": 1, "rows": [row_of(trial.event(message))]})
    attempt = trial.send(message, body(msgspec.json.encode(envelope)))
    trial.expect_accepted(attempt, "a valid callback with new fields")
    trial.expect_effect(message, "a valid callback with new fields")


def _with_new_fields(value: Any) -> Any:
    if isinstance(value, dict):
        return {**{key: _with_new_fields(each) for key, each in value.items()}, NEW_FIELD: "unheard of"}
    return [_with_new_fields(each) for each in value] if isinstance(value, list) else value


def _null_optional(trial: Trial) -> None:
    messages = {}
    for what, change in (("without its optional fields", _leave_out), ("whose optional fields are null", _set_null)):
        messages[f"a valid callback {what}"] = message = trial.message()
        attempt = trial.send(message, each_row(change))
        trial.expect_accepted(attempt, f"a valid callback {what}")
    for what, message in messages.items():
        trial.expect_effect(message, what)


def _leave_out(row: dict[str, Any]) -> None:
    for name in _OPTIONAL:
        row.pop(name, None)
        row["status"].pop(name, None)


def _set_null(row: dict[str, Any]) -> None:
    row["custom_args"] = row["status"]["billing"] = row["status"]["error_detail"] = None


def _big_id(trial: Trial) -> None:
    for what, change in (("an id of 19 digits", _same), ("an id of 19 digits as a JSON number", _id_as_number)):
        message = trial.message()
        nearest = as_float(message)
        # Read it even if no effect was seen: an app that stores all ids as floats shows nothing for the right ones.
        steady = nearest.id != message.id and trial.glance(nearest) == trial.glance(nearest)
        attempt = trial.send(message, each_row(change))
        trial.expect_answer(attempt, what)
        trial.expect_own_state()
        if steady and any(trial.effects(nearest)):
            trial.look(message)
            trial.fail(f"{what}, {message.id}, was stored as {nearest.id}")
        trial.expect_not_lost(attempt, message, what)


def _same(row: dict[str, Any]) -> None:
    """Leave the row as it is."""


def _id_as_number(row: dict[str, Any]) -> None:
    row["message_id"] = row["status"]["status_data"]["message_id"] = int(row["message_id"])


def _uplinks(trial: Trial) -> None:
    # In the document's example, an uplink message has this id.
    uplink = Message(id="0", to=trial.engagelab._engine.generate.recipient())
    trial.glance(uplink)
    account, at = trial.engagelab.account, trial.engagelab.clock.time()
    first, second, third = (account.uplink(uplink.to, body=text, at=at) for text in ("STOP", "HELP", "START"))
    for event in (first, second):
        trial.expect_accepted(trial.send(event), "a user's reply")
    if not trial.await_effect(uplink):
        trial.not_applicable("`observe` shows no effect of users' replies, which have the message id 0")
    trial.look(uplink)
    trial.expect_accepted(trial.send(third), "a user's reply")
    if not trial.await_effect(uplink):
        trial.fail("a user's reply was lost after others: all have the message id 0")


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
)
_check = partial(Check, need="both")

FORWARD_COMPATIBILITY = (
    _check(
        id="D09",
        name="unknown-status",
        title="An unknown status is acknowledged and replaces nothing",
        why=f"{_NEW} The document's list of statuses ends in “etc.”, and it mentions `read` without saying when it "
        "comes.",
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
        why="One of the newer examples has the status `sent_fail`, the tables have `sent_failed`, and the official SDK "
        "accepts both. It is not known which one is really sent.",
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
        ),
        work=_big_id,
    ),
    _check(
        id="D15",
        name="uplink-id-0",
        title="Users' replies are not taken for duplicates",
        why="In the documented example, a user's reply has the message id 0. A receiver that recognises duplicates by "
        "the message id alone keeps the first STOP and loses all replies after it.",
        stimulus="Three different replies of users, all with the message id 0.",
        expected="All are kept.",
        severity=Severity.MAJOR,
        need="probe",
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
)
