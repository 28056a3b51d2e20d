"""Family A, acknowledgement: are a callback and the ping acknowledged as EngageLab requires?"""

from __future__ import annotations

from functools import partial

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.profile import accepted, describe
from engagelab_mock.checks.stimulus import body, method
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.delivery.outcome import Outcome

#: How many callbacks a burst has.
BURST = 50
#: How many callbacks in a row are refused. Pools have 5 to 15 connections by default.
REFUSALS = 20
_BROKEN = frozenset({Outcome.INCOMPLETE, Outcome.MALFORMED})


def _ping_empty(trial: Trial) -> None:
    attempt = trial.ping("empty")
    if not attempt.acknowledged:
        trial.fail(f"the empty, unsigned ping: {describe(attempt)}")


def _ping_json(trial: Trial) -> None:
    attempt = trial.ping("json")
    if not attempt.acknowledged:
        trial.fail(f"the unsigned ping with the body {{}}: {describe(attempt)}")


def _ping_signed(trial: Trial) -> None:
    attempt = trial.ping("empty", signed=True)
    if not attempt.acknowledged:
        trial.fail(f"the empty ping, signed: {describe(attempt)}")


def _ack_exact(trial: Trial) -> None:
    attempt = trial.send(trial.message())
    if attempt.outcome is Outcome.TIMEOUT:
        trial.inconclusive("there was no answer in time; A05 checks that")
    trial.expect_accepted(attempt)
    if not attempt.acknowledged:
        trial.warn(f"a valid callback was {describe(attempt)}; only 200 is documented to acknowledge")


def _ack_in_time(trial: Trial) -> None:
    attempt = trial.send(trial.message())
    if attempt.outcome is Outcome.TIMEOUT:
        trial.fail(f"a valid callback: {attempt.error}")
    if not accepted(attempt):
        trial.inconclusive(f"the receiver accepts no valid callback: {describe(attempt)}")
    _warn_if_slow(trial, attempt)


def _ack_burst(trial: Trial) -> None:
    attempts = trial.send_together([[trial.event(message, "plan")] for message in trial.messages(BURST)])
    if not attempts:
        trial.skip("the receiver's settings do not tick plan")
    failed = [attempt for attempt in attempts if not accepted(attempt)]
    if failed:
        trial.fail(f"{len(failed)} of {BURST} valid callbacks at once were not acknowledged: {describe(failed[0])}")
    _warn_if_slow(trial, max(attempts, key=lambda attempt: attempt.elapsed))


def _ack_decoupled(trial: Trial) -> None:
    stall = trial.context.stall
    if stall is None:
        trial.inconclusive(
            "the handler's downstream calls cannot be slowed down: give `stall`, which needs a test in pytest"
        )
    message = trial.message()
    with stall(trial.limit * 4 / 3):
        attempt = trial.send(message)
    if attempt.outcome is Outcome.TIMEOUT:
        trial.fail(f"a valid callback, while downstream calls were slow: {attempt.error}")
    trial.expect_accepted(attempt, "a valid callback, while downstream calls were slow")


def _no_redirect(trial: Trial) -> None:
    for what, attempt in (("the ping", trial.ping()), ("a valid callback", trial.send(trial.message()))):
        if attempt.outcome is Outcome.REDIRECT and attempt.response is not None:
            target = attempt.response.headers.get("Location", "nowhere")
            trial.fail(
                f"{what} was redirected with {attempt.response.status} to {target}: register that address instead"
            )


def _other_methods(trial: Trial) -> None:
    unseen = []
    for name in ("GET", "HEAD", "PUT", "DELETE"):
        message = trial.message()
        attempt = trial.send(message, method(name))
        trial.expect_no_effect(attempt, message, f"{name} instead of POST")
        trial.expect_answer(attempt, f"{name} instead of POST")
        if accepted(attempt):
            unseen.append(name)
    if unseen and not trial.sees:
        trial.inconclusive(f"{', '.join(unseen)} was answered with a success, but has no visible effect")


def _ack_framing(trial: Trial) -> None:
    attempt = trial.send(trial.message())
    response = attempt.response
    arrived = attempt.outcome is Outcome.TIMEOUT and "had arrived" in attempt.error
    if attempt.outcome in _BROKEN or arrived:
        trial.fail(f"the answer to a valid callback has no proper end: {attempt.error}")
    if response is None:
        trial.inconclusive(f"there was no answer: {describe(attempt)}")
    # In process, no server waits for the rest of a body, or cuts it off: only the header shows the error.
    length = response.headers.get("Content-Length", "")
    if trial.transport != "http" and length.isdecimal() and int(length) != len(response.body):
        trial.fail(f"the answer announces {length} bytes, but has {len(response.body)}")


def _after_refusals(trial: Trial) -> None:
    broken = body(b'{"total":1,"rows":[{')
    kinds: dict[str, list[Fault | str]] = {"callbacks that are not JSON": [broken]}
    if trial.receiver.settings.signs:
        kinds["forged callbacks"] = ["wrong_secret"]
    refused = False
    for what, faults in kinds.items():
        message, valid = trial.message(), trial.message()
        for number in range(1, REFUSALS + 1):
            attempt = trial.send(message, *faults)
            trial.expect_answer(attempt, f"number {number} of {REFUSALS} {what} in a row")
            refused |= not accepted(attempt)
        attempt, after = trial.send(valid), f"a valid callback after {REFUSALS} {what}"
        trial.expect_answer(attempt, after)
        if not accepted(attempt):
            trial.inconclusive(f"{after} was {describe(attempt)}: the receiver has begun to refuse valid callbacks")
        trial.expect_effect(valid, after)
    if not refused:
        trial.not_applicable("the receiver refuses neither forged callbacks nor broken ones")


