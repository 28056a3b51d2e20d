"""Several threads use one EngageLab at once: each callback goes out once and in order."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from itertools import count

import pytest

from engagelab_mock import ApiServer, EngageLab, LiveClock, NotAcknowledged, Receiver, Run, Scenario, VirtualClock
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.service.scheduler import Scheduler
from tests.patience import PATIENCE
from tests.receivers.refusing import refusing
from tests.service.app import SENT, App, in_threads
from tests.service.at_once import complete, numbers
from tests.service.rest.client import Client

THREADS = 4

pytestmark = pytest.mark.usefixtures("switch_often")


class Overlap:
    """Note how many callbacks of one message, and how many of all, are being answered at once."""

    def __init__(self) -> None:
        self.most = 0
        self._inside = 0
        self._lock = threading.Lock()

    def __call__(self, status: str) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        sum(range(2000))  # long enough for another thread to have its turn
        with self._lock:
            self._inside -= 1


@pytest.fixture
def overlap() -> Overlap:
    return Overlap()


@pytest.fixture
def app(overlap: Overlap) -> App:
    return App(overlap)


@pytest.fixture
def engagelab(app: App) -> Iterator[EngageLab]:
    with EngageLab(Receiver.wsgi(app), clock=VirtualClock(0), code_ttl=None) as engagelab:
        yield engagelab


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(False, id="and nothing else"),
        pytest.param(True, id="after the API accepted something"),
    ],
)
def test_each_thread_has_its_run_complete_when_send_returns(
    app: App, engagelab: EngageLab, overlap: Overlap, first: bool
) -> None:
    if first:
        Client(engagelab).sent()
        engagelab.settle()
    runs: list[Run] = []
    together = threading.Barrier(THREADS)

    def work() -> None:
        together.wait(PATIENCE)
        for _ in range(10):
            run = engagelab.send(scenario="delivered")
            complete(run)
            runs.append(run)

    in_threads(*[work] * THREADS)
    assert {tuple(app.of(run.message_id)) for run in runs} == {tuple(SENT)}
    assert len({run.message_id for run in runs}) == 10 * THREADS
    assert overlap.most == 1


def test_threads_that_send_settle_and_look_deliver_everything_once_and_in_order(
    app: App, engagelab: EngageLab, overlap: Overlap
) -> None:
    client = Client(engagelab)
    together = threading.Barrier(THREADS)
    to = numbers()

    def work() -> None:
        together.wait(PATIENCE)
        for _ in range(5):
            mine = to()
            client.sent(mine)
            engagelab.settle()
            assert engagelab.inbox(mine).code
            engagelab.send(mine, scenario="sent_failed")

    in_threads(*[work] * THREADS)
    messages = {message_id for message_id, _ in app.rows}
    assert len(messages) == 10 * THREADS
    for message_id in messages:
        assert app.of(message_id) in (SENT, ["plan", "sent_failed"])
    assert len(app.rows) == 5 * 5 * THREADS
    assert overlap.most == 1


def test_threads_that_call_the_api_while_another_settles(app: App, engagelab: EngageLab) -> None:
    client = Client(engagelab)
    to, ids, over = numbers(), [], threading.Event()

    def call() -> None:
        ids.extend([client.sent(to()) for _ in range(20)])

    def settle() -> None:
        while not over.is_set():
            engagelab.settle()

    settling = threading.Thread(target=settle, daemon=True)
    settling.start()
    in_threads(*[call] * THREADS)
    over.set()
    settling.join(PATIENCE)
    engagelab.settle()
    assert len(set(ids)) == 20 * THREADS
    assert {tuple(app.of(message_id)) for message_id in ids} == {tuple(SENT)}


def test_an_answer_that_is_written_while_another_thread_settles_releases_its_callbacks_once(
    app: App, engagelab: EngageLab
) -> None:
    app.handle = str
    client, to, together = Client(engagelab), numbers(), threading.Barrier(2)
    rounds = 150

    def serve() -> None:
        for _ in range(rounds):
            body = json.dumps({"to": to(), "template": {"id": "login"}}).encode()
            answer = client.request("POST", "/v1/messages", body)
            together.wait(PATIENCE)
            answer.written()
            together.wait(PATIENCE)

    def settle() -> None:
        for _ in range(rounds):
            together.wait(PATIENCE)
            engagelab.settle()
            together.wait(PATIENCE)

    in_threads(serve, settle)
    engagelab.settle()
    assert len(app.rows) == len(set(app.rows)) == len(SENT) * rounds


def test_threads_that_begin_sends_while_another_advances_the_clock(app: App, engagelab: EngageLab) -> None:
    runs: list[Run] = []

    def begin() -> None:
        runs.extend([engagelab.begin_send(scenario="delivered") for _ in range(20)])

    def advance() -> None:
        for _ in range(20):
            engagelab.clock.advance(1)

    in_threads(begin, advance, begin, advance)
    engagelab.settle()
    assert len(runs) == 40
    for run in runs:
        complete(run)
        assert app.of(run.message_id) == SENT


def test_a_clock_that_moves_before_the_first_send_is_moved_by_one_thread(
    app: App, engagelab: EngageLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first message is accepted during a move: another thread that moves the clock must wait for it, too."""
    second = threading.Thread(target=lambda: engagelab.clock.advance(60), daemon=True)
    refused, seen = threading.Event(), list[list[str]]()
    take = Scheduler._take

    def noted(scheduler: Scheduler) -> bool:
        taken = take(scheduler)
        if threading.current_thread() is second and not taken:
            refused.set()
        return taken

    def handle(status: str) -> None:
        if status == "plan":
            second.start()
            while second.is_alive() and not refused.wait(0.01):
                pass
            seen.append([*app.statuses])

    monkeypatch.setattr(Scheduler, "_take", noted)
    app.handle = handle
    engagelab.clock.call_at(engagelab.clock.time(), lambda: engagelab.begin_send(scenario="delivered"))
    engagelab.clock.advance(60)
    second.join(PATIENCE)
    assert (seen, app.statuses) == ([["plan"]], SENT)


