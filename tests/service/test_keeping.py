"""A journal with a limit keeps memory flat: old messages are forgotten, and their callbacks still go out."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable

import pytest

from engagelab_mock import Delivery, EngageLab, Journal, Receiver, VirtualClock
from tests.service.app import SENT, App
from tests.service.rest.client import Client

LIMIT = 3
MESSAGES = 20


def by_send(engagelab: EngageLab) -> str:
    return engagelab.send(scenario="delivered").message_id


def by_begin_send(engagelab: EngageLab) -> str:
    return engagelab.begin_send(scenario="delivered").message_id


def by_the_api(engagelab: EngageLab) -> str:
    return Client(engagelab).sent(f"+6591{len(engagelab.accepted):03d}{int(engagelab.clock.time()) % 1000:03d}")


WAYS: dict[str, Callable[[EngageLab], str]] = {
    "send": by_send,
    "begin_send": by_begin_send,
    "the API": by_the_api,
}


def in_memory(ids: list[str]) -> set[str]:
    """Return the messages that any delivery in memory is of; other tests have other ids, as they have other seeds."""
    gc.collect()
    # Not isinstance: it makes the lazy objects of other tests load.
    return {thing.message_id for thing in gc.get_objects() if type(thing) is Delivery and thing.message_id in ids}


@pytest.mark.parametrize("way", WAYS)
def test_of_old_messages_nothing_is_kept(way: str) -> None:
    with EngageLab(journal=Journal(limit=LIMIT), code_ttl=None, seed=f"kept, {way}") as engagelab:
        ids: list[str] = []
        for _ in range(MESSAGES):
            ids.append(WAYS[way](engagelab))
            assert len(engagelab.inbox()) <= LIMIT
        assert in_memory(ids) == set(ids[-LIMIT:])
        assert [accepted.message.id for accepted in engagelab.accepted] == ids[-LIMIT:]
        assert [message.message_id for message in engagelab.inbox()] == ids[-LIMIT:]
        assert len(engagelab.journal) == LIMIT


def test_of_messages_that_were_sent_at_once_nothing_is_kept_either() -> None:
    with EngageLab(journal=Journal(limit=LIMIT), code_ttl=None, seed="kept, many") as engagelab:
        ids = [run.message_id for run in engagelab.send_many(MESSAGES, scenario="delivered", concurrency=2)]
        assert len(engagelab.inbox()) == LIMIT
        assert len(in_memory(ids)) <= 2 * LIMIT


@pytest.mark.parametrize("way", ["begin_send", "the API"])
def test_a_message_forgotten_before_it_was_sent_is_sent(way: str) -> None:
    app = App()
    with EngageLab(Receiver.wsgi(app), journal=Journal(limit=LIMIT), clock=VirtualClock(0)) as engagelab:
        if way == "begin_send":
            ids = [by_begin_send(engagelab) for _ in range(MESSAGES)]
        else:
            ids = [Client(engagelab).sent(f"+65912345{number:02d}") for number in range(MESSAGES)]
        engagelab.settle()
        assert Counter(app.rows) == Counter((message_id, status) for message_id in ids for status in SENT)
        engagelab.clock.advance(minutes=5)
        assert app.statuses.count("verified_timeout") == MESSAGES


def test_a_code_that_is_forgotten_cannot_be_entered() -> None:
    with EngageLab(journal=Journal(limit=1), code_ttl=None) as engagelab:
        client = Client(engagelab)
        ids = [client.sent("+6591234567"), client.sent("+6591234568")]
        code = engagelab.inbox("+6591234568").code
        assert client.verify(ids[0], code).status == 400
        assert client.verify(ids[1], code).status == 200
        assert engagelab.journal.statuses == ["verified"]


def test_without_a_limit_everything_is_kept() -> None:
    with EngageLab(code_ttl=None, seed="kept, all") as engagelab:
        ids = [by_send(engagelab) for _ in range(MESSAGES)]
        assert len(engagelab.inbox()) == MESSAGES
        assert in_memory(ids) == set(ids)
