"""Read the state of the app from a URL or from the output of a command."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from engagelab_mock.cli.calling import Caller, check_url, described, first_line, one_of, run_command, words_of
from engagelab_mock.delivery.transport import Threads
from engagelab_mock.errors import EngageLabMockError, ProbeFailed, UsageError

#: The part of --observe and --observe-command that is replaced by a message's id.
PLACE = "{message_id}"


def observer(url: str | None, command: str | None, caller: Caller | None = None) -> Callable[[str], Any] | None:
    """Return a function that reads the state of a message by its id, or None if neither is given.

    >>> observer(None, "echo {message_id}")("7")
    7

    Without a `caller`, each call has its own connection. Raises `UsageError` for a URL or a command that cannot be
    used.
    """
    one_of("--observe", url, command)
    for option, given in (("--observe", url), ("--observe-command", command)):
        if given and PLACE not in given:
            raise UsageError(f"{given!r} has no place for the message's id", where=option, hint=f"write {PLACE}")
    if url:
        check_url(url.replace(PLACE, "0"), "--observe")
        return lambda message_id: _fetch(url.replace(PLACE, message_id), caller=caller)
    if command:
        words = words_of(command, "--observe-command")
        return lambda message_id: _run([word.replace(PLACE, message_id) for word in words])
    return None


def observer_in_threads(url: str, caller: Caller) -> Callable[[str], Awaitable[Any]]:
    """Return an asynchronous function that reads the state of a message from a URL, without blocking the event loop.

    >>> import asyncio
    >>> try:
    ...     asyncio.run(observer_in_threads("http://127.0.0.1:1/{message_id}", Caller("--observe"))("7"))
    ... except EngageLabMockError as error:
    ...     print(error.what)
    http://127.0.0.1:1/7: connection refused: nothing listens on 127.0.0.1:1
    """
    observe, threads = observer(url, None, caller), Threads()
    assert observe is not None, "a URL was given"
    return lambda message_id: threads.run(observe, message_id)


def account_observer(url: str | None) -> Callable[[], Any] | None:
    """Return a function that reads the state of the account from a URL, or None without a URL.

    >>> account_observer(None)

    Raises `InvalidSettings` for a URL that cannot be used.
    """
    if not url:
        return None
    check_url(url, "--observe-account")
    return partial(_fetch, url, option="--observe-account")


class NoSuchState(LookupError):
    """Report that an address answered 404: the app does not know the message, or the address is wrong.

    It is not an error of this package, so the probe takes it for no state once the address has shown another one.

    >>> issubclass(NoSuchState, LookupError)
    True
    """


@contextmanager
def states_at_their_address() -> Iterator[None]:
    """Report with the name of the option that the address of the state answered 404 for every message."""
    try:
        yield
    except ProbeFailed as error:
        if not isinstance(error.__cause__, NoSuchState):
            raise
        hint = "no message has a state there: is this the address that shows states?"
        raise ProbeFailed(str(error.__cause__), where="--observe", hint=hint) from None


def _fetch(url: str, option: str = "--observe", caller: Caller | None = None) -> Any:
    """Return the answer of a URL, as data if it is JSON."""
    mine = Caller(option) if caller is None else caller
    try:
        answer = mine.fetch(url)
    finally:
        if caller is None:
            mine.close()
    if answer.status == 404 and option == "--observe":
        raise NoSuchState(described(url, answer))
    if answer.status != 200:
        unknown = ", or 404 for a message that the app does not know" if option == "--observe" else ""
        hint = f"it must answer 200 with the state{unknown}"
        raise EngageLabMockError(described(url, answer), where=option, hint=hint)
    if "json" not in (answer.headers.get("Content-Type") or "").lower():
        return _data(answer.text)
    try:
        return json.loads(answer.text)
    except ValueError:
        what = f"{url} answered with a body that is not JSON, as its Content-Type says: {first_line(answer.text)}"
        raise EngageLabMockError(what, where=option, hint="answer valid JSON, or text/plain") from None


def _run(words: list[str]) -> Any:
    """Return the output of a command, as data if it is JSON."""
    must = "it must soon exit 0, and print nothing for a message that the app does not know"
    return _data(run_command(words, "--observe-command", must))


def _data(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()
