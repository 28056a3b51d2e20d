"""The data that `serve` keeps: in a file, across restarts, on a full disk, and how much of it."""

from __future__ import annotations

import importlib
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import Recorder
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.service.store.sqlite import SqliteStore
from tests.cli.conftest import Command, Program, Serving, end, wait_for_lines
from tests.cli.serving import PATIENCE, Inbound, towards

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


resource: Any = None if sys.platform == "win32" else importlib.import_module("resource")


def test_it_continues_from_the_file(serving: Serving, receiver: tuple[Inbound, str], tmp_path: Path) -> None:
    db = str(tmp_path / "mock.sqlite")
    given = ("--db", db, *towards(receiver[1]))
    program, client = serving(*given)
    client.freeze()
    client.call("POST", "/v1/template-configs", TEMPLATE)
    sent = client.send(template="login")
    client.advance(seconds=60)
    wait_for_lines(program, "✓ delivered ", 1)
    inbox = client.call("GET", "/_mock/inbox/+6591234567")
    assert end(program).code == 143

    program, client = serving(*given)
    assert client.call("GET", "/v1/template-configs/login")["template_id"] == "login"
    assert client.call("GET", "/_mock/inbox/+6591234567") == inbox
    assert client.call("GET", "/_mock/clock")["frozen"] is True
    verified = client.call(
        "POST", "/v1/verifications", {"message_id": sent["message_id"], "verify_code": inbox["code"]}
    )
    assert verified["verified"] is True
    client.advance(seconds=60)
    wait_for_lines(program, "✓ verified ", 1)
    again = client.send("+6591234568", "login")
    assert again["message_id"] != sent["message_id"]
    assert end(program).code == 143
    # A code that was used does not expire, in any process.
    program, client = serving(*given)
    client.advance(hours=1)
    wait_for_lines(program, "verified_timeout +\\+6591234568", 1)
    assert not re.search(r"verified_timeout +\+6591234567", end(program).err)


TEMPLATE = {
    "template_id": "login",
    "description": "log in",
    "send_channel_strategy": "sms",
    "brand_name": "Acme",
    "verify_code_config": {"verify_code_type": 1, "verify_code_len": 6, "verify_code_ttl": 5},
    "sms_config": {"template_type": 1, "template_default_config": {"contain_security": False, "contain_expire": False}},
}


@pytest.fixture
def stalled() -> Iterator[tuple[str, threading.Semaphore, threading.Event]]:
    """The address of a receiver that answers its first request only once told to, what counts requests, what tells."""
    arrived, go_on, first = threading.Semaphore(0), threading.Event(), threading.Lock()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        is_first = first.acquire(blocking=False)
        arrived.release()
        if is_first:
            go_on.wait()
        start_response("200 OK", [])
        return []

    with LoopbackServer(app) as server:
        yield f"{server.url}/", arrived, go_on
        go_on.set()


Stalled = tuple[str, threading.Semaphore, threading.Event]


@pytest.mark.slow
def test_an_attempt_under_way_when_the_server_ends_stays_pending_and_is_sent_again(
    serving: Serving, stalled: Stalled, tmp_path: Path
) -> None:
    url, arrived, go_on = stalled
    given = ("--db", str(tmp_path / "mock.sqlite"), "--callback-url", url, "--retry", "none")
    program, client = serving(*given)
    client.send()
    assert arrived.acquire(timeout=PATIENCE)
    assert end(program).code == 143
    go_on.set()
    program, client = serving(*given)
    wait_for_lines(program, "✓ plan ", 1)
    attempts = client.journal("?status=plan")
    end(program)
    assert [(attempt["number"], attempt["outcome"]) for attempt in attempts] == [(1, "pending"), (2, "acknowledged")]


