"""A store in one SQLite file, which another process can open later."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from engagelab_mock.errors import UsageError
from engagelab_mock.service.store import StoreError

Record = TypeVar("Record", bound=msgspec.Struct)

#: The application id, "elmk", that marks a SQLite file as a store.
_APPLICATION = 0x656C6D6B
#: The version of the tables and records. Increase it with each change that an older version cannot read.
SCHEMA = 1
#: How long to wait for a lock on the file, in seconds: another process may be stopping, and close it soon.
_LOCK_TIMEOUT = 1.0

_TABLES = """
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
    UNIQUE (kind, key)
);
CREATE TABLE setting (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""
_PUT = (
    "INSERT INTO entry (kind, key, value) VALUES (?, ?, ?) ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value"
)


class SqliteStore:
    """Store records in a SQLite file, which keeps them even if the process is killed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     with SqliteStore(Path(directory, "mock.sqlite")) as store:
    ...         store.save_setting("starts", 1)
    ...     with SqliteStore(Path(directory, "mock.sqlite")) as store:
    ...         store.load_setting("starts", int)
    1

    Only one store at a time can use a file. Raises `UsageError` if the file is not a store, was written by a newer
    version, or is in use. Any thread may call it. Values are JSON.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if str(path) == ":memory:":
            hint = "name a file; without a file everything is in memory"
            raise UsageError("this is not a file: nothing in it would be kept", where=str(path), hint=hint)
        self._lock = threading.RLock()
        self._depth = 0
        self._closed = False
        #: Functions that undo the transaction's changes in memory, in the order of the changes.
        self._undo: list[Callable[[], object]] = []
        #: Called with the error when the file can no longer be written, and with None when it can be written again.
        self.on_trouble: Callable[[StoreError | None], object] | None = None
        self._in_trouble = False
        with self._usage_errors():
            self._database = _open(self.path)
            #: The absolute path, in case the process changes its directory, and the file that it names.
            self._absolute = os.path.abspath(path)
            self._file = _identity(self._absolute)

    def put(self, kind: str, key: str, value: msgspec.Struct) -> None:
        """Store a record. It replaces a record of the same kind and key."""
        encoded = msgspec.json.encode(value)
        with self._lock:
            self._change(_PUT, (kind, key, encoded))

    def delete(self, kind: str, key: str) -> None:
        """Delete a record."""
        with self._lock:
            self._change("DELETE FROM entry WHERE kind = ? AND key = ?", (kind, key))

    def clear(self) -> None:
        """Delete every record; settings stay."""
        with self._lock:
            self._change("DELETE FROM entry")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Store all changes that the block makes, or none if it raises; an inner block is part of the outer one."""
        with self._lock:
            if self._depth or self._closed:
                yield
                return
            with self._reported():
                self._database.execute("BEGIN IMMEDIATE")
                self._depth = 1
                try:
                    yield
                    self._database.execute("COMMIT")
                except BaseException:
                    # After some errors, SQLite has rolled it back already.
                    if self._database.in_transaction:
                        self._database.execute("ROLLBACK")
                    self._depth = 0
                    for action in reversed(self._undo):
                        action()
                    raise
                finally:
                    self._depth = 0
                    self._undo.clear()

    def undo(self, action: Callable[[], object]) -> None:
        """Call `action` if the transaction stores nothing, so that the objects in memory agree with the store."""
        with self._lock:
            if self._depth:
                self._undo.append(action)

    def _change(self, statement: str, values: tuple[object, ...] = ()) -> None:
        """Run a statement unless the file is closed; the lock must be held."""
        if self._closed:
            return
        if self._depth:
            self._database.execute(statement, values)
        else:
            with self._reported():
                self._database.execute(statement, values)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """Raise `StoreError` if the file cannot be written, and call `on_trouble` when that changes."""
        before = self._database.total_changes
        try:
            if _identity(self._absolute) != self._file:
                raise self._cannot("the file was deleted or replaced while it was in use", "put it back, or restart")
            yield
        except sqlite3.Error as error:
            failed = self._cannot(f"the file cannot be written: {error}", "make room on the disk; nothing is lost")
            self._tell(failed)
            raise failed from error
        except StoreError as error:
            self._tell(error)
            raise
        else:
            if self._database.total_changes != before:  # only a change shows that the file can be written
                self._tell(None)

    def _cannot(self, what: str, hint: str) -> StoreError:
        return StoreError(what, where=str(self.path), hint=hint)

    def _tell(self, error: StoreError | None) -> None:
        if self._in_trouble is not (error is not None):
            self._in_trouble = error is not None
            if self.on_trouble is not None:
                self.on_trouble(error)

    def load(self, kind: str, type: type[Record]) -> Iterator[Record]:
        """Return the records of a kind, in the order in which they were first stored."""
        decode = msgspec.json.Decoder(type).decode
        with self._lock, self._usage_errors():
            rows = self._database.execute(
                "SELECT key, value FROM entry WHERE kind = ? ORDER BY seq", (kind,)
            ).fetchall()
        for key, value in rows:
            try:
                yield decode(value)
            except msgspec.MsgspecError as error:
                raise self._not_a_store(f"its {kind} {key!r} cannot be read: {error}") from error

    def save_setting(self, name: str, value: object) -> None:
        """Store a value by name. `clear` does not delete it."""
        with self._lock:
            self._change("REPLACE INTO setting VALUES (?, ?)", (name, msgspec.json.encode(value)))

    def load_setting(self, name: str, type: Any) -> Any:
        """Return the value stored under a name, or None."""
        with self._lock, self._usage_errors():
            row = self._database.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        try:
            return None if row is None else msgspec.json.decode(row[0], type=type)
        except msgspec.MsgspecError as error:
            raise self._not_a_store(f"its {name} cannot be read: {error}") from error

    def close(self) -> None:
        """Close the file; later changes are ignored."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SqliteStore {str(self.path)!r}>"

    @contextlib.contextmanager
    def _usage_errors(self) -> Iterator[None]:
        """Raise SQLite's errors about the file as `UsageError`."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                hint = "stop the other `engagelab-mock serve`, or use another file"
                raise UsageError("the file is in use", where=str(self.path), hint=hint) from error
            raise UsageError(f"the file cannot be used: {error}", where=str(self.path)) from error
        except sqlite3.DatabaseError as error:
            raise self._not_a_store(str(error)) from error
        except OSError as error:
            hint = "give a file in a directory that you may write to"
            raise UsageError(f"the file cannot be opened: {error.strerror}", where=str(self.path), hint=hint) from error

    def _not_a_store(self, what: str) -> UsageError:
        hint = "use another file, or delete this one to start with an empty store"
        return UsageError(f"the file cannot be used as a store: {what}", where=str(self.path), hint=hint)


def _identity(path: str) -> tuple[int, int] | None:
    """Return the identity of the file at a path, or None without a file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open(path: Path) -> sqlite3.Connection:
    # Only the user may read it: it holds the receivers' secrets.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(path, timeout=_LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        # First: lock the file until this process ends, even if it is killed.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        _check(database, path)
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        database.close()
        raise
    return database


def _check(database: sqlite3.Connection, path: Path) -> None:
    """Create the tables in an empty file; raise `UsageError` for another program's file or a newer version's."""
    ((application,),) = database.execute("PRAGMA application_id")
    ((version,),) = database.execute("PRAGMA user_version")
    ((tables,),) = database.execute("SELECT count(*) FROM sqlite_master")
    if application == 0 and not tables:
        for statement in _TABLES.strip().split(";\n"):
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {SCHEMA}")
    elif application != _APPLICATION:
        hint = "use another file; a file that does not exist is created"
        raise UsageError("the file is a database of another program", where=str(path), hint=hint)
    elif version > SCHEMA:
        raise UsageError(
            f"the file was written by a newer version: its schema is {version}, this version reads up to {SCHEMA}",
            where=str(path),
            hint="upgrade engagelab-mock, or use another file",
        )
