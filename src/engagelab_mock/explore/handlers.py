"""How the handlers of deliveries run: alone, in threads at the same time, or in a process that dies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.errors import ScheduleFailed, UsageError
from engagelab_mock.explore.crash import can_fork, deliver_crashing
from engagelab_mock.explore.interleave import Deadlock
from engagelab_mock.explore.orders import Trace
from engagelab_mock.explore.parallel import Starts, deliver_in_parallel
from engagelab_mock.explore.stuck import OneThread, Watch, check_given_up
from engagelab_mock.explore.switchpoints import SwitchPoints
from engagelab_mock.explore.together import check_no_order, deliver_together

if TYPE_CHECKING:
    from engagelab_mock.delivery.io import Io
    from engagelab_mock.delivery.model import Delivery
    from engagelab_mock.delivery.receiver import Receiver
    from engagelab_mock.delivery.sender import Sender
    from engagelab_mock.explore.played import Played
    from engagelab_mock.explore.schedule import Schedule


class Handlers:
    """Make attempts of deliveries, and stop their handlers at switch points if that is asked for.

    In another process, handlers run at the same time because their requests are sent at the same time; `seed` decides
    when each is sent.
    """

    def __init__(self, points: SwitchPoints | None = None, *, strict: bool = True, seed: object = 0) -> None:
        self._points = points or SwitchPoints()
        #: Whether an order or a crash that the handlers do not come to is an error.
        self.strict = strict
        self._starts = Starts(seed)
        self._thread, self._watch = OneThread(), Watch(None)
        #: Whether each handler runs as those at the same time do, also if it is alone, so that a deadlock is seen.
        self.watched = False
        self._crashes = False
        self._in_forks = False
        #: Whether a handler crashes with a forked process, or else by an exception. None if that is not known yet.
        self.forks: bool | None = None if can_fork() else False

    async def alone(self, io: Io, sender: Sender, delivery: Delivery) -> None:
        """Make the next attempt of a delivery."""
        __tracebackhide__ = True
        name = delivery.receiver.transport.name
        if self._in_forks:
            await deliver_crashing(io, sender, delivery, self._points, 0, fork=True)
        elif (self.watched and name != "http") or (self._crashes and io is SYNC and name == "asgi"):
            # After a crash, the tasks that a handler has left running would decide the outcome by chance.
            await self.together(io, sender, [("+".join(delivery.statuses), delivery)], "")
        elif io is not SYNC and name == "wsgi":
            await self._thread.call(lambda: run_sync(sender.attempt(SYNC, delivery)), delivery.receiver.limit)
        else:
            await sender.attempt(io, delivery)
            if name == "asgi":
                receiver = delivery.receiver
                await check_given_up(io, receiver.transport, delivery.attempts[-1], receiver.limit)
        self._watch.check()

    async def together(self, io: Io, sender: Sender, deliveries: Sequence[tuple[str, Delivery]], order: str) -> Trace:
        """Make the next attempts of deliveries, each with its name, at the same time."""
        __tracebackhide__ = True
        if deliveries[0][1].receiver.transport.name == "http":
            check_no_order(order)
            return await deliver_in_parallel(io, sender, [delivery for _, delivery in deliveries], self._starts)
        return await deliver_together(io, sender, deliveries, self._points, order, strict=self.strict)

    def watching(self, receiver: Receiver) -> Watch:
        """Return the watch that interrupts a call of an app in this process that never returns."""
        self._watch = Watch(receiver.limit if receiver.transport.name != "http" else None)
        return self._watch

    async def crashing(self, io: Io, sender: Sender, delivery: Delivery, at: int) -> Trace:
        """Make the next attempt of a delivery, whose handler crashes at a switch point."""
        __tracebackhide__ = True
        trace = await deliver_crashing(io, sender, delivery, self._points, at, fork=self.forks is not False)
        self._watch.check()
        if self.strict and not trace.crashed:
            raise UsageError(
                f"the handler of `{'+'.join(delivery.statuses)}` ended before its switch point {at}",
                where="token",
                hint="the app has changed since this token was printed: explore again",
            )
        return trace

    async def prepare(self, schedule: Schedule, play: Callable[[], Awaitable[Played]]) -> None:
        """Before a schedule with a crash, find out whether a handler in a forked process has an effect.

        It has none if the app's state is in this process. `play` plays the events without a crash.
        """
        __tracebackhide__ = True
        self.watched = self.watched or any(step.beside for step in schedule.steps)
        crashes = any(step.crash for step in schedule.steps)
        self._crashes = self._crashes or crashes
        if self.forks is not None or not crashes:
            return
        here = await play()
        self._in_forks = True
        try:
            there = await play()
        finally:
            self._in_forks = False
        if here.changed:
            self.forks = there.changed


def deadlock_failed(
    played: Played, placed: Sequence[tuple[int, tuple[str, ...], Delivery]], order: str, error: Deadlock
) -> ScheduleFailed:
    """Return the failure of a schedule whose handlers wait for each other; `error` names the calls that wait."""
    # These modules import this one.
    from engagelab_mock.explore.exploration import Failure, Violation
    from engagelab_mock.explore.played import Record
    from engagelab_mock.explore.serial import at_point, place_of

    played.records += [Record(*each, each[2].attempts[-1], played.final, played.final) for each in placed]
    what = (
        f"{error}: take locks in the same order everywhere, and release each before the answer. If the test has a "
        f"transaction open, end it before it explores\n\n{error.stacks}\n"
    )
    violation = Violation(invariant="deadlock", what=what, record=played.records[-1], before=played.final)
    schedule = at_point(played.schedule, order) if place_of(played.schedule) >= 0 else played.schedule
    return Failure(schedule=schedule, found=schedule, violation=violation, played=played).error()
