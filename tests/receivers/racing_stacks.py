"""The stacks that racing and crashing receivers run on, by name, and a store on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiosqlite
import psycopg

from engagelab_mock import Receiver
from tests.receivers import django_racing, racing, racing_async
from tests.receivers.racing import Store, folder

_NUMBERS = count(1)
#: The receiver that does everything right, but after its answer.
AFTER_ANSWER = "acknowledges_first"


class Connection(psycopg.Connection[Any]):
    """Understand the question marks of the SQL that SQLite gets as well."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        return super().execute(query.replace("?", "%s"), params, **options)


class AsyncConnection(psycopg.AsyncConnection[Any]):
    """Understand the question marks of the SQL that SQLite gets as well."""

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        return await super().execute(query.replace("?", "%s"), params, **options)


class PostgresStore(Store):
    """Keep orders in a new database of a server."""

    def __init__(self, server: str) -> None:
        self.name = new_database(server)
        self.path = f"{server} dbname={self.name}"
        with self.opened() as db:
            for table in racing.TABLES:
                db.execute(table)
            db.commit()

    def opened(self) -> AbstractContextManager[Any]:
        return closing(Connection.connect(self.path))


def new_database(server: str) -> str:
    name = f"shop{next(_NUMBERS)}"
    with psycopg.connect(server, autocommit=True) as db:
        db.execute(f"DROP DATABASE IF EXISTS {name}")
        db.execute(f"CREATE DATABASE {name}")
    return name


@contextmanager
def _sqlite(server: str) -> Iterator[Store]:
    with TemporaryDirectory(dir=folder()) as directory:
        yield Store(Path(directory, "shop.sqlite"))


@contextmanager
def _flask(store: Store, name: str) -> Iterator[Receiver]:
    yield racing.flask_receiver(store, _handle(racing, name), after_answer=name == AFTER_ANSWER)


@contextmanager
def _fastapi(store: Store, name: str) -> Iterator[Receiver]:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        if isinstance(store, PostgresStore):
            connection = await AsyncConnection.connect(store.path)
            try:
                yield connection
            finally:
                await connection.close()
        else:
            async with aiosqlite.connect(store.path) as db:
                yield db

    handle = _handle(racing_async, name)
    yield racing_async.fastapi_receiver(store, connect, handle, after_answer=name == AFTER_ANSWER)


@contextmanager
def _django(database: dict[str, Any], name: str) -> Iterator[Receiver]:
    handle = _handle(django_racing, name)
    with django_racing.django_receiver(database, handle, after_answer=name == AFTER_ANSWER) as receiver:
        yield receiver


def _handle(module: Any, name: str) -> Any:
    found = getattr(module, "correct" if name == AFTER_ANSWER else name)
    return found() if isinstance(found, type) else found


@contextmanager
def racing_receiver(stack: str, name: str, server: str = "") -> Iterator[Receiver]:
    """Open a receiver on a stack, such as `flask-sqlite`; those on PostgreSQL need the server's connection string."""
    framework, database = stack.split("-")
    if framework == "django":
        with TemporaryDirectory(dir=folder()) as directory:
            settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{directory}/shop.sqlite"}
            if database == "postgres":
                parameters = psycopg.conninfo.conninfo_to_dict(server)
                settings = {"ENGINE": "django.db.backends.postgresql", "NAME": new_database(server)}
                settings |= {"HOST": str(parameters["host"]), "USER": str(parameters["user"])}
            with _django(settings, name) as receiver:
                yield receiver
        return
    opened: Callable[[Store, str], AbstractContextManager[Receiver]] = _flask if framework == "flask" else _fastapi
    if database == "postgres":
        with opened(PostgresStore(server), name) as receiver:
            yield receiver
    else:
        with _sqlite(server) as store, opened(store, name) as receiver:
            yield receiver
