"""What every delivery that was not acknowledged must show, wherever it failed."""

from __future__ import annotations

import pytest

from engagelab_mock import EngageLab, NotAcknowledged, Outcome, Receiver


def failure_of(receiver: Receiver) -> NotAcknowledged:
    """Send to a receiver that will not acknowledge; check that the error and the journal tell the whole story."""
    with EngageLab(receiver) as engagelab:
        with pytest.raises(NotAcknowledged) as caught:
            engagelab.send("+6591234567", custom_args={"order": 7})
        [delivery] = engagelab.journal.deliveries
    error = caught.value
    assert error.delivery is delivery
    [attempt] = delivery.attempts
    assert attempt.outcome not in {Outcome.PENDING, Outcome.ACKNOWLEDGED}
    assert not delivery.acknowledged
    assert attempt.number == 1
    assert attempt.elapsed > 0
    assert attempt.error.isprintable()

    assert delivery.statuses == ["plan"]
    lines = str(error).splitlines()
    assert lines[0] == f"plan was not acknowledged: {attempt.error}"
    assert lines[1] == f"  hint: {error.hint}"
    assert error.hint
    [request_line] = [line for line in lines if line.startswith("request: ")]
    assert f"POST {receiver.address}" in request_line
    for name, value in attempt.callback.headers.pairs:
        assert f"  {name}: {value}" in lines
    assert '"message_status": "plan",' in str(error)
    assert '"order": 7' in str(error)
    [response_line] = [line for line in lines if line.startswith("response: ")]
    response = attempt.response
    if response is None:
        assert response_line.startswith(f"response: none ({attempt.outcome} after ")
    else:
        assert response_line.startswith(f"response: {response.status}")
        assert all(f"  {name}: {value}" in lines for name, value in response.headers.pairs)
    return error
