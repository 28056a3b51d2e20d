import pytest
from django.core.wsgi import get_wsgi_application
from shop.models import Message

from engagelab_mock import Receiver, converges, exactly_once

# --- Fixtures


@pytest.fixture
def application():
    return get_wsgi_application()


def state(message_id):
    return Message.objects.filter(id=message_id).values("status", "credits").first()


@pytest.fixture
def engagelab_receiver(application):
    return Receiver.wsgi(application, path="/engagelab", username="acme", secret="s3cret", observe=state)


# --- Tests


def test_verified(engagelab):
    run = engagelab.send("+6591234567")
    assert state(run.message_id) == {"status": "verified", "credits": 1}


def test_the_address_is_valid(engagelab):
    engagelab.validate_address()


# --- Ready


def test_every_order_leads_to_one_state(engagelab):
    engagelab.explore("verified", duplicates=0, invariants=[converges(), exactly_once("credits", when="verified")])


def test_it_is_ready_for_production(engagelab):
    engagelab.check(patience=0.05).assert_none("major")
