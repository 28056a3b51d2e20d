"""One login as a sequence diagram: play it, and draw the journal's entries."""

from __future__ import annotations

import json

from svg import Picture

from engagelab_mock import ApiRequest, EngageLab, Receiver

ALT = (
    "One login, from top to bottom: the app posts to /v1/messages and gets a message id; engagelab-mock sends "
    "the callbacks plan, sent and delivered, and the user finds the code in the inbox; the app posts it to "
    "/v1/verifications and hears that it is right; the callback verified follows. The app answers each callback "
    "with 200."
)

_WHO = {"user": 66, "app": 268, "mock": 516}
_TO = "+6591234567"
_BASIC = "Basic a2V5OnNlY3JldA=="


def draw() -> str:
    arrows = list(_arrows())
    picture = Picture(596, 84 + 34 * len(arrows), ALT)
    bottom = 64 + 34 * len(arrows)
    for (who, x), label in zip(_WHO.items(), ["user", "your app", "engagelab-mock"], strict=True):
        width = 140 if who == "mock" else 100
        picture.box(x - width / 2, 16, width, 32)
        picture.text(x, 37, label, "bold", anchor="middle")
        picture.path(f"M{x} 48 V{bottom}", "")
    for row, (source, target, label, style) in enumerate(arrows):
        y = 86 + 34 * row
        picture.arrow(_WHO[source], y, _WHO[target], f"line-{style}")
        picture.text((_WHO[source] + _WHO[target]) / 2, y - 7, label, style, size=12.5, anchor="middle")
    return picture.render()


def _arrows() -> list[tuple[str, str, str, str]]:
    """Return the arrows of a login that is played now, as (from, to, label, style)."""
    arrows = [("user", "app", "wants to log in", "soft")]
    seen = 0

    def post(path: str, body: dict[str, object], *, shown: str) -> dict[str, object]:
        answer = engagelab.api.handle(ApiRequest("POST", path, _BASIC, json.dumps(body).encode()))
        answered: dict[str, object] = json.loads(answer.body)
        arrows.append(("app", "mock", f"POST {path}", "ink"))
        value = str(answered[shown]).lower() if isinstance(answered[shown], bool) else "…"
        arrows.append(("mock", "app", f"{answer.status}  {shown}: {value}", "soft"))
        return answered

    def callbacks() -> None:
        nonlocal seen
        for delivery in engagelab.journal.deliveries[seen:]:
            seconds = delivery.attempts[0].at - accepted
            response = delivery.attempts[-1].response
            status = response.status if response else "no answer"
            label = f"callback {delivery.statuses[0]}, +{seconds:g} s → {status}"
            arrows.append(("mock", "app", label, "blue"))
        seen = len(engagelab.journal.deliveries)

    with EngageLab(Receiver.recording(username="acme", secret="s3cret")) as engagelab:
        accepted = engagelab.clock.time()
        message = post("/v1/messages", {"to": _TO, "template": {"id": "login"}}, shown="message_id")
        code = engagelab.inbox(_TO).code
        callbacks()
        # The phone is the mock's inbox, from which a test reads the code: the arrow passes the app.
        arrows.append(("mock", "user", f"the code, in engagelab.inbox(…): {code}", "good"))
        arrows.append(("user", "app", "enters the code", "soft"))
        engagelab.clock.advance(seconds=15)
        guess = {"message_id": message["message_id"], "verify_code": code}
        post("/v1/verifications", guess, shown="verified")
        engagelab.settle()
        callbacks()
    return arrows
