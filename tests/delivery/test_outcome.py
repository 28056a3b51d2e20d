"""The outcomes, and the hint for each way to fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import flask
import pytest
from fastapi import FastAPI
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from engagelab_mock import Delivery, EngageLab, Outcome, Receiver
from engagelab_mock.delivery.outcome import hint_for
from engagelab_mock.delivery.render import attempt_record, not_acknowledged
from tests.django_settings import configure
from tests.peers import Conversation, Peer, answer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def test_these_mean_that_the_receiver_never_saw_a_request() -> None:
    assert {outcome for outcome in Outcome if outcome.unreachable} == {
        "refused",
        "dns_failure",
        "connect_timeout",
        "unreachable",
        "tls_failure",
    }


def answering(status: str, body: str = "") -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "text/plain")])
        return [body.encode()]

    return app


def hint(status: str, body: str = "", *, ping: Callable[[EngageLab], Delivery] | None = None, **settings: Any) -> str:
    with EngageLab(Receiver.wsgi(answering(status, body), "/engagelab", **settings)) as engagelab:
        if ping is not None:
            return hint_for(ping(engagelab))
        return hint_for(engagelab.send(scenario=["plan"], check=False).deliveries[0])


SIGNED: dict[str, Any] = {"username": "acme", "secret": "s3cret"}


@pytest.mark.parametrize(
    ("status", "body", "settings", "expected"),
    [
        ("204 No Content", "", {}, "EngageLab's document names exactly 200"),
        ("302 Found", "", {}, "does not follow redirects"),
        ("400 Bad Request", "Invalid HTTP_HOST header: 'x'. Add it to ALLOWED_HOSTS.", {}, "base_url="),
        ("400 Bad Request", "Invalid host header", {}, "base_url="),
        ("400 Bad Request", "", {}, "could not read the body"),
        ("422 Unprocessable Entity", "", {}, "could not read the body"),
        ("401 Unauthorized", "", SIGNED, "signed as 'acme'"),
        ("401 Unauthorized", "", SIGNED, "Its clock must agree to 300 s"),
        ("403 Forbidden", "", SIGNED, "signed as 'acme'"),
        ("403 Forbidden", "CSRF verification failed.", SIGNED, "@csrf_exempt"),
        ("401 Unauthorized", "", {"authorization": "Bearer x"}, "this Authorization value"),
        ("401 Unauthorized", "", {}, "give Receiver the username and secret"),
        ("404 Not Found", "", {}, "no route matches http://testserver/engagelab"),
        ("405 Method Not Allowed", "", {}, "does not accept POST"),
        ("500 Internal Server Error", "", {}, "the handler failed: its traceback is in the app's log"),
        ("502 Bad Gateway", "", {}, "a proxy in front of the app got no answer"),
        ("503 Service Unavailable", "", {}, "is it starting, or overloaded?"),
        ("402 Payment Required", "", {}, "answer 200 with an empty body"),
    ],
)
def test_an_answer_gets_its_hint(status: str, body: str, settings: dict[str, Any], expected: str) -> None:
    assert expected in hint(status, body, **settings)


def flask_app() -> flask.Flask:
    app = flask.Flask("shop")

    @app.post("/nothing")
    def nothing() -> str:
        return None  # type: ignore[return-value]

    @app.get("/engagelab")
    def read() -> str:
        return ""

    return app


def in_flask_s_middleware() -> WSGIApplication:
    app = flask_app()
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    return DispatcherMiddleware(ProxyFix(app.wsgi_app))


def fastapi_app() -> Any:
    app = FastAPI()

    @app.post("/typed")
    def typed(wanted: dict[str, int]) -> None: ...

    @app.get("/engagelab")
    def read() -> None: ...

    return app


FLASK = "`return '', 200`; with app.testing = True the exception shows here"


@pytest.mark.parametrize(
    ("make", "path", "expected"),
    [
        (flask_app, "/nothing", FLASK),
        (in_flask_s_middleware, "/nothing", FLASK),
        (flask_app, "/engagelab", "does not accept POST: @app.post(…), or methods=['POST']"),
        (in_flask_s_middleware, "/engagelab", "does not accept POST: @app.post(…), or methods=['POST']"),
        (fastapi_app, "/typed", "the `detail` of its answer names the field"),
        (fastapi_app, "/engagelab", "does not accept POST: declare it with @app.post(…)"),
    ],
)
def test_an_app_in_process_gets_its_framework_s_hint(make: Callable[[], Any], path: str, expected: str) -> None:
    way = Receiver.asgi if make is fastapi_app else Receiver.wsgi
    with EngageLab(way(make(), path)) as engagelab:
        assert expected in hint_for(engagelab.send(scenario=["plan"], check=False).deliveries[0])


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ([], "refuses the Host header (ALLOWED_HOSTS): pass the host it expects as base_url="),
        (["*"], "its traceback is in the app's log; with DEBUG_PROPAGATE_EXCEPTIONS = True the exception shows here"),
    ],
)
def test_a_django_project_in_process_gets_django_s_hints(hosts: list[str], expected: str) -> None:
    configure()
    from django.core.handlers.wsgi import WSGIHandler
    from django.test import override_settings
    from django.urls import path

    def fail(request: object) -> None:
        raise LookupError

    urls = (path("engagelab", fail),)  # type: ignore[arg-type]
    hosts_are_checked = ["django.middleware.common.CommonMiddleware"]
    with override_settings(ALLOWED_HOSTS=hosts, ROOT_URLCONF=urls, MIDDLEWARE=hosts_are_checked):
        app = WSGIHandler()
        with EngageLab(Receiver.wsgi(app, "/engagelab")) as engagelab:
            told = hint_for(engagelab.send(scenario=["plan"], check=False).deliveries[0])
    assert expected in told
    assert "Flask" not in told


#: Answers over HTTP: status, headers and body, words in the hint, and words that it must not have.
ANSWERED = {
    "Node, 503": ("503 Service Unavailable", {}, "", "starting, or overloaded?", "Flask traceback handler"),
    "Node, 500": ("500 Oops", {"X-Powered-By": "Express"}, "", "its error is in the app's log", "Flask traceback"),
    "Express, no route": (
        *("404 Not Found", {"X-Powered-By": "Express"}, "<pre>Cannot POST /engagelab</pre>"),
        *("no route takes POST at", "Flask"),
    ),
    "unknown, 500": ("500 Internal Server Error", {}, "", "its error is in the app's log", "Flask traceback return"),
    "Python's server, 500": (
        *("500 Internal Server Error", {"Server": "gunicorn"}, ""),
        *("its traceback is in the app's log", "Flask return"),
    ),
    "Flask's server": (
        *("500 INTERNAL SERVER ERROR", {"Server": "Werkzeug/3.1 Python/3.11"}, ""),
        *("end it with `return '', 200`", "app.testing"),
    ),
    "Flask behind gunicorn": (
        *("500 INTERNAL SERVER ERROR", {"Server": "gunicorn"}),
        "<p>Either the server is overloaded or there is an error in the application.</p>",
        *("end it with `return '', 200`", "app.testing"),
    ),
    "Django, 500": (
        *("500 Internal Server Error", {"Server": "WSGIServer/0.2 CPython/3.11"}, "<h1>Server Error (500)</h1>"),
        *("its traceback is in the app's log", "Flask return DEBUG_PROPAGATE"),
    ),
    "Django, CSRF": ("403 Forbidden", {}, "<p>CSRF verification failed. Request aborted.", "@csrf_exempt", "Flask"),
    "Flask, CSRF": (
        *("400 BAD REQUEST", {"Server": "Werkzeug/3.1 Python/3.11"}, "The CSRF token is missing."),
        *("@csrf.exempt of Flask-WTF", "csrf_exempt Django"),
    ),
    "Rails, CSRF": ("422 Unprocessable Content", {}, "Can't verify CSRF token", "CSRF protection:", "Flask Django @"),
    "Django, Host": (
        *("400 Bad Request", {}, "Invalid HTTP_HOST header. You may need to add 'x' to ALLOWED_HOSTS."),
        *("call the app by a name that it allows", "base_url"),
    ),
    "FastAPI, 422": (
        *("422 Unprocessable Content", {"Server": "uvicorn"}, '{"detail":[{"type":"missing","loc":["body"]}]}'),
        *("the `detail` of its answer", "Flask"),
    ),
    "Django, 405": (
        *("405 Method Not Allowed", {"Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin"}),
        *("", "does not accept POST: see the view's @require_…", "Flask @app"),
    ),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_an_answer_over_http_gets_only_the_hint_for_its_sender(name: str) -> None:
    status, headers, body, expected, others = ANSWERED[name]

    def script(conversation: Conversation) -> None:
        conversation.request()
        lines = [f"{each}: {value}" for each, value in headers.items()]
        conversation.say(answer(status, body.encode(), *lines))

    with Peer(script) as peer, EngageLab(Receiver.http(peer.url)) as engagelab:
        told = hint_for(engagelab.send(scenario=["plan"], check=False).deliveries[0])
    assert expected in told
    assert [word for word in others.split() if word in told] == []


@pytest.mark.parametrize(
    ("outcome", "python", "options"),
    [
        (Outcome.TLS_FAILURE, "tls_verify='ca.pem'", "--ca ca.pem, or --insecure"),
        (Outcome.TIMEOUT, "pass limit=None", "give a longer --timeout"),
    ],
)
def test_the_command_line_gets_its_options_and_python_its_arguments(
    outcome: Outcome, python: str, options: str
) -> None:
    with EngageLab(Receiver.http("http://127.0.0.1:1/")) as engagelab:
        [delivery] = engagelab.send(scenario=["plan"], check=False).deliveries
    delivery.attempts[-1].outcome = outcome
    assert python in hint_for(delivery)
    assert options not in hint_for(delivery)
    assert options in hint_for(delivery, python=False)
    assert python not in hint_for(delivery, python=False)
    assert attempt_record(delivery, delivery.attempts[-1])["hint"] == hint_for(delivery, python=False)
    assert not_acknowledged(delivery).hint == hint_for(delivery)


def test_so_they_do_when_an_identity_is_refused() -> None:
    python, options = "give Receiver the username and secret", "give the --username and --secret"
    with EngageLab(Receiver.wsgi(answering("401 Unauthorized"))) as engagelab:
        [delivery] = engagelab.send(scenario=["plan"], check=False).deliveries
    assert (python in hint_for(delivery), options in hint_for(delivery)) == (True, False)
    told = hint_for(delivery, python=False)
    assert (python in told, options in told) == (False, True)


def test_with_a_virtual_signature_clock_the_wall_clock_is_not_blamed() -> None:
    assert "Its clock" not in hint("401 Unauthorized", signature_clock="virtual", **SIGNED)


def test_an_unsigned_ping_that_was_refused_names_the_document() -> None:
    told = hint("401 Unauthorized", ping=lambda engagelab: engagelab.validate_address(check=False), **SIGNED)
    assert told.startswith("the ping of EngageLab's document is unsigned [S]")


def test_a_signed_ping_that_was_refused_names_the_secret() -> None:
    told = hint("401 Unauthorized", ping=lambda e: e.validate_address(signed=True, check=False), **SIGNED)
    assert told.startswith("it was signed as 'acme'")


def test_an_acknowledged_delivery_needs_none() -> None:
    assert hint("200 OK") == ""
