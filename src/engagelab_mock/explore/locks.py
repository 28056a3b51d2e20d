"""Find out whether a handler waits for a lock of its database. Its own time alone does not tell on a busy machine."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from engagelab_mock.eventloop import stopwatch

_TASKS = Path("/proc/self/task")
#: The folder of this package, and how many calls of others are shown.
_OWN, _SHOWN = str(Path(__file__).parents[1]), 8
#: Modules between a driver and the wait for its socket.
_BETWEEN = frozenset(("asyncio", "selectors", "contextlib", "engagelab_mock"))
#: How long a server may take to let another connection in, in seconds; libpq waits for no fewer than 2.
_CONNECTS = 2
#: A connection that executes nothing, or that a pool lends to others, is not waiting as far as the server knows.
_BLOCKED = "SELECT cardinality(pg_blocking_pids(pid)) > 0 FROM pg_stat_activity WHERE pid = %s AND state = 'active'"


class LockWaits:
    """Ask databases whether a call waits for a lock there: PostgreSQL by a connection to it, SQLite by the thread.

    >>> locks = LockWaits()
    >>> locks.waits(stack_of(threading.current_thread()), 0.01) is None
    True
    """

    def __init__(self) -> None:
        self._connections: dict[str, Any] = {}
        self._asleep: dict[int, float] = {}

    def begin(self) -> None:
        """Forget how long the threads of a driver have slept, because a handler goes on."""
        self._asleep.clear()

    def waits(self, frames: Iterable[FrameType], patience: float) -> bool | None:
        """Tell whether the call of a driver in these frames, the innermost first, waits for a lock.

        None means that the innermost call is not that of a driver which can be asked. A thread that executes the calls
        of SQLite waits if it sleeps for `patience` seconds.
        """
        inside = ""
        for frame in frames:
            package = str(frame.f_globals.get("__name__")).partition(".")[0]
            if package in {"psycopg", "aiosqlite"}:
                inside = package
                used = frame.f_locals.get("self")
                if package == "psycopg" and used is not None and hasattr(used, "info"):
                    return self._waits_in_postgres(used.info)
                if isinstance(thread := getattr(used, "_thread", None), threading.Thread):
                    return self._sleeps(thread, patience)
            elif package not in _BETWEEN:
                break
        # It opens a connection, for example.
        return False if inside == "psycopg" else None

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            if connection is not None:
                connection.close()
        self._connections.clear()

    def _waits_in_postgres(self, info: Any) -> bool | None:
        driver = sys.modules["psycopg"]
        try:
            server = info.dsn
            if server not in self._connections:
                self._connections[server] = None
                own = {"password": info.password or None, "connect_timeout": _CONNECTS}
                self._connections[server] = driver.connect(server, autocommit=True, **own)
            connection = self._connections[server]
            row = connection and connection.execute(_BLOCKED, (info.backend_pid,)).fetchone()
        except driver.Error:
            return None
        return row[0] if row else False if connection else None

    def _sleeps(self, thread: threading.Thread, patience: float) -> bool:
        now = stopwatch()
        if not is_asleep(thread):
            self._asleep.pop(thread.ident or 0, None)
            return False
        return now - self._asleep.setdefault(thread.ident or 0, now) >= patience


def stack_of(thread: threading.Thread) -> Iterator[FrameType]:
    """Yield the frames of a thread, the innermost first.

    >>> [frame.f_code.co_name for frame in stack_of(threading.current_thread())][0]
    'stack_of'
    """
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        yield frame
        frame = frame.f_back


def written_stack(frame: FrameType) -> str:
    """Return the current place of a call as a traceback, from the app's first frame on.

    >>> "in <module>" in written_stack(sys._getframe())
    True
    """
    entries = traceback.extract_stack(frame)
    own = [entry.filename.startswith(_OWN) for entry in entries]
    # The app is called by this package, which the test has called.
    called = entries[own.index(True) if True in own else 0 :]
    inside = [entry for entry in called if not entry.filename.startswith((_OWN, threading.__file__))]
    return "".join(traceback.format_list(inside[-_SHOWN:])).rstrip()


def can_see_sleep() -> bool:
    """Tell whether the system says which threads sleep."""
    return _TASKS.is_dir()


def all_others_sleep() -> bool:
    """Tell whether all threads but this one sleep, so that only another handler or a server can wake one of them.

    >>> all_others_sleep() in (True, False)
    True
    """
    return all(is_asleep(thread) for thread in threading.enumerate() if thread is not threading.current_thread())


def is_asleep(thread: threading.Thread) -> bool:
    """Tell whether a thread sleeps, as far as the system says. One that waits for a processor or the disk does not.

    >>> is_asleep(threading.current_thread()) and can_see_sleep()
    False
    """
    try:
        stat = (_TASKS / str(thread.native_id) / "stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "S"
    except (OSError, IndexError):
        return True
