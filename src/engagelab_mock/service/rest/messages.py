"""The operations /v1/messages, /v1/codes, /v1/custom-messages and /v1/verifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engagelab_mock.messages.template import LANGUAGES
from engagelab_mock.service.accept import Acceptance, Request, accept, apply_rule, check, enter_code
from engagelab_mock.service.rest.exchange import ApiError, Fields, kind

if TYPE_CHECKING:
    from engagelab_mock.service.engine import Engine
    from engagelab_mock.service.rules import Rule
    from engagelab_mock.service.sending import Sending


class Call:
    """Hold one call of an operation: the engine, the call's name, the fields of the body, and the accepted sendings."""

    def __init__(self, engine: Engine, name: str, fields: Fields, resource: str = "") -> None:
        self.engine = engine
        #: The call's name in rules and documents: messages, codes, custom-messages, verifications, template-configs.
        self.name = name
        self.fields = fields
        #: The id in the path, such as a template's.
        self.resource = resource
        #: The callbacks that are sent after the answer.
        self.sendings: list[Sending] = []

    def rule(self, *, to: str = "", template: str = "") -> Rule | None:
        """Return the rule that applies to this call, or raise the rule's error."""
        return apply_rule(self.engine, self.name, to=to, template=template)


#: The content of an answer, to be written as JSON.
Content = dict[str, Any] | list[dict[str, Any]]


#: The limit of recipients of one custom message [?].
RECIPIENTS_LIMIT = 1000
#: The limit of characters of a code that the app made [?].
_CODE_LIMIT = 64


def send_message(call: Call) -> Content:
    """Make a code and send it."""
    return _accept(call, [_request(call, call.fields.text("to"), code=None)])


def send_code(call: Call) -> Content:
    """Send a code that the app made."""
    to = call.fields.text("to")
    return _accept(call, [_request(call, to, code=call.fields.text("code", most=_CODE_LIMIT))])


def send_custom(call: Call) -> Content:
    """Send the content of a template to one or several recipients; the answer has the id of the first message [?]."""
    return _accept(call, [_request(call, to, code="") for to in _recipients(call)])


def verify(call: Call) -> Content:
    """Compare a code with the one that was sent, and send the resulting event to the receivers."""
    message_id = call.fields.text("message_id")
    code = call.fields.text("verify_code")
    accepted = call.engine.messages.find(message_id)
    if accepted is None or not accepted.verifiable:
        call.rule()
        raise ApiError(4001, "message not exist" if accepted is None else "no code of this message can be verified")
    call.rule(to=accepted.message.to, template=accepted.message.template_key)
    if not accepted.valid(call.engine.clock.time()):
        raise ApiError(3003, "the code is already verified" if accepted.verified else "the code is expired")
    verified = code == accepted.code
    call.sendings.append(enter_code(call.engine, accepted, verified=verified))
    return {"message_id": message_id, "verify_code": code, "verified": verified}


def _accept(call: Call, requests: Sequence[Request]) -> Content:
    """Accept all requests or none, and answer with the first message."""
    engine = call.engine
    terms = [check(engine, request) for request in requests]
    accepted: list[Acceptance] = []
    for request, each in zip(requests, terms, strict=True):
        accepted.append(accept(engine, request, each, held=True))
        engine.outbox.accept(accepted[-1].sending)
        call.sendings.append(accepted[-1].sending)
    return {"message_id": accepted[0].message.id, "send_channel": accepted[0].channel}


def _recipients(call: Call) -> Sequence[str]:
    given = call.fields.value("to")
    if not isinstance(given, list):
        return [call.fields.text("to")]
    if not given or len(given) > RECIPIENTS_LIMIT:
        raise call.fields.wrong("to", f"has {len(given)} recipients, and must have from 1 to {RECIPIENTS_LIMIT}")
    for index, recipient in enumerate(given):
        if not isinstance(recipient, str) or not recipient:
            raise call.fields.wrong(f"to[{index}]", f"is {kind(recipient)}, and must be a recipient")
    return given


def _request(call: Call, to: str, *, code: str | None) -> Request:
    template = call.fields.section("template")
    params = template.texts("params")
    return Request(
        call=call.name,
        to=to,
        template=template.text("id", most=128),
        language=template.choice("language", LANGUAGES, default="default"),
        params=params,
        code=params.get("code", "") if code == "" else code,
        custom_args=call.fields.object("custom_args"),
        batch=call.engine.defaults.get("batch") or 1,
    )
