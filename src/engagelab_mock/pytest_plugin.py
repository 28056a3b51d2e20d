"""The pytest plugin: options, hooks and fixtures. Every pytest run loads it, so it imports other modules only on use.

PYTEST_DONT_REWRITE: there is no `assert` here, and rewriting takes a fifth of the time that loading takes.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from engagelab_mock import EngageLab, Receiver
    from engagelab_mock.integrations.interception import Interception
    from engagelab_mock.pytest_support import TestSettings
    from engagelab_mock.server.running import ApiServer

_OPTIONS = {
    "url": "send callbacks to this URL, over a real socket",
    "username": "sign callbacks as this user",
    "secret": "sign callbacks with this secret",
    "authorization": "send this Authorization header, verbatim",
    "seed": "generate other ids and data; the same seed generates the same",
    "nonce-seed": "generate the nonces from this and the seed; default: other nonces in every run",
}
_PAGES = (
    ("report", "DIR", "write an HTML page about each exploration that fails into this directory"),
    ("html", "FILE", "write an HTML page about the run: the tests, their callbacks, the failures"),
)
_CHECK = "run the checks against the receiver of engagelab_receiver, one test each"


class _Test:
    """Hold a running test, and its settings once a fixture has asked for them."""

    __slots__ = ("item", "settings")

    def __init__(self, item: pytest.Item) -> None:
        self.item = item
        self.settings: TestSettings | None = None


#: The running tests: one, or several if a test runs pytest itself, the innermost last. The fixtures read it, because
#: asking for `request` would cost 60 µs a test.
_running: list[_Test] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the --engagelab-… options and their ini keys."""
    group = parser.getgroup("engagelab", "EngageLab OTP (engagelab-mock)")
    for name, text in _OPTIONS.items():
        group.addoption(f"--engagelab-{name}", metavar=name.upper(), help=text)
        parser.addini(f"engagelab_{name.replace('-', '_')}", f"{text} (--engagelab-{name})", default=None)
    group.addoption("--engagelab-replay", metavar="TOKEN", help="play only this schedule")
    for name, metavar, text in _PAGES:
        group.addoption(f"--engagelab-{name}", metavar=metavar, help=text)
    group.addoption("--engagelab-check", action="store_true", default=None, help=_CHECK)
    parser.addini("engagelab_check", f"{_CHECK} (--engagelab-check)", type="bool", default=False)
    parser.addini("engagelab_check_suppress", "checks that may fail, one `ID: reason` per line", type="linelist")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the checks and the reports if they are asked for."""
    if config.getoption("--engagelab-check") or config.getini("engagelab_check"):
        from engagelab_mock.pytest_checks import CheckCollection

        config.pluginmanager.register(CheckCollection(), "engagelab_mock_checks")
    if config.getoption("--engagelab-report") or config.getoption("--engagelab-html"):
        from engagelab_mock.pytest_report import register

        register(config)
    config.addinivalue_line(
        "markers",
        "engagelab(*, scenario, to, template, channel, custom_args, retry, batch, fault, check, url, username, "
        "secret, authorization, seed, dialect, code_ttl, dev_key, dev_secret, strict_templates, strict_content_type, "
        "callback_before_response): defaults for the `engagelab` fixture in this test.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Stop before the first test if a marker argument or the token is wrong; keep only the tests to replay."""
    marked = [item for item in items if "engagelab" in item.keywords]
    if marked or config.getoption("engagelab_replay") is not None:
        from engagelab_mock.pytest_support import check_collected

        check_collected(config, items, marked)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Raise the usage error that an xdist worker found."""
    problems = getattr(node, "workeroutput", {}).get("engagelab_problems")
    if problems:
        raise pytest.UsageError(problems)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tell the fixtures which test is running."""
    _running.append(_Test(item))
    try:
        return (yield)
    finally:
        _running.pop()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forget an earlier attempt: a plugin may run the same test again within its protocol."""
    if _running and _running[-1].item is item:
        _running[-1].settings = None


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that has passed so far if a callback that the app caused was not acknowledged.

    It is the innermost wrapper of the call, so pytest captures and logs the output of these callbacks as the test's.
    """
    result = yield
    settings = settings_of(item)
    if settings is not None:
        settings.settle()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a failing test's deliveries and seed, and end the traceback of this package's errors at the test's line."""
    own = call.excinfo is not None and call.excinfo.type.__module__ == "engagelab_mock.errors"
    if own and call.excinfo is not None and not item.config.getoption("fulltrace"):
        from engagelab_mock.pytest_support import end_at_caller

        end_at_caller(call.excinfo.value)
    report = yield
    if own:
        _mask(report.longrepr)
    settings = settings_of(item) if report.failed else None
    if settings is not None:
        report.sections.append(("EngageLab deliveries", settings.report()))
    return report


