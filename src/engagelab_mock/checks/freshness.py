"""Freshness: does the receiver refuse callbacks of another user and old ones, and does it recognise repeated ones?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.duplicates import Once
from engagelab_mock.checks.stimulus import again, signed
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.protocol.signature import TOLERANCE

#: How many messages come between an event and its duplicate, and for how many of them answers are compared.
MESSAGES, _SAMPLE = 2000, 50
#: How much longer answers may take at the end, and from which time an answer is slow, in seconds.
_SLOWER, _SLOW = 5, 0.05
#: Digits outside ASCII, which `str.isdigit` and `int` accept.
_FULL_WIDTH = str.maketrans({str(digit): chr(0xFF10 + digit) for digit in range(10)})
_TIMESTAMPS: dict[str, Callable[[int], str]] = {
    "in milliseconds": lambda now: str(now * 1000),
    "with a fraction": lambda now: f"{now}.5",
    "below zero": lambda now: f"-{now}",
    "that is empty": lambda now: "",
    "in digits that are not ASCII": lambda now: str(now).translate(_FULL_WIDTH).encode().decode("latin-1"),
}


def _other_username(trial: Trial) -> None:
    message = trial.message()
    trial.expect_refused(
        trial.send(message, "other_username"), message, "a callback signed validly for another username"
    )


def _stale(trial: Trial) -> None:
    message = trial.message()
    trial.expect_refused(trial.send(message, "stale"), message, f"a callback signed {TOLERANCE + 60} s ago")


def _future(trial: Trial) -> None:
    message = trial.message()
    trial.expect_refused(trial.send(message, "future"), message, f"a callback signed {TOLERANCE + 60} s ahead")


def _skew(trial: Trial) -> None:
    sent = {}
    for name, word in (("stale", "ago"), ("future", "ahead")):
        for seconds in (60, 240):
            what = f"a callback signed {seconds} s {word}"
            sent[what] = message = trial.message()
            # Such a signature is genuine, so it must be accepted.
            trial.expect_accepted(trial.send(message, fault(name, by=seconds)), what)
    for what, message in sent.items():
        trial.expect_effect(message, what)


def _timestamps(trial: Trial) -> None:
    for what, spell in _TIMESTAMPS.items():
        message = trial.message()
        trial.expect_refused(trial.send(message, signed(timestamp=spell)), message, f"a timestamp {what}")


def _replayed(trial: Trial) -> None:
    once = Once(trial)
    message = trial.message()
    attempt = trial.send(once.event(message))
    trial.expect_accepted(attempt)
    once.learn()
    first = trial.glance(message)
    second = trial.resend(attempt, message)
    what = "the same request a second time"
    once.check(message, what, first=first)
    trial.expect_answer(second, what)


def _replayed_over_another_body(trial: Trial) -> None:
    message = trial.message()
    first = trial.send(message)
    trial.expect_accepted(first)
    trial.await_effect(message)
    other = trial.message()
    second = trial.send(other, again(first))
    trial.expect_no_effect(second, other, "another body with a signature that was used before")
    trial.expect_answer(second, "another body with a signature that was used before")


def _after_many(trial: Trial) -> None:
    trial.expect_own_state()
    once = Once.of_all(trial)
    messages = {status: trial.message() for status in once.visible}
    for status, message in messages.items():
        trial.show(message)
        trial.expect_accepted(trial.send(once.event(message, status)), f"a valid callback of {status}")
    first = dict(zip(messages, trial.settled([*messages.values()]), strict=True))
    took = list[float]()
    while len(took) < MESSAGES and trial.time_left() > 1 + trial.context.profile.lag:
        attempt = trial.send(trial.context.new_message())
        trial.expect_accepted(attempt, f"a valid callback after {len(took)} others")
        took.append(attempt.elapsed)
    if len(took) < MESSAGES / 2:
        trial.out_of_time()
    if len(took) < MESSAGES:
        trial.warn(f"there was only time for {len(took)} of {MESSAGES} messages: give more, with `timeout=` or --total")
    whats = {status: f"{status} that came again after {len(took)} other messages" for status in messages}
    for status, message in messages.items():
        once.again(message, whats[status], once.schedule(2, status), status=status)
    trial.context.settle()
    for status, message in messages.items():
        once.check(message, whats[status], status=status, first=first[status], settled=True)
    usual, last = median(took[:_SAMPLE]), median(took[-_SAMPLE:])
    if last > max(_SLOW, _SLOWER * usual):
        trial.warn(f"answers took {usual:.3f} s at first, and {last:.3f} s at the end: a query may read all rows")


_WINDOW_WHY = (
    "The body is not signed, so an attacker who has seen one header could use it for ever, with any body. The time "
    "window in which it is accepted is the first defence; the official SDK allows 300 seconds either way."
)
_WINDOW = Fix(
    f"Refuse a timestamp that is more than {TOLERANCE} seconds in the past or in the future.",
    f"if not re.fullmatch('[0-9]{{10}}', timestamp) or abs(time.time() - int(timestamp)) > {TOLERANCE}:\n"
    "    $refuse_401",
    section="Signature",
)
_ONCE = Fix(
    "Give each event a key: message id, status, channel and `itime`, unique in your database. Insert the key in the "
    "same transaction as the effect.",
    """\
