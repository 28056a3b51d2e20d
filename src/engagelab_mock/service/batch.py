"""Several sends in one callback: what happens inside `with engagelab.batch():` goes out together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.schedule import Planned
from engagelab_mock.protocol.events import Event

if TYPE_CHECKING:
    from engagelab_mock.service.engagelab import EngageLab
    from engagelab_mock.service.options import DeliverOptions


class Batching:
    """Collect events instead of delivering them, and deliver them as one callback at the end of the block.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     with engagelab.batch():
    ...         run = engagelab.send("+6591234567", scenario="delivered")
    ...         _ = engagelab.notify("insufficient_balance")
    ...     run.deliveries[0].statuses
    ['plan', 'sent', 'delivered', 'insufficient_balance']
    """

    def __init__(self, engagelab: EngageLab, options: DeliverOptions) -> None:
        self._engagelab = engagelab
        self._options = options
        self._timed: list[tuple[float, Event]] = []
        self._waiting: list[list[Delivery]] = []
        self._afterwards: list[Callable[[], object]] = []

    def collect(
        self,
        timed: Sequence[tuple[float, Event]],
        deliveries: list[Delivery],
        afterwards: Callable[[], object] | None = None,
    ) -> None:
        """Take events in; the delivery they end up in is entered in `deliveries`, and `afterwards` is called."""
        self._timed.extend(timed)
        self._waiting.append(deliveries)
        if afterwards is not None:
            self._afterwards.append(afterwards)

    async def _flush(self, io: Io) -> None:
        __tracebackhide__ = True
        if not self._timed:
            return
        planned = Planned(max(at for at, _ in self._timed), tuple(event for _, event in self._timed))
        play = self._engagelab.begin(self._options)
        for deliveries in self._waiting:
            play.share(deliveries)
        play.plan([planned])
        await self._engagelab.see_through(io, play)
        for afterwards in self._afterwards:
            afterwards()

    def __enter__(self) -> Self:
        __tracebackhide__ = True
        self._engagelab.begin_batch(self)
        self._timed, self._waiting, self._afterwards = [], [], []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._engagelab.batching = None
        if error is None:
            run_sync(self._flush(SYNC))

    async def __aenter__(self) -> Self:
        __tracebackhide__ = True
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._engagelab.batching = None
        if error is None:
            await self._flush(ASYNC)