def _mask(longrepr: object) -> None:
    """Mask Authorization headers in the arguments and locals that a traceback shows. JUnit files have them too."""
    for traceback, *_ in getattr(longrepr, "chain", ()):
        for entry in traceback.reprentries:
            if arguments := getattr(entry, "reprfuncargs", None):
                arguments.args = [(name, _masked(value)) for name, value in arguments.args]
            if shown := getattr(entry, "reprlocals", None):
                shown.lines = list(map(_masked, shown.lines))


def _masked(text: str) -> str:
    return re.sub(r"(?i)(['\"]authorization['\"]\s*[:,]\s*b?['\"])[^'\"]*", r"\1***", text)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a test after the token of its schedule."""
    return str(val) if type(val).__module__ == "engagelab_mock.explore.schedule" else None


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain why two sequences of statuses, or two events, are not equal."""
    # A test without the engine has neither, and should not pay for the import.
    if op != "==" or "engagelab_mock.protocol.events" not in sys.modules:
        return None
    from engagelab_mock.delivery.render import explain

    return explain(left, right)


def settings_of(item: pytest.Item) -> TestSettings | None:
    """Return the settings of a test if a fixture has asked for them; None outside of the test's protocol."""
    return _running[-1].settings if _running and _running[-1].item is item else None


def _settings() -> TestSettings:
    """Return the settings of the running test."""
    if not _running:
        pytest.fail("the engagelab fixtures need a test that runs in the pytest_runtest_protocol hook", pytrace=False)
    test = _running[-1]
    if test.settings is None:
        from engagelab_mock.pytest_support import TestSettings

        test.settings = TestSettings(test.item)
    return test.settings


@pytest.fixture
def engagelab_receiver() -> Receiver:
    """Return the receiver of the callbacks; override this fixture in your conftest.py to return your own.

    By default it is --engagelab-url, or a bundled receiver that verifies and records, in process. Your own:

        @pytest.fixture
        def engagelab_receiver(app):
            return Receiver.wsgi(app, path="/engagelab", username="acme", secret="s3cret")

    Return a list of receivers for an account with several callbacks.
    """
    return _settings().default_receiver()


@pytest.fixture
def engagelab(engagelab_receiver: Receiver | Sequence[Receiver]) -> Iterator[EngageLab]:
    """Send callbacks to the receiver under test as EngageLab does, in virtual time, with a new journal.

    A delivery that is not acknowledged fails the test at the line that sent it:

        def test_verified(engagelab):
            run = engagelab.send("+6591234567")
            assert run.statuses == ["plan", "sent", "delivered", "verified"]
    """
    settings = _settings()
    yield settings.build(engagelab_receiver)
    settings.close()


@pytest.fixture
def engagelab_server(engagelab: EngageLab) -> Iterator[ApiServer]:
    """Serve EngageLab's REST API on a free port of 127.0.0.1, for an app in any process and any language.

    It shares its state with `engagelab`. One line points the official SDK at it:

        def test_login(engagelab, engagelab_server, monkeypatch):
            monkeypatch.setattr(OTPClient, "BASE_URL", engagelab_server.base_url)
            message = OTPClient("key", "secret").send("+6591234567", "my-template")
            assert engagelab.inbox("+6591234567").code

    `engagelab_server.env` has environment variables, for an app that reads its settings there.
    """
    from engagelab_mock.server.running import ApiServer

    with ApiServer(engagelab) as server:
        yield server


@pytest.fixture
def engagelab_api(engagelab: EngageLab) -> Iterator[Interception]:
    """Answer the app's calls of https://otp.api.engagelab.cc with `requests` or `httpx`: in process, without a socket.

    It shares its state with `engagelab`. Other clients cannot reach EngageLab; calls of other hosts are not touched:

        def test_login(engagelab, engagelab_api):
            shop.log_in("+6591234567")
            assert shop.enter(engagelab.inbox("+6591234567").code)
    """
    from engagelab_mock.integrations.interception import Interception

    with Interception(engagelab) as interception:
        yield interception


@pytest.fixture
def engagelab_check_options() -> Mapping[str, Any]:
    """Return options for --engagelab-check; override it to return `observe`, `prepare`, `reset`, `wait_idle`, `stall` …

    By default it returns none: a Receiver can have these options itself. For an app that knows only its own messages:

        @pytest.fixture
        def engagelab_check_options():
            return {"prepare": lambda message: Sent.create(id=message.id, to=message.to)}
    """
    return {}
