"""What must be seen when a receiver does not accept our signature."""

from __future__ import annotations

import pytest

from engagelab_mock import EngageLab, NotAcknowledged, Outcome, Receiver


def assert_refused_as_unsigned(receiver: Receiver) -> None:
    """Send to a receiver with another secret: nothing is acknowledged, and the secret is named as the suspect."""
    with EngageLab(receiver) as engagelab, pytest.raises(NotAcknowledged) as caught:
        engagelab.send("+6591234567")
    [attempt] = caught.value.delivery.attempts
    assert attempt.outcome is Outcome.NOT_200
    assert attempt.response is not None
    assert attempt.response.status == 401
    assert caught.value.hint.startswith("it was signed as 'acme': does the receiver use the same username and secret?")
    assert len(engagelab.journal) == 1
