"""Deliveries as text: one exchange in full, or the journal as a table."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from itertools import islice

from engagelab_mock.delivery.model import Attempt, Delivery, Refusal
from engagelab_mock.delivery.outcome import hint_for
from engagelab_mock.errors import NotAcknowledged

_BODY_LINES = 40
_ANSWER_CHARACTERS = 1000
_ERROR_CHARACTERS = 200

#: What a line of the journal's table shows.
_Line = Refusal | tuple[Delivery, Attempt]


def not_acknowledged(delivery: Delivery) -> NotAcknowledged:
    """Make the error that shows a delivery's last attempt: request, response, and what to try next.

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
    """Draw a table of attempts, one line each, with refused inputs where they occurred.

    Of more than `most` lines, half are the last ones and half the first that were not acknowledged.

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
    drawn = _align(_with_receivers(rows, [lines[index] for index in chosen]))
    table = drawn[:1]
    previous = -1
    for index, row in zip(chosen, drawn[1:], strict=True):
        if index > previous + 1:
            table.append(f"… {index - previous - 1} more")
        table.append(row)
        previous = index
    return "\n".join(table)


def printable(text: str) -> str:
    """Escape what would act on a terminal instead of showing on it; line breaks and tabs stay.

    >>> print(printable("red: \\x1b[31m"))
    red: \\x1b[31m
    """
    return "".join([c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text])


def _choose(lines: Sequence[_Line], most: int) -> Sequence[int]:
    troubled = (index for index, line in enumerate(lines) if isinstance(line, Refusal) or not line[1].acknowledged)
    return sorted({*islice(troubled, most // 2), *range(len(lines) - (most - most // 2), len(lines))})


def _with_receivers(rows: list[tuple[str, ...]], lines: Sequence[_Line]) -> Sequence[Sequence[str]]:
    """Add a column that tells the receivers apart, where there are several."""
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


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _request(delivery: Delivery, attempt: Attempt) -> list[str]:
    body = attempt.callback.body
    lines = [f"request: POST {delivery.receiver.address}  (in process, {delivery.receiver.transport.name})"]
    if delivery.receiver.transport.name == "http":
        lines = [f"request: POST {delivery.receiver.address}"]
    lines += [f"  {name}: {value}" for name, value in attempt.callback.headers.pairs]
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
