"""Raw requests of every shape against `serve` and `record`: answered as they deserve, without a 5xx or a traceback.

A shape that is a request is forwarded with its first line unchanged. Any other gets its 4xx at once from both.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from engagelab_mock import EngageLab
from engagelab_mock.server import create_app
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.server.proxy import Passed, RecordingProxy
from tests.patience import PATIENCE
from tests.peers import Conversation, Peer, answer

HOST = b"Host: 127.0.0.1\r\n"


def line(first: bytes) -> bytes:
    """Write a request without a body."""
    return first + b"\r\n" + HOST + b"\r\n"


def headed(*headers: bytes, body: bytes = b"", method: bytes = b"POST") -> bytes:
    """Write a request with these headers."""
    return b"%s /cb HTTP/1.1\r\n%s%s\r\n%s" % (method, HOST, b"".join(each + b"\r\n" for each in headers), body)


def long(length: bytes, body: bytes = b"{}") -> bytes:
    """Write a request with that Content-Length."""
    return headed(b"Content-Length: " + length, body=body)


def chunked(chunks: bytes, *headers: bytes) -> bytes:
    """Write a request with these chunks."""
    return headed(b"Transfer-Encoding: chunked", *headers, body=chunks)


#: Requests. Each is passed on, with its first line as it is.
REQUESTS = {
    "plain": long(b"2"),
    "no body": line(b"POST /cb HTTP/1.1"),
    "two slashes": line(b"GET //cb HTTP/1.1"),
    "many slashes": line(b"GET ////cb///x HTTP/1.1"),
    "another host's URL": line(b"GET http://x/cb HTTP/1.1"),
    "a URL in upper case": line(b"GET HTTP://X:80/cb HTTP/1.1"),
    "a URL without a path": line(b"GET http://x HTTP/1.1"),
    "a URL with credentials": line(b"GET http://u:p@x/cb HTTP/1.1"),
    "a URL of an odd port": line(b"GET http://x:port/cb HTTP/1.1"),
    "a URL of an IPv6 host": line(b"GET http://[::1]:5/x HTTP/1.1"),
    "a URL of another scheme": line(b"GET gopher://x/cb HTTP/1.1"),
    "an asterisk": line(b"OPTIONS * HTTP/1.1"),
    "an authority": line(b"GET x.example:443 HTTP/1.1"),
    "dots": line(b"GET /a/../../etc/passwd HTTP/1.1"),
    "escaped dots": line(b"GET /%2e%2e/%2e%2e HTTP/1.1"),
    "an escaped NUL": line(b"GET /%00 HTTP/1.1"),
    "a broken escape": line(b"GET /%zz%4 HTTP/1.1"),
    "escapes that are not UTF-8": line(b"GET /%ff%fe?x=%ff HTTP/1.1"),
    "UTF-8": line("GET /café/à HTTP/1.1".encode()),
    "latin-1": line(b"GET /caf\xe9\xa0\x85 HTTP/1.1"),
    "control characters": line(b"GET /\x01\x1b[31m HTTP/1.1"),
    "brackets and quotes": line(b"GET /[<'\">]|{}^`\\ HTTP/1.1"),
    "a fragment": line(b"GET /cb#part?x=y HTTP/1.1"),
    "question marks": line(b"GET /?a?b??c=? HTTP/1.1"),
    "no slash": line(b"GET cb HTTP/1.1"),
    "only a question mark": line(b"GET ? HTTP/1.1"),
    "a long target": line(b"GET /" + b"a" * 60_000 + b" HTTP/1.1"),
    "an unknown method": line(b"BREW /cb HTTP/1.1"),
    "a method in lower case": line(b"get /cb HTTP/1.1"),
    "a method of punctuation": line(b"!#$ /cb HTTP/1.1"),
    "HEAD": line(b"HEAD /cb HTTP/1.1"),
    "TRACE": line(b"TRACE /cb HTTP/1.1"),
    "a body with GET": headed(b"Content-Length: 2", body=b"{}", method=b"GET"),
    "HTTP/1.0 without Host": b"GET /cb HTTP/1.0\r\n\r\n",
    "HTTP/1.0 that is kept": b"GET /cb HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HTTP/1.2": line(b"GET /cb HTTP/1.2"),
    "HTTP/1.1 without Host": b"GET /cb HTTP/1.1\r\n\r\n",
    "two Hosts": headed(b"Host: y"),
    "an empty Host": b"GET /cb HTTP/1.1\r\nHost:\r\n\r\n",
    "half an IPv6 Host": b"GET /cb HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "a Host of odd characters": b"GET /cb HTTP/1.1\r\nHost: a b/c?d@\xe9:x\r\n\r\n",
    "an Origin of odd characters": headed(b"Origin: http://[::1"),
    "bare line ends": b"GET /cb HTTP/1.1\nHost: 127.0.0.1\n\n",
    "an empty line before": b"\r\n" + line(b"GET /cb HTTP/1.1"),
    "a folded header": headed(b"X-Folded: a", b"  b", b"\tc"),
    "an empty header": headed(b"X-Empty:"),
    "a header of latin-1": headed(b"X-Odd: caf\xe9 \x80\xff"),
    "a header of control characters": headed(b"X-Odd: \x01\x1b[31m\x7f"),
    "a header with an underscore": headed(b"X_Callback_Id: 1"),
    "the same header often": headed(*[b"X-Same: 1"] * 90),
    "a long header": headed(b"X-Long: " + b"v" * 60_000),
    "a header of blanks": headed(b"X-Blank:" + b" \t" * 20_000 + b"x"),
    "an Authorization of odd characters": headed(b"Authorization: Basic \xff\xfe==:"),
    "cookies": headed(b"Cookie: a=b; =; \xe9=;;"),
    "an unknown expectation": headed(b"Expect: a miracle", b"Content-Length: 2", body=b"{}"),
    "an upgrade": headed(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
    "a websocket": headed(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x", method=b"GET"),
    "ranges": headed(b"Range: bytes=9-1,-0", b"If-Range: x", method=b"GET"),
    "a type of odd characters": headed(b"Content-Type: \xe9/;;=", b"Content-Length: 2", body=b"{}"),
    "a length with zeros": long(b"0000000002"),
    "a body in one chunk": chunked(b"2\r\n{}\r\n0\r\n\r\n"),
    "chunks with extensions and trailers": chunked(b'1;x="y"\r\n{\r\n1 ;\r\n}\r\n000\r\nX-Trailer: 1\r\n\r\n'),
    "a chunk in upper case": chunked(b"0A\r\n0123456789\r\n0\r\n\r\n"),
    "an empty body in chunks": chunked(b"0\r\n\r\n"),
    "Chunked in upper case": headed(b"Transfer-Encoding: CHUNKED", body=b"0\r\n\r\n"),
}

#: What is not a request, and its status. None: the sender says nothing that could be answered.
REFUSED: dict[str, tuple[bytes, int | None]] = {
    "nothing": (b"", None),
    "empty lines": (b"\r\n\r\n", 400),
    "a word": (b"hello\r\n\r\n", 400),
    "NULs": (b"\0" * 100, 400),
    "random bytes": (bytes(range(128, 256)) + b"\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n", 400),
    "HTTP/3": (line(b"GET / HTTP/3"), 400),
    "HTTP/9.9": (line(b"GET / HTTP/9.9"), 400),
    "HTTP in lower case": (line(b"GET / http/1.1"), 400),
    "a blank in the target": (line(b"GET /a b HTTP/1.1"), 400),
    "a NUL in the target": (line(b"GET /\0 HTTP/1.1"), 400),
    "no target": (line(b"GET  HTTP/1.1"), 400),
    "half an IPv6 host": (line(b"GET http://[::1/x HTTP/1.1"), 400),
    "an invalid IPv6 host": (line(b"GET http://[x]/x HTTP/1.1"), 400),
    "half a request line": (b"GET /cb HT", 400),
    "half a head": (b"GET /cb HTTP/1.1\r\nHost: x", 400),
    "a head without an end": (b"GET /cb HTTP/1.1\r\nHost: x\r\n", 400),
    "a header without a colon": (headed(b"X"), 400),
    "a header without a name": (headed(b": x"), 400),
    "a blank in a name": (headed(b"X Y: z"), 400),
    "a blank before the colon": (headed(b"Content-Length : 2", body=b"{}"), 400),
    "a blank before the first header": (b"GET /cb HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "a NUL in a header": (headed(b"X-Odd: a\0b"), 400),
    "a bare CR in a header": (headed(b"X-Odd: a\rX-Evil: b"), 400),
    "a name of latin-1": (headed(b"X-\xe9: 1"), 400),
    "a negative length": (long(b"-1"), 400),
    "a length with a plus": (long(b"+2"), 400),
    "a length with an underscore": (long(b"1_0"), 400),
    "a length in hexadecimal": (long(b"0x5"), 400),
    "a length with a point": (long(b"2.0"), 400),
    "a length with an exponent": (long(b"1e1"), 400),
    "a length of other digits": (long(b"\xb2"), 400),
    "a length that is a word": (long(b"many"), 400),
    "no length": (long(b""), 400),
    "10^11": (long(b"100000000000"), 400),
    "10^30": (long(b"1" + b"0" * 30), 400),
    "two lengths": (headed(b"Content-Length: 2", b"Content-Length: 3", body=b"{} "), 400),
    "the same length twice": (headed(b"Content-Length: 2", b"Content-Length: 2", body=b"{}"), 400),
    "a list of lengths": (long(b"2, 2"), 400),
    "a length and chunks": (chunked(b"0\r\n\r\n", b"Content-Length: 5"), 400),
    "chunks and a length of 0": (headed(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "a coding of gzip": (headed(b"Transfer-Encoding: gzip"), 400),
    "gzip and chunks": (headed(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 400),
    "chunks twice": (headed(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "an empty coding": (headed(b"Transfer-Encoding:"), 400),
    "a shorter body": (long(b"10"), 400),
    "a negative chunk": (chunked(b"-1\r\n{}\r\n0\r\n\r\n"), 400),
    "a chunk with a prefix": (chunked(b"0x2\r\n{}\r\n0\r\n\r\n"), 400),
    "a chunk with an underscore": (chunked(b"1_0\r\n{}\r\n0\r\n\r\n"), 400),
    "a chunk without a size": (chunked(b"\r\n{}\r\n0\r\n\r\n"), 400),
    "a chunk of 10^30 bytes": (chunked(b"1" + b"0" * 30 + b"\r\n{}"), 400),
    "a longer chunk": (chunked(b"2\r\n{}x\r\n0\r\n\r\n"), 400),
    "a shorter chunk": (chunked(b"f\r\n{}"), 400),
    "chunks without the last": (chunked(b"2\r\n{}\r\n"), 400),
    "chunks without the end": (chunked(b"2\r\n{}\r\n0\r\n"), 400),
    "a chunk with a long line": (chunked(b"0;" + b"x" * 9000 + b"\r\n\r\n"), 400),
    "trailers without end": (chunked(b"0\r\n" + b"X: y\r\n" * 200), 400),
    "a target of 2 MB": (line(b"GET /" + b"a" * 2_000_000 + b" HTTP/1.1"), 414),
    "a header of 2 MB": (headed(b"X-Long: " + b"v" * 2_000_000), 431),
    "headers of 2 MB": (headed(*[b"X-Many: " + b"v" * 100] * 20_000), 431),
}

#: The shapes that are wrong because they end. All others are refused although the connection stays open.
CUT_OFF = {
    *("nothing", "empty lines", "NULs", "TLS", "half a request line", "half a head", "a head without an end"),
    *("a shorter body", "a shorter chunk", "chunks without the last", "chunks without the end"),
}


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail if a server logs a failure."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.fixture(scope="module")
def serve() -> Iterator[int]:
    with EngageLab() as engagelab, LoopbackServer(create_app(engagelab)) as server:
        yield server.port


@pytest.fixture(scope="module")
def receiver() -> Iterator[Peer]:
    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(answer("200 OK", b"", "X-Whose: the receiver's"))

    with Peer(script) as peer:
        yield peer


@pytest.fixture(scope="module")
def passed() -> list[Passed]:
    return []


@pytest.fixture(scope="module")
def record(receiver: Peer, passed: list[Passed]) -> Iterator[int]:
    with RecordingProxy(receiver.url, passed.append) as proxy:
        yield proxy.port


def exchange(port: int, raw: bytes, *, end: bool = True) -> list[int]:
    """Send bytes, and then the end if asked; return the status of every answer."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)) as connection:
        with suppress(ConnectionError):  # it may be refused before it is sent
            connection.sendall(raw)
            if end:
                connection.shutdown(socket.SHUT_WR)
        arrived = b""
        with suppress(ConnectionResetError):
            while part := connection.recv(65536):
                arrived += part
    return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", arrived, re.MULTILINE)]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("shape", REQUESTS)
