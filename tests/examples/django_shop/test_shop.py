"""The tests of the project. They run in a process of their own, because Django can only be configured once."""

from __future__ import annotations

import os

import django
import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.examples.django_shop.settings")
django.setup()

from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from tests.examples.django_shop.models import Message  # noqa: E402

from engagelab_mock import EngageLab, Receiver, converges, exactly_once  # noqa: E402


@pytest.fixture
def application() -> WSGIHandler:
    call_command("migrate", run_syncdb=True, verbosity=0)
    return get_wsgi_application()


# [fixtures]
def state(message_id: str) -> object:
    return Message.objects.filter(id=message_id).values("status", "credits").first()


@pytest.fixture
def engagelab_receiver(application: WSGIHandler) -> Receiver:
    return Receiver.wsgi(application, path="/engagelab", username="acme", secret="s3cret", observe=state)


# [tests]
def test_verified(engagelab: EngageLab) -> None:
    run = engagelab.send("+6591234567")
    assert state(run.message_id) == {"status": "verified", "credits": 1}


def test_the_address_is_valid(engagelab: EngageLab) -> None:
    engagelab.validate_address()


# [ready]
def test_every_order_leads_to_one_state(engagelab: EngageLab) -> None:
    engagelab.explore("verified", duplicates=0, invariants=[converges(), exactly_once("credits", when="verified")])


def test_it_is_ready_for_production(engagelab: EngageLab) -> None:
    engagelab.check(patience=0.05).assert_none("major")
