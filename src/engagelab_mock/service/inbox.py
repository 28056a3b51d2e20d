"""The inbox: the messages that a phone or a mailbox received."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.io import ASYNC, SYNC, Io, run_sync
from engagelab_mock.errors import EngageLabMockError, InvalidRecipient, NothingReceived, UsageError
from engagelab_mock.eventloop import Condition, stopwatch
from engagelab_mock.messages.message import check_recipient

if TYPE_CHECKING:
    from engagelab_mock.service.engine import Engine
    from engagelab_mock.service.messages import Accepted

#: How many messages an error lists.
_SHOWN = 5
#: The smallest number of digits that names a recipient whose country code is missing.
_TELLING = 6


class InboxMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one message as its recipient got it; `at` is the time of arrival in Unix seconds.

    `subject` and `sender` are for e-mails. `code` is empty if the message has no code.
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
    """List the messages that have arrived for one recipient, or for all, oldest first."""

    def __init__(self, engine: Engine, to: str | None) -> None:
        self._engine = engine
        self._to = None if to is None else self._checked(to)

    @property
    def latest(self) -> InboxMessage:
        """Return the message that arrived last; raise `NothingReceived` if none has."""
        __tracebackhide__ = True
        messages = self._settled()
        if not messages:
            raise self._nothing_received("nothing has arrived")
        return messages[-1]

    @property
    def code(self) -> str:
        """Return the latest message's code; raise `NothingReceived` if it has none."""
        __tracebackhide__ = True
        message = self.latest
        if not message.code:
            what = f"the latest message{self._for_recipient()} has no code: {message.text!r:.200}"
            raise NothingReceived(what, where="inbox", hint="see .text")
        return message.code

    @property
    def text(self) -> str:
        """Return the latest message's text."""
        __tracebackhide__ = True
        return self.latest.text

    def wait(self, timeout: float = 3.0, *, count: int = 1) -> InboxMessage:
        """Wait until `count` messages have arrived, at most `timeout` real seconds, and return the latest.

        Use it for an app that sends from another thread or process. Raises `NothingReceived`, which lists the messages
        that were sent.

        >>> from engagelab_mock import EngageLab
        >>> with EngageLab() as engagelab:
        ...     run = engagelab.send("+6591234567")
        ...     engagelab.inbox("+6591234567").wait(timeout=1).to
        '+6591234567'
        """
        __tracebackhide__ = True
        self._engine.outbox.check_reader("inbox, wait")
        return run_sync(self._wait(SYNC, timeout, count))

    async def await_(self, timeout: float = 3.0, *, count: int = 1) -> InboxMessage:
        """Do the same as `wait`, without blocking the event loop."""
        __tracebackhide__ = True
        return await self._wait(ASYNC, timeout, count)

    async def _wait(self, io: Io, timeout: float, count: int) -> InboxMessage:
        __tracebackhide__ = True
        seconds = _check(timeout, count)
        messages = await self.arrived(io, seconds, count)
        if len(messages) < count:
            raise self._nothing_received(_too_few(len(messages), count, timeout))
        return messages[-1]

    async def arrived(
        self,
        io: Io,
        timeout: float,
        count: int = 1,
        *,
        stopped: Callable[[], bool] = lambda: False,
        quietly: bool = False,
    ) -> list[InboxMessage]:
        """Wait for `count` messages, for `timeout` seconds or until `stopped()`, and return those that arrived.

        With `quietly`, the next caller that settles raises the failures of callbacks, not this function.
        """
        __tracebackhide__ = True
        engine = self._engine
        condition = engine.scheduler.condition
        deadline = stopwatch() + timeout
        while True:
            seen = condition.changes
            if quietly:
                engine.outbox.settle_quietly()
            else:
                await engine.outbox.settle(io)
            messages = self._arrived()
            left = deadline - stopwatch()
            if len(messages) >= count or left <= 0 or stopped():
                return messages
            await io.wait_for(condition, partial(_changed, condition, seen), min(left, self._wait_for_next()))

    def _wait_for_next(self) -> float:
        """Return how many real seconds to wait, at most, until the next message arrives."""
        clock = self._engine.clock
        now = clock.time()
        due = [each.delivered for each in self._accepted() if each.delivered is not None and each.delivered > now]
        return float(clock.wait_until(min(due))) if due else math.inf

    def __getitem__(self, index: Any) -> Any:
        __tracebackhide__ = True
        return self._settled()[index]

    def __len__(self) -> int:
        __tracebackhide__ = True
        return len(self._settled())

    def __repr__(self) -> str:
        messages = self._arrived()
        return f"<Inbox{self._for_recipient()}: {', '.join(repr(m.text) for m in messages) or 'nothing'}>"

    def _checked(self, to: str) -> str:
        """Return the recipient, or raise `InvalidRecipient`, which suggests a recipient that has messages."""
        try:
            return check_recipient(to, where="inbox")
        except InvalidRecipient as error:
            digits = re.sub(r"[\s()+.-]|^0+", "", str(to))
            recipients = {each.message.to for each in self._engine.messages}
            alike = [each for each in recipients if len(digits) >= _TELLING and each.endswith(digits)]
            if len(alike) != 1:
                raise
            hint = f"did you mean {alike[0]!r}? A message went there"
            raise InvalidRecipient(error.what, where=error.where, hint=hint) from None

    def _accepted(self) -> list[Accepted]:
        messages = self._engine.messages
        return list(messages) if self._to is None else messages.sent_to(self._to)

    def _settled(self) -> list[InboxMessage]:
        """Return the messages that have arrived, including those that were accepted after the inbox was returned."""
        __tracebackhide__ = True
        self._engine.outbox.settle_soon("inbox")
        return self._arrived()

    def _arrived(self) -> list[InboxMessage]:
        now = self._engine.clock.time()
        arrived = [_message(each) for each in self._accepted() if each.delivered is not None and each.delivered <= now]
        return sorted(arrived, key=lambda message: message.at)

    def _nothing_received(self, what: str) -> NothingReceived:
        """Return the error; it lists the recipient's messages, or the recipients that have messages."""
        accepted = self._accepted()
        if accepted:
            now = self._engine.clock.time()
            what += f"{self._for_recipient()}; accepted: {_list(accepted, lambda each: _describe(each, now))}"
            hint = "the scenario decides whether a message arrives; see engagelab.rule(…)"
            return NothingReceived(what, where="inbox", hint=hint)
        others = {each.message.to for each in self._engine.messages}
        if others:
            what += f"{self._for_recipient()}: nothing was sent there; messages went to {_list(sorted(others), str)}"
            return NothingReceived(what, where="inbox", hint="check that the app writes the recipient in the same way")
        hint = "if the app sends later, use inbox(…).wait(); engagelab.journal shows refused calls"
        what += f"{self._for_recipient()}: nothing was sent to any recipient"
        return NothingReceived(what, where="inbox", hint=hint)

    def _for_recipient(self) -> str:
        return "" if self._to is None else f" for {self._to}"


