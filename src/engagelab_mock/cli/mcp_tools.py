"""The tools of `engagelab-mock mcp`: each takes what an agent gives, and returns plain data."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engagelab_mock import __version__
from engagelab_mock.cli.calling import Caller
from engagelab_mock.cli.observing import observer
from engagelab_mock.cli.preparing import preparer, resetter
from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.faults.catalogue import fault as find_fault
from engagelab_mock.delivery.receiver import ACKNOWLEDGEMENT_LIMIT, Receiver
from engagelab_mock.delivery.render import attempt_record, counted
from engagelab_mock.engagelab import EngageLab
from engagelab_mock.errors import EngageLabMockError, ScheduleFailed, UnknownName, UsageError
from engagelab_mock.messages.catalogue import CATALOGUE
from engagelab_mock.service.addresses import why_unreachable

if TYPE_CHECKING:
    from engagelab_mock.checks.finding import Finding, Report
    from engagelab_mock.delivery.model import Attempt, Delivery
    from engagelab_mock.explore.exploration import Exploration
    from engagelab_mock.explore.options import ExploreOptions

#: How many failures of checks are whole. An agent reads all that it gets, and can ask for others with `only`.
_WHOLE = 5
#: The most entries of the journal that one call returns.
_ENTRIES = 50
#: How long one call of check or explore may take by default, in seconds.
_TOTAL = 120.0
#: A callback that a fault has broken comes once more, after this time, in virtual seconds.
_AGAIN = [5.0]
#: Several names: a list, or text with commas between them.
Names = list[str] | str


def receiver_at(
    callers: Sequence[Caller],
    url: str,
    *,
    username: str = "",
    secret: str = "",
    authorization: str = "",
    limit: float = ACKNOWLEDGEMENT_LIMIT,
    observe: str | None = None,
    prepare: str | None = None,
    reset: str | None = None,
    wait_idle: float = 0.0,
    tls_verify: bool | str = True,
) -> Receiver:
    """Return the receiver at an address, with a probe that calls the app by URLs; `callers` observe, prepare and reset.

    >>> callers = [Caller(name) for name in ("observe", "prepare", "reset")]
    >>> receiver_at(callers, "http://127.0.0.1:5000/engagelab").address
    'http://127.0.0.1:5000/engagelab'
    """
    observing, preparing, resetting = callers
    return Receiver.http(
        url,
        username=username,
        secret=secret,
        authorization=authorization,
        limit=limit,
        tls_verify=tls_verify,
        observe=observer(observe or None, None, observing),
        prepare=preparer(prepare or None, None, None, preparing),
        reset=resetter(reset or None, None, resetting),
        wait_idle=wait_idle or None,
    )


class Tools:
    """Hold the tools: each is a method whose arguments the agent gives.

    The result of each has `ok`. If that is false, `next` says why and what the agent should do.
    """

    def __init__(self, engagelab: EngageLab, base_url: str, receiver_at: Callable[..., Receiver]) -> None:
        self._engagelab = engagelab
        self._base_url = base_url
        self._receiver_at = receiver_at

    def status(self) -> dict[str, Any]:
        """Return the addresses, the clock, and the names of the scenarios."""
        known = self._engagelab.receivers[0] if self._engagelab.receivers else None
        return _result(
            "" if known else f"no receiver is named: {_NAME_IT}",
            version=__version__,
            base_url=self._base_url,
            receiver=known.address if known else None,
            signed=bool(known and known.settings.signs),
            observed=bool(known and known.observe),
            prepared=bool(known and known.prepare),
            reset=bool(known and known.reset),
            clock=self._engagelab.clock.time(),
            scenarios={scenario.name: list(scenario.statuses) for scenario in CATALOGUE.values()},
        )

    def use_receiver(
        self,
        url: str,
        username: str = "",
        secret: str = "",
        observe: str = "",
        prepare: str = "",
        reset: str = "",
        wait_idle: float = 0.0,
        authorization: str = "",
    ) -> dict[str, Any]:
        """Make this the receiver under test."""
        made = self._receiver_at(
            url,
            username=username,
            secret=secret,
            authorization=authorization,
            observe=observe,
            prepare=prepare,
            reset=reset,
            wait_idle=check_delay(wait_idle, where="wait_idle"),
        )
        for receiver in self._engagelab.receivers:
            receiver.close()
        self._engagelab.receiver = made
        why = self._unreachable()
        return {**self.status(), **_result(f"{why}: start the app, and call use_receiver again" if why else "")}

    def send(self, scenario: str = "verified", to: str = "", fault: str = "") -> dict[str, Any]:
        """Send the callbacks of a scenario."""
        self._check_receiver()
        # Only the first attempt of each is broken, so that the genuine callback comes as well.
        broken = find_fault(fault, attempts=1) if fault else None
        run = self._engagelab.send(to or None, scenario=scenario, fault=broken, retry=_AGAIN if fault else None)
        pairs = [(delivery, each) for delivery in run.deliveries for each in delivery.attempts]
        shown = ("statuses", "number", "http_status", "acknowledged", "outcome", "error", "hint")
        return _result(
            _after_sending(pairs),
            message_id=run.message.id,
            to=run.message.to,
            acknowledged=bool(pairs) and all(delivery.acknowledged for delivery, _ in pairs),
            callbacks=[{name: attempt_record(*pair)[name] for name in shown} for pair in pairs],
        )

    def inbox(self, to: str = "") -> dict[str, Any]:
        """Return the messages that a phone or a mailbox has."""
        found = self._engagelab.inbox(to or None)
        names = ("to", "code", "text", "channel", "message_id")
        none = f"no message has arrived: call send, or let the app send one to {self._base_url}"
        return _result(
            "" if found else none,
            messages=[{name: getattr(message, name) for name in names} for message in found],
        )

    def verify(self, message_id: str, code: str) -> dict[str, Any]:
        """Enter a code, as the user does: the app's call of POST /v1/verifications."""
        from engagelab_mock.service.rest.exchange import ApiRequest

        body = json.dumps({"message_id": message_id, "verify_code": code}).encode()
        authorization = f"Basic {base64.b64encode(b'key:secret').decode()}"
        answer = self._engagelab.api.handle(
            ApiRequest("POST", "/v1/verifications", authorization, body, "application/json")
        )
        answer.written()
        self._engagelab._engine.outbox.settle_quietly()
        said = json.loads(answer.body)
        wrong = "the code is wrong, used or expired: call inbox for the code of this message_id, or send a new message"
        return _result("" if said.get("verified") else wrong, http_status=answer.status, **said)

    def check(
        self, only: Names = "", depth: str = "normal", language: str = "", seconds: float = _TOTAL
    ) -> dict[str, Any]:
        """Run the checks against the receiver."""
        from engagelab_mock.checks.check import LANGUAGES

        if language and language not in LANGUAGES:
            raise UnknownName("language", language, LANGUAGES, where="language")
        self._check_receiver(reachable=True)
        report = self._engagelab.check(depth=depth, timeout=seconds, only=_parts(only))
        unclear = [each for each in report.findings if not each.judged and not each.left_out]
        return _result(
            _after_checking(report),
            doubt=report.doubt or None,
            counts={str(name): number for name, number in report.summary().items()},
            failures=[
                _finding(finding, language, whole=place < _WHOLE) for place, finding in enumerate(report.worst_first)
            ],
            not_judged={finding.id: finding.reason for finding in unclear},
        )

    def explore(
        self, scenarios: Names = "verified", duplicates: int = 1, concurrent: bool = False, seconds: float = _TOTAL
    ) -> dict[str, Any]:
        """Send the callbacks of scenarios in every order, with duplicates, or at the same time."""
        chosen = _parts(scenarios)
        if not chosen:
            raise UsageError("no scenario is named", where="scenarios", hint="such as verified; status lists them")
        self._check_receiver(observed=True, reachable=True)
        options: ExploreOptions = {"check": True, "time_budget": seconds}
        options |= {"concurrent": 2} if concurrent else {"duplicates": duplicates, "merge": "auto"}
        try:
            exploration = self._engagelab.explore(*chosen, **options)
        except ScheduleFailed as error:
            if error.exploration is None:
                raise
            exploration = error.exploration
        return _result(
            _after_exploring(exploration),
            result=repr(exploration),
            stopped=exploration.stopped or None,
            failed=len(exploration.failures),
            failures=[{"token": each.token, "report": str(each.error())} for each in exploration.failures],
        )

    def replay(self, token: str) -> dict[str, Any]:
        """Send the schedule of a token again."""
        self._check_receiver(observed=True, reachable=True)
        try:
            played = self._engagelab.replay(token, check=True)
        except ScheduleFailed as error:
            return _result("mend the receiver as the report says, restart it, and replay this token", report=str(error))
        return _result("", result=repr(played))

    def journal(self, message_id: str = "", last: int = 20) -> dict[str, Any]:
        """Return the last callbacks, each with its request and answer."""
        self._engagelab.settle()
        pairs = [pair for pair in self._attempts() if message_id in ("", pair[0].message_id)]
        none = f"there is no callback{f' of message {message_id}' if message_id else ''}: call send first"
        found = pairs[-max(1, min(last, _ENTRIES)) :]
        return _result("" if pairs else none, callbacks=[attempt_record(*pair) for pair in found])

    def clock(self, advance: float = 0.0) -> dict[str, Any]:
        """Let virtual time pass, so that codes expire."""
        before = len(self._attempts())
        self._engagelab.clock.advance(seconds=check_delay(advance, where="advance"))
        sent = self._attempts()[before:]
        refused = [pair for pair in sent if not pair[1].acknowledged]
        why = f"{counted(len(refused), 'callback')} not acknowledged: call journal, and mend the receiver"
        return _result(why if refused else "", clock=self._engagelab.clock.time(), callbacks=len(sent))

    def _attempts(self) -> list[tuple[Delivery, Attempt]]:
        return [(delivery, each) for delivery in self._engagelab.journal.deliveries for each in delivery.attempts]

    def _unreachable(self) -> str:
        return why_unreachable(lambda: self._engagelab.validate_address(check=False).attempts[-1])

    def _check_receiver(self, *, observed: bool = False, reachable: bool = False) -> None:
        """Raise `EngageLabMockError` without a receiver that can be judged.

        If it must be `observed`, the URL of its states must be known; if `reachable`, something must answer there.
        """
        if not self._engagelab.receivers:
            raise UsageError("no receiver is named", where="url", hint=_NAME_IT)
        if observed and self._engagelab.receiver.observe is None:
            # An agent would take "every callback was acknowledged" for "every order is right".
            hint = f"give use_receiver {_OBSERVE}"
            raise UsageError("only acknowledgements could be judged, not states", where="observe", hint=hint)
        if reachable and (why := self._unreachable()):
            raise EngageLabMockError(
                why, where=self._engagelab.receiver.address, hint="start the app, then call this tool again"
            )


