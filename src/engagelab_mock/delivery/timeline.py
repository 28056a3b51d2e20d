"""Deliveries as HTML: the callbacks of each message as a line, every attempt in a table, and failures in full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engagelab_mock.delivery.model import Attempt, Delivery, Refusal
from engagelab_mock.delivery.page import block, table, text
from engagelab_mock.delivery.render import not_acknowledged

#: The greatest numbers of lines, of callbacks in a line, of attempts in a table, and of failures in full.
_LINES, _IN_LINE, _ATTEMPTS, _FAILURES = 20, 50, 100, 5
_CHARACTERS = 300


def lines(deliveries: Sequence[Delivery]) -> Iterator[str]:
    """Yield the callbacks of each message, in the order of their first attempts, with the answer to each attempt.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     print(*lines(engagelab.send("+6591234567", scenario=["plan"]).deliveries))
    <ol class="line"><li class="pass"><b>plan</b> 200</li></ol>
    """
    by_message: dict[object, list[Delivery]] = {}
    for delivery in deliveries:
        by_message.setdefault((delivery.message_id, id(delivery.receiver)), []).append(delivery)
    for line in list(by_message.values())[:_LINES]:
        callbacks = "".join(map(_callback, line[:_IN_LINE]))
        yield f'<ol class="line">{callbacks}{_more(len(line) - _IN_LINE, "li")}</ol>'
    if (more := len(by_message) - _LINES) > 0:
        yield _more(more, "p", " messages")


def attempts(deliveries: Sequence[Delivery]) -> Iterator[str]:
    """Yield a table of the attempts, one in each row, in the order in which they were made.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     print(*attempts(engagelab.send("+6591234567", scenario=["plan"]).deliveries))  # doctest: +ELLIPSIS
    <div class="wide" role="region" aria-label="Table: after, callback..." tabindex="0"><table>
    <tr>...<td>plan</td><td>+6591234567</td><td>1</td><td>200</td><td>acknowledged</td></tr>
    </table></div>
    """
    made = [(delivery, attempt) for delivery in deliveries for attempt in delivery.attempts]
    made.sort(key=lambda pair: pair[1].at)
    if made:
        rows = [_row(delivery, attempt, attempt.at - made[0][1].at) for delivery, attempt in made[:_ATTEMPTS]]
        yield table(("after", "callback", "to", "attempt", "http", "outcome"), rows)
        if (more := len(made) - _ATTEMPTS) > 0:
            yield _more(more, "p", " attempts")


def failures(deliveries: Sequence[Delivery]) -> Iterator[str]:
    """Yield each delivery that was not acknowledged: why, a hint, the request and the answer.

    >>> from engagelab_mock import EngageLab, Receiver
    >>> with EngageLab(Receiver.http("http://127.0.0.1:1/")) as engagelab:
    ...     run = engagelab.send("+6591234567", scenario=["plan"], check=False)
    >>> print(*failures(run.deliveries))  # doctest: +ELLIPSIS
    <pre>plan was not acknowledged: connection refused: nothing listens on 127.0.0.1:1...
    """
    failed = [delivery for delivery in deliveries if delivery.attempts and not delivery.acknowledged]
    for delivery in failed[:_FAILURES]:
        yield block(str(not_acknowledged(delivery)).splitlines())
    if (more := len(failed) - _FAILURES) > 0:
        yield _more(more, "p", " callbacks that were not acknowledged")


def refusals(refused: Sequence[Refusal]) -> Iterator[str]:
    """Yield the inputs that could not be used.

    >>> from engagelab_mock.errors import UsageError
    >>> print(*refusals([Refusal(0.0, UsageError("x is not a number"))]))
    <pre>x is not a number</pre>
    """
    for refusal in refused[:_FAILURES]:
        yield block(str(refusal).splitlines())
    if (more := len(refused) - _FAILURES) > 0:
        yield _more(more, "p", " refused inputs")


def _callback(delivery: Delivery) -> str:
    name = "+".join(delivery.statuses) or "ping"
    style = "pass" if delivery.acknowledged else "fail" if delivery.closed else "warn"
    return (
        f'<li class="{style}"><b>{text(name)}</b> {text(", ".join(map(_answer, delivery.attempts)) or "not sent")}</li>'
    )


def _answer(attempt: Attempt) -> str:
    return str(attempt.outcome) if attempt.response is None else str(attempt.response.status)


def _row(delivery: Delivery, attempt: Attempt, after: float) -> tuple[str, ...]:
    outcome = f"{attempt.outcome}{f': {attempt.error}' if attempt.error else ''}"
    faults = "".join(f"!{fault.name}" for fault in attempt.faults)
    return (
        f"{after:g} s",
        ("+".join(delivery.statuses) or "ping") + faults,
        next((to for event in delivery.events if (to := getattr(event, "to", ""))), ""),
        str(attempt.number),
        "-" if attempt.response is None else str(attempt.response.status),
        outcome if len(outcome) <= _CHARACTERS else f"{outcome[:_CHARACTERS]}…",
    )


def _more(number: int, tag: str, what: str = "") -> str:
    return f'<{tag} class="soft">{number} more{what} are not shown</{tag}>' if number > 0 else ""
