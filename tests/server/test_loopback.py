from __future__ import annotations

import http.client
import logging
import logging.handlers
import socket
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from random import Random
from typing import TYPE_CHECKING

import pytest

from engagelab_mock.errors import UsageError
from engagelab_mock.server import loopback
from engagelab_mock.server.listening import is_loopback
from engagelab_mock.server.loopback import LoopbackServer
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def broken(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise RuntimeError("the app is broken")


def post(server: LoopbackServer, body: bytes = b"hello") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
    connection.request("POST", "/", body)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def test_it_answers_at_its_url_over_http_1_1() -> None:
    with LoopbackServer(echo) as server:
        response = post(server)

    assert (response.status, response.version) == (200, 11)
    assert server.url == f"http://127.0.0.1:{server.port}"


def test_it_listens_from_the_moment_it_is_made() -> None:
    server = LoopbackServer(echo)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as early:
        early.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nearly")
        with server:
            answer = early.makefile("rb").read()

    assert answer.endswith(b"early")


def test_requests_are_answered_side_by_side() -> None:
    together = threading.Barrier(2, timeout=PATIENCE)

    def meet(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        together.wait()
        return echo(environ, start_response)

    statuses: list[int] = []
    with LoopbackServer(meet) as server:
        threads = [threading.Thread(target=lambda: statuses.append(post(server).status)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)

    assert statuses == [200, 200]


def test_a_request_that_steps_aside_does_not_delay_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "_STALL", 10 * PATIENCE)
    both = threading.Barrier(2, timeout=PATIENCE)

    def meet(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["engagelab_mock.step_aside"]()
        both.wait()
        return echo(environ, start_response)

    with LoopbackServer(meet) as server, ThreadPoolExecutor() as clients:
        answers = [clients.submit(post, server) for _ in range(2)]
        assert [each.result(PATIENCE).status for each in answers] == [200, 200]


def test_a_stopped_server_frees_its_port() -> None:
    with LoopbackServer(echo) as server:
        pass

    with LoopbackServer(echo, port=server.port) as again:
        assert post(again).status == 200


def test_a_server_never_started_frees_its_port_too() -> None:
    server = LoopbackServer(echo)
    server.stop()
    server.stop()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)


def test_stopping_does_not_wait_for_an_app_that_hangs() -> None:
    entered, released = threading.Event(), threading.Event()

    def hang(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        entered.set()
        released.wait(PATIENCE)
        return echo(environ, start_response)

    statuses: list[int] = []
    with LoopbackServer(hang) as server:
        client = threading.Thread(target=lambda: statuses.append(post(server).status))
        client.start()
        assert entered.wait(PATIENCE)
    assert not statuses
    released.set()
    client.join(PATIENCE)


def test_a_stopped_server_does_not_start_again() -> None:
    server = LoopbackServer(echo)
    server.stop()

    with pytest.raises(UsageError, match="cannot start again"):
        server.start()


@pytest.fixture
def logged() -> Iterator[SimpleQueue[logging.LogRecord]]:
    """What the server logs."""
    records: SimpleQueue[logging.LogRecord] = SimpleQueue()
    handler = logging.handlers.QueueHandler(records)
    logging.getLogger("engagelab_mock.server").addHandler(handler)
    yield records
    logging.getLogger("engagelab_mock.server").removeHandler(handler)


def test_requests_are_not_logged_and_failures_are(logged: SimpleQueue[logging.LogRecord]) -> None:
    with LoopbackServer(echo) as server:
        post(server)
    with LoopbackServer(broken) as server:
        assert post(server).status == 500

    assert "the app is broken" in logged.get(timeout=PATIENCE).getMessage()
    assert logged.empty()


def test_a_port_in_use_is_an_error_that_a_program_can_catch(capfd: pytest.CaptureFixture[str]) -> None:
    with LoopbackServer(echo) as taken, pytest.raises(UsageError) as caught:
        LoopbackServer(echo, port=taken.port)

    assert f"port {taken.port} is in use" in str(caught.value)
    assert "port 0" in caught.value.hint
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("host", "port", "complaint"),
    [
        ("127.0.0.1", 65536, "65536 is not a port"),
        ("127.0.0.1", -1, "-1 is not a port"),
        ("...", 0, "the host '...' cannot be resolved"),
        (f"{'a' * 64}.example", 0, "cannot be resolved"),
        ("192.0.2.1", 0, "192.0.2.1 is not an address of this machine"),
    ],
)
def test_an_unusable_address_is_an_error_with_a_hint(host: str, port: int, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        LoopbackServer(echo, host, port)

    assert complaint in str(caught.value)
    assert caught.value.hint


def test_the_url_of_a_server_for_all_is_one_this_machine_can_use() -> None:
    with LoopbackServer(echo, "0.0.0.0") as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert not server.loopback


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_ipv6_address_is_bracketed() -> None:
    try:
        server = LoopbackServer(echo, "::1")
    except UsageError:
        pytest.skip("this machine has no ::1")
    with server:
        assert post(server).status == 200
        assert server.url == f"http://[::1]:{server.port}"


def test_an_answer_that_no_buffer_holds_arrives_whole_and_the_connection_stays_usable() -> None:
    large = Random(0).randbytes(12_000_000)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(len(large)))])
        return [large]

    with LoopbackServer(answer) as server:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
        for _ in range(2):
            connection.request("GET", "/")
            assert connection.getresponse().read() == large
        connection.close()


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("example.com", False),
    ],
)
def test_this_machine_alone(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone
