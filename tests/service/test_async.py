"""Awaiting: the same verbs in the test's own event loop, of asyncio and of trio."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from fastapi import FastAPI, Request

from engagelab_mock import (
    EngageLab,
    EngageLabMockError,
    Journal,
    NotAcknowledged,
    Outcome,
    Receiver,
    Recorder,
    SystemClock,
    UsageError,
    VirtualClock,
    fault,
)
from engagelab_mock.errors import InvalidDelay
from tests.eventloops import answering
from tests.peers import Peer, answer
from tests.peers import answering as wire_answering
from tests.real.conftest import SCENARIOS
from tests.real.fastapi_receiver import FastAPIReceiver

if TYPE_CHECKING:
    from collections.abc import Callable

START = 1_700_000_000
#: Long enough for anything here, in seconds; then a test is stuck.
PATIENCE = 10


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def told(engagelab: EngageLab) -> list[Any]:
    """Return what the journal says that does not depend on the machine's speed or the wall clock."""
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


def asgi(app: Any, **settings: Any) -> Receiver:
    return Receiver.asgi(app, "/engagelab", username="acme", secret="s3cret", **settings)


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
    with EngageLab(backend(), clock=VirtualClock(START), seed=7, defaults={"check": False}) as engagelab:
        await aexercise(engagelab, scenario, retry)
        return told(engagelab)


@pytest.mark.parametrize("retry", [[], [10], [10, 400]], ids=["no retry", "one retry", "two retries"])
@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_a_journal_is_the_same_blocking_and_awaiting(scenario: str, retry: list[float]) -> None:
    def receiver() -> Receiver:
        return asgi(Flaky(2).app)

    with EngageLab(receiver(), clock=VirtualClock(START), seed=7, defaults={"check": False}) as engagelab:
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

#: What lets time pass or puts something on the wire, and what has it awaited.
TWINS = {
    EngageLab: ["send", "send_many", "notify", "uplink", "system_event", "deliver", "validate_address"],
    VirtualClock: ["advance", "advance_to", "run_next"],
    SystemClock: ["run_next"],
}
#: Public methods that neither wait nor send.
ALONE = {"close", "batch", "begin", "begin_batch", "is_checked", "see_through", "move_to"}


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


# ---- by each transport ----


@pytest.mark.anyio
async def test_over_a_socket_the_loop_stays_free() -> None:
    answered: list[str] = []
    may_answer = threading.Event()

    def script(conversation: Any) -> None:
        conversation.request()
        assert may_answer.wait(PATIENCE)
        conversation.say(answer())

    with Peer(script) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        async with anyio.create_task_group() as group:

            async def send() -> None:
                assert (await engagelab.asend(scenario=["plan"])).acknowledged
                answered.append("plan")

            group.start_soon(send)
            while not peer.requests:
                await anyio.sleep(0)  # the loop runs while the receiver takes its time
            assert answered == []
            may_answer.set()
    assert answered == ["plan"]


@pytest.mark.anyio
async def test_over_a_socket_a_failure_is_raised_at_the_await() -> None:
    with EngageLab(Receiver.http("http://127.0.0.1:1/")) as engagelab:
        with pytest.raises(NotAcknowledged, match="connection refused"):
            await engagelab.asend("+6591234567")
        assert engagelab.pending == []


@pytest.mark.anyio
async def test_many_at_once() -> None:
    under_way, most = 0, 0

    async def before() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await anyio.sleep(0)
        under_way -= 1

    with EngageLab(asgi(answering(before=before))) as engagelab:
        runs = await engagelab.asend_many(20, scenario="delivered", concurrency=5)
    assert len(runs) == 20
    assert all(run.acknowledged for run in runs)
    assert 1 < most <= 5


