"""What was accepted is delivered when somebody settles, on their thread, once the answer is written."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import (
    ApiSettings,
    EngageLab,
    LiveClock,
    NotAcknowledged,
    Receiver,
    Recorder,
    UsageError,
    VirtualClock,
)
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.service.postman import Postman
from tests.service.rest.client import TO, Client

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SENT = ["plan", "sent", "delivered"]
PATIENCE = 10.0


class App:
    """A receiver that does something of its own in its handler, and knows on which thread it was called."""

    def __init__(self, handle: Callable[[str], object] = str, status: str = "200 OK") -> None:
        self.handle = handle
        self.status = status
        self.statuses: list[str] = []
        self.threads: list[threading.Thread] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        for row in body["rows"]:
            self.statuses.append(row["status"]["message_status"])
            self.threads.append(threading.current_thread())
            self.handle(self.statuses[-1])
        start_response(self.status, [("Content-Length", "0")])
        return [b""]


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def engagelab(app: App) -> Iterator[EngageLab]:
    with EngageLab(Receiver.wsgi(app)) as engagelab:
        yield engagelab


@pytest.fixture
def client(engagelab: EngageLab) -> Client:
    return Client(engagelab)


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "stuck"


SETTLING: dict[str, Callable[[EngageLab], object]] = {
    "settle": lambda engagelab: engagelab.settle(),
    "inbox": lambda engagelab: engagelab.inbox(),
    "journal": lambda engagelab: engagelab.journal,
    "advance": lambda engagelab: engagelab.clock.advance(1),
    "advance_to": lambda engagelab: engagelab.clock.advance_to(engagelab.clock.time()),
    "sleep": lambda engagelab: engagelab.clock.sleep(0),
    "send": lambda engagelab: engagelab.send(scenario="lost"),
    "send_many": lambda engagelab: engagelab.send_many(0),
    "notify": lambda engagelab: engagelab.notify("insufficient_balance"),
    "wait": lambda engagelab: engagelab.inbox(TO).wait(timeout=0),
}


@pytest.mark.parametrize("how", SETTLING)
def test_who_settles(how: str) -> None:
    receiver = Receiver.recording()
    assert receiver.recorder is not None
    with EngageLab(receiver) as engagelab:
        in_thread(Client(engagelab).send)
        assert receiver.recorder.received == []
        SETTLING[how](engagelab)
        assert [status for received in receiver.recorder.received for status in received.statuses][:3] == SENT


@pytest.mark.parametrize("how", SETTLING)
def test_what_is_not_acknowledged_is_raised_at_the_line_that_settles(how: str) -> None:
    app = App(status="500 Internal Server Error")
    with EngageLab(Receiver.wsgi(app)) as engagelab:
        Client(engagelab).sent()
        with pytest.raises(NotAcknowledged, match="plan was not acknowledged"):
            SETTLING[how](engagelab)
        engagelab.settle()
        assert app.statuses == ["plan"]


def test_callbacks_run_on_the_thread_of_whoever_settles(app: App, engagelab: EngageLab, client: Client) -> None:
    in_thread(client.send)
    engagelab.settle()
    assert set(app.threads) == {threading.current_thread()}


def test_several_failures_are_one_error_with_notes() -> None:
    with EngageLab(Receiver.wsgi(App(status="500 Oops"))) as engagelab:
        client = Client(engagelab)
        for number in range(3):
            client.sent(f"+659123456{number}")
        with pytest.raises(NotAcknowledged) as caught:
            engagelab.settle()
        assert len(caught.value.__notes__) == 2
        engagelab.raise_late()


def test_what_is_not_checked_is_not_raised() -> None:
    with EngageLab(Receiver.wsgi(App(status="500 Oops")), defaults={"check": False}) as engagelab:
        Client(engagelab).sent()
        engagelab.settle()
        assert [delivery.given_up for delivery in engagelab.journal.deliveries] == [True] * 3


def test_what_failed_on_another_thread_is_raised_by_the_next_who_settles() -> None:
    with EngageLab(Receiver.wsgi(App(status="500 Oops"))) as engagelab:
        Client(engagelab).sent()
        in_thread(engagelab.work_off)
        with pytest.raises(NotAcknowledged):
            engagelab.raise_late()
        engagelab.begin_send(TO)
        in_thread(lambda: engagelab.let_pass(1))
        with pytest.raises(NotAcknowledged):
            engagelab.settle()
        with pytest.raises(UsageError):
            engagelab.let_pass(-1)


def test_a_receiver_that_calls_the_api_from_its_handler_does_not_wait_for_itself(
    app: App, engagelab: EngageLab
) -> None:
    client = Client(engagelab)
    message_id = client.sent("+10000000005")
    answers: list[Any] = []

    def handle(status: str) -> None:
        engagelab.settle()
        assert len(engagelab.inbox()) <= 2
        assert engagelab.journal is engagelab.journal_as_it_is
        if status == "delivered" and not answers:
            in_thread(lambda: answers.append(client.verify(message_id, "123456")))
            answers.append(client.send("+6591234568"))

    app.handle = handle
    engagelab.settle()
    assert [answer.status for answer in answers] == [200, 200]
    assert app.statuses == [*SENT, "verified", *SENT]


def test_a_receiver_that_calls_the_api_during_a_send_does_not_wait_for_it(app: App, engagelab: EngageLab) -> None:
    client = Client(engagelab)
    app.handle = lambda status: in_thread(lambda: client.send("+6591234568")) if len(app.statuses) == 1 else None
    assert engagelab.send(TO, scenario="delivered").acknowledged
    engagelab.settle()
    assert sorted(app.statuses) == sorted(SENT * 2)


def test_a_receiver_that_advances_the_clock_in_its_handler_does_not_wait_for_itself(
    app: App, engagelab: EngageLab, client: Client
) -> None:
    app.handle = lambda status: engagelab.clock.advance(minutes=10) if status == "delivered" else None
    client.sent()
    engagelab.settle()
    assert app.statuses == [*SENT, "verified_timeout"]


def test_the_answer_of_another_thread_is_waited_for(app: App, engagelab: EngageLab) -> None:
    accepted, settling = threading.Event(), threading.Event()
    order: list[str] = []

    def serve() -> None:
        answer = Client(engagelab).request("POST", "/v1/messages", json.dumps(MESSAGE).encode())
        accepted.set()
        settling.wait(PATIENCE)
        order.append("written")
        answer.written()

    app.handle = lambda status: order.append(status)
    server = threading.Thread(target=serve)
    server.start()
    assert accepted.wait(PATIENCE)
    threading.Timer(0.05, settling.set).start()
    engagelab.settle()
    server.join()
    assert order == ["written", *SENT]


MESSAGE = {"to": TO, "template": {"id": "login"}}


def test_an_answer_that_is_never_written_holds_nothing_up_for_long(app: App, engagelab: EngageLab) -> None:
    in_thread(lambda: Client(engagelab).request("POST", "/v1/messages", json.dumps(MESSAGE).encode()))
    engagelab.settle()
    assert app.statuses == SENT


def test_two_who_settle_at_once_deliver_everything_once_and_in_order(app: App, engagelab: EngageLab) -> None:
    client = Client(engagelab)
    numbers = [f"+65912345{number:02d}" for number in range(20)]
    barrier = threading.Barrier(4)
    errors: list[BaseException] = []

    def work(mine: list[str]) -> None:
        try:
            barrier.wait(PATIENCE)
            for to in mine:
                client.sent(to)
                engagelab.settle()
                assert engagelab.inbox(to).code
                engagelab.send(to, scenario="sent_failed")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(numbers[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
    assert errors == []
    for message_id in {event.message_id for event in engagelab.journal.events}:  # type: ignore[attr-defined]
        statuses = engagelab.journal.where(message_id=message_id).statuses
        assert statuses in (SENT, ["plan", "sent_failed"])
    assert len(app.statuses) == 20 * 5


def test_one_code_is_verified_once_however_many_try(engagelab: EngageLab, client: Client) -> None:
    message_id = client.sent()
    code = engagelab.inbox(TO).code
    barrier = threading.Barrier(8)
    answers: list[Any] = []

    def work() -> None:
        barrier.wait(PATIENCE)
        answers.append(client.verify(message_id, code))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(answer.status for answer in answers) == [200] + [400] * 7
    assert engagelab.journal.statuses.count("verified") == 1


class TestBeforeTheAnswer:
    """callback_before_response: the race that receivers lose which look for a message they have not saved yet."""

    @pytest.fixture
    def engagelab(self, app: App) -> Iterator[EngageLab]:
        with EngageLab(Receiver.wsgi(app), api=ApiSettings(callback_before_response=True)) as engagelab:
            yield engagelab

    def test_the_callbacks_come_first(self, app: App, client: Client) -> None:
        client.request("POST", "/v1/messages", json.dumps(MESSAGE).encode())
        assert app.statuses == SENT

    def test_what_fails_then_is_raised_by_whoever_settles(self, app: App, client: Client, engagelab: EngageLab) -> None:
        app.status = "404 Not Found"
        assert client.send().status == 200
        with pytest.raises(NotAcknowledged, match="404"):
            engagelab.settle()

    def test_a_call_from_inside_a_handler_does_not_wait_for_itself(
        self, app: App, client: Client, engagelab: EngageLab
    ) -> None:
        app.handle = lambda status: client.send("+6591234568") if app.statuses == ["plan"] else None
        client.sent()
        engagelab.settle()
        assert sorted(app.statuses) == sorted(SENT * 2)

    def test_on_a_live_clock_the_first_callback_comes_first(self) -> None:
        recorder = Recorder()
        settings = ApiSettings(callback_before_response=True)
        with (
            LoopbackServer(recorder) as server,
            EngageLab(Receiver.http(server.url), clock=LiveClock(), api=settings) as engagelab,
            Postman(engagelab),
        ):
            Client(engagelab).request("POST", "/v1/messages", json.dumps(MESSAGE).encode())
            assert recorder.received[0].statuses == ["plan"]


def test_a_postman_on_a_virtual_clock_delivers_on_its_own_and_keeps_what_fails(app: App, engagelab: EngageLab) -> None:
    with Postman(engagelab):
        client = Client(engagelab)
        client.sent()
        engagelab.journal_as_it_is.wait_for(status="delivered", timeout=PATIENCE)
        app.status = "500 Oops"
        client.sent("+6591234568")
        with contextlib.suppress(AssertionError):
            engagelab.journal_as_it_is.wait_for(status="plan", outcome="not_200", timeout=PATIENCE)
    with pytest.raises(NotAcknowledged):
        engagelab.settle()


def test_the_inbox_waits_for_the_postman_who_is_at_it(app: App, engagelab: EngageLab) -> None:
    under_way = threading.Event()
    go_on = threading.Event()

    def handle(status: str) -> None:
        if status == "plan":
            under_way.set()
            go_on.wait(PATIENCE)

    app.handle = handle
    with Postman(engagelab):
        Client(engagelab).sent()
        assert under_way.wait(PATIENCE)
        threading.Timer(0.05, go_on.set).start()
        assert engagelab.inbox(TO).code
        assert engagelab.journal.statuses == SENT


def test_whoever_only_looks_does_not_wait_for_what_waits_for_it(app: App, engagelab: EngageLab) -> None:
    """A receiver in this process, on a thread of its own, that looks into the journal while it is called."""
    seen: list[int] = []
    app.handle = lambda status: in_thread(lambda: seen.append(len(engagelab.journal))) if status == "plan" else None
    client = Client(engagelab)
    client.sent()
    engagelab.settle()
    assert seen == [1]
    assert app.statuses == SENT


def test_begin_send_is_like_send_but_for_the_time() -> None:
    with EngageLab(clock=VirtualClock(0)) as one, EngageLab(clock=VirtualClock(0)) as other:
        run = one.begin_send(TO, scenario="delivered", template="login")
        assert run.deliveries == []
        one.settle()
        assert [d.body for d in run.deliveries] == [
            d.body for d in other.send(TO, scenario="delivered", template="login").deliveries
        ]
        one.clock.advance(minutes=5)
        assert run.statuses[-1] == "verified_timeout"
        with pytest.raises(UsageError, match="did you mean 'verified'"):
            one.begin_send(TO, scenario="verfied")
