"""What `record` prints: as JSON objects, or as lines for a person; never what is somebody's."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from rich.text import Text

from engagelab_mock.cli.output import Marks, Output, note
from engagelab_mock.delivery.render import printable
from engagelab_mock.errors import InvalidBody
from engagelab_mock.protocol.callback import decode

if TYPE_CHECKING:
    from engagelab_mock.server.passing import Passed


class Report(Protocol):
    """Tell what passes when it has passed."""

    def listening(self, url: str, forward: str, out: str, *, sanitised: bool) -> None:
        """Say where; the first thing printed."""

    def exposed(self, host: str) -> None:
        """Warn that other machines can reach the proxy."""

    def passed(self, passed: Passed, trouble: str) -> None:
        """Tell of a request, how it was answered, and why it is not on the tape, if it is not."""

    def ended(self, requests: int, lost: int, out: str) -> None:
        """Sum up."""


class _Talk:
    """Say on stderr what is no result; the same in text and in JSON."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def exposed(self, host: str) -> None:
        """Warn that other machines can reach the proxy."""
        self._warn(f" {host} is not this machine alone: whoever reaches this port reaches the receiver")

    def ended(self, requests: int, lost: int, out: str) -> None:
        """Sum up."""
        note(self._output.talk, Text(f"{requests - lost} requests recorded in {out}"), indent=0)
        if lost:
            self._warn(f" {lost} requests were passed on and are not on the tape")

    def _unsanitised(self) -> None:
        self._warn(" the tape will hold phone numbers, e-mail addresses and secrets: it is for your eyes only")

    def _not_recorded(self, trouble: str) -> None:
        self._warn(f" a request was passed on and is not on the tape: {printable(trouble)}")

    def _warn(self, text: str) -> None:
        note(self._output.talk, Text.assemble(("Notice:", "bold yellow"), text), indent=0)


class JsonReport(_Talk):
    """Print one object a request."""

    def listening(self, url: str, forward: str, out: str, *, sanitised: bool) -> None:
        """Print where."""
        self._output.record(type="listening", url=url, forward=forward, out=out, sanitised=sanitised)
        if not sanitised:
            self._unsanitised()

    def passed(self, passed: Passed, trouble: str) -> None:
        """Print a request."""
        self._output.record(
            type="request",
            method=passed.method,
            statuses=_statuses(passed),
            answered=passed.status,
            elapsed_ms=round(passed.elapsed * 1000, 3),
            error=passed.error or None,
            recorded=not trouble,
        )
        if trouble:
            self._not_recorded(trouble)


class TextReport(_Talk):
    """Print one line a request."""

    def listening(self, url: str, forward: str, out: str, *, sanitised: bool) -> None:
        """Print where, and on stderr where to."""
        self._output.results.print(Text(f"Recording on {url}"), soft_wrap=True)
        note(self._output.talk, Text(f"to {forward}, on {out}; Ctrl-C ends it", "dim"), indent=0)
        if not sanitised:
            self._unsanitised()

    def passed(self, passed: Passed, trouble: str) -> None:
        """Print a request."""
        target = self._output.results
        good = passed.status == 200 and not trouble
        line = Text.assemble((f"{datetime.now():%H:%M:%S}", "dim"), "  ", Marks(target.encoding).of(good))
        line.append(printable(f" {', '.join(_statuses(passed)) or passed.method:<16}  "))
        answered = f"answered {passed.status}" if passed.status is not None else passed.error
        line.append(printable(answered), "green" if good else "yellow")
        line.append(f" in {passed.elapsed * 1000:.1f} ms", "dim")
        target.print(line, soft_wrap=True)
        if trouble:
            self._not_recorded(trouble)


def _statuses(passed: Passed) -> list[str]:
    try:
        return [event.name for event in decode(passed.body).rows]
    except InvalidBody:
        return []
