"""Family B, the signature: is a callback with a missing or wrong signature refused, and a signed one accepted?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from engagelab_mock.checks.check import Check, Fix, Severity
from engagelab_mock.checks.profile import accepted, describe
from engagelab_mock.checks.stimulus import signature, signing
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.faults.catalogue import fault
from engagelab_mock.protocol.settings import ACCOUNT_EVENTS

#: Malformed values of the header, by their error. Each is made from a genuine value.
_MALFORMED: dict[str, Callable[[str], str]] = {
    "an empty signature header": lambda genuine: "",
    "a header that is one word": lambda genuine: "garbage",
    "a header without =": lambda genuine: "timestamp;nonce;username;signature",
    "a header of separators": lambda genuine: ";=;=;;",
    "a header without signature": lambda genuine: genuine.rpartition(";")[0],
    "a header without timestamp": lambda genuine: genuine.partition(";")[2],
    "an empty signature part": lambda genuine: genuine.rpartition("=")[0] + "=",
    "a signature that is not hex": lambda genuine: genuine.rpartition("=")[0] + "=" + "z" * 64,
}


def _missing(trial: Trial) -> None:
    message = trial.message()
    trial.expect_refused(trial.send(message, "missing_signature"), message, "a callback without a signature")


def _wrong_secret(trial: Trial) -> None:
    message = trial.message()
    trial.expect_refused(trial.send(message, "wrong_secret"), message, "a callback signed with another secret")


def _malformed(trial: Trial) -> None:
    for what, change in _MALFORMED.items():
        message = trial.message()
        trial.expect_refused(trial.send(message, signature(change)), message, what)


def _not_ascii(trial: Trial) -> None:
    # As a server passes it to the app: each byte of the UTF-8 as a character.
    e_acute = "é".encode().decode("latin-1")
    for what, part in (("a signature", "signature="), ("a username", "username=")):
        message = trial.message()
        attempt = trial.send(message, signature(partial(_insert, after=part, text=e_acute)))
        trial.expect_refused(attempt, message, f"{what} with a character that is not ASCII")


def _insert(value: str, *, after: str, text: str) -> str:
    return value.replace(after, after + text)


def _prefix(trial: Trial) -> None:
    """Send signatures that are only partly right. If all are refused, one read of the state is enough."""
    message = trial.message()
    for what, change in _PARTLY_RIGHT.items():
        attempt = trial.send(message, signature(change))
        trial.expect_answer(attempt, what)
        if accepted(attempt):
            # A receiver that answers 200 to all of them gets one warning, not one for each.
            expect = trial.expect_no_effect if trial.warnings else trial.expect_refused
            expect(attempt, message, what)
    trial.expect_no_effect(attempt, message, "a signature that is only partly right")


def _cut(value: str, *, digits: int) -> str:
    head, _, given = value.rpartition("=")
    return f"{head}={given[:digits]}"


def _other_digit(value: str, *, place: int) -> str:
    head, _, given = value.rpartition("=")
    digits = [*given]
    digits[place] = "0" if digits[place] != "0" else "1"
    return f"{head}={''.join(digits)}"


_PARTLY_RIGHT: dict[str, Callable[[str], str]] = {
    "a genuine signature whose last digit is wrong": partial(_other_digit, place=-1),
    "a genuine signature whose first digit is wrong": partial(_other_digit, place=0),
    **{
        f"a genuine signature cut to {digits} of its 64 digits": partial(_cut, digits=digits) for digits in range(1, 64)
    },
}


def _empty_secret(trial: Trial) -> None:
    message = trial.message()
    trial.expect_refused(trial.send(message, signing(secret="")), message, "a callback signed with an empty secret")


def _other_kinds(trial: Trial) -> None:
    kinds = [kind for kind in ACCOUNT_EVENTS if trial.ticks_kind(kind)]
    if not kinds:
        trial.skip("the receiver's settings only tick message statuses")
    unseen = []
    for kind in kinds:
        for forgery, how in (("missing_signature", "unsigned"), ("wrong_secret", "signed with another secret")):
            places = trial.places(kind)
            event = trial.context.new_event(kind, places[-1])
            what = f"the {kind} {event.name}, {how},"
            shown = trial.sees_kind(kind)
            attempt = trial.send(event, forgery)
            trial.expect_answer(attempt, what)
            if shown and any(trial.effects(*places)):
                trial.fail(f"{what} had an effect", basis="state")
            if accepted(attempt) and shown:
                trial.warn(f"{what} had no effect, but was {describe(attempt)} like a genuine one")
            elif accepted(attempt):
                unseen.append((f"{what} was {describe(attempt)} like a genuine one", forgery))
    for what, forgery in unseen:
        # The answer does not decide: a receiver may acknowledge a kind that it ignores before it verifies anything.
        also = "and so is a status" if accepted(trial.send(trial.message(), forgery)) else "but a status is refused"
        trial.inconclusive(f"{what}, {also}: whether it had an effect cannot be seen")


def _used_nonce(trial: Trial) -> None:
    for what, same in (("of the same event", True), ("of another event", False)):
        nonce = trial.engagelab._engine.generate.nonce()
        message = trial.message()
        forged = trial.send(message if same else trial.message(), signing(nonce=nonce), "wrong_secret")
        if accepted(forged):
            trial.inconclusive(f"a forged callback was {describe(forged)}; B02 checks that")
        genuine = f"a genuine callback whose nonce a forgery {what} had used"
        trial.expect_accepted(trial.send(message, signing(nonce=nonce)), genuine)
        trial.expect_effect(message, genuine)


def _header_case(trial: Trial) -> None:
    message = trial.message()
    trial.expect_accepted(trial.send(message, "lowercase_headers"), "a valid callback with header names in lower case")
    trial.expect_effect(message, "a valid callback with header names in lower case")


def _segment_order(trial: Trial) -> None:
    changes: dict[str, Callable[[str], str]] = {
        "a valid signature with its nonce first": _nonce_first,
        "a valid signature with spaces after the semicolons": lambda value: value.replace(";", "; "),
    }
    for what, change in changes.items():
        message = trial.message()
        trial.expect_accepted(trial.send(message, signature(change, forged=False)), what)
        trial.expect_effect(message, what)


def _nonce_first(value: str) -> str:
    timestamp, nonce, *rest = value.split(";")
    return ";".join([nonce, timestamp, *rest])


def _duplicated(trial: Trial) -> None:
    for what, forged_first in (("after", False), ("before", True)):
        message = trial.message()
        attempt = trial.send(message, fault("duplicated_signature", forged_first=forged_first))
        trial.expect_refused(attempt, message, f"a forged signature header {what} a genuine one")


def _underscores(trial: Trial) -> None:
    message = trial.message()
    trial.expect_refused(trial.send(message, "underscore_header"), message, "X_CALLBACK_ID instead of X-CALLBACK-ID")


def _shifted(trial: Trial) -> None:
    for what, change in _SHIFTS.items():
        message = trial.message()
        trial.expect_refused(trial.send(message, signature(change)), message, f"a genuine signature with {what}")


def _shift(value: str, *, move: Callable[[str, str, str], tuple[str, str, str]]) -> str:
    parts = [segment.partition("=")[2] for segment in value.split(";")]
    timestamp, nonce, username = move(*parts[:3])
    return f"timestamp={timestamp};nonce={nonce};username={username};signature={parts[3]}"


_SHIFTS = {
    "a digit moved from timestamp to nonce": partial(_shift, move=lambda t, n, u: (t[:-1], t[-1] + n, u)),
    "a digit moved from nonce to timestamp": partial(_shift, move=lambda t, n, u: (t + n[0], n[1:], u)),
    "a digit moved from nonce to username": partial(_shift, move=lambda t, n, u: (t, n[:-1], n[-1] + u)),
}

_FORGERY = (
    "Only the signature distinguishes EngageLab from anyone else who knows the address. A receiver that does not "
    "require it lets anyone report any status of any message."
)
_CRASH = (
    "Anyone can send any header. A receiver must refuse a header that it cannot read. A receiver that crashes instead "
    "fills its log, raises alarms, and can be brought down on purpose."
)
_VERIFY = Fix(
    "Split the header into its parts, compute the digest with your own username and secret, and compare the whole "
    "digest, as bytes and in constant time. Refuse a header that lacks a part.",
    """\
