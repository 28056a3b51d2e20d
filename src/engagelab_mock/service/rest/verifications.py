"""POST /v1/verifications: whether a code is the right one."""

from __future__ import annotations

from engagelab_mock.service.rest.call import Call, Content
from engagelab_mock.service.rest.exchange import ApiError


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
