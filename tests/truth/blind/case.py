"""A case in which no judge may be green, and the receiver that most of them use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from engagelab_mock import EngageLab, Receiver, StatusEvent, decode
from engagelab_mock.server.loopback import LoopbackServer

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

#: Puts an app where callbacks come in, in process or over a socket, and makes its receiver.
Reach = Callable[..., Receiver]


@contextmanager
def in_process() -> Iterator[Reach]:
    yield lambda app, **probe: Receiver.wsgi(app, "/engagelab", **probe)


@contextmanager
def over_a_socket() -> Iterator[Reach]:
    with ExitStack() as stack:

        def reach(app: WSGIApplication, **probe: Any) -> Receiver:
            server = stack.enter_context(LoopbackServer(app))
            return Receiver.http(f"{server.url}/engagelab", **probe)

        yield reach


class App:
    """A receiver with two bugs: the last status wins, and each `verified` gives a credit. It ignores all else."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.seen: set[tuple[str, str]] = set()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        for event in decode(body).rows if body not in {b"", b"{}"} else ():
            if isinstance(event, StatusEvent):
                self.handle(event)
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    def handle(self, event: StatusEvent) -> None:
        row = self.rows.setdefault(event.message_id, {"status": None, "credits": 0})
        row["status"] = event.name
        row["credits"] += event.name == "verified"

    def observe(self, message_id: str) -> Any:
        return self.rows.get(message_id)

    def status(self, message_id: str) -> Any:
        return self.rows.get(message_id, {}).get("status")

    def reset(self) -> None:
        self.rows.clear()


class Blind(msgspec.Struct, frozen=True):
    """Hold a case: the situation, the judge that runs, and the expected error."""

    judge: str
    what: str
    run: Callable[[Reach], object]
    error: type[Exception]
    #: A part of the error's text.
    says: str
    #: Whether it is run over a socket too.
    socket: bool = True


class Cases(list[Blind]):
    """List the cases of a module: an instance is the decorator that enters a function as a case."""

    def __call__(
        self, judge: str, what: str, error: type[Exception], says: str, *, socket: bool = True
    ) -> Callable[[Callable[[Reach], object]], Callable[[Reach], object]]:
        def enter(run: Callable[[Reach], object]) -> Callable[[Reach], object]:
            self.append(Blind(judge, what, run, error, says, socket))
            return run

        return enter


def explore(receiver: Receiver, *arguments: Any, **options: Any) -> None:
    with EngageLab(receiver) as engagelab:
        engagelab.explore(*arguments or ("verified",), **options)