def _warn_if_slow(trial: Trial, attempt: Attempt) -> None:
    if attempt.elapsed > trial.limit / 3:
        trial.warn(f"the answer took {attempt.elapsed:.2f} s, more than a third of the time limit")


_PING_WHY = (
    "When a callback address is saved or refreshed, EngageLab sends a request to it and requires 200 within 3 seconds. "
    "Otherwise the address does not become usable: it never gets a callback. The request in the document "
    "has no signature."
)
_PING = Fix(
    "Before you check the signature, answer 200 to a body without rows. A ping has no effect, so its sender need not "
    "be verified.",
    'if $body in (b"", b"{}"):\n    $ok',
    section="Receive",
)
_DEFER = Fix(
    "Store the callback, acknowledge it, and do the work afterwards, in a job queue or in a thread.",
    own_flask='jobs.put(request.get_data())  # a queue with a worker\nreturn "", 200',
    own_django="handle_callback.delay(request.body.decode())  # Celery, or another queue\nreturn HttpResponse()",
    own_fastapi="background_tasks.add_task(handle, await request.body())  # runs after the answer was sent\n"
    "return Response()",
    section="Serve",
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
        title="A signed, empty ping is acknowledged",
        why="It is not clear from the documents if the real ping has a signature: the text says that EngageLab's "
        "requests include the header, but the example next to it has none. A receiver must accept both.",
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
        why="Only 200 is documented to acknowledge. With any other answer the callback may count as failed, be sent "
        "again, and turn the address abnormal.",
        stimulus="A valid callback.",
        expected="200; another success, such as 204, is a warning.",
        severity=Severity.MAJOR,
        source="S",
        fix=Fix(
            "Answer 200 with an empty body. If every valid callback is refused, compare username, secret and "
            "Authorization with those in the console.",
            "$ok",
            section="Receive",
        ),
        work=_ack_exact,
        needs_valid=False,
    ),
    _check(
        id="A05",
        name="ack-3s",
        title="A valid callback is answered within 3 seconds",
        why="A later answer does not count: EngageLab treats the callback as failed and sends it again, so its "
        "effect is likely to happen twice.",
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
        why="A campaign to thousands of recipients leads to thousands of callbacks within seconds. A receiver that "
        "handles them one by one answers the last ones too late.",
        stimulus=f"{BURST} valid callbacks at once, each about another message.",
        expected="All acknowledged in time.",
        severity=Severity.MAJOR,
        source="?",
        fix=_DEFER,
        work=_ack_burst,
        transports=("http",),
        unless="it needs a server with a queue",
    ),
    _check(
        id="A07",
        name="ack-decoupled",
        title="A callback is acknowledged while downstream calls are slow",
        why="A handler that waits for a mail server, a queue or another service before it answers is as slow as the "
        "slowest of them.",
        stimulus="A valid callback, while the project's `stall` makes the handler's downstream calls take longer than "
        "the time limit.",
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
        why="A redirect is not 200. Frameworks redirect when a slash at the end is missing or should not be there, and "
        "proxies redirect from http to https. A browser follows a redirect, a webhook sender does not.",
        stimulus="The ping and a valid callback, to the registered address.",
        expected="No 301, 302, 303, 307 or 308.",
        severity=Severity.BLOCKER,
        source="S",
        fix=Fix(
            "Register the address that the redirect points to, or serve both forms of the address.",
            own_flask='@app.post("/engagelab", strict_slashes=False)\ndef engagelab():\n    return "", 200',
            own_django='urlpatterns = [re_path(r"^engagelab/?$", engagelab)]',
            own_fastapi='@app.post("/engagelab")\n@app.post("/engagelab/")\nasync def engagelab(request: Request):\n'
            "    return Response()",
            section="Serve",
        ),
        work=_no_redirect,
        needs_valid=False,
    ),
    _check(
        id="A09",
        name="method",
        title="Other methods than POST have no effect",
        why="Crawlers, link checkers and health checks send GET and HEAD. A callback is always a POST.",
        stimulus="A valid callback sent with GET, HEAD, PUT and DELETE.",
        expected="No effect, no 5xx, no hang; 405 or 404 is usual.",
        severity=Severity.MINOR,
        source="S",
        fix=Fix("Accept only POST on the route.", "$view\n    $ok", section="Serve"),
        work=_other_methods,
    ),
    _check(
        id="A10",
        name="ack-framing",
        title="The answer has a proper end",
        why="The sender knows from the length, the last chunk or the end of the connection that an answer is complete. "
        "An answer that announces more bytes than it has keeps the sender waiting until its time limit.",
        stimulus="A valid callback.",
        expected="An answer that ends with its length, its last chunk, or the connection.",
        severity=Severity.MINOR,
        source="?",
        fix=Fix("Let the framework set `Content-Length`; do not set it by hand.", "$ok"),
        work=_ack_framing,
        needs_valid=False,
    ),
    _check(
        id="A11",
        name="after-refusals",
        title="A valid callback is answered after many refused ones",
        why="A handler that takes a connection or a lock before it refuses a callback, and does not give it back, "
        "works until a few callbacks have been refused. After that it answers none.",
        stimulus=f"{REFUSALS} callbacks that are not JSON, and a valid one; {REFUSALS} forged ones, and a valid one.",
        expected="An answer to each, without 5xx; the valid ones are accepted and applied.",
        severity=Severity.MAJOR,
        source="?",
        fix=Fix(
            "Take connections and locks in a `with` statement, so that each way out of the handler gives them back. "
            "Verify the signature before you take them.",
            """\
verify($header)
with pool.connection() as db:
    apply(db, json.loads($body))
$ok""",
            section="Receive",
        ),
        work=_after_refusals,
    ),
)
