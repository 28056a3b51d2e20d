"""The REST API: answers every request, and never raises."""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from engagelab_mock.delivery.render import printable
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.service.rest.exchange import (
    ApiAnswer,
    ApiError,
    ApiRequest,
    ApiSettings,
    Fields,
    check_content_type,
    read_object,
)
from engagelab_mock.service.rest.messages import Call, Content, send_code, send_custom, send_message, verify
from engagelab_mock.service.rest.templates import create_template, delete_template, get_template, list_templates
from engagelab_mock.service.store import StoreError

if TYPE_CHECKING:
    from engagelab_mock.service.engine import Engine


class Operation(NamedTuple):
    """An operation of the API; `call` is its name in rules."""

    method: str
    path: str
    call: str
    work: Callable[[Call], Content]
    has_body: bool = True


#: Every operation of the API [D].
OPERATIONS = (
    Operation("POST", "/v1/messages", "messages", send_message),
    Operation("POST", "/v1/codes", "codes", send_code),
    Operation("POST", "/v1/custom-messages", "custom-messages", send_custom),
    Operation("POST", "/v1/verifications", "verifications", verify),
    Operation("POST", "/v1/template-configs", "template-configs", create_template),
    Operation("GET", "/v1/template-configs", "template-configs", list_templates, has_body=False),
    Operation("GET", "/v1/template-configs/{template_id}", "template-configs", get_template, has_body=False),
    Operation("DELETE", "/v1/template-configs/{template_id}", "template-configs", delete_template, has_body=False),
)

_TEMPLATE = "/v1/template-configs/"


class RestApi:
    """Answer requests as `https://otp.api.engagelab.cc` does.

    >>> from engagelab_mock import EngageLab
    >>> with EngageLab() as engagelab:
    ...     answer = engagelab.api.handle(ApiRequest("GET", "/v1/messages"))
    >>> answer.status, answer.headers[1]
    (405, ('Allow', 'POST'))
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def handle(self, request: ApiRequest) -> ApiAnswer:
        """Answer a request. Call `written` on the answer after writing it.

        A request that cannot be used is entered in the journal and answered with the documented error object. The
        callbacks of accepted messages are sent after `written`, or before this returns if the settings have
        `callback_before_response`.
        """
        where = printable(f"{request.method} {request.path}"[:200])
        try:
            operation, resource = _find(request)
            self.authenticate(request.authorization)
            if operation.has_body and self._engine.api_settings.strict_content_type:
                check_content_type(request.content_type)
            fields = Fields(read_object(request.body) if operation.has_body else {})
            return self._do(operation, Call(self._engine, operation.call, fields, resource))
        except ApiError as error:
            self._enter(EngageLabMockError(error.what, where=where, hint=error.hint))
            return error.answer()
        except StoreError as error:
            return ApiError(1000, f"{error.where}: {error.what}").answer()
        except Exception as error:
            failed = EngageLabMockError(f"{type(error).__name__}: {error}", where=where)
            failed.__cause__ = error
            self._enter(failed)
            self._engine.outbox.keep_failure(failed)
            return ApiError(1000).answer()

    def authenticate(self, authorization: str | None) -> None:
        """Raise `ApiError` unless an Authorization header holds an accepted key and secret."""
        authenticate(authorization, self._engine.api_settings)

    def _do(self, operation: Operation, call: Call) -> ApiAnswer:
        outbox = self._engine.outbox
        written = outbox.hold(call.sendings)
        try:
            answer = self._run(operation, call)
        except StoreError:  # the transaction has undone the sending
            written()
            raise
        except BaseException:
            for sending in call.sendings:
                sending.withdraw()
            written()
            raise
        if not call.sendings:
            written()
        elif self._engine.api_settings.callback_before_response:
            written()
            outbox.send_now(call.sendings)
        else:
            answer.after = written
        return answer

    def _run(self, operation: Operation, call: Call) -> ApiAnswer:
        with self._engine.scheduler.lock, self._engine.store.transaction():
            try:
                return ApiAnswer.of(operation.work(call))
            except ApiError as error:
                # Raised outside of the transaction, so that changes made before it, such as a rule's count, are stored.
                refused = error
        raise refused

    def _enter(self, error: EngageLabMockError) -> None:
        self._engine.journal.refuse(error, at=self._engine.clock.time())


def _find(request: ApiRequest) -> tuple[Operation, str]:
    """Return the operation, and the resource that the path names."""
    resource = request.path.removeprefix(_TEMPLATE) if request.path.startswith(_TEMPLATE) else ""
    path = f"{_TEMPLATE}{{template_id}}" if resource else request.path
    known = [operation for operation in OPERATIONS if operation.path == path]
    if not known:
        # Which error the real service answers here is not documented [?].
        raise ApiError(4001, f"there is no {request.path[:200]}", http_status=404)
    for operation in known:
        if operation.method == request.method:
            return operation, resource
    allowed = ", ".join(operation.method for operation in known)
    message = f"{request.method[:20]} is not allowed here; allowed: {allowed}"
    raise ApiError(3002, message, http_status=405, headers=(("Allow", allowed),))


_CHALLENGE = (("WWW-Authenticate", 'Basic realm="EngageLab OTP"'),)


def authenticate(authorization: str | None, settings: ApiSettings) -> None:
    """Raise `ApiError` unless the header holds the key and secret in the settings; without any, it accepts every pair.

    >>> authenticate("Basic a2V5OnNlY3JldA==", ApiSettings())
    >>> authenticate("Bearer a2V5", ApiSettings())
    Traceback (most recent call last):
    ...
    engagelab_mock.service.rest.exchange.ApiError: 2001, the Authorization header is not HTTP Basic
    """
    if not authorization:
        raise _refused("the Authorization header is missing")
    key, secret = _pair(authorization)
    if not key or not secret:
        raise _refused("dev_key or dev_secret is empty")
    if settings.pinned:
        # Always compare both, in constant time, so that the time does not show which part was right.
        right = hmac.compare_digest(key.encode(), settings.dev_key.encode())
        if not hmac.compare_digest(secret.encode(), settings.dev_secret.encode()) or not right:
            raise _refused("dev_key or dev_secret is wrong")


def _pair(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        raise _refused("the Authorization header is not HTTP Basic")
    try:
        decoded = binascii.a2b_base64(encoded.strip().encode("ascii"), strict_mode=True).decode("utf-8")
    except (ValueError, UnicodeError):
        raise _refused("the Authorization header is not base64 of dev_key:dev_secret") from None
    key, colon, secret = decoded.partition(":")
    if not colon:
        raise _refused("the Authorization header is not base64 of dev_key:dev_secret")
    return key, secret


def _refused(why: str) -> ApiError:
    return ApiError(2001, why, headers=_CHALLENGE)
