"""The ledger: a file for each worker, with a line for each delivery, that shows what the worker sent and when.

It is JSON Lines. The first line is a `Header`. Each delivery is an array, because there are many: see `Entry`. The last
line is an `End`. A ledger without it is incomplete: its worker was killed, or still works. Lines are appended in the
order in which the deliveries ended, so a reader can follow a ledger while it is written.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from engagelab_mock.errors import EngageLabMockError, UsageError

#: The version of the format. The first line of a ledger has it.
VERSION = 1
#: How many entries are kept in memory before they are written, unless `flush` is called before.
_BUFFER = 256
#: How many bytes are read at once.
_PART = 1 << 16

#: Why a worker ended: all is sent, Ctrl-C, or an error.
Reason = Literal["finished", "interrupted", "failed"]


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="engagelab-ledger"):
    """Hold the first line of a ledger: the worker, and its share of the load.

    >>> Header(run="a", worker=1, workers=4, url="http://127.0.0.1:5000/", started=0.0).version
    1

    Ledgers with the same `run` are parts of one run. `started` is in Unix seconds; the times of the deliveries are
    counted from it.
    """

    version: int = VERSION
    #: The same for all workers of a run.
    run: str
    worker: int = 0
    workers: int = 1
    url: str
    started: float
    seed: str = ""
    #: The planned seconds.
    duration: float = 0.0
    #: The share of each scenario.
    mix: Mapping[str, float] = {}
    duplicates: float = 0.0
    reorder: float = 0.0
    #: The probability of each fault.
    faults: Mapping[str, float] = {}
    #: Seconds for the receiver's whole answer; None: no limit.
    limit: float | None = None
    #: The names of the values in the array of a delivery.
    columns: tuple[str, ...] = ()


class Baseline(msgspec.Struct, frozen=True, kw_only=True, tag="baseline"):
    """Hold the final states of some messages of a scenario that were delivered in order and alone, before the load.

    >>> Baseline(scenario="verified", states=({"status": "verified"},)).scenario
    'verified'
    """

    scenario: str
    #: The states as `observe` returned them, each of another message.
    states: tuple[Any, ...]
    #: The messages: their ids and recipients, which the states may contain.
    messages: tuple[tuple[str, str], ...] = ()
    #: The states of the first message before its first callback and after each of them.
    after: tuple[Any, ...] = ()


class Stage(msgspec.Struct, frozen=True, kw_only=True, tag="stage"):
    """Hold one rate of a load that seeks the rate at which the receiver breaks.

    >>> Stage(rate=500, start=0, seconds=5, made=2500).held
    True
    """

    rate: float
    #: When it began and how long it was planned, in seconds.
    start: float
    seconds: float
    made: int
    #: How many deliveries were not acknowledged in time.
    failed: int = 0
    #: Why the receiver did not hold the rate; empty if it held it.
    broke: str = ""
    #: Whether the generator, not the receiver, could not keep the rate.
    generator: bool = False

    @property
    def held(self) -> bool:
        """Tell whether the receiver held the rate."""
        return not self.broke


class Entry(msgspec.Struct, array_like=True, gc=False):
    """Hold one delivery; its line is an array of these values, in this order.

    >>> entry = Entry("7", "+6591234567", "verified", 3, 4, "verified", 0, 1.0, 1.001, 0.02, "acknowledged")
    >>> round(entry.latency, 3), round(entry.lateness, 3)
    (0.021, 0.001)

    `intended` and `sent` are seconds since `Header.started`; `elapsed` is the seconds from `sent` to the last byte of
    the answer, or to the failure.
    """

    message_id: str
    to: str
    scenario: str
    #: The place of the callback in its scenario, from 0.
    step: int
    #: How many deliveries the worker planned for this message, duplicates included.
    planned: int
    status: str
    #: 0, or the number of the duplicate.
    copy: int
    intended: float
    sent: float
    elapsed: float
    #: An `Outcome`.
    outcome: str
    #: The HTTP status of the answer; 0 without an answer.
    answer: int = 0
    #: The fault that was applied, or "".
    fault: str = ""

    @property
    def latency(self) -> float:
        """Return the seconds from the intended start to the end of the answer."""
        return self.sent - self.intended + self.elapsed

    @property
    def lateness(self) -> float:
        """Return how many seconds late the worker started the delivery."""
        return max(0.0, self.sent - self.intended)


class End(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """Hold the last line of a ledger: the counts, with which a reader checks that no line is missing.

    >>> End(reason="finished", deliveries=4, asked=4, outcomes={"acknowledged": 4}, elapsed=2.5).reason
    'finished'
    """

    reason: Reason
    #: How many deliveries have a line.
    deliveries: int
    #: How many deliveries the plan had until the end; more than `deliveries` if the worker could not keep the rate.
    asked: int
    outcomes: Mapping[str, int] = {}
    elapsed: float = 0.0
    #: The last reason of each outcome without an answer.
    reasons: Mapping[str, str] = {}
    #: The error, if the worker failed.
    error: str = ""


_encoder = msgspec.json.Encoder()
_outcome = attrgetter("outcome")
_entry = msgspec.json.Decoder(Entry)
_other = msgspec.json.Decoder(Header | Baseline | Stage | End)


class LedgerWriter:
    """Write a new ledger. Entries are buffered; `flush` writes them to the file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory) / "run.ledger"
    ...     with LedgerWriter(path, Header(run="a", url="http://127.0.0.1:5000/", started=0.0)) as ledger:
    ...         ledger.add(Entry("7", "+6591234567", "sent", 0, 1, "sent", 0, 0.0, 0.0, 0.01, "acknowledged"))
    ...         ledger.end("finished", asked=1)
    ...     reader = LedgerReader(path)
    ...     [entry.status for entry in reader], reader.complete
    (['sent'], True)

    Raises `UsageError` if the file exists or cannot be created, and `EngageLabMockError` if it cannot be written, for
    example because the disk is full. Without `end`, the ledger stays incomplete.
    """

    def __init__(self, path: str | os.PathLike[str], header: Header) -> None:
        self.path = Path(path)
        try:
            # Only this user may read it: it has recipients.
            number = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise UsageError(f"the ledger cannot be created: {error.strerror}", where=str(self.path)) from None
        self._file = os.fdopen(number, "wb", buffering=0)
        if os.fstat(number).st_size:
            self._file.close()
            hint = "a ledger is never overwritten: choose another name, or delete it"
            raise UsageError("the file exists", where=str(self.path), hint=hint)
        self._entries: list[Entry] = []
        self._outcomes: Counter[str] = Counter()
        try:
            self.write(msgspec.structs.replace(header, columns=Entry.__struct_fields__))
        except EngageLabMockError:
            self._file.close()
            raise

    def add(self, entry: Entry) -> None:
        """Add a delivery that has ended."""
        # Encoding and counting many at once takes half the time.
        self._entries.append(entry)
        if len(self._entries) >= _BUFFER:
            self.flush()

    def write(self, line: Header | Baseline | Stage | End) -> None:
        """Write a line that is not a delivery, and everything before it."""
        self.flush()
        self._write(_encoder.encode_lines([line]))

    def end(
        self,
        reason: Reason,
        *,
        asked: int,
        elapsed: float = 0.0,
        reasons: Mapping[str, str] | None = None,
        error: str = "",
    ) -> None:
        """Write the last line."""
        self.flush()
        self.write(
            End(
                reason=reason,
                deliveries=self._outcomes.total(),
                asked=asked,
                outcomes=dict(self._outcomes),
                elapsed=elapsed,
                reasons=reasons or {},
                error=error,
            )
        )

    def flush(self) -> None:
        """Write the buffered lines to the file."""
        # If they cannot be written, `close` would write them again, and fail again.
        entries, self._entries = self._entries, []
        self._outcomes.update(map(_outcome, entries))
        self._write(_encoder.encode_lines(entries))

    def _write(self, lines: bytes) -> None:
        try:
            while lines:
                lines = lines[self._file.write(lines) :]
        except OSError as error:
            raise EngageLabMockError(
                f"the ledger cannot be written: {error.strerror}",
                where=str(self.path),
                hint="the run is incomplete; choose a file on a disk with room: a delivery takes about 150 bytes",
            ) from None

    def close(self) -> None:
        """Write the buffered lines, and close the file."""
        try:
            self.flush()
        finally:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class LedgerReader:
    """Read a ledger: iterate over its entries. After that, `end`, `baselines`, `stages` and `problem` are known.

    The entries are read as they are used, so the size of the ledger does not matter. A ledger can be read while it is
    written: it is incomplete then. Raises `UsageError` if it cannot be read, or is not a ledger.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.baselines: list[Baseline] = []
        self.stages: list[Stage] = []
        self.end: End | None = None
        #: Why the ledger is incomplete; empty if it is complete.
        self.problem = "it has no end marker: its worker was killed, or it still works"
        self.header = self._read_header()

    @property
    def complete(self) -> bool:
        """Tell whether the worker ended the ledger, and no line is missing. Iterate over the entries before."""
        return not self.problem

    def __iter__(self) -> Iterator[Entry]:
        count, number = 0, 1
        self.baselines, self.stages, self.end = [], [], None
        for number, line in self._lines():
            if number == 1:
                continue
            if self.end is not None:
                self.problem = f"line {number} follows the end marker"
                return
            if line.startswith(b"["):
                count += 1
                yield self._decode(_entry, line, number)
                continue
            other = self._decode(_other, line, number)
            if isinstance(other, Baseline):
                self.baselines.append(other)
            elif isinstance(other, Stage):
                self.stages.append(other)
            elif isinstance(other, End):
                self.end = other
            else:
                raise UsageError("it has a second header", where=f"{self.path}, line {number}", hint=_ONE_RUN)
        if self.end is not None:
            self.problem = self._missing(self.end, count)

    def _missing(self, end: End, count: int) -> str:
        if end.deliveries != count:
            return f"it has {count} deliveries, and its end marker counts {end.deliveries}"
        if end.reason == "failed":
            return f"its worker failed: {end.error}"
        return "it was interrupted" if end.reason == "interrupted" else ""

    def _read_header(self) -> Header:
        line = next((line for _, line in self._lines()), b"")
        try:
            known = msgspec.json.decode(line)
            version = known["version"] if known["type"] == "engagelab-ledger" else None
        except (msgspec.MsgspecError, UnicodeError, LookupError, TypeError):
            version = None
        if version is None:
            hint = "give the file that `load --ledger` wrote"
            raise UsageError("this is not a ledger", where=f"{self.path}, line 1", hint=hint)
        if version != VERSION:
            hint = f"this version of engagelab-mock reads version {VERSION}: update engagelab-mock"
            raise UsageError(f"the ledger has version {version!r:.20}", where=f"{self.path}, line 1", hint=hint)
        header = self._decode(_other, line, 1)
        assert isinstance(header, Header), "its type was checked"
        return header

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the complete lines with their numbers. The last line may be half written."""
        try:
            with self.path.open("rb") as file:
                rest, number = b"", 0
                while part := file.read(_PART):
                    *lines, rest = (rest + part).split(b"\n")
                    for line in lines:
                        number += 1
                        yield number, line
        except OSError as error:
            raise UsageError(f"the ledger cannot be read: {error.strerror}", where=str(self.path)) from None

    def _decode(self, decoder: msgspec.json.Decoder[Any], line: bytes, number: int) -> Any:
        try:
            return decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeError) as error:
            where = f"{self.path}, line {number}"
            raise UsageError(f"the line is damaged: {error}", where=where, hint=_ONE_RUN) from None


_ONE_RUN = "a ledger holds one run of one worker, and is not edited"
