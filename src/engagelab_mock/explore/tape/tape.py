"""A recorded tape: read it, send it again, or play it as a schedule."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Unpack

from engagelab_mock.delivery.faults.fault import Draft, Fault
from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.schedule import Planned, Verbatim
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
from engagelab_mock.service.options import DeliverOptions, check_deliver_options

if TYPE_CHECKING:
    from engagelab_mock.service.core import Core


#: The times in a body, in Unix seconds.
_TIMES = frozenset({"itime", "msg_time"})


class Tape:
    """Hold callbacks as a receiver got them once; made with `EngageLab.tape`.

    >>> import tempfile
    >>> from engagelab_mock import EngageLab
    >>> with tempfile.NamedTemporaryFile() as file, EngageLab() as engagelab:
    ...     _ = file.write(b'{"type":"engagelab-tape","version":1,"started":0,"sanitised":true}\\n')
    ...     _ = file.seek(0)
    ...     engagelab.tape(file.name)
    <Tape of 0 callbacks>
    """

    def __init__(self, engine: Core, contents: Contents) -> None:
        self._engine = engine
        #: The first line; None where it is missing, or is not one.
        self.head: Head | None = contents.head
        #: Every request on it, in the order in which they came.
        self.entries: tuple[TapeEntry, ...] = contents.entries
        #: What is wrong with the lines that could not be used.
        self.problems: tuple[TapeProblem, ...] = contents.problems

    @classmethod
    def open(cls, engine: Core, path: str | os.PathLike[str], *, strict: bool) -> Tape:
        """Read a tape; raise `InvalidTape` for one with problems, if that is not allowed."""
        contents = read(path)
        tape = cls(engine, contents)
        if strict and contents.problems:
            more = len(contents.problems) - 1
            rest = f", and {more} more lines cannot be used" if more else ""
            raise InvalidTape(
                f"{contents.problems[0].what}{rest}",
                where=f"{path}, line {contents.problems[0].line}",
                hint=f"tape(…, strict=False) gives the good part, {len(tape.callbacks)} callbacks, and the problems",
                tape=tape,
            )
        return tape

    @property
    def callbacks(self) -> tuple[TapeEntry, ...]:
        """Return the entries that can be sent again: posted, and with a body."""
        return tuple(entry for entry in self.entries if entry.method == "POST" and entry.content is not None)

    @property
    def statuses(self) -> list[str]:
        """Return the name of every event on it, in order."""
        return [event.name for entry in self.callbacks for event in entry.events]

    @property
    def duration(self) -> float:
        """Return the seconds from the first callback to the last."""
        callbacks = self.callbacks
        return callbacks[-1].at - callbacks[0].at if callbacks else 0.0

    @cached_property
    def schedule(self) -> Schedule:
        """Return the tape as a schedule for `play` and `explore`: its statuses, of messages made anew."""
        return schedule_of(self.callbacks)

    def replay(
        self,
        *,
        resign: bool = True,
        rebase: Literal["now"] | float | None = "now",
        **options: Unpack[DeliverOptions],
    ) -> list[Delivery]:
        """Send every callback again, with its gaps, to the engine's receivers, and return the deliveries.

        `resign` signs each anew with the receiver's secret; without it the taped signature goes out, where the tape
        has one. `rebase` moves the times in the bodies along with the tape, to "now" or to a Unix time; with None the
        bodies go out byte for byte. The options are those of `deliver`. Raises `NotAcknowledged` like `send`.
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
        try:
            check_deliver_options(options, where="replay")
            if options.get("total") is not None:
                raise UsageError("a tape's bodies have their own total", where="replay")
            callbacks = self.callbacks
            if not resign:
                _check_signatures(callbacks)
            planned = self._plan(callbacks, resign, _shift(callbacks, rebase, self._engine.clock.time()))
            play = self._engine.begin(options)
        except EngageLabMockError as error:
            self._engine.journal.refuse(error, at=self._engine.clock.time())
            raise error.with_traceback(None) from None
        play.plan(planned)
        await self._engine.see_through(io, play)
        return play.deliveries

    def _plan(self, callbacks: Sequence[TapeEntry], resign: bool, shift: int) -> list[Planned]:
        now = self._engine.clock.time()
        return [
            Planned(
                now + max(0.0, entry.at - callbacks[0].at),
                entry.events,
                Verbatim(
                    body=_shifted(entry.content or b"", shift),
                    content_type=entry.content_type,
                    signed=entry.signed,
                    faults=() if resign or not entry.signed else (_as_taped(entry),),
                ),
            )
            for entry in callbacks
        ]

    def __repr__(self) -> str:
        wrong = f", {len(self.problems)} lines of no use" if self.problems else ""
        return f"<Tape of {len(self.callbacks)} callbacks{wrong}>"


