"""The whole server as a WSGI app: EngageLab's REST API, the control API, and the document of both."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET
from werkzeug import Request, Response
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.transport.http1 import printable
from engagelab_mock.errors import EngageLabMockError, UnknownName
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.server.guard import Guard
from engagelab_mock.service.rest.exchange import ApiError, ApiRequest, check_content_type, misfit, read_object
from engagelab_mock.service.store import StoreError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from engagelab_mock.engagelab import EngageLab

log = logging.getLogger("engagelab_mock.server")
DOCUMENT = "/openapi.json"
ASYNCAPI = "/asyncapi.json"
CONTROL = "/_mock"
READY = f"{CONTROL}/readyz"
WEBHOOK = "/v1/sandbox/webhook"
#: The header of the console's own requests.
FOR_CONSOLE = "X-Engagelab-Console"
#: The console's files, without the page itself, which is at /.
CONSOLE = "/console/"
#: The most bytes of a body that are read: one more than the API takes, so that it can refuse a longer body.
_BODY_LIMIT = 1024 * 1024 + 1


def create_app(
    engagelab: EngageLab, *, token: str = "", console: bool = True, allow_hosts: Iterable[str] = ()
) -> ServerApp:
    """Make a WSGI app that answers as EngageLab's REST API, for any server that takes one.

    With a `token`, the control API under /_mock requires it as `Authorization: Bearer …`. Without one, only programs
    on this machine may use it, by the names 127.0.0.1 and localhost, and by those in `allow_hosts`.

    >>> from engagelab_mock import EngageLab, Receiver
    >>> api = Receiver.wsgi(create_app(EngageLab()), path="/v1/messages")
    >>> with EngageLab(api) as client:
    ...     client.validate_address(check=False).attempts[0].response.status
    401
    """
    return ServerApp(engagelab, token, console=console, allow_hosts=allow_hosts)


class ServerApp:
    """Answer requests to one `EngageLab`; made with `create_app`."""

    def __init__(
        self, engagelab: EngageLab, token: str = "", *, console: bool = True, allow_hosts: Iterable[str] = ()
    ) -> None:
        self.engagelab = engagelab
        self._console = console
        self._guard = Guard(token, allow_hosts)
        self._closing = threading.Lock()
        self.closed = False
        self._endings: list[Callable[[], object]] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        started = stopwatch()
        # Not entered in the environ: each request would be a cycle, which only the garbage collector frees.
        request = Request(environ, populate_request=False)
        response = self._answer(request)
        response.headers["Cache-Control"] = "no-store"
        if log.isEnabledFor(logging.DEBUG if self._is_of_console(request) else logging.INFO):
            what = f"{request.remote_addr or '-'} {printable(request.method)} {printable(request.path)}"
            elapsed = (stopwatch() - started) * 1000
            # The command line formats the request and its answer in its own way.
            more = {"exchange": (request, response, elapsed)}
            log.info("%s %d %.1f ms", what, response.status_code, elapsed, extra=more)
        return response(environ, start_response)

    def close(self) -> None:
        """End the answers that have no end: those to followers of the journal."""
        with self._closing:
            self.closed = True
            endings, self._endings = self._endings, []
        for end in endings:
            end()

    def on_close(self, end: Callable[[], object]) -> None:
        """Call a function when the app is closed; call it now if the app is closed already."""
        with self._closing:
            if not self.closed:
                self._endings.append(end)
                return
        end()

    def forget(self, end: Callable[[], object]) -> None:
        """Remove a function that `on_close` has added."""
        with self._closing:
            if end in self._endings:
                self._endings.remove(end)

    def _is_of_console(self, request: Request) -> bool:
        """Tell whether the console reads something: these requests, after each change, would hide those of the app."""
        page = self._console and (request.path == "/" or request.path.startswith(CONSOLE))
        return request.method == "GET" and (page or FOR_CONSOLE in request.headers)

    def _answer(self, request: Request) -> Response:
        try:
            return self._dispatch(request)
        except (ApiError, StoreError) as error:
            refused = (error if isinstance(error, ApiError) else Call.refused(error)).answer()
            return Response(refused.body, refused.status, list(refused.headers))
        except Exception:
            log.exception("the request could not be answered")
            return json_response({"code": 1000, "message": "internal error"}, 500)

    def _dispatch(self, request: Request) -> Response:
        path, body = request.path, _read_body(request)
        if path == CONTROL or path.startswith(f"{CONTROL}/"):
            from engagelab_mock.server.control import answer_control  # an app under test does not need it

            if path != READY:  # a container's health check has no token, and any name
                self._guard.check(request)
            return answer_control(self, request)
        if path == DOCUMENT and request.method in {"GET", "HEAD"}:
            from engagelab_mock.server.openapi import document  # few ask for it

            return Response(document(), mimetype="application/json")
        if path == ASYNCAPI and request.method in {"GET", "HEAD"}:
            from engagelab_mock.server import asyncapi

            return Response(asyncapi.document(), mimetype="application/json")
        if self._console and (path == "/" or path.startswith(CONSOLE)) and request.method in {"GET", "HEAD"}:
            from engagelab_mock.server.pages import page  # few ask for it

            self._guard.check_file(request)
            return page(path)
        if path.startswith("/v1/") and not self.engagelab._engine.api_settings.pinned:
            self._guard.check_page(request)
        if path == WEBHOOK:
            return _save_webhook(self, request)
        authorization, content_type = request.headers.get("Authorization"), request.headers.get("Content-Type")
        answer = self.engagelab.api.handle(ApiRequest(request.method, path, authorization, body, content_type))
        response = Response(answer.body, answer.status, list(answer.headers))
        response.call_on_close(answer.written)
        return response


def _save_webhook(app: ServerApp, request: Request) -> Response:
    """Validate an address [S], and make it the only receiver, even if it is not valid."""
    if request.method != "PUT":
        message = f"{request.method[:20]} is not allowed here: PUT is"
        raise ApiError(3002, message, http_status=405, headers=(("Allow", "PUT"),))
    from engagelab_mock.server.schemas import SavedWebhook, Webhook  # few call this

    engagelab = app.engagelab
    engagelab.api.authenticate(request.headers.get("Authorization"))
    if engagelab._engine.api_settings.strict_content_type:
        check_content_type(request.headers.get("Content-Type"))
    wanted = read_body(request, Webhook)
    if wanted.username is UNSET and wanted.secret is UNSET and engagelab.receivers:
        given = engagelab.receiver.settings
        credentials = given.username, given.secret, given.authorization
    else:
        credentials = wanted.username or "", wanted.secret or "", ""
    username, secret, authorization = credentials
    try:
        receiver = Receiver.http(wanted.url, username=username, secret=secret, authorization=authorization)
    except EngageLabMockError as error:
        raise Call.refused(error) from None
    ping = engagelab.validate_address(receiver=receiver, check=False)
    if (ledger := engagelab._engine.ledger) is not None:
        ledger.webhook(receiver)
    engagelab.receiver = receiver
    log.info("callbacks go to %s from now on: PUT %s; its address is %s", receiver.address, WEBHOOK, receiver.state)
    return json_response(SavedWebhook(0, "success", receiver.state, ping.outcome, ping.attempts[-1].error or None))


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """Stand for a body or a query without any field."""


class Call:
    """Hold one call: its request, its checked body and query, the values in its path, and the app that got it."""

    def __init__(self, app: ServerApp, request: Request, body: Any, query: Any, named: Mapping[str, str]) -> None:
        self.app = app
        self.request = request
        self.body = body
        self.query = query
        #: The parts of the path where its template has a name in braces.
        self.named = named

    @property
    def engagelab(self) -> EngageLab:
        """Return the engine."""
        return self.app.engagelab

    def step_aside(self) -> None:
        """Tell the server that this call will wait, so that it answers others at once."""
        self.request.environ.get("engagelab_mock.step_aside", lambda: None)()

    def client_has_gone(self) -> bool:
        """Tell whether the client has closed its connection; False if the server does not give the connection."""
        connection = self.request.environ.get("werkzeug.socket")
        if connection is None:
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            if not selector.select(0):
                return False
        try:
            return not connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    @staticmethod
    def refused(error: EngageLabMockError) -> ApiError:
        """Return an error object for input that the engine refused, or a store that cannot be written, on one line."""
        where = f"{error.where}: " if error.where else ""
        hint = f"; {error.hint}" if error.hint else ""
        return ApiError(1000 if isinstance(error, StoreError) else 3002, f"{where}{error.what}{hint}")


class Operation(msgspec.Struct, frozen=True):
    """Describe one call: its input, its answer, and the function that answers it.

    A part of the path in braces stands for any value. `answer` describes `content`, the type of the answer.
    """

    method: str
    path: str
    name: str
    summary: str
    answer: str
    content: Any
    status: int = 200
    media_type: str = "application/json"
    body: type[msgspec.Struct] | None = None
    body_required: bool = True
    example: Any = None
    query: type[msgspec.Struct] = Nothing
    #: The server's guard lets only some clients call it.
    guarded: bool = True
    #: It deletes something, so no error suggests it.
    forgets: bool = False
    #: Reasons to refuse it, by HTTP status, in addition to those of every call.
    refused: Mapping[int, str] = msgspec.field(default_factory=dict)
    work: Callable[[Call], Any] | None = None


def read_body(request: Request, kind: type[msgspec.Struct]) -> Any:
    """Return a body as a struct, or raise `ApiError`; an empty body is an empty object."""
    return _checked(read_object(request.get_data() or b"{}"), kind, "field")


def read_query(request: Request, kind: type[msgspec.Struct]) -> Any:
    """Return a query as a struct, or raise `ApiError`."""
    given = {}
    for name, value in request.args.items(multi=True):
        if name in given:
            raise ApiError(3002, f"{name[:100]} is given more than once")
        given[name] = value
    return _checked(given, kind, "parameter")


def _checked(given: Mapping[str, Any], kind: type[msgspec.Struct], noun: str) -> Any:
    names = kind.__struct_fields__
    for name in given:
        if name not in names:
            raise Call.refused(UnknownName(noun, name[:100], names))
    # A query's values are text: "5" is a number there.
    text = noun == "parameter"
    try:
        return msgspec.convert(given, kind, strict=not text)
    except msgspec.ValidationError as error:
        raise ApiError(3002, misfit(error, given, kind, text=text)) from None


def json_response(content: object, status: int = 200) -> Response:
    """Return a response with JSON.

    >>> json_response({"status": "ready"}).data
    b'{"status":"ready"}'
    """
    return Response(msgspec.json.encode(content), status, mimetype="application/json")


def _read_body(request: Request) -> bytes:
    """Return the body, or raise `ApiError` if it did not arrive as announced."""
    request.max_content_length = _BODY_LIMIT
    try:
        return request.get_data()
    except RequestEntityTooLarge:
        raise ApiError(3002, f"the body has more than {_BODY_LIMIT - 1} bytes", http_status=413) from None
    except ClientDisconnected as error:
        if isinstance(error.__context__, TimeoutError):
            raise ApiError(3002, "the body did not arrive in time", http_status=408) from None
        raise ApiError(3002, "the body ended too early", http_status=400) from None
    except TimeoutError:
        raise ApiError(3002, "the body did not arrive in time", http_status=408) from None
    except OSError as error:
        raise ApiError(3002, f"the body cannot be read: {error}", http_status=400) from None
