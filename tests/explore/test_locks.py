"""Databases that are asked whether a handler waits for a lock, and that do not answer."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from engagelab_mock.explore.locks import LockWaits, stack_of


class Unreachable:
    """The driver of PostgreSQL, for a server that lets no other connection in."""

    class Error(Exception):
        """What the driver raises."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def connect(self, server: str, **options: Any) -> None:
        self.asked.append({"server": server, **options})
        raise self.Error("connection timeout expired")


def test_a_server_that_does_not_answer_is_asked_once_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Unreachable()
    monkeypatch.setitem(sys.modules, "psycopg", driver)
    info = SimpleNamespace(dsn="host=shop", password="", backend_pid=7)
    told: dict[str, Any] = {"__name__": "psycopg.cursor", "sys": sys, "stack_of": stack_of}
    exec("def execute(self, ask): return ask(sys._getframe())", told)
    locks = LockWaits()
    for _ in range(2):
        assert told["execute"](SimpleNamespace(info=info), lambda frame: locks.waits([frame], 0.01)) is None
    locks.close()
    assert driver.asked == [{"server": "host=shop", "password": None, "connect_timeout": 2, "autocommit": True}]