_NAME_IT = "call use_receiver with its address, username and secret"
_OBSERVE = "the URL of a message's state as `observe`: http://…/state/{message_id}"


def _result(next: str, **data: Any) -> dict[str, Any]:
    """Return the result of a tool: it is ok if there is nothing to do next."""
    return {"ok": not next, **({"next": next} if next else {}), **data}


def _parts(names: Names) -> list[str]:
    given = [names] if isinstance(names, str) else names
    return [part.strip() for each in given for part in each.split(",") if part.strip()]


def _after_sending(pairs: Sequence[tuple[Delivery, Attempt]]) -> str:
    """Return what the agent should do after callbacks were sent; empty if all is well."""
    if not pairs:
        return "no callback was sent: the receiver's settings tick none of these events"
    for _, attempt in pairs:
        faults = [fault for fault in attempt.faults if fault.family == "signature"]
        if attempt.acknowledged and faults and faults[0].name != "duplicated_signature":
            return f"a callback {faults[0].description} was acknowledged: verify X-CALLBACK-ID, and answer 401"
    lost = [delivery for delivery, _ in pairs if not delivery.acknowledged]
    if lost:
        hint = attempt_record(lost[0], lost[0].attempts[-1])["hint"]
        return f"{', '.join(lost[0].statuses)} was not acknowledged: {hint or 'call journal to see the answer'}"
    return ""


