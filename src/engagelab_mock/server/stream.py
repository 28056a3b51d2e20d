"""The stream of changes: the data that a console must read again, with ids to resume after an interruption."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from weakref import WeakKeyDictionary

import msgspec
from msgspec import UNSET, Meta, UnsetType
from werkzeug import Response

from engagelab_mock.clock import VirtualClock
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.eventloop import stopwatch
from engagelab_mock.server.app import Call
from engagelab_mock.server.checking import run_of
from engagelab_mock.server.operations import answers
from engagelab_mock.server.schemas import FOLLOW_LIMIT

if TYPE_CHECKING:
    from engagelab_mock.server.app import ServerApp

#: How often a client gets a line, in seconds. Only writing shows that it has gone.
_HEARTBEAT = 1.0
#: The shortest time between two events, in seconds: a thousand callbacks a second are not a thousand events.
_PAUSE = 0.2

Kind = Literal["messages", "clock", "rules", "receivers", "check", "explorations"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class StreamQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Where to go on, and for how long."""

    after: (
        Annotated[str, Meta(description="The id of the last event; only later changes follow. Also: Last-Event-ID.")]
        | UnsetType
    ) = UNSET
    follow: (
        Annotated[
            Annotated[float, Meta(ge=0, le=FOLLOW_LIMIT)] | Literal["", "true"],
            Meta(description="How many seconds to go on with later events. Without a value: until you disconnect."),
        ]
        | UnsetType
    ) = UNSET


class Change(msgspec.Struct):
    """What has changed since the event before."""

    changed: Annotated[
        list[Kind], Meta(description="What to read again. Callbacks, attempts and codes belong to messages.")
    ]
    restarted: Annotated[
        bool, Meta(description="The id to go on after is another server's: everything may have changed.")
    ]


class Event(msgspec.Struct):
    """One server-sent event."""

    id: Annotated[str, Meta(description="Later changes follow it: see `after`.")]
    data: Annotated[
        str,
        Meta(
            description="What has changed, as JSON.",
            extra_json_schema={
                "contentMediaType": "application/json",
                "contentSchema": msgspec.json.schema(Change)["$defs"]["Change"],
            },
        ),
    ]


class Changes:
    """Number the changes of one app, for all who follow them."""

    def __init__(self, app: ServerApp) -> None:
        self._engagelab = engagelab = app.engagelab
        self._run = run_of(app)
        self._scheduler = engagelab._engine.scheduler
        #: Ids of another server begin with something else.
        self._server = secrets.token_hex(4)
        self._lock = threading.Lock()
        self._number = 0
        self._changed: dict[Kind, int] = dict.fromkeys(KINDS, 0)
        self._seen: dict[Kind, Any] = {}

    def listen(self, app: ServerApp) -> None:
        """Notice attempts from now on, until the app is closed."""
        listeners = self._engagelab._engine.journal.listeners
        listeners.append(self._attempted)
        app.on_close(lambda: listeners.remove(self._attempted))

    def read(self, after: int) -> tuple[int, list[Kind]]:
        """Return the number of the last change, and the kinds that changed after the one with this number."""
        now = self._state()
        with self._lock:
            for kind in KINDS:
                if kind not in self._seen or self._seen[kind] != now[kind]:
                    self._number += 1
                    self._changed[kind] = self._number
            self._seen = now
            return self._number, [kind for kind in KINDS if self._changed[kind] > after]

    def number(self, event: str) -> int | None:
        """Return the number in an event's id, or None if it is not an id of this server."""
        server, _, number = event.partition("-")
        return int(number) if server == self._server and number.isdecimal() and len(number) < 20 else None

    def events(self, app: ServerApp, after: str, seconds: float) -> Iterator[bytes]:
        """Yield events as text: one at once, and one after each change."""
        ended = threading.Event()

        def end() -> None:
            ended.set()
            self._scheduler.notify()

        deadline, condition = stopwatch() + seconds, self._scheduler.condition
        seen = self.number(after)
        app.on_close(end)
        try:
            changes = condition.changes
            number, kinds = self.read(seen or 0)
            yield self._event(number, kinds, restarted=bool(after) and seen is None)
            beat = stopwatch() + _HEARTBEAT
            while not ended.is_set() and (now := stopwatch()) < deadline:

                def changed(changes: int = changes) -> bool:
                    return condition.changes != changes or ended.is_set()

                condition.wait_for(changed, min(deadline, beat) - now)
                if ended.is_set():
                    return
                changes = condition.changes
                number, kinds = self.read(number)
                if kinds:
                    yield self._event(number, kinds, restarted=False)
                    ended.wait(_PAUSE)
                elif stopwatch() < beat:
                    continue
                else:
                    yield b":\n\n"
                beat = stopwatch() + _HEARTBEAT
        finally:
            app.forget(end)

    def _event(self, number: int, kinds: list[Kind], *, restarted: bool) -> bytes:
        data = msgspec.json.encode(Change(kinds, restarted))
        return b"id: %s-%d\ndata: %s\n\n" % (self._server.encode(), number, data)

    def _attempted(self, delivery: Delivery, attempt: Attempt) -> None:
        self._scheduler.notify(self)

    def _state(self) -> dict[Kind, Any]:
        """Return values that differ if something has changed."""
        engagelab, engine = self._engagelab, self._engagelab._engine
        entries, clock = engine.journal.entries, engagelab.clock
        try:
            last = entries[-1]
        except IndexError:
            last = None
        time = clock.time() if isinstance(clock, VirtualClock) else getattr(clock, "setting", clock.speed)
        return {
            "messages": (engine.scheduler.condition.changes, len(entries), last),
            "clock": time,
            "rules": [(rule.id, rule.used) for rule in engagelab.rules],
            "receivers": [(receiver, receiver.state) for receiver in engagelab.receivers],
            "check": self._run.progress,
            "explorations": [(each.schedules, each.over) for each in tuple(engine.exploring.explorations)],
        }


#: The changes of each app that a client follows.
_CHANGES: WeakKeyDictionary[ServerApp, Changes] = WeakKeyDictionary()
_MAKING = threading.Lock()


@answers(
    "GET",
    "/_mock/stream",
    "Read the changes after an event, by its id, and follow further changes",
    "Server-sent events: one at once, and then one after each change; in a second without one, an empty comment.",
    content=Event,
    media_type="text/event-stream",
    query=StreamQuery,
)
def follow_changes(call: Call) -> Response:
    """Read the changes after an event, by its id, and follow further changes."""
    with _MAKING:
        changes = _CHANGES.get(call.app)
        if changes is None:
            changes = _CHANGES[call.app] = Changes(call.app)
            changes.listen(call.app)
    after, follow = call.query.after, call.query.follow
    after = call.request.headers.get("Last-Event-ID", "") if after is UNSET else after
    once = follow is UNSET or call.request.method == "HEAD"
    seconds = 0.0 if once else float(FOLLOW_LIMIT) if isinstance(follow, str) else follow
    return Response(changes.events(call.app, after, seconds), content_type="text/event-stream; charset=utf-8")
