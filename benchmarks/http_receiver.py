"""A receiver that does as little as a receiver can, so that the client is measured and not the receiver.

`python -m benchmarks.http_receiver CORE` prints its port and answers 200 until its standard input is closed.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import suppress

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


def main(core: int) -> None:
    """Listen on a free port of 127.0.0.1, a thread to each connection."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
