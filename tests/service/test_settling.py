"""What was accepted is delivered when it is settled, on the thread that settles, once the answer is written."""

from __future__ import annotations

import itertools
import json
import threading
import traceback
from collections.abc import Callable, Iterator

import pytest

from engagelab_mock import (
    ApiServer,
    ApiSettings,
    EngageLab,
    Journal,
    LiveClock,
    NotAcknowledged,
    Receiver,
    Recorder,
    UsageError,
    VirtualClock,
)
from engagelab_mock.server.loopback import LoopbackServer
from tests.patience import PATIENCE
from tests.service.app import SENT, App, in_thread, in_threads
from tests.service.rest.client import TO, Client, control

MESSAGE = json.dumps({"to": TO, "template": {"id": "login"}}).encode()


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
def test_each_of_these_settles(how: str) -> None:
    receiver = Receiver.recording()
    assert receiver.recorder is not None
    with EngageLab(receiver) as engagelab:
        in_thread(Client(engagelab).send)
        assert receiver.recorder.received == []
        SETTLING[how](engagelab)
        assert [status for received in receiver.recorder.received for status in received.statuses][:3] == SENT


@pytest.mark.parametrize("how", SETTLING)
def test_an_unacknowledged_callback_is_raised_at_the_line_that_settles(how: str) -> None:
    app = App(status="500 Internal Server Error")
    with EngageLab(Receiver.wsgi(app)) as engagelab:
        Client(engagelab).sent()
        with pytest.raises(NotAcknowledged, match="plan was not acknowledged"):
            SETTLING[how](engagelab)
        engagelab.settle()
        assert app.statuses == ["plan"]


def test_callbacks_run_on_the_thread_that_settles(app: App, engagelab: EngageLab, client: Client) -> None:
    in_thread(client.send)
    engagelab.settle()
    assert set(app.threads) == {threading.current_thread()}


def test_several_failures_are_one_error_with_notes_and_raised_once() -> None:
    with EngageLab(Receiver.wsgi(App(status="500 Oops"))) as engagelab:
        client = Client(engagelab)
        for number in range(3):
            client.sent(f"+659123456{number}")
        with pytest.raises(NotAcknowledged) as caught:
            engagelab.settle()
        assert len(caught.value.__notes__) == 2
        for how in ("settle", "inbox", "journal", "advance", "send_many", "send"):
            SETTLING[how](engagelab)


def test_failures_of_ever_so_many_messages_are_one_error() -> None:
    with EngageLab(Receiver.wsgi(App(status="500 Oops"))) as engagelab:
        for _ in range(150):
            engagelab.begin_send(scenario="delivered")
        with pytest.raises(NotAcknowledged):
            engagelab.settle()
        engagelab.settle()
        assert [delivery.statuses for delivery in engagelab.journal.deliveries] == [["plan"]] * 150
        assert engagelab.pending == []


def test_an_unchecked_failure_is_not_raised() -> None:
    with EngageLab(Receiver.wsgi(App(status="500 Oops")), defaults={"check": False}) as engagelab:
        Client(engagelab).sent()
        engagelab.settle()
        assert [delivery.given_up for delivery in engagelab.journal.deliveries] == [True] * 3


def test_a_message_that_failed_drops_its_own_callbacks_only(app: App) -> None:
    with EngageLab(Receiver.wsgi(app)) as engagelab:
        client = Client(engagelab)
        first, second = client.sent(), client.sent("+6591234568")
        # What is due at one moment goes out before time passes: both plans come before either message's `sent`.
        app.handle = lambda status: setattr(app, "status", "500 Oops" if app.rows[-1] == (first, "sent") else "200 OK")
        with pytest.raises(NotAcknowledged, match="sent was not acknowledged"):
            engagelab.settle()
        assert (app.of(first), app.of(second)) == (["plan", "sent"], SENT)
        engagelab.clock.advance(minutes=5)
        assert (app.of(first), app.of(second)) == (["plan", "sent"], [*SENT, "verified_timeout"])


def test_a_failure_during_a_control_call_is_raised_by_the_next_that_settles(app: App) -> None:
    with EngageLab(Receiver.wsgi(app)) as engagelab, ApiServer(engagelab) as server:
        engagelab.send(TO, scenario="delivered")
        app.status = "500 Oops"
        before = engagelab.clock.time()
        answer = control(server, "clock/advance", {"seconds": 295})
        assert (answer.status, engagelab.clock.time()) == (200, before + 295)
        with pytest.raises(NotAcknowledged, match="verified_timeout"):
            engagelab.settle()
        engagelab.settle()
        assert control(server, "clock/advance", {"seconds": -1}).status == 400
        engagelab.settle()


def test_a_failure_that_is_kept_neither_grows_nor_stops_the_control_api(app: App) -> None:
    with EngageLab(Receiver.wsgi(app)) as engagelab, ApiServer(engagelab) as server:
        engagelab.send(TO, scenario="delivered")
        app.status = "500 Oops"
        before = engagelab.clock.time()
        control(server, "clock/advance", {"seconds": 295})
        for _ in range(30):
            control(server, "clock/advance", {"seconds": 1})
            control(server, "send", {"scenario": "lost"})
        assert engagelab.clock.time() == before + 325
        with pytest.raises(NotAcknowledged, match="verified_timeout") as caught:
            engagelab.settle()
    assert len(traceback.extract_tb(caught.value.__traceback__)) < 30


