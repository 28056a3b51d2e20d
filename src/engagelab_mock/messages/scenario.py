"""Scenarios: the statuses of a message, their times and channels; and the graph of legal transitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from engagelab_mock.clock import check_delay
from engagelab_mock.errors import IllegalTransition, UnknownName, UsageError, did_you_mean
from engagelab_mock.generate import Generator
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.errorcodes import error_code
from engagelab_mock.protocol.events import Event, StatusEvent
from engagelab_mock.protocol.status import Channel, Status

#: The key in `TransitionGraph.follows` of a message without a status yet.
START = "start"

_SENDING = frozenset({Status.SENT, Status.SENT_FAILED})
_CHANNEL_FAILURES = frozenset({Status.SENT_FAILED, Status.DELIVERED_FAILED})
_VERIFICATION = frozenset({Status.VERIFIED, Status.VERIFIED_FAILED, Status.VERIFIED_TIMEOUT})

#: How to build a scenario that the graph does not allow.
_ANYWAY = "To send it anyway: graph=None, or --any-order on the command line"


class TransitionGraph(msgspec.Struct, frozen=True):
    """Hold the legal transitions; `follows` maps a status, or `START`, to the statuses that may come next.

    >>> graph = TransitionGraph("two steps", {"start": {"plan"}, "plan": {"verified"}})
    >>> graph.next_after("plan")
    ['verified']
    """

    name: str
    follows: Mapping[str, frozenset[str] | set[str]]
    #: Whether, after a failure, only another channel may be tried.
    fallback_changes_channel: bool = False

    def next_after(self, status: str) -> list[str]:
        """Return the statuses that may follow, in their usual order; empty for an unknown status."""
        allowed = self.follows.get(status, frozenset())
        return [str(known) for known in Status if known in allowed]

    def check(self, before: Sequence[Transition], transition: Transition, *, where: str) -> None:
        """Raise `IllegalTransition` if the transition may not follow the ones before it."""
        last = before[-1].status if before else START
        if transition.status not in self.follows.get(last, frozenset()):
            after = f"after {last!r} comes" if before else "a scenario starts with"
            allowed = f"{after} {', '.join(self.next_after(last)) or 'nothing'}"
            raise IllegalTransition(
                f"{transition.status!r} cannot follow {last!r} in the {self.name} graph",
                where=where,
                hint=f"{allowed}. {_ANYWAY}",
                allowed=allowed,
            )
        if self.fallback_changes_channel and last in _CHANNEL_FAILURES and transition.status in _SENDING:
            # A step without a channel uses the channel of the step before.
            failed = next((step.channel for step in reversed(before) if step.channel), None)
            if transition.channel is None or transition.channel == failed:
                raise IllegalTransition(
                    f"{transition.status!r} after {last!r} is a fallback, and a fallback takes another channel"
                    f" than {failed or 'the default one'}",
                    where=where,
                    hint=f"name it: .then('sent', channel='sms'), or sent:sms on the command line. {_ANYWAY}",
                    allowed="the scenario 'fallback' has one",
                )


#: Combined from the documents' examples and the vendor's guides; no document prints the graph itself [?].
INFERRED = TransitionGraph(
    name="inferred",
    follows={
        START: frozenset({Status.PLAN}),
        Status.PLAN: frozenset({Status.TARGET_VALID, Status.TARGET_INVALID}) | _SENDING,
        Status.TARGET_VALID: _SENDING,
        Status.TARGET_INVALID: frozenset(),
        # A user can enter a code before a delivery report, or without one.
        Status.SENT: frozenset({Status.DELIVERED, Status.DELIVERED_FAILED}) | _VERIFICATION,
        Status.SENT_FAILED: _SENDING,
        Status.DELIVERED: frozenset({Status.READ}) | _VERIFICATION,
        Status.DELIVERED_FAILED: _SENDING,
        Status.READ: _VERIFICATION,
        Status.VERIFIED: frozenset(),
        # After a wrong code, the user can try again, or not try again until the code expires.
        Status.VERIFIED_FAILED: _VERIFICATION,
        Status.VERIFIED_TIMEOUT: frozenset(),
    },
    fallback_changes_channel=True,
)


#: The errors that failures report if the scenario does not name an error [?].
_DEFAULT_ERRORS = {Status.SENT_FAILED: 5001, Status.DELIVERED_FAILED: 5012, Status.TARGET_INVALID: 5011}

_BEFORE_SENDING = frozenset({Status.PLAN, Status.TARGET_VALID, Status.TARGET_INVALID})


class Transition(msgspec.Struct, frozen=True):
    """Hold one step of a scenario: the status, the delay in seconds since the step before, the channel, the error code.

    >>> Transition("sent", after=2, channel="whatsapp").status
    'sent'
    """

    status: str
    after: float = 0.0
    #: None means the message's default channel, or the channel of the step before.
    channel: str | None = None
    error_code: int = 0
    #: None means the error code's documented text.
    error_message: str | None = None


class Scenario(msgspec.Struct, frozen=True):
    """Hold a named sequence of transitions; build one step by step with `then`.

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
        EngageLab does not have, `InvalidDelay`, and `IllegalTransition` for a step that the graph does not allow.

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
        """Yield the transitions, each with its channel: empty until something is sent [S], then kept until changed.

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


def timeline(
    message: Message, scenario: Scenario, channel: str, generate: Generator
) -> list[tuple[float, StatusEvent]]:
    """Return the scenario's events, each with its Unix time, counted from the acceptance of the message.

    >>> from engagelab_mock import CATALOGUE
    >>> message = Message(id="1", to="+6591234567", accepted=100)
    >>> [(at, event.name) for at, event in timeline(message, CATALOGUE["delivered"], "sms", Generator.seeded(0))]
    [(100.0, 'plan'), (102.0, 'sent'), (105.0, 'delivered')]
    """
    moment = float(message.accepted)
    timed = []
    for step in scenario.transitions:  # like `steps`, but without a copy of each transition
        channel = step.channel or channel
        moment += step.after
        event = message.event(
            step.status,
            at=moment,
            channel="" if step.status in _BEFORE_SENDING else channel,
            error_code=step.error_code,
            error_message=step.error_message or "",
            cost=generate.cost() if step.status == "sent" else None,
        )
        timed.append((moment, event))
    return timed


def along(scenario: Scenario, channels: Sequence[str]) -> Scenario:
    """Return a scenario with other channels: the first of these replaces its first channel, and so on.

    A scenario with more fallbacks than channels ends with the failure on the last channel.

    >>> from engagelab_mock import CATALOGUE
    >>> [(step.status, step.channel) for step in along(CATALOGUE["fallback"], ["sms", "voice"]).transitions][1:3]
    [('sent', 'sms'), ('delivered_failed', 'sms')]
    >>> along(CATALOGUE["fallback"], ["sms"]).statuses
    ['plan', 'sent', 'delivered_failed']
    """
    own: list[str] = []
    steps: list[Transition] = []
    for step in scenario.transitions:
        if step.channel is not None and step.channel not in own:
            own.append(step.channel)
        if len(own) > len(channels):
            break
        channel = step.channel if step.channel is None else channels[own.index(step.channel)]
        steps.append(replace(step, channel=channel))
    return replace(scenario, transitions=tuple(steps))


def first_channel(scenario: Scenario, channels: Sequence[str]) -> str:
    """Return the first channel of a scenario.

    >>> from engagelab_mock import CATALOGUE
    >>> first_channel(CATALOGUE["fallback"], ["sms"]), first_channel(CATALOGUE["delivered"], ["sms"])
    ('whatsapp', 'sms')
    """
    return next((step.channel for step in scenario.transitions if step.channel), channels[0])


#: How many events one callback carries, or "all".
Batch = int | Literal["all"]


def into_callbacks(timed: Sequence[tuple[float, Event]], batch: Batch = 1) -> list[tuple[float, tuple[Event, ...]]]:
    """Group timed events into callbacks of `batch` events, each with the time of its last event.

    >>> from engagelab_mock import Message
    >>> message = Message(id="1", to="+6591234567")
    >>> timed = [(at, message.event(status, at=at)) for at, status in [(0, "plan"), (2, "sent"), (5, "delivered")]]
    >>> [(at, len(events)) for at, events in into_callbacks(timed, 2)]
    [(2, 2), (5, 1)]
    """
    if batch == 1 and not isinstance(batch, bool):
        return [(at, (event,)) for at, event in timed]
    size = len(timed) or 1 if batch == "all" else check_batch(batch)
    groups = [timed[start : start + size] for start in range(0, len(timed), size)]
    return [(group[-1][0], tuple(event for _, event in group)) for group in groups]


def check_batch(batch: Batch) -> int:
    """Return how many events a callback carries, or raise `UsageError`.

    >>> check_batch(2)
    2
    """
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        hint = did_you_mean(batch, ["all"]) if isinstance(batch, str) else ""
        raise UsageError(
            f"a batch is a number of events from 1, or 'all', not {batch!r}", where="batch", hint=hint or "batch=2"
        )
    return batch
