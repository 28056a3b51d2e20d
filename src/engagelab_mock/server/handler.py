"""One connection: a whole request within a limit of time, or an error object."""

from __future__ import annotations

import io
import json
import socket
from time import monotonic
from typing import TYPE_CHECKING, Any

from werkzeug.serving import WSGIRequestHandler

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: How long a client may take to send its request, in seconds.
REQUEST_LIMIT = 10.0
#: How long a client whose request was none may go on with it, in seconds.
_LINGER = 0.5
#: What the error object says of a request that is none: the API's "bad parameters" [?].
_CODE = 3002


class RequestHandler(WSGIRequestHandler):
    """Answer one request, or say what is wrong with it; log what fails here and leave the rest to the app."""

    #: Seconds from the connection to the request's last byte; what a client takes to read is limited likewise.
    limit = REQUEST_LIMIT

    def setup(self) -> None:
        """Read under the limit."""
        super().setup()
        self.connection.settimeout(self.limit)
        self.rfile.close()
        self.rfile = io.BufferedReader(_Arriving(self.connection, self.limit))

    def parse_request(self) -> bool:
        """Read the head, and answer 408 to one that does not end in time."""
        try:
            return super().parse_request()
        except TimeoutError:
            self.send_error(408, f"the request did not arrive within {self.limit:g} seconds")
            return False

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that never reaches the app."""
        self.close_connection = True
        # Until a request line is understood it counts as HTTP/0.9, whose answers have no head.
        self.request_version = self.protocol_version
        reason = self.responses.get(code, ("error", ""))[0]
        body = json.dumps({"code": _CODE, "message": printable(message or reason)}).encode()
        try:
            self.send_response(code, reason)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
            self._linger()
        except OSError:  # nobody is left to read it
            return

    def _linger(self) -> None:
        """Read on for a moment: what is closed with something unread is reset, and the answer lost with it."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(_LINGER)
        end = monotonic() + _LINGER
        while monotonic() < end and self.connection.recv(65536):
            pass

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: the app does."""

    def log_error(self, format: str, *args: Any) -> None:
        """Log nothing: a connection that is opened and not used is no failure."""


class _Arriving(io.RawIOBase):
    """Read from a socket until a limit is over, however slowly it arrives."""

    def __init__(self, connection: socket.socket, limit: float) -> None:
        self._connection = connection
        self._limit = limit
        self._deadline = monotonic() + limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(left)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._limit)


def printable(text: str) -> str:
    """Return a text without what would act on a terminal, and not longer than a line or two.

    >>> printable("red: \\x1b[31m")
    'red: \\\\x1b[31m'
    """
    return "".join([c if c.isprintable() else ascii(c)[1:-1] for c in text])[:200]
