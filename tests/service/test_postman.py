"""The postman: what is due goes out by itself, in order, and no receiver holds up another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from engagelab_mock import EngageLab, LiveClock, Message, Outcome, Receiver, Recorder, RetryPolicy, UsageError
from engagelab_mock.delivery.schedule import Planned
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.service.postman import Postman

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PATIENCE = 10.0
#: So fast that no scenario takes a second, and so slow that one message's callbacks are not all due at once.
SPEED = 1000.0


class Endpoint:
    """A receiver on a socket that can be made to hold its answers back."""

    def __init__(self, name: str, *, status: int = 200) -> None:
        self.recorder = Recorder(answer=status)
        self.go_on = threading.Event()
        self.go_on.set()
        self.server = LoopbackServer(self._app)
        self.receiver = Receiver.http(f"{self.server.url}/{name}", description=name)

    def _app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.go_on.wait(PATIENCE)
        return self.recorder(environ, start_response)

    @property
    def statuses(self) -> list[str]:
        return [event.name for received in self.recorder.received for event in received.events]


Make = Callable[..., Endpoint]


@pytest.fixture
def endpoint() -> Iterator[Make]:
    with ExitStack() as stack:

        def make(name: str, *, status: int = 200) -> Endpoint:
            made = Endpoint(name, status=status)
            stack.enter_context(made.server)
            stack.callback(made.receiver.close)
            stack.callback(made.go_on.set)
            return made

        yield make


def live(*endpoints: Endpoint, **options: object) -> EngageLab:
    receivers = [endpoint.receiver for endpoint in endpoints]
    return EngageLab(receivers, clock=LiveClock(SPEED), code_ttl=None, defaults={"check": False, **options})


def accept(engagelab: EngageLab, to: str = "+6591234567") -> None:
    """Put a message's callbacks on the clock, and wait for none of them."""
    message = Message(id=to, to=to)
    now = engagelab.clock.time()
    play = engagelab.begin({}, message.id)
    play.plan(
        Planned(now + later, (message.event(status, at=int(now)),))
        for later, status in enumerate(("plan", "sent", "delivered"))
    )


def test_what_is_due_goes_out_by_itself_in_order(endpoint: Make) -> None:
    mine = endpoint("mine")
    with live(mine) as engagelab, Postman(engagelab):
        accept(engagelab)
        engagelab.journal.wait_for(status="delivered", timeout=PATIENCE)
    assert mine.statuses == ["plan", "sent", "delivered"]


def test_who_sends_waits_until_the_postman_has_seen_it_through(endpoint: Make) -> None:
    mine = endpoint("mine")
    with live(mine) as engagelab, Postman(engagelab):
        run = engagelab.send("+6591234567")
        assert run.acknowledged
    assert mine.statuses == ["plan", "sent", "delivered", "verified"]


@pytest.mark.asyncio
async def test_so_does_who_awaits(endpoint: Make) -> None:
    mine = endpoint("mine")
    with live(mine) as engagelab, Postman(engagelab):
        run = await engagelab.asend("+6591234567")
    assert run.acknowledged
    assert mine.statuses == ["plan", "sent", "delivered", "verified"]


def test_a_slow_receiver_holds_up_nobody_else(endpoint: Make) -> None:
    slow, quick = endpoint("slow"), endpoint("quick")
    slow.go_on.clear()
    with live(slow, quick) as engagelab, Postman(engagelab, abreast=2):
        for number in range(10):
            accept(engagelab, f"+659123456{number}")
        for number in range(10):
            to = f"+659123456{number}"
            engagelab.journal.wait_for(status="delivered", to=to, receiver=quick.receiver, timeout=PATIENCE)
        assert slow.statuses == []
        slow.go_on.set()
        for number in range(10):
            to = f"+659123456{number}"
            engagelab.journal.wait_for(status="delivered", to=to, receiver=slow.receiver, timeout=PATIENCE)
    for number in range(10):
        mine = slow.recorder.received
        names = [e.name for got in mine for e in got.events if getattr(e, "to", "") == f"+659123456{number}"]
        assert names == ["plan", "sent", "delivered"]


def test_what_is_not_acknowledged_is_tried_again_and_ends_nothing(endpoint: Make) -> None:
    failing = endpoint("failing", status=500)
    with live(failing, retry=RetryPolicy((5.0, 10.0))) as engagelab, Postman(engagelab):
        run = engagelab.send("+6591234567", scenario=["plan", "sent"])
    assert [[attempt.outcome for attempt in delivery.attempts] for delivery in run.deliveries] == [
        [Outcome.NOT_200] * 3,
        [Outcome.NOT_200] * 3,
    ]
    assert all(delivery.given_up for delivery in run.deliveries)


def test_what_goes_wrong_is_in_the_journal_and_ends_nothing(endpoint: Make) -> None:
    mine = endpoint("mine")
    with live(mine) as engagelab, Postman(engagelab):
        engagelab.clock.call_at(0, lambda: 1 / 0)
        accept(engagelab)
        engagelab.journal.wait_for(status="delivered", timeout=PATIENCE)
        (refusal,) = engagelab.journal.refusals
    assert "Postman: ZeroDivisionError: division by zero" in str(refusal)


def test_stopped_it_sends_nothing_more_and_leaves_the_rest(endpoint: Make) -> None:
    mine = endpoint("mine")
    mine.go_on.clear()
    with live(mine) as engagelab:
        postman = Postman(engagelab).start()
        accept(engagelab)
        accept(engagelab, "+6591234568")
        engagelab.clock.freeze()
        assert not postman.stop(grace=0)
        mine.go_on.set()
        assert postman.stop()
        engagelab.clock.resume()
        with pytest.raises(UsageError, match="stopped and cannot start again"):
            postman.start()
    assert len(mine.statuses) < 6
