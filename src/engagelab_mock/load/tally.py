"""Sum up ledgers, of any number of workers, in one pass in the order of time."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge

import msgspec

from engagelab_mock.errors import UsageError
from engagelab_mock.load.histogram import Histogram
from engagelab_mock.load.ledger import Entry, Header, LedgerReader
from engagelab_mock.load.observing import Observation
from engagelab_mock.load.summary import KINDS, Case, Kind, Latency, LoadSummary, Second
from engagelab_mock.load.verdict import answer_case

#: How many cases of each kind are kept; all are counted.
_KEPT = 1000
#: How many seconds have a histogram at the same time. A delivery that takes longer is not in the one of its second.
_OPEN_SECONDS = 120
#: The greatest p99 of the lateness of a generator that keeps its rate, in seconds.
MAX_LATENESS = 1.0


class _Second:
    """Count what happened in one second."""

    def __init__(self) -> None:
        self.asked = self.sent = self.acknowledged = self.failed = 0
        self.lateness = 0.0
        self._histogram: Histogram | None = None
        self._latency: Latency | None = None

    def record(self, seconds: float) -> None:
        if self._latency is None:
            self._histogram = self._histogram or Histogram(2)
            self._histogram.record(seconds)

    def close(self) -> Latency:
        """Drop the histogram, and return its percentiles."""
        if self._latency is None:
            self._latency = Latency() if self._histogram is None else self._histogram.latency
            self._histogram = None
        return self._latency


class Tally:
    """Count the deliveries of a run, by outcome and by second."""

    def __init__(self, headers: Sequence[Header]) -> None:
        self._headers = headers
        self.started = min(header.started for header in headers)
        self.elapsed = 0.0
        self.made = 0
        self.outcomes: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        self._latency, self._lateness = Histogram(), Histogram()
        self._seconds: defaultdict[int, _Second] = defaultdict(_Second)
        self._closed = 0

    def add(self, entry: Entry, offset: float) -> None:
        """Count a delivery; its worker started `offset` seconds after the first."""
        intended, sent = entry.intended + offset, entry.sent + offset
        ended, lateness = sent + entry.elapsed, entry.lateness
        self.made += 1
        self.elapsed = max(self.elapsed, ended)
        self._lateness.record(lateness)
        acknowledged = entry.outcome == "acknowledged"
        planned, begun, done = (self._seconds[int(moment)] for moment in (intended, sent, ended))
        planned.asked += 1
        begun.sent += 1
        begun.lateness = max(begun.lateness, lateness)
        done.acknowledged += acknowledged
        done.failed += not acknowledged
        if entry.answer:
            self.answers[entry.answer] += 1
        if entry.fault:
            self.faults[entry.fault] += 1
            return
        self.outcomes[entry.outcome] += 1
        self._latency.record(entry.latency)
        planned.record(entry.latency)
        while self._closed < ended - _OPEN_SECONDS:
            if self._closed in self._seconds:
                self._seconds[self._closed].close()
            self._closed += 1

    def seconds(self) -> Iterator[Second]:
        """Yield every second of the run."""
        waiting = 0
        for at in range(max(self._seconds, default=-1) + 1):
            second = self._seconds.get(at) or _Second()
            waiting += second.asked - second.acknowledged - second.failed
            yield Second(
                at=at,
                asked=second.asked,
                sent=second.sent,
                acknowledged=second.acknowledged,
                failed=second.failed,
                waiting=max(0, waiting),
                latency=second.close(),
                lateness=round(second.lateness, 6),
            )

    def summary(self) -> LoadSummary:
        """Return the numbers as a summary, without a verdict."""
        first = self._headers[0]
        return LoadSummary(
            url=first.url,
            run=first.run,
            workers=len(self._headers),
            started=self.started,
            duration=max(header.duration for header in self._headers),
            elapsed=round(self.elapsed, 6),
            mix=first.mix,
            seed=first.seed,
            limit=first.limit,
            made=self.made,
            outcomes=dict(self.outcomes.most_common()),
            faults=dict(self.faults.most_common()),
            answers=dict(self.answers.most_common()),
            latency=self._latency.latency,
            lateness=self._lateness.latency,
            seconds=tuple(self.seconds()),
        )


class _Run:
    """Read the ledgers of a run in the order in which the deliveries ended, message by message."""

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        if not paths:
            raise UsageError("no ledger was given", where="load report", hint="give the files that `load` wrote")
        self.readers = [LedgerReader(path) for path in paths]
        self.headers = [reader.header for reader in self.readers]
        self.tally = Tally(self.headers)
        self.messages = 0
        self._open: dict[str, list[Entry]] = {}

    def __iter__(self) -> Iterator[list[Entry]]:
        """Yield the deliveries of each message, once all have ended; at last those of messages that lack some."""
        started = self.tally.started
        timed = [self._timed(reader, reader.header.started - started) for reader in self.readers]
        for _, offset, entry in merge(*timed, key=lambda each: each[0]):
            self.tally.add(entry, offset)
            if entry.planned == 1:
                yield [entry]
                continue
            entries = self._open.setdefault(entry.message_id, [])
            entries.append(entry)
            if len(entries) >= entry.planned:
                yield self._open.pop(entry.message_id)
        self.unfinished = len(self._open)
        while self._open:
            yield self._open.popitem()[1]

    @staticmethod
    def _timed(reader: LedgerReader, offset: float) -> Iterator[tuple[float, float, Entry]]:
        for entry in reader:
            yield offset + entry.sent + entry.elapsed, offset, entry

    def problems(self) -> list[str]:
        """Return why the ledgers do not show the whole run."""
        found = [f"{reader.path}: {reader.problem}" for reader in self.readers if not reader.complete]
        for (run, _), seen in self._workers().items():
            twice = [str(worker) for worker, count in seen.items() if count > 1]
            if twice:
                found.append(f"run {run}: there are two ledgers of worker {', '.join(twice)}")
        return found

    def absent(self) -> list[str]:
        """Return which workers of the runs have no ledger."""
        found = []
        for (run, total), seen in self._workers().items():
            lacking = [str(worker) for worker in range(total) if worker not in seen]
            if lacking:
                found.append(f"run {run}: of its {total} workers, {', '.join(lacking)} have no ledger here")
        return found

    def summary(self, max_lateness: float) -> LoadSummary:
        """Return the numbers, and whether the generator kept the rate. Iterate over the messages before."""
        summary = self.tally.summary()
        ends = [reader.end for reader in self.readers if reader.end is not None]
        asked = sum(end.asked for end in ends) or summary.made
        stages = tuple(stage for reader in self.readers for stage in reader.stages)
        late = summary.lateness.p99 > max_lateness or summary.made < asked
        problems: tuple[str, ...] = ()
        # A worker that was killed has not told how many callbacks it had planned.
        if late and len(ends) == len(self.readers) and not any(stage.generator for stage in stages):
            problems = (
                f"the generator could not keep the rate: {summary.made} of {asked} callbacks were started, "
                f"p99 of their lateness is {summary.lateness.p99:.3g} s, and {max_lateness:g} s are allowed",
            )
        return msgspec.structs.replace(
            summary,
            asked=max(asked, summary.made),
            reasons={name: reason for end in ends for name, reason in end.reasons.items()},
            max_lateness=max_lateness,
            stages=stages,
            problems=problems,
            interrupted=any(end.reason == "interrupted" for end in ends),
        )

    def _workers(self) -> Mapping[tuple[str, int], Counter[int]]:
        """Count the ledgers of each worker, by run."""
        workers: defaultdict[tuple[str, int], Counter[int]] = defaultdict(Counter)
        for header in self.headers:
            workers[header.run, header.workers][header.worker] += 1
        return workers


class _Cases:
    """Count cases by kind, and keep the first of each kind."""

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self.kept: dict[Kind, list[Case]] = {kind: [] for kind in KINDS}

    def add(self, case: Case) -> None:
        """Count a case."""
        self.counts[case.kind] += 1
        if len(self.kept[case.kind]) < _KEPT:
            self.kept[case.kind].append(case)


async def summarise(
    paths: Sequence[str | os.PathLike[str]],
    *,
    observation: Observation | None = None,
    max_lateness: float = MAX_LATENESS,
    whole: bool = True,
) -> LoadSummary:
    """Return the summary of ledgers; with an observation, its judge has read the states of the messages in the app.

    With `whole`, the ledgers must be those of all workers, or the run is incomplete.
    Raises `UsageError` for a file that is not a ledger, and `ProbeFailed` if a state cannot be read.
    """
    run, cases = _Run(paths), _Cases()
    if observation is not None:
        observation.expect(LedgerReader(path) for path in paths)
    messages = 0
    for entries in run:
        messages += 1
        answered = answer_case(entries)
        if answered is not None:
            cases.add(answered)
        if observation is not None:
            await observation.observe(entries)
    problems, absent = run.problems(), run.absent()
    remarks = [] if whole else absent
    problems += absent if whole else []
    judge = None if observation is None else observation.judge
    if observation is None or judge is None:
        remarks.append("effects are not judged: nothing read the state of the messages after the load")
    else:
        for case in await observation.settle(lambda: _Run(paths)):
            cases.add(case)
        problems += judge.problems
        remarks += judge.remarks
    summary = run.summary(max_lateness)
    return msgspec.structs.replace(
        summary,
        messages=messages,
        observed=None if judge is None else judge.observed,
        first=0 if judge is None else judge.first,
        effects={} if judge is None else judge.effects,
        counts={kind: cases.counts[kind] for kind in KINDS if cases.counts[kind]},
        cases=tuple(case for kind in KINDS for case in cases.kept[kind]),
        problems=(*problems, *summary.problems),
        remarks=tuple(remarks),
    )
