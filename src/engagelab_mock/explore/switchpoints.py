"""Switch points: the calls at which a handler can be stopped, while another handler runs or because it crashes."""

from __future__ import annotations

import linecache
import pkgutil
import sysconfig
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodDescriptorType, MethodType
from typing import Any

from engagelab_mock.errors import UsageError

_SQLITE = (
    *("Connection.execute", "Connection.executemany", "Connection.executescript", "Connection.commit"),
    *("Connection.rollback", "Connection.__exit__", "Cursor.execute", "Cursor.executemany", "Cursor.executescript"),
)
#: The calls of the known drivers, by their module and qualified name.
DRIVERS = frozenset(
    (
        *(f"sqlite3.{name}" for name in _SQLITE),
        *(f"psycopg.cursor.Cursor.{name}" for name in ("execute", "executemany")),
        *(f"psycopg.server_cursor.ServerCursor.{name}" for name in ("execute", "executemany")),
        *(f"psycopg.connection.Connection.{name}" for name in ("commit", "rollback")),
        *(f"psycopg.transaction.Transaction.{name}" for name in ("__enter__", "__exit__")),
        *(f"psycopg2.extensions.cursor.{name}" for name in ("execute", "executemany")),
        *(f"psycopg2.extensions.connection.{name}" for name in ("commit", "rollback", "__exit__")),
        *(f"MySQLdb.cursors.BaseCursor.{name}" for name in ("execute", "executemany")),
        *(f"MySQLdb._mysql.connection.{name}" for name in ("commit", "rollback")),
        *(f"pymysql.cursors.Cursor.{name}" for name in ("execute", "executemany")),
        *(f"pymysql.connections.Connection.{name}" for name in ("begin", "commit", "rollback")),
        *("redis.client.Redis.execute_command", "redis.client.Pipeline.execute"),
    )
)
#: The arguments in which drivers that are written in Python have the SQL, or a command.
_SQL = ("query", "statement", "sql", "operation", "args")
#: Calls that end a transaction. After them, a handler that waits for a lock of the database may have it.
_ENDS = frozenset(("commit", "rollback", "__exit__", "close", "executescript"))
#: Statements that end one.
_ENDING = ("COMMIT", "ROLLBACK", "END")
#: The module of the locks between threads, and the methods that release one.
_LOCKS, _RELEASES = "_thread", frozenset(("release", "__exit__"))
#: Functions that open a connection. What they call for it reads and writes nothing of the app's.
_CONNECTING = frozenset(("get_new_connection", "init_connection_state"))
_DATABASE = ("django.db.", "django.utils.", "psycopg", "contextlib")
_SLEEP = "time.sleep"
_STARTS_THREAD = frozenset(("_thread.start_new_thread", "_thread.start_new", "_thread.start_joinable_thread"))
#: Folders with code that is not the app's.
_FOREIGN = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_OWN = str(Path(__file__).parents[1])
_CHARACTERS = 100


#: What a user adds: the name of a function with its module, or the function.
SwitchPoint = str | Callable[..., Any]


class Died(BaseException):
    """Stop a handler at a switch point. Not an `Exception`, which the app could catch."""


class Call:
    """Hold one call of a handler at a switch point: its name, its place in the app, and the SQL as it becomes known.

    >>> str(Call("execute", "shop.py:12", "db.execute(…)"))
    'execute at shop.py:12: db.execute(…)'
    """

    def __init__(self, name: str, where: str = "", line: str = "", *, releases: bool = False) -> None:
        self.name = name
        self.where = where
        #: The line of the app's source.
        self.line = line
        #: The statements that the driver has executed in this call.
        self.sql: list[str] = []
        #: Whether the call is over, so that later statements belong to another one.
        self.over = False
        #: Whether a handler that waits for a lock may have it after this call.
        self.releases = releases

    @property
    def text(self) -> str:
        """Return the SQL, or else the line of the app's source, in one line."""
        told = "; ".join(self.sql) or ("" if self.name in {"commit", "rollback"} else self.line)
        told = " ".join(told.split())
        return told if len(told) <= _CHARACTERS else f"{told[: _CHARACTERS - 1]}…"

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return f"{self.name}{place}: {self.text}" if self.text else f"{self.name}{place}"


