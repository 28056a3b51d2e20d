"""Address validation: ping a receiver as the console does, and set its state to normal or abnormal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.io import Io
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.receiver import Receiver, check_receivers
from engagelab_mock.delivery.render import not_acknowledged
from engagelab_mock.errors import EngageLabMockError, InvalidSettings, UnknownName
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.protocol.settings import fits_header

if TYPE_CHECKING:
    from engagelab_mock.service.engine import Engine

#: The content type of the ping: `curl -d ''`, the document's example, sends this one [?].
FORM = "application/x-www-form-urlencoded"
#: How often a receiver that is not up yet is tried, in seconds.
_POLL = 0.05
#: The bodies that the ping can have: the document's [S] and the newer pages' [D].
PINGS = {"empty": b"", "json": b"{}"}


async def validate(
    engine: Engine,
    io: Io,
    body: str | None = None,
    receiver: Receiver | None = None,
    *,
    signed: bool = False,
    content_type: str = FORM,
    check: bool | None = None,
) -> Delivery:
    """Ping a receiver, set its `state`, and return the delivery of the ping."""
    __tracebackhide__ = True
    try:
        if body is not None and body not in PINGS:
            raise UnknownName("ping body", body, PINGS, where="validate_address")
        if not fits_header(content_type):
            raise InvalidSettings(f"{content_type!r} cannot stand in a header", where="content_type")
        target = engine.receiver if receiver is None else receiver
    except EngageLabMockError as error:
        raise engine.refused(error) from None
    content = engine.dialect.ping if body is None else PINGS[body]
    delivery = Delivery(target, (), content, signed=signed, content_type=content_type)
    await engine.sender.attempt(io, delivery)
    target.state = "normal" if delivery.acknowledged else "abnormal"
    if engine.is_checked(check) and not delivery.acknowledged:
        raise not_acknowledged(delivery)
    return delivery


async def save(engine: Engine, io: Io, receiver: Receiver, *, signed: bool) -> Delivery:
    """Add a receiver unless it is already in the list, and validate its address."""
    __tracebackhide__ = True
    try:
        [checked] = check_receivers([receiver], where="save_receiver")
    except EngageLabMockError as error:
        raise engine.refused(error) from None
    if checked not in engine.receivers:
        engine.receivers.append(checked)
    return await validate(engine, io, None, checked, signed=signed, check=False)


async def refresh(engine: Engine, io: Io, *, signed: bool) -> list[Delivery]:
    """Validate every receiver's address again."""
    return [
        await validate(engine, io, None, receiver, signed=signed, check=False) for receiver in list(engine.receivers)
    ]


def why_unreachable(reach: Callable[[], Attempt], wait: float = 0.0) -> str:
    """Return why no request reaches a receiver, after waiting up to `wait` seconds; empty if one reaches it.

    `reach` sends a request. A bad certificate is not waited for: it does not become better.
    """
    end = stopwatch() + check_delay(wait, where="wait")
    while True:
        attempt = reach()
        if not attempt.outcome.unreachable or attempt.outcome is Outcome.TLS_FAILURE:
            return ""
        if stopwatch() >= end:
            return attempt.error
        time.sleep(_POLL)