parts = dict(part.strip().partition("=")[::2] for part in $header.split(";"))
timestamp, nonce, given = (parts.get(name, "") for name in ("timestamp", "nonce", "signature"))
signed = f"{timestamp}{nonce}{USERNAME}".encode("utf-8", "surrogatepass")
expected = hmac.new(SECRET.encode(), signed, "sha256").hexdigest()
if parts.get("username") != USERNAME or not hmac.compare_digest(expected.encode(), given.encode()):
    $refuse_401""",
    section="Signature",
)
_PARSE = Fix(
    "Read the four parts by their names, in any order, and strip the spaces around them.",
    'parts = dict(part.strip().partition("=")[::2] for part in $header.split(";"))',
    section="Signature",
)
_ONE = Fix(
    "Refuse a second X-CALLBACK-ID. WSGI servers, PHP and Node join both by a comma; Starlette and Go give the first.",
    own_flask='if "," in request.headers.get("X-CALLBACK-ID", ""):\n    return "", 401',
    own_django='if "," in request.headers.get("X-CALLBACK-ID", ""):\n    return HttpResponse(status=401)',
    own_fastapi='if len(request.headers.getlist("X-CALLBACK-ID")) != 1:\n    return Response(status_code=401)',
    section="Receive",
)
_SHAPE = Fix(
    "Check each part before you join them: a timestamp of ten digits, close to the present time, and your username.",
    'if not re.fullmatch("[0-9]{10}", timestamp) or username != USERNAME or abs(time.time() - int(timestamp)) > 300:\n'
    "    $refuse_401",
    section="Signature",
)
_check = partial(Check, needs_signature=True, need="http", expected="Refused: no effect, no 5xx, no hang.", source="S")

SIGNATURE = (
    _check(
        id="B01",
        name="sig-missing",
        title="A callback without a signature is refused",
        why=_FORGERY,
        stimulus="A callback with an event and no `X-CALLBACK-ID`.",
        expected="401 or 403, no effect.",
        severity=Severity.BLOCKER,
        fix=_VERIFY,
        work=_missing,
    ),
    _check(
        id="B02",
        name="sig-wrong-secret",
        title="A callback signed with another secret is refused",
        why=_FORGERY,
        stimulus="A callback signed with a secret that is not the receiver's.",
        expected="401 or 403, no effect.",
        severity=Severity.BLOCKER,
        fix=_VERIFY,
        work=_wrong_secret,
    ),
    _check(
        id="B03",
        name="sig-malformed",
        title="A malformed signature header is refused",
        why=_CRASH,
        stimulus=f"Callbacks with {len(_MALFORMED)} malformed headers: {', '.join(_MALFORMED)}.",
        severity=Severity.MAJOR,
        fix=_VERIFY,
        work=_malformed,
    ),
    _check(
        id="B04",
        name="sig-nonascii",
        title="A signature header with characters that are not ASCII is refused",
        why="`hmac.compare_digest` raises TypeError for text that is not ASCII, and so do other comparisons in "
        "constant time. " + _CRASH,
        stimulus="A genuine header with `é` as UTF-8 in its signature, and one with `é` in its username.",
        severity=Severity.MAJOR,
        source="K",
        fix=_VERIFY,
        work=_not_ascii,
    ),
    _check(
        id="B05",
        name="sig-prefix",
        title="A signature that is only partly right is refused",
        why="A comparison that stops at the end of the shorter text accepts a signature of one digit, which can be "
        "guessed. One that looks at the first digits only makes the rest of the signature worthless.",
        stimulus="Callbacks with the first 1 to 63 of the signature's 64 digits, and with a wrong first or last digit.",
        severity=Severity.BLOCKER,
        fix=_VERIFY,
        work=_prefix,
    ),
    _check(
        id="B06",
        name="header-case",
        title="Header names in lower case are understood",
        why="Header names are case-insensitive: proxies change their case, and HTTP/2 only has lower case.",
        stimulus="A valid callback with its header names in lower case.",
        expected="Accepted.",
        severity=Severity.BLOCKER,
        source="?",
        fix=Fix("Read headers from the framework's mapping, which ignores case.", "value = $header", section="Serve"),
        work=_header_case,
    ),
    _check(
        id="B07",
        name="segment-order",
        title="The parts of the signature are understood in any order",
        why="The document shows one order, but does not promise it. The official SDK accepts any order, and spaces.",
        stimulus="A valid callback with its nonce first, and one with spaces after the semicolons.",
        expected="Accepted.",
        severity=Severity.MINOR,
        source="K",
        fix=_PARSE,
        work=_segment_order,
    ),
    _check(
        id="B08",
        name="dup-header",
        title="Two signature headers are refused",
        why="If a header is there twice, servers differ in which one they give to the app, and proxies in which one "
        "they check. Then one part of a system may verify one header, and another part use the other.",
        stimulus="A callback with two `X-CALLBACK-ID`, one genuine and one forged, in both orders.",
        severity=Severity.MAJOR,
        source="?",
        fix=_ONE,
        work=_duplicated,
    ),
    _check(
        id="B09",
        name="underscore-spoof",
        title="`X_CALLBACK_ID` is not taken for the signature",
        why="CGI and WSGI turn hyphens into underscores. If a server does not drop headers with underscores, a client "
        "can set a header that a proxy should have removed.",
        stimulus="A callback whose valid signature is only in a header named `X_CALLBACK_ID`.",
        severity=Severity.MINOR,
        source="?",
        fix=Fix(
            "Use a server that drops headers with underscores. gunicorn, waitress and uvicorn do; the standard "
            "library's wsgiref does not.",
            section="Serve",
        ),
        work=_underscores,
        transports=("http",),
        unless="it needs a server, which could confuse the two names",
    ),
    _check(
        id="B10",
        name="concat-shift",
        title="Digits moved between the parts of the signature are noticed",
        why="Timestamp, nonce and username are signed as one text without separators, so the signature stays valid "
        "when a digit moves from one part to the next. This makes an old header look new, or one nonce like another.",
        stimulus="Genuine signatures with " + ", ".join(_SHIFTS) + ".",
        severity=Severity.MAJOR,
        source="?",
        fix=_SHAPE,
        work=_shifted,
    ),
    _check(
        id="B23",
        name="sig-empty-secret",
        title="A callback signed with an empty secret is refused",
        why="While a secret is replaced, receivers accept the old one and the new one. If no old secret is set, it is "
        "an empty text, and anyone can sign with that.",
        stimulus="A callback signed validly, but with an empty secret.",
        severity=Severity.BLOCKER,
        source="?",
        fix=Fix(
            "Leave secrets that are not set out of the list of secrets that you accept, and do not start without one.",
            """\
