"""`engagelab-mock serve`: EngageLab on this machine, for as long as it is let run."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engagelab_mock.cli.engine import tls_verify
from engagelab_mock.cli.options import authorization_option, credential_options, output_options, setting
from engagelab_mock.cli.output import Output
from engagelab_mock.cli.serve_report import Report
from engagelab_mock.clock.real import LiveClock
from engagelab_mock.config import RECEIVERS, read_file
from engagelab_mock.delivery.receiver import ACKNOWLEDGEMENT_LIMIT, Receiver
from engagelab_mock.delivery.retry import NO_RETRY, RetryPolicy
from engagelab_mock.errors import EngageLabMockError, UsageError, did_you_mean
from engagelab_mock.service.engagelab import EngageLab

if TYPE_CHECKING:
    from engagelab_mock.service.store.ledger import Ledger
    from engagelab_mock.service.store.sqlite import SqliteStore

#: Where an app finds it, unless told otherwise.
PORT = 8420
#: How many messages, inbox entries and journal entries are kept, unless told otherwise.
KEEP = 10_000


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Hold what the command was given."""

    host: str
    port: int
    callback_url: str | None
    username: str
    secret: str
    authorization: str
    dev_key: str
    dev_secret: str
    speed: float
    seed: str | None
    db: str | None
    keep: int
    retry: str
    strict_templates: bool
    callback_before_response: bool
    token: str
    format: str


def _with_file(context: click.Context, parameter: click.Parameter, path: str | None) -> None:
    """Lay the settings of a file over those of pyproject.toml."""
    if path is not None:
        context.default_map = {**(context.default_map or {}), **read_file(Path(path))}


@click.command()
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    is_eager=True,
    expose_value=False,
    callback=_with_file,
    metavar="FILE",
    help="Read settings from this TOML file; they go over those in pyproject.toml.",
)
@setting("host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@setting(
    "port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="The port to listen on; 0 is any free one.",
)
@setting("callback_url", metavar="URL", help="Where callbacks go; several receivers stand in a file, see --config.")
@credential_options
@authorization_option("Send this Authorization header with callbacks, verbatim.")
@setting("dev_key", default="", help="Let in this key alone; left out, any pair is let in.")
@setting("dev_secret", default="", help="The secret of that key; better given by its variable.")
@setting(
    "speed",
    type=float,
    default=1.0,
    show_default=True,
    metavar="FACTOR",
    help="Let time pass this many times as fast; /_mock/clock changes it.",
)
@setting("seed", help="Make the same ids and data again; another seed makes others.")
@setting(
    "db",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Keep everything in this SQLite file, and go on with what is in it; left out, it is kept in memory.",
)
@setting(
    "keep",
    type=click.IntRange(min=1),
    default=KEEP,
    show_default=True,
    metavar="N",
    help="Forget the oldest messages and journal entries once there are more.",
)
@setting(
    "retry",
    default="vendor",
    show_default=True,
    metavar="POLICY",
    help="After a callback that was not acknowledged: vendor (1 min, 10 min, 1 h …), none, or waits such as 5,30.",
)
@setting("strict_templates", is_flag=True, help="Refuse a template that was not created; left out, any id will do.")
@setting("callback_before_response", is_flag=True, help="Send callbacks before the API call is answered.")
@setting("token", default="", help="What /_mock wants as Bearer token; made up where other machines can reach it.")
@output_options
def serve(**given: Any) -> int:
    """Be EngageLab's REST API, and call your receiver back.

    The first line on stdout says where. Point your app there instead of at otp.api.engagelab.cc; what it sends can be
    read under /_mock/inbox. Ends with Ctrl-C.
    """
    from engagelab_mock.server.app import create_app  # Werkzeug: not for every --help
    from engagelab_mock.server.loopback import LoopbackServer, is_loopback
    from engagelab_mock.service.postman import Postman

    options = ServeOptions(**given)
    token = options.token or ("" if is_loopback(options.host) else secrets.token_urlsafe(16))
    with ExitStack() as stack:
        store = stack.enter_context(_store(options.db))
        engagelab = stack.enter_context(_engine(options, store))
        app = create_app(engagelab, token=token)
        if engagelab.ledger is not None:
            app.on_webhook = partial(_keep_webhook, engagelab, engagelab.ledger)
        server = LoopbackServer(app, options.host, options.port)
        stack.callback(server.stop)
        report = Report(Output(options.format), engagelab)
        stack.callback(report.ended)
        stack.enter_context(Postman(engagelab))
        stack.enter_context(server)
        stack.callback(app.close)
        report.serving(server.url, token if token != options.token else "", exposed=not server.loopback)
        while True:
            # In steps, as some systems deliver Ctrl-C between waits only.
            threading.Event().wait(60.0)


def _keep_webhook(engagelab: EngageLab, ledger: Ledger) -> None:
    ledger.webhook(engagelab.receiver)


@contextmanager
def _store(path: str | None) -> Iterator[SqliteStore | None]:
    if path is None:
        yield None
        return
    from engagelab_mock.service.store.sqlite import SqliteStore  # most serve from memory

    with SqliteStore(path) as store:
        yield store


@contextmanager
def _engine(options: ServeOptions, store: SqliteStore | None) -> Iterator[EngageLab]:
    """Make the engine, with what the store holds."""
    from engagelab_mock.service.rest.exchange import ApiSettings

    remembered = store and store.recall("seed", str)
    seed = options.seed or remembered or secrets.token_hex(4)
    engagelab = EngageLab(
        receivers(options, click.get_current_context().default_map or {}),
        clock=LiveClock(options.speed),
        seed=seed,
        defaults={"check": False, "retry": retry_policy(options.retry)},
        api=ApiSettings(
            dev_key=options.dev_key,
            dev_secret=options.dev_secret,
            strict_templates=options.strict_templates,
            callback_before_response=options.callback_before_response,
        ),
        store=store,
        keep=options.keep,
    )
    with engagelab:
        if store is not None:
            from engagelab_mock.service.store.restore import restore

            store.remember("seed", seed)
            restore(engagelab, store)
        yield engagelab


def receivers(options: ServeOptions, settings: Any) -> list[Receiver]:
    """Make the receivers: the one of --callback-url, and those that a file lists."""
    found = []
    if options.callback_url:
        found.append(
            Receiver.http(
                options.callback_url,
                username=options.username,
                secret=options.secret,
                authorization=options.authorization,
            )
        )
    for table in settings.get(RECEIVERS, ()):
        given = dict(table)
        verify = tls_verify(given.pop("insecure", False), given.pop("ca", None))
        limit = given.pop("timeout", ACKNOWLEDGEMENT_LIMIT)
        found.append(Receiver.http(given.pop("url"), tls_verify=verify, limit=limit, **given))
    return found


def retry_policy(chosen: str) -> RetryPolicy:
    """Read --retry, or raise `UsageError`.

    >>> retry_policy("none").waits, retry_policy("5,30").waits
    ((), (5.0, 30.0))
    """
    if chosen == "vendor":
        return RetryPolicy.vendor()
    if chosen == "none":
        return NO_RETRY
    try:
        return RetryPolicy(tuple(float(wait) for wait in chosen.split(",")))
    except EngageLabMockError:
        raise
    except ValueError:
        hint = did_you_mean(chosen, ["vendor", "none"]) or "vendor, none, or waits in seconds such as 5,30"
        raise UsageError(f"{chosen!r} is no policy", where="--retry", hint=hint) from None
