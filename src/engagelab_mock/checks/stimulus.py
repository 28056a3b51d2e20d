"""Faults made for one check, in addition to the named faults, and apps that fail after their work."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from engagelab_mock.delivery.faults.fault import ANYWHERE, OVER_HTTP, Draft, Fault, Stage
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.protocol.events import Event
from engagelab_mock.protocol.signature import HEADER, Signer

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def made(
    name: str, stage: Stage, work: Callable[[Draft], None], *, forged: bool = False, over: frozenset[str] = ANYWHERE
) -> Fault:
    """Make a fault for one check. With `forged`, a receiver should not accept the result as genuine.

    >>> str(made("no body", "body", lambda draft: None))
    'no body'
    """
    family: Any = "signature" if forged else "body" if stage in {"rows", "body"} else "wire"
    return Fault(name=name, family=family, stage=stage, description=name, work=work, transports=over)


def body(content: bytes, *, content_type: str | None = None) -> Fault:
    """Send these bytes as the body."""

    def work(draft: Draft) -> None:
        draft.body = content
        draft.content_type = content_type or draft.content_type

    return made("another body", "body", work)


def row_of(event: Event) -> dict[str, Any]:
    """Return an event as plain data, in the form of its row.

    >>> from engagelab_mock import Message
    >>> row_of(Message(id="7", to="+6591234567").event("plan", at=0))["message_id"]
    '7'
    """
    plain: dict[str, Any] = msgspec.to_builtins(event)
    return plain


def rows(given: Sequence[Any], *, total: Any = None) -> Fault:
    """Send these rows, as plain data (default of `total`: their number)."""

    def work(draft: Draft) -> None:
        draft.rows = list(given)
        draft.total = len(given) if total is None else total

    return made("other rows", "rows", work)


def each_row(change: Callable[[dict[str, Any]], object]) -> Fault:
    """Send the rows as they are, each changed in place."""

    def work(draft: Draft) -> None:
        for row in draft.rows:
            change(row)

    return made("changed rows", "rows", work)


def header(name: str, value: str) -> Fault:
    """Send one more header; characters outside ASCII stand for bytes, as in latin-1."""

    def work(draft: Draft) -> None:
        draft.headers.append((name, value))

    return made(f"header {name}", "headers", work)


def content_type(value: str | None) -> Fault:
    """Send another content type, or none."""

    def work(draft: Draft) -> None:
        draft.headers = [pair for pair in draft.headers if pair[0] != "Content-Type"]
        if value is not None:
            draft.headers.insert(0, ("Content-Type", value))

    return made(f"content type {value}", "headers", work)


def signature(change: Callable[[str], str], *, forged: bool = True) -> Fault:
    """Send a genuine signature header with a changed value."""

    def work(draft: Draft) -> None:
        draft.headers = [(name, change(value) if name == HEADER else value) for name, value in draft.headers]

    return made("changed signature", "headers", work, forged=forged)


def signing(*, nonce: str | None = None, secret: str | None = None) -> Fault:
    """Sign with a given nonce, or with another secret."""

    def work(draft: Draft) -> None:
        draft.nonce = draft.nonce if nonce is None else nonce
        draft.secret = draft.secret if secret is None else secret

    return made("signed otherwise", "signing", work, forged=True)


def signed(*, timestamp: Callable[[int], str]) -> Fault:
    """Sign validly over a timestamp with another spelling."""

    def work(draft: Draft) -> None:
        text = timestamp(draft.timestamp)
        digest = _digest(draft, text)
        value = f"timestamp={text};nonce={draft.nonce};username={draft.username};signature={digest}"
        draft.headers = [(name, value if name == HEADER else old) for name, old in draft.headers]

    return made("another timestamp", "headers", work, forged=True)


def authorization(value: str | None) -> Fault:
    """Send another Authorization header, or none."""

    def work(draft: Draft) -> None:
        draft.headers = [pair for pair in draft.headers if pair[0] != "Authorization"]
        if value is not None:
            draft.headers.append(("Authorization", value))

    return made("another Authorization", "headers", work, forged=True)


def method(name: str) -> Fault:
    """Send with another method than POST."""

    def work(draft: Draft) -> None:
        draft.wire.method = name

    return made(name, "wire", work)


def half_held(held: list[socket.socket]) -> Fault:
    """Send half of the body, and keep the connection open until the sockets in the list are closed."""

    def work(draft: Draft) -> None:
        draft.wire.cut_after = len(draft.body) // 2
        draft.wire.held = held

    return made("half a body, and the connection kept open", "wire", work, over=OVER_HTTP)


def again(attempt: Attempt) -> Fault:
    """Send the headers of an earlier attempt again, with any body."""

    def work(draft: Draft) -> None:
        draft.headers = list(attempt.callback.headers.pairs)

    return made("the same headers again", "headers", work, forged=True)


def _digest(draft: Draft, timestamp: str) -> str:
    # Sign the text that a receiver reads from the header, after the server has decoded it as latin-1.
    signer = Signer(draft.username, draft.secret)
    return signer.digest(timestamp, draft.nonce)


@contextmanager
def failing_afterwards(transport: Any) -> Iterator[None]:
    """Make an in-process app raise after it has done its work, as a middleware around it may do."""
    app = transport.app
    transport.app = _wsgi_failing(app) if transport.name == "wsgi" else _asgi_failing(app)
    try:
        yield
    finally:
        transport.app = app


def _wsgi_failing(app: WSGIApplication) -> WSGIApplication:
    def failing(environ: dict[str, Any], start_response: Any) -> Any:
        answer = app(environ, lambda *given: lambda written: None)
        close = getattr(answer, "close", None)
        if close is not None:
            close()
        raise RuntimeError("made to fail after the app had done its work")

    return failing


def _asgi_failing(app: Any) -> Any:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        async def swallow(message: Any) -> None:
            pass

        if scope["type"] != "http":
            return await app(scope, receive, send)  # type: ignore[no-any-return]
        await app(scope, receive, swallow)
        raise RuntimeError("made to fail after the app had done its work")

    return failing
