"""The checks of the address: valid and invalid certificates, and hosts with several IP addresses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engagelab_mock import Finding, Judgement, Receiver
from engagelab_mock.checks import wire
from engagelab_mock.checks.catalogue import Selection
from engagelab_mock.checks.context import Context
from engagelab_mock.checks.runner import Runner
from tests.checks.receivers.certificates import Authority
from tests.checks.receivers.correct import PATH, SETTINGS, CorrectReceiver
from tests.checks.receivers.store import Store


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def bundle(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority.write_bundle(tmp_path_factory.mktemp("tls") / "ca.pem")


@pytest.fixture
def receiver(tmp_path: Path) -> CorrectReceiver:
    return CorrectReceiver(Store(tmp_path / "receiver.sqlite"))


def check(id: str, url: str, **options: Any) -> Finding:
    receiver = Receiver.http(url + PATH, **SETTINGS | options)
    try:
        return Runner(Context(receiver), selection=Selection(only=[id]), recovery=0).run().finding(id)
    finally:
        receiver.close()


def test_a_certificate_of_a_trusted_authority_passes(
    authority: Authority, bundle: Path, receiver: CorrectReceiver
) -> None:
    with authority.serving(receiver, "127.0.0.1") as url:
        finding = check("E09", url, tls_verify=bundle)
    assert finding.verdict is Judgement.PASS
    assert "which EngageLab does not have" in finding.warnings[0]


@pytest.mark.parametrize(
    ("name", "until", "reason"),
    [
        ("127.0.0.1", datetime(2020, 1, 1, tzinfo=UTC), "certificate has expired"),
        ("receiver.example", None, "IP address mismatch"),
    ],
)
def test_an_invalid_certificate_fails(
    authority: Authority, bundle: Path, receiver: CorrectReceiver, name: str, until: datetime | None, reason: str
) -> None:
    with authority.serving(receiver, name, until=until) as url:
        finding = check("E09", url, tls_verify=bundle)
    assert finding.verdict is Judgement.FAIL
    assert reason in finding.reason


def test_a_certificate_that_is_not_verified_is_inconclusive(authority: Authority, receiver: CorrectReceiver) -> None:
    with authority.serving(receiver, "127.0.0.1") as url:
        assert check("E09", url, tls_verify=False).verdict is Judgement.INCONCLUSIVE


def test_where_nothing_listens_there_is_no_certificate_to_judge(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    finding = check("E09", f"https://127.0.0.1:{port}", tls_verify=bundle)
    assert finding.verdict is Judgement.INCONCLUSIVE
    assert "nothing listens" in finding.reason


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "app.localhost"])
def test_a_host_that_needs_no_dns_is_skipped(host: str) -> None:
    assert check("E10", f"http://{host}:9").verdict is Judgement.SKIPPED


def test_a_name_that_does_not_resolve_fails() -> None:
    finding = check("E10", "http://receiver.invalid:9")
    assert finding.verdict is Judgement.FAIL
    assert "cannot be resolved" in finding.reason


def test_a_host_passes_if_every_address_accepts_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        resolve_to(monkeypatch, [(socket.AF_INET, ("127.0.0.1", port))] * 2)
        finding = check("E10", f"http://receiver.test:{port}")
    assert (finding.verdict, finding.warnings) == (Judgement.PASS, ())


def test_an_address_that_accepts_no_connection_in_time_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "CONNECT_LIMIT", 0.1)
    with full() as port:
        resolve_to(monkeypatch, [(socket.AF_INET, ("127.0.0.1", port))])
        finding = check("E10", f"http://receiver.test:{port}")
    assert finding.verdict is Judgement.FAIL
    assert "within 0.1 s" in finding.reason


def resolve_to(monkeypatch: pytest.MonkeyPatch, found: list[tuple[int, tuple[Any, ...]]]) -> None:
    answer = [(family, socket.SOCK_STREAM, 0, "", target) for family, target in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: answer)


@contextmanager
def full() -> Iterator[int]:
    """Listen at a port whose queue of connections is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
