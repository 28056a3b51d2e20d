"""The output of the commands: each result once, as a JSON object and as text.

A command makes results and passes them to `Output.show`. `record` returns the JSON object; `write` prints the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from engagelab_mock.cli.output import Screen
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import hint_for
from engagelab_mock.delivery.recorder import Received
from engagelab_mock.delivery.render import attempt_record, counted, milliseconds, printable, received_record, recipients
from engagelab_mock.errors import InvalidBody
from engagelab_mock.protocol.callback import decode
from engagelab_mock.protocol.events import Event, StatusEvent
from engagelab_mock.protocol.settings import CallbackSettings

if TYPE_CHECKING:
    from engagelab_mock.protocol.signature import Verdict
    from engagelab_mock.server.proxy import Passed

#: The column of the status, and so the indentation of remarks about a line.
DETAIL = 12


# --- Callbacks that are sent: `send` and `demo`


@dataclass(frozen=True)
class Section:
    """Announce the topic of the next lines."""

    title: str
    about: str

    def record(self) -> None:
        """Return nothing: JSON has no sections."""

    def write(self, screen: Screen) -> None:
        """Print a heading."""
        screen.section(self.title, self.about)


@dataclass(frozen=True)
class AttemptMade:
    """Show one attempt, or one address validation: a delivery without events."""

    delivery: Delivery
    attempt: Attempt
    #: When the scenario started, in Unix seconds of the engine's clock.
    started: float
    #: The receiver's verdict on the signature, if it is known.
    verdict: Verdict | None = None
    #: Whether to print a hint.
    with_hint: bool = True

    @property
    def good(self) -> bool:
        """Tell whether it was acknowledged, and its signature found valid if it was verified."""
        return self.attempt.acknowledged and (self.verdict is None or bool(self.verdict))

    def record(self) -> dict[str, Any]:
        """Return the attempt."""
        return attempt_record(self.delivery, self.attempt)

    def write(self, screen: Screen) -> None:
        """Print one line, and any errors below it."""
        attempt = self.attempt
        line = Text.assemble("  ", screen.mark(attempt.acknowledged), " ")
        self._append_events(line) if self.delivery.events else self._append_ping(line)
        status = str(attempt.response.status) if attempt.response else str(attempt.outcome).replace("_", " ")
        line.append(f"{status:>3}", "green" if attempt.acknowledged else "bold red")
        line.append(f" {attempt.elapsed * 1000:6.1f} ms", "dim")
        if self.verdict is not None and not self.verdict:
            line.append(f"  signature {self.verdict.reason.replace('_', ' ')}", "bold red")
        screen.line(line)
        if error := channel_error(self.delivery):
            screen.note(Text(f"carries error {error}", "dim"), indent=DETAIL)
        wrong = [self.verdict.detail] if self.verdict is not None and not self.verdict else []
        screen.remarks([*wrong, attempt.error] if attempt.error else wrong, indent=DETAIL)
        if self.with_hint and not attempt.acknowledged and (hint := hint_for(self.delivery, python=False)):
            screen.hint(hint, indent=DETAIL)

    def _append_events(self, line: Text) -> None:
        line.append(f"{offset(self.attempt.at - self.started):>6}  ", "dim")
        line.append(f"{callback_columns(self.delivery.statuses)}  ")
        line.append(f"{_channel(self.delivery):<8}  ", "cyan")

    def _append_ping(self, line: Text) -> None:
        body = self.attempt.callback.body.decode("ascii", "replace")
        line.append(f"{'ping':>6}  ")
        line.append(f"{f'body {body}' if body else 'empty body':<26}  ")


@dataclass(frozen=True)
class SendSummary:
    """Sum up the callbacks of `send`. If it was interrupted, these are the answered ones."""

    #: The scenario's name, or the token or tape of --replay.
    scenario: str
    deliveries: Sequence[Delivery]
    message_id: str
    to: str
    #: Empty if no data was generated.
    seed: str
    interrupted: bool

    def record(self) -> dict[str, Any]:
        """Return the run as a JSON object."""
        return {
            "type": "run",
            "scenario": self.scenario,
            "message_id": self.message_id,
            "statuses": [status for delivery in self.deliveries for status in delivery.statuses],
            "acknowledged": not self.interrupted and all(delivery.acknowledged for delivery in self.deliveries),
            "to": self.to,
            "seed": self.seed or None,
            "interrupted": self.interrupted,
        }

    def write(self, screen: Screen) -> None:
        """Print how many callbacks were acknowledged, and how to send the same again."""
        acknowledged = sum(delivery.acknowledged for delivery in self.deliveries)
        result = f"{acknowledged} of {counted(len(self.deliveries), 'callback')} acknowledged"
        if self.interrupted:
            ended = Text(f"Interrupted: so far {result}")
        elif not self.deliveries:
            ended = Text.assemble(screen.mark(True), " Accepted; this scenario sends no callbacks")
        else:
            ended = Text.assemble(screen.mark(acknowledged == len(self.deliveries)), f" {result}")
        screen.line()
        screen.line(ended)
        about = [f"message {self.message_id} to {self.to}"] if self.message_id else []
        again = [f"the same data again: --seed {self.seed}"] if self.seed else []
        for line in (*about, *again):
            screen.note(Text(line, "dim"), indent=2)


def offset(seconds: float) -> str:
    """Return the seconds since the start as text.

    >>> offset(2), offset(0.25)
    ('+2 s', '+0.2 s')
    """
    rounded = round(seconds, 1)
    return f"+{rounded:.0f} s" if rounded == round(rounded) else f"+{rounded:.1f} s"


def _channel(delivery: Delivery) -> str:
    first = delivery.events[0]
    return first.status.status_data.current_send_channel if isinstance(first, StatusEvent) else ""


def channel_error(delivery: Delivery) -> str:
    """Return the error code and text of the first row that has one.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     run = engagelab.send("+6591234567", scenario=["plan", "sent_failed"])
    >>> channel_error(run.deliveries[1])
    '5001: sender config is invalid'
    """
    for event in delivery.events:
        if isinstance(event, StatusEvent) and event.status.error_code:
            detail = event.status.error_detail
            return f"{event.status.error_code}: {getattr(detail, 'message', '')}".rstrip(": ")
    return ""


def callback_columns(statuses: Sequence[str], to: Sequence[str] | None = None) -> str:
    """Return the columns of a callback: its statuses and, if they are given, its recipients.

    >>> callback_columns(["sent"], ["+6591234567"])
    'sent              +6591234567   '
    """
    columns = f"{', '.join(statuses):<16}"
    return columns if to is None else f"{columns}  {', '.join(to):<14}"


def span(seconds: float) -> str:
    """Return a time span as text.

    >>> span(60), span(3600), span(86400), span(90)
    ('1 min', '1 h', '24 h', '90 s')
    """
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


# --- Requests that arrive: `listen`, `record` and `serve`


@dataclass(frozen=True)
class Serving:
    """Show the address at which a command takes requests; the first result of `listen`, `record` and `serve`."""

    #: The type of the JSON object, and the word that the text begins with.
    type: str
    word: str
    url: str
    #: Further keys of the JSON object.
    more: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Return the address."""
        return {"type": self.type, "url": self.url, **self.more}

    def write(self, screen: Screen) -> None:
        """Print the address."""
        screen.line(f"{self.word} on {self.url}")