def _after_checking(report: Report) -> str:
    """Return what the agent should do after the checks; empty if all is well."""
    from engagelab_mock.checks.check import Judgement
    from engagelab_mock.checks.profile import NO_OBSERVE
    from engagelab_mock.checks.trial import NO_TIME

    if report.at_least("major"):
        return "mend the failures, the worst first, restart the app, and check again; only=ID shows all of one"
    if report.doubt:
        return f"{report.doubt}: see not_judged, and mend that"
    unclear = report.of(Judgement.INCONCLUSIVE)
    if blind := [finding.id for finding in unclear if NO_OBSERVE in finding.reason]:
        return (
            f"{counted(len(blind), 'check')} could not see any effect: give use_receiver {_OBSERVE}; then check again"
        )
    if late := [finding.id for finding in unclear if finding.reason == NO_TIME]:
        return f"there was no time for {counted(len(late), 'check')}: give more `seconds`, with only={','.join(late)}"
    return ""


def _after_exploring(exploration: Exploration) -> str:
    """Return what the agent should do after an exploration; empty if all is well."""
    if exploration.failures:
        return "mend the receiver as the first report says, restart it, and replay the token; then explore again"
    if exploration.stopped:
        left = f"{exploration.schedules} of {exploration.total} schedules were judged"
        return f"the time was up, and only {left}: give more `seconds`, or explore fewer scenarios in a call"
    return ""


