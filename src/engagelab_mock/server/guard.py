"""Who may use the control API: this machine's programs, or whoever has the token; no web page of somebody else's."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from engagelab_mock.server.exchange import HttpRequest
from engagelab_mock.server.loopback import is_loopback
from engagelab_mock.service.rest.exchange import ApiError


class Guard:
    """Let requests to the control API pass, or raise `ApiError`.

    With a token, whoever sends it as `Authorization: Bearer …`. Without one, who is on this machine and calls it by a
    name of its own: a name that leads here from elsewhere is how a web page would reach it (DNS rebinding).
    """

    def __init__(self, token: str = "") -> None:
        self._token = token

    def check(self, request: HttpRequest) -> None:
        """Raise `ApiError` for a request that may not pass."""
        if request.origin is not None and not _same(request.origin, request.host):
            raise ApiError(2004, f"a web page of {request.origin[:100]} may not use the control API", http_status=403)
        if self._token:
            self._check_token(request.authorization)
        elif request.peer and not is_loopback(request.peer):
            hint = "start the server with a token and send it as Authorization: Bearer …"
            raise ApiError(2004, f"without a token the control API is for this machine alone; {hint}", http_status=403)
        elif not is_loopback(_name(request.host)):
            hint = "call it by 127.0.0.1 or localhost, or start the server with a token"
            raise ApiError(2004, f"{request.host[:100]!r} is not a name of this machine; {hint}", http_status=403)

    def _check_token(self, authorization: str | None) -> None:
        scheme, _, given = (authorization or "").partition(" ")
        matches = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token.encode())
        if scheme.lower() != "bearer" or not matches:
            raise ApiError(
                2001,
                "the control API wants its token: Authorization: Bearer …",
                http_status=401,
                headers=(("WWW-Authenticate", "Bearer"),),
            )


def _same(origin: str, host: str) -> bool:
    """Tell whether a page is one of this server's own."""
    try:
        return bool(host) and urlsplit(origin).netloc == host
    except ValueError:
        return False


def _name(host: str) -> str:
    """Return a Host header without its port and brackets; nothing is what a client of HTTP/1.0 leaves out."""
    try:
        return urlsplit(f"//{host}").hostname or "localhost"
    except ValueError:
        return host
