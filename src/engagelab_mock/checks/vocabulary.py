"""Family D, vocabulary: every code, channel and recipient that a row may contain, and rows of mixed kinds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import permutations
from typing import Any

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.profile import accepted, describe
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.faults.fault import Fault
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.explore.state import Path, dotted, names, state_of
from engagelab_mock.messages.message import Message
from engagelab_mock.protocol.errorcodes import ERROR_CODES
from engagelab_mock.protocol.events import KINDS, Event
from engagelab_mock.protocol.status import Channel, Status

#: The codes below are answers of the REST API, not reasons for a failed delivery.
_FIRST_CODE = 4001
#: The vendor's table of reasons. An app may choose between these on purpose without knowing the other codes.
_IN_TABLE = range(5001, 5021)
UNKNOWN_CODE = 5999
#: A new channel with a long name, and one that the newer documents show in an example [D].
UNKNOWN_CHANNELS = ("rcs_business_messaging", "CHANNEL_A")
_FAILURE: dict[str, Any] = {"error_code": 5001}


class Variants:
    """Send unusual callbacks, each about another message, and find those that are lost, although usual ones are not."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        #: A message for each status that had the usual callback.
        self._usual: dict[Status | str, Message] = {}
        #: Whether the usual account event was accepted, by its name. The check D19 expects it to be accepted.
        self._usual_events: dict[str, bool] = {}
        self._sent: list[tuple[str, str, Message]] = []
        self._lost_replies: list[str] = []
        #: Whether the effect of a usual reply is visible; None before one was sent.
        self._keeps_replies: bool | None = None

    def send(
        self,
        what: str,
        *faults: Fault,
        status: str = "",
        may_refuse: bool = False,
        message: Message | None = None,
        **fields: Any,
    ) -> None:
        """Send a callback of a status (default: one that has an effect), and fail unless it is accepted."""
        trial = self._trial
        status = status or trial.context.profile.status
        if not trial.ticks(status):
            return
        if status not in self._usual:
            self._usual[status] = usual = trial.message()
            attempt = trial.send(trial.event(usual, status, **_usual_fields(status)))
            if not accepted(attempt):
                trial.inconclusive(f"a usual callback of {status}: {describe(attempt)}; D19 checks that")
        message = message or trial.message()
        attempt = trial.send(trial.event(message, status, **{**_usual_fields(status), **fields}), *faults)
        if self._is_accepted(attempt, what, may_refuse=may_refuse):
            self._sent.append((what, status, message))

    def send_reply(self, what: str, text: str, *, may_refuse: bool = False) -> None:
        """Send a user's reply, and fail unless it is accepted."""
        trial = self._trial
        if self._keeps_replies is None:
            self._keeps_replies = _keeps_replies(trial)
        places = trial.places("response")
        reply = trial.context.new_event("response", places[-1], text)
        if not trial.receiver.settings.wants(reply):
            return
        taken = self._is_accepted(trial.send(reply), what, may_refuse=may_refuse)
        if taken and self._keeps_replies and not any(trial.effects(*places)):
            self._lost_replies.append(what)

    def send_event(self, what: str, usual: Event, event: Event, *, may_refuse: bool = False) -> None:
        """Send an event of the account, and fail unless it is accepted; its effect is not visible."""
        trial = self._trial
        if not trial.receiver.settings.wants(event):
            return
        if usual.name not in self._usual_events:
            self._usual_events[usual.name] = accepted(trial.send(usual))
        if self._usual_events[usual.name]:
            self._is_accepted(trial.send(event), what, may_refuse=may_refuse)

    def expect_kept(self, known: Sequence[str] = (), *, status: bool = False) -> None:
        """Fail if a variant was lost. For a `known` one, it cannot be told whether the app ignores it on purpose.

        With `status`, also fail if the app stored a message without the status that the usual callback leads to.
        """
        if not self._usual:
            self._trial.skip("the receiver's settings do not tick the statuses that this check sends")
        lost = dict.fromkeys(self._lost())
        if ignored := [what for what in lost if what in known]:
            self._trial.inconclusive(
                f"{', '.join(ignored)} had no effect, unlike others: right only if the app ignores it on purpose"
            )
        for what in lost:
            self._trial.fail(f"{what} was acknowledged and had no effect")
        for what, path in self._half_lost() if status else ():
            self._trial.fail(f"{what} was acknowledged and had no effect on {dotted(path)}")

    def _lost(self) -> list[str]:
        """Return the variants that were accepted and had no effect, although the usual callback had one."""
        trial = self._trial
        if not trial.sees:
            return []
        messages = [*self._usual.values(), *(message for _, _, message in self._sent)]
        changed = dict(zip((message.id for message in messages), trial.effects(*messages), strict=True))
        seen = {status for status, message in self._usual.items() if changed[message.id]}
        lost = [(what, each) for what, status, each in self._sent if status in seen and not changed[each.id]]
        # Wait only once, for the first: if the app needs more time than usual, the others have their effects meanwhile.
        late = [trial.await_effect(each) for _, each in lost[:1]] + trial.effects(*(each for _, each in lost[1:]))
        return [what for (what, _), came in zip(lost, late, strict=True) if not came] + self._lost_replies

    def _half_lost(self) -> Iterator[tuple[str, Path]]:
        """Yield the variants whose message has no status, although that of the usual callback has one, and where."""
        trial = self._trial
        if not trial.sees:
            return
        shown = {status: state_of(trial.glance(usual), usual) for status, usual in self._usual.items()}
        for what, status, message in self._sent:
            state = state_of(trial.glance(message), message)
            for path, value in shown[status].items():
                # Another word than the usual one may be right.
                if names(value, status) and state.get(path) in {None, ""}:
                    yield what, path

    def _is_accepted(self, attempt: Attempt, what: str, *, may_refuse: bool) -> bool:
        trial = self._trial
        if not may_refuse:
            trial.expect_accepted(attempt, what)
        trial.expect_answer(attempt, what)
        if not accepted(attempt):
            trial.warn(f"{what} was {describe(attempt)}: EngageLab sends it again until it gives up")
        return accepted(attempt)


