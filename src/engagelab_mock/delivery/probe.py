"""The probe: functions of the user that read the app's state, and prepare, reset, restart the app and wait for it.

`explore`, `replay`, the state machine and the checks judge by these functions. If one fails, it is an error of the
run. It is never regarded as a state.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.io import ASYNC, Io, call_in_time
from engagelab_mock.delivery.snapshot import PLAIN, snapshot
from engagelab_mock.errors import EngageLabMockError, ProbeFailed, StateNotSettled, UsageError
from engagelab_mock.eventloop import limited, stopwatch
from engagelab_mock.protocol.status import Effects, Meaning, Statuses

if TYPE_CHECKING:
    from engagelab_mock.messages.message import Message

#: Takes a message's id, and returns the state of that message in the app.
Observe = Callable[[str], Any]
#: A callable that returns once the app's background work is done, or seconds for which the state must stay the same.
WaitIdle = Callable[[], Any] | float
#: Takes a Unix time and sets the app's clock to it; with None, the app's clock is right again.
SetTime = Callable[[float | None], Any]

#: How long `wait_idle` may take after one callback, in seconds.
IDLE_LIMIT = 10.0
#: How often the state is read until it stops changing, in seconds.
_LOOK = 0.005


class ProbeOptions(TypedDict, total=False):
    """Give the tool access to the app; every key is optional, and each function may be asynchronous.

    Arguments of a call override those of the receiver.
    """

    #: Takes a message's id, and returns the state of that message in the app: plain values. None means no state.
    observe: Observe | None
    #: Called with a message before its first callback, to enter it as the app does when it sends one.
    prepare: Callable[[Message], Any] | None
    #: Called to delete the rows of the app's tables.
    reset: Callable[[], Any] | None
    #: Returns once the app's background work is done; or seconds for which the state must stay the same.
    wait_idle: WaitIdle | None
    #: The statuses that have an effect, by its name in the state: `{"credits": "verified"}`.
    effects: Effects | None
    #: The statuses that end a message: no other status replaces them.
    terminal: Statuses | None
    #: Returns the state of the whole account in the app, such as totals. Only the checks read it.
    observe_account: Callable[[], Any] | None
    #: Sets the clock that the app reads to a Unix time. It is called with None at the end, to make that clock right.
    set_time: SetTime | None
    #: Ends the app's process at once and starts it again; returns when it answers. Only the checks restart the app.
    restart: Callable[[], Any] | None


PROBE_OPTIONS = tuple(ProbeOptions.__annotations__)
_EXAMPLES = {
    "observe": "observe=lambda message_id: Message.get(message_id).status",
    "prepare": "prepare=lambda message: Message.create(id=message.id, to=message.to)",
    "reset": "reset=empty_tables",
    "wait_idle": "wait_idle=jobs.join, or seconds: wait_idle=0.1",
    "observe_account": "observe_account=lambda: {'credits': Credit.count()}",
    "set_time": "set_time=move_clock, which takes a Unix time, or None at the end",
    "restart": "restart=restart_server, which returns when the app answers again",
}


def check_probe(given: Mapping[str, Any], *, where: str) -> None:
    """Raise `UsageError` for a function that is not callable, and for a meaning that cannot be used.

    >>> check_probe({"observe": {}.get, "wait_idle": 0.1}, where="Receiver")
    """
    Meaning.of(given.get("effects"), given.get("terminal"))
    for name in _EXAMPLES:
        value = given.get(name)
        if name == "wait_idle" and isinstance(value, (int, float)):
            check_delay(value, where="wait_idle")
        elif value is not None and not callable(value):
            raise UsageError(f"{name} must be callable, {value!r:.100} is not", where=where, hint=_EXAMPLES[name])


class Probe:
    """Call the user's functions, blocking or awaiting, and raise `ProbeFailed` for their failures.

    >>> from engagelab_mock.delivery.io import SYNC, run_sync
    >>> states = {"7": "sent"}
    >>> run_sync(Probe(states.get).look(SYNC, "7"))
    'sent'

    Many apps raise for a message that they do not have yet. So an exception of `observe` counts as the state None until
    `observe` has returned a value, and later if it has the same type. `check_seen` raises the exception if `observe`
    never returned a value. An error of this package, such as that of `--observe`, is never a state.
    """

    def __init__(
        self,
        observe: Observe | None = None,
        prepare: Callable[[Message], Any] | None = None,
        reset: Callable[[], Any] | None = None,
        wait_idle: WaitIdle | None = None,
        effects: Effects | None = None,
        terminal: Statuses | None = None,
        observe_account: Callable[[], Any] | None = None,
        set_time: SetTime | None = None,
        restart: Callable[[], Any] | None = None,
        *,
        wait_for: Callable[[Awaitable[Any]], Any] | None = None,
        copy: Callable[[Any], Any] | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        given = (observe, prepare, reset, wait_idle, effects, terminal, observe_account, set_time, restart)
        check_probe(dict(zip(PROBE_OPTIONS, given, strict=True)), where="probe")
        self.observe = observe
        self.prepare = prepare
        self.reset = reset
        self.wait_idle = wait_idle
        self.observe_account = observe_account
        self.set_time = set_time
        self.restart = restart
        #: The meaning of the statuses to the app. If it is not given, the judges infer it from the states.
        self.meaning = Meaning.of(effects, terminal)
        #: Waits, from another thread, for the awaitable of an asynchronous function; None if no event loop can run it.
        self._wait_for = wait_for
        #: Copies a state that has changed. It raises `ProbeFailed` for a state that cannot be compared.
        self._copy = copy or snapshot
        #: Waits some seconds in a synchronous call, so that the app can work meanwhile.
        self._wait = wait
        self._seen = False
        self._unknown: ProbeFailed | None = None

    def check_meaning(self, *, where: str) -> None:
        """Raise `UsageError` if a meaning is given without a function that reads the state."""
        if self.meaning and self.observe is None:
            names = " and ".join(name for name in ("effects", "terminal") if getattr(self.meaning, name))
            hint = f"{names} judge the state: {_EXAMPLES['observe']}"
            raise UsageError(f"this receiver has {names}, but no observe", where=where, hint=hint)

    async def look(self, io: Io, message_id: str, before: Any = None) -> Any:
        """Return a copy of the state of a message; `before` itself if the state equals it."""
        if self.observe is None:
            return None
        try:
            state = self.observe(message_id)
            if type(state) not in PLAIN and isinstance(state, Awaitable):
                state = await self._awaited(io, state, "observe")
        except Exception as error:
            return self._failed_look(error)
        self._seen = True
        if type(state) in PLAIN and type(state) is type(before) and state == before:
            return before
        kept = self._copy(state)
        return before if before is not None and type(kept) is type(before) and kept == before else kept

    def _failed_look(self, error: Exception) -> None:
        if isinstance(error, EngageLabMockError):
            raise _failure("observe", error)
        known = None if self._unknown is None else type(self._unknown.__cause__)
        if self._seen and type(error) is not known:
            raise _failure("observe", error)
        self._unknown = _failure("observe", error)

    def check_seen(self) -> None:
        """Raise the exception of `observe` if it has never returned a value."""
        if self._unknown is not None and not self._seen:
            raise self._unknown

    async def prepare_message(self, io: Io, message: Message) -> None:
        """Enter a message in the app, before its first callback."""
        await self._call(io, "prepare", message)

    async def reset_app(self, io: Io) -> None:
        """Empty the app's tables with the user's function."""
        await self._call(io, "reset")

    async def look_at_account(self, io: Io) -> Any:
        """Return a copy of the state of the whole account; None without `observe_account`."""
        return self._copy(await self._call(io, "observe_account"))

    async def set_app_time(self, io: Io, now: float | None) -> None:
        """Set the app's clock to a Unix time; with None, make it right again."""
        await self._call(io, "set_time", now)

    async def restart_app(self, io: Io) -> None:
        """Restart the app with the user's function."""
        await self._call(io, "restart")

    async def idle(self, io: Io, message_ids: tuple[str, ...]) -> None:
        """Wait until the app has done the work that it does after its answer.

        Raises `StateNotSettled` if `wait_idle` is seconds and the state never stays the same for that long. Raises
        `ProbeFailed` if `wait_idle` does not return within 10 s.
        """
        wait_idle = self.wait_idle
        if wait_idle is None:
            return
        if callable(wait_idle):
            await self._call_in_time(io, wait_idle)
        elif self.observe is not None:
            await self._wait_until_same(io, message_ids, wait_idle)

    async def pause(self, io: Io, seconds: float) -> None:
        """Wait so many seconds of real time, in which the app can work."""
        if io is ASYNC:
            await io.pause(seconds)
        else:
            self._wait(seconds)

    async def _wait_until_same(self, io: Io, message_ids: tuple[str, ...], seconds: float) -> None:
        limit = IDLE_LIMIT + 10 * seconds
        state = [await self.look(io, each) for each in message_ids]
        started = since = stopwatch()
        while True:
            await self.pause(io, min(_LOOK, seconds))
            # Take the time before the read, so that the time of a slow read does not count as time without a change.
            now = stopwatch()
            again = [await self.look(io, each) for each in message_ids]
            if again == state:
                if now - since >= seconds:
                    return
                continue
            state, since = again, stopwatch()
            if since - started > limit:
                raise StateNotSettled(
                    f"the state never stayed the same for {seconds:g} s, within {limit:g} s",
                    where="wait_idle",
                    hint="leave values that change on every read out of what observe returns",
                )

    async def _call_in_time(self, io: Io, wait_idle: Callable[[], Any]) -> None:
        too_long = ProbeFailed(
            f"it did not return within {IDLE_LIMIT:g} s",
            where="wait_idle",
            hint="it must return once the app's background work is done: is its worker running?",
        )
        try:
            done = call_in_time(wait_idle, IDLE_LIMIT)
            if isinstance(done, Awaitable):
                waits = io is ASYNC or self._wait_for is not None
                await self._awaited(io, _in_time(done) if waits else done, "wait_idle")
        except TimeoutError:
            raise too_long from None
        except Exception as error:
            raise _failure("wait_idle", error) from error

    async def _call(self, io: Io, name: str, *arguments: Any) -> Any:
        """Call one of the user's functions, if it was given, and return its result."""
        function = getattr(self, name)
        if function is None:
            return None
        try:
            done = function(*arguments)
            return await self._awaited(io, done, name) if isinstance(done, Awaitable) else done
        except Exception as error:
            raise _failure(name, error) from error

    async def _awaited(self, io: Io, value: Awaitable[Any], name: str) -> Any:
        if io is ASYNC:
            return await value
        if self._wait_for is not None:
            return self._wait_for(value)
        getattr(value, "close", lambda: None)()
        raise needs_async(name)


def needs_async(what: str) -> UsageError:
    """Return the error for an asynchronous callable in a synchronous call."""
    hint = "await the async twin of the call, with an a in front: aexplore, areplay, acheck"
    return UsageError(f"{what} is asynchronous, and this call is not", where=what, hint=hint)


def _failure(name: str, error: Exception) -> ProbeFailed:
    """Return the error of a run in which one of the user's functions failed."""
    if isinstance(error, ProbeFailed):
        return error
    if isinstance(error, EngageLabMockError):
        failure = ProbeFailed(error.what, where=error.where or name, hint=error.hint)
    else:
        said = f"{type(error).__name__}: {error}".partition("\n")[0]
        hints = {
            "observe": "return None for a message that the app does not know",
            "prepare": "it is called once for each message: does reset remove its rows?",
            "reset": "has a handler left a transaction open?" if "locked" in said else "",
        }
        failure = ProbeFailed(f"{name} raised {said:.300}", where=name, hint=hints.get(name, ""))
    failure.__cause__ = error
    return failure


async def _in_time(value: Awaitable[Any]) -> Any:
    async with limited(IDLE_LIMIT):
        return await value
