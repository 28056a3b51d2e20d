"""The stores and the PostgreSQL server that the tests of races and crashes share."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.receivers.racing import Store, folder


@pytest.fixture
def store() -> Iterator[Store]:
    with TemporaryDirectory(dir=folder()) as name:
        yield Store(Path(name, "shop.sqlite"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    from tests.postgres import running_postgres  # the driver is large, and few tests need it

    with running_postgres() as connection:
        yield connection


@pytest.fixture
def no_worker_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []
