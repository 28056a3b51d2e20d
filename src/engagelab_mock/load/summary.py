"""The summary of a load: rates, latencies, outcomes, and the messages that the receiver did not treat rightly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.errors import NothingObserved, ReceiverFellShort
from engagelab_mock.load.ledger import Stage

#: A message of which an acknowledged callback had no effect; one with an effect too many; one whose status went back;
#: one with a value that no callback explains, such as another message's recipient; one with a callback that was
#: answered and not acknowledged; one with a callback whose answer did not arrive, so it may have had an effect or not;
#: one whose state cannot be judged, so the run is incomplete.
Kind = Literal["lost", "doubled", "regressed", "wrong", "never_acknowledged", "maybe", "unclear"]
KINDS: tuple[Kind, ...] = ("lost", "doubled", "regressed", "wrong", "never_acknowledged", "maybe", "unclear")
#: Those that a fault of the receiver explains, and nothing else does.
_FAULTS: tuple[Kind, ...] = ("lost", "doubled", "regressed", "wrong")
#: What a run shows: the receiver did all right; it fell short; a part of the run is missing, or nothing was judged; no
#: request reached the receiver.
State = Literal["clean", "fell_short", "incomplete", "unreachable"]


class Latency(msgspec.Struct, frozen=True):
    """Hold percentiles in seconds.

    >>> Latency(count=1, p50=0.02, maximum=0.02).p50
    0.02
    """

    count: int = 0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    maximum: float = 0.0


class Second(msgspec.Struct, frozen=True, kw_only=True):
    """Hold what happened in one second of the run, counted from its start.

    >>> Second(at=0, asked=500, sent=500, acknowledged=498, failed=0, waiting=2).waiting
    2
    """

    at: int
    #: How many deliveries the plan has in this second.
    asked: int = 0
    #: How many of all deliveries were started in it.
    sent: int = 0
    #: How many ended in it with an acknowledgement, and without one.
    acknowledged: int = 0
    failed: int = 0
    #: How many planned deliveries had not ended at its end: the backlog.
    waiting: int = 0
    #: The latencies of the deliveries that the plan has in this second, from their intended start.
    latency: Latency = Latency()
    #: The greatest lateness of the generator, in seconds.
    lateness: float = 0.0


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one message that shows a fault of the receiver, or for which that is not known.

    >>> print(Case(kind="lost", message_id="7", scenario="verified", what="verified was acknowledged, and not stored"))
    7 (verified): lost: verified was acknowledged, and not stored
    """

    kind: Kind
    message_id: str
    scenario: str
    what: str

    def __str__(self) -> str:
        return f"{self.message_id} ({self.scenario}): {self.kind.replace('_', ' ')}: {self.what}"


class LoadSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the result of a load: of one ledger, or of all ledgers of a run.

    >>> summary = LoadSummary(url="http://127.0.0.1:5000/", asked=4, made=4, outcomes={"acknowledged": 4})
    >>> summary.state, summary.effects_judged
    ('clean', False)
    """

    url: str
    run: str = ""
    workers: int = 1
    #: Unix seconds.
    started: float = 0.0
    #: The planned seconds, and the seconds until the last delivery ended.
    duration: float = 0.0
    elapsed: float = 0.0
    mix: Mapping[str, float] = {}
    #: The seed of the data; the same seed makes the same messages in the same order.
    seed: str = ""
    #: Seconds for the receiver's whole answer; None: no limit.
    limit: float | None = None
    #: How many deliveries were planned, and how many were made.
    asked: int = 0
    made: int = 0
    messages: int = 0
    #: Deliveries by `Outcome`, without those with a fault.
    outcomes: Mapping[str, int] = {}
    #: A reason of each outcome without an answer, for a person to read.
    reasons: Mapping[str, str] = {}
    #: Deliveries by fault: their outcome is the sender's doing.
    faults: Mapping[str, int] = {}
    #: Answers by HTTP status.
    answers: Mapping[int, int] = {}
    #: From the intended start to the end of the answer, of all deliveries without a fault.
    latency: Latency = Latency()
    #: How late the generator started deliveries.
    lateness: Latency = Latency()
    #: The bound of `lateness.p99`, in seconds.
    max_lateness: float = 1.0
    seconds: tuple[Second, ...] = ()
    #: The rates of a load that seeks the rate at which the receiver breaks.
    stages: tuple[Stage, ...] = ()
    #: How many messages `observe` was asked about; None without `observe`.
    observed: int | None = None
    #: How many messages were delivered before the load, in order and alone, and judged too.
    first: int = 0
    #: The effects that were counted in the states.
    effects: Mapping[str, tuple[str, ...]] = {}
    #: Messages by kind of case.
    counts: Mapping[Kind, int] = {}
    #: The first cases of each kind.
    cases: tuple[Case, ...] = ()
    #: Why the run is incomplete, or proves nothing; empty if it is complete.
    problems: tuple[str, ...] = ()
    #: What the summary does not rest on.
    remarks: tuple[str, ...] = ()
    #: Whether Ctrl-C or a signal ended the run.
    interrupted: bool = False

    @property
    def effects_judged(self) -> bool:
        """Tell whether the state of any message was read after the load."""
        return bool(self.observed)

    @property
    def part(self) -> str:
        """Return how many of the messages were observed; empty if all were.

        >>> LoadSummary(url="http://127.0.0.1:5000/", messages=50, observed=5).part
        ' in 5 of 50 messages'
        """
        observed = self.observed or 0
        return f" in {observed} of {self.messages} messages" if observed < self.messages else ""

    @property
    def acknowledged(self) -> int:
        """Return how many deliveries without a fault were acknowledged."""
        return self.outcomes.get("acknowledged", 0)

    @property
    def failed(self) -> int:
        """Return how many deliveries without a fault were not acknowledged."""
        return sum(self.outcomes.values()) - self.acknowledged

    @property
    def rate_asked(self) -> float:
        """Return the planned deliveries a second."""
        return self.asked / self.duration if self.duration else 0.0

    @property
    def rate_made(self) -> float:
        """Return the deliveries a second that were made."""
        longest = max(self.duration, self.elapsed)
        return self.made / longest if longest else 0.0

    @property
    def faults_found(self) -> int:
        """Return how many messages were lost, doubled, regressed or wrong."""
        return sum(self.counts.get(kind, 0) for kind in _FAULTS)

    @property
    def state(self) -> State:
        """Return what the run shows. A fault that was seen counts, even if the run is incomplete."""
        if self.faults_found:
            return "fell_short"
        reached = {name for name in self.outcomes if name not in _UNREACHABLE}
        if self.outcomes and not reached:
            return "unreachable"
        if self.failed > self.sought:
            return "fell_short"
        return "incomplete" if self.problems or not self.acknowledged else "clean"

    @property
    def knee(self) -> float | None:
        """Return the greatest rate that the receiver held; None if it held none, or if the load did not seek it."""
        return max((stage.rate for stage in self.stages if stage.held), default=None)

    @property
    def sought(self) -> int:
        """Return how many failures the load sought: those of the rates above the one that the receiver held."""
        return 0 if self.knee is None else sum(stage.failed for stage in self.stages if not stage.held)

    def assert_clean(self) -> None:
        """Raise `ReceiverFellShort` with the cases if the receiver fell short, and `NothingObserved` if it is open.

        >>> LoadSummary(url="http://127.0.0.1:5000/", asked=4, made=4, outcomes={"acknowledged": 4}).assert_clean()
        """
        __tracebackhide__ = True
        state = self.state
        if state == "clean":
            return
        if state == "incomplete":
            problems = self.problems or ("no callback was acknowledged",)
            raise NothingObserved("; ".join(problems), where="load", hint="an incomplete run proves nothing: repeat it")
        raise ReceiverFellShort(f"load: {self.shortfall}", "\n".join(map(str, self.cases)))

    @property
    def shortfall(self) -> str:
        """Return in one line how the receiver fell short; empty if it did not.

        >>> LoadSummary(url="http://127.0.0.1:5000/", outcomes={"acknowledged": 4, "not_200": 1}).shortfall
        'of 5 callbacks, 1 not acknowledged (not_200: 1)'
        """
        found = [f"{self.counts[kind]} {kind}" for kind in _FAULTS if self.counts.get(kind)]
        parts = [f"of {(self.observed or 0) + self.first} messages observed, {', '.join(found)}"] if found else []
        if self.failed:
            others = [f"{name}: {count}" for name, count in sorted(self.outcomes.items()) if name != "acknowledged"]
            total = self.acknowledged + self.failed
            parts.append(f"of {total} callbacks, {self.failed} not acknowledged ({', '.join(others)})")
        return "; ".join(parts)


_UNREACHABLE = frozenset(outcome for outcome in Outcome if outcome.unreachable)
