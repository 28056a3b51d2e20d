"""The tables of the protocol: scenarios, statuses, events, codes, dialects, outcomes and faults."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial

from cells import comments, sentence, table, yes
from msgspec import UNSET

from engagelab_mock import CATALOGUE, DIALECTS, ERROR_CODES, FAULTS, INFERRED, MAGIC, START, Outcome, Scenario, Status
from engagelab_mock.cli.output import ExitCode
from engagelab_mock.protocol.event_table import EVENTS, Field, Made


def scenarios() -> str:
    rows = ([f"`{known.name}`", _course(known), sentence(known.description)] for known in CATALOGUE.values())
    return table(["scenario", "statuses, with the seconds before each", "course"], rows)


def statuses() -> str:
    rows = (
        [f"`{status}`", status.meaning, yes(status.terminal), ", ".join(f"`{s}`" for s in INFERRED.next_after(status))]
        for status in Status
    )
    start = ["(start)", "nothing has happened yet", "", ", ".join(f"`{s}`" for s in INFERRED.next_after(START))]
    return table(["status", "meaning", "terminal [K][X]", "may be followed by [?]"], [start, *rows])


def error_codes() -> str:
    rows = (
        [str(entry.code), entry.message, str(entry.http_status), yes(entry.retryable), f"[{entry.source}]"]
        for entry in ERROR_CODES.values()
    )
    return table(["code", "message", "HTTP status in the REST API", "retryable for the SDK [K]", "source"], rows)


#: Why the REST API answers with an error code by itself. The other codes are for rules and scenarios.
_REASONS = {
    1000: "an error inside the mock: please report it",
    2001: "no credentials, malformed ones, or others than were set",
    3001: "a body that is not JSON; with `strict_content_type`, another Content-Type",
    3002: "a field that is missing, of another type, or out of its limits",
    3003: "a code that is used or expired; a template without a configuration for a channel of its strategy",
    3004: "the same template and recipient again while the code is valid; `+10000000099`",
    3013: "a template that is not approved",
    4001: "an unknown message; with `strict_templates`, an unknown template",
    5011: "a recipient that is neither a number nor an address; `+10000000001`",
    5012: "in a callback: `+10000000002`",
    5013: "`+10000000011`",
    5018: "in a callback: `+10000000018`",
    5019: "`+10000000012`",
}


def api_errors() -> str:
    rows = (
        [
            str(entry.code),
            str(entry.http_status),
            entry.message,
            yes(entry.retryable or entry.http_status >= 500),
            _REASONS.get(entry.code, ""),
        ]
        for entry in ERROR_CODES.values()
    )
    return table(["code", "HTTP", "message", "try again", "reason, unless a rule sets it"], rows)


def sandbox() -> str:
    return table(["recipient", "behaviour"], ([f"`{to}`", magic.behaviour] for to, magic in MAGIC.items()))


def dialects() -> str:
    rows = (
        [
            f"`{known.name}`",
            f"`{known.server}`",
            f"`{known.channel}`",
            f"`{known.sent_failed}`",
            f"`{known.ping.decode()}`" if known.ping else "empty",
            known.source,
        ]
        for known in DIALECTS.values()
    )
    return table(["dialect", "`server`", "`channel`", "`sent_failed` is spelt", "body of the ping", "source"], rows)


def outcomes() -> str:
    comment_of = comments(Outcome)
    rows = (
        [
            f"`{outcome}`",
            comment_of[outcome.name],
            str(int(_exit_code(outcome))) if outcome is not Outcome.PENDING else "",
        ]
        for outcome in Outcome
    )
    return table(["outcome", "meaning", "`send` exits"], rows)


def events() -> str:
    rows = ([f"`{known.name}`", f"`{known.kind}`", known.meaning, f"`{known.call}`"] for known in EVENTS.values())
    return table(["event", "kind", "meaning", "the line that sends it"], rows)


def status_fields() -> str:
    return table(["field", "stands in", "type", "comes from", "source"], map(_event_field, EVENTS["plan"].fields))


def account_fields() -> str:
    sections = []
    for known in EVENTS.values():
        if known.kind != "status":
            fields = table(["argument", "stands in", "type", "default", "source"], map(_event_field, known.fields))
            sections.append(f"### `{known.name}`\n\n{fields}")
    return "\n\n".join(sections)


def _event_field(field: Field) -> Sequence[str]:
    key = f" as `{field.key}`" if field.key else ""
    kind = " ".join(f"`{choice}`" for choice in field.choices) or field.type
    return [
        f"`{field.name}`",
        (f"`{field.section}`" if field.section else "the row") + key,
        kind,
        _default(field),
        f"[{field.source}]",
    ]


def _default(field: Field) -> str:
    if isinstance(field.default, Made):
        return field.default.value
    return "absent" if field.default is UNSET else f"`{json.dumps(field.default)}`"


def faults(family: str) -> str:
    rows = (
        [
            f"`{known.name}`",
            sentence(known.description),
            ", ".join(f"`{name}={value!r}`" for name, value in known.options.items()),
            "any" if len(known.transports) == 3 else ", ".join(sorted(known.transports)),
        ]
        for known in FAULTS.values()
        if known.family == family
    )
    return table(["fault", "change", "options, with their defaults", "transport"], rows)


def _course(scenario: Scenario) -> str:
    steps = []
    channel = None
    for step in scenario.transitions:
        delay = f"+{step.after:g} s " if step.after else ""
        by = f" ({step.channel})" if step.channel not in {None, channel} else ""
        channel = step.channel or channel
        steps.append(f"{delay}`{step.status}`{by}")
    return " → ".join(steps) or "none"


def _exit_code(outcome: Outcome) -> ExitCode:
    if outcome is Outcome.ACKNOWLEDGED:
        return ExitCode.OK
    return ExitCode.UNREACHABLE if outcome.unreachable else ExitCode.FELL_SHORT


TABLES: dict[str, Callable[[], str]] = {
    "events": events,
    "status-fields": status_fields,
    "account-fields": account_fields,
    "scenarios": scenarios,
    "statuses": statuses,
    "api-errors": api_errors,
    "sandbox": sandbox,
    "error-codes": error_codes,
    "dialects": dialects,
    "outcomes": outcomes,
    "faults-signature": partial(faults, "signature"),
    "faults-body": partial(faults, "body"),
    "faults-wire": partial(faults, "wire"),
    "faults-exchange": partial(faults, "exchange"),
}
