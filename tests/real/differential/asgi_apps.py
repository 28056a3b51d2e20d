"""The awkward apps as ASGI: one of each case, at its path."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from tests.real.differential.cases import LONGER, Notes
from tests.real.differential.wsgi_apps import PIECES

App = Callable[[Any, Any, Any], Awaitable[None]]
_USER: ContextVar[str] = ContextVar("_USER", default="nobody")


def asgi_app(directory: Path) -> App:
    """Return an app that notes the begin and the end of each request, with all that happens in between."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        case = scope["path"].strip("/").partition("/")[0]
        notes = Notes(directory / case)
        notes.add("begin")
        try:
            await _APPS[case](notes)(scope, receive, send)
        finally:
            notes.add("end")

    return app


def _view(handle: Callable[[Notes, Request], Any]) -> Callable[[Notes], App]:
    """Make an app of Starlette of a view."""

    def make(notes: Notes) -> App:
        async def endpoint(request: Request) -> Response:
            response: Response = await handle(notes, request)
            return response

        return Starlette(routes=[Route("/{path:path}", endpoint, methods=["POST"])])

    return make


def _bare(*messages: dict[str, Any], error: BaseException | None = None) -> Callable[[Notes], App]:
    """Make an app that sends these, and then raises or returns."""

    def make(notes: Notes) -> App:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            for message in messages:
                await send(message)
                await asyncio.sleep(0)
            if error is not None:
                raise error

        return app

    return make


def _start(length: int | None = None, status: int = 200) -> dict[str, Any]:
    headers = [] if length is None else [(b"content-length", b"%d" % length)]
    return {"type": "http.response.start", "status": status, "headers": headers}


async def _reads(notes: Notes, request: Request) -> Response:
    notes.add(f"read {len(await request.body()) // 1000} kB")
    return PlainTextResponse("fine")


async def _streams(notes: Notes, request: Request) -> Response:
    async def pieces() -> Any:
        for piece in PIECES:
            await asyncio.sleep(0.01)
            notes.add(piece.decode())
            yield piece

    return StreamingResponse(pieces())


def _early(notes: Notes) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(_start(4))
        await send({"type": "http.response.body", "body": b"fine"})
        notes.add(f"read: {bool((await receive()).get('body'))}")

    return app


async def _context(notes: Notes, request: Request) -> Response:
    task = asyncio.current_task()
    notes.add(_USER.get() if task is not None and not hasattr(task, "used") else "a task used before")
    _USER.set("an earlier request")
    return PlainTextResponse("fine")


async def _loop(notes: Notes, request: Request) -> Response:
    await anyio.to_thread.run_sync(notes.add, "worked")
    return PlainTextResponse("fine")


async def _works_after(notes: Notes, request: Request) -> Response:
    async def work() -> None:
        await asyncio.sleep(LONGER)
        notes.add("worked")

    return PlainTextResponse("fine", background=BackgroundTask(work))


async def _late(notes: Notes, request: Request) -> Response:
    await asyncio.sleep(LONGER)
    notes.add("worked")
    return PlainTextResponse("fine")


async def _retried(notes: Notes, request: Request) -> Response:
    again = "refused" in notes.read()
    notes.add("accepted" if again else "refused")
    return PlainTextResponse("", 200 if again else 503)


async def _redirects(notes: Notes, request: Request) -> Response:
    return RedirectResponse("/plain")


async def _fine(notes: Notes, request: Request) -> Response:
    return PlainTextResponse("fine" * 500)


def _gzip(notes: Notes) -> App:
    return GZipMiddleware(_view(_fine)(notes))


def _buffered(notes: Notes) -> App:
    async def through(request: Request, call_next: Any) -> Response:
        answer = await call_next(request)
        return Response(b"".join([chunk async for chunk in answer.body_iterator]), answer.status_code)

    return BaseHTTPMiddleware(_view(_streams)(notes), through)


def _mounted(notes: Notes) -> App:
    async def sub_app(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"].removeprefix(scope["root_path"])
        notes.add(f"root {scope['root_path']}, path {path}")
        await PlainTextResponse("fine")(scope, receive, send)

    return Starlette(routes=[Mount("/mounted", sub_app)])


async def _called(notes: Notes, request: Request) -> Response:
    notes.add("called")
    return PlainTextResponse("fine")


def _late_streaming(notes: Notes) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(_start())
        await asyncio.sleep(LONGER)
        notes.add("worked")
        for piece in PIECES:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
        notes.add("sent")

    return app


async def _cut(notes: Notes, request: Request) -> Response:
    try:
        await request.body()
    except ClientDisconnect:
        notes.add("told")
        raise
    notes.add("whole")
    return PlainTextResponse("fine")


_FINE = {"type": "http.response.body", "body": b"fine"}
_APPS: dict[str, Callable[[Notes], App]] = {
    "plain": _bare(_start(4), _FINE),
    "reads": _view(_reads),
    "streams": _view(_streams),
    "empty": _bare(_start(0), {"type": "http.response.body"}),
    "large": _bare(_start(2_000_000), {"type": "http.response.body", "body": b"x" * 2_000_000}),
    "early": _early,
    "context": _view(_context),
    "loop": _view(_loop),
    "works_after": _view(_works_after),
    "fails_after": _bare(_start(4), _FINE, error=LookupError("too late")),
    "late": _view(_late),
    "retried": _view(_retried),
    "redirects": _view(_redirects),
    "gzip": _gzip,
    "buffered": _buffered,
    "mounted": _mounted,
    "twice": _view(_called),
    "late_streaming": _late_streaming,
    "cut": _view(_cut),
    "fails": _bare(error=LookupError("no such message")),
    "fails_midway": _bare(_start(8), {**_FINE, "more_body": True}, error=LookupError("no such message")),
    "silent": _bare(),
    "short": _bare(_start(8), _FINE),
}