@pytest.mark.slow
def test_a_webhook_set_by_the_app_stays_until_another_is_configured(
    serving: Serving, receiver: tuple[Inbound, str], tmp_path: Path
) -> None:
    inbound, url = receiver
    given = ("--db", str(tmp_path / "mock.sqlite"), "--speed", "1000")
    program, client = serving(*given)
    client.call("PUT", "/v1/sandbox/webhook", {"url": f"{url}/set", "username": "acme", "secret": "s3cret"})
    end(program)

    program, client = serving(*given)
    client.send()
    wait_for_lines(program, "✓ (plan|sent|delivered) ", 3)
    assert all(received.verdict for received in inbound.received)
    assert {received.path for received in inbound.received} == {"/engagelab/set"}
    end(program)

    program, client = serving(*given, *towards(f"{url}/configured"))
    inbound.received.clear()
    client.send("+6591234568")
    wait_for_lines(program, "✓ (plan|sent|delivered) ", 3)
    assert {received.path for received in inbound.received} == {"/engagelab/configured"}
    end(program)


@pytest.mark.slow
def test_a_webhook_set_by_the_app_does_not_outlive_a_start_with_a_callback_url(
    serving: Serving, receiver: tuple[Inbound, str], tmp_path: Path
) -> None:
    inbound, url = receiver
    db = ("--db", str(tmp_path / "mock.sqlite"), "--speed", "1000")
    given = (*db, *towards(f"{url}/configured"))
    program, client = serving(*given)
    saved = client.call("PUT", "/v1/sandbox/webhook", {"url": f"{url}/set"})
    assert (saved["state"], saved["outcome"]) == ("normal", "acknowledged")
    wait_for_lines(program, "callbacks go to .*/set from now on", 1)
    end(program)

    program, client = serving(*given)
    inbound.received.clear()
    client.send()
    wait_for_lines(program, "✓ (plan|sent|delivered) ", 3)
    assert {received.path for received in inbound.received} == {"/engagelab/configured"}
    end(program)
    # Nor does it come back afterwards.
    program, client = serving(*db)
    assert "callbacks go to nowhere" in end(program).err


needs_limits = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the system cannot limit another process")


def limit_files(program: Program, size: int) -> None:
    """Let no file of a program grow beyond a size, as on a full disk."""
    resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@needs_limits
@pytest.mark.slow
def test_a_disk_that_is_full_for_a_while_loses_nothing(
    serving: Serving, receiver: tuple[Inbound, str], tmp_path: Path
) -> None:
    inbound, url = receiver
    program, client = serving("--db", str(tmp_path / "mock.sqlite"), *towards(url))
    client.send("+6591234501")
    wait_for_lines(program, r"✓ plan +\+6591234501 ", 1)
    limit_files(program, 1)
    status, error = client.refused("POST", "/v1/messages", {"to": "+6591234502", "template": {"id": "tpl"}})
    assert (status, error["code"]) == (500, 1000)
    assert "mock.sqlite: the file cannot be written" in error["message"]
    wait_for_lines(program, "Notice: .*mock.sqlite: the file cannot be written", 1)
    assert client.call("GET", "/_mock/inbox/+6591234502")["messages"] == []
    assert client.refused("POST", "/_mock/clock/advance", {"hours": 1})[0] == 500
    assert client.refused("POST", "/_mock/reset")[0] == 500
    limit_files(program, resource.RLIM_INFINITY)
    client.send("+6591234502")
    client.advance(hours=1)
    wait_for_lines(program, "✓ verified_timeout ", 2)
    ended = end(program)
    assert "Traceback" not in ended.err
    for to in (b"+6591234501", b"+6591234502"):
        told = [event.name for each in inbound.received if to in each.body for event in each.events]
        assert told == ["plan", "sent", "delivered", "verified_timeout"]


