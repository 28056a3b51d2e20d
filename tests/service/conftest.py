"""Fixtures of the engine's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.service.endpoints import Endpoint, Make


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def endpoint() -> Iterator[Make]:
    with ExitStack() as stack:

        def make(name: str, *, status: int = 200) -> Endpoint:
            made = Endpoint(name, status=status)
            stack.enter_context(made.server)
            stack.callback(made.receiver.close)
            stack.callback(made.go_on.set)
            return made

        yield make


@pytest.fixture
def switch_often() -> Iterator[None]:
    """Have threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
