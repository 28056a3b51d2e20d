"""A peer over a raw socket that follows a test's script exactly, and remembers the bytes it was sent."""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.patience import PATIENCE


class Conversation:
    """One accepted connection, as a script handles it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        #: Every request read so far, head and body.
        self.requests: list[bytes] = []

    def request(self) -> bytes:
        """Read one request whole; nothing when the client leaves instead."""
        data = self._read_until(b"", lambda data: b"\r\n\r\n" in data)
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        wanted = int(lengths[0].split(b":")[1]) if lengths else 0
        body = self._read_until(body, lambda data: len(data) >= wanted)
        if head:
            self.requests.append(head + b"\r\n\r\n" + body)
        return data

    def say(self, answer: bytes) -> None:
        """Send bytes as they are."""
        self.connection.sendall(answer)

    def reset(self) -> None:
        """Make the close a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def drip(self, answer: bytes, *, every: float) -> None:
        """Send one byte at a time, with that many seconds between, and over again until the client leaves."""
        for byte in itertools.islice(itertools.cycle(answer), int(PATIENCE / every)):
            if select.select([self.connection], [], [], every)[0]:
                return
            self.connection.sendall(bytes([byte]))

    def await_departure(self) -> None:
        """Wait until the client closes the connection."""
        while self.connection.recv(4096):
            pass

    def _read_until(self, data: bytes, enough: Callable[[bytes], bool]) -> bytes:
        while not enough(data):
            chunk = self.connection.recv(65536)
            if not chunk:
                break
            data += chunk
        return data


#: What a peer does with one connection; the connection is closed after it.
Script = Callable[[Conversation], object]


class Peer:
    """Listen on a free port of this machine; each connection runs the next script, the last one for all that follow."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self._scripts = scripts
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopping = False
        self._closed = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        #: Every connection, oldest first.
        self.conversations: list[Conversation] = []
        self.errors: list[Exception] = []

    @property
    def requests(self) -> list[bytes]:
        """Every request read, over all connections."""
        return [request for conversation in self.conversations for request in conversation.requests]

    def await_close(self) -> None:
        """Wait until the peer has closed one more connection."""
        assert self._closed.acquire(timeout=PATIENCE)

    def _listen(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self._stopping:
                    return
                connection.settimeout(PATIENCE)
                self._serve(connection)
            self._closed.release()

    def _serve(self, connection: socket.socket) -> None:
        script = self._scripts[min(len(self.conversations), len(self._scripts) - 1)]
        try:
            if self._tls is not None:
                # A client that refuses the certificate leaves in the middle of the handshake.
                with contextlib.suppress(OSError), self._tls.wrap_socket(connection, server_side=True) as secured:
                    self._converse(script, secured)
            else:
                self._converse(script, connection)
        except (ConnectionResetError, BrokenPipeError):
            pass  # a client may leave at any time, above all when its limit is over
        except Exception as error:
            self.errors.append(error)

    def _converse(self, script: Script, connection: socket.socket) -> None:
        conversation = Conversation(connection)
        self.conversations.append(conversation)
        script(conversation)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join(2 * PATIENCE)
        assert not self._thread.is_alive()
        self._listener.close()
        if error is None and self.errors:
            raise self.errors[0]


def answering(*answers: bytes) -> Script:
    """Answer as many requests on one connection, then close it."""

    def script(conversation: Conversation) -> None:
        for answer in answers:
            if not conversation.request():
                return
            conversation.say(answer)

    return script


def answer(status: str = "200 OK", body: bytes = b"", *headers: str) -> bytes:
    """Write an answer with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
