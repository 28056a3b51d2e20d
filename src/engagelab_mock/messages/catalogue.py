"""The built-in scenarios. The documents give their order of events; their delays are plausible, not measured [?]."""

from __future__ import annotations

from collections.abc import Sequence

from engagelab_mock.errors import UnknownName, UsageError
from engagelab_mock.messages.scenario import INFERRED, Scenario, TransitionGraph

_SENT = Scenario("").then("plan").then("sent", after=2)
_DELIVERED = _SENT.then("delivered", after=3)
_WHATSAPP_FAILED = (
    # The example timing of a fallback: whatsapp at 0, failed at 8, sms at 10, delivered at 15 [X].
    Scenario("")
    .then("plan")
    .then("sent", channel="whatsapp")
    .then("delivered_failed", after=8, channel="whatsapp")
    .then("sent", after=2, channel="sms")
)


def _named(name: str, description: str, steps: Scenario) -> Scenario:
    return Scenario(name, description, steps.transitions)


#: Every built-in scenario by name.
CATALOGUE: dict[str, Scenario] = {
    known.name: known
    for known in (
        _named(
            "verified",
            "sent, delivered, and the user enters the right code",
            _DELIVERED.then("verified", after=15),
        ),
        _named("delivered", "sent and delivered; no code has been entered yet", _DELIVERED),
        _named(
            "sent_failed",
            "could not be handed to the channel",
            Scenario("").then("plan").then("sent_failed", after=1),
        ),
        _named("delivered_failed", "sent, but did not reach the device", _SENT.then("delivered_failed", after=8)),
        _named(
            "verified_failed",
            "delivered, and the user enters a wrong code",
            _DELIVERED.then("verified_failed", after=15),
        ),
        _named(
            "verified_timeout",
            "delivered, but no code is entered within its five minutes",
            _DELIVERED.then("verified_timeout", after=295),
        ),
        _named(
            "target_invalid",
            "the number was found invalid",
            Scenario("").then("plan").then("target_invalid", after=1),
        ),
        _named(
            "fallback",
            "WhatsApp fails to deliver, SMS takes over, and the user enters the right code",
            _WHATSAPP_FAILED.then("delivered", after=5, channel="sms").then("verified", after=15),
        ),
        _named(
            "fallback_exhausted",
            "WhatsApp, SMS and voice are tried, and each fails to deliver",
            _WHATSAPP_FAILED.then("delivered_failed", after=5, channel="sms")
            .then("sent", after=2, channel="voice")
            .then("delivered_failed", after=30, channel="voice"),
        ),
        _named(
            "read",
            "delivered over WhatsApp and read; the status is named in the documents and not described",
            Scenario("")
            .then("plan")
            .then("sent", after=2, channel="whatsapp")
            .then("delivered", after=3)
            .then("read", after=10),
        ),
        _named("lost", "accepted, but there is never a callback", Scenario("")),
    )
}


def scenario(
    chosen: str | Scenario | Sequence[str],
    *,
    where: str = "scenario",
    graph: TransitionGraph | None = INFERRED,
) -> Scenario:
    """Return a scenario: by name, unchanged, or made from statuses one second apart that `graph` allows.

    >>> scenario("delivered").statuses
    ['plan', 'sent', 'delivered']
    >>> scenario(["plan", "sent_failed"]).duration
    1.0

    Raises `UnknownName`, with the nearest name, for a misspelt name.
    """
    if isinstance(chosen, Scenario):
        return chosen
    if isinstance(chosen, str):
        try:
            return CATALOGUE[chosen]
        except KeyError:
            raise UnknownName("scenario", chosen, CATALOGUE, where=where) from None
    if not isinstance(chosen, Sequence):
        raise UsageError(f"a scenario is a name, a Scenario or a list of statuses, not {chosen!r}", where=where)
    made = Scenario(",".join(map(str, chosen)), graph=graph)
    for index, status in enumerate(chosen):
        made = made.then(status, after=1 if index else 0)
    return made
