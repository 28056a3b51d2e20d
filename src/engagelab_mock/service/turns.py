"""Several sends in one event loop, by one clock: each runs its own callbacks, and time waits for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

from engagelab_mock.clock import Clock, VirtualClock
from engagelab_mock.delivery.io import ASYNC
from engagelab_mock.eventloop import Flag, flag
from engagelab_mock.service.play import Play

#: Who is delivering something, as seen by what is called meanwhile.
_DELIVERING: ContextVar[tuple[Turns, ...]] = ContextVar("engagelab_mock_delivering", default=())


class Turns:
    """Let plays share a clock: what is due at one moment goes out at once, and the clock moves when all is answered."""

    def __init__(self) -> None:
        #: How many actions were run so far.
        self.steps = 0
        self._plays: list[Play] = []
        self._under_way = 0
        self._change: Flag | None = None

    @property
    def delivering(self) -> bool:
        """Tell whether the caller was itself called by what is being delivered."""
        return self in _DELIVERING.get()

    @contextmanager
    def marked(self) -> Iterator[None]:
        """Have those who are called inside the block know that something is being delivered."""
        token = self.mark()
        try:
            yield
        finally:
            self.unmark(token)

    def mark(self) -> Token[tuple[Turns, ...]]:
        """Do what `marked` does, until `unmark` is called with the result."""
        return _DELIVERING.set((*_DELIVERING.get(), self))

    def unmark(self, token: Token[tuple[Turns, ...]]) -> None:
        """Take a mark back."""
        _DELIVERING.reset(token)

    async def see_through(self, clock: Clock, play: Play) -> None:
        """Let the clock pass until the play is closed."""
        __tracebackhide__ = True
        if self.delivering:
            # Called by the receiver itself: who delivers to it waits for this, so this waits for nobody.
            while not play.closed and await ASYNC.run_next(clock):
                pass
            return
        self._plays.append(play)
        try:
            while not play.closed:
                if len(self._plays) > 1 and not self._may_go(clock, play):
                    await self._wait()
                elif not await self._step(clock):
                    break
        finally:
            self._plays.remove(play)
            self._tell()

    def _may_go(self, clock: Clock, play: Play) -> bool:
        """Tell whether what comes next is the play's, or nobody's, and its time can come."""
        pending = clock.pending
        if not pending:
            return not self._under_way
        if any(other.owns(pending[0]) for other in self._plays if other is not play):
            return False
        return not self._under_way or pending[0].when <= clock.time() or not isinstance(clock, VirtualClock)

    async def _step(self, clock: Clock) -> bool:
        __tracebackhide__ = True
        self._under_way += 1
        token = self.mark()
        self.steps += 1
        self._tell()  # the next action is off the agenda before anybody else runs
        try:
            return await ASYNC.run_next(clock)
        finally:
            self.unmark(token)
            self._under_way -= 1
            self._tell()

    async def _wait(self) -> None:
        if self._change is None:
            self._change = flag()
        await self._change.wait()

    def _tell(self) -> None:
        change, self._change = self._change, None
        if change is not None:
            change.set()
