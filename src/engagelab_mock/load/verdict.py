"""Judge messages by their deliveries and by their state in the app: lost, doubled, regressed, or not known."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from engagelab_mock.delivery.io import ASYNC
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.probe import Probe
from engagelab_mock.errors import UsageError, did_you_mean
from engagelab_mock.eventloop import sleep, stopwatch
from engagelab_mock.explore.state import (
    COUNT,
    EACH,
    MISSING,
    Path,
    Snapshot,
    State,
    count_of,
    differing,
    dotted,
    names,
    part_of,
    parts_of,
    plain,
    state_of,
)
from engagelab_mock.load.ledger import Baseline, Entry, LedgerReader
from engagelab_mock.load.summary import Case, Kind
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.status import Meaning, Status, times

#: How long an app may still work after the last answer, in seconds.
SETTLE = 5.0
#: How often the states of suspects are read again, in seconds.
_LOOK = 0.2
#: How many suspects are read again; of more, no number of repetitions makes a clean run.
_SUSPECTS = 20_000
#: How many callbacks a leaf must have counted to be taken for a counter of callbacks.
_COUNTED = 3
#: A leaf that has more different values than these, in messages that had the same callbacks, differs in each message.
_TWO = 2

_UNSEEN = frozenset(outcome.value for outcome in Outcome if outcome.unreachable)
#: The outcomes of a delivery whose answer did not arrive: the receiver may have processed it or not.
_OPEN = frozenset(outcome.value for outcome in Outcome) - _UNSEEN - {"acknowledged", "not_200", "redirect"}


def answer_case(entries: Sequence[Entry]) -> Case | None:
    """Return the case of a message with a callback that was never acknowledged; None if all were.

    >>> entry = Entry("7", "+6591234567", "delivered", 0, 3, "plan", 0, 1.0, 1.0, 3.1, "timeout")
    >>> print(answer_case([entry]))
    7 (delivered): maybe: plan: timeout
    """
    acknowledged = {entry.step for entry in entries if entry.outcome == "acknowledged"}
    failed = [entry for entry in entries if entry.step not in acknowledged and not entry.fault]
    if not failed:
        return None
    known = [entry for entry in failed if entry.outcome not in _OPEN]
    shown = known or failed
    kind: Kind = "never_acknowledged" if known else "maybe"
    what = ", ".join(f"{each.status}: {each.outcome}{f' {each.answer}' if each.answer else ''}" for each in shown)
    return Case(kind=kind, message_id=shown[0].message_id, scenario=shown[0].scenario, what=what)


class Expected:
    """Hold the final state of a scenario's messages, as the callbacks in order and alone left it.

    >>> states = [{"status": "plan", "n": 1}, {"status": "sent", "n": 2}, {"status": "delivered", "n": 3}]
    >>> baseline = Baseline(
    ...     scenario="delivered",
    ...     states=(states[-1], states[-1]),
    ...     messages=(("171", "+6591234567"), ("173", "+6591234568")),
    ...     after=(None, *states),
    ... )
    >>> [dotted(path) for path in Expected(baseline).counters]
    ['n']
    """

    def __init__(self, baseline: Baseline) -> None:
        about = [_message(message_id, to) for message_id, to in baseline.messages]
        found = [_leaves(state, message) for state, message in zip(baseline.states, about, strict=True)]
        #: Whether the app knows a message of this scenario at all.
        self.known = any(state is not None for state in baseline.states)
        #: The value of each leaf that most of the messages have.
        self.leaves: dict[Path, Any] = {}
        #: The leaves that differ in each message, such as row numbers.
        self.noise: set[Path] = set()
        #: The values of the leaves of which it is not known whether they are noise, or a bug that comes and goes.
        self.unclear: dict[Path, list[Any]] = {}
        for path in {path for leaves in found for path in leaves}:
            values = Counter(leaves.get(path, MISSING) for leaves in found).most_common()
            if len(values) > _TWO:
                self.noise.add(path)
                continue
            if len(values) == _TWO and not any(names(value, status) for value, _ in values for status in Status):
                self.unclear[path] = [value for value, _ in values]
            if values[0][0] is not MISSING:
                self.leaves[path] = values[0][0]
        #: The leaves that only count callbacks: they rise by 1 with each.
        self.counters = _counters([_leaves(state, about[0]) for state in baseline.after])


def _counters(after: Sequence[State]) -> set[Path]:
    changes = [(one, other) for one, other in pairwise(after) if one != other]
    if len(changes) < _COUNTED:
        return set()
    return {
        path
        for path, value in after[-1].items()
        if type(value) is int and all(other.get(path) == (one.get(path) or 0) + 1 for one, other in changes)
    }


def effect_case(entries: Sequence[Entry], state: Any, expected: Expected | None, effects: Meaning) -> Case | None:
    """Return the case of a message whose state is not what its acknowledged callbacks must have left; None if it is.

    >>> entry = Entry("7", "+6591234567", "verified", 0, 1, "verified", 0, 1.0, 1.0, 0.1, "acknowledged")
    >>> print(effect_case([entry], {"credits": 2}, None, Meaning.of({"credits": "verified"})))
    7 (verified): doubled: credits happened 2 times, expected 1
    """
    first = entries[0]
    acknowledged = {entry.step: entry for entry in entries if entry.outcome == "acknowledged" and not entry.fault}
    maybe = {entry.step: entry for entry in entries if entry.step not in acknowledged and entry.outcome not in _UNSEEN}

    def case(kind: Kind, what: str) -> Case:
        return Case(kind=kind, message_id=first.message_id, scenario=first.scenario, what=what)

    if not acknowledged:
        return None
    sure = [entry.status for entry in acknowledged.values()]
    possible = [*sure, *(entry.status for entry in maybe.values())]
    if state is None and (expected is None or expected.known):
        return case("lost", f"{', '.join(sure)} acknowledged, and the app does not know the message")
    for effect, causes in effects.effects.items():
        count = count_of(part_of(state, effect), effect)
        least, most = times(causes, sure), times(causes, possible)
        if count < least:
            return case("lost", f"{effect} happened {_times(count)}, expected {least}")
        if count > most:
            return case("doubled", f"{effect} happened {_times(count)}, expected {most}")
    if expected is None or maybe or len(acknowledged) < _steps(entries):
        return None
    leaves = _leaves(state, _message(first.message_id, first.to))
    wrong = differing(expected.leaves, leaves) - expected.noise - {*expected.unclear}
    found = [
        _leaf_case(path, expected, leaves, entries)
        for path in sorted(wrong)
        if path[:1] not in {(effect,) for effect in effects.effects}
    ]
    kinds: dict[Kind, str] = dict(reversed([each for each in found if each is not None]))
    return next((case(kind, kinds[kind]) for kind in ("doubled", "lost", "regressed") if kind in kinds), None)


def _steps(entries: Sequence[Entry]) -> int:
    """Return how many callbacks the message has, without duplicates."""
    duplicates = sum(1 for entry in entries if entry.copy)
    return entries[0].planned - duplicates


def _leaf_case(path: Path, expected: Expected, leaves: State, entries: Sequence[Entry]) -> tuple[Kind, str] | None:
    """Return the kind and the text for a leaf that differs; None if the leaf may differ."""
    wanted, got = expected.leaves.get(path, MISSING), leaves.get(path, MISSING)
    what = f"{dotted(path)} is {got!r}, expected {wanted!r}"
    counts = (*path[: path.index(EACH)], COUNT) if EACH in path else path
    if EACH in path and (counts in expected.counters or expected.leaves.get(counts) != leaves.get(counts)):
        return None  # the length of the list tells
    numbers = [0 if value is MISSING or value is None else value for value in (wanted, got)]
    if all(type(number) in {int, float} for number in numbers) and numbers[0] != numbers[1]:
        if numbers[1] < numbers[0]:
            return "lost", what
        return None if counts in expected.counters else ("doubled", what)
    if got in (MISSING, None, False, "") and wanted not in (MISSING, None, False, ""):
        return "lost", what
    return ("regressed" if _went_back(wanted, got, entries) else "lost"), what


def _went_back(wanted: Any, got: Any, entries: Sequence[Entry]) -> bool:
    """Tell whether a status that came later replaced the expected one; else the expected one never took effect."""
    reached = [entry.sent for entry in entries if names(wanted, entry.status)]
    shown = [entry.sent + entry.elapsed for entry in entries if names(got, entry.status)]
    return not reached or not shown or max(shown) > min(reached)


def _times(count: int) -> str:
    return "1 time" if count == 1 else f"{count} times"


def _message(message_id: str, to: str) -> Message:
    return Message(id=message_id, to=to)


def _leaves(state: Any, message: Message) -> State:
    return {} if state is None else state_of(Snapshot(message.id, plain(state)), message)


class Judge:
    """Read the states of messages after the load, a sample of them, and return the cases.

    An app may still work after its last answer. So the state of a suspect is read again, until `settle` seconds are
    over.
    """

    def __init__(self, probe: Probe, *, sample: float = 1.0, settle: float = SETTLE) -> None:
        if probe.observe is None:
            raise UsageError("nothing reads the state of a message", where="load", hint="give observe=…, or --observe")
        if not 0 < sample <= 1:
            raise UsageError(f"it is a number above 0, up to 1, not {sample!r}", where="observe_sample", hint="0.1")
        self._probe = probe
        self._sample = int(sample * (1 << 32))
        self._settle = settle
        self._expected: dict[str, Expected] = {}
        self._suspects: list[tuple[list[Entry], Case]] = []
        self._cases: list[Case] = []
        self._recognised: set[str] = set()
        self._last: Any = None
        self.effects = probe.meaning.effects
        self.observed = 0
        self.problems: list[str] = []
        self.remarks = [f"effects are judged for a sample of {sample:g} of the messages"] if sample < 1 else []

    def expect(self, readers: Iterable[LedgerReader]) -> None:
        """Take the expected states from the ledgers."""
        for reader in readers:
            for _ in reader:
                pass
            for baseline in reader.baselines:
                self._expected.setdefault(baseline.scenario, Expected(baseline))
        for name, expected in self._expected.items():
            for path, values in expected.unclear.items():
                if path[0] not in self.effects:
                    shown = " or ".join(map(repr, values))
                    self.problems.append(
                        f"{dotted(path)} cannot be judged: it was {shown} for messages of {name} that had the same "
                        f"callbacks; declare it as an effect, or leave it out of what observe returns"
                    )
        if self._expected:
            return
        lacks = "the ledgers have no expected states, because the load was not observed"
        if self.effects:
            self.remarks.append(f"{lacks}: only the effects are judged")
        else:
            self.problems.append(f"{lacks}, and no effect is declared: the states have nothing to be compared with")

    async def judge(self, entries: list[Entry]) -> None:
        """Read the state of a message, if it belongs to the sample, and keep it as a suspect if it is wrong."""
        if zlib.crc32(entries[0].message_id.encode()) >= self._sample:
            return
        self.observed += 1
        case = await self._case(entries)
        if case is None:
            return
        if len(self._suspects) < _SUSPECTS:
            self._suspects.append((entries, case))
        else:
            self._cases.append(case)

    async def cases(self) -> list[Case]:
        """Return the cases, after the app had time to end its work."""
        give_up = stopwatch() + self._settle
        while self._suspects and stopwatch() < give_up:
            await sleep(_LOOK)
            again = [(entries, await self._case(entries)) for entries, _ in self._suspects]
            self._suspects = [(entries, case) for entries, case in again if case is not None]
        self._check_recognised()
        return [*(case for _, case in self._suspects), *self._cases]

    async def _case(self, entries: Sequence[Entry]) -> Case | None:
        state = await self._probe.look(ASYNC, entries[0].message_id)
        if state is not None:
            self._last = state
            self._recognised |= {effect for effect in self.effects if part_of(state, effect) is not MISSING}
        return effect_case(entries, state, self._expected.get(entries[0].scenario), self._probe.meaning)

    def _check_recognised(self) -> None:
        """Raise `UsageError` for an effect that no state has."""
        self._probe.check_seen()
        if not self.observed:
            self.problems.append("no message was observed: the sample is too small")
        for effect in self.effects:
            if effect not in self._recognised and self._last is not None:
                meant = did_you_mean(effect, parts_of(self._last))
                hint = f"{meant} Name it as it is in the state that observe returns".strip()
                what = f"no state had {effect!r}, but for example {self._last!r:.100}"
                raise UsageError(what, where="effects", hint=hint)
