"""The bundled receiver: it verifies like a careful app, and records its verdicts."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from werkzeug.test import Client

from engagelab_mock import EngageLab, Message, Reason, Received, Receiver, Recorder, encode, sign

BODY = encode([Message(id="1742442805608914945", to="+6591234567").event("plan", at=1704265712)])


def header(secret: str = "s3cret", *, age: float = 0, username: str = "acme") -> str:
    return sign(username, secret, timestamp=int(time.time() - age), nonce="123123123123").header


def signed() -> dict[str, str]:
    return {"X-CALLBACK-ID": header()}


def recorder(**settings: Any) -> Recorder:
    return Recorder(**{"username": "acme", "secret": "s3cret", **settings})


def post(app: Recorder, body: bytes = BODY, headers: dict[str, str] | None = None) -> tuple[int, str]:
    response = Client(app).post("/engagelab", data=body, headers=headers)
    return response.status_code, response.text


def test_it_acknowledges_a_callback_and_keeps_it() -> None:
    app = recorder()
    assert post(app, headers={"X-CALLBACK-ID": header(), "Content-Type": "application/json"}) == (200, "")
    [received] = app.received
    assert (received.method, received.path, received.status, received.error) == ("POST", "/engagelab", 200, "")
    assert received.body == BODY
    assert received.verdict.reason is Reason.VALID
    assert received.statuses == ["plan"]
    assert received.headers["content-type"] == "application/json"
    assert not received.ping


# Signed when the test runs: a whole run of the suite may take longer than a signature is valid.
@pytest.mark.parametrize(
    ("sign", "reason"),
    [
        pytest.param(lambda: None, Reason.MISSING, id="none"),
        pytest.param(lambda: "", Reason.MISSING, id="empty"),
        pytest.param(lambda: "timestamp=1", Reason.MALFORMED, id="one field"),
        pytest.param(lambda: "é" * 50, Reason.MALFORMED, id="not ASCII"),
        pytest.param(lambda: header("wrong"), Reason.MISMATCH, id="wrong secret"),
        pytest.param(lambda: header(username="other"), Reason.WRONG_USERNAME, id="wrong user"),
        pytest.param(lambda: header(age=1000), Reason.STALE, id="old"),
        pytest.param(lambda: header(age=-1000), Reason.FUTURE, id="future"),
        pytest.param(lambda: f"{header()},{header()}", Reason.MALFORMED, id="two"),
    ],
)
def test_it_refuses_a_callback_that_is_not_signed_as_configured(sign: Callable[[], str | None], reason: Reason) -> None:
    app, value = recorder(), sign()
    status, text = post(app, headers={} if value is None else {"X-CALLBACK-ID": value})
    assert status == 401
    assert text.startswith(f"{reason}: ")
    assert app.received[0].verdict.reason is reason
    assert app.received[0].statuses == []


@pytest.mark.parametrize("body", [b"", b"{}", b" {}\n"])
def test_the_documents_unsigned_ping_passes(body: bytes) -> None:
    app = recorder()
    assert post(app, body) == (200, "")
    assert app.received[0].ping
    assert app.received[0].events == ()


def test_a_ping_signed_wrongly_does_not_pass() -> None:
    assert post(recorder(), b"", {"X-CALLBACK-ID": header("wrong")})[0] == 401


@pytest.mark.parametrize(
    ("given", "status"),
    [("Basic YTpi", 200), ("basic YTpi", 401), ("Basic eDp5", 401), ("Basic é", 401), (None, 401)],
)
def test_authorization_is_compared_verbatim(given: str | None, status: int) -> None:
    headers = signed() if given is None else {**signed(), "Authorization": given}
    assert post(recorder(authorization="Basic YTpi"), headers=headers)[0] == status


@pytest.mark.parametrize("body", [b"not JSON", b"[]", b'{"rows": 5}', b'{"rows": [5]}', b"\xff", b'{"total": 1}'])
def test_a_body_that_is_not_an_envelope_is_refused_with_the_place(body: bytes) -> None:
    app = recorder()
    status, text = post(app, body, signed())
    assert status == 400
    assert text.startswith("body")
    assert app.received[0].error == text


def test_only_post_is_taken() -> None:
    app = recorder()
    response = Client(app).get("/engagelab")
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert app.received[0].method == "GET"


def test_without_a_username_nothing_is_verified() -> None:
    app = Recorder()
    assert post(app)[0] == 200
    assert "not verified" in str(app.received[0].verdict)


def test_another_answer_can_replace_200() -> None:
    app = recorder(answer=503)
    assert post(app, headers=signed())[0] == 503
    assert post(app)[0] == 401
    app.answer = 599
    assert post(app, headers=signed())[0] == 599


def test_an_invalid_length_does_not_crash_it() -> None:
    app = recorder()
    statuses: list[str] = []
    for length in ("", "abc", "-5"):
        environ = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": length, "wsgi.input": BytesIO(BODY)}
        app(environ, lambda status, *_: statuses.append(status))  # type: ignore[arg-type]
    assert statuses == ["200 OK"] * 3
    assert all(received.ping for received in app.received)


def test_each_request_is_told_to_a_listener() -> None:
    told: list[Received] = []
    app = recorder(on_received=told.append)
    post(app, headers=signed())
    post(app)
    assert told == app.received
    assert [received.status for received in told] == [200, 401]


def test_it_records_the_events_that_were_sent() -> None:
    receiver = Receiver.recording()
    assert receiver.recorder is not None
    with EngageLab(receiver) as engagelab:
        run = engagelab.send("+6591234567", custom_args={"order": 7})
    received = [event for received in receiver.recorder.received for event in received.events]
    assert received == run.events
