"""See deliveries through: send when their time comes, retry by their policy, close them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from engagelab_mock.clock import Clock, Timer
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.pace import AWAITING, BLOCKING, Pace, drive
from engagelab_mock.delivery.sender import Sender

#: Something to do when its time comes, in either pace.
Program = Callable[[Pace], Coroutine[Any, Any, None]]


class Dispatcher:
    """Put programs on the clock and attempts through the one sender.

    `on_given_up` is called with a delivery that was not acknowledged and will not be tried again; what it raises
    reaches whoever let the time pass.
    """

    def __init__(self, clock: Clock, sender: Sender) -> None:
        self._clock = clock
        self._sender = sender

    def at(self, when: float, program: Program, *, label: str) -> Timer:
        """Run a program at a Unix time."""

        def action() -> None:
            __tracebackhide__ = True
            drive(program(BLOCKING))

        return self._clock.call_at(when, action, label=label, aaction=lambda: program(AWAITING))

    async def deliver(self, pace: Pace, delivery: Delivery, on_given_up: Callable[[Delivery], object]) -> None:
        """Make the delivery's next attempt; if it fails, put the one after on the clock or give up."""
        __tracebackhide__ = True
        attempt = await self._sender.attempt(pace, delivery)
        if attempt.acknowledged:
            return
        wait = delivery.retry.wait_after(attempt.number)
        if wait is None:
            delivery.given_up = True
            on_given_up(delivery)
            return

        async def again(later: Pace) -> None:
            __tracebackhide__ = True
            await self.deliver(later, delivery, on_given_up)

        names = ", ".join(delivery.statuses)
        self.at(self._clock.time() + wait, again, label=f"attempt {attempt.number + 1} of {names}")