class SwitchPoints:
    """Recognise the calls that are switch points: those of the known drivers, and those that the user names.

    >>> SwitchPoints(["json.dumps"]).added
    ['json.dumps']

    A name is that of a function or a method, with its module. The function itself is accepted, too.
    """

    def __init__(self, added: Sequence[SwitchPoint] = ()) -> None:
        if isinstance(added, str) or not isinstance(added, Iterable):
            raise UsageError(f"{added!r:.100} is not a list of names", where="switch_points", hint="['shop.cache.get']")
        self._names: dict[str, str] = {name: name for name in DRIVERS}
        #: The names of the Python functions that were called so far; empty for one that is not a switch point.
        self.codes: dict[CodeType, str] = {}
        #: The names that the user added, and those of them that were called.
        self.added = [self._add(each) for each in added]
        self.called: set[str] = set()
        self._known: dict[tuple[type, str], str] = {}
        #: The last parts of the names of all functions of C that matter, to ignore the others quickly.
        self.short = {name.rpartition(".")[2] for name in self._names} | _ENDS | _RELEASES | {"sleep"}
        self.short |= {name.rpartition(".")[2] for name in _STARTS_THREAD}

    def _add(self, given: object) -> str:
        name, found = (given, _resolved(given)) if isinstance(given, str) else (qualified(given), given)
        while isinstance(found, MethodType):
            found = found.__func__
        if isinstance(found, FunctionType):
            self.codes[found.__code__] = name
        elif isinstance(found, (BuiltinFunctionType, MethodDescriptorType)):
            self._names[qualified(found)] = name
        else:
            raise UsageError(
                f"a call of {name!r} cannot be seen: it is neither a Python function nor one of a C extension, but "
                f"of type {type(found).__name__}",
                where="switch_points",
                hint="name the function that it calls, such as 'shop.cache.Cache.get'",
            )
        return name

    def of_python(self, frame: FrameType) -> Call | None:
        """Return the call of a Python function, if it is a switch point."""
        code = frame.f_code
        name = self.codes.get(code)
        if name is None:
            name = self._names.get(f"{frame.f_globals.get('__name__')}.{code.co_qualname}", "")
            self.codes[code] = name
        if not name or (name in DRIVERS and _is_connecting(frame)):
            return None
        self.called.add(name)
        call = _call(name.rpartition(".")[2], frame.f_back or frame)
        if name in DRIVERS:
            given = frame.f_locals
            call.sql += [plain_sql(given[each]) for each in _SQL if each in given][:1]
            call.releases = call.releases or any(map(sql_releases, call.sql))
        return call

    def of_c(self, frame: FrameType, function: Any) -> Call | None:
        """Return the call of a function of C, if it is a switch point."""
        owner, name = type(getattr(function, "__self__", None)), function.__name__
        key = (owner, name)
        known = self._known.get(key)
        if known is None or owner is _MODULE:
            known = next((self._names[each] for each in _names(function, owner, name) if each in self._names), "")
            self._known[key] = known
        if not known or _is_connecting(frame):
            return None
        self.called.add(known)
        call = _call(name if name != "__exit__" else "commit", frame)
        if owner.__module__ == "sqlite3" or known.startswith("sqlite3."):
            _show_sql(function.__self__, call)
        return call


_MODULE = type(linecache)


def releases_lock(function: Any) -> bool:
    """Tell whether a function of C releases a lock between threads.

    >>> import threading
    >>> releases_lock(threading.Lock().release)
    True
    """
    return function.__name__ in _RELEASES and type(function.__self__).__module__ == _LOCKS


