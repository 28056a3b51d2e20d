"""A Django view receives every built-in scenario: over WSGI, over ASGI, and over a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

from engagelab_mock import EngageLab, NotAcknowledged, Outcome, Receiver
from engagelab_mock.server.loopback import LoopbackServer
from tests.patience import PATIENCE
from tests.real import django_receiver
from tests.real.conftest import SCENARIOS
from tests.real.refusals import assert_refused_as_unsigned

Way = Callable[[str], AbstractContextManager[Receiver]]


@contextmanager
def wsgi(secret: str) -> Iterator[Receiver]:
    yield Receiver.wsgi(get_wsgi_application(), "/engagelab/", username="acme", secret=secret, limit=PATIENCE)


@contextmanager
def asgi(secret: str) -> Iterator[Receiver]:
    yield Receiver.asgi(get_asgi_application(), "/engagelab/", username="acme", secret=secret, limit=PATIENCE)


@contextmanager
def socket(secret: str) -> Iterator[Receiver]:
    with LoopbackServer(get_wsgi_application()) as server:
        yield Receiver.http(f"{server.url}/engagelab/", username="acme", secret=secret, limit=PATIENCE)


ways = pytest.mark.parametrize("way", [wsgi, asgi, socket])


@ways
def test_every_scenario_arrives(way: Way, scenario: str, statuses: list[str]) -> None:
    with django_receiver.project(), way("s3cret") as receiver, EngageLab(receiver) as engagelab:
        run = engagelab.send("+6591234567", scenario=scenario)
    assert run.acknowledged
    assert run.statuses == django_receiver.statuses == statuses


@ways
def test_another_secret_is_refused(way: Way) -> None:
    with django_receiver.project(), way("another") as receiver:
        assert_refused_as_unsigned(receiver)
    assert django_receiver.statuses == []


@ways
def test_a_secret_need_not_be_ascii(way: Way) -> None:
    with django_receiver.project("sécret ☃"), way("sécret ☃") as receiver, EngageLab(receiver) as engagelab:
        assert engagelab.send("+6591234567").acknowledged
    assert django_receiver.statuses == SCENARIOS["verified"]


@ways
def test_its_address_is_valid(way: Way) -> None:
    with django_receiver.project(), way("s3cret") as receiver, EngageLab(receiver) as engagelab:
        assert engagelab.validate_address().acknowledged


def test_the_missing_slash_is_a_redirect_that_is_named_but_not_followed() -> None:
    with django_receiver.project():
        receiver = Receiver.wsgi(get_wsgi_application(), "/engagelab", username="acme", secret="s3cret")
        with EngageLab(receiver) as engagelab, pytest.raises(NotAcknowledged) as caught:
            engagelab.send("+6591234567")
    assert caught.value.delivery.outcome is Outcome.REDIRECT
    assert "check the trailing slash" in caught.value.hint
    assert django_receiver.statuses == []


def test_a_host_that_django_does_not_allow_is_named() -> None:
    with django_receiver.project():
        receiver = Receiver.wsgi(get_wsgi_application(), "/engagelab/", base_url="http://elsewhere.example")
        with EngageLab(receiver) as engagelab, pytest.raises(NotAcknowledged) as caught:
            engagelab.send("+6591234567")
    response = caught.value.delivery.attempts[0].response
    assert response is not None
    assert response.status == 400
    assert "ALLOWED_HOSTS" in caught.value.hint


@pytest.mark.asyncio
async def test_in_the_tests_own_loop() -> None:
    with django_receiver.project():
        receiver = Receiver.asgi(get_asgi_application(), "/engagelab/", username="acme", secret="s3cret")
        with EngageLab(receiver) as engagelab:
            assert (await engagelab.asend("+6591234567")).acknowledged
    assert django_receiver.statuses == SCENARIOS["verified"]
