"""A run as lines for a person: when, what, over which channel, and how it was answered."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from engagelab_mock.cli.output import Marks, note
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.protocol.events import StatusEvent
from engagelab_mock.protocol.signature import Verdict

#: Where the status column begins, and so what belongs to a line above it.
DETAIL = 12


class Timeline:
    """Print attempts one line each, the time since `started` (Unix seconds of the engine's clock) in front."""

    def __init__(self, target: Console) -> None:
        self._target = target
        self.marks = Marks(target.encoding)
        self.started = 0.0
        self._remarked: list[str] = []

    def attempt(self, delivery: Delivery, attempt: Attempt, verdict: Verdict | None = None) -> None:
        """Print an attempt: `verdict` is what the receiver thought of the signature, where that is known."""
        line = Text.assemble("  ", self.marks.of(attempt.acknowledged), " ")
        line.append(f"{offset(attempt.at - self.started):>6}  ", "dim")
        line.append(f"{', '.join(delivery.statuses):<16}  ")
        line.append(f"{_channel(delivery):<8}  ", "cyan")
        if verdict is not None:
            line.append(f"{'signature ' + verdict.reason.replace('_', ' '):<15}  ", "green" if verdict else "bold red")
        self._print(_answer(line, attempt))
        error = _error(delivery)
        if error:
            note(self._target, Text(error, "yellow"), indent=DETAIL)
        self._remarks(attempt, verdict)

    def validation(self, body: bytes, attempt: Attempt) -> None:
        """Print an address validation."""
        line = Text.assemble("  ", self.marks.of(attempt.acknowledged), " ", f"{'ping':>6}  ")
        line.append(f"{'empty body' if not body else 'body ' + body.decode('ascii', 'replace'):<26}  ")
        self._print(_answer(line, attempt))
        self._remarks(attempt, None)

    def heading(self, name: str, description: str) -> None:
        """Print what the next lines are about."""
        self._remarked = []
        self._target.print()
        note(self._target, Text.assemble((name, "bold"), "  ", (description, "dim")), indent=0)

    def remark(self, text: str, *, label: str = "") -> None:
        """Print something about the line above."""
        note(self._target, Text.assemble((label, "bold"), text), indent=DETAIL)

    def _remarks(self, attempt: Attempt, verdict: Verdict | None) -> None:
        """Print what was wrong, unless it is what was wrong with the line before as well."""
        wrong = [verdict.detail] if verdict is not None and not verdict else []
        wrong += [attempt.error] if attempt.error else []
        if wrong != self._remarked:
            for text in wrong:
                self.remark(text)
        self._remarked = wrong

    def _print(self, line: Text) -> None:
        self._target.print(line, soft_wrap=True)


def offset(seconds: float) -> str:
    """Write how long after the start something happened.

    >>> offset(2), offset(0.25)
    ('+2 s', '+0.2 s')
    """
    rounded = round(seconds, 1)
    return f"+{rounded:.0f} s" if rounded == round(rounded) else f"+{rounded:.1f} s"


def _answer(line: Text, attempt: Attempt) -> Text:
    status = str(attempt.response.status) if attempt.response else str(attempt.outcome).replace("_", " ")
    line.append(f"{status:>3}", "green" if attempt.acknowledged else "bold red")
    return line.append(f" {attempt.elapsed * 1000:6.1f} ms", "dim")


def _channel(delivery: Delivery) -> str:
    first = delivery.events[0]
    return first.status.status_data.current_send_channel if isinstance(first, StatusEvent) else ""


def _error(delivery: Delivery) -> str:
    """Return the error code and text of the first row that has one."""
    for event in delivery.events:
        if isinstance(event, StatusEvent) and event.status.error_code:
            detail = event.status.error_detail
            return f"{event.status.error_code} {getattr(detail, 'message', '')}".rstrip()
    return ""
