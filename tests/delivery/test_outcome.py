"""The outcomes, and the hint for each way to fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import Delivery, EngageLab, Outcome, Receiver
from engagelab_mock.delivery.outcome import hint_for

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
        ("500 Internal Server Error", "", {}, "return '', 200"),
        ("503 Service Unavailable", "", {}, "the handler failed"),
        ("402 Payment Required", "", {}, "answer 200 with an empty body"),
    ],
)
def test_an_answer_gets_its_hint(status: str, body: str, settings: dict[str, Any], expected: str) -> None:
    assert expected in hint(status, body, **settings)


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
