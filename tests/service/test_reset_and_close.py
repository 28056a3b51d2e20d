"""`reset` forgets everything, also in the middle of something; `close` gives up only connections."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from engagelab_mock import (
    ApiServer,
    ApiSettings,
    EngageLab,
    Journal,
    LiveClock,
    NotAcknowledged,
    NothingReceived,
    Receiver,
    UsageError,
    VirtualClock,
)
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.service.store.restore import restore
from engagelab_mock.service.store.sqlite import SqliteStore
from tests.eventloops import answering
from tests.patience import PATIENCE
from tests.service.app import SENT, App, in_thread, in_threads
from tests.service.rest.client import TO, Client

OTHER = "+6591234568"


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def engagelab(app: App) -> Iterator[EngageLab]:
    with EngageLab(Receiver.wsgi(app), clock=VirtualClock(0)) as engagelab:
        yield engagelab


@pytest.fixture
def client(engagelab: EngageLab) -> Client:
    return Client(engagelab)


def forgotten(engagelab: EngageLab) -> bool:
    """Tell whether the engine is as new: without a past, and without pending callbacks."""
    return (
        not list(engagelab.journal)
        and not list(engagelab.inbox())
        and not list(engagelab.accepted)
        and not list(engagelab.rules)
        and not engagelab.pending
    )


# ---- reset ----


def test_everything_is_forgotten_without_being_sent(app: App, engagelab: EngageLab, client: Client) -> None:
    engagelab.rule(TO, error=5013)
    client.create("mine")
    engagelab.send(scenario="delivered")
    client.sent(OTHER)
    engagelab.begin_send(scenario="delivered")
    clock, receivers, at = engagelab.clock, list(engagelab.receivers), engagelab.clock.time()
    statuses = list(app.statuses)
    engagelab.reset()
    assert forgotten(engagelab)
    assert client.get("/v1/template-configs/mine").status != 200
    assert (engagelab.clock, engagelab.receivers, engagelab.clock.time()) == (clock, receivers, at)
    engagelab.clock.advance(days=1)
    assert app.statuses == statuses
    assert client.send(TO).status == 200


def test_a_failure_that_was_kept_is_forgotten(app: App) -> None:
    app.status = "500 Oops"
    settings = ApiSettings(callback_before_response=True)
    with EngageLab(Receiver.wsgi(app), api=settings) as engagelab:
        assert Client(engagelab).send().status == 200
        assert app.statuses == ["plan"]
        engagelab.reset()
        engagelab.settle()
        assert forgotten(engagelab)


def test_a_code_from_before_cannot_be_entered(engagelab: EngageLab, client: Client) -> None:
    message_id = client.sent()
    code = engagelab.inbox(TO).code
    engagelab.reset()
    assert client.verify(message_id, code).status == 400
    with pytest.raises(NothingReceived):
        _ = engagelab.inbox(TO).code
    # The first code does not count against the rate limit either.
    client.sent()
    assert engagelab.inbox(TO).code


def test_an_answer_that_is_written_after_a_reset_sends_nothing(app: App, engagelab: EngageLab, client: Client) -> None:
    answer = client.request("POST", "/v1/messages", b'{"to": "+6591234567", "template": {"id": "login"}}')
    engagelab.reset()
    answer.written()
    engagelab.settle()
    assert app.statuses == []
    assert forgotten(engagelab)


def test_after_a_reset_all_goes_on(app: App, engagelab: EngageLab, client: Client) -> None:
    for _ in range(3):
        engagelab.reset()
        engagelab.begin_send(scenario="delivered")
        message_id = client.sent()
        engagelab.settle()
        assert app.of(message_id) == SENT
        assert len(engagelab.journal) == 6
        assert len(engagelab.pending) == 2


OUTER: dict[str, Callable[[EngageLab], object]] = {
    "settle": lambda engagelab: engagelab.settle(),
    "send": lambda engagelab: engagelab.send(scenario="lost"),
    "advance": lambda engagelab: engagelab.clock.advance(minutes=10),
}


@pytest.mark.parametrize("outer", OUTER)
def test_a_handler_may_reset_in_the_middle(app: App, engagelab: EngageLab, client: Client, outer: str) -> None:
    app.handle = lambda status: engagelab.reset() if len(app.statuses) == 2 else None
    client.sent()
    engagelab.begin_send(OTHER, scenario="delivered")
    OUTER[outer](engagelab)
    # Two plans were due at once; of the rest, nothing is sent.
    assert app.statuses == ["plan", "plan"]
    engagelab.clock.advance(days=1)
    assert app.statuses == ["plan", "plan"]
    assert engagelab.pending == []


def test_another_thread_may_reset_while_a_callback_is_answered(app: App, engagelab: EngageLab, client: Client) -> None:
    app.handle = lambda status: in_thread(engagelab.reset)
    client.sent()
    engagelab.settle()
    assert app.statuses == ["plan"]
    app.handle = str
    client.sent()
    engagelab.settle()
    assert app.statuses == ["plan", *SENT]


def test_threads_that_reset_and_send_leave_nothing_stuck(app: App, engagelab: EngageLab, client: Client) -> None:
    def send() -> None:
        for number in range(20):
            client.send(f"+65912345{number:02d}")
            engagelab.begin_send(scenario="delivered")
            engagelab.settle()

    def reset() -> None:
        for _ in range(20):
            engagelab.reset()

    in_threads(send, reset, send)
    engagelab.reset()
    assert forgotten(engagelab)
    assert engagelab.send(scenario="delivered").statuses == SENT


@pytest.mark.anyio
async def test_a_reset_in_an_event_loop_ends_the_settling() -> None:
    calls: list[int] = []

    async def before() -> None:
        calls.append(1)
        if len(calls) == 1:
            lab.reset()

    with EngageLab(Receiver.asgi(answering(before=before))) as lab:
        Client(lab).sent()
        with anyio.fail_after(PATIENCE):
            await lab.asettle()
        await lab.clock.aadvance(days=1)
        assert (len(calls), lab.pending) == (1, [])


def test_a_reset_while_a_worker_delivers(app: App) -> None:
    under_way, go_on = threading.Event(), threading.Event()

    def handle(status: str) -> None:
        under_way.set()
        assert go_on.wait(PATIENCE)

    app.handle = handle
    journal = Journal()
    with (
        LoopbackServer(app) as receiver,
        EngageLab(
            Receiver.http(receiver.url, limit=PATIENCE), clock=LiveClock(1000), journal=journal, code_ttl=None
        ) as engagelab,
        ApiServer(engagelab),
    ):
        engagelab.clock.freeze()  # only callbacks that are due at once go out
        Client(engagelab).sent()
        assert under_way.wait(PATIENCE)
        engagelab.reset()
        go_on.set()
        engagelab.clock.resume()
        engagelab.clock.advance(days=1)
        assert engagelab.send(OTHER, scenario="delivered").statuses == SENT
        assert len(app.statuses) == 1 + len(SENT)
        assert journal.where(to=OTHER).statuses == SENT


# ---- close ----


def test_results_can_be_read_after_the_end(app: App) -> None:
    with EngageLab(Receiver.wsgi(app)) as engagelab:
        run = engagelab.send(TO, scenario="delivered")
    assert engagelab.journal.statuses == run.statuses == SENT
    assert engagelab.inbox(TO).code
    engagelab.close()


def test_closing_sends_nothing(app: App) -> None:
    engagelab = EngageLab(Receiver.wsgi(app))
    run = engagelab.begin_send(TO)
    engagelab.close()
    assert app.statuses == run.statuses == []


# ---- the end of a `with` block ----


def test_the_end_of_a_block_sends_the_remaining_callbacks(app: App) -> None:
    with EngageLab(Receiver.wsgi(app)) as engagelab:
        run = engagelab.begin_send(TO, scenario="delivered")
    assert app.statuses == run.statuses == SENT


@pytest.mark.parametrize("how", ["begin_send", "api"])
def test_the_end_of_a_block_raises_for_an_unacknowledged_callback(app: App, how: str) -> None:
    app.status = "500 Oops"
    with (
        pytest.raises(NotAcknowledged, match="plan was not acknowledged"),
        EngageLab(Receiver.wsgi(app)) as engagelab,
    ):
        _ = engagelab.begin_send(TO) if how == "begin_send" else Client(engagelab).sent()
    assert app.statuses == ["plan"]


def test_the_end_of_a_block_raises_the_failures_of_other_threads(app: App) -> None:
    app.status = "500 Oops"
    settings = ApiSettings(callback_before_response=True)
    with pytest.raises(NotAcknowledged), EngageLab(Receiver.wsgi(app), api=settings) as engagelab:
        in_thread(Client(engagelab).send)
    assert app.statuses == ["plan"]


def test_the_end_of_a_block_does_not_raise_failures_that_the_test_has_seen_or_does_not_check(app: App) -> None:
    app.status = "500 Oops"
    with EngageLab(Receiver.wsgi(app)) as engagelab:
        with pytest.raises(NotAcknowledged):
            engagelab.send(TO)
        engagelab.begin_send(TO, check=False)
        engagelab.begin_send(TO)
        with pytest.raises(NotAcknowledged):
            engagelab.settle()


class Stop(BaseException):
    """An error that is not one of this package's."""