@pytest.mark.anyio
async def test_duplicates_arrive_at_once() -> None:
    together = 0
    arrived = anyio.Event()

    async def before() -> None:
        nonlocal together
        together += 1
        if together == 3:
            arrived.set()
        await arrived.wait()

    with EngageLab(asgi(answering(before=before))) as engagelab:
        run = await engagelab.asend(scenario=["plan"], fault=fault("duplicate", copies=3))
    assert [attempt.acknowledged for attempt in run.deliveries[0].attempts] == [True] * 3


@pytest.mark.anyio
async def test_an_app_that_hangs_is_a_timeout_and_one_that_raises_is_seen() -> None:
    async def hang() -> None:
        await anyio.sleep(3600)

    async def fail() -> None:
        await anyio.sleep(0)
        raise LookupError("no such message")

    with EngageLab(asgi(answering(before=hang), limit=0.1)) as engagelab:
        with pytest.raises(NotAcknowledged, match=r"no complete answer within 0\.1 s") as caught:
            await engagelab.asend("+6591234567")
        assert caught.value.delivery.outcome is Outcome.TIMEOUT
    with (
        EngageLab(asgi(answering(before=fail))) as engagelab,
        pytest.raises(NotAcknowledged, match="the app raised LookupError: no such message"),
    ):
        await engagelab.asend("+6591234567")


@pytest.mark.anyio
async def test_an_apps_own_cancel_scopes_are_left_in_order() -> None:
    async def before() -> None:
        with anyio.move_on_after(0.01):
            await anyio.sleep(3600)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)

    with EngageLab(asgi(answering(before=before))) as engagelab:
        assert (await engagelab.asend("+6591234567")).acknowledged


@pytest.mark.anyio
async def test_a_sync_endpoint_runs_in_the_frameworks_threads() -> None:
    app = FastAPI()
    threads: list[threading.Thread] = []

    @app.post("/engagelab")
    def view() -> None:
        threads.append(threading.current_thread())

    with EngageLab(asgi(app)) as engagelab:
        assert (await engagelab.asend(scenario=["plan"])).acknowledged
    assert threads[0] is not threading.current_thread()


@pytest.mark.anyio
async def test_real_time_leaves_the_loop_free() -> None:
    ticks: list[int] = []
    with EngageLab(asgi(answering()), clock=SystemClock(speed=100)) as engagelab:
        async with anyio.create_task_group() as group:

            async def tick() -> None:
                while True:
                    ticks.append(1)
                    await anyio.sleep(0.001)

            group.start_soon(tick)
            run = await engagelab.asend("+6591234567", scenario="delivered")  # 5 s
            group.cancel_scope.cancel()
    assert run.acknowledged
    after = [delivery.attempts[0].at - run.message.accepted for delivery in run.deliveries]
    assert all(waited >= due for waited, due in zip(after, [0, 2, 5], strict=True))
    assert len(ticks) > 3


# ---- the journal ----


@pytest.mark.anyio
async def test_the_journal_is_awaited_while_another_task_sends() -> None:
    with EngageLab(asgi(answering())) as engagelab:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: engagelab.asend("+6591234567"))
            delivery = await engagelab.journal.await_for(status="verified", timeout=PATIENCE)
    assert delivery.statuses == ["verified"]
    assert engagelab.journal.listeners == []


@pytest.mark.anyio
async def test_the_journal_is_awaited_while_another_thread_sends() -> None:
    with EngageLab() as engagelab:
        thread = threading.Timer(0.02, engagelab.send)
        thread.start()
        await engagelab.journal.await_for(status="verified", timeout=PATIENCE)
        thread.join()


@pytest.mark.anyio
async def test_what_never_comes_to_the_journal_fails_with_its_table() -> None:
    with EngageLab() as engagelab:
        await engagelab.asend("+6591234567", scenario=["plan"])
        with pytest.raises(
            AssertionError, match=r"(?s)no acknowledged delivery with status='sent' within 0\.02 s.*plan"
        ):
            await engagelab.journal.await_for(status="sent", timeout=0.02)
        with anyio.move_on_after(0.02) as scope:
            await engagelab.journal.await_for(status="sent", timeout=3600)
        assert scope.cancelled_caught  # at once: nothing is left that waits for an hour
        assert engagelab.journal.listeners == []