@dataclass(frozen=True)
class CallbackReceived:
    """Show a request that `listen` got."""

    received: Received

    def record(self) -> dict[str, Any]:
        """Return the request, its verdict, and the answer."""
        return received_record(self.received, self._events())

    def write(self, screen: Screen) -> None:
        """Print one line, and below it why the request was refused."""
        received, events = self.received, self._events()
        statuses = [event.name for event in events] or ["ping" if received.ping else received.method]
        line = _timed_line(screen, not received.error)
        # Anyone can send a request: no byte of it may act on the terminal.
        line.append(printable(f" {callback_columns(statuses, recipients(events))}  "))
        line.append(f"answered {received.status}", "green" if received.status == 200 else "yellow")
        line.append(printable(f"  {received.verdict}"), "" if received.verdict else "bold red")
        screen.note(line, hang=DETAIL)
        if received.error and received.verdict:
            screen.note(Text(printable(received.error), "red"), indent=DETAIL)

    def _events(self) -> tuple[Event, ...]:
        """Return the rows, even of a callback whose signature was refused."""
        if self.received.events or self.received.ping:
            return self.received.events
        return _rows(self.received.body)


@dataclass(frozen=True)
class RequestRecorded:
    """Show a request that passed through `record`; people and secrets in it are not shown."""

    passed: Passed
    #: Why the request is not on the tape; empty if it is.
    trouble: str

    def record(self) -> dict[str, Any]:
        """Return the request and its answer."""
        return {
            "type": "request",
            "method": self.passed.method,
            "statuses": [event.name for event in _rows(self.passed.body)],
            "answered": self.passed.status,
            "elapsed_ms": milliseconds(self.passed.elapsed),
            "error": self.passed.error or None,
            "recorded": not self.trouble,
        }

    def write(self, screen: Screen) -> None:
        """Print one line."""
        passed = self.passed
        good = passed.status == 200 and not self.trouble
        line = _timed_line(screen, good)
        statuses = [event.name for event in _rows(passed.body)] or [passed.method]
        line.append(printable(f" {callback_columns(statuses)}  "))
        answered = f"answered {passed.status}" if passed.status is not None else passed.error
        line.append(printable(answered), "green" if good else "yellow")
        screen.note(line.append(f" in {passed.elapsed * 1000:.1f} ms", "dim"), hang=DETAIL)


def signing(settings: CallbackSettings) -> str:
    """Say how callbacks to a receiver are signed.

    >>> signing(CallbackSettings(username="acme", secret="s3cret"))
    'signed as acme'
    """
    return f"signed as {settings.username}" if settings.signs else "not signed: no username and secret"


def _timed_line(screen: Screen, good: bool) -> Text:
    return Text.assemble((f"{datetime.now():%H:%M:%S}", "dim"), "  ", screen.mark(good))


def _rows(body: bytes) -> tuple[Event, ...]:
    try:
        return decode(body).rows
    except InvalidBody:
        return ()