def _changed(condition: Condition, seen: int) -> bool:
    return condition.changes != seen


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


def _describe(accepted: Accepted, now: float) -> str:
    if accepted.delivered is None:
        return f"{accepted.message.id}, {accepted.ending}"
    if accepted.delivered > now:
        return f"{accepted.message.id}, due in {accepted.delivered - now:.1f} s"
    return f"{accepted.message.id}, delivered"


def _list(items: Sequence[Any], describe: Callable[[Any], str]) -> str:
    shown = "; ".join(describe(item) for item in items[-_SHOWN:])
    return shown if len(items) <= _SHOWN else f"{shown}; and {len(items) - _SHOWN} more"


def _check(timeout: float, count: int) -> float:
    given: Any = count
    if isinstance(given, bool) or not isinstance(given, int) or count < 1:
        raise UsageError(f"count is a number from 1, not {count!r}", where="inbox, count")
    return check_delay(timeout, where="inbox, timeout")


def _too_few(arrived: int, count: int, timeout: float) -> str:
    if count == 1:
        return f"nothing has arrived within {timeout:g} s"
    return f"{arrived} of {count} messages have arrived within {timeout:g} s"


async def open_inbox(engine: Engine, io: Io, to: str | None) -> Inbox:
    """Send what is accepted and not sent yet, and return the inbox of a recipient, or of all."""
    __tracebackhide__ = True
    try:
        inbox = Inbox(engine, to)
    except EngageLabMockError as error:
        raise engine.refused(error) from None
    await engine.outbox.settle(io)
    return inbox
