"""Deliver events in different orders, or treat messages in different ways, and compare the resulting states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any, NoReturn

import msgspec

from engagelab_mock.checks.check import Ended, Judgement
from engagelab_mock.checks.finding import Change
from engagelab_mock.checks.profile import accepted, describe
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.explore.lifecycle import labels_of, lifecycle
from engagelab_mock.explore.schedule import Schedule, Step, tidy
from engagelab_mock.explore.state import (
    MISSING,
    Path,
    Snapshot,
    State,
    differing,
    dotted,
    names,
    single,
    state_of,
    told_at,
    values,
)
from engagelab_mock.messages.message import Message

#: Events by their labels, in the order of delivery. An order can omit events.
Order = tuple[str, ...]

#: How long an app that seemed to work before it answers may still work after it, in seconds.
_GRACE = 0.1
#: How often the state is read while the app may still be working, in seconds.
_LOOK = 0.02


class Seen(msgspec.Struct):
    """Hold one message, the events it had, its state before them, and its state when it was last read."""

    message: Message
    #: The events as they were delivered: those of the order, and then again those that were refused.
    sent: Order
    before: Snapshot
    after: Snapshot

    @property
    def state(self) -> State:
        """Return the last state, leaf by leaf."""
        return state_of(self.after, self.message)


class Miss(msgspec.Struct, frozen=True):
    """Hold one leaf that has a wrong value after one order."""

    order: Order
    path: Path
    #: The value, and the right one, as text.
    got: str
    wanted: str
    #: Whether another leaf names the right status. Then the app does not decide by this leaf.
    excused: bool = False


class Orderings:
    """Deliver the events of one scenario to new messages, in any order, and compare the states of these messages.

    Two messages that had the same events in the same order can have different states, for example different row
    numbers. Such a difference is noise, and is not compared.
    """

    def __init__(self, trial: Trial, scenario: str, *labels: str, own: bool = True) -> None:
        """Take a scenario as `lifecycle` takes it, and the labels of the events that are used (default: all).

        With `own`, the check ends if the states of different messages cannot be compared.
        """
        if own:
            trial.expect_own_state()
        self.trial = trial
        self._lifecycle = lifecycle(scenario)
        known = labels_of((self._lifecycle,))
        wanted = {known.find(label) for label in labels} or {*known.all}
        #: The events in the order in which they happened.
        self.in_order: Order = tuple(label for label in known.all if label in wanted)
        self._statuses = {
            label: self._lifecycle.transitions[index].status for label, (_, index) in known.places.items()
        }
        self._seen: dict[Order, list[Seen]] = {}
        for label in self.in_order:
            if not trial.ticks(self._statuses[label]):
                trial.skip(f"the receiver's settings do not tick {self._statuses[label]}")

    def schedule(self, *orders: Order, fault: str = "") -> Schedule:
        """Return the schedule that delivers events in these orders, each order to a new message.

        `fault` is applied to every callback, which is then sent again.
        """
        steps = (
            Step((f"{label}#{number}" if number > 1 else label,), fault=fault)
            for number, order in enumerate(orders, 1)
            for label in order
        )
        return Schedule((self._lifecycle,) * len(orders), tidy(steps))

    def learn(self, *orders: Order, again: bool = False) -> None:
        """Find out which state each order leads to; a known order is only delivered again with `again`.

        An order that is given twice is delivered to two messages.
        """
        wanted = [order for order in orders if again or order not in self._seen]
        if not wanted:
            return
        delivered = [self._deliver(order) for order in wanted]
        states = self.trial.settled([message for message, _, _ in delivered])
        for order, (message, sent, before), after in zip(wanted, delivered, states, strict=True):
            self._seen.setdefault(order, []).append(Seen(message, sent, before, after))

    def state(self, order: Order) -> State:
        """Return the state that an order leads to."""
        self.learn(order)
        return self._seen[order][-1].state

    def states(self, order: Order) -> list[State]:
        """Return the states of all messages that had the events in this order, the first message first."""
        self.learn(order)
        return [seen.state for seen in self._seen[order]]

    def seen(self, order: Order) -> Seen:
        """Return the last message that had the events in this order."""
        return self._seen[order][-1]

    def status(self, label: str) -> str:
        """Return the status of an event."""
        return self._statuses[label]

    def refused(self, order: Order) -> Order:
        """Return the events of an order that were refused, and sent again."""
        return self._seen[order][-1].sent[len(order) :]

    def noise(self) -> set[Path]:
        """Return the leaves that differ between messages that had the same events in the same order."""
        found: set[Path] = set()
        for seen in self._seen.values():
            found |= {path for other in seen[1:] for path in differing(seen[0].state, other.state)}
        return found

    def differing(self, one: Order, other: Order) -> set[Path]:
        """Return the leaves that differ between the states after two orders, without noise."""
        self.learn(one, other)
        return differing(self.state(one), self.state(other)) - self.noise()

    def telling(self, right: Order, others: Iterable[Order]) -> tuple[set[Path], bool]:
        """Return the leaves that distinguish the state after one order from others, and whether they name its status.

        If some of these leaves name only the last status of the order, only those are returned.
        """
        others = list(others)
        ways = [single(self.differing(right, other)) for other in others]
        mine = self.state(right)
        found = {path for path in set.intersection(*ways) if path in mine} if ways else set()
        status = self._statuses[right[-1]]
        naming = {
            path
            for path in found
            if names(mine[path], status) and not any(names(self.state(other).get(path), status) for other in others)
        }
        return (naming, True) if naming else (found, False)

    def unseen(self, *orders: Order) -> Ended | None:
        """Return how the check ends if none of these orders has a visible effect."""
        if not self.stays(lambda: not any(self.differing((), order) for order in orders)):
            return None
        what = ", ".join(self.in_order)
        if any(differing(self.state(()), self.state(order)) for order in orders):
            reason = f"`observe` returns different values for two messages that both had {what}: no effect can be told"
            return Ended(Judgement.INCONCLUSIVE, reason)
        return Ended(Judgement.NOT_APPLICABLE, f"`observe` shows no effect of {what}: the app makes nothing of them")

    def look_again(self) -> None:
        """Read the state of every message again. A change shows that the app works longer than it seemed."""
        for seen in (each for several in self._seen.values() for each in several):
            now = self.trial.context.look(seen.message)
            if now != seen.after:
                profile = self.trial.context.profile
                profile.lag = max(profile.lag, _LOOK)
            seen.after = now

    def grace(self) -> float:
        """Return the time in which a state may become right, in seconds."""
        lag = self.trial.context.profile.lag
        return min(self.trial.context.patience, max(_GRACE, min(10 * lag, lag + 0.5)))

    def stays(self, wrong: Callable[[], object]) -> bool:
        """Tell whether an error is seen, and stays for as long as the app may still work after its answer."""
        end = stopwatch() + self.grace()
        while (found := bool(wrong())) and stopwatch() < end:
            self.trial.receiver.wait(_LOOK)
            self.look_again()
        return found

    def persists(self, wrong: Callable[[], object], *orders: Order) -> bool:
        """Tell whether an error is seen, and is seen again after new messages had the same orders."""
        if not self.stays(wrong):
            return False
        self.learn(*orders, again=True)
        return self.stays(wrong)

    def point_out(self, *orders: Order) -> None:
        """Make the finding show the last message of each of these orders."""
        for order in orders:
            seen = self._seen[order][-1]
            self.trial.show(seen.message, Change(seen.before, seen.after))

    def fail(self, reason: str, *orders: Order) -> NoReturn:
        """Fail the check, with the last messages that had these orders as the evidence."""
        self.point_out(*orders)
        self.trial.fail(reason, self.schedule(*(self._seen[order][-1].sent for order in orders)))

    def _deliver(self, order: Order) -> tuple[Message, Order, Snapshot]:
        message = self.trial.message()
        before = self.trial.context.look(message)
        sent: Order = ()
        refused: Order = ()
        for label, attempt in zip(order, self.trial.play(self.schedule(order), message), strict=True):
            sent += (label,)
            if not self._accepted(attempt, order, sent):
                refused += (label,)
        # A refused callback is not lost: EngageLab sends it again later.
        for label, attempt in zip(refused, self.trial.play(self.schedule(refused), message), strict=True):
            sent += (label,)
            self._accepted(attempt, order, sent)
        return message, sent, before

    def _accepted(self, attempt: Attempt, order: Order, sent: Order) -> bool:
        """Tell whether the last of the events that were sent was accepted. If the receiver crashed, end the check."""
        if self.schedule(order).in_order.events != list(order):
            self.trial.expect_answer(attempt, f"{sent[-1]} out of order", self.schedule(sent))
        elif attempt.response is None or attempt.response.status >= 500:
            self.trial.inconclusive(f"{sent[-1]}, sent in order: {describe(attempt)}")
        return accepted(attempt)


class Convergence:
    """Judge whether every order of some events leads to the same state, in which the last event prevails.

    A late event may be ignored or recorded. Each leaf must have the value that it has after some of the events in
    order, the last event included. The leaves that tell the last event from the others must have the value that they
    have after all events in order.
    """

    def __init__(self, orderings: Orderings, *orders: Order) -> None:
        """Learn the right values, and the states after `orders`: only one wait if the app works after its answer."""
        self._orderings = orderings
        *earlier, last = orderings.in_order
        self._singles: list[Order] = [(label,) for label in earlier]
        self._references: list[Order] = [
            (*some, last) for count in range(len(earlier) + 1) for some in combinations(earlier, count)
        ]
        # The events in order are one of the references, and are delivered twice.
        orderings.learn((), *self._singles, *self._references, orderings.in_order, *orders)
        #: How the check ends if no known order has an effect.
        self.unseen = orderings.unseen(*self._singles, *self._references)

    def check(self, orders: Sequence[Order]) -> None:
        """Fail if one of the orders leads to a wrong state. End the check if no effect is visible."""
        orderings = self._orderings
        if self.unseen is not None:
            raise self.unseen
        orderings.learn(*orders)
        suspects = list(orders)
        if not orderings.persists(lambda: self.misses(suspects), *self._references, *self._singles):
            return
        # Some differences depend on the moment, so try the same orders again before the check fails.
        suspects = list(dict.fromkeys(miss.order for miss in self.misses(orders)))[:2]
        orderings.learn(*suspects, again=True)
        orderings.stays(lambda: self.misses(suspects))
        misses = self.misses(suspects)
        if misses and not misses[0].excused:
            self._fail(misses[0])
        for miss in misses:
            orderings.trial.warn(
                f"{dotted(miss.path)} depends on the order of arrival: it is {miss.got} after "
                f"{', '.join(miss.order)}; make sure that the app does not decide by it"
            )

    def misses(self, orders: Sequence[Order]) -> list[Miss]:
        """Return the leaves with a wrong value after these orders, the most significant first."""
        orderings = self._orderings
        noise = orderings.noise()
        decisive, named = orderings.telling(orderings.in_order[-1:], self._singles)
        wanted = orderings.state(orderings.in_order)
        known = [orderings.state(order) for order in self._references]
        found = []
        for order in orders:
            state = orderings.state(order)
            right = named and any(state.get(path) == wanted.get(path) for path in decisive)
            for path in {*state, *wanted} - noise:
                got, due = state.get(path, MISSING), wanted.get(path, MISSING)
                explained = path not in decisive and any(each.get(path, MISSING) == got for each in known)
                if got != due and not explained:
                    miss = Miss(order, path, told_at(state, path), told_at(wanted, path), excused=right)
                    found.append(miss)
        return sorted(found, key=lambda miss: (miss.excused, miss.path not in decisive, miss.path))

    def _fail(self, miss: Miss) -> None:
        wrong, right = map(self._told, (miss.order, self._orderings.in_order))
        reason = f"{dotted(miss.path)} is {miss.got} after {wrong}; after {right} it is {miss.wanted}"
        self._orderings.fail(reason, miss.order)

    def _told(self, order: Order) -> str:
        refused = self._orderings.refused(order)
        return ", ".join(order) + (f" ({', '.join(refused)} refused)" if refused else "")


Treatment = Callable[[Message], object]


class StateBaseline:
    """Hold the state of a message after one treatment, to compare it with the states after other treatments.

    A treatment sends callbacks about the message. Two messages get the same treatment. If their states differ, for
    example in the app's own row numbers, these leaves are not compared.
    """

    def __init__(self, trial: Trial, treat: Treatment, *others: Treatment) -> None:
        trial.expect_own_state()
        self._trial = trial
        self._treat = treat
        self._other_treats = others
        self._untouched = trial.message()
        # All at once: if the app works after its answer, the check then waits for it once.
        first, second, *states = self._treated(treat, treat, *others)
        self._states = [first, second]
        #: The states after the other treatments.
        self.others: Sequence[State] = states
        if not self._states[0].keys() - self._noise():
            trial.inconclusive("`observe` returns entirely different values for two messages that had the same events")

    @property
    def state(self) -> State:
        """Return the state after the treatment."""
        return self._states[-1]

    def expect_visible(self, what: str) -> None:
        """End the check if the treatment has no visible effect."""
        if not self.differing(state_of(self._trial.context.look(self._untouched), self._untouched)):
            self._trial.not_applicable(f"`observe` shows no effect of {what}: the app makes nothing of it")

    def differing(self, state: State) -> set[Path]:
        """Return the paths at which a state differs from the baseline."""
        return differing(self.state, state) - self._noise()

    def new_values(self, state: State) -> dict[Path, list[Any]]:
        """Return the values in a state that the baseline does not have at the same paths."""
        return {
            path: list((Counter(values(state, [path])) - Counter(values(self.state, [path]))).elements())
            for path in sorted(self.differing(state) & {*state})
        }

    def check(self, *whats: tuple[str, Schedule | None]) -> None:
        """Fail unless the other treatments, with these descriptions and schedules, lead to the same state."""
        for (what, schedule), treat, state in zip(whats, self._other_treats, self.others, strict=True):
            if self.differing(state):
                self._check_again(treat, what, schedule)

    def _check_again(self, treat: Treatment, what: str, schedule: Schedule | None) -> None:
        """Treat new messages before the check fails, because some differences depend on the moment."""
        self._states += self._treated(self._treat)
        [state] = self._treated(treat)
        treated = self._trial.context.messages[-1]
        self._states += self._treated(self._treat)
        for path in sorted(self.differing(state)):
            got, wanted = told_at(state, path), told_at(self.state, path)
            self._trial.show(treated)
            self._trial.fail(f"after {what}, {dotted(path)} is {got}; it should be {wanted}", schedule)

    def _noise(self) -> set[Path]:
        first, *others = self._states
        return {path for other in others for path in differing(first, other)}

    def _treated(self, *treats: Treatment) -> list[State]:
        messages = [self._trial.message() for _ in treats]
        for treat, message in zip(treats, messages, strict=True):
            treat(message)
        self._trial.context.settle()
        return [state_of(self._trial.glance(message), message) for message in messages]
