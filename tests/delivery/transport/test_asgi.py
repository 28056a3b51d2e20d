"""ASGI apps, called in process: their input, and the possible outcomes."""

from __future__ import annotations

import asyncio
import contextlib
from time import perf_counter
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from engagelab_mock import Callback, EngageLab, Headers, NotAcknowledged, Outcome, Receiver, UsageError
from engagelab_mock.delivery.transport.asgi import AsgiTransport
from tests.failures import failure_of

LIMIT = 0.2
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
BODY = {"type": "http.response.body", "body": b"fine"}


async def fine(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send(BODY)


class Keeping:
    """An app that keeps the scope and body of each call."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.messages.append(await receive())
        await fine(scope, receive, send)


def receiver_for(app: Any, path: str = "/engagelab", **settings: Any) -> Receiver:
    return Receiver.asgi(app, path, username="acme", secret="s3cret", **{"lifespan": False, **settings})


def test_the_scope() -> None:
    app = Keeping()
    receiver = receiver_for(
        app,
        "/engage%20lab/%C3%A9?tenant=7&x=%20",
        authorization="Bearer é",
        base_url="https://receiver.example:8443",
    )
    with EngageLab(receiver) as engagelab:
        callback = engagelab.send("+6591234567", scenario=["plan"]).deliveries[0].callback
    [scope] = app.scopes
    assert (scope["type"], scope["method"], scope["http_version"]) == ("http", "POST", "1.1")
    assert scope["scheme"] == "https"
    assert scope["path"] == "/engage lab/é"
    assert scope["raw_path"] == b"/engage%20lab/%C3%A9"
    assert scope["query_string"] == b"tenant=7&x=%20"
    assert scope["server"] == ("receiver.example", 8443)
    assert scope["headers"] == [
        (b"host", b"receiver.example:8443"),
        (b"content-length", str(len(callback.body)).encode()),
        (b"content-type", b"application/json"),
        (b"user-agent", b"engagelab-mock"),
        (b"x-callback-id", callback.headers["X-CALLBACK-ID"].encode()),
        (b"authorization", b"Bearer \xe9"),
    ]
    assert app.messages == [{"type": "http.request", "body": callback.body, "more_body": False}]


def test_a_scope_is_each_calls_own() -> None:
    async def greedy(scope: Any, receive: Any, send: Any) -> None:
        assert scope["method"] == "POST"
        scope.clear()
        await fine(scope, receive, send)

    with EngageLab(receiver_for(greedy)) as engagelab:
        assert engagelab.send("+6591234567").acknowledged


def test_a_header_sent_twice_arrives_twice() -> None:
    app = Keeping()
    transport = AsgiTransport(app, "http://testserver/", lifespan=False)
    transport.exchange(Callback(Headers([("X-CALLBACK-ID", "one"), ("X-Callback-Id", "two")]), b""), 3)
    transport.close()
    assert app.scopes[0]["headers"][2:] == [(b"x-callback-id", b"one"), (b"x-callback-id", b"two")]


def test_receive_after_the_body_waits_for_the_end_of_the_answer() -> None:
    events: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.request"

        async def watch() -> None:
            events.append((await receive())["type"])

        watcher = asyncio.create_task(watch())
        await send(START)
        await asyncio.sleep(0)
        events.append("answered")
        await send(BODY)
        await watcher
        events.append((await receive())["type"])

    with EngageLab(receiver_for(app)) as engagelab:
        assert engagelab.send(scenario=["plan"]).acknowledged
    assert events == ["answered", "http.disconnect", "http.disconnect"]


def test_a_streaming_answer_is_read_to_its_end() -> None:
    async def endpoint(request: Request) -> Response:
        assert (await request.json())["total"] == 1

        async def chunks() -> Any:
            for number in range(3):
                yield f"{number};"
                await asyncio.sleep(0)

        return StreamingResponse(chunks())

    app = Starlette(routes=[Route("/engagelab", endpoint, methods=["POST"])])
    with EngageLab(receiver_for(app)) as engagelab:
        run = engagelab.send(scenario=["plan"])
    response = run.deliveries[0].attempts[0].response
    assert response is not None
    assert response.body == b"0;1;2;"


@pytest.mark.parametrize("waits", [False, True], ids=["answers at once", "waits before its answer"])
def test_work_in_the_background_is_done_when_send_returns_and_has_no_limit(waits: bool) -> None:
    done: list[str] = []

    async def work() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.1)
        done.append("work")

    async def endpoint(request: Request) -> Response:
        if waits:
            await asyncio.sleep(0)
        return PlainTextResponse("", background=BackgroundTask(work))

    app = Starlette(routes=[Route("/engagelab", endpoint, methods=["POST"])])
    with EngageLab(receiver_for(app, limit=0.05)) as engagelab:
        run = engagelab.send(scenario=["plan"])
        assert done == ["work"]
    assert run.acknowledged


def test_an_app_that_hangs_is_a_timeout() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    error = failure_of(receiver_for(app, limit=LIMIT))
    assert error.delivery.outcome is Outcome.TIMEOUT
    assert not error.delivery.outcome.unreachable
    assert error.what.endswith("no complete answer within 0.2 s")
    assert "answer first" in error.hint


def test_an_app_that_begins_its_answer_and_hangs_is_a_timeout() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({**BODY, "more_body": True})
        await receive()
        await receive()

    assert failure_of(receiver_for(app, limit=LIMIT)).delivery.outcome is Outcome.TIMEOUT


def test_an_app_that_blocks_the_loop_is_a_timeout_judged_afterwards() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        until = perf_counter() + 0.06
        while perf_counter() < until:
            pass
        await fine(scope, receive, send)

    attempt = failure_of(receiver_for(app, limit=0.05)).delivery.attempts[0]
    assert attempt.outcome is Outcome.TIMEOUT
    assert attempt.error.startswith("answered 200 after 0.")


def test_an_apps_own_timeout_error_is_not_ours() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise TimeoutError("the database")

    error = failure_of(receiver_for(app))
    assert error.delivery.outcome is Outcome.APP_RAISED
    assert isinstance(error.__cause__, TimeoutError)


@pytest.mark.parametrize("said", [[], [START], [START, {**BODY, "more_body": True}]])
def test_an_app_that_raises_before_its_answer_is_complete(said: list[Any]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in said:
            await send(message)
        raise LookupError("no such message")

    error = failure_of(receiver_for(app))
    assert error.delivery.outcome is Outcome.APP_RAISED
    assert error.what == "plan was not acknowledged: the app raised LookupError: no such message"
    assert type(error.__cause__) is LookupError


def test_an_app_that_raises_after_its_answer_has_answered() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await fine(scope, receive, send)
        raise LookupError("too late")

    with EngageLab(receiver_for(app)) as engagelab:
        run = engagelab.send(scenario=["plan"])
    [attempt] = run.deliveries[0].attempts
    assert attempt.acknowledged
    assert isinstance(attempt.exception, LookupError)


def test_a_framework_that_answers_500_and_raises_shows_both() -> None:
    app = FastAPI()

    @app.post("/engagelab")
    async def view() -> None:
        raise LookupError("no such message")

    error = failure_of(receiver_for(app))
    attempt = error.delivery.attempts[0]
    assert attempt.outcome is Outcome.NOT_200
    assert attempt.error == "answered 500; only 200 acknowledges"
    assert type(error.__cause__) is LookupError
    assert error.hint == "the app's own exception is the cause shown with this failure"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([], "the app returned and sent no response"),
        ([BODY], "the app returned and sent no response"),
        ([START], "the app returned and did not finish its response"),
        ([START, {**BODY, "more_body": True}], "the app returned and did not finish its response"),
        ([{"type": "http.response.start"}, BODY], "the app's response breaks ASGI: KeyError: 'status'"),
        ([{**START, "status": "fine"}, BODY], "the app's response breaks ASGI: ValueError: "),
        ([{**START, "headers": [("name", "value")]}, BODY], "the app's response breaks ASGI: TypeError: "),
        ([{**START, "headers": [b"ab" * 9]}, BODY], "the app's response breaks ASGI: "),
        ([START, {**BODY, "body": "text"}], "the app's response breaks ASGI: TypeError: "),
    ],
)
def test_an_app_that_breaks_asgi_is_malformed(said: list[Any], reason: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in said:
            await send(message)

    error = failure_of(receiver_for(app))
    assert error.delivery.outcome is Outcome.MALFORMED
    assert error.delivery.attempts[0].error.startswith(reason)
    assert error.hint == "the app breaks its server interface; a server in front of it would answer 500"


@pytest.mark.asyncio
async def test_a_synchronous_send_in_a_running_loop_names_the_way_out() -> None:
    with EngageLab(receiver_for(fine)) as engagelab:
        with pytest.raises(UsageError, match="inside a running event loop") as caught:
            engagelab.send("+6591234567")
        assert "await engagelab.asend(...)" in caught.value.hint


@pytest.mark.asyncio
async def test_asend_calls_the_app_in_the_tests_own_loop() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        loops.append(asyncio.get_running_loop())
        await fine(scope, receive, send)

    with EngageLab(receiver_for(app)) as engagelab:
        assert (await engagelab.asend("+6591234567")).acknowledged
    assert set(loops) == {asyncio.get_running_loop()}


@pytest.mark.asyncio
async def test_asend_raises_the_same_as_send() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    with EngageLab(receiver_for(app, limit=LIMIT)) as engagelab:
        with pytest.raises(NotAcknowledged) as caught:
            await engagelab.asend("+6591234567")
        assert caught.value.delivery.outcome is Outcome.TIMEOUT
        assert len(engagelab.journal) == 1


def test_one_loop_stays_open_between_callbacks() -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    left: list[asyncio.Task[bool]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        loops.append(asyncio.get_running_loop())
        left.append(asyncio.create_task(asyncio.Event().wait()))
        await fine(scope, receive, send)

    with EngageLab(receiver_for(app)) as engagelab:
        assert engagelab.send("+6591234567").acknowledged
        assert len(set(loops)) == 1
        assert not loops[0].is_closed()
    assert loops[0].is_closed()
    assert all(task.cancelled() for task in left)
