"""A WSGI app on a real socket, for as long as a `with` block lasts."""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

from werkzeug.serving import make_server

from engagelab_mock.errors import UsageError
from engagelab_mock.server.handler import REQUEST_LIMIT, RequestHandler

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

#: How often the server looks whether it should stop, in seconds; Werkzeug's own 0.5 is what makes others slow to stop.
_POLL = 0.004
#: How long `stop` waits for the server's thread, in seconds.
_JOIN = 5.0
_BACKLOG = 128


class LoopbackServer:
    """Serve a WSGI app over HTTP/1.1, by default on a free port of 127.0.0.1 that nobody else can reach.

    >>> from engagelab_mock import EngageLab, Receiver, Recorder
    >>> with LoopbackServer(Recorder()) as server, EngageLab(Receiver.http(server.url)) as engagelab:
    ...     engagelab.send("+6591234567").acknowledged
    True

    The port is bound and listens once this is constructed, so a request made at any time after waits its turn. A
    request that has not arrived `request_limit` seconds after its connection is answered 408.
    """

    def __init__(
        self, app: WSGIApplication, host: str = "127.0.0.1", port: int = 0, *, request_limit: float = REQUEST_LIMIT
    ) -> None:
        handler = type("LimitedHandler", (RequestHandler,), {"limit": request_limit})
        # Werkzeug answers a port in use by ending the process, so the socket is opened here and handed over.
        with listening_socket(host, port) as listening:
            self._server = make_server(host, port, app, threaded=True, request_handler=handler, fd=listening.fileno())
        self.host = host
        self.port = self._server.port
        self._thread: threading.Thread | None = None
        self._stopped = False

    @property
    def url(self) -> str:
        """Return the address at which this machine reaches the server, without a trailing slash."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Tell whether only this machine can reach the server."""
        return is_loopback(self.host)

    def start(self) -> Self:
        """Answer requests from now on, on a thread of its own."""
        if self._stopped:
            raise UsageError("the server was stopped and cannot start again", where="LoopbackServer")
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._server.serve_forever, args=(_POLL,), name=f"LoopbackServer:{self.port}", daemon=True
            )
            self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering and free the port; a second time does nothing."""
        if self._stopped:
            return
        self._stopped = True
        if self._thread is None:
            self._server.server_close()
            return
        self._server.shutdown()
        self._thread.join(_JOIN)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<LoopbackServer {self.url}>"


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address stands for this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens already, or raise `UsageError` saying why it cannot.

    >>> with listening_socket("127.0.0.1", 0) as listening:
    ...     listening.getsockname()[0]
    '127.0.0.1'
    """
    where = f"{host}:{port}"
    if not 0 <= port <= 65535:
        raise UsageError(f"there is no port {port}", where=where, hint="ports go from 0 (any free one) to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        what, hint = _explain(error, host, port)
        raise UsageError(what, where=where, hint=hint) from error


def _explain(error: OSError | UnicodeError, host: str, port: int) -> tuple[str, str]:
    number = error.errno if isinstance(error, OSError) else socket.EAI_NONAME
    if number in {socket.EAI_NONAME, socket.EAI_AGAIN}:
        return f"the host {host!r} cannot be resolved", "127.0.0.1 is this machine, for itself alone"
    if number == errno.EADDRINUSE:
        return f"port {port} is in use", "stop the program that listens there, or take port 0, which is any free one"
    if number == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine", "127.0.0.1 is, for itself alone; 0.0.0.0 is for all"
    if number == errno.EACCES:
        return f"port {port} is not for this user", "take one above 1023, or port 0, which is any free one"
    return f"the port cannot be opened: {error}", "take port 0, which is any free one"
