"""The REST API on a socket: its settings for an app, which thread calls the receivers, and its end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from queue import SimpleQueue
from typing import Any

import freezegun
import pytest

from engagelab_mock import ApiServer, ApiSettings, EngageLab, LiveClock, Receiver, Recorder
from engagelab_mock.delivery.recorder import Received
from engagelab_mock.server.loopback import LoopbackServer
from engagelab_mock.service.worker import DeliveryWorker
from tests.patience import PATIENCE
from tests.server.conftest import Talk, message


def postmen() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "DeliveryWorker"]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_env_has_the_addresses_and_credentials() -> None:
    receiver = Receiver.recording(username="acme", secret="s3cret")
    api = ApiSettings(dev_key="mine", dev_secret="another")
    with EngageLab(receiver, api=api) as engagelab, ApiServer(engagelab) as server:
        assert server.env == {
            "ENGAGELAB_BASE_URL": f"{server.url}/v1",
            "ENGAGELAB_DEV_KEY": "mine",
            "ENGAGELAB_DEV_SECRET": "another",
            "ENGAGELAB_WEBHOOK_USERNAME": "acme",
            "ENGAGELAB_WEBHOOK_SECRET": "s3cret",
            "ENGAGELAB_MOCK_SERVER": server.url,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
        assert repr(server) == f"<ApiServer {server.url}>"


@pytest.mark.parametrize(
    ("upper", "lower", "both"),
    [
        ("corp.example", "", "corp.example,127.0.0.1,localhost"),
        ("", " .corp.example , ,10.0.0.0/8", ".corp.example,10.0.0.0/8,127.0.0.1,localhost"),
        ("a.example,localhost", "a.example,b.example", "a.example,localhost,b.example,127.0.0.1"),
        ("*", "", "*"),
        ("a.example", "*", "*"),
    ],
)
def test_env_keeps_the_hosts_that_need_no_proxy(
    monkeypatch: pytest.MonkeyPatch, upper: str, lower: str, both: str
) -> None:
    monkeypatch.setenv("NO_PROXY", upper)
    monkeypatch.setenv("no_proxy", lower)
    with EngageLab() as engagelab, ApiServer(engagelab) as server:
        assert (server.env["NO_PROXY"], server.env["no_proxy"]) == (both, both)


ASK = """
import os, sys, {client}
url = os.environ["ENGAGELAB_BASE_URL"] + "/template-configs"
auth = os.environ["ENGAGELAB_DEV_KEY"], os.environ["ENGAGELAB_DEV_SECRET"]
{ask}
"""
CLIENTS = {
    "requests": "print(requests.get(url, auth=auth, timeout=10).status_code)",
    "httpx": "print(httpx.get(url, auth=auth, timeout=10).status_code)",
    "urllib.request": "urllib.request.urlopen(os.environ['ENGAGELAB_MOCK_SERVER'] + '/openapi.json'); print(200)",
}


@pytest.mark.parametrize("client", CLIENTS)
def test_env_leads_an_app_in_another_process_past_its_proxy(client: str) -> None:
    with EngageLab() as engagelab, ApiServer(engagelab) as server, socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        environ = {**os.environ, "HTTP_PROXY": address, "http_proxy": address, "ALL_PROXY": address, **server.env}
        program = ASK.format(client=client, ask=CLIENTS[client])
        done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60)
        assert (done.stdout, done.stderr) == ("200\n", "")
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_without_credentials_the_vendor_s_sandbox_is_named() -> None:
    with EngageLab([]) as engagelab, ApiServer(engagelab) as server:
        assert server.env["ENGAGELAB_DEV_KEY"] == "engagelab_sandbox_demo"
        assert server.env["ENGAGELAB_WEBHOOK_USERNAME"] == "sandbox_demo"


def test_a_receiver_in_process_is_called_on_the_test_s_thread_when_it_reads() -> None:
    threads: list[str] = []

    def app(environ: object, start_response: Callable[..., object]) -> list[bytes]:
        threads.append(threading.current_thread().name)
        start_response("200 OK", [])
        return []

    before = postmen()  # a thread of an earlier test may still be ending
    with EngageLab(Receiver.wsgi(app)) as engagelab, ApiServer(engagelab) as server:
        assert Talk(server)("POST", "/v1/messages", message()).status == 200
        assert threads == []
        assert set(postmen()) <= set(before)
        assert engagelab.inbox("+6591234567").code
    assert threads == [threading.current_thread().name] * 3


@pytest.mark.parametrize("late", [False, True], ids=["from the start", "set after the start"])
def test_a_receiver_over_http_is_called_at_once(late: bool) -> None:
    arrived: SimpleQueue[Received] = SimpleQueue()
    recorder = Recorder(on_received=arrived.put)
    before = postmen()
    with LoopbackServer(recorder) as elsewhere, EngageLab() as engagelab:
        receiver = Receiver.http(elsewhere.url, username=recorder.username, secret=recorder.secret)
        if not late:
            engagelab.receiver = receiver
        with ApiServer(engagelab) as server:
            engagelab.receiver = receiver
            Talk(server)("POST", "/v1/messages", message())
            statuses = [arrived.get(timeout=PATIENCE).statuses for _ in range(3)]
            [postman] = set(postmen()) - set(before)
    assert statuses == [["plan"], ["sent"], ["delivered"]]
    postman.join(PATIENCE)
    assert not postman.is_alive()


def test_a_worker_that_a_request_starts_while_the_server_is_stopped_is_stopped_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, go_on = threading.Event(), threading.Event()
    start = DeliveryWorker.start

    def started_slowly(worker: DeliveryWorker) -> DeliveryWorker:
        start(worker)
        started.set()
        assert go_on.wait(PATIENCE)
        return worker

    monkeypatch.setattr(DeliveryWorker, "start", started_slowly)
    before = postmen()
    with LoopbackServer(Recorder()) as elsewhere, EngageLab() as engagelab:
        server = ApiServer(engagelab).start()
        engagelab.receiver = Receiver.http(elsewhere.url)
        talking = threading.Thread(target=Talk(server), args=("POST", "/v1/messages", message()), daemon=True)
        talking.start()
        assert started.wait(PATIENCE)
        stopping = threading.Thread(target=server.stop, daemon=True)
        stopping.start()
        stopping.join(0.2)  # it waits for the worker, or has overlooked it
        go_on.set()
        stopping.join(PATIENCE)
        talking.join(PATIENCE)
    for postman in set(postmen()) - set(before):
        postman.join(PATIENCE)
        assert not postman.is_alive()


def test_with_a_clock_that_runs_receivers_in_process_are_called_by_themselves() -> None:
    arrived: SimpleQueue[Received] = SimpleQueue()
    receiver = Receiver.wsgi(Recorder(on_received=arrived.put))
    with EngageLab(receiver, clock=LiveClock(speed=1000)) as engagelab, ApiServer(engagelab) as server:
        talk = Talk(server)
        talk("POST", "/v1/messages", message())
        assert talk("GET", "/_mock/inbox/+6591234567?wait=9").json["code"]
        sent = talk("POST", "/_mock/send", {"to": "+6500000001", "scenario": "sent_failed"}).json
        assert sent["statuses"] == ["plan", "sent_failed"]
        while arrived.get(timeout=PATIENCE).statuses != ["sent_failed"]:
            pass


def test_stopping_frees_the_port_at_once_and_can_be_repeated() -> None:
    with EngageLab() as engagelab:
        server = ApiServer(engagelab).start()
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        server.stop()
        server.stop()
        with socket.socket() as client:
            assert client.connect_ex(address) != 0
        # Nothing of it is left with the engine.
        assert engagelab._engine.outbox.on_release == []


def test_one_that_was_never_started_can_be_stopped() -> None:
    with EngageLab() as engagelab:
        ApiServer(engagelab).stop()


def test_two_servers_of_one_engine_share_its_state() -> None:
    with EngageLab() as engagelab, ApiServer(engagelab) as one, ApiServer(engagelab) as other:
        Talk(one)("POST", "/v1/messages", message())
        assert Talk(other)("GET", "/_mock/inbox/+6591234567").json["code"]


@pytest.mark.parametrize("how", [{}, {"tick": True}, {"auto_tick_seconds": 1}, {"auto_tick_seconds": 15}], ids=str)
@pytest.mark.parametrize("first", ["the server", "the freeze"])
def test_a_test_may_freeze_time(how: dict[str, Any], first: str) -> None:
    freeze = freezegun.freeze_time("2020-01-01", **how)
    with EngageLab() as engagelab, ExitStack() as stack:
        server = ApiServer(engagelab)
        parts: list[AbstractContextManager[Any]] = [server, freeze]
        for part in parts if first == "the server" else reversed(parts):
            stack.enter_context(part)
        for _ in range(2):
            assert Talk(server)("POST", "/v1/messages", message()).status in {200, 400}  # 3004: the code is still valid
        assert Talk(server)("GET", "/_mock/inbox/+6591234567?wait=1").json["code"]
        assert Talk(server)("GET", "/_mock/journal?follow=0.01").body
        assert engagelab.journal.wait_for(status="delivered").acknowledged
