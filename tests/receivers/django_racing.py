"""Receivers on Django's ORM that a race or a crash in the handler breaks, and a correct one, on SQLite in a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.wsgi import get_wsgi_application
from django.db import IntegrityError, connections, models, transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from engagelab_mock import Receiver
from tests.django_settings import configure
from tests.receivers.racing import statuses

# Models need the settings when their classes are made.
configure()


class Mark(models.Model):
    """Has no constraint."""

    key: models.CharField[str, str] = models.CharField(max_length=200)

    class Meta:
        app_label = "racing"


class Claim(models.Model):
    key: models.CharField[str, str] = models.CharField(max_length=200, primary_key=True)

    class Meta:
        app_label = "racing"


class Order(models.Model):
    id: models.CharField[str, str] = models.CharField(max_length=40, primary_key=True)
    credits: models.IntegerField[int, int] = models.IntegerField(default=0)

    class Meta:
        app_label = "racing"


_MODELS = (Mark, Claim, Order)
#: Takes a message's id and a status, and applies the status.
Apply = Callable[[str, str], None]


def add_credit(message_id: str) -> None:
    if not Order.objects.filter(pk=message_id).update(credits=F("credits") + 1):
        Order.objects.create(pk=message_id, credits=1)


def get_or_create_without_constraint(message_id: str, status: str) -> None:
    if Mark.objects.get_or_create(key=message_id + status)[1] and status == "verified":
        add_credit(message_id)


def lost_update(message_id: str, status: str) -> None:
    order, _ = Order.objects.get_or_create(pk=message_id)
    order.credits += 1
    order.save()


def exists_then_create(message_id: str, status: str) -> None:
    if not Mark.objects.filter(key=message_id + status).exists():
        Mark.objects.create(key=message_id + status)
        add_credit(message_id)


def mark_commit_effect(message_id: str, status: str) -> None:
    try:
        Claim.objects.create(key=message_id + status)
    except IntegrityError:
        return
    add_credit(message_id)


def effect_commit_mark(message_id: str, status: str) -> None:
    if not Claim.objects.filter(key=message_id + status).exists():
        add_credit(message_id)
        Claim.objects.create(key=message_id + status)


def correct(message_id: str, status: str) -> None:
    """Claim the key first, which takes the lock for writing, and give the credit in the same transaction."""
    try:
        with transaction.atomic():
            Claim.objects.create(key=message_id + status)
            add_credit(message_id)
    except IntegrityError:
        pass


def observe(message_id: str) -> dict[str, int]:
    order = Order.objects.filter(pk=message_id).first()
    marks = Mark.objects.filter(key__startswith=message_id).count()
    return {"credits": order.credits if order else 0, "marks": marks}


def reset() -> None:
    for model in _MODELS:
        model._default_manager.all().delete()


@contextmanager
def django_receiver(database: Path, apply: Apply) -> Iterator[Receiver]:
    """Open an app on a database in a file; the database in memory that other tests use comes back afterwards."""

    def view(request: HttpRequest) -> HttpResponse:
        for message_id, status in statuses(json.loads(request.body)):
            apply(message_id, status)
        return HttpResponse()

    settings = connections.settings["default"]
    in_memory, name = connections["default"], settings["NAME"]
    settings["NAME"] = str(database)
    del connections["default"]
    try:
        connections["default"].cursor().execute("PRAGMA journal_mode = WAL")
        with connections["default"].schema_editor() as editor:
            for model in _MODELS:
                editor.create_model(model)
        with override_settings(ALLOWED_HOSTS=["testserver"], ROOT_URLCONF=(path("engagelab", view),), MIDDLEWARE=[]):
            yield Receiver.wsgi(get_wsgi_application(), "/engagelab", observe=observe, reset=reset)
    finally:
        connections["default"].close()
        settings["NAME"] = name
        connections["default"] = in_memory
