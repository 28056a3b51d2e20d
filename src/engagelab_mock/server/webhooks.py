"""The callbacks, as the OpenAPI and the AsyncAPI document describe them: kinds, headers, examples, the answer."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from engagelab_mock.protocol.callback import encode
from engagelab_mock.protocol.events import (
    AccountLogin,
    ErrorDetail,
    Event,
    MessageStatus,
    Notification,
    NotificationData,
    NotificationEvent,
    Operator,
    Reply,
    ResponseData,
    ResponseEvent,
    StatusData,
    StatusEvent,
    SystemEvent,
    SystemEventData,
    SystemEventSection,
)
from engagelab_mock.protocol.signature import HEADER

#: The key of OpenAPI's security scheme for Authorization: OpenAPI ignores a header parameter of that name.
AUTHORIZATION = "callback_authorization"
#: The answer that acknowledges.
ACKNOWLEDGED = """\
Acknowledged, if the answer comes within 3 seconds. Exactly this status and this time are documented for the address \
validation [S]; for callbacks they are inferred [?]. The body of the answer is not read."""
#: Every other answer.
NOT_ACKNOWLEDGED = """\
Not acknowledged, as is an answer after more than 3 seconds. Integration guides say that the callback is sent again \
after 1 min, 10 min, 1 h, 2 h, 5 h and 10 h, then once a day, up to 24 times [X]. So a callback can come late, twice \
and out of order."""
#: The header that proves who sent a callback.
SIGNATURE = {
    "type": "string",
    "description": (
        "timestamp=…;nonce=…;username=…;signature=…, if the callback settings have a username and a secret [S]. "
        "The signature is HMAC-SHA256 with the secret over timestamp + nonce + username, in lower-case hex [S]. "
        "It does not cover the body. The official SDK refuses a timestamp that is more than 300 s away [K]."
    ),
    "examples": [
        "timestamp=1681991058;nonce=123123123123;username=test;"
        "signature=9c4157c50929b3a7fe1d9f36f583812a08a553c4255676f72873fcc786f380cc"
    ],
}
#: What Authorization contains.
AUTHORIZATION_TEXT = "The Authorization of the callback settings, unchanged. Absent if the settings have none [S]."


class Kind(NamedTuple):
    """One kind of callback."""

    summary: str
    description: str
    event: Event


_ROWS = "`total` is the number of rows. One callback can carry several rows [S]; ignore the kinds that you do not know."
#: The four kinds of callback, by the key that tells their rows apart.
CALLBACKS = {
    "status": Kind(
        "The status of a message.",
        f"Callbacks can come late, twice and in any order [?]. {_ROWS}",
        StatusEvent(
            message_id="1742442805608914944",
            to="+6591234567",
            channel="fixed",
            itime=1704265712,
            status=MessageStatus(
                message_status="sent_failed",
                status_data=StatusData(
                    msg_time=1704265712,
                    message_id="1742442805608914944",
                    current_send_channel="sms",
                    template_key="auto_create_templateu25az170295320745",
                    business_id="100917676394736",
                ),
                error_code=5001,
                error_detail=ErrorDetail(message="sender config is invalid"),
            ),
        ),
    ),
    "notification": Kind(
        "A notification about the account, such as a low balance.",
        _ROWS,
        NotificationEvent(
            itime=1712458844,
            notification=Notification(
                event="insufficient_balance",
                notification_data=NotificationData(
                    business_id="100917676394736", remain_balance=-0.005, balance_threshold=2
                ),
            ),
        ),
    ),
    "response": Kind(
        "A user's reply to a message, such as STOP.",
        f'`message_id` is "0" [D], so it does not tell two replies apart. {_ROWS}',
        ResponseEvent(
            itime=1712458844,
            response=Reply(
                response_data=ResponseData(
                    message_sid="SM1234567890",
                    account_sid="AC1234567890",
                    sender="+6591234567",
                    to="+6581234567",
                    body="STOP",
                )
            ),
        ),
    ),
    "system_event": Kind(
        "An action in the console or with an API key.",
        _ROWS,
        SystemEvent(
            itime=1712458844,
            system_event=SystemEventSection(
                event="account_login",
                data=SystemEventData(
                    business_id="100917676394736",
                    org_id="1234567890",
                    operator=Operator(email="user@example.com", ip_address="192.0.2.1"),
                    account_login=AccountLogin(action="login_success"),
                ),
            ),
        ),
    ),
}
#: The name of the request with which EngageLab validates an address, and what it is.
VALIDATION = "address_validation"
VALIDATION_SUMMARY = "The address is saved or refreshed in the console."
VALIDATION_TEXT = """\
The body is empty [S] or `{}` [D]. The documents print the request without a signature [S][D]. If the answer is not \
200 within 3 seconds, the address is invalid [S]."""


def example(kind: str) -> Any:
    """Return an example of a body.

    >>> example("notification")["rows"][0]["notification"]["event"]
    'insufficient_balance'
    """
    return msgspec.json.decode(encode([CALLBACKS[kind].event]))


def body_schema(row: dict[str, Any], envelope: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a body with at least one row of a kind. Rows of other kinds may stand next to it.

    >>> body_schema({"required": ["status"]}, {})["allOf"][1]
    {'properties': {'rows': {'contains': {'required': ['status']}}}}
    """
    return {"allOf": [envelope, {"properties": {"rows": {"contains": row}}}]}


def webhooks(references: dict[str, dict[str, Any]], envelope: dict[str, Any]) -> dict[str, Any]:
    """Return OpenAPI's `webhooks`: the requests that a receiver gets, with the references to their schemas.

    >>> [*webhooks({kind: {} for kind in CALLBACKS}, {})]
    ['status', 'notification', 'response', 'system_event', 'address_validation']
    """
    found = {
        kind: _webhook(
            kind,
            known.summary,
            known.description,
            body_schema(references[kind], envelope),
            example(kind),
        )
        for kind, known in CALLBACKS.items()
    }
    found[VALIDATION] = _webhook(VALIDATION, VALIDATION_SUMMARY, VALIDATION_TEXT, {"type": "object"}, {})
    return found


def _webhook(name: str, summary: str, text: str, schema: dict[str, Any], sample: Any) -> dict[str, Any]:
    answers = {"200": ACKNOWLEDGED, "default": NOT_ACKNOWLEDGED}
    call = {
        "operationId": f"receive_{name}",
        "tags": ["callback"],
        "summary": summary,
        "description": text,
        "security": [{}, {AUTHORIZATION: []}],
        "parameters": [
            {
                "name": HEADER,
                "in": "header",
                "required": False,
                "description": SIGNATURE["description"],
                "schema": {"type": "string", "examples": SIGNATURE["examples"]},
            }
        ],
        "requestBody": {
            "required": name != VALIDATION,
            "content": {"application/json": {"schema": schema, "example": sample}},
        },
        "responses": {status: {"description": answer} for status, answer in answers.items()},
    }
    return {"post": call}
