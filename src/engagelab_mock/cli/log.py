"""The log of `serve` on stderr: lines for people, or JSON Lines."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from engagelab_mock.cli.entries import Answered, Entry, Style, Tried
from engagelab_mock.cli.output import Output, Screen
from engagelab_mock.cli.render import DETAIL
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.render import counted, printable
from engagelab_mock.protocol.callback import AS_CONFIGURED

if TYPE_CHECKING:
    from engagelab_mock.delivery.receiver import Receiver
    from engagelab_mock.engagelab import EngageLab

_LOG = logging.getLogger("engagelab_mock.server")
_encode = json.JSONEncoder(separators=(",", ":")).encode
#: The fields of JSON objects in which a secret may stand.
_BODIES = ("body", "answer")
#: How many characters of a body are shown.
_BODY = 2000
#: A shorter secret would be found everywhere.
_SHORTEST = 4


class Log:
    """Log everything that happens to one `EngageLab`, and count its callbacks.

    With `quiet`, only failures are logged. With `verbose`, bodies and signatures are logged too.
    """

    def __init__(self, output: Output, *, quiet: bool = False, verbose: bool = False) -> None:
        self.callbacks = 0
        self.acknowledged = 0
        self.given_up = 0
        self._output = output
        self._quiet = quiet
        self._verbose = verbose
        self._error = ""
        self._undo: list[Callable[[], None]] = []

    def follow(self, engagelab: EngageLab, *, token: str = "") -> None:
        """Log everything from now on, until `close`; the secrets of the engine and the token are not shown."""
        secrets = Secrets(engagelab, token)
        handler = logging.StreamHandler(sys.stderr)
        handler.addFilter(_Entries(engagelab, quiet=self._quiet))
        handler.setFormatter(
            JsonFormatter(secrets, verbose=self._verbose)
            if self._output.json
            else TextFormatter(self._output.stderr, secrets, verbose=self._verbose)
        )
        before = _LOG.level, _LOG.propagate
        _LOG.addHandler(handler)
        _LOG.setLevel(logging.INFO)
        _LOG.propagate = False
        engagelab._engine.journal.listeners.append(self._attempted)

        def undo() -> None:
            _LOG.removeHandler(handler)
            _LOG.setLevel(before[0])
            _LOG.propagate = before[1]

        self._undo.append(undo)

    def close(self) -> None:
        """Log nothing more: the program that called the command may go on."""
        while self._undo:
            self._undo.pop()()

    def notice(self, text: str) -> None:
        """Print a warning."""
        if self._output.json:
            _print({"type": "notice", "message": text})
        else:
            self._output.notice(text)

    def gave_up(self, sendings: int) -> None:
        """Count messages and account events whose callbacks were given up, and say so the first time."""
        if not self.given_up:
            more = "more messages and events wait for their callbacks than --pending allows"
            self.notice(f"{more}: those of the oldest are not sent")
        self.given_up += sendings

    def summarise(self) -> None:
        """Print the counts."""
        if self._quiet:
            return
        if self._output.json:
            counts = {"callbacks": self.callbacks, "acknowledged": self.acknowledged, "given_up": self.given_up}
            _print({"type": "summary", **counts})
            return
        given_up = f"; those of {self.given_up} messages and events given up (--pending)" if self.given_up else ""
        self._output.say(f"{counted(self.callbacks, 'callback')} sent, {self.acknowledged} acknowledged{given_up}")

    def _attempted(self, delivery: Delivery, attempt: Attempt) -> None:
        self.callbacks += 1
        self.acknowledged += attempt.acknowledged
        # The same error again and again, from a receiver that is not there yet, is logged once.
        error, self._error = attempt.error if attempt.error != self._error else "", attempt.error
        _LOG.info("%s", delivery, extra={"attempt": (delivery, attempt, error)})


def _print(record: dict[str, Any]) -> None:
    with suppress(OSError):  # the command goes on without a log
        print(_json(record, time.time()), file=sys.stderr, flush=True)


class _Entries(logging.Filter):
    """Make the entries, before the handler takes its lock, and let only failures pass if the log is quiet."""

    def __init__(self, engagelab: EngageLab, *, quiet: bool) -> None:
        super().__init__()
        self._engagelab = engagelab
        self._quiet = quiet

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the entry to the record, and tell whether to log it."""
        entry: Entry | None = None
        if exchange := getattr(record, "exchange", None):
            entry = Answered.of(self._engagelab, *exchange)
        elif attempt := getattr(record, "attempt", None):
            entry = Tried.of(self._engagelab, *attempt)
        record.entry = entry
        bad = record.levelno >= logging.WARNING if entry is None else not entry.good
        return bad or not self._quiet


