"""The endpoint under test, with its callback settings and the way to it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from functools import cached_property
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import msgspec

from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.outcome import TransportFailure
from engagelab_mock.delivery.recorder import Recorder
from engagelab_mock.delivery.transport.base import Transport
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError
from engagelab_mock.protocol.settings import CallbackSettings, ticked
from engagelab_mock.protocol.signature import Signer

if TYPE_CHECKING:
    import os

    from _typeshed.wsgi import WSGIApplication

    from engagelab_mock.delivery.transport.asgi import AsgiApp

#: How long a receiver may take to answer, in seconds [S for the ping; for callbacks by inference].
ACKNOWLEDGEMENT_LIMIT = 3.0
#: Credentials of the bundled receiver: those of the vendor's own sandbox [X].
SANDBOX_USERNAME = "sandbox_demo"
SANDBOX_SECRET = "sandbox_webhook_secret"

SignatureClock = Literal["wall", "virtual"]
#: The options that are the receiver's own; the others are its callback settings.
_OWN = ("limit", "signature_clock", "skew", "observe")


class ReceiverOptions(TypedDict, total=False):
    """Say what a receiver's callbacks carry and when they count; every key can be left out."""

    description: str
    username: str
    secret: str
    #: Sent verbatim as the Authorization header [S].
    authorization: str
    #: The ticked callback events: kinds of event, or names of statuses and events; none ticked is all.
    events: Sequence[str]
    #: Seconds the receiver has for its whole answer: 3 unless given; None waits for ever.
    limit: float | None
    #: Whose time the signature carries: "wall", which receivers compare with, or "virtual", the engine's.
    signature_clock: SignatureClock
    #: Seconds added to the signature's timestamp.
    skew: float
    #: Called with a message's id, returns what the receiver's app holds of it: what it is judged by.
    observe: Callable[[str], Any] | None


