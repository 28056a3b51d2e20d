"""A client that hangs up, as an app in process sees it: an exception where the app meets its server."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.delivery.transport.wire import BEFORE_ANSWER, BEFORE_REQUEST, Wire
from engagelab_mock.protocol.callback import Callback

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication


class CutBody(BytesIO):
    """Give a WSGI app the part of the body that arrived, and raise `ConnectionResetError` where it ends.

    >>> CutBody(b"{").read(2)
    b'{'
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Return what is left of the part, as long as there is any."""
        return self._some(super().read(-1 if size is None or size < 0 else size), size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return what is left of a line, as long as there is any."""
        return self._some(super().readline(-1 if size is None else size), size)

    def _some(self, data: bytes, size: int | None) -> bytes:
        # Who asks for all of it waits for the end, and the end never comes.
        if size != 0 and (not data or size is None or size < 0):
            raise ConnectionResetError("the client closed the connection in the middle of the body")
        return data


def failure_of(wire: Wire, length: int) -> TransportFailure | None:
    """Return the failure that an exchange ends with, whatever the app does; None where it is not broken off.

    Raises it where the app never hears of the request. `length` is the body's, in bytes.

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
    """Call the app as far as the wire lets it go, and raise `TransportFailure`; return where it does not break off."""
    failure = failure_of(wire, len(callback.body))
    if failure is None:
        return
    if wire.cut_after is not None:
        environ["wsgi.input"] = CutBody(callback.body[: wire.cut_after])
    try:
        # PEP 3333: a server that cannot send the answer leaves it, and closes it all the same.
        close = getattr(app(environ, start_response), "close", None)
        if close is not None:
            close()
    except Exception as error:
        raise failure from error
    raise failure
