"""PUT /v1/sandbox/webhook: who gets the callbacks, set as in the vendor's sandbox [X]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.server.control.call import Call, answer, refused
from engagelab_mock.server.exchange import HttpAnswer, HttpRequest
from engagelab_mock.service.rest.exchange import ApiError

if TYPE_CHECKING:
    from engagelab_mock.server.app import ServerApp


class Webhook(msgspec.Struct):
    """Say where callbacks go, and as whom and with which secret they are signed."""

    url: str
    username: str = ""
    secret: str = ""


def save_webhook(app: ServerApp, request: HttpRequest) -> HttpAnswer:
    """Let the receiver at this address be the only one."""
    if request.method != "PUT":
        message = f"{request.method[:20]} is not allowed here: PUT is"
        raise ApiError(3002, message, http_status=405, headers=(("Allow", "PUT"),))
    app.engagelab.api.authenticate(request.authorization)
    wanted = Call(app, request, {}).body(Webhook)
    try:
        receiver = Receiver.http(wanted.url, username=wanted.username, secret=wanted.secret)
    except EngageLabMockError as error:
        raise refused(error) from None
    app.engagelab.receiver = receiver
    if app.on_webhook is not None:
        app.on_webhook()
    return answer({"code": 0, "message": "success"})
