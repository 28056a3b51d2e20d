"""EngageLab as the package exports it: the service, and schedules of what it sends."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Unpack

from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.service.engagelab import EngageLab as Service

if TYPE_CHECKING:
    from engagelab_mock.delivery.retry import RetryPolicy
    from engagelab_mock.explore.exploration import Exploration
    from engagelab_mock.explore.explorer import Listener
    from engagelab_mock.explore.invariants import Invariant
    from engagelab_mock.explore.played import Played
    from engagelab_mock.explore.schedule import Schedule
    from engagelab_mock.explore.schedules import Explored, ExploreOptions
    from engagelab_mock.explore.tape.tape import Tape
    from engagelab_mock.protocol.events import Event


class EngageLab(Service):
    """Do what the service does, and play, explore and record schedules of what it sends.

    >>> with EngageLab() as engagelab:
    ...     engagelab.play("eg1:sent,plan")
    <Played eg1:sent,plan: 2 attempts>
    """

    #: A token that every exploration plays instead of its own schedules; None plays them.
    replaying: str | None = None
    #: The schedule that was played last, of an exploration the one that failed.
    played: Schedule | None = None
    #: Is told how far an exploration has got; None is a line on stderr where that is a terminal.
    progress: Listener | None = None
    #: How many schedules were played or explorations made, so that no two of them are about the same messages.
    explorations: int = 0

    def play(
        self,
        schedule: Schedule | str,
        invariants: Sequence[Invariant] | Invariant = (),
        *,
        events: Mapping[str, Event] | None = None,
        retry: RetryPolicy | Sequence[float] | None = None,
        check: bool | None = None,
    ) -> Played:
        """Deliver what a schedule, or its token, says to the first receiver, looking at its state after each attempt.

        Raises `ScheduleFailed` where an invariant does not hold, or a callback is given up that no fault struck,
        unless `check` is False. `events` puts events of your own in the place of those made for the labels; `retry` is
        for callbacks that are not acknowledged, as `send` takes it.

        >>> with EngageLab() as engagelab:
        ...     played = engagelab.play("eg1:sent,plan,plan")
        >>> [record.events for record in played.records]
        [('sent',), ('plan',), ('plan',)]
        """
        __tracebackhide__ = True
        return run_sync(self._play(SYNC, schedule, invariants, events, retry, check))

    async def aplay(
        self,
        schedule: Schedule | str,
        invariants: Sequence[Invariant] | Invariant = (),
        *,
        events: Mapping[str, Event] | None = None,
        retry: RetryPolicy | Sequence[float] | None = None,
        check: bool | None = None,
    ) -> Played:
        """Do what `play` does, in the running event loop; `observe` and invariants may be coroutine functions."""
        __tracebackhide__ = True
        return await self._play(ASYNC, schedule, invariants, events, retry, check)

    def explore(self, *lifecycles: Explored, **options: Unpack[ExploreOptions]) -> Exploration:
        """Play every schedule of one or more lifecycles, smallest first, and check what must hold in all of them.

        `lifecycles` are scenarios as `send` takes them, or schedules; left out, they are all the built-in ones. The
        options are those of `ExploreOptions`. Raises `ScheduleFailed` at the first schedule in
        which an invariant does not hold, with the smallest schedule in which it does not either, unless `check` is
        False.

        >>> from engagelab_mock import Receiver, converges
        >>> seen = {}
        >>> def app(environ, start_response):
        ...     from engagelab_mock import decode
        ...     for row in decode(environ["wsgi.input"].read()).rows:
        ...         seen.setdefault(row.message_id, set()).add(row.name)
        ...     start_response("200 OK", [])
        ...     return [b""]
        >>> with EngageLab(Receiver.wsgi(app, observe=seen.get)) as engagelab:
        ...     engagelab.explore("delivered", invariants=[converges()], duplicates=1)
        <Exploration: 42 of 42 schedules, 162 deliveries, no failure>
        """
        __tracebackhide__ = True
        return run_sync(self._explore(SYNC, lifecycles, options))

    async def aexplore(self, *lifecycles: Explored, **options: Unpack[ExploreOptions]) -> Exploration:
        """Do what `explore` does, in the running event loop; `observe`, `reset` and invariants may be asynchronous."""
        __tracebackhide__ = True
        return await self._explore(ASYNC, lifecycles, options)

    def replay(self, token: str, **options: Unpack[ExploreOptions]) -> Played:
        """Play the one schedule that a token spells, as `explore` plays it and with the same options.

        >>> with EngageLab() as engagelab:
        ...     engagelab.replay("eg1:plan,delivered!ackloss,sent*2@+3.1s")
        <Played eg1:plan,delivered!ackloss,sent*2@+3.1s: 5 attempts>
        """
        __tracebackhide__ = True
        return run_sync(self._replay(SYNC, token, options))

    async def areplay(self, token: str, **options: Unpack[ExploreOptions]) -> Played:
        """Do what `replay` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._replay(ASYNC, token, options)

    def tape(self, path: str | os.PathLike[str], *, strict: bool = True) -> Tape:
        """Open a tape that `engagelab-mock record` made, to look at it and to send it again.

        Raises `InvalidTape`, naming the line, for one that is broken off or no tape at all; with `strict=False` the
        lines that can be used are there, and `problems` lists the others.

        >>> with EngageLab() as engagelab:
        ...     engagelab.tape("day.jsonl")
        Traceback (most recent call last):
        ...
        engagelab_mock.errors.UsageError: day.jsonl: the tape cannot be read: No such file or directory
        """
        __tracebackhide__ = True
        from engagelab_mock.explore.tape.tape import Tape

        try:
            return Tape.open(self, path, strict=strict)
        except EngageLabMockError as error:
            raise self._entered(error) from None

    async def _play(
        self,
        io: Io,
        schedule: Schedule | str,
        invariants: Sequence[Invariant] | Invariant,
        events: Mapping[str, Event] | None,
        retry: RetryPolicy | Sequence[float] | None,
        check: bool | None,
    ) -> Played:
        __tracebackhide__ = True
        from engagelab_mock.explore.explorer import Explorer

        try:
            explorer = Explorer(self, {"invariants": invariants, "retry": retry})
            return await explorer.play(io, schedule, events=events, check=self.is_checked(check))
        except EngageLabMockError as error:
            raise self._entered(error) from None

    async def _explore(self, io: Io, lifecycles: tuple[Explored, ...], options: ExploreOptions) -> Exploration:
        __tracebackhide__ = True
        from engagelab_mock.explore.explorer import Explorer

        try:
            explorer = Explorer(self, options)
            return await explorer.explore(io, lifecycles)
        except EngageLabMockError as error:
            raise self._entered(error) from None

    async def _replay(self, io: Io, token: str, options: ExploreOptions) -> Played:
        __tracebackhide__ = True
        from engagelab_mock.explore.explorer import Explorer

        try:
            explorer = Explorer(self, options)
            return await explorer.replay(io, token)
        except EngageLabMockError as error:
            raise self._entered(error) from None

    def _entered(self, error: EngageLabMockError) -> EngageLabMockError:
        """Enter in the journal what cannot be used; what failed has its deliveries there."""
        if isinstance(error, AssertionError):
            return error.with_traceback(None)
        return self._refused(error)
