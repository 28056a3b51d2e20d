"""Findings, which hold the verdict of one check with its evidence, and the report, which holds those of one run."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence

import msgspec

from engagelab_mock.checks.check import FAMILIES, Basis, Check, Judgement, Severity, severity
from engagelab_mock.delivery.model import Attempt, Delivery, Response
from engagelab_mock.delivery.render import counted, printable, quoted, shown_headers
from engagelab_mock.errors import EngageLabMockError, NothingObserved
from engagelab_mock.explore.state import Snapshot
from engagelab_mock.protocol.callback import AS_CONFIGURED
from engagelab_mock.protocol.settings import credentials_export
from engagelab_mock.protocol.signature import HEADER, TOLERANCE, Signature, parse

#: The longest body that is shown in full in a curl line or a report, in bytes.
SHOWN_BYTES = 4096


class Exchange(msgspec.Struct, frozen=True):
    """Hold one request and its answer; `elapsed` is in seconds.

    `answer` is None without an answer. `error` says why the callback was not acknowledged.
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
        """Return the answer as text, or the reason why it is missing."""
        if self.answer is None:
            return f"(no answer: {printable(self.error)})"
        head = [f"{self.answer.status} {self.answer.reason}".rstrip()]
        head += [f"{name}: {value}" for name, value in self.answer.headers.pairs]
        return "\n".join([*map(printable, head), "", shown(self.answer.body)]).rstrip()

    @property
    def curl(self) -> str:
        """Return a command line that sends the request again, with a new signature if the signature was genuine.

        It is empty if no command line can do so: for an in-process app, and for a long body.
        """
        return self.curl_with()

    @property
    def signature(self) -> str:
        """Return the header of the signature; empty without a signature."""
        return next((value for name, value in self.headers if name == HEADER), "")

    def curl_with(self, shared: str = "") -> str:
        """Return the command line. If a header has the value `shared`, use the shell variable `signature` for it."""
        if self.in_process or len(self.body) > SHOWN_BYTES:
            return ""
        line = f"curl -sS -i -X {self.method}"
        for name, value in self.headers:
            if name == HEADER and value == shared:
                line += f' -H "{HEADER}: $signature"'
            elif name == HEADER and self.genuine:
                line += f' -H "{HEADER}: $(engagelab-mock sign)"'
            elif value == AS_CONFIGURED:
                line += f' -H "{name}: $ENGAGELAB_MOCK_AUTHORIZATION"'
            elif AS_CONFIGURED in value:
                # Another scheme, such as bASIC, is written before the credentials.
                before, _, after = value.partition(AS_CONFIGURED)
                line += f" -H {shlex.quote(f'{name}: {before}')}"
                line += '"${ENGAGELAB_MOCK_AUTHORIZATION#* }"' + (shlex.quote(after) if after else "")
            else:
                line += f" -H {quoted(f'{name}: {value}'.encode('latin-1', 'replace'))}"
        return f"{line} --data-binary {quoted(self.body)} {shlex.quote(self.address)}"


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


