"""Attempts as text for a person and as JSON, and the difference between two statuses or events."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from engagelab_mock.delivery.model import Attempt, Delivery, Refusal
from engagelab_mock.delivery.outcome import hint_for
from engagelab_mock.delivery.recorder import Received
from engagelab_mock.errors import NotAcknowledged
from engagelab_mock.protocol.callback import AS_CONFIGURED
from engagelab_mock.protocol.events import DIALECTS, Event

_BODY_LINES = 40
_ANSWER_CHARACTERS = 1000
_ERROR_CHARACTERS = 200

#: One line of the journal's table.
_Line = Refusal | tuple[Delivery, Attempt]


def not_acknowledged(delivery: Delivery) -> NotAcknowledged:
    """Return the error that shows a delivery's last attempt: request, response, and a hint.

    >>> from engagelab_mock import EngageLab, Receiver
    >>> with EngageLab(Receiver.http("http://127.0.0.1:1/")) as engagelab:
    ...     run = engagelab.send("+6591234567", check=False)
    >>> print(str(not_acknowledged(run.deliveries[0])).splitlines()[0])
    plan was not acknowledged: connection refused: nothing listens on 127.0.0.1:1
    """
    attempt = delivery.attempts[-1]
    what = ", ".join(delivery.statuses) or "the address validation"
    described = delivery.receiver.settings.description
    by = f" by {described!r}" if described else ""
    tries = f" in {attempt.number} attempts" if attempt.number > 1 else ""
    error = NotAcknowledged(
        f"{what} was not acknowledged{by}{tries}: {attempt.error}",
        delivery=delivery,
        hint=hint_for(delivery),
        detail="\n".join([*_request(delivery, attempt), "", *_response(attempt)]),
    )
    error.__cause__ = attempt.exception
    return error


def journal_table(entries: Iterable[Delivery | Refusal], *, most: int | None = None) -> str:
    """Return a table of attempts, one per line, with refused inputs in their place.

    If there are more than `most` lines, it shows the last ones and the first ones not acknowledged, half each.

    >>> journal_table([])
    'nothing was sent'
    """
    lines: list[_Line] = []
    for entry in entries:
        lines.extend([entry] if isinstance(entry, Refusal) else [(entry, attempt) for attempt in entry.attempts])
    if not lines:
        return "nothing was sent"
    chosen = range(len(lines)) if most is None or len(lines) <= most else _choose(lines, most)
    rows = [("#", "event", "to", "channel", "http", "outcome"), *[_row(lines[index], index + 1) for index in chosen]]
    drawn = align(_with_receivers(rows, [lines[index] for index in chosen]))
    table = drawn[:1]
    previous = -1
    for index, row in zip(chosen, drawn[1:], strict=True):
        if index > previous + 1:
            table.append(f"… {index - previous - 1} more")
        table.append(row)
        previous = index
    return "\n".join(table)


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with their cells in columns.

    >>> align([("a", "b"), ("long", "c")])
    ['a     b', 'long  c']
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "ping"), counted(2, "ping")
    ('1 ping', '2 pings')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    """Escape characters that control a terminal; keep line breaks and tabs.

    >>> print(printable("red: \\x1b[31m"))
    red: \\x1b[31m
    """
    return "".join([c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text])


def shown_headers(delivery: Delivery, attempt: Attempt) -> tuple[tuple[str, str], ...]:
    """Return an attempt's headers without the configured Authorization, for any output.

    >>> from engagelab_mock import EngageLab, Receiver
    >>> with EngageLab(Receiver.recording(authorization="Bearer of-news")) as engagelab:
    ...     delivery = engagelab.send("+6591234567", scenario=["plan"]).deliveries[0]
    >>> shown_headers(delivery, delivery.attempts[0])[-1]
    ('Authorization', '(as configured)')
    """
    configured = delivery.receiver.settings.authorization
    # Only checks and edits replace it. Otherwise it was the configured one, and a restored attempt may have another.
    changed = any(fault.stage == "headers" and not fault.needs_signature for fault in attempt.faults)
    changed = changed or bool(delivery.headers)
    return tuple(
        (name, (_masked(value, configured) if changed else AS_CONFIGURED) if name == "Authorization" else value)
        for name, value in attempt.callback.headers.pairs
    )


def _masked(value: str, configured: str) -> str:
    """Return an Authorization without the configured credentials, for any scheme."""
    credentials = configured.partition(" ")[2] or configured
    if not configured or value == configured:
        return AS_CONFIGURED if configured else value
    given = value.partition(" ")[2] or value
    if given != credentials and given.lower() in credentials.lower():
        return f"{value.removesuffix(given)}(as configured, but cut or in another case)"
    return value.replace(credentials, AS_CONFIGURED)


def _choose(lines: Sequence[_Line], most: int) -> Sequence[int]:
    troubled = (index for index, line in enumerate(lines) if isinstance(line, Refusal) or not line[1].acknowledged)
    return sorted({*islice(troubled, most // 2), *range(len(lines) - (most - most // 2), len(lines))})


def _with_receivers(rows: list[tuple[str, ...]], lines: Sequence[_Line]) -> Sequence[Sequence[str]]:
    """Add a column with the receiver, if there are several."""
    receivers = [None if isinstance(line, Refusal) else line[0].receiver for line in lines]
    if len({*receivers} - {None}) < 2:
        return rows
    names = [receiver.settings.description or receiver.address if receiver else "" for receiver in receivers]
    return [(*row[:2], name, *row[2:]) for row, name in zip(rows, ["receiver", *names], strict=True)]


def _row(line: _Line, number: int) -> tuple[str, ...]:
    if isinstance(line, Refusal):
        return (str(number), "-", "", "", "-", f"not accepted: {str(line).splitlines()[0]}")
    delivery, attempt = line
    first = delivery.events[0] if delivery.events else None
    status = getattr(first, "status", None)
    return (
        str(number),
        ", ".join(delivery.statuses) or "ping",
        getattr(first, "to", ""),
        status.status_data.current_send_channel if status is not None else "",
        str(attempt.response.status) if attempt.response else "-",
        f"{attempt.outcome} in {attempt.elapsed * 1000:.1f} ms" + _why(attempt),
    )


def _why(attempt: Attempt) -> str:
    return ": " + textwrap.shorten(attempt.error, _ERROR_CHARACTERS, placeholder=" …") if attempt.error else ""


def _request(delivery: Delivery, attempt: Attempt) -> list[str]:
    body = attempt.callback.body
    lines = [f"request: POST {delivery.receiver.address}  (in process, {delivery.receiver.transport.name})"]
    if delivery.receiver.transport.name == "http":
        lines = [f"request: POST {delivery.receiver.address}"]
    lines += [f"  {name}: {value}" for name, value in shown_headers(delivery, attempt)]
    return [*lines, *(_indent(_pretty(body)) if body else ["  (empty body)"])]


def _response(attempt: Attempt) -> list[str]:
    response = attempt.response
    if response is None:
        return [f"response: none ({attempt.outcome} after {attempt.elapsed:.3f} s)"]
    status_line = printable(f"{response.status} {response.reason}".rstrip())
    lines = [f"response: {status_line}  (after {response.elapsed:.3f} s)"]
    lines += [printable(f"  {name}: {value}") for name, value in response.headers.pairs]
    text = printable(response.text.strip())
    shown = text[:_ANSWER_CHARACTERS] + ("…" if len(text) > _ANSWER_CHARACTERS else "")
    return [*lines, *(_indent(shown) if shown else ["  (empty body)"])]


def _pretty(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body.decode("utf-8", "backslashreplace")


def _indent(text: str) -> list[str]:
    lines = textwrap.indent(text, "  ").splitlines()
    rest = len(lines) - _BODY_LINES
    return lines if rest <= 0 else [*lines[:_BODY_LINES], f"  … {rest} more lines"]


def attempt_record(delivery: Delivery, attempt: Attempt) -> dict[str, Any]:
    """Return an attempt as JSON; an address validation is a delivery without events.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     delivery = engagelab.send("+6591234567", scenario=["plan"]).deliveries[0]
    >>> record = attempt_record(delivery, delivery.attempts[0])
    >>> record["type"], record["statuses"], record["outcome"], record["hint"]
    ('attempt', ['plan'], 'acknowledged', None)
    """
    callback = attempt.callback
    return {
        "type": "attempt" if delivery.events else "validation",
        "at": attempt.at,
        "statuses": delivery.statuses,
        "message_id": delivery.message_id or None,
        "to": next(iter(recipients(delivery.events)), None),
        "receiver": delivery.receiver.address,
        "number": attempt.number,
        "http_status": attempt.response.status if attempt.response else None,
        "acknowledged": attempt.acknowledged,
        "elapsed_ms": milliseconds(attempt.elapsed),
        "outcome": str(attempt.outcome),
        "error": attempt.error or None,
        "hint": None if attempt.acknowledged else hint_for(delivery, python=False) or None,
        "headers": dict(shown_headers(delivery, attempt)),
        "body": callback.body.decode("utf-8", "replace"),
    }


def refusal_record(refusal: Refusal) -> dict[str, Any]:
    """Return an unusable input as JSON.

    >>> from engagelab_mock.errors import UsageError
    >>> refusal_record(Refusal(0.0, UsageError("'x' is not KEY=VALUE", where="--custom-arg")))["message"]
    "--custom-arg: 'x' is not KEY=VALUE"
    """
    error = refusal.error
    return {
        "type": "refusal",
        "at": refusal.at,
        "error": type(error).__name__,
        "message": error.problem,
        "hint": error.hint or None,
    }


def records(entry: Delivery | Refusal) -> list[dict[str, Any]]:
    """Return an entry of the journal as JSON: one object for each attempt, or one for a refused input.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     run = engagelab.send("+6591234567", scenario=["plan"])
    ...     [record["type"] for entry in engagelab.journal for record in records(entry)]
    ['attempt']
    """
    if isinstance(entry, Refusal):
        return [refusal_record(entry)]
    return [attempt_record(entry, attempt) for attempt in tuple(entry.attempts)]


def received_record(received: Received, events: Iterable[Event]) -> dict[str, Any]:
    """Return a request to the bundled receiver as JSON; `events` are its rows.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     run = engagelab.send("+6591234567", scenario=["plan"])
    ...     received = engagelab.receiver.recorder.received[0]
    >>> received_record(received, received.events)["recipients"]
    ['+6591234567']
    """
    events = tuple(events)
    return {
        "type": "callback",
        "ping": received.ping,
        "valid": bool(received.verdict),
        "verdict": str(received.verdict.reason),
        "why": received.verdict.detail,
        "statuses": [event.name for event in events],
        "recipients": recipients(events),
        "answered": received.status,
        "error": received.error or None,
        "method": received.method,
        "path": received.path,
    }


def recipients(events: Iterable[Event]) -> list[str]:
    """Return the recipients of events, without repetition.

    >>> recipients([])
    []
    """
    return list(dict.fromkeys(to for event in events if (to := getattr(event, "to", ""))))


def milliseconds(seconds: float) -> float:
    """Return a duration in the form of the JSON output.

    >>> milliseconds(0.0123456)
    12.346
    """
    return round(seconds * 1000, 3)


_ABSENT = object()


def explain(left: object, right: object) -> list[str] | None:
    """Return the lines that explain `left == right`, or None if they are not statuses or events.

    >>> explain(["plan", "sent"], ["plan", "delivered"])[1:]
    ['first difference at index 1: sent, not delivered', '  plan', '- delivered', '+ sent']
    """
    if isinstance(left, Event) and isinstance(right, Event):
        return _events(left, right)
    if _is_sequence(left) and _is_sequence(right):
        return _sequences(left, right)
    return None


def _is_sequence(value: Any) -> bool:
    """Tell whether this is a list of statuses, as `run.statuses` and `journal.statuses` are."""
    if not isinstance(value, list) or not value:
        return False
    from engagelab_mock.protocol.event_table import EVENTS  # a large table, and only failing tests need it

    names = {*EVENTS, *(known.sent_failed for known in DIALECTS.values())}
    return all(isinstance(each, str) and each in names for each in value)


def _sequences(left: Any, right: Any) -> list[str]:
    got: Sequence[str] = left
    wanted: Sequence[str] = right
    common = 0
    while common < min(len(got), len(wanted)) and got[common] == wanted[common]:
        common += 1
    here = got[common] if common < len(got) else "nothing"
    there = wanted[common] if common < len(wanted) else "the end"
    return [
        f"{' → '.join(got)} == {' → '.join(wanted)}",
        f"first difference at index {common}: {here}, not {there}",
        *(f"  {status}" for status in got[:common]),
        *(f"- {status}" for status in wanted[common:]),
        *(f"+ {status}" for status in got[common:]),
    ]


def _events(left: Event, right: Event) -> list[str]:
    if type(left).__name__ != type(right).__name__:
        return [f"{left.name} ({left.kind}) == {right.name} ({right.kind})", "the events are of different kinds"]
    # An event can hold a value that is not JSON. An explanation must not raise an error.
    got = dict(_fields(msgspec.to_builtins(left, enc_hook=repr), ""))
    wanted = dict(_fields(msgspec.to_builtins(right, enc_hook=repr), ""))
    lines = [f"{left.name} == {right.name}, two events of kind {left.kind}"]
    for path in [*got, *(path for path in wanted if path not in got)]:
        if got.get(path, _ABSENT) != wanted.get(path, _ABSENT):
            lines.append(f"{path}: {_show(got, path)} != {_show(wanted, path)}")
    return lines


def _fields(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _fields(inner, f"{path}.{name}" if path else name)
    else:
        yield path, value


def _show(fields: dict[str, Any], path: str) -> str:
    return repr(fields[path]) if path in fields else "absent"


def quoted(data: bytes) -> str:
    """Quote bytes for a shell: plain text as it is, other bytes as $'…' of bash and zsh.

    >>> print(quoted(b"a b"), quoted(b"\\x00"))
    'a b' $'\\x00'
    """
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if (text or not data) and text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_escaped(byte) for byte in data) + "'"


def _escaped(byte: int) -> str:
    character = chr(byte)
    if character in "'\\":
        return f"\\{character}"
    return character if " " <= character <= "~" else f"\\x{byte:02x}"
