"""What other clients try while EngageLab's API is answered in process: nothing of it may leave the machine."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import httpx
import pytest
import requests
import trio
import urllib3
from engagelab_otp import OTPClient

from engagelab_mock import EngageLab, Interception, Recorder, UsageError
from engagelab_mock.server.loopback import LoopbackServer

HOST = "otp.api.engagelab.cc"
URL = f"https://{HOST}/v1/messages"
SECRET = {"Authorization": "Basic a2V5OnNlY3JldA=="}


@pytest.fixture(autouse=True)
def api(engagelab: EngageLab) -> Iterator[Interception]:
    with Interception(engagelab) as interception:
        yield interception


@pytest.fixture
def proxy() -> Iterator[socket.socket]:
    """Listen, and let no test pass that has connected."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


def url_of(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def with_urllib(url: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url, b"{}", SECRET), timeout=5).close()


def with_http_client(url: str) -> None:
    connection = http.client.HTTPSConnection(HOST, timeout=5)
    connection.request("POST", "/v1/messages", b"{}", SECRET)


def with_urllib3(url: str) -> None:
    with urllib3.PoolManager() as pool:
        pool.request("POST", url, body=b"{}", headers=SECRET, retries=False, timeout=5)


def with_aiohttp(url: str, proxy: str | None = None) -> None:
    async def ask() -> None:
        async with aiohttp.ClientSession(headers=SECRET) as session, session.post(url, data=b"{}", proxy=proxy):
            pass

    asyncio.run(ask())


def with_asyncio(url: str) -> None:
    asyncio.run(asyncio.open_connection(HOST, 443, ssl=True))


def with_trio(url: str) -> None:
    trio.run(trio.open_tcp_stream, HOST, 443)


def with_the_sdk(url: str) -> None:
    OTPClient("key", "secret").send("+6591234567", "my-template")


def with_a_raw_socket(url: str) -> None:
    with socket.socket() as client:
        client.settimeout(5)
        client.connect((HOST, 443))


def with_connect_ex(url: str) -> None:
    with socket.socket() as client:
        client.settimeout(5)
        client.connect_ex((HOST, 443))


CLIENTS = [
    *(with_urllib, with_http_client, with_urllib3, with_aiohttp, with_asyncio, with_trio, with_the_sdk),
    *(with_a_raw_socket, with_connect_ex),
]


@pytest.mark.parametrize("client", CLIENTS)
def test_every_other_client_is_refused_with_a_hint(engagelab: EngageLab, client: Callable[[str], Any]) -> None:
    with pytest.raises(UsageError, match="engagelab_server") as caught:
        client(URL)
    assert HOST in str(caught.value)
    # The app may have swallowed it.
    assert engagelab.journal.refusals
    assert "not accepted: engagelab_api: otp.api.engagelab.cc was not called" in str(engagelab.journal)


def test_a_thread_is_refused_too() -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(UsageError, match="engagelab_server"):
        threads.submit(with_urllib, URL).result()


@pytest.mark.parametrize(
    "host",
    [
        *("OTP.API.ENGAGELAB.CC", "otp.api.engagelab.cc.", b"otp.api.engagelab.cc", "\uff4ftp.api.engagelab.cc"),
        *("engagelab.cc", "push.api.engagelab.cc", "otpsmpp.api.engagelab.cc", "www.engagelab.com"),
    ],
)
@pytest.mark.parametrize("port", [443, 80, 8443, "https", "25", None])
def test_no_host_of_engagelab_is_resolved(host: Any, port: Any) -> None:
    with pytest.raises(UsageError, match="engagelab_server"):
        socket.getaddrinfo(host, port)
    for resolve in (socket.gethostbyname, socket.gethostbyname_ex):
        with pytest.raises(UsageError, match="engagelab_server"):
            resolve(host)


def test_http_through_a_proxy_is_refused(proxy: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, url_of(proxy))
    for url in (URL, URL.replace("https:", "http:")):
        with pytest.raises(UsageError, match="engagelab_server"):
            urllib.request.build_opener().open(urllib.request.Request(url, b"{}", SECRET), timeout=5)
        with pytest.raises(UsageError, match="engagelab_server"):
            urllib3.ProxyManager(url_of(proxy)).request("POST", url, headers=SECRET, retries=False, timeout=5)
        with pytest.raises(UsageError, match="engagelab_server"):
            with_aiohttp(url, proxy=url_of(proxy))
        # These two are answered, and need no proxy.
        assert requests.get(url, timeout=5).status_code == httpx.get(url).status_code == 405


def test_a_connection_that_is_open_already_is_refused() -> None:
    with LoopbackServer(recorder := Recorder()) as server:
        connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=5)
        connection.connect()
        connection.host = HOST  # as if it had been opened before
        with pytest.raises(UsageError, match="engagelab_server"):
            connection.request("POST", "/v1/messages", b"{}", SECRET)
        connection.close()
    assert recorder.received == []


def test_a_client_with_another_resolver_is_refused_before_it_speaks_tls() -> None:
    context = ssl.create_default_context()
    with LoopbackServer(Recorder()) as server:
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
            with pytest.raises(UsageError, match="engagelab_server"):
                asyncio.run(asyncio.open_connection(sock=plain, ssl=context, server_hostname=HOST))
            with pytest.raises(UsageError, match="engagelab_server"):
                context.wrap_socket(plain, server_hostname=HOST.upper())
            with pytest.raises(UsageError, match="engagelab_server"):
                context.wrap_socket(plain, False, True, True, HOST)
    with pytest.raises(UsageError, match="engagelab_server"):
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=HOST)


def test_another_address_of_the_api_is_guarded_at_its_port_alone(engagelab: EngageLab) -> None:
    with LoopbackServer(Recorder()) as server, Interception(engagelab, "http://127.0.0.1:8420"):
        with pytest.raises(UsageError, match=r"engagelab_server"):
            with_urllib("http://127.0.0.1:8420/v1/messages")
        with_urllib(server.url)
    with Interception(engagelab, "https://otp.example"), pytest.raises(UsageError, match="engagelab_server"):
        socket.gethostbyname("otp.example")


def test_other_hosts_are_reached_as_before() -> None:
    with LoopbackServer(recorder := Recorder()) as server:
        port = int(server.url.rpartition(":")[2])
        with_urllib(server.url)
        with_urllib3(server.url)
        with_aiohttp(server.url)
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) == 0
        assert socket.getaddrinfo("127.0.0.1", None) == socket.getaddrinfo(host=b"127.0.0.1", port=None)
        assert socket.getaddrinfo(None, port)
        assert socket.gethostbyname("127.0.0.1") == "127.0.0.1"
    assert len(recorder.received) == 3
    one, other = socket.socketpair(socket.AF_UNIX)
    one.close()
    other.close()
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(OSError, match="No such file"):
        client.connect("/engagelab.cc")


@pytest.mark.parametrize("name", ["notengagelab.cc", "engagelab.cc.example", "engagelab.example", "cc", "127.0.0.1"])
def test_hosts_with_similar_names_are_others(name: str) -> None:
    context = ssl.create_default_context()
    assert context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name).server_hostname == name


def test_the_guard_ends_with_its_block(api: Interception) -> None:
    api.__exit__(None, None, None)
    try:
        # The network's answer: any error.
        with pytest.raises(OSError, match=r"."):
            socket.create_connection(("nothing.engagelab.cc", 1), timeout=0.01)
    finally:
        api.__enter__()