# ---- several in one loop ----


class Moments:
    """An app that yields to its loop, and notes at which virtual time each status arrived."""

    def __init__(self, refused: str = "") -> None:
        self.engagelab: EngageLab | None = None
        self.seen: list[tuple[str, str, float]] = []
        self.refused = refused

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        import json

        [row] = json.loads((await receive())["body"])["rows"]
        assert self.engagelab is not None
        arrived = self.engagelab.clock.time() - START
        for _ in range(5):
            await anyio.sleep(0)
        assert self.engagelab.clock.time() - START == arrived  # time does not pass while an answer is awaited
        self.seen.append((row["to"], row["status"]["message_status"], arrived))
        status = 500 if row["to"] == self.refused else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.anyio
async def test_two_sends_at_once_share_time_and_both_complete() -> None:
    app = Moments()
    runs: dict[str, Any] = {}
    with EngageLab(asgi(app), clock=VirtualClock(START)) as engagelab:
        app.engagelab = engagelab

        async def send(to: str, scenario: str) -> None:
            runs[to] = await engagelab.asend(to, scenario=scenario)
            assert runs[to].statuses == SCENARIOS[scenario]  # complete when it returns

        async with anyio.create_task_group() as group:
            for number, scenario in enumerate(["verified", "delivered", "sent_failed", "verified"]):
                group.start_soon(send, f"+659123456{number}", scenario)
    assert all(run.acknowledged for run in runs.values())
    assert [at for *_, at in app.seen] == sorted(at for *_, at in app.seen)
    assert {at for _, status, at in app.seen if status == "plan"} == {0}
    assert {at for _, status, at in app.seen if status == "verified"} == {20}


@pytest.mark.anyio
async def test_an_error_is_raised_in_the_send_whose_it_is() -> None:
    app = Moments(refused="+6591234561")
    raised: dict[str, BaseException | None] = {}
    with EngageLab(asgi(app), clock=VirtualClock(START)) as engagelab:
        app.engagelab = engagelab

        async def send(to: str) -> None:
            raised[to] = None
            try:
                run = await engagelab.asend(to)
                assert run.statuses == SCENARIOS["verified"]
            except NotAcknowledged as error:
                raised[to] = error

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(send, f"+659123456{number}")
        assert engagelab.pending == []
    assert [type(raised[f"+659123456{number}"]) for number in range(3)] == [type(None), NotAcknowledged, type(None)]


@pytest.mark.anyio
async def test_a_send_that_is_cancelled_does_not_hold_up_another() -> None:
    reached = anyio.Event()

    async def before() -> None:
        if not reached.is_set():
            reached.set()
            await anyio.sleep(3600)

    with EngageLab(asgi(answering(before=before), limit=None)) as engagelab:
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()

            async def cancelled() -> None:
                with scope:
                    await engagelab.asend("+6591234561")

            group.start_soon(cancelled)
            await reached.wait()
            runs: list[Any] = []

            async def other() -> None:
                runs.append(await engagelab.asend("+6591234562"))

            group.start_soon(other)
            await anyio.sleep(0)
            scope.cancel()
        assert runs[0].statuses == SCENARIOS["verified"]
        pending = engagelab.journal.where(outcome="pending")
        assert pending.statuses == ["plan"]
        assert engagelab.pending == []


@pytest.mark.anyio
async def test_a_receiver_may_send_while_it_is_being_delivered_to() -> None:
    nested: list[Any] = []

    async def before() -> None:
        if not nested:
            nested.append(None)
            await anyio.sleep(0)
            nested.append(await engagelab.asend("+6591234562", scenario="delivered"))

    with EngageLab(asgi(answering(before=before))) as engagelab:
        with anyio.fail_after(PATIENCE):
            run = await engagelab.asend("+6591234561", scenario="delivered")
    assert run.statuses == nested[1].statuses == SCENARIOS["delivered"]


