"""Likely causes of a text's failure: which character, in which place, and what that suggests."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from engagelab_mock.checks.check import Cause, Ended, Fix, Judgement
from engagelab_mock.checks.profile import accepted, describe, status_of
from engagelab_mock.checks.trial import Trial
from engagelab_mock.delivery.model import Attempt

HALF_A_PAIR = "\ud83d"
#: Texts that a field can contain, by their description.
UNUSUAL = {
    "emoji": "code 🔑👩‍👩‍👧",
    "Chinese": "验证码",
    "right-to-left text": "رمز التحقق",
    "a null character": "a\u0000b",
    "half a surrogate pair": f"a{HALF_A_PAIR}b",
}
#: Texts that end a literal or begin a placeholder in SQL, JSON, or a template, by their description.
QUOTES = {
    "an apostrophe": "O'Brien's",
    "quotation marks": 'the "new" code',
    "a percent sign": "100% off",
    "braces": "{off}",
    "a backslash": r"C:\new",
}
#: A text on which no receiver should fail.
_USUAL = "a usual text"


def explain(trial: Trial, ended: Ended, what: str, text: str, place: str, send: Callable[[str], Attempt]) -> NoReturn:
    """End a trial that has ended with the failure of a text in a place, and name the likely cause.

    `what` describes the text. `send` sends a valid callback with any text in the same place.
    """
    if ended.judgement is not Judgement.FAIL or ended.basis != "answer":
        raise ended
    try:
        suggests, fix = _suggest(what, text, send)
        # The last request of the finding is the one that failed.
        last = send(text)
    except Ended:
        raise ended from None  # there was no time left
    if accepted(last):
        raise ended
    trial.fail(f"{what} in {place}: {describe(last)}{suggests}", basis="answer", fix=fix)


def _suggest(what: str, text: str, send: Callable[[str], Attempt]) -> tuple[str, Fix | None]:
    """Return what other texts in the same place suggest as the cause, and its fix."""
    usual = send(_USUAL)
    if not accepted(usual):
        return f". It is not this text: {_USUAL!r} there was {describe(usual)}", _ANY_TEXT
    if what not in _CAUSES:
        longest = _longest(send, len(text))
        return (
            f". The longest text that is accepted there has {longest} characters: a column or a schema has a limit",
            None,
        )
    cause, also = _CAUSES[what], ""
    if not crashes(send(text)):
        cause = _REFUSED
    elif what in UNUSUAL:
        for other, its in ((UNUSUAL["Chinese"], _ASCII), (QUOTES["an apostrophe"], _SQL)):
            if cause is not its and crashes(send(other)):
                also, cause = f", and so was {other!r}", its
    return f"{also}. The likely cause is {cause.says}", cause.fix


def _longest(send: Callable[[str], Attempt], refused: int) -> int:
    """Return the length of the longest text that is accepted."""
    longest = len(_USUAL)
    while refused - longest > 1:
        middle = (longest + refused) // 2
        longest, refused = (middle, refused) if accepted(send("x" * middle)) else (longest, middle)
    return longest


def crashes(attempt: Attempt) -> bool:
    """Tell whether the receiver crashed, or did not answer.

    >>> from engagelab_mock import Callback, Headers
    >>> crashes(Attempt(1, 0.0, Callback(Headers(), b"")))
    True
    """
    return status_of(attempt) >= 500 or not status_of(attempt)


_ANY_TEXT = Fix(
    "Read the fields of a row with `get`, and expect any text in them. Do not look a text up without a default.",
    """\
for row in json.loads($body)["rows"]:
    args = row.get("custom_args") or {}
    template = TEMPLATES.get(row["status"]["status_data"].get("template_key"), DEFAULT)""",
)
_REFUSED = Cause(
    "a validation of texts, or a firewall in front of the app that takes the text for an attack",
    Fix("Do not validate texts that others have written. Leave the callback address out of the firewall's rules."),
)
_SQL = Cause(
    "SQL that contains the text instead of a parameter: anyone who can write a reply can run SQL",
    Fix(
        "Pass texts to the database as parameters. Never build SQL out of them.",
        """\
for row in json.loads($body)["rows"]:
    db.execute("INSERT INTO events (message_id, data) VALUES (?, ?)", (row["message_id"], json.dumps(row)))""",
    ),
)
_ASCII = Cause(
    "a log, a file or a database that takes only ASCII or Latin-1",
    Fix(
        "Use UTF-8 for logs, files, the connection to the database, and its tables. Set `PYTHONUTF8=1` for the server.",
        'logging.basicConfig(filename="callbacks.log", encoding="utf-8")',
    ),
)
_BY_HAND = Cause(
    "JSON, SQL, a command or an expression that is put together from texts",
    Fix(
        "Build JSON with `json.dumps`, pass texts to the database as parameters, and escape them in expressions with "
        "`re.escape`.",
        'data = json.dumps({"rows": json.loads($body)["rows"]})  # not an f-string',
    ),
)
_CAUSES = {
    "emoji": Cause(
        "a table whose character set has at most three bytes for a character, such as MySQL's utf8",
        Fix("Use a character set with all of Unicode for the connection and the tables: in MySQL, utf8mb4."),
    ),
    "Chinese": _ASCII,
    "right-to-left text": _ASCII,
    "a null character": Cause(
        "a database that refuses null characters, such as PostgreSQL",
        Fix("Replace null characters before you store a text.", 'text = str(json.loads($body)).replace("\\0", "")'),
    ),
    "half a surrogate pair": Cause(
        "a text that is written as UTF-8, in a log, a file or a database: half a surrogate pair cannot be",
        Fix(
            "Replace the characters that UTF-8 cannot encode before you store or log a text.",
            'text = str(json.loads($body)).encode("utf-8", "replace").decode()',
        ),
    ),
    "an apostrophe": _SQL,
    "quotation marks": _BY_HAND,
    "a percent sign": Cause(
        "a text that is used as a format: of `%`, of a log, or of an SQL statement",
        Fix(
            "Pass texts as arguments, never as the format.",
            'logging.info("%s", json.loads($body))  # not logging.info(text, value) or text % value',
        ),
    ),
    "braces": Cause(
        "a text that is used as a template, by `str.format` or a template engine: its author can read values",
        Fix(
            "Pass texts to a template as values, never as the template.",
            'line = "{}".format(json.loads($body))  # not text.format(value)',
        ),
    ),
    "a backslash": _BY_HAND,
}

# Why a text is stored in another form.

DECODED = Cause(
    "a body that is decoded in another way than as UTF-8",
    Fix(
        "Parse the bytes of the body, without decoding them yourself.",
        "envelope = json.loads($body)  # bytes: JSON is UTF-8",
    ),
)
CHARACTER_SET = Cause(
    "a connection or a table without all of Unicode, such as MySQL's utf8 or Latin-1",
    Fix("Use a character set with all of Unicode for the connection and the tables: in MySQL, utf8mb4."),
)
CUT_OFF = Cause(
    "a column that is shorter than the text, or a table that stops at a character that it cannot store",
    Fix("Use text columns without a length limit, and a character set with all of Unicode: in MySQL, utf8mb4."),
)
REWRITTEN = Cause(
    "an app that writes its own reference in another form before it stores it",
    Fix("Keep the texts of custom_args as they are. To compare them, change a copy."),
)
