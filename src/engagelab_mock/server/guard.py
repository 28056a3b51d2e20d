"""The guard of the server: which clients may use the control API, EngageLab's API, and the console."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from werkzeug import Request

from engagelab_mock.errors import UsageError
from engagelab_mock.server.listening import is_loopback
from engagelab_mock.service.rest.exchange import ApiError


class Guard:
    """Raise `ApiError` for requests that may come from a web page elsewhere.

    With a token, a request to the control API passes if it has the token. Without one, the request must come from this
    machine, and its Host must be a loopback name: a web page elsewhere can only use another name (DNS rebinding).
    The names in `hosts` pass as well.
    """

    def __init__(self, token: str = "", hosts: Iterable[str] = ()) -> None:
        if not (token.isascii() and token.isprintable() and token == token.strip()):
            hint = "use visible ASCII characters, without a space at either end"
            raise UsageError("no client can send this token in a header", where="token", hint=hint)
        self._token = token
        self._hosts = frozenset(map(_checked_name, hosts))
        #: The last Host and client that passed: most requests have the same.
        self._passed: tuple[str, str | None] | None = None

    def check(self, request: Request) -> None:
        """Raise `ApiError` for a request to the control API that may not pass."""
        host, peer = request.headers.get("Host", ""), request.remote_addr
        _check_origin(request, host)
        if self._token:
            self._check_token(request.headers.get("Authorization", ""))
        elif peer and not is_loopback(peer):
            hint = "start the server with a token and send it as Authorization: Bearer …"
            raise ApiError(2004, f"without a token only this machine may use the control API; {hint}", http_status=403)
        elif not (is_loopback(_name(host)) or _name(host) in self._hosts):
            hint = "call it by 127.0.0.1 or localhost, or start the server with --allow-host or with a token"
            raise ApiError(2004, f"{host[:100]!r} is not a name of this machine; {hint}", http_status=403)

    def check_page(self, request: Request) -> None:
        """Raise `ApiError` for a request to EngageLab's API that a web page elsewhere may have made.

        Without a dev key, any credentials are accepted, also those that a page invents. Other machines may call it if
        the server listens for them, by an address or by a name that no public site can have.
        """
        host, peer = request.headers.get("Host", ""), request.remote_addr
        _check_origin(request, host)
        if self._passed == (host, peer):
            return
        name = _name(host)
        known = is_loopback(name) or _is_local(name) or name in self._hosts
        if not (known or (peer and not is_loopback(peer) and _is_address(name))):
            hint = "call it by 127.0.0.1 or localhost, or start the server with --allow-host or with --dev-key"
            raise ApiError(2004, f"{host[:100]!r} may be a name of another machine; {hint}", http_status=403)
        self._passed = host, peer

    def check_file(self, request: Request) -> None:
        """Raise `ApiError` for a request for a file of the console that may not pass; it has no data, so no token."""
        if self._token:
            _check_origin(request, request.headers.get("Host", ""))
        else:
            self.check(request)

    def _check_token(self, authorization: str) -> None:
        scheme, _, given = authorization.partition(" ")
        matches = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token.encode())
        if scheme.lower() != "bearer" or not matches:
            raise ApiError(
                2001,
                "the control API requires its token: Authorization: Bearer …",
                http_status=401,
                headers=(("WWW-Authenticate", "Bearer"),),
            )


def _checked_name(host: str) -> str:
    """Return the name of a host in lower case, or raise `UsageError` if it is not a name alone."""
    name = host.strip().lower()
    if not re.fullmatch(r"[a-z0-9_.:-]+", name) or _name(f"[{name}]" if _is_address(name) else name) != name:
        hint = "such as engagelab or mock.example.test: without a scheme, a port or a path"
        raise UsageError(f"{host!r:.100} is not the name of a host", where="allow_hosts", hint=hint)
    return name


def _check_origin(request: Request, host: str) -> None:
    origin = request.headers.get("Origin")
    if origin is not None and not _same(origin, host):
        raise ApiError(2004, f"a web page of {origin[:100]} may not use this API", http_status=403)


#: A name without a dot, or under a domain that is never public: those of containers and of hosts files.
_LOCAL = re.compile(r"[a-z0-9_-]+|[a-z0-9_.-]+\.(?:internal|localhost)")


def _is_local(name: str) -> bool:
    """Tell whether no public site can have this name."""
    return _LOCAL.fullmatch(name) is not None


def _is_address(name: str) -> bool:
    """Tell whether this is an IP address, which needs no DNS."""
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _same(origin: str, host: str) -> bool:
    """Tell whether a page came from this server."""
    try:
        return bool(host) and urlsplit(origin).netloc == host
    except ValueError:
        return False


def _name(host: str) -> str:
    """Return a Host header without its port and brackets; a client of HTTP/1.0 may send none."""
    try:
        return urlsplit(f"//{host}").hostname or "localhost"
    except ValueError:
        return host
