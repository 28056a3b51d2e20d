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
        self.clock = clock
        self._sender = sender

    def at(self, when: float, program: Program, *, label: str) -> Timer:
        """Run a program at a Unix time."""

        def action() -> None:
            __tracebackhide__ = True
            drive(program(BLOCKING))

        return self.clock.call_at(when, action, label=label, aaction=lambda: program(AWAITING))

    async def deliver(
        self,
        pace: Pace,
        delivery: Delivery,
        on_given_up: Callable[[Delivery], object],
        timers: list[Timer],
    ) -> None:
        """Make the delivery's next attempt; if it fails, put the one after on the clock or give up.

        What is on the clock is in `timers`, too, so that it can be taken back.
        """
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
            timers.remove(timer)
            await self.deliver(later, delivery, on_given_up, timers)

        names = ", ".join(delivery.statuses)
        whose = delivery.message_id or "the account"
        label = f"attempt {attempt.number + 1} of {names} of {whose}"
        timer = self.at(self.clock.time() + wait, again, label=label)
        timers.append(timer)