secrets = [secret for secret in (SECRET, OLD_SECRET) if secret]
digests = [hmac.new(secret.encode(), signed, "sha256").hexdigest() for secret in secrets]
if not any(hmac.compare_digest(digest.encode(), given.encode()) for digest in digests):
    $refuse_401""",
            section="Signature",
        ),
        work=_empty_secret,
    ),
    _check(
        id="B24",
        name="sig-other-kinds",
        title="Events that are not message statuses need a signature, too",
        why="Notifications, users' replies and system events come to the same address. A receiver that verifies only "
        "statuses lets anyone unsubscribe any user with a reply, or raise alarms about the account.",
        stimulus="A notification, a user's reply and a system event, unsigned, and signed with another secret.",
        severity=Severity.BLOCKER,
        fix=Fix(
            "Verify each callback before you look at its rows.",
            "verify($header)\nenvelope = json.loads($body)\n$ok",
            section="Receive",
        ),
        work=_other_kinds,
    ),
    _check(
        id="B25",
        name="nonce-used-up",
        title="A forged callback does not use up a nonce",
        why="A receiver that stores each nonce before it has checked the signature refuses a genuine callback if a "
        "forgery with the same nonce came before it. So anyone who sees a callback on its way can suppress it.",
        stimulus="A callback signed with another secret, and then a genuine one with the same nonce, about the same "
        "event and about another one.",
        expected="The genuine callback is accepted and applied.",
        severity=Severity.MINOR,
        source="?",
        fix=Fix(
            "Store a nonce only after the signature was found right.",
            "verify($header)\nif not cache.add(nonce, True):\n    $refuse_401",
            section="Store",
        ),
        work=_used_nonce,
    ),
)
