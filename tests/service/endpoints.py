"""Receivers on sockets, and an engine on a live clock that sends to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from engagelab_mock import EngageLab, LiveClock, Receiver, Recorder
from engagelab_mock.server.loopback import LoopbackServer
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: So fast that no scenario takes a second, and so slow that one message's callbacks are not all due at once.
SPEED = 1000.0


class Endpoint:
    """A receiver on a socket that can be made to hold its answers back."""

    def __init__(self, name: str, *, status: int = 200) -> None:
        self.recorder = Recorder(answer=status)
        self.go_on = threading.Event()
        self.go_on.set()
        #: Set by the first request.
        self.asked = threading.Event()
        self.handle: Callable[[], object] = str
        self.server = LoopbackServer(self._app)
        self.receiver = Receiver.http(f"{self.server.url}/{name}", description=name, limit=PATIENCE)

    def _app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.asked.set()
        self.go_on.wait(PATIENCE)
        self.handle()
        return self.recorder(environ, start_response)

    @property
    def statuses(self) -> list[str]:
        return [event.name for received in self.recorder.received for event in received.events]


Make = Callable[..., Endpoint]


def live(*endpoints: Endpoint, **options: object) -> EngageLab:
    receivers = [endpoint.receiver for endpoint in endpoints]
    return EngageLab(receivers, clock=LiveClock(SPEED), code_ttl=None, defaults={"check": False} | options)


def accept(engagelab: EngageLab, to: str = "+6591234567") -> None:
    """Have a message accepted, and wait for none of its callbacks."""
    engagelab.begin_send(to, scenario="delivered")
