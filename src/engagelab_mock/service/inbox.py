"""What a phone or a mailbox received."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from engagelab_mock import eventloop
from engagelab_mock.clock import check_delay, stopwatch
from engagelab_mock.delivery.io import ASYNC, SYNC, run_sync
from engagelab_mock.errors import NothingReceived, UsageError
from engagelab_mock.protocol.recipient import check_recipient

if TYPE_CHECKING:
    from engagelab_mock.service.accepting import Accepting
    from engagelab_mock.service.messages import Accepted

#: How often somebody who waits looks, in seconds.
_GLANCE = 0.005
#: How many messages an error tells of.
_SHOWN = 5


class InboxMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one message as its recipient got it; `at` is when, in Unix seconds.

    `subject` and `sender` are an e-mail's. `code` is empty where the message has none.
    """

    to: str
    code: str
    text: str
    channel: str
    template: str
    message_id: str
    at: float
    subject: str = ""
    sender: str = ""


class Inbox(Sequence[InboxMessage]):
    """Show what arrived for one recipient, or for all, oldest first; it grows as time passes."""

    def __init__(self, engagelab: Accepting, to: str | None) -> None:
        self._engagelab = engagelab
        self._to = None if to is None else check_recipient(to, where="inbox")

    @property
    def latest(self) -> InboxMessage:
        """Return the message that arrived last; raise `NothingReceived` if none has."""
        __tracebackhide__ = True
        messages = self._arrived()
        if not messages:
            raise self._nothing("nothing has arrived")
        return messages[-1]

    @property
    def code(self) -> str:
        """Return the latest message's code; raise `NothingReceived` if there is none."""
        __tracebackhide__ = True
        message = self.latest
        if not message.code:
            raise NothingReceived(
                f"the latest message{self._whose()} has no code: {message.text!r:.200}", where="inbox", hint="see .text"
            )
        return message.code

    @property
    def text(self) -> str:
        """Return what the latest message says."""
        __tracebackhide__ = True
        return self.latest.text

    def wait(self, timeout: float = 3.0, *, count: int = 1) -> InboxMessage:
        """Return the latest message once there are `count`, waiting up to `timeout` seconds of the machine for them.

        For an app that sends from elsewhere. Raises `NothingReceived`, which says what did arrive.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567")
        ...     engagelab.inbox("+6591234567").wait(timeout=1).to
        '+6591234567'
        """
        __tracebackhide__ = True
        deadline = stopwatch() + _check(timeout, count)
        while True:
            run_sync(self._engagelab.settle_first(SYNC))
            messages = self._arrived()
            if len(messages) >= count:
                return messages[-1]
            if stopwatch() >= deadline:
                raise self._nothing(_too_few(len(messages), count, timeout))
            time.sleep(_GLANCE)

    async def await_(self, timeout: float = 3.0, *, count: int = 1) -> InboxMessage:
        """Do what `wait` does, leaving the running event loop free."""
        __tracebackhide__ = True
        deadline = stopwatch() + _check(timeout, count)
        while True:
            await self._engagelab.settle_first(ASYNC)
            messages = self._arrived()
            if len(messages) >= count:
                return messages[-1]
            if stopwatch() >= deadline:
                raise self._nothing(_too_few(len(messages), count, timeout))
            await eventloop.sleep(_GLANCE)

    def __getitem__(self, index: Any) -> Any:
        return self._arrived()[index]

    def __len__(self) -> int:
        return len(self._arrived())

    def __repr__(self) -> str:
        messages = self._arrived()
        return f"<Inbox{self._whose()}: {', '.join(repr(m.text) for m in messages) or 'nothing'}>"

    def _accepted(self) -> list[Accepted]:
        self._engagelab.intake.take_in_sent()
        return [each for each in self._engagelab.accepted if self._to is None or each.message.to == self._to]

    def _arrived(self) -> list[InboxMessage]:
        now = self._engagelab.clock.time()
        arrived = [_message(each) for each in self._accepted() if each.delivered is not None and each.delivered <= now]
        return sorted(arrived, key=lambda message: message.at)

    def _nothing(self, what: str) -> NothingReceived:
        """Say what was sent to them and did not arrive, or to whom something was."""
        accepted = self._accepted()
        if accepted:
            now = self._engagelab.clock.time()
            what += f"{self._whose()}; accepted: {_list(accepted, lambda each: _fate(each, now))}"
            return NothingReceived(what, where="inbox", hint="what the scenario says decides; see engagelab.rule(…)")
        others = {each.message.to for each in self._engagelab.accepted}
        if others:
            what += f"{self._whose()}, and nothing was sent there; messages went to {_list(sorted(others), str)}"
            return NothingReceived(what, where="inbox", hint="is the recipient written the same in the app?")
        hint = "inbox(…).wait() waits for an app that sends from elsewhere; engagelab.journal shows refused calls"
        return NothingReceived(f"{what}{self._whose()}: nothing was sent at all", where="inbox", hint=hint)

    def _whose(self) -> str:
        return "" if self._to is None else f" for {self._to}"


def _message(accepted: Accepted) -> InboxMessage:
    return InboxMessage(
        to=accepted.message.to,
        code=accepted.code,
        text=accepted.text,
        channel=accepted.delivered_over,
        template=accepted.message.template_key,
        message_id=accepted.message.id,
        at=accepted.delivered or 0.0,
        subject=accepted.subject,
        sender=accepted.sender,
    )


def _fate(accepted: Accepted, now: float) -> str:
    if accepted.delivered is None:
        return f"{accepted.message.id}, {accepted.ending}"
    if accepted.delivered > now:
        return f"{accepted.message.id}, due in {accepted.delivered - now:.1f} s"
    return f"{accepted.message.id}, delivered"


def _list(items: Sequence[Any], say: Callable[[Any], str]) -> str:
    shown = "; ".join(say(item) for item in items[-_SHOWN:])
    return shown if len(items) <= _SHOWN else f"{shown}; and {len(items) - _SHOWN} more"


def _check(timeout: float, count: int) -> float:
    given: Any = count
    if isinstance(given, bool) or not isinstance(given, int) or count < 1:
        raise UsageError(f"count is a number of messages from 1, not {count!r}", where="inbox, count")
    return check_delay(timeout, where="inbox, timeout")


def _too_few(arrived: int, count: int, timeout: float) -> str:
    if count == 1:
        return f"nothing has arrived within {timeout:g} s"
    return f"{arrived} of {count} messages have arrived within {timeout:g} s"
