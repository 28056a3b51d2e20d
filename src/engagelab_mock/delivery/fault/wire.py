"""Faults of the wire and of the exchange: how the request travels, and what becomes of the answer."""

from __future__ import annotations

from engagelab_mock.delivery.fault.model import OVER_HTTP, Draft, Fault


def _chunked(draft: Draft) -> None:
    draft.wire.chunked = True


def _expect(draft: Draft) -> None:
    draft.wire.expect = True


def _slow_body(draft: Draft, pieces: int, pause: float) -> None:
    draft.wire.body_pieces = pieces
    draft.wire.pause = pause


def _split_header(draft: Draft, pieces: int, pause: float) -> None:
    draft.wire.head_pieces = pieces
    draft.wire.pause = pause


def _short_body(draft: Draft) -> None:
    draft.wire.cut_after = len(draft.body) // 2


def _http_1_0(draft: Draft) -> None:
    draft.wire.version = "1.0"


def _lowercase(draft: Draft) -> None:
    draft.headers = [(name.lower(), value) for name, value in draft.headers]


def _underscore(draft: Draft) -> None:
    draft.headers = [
        (name.replace("-", "_") if name.startswith("X-") else name, value) for name, value in draft.headers
    ]


def _big_headers(draft: Draft, size: int) -> None:
    line = 1000
    draft.headers += [(f"X-Padding-{number}", "x" * line) for number in range(-(-size // line))]


def _new_connection(draft: Draft) -> None:
    draft.wire.fresh = True


def _reset(draft: Draft) -> None:
    draft.wire.reset = True


def _give_up(draft: Draft, after: float) -> None:
    draft.wire.abandon_after = after


def _ack_lost(draft: Draft) -> None:
    draft.lose_answer = True


def _duplicate(draft: Draft, copies: int) -> None:
    draft.copies = copies


WIRE_FAULTS = (
    Fault("chunked", "wire", "wire", "Transfer-Encoding: chunked instead of a length", _chunked, {}, OVER_HTTP),
    Fault(
        "expect_continue",
        "wire",
        "wire",
        "Expect: 100-continue, and the body after the receiver agrees",
        _expect,
        {},
        OVER_HTTP,
    ),
    Fault(
        "slow_body",
        "wire",
        "wire",
        "the body in pieces, with pauses",
        _slow_body,
        {"pieces": 4, "pause": 0.05},
        OVER_HTTP,
    ),
    Fault(
        "split_header",
        "wire",
        "wire",
        "the head in pieces, with pauses",
        _split_header,
        {"pieces": 4, "pause": 0.05},
        OVER_HTTP,
    ),
    Fault(
        "short_body",
        "wire",
        "wire",
        "half of the announced body, and then the connection closes",
        _short_body,
        {},
        OVER_HTTP,
    ),
    Fault("http_1_0", "wire", "wire", "an HTTP/1.0 request", _http_1_0, {}, OVER_HTTP),
    Fault(
        "new_connection",
        "wire",
        "wire",
        "a connection of its own instead of a kept-alive one",
        _new_connection,
        {},
        OVER_HTTP,
    ),
    Fault("lowercase_headers", "wire", "headers", "header names in lower case", _lowercase),
    Fault(
        "underscore_header",
        "wire",
        "headers",
        "X_CALLBACK_ID, which some servers mistake for X-CALLBACK-ID",
        _underscore,
        {},
        OVER_HTTP,
    ),
    Fault("big_headers", "wire", "headers", "eight kilobytes of further headers", _big_headers, {"size": 8192}),
)

EXCHANGE_FAULTS = (
    Fault("ack_lost", "exchange", "exchange", "the receiver answers, and the answer never arrives", _ack_lost),
    Fault(
        "give_up",
        "exchange",
        "exchange",
        "the sender stops waiting while the handler still works",
        _give_up,
        {"after": 0.05},
        OVER_HTTP,
    ),
    Fault("reset", "exchange", "exchange", "the connection is reset once the request is out", _reset, {}, OVER_HTTP),
    Fault("duplicate", "exchange", "exchange", "the same callback several times at once", _duplicate, {"copies": 2}),
)
