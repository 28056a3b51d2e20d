"""Several receivers, each with its settings, and their addresses."""

from __future__ import annotations

import pytest

from engagelab_mock import EngageLab, NotAcknowledged, Receiver, Recorder


# [fixture]
@pytest.fixture
def engagelab_receiver(otp_app: Recorder, billing_app: Recorder) -> list[Receiver]:
    return [
        Receiver.wsgi(otp_app, "/otp", description="login", username="acme", secret="s3cret", events=["status"]),
        Receiver.wsgi(billing_app, "/billing", description="billing", events=["insufficient_balance"]),
    ]


# [subscribed]
def test_who_gets_what(engagelab: EngageLab) -> None:
    login, billing = engagelab.receivers
    engagelab.send("+6591234567")
    engagelab.notify("insufficient_balance")
    assert engagelab.journal.where(receiver=login).statuses == ["plan", "sent", "delivered", "verified"]
    assert engagelab.journal.where(receiver=billing).statuses == ["insufficient_balance"]


# [fails]
def test_whose_failure_it_was(engagelab: EngageLab, billing_app: Recorder) -> None:
    billing_app.answer = 500
    with pytest.raises(NotAcknowledged, match="insufficient_balance was not acknowledged by 'billing'"):
        engagelab.notify("insufficient_balance")


# [save]
def test_an_address_is_validated_when_it_is_saved(engagelab: EngageLab) -> None:
    broken = Receiver.wsgi(Recorder(answer=404), "/typo")
    delivery = engagelab.save_receiver(broken)
    assert not delivery.acknowledged
    assert broken.state == "abnormal"


# [refresh]
def test_refreshed_addresses(engagelab: EngageLab, billing_app: Recorder) -> None:
    engagelab.refresh()
    assert [receiver.state for receiver in engagelab.receivers] == ["normal", "normal"]
    billing_app.answer = 500
    engagelab.refresh()
    assert [receiver.state for receiver in engagelab.receivers] == ["normal", "abnormal"]


# [skip]
def test_an_abnormal_address_can_be_skipped() -> None:
    broken = Receiver.wsgi(Recorder(answer=500))
    with EngageLab([broken], abnormal="skip") as engagelab:
        engagelab.refresh()
        assert engagelab.send("+6591234567").deliveries == []


# [end skip]
@pytest.fixture
def otp_app() -> Recorder:
    return Recorder(username="acme", secret="s3cret")


@pytest.fixture
def billing_app() -> Recorder:
    return Recorder()
