"""Faults of the wire and of the exchange: how the request is sent, and how its answer is treated."""

from __future__ import annotations

import gzip
from functools import partial

from engagelab_mock.delivery.faults.fault import ANYWHERE, OVER_HTTP, Copies, Count, Draft, Fault, Seconds, ServerError
from engagelab_mock.protocol.signature import HEADER


def _gzip(draft: Draft) -> None:
    draft.body = gzip.compress(draft.body, mtime=0)
    draft.headers.append(("Content-Encoding", "gzip"))


def _chunked(draft: Draft) -> None:
    draft.wire.chunked = True


def _expect(draft: Draft, wait: Seconds) -> None:
    draft.wire.expect = wait


def _slow_body(draft: Draft, pieces: Count, pause: Seconds) -> None:
    draft.wire.body_pieces = pieces
    draft.wire.body_pause = pause


def _split_header(draft: Draft, pieces: Count, pause: Seconds) -> None:
    draft.wire.head_pieces = pieces
    draft.wire.head_pause = pause


def _short_body(draft: Draft) -> None:
    draft.wire.cut_after = len(draft.body) // 2


def _http_1_0(draft: Draft) -> None:
    draft.wire.version = "1.0"


def _lowercase(draft: Draft) -> None:
    draft.headers = [(name.lower(), value) for name, value in draft.headers]


def _underscore(draft: Draft) -> None:
    draft.headers = [
        (name.replace("-", "_") if name.upper() == HEADER else name, value) for name, value in draft.headers
    ]


def _big_headers(draft: Draft, size: Count) -> None:
    line = 1000
    draft.headers += [(f"X-Padding-{number}", "x" * line) for number in range(-(-size // line))]


def _new_connection(draft: Draft) -> None:
    draft.wire.connection = "new"


def _kept_connection(draft: Draft) -> None:
    draft.wire.connection = "kept"


def _reset(draft: Draft) -> None:
    draft.wire.reset = True


def _give_up(draft: Draft, after: Seconds) -> None:
    draft.wire.abandon_after = after


def _request_lost(draft: Draft) -> None:
    draft.wire.silent = True


def _bad_gateway(draft: Draft, status: ServerError) -> None:
    draft.answer_with = status


def _ack_lost(draft: Draft) -> None:
    draft.lose_answer = True


def _duplicate(draft: Draft, copies: Copies) -> None:
    draft.copies = copies


_WIRE = partial(Fault, family="wire", stage="wire", transports=OVER_HTTP)
_EXCHANGE = partial(Fault, family="exchange", stage="exchange")

WIRE_FAULTS = (
    _WIRE(
        name="chunked",
        description="`Transfer-Encoding: chunked` instead of a length",
        work=_chunked,
    ),
    _WIRE(
        name="expect_continue",
        description="`Expect: 100-continue`, and the body once the receiver agrees or `wait` seconds have passed",
        work=_expect,
        options={"wait": 1.0},
    ),
    _WIRE(
        name="slow_body",
        description="the body in pieces, with a pause in seconds between them",
        work=_slow_body,
        options={"pieces": 4, "pause": 0.05},
    ),
    _WIRE(
        name="split_header",
        description="the head in pieces, with a pause in seconds between them",
        work=_split_header,
        options={"pieces": 4, "pause": 0.05},
    ),
    _WIRE(
        name="short_body",
        description="half of the announced body, and then the connection closes",
        work=_short_body,
        transports=ANYWHERE,
    ),
    _WIRE(
        name="http_1_0",
        description="an HTTP/1.0 request",
        work=_http_1_0,
    ),
    _WIRE(
        name="kept_connection",
        description="the connection of the callback before, even if the receiver has closed it since",
        work=_kept_connection,
    ),
    _WIRE(
        name="new_connection",
        description="a new connection, in addition to those kept alive",
        work=_new_connection,
    ),
    _WIRE(
        name="lowercase_headers",
        description="header names in lower case",
        work=_lowercase,
        transports=ANYWHERE,
    ),
    _WIRE(
        name="underscore_header",
        description="`X_CALLBACK_ID`, which some servers mistake for `X-CALLBACK-ID`",
        work=_underscore,
        needs_signature=True,
    ),
    _WIRE(
        name="big_headers",
        description="a number of bytes of further headers",
        work=_big_headers,
        options={"size": 8192},
        transports=ANYWHERE,
    ),
    _WIRE(
        name="gzip",
        description="a gzip-compressed body, announced as such",
        work=_gzip,
        stage="headers",
        transports=ANYWHERE,
    ),
)

EXCHANGE_FAULTS = (
    _EXCHANGE(
        name="request_lost",
        description="the connection closes before anything of the request is sent",
        work=_request_lost,
    ),
    _EXCHANGE(
        name="ack_lost",
        description="the receiver answers, and the answer never arrives",
        work=_ack_lost,
    ),
    _EXCHANGE(
        name="bad_gateway",
        description="the receiver answers 200, and a proxy in between makes it an error of this status",
        work=_bad_gateway,
        options={"status": 502},
    ),
    _EXCHANGE(
        name="give_up",
        description="the sender stops waiting some seconds after the request is out, while the handler still works",
        work=_give_up,
        options={"after": 0.05},
        transports=OVER_HTTP,
    ),
    _EXCHANGE(
        name="reset",
        description="the connection is reset once the request is out",
        work=_reset,
    ),
    _EXCHANGE(
        name="duplicate",
        description="the same callback several times at the same time",
        work=_duplicate,
        options={"copies": 2},
    ),
)
