"""A finding: the verdict of one check, the requests, answers and states it rests on, and its text."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence

import msgspec

from engagelab_mock.checks.check import Check, Judgement, Severity
from engagelab_mock.delivery.model import Attempt, Delivery, Response
from engagelab_mock.delivery.render import align, printable, shown_headers
from engagelab_mock.errors import EngageLabMockError
from engagelab_mock.explore.state import Snapshot
from engagelab_mock.protocol.callback import AS_CONFIGURED, decode
from engagelab_mock.protocol.signature import HEADER, TOLERANCE

#: The longest body that is shown in full in a curl line or a report, in bytes.
SHOWN_BYTES = 4096


class Exchange(msgspec.Struct, frozen=True):
    """Hold one request and its answer; `elapsed` is in seconds.

    `answer` is None if there was no answer. `error` says why the callback was not acknowledged.
    """

    method: str
    address: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    answer: Response | None
    outcome: str
    error: str
    elapsed: float
    #: The faults of the request, as text.
    faults: tuple[str, ...] = ()
    #: Whether the signature was genuine, so that `engagelab-mock sign` can make it again.
    genuine: bool = True
    #: Whether the app was called in process, so that no server listens at the address.
    in_process: bool = False

    @classmethod
    def of(cls, delivery: Delivery, attempt: Attempt) -> Exchange:
        """Make the exchange of an attempt."""
        return cls(
            method=attempt.method,
            address=delivery.receiver.address,
            headers=shown_headers(delivery, attempt),
            body=attempt.callback.body,
            answer=attempt.response,
            outcome=str(attempt.outcome),
            error=attempt.error,
            elapsed=attempt.elapsed,
            faults=tuple(str(fault) for fault in attempt.faults),
            genuine=all(fault.family != "signature" for fault in attempt.faults),
            in_process=delivery.receiver.transport.name != "http",
        )

    @property
    def sent(self) -> str:
        """Return the request as text; a long body is cut."""
        head = [f"{self.method} {self.address}", *(f"{name}: {value}" for name, value in self.headers)]
        return "\n".join([*map(printable, head), "", shown(self.body)]).rstrip()

    @property
    def received(self) -> str:
        """Return the answer as text, or the reason why there is no answer."""
        if self.answer is None:
            return f"(no answer: {printable(self.error)})"
        head = [f"{self.answer.status} {self.answer.reason}".rstrip()]
        head += [f"{name}: {value}" for name, value in self.answer.headers.pairs]
        return "\n".join([*map(printable, head), "", shown(self.answer.body)]).rstrip()

    @property
    def curl(self) -> str:
        """Return a command line that sends the request again, with a new signature if the signature was genuine.

        It is empty if no command line can do so: in process, and for a long body.
        """
        if self.in_process or len(self.body) > SHOWN_BYTES:
            return ""
        line = f"curl -sS -i -X {self.method}"
        for name, value in self.headers:
            if name == HEADER and self.genuine:
                line += f' -H "{HEADER}: $(engagelab-mock sign)"'
            elif value == AS_CONFIGURED:
                line += f' -H "{name}: $ENGAGELAB_MOCK_AUTHORIZATION"'
            else:
                line += f" -H {_quoted(f'{name}: {value}'.encode('latin-1', 'replace'))}"
        return f"{line} --data-binary {_quoted(self.body)} {shlex.quote(self.address)}"


class Change(msgspec.Struct, frozen=True):
    """Hold the state of a message before and after something was sent."""

    before: Snapshot
    after: Snapshot

    @property
    def changed(self) -> bool:
        """Tell whether the state has changed."""
        return self.before != self.after


def shown(body: bytes) -> str:
    """Return a body as text; a long body is cut.

    >>> shown(b"{}")
    '{}'
    """
    text = printable(body[:SHOWN_BYTES].decode("utf-8", "backslashreplace"))
    rest = len(body) - SHOWN_BYTES
    return text if rest <= 0 else f"{text}… ({rest} bytes more)"


def curl_note(exchanges: Sequence[Exchange]) -> str:
    """Say what a curl line needs to do the same as the check; empty if nothing.

    >>> curl_note([])
    ''
    """
    names = {name for exchange in exchanges for name, _ in exchange.headers}
    if HEADER not in names:
        return ""
    if all(exchange.genuine for exchange in exchanges):
        return "with ENGAGELAB_WEBHOOK_USERNAME and ENGAGELAB_WEBHOOK_SECRET set"
    return f"a signature that is written out is accepted for {TOLERANCE} s"


def _quoted(data: bytes) -> str:
    """Quote bytes for a shell: plain text as it is, other bytes as $'…' of bash and zsh."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if (text or not data) and text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_escaped(byte) for byte in data) + "'"


