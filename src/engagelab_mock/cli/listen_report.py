"""What `listen` prints: as JSON objects, or as lines for a person."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from rich.text import Text

from engagelab_mock.cli.output import Marks, Output, note
from engagelab_mock.cli.timeline import DETAIL
from engagelab_mock.delivery.recorder import Received
from engagelab_mock.delivery.render import printable
from engagelab_mock.errors import InvalidBody
from engagelab_mock.protocol.callback import decode
from engagelab_mock.protocol.events import Event
from engagelab_mock.protocol.settings import CallbackSettings


class Report(Protocol):
    """Tell what arrives when it arrives."""

    def listening(self, url: str, settings: CallbackSettings) -> None:
        """Say where; the first thing printed."""

    def exposed(self, host: str) -> None:
        """Warn that other machines can reach the receiver."""

    def received(self, received: Received) -> None:
        """Tell of a request, what it was found to be, and how it was answered."""

    def ended(self, callbacks: int, refused: int) -> None:
        """Sum up when interrupted."""


class _Talk:
    """Say on stderr what is no result; the same in text and in JSON."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def exposed(self, host: str) -> None:
        """Warn that other machines can reach the receiver."""
        warning = f" {host} is not this machine alone: whoever reaches this port can send to the receiver"
        note(self._output.talk, Text.assemble(("Notice:", "bold yellow"), warning), indent=0)

    def ended(self, callbacks: int, refused: int) -> None:
        """Sum up."""
        note(self._output.talk, Text(f"{callbacks} callbacks received, {refused} of them refused"), indent=0)


class JsonReport(_Talk):
    """Print one object a request."""

    def listening(self, url: str, settings: CallbackSettings) -> None:
        """Print where."""
        self._output.record(type="listening", url=url)

    def received(self, received: Received) -> None:
        """Print a request."""
        events = _events(received)
        self._output.record(
            type="callback",
            ping=received.ping,
            valid=bool(received.verdict),
            verdict=str(received.verdict.reason),
            why=received.verdict.detail,
            statuses=[event.name for event in events],
            recipients=_recipients(events),
            answered=received.status,
            error=received.error or None,
            method=received.method,
            path=received.path,
        )


class TextReport(_Talk):
    """Print one line a request, and why below it when it was refused."""

    def listening(self, url: str, settings: CallbackSettings) -> None:
        """Print where, and on stderr what is verified."""
        self._output.results.print(Text(f"Listening on {url}"), soft_wrap=True)
        checked = f"signatures of {settings.username}" if settings.signs else "no signatures: no username and secret"
        note(self._output.talk, Text(f"verifying {checked}; Ctrl-C ends it", "dim"), indent=0)

    def received(self, received: Received) -> None:
        """Print a request."""
        target = self._output.results
        events = _events(received)
        statuses = ", ".join(event.name for event in events) or ("ping" if received.ping else received.method)
        line = Text.assemble((f"{datetime.now():%H:%M:%S}", "dim"), "  ", Marks(target.encoding).of(not received.error))
        # What a stranger sent is shown, and must not act on the terminal.
        line.append(printable(f" {statuses:<16}  {', '.join(_recipients(events)):<15}  "))
        line.append(f"answered {received.status}", "green" if received.status == 200 else "yellow")
        line.append(printable(f"  {received.verdict}"), "" if received.verdict else "bold red")
        target.print(line, soft_wrap=True)
        if received.error and received.verdict:
            note(target, Text(printable(received.error), "red"), indent=DETAIL)


def _events(received: Received) -> tuple[Event, ...]:
    """Return the rows, for display also those of a callback whose signature was refused."""
    if received.events or received.ping:
        return received.events
    try:
        return decode(received.body).rows
    except InvalidBody:
        return ()


def _recipients(events: tuple[Event, ...]) -> list[str]:
    named = (getattr(event, "to", "") for event in events)
    return list(dict.fromkeys(to for to in named if to))
