"""The order in which handlers that run at the same time make their steps: turns, the steps of a run, every order.

An order is written as turns: in `a2b`, the handler a runs to its switch point 2, then b to its end. After that, the
handler that ran last runs to its end, then the others. A handler that does not come to its next switch point, because
it waits for a lock, is out of the order until it does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from heapq import heappop, heappush
from itertools import count

import msgspec

from engagelab_mock.errors import UsageError
from engagelab_mock.explore.switchpoints import Call

_TURN = re.compile(r"([a-z])([0-9]*)")


class Turn(msgspec.Struct, frozen=True):
    """Let a handler run to one of its switch points, or to its end."""

    handler: int
    #: The number of the switch point, counted from 1; None for the end.
    point: int | None = None


def read_turns(order: str) -> tuple[Turn, ...]:
    """Return the turns that an order spells.

    >>> read_turns("a2b")
    (Turn(handler=0, point=2), Turn(handler=1, point=None))
    """
    return tuple(Turn(ord(name) - ord("a"), int(point) if point else None) for name, point in _TURN.findall(order))


def write_turns(choices: Sequence[tuple[int, int]], ended: Collection[int] = ()) -> str:
    """Return the order in which these steps are made, each given by its handler and the point that it starts at.

    The last step of a handler in `ended` leads to its end, and not to another point.

    >>> write_turns([(0, 0), (0, 1), (1, 0)])
    'a2b'
    >>> write_turns([(0, 0), (1, 0), (0, 1), (1, 1)], ended=[0, 1])
    'a1b1ab'
    """
    turns: list[tuple[int, int]] = []
    for handler, point in choices:
        if turns and turns[-1][0] == handler:
            turns.pop()
        turns.append((handler, point + 1))
    last = {handler: place for place, (handler, _) in enumerate(turns)}
    ends = {last[handler] for handler in ended if handler in last}
    text = "".join(f"{letter(handler)}{'' if n in ends else point}" for n, (handler, point) in enumerate(turns))
    return text.rstrip("0123456789")


def letter(handler: int) -> str:
    """Return the name of a handler.

    >>> letter(1)
    'b'
    """
    return chr(ord("a") + handler)


class Moment(msgspec.Struct, frozen=True):
    """Hold one step of a run: which handler went on, from which of its switch points, and which others could have."""

    handler: int
    #: The number of the switch point that it went on from; 0 is the start of the handler.
    point: int
    #: The call at that point: its name, its SQL or its line, and its place in the app.
    call: str
    text: str
    where: str
    #: The handlers that could have gone on, and those of them that offered to wait.
    enabled: tuple[int, ...]
    yielding: tuple[int, ...] = ()
    #: Whether the handler waited in this step, such as for a lock of the database.
    waited: bool = False


class Trace(msgspec.Struct, frozen=True):
    """Hold the steps of a run in which handlers ran at the same time.

    >>> Trace((), 2).reached
    0
    """

    moments: tuple[Moment, ...]
    handlers: int
    #: The order that was asked for.
    order: str = ""
    #: Whether the handler crashed at the last of these steps, and whether an exception did it, which is weaker.
    crashed: bool = False
    weak: bool = False
    #: Whether the steps are those of real requests, as the sender sees them: when each was sent, and answered.
    requests: bool = False

    @property
    def met(self) -> bool:
        """Tell whether a handler could run inside of another, or crashed; or all were sent before the first answer."""
        if self.requests:
            return all(moment.point == 1 for moment in self.moments[: self.handlers])
        return self.crashed or any(moment.point > 0 and len(moment.enabled) > 1 for moment in self.moments)

    @property
    def reached(self) -> int:
        """Return how many switch points were reached."""
        return sum(moment.point > 0 for moment in self.moments)

    @property
    def waited(self) -> bool:
        """Tell whether a handler waited for another."""
        return any(moment.waited for moment in self.moments)

    @property
    def choices(self) -> list[tuple[int, int]]:
        """Return each step as its handler and the point that it started at."""
        return [(moment.handler, moment.point) for moment in self.moments]


class Steps:
    """Collect the steps of a run. What a step executes is known when the run is over.

    >>> steps = Steps()
    >>> steps.add(0, 1, Call("commit"), (0, 1))
    >>> steps.moments[0].call
    'commit'
    """

    def __init__(self) -> None:
        self._steps: list[tuple[int, int, Call, tuple[int, ...], tuple[int, ...]]] = []
        self._waited: set[int] = set()

    def __len__(self) -> int:
        return len(self._steps)

    def add(
        self, handler: int, point: int, call: Call, enabled: tuple[int, ...], yielding: tuple[int, ...] = ()
    ) -> None:
        """Enter the step of a handler from one of its switch points."""
        self._steps.append((handler, point, call, enabled, yielding))

    def waits(self, handler: int) -> None:
        """Enter that a handler waits in the last of its steps."""
        self._waited.update([index for index, step in enumerate(self._steps) if step[0] == handler][-1:])

    @property
    def moments(self) -> tuple[Moment, ...]:
        """Return the steps."""
        return tuple(
            Moment(handler, point, call.name, call.text, call.where, enabled, yielding, index in self._waited)
            for index, (handler, point, call, enabled, yielding) in enumerate(self._steps)
        )


class Choice:
    """Choose the handler that goes on: as the turns say, then the one that ran last, then the first."""

    def __init__(self, order: str, names: Sequence[str], *, strict: bool) -> None:
        self._turns = list(read_turns(order))
        self._names = names
        self._strict = strict
        self._order = order

    def next(self, enabled: Sequence[int], yielding: Sequence[int], last: int | None, at: Sequence[int | None]) -> int:
        """Return one of the enabled handlers; `at` has the point of each, None for one that is over."""
        while self._turns:
            turn = self._turns[0]
            if turn.handler >= len(at):
                raise _not_followed(self._order, f"there are {len(at)} handlers", "the token")
            here = at[turn.handler]
            # A handler that sleeps lets the others run, unless the order says how far it runs.
            sleeps = turn.point is None and turn.handler in yielding and len(yielding) < len(enabled)
            reached = here is None or (turn.point is not None and here >= turn.point)
            if turn.handler in enabled and not reached and not sleeps:
                return turn.handler
            if here is None and turn.point is not None and self._strict:
                self._refuse_early_end(turn)
            self._turns.pop(0)
        ready = [each for each in enabled if each not in yielding] or list(enabled)
        return last if last is not None and last in ready else ready[0]

    def _refuse_early_end(self, turn: Turn) -> None:
        name = letter(turn.handler)
        raise _not_followed(
            self._order,
            f"the handler {name} of `{self._names[turn.handler]}` ended before its switch point {turn.point}",
            "the app",
        )


def _not_followed(order: str, why: str, what: str) -> UsageError:
    return UsageError(
        f"the order {order!r} cannot be followed: {why}",
        where="token",
        hint=f"{what} has changed since this token was printed: explore again",
    )


class Orders:
    """Yield orders, those with the fewest preemptions first; each run of one shows which others there are.

    A preemption stops a handler that could go on. Handlers with equal names in `alike` get the same callback, so only
    one order of their starts is made.
    """

    def __init__(self, alike: Sequence[object], preemptions: int) -> None:
        self._alike = alike
        self._most = preemptions
        self._entered = count()
        #: The preemptions, the number in which it was found, the order, and how many choices it says.
        self._next: list[tuple[int, int, str, int]] = [(0, next(self._entered), "", 0)]
        self._begun: dict[str, tuple[int, int]] = {}
        self._known = {""}

    @property
    def cost(self) -> int | None:
        """Return the number of preemptions in the next order; None after the last order."""
        return self._next[0][0] if self._next else None

    def __len__(self) -> int:
        return len(self._next)

    @property
    def known(self) -> list[tuple[int, str]]:
        """Return the known orders with their preemptions, in the order in which `pop` returns them."""
        return [(cost, order) for cost, _, order, _ in sorted(self._next)]

    def pop(self) -> str:
        """Return the next order."""
        cost, _, order, begun = heappop(self._next)
        self._begun[order] = (cost, begun)
        return order

    def learn(self, trace: Trace) -> None:
        """Enter the orders that differ from a run in one more choice."""
        spent, begun = self._begun.pop(trace.order, (self._most, len(trace.moments)))
        choices = trace.choices
        at = [0] * trace.handlers
        for index, moment in enumerate(trace.moments):
            last = trace.moments[index - 1].handler if index else None
            for other in moment.enabled if index >= begun else ():
                preempts = last in moment.enabled and last not in moment.yielding and other != last
                cost = spent + preempts
                impatient = other in moment.yielding and moment.handler not in moment.yielding
                if other == moment.handler or impatient or cost > self._most or self._is_like_an_earlier(other, at):
                    continue
                chosen = (*choices[:index], (other, at[other]))
                ended = {*range(trace.handlers)} - {left.handler for left in trace.moments[index:]}
                if (order := write_turns(chosen, ended)) not in self._known:
                    self._known.add(order)
                    heappush(self._next, (cost, next(self._entered), order, len(chosen)))
            at[moment.handler] = moment.point + 1

    def _is_like_an_earlier(self, handler: int, at: Sequence[int]) -> bool:
        """Tell whether a handler would start before an earlier one that gets the same callback."""
        return at[handler] == 0 and any(
            at[each] == 0 and self._alike[each] == self._alike[handler] for each in range(handler)
        )
