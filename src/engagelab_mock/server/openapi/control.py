"""The calls of the control API, and their schemas."""

from __future__ import annotations

from typing import Any

from engagelab_mock.delivery.faults.catalogue import FAULTS
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.protocol.errorcodes import ERROR_CODES
from engagelab_mock.protocol.events import KINDS
from engagelab_mock.protocol.status import Channel, Status
from engagelab_mock.server.openapi.parts import Json, answers, body, errors, nullable, opened, optional, ref, strict

#: The calls that a rule can be about.
CALLS = ("messages", "codes", "custom-messages", "verifications", "template-configs")
_SCENARIO = {
    "anyOf": [
        {"enum": list(CATALOGUE)},
        {"type": "array", "items": {"enum": [*Status]}, "description": "Statuses, one second apart."},
        {"type": "null"},
    ]
}
_AMOUNT = {"type": "number", "minimum": 0, "maximum": 1e9, "default": 0}

CONTROL_SCHEMAS: dict[str, Any] = {
    "Ready": opened({"status": {"const": "ready"}, "version": {"type": "string"}}, "status", "version"),
    "Nothing": strict({}),
    "Record": opened(
        {
            "type": {"enum": ["attempt", "validation", "refusal"]},
            "at": {"type": "number", "description": "Unix seconds of the server's clock."},
            "statuses": {"type": "array", "items": {"type": "string"}},
            "message_id": nullable("string"),
            "to": nullable("string"),
            "receiver": {"type": "string", "description": "The receiver's address."},
            "number": {"type": "integer", "description": "Which attempt of the delivery it is, from 1."},
            "http_status": nullable("integer"),
            "acknowledged": {"type": "boolean"},
            "elapsed_ms": {"type": "number"},
            "outcome": {"enum": [*Outcome]},
            "error": nullable("string"),
            "message": {"type": "string", "description": "Of a refusal: what was wrong."},
            "hint": nullable("string"),
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "body": {"type": "string"},
        },
        "type",
        "at",
        description="One line of the journal: an attempt, an address validation, or a refused input.",
    ),
    "InboxMessage": opened(
        {
            "to": {"type": "string"},
            "code": {"type": "string", "description": "Empty if there is none."},
            "text": {"type": "string"},
            "channel": {"enum": [*Channel]},
            "template": {"type": "string"},
            "message_id": {"type": "string"},
            "at": {"type": "number", "description": "Unix seconds of the server's clock."},
            "subject": {"type": "string", "description": "Of an e-mail."},
            "sender": {"type": "string", "description": "Of an e-mail."},
        },
        "to",
        "code",
        "text",
        "message_id",
    ),
    "Inbox": opened(
        {
            "to": {"type": "string"},
            "code": nullable("string", description="The latest message's code."),
            "text": nullable("string", description="The latest message's text."),
            "messages": {"type": "array", "items": ref("InboxMessage")},
        },
        "to",
        "code",
        "text",
        "messages",
    ),
    "Inboxes": opened({"messages": {"type": "array", "items": ref("InboxMessage")}}, "messages"),
    "Clock": opened(
        {
            "kind": {"enum": ["virtual", "live"]},
            "time": {"type": "number", "description": "Unix seconds."},
            "frozen": {"type": "boolean"},
            "speed": nullable("number", description="Its seconds in one of the machine's; null if it is virtual."),
            "pending": {"type": "integer", "description": "How much is still to be sent."},
            "next": {
                "type": "array",
                "description": "The first hundred of it.",
                "items": opened({"at": {"type": "number"}, "what": {"type": "string"}}, "at", "what"),
            },
        },
        "kind",
        "time",
        "frozen",
        "speed",
        "pending",
        "next",
    ),
    "Advance": strict({"seconds": _AMOUNT, "minutes": _AMOUNT, "hours": _AMOUNT, "days": _AMOUNT}),
    "Speed": strict({"speed": {"type": "number", "exclusiveMinimum": 0, "maximum": 1e9}}, "speed"),
    "Scenario": opened(
        {
            "name": {"type": "string"},
            "description": {"type": "string"},
            "statuses": {"type": "array", "items": {"type": "string"}},
            "delays": {"type": "array", "items": {"type": "number"}, "description": "Seconds before each status."},
            "channels": {"type": "array", "items": nullable("string")},
            "error_codes": {"type": "array", "items": {"type": "integer"}},
        },
        "name",
        "description",
        "statuses",
        "delays",
    ),
    "NewRule": strict(
        {
            "to": {**optional(ref("Recipient")), "description": "Only for this recipient."},
            "template": nullable("string", description="Only for this template."),
            "call": {"enum": [*CALLS, None], "description": "Only for this call."},
            "scenario": _SCENARIO,
            "error": {"enum": [*ERROR_CODES, None], "description": "Answer this error instead of accepting."},
            "times": nullable("integer", minimum=1, description="How often it applies; null is always."),
        },
        description="For which calls, and either a scenario to play or an error to answer.",
    ),
    "Rule": opened(
        {
            "id": {"type": "string"},
            "to": nullable("string"),
            "template": nullable("string"),
            "call": nullable("string"),
            "scenario": nullable("string"),
            "error": nullable("integer"),
            "times": nullable("integer"),
        },
        "id",
    ),
    "Rules": opened({"rules": {"type": "array", "items": ref("Rule")}}, "rules"),
    "NewSend": strict(
        {
            "to": {**optional(ref("Recipient")), "description": "Made up if there is none."},
            "scenario": _SCENARIO,
            "template": nullable("string"),
            "channel": {"enum": [*Channel, None]},
            "custom_args": nullable("object"),
            "batch": {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "all"}, {"type": "null"}]},
            "retry": nullable("array", items={"type": "number", "minimum": 0}),
            "fault": {
                "anyOf": [
                    {"enum": list(FAULTS)},
                    {"type": "array", "items": {"enum": list(FAULTS)}},
                    {"type": "null"},
                ]
            },
        }
    ),
    "Sent": opened(
        {
            "message_id": {"type": "string"},
            "to": {"type": "string"},
            "scenario": {"type": "string"},
            "statuses": {"type": "array", "items": {"type": "string"}},
            "deliveries": {
                "type": "array",
                "items": opened(
                    {
                        "statuses": {"type": "array", "items": {"type": "string"}},
                        "outcome": {"enum": [*Outcome]},
                        "attempts": {"type": "integer"},
                    }
                ),
            },
        },
        "message_id",
        "to",
        "scenario",
        "statuses",
        "deliveries",
    ),
}


