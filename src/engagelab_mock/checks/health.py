"""Health: does the receiver still accept valid callbacks after each check? If not: since when, and why?"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from engagelab_mock.checks.catalogue import Selection
from engagelab_mock.checks.check import Cause, Check, Ended, Fix, Judgement
from engagelab_mock.checks.context import Context
from engagelab_mock.checks.finding import Exchange, Finding
from engagelab_mock.checks.profile import LOOK, accepted, describe, status_of
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.render import counted
from engagelab_mock.eventloop import stopwatch

#: The id of the check that fails if valid callbacks are refused during a run.
ALIVE_AFTER = "E11"
#: HTTP statuses of a refusal.
_TOO_MANY, _UNAVAILABLE, _IDENTITY = 429, 503, frozenset({401, 403})
#: From how many forged callbacks on a receiver may ban their sender.
_FORGERIES = 3

Made = tuple[Delivery, Attempt]


_RATE_LIMIT = Cause(
    "a limit of requests in a period of time",
    Fix(
        "Do not limit the requests to the callback address, or set the limit above the rate of your largest campaign. "
        "All callbacks come from a few addresses of EngageLab, so a limit for each sender counts all of them.",
        own_flask='@app.post("/engagelab")\n@limiter.exempt  # Flask-Limiter\ndef engagelab():\n    return "", 200',
        own_django="class Engagelab(APIView):\n    throttle_classes = []  # of Django REST framework",
        own_fastapi='@app.post("/engagelab")\n@limiter.exempt  # slowapi\nasync def engagelab(request: Request):\n'
        "    return Response()",
    ),
)
_BAN = Cause(
    "a ban of the sender after forged callbacks",
    Fix(
        "Do not ban an address because of wrong signatures: refuse only the forged callbacks. Behind a "
        "proxy all requests have its address, so anyone can make your app refuse EngageLab. If you must ban, verify "
        "the signature first, and let genuine callbacks in.",
        """\
if not genuine($header):  # before any list of banned addresses
    $refuse_401
$ok""",
    ),
)
_LEAK = Cause(
    "something that earlier requests took and did not give back: connections of a pool, locks, files or memory",
    Fix(
        "Take connections, locks and files in a `with` statement, so that each way out of the handler gives them back. "
        "Look for the first error of the run in the server's log.",
        """\
verify($header)
with pool.connection() as db:
    apply(db, json.loads($body))
