"""The accepted messages: their texts, and the state of their codes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from engagelab_mock.generate import Generator
from engagelab_mock.messages.message import Message
from engagelab_mock.messages.template import CodeConfig, Template
from engagelab_mock.protocol.status import Status

if TYPE_CHECKING:
    from engagelab_mock.service.accept import Acceptance, Timed
    from engagelab_mock.service.engine import Engine
    from engagelab_mock.service.sending import Sending

#: The kind of the messages' records in the store.
KIND = "message"
#: The rate-limited calls: while a code is valid, the recipient gets no second one [?; D for `messages`].
_LIMITED = ("messages", "codes")


class Accepted(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Hold an accepted message; times are in Unix seconds.

    >>> Accepted(message=Message(id="1", to="+6591234567"), call="codes", channel="sms").verifiable
    False
    """

    message: Message
    #: The API call that sent it, or "send".
    call: str
    #: The first channel.
    channel: str
    code: str = ""
    #: Whether the API can verify `code`: only if EngageLab made it, not the app [D].
    verifiable: bool = False
    #: When the code expires; None if it does not expire.
    expires: float | None = None
    #: Whether the right code was entered.
    verified: bool = False
    #: When the message reaches the recipient, and over which channel; None if it does not arrive.
    delivered: float | None = None
    delivered_over: str = ""
    #: The last status of the scenario, with its error code.
    ending: str = ""
    text: str = ""
    subject: str = ""
    sender: str = ""

    def valid(self, now: float) -> bool:
        """Tell whether the code can still be entered."""
        return not self.verified and (self.expires is None or now < self.expires)


_ARRIVED = frozenset({Status.DELIVERED, Status.READ})
_DEFAULT_TEMPLATE = Template(template_id="", send_channel_strategy="sms", verify_code_config=CodeConfig())


