"""What `check` finds in the SDK's own view, each confirmed by plain requests that none of this project's code makes."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from engagelab_otp import CallbackEvent, MessageStatusEvent, WebhookVerifier
from flask import Flask
from werkzeug.serving import make_server

from engagelab_mock import EngageLab, Judgement, Receiver
from tests.patience import PATIENCE

_ids = count(1_700_000_000_000_000_001)


class ReadmeReceiver:
    """The receiver of the SDK's README, counting instead of marking."""

    def __init__(self) -> None:
        self.handled: list[tuple[object, str]] = []
        self.app = Flask("readme")
        view = WebhookVerifier(username="acme", secret="s3cret").flask_view(self._handle)
        self.app.add_url_rule("/webhook", "engagelab_webhook", view, methods=["POST"])
        self.port = 0

    def _handle(self, events: list[CallbackEvent]) -> None:
        for event in events:
            if isinstance(event, MessageStatusEvent) and event.status in {"delivered", "verified"}:
                self.handled.append((event.message_id, event.status))

    def times(self, message_id: str) -> int:
        return self.handled.count((message_id, "delivered"))

    def post(self, body: bytes, *headers: tuple[str, str]) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.putrequest("POST", "/webhook")
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            connection.putheader(name, value.encode())
        connection.endheaders(body)
        status = connection.getresponse().status
        connection.close()
        return status


@pytest.fixture(scope="module")
def sdk() -> Iterator[ReadmeReceiver]:
    receiver = ReadmeReceiver()
    server = make_server("127.0.0.1", 0, receiver.app, threaded=True)
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()


def signed(change: Callable[[str], str] = lambda value: value) -> tuple[str, str]:
    timestamp, nonce = str(int(time.time())), str(next(_ids))
    digest = hmac.new(b"s3cret", f"{timestamp}{nonce}acme".encode(), hashlib.sha256).hexdigest()
    return "X-CALLBACK-ID", change(f"timestamp={timestamp};nonce={nonce};username=acme;signature={digest}")


def row(message_id: object) -> dict[str, object]:
    data = {"msg_time": 1704265712, "message_id": message_id, "current_send_channel": "sms"}
    status = {"message_status": "delivered", "status_data": data, "error_code": 0}
    return {
        "message_id": message_id,
        "to": "+6591234567",
        "server": "otp",
        "channel": "otp",
        "itime": 1,
        "status": status,
    }


def body(*rows: object) -> bytes:
    return json.dumps({"total": len(rows), "rows": rows}).encode()


def new_id() -> str:
    return str(next(_ids))


def answered_401(sdk: ReadmeReceiver, content: bytes) -> bool:
    return sdk.post(content) == 401


def twice(sdk: ReadmeReceiver, first: tuple[str, str], second: tuple[str, str]) -> bool:
    """Tell whether an event that comes twice is handled twice, and acknowledged both times."""
    message_id = new_id()
    content = body(row(message_id))
    return [sdk.post(content, first), sdk.post(content, second), sdk.times(message_id)] == [200, 200, 2]


def lost(sdk: ReadmeReceiver, content: bytes, message_id: str, *headers: tuple[str, str]) -> bool:
    """Tell whether a callback is acknowledged, and an event in it not handled."""
    return [sdk.post(content, signed(), *headers), sdk.times(message_id)] == [200, 0]


def same(sdk: ReadmeReceiver) -> bool:
    header = signed()
    return twice(sdk, header, header)


def swapped(sdk: ReadmeReceiver) -> bool:
    header, first, second = signed(), new_id(), new_id()
    return [sdk.post(body(row(each)), header) for each in (first, second)] + [sdk.times(second)] == [200, 200, 1]


def forged_first(sdk: ReadmeReceiver) -> bool:
    message_id = new_id()
    genuine = signed()
    forged = (genuine[0], genuine[1].rpartition("=")[0] + "=" + "0" * 64)
    return [sdk.post(body(row(message_id)), forged, genuine), sdk.times(message_id)] == [200, 1]


def at_once(sdk: ReadmeReceiver) -> bool:
    message_id = new_id()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: sdk.post(body(row(message_id)), signed()), range(8)))
    return answers == [200] * 8 and sdk.times(message_id) == 8


def in_one_body(sdk: ReadmeReceiver) -> bool:
    message_id = new_id()
    return [sdk.post(body(row(message_id), row(message_id)), signed()), sdk.times(message_id)] == [200, 2]


def again_with_another(sdk: ReadmeReceiver) -> bool:
    message_id = new_id()
    answers = [sdk.post(body(row(message_id)), signed()), sdk.post(body(row(message_id), row(new_id())), signed())]
    return [*answers, sdk.times(message_id)] == [200, 200, 2]


def beside(sdk: ReadmeReceiver, bad: object) -> bool:
    message_id = new_id()
    return lost(sdk, body(row(message_id), bad), message_id)


def changed(sdk: ReadmeReceiver, change: Callable[[bytes], bytes], *headers: tuple[str, str]) -> bool:
    message_id = new_id()
    return lost(sdk, change(body(row(message_id))), message_id, *headers)


def as_a_number(sdk: ReadmeReceiver) -> bool:
    message_id = new_id()
    status = sdk.post(body(row(int(message_id))), signed())
    # It is handled, under an id that is not a text. No row of a database with text ids has this id.
    return [status, sdk.times(message_id), sdk.handled.count((int(message_id), "delivered"))] == [200, 0, 1]


#: What is true of the SDK's view, by the check that says so.
FACTS: dict[str, Callable[[ReadmeReceiver], bool]] = {
    "A01": lambda sdk: answered_401(sdk, b""),
    "A02": lambda sdk: answered_401(sdk, b"{}"),
    "B04": lambda sdk: sdk.post(b"{}", signed(lambda value: value.replace("signature=", "signature=é"))) == 500,
    "B08": forged_first,
    "B16": same,
    "B17": swapped,
    "C01": lambda sdk: twice(sdk, signed(), signed()),
    "C02": at_once,
    # A retry, for any reason, is a new request with the same body.
    "C03": lambda sdk: twice(sdk, signed(), signed()),
    "C04": lambda sdk: twice(sdk, signed(), signed()),
    "D03": in_one_body,
    "D04": lambda sdk: beside(sdk, {"notification": None}),
    "D05": lambda sdk: beside(sdk, row(new_id()) | {"status": {"message_status": "sent", "status_data": 5}}),
    "D14": as_a_number,
    "D18": lambda sdk: changed(sdk, lambda content: b"\xef\xbb\xbf" + content),
    "D28": again_with_another,
    "E07": lambda sdk: changed(sdk, gzip.compress, ("Content-Encoding", "gzip")),
}


@pytest.mark.parametrize("fact", FACTS.values(), ids=FACTS.keys())
def test_a_finding_is_true(fact: Callable[[ReadmeReceiver], bool], sdk: ReadmeReceiver) -> None:
    assert fact(sdk)


@pytest.mark.slow
def test_check_finds_exactly_the_true_failures(sdk: ReadmeReceiver) -> None:
    def observe(message_id: str) -> list[str]:
        return [status for known, status in sdk.handled if known == message_id]

    receiver = Receiver.http(f"http://127.0.0.1:{sdk.port}/webhook", username="acme", secret="s3cret", limit=PATIENCE)
    with EngageLab(receiver) as engagelab:
        report = engagelab.check(observe=observe, patience=0.05)
    assert [finding.id for finding in report.findings if finding.verdict is Judgement.FAIL] == list(FACTS)
