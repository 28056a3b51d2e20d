"""The moment at which an answer is on its way, while the test asks already: every callback goes out, and once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import msgspec
import pytest

from engagelab_mock import ApiRequest, EngageLab
from tests.patience import PATIENCE
from tests.server.conftest import BASIC, message


@pytest.fixture
def hectic() -> Iterator[None]:
    """Have threads take turns as often as can be."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hectic")
def test_a_server_that_has_written_and_a_test_that_asks_release_callbacks_once() -> None:
    body = msgspec.json.encode(message())
    for _ in range(40):
        with EngageLab() as engagelab:
            answers = engagelab.api.handle(ApiRequest("POST", "/v1/messages", BASIC, body))
            server = threading.Thread(target=answers.written)
            server.start()
            engagelab.settle()
            server.join(PATIENCE)
            assert engagelab.journal.statuses == ["plan", "sent", "delivered"]
