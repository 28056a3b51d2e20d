"""Messages that were accepted, what they said, and what became of their codes."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from engagelab_mock.messages.message import Message
from engagelab_mock.service.store import Store

#: Under which kind they are kept.
KIND = "message"
#: The calls that send a code, which the same recipient cannot have again while it is valid [?: of messages D].
_LIMITED = ("messages", "codes")


class Accepted(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Hold a message that was accepted; times are Unix seconds.

    >>> Accepted(message=Message(id="1", to="+6591234567"), call="codes", channel="sms").verifiable
    False
    """

    message: Message
    #: The API call that it came by, or "send".
    call: str
    #: The channel that it is tried on first.
    channel: str
    code: str = ""
    #: Whether `code` can be verified: EngageLab made it, and not the app [D].
    verifiable: bool = False
    #: Until when the code can be entered; None is always.
    expires: float | None = None
    #: Whether the right code was entered already.
    verified: bool = False
    #: When the recipient gets it, and over which channel; None is never.
    delivered: float | None = None
    delivered_over: str = ""
    #: How it ends, as far as its scenario says: the last status and its error.
    ending: str = ""
    text: str = ""
    subject: str = ""
    sender: str = ""

    def valid(self, now: float) -> bool:
        """Tell whether the code can still be entered."""
        return not self.verified and (self.expires is None or now < self.expires)


class AcceptedMessages:
    """Keep the messages that were accepted, the newest `keep` of them, in the order of their acceptance.

    >>> from engagelab_mock.service.store import MemoryStore
    >>> messages = AcceptedMessages(MemoryStore(), keep=1)
    >>> for number in "12":
    ...     messages.add(Accepted(message=Message(id=number, to="+6591234567"), call="send", channel="sms"))
    >>> [accepted.message.id for accepted in messages]
    ['2']
    """

    def __init__(self, store: Store, keep: int | None) -> None:
        self._store = store
        self._keep = keep
        self._messages: dict[str, Accepted] = {}
        #: The latest code of each template to each recipient, by the message's id.
        self._latest: dict[tuple[str, str], str] = {}

    def adopt(self, accepted: Accepted) -> None:
        """Take a message in without keeping it: it comes from the store, or is to be forgotten with the process."""
        message = accepted.message
        self._messages[message.id] = accepted
        if accepted.call in _LIMITED:
            self._latest[message.template_key, message.to] = message.id
        while self._keep is not None and len(self._messages) > self._keep:
            self._forget(next(iter(self._messages)))

    def add(self, accepted: Accepted) -> None:
        """Take a message in, and keep it."""
        self.adopt(accepted)
        self.keep(accepted)

    def keep(self, accepted: Accepted) -> None:
        """Keep what has become of a message."""
        self._store.put(KIND, accepted.message.id, accepted)

    def find(self, message_id: str) -> Accepted | None:
        """Return the message of an id."""
        return self._messages.get(message_id)

    def latest(self, template: str, to: str) -> Accepted | None:
        """Return the code that was sent last with a template to a recipient, in a call that is rate-limited."""
        return self._messages.get(self._latest.get((template, to), ""))

    def clear(self) -> None:
        """Forget every message."""
        for message_id in list(self._messages):
            self._forget(message_id)

    def _forget(self, message_id: str) -> None:
        message = self._messages.pop(message_id).message
        if self._latest.get((message.template_key, message.to)) == message_id:
            del self._latest[message.template_key, message.to]
        self._store.delete(KIND, message_id)

    def __contains__(self, message_id: object) -> bool:
        return message_id in self._messages

    def __iter__(self) -> Iterator[Accepted]:
        return iter(list(self._messages.values()))

    def __len__(self) -> int:
        return len(self._messages)
