"""The work of the explorer: the 24 orders of one verification, those that fail, and the smallest that fails."""

from __future__ import annotations

import re

from flask import Flask, request
from svg import Picture, width_of

from engagelab_mock import EngageLab, Receiver, ScheduleFailed, converges, schedules

ALT = (
    "The 24 orders of the callbacks plan, sent, delivered and verified, played against a receiver that keeps "
    "the status that came last: 6 orders pass, 18 fail. The failing order is reduced to two callbacks, verified "
    "and then delivered, after which the receiver has delivered instead of verified."
)

_STYLES = {"plan": "soft", "sent": "amber", "delivered": "blue", "verified": "good"}


def engagelab() -> EngageLab:
    """Return EngageLab in front of a receiver that keeps the status that came last."""
    states: dict[str, str] = {}
    app = Flask("shop")

    @app.post("/engagelab")
    def engagelab_callbacks() -> tuple[str, int]:
        for row in request.get_json()["rows"]:
            states[row["message_id"]] = row["status"]["message_status"]
        return "", 200

    return EngageLab(Receiver.wsgi(app, path="/engagelab", observe=states.get))


def draw() -> str:
    picture = Picture(596, 400, ALT)
    orders = list(schedules("verified"))
    failing = [order.token for order in orders if _fails(order.token)]
    picture.text(20, 32, f"{len(orders)} orders of one verification", "bold")
    for number, order in enumerate(orders):
        x, y = 20 + number % 4 * 143, 48 + number // 4 * 31
        fails = order.token in failing
        picture.box(x, y, 128, 24, f"box line-{'bad' if fails else 'good'}")
        for place, step in enumerate(order.steps):
            (status,) = step.events
            picture.text(x + 10 + place * 22, y + 17, status[0], f"bold {_STYLES[status]}", size=13)
        picture.text(x + 105, y + 17, "✗" if fails else "✓", "bad" if fails else "good", size=13)
    x = 20.0
    for status, style in _STYLES.items():
        words = f"{status[0]} {status}"
        picture.text(x, 254, words, style, size=12.5)
        x += width_of(words, size=12.5) + 20
    picture.text(576, 254, f"{len(failing)} fail", "bad bold", size=12.5, anchor="end")
    _reduced(picture, y=284)
    return picture.render()


def _fails(token: str) -> bool:
    try:
        engagelab().replay(token, invariants=[converges()])
    except ScheduleFailed:
        return True
    return False


def _reduced(picture: Picture, *, y: float) -> None:
    """Draw the failing schedule that `explore` reports, with the states between its callbacks."""
    try:
        engagelab().explore("verified", duplicates=0, invariants=[converges()])
    except ScheduleFailed as error:
        failure = error.failure
    found = failure.found.token.partition(":")[2].replace(",", ", ")
    picture.path("M20 268 H576", "")
    picture.text(20, y + 8, f"order {failure.number} fails: {found}.  Reduced to:", size=13)
    x = 20.0
    for record in failure.played.records:
        status = failure.schedule.steps[record.step].events[0]
        picture.box(x, y + 26, 110, 36, f"box line-{_STYLES[status]}")
        picture.text(x + 55, y + 49, status, f"bold {_STYLES[status]}", anchor="middle")
        picture.arrow(x + 110, y + 44, x + 150)
        picture.text(x + 160, y + 49, repr(record.after), "bad" if record is failure.violation.record else "")
        x += 290
    what = re.sub(r" \(.*?\)", "", f"{failure.violation.invariant}: {failure.violation.what}")
    picture.text(20, y + 94, what, "bad", size=12.5)