# ---- interruptions ----


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["asgi", "http"])
async def test_a_timeout_around_a_send_leaves_its_attempt_and_nothing_stuck(way: str) -> None:
    async def hang() -> None:
        await anyio.sleep(3600)

    over = threading.Event()
    with Peer(lambda conversation: (conversation.request(), over.wait(PATIENCE))) as peer:
        receiver = (
            asgi(answering(before=hang), limit=None) if way == "asgi" else Receiver.http(peer.url, limit=PATIENCE)
        )
        with EngageLab(receiver) as engagelab:
            with anyio.move_on_after(0.1) as scope:
                await engagelab.asend("+6591234567", retry=[1])
            assert scope.cancelled_caught
            [attempt] = engagelab.journal.attempts
            assert attempt.outcome is Outcome.PENDING
            assert engagelab.pending == []
            await engagelab.clock.aadvance(days=1)
            assert len(engagelab.journal.attempts) == 1
        over.set()
        if way == "asgi":  # the peer's script ends only once somebody has come
            import socket

            socket.create_connection(("127.0.0.1", peer.port)).close()


# ---- a blocking verb in a loop ----


@pytest.mark.anyio
@pytest.mark.parametrize(
    "verb", ["send", "notify", "uplink", "system_event", "deliver", "validate_address", "send_many"]
)
async def test_a_blocking_verb_in_a_loop_is_refused_before_anything_is_sent(verb: str) -> None:
    arguments: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "send": (["+6591234567"], {"retry": [5]}),
        "notify": (["insufficient_balance"], {}),
        "uplink": (["+6591234567"], {"body": "STOP"}),
        "system_event": (["account_login"], {}),
        "deliver": ([[]], {}),
        "validate_address": ([], {}),
        "send_many": ([3], {}),
    }
    args, options = arguments[verb]
    with EngageLab(asgi(answering())) as engagelab:
        if verb == "deliver":
            args = [[engagelab.account.notification("insufficient_balance", at=START)]]
        with pytest.raises(UsageError, match="inside a running event loop") as caught:
            getattr(engagelab, verb)(*args, **options)
        assert "`await engagelab.asend(...)`" in caught.value.hint
        assert engagelab.journal.deliveries == []
        assert engagelab.pending == []
        assert engagelab.receiver.state == "unvalidated"


@pytest.mark.anyio
async def test_advancing_in_a_loop_is_refused_before_anything_is_sent() -> None:
    with EngageLab(asgi(answering())) as engagelab:
        await engagelab.asend("+6591234567", scenario="delivered")
        with pytest.raises(UsageError, match=r"(?s)inside a running event loop.*clock\.aadvance"):
            engagelab.clock.advance(minutes=5)
        assert engagelab.journal.statuses == SCENARIOS["delivered"]
        assert len(engagelab.journal.refusals) == 1


@pytest.mark.anyio
async def test_time_passes_in_the_loop_and_cannot_go_back() -> None:
    with EngageLab(asgi(answering()), clock=VirtualClock(START)) as engagelab:
        await engagelab.asend("+6591234567", scenario="delivered")
        assert await engagelab.clock.aadvance_to(START + 300) == START + 300
        assert engagelab.journal.statuses[-1] == "verified_timeout"
        with pytest.raises(InvalidDelay, match="cannot go back"):
            await engagelab.clock.aadvance_to(START)


# ---- what belongs to a loop, and the app's lifespan ----


class Pool:
    """Like a database pool, good for nothing in another loop than the one it was made in."""

    def __init__(self) -> None:
        self._home = anyio.lowlevel.current_token()
        self.closed = False

    async def fetch(self) -> int:
        await anyio.sleep(0)
        assert anyio.lowlevel.current_token() == self._home, "attached to a different loop"
        assert not self.closed
        return 1


