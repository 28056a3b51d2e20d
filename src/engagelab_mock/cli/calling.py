"""Call the app under test beside its callbacks: at a URL over kept connections, or by a command."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote

from engagelab_mock.delivery.model import Response
from engagelab_mock.delivery.outcome import Outcome, TransportFailure
from engagelab_mock.delivery.transport import split_address, target_of
from engagelab_mock.delivery.transport.http import HttpTransport
from engagelab_mock.delivery.transport.wire import Wire
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError
from engagelab_mock.protocol.callback import Callback, Headers

#: How long a call of a URL, or a command, may take, in seconds.
LIMIT = 10.0
#: The outcomes of a request on a connection that the server closes.
_CLOSED = (Outcome.CLOSED, Outcome.RESET)
_PLACE = re.compile(r"\{(\w+)\}")
_JSON = Headers([("Content-Type", "application/json")])


class Caller:
    """Call URLs for one option of the command line, and keep the connections until `close`.

    Several threads can call at the same time. Each uses a connection that is free, or opens one.

    >>> try:
    ...     Caller("--observe").fetch("http://127.0.0.1:1/state")
    ... except EngageLabMockError as error:
    ...     print(error.what)
    http://127.0.0.1:1/state: connection refused: nothing listens on 127.0.0.1:1
    """

    def __init__(self, option: str) -> None:
        self.option = option
        self._transports: dict[str, HttpTransport] = {}

    def fetch(self, url: str) -> Response:
        """Return the answer to a GET."""
        return self._exchange(url, Callback(Headers(), b""), Wire(method="GET"))

    def post(self, url: str, data: Mapping[str, Any] | None = None) -> None:
        """Post data as JSON, or an empty body; raise `EngageLabMockError` if the answer is not a 2xx."""
        body = b"" if data is None else json.dumps(data).encode()
        answer = self._exchange(url, Callback(_JSON if body else Headers(), body), None)
        if not 200 <= answer.status < 300:
            hint = "it must answer 200 once that is done; is this the right address?"
            raise EngageLabMockError(described(url, answer), where=self.option, hint=hint)

    def _exchange(self, url: str, request: Callback, wire: Wire | None) -> Response:
        parts = split_address(url, where=self.option)
        server = f"{parts.scheme}://{parts.netloc}"
        # As one step, because another thread may have made it meanwhile.
        transport = self._transports.get(server) or self._transports.setdefault(server, HttpTransport(server))
        target = target_of(parts)
        try:
            try:
                return transport.exchange(request, LIMIT, wire, target=target)
            except TransportFailure as failure:
                if wire is None or failure.outcome not in _CLOSED:
                    raise
                # A server may close a kept connection at this moment. A GET can be repeated.
                return transport.exchange(request, LIMIT, Wire(method="GET", connection="new"), target=target)
        except TransportFailure as failure:
            hint = "does the app run, and is this the right address?"
            raise EngageLabMockError(f"{url}: {failure.reason}", where=self.option, hint=hint) from None

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        for transport in self._transports.values():
            transport.close()
        self._transports.clear()


def described(url: str, answer: Response) -> str:
    """Say what a URL answered, with the first line of its text."""
    said = f"{url} answered {answer.status} {answer.reason}".rstrip()
    first = first_line(answer.text)
    return f"{said}: {first}" if first else said


def check_url(url: str, option: str) -> None:
    """Raise `InvalidSettings` for an address that cannot be used.

    >>> check_url("http://127.0.0.1:5000/state/{message_id}", "--observe")
    """
    split_address(_PLACE.sub("0", url), where=option)


def check_places(given: str, places: Collection[str], option: str) -> None:
    """Raise `UnknownName` for a part in braces that nothing replaces.

    >>> check_places("http://127.0.0.1/{message_id}", {"message_id", "to"}, "--prepare")
    """
    for name in _PLACE.findall(given):
        if name not in places:
            raise UnknownName("part in braces", name, places, where=option)


def filled(text: str, values: Mapping[str, str], *, url: bool = False) -> str:
    """Return a text with the parts in braces replaced; in a URL, the values are escaped.

    >>> filled("http://127.0.0.1/{to}", {"to": "+6591234567"}, url=True)
    'http://127.0.0.1/%2B6591234567'
    """
    return _PLACE.sub(lambda place: quote(values[place[1]], safe="") if url else values[place[1]], text)


def words_of(command: str, option: str) -> list[str]:
    """Return the words of a command line, or raise `UsageError`.

    >>> words_of("psql -c 'DELETE FROM orders'", "--reset-command")
    ['psql', '-c', 'DELETE FROM orders']
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"{command!r} is not a command line: {error}", where=option) from None
    if not words:
        raise UsageError("the command is empty", where=option)
    return words


def run_command(words: list[str], option: str, must: str) -> str:
    """Run a command and return its output; the hint of an error says what it `must` do."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT, check=False)
    except OSError as error:
        what = f"{words[0]!r} cannot be run: {error.strerror}"
        raise EngageLabMockError(what, where=option, hint="is it on the PATH?") from None
    except subprocess.TimeoutExpired:
        what = f"{words[0]!r} did not end within {LIMIT:g} s"
        raise EngageLabMockError(what, where=option, hint=must) from None
    if done.returncode:
        said = first_line(done.stderr) or first_line(done.stdout) or "without a message"
        raise EngageLabMockError(f"{words[0]!r} exited {done.returncode}: {said}", where=option, hint=must)
    return done.stdout


def one_of(option: str, url: str | None, command: str | None) -> None:
    """Raise `UsageError` if both a URL and a command are given for the same purpose.

    >>> one_of("--reset", "http://127.0.0.1:5000/reset", None)
    """
    if url and command:
        raise UsageError(f"{option} and {option}-command do the same", where=option, hint="give one of them")


def first_line(text: str) -> str:
    """Return the first line that is not blank, cut.

    >>> first_line("\\n no such table\\n")
    'no such table'
    """
    return next((line.strip()[:300] for line in text.splitlines() if line.strip()), "")


def hint_for_unreachable(why: str) -> str:
    """Return a hint for a receiver that no request reaches.

    >>> hint_for_unreachable("connection refused: nothing listens on 127.0.0.1:5000")
    'start it, or give --wait 10 if it is about to come up'
    >>> hint_for_unreachable("the host 'app' cannot be resolved: Name or service not known").partition(":")[0]
    'a service of Compose has its name inside its network alone'
    """
    if "cannot be resolved" in why:
        return "a service of Compose has its name inside its network alone: run the command there, or use an address"
    return "start it, or give --wait 10 if it is about to come up"