$ok""",
    ),
)
_BUSY = Cause(
    "a server that takes no more requests for some time: it is overloaded, being restarted, or a proxy has taken it "
    "out of use after errors",
    Fix(
        "Store the callback and acknowledge it at once, and do the work afterwards. Give the server more workers, and "
        "a longer queue. Do not let a proxy take the app out of use because of answers such as 400 and 401.",
    ),
)
_IDENTITY_CHANGED = Cause(
    "a state that the verification depends on: nonces, a clock, or credentials that have changed during the run",
    Fix("Look in the server's log why the first valid callback was refused, and look at the request before it."),
)
_UNKNOWN = Cause(
    "not clear from the answer",
    Fix("Look in the server's log why the first valid callback was refused, and look at the request before it."),
)


class Refusal(msgspec.Struct):
    """Hold since when, and after what, a receiver refuses valid callbacks."""

    since: Check
    #: The last requests of that check, and the valid callback that was refused.
    made: tuple[Made, ...]
    #: How many requests there were before, how many of them were refused, and how many of these were forged.
    requests: int
    refused: int
    forged: int
    #: How long the run had lasted, in seconds.
    elapsed: float

    @property
    def answer(self) -> str:
        """Return how the valid callback was answered, such as "answered 429 TOO MANY REQUESTS"."""
        attempt = self.made[-1][1]
        wait = _header(attempt, "Retry-After")
        return describe(attempt) + (f" with Retry-After: {wait}" if wait else "")

    @property
    def cause(self) -> Cause:
        """Return the likely cause."""
        status = status_of(self.made[-1][1])
        if status == _TOO_MANY:
            return _RATE_LIMIT
        if status in _IDENTITY:
            return _BAN if self.forged >= _FORGERIES else _IDENTITY_CHANGED
        if status == _UNAVAILABLE:
            return _BUSY
        return _LEAK if status >= 500 else _UNKNOWN

    @property
    def reason(self) -> str:
        """Return the reason of the finding."""
        return (
            f"since {self.since.id} {self.since.name}, valid callbacks are refused: {self.answer}. Before that, there "
            f"were {counted(self.requests, 'request')} in {self.elapsed:.1f} s: {self.refused} were refused, and "
            f"{self.forged} of these were forged. The likely cause is {self.cause.says}"
        )


class Health:
    """Find out after each check if the receiver still accepts valid callbacks.

    >>> from engagelab_mock import Receiver
    >>> Health(Context(Receiver.recording()), Selection(), recovery=3.0).refusal is None
    True

    A check whose last request was accepted has proved it. After any other check, one valid callback is sent. It is
    about a new message. If it is refused, the receiver gets `recovery` seconds.
    """

    def __init__(
        self, context: Context, selection: Selection, checks: Sequence[Check] = (), *, recovery: float
    ) -> None:
        self._context = context
        self._recovery = recovery
        self._suppress = selection.suppress
        #: Whether one of the checks of the run reports the refusal, so that the others do not.
        self._reports = any(check.id == ALIVE_AFTER and not selection.skips(check) for check in checks)
        self._started = stopwatch()
        self._refused = self._forged = 0
        #: The first refusal of the run.
        self.refusal: Refusal | None = None
        self._refusing = False

    def amend(self, check: Check, made: Sequence[Made], ended: Ended) -> Ended:
        """Return how a check ended that made these attempts: if valid callbacks are refused now, it proves nothing."""
        self._count(made)
        failed = ended.judgement is Judgement.FAIL
        if not self._can_judge(check, made, failed=failed):
            return ended
        last = made[-1]
        limited = failed and status_of(last[1]) == _TOO_MANY
        requests = self._context.callbacks + self._context.pings - limited
        probe = last if limited else self._send()
        if probe is None or not _refused(probe[1]):
            return ended
        recovers = self._recovers(probe[1])
        # A receiver may refuse for a moment, such as when it is busy. But a limit of requests explains a failure.
        if recovers and not (failed and status_of(probe[1]) == _TOO_MANY):
            return ended
        self._refusing = not recovers
        refusal = Refusal(
            since=check,
            made=tuple(made[-3:]) if limited else (*made[-2:], probe),
            requests=requests,
            refused=self._refused,
            forged=self._forged,
            elapsed=stopwatch() - self._started,
        )
        self.refusal = self.refusal or refusal
        if (failed and accepted(last[1])) or ended.judgement not in {Judgement.PASS, Judgement.FAIL}:
            return ended
        if not self._reports:
            return Ended(Judgement.FAIL, refusal.reason, basis="answer", fix=refusal.cause.fix)
        return Ended(Judgement.INCONCLUSIVE, f"valid callbacks are refused since this check, see {ALIVE_AFTER}")

    def reason(self) -> str:
        """Return why no valid callback can be judged now; empty once they are accepted again."""
        if self._refusing and self._accepts():
            self._refusing = False
        if self.refusal is None or not self._refusing:
            return ""
        since = self.refusal.since
        return f"valid callbacks are refused since {since.id} {since.name}: {self.refusal.answer}"

    def finding(self, check: Check) -> Finding | None:
        """Return the finding that valid callbacks were refused during the run, if this is the check that reports it.

        It is reported even if the check was not selected, because all others depend on it.
        """
        refusal = self.refusal
        if check.id != ALIVE_AFTER or refusal is None or not self._reports:
            return None
        return Finding(
            check=msgspec.structs.replace(check, fix=refusal.cause.fix),
            verdict=Judgement.FAIL,
            reason=refusal.reason,
            exchanges=tuple(Exchange.of(delivery, attempt) for delivery, attempt in refusal.made),
            suppressed=self._suppress.get(check.id),
            after=refusal.since.id,
        )

    def _can_judge(self, check: Check, made: Sequence[Made], *, failed: bool) -> bool:
        profile = self._context.known_profile
        if profile is None or profile.refuses or not made or _proves(made[-1][1]):
            return False
        return (check.needs_valid or failed) and check.id != ALIVE_AFTER

    def _recovers(self, attempt: Attempt) -> bool:
        """Tell whether valid callbacks are accepted again after a short time."""
        wait = _header(attempt, "Retry-After")
        seconds = float(wait) if wait.isdecimal() else 0.0
        end, pause = stopwatch() + self._recovery, max(LOOK, seconds)
        while stopwatch() + pause < end:
            time.sleep(pause)
            if self._accepts():
                return True
            pause = max(2 * pause, seconds)
        return False

    def _accepts(self) -> bool:
        probe = self._send()
        return probe is None or accepted(probe[1])

    def _send(self) -> Made | None:
        """Send a valid callback about a new message; return None if the receiver does not subscribe to any."""
        with self._context.apart():
            self._context.send_valid(self._context.new_message(), self._context.profile.status)
            return next(reversed(self._context.take_attempts()), None)

    def _count(self, made: Sequence[Made]) -> None:
        refused = [attempt for _, attempt in made if _refused(attempt)]
        self._refused += len(refused)
        self._forged += sum(_is_forged(attempt) for attempt in refused)


def _refused(attempt: Attempt) -> bool:
    """Tell whether an attempt had an answer that is not a success. No answer at all is another problem."""
    return bool(status_of(attempt)) and not accepted(attempt)


def _proves(attempt: Attempt) -> bool:
    """Tell whether an attempt proves that valid callbacks are accepted."""
    return accepted(attempt) and attempt.method == "POST" and bool(attempt.callback.events) and not _is_forged(attempt)


def _is_forged(attempt: Attempt) -> bool:
    return any(fault.family == "signature" for fault in attempt.faults)


def _header(attempt: Attempt, name: str) -> str:
    return "" if attempt.response is None else attempt.response.headers.get(name) or ""