with database.transaction():
    if database.insert_if_new(message_id, status, channel, itime):
        have_the_effect(message_id, status)
$ok""",
    section="Status",
)
_NONCE = Fix(
    f"Remember each nonce for {2 * TOLERANCE} seconds, together with a digest of its body, and refuse the nonce with "
    "any other body. The same request again is harmless if each event has its effect once.",
    """\
digest = hashlib.sha256($body).hexdigest()
if cache.get_or_set(nonce, digest) != digest:
    $refuse_401""",
    section="Store",
)
_FOREVER = Fix(
    "Keep the keys of events in the database as long as the messages. Do not use a cache of limited size.",
    """\
with database.transaction():
    if database.insert_if_new(message_id, status, channel, itime):  # a table with a unique key, not a cache
        have_the_effect(message_id, status)
$ok""",
    section="Store",
)
_check = partial(Check, needs_signature=True, need="http", expected="Refused: no effect, no 5xx, no hang.", source="K")

FRESHNESS = (
    _check(
        id="B11",
        name="username-pin",
        title="A callback signed for another username is refused",
        why="The username is part of the signed text. A receiver that takes the username from the header instead of "
        "its own settings trusts anyone who shares the secret, and cannot notice digits moved into the username.",
        stimulus="A callback signed validly, with the right secret, for another username.",
        severity=Severity.MAJOR,
        fix=Fix(
            "Compare the header's username with your own.",
            "if username != USERNAME:\n    $refuse_401",
            section="Signature",
        ),
        work=_other_username,
    ),
    _check(
        id="B12",
        name="ts-stale",
        title="A callback signed too long ago is refused",
        why=_WINDOW_WHY,
        stimulus=f"A callback signed validly {TOLERANCE + 60} seconds ago.",
        severity=Severity.MAJOR,
        fix=_WINDOW,
        work=_stale,
    ),
    _check(
        id="B13",
        name="ts-future",
        title="A callback signed too far ahead is refused",
        why=_WINDOW_WHY + " A header from the future stays valid until then.",
        stimulus=f"A callback signed validly {TOLERANCE + 60} seconds ahead.",
        severity=Severity.MAJOR,
        fix=_WINDOW,
        work=_future,
    ),
    _check(
        id="B14",
        name="skew-ok",
        title="Clocks that differ by a few minutes are tolerated",
        why="The clocks of two machines are never the same, and a callback may wait in a proxy. A window narrower than "
        "the official SDK's loses genuine callbacks.",
        stimulus="Callbacks signed 60 and 240 seconds ago and ahead.",
        expected="Accepted.",
        severity=Severity.MAJOR,
        fix=_WINDOW,
        work=_skew,
    ),
    _check(
        id="B15",
        name="ts-format",
        title="A timestamp that is not in Unix seconds is refused",
        why="A timestamp is Unix time in seconds, in decimal digits. Any other timestamp is not from EngageLab, and "
        "must not make the receiver crash or skip the time window.",
        stimulus=f"Callbacks with validly signed timestamps {', '.join(_TIMESTAMPS)}.",
        severity=Severity.MINOR,
        source="S",
        fix=_WINDOW,
        work=_timestamps,
    ),
    _check(
        id="B16",
        name="replay-exact",
        title="The same request again has no second effect",
        why="Networks and proxies can send a request twice, and an attacker who has recorded a request can send it "
        "again while its timestamp is accepted.",
        stimulus="A valid callback, and the same bytes once more.",
        expected="One effect, no 5xx; the second may be acknowledged or refused.",
        severity=Severity.MAJOR,
        need="probe",
        source="?",
        fix=_ONCE,
        work=_replayed,
    ),
    _check(
        id="B17",
        name="replay-swapped-body",
        title="A signature that was used before is refused with another body",
        why="This is a weakness of the protocol itself: the signature covers timestamp, nonce and username, but not "
        "the body. An attacker who sees one genuine header can send any body with it until its timestamp is too old. "
        "A receiver can only remember nonces; the official SDK does not.",
        stimulus="A valid callback, and then another message's rows with the same header.",
        expected="No effect on the other message, no 5xx.",
        severity=Severity.MAJOR,
        need="probe",
        source="?",
        fix=_NONCE,
        work=_replayed_over_another_body,
    ),
    Check(
        id="C18",
        name="many-messages",
        title="An event is still recognised after many other messages",
        why="A retry comes up to days later, after thousands of other events. A receiver that keeps known events in a "
        "cache forgets the first when the cache is full, and has its effect again. One whose query reads all rows "
        "becomes slower with each message.",
        stimulus=f"A valid callback of each status that has an effect, {MESSAGES} callbacks about other messages, and "
        "the first events once more.",
        expected=f"One effect. Answers that take {_SLOWER} times as long at the end are a warning.",
        severity=Severity.MAJOR,
        need="probe",
        source="X",
        fix=_FOREVER,
        work=_after_many,
        deep=True,
    ),
)
