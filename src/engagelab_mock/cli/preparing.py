"""Enter a message in the app before its first callback, and empty the app: by a URL or by a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engagelab_mock.cli.calling import Caller, check_places, check_url, filled, one_of, run_command, words_of
from engagelab_mock.messages.message import Message

#: The parts of --prepare and --prepare-command that are replaced by the data of a message.
PLACES = ("message_id", "to", "channel", "template")


def preparer(
    url: str | None, command: str | None, channel: str | None, caller: Caller
) -> Callable[[Message], None] | None:
    """Return a function that enters a message in the app, or None if neither is given.

    >>> preparer(None, "test {to} = +6591234567", None, Caller("--prepare"))(Message(id="7", to="+6591234567"))

    A URL gets a POST, with the data of the message in its parts in braces and as JSON in the body. Raises `UsageError`
    for a URL or a command that cannot be used.
    """
    one_of("--prepare", url, command)
    if url:
        check_places(url, PLACES, "--prepare")
        check_url(url, "--prepare")

        def post(message: Message) -> None:
            data = _data(message, channel)
            caller.post(filled(url, data, url=True), data | {"custom_args": message.custom_args or {}})

        return post
    if command:
        check_places(command, PLACES, "--prepare-command")
        words = words_of(command, "--prepare-command")

        def run(message: Message) -> None:
            data = _data(message, channel)
            must = "it must soon exit 0, once the message is entered"
            run_command([filled(word, data) for word in words], "--prepare-command", must)

        return run
    return None


def resetter(url: str | None, command: str | None, caller: Caller) -> Callable[[], None] | None:
    """Return a function that empties the app's tables, or None if neither is given.

    >>> resetter(None, "true", Caller("--reset"))()

    A URL gets an empty POST. Raises `UsageError` for a URL or a command that cannot be used.
    """
    one_of("--reset", url, command)
    if url:
        check_places(url, (), "--reset")
        check_url(url, "--reset")
        return lambda: caller.post(url)
    if command:
        words = words_of(command, "--reset-command")

        def run() -> None:
            run_command(words, "--reset-command", "it must soon exit 0, once the tables are empty")

        return run
    return None


def _data(message: Message, channel: str | None) -> dict[str, Any]:
    values = (message.id, message.to, channel or message.default_channel, message.template_key)
    return dict(zip(PLACES, map(str, values), strict=True))
