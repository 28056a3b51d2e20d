"""/_mock/inbox: what phones and mailboxes received."""

from __future__ import annotations

import time
from typing import Any

from engagelab_mock.clock import stopwatch
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.server.control.call import Call, answer, number, refused
from engagelab_mock.server.exchange import HttpAnswer
from engagelab_mock.service.inbox import InboxMessage

#: How often somebody who waits looks, in seconds.
_GLANCE = 0.01


def read_inbox(call: Call) -> HttpAnswer:
    """Answer with everybody's messages, oldest first."""
    call.parameters()
    return answer({"messages": [_message(message) for message in _arrived(call, None)]})


def read_inbox_of(call: Call) -> HttpAnswer:
    """Answer with one recipient's messages; with `wait`, wait that many seconds for the first of them."""
    until = stopwatch() + call.parameters(wait=number).get("wait", 0.0)
    to = call.named["to"]
    while not (messages := _arrived(call, to)) and stopwatch() < until and not call.app.closed:
        time.sleep(_GLANCE)
    latest = messages[-1] if messages else None
    return answer(
        {
            "to": to,
            "code": latest.code if latest else None,
            "text": latest.text if latest else None,
            "messages": [_message(message) for message in messages],
        }
    )


def _arrived(call: Call, to: str | None) -> list[InboxMessage]:
    call.engagelab.work_off()
    try:
        return list(call.engagelab.inbox_as_it_is(to))
    except EngageLabMockError as error:
        raise refused(error) from None


def _message(message: InboxMessage) -> dict[str, Any]:
    return {
        "to": message.to,
        "code": message.code,
        "text": message.text,
        "channel": message.channel,
        "template": message.template,
        "message_id": message.message_id,
        "at": message.at,
        "subject": message.subject,
        "sender": message.sender,
    }
