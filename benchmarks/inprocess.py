"""G4 to G6: the cost of a callback in process, compared with a bare call of the app and with other ways to call it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from io import BytesIO
from typing import Any

import werkzeug.test

from benchmarks import subject
from benchmarks.peers import why_missing
from benchmarks.row import Row
from benchmarks.timing import Effort, ainterleaved, interleaved, microseconds
from engagelab_mock import Callback, EngageLab, Journal, Receiver
from engagelab_mock.delivery.transport.asgi import AsgiTransport


def wsgi(effort: Effort) -> Iterator[Row]:
    """G4: encode, sign, enter in the journal and call, for an app that does nothing; then all that a `send` does.

    The context has an app that reads, and werkzeug's client, which does not sign.
    """
    receiver = Receiver.wsgi(subject.wsgi_app, subject.PATH, username=subject.USERNAME, secret=subject.SECRET)
    reading = Receiver.wsgi(subject.reading_wsgi_app, subject.PATH, username=subject.USERNAME, secret=subject.SECRET)
    journal = Journal()
    sender, events = subject.sender(journal), (subject.event(),)
    callback = subject.signed_callback(receiver)
    environ = _environ(callback)
    client = werkzeug.test.Client(subject.wsgi_app)
    engagelab = EngageLab(receiver, journal=journal)
    taken = interleaved(
        effort,
        {
            "bare": lambda: subject.wsgi_app(environ, _start_response),
            "signed": lambda: subject.deliver(sender, receiver, events),
            "bare_reading": lambda: subject.reading_wsgi_app(
                {**environ, "wsgi.input": BytesIO(callback.body)}, _start_response
            ),
            "signed_reading": lambda: subject.deliver(sender, reading, events),
            "send_of_four": lambda: engagelab.send("+6591234567", scenario="verified"),
            "werkzeug_client": lambda: client.post(subject.PATH, data=callback.body, content_type="application/json"),
        },
        between=journal.clear,
    )
    taken["send_per_callback"] = taken.pop("send_of_four") / 4
    context = microseconds(taken)
    yield Row(
        goal="G4",
        what="signed WSGI callback / bare call of a trivial app",
        value=taken["signed"] / taken["bare"],
        budget=45,
        context=context,
    )
    yield Row(
        goal="G4",
        what="`send` of four callbacks, all of it, per callback / the signed WSGI callback",
        value=taken["send_per_callback"] / taken["signed"],
        budget=2,
        context=context,
    )


def flask(effort: Effort) -> Iterator[Row]:
    """G5: the same for an app that verifies and parses."""
    app = subject.flask_app()
    receiver = Receiver.wsgi(app, subject.PATH, username=subject.USERNAME, secret=subject.SECRET)
    journal = Journal()
    sender, events = subject.sender(journal), (subject.event(),)
    callback = subject.signed_callback(receiver)
    environ = _environ(callback)
    client = app.test_client()
    headers = dict(callback.headers)

    def bare() -> None:
        # As PEP 3333 wants it: the body is read once, so it is renewed; the answer is read, then closed.
        answer: Any = app({**environ, "wsgi.input": BytesIO(callback.body)}, _start_response)
        b"".join(answer)
        answer.close()

    taken = interleaved(
        effort,
        {
            "bare": bare,
            "signed": lambda: subject.deliver(sender, receiver, events),
            "test_client": lambda: client.post(subject.PATH, data=callback.body, headers=headers),
        },
        between=journal.clear,
    )
    assert subject.deliver(sender, receiver, events).acknowledged
    yield Row(
        goal="G5",
        what="signed callback into a Flask app / bare call of that app",
        value=taken["signed"] / taken["bare"],
        budget=1.2,
        context=microseconds(taken),
    )


def asgi(effort: Effort) -> Iterator[Row]:
    """G6: the driver alone, in a running loop and from synchronous code; the context has an app that reads."""
    transport = AsgiTransport(subject.asgi_app, f"http://testserver{subject.PATH}")
    reading = AsgiTransport(subject.reading_asgi_app, f"http://testserver{subject.PATH}")
    receiver = Receiver.asgi(subject.asgi_app, subject.PATH, username=subject.USERNAME, secret=subject.SECRET)
    callback = subject.signed_callback(receiver)
    in_loop = asyncio.run(_in_loop(effort, transport, reading, callback))
    with_sync = interleaved(
        effort,
        {
            "sync": lambda: transport.exchange(callback, receiver.limit),
            "sync_reading": lambda: reading.exchange(callback, receiver.limit),
        },
    )
    transport.close()
    reading.close()
    context = microseconds(in_loop | with_sync)
    yield Row(
        goal="G6",
        what="ASGI driver in a running loop / bare await of a trivial app",
        value=in_loop["driver"] / in_loop["bare"],
        budget=24,
        context=context,
    )
    yield Row(
        goal="G6",
        what="ASGI driver from synchronous code / bare await of a trivial app",
        value=with_sync["sync"] / in_loop["bare"],
        budget=30,
        context=context,
    )


async def _in_loop(
    effort: Effort, transport: AsgiTransport, reading: AsgiTransport, callback: Callback
) -> dict[str, float]:
    scope = {
        "type": "http",
        "method": "POST",
        "path": subject.PATH,
        "headers": [(name.lower().encode(), value.encode()) for name, value in callback.headers.pairs],
    }
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "bare": lambda: subject.asgi_app(scope, _receive, _send),
        "driver": lambda: transport.aexchange(callback, 3.0),
        "bare_reading": lambda: subject.reading_asgi_app(scope, _receive, _send),
        "driver_reading": lambda: reading.aexchange(callback, 3.0),
    }
    async with AsyncExitStack() as stack:
        if not why_missing("httpx"):
            import httpx

            app = httpx.ASGITransport(subject.asgi_app)
            client = await stack.enter_async_context(httpx.AsyncClient(transport=app, base_url="http://testserver"))
            calls["httpx"] = lambda: client.post(subject.PATH, content=callback.body)
        return await ainterleaved(effort, calls)


def _environ(callback: Callback) -> dict[str, Any]:
    environ = werkzeug.test.EnvironBuilder(
        subject.PATH, method="POST", data=callback.body, headers=list(callback.headers.pairs)
    ).get_environ()
    return dict(environ)


def _start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
    return None


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Any) -> None:
    return None