def _raise_after_begin(engagelab: EngageLab, error: BaseException) -> None:
    engagelab.begin_send(TO)
    raise error


@pytest.mark.parametrize("error", [LookupError("the test's own"), Stop("the test's own"), KeyboardInterrupt()])
def test_an_error_on_its_way_out_of_a_block_is_not_hidden(app: App, error: BaseException) -> None:
    app.status = "500 Oops"
    with pytest.raises(type(error)) as caught, EngageLab(Receiver.wsgi(app)) as engagelab:
        _raise_after_begin(engagelab, error)
    assert caught.value is error
    assert app.statuses == []


class Unclosable(EngageLab):
    """One whose receiver cannot be closed."""

    def close(self) -> None:
        raise RuntimeError("the lifespan failed")


def test_a_failure_to_close_hides_no_earlier_error(app: App) -> None:
    with pytest.raises(RuntimeError, match="the lifespan failed"), Unclosable():
        pass
    with pytest.raises(LookupError) as caught, Unclosable():
        raise LookupError("the test's own")
    assert caught.value.__notes__ == ["and: the lifespan failed"]
    app.status = "500 Oops"
    with pytest.raises(NotAcknowledged) as raised, Unclosable(Receiver.wsgi(app)) as engagelab:
        engagelab.begin_send(TO)
    assert raised.value.__notes__ == ["and: the lifespan failed"]


