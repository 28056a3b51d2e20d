"""A receiver behind Flask, Django or FastAPI."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response

from tests.checks.receivers.correct import PATH, CorrectReceiver, Incoming

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]


def on_flask(receiver: CorrectReceiver) -> WSGIApplication:
    from flask import Flask, request
    from flask import Response as Answer

    app = Flask(__name__)

    @app.route(PATH, methods=METHODS)
    def engagelab() -> Answer:
        signature = request.headers.get("X-Callback-Id")
        headers = {name.lower(): value for name, value in request.headers}
        incoming = Incoming(request.method, [] if signature is None else [signature], headers, request.get_data())
        status, body, more = receiver.answer(incoming)
        response = Answer(body, status)
        response.headers.update(more)
        return response

    return app


def on_django(receiver: CorrectReceiver) -> Any:
    import django
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpRequest, HttpResponse
    from django.urls import path
    from django.views.decorators.csrf import csrf_exempt

    @csrf_exempt
    def engagelab(request: HttpRequest) -> HttpResponse:
        signature = request.headers.get("X-Callback-Id")
        headers = {name.lower(): value for name, value in request.headers.items()}
        signatures = [] if signature is None else [signature]
        status, body, more = receiver.answer(Incoming(request.method or "", signatures, headers, request.body))
        return HttpResponse(body, status=status, headers=more)

    urls: Any = ModuleType("engagelab_check_urls")
    urls.urlpatterns = [path(PATH[1:], engagelab)]
    sys.modules["engagelab_check_urls"] = urls
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="k", ROOT_URLCONF="engagelab_check_urls", MIDDLEWARE=[])
        django.setup()
    return WSGIHandler()


def on_fastapi(receiver: CorrectReceiver) -> Any:
    app = FastAPI()

    async def engagelab(request: Request) -> Response:
        incoming = Incoming(
            request.method, request.headers.getlist("X-Callback-Id"), dict(request.headers), await request.body()
        )
        status, body, more = receiver.answer(incoming)
        return Response(body, status, more)

    app.add_api_route(PATH, engagelab, methods=METHODS)
    return app
