"""Ways to put a receiver's app where callbacks come in: in process, behind servers, behind sockets read by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, make_server

from werkzeug.test import EnvironBuilder, run_wsgi_app

from engagelab_mock import Receiver
from engagelab_mock.server.loopback import LoopbackServer
from tests.patience import PATIENCE
from tests.peers import Conversation, Peer, Script, answer
from tests.receivers.correct import PATH, SECRET, USERNAME

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

#: How long a receiver may take, in seconds, if the test is about one that takes too long; connections are kept longer.
LIMIT = 0.5

Serving = Callable[["WSGIApplication"], AbstractContextManager[Receiver]]


@contextmanager
def in_process(app: WSGIApplication) -> Iterator[Receiver]:
    yield Receiver.wsgi(app, path=PATH, username=USERNAME, secret=SECRET)


@contextmanager
def on_werkzeug(app: WSGIApplication) -> Iterator[Receiver]:
    with LoopbackServer(app) as server:
        yield Receiver.http(server.url + PATH, username=USERNAME, secret=SECRET, limit=PATIENCE)


@contextmanager
def on_wsgiref(app: WSGIApplication) -> Iterator[Receiver]:
    """Serve with the standard library's server, which takes X_CALLBACK_ID for X-CALLBACK-ID."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Receiver.http(
                f"http://127.0.0.1:{server.server_port}{PATH}", username=USERNAME, secret=SECRET, limit=PATIENCE
            )
        finally:
            server.shutdown()
            thread.join()


def by_hand(write: Callable[[WSGIApplication], Script], *, limit: float = PATIENCE) -> Serving:
    """Serve from a socket, one connection at a time, with a script that is written for the app."""

    @contextmanager
    def serving(app: WSGIApplication) -> Iterator[Receiver]:
        with Peer(write(app)) as peer:
            yield Receiver.http(peer.url + PATH, username=USERNAME, secret=SECRET, limit=limit)

    return serving


def kept_alive(app: WSGIApplication) -> Script:
    """Answer on a connection for as long as the client stays on it."""

    def script(conversation: Conversation) -> None:
        while conversation.request():
            conversation.say(call(app, conversation.requests[-1]))

    return script


def closed_without_a_word(app: WSGIApplication) -> Script:
    """Answer as if the connection stayed open, and close it."""

    def script(conversation: Conversation) -> None:
        if conversation.request():
            conversation.say(call(app, conversation.requests[-1]))

    return script


def read_at_once(app: WSGIApplication) -> Script:
    """Take what one read gives for the whole request."""

    def script(conversation: Conversation) -> None:
        conversation.say(call(app, conversation.connection.recv(65536), "Connection: close"))
        conversation.await_departure()

    return script


def case_sensitive(app: WSGIApplication) -> Script:
    """Look the signature up under the one spelling the document prints."""

    def script(conversation: Conversation) -> None:
        while conversation.request():
            conversation.say(call(app, conversation.requests[-1], known=lambda name: name == "X-CALLBACK-ID"))

    return script


def call(
    app: WSGIApplication, request: bytes, *answered: str, known: Callable[[str], bool] = lambda name: True
) -> bytes:
    """Call the app with the request as it was read, and the headers that are known, and return its answer."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:]]
    headers = [(name, value) for name, _, value in lines if known(name) and name.upper().startswith("X-")]
    environ = EnvironBuilder(PATH, method="POST", headers=headers, data=body).get_environ()
    _, status, _ = run_wsgi_app(app, environ)
    return answer(status, b"", *answered)
