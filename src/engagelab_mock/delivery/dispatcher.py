"""See deliveries through: send when their time comes, retry by their policy, close them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from engagelab_mock.clock import Clock, Timer
from engagelab_mock.clock.base import check_moment
from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.sender import Sender

#: Something of a delivery's to do, at once or by somebody else.
Post = Callable[[Delivery, Callable[[], object]], object]
#: Something to do when its time comes, in either io.
Program = Callable[[Io], Coroutine[Any, Any, None]]


class Dispatcher:
    """Put programs on the clock and attempts through the one sender.

    `on_given_up` is called with a delivery that was not acknowledged and will not be tried again; what it raises
    reaches whoever let the time pass.
    """

    def __init__(self, clock: Clock, sender: Sender) -> None:
        self.clock = clock
        self._sender = sender
        #: Who makes attempts instead of whoever lets time pass; nobody, unless a postman works.
        self.post: Post | None = None

    def at(self, when: float, program: Program, timers: list[Timer], *, label: str) -> Timer:
        """Run a program at a Unix time; until then its timer is in `timers`, so that it can be taken back."""

        async def held(io: Io) -> None:
            __tracebackhide__ = True
            if self.post is not None:
                # Off the list when it is posted, and not before: others look whether there is anything to wait for.
                await program(io)
                _remove(timers, timer)
            elif _remove(timers, timer):
                await program(io)

        def action() -> None:
            __tracebackhide__ = True
            run_sync(held(SYNC))

        timer = Timer(check_moment(when, where="clock.call_at"), action, label, lambda: held(ASYNC))
        # In this order: on a live clock, another thread runs at once what is due.
        timers.append(timer)
        self.clock.take_over([timer])
        return timer

    async def deliver(
        self,
        io: Io,
        delivery: Delivery,
        on_given_up: Callable[[Delivery], object],
        timers: list[Timer],
    ) -> None:
        """Make the delivery's next attempt; if it fails, put the one after on the clock or give up.

        What is on the clock is in `timers`, too, so that it can be taken back.
        """
        __tracebackhide__ = True
        if self.post is None:
            await self._attempt(io, delivery, on_given_up, timers)
        else:
            self.post(delivery, lambda: run_sync(self._attempt(SYNC, delivery, on_given_up, timers)))

    def deliver_at(
        self, when: float, delivery: Delivery, on_given_up: Callable[[Delivery], object], timers: list[Timer]
    ) -> None:
        """Make the delivery's next attempt at a Unix time."""

        async def again(later: Io) -> None:
            __tracebackhide__ = True
            await self.deliver(later, delivery, on_given_up, timers)

        names = ", ".join(delivery.statuses)
        whose = delivery.message_id or "the account"
        number = delivery.attempts[-1].number + 1 if delivery.attempts else 1
        self.at(when, again, timers, label=f"attempt {number} of {names} of {whose}")

    async def _attempt(
        self,
        io: Io,
        delivery: Delivery,
        on_given_up: Callable[[Delivery], object],
        timers: list[Timer],
    ) -> None:
        __tracebackhide__ = True
        attempt = await self._sender.attempt(io, delivery)
        if attempt.acknowledged:
            return
        wait = delivery.retry.wait_after(attempt.number)
        if wait is None:
            delivery.given_up = True
            on_given_up(delivery)
        else:
            self.deliver_at(self.clock.time() + wait, delivery, on_given_up, timers)


def _remove(timers: list[Timer], timer: Timer) -> bool:
    """Take a timer off a list, if no other thread has taken it back meanwhile."""
    try:
        timers.remove(timer)
    except ValueError:
        return False
    return True
