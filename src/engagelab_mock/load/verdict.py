"""Judge messages by their deliveries and by their state in the app: lost, doubled, regressed, or not known."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from engagelab_mock.delivery.io import ASYNC
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.probe import Probe
from engagelab_mock.errors import ProbeFailed, UsageError, did_you_mean
from engagelab_mock.eventloop import sleep, stopwatch
from engagelab_mock.explore.state import MISSING, Path, count_of, part_of, parts_of
from engagelab_mock.load.expected import Expected, described, learn, named
from engagelab_mock.load.ledger import Baseline, Entry, LedgerReader
from engagelab_mock.load.summary import Case, Kind
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.protocol.status import Meaning, times

#: How long an app may still work after the last answer, in seconds.
SETTLE = 5.0
#: How often the states of suspects are read again, in seconds.
_LOOK = 0.2
#: How many suspects are read again; of more, no number of repetitions makes a clean run.
_SUSPECTS = 20_000
#: After so many states in a row that could not be read, no more are read.
_FAILURES = 5
#: The kinds of differences, the one that says most first: a message has one case.
_ORDER: tuple[Kind, ...] = ("doubled", "lost", "regressed", "wrong", "unclear")

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
    if expected is None or not comparable(entries):
        return None
    found = [each for each in expected.differences(state, entries) if each.path[:1] not in _leaves_of(effects)]
    return next((case(each.kind, each.what) for kind in _ORDER for each in found if each.kind == kind), None)


def comparable(entries: Sequence[Entry]) -> bool:
    """Tell whether it is known which callbacks of a message took effect, so that its state can be compared.

    >>> comparable([Entry("7", "+6591234567", "sent", 0, 2, "plan", 0, 1.0, 1.0, 0.1, "acknowledged")])
    False
    """
    acknowledged = {entry.step for entry in entries if entry.outcome == "acknowledged" and not entry.fault}
    if any(entry.step not in acknowledged and entry.outcome not in _UNSEEN for entry in entries):
        return False
    # All its callbacks, without duplicates.
    return len(acknowledged) >= entries[0].planned - sum(1 for entry in entries if entry.copy)


def _leaves_of(effects: Meaning) -> set[Path]:
    return {(effect,) for effect in effects.effects}


def _times(count: int) -> str:
    return "1 time" if count == 1 else f"{count} times"


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
        #: How long the app may still work after the last answer, in seconds. It can be shortened meanwhile.
        self.patience = settle
        self._expected: dict[str, Expected] = {}
        self._suspects: list[tuple[list[Entry], Case]] = []
        #: The cases of messages that are not suspects any more, each with its place in the order of the load.
        self._cases: list[tuple[tuple[float, str], Case]] = []
        #: The ids of the messages that had a case when the app had settled.
        self._named: set[str] = set()
        self._recognised: set[str] = set()
        self._last: Any = None
        #: How many states in a row could not be read, how many messages were not observed therefore, and why.
        self._failures = self._unread = 0
        self._failure = ""
        #: How many messages had a callback of which it is not known whether it took effect.
        self._open = 0
        #: The scenarios of messages for which the ledgers have no expected state.
        self._unlearned: set[str] = set()
        #: Whether the app is known to work after its answers.
        self.late = False
        self.effects = probe.meaning.effects
        #: How many messages of the load were observed, and how many that were delivered before it.
        self.observed = self.first = 0
        self.problems: list[str] = []
        self.remarks = [f"effects are judged for a sample of {sample:g} of the messages"] if sample < 1 else []

    def expect(self, readers: Iterable[LedgerReader]) -> None:
        """Take the expected states from the ledgers."""
        baselines: list[Baseline] = []
        duplicates = False
        for reader in readers:
            duplicates = duplicates or reader.header.duplicates > 0
            for _ in reader:
                pass
            baselines += reader.baselines
        self._expected = learn(baselines)
        for expected in self._expected.values():
            self._check(expected)
        for baseline in baselines:
            self._cases += [((-1.0, case.message_id), case) for case in self._first_cases(baseline)]
        self._say_unjudged(duplicates=duplicates)
        if self._expected:
            return
        lacks = "the ledgers have no expected states, because the load was not observed"
        if self.effects and not self.problems:
            self.remarks.append(f"{lacks}: only the effects are judged")
        elif not self.problems:
            self.problems.append(f"{lacks}, and no effect is declared: the states have nothing to be compared with")

    def _check(self, expected: Expected) -> None:
        """Enter as problems what cannot be expected of the messages of a scenario."""
        name = expected.scenario
        if expected.gone:
            self.problems.append(
                f"the app had a state for the first messages of {name}, and has none after the load: "
                f"a state that is removed so early cannot be judged"
            )
        for path, values in expected.unclear.items():
            if path[:1] not in {(effect,) for effect in self.effects}:
                self.problems.append(
                    f"{described(path, values)} for messages of {name} that had the same callbacks; "
                    f"declare it as an effect, or leave it out of what observe returns"
                )
        if expected.known and not expected.judged and not expected.unclear and not self.effects:
            what = f"nothing can be expected of messages of {name}: all values in their states differ"
            self.problems.append(f"{what}; let observe return the status as a value")

    def _first_cases(self, baseline: Baseline) -> Iterable[Case]:
        """Yield the cases of the messages that were delivered before the load."""
        expected = self._expected[baseline.scenario]
        steps = CATALOGUE[baseline.scenario].statuses if baseline.scenario in CATALOGUE else []
        if expected.gone or not expected.known or not steps:
            return
        self.first += len(baseline.states)
        for state, (message_id, to) in zip(baseline.states, baseline.messages, strict=True):
            entries = [
                Entry(message_id, to, baseline.scenario, step, len(steps), status, 0, step, step, 0.1, "acknowledged")
                for step, status in enumerate(steps)
            ]
            case = effect_case(entries, state, expected, self._probe.meaning)
            if case is not None and case.kind != "unclear":
                what = f"{case.what}; its callbacks came before the load, in order and alone"
                yield Case(kind=case.kind, message_id=message_id, scenario=case.scenario, what=what)

    def _say_unjudged(self, *, duplicates: bool) -> None:
        """Enter as remarks what is not judged."""
        unknown = [name for name, expected in self._expected.items() if not expected.known and not expected.gone]
        if unknown:
            self.remarks.append(f"not judged: messages of {', '.join(unknown)}, for which the app has no state")
        noise = self._named_leaves(path for each in self._expected.values() for path in each.noise)
        if noise:
            self.remarks.append(f"not judged: {noise}, because the values differ in each message")
        counters = self._named_leaves(path for each in self._expected.values() for path in each.counters)
        if counters and duplicates:
            self.remarks.append(f"not judged: whether {counters} is too high, because it rises with each callback")

    def _named_leaves(self, paths: Iterable[Path]) -> str:
        return ", ".join(sorted({named(path) for path in paths if path[:1] not in {(each,) for each in self.effects}}))

    async def judge(self, entries: list[Entry]) -> None:
        """Read the state of a message, if it belongs to the sample, and keep it as a suspect if it is wrong."""
        if not self._sampled(entries):
            return
        if self._failures >= _FAILURES:
            self._unread += 1
            return
        self.observed += 1
        acknowledged = any(entry.outcome == "acknowledged" for entry in entries)
        if acknowledged and entries[0].scenario not in self._expected:
            self._unlearned.add(entries[0].scenario)
        self._open += acknowledged and not comparable(entries)
        case = await self._case(entries)
        if case is None:
            return
        if len(self._suspects) < _SUSPECTS:
            self._suspects.append((entries, case))
        else:
            self._cases.append((_place(entries), case))

    async def judge_again(self, entries: list[Entry]) -> None:
        """Read the state of a message again that was right: an app that works late can have an effect a second time."""
        if not self._sampled(entries) or entries[0].message_id in self._named or self._failures >= _FAILURES:
            return
        case = await self._case(entries)
        if case is not None:
            self._cases.append((_place(entries), case))

    def _sampled(self, entries: Sequence[Entry]) -> bool:
        return zlib.crc32(entries[0].message_id.encode()) < self._sample

    async def settle(self) -> None:
        """Give the app time to end its work: read the states of suspects again."""
        started = stopwatch()
        while self._suspects and stopwatch() < started + self.patience:
            await sleep(_LOOK)
            again = [(entries, await self._case(entries)) for entries, _ in self._suspects]
            healed = [1 for (_, before), (_, case) in zip(self._suspects, again, strict=True) if case is None]
            self.late = self.late or bool(healed)
            self._suspects = [(entries, case) for entries, case in again if case is not None]
        if self.late:
            # Work that comes twice may need as long again.
            await sleep(min(self.patience, stopwatch() - started))
        self._cases += [(_place(entries), case) for entries, case in self._suspects]
        self._named = {case.message_id for _, case in self._cases}

    def cases(self) -> list[Case]:
        """Return the cases in the order of the load, and complete the problems and remarks."""
        self._check_recognised()
        # The same ledgers give the same report, whichever state was read first.
        cases = [case for _, case in sorted(self._cases, key=lambda each: each[0])]
        unclear = [case for case in cases if case.kind == "unclear"]
        if unclear:
            example = f"{unclear[0].message_id}: {unclear[0].what}"
            self.problems.append(f"{_messages(len(unclear))} cannot be judged, such as {example}")
        if self._unread:
            self.problems.append(f"{_messages(self._unread)} more were not observed: {self._failure}")
        if self._open:
            why = "a callback was not acknowledged, had a fault, or was not sent"
            self.remarks.append(f"not judged: the final state of {_messages(self._open)}, because {why}")
        if self._expected and self._unlearned:
            what = f"the ledgers have no expected states for messages of {', '.join(sorted(self._unlearned))}"
            (self.remarks if self.effects else self.problems).append(what)
        return cases

    async def _case(self, entries: Sequence[Entry]) -> Case | None:
        first = entries[0]
        try:
            state = await self._probe.look(ASYNC, first.message_id)
        except ProbeFailed as error:
            self._failures += 1
            self._failure = f"{error.where}: {error.what}"
            what = f"its state could not be read: {self._failure}"
            return Case(kind="unclear", message_id=first.message_id, scenario=first.scenario, what=what)
        self._failures = 0
        if state is not None:
            self._last = state
            self._recognised |= {effect for effect in self.effects if part_of(state, effect) is not MISSING}
        return effect_case(entries, state, self._expected.get(first.scenario), self._probe.meaning)

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


def _place(entries: Sequence[Entry]) -> tuple[float, str]:
    return entries[0].intended, entries[0].message_id


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"
