"""Orders on Flask and SQLite."""

from __future__ import annotations

from flask import Flask, request

from engagelab_mock import Receiver
from tests.receivers.gallery.orders import PATH, SECRET, USERNAME, Orders, State
from tests.receivers.gallery.sqlite import SqliteLedger


class FlaskShop:
    """Serve orders, correct ones unless told otherwise."""

    def __init__(self, orders: type[Orders] = Orders, database: str = ":memory:") -> None:
        self.ledger = SqliteLedger(database)
        self.orders = orders(self.ledger)
        self.app = Flask("shop")
        self.app.add_url_rule(PATH, "engagelab", self._view, methods=["POST"])
        # What a crash of the app comes to is an answer 500, as behind any server.
        self.app.config["PROPAGATE_EXCEPTIONS"] = False
        self.app.logger.disabled = True

    def _view(self) -> tuple[str, int]:
        return "", self.orders.receive(request.headers.get("X-CALLBACK-ID"), request.get_data())

    @property
    def receiver(self) -> Receiver:
        return Receiver.wsgi(self.app, path=PATH, username=USERNAME, secret=SECRET, observe=self.observe)

    def observe(self, message_id: str) -> State:
        return self.ledger.observe(message_id)

    def reset(self) -> None:
        self.orders.reset()

    def close(self) -> None:
        self.ledger.close()
