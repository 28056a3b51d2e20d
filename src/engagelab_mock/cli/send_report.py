"""What `send` prints: as JSON objects, or as lines for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

from rich.text import Text

from engagelab_mock.cli.output import Output, note
from engagelab_mock.cli.timeline import Timeline
from engagelab_mock.delivery.journal import Journal
from engagelab_mock.delivery.model import Attempt, Delivery, Run
from engagelab_mock.delivery.outcome import Outcome, hint_for
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.explore.played import Played
from engagelab_mock.messages.scenario import Scenario


@dataclass(frozen=True, kw_only=True)
class Sent:
    """Say what was sent of a scenario, all of it or, when interrupted, what had been answered by then."""

    scenario: str
    message_id: str
    to: str
    statuses: list[str]
    callbacks: int
    acknowledged_callbacks: int
    interrupted: bool = False

    @property
    def acknowledged(self) -> bool:
        """Tell whether the whole scenario was sent and acknowledged."""
        return not self.interrupted and self.acknowledged_callbacks == self.callbacks

    @classmethod
    def of(cls, run: Run) -> Self:
        """Sum up a run that came to its end."""
        return cls(
            scenario=run.scenario.name,
            message_id=run.message_id,
            to=run.to,
            statuses=run.statuses,
            callbacks=len(run.deliveries),
            acknowledged_callbacks=sum(delivery.acknowledged for delivery in run.deliveries),
        )

    @classmethod
    def of_schedule(cls, played: Played) -> Self:
        """Sum up a schedule that came to its end."""
        deliveries = played.deliveries
        return cls(
            scenario=played.schedule.token,
            message_id=", ".join(message.id for message in played.messages),
            to=", ".join(message.to for message in played.messages),
            statuses=[status for delivery in deliveries for status in delivery.statuses],
            callbacks=len(deliveries),
            acknowledged_callbacks=sum(delivery.acknowledged for delivery in deliveries),
        )

    @classmethod
    def so_far(cls, scenario: Scenario, journal: Journal) -> Self:
        """Sum up a run that was interrupted, by what the journal has of it."""
        made = [entry for entry in journal.deliveries if entry.events and entry.outcome is not Outcome.PENDING]
        return cls(
            scenario=scenario.name,
            message_id=made[0].message_id if made else "",
            to=str(getattr(made[0].events[0], "to", "")) if made else "",
            statuses=[status for delivery in made for status in delivery.statuses],
            callbacks=len(made),
            acknowledged_callbacks=sum(delivery.acknowledged for delivery in made),
            interrupted=True,
        )


class Report(Protocol):
    """Tell what happens while it happens."""

    def begin(self, now: float) -> None:
        """Take note of when it starts, in Unix seconds of the engine's clock."""

    def attempt(self, delivery: Delivery, attempt: Attempt) -> None:
        """Tell of an attempt that has its outcome; a ping is a delivery without events."""

    def run(self, sent: Sent) -> None:
        """Sum up."""


class JsonReport:
    """Print one object an attempt, and one for the run."""

    def __init__(self, output: Output, seed: str) -> None:
        self._output = output
        self._seed = seed

    def begin(self, now: float) -> None:
        """Print nothing."""

    def attempt(self, delivery: Delivery, attempt: Attempt) -> None:
        """Print an attempt, or an address validation."""
        answered = {
            "http_status": attempt.response.status if attempt.response else None,
            "acknowledged": attempt.acknowledged,
            "elapsed_ms": round(attempt.elapsed * 1000, 3),
            "error": attempt.error or None,
            "outcome": str(attempt.outcome),
            "hint": None if attempt.acknowledged else hint_for(delivery),
        }
        if delivery.events:
            self._output.record(type="attempt", statuses=delivery.statuses, **answered)
        else:
            self._output.record(type="validation", **answered)

    def run(self, sent: Sent) -> None:
        """Print the run."""
        self._output.record(
            type="run",
            scenario=sent.scenario,
            message_id=sent.message_id,
            statuses=sent.statuses,
            acknowledged=sent.acknowledged,
            to=sent.to,
            seed=self._seed,
            interrupted=sent.interrupted,
        )


class TextReport:
    """Print one line an attempt, what to try next where one was not acknowledged, and a closing line."""

    def __init__(self, output: Output, receiver: Receiver, scenario: Scenario, seed: str) -> None:
        self._target = output.results
        self._timeline = Timeline(output.results)
        self._receiver = receiver
        self._scenario = scenario
        self._seed = seed
        self._hinted: set[str] = set()
        self._headed = False

    def begin(self, now: float) -> None:
        """Count offsets from now."""
        self._timeline.started = now

    def attempt(self, delivery: Delivery, attempt: Attempt) -> None:
        """Print an attempt, with a hint the first time that hint applies."""
        self._head()
        if delivery.events:
            self._timeline.attempt(delivery, attempt)
        else:
            self._timeline.validation(attempt.callback.body, attempt)
        hint = "" if attempt.acknowledged else hint_for(delivery)
        if hint and hint not in self._hinted:
            self._hinted.add(hint)
            self._timeline.remark(hint, label="hint: ")

    def run(self, sent: Sent) -> None:
        """Print how it ended."""
        self._head()
        marks = self._timeline.marks
        if sent.interrupted:
            ended = Text(f"Interrupted: so far {_count(sent)}")
        elif not sent.callbacks:
            ended = Text.assemble(marks.of(True), " Accepted, and no callback follows, as this scenario says")
        else:
            ended = Text.assemble(marks.of(sent.acknowledged), f" {_count(sent)}")
        self._target.print()
        self._target.print(ended, soft_wrap=True)
        about = [f"message {sent.message_id} to {sent.to}"] if sent.message_id else []
        separator = f" {marks.dot} "
        note(self._target, Text(separator.join([*about, f"again: --seed {self._seed}"]), "dim"), indent=2)

    def _head(self) -> None:
        """Print what is sent where, once, and not before it is known to be usable."""
        if self._headed:
            return
        self._headed = True
        settings = self._receiver.settings
        signed = f"signed as {settings.username}" if settings.signs else "not signed: no username and secret"
        where = f"{self._timeline.marks.arrow} {self._receiver.address}"
        self._timeline.heading(self._scenario.name, f"{where}  ({signed})")


def _count(sent: Sent) -> str:
    return f"{sent.acknowledged_callbacks} of {sent.callbacks} callbacks acknowledged"
