"""Read the state of the app from a URL or from the output of a command."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

from engagelab_mock.delivery.outcome import TransportFailure
from engagelab_mock.delivery.transport import split_address
from engagelab_mock.delivery.transport.wire import Wire
from engagelab_mock.errors import EngageLabMockError, UsageError
from engagelab_mock.protocol.callback import Callback, Headers

#: The part of --observe and --observe-command that is replaced by a message's id.
PLACE = "{message_id}"
#: How long reading a state may take, in seconds.
_OBSERVE_LIMIT = 10.0


def observer(url: str | None, command: str | None) -> Callable[[str], Any] | None:
    """Return a function that reads the state of a message by its id, or None if neither is given.

    >>> observer(None, "echo {message_id}")("7")
    7

    Raises `UsageError` for a URL or a command that cannot be used.
    """
    if url and command:
        raise UsageError("--observe and --observe-command do the same", where="--observe", hint="give one of them")
    for option, given in (("--observe", url), ("--observe-command", command)):
        if given and PLACE not in given:
            raise UsageError(f"{given!r} has no place for the message's id", where=option, hint=f"write {PLACE}")
    if url:
        split_address(url.replace(PLACE, "0"), where="--observe")
        return lambda message_id: _fetch(url.replace(PLACE, message_id))
    if command:
        try:
            words = shlex.split(command)
        except ValueError as error:
            what = f"{command!r} is not a command line: {error}"
            raise UsageError(what, where="--observe-command") from None
        return lambda message_id: _run([word.replace(PLACE, message_id) for word in words])
    return None


def account_observer(url: str | None) -> Callable[[], Any] | None:
    """Return a function that reads the state of the account from a URL, or None without a URL.

    >>> account_observer(None)

    Raises `InvalidSettings` for a URL that cannot be used.
    """
    if not url:
        return None
    split_address(url, where="--observe-account")
    return partial(_fetch, url, option="--observe-account")


class NoSuchState(LookupError):
    """Report that an address answered 404: the app does not know the message, or the address is wrong.

    It is not an error of this package, so the probe takes it for no state once the address has shown another one.

    >>> issubclass(NoSuchState, LookupError)
    True
    """


def _fetch(url: str, option: str = "--observe") -> Any:
    """Return the answer of a URL, as data if it is JSON."""
    from engagelab_mock.delivery.transport.http import HttpTransport

    transport = HttpTransport(url)
    try:
        answer = transport.exchange(Callback(Headers(), b""), _OBSERVE_LIMIT, Wire(method="GET"))
    except TransportFailure as failure:
        hint = "does the app run, and is this the right address?"
        raise EngageLabMockError(f"{url}: {failure.reason}", where=option, hint=hint) from None
    finally:
        transport.close()
    said = f"{url} answered {answer.status} {answer.reason}".rstrip()
    first = _first_line(answer.text)
    said += f": {first}" if first else ""
    if answer.status == 404 and option == "--observe":
        raise NoSuchState(said)
    if answer.status != 200:
        unknown = ", or 404 for a message that the app does not know" if option == "--observe" else ""
        hint = f"it must answer 200 with the state{unknown}"
        raise EngageLabMockError(said, where=option, hint=hint)
    if "json" not in (answer.headers.get("Content-Type") or "").lower():
        return _data(answer.text)
    try:
        return json.loads(answer.text)
    except ValueError:
        what = f"{url} answered with a body that is not JSON, as its Content-Type says: {first}"
        raise EngageLabMockError(what, where=option, hint="answer valid JSON, or text/plain") from None


def _run(words: list[str]) -> Any:
    """Return the output of a command, as data if it is JSON."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_OBSERVE_LIMIT, check=False)
    except OSError as error:
        what = f"{words[0]!r} cannot be run: {error.strerror}"
        raise EngageLabMockError(what, where="--observe-command", hint="is it on the PATH?") from None
    except subprocess.TimeoutExpired:
        what = f"{words[0]!r} did not end within {_OBSERVE_LIMIT:g} s"
        raise EngageLabMockError(what, where="--observe-command", hint="it is run for each look at a state") from None
    if done.returncode:
        said = _first_line(done.stderr) or _first_line(done.stdout) or "without a message"
        hint = "it must exit 0, and print nothing for a message that the app does not know"
        raise EngageLabMockError(f"{words[0]!r} exited {done.returncode}: {said}", where="--observe-command", hint=hint)
    return _data(done.stdout)


def _first_line(text: str) -> str:
    return next((line.strip()[:300] for line in text.splitlines() if line.strip()), "")


def _data(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()
