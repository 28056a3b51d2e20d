"""Orders on FastAPI and SQLite."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from engagelab_mock import Receiver
from tests.receivers.gallery.orders import PATH, SECRET, USERNAME, Orders, State
from tests.receivers.gallery.sqlite import SqliteLedger


class FastAPIShop:
    """Serve orders, correct ones unless told otherwise."""

    def __init__(self, orders: type[Orders] = Orders) -> None:
        self.ledger = SqliteLedger()
        self.orders = orders(self.ledger)
        self.app = FastAPI(openapi_url=None)
        self.app.add_api_route(PATH, self._endpoint, methods=["POST"])

    async def _endpoint(self, request: Request) -> Response:
        body = await request.body()
        try:
            return Response(status_code=self.orders.receive(request.headers.get("X-CALLBACK-ID"), body))
        except Exception:
            return Response(status_code=500)

    @property
    def receiver(self) -> Receiver:
        return Receiver.asgi(self.app, path=PATH, username=USERNAME, secret=SECRET, observe=self.observe)

    def observe(self, message_id: str) -> State:
        return self.ledger.observe(message_id)

    def reset(self) -> None:
        self.orders.reset()

    def close(self) -> None:
        self.ledger.close()