def _escaped(byte: int) -> str:
    character = chr(byte)
    if character in "'\\":
        return f"\\{character}"
    return character if " " <= character <= "~" else f"\\x{byte:02x}"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the verdict of a check, the reason, the requests and answers, and the states before and after.

    >>> from engagelab_mock import CHECKS
    >>> Finding(check=CHECKS["A01"], verdict=Judgement.PASS).fell_short
    False
    """

    check: Check
    verdict: Judgement
    #: The reason, in a sentence; empty if all is as expected.
    reason: str = ""
    #: What is not right, but is not a failure.
    warnings: tuple[str, ...] = ()
    #: Every request with its answer, in order.
    exchanges: tuple[Exchange, ...] = ()
    #: The states of the messages before and after, if they were read.
    changes: tuple[Change, ...] = ()
    #: Why the project does not let a failure count; None if it counts.
    suppressed: str | None = None
    #: How long the check took, in seconds.
    elapsed: float = 0.0
    #: The schedule that showed the failure, as a token; empty if the requests were not a schedule.
    token: str = ""

    @property
    def id(self) -> str:
        """Return the check's id."""
        return self.check.id

    @property
    def name(self) -> str:
        """Return the check's name."""
        return self.check.name

    @property
    def severity(self) -> Severity:
        """Return how bad it is when the check fails."""
        return self.check.severity

    @property
    def fell_short(self) -> bool:
        """Tell whether the check failed and the failure counts."""
        return self.verdict is Judgement.FAIL and self.suppressed is None

    @property
    def repro(self) -> str:
        """Return what sends it again: a command that plays the token, curl lines, or in process a line of Python."""
        lines = self._replay if self.token else [line for exchange in self.exchanges[-2:] if (line := exchange.curl)]
        if not lines:
            return f'engagelab.check(only=["{self.id}"])'
        note = curl_note([each for each in self.exchanges[-2:] if not each.in_process])
        return "\n".join([*lines, *([f"# {note}"] if note else [])])

    @property
    def _replay(self) -> list[str]:
        last = self.exchanges[-1] if self.exchanges else None
        if last is None or last.in_process:
            return [f"engagelab.play({self.token!r})"]
        return [f"engagelab-mock send --replay {shlex.quote(self.token)} --url {shlex.quote(last.address)}"]

    def __str__(self) -> str:
        return f"{self.id} {self.name}: {self.verdict}{f', {self.reason}' if self.reason else ''}"


#: How many exchanges are shown in full, from the end.
_SHOWN = 3


def in_full(finding: Finding) -> str:
    """Return a finding as text, with all its evidence.

    >>> from engagelab_mock import CHECKS
    >>> from engagelab_mock.checks.check import Judgement
    >>> print(in_full(Finding(check=CHECKS["A01"], verdict=Judgement.FAIL, reason="answered 401")).splitlines()[0])
    A01 ping-empty (blocker): answered 401
    """
    check = finding.check
    lines = [f"{check.id} {check.name} ({check.severity}): {finding.reason}"]
    lines += [f"  expected: {check.expected}", *_wrapped(check.why)]
    hidden = len(finding.exchanges) - _SHOWN
    if hidden > 0:
        lines.append(f"  … {hidden} exchanges before these")
    for exchange in finding.exchanges[-_SHOWN:]:
        lines += exchange_lines(exchange)
    for change in finding.changes[-1:]:
        lines += [f"  state of {change.before.message_id} before: {change.before!s:.500}"]
        lines += [f"  {'and after:':>{len(change.before.message_id) + 18}} {change.after!s:.500}"]
    lines += [f"  fix: {check.fix.text}"]
    if finding.repro:
        lines += ["  again:", *(f"    {line}" for line in finding.repro.splitlines())]
    return "\n".join(lines)


def exchanges_table(findings: Sequence[Finding], most: int) -> list[str]:
    """Return the last requests of the checks that failed, or of all if none did, one per line.

    >>> exchanges_table([], 100)
    []
    """
    chosen = [finding for finding in findings if finding.fell_short] or findings
    made = [(finding.id, exchange) for finding in chosen for exchange in finding.exchanges]
    if not made:
        return []
    rows = [("check", "sent", "http", "outcome"), *[_row(id, exchange) for id, exchange in made[-most:]]]
    head, *lines = align(rows)
    return [head, *([f"… {len(made) - most} more before these"] if len(made) > most else []), *lines]


def _row(id: str, exchange: Exchange) -> tuple[str, ...]:
    try:
        names = dict.fromkeys(event.name for event in decode(exchange.body).rows) if exchange.body else ["ping"]
    except EngageLabMockError:
        names = [f"{len(exchange.body)} bytes"]
    error = f": {printable(exchange.error)}" if exchange.error else ""
    status = "-" if exchange.answer is None else str(exchange.answer.status)
    outcome = textwrap.shorten(f"{exchange.outcome} in {exchange.elapsed * 1000:.1f} ms{error}", 200, placeholder=" …")
    return id, textwrap.shorten(", ".join(names), 60, placeholder=" …"), status, outcome


def exchange_lines(exchange: Exchange) -> list[str]:
    """Return an exchange as indented lines: the request and the answer."""
    how = f"  ({', '.join(exchange.faults)})" if exchange.faults else ""
    sent = textwrap.indent(exchange.sent, "    ").splitlines()
    received = textwrap.indent(exchange.received, "    ").splitlines()
    return [f"  sent:{how}", *sent, f"  received after {exchange.elapsed:.3f} s:", *received]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="  ", subsequent_indent="  ")
