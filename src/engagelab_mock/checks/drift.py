"""Family D, what changes over the years: statuses, kinds, fields and ids that a receiver has not seen before."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from engagelab_mock.checks.check import Check, Fix
from engagelab_mock.checks.likeness import Reference
from engagelab_mock.checks.state import State, names, state_of, values
from engagelab_mock.checks.stimulus import body, each_row, row_of, rows
from engagelab_mock.checks.trial import Trial
from engagelab_mock.checks.verdict import Severity
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
        trial.survived(attempt, f"the status {status}")
        trial.accepted(attempt, f"the status {status}")
    _unharmed(trial)


def _unharmed(trial: Trial) -> None:
    """Fail if an unknown status takes the place of a known one."""
    message, other = trial.message(), trial.message()
    known = trial.event(message)
    trial.accepted(trial.send(known))
    trial.applied(message)
    before = state_of(trial.look(message), message)
    trial.send(known, _with_status(UNKNOWN))
    trial.send(other, _with_status(UNKNOWN))
    after = state_of(trial.look(message), message)
    if after == before:
        return
    # An app may well note down what it does not know. What it knew before must still be there.
    if after == state_of(trial.look(other), other) or _mentions(after, known.name) < _mentions(before, known.name):
        shown = f"{trial.look(message)!s:.120}"
        trial.fail(f"the unknown status {UNKNOWN} took the place of {known.name}, which came before it: {shown}")


def _with_status(status: str) -> Any:
    return each_row(lambda row: row["status"].update(message_status=str(status)))


def _mentions(state: State, status: str) -> int:
    return sum(names(value, status) for value in values(state))


def _alias(trial: Trial) -> None:
    def send(message: Message, *, status: str) -> None:
        event = trial.event(message, Status.SENT_FAILED, error_code=5001)
        trial.accepted(trial.send(event, _with_status(status)), f"the status {status}")

    Reference(trial, partial(send, status="sent_failed")).check(partial(send, status="sent_fail"), "sent_fail")


def _unknown_kind(trial: Trial) -> None:
    first, last = trial.message(), trial.message()
    attempt = trial.send(first, rows([row_of(trial.event(first)), _NEW_KIND, row_of(trial.event(last))]))
    trial.accepted(attempt, "a callback with a row of an unknown kind")
    trial.applied(first, "a row before one of an unknown kind")
    trial.applied(last, "a row after one of an unknown kind")


def _unknown_fields(trial: Trial) -> None:
    message = trial.message()
    envelope = _with_new_fields({"total": 1, "rows": [row_of(trial.event(message))]})
    attempt = trial.send(message, body(msgspec.json.encode(envelope)))
    trial.accepted(attempt, "a valid callback with new fields")
    trial.applied(message, "a valid callback with new fields")


def _with_new_fields(value: Any) -> Any:
    if isinstance(value, dict):
        return {**{key: _with_new_fields(each) for key, each in value.items()}, NEW_FIELD: "unheard of"}
    return [_with_new_fields(each) for each in value] if isinstance(value, list) else value


def _null_optional(trial: Trial) -> None:
    for what, change in (("without its optional fields", _leave_out), ("whose optional fields are null", _set_null)):
        message = trial.message()
        attempt = trial.send(message, each_row(change))
        trial.accepted(attempt, f"a valid callback {what}")
        trial.applied(message, f"a valid callback {what}")


def _leave_out(row: dict[str, Any]) -> None:
    for name in _OPTIONAL:
        row.pop(name, None)
        row["status"].pop(name, None)


def _set_null(row: dict[str, Any]) -> None:
    row["custom_args"] = row["status"]["billing"] = row["status"]["error_detail"] = None


def _big_id(trial: Trial) -> None:
    for what, change in (("an id of 19 digits", _same), ("an id of 19 digits as a JSON number", _id_as_number)):
        message = trial.message()
        # Where it ends up if it is taken for a floating-point number, which has 53 bits.
        nearest = msgspec.structs.replace(message, id=str(int(float(message.id))))
        # Looked at here whatever else is seen: an app that keeps all ids so shows nothing under the right ones.
        steady = nearest.id != message.id and trial.look(nearest) == trial.look(nearest)
        attempt = trial.send(message, each_row(change))
        trial.survived(attempt, what)
        if steady and trial.change(nearest).changed:
            trial.fail(f"{what}, {message.id}, was kept as {nearest.id}")
        trial.not_lost(attempt, message, what)


def _same(row: dict[str, Any]) -> None:
    """Leave the row as it is."""


def _id_as_number(row: dict[str, Any]) -> None:
    row["message_id"] = row["status"]["status_data"]["message_id"] = int(row["message_id"])


def _uplinks(trial: Trial) -> None:
    # All of them have this id, in the document's example.
    uplink = Message(id="0", to=trial.engagelab.generate.recipient())
    trial.look(uplink)
    seen = []
    for text in ("STOP", "HELP"):
        event = trial.engagelab.account.uplink(uplink.to, body=text, at=trial.engagelab.clock.time())
        trial.accepted(trial.send(event), "what a user wrote back")
        seen.append(trial.await_change(uplink).changed)
    if not any(seen):
        trial.inconclusive("what `observe` returns for the message id 0, which uplinks have, shows none of them")
    if not all(seen):
        trial.fail("of two messages that users wrote back one was lost: both have the message id 0")


_NEW = (
    "What a provider sends grows over the years, and nobody asks its receivers first. One that refuses what it does "
    "not know loses what it does know, from one day to the next."
)
_KNOWN_ALONE = Fix(
    "Apply what you know, pass over what you do not, and acknowledge both.",
    """\
