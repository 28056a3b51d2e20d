"""What was sent, what came back, and what state the receiver was in: what a judgement rests on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec

from engagelab_mock.checks.probe import Snapshot
from engagelab_mock.delivery.model import Attempt, Delivery, Response
from engagelab_mock.delivery.render import printable
from engagelab_mock.protocol.signature import HEADER, TOLERANCE

#: What stands in place of the configured Authorization: reports end up where secrets should not.
AS_CONFIGURED = "(as configured)"
#: The longest body that is given in full in a curl line or a report, in bytes.
SHOWN_BYTES = 4096


class Exchange(msgspec.Struct, frozen=True):
    """Hold one request and its answer, as bytes; `elapsed` is in seconds.

    `answer` is None where no answer came, and `error` says why it did not acknowledge.
    """

    method: str
    address: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    answer: Response | None
    outcome: str
    error: str
    elapsed: float
    #: The faults that struck the request, as text.
    faults: tuple[str, ...] = ()
    #: Whether the signature was genuine, and can be made anew.
    genuine: bool = True
    #: Whether the app was called in process, so that nothing listens at the address.
    in_process: bool = False

    @classmethod
    def of(cls, delivery: Delivery, attempt: Attempt) -> Exchange:
        """Make the record of an attempt."""
        settings = delivery.receiver.settings
        pairs = tuple(
            (name, _masked(value, settings.authorization) if name == "Authorization" else value)
            for name, value in attempt.callback.headers.pairs
        )
        return cls(
            method=attempt.method,
            address=delivery.receiver.address,
            headers=pairs,
            body=attempt.callback.body,
            answer=attempt.response,
            outcome=str(attempt.outcome),
            error=attempt.error,
            elapsed=attempt.elapsed,
            faults=tuple(str(fault) for fault in attempt.faults),
            genuine=all(fault.family != "signature" for fault in attempt.faults),
            in_process=delivery.receiver.transport.name != "http",
        )

    @property
    def sent(self) -> str:
        """Return the request as text, the body in full unless it is long."""
        head = [f"{self.method} {self.address}", *(f"{name}: {value}" for name, value in self.headers)]
        return "\n".join([*map(printable, head), "", shown(self.body)]).rstrip()

    @property
    def received(self) -> str:
        """Return the answer as text, or why there is none."""
        if self.answer is None:
            return f"(no answer: {printable(self.error)})"
        head = [f"{self.answer.status} {self.answer.reason}".rstrip()]
        head += [f"{name}: {value}" for name, value in self.answer.headers.pairs]
        return "\n".join([*map(printable, head), "", shown(self.answer.body)]).rstrip()

    @property
    def curl(self) -> str:
        """Return a command line that sends the request again; a genuine signature is made anew by it.

        Nothing if no command line can: in process, and for a long body.
        """
        if self.in_process or len(self.body) > SHOWN_BYTES:
            return ""
        line = f"curl -sS -i -X {self.method}"
        for name, value in self.headers:
            if name == HEADER and self.genuine:
                line += f' -H "{HEADER}: $(engagelab-mock sign)"'
            elif value == AS_CONFIGURED:
                line += f' -H "{name}: $ENGAGELAB_MOCK_AUTHORIZATION"'
            else:
                line += f" -H {_quoted(f'{name}: {value}'.encode('latin-1', 'replace'))}"
        return f"{line} --data-binary {_quoted(self.body)} {shlex.quote(self.address)}"


class Change(msgspec.Struct, frozen=True):
    """Hold the state of a message before and after something was sent."""

    before: Snapshot
    after: Snapshot

    @property
    def changed(self) -> bool:
        """Tell whether something was seen to happen."""
        return self.before != self.after


def _masked(value: str, configured: str) -> str:
    """Return an Authorization without the credentials that are configured, whatever their scheme."""
    credentials = configured.partition(" ")[2] or configured
    if not configured or credentials not in value:
        return value
    return AS_CONFIGURED if value == configured else value.replace(credentials, AS_CONFIGURED)


def shown(body: bytes) -> str:
    """Return a body as text, cut where it is too long to be read.

    >>> shown(b"{}")
    '{}'
    """
    text = printable(body[:SHOWN_BYTES].decode("utf-8", "backslashreplace"))
    rest = len(body) - SHOWN_BYTES
    return text if rest <= 0 else f"{text}… ({rest} bytes more)"


def curl_note(exchanges: Sequence[Exchange]) -> str:
    """Say what a curl line needs before it does what the check did; nothing if it needs nothing.

    >>> curl_note([])
    ''
    """
    names = {name for exchange in exchanges for name, _ in exchange.headers}
    if HEADER not in names:
        return ""
    if all(exchange.genuine for exchange in exchanges):
        return "with ENGAGELAB_WEBHOOK_USERNAME and ENGAGELAB_WEBHOOK_SECRET set"
    return f"a signature written out is in time for {TOLERANCE} s"


def _quoted(data: bytes) -> str:
    """Quote bytes for a shell: as they are if they are plain text, else as $'…' of bash and zsh."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if (text or not data) and text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_escaped(byte) for byte in data) + "'"


def _escaped(byte: int) -> str:
    character = chr(byte)
    if character in "'\\":
        return f"\\{character}"
    return character if " " <= character <= "~" else f"\\x{byte:02x}"