def _check_signatures(callbacks: Sequence[TapeEntry]) -> None:
    for entry in callbacks:
        if entry.signed and "signature=" not in Headers(entry.headers)[HEADER]:
            raise UsageError(
                "the tape is sanitised, and has no signature to send",
                where="resign",
                hint="leave it at resign=True, or record with --no-sanitise",
            )


def _shift(callbacks: Sequence[TapeEntry], rebase: object, now: float) -> int:
    """Return the seconds by which the times in the bodies move."""
    if rebase is None or not callbacks:
        return 0
    if rebase == "now":
        return int(now) - int(callbacks[0].at)
    if isinstance(rebase, bool) or not isinstance(rebase, (int, float)):
        raise UsageError(
            f"a tape is rebased to 'now', to a Unix time, or not at all, not to {rebase!r}", where="rebase"
        )
    return int(rebase) - int(callbacks[0].at)


def _shifted(body: bytes, seconds: int) -> bytes:
    """Return a body with the times in it moved; what is not JSON stays as it is."""
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
    """Make the fault that puts the taped signature in the place of a genuine one."""

    def work(draft: Draft) -> None:
        kept = [pair for pair in draft.headers if pair[0] != HEADER]
        draft.headers = [*kept, *((HEADER, value) for value in Headers(entry.headers).get_all(HEADER))]

    return Fault(
        name="taped_signature", family="signature", stage="headers", description="the signature on the tape", work=work
    )


#: What tells one event of a message from another.
_Key = tuple[str, str, int]


def schedule_of(entries: Sequence[TapeEntry]) -> Schedule:
    """Return a schedule that delivers what was taped, in that order, as often, and with those gaps.

    Only statuses that EngageLab has are in it: what else was taped, `Tape.replay` sends.

    >>> schedule_of([])
    <Schedule eg1::>
    """
    events: dict[str, dict[_Key, StatusEvent]] = {}
    for entry in entries:
        for event in entry.events:
            if isinstance(event, StatusEvent) and _step(Scenario("", graph=None), event, 0, "") is not None:
                events.setdefault(event.message_id, {}).setdefault(_key(event), event)
    ordered = {
        message_id: sorted(known, key=lambda key: known[key].status.status_data.msg_time)
        for message_id, known in events.items()
    }
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
    return event.name, data.current_send_channel, data.msg_time


def _scenario(events: Sequence[StatusEvent]) -> Scenario:
    """Return the lifecycle that one message's events make, by its usual name if it has one."""
    scenario = Scenario("", graph=None)
    moment = events[0].status.status_data.msg_time
    for event in events:
        data = event.status.status_data
        scenario = _step(scenario, event, data.msg_time - moment, data.current_send_channel) or scenario
        moment = data.msg_time
    steps = list(scenario.steps(Channel.SMS))
    for known in CATALOGUE.values():
        if list(known.steps(Channel.SMS)) == steps:
            return known
    return lifecycle(scenario)


def _step(scenario: Scenario, event: StatusEvent, after: float, channel: str) -> Scenario | None:
    """Return the scenario with the event's step; None for a status or a channel that EngageLab does not have."""
    for code in (event.status.error_code or None, None):
        try:
            return scenario.then(event.name, after=after, channel=channel or None, error=code)
        except UnknownName:
            continue
    return None
