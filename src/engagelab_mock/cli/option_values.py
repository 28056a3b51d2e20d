"""The objects that commands make from their options."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from engagelab_mock.clock import SystemClock, VirtualClock
from engagelab_mock.config import SETTINGS
from engagelab_mock.delivery.receiver import Receiver
from engagelab_mock.delivery.retry import NO_RETRY, RetryPolicy
from engagelab_mock.errors import EngageLabMockError, InvalidSettings, UsageError, did_you_mean
from engagelab_mock.protocol.settings import CallbackSettings, credentials_export


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


@dataclass(frozen=True, kw_only=True)
class ReceiverOptions:
    """Hold the options that `receiver_options` adds."""

    url: str | None
    username: str
    secret: str
    authorization: str
    timeout: float
    insecure: bool
    ca: str | None

    def receiver(self, url: str) -> Receiver:
        """Return the receiver at an address."""
        return Receiver.http(
            url,
            username=self.username,
            secret=self.secret,
            authorization=self.authorization,
            limit=self.timeout,
            tls_verify=tls_verify(self.insecure, self.ca),
        )


@dataclass(frozen=True, kw_only=True)
class MessageOptions:
    """Hold the options that `message_options` adds."""

    to: str | None
    template: str | None
    channel: str | None
    custom_arg: tuple[str, ...]
    dialect: str

    @property
    def defaults(self) -> dict[str, Any]:
        """Return the engine's defaults for a message."""
        custom = custom_args(self.custom_arg)
        return {"to": self.to, "template": self.template, "channel": self.channel, "custom_args": custom}


Group = TypeVar("Group", ReceiverOptions, MessageOptions)


def taken(group: type[Group], given: dict[str, Any]) -> Group:
    """Take the options of a group out of those of a command."""
    return group(**{each.name: given.pop(each.name) for each in fields(group)})


def custom_args(pairs: tuple[str, ...]) -> dict[str, str] | None:
    """Return the --custom-arg options as a dict, or raise `UsageError` for one without `=`.

    >>> custom_args(("order=42", "note=a=b"))
    {'order': '42', 'note': 'a=b'}
    """
    args: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{pair!r} is not KEY=VALUE", where="--custom-arg", hint="such as --custom-arg order=42")
        args[key] = value
    return args or None


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


def again_lines(context: click.Context, kept: Sequence[str]) -> list[str]:
    """Return the lines that run a command again as it was called; the last one is the command.

    `kept` are the options to keep. Secrets are exported, and not shown.
    """
    typed = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    values = context.params
    words = ["engagelab-mock", str(context.command.name), *([values["address"]] if values["address"] else [])]
    for name in kept:
        if name in typed and not (name == "username" and "secret" in typed):
            option, value = f"--{name.replace('_', '-')}", values[name]
            given = value if isinstance(value, tuple) else (value,)
            words += [option] if value is True else [word for each in given for word in (option, str(each))]
    username = values["username"] if "secret" in typed else ""
    export = credentials_export(username, authorization="authorization" in typed)
    return [*([export] if export else []), shlex.join(words)]


def split(given: Iterable[str]) -> list[str]:
    """Return the parts between commas of options that can be repeated.

    >>> split(("plan, sent", "verified"))
    ['plan', 'sent', 'verified']
    """
    return [part.strip() for each in given for part in each.split(",") if part.strip()]


def effects(given: Iterable[str]) -> dict[str, list[str]]:
    """Return the statuses of the --effect options, by the name of the effect.

    >>> effects(("credits=verified", "refunds=sent_failed,target_invalid"))
    {'credits': ['verified'], 'refunds': ['sent_failed', 'target_invalid']}
    """
    found: dict[str, list[str]] = {}
    for each in given:
        name, equals, statuses = each.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{each!r} is not NAME=STATUSES", where="--effect", hint="--effect credits=verified")
        found.setdefault(name.strip(), []).extend(split((statuses,)))
    return found


def retry_policy(chosen: str) -> RetryPolicy:
    """Return the policy that --retry names, or raise `UsageError`.

    >>> retry_policy("none").waits, retry_policy("5,30").waits
    ((), (5.0, 30.0))
    """
    if chosen == "vendor":
        return RetryPolicy.vendor()
    if chosen == "none":
        return NO_RETRY
    try:
        with naming("--retry"):
            return RetryPolicy(tuple(float(wait) for wait in chosen.split(",")))
    except EngageLabMockError:
        raise
    except ValueError:
        hint = did_you_mean(chosen, ["vendor", "none"]) or "vendor, none, or waits in seconds such as 5,30"
        raise UsageError(f"{chosen!r} is not a policy", where="--retry", hint=hint) from None


def receiver_at(command: str, address: str | None, options: ReceiverOptions) -> Receiver:
    """Return the receiver that a command's options describe, or raise `UsageError` if its address is missing."""
    url = address or options.url
    if not url:
        raise UsageError(
            f"the address of the receiver to {command} is missing",
            where="URL",
            hint=f"engagelab-mock {command} http://127.0.0.1:5000/engagelab --username acme --secret s3cret",
        )
    return options.receiver(url)
