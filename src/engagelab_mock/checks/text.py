"""Family D, texts: are unusual, long and quoted texts accepted, and kept as they were sent?"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NoReturn

from engagelab_mock.checks.causes import (
    CHARACTER_SET,
    CUT_OFF,
    DECODED,
    HALF_A_PAIR,
    QUOTES,
    REWRITTEN,
    UNUSUAL,
    crashes,
    explain,
)
from engagelab_mock.checks.check import Cause, Check, Ended, Fix, Severity
from engagelab_mock.checks.profile import accepted
from engagelab_mock.checks.stimulus import body, each_row, row_of
from engagelab_mock.checks.trial import Trial
from engagelab_mock.checks.vocabulary import Variants, message_to, new_address
from engagelab_mock.delivery.model import Attempt
from engagelab_mock.errors import ProbeFailed
from engagelab_mock.explore.state import state_of, values
from engagelab_mock.protocol.events import Event
from engagelab_mock.protocol.status import Status

#: The lengths of long texts. The first must be accepted; a receiver may refuse the second as too long.
LONG, VERY_LONG = 300, 4000
_LONGEST_ADDRESS = 254
#: Sends a valid callback with another text in the same place.
_Send = Callable[[str], Attempt]

_KEY = "\N{KEY}"
#: Texts that must be kept unchanged: with capital letters, with letters of other scripts, and with a letter that is
#: written as two characters but could be written as one.
_MIXED_CASE = "Order MiXeD"
_LETTERS = f"Zo\xeb \u5bc6\u7801 {_KEY} door"
_TWO_PARTS = "Rene\u0301 Ange\u0301lique"


def _texts(trial: Trial) -> None:
    for what, text in UNUSUAL.items():
        for places in (("custom_args", "a key of custom_args", "template_key", "error_detail"), ("a user's reply",)):
            try:
                trial.expect_answer(_send_in(trial, text, *places), f"{what} in {_listed(places)}")
            except Ended as ended:
                for place in places:
                    send = partial(_send_in_place, trial, place)
                    if crashes(send(text)):
                        explain(trial, ended, what, text, place, send)
                raise


def _send_in_place(trial: Trial, place: str, text: str) -> Attempt:
    return _send_in(trial, text, place)


def _send_in(trial: Trial, text: str, *places: str) -> Attempt:
    """Send a valid callback with a text in these places of its row."""
    message = trial.message()
    fails = places == ("error_detail",) and trial.ticks(Status.DELIVERED_FAILED)
    event = trial.event(message, Status.DELIVERED_FAILED, error_code=5001) if fails else trial.event(message)
    row = row_of(event)
    if "a user's reply" in places:
        row = row_of(trial.engagelab.account.uplink(message.to, body="text", at=trial.engagelab.clock.time()))
        row["response"]["response_data"]["body"] = text
    if "custom_args" in places:
        row["custom_args"] = {"note": text}
    if "a key of custom_args" in places:
        row["custom_args"] = {**(row.get("custom_args") or {}), text: "note"}
    if "template_key" in places:
        row["status"]["status_data"]["template_key"] = text
    if "error_detail" in places:
        row["status"]["error_detail"] = {"message": text}
    # Half of a surrogate pair cannot be written in UTF-8, only as an escape.
    content = json.dumps({"total": 1, "rows": [row]}, ensure_ascii=HALF_A_PAIR in text).encode()
    return trial.send(message, body(content))


def _listed(places: Sequence[str]) -> str:
    *others, last = places
    return f"{', '.join(others)} and {last}" if others else last


def _takes_addresses(trial: Trial) -> bool:
    """Tell whether a message to a usual e-mail address has an effect; D24 checks that."""
    try:
        message = trial.message(to=new_address(trial))
    except ProbeFailed:
        return False
    attempt = trial.send(trial.event(message, channel="email"))
    return accepted(attempt) and (not trial.sees or trial.await_effect(message))


def _long_texts(trial: Trial) -> None:
    variants = Variants(trial)
    for length in (LONG, VERY_LONG):
        _send_text(trial, variants, f"a text of {length} characters", "x" * length, may_refuse=length > LONG)
    if _takes_addresses(trial):
        address = new_address(trial)
        labels = (_LONGEST_ADDRESS - len(address)) // 58 * f"{'x' * 57}."
        message = message_to(trial, address.replace("@", f"@{labels}"))
        variants.send(f"an e-mail address of {len(message.to)} characters", message=message, channel="email")
    variants.expect_kept()


def _quotes(trial: Trial) -> None:
    variants = Variants(trial)
    for what, text in QUOTES.items():
        _send_text(trial, variants, what, text)
    if _takes_addresses(trial):
        message = message_to(trial, f"o'brien.{new_address(trial)}")
        variants.send("an apostrophe in an e-mail address", message=message, channel="email")
    variants.expect_kept()


def _send_text(trial: Trial, variants: Variants, what: str, text: str, *, may_refuse: bool = False) -> None:
    """Send a text in each field that users, operators and the app itself can fill."""

    def vary(place: str, send: Callable[..., None], *made: Any, again: _Send | None = None, **fields: Any) -> None:
        try:
            send(f"{what} in {place}", *made, may_refuse=may_refuse, **fields)
        except Ended as ended:
            explain(trial, ended, what, text, place, again or partial(_send_in_place, trial, place))

    vary("custom_args", variants.send, each_row(lambda row: row.update(custom_args={"note": text})))
    if len(text) < LONG:
        vary("a key of custom_args", variants.send, each_row(lambda row: row.update(custom_args={text: "note"})))
    vary("error_detail", variants.send, status=Status.DELIVERED_FAILED, error_message=text)
    vary("a user's reply", variants.send_reply, text)
    account, at = trial.engagelab.account, trial.engagelab.clock.time()
    makers: Any = (
        ("template_audit_result", "reason", account.notification),
        ("template_manage", "template_name", account.system_event),
    )
    for name, field, make in makers:

        def event(text: str, make: Any = make, name: str = name, field: str = field) -> Event:
            made: Event = make(name, at=at, **{field: text})
            return made

        again = partial(_send_made, trial, event)
        vary(f"the {field} of {name}", variants.send_event, make(name, at=at), event(text), again=again)


def _send_made(trial: Trial, make: Callable[[str], Event], text: str) -> Attempt:
    return trial.send(make(text))


def _kept(trial: Trial) -> None:
    """Look for texts in the state, and for changed forms of those that the app does not keep."""
    sent = []
    for text in (_MIXED_CASE, _LETTERS, _TWO_PARTS):
        note, failed, places = trial.message(custom_args={"note": text}), trial.message(), trial.places("response")
        trial.send(note)
        sent.append(("custom_args", text, [note]))
        if trial.ticks(Status.DELIVERED_FAILED):
            trial.send(trial.event(failed, Status.DELIVERED_FAILED, error_code=5012, error_message=text))
            sent.append(("error_detail", text, [failed]))
        if trial.ticks_kind("response") and trial.sees_kind("response"):
            trial.send(trial.context.new_event("response", places[-1], text))
            sent.append(("a user's reply", text, places))
    trial.context.settle()
    shown = []
    for where, text, places in sent:
        leaves = [value for place in places for value in values(state_of(trial.glance(place), place))]
        texts = [leaf for leaf in leaves if isinstance(leaf, str)]
        if any(text in each or json.dumps(text)[1:-1] in each for each in texts):
            shown.append(where)
        elif made := next((each for each in _made_of(text, where) if any(each[0] in kept for kept in texts)), None):
            _fail(trial, f"the text {text!r} in {where} became {made[0]!r}", made[1])
        elif cut := next((each for each in texts if _is_cut_off(text, each)), None):
            _fail(trial, f"the text {text!r} in {where} was cut off: {cut!r}", CUT_OFF)
        elif any(unicodedata.normalize("NFC", text) in each for each in texts):
            trial.warn(f"{where} is kept in another Unicode form: it looks the same, and is not equal")
            shown.append(where)
    if not shown:
        trial.not_applicable("`observe` returns no text of custom_args, of errors or of users' replies")


def _fail(trial: Trial, reason: str, cause: Cause) -> NoReturn:
    trial.fail(f"{reason}. The likely cause is {cause.says}", fix=cause.fix)


def _made_of(text: str, where: str) -> Iterator[tuple[str, Cause]]:
    """Yield the results of decoding, storing or comparing a text wrongly, each with its likely cause."""
    content = text.encode()
    if text == _MIXED_CASE:
        # An app may compare replies in lower case. It needs its own texts unchanged, to find them again.
        yield from ((form, REWRITTEN) for form in ((text.lower(), text.upper()) if where == "custom_args" else ()))
        return
    yield content.decode("latin-1"), DECODED
    yield content.decode("cp1252", "replace"), DECODED
    for encoding in ("ascii", "latin-1"):
        yield text.encode(encoding, "replace").decode(encoding), CHARACTER_SET
    yield text.encode("ascii", "ignore").decode(), CHARACTER_SET
    # Databases with three bytes for a character replace a four-byte character, or cut the text off before it.
    yield from ((text.replace(_KEY, other), CHARACTER_SET) for other in ("?", "????"))


def _is_cut_off(text: str, leaf: str) -> bool:
    """Tell whether a leaf ends with the beginning of a text, cut within a word or before its four-byte character.

    An app may keep only the first word of a reply.
    """
    cuts = [text.partition(_KEY)[0].strip()] if _KEY in text else []
    cuts += [text[:end] for end in range(4, len(text)) if text[end - 1].isalnum() and text[end].isalnum()]
    return any(leaf.strip().endswith(cut) for cut in cuts)


_TEXTS = (
    "custom_args, in the text of an error, in a user's reply, in the reason of a notification, and in a template's name"
)
_check = partial(Check, need="both", severity=Severity.MAJOR)

TEXT = (
    _check(
        id="D16",
        name="unicode",
        title="No text crashes the receiver",
        why="Users can reply with any text, and custom_args come back unchanged. Databases refuse null characters. "
        "Half a surrogate pair is possible in JSON, but cannot be written as UTF-8.",
        stimulus="Valid callbacks with " + ", ".join(UNUSUAL) + " in their texts.",
        expected="No 5xx, no hang.",
        need="http",
        severity=Severity.MAJOR,
        source="?",
        fix=Fix(
            "Replace characters that the database or the log cannot store before you store them.",
            'text = str(json.loads($body)).replace("\\0", "").encode("utf-8", "replace").decode()',
        ),
        work=_texts,
    ),
    _check(
        id="D25",
        name="long-text",
        title="Long texts are accepted",
        why="A text in a callback can be longer than the examples: a WhatsApp reply has up to 4,096 characters, an "
        "e-mail address up to 254. A database refuses a text that is longer than its column, or cuts it off.",
        stimulus=f"Valid callbacks with texts of {LONG} and of {VERY_LONG} characters in {_TEXTS}; and one to an "
        f"e-mail address of {_LONGEST_ADDRESS} characters.",
        expected=f"Acknowledged and applied; a text of {VERY_LONG} characters may be refused with 4xx.",
        source="?",
        fix=Fix(
            "Use text columns without a length limit, or cut the text to the column's length before you store it.",
            """\
