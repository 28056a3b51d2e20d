"""The console's files: one page, its style and its scripts, as they are in the package."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from werkzeug import Response

from engagelab_mock.server.app import CONSOLE
from engagelab_mock.service.rest.exchange import ApiError

_FOLDER = Path(__file__).with_name("console")
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
#: A page from here runs its own scripts and calls its own server, and a page of another site cannot frame it.
_HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def page(path: str) -> Response:
    """Return the answer to a request for the page or one of its files; raise `ApiError` if the file does not exist.

    >>> page("/").mimetype, page("/console/console.css").mimetype
    ('text/html', 'text/css')
    """
    name = "console.html" if path == "/" else path.removeprefix(CONSOLE)
    content = _files().get(name)
    if content is None:
        raise ApiError(4001, f"there is no {path[:100]!r}; the console is at /", http_status=404)
    return Response(content, headers=_HEADERS, content_type=f"{_TYPES[Path(name).suffix]}; charset=utf-8")


@cache
def _files() -> dict[str, bytes]:
    """Return the content of each file. The folder is listed, so that no path leads out of it."""
    return {path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.suffix in _TYPES}
