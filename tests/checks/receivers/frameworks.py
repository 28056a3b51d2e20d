"""One or several receivers, each at its path, behind Flask, Django, FastAPI or bare ASGI."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response

from tests.checks.receivers.correct import PATH, CorrectReceiver, Incoming

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]
#: A receiver at `PATH`, or several by name, each at `/NAME` followed by `PATH`.
Receivers = CorrectReceiver | Mapping[str, CorrectReceiver]


def by_path(receivers: Receivers) -> dict[str, CorrectReceiver]:
    """Return receivers by their paths."""
    if isinstance(receivers, CorrectReceiver):
        return {PATH: receivers}
    return {f"/{name}{PATH}": receiver for name, receiver in receivers.items()}


def on_flask(receivers: Receivers) -> WSGIApplication:
    from flask import Flask, request
    from flask import Response as Answer

    app = Flask(__name__)

    def engagelab(receiver: CorrectReceiver) -> Answer:
        signature = request.headers.get("X-Callback-Id")
        headers = {name.lower(): value for name, value in request.headers}
        incoming = Incoming(request.method, [] if signature is None else [signature], headers, request.get_data())
        status, body, more = receiver.answer(incoming)
        response = Answer(body, status)
        response.headers.update(more)
        return response

    for path, receiver in by_path(receivers).items():
        app.add_url_rule(path, path, partial(engagelab, receiver), methods=METHODS)
    return app


def on_django(receivers: Receivers) -> Any:
    import django
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpRequest, HttpResponse
    from django.urls import path
    from django.views.decorators.csrf import csrf_exempt

    @csrf_exempt
    def engagelab(request: HttpRequest, receiver: CorrectReceiver) -> HttpResponse:
        signature = request.headers.get("X-Callback-Id")
        headers = {name.lower(): value for name, value in request.headers.items()}
        signatures = [] if signature is None else [signature]
        status, body, more = receiver.answer(Incoming(request.method or "", signatures, headers, request.body))
        return HttpResponse(body, status=status, headers=more)

    urls: Any = ModuleType("engagelab_check_urls")
    urls.urlpatterns = [path(at[1:], engagelab, {"receiver": receiver}) for at, receiver in by_path(receivers).items()]
    sys.modules["engagelab_check_urls"] = urls
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="k", ROOT_URLCONF="engagelab_check_urls", MIDDLEWARE=[])
        django.setup()
    return WSGIHandler()


def on_fastapi(receivers: Receivers) -> Any:
    app = FastAPI()
    known = by_path(receivers)

    async def engagelab(request: Request) -> Response:
        receiver = known[request.url.path]
        incoming = Incoming(
            request.method, request.headers.getlist("X-Callback-Id"), dict(request.headers), await request.body()
        )
        status, body, more = receiver.answer(incoming)
        return Response(body, status, more)

    for path in known:
        app.add_api_route(path, engagelab, methods=METHODS)
    return app


def on_asgi(receivers: Receivers) -> Any:
    known = by_path(receivers)

    async def app(
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            raise RuntimeError("there is nothing to start")
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        signatures = [value for name, value in raw if name == "x-callback-id"]
        incoming = Incoming(scope["method"], signatures, dict(raw), body)
        status, text, headers = known[scope["path"]].answer(incoming)
        given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        given += [] if "content-length" in headers else [(b"content-length", str(len(text.encode())).encode())]
        await send({"type": "http.response.start", "status": status, "headers": given})
        await send({"type": "http.response.body", "body": text.encode()})

    return app
