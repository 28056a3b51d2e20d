"""WSGI apps, called in process: their input, and the possible outcomes."""

from __future__ import annotations

import sys
import wsgiref.validate
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import Callback, EngageLab, Headers, NotAcknowledged, Outcome, Receiver
from engagelab_mock.delivery.transport.wsgi import WsgiTransport
from tests.failures import failure_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def fine(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fi", b"ne"]


class Keeping:
    """An app that keeps the environ and body of each call."""

    def __init__(self) -> None:
        self.environs: list[WSGIEnvironment] = []
        self.bodies: list[bytes] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.environs.append(environ)
        self.bodies.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        return fine(environ, start_response)


def deliver(app: WSGIApplication, path: str = "/engagelab", **settings: Any) -> NotAcknowledged | bytes:
    """Send one callback; give the answer's body, or the error."""
    with EngageLab(Receiver.wsgi(app, path, **settings)) as engagelab:
        try:
            run = engagelab.send("+6591234567", scenario=["plan"])
        except NotAcknowledged as error:
            return error
    response = run.deliveries[0].attempts[0].response
    assert response is not None
    return response.body


def test_a_call_that_the_validator_of_the_standard_library_has_nothing_against() -> None:
    app = Keeping()
    validated = wsgiref.validate.validator(app)
    receiver = Receiver.wsgi(validated, "/engagelab?a=1", username="acme", secret="s3cret", authorization="Basic YTpi")
    with EngageLab(receiver) as engagelab:
        assert engagelab.send("+6591234567").acknowledged
        assert engagelab.validate_address().acknowledged
    assert app.bodies[-1] == b""
    assert len(app.bodies) == 5


def test_the_validator_would_have_seen_a_fault() -> None:
    def rude(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"a body without a content type"]

    error = failure_of(Receiver.wsgi(wsgiref.validate.validator(rude)))
    assert error.delivery.outcome is Outcome.APP_RAISED
    assert isinstance(error.__cause__, AssertionError)


def test_the_environ() -> None:
    app = Keeping()
    receiver = Receiver.wsgi(
        app,
        "/engage%20lab/%C3%A9?tenant=7&x=%20",
        username="acme",
        secret="s3cret",
        authorization="Bearer é",
        base_url="https://receiver.example:8443",
    )
    with EngageLab(receiver) as engagelab:
        callback = engagelab.send("+6591234567", scenario=["plan"]).deliveries[0].callback
    [environ] = app.environs
    assert type(environ) is dict
    assert environ["REQUEST_METHOD"] == "POST"
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/engage lab/é".encode().decode("latin-1"))
    assert environ["QUERY_STRING"] == "tenant=7&x=%20"
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("receiver.example", "8443")
    assert environ["HTTP_HOST"] == "receiver.example:8443"
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["wsgi.errors"] is sys.stderr
    assert environ["CONTENT_TYPE"] == "application/json"
    assert environ["CONTENT_LENGTH"] == str(len(callback.body))
    assert environ["HTTP_X_CALLBACK_ID"] == callback.headers["X-CALLBACK-ID"]
    assert environ["HTTP_AUTHORIZATION"] == "Bearer é"
    assert app.bodies == [callback.body]


def test_an_environ_is_each_calls_own() -> None:
    def greedy(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ.clear()
        return fine(environ, start_response)

    with EngageLab(Receiver.wsgi(greedy)) as engagelab:
        assert engagelab.send("+6591234567").acknowledged


def test_a_header_sent_twice_arrives_joined_by_a_comma() -> None:
    app = Keeping()
    headers = Headers([("X-CALLBACK-ID", "one"), ("x-callback-id", "two")])
    WsgiTransport(app, "http://testserver/").exchange(Callback(headers, b""), 3)
    assert app.environs[0]["HTTP_X_CALLBACK_ID"] == "one,two"


def test_a_generator_is_read_to_its_end_and_closed() -> None:
    events: list[str] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"one"
            yield b"two"

        def close(self) -> None:
            events.append("closed")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return Body()

    assert deliver(app) == b"onetwo"
    assert events == ["closed"]


def test_a_body_that_raises_is_closed_too() -> None:
    events: list[str] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        try:
            yield b"one"
            raise RuntimeError("out of paper")
        finally:
            events.append("closed")

    error = failure_of(Receiver.wsgi(app))
    assert error.delivery.outcome is Outcome.APP_RAISED
    assert events == ["closed"]


def test_start_response_may_come_with_the_first_bytes() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        yield b"late"

    assert deliver(app) == b"late"


def test_written_bytes_come_before_returned_ones() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        write(b"written, ")
        return [b"returned"]

    assert deliver(app) == b"written, returned"


def replacing(*, after: bytes) -> WSGIApplication:
    """Make an app that changes its mind, with exc_info, after it has sent some bytes."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        write(after)
        try:
            raise RuntimeError("out of paper")
        except RuntimeError:
            start_response("500 Sorry", [], sys.exc_info())
        return [b"sorry"]

    return app


def test_an_error_before_the_first_byte_replaces_the_status() -> None:
    error = failure_of(Receiver.wsgi(replacing(after=b"")))
    assert error.delivery.outcome is Outcome.NOT_200
    assert error.delivery.attempts[0].error == "answered 500 Sorry; only 200 acknowledges"


def test_an_error_after_the_first_byte_cannot_be_taken_back() -> None:
    error = failure_of(Receiver.wsgi(replacing(after=b"some")))
    assert error.delivery.outcome is Outcome.APP_RAISED
    assert isinstance(error.__cause__, RuntimeError)


def test_an_app_may_not_start_twice() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return fine(environ, start_response)

    assert failure_of(Receiver.wsgi(app)).delivery.outcome is Outcome.APP_RAISED


@pytest.mark.parametrize("started", [False, True])
def test_the_apps_own_exception_is_the_cause(started: bool) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if started:
            start_response("200 OK", [])
        raise LookupError("no such message")

    error = failure_of(Receiver.wsgi(app))
    assert error.delivery.outcome is Outcome.APP_RAISED
    assert not error.delivery.outcome.unreachable
    assert error.what == "plan was not acknowledged: the app raised LookupError: no such message"
    assert error.hint == "the app's own exception is the cause shown with this failure"
    assert type(error.__cause__) is LookupError
    assert error.delivery.attempts[0].exception is error.__cause__


def _app(status: Any, headers: Any, body: Any) -> Callable[..., Any]:
    def app(environ: WSGIEnvironment, start_response: Any) -> Any:
        start_response(status, headers)
        return body

    return app


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        (lambda environ, start_response: [b""], "the app answered without calling start_response"),
        (_app("200 OK", [], None), "the app returned None, not an iterable of bytes"),
        (_app("200 OK", [], ["text"]), "the app's body is not bytes: "),
        (_app("OK", [], []), "the app answered with the status 'OK'"),
        (_app("", [], []), "the app answered with the status ''"),
        (_app("2000 OK", [], []), "the app answered with the status '2000 OK'"),
        (_app(None, [], []), "the app answered with the status None"),
        (_app(200, [], []), "the app answered with the status 200"),
        (_app("200 OK", None, []), "the app answered with headers that are not a list of pairs: None"),
        (_app("200 OK", ["Allow"], []), "the app answered with headers that are not a list of pairs: ['Allow']"),
    ],
)
def test_an_app_that_breaks_wsgi_is_malformed(app: WSGIApplication, reason: str) -> None:
    error = failure_of(Receiver.wsgi(app))
    assert error.delivery.outcome is Outcome.MALFORMED
    assert error.delivery.attempts[0].error.startswith(reason)
    assert error.hint == "the app breaks its server interface; a server in front of it would answer 500"


def slow(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    # Busy, not asleep: what counts is that the clock moves while the app has the thread.
    until = perf_counter() + 0.06
    while perf_counter() < until:
        pass
    return fine(environ, start_response)


def test_an_answer_past_the_limit_is_a_timeout_judged_afterwards() -> None:
    error = failure_of(Receiver.wsgi(slow, limit=0.05))
    attempt = error.delivery.attempts[0]
    assert attempt.outcome is Outcome.TIMEOUT
    assert attempt.error.startswith("answered 200 after 0.")
    assert attempt.error.endswith(" s, 0.05 s are allowed")
    assert attempt.response is not None
    assert "answer first" in error.hint
    assert attempt.elapsed > 0.05


def test_without_a_limit_a_slow_app_is_waited_for() -> None:
    assert deliver(slow, limit=None) == b"fine"


def test_an_app_may_answer_without_reading_the_body() -> None:
    assert deliver(fine) == b"fine"


def test_a_body_past_its_length_is_empty() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        stream = environ["wsgi.input"]
        lines = list(stream)
        start_response("200 OK", [])
        return [str(len(lines)).encode(), stream.read() or b" rest: none"]

    assert deliver(app) == b"1 rest: none"
