"""The cases: what an awkward app does, and how it is called."""

from __future__ import annotations

from pathlib import Path

import msgspec

#: The time limit of those who call an app that takes longer than it, and how long that app takes, in seconds.
LIMIT, LONGER = 2.0, 2.2
#: The time limit of all others.
PATIENCE = 20.0


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One awkward app, and the callbacks that it gets."""

    #: What the app does; the subject is missing.
    does: str
    path: str = ""
    scenario: tuple[str, ...] = ("plan",)
    fault: str = ""
    retry: tuple[float, ...] = ()
    limit: float = PATIENCE
    #: How many bytes of text the message carries.
    size: int = 0
    #: How often the app is called.
    calls: int = 1
    #: Why a server's outcome differs, if it does.
    reason: str = ""


_SHOWN = "in process the app's own exception is the outcome, with its traceback; a server hides it"

CASES = {
    "plain": Case(does="answers 200 and does not read the body"),
    "reads": Case(does="reads a body of 1 MB", size=1_000_000),
    "streams": Case(does="answers in pieces, with waits between them"),
    "empty": Case(does="answers without any piece of a body"),
    "large": Case(does="answers with 2 MB"),
    "early": Case(
        does="answers first and reads the body then", reason="after the answer, uvicorn says that the client is gone"
    ),
    "context": Case(does="uses a context variable", scenario=("plan", "sent"), calls=2),
    "loop": Case(does="runs an event loop (WSGI), or blocks in a thread (ASGI)"),
    "works_after": Case(does="answers, and works on past the time limit", limit=LIMIT),
    "fails_after": Case(does="answers, and raises then"),
    "late": Case(does="answers after the time limit", limit=LIMIT),
    "retried": Case(does="answers 503 to the first attempt", retry=(1.0,), calls=2),
    "redirects": Case(does="answers with a redirect"),
    "gzip": Case(does="is compressed by a middleware"),
    "buffered": Case(does="is buffered by a middleware"),
    "mounted": Case(does="is mounted in another app", path="mounted/inner"),
    "twice": Case(does="gets two copies at once", fault="duplicate", calls=2),
    "late_streaming": Case(does="begins its answer, and goes on after the time limit", limit=LIMIT),
    "cut": Case(
        does="gets half of the body", fault="short_body", reason="waitress only calls an app with a whole body"
    ),
    "fails": Case(does="raises", reason=_SHOWN),
    "fails_midway": Case(does="raises in the middle of its answer", reason=_SHOWN),
    "silent": Case(does="returns without an answer", reason="in process the breach of WSGI or ASGI is the outcome"),
    "short": Case(
        does="announces more than it sends",
        limit=LIMIT,
        reason="gunicorn keeps the connection open: the sender waits in vain",
    ),
}


class Notes:
    """The actions of one case's app, in a file; several processes and threads may write to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, line: str) -> None:
        """Append a line, whole."""
        with self._path.open("ab", buffering=0) as file:
            file.write(f"{line}\n".encode())

    def read(self) -> list[str]:
        """Return the lines."""
        return self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
