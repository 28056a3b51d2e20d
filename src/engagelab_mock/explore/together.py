"""Deliver several callbacks at the same time to an app in this process, whose handlers stop at their switch points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.errors import UsageError
from engagelab_mock.eventloop import in_trio, to_thread
from engagelab_mock.explore.interleave import Handler, run_in_threads
from engagelab_mock.explore.orders import Trace
from engagelab_mock.explore.switchpoints import SwitchPoints

if TYPE_CHECKING:
    from engagelab_mock.delivery.model import Delivery, Response
    from engagelab_mock.delivery.sender import Sender
    from engagelab_mock.delivery.transport import Transport
    from engagelab_mock.delivery.transport.wire import Wire
    from engagelab_mock.protocol.callback import Callback


class _Watched:
    """Call the app as its transport does, without a time limit, and let its handler stop at the switch points."""

    def __init__(self, inner: Transport, handler: Handler, points: SwitchPoints) -> None:
        self.name = inner.name
        self.address = inner.address
        self._inner = inner
        self._handler = handler
        self._points = points

    def exchange(self, callback: Callback, limit: float | None, wire: Wire | None = None) -> Response:
        answer: Response = self._handler.watched(lambda: self._inner.exchange(callback, None, wire), self._points)
        return answer


def reached_by(receiver: Receiver, transport: Any, limit: float | None = None) -> Receiver:
    """Return a receiver with the same settings and another transport, which may answer at any time without a limit.

    >>> reached_by(Receiver.recording(), Receiver.recording().transport).limit is None
    True
    """
    clock, skew = receiver.signature_clock, receiver.skew
    return Receiver(transport, receiver.settings, limit=limit, signature_clock=clock, skew=skew)


async def deliver_together(
    io: Io,
    sender: Sender,
    deliveries: Sequence[tuple[str, Delivery]],
    points: SwitchPoints,
    order: str,
    *,
    strict: bool,
) -> Trace:
    """Attempt several deliveries, each with its name, in handlers that run at the same time in an order."""
    receiver = deliveries[0][1].receiver
    check_in_process(receiver)

    def attempt(delivery: Delivery, handler: Handler) -> None:
        delivery.receiver = reached_by(receiver, _Watched(receiver.transport, handler, points))
        try:
            run_sync(sender.attempt(SYNC, delivery))
        finally:
            delivery.receiver = receiver

    if receiver.transport.name == "asgi":
        return await _in_one_loop(io, sender, deliveries, points, order, strict=strict)
    jobs = [(name, partial(attempt, delivery)) for name, delivery in deliveries]
    if io is SYNC:
        return run_in_threads(jobs, order, strict=strict)
    return await to_thread(run_in_threads, jobs, order, strict=strict)


async def _in_one_loop(
    io: Io,
    sender: Sender,
    deliveries: Sequence[tuple[str, Delivery]],
    points: SwitchPoints,
    order: str,
    *,
    strict: bool,
) -> Trace:
    from engagelab_mock.explore.loops import run_in_loop  # only ASGI apps need it

    if in_trio():
        hint = "run this test in asyncio"
        raise UsageError("handlers are ordered in the event loop of asyncio only", where="concurrent", hint=hint)
    receiver = deliveries[0][1].receiver
    transport: Any = receiver.transport
    unlimited = reached_by(receiver, transport)
    for _, delivery in deliveries:
        delivery.receiver = unlimited
    try:
        jobs = [(name, partial(sender.attempt, ASYNC, delivery)) for name, delivery in deliveries]
        program = run_in_loop(transport, jobs, points, order, strict=strict)
        trace: Trace = await program if io is ASYNC else transport.run(program)
        return trace
    finally:
        for _, delivery in deliveries:
            delivery.receiver = receiver


def check_in_process(receiver: Receiver, *, where: str = "concurrent") -> None:
    """Raise `UsageError` for a receiver whose handlers cannot be stopped."""
    if receiver.transport.name == "http":
        raise UsageError(
            "the handlers run in another process, which cannot be stopped at its switch points",
            where=where,
            hint="give the app itself: Receiver.wsgi(app, …) or Receiver.asgi(app, …)",
        )
    if where == "concurrent":
        receiver.check_threads()


def check_no_order(order: str) -> None:
    """Raise `UsageError` if handlers in another process are to run in an order.

    >>> check_no_order("")
    """
    if order:
        raise UsageError(
            f"the order {order!r} cannot be followed: the handlers run in another process",
            where="token",
            hint="leave the order out, as in 'plan|plan': then both are sent at the same time, many times",
        )
