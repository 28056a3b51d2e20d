"""A named course that a message takes: which statuses, when, over which channel."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from engagelab_mock.clock import check_delay
from engagelab_mock.errors import UnknownName
from engagelab_mock.lifecycle.graph import INFERRED, TransitionGraph
from engagelab_mock.protocol.channel import Channel
from engagelab_mock.protocol.errorcodes import error_code
from engagelab_mock.protocol.status import Status

#: The error a failure reports when the scenario names none [?].
_DEFAULT_ERRORS = {Status.SENT_FAILED: 5001, Status.DELIVERED_FAILED: 5012, Status.TARGET_INVALID: 5011}

_BEFORE_SENDING = frozenset({Status.PLAN, Status.TARGET_VALID, Status.TARGET_INVALID})


class Transition(msgspec.Struct, frozen=True):
    """Hold one step: the status, the delay in seconds since the step before, the channel, the error code.

    >>> Transition("sent", after=2, channel="whatsapp").status
    'sent'
    """

    status: str
    after: float = 0.0
    #: None is the message's own default channel, or the one the step before used.
    channel: str | None = None
    error_code: int = 0
    #: None is the error code's documented text.
    error_message: str | None = None


class Scenario(msgspec.Struct, frozen=True):
    """Describe a course of transitions under a name; build one step by step with `then`.

    >>> scenario = Scenario("slow").then("plan").then("sent", after=2, channel="whatsapp")
    >>> scenario.statuses
    ['plan', 'sent']
    >>> scenario.duration
    2.0

    Every step is checked against `graph`; with `graph=None` any order can be built.
    """

    name: str
    description: str = ""
    transitions: tuple[Transition, ...] = ()
    graph: TransitionGraph | None = INFERRED

    def __post_init__(self) -> None:
        for step, transition in enumerate(self.transitions, 1):
            check_delay(transition.after, where=f"scenario {self.name!r}, step {step}")
        if self.graph is None:
            return
        for index, transition in enumerate(self.transitions):
            self.graph.check(self.transitions[:index], transition, where=f"scenario {self.name!r}")

    def then(
        self,
        status: str,
        *,
        after: float = 0.0,
        channel: str | None = None,
        error: int | None = None,
        message: str | None = None,
    ) -> Scenario:
        """Return the scenario with one more step, `after` seconds later.

        A failure without `error` reports a usual one. Raises `UnknownName` for a status, channel or error code that
        EngageLab does not have, `InvalidDelay`, and `IllegalTransition` for what the graph does not allow.

        >>> Scenario("odd", graph=None).then("verified").then("plan").statuses
        ['verified', 'plan']
        """
        where = f"scenario {self.name!r}, step {len(self.transitions) + 1}"
        if status not in list(Status):
            raise UnknownName("status", status, Status, where=where)
        if channel is not None and channel not in list(Channel):
            raise UnknownName("channel", channel, Channel, where=where)
        code = _DEFAULT_ERRORS.get(Status(status), 0) if error is None else error
        step = Transition(
            status=str(status),
            after=check_delay(after, where=where),
            channel=None if channel is None else str(channel),
            error_code=error_code(code, where=where).code if code else 0,
            error_message=message,
        )
        return msgspec.structs.replace(self, transitions=(*self.transitions, step))

    @property
    def statuses(self) -> list[str]:
        """Return the statuses in order.

        >>> Scenario("empty").statuses
        []
        """
        return [transition.status for transition in self.transitions]

    def steps(self, default_channel: str) -> Iterator[Transition]:
        """Yield the transitions with every channel named: empty until something is sent [S], then kept until changed.

        >>> [step.channel for step in Scenario("s").then("plan").then("sent").steps("sms")]
        ['', 'sms']
        """
        channel = default_channel
        for transition in self.transitions:
            channel = transition.channel or channel
            shown = "" if transition.status in _BEFORE_SENDING else channel
            yield msgspec.structs.replace(transition, channel=shown)

    @property
    def duration(self) -> float:
        """Return the seconds from the first step's delay to the last step."""
        return sum(transition.after for transition in self.transitions)
