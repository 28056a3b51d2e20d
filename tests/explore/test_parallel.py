"""Races over HTTP: real requests at the same time, in many rounds. This is a search for races, and not a proof.

The receivers here hold a handler until the other one has arrived, so that they fail in each round and not by luck.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask, request

from engagelab_mock import (
    EngageLab,
    Message,
    NothingObserved,
    ProbeFailed,
    Receiver,
    ScheduleFailed,
    UsageError,
    exactly_once,
)
from engagelab_mock.explore.parallel import Starts
from engagelab_mock.server.loopback import LoopbackServer
from tests.patience import PATIENCE
from tests.receivers.meeting import Meeting
from tests.receivers.racing import statuses

pytestmark = pytest.mark.slow


class Shop:
    """Give a credit for each status of a message, once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self.seen: set[tuple[str, str]] = set()
        self.credits: dict[str, int] = {}

    def observe(self, message_id: str) -> dict[str, int]:
        return {"credits": self.credits.get(message_id, 0)}

    def apply(self, message_id: str, status: str) -> None:
        with self.lock:
            if (message_id, status) not in self.seen:
                self.give(message_id, status)

    def give(self, message_id: str, status: str) -> None:
        self.seen.add((message_id, status))
        self.credits[message_id] = self.credits.get(message_id, 0) + 1

    def answer(self) -> tuple[str, int]:
        for message_id, status in statuses(request.get_json(force=True)):
            self.apply(message_id, status)
        return "", 200


class LooksBeforeTheLock(Shop):
    """Look, let the other handlers look as well, and then give the credit."""

    def __init__(self, meeting: Meeting) -> None:
        super().__init__()
        self.meeting = meeting

    def apply(self, message_id: str, status: str) -> None:
        with self.lock:
            known = (message_id, status) in self.seen
        if not known:
            self.meet()
            with self.lock:
                self.give(message_id, status)

    def meet(self) -> None:
        self.meeting.wait()


class RefusesTheSecond(Shop):
    """Answer 503 to a handler that runs while another does: the callback will come again."""

    def __init__(self, meeting: Meeting) -> None:
        super().__init__()
        self.meeting = meeting
        self.busy = threading.Lock()

    def answer(self) -> tuple[str, int]:
        first = self.busy.acquire(blocking=False)
        self.meeting.wait()
        if not first:
            return "", 503
        try:
            return super().answer()
        finally:
            self.busy.release()


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> Meeting:
    return Meeting(monkeypatch)


@contextmanager
def serving(shop: Shop, **options: Any) -> Iterator[EngageLab]:
    app = Flask("shop")
    app.add_url_rule("/engagelab", "engagelab", shop.answer, methods=["POST"])
    with LoopbackServer(app) as server:
        own = {"observe": shop.observe, "reset": shop.reset, "limit": PATIENCE, **options}
        with EngageLab(Receiver.http(f"{server.url}/engagelab", **own)) as engagelab:
            yield engagelab


def test_a_race_is_found_reduced_and_replayed(meeting: Meeting) -> None:
    with serving(LooksBeforeTheLock(meeting)) as engagelab:
        with pytest.raises(ScheduleFailed) as caught:
            engagelab.explore("plan-sent", concurrent=2, rounds=5)
        failure = caught.value.failure
        assert (failure.token, failure.violation.invariant) == ("eg1:plan-sent:sent|sent", "serializable")
        assert (failure.rounds, failure.failed) == (5, 5)
        said = str(caught.value)
        assert "the state is {'credits': 2}, and one after the other it is {'credits': 1} (a, b)" in said
        assert "failed in 5 of 5 more rounds of real requests at the same time" in said
        assert "the steps of the requests, as they were sent and answered:" in said
        address = failure.played.receiver.address
        observe = "--observe 'http://…/{message_id}'"
        assert f"  engagelab-mock explore {address} {observe} --replay 'eg1:plan-sent:sent|sent'\n" in said
        with pytest.raises(ScheduleFailed, match="failed in 4 of 4 rounds of real requests"):
            engagelab.replay(failure.token, rounds=4)


