"""What tests of both event loops have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engagelab_mock import Receiver

START = 1_700_000_000

#: An ASGI app.
App = Callable[[Any, Any, Any], Any]


def answering(status: int = 200, before: Callable[[], Any] | None = None) -> App:
    """Make an ASGI app that awaits `before()`, if given, and answers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await receive()
        if before is not None:
            await before()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


def asgi(app: Any, **settings: Any) -> Receiver:
    """Reach an app in process, signed."""
    return Receiver.asgi(app, "/engagelab", username="acme", secret="s3cret", **settings)
