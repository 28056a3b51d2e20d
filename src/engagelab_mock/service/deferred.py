"""What was accepted and is still to be sent: by whom, when, and who is told when it fails."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from engagelab_mock.clock import VirtualClock, stopwatch
from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.errors import EngageLabMockError, UsageError
from engagelab_mock.service.passage import Passage

if TYPE_CHECKING:
    from engagelab_mock.service.core import Core
    from engagelab_mock.service.play import Play

#: How long somebody who settles waits for answers that are being written, in seconds.
_UNWRITTEN = 1.0
#: How long it waits while another thread lets time pass and nothing happens, in seconds.
_PATIENCE = 30.0
#: How long somebody waits who only looks, or sends something of its own, in seconds.
GLANCE = 1.0
#: How often somebody who waits for an answer looks, in seconds.
_STEP = 0.002
#: How long an answer waits for the callbacks that are to go before it, in seconds.
_AT_ONCE = 3.0
#: How many errors are kept for whoever settles next.
_KEPT = 100


class Deferred:
    """Play what was accepted, on the thread of whoever settles; keep what goes wrong until somebody can be told.

    On a `VirtualClock` nobody plays it but those who settle. On any other clock it is played when it is due, by a
    `Postman`.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        #: Plays that are not over, as far as is known, oldest first.
        self._open: deque[Play] = deque()
        self._late: deque[EngageLabMockError] = deque(maxlen=_KEPT)
        #: Answers that are not written yet, and the threads that write them.
        self._unwritten: dict[object, int] = {}
        self.passage = Passage(lambda: core.turns.steps)
        #: Called, from any thread, when something was put on the clock.
        self.on_release: list[Callable[[], object]] = []

    @property
    def waiting(self) -> bool:
        """Tell whether there is anything to settle."""
        return bool(self._open or self._late)

    @property
    def _virtual(self) -> bool:
        return isinstance(self._core.clock, VirtualClock)

    def accept(self, play: Play) -> None:
        """Take a play in, to be released later."""
        play.on_lost = self._late.append
        self._accompany()
        if self._virtual:
            self._open.append(play)

    def hold(self, plays: Sequence[Play]) -> Callable[[], object]:
        """Announce an answer that is about to be written; the result is to be called once it is."""
        ticket = object()
        self._unwritten[ticket] = threading.get_ident()

        def written() -> None:
            self._unwritten.pop(ticket, None)
            self.release(plays)

        return written

    def release(self, plays: Sequence[Play]) -> None:
        """Put plays on the clock."""
        for play in plays:
            play.release()
        for tell in tuple(self.on_release):
            tell()

    def keep(self, error: EngageLabMockError) -> None:
        """Keep an error for whoever settles next."""
        self._late.append(error)

    async def settle(self, io: Io) -> None:
        """Play what was accepted, and raise what went wrong; inside a callback that is under way, do nothing."""
        __tracebackhide__ = True
        turns = self._core.turns
        if not self.waiting or turns.delivering:
            return
        if self._open and self._virtual:
            self._check(io)
            await self._await_answers(io)
            if not await self.passage.enter(io, _PATIENCE):
                raise UsageError(
                    f"another thread lets time pass, and nothing has happened for {_PATIENCE:g} s", where="settle"
                )
            try:
                await self._play(io)
            finally:
                self.passage.leave()
        self.raise_late()

    def glance(self) -> None:
        """Settle if that is possible at once, or nearly: for those who only look."""
        __tracebackhide__ = True
        if self._core.turns.delivering or not self._virtual:
            return
        if self._open:
            try:
                self._check(SYNC)
            except UsageError:
                return
            run_sync(self._await_answers(SYNC))
            if not run_sync(self.passage.enter(SYNC, GLANCE)):
                return
            try:
                run_sync(self._play(SYNC))
            finally:
                self.passage.leave()
        self.raise_late()

    def play_now(self, plays: Sequence[Play]) -> None:
        """Play what was just released, as far as nobody else is at it; keep what goes wrong."""
        if not self._virtual:
            self._await_first(plays)
        elif not self._core.turns.delivering and run_sync(self.passage.enter(SYNC, 0.0)):
            try:
                self._check(SYNC)
                run_sync(self._play(SYNC))
            except EngageLabMockError as error:
                self.keep(error)
            finally:
                self.passage.leave()

    def _await_first(self, plays: Sequence[Play]) -> None:
        """Wait until a postman has delivered what is due at once, at most as long as a receiver may take."""
        since = stopwatch()
        while stopwatch() - since < _AT_ONCE and not all(play.begun for play in plays):
            run_sync(SYNC.pause(_STEP))

    def work_off(self) -> None:
        """Play what was accepted, and keep what goes wrong: for threads that nobody waits for."""
        try:
            run_sync(self.settle(SYNC))
        except EngageLabMockError as error:
            self.keep(error)

    def raise_late(self) -> None:
        """Raise the first error that was kept; the others are its notes."""
        __tracebackhide__ = True
        kept: list[EngageLabMockError] = []
        with contextlib.suppress(IndexError):
            while True:
                kept.append(self._late.popleft())
        if not kept:
            return
        first, *others = kept
        for other in others:
            first.add_note(f"and: {str(other).splitlines()[0]}")
        raise first

    def clear(self) -> None:
        """Forget what was accepted, and what went wrong."""
        while self._open:
            self._open.popleft().take_back()
        self._late.clear()

    async def _play(self, io: Io) -> None:
        """Let time pass until everything accepted is over; the passage is this thread's."""
        __tracebackhide__ = True
        core = self._core
        # Awaiting, each step marks itself: others of this event loop have their turns meanwhile.
        with core.turns.marked() if io is not ASYNC else contextlib.nullcontext():
            while self._open:
                play = self._open[0]
                if play.held:
                    play.release()
                if io is ASYNC:
                    await core.turns.see_through(core.clock, play)
                while not play.closed and await io.run_next(core.clock):
                    core.turns.steps += 1
                # Others of this event loop may have found it closed meanwhile.
                with contextlib.suppress(ValueError):
                    self._open.remove(play)

    def _check(self, io: Io) -> None:
        """Refuse what cannot be played in this way before anything is taken off the clock."""
        for receiver in self._core.receivers:
            io.check(receiver.transport)

    async def _await_answers(self, io: Io) -> None:
        """Wait for other threads' answers to be written: the callbacks come after them."""
        if not self._unwritten:
            return
        here, since = threading.get_ident(), stopwatch()
        while others := [ticket for ticket, thread in list(self._unwritten.items()) if thread != here]:
            if stopwatch() - since > _UNWRITTEN:
                # Whoever was to write them is gone; nobody is to wait for them again.
                for ticket in others:
                    self._unwritten.pop(ticket, None)
                return
            await io.pause(_STEP)

    # While the clock is moved on purpose, what was accepted is played at its own time, and nobody else moves it.

    def _accompany(self) -> None:
        clock: Any = self._core.clock
        companions = getattr(clock, "companions", None)
        if companions is not None and self not in companions:
            companions.append(self)

    def around(self, move: Callable[[], float]) -> float:
        """Play what was accepted before the clock is moved, and what is accepted meanwhile after."""
        __tracebackhide__ = True
        if self._core.turns.delivering:
            return move()
        run_sync(self.settle(SYNC))
        entered = run_sync(self.passage.enter(SYNC, GLANCE))
        token = self._core.turns.mark()
        try:
            moved = move()
        finally:
            self._core.turns.unmark(token)
            if entered:
                self.passage.leave()
        if not self.waiting:
            return moved
        run_sync(self.settle(SYNC))
        now: float = self._core.clock.time()
        return now

    async def aaround(self, move: Callable[[], Awaitable[float]]) -> float:
        """Do what `around` does, in the running event loop."""
        __tracebackhide__ = True
        if self._core.turns.delivering:
            return await move()
        await self.settle(ASYNC)
        entered = await self.passage.enter(ASYNC, GLANCE)
        token = self._core.turns.mark()
        try:
            moved = await move()
        finally:
            self._core.turns.unmark(token)
            if entered:
                self.passage.leave()
        if not self.waiting:
            return moved
        await self.settle(ASYNC)
        now: float = self._core.clock.time()
        return now