@needs_limits
def test_a_disk_that_is_full_at_the_start_is_an_error_of_one_line(command: Command, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        result = command("serve", "--port", "0", "--db", str(tmp_path / "mock.sqlite"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (result.code, result.out) == (2, "")
    [line] = result.err.splitlines()
    assert "mock.sqlite: the file cannot be used" in line


@pytest.mark.slow
def test_a_file_that_is_deleted_while_it_is_in_use_is_noticed(serving: Serving, tmp_path: Path) -> None:
    db = tmp_path / "mock.sqlite"
    program, client = serving("--db", str(db))
    client.send("+6591234501")
    db.unlink()
    status, error = client.refused("POST", "/v1/messages", {"to": "+6591234502", "template": {"id": "tpl"}})
    assert (status, error["code"]) == (500, 1000)
    assert "the file was deleted or replaced" in error["message"]
    ended = end(program)
    assert ended.err.count("Notice:") == 1
    assert "Traceback" not in ended.err


@pytest.mark.slow
def test_the_waiting_messages_are_bounded(serving: Serving, tmp_path: Path) -> None:
    db = ("--db", str(tmp_path / "mock.sqlite"))
    limits = ("--keep", "5", "--pending", "10")
    program, client = serving(*db, *limits, "--callback-url", "http://127.0.0.1:1/nobody")
    client.freeze()
    for number in range(40):
        client.send(f"+65912345{number:02}")
    # Each has at most four callbacks: a tenth more messages than the limit may wait.
    assert client.call("GET", "/_mock/clock")["pending"] <= 11 * 4
    ended = end(program)
    assert ended.err.count("more messages and events wait for their callbacks than --pending allows") == 1
    assert re.search(r"; those of (29|30) messages and events given up", ended.err)

    program, client = serving(*db, *limits)
    assert client.call("GET", "/_mock/clock")["pending"] <= 11 * 4
    end(program)


def test_two_servers_cannot_use_one_file(serving: Serving, command: Command, tmp_path: Path) -> None:
    db = str(tmp_path / "mock.sqlite")
    serving("--db", db)
    result = command("serve", "--port", "0", "--db", db)
    assert result.code == 2
    assert "mock.sqlite: the file is in use" in result.err


def test_a_port_in_use_is_an_error_and_leaves_the_file_unlocked(command: Command, tmp_path: Path) -> None:
    db = tmp_path / "mock.sqlite"
    with LoopbackServer(Recorder()) as taken:
        result = command("serve", "--port", str(taken.port), "--db", str(db))
    assert result.code == 2
    assert f"port {taken.port} is in use" in result.err
    SqliteStore(db).close()


def test_a_file_of_another_program_is_an_error(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mock.sqlite").write_text("something else" * 100)
    result = command("serve", "--port", "0", "--db", str(tmp_path / "mock.sqlite"))
    assert result.code == 2
    assert "the file cannot be used as a store: file is not a database" in result.err


@pytest.mark.slow
def test_the_newest_are_kept(serving: Serving, receiver: tuple[Inbound, str], tmp_path: Path) -> None:
    given = ("--db", str(tmp_path / "mock.sqlite"), *towards(receiver[1]))
    program, client = serving(*given, "--keep", "10")
    client.freeze()
    for number in range(30):
        client.send(f"+65912345{number:02}")
    client.advance(seconds=60)
    wait_for_lines(program, "✓ (plan|sent|delivered) ", 90)
    assert {message["to"] for message in client.call("GET", "/_mock/inbox")["messages"]} == {
        f"+65912345{number}" for number in range(20, 30)
    }
    assert len(client.journal()) == 10
    end(program)

    program, client = serving(*given)
    assert len(client.journal()) == 10, "the file holds no more either"
    assert len(client.call("GET", "/_mock/inbox")["messages"]) == 10
    end(program)


@pytest.mark.slow
def test_a_callback_that_is_not_finished_is_kept_in_addition(
    serving: Serving, stalled: Stalled, tmp_path: Path
) -> None:
    url, arrived, go_on = stalled
    given = ("--db", str(tmp_path / "mock.sqlite"), "--callback-url", url, "--keep", "1")
    program, client = serving(*given)
    client.freeze()
    client.send("+6591234501")
    assert arrived.acquire(timeout=PATIENCE)
    client.send("+6591234502")
    client.send("+6591234503")
    wait_for_lines(program, "✓ plan ", 2)
    end(program)
    go_on.set()

    program, _ = serving(*given)
    wait_for_lines(program, r"✓ plan +\+6591234501 ", 1)
    end(program)
