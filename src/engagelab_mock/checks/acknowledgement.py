"""Family A: is a callback, and the ping before it, acknowledged as EngageLab wants it?"""

from __future__ import annotations

from functools import partial

from engagelab_mock.checks.check import Check, Fix
from engagelab_mock.checks.context import accepted, describe
from engagelab_mock.checks.stimulus import method
from engagelab_mock.checks.trial import Trial
from engagelab_mock.checks.verdict import Severity
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.delivery.outcome import Outcome

#: How many callbacks a burst has.
BURST = 50
_BROKEN = frozenset({Outcome.INCOMPLETE, Outcome.MALFORMED})


def _ping_empty(trial: Trial) -> None:
    attempt = trial.ping("empty")
    if not attempt.acknowledged:
        trial.fail(f"the empty, unsigned ping: {describe(attempt)}")


def _ping_json(trial: Trial) -> None:
    attempt = trial.ping("json")
    if not attempt.acknowledged:
        trial.fail(f"the unsigned ping of newer pages, {{}}: {describe(attempt)}")


def _ping_signed(trial: Trial) -> None:
    attempt = trial.ping("empty", signed=True)
    if not attempt.acknowledged:
        trial.fail(f"the empty ping, signed: {describe(attempt)}")


def _ack_exact(trial: Trial) -> None:
    attempt = trial.send(trial.message())
    if attempt.outcome is Outcome.TIMEOUT:
        trial.inconclusive("there was no answer in time, which A05 is about")
    trial.accepted(attempt)
    if not attempt.acknowledged:
        trial.warn(f"a valid callback was {describe(attempt)}; the documents promise only for 200 that it counts")


def _ack_in_time(trial: Trial) -> None:
    attempt = trial.send(trial.message())
    if attempt.outcome is Outcome.TIMEOUT:
        trial.fail(f"a valid callback: {attempt.error}")
    if not accepted(attempt):
        trial.inconclusive(f"the receiver accepts no valid callback: {describe(attempt)}")
    _warn_if_slow(trial, attempt)


def _ack_burst(trial: Trial) -> None:
    attempts = trial.burst(BURST)
    if not attempts:
        trial.skip("the receiver's settings do not tick plan")
    failed = [attempt for attempt in attempts if not accepted(attempt)]
    if failed:
        trial.fail(f"{len(failed)} of {BURST} valid callbacks at once were not acknowledged: {describe(failed[0])}")
    _warn_if_slow(trial, max(attempts, key=lambda attempt: attempt.elapsed))


def _ack_decoupled(trial: Trial) -> None:
    stall = trial.context.hooks.stall
    if stall is None:
        trial.inconclusive(
            "nothing says how to stall what the handler calls downstream: give `stall`, which takes a test in pytest"
        )
    message = trial.message()
    with stall(trial.limit * 4 / 3):
        attempt = trial.send(message)
    if attempt.outcome is Outcome.TIMEOUT:
        trial.fail(f"while what it calls downstream stalled, a valid callback: {attempt.error}")
    trial.accepted(attempt, "a valid callback while what it calls downstream stalled")


def _no_redirect(trial: Trial) -> None:
    for what, attempt in (("the ping", trial.ping()), ("a valid callback", trial.send(trial.message()))):
        if attempt.outcome is Outcome.REDIRECT and attempt.response is not None:
            target = attempt.response.headers.get("Location", "nowhere")
            trial.fail(f"{what} was answered {attempt.response.status}, to {target}: register that address instead")


def _other_methods(trial: Trial) -> None:
    unseen = []
    for name in ("GET", "HEAD", "PUT", "DELETE"):
        message = trial.message()
        attempt = trial.send(message, method(name))
        trial.no_effect(message, f"{name} instead of POST")
        trial.survived(attempt, f"{name} instead of POST")
        if accepted(attempt):
            unseen.append(name)
    if unseen and not trial.sees:
        trial.inconclusive(f"{', '.join(unseen)} was answered with a success, and whether it had an effect is not seen")


def _ack_framing(trial: Trial) -> None:
    attempt = trial.send(trial.message())
    response = attempt.response
    arrived = attempt.outcome is Outcome.TIMEOUT and "had arrived" in attempt.error
    if attempt.outcome in _BROKEN or arrived:
        trial.fail(f"the answer to a valid callback has no proper end: {attempt.error}")
    if response is None:
        trial.inconclusive(f"there was no answer: {describe(attempt)}")
    # In process there is no server that would wait for the rest, or cut it off: it is seen from the header alone.
    length = response.headers.get("Content-Length", "")
    if trial.transport != "http" and length.isdecimal() and int(length) != len(response.body):
        trial.fail(f"the answer announces {length} bytes and has {len(response.body)}")


def _warn_if_slow(trial: Trial, attempt: Attempt) -> None:
    if attempt.elapsed > trial.limit / 3:
        trial.warn(f"the answer took {attempt.elapsed:.2f} s, a third or more of what is allowed")


_PING_WHY = (
    "When a callback's address is saved, or refreshed, EngageLab sends a message to it and wants 200 within 3 seconds; "
    "else the address does not become usable and no callback is ever sent. The request that the document prints "
    "carries no signature."
)
_PING = Fix(
    "Answer 200 to a body that carries no rows before the signature is looked at: nothing happens on a ping, so "
    "nothing needs proof of who sent it.",
    'if $body in (b"", b"{}"):\n    $ok',
)
_DEFER = Fix(
    "Keep the callback, acknowledge it, and do the work afterwards: in a job queue, or in a thread of your own.",
    own_flask='jobs.put(request.get_data())  # a queue that a worker empties\nreturn "", 200',
    own_django="handle_callback.delay(request.body.decode())  # Celery, or a queue of your own\nreturn HttpResponse()",
    own_fastapi="background_tasks.add_task(handle, await request.body())  # runs once the answer is out\n"
    "return Response()",
)
_check = partial(Check, need="http")