def _call(name: str, summary: str, accepted: Json, **more: Any) -> Json:
    refused = errors(
        http_400="3001 not JSON, 3002 bad parameters.",
        http_401="2001: the token is missing or wrong.",
        http_403="2004: the request came from elsewhere.",
        **more.pop("refused", {}),
    )
    security: list[Json] = [{}, {"token": []}]
    call = {"operationId": name, "tags": ["control"], "summary": summary, "security": security}
    return {**call, "responses": {**accepted, **refused}, **more}


def _parameter(name: str, description: str, schema: Json, *, where: str = "query") -> Json:
    return {"name": name, "in": where, "description": description, "required": where == "path", "schema": schema}


_NOTHING = body(ref("Nothing"), required=False)
_CLOCK = answers("The clock as it is now.", ref("Clock"))
_LIVE = {"http_409": "3003: the clock is virtual, and does not run."}
_TO = _parameter("to", "A phone number or e-mail address.", ref("Recipient"), where="path")
_WAIT = _parameter(
    "wait", "Seconds to wait for a first message.", {"type": "number", "minimum": 0, "maximum": 600, "default": 0}
)
_FILTERS = [
    _parameter("status", "A status, or another event's name, that the callback carries.", {"type": "string"}),
    _parameter("kind", "A kind of event that it carries.", {"enum": [*KINDS]}),
    _parameter("to", "The recipient of an event that it carries.", {"type": "string"}),
    _parameter("message_id", "The message that it is about.", {"type": "string"}),
    _parameter("outcome", "What came of the last attempt.", {"enum": [*Outcome]}),
    _parameter("limit", "No more than the last so many lines.", {"type": "integer", "minimum": 1, "maximum": 1000000}),
    _parameter(
        "follow",
        "For how many seconds to go on with what happens; without a value, for as long as somebody reads.",
        {"anyOf": [{"type": "number", "minimum": 0, "maximum": 86400}, {"enum": ["", "true"]}]},
    ),
]
_LINES = {
    "200": {
        "description": "One JSON object a line; a line without one says that nothing has happened for a second.",
        "content": {"application/x-ndjson": {"schema": ref("Record")}},
    }
}

