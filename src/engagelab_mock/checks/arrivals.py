"""What state messages are left in when the events of one course arrive in this order or that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import NoReturn

import msgspec

from engagelab_mock.checks.context import accepted, describe
from engagelab_mock.checks.course import Step, schedule_of
from engagelab_mock.checks.evidence import Change
from engagelab_mock.checks.probe import Snapshot
from engagelab_mock.checks.state import MISSING, Path, State, differing, dotted, names, single, state_of
from engagelab_mock.checks.trial import Trial
from engagelab_mock.clock import stopwatch
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.explore.schedule import Schedule
from engagelab_mock.messages.message import Message

#: Which steps arrive, by their place in the course, in the order of their arrival.
Order = tuple[int, ...]

#: How long an app that was seen to work before it answers may still take afterwards, in seconds.
_GRACE = 0.1
_LOOK = 0.02
#: How long before the present a course begins, in seconds.
_AGO = 60


class Seen(msgspec.Struct):
    """Hold a message that had events in some order, its state before them, and the last one seen."""

    message: Message
    #: What was sent: the order, and behind it what was refused, once more.
    sent: Order
    before: Snapshot
    after: Snapshot

    @property
    def state(self) -> State:
        """Return the last state, leaf by leaf."""
        return state_of(self.after, self.message)


class Miss(msgspec.Struct, frozen=True):
    """Hold one leaf that is not as it should be, after one order of arrival."""

    order: Order
    path: Path
    got: object
    wanted: object
    #: Whether another leaf names the right status: then it is not this one that the app goes by.
    excused: bool = False


class Arrivals:
    """Send the steps of a course to ever new messages, in any order, and compare the states they end in.

    What differs between messages that had the same events in the same order, such as the app's own ids, is noise.
    """

    def __init__(self, trial: Trial, *steps: Step) -> None:
        self.trial = trial
        self.steps = steps
        self._began = trial.engagelab.clock.time() - _AGO
        self._seen: dict[Order, list[Seen]] = {}
        for step in steps:
            if not trial.ticks(step.status):
                trial.skip(f"the receiver's settings do not tick {step.status}")

    @property
    def full(self) -> Order:
        """Return the order in which the steps were reported."""
        return tuple(range(len(self.steps)))

    def told(self, order: Order) -> str:
        """Say in which order steps arrive."""
        return ", ".join(str(self.steps[place]) for place in order)

    def send(self, message: Message, place: int) -> Attempt:
        """Send one step."""
        step = self.steps[place]
        event = self.trial.event(
            message, step.status, at=self._began + step.after, channel=step.channel, error_code=step.error_code
        )
        return self.trial.send(event)

    def learn(self, *orders: Order, anew: bool = False) -> None:
        """Find out what state each order leads to, unless it is known."""
        wanted = [order for order in dict.fromkeys(orders) if anew or order not in self._seen]
        if not wanted:
            return
        played = [self._play(order) for order in wanted]
        states = self.trial.settled([message for message, _, _ in played])
        for order, (message, sent, before), after in zip(wanted, played, states, strict=True):
            self._seen.setdefault(order, []).append(Seen(message, sent, before, after))

    def state(self, order: Order) -> State:
        """Return the state that an order leads to."""
        self.learn(order)
        return self._seen[order][-1].state

    def noise(self) -> set[Path]:
        """Return where states differ that should be the same."""
        found: set[Path] = set()
        for seen in self._seen.values():
            found |= {path for other in seen[1:] for path in differing(seen[0].state, other.state)}
        return found

    def differing(self, one: Order, other: Order) -> set[Path]:
        """Return where the states that two orders lead to differ, noise apart."""
        self.learn(one, other)
        return differing(self.state(one), self.state(other)) - self.noise()

    def telling(self, right: Order, others: Iterable[Order]) -> tuple[set[Path], bool]:
        """Return the leaves that tell the state after one order from those after others, and whether they name it.

        Where leaves name the last status, and no other, those are the ones to go by.
        """
        others = list(others)
        ways = [single(self.differing(right, other)) for other in others]
        mine = self.state(right)
        found = {path for path in set.intersection(*ways) if path in mine} if ways else set()
        status = self.steps[right[-1]].status
        naming = {
            path
            for path in found
            if names(mine[path], status) and not any(names(self.state(other).get(path), status) for other in others)
        }
        return (naming, True) if naming else (found, False)

    def look_again(self) -> None:
        """Look at every message once more; where something has changed, the app takes longer than it was seen to."""
        for seen in (each for several in self._seen.values() for each in several):
            now = self.trial.context.look(seen.message)
            if now != seen.after:
                standing = self.trial.context.standing
                standing.lag = max(standing.lag, _LOOK)
            seen.after = now

    def grace(self) -> float:
        """Return how long a state may take to become what it should be, in seconds."""
        return min(self.trial.context.patience, max(_GRACE, 10 * self.trial.context.standing.lag))

    def stays(self, wrong: Callable[[], object]) -> bool:
        """Tell whether something is wrong, and stays so while an app that works after its answer may be at work."""
        end = stopwatch() + self.grace()
        while (found := bool(wrong())) and stopwatch() < end:
            time.sleep(_LOOK)
            self.look_again()
        return found

    def persists(self, wrong: Callable[[], object], *orders: Order) -> bool:
        """Tell whether something is wrong, and is so again with new messages, to which the same is sent."""
        if not self.stays(wrong):
            return False
        self.learn(*orders, anew=True)
        return self.stays(wrong)

    def point_out(self, *orders: Order) -> None:
        """Have the finding show the last message of each of these orders."""
        for order in orders:
            seen = self._seen[order][-1]
            self.trial.show(seen.message, Change(seen.before, seen.after))

    def fail(self, reason: str, *orders: Order) -> NoReturn:
        """End the trial, whose receiver fell short over the last messages that had their events in these orders."""
        self.point_out(*orders)
        self.trial.fail(reason, self.schedule(*(self._seen[order][-1].sent for order in orders)))

    def schedule(self, *orders: Order, fault: str = "") -> Schedule:
        """Return what sends the steps in these orders again, each to a message of its own."""
        return schedule_of(self.steps, *orders, fault=fault)

    def _play(self, order: Order) -> tuple[Message, Order, Snapshot]:
        message = self.trial.message()
        before = self.trial.context.look(message)
        sent: Order = ()
        refused: Order = ()
        for place in order:
            sent += (place,)
            refused += () if self._accepted(message, order, sent) else (place,)
        # A refusal is no loss: it would be sent again, later.
        for place in refused:
            sent += (place,)
            self._accepted(message, order, sent)
        return message, sent, before

    def _accepted(self, message: Message, order: Order, sent: Order) -> bool:
        """Send the last of what is then sent of an order, and tell whether it was accepted; a crash ends the trial."""
        place = sent[-1]
        attempt = self.send(message, place)
        if order != tuple(sorted(order)):
            self.trial.survived(attempt, f"{self.steps[place]} out of order", self.schedule(sent))
        elif attempt.response is None or attempt.response.status >= 500:
            self.trial.inconclusive(f"{self.steps[place]} in its proper order: {describe(attempt)}")
        return accepted(attempt)


class AnyOrder:
    """Judge that a course leads to one state, in whatever order its steps arrive; the last of them is to prevail.

    A late event may be left out, or be entered for what it is: each leaf has to be as it is after some of the steps in
    order, the last included. Leaves that tell the last step from the others have to be as after all steps in order.
    """

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        full = arrivals.full
        earlier, last = full[:-1], full[-1:]
        self._singles = [(place,) for place in earlier]
        self._references = [
            (*some, *last) for count in range(len(earlier) + 1) for some in combinations(earlier, count)
        ]
        arrivals.learn((), *self._singles, *self._references)
        arrivals.learn(full, anew=True)
        known = (*self._singles, *self._references)
        if arrivals.stays(lambda: not any(arrivals.differing((), order) for order in known)):
            arrivals.trial.inconclusive(f"{arrivals.told(full)}: nothing of them is seen in what `observe` returns")

    def check(self, orders: Sequence[Order]) -> None:
        """Fail if one of the orders leads to a state that it should not lead to."""
        arrivals = self._arrivals
        arrivals.learn(*orders)
        suspects = list(orders)
        if not arrivals.persists(lambda: self.misses(suspects), *self._references, *self._singles):
            return
        # Some differences come and go with the moment: the same orders once more, before anything is said.
        suspects = list(dict.fromkeys(miss.order for miss in self.misses(orders)))[:2]
        arrivals.learn(*suspects, anew=True)
        arrivals.stays(lambda: self.misses(suspects))
        misses = self.misses(suspects)
        if misses and not misses[0].excused:
            self._fail(misses[0])
        for miss in misses:
            arrivals.trial.warn(
                f"{dotted(miss.path)} depends on the order of arrival: {miss.got!r:.60} after "
                f"{arrivals.told(miss.order)}; make sure that nothing goes by it"
            )

    def misses(self, orders: Sequence[Order]) -> list[Miss]:
        """Return what is not as it should be after these orders."""
        arrivals = self._arrivals
        noise = arrivals.noise()
        decisive, named = arrivals.telling(arrivals.full[-1:], self._singles)
        wanted = arrivals.state(arrivals.full)
        known = [arrivals.state(order) for order in self._references]
        found = []
        for order in orders:
            state = arrivals.state(order)
            right = named and any(state.get(path) == wanted.get(path) for path in decisive)
            for path in {*state, *wanted} - noise:
                got, due = state.get(path, MISSING), wanted.get(path, MISSING)
                explained = path not in decisive and any(each.get(path, MISSING) == got for each in known)
                if got != due and not explained:
                    found.append(Miss(order, path, got, due, excused=right))
        return sorted(found, key=lambda miss: (miss.excused, miss.path not in decisive, miss.path))

    def _fail(self, miss: Miss) -> None:
        arrivals = self._arrivals
        arrivals.fail(
            f"the order {arrivals.told(miss.order)} left {dotted(miss.path)} at {miss.got!r:.60}; "
            f"{arrivals.told(arrivals.full)} leads to {miss.wanted!r:.60}",
            miss.order,
        )
