"""The options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from engagelab_mock.config import SETTINGS, Setting
from engagelab_mock.delivery.receiver import ACKNOWLEDGEMENT_LIMIT
from engagelab_mock.errors import EngageLabMockError, InvalidDelay, UnknownName
from engagelab_mock.protocol.events import DEFAULT, DIALECTS


def from_zero(context: click.Context, parameter: click.Parameter, seconds: float) -> float:
    """Return the seconds of an option, or raise `InvalidDelay` with its name if they are negative or not finite."""
    return _seconds(parameter, seconds, not seconds < 0, "from 0")


def above_zero(context: click.Context, parameter: click.Parameter, seconds: float) -> float:
    """Return the seconds of an option, or raise `InvalidDelay` with its name if they are not above zero and finite."""
    return _seconds(parameter, seconds, seconds > 0, "above 0")


def _seconds(parameter: click.Parameter, seconds: float, good: bool, which: str) -> float:
    if not good or not math.isfinite(seconds):
        option = parameter.opts[0]
        raise InvalidDelay(f"{seconds:g} is not a number of seconds {which}", where=option, hint=f"such as {option} 3")
    return seconds


Decorated = TypeVar("Decorated", bound=Callable[..., Any] | click.Command)


def setting(
    name: str, *, settings: Mapping[str, Setting] = SETTINGS, switch: bool = False, **attributes: Any
) -> Callable[[Decorated], Decorated]:
    """Make the option of one setting, with its environment variable: `--custom-arg` for `custom_arg`.

    A `switch` also has an option that turns it off, such as `--no-merge`.
    """
    flag = f"--{name.replace('_', '-')}"
    flag += f"/--no-{flag[2:]}" * switch
    return click.option(flag, name, envvar=settings[name].environment, show_envvar=True, **attributes)


def output_options(command: Decorated) -> Decorated:
    """Add --format."""
    form = setting(
        "format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Print text, or JSON Lines.",
    )
    return form(command)


def listening_options(command: Decorated) -> Decorated:
    """Add --host and --port."""
    return _all(
        command,
        setting("host", default="127.0.0.1", show_default=True, help="The address to listen on."),
        setting("port", type=click.IntRange(0, 65535), default=0, help="The port to listen on. Default: any free one."),
    )


def credential_options(command: Decorated) -> Decorated:
    """Add --username and --secret."""
    return _all(
        command,
        setting("username", default="", help="The username of the callback settings."),
        setting("secret", default="", help="The secret of the callback settings; prefer the environment variable."),
    )


def authorization_option(text: str) -> Callable[[Decorated], Decorated]:
    """Make --authorization, whose meaning differs between commands."""
    return setting("authorization", default="", help=text)


def tls_options(command: Decorated) -> Decorated:
    """Add --insecure and --ca."""
    return _all(
        command,
        setting("insecure", is_flag=True, help="Do not verify the receiver's TLS certificate."),
        setting("ca", type=click.Path(exists=True, dir_okay=False), help="Trust the certificates in this PEM file."),
    )


def receiver_options(command: Decorated) -> Decorated:
    """Add the options that say which receiver gets the callbacks, and how to reach it."""
    return _all(
        command,
        setting("url", help="The receiver's address, such as http://127.0.0.1:5000/engagelab."),
        credential_options,
        authorization_option("Send this Authorization header, verbatim."),
        setting(
            "timeout",
            type=float,
            callback=above_zero,
            default=ACKNOWLEDGEMENT_LIMIT,
            show_default=True,
            metavar="SECONDS",
            help="How long the receiver may take for its whole answer.",
        ),
        tls_options,
    )


def message_options(command: Decorated) -> Decorated:
    """Add the options that describe the message."""
    return _all(
        command,
        setting("to", metavar="RECIPIENT", help="An E.164 number or an e-mail address. Default: a generated number."),
        setting("template", help="The template's key. Default: a generated one."),
        setting("channel", help="The channel if the scenario names none: sms, whatsapp, voice, email."),
        setting("custom_arg", multiple=True, metavar="KEY=VALUE", help="Echoed in each row; can be repeated."),
        setting(
            "dialect",
            default=DEFAULT.name,
            show_default=True,
            help=f"How callbacks are spelt: {' or '.join(DIALECTS)}.",
        ),
    )


def observe_options(settings: Mapping[str, Setting]) -> Callable[[Decorated], Decorated]:
    """Make --observe and --observe-command, with the settings of one command."""
    return _group(
        setting(
            "observe",
            settings=settings,
            metavar="URL",
            help="Read the state of a message from this URL, such as http://…/state/{message_id}.",
        ),
        setting(
            "observe_command",
            settings=settings,
            metavar="COMMAND",
            help="Read it from this command's output; {message_id} is replaced.",
        ),
    )


def meaning_options(settings: Mapping[str, Setting]) -> Callable[[Decorated], Decorated]:
    """Make --effect and --terminal, with the settings of one command."""
    return _group(
        setting(
            "effect",
            settings=settings,
            multiple=True,
            metavar="NAME=STATUSES",
            help="An effect in the state, and the statuses that have it, such as credits=verified; can be repeated.",
        ),
        setting(
            "terminal",
            settings=settings,
            multiple=True,
            metavar="STATUSES",
            help="The statuses that no other status replaces.",
        ),
    )


def wait_option(settings: Mapping[str, Setting]) -> Callable[[Decorated], Decorated]:
    """Make --wait, with the settings of one command."""
    return setting(
        "wait",
        settings=settings,
        type=float,
        callback=from_zero,
        default=0.0,
        metavar="SECONDS",
        help="Wait up to so long until the receiver is up.",
    )


def seed_option(command: Decorated) -> Decorated:
    """Add --seed."""
    return setting("seed", help="The same seed generates the same ids and data.")(command)


def speed_option(command: Decorated) -> Decorated:
    """Add --speed, for commands that skip delays by default."""
    speed = setting(
        "speed",
        type=float,
        default=0.0,
        metavar="FACTOR",
        help="Wait for delays in real time, divided by this factor. Default: skip them.",
    )
    return speed(command)


class Commands(click.Group):
    """Suggest the nearest command for a misspelt one, with every version of click; errors name the option."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of an argument names the option."""
        try:
            return super().invoke(ctx)
        except EngageLabMockError as error:
            # The engine's argument `to` is the option --to of the command.
            parameters = self.commands[ctx.invoked_subcommand].params if ctx.invoked_subcommand else []
            options = {each.name: each.opts[0] for each in parameters if isinstance(each, click.Option)}
            error.where = options.get(error.where, error.where)
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the named command, or raise `UnknownName`."""
        known = self.list_commands(ctx)
        if args[0] not in known and not ctx.resilient_parsing:
            raise UnknownName("command", args[0], known)
        return super().resolve_command(ctx, args)


def _all(command: Decorated, *decorators: Callable[[Decorated], Decorated]) -> Decorated:
    # Click lists options in the order of the decorators above a function, which are applied from the last to the first.
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def _group(*decorators: Callable[[Decorated], Decorated]) -> Callable[[Decorated], Decorated]:
    return lambda command: _all(command, *decorators)
