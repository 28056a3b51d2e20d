"""Tapes of the callbacks that the engine sent to the bundled receiver in the same test."""

from __future__ import annotations

from pathlib import Path

from engagelab_mock import EngageLab, Receiver
from engagelab_mock.explore.tape.file import Answer, TapeWriter
from engagelab_mock.explore.tape.sanitise import Sanitiser


def write(path: Path, engagelab: EngageLab, *, sanitise: bool = True) -> Path:
    """Write every attempt in the journal to a tape, as a proxy in front of the receiver would."""
    sanitiser = Sanitiser() if sanitise else None
    with TapeWriter(path, started=engagelab.clock.time(), sanitiser=sanitiser) as tape:
        for attempt in engagelab.journal.attempts:
            response = attempt.response
            tape.add(
                at=attempt.at,
                method="POST",
                path="/engagelab",
                headers=attempt.callback.headers,
                body=attempt.callback.body,
                answer=None if response is None else Answer(status=response.status, elapsed=response.elapsed),
            )
    return path


def receiver() -> Receiver:
    return Receiver.recording(authorization="Bearer s3cret-token")
