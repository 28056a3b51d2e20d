"""An engine and a client of its REST API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engagelab_mock import EngageLab
from tests.service.rest.client import Client


@pytest.fixture
def engagelab() -> Iterator[EngageLab]:
    with EngageLab() as engagelab:
        yield engagelab


@pytest.fixture
def client(engagelab: EngageLab) -> Client:
    return Client(engagelab)
