"""A tape: recorded callbacks of a receiver, to look at, to send again, or to play as a schedule."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

from engagelab_mock.delivery.faults.fault import Draft, Fault
from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.delivery.model import Delivery, Verbatim
from engagelab_mock.errors import EngageLabMockError, InvalidTape, UnknownName, UsageError
from engagelab_mock.explore.lifecycle import labels_of, lifecycle
from engagelab_mock.explore.schedule import Schedule, Step, tidy
from engagelab_mock.explore.tape.file import Contents, Head, TapeEntry, TapeProblem, read
from engagelab_mock.explore.tape.sanitise import rewritten
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.messages.scenario import Scenario
from engagelab_mock.protocol.callback import Headers
from engagelab_mock.protocol.events import StatusEvent
from engagelab_mock.protocol.signature import HEADER
from engagelab_mock.protocol.status import Channel
from engagelab_mock.service.accept import DeliverOptions, check_deliver_options

if TYPE_CHECKING:
    from engagelab_mock.service.engine import Engine


#: The keys of the times in a body, in Unix seconds.
_TIMES = frozenset({"itime", "msg_time"})


class Tape:
    """Hold the recorded callbacks of a receiver; `EngageLab.tape` opens one.

    >>> import tempfile
    >>> from engagelab_mock import EngageLab
    >>> with tempfile.NamedTemporaryFile() as file, EngageLab() as engagelab:
    ...     _ = file.write(b'{"type":"engagelab-tape","version":1,"started":0,"sanitised":true}\\n')
    ...     _ = file.seek(0)
    ...     engagelab.tape(file.name)
    <Tape of 0 callbacks>
    """

    def __init__(self, engine: Engine | None, contents: Contents) -> None:
        #: Sends the callbacks; None for a tape from another process.
        self._engine = engine
        #: The first line; None if it is missing or damaged.
        self.head: Head | None = contents.head
        #: Every recorded request, in the order of arrival.
        self.entries: tuple[TapeEntry, ...] = contents.entries
        #: The unreadable lines, each with the reason.
        self.problems: tuple[TapeProblem, ...] = contents.problems

    @property
    def callbacks(self) -> tuple[TapeEntry, ...]:
        """Return the entries that can be sent again: POST requests with a body."""
        return tuple(entry for entry in self.entries if entry.method == "POST" and entry.content is not None)

    @property
    def statuses(self) -> list[str]:
        """Return the name of every recorded event, in order."""
        return [event.name for entry in self.callbacks for event in entry.events]

    @property
    def duration(self) -> float:
        """Return the seconds from the first callback to the last."""
        callbacks = self.callbacks
        return callbacks[-1].at - callbacks[0].at if callbacks else 0.0

    @cached_property
    def schedule(self) -> Schedule:
        """Return the tape as a schedule for `play` and `explore`: its statuses, of new messages."""
        return schedule_of(self.callbacks)

    def replay(
        self,
        *,
        resign: bool = True,
        rebase: Literal["now"] | float | None = "now",
        **options: Unpack[DeliverOptions],
    ) -> list[Delivery]:
        """Send every callback again, with the recorded delays, to the receivers, and return the deliveries.

        With `resign`, each is signed with the receiver's secret. Without it, each has the recorded signature, if any.
        `rebase` moves the times in the bodies so that the first callback is at "now" or at a Unix time. With None, the
        bodies are sent byte for byte. The options are those of `deliver`. Raises `NotAcknowledged` like `send`.
        """
        __tracebackhide__ = True
        return run_sync(self._replay(SYNC, resign, rebase, options))

    async def areplay(
        self,
        *,
        resign: bool = True,
        rebase: Literal["now"] | float | None = "now",
        **options: Unpack[DeliverOptions],
    ) -> list[Delivery]:
        """Do what `replay` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._replay(ASYNC, resign, rebase, options)

    async def _replay(
        self, io: Io, resign: bool, rebase: str | float | None, options: DeliverOptions
    ) -> list[Delivery]:
        __tracebackhide__ = True
        engine = self._engine
        if engine is None:
            hint = "open the file again, with engagelab.tape(…)"
            raise UsageError("a tape from another process cannot be replayed", where="replay", hint=hint)
        try:
            check_deliver_options(options, where="replay")
            if options.get("total") is not None:
                raise UsageError("a tape keeps the total of each body", where="replay", hint="leave total out")
            callbacks = self.callbacks
            if not resign:
                _check_signatures(callbacks)
            shift = _shift(callbacks, rebase, engine.clock.time())
            sending = engine.sending(options)
        except EngageLabMockError as error:
            raise engine.refused(error) from None
        now = engine.clock.time()
        for entry in callbacks:
            verbatim = Verbatim(
                body=_shifted(entry.content or b"", shift),
                content_type=entry.content_type,
                signed=entry.signed,
                faults=() if resign or not entry.signed else (_as_taped(entry),),
            )
            at = now + max(0.0, entry.at - callbacks[0].at)
            sending.schedule_callback(at, entry.events, verbatim=verbatim)
        await engine.scheduler.run(io, sending)
        return sending.deliveries

    def __reduce__(self) -> tuple[Any, ...]:
        return Tape, (None, Contents(self.head, self.entries, self.problems))

    def __deepcopy__(self, memo: object) -> Self:
        return self  # it is immutable

    def __repr__(self) -> str:
        wrong = f", {len(self.problems)} unreadable lines" if self.problems else ""
        return f"<Tape of {len(self.callbacks)} callbacks{wrong}>"


