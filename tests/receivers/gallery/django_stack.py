"""Orders on Django and its ORM."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.db import models
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.urls import path

from engagelab_mock import Receiver
from tests.django_settings import configure
from tests.receivers.gallery.orders import PATH, SECRET, USERNAME, Orders, Row, State
from tests.receivers.gallery.sqlite import NOTHING

# Models need the settings when their classes are made.
configure()


class Claim(models.Model):
    key: models.CharField[str, str] = models.CharField(max_length=200, primary_key=True)

    class Meta:
        app_label = "gallery"


class Message(models.Model):
    id: models.CharField[str, str] = models.CharField(max_length=40, primary_key=True)
    status: models.CharField[str, str] = models.CharField(max_length=40)
    moment: models.BigIntegerField[int, int] = models.BigIntegerField()
    credits: models.IntegerField[int, int] = models.IntegerField(default=0)
    refunds: models.IntegerField[int, int] = models.IntegerField(default=0)
    cost: models.IntegerField[int, int] = models.IntegerField(default=0)

    class Meta:
        app_label = "gallery"


class OrmLedger:
    def __init__(self) -> None:
        from django.db import connection

        made = connection.introspection.table_names()
        with connection.schema_editor() as editor:
            for model in (Claim, Message):
                if model._meta.db_table not in made:
                    editor.create_model(model)
        self.reset()

    def transaction(self) -> AbstractContextManager[object]:
        from django.db import transaction

        return transaction.atomic()

    def claim(self, key: str) -> bool:
        return bool(Claim.objects.get_or_create(key=key)[1])

    def status(self, message_id: str) -> str | None:
        found = Message.objects.filter(pk=message_id).values_list("status", flat=True).first()
        return None if found is None else str(found)

    def moment(self, message_id: str) -> int:
        return int(Message.objects.filter(pk=message_id).values_list("moment", flat=True).first() or 0)

    def keep(self, row: Row, status: str) -> None:
        Message.objects.update_or_create(pk=row.message_id, defaults={"status": status, "moment": row.at})

    def add(self, message_id: str, **amounts: int) -> None:
        changes: dict[str, Any] = {name: F(name) + amount for name, amount in amounts.items()}
        Message.objects.filter(pk=message_id).update(**changes)

    def observe(self, message_id: str) -> State:
        found = Message.objects.filter(pk=message_id).values(*NOTHING).first()
        return dict(found) if found else dict(NOTHING)

    def reset(self) -> None:
        Claim.objects.all().delete()
        Message.objects.all().delete()

    def close(self) -> None:
        from django.db import connection

        connection.close()


class DjangoShop:
    """Serve orders, correct ones unless told otherwise; there is one database, so one shop at a time."""

    def __init__(self, orders: type[Orders] = Orders) -> None:
        from django.test import override_settings

        self.ledger = OrmLedger()
        self.orders = orders(self.ledger)
        self._settings = override_settings(
            ALLOWED_HOSTS=["testserver"], ROOT_URLCONF=(path(PATH[1:], self._view),), MIDDLEWARE=[]
        )
        self._settings.enable()
        self._app = get_wsgi_application()

    def _view(self, request: HttpRequest) -> HttpResponse:
        try:
            return HttpResponse(status=self.orders.receive(request.headers.get("X-CALLBACK-ID"), request.body))
        except Exception:
            return HttpResponse(status=500)

    @property
    def receiver(self) -> Receiver:
        return Receiver.wsgi(self._app, path=PATH, username=USERNAME, secret=SECRET, observe=self.observe)

    def observe(self, message_id: str) -> State:
        return self.ledger.observe(message_id)

    def reset(self) -> None:
        self.orders.reset()

    def close(self) -> None:
        self.ledger.close()
        self._settings.disable()
