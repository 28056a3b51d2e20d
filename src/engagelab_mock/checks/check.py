"""One check: what is sent, what must be seen, why it matters, and how to mend what does not."""

from __future__ import annotations

from collections.abc import Callable
from string import Template
from typing import TYPE_CHECKING, Literal

import msgspec

from engagelab_mock.checks.verdict import Severity

if TYPE_CHECKING:
    from engagelab_mock.checks.trial import Trial

#: What tells: the answer alone, the state that `observe` returns, or both.
Need = Literal["http", "probe", "both"]

#: The families of checks, by the letter their ids begin with.
FAMILIES = {
    "A": "Acknowledgement",
    "B": "Signature and authorization",
    "C": "Duplicates and order",
    "D": "Body",
    "E": "Wire",
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


class Fix(msgspec.Struct, frozen=True):
    """Say how a receiver is mended: in a sentence, and in code for Flask, Django and FastAPI.

    The code is one template, in which `$body`, `$header`, `$headers`, `$ok`, `$view` and `$refuse_401` (or another
    status) stand for what the three frameworks spell differently; where that is not enough, a framework has its own.

    >>> Fix("Acknowledge the ping.", "if not $body:\\n    $ok").django
    'if not request.body:\\n    return HttpResponse()'
    """

    text: str
    code: str = ""
    own_flask: str = ""
    own_django: str = ""
    own_fastapi: str = ""

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

    def _spelt(self, framework: str) -> str:
        words = dict(_WORDS[framework])
        refuse = words.pop("refuse")
        statuses = {f"refuse_{status}": refuse.format(status=status) for status in (400, 401, 405, 413, 415)}
        return Template(self.code).substitute(words, **statuses)


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """Describe one check of a receiver; its id and its name are stable, so that one can be left out by either.

    >>> from engagelab_mock import CHECKS
    >>> CHECKS["A01"].name, CHECKS["A01"].severity.value
    ('ping-empty', 'blocker')
    """

    id: str
    #: What it is called, in a word or two.
    name: str
    #: What a correct receiver does, in a sentence.
    title: str
    #: Why that matters, in a paragraph.
    why: str
    #: What is sent.
    stimulus: str
    #: What must be seen.
    expected: str
    severity: Severity
    need: Need
    #: Where the expectation comes from: the tags of the protocol's sources.
    source: str
    fix: Fix
    work: Callable[[Trial], None]
    #: The transports that can express it, and why no other can.
    transports: tuple[str, ...] = ("http", "wsgi", "asgi")
    unless: str = "there is no wire in process"
    #: Whether it is about the signature, which only a receiver with username and secret gets.
    needs_signature: bool = False
    #: Whether it says nothing of a receiver that accepts no valid callback at all.
    needs_valid: bool = True
    #: Whether it says nothing of a receiver that has stopped answering.
    needs_answer: bool = True

    @property
    def family(self) -> str:
        """Return the family's name."""
        return FAMILIES[self.id[0]]
