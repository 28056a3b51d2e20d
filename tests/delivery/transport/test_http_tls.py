"""HTTPS: verified by default, with a CA of one's own, or not at all on request."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from engagelab_mock import EngageLab, InvalidSettings, Outcome, Receiver
from tests.failures import failure_of
from tests.peers import Conversation, Peer, answer, answering


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def context_for(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def secured(authority: trustme.CA, *names: str) -> Peer:
    return Peer(answering(answer(), answer(), answer(), answer()), tls=context_for(authority, *names))


def receiver_at(url: str, *, tls_verify: bool | str | Path = True, limit: float = 3.0) -> Receiver:
    return Receiver.http(f"{url}/engagelab", username="acme", secret="s3cret", tls_verify=tls_verify, limit=limit)


def assert_tls_failure(receiver: Receiver, reason: str) -> None:
    error = failure_of(receiver)
    attempt = error.delivery.attempts[0]
    assert attempt.outcome is Outcome.TLS_FAILURE
    assert attempt.outcome.unreachable
    assert "no TLS session with 127.0.0.1:" in error.what
    assert reason in attempt.error
    assert "tls_verify='ca.pem'" in error.hint
    assert isinstance(attempt.exception, OSError)


def test_a_certificate_of_an_unknown_authority_is_refused(authority: trustme.CA) -> None:
    with secured(authority, "127.0.0.1") as peer:
        assert_tls_failure(receiver_at(peer.url), "CERTIFICATE_VERIFY_FAILED")
        assert peer.requests == []


def test_a_certificate_for_another_host_is_refused(authority: trustme.CA, bundle: Path) -> None:
    with secured(authority, "receiver.example") as peer:
        assert_tls_failure(receiver_at(peer.url, tls_verify=str(bundle)), "IP address mismatch")
        assert peer.requests == []


def test_a_port_that_speaks_no_tls_is_a_tls_failure() -> None:
    def script(conversation: Conversation) -> None:
        conversation.connection.recv(4096)
        conversation.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with Peer(script) as peer:
        assert_tls_failure(receiver_at(peer.url.replace("http:", "https:")), "")


def test_a_handshake_that_never_ends_is_a_connect_timeout() -> None:
    with Peer(Conversation.await_departure) as peer:
        error = failure_of(receiver_at(peer.url.replace("http:", "https:"), limit=0.25))
    assert error.delivery.outcome is Outcome.CONNECT_TIMEOUT
    assert error.what.endswith(f"no TLS session with 127.0.0.1:{peer.port} within 0.25 s")


@pytest.mark.parametrize("given", [str, Path])
def test_an_authority_of_ones_own_is_trusted(
    authority: trustme.CA, bundle: Path, given: type[str] | type[Path]
) -> None:
    with (
        secured(authority, "127.0.0.1") as peer,
        EngageLab(receiver_at(peer.url, tls_verify=given(bundle))) as engagelab,
    ):
        assert engagelab.send("+6591234567").acknowledged
        assert len(peer.requests) == 4


def test_without_verification_any_certificate_will_do(authority: trustme.CA) -> None:
    with (
        secured(authority, "receiver.example") as peer,
        EngageLab(receiver_at(peer.url, tls_verify=False)) as engagelab,
    ):
        assert engagelab.send("+6591234567").acknowledged


def test_an_answer_that_drips_over_tls_is_a_timeout(authority: trustme.CA, bundle: Path) -> None:
    def script(conversation: Conversation) -> None:
        conversation.request()
        conversation.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1000, every=0.01)

    with Peer(script, tls=context_for(authority, "127.0.0.1")) as peer:
        error = failure_of(receiver_at(peer.url, tls_verify=bundle, limit=0.25))
    assert error.delivery.outcome is Outcome.TIMEOUT


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_bundle_that_cannot_be_used_is_refused_at_once(tmp_path: Path, content: str | None) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(InvalidSettings, match=r"the CA bundle .* cannot be used") as caught:
        Receiver.http("https://127.0.0.1:9/", tls_verify=bundle)
    assert caught.value.where == "tls_verify"