for row in json.loads($body)["rows"]:
    status = row.get("status", {}).get("message_status")
    if status in KNOWN:
        apply(row)
    else:
        logging.warning("passed over: %r", row)
$ok""",
)
_check = partial(Check, need="both")

DRIFT = (
    _check(
        id="D09",
        name="unknown-status",
        title="An unknown status is acknowledged and harms nothing",
        why=f"{_NEW} The document's list of statuses ends in “etc.”, and it names `read` in passing, without saying "
        "when it comes.",
        stimulus=f"Valid callbacks with the statuses `read` and `{UNKNOWN}`, the latter also after a known one.",
        expected="Acknowledged; what was known of the message is still there.",
        severity=Severity.BLOCKER,
        source="S",
        fix=_KNOWN_ALONE,
        work=_unknown_status,
    ),
    _check(
        id="D10",
        name="alias",
        title="`sent_fail` means `sent_failed`",
        why="One of the newer examples spells the status `sent_fail`, the tables spell it `sent_failed`, and the "
        "official SDK takes both. Which one is really sent is not known.",
        stimulus="The same failure of two messages, spelt in the one way and in the other.",
        expected="The same state.",
        severity=Severity.MAJOR,
        need="probe",
        source="D",
        fix=Fix(
            "Turn the one spelling into the other before anything else looks at it.",
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
        title="A row of an unknown kind does not take the others with it",
        why=f"{_NEW} Four kinds of row are documented, told apart by the section they have; the first document had "
        "two.",
        stimulus="A valid callback with a row that has none of the known sections between two good rows.",
        expected="Acknowledged, and the good rows are applied.",
        severity=Severity.MAJOR,
        source="?",
        fix=Fix(
            "Ask for the sections you know, and pass over a row that has none of them.",
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
        title="Unknown fields are passed over",
        why=f"{_NEW} The newer documents show fields that the first one has not.",
        stimulus="A valid callback with a new field in every object, the envelope included.",
        expected="Acknowledged and applied.",
        severity=Severity.BLOCKER,
        source="D",
        fix=Fix(
            "Let no schema forbid further fields, at no level.",
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
        title="Optional fields can be missing, or null",
        why="custom_args, billing and error_detail are there on some rows only. Whether the others lack them or have "
        "null differs from writer to writer.",
        stimulus="Valid callbacks without custom_args, billing and error_detail, and with null for each.",
        expected="Acknowledged and applied.",
        severity=Severity.MAJOR,
        source="S",
        fix=Fix(
            "Read what may be missing so that null is the same as missing.",
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
        why="Ids have 18 or 19 digits. A floating-point number holds 15, and JavaScript, spreadsheets and careless "
        "columns turn 1744569418236633089 into …088: another message's id. Documented is a string of digits.",
        stimulus="Valid callbacks with an id of 19 digits, as a string and as a JSON number.",
        expected="Applied to that very message.",
        severity=Severity.BLOCKER,
        source="S",
        fix=Fix(
            "Keep ids as text from the body to the column.",
            'for row in json.loads($body)["rows"]:\n    message_id = str(row["message_id"])  # a column of text, too',
        ),
        work=_big_id,
    ),
    _check(
        id="D15",
        name="uplink-id-0",
        title="Of what users write back nothing is taken for a duplicate",
        why="In the documented example the message id of what a user wrote back is 0. Whoever tells duplicates by the "
        "message id alone keeps the first STOP and loses all that follow.",
        stimulus="Two different messages that users wrote back, both with the message id 0.",
        expected="Both are kept.",
        severity=Severity.MAJOR,
        need="probe",
        source="D",
        fix=Fix(
            "Tell what users write back by its `message_sid`.",
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
