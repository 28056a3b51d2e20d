"""Awaiting: the same verbs in the test's own event loop, of asyncio and of trio."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import TYPE_CHECKING, Any

import pytest
import trio
from fastapi import FastAPI, Request

from engagelab_mock import (
    EngageLab,
    Journal,
    Outcome,
    Receiver,
    SystemClock,
    VirtualClock,
)
from tests.eventloops import START, answering, asgi
from tests.patience import PATIENCE
from tests.peers import Peer, answer
from tests.peers import answering as wire_answering
from tests.real.conftest import SCENARIOS
from tests.real.fastapi_receiver import FastAPIReceiver

if TYPE_CHECKING:
    from collections.abc import Callable


def told(engagelab: EngageLab) -> list[Any]:
    """Return the parts of the journal that do not depend on the machine's speed or the wall clock."""
    return [
        (
            delivery.statuses,
            delivery.body,
            delivery.message_id,
            delivery.given_up,
            [
                (
                    attempt.number,
                    attempt.at,
                    attempt.outcome,
                    attempt.response and attempt.response.status,
                    attempt.callback.headers.get("X-CALLBACK-ID", "").partition(";nonce=")[2].partition(";")[0],
                )
                for attempt in delivery.attempts
            ],
        )
        for delivery in engagelab.journal.deliveries
    ]


class Flaky:
    """A FastAPI app that verifies nothing and answers 503 to the first tries of everything."""

    def __init__(self, failures: int) -> None:
        self.app = FastAPI()
        self.app.post("/engagelab")(self._view)
        self._failures = failures
        self._tries: dict[bytes, int] = {}

    async def _view(self, request: Request) -> Any:
        from fastapi import Response

        body = await request.body()
        self._tries[body] = self._tries.get(body, 0) + 1
        return Response(status_code=503 if self._tries[body] <= self._failures else 200)


# ---- the same journal ----


def exercise(engagelab: EngageLab, scenario: str, retry: list[float]) -> None:
    engagelab.send("+6591234567", scenario=scenario, retry=retry)
    engagelab.notify("insufficient_balance", retry=retry)
    engagelab.uplink("+6591234567", body="STOP", retry=retry)
    engagelab.system_event("account_login", retry=retry)
    engagelab.validate_address()
    with engagelab.batch(retry=retry):
        engagelab.send("user@example.com", scenario=scenario)
    engagelab.deliver(engagelab.journal.events[:1], retry=retry)
    engagelab.clock.advance(minutes=10)


async def aexercise(engagelab: EngageLab, scenario: str, retry: list[float]) -> None:
    await engagelab.asend("+6591234567", scenario=scenario, retry=retry)
    await engagelab.anotify("insufficient_balance", retry=retry)
    await engagelab.auplink("+6591234567", body="STOP", retry=retry)
    await engagelab.asystem_event("account_login", retry=retry)
    await engagelab.avalidate_address()
    async with engagelab.batch(retry=retry):
        await engagelab.asend("user@example.com", scenario=scenario)
    await engagelab.adeliver(engagelab.journal.events[:1], retry=retry)
    await engagelab.clock.aadvance(minutes=10)


async def awaited(backend: Callable[[], Receiver], scenario: str, retry: list[float]) -> list[Any]:
    with EngageLab(backend(), clock=VirtualClock(START), seed=7, nonce_seed=7, defaults={"check": False}) as engagelab:
        await aexercise(engagelab, scenario, retry)
        return told(engagelab)


@pytest.mark.parametrize("retry", [[], [10], [10, 400]], ids=["no retry", "one retry", "two retries"])
@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_a_journal_is_the_same_blocking_and_awaiting(scenario: str, retry: list[float]) -> None:
    def receiver() -> Receiver:
        return asgi(Flaky(2).app)

    with EngageLab(receiver(), clock=VirtualClock(START), seed=7, nonce_seed=7, defaults={"check": False}) as engagelab:
        exercise(engagelab, scenario, retry)
        blocking = told(engagelab)
    assert asyncio.run(awaited(receiver, scenario, retry)) == blocking
    assert trio.run(awaited, receiver, scenario, retry) == blocking
    given_up = [delivery[3] for delivery in blocking if delivery[0] not in ([], ["verified_timeout"])]
    assert (True in given_up) == (len(retry) < 2)
    attempts = [attempt for *_, tries in blocking for attempt in tries]
    assert {attempt[2] for attempt in attempts} <= {Outcome.NOT_200, Outcome.ACKNOWLEDGED}


@pytest.mark.anyio
async def test_a_real_app_takes_every_scenario(scenario: str, statuses: list[str]) -> None:
    fastapi = FastAPIReceiver()
    with EngageLab(asgi(fastapi.app)) as engagelab:
        run = await engagelab.asend("+6591234567", scenario=scenario)
    assert run.acknowledged
    assert run.statuses == fastapi.statuses == statuses


@pytest.fixture(params=sorted(SCENARIOS))
def scenario(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def statuses(scenario: str) -> list[str]:
    return SCENARIOS[scenario]


# ---- every verb has its twin ----

#: The verbs that advance the clock or send something, each with its async twin.
TWINS = {
    EngageLab: ["send", "send_many", "notify", "uplink", "system_event", "deliver", "validate_address"],
    VirtualClock: ["advance", "advance_to", "run_next"],
    SystemClock: ["run_next"],
}
#: Public methods that neither wait nor send.
ALONE = {
    *(
        "tape",
        "close",
        "batch",
        "begin",
        "begin_in",
        "begin_batch",
        "begin_send",
        "employ",
        "is_checked",
        "see_through",
    ),
    *("move_to", "adopt_play", "inbox_as_it_is", "let_pass", "raise_late", "reset", "rule", "work_off"),
}


def blocking_verbs(kind: type) -> list[str]:
    """Return the public methods of the engine that are neither a coroutine function nor known to send nothing."""
    return [
        name
        for name, member in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and not inspect.iscoroutinefunction(member) and name not in ALONE
    ]


@pytest.mark.parametrize("kind", TWINS)
def test_every_blocking_verb_has_an_async_twin_with_the_same_parameters(kind: type) -> None:
    verbs = blocking_verbs(kind) if kind is EngageLab else TWINS[kind]
    assert set(TWINS[kind]) <= set(verbs)
    for verb in verbs:
        twin = getattr(kind, f"a{verb}")
        assert inspect.iscoroutinefunction(twin), verb
        assert inspect.signature(twin).parameters == inspect.signature(getattr(kind, verb)).parameters


def test_waiting_for_the_journal_and_the_batch_have_theirs() -> None:
    waits = [inspect.signature(verb).parameters for verb in (Journal.wait_for, Journal.await_for)]
    assert waits[0] == waits[1]
    batch = EngageLab().batch()
    assert isinstance(batch, contextlib.AbstractContextManager)
    assert isinstance(batch, contextlib.AbstractAsyncContextManager)


@pytest.mark.asyncio
async def test_pytest_asyncio_in_strict_mode() -> None:
    with Peer(wire_answering(*[answer()] * 4)) as peer, EngageLab(Receiver.http(peer.url, limit=PATIENCE)) as engagelab:
        assert (await engagelab.asend("+6591234567")).acknowledged
    with EngageLab(asgi(answering(before=lambda: asyncio.sleep(0)))) as engagelab:
        first, second = await asyncio.gather(
            engagelab.anotify("insufficient_balance"), engagelab.auplink("+6591234567", body="STOP")
        )
    assert (first[0].statuses, second[0].statuses) == (["insufficient_balance"], ["uplink_message"])
