"""/_mock/clock: the time that EngageLab lives by."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from engagelab_mock.clock import VirtualClock
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.server.control.call import Call, answer, refused
from engagelab_mock.server.exchange import HttpAnswer
from engagelab_mock.service.rest.exchange import ApiError

#: How much of what is still to come is listed.
_LISTED = 100


Amount = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """Say by how much; the sum counts."""

    seconds: Amount = 0
    minutes: Amount = 0
    hours: Amount = 0
    days: Amount = 0


class Speed(msgspec.Struct, forbid_unknown_fields=True):
    """Say how many of its seconds pass in one of the machine's."""

    speed: Annotated[float, msgspec.Meta(gt=0, le=1e9)]


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """Stand for a body without any field."""


def read_clock(call: Call) -> HttpAnswer:
    """Answer with the time, how it passes, and what is still to come."""
    call.parameters()
    return _state(call)


def freeze(call: Call) -> HttpAnswer:
    """Let time stand still; a virtual clock does so anyway."""
    call.body(Nothing)
    if not _virtual(call):
        call.engagelab.clock.freeze()
    return _state(call)


def resume(call: Call) -> HttpAnswer:
    """Let time pass again."""
    call.body(Nothing)
    _live(call).resume()
    return _state(call)


def set_speed(call: Call) -> HttpAnswer:
    """Let time pass faster, or slower."""
    wanted = call.body(Speed).speed
    clock = _live(call)
    try:
        clock.speed = wanted
    except EngageLabMockError as error:
        raise refused(error) from None
    return _state(call)


def advance(call: Call) -> HttpAnswer:
    """Let time jump forward; on a virtual clock, what falls due is sent before the answer."""
    by = call.body(Advance)
    try:
        call.engagelab.let_pass(by.seconds + 60 * by.minutes + 3600 * by.hours + 86400 * by.days)
    except EngageLabMockError as error:
        raise refused(error) from None
    return _state(call)


def _virtual(call: Call) -> bool:
    return isinstance(call.engagelab.clock, VirtualClock)


def _live(call: Call) -> Any:
    if _virtual(call):
        hint = "POST /_mock/clock/advance moves it; engagelab-mock serve has a clock that runs"
        raise ApiError(3003, f"this clock is virtual: it stands still until it is advanced; {hint}", http_status=409)
    return call.engagelab.clock


def _state(call: Call) -> HttpAnswer:
    clock = call.engagelab.clock
    virtual = _virtual(call)
    pending = clock.pending
    return answer(
        {
            "kind": "virtual" if virtual else "live",
            "time": clock.time(),
            "frozen": virtual or bool(getattr(clock, "frozen", False)),
            "speed": None if virtual else getattr(clock, "speed", 1.0),
            "pending": len(pending),
            "next": [{"at": timer.when, "what": timer.label} for timer in pending[:_LISTED]],
        }
    )
