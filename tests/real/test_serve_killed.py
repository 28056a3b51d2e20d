"""`serve --db` is killed in the middle of its callbacks, again and again, and every one arrives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

from engagelab_mock import Outcome, decode
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.service.store.records import StoredCallback, StoredDelivery
from engagelab_mock.service.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL"),
]

PATIENCE = 30.0
MESSAGES = 125
#: Each message's callbacks: of its delivery, and of the expiry of its code.
STATUSES = ("plan", "sent", "delivered", "verified_timeout")
#: After how many callbacks in all the server is killed; the environment can ask for more kills, evenly spread.
KILLS: tuple[int, ...] = (165, 250, 251, 400)
if wanted := int(os.environ.get("ENGAGELAB_MOCK_TEST_KILLS", "0")):
    KILLS = tuple(130 + number * 360 // wanted for number in range(wanted))

Told = tuple[str, str]


class Receiver:
    """Count what arrives, and kill the server in the middle of certain callbacks."""

    def __init__(self) -> None:
        self.counts: Counter[Told] = Counter()
        #: The statuses of each message, as they came.
        self.statuses: defaultdict[str, list[str]] = defaultdict(list)
        self.kills = list(KILLS)
        self.server: subprocess.Popen[str] | None = None
        #: Set when every message's first callback is there, and when all are.
        self.begun = threading.Event()
        self.complete = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        with self._lock:
            self.counts.update(told_by(body))
            for message_id, status in told_by(body):
                self.statuses[message_id].append(status)
            if self.kills and self.counts.total() >= self.kills[0] and self.server is not None:
                self.kills.pop(0)
                os.kill(self.server.pid, signal.SIGKILL)
                self.server = None
            if len(self.counts) == MESSAGES:
                self.begun.set()
            if len(self.counts) == MESSAGES * len(STATUSES):
                self.complete.set()
        start_response("200 OK", [("Content-Length", "0")])
        return []


def told_by(body: bytes | str) -> list[Told]:
    return [(event.message_id, event.name) for event in decode(body).rows]  # type: ignore[attr-defined]


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    receiver = Receiver()
    with LoopbackServer(receiver) as server:
        yield receiver, f"{server.url}/engagelab"


def serve(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "engagelab_mock",
        "serve",
        "--port",
        "0",
        "--format",
        "json",
        *arguments,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["url"]


def post(url: str, body: object) -> Any:
    headers = {"Authorization": "Basic a2V5OnNlY3JldA==", "Content-Type": "application/json"}
    with urlopen(Request(url, json.dumps(body).encode(), headers), timeout=PATIENCE) as answer:
        return json.load(answer)


def ended(process: subprocess.Popen[str]) -> int:
    """Wait for a process to end, but not for ever, and return its exit code."""
    with process:
        watchdog = threading.Timer(PATIENCE, process.terminate)
        watchdog.start()
        code = process.wait()
        watchdog.cancel()
    return code


def in_the_store(db: Path) -> tuple[set[Told], set[Told], set[Told]]:
    """Return the acknowledged callbacks of the store, those under way, and those to come."""
    acknowledged: set[Told] = set()
    under_way: set[Told] = set()
    to_come: set[Told] = set()
    with SqliteStore(db) as store:
        for plan in store.load("planned", StoredCallback):
            to_come.update(told_by(plan.events))
        for delivery in store.load("delivery", StoredDelivery):
            kind = {Outcome.ACKNOWLEDGED: acknowledged, Outcome.PENDING: under_way}
            kept = kind[Outcome(delivery.attempts[-1].outcome)] if delivery.attempts else to_come
            kept.update(told_by(delivery.body))
    return acknowledged, under_way, to_come


def test_no_callback_is_lost_out_of_order_or_sent_after_its_acknowledgement(
    receiver: tuple[Receiver, str], tmp_path: Path
) -> None:
    inbound, url = receiver
    db = tmp_path / "mock.sqlite"
    given = ("--db", str(db), "--callback-url", url)
    process, api = serve(*given)
    post(f"{api}/_mock/clock/freeze", {})
    ids = [
        post(f"{api}/v1/messages", {"to": f"+6591234{number:03}", "template": {"id": "tpl"}})["message_id"]
        for number in range(MESSAGES)
    ]
    expected = {(message_id, status) for message_id in ids for status in STATUSES}
    may_repeat: Counter[Told] = Counter()
    # The clock stands, so only callbacks that are due at once go out.
    assert inbound.begun.wait(PATIENCE)
    inbound.server = process
    # From here on everything is due at once, and the first kill is near: it may come before this is answered.
    with suppress(OSError, HTTPException):
        post(f"{api}/_mock/clock/advance", {"hours": 1})
    for _ in KILLS:
        assert ended(process) == -signal.SIGKILL
        with inbound._lock:
            arrived = Counter(inbound.counts)
        acknowledged, under_way, to_come = in_the_store(db)
        assert acknowledged | under_way | to_come == expected
        assert acknowledged <= set(arrived)
        may_repeat.update(under_way)
        process, api = serve(*given)
        inbound.server = process
    assert inbound.complete.wait(PATIENCE)
    process.terminate()
    assert ended(process) == 143

    repeated = {told: count for told, count in inbound.counts.items() if count > 1}
    disordered = [each for each in inbound.statuses.values() if each != sorted(each, key=STATUSES.index)]
    doubles = sum(repeated.values()) - len(repeated)
    lost = expected - set(inbound.counts)
    print(f"{len(KILLS)} kills: {len(lost)} lost, {len(disordered)} messages out of order, {doubles} doubles,")
    print(f"{may_repeat.total()} attempts were under way at a kill")
    assert set(inbound.counts) == expected
    assert disordered == []
    assert all(count <= 1 + may_repeat[told] for told, count in repeated.items())
    acknowledged, under_way, to_come = in_the_store(db)
    assert (acknowledged, under_way, to_come) == (expected, set(), set())
