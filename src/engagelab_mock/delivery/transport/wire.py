"""How a request is written: at once by default, or in the unusual and broken ways of faults.

In process, a wire can break off too.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.protocol.callback import Callback

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

#: Why an exchange broke off.
BEFORE_REQUEST = "the connection was closed on purpose before the request was sent"
BEFORE_ANSWER = "the connection was reset on purpose once the request was out"


class Wire(msgspec.Struct):
    """Hold how a request is written; times are in seconds.

    Most of it is only for HTTP. In process, there is only a method, and a broken exchange, which is an exception that
    the app gets from its server interface.
    """

    #: The HTTP method. Callbacks use POST, but receivers get other requests too.
    method: str = "POST"
    version: str = "1.1"
    chunked: bool = False
    #: Send `Expect: 100-continue`, and the body after this long without an interim answer.
    expect: float | None = None
    #: The number of pieces of head and body, with a pause before each piece except the first.
    head_pieces: int = 1
    head_pause: float = 0.0
    body_pieces: int = 1
    body_pause: float = 0.0
    #: Close without sending anything.
    silent: bool = False
    #: Stop after this many bytes of the body and close.
    cut_after: int | None = None
    #: Gets the connection, still open, when the exchange breaks off. The owner of the list closes it.
    held: list[socket.socket] | None = None
    #: Reset the connection once the request is sent, without reading the answer.
    reset: bool = False
    #: Stop waiting for the answer this long after the request is sent.
    abandon_after: float | None = None
    #: Gets a function that sends the last byte, once all others are sent, and returns when that function was called. So
    #: several requests can reach their receivers at the same time.
    hold: Callable[[Callable[[], None]], object] | None = None
    #: How long `hold` took. The receiver did not have the request then, so this is not its time.
    held_back: float = 0.0
    #: "alive" uses a kept connection that is still open, "kept" uses one unchecked, "new" opens and closes one.
    connection: Literal["alive", "kept", "new"] = "alive"

    @property
    def reusable(self) -> bool:
        """Tell whether the connection can be used again, because the request on it is an ordinary one."""
        return self.connection != "new" and self == Wire(connection=self.connection)

    @property
    def pauses(self) -> float:
        """Return the sum of the sender's own pauses."""
        return (self.head_pieces - 1) * self.head_pause + (self.body_pieces - 1) * self.body_pause

    def frame(self, head: str, body: bytes) -> tuple[bytes, bytes]:
        """Return head and body as bytes; the head comes as "POST target HTTP/1.1" and headers, unfinished."""
        if self.method != "POST":
            head = head.replace("POST", self.method, 1)
        if self.version != "1.1":
            head = head.replace("HTTP/1.1", f"HTTP/{self.version}", 1)
        if self.expect is not None:
            head += "Expect: 100-continue\r\n"
        if self.connection == "new":
            head += "Connection: close\r\n"
        if self.chunked:
            middle = -(-len(body) // 2)
            chunks = [chunk for chunk in (body[:middle], body[middle:]) if chunk]
            body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
            head += "Transfer-Encoding: chunked\r\n"
        else:
            head += f"Content-Length: {len(body)}\r\n"
        return f"{head}\r\n".encode("latin-1"), body

    def put(self, connection: socket.socket, head: bytes, body: bytes) -> None:
        """Send a framed request, without its body if the receiver refuses it.

        Raises `TransportFailure` if the wire breaks off.
        """
        if self.silent:
            raise TransportFailure(Outcome.ABANDONED, BEFORE_REQUEST)
        if self.hold is not None:
            whole = head + body
            connection.sendall(whole[:-1])
            begun = stopwatch()
            self.hold(lambda: connection.sendall(whole[-1:]))
            self.held_back = stopwatch() - begun
            return
        _send(connection, head, self.head_pieces, self.head_pause)
        if self.expect is not None and not _may_continue(connection, self.expect):
            return
        if self.cut_after is not None:
            connection.sendall(body[: self.cut_after])
            if self.held is not None:
                # A second descriptor keeps it open when the first is closed. socket.dup() would not work under TLS.
                self.held.append(socket.socket(fileno=os.dup(connection.fileno())))
            raise TransportFailure(Outcome.ABANDONED, self.mid_body(len(body)))
        _send(connection, body, self.body_pieces, self.body_pause)
        if self.reset:
            # With a linger time of 0, close() sends a reset instead of an orderly end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise TransportFailure(Outcome.ABANDONED, BEFORE_ANSWER)

    def mid_body(self, length: int) -> str:
        """Describe the place at which a body of that length broke off."""
        return f"broken off on purpose after {min(self.cut_after or 0, length)} of {length} body bytes"


class CutBody(BytesIO):
    """Give a WSGI app the part of the body that arrived, and then raise `ConnectionResetError`.

    >>> CutBody(b"{").read(2)
    b'{'
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the rest of the part, until no bytes are left."""
        return self._some(super().read(-1 if size is None or size < 0 else size), size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the rest of a line, until no bytes are left."""
        return self._some(super().readline(-1 if size is None else size), size)

    def _some(self, data: bytes, size: int | None) -> bytes:
        # If a caller reads to the end, it waits for bytes that never come.
        if size != 0 and (not data or size is None or size < 0):
            raise ConnectionResetError("the client closed the connection in the middle of the body")
        return data


def failure_of(wire: Wire, length: int) -> TransportFailure | None:
    """Return the failure of an exchange that the wire breaks off; None if the wire does not break it off.

    Raises the failure if the app never gets the request. `length` is the length of the body, in bytes.

    >>> failure_of(Wire(cut_after=2), 4).reason
    'broken off on purpose after 2 of 4 body bytes'
    """
    if wire.silent:
        raise TransportFailure(Outcome.ABANDONED, BEFORE_REQUEST)
    if wire.cut_after is not None:
        return TransportFailure(Outcome.ABANDONED, wire.mid_body(length))
    return TransportFailure(Outcome.ABANDONED, BEFORE_ANSWER) if wire.reset else None


def break_off_wsgi(
    app: WSGIApplication, environ: dict[str, Any], start_response: StartResponse, callback: Callback, wire: Wire
) -> None:
    """Call the app and raise the `TransportFailure` of a wire that breaks off; return if it does not break off."""
    failure = failure_of(wire, len(callback.body))
    if failure is None:
        return
    if wire.cut_after is not None:
        environ["wsgi.input"] = CutBody(callback.body[: wire.cut_after])
    try:
        answer = app(environ, start_response)
        try:
            # A server notices when it sends the first bytes.
            next(filter(None, answer), None)
        finally:
            # PEP 3333: even if it cannot send the answer, it must close it.
            close = getattr(answer, "close", None)
            if close is not None:
                close()
    except BaseException as error:
        raise failure from error
    raise failure


def _send(connection: socket.socket, data: bytes, pieces: int, pause: float) -> None:
    for number, piece in enumerate(_cut(data, pieces)):
        if number:
            time.sleep(pause)
        connection.sendall(piece)


def _cut(data: bytes, pieces: int) -> Iterator[bytes]:
    size = max(1, -(-len(data) // pieces))
    for start in range(0, len(data), size):
        yield data[start : start + size]


def wait_for(connection: socket.socket, seconds: float | None, *, writable: bool = False) -> bool:
    """Wait until there are bytes to read, or, if asked, space to write; return whether there are."""
    if not hasattr(select, "poll"):  # on Windows, `select` has no limit on descriptors
        ready = select.select([connection], [connection] if writable else [], [], seconds)
        return bool(ready[0] or ready[1])
    # `select` refuses descriptors above 1023.
    poll = select.poll()
    poll.register(connection, select.POLLIN | (select.POLLOUT if writable else 0))
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def _may_continue(connection: socket.socket, wait: float) -> bool:
    """Wait for an interim answer; return False for a final one, which refuses the body."""
    if not wait_for(connection, wait) or type(connection) is not socket.socket:
        return True
    line = connection.recv(12, socket.MSG_PEEK)
    return not line.startswith(b"HTTP/1.") or line[9:10] == b"1"
