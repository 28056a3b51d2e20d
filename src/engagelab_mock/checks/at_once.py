"""Send callbacks at once, send the refused ones again, and wait for the effects of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from engagelab_mock.checks.profile import LOOK, PROMPT, accepted, describe
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.protocol.events import Event

#: The answers that ask for a retry because the receiver has too much to do.
_BUSY = frozenset({429, 503})
_Found = TypeVar("_Found")


class Sent(msgspec.Struct, frozen=True):
    """Hold the attempts at once that crashed the receiver, and the last attempts of callbacks that it refuses."""

    crashed: list[Attempt]
    refused: list[Attempt]

    def expect_none_refused(self, trial: Trial) -> None:
        """End the trial if a callback was never accepted."""
        for attempt in self.refused:
            trial.inconclusive(f"the receiver has begun to refuse valid callbacks: {describe(attempt)}")


def send_all(trial: Trial, callbacks: Sequence[Sequence[Event]]) -> Sent:
    """Send callbacks at once, and then those that were refused again, one after another.

    A refused callback is not lost, because EngageLab sends it again later.
    """
    attempts = trial.send_together(callbacks)
    refused = [pair for pair in zip(callbacks, attempts, strict=True) if not accepted(pair[1])]
    end = stopwatch() + _patience(trial)
    while refused:
        again = [(callback, trial.send(callback)) for callback, _ in refused]
        still = [pair for pair in again if not accepted(pair[1])]
        if len(still) == len(refused) and (not any(_busy(attempt) for _, attempt in still) or stopwatch() >= end):
            break
        refused = still
        trial.receiver.wait(LOOK)
    last = Sent([attempt for attempt in attempts if _crashed(attempt)], [attempt for _, attempt in refused])
    if any(map(_busy, last.refused)):
        last.expect_none_refused(trial)
    return last


def expect_answers(trial: Trial, attempts: Sequence[Attempt], what: str) -> None:
    """Fail if the receiver crashed, did not answer, or closed a connection; a late answer is only a warning.

    An app in process shares this process's time with the threads of the other callbacks. 503 asks for a retry, for
    example while another callback holds the lock of the message.
    """
    for attempt in attempts:
        if attempt.outcome is Outcome.TIMEOUT and attempt.response is not None:
            trial.warn(f"one of {what}: {attempt.error}")
        elif not _busy(attempt):
            trial.expect_answer(attempt, f"one of {what}")


def _busy(attempt: Attempt) -> bool:
    return attempt.response is not None and attempt.response.status in _BUSY


def _crashed(attempt: Attempt) -> bool:
    """Tell whether there was no answer, or an error; not for a late answer in process, as callbacks share the time."""
    return attempt.response is None or (attempt.response.status >= 500 and not _busy(attempt))


def stays(trial: Trial, wrong: Callable[[], list[_Found]], at_least: float = 0.0) -> list[_Found]:
    """Return the errors that remain when their number has not fallen for as long as the app may still work."""
    patience = max(_patience(trial), at_least)
    found, end = wrong(), stopwatch() + patience
    while found and stopwatch() < end:
        trial.receiver.wait(LOOK)
        now = wrong()
        if len(now) < len(found):
            end = stopwatch() + patience
        found = now
    return found


def _patience(trial: Trial) -> float:
    return max(min(trial.context.patience, PROMPT), 3 * trial.context.profile.lag)
