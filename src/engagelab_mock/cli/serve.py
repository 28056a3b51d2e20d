"""`engagelab-mock serve`: EngageLab's REST API on this machine, and the callbacks to your receiver."""

from __future__ import annotations

import json
import secrets
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from engagelab_mock.cli.log import Log
from engagelab_mock.cli.option_values import naming, retry_policy, tls_verify
from engagelab_mock.cli.options import authorization_option, credential_options, output_options, seed_option, setting
from engagelab_mock.cli.output import Output
from engagelab_mock.cli.render import Serving, signing
from engagelab_mock.clock.real import LiveClock
from engagelab_mock.config import RECEIVERS, read_file
from engagelab_mock.delivery.receiver import ACKNOWLEDGEMENT_LIMIT, Receiver
from engagelab_mock.delivery.transport import split_address
from engagelab_mock.engagelab import EngageLab
from engagelab_mock.errors import UsageError
from engagelab_mock.protocol.settings import is_unicode

if TYPE_CHECKING:
    from engagelab_mock.service.store import StoreError
    from engagelab_mock.service.store.sqlite import SqliteStore

#: The default port.
PORT = 8420
#: How many messages and journal entries are kept by default.
KEEP = 10_000
#: How many messages whose callbacks are not finished are kept by default.
PENDING = 20_000
#: The highest number for both: more would not fit into any memory.
MOST = 10**9


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Hold the options of the command."""

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
    pending: int
    retry: str
    strict_templates: bool
    strict_content_type: bool
    callback_before_response: bool
    token: str
    allow_host: tuple[str, ...]
    no_console: bool
    open: bool
    quiet: bool
    verbose: bool
    format: str


def _with_file(context: click.Context, parameter: click.Parameter, path: str | None) -> None:
    """Override the settings of pyproject.toml by those of a file."""
    if path is not None:
        context.default_map = {**(context.default_map or {}), **read_file(Path(path))}


_HELP = """Serve EngageLab's REST API, and send callbacks to your receiver.

The first line on stdout is the address. Point your app there instead of at otp.api.engagelab.cc, and read the
messages that it sends under /_mock/inbox. Ends with Ctrl-C.
"""


@click.command(help=_HELP, short_help="Serve EngageLab's REST API, and call your receiver back.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    is_eager=True,
    expose_value=False,
    callback=_with_file,
    metavar="FILE",
    help="Read settings from this TOML file; they override those in pyproject.toml.",
)
@setting("host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@setting(
    "port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="The port to listen on; 0 for any free one.",
)
@setting(
    "callback_url",
    metavar="URL",
    help="The receiver's address. For several receivers, list them in a file: see --config.",
)
@credential_options
@authorization_option("Send this Authorization header with callbacks, verbatim.")
@setting("dev_key", default="", help="Accept only this key. Default: accept any key and secret.")
@setting("dev_secret", default="", help="The secret of that key; prefer the environment variable.")
@setting(
    "speed",
    type=float,
    default=1.0,
    show_default=True,
    metavar="FACTOR",
    help="Run the clock this many times as fast; /_mock/clock changes it.",
)
@seed_option
@setting(
    "db",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Keep everything in this SQLite file, and continue from it. Default: keep it in memory.",
)
@setting(
    "keep",
    type=click.IntRange(1, MOST),
    default=KEEP,
    show_default=True,
    metavar="N",
    help="Keep the newest N messages and journal entries, in memory and in the file.",
)
@setting(
    "pending",
    type=click.IntRange(1, MOST),
    default=PENDING,
    show_default=True,
    metavar="N",
    help="Keep the callbacks of at most N unfinished messages and account events; the oldest are given up.",
)
@setting(
    "retry",
    default="vendor",
    show_default=True,
    metavar="POLICY",
    help="When to retry a callback: vendor (after 1 min, 10 min, 1 h …), none, or waits in seconds such as 5,30.",
)
@setting("strict_templates", is_flag=True, help="Refuse a template that was not created. Default: accept any id.")
@setting("strict_content_type", is_flag=True, help="Refuse a body whose Content-Type is not JSON. Default: accept any.")
@setting("callback_before_response", is_flag=True, help="Send callbacks before the API call is answered.")
@setting(
    "token",
    default="",
    help="The Bearer token for /_mock. Default: none, or a generated one if other machines can reach it.",
)
@setting(
    "allow_host",
    multiple=True,
    metavar="NAME",
    help="Answer requests for this name, too, such as a name from a hosts file; can be repeated.",
)
@click.option("--no-console", is_flag=True, help="Leave out the page at /.")
@click.option("--open", is_flag=True, help="Open the page at / in a browser.")
@click.option("--quiet", "-q", is_flag=True, help="Print only the address, and log only failures.")
@click.option("--verbose", "-v", is_flag=True, help="Log bodies and signatures, too; secrets are never shown.")
@output_options
def serve(**given: Any) -> int:
    """Serve EngageLab's REST API, and send callbacks to your receiver."""
    from engagelab_mock.server.app import create_app  # Werkzeug is not needed for --help
    from engagelab_mock.server.loopback import LoopbackServer, is_loopback
    from engagelab_mock.service.worker import DeliveryWorker

    options = ServeOptions(**given)
    _check(options)
    output = Output(options.format)
    log = Log(output, quiet=options.quiet, verbose=options.verbose)
    token = options.token or ("" if is_loopback(options.host) else secrets.token_urlsafe(16))
    generated = "" if options.token else token
    with ExitStack() as stack:
        store = stack.enter_context(_store(options.db))
        if store is not None:
            store.on_trouble = partial(_report_trouble, log)
        engagelab = stack.enter_context(_engine(options, store))
        with naming("--allow-host"):
            app = create_app(engagelab, token=token, console=not options.no_console, allow_hosts=options.allow_host)
        server = LoopbackServer(app, options.host, options.port)
        stack.callback(server.stop)
        stack.callback(log.close)
        stack.callback(log.summarise)
        if not server.loopback:
            log.notice("anyone who reaches this port can use the API")
        if not output.json:
            if generated:
                output.say(f"token for /_mock: {generated}")
            if not options.quiet:
                _explain(output, server.url, engagelab, options)
        # Before the first callback: one from the store may be due at once.
        log.follow(engagelab, token=token)
        stack.enter_context(DeliveryWorker(engagelab, on_given_up=log.gave_up))
        stack.enter_context(server)
        stack.callback(app.close)
        output.show(Serving("serving", "Serving", server.url, {"token": generated or None}))
        if options.open:
            open_page(log.notice, server.url)
        while True:
            # With a short timeout: a signal that comes just before a wait does not end it, and some systems deliver
            # Ctrl-C only between waits.
            threading.Event().wait(0.5)


