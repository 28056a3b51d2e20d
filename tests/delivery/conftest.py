"""A journal with entries of several kinds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engagelab_mock import EngageLab, Receiver
from tests.receivers.refusing import refusing


@pytest.fixture
def mixed() -> Iterator[EngageLab]:
    """Two messages, one of them refused at its end, a notification and a ping."""
    app = refusing("verified")
    with EngageLab(Receiver.wsgi(app), seed="mixed") as engagelab:
        engagelab.send("+6591234567", scenario="delivered")
        engagelab.send("user@example.com", scenario="verified", check=False)
        engagelab.notify("insufficient_balance")
        engagelab.validate_address()
        yield engagelab