def _usual_fields(status: str) -> dict[str, Any]:
    return _FAILURE if Status(status).failure else {}


def _keeps_replies(trial: Trial) -> bool:
    """Tell whether the effect of a usual reply is visible. The check D15 expects that no reply is lost after others."""
    if not trial.sees_kind("response"):
        return False
    places = trial.places("response")
    trial.send(trial.context.new_event("response", places[-1]))
    return any(trial.effects(*places))


def _error_codes(trial: Trial) -> None:
    variants = Variants(trial)
    codes = {f"the error code {code}": code for code in ERROR_CODES if code >= _FIRST_CODE}
    for what, code in codes.items():
        variants.send(what, status=Status.DELIVERED_FAILED, error_code=code)
    for status in (Status.TARGET_INVALID, Status.SENT_FAILED, Status.DELIVERED_FAILED):
        fields: dict[str, Any] = {"error_code": UNKNOWN_CODE, "error_message": "a new reason"}
        variants.send(f"the unknown error code {UNKNOWN_CODE} of {status}", status=status, **fields)
    variants.expect_kept([what for what, code in codes.items() if code in _IN_TABLE], status=True)


def _channels(trial: Trial) -> None:
    variants = Variants(trial)
    known = [f"the channel {channel}" for channel in Channel]
    for what in (*known, *(f"the unknown channel {name}" for name in UNKNOWN_CHANNELS)):
        for status in dict.fromkeys((trial.context.profile.status, Status.SENT)):
            variants.send(what, status=status, channel=what.split()[-1])
    variants.expect_kept(known, status=True)


def _address(trial: Trial) -> None:
    variants = Variants(trial)
    variants.send("an e-mail address as the recipient", message=message_to(trial, new_address(trial)), channel="email")
    variants.expect_kept(status=True)


def new_address(trial: Trial) -> str:
    """Return an e-mail address."""
    return trial.engagelab._engine.generate.email()


def message_to(trial: Trial, address: str) -> Message:
    """Make a message to an e-mail address. If `prepare` fails for it, end the trial as inconclusive."""
    return trial.message_with("an e-mail address as the recipient", to=address)


