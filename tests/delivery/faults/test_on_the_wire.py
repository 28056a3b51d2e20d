"""What exactly each fault puts on the wire, as a peer at the other end of a real socket sees it."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from engagelab_mock import FAULTS, EngageLab, Outcome, Reason, Receiver, fault, parse, sign, verify
from engagelab_mock.protocol.signature import Signature, Verdict
from tests.peers import Conversation, Peer, answer

USERNAME, SECRET = "acme", "s3cret"


class Request:
    """One request, byte for byte, with the undamaged body and the signature of the callback before it."""

    def __init__(self, raw: bytes, *, honest_body: bytes, earlier: str) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        self.line, *lines = head.decode("latin-1").split("\r\n")
        self.headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        self.honest_body = honest_body
        self.earlier = earlier

    def values(self, name: str) -> list[str]:
        """Return the values under this very spelling of a name."""
        return [value for spelt, value in self.headers if spelt == name]

    @property
    def signature(self) -> str:
        [value] = self.values("X-CALLBACK-ID")
        return value

    def verdict(self, value: str | None = None, *, secret: str = SECRET, username: str = USERNAME) -> Verdict:
        return verify(value or self.signature, username=username, secret=secret, now=time.time())

    @property
    def envelope(self) -> Any:
        return json.loads(self.body)

    @property
    def row(self) -> Any:
        return self.envelope["rows"][-1]


def signature(value: str) -> Signature:
    parsed = parse(value)
    assert isinstance(parsed, Signature)
    return parsed


def stale(request: Request) -> None:
    assert request.verdict().reason is Reason.STALE
    assert 359 <= time.time() - signature(request.signature).timestamp <= 370


def future(request: Request) -> None:
    assert request.verdict().reason is Reason.FUTURE
    assert 350 <= signature(request.signature).timestamp - time.time() <= 361


def wrong_secret(request: Request) -> None:
    assert request.verdict().reason is Reason.MISMATCH
    assert request.verdict(secret="not-the-secret")


def other_username(request: Request) -> None:
    assert request.verdict().reason is Reason.WRONG_USERNAME
    assert request.verdict(username="intruder")


def replayed_nonce(request: Request) -> None:
    assert request.verdict()
    assert signature(request.signature).nonce == signature(request.earlier).nonce


def replayed_header(request: Request) -> None:
    assert request.signature == request.earlier


def missing_signature(request: Request) -> None:
    assert "x-callback-id" not in [name.lower() for name, _ in request.headers]


def malformed_signature(request: Request) -> None:
    assert request.signature == "timestamp;nonce"


def truncated_signature(request: Request) -> None:
    given = request.signature.rpartition("=")[2]
    assert len(given) == 32
    parts = dict(part.split("=") for part in request.signature.split(";"))
    whole = f"{request.signature}{'0' * 32}"
    assert request.verdict(whole).reason is Reason.MISMATCH
    genuine = sign(USERNAME, SECRET, timestamp=int(parts["timestamp"]), nonce=parts["nonce"])
    assert genuine.signature.startswith(given)


def duplicated_signature(request: Request) -> None:
    first, second = request.values("X-CALLBACK-ID")
    assert request.verdict(first)
    assert request.verdict(second).reason is Reason.MISMATCH


def shifted_concatenation(request: Request) -> None:
    shifted = signature(request.signature)
    # The signature fits the text that is signed; the time it claims is another.
    assert verify(request.signature, username=USERNAME, secret=SECRET, now=shifted.timestamp)
    assert 0 <= time.time() / 10 - shifted.timestamp < 3
    assert len(shifted.nonce) == len(signature(request.earlier).nonce) + 1


def tampered_body(request: Request) -> None:
    assert request.verdict()
    assert request.row["to"] == "+19999999999"


def wrong_total(request: Request) -> None:
    assert request.envelope["total"] == len(request.envelope["rows"]) + 1


def null_section(request: Request) -> None:
    first, _ = request.envelope["rows"]
    assert first["notification"] is None
    assert request.envelope["total"] == 2


def unknown_status(request: Request) -> None:
    assert request.row["status"]["message_status"] == "queued_x"


def unknown_kind(request: Request) -> None:
    first, _ = request.envelope["rows"]
    assert set(first) == {"server", "itime", "survey"}
    assert request.envelope["total"] == 2


def unknown_fields(request: Request) -> None:
    row = request.row
    status = row["status"]
    assert [level["new_field"] for level in (row, status, status["status_data"], row["custom_args"])] == [
        "unheard of"
    ] * 4


def numbers_for_strings(request: Request) -> None:
    honest = json.loads(request.honest_body)["rows"][0]
    assert request.row["message_id"] == int(honest["message_id"])
    assert request.row["status"]["status_data"]["business_id"] == int(honest["status"]["status_data"]["business_id"])
    assert request.row["to"] == "+6591234567"
    assert request.row["custom_args"] == {"long": "9" * 19, "order": 7}


def documentation_typos(request: Request) -> None:
    data = request.row["status"]["status_data"]
    assert len(str(data["msg_time"])) == 9
    assert "\n" in data["template_key"]
    assert "business_id" not in data
    assert data["+ business_id"]


def truncated_json(request: Request) -> None:
    [length] = request.values("Content-Length")
    assert int(length) == len(request.body) > 0
    assert request.honest_body.startswith(request.body)
    with pytest.raises(ValueError, match=r".+"):
        json.loads(request.body)


def bom(request: Request) -> None:
    assert request.body == b"\xef\xbb\xbf" + request.honest_body


def nan(request: Request) -> None:
    assert request.body.startswith(b'{"rate":NaN,"total":1,')


def huge_body(request: Request) -> None:
    assert 1 << 20 <= len(request.body) < (1 << 20) + 100
    assert request.row["status"]


def deep_body(request: Request) -> None:
    assert b"[" * 100_000 + b"]" * 100_000 in request.body


def duplicate_keys(request: Request) -> None:
    pairs = json.loads(request.body, object_pairs_hook=list)
    assert [name for name, _ in pairs] == ["rows", "total", "rows"]
    assert pairs[0] == ("rows", [])


def compressed(request: Request) -> None:
    assert request.values("Content-Encoding") == ["gzip"]
    assert gzip.decompress(request.body) == request.honest_body


def chunked(request: Request) -> None:
    assert request.values("Transfer-Encoding") == ["chunked"]
    assert request.values("Content-Length") == []
    body = b""
    rest = request.body
    sizes = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        sizes.append(int(size, 16))
        body += rest[: sizes[-1]]
        assert rest[sizes[-1] :].startswith(b"\r\n")
        rest = rest[sizes[-1] + 2 :]
    assert len(sizes) == 3
    assert sizes[-1] == 0
    assert body == request.honest_body


def expect_continue(request: Request) -> None:
    assert request.values("Expect") == ["100-continue"]
    assert request.body == request.honest_body


def whole(request: Request) -> None:
    """Check that it is a request like any other; how it came is shown elsewhere."""
    assert request.line == "POST /engagelab HTTP/1.1"
    assert request.body == request.honest_body
    assert request.verdict()


def short_body(request: Request) -> None:
    [length] = request.values("Content-Length")
    assert int(length) == len(request.honest_body)
    assert request.body == request.honest_body[: int(length) // 2]


def http_1_0(request: Request) -> None:
    assert request.line == "POST /engagelab HTTP/1.0"


def lowercase_headers(request: Request) -> None:
    ours = [name for name, _ in request.headers if name.lower() in {"content-type", "x-callback-id", "user-agent"}]
    assert sorted(ours) == ["content-type", "user-agent", "x-callback-id"]


def underscore_header(request: Request) -> None:
    assert request.verdict(request.values("X_CALLBACK_ID")[0])
    assert request.values("X-CALLBACK-ID") == []


def big_headers(request: Request) -> None:
    assert sum(len(name) + len(value) for name, value in request.headers) >= 8192
    assert request.verdict()


def new_connection(request: Request) -> None:
    assert request.values("Connection") == ["close"]


LOOKS: dict[str, Callable[[Request], None]] = {
    "wrong_secret": wrong_secret,
    "other_username": other_username,
    "stale": stale,
    "future": future,
    "replayed_nonce": replayed_nonce,
    "replayed_header": replayed_header,
    "missing_signature": missing_signature,
    "malformed_signature": malformed_signature,
    "truncated_signature": truncated_signature,
    "duplicated_signature": duplicated_signature,
    "shifted_concatenation": shifted_concatenation,
    "tampered_body": tampered_body,
    "wrong_total": wrong_total,
    "null_section": null_section,
    "unknown_status": unknown_status,
    "unknown_kind": unknown_kind,
    "unknown_fields": unknown_fields,
    "numbers_for_strings": numbers_for_strings,
    "documentation_typos": documentation_typos,
    "truncated_json": truncated_json,
    "bom": bom,
    "nan": nan,
    "huge_body": huge_body,
    "deep_body": deep_body,
    "duplicate_keys": duplicate_keys,
    "gzip": compressed,
    "chunked": chunked,
    "expect_continue": expect_continue,
    "slow_body": whole,
    "split_header": whole,
    "short_body": short_body,
    "http_1_0": http_1_0,
    "kept_connection": whole,
    "new_connection": new_connection,
    "lowercase_headers": lowercase_headers,
    "underscore_header": underscore_header,
    "big_headers": big_headers,
    "ack_lost": whole,
    "bad_gateway": whole,
    "give_up": whole,
    "reset": whole,
    "duplicate": whole,
}


def listening(conversation: Conversation) -> None:
    """Answer on the connection for as long as the client stays."""
    while conversation.request():
        conversation.say(answer())


def hanging_up(conversation: Conversation) -> None:
    """Answer once, after chunks were read to their end."""
    conversation.request()
    request = conversation.requests[-1]
    while b"chunked" in request and not request.endswith(b"\r\n0\r\n\r\n"):
        request += conversation.connection.recv(65536)
        conversation.requests[-1] = request
    conversation.say(answer("200 OK", b"", "Connection: close"))


@pytest.mark.parametrize("name", LOOKS)
def test_a_fault_s_bytes_on_the_wire(name: str) -> None:
    with Peer(listening if name == "kept_connection" else hanging_up) as peer:
        receiver = Receiver.http(f"{peer.url}/engagelab", username=USERNAME, secret=SECRET)
        with EngageLab(receiver) as engagelab:
            arguments = {"long": "9" * 19, "order": "7"}
            [earlier] = engagelab.send("+6591234567", scenario=["plan"], custom_args=arguments).deliveries
            options: dict[str, Any] = {"wait": 0} if name == "expect_continue" else {}
            run = engagelab.send("+6591234567", scenario=["plan"], custom_args=arguments, fault=fault(name, **options))
        for _ in range({"kept_connection": 1, "duplicate": 3}.get(name, 2)):
            peer.await_close()
    [delivery] = run.deliveries
    _, struck, *copies = peer.requests
    LOOKS[name](Request(struck, honest_body=delivery.body, earlier=earlier.callback.headers["X-CALLBACK-ID"]))
    assert copies == ([struck] if name == "duplicate" else [])
    assert [str(each) for each in delivery.attempts[0].faults] == [str(fault(name, **options))]


def test_every_fault_has_a_case() -> None:
    assert sorted([*LOOKS, "request_lost"]) == sorted(FAULTS)


def test_of_a_request_that_is_lost_nothing_arrives() -> None:
    silent = threading.Event()

    def expecting_nothing(conversation: Conversation) -> None:
        if not conversation.request():
            silent.set()

    with Peer(expecting_nothing) as peer:
        receiver = Receiver.http(f"{peer.url}/engagelab", username=USERNAME, secret=SECRET)
        with EngageLab(receiver) as engagelab:
            [delivery] = engagelab.send("+6591234567", scenario=["plan"], fault="request_lost").deliveries
        assert silent.wait(10)
    assert peer.requests == []
    assert delivery.outcome is Outcome.ABANDONED
    assert delivery.attempts[0].error == "the connection was closed on purpose before the request was sent"