class Messages:
    """Hold the accepted messages in order, at most the newest `engine.keep`.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab(keep=1) as engagelab:
    ...     runs = engagelab.send("+6591234567"), engagelab.send("+6591234568")
    ...     [accepted.message.to for accepted in engagelab.accepted]
    ['+6591234568']
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._messages: dict[str, Accepted] = {}
        #: The ids of the messages to each recipient, oldest first: an inbox is read often while its message is awaited.
        self._ids: dict[str, list[str]] = {}
        #: The latest code of each template to each recipient, by the message's id.
        self._latest: dict[tuple[str, str], str] = {}
        self._sendings: dict[str, Sending] = {}
        #: For how many messages the unfinished callbacks are kept (None: for all). A worker removes the others.
        self.most_pending: int | None = None
        #: With more sendings than this, the finished ones are removed.
        self._full = engine.keep or 0
        #: Messages without a record yet. The record is made at the first read, because most tests never read it.
        self._sent: deque[Acceptance] = deque(maxlen=engine.keep)

    def add(self, acceptance: Acceptance, *, keep: bool = False) -> None:
        """Add an accepted message; `keep` writes it to the store."""
        self._sent.append(acceptance)
        if keep:
            self._read_sent(keep=True)

    def adopt(self, accepted: Accepted) -> None:
        """Add a message that is not to be written to the store: it is stored already, or ends with the process."""
        message = accepted.message
        if message.id not in self._messages:
            self._ids.setdefault(message.to, []).append(message.id)
        self._messages[message.id] = accepted
        if accepted.call in _LIMITED:
            self._latest[message.template_key, message.to] = message.id
        self._engine.store.undo(partial(self._forget, message.id))
        while self._engine.keep is not None and len(self._messages) > self._engine.keep:
            self._remove(next(iter(self._messages)))

    def adopt_sending(self, message_id: str, sending: Sending) -> None:
        """Add a message's sending, to schedule or withdraw its callbacks later."""
        self._sendings[message_id] = sending
        keep = self._engine.keep
        if self.most_pending is None:
            while keep is not None and len(self._sendings) > keep:
                del self._sendings[next(iter(self._sendings))]
        elif len(self._sendings) > self._full:
            self._remove_finished()
            self._full = 2 * max(keep or 0, len(self._sendings))

    def take_excess(self) -> list[Sending]:
        """Remove and return the oldest unfinished sendings, if there are more than `most_pending`."""
        most = self.most_pending
        # Only when there are a tenth more, because the search looks at all of them.
        if most is None or len(self._sendings) <= most + most // 10:
            return []
        with self._engine.scheduler.lock:
            self._remove_finished()
            oldest = list(self._sendings)[: max(0, len(self._sendings) - most)]
            return [self._sendings.pop(message_id) for message_id in oldest]

    def _remove_finished(self) -> None:
        self._sendings = {message_id: sending for message_id, sending in self._sendings.items() if sending.waits}

    def keep(self, accepted: Accepted) -> None:
        """Write a message to the store."""
        self._engine.store.put(KIND, accepted.message.id, accepted)

    def arrive(self, accepted: Accepted, *, at: float, channel: str) -> None:
        """Let a message reach its recipient at a time, unless it has arrived before."""
        if accepted.delivered is not None and accepted.delivered <= at:
            return
        if not accepted.text:
            template = self._engine.templates.find(accepted.message.template_key) or _DEFAULT_TEMPLATE
            rendered = template.render(channel, "default", accepted.code, {})
            accepted.text, accepted.subject, accepted.sender = rendered.text, rendered.subject, rendered.sender
        accepted.delivered, accepted.delivered_over = at, channel
        self.keep(accepted)

    def find(self, message_id: str) -> Accepted | None:
        """Return the message with an id, or None."""
        self._read_sent()
        return self._messages.get(message_id)

    def sent_to(self, to: str) -> list[Accepted]:
        """Return the messages to a recipient, oldest first."""
        self._read_sent()
        # Another thread may remove one meanwhile.
        found = [self._messages.get(message_id) for message_id in list(self._ids.get(to, ()))]
        return [accepted for accepted in found if accepted is not None]

    def sending_of(self, message_id: str) -> Sending | None:
        """Return the sending of a message, or None."""
        self._read_sent()
        return self._sendings.get(message_id)

    def latest(self, template: str, to: str) -> Accepted | None:
        """Return the last message that a rate-limited call sent with a template to a recipient, or None."""
        return self._messages.get(self._latest.get((template, to), ""))

    def new_id(self, generate: Generator) -> str:
        """Draw an unused id. Another process with the same seed may have left messages in the store."""
        while (drawn := generate.message_id()) in self._messages:
            pass
        return drawn

    def clear(self) -> None:
        """Remove every message, and send no more of its callbacks."""
        self._read_sent()
        for sending in self._sendings.values():
            sending.give_up()
        self._sendings.clear()
        for message_id in list(self._messages):
            self._remove(message_id)

    def _read_sent(self, *, keep: bool = False) -> None:
        """Make the records of the messages that were added since the last read."""
        if not self._sent:
            return
        with self._engine.scheduler.lock:
            while self._sent:
                acceptance = self._sent.popleft()
                accepted = self._record(acceptance)
                self.adopt(accepted)
                if keep:
                    self.keep(accepted)
                self.adopt_sending(accepted.message.id, acceptance.sending)

    def _record(self, acceptance: Acceptance) -> Accepted:
        message, request, terms = acceptance.message, acceptance.request, acceptance.terms
        sent = request.call == "send"
        template = (self._engine.templates.find(message.template_key) if sent else terms.template) or _DEFAULT_TEMPLATE
        accepted = Accepted(
            message=message,
            call=request.call,
            channel=_first_channel(acceptance.timed) if sent else acceptance.channel,
            code=self._code(acceptance, template) if request.code is None else request.code,
            verifiable=acceptance.verifiable,
            expires=acceptance.expires,
            verified=sent and any(event.name == Status.VERIFIED for _, event in acceptance.timed),
            ending=_ending(acceptance.timed),
        )
        for at, event in acceptance.timed:
            if event.name in _ARRIVED:
                accepted.delivered, accepted.delivered_over = at, event.status.status_data.current_send_channel
                rendered = template.render(accepted.delivered_over, request.language, accepted.code, request.params)
                accepted.text, accepted.subject, accepted.sender = rendered.text, rendered.subject, rendered.sender
                break
        return accepted

    def _code(self, acceptance: Acceptance, template: Template) -> str:
        config = template.verify_code_config or CodeConfig()
        if acceptance.request.call == "send":
            return config.draw(Generator.seeded(self._engine.seed, "code", acceptance.message.id))
        magic = acceptance.terms.magic
        return magic.code if magic is not None and magic.code else config.draw(self._engine.api_generate)

    def _remove(self, message_id: str) -> None:
        self._engine.store.undo(partial(self._put_back, self._forget(message_id)))
        self._engine.store.delete(KIND, message_id)

    def _forget(self, message_id: str) -> Accepted:
        accepted = self._messages.pop(message_id)
        ids = self._ids[accepted.message.to]
        ids.remove(message_id)
        if not ids:
            del self._ids[accepted.message.to]
        key = accepted.message.template_key, accepted.message.to
        if self._latest.get(key) == message_id:
            del self._latest[key]
        return accepted

    def _put_back(self, accepted: Accepted) -> None:
        """Add the message that was removed last again, as the oldest one."""
        message, others = accepted.message, dict(self._messages)
        self._messages.clear()
        self._messages.update({message.id: accepted, **others})
        self._ids.setdefault(message.to, []).insert(0, message.id)
        if accepted.call in _LIMITED:
            self._latest.setdefault((message.template_key, message.to), message.id)

    def __contains__(self, message_id: object) -> bool:
        self._read_sent()
        return message_id in self._messages

    def __iter__(self) -> Iterator[Accepted]:
        self._read_sent()
        return iter(list(self._messages.values()))

    def __len__(self) -> int:
        self._read_sent()
        return len(self._messages)

    def __repr__(self) -> str:
        return f"<Messages: {len(self)}>"


def _first_channel(timed: Timed) -> str:
    return next((event.status.status_data.current_send_channel for _, event in timed if event.name != Status.PLAN), "")


def _ending(timed: Timed) -> str:
    if not timed:
        return "lost"
    last = timed[-1][1]
    error = last.status.error_code
    return f"{last.name} ({error})" if error else last.name