def _finding(finding: Finding, language: str, *, whole: bool) -> dict[str, Any]:
    """Return what the agent needs to mend a failure; if it is not `whole`, what it needs to choose it."""
    from engagelab_mock.checks.reports import finding_record

    names = ("id", "name", "severity", "title", "reason", *(("expected", "why", "repro") if whole else ()))
    found = {name: value for name, value in finding_record(finding).items() if name in names}
    fix = finding.check.fix
    code = {language: fix.code_in(language)} if whole and language else {}
    return {**found, "fix": {"text": fix.text, **code}}


#: What each tool is for, as the agent reads it. Not docstrings, which `python -OO` removes.
ABOUT: Mapping[str, str] = {
    "status": "Tell the base URL of EngageLab's REST API for the app, the receiver under test, and the scenarios.",
    "use_receiver": "Choose the receiver under test: its URL, the username and secret of its callback settings, and"
    " as `observe` the URL of a message's state, such as http://127.0.0.1:5000/state/{message_id}. If the app ignores"
    " messages that it did not send, `prepare` is a URL to which each message is posted before its first callback, with"
    " message_id, to, channel and template in braces in the URL, and as JSON in the body. `reset` is a URL that empties"
    " the app's tables. `wait_idle` waits so many seconds after each callback for work in the background.",
    "send": "Send the signed callbacks of a scenario to the receiver, such as verified, sent_failed or fallback. A"
    " fault such as stale, wrong_secret or ack_lost breaks the first attempt of each, and the genuine callback follows."
    " Returns each answer and a hint.",
    "inbox": "Read the messages and codes that a phone number or an e-mail address has got.",
    "verify": "Enter a code for a message, as the user would in the app.",
    "check": "Check the receiver: signatures, retries, orders, duplicates, bad input. Returns the failures, the worst"
    " first, each with its reason and a fix, and the first of them with the request as curl. `only` takes ids such as"
    " A01 or B*, as a list or with commas. With `language`, the fixes have code: flask, django, fastapi, node, express,"
    " php, go, java or ruby. Without `observe`, effects are not judged, and the result is not ok. Nor is it if the"
    " `seconds` were too few.",
    "explore": "Send the callbacks in every order, with duplicates, and compare the final state with the one in order;"
    " or with `concurrent`, send callbacks at the same time. `scenarios` is a list, or has commas. Needs `observe`. A"
    " failure has a token for replay. If the `seconds` were too few, the result is not ok.",
    "replay": "Send the schedule of a token again, such as eg1:plan,verified,delivered.",
    "journal": "Show the last callbacks, with request, answer, outcome and hint.",
    "clock": "Let that many seconds of virtual time pass: codes expire, and their callbacks are sent at once.",
}
