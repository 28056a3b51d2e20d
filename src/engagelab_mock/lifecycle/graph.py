"""Which status may follow which: inferred, and therefore swappable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from engagelab_mock.errors import IllegalTransition
from engagelab_mock.protocol.status import Status

if TYPE_CHECKING:
    from engagelab_mock.lifecycle.scenario import Transition

#: Stands for "nothing has happened yet" among the keys of `TransitionGraph.follows`.
START = "start"

_SENDING = frozenset({Status.SENT, Status.SENT_FAILED})
_CHANNEL_FAILURES = frozenset({Status.SENT_FAILED, Status.DELIVERED_FAILED})
_VERIFICATION = frozenset({Status.VERIFIED, Status.VERIFIED_FAILED, Status.VERIFIED_TIMEOUT})


class TransitionGraph(msgspec.Struct, frozen=True):
    """Say which statuses may follow which; `follows` maps a status, or `START`, to those that may come next.

    >>> graph = TransitionGraph("two steps", {"start": {"plan"}, "plan": {"verified"}})
    >>> graph.next_after("plan")
    ['verified']
    """

    name: str
    follows: Mapping[str, frozenset[str] | set[str]]
    #: Whether, after a failure, only another channel may be tried.
    fallback_changes_channel: bool = False

    def next_after(self, status: str) -> list[str]:
        """Return the statuses that may follow, in their usual order; none after a status it does not know."""
        allowed = self.follows.get(status, frozenset())
        return [str(known) for known in Status if known in allowed]

    def check(self, before: Sequence[Transition], transition: Transition, *, where: str) -> None:
        """Raise `IllegalTransition` if the transition may not follow the ones before it."""
        last = before[-1].status if before else START
        if transition.status not in self.follows.get(last, frozenset()):
            allowed = ", ".join(self.next_after(last)) or "nothing"
            after = f"after {last!r} comes" if before else "a scenario starts with"
            raise IllegalTransition(
                f"{transition.status!r} cannot follow {last!r} in the {self.name} graph",
                where=where,
                hint=f"{after} {allowed}. To send it all the same, make the scenario with graph=None",
            )
        if self.fallback_changes_channel and last in _CHANNEL_FAILURES and transition.status in _SENDING:
            # A step that names no channel stays on the one the steps before it used.
            failed = next((step.channel for step in reversed(before) if step.channel), None)
            if transition.channel is None or transition.channel == failed:
                raise IllegalTransition(
                    f"{transition.status!r} after {last!r} is a fallback, and a fallback takes another channel"
                    f" than {failed or 'the default one'}",
                    where=where,
                    hint="name it: .then('sent', channel='sms'); or make the scenario with graph=None",
                )


#: What the documents' examples and the vendor's guides show, put together; no document prints the graph itself [?].
INFERRED = TransitionGraph(
    name="inferred",
    follows={
        START: frozenset({Status.PLAN}),
        Status.PLAN: frozenset({Status.TARGET_VALID, Status.TARGET_INVALID}) | _SENDING,
        Status.TARGET_VALID: _SENDING,
        Status.TARGET_INVALID: frozenset(),
        # A code can be entered before, or without, a delivery report.
        Status.SENT: frozenset({Status.DELIVERED, Status.DELIVERED_FAILED}) | _VERIFICATION,
        Status.SENT_FAILED: _SENDING,
        Status.DELIVERED: frozenset({Status.READ}) | _VERIFICATION,
        Status.DELIVERED_FAILED: _SENDING,
        Status.READ: _VERIFICATION,
        Status.VERIFIED: frozenset(),
        # A wrong code can be followed by another try, or by none until the code expires.
        Status.VERIFIED_FAILED: _VERIFICATION,
        Status.VERIFIED_TIMEOUT: frozenset(),
    },
    fallback_changes_channel=True,
)
