"""The state that messages come to when they are treated in one way, to compare with what another way leads to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engagelab_mock.checks.state import MISSING, Path, State, differing, dotted, state_of, values
from engagelab_mock.clock import stopwatch
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.messages.message import Message

if TYPE_CHECKING:
    from engagelab_mock.checks.trial import Trial

Treatment = Callable[[Message], object]

#: How often the state is looked at while it is not yet what it should be, in seconds.
_LOOK = 0.02


class Reference:
    """Know the state that messages come to when they are treated in one way.

    Two messages are treated so. Where their states differ is the app's own affair, such as a number that it gives to
    each row, and is not compared.
    """

    def __init__(self, trial: Trial, treat: Treatment) -> None:
        self._trial = trial
        (_, other), (_, self.state) = self._treated(treat), self._treated(treat)
        self._noise = differing(other, self.state)
        if self._noise >= {*self.state}:
            trial.inconclusive("what `observe` returns has nothing in common between messages that were treated alike")

    def reached(self, treat: Treatment) -> State:
        """Treat a message and return the state that it comes to, having waited a while for it to be the known one."""
        message, state = self._treated(treat)
        context = self._trial.context
        end = stopwatch() + min(context.patience, 5 * context.standing.lag)
        while self.differing(state) and stopwatch() < end:
            time.sleep(_LOOK)
            state = state_of(self._trial.look(message), message)
        return state

    def differing(self, state: State) -> set[Path]:
        """Return where a state is not the known one."""
        return differing(self.state, state) - self._noise

    def news(self, state: State) -> list[Any]:
        """Return the values in a state that the known one does not have in their places."""
        return [
            value
            for path in sorted(self.differing(state) & {*state})
            for value in (Counter(values(state, [path])) - Counter(values(self.state, [path]))).elements()
        ]

    def check(self, treat: Treatment, what: str, schedule: Schedule | None = None) -> None:
        """Fail unless a message that is treated in another way comes to the same state."""
        state = self.reached(treat)
        for path in sorted(self.differing(state)):
            got, wanted = state.get(path, MISSING), self.state.get(path, MISSING)
            self._trial.fail(f"{what} left {dotted(path)} at {got!r:.80}, and not at {wanted!r:.80}", schedule)

    def _treated(self, treat: Treatment) -> tuple[Message, State]:
        message = self._trial.message()
        treat(message)
        return message, state_of(self._trial.look(message), message)
