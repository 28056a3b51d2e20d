"""Mutants on the wire: servers and apps that read requests in unusual HTTP forms wrongly."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import HTTPServer
from typing import Any
from unittest import mock

from tests.checks.receivers.certificates import Authority
from tests.checks.receivers.correct import CorrectReceiver, Incoming, Refused
from tests.checks.receivers.mutant import Mutant
from tests.checks.receivers.servers import Handler, OneByOne, Threaded, handling

Answer = tuple[int, str, dict[str, str]]
Serve = Callable[[CorrectReceiver], AbstractContextManager[str]]


def handled_by(handler: type[Handler], server: type[HTTPServer] = Threaded) -> Serve:
    @contextmanager
    def serve(receiver: CorrectReceiver) -> Iterator[str]:
        with handling(receiver, handler, server) as serving:
            yield f"http://127.0.0.1:{serving.server_port}"

    return serve


class ReadsLengthsAlone(Handler):
    """Take a request without a length for a request without a body."""

    def read_chunks(self) -> bytes:
        self.close_connection = True
        return b""


class RefusesExpectations(Handler):
    def handle_expect_100(self) -> bool:
        self.send_error(400)
        return False


class ReadsOnce(Handler):
    """Take the result of one read for the whole body, if it fits into a buffer."""

    def read_body(self) -> bytes | None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length < 8192:
            return super().read_body()
        body = self.rfile.read1(length)
        self.close_connection |= len(body) < length
        return body


class ResetsKeptConnections(Handler):
    """Keep a connection if the client asks for it, and reset it at the next request."""

    used = False

    def answer(self) -> None:
        if self.used:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            raise ConnectionResetError
        self.used = self.headers.get("Connection") == "keep-alive"
        super().answer()

    def end_headers(self) -> None:
        if not self.used:
            self.send_header("Connection", "close")
        super().end_headers()


class SpeaksOneVersion(Handler):
    def answer(self) -> None:
        if self.request_version == "HTTP/1.0":
            self.send_error(505)
        else:
            super().answer()


class ClosesEachConnection(Handler):
    def end_headers(self) -> None:
        self.send_header("Connection", "close")
        super().end_headers()


class AcknowledgesWhatIsCompressed(CorrectReceiver):
    def read(self, incoming: Incoming) -> bytes:
        return b"" if incoming.headers.get("content-encoding") else incoming.body


class KeepsHeadersInAColumn(CorrectReceiver):
    def handle(self, incoming: Incoming) -> Answer:
        if sum(map(len, incoming.headers.values())) > 8000:
            raise OverflowError("value too long for type character varying(8000)")
        return super().handle(incoming)


class RunsOutOfWorkers(CorrectReceiver):
    """Answer no request after one with many headers."""

    exhausted = False

    def handle(self, incoming: Incoming) -> Answer:
        if self.exhausted:
            raise Refused(503)
        self.exhausted = sum(map(len, incoming.headers.values())) > 8000
        return super().handle(incoming)


@contextmanager
def under_an_unknown_certificate(receiver: CorrectReceiver) -> Iterator[str]:
    with Authority().serving(receiver, "127.0.0.1") as url:
        yield url


@contextmanager
def at_two_addresses(receiver: CorrectReceiver) -> Iterator[str]:
    """Give the host a second address at which no server listens."""
    resolve = socket.getaddrinfo

    def both(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != "receiver.test":
            return resolve(host, port, *args, **options)
        return [found for each in ("127.0.0.1", "127.0.0.2") for found in resolve(each, port, *args, **options)]

    with mock.patch("socket.getaddrinfo", both), handling(receiver, Handler) as serving:
        yield f"http://receiver.test:{serving.server_port}"


MUTANTS = [
    Mutant("E01", CorrectReceiver, over=("http",), serve=handled_by(ReadsLengthsAlone)),
    Mutant("E02", CorrectReceiver, over=("http",), serve=handled_by(RefusesExpectations)),
    Mutant("E03", CorrectReceiver, over=("http",), serve=handled_by(ReadsOnce)),
    Mutant("E04", CorrectReceiver, over=("http",), serve=handled_by(ResetsKeptConnections)),
    Mutant("E05", CorrectReceiver, over=("http",), serve=handled_by(SpeaksOneVersion)),
    Mutant("E06", CorrectReceiver, over=("http",), serve=handled_by(ClosesEachConnection, OneByOne)),
    Mutant("E07", AcknowledgesWhatIsCompressed),
    Mutant("E08", KeepsHeadersInAColumn),
    # No request arrives, so the checks that need no valid callback fail, too.
    Mutant("E09", CorrectReceiver, also=("A01", "A02", "A04"), over=("http",), serve=under_an_unknown_certificate),
    Mutant("E10", CorrectReceiver, over=("http",), serve=at_two_addresses),
    # Alone, the check shows nothing: another check must break the receiver first.
    Mutant("E11", RunsOutOfWorkers, over=("wsgi",)),
    Mutant("E11", RunsOutOfWorkers, over=("http",)),
]
