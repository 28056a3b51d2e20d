"""Whether two messages came to the same state, though an app has ids and times of its own for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engagelab_mock.checks.probe import Snapshot
from engagelab_mock.clock import stopwatch
from engagelab_mock.lifecycle.message import Message

if TYPE_CHECKING:
    from engagelab_mock.checks.trial import Trial

Treatment = Callable[[Message], object]

#: How often the state is looked at while it is not yet what it should be, in seconds.
_LOOK = 0.02


class _Anything:
    """Stand where two states of messages that were treated alike differ."""

    def __repr__(self) -> str:
        return "…"


ANYTHING: Any = _Anything()


class Reference:
    """Know the state that messages come to when they are treated in one way, to compare others with it.

    Two messages are treated so. What differs between them, apart from their own ids and recipients, is the app's own
    affair, such as the time at which it took a callback in, and is not compared.
    """

    def __init__(self, trial: Trial, treat: Treatment) -> None:
        self._trial = trial
        self.state = common(self._treated(treat)[1], self._treated(treat)[1])
        if self.state is ANYTHING:
            trial.inconclusive("what `observe` returns has nothing in common between messages treated alike")

    def reached(self, treat: Treatment) -> Any:
        """Treat a message and return the state that it comes to, having waited a while for it to be the known one."""
        message, state = self._treated(treat)
        end = stopwatch() + min(self._trial.context.patience, 5 * self._trial.context.standing.lag)
        while not fits(self.state, state) and stopwatch() < end:
            time.sleep(_LOOK)
            state = impersonal(self._trial.look(message), message)
        return state

    def check(self, treat: Treatment, what: str) -> None:
        """Fail unless a message that is treated in another way comes to the same state."""
        state = self.reached(treat)
        if not fits(self.state, state):
            self._trial.fail(f"{what} led to {state!r:.200}, and not to {self.state!r:.200}")

    def _treated(self, treat: Treatment) -> tuple[Message, Any]:
        message = self._trial.message()
        treat(message)
        return message, impersonal(self._trial.look(message), message)


def impersonal(snapshot: Snapshot, message: Message) -> Any:
    """Return a state without the message's own id and recipient.

    >>> message = Message(id="17", to="+6591234567")
    >>> impersonal(Snapshot("17", {"id": 17, "log": ["sent 17"]}), message)
    {'id': 'ID', 'log': ['sent ID']}
    """
    return _impersonal(snapshot.error or snapshot.value, message)


def _impersonal(value: Any, message: Message) -> Any:
    if isinstance(value, dict):
        return {_impersonal(key, message): _impersonal(each, message) for key, each in value.items()}
    if isinstance(value, list):
        return [_impersonal(each, message) for each in value]
    if isinstance(value, str):
        return value.replace(message.id, "ID").replace(message.to, "TO")
    return "ID" if type(value) is int and str(value) == message.id else value


def common(one: Any, other: Any) -> Any:
    """Return what two states have in common, with `ANYTHING` where they differ.

    >>> common({"status": "sent", "at": 1.25}, {"status": "sent", "at": 1.5})
    {'status': 'sent', 'at': …}
    """
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {key: common(one[key], other[key]) for key in one}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [common(*pair) for pair in zip(one, other, strict=True)]
    return one if one == other and type(one) is type(other) else ANYTHING


def fits(known: Any, state: Any) -> bool:
    """Tell whether a state is the known one, whatever stands where that has `ANYTHING`.

    >>> fits({"status": "sent", "at": ANYTHING}, {"status": "sent", "at": 7})
    True
    """
    if isinstance(known, dict) and isinstance(state, dict):
        return known.keys() == state.keys() and all(fits(known[key], state[key]) for key in known)
    if isinstance(known, list) and isinstance(state, list):
        return len(known) == len(state) and all(fits(*pair) for pair in zip(known, state, strict=True))
    return known is ANYTHING or bool(known == state)


def news(known: Any, state: Any) -> list[Any]:
    """Return the single values in a state that the known one does not have.

    >>> news({"status": "sent", "costs": []}, {"status": "sent", "costs": [0.005]})
    [0.005]
    """
    if fits(known, state):
        return []
    if isinstance(state, dict):
        before = known if isinstance(known, dict) else {}
        return [each for key, value in state.items() for each in news(before.get(key), value)]
    if isinstance(state, list):
        left = list(known) if isinstance(known, list) else []
        found = []
        for value in state:
            match = next((each for each in left if fits(each, value)), None)
            if match is not None:
                left.remove(match)
            else:
                found += news(None, value)
        return found
    return [state]


def leaves(state: Any) -> list[Any]:
    """Return every single value in a state.

    >>> leaves({"status": "sent", "costs": [0.1, 0.2]})
    ['sent', 0.1, 0.2]
    """
    if isinstance(state, dict):
        return [leaf for value in state.values() for leaf in leaves(value)]
    if isinstance(state, list):
        return [leaf for value in state for leaf in leaves(value)]
    return [state]