class TextFormatter(logging.Formatter):
    """Format an entry as a line in columns, and the details below it."""

    def __init__(self, screen: Screen, secrets: Secrets, *, verbose: bool = False) -> None:
        super().__init__("%(asctime)s    %(message)s", "%H:%M:%S")
        self._layout = Style(screen)
        self._secrets = secrets
        self._verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or the lines."""
        entry: Entry | None = getattr(record, "entry", None)
        if entry is None:
            return super().format(record)
        line = self._layout.head(self.formatTime(record, self.datefmt), entry.good) + entry.line(self._layout)
        lines = [line, *(f"{'':{DETAIL}}{each}" for each in entry.details(self._layout))]
        if self._verbose:
            lines += [f"{'':{DETAIL}}{side} {each}" for side, text in entry.bodies() for each in self._shown(text)]
        return "\n".join(lines)

    def _shown(self, text: str) -> list[str]:
        shown = self._secrets.hide(text)
        more = len(shown) - _BODY
        return [*printable(shown[:_BODY]).split("\n"), *([f"… {more} more characters"] if more > 0 else [])]


class JsonFormatter(logging.Formatter):
    """Format an entry as a JSON object."""

    def __init__(self, secrets: Secrets, *, verbose: bool = False) -> None:
        super().__init__()
        self._secrets = secrets
        self._verbose = verbose

    def format(self, record: logging.LogRecord) -> str:
        """Return the object, on one line."""
        entry: Entry | None = getattr(record, "entry", None)
        if entry is None:
            return _json({"type": "notice", "message": super().format(record)}, record.created)
        given = entry.record(bodies=self._verbose)
        return _json(
            given | {name: self._secrets.hide(given[name]) for name in _BODIES if given.get(name)}, record.created
        )


def _json(record: dict[str, Any], at: float) -> str:
    return _encode({"type": record["type"], "time": at, **record})


class Secrets:
    """Replace the secrets of the server and of its receivers in bodies: an app may repeat what it got.

    >>> from engagelab_mock import EngageLab, Receiver
    >>> with EngageLab(Receiver.recording(username="acme", secret="s3cret")) as engagelab:
    ...     Secrets(engagelab).hide("the key is s3cret")
    'the key is (as configured)'
    """

    def __init__(self, engagelab: EngageLab, token: str = "") -> None:
        self._engagelab = engagelab
        #: Those of earlier receivers stay secret.
        self._known = {token, engagelab._engine.api_settings.dev_secret}
        self._receivers: list[Receiver] = []
        self._pattern: re.Pattern[str] | None = None

    def hide(self, text: str) -> str:
        """Return a text without them."""
        if self._receivers != self._engagelab.receivers or self._pattern is None:
            self._pattern = self._read()
        return self._pattern.sub(AS_CONFIGURED, text)

    def _read(self) -> re.Pattern[str]:
        """Return a pattern of the secrets, as they are and as JSON has them."""
        self._receivers = list(self._engagelab.receivers)
        for settings in (receiver.settings for receiver in self._receivers):
            self._known |= {settings.secret, settings.authorization, settings.authorization.partition(" ")[2]}
        long = [secret for secret in self._known if len(secret) >= _SHORTEST]
        written = {json.dumps(secret, ensure_ascii=ascii)[1:-1] for secret in long for ascii in (True, False)}
        longest_first = sorted({*long, *written}, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