def test_the_content_of_a_store_is_left_for_the_next_process(app: App, tmp_path: Path) -> None:
    for expected in ([], SENT):
        with SqliteStore(tmp_path / "mock.sqlite") as store, EngageLab(Receiver.wsgi(app)) as engagelab:
            restore(engagelab, store)
            if not expected:
                engagelab.begin_send(TO, scenario="delivered")
            else:
                engagelab.clock.advance(minutes=1)
        assert app.statuses == expected


@pytest.mark.anyio
async def test_in_an_event_loop_a_block_does_not_end_with_callbacks_waiting() -> None:
    with (
        pytest.raises(UsageError, match=r"await engagelab\.asettle\(\)"),
        EngageLab(Receiver.asgi(answering(500))) as engagelab,
    ):
        engagelab.begin_send(TO)
    with EngageLab(Receiver.asgi(answering())) as engagelab:
        run = engagelab.begin_send(TO, scenario="delivered")
        await engagelab.asettle()
    assert run.acknowledged
    with pytest.raises(LookupError), EngageLab(Receiver.asgi(answering(500))) as engagelab:
        _raise_after_begin(engagelab, LookupError())


@pytest.mark.anyio
async def test_in_an_event_loop_a_block_ends_as_elsewhere_if_its_receivers_are_called_synchronously(app: App) -> None:
    app.status = "500 Oops"
    with pytest.raises(NotAcknowledged), EngageLab(Receiver.wsgi(app)) as engagelab:
        engagelab.begin_send(TO)


CLOSING: dict[str, Callable[[Any], Receiver]] = {
    "wsgi": lambda app: Receiver.wsgi(app),
    "recording": lambda app: Receiver.recording(),
}


@pytest.mark.parametrize("way", CLOSING)
def test_it_can_be_used_again_after_it_was_closed(app: App, way: str) -> None:
    with EngageLab(CLOSING[way](app)) as engagelab:
        engagelab.send(TO, scenario="delivered")
    with engagelab:
        assert engagelab.send(TO, scenario="delivered").acknowledged


def test_a_receiver_on_a_socket_can_be_used_again_after_it_was_closed(app: App) -> None:
    with LoopbackServer(app) as receiver, EngageLab(Receiver.http(receiver.url, limit=PATIENCE)) as engagelab:
        engagelab.send(TO, scenario="delivered")
        engagelab.close()
        assert engagelab.send(TO, scenario="delivered").acknowledged
