"""A store in one SQLite file, which outlives the process that writes it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from engagelab_mock.errors import UsageError

Record = TypeVar("Record", bound=msgspec.Struct)

#: What marks a SQLite file as one of ours: "elmk".
_APPLICATION = 0x656C6D6B
#: The layout of the tables and of what stands in them; one more with every change that an older version cannot read.
SCHEMA = 1
#: How long another process may take to let go of the file, in seconds: one that is just stopping does.
_PATIENCE = 1.0

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
    """Keep records in a SQLite file: what was put is there after the process was killed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     with SqliteStore(Path(directory, "mock.sqlite")) as store:
    ...         store.remember("starts", 1)
    ...     with SqliteStore(Path(directory, "mock.sqlite")) as store:
    ...         store.recall("starts", int)
    1

    The file belongs to one store at a time. Raises `UsageError` for a file that is no such store, is of a newer
    version, or is in use. Any thread may call it; values are JSON.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._depth = 0
        self._closed = False
        with self._explained():
            self._database = _open(self.path)

    def put(self, kind: str, key: str, value: msgspec.Struct) -> None:
        """Keep a record, in the place of the one of that kind and key if there is one."""
        encoded = msgspec.json.encode(value)
        with self._lock:
            if not self._closed:
                self._database.execute(_PUT, (kind, key, encoded))

    def delete(self, kind: str, key: str) -> None:
        """Forget a record."""
        with self._lock:
            if not self._closed:
                self._database.execute("DELETE FROM entry WHERE kind = ? AND key = ?", (kind, key))

    def clear(self) -> None:
        """Forget every record; what is remembered stays."""
        with self._lock:
            if not self._closed:
                self._database.execute("DELETE FROM entry")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Have everything inside the block kept, or none of it; a block inside another is part of it."""
        with self._lock:
            if self._depth or self._closed:
                yield
                return
            self._database.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            else:
                self._database.execute("COMMIT")
            finally:
                self._depth = 0

    def load(self, kind: str, type: type[Record]) -> Iterator[Record]:
        """Return the records of a kind, in the order in which they were first put."""
        decode = msgspec.json.Decoder(type).decode
        with self._lock, self._explained():
            rows = self._database.execute(
                "SELECT key, value FROM entry WHERE kind = ? ORDER BY seq", (kind,)
            ).fetchall()
        for key, value in rows:
            try:
                yield decode(value)
            except msgspec.MsgspecError as error:
                raise self._unusable(f"its {kind} {key!r} cannot be read: {error}") from error

    def remember(self, name: str, value: object) -> None:
        """Keep something that is no record of what happened."""
        with self._lock:
            if not self._closed:
                self._database.execute("REPLACE INTO setting VALUES (?, ?)", (name, msgspec.json.encode(value)))

    def recall(self, name: str, type: Any) -> Any:
        """Return what was remembered by a name, None when nothing was."""
        with self._lock, self._explained():
            row = self._database.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        try:
            return None if row is None else msgspec.json.decode(row[0], type=type)
        except msgspec.MsgspecError as error:
            raise self._unusable(f"its {name} cannot be read: {error}") from error

    def close(self) -> None:
        """Let go of the file; what is put afterwards is not kept."""
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
    def _explained(self) -> Iterator[None]:
        """Raise what SQLite says of the file as `UsageError`."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                hint = "stop the other engagelab-mock serve, or give this one another file"
                raise UsageError("the file is in use", where=str(self.path), hint=hint) from error
            raise UsageError(f"the file cannot be used: {error}", where=str(self.path)) from error
        except sqlite3.DatabaseError as error:
            raise self._unusable(str(error)) from error
        except OSError as error:
            raise UsageError(f"the file cannot be opened: {error.strerror}", where=str(self.path)) from error

    def _unusable(self, what: str) -> UsageError:
        hint = "give another file, or remove this one to begin anew"
        return UsageError(f"this is no usable store: {what}", where=str(self.path), hint=hint)


def _open(path: Path) -> sqlite3.Connection:
    # It holds the receivers' secrets.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        # First: who has the file has it alone, until the process ends, however it ends.
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
    """Make the tables in an empty file; raise `UsageError` for a file that is somebody else's, or of the future."""
    ((application,),) = database.execute("PRAGMA application_id")
    ((version,),) = database.execute("PRAGMA user_version")
    ((tables,),) = database.execute("SELECT count(*) FROM sqlite_master")
    if application == 0 and not tables:
        for statement in _TABLES.strip().split(";\n"):
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {SCHEMA}")
    elif application != _APPLICATION:
        hint = "give another file: one that does not exist yet is made"
        raise UsageError("this is the database of another program", where=str(path), hint=hint)
    elif version > SCHEMA:
        raise UsageError(
            f"the file was written by a newer version: its schema is {version}, this version knows {SCHEMA}",
            where=str(path),
            hint="upgrade engagelab-mock, or give another file",
        )
