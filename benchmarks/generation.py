"""G7: how many signed callbacks one core makes per second, without sending them."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterator

from benchmarks import subject
from benchmarks.row import Row
from benchmarks.timing import Effort, interleaved, microseconds
from engagelab_mock import Generator, encode
from engagelab_mock.protocol.signature import Signer


def measure(effort: Effort) -> Iterator[Row]:
    """Make an event, its body and its signature, next to the same written with the standard library."""
    signer, generate = Signer(subject.USERNAME, subject.SECRET), Generator.seeded(0)

    def ours() -> tuple[bytes, str]:
        return encode((subject.event(),)), signer.header(int(time.time()), generate.nonce())

    taken = interleaved(effort, {"standard_library": _standard_library, "engagelab_mock": ours})
    yield Row(
        goal="G7",
        what="signed generation, callbacks per second / dict + json.dumps + hmac.new",
        value=taken["standard_library"] / taken["engagelab_mock"],
        budget=3,
        sense="at least",
        context=microseconds(taken),
    )


def _standard_library() -> tuple[bytes, str]:
    message_id, business_id, now = "1742442805608914944", "100917676394736", 1704265712
    row = {
        "message_id": message_id,
        "to": "+8615989574757",
        "server": "otp",
        "channel": "otp",
        "itime": now,
        "status": {
            "message_status": "delivered",
            "status_data": {
                "msg_time": now,
                "message_id": message_id,
                "current_send_channel": "sms",
                "template_key": "auto_create_templateu25az170295320745",
                "business_id": business_id,
            },
            "error_code": 0,
        },
    }
    body = json.dumps({"total": 1, "rows": [row]}).encode()
    timestamp, nonce = str(int(time.time())), secrets.token_hex(6)
    text = timestamp + nonce + subject.USERNAME
    signature = hmac.new(subject.SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
    return body, f"timestamp={timestamp};nonce={nonce};username={subject.USERNAME};signature={signature}"
