"""Validating the addresses of receivers, as the console does."""

from __future__ import annotations

from typing import Literal

from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.delivery.model import Delivery
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.render import not_acknowledged
from engagelab_mock.errors import EngageLabMockError, InvalidSettings, UnknownName
from engagelab_mock.protocol.settings import fits_header
from engagelab_mock.service.core import Core, check_receivers

#: The content type of the ping: what `curl -d ''`, the document's own form of it, sends [?].
FORM = "application/x-www-form-urlencoded"
#: The bodies an address-validation ping can have: the document's [S] and the newer pages' [D].
PINGS = {"empty": b"", "json": b"{}"}


class Addresses(Core):
    """Validate, save and refresh receivers' addresses."""

    def validate_address(
        self,
        body: Literal["empty", "json"] | None = None,
        *,
        receiver: Receiver | None = None,
        signed: bool = False,
        content_type: str = FORM,
        check: bool | None = None,
    ) -> Delivery:
        """Ping a receiver, the first unless given, as EngageLab does when a callback's address is saved [S].

        `body` is "empty" [S] or "json" [D], by default the dialect's; `signed` adds X-CALLBACK-ID, which the documents
        leave open. The answer sets the receiver's `state`. Raises `NotAcknowledged` if it is not 200 in time, unless
        `check` is False.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     engagelab.validate_address("json", signed=True).acknowledged
        True
        """
        __tracebackhide__ = True
        return run_sync(self._validate(SYNC, body, receiver, signed, content_type, check))

    async def avalidate_address(
        self,
        body: Literal["empty", "json"] | None = None,
        *,
        receiver: Receiver | None = None,
        signed: bool = False,
        content_type: str = FORM,
        check: bool | None = None,
    ) -> Delivery:
        """Do what `validate_address` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._validate(ASYNC, body, receiver, signed, content_type, check)

    def save_receiver(self, receiver: Receiver, *, signed: bool = False) -> Delivery:
        """Add a receiver as the console does on "save": its address is validated, and its `state` says how it went.

        It is added either way, "normal" or "abnormal"; one that is there already is only validated again.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     _ = engagelab.save_receiver(Receiver.recording())
        ...     [receiver.state for receiver in engagelab.receivers]
        ['unvalidated', 'normal']
        """
        __tracebackhide__ = True
        return run_sync(self._save(SYNC, receiver, signed))

    async def asave_receiver(self, receiver: Receiver, *, signed: bool = False) -> Delivery:
        """Do what `save_receiver` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._save(ASYNC, receiver, signed)

    def refresh(self, *, signed: bool = False) -> list[Delivery]:
        """Validate every receiver's address again, as the console's "refresh" does [D].

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     [delivery] = engagelab.refresh()
        >>> delivery.receiver.state
        'normal'
        """
        __tracebackhide__ = True
        return run_sync(self._refresh(SYNC, signed))

    async def arefresh(self, *, signed: bool = False) -> list[Delivery]:
        """Do what `refresh` does, in the running event loop."""
        __tracebackhide__ = True
        return await self._refresh(ASYNC, signed)

    async def _save(self, io: Io, receiver: Receiver, signed: bool) -> Delivery:
        __tracebackhide__ = True
        try:
            [checked] = check_receivers([receiver], where="save_receiver")
        except EngageLabMockError as error:
            raise self._refused(error) from None
        if checked not in self.receivers:
            self.receivers.append(checked)
        return await self._validate(io, None, checked, signed, FORM, check=False)

    async def _refresh(self, io: Io, signed: bool) -> list[Delivery]:
        return [
            await self._validate(io, None, receiver, signed, FORM, check=False) for receiver in list(self.receivers)
        ]

    def _first(self) -> Receiver:
        try:
            return self.receiver
        except EngageLabMockError as error:
            raise self._refused(error) from None

    async def _validate(
        self,
        io: Io,
        body: str | None,
        receiver: Receiver | None,
        signed: bool,
        content_type: str,
        check: bool | None,
    ) -> Delivery:
        __tracebackhide__ = True
        if body is not None and body not in PINGS:
            raise self._refused(UnknownName("ping body", body, PINGS, where="validate_address"))
        if not fits_header(content_type):
            raise self._refused(InvalidSettings(f"{content_type!r} cannot stand in a header", where="content_type"))
        content = self.dialect.ping if body is None else PINGS[body]
        target = self._first() if receiver is None else receiver
        delivery = Delivery(target, (), content, signed=signed, content_type=content_type)
        await self._sender.attempt(io, delivery)
        target.state = "normal" if delivery.acknowledged else "abnormal"
        if self.is_checked(check) and not delivery.acknowledged:
            raise not_acknowledged(delivery)
        return delivery