def test_threads_that_use_a_new_engagelab_at_once_share_its_parts() -> None:
    for _ in range(20):
        engagelab, together, seen = EngageLab(), threading.Barrier(THREADS), set[int]()

        def use(
            engagelab: EngageLab = engagelab, together: threading.Barrier = together, seen: set[int] = seen
        ) -> None:
            together.wait(PATIENCE)
            seen.update(map(id, (engagelab.rules, engagelab.templates, engagelab.account)))

        in_threads(*[use] * THREADS)
        assert len(seen) == 3


def test_a_failure_is_raised_to_one_thread_that_settles(app: App, engagelab: EngageLab) -> None:
    app.status = "500 Oops"
    runs = [engagelab.begin_send(scenario="delivered") for _ in range(10)]
    caught: list[NotAcknowledged] = []
    together = threading.Barrier(THREADS)

    def settle() -> None:
        together.wait(PATIENCE)
        try:
            engagelab.settle()
        except NotAcknowledged as error:
            caught.append(error)

    in_threads(*[settle] * THREADS)
    told = sum(1 + len(getattr(error, "__notes__", [])) for error in caught)
    assert told == len(runs) == len(app.statuses)
    engagelab.settle()


def test_a_thread_that_waits_is_woken_and_does_not_have_to_give_up(
    app: App, engagelab: EngageLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engagelab_mock.service.scheduler.PATIENCE", 3600.0)
    refusals, moving, refused = count(1), threading.Event(), threading.Event()
    take = Scheduler._take

    def noted(scheduler: Scheduler) -> bool:
        taken = take(scheduler)
        # The third time it holds the lock until it waits, so the other thread cannot be faster.
        if not taken and next(refusals) == 3:
            refused.set()
        return taken

    def pause() -> None:
        moving.set()
        assert refused.wait(PATIENCE)

    def send() -> None:
        assert moving.wait(PATIENCE)
        # Later than the clock is moved, or the other thread would send it.
        assert engagelab.send(scenario=Scenario("late").then("plan", after=60)).acknowledged

    complete(engagelab.send(scenario="delivered"))
    monkeypatch.setattr(Scheduler, "_take", noted)
    engagelab.clock.call_at(engagelab.clock.time() + 5, pause)
    in_threads(lambda: engagelab.clock.advance(10), send)


def test_each_thread_that_sends_has_its_own_failure() -> None:
    """A `send` raises only the failure of its message, never that of another thread's message."""
    failing = "+6590000001"
    with EngageLab(Receiver.wsgi(refusing(failing)), code_ttl=None) as engagelab:
        engagelab.begin_send(scenario="delivered")
        engagelab.settle()

        def fail() -> None:
            for _ in range(10):
                with pytest.raises(NotAcknowledged) as caught:
                    engagelab.send(failing)
                assert caught.value.delivery.events[0].to == failing  # type: ignore[attr-defined]

        def succeed() -> None:
            for _ in range(10):
                complete(engagelab.send(scenario="delivered"))

        in_threads(fail, succeed, fail, succeed)


def test_rules_and_receivers_change_while_others_send(app: App, engagelab: EngageLab) -> None:
    client = Client(engagelab)
    to = numbers()

    def rule() -> None:
        for _ in range(20):
            engagelab.rule(to(), error=5013).cancel()

    def save() -> None:
        for _ in range(20):
            engagelab.save_receiver(Receiver.recording())

    def call() -> None:
        for _ in range(20):
            assert client.send(to()).status == 200

    in_threads(rule, save, call, call)
    engagelab.settle()
    assert len(engagelab.rules) == 0
    assert len(engagelab.receivers) == 21
    assert app.statuses.count("delivered") == 40


@pytest.mark.parametrize("speed", [50, 5000])
def test_on_a_live_clock_threads_send_at_once_and_each_waits_for_its_own(app: App, speed: float) -> None:
    app.handle = str
    with (
        LoopbackServer(app) as receiver,
        EngageLab(Receiver.http(receiver.url, limit=PATIENCE), clock=LiveClock(speed), code_ttl=None) as engagelab,
        ApiServer(engagelab),
    ):
        runs: list[Run] = []

        def work() -> None:
            for _ in range(3):
                run = engagelab.send(scenario="delivered")
                complete(run)
                runs.append(run)

        in_threads(*[work] * THREADS)
        assert {tuple(app.of(run.message_id)) for run in runs} == {tuple(SENT)}
        assert len(runs) == 3 * THREADS
