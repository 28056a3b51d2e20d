"""The bodies of callbacks, encoded once: a load fills in the data of each message."""

from __future__ import annotations

from engagelab_mock.generate import Generator
from engagelab_mock.messages.account import Account
from engagelab_mock.messages.message import Message
from engagelab_mock.messages.scenario import Scenario, timeline
from engagelab_mock.protocol.callback import encode
from engagelab_mock.protocol.events import Dialect

#: The data of a message that occurs nowhere else in a body. A body has them in the order of `BodyTemplate.fill`.
_ID, _TO, _ACCEPTED = "1111111111111111111", "+12222222222", 3_333_333_333


class BodyTemplate:
    """Make the body of one callback of a scenario, byte for byte as `encode` does, in a tenth of the time.

    >>> from engagelab_mock import CATALOGUE, DIALECTS
    >>> account = Account(Generator.seeded(0))
    >>> body = BodyTemplate(CATALOGUE["verified"], 3, account, DIALECTS["2023-03"])
    >>> body.fill("17", "+6591234567", 1000, 1020, "0.05")[:60]
    '{"total":1,"rows":[{"message_id":"17","to":"+6591234567","se'

    The body is a text with one character for each of its bytes: encode it as latin-1.
    """

    __slots__ = ("_billed", "_constant", "_parts")

    def __init__(self, scenario: Scenario, step: int, account: Account, dialect: Dialect) -> None:
        message = Message(
            id=_ID,
            to=_TO,
            template_key=account.template_key,
            business_id=account.business_id,
            accepted=_ACCEPTED,
            msg_time=dialect.msg_time,
        )
        at, event = timeline(message, scenario, str(message.default_channel), Generator.seeded(0))[step]
        #: Whether `msg_time` is the time of acceptance, and not that of the event.
        self._constant = dialect.msg_time == "message"
        billing = event.status.billing
        self._billed = bool(billing)
        text = encode([dialect.spell(event)]).decode("latin-1")
        data = [_ID, _TO, str(int(at)), str(_ACCEPTED if self._constant else int(at)), _ID]
        if billing:
            data.append(str(billing.cost))
        #: The text before each of the data, and after the last of them.
        self._parts: list[str] = []
        for each in data:
            before, _, text = text.partition(each)
            self._parts.append(before)
        self._parts += [text] if billing else [text, ""]

    def fill(self, message_id: str, to: str, accepted: int, at: int, cost: str) -> str:
        """Return the body for a message accepted at a Unix time, and an event at a Unix time."""
        a, b, c, d, e, f, g = self._parts
        msg_time = accepted if self._constant else at
        # The fastest way to join them: half the time of the % operator.
        return f"{a}{message_id}{b}{to}{c}{at}{d}{msg_time}{e}{message_id}{f}{cost if self._billed else ''}{g}"