def repro_notes(exchanges: Sequence[Exchange]) -> list[str]:
    """Return shell comments that say which values the commands need, and which variables to export.

    >>> repro_notes([])
    []
    """
    headers = [(exchange, name, value) for exchange in exchanges for name, value in exchange.headers]
    genuine = {value: parse(value) for exchange, name, value in headers if name == HEADER and exchange.genuine}
    username = next((each.username for each in genuine.values() if isinstance(each, Signature)), "")
    export = credentials_export(username, authorization=any(AS_CONFIGURED in value for _, _, value in headers))
    notes = [f"# first: {export}"] if export else []
    if any(name == HEADER and not exchange.genuine and value not in genuine for exchange, name, value in headers):
        notes.append(f"# a signature that is written out is accepted for {TOLERANCE} s")
    return notes


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the verdict of a check, the reason, the requests and answers, and the states before and after.

    >>> from engagelab_mock import CHECKS
    >>> Finding(check=CHECKS["A01"], verdict=Judgement.PASS).fell_short
    False
    """

    check: Check
    verdict: Judgement
    #: The reason, in a sentence; empty if the result is as expected.
    reason: str = ""
    #: The basis of the verdict: "answer", "state" or "both". If nothing was judged, the needs of the check.
    basis: Basis = "answer"
    #: Problems that are not failures.
    warnings: tuple[str, ...] = ()
    #: Every request with its answer, in order.
    exchanges: tuple[Exchange, ...] = ()
    #: The states of the messages before and after, if they were read.
    changes: tuple[Change, ...] = ()
    #: Why the project does not count a failure; None if it counts.
    suppressed: str | None = None
    #: Whether it was skipped because it was not selected.
    left_out: bool = False
    #: How long the check took, in seconds.
    elapsed: float = 0.0
    #: The schedule that showed the failure, as a token; empty if the requests were not a schedule.
    token: str = ""
    #: The check that must run before it to see it again, by its id; empty if it shows the same alone.
    after: str = ""

    @property
    def only(self) -> str:
        """Return the ids for `--only` that show it again."""
        return f"{self.after},{self.id}" if self.after else self.id

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
    def judged(self) -> bool:
        """Tell whether the receiver was judged, so that the check passed or failed."""
        return self.verdict in {Judgement.PASS, Judgement.FAIL}

    @property
    def evidence(self) -> list[Change]:
        """Return the states that show the verdict; the last ones are those of the messages of the last request."""
        last = self.exchanges[-1].body if self.exchanges else b""
        about: dict[str, Change] = {}
        other: list[Change] = []
        for change in self.changes:
            if change.before.message_id.encode() in last:
                about[change.before.message_id] = change
            elif change.changed:
                other = [change]
        return [*other, *[*about.values()][-3:]] or list(self.changes[-1:])

    @property
    def repro(self) -> str:
        """Return what sends it again: a command for the token, curl lines, or Python code for an in-process app."""
        lines = self._replay if self.token else self._curls
        if not lines:
            return f'engagelab.check(only=["{self.id}"])'
        return "\n".join([*repro_notes([each for each in self.exchanges[-2:] if not each.in_process]), *lines])

    @property
    def _curls(self) -> list[str]:
        last = self.exchanges[-2:]
        # A signature that is used twice is made once.
        twice = len(last) == 2 and last[0].genuine and last[0].signature == last[1].signature
        shared = last[0].signature if twice else ""
        lines = [line for exchange in last if (line := exchange.curl_with(shared))]
        return ['signature="$(engagelab-mock sign)"', *lines] if shared and lines else lines

    @property
    def _replay(self) -> list[str]:
        last = self.exchanges[-1] if self.exchanges else None
        if last is None or last.in_process:
            return [f"engagelab.play({self.token!r})"]
        return [f"engagelab-mock send --replay {shlex.quote(self.token)} --url {shlex.quote(last.address)}"]

    def __str__(self) -> str:
        return f"{self.id} {self.name}: {self.verdict}{f', {self.reason}' if self.reason else ''}"


_FAULT = "report it: a check must not fail because of anything the app does"
_UNJUDGED = "give `observe`, more time, or a receiver that the checks apply to; or leave the family out with `skip`"


class Sent(msgspec.Struct, frozen=True):
    """Count the test data that a run has left in a receiver; it is not removed."""

    callbacks: int = 0
    pings: int = 0
    message_ids: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()

    def __str__(self) -> str:
        callbacks, messages, pings = self.callbacks, len(self.message_ids), self.pings
        about = f"{counted(callbacks, 'callback')} about {counted(messages, 'invented message')}"
        return f"{about}, and {counted(pings, 'ping')}"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the findings of one run, in the catalogue's order; `elapsed` is in seconds.

    >>> report = Report(address="http://127.0.0.1/", findings=(), sent=Sent())
    >>> report.summary()["fail"], report.doubt
    (0, 'nothing was judged')
    """

    address: str
    findings: tuple[Finding, ...]
    sent: Sent
    seed: str = ""
    #: When the run began, in Unix seconds; 0 if that is not known.
    at: float = 0.0
    elapsed: float = 0.0
    #: Whether the state of the app could be seen.
    observed: bool = False
    #: The requested families of which no check was judged, by their letters.
    unjudged: tuple[str, ...] = ()
    #: Why the run ended before its last check; empty if it ran all checks.
    ended: str = ""
    #: What the checks inferred about effects; empty if the receiver has `effects`, or if no state can be seen.
    inferred: str = ""
    #: How many worker processes answered, as the header X-Worker-Id of the answers says; 0 if they do not have it.
    workers: int = 0

    @property
    def doubt(self) -> str:
        """Return why the report does not prove that the receiver is right, apart from failures; empty if it does."""
        if self.ended:
            return f"the run ended early: {self.ended}"
        if errors := self.of(Judgement.ERROR):
            checks = "1 check" if len(errors) == 1 else f"{len(errors)} checks"
            return f"{checks} ended with an error: {', '.join(finding.id for finding in errors)}"
        if not any(finding.judged for finding in self.findings):
            return self._why_nothing("nothing was judged", *self.findings)
        return "; ".join(
            self._why_nothing(f"nothing was judged of {FAMILIES[letter]} ({letter})", *self.family(letter))
            for letter in self.unjudged
        )

    def _why_nothing(self, what: str, *findings: Finding) -> str:
        unclear = [each for each in findings if each.verdict is Judgement.INCONCLUSIVE] or [
            each for each in findings if each.verdict is not Judgement.SKIPPED or not each.left_out
        ]
        reasons = Counter(finding.reason for finding in unclear if finding.reason)
        return f"{what}: {reasons.most_common(1)[0][0]}" if reasons else what

    def family(self, letter: str) -> list[Finding]:
        """Return the findings of one family."""
        return [finding for finding in self.findings if finding.id.startswith(letter)]

    @property
    def worst_first(self) -> list[Finding]:
        """Return the failures that count, the most severe first."""
        short = [finding for finding in self.findings if finding.fell_short]
        return sorted(short, key=lambda finding: finding.severity.rank)

    def at_least(self, least: str) -> list[Finding]:
        """Return the failures that count and are at least that severe, the most severe first."""
        bound: Severity = severity(least)
        return [finding for finding in self.worst_first if finding.severity.at_least(bound)]

    def of(self, verdict: Judgement) -> list[Finding]:
        """Return the findings with one verdict."""
        return [finding for finding in self.findings if finding.verdict is verdict]

    def finding(self, id: str) -> Finding:
        """Return the finding of one check."""
        return next(finding for finding in self.findings if finding.id == id)

    def summary(self) -> dict[str, int]:
        """Return the number of findings for each verdict, of passes by the answer alone, and of suppressed failures."""
        counts = {str(verdict): len(self.of(verdict)) for verdict in Judgement}
        suppressed = sum(finding.verdict is Judgement.FAIL and not finding.fell_short for finding in self.findings)
        by_answer = sum(finding.basis == "answer" for finding in self.of(Judgement.PASS))
        return {**counts, "pass_by_answer": by_answer, "suppressed": suppressed}

    def in_full(self, least: str = "info") -> str:
        """Return every failure that counts and is at least that severe, with all its evidence.

        >>> Report(address="http://127.0.0.1/", findings=(), sent=Sent()).in_full()
        ''
        """
        from engagelab_mock.checks.findings_text import in_full  # only needed for failures

        return "\n\n".join(map(in_full, self.at_least(least)))

    def assert_none(self, least: str = "major") -> None:
        """Raise `ReceiverFellShort` if a failure is at least that severe. Its text has the worst failures in full.

        Raises `NothingObserved` if no check was judged, or no check of a requested family. Raises `EngageLabMockError`
        if a check ended with an error.

        >>> from engagelab_mock import CHECKS
        >>> passed = Finding(check=CHECKS["A01"], verdict=Judgement.PASS)
        >>> Report(address="http://127.0.0.1/", findings=(passed,), sent=Sent()).assert_none("minor")
        """
        __tracebackhide__ = True
        found = self.at_least(least)
        if found:
            from engagelab_mock.checks.findings_text import fell_short

            raise fell_short(self, found, least)
        if errors := self.of(Judgement.ERROR):
            detail = "\n".join(f"{finding.id} {finding.name}: {finding.reason}" for finding in errors)
            raise EngageLabMockError(self.doubt, where="check", hint=_FAULT, detail=detail)
        if self.doubt:
            error = NothingObserved(self.doubt, where="check", hint=_UNJUDGED)
            error.report = self
            raise error


def verdict_counts(findings: Sequence[Finding]) -> dict[str, int]:
    """Return how many findings failed, passed, and so on; the numbers add up to the number of findings.

    >>> from engagelab_mock import CHECKS
    >>> verdict_counts([Finding(check=CHECKS["A01"], verdict=Judgement.PASS)])["passed"]
    1
    """
    short = [each for each in findings if each.fell_short]
    kinds = Counter("" if each.left_out else str(each.verdict) for each in findings)
    kinds += Counter(suppressed=kinds["fail"] - len(short))
    kinds["fail"] = len(short)
    return {word: kinds[kind] for kind, word in _WORDS.items()}


#: The words for verdicts. A check that was not selected has none.
_WORDS = {"fail": "failed", "pass": "passed", "suppressed": "suppressed", "error": "ended with an error"}
_WORDS |= {"inconclusive": "inconclusive", "not_applicable": "not applicable", "skipped": "skipped", "": "not selected"}