def _check(options: ServeOptions) -> None:
    """Raise `UsageError` for options that exclude each other."""
    if options.open and options.no_console:
        raise UsageError("--no-console leaves no page to open", where="--open", hint="leave one of them out")
    if options.quiet and options.verbose:
        raise UsageError("--quiet logs less, and --verbose more", where="--quiet", hint="leave one of them out")


def _explain(output: Output, url: str, engagelab: EngageLab, options: ServeOptions) -> None:
    """Explain how to use the server."""
    receivers = [f"{receiver.address} ({signing(receiver.settings)})" for receiver in engagelab.receivers]
    body = json.dumps(
        {"to": "+6591234567", "template": {"id": "sandbox-otp-tpl" if options.strict_templates else "login"}}
    )
    # Without a secret, curl asks for it.
    key = shlex.quote(options.dev_key or "key:secret")
    header = "-H 'Content-Type: application/json' " if options.strict_content_type else ""
    for label, text in (
        ("base URL", f"{url} instead of https://otp.api.engagelab.cc"),
        *([] if options.no_console else [("console", f"{url}/ in a browser")]),
        ("inbox", f"{url}/_mock/inbox"),
        ("callbacks", f"go to {', '.join(receivers) or 'nowhere: give --callback-url, or PUT /v1/sandbox/webhook'}"),
    ):
        output.remark(Text.assemble((f"{label:<10}", "dim"), text), hang=10)
    command = f"curl -u {key} {header}-d {shlex.quote(body)} {url}/v1/messages"
    output.remark(Text.assemble(("try       ", "dim"), command), whole=True)
    output.say("Ctrl-C ends it", "dim")


def open_page(notice: Callable[[str], object], url: str) -> None:
    """Open the console in a browser, or show its address."""
    import webbrowser  # few ask for it

    def show() -> None:
        if not webbrowser.open(f"{url}/"):
            notice(f"no browser could be opened; the console is at {url}/")

    # Some browsers keep the caller until they are closed.
    threading.Thread(target=show, name="browser", daemon=True).start()


def _report_trouble(log: Log, error: StoreError | None) -> None:
    """Say once that the file cannot be written, and once that it can be again."""
    if error is None:
        log.notice("the file of --db can be written again; due callbacks go out now")
    else:
        log.notice(f"{error.problem}; {error.hint}. Until then calls get 500, and callbacks wait")


@contextmanager
def _store(path: str | None) -> Iterator[SqliteStore | None]:
    if path is None:
        yield None
        return
    from engagelab_mock.service.store.sqlite import SqliteStore  # not needed without --db

    with SqliteStore(path) as store:
        yield store


@contextmanager
def _engine(options: ServeOptions, store: SqliteStore | None) -> Iterator[EngageLab]:
    """Return the engine, with everything from the store."""
    from engagelab_mock.service.rest.exchange import ApiSettings

    saved = store and store.load_setting("seed", str)
    seed = options.seed or saved or secrets.token_hex(4)
    if not is_unicode(seed):
        raise UsageError(f"{seed!r} has bytes that are not UTF-8", where="--seed", hint="use text, such as a number")
    with naming("--speed"):
        clock = LiveClock(options.speed)
    engagelab = EngageLab(
        receivers(options, click.get_current_context().default_map or {}),
        clock=clock,
        seed=seed,
        defaults={"check": False, "retry": retry_policy(options.retry)},
        api=ApiSettings(
            dev_key=options.dev_key,
            dev_secret=options.dev_secret,
            strict_templates=options.strict_templates,
            strict_content_type=options.strict_content_type,
            callback_before_response=options.callback_before_response,
        ),
        store=store,
        keep=options.keep,
    )
    # Not `with engagelab:`, which would raise the last errors. The journal has them; a server ends without an error.
    with closing(engagelab):
        engagelab._engine.messages.most_pending = options.pending
        if store is not None:
            from engagelab_mock.service.store.restore import restore

            store.save_setting("seed", seed)
            restore(engagelab, store)
        yield engagelab


def receivers(options: ServeOptions, settings: Any) -> list[Receiver]:
    """Return the receiver of --callback-url, and those that a file lists."""
    found = []
    if options.callback_url:
        split_address(options.callback_url, where="--callback-url")
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
