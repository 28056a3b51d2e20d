"""A receiver may call the API, send, settle and advance the clock from its handler: nothing waits for itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest

from engagelab_mock import ApiServer, EngageLab, Journal, LiveClock, NotAcknowledged, Receiver, Run
from engagelab_mock.server.loopback import LoopbackServer
from tests.eventloops import answering
from tests.patience import PATIENCE
from tests.service.app import SENT, App, in_thread
from tests.service.rest.client import TO, Client

OTHER = "+6591234568"


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def engagelab(app: App, journal: Journal) -> Iterator[EngageLab]:
    with EngageLab(Receiver.wsgi(app), journal=journal) as engagelab:
        yield engagelab


@pytest.fixture
def client(engagelab: EngageLab) -> Client:
    return Client(engagelab)


# ---- a handler that calls the API ----


def test_a_handler_that_calls_the_api_and_looks_does_not_wait_for_itself(
    app: App, engagelab: EngageLab, journal: Journal
) -> None:
    client = Client(engagelab)
    message_id = client.sent("+10000000005")
    answers: list[int] = []

    def handle(status: str) -> None:
        engagelab.settle()
        assert len(engagelab.inbox()) <= 2
        assert engagelab.journal is journal
        if status == "delivered" and not answers:
            in_thread(lambda: answers.append(client.verify(message_id, "123456").status))
            answers.append(client.send(OTHER).status)

    app.handle = handle
    engagelab.settle()
    assert answers == [200, 200]
    assert app.statuses == [*SENT, "verified", *SENT]


OUTER: dict[str, Callable[[EngageLab], object]] = {
    "settle": lambda engagelab: engagelab.settle(),
    "advance": lambda engagelab: engagelab.clock.advance(1),
    "send something else": lambda engagelab: engagelab.send(scenario="lost"),
    "send_many": lambda engagelab: engagelab.send_many(0),
}


@pytest.mark.parametrize("from_another_thread", [False, True])
@pytest.mark.parametrize("outer", ["send", *OUTER])
def test_a_handler_may_call_the_api(app: App, engagelab: EngageLab, outer: str, from_another_thread: bool) -> None:
    client = Client(engagelab)
    ids: list[str] = []

    def handle(status: str) -> None:
        if not ids:
            ids.append("")
            if from_another_thread:
                in_thread(lambda: ids.append(client.sent(OTHER)))
            else:
                ids.append(client.sent(OTHER))
            assert app.of(ids[1]) == []  # an answer comes before its callbacks

    app.handle = handle
    if outer == "send":
        assert engagelab.send(TO, scenario="delivered").acknowledged
    else:
        engagelab.begin_send(TO, scenario="delivered")
        OUTER[outer](engagelab)
    engagelab.settle()
    assert app.of(ids[1]) == SENT
    assert sorted(app.statuses) == sorted(SENT * 2)


def test_a_handler_may_verify_the_code_that_it_was_told_of(app: App, engagelab: EngageLab) -> None:
    client = Client(engagelab)

    def handle(status: str) -> None:
        if status == "delivered":
            message_id = app.rows[-1][0]
            assert client.verify(message_id, engagelab.inbox(TO).code).content["verified"] is True

    app.handle = handle
    client.sent()
    engagelab.settle()
    assert app.statuses == [*SENT, "verified"]
    engagelab.clock.advance(days=1)  # a code that was entered does not expire
    assert app.statuses == [*SENT, "verified"]


# ---- a handler that sends ----


@pytest.mark.parametrize("outer", ["send", "settle"])
def test_a_handler_may_send_and_has_its_run_at_once(app: App, engagelab: EngageLab, outer: str) -> None:
    inner: list[Run] = []

    def handle(status: str) -> None:
        if len(app.statuses) == 1:
            inner.append(engagelab.send(OTHER, scenario="delivered"))
            assert (inner[0].statuses, inner[0].acknowledged) == (SENT, True)

    app.handle = handle
    if outer == "send":
        run = engagelab.send(TO, scenario="delivered")
    else:
        run = engagelab.begin_send(TO, scenario="delivered")
        engagelab.settle()
    assert (run.statuses, run.acknowledged, len(inner)) == (SENT, True, 1)
    assert sorted(app.statuses) == sorted(SENT * 2)


def test_a_handler_may_send_from_another_thread_and_wait_for_it(app: App, engagelab: EngageLab) -> None:
    inner: list[Run] = []

    def handle(status: str) -> None:
        if len(app.statuses) == 1:
            in_thread(lambda: inner.append(engagelab.send(OTHER, scenario="delivered")))
            assert (inner[0].statuses, inner[0].acknowledged) == (SENT, True)

    app.handle = handle
    run = engagelab.send(TO, scenario="delivered")
    assert (run.statuses, run.acknowledged, len(inner)) == (SENT, True, 1)
    assert sorted(app.statuses) == sorted(SENT * 2)


def test_a_handler_may_send_from_another_thread_that_it_does_not_wait_for(app: App, engagelab: EngageLab) -> None:
    inner: list[Run] = []
    threads: list[threading.Thread] = []

    def handle(status: str) -> None:
        if not threads:
            send = partial(engagelab.send, OTHER, scenario="delivered")
            threads.append(threading.Thread(target=lambda: inner.append(send()), daemon=True))
            threads[0].start()

    app.handle = handle
    engagelab.begin_send(TO, scenario="delivered")
    engagelab.settle()
    threads[0].join(PATIENCE)
    assert (inner[0].statuses, inner[0].acknowledged) == (SENT, True)
    assert sorted(app.statuses) == sorted(SENT * 2)


def test_a_handler_may_begin_a_send(app: App, engagelab: EngageLab) -> None:
    runs: list[Run] = []
    app.handle = lambda status: runs.append(engagelab.begin_send(OTHER)) if len(app.statuses) == 1 else None
    engagelab.send(TO, scenario="delivered")
    engagelab.settle()
    assert runs[0].statuses == ["plan", "sent", "delivered", "verified"]


def test_a_failed_send_of_a_handler_is_raised_in_the_handler(app: App, engagelab: EngageLab) -> None:
    caught: list[str] = []

    def handle(status: str) -> None:
        if len(app.statuses) == 1:
            app.status = "500 Oops"
            with pytest.raises(NotAcknowledged) as error:
                engagelab.send(OTHER)
            caught.append(str(error.value).splitlines()[0])
            app.status = "200 OK"

    app.handle = handle
    run = engagelab.send(TO, scenario="delivered")
    assert (run.statuses, run.acknowledged) == (SENT, True)
    assert caught == ["plan was not acknowledged: answered 500 Oops; only 200 acknowledges"]
    engagelab.settle()


def test_sends_may_nest_deeply(app: App, engagelab: EngageLab) -> None:
    def handle(status: str) -> None:
        if status == "plan" and len(app.statuses) < 10:
            assert engagelab.send(scenario=["plan", "sent"]).acknowledged

    app.handle = handle
    assert engagelab.send(scenario=["plan", "sent"]).statuses == ["plan", "sent"]
    assert app.statuses.count("plan") == app.statuses.count("sent") == 10


# ---- a handler that moves the clock, or looks ----


def test_a_handler_may_advance_the_clock(app: App, engagelab: EngageLab, client: Client) -> None:
    app.handle = lambda status: engagelab.clock.advance(minutes=10) if status == "delivered" else None
    client.sent()
    engagelab.settle()
    assert app.statuses == [*SENT, "verified_timeout"]


def test_a_thread_of_the_handler_that_looks_does_not_wait_for_its_own_waiter(
    app: App, engagelab: EngageLab, client: Client
) -> None:
    seen: list[int] = []
    app.handle = lambda status: in_thread(lambda: seen.append(len(engagelab.journal))) if status == "plan" else None
    client.sent()
    engagelab.settle()
    assert seen == [1]
    assert app.statuses == SENT


@pytest.mark.parametrize("what", ["pending", "rules", "templates", "accepted", "receivers", "account"])
def test_a_thread_of_the_handler_may_read_anything(app: App, engagelab: EngageLab, what: str) -> None:
    seen: list[object] = []
    app.handle = lambda status: in_thread(lambda: seen.append(getattr(engagelab, what)))
    engagelab.send(TO, scenario="delivered")
    assert len(seen) == 3


def test_a_handler_may_set_a_rule_and_save_a_receiver(app: App, engagelab: EngageLab) -> None:
    client = Client(engagelab)
    recording = Receiver.recording()

    def handle(status: str) -> None:
        if len(app.statuses) == 1:
            engagelab.rule(OTHER, error=5013)
            engagelab.save_receiver(recording)

    app.handle = handle
    engagelab.send(TO, scenario="delivered")
    assert client.send(OTHER).code == 5013
    assert recording in engagelab.receivers


# ---- in an event loop ----


@pytest.mark.anyio
@pytest.mark.parametrize("inner", ["api", "asend", "begin_send", "asettle", "ainbox", "aadvance"])
@pytest.mark.parametrize("outer", ["asend", "asettle"])
async def test_an_asgi_app_may_do_all_of_it(outer: str, inner: str) -> None:
    done: list[Any] = []

    async def before() -> None:
        if done:
            return
        done.append(inner)
        if inner == "api":
            assert Client(lab).send(OTHER).status == 200
        elif inner == "asend":
            run = await lab.asend(OTHER, scenario="delivered")
            assert (run.statuses, run.acknowledged) == (SENT, True)
        elif inner == "begin_send":
            lab.begin_send(OTHER, scenario="delivered")
        elif inner == "asettle":
            await lab.asettle()
        elif inner == "ainbox":
            assert list(await lab.ainbox(TO)) == []  # not delivered yet
        else:
            await lab.clock.aadvance(minutes=1)

    with EngageLab(Receiver.asgi(answering(before=before))) as lab:
        with anyio.fail_after(PATIENCE):
            if outer == "asend":
                run = await lab.asend(TO, scenario="delivered")
            else:
                run = lab.begin_send(TO, scenario="delivered")
            await lab.asettle()
        assert (run.statuses, run.acknowledged) == (SENT, True)
        assert sorted(lab.journal.statuses) == sorted(SENT * (2 if inner in {"api", "asend", "begin_send"} else 1))


@pytest.mark.anyio
async def test_an_asgi_app_may_call_the_api_from_a_thread() -> None:
    answers: list[int] = []

    async def before() -> None:
        if not answers:
            answers.append(0)
            answers.append((await anyio.to_thread.run_sync(Client(lab).send, OTHER)).status)

    with EngageLab(Receiver.asgi(answering(before=before))) as lab:
        with anyio.fail_after(PATIENCE):
            assert (await lab.asend(TO, scenario="delivered")).acknowledged
            await lab.asettle()
        assert answers == [0, 200]
        assert sorted(lab.journal.statuses) == sorted(SENT * 2)


def test_an_asgi_app_called_from_synchronous_code_may_call_the_api() -> None:
    answers: list[int] = []

    async def before() -> None:
        if not answers:
            answers.append(Client(lab).send(OTHER).status)

    with EngageLab(Receiver.asgi(answering(before=before))) as lab:
        lab.send(TO, scenario="delivered")
        lab.settle()
        assert answers == [200]
        assert sorted(lab.journal.statuses) == sorted(SENT * 2)


# ---- on a socket, with a worker ----


@pytest.mark.parametrize("clock", [None, LiveClock(1000)], ids=["virtual", "live"])
def test_a_receiver_on_a_socket_may_call_the_api_from_its_handler(app: App, clock: LiveClock | None) -> None:
    over = threading.Event()

    def handle(status: str) -> None:
        if status == "delivered":
            if app.statuses.count("delivered") == 1:
                Client(lab).sent(OTHER)
            else:
                over.set()

    app.handle = handle
    with (
        LoopbackServer(app) as receiver,
        EngageLab(Receiver.http(receiver.url, limit=PATIENCE), clock=clock, code_ttl=None) as lab,
        ApiServer(lab),
    ):
        Client(lab).sent()
        assert over.wait(PATIENCE)
        lab.settle()
        assert sorted(app.statuses) == sorted(SENT * 2)
