"""Callback settings: values that EngageLab's console would accept and a header can carry."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from engagelab_otp import WebhookVerifier
from hypothesis import given
from hypothesis import strategies as st

from engagelab_mock import CallbackSettings, InvalidSettings, parse, sign
from engagelab_mock.protocol.signature import Signature
from tests.protocol.strategies import PROPERTY


def test_nothing_is_required() -> None:
    assert not CallbackSettings().signs
    assert not CallbackSettings(authorization="Bearer token").signs


def test_username_and_secret_make_callbacks_signed() -> None:
    assert CallbackSettings(username="acme", secret="s3cret").signs


REFUSED = [
    pytest.param({"username": "acme"}, "secret", "username 'acme' has no secret", id="no secret"),
    pytest.param({"secret": "s3cret"}, "username", "the secret has no username", id="no username"),
    pytest.param({"username": "a;b", "secret": "s"}, "username", "without ';'", id="separator"),
    pytest.param({"username": "bücher", "secret": "s"}, "username", "printable ASCII", id="non-ASCII username"),
    pytest.param({"username": "a\r\nB: c", "secret": "s"}, "username", "printable ASCII", id="line break"),
    pytest.param({"username": " acme", "secret": "s"}, "username", "outer blanks", id="leading blank"),
    pytest.param({"username": "acme ", "secret": "s"}, "username", "outer blanks", id="trailing blank"),
    pytest.param({"username": "acme", "secret": "\udcff"}, "secret", "not valid Unicode", id="undecodable secret"),
    pytest.param({"authorization": "Bearer a\r\nX: y"}, "authorization", "without line breaks", id="header injection"),
    pytest.param({"authorization": "Bearer 密"}, "authorization", "latin-1", id="beyond latin-1"),
    pytest.param({"authorization": "a\x7f"}, "authorization", "control characters", id="control character"),
]


@pytest.mark.parametrize(("given_settings", "where", "said"), REFUSED)
def test_settings_that_cannot_be_used_are_refused(given_settings: dict[str, Any], where: str, said: str) -> None:
    with pytest.raises(InvalidSettings, match=said) as caught:
        CallbackSettings(**given_settings)
    assert caught.value.where == where
    assert caught.value.hint


def test_a_secret_is_not_printed_by_its_refusal() -> None:
    with pytest.raises(InvalidSettings) as caught:
        CallbackSettings(secret="s3cret")
    assert "s3cret" not in str(caught.value)


def test_a_changed_copy_is_checked_too() -> None:
    settings = CallbackSettings(username="acme", secret="s3cret")
    with pytest.raises(InvalidSettings):
        msgspec.structs.replace(settings, secret="")


@pytest.mark.parametrize("secret", ["sécrèt", "密钥", ";=;", " ", "\n"])
def test_a_secret_may_be_any_text(secret: str) -> None:
    assert CallbackSettings(username="acme", secret=secret).secret == secret


@pytest.mark.parametrize("authorization", ["Basic YTpi", "Bearer é", "a\tb", "anything; at=all"])
def test_authorization_may_be_any_header_text(authorization: str) -> None:
    assert CallbackSettings(authorization=authorization).authorization == authorization


@given(st.text(max_size=10))
@PROPERTY
def test_an_accepted_username_comes_back_from_the_header(username: str) -> None:
    try:
        settings = CallbackSettings(username=username, secret="s3cret")
    except InvalidSettings as error:
        assert error.where == "username"  # noqa: PT017 - which one is the point, not that one came
        return
    header = sign(settings.username, settings.secret, timestamp=1000, nonce="1").header
    parsed = parse(header)
    assert isinstance(parsed, Signature)
    assert parsed.username == username
    assert WebhookVerifier(username, "s3cret").verify(header, now=1000)