ACKNOWLEDGEMENT = (
    _check(
        id="A01",
        name="ping-empty",
        title="The empty, unsigned ping is acknowledged",
        why=_PING_WHY,
        stimulus="An unsigned POST with an empty body and `Content-Length: 0`, as `curl -d ''` sends it.",
        expected="200 in time.",
        severity=Severity.BLOCKER,
        source="S",
        fix=_PING,
        work=_ping_empty,
        needs_valid=False,
    ),
    _check(
        id="A02",
        name="ping-json",
        title="The ping with the body `{}` is acknowledged",
        why=_PING_WHY,
        stimulus="An unsigned POST with the body `{}`.",
        expected="200 in time.",
        severity=Severity.BLOCKER,
        source="D",
        fix=_PING,
        work=_ping_json,
        needs_valid=False,
    ),
    _check(
        id="A03",
        name="ping-signed",
        title="An empty ping that is signed is acknowledged",
        why="Whether the real ping carries a signature is not documented: the text says that what EngageLab sends "
        "includes the header, the request printed beside it has none. A receiver has to be ready for both.",
        stimulus="A POST with an empty body and a valid signature.",
        expected="200 in time.",
        severity=Severity.MAJOR,
        source="S",
        fix=_PING,
        work=_ping_signed,
        needs_signature=True,
    ),
    _check(
        id="A04",
        name="ack-exact",
        title="A valid callback is answered with exactly 200",
        why="Only 200 is documented to acknowledge. Whatever else is answered may count as a failure, be sent again, "
        "and turn the address abnormal.",
        stimulus="A valid callback.",
        expected="200; another success, such as 204, is a warning.",
        severity=Severity.MAJOR,
        source="S",
        fix=Fix(
            "Answer 200 with an empty body. If every valid callback is refused, compare username, secret and "
            "Authorization with what the console has.",
            "$ok",
        ),
        work=_ack_exact,
        needs_valid=False,
    ),
    _check(
        id="A05",
        name="ack-3s",
        title="A valid callback is answered within 3 seconds",
        why="An answer that takes longer does not count: the callback is taken for lost, and what was done about it "
        "is likely to be done again.",
        stimulus="A valid callback.",
        expected="A complete answer within 3 s; more than 1 s is a warning.",
        severity=Severity.BLOCKER,
        source="S",
        fix=_DEFER,
        work=_ack_in_time,
        needs_valid=False,
    ),
    _check(
        id="A06",
        name="ack-burst",
        title="Many callbacks at once are all acknowledged in time",
        why="A campaign to thousands of recipients comes back as thousands of callbacks within seconds. A receiver "
        "that works them off one by one answers the last too late.",
        stimulus=f"{BURST} valid callbacks at once, each of a message of its own.",
        expected="All acknowledged in time.",
        severity=Severity.MAJOR,
        source="?",
        fix=_DEFER,
        work=_ack_burst,
        transports=("http",),
        unless="in process there is no server whose queue would fill",
    ),
    _check(
        id="A07",
        name="ack-decoupled",
        title="A callback is acknowledged while what the handler needs is slow",
        why="A handler that waits for a mail server, a queue or another service before it answers is as slow as the "
        "slowest of them, on its worst day.",
        stimulus="A valid callback, while what the handler calls downstream stalls for longer than the limit, "
        "which the project's own `stall` brings about.",
        expected="A success in time.",
        severity=Severity.MAJOR,
        source="?",
        fix=_DEFER,
        work=_ack_decoupled,
    ),
    _check(
        id="A08",
        name="no-redirect",
        title="The registered address does not redirect",
        why="A redirect is not 200. Frameworks answer with one when a slash at the end is missing or too many, and "
        "proxies when http should be https; a browser follows it, a webhook sender does not.",
        stimulus="The ping and a valid callback, to the very address that is registered.",
        expected="No 301, 302, 303, 307 or 308.",
        severity=Severity.BLOCKER,
        source="S",
        fix=Fix(
            "Register the address that the redirect points to, or serve both forms of it.",
            own_flask='@app.post("/engagelab", strict_slashes=False)\ndef engagelab():\n    return "", 200',
            own_django='urlpatterns = [re_path(r"^engagelab/?$", engagelab)]',
            own_fastapi='@app.post("/engagelab")\n@app.post("/engagelab/")\nasync def engagelab(request: Request):\n'
            "    return Response()",
        ),
        work=_no_redirect,
        needs_valid=False,
    ),
    _check(
        id="A09",
        name="method",
        title="Other methods than POST have no effect",
        why="Crawlers, link checkers and health checks send GET and HEAD. A callback is a POST, and only a POST.",
        stimulus="A valid callback sent with GET, HEAD, PUT and DELETE.",
        expected="No effect, no 5xx, no hang; 405 or 404 is usual.",
        severity=Severity.MINOR,
        source="S",
        fix=Fix("Let the route take POST alone.", "$view\n    $ok"),
        work=_other_methods,
    ),
    _check(
        id="A10",
        name="ack-framing",
        title="The answer has a proper end",
        why="A sender takes an answer for complete when its length, its last chunk or the end of the connection says "
        "so. An answer that announces more than it has keeps the sender waiting until its time is up.",
        stimulus="A valid callback.",
        expected="An answer that ends: by its length, by its last chunk, or with the connection.",
        severity=Severity.MINOR,
        source="?",
        fix=Fix("Let the framework write `Content-Length`; set none by hand.", "$ok"),
        work=_ack_framing,
        needs_valid=False,
    ),
)
