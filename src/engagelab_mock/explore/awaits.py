"""Awaits: where a task has stopped, and whether its handler can be stopped there.

The methods of a known async driver are one switch point each, at their start. How often a task is woken up inside of
them depends on the network, so it is not stopped there.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import linecache
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType, FrameType
from typing import Any

from engagelab_mock.explore.switchpoints import Call, is_foreign, plain_sql, sql_releases

#: Packages whose awaits do nothing of the app's: a task that has stopped in no other code goes on at once.
_FRAMEWORKS = frozenset(
    (
        *("asyncio", "anyio", "sniffio", "contextlib", "starlette", "fastapi", "asgiref", "django", "quart"),
        *("litestar", "engagelab_mock", "sentry_sdk", "opentelemetry", "uvicorn", "hypercorn"),
    )
)
#: The async drivers, and their methods that are switch points. All calls of aiosqlite go through the one method.
_DRIVERS = (
    ("psycopg", "AsyncCursor", ("execute", "executemany")),
    ("psycopg", "AsyncServerCursor", ("execute", "executemany")),
    ("psycopg", "AsyncConnection", ("commit", "rollback")),
    ("psycopg", "AsyncTransaction", ("__aenter__", "__aexit__")),
    ("aiosqlite", "Connection", ("_execute",)),
)
_PACKAGES = frozenset(package for package, _, _ in _DRIVERS)
#: The functions that aiosqlite calls in its thread, and that are switch points.
_IN_THREAD = frozenset(("execute", "executemany", "executescript", "commit", "rollback"))
_IN_THREAD |= {"_execute_insert", "_execute_fetchall"}
_RELEASES = frozenset(("commit", "rollback", "executescript", "__aexit__"))
_NAMES = {"__aenter__": "begin", "__aexit__": "commit", "_execute_insert": "execute", "_execute_fetchall": "execute"}


#: The module and the name of the coroutine in which a task waits for a lock.
_ACQUIRE = ("asyncio.locks", "acquire")
_PROGRAMS = (CoroutineType, AsyncGeneratorType)
#: The types of what is awaited that do not tell their coroutine or generator.
_HIDING = frozenset(("coroutine_wrapper", "async_generator_asend", "async_generator_athrow"))


def frames_of(program: Any) -> list[FrameType]:
    """Return the frames of a coroutine and of those that it awaits, from the outside in."""
    frames: list[FrameType | None] = []
    while program is not None:
        if isinstance(program, CoroutineType):
            frames.append(program.cr_frame)
            program = program.cr_await
        elif isinstance(program, AsyncGeneratorType):
            frames.append(program.ag_frame)
            program = program.ag_await
        elif type(program).__name__ in _HIDING:
            programs = [each for each in gc.get_referents(program) if isinstance(each, _PROGRAMS)]
            program = programs[0] if programs else None
        else:
            break
    return [frame for frame in frames if frame is not None]


def waits_for_lock(frames: Sequence[FrameType]) -> bool:
    """Tell whether a coroutine with these frames waits for a lock of asyncio, which another task holds."""
    return bool(frames) and (str(frames[-1].f_globals.get("__name__")), frames[-1].f_code.co_name) == _ACQUIRE


def written_frames(frames: Sequence[FrameType]) -> str:
    """Return the place of a coroutine as a traceback: the frames of the app, or all if none is the app's."""
    lines = []
    for frame in [frame for frame in frames if not is_foreign(frame)] or frames:
        code = frame.f_code
        source = linecache.getline(code.co_filename, frame.f_lineno).strip()
        lines.append(f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}\n    {source}')
    return "\n".join(lines)


def awaiting(task: asyncio.Task[Any]) -> Call | None:
    """Describe the await at which a task has stopped, by the innermost frame of the app; None if it goes on at once."""
    frames = frames_of(task.get_coro())
    own = [frame for frame in frames if _package(frame) not in _FRAMEWORKS]
    inner = next((frame for frame in reversed(frames) if _package(frame) not in {"asyncio", "contextlib"}), None)
    if not own or inner is None or _package(inner) in _PACKAGES:
        return None
    frame = next((frame for frame in reversed(own) if not is_foreign(frame)), own[-1])
    file, number = frame.f_code.co_filename, frame.f_lineno
    call: Call = inner.f_locals["call"] if inner.f_code is _give_way.__code__ else Call("await")
    call.where, call.line = f"{Path(file).name}:{number}", linecache.getline(file, number).strip()
    return call


@contextlib.contextmanager
def stopping_in_drivers() -> Iterator[None]:
    """Let a task give way at the start of each call of the async drivers that are imported."""
    kept: list[tuple[type, str, Any]] = []
    try:
        for package, owner, names in _DRIVERS:
            kind: Any = getattr(sys.modules.get(package), owner, None)
            for name in names:
                if name in vars(kind or object):
                    kept.append((kind, name, vars(kind)[name]))
                    setattr(kind, name, _stopping(name, vars(kind)[name]))
        yield
    finally:
        for kind, name, method in kept:
            setattr(kind, name, method)


def _stopping(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    async def stopped(self: Any, *given: Any, **named: Any) -> Any:
        if (call := _call(name, *given, **named)) is not None:
            await _give_way(call)
        return await method(self, *given, **named)

    return stopped


async def _give_way(call: Call) -> None:
    await asyncio.sleep(0)


def _call(name: str, *given: Any, query: Any = "", **_: Any) -> Call | None:
    if name == "_execute":
        name, given = getattr(given[0], "__name__", ""), given[1:]
        if name not in _IN_THREAD:
            return None
    sql = plain_sql(given[0] if given and not name.startswith("__") else query)
    call = Call(_NAMES.get(name, name), releases=sql_releases(sql) or name in _RELEASES)
    call.sql += [sql] if sql else []
    return call


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]
