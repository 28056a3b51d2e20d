"""Snapshots of the app's data: go back to the state after some callbacks without sending them again.

`explore` takes a pair of functions, `snapshot` and `restore`. This module has such pairs for common databases.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, TypedDict
from weakref import finalize

import msgspec

from engagelab_mock.delivery.io import ASYNC, Io
from engagelab_mock.delivery.probe import needs_async
from engagelab_mock.errors import EngageLabMockError, ProbeFailed, UsageError

if TYPE_CHECKING:
    from sqlite3 import Connection

    from engagelab_mock.explore.played import Record


class SnapshotOptions(TypedDict):
    """Hold the two options of `explore` that save the app's data and bring it back.

    >>> sorted(SnapshotOptions.__annotations__)
    ['restore', 'snapshot']
    """

    snapshot: Callable[[], Any]
    restore: Callable[[Any], Any]


def sqlite_snapshots(database: str | os.PathLike[str] | Connection) -> SnapshotOptions:
    """Return the options for an app with an SQLite database: its file, or the app's connection to one in memory.

    >>> import sqlite3
    >>> db = sqlite3.connect(":memory:")
    >>> pair = sqlite_snapshots(db)
    >>> empty = pair["snapshot"]()
    >>> _ = db.execute("CREATE TABLE orders (id)")
    >>> pair["restore"](empty)
    >>> db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (0,)
    """

    import sqlite3  # only this function needs it

    @contextmanager
    def opened() -> Iterator[Connection]:
        if isinstance(database, sqlite3.Connection):
            yield database
        else:
            with closing(sqlite3.connect(database)) as connection:
                yield connection

    def snapshot() -> _Copy:
        copy = _Copy(sqlite3.connect(":memory:", check_same_thread=False))
        with opened() as connection:
            connection.backup(copy.connection)
        return copy

    def restore(copy: _Copy) -> None:
        with opened() as connection:
            copy.connection.backup(connection)

    return {"snapshot": snapshot, "restore": restore}


class _Copy:
    """A copy of an SQLite database in memory, which is closed when nothing refers to it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        finalize(self, connection.close)


def django_savepoints(using: str = "default") -> SnapshotOptions:
    """Return the options for a Django app whose test runs in one transaction, as with pytest-django's `db`.

    >>> sorted(django_savepoints())
    ['restore', 'snapshot']
    """

    def execute(statement: str) -> None:
        from django.db import connections

        if not connections[using].in_atomic_block:
            raise UsageError(
                "a savepoint needs an open transaction",
                where="snapshot",
                hint="run the test in one, as pytest-django's `db` fixture does, or use `with transaction.atomic():`",
            )
        with connections[using].cursor() as cursor:
            cursor.execute(statement)

    return _savepoints(execute)


def sqlalchemy_savepoints(connection: Any) -> SnapshotOptions:
    """Return the options for an app whose sessions use this SQLAlchemy connection, which is in a transaction.

    The sessions must not end that transaction: `Session(bind=connection, join_transaction_mode="create_savepoint")`.

    >>> class Connection:
    ...     def exec_driver_sql(self, statement):
    ...         print(statement)
    >>> pair = sqlalchemy_savepoints(Connection())
    >>> pair["restore"](pair["snapshot"]())
    SAVEPOINT engagelab_1
    ROLLBACK TO SAVEPOINT engagelab_1
    """
    return _savepoints(connection.exec_driver_sql)


def _savepoints(execute: Callable[[str], object]) -> SnapshotOptions:
    numbers = count(1)

    def snapshot() -> str:
        name = f"engagelab_{next(numbers)}"
        execute(f"SAVEPOINT {name}")
        return name

    def restore(name: str) -> None:
        execute(f"ROLLBACK TO SAVEPOINT {name}")

    return {"snapshot": snapshot, "restore": restore}


#: One delivery of a schedule: the place of its step, the events, the fault and the delay.
Sent = tuple[int, tuple[str, ...], str, float]


class Saved(msgspec.Struct, frozen=True, eq=False):
    """Hold the progress of a playing when the app's data was saved.

    >>> Saved((), None, None, ()).sent
    ()
    """

    sent: tuple[Sent, ...]
    #: What `snapshot` returned.
    data: Any
    #: The state before the first callback, and the attempts so far.
    initial: Any
    records: tuple[Record, ...]


class Snapshots:
    """Save the app's data after each callback, and keep the copies on the way to the last one.

    So at most as much is kept as a schedule has callbacks, and the last copy is brought back first, which
    savepoints need.

    >>> Snapshots(list, print).kept
    []
    """

    def __init__(self, snapshot: Callable[[], Any], restore: Callable[[Any], Any]) -> None:
        self.kept: list[Saved] = []
        self._snapshot = snapshot
        self._restore = restore
        self._first: list[Any] = []

    @classmethod
    def by(cls, snapshot: Callable[[], Any] | None, restore: Callable[[Any], Any] | None) -> Snapshots | None:
        """Return the snapshots that two functions make, if both are given."""
        return None if snapshot is None or restore is None else cls(snapshot, restore)

    async def save(self, io: Io, sent: Sequence[Sent], initial: Any, records: Sequence[Record]) -> None:
        """Save the data after these callbacks were sent."""
        data = await _call(io, "snapshot", self._snapshot)
        self.kept.append(Saved(tuple(sent), data, initial, tuple(records)))

    async def go_back(self, io: Io, sent: Sequence[Sent]) -> Saved | None:
        """Bring back the data after as many of these callbacks as possible; return None if nothing was saved."""
        while self.kept and self.kept[-1].sent != tuple(sent[: len(self.kept[-1].sent)]):
            self.kept.pop()
        if not self.kept:
            return None
        await _call(io, "restore", self._restore, self.kept[-1].data)
        return self.kept[-1]

    async def start_again(self, io: Io) -> None:
        """Bring back the data from before the first schedule: for an app without `reset`."""
        self.kept.clear()
        if not self._first:
            self._first.append(await _call(io, "snapshot", self._snapshot))
        else:
            await _call(io, "restore", self._restore, self._first[0])


async def _call(io: Io, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call one of the user's functions, blocking or awaiting; its failure ends the run."""
    try:
        done = function(*arguments)
        if hasattr(done, "__await__"):
            if io is not ASYNC:
                getattr(done, "close", lambda: None)()
                raise needs_async(name)
            done = await done
    except EngageLabMockError:
        raise
    except Exception as error:
        raise ProbeFailed(f"it raised {type(error).__name__}: {error}", where=name) from error
    return done


def not_restored(state: Any, found: Any) -> ProbeFailed:
    """Return the error for a `restore` that brought back another state.

    >>> not_restored("sent", None).where
    'restore'
    """
    return ProbeFailed(
        f"the state was {state!r:.200} when snapshot was called, and {found!r:.200} after restore",
        where="restore",
        hint="snapshot must save all data of the app, also the data in memory; if the app works after its answer, give "
        "wait_idle",
    )
