"""A store that cannot be written: nothing is half done, and due callbacks go out once there is room."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import ApiSettings, EngageLab, LiveClock, Outcome, Receiver, UsageError
from engagelab_mock.service.store import StoreError
from engagelab_mock.service.store.records import StoredRefusal
from engagelab_mock.service.store.restore import restore
from engagelab_mock.service.store.sqlite import SqliteStore
from engagelab_mock.service.worker import DeliveryWorker
from tests.patience import PATIENCE
from tests.service.rest.client import Client, Said, said

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

resource = pytest.importorskip("resource", reason="the system has no limits of this kind")


@contextmanager
def full_disk(*files: Path) -> Iterator[None]:
    """Let these files grow no further, as on a full disk; without any, no file can be written."""
    size = min((file.stat().st_size for file in files), default=0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Disk:
    """An engine with a store, on a disk that can be full."""

    def __init__(self, path: Path, engagelab: EngageLab, store: SqliteStore) -> None:
        self.path = path
        self.engagelab = engagelab
        self.store = store
        self.client = Client(engagelab)
        self.troubles: list[StoreError | None] = []
        store.on_trouble = self.troubles.append

    def full(self) -> Any:
        return full_disk(self.path, self.path.with_name(f"{self.path.name}-wal"))

    def described(self) -> list[object]:
        """Return everything a client can see, as plain values."""
        engagelab = self.engagelab
        return [
            [(each.message.id, each.message.to, each.verified) for each in engagelab.accepted],
            [(rule.id, rule.used, rule.cancelled) for rule in engagelab.rules],
            [template.template_id for template in engagelab.templates],
            sorted((entry.at, entry.label) for entry in engagelab.clock.pending),
            len(engagelab.journal),
            [[each.message.id for each in engagelab.accepted.sent_to(to)] for to in (TO, *RECIPIENTS)],
        ]

    def stored(self) -> list[object]:
        """Return everything that the next process sees when it continues with the file."""
        self.store.close()
        with SqliteStore(self.path) as store, EngageLab([], clock=LiveClock(), api=API, keep=3) as other:
            restore(other, store)
            self.engagelab = other
            return self.described()


API = ApiSettings(rate_limit=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "mock.sqlite"
    with SqliteStore(path) as store, EngageLab([], clock=LiveClock(), api=API, keep=3) as engagelab:
        engagelab.clock.freeze()
        restore(engagelab, store)
        yield Disk(path, engagelab, store)


LONG = {"text": "x" * 5000}
TO, RECIPIENTS = "+6591234567", ("+6591234000", "+6591234001", "+6591234002")
TEMPLATE = {
    "template_id": "login",
    "description": "log in" * 40,
    "send_channel_strategy": "sms",
    "brand_name": "Acme",
    "verify_code_config": {"verify_code_type": 1, "verify_code_len": 6, "verify_code_ttl": 5},
    "sms_config": {"template_type": 1, "template_default_config": {"contain_security": False, "contain_expire": False}},
}


def accept(disk: Disk, to: str) -> None:
    assert disk.client.post("/v1/messages", {"to": to, "template": {"id": "t"}}).status == 200


def send(disk: Disk) -> Said:
    return disk.client.post("/v1/messages", {"to": TO, "template": {"id": "t"}, "custom_args": LONG})


def verify(disk: Disk) -> Said:
    message = next(iter(disk.engagelab.accepted))
    return disk.client.post("/v1/verifications", {"message_id": message.message.id, "verify_code": message.code})


def send_custom(disk: Disk) -> Said:
    to = [f"+659123450{number}" for number in range(5)]
    return disk.client.post("/v1/custom-messages", {"to": to, "template": {"id": "t"}, "custom_args": LONG})


def create_template(disk: Disk) -> Said:
    return disk.client.post("/v1/template-configs", TEMPLATE)


def delete_template(disk: Disk) -> Said:
    return said(disk.client.request("DELETE", "/v1/template-configs/old"))


CALLS: dict[str, Callable[[Disk], Said]] = {
    each.__name__: each for each in (send, verify, send_custom, create_template, delete_template)
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_that_cannot_be_stored_is_answered_500_and_changes_nothing(
    disk: Disk, call: Callable[[Disk], Said]
) -> None:
    for to in RECIPIENTS:
        accept(disk, to)
    assert disk.client.post("/v1/template-configs", TEMPLATE | {"template_id": "old"}).status == 200
    disk.engagelab.rule(call="custom-messages", scenario="fallback", times=5)
    before = disk.described()
    with disk.full():
        for _ in range(2):
            answer = call(disk)
            assert (answer.status, answer.code) == (500, 1000)
            assert "mock.sqlite: the file cannot be written: " in answer.content["message"]
        assert disk.described() == before
        # The code of the oldest message, which a new one would have replaced, is still valid.
        assert disk.client.post("/v1/messages", {"to": "+6591234000", "template": {"id": "t"}}).code == 3004
    assert call(disk).status == 200
    assert [type(trouble) for trouble in disk.troubles] == [StoreError, type(None)]
    after = disk.described()
    assert after != before
    assert disk.stored() == after


def test_rules_and_resets_that_cannot_be_stored_change_nothing(disk: Disk) -> None:
    rule = disk.engagelab.rule(scenario="fallback", times=5)
    send(disk)
    assert disk.client.post("/v1/messages", {}).status == 400
    before = disk.described()
    with disk.full():
        for change in (
            lambda: disk.engagelab.rule(to=TO, error=5013, message="x" * 5000),
            rule.cancel,
            disk.engagelab.reset,
            lambda: disk.engagelab.begin_send(custom_args=LONG),
            lambda: disk.engagelab.clock.advance(hours=1),
        ):
            with pytest.raises(StoreError, match="cannot be written"):
                change()
            assert disk.described() == before
    disk.engagelab.reset()
    assert len(disk.engagelab.accepted) == 0
    after = disk.described()
    assert disk.stored() == after


def test_callbacks_due_on_a_full_disk_go_out_in_order_once_there_is_room(disk: Disk) -> None:
    receiver = Receiver.recording()
    assert receiver.recorder is not None
    disk.engagelab.receivers.append(receiver)
    for to in RECIPIENTS:
        accept(disk, to)
    disk.engagelab.clock.advance(hours=1)
    noticed, completed = threading.Event(), threading.Semaphore(0)
    disk.store.on_trouble = lambda error: noticed.set()
    disk.engagelab.journal.listeners.append(lambda delivery, attempt: completed.release())
    worker = DeliveryWorker(disk.engagelab)
    with disk.full():
        worker.start()
        assert noticed.wait(PATIENCE)
        assert receiver.recorder.received == []
        assert send(disk).status == 500
    for _ in range(12):
        assert completed.acquire(timeout=PATIENCE)
    assert worker.stop(grace=PATIENCE)
    for number in range(3):
        told = [each for each in receiver.recorder.received if f"+6591234{number:03}".encode() in each.body]
        statuses = [status for each in told for status in each.statuses]
        assert statuses == ["plan", "sent", "delivered", "verified_timeout"]
    assert disk.stored()[3] == []


def test_an_attempt_whose_outcome_cannot_be_stored_is_completed_once_there_is_room(disk: Disk) -> None:
    asked, go_on, noticed = threading.Event(), threading.Event(), threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked.set()
        go_on.wait(PATIENCE)
        start_response("200 OK", [])
        return []

    disk.engagelab.receivers.append(Receiver.wsgi(app, limit=None))
    disk.store.on_trouble = lambda error: noticed.set()
    disk.engagelab.begin_send(TO, scenario=["plan"])
    with DeliveryWorker(disk.engagelab):
        assert asked.wait(PATIENCE)
        with disk.full():
            go_on.set()
            assert noticed.wait(PATIENCE)
        disk.engagelab.journal.wait_for(timeout=PATIENCE, status="plan")
    disk.stored()
    [delivery] = disk.engagelab.journal.deliveries
    assert [attempt.outcome for attempt in delivery.attempts] == [Outcome.ACKNOWLEDGED]


def test_a_worker_that_waits_for_room_can_be_stopped(disk: Disk) -> None:
    disk.engagelab.receivers.append(Receiver.recording())
    noticed = threading.Event()
    disk.store.on_trouble = lambda error: noticed.set()
    disk.engagelab.begin_send(TO, scenario=["plan"])
    with disk.full():
        worker = DeliveryWorker(disk.engagelab).start()
        assert noticed.wait(PATIENCE)
        assert worker.stop(grace=PATIENCE)
    assert "plan of" in disk.stored()[3][0][1]  # type: ignore[index]


def test_a_caller_does_not_wait_for_room(disk: Disk) -> None:
    disk.engagelab.receivers.append(Receiver.recording())
    with DeliveryWorker(disk.engagelab), disk.full(), ThreadPoolExecutor(1) as caller:
        error = caller.submit(disk.engagelab.validate_address, check=False).exception(PATIENCE)
    assert isinstance(error, StoreError)


def test_refusals_that_were_not_stored_are_not_counted(disk: Disk) -> None:
    def refuse() -> None:
        for _ in range(3):
            assert disk.client.post("/v1/messages", {}).status == 400

    refuse()
    with disk.full():
        refuse()
    for _ in range(3):
        refuse()
    assert len(disk.engagelab.journal) == 3
    assert len(list(disk.store.load("refusal", StoredRefusal))) == 3


def test_a_file_that_was_deleted_or_replaced_is_noticed(disk: Disk) -> None:
    moved = disk.path.with_name("moved.sqlite")
    disk.path.rename(moved)
    for replaced in (False, True):
        if replaced:
            disk.path.touch()
        answer = send(disk)
        assert (answer.status, answer.code) == (500, 1000)
        assert "the file was deleted or replaced" in answer.content["message"]
    assert len(disk.engagelab.accepted) == 0
    moved.replace(disk.path)
    assert send(disk).status == 200
    assert [type(trouble) for trouble in disk.troubles] == [StoreError, type(None)]


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of this kind")
def test_a_full_disk_at_the_start_is_an_error(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(UsageError, match=r"mock\.sqlite: the file cannot be used"):
        SqliteStore(tmp_path / "mock.sqlite")


def test_a_store_in_memory_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing in it would be kept") as caught:
        SqliteStore(":memory:")
    assert "without a file everything is in memory" in caught.value.hint
