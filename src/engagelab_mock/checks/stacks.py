"""What a server itself cannot do, whatever it serves: measured with a receiver that passes all checks elsewhere."""

from __future__ import annotations

import msgspec


class StackLimit(msgspec.Struct, frozen=True):
    """Name a check that no receiver passes on a stack, why, and what helps.

    >>> STACK_LIMITS["uvicorn and FastAPI"]
    ()
    """

    check: str
    reason: str
    remedy: str


_ONE_AT_A_TIME = StackLimit(
    "E06",
    "a sync worker, gunicorn's default, works on one request at a time, and waits up to 30 s for the rest of one",
    "`gunicorn --threads 4`, or a proxy that buffers requests, such as nginx",
)
_NO_CHUNKS = StackLimit(
    "E01",
    "Django behind WSGI reads as many bytes as `Content-Length` says, which are none if there is no such header",
    "an ASGI server, or a proxy that buffers requests; at the least answer 411 to a request with `Transfer-Encoding`",
)

#: What each stack cannot do; on all of them the correct receiver passes every other check.
STACK_LIMITS: dict[str, tuple[StackLimit, ...]] = {
    "gunicorn and Flask": (_ONE_AT_A_TIME,),
    "gunicorn and Django": (_NO_CHUNKS, _ONE_AT_A_TIME),
    "uvicorn and FastAPI": (),
}