@pytest.mark.asyncio
async def test_a_race_is_found_in_an_event_loop(meeting: Meeting) -> None:
    with serving(LooksBeforeTheLock(meeting)) as engagelab, pytest.raises(ScheduleFailed, match="serializable"):
        await engagelab.aexplore("plan-sent", concurrent=2, rounds=5)


def test_an_invariant_judges_races_over_http_too(meeting: Meeting) -> None:
    with serving(LooksBeforeTheLock(meeting)) as engagelab, pytest.raises(ScheduleFailed) as caught:
        engagelab.explore("plan-sent", concurrent=2, rounds=5, invariants=[exactly_once("credits", when="sent")])
    assert caught.value.failure.violation.record is not None


def test_a_correct_receiver_passes_and_the_report_says_that_it_is_no_proof() -> None:
    with serving(Shop()) as engagelab:
        found = engagelab.explore("plan-sent", concurrent=2, rounds=4)
    assert found.ok
    # Each of two callbacks with its duplicate, and both together.
    assert (found.schedules, found.total) == (3 * 4, 3 * 4)
    assert "real requests at the same time, up to 4 rounds of 3 combinations: a search, and not a proof" in repr(found)


def test_a_race_is_not_taken_for_data_that_reset_leaves(meeting: Meeting) -> None:
    class FailsAtFirst(LooksBeforeTheLock):
        """Lose the race in its first round alone, so that the first playing differs from any later one."""

        lost = 0

        def apply(self, message_id: str, status: str) -> None:
            if self.meeting.expected > 1 and self.lost < 2:
                self.lost += 1
                super().apply(message_id, status)
            else:
                Shop.apply(self, message_id, status)

    with serving(FailsAtFirst(meeting)) as engagelab, pytest.raises(ScheduleFailed) as caught:
        engagelab.explore("plan-sent", concurrent=2, rounds=3)
    assert "serializable" in str(caught.value)


def test_data_that_reset_leaves_are_found_in_races_too() -> None:
    class KeepsData(Shop):
        def reset(self) -> None:
            self.seen: set[tuple[str, str]] = getattr(self, "seen", set())
            self.credits: dict[str, int] = getattr(self, "credits", {})

    with serving(KeepsData()) as engagelab, pytest.raises(ProbeFailed, match="after reset"):
        engagelab.explore("plan-sent", concurrent=2, rounds=2)


def test_a_value_that_reset_leaves_and_that_grows_is_no_noise_in_races(meeting: Meeting) -> None:
    class KeepsCredits(LooksBeforeTheLock):
        def reset(self) -> None:
            self.seen: set[tuple[str, str]] = set()
            self.credits: dict[str, int] = getattr(self, "credits", {})

        def prepare(self, message: Message) -> None:
            """Have the message's row, so that its number may differ in each playing."""

    shop = KeepsCredits(meeting)
    with serving(shop, prepare=shop.prepare) as engagelab, pytest.raises(ProbeFailed, match="after reset, as the call"):
        engagelab.explore("plan-sent", concurrent=2, rounds=2)


def test_three_at_the_same_time(meeting: Meeting) -> None:
    with serving(LooksBeforeTheLock(meeting)) as engagelab, pytest.raises(ScheduleFailed) as caught:
        engagelab.explore("plan-sent", concurrent=3, rounds=3)
    assert caught.value.failure.token == "eg1:plan-sent:sent|sent|sent"


def test_a_receiver_that_refuses_the_second_copy_on_purpose(meeting: Meeting) -> None:
    with serving(RefusesTheSecond(meeting)) as engagelab:
        with pytest.raises(ScheduleFailed, match=r"503.*give retry=\[60\]"):
            engagelab.explore("plan-sent", concurrent=2, rounds=5)
        assert engagelab.explore("plan-sent", concurrent=2, rounds=5, retry=[60]).ok


