"""The whole server as a WSGI app: EngageLab's REST API, the control API, and the document of both."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TYPE_CHECKING

from engagelab_mock.server.exchange import BrokenRequest, HttpAnswer, HttpRequest, error_object, path_of
from engagelab_mock.server.guard import Guard
from engagelab_mock.server.handler import printable
from engagelab_mock.service.rest.exchange import ApiError, ApiRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from engagelab_mock.service.engagelab import EngageLab

log = logging.getLogger("engagelab_mock.server")
DOCUMENT = "/openapi.json"
CONTROL = "/_mock"
WEBHOOK = "/v1/sandbox/webhook"


def create_app(engagelab: EngageLab, *, token: str = "") -> ServerApp:
    """Make a WSGI app that answers as EngageLab's REST API, for any server that takes one.

    `token` is what the control API under /_mock wants as `Authorization: Bearer …`; without one it is for programs on
    this machine alone.

    >>> from engagelab_mock import EngageLab, Receiver
    >>> api = Receiver.wsgi(create_app(EngageLab()), path="/v1/messages")
    >>> with EngageLab(api) as somebody:
    ...     somebody.validate_address(check=False).attempts[0].response.status
    401
    """
    return ServerApp(engagelab, token)


class ServerApp:
    """Answer requests on behalf of one `EngageLab`; made with `create_app`."""

    def __init__(self, engagelab: EngageLab, token: str = "") -> None:
        self.engagelab = engagelab
        #: Called when the sandbox's webhook was set: who gets the callbacks is another from now on.
        self.on_webhook: Callable[[], object] | None = None
        self._guard = Guard(token)
        self._closing = threading.Lock()
        self.closed = False
        self._endings: list[Callable[[], object]] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, whatever it is."""
        started = perf_counter()
        answer = self._answer(environ)
        method, path = str(environ["REQUEST_METHOD"]), path_of(environ)
        log.info(
            "%s %s %s %d %.1f ms",
            environ.get("REMOTE_ADDR") or "-",
            printable(method),
            printable(path),
            answer.status,
            (perf_counter() - started) * 1000,
        )
        return answer.send(start_response, head_only=method == "HEAD")

    def close(self) -> None:
        """End what would go on for as long as somebody reads."""
        with self._closing:
            self.closed = True
            endings, self._endings = self._endings, []
        for end in endings:
            end()

    def on_close(self, end: Callable[[], object]) -> None:
        """Call this when the app is closed."""
        with self._closing:
            self._endings.append(end)

    def forget(self, end: Callable[[], object]) -> None:
        """Call this no more when the app is closed."""
        with self._closing:
            if end in self._endings:
                self._endings.remove(end)

    def _answer(self, environ: WSGIEnvironment) -> HttpAnswer:
        try:
            return self._dispatch(HttpRequest.of(environ))
        except BrokenRequest as broken:
            return HttpAnswer(broken.status, error_object(3002, broken.message))
        except ApiError as error:
            refused = error.answer()
            return HttpAnswer(refused.status, refused.body, refused.headers)
        except Exception:
            log.exception("the request could not be answered")
            return HttpAnswer(500, error_object(1000, "internal error"))

    def _dispatch(self, request: HttpRequest) -> HttpAnswer:
        if request.path == CONTROL or request.path.startswith(f"{CONTROL}/"):
            from engagelab_mock.server.control.routes import answer_control  # an app under test does without

            self._guard.check(request)
            return answer_control(self, request)
        if request.path == DOCUMENT and request.method in {"GET", "HEAD"}:
            from engagelab_mock.server.openapi import document  # few ask for it

            return HttpAnswer(200, document())
        if request.path == WEBHOOK:
            from engagelab_mock.server.webhook import save_webhook

            return save_webhook(self, request)
        given = ApiRequest(
            method=request.method, path=request.path, authorization=request.authorization, body=request.body
        )
        answer = self.engagelab.api.handle(given)
        return HttpAnswer(answer.status, answer.body, answer.headers, answer.written)
