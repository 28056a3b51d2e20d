"""The entries of the log of `serve`: a request with its answer, and an attempt of a callback."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from engagelab_mock.cli.output import Screen
from engagelab_mock.cli.render import DETAIL, callback_columns, channel_error, span
from engagelab_mock.delivery.model import Attempt, Delivery
from engagelab_mock.delivery.outcome import Outcome
from engagelab_mock.delivery.render import attempt_record, counted, printable, recipients
from engagelab_mock.protocol.callback import AS_CONFIGURED
from engagelab_mock.protocol.events import StatusEvent
from engagelab_mock.protocol.signature import HEADER
from engagelab_mock.protocol.status import Status

if TYPE_CHECKING:
    from werkzeug import Request, Response

    from engagelab_mock.engagelab import EngageLab
    from engagelab_mock.service.messages import Accepted

#: The calls whose answer has the id of a message that was accepted.
_SENDS = frozenset({"/v1/messages", "/v1/codes", "/v1/custom-messages", "/_mock/send"})
_CHANNELS = {"sms": "SMS", "whatsapp": "WhatsApp", "voice": "Voice", "email": "Email"}
#: How wide the column of the request or callback is. Lines of usual texts then have at most 80 characters.
_WHAT = 32
#: How many characters of a recipient stand in it. The line of the message has them all.
_TO = 14
#: The fields of requests whose values are not shown.
_SECRETS = ("secret", "authorization", "token", "password")


class Entry(Protocol):
    """One entry of the log."""

    @property
    def good(self) -> bool:
        """Tell whether the request or callback succeeded."""

    def record(self, *, bodies: bool) -> dict[str, Any]:
        """Return the JSON object, with the bodies that it does not have anyway if they are wanted."""

    def line(self, style: Style) -> str:
        """Return the line, without its time and its mark."""

    def details(self, style: Style) -> Iterator[str]:
        """Return the lines below it."""

    def bodies(self) -> Iterator[tuple[str, str]]:
        """Return what was sent and answered, each with ">" or "<"."""


@dataclass(slots=True)
class Answered:
    """A request to the server, and its answer."""

    request: Request
    response: Response
    #: In milliseconds.
    elapsed: float
    #: The JSON object in the answer, if it was refused, or says something about a message.
    content: dict[str, Any]
    #: The accepted message.
    message: Accepted | None
    #: How many other recipients the call has.
    others: int

    @classmethod
    def of(cls, engagelab: EngageLab, request: Request, response: Response, elapsed: float) -> Answered:
        """Return the entry of a request."""
        sends = request.method == "POST" and request.path in _SENDS
        verifies = request.method == "POST" and request.path.endswith(("/verifications", "/code"))
        refused = response.status_code >= 400
        content = _content(response) if sends or verifies or refused else {}
        accepted = sends and not refused
        message = engagelab._engine.messages.find(str(content.get("message_id"))) if accepted else None
        to = _object(request.get_data()).get("to") if accepted and request.path == "/v1/custom-messages" else None
        return cls(request, response, elapsed, content, message, len(to) - 1 if isinstance(to, list) else 0)

    @property
    def good(self) -> bool:
        """Tell whether the server did what was asked."""
        return self.response.status_code < 400

    def record(self, *, bodies: bool) -> dict[str, Any]:
        """Return the request, its answer, and the message that it sent."""
        refused = {} if self.good else self.content
        record: dict[str, Any] = {
            "type": "request",
            "method": self.request.method,
            "path": self.request.path,
            "status": self.response.status_code,
            "elapsed_ms": round(self.elapsed, 3),
            "code": refused.get("code"),
            "error": refused.get("message"),
            "accepted": None if self.message is None else _message_record(self.message) | {"others": self.others},
            "verified": self.content.get("verified"),
        }
        if bodies:
            sent, got = (dict(self.bodies()).get(side) for side in "><")
            record |= {"body": sent or "", "answer": got or ""}
        return record

    def line(self, style: Style) -> str:
        """Return the request and the status of its answer."""
        what = flat(f"{self.request.method} {self.request.path}")
        return style.columns(what, self.good, self.response.status_code, self.elapsed)

    def details(self, style: Style) -> Iterator[str]:
        """Return the message that was sent, or why the call was refused."""
        if self.message is not None:
            others = f", and to {counted(self.others, 'other')}" if self.others else ""
            yield style.message(self.message) + others
        elif "verified" in self.content:
            verdict = "is right" if self.content["verified"] else "is wrong"
            yield flat(f"code {self.content.get('verify_code')} {verdict}  message {self.content['message_id']}")
        elif 400 <= self.response.status_code < 500:  # of others, a notice or a traceback has told
            yield from style.wrapped(f"{self.content.get('code', '')} {self.content.get('message', '')}".strip())

    def bodies(self) -> Iterator[tuple[str, str]]:
        """Return the bodies of the request and of its answer, if they are not files."""
        if sent := _given(self.request):
            yield ">", sent
        if not self.response.is_streamed and self.response.mimetype == "application/json":
            yield "<", self.response.get_data(as_text=True)


@dataclass(slots=True)
class Tried:
    """One attempt of a callback, or the validation of an address."""

    delivery: Delivery
    attempt: Attempt
    #: Why it was not acknowledged, unless the attempt before had the same reason.
    error: str
    #: The message, if this callback says that it goes on over another channel.
    moved: Accepted | None
    #: Whether there are other receivers.
    several: bool

    @classmethod
    def of(cls, engagelab: EngageLab, delivery: Delivery, attempt: Attempt, error: str) -> Tried:
        """Return the entry of an attempt."""
        first, moved = delivery.events[0] if delivery.events else None, None
        if isinstance(first, StatusEvent) and first.name == Status.SENT:
            moved = engagelab._engine.messages.find(first.message_id)
            if moved is not None and moved.channel == first.status.status_data.current_send_channel:
                moved = None
        return cls(delivery, attempt, error, moved, len(engagelab.receivers) > 1)

    @property
    def good(self) -> bool:
        """Tell whether it was acknowledged."""
        return self.attempt.acknowledged

    @property
    def over(self) -> bool:
        """Tell whether nothing follows: it is acknowledged or a ping, or the server was stopped."""
        stopped = self.attempt.outcome is Outcome.ABANDONED and self.attempt.exception is not None
        return self.good or not self.delivery.events or stopped

    @property
    def retry_in(self) -> float | None:
        """Return after how many seconds of the server's clock the next attempt follows, or None."""
        if self.over or self.delivery.given_up:
            return None
        return self.delivery.retry.wait_after(self.attempt.number)

    @property
    def given_up(self) -> bool:
        """Tell whether this was the last attempt, and in vain."""
        return not self.over and self.retry_in is None

    def record(self, *, bodies: bool) -> dict[str, Any]:
        """Return the attempt as the journal has it, and what follows."""
        record = attempt_record(self.delivery, self.attempt)
        record |= {"retry_in": self.retry_in, "given_up": self.given_up}
        if bodies:
            record["answer"] = self.attempt.response.text if self.attempt.response else None
        return record

    def line(self, style: Style) -> str:
        """Return the callback, its answer, the number of the attempt, and what follows."""
        delivery, attempt = self.delivery, self.attempt
        to = next(iter(recipients(delivery.events)), "")
        short = to if len(to) <= _TO else f"{to[: _TO - 1]}…"
        what = flat(callback_columns(delivery.statuses or ["ping"], [short])).rstrip()
        answer = attempt.response.status if attempt.response else str(attempt.outcome).replace("_", " ")
        line = style.columns(what, self.good, answer, attempt.elapsed * 1000)
        if delivery.events:
            line += f"  #{attempt.number}"
        if self.given_up:
            line += f", {style.bad('given up')}"
        elif self.retry_in is not None:
            line += f", again in {span(self.retry_in)}"
        if self.several:
            line += f"  {style.arrow} {flat(delivery.receiver.settings.description or delivery.receiver.address)}"
        return line

    def details(self, style: Style) -> Iterator[str]:
        """Return why it was not acknowledged, and the error and the new channel that it carries."""
        yield from style.wrapped(self.error)
        if error := channel_error(self.delivery):
            yield from style.wrapped(f"carries error {error}")
        if self.moved is not None:
            first: Any = self.delivery.events[0]
            yield style.message(self.moved, first.status.status_data.current_send_channel)

    def bodies(self) -> Iterator[tuple[str, str]]:
        """Return the signature and the body that were sent, and the answer."""
        callback, response = self.attempt.callback, self.attempt.response
        if signature := callback.headers.get(HEADER):
            yield ">", f"{HEADER}: {signature}"
        yield ">", callback.body.decode("utf-8", "backslashreplace") or "(empty body)"
        if response is not None:
            yield "<", f"{response.status} {response.reason}\n{response.text}".strip()