def test_a_receiver_without_an_effect_is_unusable() -> None:
    class Forgets(Shop):
        def give(self, message_id: str, status: str) -> None:
            """Do nothing."""

    with serving(Forgets()) as engagelab, pytest.raises(NothingObserved, match="showed no effect"):
        engagelab.explore("plan-sent", concurrent=2, rounds=2)


def test_requests_that_never_meet_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # The second request leaves only when the first must have been answered.
    monkeypatch.setattr(Starts, "draw", lambda self, requests: [0.2 * number for number in range(requests)])
    with serving(Shop()) as engagelab, pytest.raises(NothingObserved, match="no two requests were under way"):
        engagelab.explore("plan-sent", concurrent=2, rounds=1)


def test_a_request_has_its_whole_time_from_its_last_byte_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then, it waits for the others, on a busy machine for longer than a receiver may take."""
    monkeypatch.setattr(Starts, "draw", lambda self, requests: [0.0, 1.5])
    with serving(Shop(), limit=1.0) as engagelab:
        played = engagelab.play("eg1:plan|plan")
    assert [record.attempt.outcome for record in played.records] == ["acknowledged", "acknowledged"]
    assert all(record.attempt.elapsed < 1.0 for record in played.records)


def test_a_receiver_that_answers_too_late_is_given_up(meeting: Meeting) -> None:
    class Stands(Shop):
        def answer(self) -> tuple[str, int]:
            over.wait(PATIENCE)
            return super().answer()

    over = threading.Event()
    with serving(Stands(), limit=0.2) as engagelab:
        try:
            played = engagelab.play("eg1:plan|plan", check=False)
        finally:
            over.set()
    assert [record.attempt.outcome for record in played.records] == ["timeout", "timeout"]


def test_a_receiver_that_cannot_be_reached_ends_each_round() -> None:
    gone = Receiver.http("http://127.0.0.1:1/", observe=Shop().observe)
    with EngageLab(gone) as engagelab, pytest.raises(ScheduleFailed, match="connection refused"):
        engagelab.explore("plan-sent", concurrent=2, rounds=2)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"concurrent": 2, "preemptions": 1}, "preemptions is for an app in this process"),
        ({"concurrent": 2, "switch_points": ["shop.get"]}, "switch_points is for an app in this process"),
        ({"concurrent": 2, "rounds": 0}, "rounds is an integer from 1 to 10000, not 0"),
        ({"crashes": "handler"}, "the handlers run in another process"),
        ({"concurrent": 2, "observe": None}, None),
    ],
)
def test_options_that_cannot_be_used_over_http(options: dict[str, Any], match: str | None) -> None:
    with serving(Shop()) as engagelab:
        if match is None:
            engagelab.receiver.observe = None
        with pytest.raises(UsageError, match=match or "this receiver has no observe"):
            engagelab.explore("plan-sent", **options)


def test_an_order_of_handlers_cannot_be_followed_over_http() -> None:
    with serving(Shop()) as engagelab, pytest.raises(UsageError, match="the order 'a2b' cannot be followed"):
        engagelab.replay("eg1:sent|sent@a2b")


def test_rounds_are_for_a_receiver_over_http() -> None:
    receiver = Receiver.wsgi(Flask("shop"), observe=Shop().observe)
    with EngageLab(receiver) as engagelab, pytest.raises(UsageError, match="rounds are for a receiver over HTTP"):
        engagelab.explore("plan-sent", concurrent=2, rounds=5)


def test_the_starts_come_from_the_seed_and_differ_between_rounds() -> None:
    def drawn(seed: int) -> list[list[float]]:
        starts = Starts(seed)
        return [starts.draw(2) for _ in range(20)]

    assert drawn(7) == drawn(7) != drawn(8)
    assert drawn(7)[0] == [0.0, 0.0]
    firsts = {each.index(0.0) for each in drawn(7) if any(each)}
    assert firsts == {0, 1}
