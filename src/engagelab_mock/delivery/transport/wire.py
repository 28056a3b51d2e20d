"""How a request is put on the wire: as one write by default, or in any of the ways HTTP allows and breaks."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterator

import msgspec

from engagelab_mock.delivery.outcome import Outcome, TransportFailure

#: How long an Expect waits for the receiver to agree before the body goes out all the same, in seconds.
_CONTINUE_WAIT = 1.0


class Wire(msgspec.Struct):
    """Say how a request is put on the wire; `pause` and `abandon_after` are in seconds. Only HTTP has a wire."""

    version: str = "1.1"
    chunked: bool = False
    expect: bool = False
    #: Into how many pieces head and body are cut, with a pause before each but the first.
    head_pieces: int = 1
    body_pieces: int = 1
    pause: float = 0.0
    #: Stop after this many bytes of the body and close.
    cut_after: int | None = None
    #: Reset the connection once the request is out, without reading the answer.
    reset: bool = False
    #: Give up waiting for the answer after this long.
    abandon_after: float | None = None
    #: Use a connection of its own, closed afterwards.
    fresh: bool = False

    def frame(self, head: str, body: bytes) -> tuple[bytes, bytes]:
        """Return head and body as bytes; the head comes as "METHOD target HTTP/1.1" and headers, unfinished."""
        if self.version != "1.1":
            head = head.replace("HTTP/1.1", f"HTTP/{self.version}", 1)
        if self.expect:
            head += "Expect: 100-continue\r\n"
        if self.fresh:
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
        """Send a framed request; raises `TransportFailure` where the wire says to break off."""
        for number, piece in enumerate(_pieces(head, self.head_pieces)):
            if number:
                time.sleep(self.pause)
            connection.sendall(piece)
        if self.expect and not _may_continue(connection):
            return
        if self.cut_after is not None:
            connection.sendall(body[: self.cut_after])
            reason = f"broken off on purpose after {min(self.cut_after, len(body))} of {len(body)} body bytes"
            raise TransportFailure(Outcome.ABANDONED, reason)
        for number, piece in enumerate(_pieces(body, self.body_pieces)):
            if number:
                time.sleep(self.pause)
            connection.sendall(piece)
        if self.reset:
            # Lingering for no time makes close() send a reset instead of an orderly end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise TransportFailure(Outcome.ABANDONED, "the connection was reset on purpose once the request was out")


def _pieces(data: bytes, count: int) -> Iterator[bytes]:
    size = max(1, -(-len(data) // count))
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _may_continue(connection: socket.socket) -> bool:
    """Wait for an interim answer; a final one, which refuses the body, means that it need not be sent."""
    readable, _, _ = select.select([connection], [], [], _CONTINUE_WAIT)
    if not readable or type(connection) is not socket.socket:
        return True
    line = connection.recv(12, socket.MSG_PEEK)
    return not line.startswith(b"HTTP/1.") or line[9:10] == b"1"
