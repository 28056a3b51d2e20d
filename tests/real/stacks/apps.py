"""One small receiver in three frameworks: each reads header and body in its framework's usual way, and answers 200."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.real.stacks.record import Record, Seen

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from django.http import HttpRequest, HttpResponse
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

USERNAME, SECRET = "acme", "s3cret"


def flask_app(record: Record) -> WSGIApplication:
    """Record at /engagelab; receive through the vendor's SDK at /sdk."""
    from engagelab_otp import CallbackEvent, MessageStatusEvent, WebhookVerifier
    from flask import Flask, request

    app = Flask(__name__)

    @app.post("/engagelab")
    def engagelab() -> str:
        port, header = int(request.environ["REMOTE_PORT"]), request.headers.get("X-CALLBACK-ID", "")
        try:
            body = request.get_data()
        except Exception as error:
            record.write(Seen(port, header, error=type(error).__name__))
            raise
        record.write(Seen(port, header, body))
        return ""

    def handle(events: list[CallbackEvent]) -> None:
        statuses = [event.status for event in events if isinstance(event, MessageStatusEvent)]
        record.write(Seen(0, "", statuses=statuses))

    view = WebhookVerifier(USERNAME, SECRET).flask_view(handle)
    app.add_url_rule("/sdk", "sdk", view, methods=["POST"])
    return app


def django_app(record: Record) -> WSGIApplication:
    """Record at /engagelab."""
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path

    def engagelab(request: HttpRequest) -> HttpResponse:
        port, header = int(request.META["REMOTE_PORT"]), request.headers.get("X-CALLBACK-ID", "")
        try:
            body = request.body
        except Exception as error:
            record.write(Seen(port, header, error=type(error).__name__))
            raise
        record.write(Seen(port, header, body))
        return HttpResponse()

    settings.configure(
        SECRET_KEY="tests",
        ALLOWED_HOSTS=["127.0.0.1"],
        # It gives answers their length, without which runserver closes each connection.
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        ROOT_URLCONF=(path("engagelab", engagelab),),
    )
    return get_wsgi_application()


def starlette_app(record: Record) -> Starlette:
    """Record at /engagelab; FastAPI's requests are Starlette's."""
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    async def engagelab(request: Request) -> Response:
        assert request.client is not None
        port, header = request.client.port, request.headers.get("X-CALLBACK-ID", "")
        try:
            body = await request.body()
        except Exception as error:
            record.write(Seen(port, header, error=type(error).__name__))
            raise
        record.write(Seen(port, header, body))
        return Response()

    return Starlette(routes=[Route("/engagelab", engagelab, methods=["POST"])])