def ends_transaction(function: Any) -> bool:
    """Tell whether a function of C may end a transaction.

    >>> import sqlite3
    >>> ends_transaction(sqlite3.connect(":memory:").close)
    True
    """
    return function.__name__ in _ENDS and "onnection" in type(function.__self__).__name__


def in_sqlite(function: Any) -> bool:
    """Tell whether a function of C is a method of SQLite's driver."""
    return any(each.__module__ == "sqlite3" for each in type(getattr(function, "__self__", None)).__mro__)


def sql_releases(statement: str) -> bool:
    """Tell whether another handler may have a lock after a statement.

    >>> sql_releases(" commit"), sql_releases("SELECT pg_advisory_unlock(1)"), sql_releases("SELECT 1")
    (True, True, False)
    """
    return statement.lstrip()[:8].upper().startswith(_ENDING) or "unlock(" in statement


def sleeps(function: Any) -> bool:
    """Tell whether a function of C only waits.

    >>> import time
    >>> sleeps(time.sleep)
    True
    """
    return function.__name__ == "sleep" and qualified(function) == _SLEEP


def starts_thread(function: Any) -> bool:
    """Tell whether a function of C starts a thread."""
    return function.__name__.startswith("start_") and qualified(function) in _STARTS_THREAD


def call_at(name: str, frame: FrameType) -> Call:
    """Return a call that the app makes in a frame, or in one that has called it."""
    return _call(name, frame)


def qualified(function: Any) -> str:
    """Return the module and the qualified name of a function or method.

    >>> import sqlite3
    >>> qualified(sqlite3.Cursor.execute)
    'sqlite3.Cursor.execute'
    """
    owner = getattr(function, "__objclass__", None)
    module = getattr(function if owner is None else owner, "__module__", None)
    name = getattr(function, "__qualname__", repr(function))
    return f"{module}.{name}" if module else name


def _names(function: Any, owner: type, name: str) -> list[str]:
    if owner is _MODULE or owner is type(None):
        return [qualified(function)]
    return [f"{each.__module__}.{each.__qualname__}.{name}" for each in owner.__mro__]


def _resolved(name: str) -> Any:
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"function {name!r} not found: {error}",
            where="switch_points",
            hint="a name has the module and the function, such as 'shop.cache.get'; or give the function itself",
        ) from None


def _call(name: str, frame: FrameType) -> Call:
    """Describe a call by the nearest frame of the app's own code."""
    own: FrameType | None = frame
    while own is not None and is_foreign(own):
        own = own.f_back
    chosen = own or frame
    file, number = chosen.f_code.co_filename, chosen.f_lineno
    return Call(name, f"{Path(file).name}:{number}", linecache.getline(file, number).strip(), releases=name in _ENDS)


def is_foreign(frame: FrameType) -> bool:
    """Tell whether the code of a frame is not the app's: of Python, an installed package, or this one."""
    return frame.f_code.co_filename.startswith((*_FOREIGN, _OWN, "<"))


def _is_connecting(frame: FrameType) -> bool:
    """Tell whether Django opens a connection in this frame or in one that called it."""
    each: FrameType | None = frame
    while each is not None and str(each.f_globals.get("__name__")).startswith(_DATABASE):
        if each.f_code.co_name in _CONNECTING:
            return True
        each = each.f_back
    return False


def _show_sql(used: Any, call: Call) -> None:
    """Let SQLite tell the statements that it executes; the connection belongs to the calling thread."""
    connection = getattr(used, "connection", used)

    def tell(statement: str) -> None:
        if call.over:
            return
        call.sql.append(statement)
        call.releases = call.releases or sql_releases(statement)

    connection.set_trace_callback(tell)


def plain_sql(given: object) -> str:
    """Return SQL, or a command, that a driver gets, as text.

    >>> plain_sql(b"COMMIT")
    'COMMIT'
    """
    if isinstance(given, tuple):
        return " ".join(map(str, given))
    return given.decode("utf-8", "replace") if isinstance(given, bytes) else str(given)
