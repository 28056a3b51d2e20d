"""A proxy in front of a receiver, and what one connection to it carries."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

from engagelab_mock.server.proxy import Passed, RecordingProxy
from tests.peers import Conversation, Peer


@contextmanager
def proxied(reply: bytes) -> Iterator[tuple[Peer, RecordingProxy, list[Passed]]]:
    """Put a proxy before a socket that answers each connection's first request with these bytes."""

    def script(conversation: Conversation) -> None:
        if conversation.request():
            conversation.say(reply)

    passed: list[Passed] = []
    with Peer(script) as peer, RecordingProxy(peer.url, passed.append) as proxy:
        yield peer, proxy, passed


def converse(proxy: RecordingProxy, request: bytes) -> bytes:
    """Send bytes and return everything that comes back until the connection is closed or silent."""
    with closing(socket.create_connection(("127.0.0.1", proxy.port), timeout=10)) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.read()


HEAD = (
    b"POST /engagelab?x=%41 HTTP/1.1\r\n"
    b"Host: callbacks.acme.example\r\n"
    b"x-callback-ID:timestamp=1;nonce=2\r\n"
    b"X-Callback-Id:   twice \r\n"
    b"X-Odd: caf\xe9\r\n"
    b"Content-Type:application/json\r\n"
)
CHUNKS = b'3\r\n{"a\r\n3;x=y\r\n":1\r\n1\r\n}\r\n0\r\nT: 1\r\n\r\n'
BODY = b'{"total" : 1,\n"rows":[\xff]}'
