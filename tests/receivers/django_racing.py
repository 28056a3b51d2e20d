"""Receivers on Django's ORM that a race or a crash in the handler breaks, and correct ones, on any database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.db import IntegrityError, OperationalError, connections, models, transaction
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
    Order.objects.get_or_create(pk=message_id)
    Order.objects.filter(pk=message_id).update(credits=F("credits") + 1)


def get_or_create_without_constraint(message_id: str, status: str) -> None:
    if Mark.objects.get_or_create(key=message_id + status)[1] and status == "verified":
        add_credit(message_id)


def lost_update(message_id: str, status: str) -> None:
    order, _ = Order.objects.get_or_create(pk=message_id)
    order.credits += 1
    order.save()


def select_then_insert(message_id: str, status: str) -> None:
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


class Cached:
    """Look into a cache before the transaction begins."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def __call__(self, message_id: str, status: str) -> None:
        if message_id + status not in self.keys:
            add_credit(message_id)
            self.keys.add(message_id + status)

    def reset(self) -> None:
        self.keys.clear()


def takes_every_conflict_for_a_repetition(message_id: str, status: str) -> None:
    """Create the order in the same transaction, which fails if another callback has just created it.

    On SQLite, the claim takes the lock for writing, so that this does not happen.
    """
    try:
        with transaction.atomic():
            Claim.objects.create(key=message_id + status)
            if not Order.objects.filter(pk=message_id).update(credits=F("credits") + 1):
                Order.objects.create(pk=message_id, credits=1)
    except IntegrityError:
        pass


def correct(message_id: str, status: str) -> None:
    """Claim the key first, which takes the lock for writing, and give the credit in the same transaction."""
    try:
        with transaction.atomic():
            Claim.objects.create(key=message_id + status)
            add_credit(message_id)
    except IntegrityError:
        pass


def locks_the_row(message_id: str, status: str) -> None:
    """Lock the order before reading what was done to it. SQLite has no such lock."""
    Order.objects.get_or_create(pk=message_id)
    with transaction.atomic():
        Order.objects.select_for_update().get(pk=message_id)
        select_then_insert(message_id, status)


def serializable(message_id: str, status: str) -> None:
    """Let PostgreSQL find the conflict."""
    with transaction.atomic():
        with connections["default"].cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        select_then_insert(message_id, status)


def observe(message_id: str) -> dict[str, int]:
    order = Order.objects.filter(pk=message_id).first()
    marks = Mark.objects.filter(key__startswith=message_id).count()
    return {"credits": order.credits if order else 0, "marks": marks}


class _Answer(HttpResponse):
    """Do work after the answer, when the server closes it."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self.work = work

    def close(self) -> None:
        super().close()
        self.work()
        connections["default"].close()


@contextmanager
def django_receiver(database: dict[str, Any], apply: Apply, *, after_answer: bool = False) -> Iterator[Receiver]:
    """Open an app on a database with these settings; that in memory, of other tests, comes back afterwards."""

    def work(rows: list[tuple[str, str]]) -> None:
        for message_id, status in rows:
            apply(message_id, status)

    def view(request: HttpRequest) -> HttpResponse:
        rows = [*statuses(json.loads(request.body))]
        if after_answer:
            return _Answer(partial(work, rows))
        try:
            work(rows)
        except OperationalError:
            return HttpResponse(status=503)
        return HttpResponse()

    def reset() -> None:
        for model in _MODELS:
            model._default_manager.all().delete()
        getattr(apply, "reset", int)()

    in_memory, settings = connections["default"], connections.settings["default"]
    connections.settings["default"] = settings | database
    del connections["default"]
    try:
        if connections["default"].vendor == "sqlite":
            connections["default"].cursor().execute("PRAGMA journal_mode = WAL")
        with connections["default"].schema_editor() as editor:
            for model in _MODELS:
                editor.create_model(model)
        with override_settings(ALLOWED_HOSTS=["testserver"], ROOT_URLCONF=(path("engagelab", view),), MIDDLEWARE=[]):
            yield Receiver.wsgi(get_wsgi_application(), "/engagelab", observe=observe, reset=reset)
    finally:
        connections["default"].close()
        connections.settings["default"] = settings
        connections["default"] = in_memory
