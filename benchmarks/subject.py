"""The event that is sent, the trivial apps that get it, and a Flask app as a user writes it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

from flask import Flask, request

from engagelab_mock import (
    Callback,
    Delivery,
    Generator,
    Headers,
    Journal,
    Message,
    Receiver,
    StatusEvent,
    VirtualClock,
    encode,
)
from engagelab_mock.delivery.io import SYNC, run_sync
from engagelab_mock.delivery.sender import Sender

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

USERNAME, SECRET = "acme", "s3cret"
PATH = "/engagelab"

MESSAGE = Message(
    id="1742442805608914944",
    to="+8615989574757",
    template_key="auto_create_templateu25az170295320745",
    business_id="100917676394736",
)


def event() -> StatusEvent:
    return MESSAGE.event("delivered", at=1704265712, channel="sms")


def sender(journal: Journal) -> Sender:
    return Sender(journal=journal, clock=VirtualClock(), generate=Generator.seeded(0))


def deliver(sender: Sender, receiver: Receiver, events: tuple[StatusEvent, ...]) -> Delivery:
    """Encode, sign, enter in the journal, send and judge: one attempt, as the engine makes it."""
    delivery = Delivery(receiver, events, encode(events))
    run_sync(sender.attempt(SYNC, delivery))
    return delivery


def signed_callback(receiver: Receiver) -> Callback:
    """Return one callback for clients that do not sign: they send it again and again."""
    assert receiver.signer is not None
    header = receiver.signer.header(1704265712, "123123123123")
    return Callback(Headers([("Content-Type", "application/json"), ("X-CALLBACK-ID", header)]), encode([event()]))


def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Do the least an app can: answer 200 to any body."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def reading_wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Do the least a receiver can: read the body and answer 200."""
    environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return wsgi_app(environ, start_response)


async def asgi_app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Do the least an app can: answer 200 to any body."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


async def reading_asgi_app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Do the least a receiver can: read the body and answer 200."""
    await receive()
    await asgi_app(scope, receive, send)


def flask_app() -> Flask:
    """Make an app that verifies the signature itself and reads the rows."""
    app = Flask(__name__)

    @app.post(PATH)
    def callback() -> str:
        given = dict(part.split("=", 1) for part in request.headers["X-CALLBACK-ID"].split(";"))
        text = given["timestamp"] + given["nonce"] + given["username"]
        expected = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
        assert hmac.compare_digest(expected, given["signature"])
        return str(len(request.get_json()["rows"]))

    return app
