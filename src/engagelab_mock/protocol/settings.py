"""What a user enters for a callback in EngageLab's console."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from engagelab_mock.errors import InvalidSettings, UnknownName
from engagelab_mock.protocol.event_table import EVENTS, names_of
from engagelab_mock.protocol.events import KINDS, Event

#: Everything that can be ticked for a callback: a whole kind, a message status, or another event by its name.
TICKABLE = (*KINDS, *EVENTS)
#: What is not a message status, by kind.
ACCOUNT_EVENTS = {kind: names_of(kind) for kind in KINDS if kind != "status"}


class CallbackSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one callback's settings [S]: description, address, username and secret, Authorization.

    A username needs a secret and a secret a username; either may be left out with the other. Raises `InvalidSettings`
    for what could not be set, or could not be put into a header.

    >>> CallbackSettings(address="http://127.0.0.1:5000/engagelab", username="acme", secret="s3cret").signs
    True
    """

    address: str = ""
    description: str = ""
    username: str = ""
    secret: str = ""
    authorization: str = ""
    #: The ticked callback events: kinds of event, or names of statuses and events; none ticked is all.
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
            # How EngageLab puts other characters into the header is not documented, so none is made up here.
            raise InvalidSettings(
                f"username {self.username!r} cannot stand in an X-CALLBACK-ID header",
                where="username",
                hint="use printable ASCII without ';' and without outer blanks",
            )
        if not _is_unicode(self.secret):
            raise InvalidSettings("the secret is not valid Unicode text", where="secret", hint="give it as UTF-8")
        if not fits_header(self.authorization):
            raise InvalidSettings(
                "the Authorization value cannot stand in a header",
                where="authorization",
                hint="it must be latin-1 text without line breaks or other control characters",
            )

    def wants(self, event: Event) -> bool:
        """Tell whether the event is ticked."""
        return not self.events or event.kind in self.events or event.name in self.events

    @property
    def signs(self) -> bool:
        """Tell whether callbacks carry `X-CALLBACK-ID`: they do once username and secret are set [S]."""
        return bool(self.username)


def ticked(events: Iterable[str]) -> tuple[str, ...]:
    """Return ticked events as the settings keep them; raise `InvalidSettings` for what is no list.

    >>> ticked(["delivered", "notification"])
    ('delivered', 'notification')
    """
    if isinstance(events, str) or not isinstance(events, Iterable):
        raise InvalidSettings(
            f"the ticked events are a list of names, not {events!r}", where="events", hint='write events=["delivered"]'
        )
    return tuple(events)


def _fits_part(username: str) -> bool:
    # Receivers strip the header's parts [K]: a name with outer blanks would never be the one they know.
    return username.isascii() and username.isprintable() and ";" not in username and username == username.strip()


def fits_header(value: str) -> bool:
    """Tell whether a value can stand in a header: latin-1 text, nothing in it that would begin another header.

    >>> fits_header("Basic YTpi"), fits_header("a\\r\\nX-Evil: 1")
    (True, False)
    """
    return all((" " <= character <= "\xff" and character != "\x7f") or character == "\t" for character in value)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate: what Python makes of undecodable bytes in the environment
        return False
    return True
