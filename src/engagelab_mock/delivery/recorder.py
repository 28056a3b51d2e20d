"""The bundled receiver: a WSGI app that verifies each callback, records it, and answers."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from engagelab_mock.errors import InvalidBody
from engagelab_mock.protocol.callback import Envelope, Headers, decode
from engagelab_mock.protocol.events import Event
from engagelab_mock.protocol.signature import Reason, Verdict, verify

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: The largest accepted body, in bytes. EngageLab documents no limit. This one refuses an accidental upload.
_BODY_LIMIT = 16 << 20


class Received(msgspec.Struct, frozen=True, eq=False):
    """Hold one request to the bundled receiver, its verdict, and the HTTP status of the answer."""

    method: str
    path: str
    headers: Headers
    body: bytes
    verdict: Verdict
    events: tuple[Event, ...]
    status: int
    #: Why it was refused, apart from its signature; else empty.
    error: str = ""

    @property
    def ping(self) -> bool:
        """Tell an address validation from a callback: its body is empty or `{}` [S][D]."""
        return _is_ping(self.body)

    @property
    def statuses(self) -> list[str]:
        """Return the events' names, in the order of `rows`."""
        return [event.name for event in self.events]


class Recorder:
    """Receive callbacks as a careful app does: verify the signature, read the rows, answer 200.

    Without a username, it verifies nothing. `answer` replaces the status 200. `on_received` is called with every
    `Received`.

    >>> from engagelab_mock import EngageLab, Receiver
    >>> receiver = Receiver.recording()
    >>> with EngageLab(receiver) as engagelab:
    ...     run = engagelab.send("+6591234567")
    >>> [received.statuses for received in receiver.recorder.received]
    [['plan'], ['sent'], ['delivered'], ['verified']]
    """

    def __init__(
        self,
        *,
        username: str = "",
        secret: str = "",
        authorization: str = "",
        answer: int = 200,
        on_received: Callable[[Received], object] | None = None,
    ) -> None:
        self.username = username
        self.secret = secret
        self.authorization = authorization
        self.answer = answer
        self.on_received = on_received
        #: Every request, oldest first.
        self.received: list[Received] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, as WSGI says."""
        received = self._judge(environ)
        self.received.append(received)
        if self.on_received is not None:
            self.on_received(received)
        text = received.error.encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(text)))]
        if received.status == 405:
            headers.append(("Allow", "POST"))
        start_response(f"{received.status} {_phrase(received.status)}", headers)
        return [text]

    def _judge(self, environ: WSGIEnvironment) -> Received:
        headers = _headers(environ)
        body = _read(environ)
        verdict = self._verify(headers, body)
        events: tuple[Event, ...] = ()
        error = ""
        status = self.answer
        if environ["REQUEST_METHOD"] != "POST":
            status, error = 405, "callbacks use POST"
        elif len(body) > _BODY_LIMIT:
            status, error = 413, f"the body is larger than {_BODY_LIMIT} bytes"
        elif not verdict:
            status, error = 401, str(verdict)
        elif self.authorization and not _same(headers.get("Authorization", ""), self.authorization):
            status, error = 401, "the Authorization header is not the one configured"
        elif not _is_ping(body):
            try:
                envelope: Envelope = decode(body)
            except InvalidBody as invalid:
                status, error = 400, str(invalid)
            else:
                events = envelope.rows
        return Received(
            method=environ["REQUEST_METHOD"],
            path=environ.get("PATH_INFO", "/"),
            headers=headers,
            body=body,
            verdict=verdict,
            events=events,
            status=status,
            error=error,
        )

    def _verify(self, headers: Headers, body: bytes) -> Verdict:
        if not self.username:
            return Verdict(Reason.VALID, "not verified: no username is set")
        verdict = verify(headers.get("X-CALLBACK-ID"), username=self.username, secret=self.secret, now=time.time())
        if verdict.reason is Reason.MISSING and _is_ping(body):
            # The document's ping has no signature, and changes nothing [S].
            return Verdict(Reason.VALID, "address validation, unsigned as documented")
        return verdict


def _is_ping(body: bytes) -> bool:
    return body.strip() in {b"", b"{}"}


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("latin-1", "replace"), expected.encode("latin-1", "replace"))


def _phrase(status: int) -> str:
    if status == 200:
        return "OK"
    from http import HTTPStatus  # a good receiver never needs it

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _headers(environ: dict[str, Any]) -> Headers:
    pairs = [
        (name.removeprefix("HTTP_").replace("_", "-").title(), value)
        for name, value in environ.items()
        if name.startswith("HTTP_") or name in {"CONTENT_TYPE", "CONTENT_LENGTH"}
    ]
    return Headers(pairs)


def _read(environ: dict[str, Any]) -> bytes:
    """Read the body, chunked or not, up to one byte over the limit."""
    stream = environ["wsgi.input"]
    left = _BODY_LIMIT + 1
    if not environ.get("wsgi.input_terminated"):
        # If the server does not promise an end, reading past the length may block for ever.
        try:
            left = min(left, max(int(environ.get("CONTENT_LENGTH") or 0), 0))
        except ValueError:
            left = 0
    chunks = []
    while left > 0 and (chunk := stream.read(left)):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)
