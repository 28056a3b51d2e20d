"""Playing over every transport, with a break at every point of a delivery, finds the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engagelab_mock import (
    EngageLab,
    Receiver,
    ScheduleFailed,
    StatusEvent,
    UsageError,
    converges,
    decode,
    exactly_once,
    idempotent,
)
from engagelab_mock.server.loopback import LoopbackServer
from tests.explore.books import Books, KeepsHalfBodies, NeverDedupes

INVARIANTS = [converges(), exactly_once("credits"), idempotent()]


@contextmanager
def wsgi(books: Books) -> Iterator[Receiver]:
    yield books.receiver


@contextmanager
def asgi(books: Books) -> Iterator[Receiver]:
    async def view(request: Request) -> Response:
        books.apply([row for row in decode(await request.body()).rows if isinstance(row, StatusEvent)])
        return Response()

    yield Receiver.asgi(Starlette(routes=[Route("/", view, methods=["POST"])]), observe=books.kept.get)


@contextmanager
def http(books: Books) -> Iterator[Receiver]:
    with LoopbackServer(books) as server:
        yield Receiver.http(server.url, observe=books.kept.get)


every_transport = pytest.mark.parametrize("serving", [wsgi, asgi, http])


@every_transport
def test_a_correct_receiver_passes_with_a_break_at_every_point(serving: Any) -> None:
    books = Books()
    with serving(books) as receiver, EngageLab(receiver) as engagelab:
        found = engagelab.explore(
            "delivered", ["plan", "sent", "verified"], invariants=INVARIANTS, faults="at-least-once", reset=books.reset
        )
    assert found.schedules == 2 * (6 + 36 + 72)
    # After each fault the callback is sent again.
    assert found.deliveries == 2 * (6 * 3 + 36 * 4 + 72 * 4)


POINTS = [("lost", False), ("cut", False), ("ackloss", True), ("5xx", True)]


@pytest.mark.parametrize(
    ("serving", "point", "found"),
    [
        *((serving, point, found) for serving in (wsgi, asgi, http) for point, found in POINTS),
        # On a socket, the server may run the handler before or after the retry.
        (wsgi, "reset", True),
        (asgi, "reset", True),
    ],
)
def test_a_repeated_effect_shows_only_after_the_commit(serving: Any, point: str, found: bool) -> None:
    books = NeverDedupes()
    with serving(books) as receiver, EngageLab(receiver) as engagelab:
        failures = engagelab.explore(
            ["plan", "sent", "verified"],
            invariants=[exactly_once("credits")],
            duplicates=0,
            faults=[point],
            reset=books.reset,
            check=False,
        ).failures
    assert [failure.token for failure in failures[:1]] == ([f"eg1:verified!{point}"] if found else [])


def test_a_receiver_that_keeps_half_a_body_fails_in_the_middle_of_it() -> None:
    books = KeepsHalfBodies()
    with EngageLab(books.receiver) as engagelab, pytest.raises(ScheduleFailed) as caught:
        engagelab.explore("delivered", invariants=[converges("half")], faults="at-least-once", reset=books.reset)
    assert caught.value.failure.token == "eg1:plan!cut"


def test_exploring_in_the_loop_of_the_test() -> None:
    async def explore() -> str:
        books = NeverDedupes()
        with asgi(books) as receiver, EngageLab(receiver) as engagelab:
            async with receiver.lifespan():
                with pytest.raises(ScheduleFailed) as caught:
                    await engagelab.aexplore("verified", invariants=[exactly_once("credits")], reset=books.reset)
        return str(caught.value.failure.token)

    assert asyncio.run(explore()) == "eg1:verified*2"


def test_a_fault_that_the_transport_cannot_express_is_refused() -> None:
    with EngageLab(Books().receiver) as engagelab:
        with pytest.raises(UsageError, match="the wsgi transport cannot send the fault 'chunked'"):
            engagelab.explore("delivered", faults=["chunked"])
        with pytest.raises(UsageError, match="this receiver's callbacks are not signed"):
            engagelab.play("eg1:plan!wrong_secret")


def test_time_passes_as_the_schedule_says() -> None:
    with EngageLab(Books().receiver) as engagelab:
        begun = engagelab.clock.time()
        played = engagelab.play("eg1:plan!ackloss,sent@+59s,delivered@+2s,verified")
        times = [(record.events[0], record.attempt.at - begun) for record in played.records]
    assert times == [("plan", 0), ("sent", 59), ("plan", 60), ("delivered", 61), ("verified", 61)]


def test_only_subscribed_events_are_sent() -> None:
    books = Books()
    receiver = books.receiver.with_settings(events=["sent", "verified"])
    with EngageLab(receiver) as engagelab:
        played = engagelab.play("eg1:plan,sent,plan+verified")
    assert [record.delivery.statuses for record in played.records] == [["sent"], ["verified"]]
    assert [record.events for record in played.records] == [("sent",), ("plan", "verified")]


def test_the_defaults_of_send_apply() -> None:
    defaults = {"to": "+6591234567", "template": "login", "channel": "whatsapp", "custom_args": {"order": 7}}
    with EngageLab(Books().receiver, defaults=defaults) as engagelab:
        played = engagelab.play("eg1:sent")
    [event] = played.records[0].delivery.events
    assert isinstance(event, StatusEvent)
    assert (event.to, event.custom_args) == ("+6591234567", {"order": 7})
    assert event.status.status_data.template_key == "login"
    assert event.status.status_data.current_send_channel == "whatsapp"


def test_given_events_replace_the_generated_ones() -> None:
    with EngageLab(Books().receiver) as engagelab:
        low = engagelab.account.notification("insufficient_balance", at=0)
        played = engagelab.play("eg1:plan,sent*2", events={"sent": low})
    assert engagelab.journal.statuses == ["plan", "insufficient_balance", "insufficient_balance"]
    assert played.acknowledged
