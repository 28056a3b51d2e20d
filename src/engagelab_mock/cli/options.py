"""The options that several commands share, and the objects that commands make from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from engagelab_mock.clock import SystemClock, VirtualClock
from engagelab_mock.config import SETTINGS, Setting
from engagelab_mock.delivery.receiver import ACKNOWLEDGEMENT_LIMIT
from engagelab_mock.errors import EngageLabMockError, InvalidDelay, InvalidSettings, UnknownName, UsageError
from engagelab_mock.protocol.events import DEFAULT, DIALECTS
from engagelab_mock.protocol.settings import CallbackSettings


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


@contextmanager
def naming(option: str) -> Iterator[None]:
    """Let the errors of the block name an option.

    >>> try:
    ...     with naming("--speed"):
    ...         SystemClock(-1)
    ... except UsageError as error:
    ...     print(error.where)
    --speed
    """
    try:
        yield
    except EngageLabMockError as error:
        error.where = option
        raise


Decorated = TypeVar("Decorated", bound=Callable[..., Any] | click.Command)


def setting(
    name: str, *, settings: Mapping[str, Setting] = SETTINGS, **attributes: Any
) -> Callable[[Decorated], Decorated]:
    """Make the option of one setting, with its environment variable: `--custom-arg` for `custom_arg`."""
    flag = f"--{name.replace('_', '-')}"
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


def signing_settings(username: str, secret: str) -> CallbackSettings:
    """Return settings that sign, or raise `InvalidSettings` if the username or the secret is missing.

    >>> signing_settings("acme", "s3cret").signs
    True
    """
    settings = CallbackSettings(username=username, secret=secret)
    if not settings.signs:
        raise InvalidSettings(
            "a username and a secret are needed",
            where="--username",
            hint="give --username and --secret, or set"
            f" {SETTINGS['username'].environment} and {SETTINGS['secret'].environment}",
        )
    return settings


def clock_for(speed: float) -> VirtualClock | SystemClock:
    """Return a clock that skips delays, or one that runs `speed` times as fast as the machine's.

    >>> type(clock_for(0)).__name__
    'VirtualClock'
    """
    with naming("--speed"):
        return VirtualClock() if speed == 0 else SystemClock(speed)


def tls_verify(insecure: bool, ca: str | None) -> bool | str:
    """Return which certificates to trust, or raise `UsageError` if both options are given.

    >>> tls_verify(False, None)
    True
    """
    if insecure and ca:
        raise UsageError(
            "--insecure trusts any certificate, and --ca only those in a file",
            where="--insecure",
            hint="give one of the two; the other may come from the environment or from pyproject.toml",
        )
    return ca or not insecure
