"""The options that several commands share; each takes its environment variable from `config`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from engagelab_mock.config import SETTINGS
from engagelab_mock.delivery.receiver import ACKNOWLEDGEMENT_LIMIT
from engagelab_mock.protocol.dialect import DEFAULT, DIALECTS

Decorated = TypeVar("Decorated", bound=Callable[..., Any] | click.Command)


def setting(name: str, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """Make the option of one setting, `--custom-arg` for `custom_arg`."""
    flag = f"--{name.replace('_', '-')}"
    return click.option(flag, name, envvar=SETTINGS[name].environment, show_envvar=True, **attributes)


def output_options(command: Decorated) -> Decorated:
    """Add --format."""
    form = setting(
        "format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Text for a person, or one JSON object a line.",
    )
    return form(command)


def credential_options(command: Decorated) -> Decorated:
    """Add --username and --secret."""
    return _all(
        command,
        setting("username", default="", help="The username of the callback settings."),
        setting("secret", default="", help="The secret of the callback settings; better given by its variable."),
    )


def authorization_option(text: str) -> Callable[[Decorated], Decorated]:
    """Make --authorization, which is sent in one command and expected in another."""
    return setting("authorization", default="", help=text)


def receiver_options(command: Decorated) -> Decorated:
    """Add what says who gets the callbacks, and how to reach it."""
    return _all(
        command,
        setting("url", help="Where callbacks go, such as http://127.0.0.1:5000/engagelab."),
        credential_options,
        authorization_option("Send this Authorization header, verbatim."),
        setting(
            "timeout",
            type=float,
            default=ACKNOWLEDGEMENT_LIMIT,
            show_default=True,
            metavar="SECONDS",
            help="How long the receiver may take for its whole answer.",
        ),
        setting("insecure", is_flag=True, help="Do not verify the receiver's TLS certificate."),
        setting("ca", type=click.Path(exists=True, dir_okay=False), help="Trust the certificates in this PEM file."),
    )


def message_options(command: Decorated) -> Decorated:
    """Add what says which message is sent."""
    return _all(
        command,
        setting("to", metavar="RECIPIENT", help="An E.164 number or an e-mail address; made up when left out."),
        setting("template", help="The template's key; made up when left out."),
        setting("channel", help="The channel used where the scenario names none: sms, whatsapp, voice, email."),
        setting("custom_arg", multiple=True, metavar="KEY=VALUE", help="Echoed in each row; can be repeated."),
        setting("dialect", default=DEFAULT.name, show_default=True, help=f"How callbacks are spelt: {_dialects()}."),
    )


def pace_options(command: Decorated) -> Decorated:
    """Add --seed and --speed."""
    return _all(
        command,
        setting("seed", help="Make the same ids and data again; another seed makes others."),
        setting(
            "speed",
            type=float,
            default=0.0,
            metavar="FACTOR",
            help="Play delays in real time, this many times as fast; left out, they pass at once.",
        ),
    )


def _all(command: Decorated, *decorators: Callable[[Decorated], Decorated]) -> Decorated:
    # Click lists options in the order in which decorators stand above a function, which is the reverse of applying.
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def _dialects() -> str:
    return " or ".join(DIALECTS)