class Style:
    """Lay out the lines. It does not use rich for each line, because that takes longer than many answers do."""

    def __init__(self, screen: Screen) -> None:
        self.arrow = screen.arrow
        self.bad = screen.painter("bold red")
        self._good = screen.painter("green")
        self._dim = screen.painter("dim")
        self._bold = screen.painter("bold")
        self._marks = {good: screen.rendered(screen.mark(good)) for good in (True, False)}
        self._width = screen.width

    def head(self, time: str, good: bool) -> str:
        """Return the beginning of each line."""
        return f"{self._dim(time)}  {self._marks[good]} "

    def columns(self, what: str, good: bool, answer: int | str, elapsed: float) -> str:
        """Return the columns of the request or callback, of the HTTP status, and of the milliseconds."""
        paint = self._good if good else self.bad
        if isinstance(answer, str):
            return f"{what:<{_WHAT}} {paint(f'{answer:>13}')}"
        return f"{what:<{_WHAT}} {paint(f'{answer:>3}')} {self._dim(f'{elapsed:6.1f} ms')}"

    def message(self, accepted: Accepted, channel: str = "") -> str:
        """Return who gets which code over which channel."""
        message = accepted.message
        label = _CHANNELS.get(channel or accepted.channel, "message")
        code = f"code {self._bold(flat(accepted.code))}" if accepted.code else f"template {message.template_key}"
        return f"{label} {self.arrow} {flat(message.to)}  {code}  {self._dim(f'message {message.id}')}"

    def wrapped(self, text: str) -> list[str]:
        """Return a text as lines that fit on the terminal, if its width is known."""
        text = flat(text)
        if not text or self._width is None:
            return [text] if text else []
        return textwrap.wrap(text, max(20, self._width - DETAIL))


