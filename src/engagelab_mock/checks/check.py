"""A check: its stimulus, the expected result, why it matters, how to fix a failure; severities and verdicts."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from string import Template
from traceback import extract_tb
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from engagelab_mock.errors import UnknownName, reduce_error
from engagelab_mock.starters import STARTERS, section

if TYPE_CHECKING:
    from engagelab_mock.checks.trial import Trial
    from engagelab_mock.explore.schedule import Schedule


class Judgement(StrEnum):
    """Name the possible verdicts of a check.

    >>> Judgement.FAIL.value
    'fail'
    """

    #: The receiver behaved as expected.
    PASS = "pass"
    #: It did not. The finding holds the evidence.
    FAIL = "fail"
    #: It could not be judged: the state cannot be seen, the receiver refuses valid callbacks, or there was no time.
    INCONCLUSIVE = "inconclusive"
    #: The app does not use the part that the check is about, so there is nothing to judge.
    NOT_APPLICABLE = "not_applicable"
    #: The check itself failed with an exception. The other checks ran.
    ERROR = "error"
    #: Nothing was sent: the check was not selected, or is not possible with this transport or these settings.
    SKIPPED = "skipped"


class Severity(StrEnum):
    """Name how bad it is when a check fails, the worst first.

    >>> Severity.MAJOR.at_least("minor")
    True
    """

    #: Callbacks are lost, or anyone can forge them.
    BLOCKER = "blocker"
    #: Fails under conditions that do occur in production.
    MAJOR = "major"
    #: Fails seldom, or does little harm.
    MINOR = "minor"
    #: Good to know.
    INFO = "info"

    @property
    def rank(self) -> int:
        """Return its position, 0 for the worst."""
        return list(Severity).index(self)

    def at_least(self, other: str) -> bool:
        """Tell whether it is as bad as another severity, or worse."""
        return self.rank <= severity(other).rank


def severity(name: str) -> Severity:
    """Return a severity by name, or raise `UnknownName`.

    >>> severity("major")
    <Severity.MAJOR: 'major'>
    """
    try:
        return Severity(name)
    except ValueError:
        raise UnknownName("severity", name, list(Severity)) from None


#: The basis of a verdict: the answer, the state that `observe` returns, or both.
Basis = Literal["answer", "state", "both"]


class Ended(Exception):
    """End a trial early, with a verdict, its reason, the schedule that showed it, and the basis of the verdict.

    `fix` replaces the check's own fix if the evidence points to another cause.
    """

    def __init__(
        self,
        judgement: Judgement,
        reason: str,
        schedule: Schedule | None = None,
        basis: Basis | None = None,
        fix: Fix | None = None,
    ) -> None:
        super().__init__(reason)
        self.judgement = judgement
        self.reason = reason
        self.schedule = schedule
        self.basis = basis
        self.fix = fix

    __reduce__ = reduce_error


def fault_of(error: Exception) -> str:
    """Return the type of an exception, its text, and the place where it was raised.

    >>> fault_of(KeyError("learned"))
    "KeyError: 'learned'"
    """
    said = f"{type(error).__name__}: {error}".partition("\n")[0]
    places = extract_tb(error.__traceback__)
    return f"{said:.300} ({Path(places[-1].filename).name}, line {places[-1].lineno})" if places else said


#: The needs of a check: the answer, which may decide alone; the state that `observe` returns; or always both.
Need = Literal["http", "probe", "both"]

#: How much is sent: "deep" adds the checks that take long.
DEPTHS = ("normal", "deep")

#: The families of checks, by the first letter of their ids.
FAMILIES = {
    "A": "Acknowledgement",
    "B": "Signature and authorization",
    "C": "Duplicates and order",
    "D": "Body",
    "E": "Wire",
    "F": "Meaning",
}

_WORDS = {
    "flask": {
        "body": "request.get_data()",
        "header": 'request.headers.get("X-CALLBACK-ID", "")',
        "headers": "request.headers",
        "ok": 'return "", 200',
        "view": '@app.post("/engagelab")\ndef engagelab():',
        "refuse": "return {status}",
    },
    "django": {
        "body": "request.body",
        "header": 'request.headers.get("X-CALLBACK-ID", "")',
        "headers": "request.headers",
        "ok": "return HttpResponse()",
        "view": "@csrf_exempt\n@require_POST\ndef engagelab(request):",
        "refuse": "return HttpResponse(status={status})",
    },
    "fastapi": {
        "body": "await request.body()",
        "header": 'request.headers.get("X-CALLBACK-ID", "")',
        "headers": "request.headers",
        "ok": "return Response()",
        "view": '@app.post("/engagelab")\nasync def engagelab(request: Request):',
        "refuse": "return Response(status_code={status})",
    },
}
_WORDS["flask"]["refuse"] = 'return "", {status}'


#: The frameworks and languages in which a fix can be shown, with their names.
LANGUAGES = {name: known.title for name, known in STARTERS.items()}


class Code(NamedTuple):
    """Hold the code of a fix, for one framework or language, or for several that share it.

    >>> Fix("Compare in constant time.", section="Signature").codes[0].names
    ('node', 'express')
    """

    #: The names of the frameworks and languages, for people.
    title: str
    #: The name of the language, as highlighters of code know it.
    language: str
    #: Their names in `LANGUAGES`.
    names: tuple[str, ...]
    text: str


class Fix(msgspec.Struct, frozen=True):
    """Say how to fix a receiver: in sentences, in code for Flask, Django and FastAPI, and by a section of the starters.

    The code is one template. `$body`, `$header`, `$headers`, `$ok`, `$view` and `$refuse_401` (or another status) are
    replaced by the spelling of each framework. If that is not enough, a framework has its own code.

    >>> Fix("Acknowledge the ping.", "if not $body:\\n    $ok").django
    'if not request.body:\\n    return HttpResponse()'
    """

    text: str
    code: str = ""
    own_flask: str = ""
    own_django: str = ""
    own_fastapi: str = ""
    #: The section of the starters in other languages that does it right.
    section: str = ""

    @property
    def flask(self) -> str:
        """Return the code for Flask."""
        return self.own_flask or self._spelt("flask")

    @property
    def django(self) -> str:
        """Return the code for Django."""
        return self.own_django or self._spelt("django")

    @property
    def fastapi(self) -> str:
        """Return the code for FastAPI."""
        return self.own_fastapi or self._spelt("fastapi")

    def code_in(self, language: str) -> str:
        """Return the code for a framework or language of `LANGUAGES`, or "" if there is none.

        >>> Fix("Compare in constant time.", section="Signature").code_in("ruby").splitlines()[0]
        'def genuine?(header)'
        """
        if language in _WORDS:
            code: str = getattr(self, language)
            return code
        return section(language, self.section) if self.section else ""

    @property
    def codes(self) -> list[Code]:
        """Return the code in each framework and language that has some, in the order of `LANGUAGES`.

        >>> [code.title for code in Fix("Compare in constant time.", section="Signature").codes]
        ['Node, Express', 'PHP', 'Go', 'Java', 'Ruby']
        """
        found: dict[str, list[str]] = {}
        for name in LANGUAGES:
            if text := self.code_in(name):
                found.setdefault(text, []).append(name)
        return [
            Code(", ".join(LANGUAGES[name] for name in names), STARTERS[names[0]].language, tuple(names), text)
            for text, names in found.items()
        ]

    def _spelt(self, framework: str) -> str:
        words = dict(_WORDS[framework])
        refuse = words.pop("refuse")
        statuses = {f"refuse_{status}": refuse.format(status=status) for status in (400, 401, 405, 413, 415, 503)}
        return Template(self.code).substitute(words, **statuses)


class Cause(msgspec.Struct, frozen=True):
    """Name the likely cause of a failure, as the evidence shows it, and its fix.

    >>> Cause("the text becomes part of an SQL statement", Fix("Pass it as a parameter.")).fix.text
    'Pass it as a parameter.'
    """

    says: str
    fix: Fix


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Describe one check of a receiver. Its id and its name are stable: options can use either.

    >>> from engagelab_mock import CHECKS
    >>> CHECKS["A01"].name, CHECKS["A01"].severity.value
    ('ping-empty', 'blocker')
    """

    id: str
    #: Its name, in a word or two.
    name: str
    #: What a correct receiver does, in one sentence.
    title: str
    #: Why it matters, in a paragraph.
    why: str
    #: The callbacks that it sends.
    stimulus: str
    #: The result that it expects.
    expected: str
    severity: Severity
    need: Need
    #: The sources of the expectation: the tags of the protocol's sources.
    source: str
    fix: Fix
    work: Callable[[Trial], None]
    #: The transports with which it is possible, and why it is not possible with others.
    transports: tuple[str, ...] = ("http", "wsgi", "asgi")
    unless: str = "it needs a real connection"
    #: Whether it moves the app's clock, with `set_time` or with the virtual clock that the app reads.
    moves_time: bool = False
    #: Whether it is about the signature. Only a receiver with a username and a secret gets one.
    needs_signature: bool = False
    #: The meaning of the statuses that it judges by: "effects" or "terminal". The receiver must give one of them.
    meanings: tuple[str, ...] = ()
    #: Whether it restarts the app, with the receiver's `restart`.
    needs_restart: bool = False
    #: Whether it cannot judge a receiver that accepts no valid callback.
    needs_valid: bool = True
    #: Whether it cannot judge a receiver that has stopped answering.
    needs_answer: bool = True
    #: Whether it sends so much that it only runs at the depth "deep", or if `only` names it.
    deep: bool = False

    @property
    def basis(self) -> Basis:
        """Return the minimum basis of a verdict."""
        bases: dict[Need, Basis] = {"http": "answer", "probe": "state", "both": "both"}
        return bases[self.need]

    @property
    def family(self) -> str:
        """Return the family's name."""
        return FAMILIES[self.id[0]]
