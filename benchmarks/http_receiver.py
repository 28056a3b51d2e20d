"""A receiver that does as little as a receiver can, so that the client is measured and not the receiver.

`python -m benchmarks.http_receiver CORE [many]` prints its port and answers 200 until its standard input is closed.
With `many`, an event loop serves all connections, at several times the rate of threads.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from contextlib import suppress
from typing import cast

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


def serve(connection: socket.socket) -> None:
    """Answer each request on a connection: read to the end of its body, which is all that is looked at."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    received = b""
    # A client that is stopped in the middle of a request resets its connection.
    with connection, suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
            head, blank, body = received.partition(b"\r\n\r\n")
            if blank and len(body) >= _content_length(head):
                connection.sendall(ANSWER)
                received = b""


def _content_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0] or 0)


class _Answering(asyncio.Protocol):
    """Answer each request on a connection, which sends one at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        received = self._received + data
        head, blank, body = received.partition(b"\r\n\r\n")
        if not blank or len(body) < _content_length(head):
            self._received = received
            return
        self._received = b""
        self._transport.write(ANSWER)


async def serve_many() -> None:
    """Listen on a free port of 127.0.0.1, with all connections in one event loop."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main(core: int, *, many: bool) -> None:
    """Listen on a free port of 127.0.0.1, a thread to each connection unless there are many."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    if many:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_many())
        return
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), many="many" in sys.argv)
