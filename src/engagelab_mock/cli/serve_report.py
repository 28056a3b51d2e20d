"""What `serve` prints: where, and on stderr what happens."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from rich.text import Text

from engagelab_mock.cli.output import Output, note
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.render import printable

if TYPE_CHECKING:
    from engagelab_mock.service.engagelab import EngageLab

_LOG = logging.getLogger("engagelab_mock.server")


class Report:
    """Say where the server is, and log what it is asked and what it sends."""

    def __init__(self, output: Output, engagelab: EngageLab) -> None:
        self._output = output
        self._engagelab = engagelab
        self._journal = engagelab.journal_as_it_is
        self._callbacks = 0
        self._acknowledged = 0

    def serving(self, url: str, token: str, *, exposed: bool) -> None:
        """Print where, and the token if one was made up; log every request and every attempt from now on, on stderr."""
        if exposed:
            warning = " whoever reaches this port can use the API"
            self._talk(Text.assemble(("Notice:", "bold yellow"), warning))
        if token:
            self._talk(Text(f"token for /_mock: {token}"))
        receivers = ", ".join(receiver.address for receiver in self._engagelab.receivers)
        nowhere = "nowhere: give --callback-url, or PUT /v1/sandbox/webhook"
        self._talk(Text(f"callbacks go to {receivers or nowhere}; Ctrl-C ends it", "dim"))
        self._follow()
        if self._output.json:
            self._output.record(type="serving", url=url, token=token or None)
        else:
            self._output.results.print(Text(f"Serving on {url}"), soft_wrap=True)

    def _follow(self) -> None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        _LOG.addHandler(handler)
        _LOG.setLevel(logging.INFO)
        _LOG.propagate = False
        self._journal.listeners.append(self._attempt)

    def ended(self) -> None:
        """Sum up."""
        self._talk(Text(f"{self._callbacks} callbacks sent, {self._acknowledged} of them acknowledged"))

    def _attempt(self, delivery: Delivery, attempt: Attempt) -> None:
        self._callbacks += 1
        self._acknowledged += attempt.acknowledged
        names = ", ".join(delivery.statuses) or "ping"
        to = str(getattr(delivery.events[0], "to", "")) if delivery.events else ""
        why = f": {attempt.error}" if attempt.error else ""
        line = f"{names} {to} -> {delivery.receiver.address} {attempt.outcome} {attempt.elapsed * 1000:.1f} ms{why}"
        _LOG.info("%s", printable(line))

    def _talk(self, text: Text) -> None:
        note(self._output.talk, text, indent=0)
