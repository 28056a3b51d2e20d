"""Shops that the command `explore` explores: each has addresses for callbacks, state, messages and reset."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import flask

from engagelab_mock.server.loopback import LoopbackServer
from tests.cli.conftest import PATIENCE
from tests.receivers.meeting import Meeting
from tests.receivers.racing import statuses

RANK = ["plan", "sent", "delivered", "verified"]


class Shop:
    """Keep the status of each message, and give one credit for a verification."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.seen: set[tuple[str, str]] = set()
        self.prepared: list[tuple[str, dict[str, Any]]] = []
        self.resets = 0

    def apply(self, message_id: str, status: str) -> None:
        order = self.order(message_id)
        if order["status"] is None or RANK.index(status) > RANK.index(order["status"]):
            order["status"] = status
        if status == "verified" and (message_id, status) not in self.seen:
            order["credits"] += 1
        self.seen.add((message_id, status))

    def order(self, message_id: str) -> dict[str, Any]:
        return self.orders.setdefault(message_id, {"status": None, "credits": 0})

    def empty(self) -> None:
        self.resets += 1
        self.orders.clear()
        self.seen.clear()

    # The addresses of the app.

    def engagelab(self) -> str:
        for message_id, status in statuses(flask.request.get_json(force=True, silent=True) or {"rows": []}):
            self.apply(message_id, status)
        return ""

    def state(self, message_id: str) -> Any:
        return self.orders.get(message_id) or ("", 404)

    def message(self, message_id: str) -> tuple[str, int]:
        self.prepared.append((flask.request.full_path, flask.request.get_json()))
        self.order(message_id)
        return "", 201

    def reset(self) -> str:
        self.empty()
        return ""


class LastWins(Shop):
    def apply(self, message_id: str, status: str) -> None:
        self.order(message_id)["status"] = status


class GivesTwice(Shop):
    def apply(self, message_id: str, status: str) -> None:
        super().apply(message_id, status)
        self.seen.clear()


class OnlyPrepared(Shop):
    def apply(self, message_id: str, status: str) -> None:
        if message_id in self.orders:
            super().apply(message_id, status)


class Forgets(Shop):
    def apply(self, message_id: str, status: str) -> None:
        self.order(message_id)

    def state(self, message_id: str) -> Any:
        return {"status": None}


class KeepsData(Shop):
    """Reset nothing."""

    def empty(self) -> None:
        self.resets += 1


class LooksFirst(Shop):
    """Look, wait for the handlers that look at the same time, and then give the credit."""

    def __init__(self, meeting: Meeting) -> None:
        super().__init__()
        self.meeting = meeting
        self.lock = threading.Lock()

    def apply(self, message_id: str, status: str) -> None:
        known = (message_id, status) in self.seen
        self.meeting.wait()
        with self.lock:
            if not known:
                self.seen.discard((message_id, status))
                super().apply(message_id, status)


class RefusesUntilReset(Shop):
    """Hold each callback until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived, self.go_on = threading.Event(), threading.Event()

    def apply(self, message_id: str, status: str) -> None:
        if self.resets > 3:
            self.arrived.set()
            self.go_on.wait(PATIENCE)
        super().apply(message_id, status)


@contextmanager
def served(shop: Shop) -> Iterator[str]:
    """Serve a shop, and yield its address without a path."""
    app = flask.Flask("shop")
    app.add_url_rule("/engagelab", "engagelab", shop.engagelab, methods=["POST"])
    app.add_url_rule("/state/<message_id>", "state", shop.state)
    app.add_url_rule("/messages/<message_id>", "message", shop.message, methods=["POST"])
    app.add_url_rule("/reset", "reset", shop.reset, methods=["POST"])
    app.add_url_rule("/broken", "broken", lambda: ("no such table\n", 500), methods=["POST"])
    with LoopbackServer(app) as server:
        yield server.url
