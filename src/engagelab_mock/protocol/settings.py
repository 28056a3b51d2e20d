"""The settings of a callback in EngageLab's console."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import msgspec

from engagelab_mock.errors import InvalidSettings, UnknownName
from engagelab_mock.protocol.event_table import EVENTS, names_of
from engagelab_mock.protocol.events import KINDS, Event

#: Everything that a receiver can subscribe to: a whole kind, a message status, or another event by its name.
TICKABLE = (*KINDS, *EVENTS)
#: The events that are not message statuses, by kind.
ACCOUNT_EVENTS = {kind: names_of(kind) for kind in KINDS if kind != "status"}


class CallbackSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one callback's settings [S]: description, address, username and secret, Authorization.

    Username and secret are given together or not at all. Raises `InvalidSettings` for settings that the console would
    refuse, or that a header cannot hold.

    >>> CallbackSettings(address="http://127.0.0.1:5000/engagelab", username="acme", secret="s3cret").signs
    True
    """

    address: str = ""
    description: str = ""
    username: str = ""
    secret: str = ""
    authorization: str = ""
    #: The events that the receiver subscribes to: kinds of event, or names of statuses and events; empty means all.
    events: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.events:
            if name not in TICKABLE:
                raise UnknownName("callback event", name, TICKABLE, where="events")
        for name in ("address", "description", "username", "secret", "authorization"):
            if not isinstance(getattr(self, name), str):
                raise InvalidSettings(
                    f"{name} is a string, not {getattr(self, name)!r}",
                    where=name,
                    hint="is the environment variable it comes from set?",
                )
        if self.username and not self.secret:
            raise InvalidSettings(
                f"username {self.username!r} has no secret",
                where="secret",
                hint="EngageLab requires a secret once a username is set [S]; give both or neither",
            )
        if self.secret and not self.username:
            raise InvalidSettings("the secret has no username", where="username", hint="give both or neither")
        if not _fits_part(self.username):
            # It is not documented how EngageLab would put other characters into the header.
            raise InvalidSettings(
                f"username {self.username!r} cannot stand in an X-CALLBACK-ID header",
                where="username",
                hint="use printable ASCII without ';' and without outer blanks",
            )
        if not is_unicode(self.secret):
            raise InvalidSettings("the secret is not valid Unicode text", where="secret", hint="give it as UTF-8")
        if not fits_header(self.authorization):
            raise InvalidSettings(
                "the Authorization value cannot stand in a header",
                where="authorization",
                hint="it must be latin-1 text without line breaks or other control characters",
            )

    def __repr__(self) -> str:
        # pytest shows the values in a failing assertion, and keeps them in its reports.
        secret = {"secret": "…", "authorization": "…"}
        given = {name: secret.get(name, value) for name in self.__struct_fields__ if (value := getattr(self, name))}
        return f"CallbackSettings({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def wants(self, event: Event) -> bool:
        """Tell whether the receiver subscribes to the event."""
        return not self.events or event.kind in self.events or event.name in self.events

    @property
    def signs(self) -> bool:
        """Tell whether callbacks carry `X-CALLBACK-ID`: they do once username and secret are set [S]."""
        return bool(self.username)


def ticked(events: Iterable[str]) -> tuple[str, ...]:
    """Return subscribed events as the settings keep them; raise `InvalidSettings` if they are not a list.

    >>> ticked(["delivered", "notification"])
    ('delivered', 'notification')
    """
    if isinstance(events, str) or not isinstance(events, Iterable):
        raise InvalidSettings(
            f"events is a list of names, not {events!r}", where="events", hint='write events=["delivered"]'
        )
    return tuple(events)


def credentials_export(username: str, *, authorization: bool = False) -> str:
    """Return the shell line that gives commands the credentials, with … for a secret; empty if there are none.

    >>> credentials_export("acme")
    'export ENGAGELAB_WEBHOOK_USERNAME=acme ENGAGELAB_WEBHOOK_SECRET=…'
    """
    variables = (
        [f"ENGAGELAB_WEBHOOK_USERNAME={shlex.quote(username)}", "ENGAGELAB_WEBHOOK_SECRET=…"] if username else []
    )
    variables += ["ENGAGELAB_MOCK_AUTHORIZATION=…"] if authorization else []
    return " ".join(["export", *variables]) if variables else ""


def _fits_part(username: str) -> bool:
    # Receivers strip the header's parts [K], so they would not recognise a name with outer blanks.
    return username.isascii() and username.isprintable() and ";" not in username and username == username.strip()


def fits_header(value: str) -> bool:
    """Tell whether a header can hold a value: latin-1 text without control characters.

    >>> fits_header("Basic YTpi"), fits_header("a\\r\\nX-Evil: 1")
    (True, False)
    """
    return all((" " <= character <= "\xff" and character != "\x7f") or character == "\t" for character in value)


def is_unicode(value: str) -> bool:
    """Tell whether UTF-8 can encode a text.

    >>> is_unicode("naïve"), is_unicode("\\udcff")
    (True, False)
    """
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate, which stands for an undecodable byte of an environment variable
        return False
    return True