CONTROL_PATHS: dict[str, Any] = {
    "/_mock/readyz": {
        "get": _call("ready", "Ask whether requests are answered", answers("They are.", ref("Ready"))),
    },
    "/_mock/reset": {
        "post": _call(
            "reset",
            "Forget everything that happened and was set up; receivers and clock stay",
            answers("All is forgotten.", ref("Ready")),
            requestBody=_NOTHING,
        ),
    },
    "/_mock/journal": {
        "get": _call("readJournal", "Read what happened, and follow what happens", _LINES, parameters=_FILTERS),
    },
    "/_mock/inbox": {
        "get": _call(
            "readInboxes", "Read what everybody received", answers("Every message, oldest first.", ref("Inboxes"))
        ),
    },
    "/_mock/inbox/{to}": {
        "get": _call(
            "readInbox",
            "Read what one recipient received",
            answers("The latest code, and every message.", ref("Inbox")),
            parameters=[_TO, _WAIT],
        ),
    },
    "/_mock/clock": {"get": _call("readClock", "Read the clock", _CLOCK)},
    "/_mock/clock/advance": {
        "post": _call(
            "advanceClock",
            "Let time jump forward",
            _CLOCK,
            requestBody=body(ref("Advance"), example={"minutes": 5}, required=False),
        ),
    },
    "/_mock/clock/freeze": {"post": _call("freezeClock", "Let time stand still", _CLOCK, requestBody=_NOTHING)},
    "/_mock/clock/resume": {
        "post": _call("resumeClock", "Let time pass again", _CLOCK, requestBody=_NOTHING, refused=_LIVE),
    },
    "/_mock/clock/speed": {
        "post": _call(
            "setSpeed",
            "Let time pass faster or slower",
            _CLOCK,
            requestBody=body(ref("Speed"), example={"speed": 60}),
            refused=_LIVE,
        ),
    },
    "/_mock/scenarios": {
        "get": _call(
            "listScenarios",
            "List the built-in scenarios",
            answers("Every scenario.", {"type": "array", "items": ref("Scenario")}),
        ),
    },
    "/_mock/rules": {
        "get": _call("listRules", "List the rules in force", answers("The rules, oldest first.", ref("Rules"))),
        "post": _call(
            "addRule",
            "Say what is to happen instead of the usual",
            answers("The rule, which is in force.", ref("Rule"), status=201),
            requestBody=body(ref("NewRule"), example={"to": "+6591234567", "error": 5011, "times": 1}),
        ),
        "delete": _call(
            "removeRules", "Cancel every rule", answers("None is left.", ref("Rules")), requestBody=_NOTHING
        ),
    },
    "/_mock/rules/{id}": {
        "delete": _call(
            "removeRule",
            "Cancel one rule",
            answers("The rule, which is in force no longer.", ref("Rule")),
            parameters=[_parameter("id", "The rule's id.", {"type": "string", "minLength": 1}, where="path")],
            requestBody=_NOTHING,
            refused={"http_404": "4001: there is no such rule."},
        ),
    },
    "/_mock/send": {
        "post": _call(
            "playScenario",
            "Send a message's callbacks, without a call of the app's",
            answers("What is sent; in virtual time it has been.", ref("Sent")),
            requestBody=body(ref("NewSend"), example={"to": "+6591234567", "scenario": "fallback"}, required=False),
        ),
    },
}
