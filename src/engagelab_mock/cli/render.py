"""What the commands print: each result once, as a JSON object and as text.

A command makes results and passes them to `Output.show`. `record` returns the JSON object; `write` prints the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from engagelab_mock.cli.output import Screen
from engagelab_mock.delivery.model import Attempt, Delivery, Run
from engagelab_mock.delivery.outcome import hint_for
from engagelab_mock.delivery.recorder import Received
from engagelab_mock.delivery.render import attempt_record, milliseconds, printable, received_record, recipients
from engagelab_mock.errors import InvalidBody
from engagelab_mock.protocol.callback import decode
from engagelab_mock.protocol.events import Event, StatusEvent
from engagelab_mock.protocol.settings import CallbackSettings

if TYPE_CHECKING:
    from engagelab_mock.delivery.receiver import Receiver
    from engagelab_mock.protocol.signature import Verdict
    from engagelab_mock.server.proxy import Passed

#: The column of the status, and so the indentation of remarks about a line.
DETAIL = 12


# --- Callbacks that are sent: `send` and `demo`


@dataclass(frozen=True)
class Section:
    """Announce what the next lines are about."""

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
    #: Whether to print what to try next.
    with_hint: bool = True

    def record(self) -> dict[str, Any]:
        """Return the attempt."""
        return attempt_record(self.delivery, self.attempt)

    def write(self, screen: Screen) -> None:
        """Print one line, and what was wrong below it."""
        attempt = self.attempt
        line = Text.assemble("  ", screen.mark(attempt.acknowledged), " ")
        self._append_events(line) if self.delivery.events else self._append_ping(line)
        status = str(attempt.response.status) if attempt.response else str(attempt.outcome).replace("_", " ")
        line.append(f"{status:>3}", "green" if attempt.acknowledged else "bold red")
        screen.line(line.append(f" {attempt.elapsed * 1000:6.1f} ms", "dim"))
        if error := _status_error(self.delivery):
            screen.note(Text(error, "yellow"), indent=DETAIL)
        wrong = [self.verdict.detail] if self.verdict is not None and not self.verdict else []
        screen.remarks([*wrong, attempt.error] if attempt.error else wrong, indent=DETAIL)
        if self.with_hint and not attempt.acknowledged and (hint := hint_for(self.delivery, python=False)):
            screen.hint(hint, indent=DETAIL)

    def _append_events(self, line: Text) -> None:
        line.append(f"{offset(self.attempt.at - self.started):>6}  ", "dim")
        line.append(f"{', '.join(self.delivery.statuses):<16}  ")
        line.append(f"{_channel(self.delivery):<8}  ", "cyan")
        if self.verdict is not None:
            reason = self.verdict.reason.replace("_", " ")
            line.append(f"{'signature ' + reason:<15}  ", "green" if self.verdict else "bold red")

    def _append_ping(self, line: Text) -> None:
        body = self.attempt.callback.body.decode("ascii", "replace")
        line.append(f"{'ping':>6}  ")
        line.append(f"{f'body {body}' if body else 'empty body':<26}  ")


@dataclass(frozen=True)
class ScenarioSent:
    """Show that `demo` sent a scenario."""

    run: Run

    def record(self) -> dict[str, Any]:
        """Return what was sent."""
        run = self.run
        return {
            "type": "run",
            "scenario": run.scenario.name,
            "message_id": run.message_id,
            "statuses": run.statuses,
            "acknowledged": run.acknowledged,
        }

    def write(self, screen: Screen) -> None:
        """Print a line if there was no callback to show."""
        if not self.run.deliveries:
            screen.note(Text("nothing came, as it should be", "dim"), indent=DETAIL)


@dataclass(frozen=True)
class SendSummary:
    """Sum up what `send` sent: everything or, if it was interrupted, what had been answered by then."""

    #: The scenario's name, or the token of --replay.
    scenario: str
    deliveries: Sequence[Delivery]
    message_id: str
    to: str
    seed: str
    interrupted: bool

    def record(self) -> dict[str, Any]:
        """Return what was sent."""
        return {
            "type": "run",
            "scenario": self.scenario,
            "message_id": self.message_id,
            "statuses": [status for delivery in self.deliveries for status in delivery.statuses],
            "acknowledged": not self.interrupted and all(delivery.acknowledged for delivery in self.deliveries),
            "to": self.to,
            "seed": self.seed,
            "interrupted": self.interrupted,
        }

    def write(self, screen: Screen) -> None:
        """Print how many callbacks were acknowledged, and how to send the same again."""
        acknowledged = sum(delivery.acknowledged for delivery in self.deliveries)
        count = f"{acknowledged} of {len(self.deliveries)} callbacks acknowledged"
        if self.interrupted:
            ended = Text(f"Interrupted: so far {count}")
        elif not self.deliveries:
            ended = Text.assemble(screen.mark(True), " Accepted, and no callback follows, as this scenario says")
        else:
            ended = Text.assemble(screen.mark(acknowledged == len(self.deliveries)), f" {count}")
        screen.line()
        screen.line(ended)
        about = [f"message {self.message_id} to {self.to}"] if self.message_id else []
        screen.note(Text(f" {screen.dot} ".join([*about, f"again: --seed {self.seed}"]), "dim"), indent=2)


@dataclass(frozen=True)
class DemoBegun:
    """Say what `demo` is about to do."""

    receiver: Receiver

    def record(self) -> None:
        """Return nothing: this is for people."""

    def write(self, screen: Screen) -> None:
        """Print where callbacks go, and what happens there."""
        screen.line(Text.assemble(("EngageLab, on this machine", "bold"), "  ", (self.receiver.address, "cyan")))
        about = "A fake EngageLab signs callbacks and POSTs them to a receiver that verifies each one."
        screen.note(Text(about, "dim"))


@dataclass(frozen=True, kw_only=True)
class DemoSummary:
    """Sum up what `demo` sent."""

    runs: int
    acknowledged: int
    callbacks: int
    pings_acknowledged: bool
    signatures_valid: bool
    interrupted: bool = False

    @property
    def good(self) -> bool:
        """Tell whether everything was sent, acknowledged, and validly signed."""
        complete = not self.interrupted and self.acknowledged == self.runs
        return complete and self.pings_acknowledged and self.signatures_valid

    def record(self) -> dict[str, Any]:
        """Return the counts."""
        return {
            "type": "summary",
            "runs": self.runs,
            "acknowledged": self.acknowledged,
            "signatures_valid": self.signatures_valid,
            "callbacks": self.callbacks,
            "interrupted": self.interrupted,
        }

    def write(self, screen: Screen) -> None:
        """Print how it ended, and what to do next."""
        callbacks = f"{self.callbacks} callbacks in {self.runs} scenarios"
        screen.line()
        if self.interrupted:
            screen.line(f"Interrupted after {callbacks}")
            return
        acknowledged = "all" if self.acknowledged == self.runs else f"{self.acknowledged} of {self.runs}"
        signatures = "every signature valid" if self.signatures_valid else "not every signature valid"
        ended = (f" {callbacks}: {acknowledged} acknowledged, {signatures}", "bold")
        screen.line(Text.assemble(screen.mark(self.good), ended))
        screen.line()
        for label, text in (
            ("your receiver  ", "engagelab-mock send verified --url URL --username NAME --secret SECRET"),
            ("your tests     ", 'def test_login(engagelab): engagelab.send("+6591234567", scenario="verified")'),
        ):
            screen.line(Text.assemble((label, "dim"), text))


def offset(seconds: float) -> str:
    """Return how long after the start something happened, as text.

    >>> offset(2), offset(0.25)
    ('+2 s', '+0.2 s')
    """
    rounded = round(seconds, 1)
    return f"+{rounded:.0f} s" if rounded == round(rounded) else f"+{rounded:.1f} s"


def _channel(delivery: Delivery) -> str:
    first = delivery.events[0]
    return first.status.status_data.current_send_channel if isinstance(first, StatusEvent) else ""


def _status_error(delivery: Delivery) -> str:
    """Return the error code and text of the first row that has one."""
    for event in delivery.events:
        if isinstance(event, StatusEvent) and event.status.error_code:
            detail = event.status.error_detail
            return f"{event.status.error_code} {getattr(detail, 'message', '')}".rstrip()
    return ""


# --- Requests that arrive: `listen`, `record` and `serve`


@dataclass(frozen=True)
class Serving:
    """Say where a command takes requests; the first result of `listen`, `record` and `serve`."""

    #: The type of the JSON object, and the word that the text begins with.
    type: str
    word: str
    url: str
    #: What else the JSON object has.
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
        statuses = ", ".join(event.name for event in events) or ("ping" if received.ping else received.method)
        line = _timed_line(screen, not received.error)
        # Anyone can send a request: no byte of it may act on the terminal.
        line.append(printable(f" {statuses:<16}  {', '.join(recipients(events)):<15}  "))
        line.append(f"answered {received.status}", "green" if received.status == 200 else "yellow")
        line.append(printable(f"  {received.verdict}"), "" if received.verdict else "bold red")
        screen.line(line)
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
        statuses = ", ".join(event.name for event in _rows(passed.body)) or passed.method
        line.append(printable(f" {statuses:<16}  "))
        answered = f"answered {passed.status}" if passed.status is not None else passed.error
        line.append(printable(answered), "green" if good else "yellow")
        screen.line(line.append(f" in {passed.elapsed * 1000:.1f} ms", "dim"))


def signing(settings: CallbackSettings) -> str:
    """Say how callbacks to a receiver are signed.

    >>> signing(CallbackSettings(username="acme", secret="s3cret"))
    'signed as acme'
    """
    return f"signed as {settings.username}" if settings.signs else "not signed: no username and secret"


def log_line(delivery: Delivery, attempt: Attempt) -> str:
    """Return the line that `serve` logs about an attempt."""
    names = ", ".join(delivery.statuses) or "ping"
    to = next(iter(recipients(delivery.events)), "")
    why = f": {attempt.error}" if attempt.error else ""
    milliseconds = f"{attempt.elapsed * 1000:.1f} ms"
    return printable(f"{names} {to} -> {delivery.receiver.address} {attempt.outcome} {milliseconds}{why}")


def _timed_line(screen: Screen, good: bool) -> Text:
    return Text.assemble((f"{datetime.now():%H:%M:%S}", "dim"), "  ", screen.mark(good))


def _rows(body: bytes) -> tuple[Event, ...]:
    try:
        return decode(body).rows
    except InvalidBody:
        return ()
