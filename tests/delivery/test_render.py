"""Deliveries as text: the journal's table, and one exchange in full."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from engagelab_mock import EngageLab, InvalidRecipient, NotAcknowledged, Receiver
from engagelab_mock.delivery.render import journal_table, records

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def answering(body: bytes, status: str = "500 Sorry") -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "text/plain"), ("X-Trace", "7\x1b[31m")])
        return [body]

    return app


def shown(body: bytes) -> str:
    with EngageLab(Receiver.wsgi(answering(body))) as engagelab, pytest.raises(NotAcknowledged) as caught:
        engagelab.send("+6591234567", custom_args={"name": "Zoë", "lines": list(range(100))})
    return str(caught.value)


def test_the_table_has_a_line_for_each_attempt_and_each_refusal() -> None:
    with EngageLab() as engagelab:
        engagelab.validate_address()
        with pytest.raises(InvalidRecipient):
            engagelab.send("nobody")
        engagelab.send("+6591234567", scenario="fallback")
        lines = journal_table(engagelab.journal).splitlines()
    assert lines[0].split() == ["#", "event", "to", "channel", "http", "outcome"]
    rows = [line.split() for line in lines[1:9]]
    assert [row[0] for row in rows] == list("12345678")
    assert rows[0][1:4] == ["ping", "200", "acknowledged"]
    assert lines[2].endswith("-     not accepted: to: 'nobody' is not an E.164 phone number")
    assert [row[1:4] for row in rows[2:]] == [
        ["plan", "+6591234567", "200"],
        ["sent", "+6591234567", "whatsapp"],
        ["delivered_failed", "+6591234567", "whatsapp"],
        ["sent", "+6591234567", "sms"],
        ["delivered", "+6591234567", "sms"],
        ["verified", "+6591234567", "sms"],
    ]
    assert len(lines) == 9
    assert lines[0].index("outcome") == lines[1].index("acknowledged") == lines[8].index("acknowledged")


def test_the_table_says_why_on_one_line() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        raise ValueError("first line\nsecond line " + "x " * 500)

    with EngageLab(Receiver.wsgi(app)) as engagelab:
        engagelab.send("+6591234567", scenario=["plan"], check=False)
        table = journal_table(engagelab.journal)
    assert len(table.splitlines()) == 2
    assert "app_raised in " in table
    assert "the app raised ValueError: first line second line x x" in table
    assert max(map(len, table.splitlines())) < 300


def test_a_failure_shows_the_request_as_json_cut_at_some_length() -> None:
    text = shown(b"")
    assert "request: POST http://testserver/  (in process, wsgi)" in text
    assert '  "name": "Zoë",' in text.replace("      ", "  ")
    assert "more lines" in text
    assert len(text.splitlines()) < 70


def test_a_failure_shows_the_answer_cut_at_some_length() -> None:
    text = shown(b"first\nsecond\n" + b"x" * 5000)
    assert "response: 500 Sorry  (after " in text
    assert "\n  first\n  second\n  xxx" in text
    assert text.endswith("x…")
    assert len(text) < 5000


def test_a_failure_shows_that_a_body_was_empty() -> None:
    assert shown(b" \n").endswith("\n  (empty body)")


def test_an_answer_cannot_act_on_the_terminal() -> None:
    text = shown(b"\x1b[2J\x07gone\xff\ttab")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert r"\x1b[2J\x07gone" in text
    assert r"X-Trace: 7\x1b[31m" in text
    assert text.endswith("\ttab")


def test_a_ping_is_named_as_such() -> None:
    with EngageLab(Receiver.wsgi(answering(b""))) as engagelab, pytest.raises(NotAcknowledged) as caught:
        engagelab.validate_address()
    lines = str(caught.value).splitlines()
    assert lines[0] == "the address validation was not acknowledged: answered 500 Sorry; only 200 acknowledges"
    assert "  (empty body)" in lines


@pytest.mark.parametrize("authorization", ["Bearer of-news", "Basic YTpi", "of-news", "Bearer  double"])
def test_a_failure_does_not_show_the_authorization(authorization: str) -> None:
    receiver = Receiver.wsgi(answering(b""), username="acme", secret="s3cret", authorization=authorization)
    with EngageLab(receiver) as engagelab:
        with pytest.raises(NotAcknowledged) as caught:
            engagelab.send("+6591234567")
        [delivery] = engagelab.journal.deliveries
        [record] = records(delivery)
        seen = [str(caught.value), str(record), repr(receiver.settings), repr(delivery.callback.headers)]
    assert "  Authorization: (as configured)\n" in seen[0]
    assert "  X-CALLBACK-ID: timestamp=" in seen[0]
    assert record["headers"]["Authorization"] == "(as configured)"
    assert authorization.split()[-1] not in "".join(seen)
    assert "s3cret" not in "".join(seen)
    # It is only the output that does not have it.
    assert delivery.callback.headers["Authorization"] == authorization
