"""The receiver under test: its callback settings and its transport."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import cached_property
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

import msgspec

from engagelab_mock.clock import check_delay
from engagelab_mock.delivery.outcome import TransportFailure
from engagelab_mock.delivery.probe import PROBE_OPTIONS, Observe, Probe, ProbeOptions, SetTime, WaitIdle, check_probe
from engagelab_mock.delivery.recorder import Recorder
from engagelab_mock.delivery.transport import DistantTransport, Transport, in_django_transaction
from engagelab_mock.delivery.transport.wsgi import WsgiTransport
from engagelab_mock.errors import EngageLabMockError, UnknownName, UsageError, portable
from engagelab_mock.eventloop import sleep
from engagelab_mock.protocol.settings import CallbackSettings, ticked
from engagelab_mock.protocol.signature import Signer
from engagelab_mock.protocol.status import Effects, Statuses

if TYPE_CHECKING:
    import os

    from _typeshed.wsgi import WSGIApplication

    from engagelab_mock.delivery.transport.lifespan import AsgiApp
    from engagelab_mock.messages.message import Message

#: How long a receiver may take to answer, in seconds [S for the ping; for callbacks by inference].
ACKNOWLEDGEMENT_LIMIT = 3.0
#: Credentials of the bundled receiver: those of the vendor's own sandbox [X].
SANDBOX_USERNAME = "sandbox_demo"
SANDBOX_SECRET = "sandbox_webhook_secret"
_RECORDER_ADDRESS = "http://testserver/engagelab"
#: Checked once, because most tests use it, and each test gets a new receiver.
_SANDBOX_SETTINGS = CallbackSettings(address=_RECORDER_ADDRESS, username=SANDBOX_USERNAME, secret=SANDBOX_SECRET)

SignatureClock = Literal["wall", "virtual"]
#: The options of the receiver itself. The other options are its callback settings.
OWN_OPTIONS = ("limit", "signature_clock", "skew", *PROBE_OPTIONS)


class ReceiverOptions(ProbeOptions, total=False):
    """Hold the options of a receiver; every key is optional.

    `explore`, `replay`, the state machine and the checks judge by its probe (`observe`, `prepare`, `reset`,
    `wait_idle`, `effects`, `terminal`, `observe_account`, `set_time`, `restart`). See `ProbeOptions`.
    """

    description: str
    username: str
    secret: str
    #: Sent verbatim as the Authorization header [S].
    authorization: str
    #: The events that the receiver subscribes to: kinds of event, or names of statuses and events; empty means all.
    events: Sequence[str]
    #: Seconds for the receiver's whole answer, by default 3; None waits without a limit.
    limit: float | None
    #: The clock of the signature's timestamp: "wall", with which receivers compare, or "virtual", the engine's clock.
    signature_clock: SignatureClock
    #: Seconds added to the signature's timestamp.
    skew: float


class Receiver:
    """Describe a receiver of callbacks; make one with `Receiver.http`, `.wsgi`, `.asgi` or `.recording`.

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
        observe: Observe | None = None,
        prepare: Callable[[Message], Any] | None = None,
        reset: Callable[[], Any] | None = None,
        wait_idle: WaitIdle | None = None,
        effects: Effects | None = None,
        terminal: Statuses | None = None,
        observe_account: Callable[[], Any] | None = None,
        set_time: SetTime | None = None,
        restart: Callable[[], Any] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        if signature_clock not in {"wall", "virtual"}:
            raise UsageError(f"signature_clock is 'wall' or 'virtual', not {signature_clock!r}", where="Receiver")
        given = (observe, prepare, reset, wait_idle, effects, terminal, observe_account, set_time, restart)
        if any(each is not None for each in given):
            check_probe(dict(zip(PROBE_OPTIONS, given, strict=True)), where="Receiver")
        self.transport = transport
        self.settings = settings
        #: Seconds for the receiver's whole answer; None waits without a limit, for debugging.
        self.limit = None if limit is None else check_delay(limit, where="limit")
        self.signature_clock = signature_clock
        #: Seconds added to the signature's timestamp, as if the sender's clock were wrong.
        self.skew = skew
        #: Returns the state of a message in the receiver's app, by the message's id; None if the state cannot be read.
        self.observe = observe
        #: Enters a message in the app, before its first callback; None if that is not necessary.
        self.prepare = prepare
        #: Empties the app's tables; None if each schedule must be about a new message.
        self.reset = reset
        #: Returns once the app's background work is done; or the seconds for which the state must stay the same.
        self.wait_idle = wait_idle
        #: The statuses that have an effect, by its name in the state. None: the judges infer them.
        self.effects = effects
        #: The statuses that end a message.
        self.terminal = terminal
        #: Returns the state of the whole account in the app, such as totals; None if the checks cannot read it.
        self.observe_account = observe_account
        #: Sets the clock that the app reads; None if the app reads the system's clock.
        self.set_time = set_time
        #: Restarts the app; None if the checks cannot do it.
        self.restart = restart
        #: The result of the last address validation: the console shows "normal" or "abnormal" [D].
        self.state: Literal["unvalidated", "normal", "abnormal"] = "unvalidated"
        #: The requests that the bundled receiver recorded; None for your own receiver.
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

        With `lifespan`, synchronous sends start and stop the app's lifespan. For awaited sends, the lifespan lasts as
        long as the test's own `async with receiver.lifespan()`.

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
        settings = _SANDBOX_SETTINGS
        if (username, secret, authorization, description, events) != (SANDBOX_USERNAME, SANDBOX_SECRET, "", "", ()):
            settings = CallbackSettings(
                address=_RECORDER_ADDRESS,
                username=username,
                secret=secret,
                authorization=authorization,
                description=description,
                events=ticked(events),
            )
        return cls(WsgiTransport(recorder, _RECORDER_ADDRESS), settings, recorder=recorder)

    @classmethod
    def _reached_by(cls, transport: Transport, options: ReceiverOptions) -> Receiver:
        given: dict[str, Any] = {**options}
        for name in given:
            if name not in ReceiverOptions.__annotations__:
                raise UnknownName("argument", name, ReceiverOptions.__annotations__, where=f"Receiver.{transport.name}")
        own = {name: given.pop(name) for name in OWN_OPTIONS if name in given}
        given["events"] = ticked(given.get("events", ()))
        return cls(transport, CallbackSettings(address=transport.address, **given), **own)

    @cached_property
    def signer(self) -> Signer | None:
        """Return the receiver's signer; None if its callbacks are unsigned."""
        return Signer(self.settings.username, self.settings.secret) if self.settings.signs else None

    def probe(self, given: Mapping[str, Any], **more: Any) -> Probe:
        """Return the probe of the app; arguments of a call override the receiver's arguments.

        >>> Receiver.recording().probe({"observe": {}.get}).observe("7") is None
        True
        """
        chosen = {name: getattr(self, name) if given.get(name) is None else given[name] for name in PROBE_OPTIONS}
        return Probe(**chosen, **more, wait=self.wait)

    def wait(self, seconds: float) -> None:
        """Wait so many seconds; the loop of an ASGI app runs meanwhile, with the tasks that the app has started.

        >>> Receiver.recording().wait(0.001)
        """
        if self.transport.name == "asgi":
            transport: Any = self.transport
            transport.run(sleep(seconds))
        else:
            time.sleep(seconds)

    @property
    def address(self) -> str:
        """Return the URL of the receiver."""
        return self.transport.address

    def with_settings(self, **changes: Any) -> Receiver:
        """Return the same endpoint with some of its callback settings changed.

        >>> Receiver.recording().with_settings(secret="wrong").settings.secret
        'wrong'
        """
        if "events" in changes:
            changes["events"] = ticked(changes["events"])
        settings = msgspec.structs.replace(self.settings, **changes)
        own: dict[str, Any] = {name: getattr(self, name) for name in OWN_OPTIONS}
        return Receiver(self.transport, settings, **own, recorder=self.recorder)

    @contextlib.asynccontextmanager
    async def lifespan(self) -> AsyncIterator[dict[str, Any]]:
        """Start an ASGI app's lifespan in the running event loop; stop it at the end of the `async with` block.

        Yields the state that the app's start-up made for its requests. Use it for `asend` and the other async methods,
        which call the app in this loop. Synchronous sends start the lifespan themselves, in their own loop.

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
            what = f"only ASGI apps have a lifespan, {self!r} does not"
            raise UsageError(what, where="Receiver.lifespan", hint="Receiver.asgi(app)")
        try:
            async with self.transport.lifespan() as state:
                yield state
        except TransportFailure as failure:
            raise self._failed(failure, "Receiver.lifespan") from failure.__cause__

    def check_threads(self) -> None:
        """Raise `UsageError` if a test of Django hides its database changes from other threads than this one.

        >>> Receiver.recording().check_threads()
        """
        if self.transport.name == "wsgi" and self.recorder is None and in_django_transaction():
            raise UsageError(
                "the app would be called from several threads, and the transaction of this test is for its own thread",
                where="Receiver.wsgi",
                hint="the test needs @pytest.mark.django_db(transaction=True), or a TransactionTestCase",
            )

    def close(self) -> None:
        """Close connections and loops; the next delivery opens them again.

        Raises `EngageLabMockError`, after closing all, if the app's lifespan failed at its shutdown or before.
        """
        try:
            self.transport.close()
        except TransportFailure as failure:
            raise self._failed(failure, "Receiver.close") from failure.__cause__

    def _failed(self, failure: TransportFailure, where: str) -> EngageLabMockError:
        hint = "correct the app's lifespan" + ("; the app's own exception is the cause" if failure.__cause__ else "")
        return EngageLabMockError(f"{failure.reason} ({self.address})", where=where, hint=hint)

    def __reduce__(self) -> tuple[Any, ...]:
        # An in-process app stays in this process, with its functions and its recorder.
        reachable = self.transport.name == "http" and portable(self.transport) is self.transport
        transport = self.transport if reachable else DistantTransport(self.transport.name, self.address)
        fields = {"limit": self.limit, "signature_clock": self.signature_clock, "skew": self.skew}
        if reachable:
            functions = {name: getattr(self, name) for name in PROBE_OPTIONS}
            fields.update({name: value for name, value in functions.items() if portable(value) is value})
        return _new_receiver, (transport, self.settings, fields, self.state)

    def __copy__(self) -> Receiver:
        return self.with_settings()

    def __deepcopy__(self, memo: object) -> Self:
        return self  # it refers to the app, which is not copied

    def __repr__(self) -> str:
        described = f" {self.settings.description!r}" if self.settings.description else ""
        return f"<Receiver{described} {self.transport.name} {self.address}>"


def _new_receiver(
    transport: Transport,
    settings: CallbackSettings,
    fields: dict[str, Any],
    state: Literal["unvalidated", "normal", "abnormal"],
) -> Receiver:
    receiver = Receiver(transport, settings, **fields)
    receiver.state = state
    return receiver


def _join(base_url: str, path: str) -> str:
    return f"{base_url.rstrip('/')}/{path.lstrip('/')}"


def check_receivers(given: object, *, where: str) -> list[Receiver]:
    """Return receivers as a list, or raise `UsageError`.

    >>> [receiver.state for receiver in check_receivers([Receiver.recording()], where="EngageLab")]
    ['unvalidated']
    """
    hint = "Receiver.wsgi(app, path=…), Receiver.asgi(app, path=…) or Receiver.http(url), or a list of them"
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise UsageError(f"{given!r} is not a Receiver", where=where, hint=hint)
    receivers = list(given)
    for receiver in receivers:
        if not isinstance(receiver, Receiver):
            raise UsageError(f"{receiver!r} is not a Receiver", where=where, hint=hint)
    return receivers
