"""/v1/messages, /v1/codes, /v1/custom-messages and /v1/verifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from engagelab_mock.errors import InvalidRecipient
from engagelab_mock.messages.sandbox import MAGIC, Magic
from engagelab_mock.messages.scenario import Scenario
from engagelab_mock.messages.template import APPROVED, LANGUAGES, Template
from engagelab_mock.protocol.recipient import check_recipient, is_email
from engagelab_mock.service.messages import Accepted
from engagelab_mock.service.rest.body import Fields, kind
from engagelab_mock.service.rest.exchange import ApiError

if TYPE_CHECKING:
    from engagelab_mock.service.accepting import Accepting
    from engagelab_mock.service.play import Play
    from engagelab_mock.service.rules import Rule


class Call:
    """Hold what an operation works on: the engine, its own name, the body's fields, and what is to go out after."""

    def __init__(self, engagelab: Accepting, name: str, fields: Fields, resource: str = "") -> None:
        self.intake = engagelab.intake
        self.clock = engagelab.clock
        #: The call's name in rules and documents: messages, codes, custom-messages, verifications, template-configs.
        self.name = name
        self.fields = fields
        #: What the path names.
        self.resource = resource
        #: What is to go out once the call is answered.
        self.plays: list[Play] = []

    def rule(self, *, to: str = "", template: str = "") -> Rule | None:
        """Return the rule that applies, or raise the error that it wants answered."""
        rule = self.intake.rules.apply(self.name, to=to, template=template)
        if rule is not None and rule.error is not None:
            raise ApiError(rule.error, rule.message, hint=f"rule {rule.id} wants it")
        return rule


#: What an operation answers, to be written as JSON.
Content = dict[str, Any] | list[dict[str, Any]]


#: How many recipients one custom message can have [?].
RECIPIENTS_LIMIT = 1000
#: How many characters a code can have that the app makes itself [?].
_CODE_LIMIT = 64


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what a call wants sent, to whom, with which template."""

    to: str
    template_id: str
    language: str
    params: dict[str, str]
    #: None for EngageLab to make one, "" for none.
    code: str | None
    custom_args: dict[str, Any] | None = None


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what applies to what is wanted; `course` is the scenario that a rule wants."""

    magic: Magic | None
    template: Template | None
    #: Those that reach the recipient, in the order in which they are tried.
    channels: tuple[str, ...]
    course: Scenario | None


def send_message(call: Call) -> Content:
    """Make a code and send it."""
    return _answer(_send(call, _wanted(call, _recipient(call), code=None)))


def send_code(call: Call) -> Content:
    """Send a code that the app made."""
    to = _recipient(call)
    code = call.fields.text("code", most=_CODE_LIMIT)
    return _answer(_send(call, _wanted(call, to, code=code)))


def send_custom(call: Call) -> Content:
    """Send a template's content to one recipient or several; the answer names the first one's message [?]."""
    first, *others = [_wanted(call, to, code="") for to in _recipients(call)]
    # All or none: whoever is refused is refused before anything is sent.
    chosen = [_choose(call, wanted) for wanted in (first, *others)]
    accepted = [_accept(call, wanted, each) for wanted, each in zip((first, *others), chosen, strict=True)]
    return _answer(accepted[0])


def _answer(accepted: Accepted) -> Content:
    return {"message_id": accepted.message.id, "send_channel": accepted.channel}


def _recipient(call: Call) -> str:
    return call.fields.text("to")


def _recipients(call: Call) -> Sequence[str]:
    given = call.fields.value("to")
    if not isinstance(given, list):
        return [_recipient(call)]
    if not given or len(given) > RECIPIENTS_LIMIT:
        raise call.fields.wrong("to", f"has {len(given)} recipients, and has to have from 1 to {RECIPIENTS_LIMIT}")
    for index, recipient in enumerate(given):
        if not isinstance(recipient, str) or not recipient:
            raise call.fields.wrong(f"to[{index}]", f"is {kind(recipient)}, and has to be a recipient")
    return given


def _wanted(call: Call, to: str, *, code: str | None) -> Wanted:
    template = call.fields.section("template")
    params = template.texts("params")
    return Wanted(
        to=to,
        template_id=template.text("id", most=128),
        language=template.choice("language", LANGUAGES, default="default"),
        params=params,
        code=params.get("code", "") if code == "" else code,
        custom_args=call.fields.object("custom_args"),
    )


def _send(call: Call, wanted: Wanted) -> Accepted:
    return _accept(call, wanted, _choose(call, wanted))


def _choose(call: Call, wanted: Wanted) -> Chosen:
    """Find what applies to what is wanted, or refuse it."""
    intake = call.intake
    magic = MAGIC.get(wanted.to) if intake.settings.sandbox else None
    if magic is not None and magic.error:
        raise ApiError(magic.error, hint=f"{wanted.to} is the sandbox's recipient for it")
    try:
        check_recipient(wanted.to)
    except InvalidRecipient as error:
        raise ApiError(5011, f"invalid number format: {error.what}", hint=error.hint) from None
    # A recipient of the sandbox's goes before any rule.
    rule = call.rule(to=wanted.to, template=wanted.template_id) if magic is None else None
    template = _template(call, wanted)
    channels = _channels(template, wanted.to)
    if call.name != "custom-messages":
        if magic is None:
            _check_rate(call, wanted)
    elif template is not None and template.verify_code_config is not None and not wanted.code:
        raise ApiError(3002, "template.params.code is required by a verification template")
    return Chosen(magic=magic, template=template, channels=channels, course=rule.course if rule else None)


def _template(call: Call, wanted: Wanted) -> Template | None:
    template = call.intake.templates.find(wanted.template_id)
    if template is None and call.intake.settings.strict_templates:
        raise ApiError(4001, "config not exist", hint=f"there is no template {wanted.template_id!r:.80}")
    if template is not None and template.status != APPROVED:
        raise ApiError(3013, hint=f"engagelab.audit_template({wanted.template_id!r}, 'approved')")
    return template


def _channels(template: Template | None, to: str) -> tuple[str, ...]:
    if template is None:
        return ("email",) if is_email(to) else ("sms",)
    channels = template.channels_to(to)
    if not channels:
        raise ApiError(3003, "not contains any channel config", hint=f"no channel of the template's reaches {to}")
    return channels


def _check_rate(call: Call, wanted: Wanted) -> None:
    intake = call.intake
    if not intake.settings.rate_limit:
        return
    latest = intake.accepted.latest(wanted.template_id, wanted.to)
    if latest is not None and latest.valid(call.clock.time()):
        raise ApiError(3004, hint=f"the code of {latest.message.id} is still valid; see engagelab.clock.advance")


def _accept(call: Call, wanted: Wanted, chosen: Chosen) -> Accepted:
    accepted, play = call.intake.accept(call.name, wanted, chosen)
    call.plays.append(play)
    return accepted


def verify(call: Call) -> Content:
    """Compare a code with the one that was sent, and tell the receivers what came of it."""
    message_id = call.fields.text("message_id")
    code = call.fields.text("verify_code")
    intake = call.intake
    accepted = intake.find(message_id)
    if accepted is None or not accepted.verifiable:
        call.rule()
        raise ApiError(4001, "message not exist" if accepted is None else "no code of this message can be verified")
    call.rule(to=accepted.message.to, template=accepted.message.template_key)
    if not accepted.valid(call.clock.time()):
        raise ApiError(3003, "the code is already verified" if accepted.verified else "the code is expired")
    verified = code == accepted.code
    call.plays.append(intake.enter_code(accepted, verified=verified))
    return {"message_id": message_id, "verify_code": code, "verified": verified}
