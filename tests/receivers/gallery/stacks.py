"""The three stacks by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from engagelab_mock import Receiver
from tests.receivers.gallery.orders import Orders, State


class Shop(Protocol):
    orders: Orders

    @property
    def receiver(self) -> Receiver: ...

    def observe(self, message_id: str) -> State: ...

    def reset(self) -> None: ...

    def close(self) -> None: ...


STACKS = ("flask", "django", "fastapi")


@contextmanager
def shop(stack: str, orders: type[Orders] = Orders) -> Iterator[Shop]:
    """Open a shop on a stack, by default one that gets everything right."""
    opened: Shop
    if stack == "django":
        from tests.receivers.gallery.django_stack import DjangoShop

        opened = DjangoShop(orders)
    elif stack == "fastapi":
        from tests.receivers.gallery.fastapi_stack import FastAPIShop

        opened = FastAPIShop(orders)
    else:
        from tests.receivers.gallery.flask_stack import FlaskShop

        opened = FlaskShop(orders)
    try:
        yield opened
    finally:
        opened.close()