def flat(text: str) -> str:
    """Return a text on one line: nothing in it can look like another entry, or act on the terminal."""
    return text if text.isprintable() else printable(text.replace("\n", "\\n").replace("\t", "\\t"))


def _content(response: Response) -> dict[str, Any]:
    """Return the JSON object in an answer; empty if there is another content, or one without an end."""
    whole = response.mimetype == "application/json" and not response.is_streamed
    return _object(response.get_data()) if whole else {}


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _message_record(accepted: Accepted) -> dict[str, Any]:
    message = accepted.message
    return {
        "message_id": message.id,
        "to": message.to,
        "template": message.template_key,
        "channel": accepted.channel,
        "code": accepted.code or None,
    }


def _given(request: Request) -> str:
    """Return the body of a request as text, without the values of fields with the names of secrets."""
    try:
        body = request.get_data()
    except Exception:  # it was refused as too long, or did not arrive
        return ""
    text = body.decode("utf-8", "backslashreplace")
    if "\\u" not in text and not any(name in text.lower() for name in _SECRETS):
        return text
    try:
        content = json.loads(body)
        cleaned = _cleaned(content)
        return text if cleaned == content else json.dumps(cleaned, ensure_ascii=False)
    except (ValueError, RecursionError):
        return f"({counted(len(body), 'byte')} that are not JSON, and may have a secret)"


def _cleaned(content: Any) -> Any:
    if isinstance(content, list):
        return [_cleaned(each) for each in content]
    if not isinstance(content, dict):
        return content
    return {
        name: AS_CONFIGURED if value and any(word in name.lower() for word in _SECRETS) else _cleaned(value)
        for name, value in content.items()
    }