class Shop:
    """A FastAPI app whose lifespan makes a pool for its requests."""

    def __init__(self, failing: bool = False) -> None:
        self.pool: Pool | None = None
        self.fetched = 0
        self.failing = failing
        self.app = FastAPI(lifespan=self._lifespan)
        self.app.post("/engagelab")(self._view)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[dict[str, Pool]]:
        if self.failing:
            raise ConnectionError("no database")
        self.pool = Pool()
        async with anyio.create_task_group() as group:
            group.start_soon(self.pool.fetch)
            yield {"pool": self.pool}
        self.pool.closed = True

    async def _view(self, request: Request) -> None:
        self.fetched += await request.state.pool.fetch()


@pytest.mark.anyio
async def test_app_and_test_share_what_belongs_to_the_loop() -> None:
    shop = Shop()
    receiver = asgi(shop.app)
    async with receiver.lifespan() as state:
        with EngageLab(receiver.with_settings(description="the same app")) as engagelab:
            assert (await engagelab.asend("+6591234567")).acknowledged
        assert await state["pool"].fetch() == 1
        assert state["pool"] is shop.pool
    assert shop.fetched == 4
    assert shop.pool is not None
    assert shop.pool.closed


@pytest.mark.anyio
async def test_without_its_lifespan_the_app_has_no_state() -> None:
    shop = Shop()
    with EngageLab(asgi(shop.app)) as engagelab, pytest.raises(NotAcknowledged, match="answered 500"):
        await engagelab.asend("+6591234567")


@pytest.mark.anyio
async def test_a_failing_test_stops_the_app_and_its_error_is_its_own() -> None:
    shop = Shop()
    with pytest.raises(LookupError, match="in the test"):
        async with asgi(shop.app).lifespan():
            raise LookupError("in the test")
    assert shop.pool is not None
    assert shop.pool.closed


@pytest.mark.anyio
async def test_a_start_up_that_fails_is_raised_with_its_cause() -> None:
    with pytest.raises(EngageLabMockError, match="start-up failed: ConnectionError: no database") as caught:
        async with asgi(Shop(failing=True).app).lifespan():
            pytest.fail("the app did not start")
    assert isinstance(caught.value.__cause__, ConnectionError)


@pytest.mark.anyio
async def test_an_app_that_knows_no_lifespan_is_used_without() -> None:
    receiver = asgi(answering())
    async with receiver.lifespan() as state:
        assert state == {}
        with EngageLab(receiver) as engagelab:
            assert (await engagelab.asend("+6591234567")).acknowledged


@pytest.mark.anyio
async def test_only_an_asgi_app_has_a_lifespan() -> None:
    with pytest.raises(UsageError, match="only ASGI apps have a lifespan"):
        async with Receiver.wsgi(Recorder()).lifespan():
            pytest.fail("there is none")


def test_the_state_of_one_loop_is_not_shown_in_another() -> None:
    shop = Shop()
    receiver = asgi(shop.app)
    with EngageLab(receiver) as engagelab:
        assert engagelab.send(scenario=["plan"]).acknowledged

        async def test() -> None:
            async with receiver.lifespan():
                assert (await engagelab.asend(scenario=["plan"])).acknowledged

        asyncio.run(test())
        trio.run(test)
        shop.pool = None
        assert engagelab.send(scenario=["plan"]).acknowledged


@pytest.mark.asyncio
async def test_pytest_asyncio_in_strict_mode() -> None:
    with Peer(wire_answering(*[answer()] * 4)) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        assert (await engagelab.asend("+6591234567")).acknowledged
    with EngageLab(asgi(answering(before=lambda: asyncio.sleep(0)))) as engagelab:
        first, second = await asyncio.gather(
            engagelab.anotify("insufficient_balance"), engagelab.auplink("+6591234567", body="STOP")
        )
    assert (first[0].statuses, second[0].statuses) == (["insufficient_balance"], ["uplink_message"])
