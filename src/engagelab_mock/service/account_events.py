"""Sending what is about the account rather than a message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.protocol.events import Event
from engagelab_mock.service.core import Core
from engagelab_mock.service.options import split_options


class AccountEvents(Core):
    """Send notifications, what users wrote back, and system events."""

    def notify(self, event: str, **fields: Any) -> list[Delivery]:
        """Send a notification about the account: insufficient_balance and its fellows.

        `fields` are the notification's own, any that the vendor may add, and the keys of `DeliverOptions`. Returns a
        delivery for each receiver; raises `UnknownName` for a notification EngageLab does not have.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     [delivery] = engagelab.notify("insufficient_balance", remain_balance=-0.005, balance_threshold=2)
        >>> delivery.statuses
        ['insufficient_balance']
        """
        __tracebackhide__ = True
        return run_sync(self._tell(SYNC, self.account.notification, (event,), fields))

    async def anotify(self, event: str, **fields: Any) -> list[Delivery]:
        """Do what `notify` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._tell(ASYNC, self.account.notification, (event,), fields)

    def uplink(self, sender: str, *, body: str, **fields: Any) -> list[Delivery]:
        """Send what a user wrote back, as `notify` sends a notification.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     [delivery] = engagelab.uplink("+6591234567", body="STOP")
        >>> delivery.statuses
        ['uplink_message']
        """
        __tracebackhide__ = True
        return run_sync(self._tell(SYNC, self.account.uplink, (sender,), {"body": body, **fields}))

    async def auplink(self, sender: str, *, body: str, **fields: Any) -> list[Delivery]:
        """Do what `uplink` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._tell(ASYNC, self.account.uplink, (sender,), {"body": body, **fields})

    def system_event(self, event: str, **fields: Any) -> list[Delivery]:
        """Send what somebody did in the console or with a key, as `notify` sends a notification.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     [delivery] = engagelab.system_event("account_login", action="login_failed", fail_reason="locked")
        >>> delivery.events[0].system_event.data.account_login.fail_reason
        'locked'
        """
        __tracebackhide__ = True
        return run_sync(self._tell(SYNC, self.account.system_event, (event,), fields))

    async def asystem_event(self, event: str, **fields: Any) -> list[Delivery]:
        """Do what `system_event` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._tell(ASYNC, self.account.system_event, (event,), fields)

    async def _tell(
        self, io: Io, make: Callable[..., Event], arguments: tuple[Any, ...], fields: dict[str, Any]
    ) -> list[Delivery]:
        """Make an event about the account and deliver it; `fields` hold the event's and the delivery's options."""
        __tracebackhide__ = True
        try:
            options, own = split_options(fields, where=make.__name__)
            event = make(*arguments, at=self.clock.time(), **own)
        except EngageLabMockError as error:
            raise self._refused(error) from None
        return await self._deliver(io, [event], options)
