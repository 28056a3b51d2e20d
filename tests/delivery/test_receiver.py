"""The receiver: ways to it, settings, and mistakes that are refused before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

from engagelab_mock import EngageLab, InvalidDelay, InvalidSettings, NotAcknowledged, Outcome, Receiver, UsageError
from tests.failures import failure_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return []


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body"})


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("htps://receiver.example/", "has the scheme 'htps', not http or https"),
        ("ftp://receiver.example/", "has the scheme 'ftp', not http or https"),
        ("127.0.0.1:5000/engagelab", "has the scheme '', not http or https"),
        ("receiver.example/engagelab", "has the scheme '', not http or https"),
        ("", "has the scheme '', not http or https"),
        ("http://", "has no host"),
        ("http://:5000/", "has no host"),
        ("http://127.0.0.1:0/", "has no port"),
        ("http://127.0.0.1:70000/", "is not a URL: Port out of range 0-65535"),
        ("http://127.0.0.1:http/", "is not a URL: "),
        ("http://[::1/", "is not a URL: Invalid IPv6 URL"),
        ("http://acme:s3cret@127.0.0.1/", "credentials in the URL"),
        ("http://127.0.0.1/engage lab", "blanks or non-ASCII"),
        ("http://127.0.0.1/é", "blanks or non-ASCII"),
        ("http://127.0.0.1/\r\nX-Evil: 1", "blanks or non-ASCII"),
        (5000, "address is a string, not 5000"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(url: Any, what: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        Receiver.http(url)
    assert what in str(caught.value)
    assert caught.value.where in {"url", "address"}
    assert "s3cret" not in str(caught.value)


def test_a_misspelt_scheme_gets_a_suggestion() -> None:
    with pytest.raises(InvalidSettings) as caught:
        Receiver.http("htps://receiver.example/")
    assert caught.value.hint == "did you mean 'https'?"


@pytest.mark.parametrize(
    "address", ["http://[::1]:5000/engagelab", "HTTP://RECEIVER.example", "https://receiver.example?a=b"]
)
def test_these_are_addresses(address: str) -> None:
    assert Receiver.http(address).address == address


@pytest.mark.parametrize("make", [Receiver.wsgi, Receiver.asgi])
def test_a_base_url_is_checked_too(make: Any) -> None:
    with pytest.raises(InvalidSettings) as caught:
        make(app, "/engagelab", base_url="receiver.example")
    assert caught.value.where == "base_url"


@pytest.mark.parametrize(
    ("base_url", "path", "address"),
    [
        ("http://testserver", "/engagelab", "http://testserver/engagelab"),
        ("http://testserver/", "engagelab", "http://testserver/engagelab"),
        ("http://testserver/prefix/", "/engagelab/", "http://testserver/prefix/engagelab/"),
        ("http://testserver", "", "http://testserver/"),
    ],
)
def test_base_url_and_path_are_joined_by_one_slash(base_url: str, path: str, address: str) -> None:
    assert Receiver.wsgi(app, path, base_url=base_url).address == address
    assert Receiver.asgi(asgi_app, path, base_url=base_url).address == address


def test_a_username_needs_a_secret_and_the_other_way_round() -> None:
    with pytest.raises(InvalidSettings, match="username 'acme' has no secret"):
        Receiver.wsgi(app, username="acme")
    with pytest.raises(InvalidSettings, match="the secret has no username"):
        Receiver.asgi(asgi_app, secret="s3cret")


@pytest.mark.parametrize("limit", [-1, float("nan"), float("inf"), "3", True])
def test_a_limit_is_a_number_of_seconds_or_none(limit: Any) -> None:
    with pytest.raises(InvalidDelay) as caught:
        Receiver.wsgi(app, limit=limit)
    assert "limit" in str(caught.value)


def test_a_signature_clock_is_wall_or_virtual() -> None:
    with pytest.raises(UsageError, match="'wall' or 'virtual', not 'sundial'"):
        Receiver.wsgi(app, signature_clock="sundial")  # type: ignore[arg-type]


def test_with_settings_changes_only_the_named_settings() -> None:
    receiver = Receiver.recording(authorization="Basic YTpi")
    changed = receiver.with_settings(secret="wrong")
    assert changed.settings.secret == "wrong"
    assert changed.settings.authorization == "Basic YTpi"
    assert changed.recorder is receiver.recorder
    assert receiver.settings.secret != "wrong"
    with EngageLab(changed) as engagelab, pytest.raises(NotAcknowledged) as caught:
        engagelab.send("+6591234567")
    response = caught.value.delivery.attempts[0].response
    assert response is not None
    assert response.status == 401
    with EngageLab(receiver) as engagelab:
        assert engagelab.send("+6591234567").acknowledged


def test_the_bundled_receiver_wants_its_authorization() -> None:
    receiver = Receiver.recording(authorization="Basic YTpi")
    with EngageLab(receiver) as engagelab:
        assert engagelab.send("+6591234567").acknowledged
    with EngageLab(receiver.with_settings(authorization="Basic eDp5")) as engagelab, pytest.raises(NotAcknowledged):
        engagelab.send("+6591234567")


@pytest.mark.parametrize(
    ("receiver", "shown"),
    [
        (Receiver.wsgi(app, "/engagelab"), "<Receiver wsgi http://testserver/engagelab>"),
        (Receiver.http("http://127.0.0.1:9/"), "<Receiver http http://127.0.0.1:9/>"),
    ],
)
def test_its_repr_names_the_way_and_the_address(receiver: Receiver, shown: str) -> None:
    assert repr(receiver) == shown


def test_who_can_look_at_the_app_s_state_is_kept_with_the_receiver() -> None:
    def observe(message_id: str) -> str:
        return f"state of {message_id}"

    receiver = Receiver.wsgi(app, observe=observe)
    assert receiver.observe is observe
    assert receiver.with_settings(description="the shop").observe is observe
    assert Receiver.wsgi(app).observe is None


def test_observe_is_something_to_call() -> None:
    with pytest.raises(UsageError, match="observe must be callable, 'status' is not"):
        Receiver.wsgi(app, observe="status")  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example"])
def test_an_international_host_is_asked_for_in_its_ascii_form(host: str) -> None:
    seen: list[str] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(environ["HTTP_HOST"])
        start_response("200 OK", [])
        return []

    with EngageLab(Receiver.wsgi(app, "/engagelab", base_url=f"http://{host}:8080")) as engagelab:
        engagelab.send(scenario=["plan"])
    assert [name.lower() for name in seen] == ["xn--bcher-kva.example:8080"]
    error = failure_of(Receiver.http("http://bücher.invalid/engagelab"))
    assert error.delivery.outcome is Outcome.DNS_FAILURE
    assert "'xn--bcher-kva.invalid' cannot be resolved" in error.what


@pytest.mark.parametrize("host", ["faß.example", "a..ü.example", "ü" * 70 + ".example"])
def test_a_host_without_a_certain_ascii_form_is_an_error_that_asks_for_it(host: str) -> None:
    with pytest.raises(InvalidSettings, match="no certain ASCII form") as caught:
        Receiver.http(f"http://{host}/engagelab")
    assert "xn--" in caught.value.hint


@pytest.mark.parametrize("url", ["http://bücher.example/café", "http://shop.example/a b", "http://bücher.example/a\nb"])
def test_a_path_of_other_characters_is_to_be_percent_encoded(url: str) -> None:
    with pytest.raises(InvalidSettings, match="blanks or non-ASCII characters") as caught:
        Receiver.http(url)
    assert caught.value.hint == "percent-encode them"