def test_the_answer_of_another_thread_is_waited_for(app: App, engagelab: EngageLab, client: Client) -> None:
    accepted, settling = threading.Event(), threading.Event()
    order: list[str] = []
    app.handle = order.append

    def serve() -> None:
        answer = client.request("POST", "/v1/messages", MESSAGE)
        accepted.set()
        assert settling.wait(PATIENCE)
        for _ in range(50):
            client.get("/v1/template-configs")
        order.append("written")
        answer.written()

    def settle() -> None:
        assert accepted.wait(PATIENCE)
        settling.set()
        engagelab.settle()

    in_threads(serve, settle)
    assert order == ["written", *SENT]


def test_the_answer_of_this_thread_is_not_waited_for(app: App, engagelab: EngageLab, client: Client) -> None:
    answer = client.request("POST", "/v1/messages", MESSAGE)
    assert app.statuses == []
    engagelab.settle()
    assert app.statuses == SENT
    answer.written()
    engagelab.settle()
    assert app.statuses == SENT


def test_callbacks_are_held_until_the_answer_is_written_even_if_time_passes(
    app: App, engagelab: EngageLab, client: Client
) -> None:
    answers = [client.request("POST", "/v1/messages", MESSAGE), client.request("POST", "/v1/codes", b"{}")]
    assert [answer.status for answer in answers] == [200, 400]
    assert engagelab.pending == []
    for _ in range(2):
        for answer in answers:
            answer.written()
    assert [timer.at for timer in engagelab.pending] == sorted(timer.at for timer in engagelab.pending)
    assert len(engagelab.pending) == 4
    assert app.statuses == []
    engagelab.settle()
    assert app.statuses == SENT


def test_an_answer_that_is_never_written_holds_nothing_up_for_long(app: App, engagelab: EngageLab) -> None:
    in_thread(lambda: Client(engagelab).request("POST", "/v1/messages", MESSAGE))
    engagelab.settle()
    assert app.statuses == SENT


def test_one_code_is_verified_once_however_many_try(engagelab: EngageLab, client: Client) -> None:
    message_id = client.sent()
    code = engagelab.inbox(TO).code
    barrier = threading.Barrier(8)
    answers: list[int] = []

    def work() -> None:
        barrier.wait(PATIENCE)
        answers.append(client.verify(message_id, code).status)

    in_threads(*[work] * 8)
    assert sorted(answers) == [200] + [400] * 7
    assert engagelab.journal.statuses.count("verified") == 1


class TestBeforeTheAnswer:
    """callback_before_response: the race that receivers lose which look for a message they have not saved yet."""

    @pytest.fixture
    def engagelab(self, app: App) -> Iterator[EngageLab]:
        with EngageLab(Receiver.wsgi(app), api=ApiSettings(callback_before_response=True)) as engagelab:
            yield engagelab

    def test_the_callbacks_come_first(self, app: App, client: Client) -> None:
        client.request("POST", "/v1/messages", MESSAGE)
        assert app.statuses == SENT

    def test_a_failure_then_is_raised_by_the_next_that_settles(
        self, app: App, client: Client, engagelab: EngageLab
    ) -> None:
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
            EngageLab(Receiver.http(server.url, limit=PATIENCE), clock=LiveClock(), api=settings) as engagelab,
            ApiServer(engagelab),
        ):
            Client(engagelab).request("POST", "/v1/messages", MESSAGE)
            assert recorder.received[0].statuses == ["plan"]


class TestWithAWorker:
    """A server whose receiver is on a socket has a worker that delivers on its own."""

    @pytest.fixture
    def journal(self) -> Journal:
        return Journal()

    @pytest.fixture
    def engagelab(self, app: App, journal: Journal) -> Iterator[EngageLab]:
        with (
            LoopbackServer(app) as receiver,
            EngageLab(Receiver.http(receiver.url, limit=PATIENCE), journal=journal) as engagelab,
            ApiServer(engagelab),
        ):
            yield engagelab

    def test_it_delivers_by_itself_and_keeps_the_failures(
        self, app: App, engagelab: EngageLab, client: Client, journal: Journal
    ) -> None:
        client.sent()
        journal.wait_for(status="delivered", timeout=PATIENCE)
        app.status = "500 Oops"
        client.sent("+6591234568")
        journal.wait_for(status="plan", outcome="not_200", timeout=PATIENCE)
        with pytest.raises(NotAcknowledged):
            engagelab.settle()
        engagelab.settle()

    def test_the_inbox_waits_while_the_worker_delivers(self, app: App, engagelab: EngageLab, client: Client) -> None:
        under_way, looking = threading.Event(), threading.Event()

        def handle(status: str) -> None:
            if status == "plan":
                under_way.set()
                assert looking.wait(PATIENCE)
                for _ in range(50):
                    client.get("/v1/template-configs")

        app.handle = handle
        client.sent()
        assert under_way.wait(PATIENCE)
        looking.set()
        assert engagelab.inbox(TO).code
        assert engagelab.journal.statuses == SENT

    def test_many_messages_from_many_threads_each_arrive_once_and_in_order(
        self, app: App, engagelab: EngageLab, client: Client, journal: Journal
    ) -> None:
        ids: list[str] = []
        numbers = itertools.count()  # each thread takes another recipient: a second code for one is refused
        in_threads(*[lambda: ids.extend(client.sent(f"+65912345{next(numbers):02d}", "mine") for _ in range(5))] * 4)
        engagelab.settle()
        assert len(set(ids)) == 20
        assert {tuple(app.of(message_id)) for message_id in ids} == {tuple(SENT)}
        assert len(journal) == 60


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
