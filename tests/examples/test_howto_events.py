"""Events besides those of a message, and several events in one callback."""

from __future__ import annotations

import json

import pytest

from engagelab_mock import EngageLab, UnknownName


# [account]
def test_what_happens_to_the_account(engagelab: EngageLab) -> None:
    engagelab.notify("insufficient_balance", remain_balance=-0.005, balance_threshold=2)
    engagelab.uplink("+6591234567", body="STOP")
    engagelab.system_event("account_login", action="login_failed", fail_reason="locked")
    engagelab.journal.assert_delivered(kind="notification", times=1)


# [message]
def test_a_message_to_an_address_with_arguments_of_its_own(engagelab: EngageLab) -> None:
    run = engagelab.send("user@example.com", custom_args={"order": 7})
    assert [event.custom_args for event in run.events] == [{"order": 7}] * 4
    assert run.events[-1].status.status_data.current_send_channel == "email"


# [refused]
def test_a_slip_of_the_pen_is_not_sent(engagelab: EngageLab) -> None:
    with pytest.raises(UnknownName, match="did you mean 'remain_balance'"):
        engagelab.notify("insufficient_balance", remain_balence=0)
    engagelab.journal.assert_nothing_sent()


# [extra]
def test_a_field_that_the_vendor_may_add(engagelab: EngageLab) -> None:
    [delivery] = engagelab.notify("insufficient_balance", region="SG")
    [row] = json.loads(delivery.callback.body)["rows"]
    assert row["notification"]["notification_data"]["region"] == "SG"


# [options]
def test_a_notification_that_is_retried(engagelab: EngageLab) -> None:
    [delivery] = engagelab.notify("insufficient_balance", fault="wrong_secret", retry=[60, 600])
    assert len(delivery.attempts) == 3


# [batch]
def test_a_message_in_two_callbacks(engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567", batch=2)
    assert [delivery.statuses for delivery in run.deliveries] == [["plan", "sent"], ["delivered", "verified"]]


# [block]
def test_everything_in_one_callback(engagelab: EngageLab) -> None:
    with engagelab.batch():
        run = engagelab.send("+6591234567", scenario="sent_failed")
        engagelab.send("+6591234568", scenario="delivered")
        engagelab.notify("insufficient_balance")
    [delivery] = engagelab.journal.deliveries
    assert json.loads(delivery.callback.body)["total"] == 6
    assert run.deliveries == [delivery]


# [total]
def test_a_total_that_is_wrong(engagelab: EngageLab) -> None:
    [delivery] = engagelab.send("+6591234567", batch="all", total=99).deliveries
    assert json.loads(delivery.callback.body)["total"] == 99


# [mixed]
def test_events_of_my_own_making(engagelab: EngageLab) -> None:
    login = engagelab.account.system_event("account_login", at=engagelab.clock.time())
    help_wanted = engagelab.account.uplink("+6591234567", body="HELP", at=engagelab.clock.time())
    [delivery] = engagelab.deliver([login, help_wanted])
    assert delivery.statuses == ["account_login", "uplink_message"]