def _mixed_kinds(trial: Trial) -> None:
    sent: list[tuple[str, Message]] = []
    message = trial.message()
    kinds = [*_one_of_each(trial, message, message)]
    if "status" not in kinds or len(kinds) < 2:
        trial.skip("the receiver's settings do not tick message statuses and another kind of event")
    shown = "response" in kinds and _keeps_replies(trial)
    for order in permutations(kinds):
        message, places = trial.message(), trial.places("response")
        events = _one_of_each(trial, message, places[-1])
        what = f"a callback with the rows {', '.join(order)}"
        trial.expect_accepted(trial.send([events[kind] for kind in order]), what)
        # If the app works after its answer, reading takes time: read once for each kind that comes first.
        if shown and order[1:] == tuple(sorted(order[1:])) and not any(trial.effects(*places)):
            trial.fail(f"{what} was acknowledged, and its response had no effect")
        sent.append((what, message))
    for what, message in sent:
        trial.expect_effect(message, f"the status in {what}")


def _one_of_each(trial: Trial, message: Message, sender: Message) -> dict[str, Event]:
    """Return an event of each kind that the receiver subscribes to."""
    events = {
        kind: trial.event(message) if kind == "status" else trial.context.new_event(kind, sender) for kind in KINDS
    }
    return {kind: event for kind, event in events.items() if trial.receiver.settings.wants(event)}


_NEW_VALUES = (
    "The documents list these values, and the list grows: newer pages have values that the first document does not "
    "have. An enumeration or a table of known values makes the handler fail on the next one."
)
_check = partial(Check, need="both", severity=Severity.MAJOR)

VOCABULARY = (
    _check(
        id="D22",
        name="error-codes",
        title="Every error code is accepted, also an unknown one",
        why=f"A failure has an error code, such as 5013 for a blocked number. {_NEW_VALUES}",
        stimulus="Valid callbacks of delivered_failed with each documented code from "
        f"{_FIRST_CODE} on, and of three failures with the code {UNKNOWN_CODE}.",
        expected="Acknowledged. If the app keeps failures, it keeps this one, too.",
        source="D",
        fix=Fix(
            "Store the number of the code. Look up its text with a default.",
            """\
for row in json.loads($body)["rows"]:
    code = row["status"]["error_code"]
    reason = REASONS.get(code, f"error {code}")""",
            section="Status",
        ),
        work=_error_codes,
    ),
    _check(
        id="D23",
        name="channels",
        title="Every channel is accepted, also an unknown one",
        why=f"A message can be sent by SMS, WhatsApp, voice or e-mail. {_NEW_VALUES} A column for “whatsapp” may be "
        "too short for the next name.",
        stimulus=f"Valid callbacks with each documented channel, and with {' and '.join(UNKNOWN_CHANNELS)}.",
        expected="Acknowledged and applied.",
        source="D",
        fix=Fix(
            "Store the channel as text of any length. Do not decide by it whether an event counts.",
            """\
for row in json.loads($body)["rows"]:
    channel = row["status"]["status_data"].get("current_send_channel", "")
    price = PRICES.get(channel, DEFAULT_PRICE)  # not PRICES[channel], not an enumeration""",
            section="Status",
        ),
        work=_channels,
    ),
    _check(
        id="D24",
        name="email-recipient",
        title="A recipient can be an e-mail address",
        why="`to` is a phone number or an e-mail address. A receiver that turns it into a number, or validates it as "
        "one, fails as soon as a template uses e-mail.",
        stimulus="A valid callback about a message to an e-mail address, by e-mail.",
        expected="Acknowledged and applied.",
        source="D",
        fix=Fix(
            "Keep the recipient as text. Treat it as a phone number only if it begins with `+`.",
            """\
for row in json.loads($body)["rows"]:
    recipient = str(row["to"])
    phone = recipient if recipient.startswith("+") else None""",
            section="Status",
        ),
        work=_address,
    ),
    _check(
        id="D27",
        name="mixed-kinds",
        title="Rows of different kinds can share a callback",
        why="One request has one list of rows, and these may be of different kinds: no document excludes it. A "
        "receiver that takes the kind of the first row for the kind of all loses the others, or fails on them.",
        stimulus="Valid callbacks with a status, a notification, a user's reply and a system event, in every order.",
        expected="Acknowledged, and the status is applied.",
        source="?",
        fix=Fix(
            "Look at the kind of each row.",
            """\
for row in json.loads($body)["rows"]:
    for kind, handle in HANDLERS.items():  # status, notification, response, system_event
        if isinstance(row.get(kind), dict):
            handle(row)
$ok""",
            section="Status",
        ),
        work=_mixed_kinds,
    ),
)
