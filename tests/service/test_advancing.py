"""Moving the clock delivers callbacks that were accepted before, fall due, or are accepted meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest

from engagelab_mock import EngageLab, InvalidDelay, NotAcknowledged, Receiver, VirtualClock
from tests.eventloops import answering
from tests.patience import PATIENCE
from tests.service.app import SENT, App, in_threads
from tests.service.rest.client import TO, Client

OTHER = "+6591234568"
#: How long a code is valid, and how long after it was accepted a message is delivered, in seconds.
TTL, DELIVERED = 300, 5

MOVES: dict[str, Callable[[Any, float], float]] = {
    "advance": lambda clock, seconds: clock.advance(seconds),
    "advance in minutes": lambda clock, seconds: clock.advance(minutes=seconds / 60),
    "advance_to": lambda clock, seconds: clock.advance_to(clock.time() + seconds),
    "sleep": lambda clock, seconds: clock.sleep(seconds),
}
AMOVES: dict[str, Callable[[Any, float], Awaitable[float]]] = {
    "aadvance": lambda clock, seconds: clock.aadvance(seconds),
    "aadvance_to": lambda clock, seconds: clock.aadvance_to(clock.time() + seconds),
}


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def engagelab(app: App) -> Iterator[EngageLab]:
    with EngageLab(Receiver.wsgi(app), clock=VirtualClock(0), code_ttl=TTL) as engagelab:
        yield engagelab


@pytest.mark.parametrize("move", MOVES)
def test_a_message_accepted_before_goes_out_at_its_own_time(app: App, engagelab: EngageLab, move: str) -> None:
    times: list[float] = []
    app.handle = lambda status: times.append(engagelab.clock.time())
    Client(engagelab).sent()
    engagelab.begin_send(OTHER, scenario="delivered")
    MOVES[move](engagelab.clock, 1)
    assert app.statuses == ["plan", "plan", "sent", "sent", "delivered", "delivered"]
    assert times == [0, 0, 2, 2, DELIVERED, DELIVERED]
    # Seconds are added to the time that those callbacks led to; a moment that is past by then moves nothing.
    assert engagelab.clock.time() == (DELIVERED if move in {"advance_to", "sleep"} else DELIVERED + 1)


@pytest.mark.parametrize("move", MOVES)
def test_a_message_accepted_while_the_clock_moves_goes_out_before_the_move_returns(
    app: App, engagelab: EngageLab, move: str
) -> None:
    """The app asks for another code when one has expired; its last callbacks are due after the moment moved to."""
    client = Client(engagelab)
    ids = [client.sent()]
    engagelab.settle()
    app.handle = lambda status: ids.append(client.sent(OTHER)) if status == "verified_timeout" else None
    MOVES[move](engagelab.clock, TTL - DELIVERED)
    assert app.of(ids[0]) == [*SENT, "verified_timeout"]
    assert app.of(ids[1]) == SENT
    assert engagelab.clock.time() == TTL + DELIVERED


def test_a_move_returns_the_time_that_those_callbacks_led_to(app: App, engagelab: EngageLab) -> None:
    client = Client(engagelab)
    client.sent()
    engagelab.settle()
    app.handle = lambda status: client.sent(OTHER) if status == "verified_timeout" else None
    assert engagelab.clock.advance(TTL - DELIVERED) == TTL + DELIVERED
    assert engagelab.clock.advance(0) == TTL + DELIVERED


def test_a_message_accepted_early_in_a_long_move_goes_out_at_its_own_time(app: App, engagelab: EngageLab) -> None:
    client = Client(engagelab)
    client.sent()
    engagelab.settle()
    times: list[float] = []

    def handle(status: str) -> None:
        times.append(engagelab.clock.time())
        if status == "verified_timeout" and len(times) == 1:
            client.sent(OTHER)

    app.handle = handle
    engagelab.clock.advance(3600)
    assert times == [TTL, TTL, TTL + 2, TTL + DELIVERED, 2 * TTL]
    assert engagelab.clock.time() == DELIVERED + 3600


@pytest.mark.parametrize("move", MOVES)
def test_a_failure_meanwhile_is_raised_once_by_the_move(app: App, engagelab: EngageLab, move: str) -> None:
    client = Client(engagelab)
    client.sent()
    engagelab.settle()

    def handle(status: str) -> None:
        if status == "verified_timeout":
            client.sent(OTHER)
        app.status = "500 Oops" if status == "sent" else "200 OK"

    app.handle = handle
    with pytest.raises(NotAcknowledged, match="sent was not acknowledged"):
        MOVES[move](engagelab.clock, TTL - DELIVERED)
    engagelab.settle()
    assert app.statuses == [*SENT, "verified_timeout", "plan", "sent"]


def test_a_failure_of_an_earlier_message_is_raised_before_the_clock_moves(app: App, engagelab: EngageLab) -> None:
    app.status = "500 Oops"
    Client(engagelab).sent()
    with pytest.raises(NotAcknowledged, match="plan"):
        engagelab.clock.advance(60)
    assert engagelab.clock.time() == 0
    assert engagelab.clock.advance(60) == 60


def test_a_move_that_is_refused_settles_nothing(app: App, engagelab: EngageLab) -> None:
    engagelab.begin_send(TO, scenario="delivered")
    with pytest.raises(InvalidDelay):
        engagelab.clock.advance(-1)
    assert app.statuses == []


def test_retries_go_out_in_a_move_at_their_times(app: App, engagelab: EngageLab) -> None:
    run = engagelab.send(scenario="delivered", retry=[60, 600])
    app.status = "503 Busy"
    engagelab.clock.advance_to(TTL + 61)
    app.status = "200 OK"
    assert engagelab.clock.advance(hours=1) == TTL + 61 + 3600
    assert [attempt.at for attempt in run.deliveries[-1].attempts] == [TTL, TTL + 60, TTL + 660]
    assert run.acknowledged


def test_two_threads_that_move_the_clock_add_up(app: App, engagelab: EngageLab) -> None:
    Client(engagelab).sent()
    engagelab.settle()
    before = engagelab.clock.time()
    in_threads(*[lambda: [engagelab.clock.advance(1) for _ in range(25)]] * 4)
    assert engagelab.clock.time() == before + 100


@pytest.mark.anyio
@pytest.mark.parametrize("move", AMOVES)
async def test_a_message_accepted_before_an_async_move_goes_out(move: str) -> None:
    with EngageLab(Receiver.asgi(answering()), clock=VirtualClock(0)) as engagelab:
        run = engagelab.begin_send(OTHER, scenario="delivered")
        await AMOVES[move](engagelab.clock, 1)
        assert run.statuses == SENT
        assert engagelab.clock.time() == (DELIVERED if move == "aadvance_to" else DELIVERED + 1)


@pytest.mark.anyio
@pytest.mark.parametrize("move", AMOVES)
async def test_the_async_twins_do_the_same(move: str) -> None:
    statuses: list[str] = []
    times: list[float] = []

    async def before() -> None:
        times.append(engagelab.clock.time())
        if len(times) == 4:
            client.sent(OTHER)

    with EngageLab(Receiver.asgi(answering(before=before)), clock=VirtualClock(0), code_ttl=TTL) as engagelab:
        client = Client(engagelab)
        client.sent()
        await engagelab.asettle()
        with anyio.fail_after(PATIENCE):
            moved = await AMOVES[move](engagelab.clock, TTL - DELIVERED)
        # Nothing has settled since.
        assert times == [0, 2, DELIVERED, TTL, TTL, TTL + 2, TTL + DELIVERED]
        assert moved == engagelab.clock.time() == TTL + DELIVERED
        statuses = engagelab.journal.statuses
    assert statuses == [*SENT, "verified_timeout", *SENT]


@pytest.mark.anyio
async def test_a_failure_meanwhile_is_raised_by_the_async_move() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        calls.append(1)
        if len(calls) == 4:
            client.sent(OTHER)
        await send({"type": "http.response.start", "status": 500 if len(calls) == 6 else 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    calls: list[int] = []
    with EngageLab(Receiver.asgi(app), clock=VirtualClock(0), code_ttl=TTL) as engagelab:
        client = Client(engagelab)
        client.sent()
        await engagelab.asettle()
        with pytest.raises(NotAcknowledged, match="sent was not acknowledged"):
            await engagelab.clock.aadvance(TTL - DELIVERED)
        await engagelab.asettle()
        assert len(calls) == 6
