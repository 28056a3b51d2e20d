"""The error codes that EngageLab documents, and those that clients of the real service know."""

from __future__ import annotations

import msgspec

from engagelab_mock.errors import UnknownName


class ErrorCode(msgspec.Struct, frozen=True):
    """Describe one error code: its text, its HTTP status, and the source that names it.

    >>> error_code(5001).message
    'sender config is invalid'

    `http_status` is the REST API's HTTP status for it; `source` is the tag of the protocol notes.
    """

    code: int
    message: str
    http_status: int = 400
    source: str = "D"

    @property
    def retryable(self) -> bool:
        """Tell whether the official SDK retries the request after this code [K]."""
        return self.code in {1000, 5001, 5016}


#: Message texts other than 5001's [S] are the tables' short descriptions; the service's exact words are not documented.
ERROR_CODES: dict[int, ErrorCode] = {
    entry.code: entry
    for entry in (
        ErrorCode(1000, "internal error", 500),
        ErrorCode(2001, "authentication failed: bad or missing credentials", 401),
        ErrorCode(2002, "authentication failed: expired or disabled", 401),
        ErrorCode(2004, "no permission", 403),
        ErrorCode(3001, "request body is not JSON"),
        ErrorCode(3002, "bad parameters"),
        ErrorCode(3003, "business validation failed"),
        ErrorCode(3004, "rate limited: same template and recipient within the code's validity"),
        ErrorCode(3005, "insufficient balance", source="C"),
        ErrorCode(3013, "template not approved or unavailable", source="C"),
        ErrorCode(4001, "not found"),
        ErrorCode(5001, "sender config is invalid", source="S"),
        ErrorCode(5011, "invalid number format"),
        ErrorCode(5012, "unreachable"),
        ErrorCode(5013, "blacklisted"),
        ErrorCode(5014, "content violates policy"),
        ErrorCode(5015, "intercepted"),
        ErrorCode(5016, "internal send error"),
        ErrorCode(5017, "no China permission"),
        ErrorCode(5018, "handset off"),
        ErrorCode(5019, "unsubscribed"),
        ErrorCode(5020, "unregistered number"),
        ErrorCode(6001, "recipient too often", source="C"),
        ErrorCode(6003, "daily limit", source="C"),
        ErrorCode(6006, "country not supported", source="C"),
        ErrorCode(6007, "SMS suspended", source="C"),
    )
}


def error_code(code: int, *, where: str = "error_code") -> ErrorCode:
    """Look an error code up, or raise `UnknownName` listing the known ones.

    >>> error_code(5018).message
    'handset off'
    """
    try:
        return ERROR_CODES[code]
    except (KeyError, TypeError):
        raise UnknownName("error code", code, map(str, ERROR_CODES), where=where) from None
