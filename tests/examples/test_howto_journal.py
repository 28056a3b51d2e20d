"""Reading what happened: choose, wait for, and assert."""

from __future__ import annotations

import threading

import pytest

from engagelab_mock import EngageLab


# [where]
def test_choose_what_happened(engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario="delivered")
    engagelab.send("user@example.com", scenario="sent_failed")
    engagelab.notify("insufficient_balance")

    journal = engagelab.journal
    assert journal.where(to="user@example.com").statuses == ["plan", "sent_failed"]
    assert journal.where(kind="notification").statuses == ["insufficient_balance"]
    assert len(journal.where(status="plan", outcome="acknowledged")) == 2


# [assert]
def test_state_what_must_have_been_delivered(engagelab: EngageLab) -> None:
    engagelab.journal.assert_nothing_sent()
    engagelab.send("+6591234567")
    [delivery] = engagelab.journal.assert_delivered(status="verified", times=1)
    assert delivery.attempts[0].acknowledged
    engagelab.journal.assert_nothing_sent(to="+6590000000")


# [wait]
def test_wait_for_what_another_thread_sends(engagelab: EngageLab) -> None:
    threading.Thread(target=engagelab.send, args=["+6591234567"]).start()
    delivery = engagelab.journal.wait_for(status="verified", timeout=10)
    assert delivery.acknowledged


# [loop]
@pytest.mark.asyncio
async def test_wait_in_an_event_loop(engagelab: EngageLab) -> None:
    threading.Thread(target=engagelab.send, args=["+6591234567"]).start()
    assert (await engagelab.journal.await_for(status="verified", timeout=10)).acknowledged


# [miss]
def test_a_miss_names_the_nearest(engagelab: EngageLab) -> None:
    engagelab.send("+6591234567", scenario="delivered")
    with pytest.raises(AssertionError) as caught:
        engagelab.journal.assert_delivered(status="delivered", to="+6590000000")
    assert str(caught.value).splitlines()[0] == (
        "no acknowledged delivery with status='delivered', to='+6590000000'; "
        "the nearest is delivered, whose to is +6591234567"
    )
