"""Seeing the state of a receiver's app from outside: what a URL answers, or what a command prints."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

from engagelab_mock.delivery.outcome import TransportFailure
from engagelab_mock.delivery.transport.base import split_address
from engagelab_mock.delivery.transport.wire import Wire
from engagelab_mock.errors import EngageLabMockError, UsageError
from engagelab_mock.protocol.callback import Callback, Headers

#: What stands for a message's id.
PLACE = "{message_id}"
#: How long looking may take, in seconds.
_LIMIT = 10.0


def observer(url: str | None, command: str | None) -> Callable[[str], Any] | None:
    """Return what tells the state of a message by its id, or None if nothing was given.

    >>> observer(None, "echo {message_id}")("7")
    7

    Raises `UsageError` for what cannot be used.
    """
    if url and command:
        raise UsageError("--observe and --observe-command are two ways to look", where="--observe", hint="give one")
    for option, given in (("--observe", url), ("--observe-command", command)):
        if given and PLACE not in given:
            raise UsageError(f"{given!r} does not say where the message's id goes", where=option, hint=f"write {PLACE}")
    if url:
        split_address(url.replace(PLACE, "0"), where="--observe")
        return lambda message_id: _fetched(url.replace(PLACE, message_id))
    if command:
        words = _words(command)
        return lambda message_id: _printed([word.replace(PLACE, message_id) for word in words])
    return None


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UsageError(f"{command!r} is no command line: {error}", where="--observe-command") from None


def _fetched(url: str) -> Any:
    """Return what a URL answers, as data if it is JSON; None for 404."""
    from engagelab_mock.delivery.transport.http import HttpTransport

    transport = HttpTransport(url)
    try:
        answer = transport.exchange(Callback(Headers(), b""), _LIMIT, Wire(method="GET"))
    except TransportFailure as failure:
        raise EngageLabMockError(failure.reason, where=url) from None
    finally:
        transport.close()
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise EngageLabMockError(f"answered {answer.status}, not 200 or 404", where=url)
    return _data(answer.text)


def _printed(words: list[str]) -> Any:
    """Return what a command prints, as data if it is JSON."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT, check=False)
    except OSError as error:
        raise EngageLabMockError(f"{words[0]!r} cannot be run: {error.strerror}", where="--observe-command") from None
    if done.returncode:
        said = done.stderr.strip() or "it said nothing"
        raise EngageLabMockError(f"{words[0]!r} exited {done.returncode}: {said:.300}", where="--observe-command")
    return _data(done.stdout)


def _data(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()