for row in json.loads($body)["rows"]:
    detail = row["status"].get("error_detail") or {}
    message = detail.get("message", "")[:255]  # the length of the column""",
        ),
        work=_long_texts,
    ),
    _check(
        id="D26",
        name="quotes",
        title="Quotation marks and apostrophes are stored like any other text",
        why="Users write O'Brien and “quoted” words. A handler that puts a text into SQL, JSON or a template by hand "
        "fails on them, and lets anyone who can write a reply run SQL.",
        stimulus=f"Valid callbacks with {', '.join(QUOTES)} in {_TEXTS}, and with an apostrophe in an e-mail address.",
        expected="Acknowledged and applied.",
        severity=Severity.BLOCKER,
        source="?",
        fix=Fix(
            "Pass texts to the database as parameters. Never build SQL, JSON or a template out of them.",
            """\
for row in json.loads($body)["rows"]:
    db.execute("INSERT INTO events (message_id, data) VALUES (?, ?)", (row["message_id"], json.dumps(row)))""",
            section="Status",
        ),
        work=_quotes,
    ),
    _check(
        id="D29",
        name="text-kept",
        title="Texts are kept as they were sent",
        why="A body is UTF-8. A receiver that decodes it as Latin-1, or a table with another character set, turns é "
        "into Ã© or ? without an error. An app that changes its own reference in custom_args, for example to "
        "lower case, does not find it any more.",
        stimulus="Valid callbacks with capital letters, letters of other scripts, an emoji, and a letter of two "
        "characters in custom_args, in the text of an error, and in a user's reply.",
        expected="`observe` returns each text as it was sent, if it returns texts at all.",
        severity=Severity.MINOR,
        need="probe",
        source="?",
        fix=Fix(
            "Parse the bytes of the body, without decoding them yourself. Use UTF-8 for the connection to the database "
            "and for its tables (in MySQL utf8mb4), and columns that are long enough. Keep the texts of custom_args as "
            "they are.",
            "envelope = json.loads($body)  # bytes: JSON is UTF-8",
        ),
        work=_kept,
    ),
)