def open_tape(engine: Engine, path: str | os.PathLike[str], *, strict: bool) -> Tape:
    """Return the tape in a file; with `strict`, raise `InvalidTape` if a line cannot be read."""
    __tracebackhide__ = True
    try:
        tape = Tape(engine, read(path))
        if strict and tape.problems:
            more = len(tape.problems) - 1
            rest = f", and {more} more lines cannot be read" if more else ""
            raise InvalidTape(
                f"{tape.problems[0].what}{rest}",
                where=f"{path}, line {tape.problems[0].line}",
                hint=f"tape(…, strict=False) returns the {len(tape.callbacks)} good callbacks, and the problems",
                tape=tape,
            )
    except EngageLabMockError as error:
        raise engine.refused(error) from None
    return tape


def _check_signatures(callbacks: Sequence[TapeEntry]) -> None:
    for entry in callbacks:
        if entry.signed and "signature=" not in Headers(entry.headers)[HEADER]:
            raise UsageError(
                "the tape is sanitised and has no signatures",
                where="resign",
                hint="use resign=True, or record with --no-sanitise",
            )


def _shift(callbacks: Sequence[TapeEntry], rebase: object, now: float) -> int:
    """Return how many seconds the times in the bodies move."""
    if rebase is None or not callbacks:
        return 0
    if rebase == "now":
        return int(now) - int(callbacks[0].at)
    if isinstance(rebase, bool) or not isinstance(rebase, (int, float)):
        raise UsageError(f"rebase is 'now', a Unix time, or None, not {rebase!r}", where="rebase")
    return int(rebase) - int(callbacks[0].at)


def _shifted(body: bytes, seconds: int) -> bytes:
    """Return a body with its times moved; a body that is not JSON is unchanged."""
    if not seconds or not body.strip():
        return body
    try:
        return rewritten(_move(json.loads(body), seconds)).encode()
    except (ValueError, RecursionError):
        return body


def _move(value: Any, seconds: int) -> Any:
    if isinstance(value, dict):
        return {
            key: inner + seconds if key in _TIMES and type(inner) is int else _move(inner, seconds)
            for key, inner in value.items()
        }
    return [_move(inner, seconds) for inner in value] if isinstance(value, list) else value


def _as_taped(entry: TapeEntry) -> Fault:
    """Return the fault that replaces the signature with the recorded one."""

    def work(draft: Draft) -> None:
        kept = [pair for pair in draft.headers if pair[0] != HEADER]
        draft.headers = [*kept, *((HEADER, value) for value in Headers(entry.headers).get_all(HEADER))]

    return Fault(
        name="taped_signature", family="signature", stage="headers", description="the recorded signature", work=work
    )


#: The status, channel and times that identify an event of a message: `itime`, and `msg_time` if that moves.
_Key = tuple[str, str, int, int]


def schedule_of(entries: Sequence[TapeEntry]) -> Schedule:
    """Return a schedule that delivers the recorded statuses in the same order, as often, with the same delays.

    It has only the statuses that EngageLab has. `Tape.replay` sends every callback.

    >>> schedule_of([])
    <Schedule eg1::>
    """
    events: dict[str, dict[_Key, StatusEvent]] = {}
    for entry in entries:
        for event in entry.events:
            if isinstance(event, StatusEvent) and _step(Scenario("", graph=None), event, 0, "") is not None:
                events.setdefault(event.message_id, {}).setdefault(_key(event), event)
    ordered = {message_id: sorted(known, key=lambda key: key[2:]) for message_id, known in events.items()}
    scenarios = tuple(_scenario([events[message_id][key] for key in keys]) for message_id, keys in ordered.items())
    labels = {place: label for label, place in labels_of(scenarios).places.items()}
    places = {
        (message_id, key): labels[message, index]
        for message, (message_id, keys) in enumerate(ordered.items())
        for index, key in enumerate(keys)
    }
    steps = []
    last: float | None = None
    for entry in entries:
        found = [
            places.get((event.message_id, _key(event))) for event in entry.events if isinstance(event, StatusEvent)
        ]
        if carried := tuple(label for label in found if label is not None):
            gap = 0.0 if last is None else max(0.0, round(entry.at - last, 3))
            steps.append(Step(carried, delay=gap))
            last = entry.at
    return Schedule(scenarios, tidy(steps))


def _key(event: StatusEvent) -> _Key:
    data = event.status.status_data
    return event.name, data.current_send_channel, event.itime, data.msg_time


def _scenario(events: Sequence[StatusEvent]) -> Scenario:
    """Return the lifecycle of one message's events; a built-in one if its steps are the same."""
    scenario = Scenario("", graph=None)
    moment = events[0].itime
    for event in events:
        channel = event.status.status_data.current_send_channel
        scenario = _step(scenario, event, event.itime - moment, channel) or scenario
        moment = event.itime
    steps = list(scenario.steps(Channel.SMS))
    for known in CATALOGUE.values():
        if list(known.steps(Channel.SMS)) == steps:
            return known
    return lifecycle(scenario)


def _step(scenario: Scenario, event: StatusEvent, after: float, channel: str) -> Scenario | None:
    """Return the scenario with the event's step; None for a status or a channel that EngageLab does not know."""
    for code in (event.status.error_code or None, None):
        try:
            return scenario.then(event.name, after=after, channel=channel or None, error=code)
        except UnknownName:
            continue
    return None
