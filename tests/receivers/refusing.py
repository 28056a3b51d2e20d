"""An app that refuses some callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def refusing(*texts: str) -> Callable[..., Iterable[bytes]]:
    """Make a WSGI app that answers 503 to callbacks that hold any of these texts, such as a status or a recipient."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
        start_response("503 Busy" if any(f'"{text}"' in body for text in texts) else "200 OK", [])
        return []

    return app