class Receiver:
    """Describe who gets the callbacks; made with `Receiver.http`, `.wsgi`, `.asgi` or `.recording`.

    >>> receiver = Receiver.http("http://127.0.0.1:5000/engagelab", username="acme", secret="s3cret")
    >>> receiver.settings.signs
    True
    """

    def __init__(
        self,
        transport: Transport,
        settings: CallbackSettings,
        *,
        limit: float | None = ACKNOWLEDGEMENT_LIMIT,
        signature_clock: SignatureClock = "wall",
        skew: float = 0.0,
        observe: Callable[[str], Any] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        if signature_clock not in {"wall", "virtual"}:
            raise UsageError(f"signature_clock is 'wall' or 'virtual', not {signature_clock!r}", where="Receiver")
        given: Any = observe
        if given is not None and not callable(given):
            hint = "observe=lambda message_id: Message.get(message_id).status"
            raise UsageError(
                f"observe is called with a message's id, {observe!r} cannot be", where="Receiver", hint=hint
            )
        self.transport = transport
        self.settings = settings
        #: Seconds the receiver has for its whole answer; None waits for ever, for a debugger's sake.
        self.limit = None if limit is None else check_delay(limit, where="limit")
        self.signature_clock = signature_clock
        #: Seconds added to the signature's timestamp: a sender whose clock is wrong.
        self.skew = skew
        #: Returns, for a message's id, the state that the receiver's app is in; None where nobody can look.
        self.observe = observe
        #: Whether the address is usable, by its last validation: the console shows "normal" or "abnormal" [D].
        self.state: Literal["unvalidated", "normal", "abnormal"] = "unvalidated"
        #: What the bundled receiver recorded; None for your own.
        self.recorder = recorder

    @classmethod
    def http(
        cls, url: str, *, tls_verify: bool | str | os.PathLike[str] = True, **options: Unpack[ReceiverOptions]
    ) -> Receiver:
        """Reach a receiver by its URL, over a real socket.

        `tls_verify` is True, False, or the path of a CA bundle. Raises `InvalidSettings` for a URL or settings that
        cannot be used.

        >>> Receiver.http("htps://example.com")
        Traceback (most recent call last):
        ...
        engagelab_mock.errors.InvalidSettings: url: 'htps://example.com' has the scheme 'htps', not http or https
          hint: did you mean 'https'?
        """
        from engagelab_mock.delivery.transport.http import HttpTransport

        return cls._reached_by(HttpTransport(url, tls_verify=tls_verify), options)

    @classmethod
    def wsgi(
        cls,
        app: WSGIApplication,
        path: str = "/",
        *,
        base_url: str = "http://testserver",
        **options: Unpack[ReceiverOptions],
    ) -> Receiver:
        """Call a WSGI app (Flask, Django) in process, on the test's own thread.

        `base_url` gives the scheme and the Host header that the app sees.

        >>> receiver = Receiver.wsgi(lambda environ, start_response: [], path="/engagelab")
        >>> receiver.address
        'http://testserver/engagelab'
        """
        from engagelab_mock.delivery.transport.wsgi import WsgiTransport

        if not callable(app):
            raise UsageError(f"a WSGI app is callable, {app!r} is not", where="Receiver.wsgi")
        if iscoroutinefunction(app) or iscoroutinefunction(type(app).__call__):
            raise UsageError(f"{app!r} is an ASGI app", where="Receiver.wsgi", hint="use Receiver.asgi(app, …)")
        return cls._reached_by(WsgiTransport(app, _join(base_url, path)), options)

    @classmethod
    def asgi(
        cls,
        app: AsgiApp,
        path: str = "/",
        *,
        base_url: str = "http://testserver",
        lifespan: bool = True,
        **options: Unpack[ReceiverOptions],
    ) -> Receiver:
        """Call an ASGI app (FastAPI, Starlette, Django) in process.

        `lifespan` says whether synchronous sends start and stop the app's lifespan; for awaited ones it lasts as long
        as the test's own `async with receiver.lifespan()`.

        >>> async def app(scope, receive, send): ...
        >>> Receiver.asgi(app, path="/engagelab").transport.name
        'asgi'
        """
        from engagelab_mock.delivery.transport.asgi import AsgiTransport

        if not callable(app):
            raise UsageError(f"an ASGI app is callable, {app!r} is not", where="Receiver.asgi")
        return cls._reached_by(AsgiTransport(app, _join(base_url, path), lifespan=lifespan), options)

    @classmethod
    def recording(
        cls,
        *,
        username: str = SANDBOX_USERNAME,
        secret: str = SANDBOX_SECRET,
        authorization: str = "",
        description: str = "",
        events: Sequence[str] = (),
    ) -> Receiver:
        """Use the bundled receiver: it verifies, records and acknowledges, in process.

        >>> Receiver.recording().recorder.received
        []
        """
        recorder = Recorder(username=username, secret=secret, authorization=authorization)
        receiver = cls.wsgi(
            recorder,
            path="/engagelab",
            username=username,
            secret=secret,
            authorization=authorization,
            description=description,
            events=events,
        )
        receiver.recorder = recorder
        return receiver

    @classmethod
    def _reached_by(cls, transport: Transport, options: ReceiverOptions) -> Receiver:
        given: dict[str, Any] = {**options}
        for name in given:
            if name not in ReceiverOptions.__annotations__:
                raise UnknownName("argument", name, ReceiverOptions.__annotations__, where=f"Receiver.{transport.name}")
        own = {name: given.pop(name) for name in _OWN if name in given}
        given["events"] = ticked(given.get("events", ()))
        return cls(transport, CallbackSettings(address=transport.address, **given), **own)

    @cached_property
    def signer(self) -> Signer | None:
        """Return what signs for the receiver; None if its callbacks are not signed."""
        return Signer(self.settings.username, self.settings.secret) if self.settings.signs else None

    @property
    def address(self) -> str:
        """Return where callbacks go, as a URL."""
        return self.transport.address

    def with_settings(self, **changes: Any) -> Receiver:
        """Return the same endpoint with some of its callback settings changed.

        >>> Receiver.recording().with_settings(secret="wrong").settings.secret
        'wrong'
        """
        if "events" in changes:
            changes["events"] = ticked(changes["events"])
        settings = msgspec.structs.replace(self.settings, **changes)
        return Receiver(
            self.transport,
            settings,
            limit=self.limit,
            signature_clock=self.signature_clock,
            skew=self.skew,
            observe=self.observe,
            recorder=self.recorder,
        )

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[dict[str, Any]]:
        """Start an ASGI app's lifespan in the running event loop, and stop it at the end of the `async with` block.

        Gives the state that the app's start-up left for its requests. For `asend` and its fellows, which call the app
        in that very loop; synchronous sends start the lifespan themselves, in the loop they have.

        >>> import asyncio
        >>> async def app(scope, receive, send):
        ...     if scope["type"] == "lifespan":
        ...         scope["state"]["pool"] = "ready"
        ...         await send({"type": "lifespan.startup.complete"})
        >>> async def test():
        ...     async with Receiver.asgi(app).lifespan() as state:
        ...         print(state)
        >>> asyncio.run(test())
        {'pool': 'ready'}
        """
        from engagelab_mock.delivery.transport.asgi import AsgiTransport

        if not isinstance(self.transport, AsgiTransport):
            raise UsageError(f"only ASGI apps have a lifespan, {self!r} has none", where="Receiver.lifespan")
        async with contextlib.AsyncExitStack() as stack:
            try:
                state = await stack.enter_async_context(self.transport.lifespan())
            except TransportFailure as failure:
                raise EngageLabMockError(failure.reason, where="Receiver.lifespan") from failure.__cause__
            yield state

    def close(self) -> None:
        """Give up connections and loops; the next delivery opens them anew."""
        self.transport.close()

    def __repr__(self) -> str:
        described = f" {self.settings.description!r}" if self.settings.description else ""
        return f"<Receiver{described} {self.transport.name} {self.address}>"


def _join(base_url: str, path: str) -> str:
    return f"{base_url.rstrip('/')}/{path.lstrip('/')}"