def test_a_request_is_answered_by_serve(shape: str, serve: int) -> None:
    [status] = exchange(serve, REQUESTS[shape])
    assert 200 <= status < 500


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("shape", REQUESTS)
def test_a_request_passes_through_record(shape: str, record: int, receiver: Peer, passed: list[Passed]) -> None:
    raw = REQUESTS[shape]
    passed.clear()
    assert exchange(record, raw) == [200]
    first = re.sub(rb"HTTP/1\.\d$", b"HTTP/1.1", raw.lstrip().splitlines()[0])
    assert receiver.requests[-1].startswith(first + b"\r\n")
    assert [each.path.encode("latin-1") for each in passed] == [first.split()[1]]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("shape", REFUSED)
def test_a_malformed_request_is_refused_by_serve(shape: str, serve: int) -> None:
    raw, status = REFUSED[shape]
    assert exchange(serve, raw, end=shape in CUT_OFF) == ([] if status is None else [status])


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("shape", REFUSED)
def test_a_malformed_request_is_not_forwarded(shape: str, record: int, receiver: Peer, passed: list[Passed]) -> None:
    raw, status = REFUSED[shape]
    before = len(receiver.conversations)
    passed.clear()
    assert exchange(record, raw, end=shape in CUT_OFF) == ([] if status is None else [status])
    assert (len(receiver.conversations), passed) == (before, [])
