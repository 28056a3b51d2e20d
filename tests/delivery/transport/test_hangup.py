"""A client that hangs up, as apps in process see it: at the same points as behind a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from flask import Flask, request
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from engagelab_mock import Delivery, EngageLab, Outcome, Receiver

BROKEN = {
    "request_lost": "the connection was closed on purpose before the request was sent",
    "short_body": "broken off on purpose after",
    "reset": "the connection was reset on purpose once the request was out",
}


def struck(receiver: Receiver, name: str) -> Delivery:
    with EngageLab(receiver) as engagelab:
        [delivery] = engagelab.send("+6591234567", scenario=["plan"], fault=name).deliveries
        assert engagelab.send("+6591234567", scenario=["plan"]).acknowledged
    assert delivery.outcome is Outcome.ABANDONED
    assert delivery.attempts[0].response is None
    assert delivery.attempts[0].error.startswith(BROKEN[name])
    return delivery


@pytest.mark.parametrize("name", BROKEN)
def test_a_flask_app(name: str) -> None:
    app = Flask(__name__)
    log: list[str] = []

    @app.post("/")
    def view() -> str:
        log.append("begun")
        log.append(f"read {len(request.get_data())}")
        return ""

    @app.teardown_request
    def torn_down(error: BaseException | None) -> None:
        log.append("torn down")

    delivery = struck(Receiver.wsgi(app), name)
    length = f"read {len(delivery.body)}"
    first = {
        "request_lost": [],
        # Werkzeug makes a 400 of it.
        "short_body": ["begun", "torn down"],
        "reset": ["begun", length, "torn down"],
    }
    assert log == [*first[name], "begun", length, "torn down"]


Read = Callable[[Any, int], bytes]


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda stream, length: stream.read(), id="all"),
        pytest.param(lambda stream, length: stream.read(None), id="none"),
        pytest.param(lambda stream, length: stream.read(length) + stream.read(length), id="pieces"),
        pytest.param(lambda stream, length: b"".join(iter(lambda: stream.readline(99), b"")), id="lines"),
    ],
)
def test_a_wsgi_app_that_reads_is_told(read: Read) -> None:
    told: list[str] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        try:
            read(environ["wsgi.input"], int(environ["CONTENT_LENGTH"]))
        except ConnectionResetError as error:
            told.append(str(error))
            raise
        start_response("200 OK", [])
        return []

    with EngageLab(Receiver.wsgi(app)) as engagelab:
        [delivery] = engagelab.send("+6591234567", scenario=["plan"], fault="short_body").deliveries
    assert told == ["the client closed the connection in the middle of the body"]
    assert isinstance(delivery.attempts[0].exception, ConnectionResetError)


def test_a_wsgi_answer_that_cannot_be_sent_is_read_to_its_first_bytes_and_closed() -> None:
    log: list[str] = []

    class Answer:
        def __iter__(self) -> Iterator[bytes]:
            for piece in (b"", b"one", b"two"):
                log.append(f"read {piece.decode()}")
                yield piece

        def close(self) -> None:
            log.append("closed")

    def app(environ: Any, start_response: Any) -> Answer:
        start_response("200 OK", [])
        return Answer()

    struck(Receiver.wsgi(app), "reset")
    assert log == ["read ", "read one", "closed", "read ", "read one", "read two", "closed"]


def starlette_app(log: list[str]) -> Starlette:
    async def view(request: Request) -> Response:
        try:
            log.append(f"read {len(await request.body())}")
        except ClientDisconnect:
            log.append("disconnected")
            raise
        return Response()

    return Starlette(routes=[Route("/", view, methods=["POST"])])


@pytest.mark.parametrize("name", BROKEN)
def test_a_starlette_app(name: str) -> None:
    log: list[str] = []
    delivery = struck(Receiver.asgi(starlette_app(log)), name)
    length = f"read {len(delivery.body)}"
    first = {"request_lost": [], "short_body": ["disconnected"], "reset": [length]}
    assert log == [*first[name], length]


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.anyio
async def test_a_starlette_app_in_the_tests_loop(name: str) -> None:
    log: list[str] = []
    with EngageLab(Receiver.asgi(starlette_app(log), lifespan=False)) as engagelab:
        with anyio.fail_after(10):
            run = await engagelab.asend("+6591234567", scenario=["plan"], fault=name)
    assert run.deliveries[0].outcome is Outcome.ABANDONED
    assert len(log) == (name != "request_lost")


def test_an_asgi_app_s_answer_to_a_client_that_has_gone_is_dropped() -> None:
    log: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        log.append([(await receive())["type"], (await receive())["type"]])
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})
        log.append("done")

    with EngageLab(Receiver.asgi(app, lifespan=False)) as engagelab:
        [delivery] = engagelab.send("+6591234567", scenario=["plan"], fault="reset").deliveries
    assert log == [["http.request", "http.disconnect"], "done"]
    assert delivery.outcome is Outcome.ABANDONED
